"""Torch's update rules as Optax transformations, with torch's order of operations.

Each rule takes the settings of a parameter group and `weight`. That is 1 - momentum (or 1 - beta1) as a
schedule, or None if the momentum is constant. It returns the links of a chain that come before the learning
rate. The schedules in it count from 0. The setting `num_updates` is the number of updates before.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr._checks import check_choice, check_duration
from jaxlr.convert.adafactor import scale_by_adafactor
from jaxlr.convert.adams import scale_by_adam, scale_by_adamax, scale_by_nadam, scale_by_radam
from jaxlr.convert.fields import number, numbers
from jaxlr.convert.muon import scale_by_muon


def in_float32(inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """Compute the updates of 16-bit parameters in float32: in bfloat16 a momentum of 0.999 would be 1."""

    def widened(tree: Any) -> Any:
        def widen(leaf: Any) -> Any:
            dtype = jnp.result_type(leaf)
            is_narrow = jnp.issubdtype(dtype, np.floating) and dtype.itemsize < 4
            return leaf.astype(np.float32) if is_narrow else leaf

        return jax.tree.map(widen, tree)

    def init_fn(params: optax.Params) -> optax.OptState:
        if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)):
            raise TypeError(
                "parameters must be real, got complex ones: pass their real and imaginary parts separately"
            )
        return inner.init(params)

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        wide, wide_state = inner.update(widened(updates), widened(state), widened(params), **extra_args)
        return optax.tree.cast_like(wide, updates), optax.tree.cast_like(wide_state, state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _sgd(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    dampening = settings["dampening"]
    trace = _trace(settings, weight)
    if not trace or dampening == 0:
        return trace
    if settings["nesterov"]:
        raise ValueError(f"nesterov needs a dampening of 0, as in torch's constructor, got {dampening!r}")
    # Torch's first momentum buffer is the first gradient without dampening.
    first = -settings["num_updates"]
    return [optax.scale_by_schedule(lambda count: jnp.where(count == first, 1.0, 1 - dampening)), *trace]


def _adam(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    first, beta2 = _betas(settings, weight)
    return [scale_by_adam(first, beta2, settings["eps"], settings["amsgrad"])]


def _nadam(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    return [scale_by_nadam(*_betas(settings, weight), settings["eps"], settings["momentum_decay"])]


def _radam(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    return [scale_by_radam(*_betas(settings, weight), settings["eps"])]


def _adamax(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    return [scale_by_adamax(*_betas(settings, weight), settings["eps"])]


def _betas(settings: dict[str, Any], weight: optax.Schedule | None) -> tuple[float | optax.Schedule, float]:
    """Return 1 - beta1, or its schedule by the count of all updates, and beta2."""
    beta1, beta2 = settings["beta1"], settings["beta2"]
    if max(beta1, beta2) >= 1:
        raise ValueError(f"betas must be below 1, got {(beta1, beta2)}")
    before = settings["num_updates"]
    return 1 - beta1 if weight is None else lambda count: weight(count - before), beta2


def _rmsprop(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    scale = optax.scale_by_stddev if settings["centered"] else optax.scale_by_rms
    return [scale(settings["alpha"], settings["eps"], eps_in_sqrt=False), *_trace(settings, weight)]


def _adagrad(settings: dict[str, Any], weight: None) -> list[Any]:
    del weight  # torch refuses to cycle the momentum of an optimizer that has none
    scale = _scale_by_adagrad(settings["initial_accumulator_value"], settings["eps"])
    lr_decay, before = settings["lr_decay"], settings["num_updates"]
    return [scale, optax.scale_by_schedule(lambda count: 1 / (1 + lr_decay * (before + count)))]


def _adadelta(settings: dict[str, Any], weight: None) -> list[Any]:
    del weight  # torch refuses to cycle the momentum of an optimizer that has none
    return [optax.scale_by_adadelta(settings["rho"], settings["eps"])]


def _muon(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    if weight is not None:
        raise ValueError("the momentum of Muon cannot be cycled: give the scheduler cycle_momentum=False")
    coefficients = settings["ns_coefficients"]
    numbers("ns_coefficients of the optimizer", coefficients)
    if len(coefficients) != 3:
        raise ValueError(f"ns_coefficients of the optimizer must be three numbers, got {coefficients!r}")
    adjust_lr_fn = "original" if settings["adjust_lr_fn"] is None else settings["adjust_lr_fn"]
    check_choice("adjust_lr_fn", adjust_lr_fn, ("original", "match_rms_adamw"))
    return [
        scale_by_muon(
            settings["momentum"],
            settings["nesterov"],
            coefficients,
            check_duration("ns_steps of the optimizer", settings["ns_steps"]),
            settings["eps"],
            adjust_lr_fn,
            settings["shapes"],
            settings["transposed"],
        )
    ]


def _adafactor(settings: dict[str, Any], weight: None) -> list[Any]:
    del weight  # torch refuses to cycle the momentum of an optimizer that has none
    beta2_decay = number("beta2_decay of the optimizer", settings["beta2_decay"])
    if not -np.inf < beta2_decay <= 0:
        raise ValueError(f"beta2_decay of the optimizer must be at most 0, got {beta2_decay!r}")
    rate: Any = settings["rate"]
    before = settings["num_updates"]

    def rate_at(count: Any) -> Any:
        return rate(count - before) if callable(rate) else rate

    return [
        scale_by_adafactor(
            rate_at,
            beta2_decay,
            (settings["eps1"], settings["eps"]),
            settings["d"],
            settings["shapes"],
            settings["transposed"],
        )
    ]


def _trace(settings: dict[str, Any], weight: optax.Schedule | None) -> list[Any]:
    nesterov = settings.get("nesterov", False)
    if weight is not None:
        return [optax.inject_hyperparams(optax.trace)(lambda count: 1 - weight(count), nesterov)]
    return [optax.trace(settings["momentum"], nesterov)] if settings["momentum"] else []


def _scale_by_adagrad(initial_accumulator_value: float, eps: float) -> optax.GradientTransformation:
    """Divide by the root of the sum of squares, to which torch adds `eps` outside of the root."""
    squares = optax.scale_by_rss(initial_accumulator_value)

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[optax.Updates, Any]:
        _, state = squares.update(updates, state, params)
        return jax.tree.map(lambda g, s: g / (jnp.sqrt(s) + eps), updates, state.sum_of_squares), state

    return optax.GradientTransformation(squares.init, update_fn)


# The rules by the names of torch's classes.
UPDATES: dict[str, Callable[..., list[Any]]] = {
    "SGD": _sgd,
    "Adam": _adam,
    "AdamW": _adam,
    "RMSprop": _rmsprop,
    "Adagrad": _adagrad,
    "NAdam": _nadam,
    "RAdam": _radam,
    "Adamax": _adamax,
    "Adadelta": _adadelta,
    "Muon": _muon,
    "Adafactor": _adafactor,
}

# The fields of the states of these links, by the names that torch gives them in `optimizer.state`.
MOMENTS: dict[str, dict[str, str]] = {
    "SGD": {"trace": "momentum_buffer"},
    "Adam": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    "AdamW": {"mu": "exp_avg", "nu": "exp_avg_sq", "nu_max": "max_exp_avg_sq"},
    "RMSprop": {"mu": "grad_avg", "nu": "square_avg", "trace": "momentum_buffer"},
    "Adagrad": {"sum_of_squares": "sum"},
    "NAdam": {"mu": "exp_avg", "nu": "exp_avg_sq", "mu_product": "mu_product"},
    "RAdam": {"mu": "exp_avg", "nu": "exp_avg_sq"},
    "Adamax": {"mu": "exp_avg", "nu": "exp_inf"},
    "Adadelta": {"e_g": "square_avg", "e_x": "acc_delta"},
    "Muon": {"trace": "momentum_buffer"},
    "Adafactor": {"rows": "row_var", "columns": "col_var"},
}
