"""MMCV 1.x: `lr_config` of the configs of MMDetection 2, MMClassification, MMSegmentation 0.x and the like.

The rules are those of MMCV 1.7 (`runner/hooks/lr_updater.py`, `runner/epoch_based_runner.py`,
`runner/iter_based_runner.py`), and of MMDetection 2.28 for the policy `YOLOX`.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax

from jaxlr._checks import check_choice, shown_value
from jaxlr.frameworks.mmengine import check_single, class_of, clipping, norm_of, scaled_rate, undecayed
from jaxlr.frameworks.mmengine_schedules import has_ratio, one_cycle, restarts
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import (
    Phase,
    chained_scheduler,
    exponential_lr,
    multi_step_lr,
    per_epoch,
    phased_lr,
    step_lr,
)
from jaxlr.schedules._counts import array_module
from jaxlr.schedules.phases import Shape


_MOST_CYCLES = 100
_MOST_STEPS = 200
_BY_ITERATION = ("Cyclic", "OneCycle", "YOLOX")  # policies that do not count epochs


def read(config: Config) -> Recipe:
    """Read `lr_config`, `optimizer` and `runner`. A count is an iteration or an epoch.

    A count is an iteration if `steps_per_epoch` is given, if the policy counts iterations, or if there is a
    warmup.
    """
    _state_optimizer(config)
    run = _Run(config)
    if run.policy == "OneCycle":
        config.assume(
            "The policy OneCycle sets the rate from max_lr, and ignores the rate of the optimizer."
        )
        return config.recipe("mmcv", _one_cycle(run), run.unit, run.num_counts)
    run.init_value = _init_value(config)
    factors = [_warmup(run)] if run.has_warmup and run.policy != "YOLOX" else []
    rule, _ = _POLICIES[run.policy]
    is_nested = run.by_epoch and run.unit == "iteration"
    factors.append(per_epoch(rule(run), run.steps) if is_nested else rule(run))
    return config.recipe("mmcv", chained_scheduler(run.init_value, factors), run.unit, run.num_counts)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `optimizer` and `optimizer_config` (`runner/hooks/optimizer.py`)."""
    config.refuse("momentum_config", reason="it changes the momentum", error=OptimizerError)
    settings, hook = config.inner("optimizer"), config.inner("optimizer_config")
    settings.refuse("constructor", reason="it may make groups of parameters", error=OptimizerError)
    kind = hook.text("type", "OptimizerHook")
    if kind.removeprefix("GradientCumulative").removeprefix("Fp16") != "OptimizerHook":
        raise OptimizerError(f"the type {shown_value(kind)} of optimizer_config is not supported")
    return TorchOptimizer(
        class_of(settings),
        settings.options("type", "lr", "params", "paramwise_cfg", "_delete_"),
        clipping(hook, "grad_clip"),
        undecayed(settings.inner("paramwise_cfg")),
        hook.positive_count("cumulative_iters", 1),
    )


FRAMEWORK = Framework(
    name="mmcv", read=read, optimizer=optimizer, marks=(("lr_config",),), aliases=("mmcls",)
)


