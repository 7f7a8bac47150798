"""The program of a run: one compiled epoch."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh

from jaxlr._plateaus import Plateau
from jaxlr.plateau import plateau_lr
from jaxlr.schedules.compose import per_epoch
from jaxlr.train.config import TrainConfig
from jaxlr.train.device.compiler import compiler_options, start_options
from jaxlr.train.device.mesh import replicated, split_batches
from jaxlr.train.model import mlp
from jaxlr.train.runs import check_rates
from jaxlr.train.step import Apply, Split, TrainState, count_steps, initial_state, run_epoch


class Run(NamedTuple):
    """A compiled epoch, with the state that it starts from."""

    apply: Apply
    state: TrainState
    epoch: Callable[..., Any]  # (state, train, valid) -> (state, metrics)
    lr: Callable[[TrainState, int], float]  # the learning rate of an epoch, from its number
    mesh: Mesh | None  # the devices that batches are split over, if there are several


def build_run(config: TrainConfig, train_split: Split, num_classes: int, mesh: Mesh | None = None) -> Run:
    """Build one compiled call that trains an epoch and validates, and the state that it starts from.

    Args:
        config: the settings.
        train_split: the training samples, images of shape (samples, ...).
        num_classes: the labels are 0 to `num_classes` - 1.
        mesh: the devices to split batches over. The state is on one of them.
    """
    training = config.training
    num_features = int(np.prod(train_split.images.shape[1:]))
    init, apply = mlp([num_features, *training.hidden, num_classes])
    apply = split_batches(mesh, apply)
    steps_per_epoch = count_steps(len(train_split.labels), training.batch_size)
    config = config.completed(steps_per_epoch)
    schedule, counts_per_epoch = config.run_schedule(steps_per_epoch)
    has_plateau = isinstance(schedule, Plateau)
    steps_per_count = steps_per_epoch // counts_per_epoch
    if not has_plateau:  # a lambda that fails at a later epoch is refused now, before the run starts
        check_rates(config.schedule.label, schedule, config.epochs * counts_per_epoch)
    tx = config.run_optimizer(schedule, counts_per_epoch, steps_per_count)
    init = jax.jit(init, compiler_options=start_options())
    state = initial_state(jax.random.key(training.seed), init, tx)
    batch_size = min(training.batch_size, len(train_split.labels))
    epoch = functools.partial(run_epoch, apply, tx, batch_size, has_plateau)
    options = compiler_options(config.device)
    program = jax.jit(epoch, donate_argnums=0, out_shardings=replicated(mesh), compiler_options=options)
    return Run(apply, state, program, _rate_of_epoch(schedule, steps_per_epoch, steps_per_count), mesh)


def _rate_of_epoch(
    schedule: Any, steps_per_epoch: int, steps_per_count: int
) -> Callable[[TrainState, int], float]:
    """Return a function for the learning rate of an epoch, or of its last batch."""
    if isinstance(schedule, Plateau):
        return lambda state, epoch: _shortest(plateau_lr(state.opt_state))
    per_step: Any = per_epoch(schedule, steps_per_count)
    return lambda state, epoch: float(per_step((epoch + 1) * steps_per_epoch - 1))


def _shortest(value: jax.Array) -> float:
    """Return the shortest decimal that rounds to `value` in its dtype: 0.1, not 0.10000000149011612."""
    return float(str(np.asarray(value)))
