"""The schedules of MMEngine: its schedulers, and the rate that several of them make together.

The rules are those of MMEngine 0.10.7 (`optim/scheduler/param_scheduler.py`, `runner/loops.py`).
`QuadraticWarmupLR` is of MMDetection 3.3.0, and `PolyLRRatio` of MMSegmentation 1.2.2.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlr._checks import check_choice, check_duration, shown_value
from jaxlr.frameworks.recipe import Config
from jaxlr.schedules import (
    Phase,
    chained_scheduler,
    cosine_annealing_lr,
    multi_step_lr,
    one_cycle_lr,
    per_epoch,
    phased_lr,
    sequential_lr,
    starting_at,
    tabulate,
)
from jaxlr.schedules.phases import Shape


_MOST_PERIODS = 200
_MOST_STEPS = 10_000
_SMALLEST = 700.0  # a float64 is 0 from exp(-745) on
_LONGEST_TABLE = 200_000  # counts that are stepped as MMEngine does, where schedulers overlap


class Loop:
    """The length of the run, and the unit of its counts."""

    def __init__(self, config: Config, schedulers: Sequence[Config]):
        self._config = config
        train = config.inner("train_cfg")
        self._train = train
        kind = train.text("type", "")
        has_iters = train.has("max_iters") and not train.has("max_epochs")
        self.by_epoch: bool = "IterBased" not in kind and train.flag("by_epoch", not has_iters)
        has_iterations = not self.by_epoch or config.steps_per_epoch is not None
        for settings in schedulers:
            by_epoch, is_converted = settings.flag("by_epoch", True), settings.flag("convert_to_iter_based")
            has_iterations = has_iterations or is_converted or not by_epoch
        self.unit: Any = "iteration" if has_iterations else "epoch"
        if self.unit == "iteration" and config.inner("optim_wrapper").count("accumulative_counts", 1) > 1:
            number = config.inner("optim_wrapper").count("accumulative_counts")
            config.assume(f"The weights are updated every {number} iterations; a count is an iteration.")

    @property
    def steps(self) -> int:
        """The iterations of an epoch."""
        return self._config.steps_in_epoch()

    @property
    def max_epochs(self) -> int:
        """The epochs of the run, and 1 in a loop of iterations."""
        return self._train.whole_epochs("max_epochs") if self.by_epoch else 1

    @property
    def max_iters(self) -> int:
        """The iterations of the run."""
        if not self.by_epoch:
            return self._train.positive_count("max_iters")
        return self.max_epochs * self.steps

    @property
    def num_counts(self) -> int | None:
        """The counts of the run, or None if the config does not say it."""
        if not self.by_epoch:
            return self.max_iters if self._train.has("max_iters") else None
        if not self._train.has("max_epochs") and self._config.epochs is None:
            return None
        if self.unit == "epoch":
            return self.max_epochs
        return None if self._config.steps_per_epoch is None else self.max_iters


def combined(config: Config, schedulers: Sequence[Config], init_value: Any, loop: Loop) -> Any:
    """Return the rate that all schedulers make together."""
    acts = [act for settings in schedulers for act in _acts(settings, loop, init_value)]
    acts = [act for act in acts if act.begin <= act.last]
    factors = [act for act in acts if act.piece is None]
    others = sorted((act for act in acts if act.piece is not None), key=lambda act: act.first_count)
    overlap = _overlap(others, factors)
    if overlap is not None:
        return _stepped(config, acts, init_value, overlap)
    pieces, begins = [_product(init_value, factors, 0)], [0]
    for act in others:
        assert act.piece is not None
        before = _sequence(pieces, begins)(max(0, act.first_count - 1))
        pieces.append(act.in_run(act.piece(before)))
        begins.append(act.first_count)
        later = [factor for factor in factors if factor.first_count > act.last_count]
        if act.floor is None or later:  # the rate holds after a setter, and later factors multiply it
            begin = act.last_count + 1
            pieces.append(_product(_sequence(pieces, begins)(begin - 1), later, begin))
            begins.append(begin)
    # The hold after an act is skipped where the next one begins.
    kept = [index for index, begin in enumerate(begins) if begin not in begins[index + 1 :]]
    return _sequence([pieces[index] for index in kept], [begins[index] for index in kept])


def scheduler_name(settings: Config) -> str:
    """Return the name of a scheduler: without a scope, and `LinearLR` for a `LinearParamScheduler`."""
    name = settings.text("type").rpartition(".")[2]
    if name.endswith("ParamScheduler"):
        ending = {"lr": "LR", "momentum": "Momentum", "weight_decay": "WeightDecay"}
        parameter = check_choice("param_name", settings.text("param_name"), tuple(ending))
        name = name.removesuffix("ParamScheduler") + ending[parameter]
    return name


def check_settings(settings: Config, allowed: str) -> None:
    for name in settings.settings:
        if name not in f"{_COMMON_SETTINGS} {allowed}".split():
            raise ValueError(
                f"{scheduler_name(settings)} has the setting {shown_value(name)}, which is not supported"
            )


def has_ratio(settings: Config, owner: str, name: str, required: bool = False) -> bool:
    """Check if settings state a floor as a ratio, such as `min_lr_ratio`, and not as a rate."""
    has_value, has_ratio = settings.has(name), settings.has(f"{name}_ratio")
    if (has_value and has_ratio) or (required and not has_value and not has_ratio):
        raise ValueError(f"{owner} needs {name} or {name}_ratio, and not both")
    return has_ratio


def restarts(settings: Config, owner: str) -> list[tuple[int, float]]:
    """Return the periods of a cosine with restarts, and their weights."""
    periods, weights = settings.counts("periods"), settings.numbers("restart_weights", [1.0])
    if not 1 <= len(periods) == len(weights) <= _MOST_PERIODS:
        raise ValueError(
            f"{owner} needs as many restart_weights as periods, from 1 to {_MOST_PERIODS}, "
            f"got {len(weights)} and {len(periods)}"
        )
    return [*zip(periods, weights, strict=True)]


def one_cycle(settings: Config, rate: Any, total: int) -> Any:
    """Return torch's OneCycleLR with the settings that it has in MMEngine and MMCV."""
    strategy: Any = settings.text("anneal_strategy", "cos")
    return one_cycle_lr(
        rate,
        total,
        settings.number("pct_start", 0.3),
        strategy,
        settings.number("div_factor", 25.0),
        settings.number("final_div_factor", 1e4),
        settings.flag("three_phase"),
    )


