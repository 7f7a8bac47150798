"""The lambdas of a recipe as functions of the epoch, an int on the host or a traced array on a device."""

import ast
import copy
from collections import ChainMap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shorten, shown_value
from jaxlr._compat import enable_x64
from jaxlr.code.functions import constant
from jaxlr.code.syntax import (
    Transformer,
    is_literal,
    literal,
    parameters_of,
    parse_expression,
    source_of,
    unreadable,
)
from jaxlr.code.values import UNKNOWN, names_in


if TYPE_CHECKING:
    from jaxlr.code.expressions import Evaluator

# The operations of one call. Each operation on a traced epoch is compiled, which costs much more.
_MOST_OPERATIONS = 50_000
_MOST_COMPILED = 2_000


class Frame(dict[str, Any]):
    """The variables of a function that is being called. A function in it reads them when it is called."""


class Lambda:
    """A lambda of a recipe as a function of the epoch.

    Args:
        node: its syntax.
        evaluator: the evaluator of the text around it.
        scope: values of the variables around it.
    """

    def __init__(
        self, node: ast.Lambda | ast.FunctionDef, evaluator: "Evaluator", scope: Mapping[str, Any]
    ):
        self.parameters: list[str]
        self.parameters, defaults = parameters_of(node.args)
        if node.args.vararg or node.args.kwarg:
            raise unreadable(node, "a function must take one argument, the epoch")
        self._scope = {name: evaluator.value(value, scope) for name, value in defaults.items()}
        self._outer = scope if isinstance(scope, Frame) else {}
        self._evaluator = copy.copy(evaluator)  # with the variables of the function around it
        self._node: Any = node
        if isinstance(node, ast.FunctionDef):
            return
        variables = names_in(node.body)
        if late := sorted(variables & set(scope) - {*self.parameters} - set(self._outer)):
            # Python looks such a variable up when the function is called, after the loop has ended.
            better = f"lambda {self._argument}, {late[0]}={late[0]}: ..."
            raise unreadable(node, f"write {better}")
        self.check()

    def __repr__(self) -> str:
        return self.source

    @property
    def _argument(self) -> str:
        return self.parameters[0]

    @property
    def required(self) -> list[str]:
        """The parameters without a default."""
        return [name for name in self.parameters if name not in self._scope]

    def check(self) -> None:
        """Evaluate it for an unknown epoch, so that errors and missing names are reported at once."""
        self.evaluate(self._evaluator, [], self._of_unknown())

    def _of_unknown(self) -> dict[str, Any]:
        """Return the arguments of a call for an unknown epoch."""
        return dict.fromkeys([*self.parameters[:1], *self.required], UNKNOWN)

    def check_takes_epoch(self) -> None:
        """Refuse a function of several arguments where one of the epoch is needed."""
        if not self.parameters or len(self.required) > 1:
            raise unreadable(self._node, "a function must take one argument, the epoch")

    def bound(self, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Frame:
        """Return the variables of a call."""
        given = dict(zip(self.parameters, positional, strict=False))
        frame = Frame({**self._outer, **self._scope, **given, **by_name})
        absent = [name for name in self.parameters if name not in frame]
        if absent or len(positional) > len(self.parameters) or by_name.keys() - set(self.parameters):
            raise ValueError(f"{shorten(self.source)!r} is called with the wrong arguments")
        return frame

    def evaluate(
        self, evaluator: "Evaluator", positional: Sequence[Any], by_name: Mapping[str, Any]
    ) -> Any:
        """Return the result of a call, calculated by an evaluator."""
        return evaluator.value(self._node.body, self.bound(positional, by_name))

    @property
    def source(self) -> str:
        """The lambda as Python text in which the names are replaced by their values."""
        values = ChainMap(self._scope, self._outer, self._evaluator.assigned, self._evaluator.names)
        body = Inlined(values, {*self.required, self._argument}).visit(copy.deepcopy(self._node.body))
        return f"lambda {', '.join(self.required)}: {ast.unparse(body)}"

    @property
    def needs_text(self) -> bool:
        """True if `source` uses a name whose value only the text around it or the caller gives."""
        values = ChainMap(self._scope, self._outer, self._evaluator.assigned, self._evaluator.names)
        nodes = [*ast.walk(parse_expression(self.source))]
        own = {each.arg for each in nodes if isinstance(each, ast.arg)}
        own |= {each.id for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store)}
        used = {source_of(each) for each in nodes if isinstance(each, ast.Name | ast.Attribute)}
        return any(name in values for name in used - own)

    @property
    def is_arithmetic(self) -> bool:
        """True if JAX can trace `source` as it stands: it has no call, condition or comparison."""
        if not isinstance(self._node, ast.Lambda):
            return False
        kinds = ast.Call | ast.IfExp | ast.BoolOp | ast.Compare | ast.Subscript | ast.Attribute | ast.Not
        return not any(isinstance(node, kinds) for node in ast.walk(parse_expression(self.source)))

    @property
    def is_constant(self) -> bool:
        """True if the lambda does not use its argument."""
        return self._argument not in {name for each in _body(self._node) for name in names_in(each)}

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
        return self._evaluator.names.are_numbers and not self.needs_table

    def __call__(self, count: Any) -> Any:
        """Return the value at an epoch. For a JAX array it is computed in float64."""
        is_traced = isinstance(count, jax.Array)
        evaluator = self._evaluator.with_budget(_MOST_COMPILED if is_traced else _MOST_OPERATIONS)
        try:
            if is_traced or self._evaluator.names.are_traced:
                with enable_x64():
                    epoch = count.astype(np.float64) if isinstance(count, jax.Array) else count
                    result = self.evaluate(evaluator, [epoch], {})
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


class Inlined(Transformer):
    """A transformer that replaces names by their values, so that a lambda needs no text around it."""

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


class Partial(Lambda):
    """A `functools.partial` of a function of the text.

    Args:
        node: the call of `partial`.
        evaluator: the evaluator of the text around it.
        function: the function.
        args: its first arguments.
        keywords: its arguments by name.
    """

    def __init__(
        self,
        node: ast.Call,
        evaluator: "Evaluator",
        function: Any,
        args: Sequence[Any],
        keywords: Mapping[str, Any],
    ):
        self._evaluator, self._node, self._outer = copy.copy(evaluator), node, {}
        self.function: Any = function
        self.args: Sequence[Any] = args
        self.keywords: dict[str, Any] = dict(keywords)
        known = function.parameters if isinstance(function, Lambda) else ["epoch"]
        defaults = function._scope.keys() if isinstance(function, Lambda) else set[str]()
        self.parameters: list[str] = [name for name in known[len(args) :] if name not in self.keywords]
        self._scope = dict.fromkeys(name for name in self.parameters if name in defaults)

    def evaluate(
        self, evaluator: "Evaluator", positional: Sequence[Any], by_name: Mapping[str, Any]
    ) -> Any:
        """Return the result of a call, calculated by an evaluator."""
        return evaluator.apply(
            self._node, self.function, [*self.args, *positional], self.keywords | dict(by_name)
        )

    @property
    def source(self) -> str:
        """The call of `partial`."""
        return source_of(self._node)

    @property
    def is_constant(self) -> bool:
        """Return False: its function may use the epoch."""
        return False
