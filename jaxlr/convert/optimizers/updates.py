"""Torch's update rules as Optax transformations, with torch's order of operations.

Each rule takes the settings of a parameter group. It returns the links of a chain that come before the
learning rate. `build` adds some settings to those of torch: `weight` is 1 - momentum (or 1 - beta1) as a
schedule, or None if the momentum is constant. Schedules count from 0, after `num_updates` updates.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr._checks import check_choice, check_duration, check_value, shown_value
from jaxlr.convert.fields import number, several
from jaxlr.convert.optimizers.adafactor import scale_by_adafactor
from jaxlr.convert.optimizers.adams import scale_by_adam, scale_by_adamax, scale_by_nadam, scale_by_radam
from jaxlr.convert.optimizers.asgd import scale_by_asgd
from jaxlr.convert.optimizers.axes import cautious, weight_axes
from jaxlr.convert.optimizers.lamb import scale_by_lamb
from jaxlr.convert.optimizers.muon import scale_by_muon
from jaxlr.convert.optimizers.rprop import scale_by_rprop


def in_float32(inner: optax.GradientTransformationExtraArgs) -> optax.GradientTransformationExtraArgs:
    """Compute the updates of 16-bit parameters in float32: in bfloat16 a momentum of 0.999 would be 1."""

    def widened(leaf: Any) -> Any:
        dtype = jnp.result_type(leaf)
        is_narrow = jnp.issubdtype(dtype, np.floating) and dtype.itemsize < 4
        return leaf.astype(np.float32) if is_narrow else leaf

    def init_fn(params: optax.Params) -> optax.OptState:
        if any(jnp.iscomplexobj(leaf) for leaf in jax.tree.leaves(params)):
            raise TypeError(
                "parameters must be real, got complex ones: pass their real and imaginary parts separately"
            )
        return inner.init(params)

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        wide = jax.tree.map(widened, (updates, state, params))
        wide, wide_state = inner.update(*wide, **extra_args)
        return optax.tree.cast_like(wide, updates), optax.tree.cast_like(wide_state, state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def checked(name: str, value: Any) -> float:
    """Return a hyperparameter, which must be a finite number >= 0. Torch accepts tensors for some."""
    return float(check_value(name, number(f"{name} of the optimizer", value)))


def _sgd(settings: dict[str, Any]) -> list[Any]:
    dampening = settings["dampening"]
    trace = _trace(settings)
    if not trace or dampening == 0:
        return trace
    if settings["nesterov"]:
        raise ValueError(f"nesterov needs a dampening of 0, as in torch's constructor, got {dampening!r}")
    # Torch's first momentum buffer is the first gradient without dampening.
    first = -settings["num_updates"]
    return [optax.scale_by_schedule(lambda count: jnp.where(count == first, 1.0, 1 - dampening)), *trace]


def _adam(settings: dict[str, Any]) -> list[Any]:
    first, beta2 = _betas(settings)
    return [scale_by_adam(first, beta2, settings["eps"], settings["amsgrad"])]


def _nadam(settings: dict[str, Any]) -> list[Any]:
    return [scale_by_nadam(*_betas(settings), settings["eps"], settings["momentum_decay"])]


def _radam(settings: dict[str, Any]) -> list[Any]:
    return [scale_by_radam(*_betas(settings), settings["eps"])]


def _adamax(settings: dict[str, Any]) -> list[Any]:
    return [scale_by_adamax(*_betas(settings), settings["eps"])]


def _betas(settings: dict[str, Any]) -> tuple[float | optax.Schedule, float]:
    """Return 1 - beta1, or its schedule by the count of all updates, and beta2."""
    beta1, beta2 = settings["beta1"], settings["beta2"]
    if max(beta1, beta2) >= 1:
        raise ValueError(f"betas must be below 1, got {(beta1, beta2)}")
    weight, before = settings["weight"], settings["num_updates"]
    return 1 - beta1 if weight is None else lambda count: weight(count - before), beta2


def _rmsprop(settings: dict[str, Any]) -> list[Any]:
    scale = optax.scale_by_stddev if settings["centered"] else optax.scale_by_rms
    return [scale(settings["alpha"], settings["eps"], eps_in_sqrt=False), *_trace(settings)]


def _adagrad(settings: dict[str, Any]) -> list[Any]:
    scale = _scale_by_adagrad(settings["initial_accumulator_value"], settings["eps"])
    lr_decay, before = settings["lr_decay"], settings["num_updates"]
    return [scale, optax.scale_by_schedule(lambda count: 1 / (1 + lr_decay * (before + count)))]


def _adadelta(settings: dict[str, Any]) -> list[Any]:
    return [optax.scale_by_adadelta(settings["rho"], settings["eps"])]


def _muon(settings: dict[str, Any]) -> list[Any]:
    coefficients = several("ns_coefficients of the optimizer", settings["ns_coefficients"], 3)
    num_steps = check_duration("ns_steps of the optimizer", settings["ns_steps"])
    adjust_lr_fn = "original" if settings["adjust_lr_fn"] is None else settings["adjust_lr_fn"]
    check_choice("adjust_lr_fn", adjust_lr_fn, ("original", "match_rms_adamw"))

    def scale(weight: Any) -> optax.GradientTransformation:
        return scale_by_muon(
            weight,
            settings["nesterov"],
            coefficients,
            num_steps,
            settings["eps"],
            adjust_lr_fn,
            settings["shapes"],
            settings["transposed"],
        )

    if settings["weight"] is None:
        return [scale(1 - settings["momentum"])]
    return [optax.inject_hyperparams(scale)(settings["weight"])]


def _adafactor(settings: dict[str, Any]) -> list[Any]:
    eps = settings["eps"]
    if not isinstance(eps, list | tuple) or len(eps) != 2:
        raise ValueError(f"eps of the optimizer must be 2 numbers, got {shown_value(eps)}")
    smallest = None if eps[0] is None else checked("eps", eps[0])
    beta2_decay = number("beta2_decay of the optimizer", settings["beta2_decay"])
    if not -np.inf < beta2_decay <= 0:
        raise ValueError(f"beta2_decay of the optimizer must be at most 0, got {beta2_decay!r}")
    return [
        scale_by_adafactor(
            _rate_at(settings),
            beta2_decay,
            (smallest, checked("eps", eps[1])),
            settings["d"],
            settings["shapes"],
            settings["transposed"],
        )
    ]


def _rprop(settings: dict[str, Any]) -> list[Any]:
    etas = several("etas of the optimizer", settings["etas"], 2)
    step_sizes = several("step_sizes of the optimizer", settings["step_sizes"], 2)
    if not 0 < etas[0] < 1 < etas[1]:
        raise ValueError(f"etas of the optimizer must lie below and above 1, got {etas}")
    first = _rate_at(settings)(settings["num_updates"])
    return [scale_by_rprop(first, etas, step_sizes)]


def _asgd(settings: dict[str, Any]) -> list[Any]:
    rate = _rate_at(settings)
    first = rate(settings["num_updates"])
    return [scale_by_asgd(rate, first, settings["lambd"], settings["alpha"], settings["t0"])]


def _lion(settings: dict[str, Any]) -> list[Any]:
    _betas(settings)  # check them
    weight, beta2 = settings["weight"], settings["beta2"]
    scale = optax.scale_by_lion(settings["beta1"], beta2)
    if weight is not None:
        # Only the schedule is injected: Optax rounds injected numbers to the dtype of the parameters.
        injected = optax.inject_hyperparams(lambda b1: optax.scale_by_lion(b1, beta2))
        scale = injected(lambda count: 1 - weight(count))
    if settings.get("caution"):
        scale = _with_caution(scale, settings["shapes"])
    return [scale, *_decoupled(settings)]


def _lamb(settings: dict[str, Any]) -> list[Any]:
    first, beta2 = _betas(settings)
    weight_decay = settings["weight_decay"]
    adapts = weight_decay != 0 or settings["always_adapt"]
    is_decoupled = bool(settings.get("decoupled_decay")) and weight_decay != 0
    rate, share = (_rate_at(settings), _decay_share(settings)) if is_decoupled else (None, None)
    scale = scale_by_lamb(
        first,
        beta2,
        settings["eps"],
        settings["shapes"],
        weight_decay=0.0 if is_decoupled else weight_decay,
        kept=lambda count: abs(1 - rate(count) * share(count)) if rate and share else 1.0,
        largest_ratio=(1.0 if settings["trust_clip"] else np.inf) if adapts else None,
        corrects_bias=bool(settings["bias_correction"]),
        averages=bool(settings["grad_averaging"]),
        is_cautious=bool(settings.get("caution")),
    )
    return [scale, *(_decoupled(settings) if is_decoupled else [])]


def decayed_weights(settings: dict[str, Any]) -> list[Any]:
    """Return the link that adds the weight decay, which may follow a schedule, and none without it."""
    weight_decay, schedule = settings["weight_decay"], settings.get("decay_schedule")
    mask = settings.get("decay_mask")
    if schedule is not None:
        # A function of the number alone: Optax would take a mask that is a function for a schedule.
        return [optax.inject_hyperparams(lambda decay: optax.add_decayed_weights(decay, mask))(schedule)]
    return [optax.add_decayed_weights(weight_decay, mask)] if weight_decay else []


def _decoupled(settings: dict[str, Any]) -> list[Any]:
    """Return the link of timm's decoupled weight decay, which may follow the square of the rate."""
    if not settings["weight_decay"] or not settings.get("corrected_weight_decay"):
        return decayed_weights(settings)
    share, before = _decay_share(settings), settings["num_updates"]
    return decayed_weights({**settings, "decay_schedule": lambda count: share(count + before)})


