"""detectron2: the `SOLVER` of its YAML configs, its lazy configs, and its older scheduler classes.

The rules are those of detectron2 of June 2026 (`solver/build.py`, `solver/lr_scheduler.py`,
`config/defaults.py`) and of fvcore 0.1.5 (`common/param_scheduler.py`). `WarmupPolyLR` is of its project
DeepLab.
"""

import bisect
import itertools
import math
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_positive_count, check_value, shorten, shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import (
    Clip,
    Config,
    Framework,
    OptimizerError,
    Recipe,
    TorchOptimizer,
    section,
)
from jaxlr.schedules import (
    Phase,
    chained_scheduler,
    cosine_annealing_lr,
    multi_step_lr,
    phased_lr,
    polynomial_lr,
)


_EPSILON = 1e-6  # fvcore adds it to each position in the run, so from 10**6 iterations on a step is early
_MOST_STEPS = 200
_DEFAULTS: dict[str, Any] = {
    "LR_SCHEDULER_NAME": "WarmupMultiStepLR",
    "MAX_ITER": 40000,
    "BASE_LR_END": 0.0,
    "GAMMA": 0.1,
    "STEPS": [30000],
    "NUM_DECAYS": 3,
    "WARMUP_FACTOR": 0.001,
    "WARMUP_ITERS": 1000,
    "WARMUP_METHOD": "linear",
    "POLY_LR_POWER": 0.9,
    "POLY_LR_CONSTANT_ENDING": 0.0,
}
_OPTIMIZER_DEFAULTS = {"MOMENTUM": 0.9, "WEIGHT_DECAY": 1e-4, "WEIGHT_DECAY_NORM": 0.0}
# Projects on detectron2 add settings to SOLVER, and other frameworks have a SOLVER too, such as FastReID.
# An unknown setting with one of these words may change the rate.
_OF_SCHEDULES = re.compile(
    r"(?:.*_)?(?:LRS?|STEPS?|EPOCHS?|WARMUP|SCHED|SCHEDULER?|POLICY|AUTOSTEP|PATIENCE)(?:_.*)?"
)
_KNOWN = {*_DEFAULTS, "BASE_LR", "BIAS_LR_FACTOR", "GRADIENT_ACCUMULATION_STEPS"}
# The functions of configs/common/coco_schedule.py in detectron2 and detrex, and their results by name.
_COCO_CALL = re.compile(
    r"default_X_scheduler\((\d{1,4})\)|"
    r"default_coco_scheduler\((\d{1,4}), (\d{1,4}), (\d{1,4}|\d\.\d{1,6}|\de-0?\d)\)"
)
_COCO_NAME = re.compile(r"get_config\(.[\w/]*coco_schedule\.py.\)\.lr_multiplier_(\w+)")
_COCO_CALLS = {
    **{f"{times}x": f"default_X_scheduler({times})" for times in (1, 2, 3, 6, 9)},
    "50ep": "default_coco_scheduler(50, 40, 0)",
    "36ep": "default_coco_scheduler(36, 30, 0)",
    "24ep": "default_coco_scheduler(24, 20, 0)",
    "12ep": "default_coco_scheduler(12, 11, 0)",
}
_STATED = ("LR_SCHEDULER_NAME", "MAX_ITER", "WARMUP_FACTOR", "WARMUP_ITERS")


def WarmupMultiStepLR(
    init_value: ArrayLike,
    milestones: Sequence[int],
    gamma: float = 0.1,
    warmup_factor: float | None = None,
    warmup_iters: int | None = None,
    warmup_method: str = "linear",
) -> Any:
    """Return a warmup times a decay at each milestone, as the class that many projects copied."""
    warmup = _copied_warmup(warmup_factor, warmup_iters, warmup_method)
    return chained_scheduler(init_value, [warmup, multi_step_lr(1.0, milestones, gamma)])


def WarmupCosineLR(
    init_value: ArrayLike,
    max_iters: int,
    warmup_factor: float | None = None,
    warmup_iters: int | None = None,
    warmup_method: str = "linear",
) -> Any:
    """Return a warmup times a cosine over all of `max_iters`."""
    warmup = _copied_warmup(warmup_factor, warmup_iters, warmup_method)
    return chained_scheduler(init_value, [warmup, cosine_annealing_lr(1.0, max_iters)])


