"""The host side of a sweep: train all runs, write lines, files and the table."""

import hashlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxlr
from jaxlr.train.chunks import Chunks, Progress, build_chunks
from jaxlr.train.config import SweepConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.data.splits import Data, split_dataset
from jaxlr.train.device.mesh import describe_device, memory_errors, mesh_of, replicate
from jaxlr.train.device.signals import Interrupt
from jaxlr.train.errors import StopError
from jaxlr.train.output.checkpoint import Checkpoints, load_newest, read_newest, saved_epochs
from jaxlr.train.output.console import Console
from jaxlr.train.output.figures import load_in_background, plot_sweep
from jaxlr.train.output.folder import RunFolder, saved_config
from jaxlr.train.output.records import CsvLog, as_csv
from jaxlr.train.output.run_programs import RunPrograms
from jaxlr.train.output.summary import as_text, best_curves, epoch_rows, read_metrics, summarize
from jaxlr.train.runs import RunMetrics


Row = dict[str, Any]


def sweep(config: SweepConfig) -> list[Row]:
    """Train every scheduler at every learning rate from every seed. With `resume`, continue a sweep.

    The runs of a chunk advance together in one compiled program. Their learning rates are inputs of that
    program, so any mix of schedulers needs only one.

    Args:
        config: the settings.

    Returns:
        The rows of the summary: one dict for each scheduler and learning rate, the best first.

    Raises:
        DataError: the dataset cannot be loaded or split.
        RateError: a lambda in a scheduler fails at an epoch (or step) of the run.
        FolderError: the folder holds something else, cannot be written, or another run is writing to it.
        CheckpointError: there are checkpoints to resume from, and all of them are damaged.
        DeviceError: JAX finds no device, or a run does not fit on it.
        StorageError: the folder can no longer be written.
        StopError: a signal asked for a stop.
    """
    console = Console(config.output.quiet, config.output.format)
    folder = RunFolder.of(config)
    folder.check()
    if config.output.resume and (saved := saved_config(folder.path, SweepConfig)):
        if rows := _finished_rows(saved, config, folder):
            console.say(f"{folder.path} is finished: it has all of its {config.num_runs} runs")
            _show(config, folder, console, rows)
            return rows
        config = config.replace(chunk=saved.device.chunk)  # another size would need another program
    mesh = mesh_of(config.device.devices)
    console.say(f"jaxlr {jaxlr.__version__} on {describe_device(mesh)}")
    dataset = load_dataset(config.data.dataset, config.data.data_dir, console.shows_progress)
    programs = RunPrograms(folder.path, "jit_continue_run", config)
    lower = ["--seeds", "--chunk", "--batch-size", "--hidden"]
    with memory_errors(config.training.batch_size, lower), programs.in_use():
        data = split_dataset(dataset, config.data.validation_size)
        data = replicate(mesh, data._replace(test=None))
        load_in_background()
        chunks = build_chunks(config, data, dataset.num_classes, mesh)
        config = config.replace(chunk=chunks.size)
        folder = RunFolder(folder.path, config)
        _introduce(config, data, console)
        with folder.storage_errors(), folder.claimed(dataset):
            rows = _train(config, folder, console, chunks, data, programs)
    _show(config, folder, console, rows, f"wrote {folder.path}")
    return rows


