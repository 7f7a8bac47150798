"""The one list of what a run can be told: the fields are the flags of `jaxlr train`."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import optax
import tyro

from jaxlr.convert import from_string
from jaxlr.schedules._checks import check_choice, check_value, check_whole_number


# What may be told anew when a run goes on: the rest is its recipe, which decides every bit of it.
_FREE_ON_RESUME = {
    *("data_dir", "epochs", "out", "resume", "checkpoint_every", "on_nan", "tensorboard", "quiet"),
}


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Train an MLP to classify images, its learning rate set by one of torch's schedulers.

    Exit status:
      0    the run is finished
      2    refused: a flag, a file, the folder or the device will not do
      3    the loss became NaN or infinite (--on-nan stop)
      4    the run's folder can no longer be written: make room, then --resume
      130  stopped by SIGINT (Ctrl-C) after the epoch under way: go on with --resume
      143  stopped by SIGTERM, likewise; a second signal stops at once
    """

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
    """New folder for metrics.jsonl, config.json, curves.png, checkpoints. Default: runs/DATASET-TIME."""

    resume: bool = False
    """Go on with the run in --out as if it had never stopped; its own flags are the defaults then."""

    checkpoint_every: int = 1
    """Epochs from one checkpoint to the next; the newest two and the best are kept."""

    on_nan: Literal["stop", "continue"] = "stop"
    """What to do when the loss becomes NaN or infinite; torch would continue."""

    tensorboard: bool = False
    """Also write TensorBoard event files into the folder."""

    quiet: bool = False
    """Print nothing but warnings and errors."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "checkpoint_every", "seed", "validation_size"):
            least = 0 if name in ("seed", "validation_size") else 1
            self._check_count(name, getattr(self, name), least)
        if not isinstance(self.hidden, Sequence) or isinstance(self.hidden, str):
            raise TypeError(f"hidden must be a list of whole numbers, got {self.hidden!r}")
        hidden = tuple(self._check_count("each of hidden", units, 1) for units in self.hidden)
        object.__setattr__(self, "hidden", hidden)
        for name in ("data_dir", "out"):
            object.__setattr__(self, name, _checked_path(name, getattr(self, name)))
        for name, kind in (("dataset", str), ("resume", bool), ("tensorboard", bool), ("quiet", bool)):
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        object.__setattr__(self, "lr", float(check_value("lr", self.lr, positive=True)))
        object.__setattr__(self, "momentum", float(check_value("momentum", self.momentum)))
        if self.momentum >= 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum!r}")
        check_choice("step_per", self.step_per, ("epoch", "batch"))
        check_choice("on_nan", self.on_nan, ("stop", "continue"))
        if self.resume and self.out is None:
            raise ValueError("resume needs out: give the folder of the run to go on with as --out DIR")
        is_plateau = isinstance(self.build_scheduler(num_steps=1), optax.GradientTransformationExtraArgs)
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

    def build_scheduler(self, num_steps: int) -> optax.Schedule | optax.GradientTransformationExtraArgs:
        """The scheduler: a schedule of epochs or batches, good for `num_steps`, or a plateau."""
        return from_string(self.scheduler, self.lr, num_steps=num_steps)

    def changes_to(self, given: "TrainConfig") -> list[str]:
        """What `given` would change in a run of this recipe, as `--flag: this -> given`."""
        fields = [field.name for field in dataclasses.fields(self) if field.name not in _FREE_ON_RESUME]
        if given.epochs < self.epochs:  # more of them change nothing that has been
            fields.append("epochs")
        return [
            f"--{name.replace('_', '-')}: {getattr(self, name)!r} -> {getattr(given, name)!r}"
            for name in fields
            if getattr(self, name) != getattr(given, name)
        ]


def _checked_path(name: str, value: Any) -> Path | None:
    if not isinstance(value, str | Path | None):
        raise TypeError(f"{name} must be a path, got {value!r}")
    if value is not None and "\0" in str(value):
        raise ValueError(f"{name} must be a path, got one with a null character: {str(value)!r}")
    return None if value is None else Path(value)
