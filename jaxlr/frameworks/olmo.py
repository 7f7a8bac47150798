"""OLMo and OLMo-core: the YAML of OLMo, and the `config.json` that OLMo-core saves beside its checkpoints.

The rules are those of OLMo 0.6 (`olmo/optim.py`, `olmo/train.py`) and OLMo-core 3.0
(`olmo_core/optim/scheduler.py`). Both count the current update: the first one is number 1.
"""

import math
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax

from jaxlr._checks import check_choice, check_positive_count, check_whole_number, shown_value
from jaxlr.frameworks._curves import between
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


_OLMO = {
    "cosine_with_warmup": "CosWithWarmup",
    "linear_with_warmup": "LinearWithWarmup",
    "inverse_sqrt_with_warmup": "InvSqrtWithWarmup",
    "constant_with_warmup": "ConstantWithWarmup",
    "constant": "ConstantScheduler",
}
_CORE = {  # the registered names of OLMo-core
    "cos_with_warmup": "CosWithWarmup",
    "half_cos_with_warmup": "HalfCosWithWarmup",
    "linear_with_warmup": "LinearWithWarmup",
    "inv_sqrt_with_warmup": "InvSqrtWithWarmup",
    "wsd": "WSD",
    "constant_with_warmup": "ConstantWithWarmup",
    "constant": "ConstantScheduler",
}
_NO_OPTIONS_OF_OLMO = ("name", "learning_rate", "decay_norm_and_bias", "decay_embeddings")
_NO_OPTIONS_OF_OLMO += ("no_decay_norm_and_bias", "metrics_log_interval", "record_update_metrics")
_NO_OPTIONS_OF_OLMO += ("selective_updates",)
_NO_OPTIONS_OF_CORE = ("_CLASS_", "type", "lr", "group_overrides", "compile", "fixed_fields")
# A duration such as 1000, "2e12T" or "1ep".
_DURATION = re.compile(r"\s*((?:\d+\.?\d*|\.\d+)(?:e\+?\d+)?)\s*(T|ep)?\s*", re.IGNORECASE)


class _Run(NamedTuple):
    """The lengths of a run, in updates. They have fractions where tokens are counted."""

    batch: int | None  # tokens of an update, in units of tokens
    end: float | None
    updates: int | None

    def at(self, units: float) -> float:
        """Return a number of steps or tokens as updates."""
        return units if self.batch is None else units / self.batch

    @property
    def known_end(self) -> float:
        if self.end is None:
            raise missing("max_duration")
        return self.end


def read(config: Config) -> Recipe:
    """Read `scheduler`, the rate and `max_duration`. A count is an update, and count 0 is step 1."""
    return _read_core(config) if _is_core(config.settings) else _read_olmo(config)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `build_optimizer` of OLMo (`optim.py`), or of OLMo-core's `optim`."""
    if _is_core(config.settings):
        return _optimizer_of_core(config)
    settings, scheduler = config.inner("optimizer"), config.inner("scheduler")
    config.refuse("max_grad_norm_ratio", reason="it clips each parameter", error=OptimizerError)
    scheduler.refuse("grad_clip_warmup_steps", reason="it changes the clipping", error=OptimizerError)
    settings.refuse("selective_updates", reason="it skips some updates", error=OptimizerError)
    defaults = {"name": "lionw", "weight_decay": 0.01, "betas": (0.9, 0.95)}
    settings = with_defaults(settings, defaults, "OLMo")
    name = settings.text("name")
    name = "lionw" if name == "decoupled_lionw" else name  # its name before 2024
    if name not in ("adamw", "lionw"):
        raise OptimizerError(f"name of the optimizer must be 'adamw' or 'lionw', got {shown_value(name)}")
    options = settings.options(*_NO_OPTIONS_OF_OLMO, "eps")
    if name == "adamw":
        options["eps"] = with_defaults(settings, {"eps": 1e-5}, "OLMo").number("eps")
    undecayed = () if settings.flag("decay_norm_and_bias") else ("biases", "norms")
    undecayed += () if settings.flag("decay_embeddings") else ("embeddings",)
    cls = "AdamW" if name == "adamw" else "Lion"
    return TorchOptimizer(cls, options, config.clip("max_grad_norm"), undecayed)


