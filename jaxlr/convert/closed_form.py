"""The closed form of the rates of a torch scheduler, found in its attributes, live or saved."""

import bisect
import dataclasses
import inspect
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import optax

from jaxlr._checks import shorten, shown_value
from jaxlr.convert.calls import Call, build, taking_over
from jaxlr.convert.classes import CLASSES, MODULES, Effect, TorchClass, class_of, class_of_state
from jaxlr.convert.fields import check_fields
from jaxlr.convert.known import known_schedule
from jaxlr.schedules.compose import starting_at


_MOST_LEVELS = 10  # of composites in each other
_FLOAT32_EPS = 2.0**-23
_TWO_PHASES = ["initial_lr", "max_lr", "min_lr"]
# The modes of CyclicLR, and the variable on which the scale of each depends.
_SCALE_MODES = {"triangular": "cycle", "triangular2": "cycle", "exp_range": "iterations"}
# Methods of torch's schedulers that have no effect on the rate.
_WITHOUT_RATE = {"__init__", "state_dict", "load_state_dict", "get_last_lr", "print_lr"}


class NoClosedFormError(Exception):
    """A scheduler whose rates cannot be computed from the epoch alone. The message is the reason."""


@dataclasses.dataclass(frozen=True, eq=False)
class State:
    """The attributes of a scheduler, and the states of the schedulers in it."""

    torch_class: TorchClass
    values: Mapping[str, Any]
    parts: list["State"]
    lr_lambda: Any = None

    @property
    def with_parts(self) -> list["State"]:
        """The state itself, and the states of all schedulers in it."""
        return [self, *(inner for part in self.parts for inner in part.with_parts)]

    @classmethod
    def from_live(cls, scheduler: Any) -> "State":
        """Read a scheduler object.

        Raises:
            NoClosedFormError: it contains a class or method that is not torch's own, or a scheduler twice.
        """
        name, torch_class = type(scheduler).__name__, class_of(scheduler)
        if torch_class is None:
            raise NoClosedFormError(f"{name} is not one of torch's own classes")
        if method := replaced_method(scheduler):
            raise NoClosedFormError(f"the method {method} of {name} is not torch's own")
        check_fields(name, vars(scheduler))
        inner = vars(scheduler).get("_schedulers", [])
        if len({id(part) for part in inner}) < len(inner):
            raise NoClosedFormError(f"{name} contains the same scheduler twice")
        return cls(torch_class, vars(scheduler), [cls.from_live(part) for part in inner])

    @classmethod
    def from_saved(
        cls, name: str, values: Mapping[str, Any], lr_lambda: Any = None, depth: int = 0
    ) -> "State":
        """Read a state_dict.

        Raises:
            ValueError: the state_dict does not belong to the class of that name, or functions are missing.
        """
        if not isinstance(name, str):
            raise TypeError(f"class_name must be a text such as 'StepLR', got {shown_value(name)}")
        saved_by, torch_class = _class_of_saved(values), CLASSES.get(name)
        if torch_class is None or torch_class.mark != saved_by.mark:
            raise ValueError(f"class_name is {name!r}, but the state_dict belongs to a {saved_by.name}")
        check_fields(f"the state_dict of {name}", values)
        if torch_class.takes_function and not callable(lr_lambda):
            raise ValueError(
                f"a state_dict does not contain the functions of {name}: give the group's as lr_lambda"
            )
        saved = values.get("_schedulers", [])
        functions = lr_lambda if isinstance(lr_lambda, Sequence) else [None] * len(saved)
        if len(functions) != len(saved):
            raise ValueError(
                f"lr_lambda must have an item for each of {len(saved)} schedulers, got {len(functions)}"
            )
        if depth > _MOST_LEVELS:
            raise ValueError(f"_schedulers of the state_dict of {name} are nested too deeply")
        parts = [
            cls.from_saved(_class_of_saved(part).name, part, function, depth + 1)
            for part, function in zip(saved, functions, strict=True)
        ]
        return cls(torch_class, values, parts, lr_lambda)

    @property
    def name(self) -> str:
        """The name of torch's class."""
        return self.torch_class.name

    def get(self, key: str) -> Any:
        """Return an attribute, or raise a ValueError that names it."""
        if key not in self.values:
            raise ValueError(f"the state_dict of {self.name} lacks {key!r}")
        return self.values[key]

    @property
    def last_epoch(self) -> int:
        """The number of steps taken. A ChainedScheduler does not count them, but its parts do."""
        if self.name == "ChainedScheduler":
            if not self.parts:
                raise ValueError(f"_schedulers of {self.name} must hold at least one scheduler")
            return self.parts[0].last_epoch
        epoch = self.get("last_epoch")
        if not float(epoch).is_integer():
            raise NoClosedFormError(f"last_epoch of {self.name} is {epoch!r}")
        return int(epoch)

    def base_lr(self, group: int) -> float:
        """Return the learning rate with which a parameter group began."""
        if self.parts:
            return self.parts[0].base_lr(group)
        return float(value_of_group("base_lrs", self.get("base_lrs"), group))

    def check_group(self, group: int) -> None:
        """Raise a NoClosedFormError if a group of the optimizer was added after the scheduler."""
        for part in self.parts:
            part.check_group(group)
        if not self.parts and group >= len(self.get("base_lrs")):
            raise NoClosedFormError(f"group {group} was added to the optimizer after {self.name}")


