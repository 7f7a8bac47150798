"""The settings of a run and of a sweep. Each field of a group is a flag of the command."""

import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import optax
import tyro

from jaxlr._checks import check_choice, check_value, check_whole_number, shorten, shown_value
from jaxlr.cli.errors import RecipeError, flag_of
from jaxlr.cli.flags import message_of, parse_names
from jaxlr.convert import from_string
from jaxlr.convert.errors import ConflictingRateError
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.convert.optimizers.text import TextPair
from jaxlr.convert.text import steps_per_batch
from jaxlr.plateau import plateau_lr
from jaxlr.train.errors import RateError
from jaxlr.train.optimizer import build_optimizer, paired, read_optimizer, stated_optimizer
from jaxlr.train.recipe import DEFAULT_EPOCHS, RecipeReader, RunRecipe, read_run_recipe


# For flags with a help text that already states the default.
_STATED = tyro.conf.arg(help_behavior_hint="")
_NAMES = tyro.conf.arg(metavar="NAME=VALUE...")
_DEFAULT_SCHEDULER, _DEFAULT_LR = "ReduceLROnPlateau(patience=5)", 0.1
_DEFAULT_RATES = (0.03, 0.1, 0.3)  # of a sweep


class RunSchedule(NamedTuple):
    """The schedule of a run."""

    schedule: optax.Schedule | optax.GradientTransformationExtraArgs  # or the plateau
    counts_per_epoch: int  # how often the schedule, but not a plateau, steps in an epoch
    base_lr: float  # the rate of the optimizer under a plateau


