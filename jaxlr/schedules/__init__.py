"""Schedules: pure functions from a count of epochs or steps to a learning rate.

Each function here checks its arguments and returns a schedule, which is an `optax.Schedule`. The following
holds for all of them. Their docstrings mention only what differs.

**The schedule.** `schedule(count)` returns the learning rate at `count`, where 0 is the first epoch (or
step). `count` is an integer or an array of integers of any shape, and the result has the same shape. A
Python or NumPy count is computed in float64 on the host, and gives a float or a NumPy array. A JAX array or
tracer is computed in JAX's default float type, and works inside `jit`, `vmap`, `scan` and `grad`.

**The object.** A schedule prints as the call that makes it. It can be pickled if the functions that it
calls can, and `copy` returns it unchanged. Two schedules are equal only if they are the same object, so a
schedule can be a static argument of `jax.jit`. In a pytree it is a leaf.

**Arguments.** Learning rates, momenta and factors are numbers or JAX scalars of shape (). They may be
traced; the range of a JAX scalar is not checked. Numbers of epochs and steps are static: Python or NumPy
numbers, at most 2**61.

**Errors.** The function raises TypeError for an argument of the wrong type and ValueError for one out of
range. The schedule raises TypeError for a count that is not an integer. A negative count has the rate of
count 0.
"""

from jaxlr.schedules.compose import chained_scheduler, per_epoch, sequential_lr, starting_at, tabulate
from jaxlr.schedules.cosine import cosine_annealing_lr, cosine_annealing_warm_restarts, swa_lr
from jaxlr.schedules.cyclic import cyclic_lr, cyclic_momentum, one_cycle_lr, one_cycle_momentum
from jaxlr.schedules.decay import (
    constant_lr,
    exponential_lr,
    lambda_lr,
    linear_lr,
    multi_step_lr,
    multiplicative_lr,
    polynomial_lr,
    step_lr,
)
from jaxlr.schedules.phases import Phase, phased_lr


# In the order of torch.optim.lr_scheduler.__all__.
__all__ = [  # noqa: RUF022
    "lambda_lr",
    "multiplicative_lr",
    "step_lr",
    "multi_step_lr",
    "constant_lr",
    "linear_lr",
    "exponential_lr",
    "sequential_lr",
    "cosine_annealing_lr",
    "chained_scheduler",
    "cyclic_lr",
    "cyclic_momentum",
    "cosine_annealing_warm_restarts",
    "one_cycle_lr",
    "one_cycle_momentum",
    "polynomial_lr",
    "swa_lr",
    "phased_lr",
    "Phase",
    "per_epoch",
    "starting_at",
    "tabulate",
]
