"""Composer: the schedulers in YAML configs of LLM Foundry, MosaicML's examples, and Hydra.

The rules are those of Composer 0.32 (`composer/optim/scheduler.py`, `composer/trainer/trainer.py`) and of
LLM Foundry of 2025 (`llmfoundry/optim/scheduler.py`).
"""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple

from jaxlr._checks import check_choice, check_positive_count, shown_value
from jaxlr.frameworks._curves import between
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import (
    Clip,
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


Unit = Literal["ba", "sp", "tok", "ep", "dur"]

_NAMES = {  # of LLM Foundry
    "constant_with_warmup": "ConstantWithWarmupScheduler",
    "cosine_with_warmup": "CosineAnnealingWithWarmupScheduler",
    "linear_decay_with_warmup": "LinearWithWarmupScheduler",
    "inv_sqrt_with_warmup": "InverseSquareRootWithWarmupScheduler",
}
_ADAMW = ("AdamW", {"betas": (0.9, 0.95), "weight_decay": 1e-5})
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    **dict.fromkeys(("decoupled_adamw", "DecoupledAdamW"), _ADAMW),
    **dict.fromkeys(("decoupled_lionw", "DecoupledLionW"), ("Lion", {"weight_decay": 0.0})),
}
_RAMP = "batch_size_warmup_min_size"  # of ModernBERT
_RUN = ("max_duration", "scale_schedule_ratio", "step_schedulers_every_batch")
_TIME = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)\s*(ba|sp|tok|ep|dur)\s*", re.IGNORECASE)
_MOST_TIME = 2**53
_LARGEST_RATIO = 1000


class _Time(NamedTuple):
    """A length in one unit. Only "dur" has a fraction, and it is one of the whole run."""

    value: float
    unit: Unit


class _Clock(NamedTuple):
    """The settings of a scheduler, with times in batches.

    A time is first rounded down to a whole number of its unit, as Composer does.
    """

    settings: Config
    run: Config
    duration: _Time
    ratio: float
    is_packed: bool

    def time(self, name: str, default: str | None = None, ratio: float | None = None) -> _Time:
        """Return a setting in batches, samples or tokens, stretched by `scale_schedule_ratio`."""
        text = self.settings.get(name, default)
        if text is None:
            raise missing(name, f"names={{{name!r}: '100ba'}}")
        return self.converted(_time(name, text), self.ratio if ratio is None else ratio)

    def converted(self, time: _Time, ratio: float) -> _Time:
        """Return a time as Composer converts it: a share of the run is not stretched again."""
        value, unit = time
        if unit == "dur":
            value, unit, ratio = value * self.duration.value, self.duration.unit, 1.0
            if unit == "ep":
                return _Time(int(time.value * self.run.steps_in_epoch() * self.duration.value), "ba")
        elif unit == "ep":
            value, unit = value * self.run.steps_in_epoch(), "ba"
        return _Time(int(value * ratio), unit)

    def batches(self, time: _Time) -> float:
        """Return a converted time in batches."""
        if time.unit == "ba":
            return time.value
        return time.value / (self._samples() if time.unit == "sp" else self._tokens())

    def _samples(self) -> int:
        self.run.refuse(_RAMP, reason="the batch size changes during the run")
        batch = self.run.positive_count("global_train_batch_size")
        self.run.assume(f"Each batch has {batch} samples.")
        return batch

    def _tokens(self) -> int:
        self.run.refuse(_RAMP, reason="the batch size changes during the run")
        tokens = self.run.count("tokens_per_batch", None)
        if tokens is None and self.is_packed:
            tokens = self.run.count("global_train_batch_size") * self.run.count("max_seq_len")
            self.run.assume(f"Each batch has {tokens} tokens: global_train_batch_size times max_seq_len.")
        if tokens is None:
            raise ValueError(
                "the config does not say how many tokens a batch has: give names={'tokens_per_batch': ...}"
            )
        return check_positive_count("tokens_per_batch", tokens)


