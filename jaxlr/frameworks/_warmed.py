"""A plateau with a warmup that counts its steps, as that of timm."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr._checks import check_value
from jaxlr._double_float import Real, as_real, select
from jaxlr._plateau_settings import copied_int, copied_real
from jaxlr._plateaus import Plateau
from jaxlr.plateau import PlateauState


class WarmedState(NamedTuple):
    """The state of a plateau, and of the warmup before it."""

    lr: Real  # learning rate in effect, shape ()
    init_value: Real  # learning rate of the updates that come in, shape ()
    num_steps: jax.Array  # steps so far, shape (), int32
    warmup: jax.Array  # steps of the warmup, shape (), int32
    warmup_lr: Real  # learning rate before the first step, shape ()
    plateau: PlateauState

    @property
    def num_bad_epochs(self) -> jax.Array:
        """The number of bad epochs of the plateau, which makes this state one of a plateau."""
        return self.plateau.num_bad_epochs

    @property
    def patience(self) -> jax.Array:
        """The patience of the plateau."""
        return self.plateau.patience

    def step(self, metric: Real) -> "WarmedState":
        """Return the state after the metric of an epoch, which counts after the warmup only."""
        return _step(self, metric)


def warmed_plateau(plateau: Any, warmup: int, warmup_lr: float) -> optax.GradientTransformationExtraArgs:
    """Return a plateau whose rate climbs from `warmup_lr` to its `init_value` in the first steps."""
    warmup_lr = check_value("warmup_lr_init", warmup_lr)  # pyright: ignore[reportAssignmentType]

    def init_fn(params: optax.Params) -> Any:
        return WarmedState(
            lr=copied_real(warmup_lr),
            init_value=copied_real(plateau.init_value),
            num_steps=copied_int(0),
            warmup=copied_int(warmup),
            warmup_lr=copied_real(warmup_lr),
            plateau=plateau.init(params),
        )

    arguments = {"plateau": plateau, "warmup": warmup, "warmup_lr": warmup_lr}
    return Plateau.build(init_fn, plateau.init_value, "warmed_plateau", arguments)


@jax.jit
def _step(state: WarmedState, metric: Real) -> WarmedState:
    num_steps = state.num_steps + np.int32(1)
    is_warming = num_steps <= state.warmup
    # The line ends at the rate of the plateau, which may have been set by hand since.
    goal = state.plateau.lr
    share = as_real(jnp.minimum(num_steps, state.warmup)) / as_real(state.warmup)
    line = state.warmup_lr + (goal - state.warmup_lr) * share
    stepped = state.plateau._replace(lr=state.lr).step(metric)
    plateau = jax.tree.map(lambda old, new: jnp.where(is_warming, old, new), state.plateau, stepped)
    lr = select(is_warming, line, stepped.lr)
    return state._replace(lr=lr, num_steps=num_steps, plateau=plateau)
