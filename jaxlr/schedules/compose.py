"""Schedules made from other schedules or from plain functions, and the rates of a schedule as an array."""

import functools
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import (
    check_duration,
    check_finite,
    check_function,
    check_milestones,
    check_positive_count,
    check_value,
    check_whole_number,
    shown_value,
)
from jaxlr.schedules._chain import CosineStep, slowed, step_of, stepped, switching
from jaxlr.schedules._counts import (
    Count,
    Float,
    at_most,
    choose,
    floor_divide,
    is_before,
    largest_count,
    look_up,
    modulo,
    rate_of_part,
)
from jaxlr.schedules._schedule import Schedule, factor_of, prints_as_call


@prints_as_call
def sequential_lr(schedules: Sequence[optax.Schedule], milestones: Sequence[int]) -> optax.Schedule:
    r"""A sequence of schedules. Each one takes over at its milestone, and counts from 0 there.

    $$\mathrm{lr}(e) = \mathrm{lr}_i(e - m_i), \quad i = \#\{j \ge 1 : m_j \le e\}, \quad m_0 = 0$$

    with $\mathrm{lr}_i$ = `schedules[i]`, $m_j$ = `milestones[j - 1]` and $e$ = `count`.

    A milestone of 0 skips the first schedule, and a milestone that is listed twice skips one too, as in
    torch. Each schedule starts from its own `init_value`. In torch, a scheduler without a closed form
    continues from the last rate of the scheduler before it. Convert such a sequence with
    `from_torch(..., num_steps=)`.

    Args:
        schedules: schedules, or other functions of the epoch (or step); at least one.
        milestones: epochs (or steps) at which the second, third, ... schedule takes over, in rising order;
            one fewer than `schedules`.

    Raises:
        TypeError: a schedule is not callable, or a milestone is not a number.
        ValueError: there is not one milestone fewer than schedules, or the milestones are negative or not
            in rising order.

    Example:
        >>> from jaxlr import cosine_annealing_lr, linear_lr
        >>> warmup = linear_lr(1.0, start_factor=0.25, total_iters=3)
        >>> schedule = sequential_lr([warmup, cosine_annealing_lr(1.0, T_max=6)], milestones=[3])
        >>> [round(schedule(epoch), 2) for epoch in range(10)]
        [0.25, 0.5, 0.75, 1.0, 0.93, 0.75, 0.5, 0.25, 0.07, 0.0]

    Reference: `torch.optim.lr_scheduler.SequentialLR`.
    """
    schedules = _check_schedules("schedules", schedules)
    starts = [0, *check_milestones(milestones)]
    if len(starts) != len(schedules):
        raise ValueError(
            "milestones must have one element fewer than schedules, "
            f"got {len(starts) - 1} milestones and {len(schedules)} schedules"
        )
    if starts != sorted(starts):
        raise ValueError(f"milestones must be in rising order, got {starts[1:]}")

    lengths = [end - start for start, end in itertools.pairwise(starts)]
    parts = [*map(_until, schedules, lengths), schedules[-1]]
    functions, step = tuple(schedules), switching(schedules, starts[1:])
    return Schedule(lambda count: rate_of_part(parts, starts, count), functions=functions, step=step)


