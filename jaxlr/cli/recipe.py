"""The RECIPE of a command: the text of a torch scheduler, or the config of a framework."""

import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from jaxlr._checks import shorten
from jaxlr.cli.errors import RecipeError, in_flags
from jaxlr.frameworks.files import LONGEST_CONFIG
from jaxlr.frameworks.forms import Settings, read_file, settings_of


_NO_PATH = re.compile(r"[={}()\[\]]|:\s|(^|\s)--\w")
_PATH = re.compile(r"[/\\]|\.[a-z]\w{0,7}$")
_QUOTED_FLAGS = re.compile(r"--[\w.-]+(\s+\S|=\S+\s+--\w)")  # flags of a script, in one word


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
        return _source(path.name, *read_file(path, framework))
    except OSError as error:
        raise RecipeError(f"cannot read {shorten(recipe)!r}: {error.strerror or error}") from error
    except (TypeError, ValueError) as error:
        raise RecipeError(in_flags(str(error))) from error


def with_flags_as_text(command: str, words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the flags of a training script as one RECIPE.

    `jaxlr port -- --sched cosine --lr 0.1` becomes `jaxlr port " --sched cosine --lr 0.1"`. The options of
    detectron2 after a file become those of a command: `--config-file a.yaml SOLVER.BASE_LR 0.1`.
    """
    # A leading space hides the first flag from the parser of our own.
    words = [f" {word}" if _QUOTED_FLAGS.match(word) else word for word in words]
    if "--" not in words:
        return words
    own, flags = words[: words.index("--")], words[words.index("--") + 1 :]
    num_recipes = next((n for n, word in enumerate(own) if word.startswith("-") and word != "-"), len(own))
    if num_recipes == 1 and flags and flags[0].startswith("SOLVER."):  # detectron2's, which change a file
        own, flags, num_recipes = own[1:], ["--config-file", own[0], *flags], 0
    if not any(re.match(r"--\w|\w[\w.]*=[^=]", word) for word in flags):
        return words  # recipes in quotes, as some people write them after --
    text = f" {shlex.join(flags)}"
    if command == "train":
        if any(re.match(r"--recipe(=|$)", word) for word in own):
            raise ValueError("recipe needs one value: give a file, or flags after --, but not both")
        return [*own, "--recipe", text]
    if num_recipes == 0:
        return [*own, "--", text]
    return [*own[:num_recipes], text, *own[num_recipes:]]


def _path_of(recipe: str) -> Path | None:
    """Return the path of an existing file, or None for a text."""
    is_long = (
        len(recipe) > 1000 or max(map(len, recipe.split("/"))) > 255
    )  # an OSError if it were looked up
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
