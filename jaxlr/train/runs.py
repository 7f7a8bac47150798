"""A whole run as a pure function. Its learning rates are arguments, so `jax.vmap` trains many runs."""

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Key

from jaxlr._checks import shorten
from jaxlr._double_float import round_to_float
from jaxlr._plateaus import Plateau, State, nodes_of
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.plateau import plateau_lr, reduce_lr_on_plateau
from jaxlr.schedules._schedule import calls_function
from jaxlr.schedules.compose import sample
from jaxlr.train.config import TrainConfig
from jaxlr.train.data.splits import Data
from jaxlr.train.errors import RateError
from jaxlr.train.optimizer import build_optimizer
from jaxlr.train.step import Apply, TrainState, count_steps, initial_state, run_epoch


_PIECE = 2**16  # rates to check at once

# init(key) -> parameters and apply(params, images) -> logits, as `jaxlr.train.mlp` returns them.
Model: TypeAlias = tuple[Callable[[jax.Array], Any], Apply]
Array: TypeAlias = jax.Array | np.ndarray


class Hyperparameters(NamedTuple):
    """A schedule and a plateau as arrays only, so that different schedulers can be stacked and vmapped."""

    rates: Array  # of each epoch, shape (epochs, 1), or of each step, shape (epochs, steps per epoch)
    plateau: State  # lowers the rates; for other schedulers, a plateau that never does


class RunMetrics(NamedTuple):
    """The metrics of a run, each of shape (epochs,)."""

    train_loss: Array
    valid_loss: Array
    valid_accuracy: Array
    lr: Array  # the learning rate of the epoch, or of its last batch


def hyperparameters_of(config: TrainConfig, steps_per_epoch: int) -> Hyperparameters:
    """Compute the learning rates of a run as arrays, on the host and in float64.

    Args:
        config: the settings. The model, the data and the seed are not used.
        steps_per_epoch: batches in an epoch, the last, smaller one included.

    Returns:
        NumPy arrays of float64, or of the dtypes in `PlateauState`. JAX rounds them to its default float.

    Raises:
        RateError: a lambda in the scheduler fails at an epoch (or step) of the run.
        ValueError: the scheduler cycles the momentum of the optimizer, which is not an array of rates; or
            the optimizer of the recipe is more than a torch text.

    Example:
        >>> config = TrainConfig.from_flags(scheduler="StepLR(2)", lr=1.0, epochs=3)
        >>> hyperparameters_of(config, steps_per_epoch=45).rates.tolist()
        [[1.0], [1.0], [0.1]]
    """
    config = config.completed(steps_per_epoch)
    scheduler, counts_per_epoch = config.run_schedule(steps_per_epoch)
    shape = (config.epochs, counts_per_epoch)
    if config.schedule.cycle(math.prod(shape)):
        raise ValueError(
            "the scheduler cycles the momentum, which hyperparameters do not: give it cycle_momentum=False"
        )
    if config.schedule.optimizer_of_recipe(1) is not None:
        raise ValueError(
            "the optimizer of the recipe clips gradients, does not decay biases, or changes its momentum, "
            "which hyperparameters do not: give optimizer, such as 'SGD(momentum=0.9)'"
        )
    if isinstance(scheduler, Plateau):
        rates, plateau = np.full(shape, scheduler.init_value), scheduler
    else:
        rates = sample_rates(config.schedule.label, scheduler, math.prod(shape)).reshape(shape)
        # This plateau never lowers the rate: its patience is as long as an int32 can count.
        plateau = reduce_lr_on_plateau(1.0, patience=2**31 - 1)
    state: Any = plateau.init({})
    return Hyperparameters(rates, jax.tree.map(np.asarray, state))


def sample_rates(text: str, schedule: optax.Schedule, num_counts: int) -> np.ndarray:
    """Compute the learning rates of the scheduler `text` at all epochs or steps, on the host.

    Raises:
        RateError: a lambda in the scheduler fails at one of them.
    """
    with _rate_errors(text):
        return sample(text, schedule, num_counts)


def check_rates(text: str, schedule: optax.Schedule, num_counts: int) -> None:
    """Raise a RateError if a lambda in the scheduler `text` fails at one of the epochs or steps.

    The rates are computed in pieces, because those of a long run may not fit into memory.
    """
    if not calls_function(schedule):
        return
    for first in range(0, num_counts, _PIECE):
        with _rate_errors(text):
            schedule(np.arange(first, min(first + _PIECE, num_counts)))


@contextlib.contextmanager
def _rate_errors(text: str) -> Iterator[None]:
    try:
        yield
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RateError(
            f"scheduler {shorten(text)!r}: {error}; train fewer --epochs, or change the scheduler"
        ) from error


