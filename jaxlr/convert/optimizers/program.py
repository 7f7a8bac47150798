"""The text of an optimizer, followed without executing it."""

import ast
import difflib
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, NoReturn

from jaxlr._checks import shorten
from jaxlr.code.expressions import Evaluator
from jaxlr.code.imports import imported
from jaxlr.code.scripts import NAME_OF_SCHEDULER
from jaxlr.code.syntax import quoted, source_of
from jaxlr.code.values import Names, Unevaluated
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.optimizers.reader import OptimizerReader, is_group, text_of
from jaxlr.convert.optimizers.signatures import CONVERTED, NAMES, OptimizerCall
from jaxlr.convert.reader import called_name
from jaxlr.convert.statements import Program
from jaxlr.convert.text import followed, parsed


EXAMPLE = "such as 'AdamW(params, lr=3e-4, weight_decay=0.1)'"
_NOT_CONVERTED = ("SparseAdam", "LBFGS")  # of torch
# Calls that return an optimizer with the same updates.
_HARMLESS = (
    "prepare",
    "prepare_optimizer",
    "setup",
    "setup_optimizers",
    "initialize",
    "DistributedOptimizer",
)
_SCHEDULES = re.compile(r"lr|sched|warm|anneal|cosine|decay|rate", re.IGNORECASE)
_SCHEDULER = re.compile(r"(lr_?)?sched(ule|uler)?s?$", re.IGNORECASE)  # the name of a scheduler
# Calls of Python that do not change what they are given.
_READERS = ("len", "enumerate", "zip", "list", "tuple", "iter", "reversed", "range", "dict")
_READS = re.compile(r"^_?(get|print|log|plot|show|read)", re.IGNORECASE)


