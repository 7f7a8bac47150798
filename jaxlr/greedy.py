"""GreedyLR of Hugging Face transformers: a plateau that also raises the learning rate."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_positive_count
from jaxlr._double_float import Real, as_real, round_to_float, select
from jaxlr._plateau_settings import MODES, checked_settings, copied_int, copied_real, initial_fields
from jaxlr._plateaus import Plateau
from jaxlr.plateau import is_better, reduced_lr


_THRESHOLD_MODES = ("rel", "abs")
_LONGEST_WINDOW = 1_000_000


class Window(NamedTuple):
    """The last metrics, whose mean GreedyLR judges if `smooth` is set."""

    values: Real  # a ring of metrics, shape (window_size,)
    total: Real  # sum of those that count, shape ()
    num_values: jax.Array  # metrics so far, shape (), int32


class GreedyState(NamedTuple):
    """The state of a `greedy_lr`: its counters, then the hyperparameters.

    Real numbers have the precision that `PlateauState` describes.
    """

    lr: Real  # learning rate in effect, shape ()
    best: Real  # best metric so far, shape (); an infinity before the first metric
    num_bad_epochs: jax.Array  # consecutive steps without improvement, shape (), int32
    num_good_epochs: jax.Array  # consecutive steps with improvement, shape (), int32
    cooldown_counter: jax.Array  # remaining steps of cooldown, shape (), int32
    warmup_counter: jax.Array  # remaining steps of warmup, shape (), int32
    reset_counter: jax.Array  # remaining reductions at `min_lr` before a reset, shape (), int32
    window: Window | None  # None without `smooth`
    init_value: Real  # learning rate of the updates that come in, shape ()
    first_lr: Real  # learning rate after a reset, shape ()
    mode: jax.Array  # index into ("min", "max"), shape (), int32
    threshold_mode: jax.Array  # index into ("rel", "abs"), shape (), int32
    factor: Real  # factor of each reduction, shape ()
    patience: jax.Array  # steps before a change, shape (), int32
    threshold: Real  # smallest change that counts as an improvement, shape ()
    cooldown: jax.Array  # steps after a reduction that do not count, shape (), int32
    warmup: jax.Array  # steps after an increase that do not count, shape (), int32
    min_lr: Real  # lower bound of the learning rate, shape ()
    max_lr: Real  # upper bound of the learning rate, shape ()
    eps: Real  # changes by this much or less are skipped, shape ()
    reset_start: jax.Array  # reductions at `min_lr` before a reset, shape (), int32

    def step(self, metric: Real) -> "GreedyState":
        """Return the state after the metric of an evaluation."""
        return _step(self, metric)


def greedy_lr(
    init_value: ArrayLike,
    mode: Literal["min", "max"] = "min",
    factor: ArrayLike = 0.95,
    patience: ArrayLike = 10,
    threshold: ArrayLike = 1e-6,
    threshold_mode: Literal["rel", "abs"] = "abs",
    cooldown: ArrayLike = 0,
    warmup: ArrayLike = 0,
    min_lr: ArrayLike = 1e-3,
    max_lr: ArrayLike = 1.0,
    eps: ArrayLike = 1e-8,
    smooth: bool = False,
    window_size: int = 50,
    reset_start: ArrayLike = 500,
) -> optax.GradientTransformationExtraArgs:
    r"""Raise the learning rate while a metric improves, and lower it when the metric has stopped improving.

    It is used like `reduce_lr_on_plateau`: with `with_plateau`, `plateau_step`, `plateau_lr` and
    `learning_rate`. `plateau_step` passes it the metric $x$ of an evaluation, and updates the state as
    transformers does:

    $$g' = g + 1, \; b' = 0, \; x^* \leftarrow x \quad \text{if } x < x^* - m, \qquad
      g' = 0, \; b' = b + 1 \quad \text{otherwise}$$

    $$\mathrm{lr} \leftarrow \begin{cases}
      \min(\mathrm{lr} / f, \mathrm{lr}_{\max}), \; g \leftarrow 0 & \text{if } g' > p \\
      \max(f \, \mathrm{lr}, \mathrm{lr}_{\min}), \; b \leftarrow 0 & \text{if } b' > p
    \end{cases}$$

    with $x^*$ the best metric so far, $g$ and $b$ the numbers of consecutive good and bad evaluations,
    $f$ = `factor`, $p$ = `patience`, $\mathrm{lr}_{\min}$ = `min_lr` and $\mathrm{lr}_{\max}$ = `max_lr`.
    The margin $m$ is `threshold`, or `threshold` times $x^*$ in `threshold_mode` "rel". In `mode` "max" the
    condition is $x > x^* + m$.

    The `cooldown` evaluations after a reduction, and the `warmup` evaluations after an increase,
    do not count. They do not change the best metric. After `reset_start` reductions in a row at `min_lr` or
    below, the rate returns to `init_value` and the best metric is forgotten. An increase begins that count
    again.

    Set `min_lr` for fine-tuning. Its default is above most of these rates, and a rate below it is never
    reduced.

    Every number except `window_size` may be a JAX scalar, traced or not. Then its range is not checked.

    Args:
        init_value: learning rate of the optimizer that comes before, from 1e-30 to 1e30.
        mode: "min" if a smaller metric is better, "max" if a larger one is.
        factor: factor of each reduction, and divisor of each increase, in (0, 1).
        patience: number of good or bad evaluations after which the next one changes the rate, >= 0.
        threshold: smallest change that counts as an improvement, >= 0; below 1 in mode "min" if it is
            relative.
        threshold_mode: "rel" or "abs".
        cooldown: evaluations after a reduction that do not count, a whole number >= 0.
        warmup: evaluations after an increase that do not count, a whole number >= 0.
        min_lr: lower bound of the learning rate, >= 0.
        max_lr: upper bound of the learning rate, >= 0.
        eps: changes by this much or less are skipped, >= 0.
        smooth: if True, $x$ is the mean of the last `window_size` metrics.
        window_size: metrics in the mean, a whole number from 1 to 1,000,000.
        reset_start: reductions in a row at `min_lr` or below, after which the rate is reset, >= 0.

    Returns:
        A transformation whose `update` takes an optional `value`, the metric.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.

    Example:
        >>> import jaxlr
        >>> opt_state = greedy_lr(0.1, factor=0.5, patience=1).init({})
        >>> for valid_loss in (0.9, 0.8, 0.8, 0.8):
        ...     opt_state = jaxlr.plateau_step(opt_state, valid_loss)
        ...     print(jaxlr.plateau_lr(opt_state))
        0.1
        0.2
        0.2
        0.1

    Reference: `transformers.GreedyLR` of transformers 5.24, https://arxiv.org/abs/2512.14527.
    """
    settings = checked_settings(locals(), _THRESHOLD_MODES)
    if not isinstance(smooth, bool):
        raise TypeError(f"smooth must be True or False, got {smooth!r}")
    length = settings["window_size"] = check_positive_count("window_size", window_size)
    if length > _LONGEST_WINDOW:
        raise ValueError(f"window_size must be at most {_LONGEST_WINDOW}, got {length}")
    numbers = {name: value for name, value in settings.items() if name in GreedyState._fields}

    def init_fn(params: optax.Params) -> Any:
        del params
        return GreedyState(
            num_good_epochs=copied_int(0),
            warmup_counter=copied_int(0),
            reset_counter=copied_int(settings["reset_start"]),
            window=_empty_window(length) if smooth else None,
            first_lr=copied_real(settings["init_value"]),
            **initial_fields(numbers),
        )

    return Plateau.build(init_fn, settings["init_value"], "greedy_lr", settings)


@jax.jit
def _step(state: GreedyState, metric: Real) -> GreedyState:
    """Return the state after a metric, as the `step` of transformers does."""
    window = None
    if state.window is not None:
        window, metric = _pushed(state.window, metric)
    cooling = state.cooldown_counter > 0
    warming = ~cooling & (state.warmup_counter > 0)
    waiting = cooling | warming
    better = ~waiting & is_better(state, metric)
    num_good_epochs = jnp.where(better, state.num_good_epochs + 1, 0)
    num_bad_epochs = jnp.where(waiting | better, 0, state.num_bad_epochs + 1)
    increase = num_good_epochs > state.patience
    reduce = num_bad_epochs > state.patience
    lr = select(increase, _increased_lr(state), select(reduce, reduced_lr(state), state.lr))
    at_min = reduce & ~(lr > state.min_lr)
    reset_counter = state.reset_counter - at_min.astype(np.int32)
    reset = at_min & (reset_counter <= 0)
    worst = as_real(jnp.where(state.mode == MODES.index("max"), -np.inf, np.inf).astype(np.float32))
    if window is not None:
        window = _cleared(window, reset)
    return state._replace(
        lr=select(reset, state.first_lr, lr),
        best=select(reset, worst, select(better, metric, state.best)),
        num_bad_epochs=jnp.where(reduce, 0, num_bad_epochs),
        num_good_epochs=jnp.where(increase, 0, num_good_epochs),
        cooldown_counter=jnp.where(reduce, state.cooldown, state.cooldown_counter - cooling),
        warmup_counter=jnp.where(increase, state.warmup, state.warmup_counter - warming),
        reset_counter=jnp.where(increase | reset, state.reset_start, reset_counter),
        window=window,
    )


def _increased_lr(state: GreedyState) -> Real:
    """Return the learning rate after an increase. One by `eps` or less is skipped."""
    # The `select` hides the factor: XLA replaces a division by a constant with a rounded product.
    factor = select(jnp.isnan(round_to_float(state.lr)), state.lr, state.factor)
    lr = state.lr / factor
    lr = select(lr > state.max_lr, state.max_lr, lr)
    return select(lr - state.lr > state.eps, lr, state.lr)


def _empty_window(length: int) -> Window:
    return Window(copied_real(np.zeros(length)), copied_real(0.0), copied_int(0))


def _pushed(window: Window, metric: Real) -> tuple[Window, Real]:
    """Return the window with one more metric, and the mean of its metrics."""
    size = jax.tree.leaves(window.values)[0].shape[-1]
    position = window.num_values % size

    def removed(values: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, position[..., None], axis=-1)[..., 0]

    def replaced(values: jax.Array, value: jax.Array) -> jax.Array:
        places = jax.lax.broadcasted_iota(np.int32, values.shape, values.ndim - 1)
        return jnp.where(places == position[..., None], value[..., None], values)

    total = window.total + metric
    oldest = jax.tree.map(removed, window.values)
    total = select(window.num_values >= size, total - oldest, total)
    values = jax.tree.map(replaced, window.values, metric)
    mean = total / as_real(jnp.minimum(window.num_values + 1, size))
    return Window(values, total, window.num_values + 1), mean


def _cleared(window: Window, reset: jax.Array) -> Window:
    return window._replace(
        total=select(reset, as_real(jnp.zeros(reset.shape, np.float32)), window.total),
        num_values=jnp.where(reset, 0, window.num_values),
    )
