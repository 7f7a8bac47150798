"""MMEngine: `param_scheduler` of the configs of MMDetection 3, MMPretrain, MMSegmentation 1 and the like.

The rules are those of MMEngine 0.10.7 (`runner/runner.py`). Those of its loops and schedulers are in
`mmengine_schedules.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxlr._checks import check_choice, shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.mmengine_schedules import Loop, check_settings, combined, scheduler_name
from jaxlr.frameworks.recipe import Clip, Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.frameworks.ultralytics import with_start
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules import Phase, phased_lr


_OTHERS = ("Momentum", "WeightDecay")  # endings of the names of schedulers that do not change the rate
_MOST_SCHEDULERS = 20
_DECAY_MULTS = {
    "norm_decay_mult": "norms",
    "bias_decay_mult": "biases",
    "dwconv_decay_mult": "depthwise convolutions",
    "flat_decay_mult": "vectors",
}


def read(config: Config) -> Recipe:
    """Read `param_scheduler`, `optim_wrapper` and `train_cfg`. A count is an iteration or an epoch.

    A count is an iteration if `steps_per_epoch` is given, or if a scheduler or the loop counts iterations.
    """
    of_yolo = _hook_of_yolo(config)
    schedulers = _schedulers(config)
    loop = Loop(config, [settings for _, settings in schedulers])
    if of_yolo is not None:
        return _recipe_of_yolo(config, of_yolo, loop)
    of_rate = [settings for name, settings in schedulers if not name.endswith(_OTHERS)]
    names = [scheduler_name(settings) for settings in of_rate]
    for name in ("OneCycleLR", "ReduceOnPlateauLR"):
        if name in names and len(names) > 1:
            raise ValueError(f"{name} is supported only as the only scheduler, got {', '.join(names)}")
    _state_optimizer(config, schedulers, loop)
    if names == ["ReduceOnPlateauLR"]:
        return _plateau_recipe(config, of_rate[0], loop)
    is_one_cycle = names == ["OneCycleLR"] and of_rate[0].number("begin", 0) == 0
    if is_one_cycle:
        config.assume("OneCycleLR sets the rate from eta_max, and ignores the rate of the optimizer.")
    if not names:
        config.assume("The config has no param_scheduler of the rate, so the rate is constant.")
    init_value = 1.0 if is_one_cycle else _init_value(config)
    schedule = combined(config, of_rate, init_value, loop)
    return config.recipe("mmengine", schedule, loop.unit, loop.num_counts)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `optim_wrapper` (`optim/optimizer/default_constructor.py`)."""
    wrapper = config.inner("optim_wrapper")
    kind = wrapper.text("type", "OptimWrapper").rpartition(".")[2]
    if kind not in ("OptimWrapper", "AmpOptimWrapper"):
        raise OptimizerError(f"the type {shown_value(kind)} of optim_wrapper is not supported")
    constructor = wrapper.text("constructor", config.text("constructor", "DefaultOptimWrapperConstructor"))
    if constructor.rpartition(".")[2] != "DefaultOptimWrapperConstructor":
        raise OptimizerError(f"the constructor {shown_value(constructor)} is not supported")
    settings = wrapper.inner("optimizer")
    return TorchOptimizer(
        class_of(settings),
        settings.options("type", "lr", "params", "_delete_"),
        clipping(wrapper, "clip_grad"),
        undecayed(wrapper.inner("paramwise_cfg")),
        wrapper.positive_count("accumulative_counts", 1),
    )


def class_of(settings: Config) -> str:
    """Return the class of an optimizer. Two names are not those of the classes that are known."""
    name = settings.text("type")
    if name in ("Adafactor", "Lamb"):
        raise OptimizerError(f"{name} of transformers or MMPretrain is not supported")
    return "Adafactor" if name == "TorchAdafactor" else name


def clipping(config: Config, name: str) -> Clip | None:
    """Return the clipping of `clip_grad=dict(max_norm=...)`."""
    if not config.has(name):
        return None
    clip = config.inner(name)
    if check_choice(f"type of {name}", clip.text("type", "norm"), ("norm", "value")) == "value":
        return Clip(clip.number("clip_value"), None)
    return Clip(clip.number("max_norm"), clip.number("norm_type", 2.0))


def undecayed(paramwise: Config) -> tuple[str, ...]:
    """Return the parameters that `paramwise_cfg` leaves out of the weight decay."""
    found = [words for name, words in _DECAY_MULTS.items() if _is_off(name, paramwise.number(name, 1.0))]
    for name in paramwise.settings:
        if name not in (*_DECAY_MULTS, "custom_keys", "bypass_duplicate", "_delete_", "_delete"):
            _check_mult(name, paramwise.get(name))
    custom = paramwise.inner("custom_keys")
    for key in custom.settings:
        options = custom.inner(key)
        for name in options.settings:
            if name != "decay_mult":
                _check_mult(f"{name} of {key!r}", options.get(name))
        if _is_off(f"decay_mult of {key!r}", options.number("decay_mult", 1.0)):
            found.append(f"parameters with {key!r} in their name")
    return tuple(found)