def _decay_share(settings: dict[str, Any]) -> Callable[[Any], Any]:
    """Return timm's decoupled weight decay, divided by the rate, by the count of all updates."""
    if not settings.get("corrected_weight_decay"):
        return lambda count: settings["weight_decay"]
    rate, largest = _rate_at(settings), settings["max_lr_snapshot"]
    if largest == 0:
        raise ValueError("corrected_weight_decay needs a max_lr_snapshot above 0, got 0.0")
    return lambda count: settings["weight_decay"] * (rate(count) / largest)


def _with_caution(inner: optax.GradientTransformation, shapes: Any) -> optax.GradientTransformation:
    """Return timm's cautious version of an optimizer."""

    def init_fn(params: optax.Params) -> Any:
        weight_axes(params, shapes, None)
        return inner.init(params)

    def update_fn(updates: optax.Updates, state: Any, params: Any = None) -> tuple[Any, Any]:
        scaled, state = inner.update(updates, state, params)
        return jax.tree.map(cautious, scaled, updates, weight_axes(updates, shapes, None)), state

    return optax.GradientTransformation(init_fn, update_fn)


def _rate_at(settings: dict[str, Any]) -> Callable[[Any], Any]:
    """Return the learning rate by the count of all updates, for a rule that computes with it."""
    rate: Any = settings["rate"]
    if rate is None:
        raise ValueError(
            "the rule of this optimizer computes with the learning rate by itself: it cannot have a "
            "plateau. Give another scheduler, such as CosineAnnealingLR"
        )
    before = settings["num_updates"]
    return lambda count: rate(count - before) if callable(rate) else rate


