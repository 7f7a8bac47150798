"""Python expressions of a recipe, worked out by walking a whitelist of their syntax, never executed."""

import ast
import copy
import functools
import math
import operator
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Unknown:
    """The value of a name that nobody has given, and of all that is made of it."""


UNKNOWN = Unknown()

# A hostile text must cost milliseconds: these bound the work, the lists and the integers it can ask for.
_MOST_WORK = 100_000
_LARGEST_INTEGER = 2**63
_LARGEST_EXPONENT = 64

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_MODULES = ("math", "np", "numpy", "torch")
_CONSTANTS = {"pi": math.pi, "e": math.e, "tau": math.tau, "inf": math.inf}
_FUNCTIONS = (
    *("acos", "asin", "atan", "atan2", "cbrt", "ceil", "copysign", "cos", "cosh", "degrees", "exp"),
    *("exp2", "expm1", "fabs", "floor", "fmod", "hypot", "log", "log10", "log1p", "log2", "pow"),
    *("radians", "sin", "sinh", "sqrt", "tan", "tanh", "trunc"),
)
_BUILTINS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (abs, bool, float, int, len, list, max, min, pow, range, round, sorted, sum, tuple)
}
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
        self.names = {_normal(key): _plain(key, value) for key, value in names.items()}
        self.assigned: dict[str, Any] = {}
        self.missing: list[str] = []
        self._work = 0

    def renewed(self) -> "Reader":
        """A reader that knows the same, and has its work before it."""
        reader = copy.copy(self)
        reader.missing, reader._work = [], 0
        return reader

    def assigned_value(self, node: ast.expr) -> Any:
        """The value of an expression that may never be used."""
        reader = self.renewed()
        reader._work = self._work
        try:
            value = reader.value(node)
        except ValueError as error:
            return Unread(node, [], error)
        finally:
            self._work = reader._work
        return Unread(node, reader.missing) if reader.missing else value

    def is_value(self, node: ast.expr) -> bool:
        """Whether a name (attribute, item, call) stands for a value of the kinds that are read."""
        if shown(node) in self.names or _constant(node) is not None:
            return True
        return isinstance(node, ast.Call) and _function_name(node.func) is not None

    def value(self, node: ast.expr, scope: Mapping[str, Any] | None = None) -> Any:
        """The value of an expression, `scope` holding those of lambdas' and comprehensions' variables."""
        scope = scope or {}
        self._spend(1)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return value
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
        raise ValueError(
            f"cannot read {abbreviated(shown(node))!r} in the scheduler's text: "
            "write numbers, strings, lists, arithmetic and names"
        )

    def _operation(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return self._calculate(node, _not, self.value(operand, scope))
            case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
                return self._calculate(node, _OPERATORS[type(op)], self.value(operand, scope))
            case ast.BinOp(op=ast.Pow(), left=left, right=right):
                return self._calculate(node, _power, self.value(left, scope), self.value(right, scope))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
                operands = self.value(left, scope), self.value(right, scope)
                return self._calculate(node, _OPERATORS[type(op)], *operands)
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(node, [left, *comparators], ops, scope)
            case ast.BoolOp(op=op, values=[*values]):
                return self._either(values, isinstance(op, ast.Or), scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self.value(test, scope), body, orelse, scope)
        raise ValueError(f"cannot read {abbreviated(shown(node))!r} in the scheduler's text")

    def _calculate(self, node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
        if any(operand is UNKNOWN for operand in operands):
            return UNKNOWN
        lists = [operand for operand in operands if isinstance(operand, list)]
        if lists:
            is_sum = function is operator.add and len(lists) == 2
            repeats = [operand for operand in operands if type(operand) is int]
            if not is_sum and not (function is operator.mul and repeats):
                raise ValueError(
                    f"cannot calculate {abbreviated(shown(node))!r}: lists are joined and repeated"
                )
            self._spend(sum(map(len, lists)) if is_sum else len(lists[0]) * max(repeats[0], 0))
        elif not all(isinstance(operand, int | float | jax.Array) for operand in operands):
            raise ValueError(
                f"cannot calculate {abbreviated(shown(node))!r}: arithmetic is read on numbers only"
            )
        return self._apply(node, function, *operands)

    def _apply(self, node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
        """The result of a whitelisted function, its failure an error that shows the source."""
        try:
            return _bounded(function(*operands))
        except (ArithmeticError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(f"cannot calculate {abbreviated(shown(node))!r}: {error}") from None

    def _comparison(
        self, node: ast.expr, operands: list[ast.expr], ops: list[ast.cmpop], scope: Mapping[str, Any]
    ) -> Any:
        values = [self.value(operand, scope) for operand in operands]
        pairs = zip(ops, values[:-1], values[1:], strict=True)
        results = [self._compared(node, op, left, right) for op, left, right in pairs]
        if any(result is UNKNOWN for result in results):
            return UNKNOWN
        return functools.reduce(operator.mul, results) if len(results) > 1 else results[0]

    def _compared(self, node: ast.expr, op: ast.cmpop, left: Any, right: Any) -> Any:
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, list):
            if left is UNKNOWN or any(item is UNKNOWN for item in right):
                return UNKNOWN
            result = _contains(right, left)
            return _not(result) if isinstance(op, ast.NotIn) else result
        if type(op) not in _OPERATORS:
            source = abbreviated(shown(node))
            raise ValueError(f"cannot read the comparison {source!r}: write <, <=, ==, !=, >=, > or in")
        return self._calculate(node, _comparing(op), left, right)

    def _either(self, nodes: list[ast.expr], is_or: bool, scope: Mapping[str, Any]) -> Any:
        first, *rest = nodes
        value = self.value(first, scope)
        if not rest:
            return value
        if value is UNKNOWN or isinstance(value, jax.Array):
            other = self._either(rest, is_or, scope)
            return _where(value, value, other) if is_or else _where(value, other, value)
        return value if bool(value) == is_or else self._either(rest, is_or, scope)

    def _choice(self, test: Any, body: ast.expr, orelse: ast.expr, scope: Mapping[str, Any]) -> Any:
        if test is UNKNOWN or isinstance(test, jax.Array):
            return _where(test, self.value(body, scope), self.value(orelse, scope))
        return self.value(body if test else orelse, scope)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, scope: Mapping[str, Any]) -> Any:
        scopes = [dict(scope)]
        for generator in node.generators:
            if not isinstance(generator.target, ast.Name) or generator.is_async:
                raise ValueError(
                    f"cannot read {abbreviated(shown(node))!r}: a comprehension has one variable per for"
                )
            name, inner = generator.target.id, []
            for outer in scopes:
                items = self.value(generator.iter, outer)
                if isinstance(items, jax.Array | int | float | str | None):
                    raise ValueError(f"cannot loop over {abbreviated(shown(generator.iter))!r}")
                for item in [UNKNOWN] if items is UNKNOWN else items:
                    new = {**outer, name: item}
                    if all(self.value(condition, new) for condition in generator.ifs):
                        inner.append(new)
                self._spend(len(inner))
            scopes = inner
        values = [self.value(node.elt, each) for each in scopes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else _flat(node, values)

    def _named(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        source = shown(node)
        if source in scope:
            return scope[source]
        if source in self.assigned:
            return self._assigned(source)
        if source in self.names:
            return self.names[source]
        constant = _constant(node)
        if constant is not None:
            return constant
        match node:
            case ast.Call(func=func, args=arguments, keywords=[]) if name := _function_name(func):
                return self._call(node, name, arguments, scope)
            case ast.Subscript(value=items, slice=index) if self._is_list(items, scope):
                return self._calculate_item(node, self.value(items, scope), self.value(index, scope))
        return self._miss(source)

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
        values = [self.value(argument, scope) for argument in arguments]
        if name == "len" and len(self.missing) > known:
            # Of len(train_loader) the length is wanted, not the loader.
            self.missing[known:] = [shown(node)]
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        if any(isinstance(value, list) and any(item is UNKNOWN for item in value) for value in values):
            return UNKNOWN
        if name in _SIZED:
            is_range = name == "range" and _are_integers(values)
            size = self._apply(node, lambda *ends: len(range(*ends)), *values) if is_range else 0
            self._spend(size + sum(len(value) for value in values if isinstance(value, list)))
        return self._apply(node, functools.partial(_call_function, name), *values)

    def _is_list(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        source = shown(node)
        value = scope.get(source, self.assigned.get(source, self.names.get(source, node)))
        return isinstance(value, list | ast.List | ast.Tuple)

    def _calculate_item(self, node: ast.expr, items: Any, index: Any) -> Any:
        if items is UNKNOWN or index is UNKNOWN:
            return UNKNOWN
        try:
            return items[index]
        except (IndexError, TypeError) as error:
            raise ValueError(f"cannot calculate {abbreviated(shown(node))!r}: {error}") from None

    def _spend(self, amount: int) -> None:
        self._work += amount
        if self._work > _MOST_WORK:
            raise ValueError(f"the scheduler's text asks for more than {_MOST_WORK} values")


class Lambda:
    """A lambda's text as a function of the epoch: of an int on the host, of an array on a device.

    Args:
        node: its syntax.
        reader: what knows the names in it.
        scope: values of the variables around it.
    """

    def __init__(self, node: ast.Lambda, reader: Reader, scope: Mapping[str, Any]):
        self._argument, defaults = _parameters(node)
        self._scope = {name: reader.value(value, scope) for name, value in defaults.items()}
        variables = {each.id for each in ast.walk(node.body) if isinstance(each, ast.Name)}
        if late := sorted(variables & set(scope) - {self._argument, *defaults}):
            # Python would look it up when the function is called, after the loop has ended.
            better = f"lambda {self._argument}, {late[0]}={late[0]}: ..."
            raise ValueError(f"cannot read {abbreviated(shown(node))!r}: write {better}")
        self._reader, self._body = reader, node.body
        # Read once with its argument unknown: what cannot be read, or is missing, is refused at once.
        reader.value(node.body, {**self._scope, self._argument: UNKNOWN})

    @property
    def source(self) -> str:
        """The lambda as Python text that stands alone."""
        body = _Inlined(self._reader, self._scope, self._argument).visit(_copy(self._body))
        return f"lambda {self._argument}: {ast.unparse(body)}"

    @property
    def is_arithmetic(self) -> bool:
        """Whether JAX can trace the lambda as Python text: no function, condition or comparison in it."""
        kinds = ast.Call | ast.IfExp | ast.BoolOp | ast.Compare | ast.Subscript | ast.Attribute | ast.Not
        return not any(isinstance(node, kinds) for node in ast.walk(ast.parse(self.source, mode="eval")))

    @property
    def is_constant(self) -> bool:
        """Whether the argument does not occur."""
        return not any(
            isinstance(node, ast.Name) and node.id == self._argument for node in ast.walk(self._body)
        )

    def __call__(self, count: Any) -> Any:
        """The lambda's value at an epoch."""
        reader = self._reader.renewed()
        try:
            value = reader.value(self._body, {**self._scope, self._argument: count})
        except ValueError as error:
            at = "" if isinstance(count, jax.Array) else f" at {count}"
            raise ValueError(f"{abbreviated(self.source)!r}{at}: {error}") from None
        if not isinstance(value, int | float | jax.Array):
            raise TypeError(f"{abbreviated(self.source)!r} must give a number, got {value!r}")
        return value


class _Inlined(ast.NodeTransformer):
    """Puts the values of names in their places, so that a lambda's text stands alone."""

    def __init__(self, reader: Reader, scope: Mapping[str, Any], argument: str):
        self._values = {**reader.names, **reader.assigned, **scope}
        self._bound = {argument}

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            self._bound |= {shown(generator.target) for generator in node.generators}
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            source = shown(node)
            if source in self._bound:
                return node
            if isinstance(self._values.get(source), bool | int | float | str | list):
                return ast.parse(repr(self._values[source]), mode="eval").body
            constant = _constant(node)
            if constant is not None:
                return ast.Constant(constant)
        return super().generic_visit(node)


def shown(node: ast.AST) -> str:
    """The source of an expression, in one spelling."""
    if isinstance(node, ast.Name):
        return node.id
    source = getattr(node, "_shown", None)  # kept: a lambda's is asked for at each of its epochs
    if source is None:
        source = ast.unparse(node)
        node.__dict__["_shown"] = source
    return source


def abbreviated(text: str, length: int = 60) -> str:
    """A text on one line, cut where it is long."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."


def _normal(source: str) -> str:
    try:
        return shown(ast.parse(source.strip(), mode="eval").body)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"names must be named by expressions such as 'len(loader)', got {source!r}"
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


def _parameters(node: ast.Lambda) -> tuple[str, dict[str, ast.expr]]:
    """The name of the epoch, and the defaults of the other parameters."""
    match node.args:
        case ast.arguments(posonlyargs=[], args=[first, *rest], vararg=None, kwonlyargs=[], kwarg=None) if (
            len(rest) == len(node.args.defaults)
        ):
            names = (parameter.arg for parameter in rest)
            return first.arg, dict(zip(names, node.args.defaults, strict=True))
    raise ValueError(f"cannot read {abbreviated(shown(node))!r}: a lambda takes the epoch alone")


def _copy(node: ast.expr) -> ast.expr:
    return ast.parse(ast.unparse(node), mode="eval").body


def _constant(node: ast.AST) -> float | None:
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            return _CONSTANTS.get(name)
        case ast.Name(id="pi"):
            return math.pi
    return None


def _function_name(func: ast.expr) -> str | None:
    match func:
        case ast.Name(id=name) if name in _BUILTINS or name in _FUNCTIONS:
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if (
            module in _MODULES and name in _FUNCTIONS
        ):
            return f"math.{name}"
        case ast.Attribute(value=ast.Name(id="np" | "numpy"), attr="minimum" | "maximum" as name):
            return name[:3]
    return None


def _call_function(name: str, *values: Any) -> Any:
    if any(isinstance(value, jax.Array) for value in values):
        return _call_traced(name.removeprefix("math."), *values)
    if name == "pow":
        return _power(*values)
    if name == "round" and len(values) > 1 and not -_LARGEST_EXPONENT <= values[1] <= _LARGEST_EXPONENT:
        raise ValueError(f"round to at most {_LARGEST_EXPONENT} digits")
    if name in _BUILTINS:
        result = _BUILTINS[name](*values)
        return list(result) if isinstance(result, tuple | range) else result
    return getattr(math, name.removeprefix("math."))(*values)


def _call_traced(name: str, *values: Any) -> Any:
    """Python's meaning of a function, on arrays."""
    match name:
        case "int" | "floor" | "ceil" | "trunc":
            function = jnp.trunc if name == "int" else getattr(jnp, name)
            return function(values[0]).astype(np.int64)
        case "round":
            rounded = jnp.round(values[0], *values[1:])
            return rounded if len(values) > 1 else rounded.astype(np.int64)
        case "float":
            return jnp.asarray(values[0], dtype=np.float64)
        case "bool":
            return _truth(values[0]).astype(np.int64)
        case "min" | "max":
            return functools.reduce(jnp.minimum if name == "min" else jnp.maximum, values)
        case "pow":
            return _power(*values)
        case "log" if len(values) == 2:
            return jnp.log(values[0]) / jnp.log(values[1])
        case "abs":
            return jnp.abs(*values)
        case _ if name in _FUNCTIONS:
            return getattr(jnp, name)(*values)
    raise ValueError(f"{name} of the epoch cannot be compiled")


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, jax.Array) or isinstance(exponent, jax.Array):
        return jnp.power(jnp.asarray(base, np.float64), jnp.asarray(exponent, np.float64))
    if isinstance(base, int) and abs(exponent) > _LARGEST_EXPONENT:
        try:
            return float(base) ** exponent
        except OverflowError:  # no error of Python's, whose integers have no end
            return math.inf if base > 0 or exponent % 2 == 0 else -math.inf
    return base**exponent


def _comparing(op: ast.cmpop) -> Callable[..., Any]:
    def compare(left: Any, right: Any) -> Any:
        result = _OPERATORS[type(op)](left, right)
        # The sum of two truths is 2 in Python; that of two of JAX's booleans is one of them.
        return result.astype(np.int64) if isinstance(result, jax.Array) else result

    return compare


def _flat(node: ast.expr, values: list[Any]) -> list[Any]:
    """A list, or a list of lists: of deeper ones a short text makes more than a memory holds."""
    if any(isinstance(item, list) for value in values if isinstance(value, list) for item in value):
        raise ValueError(f"cannot read {abbreviated(shown(node))!r}: lists are nested too deeply")
    return values


def _contains(items: list[Any], value: Any) -> Any:
    return (
        jnp.isin(value, jnp.asarray(items)).astype(np.int64)
        if isinstance(value, jax.Array)
        else value in items
    )


def _not(value: Any) -> Any:
    return (value == 0).astype(np.int64) if isinstance(value, jax.Array) else not value


def _where(test: Any, on_true: Any, on_false: Any) -> Any:
    if any(value is UNKNOWN for value in (test, on_true, on_false)):
        return UNKNOWN
    return jnp.where(_truth(test), on_true, on_false)


def _truth(value: Any) -> jax.Array:
    return jnp.asarray(value) != 0


def _are_integers(values: list[Any]) -> bool:
    return all(type(value) is int for value in values)


def _bounded(value: Any) -> Any:
    """A result that is a number of a schedule's: no complex one, no integer of many digits."""
    if isinstance(value, complex):
        raise ValueError("the result is not a real number")
    if isinstance(value, int) and abs(value) > _LARGEST_INTEGER:
        return float(value)
    return value
