"""The schedules of timm: its scheduler classes, and `create_scheduler_v2`.

The rules are those of timm 1.0.31 (`timm/scheduler/*.py`, `scheduler_factory.py`).
"""

import bisect
import math
from collections.abc import Callable, Sequence
from typing import Any

from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_positive_count, check_value, shown_value
from jaxlr.frameworks._warmed import warmed_plateau
from jaxlr.frameworks.recipe import parsed_version
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules import Phase, multi_step_lr, phased_lr, sequential_lr, tabulate
from jaxlr.schedules._counts import array_module
from jaxlr.schedules._schedule import Schedule, prints_as_call


RENAMED = (0, 5)  # the version that renamed the arguments of the cycles
_SCHEDS = ("cosine", "tanh", "poly", "step", "multistep", "constant", "wsd", "rsqrt", "plateau", "none")
_MOST_CYCLES = 200
_MOST_STEPS = 100_000
_SMALLEST = 740.0  # a float64 is 0 from exp(-745) on


def CosineLRScheduler(
    init_value: ArrayLike,
    t_initial: int,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    *,
    noise_range_t: Any = None,
    k_decay: float = 1.0,
    t_mul: float | None = None,
    decay_rate: float | None = None,
    version: str | None = None,
) -> Any:
    """Return a warmup and cycles of a cosine, which count from 0 unless `warmup_prefix` is set.

    `t_mul` and `decay_rate` are the names of timm 0.4, where the floor decays with the cycles.
    """
    _check_noise(noise_range_t)
    is_old = t_mul is not None or decay_rate is not None or (parsed_version(version) or RENAMED) < RENAMED
    if is_old:
        cycle_mul, cycle_decay = t_mul or 1.0, 1.0 if decay_rate is None else decay_rate
        if cycle_limit == 0 and (cycle_mul, cycle_decay) != (1.0, 1.0):
            raise ValueError(
                "timm 0.4 repeats the cycles without end: give cycle_limit, the cycles of the run"
            )
    clock = _Clock(t_initial, cycle_mul, cycle_limit or 1, warmup_t, warmup_prefix)
    ramp = Phase(clock.warmup, "linear", start_value=warmup_lr_init, end_factor=1.0)
    if k_decay != 1:
        weight = _power_of_time(k_decay, lambda p: 0.5 * (1 + math.cos(math.pi * p)))
        return clock.tabulated(init_value, ramp, weight, cycle_decay, lr_min)
    cycles = clock.cycles("cosine", cycle_decay, lr_min, floor_decays=is_old)
    if is_old and cycle_limit == 0:
        again = Phase(clock.length, "cosine", start_factor=1.0, end_value=lr_min)
        return phased_lr(init_value, [ramp, *cycles[:-1], again], repeat=1)
    return phased_lr(init_value, [ramp, *cycles])


def TanhLRScheduler(
    init_value: ArrayLike,
    t_initial: int,
    lb: float = -7.0,
    ub: float = 3.0,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    *,
    noise_range_t: Any = None,
) -> Any:
    """Return a warmup to the value of the curve at its end, and cycles of a hyperbolic tangent."""
    _check_noise(noise_range_t)
    if (lb, ub) != (-7.0, 3.0):
        raise ValueError(f"TanhLRScheduler is supported with lb=-7 and ub=3, got {lb!r} and {ub!r}")
    clock = _Clock(t_initial, cycle_mul, cycle_limit, warmup_t, warmup_prefix)
    cycles = clock.cycles("tanh", cycle_decay, lr_min)
    if clock.warmup == 0:  # no scheduler of timm sets the rate of epoch 0
        late = _Clock(t_initial, cycle_mul, cycle_limit, 1, False)
        return phased_lr(init_value, [Phase(1), *late.cycles("tanh", cycle_decay, lr_min)])
    reached: dict[str, Any] = {"end_factor": 1.0}
    if not warmup_prefix:
        curve: Any = phased_lr(init_value, cycles)
        reached = {"end_value": curve(0)}
    ramp = Phase(clock.warmup, "linear", start_value=warmup_lr_init, **reached)
    return phased_lr(init_value, [ramp, *cycles])


