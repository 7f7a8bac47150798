"""SpeechBrain: the schedulers in its HyperPyYAML configs.

The rules are those of SpeechBrain 1.1 (`speechbrain/nnet/schedulers.py`). Its recipes call a scheduler
after an update or an epoch, so the first one runs at the rate of the optimizer.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from jaxlr._checks import check_choice, check_positive_count
from jaxlr.frameworks._curves import noam
from jaxlr.frameworks._newbob import new_bob
from jaxlr.frameworks.files import MADE
from jaxlr.frameworks.recipe import Config, Framework, Recipe, Unit, Unreadable
from jaxlr.schedules import (
    Phase,
    cyclic_lr,
    exponential_lr,
    per_epoch,
    phased_lr,
    sequential_lr,
    starting_at,
)


_MOST_REFERENCES = 3  # to references
_DIGITS = 30  # a rate that is smaller by as many is like 0


def read(config: Config) -> Recipe:
    """Read the scheduler and the rate of the optimizer. A count is an update, or an epoch."""
    found = [str(key) for key, value in config.settings.items() if _is_scheduler(value)]
    key = found[config.groups(*found) if len(found) > 1 else 0] if found else "lr_annealing"
    settings = _resolved(config, key)
    name = settings.text(MADE).rpartition(".")[2]
    if name == "NewBobScheduler":
        return _new_bob(config, settings)
    check_choice(f"the scheduler of {key}", name, ("NewBobScheduler", *_RULES))
    rule, setting, unit = _RULES[name]
    rate = settings.base_rate(setting)
    schedule = rule(_first_rate(config, rate), rate, settings)
    config.state(clip=config.stated_clip("max_grad_norm"))
    return config.recipe("speechbrain", schedule, unit, _num_counts(config, unit))


def _is_scheduler(value: Any) -> bool:
    name = value.get(MADE) if isinstance(value, Mapping) else None
    return isinstance(name, str) and ".schedulers." in name and not name.endswith("ScheduledLoss")


def _recognizes(settings: Mapping[str, Any]) -> bool:
    return any(map(_is_scheduler, settings.values()))


FRAMEWORK = Framework(name="speechbrain", read=read, recognizes=_recognizes, aliases=("SpeechBrain",))


def _resolved(config: Config, key: str) -> Config:
    """Return the arguments of an object, with the numbers that `!ref <name>` stands for."""
    numbers = {name: found for name in config.settings if (found := _number(config, name)) is not None}
    for _ in range(_MOST_REFERENCES):
        for name, value in config.settings.items():
            if isinstance(value, Unreadable) and isinstance(found := _value(value, numbers), int | float):
                numbers[name] = found
    return config.of({name: _value(value, numbers) for name, value in config.inner(key).settings.items()})


def _number(config: Config, name: str) -> float | None:
    """Return a setting as a number. None if it is none, or a reference."""
    if not isinstance(config.settings[name], int | float | str):
        return None
    try:
        return config.signed(name, 0.0)
    except ValueError:
        return None


def _value(value: Any, numbers: Mapping[str, float]) -> Any:
    found = value.source_value(numbers) if isinstance(value, Unreadable) else None
    return value if found is None else found


def _first_rate(config: Config, rate: Any) -> Any:
    """Return the rate of the only optimizer, or that of the scheduler."""
    optimizers = [
        str(key)
        for key, value in config.settings.items()
        if isinstance(value, Mapping) and ".optim." in str(value.get(MADE)) and "lr" in value
    ]
    if len(optimizers) == 1 and config.init_value is None:
        found = _resolved(config, optimizers[0])
        config.state(optimizer=found.text(MADE).rpartition(".")[2])
        return found.number("lr")
    config.assume("The first count has the rate of the scheduler, as if it was that of the optimizer.")
    return rate


def _num_counts(config: Config, unit: Unit) -> int | None:
    """Return the epochs of the run, or its updates if an update has one batch."""
    epochs = config.stated_epochs("number_of_epochs")
    if epochs is None or unit == "epoch":
        return epochs
    if config.steps_per_epoch is None or config.count("grad_accumulation_factor", 1) != 1:
        return None
    return epochs * config.steps_per_epoch


def _new_bob(config: Config, settings: Config) -> Recipe:
    config.assume("NewBob is stepped after each epoch, with a metric of the validation that should fall.")
    plateau = new_bob(
        settings.base_rate("initial_value"),
        settings.number("annealing_factor", 0.5),
        settings.signed("improvement_threshold", 0.0025),
        settings.count("patient", 0),
    )
    epochs = config.stated_epochs("number_of_epochs")
    return config.recipe("speechbrain", plateau, "evaluation", epochs)


def _noam(first: Any, rate: Any, settings: Config) -> Any:
    """Return a line and an inverse square root of the step, which is the count."""
    warmup = settings.positive_count("n_warmup_steps")
    if settings.has("model_size"):
        rate *= (settings.positive_count("model_size") * warmup) ** -0.5
    return phased_lr(rate, [Phase(1, start_value=first), *noam(warmup)])


def _linear(first: Any, rate: Any, settings: Config) -> Any:
    """Return a line whose last epoch has the final value."""
    steps = settings.count("epoch_count") - 1
    if steps < 2:
        raise ValueError(f"epoch_count must be at least 3, got {steps + 1}")
    ends: Any = {"start_factor": 1.0, "end_value": settings.number("final_value")}
    line = Phase(steps - 1, "linear", offset=1, span=steps, **ends)
    return phased_lr(rate, [Phase(1, start_value=first), line])


def _step(first: Any, rate: Any, settings: Config) -> Any:
    """Return a factor after every `decay_drop` epochs, counted from 1."""
    settings.refuse("half_life", reason="give decay_factor and decay_drop")
    factor, drop = settings.number("decay_factor", 0.5), settings.number("decay_drop", 2)
    stairs = per_epoch(exponential_lr(rate, factor), drop, first_step=2)  # count 0 is epoch 1
    return sequential_lr([phased_lr(first, [Phase()]), stairs], [1])


def _cyclic(first: Any, rate: Any, settings: Config) -> Any:
    """Return torch's CyclicLR from its count 1 on."""
    settings.refuse("scale_fn", reason="give a mode")
    mode: Any = settings.choice("mode", ("triangular", "triangular2", "exp_range"), "triangular")
    step, gamma = settings.number("step_size", 2000.0), settings.number("gamma", 1.0)
    cycles = cyclic_lr(rate, settings.number("max_lr", 0.006), step, mode=mode, gamma=gamma)
    return sequential_lr([phased_lr(first, [Phase()]), starting_at(cycles, 1)], [1])


