"""nerfstudio: the schedulers of its Python configs, and the `config.yml` of its runs.

The rules are those of nerfstudio 1.1.5 (`engine/schedulers.py`, `engine/optimizers.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from inspect import signature
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_duration, check_positive_count, check_value, shown_value
from jaxlr.frameworks._curves import sine_ramp
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, chained_scheduler, multi_step_lr, phased_lr


_MILESTONES = (500_000, 750_000, 900_000)


def ExponentialDecaySchedulerConfig(
    init_value: ArrayLike,
    lr_pre_warmup: float = 1e-8,
    lr_final: float | None = None,
    warmup_steps: int = 0,
    max_steps: int = 100_000,
    ramp: str = "cosine",
) -> optax.Schedule:
    """Return a warmup along a sine, then an exponential decay to `lr_final` at `max_steps`."""
    warmup, total = _lengths("warmup_steps", warmup_steps, max_steps)
    end: Any = {"end_factor": 1.0} if lr_final is None else {"end_value": lr_final}
    decay = Phase(total - warmup, "exponential", start_factor=1.0, **end)
    check_value("init_value", init_value, positive=True)
    if warmup == 0:
        return phased_lr(init_value, [decay])
    if check_choice("ramp", ramp, ("linear", "cosine")) == "linear":
        line = Phase(warmup, "linear", start_value=lr_pre_warmup, end_factor=1.0)
        return phased_lr(init_value, [line, decay])
    start: Any = lr_pre_warmup / init_value
    factor: Any = {"end_factor": 1.0 if lr_final is None else lr_final / init_value}
    decay = Phase(total - warmup, "exponential", start_factor=1.0, **factor)
    after = phased_lr(1.0, [Phase(warmup, start_factor=1.0), decay])
    return chained_scheduler(init_value, [sine_ramp(warmup, start), after])


def CosineDecaySchedulerConfig(
    init_value: ArrayLike,
    warm_up_end: int = 5000,
    learning_rate_alpha: float = 0.05,
    max_steps: int = 300_000,
) -> optax.Schedule:
    """Return a warmup from 0, then a cosine to `learning_rate_alpha` of the rate, which rises again."""
    warmup, total = _lengths("warm_up_end", warm_up_end, max_steps)
    ramp = Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)
    ends: Any = {"start_factor": 1.0, "end_factor": learning_rate_alpha}
    return phased_lr(init_value, [ramp, Phase(None, "cosine", **ends, span=total - warmup)])


def MultiStepSchedulerConfig(
    init_value: ArrayLike,
    max_steps: int | None = None,
    gamma: float = 0.33,
    milestones: Sequence[int] | None = None,
) -> optax.Schedule:
    """Return a rate that falls by `gamma` at each milestone, which early versions took from `max_steps`."""
    if milestones is None:
        if max_steps is not None:
            raise ValueError(
                "early versions of nerfstudio took the milestones from max_steps, and later ones take "
                f"{_MILESTONES}: give milestones"
            )
        milestones = _MILESTONES
    return multi_step_lr(init_value, sorted(milestones), gamma)


def read(config: Config) -> Recipe:
    """Read `optimizers` and `max_num_iterations`. A count is an iteration."""
    trainers = _trainers(config.settings)
    if len(trainers) != 1:
        raise ValueError(
            f"the text has {len(trainers)} configs with optimizers: give the one that you mean"
        )
    optimizers = trainers[0].get("optimizers", {"the optimizer": trainers[0]})
    names = [*map(str, optimizers)]
    number = config.groups(*names) if len(names) > 1 else 0
    group = config.of(optimizers).inner(names[number])
    optimizer, scheduler = group.inner("optimizer"), group.inner("scheduler")
    optimizer = with_defaults(optimizer, {"lr": 0.0005}, "nerfstudio", rate="lr")
    init_value = optimizer.base_rate("lr")
    config.state(optimizer=_name(optimizer.settings).removesuffix("OptimizerConfig") or None)
    optimizer.state_settings(weight_decay="weight_decay", clip="max_norm")
    num_counts = config.of(trainers[0]).count("max_num_iterations", None)
    schedule = _schedule(init_value, scheduler)
    return config.recipe("nerfstudio", schedule, "iteration", num_counts)


def _lengths(name: str, warmup: Any, max_steps: Any) -> tuple[int, int]:
    """Return the steps of the warmup and those of the run, which must be more."""
    steps, total = check_duration(name, warmup), check_positive_count("max_steps", max_steps)
    if steps >= total:
        raise ValueError(f"{name} must be below max_steps, got {steps} and {total}")
    return steps, total


def _trainers(settings: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the configs in a file that have optimizers, or the one group of a fragment."""
    inner = [each for each in settings.values() if isinstance(each, Mapping)]
    inner += [each["config"] for each in inner if isinstance(each.get("config"), Mapping)]
    found = [each for each in (settings, *inner) if isinstance(each.get("optimizers"), Mapping)]
    found = [each for each in found if any(map(_is_group, each["optimizers"].values()))]
    if not found and _is_group(settings) and "OptimizerConfig" in _name(settings["optimizer"]):
        return [settings]
    return found


def _is_group(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(found := value.get("optimizer"), Mapping)
        and "lr" in found
    )


FRAMEWORK = Framework(
    name="nerfstudio",
    read=read,
    calls=(ExponentialDecaySchedulerConfig, CosineDecaySchedulerConfig, MultiStepSchedulerConfig),
    recognizes=lambda settings: bool(_trainers(settings)),
)


def _name(settings: Mapping[str, Any]) -> str:
    """Return the name of a class. A `config.yml` has it without the word Config of a call."""
    return str(settings.get("_target_") or settings.get("_target") or "").rpartition(".")[2]


def _schedule(init_value: Any, scheduler: Config) -> Any:
    if not scheduler.settings:
        return phased_lr(init_value, [Phase(start_factor=1.0)])
    name = _name(scheduler.settings).removesuffix("Config")
    if name not in _SCHEDULERS:
        raise ValueError(
            f"the scheduler {shown_value(name)} is not one of nerfstudio 1.1: write it with phased_lr"
        )
    call, defaults = _SCHEDULERS[name]
    scheduler = with_defaults(scheduler, defaults, "nerfstudio")
    methods: dict[str, Any] = {"ramp": scheduler.text, "milestones": scheduler.counts}
    given = filter(scheduler.has, signature(call).parameters)
    return call(init_value, **{each: methods.get(each, scheduler.number)(each) for each in given})


# The function of each scheduler, and the defaults to state.
_SCHEDULERS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "ExponentialDecayScheduler": (ExponentialDecaySchedulerConfig, {"max_steps": 100_000}),
    "CosineDecayScheduler": (
        CosineDecaySchedulerConfig,
        {"warm_up_end": 5000, "learning_rate_alpha": 0.05, "max_steps": 300_000},
    ),
    "MultiStepScheduler": (MultiStepSchedulerConfig, {"gamma": 0.33}),
}