class _Act(NamedTuple):
    """The change that one scheduler makes to the rate.

    A factor multiplies the rate that it finds. With a floor, it multiplies the part of the rate above the
    floor. A setter overwrites the rate.
    """

    name: str
    begin: int  # first and last count of its own at which the rate changes
    last: int
    scale: int  # counts of the run in one of its own
    factor: Any = None  # schedule of the factor at its own counts
    floor: Any = 0.0
    piece: Callable[[Any], Any] | None = None  # the schedule from `begin` on, from the rate before it

    @property
    def first_count(self) -> int:
        return self.begin * self.scale

    @property
    def last_count(self) -> int:
        return self.last * self.scale

    def in_run(self, schedule: Any) -> Any:
        """Return a schedule of own counts as one of counts of the run."""
        return schedule if self.scale == 1 else per_epoch(schedule, self.scale)


def _product(rate: Any, factors: Sequence[_Act], first: int) -> Any:
    """Return a rate times factors, from the count `first` of the run on."""
    if not factors:
        return phased_lr(rate, [Phase()])
    schedules = [factor.in_run(factor.factor) for factor in factors]
    return chained_scheduler(rate, [starting_at(each, first) if first else each for each in schedules])


def _sequence(pieces: Sequence[Any], begins: Sequence[int]) -> Any:
    return pieces[0] if len(pieces) == 1 else sequential_lr(pieces, begins[1:])


def _overlap(others: Sequence[_Act], factors: Sequence[_Act]) -> tuple[str, str] | None:
    """Return the names of two schedulers that change the rate in turns, so that it is no product."""
    for index, act in enumerate(others):
        for other in [*others[index + 1 :], *factors]:
            if act.first_count <= other.last_count and other.first_count <= act.last_count:
                return act.name, other.name
    return None


