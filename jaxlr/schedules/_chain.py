"""The step of a schedule in a chain: the change that torch's scheduler makes to the current rate.

Most schedulers multiply the rate by a factor, or replace it. The others have a rule of their own here.
"""

import bisect
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import optax

from jaxlr.schedules._schedule import Schedule, factor_of


# From the epoch and the rate before the step to the rate after it.
Step = Callable[[int, float], float]


def step_of(schedule: optax.Schedule) -> Step:
    """Return the step of a schedule. In epoch 0 it does what the constructor of torch's scheduler does."""
    if isinstance(schedule, Schedule) and schedule.step is not None:
        return schedule.step
    base: Any = factor_of(schedule)
    return _overwriting(schedule) if base is None else _multiplying(schedule, base)


def stepped(steps: Sequence[Step], init_value: float, order: Sequence[int] = ()) -> Callable[[int], float]:
    """Return a function that gives the rate of a chain at the epochs 0, 1, 2, ..., called in this order.

    Args:
        steps: the steps of its schedulers.
        init_value: learning rate of the optimizer before the schedulers are constructed.
        order: indices of the schedulers, in the order of their construction. By default it is that of
            `steps`.
    """
    lr = init_value

    def rate(epoch: int) -> float:
        nonlocal lr
        for index in order if order and epoch == 0 else range(len(steps)):
            lr = steps[index](epoch, lr)
        return lr

    return rate


@dataclasses.dataclass(frozen=True)
class CosineStep:
    """The step of a CosineAnnealingLR. It shrinks the distance of the rate to `eta_min`.

    After the bottom the ratio of two successive cosines is infinite. There torch adds the rise of a cosine
    that starts from `init_value`.
    """

    init_value: Any
    eta_min: Any
    length: float

    def __call__(self, epoch: int, lr: float) -> float:
        """Return the rate after the step."""
        if epoch == 0:
            return lr
        eta_min = float(self.eta_min)
        if (epoch - 1 - self.length) % (2 * self.length) == 0:
            return lr + (float(self.init_value) - eta_min) * self._height(epoch)
        return eta_min + (lr - eta_min) * (self._height(epoch) / self._height(epoch - 1))

    def _height(self, epoch: int) -> float:
        # (1 + cos x) / 2, without its loss of digits near the bottom.
        position = epoch % (2 * self.length)
        return math.sin(math.pi / 2 * (self.length - position) / self.length) ** 2


@dataclasses.dataclass(frozen=True)
class AveragingStep:
    """The step of a SWALR. It computes the start of the anneal from the rate, then moves to `swa_lr`."""

    swa_lr: Any
    length: int
    strategy: str

    def __call__(self, epoch: int, lr: float) -> float:
        """Return the rate after the step."""
        epoch = epoch if self.length else max(epoch, 1)
        end, before, weight = float(self.swa_lr), self._weight(epoch - 1), self._weight(epoch)
        start = end if before == 1 else (lr - before * end) / (1 - before)
        return end * weight + start * (1 - weight)

    def _weight(self, epoch: int) -> float:
        done = max(0.0, min(1.0, epoch / max(1, self.length)))
        return (1 - math.cos(math.pi * done)) / 2 if self.strategy == "cos" else done


def switching(schedules: Sequence[optax.Schedule], milestones: Sequence[int]) -> Step:
    """Return the step of a SequentialLR. At its milestone a scheduler overwrites the rate."""
    starts = [0, *milestones]

    def step(epoch: int, lr: float) -> float:
        active = bisect.bisect_right(milestones, epoch)
        since, schedule = epoch - starts[active], schedules[active]
        return _rate(schedule, since) if since == 0 else step_of(schedule)(since, lr)

    return step


def slowed(schedule: optax.Schedule, epoch_of: Callable[[int], Any]) -> Step:
    """Return the step of a scheduler that is at epoch `epoch_of(count)` at each count."""

    def step(count: int, lr: float) -> float:
        first = epoch_of(count - 1) + 1 if count else 0
        for epoch in range(first, epoch_of(count) + 1):
            lr = step_of(schedule)(epoch, lr)
        return lr

    return step


def stopping(num_decays: Callable[[int], int]) -> Step:
    """Return the step of a scheduler that multiplies the rate by 0 at each decay."""
    return lambda epoch, lr: lr * (num_decays(epoch) == (num_decays(epoch - 1) if epoch else 0))


def _multiplying(schedule: optax.Schedule, base: Any) -> Step:
    """Return the step that multiplies by the ratio of two successive rates. A rate of 0 stays 0."""

    def step(epoch: int, lr: float) -> float:
        before = _rate(schedule, epoch - 1) if epoch else float(base)
        return lr * (_rate(schedule, epoch) / before) if before else lr

    return step


def _overwriting(schedule: optax.Schedule) -> Step:
    """Return the step of a scheduler that replaces the rate."""
    return lambda epoch, lr: _rate(schedule, epoch)


def _rate(schedule: optax.Schedule, epoch: int) -> float:
    rate: Any = schedule(epoch)
    return float(rate)
