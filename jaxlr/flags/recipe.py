"""The recipe in a flag: the text of a torch scheduler, or the config of a framework."""

import ast
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlr._checks import shorten
from jaxlr.convert.errors import ConflictingRateError, MissingNamesError, MissingNumStepsError
from jaxlr.flags.errors import RecipeError, in_flags, shell_quoted
from jaxlr.frameworks.files import LONGEST_CONFIG
from jaxlr.frameworks.forms import Settings, read_file, settings_of


_NO_PATH = re.compile(r"[={}()\[\]]|:\s|(^|\s)--\w")
_PATH = re.compile(r"[/\\]|\.[a-z]\w{0,7}$")


class Source(NamedTuple):
    """A recipe that was read, but not converted yet."""

    label: str  # a short name for messages and legends
    text: str  # of a torch scheduler; empty for a config
    settings: Settings | None  # of a config; None for a torch scheduler


def read_recipe(recipe: str, framework: str | None = None) -> Source:
    """Read the RECIPE of a command.

    - `-` is the text on standard input.
    - The path of a file is the text in it. A path that does not exist is an error.
    - Anything else is itself a text: of a torch scheduler, of a config, or flags of a training script.

    Args:
        recipe: the argument of the command.
        framework: the framework of the config, which makes any text a config.

    Raises:
        RecipeError: there is no such file, or it cannot be read.
        ModuleNotFoundError: the config is YAML, and PyYAML is not installed.
    """
    try:
        text = sys.stdin.read(LONGEST_CONFIG + 1) if recipe == "-" else recipe
        if not text.strip():
            raise RecipeError("standard input is empty" if recipe == "-" else "the recipe is empty")
        if recipe == "-":
            return _source(shorten(text), text, settings_of(text, framework))
        path = _path_of(recipe)
        if path is None:
            return _source(shorten(recipe), recipe, settings_of(recipe, framework))
        text, settings = read_file(path, framework)
        if settings is None and not text.strip():
            raise RecipeError(f"{path.name} is empty")
        return _source(path.name, text, settings)
    except OSError as error:
        raise RecipeError(f"cannot read {shorten(recipe)!r}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise RecipeError(in_flags(str(error))) from error


def message_of(error: Exception) -> str:
    """Return the message of an error in a recipe, with advice in flags instead of Python's arguments."""
    match error:
        case MissingNamesError():
            values = MissingNamesError([name for name in error.names if name not in error.functions])
            pairs = values.listed(lambda name: shell_quoted(f"{name}=..."), separator=" ")
            advice = [f"give --names {pairs}"] if pairs else []
            if error.functions:  # a flag cannot hold a function
                advice.append(f"write 'def {shorten(error.functions[0])}(...): ...' before the scheduler")
            return f"{error.reason}: {', and '.join(advice)}"
        case ConflictingRateError():
            return (
                f"--lr is {error.given}, but the scheduler's text sets lr={error.written!r}: give "
                f"--lr {error.written!r}, or change the text"
            )
        case MissingNumStepsError():
            return f"{error.reason}: give --epochs, the number of epochs (or steps) to tabulate"
    return in_flags(str(error))


def parse_names(pairs: Sequence[str]) -> dict[str, Any]:
    """Return the values of pairs NAME=VALUE by their names."""
    values: dict[str, Any] = {}
    for name, value in map(_parse_pair, pairs):
        if values.setdefault(name, value) != value:
            raise ValueError(f"names must have one value for each name, got two for {name!r}")
    return values


def _path_of(recipe: str) -> Path | None:
    """Return the path of an existing file, or None for a text."""
    # To look up a long text would raise an OSError.
    is_long = len(recipe) > 1000 or max(map(len, recipe.split("/"))) > 255
    if "\n" in recipe or "\0" in recipe or is_long:
        return None
    path = Path(recipe)
    if path.is_dir():
        raise RecipeError(f"{shorten(recipe)!r} is a folder: give the config file in it")
    if path.exists():
        return path
    if _PATH.search(recipe) and not _NO_PATH.search(recipe):
        raise RecipeError(
            f"there is no file {shorten(recipe)!r}: give the path of a config, or a torch scheduler such as"
            ' "StepLR(30)"'
        )
    return None


def _source(label: str, text: str, settings: Settings | None) -> Source:
    return Source(label, text if settings is None else "", settings)


def _parse_pair(pair: str) -> tuple[str, Any]:
    """Split NAME=VALUE. Both may contain an = themselves."""
    for equals in re.finditer("=", pair):
        name, text = pair[: equals.start()].strip(), pair[equals.end() :].strip()
        try:
            ast.parse(name, mode="eval")
            return name, ast.literal_eval(text)
        except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
            continue  # try the next =
    raise ValueError(
        "names must be NAME=VALUE with a number, a string in quotes or a list (and come after RECIPE), "
        f"got {shorten(pair)!r}"
    )
