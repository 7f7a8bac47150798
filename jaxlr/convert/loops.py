"""The training loops of a text, which may step its schedulers in other ways than once per count."""

import ast
import re
from collections.abc import Collection, Mapping, Sequence

from jaxlr._checks import shorten
from jaxlr.code.syntax import called_name, calls_in, first_line, nodes_in, quoted, source_of, unreadable


_DAMPENS = ("dampening", "dampen")


def steps_in(node: ast.AST) -> list[tuple[str, ast.Call]]:
    """Return the calls that step something in a part of a text, each with its owner.

    They are those of `step`, and those of a warmup of pytorch_warmup: `dampening`, and the older `dampen`.
    """
    return [
        (source_of(call.func.value), call)
        for call in calls_in([node])
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("step", *_DAMPENS)
    ]


def check_steps(statement: ast.stmt, known: Collection[str], alone: Mapping[str, str]) -> None:
    """Check that a training loop steps each scheduler once, and under no condition.

    Args:
        statement: the loop.
        known: the names of schedulers.
        alone: the names of those that are no part of another one, with their classes.

    Raises:
        ValueError: it does not.
    """
    calls = steps_in(statement)
    steps = [(name, call) for name, call in calls if name in known]
    stepped = {name for name, _ in steps}
    _check_picked(statement, [call for _, call in calls], known)
    _check_dampened(statement, steps)
    loops = [each for each in ast.walk(statement) if isinstance(each, ast.For | ast.While)]
    depths = {sum(any(node is call for node in ast.walk(loop)) for loop in loops) for _, call in steps}
    if len(stepped) > 1 and len(depths) > 1:
        raise ValueError(
            f"cannot read {first_line(statement)}: it steps one scheduler more often than another. Convert "
            "them one at a time, and multiply their schedules, with jaxlr.per_epoch for that of the epochs"
        )
    for name in stepped & alone.keys():
        if alone[name] != "ReduceLROnPlateau":  # its count is that of the metrics
            _check_steps_evenly(statement, name, alone[name])
    others = [call for name, call in calls if name not in known]
    for name, call in steps:
        _check_epoch(statement, name, call, others)
    under_if = _under_if(statement)
    is_conditional = any(id(call) in under_if for _, call in steps)
    if stepped and (len(stepped) < len(alone) or (is_conditional and len(alone) > 1)):
        raise _turns(statement)


def _check_picked(statement: ast.stmt, calls: Sequence[ast.Call], known: Collection[str]) -> None:
    """Refuse a loop that picks the scheduler that it steps."""
    choices = [each for each in ast.walk(statement) if isinstance(each, ast.IfExp)]
    picks = any(source_of(each) in known for choice in choices for each in (choice.body, choice.orelse))
    is_item = any(
        isinstance(each, ast.IfExp)
        for call in calls
        if "sched" in source_of(call.func)
        for each in ast.walk(call.func)
    )
    if calls and (picks or is_item):
        raise _turns(statement)


def _check_epoch(statement: ast.stmt, name: str, call: ast.Call, others: Sequence[ast.Call]) -> None:
    """Refuse `scheduler.step(epoch)` after the steps of the optimizer, where it repeats the first rate.

    Args:
        statement: the loop.
        name: the name of the scheduler.
        call: its step.
        others: the steps of anything else, such as the optimizer.
    """
    if not isinstance(statement, ast.For) or not call.args:
        return
    match statement.iter:
        case ast.Call(func=ast.Name(id="range" | "enumerate"), args=[_]):
            counters = {source_of(each) for each in ast.walk(statement.target)}
        case _:
            return
    trains = [
        each
        for each in calls_in([statement])
        if isinstance(each.func, ast.Name) and each.func.id.startswith("train")
    ]
    if source_of(call.args[0]) in counters and any(
        each.lineno < call.lineno for each in (*others, *trains)
    ):
        raise ValueError(
            f"cannot read {quoted(call)}: after the steps of the optimizer it gives the first two epochs "
            f"one rate. Write {name}.step(), or pass schedule(max(epoch - 1, 0)) to jaxlr.lambda_lr"
        )