def read(config: Config) -> Recipe:
    """Read `SOLVER` of a YAML config, or `lr_multiplier` of a lazy config. A count is an iteration."""
    if config.has("_BASE_"):
        base = shown_value(config.get("_BASE_"))
        raise ValueError(
            f"the config inherits from {base}: give the path of a YAML file, not a text, or leave out the "
            "base if the rest states all of SOLVER"
        )
    if "SOLVER" in config.settings:
        return _read_solver(config, config.inner("SOLVER"))
    return _read_lazy(config)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the SGD of `build_optimizer`."""
    if "SOLVER" not in config.settings:
        raise OptimizerError("the optimizer of a lazy config is not supported")
    solver = config.inner("SOLVER")
    if solver.number("BIAS_LR_FACTOR", 1.0) != 1:
        raise OptimizerError("BIAS_LR_FACTOR other than 1 is not supported")
    solver.refuse(
        *("OPTIMIZER", "BACKBONE_MULTIPLIER"),
        reason="it is a setting of projects, whose parameter groups differ",
        error=OptimizerError,
    )
    solver = with_defaults(solver, _OPTIMIZER_DEFAULTS, "detectron2")
    decay = solver.number("WEIGHT_DECAY")
    options = {"momentum": solver.number("MOMENTUM"), "nesterov": solver.flag("NESTEROV")}
    undecayed: list[str] = []
    norms = "the weights of norms" if solver.number("WEIGHT_DECAY_BIAS", 0.0) else "norms"
    for setting, words in (("WEIGHT_DECAY_NORM", norms), ("WEIGHT_DECAY_BIAS", "biases")):
        own = solver.number(setting, decay)
        if own not in (0, decay):
            raise OptimizerError(f"{setting}={own:g} is not supported beside WEIGHT_DECAY {decay:g}")
        if own != decay:
            undecayed.append(words)
    clip = solver.inner("CLIP_GRADIENTS")
    found: Clip | None = None
    if clip.flag("ENABLED"):
        kind = clip.text("CLIP_TYPE", "value")
        if kind != "value":
            raise OptimizerError(f"CLIP_TYPE must be 'value', got {shown_value(kind)}")
        found = Clip(clip.number("CLIP_VALUE", 1.0), None)
    return TorchOptimizer("SGD", {**options, "weight_decay": decay}, found, tuple(undecayed))


FRAMEWORK = Framework(
    name="detectron2",
    read=read,
    optimizer=optimizer,
    marks=(("SOLVER",), ("lr_multiplier",)),
    calls=(WarmupMultiStepLR, WarmupCosineLR),
    has_versions=True,
)


def _read_solver(config: Config, solver: Config) -> Recipe:
    for name in solver.settings:
        is_known = name in _KNOWN or "MULTIPLIER" in name
        if not is_known and _OF_SCHEDULES.fullmatch(name) and solver.get(name) not in (None, False, [], ()):
            raise ValueError(
                f"SOLVER.{name} is a setting of another framework than detectron2, which is not supported: "
                "write the schedule with jaxlr.phased_lr"
            )
    model = section(config.settings, "MODEL")
    if isinstance(model.get("WEIGHT"), str) or "CONV_BODY" in section(model, "BACKBONE"):
        raise ValueError(_of_maskrcnn_benchmark(solver))
    if missing := [f"{name} {_DEFAULTS[name]}" for name in _STATED if not solver.has(name)]:
        values = ", ".join(missing)
        config.assume(f"The config leaves these to the defaults of detectron2: {values}.")
    solver = solver.of({**_DEFAULTS, **{k: v for k, v in solver.settings.items() if v is not None}})
    solver = with_defaults(solver, {"BASE_LR": 0.001}, "detectron2", rate="BASE_LR")
    scale = _scale(config, solver)
    init_value = solver.base_rate("BASE_LR")
    if scale != 1 and config.init_value is None:
        init_value = init_value * scale
    if solver.number("BIAS_LR_FACTOR", 1.0) != 1 and config.groups("weights", "biases") == 1:
        init_value = init_value * solver.number("BIAS_LR_FACTOR")
    _state_solver(config, solver)
    length = check_positive_count("MAX_ITER", round(solver.number("MAX_ITER") / scale))
    warmup_iters = round(solver.count("WARMUP_ITERS") / scale)
    if solver.text("LR_SCHEDULER_NAME") == "WarmupPolyLR":
        schedule = _poly(solver, init_value, length, warmup_iters)
        return config.recipe("detectron2", schedule, "iteration", length)
    factor = solver.number("WARMUP_FACTOR")
    method = check_choice("WARMUP_METHOD", solver.text("WARMUP_METHOD"), ("linear", "constant"))
    if config.since(0, 4) is False:
        schedule = _before_0_4(solver, init_value, length, scale, (factor, warmup_iters, method))
        return config.recipe("detectron2", schedule, "iteration", length)
    main = _main_of_solver(solver, init_value, length, scale)
    warmup = _Warmup(factor, min(warmup_iters / length, 1.0), method, solver.flag("RESCALE_INTERVAL"))
    if config.version is None and warmup_iters and (main.place is None or main.place(warmup.length)):
        config.assume(
            "The warmup replaces the decay until it ends. Before detectron2 0.4 it multiplied the decay: "
            "give version='0.3' for such a run."
        )
    schedule = phased_lr(init_value, _phases(main, warmup, length))
    return config.recipe("detectron2", schedule, "iteration", length)


def _before_0_4(solver: Config, init_value: Any, length: int, scale: float, warmup: Any) -> Any:
    """Return the schedule of the classes that detectron2 had before 0.4."""
    known = ("WarmupMultiStepLR", "WarmupCosineLR")
    name = check_choice("LR_SCHEDULER_NAME before 0.4", solver.text("LR_SCHEDULER_NAME"), known)
    if name == "WarmupCosineLR":
        return WarmupCosineLR(init_value, length, *warmup)
    return WarmupMultiStepLR(init_value, _steps(solver, scale), solver.number("GAMMA"), *warmup)


def _steps(solver: Config, scale: float) -> list[int]:
    return [round(step / scale) for step in _numbers(solver, "STEPS")]


def _of_maskrcnn_benchmark(solver: Config) -> str:
    """Return the message about a config of maskrcnn-benchmark, whose defaults differ from detectron2's."""
    defaults = {"STEPS": [30000], "GAMMA": 0.1, "WARMUP_FACTOR": 1 / 3, "WARMUP_ITERS": 500}
    values = {name: solver.get(name, default) for name, default in defaults.items()}
    arguments = ", ".join(f"{name.lower()}={value}" for name, value in values.items())
    call = f"WarmupMultiStepLR({arguments.replace('steps', 'milestones', 1)})"
    return (
        "the MODEL is of maskrcnn-benchmark, whose defaults differ from those of detectron2: give "
        f"from_string the call {shorten(call, 200)!r} with BASE_LR, and twice that for the biases"
    )


