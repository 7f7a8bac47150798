"""The text of a torch scheduler's constructor as a schedule. It is never executed."""

import ast
import inspect
import math
import re
import warnings
from collections.abc import Collection
from typing import Any

from jax.core import Tracer
from jax.typing import ArrayLike

from jaxlr._checks import check_duration, check_positive_count, shorten
from jaxlr.code.classes import own_classes
from jaxlr.code.definitions import Function, is_count, writes_rate
from jaxlr.code.expressions import Evaluator
from jaxlr.code.imports import imported, with_own_names
from jaxlr.code.methods import changes
from jaxlr.code.paste import dedented, unwrapped
from jaxlr.code.scripts import NAME_OF_SCHEDULER, flattened
from jaxlr.code.spellings import with_plain_assignments
from jaxlr.code.syntax import (
    arguments_of,
    called_name,
    calls_in,
    last_name,
    nodes_in,
    parse_expression,
    source_of,
)
from jaxlr.code.values import Names, Unevaluated, Work
from jaxlr.convert.calls import Call, build, jaxlr_text, torch_text
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.constructors import Constructor, equivalent_call
from jaxlr.convert.errors import ConflictingRateError, MissingNamesError, MissingRateError
from jaxlr.convert.mappings import as_python, with_calls
from jaxlr.convert.optimizers.signatures import signature
from jaxlr.convert.reader import (
    EXAMPLE,
    ConstructorReader,
    TextRate,
    optimizer_calls,
    own_options,
    raise_unknown,
)
from jaxlr.convert.statements import Program
from jaxlr.frameworks.recipe import parsed_version
from jaxlr.plateau import ScheduleOrPlateau


# The names of functions that set the rate of an optimizer, in lower case and without underscores.
_SETTER = re.compile(
    r"(adjust|set|update|change|decay|warmup)(the)?(lr|learningrate)(?!sched)"
    r"|(lr|learningrate)(adjust|decay|warmup|update)"
)
_WARMUP = re.compile(r"^(do|apply|run|linear|gradual|lr|learningrate)*warmup(lr|learningrate|step)?$")
_LONGEST_TEXT = 100_000
_MOST_LEVELS = 100  # of nested expressions: Python's own limit is not reached, however deep the caller is


def from_string(
    text: str,
    init_value: ArrayLike | None = None,
    names: Names | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
    version: str | None = None,
) -> ScheduleOrPlateau:
    """Return the schedule that the text of a torch scheduler's constructor describes.

    The text is read like this:

    - The class may be written with or without its module. The optimizer may be any expression, or be left
      out. Other arguments may be given by position or by keyword.
    - Arguments may be numbers, strings, lists, arithmetic, comparisons, conditional expressions and
      comprehensions. They may use `math`, and functions such as `int`, `len`, `range` and `min`.
    - The schedulers of a SequentialLR or a ChainedScheduler may be written in its list, or be assigned to
      names in the lines before.
    - The lambda of a LambdaLR or a MultiplicativeLR may contain all of these. It is translated. It may also
      be a function, defined with `def` before the scheduler, with branches and loops.
    - Conditions, lists that grow by `append`, `**kwargs` and loops over known lists are followed.
      Statements that do not touch the schedule are skipped.
    - A training loop in the text must step all schedulers together, after the updates of an epoch or batch.
    - Two schedulers on one optimizer are read as a ChainedScheduler, because torch steps both.
    - A text whose last statement is a function gives the rate that the function returns, or that it writes
      to `param_group["lr"]`. A function that keeps or scales the rate of the epoch before is called for
      `num_steps`.
    - `last_epoch=-1` and `verbose`, which torch has removed, are accepted and have no effect.

    Nothing is executed as Python, so a text from an untrusted file is safe.

    A ChainedScheduler becomes a product of schedules if all its schedulers multiply the learning rate (see
    `chained_scheduler`; a cosine only up to its end). Any other is stepped as torch steps it, for
    `num_steps`. A composite in a SequentialLR is refused, because torch steps it wrongly.

    Args:
        text: a constructor such as `"StepLR(optimizer, step_size=30)"`, of any class of
            `torch.optim.lr_scheduler`, or of SWALR.
        init_value: learning rate of the optimizer, a finite number >= 0; may be traced, shape (). It may be
            left out if the text sets it, as in `SGD(params, lr=0.1)`. The two may not differ.
        names: values of the names in the text, by their source: `{"args.epochs": 90,
            "len(train_loader)": 391}`. A value is a number, a string, a list, a dict, a function, or an
            object whose attributes or length are looked up: `{"args": args, "train_loader": loader}`.
            `names` may also be `vars(args)`, or `args` itself. Only the values that are needed are read.
        group: parameter group of the optimizer, for arguments that are a list with one value per group.
        num_steps: number of epochs (or steps) to tabulate. Only a MultiplicativeLR, a ChainedScheduler
            that is not a product, and a function that keeps or scales the rate of the epoch before need
            it. After them the last rate holds.
        version: version of the framework, such as "4.48", for a call whose rule changed. A call with one
            rule in all versions has the same rates with any version.

    Returns:
        A schedule of the epoch (or step). For ReduceLROnPlateau it is the transformation
        `reduce_lr_on_plateau`.

    Raises:
        TypeError: `text` is not a string, or an argument in it has the wrong type.
        ValueError: `text` cannot be read, `names` lacks one of its names, or an argument in it is out of
            its range.

    Example:
        >>> schedule = from_string("lr_scheduler.StepLR(opt, step_size=2 * 15, gamma=0.5)", 1.0)
        >>> schedule(29), schedule(30)
        (1.0, 0.5)
        >>> schedule = from_string("LambdaLR(opt, lambda e: 1 - e / args.epochs)", 1.0, {"args.epochs": 4})
        >>> [schedule(epoch) for epoch in range(4)]
        [1.0, 0.75, 0.5, 0.25]

    Reference: `torch.optim.lr_scheduler`.
    """
    call, work = _read(text, init_value, names, group, num_steps)
    schedule = build(versioned(call, version))
    work.end()
    return schedule


