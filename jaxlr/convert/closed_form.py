"""What a torch scheduler computes from, live or saved, and the closed form that this comes to."""

import bisect
import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optax

from jaxlr._checks import shorten, shown_value
from jaxlr.convert.calls import Call, build
from jaxlr.convert.constructors import FACTORS, GOES_ON
from jaxlr.schedules._counts import Schedule, at_most, largest_count


# Attributes from which torch computes, by the names of our arguments, which are those of its constructors.
_ATTRIBUTES = {
    "StepLR": ("step_size", "gamma"),
    "MultiStepLR": ("milestones", "gamma"),
    "ConstantLR": ("factor", "total_iters"),
    "LinearLR": ("start_factor", "end_factor", "total_iters"),
    "ExponentialLR": ("gamma",),
    "PolynomialLR": ("total_iters", "power"),
    "CosineAnnealingLR": ("T_max", "eta_min"),
    "CosineAnnealingWarmRestarts": ("T_0", "T_mult", "eta_min"),
}
# A state_dict does not name its class, which is known by an attribute: the first of these that it has.
_MARKS = {
    "patience": "ReduceLROnPlateau",
    "_milestones": "SequentialLR",
    "_schedulers": "ChainedScheduler",
    "_schedule_phases": "OneCycleLR",
    "total_size": "CyclicLR",
    "anneal_epochs": "SWALR",
    "lr_lambdas": "LambdaLR",
    "step_size": "StepLR",
    "milestones": "MultiStepLR",
    "start_factor": "LinearLR",
    "factor": "ConstantLR",
    "power": "PolynomialLR",
    "T_max": "CosineAnnealingLR",
    "T_0": "CosineAnnealingWarmRestarts",
    "gamma": "ExponentialLR",
}
_LAMBDAS = ("LambdaLR", "MultiplicativeLR")
_MODULES = ("torch.optim.lr_scheduler", "torch.optim.swa_utils")
# What only ever multiplies, so that its rates keep their digits however small they are.
_PRODUCTS = ("StepLR", "MultiStepLR", "ConstantLR", "ExponentialLR")


class NoClosedFormError(Exception):
    """Why a scheduler has to be stepped."""


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """What a scheduler computes from: its attributes, and those of its parts."""

    name: str
    values: Mapping[str, Any]
    parts: list["State"]
    lr_lambda: Any = None

    @classmethod
    def of_live(cls, scheduler: Any) -> "State":
        """Of an object of torch's."""
        if not is_torchs(scheduler):
            raise NoClosedFormError(f"{type(scheduler).__name__} is no class of torch's own")
        inner = vars(scheduler).get("_schedulers", [])
        if len({id(part) for part in inner}) < len(inner):
            raise NoClosedFormError(f"{type(scheduler).__name__} has a scheduler in it twice")
        parts = [cls.of_live(part) for part in inner]
        return cls(type(scheduler).__name__, vars(scheduler), parts)

    @classmethod
    def of_saved(cls, name: str, values: Mapping[str, Any], lr_lambda: Any = None) -> "State":
        """Of a state_dict, which must be that of the class."""
        is_of = _class_of(values)
        if is_of != name and not (name in _LAMBDAS and is_of in _LAMBDAS):
            raise ValueError(f"class_name is {name!r}, but the state_dict is that of {is_of}")
        if name in _LAMBDAS and not callable(lr_lambda):
            raise ValueError(f"a state_dict drops the functions of {name}: give the group's as lr_lambda")
        saved = values.get("_schedulers", [])
        functions = lr_lambda if isinstance(lr_lambda, Sequence) else [None] * len(saved)
        if len(functions) != len(saved):
            raise ValueError(
                f"lr_lambda must have an item for each of {len(saved)} schedulers, got {len(functions)}"
            )
        pairs = zip(saved, functions, strict=True)
        parts = [cls.of_saved(_class_of(part), part, function) for part, function in pairs]
        return cls(name, values, parts, lr_lambda)

    def get(self, key: str) -> Any:
        """An attribute, which must be there."""
        if key not in self.values:
            raise ValueError(f"the state_dict of {self.name} lacks {key!r}")
        return self.values[key]

    @property
    def last_epoch(self) -> int:
        """Steps taken; a chain's own are those of its parts."""
        return self.parts[0].last_epoch if self.name == "ChainedScheduler" else self.get("last_epoch")

    def base_lr(self, group: int) -> float:
        """Learning rate with which a parameter group began."""
        return (
            self.parts[0].base_lr(group)
            if self.parts
            else float(item("base_lrs", self.get("base_lrs"), group))
        )


