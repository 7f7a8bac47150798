"""GraphGym of PyTorch Geometric: the `optim` of its YAML configs, and the schedulers that GraphGPS adds.

The rules are those of PyG 2.8.1 (`graphgym/optim.py`) and of GraphGPS 2023
(`graphgps/optimizer/extra_optimizers.py`), which Exphormer and others copied.
"""

from typing import Any

from jax.typing import ArrayLike

from jaxlr._checks import check_choice
from jaxlr.frameworks._curves import waves
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.huggingface_schedules import get_polynomial_decay_schedule_with_warmup
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules import Phase, cosine_annealing_lr, multi_step_lr, phased_lr, step_lr


_WARMED = {"num_warmup_epochs": 50, "max_epoch": 200}
# The settings of each scheduler, with the defaults.
_SCHEDULERS: dict[str, dict[str, Any]] = {
    "none": {"max_epoch": 200},
    "step": {"steps": [30, 60, 90], "lr_decay": 0.1, "max_epoch": 200},
    "cos": {"max_epoch": 200},
    "reduce_on_plateau": {"reduce_factor": 0.1, "schedule_patience": 10, "min_lr": 0.0, "max_epoch": 200},
    "linear_with_warmup": _WARMED,
    "cosine_with_warmup": _WARMED,
    "polynomial_with_warmup": _WARMED,
}


def read(config: Config) -> Recipe:
    """Read the section `optim`. A count is an epoch."""
    optim = config.inner("optim")
    if "scheduler" in optim.settings and optim.get("scheduler") is None:
        optim = config.of({**optim.settings, "scheduler": "none"})
    optim = with_defaults(optim, {"scheduler": "cos"}, "GraphGym")
    name = check_choice("scheduler", optim.text("scheduler"), tuple(_SCHEDULERS))
    optim = with_defaults(optim, _SCHEDULERS[name] | {"base_lr": 0.01}, "GraphGym", rate="base_lr")
    if optim.text("min_lr_mode", "threshold") != "threshold":
        raise ValueError("min_lr_mode is of GRIT, and only 'threshold' is supported, which has no effect")
    init_value, epochs = optim.base_rate("base_lr"), optim.positive_count("max_epoch")
    optim.state_settings(optimizer="optimizer", weight_decay="weight_decay")
    if optim.stated_text("optimizer") == "sgd":
        optim.state_settings(momentum="momentum")
    if optim.flag("clip_grad_norm"):
        config.state(clip=optim.stated_clip("clip_grad_norm_value") or 1.0)
    if name == "reduce_on_plateau":
        plateau = reduce_lr_on_plateau(
            init_value,
            factor=optim.number("reduce_factor"),
            patience=optim.count("schedule_patience"),
            min_lr=optim.number("min_lr"),
        )
        config.assume("The plateau is stepped after every epoch with the loss of the validation.")
        return config.recipe("graphgym", plateau, "evaluation", epochs)
    return config.recipe("graphgym", _schedule(name, optim, init_value, epochs), "epoch", epochs)


FRAMEWORK = Framework(
    name="graphgym",
    read=read,
    marks=(("optim.base_lr", "optim.max_epoch"), ("dataset", "model", "gnn", "optim")),
    aliases=("graphgps", "pyg", "exphormer"),
)


def _schedule(name: str, optim: Config, init_value: ArrayLike, epochs: int) -> Any:
    if name == "none":
        return step_lr(init_value, epochs + 1)  # which no run reaches
    if name == "step":
        return multi_step_lr(init_value, optim.numbers("steps"), optim.number("lr_decay"))
    if name == "cos":
        return cosine_annealing_lr(init_value, epochs)
    warmup = optim.count("num_warmup_epochs")
    if name == "polynomial_with_warmup":
        return get_polynomial_decay_schedule_with_warmup(init_value, warmup, epochs)
    # The first epoch of a warmup has a millionth of the rate.
    first = Phase(min(1, warmup), start_factor=1e-6)
    ends: Any = {"start_factor": 0.0, "end_factor": 1.0}
    ramp = Phase(max(0, warmup - 1), "linear", **ends, offset=1, span=max(1, warmup))
    rest = max(1, epochs - warmup)
    if name == "cosine_with_warmup":
        return waves(init_value, [first, ramp], rest, 0.5, end_factor=0.0)
    fall = Phase(max(0, epochs - warmup), "linear", start_factor=1.0, end_factor=0.0)
    return phased_lr(init_value, [first, ramp, fall, Phase(start_factor=0.0)])
