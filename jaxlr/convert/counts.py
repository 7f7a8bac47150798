"""The argument of `scheduler.step(epoch)`, which must be proven to be the number of steps so far."""

import ast
from typing import NamedTuple

from jaxlr.code.definitions import is_count
from jaxlr.code.expressions import Evaluator
from jaxlr.code.syntax import called_name, calls_in, last_name, quoted, source_of, unreadable
from jaxlr.code.values import Unevaluated, names_in
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.steps import AnyFunction, Functions, Place, Step, before_training


_HOOK = "lr_scheduler_step"  # Lightning calls it after each epoch, or after each batch
_AFTER_EPOCHS = ("on_train_epoch_end", "training_epoch_end")  # Lightning's too


class Count(NamedTuple):
    """A variable that counts."""

    place: int  # the index of the place of its loop
    is_innermost: bool  # True if it changes for each step
    is_later: bool = False  # True if it changes before the step
    start: ast.expr | None = None  # its first value
    is_number: bool = True  # True if its values number the epochs, whatever the first one is


def check_argument(step: Step, class_name: str, functions: Functions, evaluator: Evaluator) -> None:
    """Refuse `scheduler.step(x)` unless x is proven to be the number of steps so far."""
    argument = step.argument
    if argument is None or (isinstance(argument, ast.Constant) and argument.value is None):
        if _is_before_training(step, functions):
            raise before_training(step.call, step.part)
        return
    if any(isinstance(each, ast.Div) for each in ast.walk(argument)):
        raise unreadable(
            step.call,
            f"it counts parts of an epoch. Multiply the epochs of {class_name} by "
            "the batches of an epoch and leave the loop out: a count is then a batch",
        )
    reason = f"its argument is not known to be the number of steps so far. Write {step.name}.step()"
    term, offset = without_constant(argument)
    count = count_of(step, term, functions)
    if count is not None and _in_function(step, _HOOK):
        name = "global_step" if functions.per_batch else "current_epoch"
        count = count if last_name(source_of(term)) == name else None
        offset += int(functions.per_batch)  # global_step counts the batch that has ended
    if count is not None:
        trained = has_trained(step, count.place, functions)
        wanted = {0, 1} if trained is None else {int(trained)}
        first = None if count.start is None else evaluator.value_if_any(count.start)
        is_from_one = first == 1 and isinstance(first, int)
        is_number = count.is_number and offset + is_from_one in wanted
        if is_number and (not trained or count.is_innermost):
            return  # the rate of an epoch is that of its number
        if isinstance(first, Unevaluated) and first.missing:
            raise MissingNamesError(first.missing)
        if isinstance(first, int) and first + count.is_later + offset in wanted and count.is_innermost:
            return
        if trained is False and is_from_one and offset == 0:
            raise before_training(step.call, step.part)
        if trained and offset == 0 and (first == 0 or count.start is None):
            raise ValueError(
                f"cannot read {quoted(step.call)}: after the steps of the optimizer it gives the "
                f"first two epochs one rate. Write {step.name}.step(), or pass "
                "schedule(max(epoch - 1, 0)) to jaxlr.lambda_lr"
            )
    raise unreadable(step.call, f"{reason}, or leave the {step.part} out: a count is then that argument")


def _in_function(step: Step, *names: str) -> bool:
    """Check if a step is in a function of such a name."""
    nodes = (place.node for place in step.places)
    return any(isinstance(each, ast.FunctionDef) and each.name in names for each in nodes)


def _is_before_training(step: Step, functions: Functions) -> bool:
    """Check if a turn trains after the step, and not before it."""
    if any(is_start(place) for place in step.places):
        return False  # `if epoch > 0: scheduler.step()` counts the epochs
    functions_around = [each.node for each in step.places if isinstance(each.node, AnyFunction)]
    if any("_STARTED" in source_of(e) for each in functions_around for e in each.decorator_list):
        return True  # an event of ignite
    loops = [i for i, each in enumerate(step.places) if any(each.node is loop for loop in step.loops)]
    for index in reversed(loops or [0]):
        before, after = step.before_and_after(index)
        if functions.update(after):  # a backward() before the step is that of the same update
            return not functions.train([e for e in before if not _is_backward(e)])
        if functions.train(before):
            return False
        if functions.train_visibly(after):
            return functions.are_idle(before)
    return False


