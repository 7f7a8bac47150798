"""Python expressions of a recipe, worked out by walking a whitelist of their syntax, never executed."""

import ast
import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr.convert.functions import (
    OPERATORS,
    bounded,
    call,
    constant,
    contains,
    function_name,
    operate,
    where,
)
from jaxlr.convert.lambdas import UNKNOWN, Lambda, Unknown
from jaxlr.convert.source import brief, parsed, shown


# A hostile text must cost milliseconds: this bounds the work and the lists that it can ask for.
_MOST_WORK = 100_000
_SIZED = ("list", "range", "sorted", "tuple")


class Unread(NamedTuple):
    """An assigned expression that has no value, such as the optimizer: an error only where it is used."""

    node: ast.expr
    missing: list[str]
    error: ValueError | None = None


class Reader:
    """Works expressions out, looking up the names in them, and notes each name that it does not know.

    Args:
        names: values of expressions, by their source: `{"epochs": 90, "len(loader)": 391}`.
    """

    def __init__(self, names: Mapping[str, Any]):
        if not isinstance(names, Mapping):
            raise TypeError(f"names must map names to values, such as {{'epochs': 90}}, got {names!r}")
        nodes = {key: _named_by(key) for key in names}
        self.names: dict[str, Any] = {shown(nodes[key]): _plain(key, value) for key, value in names.items()}
        self.assigned: dict[str, Any] = {}
        self.missing: list[str] = []
        self._left = _MOST_WORK
        # Writing out every call to look it up would take a time that grows with the square of the text.
        self._called = {shown(node.func) for node in nodes.values() if isinstance(node, ast.Call)}

    def renewed(self, work: int | None = None) -> "Reader":
        """A reader that knows the same, and may do so much."""
        reader = copy.copy(self)
        reader.missing, reader._left = [], _MOST_WORK if work is None else work
        return reader

    def assigned_value(self, node: ast.expr) -> Any:
        """The value of an expression that may never be used."""
        reader = self.renewed(self._left)
        try:
            value = reader.value(node)
        except ValueError as error:
            return Unread(node, [], error)
        finally:
            self._left = reader._left
        return Unread(node, reader.missing) if reader.missing else value

    def is_value(self, node: ast.expr) -> bool:
        """Whether a name (attribute, item, call) stands for a value of the kinds that are read."""
        if shown(node) in self.names or constant(node) is not None:
            return True
        return isinstance(node, ast.Call) and function_name(node.func) is not None

    def value(self, node: ast.expr, scope: Mapping[str, Any] | None = None) -> Any:
        """The value of an expression, `scope` holding those of lambdas' and comprehensions' variables."""
        scope = scope or {}
        self._spend(1)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return bounded(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return _flat(node, [self.value(element, scope) for element in elements])
            case ast.UnaryOp() | ast.BinOp() | ast.Compare() | ast.BoolOp() | ast.IfExp():
                return self._operation(node, scope)
            case ast.Lambda() if not any(value is UNKNOWN for value in scope.values()):
                return Lambda(node, self, scope)
            case ast.ListComp() | ast.GeneratorExp():
                return self._comprehension(node, scope)
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return self._named(node, scope)
        raise ValueError(f"cannot read {brief(node)}: write numbers, strings, lists, arithmetic and names")

    def _operation(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        match node:
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return self._calculate(node, op, self.value(operand, scope))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in OPERATORS:
                return self._calculate(node, op, self.value(left, scope), self.value(right, scope))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(node, self.value(left, scope), ops, comparators, scope)
            case ast.BoolOp(op=op, values=[*values]):
                return self._either(values, isinstance(op, ast.Or), scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self.value(test, scope), body, orelse, scope)
        raise ValueError(f"cannot read {brief(node)}: write +, -, *, /, //, % and **")

    def _calculate(self, node: ast.expr, op: ast.AST, *operands: Any) -> Any:
        if any(operand is UNKNOWN for operand in operands):
            return UNKNOWN
        lists = [operand for operand in operands if isinstance(operand, list)]
        if lists:
            is_sum = isinstance(op, ast.Add) and len(lists) == 2
            repeats = [operand for operand in operands if type(operand) is int]
            if not is_sum and not (isinstance(op, ast.Mult) and repeats):
                raise ValueError(f"cannot calculate {brief(node)}: lists are joined and repeated")
            self._spend(sum(map(len, lists)) if is_sum else len(lists[0]) * max(repeats[0], 0))
        elif not all(isinstance(operand, int | float | jax.Array) for operand in operands):
            raise ValueError(f"cannot calculate {brief(node)}: arithmetic is read on numbers only")
        return _tried(node, operate, op, *operands)

    def _comparison(
        self,
        node: ast.expr,
        left: Any,
        ops: list[ast.cmpop],
        rest: list[ast.expr],
        scope: Mapping[str, Any],
    ) -> Any:
        right = self.value(rest[0], scope)
        result = self._compared(node, ops[0], left, right)
        if len(ops) == 1:
            return result
        if result is not UNKNOWN and not isinstance(result, jax.Array) and not result:
            return result  # Python looks no further
        others = self._comparison(node, right, ops[1:], rest[1:], scope)
        return UNKNOWN if result is UNKNOWN or others is UNKNOWN else result * others

    def _compared(self, node: ast.expr, op: ast.cmpop, left: Any, right: Any) -> Any:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, list):
            if left is UNKNOWN or any(item is UNKNOWN for item in right):
                return UNKNOWN
            result = contains(right, left)
            return operate(ast.Not(), result) if isinstance(op, ast.NotIn) else result
        if type(op) not in OPERATORS:
            raise ValueError(f"cannot read the comparison {brief(node)}: write <, <=, ==, !=, >=, > or in")
        return self._calculate(node, op, left, right)

    def _either(self, nodes: list[ast.expr], is_or: bool, scope: Mapping[str, Any]) -> Any:
        first, *rest = nodes
        value = self.value(first, scope)
        if not rest:
            return value
        if value is UNKNOWN or isinstance(value, jax.Array):
            other = self._either(rest, is_or, scope)
            return _selected(value, value, other) if is_or else _selected(value, other, value)
        return value if bool(value) == is_or else self._either(rest, is_or, scope)

    def _choice(self, test: Any, body: ast.expr, orelse: ast.expr, scope: Mapping[str, Any]) -> Any:
        if test is UNKNOWN or isinstance(test, jax.Array):
            return _selected(test, self.value(body, scope), self.value(orelse, scope))
        return self.value(body if test else orelse, scope)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, scope: Mapping[str, Any]) -> Any:
        known = len(self.missing)
        scopes = [dict(scope)]
        for generator in node.generators:
            if not isinstance(generator.target, ast.Name) or generator.is_async:
                raise ValueError(f"cannot read {brief(node)}: a comprehension has one variable per for")
            name, inner = generator.target.id, []
            for outer in scopes:
                items = self.value(generator.iter, outer)
                if items is not UNKNOWN and not isinstance(items, list):
                    raise ValueError(f"cannot loop over {brief(generator.iter)}")
                for item in [UNKNOWN] if items is UNKNOWN else items:
                    new = {**outer, name: item}
                    tests = [self.value(condition, new) for condition in generator.ifs]
                    if len(self.missing) == known and any(test is UNKNOWN for test in tests):
                        raise ValueError(f"cannot read {brief(node)}: what it holds depends on the epoch")
                    if all(tests):
                        inner.append(new)
                        self._spend(len(new))
            scopes = inner
        values = [self.value(node.elt, each) for each in scopes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else _flat(node, values)

    def _named(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        name = function_name(node.func) if isinstance(node, ast.Call) else None
        if name is None or not isinstance(node, ast.Call) or shown(node.func) in self._called:
            source = shown(node)
            if source in scope:
                return scope[source]
            if source in self.assigned:
                return self._assigned(source)
            if source in self.names:
                return self.names[source]
        number = constant(node)
        if number is not None:
            return number
        match node:
            case ast.Call(args=arguments, keywords=[]) if name:
                return self._call(node, name, arguments, scope)
            case ast.Subscript(value=items, slice=index) if self._is_list(items, scope):
                return self._item(node, self.value(items, scope), self.value(index, scope))
        return self._miss(shown(node))

    def _assigned(self, source: str) -> Any:
        match self.assigned[source]:
            case Unread(error=ValueError() as error):
                raise error
            case Unread(missing=missing):
                for name in missing:
                    self._miss(name)
                return UNKNOWN
            case value:
                return value

    def _miss(self, source: str) -> Unknown:
        if source not in self.missing:
            self.missing.append(source)
        return UNKNOWN

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr], scope: Mapping[str, Any]) -> Any:
        known = len(self.missing)
        summands = _as_sum(name, arguments)
        values = [self.value(argument, scope) for argument in summands or arguments]
        if name == "len" and len(self.missing) > known:
            # Of len(train_loader) the length is wanted, not the loader.
            self.missing[known:] = [shown(node)]
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        if any(isinstance(value, list) and any(item is UNKNOWN for item in value) for value in values):
            return UNKNOWN
        if name in _SIZED:
            is_range = name == "range" and all(isinstance(value, int) for value in values)
            size = _tried(node, lambda *ends: len(range(*ends)), *values) if is_range else 0
            self._spend(size + sum(len(value) for value in values if isinstance(value, list)))
        return _tried(node, call, "sum" if summands else name, *values)

    def _is_list(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        source = shown(node)
        value = scope.get(source, self.assigned.get(source, self.names.get(source, node)))
        return isinstance(value, list | ast.List | ast.Tuple)

    def _item(self, node: ast.expr, items: Any, index: Any) -> Any:
        if items is UNKNOWN or index is UNKNOWN:
            return UNKNOWN
        if isinstance(index, jax.Array):
            return jnp.stack([jnp.asarray(item, np.float64) for item in items])[index.astype(np.int32)]
        return _tried(node, lambda: items[index])

    def _spend(self, amount: int) -> None:
        self._left -= amount
        if self._left < 0:
            raise ValueError("the scheduler's text asks for too many values and operations")


def _tried(node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
    """The result of a whitelisted function, its failure an error that shows the source."""
    try:
        return function(*operands)
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        reason = "the result is out of range" if isinstance(error, OverflowError) else error
        raise ValueError(f"cannot calculate {brief(node)}: {reason}") from None


def _selected(test: Any, on_true: Any, on_false: Any) -> Any:
    is_unknown = any(value is UNKNOWN for value in (test, on_true, on_false))
    return UNKNOWN if is_unknown else where(test, on_true, on_false)


def _as_sum(name: str, arguments: list[ast.expr]) -> list[ast.expr] | None:
    """A length or sum of what passes a test, as a sum in which the rest counts 0: that compiles."""
    match arguments:
        case [
            ast.ListComp(elt=elt, generators=[generator])
            | ast.GeneratorExp(elt=elt, generators=[generator])
        ] if name in ("len", "sum") and generator.ifs:
            test = ast.BoolOp(ast.And(), generator.ifs) if len(generator.ifs) > 1 else generator.ifs[0]
            counted = ast.IfExp(test, elt if name == "sum" else ast.Constant(1), ast.Constant(0))
            everything = ast.comprehension(generator.target, generator.iter, [], generator.is_async)
            return [ast.ListComp(counted, [everything])]
    return None


def _flat(node: ast.expr, values: list[Any]) -> list[Any]:
    """A list of no lists: of those a short text makes more than a memory holds."""
    if any(isinstance(value, list) for value in values):
        raise ValueError(f"cannot read {brief(node)}: a list in a list")
    return values


def _named_by(key: Any) -> ast.expr:
    try:
        return parsed(key)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"names must be named by expressions such as 'len(loader)', got {key!r}"
        ) from error


def _plain(name: str, value: Any) -> Any:
    """A value of the user's as the reader's kinds: numbers, strings, lists, functions."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str) or callable(value):
        return value
    raise TypeError(f"names[{name!r}] must be a number, a string, a list or a function, got {value!r}")
