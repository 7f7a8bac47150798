"""The host side of a sweep: many runs as one compiled program, in parts that fit, and what they show."""

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

import jaxlr
from jaxlr.train.config import SweepConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.faults import fitting
from jaxlr.train.folder import check_folder, claimed, new_folder
from jaxlr.train.loop import describe_device, shows_progress, speaker, splits
from jaxlr.train.model import mlp
from jaxlr.train.report import CsvLog, plot_sweep
from jaxlr.train.runs import (
    Data,
    Hyperparameters,
    RunMetrics,
    continue_run,
    hyperparameters_of,
    start_run,
)
from jaxlr.train.step import count_steps
from jaxlr.train.summary import as_text, best_curves, epoch_rows, summarize


# Beside the data, on a device that does not tell its memory, which is a host: larger batches would fit
# there too, but a run in them takes longer, as they outgrow the caches.
_HOST_BYTES = 128 * 2**20
_SHARE_OF_FREE_BYTES = 0.8  # the rest is for fragments, and for what XLA does not account for


def sweep(config: SweepConfig) -> list[dict[str, Any]]:
    """Train every scheduler at every learning rate from every seed, and write the folder.

    The runs advance side by side in one compiled program, an epoch of a batch of runs; what differs
    between their schedulers is data to it.

    Args:
        config: the recipes.

    Returns:
        The rows of `summarize`: a dict for each scheduler and learning rate, the best first.

    Raises:
        DataError: the data set cannot be had, read or split.
        RateError: a lambda in a scheduler fails at an epoch (or step) of the run.
        FolderError: `config.out` holds something already, cannot be written, or another run has it.
        DeviceError: JAX finds no device, or a run does not fit on it.
    """
    say = speaker(config)
    check_folder(config)
    say(f"jaxlr {jaxlr.__version__} on {describe_device()}")
    dataset = load_dataset(config.dataset, config.data_dir, shows_progress(config))
    out = config.out or new_folder(config)
    with fitting(config):
        train_split, valid_split, _ = splits(config, dataset)
        data = Data(train_split, valid_split)
        runs = build_runs(config, data, dataset.num_classes)
        sizes = f"{len(train_split.labels)} training and {len(valid_split.labels)} validation samples"
        say(f"{config.dataset}: {sizes}")
        say(
            f"{len(config.scheduler)} schedulers x {len(config.lr)} rates x {config.seeds} seeds = "
            f"{runs.total} runs of {config.epochs} epochs, {runs.chunk} at once"
        )
        with claimed(config, out):
            rows = _train(config, runs, data, out)
    for line in as_text(rows, config.target_accuracy):
        say(line)
    say(f"wrote {out}")
    return rows


def _train(config: SweepConfig, runs: "Runs", data: Data, out: Path) -> list[dict[str, Any]]:
    """Train all runs into `out`; an interrupted sweep shows the ones that it has finished."""
    parts: list[RunMetrics] = []
    rows: list[dict[str, Any]] = []
    try:
        num_epochs = runs.num_chunks * config.epochs
        shown = shows_progress(config)
        with (
            CsvLog(out / "sweep.csv") as log,
            tqdm(total=num_epochs, unit="epoch", disable=not shown) as bar,
        ):
            for part in runs.train(data, bar.update):
                log.write(epoch_rows(config, len(parts) * runs.chunk, part))
                parts.append(part)
    finally:
        if parts:
            rows = _conclude(config, parts, out)
    return rows


def _conclude(config: SweepConfig, parts: Sequence[RunMetrics], out: Path) -> list[dict[str, Any]]:
    """Write the table and the figure of the runs in `parts`; returns the rows."""
    metrics = RunMetrics(*map(np.concatenate, zip(*parts, strict=True)))
    rows = summarize(config, metrics)
    with CsvLog(out / "summary.csv") as log:
        log.write(rows)
    title = f"{config.dataset}, {config.seeds} seeds: each scheduler at the rate that suits it best"
    plot_sweep(best_curves(config, metrics, rows), out / "sweep.png", title)
    return rows