@dataclasses.dataclass(frozen=True)
class TrainSchedule:
    """The learning rate."""

    scheduler: Annotated[str | None, _STATED] = None
    """Torch scheduler, in quotes: "StepLR(10)". Default: "ReduceLROnPlateau(patience=5)"."""

    lr: Annotated[float | None, _STATED] = None
    """Learning rate that the optimizer is created with. Default: 0.1, or the one in --recipe."""

    optimizer: Annotated[str | None, _STATED] = None
    """Torch optimizer, in quotes: "AdamW(lr=3e-4)". Default: that of --recipe, or SGD, with --momentum."""

    names: Annotated[tuple[str, ...], _NAMES] = ()
    """Values of the names in the scheduler or the recipe: --names epochs=90 "len(loader)=391"."""

    recipe: Annotated[str | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Config of a training framework, instead of --scheduler. - is standard input. Or flags after --."""

    framework: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Framework of --recipe, such as timm. Default: recognized by the settings."""

    framework_version: Annotated[str | None, tyro.conf.arg(metavar="VERSION", help_behavior_hint="")] = None
    """Version of the framework, such as 4.46. Default: the newest."""

    def __post_init__(self) -> None:
        _set(self, names=_checked_names(self.names))
        if self.recipe is not None:
            self._set_recipe()
        if self.recipe is None:
            self._set_scheduler()
        elif self.lr is not None:
            _set(self, lr=float(check_value("lr", self.lr, positive=True)))
        if self.recipe is not None and self.optimizer is not None:
            self._check_optimizer_of_recipe()

    def _set_recipe(self) -> None:
        if self.scheduler is not None:
            raise ValueError(
                "recipe and scheduler both state a schedule: give one of --recipe and --scheduler"
            )
        recipe = read_run_recipe(self.recipe, self.framework)
        if isinstance(recipe, str):
            _set(self, scheduler=recipe, recipe=None)
        else:
            _set(self, recipe=recipe.as_text())

    def _set_scheduler(self) -> None:
        if self.framework is not None:
            raise ValueError("framework needs recipe: give the config as --recipe FILE")
        if self.scheduler is None:
            _set(self, scheduler=_DEFAULT_SCHEDULER)
        if self.lr is not None:
            _set(self, lr=float(check_value("lr", self.lr, positive=True)))
        self._set_stated_optimizer()
        if self.optimizer is not None:
            _set(self, lr=float(_checked_optimizer(self.optimizer, self.names, self.lr)))
        elif self.lr is None:
            _set(self, lr=_DEFAULT_LR)
        try:
            schedule = self.build(num_steps=1)
            if not self.cycle(num_steps=1) and self.optimizer is not None:
                build_optimizer(self.text_optimizer, schedule)
        except ValueError as error:
            raise ValueError(message_of(error)) from error

    def _set_stated_optimizer(self) -> None:
        """Take the optimizer that the scheduler's text constructs, if a run can have it."""
        stated, _ = self._stated
        if stated is None:
            return
        if self.optimizer is None:
            _set(self, optimizer=stated.text)
        elif stated != read_optimizer(self.optimizer, parse_names(self.names), self.lr):
            raise ValueError(
                "optimizer and scheduler both state an optimizer: leave it out of the text of --scheduler"
            )

    @property
    def _stated(self) -> tuple[OptimizerCall | None, str | None]:
        """Return the optimizer that the scheduler's text constructs, or the reason to use another."""
        options = {"names": parse_names(self.names), "version": self.framework_version}
        try:
            return stated_optimizer(str(self.scheduler), init_value=self.lr, num_steps=1, **options), None
        except ConflictingRateError as error:
            raise ValueError(message_of(error)) from error
        except (TypeError, ValueError) as error:
            return None, message_of(error)

    def _check_optimizer_of_recipe(self) -> None:
        _checked_optimizer(str(self.optimizer), self.names, None)
        given = read_optimizer(str(self.optimizer), parse_names(self.names)).given
        if "lr" in given:
            raise ValueError("optimizer must not set lr, because --recipe does: leave it out")
        if given.get("corrected_weight_decay"):
            raise ValueError(
                "optimizer must not have corrected_weight_decay with --recipe, because it divides by the "
                "lr that the optimizer is created with: leave it out, or give --scheduler and --lr"
            )

    @property
    def text_optimizer(self) -> OptimizerCall | None:
        """Return the optimizer of --optimizer, or None for SGD."""
        if self.optimizer is None:
            return None
        return read_optimizer(self.optimizer, parse_names(self.names), None if self.recipe else self.lr)

    def cycle(self, num_steps: int) -> TextPair | None:
        """Return the optimizer with a torch scheduler that cycles its momentum, or None for any other."""
        optimizer = None if self.recipe else self.text_optimizer
        if optimizer is None:
            return None
        options = {"names": parse_names(self.names), "num_steps": num_steps}
        return paired(optimizer, str(self.scheduler), version=self.framework_version, **options)

    def build(self, num_steps: int) -> optax.Schedule | optax.GradientTransformationExtraArgs:
        """Return the schedule, or the plateau, of the torch text for a run of `num_steps` counts."""
        assert self.scheduler is not None
        names, version = parse_names(self.names), self.framework_version
        return from_string(self.scheduler, self.lr, names, num_steps=num_steps, version=version)

    @property
    def reader(self) -> RecipeReader | None:
        """Return the recipe with the flags that complete it, or None for a torch text."""
        if self.recipe is None:
            return None
        names = parse_names(self.names)
        recipe = RunRecipe.from_text(self.recipe)
        return RecipeReader(recipe, self.lr, names, self.framework, self.framework_version)

    def optimizer_of_recipe(self, steps_per_count: int) -> optax.GradientTransformationExtraArgs | None:
        """Return the optimizer of a config under its schedule, or None if a torch text states it all."""
        reader = self.reader
        if reader is None or not reader.recipe.builds_optimizer:
            return None
        return reader.optimizer(steps_per_count).transformation

    @property
    def assumptions(self) -> tuple[str, ...]:
        """Return everything that the run took for granted about its recipe, in sentences."""
        if self.reader:
            return self.reader.recipe.assumptions
        reason = None if self.optimizer else self._stated[1]
        if reason is None:
            return ()
        return (
            f"The optimizer is SGD, with --momentum: that of --scheduler is not used, because {reason}.",
        )

    @property
    def label(self) -> str:
        """Return a name of the schedule. A recipe must be complete."""
        return f"the recipe of {self.reader.read().framework}" if self.reader else str(self.scheduler)

    @property
    def optimizer_label(self) -> str:
        """Return a name of the optimizer."""
        if (optimizer := self.text_optimizer) is not None:
            return optimizer.text
        return "SGD" if self.lr is None else f"SGD {self.lr:g}"

    @property
    def is_plateau(self) -> bool:
        """True if the torch text is of a plateau."""
        return self.recipe is None and _is_plateau(self.build(num_steps=1))


@dataclasses.dataclass(frozen=True)
class SweepSchedule:
    """The learning rates: every scheduler with every rate. Config files are only for jaxlr train."""

    scheduler: tuple[str, ...] = (
        "StepLR(10)",
        "MultiStepLR([10, 20])",
        "ExponentialLR(0.9)",
        "ReduceLROnPlateau(patience=5)",
    )
    """Torch schedulers, each in quotes: "StepLR(10)" "MultiStepLR([10, 20])"."""

    lr: Annotated[tuple[float, ...] | None, _STATED] = None
    """Base learning rates: the rates that the optimizer is created with. Default: 0.03 0.1 0.3."""

    optimizer: Annotated[str | None, _STATED] = None
    """Torch optimizer of all runs, in quotes: "AdamW(weight_decay=0.1)". Default: SGD, with --momentum."""

    names: Annotated[tuple[str, ...], _NAMES] = ()
    """Values of the names in the schedulers' texts: --names epochs=90 "len(loader)=391"."""

    def __post_init__(self) -> None:
        _set(self, names=_checked_names(self.names))
        lr = self._default_lr() if self.lr is None else self.lr
        _set(self, lr=_unique("lr", lr), scheduler=_unique("scheduler", self.scheduler))
        _set(self, lr=tuple(float(check_value("each of lr", lr, positive=True)) for lr in self.rates))
        if self.optimizer is not None:
            for lr in self.rates:
                _checked_optimizer(self.optimizer, self.names, lr)
            # The runs share one optimizer, and only its rates differ.
            options = read_optimizer(self.optimizer, parse_names(self.names), self.rates[0]).given
            if len(self.rates) > 1 and options.get("corrected_weight_decay"):
                raise ValueError(
                    "lr must be one rate with corrected_weight_decay, which divides by it: sweep each rate "
                    "alone, or leave corrected_weight_decay out"
                )

    def _default_lr(self) -> tuple[float, ...]:
        """Return the rate that the optimizer sets, or the default rates of SGD."""
        if self.optimizer is None:
            return _DEFAULT_RATES
        lr = _checked_optimizer(self.optimizer, self.names, None)
        if "lr" in read_optimizer(self.optimizer, parse_names(self.names)).given:
            return (lr,)
        raise ValueError(
            f"lr must be given with this optimizer: the rates to try, such as --lr {lr:g} {lr / 3:.1g}"
        )

    @property
    def rates(self) -> tuple[float, ...]:
        """Return the base learning rates."""
        assert self.lr is not None
        return self.lr


@dataclasses.dataclass(frozen=True)
class Training:
    """The model and its training."""

    hidden: tuple[int, ...] = (256, 128)
    """Units of each hidden layer. Without a value the model is linear."""

    momentum: float = 0.0
    """Momentum of SGD: 0 (off) or more, and below 1. With --optimizer, write it there."""

    step_per: Literal["auto", "epoch", "batch"] = "auto"
    """When the scheduler steps. auto: per batch for OneCycleLR and CyclicLR, per epoch for others."""

    epochs: Annotated[int | None, _STATED] = None
    """Passes over the training samples. Default: 25, or those of --recipe."""

    batch_size: int = 32
    """Samples in a step. The last batch of an epoch may be smaller."""

    seed: int = 0
    """Seed of the initial weights and the shuffles. A sweep uses this seed and the next ones."""

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, Sequence) or isinstance(self.hidden, str):
            raise TypeError(f"hidden must be a list of whole numbers, got {self.hidden!r}")
        _set(self, hidden=tuple(_checked_count("each of hidden", units, 1) for units in self.hidden))
        _set_counts(self, batch_size=1, seed=0)
        if self.epochs is not None:
            _set_counts(self, epochs=1)
        _set(self, momentum=float(check_value("momentum", self.momentum)))
        if self.momentum >= 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum!r}")
        check_choice("step_per", self.step_per, ("auto", "epoch", "batch"))


