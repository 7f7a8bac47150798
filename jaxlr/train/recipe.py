"""The recipe of a run: the config of a framework, and the numbers that the run adds to it."""

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import optax

from jaxlr._checks import shown_value
from jaxlr.cli.errors import RecipeError, in_flags
from jaxlr.cli.recipe import Settings, read_recipe
from jaxlr.convert.optimizers.signatures import NAMES
from jaxlr.frameworks import Recipe
from jaxlr.frameworks.config import from_config
from jaxlr.frameworks.recipe import Unreadable
from jaxlr.plateau import PlateauState
from jaxlr.train.optimizer import read_optimizer


# The keys of the texts that hold a recipe, and of a Python config's expression in them.
_SETTINGS, _EXPRESSION, _PAIRS = "jaxlr_recipe", "jaxlr_expression", "jaxlr_pairs"
_CLASS_KEYS = ("class_path", "_target_", "type")
_WITH_TORCHS_OPTIONS = ("lightning", "mmengine", "mmcv")
DEFAULT_EPOCHS = 25
_ANY_BATCHES = 10_000  # in an epoch, to check a recipe before the data are loaded
_MANY_BATCHES = 2**20  # in an epoch, so many that a number of updates is nearly a share of them
_MANY_EPOCHS = 100  # more than a warmup has


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
        numbers = {"steps_per_epoch": self.recipe.steps_per_epoch, "epochs": self.recipe.epochs, **numbers}
        names = dict(self.names)
        # The flag --num-processes is the number of this run. That of the config's run is a name.
        arguments: dict[str, Any] = {
            "num_processes": names.pop("num_processes", None),
            "names": names,
            "framework": self.framework,
            "version": self.version,
        }
        try:
            recipe = from_config(self.recipe.settings, self.lr, **arguments, **numbers)
        except (TypeError, ValueError, ArithmeticError) as error:
            message = in_flags(str(error), num_processes="--names num_processes=...")
            raise RecipeError(f"recipe: {message}") from error
        return recipe._replace(assumptions=tuple(map(in_flags, recipe.assumptions)))

    def check(self, epochs: int | None) -> None:
        """Refuse a recipe that no run can use, before its data are loaded."""
        if self.lr is not None and self._replace(lr=None)._states_rate():
            raise RecipeError("the recipe states its learning rate: leave --lr out, or change the config")
        numbers = {"steps_per_epoch": _ANY_BATCHES, "epochs": epochs or self._missing_epochs(_ANY_BATCHES)}
        schedule: Any = self.read(**numbers).schedule
        if isinstance(schedule, optax.GradientTransformation):
            state = schedule.init({})
            if not isinstance(state, PlateauState):
                raise RecipeError("the schedule of the recipe depends on a metric, and is not a plateau")
            if state.mode != 0:
                raise RecipeError(
                    "the plateau of the recipe waits for a metric to rise, but jaxlr train gives it the "
                    "validation loss: change its mode, or its metric, in the config"
                )

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
        said = []
        steps = num_batches * self._batches_per_update()
        if steps > num_batches:
            said.append(
                f"An update is one batch of this run. The config accumulates {steps // num_batches} for it."
            )
        if epochs is not None:
            said.append(f"The run has {_counted(epochs, 'epoch')}, by --epochs.")
        elif (epochs := self._missing_epochs(steps)) is not None:
            said.append(f"The run has {epochs} epochs: the config does not say how many.")
        recipe = self.read(steps_per_epoch=steps, epochs=epochs)
        is_per_epoch = recipe.unit in ("epoch", "evaluation")
        if not is_per_epoch:
            said.append(f"An epoch has {_counted(num_batches, 'batch')}, as the data of this run.")
        if recipe.unit == "evaluation":
            said.append("The plateau is stepped after each epoch, with the validation loss.")
        own = optimizer_text(recipe, self.recipe.settings)
        if optimizer:
            said.append(f"The optimizer is {optimizer}, by --optimizer.")
        elif own and optimizer is not None:
            optimizer = own
            clip = "" if recipe.clip is None else ", but gradients are not clipped"
            said.append(f"The optimizer is {own}, as the config{clip}.")
        elif any((recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.clip)):
            said.append("The optimizer is SGD, with --momentum: that of the config is not used.")
        counts_per_epoch = 1 if is_per_epoch else num_batches
        num_epochs = epochs or -(-(recipe.num_counts or 0) // counts_per_epoch) or DEFAULT_EPOCHS
        if epochs is None:
            source = ", as the config" if recipe.num_counts else ""
            said.append(f"The run has {_counted(num_epochs, 'epoch')}{source}.")
        said += _comparison(recipe, num_epochs * counts_per_epoch)
        assumptions = (*recipe.assumptions, *said)
        completed = RunRecipe(self.recipe.settings, True, steps, epochs, assumptions)
        return completed, num_epochs, optimizer or None

    def _states_rate(self) -> bool:
        """Check if the config states a learning rate."""
        try:
            self.read(steps_per_epoch=_ANY_BATCHES, epochs=DEFAULT_EPOCHS)
        except RecipeError as error:
            if not re.search(r"\bgive [^:;]*--lr\b", str(error)):
                raise
            return False
        return True

    def _missing_epochs(self, steps_per_epoch: int) -> int | None:
        """Return the default number of epochs if the config needs one and lacks it, else None."""
        try:
            self.read(steps_per_epoch=steps_per_epoch, epochs=None)
        except RecipeError as error:
            if not re.search(r"\bgive --epochs\b", str(error)):
                raise
            return DEFAULT_EPOCHS
        return None

    def _batches_per_update(self) -> int:
        """Return the batches that the config accumulates, found by the updates of a long run."""
        long = self.read(steps_per_epoch=_MANY_BATCHES, epochs=_MANY_EPOCHS)
        longer = self.read(steps_per_epoch=2 * _MANY_BATCHES, epochs=_MANY_EPOCHS)
        if long.unit != "update" or long.num_counts in (None, longer.num_counts):
            return 1
        return max(1, round(_MANY_BATCHES * _MANY_EPOCHS / long.num_counts))


def optimizer_text(recipe: Recipe, settings: Settings) -> str | None:
    """Return the optimizer of a config as a torch text, if the config states its class with all options.

    Only the frameworks in `_WITH_TORCHS_OPTIONS` do. Others have options and defaults of their own.
    """
    is_constant = not callable(recipe.momentum) and not callable(recipe.weight_decay)
    if recipe.framework not in _WITH_TORCHS_OPTIONS or recipe.optimizer not in NAMES or not is_constant:
        return None
    if any(each.get(key) for each in _mappings(settings) for key in ("paramwise_cfg", "constructor")):
        return None
    if re.search("OneCycle|Cyclic", json.dumps(_encoded(settings))):  # it cycles the momentum
        return None
    found = [each for each in _mappings(settings) if _class_of(each) == recipe.optimizer]
    if len(found) != 1:
        return None
    options = found[0].get("init_args", found[0])
    if not isinstance(options, Mapping):
        return None
    given = {key: value for key, value in options.items() if key not in (*_CLASS_KEYS, "lr", "params")}
    try:
        return read_optimizer(f"{recipe.optimizer}(**options)", {"options": given}).text
    except (TypeError, ValueError):
        return None


def _class_of(settings: Settings) -> str | None:
    """Return the class that a mapping names."""
    named = next((settings[key] for key in _CLASS_KEYS if isinstance(settings.get(key), str)), "")
    return named.rpartition(".")[2] if named.rpartition(".")[0] in ("", "torch.optim") else None


def _mappings(value: Any) -> list[Settings]:
    """Return all mappings in the settings of a config."""
    if isinstance(value, list | tuple):
        return [found for each in value for found in _mappings(each)]
    if not isinstance(value, Mapping):
        return []
    return [value, *(found for each in value.values() for found in _mappings(each))]


def _comparison(recipe: Recipe, num_counts: int) -> list[str]:
    """Compare the length of a run with that of the config's."""
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