def _scale(config: Config, solver: Config) -> float:
    """Return the factor by which `REFERENCE_WORLD_SIZE` changes the rate and the lengths."""
    reference = solver.count("REFERENCE_WORLD_SIZE", 0)
    if reference == 0:
        return 1.0
    if config.num_processes is None:
        raise ValueError(
            "REFERENCE_WORLD_SIZE scales the schedule by the number of GPUs: give num_processes"
        )
    scale = config.num_processes / reference
    if scale != 1:
        config.assume(
            f"{config.num_processes} processes in place of {reference} multiply the rate by {scale:g}, and "
            "divide all lengths by it."
        )
    return scale


def _state_solver(config: Config, solver: Config) -> None:
    clip = solver.inner("CLIP_GRADIENTS")
    if clip.flag("ENABLED") and clip.get("CLIP_TYPE") == "full_model":
        clip.state_settings(clip="CLIP_VALUE")
    elif clip.flag("ENABLED"):
        config.assume("CLIP_GRADIENTS clips each parameter by itself, so the recipe states no clip.")
    solver.state_settings(optimizer="OPTIMIZER", momentum="MOMENTUM", weight_decay="WEIGHT_DECAY")


class _Main(NamedTuple):
    """The factor of the rate as fvcore defines it: a function of the position in the run, from 0 to 1."""

    # Either some values and the index into them, which never falls, or a shape between two values.
    place: Callable[[float], int] | None = None
    values: Sequence[float] = ()
    shape: Any = None
    start: Any = None
    end: Any = None

    def value(self, where: float) -> Any:
        """Return the factor at a position."""
        if self.place is not None:
            return self.values[self.place(where)]
        weight = math.cos(math.pi * where / 2) ** 2 if self.shape == "cosine" else 1 - where
        return self.start * weight + self.end * (1 - weight)


class _Warmup(NamedTuple):
    """The settings of fvcore's warmup. Its length is a fraction of the run."""

    factor: float
    length: float
    method: str
    rescale: bool


