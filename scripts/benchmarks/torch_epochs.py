"""An epoch in torch: the tutorial's loop, tensors on the device, and the same with torch.compile."""

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.timing import Build
from jaxlr.train.data.dataset import Dataset


DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def peers(dataset: Dataset, sizes: Sequence[int], batch_size: int, lr: float) -> dict[str, Build]:
    """Map the name of each peer to a function that builds its epoch, as in `benchmarks.epochs.peers`."""
    compiled = "torch.compile of the loss" + (", CUDA graphs" if DEVICE.type == "cuda" else "")
    task = dataset, sizes, batch_size, lr
    return {
        "the tutorial's torch loop, DataLoader": functools.partial(_tutorial, *task),
        "torch, tensors on the device": functools.partial(_in_memory, *task, lambda step: step),
        f"{compiled}, tensors on the device": functools.partial(_in_memory, *task, _compile),
    }


def _model(sizes: Sequence[int]) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).to(DEVICE)


class _Images(torch.utils.data.Dataset):
    """The work of torchvision's MNIST and ToTensor for a sample: bytes, a PIL image, a float tensor."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self._images, self._labels = torch.from_numpy(images), torch.from_numpy(labels).long()

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = self._images[index], int(self._labels[index])
        pixels = np.array(Image.fromarray(image.numpy()), np.uint8, copy=True)
        channels = torch.from_numpy(pixels[:, :, None]).permute(2, 0, 1).contiguous()
        return channels.to(torch.get_default_dtype()).div(255), label


def _tutorial(dataset: Dataset, sizes: Sequence[int], batch_size: int, lr: float) -> Callable[[], float]:
    trainloader = DataLoader(
        _Images(dataset.train_images, dataset.train_labels), batch_size=batch_size, shuffle=True
    )
    validloader = DataLoader(
        _Images(dataset.test_images, dataset.test_labels), batch_size=batch_size, shuffle=True
    )
    model = _model(sizes)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=lr), nn.CrossEntropyLoss()

    def epoch() -> float:
        train_loss, valid_loss = 0.0, 0.0
        model.train()
        for data, label in trainloader:
            data, label = data.to(DEVICE), label.to(DEVICE)
            optimizer.zero_grad()
            train_step_loss = loss(model(data), label)
            train_step_loss.backward()
            optimizer.step()
            train_loss += train_step_loss.item() * data.size(0)
        model.eval()
        for data, label in validloader:
            data, label = data.to(DEVICE), label.to(DEVICE)
            valid_step_loss = loss(model(data), label)
            valid_loss += valid_step_loss.item() * data.size(0)
        return valid_loss / len(dataset.test_labels)

    return epoch


def _in_memory(
    dataset: Dataset,
    sizes: Sequence[int],
    batch_size: int,
    lr: float,
    wrap: Callable[[Callable[..., Any]], Callable[..., Any]],
) -> Callable[[], float]:
    """Keep the data on the device, shuffle there, and fetch no number before the end of the epoch."""
    train_images, test_images = (_floats(images) for images in (dataset.train_images, dataset.test_images))
    train_labels, test_labels = (_labels(labels) for labels in (dataset.train_labels, dataset.test_labels))
    model = _model(sizes)
    optimizer, loss = torch.optim.SGD(model.parameters(), lr=lr), nn.CrossEntropyLoss()

    def loss_of(data: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return loss(model(data), label)

    step_loss = wrap(loss_of)

    def epoch() -> float:
        train_loss = torch.zeros((), device=DEVICE)
        for batch in torch.randperm(len(train_labels), device=DEVICE).split(batch_size):
            optimizer.zero_grad()
            value = step_loss(train_images[batch], train_labels[batch])
            value.backward()
            optimizer.step()
            train_loss += value.detach() * len(batch)
        with torch.no_grad():
            valid_loss = loss_of(test_images, test_labels)
        train_loss.item()
        return valid_loss.item()

    return epoch


def _compile(step: Callable[..., Any]) -> Callable[..., Any]:
    # "reduce-overhead" means CUDA graphs, which a CPU does not have.
    return torch.compile(step, mode="reduce-overhead" if DEVICE.type == "cuda" else "default")


def _floats(images: np.ndarray) -> torch.Tensor:
    return (torch.from_numpy(images).float() / 255).to(DEVICE)


def _labels(labels: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(labels).long().to(DEVICE)
