"""open_clip: its three schedulers as calls, and the flags of its training script.

The rules are those of open_clip 3.3 of June 2026 (`open_clip_train/scheduler.py`, `main.py`, `params.py`).
"""

from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_positive_count, shown_value
from jaxlr.frameworks._curves import warmup_ahead
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, phased_lr


_OF_TOWERS = ("visual_lr", "text_lr")
_ASK_FOR_ONE = "it is of EVA-CLIP, whose towers have rates of their own. Give init_value, the rate of one"


def cosine_lr(base_lr: ArrayLike, warmup_length: int, steps: int) -> optax.Schedule:
    """Return a line that begins one step ahead, then a cosine to 0, which rises again after `steps`."""
    warmup = check_duration("warmup_length", warmup_length)
    rest = abs(check_positive_count("steps", steps) - warmup)
    cosine = Phase(None, "cosine", end_factor=0.0, span=rest) if rest else Phase(start_factor=1.0)
    return phased_lr(base_lr, [warmup_ahead(warmup), cosine])


def const_lr(base_lr: ArrayLike, warmup_length: int, steps: int | None) -> optax.Schedule:
    """Return a line that begins one step ahead, then a constant."""
    del steps
    warmup = check_duration("warmup_length", warmup_length)
    return phased_lr(base_lr, [warmup_ahead(warmup), Phase(start_factor=1.0)])


def const_lr_cooldown(
    base_lr: ArrayLike,
    warmup_length: int,
    steps: int,
    cooldown_steps: int,
    cooldown_power: float = 1.0,
    cooldown_end_lr: ArrayLike = 0.0,
) -> optax.Schedule:
    """Return a line that begins one step ahead, a constant, and a polynomial in the last steps."""
    warmup = check_duration("warmup_length", warmup_length)
    rest = check_positive_count("steps", steps) - warmup
    if rest <= 0:
        raise ValueError(f"steps must be above warmup_length, got {steps!r} and {warmup_length!r}")
    cooldown = check_positive_count("cooldown_steps", cooldown_steps)
    ends: Any = {"start_factor": 1.0, "end_value": cooldown_end_lr, "power": cooldown_power}
    passed = max(0, cooldown - rest)  # the cooldown may begin in the warmup
    return phased_lr(
        base_lr,
        [
            warmup_ahead(warmup),
            Phase(max(0, rest - cooldown), start_factor=1.0),
            Phase(min(rest, cooldown), "polynomial", offset=passed, span=cooldown, **ends),
        ],
    )


def read(config: Config) -> Recipe:
    """Read `lr`, `warmup`, `epochs` and `lr_scheduler`. A count is an update."""
    if config.init_value is None:
        config.refuse(*_OF_TOWERS, reason=_ASK_FOR_ONE)
    config = with_defaults(config, {"lr": 5e-4}, "open_clip_train", rate="lr")
    rate = config.base_rate("lr")
    config.state_settings(optimizer="opt", clip="grad_clip_norm", weight_decay="wd", momentum="beta1")
    if config.flag("skip_scheduler"):
        return config.recipe("open_clip", phased_lr(rate, [Phase()]), "update", None)
    config = with_defaults(config, {"warmup": 10_000, "lr_scheduler": "cosine"}, "open_clip_train")
    config = with_defaults(config, {"epochs": 32}, "open_clip_train", epochs="epochs")
    name = check_choice("lr_scheduler", config.text("lr_scheduler"), ("cosine", "const", "const-cooldown"))
    warmup = config.count("warmup")
    if name == "const" and config.steps_per_epoch is None:
        return config.recipe("open_clip", const_lr(rate, warmup, None), "update", None)
    updates = config.steps_in_epoch() // config.accumulation("accum_freq")
    total = check_positive_count("the number of updates", updates * config.whole_epochs("epochs"))
    if name == "const-cooldown":
        cooldown = updates * config.count("epochs_cooldown")
        power, end = config.number("lr_cooldown_power", 1.0), config.number("lr_cooldown_end", 0.0)
        schedule = const_lr_cooldown(rate, warmup, total, cooldown, power, end)
    else:
        schedule = (cosine_lr if name == "cosine" else const_lr)(rate, warmup, total)
    return config.recipe("open_clip", schedule, "update", total)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the AdamW of `main.py`. Models with "vit" in their name have other defaults."""
    decays = ("text_layer_decay", "image_layer_decay", "visual_layer_decay", "audio_layer_decay")
    config.refuse(*_OF_TOWERS, reason="it gives a tower a rate of its own", error=OptimizerError)
    config.refuse(*decays, reason="it gives each layer a rate of its own", error=OptimizerError)
    config.refuse("opt_kwargs", "momentum", reason="only AdamW is read", error=OptimizerError)
    model = config.text("model", None)
    if model is None:
        config.assume("model is RN50, the default of open_clip_train.")
    is_vit = "vit" in (model or "RN50").lower()
    beta2, eps = (0.98, 1e-6) if is_vit else (0.999, 1e-8)
    defaults = {"opt": "adamw", "wd": 0.2, "beta1": 0.9, "beta2": beta2, "eps": eps}
    config = with_defaults(config, defaults, "open_clip_train")
    if config.text("opt").lower() != "adamw":
        raise OptimizerError(f"opt must be 'adamw', got {shown_value(config.text('opt'))}")
    options = {
        "betas": (config.number("beta1"), config.number("beta2")),
        "eps": config.number("eps"),
        "weight_decay": config.number("wd"),
    }
    undecayed = ["biases", "norms", "vectors", "the logit scale", "the names in model.no_weight_decay()"]
    patterns = config.get(config.first("wd_exclude_patterns", "wd_exclude"))
    if patterns:
        undecayed.append(f"parameters like {shown_value(patterns)}")
    return TorchOptimizer("AdamW", options, config.clip("grad_clip_norm"), tuple(undecayed))


FRAMEWORK = Framework(
    name="open_clip",
    read=read,
    optimizer=optimizer,
    marks=(
        *(("warmup", name) for name in ("train_data", "wd", "imagenet_val", "save_frequency")),
        *((name,) for name in ("accum_freq", "epochs_cooldown", "lr_cooldown_end", "lr_cooldown_power")),
        *((name,) for name in ("gather_with_grad", "zeroshot_frequency")),
        *(("train_num_samples", name) for name in ("train_data", "lr")),
    ),
    aliases=("openclip", "open-clip"),
    calls=(cosine_lr, const_lr, const_lr_cooldown),
)
