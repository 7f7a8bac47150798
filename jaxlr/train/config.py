"""The one list of what a run can be told: the fields are the flags of `jaxlr train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import optax
import tyro

from jaxlr.convert import from_string
from jaxlr.schedules._numerics import check_positive_count, check_value, check_whole_number


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train an MLP to classify images, its learning rate set by one of torch's schedulers."""

    dataset: str = "digits"
    """What to learn: digits (1,797 scans, bundled), mnist, or the name of a prepared TFDS set."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data: TFDS-prepared sets or MNIST's four IDX files. Default: found or downloaded."""

    hidden: tuple[int, ...] = (256, 128)
    """Units of each hidden layer; none makes the model linear."""

    lr: float = 0.1
    """Learning rate of the optimizer, before the scheduler has changed it."""

    momentum: float = 0.0
    """Momentum of SGD, from 0 (off) to below 1."""

    scheduler: str = "ReduceLROnPlateau(patience=5)"
    """A torch scheduler as one writes it: "StepLR(step_size=10)", "MultiStepLR([10, 20])"."""

    step_per: Literal["epoch", "batch"] = "epoch"
    """When the scheduler steps; a plateau steps per epoch only."""

    epochs: int = 25
    """Passes over the training samples."""

    batch_size: int = 32
    """Samples in a step; an epoch's last batch may be smaller."""

    seed: int = 0
    """Of the initial weights and the shuffles."""

    validation_size: int = 0
    """Training samples, from the end, that validate instead of the test split (0: the test split)."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """New folder for metrics.jsonl, config.json and curves.png. Default: runs/DATASET-TIME."""

    tensorboard: bool = False
    """Also write TensorBoard event files into the folder."""

    quiet: bool = False
    """Print nothing but errors."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            check_positive_count(name, getattr(self, name))
        for units in self.hidden:
            check_positive_count("each of hidden", units)
        check_value("lr", self.lr, positive=True)
        if not 0 <= check_value("momentum", self.momentum) < 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum!r}")
        if not 0 <= check_whole_number("seed", self.seed) < 2**32:
            raise ValueError(f"seed must be from 0 to 2**32 - 1, got {self.seed!r}")
        if check_whole_number("validation_size", self.validation_size) < 0:
            raise ValueError(f"validation_size must be at least 0, got {self.validation_size!r}")
        if self.step_per not in ("epoch", "batch"):
            raise ValueError(f"step_per must be 'epoch' or 'batch', got {self.step_per!r}")
        is_plateau = isinstance(self.build_scheduler(), optax.GradientTransformationExtraArgs)
        if is_plateau and self.step_per == "batch":
            raise ValueError("step_per 'batch' is not for a plateau, which steps on an epoch's loss")

    def build_scheduler(self) -> optax.Schedule | optax.GradientTransformationExtraArgs:
        """The scheduler: a schedule of epochs or batches, or a plateau transformation."""
        return from_string(self.scheduler, self.lr)
