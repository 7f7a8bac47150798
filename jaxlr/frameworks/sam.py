"""SAM 2 and SAM 3: the schedulers in their Hydra configs, such as those for fine-tuning.

The rules are those of facebookresearch/sam2 of December 2024 (`training/optimizer.py`,
`training/trainer.py`, `training/utils/train_utils.py`), of fvcore 0.1.5 (`common/param_scheduler.py`), and
of facebookresearch/sam3 of January 2026 (`sam3/train/optim/schedulers.py`, `sam3/train/trainer.py`).
"""

import bisect
import math
import operator
import re
from collections.abc import Mapping
from typing import Any

import optax

from jaxlr._checks import check_choice, check_positive_count, shown_value
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, phased_lr, tabulate


_EPSILON = 1e-6  # fvcore adds it to the position in the run before a comparison
_INNERMOST = re.compile(r"\$\{([^${}]*)\}")
_RESOLVERS = {
    "times": operator.mul,
    "divide": operator.truediv,
    "add": operator.add,
    "subtract": operator.sub,
}
_MOST_REFERENCES = 50
_MOST_SCHEDULERS = 50
_MOST_BATCHES = 1_000_000  # of a table
_OF_SAM3 = "sam3.train.optim.schedulers.InverseSquareRootParamScheduler"


def read(config: Config) -> Recipe:
    """Read `optim.options.lr`, a list of schedulers of the rate. A count is a batch."""
    if config.init_value is not None:
        raise ValueError(
            "a config of SAM 2 has its rates in the schedulers: leave init_value out, and give names, such "
            "as {'scratch.base_lr': 1e-5}"
        )
    trainer = _trainer(config.settings)
    options = trainer["optim"]["options"]
    groups = options["lr"]
    number = config.groups(*map(_group_name, groups)) if len(groups) > 1 else 0
    batches = config.steps_in_epoch()
    written = trainer.get("max_epochs")
    epochs = _value(config, "max_epochs", written) if config.epochs is None else config.epochs
    epochs = check_positive_count("max_epochs", epochs)
    schedule = _schedule(config, groups[number].get("scheduler"), epochs, batches)
    for section, names in (
        ("optimizer", {"optimizer": "_target_"}),
        ("gradient_clip", {"clip": "max_norm"}),
    ):
        if isinstance(settings := trainer["optim"].get(section), Mapping):
            config.of(settings).state_settings(**names)
    if trainer["optim"].get("param_group_modifiers"):
        config.assume("param_group_modifiers may change the rates of some layers. This is the rate before.")
    return config.recipe("sam", schedule, "iteration", epochs * batches)


def _trainer(settings: Mapping[str, Any]) -> Any:
    """Return the mapping with `optim.options.lr`, which may be in `trainer`, or None."""
    for found in (settings.get("trainer"), settings):
        inner: Any = found
        for name in ("optim", "options", "lr"):
            inner = inner.get(name) if isinstance(inner, Mapping) else None
        if isinstance(inner, list) and inner and all(isinstance(each, Mapping) for each in inner):
            return found
    return None


FRAMEWORK = Framework(
    name="sam",
    read=read,
    aliases=("sam2", "sam3"),
    recognizes=lambda settings: _trainer(settings) is not None,
)


def _group_name(group: Mapping[str, Any]) -> str:
    names = group.get("param_names")
    return ", ".join(map(str, names)) if isinstance(names, list) else "the others"


def _value(config: Config, name: str, value: Any) -> float:
    """Return a number, which may be `${scratch.base_lr}` or `${divide:${scratch.base_lr},10}`."""
    for _ in range(_MOST_REFERENCES):
        match = _INNERMOST.search(value) if isinstance(value, str) else None
        if match is None:
            break
        found: Any = _resolved(config, name, match[1])
        value = found if match[0] == value else value[: match.start()] + str(found) + value[match.end() :]
    return config.of({name: value}).number(name)


def _resolved(config: Config, name: str, reference: str) -> Any:
    resolver, colon, arguments = reference.partition(":")
    if colon:
        check_choice(f"the resolver of {name}", resolver.strip(), tuple(_RESOLVERS))
        numbers = [config.of({name: text.strip()}).number(name) for text in arguments.split(",")]
        if len(numbers) != 2:
            raise ValueError(f"{name} must have two numbers in its resolver, got {shown_value(reference)}")
        first, second = numbers
        if resolver.strip() == "divide" and second == 0:
            raise ValueError(f"{name} divides by 0")
        return _RESOLVERS[resolver.strip()](first, second)
    given = config.of({}).get(reference)
    if given is not None:
        return given
    value: Any = config.settings
    for key in reference.strip().split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        raise ValueError(
            f"{name} is {shown_value('${' + reference + '}')}: give names={{{reference!r}: ...}}"
        )
    return value


