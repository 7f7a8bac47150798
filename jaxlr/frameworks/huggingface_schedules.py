"""The schedules of Hugging Face transformers: the functions of its `optimization.py`, and its GreedyLR.

The rules are those of transformers 5.24.0, compared with 4.46.3. Where the versions differ, a comment says
so.
"""

import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, shown_value
from jaxlr.frameworks._curves import check_steps, falling_waves, warmup, warmup_ahead, waves
from jaxlr.frameworks.recipe import parsed_version
from jaxlr.greedy import greedy_lr
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules import Phase, phased_lr


# The schedules that do not depend on the length of the run.
ENDLESS = ("constant", "constant_with_warmup", "inverse_sqrt", "piecewise_constant")
PLATEAUS = ("reduce_lr_on_plateau", "greedy")
_WSD_WARMUPS = ("linear", "cosine", "1-sqrt")
_NEW_WSD = (4, 49)  # the version that changed get_wsd_schedule
NEWEST_RULES = "4.49"  # the last version that changed a schedule
_MOST_CYCLES = 200
_MOST_RULES = 200
_FACTOR = re.compile(r"(\d+\.?\d*|\.\d+)(e-?\d+)?")


def get_constant_schedule(init_value: ArrayLike) -> optax.Schedule:
    """Return the base learning rate at every step."""
    return phased_lr(init_value, [Phase()])


def get_constant_schedule_with_warmup(init_value: ArrayLike, num_warmup_steps: float) -> optax.Schedule:
    """Return a line from 0, then a constant."""
    return phased_lr(init_value, [warmup(check_steps("num_warmup_steps", num_warmup_steps)), Phase()])


def get_linear_schedule_with_warmup(
    init_value: ArrayLike, num_warmup_steps: float, num_training_steps: float
) -> optax.Schedule:
    """Return a line from 0, then a line to 0 at `num_training_steps`."""
    ramp, steps, passed = _clock(num_warmup_steps, num_training_steps)
    if num_training_steps <= num_warmup_steps:
        return phased_lr(init_value, [ramp, Phase(start_factor=0.0)])
    ends: Any = {"start_factor": 1.0, "end_factor": 0.0, "offset": passed, "span": steps}
    return phased_lr(init_value, [ramp, Phase(math.ceil(steps - passed), "linear", **ends)])


def get_cosine_schedule_with_warmup(
    init_value: ArrayLike, num_warmup_steps: float, num_training_steps: float, num_cycles: float = 0.5
) -> optax.Schedule:
    """Return a line from 0, then the waves of a cosine. After `num_training_steps` they rise again."""
    ramp, steps, passed = _clock(num_warmup_steps, num_training_steps)
    return waves(init_value, [ramp], steps, num_cycles, passed, end_factor=0.0)


def get_cosine_with_hard_restarts_schedule_with_warmup(
    init_value: ArrayLike, num_warmup_steps: int, num_training_steps: int, num_cycles: float = 1
) -> optax.Schedule:
    """Return a line from 0, then `num_cycles` falls of a cosine, each from the base rate, then 0."""
    ramp, steps = _whole_clock(num_warmup_steps, num_training_steps)
    cycles = check_steps("num_cycles", num_cycles)
    most = min(_MOST_CYCLES, steps)
    if not 0 < cycles <= most:
        raise ValueError(f"num_cycles must be above 0 and at most {most}, got {num_cycles!r}")
    phases, begin = [ramp], 0
    span = steps / cycles
    for cycle in range(math.ceil(cycles)):
        end = min(math.ceil((cycle + 1) * steps / cycles), steps)
        # The framework's float64 can put the step of a restart at the end of the cycle before it.
        if end < steps and cycles * (end / steps) % 1.0 > 0.5:
            end += 1
        offset = max(begin - cycle * steps / cycles, 0.0)
        if end > begin:
            phases.append(
                Phase(end - begin, "cosine", start_factor=1.0, end_factor=0.0, offset=offset, span=span)
            )
        begin = max(begin, end)
    return phased_lr(init_value, [*phases, Phase(start_factor=0.0)])


def get_polynomial_decay_schedule_with_warmup(
    init_value: Any,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float = 1e-7,
    power: float = 1.0,
) -> optax.Schedule:
    """Return a line from 0, then a polynomial to `lr_end`."""
    ramp, steps = _whole_clock(num_warmup_steps, num_training_steps)
    if num_training_steps == num_warmup_steps:
        raise ValueError("num_training_steps must differ from num_warmup_steps: transformers divides by 0")
    if not isinstance(init_value, jax.Array) and not isinstance(lr_end, jax.Array) and init_value <= lr_end:
        raise ValueError(f"lr_end must be below the learning rate {init_value!r}, got {lr_end!r}")
    if num_training_steps < num_warmup_steps:
        return phased_lr(init_value, [ramp, Phase(start_value=lr_end)])
    return phased_lr(init_value, [ramp, Phase(steps, "polynomial", end_value=lr_end, power=power)])