def replaced_method(scheduler: Any) -> str | None:
    """Return the name of a method that the object, its class or a patch of torch has replaced."""
    torchs = [base for base in type(scheduler).__mro__ if base.__module__ in MODULES]
    names = {name for base in torchs for name, value in vars(base).items() if callable(value)}
    for name in sorted(names - _WITHOUT_RATE):
        method = inspect.getattr_static(scheduler, name)
        scope = getattr(getattr(method, "__func__", method), "__globals__", {})
        if name in vars(scheduler) or scope.get("__name__") not in MODULES:
            return name
    return None


def plateau_state(scheduler: Any) -> State | None:
    """Return the state of a ReduceLROnPlateau, or of a subclass that keeps its methods; None for others."""
    cls = type(scheduler)
    parent = next((base for base in cls.__mro__ if base.__module__ in MODULES), None)
    if parent is None or parent.__name__ != "ReduceLROnPlateau":
        return None
    if replaced_method(scheduler):
        return None
    check_fields(cls.__name__, vars(scheduler))
    return State(CLASSES["ReduceLROnPlateau"], vars(scheduler), [])


def closed_form_from_now(state: State, param_group: Mapping[str, Any], group: int) -> optax.Schedule:
    """Return the schedule from the current epoch on, in closed form.

    Raises:
        NoClosedFormError: there is none, or the current learning rate is not the one that it gives.
    """
    call = closed_form(state, param_group, group)
    try:
        schedule = build(call)
    except (ValueError, TypeError, OverflowError) as error:
        raise NoClosedFormError(f"{state.name} has settings that only torch accepts ({error})") from None
    epoch = state.last_epoch
    if epoch < 0:
        raise NoClosedFormError(f"last_epoch of {state.name} is {epoch}")
    if "lr" not in param_group:  # a state of an older torch, which did not save it
        return shifted(schedule, epoch)
    lr, expected = float(param_group["lr"]), schedule(epoch)
    lost_digits = 0.0 if state.torch_class.is_exact else 1e-12 * state.base_lr(group)
    rel_tol = 1e-9
    if hasattr(param_group["lr"], "dtype"):  # torch multiplies a tensor in its own precision, each epoch
        rel_tol = _FLOAT32_EPS * (epoch + 10)
    if not math.isclose(lr, expected, rel_tol=rel_tol, abs_tol=lost_digits):
        raise NoClosedFormError(
            f"the learning rate of {state.name} is {lr!r} in epoch {epoch}, not {expected!r}"
        )
    return shifted(schedule, epoch)


