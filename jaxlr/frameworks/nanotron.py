"""Nanotron: the `learning_rate_scheduler` in its YAML configs, such as those of SmolLM.

The rules are those of huggingface/nanotron of April 2026 (`src/nanotron/helpers.py`, `config/config.py`).
"""

from typing import Any

from jaxlr._checks import shown_value
from jaxlr.frameworks._curves import between
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules.phases import Shape


_SHAPES: dict[str, Shape] = {"linear": "linear", "cosine": "cosine", "1-sqrt": "1-sqrt"}
_DEFAULTS = {"lr_warmup_steps": 0, "lr_decay_style": "linear"}


def read(config: Config) -> Recipe:
    """Read `learning_rate_scheduler` and `train_steps`. A count is an update of the weights."""
    optimizer, tokens = config.inner("optimizer"), config.inner("tokens")
    scheduler = optimizer.inner("learning_rate_scheduler") if optimizer.settings else config
    factory = _factory(optimizer)
    config.state(optimizer=factory.stated_text("name"), momentum=factory.stated("adam_beta1"))
    config.state(weight_decay=optimizer.stated("weight_decay"), clip=optimizer.stated_clip("clip_grad"))
    rate = scheduler.base_rate("learning_rate")
    updates = tokens.count("train_steps", None)
    scheduler = with_defaults(scheduler, _DEFAULTS, "nanotron")
    warmup = scheduler.count("lr_warmup_steps")
    start = scheduler.count("lr_decay_starting_step", None)
    steps = scheduler.count("lr_decay_steps", None)
    if steps is None:
        total = tokens.positive_count("train_steps")
        # Nanotron takes off the warmup too where the decay has a step to start at.
        steps = max(0, total - warmup - (start or 0))
        scheduler.assume(f"The decay has {steps} updates: those of the run, without the ones before it.")
    if warmup == 0 and steps == 0:
        raise ValueError("lr_decay_steps must be above 0 without a warmup, got 0")
    shape = _SHAPES[scheduler.choice("lr_decay_style", _SHAPES)]
    start = warmup if start is None else start
    low: dict[str, Any] = {"end_factor": 1.0}
    if scheduler.has("min_decay_lr"):
        low = {"end_value": scheduler.number("min_decay_lr")}
    else:
        scheduler.assume("The config has no min_decay_lr, so the rate does not decay.")
    first, end = max(warmup + 1, start), start + steps  # update `warmup` belongs to the warmup
    phases = [_ramp(scheduler, warmup), Phase(first - warmup - 1, start_factor=1.0)]
    if first < end:
        phases.append(between(start, end, (first, end), shape, **low))
    rest = {name.replace("end_", "start_"): value for name, value in low.items()}
    schedule = phased_lr(rate, [*phases, Phase(**rest)])
    return config.recipe("nanotron", schedule, "update", updates)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `init_optimizer_and_grad_accumulator`. All parameters decay by default."""
    settings = config.inner("optimizer")
    factory = _factory(settings)
    if config.inner("model").inner("init_method").flag("use_mup"):
        raise OptimizerError("use_mup gives some layers rates of their own")
    options: dict[str, Any] = {"weight_decay": settings.number("weight_decay")}
    name = factory.choice("name", ("adamW", "sgd"), "adamW")
    if name == "adamW":
        betas = (factory.number("adam_beta1"), factory.number("adam_beta2"))
        options |= {"betas": betas, "eps": factory.number("adam_eps")}
    patterns = settings.get("weight_decay_exclude_named_params")
    undecayed = (f"parameters like {shown_value(patterns)}",) if patterns else ()
    cls = "AdamW" if name == "adamW" else "SGD"
    return TorchOptimizer(cls, options, settings.clip("clip_grad"), undecayed)


FRAMEWORK = Framework(
    name="nanotron",
    read=read,
    optimizer=optimizer,
    marks=(
        ("lr_warmup_style",),
        ("lr_decay_starting_step",),
        ("min_decay_lr",),
        ("optimizer.learning_rate_scheduler",),
    ),
)


def _factory(optimizer: Config) -> Config:
    """Return the section of the optimizer's class. Before 2024 its settings were beside the others."""
    return optimizer.inner("optimizer_factory") if optimizer.has("optimizer_factory") else optimizer


def _ramp(scheduler: Config, warmup: int) -> Phase:
    """Return the updates from 0 to `warmup`. Without a warmup, update 0 has the rate 0."""
    if scheduler.choice("lr_warmup_style", ("linear", "constant"), "linear") == "constant":
        return Phase(warmup + 1, start_factor=1.0)
    return Phase(warmup + 1, "linear", start_factor=0.0, end_factor=1.0, span=max(1, warmup))