class _Run:
    """The settings of the policy, the length of the run, and the unit of its counts."""

    def __init__(self, config: Config):
        self._config = config
        self.init_value: Any = None
        self._runner = config.inner("runner")
        self.settings = config.inner("lr_config")
        self.policy = "Fixed" if config.get("lr_config") is None else _policy(self.settings)
        kind = self._runner.text("type", "")
        is_iterations = "IterBased" in kind or (
            not kind and not self._states_epochs and any(map(self._states, ("max_iters", "total_iters")))
        )
        if not kind and not is_iterations and not self._states_epochs and not self.settings.has("by_epoch"):
            raise ValueError(
                "the config has no runner, which tells if lr_config counts epochs: give epochs, or "
                "names={'by_epoch': ...}"
            )
        by_epoch = not is_iterations and self.policy not in _BY_ITERATION
        self.by_epoch = self.settings.flag("by_epoch", by_epoch)
        if self.by_epoch and (is_iterations or self.policy in _BY_ITERATION):
            raise ValueError(
                f"the policy {self.policy!r} counts iterations in this run: give by_epoch=False"
            )
        self._is_iterations = is_iterations
        self.has_warmup = self.settings.has("warmup")
        by_iteration = not self.by_epoch or self.has_warmup or config.steps_per_epoch is not None
        self.unit: Any = "iteration" if by_iteration else "epoch"

    def _states(self, name: str) -> bool:
        return self._runner.has(name) or self._config.has(name)

    @property
    def _states_epochs(self) -> bool:
        return self._config.epochs is not None or any(map(self._states, ("max_epochs", "total_epochs")))

    @property
    def steps(self) -> int:
        return self._config.steps_in_epoch()

    @property
    def length(self) -> int:
        """The number of epochs, or of iterations, as the policy counts."""
        if self.by_epoch:
            return self._epochs()
        return self._iterations() if self._is_iterations else self._epochs() * self.steps

    @property
    def num_counts(self) -> int | None:
        if self._is_iterations:
            return self._iterations()
        if not self._states_epochs:
            return None
        if self.unit == "epoch":
            return self._epochs()
        return None if self._config.steps_per_epoch is None else self._epochs() * self.steps

    def _epochs(self) -> int:
        section, name = self._setting("epochs")
        return section.whole_epochs(name)

    def _iterations(self) -> int:
        section, name = self._setting("iters")
        return section.positive_count(name)

    def _setting(self, unit: str) -> tuple[Config, str]:
        """Return the place of the length: `max_epochs` of the runner, or the older `total_epochs`."""
        is_older = self._config.has(f"total_{unit}") and not self._runner.has(f"max_{unit}")
        return (self._config, f"total_{unit}") if is_older else (self._runner, f"max_{unit}")

    def warmup_length(self) -> int:
        length = self.settings.positive_count("warmup_iters", 0)
        if not self.settings.flag("warmup_by_epoch"):
            return length
        if self._is_iterations:
            raise ValueError("warmup_by_epoch needs a runner that counts epochs: give warmup_iters instead")
        return length * self.steps

    def floor(self, required: bool = True) -> Any:
        """Return the lowest rate as a factor of the rate of the optimizer."""
        if has_ratio(self.settings, f"the policy {self.policy!r}", "min_lr", required):
            return self.settings.number("min_lr_ratio")
        floor = self.settings.number("min_lr", 0.0)
        if floor == 0:
            return 0.0
        if not isinstance(self.init_value, jax.Array) and self.init_value == 0:
            raise ValueError("the rate of the optimizer must be above 0 for a min_lr above 0")
        return floor / self.init_value


def _policy(settings: Config) -> str:
    """Return the name of the policy. MMCV begins a name in lower case with a capital letter."""
    policy = settings.text("policy")
    name = policy.title() if policy == policy.lower() else policy
    check_choice("policy of lr_config", name if name in _POLICIES else policy, tuple(_POLICIES))
    for setting in settings.settings:
        if setting not in f"{_COMMON_SETTINGS} {_POLICIES[name][1]}".split():
            raise ValueError(f"the policy {name!r} has no setting {shown_value(setting)} that is supported")
    return name


def _init_value(config: Config) -> Any:
    optimizer = config.inner("optimizer")
    check_single("optimizer", optimizer, "lr")
    rate = optimizer.base_rate("lr")
    return scaled_rate(config, optimizer, rate, lambda: config.inner("data").count("samples_per_gpu"))


def _state_optimizer(config: Config) -> None:
    optimizer, hook = config.inner("optimizer"), config.inner("optimizer_config")
    momentum = optimizer.stated("momentum")
    if config.has("momentum_config"):
        config.assume("momentum_config changes the momentum, which the recipe leaves out.")
        momentum = None
    config.state(
        optimizer=optimizer.stated_text("type"),
        momentum=momentum,
        weight_decay=optimizer.stated("weight_decay"),
        clip=norm_of(hook, "grad_clip"),
    )
    number = hook.stated(hook.first("cumulative_iters", "update_interval"))
    if number is not None and number > 1:
        config.assume(f"The weights are updated every {number:g} iterations; a count is an iteration.")
    for settings in config.get("custom_hooks") or []:
        name = config.of(settings).text("type", "") if isinstance(settings, Mapping) else ""
        if "LrUpdater" in name:
            raise ValueError(f"{name} of custom_hooks sets the rate itself, which is not supported")


