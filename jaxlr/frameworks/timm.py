"""timm: the flags of its training script.

The rules are those of `train.py` of timm 1.0.31. Those of its schedulers are in `timm_schedules.py`.
"""

import math
from typing import Any

from jaxlr._checks import shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Clip, Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.frameworks.timm_schedules import (
    CALLS,
    IGNORED,
    RENAMED,
    CosineLRScheduler,
    create_scheduler_v2,
)


# The classes and their options by the names of `--opt` (`optim/_optim_factory.py`).
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    **dict.fromkeys(("sgd", "nesterov"), ("SGD", {"nesterov": True})),
    "momentum": ("SGD", {}),
    "adam": ("Adam", {}),
    "adamw": ("AdamW", {}),
    "nadam": ("NAdam", {}),
    "radam": ("RAdam", {}),
    "radamw": ("RAdam", {"decoupled_weight_decay": True}),
    "adamax": ("Adamax", {}),
    "adadelta": ("Adadelta", {}),
    "adagrad": ("Adagrad", {"eps": 1e-8}),
    "rmsprop": ("RMSprop", {"alpha": 0.9}),
    "lion": ("Lion", {}),
    "clion": ("Lion", {"caution": True}),
    "lamb": ("Lamb", {}),
    "lambc": ("Lamb", {"trust_clip": True}),
    "lambw": ("Lamb", {"decoupled_decay": True}),
    "clamb": ("Lamb", {"caution": True}),
}
_OLD_OPTIMIZERS = ("sgd", "nesterov", "momentum", "adam", "adamw")  # the same in all versions
_FLAGS_OF_DEIT = ("data_set", "dist_eval", "distillation_type", "repeated_aug", "teacher_model")
_FLAGS_OF_DEIT += ("data_path", "output_dir")  # data_dir and output in timm


