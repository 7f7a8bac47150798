"""The runs of a sweep as one compiled program, a chunk of runs at a time."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxlr.train.config import SweepConfig, TrainConfig
from jaxlr.train.data.splits import Data
from jaxlr.train.device.compiler import compiler_options, start_options
from jaxlr.train.device.mesh import count_devices, divided
from jaxlr.train.model import mlp
from jaxlr.train.runs import Hyperparameters, RunMetrics, continue_run, hyperparameters_of, start_run
from jaxlr.train.step import TrainState, count_steps


# The memory for runs on a device that does not report its memory, such as a CPU. Larger chunks would fit,
# but each run in them takes longer, since they outgrow the processor's caches.
_HOST_BYTES = 128 * 2**20
_SHARE_OF_FREE_BYTES = 0.8  # the rest is for fragmentation, and for memory that XLA does not report


class Progress(NamedTuple):
    """The state of a sweep. Its shapes never change, so that any checkpoint can be loaded."""

    states: TrainState  # of the current chunk, stacked over its runs
    metrics: RunMetrics  # of all runs, NumPy float32, shape (runs, epochs); 0 in the epochs to come


class Chunks(NamedTuple):
    """The runs of a sweep in chunks. Seeds vary fastest, then rates, then schedulers."""

    hyperparameters: Hyperparameters  # NumPy, stacked over pairs of scheduler and rate
    seeds: np.ndarray  # of each pair, shape (seeds,)
    size: int  # runs in a chunk
    start: Callable[..., Any]  # (keys, hyperparameters) -> states
    epoch: Callable[..., Any]  # (states, hyperparameters, data) -> (states, metrics), for `width` runs
    mesh: Mesh | None = None  # the devices that the runs of a chunk are split over, if there are several

    @property
    def width(self) -> int:
        """The number of runs in the program: a chunk, padded so that every device has equally many."""
        return _padded(self.size, self.mesh)

    @property
    def num_runs(self) -> int:
        """The number of runs."""
        return len(self.hyperparameters.rates) * len(self.seeds)

    @property
    def num_chunks(self) -> int:
        """The number of chunks."""
        return -(-self.num_runs // self.size)

    @property
    def num_epochs(self) -> int:
        """The number of epochs of each run."""
        return self.hyperparameters.rates.shape[1]

    def initial_progress(self) -> Progress:
        """Return the progress before the first epoch. Its states are shapes without values."""
        empty = RunMetrics(*np.zeros((len(RunMetrics._fields), self.num_runs, self.num_epochs), np.float32))
        states = jax.eval_shape(self.start, *self._arguments(0))
        return jax.eval_shape(self.without_padding, Progress(states, empty))._replace(metrics=empty)

    def without_padding(self, progress: Progress) -> Progress:
        """Drop the runs that pad the chunk, so that a sweep can be resumed on any number of devices."""
        if self.width == self.size:
            return progress
        return progress._replace(states=jax.tree.map(lambda leaf: leaf[: self.size], progress.states))

    def train(self, data: Data, done: int, progress: Progress) -> Iterator[tuple[int, Progress]]:
        """Train chunk after chunk. Epochs are numbered across all chunks, and the first `done` are skipped.

        Yields:
            After every epoch, the number of epochs done and the progress, which the next epoch overwrites.
        """
        states, metrics = progress
        for chunk in range(done // self.num_epochs, self.num_chunks):
            keys, hyperparameters = self._arguments(chunk)
            own = slice(chunk * self.size, min((chunk + 1) * self.size, self.num_runs))
            if done % self.num_epochs == 0:
                states = self.start(keys, hyperparameters)
            elif self.mesh is not None:
                states = self._with_padding(states)
            for epoch in range(done % self.num_epochs, self.num_epochs):
                states, new = self.epoch(states, hyperparameters, data)
                # Fetching the metrics waits for the epoch, so that a signal takes effect between epochs.
                for field, values in zip(metrics, jax.device_get(new), strict=True):
                    field[own, epoch] = values[: own.stop - own.start]
                done += 1
                yield done, Progress(states, metrics)

    def _arguments(self, chunk: int) -> tuple[jax.Array, Hyperparameters]:
        """Return the keys and the hyperparameters of the runs in a chunk."""
        # The last run is repeated to fill the last chunk. A smaller chunk would need another program.
        first = chunk * self.size
        runs = np.minimum(np.arange(first, first + self.width), self.num_runs - 1)
        pairs, seeds = np.divmod(runs, len(self.seeds))
        hyperparameters = _take(self.hyperparameters, pairs)
        return _keys(self.seeds[seeds]), jax.device_put(hyperparameters, divided(self.mesh))

    def _with_padding(self, states: TrainState) -> TrainState:
        """Repeat the last state of a chunk as padding, and put the states on the devices."""
        rows = np.minimum(np.arange(self.width), self.size - 1)
        return jax.device_put(jax.tree.map(lambda leaf: leaf[rows], states), divided(self.mesh))


def build_chunks(config: SweepConfig, data: Data, num_classes: int, mesh: Mesh | None = None) -> Chunks:
    """Compile the program that trains a chunk of runs for an epoch, with as many runs as fit.

    Args:
        config: the settings.
        data: the samples, on every device.
        num_classes: the labels are 0 to `num_classes` - 1.
        mesh: the devices to split the runs over.
    """
    training = config.training
    singles = config.single_runs()
    hyperparameters = _stacked(singles, count_steps(len(data.train.labels), training.batch_size))
    seeds = np.arange(training.seed, training.seed + training.seeds)

    num_features = int(np.prod(data.train.images.shape[1:]))
    model = mlp([num_features, *training.hidden, num_classes])
    # The rate of this optimizer is not used: its schedules are those of the hyperparameters.
    optimizer = singles[0].schedule.text_optimizer
    statics: Any = {"model": model, "momentum": training.momentum, "optimizer": optimizer}
    starts = jax.vmap(functools.partial(start_run, **statics), in_axes=(0, 0))
    start = jax.jit(starts, out_shardings=divided(mesh), compiler_options=start_options())
    continue_one = functools.partial(continue_run, batch_size=training.batch_size, **statics)
    epoch = jax.jit(
        jax.vmap(continue_one, in_axes=(0, 0, None)),
        donate_argnums=0,
        out_shardings=divided(mesh),
        compiler_options=compiler_options(config.device),
    )

    def compiled(size: int) -> Any:
        """Compile the program for chunks of `size` runs. Nothing is allocated yet."""
        width = _padded(size, mesh)
        first = _take(hyperparameters, np.zeros(width, int))
        shapes = jax.eval_shape(lambda: first)
        states = jax.eval_shape(start, jax.eval_shape(_keys, np.zeros(width, int)), shapes)
        placed = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=divided(mesh)),
            (states, shapes),
        )
        return epoch.lower(*placed, data).compile()

    # The memory that a program reports includes its data, which are on the device already.
    available = free_bytes() + sum(leaf.nbytes for leaf in jax.tree.leaves(data))
    num_runs = len(singles) * len(seeds)
    size, program = fit(compiled, num_runs, config.device.chunk, available, count_devices(mesh))
    return Chunks(hyperparameters, seeds, size, start, program, mesh)


def fit(
    compiled: Callable[[int], Any], num_runs: int, chunk: int | None, available: float, devices: int = 1
) -> tuple[int, Any]:
    """Return the size of the chunks and their program: the largest that fits, or `chunk` if it is given."""
    size = balanced(num_runs, chunk or num_runs)
    program = compiled(size)
    while chunk is None and size > devices and (needed := program_bytes(program)) > available:
        # Memory grows about in proportion to the runs. If it does not, the loop repeats.
        most = min(size - 1, int(size * available / needed)) // devices * devices
        size = balanced(num_runs, max(devices, most))
        program = compiled(size)
    return size, program


def balanced(num_runs: int, most: int) -> int:
    """Return the size of equal chunks: as few as possible, with at most `most` runs each.

    For 96 runs and `most` = 40 it is 32, because three chunks are needed in any case.
    """
    num_chunks = -(-num_runs // min(most, num_runs))
    return -(-num_runs // num_chunks)


def program_bytes(program: Any) -> int:
    """Return the memory that a compiled program takes on each device, arguments and results included."""
    memory = program.memory_analysis()
    return (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        + memory.temp_size_in_bytes
        - memory.alias_size_in_bytes  # donated arguments, whose memory the results reuse
    )


def free_bytes() -> float:
    """Return the memory that a program may take on a device."""
    memory = jax.devices()[0].memory_stats()
    if not memory or "bytes_limit" not in memory:
        return _HOST_BYTES
    return _SHARE_OF_FREE_BYTES * (memory["bytes_limit"] - memory["bytes_in_use"])


def _padded(size: int, mesh: Mesh | None) -> int:
    """Round up to a multiple of the number of devices."""
    devices = count_devices(mesh)
    return -(-size // devices) * devices


def _stacked(configs: list[TrainConfig], steps_per_epoch: int) -> Hyperparameters:
    """Return the hyperparameters of several runs, stacked along a first axis."""
    listed = [hyperparameters_of(config, steps_per_epoch) for config in configs]
    # If one scheduler steps per batch, the rates of the others are repeated for each batch of an epoch.
    columns = max(each.rates.shape[1] for each in listed)
    listed = [
        each._replace(rates=np.broadcast_to(each.rates, (len(each.rates), columns))) for each in listed
    ]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *listed)


def _take(hyperparameters: Hyperparameters, pairs: np.ndarray) -> Hyperparameters:
    """Return the hyperparameters of the runs with these pairs of scheduler and rate."""
    return jax.tree.map(lambda leaf: leaf[pairs], hyperparameters)


def _keys(seeds: np.ndarray) -> jax.Array:
    """Return the key that `jaxlr train` starts from, for each seed."""
    return jax.vmap(jax.random.key)(seeds)
