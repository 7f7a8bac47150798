"""Torch's Muon as an Optax transformation."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr.convert.optimizers.adams import lerp
from jaxlr.convert.optimizers.axes import Shapes


def scale_by_muon(
    weight: Any,
    nesterov: bool,
    coefficients: Sequence[float],
    num_steps: int,
    eps: float,
    adjust_lr_fn: str,
    shapes: Shapes,
    is_transposed: bool,
) -> optax.GradientTransformation:
    """Return Muon without its learning rate. Torch has no bias correction, and iterates in bfloat16.

    `weight` is 1 - momentum. `shapes` are those of the weights in torch. Matrices may be stacked along axes
    that come first.
    """

    def init_fn(params: optax.Params) -> optax.TraceState:
        jax.tree_util.tree_map_with_path(check_shape, params)
        return optax.TraceState(optax.tree.zeros_like(params))

    def check_shape(path: Any, leaf: Any) -> None:
        found = f"the parameter {jax.tree_util.keystr(path)} has the shape {np.shape(leaf)}, but Muon"
        if shapes is None and np.ndim(leaf) != 2:
            raise ValueError(f"{found} is for matrices only: give this parameter another optimizer")
        shape = np.shape(leaf)[-2:]
        if shapes is not None and (shape[::-1] if is_transposed else shape) not in shapes:
            raise ValueError(
                f"{found}'s weights have {sorted(shapes)} in torch: give transposed={not is_transposed} if "
                f"all matrices are {'(out, in)' if is_transposed else '(in, out)'}, and split no matrix"
            )

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        del params
        trace = jax.tree.map(lambda m, g: lerp(m, g, weight), state.trace, updates)
        moved = jax.tree.map(lambda g, m: lerp(g, m, 1 - weight), updates, trace) if nesterov else trace
        return jax.tree.map(direction, moved), optax.TraceState(trace)

    @functools.partial(jnp.vectorize, signature="(m,n)->(m,n)")
    def direction(matrix: jax.Array) -> jax.Array:
        matrix = matrix.T if is_transposed else matrix
        rows, columns = matrix.shape
        factors = {
            "original": math.sqrt(max(1, rows / columns)),
            "match_rms_adamw": 0.2 * math.sqrt(max(rows, columns)),
        }
        scaled = orthogonalized(matrix, coefficients, num_steps, eps).astype(matrix.dtype)
        scaled = factors[adjust_lr_fn] * scaled
        return scaled.T if is_transposed else scaled

    return optax.GradientTransformation(init_fn, update_fn)


def orthogonalized(
    matrix: jax.Array, coefficients: Sequence[float], num_steps: int, eps: float
) -> jax.Array:
    """Return the result of Newton-Schulz iterations in bfloat16, rounded where torch rounds."""
    a, b, c = coefficients
    narrow, wide = jnp.bfloat16, np.float32
    dot = functools.partial(jnp.matmul, preferred_element_type=wide)
    is_tall = matrix.shape[0] > matrix.shape[1]
    x = (matrix.T if is_tall else matrix).astype(wide).astype(narrow)  # torch rounds a float64 twice, too
    norm = jnp.linalg.norm(x.astype(wide)).astype(narrow)
    x = (x.astype(wide) / jnp.maximum(norm, eps).astype(wide)).astype(narrow)
    for _ in range(num_steps):
        gram = dot(x, x.T).astype(narrow)
        factor = (b * gram.astype(wide) + c * dot(gram, gram)).astype(narrow)
        x = (a * x.astype(wide) + dot(factor, x)).astype(narrow)
    return x.T if is_tall else x