def standing(state: State, param_group: Mapping[str, Any], group: int) -> optax.Schedule:
    """The closed form from now on, if the learning rate stands where it says."""
    call = closed_form(state, param_group, group)
    try:
        schedule = build(call)
    except (ValueError, TypeError) as error:  # torch takes settings that we refuse
        raise NoClosedFormError(f"{state.name} has odd settings ({error})") from None
    lr, epoch = float(param_group["lr"]), state.last_epoch
    expected = schedule(epoch)
    lost = 0.0 if state.name in _PRODUCTS else 1e-12 * state.base_lr(group)
    if not math.isclose(lr, expected, rel_tol=1e-9, abs_tol=lost):
        raise NoClosedFormError(
            f"the learning rate of {state.name} is {lr!r} in epoch {epoch}, not {expected!r}"
        )
    return shifted(schedule, epoch)


def closed_form(state: State, param_group: Mapping[str, Any], group: int) -> Call:
    """The call for a scheduler since its first epoch."""
    match state.name:
        case "SequentialLR":
            return _sequential(state, param_group, group)
        case "ChainedScheduler":
            return _chained(state, param_group, group)
        case "CyclicLR":
            return _cyclic(state, group)
        case "OneCycleLR":
            return _one_cycle(state, param_group)
    arguments: dict[str, Any] = {"init_value": state.base_lr(group)}
    match state.name:
        case "LambdaLR" if callable(state.lr_lambda):
            return Call("LambdaLR", {**arguments, "lr_lambda": state.lr_lambda})
        case "LambdaLR" | "MultiplicativeLR":
            raise NoClosedFormError(f"{state.name} has a Python function")
        case "SWALR":
            swa = {
                "anneal_epochs": state.get("anneal_epochs"),
                "anneal_strategy": state.get("_anneal_strategy"),
            }
            return Call("SWALR", {**arguments, "swa_lr": _rate(state, param_group, "swa_lr"), **swa})
    arguments |= {key: state.get(key) for key in _ATTRIBUTES[state.name]}
    if state.name == "MultiStepLR":  # a Counter in torch
        milestones = Counter(state.get("milestones"))
        arguments["milestones"] = list(milestones.elements())
    return Call(state.name, arguments)


def _cyclic(state: State, group: int) -> Call:
    if state.get("_scale_fn_custom") is not None:
        raise NoClosedFormError("CyclicLR has a scale_fn of Python")
    total = state.get("total_size")
    up = round(total * state.get("step_ratio"), 6)
    arguments = {"max_lr": float(item("max_lrs", state.get("max_lrs"), group))}
    arguments |= {"step_size_up": up, "step_size_down": round(total - up, 6)}
    arguments |= {"mode": state.get("mode"), "gamma": state.get("gamma")}
    return Call("CyclicLR", {"base_lr": state.base_lr(group), **arguments})


def _one_cycle(state: State, param_group: Mapping[str, Any]) -> Call:
    first, top, last = (_rate(state, param_group, key) for key in ("initial_lr", "max_lr", "min_lr"))
    if not first or not last:
        raise NoClosedFormError("OneCycleLR begins or ends at 0")
    phases, total_steps = state.get("_schedule_phases"), state.get("total_steps")
    try:
        pct_start = (phases[0]["end_step"] + 1) / total_steps
    except (LookupError, TypeError, ArithmeticError):
        raise ValueError(f"the phases of OneCycleLR must be torch's, got {shorten(repr(phases))}") from None
    arguments = {
        "max_lr": top,
        "total_steps": total_steps,
        "pct_start": pct_start,
        "anneal_strategy": state.get("_anneal_func_type"),
        "div_factor": top / first,
        "final_div_factor": first / last,
        "three_phase": len(phases) == 3,
    }
    return Call("OneCycleLR", arguments)


