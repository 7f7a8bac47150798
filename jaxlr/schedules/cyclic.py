"""The cyclic and the one-cycle policy: learning rate and momentum."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import optax
from jax.typing import ArrayLike

from jaxlr._checks import (
    check_at_most,
    check_choice,
    check_function,
    check_length,
    check_positive_count,
    check_static_value,
    check_value,
)
from jaxlr.schedules._anneal import anneal_unit, blend
from jaxlr.schedules._counts import Count, Float, at_most, choose, is_before, remaining
from jaxlr.schedules._functions import apply_to_each
from jaxlr.schedules._periods import cycle_and_position, distances
from jaxlr.schedules._powers import integer_power, power_and_complement
from jaxlr.schedules._schedule import Schedule, prints_as_call


@prints_as_call
def cyclic_lr(
    base_lr: ArrayLike,
    max_lr: ArrayLike,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
) -> optax.Schedule:
    r"""The learning rate rises from `base_lr` to `max_lr` and falls back, in triangles that may shrink.

    $$\mathrm{lr}(k) = \eta_b + (\eta_m - \eta_b) \, h \, S, \quad
      h = \begin{cases} p / u & p \le u \\ (u + d - p) / d & p > u \end{cases}, \quad
      p = k \bmod (u + d)$$

    with $\eta_b$ = `base_lr`, $\eta_m$ = `max_lr`, $u$ = `step_size_up`, $d$ = `step_size_down` and
    $k$ = `count`. The scale $S$ depends on `mode`:

    - "triangular": $S = 1$
    - "triangular2": $S = 2^{-\lfloor k / (u + d) \rfloor}$
    - "exp_range": $S = \gamma^k$, with $\gamma$ = `gamma`

    If `scale_fn` is given, $S$ is `scale_fn` of the cycle, counted from 1. With `scale_mode` "iterations"
    it is `scale_fn` of $k$.

    Args:
        base_lr: learning rate at the start of each cycle, a finite number >= 0; may be traced.
        max_lr: learning rate at the first peak, a finite number >= 0; may be traced.
        step_size_up: steps from `base_lr` to the peak, above 0; may lie between two steps, such as 12.5.
        step_size_down: steps from the peak to `base_lr`, at least 0. None means `step_size_up`.
        mode: how the peaks shrink; ignored if `scale_fn` is given.
        gamma: factor of each step in "exp_range", a finite number > 0; may be traced.
        scale_fn: function of the cycle or step, like the `lr_lambda` of `lambda_lr`.
        scale_mode: "cycle" or "iterations", the argument of `scale_fn`.

    Example:
        >>> schedule = cyclic_lr(1.0, 3.0, step_size_up=2, mode="triangular2")
        >>> [schedule(step) for step in range(9)]
        [1.0, 2.0, 3.0, 2.0, 1.0, 1.5, 2.0, 1.5, 1.0]

    Reference: `torch.optim.lr_scheduler.CyclicLR`; https://arxiv.org/abs/1506.01186.
    """
    base_lr = check_value("base_lr", base_lr)
    max_lr = check_value("max_lr", max_lr)
    return _triangles(base_lr, max_lr, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)


@prints_as_call
def cyclic_momentum(
    base_momentum: ArrayLike = 0.8,
    max_momentum: ArrayLike = 0.9,
    step_size_up: float = 2000,
    step_size_down: float | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
) -> optax.Schedule:
    r"""The momentum of torch's CyclicLR, which falls while the learning rate rises.

    $$\mathrm{momentum}(k) = m_m - (m_m - m_b) \, h \, S$$

    with $m_b$ = `base_momentum`, $m_m$ = `max_momentum`, $k$ = `count`, and $h$ and $S$ as in
    `cyclic_lr`.

    Args:
        base_momentum: momentum at the first peak of the learning rate, >= 0; may be traced.
        max_momentum: momentum at the start of each cycle, >= 0; may be traced.
        step_size_up: as in `cyclic_lr`.
        step_size_down: as in `cyclic_lr`.
        mode: as in `cyclic_lr`.
        gamma: as in `cyclic_lr`.
        scale_fn: as in `cyclic_lr`.
        scale_mode: as in `cyclic_lr`.

    Returns:
        A schedule of the momentum.

    Example:
        >>> tx = optax.inject_hyperparams(optax.sgd)(
        ...     learning_rate=cyclic_lr(0.1, 0.3, step_size_up=2),
        ...     momentum=cyclic_momentum(0.5, 0.75, step_size_up=2),
        ... )
        >>> [cyclic_momentum(0.5, 0.75, step_size_up=2)(step) for step in range(4)]
        [0.75, 0.625, 0.5, 0.625]

    Reference: `torch.optim.lr_scheduler.CyclicLR` with `cycle_momentum=True`.
    """
    base = check_value("base_momentum", base_momentum)
    top = check_value("max_momentum", max_momentum)
    return _triangles(top, base, step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)


@prints_as_call
def one_cycle_lr(
    max_lr: ArrayLike,
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: ArrayLike = 25.0,
    final_div_factor: ArrayLike = 1e4,
    three_phase: bool = False,
    *,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> optax.Schedule:
    r"""The learning rate rises to `max_lr` once, then falls far below its first value.

    $$\mathrm{lr}(k): \; \frac{\eta}{D} \to \eta \text{ for } 0 \le k \le pN - 1, \quad
      \eta \to \frac{\eta}{D F} \text{ for } pN - 1 < k \le N - 1$$

    with $\eta$ = `max_lr`, $D$ = `div_factor`, $F$ = `final_div_factor`, $N$ = `total_steps` (or `epochs`
    times `steps_per_epoch`), $p$ = `pct_start` and $k$ = `count`. Each arrow is half a cosine or a line,
    depending on `anneal_strategy`.

    With `three_phase`, the rate first returns to $\eta / D$ in another $pN - 1$ steps, then falls to its
    last value. A phase may end between two steps, so no step may have the rate `max_lr`, as in torch. After
    step $N - 1$ the last value holds. torch gives one wrong rate there, and raises an error after that.

    Args:
        max_lr: learning rate at the peak, a finite number >= 0; may be traced.
        total_steps: steps of the run, a whole number >= 1; or give `epochs` and `steps_per_epoch`.
        pct_start: fraction of the steps in which the rate rises, in [0, 1]. It must not be
            1 / `total_steps`.
        anneal_strategy: "cos" or "linear".
        div_factor: `max_lr` divided by the first rate, a finite number >= 1; may be traced.
        final_div_factor: the first rate divided by the last, a finite number > 0; may be traced.
        three_phase: if True, a phase back to the first rate comes before the final fall.
        epochs: epochs of the run, a whole number >= 1.
        steps_per_epoch: steps per epoch, a whole number >= 1.

    Raises:
        ValueError: an argument is out of range, or the number of steps is given twice or not at all.

    Example:
        >>> schedule = one_cycle_lr(1.0, total_steps=5, pct_start=0.4, anneal_strategy="linear")
        >>> [round(schedule(step), 6) for step in range(6)]
        [0.04, 1.0, 0.666668, 0.333336, 4e-06, 4e-06]

    Reference: `torch.optim.lr_scheduler.OneCycleLR`; https://arxiv.org/abs/1708.07120.
    """
    max_lr = check_value("max_lr", max_lr)
    div_factor = check_value("div_factor", div_factor, positive=True)
    if not isinstance(div_factor, jax.Array) and div_factor < 1:
        raise ValueError(f"div_factor must be at least 1, got {div_factor!r}; it divides max_lr")
    final_div_factor = check_value("final_div_factor", final_div_factor, positive=True)
    first = max_lr / div_factor
    last = first / final_div_factor
    rates = [first, max_lr, first, last] if three_phase else [first, max_lr, last]
    return _one_cycle(rates, total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy)


@prints_as_call
def one_cycle_momentum(
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    three_phase: bool = False,
    base_momentum: ArrayLike = 0.85,
    max_momentum: ArrayLike = 0.95,
    *,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> optax.Schedule:
    r"""The momentum of torch's OneCycleLR, which falls while the learning rate rises.

    $$\mathrm{momentum}(k): \; m_m \to m_b \text{ for } 0 \le k \le pN - 1, \quad
      m_b \to m_m \text{ for } pN - 1 < k \le N - 1$$

    with $m_b$ = `base_momentum`, $m_m$ = `max_momentum`, and $N$ = `total_steps`, $p$ = `pct_start` and
    $k$ = `count` as in `one_cycle_lr`. With `three_phase`, the momentum stays at $m_m$ in the last phase.

    Args:
        total_steps: as in `one_cycle_lr`.
        pct_start: as in `one_cycle_lr`.
        anneal_strategy: as in `one_cycle_lr`.
        three_phase: as in `one_cycle_lr`.
        base_momentum: momentum at the peak of the learning rate, >= 0; may be traced.
        max_momentum: momentum at both ends, >= 0; may be traced.
        epochs: as in `one_cycle_lr`.
        steps_per_epoch: as in `one_cycle_lr`.

    Returns:
        A schedule of the momentum.

    Raises:
        ValueError: an argument is out of range, or the number of steps is given twice or not at all.

    Example:
        >>> schedule = one_cycle_momentum(total_steps=5, pct_start=0.4, anneal_strategy="linear")
        >>> [round(schedule(step), 3) for step in range(5)]
        [0.95, 0.85, 0.883, 0.917, 0.95]

    Reference: `torch.optim.lr_scheduler.OneCycleLR` with `cycle_momentum=True`.
    """
    base = check_value("base_momentum", base_momentum)
    top = check_value("max_momentum", max_momentum)
    momenta = [top, base, top, top] if three_phase else [top, base, top]
    return _one_cycle(momenta, total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy)


def _triangles(
    foot: Any,
    peak: Any,
    step_size_up: float,
    step_size_down: float | None,
    mode: str,
    gamma: ArrayLike,
    scale_fn: Callable[[Any], Any] | None,
    scale_mode: str,
) -> optax.Schedule:
    """Return the schedule that moves from the foot to the scaled peak and back."""
    up = check_length("step_size_up", step_size_up)
    down = (
        up if step_size_down is None else check_length("step_size_down", step_size_down, may_be_zero=True)
    )
    total = int(up + down) if float(up + down).is_integer() else up + down
    check_choice("mode", mode, ("triangular", "triangular2", "exp_range"))
    check_choice("scale_mode", scale_mode, ("cycle", "iterations"))
    gamma = check_value("gamma", gamma, positive=True)
    if scale_fn is not None:
        check_function("scale_fn", scale_fn)

    def scale_and_complement(count: Count, cycle: Count) -> tuple[Any, Any]:
        """Return the scale of a triangle, and 1 - scale to full precision."""
        scale: Any = 1.0
        if scale_fn is not None:
            scale = apply_to_each(scale_fn, count if scale_mode == "iterations" else cycle + 1)
        elif mode == "triangular2":
            scale = integer_power(0.5, cycle)
        elif mode == "exp_range":
            return power_and_complement(gamma, count)
        return scale, 1 - scale

    def formula(count: Count) -> Float:
        cycle, position = cycle_and_position(count, total)
        since_foot, until_peak, until_foot = distances(position, up, total)
        rising = until_peak >= 0
        side = choose(rising, float(up), float(down))
        height = choose(rising, since_foot, until_foot) / side
        depth = abs(until_peak) / side  # 1 - height
        scale, complement = scale_and_complement(count, cycle)
        # At a foot the height is 0. It must not be multiplied by a scale that has overflowed to infinity.
        to_peak = height * choose(height == 0, 1.0, scale)
        # foot + (peak - foot) w = peak w + foot (1 - w). The right side has weights of one sign up to a
        # scale of 1, where the left side cancels if the peak is below the foot. Above 1, the right side
        # would cancel.
        to_foot = depth * choose(scale > 1, 1.0, scale) + complement
        return choose(scale > 1, foot + (peak - foot) * to_peak, peak * to_peak + foot * to_foot)

    return Schedule(formula, functions=() if scale_fn is None else (scale_fn,))


def _one_cycle(
    values: list[Any],
    total_steps: int | None,
    epochs: int | None,
    steps_per_epoch: int | None,
    pct_start: float,
    anneal_strategy: str,
) -> optax.Schedule:
    """Return the schedule that moves from each value to the next, phase by phase."""
    num_steps = _check_total_steps(total_steps, epochs, steps_per_epoch)
    check_choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
    ends = _ends_of_phases(num_steps, pct_start, three_phase=len(values) == 4)
    starts = [0.0, *ends[:-1]]
    units = [
        anneal_unit(end - start, anneal_strategy) if end - start else 1.0
        for start, end in zip(starts, ends, strict=True)
    ]

    def formula(count: Count) -> Float:
        count = at_most(count, num_steps - 1)

        def arguments_of(phase: int) -> tuple[Any, ...]:
            done, left = -remaining(starts[phase], count), remaining(ends[phase], count)
            return values[phase], values[phase + 1], done, left, units[phase]

        chosen = arguments_of(len(ends) - 1)
        for phase in reversed(range(len(ends) - 1)):
            is_in_phase = is_before(count, math.floor(ends[phase]) + 1)
            pairs = zip(arguments_of(phase), chosen, strict=True)
            chosen = tuple(choose(is_in_phase, this, later) for this, later in pairs)
        return blend(*chosen, strategy=anneal_strategy)

    return Schedule(formula)


def _ends_of_phases(num_steps: int, pct_start: float, three_phase: bool) -> list[float]:
    """Return the steps at which the phases of one cycle end, rounded as in torch."""
    pct_start = float(check_at_most("pct_start", check_static_value("pct_start", pct_start), 1.0))
    rise = float(pct_start * num_steps) - 1
    if rise == 0:
        raise ValueError(
            "pct_start * total_steps must not be 1, because the rise would have no steps, "
            f"got {pct_start!r} * {num_steps}"
        )
    return [rise, 2 * pct_start * num_steps - 2, num_steps - 1] if three_phase else [rise, num_steps - 1]


def _check_total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
    """Return the number of steps, which is given once: alone, or as epochs of a number of steps."""
    if total_steps is not None and epochs is None and steps_per_epoch is None:
        return check_positive_count("total_steps", total_steps)
    if total_steps is None and epochs is not None and steps_per_epoch is not None:
        steps_per_epoch = check_positive_count("steps_per_epoch", steps_per_epoch)
        num_steps = check_positive_count("epochs", epochs) * steps_per_epoch
        return check_positive_count("epochs * steps_per_epoch", num_steps)
    raise ValueError(
        "give the number of steps once, as total_steps or as epochs and steps_per_epoch; got "
        f"total_steps={total_steps!r}, epochs={epochs!r}, steps_per_epoch={steps_per_epoch!r}"
    )
