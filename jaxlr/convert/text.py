"""Read the text of a torch scheduler's constructor and turn it into a schedule. It is never executed."""

import ast
import difflib
import re
import textwrap
import warnings
from collections.abc import Mapping
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_duration, check_positive_count, shorten
from jaxlr.convert.calls import Call, build, jaxlr_text, torch_text
from jaxlr.convert.classes import CLASSES, Effect, TorchClass
from jaxlr.convert.constructors import Constructor, equivalent_call
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.expressions import UNKNOWN, Evaluator, Unevaluated
from jaxlr.convert.foreign import FOREIGN
from jaxlr.convert.syntax import quoted, source_of


_LONGEST_TEXT = 20_000
_MOST_PARTS = 100
_MOST_LEVELS = 100  # of nested expressions: Python's own limit is not reached, however deep the caller is
_EXAMPLE = "such as 'StepLR(step_size=30, gamma=0.1)'"


def from_string(
    text: str,
    init_value: ArrayLike,
    names: Mapping[str, Any] | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
) -> optax.Schedule | optax.GradientTransformationExtraArgs:
    """Return the schedule that the text of a torch scheduler's constructor describes.

    The text is read like this:

    - The class may be written with or without its module. The optimizer may be any expression, or be left
      out. Other arguments may be given by position or by keyword.
    - Arguments may be numbers, strings, lists, arithmetic, comparisons, conditional expressions and
      comprehensions. They may use `math`, and functions such as `int`, `len`, `range` and `min`.
    - The schedulers of a SequentialLR or a ChainedScheduler may be written in its list, or be assigned to
      names in the lines before.
    - The lambda of a LambdaLR or a MultiplicativeLR may contain all of these. It is translated.
    - `last_epoch=-1` and `verbose`, which torch has removed, are accepted and have no effect.

    Nothing is executed as Python, so a text from an untrusted file is safe.

    A ChainedScheduler becomes a product of schedules if all its schedulers multiply the learning rate (see
    `chained_scheduler`; a cosine only up to its end). Any other is stepped as torch steps it, for
    `num_steps`. A composite in a SequentialLR is refused, because torch steps it wrongly.

    Args:
        text: a constructor such as `"StepLR(optimizer, step_size=30)"`, of any class of
            `torch.optim.lr_scheduler`, or of SWALR.
        init_value: learning rate of the optimizer, a finite number >= 0; may be traced, shape ().
        names: values of the names in the text, by their source: `{"args.epochs": 90,
            "len(train_loader)": 391}`. A value is a number, a string, a list, or a function for
            `lr_lambda`.
        group: parameter group of the optimizer, for arguments that are a list with one value per group.
        num_steps: number of epochs (or steps) to tabulate. Only a MultiplicativeLR, and a
            ChainedScheduler that is not a product, need it. After them the last rate holds.

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
    return build(_read(text, init_value, names, group, num_steps))


def port(
    text: str,
    init_value: float,
    names: Mapping[str, Any] | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
) -> str:
    """Return the line of Python that builds the schedule of `from_string`.

    Args:
        text: the text of a torch scheduler's constructor, as in `from_string`.
        init_value: learning rate of the optimizer, a finite number >= 0.
        names: values of the names in the text, as in `from_string`. A function cannot be printed.
        group: parameter group of the optimizer, as in `from_string`.
        num_steps: number of epochs (or steps) to tabulate, as in `from_string`.

    Returns:
        A call of one of jaxlr's functions. It needs no import but `import jaxlr`.

    Raises:
        TypeError: as `from_string` raises.
        ValueError: as `from_string` raises, or a function in `names` cannot be printed.

    Example:
        >>> port("MultiStepLR(optimizer, milestones=[30, 60], gamma=0.5)", 0.1)
        'jaxlr.multi_step_lr(0.1, milestones=[30, 60], gamma=0.5)'

    Reference: `torch.optim.lr_scheduler`.
    """
    return ported(text, init_value, names, group, num_steps=num_steps)["jaxlr"]


def steps_per_batch(text: str) -> bool:
    """Check if a recipe contains a scheduler that users step once per batch instead of once per epoch."""
    names = "|".join(row.name for row in CLASSES.values() if row.steps_per_batch)
    return bool(re.search(rf"\b({names})\s*\(", re.sub(r"#.*", "", text)))


def ported(
    text: str,
    init_value: float,
    names: Mapping[str, Any] | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
) -> dict[str, str]:
    """Return the line of `port` as `jaxlr`, and the recipe with its names and sums evaluated as `torch`."""
    call = _read(text, init_value, names, group, num_steps)
    build(call)  # refuse arguments out of their range instead of printing them
    return {"jaxlr": jaxlr_text(call), "torch": torch_text(call)}


def _read(
    text: str, init_value: ArrayLike, names: Mapping[str, Any] | None, group: int, num_steps: int | None
) -> Call:
    *assignments, last = _parse(text)
    evaluator = Evaluator({} if names is None else names)
    check_duration("group", group)
    if num_steps is not None:
        num_steps = check_positive_count("num_steps", num_steps)
    reader = _ConstructorReader(evaluator, group)
    try:
        for statement in assignments:
            reader.assign(statement)
        constructor = reader.read(_expression(last, text))
    except RecursionError:
        raise ValueError("the scheduler's text is nested too deeply to be read") from None
    if evaluator.missing:
        raise MissingNamesError(evaluator.missing)
    reader.check_unused()
    return equivalent_call(constructor, init_value, num_steps)


def _parse(text: str) -> list[ast.stmt]:
    """Return the statements of a text, at least one."""
    if not isinstance(text, str):
        raise TypeError(f"the scheduler's text must be a string, got {text!r}")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(
            f"the scheduler's text must have at most {_LONGEST_TEXT} characters, got {len(text)}"
        )
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            statements: list[ast.stmt] = ast.parse(_dedented(text)).body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        message = f"cannot read the scheduler {shorten(text)!r} ({reason}): write a call {_EXAMPLE}"
        raise ValueError(message) from None
    level, depth = list[ast.AST](statements), 0
    while level:
        level, depth = [child for node in level for child in ast.iter_child_nodes(node)], depth + 1
    if depth > _MOST_LEVELS:
        raise ValueError("the scheduler's text is nested too deeply to be read")
    return statements or [ast.Pass()]


def _dedented(text: str) -> str:
    """Return the text without the indentation of the place that it was copied from."""
    first, _, rest = text.lstrip("\ufeff").expandtabs().partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip()


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
    raise ValueError(f"cannot read the scheduler {shorten(text)!r}: write a call {_EXAMPLE}")


class _ConstructorReader:
    """Reads calls of constructors, and evaluates their arguments for one parameter group."""

    def __init__(self, evaluator: Evaluator, group: int):
        self._evaluator, self._group = evaluator, group
        self._unused: list[Constructor] = []
        self._num_constructed = 0

    def assign(self, statement: ast.stmt) -> None:
        """Read a statement before the last one, and remember the values that it assigns."""
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=nodes)):
                values = [self._assigned_value(node) for node in nodes]
                assigned = dict(zip(map(source_of, targets), values, strict=False))
            case ast.Assign(targets=targets, value=node):
                value = self._assigned_value(node)
                assigned = dict.fromkeys(map(source_of, targets), value)
            case ast.AnnAssign(target=target, value=ast.expr() as node):
                assigned = {source_of(target): self._assigned_value(node)}
            case ast.Import() | ast.ImportFrom():
                assigned = {}
            case _:
                raise ValueError(
                    f"cannot read {shorten(ast.unparse(statement))!r}: only assignments may come before "
                    "the scheduler"
                )
        if given := [name for name in assigned if name in self._evaluator.names]:
            raise ValueError(f"names gives a value for {given[0]!r}, but the text assigns one")
        self._evaluator.assigned |= assigned

    def read(self, node: ast.expr) -> Constructor:
        """Return the constructor that an expression calls, or that was assigned to the name that it is."""
        assigned = self._evaluator.assigned.get(source_of(node))
        if isinstance(assigned, Constructor):
            self._use(node, [assigned])
            return assigned
        torch_class, call = _called_class(assigned.node if isinstance(assigned, Unevaluated) else node)
        nodes = self._arguments(torch_class, call)
        values: dict[str, Any] = {}
        if torch_class.effect is Effect.COMPOSITE:
            values["schedulers"] = self._parts(nodes.pop("schedulers"))
        for key, argument in nodes.items():
            values[key] = self._value_for_group(torch_class, key, self._evaluator.value(argument))
        self._num_constructed += 1
        return Constructor(torch_class, values, self._num_constructed)

    def check_unused(self) -> None:
        """Refuse a scheduler that is constructed but not used: its constructor changes the optimizer."""
        if self._unused:
            name = self._unused[0].name
            raise ValueError(
                f"the text constructs a {name} that its last statement does not use: leave it out"
            )

    def _assigned_value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.List | ast.Tuple) and any(map(self._is_scheduler, node.elts)):
            parts = [self.read(part) for part in node.elts]
            self._unused += parts
            return parts
        if self._is_scheduler(node):
            constructor = self.read(node)
            self._unused.append(constructor)
            return constructor
        return self._evaluator.value_if_any(node)

    def _is_scheduler(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return name in CLASSES
        return isinstance(self._evaluator.assigned.get(source_of(node)), Constructor)

    def _parts(self, node: ast.expr) -> list[Constructor]:
        """Return the schedulers of a composite, from a list or from the name of one."""
        if isinstance(node, ast.List | ast.Tuple):
            parts = [self.read(part) for part in node.elts]
        else:
            parts = self._evaluator.assigned.get(source_of(node))
            if isinstance(parts, list) and all(isinstance(part, Constructor) for part in parts):
                self._use(node, parts)
            else:
                parts = None
        if parts is None or len(parts) > _MOST_PARTS:
            raise ValueError(
                f"schedulers must be a list of up to {_MOST_PARTS} constructors, got {quoted(node)}"
            )
        for part in parts:
            if part.name in FOREIGN:
                raise ValueError(f"{part.name} cannot be part of a composite of torch: convert it alone")
        return parts

    def _use(self, node: ast.expr, constructors: list[Constructor]) -> None:
        """Mark assigned constructors as used. Each may be used once."""
        unused = {id(constructor) for constructor in self._unused}
        if any(id(constructor) not in unused for constructor in constructors):
            raise ValueError(f"{quoted(node)} is used twice, so torch would step it twice at once")
        used = {id(constructor) for constructor in constructors}
        self._unused = [constructor for constructor in self._unused if id(constructor) not in used]

    def _value_for_group(self, torch_class: TorchClass, key: str, value: Any) -> Any:
        if key not in torch_class.per_group or not isinstance(value, list):
            return value
        if not 0 <= self._group < len(value):
            raise ValueError(f"{key} has values for {len(value)} groups, but none for group {self._group}")
        return value[self._group]

    def _arguments(self, torch_class: TorchClass, call: ast.Call) -> dict[str, ast.expr]:
        """Return the syntax of the settings in a call, by name. Refuse a call that lacks a required one."""
        nodes = self._bound(torch_class, call)
        self._check_last_epoch(torch_class, nodes.get("last_epoch"))
        if missing := [key for key in torch_class.required if key not in nodes]:
            name = torch_class.name
            message = f"{name} needs {', '.join(missing)}, as in '{name}({missing[0]}=...)'"
            optimizer = nodes.get("optimizer")
            if optimizer in call.args and "opt" not in source_of(optimizer).lower():
                message += f"; {quoted(optimizer)} was taken for the optimizer"
            raise ValueError(message)
        return {key: nodes[key] for key in nodes if key in torch_class.settings}

    def _bound(self, torch_class: TorchClass, call: ast.Call) -> dict[str, ast.expr]:
        """Return the syntax of all arguments of a call, by the names of the constructor's parameters."""
        name, parameters = torch_class.name, torch_class.parameters
        positional, nodes = list(call.args), dict[str, ast.expr]()
        if positional and parameters[1:2] != ["optimizer"] and self._is_optimizer(positional[0]):
            nodes["optimizer"] = positional.pop(0)
        if len(positional) > len(parameters):
            accepted = ", ".join(parameters)
            raise ValueError(
                f"{name} takes at most {len(parameters)} arguments after the optimizer: {accepted}"
            )
        by_keyword = [(keyword.arg, keyword.value) for keyword in call.keywords]
        for key, node in [*zip(parameters, positional, strict=False), *by_keyword]:
            if key is None:
                raise ValueError(f"{name} is given **{source_of(node)}: write the arguments out")
            if key not in ("optimizer", *parameters):
                accepted = ", ".join(torch_class.settings)
                raise ValueError(f"{name} has no argument {key!r}; it takes {accepted}")
            if key in nodes:
                raise ValueError(f"{name} is given its argument {key!r} twice")
            nodes[key] = node
        return nodes

    def _check_last_epoch(self, torch_class: TorchClass, node: ast.expr | None) -> None:
        last_epoch = -1 if node is None else self._evaluator.value(node)
        if last_epoch is not UNKNOWN and last_epoch != -1:
            raise ValueError(
                f"last_epoch must be -1, which starts {torch_class.name} afresh, got {last_epoch!r}: "
                "to resume, restore the count of the optimizer's state instead"
            )

    def _is_optimizer(self, node: ast.expr) -> bool:
        """Check if a first argument is the optimizer, which recipes write in dozens of ways.

        It is if it is an expression that could be one, and is not known to be a value or a scheduler.
        """
        if (source := source_of(node)) in self._evaluator.assigned:
            return isinstance(self._evaluator.assigned[source], Unevaluated | None)
        match node:
            case ast.Constant(value=value):
                return value is None
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in CLASSES:
                return False
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return not self._evaluator.has_value(node)
        return isinstance(node, ast.IfExp | ast.BoolOp | ast.Await)


def _called_class(node: ast.expr) -> tuple[TorchClass, ast.Call]:
    """Return the class whose constructor an expression calls, and the call."""
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            known = CLASSES | FOREIGN
            if name in known:
                return known[name], node
            nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"the known ones are {', '.join(CLASSES)}"
            raise ValueError(f"unknown scheduler {shorten(name)!r}: {hint}")
    raise ValueError(f"{quoted(node)} is not the call of a scheduler: write one {_EXAMPLE}")