def get_inverse_sqrt_schedule(
    init_value: ArrayLike, num_warmup_steps: float, timescale: float | None = None
) -> optax.Schedule:
    """Return a line from 0, then the inverse square root of the step, without end."""
    steps = check_steps("num_warmup_steps", num_warmup_steps)
    span = check_steps("timescale", timescale, steps or 10_000)
    passed = math.ceil(steps) - steps
    return phased_lr(
        init_value, [warmup(steps), Phase(shape="inverse_sqrt", start_factor=1.0, offset=passed, span=span)]
    )


def get_cosine_with_min_lr_schedule_with_warmup(
    init_value: ArrayLike,
    num_warmup_steps: float,
    num_training_steps: float,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
) -> optax.Schedule:
    """Return a line from 0, then the waves of a cosine down to a floor."""
    ramp, steps, passed = _clock(num_warmup_steps, num_training_steps)
    return waves(init_value, [ramp], steps, num_cycles, passed, **_floor(min_lr, min_lr_rate))


def get_cosine_with_min_lr_schedule_with_warmup_lr_rate(
    init_value: ArrayLike,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float = 0.5,
    min_lr: float | None = None,
    min_lr_rate: float | None = None,
    warmup_lr_rate: float | None = None,
) -> optax.Schedule:
    """Return a line and then the waves of a cosine, both one step ahead."""
    _, steps = _whole_clock(num_warmup_steps, num_training_steps)
    length = int(num_warmup_steps)
    if warmup_lr_rate is None:
        ramp = warmup_ahead(length)
    else:
        ramp = Phase(length, "linear", start_factor=warmup_lr_rate, end_factor=1.0, span=max(1, length - 1))
    return waves(init_value, [ramp], steps, num_cycles, 1.0, **_floor(min_lr, min_lr_rate))


def get_wsd_schedule(
    init_value: ArrayLike,
    num_warmup_steps: int,
    num_decay_steps: int,
    num_training_steps: int | None = None,
    num_stable_steps: int | None = None,
    warmup_type: str = "linear",
    decay_type: str = "cosine",
    min_lr_ratio: float = 0.0,
    num_cycles: float = 0.5,
    *,
    version: str | None = None,
) -> optax.Schedule:
    """Return a warmup, a constant and a decay. The warmup began at 0 before transformers 4.49."""
    is_new = (parsed_version(version) or _NEW_WSD) >= _NEW_WSD
    is_of_both = num_training_steps is None and (warmup_type, decay_type) == ("linear", "cosine")
    if not is_new and not is_of_both:
        raise ValueError(
            "warmup_stable_decay of transformers 4.48 has no num_training_steps, warmup_type and decay_type"
        )
    if not is_new and num_stable_steps is None:
        raise ValueError("warmup_stable_decay of transformers 4.48 needs num_stable_steps")
    if version is None and is_of_both and min_lr_ratio != 0 and num_warmup_steps != 0:
        raise ValueError(
            "with min_lr_ratio, the warmup of get_wsd_schedule begins at 0 in transformers 4.48, and at "
            "the lowest rate from 4.49 on: give version='4.48' or version='4.49'"
        )
    warmup_steps = check_duration("num_warmup_steps", num_warmup_steps)
    decay_steps = check_duration("num_decay_steps", num_decay_steps)
    check_choice("warmup_type", warmup_type, _WSD_WARMUPS)
    check_choice("decay_type", decay_type, _WSD_WARMUPS)
    if num_stable_steps is not None:
        stable = check_duration("num_stable_steps", num_stable_steps)
    elif num_training_steps is not None:
        stable = check_duration("num_training_steps", num_training_steps) - warmup_steps - decay_steps
    else:
        raise ValueError("get_wsd_schedule needs num_training_steps or num_stable_steps")
    ramp: dict[str, Any] = {"start_factor": min_lr_ratio if is_new else 0.0, "end_factor": 1.0}
    rise = {
        "linear": Phase(warmup_steps, "linear", **ramp),
        "cosine": Phase(warmup_steps, "cosine", **ramp),
        "1-sqrt": Phase(warmup_steps, "polynomial", power=0.5, **ramp),
    }[warmup_type]
    hold = Phase(max(stable, 0), start_factor=1.0)
    decay = _wsd_decay(decay_type, decay_steps, min(stable, 0), min_lr_ratio, num_cycles)
    return phased_lr(init_value, [rise, hold, *decay, Phase(start_factor=min_lr_ratio)])


