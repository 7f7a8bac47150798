"""The settings of a run and of a sweep."""

import dataclasses
import itertools
from typing import Any, ClassVar, Self

import jax
import optax

from jaxlr._checks import shorten
from jaxlr._plateaus import Plateau
from jaxlr.convert.optimizers.text import transformation
from jaxlr.convert.text import steps_per_batch
from jaxlr.flags.errors import RecipeError, flag_of
from jaxlr.plateau import ScheduleOrPlateau, reduce_lr_on_plateau
from jaxlr.train.checks import assign
from jaxlr.train.errors import RateError
from jaxlr.train.groups import (
    DataSettings,
    Device,
    Output,
    SweepDevice,
    SweepTraining,
    TrainDevice,
    Training,
    TrainOutput,
    TrainTraining,
)
from jaxlr.train.optimizer import build_optimizer
from jaxlr.train.recipe import DEFAULT_EPOCHS
from jaxlr.train.schedule import SweepSchedule, TrainSchedule


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
                assign(self, training=dataclasses.replace(training, epochs=DEFAULT_EPOCHS))
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

    def resumed(self, given: Any) -> "TrainConfig":
        """Return the settings `given` to resume a run, with what the run took from its recipe."""
        reader = self.schedule.reader
        if reader is None:
            return given
        epochs = given.training.epochs or self.epochs
        recipe = reader.recipe if epochs == self.epochs else reader.trained_longer(epochs)
        optimizer = given.schedule.optimizer or self.schedule.optimizer
        return given.replace(recipe=recipe.as_text(), epochs=epochs, optimizer=optimizer)

    def run_schedule(self, steps_per_epoch: int) -> tuple[ScheduleOrPlateau, int]:
        """Return the schedule, or the plateau, and the counts of the schedule in an epoch."""
        reader, step_per = self.schedule.reader, self.training.step_per
        if reader is not None:
            recipe = reader.read()
            counts_per_epoch = 1 if recipe.unit in ("epoch", "evaluation") else steps_per_epoch
            return recipe.schedule, counts_per_epoch
        text: Any = self.schedule.scheduler
        per_batch = steps_per_batch(text) if step_per == "auto" else step_per == "batch"
        counts_per_epoch = steps_per_epoch if per_batch else 1
        return self.schedule.build(self.epochs * counts_per_epoch), counts_per_epoch

    def run_optimizer(
        self, schedule: ScheduleOrPlateau, counts_per_epoch: int, steps_per_count: int
    ) -> optax.GradientTransformationExtraArgs:
        """Return the optimizer under the schedule of a run, or with its plateau."""
        settings, momentum = self.schedule, self.training.momentum
        if (of_recipe := settings.optimizer_of_recipe(steps_per_count)) is not None:
            return of_recipe
        if isinstance(schedule, Plateau):
            if settings.text_optimizer is not None:
                return build_optimizer(settings.text_optimizer, schedule)
            return optax.chain(build_optimizer(None, schedule.init_value, momentum), schedule)
        if (pair := settings.cycle(self.epochs * counts_per_epoch)) is not None:
            return transformation(pair, steps_per_epoch=steps_per_count)
        return build_optimizer(settings.text_optimizer, schedule, momentum, steps_per_count)

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
        runs = self.single_runs()[:: len(self.schedule.rates)]
        shapes = [_shapes_of_plateau(run.schedule.build(num_steps=1)) for run in runs]
        if any(each != shapes[0] for each in shapes):
            raise ValueError(
                "scheduler must not name GreedyLR beside other classes, nor with different windows, "
                "because the runs of a sweep share a program: give each a sweep of its own"
            )

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


def _shapes_of_plateau(schedule: ScheduleOrPlateau) -> Any:
    """Return the shapes in the state of a plateau. A schedule has those of a ReduceLROnPlateau."""
    plateau: Any = schedule if isinstance(schedule, Plateau) else reduce_lr_on_plateau(1.0)
    return jax.tree.map(lambda leaf: leaf.shape, jax.eval_shape(plateau.init, {}))
