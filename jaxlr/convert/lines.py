"""The line of Python that makes the schedule of a recipe: a text, a live scheduler or a saved one."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxlr import schedules
from jaxlr._checks import shorten
from jaxlr.code.values import Names
from jaxlr.convert.classes import class_of_state
from jaxlr.convert.live import from_state_dict, from_torch
from jaxlr.convert.optimizers.lines import lines_of_text
from jaxlr.schedules._printing import call_text
from jaxlr.schedules._schedule import Schedule


def port(
    recipe: Any,
    init_value: float | None = None,
    names: Names | None = None,
    group: int | None = None,
    *,
    num_steps: int | None = None,
    class_name: str | None = None,
    optimizer_state_dict: Mapping[str, Any] | None = None,
    lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float] | None] | None = None,
    version: str | None = None,
) -> str:
    """Return the line of Python that makes the schedule of a recipe, so that a program needs no torch.

    A text gives the schedule of `from_string`. A live scheduler, or its `state_dict()`, gives the schedule
    of `from_torch`, or of `from_state_dict`, from the current epoch on.

    If a text also constructs the optimizer, two lines make the schedule and the Optax optimizer. That is
    Optax's own where its rule is torch's, and else a call of `optimizer_from_string`. Comments say what the
    lines need. A text whose optimizer cannot be converted gives the line of its schedule, and a comment.

    The line of a ReduceLROnPlateau that has seen a metric is a call of `from_state_dict`, which restores
    its learning rate, its best metric and its counters.

    Args:
        recipe: the text of a torch scheduler's constructor, a live scheduler, or the `state_dict()` of one.
        init_value: for a text, the learning rate of the optimizer, a finite number >= 0. For a state_dict,
            as in `from_state_dict`.
        names: for a text, the values of the names in it, as in `from_string`. A function cannot be printed.
        group: parameter group of the optimizer, whose line is returned alone. None is group 0, and the
            optimizer with all of its groups.
        num_steps: number of epochs (or steps) to tabulate, if there is no closed form. The line then holds
            that many rates.
        class_name: for a state_dict, the class of the scheduler, such as "StepLR".
        optimizer_state_dict: for a state_dict, as in `from_state_dict`.
        lr_lambda: for a state_dict, as in `from_state_dict`.
        version: for a text, the version of the framework, as in `from_string`.

    Returns:
        A call of one of jaxlr's functions. It needs no import but `import jaxlr`. With an optimizer in the
        text, lines that assign `schedule` (or `plateau`) and `tx`. They also need `import optax`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the recipe cannot be converted. An argument is missing, or does not belong to this kind
            of recipe. The schedule calls a Python function, which cannot be printed.

    Example:
        >>> port("MultiStepLR(optimizer, milestones=[30, 60], gamma=0.5)", 0.1)
        'jaxlr.multi_step_lr(0.1, milestones=[30, 60], gamma=0.5)'
        >>> print(port("SGD(params, lr=0.1, momentum=0.9); OneCycleLR(0.1, 9, cycle_momentum=False)"))
        schedule = jaxlr.one_cycle_lr(0.1, total_steps=9)
        tx = optax.sgd(schedule, momentum=0.9)
        >>> state_dict = {"gamma": 0.5, "base_lrs": [1.0], "last_epoch": 40, "_last_lr": [0.5**40]}
        >>> port(state_dict, class_name="ExponentialLR")
        'jaxlr.starting_at(jaxlr.exponential_lr(1.0, gamma=0.5), first=40)'

    Reference: `torch.optim.lr_scheduler`.
    """
    if isinstance(init_value, Mapping):
        raise TypeError("give the state_dict first, as in jaxlr.port(state_dict, class_name='StepLR')")
    of_state_dict = {
        "class_name": class_name,
        "optimizer_state_dict": optimizer_state_dict,
        "lr_lambda": lr_lambda,
    }
    if isinstance(recipe, str):
        _check_unused("the text of a scheduler", of_state_dict)
        return lines_of_text(recipe, init_value, names, group, num_steps=num_steps, version=version).text
    group = group or 0
    if not isinstance(recipe, Mapping):
        _check_unused(
            "a live scheduler",
            {"init_value": init_value, "names": names, "version": version, **of_state_dict},
        )
        return line_of(from_torch(recipe, group, num_steps))
    _check_unused("a state_dict", {"names": names, "version": version})
    if class_name is None:
        row = class_of_state(recipe)
        example = "StepLR" if row is None else row.name
        raise ValueError(f"a state_dict does not name its class: give it, as in class_name={example!r}")
    return line_of(
        from_state_dict(
            class_name,
            recipe,
            init_value,
            group,
            num_steps,
            optimizer_state_dict=optimizer_state_dict,
            lr_lambda=lr_lambda,
        )
    )


def line_of(converted: Any) -> str:
    """Return the call that makes a schedule or a plateau, with every number in it."""
    if isinstance(converted, Schedule):
        _check_printable(converted)
    elif converted.as_call()[0] == "warmed_plateau":
        raise ValueError("a plateau with a warmup cannot be printed as one line")
    elif converted.as_call()[0] == "new_bob":
        raise ValueError(
            "no public function of jaxlr makes this plateau, so it cannot be printed as a line"
        )
    return call_text(converted, "jaxlr.", most_items=math.inf)


def _check_printable(schedule: Schedule) -> None:
    if schedule.as_call()[0] not in schedules.__all__:
        raise ValueError(
            "no public function of jaxlr makes this schedule, so it cannot be printed as one line"
        )
    for function in schedule.functions:
        if not isinstance(function, Schedule):
            raise ValueError(
                f"the function {shorten(repr(function))} cannot be printed as text: give num_steps, so "
                "that its rates are tabulated"
            )
        _check_printable(function)


def _check_unused(kind: str, arguments: Mapping[str, Any]) -> None:
    given = [name for name, value in arguments.items() if value is not None]
    if given:
        raise ValueError(f"{kind} takes no {given[0]}: leave it out")