@prints_as_call
def chained_scheduler(
    init_value: ArrayLike, factors: Sequence[optax.Schedule], num_steps: int | None = None
) -> optax.Schedule:
    r"""A product of schedules, each of which gives the factor of one scheduler in a chain.

    $$\mathrm{lr}(e) = \eta_0 \prod_i f_i(e)$$

    with $\eta_0$ = `init_value`, $f_i$ = `factors[i]`, a schedule built with `init_value=1.0`, and
    $e$ = `count`.

    In torch's ChainedScheduler, the schedulers change one learning rate in turn. The result is this
    product if each of them multiplies the rate. Step, multi-step, constant, linear, exponential,
    polynomial and multiplicative schedulers do. So does a cosine that ends at 0, up to its `T_max`.
    Schedulers that overwrite or shift the rate, such as a cosine with `eta_min`, need `num_steps`.

    With `num_steps`, the schedules are stepped in turn, as torch steps them, and the rates become a table.
    Each of them then has the `init_value` that torch has. After the table the last rate holds.

    Args:
        init_value: learning rate that the factors multiply, a finite number >= 0; may be traced, but not
            with `num_steps`.
        factors: schedules with `init_value=1.0`, or functions of the epoch (or step); at least one. With
            `num_steps` any schedules, in the order in which torch steps them.
        num_steps: number of epochs (or steps) to compute, a whole number >= 1. None computes the product.

    Raises:
        TypeError: a factor is not callable.
        ValueError: there is no factor, or a factor does not multiply or has an `init_value` other than 1;
            with `num_steps`, a cosine has another `init_value` than the chain.

    Example:
        >>> from jaxlr import constant_lr, exponential_lr
        >>> schedule = chained_scheduler(
        ...     0.5, [constant_lr(1.0, factor=0.5, total_iters=1), exponential_lr(1.0, gamma=0.5)]
        ... )
        >>> [schedule(epoch) for epoch in range(3)]
        [0.25, 0.25, 0.125]
        >>> from jaxlr import cosine_annealing_lr
        >>> cosine = cosine_annealing_lr(0.5, T_max=2, eta_min=0.25)
        >>> schedule = chained_scheduler(0.5, [cosine, exponential_lr(1.0, gamma=0.5)], num_steps=3)
        >>> [round(schedule(epoch), 6) for epoch in range(3)]
        [0.5, 0.1875, 0.125]

    Reference: `torch.optim.lr_scheduler.ChainedScheduler`.
    """
    init_value = check_value("init_value", init_value)
    factors = _check_schedules("factors", factors)
    if num_steps is not None:
        return _stepped_chain(init_value, factors, check_positive_count("num_steps", num_steps))
    for index, factor in enumerate(factors):
        base = factor_of(factor)
        if base is None:
            raise ValueError(
                f"factors[{index}] overwrites or shifts the learning rate instead of multiplying it, so "
                "the chain is not a product: give num_steps, the number of epochs (or steps) to tabulate"
            )
        if not isinstance(base, jax.Array) and base != 1:
            raise ValueError(f"factors[{index}] must be built with init_value=1.0, got {base!r}")

    def formula(count: Count) -> Float:
        rates: list[Any] = [factor(count) for factor in factors]
        return init_value * functools.reduce(operator.mul, rates)

    return Schedule(formula, init_value, functions=tuple(factors))


def _stepped_chain(
    init_value: float | jax.Array, schedules: list[optax.Schedule], num_steps: int
) -> optax.Schedule:
    """Return the table of a chain whose schedules are stepped in turn."""
    if isinstance(init_value, jax.Array):
        raise TypeError("init_value must be a number, not a JAX array, if num_steps is given")
    steps = [step_of(schedule) for schedule in schedules]
    for index, step in enumerate(steps):
        if isinstance(step, CosineStep) and step.init_value != init_value:
            raise ValueError(
                f"factors[{index}] must be built with the chain's init_value={init_value!r}, because a "
                f"cosine rises from it, got {step.init_value!r}"
            )
    return tabulate(stepped(steps, init_value), num_steps)


