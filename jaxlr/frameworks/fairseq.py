"""Fairseq: the flags of `fairseq-train`, and the YAML of `fairseq-hydra-train`.

The rules are those of fairseq 0.12 (`fairseq/optim/lr_scheduler/`, `fairseq/trainer.py`).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxlr._checks import check_choice, check_positive_count, check_value, shown_value
from jaxlr.frameworks._curves import warmup_ahead
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import Config, Framework, Recipe, missing, section
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules import Phase, phased_lr


_PLATEAU = "reduce_lr_on_plateau"
_MOST_PERIODS = 200  # each phase costs time in a compiled step


def read(config: Config) -> Recipe:
    """Read `lr_scheduler`, `lr`, the warmup and `max_update`. A count is an update of the weights."""
    config = config.of(_flat(config))
    config.refuse("max_lr", reason="it is of fairseq before December 2020, where lr was the lowest rate")
    config.refuse("warmup_ratio", reason="it is of Uni-Core, not of fairseq")
    config.refuse("force_anneal", reason="it shrinks the rate at the epochs of the run")
    rate = _rate(config)
    config.state(optimizer=config.stated_text("optimizer"), clip=config.stated_clip("clip_norm"))
    config.state(weight_decay=config.stated("weight_decay"))
    config = with_defaults(config, {"lr_scheduler": "fixed"}, "fairseq")
    name = config.choice("lr_scheduler", (*_RULES, _PLATEAU))
    if name == _PLATEAU:
        epochs = int(config.epochs or config.signed("max_epoch", 0))
        return config.recipe("fairseq", _plateau(config, rate), "evaluation", max(0, epochs) or None)
    rule = _RULES[name]
    schedule, updates = phased_lr(rate, rule(config)), int(config.signed("max_update", 0))
    return config.recipe("fairseq", schedule, "update", updates if updates > 0 else None)


def _is_hydra(settings: Mapping[str, Any]) -> bool:
    scheduler = settings.get("lr_scheduler")
    is_named = isinstance(scheduler, str) or "_name" in section(settings, "lr_scheduler")
    return is_named and isinstance(settings.get("optimization"), Mapping)


FRAMEWORK = Framework(
    name="fairseq",
    read=read,
    marks=(
        *((name,) for name in ("warmup_updates", "total_num_update", "phase_ratio", "lr_period_updates")),
        *(("max_update", name) for name in ("lr", "lr_scheduler")),
        *(("lr_shrink", name) for name in ("lr_scheduler", "lr_patience")),
    ),
    recognizes=_is_hydra,
)


def _flat(config: Config) -> Mapping[str, Any]:
    """Return the sections of a YAML as flags, with those of a group of a composite optimizer."""
    settings = config.settings
    if not _is_hydra(settings):
        return settings
    tree = Tree(settings, config.named)
    place: tuple[str, ...] = ()
    groups = section(settings, "optimizer", "groups")
    if settings.get("lr_scheduler") == "pass_through" and groups:
        names = [str(name) for name in groups]
        place = ("optimizer", "groups", names[config.groups(*names) if len(names) > 1 else 0])
    own = Node(place, section(settings, *place))
    found = tree.resolved(own, ("lr_float",)) if place else {}
    flat: dict[str, Any] = {"lr": found["lr_float"]} if found.get("lr_float") is not None else {}
    for name in ("optimizer", "lr_scheduler"):
        given = own.settings.get(name, {})
        given = given if isinstance(given, Mapping) else {"_name": given}
        found = tree.resolved(Node((*place, name), given), given)
        flat = {**{name if key == "_name" else key: value for key, value in found.items()}, **flat}
    node = Node(("optimization",), section(settings, "optimization"))
    of_run = ("max_update", "max_epoch", "clip_norm")
    run = tree.resolved(node, of_run if place else ("lr", *of_run))
    return {**flat, **run}


def _rate(config: Config) -> Any:
    """Return the learning rate, which is a list of one."""
    if config.init_value is not None or not config.has("lr"):
        return config.base_rate("lr")
    rates = config.numbers("lr")
    if len(rates) != 1:
        raise ValueError(
            f"lr must be one rate, got {shown_value(config.get('lr'))}: rates by epoch are refused"
        )
    return rates[0]


def _plateau(config: Config, rate: Any) -> Any:
    """Return torch's plateau, which fairseq steps after each epoch."""
    if config.count("warmup_updates", 0) > 0:
        check_choice("with warmup_updates, lr_scheduler", _PLATEAU, _RULES)
    config.assume("The plateau is stepped after each epoch, with the loss of the first valid subset.")
    return reduce_lr_on_plateau(
        rate,
        mode="max" if config.flag("maximize_best_checkpoint_metric") else "min",
        factor=config.number("lr_shrink", 0.1),
        patience=config.count("lr_patience", 0),
        threshold=config.number("lr_threshold", 1e-4),
    )


