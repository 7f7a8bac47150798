"""The recipe of a run: the config of a framework, and the numbers that the run adds to it."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax

from jaxlr._checks import shown_value
from jaxlr._plateaus import Plateau, nodes_of
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import Settings, read_recipe
from jaxlr.frameworks import Recipe
from jaxlr.frameworks.config import from_config
from jaxlr.frameworks.optimizers import ConfigOptimizer, read_optimizer
from jaxlr.frameworks.recipe import OptimizerError, Unreadable


# The keys of the texts that hold a recipe, and of a Python config's expression in them.
_SETTINGS, _EXPRESSION, _PAIRS = "jaxlr_recipe", "jaxlr_expression", "jaxlr_pairs"
DEFAULT_EPOCHS = 25
_ANY_BATCHES = 10_000  # in an epoch, to check a recipe before the data are loaded
_MANY_BATCHES = 2**20  # in an epoch, so many that a number of updates is nearly a share of them
_MANY_EPOCHS = 100  # more than a warmup has
# The sentences about the epochs of a run, which change if it is resumed and trained longer.
_ABOUT_EPOCHS = re.compile(r"The run has \d+ epochs?\b|This run has |The run of the config |It keeps ")


class RunRecipe(NamedTuple):
    """The config of a framework, as a run stores it in config.json.

    The numbers of the run are added once, when it knows its data. A run that is resumed and trained longer
    keeps them, and with them its schedule.
    """

    settings: Settings
    is_complete: bool = False  # the numbers of the run have been added
    steps_per_epoch: int | None = None  # the argument of from_config
    epochs: int | None = None  # the argument of from_config; None takes those of the config
    assumptions: tuple[str, ...] = ()  # of from_config and of the run
    builds_optimizer: bool = False  # the optimizer is that of the config, and more than a torch text

    @classmethod
    def from_text(cls, text: str) -> "RunRecipe":
        """Return the recipe in a text that `as_text` wrote."""
        values = json.loads(text)
        recipe = cls(_decoded(values.pop(_SETTINGS)), **values)
        return recipe._replace(assumptions=tuple(recipe.assumptions))

    def as_text(self) -> str:
        """Return the recipe as JSON."""
        numbers = self._asdict() if self.is_complete else {}
        numbers.pop("settings", None)
        return json.dumps({_SETTINGS: _encoded(self.settings), **numbers})

    def change_to(self, other: "RunRecipe") -> str | None:
        """Describe the first setting that differs in `other`, or a number of the run that both have."""
        if self.is_complete and other.is_complete and self.epochs != other.epochs:
            return f"epochs was {self.epochs}, now {other.epochs}"
        for name in {**self.settings, **other.settings}:
            old, new = self.settings.get(name), other.settings.get(name)
            if _encoded(old) != _encoded(new):
                return f"{name} was {shown_value(old)}, now {shown_value(new)}"
        return None


class RunOptimizer(NamedTuple):
    """The optimizer of a config, for the MLP of a run."""

    read: ConfigOptimizer
    transformation: optax.GradientTransformationExtraArgs
    spares_biases: bool  # from the weight decay, or from the rate of the others

    @property
    def text(self) -> str:
        """The optimizer as a torch text, without its learning rate."""
        call = self.read.call
        given = {name: value for name, value in call.given.items() if name != "lr"}
        return OptimizerCall(call.name, given).text

    @property
    def is_more_than_text(self) -> bool:
        """True if the torch text alone would make other updates."""
        return self.spares_biases or self.read.stated.clip is not None or not self.read.is_constant

    def sentences(self) -> list[str]:
        """Describe the optimizer in sentences."""
        said = [f"The optimizer is {self.text}, as the config."]
        clip, framework = self.read.stated.clip, self.read.recipe.framework
        if clip is not None:
            what = "Each gradient is" if clip.norm_type is None else "The gradients are"
            norm = "a size" if clip.norm_type is None else "a norm"
            said.append(f"{what} clipped to {norm} of {clip.size:g}.")
        if self.read.stated.own_rates:
            said.append(f"The biases are in a group of their own, as in {framework}.")
        elif self.spares_biases:
            said.append(f"The biases have no weight decay, as in {framework}.")
        if callable(self.read.momentum):
            said.append("The momentum follows the schedule of the config.")
        if callable(self.read.recipe.weight_decay):
            said.append("The weight decay follows the schedule of the config.")
        accumulation = self.read.stated.batches_per_update
        if accumulation > 1 and self.read.recipe.unit != "update":  # else `_batches_per_update` finds it
            said.append(_one_batch_for(accumulation))
        return said


class RecipeReader(NamedTuple):
    """The recipe of a run with the flags that complete it."""

    recipe: RunRecipe
    lr: float | None
    names: Mapping[str, Any]
    framework: str | None = None
    version: str | None = None

    def read(self, **numbers: Any) -> Recipe:
        """Call `from_config`, with the numbers of the run unless others are given.

        Raises:
            ValueError: as `from_config` raises, with advice in flags.
        """
        try:
            recipe = from_config(self.recipe.settings, self.lr, **self._arguments(**numbers))
        except (TypeError, ValueError, ArithmeticError) as error:
            raise RecipeError(f"recipe: {_in_flags_of_train(error)}") from error
        return recipe._replace(assumptions=tuple(map(in_flags, recipe.assumptions)))

    def _arguments(self, **numbers: Any) -> dict[str, Any]:
        """Return the arguments of `from_config`, with the numbers of the run unless others are given."""
        names = dict(self.names)
        # The flag --num-processes is the number of this run. That of the config's run is a name.
        return {
            "num_processes": names.pop("num_processes", None),
            "names": names,
            "framework": self.framework,
            "version": self.version,
            "steps_per_epoch": self.recipe.steps_per_epoch,
            "epochs": self.recipe.epochs,
            **numbers,
        }

    def optimizer(self, steps_per_count: int, **numbers: Any) -> RunOptimizer:
        """Return the optimizer of the config for the MLP of a run.

        Args:
            steps_per_count: updates in a count of the schedule.
            numbers: as in `read`.

        Raises:
            TypeError: as `optimizer_from_config` raises it.
            ValueError: as `optimizer_from_config` raises it, or a run cannot have this optimizer.
        """
        arguments = self._arguments(**numbers)

        def of_group(group: int) -> ConfigOptimizer:
            return read_optimizer(self.recipe.settings, self.lr, **arguments, group=group)

        first = of_group(0)
        if first.call.name == "Muon":
            raise OptimizerError("Muon is for matrices only, and the model has biases")
        labels, groups = None, []
        if first.stated.own_rates and "biases" in first.recipe.groups:
            labels = _groups_of_mlp(first.recipe.groups.index("biases"))
            groups = [of_group(group) for group in range(first.num_groups)]
        spares_biases = bool({"biases", "vectors"} & {*first.undecayed})
        mask = _is_kernel if spares_biases and not groups else True
        tx = first.build(mask, True, labels, groups, steps_per_count)
        return RunOptimizer(first, tx, spares_biases or bool(groups))

    def check(self, epochs: int | None) -> None:
        """Refuse a recipe that no run can use, before its data are loaded."""
        if self.lr is not None:
            self._check_rate()
        numbers = {"steps_per_epoch": _ANY_BATCHES, "epochs": epochs or self._missing_epochs(_ANY_BATCHES)}
        schedule = self.read(**numbers).schedule
        if isinstance(schedule, Plateau):
            (state,) = nodes_of(schedule.init({}), lambda node: hasattr(node, "mode"))
            if state.mode != 0:
                raise RecipeError(
                    "the plateau of the recipe waits for a metric to rise, but jaxlr train gives it the "
                    "validation loss: change its mode, or its metric, in the config"
                )

    def _check_rate(self) -> None:
        """Refuse --lr for a config that states its learning rate."""
        numbers = {"steps_per_epoch": _ANY_BATCHES, "epochs": DEFAULT_EPOCHS}
        if self._replace(lr=None)._lacks(r"\bgive [^:;]*--lr\b", **numbers):
            return
        if str(self.recipe.settings.get("optimizer")).lower() == "auto":  # of Ultralytics
            raise RecipeError(
                "the optimizer 'auto' of the recipe chooses the learning rate, and ignores lr0: leave "
                "--lr out, or name the optimizer in the config, such as 'SGD', with its lr0"
            )
        raise RecipeError("the recipe states its learning rate: leave --lr out, or change the config")

    def completed(
        self, num_batches: int, epochs: int | None, optimizer: str | None
    ) -> tuple[RunRecipe, int, str | None]:
        """Return the recipe with the numbers of the run, its epochs, and its optimizer or None for SGD.

        An update of the config is a batch of the run, whether or not the config accumulates several.

        Args:
            num_batches: batches in an epoch of the run.
            epochs: epochs of the run. None takes those of the config, or 25 if it does not say them.
            optimizer: the text of --optimizer, "" if it is not given, or None for SGD with --momentum.
        """
        steps = num_batches * self._batches_per_update()
        said = [_one_batch_for(steps // num_batches)] if steps > num_batches else []
        if epochs is not None:
            said.append(f"The run has {_counted(epochs, 'epoch')}, by --epochs.")
        elif (epochs := self._missing_epochs(steps)) is not None:
            said.append(f"The run has {epochs} epochs: the config does not say how many.")
        numbers = {"steps_per_epoch": steps, "epochs": epochs}
        recipe = self.read(**numbers)
        is_per_epoch = recipe.unit in ("epoch", "evaluation")
        if not is_per_epoch:
            said.append(f"An epoch has {_counted(num_batches, 'batch')}, as the data of this run.")
        if recipe.unit == "evaluation":
            said.append("The plateau is stepped after each epoch, with the validation loss.")
        counts_per_epoch = 1 if is_per_epoch else num_batches
        own, about = self._chosen_optimizer(optimizer, num_batches // counts_per_epoch, **numbers)
        said += [each for each in about if each not in recipe.assumptions]
        num_epochs = epochs or -(-(recipe.num_counts or 0) // counts_per_epoch) or DEFAULT_EPOCHS
        if epochs is None:
            source = ", as the config" if recipe.num_counts else ""
            said.append(f"The run has {_counted(num_epochs, 'epoch')}{source}.")
        said += _comparison(recipe, num_epochs * counts_per_epoch)
        assumptions = (*recipe.assumptions, *said)
        builds_optimizer = own is not None and own.is_more_than_text
        completed = RunRecipe(self.recipe.settings, True, steps, epochs, assumptions, builds_optimizer)
        return completed, num_epochs, (own.text if own else optimizer) or None

    def _chosen_optimizer(
        self, given: str | None, steps_per_count: int, **numbers: Any
    ) -> tuple[RunOptimizer | None, list[str]]:
        """Return the optimizer of the config, or None if the run has another, and sentences about it.

        Args:
            given: `optimizer` of `completed`.
            steps_per_count: as in `optimizer`.
            numbers: as in `optimizer`.
        """
        if given:
            return None, [f"The optimizer is {given}, by --optimizer."]
        sgd = "The optimizer is SGD, with --momentum, and not that of the config"
        if given is None:
            return None, [f"{sgd}."]
        try:
            own = self.optimizer(steps_per_count, **numbers)
        except (TypeError, ValueError, ArithmeticError) as error:
            reason = error.reason if isinstance(error, OptimizerError) else _in_flags_of_train(error)
            return None, [f"{sgd}: {reason}."]
        return own, [*map(in_flags, own.read.recipe.assumptions), *own.sentences()]

    def trained_longer(self, epochs: int) -> RunRecipe:
        """Return the recipe of a run that is resumed for more epochs. It keeps its schedule."""
        said = [each for each in self.recipe.assumptions if not _ABOUT_EPOCHS.match(each)]
        said.append(f"The run has {_counted(epochs, 'epoch')}, by --epochs.")
        recipe = self.read()
        if recipe.num_counts:
            said.append(f"It keeps the schedule of a run of {_counted(recipe.num_counts, recipe.unit)}.")
        return self.recipe._replace(assumptions=tuple(said))

    def _missing_epochs(self, steps_per_epoch: int) -> int | None:
        """Return the default number of epochs if the config needs one and lacks it, else None."""
        lacks = self._lacks(r"\bgive --epochs\b", steps_per_epoch=steps_per_epoch, epochs=None)
        return DEFAULT_EPOCHS if lacks else None

    def _lacks(self, advice: str, **numbers: Any) -> bool:
        """Check if reading the config fails with an advice that matches a pattern."""
        try:
            self.read(**numbers)
        except RecipeError as error:
            if not re.search(advice, str(error)):
                raise
            return True
        return False

    def _batches_per_update(self) -> int:
        """Return the batches that the config accumulates, found by the updates of a long run."""
        long = self.read(steps_per_epoch=_MANY_BATCHES, epochs=_MANY_EPOCHS)
        longer = self.read(steps_per_epoch=2 * _MANY_BATCHES, epochs=_MANY_EPOCHS)
        if long.unit != "update" or long.num_counts in (None, longer.num_counts):
            return 1
        return max(1, round(_MANY_BATCHES * _MANY_EPOCHS / long.num_counts))


def _is_kernel(params: Any) -> Any:
    """Return a mask of the parameters of the MLP, which are matrices and biases."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _groups_of_mlp(biases: int) -> Callable[[Any], Any]:
    """Return a function of the parameters of the MLP, which gives group 0 to the matrices."""
    return lambda params: jax.tree.map(lambda is_kernel: 0 if is_kernel else biases, _is_kernel(params))


