"""Configs that are written in Python, read by their syntax. They are never executed."""

import ast
import itertools
import re
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from jaxlr._checks import shorten
from jaxlr.code.functions import OPERATORS
from jaxlr.frameworks.recipe import Unreadable


_LONGEST = 100_000
_MOST_LEVELS = 100
_MOST_FILES = 30
_MOST_WORK = 200_000  # expressions that are read, and values that are copied
_MOST_ITEMS = 10_000
_LONGEST_SOURCE = 500
_REPLACES = ("_delete_", "_override_")  # of MMEngine and NeMo RL: the mapping replaces that of its base
_LARGEST = 1e300
_BASE_REFERENCE = re.compile(r"\{\{\s*(_base_\.[\w.]{1,200})\s*\}\}")
# The dataclasses of nerfstudio, which are read as mappings.
_DATACLASS = re.compile(r"TrainerConfig|MethodSpecification|(R?AdamW?Optimizer|\w+Scheduler)Config")
_FUNCTIONS = {function.__name__: function for function in (abs, float, int, max, min, round)}


def read(text: str, path: Path | None) -> dict[str, Any]:
    """Return the values that a Python config assigns, by name.

    Values are numbers, texts, lists, `dict(...)` calls, list comprehensions, arithmetic, names that were
    assigned before, and values of the base, as in `_base_.param_scheduler`. The files of `_base_`, of
    `with read_base():` and of relative imports are read too, if the config has a path. Anything else is
    `Unreadable`: an error only where it is used.
    """
    try:
        values = _File(_Limits(), path).read(text)
    except RecursionError:
        raise ValueError("the Python config is nested too deeply to be read") from None
    config = values.get("cfg")
    return dict(config) if isinstance(config, _Nodes) and "SOLVER" in config else values


class _Nodes(dict[str, Any]):
    """The config of detectron2 in a script, or a node of it, which appears when it is assigned to."""


class _Limits:
    """The files and the work so far, so that a hostile config costs a bounded time."""

    def __init__(self):
        self._num_files = 0
        self._work = 0

    def count(self, work: int = 1) -> None:
        self._work += work
        if self._work > _MOST_WORK:
            raise ValueError("the Python config has too many values")

    def open(self, path: Path) -> dict[str, Any]:
        """Return the values of another file."""
        self._num_files += 1
        if self._num_files > _MOST_FILES:
            raise ValueError(f"the _base_ files include each other, or are more than {_MOST_FILES}")
        if path.suffix != ".py":
            raise ValueError(f"the _base_ file {shorten(path.name)!r} must be a Python config")
        try:
            with path.open("rb") as file:
                text = file.read(_LONGEST + 1).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
            raise ValueError(f"cannot read the _base_ file {shorten(str(path), 120)!r}: {reason}") from None
        return _File(self, path).read(text)


