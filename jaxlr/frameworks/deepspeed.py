"""DeepSpeed: the `scheduler` of its JSON config.

The rules are those of DeepSpeed of August 2026 (`deepspeed/runtime/lr_schedules.py`, `runtime/engine.py`).
In a warmup, the constructor sets the rate of update 0, and update 1 sets it again. Both run at the lowest.
"""

from collections.abc import Callable
from typing import Any

from jaxlr._checks import check_choice, shown_value
from jaxlr.frameworks._curves import between
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer, section
from jaxlr.schedules import Phase, phased_lr


_CLASSES = {"adam": "Adam", "adamw": "AdamW", "adagrad": "Adagrad", "lion": "Lion"}
_WITHOUT_BETAS = ("sgd", "rmsprop", "adagrad", "adadelta", "rprop", "asgd", "adafactor", "muon", "musgd")
_OWN_RULES = ("onebitadam", "zerooneadam", "lamb", "onebitlamb", "muadam", "muadamw", "musgd", "muon")


def read(config: Config) -> Recipe:
    """Read `scheduler: {type, params}` of a DeepSpeed config. A count is an update."""
    scheduler = config.inner("scheduler")
    name = check_choice("the type of a DeepSpeed scheduler", scheduler.text("type"), _TYPES)
    settings = scheduler.inner("params")
    if name.startswith("Warmup"):
        config.assume("Update 0 and update 1 run at the same rate, as in DeepSpeed since September 2024.")
    schedule, num_steps = _TYPES[name](config, settings)
    optimizer = config.inner("optimizer")
    config.state(optimizer=optimizer.stated_text("type"), clip=config.stated_clip("gradient_clipping"))
    config.state(weight_decay=optimizer.inner("params").stated("weight_decay"))
    return config.recipe("deepspeed", schedule, "update", num_steps)


def _warmup_lr(config: Config, settings: Config) -> tuple[Any, None]:
    if settings.has("warmup_max_lr") or config.init_value is not None:
        init_value = settings.base_rate("warmup_max_lr")
    else:
        init_value = config.inner("optimizer").inner("params").number("lr", argument="init_value")
    return phased_lr(init_value, _warmup(settings)), None


def _warmup_decay_lr(config: Config, settings: Config) -> tuple[Any, int]:
    if config.init_value is None and not settings.has("warmup_max_lr"):
        config.assume("warmup_max_lr is 0.001, the default of WarmupDecayLR, whatever the optimizer has.")
        init_value = 0.001
    else:
        init_value = settings.base_rate("warmup_max_lr")
    total, warmup = settings.count("total_num_steps"), _warmup_steps(settings)
    phases = _warmup(settings)
    if total <= warmup:
        raise ValueError(f"total_num_steps must be above warmup_num_steps, got {total} and {warmup}")
    floor = settings.number("warmup_min_lr", 0.0)
    return phased_lr(init_value, [*phases, Phase(total - warmup, "linear", end_value=floor)]), total


def _warmup_cosine_lr(config: Config, settings: Config) -> tuple[Any, int]:
    init_value = config.inner("optimizer").inner("params").base_rate("lr")
    total, warmup = settings.count("total_num_steps"), _warmup_steps(settings)
    first, last = settings.number("warmup_min_ratio", 0.0), settings.number("cos_min_ratio", 1e-4)
    phases = [Phase(1, start_factor=0.0), *_rise(settings, start_factor=first)]
    if total - warmup > 1:
        phases.append(between(warmup, total, (warmup + 1, total), "cosine", end_factor=last))
    config.assume(
        "Past total_num_steps the rate stays at its lowest, as in DeepSpeed of 2026. Before, it rose."
    )
    return phased_lr(init_value, [*phases, Phase(start_factor=last)]), total


def _one_cycle(config: Config, settings: Config) -> tuple[Any, None]:
    stairs = ("cycle_first_stair_count", "cycle_second_stair_count")
    settings.refuse(*stairs, reason="only a smooth cycle is read")
    first = settings.count("cycle_first_step_size", 2000)
    second = settings.count("cycle_second_step_size", first)
    phases = [
        Phase(first, "linear", start_factor=1.0, end_value=settings.number("cycle_max_lr")),
        Phase(second, "linear", end_factor=1.0),
    ]
    step_size, rate = settings.count("decay_step_size", 0), settings.number("decay_lr_rate", 0.0)
    if step_size > 0 and rate > 0:
        phases.append(Phase(shape="inverse_power", power=1.0, span=step_size / rate))
    if _cycles_momentum(config):
        config.state(momentum=_cycle_of_momentum(settings, first, second, step_size))
        config.assume(
            "The momentum is beta1 of Adam, and beta2 is 0.99. DeepSpeed leaves that of SGD alone."
        )
    return phased_lr(settings.base_rate("cycle_min_lr"), phases), None