def steps_per_batch(text: str) -> bool:
    """Check if a recipe contains a scheduler that users step once per batch instead of once per epoch.

    Lightning's `"interval": "step"`, or `"epoch"`, decides if the recipe has it.
    """
    code = re.sub(r"#.*", "", text)
    intervals = set(re.findall(r"\binterval['\"]?\s*[:=]\s*['\"]?(step|epoch)\b", code))
    if len(intervals) == 1:
        return intervals == {"step"}
    names = "|".join(row.name for row in CLASSES.values() if row.steps_per_batch)
    return bool(re.search(rf"\b({names})['\"]?\s*[(,\n]", code))


def ported(
    text: str,
    init_value: float | None = None,
    names: Names | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
    version: str | None = None,
) -> dict[str, str]:
    """Return the line of `port` as `jaxlr`, and the recipe with its names and sums evaluated as `torch`.

    The arguments are those of `from_string`.
    """
    call, work = _read(text, init_value, names, group, num_steps)
    call = versioned(call, version)
    build(call)  # refuse arguments out of their range instead of printing them
    work.end()
    return {"jaxlr": jaxlr_text(call), "torch": torch_text(call)}


def versioned(call: Call, version: str | None) -> Call:
    """Return a call with the version of its framework, if its rule depends on the version."""
    if version is None:
        return call
    parsed_version(version)  # also where all versions have one rule
    row = call.torch_class
    if row.library == "torch":
        raise ValueError(f"version is for the calls of frameworks, and {row.name} is torch's: leave it out")
    if "version" not in inspect.signature(row.function).parameters:
        return call
    return call._replace(arguments={**call.arguments, "version": version})


def _read(
    text: str,
    init_value: ArrayLike | None,
    names: Names | None,
    group: int,
    num_steps: int | None,
) -> tuple[Call, Work]:
    statements = parsed(text)
    evaluator = Evaluator({} if names is None else names)
    check_duration("group", group)
    if num_steps is not None:
        num_steps = check_positive_count("num_steps", num_steps)
        evaluator.work.allow(num_steps)
    if group and "add_param_group" in text:
        raise ValueError(
            "the text adds parameter groups, so that their rates are not known here: convert it with "
            "jaxlr.optimizer_from_string, or with group=0"
        )
    reader = ConstructorReader(evaluator, group)
    try:
        constructor = _follow(statements, evaluator, reader, text)
    except RecursionError:
        raise ValueError("the scheduler's text is nested too deeply to be read") from None
    _check_nothing_missing(evaluator)
    base: Any = 1.0
    if not is_rate(constructor):
        rate = reader.rate(constructor) or reader.rate_beside(statements)
        base = _base_rate(constructor, rate, init_value)
        if base is None:
            raise _missing_rate(statements, reader)
    return equivalent_call(constructor, base, num_steps), evaluator.work


def is_rate(constructor: Constructor) -> bool:
    """Check if a text gives the rate itself, whatever the rate of the optimizer is."""
    function = constructor.arguments.get("lr_lambda")
    return isinstance(function, Function) and function.is_rate and not function.keeps_rate


