"""Torch's Rprop as an Optax transformation."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class RpropState(NamedTuple):
    """The state of torch's Rprop."""

    step_sizes: Any  # step size of each element
    previous: Any  # gradients of the last update, 0 where their signs had changed


def scale_by_rprop(
    lr: Any, etas: Sequence[float], step_sizes: Sequence[float]
) -> optax.GradientTransformation:
    """Return Rprop with its own step sizes, which begin at `lr`. Optax's makes each update one too late.

    The first of `etas` is the factor of a step size if the sign of its gradient changes, the second if it
    stays. `step_sizes` are the smallest and the largest one.
    """
    shrink, grow = etas

    def init_fn(params: optax.Params) -> RpropState:
        return RpropState(
            jax.tree.map(lambda leaf: jnp.full_like(leaf, lr), params), optax.tree.zeros_like(params)
        )

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        del params
        # The product of the gradients could underflow.
        signs = jax.tree.map(lambda g, before: jnp.sign(g) * jnp.sign(before), updates, state.previous)

        def resize(size: jax.Array, sign: jax.Array) -> jax.Array:
            factor = jnp.where(sign > 0, grow, jnp.where(sign < 0, shrink, 1.0))
            return jnp.clip(size * factor.astype(size.dtype), *step_sizes)

        sizes = jax.tree.map(resize, state.step_sizes, signs)
        kept = jax.tree.map(lambda g, sign: jnp.where(sign < 0, 0, g), updates, signs)
        return jax.tree.map(lambda g, size: jnp.sign(g) * size, kept, sizes), RpropState(sizes, kept)

    return optax.GradientTransformation(init_fn, update_fn)