def _warmup(config: Config, default: int = 0) -> int:
    return with_defaults(config, {"warmup_updates": default}, "fairseq").count("warmup_updates")


def _ramp(config: Config, updates: int, default: Any) -> Phase:
    """Return a line from `warmup_init_lr` to the rate. A rate below 0 stands for the default."""
    start = config.signed("warmup_init_lr", -1.0)
    start = default if start < 0 else check_value("warmup_init_lr", start)
    return Phase(updates, "linear", start_value=start, end_factor=1.0)


def _fixed(config: Config) -> list[Phase]:
    return [warmup_ahead(_warmup(config)), Phase(start_factor=1.0)]


def _inverse_sqrt(config: Config) -> list[Phase]:
    warmup = check_positive_count("warmup_updates", _warmup(config, 4000))
    return [_ramp(config, warmup, 0.0), Phase(None, "inverse_sqrt", start_factor=1.0, span=warmup)]


def _polynomial(config: Config) -> list[Phase]:
    warmup = _warmup(config)
    length = config.first("total_num_update", "max_update")
    if length == "max_update":
        config.assume("total_num_update is max_update, as in fairseq since November 2020. It was 1000000.")
    total = config.count(length)
    if total <= warmup:
        raise ValueError(f"total_num_update must be above warmup_updates, got {total} and {warmup}")
    ends: Any = {"start_factor": 1.0, "end_value": config.number("end_learning_rate", 0.0)}
    ramp = Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)
    return [ramp, Phase(total - warmup, "polynomial", power=config.number("power", 1.0), **ends)]


def _cosine(config: Config) -> list[Phase]:
    """Return cosines whose rates shrink and whose periods grow from one to the next."""
    warmup, low = _warmup(config), config.number("min_lr", 0.0)
    period = config.signed("lr_period_updates", -1.0)
    end = config.count("max_update")
    period = float(end - warmup) if period <= 0 else period
    if period <= 0:
        raise ValueError(f"max_update must be above warmup_updates, got {end} and {warmup}")
    grown, shrink = config.number("t_mult", 1.0), config.number("lr_shrink", 0.1)
    phases, update, factor = [_ramp(config, warmup, low)], warmup, 1.0
    while update < end:
        if period != math.floor(period) or len(phases) > _MOST_PERIODS or period < 1:
            raise ValueError(
                f"the periods of the cosine must be whole numbers, at most {_MOST_PERIODS}, got {period:g}"
            )
        ends: Any = {"start_factor": factor, "end_value": low * factor}
        phases.append(Phase(int(period), "cosine", **ends))
        update, period, factor = update + int(period), period * grown, factor * shrink
    return phases


def _tri_stage(config: Config) -> list[Phase]:
    """Return a line, a constant and an exponential decay."""
    ratios = config.numbers("phase_ratio")
    if ratios is None:
        steps = [config.count(f"{name}_steps", 0) for name in ("warmup", "hold", "decay")]
    elif len(ratios) != 3 or not math.isclose(sum(ratios), 1.0):
        raise ValueError(f"phase_ratio must be three numbers with the sum 1, got {ratios}")
    else:
        steps = [int(config.count("max_update") * ratio) for ratio in ratios]
    warmup, hold, decay = steps
    if decay == 0:
        raise missing("decay_steps")
    start = config.number("init_lr_scale", 0.01)
    final = check_value("final_lr_scale", config.number("final_lr_scale", 0.01), positive=True)
    return [
        Phase(warmup, "linear", start_factor=start, end_factor=1.0),
        Phase(hold, start_factor=1.0),
        Phase(decay, "exponential", start_factor=1.0, end_factor=final),
    ]


_RULES: dict[str, Callable[[Config], list[Phase]]] = {
    "fixed": _fixed,
    "inverse_sqrt": _inverse_sqrt,
    "polynomial_decay": _polynomial,
    "cosine": _cosine,
    "tri_stage": _tri_stage,
}
