"""The operators of expressions, for all values: numbers, lists, arrays, traced and unknown values."""

import ast
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shown_value
from jaxlr.code.functions import OPERATORS, Array, apply_operator, contains, where
from jaxlr.code.syntax import quoted
from jaxlr.code.values import UNKNOWN, are_equal, are_numbers, size_of


Spend: TypeAlias = Callable[[int], None]  # takes a number of operations from the budget of the text


def calculated(spend: Spend, node: ast.expr, op: ast.AST, *operands: Any) -> Any:
    """Return the result of an operator on numbers, lists and arrays."""
    if isinstance(op, ast.Not) and not are_numbers(*operands):
        return not operands[0]
    if any(operand is UNKNOWN for operand in operands):
        return UNKNOWN
    if any(isinstance(operand, Array) for operand in operands):
        return _calculated_items(spend, node, op, *operands)
    if isinstance(op, ast.BitOr) and all(isinstance(operand, dict) for operand in operands):
        return {**operands[0], **operands[1]}
    if isinstance(op, ast.Add) and all(isinstance(operand, str) for operand in operands):
        spend(sum(map(len, operands)))
        return "".join(operands)
    lists = [operand for operand in operands if isinstance(operand, list)]
    if lists:
        is_sum = isinstance(op, ast.Add) and len(lists) == 2
        repeats = [operand for operand in operands if type(operand) is int]
        if not is_sum and not (isinstance(op, ast.Mult) and repeats):
            raise ValueError(f"cannot calculate {quoted(node)}: a list can only be joined or repeated")
        spend(sum(map(size_of, lists)) if is_sum else size_of(lists[0]) * max(repeats[0], 0))
    elif not all(isinstance(operand, int | float | jax.Array) for operand in operands):
        raise ValueError(f"cannot calculate {quoted(node)}: arithmetic needs numbers")
    return attempted(node, apply_operator, op, *operands)


def compared(spend: Spend, node: ast.expr, op: ast.cmpop, left: Any, right: Any) -> Any:
    """Return the result of one comparison."""
    is_identity = isinstance(op, ast.Is | ast.IsNot) and isinstance(right, bool)  # `flag is True`
    if is_identity or (
        isinstance(op, ast.Is | ast.IsNot | ast.Eq | ast.NotEq) and not are_numbers(left, right)
    ):
        if left is UNKNOWN or right is UNKNOWN:
            return UNKNOWN
        is_same = left is right if isinstance(op, ast.Is | ast.IsNot) else are_equal(left, right)
        return is_same == isinstance(op, ast.Is | ast.Eq)
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, str | dict):
        if left is UNKNOWN:
            return UNKNOWN
        if isinstance(right, str) and not isinstance(left, str):
            raise ValueError(f"cannot calculate {quoted(node)}: only a string can be in a string")
        is_in = bool(contains(list(right), left) if isinstance(right, dict) else left in right)
        return is_in == isinstance(op, ast.In)
    if isinstance(op, ast.In | ast.NotIn) and isinstance(right, list):
        if left is UNKNOWN or any(item is UNKNOWN for item in right):
            return UNKNOWN
        result = contains(right, left)
        return apply_operator(ast.Not(), result) if isinstance(op, ast.NotIn) else result
    if isinstance(op, ast.In | ast.NotIn):
        if right is UNKNOWN:
            return UNKNOWN
        raise ValueError(f"cannot calculate {quoted(node)}: {shown_value(right)} is no list, dict or text")
    if type(op) not in OPERATORS:
        raise ValueError(f"cannot read the comparison {quoted(node)}: write <, <=, ==, !=, >=, > or in")
    return calculated(spend, node, op, left, right)


def selected(test: Any, on_true: Any, on_false: Any) -> Any:
    """Return one of two values, by a test that may be unknown or traced."""
    is_unknown = any(value is UNKNOWN for value in (test, on_true, on_false))
    return UNKNOWN if is_unknown else where(test, on_true, on_false)


def traced_item(items: Any, key: jax.Array, default: Any = np.nan) -> Any:
    """Look up an index or a key that is traced. A key that is not there gives the default."""
    if isinstance(items, dict):
        result: Any = jnp.asarray(default, np.float64)
        for each, item in items.items():
            result = where(jnp.equal(key, each), item, result)
        return result
    return jnp.stack([jnp.asarray(item, np.float64) for item in items])[key.astype(np.int32)]


def attempted(node: ast.expr, function: Callable[..., Any], *operands: Any) -> Any:
    """Call a function. If it fails, raise an error that shows the source."""
    try:
        return function(*operands)
    except (ArithmeticError, LookupError, ValueError, TypeError) as error:
        reason = "the result is out of range" if isinstance(error, OverflowError) else error
        raise ValueError(f"cannot calculate {quoted(node)}: {reason}") from None


def _calculated_items(spend: Spend, node: ast.expr, op: ast.AST, *operands: Any) -> Array:
    """Calculate with each item of the arrays, as NumPy does."""
    lengths = {len(operand) for operand in operands if isinstance(operand, list)}
    if len(lengths) != 1:
        raise ValueError(f"cannot calculate {quoted(node)}: its arrays have different lengths")
    length = lengths.pop()
    spend(length)
    columns = [list(each) if isinstance(each, list) else [each] * length for each in operands]
    return Array(calculated(spend, node, op, *items) for items in zip(*columns, strict=True))
