"""Flags of a command line, with Hydra's assignments and detectron2's options."""

import re
import shlex
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from jaxlr._checks import shorten
from jaxlr.frameworks import mmpython


# A flag of two dashes, or of one dash and several words, such as OpenNMT's -decay_method.
_FLAG = re.compile(r"(?:--|-(?=[a-z]+_))([A-Za-z][\w.-]*)(?:=(.*))?", re.DOTALL)
_OPTION = re.compile(r"SOLVER(\.[A-Z_]+){1,9}")  # the next word is its value


def read_flags(words: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """Read flags such as `--learning_rate 2e-5`, `--lr=0.1`, `--cos-lr` and Hydra's `epochs=10`.

    Returns:
        The flags by name, and the options of detectron2, such as `SOLVER.BASE_LR 0.1`.
    """
    settings: dict[str, Any] = {}
    options: dict[str, str] = {}
    values: list[str] | None = None
    words = [*words]
    if _is_yolo_train(words):
        settings["is_yolo_train"] = [[]]
    words = iter(words)
    for word in words:
        if _OPTION.fullmatch(word):
            options[word], values = next(words, ";"), None
            if options[word] == ";":
                raise ValueError(f"the option {shorten(word)} has no value after it")
        elif match := _FLAG.fullmatch(word):
            name, value = match[1].replace("-", "_"), match[2]
            values = [] if value is None else [value]
            settings.setdefault(name, []).append(values)
            if value is not None:
                values = None
        elif re.match(r"-[A-Za-z]|[|;&<>)]|\d?>", word):
            values = None  # another flag, or the end of a command
        elif values is not None:
            values.append(word)
        elif match := re.fullmatch(r"([A-Za-z_]\w*)=(.*)", word, re.DOTALL):
            settings.setdefault(match[1], []).append([match[2]])
    if not settings and not options:
        raise ValueError("the text has no flag such as --learning_rate 2e-5")
    return _unrepeated(settings), options


def _is_yolo_train(words: list[str]) -> bool:
    """Check if a line is the command `yolo train` of Ultralytics, whose settings are assignments."""
    begins = [
        n for n, word in enumerate(words) if word in ("yolo", "!yolo") and words[n - 1 : n] in ([], [";"])
    ]
    return bool(begins) and not {"train", "mode=train"}.isdisjoint(words[begins[0] :])


def in_sections(settings: Mapping[str, Any], sections: Collection[str]) -> Mapping[str, Any]:
    """Return flags such as `--optimizer.lr 3e-4` as the sections of a file."""
    nested: dict[str, Any] = {}
    for name, value in settings.items():
        section, _, key = str(name).partition(".")
        if section in sections:
            value = {key: value} if key else value
            nested = mmpython.merged(nested, {section: value})
        else:
            nested[name] = value
    return nested


def words_of(text: str) -> list[str]:
    """Return the words of a shell script, and a semicolon after each line."""
    text = re.sub(r"\\\s*\n", " ", text)
    words: list[str] = []
    for line in text.splitlines():
        try:
            found = shlex.split(line, comments=True)
        except ValueError:  # a quote that another line closes
            found = line.split()
        words += [*found, ";"]
    return words


def _unrepeated(settings: dict[str, list[list[str]]]) -> dict[str, Any]:
    """Return the value of each flag. Refuse one that is given twice, with different values."""
    flags: dict[str, Any] = {}
    for name, given in settings.items():
        if all(values == given[0] for values in given):
            flags[name] = " ".join(given[0]) if given[0] else True
        elif not name.isupper():  # a variable of the shell, which may be assigned twice
            raise ValueError(f"the flag {shorten(name)} is given twice, with different values")
    return flags