def _optimizer_of_core(config: Config) -> TorchOptimizer:
    module = config.inner("train_module")
    settings = module.inner("optim") if module.has("optim") else config.inner("optim")
    name = (_class_of(settings.settings) or "").removesuffix("Config")
    name = {"adamw": "AdamW", "adam": "Adam", "lion": "Lion"}.get(name, name)
    if name not in ("AdamW", "Adam", "Lion"):
        reason = ", because it skips some updates" if "skip" in name.lower() else ""
        raise OptimizerError(f"the optimizer {shown_value(name)} of OLMo-core is not supported{reason}")
    undecayed: list[str] = []
    for group in settings.get("group_overrides") or []:
        options = section(group, "opts") if isinstance(group, Mapping) else {"": group}
        if {**options} != {"weight_decay": 0.0}:
            raise OptimizerError(f"the group_overrides with {shown_value(options)} are not supported")
        undecayed += [
            f"parameters like {shown_value(each)}" for each in config.of(group).get("params") or []
        ]
    options = settings.options(*_NO_OPTIONS_OF_CORE)
    return TorchOptimizer(name, options, _clipper_of_core(config).clip("max_grad_norm"), tuple(undecayed))


def _read_olmo(config: Config) -> Recipe:
    if config.has("load_path") and not config.flag("reset_trainer_state"):
        config.refuse("reset_optimizer_state", reason="its warmup begins at the step of the checkpoint")
    optimizer = config.inner("optimizer")
    rate = optimizer.base_rate("learning_rate")
    config.state(optimizer=optimizer.stated_text("name"), weight_decay=optimizer.stated("weight_decay"))
    config.state(clip=config.stated_clip("max_grad_norm"))
    scheduler = config.inner("scheduler")
    defaults: dict[str, Any] = {"name": "cosine_with_warmup", "units": "steps"}
    if not scheduler.text("name", "").startswith("constant"):
        defaults |= {"t_warmup": 100, "alpha_f": 0.1}
    scheduler = with_defaults(scheduler, defaults, "OLMo")
    kind = _OLMO[check_choice("the name of the scheduler", scheduler.text("name"), _OLMO)]
    factor = scheduler.stated("grad_clip_warmup_factor")
    if factor is not None and scheduler.has("grad_clip_warmup_steps"):
        config.assume(
            f"The clip is that after the warmup of the clipping, which has {factor:g} times max_grad_norm."
        )
    run = _run(config, scheduler, *_duration(config.get("max_duration")), partial(_tokens, config))
    if not scheduler.has("warmup_min_lr"):
        config.assume("The warmup begins at 0.1 of the rate, because warmup_min_lr is missing.")
    warmup = int(scheduler.number("t_warmup", 100))
    floor = 0.0 if kind == "InvSqrtWithWarmup" else scheduler.number("alpha_f", 0.1)
    schedule = phased_lr(rate, _phases(kind, scheduler, run, rate, run.at(warmup), floor))
    updates = run.updates
    if updates is not None and isinstance(config.get("stop_at"), int) and config.get("stop_at") < updates:
        updates = config.positive_count("stop_at")
    return config.recipe("olmo", schedule, "update", updates)