def _phases(main: _Main, warmup: _Warmup, length: int) -> list[Phase]:
    """Return the phases of a run of `length` iterations."""
    part = warmup.length
    begin = bisect.bisect_left(range(length), True, key=lambda k: k / length + _EPSILON > part)
    if warmup.rescale and length > 1e6:
        raise ValueError(f"RESCALE_INTERVAL is supported up to 1000000 iterations, got {length}")
    phases: list[Phase] = []
    if begin and warmup.method == "constant":
        phases.append(Phase(begin, start_factor=warmup.factor * main.value(0.0)))
    elif begin:
        start, end = warmup.factor * main.value(0.0), main.value(0.0 if warmup.rescale else part)
        line: Any = {"start_factor": start, "end_factor": end, "span": part * length}
        phases.append(Phase(begin, "linear", **line))
    rest = (part + (1.0 - part)) - (1.0 - part)  # as fvcore computes it

    def position(count: int) -> float:
        return (count / length - rest) / (1.0 - part) if warmup.rescale else count / length

    if begin == length:
        return phases
    if main.place is None:
        offset, span = (begin - part * length, (1 - part) * length) if warmup.rescale else (begin, length)
        ends: Any = {"start_factor": main.start, "end_factor": main.end, "offset": max(0.0, offset)}
        return [*phases, Phase(length - begin, main.shape, span=span, **ends)]
    place = main.place
    counts = [
        bisect.bisect_left(range(length), number, lo=begin, key=lambda count: place(position(count)))
        for number in range(len(main.values))
    ]
    lengths = [after - before for before, after in itertools.pairwise([*counts, length])]
    return phases + [
        Phase(steps, start_factor=value) for steps, value in zip(lengths, main.values, strict=True) if steps
    ]


def _multi_step(values: Sequence[float], milestones: Sequence[int], num_updates: int) -> _Main:
    if len(values) != len(milestones) + 1 or len(values) > _MOST_STEPS:
        raise ValueError(
            f"there must be one value more than steps, and at most {_MOST_STEPS}, got {len(values)} values "
            f"and {len(milestones)} steps"
        )
    if any(after <= before for before, after in itertools.pairwise([0, *milestones, num_updates])):
        raise ValueError(
            f"the steps must rise from above 0 to below {num_updates}, the length, got {[*milestones]}"
        )

    def index(where: float) -> int:
        return bisect.bisect_right(milestones, int((where + _EPSILON) * num_updates))

    return _Main(index, values)


def _equal_steps(values: Sequence[float]) -> _Main:
    if not 1 <= len(values) <= _MOST_STEPS:
        raise ValueError(f"a scheduler must have from 1 to {_MOST_STEPS} values, got {len(values)}")

    def index(where: float) -> int:
        return min(int((where + _EPSILON) * len(values)), len(values) - 1)

    return _Main(index, values)


def _main_of_solver(solver: Config, init_value: Any, length: int, scale: float) -> _Main:
    match name := solver.text("LR_SCHEDULER_NAME"):
        case "WarmupMultiStepLR":
            steps = _steps(solver, scale)
            # detectron2 keeps a step at MAX_ITER, which today's fvcore refuses.
            kept = [step for step in steps if step < length]
            if len(kept) < len(steps):
                solver.assume(f"STEPS from MAX_ITER on, {length}, change no rate of the run.")
            gamma = solver.number("GAMMA")
            return _multi_step([gamma**k for k in range(len(kept) + 1)], kept, length)
        case "WarmupCosineLR":
            last = solver.number("BASE_LR_END")
            end = last / init_value if last else 0.0
            if not isinstance(end, jax.Array) and end > 1:
                raise ValueError(f"BASE_LR_END must be at most BASE_LR, got {last:g}")
            return _Main(shape="cosine", start=1.0, end=end)
        case "WarmupStepWithFixedGammaLR":
            gamma, decays = solver.number("GAMMA"), solver.positive_count("NUM_DECAYS")
            if decays >= _MOST_STEPS:
                raise ValueError(f"NUM_DECAYS must be below {_MOST_STEPS}, got {decays}")
            return _equal_steps([gamma**k for k in range(decays + 1)])
        case _:
            raise ValueError(
                "LR_SCHEDULER_NAME must be one of 'WarmupMultiStepLR', 'WarmupCosineLR', "
                f"'WarmupStepWithFixedGammaLR', 'WarmupPolyLR', got {shown_value(name)}"
            )


def _poly(solver: Config, init_value: Any, length: int, warmup_iters: int) -> Any:
    solver.refuse("POLY_LR_CONSTANT_ENDING", reason="a constant ending of WarmupPolyLR is not supported")
    warmup = _copied_warmup(solver.number("WARMUP_FACTOR"), warmup_iters, solver.text("WARMUP_METHOD"))
    return chained_scheduler(
        init_value, [warmup, polynomial_lr(1.0, length, solver.number("POLY_LR_POWER"))]
    )


