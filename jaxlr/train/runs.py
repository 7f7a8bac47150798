"""A whole run as a pure function, whose learning rates are data: `jax.vmap` makes many of it."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Key

from jaxlr._checks import shorten
from jaxlr.plateau import PlateauState, plateau_lr, reduce_lr_on_plateau
from jaxlr.schedules.compose import sample
from jaxlr.train.config import TrainConfig
from jaxlr.train.errors import RateError
from jaxlr.train.step import Apply, Split, TrainState, count_steps, run_epoch


# init(key) to parameters and apply(params, images) to logits, as `jaxlr.train.model.mlp` returns them.
Model: TypeAlias = tuple[Callable[[jax.Array], Any], Apply]


Array: TypeAlias = jax.Array | np.ndarray  # on the host a NumPy array is as good


class Hyperparameters(NamedTuple):
    """What tells a scheduler from another: arrays alone, so that those of any two stack."""

    rates: Array  # of each epoch, shape (epochs, 1), or of its steps, shape (epochs, steps per epoch)
    plateau: PlateauState  # lowers them; of a run without a plateau, one that never does


class Data(NamedTuple):
    """What every run learns from."""

    train: Split
    valid: Split


class RunMetrics(NamedTuple):
    """What `jaxlr train` writes of each epoch, each field of shape (epochs,)."""

    train_loss: Array
    valid_loss: Array
    valid_accuracy: Array
    lr: Array  # the one that the epoch, or its last batch, used


def hyperparameters_of(config: TrainConfig, steps_per_epoch: int) -> Hyperparameters:
    """The learning rates of a recipe as data, worked out on the host in float64.

    Args:
        config: the recipe; its model, data and seed do not matter here.
        steps_per_epoch: batches of an epoch, the last, smaller one included.

    Returns:
        NumPy arrays of float64, or of what `PlateauState` holds; JAX rounds them to its default float.

    Raises:
        RateError: a lambda in the recipe fails at an epoch (or step) of the run.

    Example:
        >>> config = TrainConfig(scheduler="StepLR(2)", lr=1.0, epochs=3)
        >>> hyperparameters_of(config, steps_per_epoch=45).rates.tolist()
        [[1.0], [1.0], [0.1]]
    """
    counts_per_epoch = config.counts_per_epoch(steps_per_epoch)
    scheduler = config.build_scheduler(num_steps=config.epochs * counts_per_epoch)
    shape = (config.epochs, counts_per_epoch)
    if isinstance(scheduler, optax.GradientTransformationExtraArgs):
        rates, plateau = np.full(shape, float(config.lr)), scheduler
    else:
        rates = sample_rates(config, scheduler, config.epochs * counts_per_epoch).reshape(shape)
        # More bad epochs in a row than an int32 can count.
        plateau = reduce_lr_on_plateau(1.0, patience=2**31 - 1)
    state: Any = plateau.init({})
    return Hyperparameters(rates, jax.tree.map(np.asarray, state))


def sample_rates(config: TrainConfig, schedule: optax.Schedule, num_counts: int) -> np.ndarray:
    """The learning rates of a recipe at all of its epochs or steps, on the host.

    Raises:
        RateError: a lambda in it fails at one of them.
    """
    try:
        return sample(config.scheduler, schedule, num_counts)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RateError(f"scheduler {shorten(config.scheduler)!r}: {error}") from error


def train_run(
    key: Key[jax.Array, ""],
    hyperparameters: Hyperparameters,
    data: Data,
    *,
    model: Model,
    batch_size: int = 32,
    momentum: float = 0.0,
) -> RunMetrics:
    """Train from the initial weights to the last epoch; pure, so that it may be jitted and vmapped.

    Its numbers are those of `jaxlr train` to float rounding, given `jax.random.key(seed)` and the
    `hyperparameters_of` the same recipe.

    Args:
        key: of the initial weights and the shuffles, a typed PRNG key of shape ().
        hyperparameters: the learning rates, for as many epochs as they have rows.
        data: samples to train and to validate on, the same for all runs of a `vmap`.
        model: the functions `init(key)` to parameters and `apply(params, images)` to logits; static.
        batch_size: samples in a step, at most all; static.
        momentum: of SGD, from 0 (off) to below 1; static.

    Returns:
        The metrics of every epoch, each of shape (epochs,).

    Raises:
        ValueError: the rates are neither one nor as many as there are steps for each epoch.

    Example:
        >>> import functools, jax.numpy as jnp
        >>> from jaxlr.train.model import mlp
        >>> split = Split(jnp.zeros((64, 8, 8), jnp.uint8), jnp.zeros(64, jnp.int32))
        >>> run = functools.partial(train_run, model=mlp([64, 10]))
        >>> keys = jax.vmap(jax.random.key)(jnp.arange(3))
        >>> recipe = hyperparameters_of(TrainConfig(scheduler="StepLR(2)", epochs=4), steps_per_epoch=2)
        >>> metrics = jax.jit(jax.vmap(run, in_axes=(0, None, None)))(keys, recipe, Data(split, split))
        >>> metrics.valid_loss.shape
        (3, 4)
    """
    state = start_run(key, hyperparameters, model=model, momentum=momentum)

    def epoch(state: TrainState, _: None) -> tuple[TrainState, RunMetrics]:
        return continue_run(
            state, hyperparameters, data, model=model, batch_size=batch_size, momentum=momentum
        )

    _, metrics = jax.lax.scan(epoch, state, None, length=len(hyperparameters.rates))
    return metrics


def start_run(
    key: Key[jax.Array, ""], hyperparameters: Hyperparameters, *, model: Model, momentum: float = 0.0
) -> TrainState:
    """The state of `train_run` before its first epoch."""
    init_key, shuffle_key = jax.random.split(key)
    params = model[0](init_key)
    tx = _optimizer(optax.constant_schedule(0.0), hyperparameters.plateau, momentum)  # only to start it
    return TrainState(params, tx.init(params), shuffle_key)


def continue_run(
    state: TrainState,
    hyperparameters: Hyperparameters,
    data: Data,
    *,
    model: Model,
    batch_size: int = 32,
    momentum: float = 0.0,
) -> tuple[TrainState, RunMetrics]:
    """One epoch of `train_run`, its metrics of shape ()."""
    batch_size = min(batch_size, len(data.train.labels))
    rate = _rate_of_step(hyperparameters, count_steps(len(data.train.labels), batch_size))
    tx = _optimizer(rate, hyperparameters.plateau, momentum)
    before = plateau_lr(state.opt_state)  # a plateau steps at the end of the epoch
    state, metrics = run_epoch(model[1], tx, batch_size, True, state, data.train, data.valid)
    last_step = optax.tree.get(state.opt_state, "count") - 1
    lr = rate(last_step) / plateau_lr(hyperparameters.plateau) * before
    return state, RunMetrics(*metrics, lr=lr)


def _rate_of_step(hyperparameters: Hyperparameters, steps_per_epoch: int) -> Callable[[Any], jax.Array]:
    """The schedule of a run's steps before its plateau, read from its table."""
    rates = jnp.asarray(hyperparameters.rates)
    if rates.shape[1] not in (1, steps_per_epoch):
        raise ValueError(
            f"rates must be of shape (epochs, 1) or (epochs, {steps_per_epoch}), one for each epoch or for "
            f"each of its steps, got {rates.shape}"
        )
    table, steps_per_rate = rates.reshape(-1), steps_per_epoch // rates.shape[1]
    return lambda step: table[step // steps_per_rate]


def _optimizer(rate: optax.Schedule, plateau: PlateauState, momentum: float) -> Any:
    """SGD at a table of rates, then a plateau whose state, hyperparameters included, is given."""
    # What updates a plateau reads all that it needs from the state.
    update = reduce_lr_on_plateau(1.0).update
    lowered = optax.GradientTransformationExtraArgs(lambda params: plateau, update)
    return optax.chain(optax.sgd(rate, momentum or None), lowered)
