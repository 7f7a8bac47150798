"""The methods of lists, mappings and strings that recipes call."""

import ast
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlr.code.functions import Array
from jaxlr.code.syntax import quoted, unreadable
from jaxlr.code.values import is_key


_MOST_ITEMS = 10_000
_READING = ("copy", "count", "get", "index", "items", "keys", "tolist", "values")
_CHANGING_LIST = ("append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort")
_CHANGING_DICT = ("clear", "pop", "setdefault", "update")
_OF_TEXT = ("endswith", "lower", "lstrip", "rstrip", "split", "startswith", "strip", "upper")


def result_of(node: ast.expr, owner: Any, method: str, arguments: Sequence[Any]) -> Any:
    """Return the result of a method that changes nothing.

    Raises:
        ValueError: the method is not one of those that are read.
    """
    match owner, method, arguments:
        case dict(), "get", [key] | [key, _]:
            return owner.get(*arguments) if is_key(key) else None
        case dict(), "keys" | "values" | "items", []:
            entries: dict[str, Any] = {
                "keys": owner.keys(),
                "values": owner.values(),
                "items": map(list, owner.items()),
            }
            return list(entries[method])
        case dict() | list(), "copy", []:
            return type(owner)(owner)
        case list(), "tolist", []:
            return list(owner)
        case list(), "index" | "count", [_]:
            return getattr(list(owner), method)(*arguments)
        case Array(), "sum" | "max" | "min", [] if owner:
            return {"sum": sum, "max": max, "min": min}[method](owner)
        case str(), _, _ if method in _OF_TEXT and len(str(arguments)) < 1000:
            return getattr(owner, method)(*arguments)
    raise ValueError(f"cannot read the call {quoted(node)}")


def only_reads(method: str) -> bool:
    """Check if a method changes neither a list nor a mapping."""
    return method in _READING


def changes(method: str) -> bool:
    """Check if a method changes a list or a mapping."""
    return method in _CHANGING_LIST or method in _CHANGING_DICT


def change(
    node: ast.expr, owner: Any, method: str, arguments: Sequence[Any], by_name: Mapping[str, Any]
) -> Any:
    """Call a method that changes a list or a mapping, and return its result.

    Raises:
        ValueError: the method cannot be read, or fails.
    """
    known = _CHANGING_DICT if isinstance(owner, dict) else _CHANGING_LIST
    keywords = {"reverse"} if method == "sort" else set[str]()
    is_update = isinstance(owner, dict) and method == "update"
    if (
        isinstance(owner, Array)
        or method not in known
        or len(owner) > _MOST_ITEMS
        or (by_name.keys() - keywords and not is_update)
    ):
        raise ValueError(f"cannot read {quoted(node)}")
    if method in ("extend", "update") and not all(isinstance(each, list | dict) for each in arguments):
        raise unreadable(node, "it is not given a list or mapping with known items")
    try:
        return getattr(owner, method)(*arguments, **by_name)
    except (LookupError, TypeError, ValueError) as error:
        raise unreadable(node, f"{error}") from None
