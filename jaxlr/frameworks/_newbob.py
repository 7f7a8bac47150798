"""NewBob of SpeechBrain: a plateau that compares each metric with that of the epoch before."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxlr._checks import check_value
from jaxlr._double_float import Real, as_real, round_to_float, select
from jaxlr._plateau_settings import copied_int, copied_real
from jaxlr._plateaus import Plateau


class NewBobState(NamedTuple):
    """The state of NewBob."""

    lr: Real  # learning rate in effect, shape ()
    init_value: Real  # learning rate of the updates that come in, shape ()
    num_bad_epochs: jax.Array  # epochs of too small an improvement since the last cut, shape (), int32
    patience: jax.Array  # of them that do not cut the rate, shape (), int32
    factor: Real
    threshold: Real  # improvement that is large enough, relative to the metric before, shape ()
    metric: Real  # of the last epoch, NaN before the first, shape ()

    def step(self, metric: Real) -> "NewBobState":
        """Return the state after the metric of an epoch."""
        return _step(self, metric)


def new_bob(
    init_value: Any, factor: float = 0.5, threshold: float = 0.0025, patience: int = 0
) -> optax.GradientTransformationExtraArgs:
    """Return a plateau that cuts the rate where (before - metric) / before is below `threshold`."""
    arguments = {"init_value": init_value, "factor": factor, "threshold": threshold, "patience": patience}
    checked: Any = check_value("init_value", init_value)

    def init_fn(params: optax.Params) -> Any:
        del params
        return NewBobState(
            lr=copied_real(checked),
            init_value=copied_real(checked),
            num_bad_epochs=copied_int(0),
            patience=copied_int(patience),
            factor=copied_real(factor),
            threshold=copied_real(threshold),
            metric=copied_real(jnp.nan),
        )

    return Plateau.build(init_fn, checked, "new_bob", arguments)


@jax.jit
def _step(state: NewBobState, metric: Real) -> NewBobState:
    improvement = (state.metric - metric) / state.metric  # NaN, which is not small, in the first epoch
    improvement = select(round_to_float(state.metric) == 0, as_real(0.0), improvement)
    is_small = improvement < state.threshold
    cut = is_small & (state.num_bad_epochs == state.patience)
    return state._replace(
        lr=select(cut, state.lr * state.factor, state.lr),
        num_bad_epochs=jnp.where(cut, 0, state.num_bad_epochs + is_small),
        metric=metric,
    )
