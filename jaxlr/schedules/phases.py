"""Schedules made of phases. Each phase moves from one rate to the next along a shape."""

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_value, check_whole_number, shown_value
from jaxlr.schedules._counts import (
    Count,
    Float,
    array_module,
    as_device_count,
    at_most,
    choose,
    count_reached,
    is_before,
    largest_count,
    modulo,
)
from jaxlr.schedules._printing import PrintsAsCall
from jaxlr.schedules._schedule import Schedule, prints_as_call
from jaxlr.schedules._shapes import Position, mix


Shape: TypeAlias = Literal[
    "constant",
    "linear",
    "cosine",
    "polynomial",
    "power",
    "1-sqrt",
    "exponential",
    "inverse_sqrt",
    "inverse_power",
    "log",
    "shifted_exponential",
    "tanh",
    "rex",
]

_WITH_POWER = ("polynomial", "power", "inverse_power")
_WITHOUT_END = ("inverse_sqrt", "inverse_power")
_LARGEST_LENGTH = 2**61


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Phase(PrintsAsCall):
    r"""One phase of `phased_lr`: a number of steps, a shape, and the values at its start and end.

    $$\mathrm{value}(t) = e + (s - e) \, w(p), \quad p = \frac{o + t}{S}, \quad 0 \le t < L$$

    with $L$ = `length`, $s$ and $e$ the values at the start and the end (`start_factor` or
    `start_value`, `end_factor` or `end_value`), $o$ = `offset` and $S$ = `span`. The `shape` gives the
    weight $w$ of the start value, with $q$ = `power`:

    $$\begin{array}{ll}
      \text{constant} & 1 \\
      \text{linear} & 1 - p \\
      \text{cosine} & (1 + \cos \pi p) / 2 \\
      \text{polynomial} & (1 - p)^q \\
      \text{power} & 1 - p^q \\
      \text{1-sqrt} & 1 - \sqrt p \\
      \text{inverse_sqrt} & 1 / \sqrt{1 + p} \\
      \text{inverse_power} & 1 / (1 + p)^q \\
      \text{log} & 1 - \ln(1 + p S) / \ln(1 + S) \\
      \text{shifted_exponential} & 2^{1 - p} - 1 \\
      \text{tanh} & (1 - \tanh(10 p - 7)) / 2 \\
      \text{rex} & (1 - p) / (1 - p + p / 10)
    \end{array}$$

    An exponential phase has the value $s^{1 - p} e^p$ instead. Past $p = 1$ a cosine returns towards its
    start, an inverse shape keeps falling, and every other shape holds its end value.

    Args:
        length: steps (or epochs) of the phase, a whole number >= 0. None means that the phase never ends;
            only the last phase may have it. A phase of length 0 is skipped, and the next phase starts from
            its end value. For the inverse shapes, which never reach their end, it starts from the rate at
            `offset`.
        shape: "constant", "linear", "cosine", "polynomial", "power", "1-sqrt", "exponential",
            "inverse_sqrt", "inverse_power", "log" (DeepSpeed's warmup), "shifted_exponential"
            (Megatron-LM's decay), "tanh" (timm's) or "rex" (axolotl's).
        start_factor: factor of `init_value` at the start, a finite number >= 0; may be traced. By default
            a phase starts where the phase before it ended, and the first phase starts at `init_value`.
        end_factor: factor of `init_value` at the end, a finite number >= 0; may be traced. A constant phase
            has no end value. The inverse shapes approach it, and it is 0 by default. All other shapes
            require it, or `end_value`.
        start_value: learning rate at the start, instead of `start_factor`; may be traced.
        end_value: learning rate at the end, instead of `end_factor`; may be traced.
        power: exponent of the shapes "polynomial", "power" and "inverse_power", a number > 0.
        offset: steps of the shape to skip at its start, a number >= 0.
        span: steps from the start of the shape to its end, a number > 0. The default is `offset + length`,
            so that the phase ends at its end value. For the inverse shapes the default is the number of
            steps before the phase. With `end_factor` 0, the rate is then proportional to
            `count ** -power` ("inverse_sqrt": to `count ** -0.5`).

    Returns:
        A phase, for the list that `phased_lr` takes.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, missing, or not used by the shape, or the start or the end
            is given twice.

    Example:
        >>> warmup = Phase(4, "linear", start_factor=0.0, end_factor=1.0)
        >>> [phased_lr(1.0, [warmup])(step) for step in range(6)]
        [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]
        >>> from_one_quarter = Phase(3, "linear", start_factor=0.0, end_factor=1.0, offset=1)
        >>> [phased_lr(1.0, [from_one_quarter])(step) for step in range(5)]
        [0.25, 0.5, 0.75, 1.0, 1.0]

    Reference: https://arxiv.org/abs/2405.18392 ("1-sqrt"), https://arxiv.org/abs/2107.04197 ("rex").
    """

    length: int | None = None
    shape: Shape = "constant"
    _: dataclasses.KW_ONLY
    start_factor: ArrayLike | None = None
    end_factor: ArrayLike | None = None
    start_value: ArrayLike | None = None
    end_value: ArrayLike | None = None
    power: float | None = None
    offset: float = 0
    span: float | None = None

    def __post_init__(self) -> None:
        check_choice("shape", self.shape, get_args(Shape))
        if self.length is not None:
            self._set("length", check_duration("length", self.length))
        for place in ("start", "end"):
            for kind in ("factor", "value"):
                self._check_number(f"{place}_{kind}")
            if self._has(f"{place}_factor") and self._has(f"{place}_value"):
                raise ValueError(f"give {place}_factor or {place}_value, not both")
        self._check_end()
        self._check_power()
        self._check_span()

    def as_call(self) -> tuple[str, dict[str, Any]]:
        """Return the name of the class, and its arguments. None stands for a default."""
        arguments: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            is_default = not isinstance(value, jax.Array) and value == field.default
            arguments[field.name] = None if is_default else value
        if self.offset == 0 and self.span == self.length:  # the default, except of the inverse shapes
            arguments["span"] = self.span if self.shape in _WITHOUT_END else None
        return "Phase", arguments

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_number(self, name: str) -> None:
        if self._has(name):
            positive = self.shape == "exponential"
            self._set(name, check_value(name, getattr(self, name), positive=positive))

    def _check_end(self) -> None:
        has_end = self._has("end_factor") or self._has("end_value")
        if self.shape == "constant" and has_end:
            raise ValueError(
                "a constant phase has no end_factor or end_value: give start_factor or start_value, or "
                "another shape"
            )
        if self.shape not in ("constant", *_WITHOUT_END) and not has_end:
            raise ValueError(
                f"a phase of shape {self.shape!r} needs an end: give end_factor (a factor of init_value) "
                "or end_value (a learning rate)"
            )

    def _check_power(self) -> None:
        if self.shape not in _WITH_POWER:
            if self.power is not None:
                raise ValueError(
                    f"power is for the shapes {', '.join(map(repr, _WITH_POWER))}: leave it out for "
                    f"{self.shape!r}"
                )
            return
        if self.power is None:
            raise ValueError(f"a phase of shape {self.shape!r} needs a power, such as power=2.0")
        self._set("power", _check_static("power", self.power, positive=True))

    def _check_span(self) -> None:
        self._set("offset", _check_static("offset", self.offset))
        if self.span is None:
            if self.shape in _WITHOUT_END or self.shape == "constant" or self.length is not None:
                return
            raise ValueError(f"a phase of shape {self.shape!r} needs a length, or a span if it never ends")
        if self.shape == "constant":
            raise ValueError("a constant phase has no span: give its number of steps as length")
        self._set("span", _check_static("span", self.span, positive=True))
        if self.shape in _WITHOUT_END:
            return
        if self.offset > self.span:
            raise ValueError(f"offset must be at most span, got {self.offset:g} and {self.span:g}")
        if self._past_end() == "bounce" and not (self.offset == 0 and self.span == int(self.span)):
            raise ValueError(
                "a cosine that rises again after its span needs a whole span and no offset, got "
                f"span={self.span:g}, offset={self.offset:g}: split it into a falling and a rising phase"
            )

    def _past_end(self) -> Literal["never", "hold", "bounce"]:
        if self.span is None or self.shape in _WITHOUT_END:
            return "never"
        past = math.inf if self.length is None else self.offset + self.length - self.span
        # A phase with a fractional offset or span can end up to one step past its span. Only a phase that
        # is longer than that bounces back.
        if self.shape == "cosine" and past > 1 + 1e-6:
            return "bounce"
        return "hold" if past > 0 else "never"