def read(config: Config) -> Recipe:
    """Read `scheduler`, the rate of `optimizer`, and `max_duration`. A count is a batch."""
    settings = _inside(config.settings)
    optimizer = _resolved(config, settings, "optimizer", ("name", "lr", "weight_decay"))
    rate = optimizer.base_rate("lr")
    config.state(optimizer=optimizer.stated_text("name") or _class_of(_section(settings, "optimizer")))
    config.state(weight_decay=optimizer.stated("weight_decay"), clip=_clip(config, settings))
    if "param_groups" in _section(settings, "optimizer"):
        config.assume("The optimizer has param_groups. This is the rate of the parameters without one.")
    run = _run(config, settings)
    if not run.flag("step_schedulers_every_batch", True):
        raise ValueError("step_schedulers_every_batch=False is not supported: a count is a batch")
    ratio = run.number("scale_schedule_ratio", 1.0)
    if ratio > _LARGEST_RATIO:
        raise ValueError(f"scale_schedule_ratio must be at most {_LARGEST_RATIO}, got {ratio:g}")
    written, duration = _section(settings, "scheduler"), _duration(run, ratio)
    scheduler = _resolved(config, settings, "scheduler", written)
    is_packed = _section(settings, "train_loader").get("name") == "text"
    clock = _Clock(scheduler, run, duration, ratio, is_packed)
    name = _class_of(written) or scheduler.text("name")
    kind = check_choice("the name of the scheduler", _NAMES.get(name, name), (*_RULES, _INVERSE_SQRT))
    phases = _inverse_sqrt(clock) if kind == _INVERSE_SQRT else _phases(clock, _RULES[kind])
    is_known = duration.unit != "ep" or config.steps_per_epoch is not None
    batches = math.ceil(clock.batches(clock.converted(duration, 1.0))) if is_known else None
    return config.recipe("composer", phased_lr(rate, phases), "update", batches)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    settings = _inside(settings)
    optimizer, scheduler = _section(settings, "optimizer"), _section(settings, "scheduler")
    target = scheduler.get("_target_")
    if isinstance(target, str):
        return target.startswith(("composer.", "llmfoundry."))
    is_timed = "t_warmup" in scheduler or scheduler.get("name") in (*_RULES, _INVERSE_SQRT)
    return "lr" in optimizer and is_timed and "max_duration" in settings


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of Composer or LLM Foundry (`composer/optim/decoupled_weight_decay.py`).

    Its weight decay follows the schedule, but is not multiplied by the rate of the optimizer.
    """
    settings = _inside(config.settings)
    written = _section(settings, "optimizer")
    resolved = _resolved(config, settings, "optimizer", written)
    target = written.get("_target_")
    if isinstance(target, str) and target.startswith("torch.optim."):
        options = resolved.options("lr", "_target_", "_partial_")
        return TorchOptimizer(target.rpartition(".")[2], options, _clipping(config, settings))
    kind = resolved.text("name", None) or _class_of(written) or ""
    if kind not in _OPTIMIZERS:
        known = ", ".join(map(repr, _OPTIMIZERS))
        raise OptimizerError(f"the name of the optimizer must be one of {known}, got {shown_value(kind)}")
    name, defaults = _OPTIMIZERS[kind]
    options = {**defaults, **resolved.options("name", "lr", "_target_", "_partial_")}
    rate = resolved.base_rate("lr")
    if not (isinstance(rate, int | float) and rate > 0):
        raise ValueError(
            "the rate of the optimizer must be a number above 0, by which its weight decay is divided"
        )
    options["weight_decay"] = resolved.number("weight_decay", defaults["weight_decay"]) / rate
    return TorchOptimizer(name, options, _clipping(config, settings))


FRAMEWORK = Framework(
    name="composer",
    read=read,
    optimizer=optimizer,
    aliases=("llm-foundry", "llmfoundry", "mosaicml"),
    recognizes=_recognizes,
)


def _inside(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the config inside of a YAML for MosaicML's platform."""
    parameters = settings.get("parameters")
    return parameters if isinstance(parameters, Mapping) and "optimizer" in parameters else settings


