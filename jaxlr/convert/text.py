"""The text of a torch scheduler's constructor, parsed into a schedule: it is never evaluated."""

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
from jaxlr.convert.calls import Call, build, source, torch_text
from jaxlr.convert.constructors import COMPOSITES, Constructor, as_call, required
from jaxlr.convert.expressions import Reader, Unread
from jaxlr.convert.lambdas import UNKNOWN
from jaxlr.convert.source import brief, shown


# What each class takes after its optimizer, in torch's order; recipes still write the removed `verbose`.
_PARAMETERS = {
    "LambdaLR": "lr_lambda last_epoch verbose",
    "MultiplicativeLR": "lr_lambda last_epoch verbose",
    "StepLR": "step_size gamma last_epoch verbose",
    "MultiStepLR": "milestones gamma last_epoch verbose",
    "ConstantLR": "factor total_iters last_epoch verbose",
    "LinearLR": "start_factor end_factor total_iters last_epoch verbose",
    "ExponentialLR": "gamma last_epoch verbose",
    "SequentialLR": "schedulers milestones last_epoch verbose",
    "CosineAnnealingLR": "T_max eta_min last_epoch verbose",
    "ChainedScheduler": "schedulers optimizer verbose",
    "ReduceLROnPlateau": ("mode factor patience threshold threshold_mode cooldown min_lr eps verbose"),
    "CyclicLR": (
        "base_lr max_lr step_size_up step_size_down mode gamma scale_fn scale_mode cycle_momentum "
        "base_momentum max_momentum last_epoch verbose"
    ),
    "CosineAnnealingWarmRestarts": "T_0 T_mult eta_min last_epoch verbose",
    "OneCycleLR": (
        "max_lr total_steps epochs steps_per_epoch pct_start anneal_strategy cycle_momentum base_momentum "
        "max_momentum div_factor final_div_factor three_phase last_epoch verbose"
    ),
    "PolynomialLR": "total_iters power last_epoch verbose",
    "SWALR": "swa_lr anneal_epochs anneal_strategy last_epoch verbose",
}
# What does not concern the learning rate is not even read.
_IGNORED = ("optimizer", "verbose", "cycle_momentum", "base_momentum", "max_momentum")
_PER_GROUP = ("lr_lambda", "base_lr", "max_lr", "min_lr", "swa_lr")
_LONGEST_TEXT = 20_000
_MOST_PARTS = 100
_MOST_LEVELS = 100  # of nested expressions: far from where Python stops to recurse, wherever it is called
_EXAMPLE = "such as 'StepLR(step_size=30, gamma=0.1)'"


