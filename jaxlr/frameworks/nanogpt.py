"""nanoGPT: the settings of its `train.py`, from a config such as `config/train_gpt2.py` or from flags.

The rules are those of karpathy/nanoGPT of November 2025, and of the time before December 2024.
"""

from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks._curves import warmup, warmup_ahead
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, phased_lr


_DEFAULTS = {"warmup_iters": 2000, "lr_decay_iters": 600_000, "min_lr": 6e-5}


def read(config: Config) -> Recipe:
    """Read `learning_rate`, `warmup_iters`, `lr_decay_iters` and `min_lr`. A count is an iteration."""
    config = with_defaults(config, {"learning_rate": 6e-4}, "train.py", rate="learning_rate")
    init_value = config.base_rate("learning_rate")
    decay, clip = config.stated("weight_decay"), config.stated_clip("grad_clip")
    config.state(weight_decay=decay, clip=clip, momentum=config.stated("beta1"))
    last = config.count("max_iters", None)
    if last is not None:
        config.assume("max_iters is the last iteration: the loop of train.py runs it too.")
    num_iterations = None if last is None else last + 1
    if not config.flag("decay_lr", True):
        return config.recipe("nanogpt", phased_lr(init_value, [Phase()]), "update", num_iterations)
    config = with_defaults(config, _DEFAULTS, "train.py")
    first, end = config.count("warmup_iters"), config.count("lr_decay_iters")
    if end <= first:
        raise ValueError(f"lr_decay_iters must be above warmup_iters, got {end} and {first}")
    cosine = Phase(end - first, "cosine", start_factor=1.0, end_value=config.number("min_lr"))
    schedule = phased_lr(init_value, [_warmup(config, first), cosine])
    return config.recipe("nanogpt", schedule, "update", num_iterations)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the AdamW of `configure_optimizers`."""
    defaults = {"weight_decay": 0.1, "beta1": 0.9, "beta2": 0.95, "grad_clip": 1.0}
    config = with_defaults(config, defaults, "train.py")
    betas = (config.number("beta1"), config.number("beta2"))
    options = {"betas": betas, "weight_decay": config.number("weight_decay")}
    return TorchOptimizer("AdamW", options, config.clip("grad_clip"), ("biases", "norms", "vectors"))


def _recognizes(settings: Mapping[str, Any]) -> bool:
    """Check if a config has a warmup of nanoGPT, which counts no epochs."""
    has_epochs = any("epochs" in str(name) for name in settings)
    return {"warmup_iters", "learning_rate"} <= settings.keys() and not has_epochs


FRAMEWORK = Framework(
    name="nanogpt",
    read=read,
    optimizer=optimizer,
    marks=(
        ("decay_lr",),
        ("lr_decay_iters", "learning_rate"),
        ("lr_decay_iters", "max_iters"),
    ),
    recognizes=_recognizes,
    aliases=("nanoGPT",),
    has_versions=True,
)


def _warmup(config: Config, steps: int) -> Phase:
    since = config.since(2024, 12)
    if since is None and steps > 0:
        config.assume(
            "Iteration k of the warmup has (k + 1) / (warmup_iters + 1) of the rate, as in nanoGPT since "
            "December 2024. With version='2023' it has k / warmup_iters."
        )
    return warmup(steps) if since is False else warmup_ahead(steps, steps + 1)