class Runs(NamedTuple):
    """The runs of a sweep, seeds fastest, then rates, then schedulers; a chunk of them at a time."""

    hyperparameters: Hyperparameters  # NumPy, stacked over recipes
    seeds: np.ndarray  # of each recipe, shape (seeds,)
    chunk: int
    start: Callable[..., Any]  # (keys, hyperparameters) -> states
    epoch: Callable[..., Any]  # (states, hyperparameters, data) -> (states, metrics), for `chunk` runs

    @property
    def total(self) -> int:
        """How many runs there are."""
        return len(self.hyperparameters.rates) * len(self.seeds)

    @property
    def num_chunks(self) -> int:
        """How many batches they make."""
        return -(-self.total // self.chunk)

    def train(self, data: Data, tick: Callable[[], Any]) -> Iterator[RunMetrics]:
        """Train chunk after chunk; `tick` is called after every epoch of a chunk.

        Yields:
            The metrics of the chunk's runs, in their order, as NumPy arrays of shape (runs, epochs).
        """
        for first in range(0, self.total, self.chunk):
            # The last chunk is filled with repetitions: of another size it would be another program.
            runs = np.minimum(np.arange(first, first + self.chunk), self.total - 1)
            recipes, seeds = np.divmod(runs, len(self.seeds))
            hyperparameters = jax.device_put(_taken(self.hyperparameters, recipes))
            states = self.start(_keys(self.seeds[seeds]), hyperparameters)
            epochs = []
            for _ in range(self.hyperparameters.rates.shape[1]):
                states, metrics = self.epoch(states, hyperparameters, data)
                # Fetched now: an interrupt is heard between epochs, and the bar is true.
                epochs.append(jax.device_get(metrics))
                tick()
            num_new = min(self.chunk, self.total - first)
            yield RunMetrics(*(np.stack(field, axis=1)[:num_new] for field in zip(*epochs, strict=True)))


def build_runs(config: SweepConfig, data: Data, num_classes: int) -> Runs:
    """The runs of `config` and the program that trains a chunk of them for an epoch, compiled.

    Args:
        config: the recipes.
        data: what they learn from.
        num_classes: labels are 0 to `num_classes` - 1.
    """
    recipes = config.recipes()
    steps_per_epoch = count_steps(len(data.train.labels), config.batch_size)
    listed = [hyperparameters_of(recipe, steps_per_epoch) for recipe in recipes]
    hyperparameters = jax.tree.map(lambda *leaves: np.stack(leaves), *listed)
    seeds = np.arange(config.seed, config.seed + config.seeds)

    num_features = int(np.prod(data.train.images.shape[1:]))
    model = mlp([num_features, *config.hidden, num_classes])
    start = jax.jit(
        jax.vmap(functools.partial(start_run, model=model, momentum=config.momentum), in_axes=(0, 0))
    )
    settings = {"model": model, "batch_size": config.batch_size, "momentum": config.momentum}
    epoch = jax.jit(
        jax.vmap(functools.partial(continue_run, **settings), in_axes=(0, 0, None)), donate_argnums=0
    )

    def compiled(chunk: int) -> Any:
        """The program for so many runs; nothing is allocated for it yet."""
        first = _taken(hyperparameters, np.zeros(chunk, int))
        shapes = jax.eval_shape(lambda: first)
        states = jax.eval_shape(start, jax.eval_shape(_keys, np.zeros(chunk, int)), shapes)
        return epoch.lower(states, shapes, data).compile()

    # A program's account holds its data, which lies on the device already.
    free_bytes = _free_bytes() + sum(leaf.nbytes for leaf in jax.tree.leaves(data))
    chunk, program = _fit(compiled, len(recipes) * len(seeds), config.chunk, free_bytes)
    return Runs(hyperparameters, seeds, chunk, start, program)


def _fit(
    compiled: Callable[[int], Any], total: int, chunk: int | None, free_bytes: float
) -> tuple[int, Any]:
    """The size of the chunks, near each other in size, and their program: what fits, or `chunk`."""
    size = _balanced(total, chunk or total)
    program = compiled(size)
    while chunk is None and size > 1 and (needed := _bytes(program)) > free_bytes:
        # Most of what is needed is in proportion to the runs; where that is not so, it takes a turn more.
        size = _balanced(total, max(1, min(size - 1, int(size * free_bytes / needed))))
        program = compiled(size)
    return size, program


def _balanced(total: int, most: int) -> int:
    """The size of chunks of at most `most` when there are as few as can be: 32 of 96 for 40, not 40."""
    num_chunks = -(-total // min(most, total))
    return -(-total // num_chunks)


def _bytes(program: Any) -> int:
    """What a compiled program takes, its arguments and results included."""
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
