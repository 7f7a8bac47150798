"""A recipe whose numbers can be replaced, to find those that a log determines."""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from jaxlr._checks import shown_value
from jaxlr.convert import from_string
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.text import steps_per_batch
from jaxlr.frameworks.config import from_config
from jaxlr.frameworks.files import read_config
from jaxlr.frameworks.forms import SUFFIXES, read_file, settings_of
from jaxlr.frameworks.recipe import Recipe


_ARGUMENTS = ("init_value", "framework", "version", "steps_per_epoch", "epochs", "num_processes", "names")
_DEFAULTS = {**dict.fromkeys(_ARGUMENTS), "group": 0}
_MOST_NUMBERS = 12
_COUNT = re.compile(r"warm|step|epoch|cycle|iter|max_num|^(end|t_max|t_0|milestones)$", re.IGNORECASE)
# The last version before each change of a rule that the readers know.
VERSIONS: dict[str, tuple[str, ...]] = {
    "huggingface": ("4.51", "4.48"),
    "ultralytics": ("8.3", "8.1.41", "6.1", "6.0"),  # 6 is of YOLOv5
    "detectron2": ("0.3",),
}


class Reading(NamedTuple):
    """A schedule that a recipe describes, with the numbers that were put into the recipe.

    Args:
        schedule: the schedule.
        unit: the unit of its count, or None if the recipe does not tell.
        num_counts: the number of counts in the run, or None.
        assumptions: the assumptions of the recipe.
    """

    schedule: Callable[[Any], Any]
    unit: str | None
    num_counts: int | None = None
    assumptions: tuple[str, ...] = ()
    framework: str | None = None


class Number(NamedTuple):
    """A whole number in a recipe.

    Args:
        name: the setting or argument, or else the number itself.
        value: the number, or -1 if the recipe leaves it out.
        changes: a function of another value, which returns arguments of `Source.read`.
    """

    name: str
    value: int
    changes: Callable[[int], dict[str, Any]]


class Source:
    """A recipe in any form: a schedule, a `Recipe`, the text of a torch scheduler, or a config.

    Args:
        recipe: the recipe.
        arguments: the arguments of `from_config` and `from_string`, by name.
    """

    def __init__(self, recipe: Any, **arguments: Any):
        self.arguments: dict[str, Any] = {**_DEFAULTS, **arguments}
        self.fixed: Reading | None = None
        self.text: str = ""
        self.settings: Mapping[str, Any] | None = None
        framework = self.arguments["framework"]
        if isinstance(recipe, Mapping | list):
            self.settings = read_config(recipe)
        elif isinstance(recipe, PathLike) or (isinstance(recipe, str) and _is_file_name(recipe)):
            self.text, self.settings = read_file(Path(recipe), framework)
        elif isinstance(recipe, str):
            self.text, self.settings = recipe, settings_of(recipe, framework)
        else:
            self.fixed = _read(recipe) if isinstance(recipe, Recipe) else _checked(Reading(recipe, None))

    def read(
        self, settings: Mapping[str, Any] | None = None, text: str | None = None, **changes: Any
    ) -> Reading:
        """Read the recipe with other settings, another text or other arguments."""
        if self.fixed is not None:
            return self.fixed
        arguments = {**self.arguments, **{key: value for key, value in changes.items() if key != "names"}}
        arguments["names"] = {**(self.arguments["names"] or {}), **changes.get("names", {})}
        if self.settings is not None:
            return _read(from_config({**self.settings, **(settings or {})}, **arguments))
        text = self.text if text is None else text
        names, group, version = arguments["names"] or None, arguments["group"], arguments["version"]
        schedule = from_string(text, arguments["init_value"], names, group, version=version)
        return _checked(Reading(schedule, "update" if steps_per_batch(text) else None))

    def missing(self) -> list[str]:
        """Return the numbers that the recipe lacks: "init_value", "steps_per_epoch", or a name in it.

        Raises:
            ValueError: more is missing than a log can determine, or the recipe cannot be read.
        """
        try:
            self.read()
            return []
        except MissingNamesError as error:
            if len(error.names) > 1 or error.functions:
                raise
            last, names = error, [*error.names]
        except ValueError as error:
            last, names = error, []
        # The missing arguments are found by trying values for them.
        probes: dict[str, Any] = {"init_value": 1.0}
        if self.settings is not None:
            probes["steps_per_epoch"] = 10
        given = [key for key in probes if self.arguments[key] is None]
        for lacking in ([], *([key] for key in given), given):
            changes = {key: probes[key] for key in lacking}
            try:
                self.read(**changes, names=dict.fromkeys(names, 10))
                return [*lacking, *names]
            except (ValueError, TypeError, ArithmeticError) as error:
                last = error
        raise last

    def numbers(self) -> Iterator[Number]:
        """Yield the whole numbers in the recipe."""
        if self.settings is not None:
            yield from _numbers_of_settings(self.settings)
        else:
            yield from _numbers_of_text(self.text)