def _warmup(run: _Run) -> Any:
    """Return the factor of the warmup, which multiplies the rate of the present epoch or iteration."""
    kind = check_choice("warmup", run.settings.text("warmup"), ("constant", "linear", "exp"))
    ratio = run.settings.number("warmup_ratio", 0.1)
    if not 0 < ratio <= 1:
        raise ValueError(f"warmup_ratio must be above 0 and at most 1, got {ratio:g}")
    length = run.warmup_length()
    if kind == "constant":
        phases = [Phase(length, start_factor=ratio), Phase(start_factor=1.0)]
    else:
        shape: Any = "linear" if kind == "linear" else "exponential"
        phases = [Phase(length, shape, start_factor=ratio, end_factor=1.0)]
    return phased_lr(1.0, phases)


def _step(run: _Run) -> Any:
    gamma, step = run.settings.number("gamma", 0.1), run.settings.get("step")
    is_list, floor = isinstance(step, list | tuple), run.floor(required=False)
    if not is_list and isinstance(floor, float) and floor == 0:
        return step_lr(1.0, run.settings.positive_count("step"), gamma)
    steps = run.settings.counts("step")
    if not is_list:
        period = run.settings.positive_count("step")
        steps = [*range(period, min(run.length, _MOST_STEPS * period), period)]
    # MMCV takes the first of the list that is above the count.
    milestones = list(itertools.accumulate(steps, max))
    if isinstance(floor, float) and floor == 0:
        return multi_step_lr(1.0, milestones, gamma)
    if len(steps) >= _MOST_STEPS - 1:
        raise ValueError(f"a policy 'Step' with min_lr must have fewer than {_MOST_STEPS - 1} steps")
    lengths = [after - before for before, after in itertools.pairwise([0, *milestones])]
    rates = [array_module(floor).maximum(gamma**number, floor) for number in range(len(steps) + 1)]
    phases = [Phase(length, start_factor=rate) for length, rate in zip(lengths, rates, strict=False)]
    return phased_lr(1.0, [*phases, Phase(start_factor=rates[-1])])


def _polynomial(run: _Run) -> Any:
    ends: Any = {"power": run.settings.number("power", 1.0), "end_factor": run.floor(required=False)}
    return phased_lr(1.0, [Phase(run.length, "polynomial", **ends)])


def _inverse(run: _Run) -> Any:
    gamma, power = run.settings.number("gamma"), run.settings.number("power", 1.0)
    if gamma == 0:
        return phased_lr(1.0, [Phase()])
    return phased_lr(1.0, [Phase(shape="inverse_power", power=power, span=1 / gamma)])


def _flat_cosine(run: _Run) -> Any:
    part = run.settings.number("start_percent", 0.75)
    if part > 1:
        raise ValueError(f"start_percent must be from 0 to 1, got {part:g}")
    flat = round(run.length * part)
    phases = [Phase(flat)]
    if flat < run.length:
        phases.append(Phase(run.length - flat, "cosine", start_factor=1.0, end_factor=run.floor()))
    return phased_lr(1.0, phases)


def _fall(shape: Shape) -> Callable[[_Run], Any]:
    return lambda run: phased_lr(1.0, [Phase(run.length, shape, end_factor=run.floor())])


def _restarts(run: _Run) -> Any:
    """Read cosines. A weight multiplies the part of the rate above the floor, unlike in MMEngine."""
    cycles = restarts(run.settings, "CosineRestart")
    total = sum(period for period, _ in cycles)
    if total < run.length:
        raise ValueError(f"the periods must add up to the whole run, {run.length}, got {total}")
    floor = run.floor()
    phases = [
        Phase(period, "cosine", start_factor=floor + weight * (1 - floor), end_factor=floor)
        for period, weight in cycles
    ]
    return phased_lr(1.0, phases)


