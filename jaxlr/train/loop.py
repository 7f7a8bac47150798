"""The host side of one run: load the data, run the compiled epochs, write lines and files."""

import contextlib
import math
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax

import jaxlr
from jaxlr.train.config import TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.data.splits import Data, split_dataset
from jaxlr.train.device.compiler import compiler_options
from jaxlr.train.device.mesh import (
    check_divides,
    describe_device,
    memory_errors,
    mesh_of,
    own_copy,
    replicate,
)
from jaxlr.train.device.processes import from_first, is_first, joined, largest
from jaxlr.train.device.signals import Interrupt
from jaxlr.train.errors import LossError, StopError
from jaxlr.train.output.checkpoint import Checkpoints, load_newest, read_newest, saved_epochs
from jaxlr.train.output.console import Console
from jaxlr.train.output.figures import load_in_background, plot_curves
from jaxlr.train.output.folder import RunFolder
from jaxlr.train.output.records import MetricsLog, has_digest, read_history, write_json
from jaxlr.train.output.run_programs import RunPrograms
from jaxlr.train.program import Run, build_run
from jaxlr.train.step import Apply, Split, TrainState, count_steps, evaluate


_EPOCH_LINE = (
    "epoch {epoch:3d}  train loss {train_loss:.4f}  valid loss {valid_loss:.4f}  "
    "accuracy {valid_accuracy:.4f}  lr {lr:g}"
)

Row = dict[str, Any]


def train(config: TrainConfig) -> list[Row]:
    """Train one run to its end and write its folder. With `resume`, continue from its last checkpoint.

    Args:
        config: the settings.

    Returns:
        One dict per epoch: `epoch`, `train_loss`, `valid_loss`, `valid_accuracy`, `lr` (the learning rate
        of the epoch, or of its last batch where the scheduler steps per batch) and `seconds`.

    Raises:
        DataError: the dataset cannot be loaded or split.
        FolderError: the folder holds something else, cannot be written, or another run is writing to it.
        CheckpointError: there are checkpoints to resume from, and all of them are damaged.
        DeviceError: JAX finds no device, or the model and its data do not fit on it.
        RateError: a lambda in the scheduler fails at an epoch (or step) of the run.
        LossError: the loss became NaN or infinite.
        StorageError: the folder can no longer be written.
        StopError: a signal asked for a stop.
    """
    with joined(config.device):
        # Process 0 decides, so that all processes agree, and only process 0 prints.
        config, path, history = from_first(lambda: _decide(config))
        console = Console(config.output.quiet or not is_first(), config.output.format)
        folder = RunFolder(path, config)
        if history:
            line = f"{path} is finished: it has all of its {config.epochs} epochs"
            console.show([{"out": path}], [line])
            return history
        return _train(config, folder, console)


def _decide(config: TrainConfig) -> tuple[TrainConfig, Path, list[Row]]:
    """Return the settings, the folder, and the rows of a finished run. Otherwise there are no rows."""
    folder = RunFolder.of(config)
    folder.check()
    config = folder.with_saved_recipe()
    return config, folder.path, _finished_rows(config, folder) if config.output.resume else []


def _finished_rows(config: TrainConfig, folder: RunFolder) -> list[Row]:
    """Return all epochs of a run that is finished and undamaged, or no rows."""
    files = ["curves.png", "test.json"] if config.data.validation_size else ["curves.png"]
    if config.training.epochs is None or saved_epochs(folder.checkpoints)[:1] != [config.epochs - 1]:
        return []
    if not folder.has_content(*files) or (checkpoint := read_newest(folder.checkpoints)) is None:
        return []
    rows = read_history(folder.path / "metrics.jsonl")
    return rows if has_digest(rows, checkpoint["rows"]) else []


def _train(config: TrainConfig, folder: RunFolder, console: Console) -> list[Row]:
    """Load the data, then train and score the run in its folder. Return its rows."""
    mesh = mesh_of(config.device.devices)
    console.say(f"jaxlr {jaxlr.__version__} on {describe_device(mesh)}")
    check_divides("--batch-size", config.training.batch_size, mesh)
    name, data_dir = config.data.dataset, config.data.data_dir
    dataset = from_first(lambda: load_dataset(name, data_dir, console.shows_progress))
    programs = RunPrograms(folder.path, "jit_run_epoch", config)
    with memory_errors(config.training.batch_size, ["--batch-size", "--hidden"]), programs.in_use():
        data = replicate(mesh, split_dataset(dataset, config.data.validation_size))
        sizes = f"{len(data.train.labels)} training and {len(data.valid.labels)} validation samples"
        config = config.completed(count_steps(len(data.train.labels), config.training.batch_size))
        folder = RunFolder(folder.path, config)
        console.say(f"{name}: {sizes}; {config.schedule.optimizer_label} under {config.schedule.label}")
        for sentence in config.schedule.assumptions:
            console.say(sentence)
        run = build_run(config, data.train, dataset.num_classes, mesh)
        with folder.storage_errors(), folder.claimed(dataset) if is_first() else contextlib.nullcontext():
            state, history = _train_epochs(config, folder, console, run, data, programs)
            if data.test is not None:
                _score(config, run.apply, state.params, data.test, folder, console)
    console.show([{"out": folder.path}], [f"wrote {folder.path}"])
    return history


