"""PySlowFast and pycls: the `SOLVER` or `OPTIM` of their YAML configs, which count in epochs.

The rules are those of facebookresearch/SlowFast (`slowfast/utils/lr_policy.py`, `config/defaults.py`), of
March 2026, which MViT, TimeSformer and UniFormer share, and of facebookresearch/pycls of August 2023
(`pycls/core/optimizer.py`, `config.py`).
"""

import bisect
import math
from collections.abc import Mapping, Sequence
from typing import Any

from jaxlr._checks import check_choice, check_positive_count
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, chained_scheduler, multi_step_lr, phased_lr


_OF_PYSLOWFAST = {"BASE_LR": 0.1, "LR_POLICY": "cosine", "MAX_EPOCH": 300, "WARMUP_EPOCHS": 0.0}
_OF_PYCLS = {"BASE_LR": 0.1, "LR_POLICY": "cos", "MAX_EPOCH": 200, "WARMUP_EPOCHS": 0, "MIN_LR": 0.0}
_MOST_STEPS = 200


def read(config: Config) -> Recipe:
    """Read `SOLVER` of PySlowFast, where a count is a batch, or `OPTIM` of pycls, where it is an epoch."""
    if config.has("_BASE_"):
        raise ValueError("the config inherits from _BASE_: give the path of its file")
    if config.has("OPTIM"):
        return _read_pycls(config, _section(config, "OPTIM", _OF_PYCLS, "pycls"))
    return _read_pyslowfast(config, _section(config, "SOLVER", _OF_PYSLOWFAST, "PySlowFast"))


def _recognizes(settings: Mapping[str, Any]) -> bool:
    solver, optim = settings.get("SOLVER"), settings.get("OPTIM")
    if isinstance(solver, Mapping):
        is_its_own = solver.get("LR_POLICY") in ("cosine", "steps_with_relative_lrs")
        return is_its_own or "OPTIMIZING_METHOD" in solver
    return isinstance(optim, Mapping) and "BASE_LR" in optim and "MAX_EPOCH" in optim


FRAMEWORK = Framework(name="slowfast", read=read, aliases=("pyslowfast", "pycls"), recognizes=_recognizes)


def _section(config: Config, name: str, defaults: Mapping[str, Any], framework: str) -> Config:
    """Return the settings of the optimizer, with the defaults of the framework."""
    section = with_defaults(config.inner(name), defaults, framework, rate="BASE_LR", epochs="MAX_EPOCH")
    section.state_settings(optimizer=section.first("OPTIMIZING_METHOD", "OPTIMIZER"))
    section.state_settings(momentum="MOMENTUM", weight_decay="WEIGHT_DECAY", clip="CLIP_GRAD_L2NORM")
    return section


