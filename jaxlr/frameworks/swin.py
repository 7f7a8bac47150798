"""Swin Transformer: the YAML configs of its repository, with timm's schedulers stepped one update late.

The rules are those of July 2024 (`lr_scheduler.py`, `config.py`, `main.py`), on timm 0.4.12.
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.frameworks.timm_schedules import CosineLRScheduler, StepLRScheduler
from jaxlr.schedules import Phase, multi_step_lr, phased_lr, sequential_lr


def read(config: Config) -> Recipe:
    """Read `TRAIN` and its `LR_SCHEDULER`. A count is an update of the weights."""
    train = config.inner("TRAIN")
    updates = _updates_per_epoch(config, train)
    epochs = train.whole_epochs("EPOCHS") if train.has("EPOCHS") or config.epochs else 300
    num_steps, warm = epochs * updates, int(train.number("WARMUP_EPOCHS", 20) * updates)
    scale = _scale(config, train)
    if config.init_value is None:
        init_value = train.number("BASE_LR", 5e-4) * scale
        config.assume(f"The rate is {init_value:g}: BASE_LR by the global batch size over 512.")
    else:
        init_value = train.base_rate("BASE_LR")
    ramp: dict[str, Any] = {"warmup_t": warm, "warmup_lr_init": train.number("WARMUP_LR", 5e-7) * scale}
    lowest = train.number("MIN_LR", 5e-6) * scale
    schedule = _schedule(train.inner("LR_SCHEDULER"), init_value, num_steps, updates, ramp, lowest)
    first = ramp["warmup_lr_init"] if warm > 0 else init_value
    config.assume("Update 0 and update 1 run at the same rate, because the scheduler is one update late.")
    config.state(
        optimizer=train.inner("OPTIMIZER").text("NAME", "adamw"),
        weight_decay=train.number("WEIGHT_DECAY", 0.05),
        clip=train.number("CLIP_GRAD", 5.0) or None,
    )
    late = sequential_lr([phased_lr(init_value, [Phase(start_value=first)]), schedule], [1])
    return config.recipe("swin", late, "update", num_steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `build_optimizer` (`optimizer.py`)."""
    train = config.inner("TRAIN")
    settings = train.inner("OPTIMIZER")
    if train.number("LAYER_DECAY", 1.0) != 1:
        raise OptimizerError("LAYER_DECAY gives each layer a rate of its own")
    train = with_defaults(train, {"WEIGHT_DECAY": 0.05, "CLIP_GRAD": 5.0}, "config.py")
    name = settings.text("NAME", "adamw").lower()
    options: dict[str, Any] = {"weight_decay": train.number("WEIGHT_DECAY")}
    if name == "sgd":
        options |= {"momentum": settings.number("MOMENTUM", 0.9), "nesterov": True}
    elif name == "adamw":
        betas = settings.numbers("BETAS", [0.9, 0.999])
        options |= {"eps": settings.number("EPS", 1e-8), "betas": tuple(betas)}
    else:
        raise OptimizerError(f"NAME of OPTIMIZER must be 'adamw' or 'sgd', got {shown_value(name)}")
    undecayed = ("biases", "vectors", "the names in model.no_weight_decay()")
    cls = "SGD" if name == "sgd" else "AdamW"
    return TorchOptimizer(cls, options, train.clip("CLIP_GRAD"), undecayed)


def _schedule(
    scheduler: Config, init_value: Any, num_steps: int, updates: int, ramp: dict[str, Any], lowest: float
) -> Any:
    name = scheduler.text("NAME", "cosine")
    warm = ramp["warmup_t"]
    if warm >= num_steps and name in ("cosine", "linear"):
        epochs = f"{warm / updates:g} and {num_steps // updates}"
        raise ValueError(f"WARMUP_EPOCHS must be below EPOCHS, got {epochs}")
    line = Phase(warm, "linear", start_value=ramp["warmup_lr_init"], end_factor=1.0)
    match name:
        case "cosine":
            prefix = with_defaults(scheduler, {"WARMUP_PREFIX": True}, "config.py").flag("WARMUP_PREFIX")
            length = num_steps - warm if prefix else num_steps
            return CosineLRScheduler(init_value, length, lowest, warmup_prefix=prefix, **ramp)
        case "linear":
            return phased_lr(init_value, [line, Phase(num_steps - warm, "linear", end_factor=0.01)])
        case "step":
            step = int(scheduler.number("DECAY_EPOCHS", 30) * updates)
            rate = scheduler.number("DECAY_RATE", 0.1)
            return StepLRScheduler(init_value, step, rate, warmup_prefix=False, **ramp)
        case "multistep":
            milestones = [int(epoch * updates) for epoch in scheduler.numbers("MULTISTEPS", [])]
            if not milestones or min(milestones) < warm:
                raise ValueError(
                    f"MULTISTEPS must be epochs after the warmup, got {shown_value(milestones)}"
                )
            gamma = scheduler.number("GAMMA", 0.1)
            decay = multi_step_lr(init_value, [step - warm for step in milestones], gamma)
            return sequential_lr([phased_lr(init_value, [line]), decay], [warm]) if warm else decay
    known = "'cosine', 'linear', 'step' or 'multistep'"
    raise ValueError(f"NAME of LR_SCHEDULER must be {known}, got {shown_value(name)}")


def _is_swin(settings: Mapping[str, Any]) -> bool:
    model = settings.get("MODEL")
    return isinstance(model, Mapping) and str(model.get("TYPE")).lower().startswith("swin")


FRAMEWORK = Framework(name="swin", read=read, optimizer=optimizer, recognizes=_is_swin)


def _updates_per_epoch(config: Config, train: Config) -> int:
    batches, accumulation = config.steps_in_epoch(), train.count("ACCUMULATION_STEPS", 1)
    if accumulation > 1 and (batches % accumulation or config.inner("MODEL").has("SIMMIM")):
        raise ValueError(
            f"ACCUMULATION_STEPS={accumulation} is supported only by main.py, and if it divides the "
            f"{batches} batches of an epoch"
        )
    return batches // max(1, accumulation)


def _scale(config: Config, train: Config) -> float:
    processes = config.num_processes_for("the rates are scaled by the global batch size")
    data = with_defaults(config.inner("DATA"), {"BATCH_SIZE": 128}, "config.py")
    return data.count("BATCH_SIZE") * processes * train.accumulation("ACCUMULATION_STEPS") / 512