def _in_flags_of_train(error: Exception) -> str:
    return in_flags(str(error), num_processes="--names num_processes=...")


def _one_batch_for(accumulated: int) -> str:
    return f"An update is one batch of this run. The config accumulates {accumulated} for it."


def _comparison(recipe: Recipe, num_counts: int) -> list[str]:
    """Describe the difference between the length of this run and that of the config."""
    if recipe.num_counts in (None, num_counts):
        return []
    if recipe.num_counts < num_counts:
        counts = _counted(num_counts, recipe.unit)
        return [f"The run of the config ends after {recipe.num_counts} of the {counts} of this run."]
    return [f"This run has {num_counts} of the {recipe.num_counts} {recipe.unit}s of the config."]


def _counted(number: int, noun: str) -> str:
    plural = f"{noun}es" if noun.endswith("ch") and noun != "epoch" else f"{noun}s"
    return f"{number} {noun if number == 1 else plural}"


def read_run_recipe(recipe: Any, framework: str | None) -> str | RunRecipe:
    """Read the recipe of a run: a path, a text, the settings, or a recipe that a run stored.

    Returns:
        The recipe, or the text of a torch scheduler.
    """
    if isinstance(recipe, Mapping):
        return RunRecipe.from_text(json.dumps(recipe)) if _SETTINGS in recipe else RunRecipe(recipe)
    if not isinstance(recipe, str):
        raise TypeError(f"recipe must be a path, a text or a mapping, got {shown_value(recipe)}")
    if recipe.startswith(f'{{"{_SETTINGS}"'):
        return RunRecipe.from_text(recipe)
    source = read_recipe(recipe, framework)
    return source.text if source.settings is None else RunRecipe(source.settings)


def _encoded(value: Any) -> Any:
    """Return a value of a config as JSON can hold it."""
    match value:
        case Unreadable():
            return {_EXPRESSION: value.source}
        case Mapping() if all(isinstance(key, str) for key in value):
            return {key: _encoded(item) for key, item in value.items()}
        case Mapping():
            return {_PAIRS: [[_encoded(key), _encoded(item)] for key, item in value.items()]}
        case list() | tuple():
            return [_encoded(item) for item in value]
        case str() | int() | float() | None:
            return value
    return {_EXPRESSION: str(value)}  # such as a date of YAML


def _decoded(value: Any) -> Any:
    match value:
        case {"jaxlr_expression": source}:
            return Unreadable(source)
        case {"jaxlr_pairs": pairs}:
            return {_decoded(key): _decoded(item) for key, item in pairs}
        case dict():
            return {key: _decoded(item) for key, item in value.items()}
        case list():
            return [_decoded(item) for item in value]
    return value
