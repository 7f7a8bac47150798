"""Axolotl: its YAML configs, with the schedules that it adds to those of transformers.

The rules are those of axolotl 0.19.0 (`utils/schedulers.py`, `core/trainers/mixins/scheduler.py`,
`core/builders/base.py`, `utils/trainer.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

import optax

from jaxlr._checks import check_value
from jaxlr.frameworks import huggingface
from jaxlr.frameworks._curves import warmup, warmup_ahead, waves
from jaxlr.frameworks.huggingface_schedules import ENDLESS, NEWEST_RULES, PLATEAUS, get_scheduler
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import (
    Phase,
    chained_scheduler,
    one_cycle_lr,
    one_cycle_momentum,
    phased_lr,
    starting_at,
)
from jaxlr.schedules._schedule import Schedule, prints_as_call


def read(config: Config) -> Recipe:
    """Read `lr_scheduler`, its settings and the warmup. A count is an update of the weights."""
    config.refuse("relora_steps", reason="write the relora_..._steps as jagged_restart_..._steps")
    init_value = _rate_of_group(config)
    name = config.text_or_default("lr_scheduler", "cosine", "axolotl")
    config.state(optimizer=config.stated_text("optimizer"), clip=config.stated_clip("max_grad_norm"))
    if name in PLATEAUS:
        keywords = huggingface.scheduler_keywords(config, name)
        schedule = get_scheduler(init_value, name, scheduler_specific_kwargs=keywords)
        return config.recipe("axolotl", schedule, "evaluation", huggingface.num_evaluations(config))
    num_steps = _num_steps(config, needed=name not in ENDLESS or _warmup_needs_length(config, name))
    warm = 0 if name == "constant" else _num_warmup_steps(config, num_steps)
    build = _jagged if config.has("jagged_restart_steps") else _schedule
    schedule = build(config, init_value, name, warm, num_steps)
    return config.recipe("axolotl", schedule, "update", num_steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of the Trainer, whose default is 'adamw_torch_fused'."""
    for name in ("embedding_lr", "embedding_lr_scale", "lr_groups"):
        config.refuse(name, reason="it gives a parameter group a rate of its own", error=OptimizerError)
    return huggingface.optimizer(config)


FRAMEWORK = Framework(
    name="axolotl",
    read=read,
    optimizer=optimizer,
    marks=(
        ("base_model", "learning_rate"),
        ("base_model", "lr_scheduler"),
        ("micro_batch_size", "lr_scheduler"),
        ("lr_scheduler", "cosine_min_lr_ratio"),
        ("lr_scheduler", "lr_quadratic_warmup"),
        ("lr_scheduler", "jagged_restart_steps"),
    ),
    has_versions=True,
)


def _schedule(config: Config, init_value: Any, name: str, warm: Any, num_steps: Any) -> Any:
    """Return the schedule that the trainer builds, without jagged restarts."""
    floor = config.number("cosine_min_lr_ratio", 0.0)
    if floor > 1:
        raise ValueError(f"cosine_min_lr_ratio must be at most 1, got {floor!r}")
    if name == "one_cycle":
        return _one_cycle(config, config.base_rate("learning_rate"), warm, num_steps)
    if name == "rex":
        return _rex(init_value, warm, num_steps, floor, config.base_rate("learning_rate") * floor)
    if name == "cosine" and config.flag("lr_quadratic_warmup"):
        ramp = Phase(warm, "power", start_factor=0.0, end_factor=1.0, power=2.0)
        return waves(init_value, [ramp], max(1, num_steps - warm), 0.5, end_factor=0.0)
    constant = config.number("cosine_constant_lr_ratio", 0.0)
    if name == "cosine" and floor > 0:
        if constant > 0:
            return _cosine_then_constant(init_value, warm, num_steps, floor, constant)
        return waves(init_value, [warmup(warm)], max(1, num_steps - warm), 0.5, end_factor=floor)
    keywords = huggingface.scheduler_keywords(config, name)
    version = config.version_text or NEWEST_RULES
    return get_scheduler(init_value, name, warm, num_steps, keywords, version=version)


