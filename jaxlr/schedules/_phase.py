"""A phase of `phased_lr`: its length, its shape, and its values at the start and the end."""

import dataclasses
import math
from typing import Any, Literal, TypeAlias, get_args

import jax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_static_value, check_value
from jaxlr.schedules._printing import PrintsAsCall
from jaxlr.schedules._shapes import PastEnd


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
WITHOUT_END = ("inverse_sqrt", "inverse_power")


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
        >>> from jaxlr import phased_lr
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
        for name in ("start_factor", "start_value", "end_factor", "end_value"):
            if self._has(name):
                value = check_value(name, getattr(self, name), positive=self.shape == "exponential")
                self._set(name, value)
        for place in ("start", "end"):
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
            arguments["span"] = self.span if self.shape in WITHOUT_END else None
        return "Phase", arguments

    def _has(self, name: str) -> bool:
        return getattr(self, name) is not None

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_end(self) -> None:
        has_end = self._has("end_factor") or self._has("end_value")
        if self.shape == "constant" and has_end:
            raise ValueError(
                "a constant phase has no end_factor or end_value: give start_factor or start_value, or "
                "another shape"
            )
        if self.shape not in ("constant", *WITHOUT_END) and not has_end:
            raise ValueError(
                f"a phase of shape {self.shape!r} needs an end: give end_factor (a factor of init_value) "
                "or end_value (a learning rate)"
            )

    def _check_power(self) -> None:
        takes_power = self.shape in _WITH_POWER
        if self.power is not None and not takes_power:
            raise ValueError(
                f"power is for the shapes {', '.join(map(repr, _WITH_POWER))}: leave it out for "
                f"{self.shape!r}"
            )
        if self.power is None and takes_power:
            raise ValueError(f"a phase of shape {self.shape!r} needs a power, such as power=2.0")
        if self.power is not None:
            self._set("power", check_static_value("power", self.power, positive=True))

    def _check_span(self) -> None:
        self._set("offset", check_static_value("offset", self.offset))
        if self.span is None:
            if self.shape in WITHOUT_END or self.shape == "constant" or self.length is not None:
                return
            raise ValueError(f"a phase of shape {self.shape!r} needs a length, or a span if it never ends")
        if self.shape == "constant":
            raise ValueError("a constant phase has no span: give its number of steps as length")
        self._set("span", check_static_value("span", self.span, positive=True))
        if self.shape in WITHOUT_END:
            return
        if self.offset > self.span:
            raise ValueError(f"offset must be at most span, got {self.offset:g} and {self.span:g}")
        if past_end(self) == "bounce" and not (self.offset == 0 and self.span == int(self.span)):
            raise ValueError(
                "a cosine that rises again after its span needs a whole span and no offset, got "
                f"span={self.span:g}, offset={self.offset:g}: split it into a falling and a rising phase"
            )


def past_end(phase: Phase) -> PastEnd:
    """Return the behaviour of the shape of a phase past the end of its span."""
    if phase.span is None or phase.shape in WITHOUT_END:
        return "never"
    past = math.inf if phase.length is None else phase.offset + phase.length - phase.span
    # A phase with a fractional offset or span can end up to one step past its span. Only a phase that is
    # longer than that bounces back.
    if phase.shape == "cosine" and past > 1 + 1e-6:
        return "bounce"
    return "hold" if past > 0 else "never"
