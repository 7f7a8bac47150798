"""The expressions and lambdas of a recipe, evaluated by walking their syntax and never executed.

Only a whitelist of syntax is read, and the work is limited, so that a text from an untrusted file is safe.
A lambda becomes a function: on the host it takes an int, on a device a traced array.
"""

import ast
import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shorten, shown_value
from jaxlr.convert.functions import (
    OPERATORS,
    PARAMETERS,
    Array,
    apply_function,
    apply_operator,
    bounded,
    constant,
    contains,
    function_name,
    where,
)
from jaxlr.convert.syntax import is_literal, literal, parse_expression, quoted, source_of


# A hostile text must cost milliseconds: this bounds the operations and the lists that it can ask for.
_MOST_WORK = 100_000
# Each operation on a traced epoch is compiled, which costs much more.
_MOST_COMPILED = 2_000
_SIZED = ("enumerate", "list", "range", "reversed", "sorted", "tuple", "zip", "np.array")
_MOST_CALLS = 30  # of functions of the text in each other
_MOST_NESTED = 4  # lists in each other


class Unknown:
    """The value of a name that has no value yet, and of every expression that contains it."""


UNKNOWN = Unknown()


class Unevaluated(NamedTuple):
    """An assigned expression without a value, such as the optimizer: an error only where it is used."""

    node: ast.expr
    missing: list[str]
    error: ValueError | None = None


