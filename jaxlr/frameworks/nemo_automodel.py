"""NeMo Automodel: the `lr_scheduler` and the `step_scheduler` in its YAML configs.

The rules are those of NVIDIA-NeMo/Automodel of August 2026 (`components/optim/`,
`components/training/step_scheduler.py`), whose scheduler is that of Megatron-LM.
"""

from collections.abc import Mapping
from typing import Any

import jax

from jaxlr._checks import check_positive_count
from jaxlr.frameworks import megatron
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import (
    Clip,
    Config,
    Framework,
    OptimizerError,
    Recipe,
    TorchOptimizer,
    missing,
    torch_class,
)
from jaxlr.schedules import Phase, phased_lr


_OF_MEGATRON = {  # the settings of Megatron-LM, by those of `lr_scheduler`
    "init_lr": "lr_warmup_init",
    "min_lr": "min_lr",
    "lr_warmup_steps": "lr_warmup_iters",
    "lr_decay_steps": "lr_decay_iters",
    "lr_decay_style": "lr_decay_style",
    "wsd_decay_steps": "lr_wsd_decay_iters",
    "lr_wsd_decay_style": "lr_wsd_decay_style",
}
_OF_WEIGHT_DECAY = ("start_wd", "end_wd", "wd_incr_steps")


def read(config: Config) -> Recipe:
    """Read `optimizer`, `lr_scheduler` and `step_scheduler`. A count is an update."""
    optimizer, scheduler = config.inner("optimizer"), config.inner("lr_scheduler")
    base = optimizer.base_rate("lr")
    rate = base if config.init_value is not None else scheduler.number("max_lr", base)
    total = _updates(config)
    if not config.has("lr_scheduler"):
        config.assume("The config has no lr_scheduler, so the rate is constant.")
        recipe = config.recipe("megatron", phased_lr(rate, [Phase()]), "update", total)
    else:
        scheduler.refuse(*_OF_WEIGHT_DECAY, reason="it changes the weight decay")
        if total is None and not (scheduler.has("lr_warmup_steps") and scheduler.has("lr_decay_steps")):
            raise missing("max_steps", "names={'max_steps': ...}, or steps_per_epoch")
        if isinstance(base, jax.Array) and not (scheduler.has("init_lr") and scheduler.has("min_lr")):
            raise ValueError(
                "init_lr and min_lr are parts of init_value, which must be a number: give both"
            )
        defaults: dict[str, Any] = {"lr_decay_style": "cosine", "lr_decay_steps": total}
        defaults |= {"init_lr": base * 0.1, "min_lr": base * 0.01}
        defaults |= {"lr_warmup_steps": min(1000, (total or 0) // 10)}
        scheduler = with_defaults(scheduler, defaults, "NeMo Automodel")
        flags = {flag: scheduler.get(name) for name, flag in _OF_MEGATRON.items()}
        recipe = megatron.read(
            config.of({**flags, "lr": rate, "train_iters": total, "global_batch_size": 1})
        )
    return recipe._replace(
        framework="nemo_automodel",
        optimizer=_class_of(optimizer).rpartition(".")[2] or None,
        weight_decay=optimizer.stated("weight_decay"),
        clip=_clip(config).size,
    )


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer that `_target_` names. All parameters decay."""
    settings = config.inner("optimizer")
    settings.refuse("param_group_overrides", reason="it multiplies some rates", error=OptimizerError)
    options = settings.options("_target_", "lr", "params")
    name = torch_class(_class_of(settings))
    return TorchOptimizer(name, options, _clip(config), batches_per_update=_accumulation(config) or 1)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    optimizer, scheduler = settings.get("optimizer"), settings.get("step_scheduler")
    return isinstance(optimizer, Mapping) and isinstance(scheduler, Mapping) and "lr" in optimizer


FRAMEWORK = Framework(
    name="nemo_automodel", read=read, optimizer=optimizer, recognizes=_recognizes, aliases=("automodel",)
)


def _class_of(optimizer: Config) -> str:
    return optimizer.text("_target_", "")


def _clip(config: Config) -> Clip:
    """Return the clipping, to the norm 1 by default."""
    return Clip(config.inner("clip_grad_norm").number("max_norm", 1.0))


def _accumulation(config: Config) -> int | None:
    """Return the batches of a process in an update. None if `num_processes` is not known."""
    if config.num_processes is None:
        return None
    steps = with_defaults(config.inner("step_scheduler"), {"global_batch_size": 32}, "NeMo Automodel")
    batch = steps.positive_count("local_batch_size", 1) * config.num_processes
    number = steps.positive_count("global_batch_size") / batch
    return check_positive_count("global_batch_size / local_batch_size / num_processes", number)


def _updates(config: Config) -> int | None:
    """Return the updates of all epochs, or `max_steps` if they are fewer or not known."""
    steps = config.inner("step_scheduler")
    most = steps.count("max_steps", None)
    is_unlimited = config.epochs is None and steps.settings.get("num_epochs", 10) is None
    if most is not None and (is_unlimited or config.steps_per_epoch is None):
        config.assume(f"The run has max_steps, {most} updates: its epochs have at least as many.")
        return most
    if config.steps_per_epoch is None:
        return None
    config.num_processes_for("an update has the batches of all data-parallel processes")
    updates = -(-config.steps_per_epoch // (_accumulation(config) or 1))
    steps = with_defaults(steps, {"num_epochs": 10}, "NeMo Automodel", epochs="num_epochs")
    total = updates * steps.whole_epochs("num_epochs")
    return total if most is None else min(total, most)