@dataclasses.dataclass(frozen=True)
class TrainTraining(Training):
    """The model and its training."""

    on_nan: Literal["stop", "continue"] = "stop"
    """Action when the loss becomes NaN or infinite. torch would continue."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("on_nan", self.on_nan, ("stop", "continue"))


@dataclasses.dataclass(frozen=True)
class SweepTraining(Training):
    """The model and its training, the same for all runs."""

    seeds: int = 8
    """Number of seeds. Each scheduler is trained at each rate with every seed."""

    target_accuracy: float = 0.95
    """Validation accuracy, above 0 and at most 1. The table shows the epochs to reach it."""

    def __post_init__(self) -> None:
        if self.epochs is None:
            _set(self, epochs=DEFAULT_EPOCHS)
        super().__post_init__()
        _set_counts(self, seeds=1)
        _checked_count("the last seed (seed + seeds - 1)", self.seed + self.seeds - 1, 0)
        if not 0 < check_value("target_accuracy", self.target_accuracy) <= 1:
            raise ValueError(f"target_accuracy must be above 0 and at most 1, got {self.target_accuracy!r}")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The data."""

    dataset: str = "digits"
    """The dataset: digits (1,797 scans, bundled), mnist, or the name of a prepared TFDS dataset."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder of datasets prepared by TFDS, or of MNIST's four IDX files. Default: found or downloaded."""

    validation_size: int = 0
    """Training samples, from the end, to validate on. 0: validate on the test split."""

    def __post_init__(self) -> None:
        _check_kinds(self, dataset=str)
        _set(self, data_dir=_checked_path("data_dir", self.data_dir))
        _set_counts(self, validation_size=0)


