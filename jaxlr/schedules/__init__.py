"""Pure functions from an epoch (or step) to a learning rate."""

from jaxlr.schedules.compose import per_epoch
from jaxlr.schedules.decay import exponential_lr, multi_step_lr, step_lr


__all__ = ["exponential_lr", "multi_step_lr", "per_epoch", "step_lr"]
