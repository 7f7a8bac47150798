"""LAMB of timm as an Optax transformation."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxlr.convert.optimizers.adams import Weight, bias_correction, lerp
from jaxlr.convert.optimizers.axes import Shapes, cautious, weight_axes


def scale_by_lamb(
    weight: Weight,
    beta2: float,
    eps: float,
    shapes: Shapes,
    *,
    weight_decay: float,
    kept: optax.Schedule,
    largest_ratio: float | None,
    corrects_bias: bool,
    averages: bool,
    is_cautious: bool,
) -> optax.GradientTransformation:
    """Return LAMB without its learning rate, its decoupled weight decay and its clipping.

    `weight` is 1 - beta1. The trust ratio is at most `largest_ratio`, and 1 for None. `weight_decay` takes
    part in it. `kept(count)` is the factor of the parameters that a decoupled weight decay leaves.
    """

    def axes_of(params: Any) -> Any:
        if largest_ratio is None and not is_cautious:
            return jax.tree.map(lambda _: (), params)
        return weight_axes(params, shapes, None)  # a norm or a mean is that of one weight

    def init_fn(params: optax.Params) -> Any:
        axes_of(params)
        return optax.scale_by_adam().init(params)

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        if params is None:
            raise ValueError("LAMB scales its updates by the parameters: pass params to update")
        count = optax.safe_increment(state.count)
        weight1 = weight(state.count) if callable(weight) else weight

        def first_moment(mean: jax.Array, gradient: jax.Array) -> jax.Array:
            return lerp(mean, gradient, weight1) if averages else jnp.add((1 - weight1) * mean, gradient)

        mu = jax.tree.map(first_moment, state.mu, updates)
        nu = optax.tree.update_moment(updates, state.nu, beta2, 2)
        corrections = [bias_correction(each, count) for each in (weight1, 1 - beta2)]
        first, second = corrections if corrects_bias else (1.0, 1.0)
        shrink = kept(state.count)

        def direction(g: jax.Array, m: jax.Array, v: jax.Array, param: jax.Array, axes: Any) -> jax.Array:
            moved = m / first / (jnp.sqrt(v) / jnp.sqrt(second) + eps)
            if is_cautious:
                moved = cautious(moved, g, axes)
            moved = moved + weight_decay * param
            if largest_ratio is None:
                return moved
            norms = shrink * _norm(param, axes), _norm(moved, axes)
            ratio = jnp.where(jnp.minimum(*norms) > 0, norms[0] / norms[1], 1.0)
            return moved * jnp.minimum(ratio, largest_ratio)

        scaled = jax.tree.map(direction, updates, mu, nu, params, axes_of(params))
        return scaled, optax.ScaleByAdamState(count, mu, nu)

    return optax.GradientTransformation(init_fn, update_fn)


def _norm(array: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    return jnp.sqrt(jnp.sum(array**2, axes, keepdims=True))