def _sequential(state: State, param_group: Mapping[str, Any], group: int) -> Call:
    milestones = list(state.get("_milestones"))
    active = bisect.bisect_right(milestones, state.last_epoch)
    for index, part in enumerate(state.parts):
        if part.parts:
            raise NoClosedFormError(f"SequentialLR has a {part.name} in it, which torch steps wrongly")
        if index == active and part.last_epoch != state.last_epoch - [0, *milestones][index]:
            raise NoClosedFormError(
                f"{part.name} in SequentialLR stands in another epoch than its turn has come to"
            )
        if index > active and part.name in GOES_ON:
            raise NoClosedFormError(f"{part.name} in SequentialLR goes on from the rate before it")
        if index > active and part.values.get("T_cur"):
            raise NoClosedFormError(f"{part.name} in SequentialLR has been stepped before its turn")
        if part.name == "LambdaLR":
            _check_lambda(part, group)
    schedules = [closed_form(part, param_group, group) for part in state.parts]
    return Call("SequentialLR", {"schedules": schedules, "milestones": milestones})


def _chained(state: State, param_group: Mapping[str, Any], group: int) -> Call:
    if len(state.parts) == 1:
        return closed_form(state.parts[0], param_group, group)
    others = [part.name for part in state.parts if part.name not in FACTORS or part.name in GOES_ON]
    if others:
        raise NoClosedFormError(f"ChainedScheduler is no product with {others[0]} in it")
    if len({part.last_epoch for part in state.parts}) > 1:
        raise NoClosedFormError("the schedulers in ChainedScheduler stand in different epochs")
    factors = [closed_form(part, param_group, group).based_on(1.0) for part in state.parts]
    return Call("ChainedScheduler", {"init_value": state.base_lr(group), "factors": factors})


def _check_lambda(state: State, group: int) -> None:
    """LambdaLR and MultiplicativeLR save the same keys; but the rates that they save differ."""
    if not callable(state.lr_lambda):
        raise NoClosedFormError(f"{state.name} has a Python function")
    factor: Any = state.lr_lambda(max(state.last_epoch, 0))
    expected = state.base_lr(group) * float(factor)
    last_lr = float(item("_last_lr", state.get("_last_lr"), group))
    if not math.isclose(last_lr, expected, rel_tol=1e-9):
        raise NoClosedFormError(
            "a scheduler with a function in SequentialLR is no LambdaLR of that lr_lambda"
        )


def _class_of(values: Mapping[str, Any]) -> str:
    """The scheduler that a state_dict is of, by an attribute that it alone has."""
    names = [name for mark, name in _MARKS.items() if mark in values]
    if not names:
        keys = shown_value(sorted(map(str, values)))
        raise ValueError(f"a state_dict with the keys {keys} is that of no scheduler")
    return names[0]


def shifted(schedule: Any, epochs: int) -> optax.Schedule:
    """The schedule whose first epoch is a later one."""
    if epochs == 0:
        return schedule
    is_fractional = getattr(schedule, "fractional", False)
    return Schedule(
        lambda count: schedule(at_most(count, largest_count(count) - epochs) + epochs),
        fractional=is_fractional,
    )


def is_torchs(scheduler: Any) -> bool:
    """Whether a scheduler is of a class of torch's own."""
    return type(scheduler).__module__ in _MODULES


def _rate(state: State, param_group: Mapping[str, Any], key: str) -> float:
    if key not in param_group:
        raise ValueError(f"{state.name} keeps its {key} in the optimizer: give optimizer_state_dict")
    return float(param_group[key])


def item(name: str, values: Any, group: int) -> Any:
    """A parameter group's own of several values."""
    if not isinstance(values, Sequence):
        raise ValueError(f"{name} must be a list with an item for each parameter group, got {values!r}")
    if isinstance(group, bool) or not isinstance(group, int) or not 0 <= group < len(values):
        raise ValueError(f"group must be one of the {len(values)} in {name}, counted from 0, got {group!r}")
    return values[group]
