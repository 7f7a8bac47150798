"""Torch's Adam and its relatives as Optax transformations.

In each, `weight` is 1 - beta1, a number or a schedule of the count of updates.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike


Weight = float | optax.Schedule

# The coefficients of x ** 2, x ** 4, ... in x / expm1(x).
_SERIES = (1 / 12, -1 / 720, 1 / 30240, -1 / 1209600, 1 / 47900160, -691 / 1307674368000)


class NAdamState(NamedTuple):
    """The state of torch's NAdam."""

    count: Any  # updates so far, shape (), int32
    mu: Any  # first moments
    nu: Any  # second moments
    mu_product: jax.Array  # product of the momenta so far, shape (), float32 as in torch


def scale_by_adam(weight: Weight, beta2: float, eps: float, amsgrad: bool) -> optax.GradientTransformation:
    """Return Adam, or AMSGrad with the maximum before the bias correction.

    Optax's Adam computes 1 - beta ** count in float32 from a rounded beta. For 0.999 that is wrong by 6e-6
    in the first updates. Its AMSGrad takes the maximum after the bias correction.
    """

    def direction(first: jax.Array, count: jax.Array) -> Callable[..., jax.Array]:
        second = bias_correction(1 - beta2, count)
        return lambda m, v: m / first / (jnp.sqrt(v) / jnp.sqrt(second) + eps)

    return _scale_by_moments(weight, _mean_square(beta2), direction, amsgrad)


def scale_by_nadam(
    weight: Weight, beta2: float, eps: float, momentum_decay: float
) -> optax.GradientTransformation:
    """Return NAdam, whose momentum warms up. Optax's has a constant one."""

    def init_fn(params: optax.Params) -> NAdamState:
        fresh: Any = optax.scale_by_adam().init(params)
        return NAdamState(fresh.count, fresh.mu, fresh.nu, jnp.ones([], np.float32))

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        del params
        count, weight1, mu = _first_moment(weight, state, updates)
        nu = optax.tree.update_moment(updates, state.nu, beta2, 2)

        def momentum(count: jax.Array) -> jax.Array:
            return (1 - weight1) * (1 - 0.5 * 0.96 ** (momentum_decay * count))

        now, later = momentum(count), momentum(count + 1)
        product = state.mu_product * now.astype(np.float32)
        wide = product.astype(jax.dtypes.canonicalize_dtype(float))  # torch computes with a float64
        of_gradient, of_moment = (1 - now) / (1 - wide), later / (1 - wide * later)
        second = bias_correction(1 - beta2, count)

        def direction(g: jax.Array, m: jax.Array, v: jax.Array) -> jax.Array:
            return (of_gradient * g + of_moment * m) / (jnp.sqrt(v / second) + eps)

        scaled = jax.tree.map(direction, updates, mu, nu)
        return scaled, NAdamState(count, mu, nu, product)

    return optax.GradientTransformation(init_fn, update_fn)


def scale_by_radam(weight: Weight, beta2: float, eps: float) -> optax.GradientTransformation:
    """Return RAdam, with eps added before the bias correction. Optax adds it after."""

    def direction(first: jax.Array, count: jax.Array) -> Callable[..., jax.Array]:
        root, length = jnp.sqrt(bias_correction(1 - beta2, count)), _average_length(beta2, count)
        longest = 2 / (1 - beta2) - 1
        if longest <= 5:
            return lambda m, v: m / first
        bounded = jnp.maximum(length, 5.0)  # keeps the root real where it is not used
        ratio = (bounded - 4) * (bounded - 2) * longest / ((longest - 4) * (longest - 2) * bounded)
        factor = root * jnp.sqrt(ratio)
        return lambda m, v: m / first * jnp.where(length > 5, factor / (jnp.sqrt(v) + eps), 1.0)

    return _scale_by_moments(weight, _mean_square(beta2), direction)


def scale_by_adamax(weight: Weight, beta2: float, eps: float) -> optax.GradientTransformation:
    """Return Adamax. Optax's is equal, but its bias correction loses digits in float32."""
    return _scale_by_moments(
        weight,
        lambda v, g: jnp.maximum(beta2 * v, jnp.abs(g) + eps),
        lambda first, count: lambda m, v: m / first / v,
    )


def _scale_by_moments(
    weight: Weight,
    second: Callable[[jax.Array, jax.Array], jax.Array],
    direction: Callable[[jax.Array, jax.Array], Callable[..., jax.Array]],
    amsgrad: bool = False,
) -> optax.GradientTransformation:
    """Return a relative of Adam.

    `second` returns the next second moment of a gradient. `direction` takes the bias correction of the
    first moment and the count, and returns the function from both moments to the update. With `amsgrad`
    it gets the largest second moments so far.
    """

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        del params
        count, weight1, mu = _first_moment(weight, state, updates)
        nu = jax.tree.map(second, state.nu, updates)
        state = state._replace(count=count, mu=mu, nu=nu)
        if amsgrad:
            nu = jax.tree.map(jnp.maximum, state.nu_max, nu)
            state = state._replace(nu_max=nu)
        return jax.tree.map(direction(bias_correction(weight1, count), count), mu, nu), state

    fresh = optax.scale_by_amsgrad() if amsgrad else optax.scale_by_adam()
    return optax.GradientTransformation(fresh.init, update_fn)


def _mean_square(beta2: float) -> Callable[[jax.Array, jax.Array], jax.Array]:
    return lambda v, g: (1 - beta2) * g**2 + beta2 * v


def _first_moment(weight: Weight, state: Any, updates: optax.Updates) -> tuple[Any, Any, Any]:
    """Return the count of updates with this one, its 1 - beta1, and the first moments."""
    weight1 = weight(state.count) if callable(weight) else weight
    mu = jax.tree.map(lambda m, g: lerp(m, g, weight1), state.mu, updates)
    return optax.safe_increment(state.count), weight1, mu


def _average_length(beta2: float, count: jax.Array) -> jax.Array:
    """Return RAdam's length of the average of squares, with most digits of float32.

    Its formula is 2 / (1 - beta2) - 1 - 2 * count * beta2 ** count / (1 - beta2 ** count). The terms nearly
    cancel in the first updates. The last one is 2 / d * (x / expm1(x)), with d = -log(beta2) and
    x = d * count, and x / expm1(x) has the series 1 - x / 2 + x ** 2 / 12 - ...
    """
    if beta2 == 0:
        return jnp.ones([])
    decay = -math.log(beta2)
    x = decay * count
    square = jnp.minimum(x, 0.5) ** 2
    series = square * sum(coefficient * square**k for k, coefficient in enumerate(_SERIES))
    short = 2 / (1 - beta2) - 1 - 2 / decay + count - 2 / decay * series
    long = 2 / (1 - beta2) - 1 - 2 / decay * x / jnp.expm1(jnp.minimum(x, 80.0))
    return jnp.where(x < 0.5, short, long)


def lerp(start: jax.Array, end: jax.Array, weight: Any) -> jax.Array:
    """Interpolate like torch's `lerp`. Each of the two forms loses digits where the other keeps them."""
    near_start, near_end = start + weight * (end - start), end - (1 - weight) * (end - start)
    return jnp.where(weight < 0.5, near_start, near_end)


def bias_correction(weight: Any, count: ArrayLike) -> jax.Array:
    """Return `1 - (1 - weight) ** count`, with as many correct digits as `weight` has."""
    return -jnp.expm1(count * jnp.log1p(-weight))
