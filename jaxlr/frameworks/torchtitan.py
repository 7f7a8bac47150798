"""Torchtitan: its TOML configs and flags, which flame and other forks share.

The rules are those of torchtitan 0.1 to 0.3 (`components/lr_scheduler.py`), and of its source before June
2025.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from jaxlr._checks import check_choice, shown_value
from jaxlr.frameworks import mmpython
from jaxlr.frameworks._curves import warmup_ahead
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.files import read_config
from jaxlr.frameworks.flags import in_sections
from jaxlr.frameworks.recipe import (
    Config,
    Framework,
    OptimizerError,
    Recipe,
    TorchOptimizer,
    section,
)
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules.phases import Shape


_SHAPES: dict[str, Shape] = {"linear": "linear", "sqrt": "1-sqrt", "cosine": "cosine"}
_SCHEDULER = ("warmup_steps", "total_steps", "decay_ratio", "decay_type", "min_lr_factor", "lr_min")
_DEFAULTS = {"warmup_steps": 200, "decay_type": "linear", "min_lr_factor": 0.0}
_OPTIMIZER_DEFAULTS = {"name": "AdamW", "beta1": 0.9, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.1}
_NO_OPTIONS = ("lr", "fused", "foreach", "implementation", "early_step_in_backward", "config")
_SECTIONS = ("optimizer", "lr_scheduler", "training", "job")

# The releases since June 2025, the source of April and May 2025, and the source before.
Rule = Literal["release", "spring", "first"]


def read(config: Config) -> Recipe:
    """Read `optimizer`, `lr_scheduler` and `training`. A count is an update of the weights."""
    config = config.of(_with_file(in_sections(config.settings, _SECTIONS)))
    optimizer = config.inner("optimizer")
    if config.init_value is None:
        optimizer = _completed(config, optimizer, {"lr": 8e-4})
    init_value = optimizer.base_rate("lr")
    training = _completed(config, config.inner("training"), {"steps": 10_000})
    config.state(optimizer=optimizer.stated_text("name"), weight_decay=optimizer.stated("weight_decay"))
    config.state(momentum=optimizer.stated("beta1"), clip=training.stated_clip("max_norm"))
    steps = training.positive_count("steps")
    scheduler = config.inner("lr_scheduler")
    for name in scheduler.settings:
        check_choice("a setting of lr_scheduler", name, _SCHEDULER)
    is_first = training.has("warmup_steps") and not scheduler.has("warmup_steps")
    if is_first:
        scheduler = config.of({**scheduler.settings, "warmup_steps": training.count("warmup_steps")})
    scheduler = _completed(config, scheduler, _DEFAULTS)
    schedule = phased_lr(init_value, _phases(scheduler, steps, "first" if is_first else _rule(config)))
    return config.recipe("torchtitan", schedule, "update", steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `build_optimizers`. All parameters decay."""
    config = config.of(_with_file(in_sections(config.settings, _SECTIONS)))
    stated = _completed(config, config.inner("optimizer"), _OPTIMIZER_DEFAULTS)
    training = _completed(config, config.inner("training"), {"max_norm": 1.0})
    stated.refuse("early_step_in_backward", reason="it does not clip gradients", error=OptimizerError)
    for option in stated.settings:
        if option not in (*_OPTIMIZER_DEFAULTS, *_NO_OPTIONS):
            raise OptimizerError(f"the setting {option!r} of [optimizer] is not supported")
    if stated.text("implementation", "fused") == "fused_opt_states_bf16":
        raise OptimizerError("implementation 'fused_opt_states_bf16' has a state of 16 bits")
    name = check_choice("name of the optimizer", stated.text("name"), ("Adam", "AdamW"))
    betas = (stated.number("beta1"), stated.number("beta2"))
    options = {"betas": betas, "eps": stated.number("eps"), "weight_decay": stated.number("weight_decay")}
    return TorchOptimizer(name, options, training.clip("max_norm"))


