"""A training program with torch's schedulers: one run, a sweep of runs, and a run as a pure function.

The names below are imported when they are first used. They need the extra `train`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from jaxlr._extras import check_installed


if TYPE_CHECKING:
    from jaxlr.train.config import SweepConfig, TrainConfig
    from jaxlr.train.data import load_dataset
    from jaxlr.train.data.splits import Data
    from jaxlr.train.loop import train
    from jaxlr.train.model import mlp
    from jaxlr.train.runs import hyperparameters_of, train_run
    from jaxlr.train.step import Split
    from jaxlr.train.sweep import sweep

__all__ = [
    "Data",
    "Split",
    "SweepConfig",
    "TrainConfig",
    "hyperparameters_of",
    "load_dataset",
    "mlp",
    "sweep",
    "train",
    "train_run",
]

_MODULES = {
    "Data": "data.splits",
    "Split": "step",
    "SweepConfig": "config",
    "TrainConfig": "config",
    "hyperparameters_of": "runs",
    "load_dataset": "data",
    "mlp": "model",
    "sweep": "sweep",
    "train": "loop",
    "train_run": "runs",
}

check_installed()


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value  # kept, also because importing the module `sweep` has assigned its name
    return value
