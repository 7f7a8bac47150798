"""DETR and its relatives: the flags of DETR and Deformable DETR, and the YAML of RT-DETR, D-FINE and DEIM.

The rules are those of DETR, Deformable DETR and DINO (`main.py`), of RT-DETR of August 2026 and D-FINE of
April 2025 (`solver/det_solver.py`, `optim/warmup.py`), and of DEIM of June 2025
(`engine/optim/lr_scheduler.py`).
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_choice
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, chained_scheduler, multi_step_lr, per_epoch, phased_lr, step_lr


# Other programs have a flag lr_drop too, so one more sign is needed.
_SIGNS = (
    *("lr_backbone", "coco_path", "num_queries", "enc_layers", "dec_layers", "set_cost_class"),
    *("lr_linear_proj_mult", "lr_drop_list", "with_box_refine", "two_stage", "use_dn", "bbox_loss_coef"),
)
_OF_OTHERS = (
    *("schedule", "sched", "lr_scheduler", "lr_schedule", "warmup_epochs", "warmup", "grad_accum_steps"),
    *("lr_drop_gamma", "lr_gamma", "lr_drop_factor", "lr_drop_in_epoch", "onecyclelr"),
)
_OF_YAML = ("epoches", "lr_warmup_scheduler", "lrsheduler", "__include__")


def read(config: Config) -> Recipe:
    """Read `lr_drop` of the flags, where a count is an epoch, or a YAML, where it is a batch."""
    return _read_flags(config) if config.has("lr_drop") else _read_yaml(config)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    if "lr_drop" in settings:
        return any(name in settings for name in _SIGNS)
    optimizer, scheduler = settings.get("optimizer"), settings.get("lr_scheduler")
    kinds = [each.get("type") for each in (optimizer, scheduler) if isinstance(each, Mapping)]
    is_its_own = "lrsheduler" in settings or "__include__" in settings
    return is_its_own or (len(kinds) == 2 and any(name in settings for name in _OF_YAML))


FRAMEWORK = Framework(
    name="detr", read=read, aliases=("deformable_detr", "rt_detr", "d_fine", "deim"), recognizes=_recognizes
)


def _read_flags(config: Config) -> Recipe:
    config.refuse(*_OF_OTHERS, reason="the scripts of DETR lack it, or it is not supported")
    epochs = config.whole_epochs("epochs")
    own = {"backbone": "lr_backbone", "linear_proj": "lr_linear_proj_mult"}
    names = ["weights", *(name for name, setting in own.items() if config.has(setting))]
    group = names[config.groups(*names)] if len(names) > 1 else "weights"
    init_value: Any = config.base_rate("lr_backbone" if group == "backbone" else "lr")
    if group == "linear_proj":
        init_value = init_value * config.number("lr_linear_proj_mult")
    if config.flag("multi_step_lr"):
        schedule = multi_step_lr(init_value, config.counts("lr_drop_list"), 0.1)
    else:
        schedule = step_lr(init_value, config.positive_count("lr_drop"), 0.1)
    is_sgd = config.flag("sgd")
    config.state(optimizer="sgd" if is_sgd else "adamw", momentum=0.9 if is_sgd else None)
    config.state_settings(weight_decay="weight_decay", clip="clip_max_norm")
    return config.recipe("detr", schedule, "epoch", epochs)


def _read_yaml(config: Config) -> Recipe:
    if config.has("__include__"):
        raise ValueError("the config has an __include__: give the path of its file, not a text")
    batches = config.steps_in_epoch()
    epochs = config.whole_epochs("epoches", "epochs")
    optimizer = _group(config)
    init_value = optimizer.base_rate("lr")
    optimizer.state_settings(optimizer="type", weight_decay="weight_decay")
    config.state(momentum=optimizer.stated_first("betas"), clip=config.stated_clip("clip_max_norm"))
    warmup = config.inner("lr_warmup_scheduler")
    duration = warmup.count("warmup_duration") if warmup.settings else 0
    if config.has("lrsheduler"):
        phases = _flat_cosine(config, epochs * batches, batches, duration)
        return config.recipe("detr", phased_lr(init_value, phases), "iteration", epochs * batches)
    if warmup.settings:
        check_choice("type of lr_warmup_scheduler", warmup.text("type", "LinearWarmup"), ("LinearWarmup",))
    scheduler = config.inner("lr_scheduler")
    check_choice("type of lr_scheduler", scheduler.text("type"), ("MultiStepLR",))
    # The scheduler of epochs takes its first step at the end of the epoch in which the warmup ends.
    late = max(0, -(-duration // batches) - 1)
    milestones = [number + late for number in scheduler.counts("milestones")]
    if late and milestones:
        config.assume(f"The milestones come later by {late}, because the scheduler waits for the warmup.")
    main = multi_step_lr(1.0, milestones, scheduler.number("gamma", 0.1))
    ramp = Phase(duration, "linear", start_factor=0.0, end_factor=1.0, offset=1, span=max(1, duration))
    schedule = chained_scheduler(init_value, [phased_lr(1.0, [ramp]), per_epoch(main, batches)])
    return config.recipe("detr", schedule, "iteration", epochs * batches)


def _group(config: Config) -> Config:
    """Return the settings of the optimizer, with those of the parameter group that is read."""
    optimizer = config.inner("optimizer")
    params = optimizer.get("params", [])
    if not isinstance(params, list) or not all(isinstance(each, Mapping) for each in params):
        raise ValueError("params of the optimizer must be a list of settings by name")
    number = config.groups("the others", *(str(each.get("params")) for each in params)) if params else 0
    if number == 0:
        return optimizer
    own = {name: value for name, value in params[number - 1].items() if name != "params"}
    return config.of({**optimizer.settings, **own})


def _flat_cosine(config: Config, total: int, batches: int, duration: int) -> list[Phase]:
    """Return the phases of DEIM. Each rate is set after a batch, so batch k has the rate of k - 1."""
    check_choice("lrsheduler", config.text("lrsheduler"), ("flatcosine",))
    warmup = config.positive_count("warmup_iter")
    flat = config.count("flat_epoch") * batches
    low, end = config.number("lr_gamma"), total - config.count("no_aug_epoch") * batches
    begin = max(warmup, flat) + 1
    ends: Any = {"start_factor": 1.0, "end_factor": low}
    return [
        Phase(1, start_factor=1 / duration if duration else 1.0),
        Phase(warmup + 1, "power", start_factor=0.0, end_factor=1.0, power=2.0, span=warmup),
        Phase(max(0, flat - warmup), start_factor=1.0),
        Phase(max(0, end - begin), "cosine", offset=begin - flat, span=max(1, end - flat), **ends),
        Phase(start_factor=low),
    ]
