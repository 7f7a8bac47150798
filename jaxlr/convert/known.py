"""The functions of Hugging Face in a live LambdaLR, recognized by their names, as schedules.

transformers makes its functions with `functools.partial`, so that they hold their arguments by name. Its
older versions, and diffusers, make closures, which hold the same arguments as variables.
"""

import functools
import math
from collections.abc import Mapping
from typing import Any

import optax

from jaxlr.convert.foreign import CALLS


_LIBRARIES = ("transformers", "diffusers", "pytorch_transformers")
_RENAMED = {
    "_get_constant_lambda": "get_constant_schedule",
    "_get_wsd_scheduler_lambda": "get_wsd_schedule",
    "_get_cosine_with_min_lr_schedule_with_warmup_lr_rate_lambda": (
        "get_cosine_with_min_lr_schedule_with_warmup_lr_rate"
    ),
}
_MOST_CHECKED = 300  # calls of a function to compare it with its schedule


def known_schedule(function: Any, base_lr: float) -> optax.Schedule | None:
    """Return the schedule of a function of the step, or None if it is not one of Hugging Face's.

    The schedule is compared with the function at many steps, because versions of the libraries differ.

    Args:
        function: the function of a live LambdaLR.
        base_lr: learning rate that it multiplies.
    """
    inner, arguments = _parts(function)
    library = str(getattr(inner, "__module__", "")).partition(".")[0]
    if library not in _LIBRARIES or arguments is None:
        return None
    name, arguments = _framework_call(getattr(inner, "__qualname__", ""), dict(arguments), base_lr)
    if name not in CALLS:
        return None
    try:
        schedule: Any = CALLS[name][1](base_lr, **arguments)
    except (TypeError, ValueError):  # an argument that the schedule does not have
        return None
    return schedule if _agree(schedule, function, base_lr, arguments) else None


def _parts(function: Any) -> tuple[Any, Mapping[str, Any] | None]:
    """Return a function and the arguments that it holds by name, or None if it holds others."""
    if isinstance(function, functools.partial):
        return function.func, None if function.args else function.keywords
    code, cells = getattr(function, "__code__", None), getattr(function, "__closure__", None) or ()
    try:
        values = [cell.cell_contents for cell in cells]
    except ValueError:  # a variable without a value
        return function, None
    return function, dict(zip(getattr(code, "co_freevars", ()), values, strict=False))


def _framework_call(
    qualified_name: str, arguments: dict[str, Any], base_lr: float
) -> tuple[str, dict[str, Any]]:
    """Return the name of the public function that has made a function of the step, and its arguments."""
    name = qualified_name.partition(".")[0]  # a closure is get_....<locals>.lr_lambda
    name = _RENAMED.get(name) or name.removeprefix("_").removesuffix("_lr_lambda")
    lr_init = arguments.pop("lr_init", None)
    if name == "get_polynomial_decay_schedule_with_warmup" and lr_init:
        # The rate of the optimizer stands for that of each group.
        arguments["lr_end"] = arguments.get("lr_end", 1e-7) / lr_init * base_lr
        arguments.pop("lr_range", None)
        arguments.pop("decay_steps", None)
    if name == "get_cosine_schedule_with_warmup" and arguments.get("min_lr_rate", 0.0):
        name = "get_cosine_with_min_lr_schedule_with_warmup"
    elif name == "get_cosine_schedule_with_warmup":
        arguments.pop("min_lr_rate", None)
    if name == "get_inverse_sqrt_schedule":
        arguments.pop("shift", None)
    return name, arguments


def _agree(schedule: Any, function: Any, base_lr: float, arguments: Mapping[str, Any]) -> bool:
    numbers = [value for value in arguments.values() if isinstance(value, int | float)]
    corners = {int(each) for each in numbers if 0 <= each < 1e15} | {int(sum(numbers)) if numbers else 0}
    steps = {corner + offset for corner in corners for offset in (-2, -1, 0, 1, 2, 17)}
    last = max(steps)
    steps |= {last * index // 97 for index in range(98)} | {2**power for power in range(17)}
    for step in sorted(steps)[-_MOST_CHECKED:]:
        if step < 0:
            continue
        try:
            expected = base_lr * float(function(step))
        except (ArithmeticError, TypeError, ValueError):
            return False
        if not math.isclose(float(schedule(step)), expected, rel_tol=1e-9, abs_tol=1e-9 * base_lr):
            return False
    return True
