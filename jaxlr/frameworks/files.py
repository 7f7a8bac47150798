"""Configs as files and texts, read into mappings. Nothing in them is executed or constructed."""

import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from jaxlr._checks import shorten, shown_value
from jaxlr.frameworks import mmpython
from jaxlr.frameworks.cards import is_card, read_card
from jaxlr.frameworks.flags import read_flags, words_of
from jaxlr.frameworks.recipe import Unreadable
from jaxlr.frameworks.scripts import read_python


# A hostile file must cost a second at most. PyYAML reads about 100,000 characters in that time.
LONGEST_CONFIG = 100_000
_LONGEST_FILE = 1_000_000  # bytes, with its lists of data files
_DATA_FILE = re.compile(r"^[ \t]*(#[ \t]*)?-[ \t]+\S*/\S*\n", re.MULTILINE)  # an item of a list in YAML
_MOST_VALUES = 20_000
_MOST_EVENTS = 10_000  # keys, values and brackets of a YAML text
_MOST_LEVELS = 50
_MOST_BASES = 20
_MOST_ALIASES = 16  # in a large text; each can double the size of what the ones before it stand for
# The tags of HyperPyYAML, and the key under which an object has the name of its class.
_TAGS = re.compile(r"!(new|name|ref|apply)\b")
MADE = "!new"
# A flag, or one of OpenNMT with its value, as in `-decay_method noam`, which is no difference in Python. Or
# the command of Ultralytics.
_FLAG = re.compile(r"(^|\s)--\w|[\w\\]\s+-[a-z]+_\w+[ \t]+[\w./$]|(?m:^!?yolo[ \t]+[a-z]+)")
_OVERRIDE = re.compile(r"(?:^|\s)[+~]*(\w+(?:\.\w+)+=\S*)")  # of Hydra, on a command line
_SUFFIXES = (".yaml", ".yml", ".json", ".toml", ".md", ".markdown", ".py", ".sh", ".txt", ".args")


def read_config(config: Any) -> Mapping[str, Any]:
    """Return the settings of a config by name.

    Args:
        config: a mapping; a path; a text in YAML, JSON or TOML, of a model card, of a Python config, or of
            command-line flags; or a list of such flags.

    Raises:
        TypeError: `config` is none of these.
        ValueError: it cannot be read, or is too large.
        OSError: the file cannot be opened.
    """
    if isinstance(config, Mapping):
        return _checked(config)
    if isinstance(config, list | tuple) and all(isinstance(word, str) for word in config):
        if len(config) > _MOST_VALUES:
            raise ValueError(f"a config must have at most {_MOST_VALUES} values")
        _shortened("".join(config))
        return _checked(_flags(config))
    if isinstance(config, os.PathLike):
        return _checked(_read_file(Path(config)))
    if not isinstance(config, str):
        raise TypeError(
            f"config must be a mapping, a path, a text or a list of flags, got {shown_value(config)}"
        )
    return _checked(_read_file(Path(config)) if _is_path(config) else _read_text(config))


def read_text_config(text: str) -> Mapping[str, Any]:
    """Return the settings of a config from its text, which is never taken for a path."""
    return _checked(_read_text(text))


def _is_path(text: str) -> bool:
    """Check if a text is the path of a file rather than a config: one line that ends as such files do."""
    if len(text) > 1000 or not text.strip():
        return False
    if "\n" in text or "\0" in text or _FLAG.search(text):
        return False
    return Path(text).suffix.lower() in _SUFFIXES or not re.search(r"[={}()\[\]]|:\s", text)