def _follow(
    statements: list[ast.stmt], evaluator: Evaluator, reader: ConstructorReader, text: str
) -> Constructor:
    """Return the scheduler of a text."""
    constructor = followed(Program(evaluator, reader), reader, statements)
    if constructor is not None:
        return constructor
    _check_nothing_missing(evaluator)
    is_alone = len(statements) == 1 and isinstance(statements[0], ast.Expr | ast.Assign | ast.Return)
    if not is_alone:
        _raise_no_scheduler(statements, reader)
    return reader.read(_expression(statements[-1], text))


def _check_nothing_missing(evaluator: Evaluator) -> None:
    if evaluator.missing:
        if (
            len(optimizer_calls([ast.Expr(parse_expression(each)) for each in evaluator.missing])) > 1
        ):  # in a list that is looped over
            raise ValueError("the text constructs schedulers for several optimizers: give the lines of one")
        raise MissingNamesError(evaluator.missing, evaluator.missing_functions)


def _raise_no_scheduler(statements: list[ast.stmt], reader: ConstructorReader) -> None:
    """Raise the error about a program without a scheduler, if the program shows the reason."""
    if any(map(reader.constructs, statements)):
        raise ValueError(
            "the text constructs no scheduler for these names: no branch or function that does is reached"
        )
    last = statements[-1]
    if isinstance(last, ast.ClassDef) and NAME_OF_SCHEDULER.search(last.name):
        raise_unknown(last.name)
    setters = [
        each for each in nodes_in(statements) if isinstance(each, ast.FunctionDef) and writes_rate(each)
    ]
    if setters:
        raise ValueError(
            f"the text sets the learning rate by hand, in {setters[0].name!r}: give that function alone"
        )
    if optimizers := optimizer_calls(statements):
        likely = [call for call in calls_in(statements) if NAME_OF_SCHEDULER.search(called_name(call))]
        raise_unknown(called_name((likely or optimizers)[0]))


def followed(program: Program, reader: ConstructorReader, statements: list[ast.stmt]) -> Constructor | None:
    """Follow the statements of a text, and return the scheduler or the function of the step in it."""
    reader.origins, reader.own_options = imported(statements), own_options(statements)
    reader.classes = own_classes(statements)
    match statements[-1]:
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda(args=arguments, body=body)) as last:
            if not any(map(reader.constructs, statements)):  # lr = lambda epoch: ...
                returned = ast.copy_location(ast.Return(body), last)
                function = ast.FunctionDef(name, arguments, [returned], [])
                statements = [*statements[:-1], ast.copy_location(function, last)]
        case _:
            pass
    program.run(flattened(statements, reader.known))
    kept = program.kept()
    stepped = [each for each in reader.made if id(each) in kept and not reader.is_used(each)]
    constructor = reader.final(kept)
    if constructor is not None:
        _check_hands(statements)
        _check_setters(statements, reader.optimizers(constructor))
        program.check_steps(statements, stepped)
        for optimizer in reader.optimizers(constructor):
            program.check_alone(optimizer)
        return constructor
    function = program.schedule_function()
    last = statements[-1]
    is_function = isinstance(last, ast.FunctionDef) or (function is not None and function.writes_rate)
    if function is None or not is_function or (optimizer_calls(statements) and not writes_rate(last)):
        return None  # the function trains
    schedule = function.as_rate(reader.group)
    schedule.check()
    return Constructor(CLASSES["LambdaLR"], {"lr_lambda": schedule}, 1)


def _check_hands(statements: list[ast.stmt]) -> None:
    """Refuse a text that also sets the rate by hand, in a function that it calls or a hook of Lightning."""
    nodes = list(nodes_in(statements))
    called = {source_of(call.func) for call in calls_in(statements)}
    called |= {f"self.{name}" for name in map(last_name, called) if not changes(name) and name != "step"}
    owners = {id(each): owner for owner in nodes if isinstance(owner, ast.ClassDef) for each in owner.body}
    for each in nodes:
        if not isinstance(each, ast.FunctionDef) or not writes_rate(each):
            continue
        owner = owners.get(id(each))
        is_hook = owner is not None and (each.name == "optimizer_step" or each.name.startswith("on_"))
        is_called = (each.name if owner is None else f"self.{each.name}") in called
        if is_hook or (is_called and not (owner and NAME_OF_SCHEDULER.search(owner.name))):
            raise ValueError(_sets_by_hand(each.name))