@functools.wraps(reduce_lr_on_plateau, assigned=())
def get_reduce_on_plateau_schedule(
    init_value: ArrayLike, **settings: Any
) -> optax.GradientTransformationExtraArgs:
    """Return torch's ReduceLROnPlateau, which is stepped after each evaluation."""
    return reduce_lr_on_plateau(init_value, **settings)


def GreedyLR(  # noqa: N802
    init_value: ArrayLike,
    mode: str = "min",
    factor: float = 0.95,
    patience: int = 10,
    threshold: float = 1e-6,
    threshold_mode: str = "abs",
    cooldown: int = 0,
    warmup: int = 0,
    min_lr: float = 1e-3,
    max_lr: float = 1.0,
    eps: float = 1e-8,
    verbose: bool = False,
    smooth: bool = False,
    window_size: int = 50,
    reset_start: int = 500,
) -> optax.GradientTransformationExtraArgs:
    """Return the plateau of transformers that raises the rate, too. It is stepped after each evaluation."""
    settings: Any = {
        name: value for name, value in locals().items() if name not in ("init_value", "verbose")
    }
    return greedy_lr(init_value, **settings)


@functools.wraps(GreedyLR, assigned=())
def get_greedy_schedule(init_value: ArrayLike, **settings: Any) -> optax.GradientTransformationExtraArgs:
    """Return a GreedyLR."""
    return GreedyLR(init_value, **settings)


def get_piecewise_constant_schedule(init_value: Any, step_rules: str) -> optax.Schedule:
    """Return factors that each hold up to a step, from a list of diffusers such as "1:10,0.1:20,0.01"."""
    message = f"step_rules must be like '1:10,0.1:20,0.01', got {shown_value(step_rules)}"
    *pairs, last = step_rules.split(",") if isinstance(step_rules, str) else [""]
    if len(pairs) > _MOST_RULES or not _is_factor(last):
        raise ValueError(message)
    phases, begin = [], 0
    for pair in pairs:
        factor, _, end = pair.partition(":")
        if not _is_factor(factor) or not re.fullmatch(r"\d{1,18}", end):
            raise ValueError(message)
        if int(end) <= begin:
            raise ValueError(f"the steps of step_rules must rise, got {shown_value(step_rules)}")
        phases.append(Phase(int(end) - begin, start_factor=float(factor)))
        begin = int(end)
    return phased_lr(init_value, [*phases, Phase(start_factor=float(last))])


def _is_factor(text: str) -> bool:
    return len(text) < 50 and _FACTOR.fullmatch(text) is not None


def get_scheduler(
    init_value: ArrayLike,
    name: str,
    num_warmup_steps: float | None = None,
    num_training_steps: float | None = None,
    scheduler_specific_kwargs: Mapping[str, Any] | None = None,
    num_cycles: float | None = None,
    power: float | None = None,
    step_rules: str | None = None,
    *,
    version: str | None = None,
) -> Any:
    """Return the schedule of a `lr_scheduler_type`, as `get_scheduler` of transformers chooses it.

    The last three arguments are of `diffusers.get_scheduler`. There `num_cycles` reaches only
    "cosine_with_restarts", and `power` only "polynomial".
    """
    if name == "piecewise_constant":
        return get_piecewise_constant_schedule(init_value, step_rules or "")
    if name == "cosine_with_restarts" and num_cycles is not None:
        scheduler_specific_kwargs = {"num_cycles": num_cycles}
    if name == "polynomial" and power is not None:
        scheduler_specific_kwargs = {"power": power}
    check_type(name)
    given = {"num_warmup_steps": num_warmup_steps, "num_training_steps": num_training_steps}
    arguments = [argument for argument in given if argument in _PARAMETERS[name]]
    needed = arguments[:1] if name == "warmup_stable_decay" else arguments
    for argument in needed:
        if given[argument] is None:
            raise ValueError(f"lr_scheduler_type {name!r} needs {argument}")
    # get_scheduler drops the keywords of these two.
    without = name in ("constant", "constant_with_warmup")
    keywords = {} if without else _checked_keywords(name, scheduler_specific_kwargs or {})
    if name == "warmup_stable_decay":
        keywords["version"] = version
        if (parsed_version(version) or _NEW_WSD) < _NEW_WSD:
            arguments = needed
    return _TYPES[name](init_value, **{argument: given[argument] for argument in arguments}, **keywords)