def _rex(init_value: Any, warm: int, num_steps: int, floor: float, lowest: Any) -> Any:
    """Return the REX schedule, which is one step ahead. All groups end at the same lowest rate."""
    phases, rest = [warmup_ahead(warm)], num_steps - warm
    if rest > 1:
        phases.append(Phase(rest - 1, "rex", start_factor=1.0, end_factor=floor, offset=1, span=rest))
    return phased_lr(init_value, [*phases, Phase(start_value=lowest)])


def _cosine_then_constant(init_value: Any, warm: int, num_steps: int, floor: float, constant: float) -> Any:
    end = int(num_steps * constant)
    if end < warm:
        raise ValueError(f"cosine_constant_lr_ratio ends the cosine at step {end}, in the warmup of {warm}")
    fall = Phase(start_factor=1.0)
    if end > warm:
        fall = Phase(end - warm, "cosine", start_factor=1.0, end_factor=floor)
    return phased_lr(init_value, [warmup(warm), fall])


def _one_cycle(config: Config, init_value: Any, warm: int, num_steps: int) -> Any:
    """Return torch's OneCycleLR with the warmup as its rise. The config may replace its settings."""
    settings = config.inner("lr_scheduler_kwargs")
    keywords: dict[str, Any] = {"pct_start": warm / num_steps}
    kinds = dict.fromkeys(("pct_start", "div_factor", "final_div_factor"), settings.number)
    kinds |= {"anneal_strategy": settings.text, "three_phase": settings.flag}
    for name in settings.settings:
        if name not in kinds:
            raise ValueError(
                f"lr_scheduler_kwargs of one_cycle has the keyword {name!r}, which is not supported"
            )
        keywords[name] = kinds[name](name)
    rise = {name: keywords[name] for name in keywords if not name.endswith("div_factor")}
    config.state(momentum=one_cycle_momentum(total_steps=num_steps, **rise))
    return one_cycle_lr(init_value, num_steps, **keywords)


def _jagged(config: Config, init_value: Any, name: str, warm: Any, num_steps: Any) -> Any:
    """Return a schedule with restarts, each with a warmup and a fall of its own, one step ahead."""
    if name == "rex":
        raise ValueError("jagged_restart_steps is not supported with the lr_scheduler 'rex'")
    length = config.count("jagged_restart_steps")
    rise = config.count("jagged_restart_warmup_steps", 0) if _is_on(config, "warmup") else 10
    fall = config.count("jagged_restart_anneal_steps", 0) if _is_on(config, "anneal") else 1
    if rise + fall > length:
        raise ValueError("the warmup and the anneal steps must fit into jagged_restart_steps")
    low = config.number("cosine_min_lr_ratio", 0.0) or 0.001
    ends: Any = {"start_factor": 1.0, "end_factor": low}
    down = Phase(fall - 1, "linear", offset=1, span=fall, **ends)
    up = Phase(rise, "linear", start_factor=low, end_factor=1.0)
    first, later = (Phase(steps, start_factor=1.0) for steps in (length - fall, length - fall - rise + 1))
    scale = phased_lr(1.0, [first, down, up, later, down], repeat=3)
    return chained_scheduler(init_value, [ahead(_schedule(config, 1.0, name, warm, num_steps)), scale])


def _is_on(config: Config, kind: str) -> bool:
    return config.get(f"jagged_restart_{kind}_steps") not in (None, False, 0, "false")


@prints_as_call
def ahead(schedule: optax.Schedule) -> optax.Schedule:
    """Return a schedule that is one step ahead, as a factor of the rate."""
    return Schedule(starting_at(schedule, 1), init_value=1.0, functions=(schedule,))