class _File:
    def __init__(self, limits: _Limits, path: Path | None):
        self._limits = limits
        self._path = path
        self._values: dict[str, Any] = {}
        self._base: dict[str, Any] | None = None
        self._text = b""
        self._line_starts = [0]

    def read(self, text: str) -> dict[str, Any]:
        statements = _parsed(text)
        self._text = text.encode()
        self._line_starts = [0, *itertools.accumulate(map(len, self._text.splitlines(keepends=True)))]
        match statements:
            case [ast.Expr(value=ast.Call() as call)] | [ast.Assign(value=ast.Call() as call)] if (
                _called_name(call) not in ("dict", None) and call.keywords
            ):
                # One call, such as TrainingArguments(learning_rate=2e-5, ...): its keywords.
                return {keyword.arg: self._value(keyword.value) for keyword in call.keywords if keyword.arg}
        for statement in statements:
            self._statement(statement)
        return merged(self._base or {}, self._values)

    def _statement(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=[ast.Name(id="_base_")], value=node):
                self._base = self._bases(self._value(node))
            case ast.Assign(targets=targets, value=node):
                value = self._value(node)
                for target in targets:
                    self._assign(target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as node):
                self._assign(target, self._value(node))
            case ast.AugAssign(target=target, op=op):
                self._assign(
                    target,
                    self._value(ast.copy_location(ast.BinOp(target, op, statement.value), statement)),
                )
            case ast.Delete(targets=targets):
                for target in targets:
                    container, key = self._place(target)
                    if container is not None and _has(container, key):
                        del container[key]
            case ast.With(
                items=[ast.withitem(context_expr=ast.Call(func=ast.Name(id="read_base")))], body=body
            ):
                for inner in body:
                    if isinstance(inner, ast.ImportFrom):
                        self._import(inner, is_base=True)
            case ast.ImportFrom(level=level) if level > 0:
                self._import(statement, is_base=False)
            case ast.Expr(value=ast.Call(func=ast.Attribute(value=receiver, attr=name)) as call):
                if not self._method(self._value(receiver), name, call):
                    self._forget(statement)
            case ast.Import() | ast.ImportFrom() | ast.Pass() | ast.Expr(value=ast.Constant()):
                pass
            case _:
                self._forget(statement)

    def _assign(self, target: ast.expr, value: Any) -> None:
        if isinstance(target, ast.Tuple | ast.List):
            items = value if isinstance(value, list) and len(value) == len(target.elts) else None
            for index, inner in enumerate(target.elts):
                self._assign(inner, Unreadable(self._source(target)) if items is None else items[index])
            return
        self._make_nodes(target)
        container, key = self._place(target)
        if container is None:
            self._forget(target)
        elif container is self._values:
            self._values[str(key)] = value
        elif isinstance(container, dict) or _has(container, key):
            container[key] = self._copy(value)
        else:
            self._forget(target)

    def _make_nodes(self, target: ast.expr) -> None:
        """Make the nodes of detectron2's `cfg` for an assignment such as `cfg.SOLVER.MAX_ITER = 9`."""
        match target:
            case ast.Attribute(value=ast.Name(id="cfg")):
                self._values.setdefault("cfg", _Nodes())
            case ast.Attribute(value=ast.Attribute() as node):
                self._make_nodes(node)
                container, key = self._place(node)
                if isinstance(container, _Nodes):
                    container.setdefault(key, _Nodes())

    def _place(self, target: ast.expr) -> tuple[Any, Any]:
        """Return the container and the key that a target names, or None and None."""
        match target:
            case ast.Name(id=name):
                return self._values, name
            case ast.Attribute(value=node, attr=key):
                container = self._value(node)
                return (container, key) if isinstance(container, dict) else (None, None)
            case ast.Subscript(value=node, slice=index):
                container, key = self._value(node), self._value(index)
                if isinstance(container, dict) and isinstance(key, str):
                    return container, key
                if isinstance(container, list) and isinstance(key, int):
                    return container, key
        return None, None

    def _method(self, receiver: Any, name: str, call: ast.Call) -> bool:
        """Change a mapping or a list as its method does. Return False for any other method."""
        arguments = [self._copy(self._value(node)) for node in call.args]
        keywords = {keyword.arg: self._copy(self._value(keyword.value)) for keyword in call.keywords}
        match receiver, name, arguments:
            case dict(), "update" | "merge", [] | [dict()] if None not in keywords:
                new = {**(arguments[0] if arguments else {}), **keywords}
                changed = merged(receiver, new)
                receiver.clear()
                receiver.update(changed)
            case _Nodes(), "merge_from_file", _ if call.args:
                receiver["_BASE_"] = self._source(call.args[0])
            case _Nodes(), "freeze" | "defrost", []:
                pass
            case dict(), "pop", [str() as key, *_]:
                receiver.pop(key, None)
            case list(), "append", [item]:
                receiver.append(item)
            case list(), "extend", [list() as items] if len(receiver) + len(items) <= _MOST_ITEMS:
                receiver.extend(items)
            case list(), "insert", [int() as index, item]:
                receiver.insert(index, item)
            case list(), "pop", [] | [int()]:
                if _has(receiver, *arguments or [-1]):
                    receiver.pop(*arguments)
            case _:
                return False
        return True

    def _forget(self, part: ast.AST) -> None:
        """Mark every name that an unread part of the config may change as unreadable."""
        source = shorten(self._source(part))
        # The variables of a function, or the fields of a class, are no settings of the config.
        is_local = isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.walk(part):
            match node:
                case ast.Name(id=name, ctx=ast.Store() | ast.Del()):
                    if not is_local or name in self._values:
                        self._values[name] = Unreadable(source)
                case ast.Attribute(ctx=context) | ast.Subscript(ctx=context):
                    if not isinstance(context, ast.Load):
                        self._forget_root(node, source)
                case ast.Call(func=function, args=arguments) if _called_name(node) not in _HARMLESS:
                    for inner in (function, *arguments):
                        self._forget_root(inner, source)

    def _forget_root(self, node: ast.expr, source: str) -> None:
        """Mark the first name of an expression as unreadable, or the setting of the base that it names."""
        key: Any = None
        while isinstance(node, ast.Attribute | ast.Subscript):
            key = ast.Constant(node.attr) if isinstance(node, ast.Attribute) else node.slice
            node = node.value
        if not isinstance(node, ast.Name):
            return
        if node.id == "_base_" and self._base is not None:
            names = [key.value] if isinstance(key, ast.Constant) else [*self._base]
            self._base |= {str(name): Unreadable(source) for name in names}
        elif node.id in self._values:
            self._values[node.id] = Unreadable(source)

    def _source(self, node: ast.AST) -> str:
        """Return a part of the config as a text for messages. A long part is cut before it is formatted."""
        if isinstance(node, ast.expr | ast.stmt) and node.end_lineno and node.end_col_offset is not None:
            start = self._line_starts[node.lineno - 1] + node.col_offset
            if self._line_starts[node.end_lineno - 1] + node.end_col_offset - start > _LONGEST_SOURCE:
                return shorten(self._text[start : start + _LONGEST_SOURCE].decode(errors="ignore"))
        return shorten(ast.unparse(node))

    def _bases(self, base: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name in base if isinstance(base, list) else [base]:
            if not isinstance(name, str) or Path(name).is_absolute() or "::" in name:
                shown = name.source if isinstance(name, Unreadable) else str(name)
                raise ValueError(
                    f"cannot read the _base_ {shorten(shown)!r}: give a relative path, or leave it out if "
                    "the other files state all of the schedule"
                )
            if self._path is None:
                raise ValueError(
                    f"the config inherits from {shorten(name)!r}: give the path of its file, not its text, "
                    "or leave out _base_ if the text states all of the schedule"
                )
            found = merged(found, self._limits.open(self._path.parent / name))
        return found

    def _import(self, statement: ast.ImportFrom, is_base: bool) -> None:
        """Read the values that a relative import takes from another config."""
        if self._path is None and is_base:
            raise ValueError("the config inherits by read_base: give the path of its file, not its text")
        file = None if self._path is None else _module_path(statement, self._path)
        if file is None or not (is_base or file.is_file()):
            return  # a module of the program; its names are unreadable
        values = self._limits.open(file)
        for alias in statement.names:
            if alias.name == "*":
                self._values |= values
            elif alias.name in values:
                self._values[alias.asname or alias.name] = values[alias.name]

    def _copy(self, value: Any) -> Any:
        """Return a copy, so that no container comes to hold itself."""
        self._limits.count()
        match value:
            case dict():
                return {key: self._copy(item) for key, item in value.items()}
            case list():
                return [self._copy(item) for item in value]
        return value

    def _value(self, node: ast.expr) -> Any:
        self._limits.count()
        match node:
            case ast.Constant(value=str() as text) if match := _BASE_REFERENCE.fullmatch(text):
                return self._value(ast.parse(match[1], mode="eval").body)
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._value(item) for item in items]
            case ast.Set(elts=[ast.Set(elts=[inner])]):  # {{_base_.milestones}}
                return self._value(inner)
            case ast.Dict(keys=keys, values=items):
                value = self._mapping(map(_key, keys), items, {})
            case ast.Call():
                value = self._call(node)
            case ast.ListComp(elt=item, generators=[ast.comprehension(target=target, iter=items, ifs=[])]):
                value = self._comprehension(item, target, self._value(items))
            case ast.Name(id="_base_") if self._base is not None:
                return self._base
            case ast.Name(id=name) if name in self._values:
                return self._values[name]
            case ast.Attribute() | ast.Subscript():
                container, key = self._place(node)
                value = None
                if container is not None and _has(container, key):
                    return container[key]
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as op, operand=operand):
                value = _calculated(OPERATORS[type(op)], self._value(operand))
            case ast.BinOp(op=op, left=left, right=right):
                value = _combined(op, self._value(left), self._value(right))
            case _:
                value = None
        return Unreadable(self._source(node)) if value is None else value

    def _call(self, call: ast.Call) -> Any:
        """Return the value of `dict(...)`, `L(Class)(...)` or a known function or class, else None."""
        match call:
            case ast.Call(func=ast.Name(id="dict"), args=[] | [_] as arguments):
                start = self._value(arguments[0]) if arguments else {}
                return self._keywords(call, start) if isinstance(start, dict) else None
            case ast.Call(func=ast.Call(func=ast.Name(id="L" | "LazyCall"), args=[target]), args=[]):
                return self._keywords(call, {"_target_": self._source(target).rpartition(".")[2]})
            case ast.Call(
                func=ast.Name(id="get_config") | ast.Attribute(attr="get_config"),
                args=[ast.Constant(value=str() as name)],
            ):
                return self._of_model_zoo(name)
            case ast.Call(func=ast.Name(id="get_cfg") | ast.Attribute(attr="get_cfg"), args=[]):
                return _Nodes()
            case ast.Call(args=[]) if _DATACLASS.fullmatch(_called_name(call) or ""):
                return self._keywords(call, {"_target_": _called_name(call)})
            case ast.Call(keywords=[]):
                return self._function(_called_name(call), [self._value(node) for node in call.args])
        return None

    def _of_model_zoo(self, name: str) -> dict[str, Any] | None:
        """Return the config that detectron2's `model_zoo` has under a name, if a folder above has it."""
        if self._path is None or Path(name).is_absolute() or ".." in Path(name).parts:
            return None
        folders = [folder / "configs" for folder in self._path.parents[:_MOST_LEVELS]]
        found = next((folder / name for folder in folders if (folder / name).is_file()), None)
        return None if found is None else self._limits.open(found)

    def _function(self, name: str | None, arguments: list[Any]) -> Any:
        match name, arguments:
            case "range", _:
                return _range(arguments)
            case "list" | "tuple" | "deepcopy", [dict() | list() as value]:
                return self._copy(value)
            case "len", [dict() | list() as value]:
                return len(value)
            case ("min" | "max", [_, _, *_]) | ("abs" | "float" | "int" | "round", [_]):
                return _calculated(_FUNCTIONS[str(name)], *arguments)
        return None

    def _keywords(self, call: ast.Call, start: dict[str, Any]) -> dict[str, Any] | None:
        nodes = [keyword.value for keyword in call.keywords]
        return self._mapping((keyword.arg for keyword in call.keywords), nodes, start)

    def _mapping(
        self, names: Iterable[Any], nodes: list[ast.expr], start: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Return a mapping with more items, of which None is the name of `**items`."""
        found = dict(start)
        for name, node in zip(names, nodes, strict=True):
            value = self._value(node)
            if isinstance(name, str):
                found[name] = value
            elif name is None and isinstance(value, dict):
                found |= value
            else:
                return None
        return found

    def _comprehension(self, item: ast.expr, target: ast.expr, items: Any) -> list[Any] | None:
        if not isinstance(items, list):
            return None
        names = [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]
        outside = {name: self._values[name] for name in names if name in self._values}
        found: list[Any] = []
        for value in items:
            self._assign(target, value)
            found.append(self._value(item))
        for name in names:
            self._values.pop(name, None)
        self._values |= outside
        return found


_HARMLESS = ("print", "len", "range", "isinstance", "makedirs")


def merged(base: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Merge as MMEngine does: mappings key by key, unless one replaces it; all else is replaced."""
    found = dict(base)
    for name, value in new.items():
        old = found.get(name)
        if isinstance(value, dict) and isinstance(old, dict) and not any(map(value.get, _REPLACES)):
            found[name] = merged(old, value)
        elif isinstance(value, dict) and not value.keys().isdisjoint(_REPLACES):
            found[name] = {key: item for key, item in value.items() if key not in _REPLACES}
        else:
            found[name] = value
    return found


def _combined(op: ast.operator, left: Any, right: Any) -> Any:
    """Return lists or texts joined, lists repeated, or the result of arithmetic, or None."""
    match op, left, right:
        case ast.Add(), list(), list() if len(left) + len(right) <= _MOST_ITEMS:
            return left + right
        case ast.Add(), str(), str() if len(left) + len(right) <= _LONGEST_SOURCE:
            return left + right
        case ast.Mult(), list(), int() if len(left) * right <= _MOST_ITEMS:
            return left * right
    return _calculated(OPERATORS[type(op)], left, right) if type(op) in OPERATORS else None


def _calculated(function: Callable[..., Any], *operands: Any) -> Any:
    """Return a number that is calculated from numbers, or None."""
    if not all(map(_is_number, operands)):
        return None
    try:
        value = function(*operands)
    except (ArithmeticError, TypeError, ValueError):
        return None
    return value if _is_number(value) and abs(value) < _LARGEST else None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _key(key: ast.expr | None) -> Any:
    """Return the text of a key of a dict, None as that of `**items`, or an expression that is no text."""
    return key.value if isinstance(key, ast.Constant) and isinstance(key.value, str) else key


def _has(container: dict[str, Any] | list[Any], key: Any) -> bool:
    if isinstance(container, dict):
        return key in container
    return -len(container) <= key < len(container)


def _range(values: list[Any]) -> list[int] | None:
    """Return the numbers of a range, unless they are too many or too large."""
    try:
        found = range(*values)
        return list(found) if len(found) <= _MOST_ITEMS and -(2**62) < found.start < 2**62 else None
    except (OverflowError, TypeError, ValueError):
        return None


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


def _module_path(statement: ast.ImportFrom, path: Path) -> Path:
    """Return the file of `from .._base_.schedules import x` or `from .x import *`."""
    folder = path.parent
    for _ in range(statement.level - 1):
        folder = folder.parent
    return folder.joinpath(*(statement.module or "").split(".")).with_suffix(".py")