def _is_backward(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and source_of(node).split("(")[0].endswith(".backward")


def is_start(place: Place) -> bool:
    """Check if a part is left out in the first turn only, such as by `if epoch > 0`."""
    source = "" if place.test is None else source_of(place.test)
    return place.part == "body" and source.endswith((" > 0", " >= 1", " != 0"))


def count_of(step: Step, term: ast.expr, functions: Functions) -> Count | None:
    """Return the variable that an argument counts with, or None if it is none."""
    match term:
        case ast.BinOp(left=ast.BinOp(op=ast.Mult()) as epochs, op=ast.Add(), right=right):
            name, outer = source_of(right), names_in(epochs)  # epoch * len(loader) + i
        case _:
            name, outer = source_of(term), set[str]()
    loops = [(i, each.node) for i, each in enumerate(step.places) if isinstance(each.node, ast.For)]
    for index, loop in reversed(loops):
        if name in _targets(loop):
            around = {each for i, other in loops if i < index for each in _targets(other)}
            is_whole = bool(outer & around) if outer else not any(map(is_count, around))
            is_innermost = loop is step.loops[-1]
            return Count(index, is_innermost, start=_start(loop.iter)) if is_whole else None
    if outer:
        return None
    changes, values = functions.values(name)
    plain = ast.Name | ast.Attribute | ast.Constant
    if not changes and is_count(last_name(name)) and all(isinstance(each, plain) for each in values):
        return Count(0, True)
    inner = next((i for i, each in enumerate(step.places) if each.node in step.loops[-1:]), 0)
    for index, place in enumerate(step.places[inner:], inner):
        block = getattr(place.node, place.part, ())
        deeper = step.places[index + 1 :]
        is_once = len(changes) == 1 and source_of(changes[0]) in (
            f"{name} += 1",
            f"{name} = {name} + 1",
        )
        if is_once and changes[0] in block and not any(e.is_conditional for e in deeper):
            start = values[0] if len(values) == 1 else ast.Constant(0)
            return Count(inner, True, changes[0] in place.before, start, is_number=False)
    return None


def has_trained(step: Step, first: int, functions: Functions) -> bool | None:
    """Check if the optimizer is stepped before the scheduler, or return None if nothing shows it.

    Args:
        step: the step of the scheduler.
        first: the place of the loop that counts.
        functions: those of the text.
    """
    before = [each for place in step.places[first:] for each in place.before]
    if _in_function(step, _HOOK, *_AFTER_EPOCHS) or functions.train(before):
        return True
    if functions.train([each.node for each in step.places[first:][:1]]):
        return False
    unknown = any(isinstance(call.func, ast.Name) and call.func.id != "print" for call in calls_in(before))
    return True if unknown else None


def _targets(loop: ast.For) -> set[str]:
    """Return the variables of a loop that count: of `enumerate`, it is the first one."""
    is_pair = isinstance(loop.target, ast.Tuple) and "enumerate" in source_of(loop.iter)
    target = loop.target.elts[0] if is_pair and isinstance(loop.target, ast.Tuple) else loop.target
    return {source_of(each) for each in ast.walk(target) if isinstance(each, ast.expr)}


def _start(items: ast.expr) -> ast.expr | None:
    """Return the first epoch of a loop, such as 0 for `tqdm(range(9))`, or None if it is not shown."""
    match items:
        case ast.Call(func=ast.Name(id="enumerate"), args=[_, first]):
            return first
        case ast.Call(func=ast.Name(id="enumerate"), args=[_], keywords=[ast.keyword(value=first)]):
            return first
        case ast.Call(args=[first]) | ast.Call(args=[], keywords=[ast.keyword(value=first)]) if (
            source_of(items.func) == "itertools.count"
        ):
            return first
        case ast.Call(func=func, args=[ast.Call() as inner, *_]) if called_name(items) not in (
            "range",
            "enumerate",
        ):
            return _start(inner) if source_of(func) != "zip" else None
        case ast.Call(func=ast.Name(id="range" | "trange" | "enumerate"), args=[_]):
            return ast.Constant(0)
        case ast.Call(func=ast.Name(id="range" | "trange"), args=[first, *_]):
            return first
    return None


def without_constant(node: ast.expr) -> tuple[ast.expr, int]:
    """Return `epoch` and 1 for `epoch + 1`."""
    match node:
        case ast.BinOp(left=term, op=ast.Add(), right=ast.Constant(int() as offset)):
            return term, offset
        case ast.BinOp(left=ast.Constant(int() as offset), op=ast.Add(), right=term):
            return term, offset
        case ast.BinOp(left=term, op=ast.Sub(), right=ast.Constant(int() as offset)):
            return term, -offset
    return node, 0