def _schedule(config: Config, scheduler: Any, epochs: int, batches: int) -> optax.Schedule:
    if not isinstance(scheduler, Mapping) or scheduler.get("_target_") != _OF_SAM3:
        return phased_lr(1.0, _phases(config, scheduler, epochs, batches))
    if epochs * batches > _MOST_BATCHES:
        raise ValueError(
            f"the scheduler of SAM 3 is supported up to {_MOST_BATCHES} batches, got {epochs * batches}"
        )
    names = ("base_lr", "warmup_steps", "timescale", "cooldown_steps")
    base, warmup, timescale, cooldown = (_setting(config, scheduler, name) for name in names)
    if timescale <= 0:
        raise ValueError(f"timescale must be above 0, got {timescale:g}")

    def rate(count: int) -> float:
        """Return the rate of a batch. The original rounds its step down, often to the one before."""
        epoch = count // batches + count % batches / batches
        step, where = int(epoch * batches), epoch / epochs
        total = step / where if where > 0 else 1.0
        slope = math.sqrt((step + timescale - warmup) / timescale) if step > warmup else 1.0
        rise = min(1.0, step / warmup) if warmup else 1.0
        return base / slope * rise * (min(1.0, (total - step) / cooldown) if cooldown else 1.0)

    return tabulate(rate, epochs * batches)


def _phases(config: Config, scheduler: Any, epochs: int, batches: int) -> list[Phase]:
    """Return the phases of a scheduler, or of those of a CompositeParamScheduler in turn."""
    total = epochs * batches
    phases: list[Phase] = []
    begin, start = 0, 0.0
    parts = _parts(config, scheduler)
    for number, (part, share, scaling) in enumerate(parts):
        end = start + share

        def is_past(count: int, end: float = end) -> bool:
            return (count // batches + count % batches / batches) / epochs + _EPSILON > end

        is_last = number == len(parts) - 1
        after = total if is_last else bisect.bisect_left(range(total), True, lo=begin, key=is_past)
        is_rescaled = scaling == "rescaled"
        passed = max(0.0, begin - start * total) if is_rescaled else begin
        span = share * total if is_rescaled else total
        if after > begin:  # a short run may have no batch in the share of a scheduler
            phases.append(_phase(config, part, after - begin, passed, span))
        begin, start = after, end
    return phases


def _parts(config: Config, scheduler: Any) -> list[tuple[Any, float, str]]:
    """Return schedulers with their shares of the run and the ways in which they see the position in it."""
    if not isinstance(scheduler, Mapping):
        raise ValueError(f"a scheduler must be a mapping with _target_, got {shown_value(scheduler)}")
    if not str(scheduler.get("_target_")).endswith("CompositeParamScheduler"):
        return [(scheduler, 1.0, "fixed")]
    parts, given, scalings = (scheduler.get(key) for key in ("schedulers", "lengths", "interval_scaling"))
    if not (isinstance(parts, list) and isinstance(given, list) and isinstance(scalings, list)):
        raise ValueError("a CompositeParamScheduler must have lists: schedulers, lengths, interval_scaling")
    if not 0 < len(parts) == len(given) == len(scalings) <= _MOST_SCHEDULERS:
        raise ValueError(
            f"a CompositeParamScheduler must have lists of one length, at most {_MOST_SCHEDULERS}, got "
            f"{len(parts)}, {len(given)} and {len(scalings)}"
        )
    lengths = [_value(config, "lengths", length) for length in given]
    if abs(sum(lengths) - 1.0) >= 1e-3 or min(lengths) <= 0:
        raise ValueError(f"the lengths must be above 0 and sum to 1, got {lengths[:10]}")
    if sum(lengths) != 1.0:
        lengths[-1] = 1.0 - sum(lengths[:-1])
    kinds = [check_choice("interval_scaling", scaling, ("rescaled", "fixed")) for scaling in scalings]
    return [*zip(parts, lengths, kinds, strict=True)]


def _setting(config: Config, scheduler: Mapping[str, Any], key: str) -> float:
    """Return a setting of a scheduler, which must have it."""
    if scheduler.get(key) is None:
        raise ValueError(f"{str(scheduler.get('_target_')).rpartition('.')[2]} has no {key}")
    return _value(config, key, scheduler[key])


def _phase(config: Config, scheduler: Any, length: int, passed: float, span: float) -> Phase:
    settings = scheduler if isinstance(scheduler, Mapping) else {}
    name = str(settings.get("_target_")).rpartition(".")[2]

    def value(key: str) -> float:
        return _setting(config, settings, key)

    clock: Any = {"offset": passed, "span": span}
    match name:
        case "ConstantParamScheduler":
            return Phase(length, start_value=value("value"))
        case "CosineParamScheduler" | "LinearParamScheduler":
            shape: Any = "cosine" if name == "CosineParamScheduler" else "linear"
            return Phase(
                length, shape, start_value=value("start_value"), end_value=value("end_value"), **clock
            )
        case "PolynomialDecayParamScheduler":
            ends: Any = {"start_value": value("base_value"), "end_value": 0.0, "power": value("power")}
            return Phase(length, "polynomial", **ends, **clock)
        case _:
            raise ValueError(
                f"the scheduler {shown_value(name)} is not supported: give a Cosine-, Linear-, Constant-, "
                "PolynomialDecay- or CompositeParamScheduler of fvcore, or write it with jaxlr.phased_lr"
            )
