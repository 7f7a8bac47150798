"""Megatron-LM and Megatron-SWIFT: their flags, and the `MODEL_ARGS` of the YAML test cases.

The rules are those of NVIDIA/Megatron-LM of August 2026 (`core/optimizer_param_scheduler.py`,
`training/training.py`), which count samples. With one batch size, a count of updates is the same.
"""

import math
from typing import Any

from jaxlr.frameworks._curves import between, floored
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import (
    Config,
    Framework,
    OptimizerError,
    Recipe,
    TorchOptimizer,
    missing,
    section,
)
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules.phases import Shape


_STYLES = ("constant", "linear", "cosine", "inverse-square-root", "WSD")
_WSD_SHAPES: dict[str, Shape] = {
    "exponential": "shifted_exponential",
    "linear": "linear",
    "cosine": "cosine",
    "minus_sqrt": "1-sqrt",
}
_RAMPS = ("rampup_batch_size", "step_batch_size_schedule")
# Flags of Megatron-SWIFT, which has other defaults.
_OF_SWIFT = (
    "tuner_type",
    "train_type",
    "rlhf_type",
    "mcore_model",
    "num_train_epochs",
    "max_epochs",
    "dataset",
)
_SWIFT = {"lr_decay_style": "cosine", "weight_decay": 0.1, "adam_beta2": 0.95}
_MEGATRON = {"lr_decay_style": "linear", "weight_decay": 0.01, "adam_beta2": 0.999}
_OF_TOKENS = ("train_tokens", "lr_decay_tokens", "lr_warmup_tokens")  # of Megatron-DeepSpeed
_OF_OLDER = ("warmup", "lr_decay_ratio")
_ANOTHER_RULE = (
    "Megatron-LM before 2021, GLM and SwissArmyTransformer have it, and their rule is another one. Write "
    "the schedule with jaxlr.phased_lr"
)