def _resolved(config: Config, settings: Mapping[str, Any], name: str | None, keys: Iterable[str]) -> Config:
    """Return some settings of a section, or of the whole config, without references."""
    node = Node((), settings) if name is None else Node((name,), _section(settings, name))
    return config.of(Tree(settings, config.named).resolved(node, keys))


def _section(settings: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section of the config, which may be a mapping in a list."""
    found = settings.get(name, {})
    if isinstance(found, list):
        if len(found) != 1:
            raise ValueError(f"{name} must be one {name}, got a list of {len(found)}")
        found = found[0]
    return found if isinstance(found, Mapping) else {}


def _class_of(settings: Mapping[str, Any]) -> str | None:
    target = settings.get("_target_")
    return target.rpartition(".")[2] if isinstance(target, str) else None


def _clip(config: Config, settings: Mapping[str, Any]) -> float | None:
    """Return the largest norm of the gradients, of the algorithm that clips them."""
    clipping = section(settings, "algorithms", "gradient_clipping")
    return (
        config.of(clipping).stated_clip("clipping_threshold")
        if clipping.get("clipping_type") == "norm"
        else None
    )


def _clipping(config: Config, settings: Mapping[str, Any]) -> Clip | None:
    algorithms = settings.get("algorithms") or {}
    if not isinstance(algorithms, Mapping):
        raise OptimizerError("algorithms is a list, which may clip gradients")
    if "gradient_clipping" not in algorithms:
        return None
    clipping = config.of(algorithms).inner("gradient_clipping")
    kind = clipping.text("clipping_type", "norm")
    if kind not in ("norm", "value"):
        raise OptimizerError(f"clipping_type must be 'norm' or 'value', got {shown_value(kind)}")
    return Clip(clipping.number("clipping_threshold"), 2.0 if kind == "norm" else None)


def _time(name: str, text: Any) -> _Time:
    """Return a time such as "100ba", "0.06dur" or "1ep"."""
    found = _TIME.fullmatch(text.replace("_", "")) if isinstance(text, str) and len(text) < 50 else None
    if found is None:
        raise ValueError(
            f"{name} must be a number with the unit ba, sp, tok, ep or dur, such as '100ba', "
            f"got {shown_value(text)}"
        )
    unit: Any = found[2].lower()
    value = float(found[1])
    if value > _MOST_TIME or (unit != "dur" and value != int(value)):
        raise ValueError(f"{name} must be a whole number of {unit} up to 2**53, got {shown_value(text)}")
    return _Time(value, unit)


def _run(config: Config, settings: Mapping[str, Any]) -> Config:
    """Return the settings of the run, which are those of the whole config or of its `trainer`."""
    whole = _resolved(
        config, settings, None, (*_RUN, "global_train_batch_size", "max_seq_len", _RAMP)
    ).settings
    trainer = _resolved(config, settings, "trainer", _RUN).settings
    return config.of({**trainer, **{name: value for name, value in whole.items() if value is not None}})


def _duration(run: Config, ratio: float) -> _Time:
    """Return the length of the run. A number without a unit counts epochs."""
    value = run.get("max_duration") if run.epochs is None else run.whole_epochs()
    if value is None:
        raise missing("max_duration", "epochs, or names={'max_duration': '1000ba'}")
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value}ep"
    duration = _time("max_duration", value)
    if duration.unit == "dur" or int(duration.value * ratio) < 1:
        raise ValueError(f"max_duration must be at least 1 of ba, sp, tok or ep, got {shown_value(value)}")
    return _Time(int(duration.value * ratio), duration.unit)


class _Rule(NamedTuple):
    """A scheduler of Composer that goes from one factor to another up to `t_max`."""

    shape: Shape
    is_warmed: bool
    start: str | None = None  # the setting of its first factor, which is 1 by default


_RULES = {
    "ConstantWithWarmupScheduler": _Rule("constant", True, "alpha"),
    "LinearWithWarmupScheduler": _Rule("linear", True, "alpha_i"),
    "CosineAnnealingWithWarmupScheduler": _Rule("cosine", True),
    "PolynomialWithWarmupScheduler": _Rule("polynomial", True),
    "LinearScheduler": _Rule("linear", False, "alpha_i"),
    "CosineAnnealingScheduler": _Rule("cosine", False),
    "PolynomialScheduler": _Rule("polynomial", False),
}
_INVERSE_SQRT = "InverseSquareRootWithWarmupScheduler"  # of LLM Foundry


def _phases(clock: _Clock, rule: _Rule) -> list[Phase]:
    """Return a warmup if the rule has one, and its shape up to `t_max`."""
    settings = clock.settings
    start = settings.number(rule.start, 1.0) if rule.start else 1.0
    phases, time = [], None
    if rule.is_warmed:
        phases, time = _ramp(clock, start, settings.flag("scale_warmup"))
    last = clock.time("t_max", "1dur")
    if time is not None and last.unit != time.unit:
        raise ValueError(
            f"t_warmup and t_max must have the same unit, got {time.unit} and {last.unit}; a share of the "
            "run and an epoch have that of max_duration"
        )
    begin, stop = 0.0 if time is None else clock.batches(time), clock.batches(last)
    if time is None and stop == 0:
        raise ValueError("t_max must be above 0, got 0")
    if stop <= begin or rule.shape == "constant":
        return [*phases, Phase(start_factor=start)]
    ends: Any = {"start_factor": start, "end_factor": settings.number("alpha_f", 0.0)}
    if rule.shape == "polynomial":
        ends["power"] = settings.number("power", 2.0) if rule.is_warmed else settings.number("power")
    return [*phases, between(begin, stop, (math.ceil(begin), math.ceil(stop)), rule.shape, **ends)]


def _ramp(clock: _Clock, end: float = 1.0, is_scaled: bool = False) -> tuple[list[Phase], _Time]:
    """Return a line from 0 at the first batch, and the time of its end, which no ratio stretches."""
    time = clock.time("t_warmup", ratio=1.0)
    warmup = clock.batches(time)
    if warmup == 0:
        return [], time
    # With scale_warmup the line is stretched, but it still stops at t_warmup.
    span = clock.batches(clock.time("t_warmup")) if is_scaled else warmup
    if span == 0:
        raise ValueError("scale_schedule_ratio reduces t_warmup to 0: give a larger t_warmup")
    return [Phase(math.ceil(warmup), "linear", start_factor=0.0, end_factor=end, span=span)], time


def _inverse_sqrt(clock: _Clock) -> list[Phase]:
    """Return LLM Foundry's inverse square root with a line at its end."""
    for name in ("t_warmup", "t_scale", "t_cooldown"):
        unit = _time(name, clock.settings.get(name)).unit
        if unit != clock.duration.unit:
            raise ValueError(
                f"{name} must have the unit of max_duration, {clock.duration.unit}, got {unit}"
            )
    phases, time = _ramp(clock)
    begin, span = clock.batches(time), clock.batches(clock.time("t_scale"))
    if span == 0:
        raise ValueError("t_scale must be above 0, got 0")
    rest = clock.batches(clock.time("t_cooldown"))
    start = max(begin, clock.batches(clock.time("t_max", "1dur")) - rest)
    low = clock.settings.number("alpha_f_decay", 0.0)
    counts = math.ceil(begin), math.ceil(start)
    phases = [*phases, between(begin, begin + span, counts, "inverse_sqrt", end_factor=low, span=span)]
    top = low + (1 - low) / math.sqrt(1 + (start - begin) / span)
    if rest == 0:
        return [*phases, Phase(start_factor=top)]
    ends: Any = {"start_factor": top, "end_factor": clock.settings.number("alpha_f_cooldown", 0.0)}
    offset = math.ceil(start) - start
    return [*phases, Phase(math.ceil(rest), "linear", offset=offset, span=rest, **ends)]
