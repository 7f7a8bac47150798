"""The settings of a plateau: their checks, and the arrays that hold them in a state."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_value, check_whole_number
from jaxlr._double_float import Real, as_real


# Outside this range a pair of float32 has no more digits than a single float32.
_SMALLEST_LR, _LARGEST_LR = 1e-30, 1e30

MODES = ("min", "max")
THRESHOLD_MODES = ("rel", "abs", "magnitude")
# The fields of a state that hold real numbers. The others hold integers.
REALS = ("lr", "best", "init_value", "first_lr", "factor", "threshold", "min_lr", "max_lr", "eps")


def copied_int(value: ArrayLike) -> jax.Array:
    """Return a new, strongly typed array, so that a scan can carry it and a jit can donate it."""
    return jnp.array(value, dtype=np.int32, copy=True)


def copied_real(value: ArrayLike) -> Real:
    """Return a new real number, for the reasons of `copied_int`."""
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), as_real(value))


def checked_settings(given: Mapping[str, Any], threshold_modes: tuple[str, ...]) -> dict[str, Any]:
    """Return the arguments of a plateau, in their order, after checking those that plateaus share."""
    settings = dict(given)
    mode = check_choice("mode", settings["mode"], MODES)
    threshold_mode = check_choice("threshold_mode", settings["threshold_mode"], threshold_modes)
    settings["init_value"] = check_init_value(settings["init_value"])
    factor = check_value("factor", settings["factor"], positive=True)
    settings["factor"] = _check_below_one("factor", factor)
    settings["threshold"] = _check_threshold(settings["threshold"], mode, threshold_mode)
    for name in settings.keys() & {"min_lr", "max_lr", "eps"}:
        settings[name] = check_value(name, settings[name])
    for name in settings.keys() & {"patience", "cooldown", "warmup", "reset_start"}:
        settings[name] = _check_duration(name, settings[name])
    return settings


def initial_fields(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that the states of plateaus share: their settings, and their first counters."""
    numbers = {
        **settings,
        "mode": MODES.index(settings["mode"]),
        "threshold_mode": THRESHOLD_MODES.index(settings["threshold_mode"]),
        "lr": settings["init_value"],
        "best": -np.inf if settings["mode"] == "max" else np.inf,
        "num_bad_epochs": 0,
        "cooldown_counter": 0,
    }
    return {
        name: copied_real(number) if name in REALS else copied_int(number)
        for name, number in numbers.items()
    }


def check_init_value(value: ArrayLike, name: str = "init_value") -> float | jax.Array:
    init_value = check_value(name, value, positive=True)
    if not isinstance(init_value, jax.Array) and not _SMALLEST_LR <= init_value <= _LARGEST_LR:
        bounds = f"from {_SMALLEST_LR:g} to {_LARGEST_LR:g}"
        raise ValueError(f"{name} must be {bounds}, so that float32 can hold it, got {init_value!r}")
    return init_value


def _check_below_one(name: str, value: float | jax.Array) -> float | jax.Array:
    if not isinstance(value, jax.Array) and value >= 1:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return value


def _check_threshold(value: ArrayLike, mode: str, threshold_mode: str) -> float | jax.Array:
    threshold = check_value("threshold", value)
    if threshold_mode == "rel" and not isinstance(threshold, jax.Array):
        is_lost = 1 - threshold == 1 if mode == "min" else 1 + threshold == 1
        threshold = 0.0 if is_lost else threshold  # torch rounds the factor to 1
    if mode == "min" and threshold_mode != "abs":
        # The bound would be best * (1 - 1) = 0, and no loss would ever be better.
        return _check_below_one("a relative threshold in mode 'min'", threshold)
    return threshold


def _check_duration(name: str, value: ArrayLike) -> int | jax.Array:
    if isinstance(value, jax.Array):
        if value.shape != ():
            raise ValueError(f"{name} must be a scalar, got an array of shape {value.shape}")
        return value
    duration = check_whole_number(name, value)
    if not 0 <= duration < 2**31:
        raise ValueError(f"{name} must be a number of epochs from 0 to 2**31 - 1, got {value!r}")
    return duration