def _trace(settings: dict[str, Any]) -> list[Any]:
    weight, nesterov = settings["weight"], settings.get("nesterov", False)
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


class Rule(NamedTuple):
    """The rule of an optimizer, and its place in a transformation.

    Args:
        links: function from the settings of a group to the links of a chain.
        moments: the fields of the states of these links, with the names that torch gives them in
            `optimizer.state`.
        weight_decay: "coupled" if it is added to the gradients, "decoupled" if to the updates. A group may
            say otherwise. "own" if the links decay the weights, or nothing does.
        has_own_rate: True if the links apply the learning rate.
        counts_updates: True if all parameters of a group must have made the same number of updates, because
            the state has one count of them, or does not begin at 0.
        depends_on_axes: True if it depends on which axis of a weight is which.
    """

    links: Callable[..., list[Any]]
    moments: dict[str, str]
    weight_decay: str = "coupled"
    has_own_rate: bool = False
    counts_updates: bool = True
    depends_on_axes: bool = False


_ADAM = {"mu": "exp_avg", "nu": "exp_avg_sq"}

# The rules by the names of the classes of torch, and of timm.
RULES = {
    "SGD": Rule(_sgd, {"trace": "momentum_buffer"}),
    "Adam": Rule(_adam, {**_ADAM, "nu_max": "max_exp_avg_sq"}),
    "AdamW": Rule(_adam, {**_ADAM, "nu_max": "max_exp_avg_sq"}, weight_decay="decoupled"),
    "RMSprop": Rule(
        _rmsprop,
        {"mu": "grad_avg", "nu": "square_avg", "trace": "momentum_buffer"},
        counts_updates=False,
    ),
    "Adagrad": Rule(_adagrad, {"sum_of_squares": "sum"}),
    "NAdam": Rule(_nadam, {**_ADAM, "mu_product": "mu_product"}),
    "RAdam": Rule(_radam, _ADAM),
    "Adamax": Rule(_adamax, {"mu": "exp_avg", "nu": "exp_inf"}),
    "Adadelta": Rule(_adadelta, {"e_g": "square_avg", "e_x": "acc_delta"}, counts_updates=False),
    "Muon": Rule(
        _muon,
        {"trace": "momentum_buffer"},
        weight_decay="decoupled",
        counts_updates=False,
        depends_on_axes=True,
    ),
    "Adafactor": Rule(
        _adafactor,
        {"rows": "row_var", "columns": "col_var"},
        weight_decay="decoupled",
        depends_on_axes=True,
    ),
    "Rprop": Rule(
        _rprop, {"step_sizes": "step_size", "previous": "prev"}, weight_decay="own", has_own_rate=True
    ),
    "ASGD": Rule(_asgd, {"eta": "eta", "mu": "mu", "ax": "ax"}, has_own_rate=True),
    "Lion": Rule(_lion, {"mu": "exp_avg"}, weight_decay="own", counts_updates=False),
    "Lamb": Rule(_lamb, _ADAM, weight_decay="own"),
}