def _stepped(config: Config, acts: Sequence[_Act], init_value: Any, overlap: tuple[str, str]) -> Any:
    """Return a table of the rates, stepped as MMEngine steps its schedulers."""
    length, both = max(act.last_count for act in acts) + 1, " and ".join(overlap)
    if any(act.floor is None for act in acts):
        raise ValueError(f"{both} overlap, which is not supported: give them different begin and end")
    work = max(length, sum(act.last - act.begin + 1 for act in acts))
    if work > _LONGEST_TABLE:
        raise ValueError(f"{both} overlap, which is supported up to {_LONGEST_TABLE} steps, got {work}")
    if isinstance(init_value, jax.Array):
        raise ValueError(f"{both} overlap, which needs an init_value that is a number, not traced")
    config.assume(f"{both} overlap, so they are stepped in turn into a table.")
    curves = [act.factor(np.arange(act.last + 1)) for act in acts]
    # Schedulers of iterations step before those of epochs. The constructors run in the order of the list.
    events = sorted(
        (count, count > 0 and act.scale > 1, index)
        for index, act in enumerate(acts)
        for count in range(act.first_count, act.last_count + 1, act.scale)
    )
    table, rate, done = np.empty(length), float(init_value), 0
    for count, _, index in events:
        table[done:count], done = rate, max(done, count)
        act, curve = acts[index], curves[index]
        own = count // act.scale
        share = curve[own] / curve[own - 1] if own else curve[0]
        rate = float((rate - act.floor) * share + act.floor)
    table[done:] = rate
    return tabulate(lambda count: table[count], length)


class _Span(NamedTuple):
    """The counts at which a scheduler acts, read from its settings."""

    name: str
    begin: int
    length: int  # own counts from `begin` to `end`
    scale: int
    times: int  # iterations of an epoch if it is converted to iterations, else 1
    init_value: Any  # rate of the optimizer

    def in_counts(self, settings: Config, name: str) -> int:
        """Return a number of epochs or iterations in the unit of the scheduler."""
        return settings.positive_count(name) * self.times

    @property
    def last(self) -> int:
        return self.begin + self.length - 1

    def factor(self, schedule: Any, first: int = 1) -> list[_Act]:
        return [_Act(self.name, self.begin + first, self.last, self.scale, schedule)]

    def phased(self, phases: Sequence[Phase], first: int = 1) -> list[_Act]:
        """Return a factor along phases from `begin` on, and 1 before."""
        return self.factor(phased_lr(1.0, [*self.wait(), *phases]), first)

    def wait(self) -> list[Phase]:
        """Return the phase before `begin`, if there is one."""
        return [Phase(self.begin)] if self.begin else []

    def setter(self, schedule: Any, first: int = 0, last: int | None = None) -> list[_Act]:
        """Return a schedule of own counts since `begin`, which overwrites the rate from `first` on."""
        last = self.last if last is None else self.begin + last
        piece = starting_at(schedule, first) if first else schedule
        return [_Act(self.name, self.begin + first, last, self.scale, None, None, lambda rate: piece)]

    def decay(self, length: int, shape: Shape, floor: Any, **power: float) -> list[_Act]:
        """Return a fall onto a floor in `length` counts, which may stop before."""
        num_steps = min(length, self.length - 1)
        ends: Any = {"start_factor": 1.0, "end_factor": 0.0, "span": length, **power}
        factor = phased_lr(1.0, [*self.wait(), Phase(num_steps, shape, **ends)])
        act = _Act(self.name, self.begin + 1, self.begin + num_steps, self.scale, factor, floor)
        if not isinstance(floor, jax.Array) and floor == 0:
            return [act]

        def piece(rate: Any) -> Any:
            fall: Any = {"start_value": rate, "end_value": floor, "span": length, **power}
            if num_steps > 1:
                return phased_lr(1.0, [Phase(num_steps - 1, shape, offset=1, **fall)])
            whole: Any = phased_lr(1.0, [Phase(length, shape, **fall)])
            return phased_lr(1.0, [Phase(start_value=whole(1))])

        return [act._replace(piece=piece)]