def _cyclic(run: _Run) -> Any:
    """Read cycles that rise to `target_ratio[0]` times the rate and fall to `target_ratio[1]` times it."""
    ratios = run.settings.numbers("target_ratio", [10.0, 1e-4])
    if len(ratios) > 2:
        raise ValueError(f"target_ratio must be one or two numbers, got {len(ratios)}")
    high, low = ratios if len(ratios) == 2 else (ratios[0], ratios[0] / 1e5)
    times = run.settings.positive_count("cyclic_times", 1)
    period, gamma = run.length // times, run.settings.number("gamma", 1.0)
    up = int(run.settings.number("step_ratio_up", 0.4) * period)
    if not 0 < gamma <= 1 or not 0 <= up < period or times > _MOST_CYCLES:
        raise ValueError(
            f"Cyclic needs a gamma above 0 and at most 1, a step_ratio_up below 1, and at most "
            f"{_MOST_CYCLES} cycles that are no longer than the run"
        )
    strategy = check_choice(
        "anneal_strategy", run.settings.text("anneal_strategy", "cos"), ("cos", "linear")
    )
    shape: Any = "cosine" if strategy == "cos" else "linear"
    phases: list[Phase] = []
    for scale in [gamma**cycle for cycle in range(math.ceil(run.length / period))]:
        top = 1 - scale + high * scale
        if up:
            phases += [
                Phase(up, shape, start_factor=1.0, end_factor=top),
                Phase(period - up, shape, start_factor=top, end_factor=low),
            ]
        else:  # MMCV takes the falling phase for the first one, and scales its end
            phases.append(Phase(period, shape, start_factor=high, end_factor=1 - scale + low * scale))
    return phased_lr(1.0, phases)


def _one_cycle(run: _Run) -> Any:
    if run.has_warmup:
        raise ValueError("a warmup over the policy OneCycle is not supported")
    total = run.settings.positive_count("total_steps", run.length)
    if total < run.length:
        raise ValueError(
            f"total_steps must be at least {run.length}, the iterations of the run, got {total}"
        )
    return one_cycle(run.settings, run.settings.number("max_lr"), total)


def _yolox(run: _Run) -> Any:
    """Read a warmup along a square, a cosine one iteration ahead, and the floor in the last epochs."""
    if not run.has_warmup:
        raise ValueError("the policy 'YOLOX' needs a warmup, such as warmup='exp'")
    warmup, ratio = run.warmup_length(), run.settings.number("warmup_ratio", 0.1)
    rest = run.settings.count("num_last_epochs") * run.steps
    falling, floor = run.length - warmup - rest, run.floor()
    if falling < 1:
        raise ValueError(
            "the policy 'YOLOX' needs more epochs than the warmup and num_last_epochs together"
        )
    square: Any = {"start_factor": 0.0, "end_factor": ratio, "power": 2.0, "offset": 1, "span": warmup}
    cosine: Any = {"start_factor": 1.0, "end_factor": floor, "offset": 1, "span": falling}
    phases = [
        Phase(warmup, "power", **square),
        Phase(falling - 1, "cosine", **cosine),
        Phase(start_factor=floor),
    ]
    return phased_lr(1.0, phases)


_COMMON_SETTINGS = "policy by_epoch warmup warmup_iters warmup_ratio warmup_by_epoch"
_POLICIES: dict[str, tuple[Callable[[_Run], Any], str]] = {  # with the settings of each
    "Fixed": (lambda run: phased_lr(1.0, [Phase()]), ""),
    "Step": (_step, "step gamma min_lr"),
    "Exp": (lambda run: exponential_lr(1.0, run.settings.number("gamma")), "gamma"),
    "Poly": (_polynomial, "power min_lr"),
    "Inv": (_inverse, "gamma power"),
    "CosineAnnealing": (_fall("cosine"), "min_lr min_lr_ratio"),
    "LinearAnnealing": (_fall("linear"), "min_lr min_lr_ratio"),
    "FlatCosineAnnealing": (_flat_cosine, "start_percent min_lr min_lr_ratio"),
    "CosineRestart": (_restarts, "periods restart_weights min_lr min_lr_ratio"),
    "Cyclic": (_cyclic, "target_ratio cyclic_times step_ratio_up anneal_strategy gamma"),
    "OneCycle": (
        _one_cycle,
        "max_lr total_steps pct_start anneal_strategy div_factor final_div_factor three_phase",
    ),
    "YOLOX": (_yolox, "num_last_epochs min_lr min_lr_ratio"),
}