def _cycles_momentum(config: Config) -> bool:
    """Check if OneCycle changes the momentum: only that of an optimizer with betas."""
    kind = (config.inner("optimizer").stated_text("type") or "Adam").lower()
    settings = config.inner("scheduler").inner("params")
    return kind not in _WITHOUT_BETAS and settings.flag("cycle_momentum", True)


def _cycle_of_momentum(settings: Config, first: int, second: int, step_size: int) -> Any:
    """Return the momentum, which falls while the rate rises. Update 0 runs at the lowest."""
    low, high = settings.number("cycle_min_mom", 0.8), settings.number("cycle_max_mom", 0.9)
    growth = settings.number("decay_mom_rate", 0.0) / step_size if step_size > 0 else 0.0
    return phased_lr(
        1.0,
        [
            Phase(1, start_value=low),
            Phase(first - 1, "linear", start_value=high, end_value=low, offset=1, span=first),
            Phase(second, "linear", start_value=low, end_value=high),
            Phase(2**31, "linear", start_value=high, end_value=high * (1 + growth * 2**31)),
        ],
    )


def _range_test(config: Config, settings: Config) -> tuple[Any, None]:
    settings.refuse("lr_range_test_staircase", reason="only a smooth test is read")
    step_size = settings.count("lr_range_test_step_size", 2000)
    rate = settings.number("lr_range_test_step_rate", 1.0)
    init_value = settings.base_rate("lr_range_test_min_lr")
    line = Phase(2**31, "linear", start_factor=1.0, end_factor=1.0 + rate * 2**31 / max(1, step_size))
    return phased_lr(init_value, [line]), None


_TYPES: dict[str, Callable[[Config, Config], tuple[Any, int | None]]] = {
    "WarmupLR": _warmup_lr,
    "WarmupDecayLR": _warmup_decay_lr,
    "WarmupCosineLR": _warmup_cosine_lr,
    "OneCycle": _one_cycle,
    "LRRangeTest": _range_test,
}


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of the engine. Its Adam is AdamW unless adam_w_mode is off."""
    section = config.inner("optimizer")
    params = _without_auto(section.inner("params"))
    written: str = section.text("type")
    config.assume(
        "All parameters are in one group, as deepspeed.initialize(model_parameters=...) has them."
    )
    clip = _without_auto(config, "gradient_clipping")
    is_torch = params.flag("torch_adam")
    options = params.options(
        "lr", "params", "torch_adam", "adam_w_mode", "bias_correction", "set_grad_none"
    )
    name: str = _CLASSES.get(written.lower(), written)
    if name == "Adam":
        name = "AdamW" if params.flag("adam_w_mode", True) else "Adam"
    if written.lower() in _OWN_RULES or not params.flag("bias_correction", True):
        raise OptimizerError(
            f"the optimizer {shown_value(written)} has a rule of DeepSpeed's own, which is not supported"
        )
    if not is_torch and name == "AdamW":
        options = {"weight_decay": 0.0, **options}
    if config.inner("scheduler").get("type") == "OneCycle" and _cycles_momentum(config):
        options["betas"] = (0.9, 0.99)  # beta1 follows its schedule
    return TorchOptimizer(name, options, clip.clip("gradient_clipping"))


def _without_auto(section: Config, *names: str) -> Config:
    """Return settings with those of `names` in the place of "auto", which the Trainer would fill in."""
    settings = dict(section.settings)
    for name in names or [each for each in settings if each != "lr"]:
        if settings.get(name) == "auto":
            settings[name] = section.named(name)
            if settings[name] is None:
                raise ValueError(f"{name} is 'auto': give names={{{name!r}: ...}}, its value in the run")
    return section.of(settings)


FRAMEWORK = Framework(
    name="deepspeed",
    read=read,
    optimizer=optimizer,
    marks=(("scheduler", "train_batch_size"), ("scheduler", "zero_optimization")),
    recognizes=lambda settings: section(settings, "scheduler").get("type") in [*_TYPES],
)


def _warmup_steps(settings: Config) -> int:
    return max(2, settings.count("warmup_num_steps", 1000))


def _warmup(settings: Config) -> list[Phase]:
    """Return the phases of the warmup: the lowest rate for one more update, then a logarithm or a line."""
    floor = settings.number("warmup_min_lr", 0.0)
    return [Phase(1, start_value=floor), *_rise(settings, start_value=floor)]


def _rise(settings: Config, **start: Any) -> list[Phase]:
    steps = _warmup_steps(settings)
    if settings.choice("warmup_type", ("log", "linear"), "log") == "linear":
        return [Phase(steps, "linear", end_factor=1.0, **start)]
    return [Phase(steps - 1, "log", end_factor=1.0, **start), Phase(1)]