def _acts(settings: Config, loop: Loop, init_value: Any) -> list[_Act]:
    name = scheduler_name(settings)
    stem = name.removesuffix("Momentum").removesuffix("WeightDecay")
    found = _RULES.get(name, _RULES.get(f"{stem}LR"))
    if found is None:
        known = ", ".join(map(repr, [*_RULES, "ReduceOnPlateauLR"]))
        raise ValueError(f"the type of a scheduler must be one of {known}, got {shown_value(name)}")
    rule, allowed = found
    check_settings(settings, allowed)
    return rule(settings, _span(name, settings, loop, init_value))


def _span(name: str, settings: Config, loop: Loop, init_value: Any) -> _Span:
    by_epoch, converted = settings.flag("by_epoch", True), settings.flag("convert_to_iter_based")
    if converted and not by_epoch:
        raise ValueError(f"{name} has convert_to_iter_based, which needs by_epoch=True")
    if by_epoch and not converted and not loop.by_epoch:
        raise ValueError(
            f"{name} counts epochs, but train_cfg counts iterations and ends no epoch: give by_epoch=False"
        )
    times = loop.steps if converted else 1
    begin = check_duration("begin", _whole(settings.number("begin", 0), times))
    end = settings.number("end", None)
    if end is None:
        end = loop.max_epochs if by_epoch else loop.max_iters
    end = check_duration("end", _whole(end, times))
    if end <= begin:
        raise ValueError(f"{name} must end after it begins, got begin={begin}, end={end}")
    is_nested = by_epoch and not converted and loop.unit == "iteration"
    return _Span(name, begin, end - begin, loop.steps if is_nested else 1, times, init_value)


def _whole(value: float, times: int) -> float:
    """Return a number of epochs as iterations, without a fraction."""
    return int(value * times) if times > 1 else value


def _floor(settings: Config, init_value: Any, required: bool = False) -> Any:
    if has_ratio(settings, scheduler_name(settings), "eta_min", required):
        return init_value * settings.number("eta_min_ratio")
    return settings.number("eta_min", 0.0)


def _linear(settings: Config, span: _Span) -> list[_Act]:
    """Read a line. It reaches its end at the last count before `end`, one earlier than torch's LinearLR."""
    start, end = settings.number("start_factor", 1 / 3), settings.number("end_factor", 1.0)
    if not 0 < start <= 1 or end > 1:
        raise ValueError(
            f"LinearLR needs factors above 0 (start) and at most 1 (both), got {start:g} and {end:g}"
        )
    if span.length == 1:
        return span.phased([Phase(start_factor=start)], first=0)
    return span.phased([Phase(span.length - 1, "linear", start_factor=start, end_factor=end)], first=0)


def _constant(settings: Config, span: _Span) -> list[_Act]:
    """Read a factor up to the last count before `end`. A scheduler of one count keeps it forever."""
    factor = settings.number("factor", 1 / 3)
    if not 0 < factor <= 1:
        raise ValueError(f"factor of ConstantLR must be above 0 and at most 1, got {factor:g}")
    phases = [Phase(max(1, span.length - 1), start_factor=factor)]
    if span.length > 1:
        phases.append(Phase(start_factor=1.0))
    return span.phased(phases, first=0)


def _step(settings: Config, span: _Span) -> list[_Act]:
    step_size, gamma = span.in_counts(settings, "step_size"), settings.number("gamma", 0.1)
    steps = range(step_size, span.length, step_size)
    if len(steps) > _MOST_STEPS:
        raise ValueError(f"StepLR must have at most {_MOST_STEPS} steps, got {len(steps)}")
    milestones = [span.begin + step for step in steps]
    return span.factor(multi_step_lr(1.0, milestones, gamma), first=step_size)