def PolyLRScheduler(
    init_value: ArrayLike,
    t_initial: int,
    power: float = 0.5,
    lr_min: float = 0.0,
    cycle_mul: float = 1.0,
    cycle_decay: float = 1.0,
    cycle_limit: int = 1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = False,
    *,
    noise_range_t: Any = None,
    k_decay: float = 1.0,
) -> Any:
    """Return a warmup and cycles of a polynomial."""
    _check_noise(noise_range_t)
    clock = _Clock(t_initial, cycle_mul, cycle_limit, warmup_t, warmup_prefix)
    ramp = Phase(clock.warmup, "linear", start_value=warmup_lr_init, end_factor=1.0)
    if k_decay != 1:
        weight = _power_of_time(k_decay, lambda p: (1 - p) ** power)
        return clock.tabulated(init_value, ramp, weight, cycle_decay, lr_min)
    return phased_lr(init_value, [ramp, *clock.cycles("polynomial", cycle_decay, lr_min, power=power)])


def StepLRScheduler(
    init_value: ArrayLike,
    decay_t: float,
    decay_rate: float = 1.0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
    *,
    noise_range_t: Any = None,
) -> Any:
    """Return a warmup and a decay by a factor every `decay_t`, which may have a fraction."""
    _check_noise(noise_range_t)
    step: Any = check_value("decay_t", decay_t, positive=True)
    if step > 2**53:
        raise ValueError(f"decay_t must be at most 2**53, got {decay_t!r}")
    rate: Any = check_value("decay_rate", decay_rate)
    if not 0 < rate <= 1:
        raise ValueError(f"decay_rate must be above 0 and at most 1, got {decay_rate!r}")
    num_steps = 0 if rate == 1 else math.ceil(-_SMALLEST / math.log(rate))
    if num_steps > _MOST_STEPS:
        raise ValueError(f"decay_rate must be at most 0.99, or 1, got {decay_rate!r}")
    milestones = [_first_at(n, lambda t: t // step, step) for n in range(1, num_steps + 1)]
    return _staircase(init_value, milestones, rate, warmup_t, warmup_lr_init, warmup_prefix)


def MultiStepLRScheduler(
    init_value: ArrayLike,
    decay_t: Sequence[float],
    decay_rate: float = 1.0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    warmup_prefix: bool = True,
    *,
    noise_range_t: Any = None,
) -> Any:
    """Return a warmup and a decay by a factor at milestones, each one step early as in timm."""
    _check_noise(noise_range_t)
    if not isinstance(decay_t, Sequence) or isinstance(decay_t, str):
        raise TypeError(f"decay_t must be a list of milestones, got {shown_value(decay_t)}")
    milestones = [math.ceil(check_value("each of decay_t", m)) - 1 for m in decay_t]  # pyright: ignore[reportArgumentType]
    rate: Any = check_value("decay_rate", decay_rate)
    return _staircase(init_value, sorted(milestones), rate, warmup_t, warmup_lr_init, warmup_prefix)


def WSDLRScheduler(
    init_value: ArrayLike,
    t_initial: int,
    decay_t: int,
    lr_min: float = 0.0,
    stable_fn: str = "constant",
    stable_timescale: float | None = None,
    stable_power: float = 0.5,
    decay_fn: str = "1-sqrt",
    decay_power: float = 0.5,
    decay_ratio: float = 0.1,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    *,
    noise_range_t: Any = None,
) -> Any:
    """Return a warmup, a stable phase, and a decay in the last `decay_t` of `t_initial` steps."""
    _check_noise(noise_range_t)
    check_choice("stable_fn", stable_fn, ("constant", "rsqrt", "power"))
    check_choice("decay_fn", decay_fn, ("linear", "1-sqrt", "cosine", "power"))
    del decay_ratio  # only of the decay "exp"
    length, decay = check_positive_count("t_initial", t_initial), check_positive_count("decay_t", decay_t)
    if decay > length:
        raise ValueError(f"decay_t must be at most t_initial, got {decay} and {length}")
    warmup = check_duration("warmup_t", warmup_t)
    power: dict[str, Any] = {"power": decay_power} if decay_fn == "power" else {}
    shape: Any = decay_fn
    ramp = Phase(warmup, "linear", start_value=warmup_lr_init, end_factor=1.0)
    if stable_fn == "constant":
        hold = Phase(length - decay, start_factor=1.0)
        return phased_lr(init_value, [ramp, hold, Phase(decay, shape, end_value=lr_min, **power)])
    timescale = check_value("stable_timescale", warmup if stable_timescale is None else stable_timescale)
    if timescale == 0:
        raise ValueError(f"stable_fn {stable_fn!r} needs stable_timescale, because there is no warmup")
    exponent = 0.5 if stable_fn == "rsqrt" else stable_power
    slope: dict[str, Any] = {"start_factor": 1.0, "power": exponent, "span": timescale}
    stable = phased_lr(init_value, [Phase(shape="inverse_power", **slope)])
    fall = phased_lr(1.0, [Phase(length - decay), Phase(decay, shape, end_factor=0.0, **power)])
    rest = above(lr_min, stable, fall)
    return rest if warmup == 0 else sequential_lr([phased_lr(init_value, [ramp]), rest], [warmup])


def PlateauLRScheduler(
    init_value: ArrayLike,
    decay_rate: float = 0.1,
    patience_t: int = 10,
    threshold: float = 1e-4,
    cooldown_t: int = 0,
    warmup_t: int = 0,
    warmup_lr_init: float = 0.0,
    lr_min: float = 0.0,
    mode: str = "max",
    *,
    noise_range_t: Any = None,
) -> Any:
    """Return a plateau whose warmup counts its steps. The metrics of the warmup do not count."""
    _check_noise(noise_range_t)
    settings: Any = {"mode": mode, "factor": decay_rate, "patience": patience_t, "threshold": threshold}
    plateau = reduce_lr_on_plateau(init_value, cooldown=cooldown_t, min_lr=lr_min, **settings)
    warmup = check_duration("warmup_t", warmup_t)
    return plateau if warmup == 0 else warmed_plateau(plateau, warmup, warmup_lr_init)


def create_scheduler_v2(
    init_value: ArrayLike,
    sched: str = "cosine",
    num_epochs: int = 300,
    decay_epochs: float | None = None,
    decay_milestones: Sequence[float] = (90, 180, 270),
    cooldown_epochs: int = 0,
    patience_epochs: int = 10,
    decay_rate: float = 0.1,
    min_lr: float = 0.0,
    warmup_lr: float = 1e-5,
    warmup_epochs: int = 0,
    warmup_prefix: bool = False,
    *,
    noise: Any = None,
    cycle_mul: float = 1.0,
    cycle_decay: float = 0.1,
    cycle_limit: int = 1,
    k_decay: float = 1.0,
    decay_fn: str | None = None,
    stable_timescale: float | None = None,
    plateau_mode: str = "max",
    step_on_epochs: bool = True,
    updates_per_epoch: int = 0,
) -> Any:
    """Return the scheduler of a name, in epochs, or in updates if `step_on_epochs` is False."""
    del cooldown_epochs
    _check_noise(noise)
    unit = 1 if step_on_epochs else check_positive_count("updates_per_epoch", updates_per_epoch)
    ramp: Any = {
        "warmup_t": warmup_epochs * unit,
        "warmup_lr_init": warmup_lr,
        "warmup_prefix": warmup_prefix,
    }
    cycle: Any = {"cycle_mul": cycle_mul, "cycle_decay": cycle_decay, "cycle_limit": cycle_limit}
    length = num_epochs * unit
    match sched:
        case "cosine":
            return CosineLRScheduler(init_value, length, min_lr, k_decay=k_decay, **cycle, **ramp)
        case "tanh":
            return TanhLRScheduler(init_value, length, lr_min=min_lr, **cycle, **ramp)
        case "poly":
            return PolyLRScheduler(init_value, length, decay_rate, min_lr, k_decay=k_decay, **cycle, **ramp)
        case "step":
            decay = 90 if decay_epochs is None else decay_epochs
            return StepLRScheduler(init_value, decay * unit, decay_rate, **ramp)
        case "multistep":
            milestones = [m * unit for m in decay_milestones]
            return MultiStepLRScheduler(init_value, milestones, decay_rate, **ramp)
        case "constant":
            return StepLRScheduler(init_value, 1, 1.0, **ramp)
        case "plateau" if step_on_epochs:
            del ramp["warmup_prefix"]
            return PlateauLRScheduler(
                init_value, decay_rate, patience_epochs, lr_min=min_lr, mode=plateau_mode, **ramp
            )
        case "plateau":
            raise ValueError("sched 'plateau' is stepped once for each epoch: leave sched_on_updates out")
        case "none":
            return phased_lr(init_value, [Phase()])
        case "wsd" | "rsqrt":
            del ramp["warmup_prefix"]
            whole = length if warmup_prefix else length - warmup_epochs * unit
            share = 0.2 if decay_epochs is None else decay_epochs
            return WSDLRScheduler(
                init_value,
                whole,
                round(share * (whole if 0 < share < 1 else unit)),
                min_lr,
                "rsqrt" if sched == "rsqrt" else "constant",
                None if stable_timescale is None else stable_timescale * unit,
                decay_fn=decay_fn or ("linear" if sched == "rsqrt" else "1-sqrt"),
                **ramp,
            )
    known = ", ".join(map(repr, _SCHEDS))
    raise ValueError(f"sched must be one of {known}, got {shown_value(sched)}")


CALLS = (
    CosineLRScheduler,
    TanhLRScheduler,
    PolyLRScheduler,
    StepLRScheduler,
    MultiStepLRScheduler,
    WSDLRScheduler,
    PlateauLRScheduler,
    create_scheduler_v2,
)
# The other arguments of these classes.
IGNORED = ("t_in_epochs", "noise_type", "noise_pct", "noise_std", "noise_seed", "initialize")


class _Clock:
    """The cycles of a schedule, and the warmup that hides the first of them."""

    def __init__(self, t_initial: Any, mul: float, limit: Any, warmup: Any, prefix: bool):
        self.warmup = check_duration("warmup_t", warmup)
        self.length = check_positive_count("t_initial", t_initial)
        self._limit = check_positive_count("cycle_limit", limit)
        if self._limit > _MOST_CYCLES:
            raise ValueError(f"cycle_limit must be at most {_MOST_CYCLES}, got {limit!r}")
        if not isinstance(mul, int | float) or mul < 1:
            raise ValueError(f"cycle_mul must be at least 1, got {mul!r}")
        if self._limit * math.log(mul) + math.log(self.length) > math.log(2**61):
            raise ValueError(f"the cycles must be shorter than 2**61 counts, got cycle_mul={mul!r}")
        self._mul = mul
        self._hidden = 0 if prefix else self.warmup

    def cycles(
        self, shape: Any, decay: float, floor: float, floor_decays: bool = False, **power: Any
    ) -> list[Phase]:
        """Return the phases after the warmup: what is left of each cycle, then the floor."""
        phases: list[Phase] = []
        for cycle in range(self._limit):
            begin, end = max(self._first(cycle), self._hidden), self._first(cycle + 1)
            span = self._mul**cycle * self.length
            offset = max(begin - self._start(cycle), 0)
            if end > begin:
                end_value = floor * decay**cycle if floor_decays else floor
                ends: Any = {"start_factor": decay**cycle, "end_value": end_value}
                phases.append(Phase(end - begin, shape, offset=offset, span=span, **ends, **power))
        return [*phases, Phase(start_value=floor)]

    def tabulated(self, init_value: Any, ramp: Phase, weight: Any, decay: float, floor: float) -> Any:
        """Return a warmup, and the cycles of a curve that no phase has, from a table of its weights."""
        end = self._first(self._limit)
        if end > _MOST_STEPS:
            raise ValueError(f"k_decay is supported for runs of at most {_MOST_STEPS} counts, got {end}")
        starts = [self._first(cycle) for cycle in range(self._limit + 1)]

        def weights(count: int) -> tuple[int, float]:
            cycle = bisect.bisect_right(starts, count) - 1
            span = self._mul**cycle * self.length
            return cycle, weight(max(count - self._start(cycle), 0) / span) if cycle < self._limit else 0.0

        counts = [weights(count) for count in range(self._hidden, end + 1)]
        highest = tabulate(lambda count: decay ** counts[count][0] * counts[count][1], len(counts))
        lowest = tabulate(lambda count: 1 - counts[count][1], len(counts))
        rest = between(floor, init_value, highest, lowest)
        if self.warmup == 0:
            return rest
        return sequential_lr([phased_lr(init_value, [ramp]), rest], [self.warmup])

    def _start(self, cycle: int) -> float:
        if self._mul == 1:
            return cycle * self.length
        return (1 - self._mul**cycle) / (1 - self._mul) * self.length

    def _first(self, cycle: int) -> int:
        """Return the first count that timm's float64 puts into a cycle."""
        if self._mul == 1:
            return cycle * self.length

        def number(t: int) -> int:
            return math.floor(math.log(1 - t / self.length * (1 - self._mul), self._mul))

        near = max(0, math.ceil(self._start(cycle)) - 2)
        return next(t for t in range(near, near + 5) if number(t) >= cycle)


def _first_at(n: int, number: Callable[[int], float], step: float) -> int:
    """Return the first count whose number of decays is `n`."""
    near = max(1, math.floor(n * step) - 2)
    return next(t for t in range(near, near + 6) if number(t) >= n)


def _staircase(
    init_value: Any, milestones: list[int], rate: float, warmup_t: Any, warmup_lr: float, prefix: bool
) -> Any:
    warmup = check_duration("warmup_t", warmup_t)
    hidden = 0 if prefix else warmup
    if warmup == 0:  # no scheduler of timm sets the rate of epoch 0
        return multi_step_lr(init_value, [max(1, m) for m in milestones], rate)
    passed = bisect.bisect_right(milestones, hidden)
    decay = multi_step_lr(init_value * rate**passed, [m - hidden for m in milestones[passed:]], rate)
    ramp = phased_lr(init_value, [Phase(warmup, "linear", start_value=warmup_lr, end_factor=1.0)])
    return sequential_lr([ramp, decay], [warmup])


def _check_noise(noise: Any) -> None:
    if noise is not None:
        raise ValueError("noise on the learning rate is not supported: it comes from torch's generator")


def _power_of_time(exponent: float, weight: Callable[[float], float]) -> Callable[[float], float]:
    """Return the weight at a power of the time, which timm calls k-decay."""
    check_value("k_decay", exponent, positive=True)
    return lambda p: weight(p**exponent)


@prints_as_call
def between(floor: float, peak: ArrayLike, highest: Any, lowest: Any) -> Any:
    """Return the mean of the peak and the floor, weighted by two schedules."""
    weights = (highest, lowest)
    return Schedule(lambda count: peak * highest(count) + floor * lowest(count), functions=weights)


@prints_as_call
def above(floor: float, stable: Any, fall: Any) -> Any:
    """Return a schedule that falls from `stable` to the floor."""

    def formula(count: Any) -> Any:
        rate = stable(count)
        return floor + (array_module(rate).maximum(rate, floor) - floor) * fall(count)

    return Schedule(formula, functions=(stable, fall))
