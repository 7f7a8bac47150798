"""The host side of one run: data in, compiled epochs, lines and files out."""

import contextlib
import functools
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
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
from jaxlr.train.checkpoint import Checkpoints, load_newest, saved_epochs
from jaxlr.train.config import RunConfig, TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.dataset import DataError, Dataset
from jaxlr.train.faults import (
    DeviceError,
    LossError,
    describe_loss,
    fitting,
    how_to_go_on,
    is_lost,
    writing,
)
from jaxlr.train.folder import (
    check_folder,
    check_recipe,
    checkpoints_of,
    claimed,
    config_values,
    new_folder,
)
from jaxlr.train.interrupt import Interrupt, StopError
from jaxlr.train.model import mlp
from jaxlr.train.report import MetricsLog, plot_curves, read_history, write_json
from jaxlr.train.runs import sample_rates
from jaxlr.train.step import Apply, Split, TrainState, count_steps, evaluate, run_epoch


_EPOCH_LINE = (
    "epoch {epoch:3d}  train loss {train_loss:.4f}  valid loss {valid_loss:.4f}  "
    "accuracy {valid_accuracy:.4f}  lr {lr:g}"
)


def train(config: TrainConfig) -> list[dict[str, Any]]:
    """Run `config` to its end and write its folder, or go on with the run there to the same end.

    Args:
        config: the recipe.

    Returns:
        One dict per epoch: `epoch`, `train_loss`, `valid_loss`, `valid_accuracy`, `lr` (the one that the
        epoch used, its last batch where the scheduler steps per batch) and `seconds`.

    Raises:
        DataError: the data set cannot be had, read or split.
        FolderError: `config.out` holds something else already, cannot be written, or another run has it.
        CheckpointError: there are checkpoints to go on from, and all of them are damaged.
        DeviceError: JAX finds no device, or the model and its data do not fit on it.
        RateError: a lambda in the scheduler fails at an epoch (or step) of the run.
        LossError: the loss became NaN or infinite.
        StorageError: the folder can no longer be written.
        StopError: a signal asked for a stop.
    """
    say = speaker(config)
    check_folder(config)
    if config.resume and config.out and _is_finished(config, config.out):
        say(f"{config.out} is finished: it has all of its {config.epochs} epochs")
        return read_history(config.out / "metrics.jsonl")
    say(f"jaxlr {jaxlr.__version__} on {describe_device()}")
    out = config.out or new_folder(config)
    dataset = load_dataset(config.dataset, config.data_dir, shows_progress(config))
    with fitting(config):
        data = splits(config, dataset)
        sizes = f"{len(data.train.labels)} training and {len(data.valid.labels)} validation samples"
        say(f"{config.dataset}: {sizes}; SGD {config.lr:g} under {config.scheduler}")
        run = build_run(config, data.train, dataset.num_classes)
        with writing(config, out), claimed(config, out):
            state, history = _train_epochs(config, out, run, data, say)
            if data.test is not None:
                loss, accuracy = jax.jit(evaluate, static_argnums=0)(run.apply, state.params, data.test)
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
    steps_per_epoch = count_steps(len(train_split.labels), config.batch_size)
    tx, lr, has_plateau = _build_optimizer(config, steps_per_epoch)
    state = TrainState(params, tx.init(params), shuffle_key)
    batch_size = min(config.batch_size, len(train_split.labels))
    epoch = functools.partial(run_epoch, apply, tx, batch_size, has_plateau)
    return Run(apply, state, jax.jit(epoch, donate_argnums=0), lr)


def _build_optimizer(config: TrainConfig, steps_per_epoch: int) -> tuple[Any, Callable[..., float], bool]:
    """SGD under the scheduler, the learning rate that an epoch uses, and whether a plateau sets it."""
    num_counts = config.epochs * config.counts_per_epoch(steps_per_epoch)
    scheduler = config.build_scheduler(num_counts)
    momentum = config.momentum or None
    if isinstance(scheduler, optax.GradientTransformationExtraArgs):
        tx = optax.chain(optax.sgd(config.lr, momentum), scheduler)
        return tx, lambda state, epoch: _shortest(plateau_lr(state.opt_state)), True
    sample_rates(config, scheduler, num_counts)  # refuses now what would fail in a later epoch
    per_step = scheduler if config.step_per == "batch" else per_epoch(scheduler, steps_per_epoch)

    def lr_of_last_batch(state: TrainState, epoch: int) -> float:
        del state
        return float(np.asarray(per_step((epoch + 1) * steps_per_epoch - 1)))

    return optax.sgd(per_step, momentum), lr_of_last_batch, False


class Splits(NamedTuple):
    train: Split
    valid: Split
    test: Split | None  # to score at the end, unless it validates already