@prints_as_call
def phased_lr(init_value: ArrayLike, phases: Sequence[Phase], *, repeat: int = 0) -> optax.Schedule:
    r"""A sequence of phases, such as a warmup, a hold and a decay.

    $$\mathrm{lr}(k) = \mathrm{value}_i(k - K_i), \quad K_i = \sum_{j < i} L_j, \quad
      K_i \le k < K_{i + 1}$$

    with $\mathrm{value}_i$ the value of `phases[i]` for this `init_value` (see `Phase`), $L_j$ the length
    of `phases[j]` and $k$ = `count`. After the last phase its end value holds. If `repeat` is $r > 0$, the
    last $r$ phases repeat forever instead.

    Args:
        init_value: learning rate that the factors multiply, a finite number >= 0; may be traced.
        phases: the phases in order, at least one. Only the last one may have no length.
        repeat: number of phases at the end of the list that repeat forever; 0 for none.

    Returns:
        A schedule from `count` (epochs or steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or a phase before the last one has no length.

    Example:
        A warmup, a hold and a cosine to 10 %:

        >>> schedule = phased_lr(0.5, [
        ...     Phase(4, "linear", start_factor=0.0, end_factor=1.0),
        ...     Phase(10),
        ...     Phase(20, "cosine", end_factor=0.1),
        ... ])
        >>> [round(schedule(step), 12) for step in (0, 2, 4, 13, 24, 34, 1000)]
        [0.0, 0.25, 0.5, 0.5, 0.275, 0.05, 0.05]

        A warmup and the inverse square root of the step:

        >>> schedule = phased_lr(0.5, [
        ...     Phase(4, "linear", start_factor=0.0, end_factor=1.0), Phase(shape="inverse_sqrt")
        ... ])
        >>> [schedule(step) for step in (2, 4, 16, 64)]
        [0.25, 0.5, 0.25, 0.125]

        Restarts:

        >>> schedule = phased_lr(1.0, [Phase(10, "cosine", end_factor=0.0)], repeat=1)
        >>> [round(schedule(step), 12) for step in (0, 5, 10, 15, 1000)]
        [1.0, 0.5, 1.0, 0.5, 1.0]

    Reference: `torch.optim.lr_scheduler.SequentialLR` is the nearest equivalent in torch.
    """
    init_value = check_value("init_value", init_value)
    phases = _check_phases(phases)
    repeat = _check_repeat(repeat, phases)
    segments = _segments(init_value, phases)
    begins = [segment.begin for segment in segments]
    begin_of_loop, end_of_loop = _loop(phases, repeat)
    is_static = not any(
        isinstance(value, jax.Array) for segment in segments for value in (segment.start, segment.end)
    )

    def formula(count: Count) -> Float:
        if not is_static:
            count = as_device_count(count)
        if repeat:
            count = _wrap(count, begin_of_loop, end_of_loop)
        if isinstance(count, jax.Array):
            return _rate_of_every_segment(segments, count)
        active = count_reached(begins[1:], count)
        if isinstance(count, int):
            return segments[active].rate(count - begins[active])
        rates = np.empty(count.shape)
        for index in np.unique(active):
            rates[active == index] = segments[index].rate(count[active == index] - begins[index])
        return rates

    has_factors_only = all(phase.start_value is None and phase.end_value is None for phase in phases)
    return Schedule(formula, init_value if has_factors_only else None)


