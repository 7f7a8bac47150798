"""Hugging Face diffusers: `get_scheduler` as the flags of its training scripts use it.

The rules are those of diffusers 0.36 to 0.42 (`optimization.py`, and `train_text_to_image.py` in
`examples/text_to_image/`).
"""

import math
from typing import Any

from jaxlr._checks import check_choice, shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.huggingface_schedules import ENDLESS, get_scheduler
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer


_OTHER_OPTIMIZERS = {
    "use_8bit_adam": "its state has 8 bits",
    "use_adafactor": "Adafactor of transformers has its own rule",
    "train_text_encoder": "some scripts give the text encoder its own weight decay and rate",
    "placeholder_token": "textual inversion restores all embeddings but its own",
    "max_num_frames": "the scripts of CogVideoX have other defaults",
}
# Settings of other programs with an lr_scheduler and lr_warmup_steps, such as SimpleTuner.
_OF_OTHERS = (
    *(
        "min_lr",
        "lr_min",
        "lr_end",
        "final_lr",
        "eta_min",
        "min_lr_ratio",
        "lr_min_ratio",
        "cosine_min_lr_ratio",
    ),
    *("lr_decay_steps", "lr_decay_ratio", "lr_scheduler_kwargs", "warmup_ratio", "warmup_epochs"),
)
_NAMES = ("linear", "cosine", "cosine_with_restarts", "polynomial", "constant", "constant_with_warmup")


def read(config: Config) -> Recipe:
    """Read the flags of a training script: `--lr_scheduler`, `--lr_warmup_steps`, `--max_train_steps`."""
    config.refuse("unet_lr", "text_encoder_lr", reason="give its rate as init_value, and leave it out")
    config.refuse(*_OF_OTHERS, reason="the scripts of diffusers lack it")
    init_value = _rate(config)
    if config.has("pretrained_model_name_or_path"):
        config = with_defaults(config, {"lr_scheduler": "constant"}, "the scripts")
    name = config.text("lr_scheduler")
    warmup = None if name in ("constant", "piecewise_constant") else config.count("lr_warmup_steps")
    steps = None if name in ENDLESS and not config.has("max_train_steps") else _num_steps(config)
    keywords: dict[str, Any] = {}
    if name == "cosine_with_restarts":
        keywords["num_cycles"] = config.number("lr_num_cycles", 1)
    elif name == "polynomial":
        keywords["power"] = config.number("lr_power", 1.0)
    if name == "piecewise_constant":
        schedule = get_scheduler(init_value, name, step_rules=config.text("step_rules"))
    else:
        check_choice("lr_scheduler", name, _NAMES)
        schedule = get_scheduler(init_value, name, warmup, steps, keywords)
    config.state(
        optimizer="adamw_8bit" if config.flag("use_8bit_adam") else None,
        weight_decay=config.stated("adam_weight_decay"),
        clip=config.stated_clip("max_grad_norm"),
        momentum=config.stated("adam_beta1"),
    )
    config.assume(
        "Counts are updates: the scripts multiply lr_warmup_steps and max_train_steps by the processes, "
        "and step the scheduler as often."
    )
    return config.recipe("diffusers", schedule, "update", steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the AdamW of the scripts (`examples/text_to_image/train_text_to_image.py`)."""
    for name, reason in _OTHER_OPTIMIZERS.items():
        config.refuse(name, reason=reason, error=OptimizerError)
    name = config.text("optimizer", "AdamW")
    if name.lower() != "adamw":
        raise OptimizerError(f"optimizer must be 'AdamW', got {shown_value(name)}")
    if not config.has("adam_weight_decay"):
        raise ValueError(
            "the scripts of diffusers have different defaults of adam_weight_decay, from 0 to 0.01: "
            "give names={'adam_weight_decay': ...}"
        )
    config = with_defaults(config, {"max_grad_norm": 1.0}, "the scripts")
    options = {
        "betas": (config.number("adam_beta1", 0.9), config.number("adam_beta2", 0.999)),
        "eps": config.number("adam_epsilon", 1e-8),
        "weight_decay": config.number("adam_weight_decay"),
    }
    return TorchOptimizer("AdamW", options, config.clip("max_grad_norm"))


FRAMEWORK = Framework(
    name="diffusers",
    read=read,
    optimizer=optimizer,
    marks=(
        *(("lr_scheduler", name) for name in ("lr_warmup_steps", "max_train_steps", "scale_lr")),
        *(("pretrained_model_name_or_path", name) for name in ("lr_scheduler", "max_train_steps")),
    ),
)


def _rate(config: Config) -> Any:
    """Return `init_value`, or the learning rate, which `scale_lr` multiplies by the global batch size."""
    rate = config.base_rate("learning_rate")
    if not config.flag("scale_lr") or config.init_value is not None:
        return rate
    processes = config.num_processes_for("scale_lr multiplies the rate by the global batch size")
    batch = config.positive_count("train_batch_size") * config.accumulation() * processes
    config.assume(f"The rate is {rate * batch:g}: learning_rate times {batch}, by scale_lr.")
    return rate * batch


def _num_steps(config: Config) -> int:
    if config.has("max_train_steps"):
        return config.count("max_train_steps")
    updates = -(-config.steps_in_epoch() // config.accumulation())
    return math.ceil(config.num_epochs("num_train_epochs") * updates)