def _is_off(name: str, mult: Any) -> bool:
    return mult == 0 or _check_mult(name, mult)


def _check_mult(name: str, mult: Any) -> bool:
    if isinstance(mult, bool) or mult != 1:
        raise OptimizerError(f"{name}={mult!r} of paramwise_cfg is not supported")
    return False


FRAMEWORK = Framework(
    name="mmengine",
    read=read,
    optimizer=optimizer,
    marks=(("param_scheduler",), ("optim_wrapper",)),
    aliases=("mmdet", "mmpretrain", "mmseg", "openmmlab"),
)


def _schedulers(config: Config) -> list[tuple[str, Config]]:
    """Return the schedulers with their names, such as LinearLR, LinearMomentum or LinearWeightDecay."""
    value = config.get("param_scheduler")
    if isinstance(value, Mapping) and "type" not in value:
        names = ", ".join(map(repr, [*value][:8]))
        raise ValueError(
            f"param_scheduler has schedulers for several optimizers, {names}: put those of one in its place"
        )
    items = [] if value is None else [value] if isinstance(value, Mapping) else value
    if not isinstance(items, list | tuple) or not all(isinstance(item, Mapping) for item in items):
        raise ValueError(f"param_scheduler must be a list of dict(type=...), got {shown_value(value)}")
    if len(items) > _MOST_SCHEDULERS:
        raise ValueError(
            f"param_scheduler must have at most {_MOST_SCHEDULERS} schedulers, got {len(items)}"
        )
    return [(scheduler_name(settings), settings) for settings in map(config.of, items)]


def _hook_of_yolo(config: Config) -> Config | None:
    """Return the hook of MMYOLO that sets the rate, and refuse any other one that does."""
    of_yolo: Config | None = None
    hooks = [("custom_hooks", hook) for hook in config.get("custom_hooks") or []]
    default = config.inner("default_hooks")
    hooks.append(("default_hooks", default.get("param_scheduler")))
    for place, hook in hooks:
        if isinstance(hook, Mapping):
            name = config.of(hook).text("type", "")
            is_setter = any(word in name for word in ("ParamScheduler", "LrUpdater", "LRUpdater"))
            if place == "default_hooks" and name.rpartition(".")[2] == "YOLOv5ParamSchedulerHook":
                of_yolo = config.of(hook)
            elif is_setter and name.rpartition(".")[2] != "ParamSchedulerHook":
                raise ValueError(f"{name} of {place} sets the rate itself, which is not supported")
    return of_yolo


def _recipe_of_yolo(config: Config, hook: Config, loop: Loop) -> Recipe:
    """Return the schedule of MMYOLO's hook, which is that of YOLOv5 (`yolov5_param_scheduler_hook.py`)."""
    if config.get("param_scheduler"):
        raise ValueError("YOLOv5ParamSchedulerHook does not step param_scheduler: give only one of them")
    defaults = {"scheduler_type": "linear", "lr_factor": 0.01, "max_epochs": 300, "warmup_epochs": 3}
    defaults |= {"warmup_bias_lr": 0.1, "warmup_momentum": 0.8, "warmup_mim_iter": 1000}
    hook = with_defaults(hook, defaults, "YOLOv5ParamSchedulerHook")
    for name in hook.settings:
        check_choice("a setting of YOLOv5ParamSchedulerHook", name, ("type", *defaults))
    shape: Any = hook.choice("scheduler_type", ("linear", "cosine"))
    span, steps, epochs = hook.positive_count("max_epochs"), loop.steps, loop.max_epochs
    line = Phase(epochs, shape, start_factor=1.0, end_factor=hook.number("lr_factor"), span=span)
    warmup = max(round(hook.number("warmup_epochs") * steps), hook.count("warmup_mim_iter"))
    group = config.groups("weights", "norms", "biases")
    start = hook.number("warmup_bias_lr") if group == 2 else 0.0
    _state_optimizer(config, [], loop)
    if group:
        config.state(weight_decay=0.0)
    momentum = config.inner("optim_wrapper").inner("optimizer").stated("momentum")
    if momentum is not None:
        ramp = Phase(warmup, "linear", start_value=hook.number("warmup_momentum"), end_value=momentum)
        config.state(momentum=phased_lr(1.0, [ramp]))
    schedule = with_start(_init_value(config), line, start, warmup, steps, epochs, is_late=True)
    return config.recipe("mmengine", schedule, "iteration", epochs * steps)


def _init_value(config: Config) -> Any:
    wrapper = config.inner("optim_wrapper")
    check_single("optim_wrapper", wrapper, "optimizer")
    rate = wrapper.inner("optimizer").base_rate("lr")
    return scaled_rate(config, wrapper, rate, lambda: config.inner("train_dataloader").count("batch_size"))