def _finished_rows(saved: SweepConfig, config: SweepConfig, folder: RunFolder) -> list[Row]:
    """Return the summary of a sweep that is finished and undamaged, or no rows."""
    num_chunks = -(-config.num_runs // (saved.device.chunk or config.num_runs))
    has_all_epochs = saved_epochs(folder.checkpoints)[:1] == [num_chunks * config.epochs - 1]
    if not (has_all_epochs and folder.has_content("sweep.csv", "summary.csv", "sweep.png")):
        return []
    metrics, table = folder.path / "sweep.csv", folder.path / "summary.csv"
    if (checkpoint := read_newest(folder.checkpoints)) is None:
        return []
    if hashlib.sha256(metrics.read_bytes()).hexdigest() != checkpoint["rows"]:
        _warn_of_change(metrics)
        return []
    rows = summarize(config, read_metrics(metrics, config.epochs))
    if table.read_bytes() == as_csv(rows).encode():
        return rows
    if saved.training.target_accuracy == config.training.target_accuracy:
        _warn_of_change(table)
    return []


def _warn_of_change(path: Path) -> None:
    warnings.warn(f"{path} was changed since the sweep wrote it: it is written again", stacklevel=2)


def _introduce(config: SweepConfig, data: Data, console: Console) -> None:
    sizes = f"{len(data.train.labels)} training and {len(data.valid.labels)} validation samples"
    console.say(f"{config.data.dataset}: {sizes}")
    num_schedulers, num_rates = len(config.schedule.scheduler), len(config.schedule.rates)
    console.say(
        f"{num_schedulers} schedulers x {num_rates} rates x {config.training.seeds} seeds = "
        f"{config.num_runs} runs of {config.epochs} epochs, {config.device.chunk} at once"
    )


def _show(
    config: SweepConfig, folder: RunFolder, console: Console, rows: list[Row], *last_lines: str
) -> None:
    """Print the summary, and the folder last."""
    table = as_text(rows, config.training.target_accuracy)
    console.show([*rows, {"out": folder.path}], [*table, *last_lines])


def _train(
    config: SweepConfig,
    folder: RunFolder,
    console: Console,
    chunks: Chunks,
    data: Data,
    programs: RunPrograms,
) -> list[Row]:
    """Train the remaining epochs. A sweep that is stopped summarizes the runs that are complete."""
    epochs_per_run = config.epochs
    done, progress = _starting_point(config, folder, console, chunks, programs)
    training = chunks.train(data, done, progress)
    num_epochs = chunks.num_chunks * epochs_per_run

    def metrics_of(first_chunk: int, end_chunk: int) -> RunMetrics:
        runs = slice(first_chunk * chunks.size, end_chunk * chunks.size)
        return RunMetrics(*(field[runs] for field in progress.metrics))

    def rows_of(first_chunk: int, end_chunk: int) -> Iterator[Row]:
        return epoch_rows(config, first_chunk * chunks.size, metrics_of(first_chunk, end_chunk))

    rows: list[Row] = []
    try:
        with (
            Interrupt() as interrupt,
            CsvLog(folder.path / "sweep.csv", rows_of(0, done // epochs_per_run)) as log,
            Checkpoints(
                folder.checkpoints, {}, config.output.checkpoint_every, programs.numerics
            ) as checkpoints,
            console.progress(done, num_epochs) as bar,
        ):
            console.interrupt = interrupt
            for done, progress in training:
                bar.update()
                num_ended, epochs = divmod(done, epochs_per_run)
                # Writing no rows still checks that the file exists. Orbax would recreate a lost folder.
                log.write(rows_of(num_ended - 1, num_ended) if epochs == 0 else ())
                is_last = interrupt.number is not None or done == num_epochs
                if is_last or checkpoints.is_due(epochs):
                    programs.write()
                    checkpoints.save(
                        done - 1, chunks.without_padding(progress), folder.saved_settings(), log.digest
                    )
                if is_last:
                    break
    finally:
        if num_ended := done // epochs_per_run:
            rows = _conclude(config, folder, metrics_of(0, num_ended))
    if interrupt.number is not None and done < num_epochs:
        raise StopError(f"{interrupt.number.name}: stopped; {folder.resume_hint()}", interrupt.number)
    return rows


def _starting_point(
    config: SweepConfig, folder: RunFolder, console: Console, chunks: Chunks, programs: RunPrograms
) -> tuple[int, Progress]:
    """Return the number of epochs done, across all chunks, and the progress after them."""
    start = chunks.initial_progress()
    if not config.output.resume:
        return 0, start
    checkpoint = load_newest(folder.checkpoints, start, folder.check_settings, programs.check)
    if checkpoint is None:
        console.say(f"no checkpoint in {folder.path}: starting")
        return 0, start
    console.say(f"resuming after epoch {folder.name_of(checkpoint.epoch)}")
    for name in ("summary.csv", "sweep.png"):  # these files show only the runs that were complete
        (folder.path / name).unlink(missing_ok=True)
    states, metrics = checkpoint.state
    return checkpoint.epoch + 1, Progress(states, jax.tree.map(np.array, metrics))


def _conclude(config: SweepConfig, folder: RunFolder, metrics: RunMetrics) -> list[Row]:
    """Write the table and the figure of the runs in `metrics`. Return the rows of the table."""
    rows = summarize(config, metrics)
    CsvLog(folder.path / "summary.csv", rows).close()
    seeds = config.training.seeds
    title = f"{config.data.dataset}, {seeds} seeds: each scheduler at its best learning rate"
    plot_sweep(best_curves(config, metrics, rows), folder.path / "sweep.png", title)
    return rows
