"""Schedules that anneal between rates, once or in cycles."""

import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import optax
from jax.typing import ArrayLike

from jaxlr._checks import (
    check_at_most,
    check_choice,
    check_duration,
    check_function,
    check_positive_count,
    check_value,
)
from jaxlr.schedules._anneal import anneal_unit, blend
from jaxlr.schedules._counts import (
    Count,
    Float,
    Schedule,
    apply_to_each,
    as_float,
    at_most,
    choose,
    floor_divide,
    is_before,
    modulo,
    remaining,
)
from jaxlr.schedules._powers import power, power_and_complement


def cyclic_lr(
    base_lr: ArrayLike,
    max_lr: ArrayLike,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
) -> optax.Schedule:
    r"""The learning rate climbs from `base_lr` to `max_lr` and back, in triangles that may shrink.

    $$\mathrm{lr}(k) = \eta_b + (\eta_m - \eta_b) \, h \, S, \quad
      h = \begin{cases} p / u & p \le u \\ (u + d - p) / d & p > u \end{cases}, \quad
      p = k \bmod (u + d)$$

    with $\eta_b$ = `base_lr`, $\eta_m$ = `max_lr`, $u$ = `step_size_up`, $d$ = `step_size_down` and
    $k$ = `count`. The scale $S$ is 1 in `mode` "triangular", $2^{-\lfloor k / (u + d) \rfloor}$ in
    "triangular2" and $\gamma^k$ in "exp_range", with $\gamma$ = `gamma`; or `scale_fn` of the cycle,
    counted from 1, or (`scale_mode` "iterations") of $k$.

    Args:
        base_lr: learning rate at the feet, a finite number >= 0; may be traced, shape ().
        max_lr: learning rate at the first peak, a finite number >= 0; may be traced, shape ().
        step_size_up: steps from foot to peak, a whole number >= 1.
        step_size_down: steps from peak to foot, a whole number >= 0 (a saw); None is `step_size_up`.
        mode: how the peaks shrink; ignored where `scale_fn` is given.
        gamma: factor of each step in "exp_range", a finite number > 0; may be traced, shape ().
        scale_fn: function of the cycle or step, as `lr_lambda` of `lambda_lr`.
        scale_mode: what `scale_fn` is given.

    Returns:
        A schedule: `count` (steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not of the kind above, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> schedule = cyclic_lr(1.0, 3.0, step_size_up=2, mode="triangular2")
        >>> [schedule(step) for step in range(9)]
        [1.0, 2.0, 3.0, 2.0, 1.0, 1.5, 2.0, 1.5, 1.0]

    Reference: `torch.optim.lr_scheduler.CyclicLR`; https://arxiv.org/abs/1506.01186.
    """
    base_lr = check_value("base_lr", base_lr)
    max_lr = check_value("max_lr", max_lr)
    triangle = _triangles(step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)
    return Schedule(lambda count: triangle(base_lr, max_lr, count))


