"""The host side of a sweep: many runs as one compiled program, in parts that fit, and what they show."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from tqdm import tqdm

import jaxlr
from jaxlr.train.config import SweepConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.device.mesh import count_devices, divided, mesh_of, replicate
from jaxlr.train.device.signals import Interrupt
from jaxlr.train.errors import StopError
from jaxlr.train.faults import fitting, how_to_go_on, name_of, writing
from jaxlr.train.loop import describe_device, shows_progress, speaker, splits, tell
from jaxlr.train.model import mlp
from jaxlr.train.output.checkpoint import Checkpoints, load_newest, saved_epochs
from jaxlr.train.output.figures import plot_sweep
from jaxlr.train.output.folder import (
    check_folder,
    check_recipe,
    checkpoints_of,
    claimed,
    config_values,
    new_folder,
    saved_config,
)
from jaxlr.train.output.records import CsvLog
from jaxlr.train.output.summary import as_text, best_curves, epoch_rows, read_summary, summarize
from jaxlr.train.runs import (
    Data,
    Hyperparameters,
    RunMetrics,
    continue_run,
    hyperparameters_of,
    start_run,
)
from jaxlr.train.step import TrainState, count_steps


# Beside the data, on a device that does not tell its memory, which is a host: larger batches would fit
# there too, but a run in them takes longer, as they outgrow the caches.
_HOST_BYTES = 128 * 2**20
_SHARE_OF_FREE_BYTES = 0.8  # the rest is for fragments, and for what XLA does not account for


def sweep(config: SweepConfig) -> list[dict[str, Any]]:
    """Train every scheduler at every learning rate from every seed, and write the folder, or go on with it.

    The runs advance side by side in one compiled program, an epoch of a batch of runs; what differs
    between their schedulers is data to it.

    Args:
        config: the recipes.

    Returns:
        The rows of `summarize`: a dict for each scheduler and learning rate, the best first.

    Raises:
        DataError: the data set cannot be had, read or split.
        RateError: a lambda in a scheduler fails at an epoch (or step) of the run.
        FolderError: `config.out` holds something else already, cannot be written, or another run has it.
        CheckpointError: there are checkpoints to go on from, and all of them are damaged.
        DeviceError: JAX finds no device, or a run does not fit on it.
        StorageError: the folder can no longer be written.
        StopError: a signal asked for a stop.
    """
    say = speaker(config)
    check_folder(config)
    if config.resume and config.out and (saved := saved_config(config.out, SweepConfig)):
        if rows := _finished_rows(saved, config):
            say(f"{config.out} is finished: it has all of its {config.num_runs} runs")
            tell(config, [*rows, {"out": config.out}], as_text(rows, config.target_accuracy))
            return rows
        config = replace(config, chunk=saved.chunk)  # chunks of another size would be another program
    mesh = mesh_of(config)
    say(f"jaxlr {jaxlr.__version__} on {describe_device(mesh)}")
    dataset = load_dataset(config.dataset, config.data_dir, shows_progress(config))
    out = config.out or new_folder(config)
    with fitting(config):
        train_split, valid_split, _ = splits(config, dataset)
        data = replicate(mesh, Data(train_split, valid_split))
        runs = build_runs(config, data, dataset.num_classes, mesh)
        config = replace(config, chunk=runs.chunk)
        sizes = f"{len(train_split.labels)} training and {len(valid_split.labels)} validation samples"
        say(f"{config.dataset}: {sizes}")
        say(
            f"{len(config.scheduler)} schedulers x {len(config.lr)} rates x {config.seeds} seeds = "
            f"{runs.total} runs of {config.epochs} epochs, {runs.chunk} at once"
        )
        with writing(config, out), claimed(config, out, dataset):
            rows = _train(config, runs, data, out, say)
    tell(config, [*rows, {"out": out}], [*as_text(rows, config.target_accuracy), f"wrote {out}"])
    return rows


def _finished_rows(saved: SweepConfig, config: SweepConfig) -> list[dict[str, Any]]:
    """The table of the sweep in `config.out`, if all that is left to do is to print it."""
    out = config.out or Path()
    last = -(-config.num_runs // (saved.chunk or config.num_runs)) * config.epochs - 1
    has_all_epochs = saved_epochs(checkpoints_of(out))[:1] == [last]
    has_all_files = all((out / name).exists() for name in ("sweep.csv", "summary.csv", "sweep.png"))
    if not has_all_epochs or not has_all_files or saved.target_accuracy != config.target_accuracy:
        return []
    return read_summary(out / "summary.csv")


def _train(
    config: SweepConfig, runs: "Runs", data: Data, out: Path, say: Callable[[str], None]
) -> list[dict[str, Any]]:
    """Train the epochs that are left into `out`; an interrupted sweep shows the runs that have ended."""
    done, progress = _starting_point(config, runs, out, say)
    training = runs.train(data, done, progress)
    num_epochs = runs.num_chunks * config.epochs

    def rows_of(first_chunk: int, end_chunk: int) -> Iterator[dict[str, Any]]:
        first, end = first_chunk * runs.chunk, end_chunk * runs.chunk
        return epoch_rows(config, first, RunMetrics(*(field[first:end] for field in progress.metrics)))

    rows: list[dict[str, Any]] = []
    try:
        with (
            Interrupt() as interrupt,
            CsvLog(out / "sweep.csv", rows_of(0, done // config.epochs)) as log,
            Checkpoints(checkpoints_of(out), {}, config.checkpoint_every) as checkpoints,
            tqdm(total=num_epochs, initial=done, unit="epoch", disable=not shows_progress(config)) as bar,
        ):
            for done, progress in training:
                bar.update()
                num_ended, epochs = divmod(done, config.epochs)
                # No rows show that the file is still there: Orbax would make a folder that vanished anew.
                log.write(rows_of(num_ended - 1, num_ended) if epochs == 0 else ())
                stops = interrupt.number is not None or done == num_epochs
                if stops or checkpoints.is_due(epochs):
                    checkpoints.save(done - 1, runs.unfilled(progress), config_values(config))
                if stops:
                    break
    finally:
        if num_ended := done // config.epochs:
            ended = slice(num_ended * runs.chunk)
            rows = _conclude(config, RunMetrics(*(field[ended] for field in progress.metrics)), out)
    if interrupt.number is not None and done < num_epochs:
        raise StopError(f"{interrupt.number.name}: stopped; {how_to_go_on(config, out)}", interrupt.number)
    return rows


def _starting_point(
    config: SweepConfig, runs: "Runs", out: Path, say: Callable[[str], None]
) -> tuple[int, "Progress"]:
    """How many epochs are done, counted on from chunk to chunk, and what there is after them."""
    start = runs.start_of_all()
    if not config.resume:
        return 0, start
    checkpoint = load_newest(checkpoints_of(out), start, lambda saved: check_recipe(out, saved, config))
    if checkpoint is None:
        say(f"nothing to go on with in {out}: starting")
        return 0, start
    say(f"going on after epoch {name_of(config, checkpoint.epoch)}")
    for name in ("summary.csv", "sweep.png"):  # of the runs that had ended: these say that all have
        (out / name).unlink(missing_ok=True)
    states, metrics = checkpoint.state
    return checkpoint.epoch + 1, Progress(states, jax.tree.map(np.array, metrics))


def _conclude(config: SweepConfig, metrics: RunMetrics, out: Path) -> list[dict[str, Any]]:
    """Write the table and the figure of the runs in `metrics`; returns the rows."""
    rows = summarize(config, metrics)
    CsvLog(out / "summary.csv", rows).close()
    title = f"{config.dataset}, {config.seeds} seeds: each scheduler at the rate that suits it best"
    plot_sweep(best_curves(config, metrics, rows), out / "sweep.png", title)
    return rows


class Progress(NamedTuple):
    """What a sweep needs to go on, of the same shapes at any of its moments."""

    states: TrainState  # of the chunk under way, stacked over its runs
    metrics: RunMetrics  # of all runs, NumPy float32, shape (runs, epochs); 0 in the epochs to come


class Runs(NamedTuple):
    """The runs of a sweep, seeds fastest, then rates, then schedulers; a chunk of them at a time."""

    hyperparameters: Hyperparameters  # NumPy, stacked over recipes
    seeds: np.ndarray  # of each recipe, shape (seeds,)
    chunk: int
    start: Callable[..., Any]  # (keys, hyperparameters) -> states
    epoch: Callable[..., Any]  # (states, hyperparameters, data) -> (states, metrics), for `width` runs
    mesh: Mesh | None = None  # the devices that the runs of a chunk are split over, if there are several

    @property
    def width(self) -> int:
        """How many runs are trained at once: a chunk, filled up so that every device has as many."""
        return _filled_up(self.chunk, self.mesh)

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self.hyperparameters.rates) * len(self.seeds)

    @property
    def num_chunks(self) -> int:
        """How many batches they make."""
        return -(-self.total // self.chunk)

    @property
    def num_epochs(self) -> int:
        """How many epochs each of them takes."""
        return self.hyperparameters.rates.shape[1]

    def start_of_all(self) -> Progress:
        """The progress before the first epoch; its states are shapes alone."""
        empty = RunMetrics(*np.zeros((len(RunMetrics._fields), self.total, self.num_epochs), np.float32))
        states = jax.eval_shape(self.start, *self._recipes_of(0))
        return jax.eval_shape(self.unfilled, Progress(states, empty))._replace(metrics=empty)

    def unfilled(self, progress: Progress) -> Progress:
        """Without what fills up the chunk, so that it can go on with any number of devices."""
        if self.width == self.chunk:
            return progress
        return progress._replace(states=jax.tree.map(lambda leaf: leaf[: self.chunk], progress.states))

    def train(self, data: Data, done: int, progress: Progress) -> Iterator[tuple[int, Progress]]:
        """Train chunk after chunk, all but the first `done` epochs, counted on from chunk to chunk.

        Yields:
            After every epoch how many are done, and the progress, which the next epoch overwrites.
        """
        states, metrics = progress
        for chunk in range(done // self.num_epochs, self.num_chunks):
            keys, hyperparameters = self._recipes_of(chunk)
            own = slice(chunk * self.chunk, min((chunk + 1) * self.chunk, self.total))
            if done % self.num_epochs == 0:
                states = self.start(keys, hyperparameters)
            elif self.mesh is not None:
                states = self._filled(states)
            for epoch in range(done % self.num_epochs, self.num_epochs):
                states, new = self.epoch(states, hyperparameters, data)
                # Fetched now: an interrupt is heard between epochs, and the bar is true.
                for field, values in zip(metrics, jax.device_get(new), strict=True):
                    field[own, epoch] = values[: own.stop - own.start]
                done += 1
                yield done, Progress(states, metrics)

    def _recipes_of(self, chunk: int) -> tuple[jax.Array, Hyperparameters]:
        """The keys and the hyperparameters of its runs."""
        # The last chunk is filled with repetitions: of another size it would be another program.
        first = chunk * self.chunk
        runs = np.minimum(np.arange(first, first + self.width), self.total - 1)
        recipes, seeds = np.divmod(runs, len(self.seeds))
        hyperparameters = _taken(self.hyperparameters, recipes)
        return _keys(self.seeds[seeds]), jax.device_put(hyperparameters, divided(self.mesh))

    def _filled(self, states: TrainState) -> TrainState:
        """States of a chunk, filled up with the last one, on the devices."""
        rows = np.minimum(np.arange(self.width), self.chunk - 1)
        return jax.device_put(jax.tree.map(lambda leaf: leaf[rows], states), divided(self.mesh))


def build_runs(config: SweepConfig, data: Data, num_classes: int, mesh: Mesh | None = None) -> Runs:
    """The runs of `config` and the program that trains a chunk of them for an epoch, compiled.

    Args:
        config: the recipes.
        data: what they learn from, on every device.
        num_classes: labels are 0 to `num_classes` - 1.
        mesh: the devices to split the runs over.
    """
    recipes = config.recipes()
    steps_per_epoch = count_steps(len(data.train.labels), config.batch_size)
    listed = [hyperparameters_of(recipe, steps_per_epoch) for recipe in recipes]
    # Beside a scheduler that steps per batch, another has the rate of its epoch for each of them.
    shape = (config.epochs, max(each.rates.shape[1] for each in listed))
    listed = [each._replace(rates=np.broadcast_to(each.rates, shape)) for each in listed]
    hyperparameters = jax.tree.map(lambda *leaves: np.stack(leaves), *listed)
    seeds = np.arange(config.seed, config.seed + config.seeds)

    num_features = int(np.prod(data.train.images.shape[1:]))
    model = mlp([num_features, *config.hidden, num_classes])
    start = jax.jit(
        jax.vmap(functools.partial(start_run, model=model, momentum=config.momentum), in_axes=(0, 0)),
        out_shardings=divided(mesh),
    )
    settings = {"model": model, "batch_size": config.batch_size, "momentum": config.momentum}
    epoch = jax.jit(
        jax.vmap(functools.partial(continue_run, **settings), in_axes=(0, 0, None)),
        donate_argnums=0,
        out_shardings=divided(mesh),
    )

    def compiled(chunk: int) -> Any:
        """The program for so many runs; nothing is allocated for it yet."""
        width = _filled_up(chunk, mesh)
        first = _taken(hyperparameters, np.zeros(width, int))
        shapes = jax.eval_shape(lambda: first)
        states = jax.eval_shape(start, jax.eval_shape(_keys, np.zeros(width, int)), shapes)
        placed = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=divided(mesh)),
            (states, shapes),
        )
        return epoch.lower(*placed, data).compile()

    # A program's account holds its data, which lies on the device already.
    free_bytes = _free_bytes() + sum(leaf.nbytes for leaf in jax.tree.leaves(data))
    total = len(recipes) * len(seeds)
    chunk, program = _fit(compiled, total, config.chunk, free_bytes, count_devices(mesh))
    return Runs(hyperparameters, seeds, chunk, start, program, mesh)


def _fit(
    compiled: Callable[[int], Any], total: int, chunk: int | None, free_bytes: float, devices: int = 1
) -> tuple[int, Any]:
    """The size of the chunks, near each other in size, and their program: what fits, or `chunk`."""
    size = _balanced(total, chunk or total)
    program = compiled(size)
    while chunk is None and size > devices and (needed := _bytes(program)) > free_bytes:
        # Most of what is needed is in proportion to the runs; where that is not so, it takes a turn more.
        most = min(size - 1, int(size * free_bytes / needed)) // devices * devices
        size = _balanced(total, max(devices, most))
        program = compiled(size)
    return size, program


def _balanced(total: int, most: int) -> int:
    """The size of chunks of at most `most` when there are as few as can be: 32 of 96 for 40, not 40."""
    num_chunks = -(-total // min(most, total))
    return -(-total // num_chunks)


def _filled_up(chunk: int, mesh: Mesh | None) -> int:
    """The next multiple of the number of devices."""
    devices = count_devices(mesh)
    return -(-chunk // devices) * devices


def _bytes(program: Any) -> int:
    """What a compiled program takes of each device, its arguments and results included."""
    memory = program.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes
    )


def _free_bytes() -> float:
    memory = jax.devices()[0].memory_stats()
    if not memory or "bytes_limit" not in memory:
        return _HOST_BYTES
    return _SHARE_OF_FREE_BYTES * (memory["bytes_limit"] - memory["bytes_in_use"])


def _taken(hyperparameters: Hyperparameters, recipes: np.ndarray) -> Hyperparameters:
    """The hyperparameters of runs, from the index of the recipe of each."""
    return jax.tree.map(lambda leaf: leaf[recipes], hyperparameters)


def _keys(seeds: np.ndarray) -> jax.Array:
    """The key that `jaxlr train` starts from, for each seed."""
    return jax.vmap(jax.random.key)(seeds)
