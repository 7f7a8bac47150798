"""Configs of Hydra and LightningCLI: nodes that name a class, and references to other values."""

import re
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

from jaxlr._checks import shorten, shown_value
from jaxlr.frameworks.recipe import NUMBER


_REFERENCE = re.compile(r"\$\{([^${}]*)\}")
_RESOLVER = re.compile(r"\$\{\s*[\w.]+\s*:")
_INTEGER = re.compile(r"[-+]?\d+")
_KEY = re.compile(r"[\w/-]+")
_MOST_REFERENCES = 50
_MOST_VALUES = 5000  # of a scheduler
_MOST_LEVELS = 60
_OF_HYDRA = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


class Node(NamedTuple):
    """A mapping in a config, and the keys that lead to it."""

    path: tuple[Any, ...]
    settings: Mapping[str, Any]

    @property
    def key(self) -> str:
        """The last name in the path, such as "scheduler" of `schedulers[0]`."""
        return next((key for key in reversed(self.path) if isinstance(key, str)), "")

    @property
    def target(self) -> str:
        """The class or function that the node constructs, with its module, or nothing."""
        target = self.settings.get("_target_", self.settings.get("class_path"))
        return target if isinstance(target, str) else ""

    @property
    def name(self) -> str:
        """The class or function without its module."""
        return self.target.rpartition(".")[2]

    @property
    def arguments(self) -> "Node":
        """The keyword arguments, and where they are."""
        if "class_path" not in self.settings:
            settings = {key: value for key, value in self.settings.items() if key not in _OF_HYDRA}
            return Node(self.path, settings)
        for key in ("init_args", "dict_kwargs"):
            if isinstance(arguments := self.settings.get(key), Mapping):
                return Node((*self.path, key), arguments)
        return Node(self.path, {})