@prints_as_call
def per_epoch(
    schedule: optax.Schedule, steps_per_epoch: float | Fraction, first_step: int = 0
) -> optax.Schedule:
    r"""A schedule of epochs for an optimizer that counts steps, as torch's `scheduler.step()` per epoch.

    $$\mathrm{lr}(k) = \mathrm{schedule}\left(\left\lceil \frac{k_0 + k + 1}{n} \right\rceil - 1\right)$$

    with $n$ = `steps_per_epoch`, $k_0$ = `first_step` and $k$ = `count`, the number of updates so far.

    In code: `schedule((first_step + count) // steps_per_epoch)` if `steps_per_epoch` is a whole number.

    If gradients accumulate across epochs, `steps_per_epoch` may have a fraction. With 7 batches per epoch
    and an update every 2 batches, it is 3.5. An update belongs to the epoch of its last batch. If the loop
    also makes an update with the last batch of an epoch alone, `steps_per_epoch` is 4.

    The arithmetic is exact. A float stands for the simplest fraction that rounds to it, so `7 / 3` is
    `Fraction(7, 3)`.

    Args:
        schedule: the schedule of epochs.
        steps_per_epoch: optimizer updates per epoch, including the last, smaller batch; a number > 0.
        first_step: updates before count 0, a whole number >= 0. If a run continues in the middle of an
            epoch with a new optimizer state, it is the number of updates so far.

    Raises:
        TypeError: `schedule` is not callable, or `steps_per_epoch` or `first_step` is not a number.
        ValueError: a number is out of range, or is not a fraction of small whole numbers.

    Example:
        >>> from jaxlr import per_epoch, step_lr
        >>> schedule = per_epoch(step_lr(1.0, step_size=2, gamma=0.5), steps_per_epoch=100)
        >>> schedule(199), schedule(200)
        (1.0, 0.5)
        >>> resumed = per_epoch(step_lr(1.0, step_size=2, gamma=0.5), steps_per_epoch=100, first_step=130)
        >>> resumed(69), resumed(70)
        (1.0, 0.5)
        >>> accumulated = per_epoch(lambda epoch: epoch, steps_per_epoch=7 / 2)
        >>> [accumulated(update) for update in range(8)]
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 2.0]

    Reference: the loop `for epoch in ...: train(...); scheduler.step()`,
    https://docs.pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate.
    """
    check_function("schedule", schedule)
    ratio = _check_ratio("steps_per_epoch", steps_per_epoch)
    first_step = check_duration("first_step", first_step)

    def formula(count: Count) -> Any:
        return schedule(_epoch_of(count, ratio, first_step))

    step = slowed(schedule, lambda count: _epoch_of(count, ratio, first_step))
    return Schedule(formula, factor_of(schedule), functions=(schedule,), step=step)


@prints_as_call
def starting_at(schedule: optax.Schedule, first: int) -> optax.Schedule:
    r"""A schedule that starts at a later count of another one, to continue a run with a new state.

    $$\mathrm{lr}(e) = \mathrm{schedule}(e + e_0)$$

    with $e_0$ = `first` and $e$ = `count`. In code: `schedule(count + first)`.

    On a device, a sum beyond the largest integer has the rate of the largest integer.

    Args:
        schedule: the schedule of the whole run.
        first: epochs (or steps) of it that are over, a whole number >= 0.

    Returns:
        A schedule whose `count` may be fractional if that of `schedule` may.

    Raises:
        TypeError: `schedule` is not callable, or `first` is not a number.
        ValueError: `first` is out of range.

    Example:
        >>> from jaxlr import starting_at, step_lr
        >>> schedule = starting_at(step_lr(1.0, step_size=30, gamma=0.5), first=28)
        >>> schedule(1), schedule(2)
        (1.0, 0.5)

    Reference: the argument `last_epoch` of `torch.optim.lr_scheduler.LRScheduler`.
    """
    check_function("schedule", schedule)
    first = check_duration("first", first)

    def formula(count: Any) -> Any:
        largest = largest_count(count)
        return schedule(at_most(count, largest - min(first, largest)) + min(first, largest))

    is_fractional = isinstance(schedule, Schedule) and schedule.fractional
    step = slowed(schedule, lambda count: count + first)
    return Schedule(formula, factor_of(schedule), is_fractional, functions=(schedule,), step=step)


@prints_as_call
def tabulate(fn: Callable[[int], float], num_steps: int) -> optax.Schedule:
    r"""Any Python function of the epoch as a schedule. The function is called once per epoch.

    $$\mathrm{lr}(e) = f(\min(e, N - 1))$$

    with $f$ = `fn`, $N$ = `num_steps` and $e$ = `count`.

    Args:
        fn: Python function of the epoch (or step), called with 0 to `num_steps` - 1, in order.
        num_steps: number of epochs (or steps) to tabulate, a whole number >= 1.

    Raises:
        TypeError: `fn` is not callable or does not return a number.
        ValueError: `num_steps` is out of range, or a rate is not finite.

    Example:
        >>> schedule = tabulate(lambda epoch: 1.0 if epoch < 3 else 0.5, num_steps=10)
        >>> schedule(2), schedule(3), schedule(1000)
        (1.0, 0.5, 0.5)

    Reference: `torch.optim.lr_scheduler.LambdaLR`, which also accepts any Python function.
    """
    check_function("fn", fn)
    num_steps = check_positive_count("num_steps", num_steps)
    try:
        table = check_finite("fn", np.asarray([float(fn(epoch)) for epoch in range(num_steps)]))
    except jax.errors.ConcretizationTypeError as error:
        raise TypeError("fn must return numbers: a table cannot depend on a traced value") from error
    # The rates are kept and not the function, whose values may change later.
    kept = {"fn": table.__getitem__}
    return Schedule(lambda count: look_up(table, count), init_value=1.0, arguments=kept)


