"""A training program under torch's schedulers: one run, a sweep of runs, and a run as a pure function.

It needs the extra `train`.
"""

from typing import TYPE_CHECKING

from jaxlr._extras import check_installed
from jaxlr._lazy import on_first_use


check_installed("train")  # before an import below, so that the error says what to install

if TYPE_CHECKING:
    from jaxlr.train.config import SweepConfig, TrainConfig
    from jaxlr.train.data import load_dataset
    from jaxlr.train.data.splits import Data
    from jaxlr.train.loop import train
    from jaxlr.train.model import mlp
    from jaxlr.train.runs import hyperparameters_of, train_run
    from jaxlr.train.step import Split
    from jaxlr.train.sweeps import sweep


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

if not TYPE_CHECKING:  # a type checker would take `__getattr__` as a sign that every name exists
    # Flax and the compiled steps are slow to import, and the help of the command needs only the settings.
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "config": ["SweepConfig", "TrainConfig"],
            "data": ["load_dataset"],
            "data.splits": ["Data"],
            "loop": ["train"],
            "model": ["mlp"],
            "runs": ["hyperparameters_of", "train_run"],
            "step": ["Split"],
            "sweeps": ["sweep"],
        },
    )