def check_functions(statements: Sequence[ast.stmt]) -> None:
    """Check the functions of a text that dampen a rate like its loops. They may be called in a loop."""
    for function in (each for each in nodes_in(statements) if isinstance(each, ast.FunctionDef)):
        steps = [(name, called_name(call) in _DAMPENS) for name, call in steps_in(function)]
        if any(dampens for _, dampens in steps):
            names = {name for name, dampens in steps if dampens or re.search("sched|lr", name.lower())}
            check_steps(function, names, dict.fromkeys(names, "the scheduler"))


def _turns(statement: ast.stmt) -> ValueError:
    return ValueError(
        f"cannot read {first_line(statement)}: it does not step all schedulers at once. Write them as "
        "one SequentialLR, with the epochs of the change as milestones"
    )


def _check_dampened(statement: ast.stmt, steps: list[tuple[str, ast.Call]]) -> None:
    """Refuse a loop that dampens the rate, but steps a scheduler outside of `with warmup.dampening():`."""
    opened, inside = set[int](), set[int]()
    for block in (each for each in ast.walk(statement) if isinstance(each, ast.With)):
        if any(map(steps_in, block.items)):
            opened |= {id(item.context_expr) for item in block.items}
            inside |= {id(call) for _, call in steps_in(block)}
    for name in (name for name, call in steps if called_name(call) in _DAMPENS):
        if any(id(call) not in (opened if called_name(call) in _DAMPENS else inside) for _, call in steps):
            raise ValueError(
                f"cannot read {first_line(statement)}: it dampens the rate, but not around the step of the "
                f"scheduler. Write the step inside of 'with {name}.dampening():'"
            )


def _under_if(statement: ast.stmt) -> set[int]:
    """Return the ids of the nodes under a condition."""
    conditions = [each for each in ast.walk(statement) if isinstance(each, ast.If)]
    return {id(node) for condition in conditions for node in ast.walk(condition)}


def _check_steps_evenly(statement: ast.stmt, name: str, class_name: str) -> None:
    """Refuse a loop whose counts are not those of the scheduler that it steps."""
    calls = [call for owner, call in steps_in(statement) if owner == name]
    for call in calls:
        if any(isinstance(each, ast.Div) for argument in call.args for each in ast.walk(argument)):
            raise unreadable(
                call,
                f"it counts parts of an epoch. Multiply the epochs of {class_name} by the batches of an "
                "epoch and leave the loop out: a count is then a batch",
            )
    under_if = _under_if(statement)
    if sum(id(each) not in under_if for each in calls) > 1:
        raise ValueError(
            f"cannot read {first_line(statement)}: it calls {name}.step() in several places. Leave the "
            "loop out: a count is then a call"
        )
    counters = _counters(statement)
    starts = {id(each.body[0]) for each in ast.walk(statement) if isinstance(each, ast.For | ast.While)}
    for condition in (each for each in ast.walk(statement) if isinstance(each, ast.If)):
        is_own = {owner for owner, _ in steps_in(condition)} == {name}
        # At the start of the loop, `if epoch > 0: scheduler.step()` counts the epochs.
        is_first = id(condition) in starts and source_of(condition.test).endswith((" > 0", " >= 1"))
        if is_own and not is_first and _is_a_range(condition.test, counters):
            raise ValueError(
                f"cannot read {first_line(statement)}: it steps {name} only if "
                f"{shorten(source_of(condition.test))}. Leave the loop out, and write the other epochs as "
                "a ConstantLR in a SequentialLR"
            )


def _counters(statement: ast.stmt) -> set[str]:
    """Return the names that count the rounds of the loops in a statement."""
    targets = [each.target for each in ast.walk(statement) if isinstance(each, ast.For | ast.AugAssign)]
    return {source_of(each) for target in targets for each in ast.walk(target)}


def _is_a_range(test: ast.expr, counters: Collection[str]) -> bool:
    """Check if a condition holds for a range of the rounds of a loop, such as `epoch > 5`."""
    orders = ast.Lt | ast.LtE | ast.Gt | ast.GtE
    return any(
        isinstance(each, ast.Compare)
        and any(isinstance(op, orders) for op in each.ops)
        and any(isinstance(inner, ast.expr) and source_of(inner) in counters for inner in ast.walk(each))
        and not any(isinstance(inner, ast.Mod) for inner in ast.walk(each))
        for each in ast.walk(test)
    )