def train_run(
    key: Key[jax.Array, ""],
    hyperparameters: Hyperparameters,
    data: Data,
    *,
    model: Model,
    batch_size: int = 32,
    momentum: float = 0.0,
    optimizer: OptimizerCall | None = None,
) -> RunMetrics:
    """Train a run from its initial weights to its last epoch. The function is pure: jit it, vmap it.

    With `jax.random.key(seed)` and the `hyperparameters_of` the same settings, its numbers are those of
    `jaxlr train` to float rounding.

    Args:
        key: a typed PRNG key of shape (), for the initial weights and the shuffles.
        hyperparameters: the learning rates. Each row of `rates` is an epoch.
        data: the samples to train and to validate on.
        model: the functions `init(key) -> params` and `apply(params, images) -> logits`; static.
        batch_size: samples in a step; static.
        momentum: momentum of SGD, 0 (off) or more and below 1; static.
        optimizer: that of the same settings, `config.schedule.text_optimizer`; static. None is SGD.

    Returns:
        The metrics of every epoch, each of shape (epochs,).

    Raises:
        ValueError: `rates` has neither one column nor one for each step of an epoch.

    Example:
        >>> import functools, jax.numpy as jnp
        >>> from jaxlr.train import Split, mlp
        >>> split = Split(jnp.zeros((64, 8, 8), jnp.uint8), jnp.zeros(64, jnp.int32))
        >>> run = functools.partial(train_run, model=mlp([64, 10]))
        >>> keys = jax.vmap(jax.random.key)(jnp.arange(3))
        >>> config = TrainConfig.from_flags(scheduler="StepLR(2)", epochs=4)
        >>> rates = hyperparameters_of(config, steps_per_epoch=2)
        >>> metrics = jax.jit(jax.vmap(run, in_axes=(0, None, None)))(keys, rates, Data(split, split))
        >>> metrics.valid_loss.shape
        (3, 4)
    """
    statics: Any = {"model": model, "momentum": momentum, "optimizer": optimizer}
    state = start_run(key, hyperparameters, **statics)

    def epoch(state: TrainState, _: None) -> tuple[TrainState, RunMetrics]:
        return continue_run(state, hyperparameters, data, batch_size=batch_size, **statics)

    _, metrics = jax.lax.scan(epoch, state, None, length=len(hyperparameters.rates))
    return metrics


def start_run(
    key: Key[jax.Array, ""],
    hyperparameters: Hyperparameters,
    *,
    model: Model,
    momentum: float = 0.0,
    optimizer: OptimizerCall | None = None,
) -> TrainState:
    """Return the state of `train_run` before its first epoch."""
    # Rprop and ASGD keep the first rate in their state.
    rate = optax.constant_schedule(jnp.asarray(hyperparameters.rates).reshape(-1)[0])
    tx = _optimizer(rate, hyperparameters.plateau, momentum, optimizer)
    return initial_state(key, model[0], tx)


def continue_run(
    state: TrainState,
    hyperparameters: Hyperparameters,
    data: Data,
    *,
    model: Model,
    batch_size: int = 32,
    momentum: float = 0.0,
    optimizer: OptimizerCall | None = None,
) -> tuple[TrainState, RunMetrics]:
    """Train one epoch of `train_run`. The metrics have shape ()."""
    batch_size = min(batch_size, len(data.train.labels))
    rate = _rate_of_step(hyperparameters, count_steps(len(data.train.labels), batch_size))
    tx = _optimizer(rate, hyperparameters.plateau, momentum, optimizer)
    before = plateau_lr(state.opt_state)  # read now: the plateau steps at the end of the epoch
    state, metrics = run_epoch(model[1], tx, batch_size, True, state, data.train, data.valid)
    last_step = _num_updates(state.opt_state) - 1
    lr = rate(last_step) / round_to_float(hyperparameters.plateau.init_value) * before
    return state, RunMetrics(*metrics, lr=lr)


def _rate_of_step(hyperparameters: Hyperparameters, steps_per_epoch: int) -> Callable[[Any], jax.Array]:
    """Return the schedule of the steps of a run, before its plateau lowers it."""
    rates = jnp.asarray(hyperparameters.rates)
    if rates.shape[1] not in (1, steps_per_epoch):
        raise ValueError(
            f"rates must be of shape (epochs, 1) or (epochs, {steps_per_epoch}), one for each epoch or for "
            f"each of its steps, got {rates.shape}"
        )
    table, steps_per_rate = rates.reshape(-1), steps_per_epoch // rates.shape[1]
    return lambda step: table[step // steps_per_rate]


def _num_updates(opt_state: Any) -> jax.Array:
    """Return the number of updates that the schedules of an optimizer have seen."""
    return nodes_of(opt_state, lambda node: isinstance(node, optax.ScaleByScheduleState))[0].count


def _optimizer(
    rate: optax.Schedule, plateau: State, momentum: float, optimizer: OptimizerCall | None
) -> Any:
    """Build the optimizer at a schedule of rates, then a plateau that starts from a given state."""
    # The update reads all hyperparameters from the state, so the update of any plateau works.
    update = reduce_lr_on_plateau(1.0).update
    lowered = optax.GradientTransformationExtraArgs(lambda params: plateau, update)
    tx = optax.sgd(rate, momentum or None) if optimizer is None else build_optimizer(optimizer, rate)
    return optax.chain(tx, lowered)
