"""The result of reading a config, the settings in it, and the description of a framework."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Literal, NamedTuple

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_positive_count, check_value, check_whole_number, shown_value
from jaxlr.code.expressions import Evaluator
from jaxlr.code.syntax import parse_expression
from jaxlr.code.values import Unevaluated
from jaxlr.plateau import ScheduleOrPlateau


_REQUIRED: Any = object()
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_NUMBERS = re.compile(r"[-+\d.eE_%,\s()\[\]]*")  # or several of them
_CLASS = re.compile(r"(?:[A-Z]\w*\.)?([A-Z]\w*)")
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

Unit = Literal["update", "iteration", "epoch", "evaluation"]


class Recipe(NamedTuple):
    """A schedule that was read from a config, with the assumptions that were made.

    Args:
        schedule: the schedule, or the transformation of a plateau.
        unit: the unit of a count. "update" is an update of the weights,
            "iteration" a batch, "epoch" a pass over the dataset, and "evaluation" a call of a plateau.
        num_counts: the number of counts in the run, or None if the config does not say it.
        framework: the framework whose config it is, such as "huggingface".
        version: the version of the framework that `from_config` was given, or None.
        assumptions: a sentence for each rule that was chosen and each number that was derived.
        groups: the names of the parameter groups, in the order of the argument `group` of `from_config`,
            if there are several. The recipe is that of one of them.
        momentum: the momentum of SGD, or beta1 of Adam. A schedule of the same counts if it changes.
        weight_decay: the weight decay, a number or a schedule of the same counts.
        optimizer: the name of the optimizer, as the config writes it, such as "adamw_torch".
        clip: the largest global norm of the gradients, as `optax.clip_by_global_norm` takes it.

    The last four fields are None where the config does not state them.

    Returns:
        A recipe.

    Raises:
        TypeError: a field is missing.

    Example:
        >>> import jaxlr
        >>> flags = "--learning_rate 0.1 --lr_scheduler_type linear --max_steps 100"
        >>> recipe = jaxlr.from_config(flags)
        >>> recipe.framework, recipe.unit, recipe.num_counts
        ('huggingface', 'update', 100)
        >>> recipe = jaxlr.from_config(flags + " --optim adamw_torch --weight_decay 0.01 --max_grad_norm 1")
        >>> recipe.optimizer, recipe.weight_decay, recipe.clip
        ('adamw_torch', 0.01, 1.0)

    Reference: https://huggingface.co/docs/transformers/main_classes/trainer and the pages of the other
    frameworks.
    """

    schedule: ScheduleOrPlateau
    unit: Unit
    num_counts: int | None
    framework: str
    version: str | None
    assumptions: tuple[str, ...]
    groups: tuple[str, ...] = ()
    momentum: optax.ScalarOrSchedule | None = None
    weight_decay: optax.ScalarOrSchedule | None = None
    optimizer: str | None = None
    clip: float | None = None


class OptimizerError(ValueError):
    """A config whose optimizer is not supported, though its schedule is."""

    def __init__(self, reason: str):
        super().__init__(
            f"{reason}: change the config, or take the schedule from jaxlr.from_config, and build the "
            "optimizer with Optax"
        )
        self.reason: str = reason


class Clip(NamedTuple):
    """The clipping of the gradients before each update."""

    size: float
    norm_type: float | None = 2.0  # of the norm of all gradients together; None limits each element


class TorchOptimizer(NamedTuple):
    """The optimizer that a framework builds for a config.

    Args:
        name: its class, in torch or timm.
        options: the options of the class but the learning rate, where they are not its defaults. A schedule
            of the momentum or weight decay in the recipe replaces theirs.
        clip: the clipping of the gradients.
        undecayed: the parameters that the framework leaves out of the weight decay, such as "biases".
        batches_per_update: the batches whose gradients are accumulated for an update.
        own_rates: the reason if the parameter groups of the recipe have learning rates of their own.
        momentum: a schedule of the momentum by the counts of the recipe, if the recipe does not have it.
    """

    name: str
    options: Mapping[str, Any]
    clip: Clip | None = None
    undecayed: tuple[str, ...] = ()
    batches_per_update: int = 1
    own_rates: str = ""
    momentum: optax.Schedule | None = None


class Framework(NamedTuple):
    """A framework whose configs are read."""

    name: str
    read: Callable[["Config"], Recipe]
    # Keys that tell its configs, where all those of one tuple are there. "optim.lr" is one in a section.
    marks: tuple[tuple[str, ...], ...] = ()
    optimizer: Callable[["Config"], TorchOptimizer] | None = None
    aliases: tuple[str, ...] = ()
    calls: tuple[Callable[..., Any], ...] = ()  # functions named as people write them in a call
    ignored: tuple[str, ...] = ()  # more arguments of the calls, which do not change the rate
    recognizes: Callable[[Mapping[str, Any]], bool] | None = None  # where no key tells its configs
    has_versions: bool = False  # its rules depend on its version

    def knows(self, settings: Mapping[str, Any]) -> bool:
        """Check if settings are a config of this framework."""
        if any(all(_is_key(settings, key) for key in mark) for mark in self.marks):
            return True
        return self.recognizes is not None and self.recognizes(settings)


class Config:
    """The settings of a config and the arguments of `from_config`, with checks that name what is missing.

    Args:
        settings: the settings, by name.
        names: values for settings that the config leaves out or writes as a name.
        arguments: the other arguments of `from_config`, by name.
    """

    def __init__(self, settings: Mapping[str, Any], names: Mapping[str, Any], **arguments: Any):
        self.settings: Mapping[str, Any] = settings
        self._names = names
        self.init_value: ArrayLike | None = arguments["init_value"]
        self.version_text: str | None = arguments["version"]
        self.version = parsed_version(self.version_text)
        self.steps_per_epoch: int | None = _optional_count("steps_per_epoch", arguments["steps_per_epoch"])
        epochs = arguments["epochs"]
        self.epochs: Any = None if epochs is None else check_value("epochs", epochs, positive=True)
        self.num_processes: int | None = _optional_count("num_processes", arguments["num_processes"])
        self.group: int = check_whole_number("group", arguments["group"])
        self.assumptions: list[str] = []
        self._extras: dict[str, Any] = {}

    def inner(self, name: str) -> "Config":
        """Return the config of a nested mapping. Its assumptions are added to those of this one."""
        settings = self.get(name, {})
        if not isinstance(settings, Mapping):
            raise ValueError(f"{name} must hold settings by name, got {shown_value(settings)}")
        return self.of(settings)

    def of(self, settings: Mapping[str, Any]) -> "Config":
        """Return a config with the same arguments and other settings."""
        other = object.__new__(Config)
        other.__dict__.update(self.__dict__)
        other.settings = settings
        return other

    def assume(self, sentence: str) -> None:
        """Add a sentence to the assumptions."""
        if sentence not in self.assumptions:
            self.assumptions.append(sentence)

    def groups(self, *names: str) -> int:
        """Name the parameter groups of the framework, and return the number of the one that is read."""
        if not 0 <= self.group < len(names):
            known = ", ".join(f"{number} ({name})" for number, name in enumerate(names))
            raise ValueError(f"group must be one of {known}, got {self.group}")
        self.state(groups=names)
        return self.group

    def state(self, **fields: Any) -> None:
        """Set fields of the recipe that have defaults, such as `clip`."""
        self._extras.update(fields)

    def state_settings(self, **names: str) -> None:
        """Set fields of the recipe from the settings of these names, such as `clip="clip_grad"`."""
        readers: dict[str, Any] = {"optimizer": self.stated_text, "clip": self.stated_clip}
        self.state(**{field: readers.get(field, self.stated)(name) for field, name in names.items()})

    def stated(self, name: str) -> float | None:
        """Return a setting that no schedule depends on as a number. None if it is missing or no number."""
        value = self.get(name)
        if value is None:
            return None
        try:
            return self.signed(name, 0.0)
        except ValueError:
            self.assume(f"{name} is {shown_value(value)}, which is no number: the recipe leaves it out.")
            return None

    def stated_first(self, name: str) -> float | None:
        """Return the first number of a list that no schedule depends on, such as beta1. See `stated`."""
        values = self.get(name)
        first = values[0] if isinstance(values, list | tuple) and values else None
        return self.of({name: first}).stated(name)

    def stated_decay(self, is_undecayed: bool) -> float | None:
        """Return the stated `weight_decay`, which is 0 in a parameter group without a decay."""
        decay = self.stated("weight_decay")
        return 0.0 if is_undecayed and decay is not None else decay

    def stated_text(self, name: str) -> str | None:
        """Return a setting that no schedule depends on as a text. None if it is missing or no text."""
        try:
            return self.text(name, None)
        except ValueError:
            return None

    def stated_clip(self, name: str) -> float | None:
        """Return the largest norm of the gradients. None if it is not stated, or switched off."""
        norm = self.stated(name)
        return norm if norm is not None and norm > 0 else None

    def set_version(self, text: str) -> None:
        """Set the version that the config itself states."""
        self.version_text, self.version = text, parsed_version(text)

    def since(self, *version: int) -> bool | None:
        """Check if the version is at least `version`. None if no version was given."""
        return None if self.version is None else self.version >= version

    def named(self, name: str) -> Any:
        """Return the value that `names` has for a name, or None."""
        return self._names.get(name)

    def has(self, name: str) -> bool:
        """Check if a setting has a value."""
        return self.get(name) is not None

    def first(self, *names: str) -> str:
        """Return the first of several spellings that has a value, or the first spelling."""
        return next((name for name in names if self.has(name)), names[0])

    def get(self, name: str, default: Any = None) -> Any:
        """Return a setting as it stands. `names` fills in one that is missing, or that is a name itself."""
        value = self.settings.get(name)
        if isinstance(value, Unreadable):
            found = value.source_value(self._names)
            if found is not None:
                return found
            if name not in self._names:
                raise ValueError(
                    f"{name} is {value.source!r}, which has no value in the config: "
                    f"give names={{{value.source!r}: ...}}"
                )
        if value is None or isinstance(value, Unreadable):
            return self._names.get(name, default)
        if isinstance(value, str) and _is_reference(value):
            return self._names.get(value, self._names.get(name, value))
        return value

    def number(self, name: str, default: Any = _REQUIRED, argument: str | None = None) -> Any:
        """Return a setting as a finite number >= 0.

        Args:
            name: its name.
            default: the value where it is missing. Without a default that is an error.
            argument: the argument of `from_config` to ask for where it is missing.
        """
        value = self._get_number(name)
        if value is None:
            if default is _REQUIRED:
                raise missing(name, argument)
            return default
        return check_value(name, self._as_number(name, value))

    def count(self, name: str, default: Any = _REQUIRED, argument: str | None = None) -> Any:
        """Return a setting as a whole number >= 0."""
        value = self.number(name, default, argument)
        if value is default:
            return value
        return check_whole_number(name, value)

    def positive_count(self, name: str, default: Any = _REQUIRED) -> int:
        """Return a setting as a whole number >= 1."""
        return check_positive_count(name, self.number(name, default))

    def signed(self, name: str, default: float) -> float:
        """Return a setting as a number, which may be negative, such as `max_steps: -1`."""
        value = self._get_number(name)
        number = default if value is None else self._as_number(name, value)
        if not math.isfinite(number):
            raise ValueError(f"{name} must be a finite number, got {number!r}")
        return number

    def _get_number(self, name: str) -> Any:
        """Return a setting that should be a number. `names` replaces a word, such as "auto"."""
        value = self.get(name)
        texts, pattern = (value, NUMBER) if isinstance(value, list | tuple) else ([value], _NUMBERS)
        has_word = any(isinstance(text, str) and not pattern.fullmatch(text) for text in texts)
        return self._names.get(name, value) if has_word else value

    def _as_number(self, name: str, value: Any) -> Any:
        # YAML 1.1 reads 1e-4 as a text, because it has no dot.
        if isinstance(value, str) and len(value) < 50 and NUMBER.fullmatch(value.strip().replace("_", "")):
            return float(value)
        if isinstance(value, str | bool) or not isinstance(value, int | float):
            hint = f": give names={{{name!r}: ...}}" if isinstance(value, str) else ""
            raise ValueError(f"{name} must be a number, got {shown_value(value)}{hint}")
        if isinstance(value, int) and abs(value) > 2**61:
            raise ValueError(f"{name} must be at most 2**61, got a larger number")
        return value

    def text(self, name: str, default: Any = _REQUIRED) -> Any:
        """Return a setting as a text. A class or a member of an enum in a Python config is its name."""
        value = self.settings.get(name)
        if isinstance(value, Unreadable) and (match := _CLASS.fullmatch(value.source)):
            return match[1]
        value = self.get(name)
        if value is None:
            if default is _REQUIRED:
                raise missing(name)
            return default
        if not isinstance(value, str):
            raise ValueError(f"{name} must be a text, got {shown_value(value)}")
        return value

    def text_or_default(self, name: str, default: str, program: str) -> str:
        """Return a setting as a text, or the default of a program, which is then an assumption."""
        text = self.text(name, None)
        if text is None:
            self.assume(f"{name} is {default!r}, the default of {program}.")
        return default if text is None else text

    def choice(self, name: str, choices: Collection[str], default: Any = _REQUIRED) -> str:
        """Return a setting that is one of several texts."""
        return check_choice(name, self.text(name, default), choices)

    def flag(self, name: str, default: bool = False) -> bool:
        """Return a setting as True or False."""
        value = self.get(name)
        if value is None:
            return default
        word = str(value).lower()
        if word not in (*_TRUE, *_FALSE):
            raise ValueError(f"{name} must be true or false, got {shown_value(value)}")
        return word in _TRUE

    def clip(self, name: str, default: float | None = None) -> Clip | None:
        """Return the clipping to a norm of all gradients. A norm of 0 or less switches it off."""
        norm = self.signed(name, default or 0.0)
        return Clip(norm) if norm > 0 else None

    def options(self, *without: str) -> dict[str, Any]:
        """Return the settings of a mapping with the options of a torch optimizer."""
        names = [name for name in self.settings if name not in without and self.get(name) is not None]
        return {name: self._plain(name, self.get(name)) for name in names}

    def _plain(self, name: str, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return tuple(self._plain(name, item) for item in value)
        is_number = isinstance(value, str) and len(value) < 50 and NUMBER.fullmatch(value)
        return self._as_number(name, value) if is_number else value

    def numbers(self, name: str, default: Any = None) -> Any:
        """Return a setting as a list of numbers: a list, a single number, or a text such as "30 60"."""
        value = self._get_number(name)
        if value is None:
            return default
        if isinstance(value, str):
            value = re.split(r"[\s,]+", value.strip("()[] "))
        items = value if isinstance(value, list | tuple) else [value]
        return [check_value(name, self._as_number(name, item)) for item in items]

    def counts(self, name: str, default: Any = ()) -> list[int]:
        """Return a setting as a list of whole numbers >= 1."""
        return [check_positive_count(f"each of {name}", number) for number in self.numbers(name, default)]

    def base_rate(self, name: str) -> ArrayLike:
        """Return `init_value` if it was given, else the learning rate in the config."""
        if self.init_value is not None:
            check_value("init_value", self.init_value)
            if self.has(name):
                self.assume(f"init_value replaces the {name} of the config.")
            return self.init_value
        return self.number(name, argument="init_value")

    def steps_in_epoch(self) -> int:
        """Return `steps_per_epoch`, or raise the error that asks for it."""
        if self.steps_per_epoch is None:
            raise ValueError(
                "the config does not say how many batches an epoch has: give steps_per_epoch, "
                "the length of the train dataloader of one process"
            )
        return self.steps_per_epoch

    def accumulation(self, name: str = "gradient_accumulation_steps") -> int:
        """Return the batches whose gradients are accumulated for an update."""
        return max(1, self.count(name, 1))

    def num_processes_for(self, reason: str, or_rate: bool = False) -> int:
        """Return `num_processes`, or raise an error with the reason that it is needed.

        Args:
            reason: the reason.
            or_rate: True if `init_value` would do too.
        """
        if self.num_processes is None:
            raise ValueError(f"{reason}: give num_processes{', or init_value' if or_rate else ''}")
        return self.num_processes

    def num_epochs(self, *names: str) -> float:
        """Return the argument `epochs` if it was given, else the first of these settings."""
        if self.epochs is not None:
            return self.epochs  # pyright: ignore[reportReturnType]
        name = self.first(*names)
        epochs = self.number(name, argument="epochs")
        if epochs > 2**31:
            raise ValueError(f"{name} must be at most 2**31, got {epochs:g}")
        return epochs

    def whole_epochs(self, *names: str) -> int:
        """Return the number of epochs, which must be whole."""
        return check_positive_count("epochs", self.num_epochs(*names))

    def stated_epochs(self, name: str) -> int | None:
        """Return the number of epochs. None if neither the config nor the argument `epochs` has it."""
        return self.whole_epochs(name) if self.epochs is not None or self.has(name) else None

    def refuse(self, *names: str, reason: str, error: type[ValueError] = ValueError) -> None:
        """Refuse a config in which one of these settings is on."""
        for name in names:
            value = self.get(name)
            if value not in (None, False, 0, "", [], ()):
                raise error(f"{name}={shown_value(value)} is not supported: {reason}")

    def recipe(self, framework: str, schedule: Any, unit: Unit, num_counts: int | None) -> Recipe:
        """Return the recipe with the assumptions so far."""
        if self.group != 0 and "groups" not in self._extras:
            raise ValueError(f"group must be 0: this config has one parameter group, got {self.group}")
        assumptions = tuple(self.assumptions)
        return Recipe(schedule, unit, num_counts, framework, self.version_text, assumptions, **self._extras)


class Unreadable(NamedTuple):
    """The value of a setting that is an expression without a value. It is an error where it is used."""

    source: str

    def source_value(self, names: Mapping[str, Any]) -> Any:
        """Return the value of the expression where `names` gives one, or None."""
        try:
            found = Evaluator(names).value_if_any(parse_expression(self.source))
        except (SyntaxError, ValueError):
            return None
        return None if isinstance(found, Unevaluated) else found


def missing(name: str, argument: str | None = None) -> ValueError:
    """Return the error about a setting that the config lacks, which `argument` or `names` may give."""
    return ValueError(f"the config has no {name}: give {argument or f'names={{{name!r}: ...}}'}")


def torch_class(path: str) -> str:
    """Return the name of a class of torch.optim, and the path of any other class as it is."""
    module, _, name = path.rpartition(".")
    return name if f"{module}.".startswith("torch.optim.") else path


def section(settings: Mapping[str, Any], *path: str) -> Mapping[str, Any]:
    """Return the mapping under some keys. It is empty where there is none."""
    found: Any = settings
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _is_key(settings: Any, key: str) -> bool:
    """Check if settings have a key, such as "lr", or "optim.lr" of the section `optim`."""
    section, dot, inner = key.partition(".")
    if not isinstance(settings, Mapping) or section not in settings:
        return False
    return not dot or _is_key(settings[section], inner)


def _is_reference(value: str) -> bool:
    """Check if a text stands for a value: `${lr}` of OmegaConf, `$LR` of a shell, `{{ lr }}`."""
    return value.startswith(("$", "{{"))


def _optional_count(name: str, value: Any) -> int | None:
    return None if value is None else check_positive_count(name, value)


def parsed_version(text: Any) -> tuple[int, ...] | None:
    """Return the numbers of a version such as "4.46.3"."""
    if text is None:
        return None
    match = re.match(r"v?(\d+(?:\.\d+)*)", text) if isinstance(text, str) and len(text) < 50 else None
    if match is None:
        raise ValueError(f"version must be a text such as '4.46.3', got {shown_value(text)}")
    return tuple(map(int, match[1].split(".")))