def _read_core(config: Config) -> Recipe:
    module, trainer = config.inner("train_module"), config.inner("trainer")
    callbacks = trainer.inner("callbacks")
    optimizer = module.inner("optim") if module.has("optim") else config.inner("optim")
    rate = optimizer.base_rate("lr")
    name = _class_of(optimizer.settings)
    config.state(optimizer=name and name.removesuffix("Config"))
    config.state(weight_decay=optimizer.stated("weight_decay"))
    config.state(clip=_clipper_of_core(config).stated_clip("max_grad_norm"))
    holder = module if module.has("scheduler") else callbacks.inner("lr_scheduler")  # the older place
    if not holder.has("scheduler"):
        config.assume("The config has no scheduler, so the rate is constant.")
        return config.recipe("olmo", phased_lr(rate, [Phase()]), "update", None)
    scheduler = holder.inner("scheduler")
    name = _class_of(scheduler.settings) or "no _CLASS_"
    kind = check_choice("the class of the scheduler", _CORE.get(name, name), _CORE.values())
    scheduler = config.of({"units": "steps", **scheduler.settings})
    if isinstance(steps := trainer.get("max_duration"), int | float):  # from `names`
        trainer = config.of({"max_duration": {"value": steps, "unit": "steps"}})
    duration = trainer.inner("max_duration")
    length = duration.number("value") if trainer.has("max_duration") else None
    unit = None if length is None else duration.text("unit")
    run = _run(config, scheduler, length, unit, partial(_tokens_of_core, config, callbacks))
    if kind == "ConstantScheduler":
        return config.recipe("olmo", phased_lr(rate, [Phase()]), "update", run.updates)
    end = scheduler.number("t_max", None) if kind != "WSD" else None
    warmup = _part(scheduler, run, "warmup", run.known_end if end is None else run.at(end))
    scheduler = config.of({"warmup_min_lr": 0.0, "alpha_f": 0.1, **scheduler.settings})
    phases = _phases(kind, scheduler, run, rate, warmup, scheduler.number("alpha_f"))
    return config.recipe("olmo", phased_lr(rate, phases), "update", run.updates)


def _clipper_of_core(config: Config) -> Config:
    """Return the section with `max_grad_norm`, which was a callback before 2025."""
    for callback in config.inner("trainer").inner("callbacks").settings.values():
        if isinstance(callback, Mapping) and "GradClipper" in (_class_of(callback) or ""):
            return config.of({"max_grad_norm": 1.0, **callback})
    return config.inner("train_module")


def _is_core(settings: Mapping[str, Any]) -> bool:
    optim = section(settings, "train_module").get("optim")
    older = section(settings, "trainer", "callbacks", "lr_scheduler").get("scheduler")
    return isinstance(optim, Mapping) or isinstance(older, Mapping)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    scheduler = section(settings, "scheduler")
    is_olmo = "learning_rate" in section(settings, "optimizer") and {"t_warmup", "units"} & scheduler.keys()
    return bool(is_olmo) or _is_core(settings)


FRAMEWORK = Framework(
    name="olmo",
    read=read,
    optimizer=optimizer,
    aliases=("OLMo", "olmo-core", "OLMo-core"),
    recognizes=_recognizes,
)


def _class_of(settings: Mapping[str, Any]) -> str | None:
    """Return the name of a class, as OLMo-core writes it."""
    name = settings.get("_CLASS_", settings.get("type"))
    return name.rpartition(".")[2] if isinstance(name, str) else None


def _duration(duration: Any) -> tuple[float | None, str | None]:
    """Return the number and the unit of a duration."""
    if duration is None:
        return None, None
    found = _DURATION.fullmatch(str(duration).replace("_", ""))
    if found is None or isinstance(duration, bool):
        raise ValueError(
            f"max_duration must be such as 1000, '2e12T' or '1ep', got {shown_value(duration)}"
        )
    number = float(found[1])
    if number > 2**61:
        raise ValueError(f"max_duration must be at most 2**61, got {shown_value(duration)}")
    return float(int(number)), {"T": "tokens", "ep": "epochs"}.get(found[2] or "", "steps")


def _tokens(config: Config) -> int:
    """Return the tokens of an update."""
    tokens = config.count("global_train_batch_size") * config.inner("model").count("max_sequence_length")
    return check_positive_count("tokens of an update", tokens)


def _tokens_of_core(config: Config, callbacks: Config) -> int:
    for callback in callbacks.settings:
        if re.search("batch_?(size|w)", callback):
            raise ValueError(
                f"the callback {callback} is not supported: it changes the tokens of an update"
            )
    return config.inner("data_loader").positive_count("global_batch_size")


