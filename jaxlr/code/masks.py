"""Masks: the condition under which a statement takes effect, a bool, an array or unknown."""

from typing import Any

import jax
import jax.numpy as jnp

from jaxlr.code.functions import where
from jaxlr.code.values import ABSENT, UNKNOWN


def merged(live: Any, new: Any, old: Any) -> Any:
    """Return `new` where a mask holds, else `old`."""
    if live is True or old is ABSENT or new is old:
        return new
    if live is False:
        return old
    if live is UNKNOWN:
        return UNKNOWN
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [merged(live, one, other) for one, other in zip(new, old, strict=True)]
    if new is UNKNOWN or old is UNKNOWN:
        return UNKNOWN
    if not all(isinstance(value, int | float | jax.Array) for value in (new, old)):
        raise ValueError("a variable that depends on the epoch must be a number")
    return where(live, new, old)


def both(left: Any, right: Any) -> Any:
    """Return the mask that holds where both masks hold."""
    if left is False or right is False:
        return False
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    return right if left is True else jnp.logical_and(left, jnp.asarray(right) != 0)


def either(left: Any, right: Any) -> Any:
    """Return the mask that holds where one of two masks holds."""
    if left is True or right is True:
        return True
    if left is UNKNOWN or right is UNKNOWN:
        return UNKNOWN
    if left is False:
        return right
    return left if right is False else jnp.logical_or(left, right)