def _multi_step(settings: Config, span: _Span) -> list[_Act]:
    milestones = [check_duration("milestones", m) * span.times for m in settings.numbers("milestones", [])]
    kept = [milestone for milestone in milestones if milestone < span.length]
    schedule = multi_step_lr(1.0, [span.begin + m for m in kept], settings.number("gamma", 0.1))
    return span.factor(schedule, first=min(kept, default=span.length))


def _exponential(settings: Config, span: _Span) -> list[_Act]:
    gamma = settings.number("gamma")
    if not 0 < gamma <= 1:
        raise ValueError(f"gamma of ExponentialLR must be above 0 and at most 1, got {gamma:g}")
    longest = _SMALLEST / -math.log(gamma) if gamma < 1 else math.inf  # a float64 is 0 after more counts
    length = int(min(span.length - 1, longest))
    if length == 0:
        return []
    return span.phased([Phase(length, "exponential", start_factor=1.0, end_factor=gamma**length)])


def _cosine(settings: Config, span: _Span) -> list[_Act]:
    """Read a cosine from the rate that it finds. After `T_max` it rises to the rate of the optimizer."""
    has_length = settings.get("T_max") not in (None, 0)
    length = span.in_counts(settings, "T_max") if has_length else span.length
    floor = _floor(settings, span.init_value)
    acts = span.decay(length, "cosine", floor)
    if span.length - 1 > length:
        acts += span.setter(cosine_annealing_lr(span.init_value, length, floor), first=length + 1)
    return acts


def _poly(settings: Config, span: _Span) -> list[_Act]:
    """Read a polynomial. It reaches the floor at the last count before `end`."""
    if span.length == 1:
        return []
    power, floor = settings.number("power", 1.0), _floor(settings, span.init_value)
    return span.decay(span.length - 1, "polynomial", floor, power=power)


def _one_cycle(settings: Config, span: _Span) -> list[_Act]:
    total = span.in_counts(settings, "total_steps") if settings.has("total_steps") else span.length
    if total < span.length:
        raise ValueError(
            f"total_steps of OneCycleLR must be at least {span.length}, its counts, got {total}"
        )
    return span.setter(one_cycle(settings, settings.number("eta_max"), total))


def _restarts(settings: Config, span: _Span) -> list[_Act]:
    """Read cosines from `restart_weights` times the first rate. The last one stops one count early."""
    cycles = restarts(settings, "CosineRestartLR")
    floor = _floor(settings, span.init_value, required=True)
    phases = [
        Phase(period * span.times, "cosine", start_factor=weight, end_value=floor)
        for period, weight in cycles
    ]
    length = min(sum(phase.length or 0 for phase in phases), span.length)
    return span.setter(phased_lr(span.init_value, phases), last=length - 1)


def _quadratic(settings: Config, span: _Span) -> list[_Act]:
    """Read the warmup of MMDetection: the square of the part of the counts up to this one."""
    del settings
    ends: Any = {"start_factor": 0.0, "end_factor": 1.0, "offset": 1, "span": span.length}
    return span.setter(phased_lr(span.init_value, [Phase(span.length, "power", power=2.0, **ends)]))


_COMMON_SETTINGS = "type begin end by_epoch convert_to_iter_based verbose param_name _scope_"
_RULES: dict[str, tuple[Callable[[Config, _Span], list[_Act]], str]] = {
    "LinearLR": (_linear, "start_factor end_factor"),
    "ConstantLR": (_constant, "factor"),
    "StepLR": (_step, "step_size gamma"),
    "MultiStepLR": (_multi_step, "milestones gamma"),
    "ExponentialLR": (_exponential, "gamma"),
    "CosineAnnealingLR": (_cosine, "T_max eta_min eta_min_ratio"),
    "PolyLR": (_poly, "power eta_min"),
    "PolyLRRatio": (_poly, "power eta_min eta_min_ratio"),
    "OneCycleLR": (
        _one_cycle,
        "eta_max total_steps pct_start anneal_strategy div_factor final_div_factor three_phase",
    ),
    "CosineRestartLR": (_restarts, "periods restart_weights eta_min eta_min_ratio"),
    "QuadraticWarmupLR": (_quadratic, ""),
}
