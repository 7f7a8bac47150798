"""The cost of a run in a sweep, where many runs train as one program."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

from benchmarks.timing import Row, Wanted, compared, seconds_of
from jaxlr.train.chunks import build_chunks
from jaxlr.train.config import SweepConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.splits import split_dataset


SCHEDULERS = ("StepLR(10)", "MultiStepLR([10, 20])", "ExponentialLR(0.9)", "ReduceLROnPlateau(patience=5)")
COUNTS = (1, 4, 16, 64, 256, 1024)
EPOCHS = 2


def measure(dataset: Dataset, rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure an epoch of each number of runs, relative to one run."""
    builds = {_name(count): functools.partial(_runs, dataset, count) for count in COUNTS}
    part = "an epoch of a sweep"
    return compared(part, builds, _name(1), rounds, wanted, lambda epochs: seconds_of(epochs) / EPOCHS)


def _name(count: int) -> str:
    return f"{count} run{'s' * (count > 1)}"


def _runs(dataset: Dataset, count: int) -> Callable[[], Any]:
    """Compile a sweep of `count` runs, and return a function that trains it without writing files."""
    few = min(count, len(SCHEDULERS))
    config = SweepConfig.from_flags(
        scheduler=SCHEDULERS[:few], lr=(0.1,), seeds=count // few, epochs=EPOCHS
    )
    data = split_dataset(dataset)._replace(test=None)
    chunks = build_chunks(config, data, dataset.num_classes)
    return lambda: list(chunks.train(data, 0, chunks.initial_progress()))