def sample(name: str, schedule: optax.Schedule, num_steps: int) -> np.ndarray:
    """Return the rates of a schedule at 0 to `num_steps` - 1 in float64. Errors refer to it as `name`."""
    if isinstance(schedule, optax.GradientTransformation):
        raise TypeError(
            f"{name} has no fixed curve: the learning rate of a plateau depends on the metrics of a run "
            "(jaxlr train draws it)"
        )
    check_function(name, schedule)
    counts = np.arange(num_steps)
    try:
        rates: Any = schedule(counts)
    except Exception as error:
        error.add_note(
            "The schedule is called once with an array of counts. For a function of a single count, use "
            "jaxlr.tabulate(function, num_steps)"
        )
        raise
    return np.broadcast_to(np.asarray(rates, dtype=np.float64), counts.shape)


def _until(schedule: optax.Schedule, length: int) -> Callable[[Count], Any]:
    """Return the first `length` rates of a schedule, the last of which holds.

    After them a rate may overflow, and its derivative may be NaN.
    """
    return lambda count: schedule(at_most(count, max(length - 1, 0)))


def _epoch_of(count: Count, ratio: Fraction, first_step: int) -> Count:
    """Return the epoch of the last batch of an update: `ceil((first_step + count + 1) / ratio) - 1`.

    `ratio` is the number of updates in an epoch.
    """
    # With ratio = updates / epochs, the epoch is a quotient of whole numbers.
    updates, epochs = ratio.numerator, ratio.denominator
    offset = epochs * (first_step + 1) - 1
    if isinstance(count, int):
        return (epochs * count + offset) // updates
    # In an array the product could overflow. So count = a * updates + b and offset = c * updates + d are
    # split: the epoch is a * epochs + c + (b * epochs + d) // updates.
    largest = largest_count(count)
    c, d = divmod(offset, updates)
    last_count = ((largest + 1) * updates - 1 - offset) // epochs  # after it the epoch would overflow
    if last_count < largest:
        count = at_most(count, max(last_count, 0))
    a, b = floor_divide(count, updates), modulo(count, updates)
    epoch = a * epochs + min(c, largest)
    if epochs > 1:  # then updates * epochs is small
        return epoch + floor_divide(b * epochs + d, updates)
    return epoch + choose(is_before(b, updates - d), 0, 1) if d else epoch


def _check_ratio(name: str, value: Any) -> Fraction:
    """Return a static number above 0 as a fraction whose parts can be multiplied in an int32."""
    if isinstance(value, float | np.floating) and math.isfinite(value) and not float(value).is_integer():
        limited = (Fraction(float(value)).limit_denominator(10**digits) for digits in range(1, 6))
        ratio = next((each for each in limited if float(each) == float(value)), Fraction(float(value)))
    elif isinstance(value, Fraction):
        ratio = value
    else:
        ratio = Fraction(check_positive_count(name, value))
    if ratio <= 0:
        raise ValueError(f"{name} must be above 0, got {shown_value(value)}")
    if ratio.denominator > 1 and ratio.numerator * ratio.denominator >= 2**31:
        raise ValueError(
            f"{name} must be a fraction of whole numbers whose product is below 2**31, such as 3.5 or "
            f"Fraction(num_batches, accumulation), got {shown_value(value)}"
        )
    check_whole_number(name, ratio.numerator)
    return ratio


def _check_schedules(name: str, schedules: Sequence[optax.Schedule]) -> list[optax.Schedule]:
    if not isinstance(schedules, Sequence) or isinstance(schedules, str):
        raise TypeError(f"{name} must be a list of schedules, got {shown_value(schedules)}")
    if not schedules:
        raise ValueError(f"{name} must hold at least one schedule, got none")
    for index, schedule in enumerate(schedules):
        check_function(f"{name}[{index}]", schedule)
    return list(schedules)
