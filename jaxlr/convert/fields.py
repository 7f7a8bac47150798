"""Checks of the fields of live and saved schedulers and optimizers. Each error names the field."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxlr._checks import LARGEST_ARGUMENT, shown_value


_MOST_MILESTONES = 100_000  # a Counter of a few bytes can stand for more numbers than memory holds
_MOST_PARTS = 1_000


def number(name: str, value: Any) -> float:
    """Return a number, or a tensor or array of one number, as a float.

    Raises:
        TypeError: the value is not a number.
        ValueError: it is too large for a float64.
    """
    try:
        single = value.item() if hasattr(value, "item") and callable(value.item) else value
    except Exception:
        single = None  # it has several numbers, or none
    if isinstance(single, bool) or not isinstance(single, int | float):
        raise TypeError(f"{name} must be a number, got {shown_value(value)}")
    try:
        return float(single)
    except OverflowError:
        raise ValueError(f"{name} must be a finite number, got one too large for float64") from None


def whole(name: str, value: Any) -> int:
    """Return a whole number as an int."""
    found = number(name, value)
    if not math.isfinite(found) or not found.is_integer():
        raise ValueError(f"{name} must be a whole number, got {shown_value(value)}")
    return int(value) if isinstance(value, int) else int(found)


def _count(name: str, value: Any) -> None:
    found = number(name, value)
    if not abs(found) <= LARGEST_ARGUMENT:
        raise ValueError(f"{name} must be at most 2**61 in absolute value, got {shown_value(value)}")


def flag(name: str, value: Any) -> None:
    """Check that a value is True, False or None."""
    if value is not None and not (isinstance(value, bool | int) and value in (0, 1)):
        raise TypeError(f"{name} must be True or False, got {shown_value(value)}")


def numbers(name: str, value: Any) -> None:
    """Check that a value is a list with a number for each parameter group."""
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list with a number for each group, got {shown_value(value)}")
    for index, each in enumerate(value):
        number(f"{name}[{index}]", each)


def several(name: str, value: Any, how_many: int) -> tuple[float, ...]:
    """Return a fixed number of numbers, such as the two betas of Adam."""
    if not isinstance(value, list | tuple) or len(value) != how_many:
        kind = ValueError if isinstance(value, list | tuple) else TypeError
        raise kind(f"{name} must be {how_many} numbers, got {shown_value(value)}")
    return tuple(number(f"{name}[{index}]", each) for index, each in enumerate(value))


def milestones(name: str, value: Any) -> None:
    """Check that a value lists epochs, or counts how often each epoch is a milestone."""
    if isinstance(value, Mapping):
        total = 0
        for epoch, times in value.items():
            text = epoch.removeprefix("-") if isinstance(epoch, str) else ""
            if not text.isdecimal() or len(text) > 19:
                number(f"each key of {name}", epoch)
            total += max(whole(f"{name}[{shown_value(epoch)}]", times), 0)
        if total > _MOST_MILESTONES:
            raise ValueError(f"{name} must hold at most {_MOST_MILESTONES} epochs, got {total}")
        return
    if not isinstance(value, list | tuple):
        raise TypeError(f"{name} must be a list of epochs, got {shown_value(value)}")
    numbers(name, value)


def _text(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a text, got {shown_value(value)}")


def _parts(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not 1 <= len(value) <= _MOST_PARTS:
        raise TypeError(f"{name} must be a list of schedulers, got {shown_value(value)}")
    for index, each in enumerate(value):
        if not isinstance(each, Mapping) and not hasattr(each, "optimizer"):
            raise TypeError(f"{name}[{index}] must be a scheduler, got {shown_value(each)}")


def _phases(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not 2 <= len(value) <= 3:
        raise TypeError(f"{name} must be a list of two or three phases, got {shown_value(value)}")
    for index, phase in enumerate(value):
        if not isinstance(phase, Mapping) or not all(isinstance(key, str) for key in phase):
            raise TypeError(f"{name}[{index}] must be a mapping, got {shown_value(phase)}")
        if "end_step" in phase or index == 0:
            number(f"{name}[{index}]['end_step']", phase.get("end_step"))


_Check = Callable[[str, Any], Any]
_NUMBERS = (
    *("step_size", "gamma", "factor", "total_iters", "start_factor", "end_factor", "T_max", "eta_min"),
    *("power", "T_0", "T_i", "T_mult", "T_cur", "total_size", "step_ratio", "total_steps"),
    *("anneal_epochs", "patience", "cooldown", "threshold", "eps", "best", "num_bad_epochs"),
    *("cooldown_counter", "step_size_up", "step_size_down"),
)
_CHECKS: dict[str, _Check] = {
    **dict.fromkeys(_NUMBERS, number),
    **dict.fromkeys(("last_epoch", "_step_count"), _count),
    **dict.fromkeys(("base_lrs", "_last_lr", "max_lrs", "min_lrs"), numbers),
    **dict.fromkeys(("mode", "threshold_mode", "_anneal_strategy", "_anneal_func_type"), _text),
    "milestones": milestones,
    "_milestones": numbers,
    "_schedulers": _parts,
    "_schedule_phases": _phases,
}


def check_fields(owner: str, values: Mapping[str, Any]) -> None:
    """Check the fields of a scheduler of one of torch's classes.

    Raises:
        TypeError: a field has the wrong type.
        ValueError: a field has an impossible value.
    """
    for key, check in _CHECKS.items():
        if key in values:
            check(f"{key} of {owner}", values[key])


def check_group(owner: str, group: Any) -> None:
    """Check the learning rates in a parameter group of an optimizer."""
    if not isinstance(group, Mapping):
        raise TypeError(f"each of the param_groups of {owner} must be a mapping, got {shown_value(group)}")
    for key in ("lr", "initial_lr", "max_lr", "min_lr", "swa_lr"):
        if key in group:
            number(f"{key} of {owner}", group[key])
