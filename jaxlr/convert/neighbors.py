"""Checks of what stands around a live scheduler: other schedulers of its optimizer, and its functions."""

import gc
from collections.abc import Iterator
from typing import Any

from jaxlr.convert.classes import MODULES, is_plateau
from jaxlr.convert.twin import check_function_of_epoch


def check_only_scheduler(scheduler: Any) -> None:
    """Refuse a scheduler whose optimizer has another one: torch steps both, so the rate depends on both.

    A ReduceLROnPlateau may stand next to another scheduler, because its factor is converted on its own.

    Raises:
        ValueError: there is another one, which is neither a part of `scheduler` nor contains it, or a
            warmup of pytorch_warmup.
    """
    if not _others(scheduler):
        return
    gc.collect()  # an abandoned scheduler may still be waiting for the collector
    if others := _others(scheduler):
        name, other = type(scheduler).__name__, type(others[0]).__name__
        if _is_warmup(others[0]):
            raise ValueError(
                f"the optimizer of this {name} has a {other} of pytorch_warmup, which dampens its rate: "
                "give jaxlr.from_string the lines that construct both; if the warmup is over, delete it"
            )
        raise ValueError(
            f"the optimizer of this {name} has another scheduler, {other}: if both are stepped, convert "
            "ChainedScheduler([first, second]) of the two; if not, delete the other one"
        )


def check_functions(scheduler: Any, group: int) -> None:
    """Refuse functions that ignore the epoch and read something that may change.

    Raises:
        ValueError: there is one.
    """
    for part in with_parts(scheduler):
        functions = vars(part).get("lr_lambdas")
        if isinstance(functions, list) and 0 <= group < len(functions):
            check_function_of_epoch(functions[group])
        check_function_of_epoch(vars(part).get("_scale_fn_custom"))


def with_parts(scheduler: Any) -> Iterator[Any]:
    """Yield a scheduler and all schedulers that it holds in its attributes."""
    seen: set[int] = set()
    waiting = [scheduler]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        for value in getattr(each, "__dict__", {}).values():
            items = value if isinstance(value, list | tuple) else [value]
            waiting += [item for item in items if _is_scheduler(item)]


def _others(scheduler: Any) -> list[Any]:
    optimizer = scheduler.optimizer
    own = {id(each) for each in with_parts(scheduler)}
    others = [each for each in _schedulers_of(optimizer) if id(each) not in own]
    for other in others:
        family = {id(each) for each in with_parts(other)}
        if family & own:
            own |= family
    return [other for other in others if id(other) not in own]


def _schedulers_of(optimizer: Any) -> list[Any]:
    """Return the torch schedulers and warmups that refer to an optimizer, without plateaus."""
    holders = gc.get_referrers(optimizer)
    attributes = [each for each in holders if isinstance(each, dict) and each.get("optimizer") is optimizer]
    if attributes:
        holders += gc.get_referrers(*attributes)  # in one call, because each visits every object of Python
    unique = {id(each): each for each in holders if _is_scheduler(each) or _is_warmup(each)}
    return [
        each
        for each in unique.values()
        if vars(each).get("optimizer") is optimizer and not is_plateau(each)
    ]


def _is_scheduler(value: Any) -> bool:
    return any(base.__module__ in MODULES for base in type(value).__mro__) and hasattr(value, "__dict__")


def _is_warmup(value: Any) -> bool:
    return any(base.__module__.startswith("pytorch_warmup.") for base in type(value).__mro__)
