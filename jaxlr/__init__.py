"""PyTorch's learning-rate schedulers for JAX: exact, pure and fast."""

import importlib
import types
from typing import TYPE_CHECKING

from jaxlr.clipping import clip_grad_norm
from jaxlr.convert import (
    from_state_dict,
    from_string,
    from_torch,
    optimizer_from_string,
    optimizer_from_torch,
    port,
    resume_from_torch,
)
from jaxlr.frameworks.config import from_config
from jaxlr.frameworks.recipe import Recipe
from jaxlr.greedy import greedy_lr
from jaxlr.logs import fit, verify
from jaxlr.plateau import plateau_lr, plateau_step, reduce_lr_on_plateau, set_plateau_lr
from jaxlr.plot import plot
from jaxlr.rates import learning_rate, with_plateau
from jaxlr.schedules import (
    Phase,
    chained_scheduler,
    constant_lr,
    cosine_annealing_lr,
    cosine_annealing_warm_restarts,
    cyclic_lr,
    cyclic_momentum,
    exponential_lr,
    lambda_lr,
    linear_lr,
    multi_step_lr,
    multiplicative_lr,
    one_cycle_lr,
    one_cycle_momentum,
    per_epoch,
    phased_lr,
    polynomial_lr,
    sequential_lr,
    starting_at,
    step_lr,
    swa_lr,
    tabulate,
)


if TYPE_CHECKING:
    from jaxlr import train as train


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
    "greedy_lr",
    "with_plateau",
    "plateau_step",
    "plateau_lr",
    "set_plateau_lr",
    "learning_rate",
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
    "starting_at",
    "tabulate",
    "from_string",
    "from_torch",
    "from_state_dict",
    "optimizer_from_torch",
    "optimizer_from_string",
    "resume_from_torch",
    "clip_grad_norm",
    "port",
    "from_config",
    "Recipe",
    "verify",
    "fit",
    "plot",
]


if not TYPE_CHECKING:  # a type checker would take it as a sign that every name exists

    def __getattr__(name: str) -> types.ModuleType:
        """Import `jaxlr.train` on first use. It needs the packages of the extra `train`."""
        if name == "train":
            return importlib.import_module("jaxlr.train")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