def _train_epochs(
    config: TrainConfig, out: Path, run: Run, data: Splits, say: Callable[[str], None]
) -> tuple[TrainState, list[dict[str, Any]]]:
    """Train the epochs that are left, each on disk as it ends; returns the last state and all rows."""
    state, start = _starting_point(config, out, run, say)
    epochs = tqdm(range(start, config.epochs), unit="epoch", disable=not shows_progress(config))
    with Interrupt() as interrupt, MetricsLog(out, config.tensorboard, start) as log:
        losses = {row["epoch"]: row["valid_loss"] for row in log.history}
        with Checkpoints(checkpoints_of(out), losses) as checkpoints, _curves(config, out, log.history):
            for epoch in epochs:
                state, row = _train_epoch(run, state, epoch, data.train, data.valid)
                log.write(row)
                losses[epoch] = row["valid_loss"]
                say(_EPOCH_LINE.format(**row))
                if config.on_nan == "stop" and is_lost(row):
                    break  # before it is saved
                stops = interrupt.number is not None or epoch + 1 == config.epochs
                if stops or (epoch + 1) % config.checkpoint_every == 0:
                    checkpoints.save(epoch, state, config_values(config))
                if stops:
                    break
    if config.on_nan == "stop" and log.history and is_lost(log.history[-1]):
        raise LossError(describe_loss(config, log.history, out))
    if interrupt.number is not None and log.history and log.history[-1]["epoch"] + 1 < config.epochs:
        raise StopError(f"{interrupt.number.name}: stopped; {how_to_go_on(config, out)}", interrupt.number)
    return state, log.history


def _starting_point(
    config: TrainConfig, out: Path, run: Run, say: Callable[[str], None]
) -> tuple[TrainState, int]:
    """The state to train on, and its first epoch."""
    if not config.resume:
        return run.state, 0
    checkpoint = load_newest(checkpoints_of(out), run.state, lambda saved: check_recipe(out, saved, config))
    if checkpoint is None:
        return run.state, 0
    say(f"going on after epoch {checkpoint.epoch}")
    if checkpoint.epoch + 1 < config.epochs:  # these are of an end that no longer is the end
        for name in ("curves.png", "test.json"):
            (out / name).unlink(missing_ok=True)
    return checkpoint.state, checkpoint.epoch + 1


def _is_finished(config: TrainConfig, out: Path) -> bool:
    files = ["curves.png"] + ["test.json"] * (config.validation_size > 0)
    has_all_epochs = saved_epochs(checkpoints_of(out))[:1] == [config.epochs - 1]
    return has_all_epochs and all((out / name).exists() for name in files)


@contextlib.contextmanager
def _curves(config: TrainConfig, out: Path, history: list[dict[str, Any]]) -> Iterator[None]:
    """Draws what there is in the end, for an interrupted run has curves too."""
    try:
        yield
    finally:
        if history:
            title = f"{config.scheduler}, SGD {config.lr:g}, {config.dataset}"
            plot_curves(history, out / "curves.png", title)


def _train_epoch(
    run: Run, state: TrainState, epoch: int, train: Split, valid: Split
) -> tuple[TrainState, dict[str, Any]]:
    start = time.perf_counter()
    lr = run.lr(state, epoch)  # read before the epoch: a plateau steps at its end
    state, metrics = run.epoch(state, train, valid)
    values = {name: float(value) for name, value in metrics._asdict().items()}
    return state, {"epoch": epoch, **values, "lr": lr, "seconds": round(time.perf_counter() - start, 4)}


def splits(config: RunConfig, dataset: Dataset) -> Splits:
    """Samples to train on, to validate on, and to score at the end unless they validate already."""
    images, labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
    test = Split(jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels))
    if config.validation_size == 0:
        return Splits(Split(images, labels), test, None)
    num_train = len(labels) - config.validation_size
    if num_train < 1:
        raise DataError(
            f"validation_size {config.validation_size} leaves nothing to train on: "
            f"{config.dataset} has {len(labels)} training samples"
        )
    return Splits(
        Split(images[:num_train], labels[:num_train]),
        Split(images[num_train:], labels[num_train:]),
        test,
    )


def shows_progress(config: RunConfig) -> bool:
    """Whether there is somebody to watch a progress bar."""
    return not config.quiet and sys.stderr.isatty()


def speaker(config: RunConfig) -> Callable[[str], None]:
    """What prints a line on stdout, beside a progress bar, unless the run is to be quiet."""
    return (lambda line: None) if config.quiet else _say


def _say(line: str) -> None:
    try:
        tqdm.write(line, file=sys.stdout)
        sys.stdout.flush()
    except OSError as error:  # a reader that goes away, as head does, is no reason to lose a run
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        warnings.warn(f"nobody reads the output any more: {error}", stacklevel=2)


def _shortest(value: jax.Array) -> float:
    """The shortest decimal that is `value` in its own precision: 0.1, not 0.10000000149011612."""
    return float(str(np.asarray(value)))


def describe_device() -> str:
    """What JAX runs on, in words."""
    try:
        device = jax.devices()[0]
    except (RuntimeError, AssertionError) as error:  # the latter for JAX_PLATFORMS=cuda without CUDA
        platforms = os.environ.get("JAX_PLATFORMS", "any platform")
        raise DeviceError(f"JAX finds no device for {platforms}: {error}") from error
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    return f"{device.platform}{kind}"
