"""Errors about a recipe, in the words of flags instead of Python's arguments."""

import ast
import re
import shlex
from collections.abc import Collection, Mapping


# The arguments of from_config, from_string and verify, and the flags that pass them.
_FLAGS = {
    "init_value": "--lr",
    "steps_per_epoch": "--steps-per-epoch",
    "epochs": "--epochs",
    "num_processes": "--num-processes",
    "version": "--framework-version",
    "framework": "--framework",
    "group": "--group",
    "names": "--names",
    "num_steps": "--epochs",
    "step_column": "--step-column",
    "rate_column": "--rate-column",
}
_TEXT = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_NAMES = re.compile(rf"names=\{{({_TEXT}): (.*)\}}")
# The error of a OneCycleLR without its length is about arguments in the text.
_ADVICE = re.compile(r"\bgive (?!the number of steps once)[^:;]*")
# At the start of a message these are never settings of a config.
_SUBJECT = re.compile(r"^(init_value|version|framework)\b(?= (must|replaces))")


class RecipeError(ValueError):
    """An error in a recipe. Its message is one line for the user."""


def flag_of(name: str) -> str:
    """Return the flag that sets a field of the settings."""
    return f"--{name.replace('_', '-')}"


def with_flags(message: str, names: Collection[str]) -> str:
    """Return a message about fields of the settings with their flags: `lr must be` as `--lr must be`."""
    if message.startswith("recipe: "):  # the rest speaks of the settings of a config
        return f"--{message}"
    about, got, value = message.partition(", got ")
    name, long_name = "|".join(names), "|".join(name for name in names if "_" in name)
    is_subject = rf"(?:(?<=^)|(?<=^each of )|(?<= needs ))({name})\b(?=,|:| (must|needs|holds|times)\b)"
    is_word = rf"(?<![\w/.'\"-])({long_name})(?![\w/.'\"=-])"
    return re.sub(f"{is_subject}|{is_word}", lambda match: flag_of(match[0]), about) + got + value


def in_flags(message: str, **others: str) -> str:
    """Return an error of `from_config` or `from_string` with flags in the place of their arguments.

    Only advice is changed, which begins with "give". The rest may speak of the settings of a config, which
    can have the same names.

    Args:
        message: the error.
        others: the flags of arguments that a command passes in another way.
    """
    message = message.replace("give from_string ", "give ").replace(" to jaxlr.from_string", "")
    message = _SUBJECT.sub(lambda match: _FLAGS[match[1]], message)
    message = _NAMES.sub(_names_flag, message)
    return _ADVICE.sub(lambda match: _advice_in_flags(match[0], {**_FLAGS, **others}), message)


def _advice_in_flags(advice: str, flags: Mapping[str, str]) -> str:
    advice = re.sub(r"\bframework=", "--framework, one of ", advice)
    advice = re.sub(r"\bversion='([^']*)'", r"--framework-version \1", advice)
    return re.sub(rf"(?<![-'\w=])({'|'.join(_FLAGS)})(?![\w'=])", lambda match: flags[match[1]], advice)


def _names_flag(match: re.Match[str]) -> str:
    return f"--names {shell_quoted(f'{ast.literal_eval(match[1])}={match[2]}')}"


def shell_quoted(text: str) -> str:
    """Quote an argument for the shell, in double quotes if it contains single ones and these suffice."""
    if "'" in text and not set('"$`\\!') & set(text):
        return f'"{text}"'
    return shlex.quote(text)