def _rate_of_group(config: Config) -> Any:
    """Return the base rate of the parameter group, and state the groups and the weight decay."""
    rate = config.base_rate("learning_rate")
    if config.has("loraplus_lr_ratio"):
        config.state(weight_decay=config.stated("weight_decay"))
        return huggingface.lora_plus_rate(config, rate)
    own = _own_rates(config)
    if not own and not config.has("embedding_lr") and not config.has("embedding_lr_scale"):
        group = config.groups("weights", "biases and norms")
        config.state(weight_decay=config.stated_decay(is_undecayed=group == 1))
        return rate
    group = config.groups("weights", "embeddings", "biases and norms", *own)
    config.state(weight_decay=config.stated_decay(is_undecayed=group in (1, 2)))
    if group == 1:
        scale = config.number("embedding_lr_scale", 0.0)
        return rate * scale if scale else config.number("embedding_lr", rate)
    return rate if group in (0, 2) else [*own.values()][group - 3]


def _own_rates(config: Config) -> dict[str, float]:
    """Return the rates of `lr_groups` by name."""
    groups = config.get("lr_groups") or []
    if not isinstance(groups, list) or not all(isinstance(group, Mapping) for group in groups):
        raise ValueError("lr_groups must be a list of groups, each with name, modules and lr")
    inner = [config.of(group) for group in groups]
    return {group.text("name"): check_value("lr", group.number("lr")) for group in inner}  # pyright: ignore[reportReturnType]


def _warmup_needs_length(config: Config, name: str) -> bool:
    return name != "constant" and 0 < config.number("warmup_steps", 0.5) < 1


def _num_steps(config: Config, needed: bool) -> int | None:
    """Return `max_steps`, or the updates of all epochs as axolotl estimates them."""
    if config.signed("max_steps", 0.0) > 0:
        return config.count("max_steps")
    if not needed and config.steps_per_epoch is None:
        return None
    if config.get("rl") in ("grpo", "ebft"):
        return huggingface.num_training_steps(config, needed=True)
    return _estimate(config)


def _estimate(config: Config) -> int:
    if config.flag("sample_packing") and config.has("sample_packing_eff_est"):
        raise ValueError(
            "with sample_packing_eff_est the length of the run depends on the tokens: give "
            "names={'max_steps': ...}, the maximum number of steps that axolotl prints"
        )
    epochs = config.num_epochs("num_epochs")
    accumulation = config.accumulation()
    if config.flag("sample_packing"):
        steps = math.floor(max(1, config.steps_in_epoch() // accumulation) * epochs)
        steps -= math.ceil(epochs) if config.flag("dataloader_drop_last") else 0
        config.assume(
            f"The run has {steps} updates: with sample_packing, axolotl rounds those of an epoch down."
        )
        return steps
    if config.has("num_examples"):
        processes = config.num_processes_for(
            "num_examples gives the length of the run only with num_processes"
        )
        batch = config.count("micro_batch_size") * accumulation * processes
        return math.ceil(config.count("num_examples") * epochs / max(1, batch))
    batches = config.steps_in_epoch()
    steps = math.ceil(batches * epochs / accumulation)
    fewest = math.floor((batches - 1) * epochs / accumulation) + 1
    if fewest < steps:
        config.assume(
            f"The run has {steps} updates if the last batch of an epoch is full, else at least {fewest}: "
            "names={'num_examples': ...} and num_processes give the number."
        )
    return steps


def _num_warmup_steps(config: Config, num_steps: int | None) -> Any:
    """Return the updates of the warmup. The default is 3 % of the run, and at most 100."""
    length: Any = num_steps
    if config.has("max_steps") and config.steps_per_epoch is not None and config.has("num_epochs"):
        length = min(_estimate(config), length)
    if config.has("warmup_steps"):
        steps = config.number("warmup_steps")
        if 0 < steps < 1:
            config.assume(
                f"warmup_steps below 1 is a fraction of the run, as in transformers 5: {steps:g}."
            )
            return math.ceil(length * steps)
        return 2 if steps == 1 else config.count("warmup_steps")
    if config.has("warmup_ratio"):
        steps = int(config.number("warmup_ratio") * length)
        config.assume(f"The warmup has {steps} updates: warmup_ratio of {length}, rounded down.")
    else:
        steps = min(int(0.03 * length), 100)
        config.assume(
            f"The warmup has {steps} updates, the default of axolotl: 3 % of the run, at most 100."
        )
    return 2 if steps == 1 else steps
