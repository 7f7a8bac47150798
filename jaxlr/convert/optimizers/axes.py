"""The axes of torch's weights in the parameters of JAX."""

import collections
import itertools
import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shorten


# How many weights of each shape torch has. None if each parameter of JAX is one weight.
Shapes = Mapping[tuple[int, ...], int] | None


def weight_axes(params: Any, shapes: Shapes, is_transposed: bool | None) -> Any:
    """Return the axes of each parameter that are those of one torch weight, in torch's order.

    Weights may be stacked along axes that come first. With `is_transposed` the axes of a weight are those
    of Flax: (in, out), and (height, width, in, out) for a convolution. Without they are those of torch, and
    with None they have any order.

    Raises:
        ValueError: a parameter has the shape of no weight, or there are more of its shape than in torch.
    """
    if shapes is None:
        return jax.tree.map(lambda leaf: next(iter(_orders(np.ndim(leaf), is_transposed))), params)
    left: collections.Counter[tuple[int, ...]] = collections.Counter()
    for shape, number in shapes.items():
        left[_sizes(shape)] += number

    def axes_of(path: Any, leaf: Any) -> tuple[int, ...]:
        shape = np.shape(leaf)
        what = f"the parameter {jax.tree_util.keystr(path)} has the shape {shape}, but the optimizer has "
        axes = _axes(shape, shapes, is_transposed)
        if axes is None:
            way_out = "keep each weight whole"
            if is_transposed is not None:
                way_out += f", and give transposed={not is_transposed} if its axes are " + (
                    "those of torch" if is_transposed else "(in, out), or (height, width, in, out)"
                )
            raise ValueError(f"{what}weights of {shorten(str(sorted(shapes)))} in torch: {way_out}")
        sizes = _sizes(shape[axis] for axis in axes)
        left[sizes] -= math.prod(shape) // max(1, math.prod(sizes))
        if left[sizes] < 0:
            raise ValueError(
                f"{what}fewer weights of this shape in torch: if others are stacked in it, keep them apart"
            )
        return axes

    return jax.tree_util.tree_map_with_path(axes_of, params)


def cautious(update: jax.Array, gradient: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    """Return timm's cautious update. It has 0 where its sign is not that of the gradient."""
    mask = (update * gradient > 0).astype(gradient.dtype)
    return update * mask / jnp.maximum(jnp.mean(mask, axes, keepdims=True), 1e-3)


def _axes(
    shape: tuple[int, ...], shapes: Collection[tuple[int, ...]], is_transposed: bool | None
) -> tuple[int, ...] | None:
    """Return the axes of the largest weight that a parameter may consist of."""
    for first in range(len(shape) + 1):
        for order in _orders(len(shape) - first, is_transposed):
            axes = tuple(first + axis for axis in order)
            if tuple(shape[axis] for axis in axes) in shapes:
                return axes
    return None


def _orders(ndim: int, is_transposed: bool | None) -> Iterable[tuple[int, ...]]:
    """Return the places that torch's axes (out, in, ...) may have in JAX."""
    if is_transposed is None:
        return itertools.permutations(range(ndim))
    if ndim < 2 or not is_transposed:
        return [tuple(range(ndim))]
    # The second is that of a transposed convolution or an embedding.
    return [(ndim - 1, ndim - 2, *range(ndim - 2)), (ndim - 2, ndim - 1, *range(ndim - 2))]


def _sizes(shape: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(shape))
