"""The source of expressions, by which names are looked up and which messages show."""

import ast
import math
from typing import Any

from jaxlr._checks import shorten


def shown(node: ast.AST) -> str:
    """The source of an expression, in one spelling."""
    if isinstance(node, ast.Name):
        return node.id
    source = getattr(node, "_shown", None)  # kept: a lambda's is asked for at each of its epochs
    if source is None:
        source = ast.unparse(node)
        node.__dict__["_shown"] = source
    return source


def brief(node: ast.AST) -> str:
    """The source of an expression in a message."""
    return repr(shorten(shown(node)))


def parsed(source: str) -> ast.expr:
    """The expression that a source is."""
    return ast.parse(source.strip(), mode="eval").body


def is_literal(value: Any) -> bool:
    """Whether a value is one that `literal` can write."""
    return isinstance(value, bool | int | float | str | list)


def literal(value: Any) -> str:
    """A value as Python text that stands alone."""
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(float(value) if isinstance(value, float) else value)  # not np.float64(0.1)