class Tree:
    """The nodes of a config.

    Args:
        settings: the config.
        given: returns the value that the caller gave for a name, or None.
        known: the classes and functions that may be in a call, without their modules.
    """

    def __init__(
        self, settings: Mapping[str, Any], given: Callable[[str], Any], known: Container[str] = ()
    ):
        self._given, self._known = given, known
        self._num_written = 0
        self.root: Node = Node((), _nested(settings))

    def outermost(self, wanted: Callable[[Node], bool], start: Node | None = None) -> list[Node]:
        """Return the nodes that are wanted, but none inside of another one."""
        found: list[Node] = []
        waiting = [start or self.root]
        while waiting:
            node = waiting.pop()
            if wanted(node):
                found.append(node)
            else:
                waiting += reversed(_children(node))
        return found

    def ancestors(self, node: Node) -> list[Node]:
        """Return the mappings around a node, from the nearest one to the root."""
        around: list[Node] = []
        value: Any = self.root.settings
        for depth, key in enumerate(node.path):
            if isinstance(value, Mapping):
                around.append(Node(node.path[:depth], value))
            value = value[key]
        return around[::-1]

    def call_text(self, node: Node, without: tuple[str, ...]) -> str:
        """Return a node as the call of its class.

        Args:
            node: the node.
            without: arguments to leave out.
        """
        arguments = node.arguments
        positional = node.settings.get("_args_", [])
        if not isinstance(positional, list):
            raise ValueError(f"_args_ must be a list, got {shown_value(positional)}")
        written = [self._text("_args_", value, (*node.path, "_args_")) for value in positional]
        for key, value in arguments.settings.items():
            if not str(key).isidentifier():
                raise ValueError(f"{node.name} has no argument {shorten(str(key))!r}")
            if key not in ("optimizer", *without):
                written.append(f"{key}={self._text(key, value, (*arguments.path, key))}")
        return f"{node.name}({', '.join(written)})"

    def _text(self, key: str, value: Any, path: tuple[Any, ...]) -> str:
        self._num_written += 1
        if self._num_written > _MOST_VALUES or len(path) > _MOST_LEVELS:
            raise ValueError(f"{shorten(key)} has too many values, or refers to itself")
        value = self.value(key, value, path)
        if isinstance(value, Mapping):
            node = Node(path, value)
            if node.target and node.name not in self._known:
                raise ValueError(f"{key} is {shown_value(node.target)}, which is not executed")
            if node.target:
                return self.call_text(node, ())
            items = (f"{name!r}: {self._text(key, item, (*path, name))}" for name, item in value.items())
            return f"{{{', '.join(items)}}}"
        if isinstance(value, list | tuple):
            items = (self._text(key, item, (*path, index)) for index, item in enumerate(value))
            return f"[{', '.join(items)}]"
        if value is None or isinstance(value, bool | int | float | str):
            return repr(value)
        raise ValueError(f"{key} must be a number, a text or a list, got {shown_value(value)}")

    def value(self, name: str, value: Any, path: tuple[Any, ...]) -> Any:
        """Return a value, following its references to other values of the config.

        Args:
            name: its name, for messages.
            value: the value as it stands in the config.
            path: the keys that lead to it.

        Raises:
            ValueError: a reference leads nowhere, or needs a resolver, which would have to be executed.
        """
        for _ in range(_MOST_REFERENCES):
            if value is None or value == "???":
                return self._given(name)
            if not isinstance(value, str):
                return value
            if "$" in value:
                for given in (self._given(value), self._given(name)):
                    if given is not None:
                        return given
            if _RESOLVER.search(value):
                _refuse(name, value, "resolvers are not executed", name)
            match = _REFERENCE.search(value)
            if match is None and value.startswith("$"):
                _refuse(name, value, "the config does not define it", name)
            if match is None:
                return _as_number(value)
            found, place = self._looked_up(match[1].strip(), path)
            if found is None and not (place and match[0] == value):  # not defined, or null in a text
                _refuse(name, value, "the config does not define it", match[1].strip())
            if match[0] == value:
                value, path = found, place
            else:
                value = f"{value[: match.start()]}{found}{value[match.end() :]}"
        raise ValueError(f"{name} is {shown_value(value)}, a reference to itself")

    def resolved(self, node: Node, names: Iterable[str]) -> dict[str, Any]:
        """Return those settings of a node that it has, without references."""
        found = {name: node.settings[name] for name in names if name in node.settings}
        return {name: self.value(name, value, (*node.path, name)) for name, value in found.items()}

    def _looked_up(self, reference: str, path: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """Return the value of `trainer.max_epochs`, `..lr` or `steps[0]`, and its path if it is defined."""
        if (given := self._given(reference)) is not None:
            return given, path
        levels = len(reference) - len(reference.lstrip("."))
        around = path[: len(path) - levels] if levels else ()
        keys = [*around, *_KEY.findall(reference)]
        value: Any = self.root.settings
        for place, key in enumerate(keys):
            if isinstance(value, Mapping) and key in value:
                value = value[key]
            elif isinstance(value, list) and str(key).isdigit() and int(key) < len(value):
                value = value[int(key)]
                keys[place] = int(key)
            else:
                return None, ()
        return value, tuple(keys)


def _nested(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the flags `--lr_scheduler=StepLR --lr_scheduler.step_size=3` of LightningCLI as nodes."""
    dotted = [key for key in settings if isinstance(key, str) and "." in key]
    nested: dict[str, Any] = {key: value for key, value in settings.items() if key not in dotted}
    for key in dotted:
        *parents, last = key.split(".", _MOST_LEVELS)
        inner = nested
        for parent in parents:
            if isinstance(inner.get(parent), str):
                inner[parent] = {"class_path": inner[parent], "init_args": {}}
            inner = inner.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ValueError(f"{shorten(key)} is given beside a value of {parent}")
        if "class_path" in inner and last != "class_path":
            inner = inner.setdefault("init_args", {})
        inner[last] = settings[key]
    return nested


def _children(node: Node) -> list[Node]:
    children: list[Node] = []
    for key, value in node.settings.items():
        items = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, item in items:
            if isinstance(item, Mapping):
                path = (*node.path, key) if index is None else (*node.path, key, index)
                children.append(Node(path, item))
    return children


def _as_number(text: str) -> Any:
    """Return a text such as 1e-4, which YAML 1.1 takes for a text, as a number."""
    if len(text) > 50 or not NUMBER.fullmatch(text):
        return text
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _refuse(name: str, value: str, reason: str, key: str) -> NoReturn:
    raise ValueError(f"{name} is {shown_value(value)}, and {reason}: give names={{{key!r}: ...}}")