def _warm_and_exponential(first: Any, rate: Any, settings: Config) -> Any:
    """Return a line from 0 at count 1, and an exponential that has its factor at `total_steps`."""
    warmup, factor = settings.count("n_warmup_steps"), settings.number("decay_factor", 0.1)
    span = check_positive_count("total_steps - n_warmup_steps", settings.count("total_steps") - warmup)
    if not 0 < factor < 1:
        raise ValueError(f"decay_factor must be above 0 and below 1, got {factor:g}")
    times = math.ceil(_DIGITS / -math.log10(factor))  # the exponential goes on after total_steps
    ends: Any = {"start_factor": 1.0, "end_factor": factor**times}
    phases = [Phase(1, start_value=first), Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)]
    return phased_lr(rate, [*phases, Phase(times * span, "exponential", **ends)])


_RULES: dict[str, tuple[Callable[[Any, Any, Config], Any], str, Unit]] = {
    "NoamScheduler": (_noam, "lr_initial", "update"),
    "LinearScheduler": (_linear, "initial_value", "epoch"),
    "StepScheduler": (_step, "initial_value", "epoch"),
    "CyclicLRScheduler": (_cyclic, "base_lr", "update"),
    "WarmAndExpDecayLRSchedule": (_warm_and_exponential, "lr", "update"),
}
