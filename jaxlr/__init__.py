"""PyTorch's learning-rate schedulers for JAX: exact, pure and fast."""

from typing import TYPE_CHECKING

from jaxlr._lazy import on_first_use


if TYPE_CHECKING:
    from jaxlr import convert as convert
    from jaxlr import frameworks as frameworks
    from jaxlr import logs as logs
    from jaxlr import schedules as schedules
    from jaxlr import train as train
    from jaxlr.clipping import clip_grad_norm
    from jaxlr.convert import (
        from_state_dict,
        from_string,
        from_torch,
        optimizer_from_string,
        optimizer_from_torch,
        parameter_names,
        port,
        resume_from_torch,
    )
    from jaxlr.drawing import plot
    from jaxlr.frameworks import Recipe
    from jaxlr.frameworks.config import from_config
    from jaxlr.frameworks.optimizers import optimizer_from_config
    from jaxlr.greedy import greedy_lr
    from jaxlr.logs import fit, verify
    from jaxlr.plateau import plateau_lr, plateau_step, reduce_lr_on_plateau, set_plateau_lr
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
    "parameter_names",
    "clip_grad_norm",
    "port",
    "from_config",
    "optimizer_from_config",
    "Recipe",
    "verify",
    "fit",
    "plot",
]


if not TYPE_CHECKING:  # a type checker would take `__getattr__` as a sign that every name exists
    # JAX alone takes half a second to import, and the frameworks a quarter.
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "clipping": ["clip_grad_norm"],
            "convert": [
                "from_state_dict",
                "from_string",
                "from_torch",
                "optimizer_from_string",
                "optimizer_from_torch",
                "parameter_names",
                "port",
                "resume_from_torch",
            ],
            "drawing": ["plot"],
            "frameworks": ["Recipe"],
            "frameworks.config": ["from_config"],
            "frameworks.optimizers": ["optimizer_from_config"],
            "greedy": ["greedy_lr"],
            "logs": ["fit", "verify"],
            "plateau": ["plateau_lr", "plateau_step", "reduce_lr_on_plateau", "set_plateau_lr"],
            "rates": ["learning_rate", "with_plateau"],
            "schedules": [
                "Phase",
                "chained_scheduler",
                "constant_lr",
                "cosine_annealing_lr",
                "cosine_annealing_warm_restarts",
                "cyclic_lr",
                "cyclic_momentum",
                "exponential_lr",
                "lambda_lr",
                "linear_lr",
                "multi_step_lr",
                "multiplicative_lr",
                "one_cycle_lr",
                "one_cycle_momentum",
                "per_epoch",
                "phased_lr",
                "polynomial_lr",
                "sequential_lr",
                "starting_at",
                "step_lr",
                "swa_lr",
                "tabulate",
            ],
            "train": [],  # only the module, which needs the extra train
        },
    )