def _run(config: Config, scheduler: Config, length: float | None, unit: str | None, tokens: Any) -> _Run:
    """Return the lengths of a run, from its duration and the units of its scheduler."""
    batch = tokens() if scheduler.choice("units", ("steps", "tokens")) == "tokens" else None
    if length is None or (unit == "epochs" and config.steps_per_epoch is None and scheduler.has("t_max")):
        return _Run(batch, None, None)
    check_choice("the unit of max_duration", unit or "", ("steps", "epochs", "tokens"))
    if unit == "epochs":
        length *= config.steps_in_epoch()
    if unit != "tokens":
        updates = check_positive_count("max_duration", check_whole_number("max_duration", length))
        return _Run(batch, float(updates), updates)
    exact = length / (batch or tokens())
    updates = math.ceil(exact)
    config.assume(f"The run has {updates} updates: {length:g} tokens, rounded up.")
    return _Run(batch, exact if batch else float(updates), updates)


def _part(scheduler: Config, run: _Run, name: str, end: float) -> float:
    """Return a length that is given in the units of the scheduler, or as a fraction of the run."""
    for setting in (name, f"{name}_steps"):
        if scheduler.has(setting):
            return run.at(scheduler.count(setting))
    fraction = scheduler.number(f"{name}_fraction", 0.1 if name == "decay" else None)
    if fraction is None:
        raise missing(name)
    return run.at(round(end * (run.batch or 1) * fraction))


def _phases(kind: str, scheduler: Config, run: _Run, rate: Any, warmup: float, floor: float) -> list[Phase]:
    """Return a warmup and what follows. Step 1 is the first count."""
    if kind == "ConstantScheduler":
        return [Phase()]
    if kind == "WSD":
        first, top = math.floor(warmup) + 1, 1.0
    else:
        first, top = max(1, math.ceil(warmup)), (1 + floor) / 2 if kind == "HalfCosWithWarmup" else 1.0
    ramp = Phase(0)
    if first > 1:
        begin: dict[str, Any] = {"start_factor": 0.1}
        if scheduler.has("warmup_min_lr"):
            begin = {"start_value": _least(scheduler, "warmup_min_lr", rate)}
        ramp = Phase(first - 1, "linear", end_factor=top, offset=1, span=warmup, **begin)
    if kind == "ConstantWithWarmup":
        return [ramp, Phase(start_factor=1.0)]
    if kind == "InvSqrtWithWarmup":
        if warmup == 0:
            raise ValueError("the warmup of an inverse square root must be above 0, got 0")
        ends: Any = {"start_factor": 1.0, "end_factor": floor, "offset": first - warmup, "span": warmup}
        return [ramp, Phase(shape="inverse_sqrt", **ends)]
    if kind == "WSD":
        return [ramp, *_stable_and_decay(scheduler, run, rate, first)]
    end = scheduler.number("t_max", None)
    end = run.known_end if end is None else run.at(int(end))
    rest = Phase(start_factor=floor)
    if end <= warmup:
        return [ramp, rest]
    top_at = warmup - (end - warmup) if kind == "HalfCosWithWarmup" else warmup
    shape = "linear" if kind == "LinearWithWarmup" else "cosine"
    return [ramp, between(top_at, end, (first, math.ceil(end)), shape, end_factor=floor), rest]


def _stable_and_decay(scheduler: Config, run: _Run, rate: Any, first: int) -> list[Phase]:
    end = run.known_end
    if end != math.floor(end):
        raise ValueError(
            "the max_duration of a WSD in tokens must be a multiple of the tokens of an update, because "
            f"the last rate is below 0 otherwise; it is {end:g} updates"
        )
    decay = _part(scheduler, run, "decay", end)
    if decay == 0:
        raise ValueError("the decay of a WSD must be above 0, got 0")
    begin = max(0.0, end - decay)
    start = max(first, math.ceil(end - decay))
    low, counts = _least(scheduler, "decay_min_lr", rate), (start, int(end) + 1)
    fall = between(begin, begin + decay, counts, "linear", end_value=low, span=decay)
    return [Phase(start - first, start_factor=1.0), fall]


def _least(scheduler: Config, name: str, rate: Any) -> Any:
    """Return a rate that must be below the base rate, 0 by default."""
    least = scheduler.number(name, 0.0)
    if not isinstance(rate, jax.Array) and least >= rate:
        raise ValueError(f"{name} must be below the learning rate, got {least:g} and {rate:g}")
    return least