def _train_epochs(
    config: TrainConfig, folder: RunFolder, console: Console, run: Run, data: Data, programs: RunPrograms
) -> tuple[TrainState, list[Row]]:
    """Train the remaining epochs, and record each one when it ends. Return the last state and all rows."""
    state, start, digest = from_first(lambda: _starting_point(config, folder, console, run.state, programs))
    state = replicate(run.mesh, state)
    epochs = config.epochs
    stop_signal, has_diverged = 0, False
    with (
        Interrupt() as interrupt,
        _files(config, folder, start, digest, programs) as files,
        console.progress(start, epochs) as bar,
    ):
        console.interrupt = interrupt
        history: list[Row] = [] if files is None else files.log.history
        for epoch in range(start, epochs):
            state, row = _train_epoch(run, state, epoch, data)
            bar.update()
            if files is None:
                history.append(row)
            else:
                files.write(row)
            console.show([row], [_EPOCH_LINE.format(**row)])
            has_diverged = config.training.on_nan == "stop" and not has_finite_loss(row)
            if has_diverged:
                break  # so that the NaN or infinite state is not saved
            stop_signal = largest(interrupt.number or 0)
            is_last = stop_signal > 0 or epoch + 1 == epochs
            if files is not None and (is_last or files.checkpoints.is_due(epoch + 1)):
                programs.write()
                files.checkpoints.save(epoch, own_copy(state), folder.saved_settings(), files.log.digest)
            if is_last:
                break
    if has_diverged:
        raise LossError(from_first(lambda: _describe_loss(history, folder)))
    if stop_signal and history[-1]["epoch"] + 1 < epochs:
        number = signal.Signals(stop_signal)
        raise StopError(from_first(lambda: f"{number.name}: stopped; {folder.resume_hint()}"), number)
    return state, history


def _starting_point(
    config: TrainConfig, folder: RunFolder, console: Console, initial: TrainState, programs: RunPrograms
) -> tuple[TrainState, int, str | None]:
    """Return the state to train on, its first epoch, and the digest of the rows before that epoch.

    The state is `initial`, or the last checkpoint's.
    """
    if not config.output.resume:
        return initial, 0, None
    checkpoint = load_newest(folder.checkpoints, initial, folder.check_settings, programs.check)
    if checkpoint is None:
        console.say(f"no checkpoint in {folder.path}: starting")
        return initial, 0, None
    console.say(f"resuming after epoch {checkpoint.epoch}")
    if checkpoint.epoch + 1 < config.epochs:  # these files show the end of a shorter run
        for name in ("curves.png", "test.json"):
            (folder.path / name).unlink(missing_ok=True)
    return checkpoint.state, checkpoint.epoch + 1, checkpoint.rows


def _train_epoch(run: Run, state: TrainState, epoch: int, data: Data) -> tuple[TrainState, Row]:
    """Train one epoch. Return the new state and the metrics."""
    start = time.perf_counter()
    lr = run.lr(state, epoch)  # before the epoch: a plateau steps at its end
    state, metrics = run.epoch(state, data.train, data.valid)
    values = {name: float(value) for name, value in metrics._asdict().items()}
    return state, {"epoch": epoch, **values, "lr": lr, "seconds": round(time.perf_counter() - start, 4)}


def _score(
    config: TrainConfig, apply: Apply, params: Any, test: Split, folder: RunFolder, console: Console
) -> None:
    """Score the test split, once, with the weights of the last epoch."""
    program = jax.jit(evaluate, static_argnums=0, compiler_options=compiler_options(config.device))
    loss, accuracy = program(apply, params, test)
    score = {"test_loss": float(loss), "test_accuracy": float(accuracy)}
    if is_first():
        write_json(folder.path / "test.json", score)
    console.show([score], [f"test split: loss {loss:.4f}  accuracy {accuracy:.4f}"])


class _Files(NamedTuple):
    """The files that a run writes while it trains: metrics and checkpoints. Process 0 writes them."""

    log: MetricsLog
    checkpoints: Checkpoints
    losses: dict[int, float]  # the validation loss of each epoch, for `checkpoints`

    def write(self, row: Row) -> None:
        """Write the metrics of an epoch."""
        self.log.write(row)
        self.losses[row["epoch"]] = row["valid_loss"]


@contextlib.contextmanager
def _files(
    config: TrainConfig, folder: RunFolder, start: int, digest: str | None, programs: RunPrograms
) -> Iterator[_Files | None]:
    """Open the files for the epochs from `start` on, on process 0 only. Draw the curves at the end."""
    if not is_first():
        yield None
        return
    schedule, every = config.schedule, config.output.checkpoint_every
    load_in_background()
    with MetricsLog(folder.path, config.output.tensorboard, start, digest) as log:
        losses = {row["epoch"]: row["valid_loss"] for row in log.history}
        with Checkpoints(folder.checkpoints, losses, every, programs.numerics) as checkpoints:
            try:
                yield _Files(log, checkpoints, losses)
            finally:  # draw the curves of a run that is stopped, too
                if log.history:
                    title = f"{schedule.label}, {schedule.optimizer_label}, {config.data.dataset}"
                    plot_curves(log.history, folder.path / "curves.png", title)


def has_finite_loss(row: Row) -> bool:
    """Return True if neither loss of an epoch is NaN or infinite."""
    return math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"])


def _describe_loss(history: list[Row], folder: RunFolder) -> str:
    """Describe the NaN or infinite loss of the last epoch, and say what to do."""
    row = history[-1]
    finite = [row for row in history if math.isfinite(row["train_loss"])]
    last = f"{finite[-1]['train_loss']:.4g} in epoch {finite[-1]['epoch']}" if finite else "none"
    return (
        f"the loss became {row['train_loss']:g} in training and {row['valid_loss']:g} in validation in"
        f" epoch {row['epoch']}, at a learning rate of {row['lr']:g} (last finite training loss: {last}):"
        " start a new run with a lower --lr, or continue as torch would, with --on-nan continue;"
        f" {folder.resume_hint()} --on-nan continue"
    )
