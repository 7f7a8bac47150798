"""The host side of one run: data in, compiled epochs, lines and files out."""

import contextlib
import dataclasses
import functools
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from tqdm import tqdm

import jaxlr
from jaxlr.plateau import plateau_lr
from jaxlr.schedules.compose import per_epoch
from jaxlr.train.config import RunConfig, TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.device.mesh import check_divides, mesh_of, own_copy, replicate, replicated, split_batches
from jaxlr.train.device.processes import from_first, is_first, joined, largest
from jaxlr.train.device.signals import Interrupt
from jaxlr.train.errors import DataError, LossError, StopError
from jaxlr.train.faults import describe_loss, fitting, how_to_go_on, is_lost, writing
from jaxlr.train.model import mlp
from jaxlr.train.output.checkpoint import Checkpoints, load_newest, saved_epochs
from jaxlr.train.output.figures import plot_curves
from jaxlr.train.output.folder import (
    check_folder,
    check_recipe,
    checkpoints_of,
    claimed,
    config_values,
    new_folder,
)
from jaxlr.train.output.records import MetricsLog, as_json_line, read_history, write_json
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
    with joined(config):
        return _train(_agreed(config))


def _agreed(config: TrainConfig) -> TrainConfig:
    """The config of process 0, which has seen that its folder will do; the others are quiet."""

    def checked() -> TrainConfig:
        check_folder(config)
        return config

    agreed = from_first(checked)
    return agreed if is_first() else dataclasses.replace(agreed, quiet=True)


def _train(config: TrainConfig) -> list[dict[str, Any]]:
    say = speaker(config)
    out = from_first(lambda: config.out or new_folder(config))
    if from_first(lambda: config.resume and _is_finished(config, out)):
        tell(config, [{"out": out}], [f"{out} is finished: it has all of its {config.epochs} epochs"])
        return from_first(lambda: read_history(out / "metrics.jsonl"))
    mesh = mesh_of(config)
    say(f"jaxlr {jaxlr.__version__} on {describe_device(mesh)}")
    check_divides("--batch-size", config.batch_size, mesh)
    dataset = from_first(lambda: load_dataset(config.dataset, config.data_dir, shows_progress(config)))
    with fitting(config):
        data = replicate(mesh, splits(config, dataset))
        sizes = f"{len(data.train.labels)} training and {len(data.valid.labels)} validation samples"
        say(f"{config.dataset}: {sizes}; SGD {config.lr:g} under {config.scheduler}")
        run = build_run(config, data.train, dataset.num_classes, mesh)
        with (
            writing(config, out),
            claimed(config, out, dataset) if is_first() else contextlib.nullcontext(),
        ):
            state, history = _train_epochs(config, out, run, data, say)
            if data.test is not None:
                loss, accuracy = jax.jit(evaluate, static_argnums=0)(run.apply, state.params, data.test)
                score = {"test_loss": float(loss), "test_accuracy": float(accuracy)}
                if is_first():
                    write_json(out / "test.json", score)
                tell(config, [score], [f"test split: loss {loss:.4f}  accuracy {accuracy:.4f}"])
    tell(config, [{"out": out}], [f"wrote {out}"])
    return history


class Run(NamedTuple):
    """A compiled epoch and the state it starts from."""

    apply: Apply
    state: TrainState
    epoch: Callable[..., Any]  # (state, train, valid) -> (state, metrics)
    lr: Callable[[TrainState, int], float]  # of the coming epoch, from its number
    mesh: Mesh | None  # over which batches are split, if there is more than one device


def build_run(config: TrainConfig, train_split: Split, num_classes: int, mesh: Mesh | None = None) -> Run:
    """The initial state of `config`, and one compiled call that trains an epoch and validates.

    Args:
        config: the recipe.
        train_split: the training samples, images of shape (samples, ...).
        num_classes: labels are 0 to `num_classes` - 1.
        mesh: the devices to split batches over; the state is on one of them.
    """
    init_key, shuffle_key = jax.random.split(jax.random.key(config.seed))
    num_features = int(np.prod(train_split.images.shape[1:]))
    init, apply = mlp([num_features, *config.hidden, num_classes])
    apply = split_batches(mesh, apply)
    params = jax.jit(init)(init_key)
    steps_per_epoch = count_steps(len(train_split.labels), config.batch_size)
    tx, lr, has_plateau = _build_optimizer(config, steps_per_epoch)
    state = TrainState(params, tx.init(params), shuffle_key)
    batch_size = min(config.batch_size, len(train_split.labels))
    epoch = functools.partial(run_epoch, apply, tx, batch_size, has_plateau)
    program = jax.jit(epoch, donate_argnums=0, out_shardings=replicated(mesh))
    return Run(apply, state, program, lr, mesh)


