"""The cost of a run in a sweep, where many runs train as one program."""

from collections.abc import Callable
from typing import Any

from benchmarks.timing import Row, compared, interleaved
from jaxlr.train.chunks import build_chunks
from jaxlr.train.config import SweepConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.splits import split_dataset


SCHEDULERS = ("StepLR(10)", "MultiStepLR([10, 20])", "ExponentialLR(0.9)", "ReduceLROnPlateau(patience=5)")
EPOCHS = 2


def measure(dataset: Dataset, counts: list[int], rounds: int) -> list[Row]:
    """Measure an epoch of each number of runs, relative to the first number."""
    calls = {f"{count} run{'s' * (count > 1)}": _runs(dataset, count) for count in counts}
    seconds = {
        name: [value / EPOCHS for value in values] for name, values in interleaved(calls, rounds).items()
    }
    return compared("an epoch of a sweep", seconds, next(iter(calls)))


def _runs(dataset: Dataset, count: int) -> Callable[[], Any]:
    """Compile a sweep of `count` runs, and return a function that trains it without writing files."""
    few = min(count, len(SCHEDULERS))
    config = SweepConfig.from_flags(
        scheduler=SCHEDULERS[:few], lr=(0.1,), seeds=count // few, epochs=EPOCHS
    )
    data = split_dataset(dataset)._replace(test=None)
    chunks = build_chunks(config, data, dataset.num_classes)
    return lambda: list(chunks.train(data, 0, chunks.initial_progress()))