@dataclasses.dataclass(frozen=True)
class Output:
    """The files and the output."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """New folder for settings, metrics, figure and checkpoints. Default: runs/DATASET-TIME."""

    resume: bool = False
    """Resume the run in --out. Its settings are the defaults of all other flags."""

    strict: bool = False
    """With --resume: refuse if something has changed that the bits of the run depend on, such as the
    version of JAX or the kind of device. Without it, that is a warning."""

    checkpoint_every: Annotated[int | None, _STATED] = None
    """Epochs between checkpoints. Default: 1, or more if they would take over 5 % of the time."""

    quiet: bool = False
    """Print nothing but warnings and errors."""

    format: Literal["text", "json"] = "text"
    """Format of the output: lines to read, or one JSON object per result."""

    def __post_init__(self) -> None:
        _set(self, out=_checked_path("out", self.out))
        _check_kinds(self, resume=bool, strict=bool, quiet=bool)
        if self.checkpoint_every is not None:
            _set_counts(self, checkpoint_every=1)
        check_choice("format", self.format, ("text", "json"))
        if self.resume and self.out is None:
            raise ValueError("resume needs out: give the folder of the run as --out DIR")


@dataclasses.dataclass(frozen=True)
class TrainOutput(Output):
    """The files and the output.

    Exit status: 0 finished; 2 refused; 3 the loss became NaN or infinite; 4 the folder can no longer be
    written; 5 another process is lost; 130, 143 stopped by SIGINT, SIGTERM.
    A run that ended with 3, 4, 5, 130 or 143 can be resumed with --resume.
    """

    tensorboard: bool = False
    """Also write TensorBoard event files into the folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kinds(self, tensorboard=bool)


@dataclasses.dataclass(frozen=True)
class Device:
    """The devices."""

    devices: Annotated[int | Literal["all"] | None, _STATED] = None
    """Devices, or all, to split batches (of a sweep: runs) over. Default: 1, or all if --distributed."""

    compilation_cache: Annotated[bool, _STATED] = True
    """Keep compiled programs in the user's folder and in --out. --no-compilation-cache turns it off."""

    deterministic: bool = False
    """On a GPU: the same bits from every compilation, but slower. On a CPU they are always the same."""

    autotune: Annotated[bool, _STATED] = True
    """On a GPU: time kernels, and use the fastest. --no-autotune starts sooner, and may train slower."""

    def __post_init__(self) -> None:
        if self.devices is not None and not (isinstance(self.devices, str) and self.devices == "all"):
            _set_counts(self, devices=1)
        _check_kinds(self, compilation_cache=bool, deterministic=bool, autotune=bool)


