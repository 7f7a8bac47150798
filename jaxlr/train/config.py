"""What a run, or a sweep, is told, checked as it arrives."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import optax

from jaxlr._checks import check_choice, check_value, check_whole_number, shorten, shown_value
from jaxlr.convert import from_string
from jaxlr.convert.text import steps_per_batch
from jaxlr.train.options import (
    Data,
    Output,
    Placement,
    SweepPlacement,
    SweepSchedule,
    SweepTraining,
    Training,
    TrainOutput,
    TrainPlacement,
    TrainSchedule,
    TrainTraining,
)


# Where a run goes, which its folder does not remember: it may go on elsewhere.
WHEREABOUTS = {"devices", "distributed", "coordinator", "num_processes", "process_id", "peer_timeout"}

# What may be told anew when a run goes on: the rest is its recipe, which decides every bit of it.
_FREE_ON_RESUME = WHEREABOUTS | {
    *("data_dir", "out", "resume", "checkpoint_every", "on_nan", "tensorboard", "quiet", "target_accuracy"),
    *("compilation_cache", "format"),
}


@dataclasses.dataclass(frozen=True)
class RunConfig(Placement, Output, Training, Data):
    """What one run and a sweep are told alike."""

    command = ""  # the word after `jaxlr`
    groups: ClassVar[dict[str, type]] = {}  # of the flags, by title: a base class each

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "seed", "validation_size"):
            least = 0 if name in ("seed", "validation_size") else 1
            self._check_count(name, getattr(self, name), least)
        if self.checkpoint_every is not None:
            self._check_count("checkpoint_every", self.checkpoint_every, 1)
        if not isinstance(self.hidden, Sequence) or isinstance(self.hidden, str):
            raise TypeError(f"hidden must be a list of whole numbers, got {self.hidden!r}")
        hidden = tuple(self._check_count("each of hidden", units, 1) for units in self.hidden)
        object.__setattr__(self, "hidden", hidden)
        for name in ("data_dir", "out"):
            object.__setattr__(self, name, _checked_path(name, getattr(self, name)))
        self._check_kinds(dataset=str, quiet=bool, resume=bool, compilation_cache=bool)
        if self.devices is not None and not (isinstance(self.devices, str) and self.devices == "all"):
            self._check_count("devices", self.devices, 1)
        object.__setattr__(self, "momentum", float(check_value("momentum", self.momentum)))
        if self.momentum >= 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum!r}")
        check_choice("step_per", self.step_per, ("auto", "epoch", "batch"))
        check_choice("format", self.format, ("text", "json"))
        if self.resume and self.out is None:
            raise ValueError("resume needs out: give the folder to go on with as --out DIR")

    def changes_to(self, given: Any) -> list[str]:
        """What `given` would change in a run of this recipe, as `--flag: this -> given`."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in _FREE_ON_RESUME]
        return [
            f"--{name.replace('_', '-')}: {getattr(self, name)!r} -> {getattr(given, name)!r}"
            for name in names
            if getattr(self, name) != getattr(given, name)
        ]

    def _check_kinds(self, **kinds: type) -> None:
        for name, kind in kinds.items():
            if not isinstance(getattr(self, name), kind):
                raise TypeError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")

    def _check_count(self, name: str, value: int, least: int) -> int:
        """A whole number of a size that a device can count; a field of that name becomes an int."""
        count = check_whole_number(name, value)
        if not least <= count < 2**31:
            raise ValueError(f"{name} must be from {least} to 2**31 - 1, got {value!r}")
        if name in self.__dataclass_fields__:
            object.__setattr__(self, name, count)
        return count


