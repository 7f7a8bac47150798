"""The one list of what a run can be told: the fields are the flags of `jaxlr train`."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import optax
import tyro

from jaxlr.convert import from_string
from jaxlr.schedules._checks import check_choice, check_value, check_whole_number


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
    """Print nothing but warnings and errors."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seed", "validation_size"):
            least = 1 if name in ("epochs", "batch_size") else 0
            self._check_count(name, getattr(self, name), least)
        hidden = tuple(self._check_count("each of hidden", units, 1) for units in self.hidden)
        object.__setattr__(self, "hidden", hidden)
        for name in ("data_dir", "out"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, Path(getattr(self, name)))
        check_value("lr", self.lr, positive=True)
        if not 0 <= check_value("momentum", self.momentum) < 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum!r}")
        check_choice("step_per", self.step_per, ("epoch", "batch"))
        is_plateau = isinstance(self.build_scheduler(), optax.GradientTransformationExtraArgs)
        if is_plateau and self.step_per == "batch":
            raise ValueError("step_per 'batch' is not for a plateau, which steps on an epoch's loss")

    def _check_count(self, name: str, value: int, least: int) -> int:
        """A whole number of a size that a device can count; a field of that name becomes an int."""
        count = check_whole_number(name, value)
        if not least <= count < 2**31:
            raise ValueError(f"{name} must be from {least} to 2**31 - 1, got {value!r}")
        if name in self.__dataclass_fields__:
            object.__setattr__(self, name, count)
        return count

    def build_scheduler(self) -> optax.Schedule | optax.GradientTransformationExtraArgs:
        """The scheduler: a schedule of epochs or batches, or a plateau transformation."""
        return from_string(self.scheduler, self.lr)
