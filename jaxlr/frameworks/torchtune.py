"""Torchtune: the YAML configs of its recipes.

The rules are those of torchtune 0.6.1 (`training/lr_schedulers.py` and
`recipes/full_finetune_single_device.py`).
"""

from jaxlr._checks import shown_value
from jaxlr.frameworks.huggingface_schedules import get_cosine_schedule_with_warmup
from jaxlr.frameworks.recipe import Config, Framework, Recipe, TorchOptimizer, torch_class
from jaxlr.schedules import Phase, phased_lr


def read(config: Config) -> Recipe:
    """Read `optimizer`, `lr_scheduler` and `epochs`. A count is an update of the weights."""
    optimizer = config.inner("optimizer")
    init_value = optimizer.base_rate("lr")
    config.state(
        optimizer=optimizer.stated_text("_component_"),
        weight_decay=optimizer.stated("weight_decay"),
        clip=config.stated_clip("clip_grad_norm"),
    )
    if not config.has("lr_scheduler"):
        config.assume("The config has no lr_scheduler, so the rate is constant.")
        has_epochs = config.has("epochs") or config.epochs is not None
        steps = _num_steps(config) if has_epochs and config.steps_per_epoch is not None else None
        return config.recipe("torchtune", phased_lr(init_value, [Phase()]), "update", steps)
    scheduler = config.inner("lr_scheduler")
    component = scheduler.text("_component_")
    if component.rpartition(".")[2] != "get_cosine_schedule_with_warmup":
        raise ValueError(
            "the _component_ of lr_scheduler must be 'torchtune.training.lr_schedulers."
            f"get_cosine_schedule_with_warmup', got {shown_value(component)}"
        )
    steps = _num_steps(config)
    schedule = get_cosine_schedule_with_warmup(
        init_value, scheduler.count("num_warmup_steps"), steps, scheduler.number("num_cycles", 0.5)
    )
    return config.recipe("torchtune", schedule, "update", steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer that `_component_` names. All parameters decay."""
    settings = config.inner("optimizer")
    name = torch_class(settings.text("_component_"))
    options = settings.options("_component_", "lr", "params")
    logs_only = str(config.get("clip_grad_norm")).lower() == "inf"
    return TorchOptimizer(name, options, None if logs_only else config.clip("clip_grad_norm"))


FRAMEWORK = Framework(name="torchtune", read=read, marks=(("optimizer._component_",),), optimizer=optimizer)


def _num_steps(config: Config) -> int:
    """Return the updates of all epochs. Those of an epoch are rounded down."""
    accumulation = config.accumulation()
    updates = config.steps_in_epoch() // accumulation
    if updates == 0:
        raise ValueError(
            f"an epoch of {config.steps_per_epoch} batches has no update, because "
            f"gradient_accumulation_steps is {accumulation}"
        )
    most = config.count("max_steps_per_epoch", updates)
    return config.whole_epochs("epochs") * min(updates, most)
