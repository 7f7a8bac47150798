"""PyTorch's learning-rate schedulers for JAX: exact, pure and fast."""

from jaxlr.convert import from_state_dict, from_string, from_torch, optimizer_from_torch
from jaxlr.plateau import plateau_lr, plateau_step, reduce_lr_on_plateau
from jaxlr.plot import plot
from jaxlr.schedules.compose import chained_scheduler, per_epoch, sequential_lr, tabulate
from jaxlr.schedules.cyclic import (
    cosine_annealing_lr,
    cosine_annealing_warm_restarts,
    cyclic_lr,
    cyclic_momentum,
    one_cycle_lr,
    one_cycle_momentum,
    swa_lr,
)
from jaxlr.schedules.decay import (
    constant_lr,
    exponential_lr,
    lambda_lr,
    linear_lr,
    multi_step_lr,
    multiplicative_lr,
    polynomial_lr,
    step_lr,
)
from jaxlr.schedules.phases import Phase, phased_lr


__version__ = "0.1.0"

# In the order of torch.optim.lr_scheduler.__all__.
__all__ = [  # noqa: RUF022
    "lambda_lr",
    "multiplicative_lr",
    "step_lr",
    "multi_step_lr",
    "constant_lr",
    "linear_lr",
    "exponential_lr",
    "sequential_lr",
    "cosine_annealing_lr",
    "chained_scheduler",
    "reduce_lr_on_plateau",
    "plateau_step",
    "plateau_lr",
    "cyclic_lr",
    "cyclic_momentum",
    "cosine_annealing_warm_restarts",
    "one_cycle_lr",
    "one_cycle_momentum",
    "polynomial_lr",
    "swa_lr",
    "phased_lr",
    "Phase",
    "per_epoch",
    "tabulate",
    "from_string",
    "from_torch",
    "from_state_dict",
    "optimizer_from_torch",
    "plot",
]
