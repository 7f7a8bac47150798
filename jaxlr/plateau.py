"""Torch's ReduceLROnPlateau: a pure step of its state, and the Optax transformation that carries it."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_value, check_whole_number, is_real_dtype
from jaxlr._double_float import DoubleFloat, Real, as_real, round_to_float, select


_WHOLE_NUMBERS = {
    *("num_bad_epochs", "cooldown_counter", "mode", "threshold_mode", "patience", "cooldown"),
}
_SMALLEST_LR, _LARGEST_LR = 1e-30, 1e30  # beyond them the low halves of float32 pairs underflow
_MODES = ("min", "max")
_THRESHOLD_MODES = ("rel", "abs", "magnitude")


class PlateauState(NamedTuple):
    """What torch keeps in a ReduceLROnPlateau and its optimizer: counters, then hyperparameters.

    A real number is a pair of float32 with 48 of the 53 bits of torch's float64 (under `jax_enable_x64`,
    a float64), whatever the dtype of the parameters. So a decision is torch's unless it hangs on the last
    bits of float64, as a tie of decimal fractions does: enable x64 where those must fall as in torch.
    """

    lr: Real  # learning rate in effect, shape ()
    best: Real  # best metric so far, shape (); the worst infinity before the first
    num_bad_epochs: jax.Array  # epochs in a row without improvement, shape (), int32
    cooldown_counter: jax.Array  # epochs of cooldown left, shape (), int32
    init_value: Real  # learning rate at which the updates arrive, shape ()
    mode: jax.Array  # index into ("min", "max"), shape (), int32
    threshold_mode: jax.Array  # index into ("rel", "abs", "magnitude"), shape (), int32
    factor: Real  # factor of a reduction, shape ()
    patience: jax.Array  # bad epochs that are borne in silence, shape (), int32
    threshold: Real  # smallest change that counts as an improvement, shape ()
    cooldown: jax.Array  # epochs after a reduction in which none is bad, shape (), int32
    min_lr: Real  # lower bound of the learning rate, shape ()
    eps: Real  # a reduction by no more than this is not made, shape ()


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

    Put it after an optimizer whose learning rate is `init_value`, or a schedule that starts from it: it
    multiplies the updates by $\mathrm{lr} / \eta_0$. `plateau_step` tells it the metric of an epoch
    $x$, and the state moves as torch's does:

    $$b' = \begin{cases} 0, \; x^* \leftarrow x & \text{if } x < x^* - m \\
                         b + 1 & \text{otherwise} \end{cases} \qquad
      \mathrm{lr} \leftarrow \max(f \, \mathrm{lr}, \mathrm{lr}_{\min}), \; b \leftarrow 0, \;
      c \leftarrow C \quad \text{if } b' > p$$

    with $x^*$ the best metric so far, $b$ the number of bad epochs in a row (held at 0 while the
    cooldown counter $c$ runs down), $f$ = `factor`, $p$ = `patience`, $C$ = `cooldown` and
    $\mathrm{lr}_{\min}$ = `min_lr`. The margin $m$ is $t x^*$ in `threshold_mode` "rel", $t$ in
    "abs" and $t |x^*|$ in "magnitude", with $t$ = `threshold`; `mode` "max" reads
    $x > x^* + m$. A change of no more than `eps` is not made. So the learning rate falls after
    `patience` + 1 bad epochs, an equal metric is bad, NaN is bad, and nothing is ever raised to `min_lr`.

    torch's "rel" never reduces on a constant negative metric, because its margin there points the
    wrong way; "magnitude", which torch has not, is the cure.

    `update(..., value=metric)` steps and scales in one call, as `optax.contrib.reduce_on_plateau` does.

    Each number may be a JAX scalar, traced or not. Then its range is not checked.

    Args:
        init_value: learning rate of the optimizer before this one, a finite number > 0.
        mode: "min" if a smaller metric is better, "max" if a larger one is.
        factor: factor of each reduction, in (0, 1).
        patience: bad epochs that are borne before the next one reduces, a whole number >= 0.
        threshold: what counts as an improvement, >= 0; below 1 for a relative one in mode "min".
        threshold_mode: "rel" or "abs", as in torch, or "magnitude".
        cooldown: epochs after a reduction in which none is bad, a whole number >= 0.
        min_lr: learning rate below which no reduction goes, >= 0.
        eps: smallest change of the learning rate that is made, >= 0.

    Returns:
        A transformation whose `update` takes an optional `value`, the metric.

    Raises:
        TypeError: an argument is not of the kind above.
        ValueError: an argument is out of its range.

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
    check_choice("mode", mode, _MODES)
    check_choice("threshold_mode", threshold_mode, _THRESHOLD_MODES)
    init_value = check_value("init_value", init_value, positive=True)
    if not isinstance(init_value, jax.Array) and not _SMALLEST_LR <= init_value <= _LARGEST_LR:
        bounds = f"from {_SMALLEST_LR:g} to {_LARGEST_LR:g}"
        raise ValueError(f"init_value must be {bounds}, which float32 holds, got {init_value!r}")
    start = {
        "lr": init_value,
        "best": -np.inf if mode == "max" else np.inf,
        "num_bad_epochs": 0,
        "cooldown_counter": 0,
        "init_value": init_value,
        "mode": _MODES.index(mode),
        "threshold_mode": _THRESHOLD_MODES.index(threshold_mode),
        "factor": _check_below_one("factor", check_value("factor", factor, positive=True)),
        "patience": _check_duration("patience", patience),
        "threshold": _check_threshold(threshold, mode, threshold_mode),
        "cooldown": _check_duration("cooldown", cooldown),
        "min_lr": check_value("min_lr", min_lr),
        "eps": check_value("eps", eps),
    }

    def init_fn(params: optax.Params) -> Any:
        del params
        return PlateauState(**{name: _as_array(name, value) for name, value in start.items()})

    def update_fn(
        updates: optax.Updates,
        state: Any,
        params: optax.Params | None = None,
        *,
        value: ArrayLike | None = None,
        **extra_args: Any,
    ) -> tuple[optax.Updates, Any]:
        del params, extra_args
        if value is not None:
            state = plateau_step(state, value)
        scale = round_to_float(state.lr) / round_to_float(state.init_value)
        # Scaled before it is rounded to the parameters' dtype: bfloat16 holds 0.1 to three digits.
        return jax.tree.map(lambda update: (update * scale).astype(update.dtype), updates), state

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def plateau_step(opt_state: Any, metric: ArrayLike) -> Any:
    """Torch's `scheduler.step(metric)`: call it once per epoch, inside or outside of compiled code.

    Every `PlateauState` in `opt_state` takes the step described at `reduce_lr_on_plateau`.

    Args:
        opt_state: optimizer state that holds a `reduce_lr_on_plateau`, however deeply nested.
        metric: the epoch's metric, shape () (or that of a batch of states); NaN counts as bad. A JAX
            array counts with the digits of its dtype, a Python float with 48 bits, or all 53 under
            `jax_enable_x64`.

    Returns:
        The new `opt_state`, of the same structure, shapes and dtypes.

    Raises:
        TypeError: `metric` is not a number.
        ValueError: `opt_state` holds no plateau, or `metric` has another shape than its learning rate.

    Example:
        >>> tx = reduce_lr_on_plateau(0.1, mode="max", patience=0)
        >>> opt_state = tx.init({})
        >>> for accuracy in (0.8, 0.7):
        ...     opt_state = plateau_step(opt_state, accuracy)
        >>> print(plateau_lr(opt_state))
        0.01

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau.step`.
    """
    _find(opt_state)
    if not is_real_dtype(metric.dtype if isinstance(metric, jax.Array) else np.asarray(metric).dtype):
        raise TypeError(f"metric must be a real number, got {metric!r}")

    def step(node: Any) -> Any:
        if not isinstance(node, PlateauState):
            return node
        if np.shape(metric) != node.patience.shape:
            raise ValueError(
                f"metric must have the shape of the learning rate, {node.patience.shape}, "
                f"got {np.shape(metric)}; reduce it to one number first, say its mean"
            )
        leaves = jax.tree.leaves(_step(_unwrapped(node), as_real(metric)))
        return jax.tree.unflatten(jax.tree.structure(node), leaves)

    return jax.tree.map(step, opt_state, is_leaf=lambda node: isinstance(node, PlateauState))


def plateau_lr(opt_state: Any) -> jax.Array:
    """The learning rate in effect: `optimizer.param_groups[0]["lr"]` of the torch recipe.

    It is that of the optimizer before the plateau only if its learning rate is constant.

    Args:
        opt_state: optimizer state that holds one `reduce_lr_on_plateau`, however deeply nested.

    Returns:
        The learning rate in JAX's default float, shape ().

    Raises:
        ValueError: `opt_state` holds no plateau, or several.

    Example:
        >>> print(plateau_lr(reduce_lr_on_plateau(0.1).init({})))
        0.1

    Reference: `torch.optim.lr_scheduler.LRScheduler.get_last_lr`.
    """
    states = _find(opt_state)
    if len(states) > 1:
        raise ValueError(
            f"opt_state holds {len(states)} plateaus; pass the part of it that holds the one you mean"
        )
    return round_to_float(states[0].lr)


def _find(opt_state: Any) -> list[PlateauState]:
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda node: isinstance(node, PlateauState))
    states = [_unwrapped(leaf) for leaf in leaves if isinstance(leaf, PlateauState)]
    if not states:
        raise ValueError(
            f"opt_state holds no plateau: chain jaxlr.reduce_lr_on_plateau(...) after the optimizer, "
            f"and pass the state of the whole chain, not {type(opt_state).__name__}"
        )
    return states


def _unwrapped(state: PlateauState) -> PlateauState:
    """The state as plain arrays: `flax.nnx.Optimizer` keeps each in a variable of its own."""

    def unwrap(field: Any) -> Real:
        arrays = jax.tree.leaves(field)
        return DoubleFloat(*arrays) if isinstance(field, DoubleFloat) else arrays[0]

    return PlateauState(*(unwrap(field) for field in state))


@jax.jit
def _step(state: PlateauState, metric: Real) -> PlateauState:
    better = _is_better(state, metric)
    num_bad_epochs = jnp.where(better, 0, state.num_bad_epochs + 1)
    cooling = state.cooldown_counter > 0
    num_bad_epochs = jnp.where(cooling, 0, num_bad_epochs)
    reduce = num_bad_epochs > state.patience
    cooldown_counter = state.cooldown_counter - cooling.astype(np.int32)
    return state._replace(
        lr=select(reduce, _reduced_lr(state), state.lr),
        best=select(better, metric, state.best),
        num_bad_epochs=jnp.where(reduce, 0, num_bad_epochs),
        cooldown_counter=jnp.where(reduce, state.cooldown, cooldown_counter),
    )


def _is_better(state: PlateauState, metric: Real) -> jax.Array:
    best, one = state.best, as_real(1.0)
    maximize = state.mode == _MODES.index("max")
    threshold = select(maximize, state.threshold, -state.threshold)
    bounds = (best * (one + threshold), best + threshold, best + threshold * abs(best))
    bound = bounds[0]
    for index in (1, 2):
        bound = select(state.threshold_mode == index, bounds[index], bound)
    # The first metric meets an infinite best, of which no margin is left but NaN.
    bound = select(jnp.isfinite(round_to_float(best)), bound, best)
    return jnp.where(maximize, metric > bound, metric < bound)


def _reduced_lr(state: PlateauState) -> Real:
    lr = state.lr * state.factor
    lr = select(lr < state.min_lr, state.min_lr, lr)
    return select(state.lr - lr > state.eps, lr, state.lr)


def _as_array(name: str, value: Any) -> Real:
    """A strongly typed copy, so that a scan may carry the state and a jit may consume it."""
    if name in _WHOLE_NUMBERS:
        return jnp.array(value, dtype=np.int32, copy=True)
    return jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), as_real(value))


def _check_below_one(name: str, value: float | jax.Array) -> float | jax.Array:
    if not isinstance(value, jax.Array) and value >= 1:
        raise ValueError(f"{name} must be below 1, got {value!r}")
    return value


def _check_threshold(value: ArrayLike, mode: str, threshold_mode: str) -> float | jax.Array:
    threshold = check_value("threshold", value)
    if mode == "min" and threshold_mode != "abs":
        # best * (1 - 1) is 0: no loss would ever be better than that.
        return _check_below_one("a relative threshold in mode 'min'", threshold)
    return threshold


def _check_duration(name: str, value: ArrayLike) -> int | jax.Array:
    if isinstance(value, jax.Array):
        if value.shape != ():
            raise ValueError(f"{name} must be a scalar, got an array of shape {value.shape}")
        return value
    duration = check_whole_number(name, value)
    if not 0 <= duration < 2**31:
        raise ValueError(f"{name} must be a number of epochs from 0 to 2**31 - 1, got {value!r}")
    return duration