class OptimizerText:
    """A text that was followed, with its optimizer and the scheduler of one parameter group."""

    def __init__(self, text: str, names: Names | None, group: int, num_steps: int | None):
        statements = _simplified(parsed(text, "optimizer", EXAMPLE))
        _check_groups_stay(statements)
        self._evaluator = Evaluator({} if names is None else names)
        if num_steps is not None:
            self._evaluator.work.allow(num_steps)
        self._statements = statements
        added = [each for each in _calls(statements) if called_name(each) == "add_param_group"]
        in_added = {id(each) for each in _nodes(added)}
        has_groups = any(
            is_group(each) or text_of(each) == "params"
            for each in _nodes(statements)
            if id(each) not in in_added
        )
        modules = {name: origin.full_name for name, origin in imported(statements).items()}
        self.reader: OptimizerReader = OptimizerReader(self._evaluator, group, modules, has_groups)
        self._program = Program(self._evaluator, self.reader)
        try:
            self.scheduler: Constructor | None = followed(self._program, self.reader, statements)
            if self._evaluator.missing:
                raise MissingNamesError(self._evaluator.missing, self._evaluator.missing_functions)
            self.optimizer: OptimizerCall = self._optimizer()
        except MissingNamesError as error:
            error.reason = "the optimizer's text needs values for its names"
            raise
        except RecursionError:
            raise ValueError("the text of the optimizer is nested too deeply to be read") from None
        if len(added) != self._program.num_added:
            raise _changes_groups(added[0])

    @property
    def clips(self) -> bool:
        """True if the text clips gradients."""
        return any(called_name(each).startswith("clip_grad_") for each in _calls(self._statements))

    @property
    def work(self) -> Any:
        """The operations that the text may still ask for."""
        return self._evaluator.work

    def _optimizer(self) -> OptimizerCall:
        """Return the optimizer of the scheduler, or the only one of the text."""
        given = None if self.scheduler is None else self.reader.optimizer_of(self.scheduler)
        if isinstance(given, ast.expr):
            self._check_is_ours(given)
        if isinstance(given, OptimizerCall):
            self._check_calls(given)
            return given
        held = _optimizers_in(self._program.held())  # those that a name, or the last line, refers to
        others = [each for each in _calls(self._statements) if called_name(each) in _NOT_CONVERTED]
        if held and others:
            self._raise_unknown(others[0])
        if len(held) > 1:
            raise ValueError(
                f"the text constructs two optimizers, {shorten(held[0].text)} and {shorten(held[1].text)}: "
                "give the lines of one at a time"
            )
        if not held:
            self._raise_missing()
        self._check_calls(held[0])
        return held[0]

    def _check_is_ours(self, node: ast.expr) -> None:
        """Refuse the expression of an optimizer whose updates are not known."""
        value = self._evaluator.assigned.get(source_of(node))
        if isinstance(value, Unevaluated):
            if value.error is not None:
                raise value.error
            if self.reader.constructs(value.node):
                raise MissingNamesError(value.missing)
            node = value.node
        if isinstance(node, ast.Call) and called_name(node) not in (*_HARMLESS, "optimizers"):
            self._raise_unknown(node)

    def _raise_unknown(self, node: ast.Call) -> NoReturn:
        name = called_name(node)
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.75)
        hint = f"{CONVERTED}; did you mean {near[0]}?" if near and near[0] != name else CONVERTED
        if name.islower():  # a function
            hint = f"add the lines that define {name}, or write the optimizer that it returns"
        raise ValueError(f"cannot convert the optimizer {shorten(source_of(node))!r}: {hint}")

    def _raise_missing(self) -> NoReturn:
        """Raise the error about an optimizer that is missing or could not be read."""
        for value in self._evaluator.assigned.values():
            if isinstance(value, Unevaluated) and self.reader.constructs(value.node):
                if value.error is not None:
                    raise value.error
                raise MissingNamesError(value.missing)
        match self._statements:
            case [ast.Expr(value=ast.Call() as call)] | [*_, ast.Assign(value=ast.Call() as call)]:
                if self.scheduler is None and not NAME_OF_SCHEDULER.search(called_name(call)):
                    self._raise_unknown(call)
        if any(map(self.reader.constructs_optimizer, _calls(self._statements))):
            raise ValueError(
                "the text constructs no optimizer for these names: no branch or function that does is "
                "reached"
            )
        raise ValueError(f"the text constructs no optimizer: write a call {EXAMPLE}")

    def _check_calls(self, optimizer: OptimizerCall) -> None:
        """Refuse a call that is given the optimizer and returns another one, or changes its rate."""
        held = {name for name, value in self._evaluator.assigned.items() if value is optimizer}
        held |= {
            source_of(target)
            for each in _nodes(self._statements)
            if isinstance(each, ast.Assign) and self.reader.constructs_optimizer(each.value)
            for target in each.targets
        }
        for statement in _nodes(self._statements):
            match statement:
                case ast.Assign(targets=[target], value=ast.Call() as call):
                    name = source_of(target)
                case ast.Expr(value=ast.Call() as call):
                    name = ""
                case _:
                    continue
            called = called_name(call)
            if called in _HARMLESS or self.reader.is_constructor(call) or self._program.builder(call):
                continue
            is_given = bool(held & set(map(source_of, _arguments(call))))
            if not is_given and not (self.scheduler is None and _SCHEDULER.match(name.rpartition(".")[2])):
                continue
            if name in held or re.search("opt", name.rpartition(".")[2], re.IGNORECASE):
                raise ValueError(
                    f"cannot read the call {called!r} around the optimizer: its updates are not known"
                )
            is_rate = _SCHEDULES.search(called) or _SCHEDULES.search(name)
            is_read = isinstance(call.func, ast.Name | ast.Attribute) and _READS.search(called)
            if is_rate and not is_read:
                raise ValueError(
                    f"cannot read {quoted(call)}, which may change the learning rate: leave the line out, "
                    "and pass a schedule"
                )


def _simplified(statements: list[ast.stmt]) -> list[ast.stmt]:
    return _Simplified().visit(ast.Module(statements, [])).body


