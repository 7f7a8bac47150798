"""A training program under torch's schedulers: one run, a sweep of runs, and a run as a pure function.

It needs the extra `train`.
"""

from jaxlr._extras import check_installed


check_installed("train")  # before the imports below, so that the error says what to install

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