def from_string(
    text: str,
    init_value: ArrayLike,
    names: Mapping[str, Any] | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
) -> optax.Schedule | optax.GradientTransformationExtraArgs:
    """The scheduler that a torch constructor's text describes.

    The text may name the class with or without its module, give any optimizer as first argument or
    none, and the other arguments by position or keyword: numbers, strings, lists, arithmetic,
    comparisons, conditional expressions, comprehensions, `math` and the likes of `int`, `len`, `range`,
    `min`. The schedulers of a SequentialLR or ChainedScheduler stand in its list, or are assigned to
    names in lines before. LambdaLR takes a lambda made of the same, which is translated.
    `last_epoch=-1` and the removed `verbose` are read and mean nothing. Nothing is evaluated as
    Python, so a text from an untrusted file is safe.

    A ChainedScheduler that is a product becomes one (see `chained_scheduler`, up to the end of a cosine);
    another is stepped as torch steps it, for `num_steps`. A composite within a SequentialLR is refused:
    torch steps it wrongly.

    Args:
        text: such as `"StepLR(optimizer, step_size=30)"`, for every class of
            `torch.optim.lr_scheduler`, and SWALR.
        init_value: learning rate of the optimizer, a finite number >= 0; may be traced, shape ().
        names: values of the names in the text, by their source: `{"args.epochs": 90,
            "len(train_loader)": 391}`; numbers, strings, lists, or functions for `lr_lambda`.
        group: parameter group of the optimizer, where an argument is a list with one value for each.
        num_steps: epochs (or steps) to tabulate, which a MultiplicativeLR and a ChainedScheduler that
            is no product need; after them the last rate holds.

    Returns:
        A schedule of the epoch (or step); for ReduceLROnPlateau the transformation
        `reduce_lr_on_plateau`.

    Raises:
        TypeError: `text` is not a string, or one of its arguments is not of the kind the class takes.
        ValueError: `text` cannot be read, `names` lacks a name in it, or one of its arguments is out
            of its range.

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
    """The line of Python that makes the schedule of `from_string`.

    Args:
        text: as in `from_string`, as are the arguments after it.
        init_value: as in `from_string`, a number.
        names: as in `from_string`; a function among them cannot be printed.
        group: as in `from_string`.
        num_steps: as in `from_string`.

    Returns:
        A call of jaxlr's functions.

    Raises:
        TypeError: as in `from_string`.
        ValueError: as in `from_string`.

    Example:
        >>> port("MultiStepLR(optimizer, milestones=[30, 60], gamma=0.5)", 0.1)
        'jaxlr.multi_step_lr(0.1, milestones=[30, 60], gamma=0.5)'

    Reference: `torch.optim.lr_scheduler`.
    """
    return ported(text, init_value, names, group, num_steps=num_steps)["jaxlr"]


def steps_per_batch(text: str) -> bool:
    """Whether a scheduler in the text is one that everybody steps once per batch, as torch says to."""
    return bool(re.search(r"\b(OneCycleLR|CyclicLR)\s*\(", re.sub(r"#.*", "", text)))


def ported(
    text: str,
    init_value: float,
    names: Mapping[str, Any] | None = None,
    group: int = 0,
    *,
    num_steps: int | None = None,
) -> dict[str, str]:
    """The line of `port` as `jaxlr`, and as `torch` what has been read: its names and sums worked out."""
    call = _read(text, init_value, names, group, num_steps)
    build(call)  # arguments out of their range are refused, not printed
    return {"jaxlr": source(call), "torch": torch_text(call)}


def _read(
    text: str, init_value: ArrayLike, names: Mapping[str, Any] | None, group: int, num_steps: int | None
) -> Call:
    *assignments, last = _parse(text)
    reader = Reader({} if names is None else names)
    check_duration("group", group)
    if num_steps is not None:
        num_steps = check_positive_count("num_steps", num_steps)
    constructors = _Constructors(reader, group)
    try:
        for statement in assignments:
            constructors.assign(statement)
        constructor = constructors.read(_expression(last, text))
    except RecursionError:
        raise ValueError("the scheduler's text is nested too deeply to be read") from None
    if reader.missing:
        raise ValueError(f"the scheduler's text needs the values of names: {_listed(reader.missing)}")
    constructors.check_unused()
    return as_call(constructor, init_value, num_steps)


def _parse(text: str) -> list[ast.stmt]:
    """The statements of a text: assignments, then the one that is meant."""
    if not isinstance(text, str):
        raise TypeError(f"a scheduler is described by a string, got {text!r}")
    if len(text) > _LONGEST_TEXT:
        raise ValueError(
            f"the scheduler's text has {len(text)} characters; at most {_LONGEST_TEXT} are read"
        )
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            statements: list[ast.stmt] = ast.parse(_trimmed(text)).body
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


def _expression(statement: ast.stmt, text: str) -> ast.expr:
    """What the last statement gives."""
    match statement:
        case (
            ast.Expr(value=ast.expr() as value)
            | ast.Assign(value=value)
            | ast.AnnAssign(value=ast.expr() as value)
            | ast.Return(value=ast.expr() as value)
        ):
            # A comma after the call, as in a list that it was copied from, makes a tuple of it.
            return value.elts[0] if isinstance(value, ast.Tuple) and len(value.elts) == 1 else value
    raise ValueError(f"cannot read the scheduler {shorten(text)!r}: write a call {_EXAMPLE}")


def _listed(missing: list[str]) -> str:
    """Names to give values for, as many as a message can hold."""
    entries: list[str] = []
    length = 0
    for name in missing:
        length += len(entry := f"{shorten(name)!r}: ...")
        if length < 250:
            entries.append(entry)
    rest = len(missing) - len(entries)
    return f"give names={{{', '.join(entries)}}}" + (f" and {rest} more" if rest else "")


def _trimmed(text: str) -> str:
    """The text without the indentation that it had where it was copied."""
    first, _, rest = text.lstrip("\ufeff").expandtabs().partition("\n")
    return f"{first.strip()}\n{textwrap.dedent(rest)}".strip()


class _Constructors:
    """Reads the calls of constructors, their arguments worked out for one parameter group."""

    def __init__(self, reader: Reader, group: int):
        self._reader, self._group = reader, group
        self._unused: list[Constructor] = []
        self._num_constructed = 0

    def assign(self, statement: ast.stmt) -> None:
        """Give names the values of a statement before the last one."""
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=nodes)):
                values = [self._assigned_value(node) for node in nodes]
                assigned = dict(zip(map(shown, targets), values, strict=False))
            case ast.Assign(targets=targets, value=node):
                value = self._assigned_value(node)
                assigned = dict.fromkeys(map(shown, targets), value)
            case ast.AnnAssign(target=target, value=ast.expr() as node):
                assigned = {shown(target): self._assigned_value(node)}
            case ast.Import() | ast.ImportFrom():
                assigned = {}
            case _:
                line = shorten(ast.unparse(statement))
                raise ValueError(f"cannot read {line!r}: before the scheduler only assignments are read")
        if given := [name for name in assigned if name in self._reader.names]:
            raise ValueError(f"names gives a value for {given[0]!r}, which the text assigns")
        self._reader.assigned |= assigned

    def read(self, node: ast.expr) -> Constructor:
        """The constructor that an expression calls, or that was assigned to the name that it is."""
        assigned = self._reader.assigned.get(shown(node))
        if isinstance(assigned, Constructor):
            self._use(node, [assigned])
            return assigned
        name, call = _class_of(assigned.node if isinstance(assigned, Unread) else node)
        nodes = self._bind(name, call)
        values: dict[str, Any] = {}
        if name in COMPOSITES:
            values["schedulers"] = self._parts(nodes.pop("schedulers"))
        values |= {key: self._of_group(key, self._reader.value(node)) for key, node in nodes.items()}
        self._num_constructed += 1
        return Constructor(name, values, self._num_constructed)

    def check_unused(self) -> None:
        """A scheduler changes its optimizer when it is constructed, in use or not."""
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
        return self._reader.assigned_value(node)

    def _is_scheduler(self, node: ast.expr) -> bool:
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
                return name in _PARAMETERS
        return isinstance(self._reader.assigned.get(shown(node)), Constructor)

    def _parts(self, node: ast.expr) -> list[Constructor]:
        if isinstance(node, ast.List | ast.Tuple):
            parts = [self.read(part) for part in node.elts]
        else:
            parts = self._reader.assigned.get(shown(node))
            if isinstance(parts, list) and all(isinstance(part, Constructor) for part in parts):
                self._use(node, parts)
            else:
                parts = None
        if parts is None or len(parts) > _MOST_PARTS:
            raise ValueError(
                f"schedulers must be a list of up to {_MOST_PARTS} constructors, got {brief(node)}"
            )
        return parts

    def _use(self, node: ast.expr, constructors: list[Constructor]) -> None:
        """Count what was assigned as part of a scheduler, of one only."""
        unused = {id(constructor) for constructor in self._unused}
        if any(id(constructor) not in unused for constructor in constructors):
            raise ValueError(f"{brief(node)} is used twice: torch would step it twice at once")
        used = {id(constructor) for constructor in constructors}
        self._unused = [constructor for constructor in self._unused if id(constructor) not in used]

    def _of_group(self, key: str, value: Any) -> Any:
        if key not in _PER_GROUP or not isinstance(value, list):
            return value
        if not 0 <= self._group < len(value):
            raise ValueError(f"{key} has values for {len(value)} groups, and none for group {self._group}")
        return value[self._group]

    def _bind(self, name: str, call: ast.Call) -> dict[str, ast.expr]:
        """The syntax of the arguments by name, less what does not concern the learning rate."""
        order = _PARAMETERS[name].split()
        has_optimizer = bool(call.args) and self._is_optimizer(call.args[0])
        positional = call.args[has_optimizer:]
        if len(positional) > len(order):
            raise ValueError(
                f"{name} takes at most {len(order)} arguments after the optimizer: {', '.join(order)}"
            )
        nodes: dict[str, ast.expr] = {"optimizer": call.args[0]} if has_optimizer else {}
        given = [*zip(order, positional, strict=False), *((each.arg, each.value) for each in call.keywords)]
        for key, node in given:
            if key not in ("optimizer", *order):
                accepted = [each for each in order if each not in _IGNORED and each != "last_epoch"]
                if key is None:
                    raise ValueError(f"{name} is given **{shown(node)}: write the arguments out")
                raise ValueError(f"{name} has no argument {key!r}; it takes {', '.join(accepted)}")
            if key in nodes:
                raise ValueError(f"{name} is given its argument {key!r} twice")
            nodes[key] = node
        self._check_last_epoch(name, nodes.pop("last_epoch", None))
        missing = [key for key in required(name) if key not in nodes]
        if missing:
            message = f"{name} needs {', '.join(missing)}, as in '{name}({missing[0]}=...)'"
            if has_optimizer and "opt" not in (first := shown(call.args[0])).lower():
                message += f"; {shorten(first)!r} was taken for the optimizer"
            raise ValueError(message)
        return {key: node for key, node in nodes.items() if key not in _IGNORED}

    def _check_last_epoch(self, name: str, node: ast.expr | None) -> None:
        last_epoch = -1 if node is None else self._reader.value(node)
        if last_epoch is not UNKNOWN and last_epoch != -1:
            raise ValueError(
                f"last_epoch must be -1, which starts {name} afresh, got {last_epoch!r}: "
                "a schedule goes on where the optimizer's own count does"
            )

    def _is_optimizer(self, node: ast.expr) -> bool:
        """Whether a first argument is the optimizer: recipes write 45 forms of it, none of them a value."""
        if (source := shown(node)) in self._reader.assigned:
            return isinstance(self._reader.assigned[source], Unread | None)
        match node:
            case ast.Constant(value=value):
                return value is None
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in _PARAMETERS:
                return False
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return not self._reader.is_value(node)
        return isinstance(node, ast.IfExp | ast.BoolOp | ast.Await)


def _class_of(node: ast.expr) -> tuple[str, ast.Call]:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            if name in _PARAMETERS:
                return name, node
            nearest = difflib.get_close_matches(name, _PARAMETERS, n=1, cutoff=0.5)
            hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(_PARAMETERS)}"
            raise ValueError(f"unknown scheduler {shorten(name)!r}: {hint}")
    raise ValueError(f"{brief(node)} is not the call of a scheduler: write one {_EXAMPLE}")