def cyclic_momentum(
    base_momentum: ArrayLike = 0.8,
    max_momentum: ArrayLike = 0.9,
    step_size_up: int = 2000,
    step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: ArrayLike = 1.0,
    scale_fn: Callable[[Any], Any] | None = None,
    scale_mode: Literal["cycle", "iterations"] = "cycle",
) -> optax.Schedule:
    r"""The momentum that torch's CyclicLR cycles against the learning rate.

    $$\mathrm{momentum}(k) = m_m - (m_m - m_b) \, h \, S$$

    with $m_b$ = `base_momentum`, $m_m$ = `max_momentum`, $k$ = `count`, and $h$ and $S$ as in
    `cyclic_lr`.

    Args:
        base_momentum: momentum at the learning rate's first peak, >= 0; may be traced, shape ().
        max_momentum: momentum at the learning rate's feet, >= 0; may be traced, shape ().
        step_size_up: as in `cyclic_lr`, as are the arguments after it.
        step_size_down: as in `cyclic_lr`.
        mode: as in `cyclic_lr`.
        gamma: as in `cyclic_lr`.
        scale_fn: as in `cyclic_lr`.
        scale_mode: as in `cyclic_lr`.

    Returns:
        A schedule: `count` (steps, integers of any shape) to momenta of that shape.

    Raises:
        TypeError: an argument is not of the kind above, or a `count` is not an integer.
        ValueError: an argument is out of its range, or a host `count` is negative.

    Example:
        >>> tx = optax.inject_hyperparams(optax.sgd)(
        ...     learning_rate=cyclic_lr(0.1, 0.3, step_size_up=2),
        ...     momentum=cyclic_momentum(0.5, 0.75, step_size_up=2),
        ... )
        >>> [cyclic_momentum(0.5, 0.75, step_size_up=2)(step) for step in range(4)]
        [0.75, 0.625, 0.5, 0.625]

    Reference: `torch.optim.lr_scheduler.CyclicLR` with `cycle_momentum=True`.
    """
    base_momentum = check_value("base_momentum", base_momentum)
    max_momentum = check_value("max_momentum", max_momentum)
    triangle = _triangles(step_size_up, step_size_down, mode, gamma, scale_fn, scale_mode)
    return Schedule(lambda count: triangle(max_momentum, base_momentum, count))


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
    r"""The learning rate rises once to `max_lr` and falls far below where it began.

    $$\mathrm{lr}(k): \; \frac{\eta}{D} \to \eta \text{ for } 0 \le k \le pN - 1, \quad
      \eta \to \frac{\eta}{D F} \text{ for } pN - 1 < k \le N - 1$$

    with $\eta$ = `max_lr`, $D$ = `div_factor`, $F$ = `final_div_factor`, $N$ = `total_steps` (or `epochs`
    times `steps_per_epoch`), $p$ = `pct_start` and $k$ = `count`, each arrow half a cosine or a line
    (`anneal_strategy`). With `three_phase` it returns to $\eta / D$ in another $pN - 1$ steps before it
    falls to the end. A phase may end between steps, so the peak itself may be skipped, as in torch. After
    step $N - 1$ its last value holds, where torch goes astray for one step and then raises.

    Args:
        max_lr: learning rate at the peak, a finite number >= 0; may be traced, shape ().
        total_steps: steps of the run, a whole number >= 1; or give `epochs` and `steps_per_epoch`.
        pct_start: part of the steps spent rising, in [0, 1]; times `total_steps` not 1.
        anneal_strategy: "cos" or "linear".
        div_factor: `max_lr` over the first rate, a finite number >= 1; may be traced, shape ().
        final_div_factor: the first rate over the last, a finite number > 0; may be traced, shape ().
        three_phase: whether the fall is mirrored to the rise, with a phase of its own to the end.
        epochs: epochs of the run, a whole number >= 1.
        steps_per_epoch: steps in an epoch, a whole number >= 1.

    Returns:
        A schedule: `count` (steps, integers of any shape) to learning rates of that shape.

    Raises:
        TypeError: an argument is not of the kind above, or a `count` is not an integer.
        ValueError: an argument is out of its range, the number of steps is given twice or not at all,
            or a host `count` is negative.

    Example:
        >>> schedule = one_cycle_lr(1.0, total_steps=5, pct_start=0.4, anneal_strategy="linear")
        >>> [round(schedule(step), 6) for step in range(6)]
        [0.04, 1.0, 0.666668, 0.333336, 4e-06, 4e-06]

    Reference: `torch.optim.lr_scheduler.OneCycleLR`; https://arxiv.org/abs/1708.07120.
    """
    max_lr = check_value("max_lr", max_lr)
    div_factor = check_value("div_factor", div_factor, positive=True)
    if not isinstance(div_factor, jax.Array) and div_factor < 1:
        raise ValueError(f"div_factor must be at least 1, got {div_factor!r}: it divides the first rate")
    final_div_factor = check_value("final_div_factor", final_div_factor, positive=True)
    first = max_lr / div_factor
    last = first / final_div_factor
    phases = _one_cycle(total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy, three_phase)
    rates = (first, max_lr, first, last) if three_phase else (first, max_lr, last)
    return Schedule(lambda count: phases(rates, count))


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
    r"""The momentum that torch's OneCycleLR cycles against the learning rate.

    $$\mathrm{momentum}(k): \; m_m \to m_b \text{ for } 0 \le k \le pN - 1, \quad
      m_b \to m_m \text{ for } pN - 1 < k \le N - 1$$

    with $m_b$ = `base_momentum`, $m_m$ = `max_momentum`, and $N$ = `total_steps`, $p$ = `pct_start`
    and $k$ = `count` as in `one_cycle_lr`. With `three_phase` the last phase stays at $m_m$.

    Args:
        total_steps: as in `one_cycle_lr`, as are the arguments that have its names.
        pct_start: as in `one_cycle_lr`.
        anneal_strategy: as in `one_cycle_lr`.
        three_phase: as in `one_cycle_lr`.
        base_momentum: momentum at the learning rate's peak, >= 0; may be traced, shape ().
        max_momentum: momentum at both ends, >= 0; may be traced, shape ().
        epochs: as in `one_cycle_lr`.
        steps_per_epoch: as in `one_cycle_lr`.

    Returns:
        A schedule: `count` (steps, integers of any shape) to momenta of that shape.

    Raises:
        TypeError: an argument is not of the kind above, or a `count` is not an integer.
        ValueError: an argument is out of its range, the number of steps is given twice or not at all,
            or a host `count` is negative.

    Example:
        >>> schedule = one_cycle_momentum(total_steps=5, pct_start=0.4, anneal_strategy="linear")
        >>> [round(schedule(step), 3) for step in range(5)]
        [0.95, 0.85, 0.883, 0.917, 0.95]

    Reference: `torch.optim.lr_scheduler.OneCycleLR` with `cycle_momentum=True`.
    """
    base = check_value("base_momentum", base_momentum)
    top = check_value("max_momentum", max_momentum)
    phases = _one_cycle(total_steps, epochs, steps_per_epoch, pct_start, anneal_strategy, three_phase)
    momenta = (top, base, top, top) if three_phase else (top, base, top)
    return Schedule(lambda count: phases(momenta, count))


