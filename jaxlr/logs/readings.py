"""A recipe whose numbers can be replaced, to find those that a log determines."""

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


_MOST_NUMBERS = 12
_COUNT = re.compile(r"warm|step|epoch|cycle|iter|max_num|^(end|t_max|t_0|milestones)$", re.IGNORECASE)
# The last version before each change of a rule that the readers know.
VERSIONS = {"huggingface": ("4.51", "4.48"), "ultralytics": ("8.3", "8.1.41")}


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


class Source:
    """A recipe in any form: a schedule, a `Recipe`, the text of a torch scheduler, or a config.

    Args:
        recipe: the recipe.
        arguments: the arguments of `from_config` and `from_string`, by name.
    """

    def __init__(self, recipe: Any, arguments: Mapping[str, Any]):
        self.arguments: dict[str, Any] = dict(arguments)
        self.fixed: Reading | None = None
        self.text: str | None = None
        self.settings: Mapping[str, Any] | None = None
        if isinstance(recipe, Recipe):
            self.fixed = _read(recipe)
        elif isinstance(recipe, Mapping | list):
            self.settings = read_config(recipe)
        elif isinstance(recipe, PathLike):
            self.text, self.settings = read_file(Path(recipe), self.arguments.get("framework"))
        elif isinstance(recipe, str):
            self._read_text(recipe)
        else:
            self.fixed = _checked(Reading(recipe, None))

    def _read_text(self, text: str) -> None:
        framework = self.arguments.get("framework")
        if "\n" not in text and len(text) < 1000 and Path(text).suffix.lower() in SUFFIXES:
            self.text, self.settings = read_file(Path(text), framework)
        else:
            self.text, self.settings = text, settings_of(text, framework)

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
        recipe_text = self.text if text is None else text
        assert recipe_text is not None
        schedule = from_string(
            recipe_text,
            arguments["init_value"],
            arguments["names"] or None,
            arguments["group"],
            version=arguments["version"],
        )
        return _checked(Reading(schedule, "update" if steps_per_batch(recipe_text) else None))

    def missing(self) -> list[str]:
        """Return the numbers that the recipe lacks: "init_value", "steps_per_epoch", or a name in it.

        Raises:
            ValueError: more is missing than a log can determine, or the recipe cannot be read.
        """
        try:
            self.read()
        except ValueError as error:
            return self._probed(error)
        return []

    def _probed(self, error: ValueError) -> list[str]:
        """Return the missing arguments. They are found by trying values for them."""
        names = [*error.names] if isinstance(error, MissingNamesError) else []
        if len(names) > 1 or (isinstance(error, MissingNamesError) and error.functions):
            raise error
        probes: dict[str, Any] = {"init_value": 1.0}
        if self.settings is not None:
            probes["steps_per_epoch"] = 10
        last: Exception = error
        given = [key for key in probes if self.arguments.get(key) is None]
        for lacking in _subsets(given):
            changes = {key: probes[key] for key in lacking}
            try:
                self.read(**changes, names=dict.fromkeys(names, 10))
            except (ValueError, TypeError, ArithmeticError) as later:
                last = later
                continue
            return [*lacking, *names]
        raise last

    def numbers(self) -> Iterator[tuple[str, int, Callable[[int], dict[str, Any]]]]:
        """Yield the whole numbers in the recipe: the name, the value, and the changes for another value."""
        if self.settings is not None:
            yield from self._numbers_of_settings(self.settings)
        elif self.text is not None:
            yield from self._numbers_of_text(self.text)

    def _numbers_of_settings(
        self, settings: Mapping[str, Any]
    ) -> Iterator[tuple[str, int, Callable[[int], dict[str, Any]]]]:
        if "learning_rate" in settings and not any("warmup" in key for key in settings):
            yield "warmup_steps", -1, lambda other: {"settings": {"warmup_steps": other}}
        for path, value in list(_whole_numbers(settings))[:_MOST_NUMBERS]:
            yield (
                ".".join(map(str, path)),
                value,
                lambda other, path=path: {"settings": _with(settings, path, other)},
            )
        for key in settings:
            if key.endswith("warmup_ratio"):  # it gives way to warmup_steps
                steps = key.replace("ratio", "steps")
                yield steps, -1, lambda other, steps=steps: {"settings": {steps: other}}

    def _numbers_of_text(self, text: str) -> Iterator[tuple[str, int, Callable[[int], dict[str, Any]]]]:
        pattern = r"(?<![\w.])(\d[\d_]*)(?![\w.]|\s*\.)"
        for literal in list(dict.fromkeys(re.findall(pattern, text)))[:_MOST_NUMBERS]:
            one = rf"(?<![\w.]){literal}(?![\w.]|\s*\.)"

            def changes(other: int, one: str = one) -> dict[str, Any]:
                return {"text": re.sub(one, str(other), text)}

            before = re.search(rf"(\w+)\s*=\s*\[?\s*{one}", text)
            yield (before[1] if before else literal), int(literal), changes


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


def _with(settings: Any, path: tuple[Any, ...], value: Any) -> Any:
    """Return the first key of a path, and its setting with another value at the path."""
    return {path[0]: _replaced(settings[path[0]], path[1:], value)}


def _replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    first, *rest = path
    inner = _replaced(node[first], tuple(rest), value)
    if isinstance(node, Mapping):
        return {**node, first: inner}
    return [inner if index == first else each for index, each in enumerate(node)]


def _subsets(names: list[str]) -> Iterator[list[str]]:
    yield []
    for name in names:
        yield [name]
    if len(names) > 1:
        yield names


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