def _copied_warmup(factor: Any, iters: Any, method: str) -> Any:
    if factor is None or iters is None:
        raise ValueError(
            "copies of this class have different defaults: give warmup_factor and warmup_iters, such as "
            "0.001 and 1000 in detectron2"
        )
    steps = check_positive_count("warmup_iters", iters) if iters else 0
    start = check_value("warmup_factor", factor)
    if check_choice("warmup_method", method, ("linear", "constant")) == "linear":
        return phased_lr(1.0, [Phase(steps, "linear", start_factor=start, end_factor=1.0)])
    return phased_lr(1.0, [Phase(steps, start_factor=start), Phase(start_factor=1.0)])


def _read_lazy(config: Config) -> Recipe:
    """Read `lr_multiplier`, `optimizer` and `train.max_iter` of a lazy config."""
    length = check_positive_count("train.max_iter", config.inner("train").number("max_iter"))
    optimizer = config.inner("optimizer")
    init_value = optimizer.base_rate("lr")
    optimizer.state_settings(optimizer="_target_", momentum="momentum", weight_decay="weight_decay")
    if "lr_factor_func" in section(optimizer.settings, "params"):
        config.assume("lr_factor_func multiplies the rate of some parameters. This is that of the others.")
    multiplier = _lazy_multiplier(config)
    warmup = _Warmup(0.0, 0.0, "constant", False)
    if multiplier.text("_target_") == "WarmupParamScheduler":
        warmup = _Warmup(
            multiplier.number("warmup_factor"),
            multiplier.number("warmup_length"),
            check_choice(
                "warmup_method", multiplier.text("warmup_method", "linear"), ("linear", "constant")
            ),
            multiplier.flag("rescale_interval"),
        )
        multiplier = multiplier.inner("scheduler")
    if warmup.length > 1:
        raise ValueError(f"warmup_length must be a fraction of the run, at most 1, got {warmup.length:g}")
    phases = _phases(_lazy_main(multiplier), warmup, length)
    return config.recipe("detectron2", phased_lr(init_value, phases), "iteration", length)


def _lazy_multiplier(config: Config) -> Config:
    """Return `lr_multiplier`, also a function or a name of `configs/common/coco_schedule.py`."""
    source = getattr(config.settings.get("lr_multiplier"), "source", "")
    name = _COCO_NAME.fullmatch(source)
    call = _COCO_CALL.fullmatch(_COCO_CALLS.get(name[1], "") if name else source)
    if call is None:
        return config.inner("lr_multiplier")
    if call[1]:  # a 1x run has 90,000 iterations
        times = check_positive_count("default_X_scheduler", int(call[1]))
        total, warmup, values = 90_000 * times, 1000.0, [1.0, 0.1, 0.01]
        milestones = [60_000, 80_000, 90_000] if times <= 2 else [total - 60_000, total - 20_000, total]
    else:  # of detrex, with 7500 iterations in an epoch
        total, last, warmup = 7500 * int(call[2]), 7500 * int(call[3]), 7500 * float(call[4])
        values, milestones = [1.0, 0.1], [last, total]
    main = {"_target_": "MultiStepParamScheduler", "values": values, "milestones": milestones}
    line = {"warmup_length": warmup / max(1, total), "warmup_method": "linear", "warmup_factor": 0.001}
    return config.of({"_target_": "WarmupParamScheduler", "scheduler": main, **line})


def _lazy_main(settings: Config) -> _Main:
    match settings.text("_target_"):
        case "MultiStepParamScheduler":
            values = settings.numbers("values", [])
            milestones = settings.counts("milestones")
            if not settings.has("num_updates") and milestones:
                return _multi_step(values, milestones[:-1], milestones[-1])
            updates = settings.positive_count("num_updates")
            if not settings.has("milestones"):
                width = math.ceil(updates / max(1, len(values)))
                milestones = [width * n for n in range(1, min(len(values), _MOST_STEPS))]
            return _multi_step(values, milestones, updates)
        case "StepParamScheduler":
            return _equal_steps(settings.numbers("values", []))
        case "CosineParamScheduler" | "LinearParamScheduler" as name:
            shape = "cosine" if name == "CosineParamScheduler" else "linear"
            ends = {"start": settings.number("start_value"), "end": settings.number("end_value")}
            return _Main(shape=shape, **ends)
        case "ConstantParamScheduler":
            return _equal_steps([settings.number("value")])
        case name:
            raise ValueError(f"the scheduler {shown_value(name)} of lr_multiplier is not supported")


def _numbers(settings: Config, name: str) -> list[float]:
    """Return a list of numbers. YAML reads `(60000, 80000)` as a text."""
    value = settings.get(name)
    if isinstance(value, str):
        settings = settings.of({name: value.strip("()[], ") or []})
    return settings.numbers(name)
