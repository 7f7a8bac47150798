"""The states of Flax: variables that wrap arrays, and objects that hold an optimizer state.

Flax is not imported, because a program without it has no such states.
"""

from typing import Any

import jax


def is_variable(value: Any) -> bool:
    """Return True if a value is a variable of `flax.nnx`, which wraps an array."""
    # Flax before 0.12 has `raw_value`.
    return (hasattr(value, "get_value") and hasattr(value, "set_value")) or hasattr(value, "raw_value")


def as_array(value: Any) -> Any:
    """Return the array in a variable of `flax.nnx`, and any other value as it is."""
    if not is_variable(value):
        return value
    return value.get_value() if hasattr(value, "get_value") else value.value


def as_arrays(tree: Any) -> Any:
    """Return a tree with the arrays in its variables, and with all other leaves as they are."""
    return jax.tree.map(as_array, tree, is_leaf=is_variable)


def set_variable(variable: Any, value: jax.Array) -> None:
    """Set the array in a variable of `flax.nnx`."""
    if hasattr(variable, "set_value"):
        variable.set_value(value)
    else:
        variable.value = value


def opt_state_of(holder: Any) -> Any:
    """Return the optimizer state of an `nnx.Optimizer` or a `TrainState`, and any other value as it is."""
    kind = type(holder)
    if kind.__module__.startswith("flax.nnx") and kind.__name__ in ("State", "FlatState", "GraphState"):
        raise ValueError(
            "a State of Flax NNX does not hold the types of the optimizer state: pass the nnx.Optimizer "
            "itself, or nnx.merge(graphdef, state) of what nnx.split returned"
        )
    return getattr(holder, "opt_state", holder)
