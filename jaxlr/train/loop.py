"""The host side of one run: data in, compiled epochs, lines and files out."""

import dataclasses
import functools
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

import jaxlr
from jaxlr.plateau import plateau_lr
from jaxlr.schedules.compose import per_epoch
from jaxlr.train.config import TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.dataset import DataError, Dataset
from jaxlr.train.model import mlp
from jaxlr.train.report import MetricsLog, plot_curves, write_json
from jaxlr.train.step import Apply, Split, TrainState, evaluate, run_epoch


class DeviceError(Exception):
    """There is nothing to run on; the message is one line for the user."""


_EPOCH_LINE = (
    "epoch {epoch:3d}  train loss {train_loss:.4f}  valid loss {valid_loss:.4f}  "
    "accuracy {valid_accuracy:.4f}  lr {lr:g}"
)


def train(config: TrainConfig) -> list[dict[str, Any]]:
    """Run `config` to its end and write its folder.

    Args:
        config: the recipe.

    Returns:
        One dict per epoch: `epoch`, `train_loss`, `valid_loss`, `valid_accuracy`, `lr` (the one that the
        epoch used, its last batch where the scheduler steps per batch) and `seconds`.

    Raises:
        DataError: the data set cannot be had, read or split.
        OSError: `config.out` holds something already, or cannot be written.
        DeviceError: JAX finds no device.
    """
    say = (lambda line: None) if config.quiet else functools.partial(tqdm.write, file=sys.stdout)
    _check_out(config)
    say(f"jaxlr {jaxlr.__version__} on {_describe_device()}")
    progress = not config.quiet and sys.stderr.isatty()
    dataset = load_dataset(config.dataset, config.data_dir, progress)
    train_split, valid_split, test_split = _splits(config, dataset)
    sizes = f"{len(train_split.labels)} training and {len(valid_split.labels)} validation samples"
    say(f"{config.dataset}: {sizes}; SGD {config.lr:g} under {config.scheduler}")

    run = build_run(config, train_split, dataset.num_classes)
    state, history = run.state, []
    out = _claim_out(config)
    try:
        with MetricsLog(out, config.tensorboard) as log:
            for epoch in tqdm(range(config.epochs), unit="epoch", disable=not progress):
                state, row = _train_epoch(run, state, epoch, train_split, valid_split)
                history.append(row)
                log.write(row)
                say(_EPOCH_LINE.format(**row))
    finally:  # an interrupted run has curves too
        if history:
            plot_curves(
                history, out / "curves.png", f"{config.scheduler}, SGD {config.lr:g}, {config.dataset}"
            )
    if test_split is not None:
        loss, accuracy = jax.jit(evaluate, static_argnums=0)(run.apply, state.params, test_split)
        write_json(out / "test.json", {"test_loss": float(loss), "test_accuracy": float(accuracy)})
        say(f"test split: loss {loss:.4f}  accuracy {accuracy:.4f}")
    say(f"wrote {out}")
    return history


class Run(NamedTuple):
    """A compiled epoch and the state it starts from."""

    apply: Apply
    state: TrainState
    epoch: Callable[..., Any]  # (state, train, valid) -> (state, metrics)
    lr: Callable[[TrainState, int], float]  # of the coming epoch, from its number


def build_run(config: TrainConfig, train_split: Split, num_classes: int) -> Run:
    """The initial state of `config`, and one compiled call that trains an epoch and validates.

    Args:
        config: the recipe.
        train_split: the training samples, images of shape (samples, ...).
        num_classes: labels are 0 to `num_classes` - 1.
    """
    init_key, shuffle_key = jax.random.split(jax.random.key(config.seed))
    num_features = int(np.prod(train_split.images.shape[1:]))
    init, apply = mlp([num_features, *config.hidden, num_classes])
    params = jax.jit(init)(init_key)
    tx, lr, has_plateau = _build_optimizer(
        config, steps_per_epoch=-(-len(train_split.labels) // config.batch_size)
    )
    state = TrainState(params, tx.init(params), shuffle_key)
    batch_size = min(config.batch_size, len(train_split.labels))
    epoch = functools.partial(run_epoch, apply, tx, batch_size, has_plateau)
    return Run(apply, state, jax.jit(epoch, donate_argnums=0), lr)


def _build_optimizer(config: TrainConfig, steps_per_epoch: int) -> tuple[Any, Callable[..., float], bool]:
    """SGD under the scheduler, the learning rate that an epoch uses, and whether a plateau sets it."""
    scheduler = config.build_scheduler()
    momentum = config.momentum or None
    if isinstance(scheduler, optax.GradientTransformationExtraArgs):
        tx = optax.chain(optax.sgd(config.lr, momentum), scheduler)
        return tx, lambda state, epoch: _shortest(plateau_lr(state.opt_state)), True
    per_step = scheduler if config.step_per == "batch" else per_epoch(scheduler, steps_per_epoch)

    def lr_of_last_batch(state: TrainState, epoch: int) -> float:
        del state
        return float(np.asarray(per_step((epoch + 1) * steps_per_epoch - 1)))

    return optax.sgd(per_step, momentum), lr_of_last_batch, False


def _train_epoch(
    run: Run, state: TrainState, epoch: int, train: Split, valid: Split
) -> tuple[TrainState, dict[str, Any]]:
    start = time.perf_counter()
    lr = run.lr(state, epoch)  # read before the epoch: a plateau steps at its end
    state, metrics = run.epoch(state, train, valid)
    values = {name: float(value) for name, value in metrics._asdict().items()}
    return state, {"epoch": epoch, **values, "lr": lr, "seconds": round(time.perf_counter() - start, 4)}


def _splits(config: TrainConfig, dataset: Dataset) -> tuple[Split, Split, Split | None]:
    """Samples to train on, to validate on, and to score at the end unless they validate already."""
    images, labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
    test = Split(jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels))
    if config.validation_size == 0:
        return Split(images, labels), test, None
    num_train = len(labels) - config.validation_size
    if num_train < 1:
        raise DataError(
            f"validation_size {config.validation_size} leaves nothing to train on: "
            f"{config.dataset} has {len(labels)} training samples"
        )
    return (
        Split(images[:num_train], labels[:num_train]),
        Split(images[num_train:], labels[num_train:]),
        test,
    )


def _check_out(config: TrainConfig) -> None:
    """Refuse a folder that holds anything: nothing that a run has written is overwritten."""
    out = config.out
    if out is not None and os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise FileExistsError(f"{out} exists already and is never overwritten: give --out a new folder")


def _claim_out(config: TrainConfig) -> Path:
    """The run's folder with its config.json, which of two runs that want it only one can create."""
    name = re.sub(r"[^a-z0-9_]", "-", config.dataset)[:60]
    out = config.out or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "config.json", dataclasses.asdict(config))
    return out


def _shortest(value: jax.Array) -> float:
    """The shortest decimal that is `value` in its own precision: 0.1, not 0.10000000149011612."""
    return float(str(np.asarray(value)))


def _describe_device() -> str:
    try:
        device = jax.devices()[0]
    except (RuntimeError, AssertionError) as error:  # the latter for JAX_PLATFORMS=cuda without CUDA
        platforms = os.environ.get("JAX_PLATFORMS", "any platform")
        raise DeviceError(f"JAX finds no device for {platforms}: {error}") from error
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    return f"{device.platform}{kind}"