def _check_setters(statements: list[ast.stmt], optimizers: Collection[str]) -> None:
    """Refuse a text that gives the optimizer, or a count, to an unknown function that sets its rate."""
    own = {each.name for each in nodes_in(statements) if isinstance(each, ast.FunctionDef)}
    alone = {id(each.value) for each in nodes_in(statements) if isinstance(each, ast.Expr)}
    for call in calls_in(statements):
        name, given = called_name(call), arguments_of(call)
        spelled = name.lower().replace("_", "")
        is_maker = name.startswith("get_") or name.endswith(("LR", "cheduler"))  # of a scheduler
        is_setter = _SETTER.search(spelled) and not is_maker
        is_warmup = _WARMUP.search(spelled) and not name[:1].isupper()  # no class
        is_setter = is_setter or (is_warmup and id(call) in alone)
        parts = (each for each in nodes_in(given) if isinstance(each, ast.Name | ast.Attribute))
        is_given = any(source_of(each) in optimizers for each in given) or any(
            is_count(last_name(source_of(each))) for each in parts
        )
        if is_given and is_setter and name not in own:
            raise ValueError(_sets_by_hand(name))


def _sets_by_hand(name: str) -> str:
    return (
        f"the text also sets the learning rate by hand, in {name!r}: leave it out if it does not, or write "
        "the rate as a function of the epoch, 'def get_lr(epoch): ...'"
    )


def _missing_rate(statements: list[ast.stmt], reader: ConstructorReader) -> MissingRateError:
    """Return the error for a text that does not say the rate of its optimizer."""
    calls = optimizer_calls(statements)
    if not calls:
        return MissingRateError()
    name = called_name(calls[0])
    if "lr" in reader.own_options or reader.has_own_rates:
        return MissingRateError(name)
    if len(calls) > 1 or any(each.arg is None for each in calls[0].keywords):
        return MissingRateError()
    return MissingRateError(name, signature(name).parameters["lr"].default)


def _base_rate(constructor: Constructor, rate: TextRate | None, init_value: Any) -> Any:
    """Return the rate that the optimizer is created with, or None if nobody states it."""
    if rate is None or isinstance(rate.value, Unevaluated):
        if init_value is not None:
            return init_value
        if constructor.torch_class.has_own_base:
            return 1.0
        if rate is not None and rate.value.missing:
            raise MissingNamesError(rate.value.missing)
        return None
    if isinstance(rate.value, bool) or not isinstance(rate.value, int | float):
        raise ValueError(f"the text sets lr={shorten(source_of(rate.node))}, which is not a number")
    if init_value is None or constructor.torch_class.has_own_base:
        return rate.value
    is_traced = isinstance(init_value, Tracer)
    if is_traced or not math.isclose(float(init_value), rate.value, rel_tol=1e-6):
        raise ConflictingRateError("a traced value" if is_traced else f"{init_value}", rate.value)
    return init_value


def parsed(text: str, kind: str = "scheduler", example: str = EXAMPLE) -> list[ast.stmt]:
    """Return the statements of a text, at least one."""
    if not isinstance(text, str):
        raise TypeError(f"the {kind}'s text must be a string, got {text!r}")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"the {kind}'s text must have at most {_LONGEST_TEXT} characters, got {len(text)}")
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            statements = ast.parse(dedented(as_python(unwrapped(text)))).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        if re.search(r"^-.*(\n.*)*^\+|^\+.*(\n.*)*^-|^@@ ", text, re.MULTILINE):
            reason = "it looks like a diff, of which only one side can be read"
        message = f"cannot read the {kind} {shorten(text)!r} ({reason}): write a call {example}"
        raise ValueError(message) from None
    level, depth = list[ast.AST](statements), 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    if depth > _MOST_LEVELS:
        raise ValueError(f"the {kind}'s text is nested too deeply to be read")
    return with_own_names(with_calls(with_plain_assignments(statements))) or [ast.Pass()]


def _expression(statement: ast.stmt, text: str) -> ast.expr:
    """Return the expression of the last statement: alone, assigned or returned."""
    match statement:
        case (
            ast.Expr(value=ast.expr() as value)
            | ast.Assign(value=value)
            | ast.AnnAssign(value=ast.expr() as value)
            | ast.Return(value=ast.expr() as value)
        ):
            # A call that was copied out of a list may end with a comma, which makes it a tuple.
            return value.elts[0] if isinstance(value, ast.Tuple) and len(value.elts) == 1 else value
    raise ValueError(f"cannot read the scheduler {shorten(text)!r}: write a call {EXAMPLE}")