@dataclasses.dataclass(frozen=True)
class TrainDevice(Device):
    """The devices and processes."""

    distributed: bool = False
    """Train with several processes. Outside of SLURM and Open MPI, also give the next three flags."""

    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")] = None
    """Address on which process 0 listens, the same for all processes."""

    num_processes: Annotated[int | None, _STATED] = None
    """Number of processes."""

    process_id: Annotated[int | None, _STATED] = None
    """Number of this process, from 0. Process 0 reads and writes for all, and its flags apply."""

    peer_timeout: int = 60
    """Seconds without a sign of life after which another process counts as lost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_kinds(self, distributed=bool)
        _set_counts(self, peer_timeout=1)
        if self.peer_timeout > 86_400:
            raise ValueError(f"peer_timeout must be at most a day, 86400 seconds, got {self.peer_timeout}")
        address = {name: getattr(self, name) for name in ("coordinator", "num_processes", "process_id")}
        given = [name for name, value in address.items() if value is not None]
        if not given:
            return
        if not self.distributed:
            raise ValueError(f"{given[0]} needs distributed: add --distributed")
        if missing := [flag_of(name) for name in address if name not in given]:
            raise ValueError(
                f"coordinator, num_processes and process_id go together: add {' and '.join(missing)}"
            )
        self._check_address()

    def _check_address(self) -> None:
        host, _, port = str(self.coordinator).rpartition(":")
        if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
            raise ValueError(f"coordinator must be HOST:PORT, got {self.coordinator!r}")
        _set_counts(self, num_processes=1, process_id=0)
        if self.num_processes is not None and (self.process_id or 0) >= self.num_processes:
            raise ValueError(
                f"process_id must be below num_processes, {self.num_processes}, got {self.process_id!r}"
            )


@dataclasses.dataclass(frozen=True)
class SweepDevice(Device):
    """The devices."""

    chunk: Annotated[int | None, _STATED] = None
    """Runs to train at once. Default: all, or as many as fit into the memory of the devices."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk is not None:
            _set_counts(self, chunk=1)


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The settings that a run and a sweep have in common, in the groups that the help shows."""

    command: ClassVar[str] = ""  # the word after `jaxlr`

    schedule: Any
    training: Training
    data: DataSettings
    output: Output
    device: Device

    @property
    def epochs(self) -> int:
        """The epochs of a run."""
        assert self.training.epochs is not None, "the recipe is not complete"
        return self.training.epochs

    @classmethod
    def from_flags(cls, **flags: Any) -> Self:
        """Build the settings from flags by name: `from_flags(scheduler="StepLR(10)", epochs=3)`."""
        groups: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            group: Any = field.default_factory
            names = {each.name for each in dataclasses.fields(group)} & flags.keys()
            groups[field.name] = group(**{name: flags.pop(name) for name in names})
        if flags:
            raise TypeError(f"jaxlr {cls.command} has no flag {flag_of(str(next(iter(flags))))}")
        return cls(**groups)

    def flags(self) -> dict[str, Any]:
        """Return all settings by the names of their flags, without the groups."""
        return {name: value for group in vars(self).values() for name, value in vars(group).items()}

    def replace(self, **flags: Any) -> Self:
        """Return the settings with some flags changed."""
        return type(self).from_flags(**{**self.flags(), **flags})

    def fixed_flags(self) -> dict[str, Any]:
        """Return the settings that decide the numbers of the run. They may not change on --resume."""
        groups = (self.schedule, self.training, self.data)
        free = ("data_dir", "on_nan", "target_accuracy")
        return {name: value for group in groups for name, value in vars(group).items() if name not in free}

    def changes_to(self, given: Any) -> list[str]:
        """Return the fixed settings that differ in `given`, each as `--flag was OLD, now NEW`."""
        old, new = self.fixed_flags(), given.fixed_flags()
        return [
            f"{flag_of(name)} was {old[name]!r}, now {new[name]!r}"
            for name in old
            if old[name] != new[name]
        ]


@dataclasses.dataclass(frozen=True)
class TrainConfig(RunConfig):
    """Train an MLP to classify images, with the learning rate of a torch scheduler or of a config.

    Example: jaxlr train --scheduler "StepLR(10)" --lr 0.3 --out runs/mine
    """

    command = "train"

    schedule: TrainSchedule = dataclasses.field(default_factory=TrainSchedule)
    training: TrainTraining = dataclasses.field(default_factory=TrainTraining)
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    output: TrainOutput = dataclasses.field(default_factory=TrainOutput)
    device: TrainDevice = dataclasses.field(default_factory=TrainDevice)

    def __post_init__(self) -> None:
        training, reader = self.training, self.schedule.reader
        if self.schedule.optimizer is not None and training.momentum:
            raise ValueError(
                "momentum must be left out with --optimizer: write it there, as in "
                f'--optimizer "SGD(momentum={training.momentum:g})"'
            )
        if reader is None:
            if training.epochs is None:
                _set(self, training=dataclasses.replace(training, epochs=DEFAULT_EPOCHS))
            if training.step_per == "batch" and self.schedule.is_plateau:
                raise ValueError("step_per must not be 'batch' for a plateau, which steps once per epoch")
            return
        if training.step_per != "auto":
            raise ValueError("step_per must be left out with --recipe: a config states when it steps")
        if not reader.recipe.is_complete:
            reader.check(training.epochs)

    def completed(self, steps_per_epoch: int) -> "TrainConfig":
        """Return the settings with the numbers that the recipe takes from a run on data of this size.

        Raises:
            RateError: the recipe cannot have these numbers.
        """
        reader = self.schedule.reader
        if reader is None or reader.recipe.is_complete:
            return self
        try:
            optimizer = None if self.training.momentum else self.schedule.optimizer or ""
            recipe, epochs, optimizer = reader.completed(steps_per_epoch, self.training.epochs, optimizer)
        except RecipeError as error:
            raise RateError(f"--{error} (with {steps_per_epoch} batches in an epoch)") from error
        return self.replace(recipe=recipe.as_text(), epochs=epochs, optimizer=optimizer)

    def run_schedule(self, steps_per_epoch: int) -> RunSchedule:
        """Return the schedule for epochs of `steps_per_epoch` batches."""
        reader, step_per = self.schedule.reader, self.training.step_per
        if reader is not None:
            recipe = reader.read()
            counts_per_epoch = 1 if recipe.unit in ("epoch", "evaluation") else steps_per_epoch
            return RunSchedule(recipe.schedule, counts_per_epoch, _base_lr(recipe.schedule))
        text: Any = self.schedule.scheduler
        per_batch = steps_per_batch(text) if step_per == "auto" else step_per == "batch"
        counts_per_epoch = steps_per_epoch if per_batch else 1
        lr: Any = self.schedule.lr
        return RunSchedule(self.schedule.build(self.epochs * counts_per_epoch), counts_per_epoch, lr)

    def changes_to(self, given: Any) -> list[str]:
        """Return the fixed settings that differ in `given`. Training for more epochs is allowed."""
        if given.training.epochs is None or given.epochs > self.epochs:
            given = given.replace(epochs=self.epochs)
        reader, other = self.schedule.reader, given.schedule.reader
        if reader is None or other is None:
            return super().changes_to(given)
        optimizer = given.schedule.optimizer or self.schedule.optimizer  # that of the config
        changes = super().changes_to(given.replace(recipe=self.schedule.recipe, optimizer=optimizer))
        change = reader.recipe.change_to(other.recipe)
        return [*changes, f"in --recipe {change}"] if change else changes


@dataclasses.dataclass(frozen=True)
class SweepConfig(RunConfig):
    """Train with every scheduler, rate and seed, and rank the schedulers and rates.

    Example: jaxlr sweep --scheduler "StepLR(10)" --lr 0.1 0.3
    """

    command = "sweep"

    schedule: SweepSchedule = dataclasses.field(default_factory=SweepSchedule)
    training: SweepTraining = dataclasses.field(default_factory=SweepTraining)
    data: DataSettings = dataclasses.field(default_factory=DataSettings)
    output: Output = dataclasses.field(default_factory=Output)
    device: SweepDevice = dataclasses.field(default_factory=SweepDevice)

    def __post_init__(self) -> None:
        self.single_runs()

    @property
    def num_runs(self) -> int:
        """The number of runs: schedulers times rates times seeds."""
        return len(self.schedule.scheduler) * len(self.schedule.rates) * self.training.seeds

    def fixed_flags(self) -> dict[str, Any]:
        """Return the settings that decide the numbers of the sweep, including the size of its chunks."""
        return {**super().fixed_flags(), "chunk": self.device.chunk}

    def changes_to(self, given: Any) -> list[str]:
        """Return the fixed settings that differ in `given`. Of the chunks, only the number is fixed."""

        def num_chunks(size: int | None) -> int:
            return -(-self.num_runs // (size or self.num_runs))

        chunk = self.device.chunk
        if given.device.chunk is None or num_chunks(given.device.chunk) == num_chunks(chunk):
            given = given.replace(chunk=chunk)
        return super().changes_to(given)

    def single_runs(self) -> list[TrainConfig]:
        """Return the settings of the first seed of each scheduler at each rate, schedulers first."""
        pairs = itertools.product(self.schedule.scheduler, self.schedule.rates)
        return [self._single_run(scheduler, lr) for scheduler, lr in pairs]

    def _single_run(self, scheduler: str, lr: float) -> TrainConfig:
        names = [field.name for field in dataclasses.fields(Training)]
        training = {name: getattr(self.training, name) for name in names}
        try:
            own = self.schedule
            schedule = TrainSchedule(scheduler, lr, optimizer=own.optimizer, names=own.names)
            if schedule.optimizer != own.optimizer:
                raise ValueError("it constructs an optimizer: give that as --optimizer, for all runs")
            if schedule.cycle(num_steps=1):
                raise ValueError(
                    "it cycles the momentum, which a sweep cannot: give it cycle_momentum=False"
                )
            return TrainConfig(schedule, TrainTraining(**training), self.data)
        except (TypeError, ValueError) as error:
            raise ValueError(f"scheduler {shorten(str(scheduler))!r}: {error}") from error


def _checked_optimizer(text: str, names: Sequence[str], lr: float | None) -> float:
    """Return the learning rate of the optimizer of a text. An error names the flag."""
    try:
        return read_optimizer(text, parse_names(names), lr).param_groups[0]["lr"]
    except ConflictingRateError as error:
        raise ValueError(
            f"lr must be left out, because --optimizer sets it to {error.written!r} (to resume, give the "
            f"optimizer of the run), got {error.given}"
        ) from error
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"optimizer: {message_of(error)}") from error


def _is_plateau(schedule: Any) -> bool:
    return isinstance(schedule, optax.GradientTransformationExtraArgs)


def _base_lr(schedule: Any) -> float:
    """Return the rate that a plateau starts from, as the shortest decimal. Other schedules need none."""
    return float(str(np.asarray(plateau_lr(schedule.init({}))))) if _is_plateau(schedule) else 0.0


def _set(group: Any, **values: Any) -> None:
    """Assign checked values to the fields of a frozen dataclass, in its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(group, name, value)


