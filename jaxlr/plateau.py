"""ReduceLROnPlateau: its state, a pure step of that state, and the functions that use it."""

from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._double_float import Real, as_real, round_to_float, select
from jaxlr._plateau_settings import (
    MODES,
    THRESHOLD_MODES,
    check_init_value,
    checked_settings,
    initial_fields,
)
from jaxlr._plateaus import Plateau, plateaus_of, replaced, stepped


class PlateauState(NamedTuple):
    """The state of a plateau: torch's counters, then the hyperparameters.

    A real number is a pair of float32, which holds 48 of the 53 bits of torch's float64. Under
    `jax_enable_x64` it is a float64. The dtype of the parameters does not matter. A decision can differ
    from torch's only if it depends on the last bits of float64, as in a tie between decimal fractions.
    Enable x64 if such ties must be decided as in torch.
    """

    lr: Real  # learning rate in effect, shape ()
    best: Real  # best metric so far, shape (); an infinity before the first metric
    num_bad_epochs: jax.Array  # consecutive epochs without improvement, shape (), int32
    cooldown_counter: jax.Array  # remaining epochs of cooldown, shape (), int32
    init_value: Real  # learning rate of the updates that come in, shape ()
    mode: jax.Array  # index into ("min", "max"), shape (), int32
    threshold_mode: jax.Array  # index into ("rel", "abs", "magnitude"), shape (), int32
    factor: Real  # factor of each reduction, shape ()
    patience: jax.Array  # bad epochs before a reduction, shape (), int32
    threshold: Real  # smallest change that counts as an improvement, shape ()
    cooldown: jax.Array  # epochs after a reduction that do not count as bad, shape (), int32
    min_lr: Real  # lower bound of the learning rate, shape ()
    eps: Real  # reductions by this much or less are skipped, shape ()

    def step(self, metric: Real) -> "PlateauState":
        """Return the state after the metric of an epoch."""
        return _step(self, metric)


# The result of a conversion: an `optax.Schedule`, or a plateau as a gradient transformation. It is `Any`,
# so that a typed program can use it as either.
ScheduleOrPlateau: TypeAlias = Any