def _recognizes(settings: Mapping[str, Any]) -> bool:
    settings = in_sections(settings, _SECTIONS)
    if "config_file" in section(settings, "job"):
        return True
    # Many programs have these sections, so one more sign is needed.
    has_model = "flavor" in section(settings, "model")
    is_its_own = "job" in settings or has_model or {"module", "config"} <= settings.keys()
    has_settings = not section(settings, "lr_scheduler").keys().isdisjoint(_SCHEDULER[2:])
    return "steps" in section(settings, "training") and (is_its_own or has_settings)


FRAMEWORK = Framework(
    name="torchtitan",
    read=read,
    optimizer=optimizer,
    aliases=("flame",),
    recognizes=_recognizes,
    has_versions=True,
)


def _with_file(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Merge the flags of a command into the file that it names."""
    name = section(settings, "job").get("config_file")
    if name is None:
        return settings
    if not isinstance(name, str) or not name.endswith(".toml"):
        raise ValueError(f"job.config_file must be the path of a .toml file, got {shown_value(name)}")
    try:
        found = read_config(Path(name))
    except OSError as error:
        reason = error.strerror or "it cannot be opened"
        raise ValueError(
            f"cannot read the job.config_file {shown_value(name)}: {reason}; "
            "give its path from this folder, or leave the flag out to take the defaults of torchtitan"
        ) from None
    return mmpython.merged(dict(found), dict(settings))


def _completed(config: Config, stated: Config, defaults: Mapping[str, Any]) -> Config:
    """Return a section with the defaults of torchtitan, which `--config llama3_8b` would replace."""
    if stated.has("lr_min") and not stated.has("min_lr_factor"):
        stated = config.of({**stated.settings, "min_lr_factor": stated.get("lr_min")})
    if config.has("config"):
        return config.of({**stated.settings, "config": config.get("config")})
    return with_defaults(stated, defaults, "torchtitan")


def _rule(config: Config) -> Rule:
    since = config.since(2025, 6)
    if since is None:
        config.assume(
            "Update k of the warmup has (k + 1) / warmup_steps of the rate, as in torchtitan since June "
            "2025. With version='2025.5' it has (k + 1) / (warmup_steps + 1)."
        )
        return "release"
    if since or not config.since(2000):  # a date, or a release such as 0.2
        return "release"
    return "spring" if config.since(2025, 4) else "first"


def _phases(scheduler: Config, steps: int, rule: Rule) -> list[Phase]:
    """Return a warmup that begins above 0, a constant, and a decay."""
    total, warmup = scheduler.count("total_steps", steps), scheduler.count("warmup_steps")
    if total < steps:
        raise ValueError(f"total_steps must be at least steps of training, got {total} and {steps}")
    if warmup > total and rule == "release":
        scheduler.assume(f"The warmup has {total} updates, all of the run: {warmup} are more.")
        warmup = total
    decay = max(0, total - warmup)
    if scheduler.has("decay_ratio") or scheduler.has("config"):
        decay = min(decay, round(total * scheduler.number("decay_ratio")))
    else:
        scheduler.assume("The config has no decay_ratio, so the decay begins after the warmup.")
    shape = _SHAPES[scheduler.choice("decay_type", _SHAPES)]
    floor = scheduler.number("min_lr_factor")
    # Where the decay begins one step ahead, only the releases keep one more update at the whole rate.
    ahead, more, span = {"release": (1, 1, 0), "spring": (1, 0, 1), "first": (0, 0, 0)}[rule]
    ramp = warmup_ahead(warmup, None if rule == "release" else warmup + 1)
    if decay == 0:
        return [ramp, Phase(start_factor=1.0)]
    stable = Phase(max(0, total - warmup - decay) + more, start_factor=1.0)
    ends: Any = {"start_factor": 1.0, "end_factor": floor}
    return [ramp, stable, Phase(decay, shape, offset=ahead, span=decay + span, **ends)]