def closed_form(state: State, param_group: Mapping[str, Any], group: int) -> Call:
    """Return the call that gives a scheduler's rates since its first epoch.

    Raises:
        NoClosedFormError: no function of jaxlr gives them.
        ValueError: an attribute is missing or damaged.
    """
    match state.name:
        case "SequentialLR":
            return _sequential(state, param_group, group)
        case "ChainedScheduler":
            return _chained(state, param_group, group)
        case "CyclicLR":
            return _cyclic(state, group)
        case "OneCycleLR":
            return _one_cycle(state, param_group)
        case "SWALR":
            if state.values.get("_step_count", state.last_epoch + 1) != state.last_epoch + 1:
                raise NoClosedFormError(f"_step_count of {state.name} is not that of its last_epoch")
            settings = {
                "swa_lr": _stored_rate(state, param_group, "swa_lr"),
                "anneal_epochs": state.get("anneal_epochs"),
                "anneal_strategy": _anneal_strategy(state, "_anneal_strategy"),
            }
        case "MultiStepLR":
            milestones = Counter(state.get("milestones"))  # torch counts how often each one is given
            epochs = [_from_json(milestone) for milestone in milestones.elements()]
            settings = {"milestones": epochs, "gamma": state.get("gamma")}
        case "LambdaLR" if not callable(state.lr_lambda):
            return _known_function(state, group)
        case _ if state.torch_class.takes_function:
            if state.torch_class.is_recursive or not callable(state.lr_lambda):
                raise NoClosedFormError(f"{state.name} has a Python function")
            settings = {"lr_lambda": state.lr_lambda}
        case _:
            if state.name == "CosineAnnealingWarmRestarts":
                _check_cycle(state)
            settings = {key: state.get(key) for key in state.torch_class.settings}
    return Call(state.torch_class, {"init_value": state.base_lr(group), **settings})


def _known_function(state: State, group: int) -> Call:
    """Return the call for a live LambdaLR with a function of Hugging Face."""
    functions, base = state.values.get("lr_lambdas"), state.base_lr(group)
    if isinstance(functions, list) and group < len(functions):
        schedule = known_schedule(functions[group], base)
        if schedule is not None:
            return Call(state.torch_class, {"init_value": base}, lambda init_value: schedule)
    raise NoClosedFormError(f"{state.name} has a Python function")


def _check_cycle(state: State) -> None:
    """Check that the position of warm restarts is that of the epoch. `step(1.5)` moves it in between."""
    if not {"T_cur", "T_i", "T_0", "T_mult"} <= state.values.keys():
        return
    epoch, length, factor = state.last_epoch, state.get("T_0"), state.get("T_mult")
    if epoch < 0 or not (length > 0 and isinstance(factor, int) and factor > 0):
        return
    while factor > 1 and epoch >= length:
        epoch, length = epoch - length, length * factor
    if not (math.isclose(state.get("T_cur"), epoch % length) and math.isclose(state.get("T_i"), length)):
        raise NoClosedFormError(f"{state.name} is not at its last_epoch: T_cur or T_i has changed")


def _cyclic(state: State, group: int) -> Call:
    if state.values.get("_scale_fn_custom") is not None:
        raise NoClosedFormError(f"{state.name} has a Python function as scale_fn")
    mode, gamma = _cyclic_scale(state)
    # Torch keeps the length of a cycle and the share of its rise. Its division loses the last digits.
    total, ratio = state.get("total_size"), state.get("step_ratio")
    if not (0 < ratio <= 1 and 0 < total < math.inf):
        raise NoClosedFormError(f"{state.name} has the step_ratio {ratio!r} and the total_size {total!r}")
    up = round(total * ratio, 6)
    arguments = {
        "base_lr": state.base_lr(group),
        "max_lr": float(value_of_group("max_lrs", state.get("max_lrs"), group)),
        "step_size_up": up,
        "step_size_down": round(total - up, 6),
        "mode": mode,
        "gamma": gamma,
    }
    return Call(state.torch_class, arguments)