def read(config: Config) -> Recipe:
    """Read `--lr`, `--min-lr`, `--lr-decay-style`, and the warmup and decay in iterations or samples."""
    config = _flags(config)
    config.refuse(*_RAMPS, reason="the schedule counts samples, and their number in an update changes")
    config.refuse(*_OF_TOKENS, reason="give the tokens as samples, such as lr_decay_samples")
    config.refuse(*_OF_OLDER, reason=_ANOTHER_RULE)
    if config.flag("use_checkpoint_opt_param_scheduler") or config.flag("override_opt_param_scheduler"):
        config.assume("The run is new. A resumed run may keep the settings of its checkpoint.")
    if config.has("decoupled_lr"):
        config.assume("decoupled_lr is of the input and output layers. This is the rate of the others.")
    rate, floor = config.base_rate("lr"), config.number("min_lr", 0.0)
    updates = _updates(config)
    end = _length(config, "lr_decay")
    if end is None and updates is None:
        raise missing("train_iters")
    end = float(updates) if end is None else end  # pyright: ignore[reportArgumentType]
    warmup = _warmup(config, end)
    if warmup >= end:
        raise ValueError(f"the warmup must be shorter than the decay, got {warmup:g} and {end:g} updates")
    config = _completed(config, "lr_decay_style")
    style = config.choice("lr_decay_style", _STYLES)
    if style == "constant":
        decay = [Phase(start_factor=1.0)]
    elif style == "inverse-square-root":
        decay = [_inverse_sqrt(config, warmup, end), Phase(start_value=floor)]
    elif style == "WSD":
        decay = _stable_and_decay(config, warmup, end, floor)
    else:
        decay = _decay("linear" if style == "linear" else "cosine", warmup, end, floor, warmup)
    schedule = phased_lr(rate, [_ramp(config, warmup), *decay])
    if style == "inverse-square-root":
        schedule = floored(schedule, floor, _after(warmup))
    config.state(optimizer=config.stated_text("optimizer"), clip=config.stated_clip("clip_grad"))
    config.state(weight_decay=_weight_decay(config, updates), momentum=config.stated("adam_beta1"))
    return config.recipe("megatron", schedule, "update", updates)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `get_megatron_optimizer` (`core/optimizer/optimizer_config.py`)."""
    config = _flags(config)
    config.refuse(
        "decoupled_lr", "use_mup", reason="it gives some layers a rate of their own", error=OptimizerError
    )
    config = with_defaults(config, {"optimizer": "adam", "clip_grad": 1.0}, "Megatron-LM")
    config = _completed(config, "adam_beta2") if config.text("optimizer") == "adam" else config
    name = config.choice("optimizer", ("adam", "sgd"))
    style = config.text("weight_decay_incr_style", "constant")
    if style == "constant":
        config = _completed(config, "weight_decay")
    elif _updates(config) is None:
        raise missing("train_iters")
    decay = {"weight_decay": config.number("weight_decay", 0.01)}
    spared = "vectors but those of q_layernorm and k_layernorm"
    undecayed = ("biases", spared if config.flag("apply_wd_to_qk_layernorm") else "vectors")
    if name == "sgd":
        momentum = config.number("sgd_momentum", 0.9)
        return TorchOptimizer("SGD", {"momentum": momentum, **decay}, config.clip("clip_grad"), undecayed)
    betas = (config.number("adam_beta1", 0.9), config.number("adam_beta2"))
    options = {"betas": betas, "eps": config.number("adam_eps", 1e-8), **decay}
    cls = "AdamW" if config.flag("decoupled_weight_decay", True) else "Adam"
    return TorchOptimizer(cls, options, config.clip("clip_grad"), undecayed)


def _completed(config: Config, name: str) -> Config:
    """Return the flags with the default of one of them."""
    is_swift = any(map(config.has, _OF_SWIFT))
    defaults, program = (_SWIFT, "Megatron-SWIFT") if is_swift else (_MEGATRON, "Megatron-LM")
    return with_defaults(config, {name: defaults[name]}, program)


def _flags(config: Config) -> Config:
    """Return the flags, which a YAML test case has in `MODEL_ARGS`."""
    flags = section(config.settings, "MODEL_ARGS")
    if not flags:
        return config
    return config.of({str(key).lstrip("-").replace("-", "_"): value for key, value in flags.items()})


FRAMEWORK = Framework(
    name="megatron",
    read=read,
    optimizer=optimizer,
    marks=(
        *((name,) for name in ("lr_decay_style", "lr_warmup_fraction", "lr_decay_samples", "MODEL_ARGS")),
        *(("train_iters", name) for name in ("lr", "lr_decay_iters")),
        ("train_samples", "lr"),
    ),
    aliases=("megatron-lm", "Megatron-LM"),
)


def _weight_decay(config: Config, updates: int | None) -> Any:
    """Return the weight decay, which may rise over the whole run."""
    style = config.stated_text("weight_decay_incr_style")
    if style not in ("linear", "cosine") or updates is None:
        return config.stated("weight_decay")
    start, end = config.number("start_weight_decay"), config.number("end_weight_decay")
    shape: Shape = "linear" if style == "linear" else "cosine"
    return phased_lr(1.0, [Phase(updates, shape, start_value=start, end_value=end)])


def _updates(config: Config) -> int | None:
    """Return the number of updates in the run."""
    if config.has("train_iters"):
        return config.positive_count("train_iters")
    if not config.has("train_samples"):
        return None
    return config.count("train_samples") // config.positive_count("global_batch_size")


def _length(config: Config, name: str) -> float | None:
    """Return a number of updates that is given in iterations or in samples."""
    if config.has(f"{name}_iters"):
        return float(config.count(f"{name}_iters"))
    if config.has(f"{name}_samples"):
        return config.count(f"{name}_samples") / config.positive_count("global_batch_size")
    return None


def _warmup(config: Config, end: float) -> float:
    if config.has("lr_warmup_fraction"):
        warmup = config.number("lr_warmup_fraction") * end
        config.assume(f"The warmup has {warmup:g} updates, lr_warmup_fraction of {end:g}.")
        return warmup
    return _length(config, "lr_warmup") or 0.0


def _ramp(config: Config, warmup: float) -> Phase:
    """Return the updates up to the warmup's end. Without a warmup, update 0 has the whole rate."""
    if warmup == 0:
        return Phase(1)
    start = config.number("lr_warmup_init", 0.0)
    return Phase(_after(warmup), "linear", start_value=start, end_factor=1.0, span=warmup)


def _after(point: float) -> int:
    """Return the first update after a point, which belongs to the phase before it."""
    return math.floor(point) + 1


def _decay(shape: Shape, begin: float, end: float, floor: Any, warmup: float) -> list[Phase]:
    """Return a decay between two points, which may begin in the warmup, and the floor."""
    first = _after(max(begin, warmup))
    return [between(begin, end, (first, _after(end)), shape, end_value=floor), Phase(start_value=floor)]


def _stable_and_decay(config: Config, warmup: float, end: float, floor: Any) -> list[Phase]:
    length = _length(config, "lr_wsd_decay")
    if not length:
        raise missing("lr_wsd_decay_iters")
    if length > end:
        raise ValueError(f"lr_wsd_decay_iters must be at most lr_decay_iters, got {length:g} and {end:g}")
    shape = _WSD_SHAPES[config.choice("lr_wsd_decay_style", _WSD_SHAPES, "exponential")]
    begin = end - length
    stable = Phase(max(0, _after(begin) - _after(warmup)), start_factor=1.0)
    return [stable, *_decay(shape, begin, end, floor, warmup)]


def _inverse_sqrt(config: Config, warmup: float, end: float) -> Phase:
    """Return the inverse square root of the samples. Without a warmup, one sample has the whole rate."""
    first, unit = _after(warmup), warmup or 1 / config.positive_count("global_batch_size")
    return Phase(_after(end) - first, "inverse_sqrt", start_factor=1.0, offset=first - unit, span=unit)
