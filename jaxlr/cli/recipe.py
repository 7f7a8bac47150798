"""The RECIPE of a command: the text of a torch scheduler, or the config of a framework."""

import ast
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jaxlr._checks import shorten
from jaxlr.cli.errors import RecipeError, in_flags
from jaxlr.code.paste import dedented, unwrapped
from jaxlr.convert.classes import CLASSES
from jaxlr.frameworks import CALLS
from jaxlr.frameworks.config import is_recognized
from jaxlr.frameworks.files import LONGEST_CONFIG, read_config, read_text_config


# Files with these names are never torch code. All other files and texts may be.
_CONFIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".md", ".markdown")
_SUFFIXES = (*_CONFIG_SUFFIXES, ".py", ".sh", ".txt", ".args")
_CALL = re.compile(rf"\b({'|'.join([*CLASSES, *CALLS])})\s*\(")
_CLASS = re.compile(rf"\b({'|'.join(CLASSES)})\b")
_NO_PATH = re.compile(r"[={}()\[\]]|:\s|(^|\s)--\w")
_PATH = re.compile(r"[/\\]|\.[a-z]\w{0,7}$")
_CONFIG_LINE = re.compile(
    r"\A\s*\{|(^|\s)--[A-Za-z]|^(?!(else|try|finally):)[\w.\"'-]+:(\s|$)", re.MULTILINE
)

_QUOTED_FLAGS = re.compile(r"--[\w.-]+(\s+\S|=\S+\s+--\w)")  # flags of a script, in one word

Settings = Mapping[str, Any]


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

    A text is torch's if it calls a scheduler that `from_string` knows, or ends in a function. Otherwise it
    is a config, if a framework recognizes it. A config of no framework that names a class of torch is
    torch's too, such as `{"name": "StepLR", "step_size": 3}`.

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
            return _of_text(text, framework)
        path = _path_of(recipe)
        return _of_text(recipe, framework) if path is None else _of_file(path, framework)
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
    if "\n" in recipe or "\0" in recipe or len(recipe) > 1000:
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


def _of_file(path: Path, framework: str | None) -> Source:
    suffix = path.suffix.lower()
    with path.open(encoding="utf-8-sig") as file:  # a pipe can be read only once
        try:
            text = file.read(LONGEST_CONFIG + 1)
        except UnicodeDecodeError:
            raise RecipeError(f"{path.name} is not a text in UTF-8") from None
    read = (lambda: read_config(path)) if suffix in _SUFFIXES else (lambda: read_text_config(text))
    settings = _settings(text, framework, read, can_be_code=suffix not in _CONFIG_SUFFIXES)
    return Source(path.name, text if settings is None else "", settings)


def _of_text(text: str, framework: str | None) -> Source:
    settings = _settings(text, framework, lambda: read_text_config(text))
    return Source(shorten(text), text if settings is None else "", settings)


def _settings(
    text: str, framework: str | None, read: Callable[[], Settings], can_be_code: bool = True
) -> Settings | None:
    """Return the settings of a config, or None if the text is torch's."""
    if framework is not None:
        return read()
    if can_be_code and _is_torch_code(text):
        return None
    looks_like_config = not can_be_code or _CONFIG_LINE.search(text) is not None
    try:
        settings = read()
    except (ValueError, ModuleNotFoundError):
        if looks_like_config and not _CLASS.search(text):
            raise
        return None
    if is_recognized(settings):
        return settings
    return settings if looks_like_config and not _CLASS.search(text) else None


def _is_torch_code(text: str) -> bool:
    """Check if a text calls a scheduler, or ends in a function of the step."""
    if _CALL.search(re.sub(r"#.*", "", text)):
        return True
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            statements = ast.parse(dedented(unwrapped(text))).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return bool(statements) and isinstance(statements[-1], ast.FunctionDef)