def _numbers_of_settings(settings: Mapping[str, Any]) -> Iterator[Number]:
    def change(key: str) -> Callable[[int], dict[str, Any]]:
        return lambda other: {"settings": {key: other}}

    if "learning_rate" in settings and not any("warmup" in key for key in settings):
        yield Number("warmup_steps", -1, change("warmup_steps"))
    for path, value in itertools.islice(_whole_numbers(settings), _MOST_NUMBERS):

        def replace(other: int, path: tuple[Any, ...] = path) -> dict[str, Any]:
            return {"settings": {path[0]: _replaced(settings[path[0]], path[1:], other)}}

        yield Number(".".join(map(str, path)), value, replace)
    for key in settings:
        if key.endswith("warmup_ratio"):  # it gives way to warmup_steps
            steps = key.replace("ratio", "steps")
            yield Number(steps, -1, change(steps))


def _numbers_of_text(text: str) -> Iterator[Number]:
    literals = dict.fromkeys(re.findall(r"(?<![\w.])(\d[\d_]*)(?![\w.]|\s*\.)", text))
    for literal in itertools.islice(literals, _MOST_NUMBERS):
        one = rf"(?<![\w.]){literal}(?![\w.]|\s*\.)"

        def replace(other: int, one: str = one) -> dict[str, Any]:
            return {"text": re.sub(one, str(other), text)}

        before = re.search(rf"(\w+)\s*=\s*\[?\s*{one}", text)
        yield Number(before[1] if before else literal, int(literal), replace)


def _whole_numbers(settings: Any, before: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Yield the whole numbers of steps and epochs in nested settings, each with the path of its key."""
    for key, value in settings.items() if isinstance(settings, Mapping) else enumerate(settings):
        path = (*before, key)
        if isinstance(value, Mapping | list | tuple) and len(path) < 6:
            yield from _whole_numbers(value, path)
        name = next(each for each in reversed(path) if isinstance(each, str))
        if not _COUNT.search(name) or isinstance(value, bool):
            continue
        if isinstance(value, str) and re.fullmatch(r"\d{1,15}", value):
            value = int(value)
        if isinstance(value, int | float) and 0 <= value < 2**53 and value == int(value):
            yield path, int(value)


def _replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return nested settings with another value at a path."""
    if not path:
        return value
    first, *rest = path
    inner = _replaced(node[first], tuple(rest), value)
    if isinstance(node, Mapping):
        return {**node, first: inner}
    return [inner if index == first else each for index, each in enumerate(node)]


def _is_file_name(text: str) -> bool:
    return "\n" not in text and len(text) < 1000 and Path(text).suffix.lower() in SUFFIXES


def _read(recipe: Recipe) -> Reading:
    schedule: Any = recipe.schedule
    return _checked(Reading(schedule, recipe.unit, recipe.num_counts, recipe.assumptions, recipe.framework))


def _checked(reading: Reading) -> Reading:
    if not callable(reading.schedule):
        if hasattr(reading.schedule, "update"):
            raise ValueError(
                "a plateau has no fixed curve to compare with a log: its learning rate depends on the "
                "metrics of the run"
            )
        raise TypeError(
            f"recipe must be a schedule, a text, a config or a file, got {shown_value(reading.schedule)}"
        )
    return reading
