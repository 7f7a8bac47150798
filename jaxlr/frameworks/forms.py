"""The form of a recipe: the code of a torch scheduler, or the config of a framework."""

import ast
import re
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxlr.code.paste import dedented, unwrapped
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.foreign import CALLS
from jaxlr.frameworks.config import is_recognized
from jaxlr.frameworks.files import LONGEST_CONFIG, read_config, read_text_config


# Files with these names are never torch code. All other files and texts may be.
_CONFIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".md", ".markdown")
SUFFIXES = (*_CONFIG_SUFFIXES, ".py", ".sh", ".txt", ".args")
_CALL = re.compile(rf"\b({'|'.join([*CLASSES, *CALLS])})\s*\(")
_CLASS = re.compile(rf"\b({'|'.join(CLASSES)})\b")
_CONFIG_LINE = re.compile(
    r"\A\s*\{|(^|\s)--[A-Za-z]|^(?!(else|try|finally):)[\w.\"'-]+:(\s|$)", re.MULTILINE
)

Settings = Mapping[str, Any]


def read_file(path: Path, framework: str | None = None) -> tuple[str, Settings | None]:
    """Return the text of a file, and its settings if it is a config. See `settings_of`.

    Raises:
        ValueError: the file is no text, or a config that cannot be read.
    """
    suffix = path.suffix.lower()
    with path.open(encoding="utf-8-sig") as file:  # a pipe can be read only once
        try:
            text = file.read(LONGEST_CONFIG + 1)
        except UnicodeDecodeError:
            raise ValueError(f"{path.name} is not a text in UTF-8") from None
    read = (lambda: read_config(path)) if suffix in SUFFIXES else None
    return text, settings_of(text, framework, read, can_be_code=suffix not in _CONFIG_SUFFIXES)


def settings_of(
    text: str,
    framework: str | None = None,
    read: Callable[[], Settings] | None = None,
    can_be_code: bool = True,
) -> Settings | None:
    """Return the settings of a config, or None if the text is torch's.

    A text is torch's if it calls a scheduler that `from_string` knows, or ends in a function. Otherwise it
    is a config, if a framework recognizes it. A config of no framework that names a class of torch is
    torch's too, such as `{"name": "StepLR", "step_size": 3}`.

    Args:
        text: the text.
        framework: the framework of the config, which makes any text a config.
        read: reads the settings, if the text alone does not show its format.
        can_be_code: False for a text that is no code.
    """
    read = read or (lambda: read_text_config(text))
    if framework is not None:
        return read()
    statements = _statements(text) if can_be_code else []
    if can_be_code and _is_torch_code(text, statements):
        return None
    # The flags in a program are those that it takes, not its settings.
    is_program = any(isinstance(each, ast.Import | ast.ImportFrom | ast.FunctionDef) for each in statements)
    looks_like_config = not can_be_code or (not is_program and _CONFIG_LINE.search(text) is not None)
    try:
        settings = read()
    except (ValueError, ModuleNotFoundError):
        if looks_like_config and not _CLASS.search(text):
            raise
        return None
    if is_recognized(settings):
        return settings
    return settings if looks_like_config and not _CLASS.search(text) else None


def _is_torch_code(text: str, statements: list[ast.stmt]) -> bool:
    """Check if a text calls a scheduler, or ends in a function of the step."""
    if _CALL.search(re.sub(r"#.*", "", text)):
        return True
    return bool(statements) and isinstance(statements[-1], ast.FunctionDef)


def _statements(text: str) -> list[ast.stmt]:
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            return ast.parse(dedented(unwrapped(text))).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
