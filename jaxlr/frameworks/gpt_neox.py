"""GPT-NeoX: the scheduler of its YAML configs, such as those of Pythia.

The rules are those of EleutherAI/gpt-neox of May 2026 (`megatron/learning_rates.py`), those since October
2023, and those of its releases 1.0 and 2.0.
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks._curves import between, floored
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe, section
from jaxlr.schedules import Phase, phased_lr
from jaxlr.schedules.phases import Shape


_DEFAULTS = {"lr_decay_style": "linear", "warmup": 0.01, "min_lr": 0.0}
_HALF = math.exp(-0.693)  # the exponential decay ends near one half
# The shape of each decay, and the factor at its end.
_STYLES: dict[str, tuple[Shape, float]] = {
    "constant": ("constant", 1.0),
    "linear": ("linear", 0.0),
    "cosine": ("cosine", 0.0),
    "exponential": ("exponential", _HALF),
}


def read(config: Config) -> Recipe:
    """Read the rate of the optimizer, `lr_decay_style`, `warmup` and `min_lr`. A count is an update."""
    config = config.of(_with_underscores(config.settings))
    config.refuse("use_mup", reason="the rate of a layer depends on its width")
    optimizer = config.inner("optimizer")
    config.state(optimizer=optimizer.stated_text("type"), weight_decay=config.stated("weight_decay"))
    config.state(clip=config.stated_clip("gradient_clipping"))
    rate = optimizer.inner("params").base_rate("lr")
    updates = config.positive_count("train_iters")
    end = updates
    if config.has("lr_decay_iters"):
        end = config.positive_count("lr_decay_iters")
    elif config.has("lr_decay_fraction"):
        end = max(1, math.floor(updates * config.number("lr_decay_fraction")))
    config = with_defaults(config, _DEFAULTS, "GPT-NeoX")
    warmup, floor = config.number("warmup") * end, config.number("min_lr")
    style = config.choice("lr_decay_style", _STYLES)
    if warmup >= end:
        raise ValueError(f"warmup must be below 1, got {config.number('warmup'):g}")
    is_of_releases = _is_of_releases(config)
    if is_of_releases and 2 * warmup > end:
        raise ValueError(f"warmup must be at most 0.5, got {config.number('warmup'):g}")
    if style == "constant":
        decay = [Phase(start_factor=1.0)]
    elif is_of_releases:
        decay = _decay_of_releases(style, warmup, end)
    elif updates > end and style in ("cosine", "exponential"):
        raise ValueError(
            f"lr_decay_iters must be at least train_iters, because a {style} decay goes on after it, "
            f"got {end} and {updates}"
        )
    else:
        decay = _decay(style, warmup, end, floor)
    schedule = floored(phased_lr(rate, [*_ramp(config, warmup), *decay]), floor, _first(warmup))
    return config.recipe("gpt_neox", schedule, "update", updates)


def _with_underscores(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return settings such as `train-iters`, as older configs write them, by their newer names."""
    return {str(name).replace("-", "_"): value for name, value in settings.items()}


def _recognizes(settings: Mapping[str, Any]) -> bool:
    """Check if a config has an optimizer as for DeepSpeed, and `train_iters` in place of a scheduler."""
    settings = _with_underscores(settings)
    is_its_own = "pipe_parallel_size" in settings and "lr_decay_style" in settings  # not Megatron's
    has_params = isinstance(section(settings, "optimizer").get("params"), Mapping)
    return is_its_own or (has_params and "train_iters" in settings and "scheduler" not in settings)


FRAMEWORK = Framework(
    name="gpt_neox",
    read=read,
    recognizes=_recognizes,
    aliases=("gpt-neox", "GPT-NeoX", "pythia"),
    has_versions=True,
)


def _is_of_releases(config: Config) -> bool:
    """Check if the decay is that of the releases 1.0 and 2.0, which is shorter than the run."""
    since = config.since(2023, 10)
    if since is None:
        config.assume(
            "Updates 0 and 1 have the same rate, as since May 2026. With version='2025' the first is 0. "
            "With version='2.0' the decay is that of the releases, as for Pythia and GPT-NeoX-20B."
        )
    if since is False and config.since(2023, 8):
        raise ValueError(
            "the rule of GPT-NeoX changed in August and September 2023: give a version such as '2.0' or "
            "'2023.10'"
        )
    return since is False


def _first(warmup: float) -> int:
    """Return the first update after the warmup."""
    return math.floor(warmup) + 1 if warmup else 0


def _ramp(config: Config, warmup: float) -> list[Phase]:
    """Return the updates up to the end of the warmup, which may be between two updates."""
    steps = _first(warmup)
    if steps == 0:
        return []
    ends: Any = {"start_factor": 0.0, "end_factor": 1.0}
    if config.since(2026, 6) is False:
        return [Phase(steps, "linear", span=warmup, **ends)]
    first = Phase(1, start_factor=1 / warmup)
    return [first] if steps == 1 else [first, Phase(steps - 1, "linear", offset=1, span=warmup, **ends)]


def _decay(style: str, warmup: float, end: int, floor: Any) -> list[Phase]:
    """Return the updates from the warmup to `end`. Only the cosine is as high as `min_lr` at its end."""
    shape, last = _STYLES[style]
    low: dict[str, Any] = {"end_value": floor} if style == "cosine" else {"end_factor": last}
    return [between(warmup, end, (_first(warmup), end + 1), shape, **low)]


def _decay_of_releases(style: str, warmup: float, end: int) -> list[Phase]:
    """Return a decay as long as the run, which stops `warmup` updates before its end, and holds."""
    shape, lowest = _STYLES[style]
    last = (end - 2 * warmup) / end
    held = {"linear": 1 - last, "cosine": (1 + math.cos(math.pi * last)) / 2, "exponential": _HALF**last}
    counts = _first(warmup), math.floor(end - warmup) + 1
    decay = between(warmup, warmup + end, counts, shape, end_factor=lowest, span=end)
    return [decay, Phase(start_factor=held[style])]
