"""The type of a dataset, and the checks that every dataset passes."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlr.train.errors import DataError


class Dataset(NamedTuple):
    """A training and a test split of labelled images, all of one shape."""

    train_images: np.ndarray  # uint8, (samples, height, width) or (samples, height, width, channels)
    train_labels: np.ndarray  # int32, (samples,), from 0 to num_classes - 1
    test_images: np.ndarray  # like train_images
    test_labels: np.ndarray  # like train_labels
    num_classes: int


def check_dataset(dataset: Dataset, folder: Path) -> None:
    """Raise a DataError that names `folder` if the arrays of `dataset` do not fit together."""
    train_images, train_labels, test_images, test_labels, num_classes = dataset
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: the training images have shape {train_images.shape[1:]} and the test images"
            f" have shape {test_images.shape[1:]}: all images must have the same shape"
        )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise DataError(f"{folder}: {len(images)} images have {len(labels)} labels: each needs one")
        if labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(
                f"{folder}: the labels run from {labels.min()} to {labels.max()}, but must be between 0 and"
                f" {num_classes - 1}"
            )