class _Segment(NamedTuple):
    """A phase with the count at which it begins, and with its values as learning rates."""

    begin: int
    length: int | None
    shape: str
    start: float | jax.Array
    end: float | jax.Array
    power: float
    offset: float
    ahead: float
    span: float
    past_end: Literal["never", "hold", "bounce"]

    def rate(self, since: Count) -> Float:
        """Return the rate `since` steps after the phase began. After its length, its last rate holds."""
        if self.shape == "constant":
            return self.start
        if self.length is not None:
            since = at_most(since, self.length)
        return mix(self.shape, self.start, self.end, self.position(since))

    def rate_at_end(self, length: int) -> Any:
        """Return the rate at the end of the phase, with weights that are computed on the host."""
        if self.shape == "constant":
            return self.start
        at = self.position(length)
        if self.shape == "exponential":
            return self.start ** (at.left / at.span) * self.end ** (at.done / at.span)
        return self.start * float(mix(self.shape, 1.0, 0.0, at)) + self.end * float(
            mix(self.shape, 0.0, 1.0, at)
        )

    def position(self, since: Count) -> Position:
        """Return the position on the shape, `since` steps after the phase began."""
        return Position(since, self.offset, self.ahead, self.span, self.power, self.past_end)


def _segments(init_value: float | jax.Array, phases: list[Phase]) -> list[_Segment]:
    """Compute the first count and the rates of each phase. Leave out the phases of length 0."""
    segments: list[_Segment] = []
    begin, rate = 0, init_value
    for index, phase in enumerate(phases):
        start = _rate_of(init_value, phase.start_factor, phase.start_value, rate)
        default_end = start if phase.shape == "constant" else 0.0
        end = _rate_of(init_value, phase.end_factor, phase.end_value, default_end)
        if phase.length == 0:
            rate = _rate_after_no_steps(phase, begin, start, end)
            continue
        if phase.shape == "exponential" and not isinstance(start, jax.Array) and start == 0:
            raise ValueError(
                f"phases[{index}] must start above 0 to be exponential, got 0: give it a start_factor"
            )
        segment = _segment(index, phase, begin, start, end)
        segments.append(segment)
        if segment.length is not None:
            begin, rate = begin + segment.length, segment.rate_at_end(segment.length)
    if not segments or phases[-1].length == 0:
        segments.append(_Segment(begin, None, "constant", rate, rate, 1.0, 0, 1, 1, "never"))
    return segments