def scaled_rate(config: Config, optimizer: Config, rate: Any, batch_size: Callable[[], int]) -> Any:
    """Return the rate after `auto_scale_lr`, and state whose rate it is.

    Args:
        config: the config.
        optimizer: the settings that may have multipliers for some parameters.
        rate: the rate of the optimizer.
        batch_size: reads the batch size of one process. Only `auto_scale_lr` needs it.
    """
    if optimizer.has("paramwise_cfg") or optimizer.has("constructor"):
        config.assume(
            "This is the rate of parameters without a multiplier. For others, give theirs as init_value."
        )
    scale = config.inner("auto_scale_lr")
    if config.init_value is not None or not scale.flag("enable"):
        return rate
    processes = config.num_processes_for("auto_scale_lr scales the rate by the global batch size")
    batch = batch_size() * processes
    base = scale.number("base_batch_size")
    config.assume(f"auto_scale_lr multiplies the rate by {batch} / {base:g}, the global batch size.")
    return rate * (batch / base)


def check_single(name: str, settings: Config, key: str) -> None:
    """Refuse a mapping of several optimizers, each of which has `key`, unless the rate is given."""
    several = [
        repr(each)
        for each, value in settings.settings.items()
        if isinstance(value, Mapping) and key in value
    ]
    if several and not settings.has(key) and settings.init_value is None:
        raise ValueError(
            f"{name} has several optimizers, {', '.join(several)}: give init_value, the rate of one"
        )


def norm_of(config: Config, name: str) -> float | None:
    """Return the norm of `clip_grad=dict(max_norm=...)`, or None if another norm or none is clipped."""
    clip = config.of(config.get(name)) if isinstance(config.get(name), Mapping) else config.of({})
    is_norm = clip.get("type", "norm") == "norm" and clip.get("norm_type", 2) == 2
    return clip.stated_clip("max_norm") if is_norm else None


def _state_optimizer(config: Config, schedulers: Sequence[tuple[str, Config]], loop: Loop) -> None:
    """State the optimizer, its momentum and weight decay with their schedulers, and the clipping."""
    wrapper = config.inner("optim_wrapper")
    optimizer = wrapper.inner("optimizer")
    has_betas = bool(optimizer.get("betas"))
    momentum = optimizer.stated_first("betas") if has_betas else optimizer.stated("momentum")
    decay = optimizer.stated("weight_decay")
    fields = (("momentum", "Momentum", momentum), ("weight_decay", "WeightDecay", decay))
    for field, ending, stated in fields:
        changing = [settings for name, settings in schedulers if name.endswith(ending)]
        if changing and stated is None:
            raise ValueError(
                f"{scheduler_name(changing[0])} changes the {field}, which the optimizer does not state"
            )
        config.state(**{field: combined(config, changing, stated, loop) if changing else stated})
    config.state(optimizer=optimizer.stated_text("type"), clip=norm_of(wrapper, "clip_grad"))


def _plateau_recipe(config: Config, settings: Config, loop: Loop) -> Recipe:
    init_value = _init_value(config)
    check_settings(settings, _PLATEAU_SETTINGS)
    if settings.flag("convert_to_iter_based") or not settings.flag("by_epoch", True) or not loop.by_epoch:
        raise ValueError("ReduceOnPlateauLR counts epochs: set by_epoch=True in it and in train_cfg")
    last = loop.max_epochs if settings.has("end") else 0
    if settings.count("begin", 0) > 1 or settings.number("end", last) < last:
        raise ValueError("ReduceOnPlateauLR is supported only from the first evaluation to the last")
    rule = check_choice("rule", settings.text("rule", "less"), ("less", "greater"))
    threshold_rule: Any = check_choice(
        "threshold_rule", settings.text("threshold_rule", "rel"), ("rel", "abs")
    )
    monitor = settings.text("monitor", "loss")
    config.assume(f"The plateau is stepped after each evaluation, with the metric {monitor!r}.")
    plateau = reduce_lr_on_plateau(
        init_value,
        mode="min" if rule == "less" else "max",
        factor=settings.number("factor", 0.1),
        patience=settings.count("patience", 10),
        threshold=settings.number("threshold", 1e-4),
        threshold_mode=threshold_rule,
        cooldown=settings.count("cooldown", 0),
        min_lr=settings.number("min_value", 0.0),
        eps=settings.number("eps", 1e-8),
    )
    train = config.inner("train_cfg")
    epochs = train.stated_epochs("max_epochs") if train.positive_count("val_interval", 1) == 1 else None
    return config.recipe("mmengine", plateau, "evaluation", epochs)


_PLATEAU_SETTINGS = "monitor rule factor patience threshold threshold_rule cooldown min_value eps"
