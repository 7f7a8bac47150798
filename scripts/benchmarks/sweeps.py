"""The cost of a run in a sweep, where many runs train as one program."""

from collections.abc import Callable
from typing import Any

from benchmarks.timing import Row, compared, interleaved
from jaxlr.train.config import SweepConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.loop import splits
from jaxlr.train.runs import Data
from jaxlr.train.sweep import build_runs


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
    config = SweepConfig(scheduler=SCHEDULERS[:few], lr=(0.1,), seeds=count // few, epochs=EPOCHS)
    data = Data(*splits(config, dataset)[:2])
    runs = build_runs(config, data, dataset.num_classes)
    return lambda: list(runs.train(data, 0, runs.start_of_all()))