def _read_pyslowfast(config: Config, solver: Config) -> Recipe:
    batches = config.steps_in_epoch()
    epochs, warmup = solver.whole_epochs("MAX_EPOCH"), solver.number("WARMUP_EPOCHS")
    if warmup >= epochs:
        raise ValueError(f"WARMUP_EPOCHS must be below MAX_EPOCH, got {warmup:g} and {epochs}")
    shards = _num_shards(config, solver)
    init_value = solver.base_rate("BASE_LR") * (shards if config.init_value is None else 1)
    num_counts = epochs * batches

    def begin(epoch: float) -> int:
        """Return the first batch that is not before an epoch, which may have a fraction."""
        return bisect.bisect_left(
            range(num_counts), epoch, key=lambda count: count // batches + count % batches / batches
        )

    policy = check_choice("LR_POLICY", solver.text("LR_POLICY"), ("cosine", "steps_with_relative_lrs"))
    if policy == "cosine":
        last = solver.number("COSINE_END_LR", 0.0) * shards
        skipped = warmup if solver.flag("COSINE_AFTER_WARMUP") else 0.0
        share = (1 + math.cos(math.pi * (warmup - skipped) / (epochs - skipped))) / 2
        peak: Any = last + (init_value - last) * share
        clock: Any = {"offset": begin(warmup) - skipped * batches, "span": (epochs - skipped) * batches}
        length = num_counts - begin(warmup)
        phases = [Phase(length, "cosine", start_factor=1.0, end_value=last, **clock)]
    else:
        steps, rates = _relative_rates(solver, epochs)
        peak = init_value * rates[bisect.bisect_right(steps, warmup) - 1]
        begins = [max(begin(warmup), begin(step)) for step in (*steps, epochs)]
        phases = [
            Phase(after - before, start_factor=rate)
            for before, after, rate in zip(begins[:-1], begins[1:], rates, strict=True)
            if after > before
        ]
    if warmup:
        start = with_defaults(solver, {"WARMUP_START_LR": 0.01}, "PySlowFast").number("WARMUP_START_LR")
        ends: Any = {"start_value": start * shards, "end_value": peak}
        phases.insert(0, Phase(begin(warmup), "linear", span=warmup * batches, **ends))
    if solver.number("LAYER_DECAY", 1.0) != 1:
        config.assume("LAYER_DECAY multiplies the rate of each layer. This is the rate of the last one.")
    return config.recipe("slowfast", phased_lr(init_value, phases), "iteration", num_counts)


def _num_shards(config: Config, solver: Config) -> int:
    """Return the number of machines by which the rates are multiplied."""
    if not solver.flag("BASE_LR_SCALE_NUM_SHARDS"):
        return 1
    shards = config.positive_count("NUM_SHARDS", 1)
    config.assume(
        f"BASE_LR_SCALE_NUM_SHARDS multiplies the rates by NUM_SHARDS, the machines, here {shards}."
    )
    return shards


def _relative_rates(solver: Config, epochs: int) -> tuple[Sequence[float], Sequence[float]]:
    """Return the epochs at which the factor changes, and the factors."""
    steps, rates = solver.numbers("STEPS", []), solver.numbers("LRS", [])
    if not steps or steps[0] != 0 or steps != sorted(steps):
        raise ValueError(f"STEPS must begin with 0 and rise, got {steps[:10]}")
    steps = [step for step in steps if step < epochs]
    if not len(steps) <= len(rates) <= _MOST_STEPS:
        raise ValueError(
            f"LRS must have a factor for each of STEPS, and at most {_MOST_STEPS}, got {len(rates)}"
        )
    return steps, rates[: len(steps)]


def _read_pycls(config: Config, optim: Config) -> Recipe:
    init_value = optim.base_rate("BASE_LR")
    epochs, warmup = optim.whole_epochs("MAX_EPOCH"), optim.count("WARMUP_EPOCHS")
    policy = check_choice("LR_POLICY", optim.text("LR_POLICY"), ("cos", "exp", "lin", "steps"))
    if policy == "steps":
        steps = optim.numbers("STEPS", [])
        if not steps or steps[0] != 0:
            raise ValueError(f"STEPS must begin with 0, got {steps[:10]}")
        milestones = [check_positive_count("each of STEPS", step) for step in steps[1:]]
        main = multi_step_lr(1.0, milestones, optim.number("LR_MULT", 0.1))
    else:
        shape: Any = {"cos": "cosine", "exp": "exponential", "lin": "linear"}[policy]
        main = phased_lr(1.0, [Phase(epochs, shape, start_factor=1.0, end_factor=optim.number("MIN_LR"))])
    schedules = [main]
    if warmup:
        start = with_defaults(optim, {"WARMUP_FACTOR": 0.1}, "pycls").number("WARMUP_FACTOR")
        schedules.append(phased_lr(1.0, [Phase(warmup, "linear", start_factor=start, end_factor=1.0)]))
    schedule = chained_scheduler(init_value, schedules)
    return config.recipe("slowfast", schedule, "epoch", epochs)