def _build_optimizer(config: TrainConfig, steps_per_epoch: int) -> tuple[Any, Callable[..., float], bool]:
    """SGD under the scheduler, the learning rate that an epoch uses, and whether a plateau sets it."""
    counts_per_epoch = config.counts_per_epoch(steps_per_epoch)
    num_counts = config.epochs * counts_per_epoch
    scheduler = config.build_scheduler(num_counts)
    momentum = config.momentum or None
    if isinstance(scheduler, optax.GradientTransformationExtraArgs):
        tx = optax.chain(optax.sgd(config.lr, momentum), scheduler)
        return tx, lambda state, epoch: _shortest(plateau_lr(state.opt_state)), True
    sample_rates(config, scheduler, num_counts)  # refuses now what would fail in a later epoch
    per_step = per_epoch(scheduler, steps_per_epoch // counts_per_epoch)

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
    state, start = from_first(lambda: _starting_point(config, out, run, say))
    state = replicate(run.mesh, state)
    epochs = tqdm(range(start, config.epochs), unit="epoch", disable=not shows_progress(config))
    number, lost = 0, False  # of a signal that asks for a stop; whether the loss is
    with Interrupt() as interrupt, _Record(config, out, start) as record:
        for epoch in epochs:
            state, row = _train_epoch(run, state, epoch, data.train, data.valid)
            record.write(row)
            tell(config, [row], [_EPOCH_LINE.format(**row)])
            lost = config.on_nan == "stop" and is_lost(row)
            if lost:
                break  # before it is saved
            number = largest(interrupt.number or 0)
            stops = number > 0 or epoch + 1 == config.epochs
            record.save(epoch, state, now=stops)
            if stops:
                break
    history = record.history
    if lost:
        raise LossError(from_first(lambda: describe_loss(config, history, out)))
    if number and history[-1]["epoch"] + 1 < config.epochs:
        asked = signal.Signals(number)
        raise StopError(from_first(lambda: f"{asked.name}: stopped; {how_to_go_on(config, out)}"), asked)
    return state, history


class _Record(contextlib.ExitStack):
    """The epochs so far: in the folder of the run on process 0, in memory alone on the others."""

    def __init__(self, config: TrainConfig, out: Path, start: int):
        """Opens the files for the epochs from `start` on."""
        super().__init__()
        self._config = config
        self.history: list[dict[str, Any]] = []
        self._log = None
        if is_first():
            self._log = self.enter_context(MetricsLog(out, config.tensorboard, start))
            self.history = self._log.history
            self._losses = {row["epoch"]: row["valid_loss"] for row in self.history}
            checkpoints = Checkpoints(checkpoints_of(out), self._losses, config.checkpoint_every)
            self._checkpoints = self.enter_context(checkpoints)
            self.enter_context(_curves(config, out, self.history))

    def write(self, row: dict[str, Any]) -> None:
        """Take down the numbers of an epoch."""
        if self._log is None:
            self.history.append(row)
        else:
            self._log.write(row)
            self._losses[row["epoch"]] = row["valid_loss"]

    def save(self, epoch: int, state: TrainState, now: bool) -> None:
        """Take down what the run needs to go on after `epoch`, when it is time to, or now."""
        if self._log is not None and (now or self._checkpoints.is_due(epoch + 1)):
            self._checkpoints.save(epoch, own_copy(state), config_values(self._config))


def _starting_point(
    config: TrainConfig, out: Path, run: Run, say: Callable[[str], None]
) -> tuple[TrainState, int]:
    """The state to train on, and its first epoch."""
    if not config.resume:
        return run.state, 0
    checkpoint = load_newest(checkpoints_of(out), run.state, lambda saved: check_recipe(out, saved, config))
    if checkpoint is None:
        say(f"nothing to go on with in {out}: starting")
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
    """What prints a line on stdout, beside a progress bar, unless only results are asked for, if any."""
    return (lambda line: None) if config.quiet or config.format == "json" else _say


def tell(config: RunConfig, results: Iterable[dict[str, Any]], lines: Iterable[str]) -> None:
    """Print results: each as a JSON object, or all of them as lines to read."""
    if config.format == "json" and not config.quiet:
        lines, say = map(as_json_line, results), _say
    else:
        say = speaker(config)
    for line in lines:
        say(line)


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


def describe_device(mesh: Mesh | None = None) -> str:
    """What JAX runs on, in words."""
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    several = "" if mesh is None else f", {mesh.size} devices"
    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{device.platform}{kind}{several}{processes}"
