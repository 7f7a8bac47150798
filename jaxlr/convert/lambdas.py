"""Lambdas of a recipe, translated: functions of an int on the host, of an array on a device."""

import ast
import copy
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shorten, shown_value
from jaxlr.convert.functions import constant
from jaxlr.convert.source import brief, is_literal, literal, parsed, shown


class Unknown:
    """The value of a name that nobody has given, and of all that is made of it."""


UNKNOWN = Unknown()

# Operations that a lambda may come to on a device, where each is compiled.
_MOST_COMPILED = 2_000


class Reader(Protocol):
    """What works out a lambda's body: see `expressions`."""

    names: dict[str, Any]
    assigned: dict[str, Any]

    def value(self, node: ast.expr, scope: Mapping[str, Any] | None = None) -> Any:
        """The value of an expression."""
        ...

    def renewed(self, work: int | None = None) -> "Reader":
        """A reader that knows the same, and may do so much."""
        ...


class Lambda:
    """A lambda's text as a function of the epoch.

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
            raise ValueError(f"cannot read {brief(node)}: write {better}")
        self._reader, self._body = reader, node.body
        # Read once with its argument unknown: what cannot be read, or is missing, is refused at once.
        reader.value(node.body, {**self._scope, self._argument: UNKNOWN})

    @property
    def source(self) -> str:
        """The lambda as Python text that stands alone."""
        values = {**self._reader.names, **self._reader.assigned, **self._scope}
        body = _Inlined(values, {self._argument}).visit(copy.deepcopy(self._body))
        return f"lambda {self._argument}: {ast.unparse(body)}"

    @property
    def is_arithmetic(self) -> bool:
        """Whether JAX can trace the lambda as Python text: no function, condition or comparison in it."""
        kinds = ast.Call | ast.IfExp | ast.BoolOp | ast.Compare | ast.Subscript | ast.Attribute | ast.Not
        return not any(isinstance(node, kinds) for node in ast.walk(parsed(self.source)))

    @property
    def is_constant(self) -> bool:
        """Whether the argument does not occur."""
        names = (node.id for node in ast.walk(self._body) if isinstance(node, ast.Name))
        return self._argument not in names

    def __call__(self, count: Any) -> Any:
        """The lambda's value at an epoch; that of an array is computed in float64."""
        is_traced = isinstance(count, jax.Array)
        reader = self._reader.renewed(_MOST_COMPILED if is_traced else None)
        try:
            if is_traced:
                with jax.enable_x64(True):
                    epoch = count.astype(np.float64)
                    return jnp.asarray(reader.value(self._body, {**self._scope, self._argument: epoch}))
            value = reader.value(self._body, {**self._scope, self._argument: count})
        except ValueError as error:
            at = "" if is_traced else f" at {count}"
            raise ValueError(f"{shorten(self.source)!r}{at}: {error}") from None
        if not isinstance(value, int | float):
            raise TypeError(f"{shorten(self.source)!r} must give a number, got {shown_value(value)}")
        return value


class _Inlined(ast.NodeTransformer):
    """Puts the values of names in their places, so that a lambda's text stands alone."""

    def __init__(self, values: Mapping[str, Any], bound: set[str]):
        self._values, self._bound = values, bound

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.ListComp | ast.GeneratorExp):
            inside = self._bound | {shown(generator.target) for generator in node.generators}
            if inside != self._bound:
                return _Inlined(self._values, inside).generic_visit(node)
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call):
            source = shown(node)
            if source in self._bound or isinstance(getattr(node, "ctx", None), ast.Store):
                return node
            if is_literal(self._values.get(source)):
                return parsed(literal(self._values[source]))
            number = constant(node)
            if number is not None:
                return parsed(literal(number))
        return super().generic_visit(node)


def _parameters(node: ast.Lambda) -> tuple[str, dict[str, ast.expr]]:
    """The name of the epoch, and the defaults of the other parameters."""
    match node.args:
        case ast.arguments(posonlyargs=[], args=[first, *rest], vararg=None, kwonlyargs=[], kwarg=None) if (
            len(rest) == len(node.args.defaults)
        ):
            names = (parameter.arg for parameter in rest)
            return first.arg, dict(zip(names, node.args.defaults, strict=True))
    raise ValueError(f"cannot read {brief(node)}: a lambda takes the epoch alone")