def read(config: Config) -> Recipe:
    """Read the flags of timm's training script, or its `args.yaml`."""
    config.refuse("lr_noise", reason="the noise comes from torch's generator")
    is_oldest = config.since(*RENAMED) is False
    init_value = _init_value(config)
    sched = config.text("sched", None)
    if sched is None:
        sched = "step" if is_oldest else "cosine"
        config.assume(f"sched is {sched!r}, the default of train.py.")
    if is_oldest and sched not in ("cosine", "step"):
        raise ValueError(
            f"sched {shown_value(sched)} of timm 0.4 is not supported: 'cosine' and 'step' are"
        )
    epochs = config.whole_epochs("epochs")
    settings = {
        name: _setting(config, spelling, default, method) for name, spelling, default, method in _SETTINGS
    }
    on_updates = not is_oldest and config.flag("sched_on_updates")
    unit = 1
    if on_updates:
        accumulation = config.accumulation("grad_accum_steps")
        unit = -(-config.steps_in_epoch() // accumulation)
    _state_optimizer(config)
    mode = "min" if "loss" in config.text("eval_metric", "top1") else "max"
    if is_oldest and sched == "cosine":
        schedule = _oldest_cosine(init_value, epochs, settings)
    else:
        clock: Any = {"step_on_epochs": not on_updates, "updates_per_epoch": unit}
        schedule = create_scheduler_v2(init_value, sched, epochs, plateau_mode=mode, **clock, **settings)
    if sched == "plateau":
        return config.recipe("timm", schedule, "evaluation", epochs)
    total = _num_epochs(sched, epochs, unit, settings)
    return config.recipe("timm", schedule, "update" if on_updates else "epoch", total)


_SETTINGS: tuple[tuple[str, str, Any, str], ...] = (
    ("warmup_epochs", "warmup_epochs", 5, "count"),
    ("warmup_lr", "warmup_lr", 1e-5, "number"),
    ("min_lr", "min_lr", 0.0, "number"),
    ("decay_epochs", "decay_epochs", None, "number"),
    ("decay_fn", "lr_decay_fn", None, "text"),
    ("stable_timescale", "lr_stable_timescale", None, "number"),
    ("decay_milestones", "decay_milestones", [90, 180, 270], "numbers"),
    ("decay_rate", "decay_rate", 0.1, "number"),
    ("cooldown_epochs", "cooldown_epochs", 0, "count"),
    ("patience_epochs", "patience_epochs", 10, "count"),
    ("cycle_mul", "lr_cycle_mul", 1.0, "number"),
    ("cycle_decay", "lr_cycle_decay", 0.5, "number"),
    ("cycle_limit", "lr_cycle_limit", 1, "count"),
    ("k_decay", "lr_k_decay", 1.0, "number"),
    ("warmup_prefix", "warmup_prefix", False, "flag"),
)
# The defaults of train.py from 0.5 to 0.7, and those of 0.4.
_OLDER = {"warmup_epochs": 3, "warmup_lr": 1e-4, "min_lr": 1e-6, "decay_epochs": 100, "cooldown_epochs": 10}
_OLDEST = {**_OLDER, "min_lr": 1e-5, "decay_epochs": 30}
_STATED = ("warmup_epochs", "warmup_lr", "min_lr")


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `create_optimizer_v2`."""
    config.refuse("layer_decay", reason="it gives each layer a rate of its own", error=OptimizerError)
    config.refuse("opt_args", reason="it is no flag of train.py", error=OptimizerError)
    defaults = {"opt": "sgd", "weight_decay": 2e-5}
    if config.since(1, 0) is False and not config.has("weight_decay"):
        raise ValueError(
            "the default weight_decay of timm before 1.0 is not known: give names={'weight_decay': ...}"
        )
    config = with_defaults(config, defaults, "train.py")
    name = config.text("opt").lower()
    known = _OPTIMIZERS if config.since(1, 0) is not False else _OLD_OPTIMIZERS
    if name not in known:
        raise OptimizerError(f"opt must be one of {', '.join(map(repr, known))}, got {shown_value(name)}")
    cls, options = _OPTIMIZERS[name]
    options = {"weight_decay": config.number("weight_decay"), **options}
    if cls in ("SGD", "RMSprop"):
        options["momentum"] = with_defaults(config, {"momentum": 0.9}, "train.py").number("momentum")
    if config.has("opt_eps") and cls not in ("SGD", "Lion"):
        options["eps"] = config.number("opt_eps")
    if config.has("opt_betas") and cls not in ("SGD", "RMSprop", "Adagrad", "Adadelta"):
        options["betas"] = tuple(config.numbers("opt_betas"))
    options |= config.inner("opt_kwargs").options("params", "lr")
    accumulation = config.accumulation("grad_accum_steps")
    undecayed = ("biases", "vectors", "the names in model.no_weight_decay()")
    return TorchOptimizer(cls, options, _clip(config), undecayed, accumulation)


def _clip(config: Config) -> Clip | None:
    if not config.has("clip_grad"):
        return None
    mode = config.text("clip_mode", "norm")
    if mode not in ("norm", "value"):
        raise OptimizerError(f"clip_mode must be 'norm' or 'value', got {shown_value(mode)}")
    return Clip(config.number("clip_grad"), 2.0 if mode == "norm" else None)


FRAMEWORK = Framework(
    name="timm",
    read=read,
    optimizer=optimizer,
    marks=(("sched",), ("sched_on_updates",), ("cooldown_epochs",), ("lr_cycle_limit",)),
    calls=CALLS,
    ignored=IGNORED,
    has_versions=True,
)


def _init_value(config: Config) -> Any:
    """Return `lr`, or `lr_base` scaled by the global batch size."""
    if config.init_value is None and _may_be_deit(config) and not config.flag("unscale_lr"):
        raise ValueError(
            "main.py of DeiT multiplies lr by the global batch size / 512, and train.py of timm does not: "
            "give init_value, the rate of the optimizer"
        )
    if config.init_value is not None or config.has("lr") or not config.has("lr_base"):
        return config.base_rate("lr")
    processes = config.num_processes_for("lr_base is scaled by the global batch size", or_rate=True)
    batch = config.count("batch_size") * processes * config.accumulation("grad_accum_steps")
    ratio = batch / config.number("lr_base_size", 256)
    scale = config.text("lr_base_scale", "")
    if not scale:
        optimizer = config.text("opt").lower()
        scale = "sqrt" if "ada" in optimizer or "lamb" in optimizer else "linear"
    rate = config.number("lr_base") * (ratio**0.5 if scale == "sqrt" else ratio)
    config.assume(f"The rate is {rate:g}: lr_base by the {scale} scale of the global batch size {batch}.")
    return rate


def _may_be_deit(config: Config) -> bool:
    """Check if the config has a model or a flag of DeiT, whose script copied timm's flags."""
    is_model = str(config.get("model")).startswith(("deit", "cait"))
    return is_model or any(map(config.has, _FLAGS_OF_DEIT))


def _state_optimizer(config: Config) -> None:
    clip_mode = config.text("clip_mode", "norm")
    config.state_settings(optimizer="opt", momentum="momentum", weight_decay="weight_decay")
    if clip_mode == "norm":
        config.state_settings(clip="clip_grad")
    elif config.has("clip_grad"):
        config.assume(f"clip_mode is {clip_mode!r}, which is no global norm: the recipe leaves it out.")
    if config.has("layer_decay"):
        config.assume(
            "The schedule is that of the last layers. The rate of a layer below them is multiplied by "
            "layer_decay for each layer between."
        )


def _setting(config: Config, spelling: str, default: Any, method: str) -> Any:
    """Return a setting, or its default in the version."""
    if config.since(0, 8) is False:
        default = (_OLDER if config.since(*RENAMED) else _OLDEST).get(spelling, default)
    if spelling in _STATED and not config.has(spelling):
        config.assume(f"{spelling} is {default:g}, the default of train.py.")
    return getattr(config, method)(spelling, default)


def _oldest_cosine(init_value: Any, epochs: int, settings: dict[str, Any]) -> Any:
    """Return the cosine of timm 0.4, whose floor decays with the cycles."""
    return CosineLRScheduler(
        init_value,
        epochs,
        settings["min_lr"],
        cycle_limit=settings["cycle_limit"],
        warmup_t=settings["warmup_epochs"],
        warmup_lr_init=settings["warmup_lr"],
        t_mul=settings["cycle_mul"],
        decay_rate=settings["decay_rate"],
    )


def _num_epochs(sched: str, epochs: int, unit: int, settings: dict[str, Any]) -> int:
    """Return the counts of the whole run, as `create_scheduler_v2` returns them."""
    prefix = settings["warmup_epochs"] * unit if settings["warmup_prefix"] else 0
    length = epochs * unit
    cooldown = settings["cooldown_epochs"] * unit
    if sched not in ("cosine", "tanh", "poly"):
        return length + prefix + (cooldown if sched in ("wsd", "rsqrt") else 0)
    mul, limit = settings["cycle_mul"], settings["cycle_limit"]
    cycles = length * limit if mul == 1 else math.floor(-length * (mul**limit - 1) / (1 - mul))
    return (cycles + prefix + cooldown) // unit * unit