def _read_file(path: Path, opened: list[Path] | None = None) -> Mapping[str, Any]:
    with path.open("rb") as file:
        data = file.read(_LONGEST_FILE + 1)
    if len(data) > _LONGEST_FILE:
        raise _too_long()
    try:
        text = _shortened(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is not a text in UTF-8") from None
    match path.suffix.lower():
        case ".yaml" | ".yml":
            return _with_base(read_yaml(text), path, opened or [])
        case ".json":
            return _json(text)
        case ".toml":
            return _toml(text)
        case ".md" | ".markdown":
            return read_card(text, _json)
        case ".py":
            return read_python(text, path)
        case ".txt" if not _FLAG.search(text):
            return _read_text(text)
        case ".sh" | ".txt" | ".args":
            return _flags(words_of(text))
    raise ValueError(
        f"cannot tell the format of {shorten(path.name)!r}: name it .yaml, .json, .toml, .md, .py or .sh"
    )


def _read_text(text: str) -> Mapping[str, Any]:
    """Read a text whose format its first characters tell."""
    text = _shortened(text.lstrip("\ufeff"))
    stripped = text.strip()
    if not stripped:
        raise ValueError("the config is empty")
    if stripped.startswith("{"):
        return _braces(stripped)
    if is_card(text):
        return read_card(text, _json)
    if _FLAG.search(text) and not re.search(r"^\w+:", text, re.MULTILINE):
        return _flags(words_of(text))
    if re.search(r"^\[[\w.]+\][ \t]*$|^\w+[ \t]*=[ \t]*(true|false)\b", text, re.MULTILINE):
        return _toml(text)
    if re.search(r"^[ \t]*[\w.]+[ \t]*[=(]", text, re.MULTILINE) and not re.search(
        r"^\w+:", text, re.MULTILINE
    ):
        return read_python(text, None)
    return read_yaml(text)


def _braces(text: str) -> Mapping[str, Any]:
    """Read a text in braces: JSON, a dict of Python, or a flow mapping of YAML."""
    try:
        return _json(text)
    except ValueError as error:
        readers = [lambda: mmpython.read(f"config = {text}", None)["config"], lambda: read_yaml(text)]
        if re.search(r":\s*(true|false|null)\b", text):  # names in Python
            readers.reverse()
        for read in readers:
            try:
                settings = read()
            except (ValueError, ModuleNotFoundError):
                continue
            if isinstance(settings, Mapping):
                return settings
        raise error


def _shortened(text: str) -> str:
    """Return a text, without its lists of data files if it is too long with them."""
    if len(text) > LONGEST_CONFIG:
        text = _DATA_FILE.sub("", text)
    if len(text) > LONGEST_CONFIG:
        raise _too_long()
    return text


def _too_long() -> ValueError:
    return ValueError(
        f"a config must have at most {LONGEST_CONFIG} characters: leave out lists that the schedule "
        "does not need, such as those of data files"
    )


def read_yaml(text: str) -> Mapping[str, Any]:
    """Return the settings of a YAML text by name. PyYAML is imported for it."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise ModuleNotFoundError("a YAML config needs PyYAML: pip install pyyaml", name="yaml") from None
    # Nothing is evaluated: eval("x") is a list of a text, which is an error where a number is needed.
    text = re.sub(r"!!python/(tuple|object/apply:eval)\b", "", text)
    if text.lstrip().startswith("!!python/object:nerfstudio."):
        # The config.yml of a run names the classes of its objects. Mappings and names are enough.
        text = re.sub(r"!!python/name:([\w.]+) ''", r"\1", text)
        text = re.sub(r"!!python/(object(/\w+)*:nerfstudio[\w.]*|object/apply:pathlib\.\w+)", "", text)
    try:
        _check_events(yaml.parse(text, Loader=yaml.SafeLoader))
        loader = _tagged(yaml) if _TAGS.search(text) else yaml.SafeLoader
        loaded = yaml.load(text, loader)
    except yaml.YAMLError as error:
        problem = getattr(error, "problem", None) or str(error)
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        raise ValueError(f"cannot read the YAML config{where}: {shorten(str(problem), 150)}") from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError(f"cannot read the YAML config: {shorten(str(error), 150)}") from None
    return _mapping(loaded, "YAML")


def _tagged(yaml: Any) -> Any:
    """Return a loader of the tags of HyperPyYAML. It constructs nothing: an object is a mapping."""

    class Loader(yaml.SafeLoader):
        pass

    def made(loader: Any, name: str, node: Any) -> dict[str, Any]:
        is_mapping = isinstance(node, yaml.MappingNode)
        return {MADE: name, **(loader.construct_mapping(node, deep=True) if is_mapping else {})}

    for prefix in ("!new:", "!name:"):
        Loader.add_multi_constructor(prefix, made)
    Loader.add_constructor("!ref", lambda loader, node: Unreadable(re.sub(r"[<>]", "", str(node.value))))
    Loader.add_multi_constructor("!", lambda loader, name, node: None)
    return Loader


def _check_events(events: Any) -> None:
    """Refuse a text that is deep, or large with its aliases, before anything is built from it."""
    size = aliases = 0  # the events with the aliases written out, and the aliases of lists and mappings
    opened: list[tuple[str | None, int]] = []  # the anchors of the open ones, and the size before each
    sizes: dict[str, int] = {}  # by the name of the anchor
    for number, event in enumerate(events):
        kind, anchor = type(event).__name__, getattr(event, "anchor", None)
        size += sizes.get(event.anchor, 1) if kind == "AliasEvent" else 1
        aliases += kind == "AliasEvent" and anchor in sizes
        if kind.endswith("StartEvent"):
            opened.append((anchor, size))
        elif kind.endswith("EndEvent"):
            name, before = opened.pop()
            if name is not None:
                sizes[name] = size - before
        if len(opened) > _MOST_LEVELS:
            raise ValueError("it is nested too deeply")
        if aliases > _MOST_ALIASES and size > _MOST_EVENTS:
            raise ValueError(f"it has more than {_MOST_ALIASES} aliases, and too many values with them")
        if number > _MOST_EVENTS:
            raise ValueError("it has too many values")


def _json(text: str) -> Mapping[str, Any]:
    return _mapping(_parsed("JSON", json.loads, text), "JSON")


def _toml(text: str) -> Mapping[str, Any]:
    # The parser's time and memory grow with the square of the parts of a key.
    bare = re.sub(r'"[^"\n]*"|\'[^\'\n]*\'', "", text)
    if any(part.count(".") > _MOST_LEVELS for part in re.split(r"[=,\[\]{}\n]", bare)):
        raise ValueError("cannot read the TOML config: it is nested too deeply")
    return _parsed("TOML", tomllib.loads, text)


def _parsed(kind: str, load: Callable[[str], Any], text: str) -> Any:
    try:
        return load(text)
    except RecursionError:
        raise ValueError(f"cannot read the {kind} config: it is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"cannot read the {kind} config: {shorten(str(error), 150)}") from None


def _with_base(config: Mapping[str, Any], path: Path, opened: list[Path]) -> Mapping[str, Any]:
    """Merge a YAML config into the files of `_BASE_`, `__include__` of RT-DETR or `defaults` of NeMo RL."""
    key = next((name for name in ("_BASE_", "__include__", "defaults") if name in config), "")
    named: Any = config.get(key)
    names: list[Any] = named if isinstance(named, list) else [named]
    if not key or (key == "defaults" and not all(_is_yaml(path.parent, name) for name in names)):
        return config  # the defaults of Hydra are in other folders
    merged: dict[str, Any] = {}
    for name in names:
        if not isinstance(name, str) or Path(name).is_absolute() or name.startswith("~") or "://" in name:
            raise ValueError(f"cannot read the {key} {shown_value(name)}: give a relative path")
        base = path.parent / name
        if base.suffix.lower() not in (".yaml", ".yml"):
            raise ValueError(f"the {key} file {shorten(base.name)!r} must be a YAML config")
        opened.append(base)
        if len(opened) > _MOST_BASES:
            raise ValueError(f"the {key} files include each other, or are more than {_MOST_BASES}")
        try:
            found = _read_file(base, opened)
        except OSError as error:
            reason = error.strerror or "it cannot be opened"
            raise ValueError(f"cannot read the {key} file {shorten(str(base), 120)!r}: {reason}") from None
        merged = mmpython.merged(merged, dict(found))
    return mmpython.merged(merged, {name: value for name, value in config.items() if name != key})


def _is_yaml(folder: Path, name: Any) -> bool:
    return (
        isinstance(name, str) and name.endswith(".yaml") and len(name) < 250 and (folder / name).is_file()
    )


def _mapping(loaded: Any, kind: str) -> Mapping[str, Any]:
    if isinstance(loaded, str) and (override := _OVERRIDE.search(loaded)):
        raise ValueError(
            f"the text changes settings of a config file, such as {shown_value(override[1])}: give that "
            "file, with the new values in it"
        )
    if not isinstance(loaded, Mapping):
        raise ValueError(f"the {kind} config must hold settings by name, got {shown_value(loaded)}")
    return loaded


def _flags(words: Iterable[str]) -> Mapping[str, Any]:
    """Read flags. The options of detectron2, such as `SOLVER.BASE_LR 0.01`, change its file."""
    flags, options = read_flags(words)
    settings = flags
    name = "config_file" if "config_file" in flags else "cfg"
    if options and name in flags:
        path = Path(str(flags[name]).split()[0])
        if path.suffix.lower() not in (".yaml", ".yml"):
            raise ValueError(f"the {name} {shorten(path.name)!r} must be a YAML config")
        settings = {**flags, **_read_file(path)}
    for option, value in options.items():
        nested: Any = value
        for name in reversed(option.split(".")):
            nested = {name: nested}
        settings = mmpython.merged(settings, nested)
    return settings


def _checked(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Refuse a config that is deep or large once its aliases are written out."""
    level: list[Any] = [config]
    num_values = 0
    for _ in range(_MOST_LEVELS):
        inner: list[Any] = []
        for value in level:
            num_values += len(value)
            if num_values > _MOST_VALUES:
                raise ValueError(f"a config must have at most {_MOST_VALUES} values")
            items = value.values() if isinstance(value, Mapping) else value
            inner += [item for item in items if isinstance(item, Mapping | list | tuple)]
        if not inner:
            return config
        level = inner
    raise ValueError("the config is nested too deeply")