def _set_counts(group: Any, **smallest: int) -> None:
    """Make fields ints, each at least `smallest[name]` and no larger than a device can count."""
    _set(
        group,
        **{name: _checked_count(name, getattr(group, name), least) for name, least in smallest.items()},
    )


def _checked_count(name: str, value: Any, least: int) -> int:
    count = check_whole_number(name, value)
    if not least <= count < 2**31:
        raise ValueError(f"{name} must be from {least} to 2**31 - 1, got {value!r}")
    return count


def _check_kinds(group: Any, **kinds: type) -> None:
    for name, kind in kinds.items():
        value = getattr(group, name)
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, got {value!r}")


def _checked_names(pairs: Any) -> tuple[str, ...]:
    if (
        isinstance(pairs, str)
        or not isinstance(pairs, Sequence)
        or not all(isinstance(p, str) for p in pairs)
    ):
        raise TypeError(f"names must be a list of texts NAME=VALUE, got {shown_value(pairs)}")
    parse_names(pairs)
    return tuple(pairs)


def _checked_path(name: str, value: Any) -> Path | None:
    if not isinstance(value, str | Path | None):
        raise TypeError(f"{name} must be a path, got {value!r}")
    if value is not None and "\0" in str(value):
        raise ValueError(f"{name} must be a path, got one with a null character: {str(value)!r}")
    return None if value is None else Path(value)


def _unique(name: str, values: Any) -> tuple[Any, ...]:
    """Return the values of a list, after checking that it is not empty and has no value twice."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list, got {shown_value(values)}")
    if not values:
        raise ValueError(f"{name} must hold at least one, got none")
    stripped = [value.strip() if isinstance(value, str) else value for value in values]
    if twice := [value for index, value in enumerate(stripped) if value in stripped[:index]]:
        raise ValueError(f"{name} holds {shown_value(twice[0])} twice: give each once")
    return tuple(values)