def reduce_lr_on_plateau(
    init_value: ArrayLike,
    mode: Literal["min", "max"] = "min",
    factor: ArrayLike = 0.1,
    patience: ArrayLike = 10,
    threshold: ArrayLike = 1e-4,
    threshold_mode: Literal["rel", "abs", "magnitude"] = "rel",
    cooldown: ArrayLike = 0,
    min_lr: ArrayLike = 0.0,
    eps: ArrayLike = 1e-8,
) -> optax.GradientTransformationExtraArgs:
    r"""The learning rate is multiplied by `factor` when a metric has stopped improving.

    `with_plateau` builds an optimizer with this transformation, and takes the learning rate once. Or chain
    the transformation after an optimizer whose learning rate is `init_value`, or whose warmup ends at it.
    It multiplies the updates by $\mathrm{lr} / \eta_0$, with $\eta_0$ = `init_value`. `plateau_step` passes
    it the metric $x$ of an epoch, and updates the state as torch does:

    $$b' = \begin{cases} 0, \; x^* \leftarrow x & \text{if } x < x^* - m \\
                         b + 1 & \text{otherwise} \end{cases} \qquad
      \mathrm{lr} \leftarrow \max(f \, \mathrm{lr}, \mathrm{lr}_{\min}), \; b \leftarrow 0, \;
      c \leftarrow C \quad \text{if } b' > p$$

    with $x^*$ the best metric so far, $b$ the number of consecutive bad epochs (held at 0 while the
    cooldown counter $c$ counts down to 0), $f$ = `factor`, $p$ = `patience`, $C$ = `cooldown` and
    $\mathrm{lr}_{\min}$ = `min_lr`. The margin $m$ is $t x^*$ in `threshold_mode` "rel", $t$ in
    "abs" and $t |x^*|$ in "magnitude", with $t$ = `threshold`. In `mode` "max" the condition is
    $x > x^* + m$.

    So the learning rate falls after `patience` + 1 bad epochs. An epoch with an equal metric is bad, and so
    is one with NaN. A reduction by `eps` or less is skipped. A rate below `min_lr` is never raised to it.

    In torch, "rel" never reduces on a constant negative metric, because its margin has the wrong sign
    there. Use "magnitude" for such metrics; torch does not have it.

    `update(..., value=metric)` steps and scales in one call, as `optax.contrib.reduce_on_plateau` does.

    Each number may be a JAX scalar, traced or not. Then its range is not checked.

    Args:
        init_value: learning rate of the optimizer that comes before, from 1e-30 to 1e30.
        mode: "min" if a smaller metric is better, "max" if a larger one is.
        factor: factor of each reduction, in (0, 1).
        patience: number of bad epochs after which the next bad one reduces, a whole number >= 0.
        threshold: smallest change that counts as an improvement, >= 0; below 1 in mode "min" if it is
            relative.
        threshold_mode: "rel" or "abs", as in torch, or "magnitude".
        cooldown: epochs after a reduction that do not count as bad, a whole number >= 0.
        min_lr: lower bound of the learning rate, >= 0.
        eps: reductions by this much or less are skipped, >= 0.

    Returns:
        A transformation whose `update` takes an optional `value`, the metric.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.

    Example:
        >>> import jax.numpy as jnp
        >>> params = jnp.zeros(3)
        >>> tx = optax.chain(optax.sgd(0.1), reduce_lr_on_plateau(0.1, patience=1))
        >>> opt_state = tx.init(params)
        >>> for valid_loss in (0.9, 0.7, 0.7, 0.7):
        ...     updates, opt_state = tx.update(jnp.ones(3), opt_state, params)
        ...     opt_state = plateau_step(opt_state, valid_loss)
        >>> print(plateau_lr(opt_state))
        0.01

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    settings = checked_settings(locals(), THRESHOLD_MODES)

    def init_fn(params: optax.Params) -> Any:
        del params
        return PlateauState(**initial_fields(settings))

    return Plateau.build(init_fn, settings["init_value"], "reduce_lr_on_plateau", settings)


def plateau_step(opt_state: Any, metric: ArrayLike) -> Any:
    """Step every plateau in `opt_state` with the metric of an epoch, as torch's `scheduler.step(metric)`.

    Call it once per epoch, inside or outside of compiled code. `reduce_lr_on_plateau` and `greedy_lr`
    describe the step.

    A state of arrays is not changed. Flax NNX keeps a state in variables: those of an `nnx.Optimizer`, or
    of its `opt_state`, are updated in place, as `optimizer.update` does it. So the call is the same inside
    of `nnx.jit`, `nnx.jit(graph=False)` and `nnx.cached_partial`.

    Args:
        opt_state: optimizer state that holds a `reduce_lr_on_plateau`, however deeply nested; or an
            `nnx.Optimizer`, or a Linen `TrainState`.
        metric: the epoch's metric, one number (or the shape of a batch of states); NaN counts as bad. A JAX
            array has the precision of its dtype. A Python float keeps 48 bits, or all 53 under
            `jax_enable_x64`.

    Returns:
        The new `opt_state`, with the same structure, shapes and dtypes. For variables of NNX it is
        `opt_state` itself.

    Raises:
        TypeError: `metric` is not a number, or a field of the plateau was replaced by another type.
        ValueError: `opt_state` holds no plateau, or the shape of `metric` is not that of its learning rate.

    Example:
        >>> tx = reduce_lr_on_plateau(0.1, mode="max", patience=0)
        >>> opt_state = tx.init({})
        >>> for accuracy in (0.8, 0.7):
        ...     opt_state = plateau_step(opt_state, accuracy)
        >>> print(plateau_lr(opt_state))
        0.01

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau.step`.
    """
    return stepped(opt_state, metric)


def set_plateau_lr(opt_state: Any, lr: ArrayLike) -> Any:
    """Set the learning rate of every plateau in `opt_state`, as an edit of torch's `param_groups`.

    The plateau continues from there: its best metric and its counters stay. The types of the state stay
    too, so a compiled step takes the result. Like `plateau_step`, it updates variables of Flax NNX in
    place.

    Args:
        opt_state: optimizer state that holds a `reduce_lr_on_plateau`, as in `plateau_step`.
        lr: the new learning rate, from 1e-30 to 1e30; may be traced, shape () (or that of a batch of
            states).

    Returns:
        The new `opt_state`. For variables of NNX it is `opt_state` itself.

    Raises:
        TypeError: `lr` is not a number.
        ValueError: `opt_state` holds no plateau, or `lr` is out of its range.

    Example:
        >>> opt_state = set_plateau_lr(reduce_lr_on_plateau(0.1).init({}), 0.02)
        >>> print(plateau_lr(opt_state))
        0.02

    Reference: `optimizer.param_groups[0]["lr"] = lr`, https://docs.pytorch.org/docs/stable/optim.html.
    """
    plateaus_of(opt_state)  # refuse a state without a plateau
    checked = lr if isinstance(lr, jax.Array) and lr.shape else check_init_value(lr, "lr")

    def at_lr(state: PlateauState) -> PlateauState:
        spread = jax.tree.map(lambda new: jnp.broadcast_to(new, state.patience.shape), as_real(checked))
        return state._replace(lr=spread)

    return replaced(opt_state, at_lr)


def plateau_lr(opt_state: Any) -> jax.Array:
    """Return the learning rate in effect, which torch keeps in `optimizer.param_groups[0]["lr"]`.

    It assumes that the optimizer before the plateau has the learning rate `init_value`. During a warmup the
    rate of an update is another one: `learning_rate` returns it.

    Args:
        opt_state: optimizer state that holds one `reduce_lr_on_plateau`, as in `plateau_step`.

    Returns:
        The learning rate in JAX's default float type, shape ().

    Raises:
        ValueError: `opt_state` holds no plateau, or more than one.

    Example:
        >>> print(plateau_lr(reduce_lr_on_plateau(0.1).init({})))
        0.1

    Reference: `torch.optim.lr_scheduler.LRScheduler.get_last_lr`.
    """
    states = plateaus_of(opt_state)
    if len(states) > 1:
        raise ValueError(
            f"opt_state holds {len(states)} plateaus; pass the part that holds the one you mean"
        )
    return round_to_float(states[0].lr)


@jax.jit
def _step(state: PlateauState, metric: Real) -> PlateauState:
    """Return the state after a metric, as torch's `ReduceLROnPlateau.step` does."""
    better = is_better(state, metric)
    num_bad_epochs = jnp.where(better, 0, state.num_bad_epochs + 1)
    cooling = state.cooldown_counter > 0
    num_bad_epochs = jnp.where(cooling, 0, num_bad_epochs)
    reduce = num_bad_epochs > state.patience
    cooldown_counter = state.cooldown_counter - cooling.astype(np.int32)
    return state._replace(
        lr=select(reduce, reduced_lr(state), state.lr),
        best=select(better, metric, state.best),
        num_bad_epochs=jnp.where(reduce, 0, num_bad_epochs),
        cooldown_counter=jnp.where(reduce, state.cooldown, cooldown_counter),
    )


def is_better(state: Any, metric: Real) -> jax.Array:
    """Return True if a metric is better than the best one by more than the margin."""
    best, one = state.best, as_real(1.0)
    maximize = state.mode == MODES.index("max")
    threshold = select(maximize, state.threshold, -state.threshold)
    is_absolute = state.threshold_mode == THRESHOLD_MODES.index("abs")
    is_magnitude = state.threshold_mode == THRESHOLD_MODES.index("magnitude")
    bound = select(is_absolute, best + threshold, best * (one + threshold))
    bound = select(is_magnitude, best + threshold * abs(best), bound)
    # Before the first metric the best is infinite, and arithmetic with it can give NaN.
    bound = select(jnp.isfinite(round_to_float(best)), bound, best)
    return jnp.where(maximize, metric > bound, metric < bound)


def reduced_lr(state: Any) -> Real:
    """Return the learning rate after a reduction. One by `eps` or less is skipped."""
    lr = state.lr * state.factor
    lr = select(lr < state.min_lr, state.min_lr, lr)
    return select(state.lr - lr > state.eps, lr, state.lr)