def _cyclic_scale(state: State) -> tuple[str, float]:
    """Return the mode and gamma with which a CyclicLR was constructed.

    A live one keeps both in a function. Its attributes have no effect if they are edited later.
    """
    function = state.values.get("_scale_fn_ref")
    if function is None:
        return state.get("mode"), state.get("gamma")
    name = getattr(getattr(function, "func", function), "__name__", "")
    mode = name.removeprefix("_").removesuffix("_scale_fn")
    if mode not in _SCALE_MODES or state.values.get("scale_mode") != _SCALE_MODES[mode]:
        raise NoClosedFormError(f"{state.name} was edited after its construction")
    return mode, function.args[0] if mode == "exp_range" else state.get("gamma")


def _one_cycle(state: State, param_group: Mapping[str, Any]) -> Call:
    first, top, last = (_stored_rate(state, param_group, key) for key in ("initial_lr", "max_lr", "min_lr"))
    if not first or not last:
        raise NoClosedFormError(f"{state.name} begins or ends at 0")
    total_steps = state.get("total_steps")
    if "_schedule_phases" in state.values:
        phases = state.values["_schedule_phases"]
    else:  # before torch 1.8
        phases = [{"end_step": state.get("step_size_up")}, {}]
    _check_phases(state, phases, total_steps)
    try:
        pct_start = (phases[0]["end_step"] + 1) / total_steps
    except ArithmeticError:
        raise ValueError(
            f"_schedule_phases of {state.name} must be as torch saves them, got {shorten(repr(phases))}"
        ) from None
    arguments = {
        "max_lr": top,
        "total_steps": total_steps,
        "pct_start": pct_start,
        "anneal_strategy": _anneal_strategy(state, "_anneal_func_type"),
        "div_factor": top / first,
        "final_div_factor": first / last,
        "three_phase": len(phases) == 3,
    }
    return Call(state.torch_class, arguments)


def _check_phases(state: State, phases: Any, total_steps: Any) -> None:
    """Check that the phases are those that torch's constructor makes for the number of steps."""
    keys = ["initial_lr", "max_lr", "initial_lr", "min_lr"] if len(phases) == 3 else _TWO_PHASES
    ends = [phase["end_step"] for phase in phases if "end_step" in phase]
    is_known = [phase.get("end_lr", key) for phase, key in zip(phases, keys[1:], strict=False)] == keys[1:]
    is_whole = len(ends) < 2 or ends[-1] == total_steps - 1
    is_even = len(ends) < 3 or math.isclose(ends[1], 2 * ends[0], abs_tol=1e-6)
    if not (is_known and is_whole and is_even):
        raise NoClosedFormError(
            f"{state.name} was edited after its construction: total_steps and _schedule_phases do not agree"
        )


def _anneal_strategy(state: State, key: str) -> Any:
    """Return the saved strategy. Older versions of torch saved the function, or nothing."""
    if key in state.values:
        return state.values[key]
    return "linear" if "linear" in str(state.values.get("anneal_func")) else "cos"


def _from_json(milestone: Any) -> Any:
    """Return a milestone as a number: JSON turns the keys of a dict into strings."""
    return int(milestone) if isinstance(milestone, str) and milestone.isdecimal() else milestone