class Evaluator:
    """Evaluates expressions, and collects in `missing` the names that it has no value for.

    Args:
        names: values of expressions, by their source: `{"epochs": 90, "len(loader)": 391}`.
    """

    def __init__(self, names: Mapping[str, Any]):
        if not isinstance(names, Mapping):
            raise TypeError(f"names must map names to values, such as {{'epochs': 90}}, got {names!r}")
        nodes = {key: _parsed_name(key) for key in names}
        self.names: dict[str, Any] = {source_of(nodes[key]): _plain(value) for key, value in names.items()}
        self.assigned: dict[str, Any] = {}
        self.missing: list[str] = []
        self.missing_functions: set[str] = set()
        self.construct: Callable[[ast.Call, Mapping[str, Any]], Any] = lambda call, scope: None
        self._budget = _MOST_WORK
        self._depth = 0
        # Only these calls can be names. To unparse every call would take time quadratic in the text.
        self._named_calls = {source_of(node.func) for node in nodes.values() if isinstance(node, ast.Call)}

    def with_budget(self, budget: int = _MOST_WORK) -> "Evaluator":
        """Return a copy with the same values, no missing names, and a budget of its own."""
        evaluator = copy.copy(self)
        evaluator.missing, evaluator._budget = [], budget
        return evaluator

    def value_if_any(self, node: ast.expr) -> Any:
        """Return the value of an expression that may never be used, or an `Unevaluated`."""
        evaluator = self.with_budget(self._budget)
        try:
            value = evaluator.value(node)
        except ValueError as error:
            return Unevaluated(node, [], error)
        finally:
            self._budget = evaluator._budget
        return Unevaluated(node, evaluator.missing) if evaluator.missing else value

    def has_value(self, node: ast.expr) -> bool:
        """Check if a name, attribute, item or call is one that `value` can evaluate."""
        if source_of(node) in self.names or constant(node) is not None:
            return True
        return isinstance(node, ast.Call) and function_name(node.func) is not None

    def value(self, node: ast.expr, scope: Mapping[str, Any] | None = None) -> Any:
        """Return the value of an expression.

        Args:
            node: the expression.
            scope: values of the variables of lambdas and comprehensions around it.

        Raises:
            ValueError: the expression cannot be read or calculated.
        """
        scope = scope or {}
        self._spend(1)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return bounded(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return self._listed(node, self.items(elements, scope))
            case ast.Dict(keys=keys, values=values):
                return self._mapping(node, keys, values, scope)
            case ast.UnaryOp() | ast.BinOp() | ast.Compare() | ast.BoolOp() | ast.IfExp():
                return self._operation(node, scope)
            case ast.Lambda() if not any(value is UNKNOWN for value in scope.values()):
                return Lambda(node, self, scope)
            case ast.Lambda() if isinstance(scope, Frame):
                return UNKNOWN
            case ast.ListComp() | ast.GeneratorExp():
                return self._comprehension(node, scope)
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return self._named(node, scope)
        raise ValueError(f"cannot read {quoted(node)}: write numbers, strings, lists, arithmetic and names")

    def items(self, nodes: list[ast.expr], scope: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the values of arguments or elements, of which `*values` are several."""
        values: list[Any] = []
        for node in nodes:
            if not isinstance(node, ast.Starred):
                values.append(self.value(node, scope))
                continue
            if not self.is_known(node.value, scope or {}):
                raise ValueError(f"cannot read {quoted(node)}: write the arguments out")
            several = self.value(node.value, scope)
            if not isinstance(several, list):
                raise ValueError(f"cannot read {quoted(node)}: it is not a list with known items")
            values += several
        return values

    def _listed(self, node: ast.expr, values: list[Any]) -> list[Any]:
        self._spend(_size(values))
        if _depth(values) > _MOST_NESTED:
            raise ValueError(f"cannot read {quoted(node)}: the lists in it are nested too deeply")
        return values

    def _mapping(
        self, node: ast.expr, keys: list[ast.expr | None], values: list[ast.expr], scope: Mapping[str, Any]
    ) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            found = self.value(value, scope)
            if key is None and isinstance(found, dict):  # {**defaults, "gamma": 0.5}
                result |= found
                continue
            name = UNKNOWN if key is None else self.value(key, scope)
            if not isinstance(name, str | int | float | None):
                raise ValueError(f"cannot read {quoted(node)}: its keys must be known numbers or strings")
            result[name] = found
        self._listed(node, list(result.values()))
        return result

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
        raise ValueError(f"cannot read {quoted(node)}: write +, -, *, /, //, % and **")

    def _calculate(self, node: ast.expr, op: ast.AST, *operands: Any) -> Any:
        if any(operand is UNKNOWN for operand in operands):
            return UNKNOWN
        if any(isinstance(operand, Array) for operand in operands):
            return self._calculate_items(node, op, *operands)
        lists = [operand for operand in operands if isinstance(operand, list)]
        if lists:
            is_sum = isinstance(op, ast.Add) and len(lists) == 2
            repeats = [operand for operand in operands if type(operand) is int]
            if not is_sum and not (isinstance(op, ast.Mult) and repeats):
                raise ValueError(f"cannot calculate {quoted(node)}: a list can only be joined or repeated")
            self._spend(sum(map(_size, lists)) if is_sum else _size(lists[0]) * max(repeats[0], 0))
        elif not all(isinstance(operand, int | float | jax.Array) for operand in operands):
            raise ValueError(f"cannot calculate {quoted(node)}: arithmetic needs numbers")
        return _attempted(node, apply_operator, op, *operands)

    def _calculate_items(self, node: ast.expr, op: ast.AST, *operands: Any) -> Array:
        """Calculate with each item of the arrays, as NumPy does."""
        lengths = {len(operand) for operand in operands if isinstance(operand, list)}
        if len(lengths) != 1:
            raise ValueError(f"cannot calculate {quoted(node)}: its arrays have different lengths")
        length = lengths.pop()
        self._spend(length)
        columns = [list(each) if isinstance(each, list) else [each] * length for each in operands]
        return Array(self._calculate(node, op, *items) for items in zip(*columns, strict=True))

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
            return result  # like Python, which does not evaluate the rest then
        others = self._comparison(node, right, ops[1:], rest[1:], scope)
        return UNKNOWN if result is UNKNOWN or others is UNKNOWN else result * others

    def _compared(self, node: ast.expr, op: ast.cmpop, left: Any, right: Any) -> Any:
        if isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) and not _are_numbers(left, right):
            if left is UNKNOWN or right is UNKNOWN:
                return UNKNOWN
            is_same = left is right if isinstance(op, ast.Is | ast.IsNot) else _are_equal(left, right)
            return is_same == isinstance(op, ast.Is | ast.Eq)
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, str | dict) and left is not UNKNOWN:
            if isinstance(right, str) and not isinstance(left, str):
                raise ValueError(f"cannot calculate {quoted(node)}: only text can be in a text")
            is_in = bool(contains(list(right), left) if isinstance(right, dict) else left in right)
            return is_in == isinstance(op, ast.In)
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, list):
            if left is UNKNOWN or any(item is UNKNOWN for item in right):
                return UNKNOWN
            result = contains(right, left)
            return apply_operator(ast.Not(), result) if isinstance(op, ast.NotIn) else result
        if type(op) not in OPERATORS:
            raise ValueError(f"cannot read the comparison {quoted(node)}: write <, <=, ==, !=, >=, > or in")
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
        num_missing = len(self.missing)
        scopes = [dict(scope)]
        for generator in node.generators:
            if generator.is_async:
                raise ValueError(f"cannot read {quoted(node)}: write a for without async")
            scopes = [
                inner for outer in scopes for inner in self._loop(node, generator, outer, num_missing)
            ]
        values = [self.value(node.elt, each) for each in scopes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else self._listed(node, values)

    def _loop(
        self, node: ast.expr, generator: ast.comprehension, scope: Mapping[str, Any], num_missing: int
    ) -> list[dict[str, Any]]:
        """Return the scopes for the items of one `for` of a comprehension that pass its tests."""
        items = self.value(generator.iter, scope)
        items = list(items) if isinstance(items, dict) else items
        if items is not UNKNOWN and not isinstance(items, list):
            raise ValueError(f"cannot loop over {quoted(generator.iter)}")
        scopes: list[dict[str, Any]] = []
        for item in [UNKNOWN] if items is UNKNOWN else items:
            new = {**scope, **unpacked(generator.target, item)}
            tests = [self.value(condition, new) for condition in generator.ifs]
            # A test is unknown because a name is missing, or because it depends on a lambda's argument.
            if len(self.missing) == num_missing and any(test is UNKNOWN for test in tests):
                raise ValueError(f"cannot read {quoted(node)}: its length depends on the epoch")
            if all(tests):
                scopes.append(new)
                self._spend(len(new))
        return scopes

    def _named(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        name = function_name(node.func) if isinstance(node, ast.Call) else None
        if name is None or not isinstance(node, ast.Call) or source_of(node.func) in self._named_calls:
            source = source_of(node)
            if source in scope:
                return scope[source]
            if source in self.assigned:
                return self._assigned(source)
            if source in self.names:
                return self._given(node, source, scope)
        number = constant(node)
        if number is not None:
            return number
        match node:
            case ast.Call():
                return self._called(node, name, scope)
            case ast.Subscript(value=items, slice=index) if self.is_known(items, scope):
                return self._item(node, self.value(items, scope), index, scope)
            case ast.Attribute(value=owner, attr=attribute) if self.is_known(owner, scope):
                return self._attribute(node, self.value(owner, scope), attribute)
        return self._miss_in(node, scope)

    def is_known(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        """Check if a list, a mapping or an object is known, so that its items can be looked up."""
        match node:
            case ast.List() | ast.Tuple() | ast.Dict() | ast.ListComp() | ast.Constant(value=str()):
                return True
            case ast.BinOp(left=left, right=right):
                return self.is_known(left, scope) or self.is_known(right, scope)
        source = source_of(node)
        if source in scope or source in self.names:
            return True
        if source in self.assigned:
            return not isinstance(self.assigned[source], Unevaluated)
        match node:
            case ast.Attribute(value=owner) | ast.Subscript(value=owner):
                return self.is_known(owner, scope)
            case ast.Call(func=ast.Attribute(value=owner) as func):
                return function_name(func) is not None or self.is_known(owner, scope)
            case ast.Call(func=func):
                return function_name(func) is not None or self.is_known(func, scope)
        return False

    def _given(self, node: ast.expr, source: str, scope: Mapping[str, Any]) -> Any:
        value = self.names[source]
        bound = _names_in(node) & scope.keys()
        if isinstance(node, ast.Call) and bound:
            function, variable = source_of(node.func), min(bound)
            raise ValueError(
                f"names gives one value for {quoted(node)}, which depends on {variable!r}: write "
                f"'def {function}({variable}): ...' before the scheduler, or give the function itself, as "
                f"names={{{function!r}: ...}} in Python"
            )
        return value

    def _called(self, node: ast.Call, name: str | None, scope: Mapping[str, Any]) -> Any:
        constructed = self.construct(node, scope)
        if constructed is not None:
            return constructed
        if name is None or source_of(node.func) in {*scope, *self.assigned, *self.names}:
            match node.func:
                case ast.Name() | ast.Attribute() | ast.Subscript() as func if self.is_known(func, scope):
                    if not isinstance(func, ast.Attribute) or self._is_value(func, scope):
                        return self._apply(node, self.value(func, scope), scope)
                    return self._method(node, func, scope)
                case ast.Attribute(value=owner) as func if self.is_known(owner, scope):
                    return self._method(node, func, scope)
                case ast.Name(id="map") if len(node.args) == 2 and not node.keywords:
                    return self._map(node, scope)
                case ast.Name(id="getattr") if len(node.args) >= 2 and self.is_known(node.args[0], scope):
                    return self._getattr(node, scope)
                case ast.Name(id="dict") if not node.args:
                    keys: list[ast.expr | None] = [
                        None if each.arg is None else ast.Constant(each.arg) for each in node.keywords
                    ]
                    return self._mapping(node, keys, [each.value for each in node.keywords], scope)
        if name and (arguments := _in_order(name, node)) is not None:
            return self._call(node, name, arguments, scope)
        return self._miss_in(node, scope)

    def _is_value(self, func: ast.Attribute, scope: Mapping[str, Any]) -> bool:
        """Check if an attribute is a value of its own, and not a method of a list or a text."""
        return source_of(func) in {*scope, *self.assigned, *self.names} or not (
            isinstance(self.value(func.value, scope), list | dict | str)
        )

    def _apply(self, node: ast.Call, function: Any, scope: Mapping[str, Any]) -> Any:
        """Call a function of the text, or one that the user has given."""
        positional = self.items(node.args, scope)
        by_name = {str(each.arg): self.value(each.value, scope) for each in node.keywords}
        if function is UNKNOWN:
            return UNKNOWN
        if isinstance(function, Lambda):
            self._spend(1)
            inner = self.with_budget(self._budget)
            inner.missing, inner._depth = self.missing, self._depth + 1
            if inner._depth > _MOST_CALLS:
                raise ValueError(f"cannot read {quoted(node)}: its functions call each other too deeply")
            result = function.evaluate(inner, positional, by_name)
            self._budget = inner._budget
            return result
        if not callable(function) or isinstance(function, type):
            raise ValueError(f"cannot read {quoted(node)}: {source_of(node.func)!r} is not a function")
        if any(value is UNKNOWN for value in [*positional, *by_name.values()]):
            return UNKNOWN
        return called_python(source_of(node.func), function, positional, by_name)

    def _method(self, node: ast.Call, func: ast.Attribute, scope: Mapping[str, Any]) -> Any:
        owner = self.value(func.value, scope)
        arguments = [] if func.attr == "astype" else self.items(node.args, scope)
        if owner is UNKNOWN or any(argument is UNKNOWN for argument in arguments):
            return UNKNOWN
        match owner, func.attr:
            case dict(), "get" if 1 <= len(arguments) <= 2:
                return owner.get(*arguments)
            case dict(), "keys" | "values" | "items" if not arguments:
                entries = {
                    "keys": owner.keys(),
                    "values": owner.values(),
                    "items": map(list, owner.items()),
                }
                return list(entries[func.attr])
            case list(), "tolist" | "copy" if not arguments:
                return list(owner)
            case list(), "index" | "count":
                return _attempted(node, getattr(list(owner), func.attr), *arguments)
            case Array(), "astype" if len(node.args) == 1:
                is_int = source_of(node.args[0]).rpartition(".")[2].startswith("int")
                return Array(int(item) if is_int else float(item) for item in owner)
            case str(), "split" | "strip" | "lower" | "upper" | "startswith" | "endswith":
                return _attempted(node, getattr(owner, func.attr), *arguments)
        raise ValueError(f"cannot read the call {quoted(node)}")

    def _map(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        """Return the values of `map(f, items)`, evaluated as `[f(item) for item in items]`."""
        function, items = node.args
        target = ast.Name("_item", ast.Load())
        each = ast.comprehension(ast.Name("_item", ast.Store()), items, [], 0)
        return self._comprehension(ast.ListComp(ast.Call(function, [target], []), [each]), scope)

    def _getattr(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        owner, attribute, *default = self.items(node.args, scope)
        if owner is UNKNOWN or attribute is UNKNOWN:
            return UNKNOWN
        found = _attribute_of(owner, attribute)
        if found is _ABSENT and default:
            return default[0]
        return self._attribute(node, owner, attribute)

    def _attribute(self, node: ast.expr, owner: Any, attribute: Any) -> Any:
        if owner is UNKNOWN:
            return UNKNOWN
        value = _attribute_of(owner, attribute)
        if value is _ABSENT:
            raise ValueError(f"cannot read {quoted(node)}: the value before the dot has no such attribute")
        return _plain(value)

    def _miss_in(self, node: ast.expr, scope: Mapping[str, Any]) -> Unknown:
        """Record the unknown part of an expression. If a variable is in it, that is its function."""
        bound = _names_in(node) & scope.keys()
        if not bound:
            return self._miss(source_of(node))
        match node:
            case ast.Call(func=func) if not _names_in(func) & bound:
                self.missing_functions.add(source_of(func))
                self._miss(source_of(func))
                for argument in [*node.args, *(each.value for each in node.keywords)]:
                    self.value(argument, scope)
                return UNKNOWN
            case ast.Subscript(value=items, slice=index) if not _names_in(items) & bound:
                self.value(index, scope)
                return self._miss(source_of(items))
        raise ValueError(f"cannot read {quoted(node)}: write numbers, strings, lists, arithmetic and names")

    def _assigned(self, source: str) -> Any:
        match self.assigned[source]:
            case Unevaluated(error=ValueError() as error):
                raise error
            case Unevaluated(missing=missing):
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
        values = self.items(summands or arguments, scope)
        if name == "len" and len(self.missing) > known:
            # For len(train_loader) the user can give the length, but not the loader.
            self.missing[known:] = [source_of(node)]
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        if any(isinstance(value, list) and any(item is UNKNOWN for item in value) for value in values):
            return UNKNOWN
        if name in _SIZED:
            is_range = name == "range" and all(isinstance(value, int) for value in values)
            size = _attempted(node, lambda *ends: len(range(*ends)), *values) if is_range else 0
            self._spend(size + sum(_size(value) for value in values if isinstance(value, list)))
            values = [list(value) if isinstance(value, dict) else value for value in values]
            if name in ("zip", "enumerate"):
                return _attempted(node, lambda: list(map(list, apply_function(name, *values))))
        if name == "len" and not summands and not isinstance(values[0], jax.Array):
            return _attempted(node, len, *values)
        return _attempted(node, apply_function, "sum" if summands else name, *values)

    def _item(self, node: ast.expr, items: Any, index: ast.expr, scope: Mapping[str, Any]) -> Any:
        if isinstance(index, ast.Slice):
            ends = [
                None if end is None else self.value(end, scope)
                for end in (index.lower, index.upper, index.step)
            ]
            if items is UNKNOWN or any(end is UNKNOWN for end in ends):
                return UNKNOWN
            return _attempted(node, lambda: items[slice(*ends)])
        key = self.value(index, scope)
        if items is UNKNOWN or key is UNKNOWN:
            return UNKNOWN
        if isinstance(key, jax.Array):
            return _traced_item(items, key)
        return _plain(_attempted(node, lambda: items[key]))

    def _spend(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise ValueError("the scheduler's text asks for too many values and operations")


class Frame(dict[str, Any]):
    """The variables of a function that is being called. A function in it reads them when it is called."""


class Lambda:
    """A lambda of a recipe as a function of the epoch.

    Args:
        node: its syntax.
        evaluator: the evaluator of the text around it.
        scope: values of the variables around it.
    """

    def __init__(self, node: ast.Lambda | ast.FunctionDef, evaluator: Evaluator, scope: Mapping[str, Any]):
        self.parameters: list[str]
        self.parameters, defaults = _parameters(node)
        self._scope = {name: evaluator.value(value, scope) for name, value in defaults.items()}
        self._outer = scope if isinstance(scope, Frame) else {}
        self._evaluator, self._node = evaluator, node
        if isinstance(node, ast.FunctionDef):
            return
        variables = _names_in(node.body)
        if late := sorted(variables & set(scope) - {*self.parameters} - set(self._outer)):
            # Python looks such a variable up when the function is called, after the loop has ended.
            better = f"lambda {self._argument}, {late[0]}={late[0]}: ..."
            raise ValueError(f"cannot read {quoted(node)}: write {better}")
        self.check()

    def __repr__(self) -> str:
        return self.source

    @property
    def _argument(self) -> str:
        return self.parameters[0]

    def check(self) -> None:
        """Evaluate it for an unknown epoch, so that errors and missing names are reported at once."""
        unknown = dict.fromkeys((name for name in self.parameters if name not in self._scope), UNKNOWN)
        first = self.parameters[:1]
        self.evaluate(self._evaluator, [], {**unknown, **dict.fromkeys(first, UNKNOWN)})

    def check_takes_epoch(self) -> None:
        """Refuse a function of several arguments where one of the epoch is needed."""
        required = [name for name in self.parameters if name not in self._scope]
        if not self.parameters or len(required) > 1:
            raise ValueError(
                f"cannot read {quoted(self._node)}: a function must take one argument, the epoch"
            )

    def bound(self, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Frame:
        """Return the variables of a call."""
        given = dict(zip(self.parameters, positional, strict=False))
        frame = Frame({**self._outer, **self._scope, **given, **by_name})
        absent = [name for name in self.parameters if name not in frame]
        if absent or len(positional) > len(self.parameters) or by_name.keys() - set(self.parameters):
            raise ValueError(f"{shorten(self.source)!r} is called with the wrong arguments")
        return frame

    def evaluate(self, evaluator: Evaluator, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
        """Return the result of a call, calculated by an evaluator."""
        assert isinstance(self._node, ast.Lambda)
        return evaluator.value(self._node.body, self.bound(positional, by_name))

    @property
    def source(self) -> str:
        """The lambda as Python text in which the names are replaced by their values."""
        assert isinstance(self._node, ast.Lambda)
        values = {**self._evaluator.names, **self._evaluator.assigned, **self._outer, **self._scope}
        rest = {name for name in self.parameters if name not in self._scope}
        body = Inlined(values, rest | {self._argument}).visit(copy.deepcopy(self._node.body))
        return f"lambda {', '.join(name for name in self.parameters if name in rest)}: {ast.unparse(body)}"

    @property
    def is_arithmetic(self) -> bool:
        """True if JAX can trace `source` as it stands: it has no call, condition or comparison."""
        kinds = ast.Call | ast.IfExp | ast.BoolOp | ast.Compare | ast.Subscript | ast.Attribute | ast.Not
        return not any(isinstance(node, kinds) for node in ast.walk(parse_expression(self.source)))

    @property
    def is_constant(self) -> bool:
        """True if the lambda does not use its argument."""
        return self._argument not in {name for each in _body(self._node) for name in _names_in(each)}

    @property
    def needs_table(self) -> bool:
        """True if JAX cannot trace it."""
        try:
            jax.eval_shape(self, jax.ShapeDtypeStruct((), np.int32))
        except (ValueError, TypeError, ArithmeticError):
            return True
        return False

    @property
    def is_pure(self) -> bool:
        """True if its values depend on the epoch alone and JAX can trace it."""
        return all(map(_is_plain, self._evaluator.names.values())) and not self.needs_table

    def __call__(self, count: Any) -> Any:
        """Return the value at an epoch. For a JAX array it is computed in float64."""
        is_traced = isinstance(count, jax.Array)
        evaluator = self._evaluator.with_budget(_MOST_COMPILED if is_traced else _MOST_WORK)
        try:
            if is_traced:
                with jax.enable_x64(True):
                    result = self.evaluate(evaluator, [count.astype(np.float64)], {})
                    return jnp.asarray(result)
            value = self.evaluate(evaluator, [count], {})
        except ValueError as error:
            place = "" if is_traced else f" at {count}"
            raise ValueError(f"{shorten(self.source)!r}{place}: {error}") from None
        except RecursionError:
            raise ValueError(f"{shorten(self.source)!r} is nested too deeply to be read") from None
        if not isinstance(value, int | float):
            raise TypeError(f"{shorten(self.source)!r} must return a number, got {shown_value(value)}")
        return value


def _body(node: ast.Lambda | ast.FunctionDef) -> list[Any]:
    return node.body if isinstance(node, ast.FunctionDef) else [node.body]


class Inlined(ast.NodeTransformer):
    """Replaces names by their values, so that a lambda's text does not depend on the text around it."""

    def __init__(self, values: Mapping[str, Any], bound: set[str]):
        self._values, self._bound = values, bound

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            inside = self._bound | {source_of(generator.target) for generator in node.generators}
            if inside != self._bound:
                return Inlined(self._values, inside).generic_visit(node)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            source = source_of(node)
            if source in self._bound or isinstance(getattr(node, "ctx", None), ast.Store):
                return node
            if is_literal(self._values.get(source)):
                return parse_expression(literal(self._values[source]))
            number = constant(node)
            if number is not None:
                return parse_expression(literal(number))
        return super().generic_visit(node)


def _parameters(node: ast.Lambda | ast.FunctionDef) -> tuple[list[str], dict[str, ast.expr]]:
    """Return the names of the parameters, and the defaults of those that have one."""
    match node.args:
        case ast.arguments(posonlyargs=[], args=[*args], vararg=None, kwonlyargs=[], kwarg=None):
            names, defaults = [parameter.arg for parameter in args], node.args.defaults
            with_default = names[len(names) - len(defaults) :]
            return names, dict(zip(with_default, defaults, strict=True))
    raise ValueError(f"cannot read {quoted(node)}: a function must take one argument, the epoch")


def _attempted(node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
    """Call a function. If it fails, raise an error that shows the source."""
    try:
        return function(*operands)
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        reason = "the result is out of range" if isinstance(error, OverflowError) else error
        raise ValueError(f"cannot calculate {quoted(node)}: {reason}") from None


def _selected(test: Any, on_true: Any, on_false: Any) -> Any:
    is_unknown = any(value is UNKNOWN for value in (test, on_true, on_false))
    return UNKNOWN if is_unknown else where(test, on_true, on_false)


def _as_sum(name: str, arguments: list[ast.expr]) -> list[ast.expr] | None:
    """Rewrite `len([x for x in xs if test])` as the sum of `[1 if test else 0 for x in xs]`.

    The length of the new list does not depend on a test of the epoch, so it can be traced. `sum` is
    rewritten in the same way.
    """
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


def _parsed_name(key: Any) -> ast.expr:
    try:
        return parse_expression(key)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"each key of names must be an expression such as 'len(loader)', got {key!r}"
        ) from error


def _plain(value: Any) -> Any:
    """Convert a value of the user's to a kind that is evaluated. Other objects stay as they are."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return (
            type(value)(map(_plain, value))
            if isinstance(value, Array)
            else [_plain(each) for each in value]
        )
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _is_plain(value: Any) -> bool:
    """Check if a value from `_plain` is one that cannot change later."""
    if isinstance(value, list | dict):
        return all(map(_is_plain, value.values() if isinstance(value, dict) else value))
    return value is None or isinstance(value, bool | int | float | str)


def unpacked(target: ast.expr, value: Any) -> dict[str, Any]:
    """Return the values of the names in a target such as `(start, factor)`."""
    if isinstance(target, ast.Tuple | ast.List):
        values = [UNKNOWN] * len(target.elts) if value is UNKNOWN else value
        if not isinstance(values, list) or len(values) != len(target.elts):
            raise ValueError(f"cannot read {quoted(target)}: it does not have as many names as values")
        pairs = zip(target.elts, values, strict=True)
        return {name: item for each, one in pairs for name, item in unpacked(each, one).items()}
    if not isinstance(target, ast.Name | ast.Attribute):
        raise ValueError(f"cannot read {quoted(target)}: a variable must be a name")
    return {source_of(target): value}


def called_python(name: str, function: Any, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
    """Call a Python function. If JAX cannot trace it, raise an error with the way out."""
    try:
        return _plain(function(*positional, **by_name))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        raise ValueError(
            f"JAX cannot trace the function {shorten(name)!r}: give num_steps, so that its values are "
            "tabulated, or pass the schedule to jaxlr.tabulate"
        ) from None


_ABSENT = object()


def _attribute_of(owner: Any, attribute: Any) -> Any:
    """Return an attribute that is stored in an object, without running any of its code."""
    if not isinstance(attribute, str) or attribute.startswith("_"):
        return _ABSENT
    if isinstance(owner, Mapping):
        return owner.get(attribute, _ABSENT)
    if owner is None or isinstance(owner, bool | int | float | str | list | jax.Array | Lambda):
        return _ABSENT
    value = inspect.getattr_static(owner, attribute, _ABSENT)
    return _ABSENT if hasattr(type(value), "__get__") else value


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float | jax.Array) or value is UNKNOWN for value in values)


def _are_equal(left: Any, right: Any) -> bool:
    if isinstance(left, jax.Array) or isinstance(right, jax.Array):
        return False  # a number is not a text, a list or None
    return bool(left == right)


def _traced_item(items: Any, key: jax.Array) -> Any:
    """Look up an index or a key that is traced. A key that is not there gives NaN."""
    if isinstance(items, dict):
        result: Any = jnp.asarray(np.nan, np.float64)
        for each, item in items.items():
            result = where(jnp.equal(key, each), item, result)
        return result
    return jnp.stack([jnp.asarray(item, np.float64) for item in items])[key.astype(np.int32)]


def _names_in(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def _size(value: Any) -> int:
    """Return the number of values in a list, those of the lists in it included, up to the budget."""
    if not isinstance(value, list):
        return 1
    total = 0
    for item in value:
        total += _size(item)
        if total > _MOST_WORK:
            break
    return total


def _depth(value: Any) -> int:
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _in_order(name: str, node: ast.Call) -> list[ast.expr] | None:
    """Return the arguments of a built-in function in their order, or None if one has another name."""
    arguments, names = list(node.args), PARAMETERS.get(name, ())
    for keyword in node.keywords:
        if len(arguments) >= len(names) or keyword.arg != names[len(arguments)]:
            return None
        arguments.append(keyword.value)
    return arguments