_TYPES: dict[str, Callable[..., Any]] = {
    "linear": get_linear_schedule_with_warmup,
    "cosine": get_cosine_schedule_with_warmup,
    "cosine_with_restarts": get_cosine_with_hard_restarts_schedule_with_warmup,
    "polynomial": get_polynomial_decay_schedule_with_warmup,
    "constant": get_constant_schedule,
    "constant_with_warmup": get_constant_schedule_with_warmup,
    "inverse_sqrt": get_inverse_sqrt_schedule,
    "reduce_lr_on_plateau": get_reduce_on_plateau_schedule,
    "cosine_with_min_lr": get_cosine_with_min_lr_schedule_with_warmup,
    "cosine_warmup_with_min_lr": get_cosine_with_min_lr_schedule_with_warmup_lr_rate,
    "warmup_stable_decay": get_wsd_schedule,
    "greedy": get_greedy_schedule,
}
_PARAMETERS = {name: tuple(inspect.signature(function).parameters) for name, function in _TYPES.items()}
CALLS = (*_TYPES.values(), GreedyLR, get_piecewise_constant_schedule, get_scheduler)
_REQUIRED = {
    "cosine_with_min_lr": ("min_lr", "min_lr_rate"),
    "cosine_warmup_with_min_lr": ("min_lr", "min_lr_rate"),
    "warmup_stable_decay": ("num_decay_steps",),
}


def _clock(num_warmup_steps: float, num_training_steps: float) -> tuple[Phase, float, float]:
    """Return the warmup, the steps after it (at least 1), and the fraction that rounds its end up."""
    warm = check_steps("num_warmup_steps", num_warmup_steps)
    steps = check_steps("num_training_steps", num_training_steps)
    return warmup(warm), max(1.0, steps - warm), math.ceil(warm) - warm


def _whole_clock(num_warmup_steps: int, num_training_steps: int) -> tuple[Phase, int]:
    """Return the warmup and the steps after it, of a schedule that takes whole numbers only."""
    warm = check_duration("num_warmup_steps", num_warmup_steps)
    steps = check_duration("num_training_steps", num_training_steps)
    return warmup(warm), max(1, steps - warm)


def _floor(min_lr: Any, min_lr_rate: Any) -> dict[str, Any]:
    """Return the end of a cosine that has a floor. transformers wants exactly one of the two."""
    if (min_lr is None) == (min_lr_rate is None):
        raise ValueError("give exactly one of min_lr and min_lr_rate")
    return {"end_factor": min_lr_rate} if min_lr is None else {"end_value": min_lr}


def _wsd_decay(kind: str, steps: int, late: int, floor: float, num_cycles: float) -> list[Phase]:
    """Return the decay, which begins in its middle where warmup and decay are longer than the run."""
    length = steps + late
    if length <= 0 or steps == 0:
        return []
    if kind == "cosine" and (num_cycles != 0.5):
        if late:
            raise ValueError(
                "num_warmup_steps and num_decay_steps must add up to at most the training steps"
            )
        return falling_waves(steps, num_cycles, end_factor=floor)
    shapes: dict[str, Any] = {"linear": "linear", "cosine": "cosine", "1-sqrt": "1-sqrt"}
    return [Phase(length, shapes[kind], start_factor=1.0, end_factor=floor, offset=-late, span=steps)]


def keywords_of(name: str) -> list[str]:
    """Return the keywords that a `lr_scheduler_type` takes in `lr_scheduler_kwargs`."""
    others = ("init_value", "num_warmup_steps", "num_training_steps", "version")
    return [keyword for keyword in _PARAMETERS.get(name, ()) if keyword not in others]


def _checked_keywords(name: str, keywords: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keywords of a scheduler, after checking that it takes them."""
    taken = keywords_of(name)
    if unknown := [keyword for keyword in keywords if keyword not in taken]:
        accepted = f"it takes {', '.join(taken)}" if taken else "it takes none"
        raise ValueError(f"lr_scheduler_type {name!r} has no keyword {unknown[0]!r}; {accepted}")
    required = _REQUIRED.get(name, ())
    if required and not any(keywords.get(keyword) is not None for keyword in required):
        raise ValueError(
            f"lr_scheduler_type {name!r} needs {' or '.join(required)}: "
            f"give names={{'lr_scheduler_kwargs': {{{required[0]!r}: ...}}}}"
        )
    return dict(keywords)


def check_type(name: Any) -> None:
    check_choice("lr_scheduler_type", name, _TYPES)