def _sequential(state: State, param_group: Mapping[str, Any], group: int) -> Call:
    milestones = list(state.get("_milestones"))
    active = bisect.bisect_right(milestones, state.last_epoch)
    for index, part in enumerate(state.parts):
        if part.parts:
            raise NoClosedFormError(f"{state.name} contains a {part.name}, which torch steps wrongly")
        if index == active and part.last_epoch != state.last_epoch - [0, *milestones][index]:
            raise NoClosedFormError(
                f"{part.name} in {state.name} is at a different epoch than its milestone implies "
                "(was it stepped by hand?)"
            )
        if index > active and part.torch_class.is_recursive:
            raise NoClosedFormError(
                f"{part.name} in {state.name} starts from the rate of the part before it"
            )
        if index > active and part.values.get("T_cur"):
            raise NoClosedFormError(f"{part.name} in {state.name} has been stepped before its turn")
        is_saved = not any(callable(each) for each in part.values.get("lr_lambdas", ()))
        if part.torch_class.takes_function and not part.torch_class.is_recursive and is_saved:
            _check_lambda(part, group)
    schedules = [closed_form(part, param_group, group) for part in state.parts]
    first = bisect.bisect_right(milestones, 0) + 1
    try:
        schedules[first:] = map(taking_over, schedules[first:])
    except ValueError as error:
        raise NoClosedFormError(str(error)) from None
    return Call(state.torch_class, {"schedules": schedules, "milestones": milestones})


def _chained(state: State, param_group: Mapping[str, Any], group: int) -> Call:
    if len(state.parts) == 1:
        return closed_form(state.parts[0], param_group, group)
    for part in state.parts:
        if part.torch_class.effect is not Effect.MULTIPLIES or part.torch_class.is_recursive:
            raise NoClosedFormError(f"{state.name} with {part.name} in it is not a product of closed forms")
    if len({part.last_epoch for part in state.parts}) > 1:
        raise NoClosedFormError(f"the schedulers in {state.name} are at different epochs")
    factors = [closed_form(part, param_group, group).with_base(1.0) for part in state.parts]
    return Call(state.torch_class, {"init_value": state.base_lr(group), "factors": factors})


def _check_lambda(state: State, group: int) -> None:
    """Check that a part which looks like a LambdaLR is one: a MultiplicativeLR saves the same keys.

    The learning rates that the two have saved differ.
    """
    if not callable(state.lr_lambda):
        raise NoClosedFormError(f"{state.name} has a Python function")
    factor: Any = state.lr_lambda(max(state.last_epoch, 0))
    expected = state.base_lr(group) * float(factor)
    last_lr = float(value_of_group("_last_lr", state.get("_last_lr"), group))
    if not math.isclose(last_lr, expected, rel_tol=1e-9):
        raise NoClosedFormError(
            f"a part with a function has not saved the learning rate of a {state.name} with this lr_lambda"
        )


def _class_of_saved(state_dict: Any) -> TorchClass:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"each of _schedulers must be a state_dict, got {shown_value(state_dict)}")
    torch_class = class_of_state(state_dict)
    if torch_class is None:
        keys = shown_value(sorted(map(str, state_dict)))
        raise ValueError(
            f"a state_dict with the keys {keys} does not belong to a torch scheduler, nor to a part in "
            "_schedulers"
        )
    return torch_class


def shifted(schedule: optax.Schedule, epochs: int) -> optax.Schedule:
    """Return the schedule that starts `epochs` later than the given one."""
    return starting_at(schedule, epochs) if epochs else schedule


def value_of_group(name: str, values: Any, group: int) -> Any:
    """Return a parameter group's item of a list that has one for each group."""
    if not isinstance(values, Sequence) or isinstance(values, str):
        got = shown_value(values)
        raise ValueError(f"{name} must be a list with an item for each parameter group, got {got}")
    if isinstance(group, bool) or not isinstance(group, int) or not 0 <= group < len(values):
        raise ValueError(
            f"group must be one of the {len(values)} in {name}, counted from 0, got {shown_value(group)}"
        )
    return values[group]


def _stored_rate(state: State, param_group: Mapping[str, Any], key: str) -> float:
    if key not in param_group:
        raise ValueError(f"{state.name} keeps its {key} in the optimizer: give optimizer_state_dict")
    return float(param_group[key])