@dataclasses.dataclass(frozen=True)
class TrainConfig(TrainPlacement, TrainOutput, TrainTraining, TrainSchedule, RunConfig):
    """Train an MLP to classify images, its learning rate set by one of torch's schedulers.

    Example: jaxlr train --scheduler "StepLR(10)" --lr 0.3 --out runs/mine

    Exit status: 0 finished; 2 refused; 3 the loss became NaN or infinite; 4 the folder cannot be written
    any more; 5 another process is lost; 130, 143 stopped by SIGINT, SIGTERM and saved.
    After 3 to 143, --resume goes on.
    """

    command = "train"
    groups: ClassVar[dict[str, type]] = {
        "schedule": TrainSchedule,
        "training": TrainTraining,
        "data": Data,
        "output": TrainOutput,
        "device": TrainPlacement,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_kinds(tensorboard=bool)
        object.__setattr__(self, "lr", float(check_value("lr", self.lr, positive=True)))
        check_choice("on_nan", self.on_nan, ("stop", "continue"))
        is_plateau = isinstance(self.build_scheduler(num_steps=1), optax.GradientTransformationExtraArgs)
        if is_plateau and self.step_per == "batch":
            raise ValueError("step_per 'batch' is not for a plateau, which steps on an epoch's loss")
        self._check_processes()

    def _check_processes(self) -> None:
        """Refuses the flags of several processes where they do not make sense together."""
        self._check_kinds(distributed=bool)
        if self._check_count("peer_timeout", self.peer_timeout, 1) > 86_400:
            raise ValueError(f"peer_timeout must be at most a day, 86400 seconds, got {self.peer_timeout}")
        given = {name: getattr(self, name) for name in ("coordinator", "num_processes", "process_id")}
        named = [name for name, value in given.items() if value is not None]
        if named and not self.distributed:
            raise ValueError(f"{named[0]} needs distributed: add --distributed")
        if not named:
            return
        if missing := [f"--{name.replace('_', '-')}" for name in given if name not in named]:
            raise ValueError(
                f"coordinator, num_processes and process_id go together: add {' and '.join(missing)}"
            )
        host, _, port = self.coordinator.rpartition(":") if isinstance(self.coordinator, str) else [""] * 3
        if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
            raise ValueError(f"coordinator must be HOST:PORT, got {self.coordinator!r}")
        num_processes = self._check_count("num_processes", given["num_processes"], 1)
        if self._check_count("process_id", given["process_id"], 0) >= num_processes:
            raise ValueError(
                f"process_id must be below num_processes, {num_processes}, got {self.process_id!r}"
            )

    def counts_per_epoch(self, steps_per_epoch: int) -> int:
        """How often the scheduler steps in an epoch of so many batches."""
        per_batch = steps_per_batch(self.scheduler) if self.step_per == "auto" else self.step_per == "batch"
        return steps_per_epoch if per_batch else 1

    def build_scheduler(self, num_steps: int) -> optax.Schedule | optax.GradientTransformationExtraArgs:
        """The scheduler: a schedule of epochs or batches, good for `num_steps`, or a plateau."""
        return from_string(self.scheduler, self.lr, num_steps=num_steps)

    def changes_to(self, given: Any) -> list[str]:
        """As of any config, but more epochs change nothing that has been."""
        if given.epochs > self.epochs:
            given = dataclasses.replace(given, epochs=self.epochs)
        return super().changes_to(given)


@dataclasses.dataclass(frozen=True)
class SweepConfig(SweepPlacement, SweepTraining, SweepSchedule, RunConfig):
    """Train with each scheduler, rate and seed; say which is best.

    Example: jaxlr sweep --scheduler "StepLR(10)" --lr 0.1 0.3
    """

    command = "sweep"
    groups: ClassVar[dict[str, type]] = {
        "schedule": SweepSchedule,
        "training": SweepTraining,
        "data": Data,
        "output": Output,
        "device": SweepPlacement,
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_count("seeds", self.seeds, 1)
        self._check_count("the last seed (seed + seeds - 1)", self.seed + self.seeds - 1, 0)
        if self.chunk is not None:
            self._check_count("chunk", self.chunk, 1)
        if not 0 < check_value("target_accuracy", self.target_accuracy) <= 1:
            raise ValueError(f"target_accuracy must be above 0 and at most 1, got {self.target_accuracy!r}")
        for name, values in (("lr", self.lr), ("scheduler", self.scheduler)):
            if isinstance(values, str) or not isinstance(values, Sequence):
                raise TypeError(
                    f"{name} must be a list, with one for each kind of run, got {shown_value(values)}"
                )
            if not values:
                raise ValueError(f"{name} must hold at least one, got none")
            stripped = [value.strip() if isinstance(value, str) else value for value in values]
            if twice := [value for index, value in enumerate(stripped) if value in stripped[:index]]:
                raise ValueError(f"{name} holds {shown_value(twice[0])} twice: give each once")
            object.__setattr__(self, name, tuple(values))
        rates = tuple(float(check_value("each of lr", lr, positive=True)) for lr in self.lr)
        object.__setattr__(self, "lr", rates)
        self.recipes()

    @property
    def num_runs(self) -> int:
        """Of every scheduler at every rate from every seed."""
        return len(self.scheduler) * len(self.lr) * self.seeds

    def changes_to(self, given: Any) -> list[str]:
        """As of any config, but chunks that are as many are the same, whatever was asked for."""

        def num_chunks(size: int | None) -> int:
            return -(-self.num_runs // (size or self.num_runs))

        if given.chunk is None or num_chunks(given.chunk) == num_chunks(self.chunk):
            given = dataclasses.replace(given, chunk=self.chunk)
        return super().changes_to(given)

    def recipes(self) -> list[TrainConfig]:
        """What `jaxlr train` would be told for the first seed of each scheduler at each rate."""
        return [self._recipe(scheduler, lr) for scheduler, lr in itertools.product(self.scheduler, self.lr)]

    def _recipe(self, scheduler: str, lr: float) -> TrainConfig:
        shared = {field.name: getattr(self, field.name) for field in dataclasses.fields(RunConfig)}
        try:
            return TrainConfig(**{**shared, "scheduler": scheduler, "lr": lr})
        except (TypeError, ValueError) as error:
            raise ValueError(f"scheduler {shorten(str(scheduler))!r}: {error}") from error


def _checked_path(name: str, value: Any) -> Path | None:
    if not isinstance(value, str | Path | None):
        raise TypeError(f"{name} must be a path, got {value!r}")
    if value is not None and "\0" in str(value):
        raise ValueError(f"{name} must be a path, got one with a null character: {str(value)!r}")
    return None if value is None else Path(value)
