"""Torch's ASGD as an Optax transformation."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax


class AsgdState(NamedTuple):
    """The state of torch's ASGD."""

    count: Any  # updates so far, shape (), int32
    eta: jax.Array  # learning rate of the next update, shape (), float32 as in torch
    mu: jax.Array  # weight of the next parameters in the average, shape (), float32 as in torch
    ax: Any  # averaged parameters


def scale_by_asgd(
    rate: optax.Schedule, first: Any, lambd: float, alpha: float, t0: float
) -> optax.GradientTransformation:
    """Return ASGD with its own learning rate, and with the average of the parameters in its state.

    The update after `rate(count)` has the learning rate that belongs to it. The first one has `first`.
    """

    def init_fn(params: optax.Params) -> AsgdState:
        eta, mu = jnp.asarray(first, np.float32), jnp.ones([], np.float32)
        return AsgdState(jnp.zeros([], np.int32), eta, mu, optax.tree.zeros_like(params))

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        if params is None:
            raise ValueError("ASGD decays and averages the parameters: pass params to update")
        count = optax.safe_increment(state.count)
        step = 1.0 * count

        def descent(gradient: jax.Array, param: jax.Array) -> jax.Array:
            eta = state.eta.astype(param.dtype)
            return eta * (lambd * param + gradient)

        def average(mean: jax.Array, param: jax.Array, moved: jax.Array) -> jax.Array:
            mu = state.mu.astype(param.dtype)
            return jnp.where(mu == 1, param - moved, mean + mu * (param - moved - mean))

        moved = jax.tree.map(descent, updates, params)
        ax = jax.tree.map(average, state.ax, params, moved)
        lr = rate(state.count)
        eta = lr * jnp.exp(-alpha * jnp.log1p(lambd * lr * step))
        mu = 1 / jnp.maximum(1.0, step - t0)
        return moved, AsgdState(count, jnp.asarray(eta, np.float32), jnp.asarray(mu, np.float32), ax)

    return optax.GradientTransformation(init_fn, update_fn)
