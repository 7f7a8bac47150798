"""The training loops of a text, which may step its schedulers in other ways than once per count."""

import ast
import re
from collections.abc import Collection, Mapping, Sequence

from jaxlr._checks import shorten
from jaxlr.code.definitions import is_count
from jaxlr.code.expressions import Evaluator
from jaxlr.code.scripts import NAME_OF_SCHEDULER
from jaxlr.code.syntax import (
    arguments_of,
    called_name,
    calls_in,
    first_line,
    last_name,
    nodes_in,
    quoted,
    source_of,
    unreadable,
)
from jaxlr.code.values import Unevaluated
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.errors import MissingNamesError


_RATES = ("param_groups", "get_last_lr", "get_lr", "get_learning_rate", "lr", "cur_lr", "current_lr")
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


def check_steps(
    statement: ast.stmt,
    known: Collection[str],
    alone: Mapping[str, Constructor | None],
    evaluator: Evaluator,
) -> None:
    """Check that a training loop steps each scheduler once, and under no condition.

    Args:
        statement: the loop, or a function with one or that is called in one.
        known: the names of schedulers.
        alone: those that are no part of another one, by their names. A parameter may be any.
        evaluator: holds the values of the names.

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
        class_name = "the scheduler" if (constructor := alone[name]) is None else constructor.name
        if class_name != "ReduceLROnPlateau":  # its count is that of the metrics
            _check_steps_evenly(statement, name, class_name)
    others = [call for name, call in calls if name not in known]
    for name, call in steps:
        for loop in loops:
            if isinstance(loop, ast.For) and any(node is call for node in ast.walk(loop)):
                _check_epoch(loop, name, call, others, evaluator)
    under_if = _under_if(statement)
    is_conditional = any(id(call) in under_if for _, call in steps)
    every = {name if each is None else id(each) for name, each in alone.items()}  # one may have two names
    taken = {name if alone.get(name) is None else id(alone[name]) for name in stepped}
    if stepped and (len(taken) < len(every) or (is_conditional and len(every) > 1)):
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
    is_turn = any(
        isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.IfExp)
        and "opt" not in source_of(call.func)
        for call in calls
    )
    if calls and (picks or is_item or is_turn):
        raise _turns(statement)


def _check_epoch(
    loop: ast.For, name: str, call: ast.Call, others: Sequence[ast.Call], evaluator: Evaluator
) -> None:
    """Refuse `scheduler.step(epoch)` after the steps of the optimizer, where it repeats the first rate.

    Args:
        loop: the loop around it.
        name: the name of the scheduler.
        call: its step.
        others: the steps of anything else, such as the optimizer.
        evaluator: holds the values of the names.
    """
    counters = {source_of(each) for each in ast.walk(loop.target)}
    arguments = arguments_of(call)  # step(epoch) or step(epoch=epoch)
    if not arguments or source_of(arguments[0]) not in counters:
        return
    start = _start(loop.iter)
    before = [*others, *(each for each in calls_in([loop]) if _trains(each))]
    place = (call.lineno, call.col_offset)
    if start is None or not any((each.lineno, each.col_offset) < place for each in before):
        return
    first = evaluator.value_if_any(start)
    if isinstance(first, Unevaluated) and first.missing:
        raise MissingNamesError(first.missing)
    if first == 0:
        raise ValueError(
            f"cannot read {quoted(call)}: after the steps of the optimizer it gives the first two epochs "
            f"one rate. Write {name}.step(), or pass schedule(max(epoch - 1, 0)) to jaxlr.lambda_lr"
        )


def _start(items: ast.expr) -> ast.expr | None:
    """Return the first epoch of a loop, such as 0 for `tqdm(range(9))`, or None if it is not shown."""
    match items:
        case ast.Call(func=func, args=[ast.Call() as inner, *_]) if called_name(items) != "range":
            return _start(inner) if source_of(func) != "zip" else None
        case ast.Call(func=ast.Name(id="range" | "trange" | "enumerate"), args=[_]):
            return ast.Constant(0)
        case ast.Call(func=ast.Name(id="range" | "trange"), args=[first, *_]):
            return first
    return None


def _trains(call: ast.Call) -> bool:
    """Check if a function trains, by its name or because it is given an optimizer."""
    is_given = any("optim" in source_of(each) for each in arguments_of(call))
    is_mode = isinstance(call.func, ast.Attribute) and not call.args  # model.train()
    return (is_given and "sched" not in source_of(call.func).lower()) or (
        called_name(call).startswith("train") and not is_mode
    )


def check_functions(
    statements: Sequence[ast.stmt], schedulers: Mapping[str, Constructor], evaluator: Evaluator
) -> None:
    """Check the functions of a text that step a scheduler like its loops. They may be called in a loop.

    Args:
        statements: the text.
        schedulers: those of its schedulers that are no part of another one, by their names.
        evaluator: holds the values of the names.
    """
    own = {
        id(each)
        for owner in nodes_in(statements)
        if isinstance(owner, ast.ClassDef) and NAME_OF_SCHEDULER.search(owner.name)
        for each in owner.body
    }
    for function in (each for each in nodes_in(statements) if isinstance(each, ast.FunctionDef)):
        if id(function) not in own:
            parameters = {each.arg for each in nodes_in([function]) if isinstance(each, ast.arg)}
            names = {
                name
                for name, call in steps_in(function)
                if name in schedulers
                or called_name(call) in _DAMPENS
                or (name in parameters and re.search("sched|lr", name.lower()))
            }
            known = {id(schedulers[name]) for name in names & schedulers.keys()}
            if known and len(known) < len({*map(id, schedulers.values())}):
                raise _turns(function)
            alone = {name: schedulers.get(name) for name in names}
            check_steps(function, names, alone, evaluator)


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
    part = "function" if isinstance(statement, ast.FunctionDef) else "loop"
    for call in calls:
        for test in _conditions(statement, name, call):
            if _is_a_range(test, _counters(statement)):
                raise ValueError(
                    f"cannot read {first_line(statement)}: it steps {name} only if "
                    f"{shorten(source_of(test))}. Leave the {part} out, and write the other epochs as a "
                    "ConstantLR in a SequentialLR"
                )
            if _reads_rate(test):
                raise ValueError(
                    f"cannot read {first_line(statement)}: it steps {name} only if "
                    f"{shorten(source_of(test))}. Write the rates as a function of the epoch"
                )


def _conditions(statement: ast.stmt, name: str, step: ast.Call) -> list[ast.expr]:
    """Return the conditions under which a scheduler is stepped, but not the optimizer."""
    found: list[ast.expr] = []
    for each in ast.walk(statement):
        if not any(node is step for node in ast.walk(each)):
            continue
        match each:
            case ast.If(test=test) | ast.IfExp(test=test):
                found += [test] if {owner for owner, _ in steps_in(each)} == {name} else []
            case ast.BoolOp(op=ast.And(), values=[*tests, _]):
                found += tests
            case _:
                pass
        body: list[ast.stmt] = getattr(each, "body", []) if isinstance(each, ast.stmt) else []
        found += _guards(body, name, step, isinstance(each, ast.FunctionDef))
    # At the start of the loop, `if epoch > 0: scheduler.step()` counts the epochs.
    starts = {
        id(e.body[0].test)
        for e in ast.walk(statement)
        if isinstance(e, ast.For | ast.While) and isinstance(e.body[0], ast.If)
    }
    return [
        each for each in found if id(each) not in starts or not source_of(each).endswith((" > 0", " >= 1"))
    ]


def _guards(body: Sequence[ast.stmt], name: str, step: ast.Call, is_function: bool) -> list[ast.expr]:
    """Return the tests of `if test: continue` between the training and the step of a scheduler.

    In a function that is called for each epoch, they are those of `if test: return`.
    """
    place = next((i for i, each in enumerate(body) if any(node is step for node in ast.walk(each))), 0)
    found: list[ast.expr] = []
    for index, each in enumerate(body[:place]):
        match each:
            case ast.If(test=test, body=[*_, ast.Continue() | ast.Return() as end], orelse=[]) if (
                isinstance(end, ast.Return if is_function else ast.Continue)
            ):
                later = calls_in(body[index + 1 : place + 1])
                trains_later = any(_trains(call) for call in later) or any(
                    owner != name for part in body[index + 1 :] for owner, _ in steps_in(part)
                )
                if not trains_later and (calls_in(body[:index]) or len(later) == 1):
                    found.append(test)
            case _:
                pass
    return found


def _reads_rate(test: ast.expr) -> bool:
    """Check if a condition compares a learning rate, such as `scheduler.get_last_lr()[0] > 1e-5`."""
    compared = [each for each in ast.walk(test) if isinstance(each, ast.Compare)]
    return any(
        isinstance(each, ast.Attribute | ast.Name) and last_name(source_of(each)) in _RATES
        for each in nodes_in(compared)
    )


def _counters(statement: ast.stmt) -> set[str]:
    """Return the names that count the rounds of the loops in a statement."""
    nodes = list(ast.walk(statement))
    targets = [each.target for each in nodes if isinstance(each, ast.For | ast.AugAssign)]
    names = {source_of(each) for each in nodes if isinstance(each, ast.Name | ast.Attribute)}
    return {source_of(each) for each in nodes_in(targets)} | {
        each for each in names if is_count(last_name(each))
    }


def _is_a_range(test: ast.expr, counters: Collection[str]) -> bool:
    """Check if a condition holds for a range of the rounds of a loop, such as `epoch > 5`."""
    orders = ast.Lt | ast.LtE | ast.Gt | ast.GtE | ast.In | ast.NotIn
    return any(
        isinstance(each, ast.Compare)
        and any(isinstance(op, orders) for op in each.ops)
        and any(isinstance(inner, ast.expr) and source_of(inner) in counters for inner in ast.walk(each))
        and not any(isinstance(inner, ast.Mod) for inner in ast.walk(each))
        for each in ast.walk(test)
    )
