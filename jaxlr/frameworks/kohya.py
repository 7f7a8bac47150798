"""Kohya's sd-scripts: the flags of its training scripts, their TOML files, and the JSON of its interface.

The rules are those of sd-scripts of February 2026 (`library/train_util.py`, `train_network.py`) and of
bmaltais/kohya_ss of July 2026 (`kohya_gui/lora_gui.py`, `kohya_gui/common_gui.py`).
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import shorten, shown_value
from jaxlr.frameworks.huggingface_schedules import (
    ENDLESS,
    NEWEST_RULES,
    get_piecewise_constant_schedule,
    get_scheduler,
)
from jaxlr.frameworks.recipe import Config, Framework, Recipe


# Settings that no other script with an lr_scheduler has.
_MARKS = (
    *("network_module", "network_dim", "network_alpha", "unet_lr", "text_encoder_lr", "max_train_epochs"),
    *("lr_scheduler_num_cycles", "lr_scheduler_power", "lr_decay_steps", "lr_scheduler_min_lr_ratio"),
    *("lr_scheduler_timescale", "train_data_dir", "dataset_config", "optimizer_args", "output_name"),
)
# Settings of the scripts of diffusers, some of which have a train_data_dir and a text_encoder_lr too.
_OF_DIFFUSERS = (
    *("dataset_name", "instance_data_dir", "instance_prompt", "learnable_property", "placeholder_token"),
    *(
        "checkpointing_steps",
        "validation_prompt",
        "num_train_epochs",
        "report_to",
        "push_to_hub",
        "scale_lr",
    ),
    *(
        "center_crop",
        "random_flip",
        "lr_num_cycles",
        "lr_power",
        "use_ema",
        "rank",
        "resume_from_checkpoint",
    ),
)
# Settings of the interface kohya_ss that are not set where they are 0 or an empty text.
_OF_INTERFACE = (
    *("max_train_steps", "max_train_epochs", "lr_warmup", "lr_warmup_steps", "lr_scheduler_type"),
    *("lr_scheduler_num_cycles", "lr_scheduler_power", "lr_scheduler_args", "text_encoder_lr", "unet_lr"),
)
_OWN_RATES = ("block_lr", "learning_rate_te", "learning_rate_te1", "learning_rate_te2", "learning_rate_te3")
_WHOLE = ("cosine_with_restarts", "polynomial", "warmup_stable_decay")


def read(config: Config) -> Recipe:
    """Read `lr_scheduler` and the settings that belong to it. A count is an update of the weights."""
    config = _without_interface(config.of(_flat(config.settings)))
    _refuse_custom(config)
    optimizer = config.stated_text("optimizer_type")
    if optimizer is None and config.flag("use_8bit_adam"):
        optimizer = "AdamW8bit"
    config.state(optimizer=optimizer, clip=config.stated_clip("max_grad_norm"))
    init_value = _rate_of_group(config)
    name = config.text_or_default("lr_scheduler", "constant", "sd-scripts")
    if optimizer is not None and optimizer.lower().endswith("schedulefree"):
        name = "constant"
        config.assume(f"The optimizer {optimizer} has no scheduler: the rate is constant.")
    is_warmed = name not in ("constant", "piecewise_constant")
    has_share = is_warmed and isinstance(_steps(config, "lr_warmup_steps"), float)
    num_steps = _num_steps(config, needed=name not in ENDLESS or has_share)
    warm = _per_update(config, "lr_warmup_steps", num_steps) if is_warmed else 0
    return config.recipe("kohya", _schedule(config, init_value, name, warm, num_steps), "update", num_steps)


def _schedule(config: Config, init_value: Any, name: str, warm: Any, num_steps: Any) -> Any:
    keywords: dict[str, Any] = {}
    cycles = config.number("lr_scheduler_num_cycles", 1)
    floor = config.number("lr_scheduler_min_lr_ratio", None)
    if name in _WHOLE and not isinstance(warm, int):
        raise ValueError(f"lr_warmup_steps must be a multiple of num_processes for lr_scheduler {name!r}")
    match name:
        case "cosine_with_restarts":
            keywords = {"num_cycles": cycles}
        case "polynomial":
            keywords = {"power": config.number("lr_scheduler_power", 1)}
        case "inverse_sqrt" if config.has("lr_scheduler_timescale"):
            keywords = {"timescale": config.number("lr_scheduler_timescale") / _num_processes(config)}
        case "cosine_with_min_lr":
            if floor is None:
                raise ValueError("lr_scheduler 'cosine_with_min_lr' needs lr_scheduler_min_lr_ratio")
            keywords = {"num_cycles": cycles / 2, "min_lr_rate": floor}
        case "warmup_stable_decay":
            decay = _per_update(config, "lr_decay_steps", num_steps)
            if not isinstance(decay, int):
                raise ValueError(f"lr_decay_steps must be a multiple of num_processes for {name!r}")
            keywords = {"num_decay_steps": decay, "num_cycles": cycles / 2, "min_lr_ratio": floor or 0.0}
        case "piecewise_constant":
            rules = _arguments(config).get("step_rules", "")
            return get_piecewise_constant_schedule(init_value, rules.strip("'\""))
    if _arguments(config):
        raise ValueError("lr_scheduler_args is supported only for lr_scheduler 'piecewise_constant'")
    version = config.version_text or NEWEST_RULES
    return get_scheduler(init_value, name, warm, num_steps, keywords, version=version)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    """Check if flags are of sd-scripts, where `lr_scheduler` is "constant" if it is missing."""
    flat = _flat(settings)
    is_run = flat.keys() & {"lr_scheduler", "pretrained_model_name_or_path", "network_module"}
    return bool(is_run) and not flat.keys() & {*_OF_DIFFUSERS} and any(mark in flat for mark in _MARKS)


FRAMEWORK = Framework(
    name="kohya",
    read=read,
    aliases=("sd-scripts",),
    recognizes=_recognizes,
    has_versions=True,
)


def _flat(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the settings without the sections of a TOML file, as the scripts read them."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat.update(value if isinstance(value, Mapping) else {name: value})
    return flat


def _without_interface(config: Config) -> Config:
    """Return the settings of a JSON of kohya_ss as flags. Others are returned as they are."""
    if "lr_warmup" not in config.settings:
        return config
    unset = [name for name in _OF_INTERFACE if config.settings.get(name) in (None, "", "0", 0)]
    flags = {name: value for name, value in config.settings.items() if name not in unset}
    config = config.of(flags)
    flags.setdefault("lr_scheduler_num_cycles", config.get("epoch"))
    flags.setdefault("optimizer_type", config.get("optimizer"))
    if config.has("lr_warmup") and not config.has("lr_warmup_steps"):
        flags["lr_warmup_steps"] = config.number("lr_warmup") / 100
        if config.get("dataset_config") and config.has("max_train_steps"):
            flags["lr_warmup_steps"] = round(flags["lr_warmup_steps"] * config.count("max_train_steps"))
    return config


def _refuse_custom(config: Config) -> None:
    if config.get("lr_scheduler_type"):
        arguments = [f"{name}={value}" for name, value in _arguments(config).items()]
        kind = config.text("lr_scheduler_type").rpartition(".")[2]
        call = f"{kind}({', '.join(['optimizer', *arguments])})"
        raise ValueError(
            f"lr_scheduler_type replaces lr_scheduler: give from_string the call {shorten(call, 200)!r}"
        )
    if config.has("lr_scheduler") and config.text("lr_scheduler").startswith("adafactor"):
        raise ValueError("lr_scheduler 'adafactor' is not supported: Adafactor chooses its rate itself")
    options = str(config.get("optimizer_args") or "")
    is_relative = "relative_step=False" not in options or "warmup_init=True" in options
    if (config.stated_text("optimizer_type") or "").lower() == "adafactor" and is_relative:
        raise ValueError(
            "optimizer_type 'adafactor' chooses its rate itself, unless optimizer_args has "
            "relative_step=False"
        )


def _arguments(config: Config) -> dict[str, str]:
    """Return `lr_scheduler_args`, such as `T_max=100`, by name."""
    given = config.get("lr_scheduler_args") or []
    items = given.split() if isinstance(given, str) else given
    if not isinstance(items, list | tuple) or not all(
        isinstance(item, str) and "=" in item for item in items
    ):
        raise ValueError(f"lr_scheduler_args must be like 'T_max=100', got {shown_value(given)}")
    return dict(item.split("=", 1) for item in items)


def _rate_of_group(config: Config) -> Any:
    """Return the base rate of the U-Net, or of a text encoder."""
    own = [name for name in _OWN_RATES if config.get(name)]
    own += ["network_args"] if "lr" in str(config.get("network_args", "")) else []
    if own:
        config.assume(f"Some parameters have a rate of {' and '.join(own)}. This is that of the others.")
    encoders = config.numbers("text_encoder_lr") or []
    names = ["text encoder"]
    if len(encoders) > 1:
        names = [f"text encoder {number + 1}" for number in range(len(encoders))]
    if not config.has("unet_lr") and not encoders:
        return config.base_rate("learning_rate")
    group = config.groups("U-Net", *names)
    if config.init_value is not None:
        return config.base_rate("learning_rate")
    if group > 0 and encoders:
        return encoders[group - 1]
    name = "unet_lr" if group == 0 and config.has("unet_lr") else "learning_rate"
    return config.number(name, argument="init_value")


def _num_processes(config: Config) -> int:
    return config.num_processes_for("the scripts step the scheduler once for each process")


def _num_steps(config: Config, needed: bool) -> int | None:
    if config.has("max_train_epochs") or config.epochs is not None:
        if not needed and config.steps_per_epoch is None:
            return None
        epochs = config.whole_epochs("max_train_epochs")
        return epochs * -(-config.steps_in_epoch() // config.accumulation())
    return config.count("max_train_steps") if needed else config.count("max_train_steps", None)


def _steps(config: Config, name: str) -> int | float:
    """Return a number of steps as an int, or a fraction of the run as a float. Both are 0 by default."""
    value = config.get(name)
    if isinstance(value, str) and value.endswith("%"):
        return config.of({name: value[:-1]}).number(name) / 100
    steps = config.number(name, 0)
    return float(steps) if 0 < steps < 1 else config.count(name, 0)


def _per_update(config: Config, name: str, num_steps: Any) -> int | float:
    """Return the updates in a number of steps of the scheduler, which every process steps."""
    steps = _steps(config, name)
    if steps == 0:
        return 0
    processes = _num_processes(config)
    if isinstance(steps, float):
        share, steps = steps, int(steps * num_steps * processes)
        config.assume(f"{name} is {steps / processes:g} updates: {share:g} of {num_steps}, rounded down.")
    return steps // processes if steps % processes == 0 else steps / processes
