"""Torch's Adafactor as an Optax transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr.convert.optimizers.adams import lerp
from jaxlr.convert.optimizers.axes import Shapes, weight_axes


class AdafactorState(NamedTuple):
    """The state of torch's Adafactor. The variances of a matrix are a product of rows and columns."""

    count: Any  # updates so far, shape (), int32
    rows: Any  # means of the squares along torch's last axis, or the squares of a vector themselves
    columns: Any  # means of the squares along torch's last axis but one, unused for a vector


def scale_by_adafactor(
    rate: optax.Schedule,
    beta2_decay: float,
    eps: tuple[float | None, float],
    threshold: float,
    shapes: Shapes,
    is_transposed: bool,
) -> optax.GradientTransformation:
    """Return Adafactor without its learning rate, `rate`, which it bounds by 1 / sqrt(count).

    `shapes` are those of the weights in torch. Their last two axes are factored: in a convolution these are
    the height and the width of its kernel.
    """

    def init_fn(params: optax.Params) -> AdafactorState:
        if shapes is None and any(jnp.ndim(leaf) > 2 for leaf in jax.tree.leaves(params)):
            raise ValueError(
                "Adafactor treats stacked matrices and convolutions differently, and a text has no shapes "
                "to tell them apart: convert the live optimizer with jaxlr.optimizer_from_torch"
            )
        axes = weight_axes(params, shapes, is_transposed)
        rows = jax.tree.map(lambda leaf, own: jnp.zeros_like(_mean_square(leaf, own, -1)), params, axes)
        columns = jax.tree.map(lambda leaf, own: jnp.zeros_like(_mean_square(leaf, own, -2)), params, axes)
        return AdafactorState(jnp.zeros([], np.int32), rows, columns)

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        if params is None:
            raise ValueError("Adafactor scales its updates by the parameters: pass params to update")
        axes = weight_axes(params, shapes, is_transposed)
        count = optax.safe_increment(state.count)
        weight = (1.0 * count) ** beta2_decay

        def averages(means: Any, place: int) -> Any:
            def average(mean: jax.Array, gradient: jax.Array, own: Any) -> jax.Array:
                return lerp(mean, _mean_square(gradient, own, place), weight)

            return jax.tree.map(average, means, updates, axes)

        rows, columns = averages(state.rows, -1), averages(state.columns, -2)
        bound = jnp.minimum(1.0, 1 / (rate(state.count) * jnp.sqrt(1.0 * count)))

        def direction(gradient: jax.Array, param: jax.Array, row: Any, column: Any, own: Any) -> jax.Array:
            smallest = float(jnp.finfo(gradient.dtype).eps) if eps[0] is None else eps[0]
            variance = row
            if len(own) > 1:
                variance = row * column / jnp.maximum(jnp.mean(row, own[-2], keepdims=True), smallest)
            scaled = gradient / jnp.sqrt(jnp.maximum(variance, smallest**2))
            clip = jnp.maximum(1.0, _root_mean_square(scaled, own) / threshold)
            return bound * jnp.maximum(eps[1], _root_mean_square(param, own)) * scaled / clip

        moved = jax.tree.map(direction, updates, params, rows, columns, axes)
        return moved, AdafactorState(count, rows, columns)

    return optax.GradientTransformation(init_fn, update_fn)


def _mean_square(gradient: jax.Array, axes: tuple[int, ...], place: int) -> jax.Array:
    return jnp.mean(gradient**2, axes[place], keepdims=True) if len(axes) > 1 else gradient**2


def _root_mean_square(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.mean(array**2, axes, keepdims=True))
