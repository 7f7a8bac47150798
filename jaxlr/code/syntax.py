"""Python expressions and values as text, and back."""

import ast
import math
from collections.abc import Iterable, Iterator
from typing import Any

from jaxlr._checks import plain, shorten


def source_of(node: ast.AST) -> str:
    """Return the source of an expression, always in the same spelling, so that it can be looked up."""
    if isinstance(node, ast.Name):
        return node.id
    source = getattr(node, "_source", None)
    if source is None:
        source = ast.unparse(node)
        node.__dict__["_source"] = source  # the body of a lambda is asked for it in every epoch
    return source


class Transformer(ast.NodeTransformer):
    """A transformer that forgets the sources of the nodes whose parts it may change."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Transform the parts of a node."""
        node.__dict__.pop("_source", None)
        return super().generic_visit(node)


def nodes_in(parts: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield all nodes of several parts of a text."""
    return (node for part in parts for node in ast.walk(part))


def calls_in(parts: Iterable[ast.AST]) -> list[ast.Call]:
    """Return all calls in several parts of a text."""
    return [node for node in nodes_in(parts) if isinstance(node, ast.Call)]


def called_name(call: ast.Call) -> str:
    """Return the name of the function that is called, without its module."""
    return last_name(source_of(call.func))


def last_name(source: str) -> str:
    """Return a name without its module or owner."""
    return source.rpartition(".")[2]


def arguments_of(call: ast.Call) -> list[ast.expr]:
    """Return the arguments of a call, by position and by keyword."""
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def names_stored(parts: Iterable[ast.AST]) -> set[str]:
    """Return the names that statements assign or delete."""
    names = (node for node in nodes_in(parts) if isinstance(node, ast.Name))
    return {name.id for name in names if isinstance(name.ctx, ast.Store | ast.Del)}


def parameters_of(arguments: ast.arguments) -> tuple[list[str], dict[str, ast.expr]]:
    """Return the names of a function's parameters, and the defaults of those that have one."""
    in_order = [each.arg for each in [*arguments.posonlyargs, *arguments.args]]
    by_name = [each.arg for each in arguments.kwonlyargs]
    optional = in_order[len(in_order) - len(arguments.defaults) :]
    defaults = dict(zip(optional, arguments.defaults, strict=True))
    pairs = zip(by_name, arguments.kw_defaults, strict=True)
    defaults |= {name: default for name, default in pairs if default is not None}
    return [*in_order, *by_name], defaults


def first_line(statement: ast.stmt) -> str:
    """Return the first line of a statement for an error message: in quotes, and shortened."""
    return repr(shorten(source_of(statement).partition("\n")[0]))


def quoted(node: ast.AST) -> str:
    """Return the source of an expression for an error message: in quotes, and shortened."""
    return repr(shorten(source_of(node)))


def unreadable(node: ast.AST, reason: str) -> ValueError:
    """Return the error about a part of a text that cannot be read."""
    return ValueError(f"cannot read {quoted(node)}: {reason}")


def parse_expression(source: str) -> ast.expr:
    """Return the syntax tree of a single expression."""
    return ast.parse(source.strip(), mode="eval").body


def is_literal(value: Any) -> bool:
    """Check if `literal` can write a value."""
    if isinstance(value, list):
        return all(map(is_literal, value))
    return isinstance(value, bool | int | float | str)


def literal(value: Any) -> str:
    """Return Python text that evaluates to a value and needs no import."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)