def _rate_after_no_steps(phase: Phase, begin: int, start: Any, end: Any) -> Any:
    """Return the rate where the phase after one of length 0 begins."""
    if phase.shape not in _WITHOUT_END:
        return end
    if phase.offset == 0:
        return start
    return _segment(0, phase, max(begin, 1), start, end).rate_at_end(0)


def _segment(index: int, phase: Phase, begin: int, start: Any, end: Any) -> _Segment:
    shape, power = phase.shape, phase.power or 1.0
    if shape in ("inverse_sqrt", "1-sqrt"):
        shape, power = {"inverse_sqrt": "inverse_power", "1-sqrt": "power"}[shape], 0.5
    elif shape in ("polynomial", "power") and power == 1:
        shape = "linear"
    if phase.span is not None:
        span = phase.span
        ahead = span - phase.offset
    elif phase.shape in _WITHOUT_END:
        if begin == 0:
            raise ValueError(
                f"phases[{index}] needs a span: by default it is the number of steps before the phase, "
                "which is 0 here"
            )
        span = ahead = begin
    else:
        ahead = phase.length or 0
        span = phase.offset + ahead
    past_end = phase._past_end()
    return _Segment(begin, phase.length, shape, start, end, power, phase.offset, ahead, span, past_end)


def _rate_of(init_value: Any, factor: Any, value: Any, default: Any) -> float | jax.Array:
    """Return the rate that a phase states as a factor or as a value, or else the default."""
    if value is not None:
        return value
    return default if factor is None else init_value * factor


def _rate_of_every_segment(segments: list[_Segment], count: jax.Array) -> Float:
    """Evaluate every segment at a count clipped to the segment, and choose the last one that has begun."""
    rate: Any = None
    for segment in segments:
        since = jnp.maximum(count - min(segment.begin, largest_count(count)), 0)
        this = segment.rate(since)
        rate = this if rate is None else choose(is_before(count, segment.begin), rate, this)
    return rate


def _wrap(count: Count, begin: int, end: int) -> Count:
    """Map a count past `end` to the equivalent count between `begin` and `end`."""
    if isinstance(count, int):
        return count if count < begin else begin + (count - begin) % (end - begin)
    if begin > largest_count(count):
        return count
    since = modulo(array_module(count).maximum(count - begin, 0), end - begin)
    return choose(is_before(count, begin), count, begin + since)


def _loop(phases: list[Phase], repeat: int) -> tuple[int, int]:
    """Return the counts at which the phases that repeat begin and end."""
    ends = [0, *itertools.accumulate(phase.length or 0 for phase in phases)]
    return ends[len(phases) - repeat], ends[-1]


def _check_phases(phases: Sequence[Phase]) -> list[Phase]:
    if not isinstance(phases, Sequence) or isinstance(phases, str):
        raise TypeError(f"phases must be a list of jaxlr.Phase, got {shown_value(phases)}")
    if not phases:
        raise ValueError("phases must hold at least one jaxlr.Phase, got none")
    for index, phase in enumerate(phases):
        if not isinstance(phase, Phase):
            raise TypeError(f"phases[{index}] must be a jaxlr.Phase, got {shown_value(phase)}")
        if phase.length is None and index < len(phases) - 1:
            raise ValueError(f"phases[{index}] needs a length: only the last phase may have none")
    if sum(phase.length or 0 for phase in phases) > _LARGEST_LENGTH:
        raise ValueError("the lengths of phases must add up to at most 2**61")
    return list(phases)


def _check_repeat(repeat: int, phases: list[Phase]) -> int:
    repeat = check_whole_number("repeat", repeat)
    if not 0 <= repeat <= len(phases):
        raise ValueError(f"repeat must be from 0 to {len(phases)}, the number of phases, got {repeat}")
    if repeat and phases[-1].length is None:
        raise ValueError(f"phases[{len(phases) - 1}] needs a length to be repeated")
    if repeat and not any(phase.length for phase in phases[-repeat:]):
        raise ValueError("the phases that repeat must have a length of at least 1 together, got 0")
    return repeat


def _check_static(name: str, value: Any, *, positive: bool = False) -> float:
    if isinstance(value, jax.Array):
        raise TypeError(f"{name} must be a number known at compile time, got {shown_value(value)}")
    number = check_value(name, value, positive=positive)
    assert not isinstance(number, jax.Array)
    return number
