"""Configs that are written in Python, read by their syntax. They are never executed."""

import ast
import warnings
from pathlib import Path
from typing import Any

from jaxlr._checks import shorten
from jaxlr.frameworks.recipe import Unreadable


_LONGEST = 100_000
_MOST_LEVELS = 100
_MOST_FILES = 20
_LARGEST = 1e300


def read(text: str, path: Path | None) -> dict[str, Any]:
    """Return the values that a Python config assigns, by name.

    Values are numbers, texts, lists, `dict(...)` calls, arithmetic, and names that were assigned before.
    The files of `_base_` and of `with read_base():` are read too, if the config has a path. Anything else
    is `Unreadable`: an error only where it is used.
    """
    return _File([]).read(text, path)


class _File:
    def __init__(self, opened: list[Path]):
        self._opened = opened
        self._values: dict[str, Any] = {}

    def read(self, text: str, path: Path | None) -> dict[str, Any]:
        statements = _parsed(text)
        match statements:
            case [ast.Expr(value=ast.Call() as call)] | [ast.Assign(value=ast.Call() as call)] if (
                _called_name(call) not in ("dict", None) and call.keywords
            ):
                # One call, such as TrainingArguments(learning_rate=2e-5, ...): its keywords.
                return {keyword.arg: self._value(keyword.value) for keyword in call.keywords if keyword.arg}
        for statement in statements:
            self._statement(statement, path)
        base = self._values.pop("_base_", None)
        if base is None:
            return self._values
        return _merged(self._bases(base, path), self._values)

    def _statement(self, statement: ast.stmt, path: Path | None) -> None:
        match statement:
            case ast.Assign(targets=targets, value=node):
                value = self._value(node)
                for target in targets:
                    if isinstance(target, ast.Name):
                        self._values[target.id] = value
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as node):
                self._values[name] = self._value(node)
            case ast.With(
                items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="read_base")))], body=body
            ):
                for inner in body:
                    if isinstance(inner, ast.ImportFrom) and path is not None:
                        self._values |= self._opened_file(_module_path(inner, path))
            case ast.Expr(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id=name), attr="update"), keywords=keywords
                )
            ) if isinstance(self._values.get(name), dict):
                new = {keyword.arg: self._value(keyword.value) for keyword in keywords if keyword.arg}
                self._values[name] = {**self._values[name], **new}

    def _bases(self, base: Any, path: Path | None) -> dict[str, Any]:
        names = base if isinstance(base, list) else [base]
        merged: dict[str, Any] = {}
        for name in names:
            if path is None or not isinstance(name, str) or Path(name).is_absolute() or "::" in name:
                continue  # a setting that only it has is then missing, and named
            merged = _merged(merged, self._opened_file(path.parent / name))
        return merged

    def _opened_file(self, path: Path) -> dict[str, Any]:
        if len(self._opened) >= _MOST_FILES or path in self._opened:
            raise ValueError(f"the _base_ files include each other, or are more than {_MOST_FILES}")
        self._opened.append(path)
        if path.suffix != ".py":
            raise ValueError(f"the _base_ file {shorten(path.name)!r} must be a Python config")
        try:
            with path.open("rb") as file:
                text = file.read(_LONGEST + 1).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise ValueError(f"cannot read the _base_ file {shorten(str(path))!r}: {reason}") from None
        return _File(self._opened).read(text, path)

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item) for item in items]
            case ast.Dict(keys=keys, values=values) if all(
                isinstance(key, ast.Constant) and isinstance(key.value, str) for key in keys
            ):
                pairs = zip(keys, values, strict=True)
                return {
                    key.value: self._value(value) for key, value in pairs if isinstance(key, ast.Constant)
                }
            case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords) if all(
                keyword.arg for keyword in keywords
            ):
                return {str(keyword.arg): self._value(keyword.value) for keyword in keywords}
            case ast.Name(id=name) if name in self._values:
                return self._values[name]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                value = self._value(operand)
                if _is_number(value):
                    return -value if isinstance(op, ast.USub) else value
            case ast.BinOp(op=op, left=left, right=right):
                return self._arithmetic(node, op, self._value(left), self._value(right))
        return Unreadable(shorten(ast.unparse(node)))

    def _arithmetic(self, node: ast.expr, op: ast.operator, left: Any, right: Any) -> Any:
        unreadable = Unreadable(shorten(ast.unparse(node)))
        if not (_is_number(left) and _is_number(right)):
            return unreadable
        try:
            match op:
                case ast.Add():
                    value = left + right
                case ast.Sub():
                    value = left - right
                case ast.Mult():
                    value = left * right
                case ast.Div():
                    value = left / right
                case ast.FloorDiv():
                    value = left // right
                case ast.Pow() if abs(left) <= 1e6 and abs(right) <= 64:
                    value = left**right
                case _:
                    return unreadable
        except ArithmeticError:
            return unreadable
        return value if _is_number(value) and abs(value) < _LARGEST else unreadable


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _parsed(text: str) -> list[ast.stmt]:
    if len(text) > _LONGEST:
        raise ValueError(f"a config must have at most {_LONGEST} characters")
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            statements = ast.parse(text).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        raise ValueError(f"cannot read the Python config: {shorten(reason, 150)}") from None
    level, depth = list[ast.AST](statements), 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    if depth > _MOST_LEVELS:
        raise ValueError("the Python config is nested too deeply to be read")
    return statements


def _called_name(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def _merged(base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Merge as MMEngine does: mappings key by key, unless `_delete_` is set; all else is replaced."""
    merged = dict(base)
    for name, value in new.items():
        old = merged.get(name)
        if isinstance(value, dict) and isinstance(old, dict) and not value.get("_delete_"):
            merged[name] = _merged(old, value)
        elif isinstance(value, dict):
            merged[name] = {key: item for key, item in value.items() if key != "_delete_"}
        else:
            merged[name] = value
    return merged


def _module_path(statement: ast.ImportFrom, path: Path) -> Path:
    """Return the file of `from .._base_.schedules import x` or `from .x import *`."""
    folder = path.parent
    for _ in range(statement.level - 1):
        folder = folder.parent
    return folder.joinpath(*(statement.module or "").split(".")).with_suffix(".py")
