"""PyTorch's learning-rate schedulers for JAX: exact, pure and fast."""

from jaxlr.convert import from_string
from jaxlr.plateau import plateau_lr, plateau_step, reduce_lr_on_plateau
from jaxlr.schedules.compose import per_epoch
from jaxlr.schedules.decay import exponential_lr, multi_step_lr, step_lr


__version__ = "0.1.0"

__all__ = [
    "exponential_lr",
    "from_string",
    "multi_step_lr",
    "per_epoch",
    "plateau_lr",
    "plateau_step",
    "reduce_lr_on_plateau",
    "step_lr",
]
