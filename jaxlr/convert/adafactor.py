"""Torch's Adafactor as an Optax transformation."""

from collections.abc import Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr.convert.adams import lerp


class AdafactorState(NamedTuple):
    """The state of torch's Adafactor. The variances of a matrix are a product of rows and columns."""

    count: Any  # updates so far, shape (), int32
    rows: Any  # means of the squares in each row, or of the squares themselves
    columns: Any  # means of the squares in each column, unused if the parameter is no matrix


def scale_by_adafactor(
    rate: optax.Schedule,
    beta2_decay: float,
    eps: tuple[float | None, float],
    threshold: float,
    shapes: Collection[tuple[int, ...]],
    is_transposed: bool,
) -> optax.GradientTransformation:
    """Return Adafactor without its learning rate, `rate`, which it bounds by 1 / sqrt(count).

    `shapes` are those of the weights in torch.
    """

    def init_fn(params: optax.Params) -> AdafactorState:
        jax.tree_util.tree_map_with_path(check_shape, params)
        rows = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:, :1] if leaf.ndim > 1 else leaf), params)
        columns = jax.tree.map(lambda leaf: jnp.zeros_like(leaf[:1] if leaf.ndim > 1 else leaf), params)
        return AdafactorState(jnp.zeros([], np.int32), rows, columns)

    def check_shape(path: Any, leaf: Any) -> None:
        shape = np.shape(leaf)
        if len(shape) > 2 or (shape[::-1] if is_transposed else shape) not in shapes:
            raise ValueError(
                f"the parameter {jax.tree_util.keystr(path)} has the shape {shape}, but Adafactor's "
                f"weights have {sorted(shapes)} in torch: vectors and whole matrices are converted; give "
                f"transposed={not is_transposed} if all matrices are "
                f"{'(out, in)' if is_transposed else '(in, out)'}"
            )

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        if params is None:
            raise ValueError("Adafactor scales its updates by the parameters: pass params to update")
        count = optax.safe_increment(state.count)
        weight = (1.0 * count) ** beta2_decay
        rows = jax.tree.map(lambda r, g: lerp(r, _mean_square(g, -1), weight), state.rows, updates)
        columns = jax.tree.map(lambda c, g: lerp(c, _mean_square(g, -2), weight), state.columns, updates)
        bound = jnp.minimum(1.0, 1 / (rate(state.count) * jnp.sqrt(1.0 * count)))

        def direction(gradient: jax.Array, param: jax.Array, row: Any, column: Any) -> jax.Array:
            smallest = float(jnp.finfo(gradient.dtype).eps) if eps[0] is None else eps[0]
            variance = row
            if gradient.ndim > 1:
                variance = row * column / jnp.maximum(jnp.mean(row), smallest)
            scaled = gradient / jnp.sqrt(jnp.maximum(variance, smallest**2))
            clip = jnp.maximum(1.0, _root_mean_square(scaled) / threshold)
            return bound * jnp.maximum(eps[1], _root_mean_square(param)) * scaled / clip

        moved = jax.tree.map(direction, updates, params, rows, columns)
        return moved, AdafactorState(count, rows, columns)

    return optax.GradientTransformation(init_fn, update_fn)


def _mean_square(gradient: jax.Array, axis: int) -> jax.Array:
    squares = gradient**2
    return jnp.mean(squares, axis, keepdims=True) if gradient.ndim > 1 else squares


def _root_mean_square(array: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.mean(array**2))
