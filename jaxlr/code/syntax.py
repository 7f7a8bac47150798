"""Python expressions and values as text, and back."""

import ast
import math
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


def quoted(node: ast.AST) -> str:
    """Return the source of an expression for an error message: in quotes, and shortened."""
    return repr(shorten(source_of(node)))


def parse_expression(source: str) -> ast.expr:
    """Return the syntax tree of a single expression."""
    return ast.parse(source.strip(), mode="eval").body


def is_literal(value: Any) -> bool:
    """Check if `literal` can write a value."""
    return isinstance(value, bool | int | float | str | list)


def literal(value: Any) -> str:
    """Return Python text that evaluates to a value and needs no import."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)
