"""MAE: the flags of its scripts, which scale `--blr` and set the rate at each fraction of an epoch.

The rules are those of facebookresearch/mae of July 2022 (`util/lr_sched.py`, `engine_pretrain.py`).
"""

from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks._curves import warmed_cosine
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import phased_lr
from jaxlr.schedules._counts import modulo
from jaxlr.schedules._schedule import Schedule, prints_as_call


_SCRIPTS: Mapping[str, Mapping[str, Any]] = {
    "main_pretrain.py": {"epochs": 400, "warmup_epochs": 40, "min_lr": 0.0},
    "main_finetune.py": {"epochs": 50, "warmup_epochs": 5, "min_lr": 1e-6},
}
_OF_PRETRAINING = ("norm_pix_loss", "mask_ratio")
_OF_FINE_TUNING = ("layer_decay", "drop_path", "mixup", "cutmix", "reprob", "smoothing", "color_jitter")


def read(config: Config) -> Recipe:
    """Read `blr` or `lr`, `warmup_epochs`, `epochs` and `min_lr`. A count is a batch."""
    batches = config.steps_in_epoch()
    if (script := _script(config)) is not None:
        config = with_defaults(config, _SCRIPTS[script], script, epochs="epochs")
    epochs, warmup = config.whole_epochs("epochs"), config.count("warmup_epochs")
    accumulation = config.accumulation(config.first("accum_iter", "update_freq"))
    phases = warmed_cosine(warmup * batches, epochs * batches, end_value=config.number("min_lr"))
    schedule: Any = phased_lr(_init_value(config, accumulation), phases)
    if accumulation > 1:
        schedule = held(schedule, batches, accumulation)
        config.assume(f"The rate is set for {accumulation} batches at once, anew in each epoch.")
    if config.has("layer_decay"):
        config.assume("layer_decay multiplies the rate of each layer. This is the rate of the last one.")
    config.state_settings(weight_decay="weight_decay", clip="clip_grad")
    return config.recipe("mae", schedule, "iteration", epochs * batches)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the AdamW of `main_pretrain.py`. Fine-tuning has a rate for each layer."""
    if _script(config) != "main_pretrain.py":
        raise OptimizerError("fine-tuning gives each layer a rate of its own")
    config = with_defaults(config, {"weight_decay": 0.05}, "main_pretrain.py")
    options = {"betas": (0.9, 0.95), "weight_decay": config.number("weight_decay")}
    accumulation = config.accumulation("accum_iter")
    undecayed = ("biases", "vectors")
    return TorchOptimizer("AdamW", options, undecayed=undecayed, batches_per_update=accumulation)


FRAMEWORK = Framework(
    name="mae", read=read, optimizer=optimizer, marks=(("blr",), ("accum_iter", "warmup_epochs"))
)


def _script(config: Config) -> str | None:
    """Return the script that has such flags, whose defaults hold for the others."""
    if config.has("update_freq"):
        return None  # ConvNeXt V2, whose scripts have other defaults
    model = config.get("model")
    if any(map(config.has, _OF_PRETRAINING)) or (isinstance(model, str) and model.startswith("mae_")):
        return "main_pretrain.py"
    return "main_finetune.py" if any(map(config.has, _OF_FINE_TUNING)) else None


def _init_value(config: Config, accumulation: int) -> Any:
    """Return `lr`, or `blr` for a global batch of 256 scaled to the real one."""
    if config.init_value is not None or config.has("lr"):
        return config.base_rate("lr")
    processes = config.num_processes_for("blr is scaled by the global batch size", or_rate=True)
    batch = config.count("batch_size") * accumulation * processes
    rate = config.number("blr") * batch / 256
    config.assume(f"The rate is {rate:g}: blr for a batch of {batch} instead of 256.")
    return rate


@prints_as_call
def held(schedule: Any, batches: int, accumulation: int) -> Any:
    """Return a schedule that keeps the rate of the first of each `accumulation` batches of an epoch."""

    def formula(count: Any) -> Any:
        return schedule(count - modulo(modulo(count, batches), accumulation))

    return Schedule(formula, functions=(schedule,))