def _triangles(
    step_size_up: int,
    step_size_down: int | None,
    mode: str,
    gamma: ArrayLike,
    scale_fn: Callable[[Any], Any] | None,
    scale_mode: str,
) -> Callable[[Any, Any, Count], Float]:
    """A function of (foot, peak, count) that goes from foot to scaled peak and back."""
    up = check_positive_count("step_size_up", step_size_up)
    down = up if step_size_down is None else check_duration("step_size_down", step_size_down)
    check_choice("mode", mode, ("triangular", "triangular2", "exp_range"))
    check_choice("scale_mode", scale_mode, ("cycle", "iterations"))
    gamma = check_value("gamma", gamma, positive=True)
    if scale_fn is not None:
        check_function("scale_fn", scale_fn)
        mode = scale_mode

    def scale(count: Count) -> tuple[Any, Any]:
        """The size of a triangle, and 1 less it."""
        match mode:
            case "triangular2":
                size = power(0.5, floor_divide(count, up + down))
            case "exp_range":
                return power_and_complement(gamma, count)
            case "cycle":
                size = apply_to_each(scale_fn, floor_divide(count, up + down) + 1)
            case "iterations":
                size = apply_to_each(scale_fn, count)
            case _:
                size = 1.0
        return size, 1 - size

    def triangle(foot: Float, peak: Float, count: Count) -> Float:
        position = modulo(count, up + down)
        rising = is_before(position, up + 1)
        leg = choose(rising, float(up), float(down))
        height = choose(rising, as_float(position), remaining(up + down, position)) / leg
        depth = abs(remaining(up, position)) / leg
        size, complement = scale(count)
        # A foot stays where it is even when the size of its triangle has overflowed.
        to_peak = height * choose(height == 0, 1.0, size)
        # Below 1 by weights of one sign, as foot + (peak - foot) * to_peak cancels where a peak lies below
        # its foot; above 1 it is they that would cancel.
        to_foot = depth * choose(size > 1, 1.0, size) + complement
        return choose(size > 1, foot + (peak - foot) * to_peak, peak * to_peak + foot * to_foot)

    return triangle


def _one_cycle(
    total_steps: int | None,
    epochs: int | None,
    steps_per_epoch: int | None,
    pct_start: float,
    anneal_strategy: str,
    three_phase: bool,
) -> Callable[[tuple[Any, ...], Count], Float]:
    """A function of (values, count) that anneals from each value to the next, phase by phase."""
    num_steps = _check_total_steps(total_steps, epochs, steps_per_epoch)
    check_choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
    if isinstance(pct_start, jax.Array):
        raise TypeError(f"pct_start must be a number known at compile time, got {pct_start!r}")
    pct_start = float(check_at_most("pct_start", check_value("pct_start", pct_start), 1.0))
    rise = float(pct_start * num_steps) - 1  # as torch rounds it
    if rise == 0:
        raise ValueError(
            f"pct_start * total_steps must not be 1, a rise of no steps: got {pct_start!r} * {num_steps}"
        )
    ends = [rise, 2 * pct_start * num_steps - 2, num_steps - 1] if three_phase else [rise, num_steps - 1]
    starts = [0.0, *ends[:-1]]

    units = [
        anneal_unit(end - start, anneal_strategy) if end != start else 1.0
        for start, end in zip(starts, ends, strict=True)
    ]

    def phases(values: tuple[Any, ...], count: Count) -> Float:
        count = at_most(count, num_steps - 1)
        done = [-remaining(start, count) for start in starts]
        left = [remaining(end, count) for end in ends]
        *earlier, phase = zip(values[:-1], values[1:], done, left, units, strict=True)
        for end, candidate in reversed(list(zip(ends[:-1], earlier, strict=True))):
            inside = is_before(count, math.floor(end) + 1)
            phase = tuple(choose(inside, a, b) for a, b in zip(candidate, phase, strict=True))
        return blend(*phase, strategy=anneal_strategy)

    return phases


def _check_total_steps(total_steps: int | None, epochs: int | None, steps_per_epoch: int | None) -> int:
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
