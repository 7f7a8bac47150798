"""The expressions and lambdas of a recipe, evaluated by walking their syntax and never executed.

Only a whitelist of syntax is read, and the work is limited, so that a text from an untrusted file is safe.
A lambda becomes a function: on the host it takes an int, on a device a traced array.
"""

import ast
import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shorten, shown_value
from jaxlr.convert.functions import (
    OPERATORS,
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
_SIZED = ("list", "range", "sorted", "tuple")


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
        self.names: dict[str, Any] = {
            source_of(nodes[key]): _plain(key, value) for key, value in names.items()
        }
        self.assigned: dict[str, Any] = {}
        self.missing: list[str] = []
        self._budget = _MOST_WORK
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
        raise ValueError(f"cannot read {quoted(node)}: write numbers, strings, lists, arithmetic and names")

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
        lists = [operand for operand in operands if isinstance(operand, list)]
        if lists:
            is_sum = isinstance(op, ast.Add) and len(lists) == 2
            repeats = [operand for operand in operands if type(operand) is int]
            if not is_sum and not (isinstance(op, ast.Mult) and repeats):
                raise ValueError(f"cannot calculate {quoted(node)}: a list can only be joined or repeated")
            self._spend(sum(map(len, lists)) if is_sum else len(lists[0]) * max(repeats[0], 0))
        elif not all(isinstance(operand, int | float | jax.Array) for operand in operands):
            raise ValueError(f"cannot calculate {quoted(node)}: arithmetic needs numbers")
        return _attempted(node, apply_operator, op, *operands)

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
            if not isinstance(generator.target, ast.Name) or generator.is_async:
                raise ValueError(f"cannot read {quoted(node)}: a comprehension has one variable per for")
            scopes = [
                inner for outer in scopes for inner in self._loop(node, generator, outer, num_missing)
            ]
        values = [self.value(node.elt, each) for each in scopes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else _flat(node, values)

    def _loop(
        self, node: ast.expr, generator: ast.comprehension, scope: Mapping[str, Any], num_missing: int
    ) -> list[dict[str, Any]]:
        """Return the scopes for the items of one `for` of a comprehension that pass its tests."""
        items = self.value(generator.iter, scope)
        if items is not UNKNOWN and not isinstance(items, list):
            raise ValueError(f"cannot loop over {quoted(generator.iter)}")
        scopes: list[dict[str, Any]] = []
        for item in [UNKNOWN] if items is UNKNOWN else items:
            new = {**scope, source_of(generator.target): item}
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
                return self.names[source]
        number = constant(node)
        if number is not None:
            return number
        match node:
            case ast.Call(args=arguments, keywords=[]) if name:
                return self._call(node, name, arguments, scope)
            case ast.Subscript(value=items, slice=index) if self._is_list(items, scope):
                return self._item(node, self.value(items, scope), self.value(index, scope))
        return self._miss(source_of(node))

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
        values = [self.value(argument, scope) for argument in summands or arguments]
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
            self._spend(size + sum(len(value) for value in values if isinstance(value, list)))
        return _attempted(node, apply_function, "sum" if summands else name, *values)

    def _is_list(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        source = source_of(node)
        value = scope.get(source, self.assigned.get(source, self.names.get(source, node)))
        return isinstance(value, list | ast.List | ast.Tuple)

    def _item(self, node: ast.expr, items: Any, index: Any) -> Any:
        if items is UNKNOWN or index is UNKNOWN:
            return UNKNOWN
        if isinstance(index, jax.Array):
            return jnp.stack([jnp.asarray(item, np.float64) for item in items])[index.astype(np.int32)]
        return _attempted(node, lambda: items[index])

    def _spend(self, amount: int) -> None:
        self._budget -= amount
        if self._budget < 0:
            raise ValueError("the scheduler's text asks for too many values and operations")


class Lambda:
    """A lambda of a recipe as a function of the epoch.

    Args:
        node: its syntax.
        evaluator: the evaluator of the text around it.
        scope: values of the variables around it.
    """

    def __init__(self, node: ast.Lambda, evaluator: Evaluator, scope: Mapping[str, Any]):
        self._argument, defaults = _parameters(node)
        self._scope = {name: evaluator.value(value, scope) for name, value in defaults.items()}
        variables = {each.id for each in ast.walk(node.body) if isinstance(each, ast.Name)}
        if late := sorted(variables & set(scope) - {self._argument, *defaults}):
            # Python looks such a variable up when the function is called, after the loop has ended.
            better = f"lambda {self._argument}, {late[0]}={late[0]}: ..."
            raise ValueError(f"cannot read {quoted(node)}: write {better}")
        self._evaluator, self._body = evaluator, node.body
        # Evaluated once for an unknown epoch, so that errors and missing names are reported at once.
        evaluator.value(node.body, {**self._scope, self._argument: UNKNOWN})

    def __repr__(self) -> str:
        return shorten(self.source)

    @property
    def source(self) -> str:
        """The lambda as Python text in which the names are replaced by their values."""
        values = {**self._evaluator.names, **self._evaluator.assigned, **self._scope}
        body = _Inlined(values, {self._argument}).visit(copy.deepcopy(self._body))
        return f"lambda {self._argument}: {ast.unparse(body)}"

    @property
    def is_arithmetic(self) -> bool:
        """True if JAX can trace `source` as it stands: it has no call, condition or comparison."""
        kinds = ast.Call | ast.IfExp | ast.BoolOp | ast.Compare | ast.Subscript | ast.Attribute | ast.Not
        return not any(isinstance(node, kinds) for node in ast.walk(parse_expression(self.source)))

    @property
    def is_constant(self) -> bool:
        """True if the lambda does not use its argument."""
        names = (node.id for node in ast.walk(self._body) if isinstance(node, ast.Name))
        return self._argument not in names

    def __call__(self, count: Any) -> Any:
        """Return the value at an epoch. For a JAX array it is computed in float64."""
        is_traced = isinstance(count, jax.Array)
        evaluator = self._evaluator.with_budget(_MOST_COMPILED if is_traced else _MOST_WORK)
        try:
            if is_traced:
                with jax.enable_x64(True):
                    scope = {**self._scope, self._argument: count.astype(np.float64)}
                    return jnp.asarray(evaluator.value(self._body, scope))
            value = evaluator.value(self._body, {**self._scope, self._argument: count})
        except ValueError as error:
            place = "" if is_traced else f" at {count}"
            raise ValueError(f"{shorten(self.source)!r}{place}: {error}") from None
        if not isinstance(value, int | float):
            raise TypeError(f"{shorten(self.source)!r} must return a number, got {shown_value(value)}")
        return value


class _Inlined(ast.NodeTransformer):
    """Replaces names by their values, so that a lambda's text does not depend on the text around it."""

    def __init__(self, values: Mapping[str, Any], bound: set[str]):
        self._values, self._bound = values, bound

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            inside = self._bound | {source_of(generator.target) for generator in node.generators}
            if inside != self._bound:
                return _Inlined(self._values, inside).generic_visit(node)
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


def _parameters(node: ast.Lambda) -> tuple[str, dict[str, ast.expr]]:
    """Return the name of the epoch, and the defaults of the other parameters."""
    match node.args:
        case ast.arguments(posonlyargs=[], args=[first, *rest], vararg=None, kwonlyargs=[], kwarg=None) if (
            len(rest) == len(node.args.defaults)
        ):
            names = (parameter.arg for parameter in rest)
            return first.arg, dict(zip(names, node.args.defaults, strict=True))
    raise ValueError(f"cannot read {quoted(node)}: a lambda must take one argument, the epoch")


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


def _flat(node: ast.expr, values: list[Any]) -> list[Any]:
    """Refuse a list of lists: a short text could make one that fills the memory."""
    if any(isinstance(value, list) for value in values):
        raise ValueError(f"cannot read {quoted(node)}: a list must not contain lists")
    return values


def _parsed_name(key: Any) -> ast.expr:
    try:
        return parse_expression(key)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"each key of names must be an expression such as 'len(loader)', got {key!r}"
        ) from error


def _plain(name: str, value: Any) -> Any:
    """Convert a value of the user's to a kind that is evaluated: number, string, list or function."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list | tuple | range):
        return [_plain(name, item) for item in value]
    if value is None or isinstance(value, bool | int | float | str) or callable(value):
        return value
    raise TypeError(f"names[{name!r}] must be a number, a string, a list or a function, got {value!r}")