class _Simplified(ast.NodeTransformer):
    """A transformer that replaces the parameters in parameter groups, which may be any expression, by None.

    It also drops `optimizer = prepare(optimizer)`, for calls that leave the updates as they are.
    """

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | list[ast.stmt]:
        """Leave out the names that keep their optimizer. The call stays, as it may be given a scheduler."""
        self.generic_visit(node)
        if not isinstance(node.value, ast.Call) or called_name(node.value) not in _HARMLESS:
            return node
        given = {source_of(each) for each in _arguments(node.value)}
        targets = [target for target in _targets(node) if source_of(target) not in given]
        left = [ast.Assign(targets, ast.Constant(None))] if targets else []
        return [ast.copy_location(each, node) for each in [ast.Expr(node.value), *left]]

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        """Replace the value of the key `params`."""
        self.generic_visit(node)
        for index, key in enumerate(node.keys):
            if text_of(key) == "params" and not isinstance(node.values[index], ast.Dict):
                node.values[index] = ast.Constant(None)
        return node

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Replace the keyword `params` of a `dict`."""
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "dict":
            for keyword in node.keywords:
                if keyword.arg == "params":
                    keyword.value = ast.Constant(None)
        return node


def _check_groups_stay(statements: Sequence[ast.stmt]) -> None:
    """Refuse a text that changes the parameter groups of an optimizer after its construction."""
    aliases = {
        source_of(target)
        for each in _nodes(statements)
        if isinstance(each, ast.Assign) and _is_group_of_optimizer(each.value)
        for target in _targets(each)
    }
    for each in _nodes(statements):
        names = _loop_names(each, aliases)
        if any(_changes_group(inner, aliases | names) for inner in (ast.walk(each) if names else [each])):
            raise _changes_groups(each)


def _changes_groups(node: ast.AST) -> ValueError:
    first = ast.unparse(node).partition("\n")[0]
    return ValueError(
        f"cannot read {shorten(first)!r}: it changes the parameter groups after the construction of the "
        "optimizer. Write their options in its list, and the rate as a scheduler"
    )


def _loop_names(node: ast.AST, aliases: Collection[str]) -> set[str]:
    """Return the names that a loop gives to the parameter groups of an optimizer."""
    match node:
        case ast.For(target=target, iter=items):
            loops = [(target, items)]
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            loops = [(each.target, each.iter) for each in node.generators]
        case _:
            return set()
    return {
        each.id
        for target, items in loops
        if "param_groups" in source_of(items) or source_of(items) in aliases
        for each in ast.walk(target)
        if isinstance(each, ast.Name) and not _is_number_of(each, target, items)
    }


def _is_number_of(name: ast.Name, target: ast.expr, items: ast.expr) -> bool:
    """Check if a name is the number in a loop over enumerate(...)."""
    is_numbered = isinstance(items, ast.Call) and called_name(items) == "enumerate"
    return is_numbered and isinstance(target, ast.Tuple) and target.elts[0] is name


def _changes_group(node: ast.AST, names: Collection[str]) -> bool:
    """Check if an expression may change a parameter group, which may have one of these names."""
    match node:
        case ast.Attribute(attr="param_groups", ctx=ast.Store()):
            return source_of(node) != "self.param_groups"  # a list of one's own
        case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
            return "param_groups" in source_of(owner) or _is_group_of_optimizer(owner, names)
        case ast.Call(func=ast.Attribute(value=owner, attr="update" | "pop" | "clear" | "__setitem__")):
            return _is_group_of_optimizer(owner, names)
        case ast.Call() if isinstance(node.func, ast.Name):
            is_other = called_name(node) in _READERS or _READS.search(called_name(node))
            return not is_other and any(_is_group_of_optimizer(each, names) for each in _arguments(node))
    return False


def _is_group_of_optimizer(node: ast.AST, names: Collection[str] = ()) -> bool:
    """Check if an expression is a parameter group of an optimizer, or the list of them."""
    if isinstance(node, ast.Subscript) and not isinstance(text_of(node.slice), str):
        node = node.value
    return source_of(node) in names or (isinstance(node, ast.Attribute) and node.attr == "param_groups")


def _optimizers_in(values: Any) -> list[OptimizerCall]:
    """Return the different optimizers in values, and in the lists and mappings among them."""
    found: list[OptimizerCall] = []
    waiting = [*values]
    while waiting:
        each = waiting.pop()
        if isinstance(each, OptimizerCall) and each not in found:
            found.append(each)
        elif isinstance(each, list | dict):
            waiting += each.values() if isinstance(each, dict) else each
    return found


def _nodes(statements: Sequence[ast.AST]) -> Iterator[ast.AST]:
    return (each for statement in statements for each in ast.walk(statement))


def _calls(statements: Sequence[ast.stmt]) -> list[ast.Call]:
    return [each for each in _nodes(statements) if isinstance(each, ast.Call)]


def _targets(assignment: ast.Assign) -> list[ast.expr]:
    """Return the names that an assignment sets, one by one."""
    return [
        target
        for each in assignment.targets
        for target in (each.elts if isinstance(each, ast.Tuple | ast.List) else [each])
    ]


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords)]
