"""Read the optimizer in the text of a recipe. The text is never executed."""

import ast
import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from jaxlr._checks import shorten
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.expressions import Evaluator
from jaxlr.convert.reader import ConstructorReader
from jaxlr.convert.signatures import NAMES, WITHOUT_EFFECT, OptimizerCall, options_of, signature
from jaxlr.convert.statements import Program
from jaxlr.convert.syntax import quoted, source_of
from jaxlr.convert.text import followed, parsed
from jaxlr.convert.values import UNKNOWN, Names, Unevaluated


EXAMPLE = "such as 'AdamW(params, lr=3e-4, weight_decay=0.1)'"
CONVERTED = f"jaxlr converts torch's {', '.join(NAMES)}"
_OWN_NAMES = ("name", "group_name", "params", "param_names")  # keys of a group that change no update
_MOMENTA = ("cycle_momentum", "base_momentum", "max_momentum")
_MOST_GROUPS = 100
_GROUPS = re.compile("group", re.IGNORECASE)  # in the names of lists of parameter groups
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
_READS = re.compile(r"^_?(get|print|log|plot|show|read)", re.IGNORECASE)


class OptimizerReader(ConstructorReader):
    """Reads calls of optimizers, too.

    Args:
        evaluator: the evaluator of the text. Its constructors are read by this reader from now on.
        group: the parameter group whose scheduler is read.
        modules: the full names of what the text imports.
    """

    known: Collection[str] = frozenset({*ConstructorReader.known, *NAMES})

    def __init__(self, evaluator: Evaluator, group: int, modules: Mapping[str, str]):
        super().__init__(evaluator, group)
        self._modules = modules
        self._momenta: dict[int, dict[str, Any]] = {}  # by the id of the constructor
        self._given: dict[int, OptimizerCall] = {}  # by the id of the constructor

    def momentum_of(self, constructor: Constructor) -> tuple[Any, Any] | None:
        """Return the two momenta between which a scheduler cycles, or None if it leaves it constant."""
        if id(constructor) not in self._momenta:
            return None
        default = {"OneCycleLR": (0.85, 0.95), "CyclicLR": (0.8, 0.9)}[constructor.name]
        found = self._momenta[id(constructor)]
        if not found.get("cycle_momentum", True):
            return None
        values = [found.get(name, each) for name, each in zip(_MOMENTA[1:], default, strict=True)]
        base, top = (
            each[self._group] if isinstance(each, list) and self._group < len(each) else each
            for each in values
        )
        return base, top

    def optimizer_of(self, constructor: Constructor) -> OptimizerCall | ast.expr | None:
        """Return the optimizer that a scheduler is given, or its expression where that is not known."""
        if id(constructor) in self._optimizers:
            return self._given.get(id(constructor), self._optimizers[id(constructor)])
        inner = constructor.arguments.get("schedulers", [])
        return next((found for part in inner if (found := self.optimizer_of(part)) is not None), None)

    def _construct(self, call: ast.Call, scope: Mapping[str, Any]) -> Any:
        resolved = self._resolved(call, scope)
        if resolved is None:
            return None
        name = source_of(resolved.func)
        if name not in NAMES:
            constructor = super()._construct(call, scope)
            if constructor is not None:
                self._keep(constructor, resolved, scope)
            return constructor
        self._check_origin(call.func, name)
        nodes = self._options(name, resolved, scope)
        own = self._groups(name, nodes.pop("params", None), scope)
        changing = {key: node for key, node in nodes.items() if key not in WITHOUT_EFFECT}
        return OptimizerCall(
            name, {key: self._evaluated(node, scope) for key, node in changing.items()}, own
        )

    def _keep(self, constructor: Constructor, call: ast.Call, scope: Mapping[str, Any]) -> None:
        """Keep the optimizer that a scheduler is given, and the momenta between which it cycles."""
        if constructor.torch_class.momentum is not None:
            nodes = self._bound(constructor.torch_class, call, scope)
            given = {key: self._evaluated(nodes[key], scope) for key in _MOMENTA if key in nodes}
            self._momenta[id(constructor)] = given
        node = self._optimizers.get(id(constructor))
        value: Any = None if node is None else self._evaluator.assigned.get(source_of(node))
        if isinstance(node, ast.Call) and self.is_constructor(node):
            value = self._evaluator.value(node, scope)
        if isinstance(value, OptimizerCall):
            self._given[id(constructor)] = value

    def _is_optimizer(self, node: Any) -> bool:
        resolved = self._resolved(node) if isinstance(node, ast.Call) else None
        return super()._is_optimizer(node) or (resolved is not None and source_of(resolved.func) in NAMES)

    def _class_named(self, node: ast.expr) -> Any:
        named = super()._class_named(node)
        if named is not None and named.name in NAMES:
            self._check_origin(node, named.name)
        return named

    def _check_origin(self, func: ast.expr, name: str) -> None:
        """Refuse a class of the same name from another library, which has other defaults."""
        source = source_of(func)
        if not isinstance(func, ast.Name | ast.Attribute) or source in self._evaluator.assigned:
            return
        root, dot, rest = source.partition(".")
        full_name = f"{self._modules.get(root, root)}{dot}{rest}"
        module = full_name.rpartition(".")[0]
        if module not in ("", "optim") and not f"{module}.".startswith("torch.optim."):
            raise ValueError(
                f"{shorten(full_name)} is not known to be torch's {name}: write torch.optim.{name}(...) "
                "with its options"
            )

    def _options(self, name: str, call: ast.Call, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return the syntax of all arguments of a call, by the names of the constructor's parameters."""
        positional = self._positional(call.args, scope)
        parameters = signature(name).parameters
        in_order = [each.name for each in parameters.values() if each.kind is each.POSITIONAL_OR_KEYWORD]
        if not (positional and self._is_number(positional[0], scope)):
            in_order = ["params", *in_order]
        if len(positional) > len(in_order):
            raise ValueError(f"{name} takes at most {len(in_order)} arguments by position: {in_order}")
        pairs = [*zip(in_order, positional, strict=False), *self._by_keyword(name, call.keywords, scope)]
        nodes: dict[str, Any] = {}
        for key, node in pairs:
            if key != "params" and key not in parameters:
                raise ValueError(f"{name} has no option {key!r}; it takes {', '.join(options_of(name))}")
            if key in nodes:
                raise ValueError(f"{name} is given its argument {key!r} twice")
            nodes[key] = node
        return nodes

    def _by_keyword(
        self, name: str, keywords: list[ast.keyword], scope: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        """Return the arguments of a call by keyword, without options that only change the speed."""
        known = [each for each in keywords if each.arg or not self._is_without_effect(each.value)]
        return super()._by_keyword(name, known, scope)

    def _is_without_effect(self, node: ast.expr) -> bool:
        """Check if an expression is `{"fused": True} if has_gpu else {}`."""
        assigned = self._evaluator.assigned.get(source_of(node))
        node = assigned.node if isinstance(assigned, Unevaluated) else node
        if not isinstance(node, ast.IfExp):
            return False
        return all(
            each is not None and all(_text(key) in WITHOUT_EFFECT for key in each)
            for each in (_keys(node.body), _keys(node.orelse))
        )

    def _is_number(self, node: Any, scope: Mapping[str, Any]) -> bool:
        """Check if a first argument is a number, so that the parameters have been left out."""
        value = node
        if isinstance(node, ast.expr):
            value = None if scope else self._evaluator.value_if_any(node)
        return isinstance(value, int | float) and not isinstance(value, bool)

    def _groups(self, name: str, node: Any, scope: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
        """Return the options of each parameter group of its own."""
        if node is None:
            return ({},)
        is_list = isinstance(node, ast.List | ast.Tuple | ast.ListComp)
        holds_groups = isinstance(node, ast.expr) and any(map(_is_group, ast.walk(node)))
        if is_list and holds_groups:
            value: Any = self._evaluator.value(node, scope)
        else:
            value = self._evaluator.value_if_any(node) if isinstance(node, ast.expr) else node.value
        if value is UNKNOWN:
            return ({},)  # the missing names are recorded
        if isinstance(value, Unevaluated):
            self._check_no_groups(node, value)
            return ({},)
        if isinstance(value, list) and value and all(isinstance(each, dict) for each in value):
            if len(value) > _MOST_GROUPS:
                raise ValueError(
                    f"{name} may have at most {_MOST_GROUPS} parameter groups, got {len(value)}"
                )
            return tuple(self._own_options(name, each) for each in value)
        return ({},)

    def _check_no_groups(self, node: Any, value: Unevaluated) -> None:
        """Refuse parameter groups that are not known."""
        sources = [source_of(node), source_of(value.node)]
        if not any(map(_is_group, ast.walk(value.node))) and not any(map(_GROUPS.search, sources)):
            return
        if value.error is not None:
            raise value.error
        if not any(map(_is_group, ast.walk(value.node))):
            raise ValueError(
                f"the text does not show the parameter groups {quoted(node)}: add the lines that make "
                "them, or write them as [{'params': ..., 'weight_decay': 0.1}, {'params': ...}]"
            )
        self._evaluator.missing.extend(
            each for each in value.missing if each not in self._evaluator.missing
        )

    def _own_options(self, name: str, group: Mapping[Any, Any]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for key, value in group.items():
            if key in _OWN_NAMES or key in WITHOUT_EFFECT:
                continue
            if key not in signature(name).parameters:
                raise ValueError(
                    f"a parameter group of {name} has no option {key!r}, which torch ignores; it takes "
                    f"{', '.join(options_of(name))}"
                )
            options[key] = value
        return options


class OptimizerText:
    """A text that was followed, with its optimizer and the scheduler of one parameter group."""

    def __init__(self, text: str, names: Names | None, group: int, num_steps: int | None):
        statements = [_Simplified().visit(each) for each in parsed(text, "optimizer", EXAMPLE)]
        _check_groups_stay(statements)
        self._evaluator = Evaluator({} if names is None else names)
        if num_steps is not None:
            self._evaluator.work.allow(num_steps)
        self._statements = statements
        self.reader = OptimizerReader(self._evaluator, group, _modules(statements))
        self._program = Program(self._evaluator, self.reader)
        try:
            self.scheduler: Constructor | None = followed(self._program, self.reader, statements)
            self.optimizer: OptimizerCall = self._optimizer()
        except RecursionError:
            raise ValueError("the text of the optimizer is nested too deeply to be read") from None
        if self._evaluator.missing:
            raise _missing(self._evaluator.missing, self._evaluator.missing_functions)

    @property
    def clips(self) -> bool:
        """True if the text clips gradients."""
        calls = (each for top in self._statements for each in ast.walk(top) if isinstance(each, ast.Call))
        return any(_last_name(each).startswith("clip_grad_") for each in calls)

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
            return given
        held = self._held()
        if len(held) > 1:
            raise ValueError(
                f"the text constructs two optimizers, {shorten(held[0].text)} and {shorten(held[1].text)}: "
                "give the lines of one at a time"
            )
        if not held:
            self._raise_missing()
        self._check_calls(held[0])
        return held[0]

    def _held(self) -> list[OptimizerCall]:
        """Return the optimizers that a name, or the last line, still refers to."""
        found: list[OptimizerCall] = []
        for each in _optimizers_in(self._program.held()):
            found += [] if each in found else [each]
        return found

    def _check_is_ours(self, node: ast.expr) -> None:
        """Refuse the expression of an optimizer whose updates are not known."""
        value = self._evaluator.assigned.get(source_of(node))
        if isinstance(value, Unevaluated):
            if value.error is not None:
                raise value.error
            if self.reader.constructs(value.node):
                raise _missing(value.missing)
            node = value.node
        if isinstance(node, ast.Call) and _last_name(node) not in (*_HARMLESS, "optimizers"):
            self._raise_unknown(node)

    def _raise_unknown(self, node: ast.Call) -> NoReturn:
        name = _last_name(node)
        near = difflib.get_close_matches(name, NAMES, n=1, cutoff=0.75)
        hint = f"did you mean {near[0]}?" if near and near[0] != name else CONVERTED
        raise ValueError(f"cannot convert the optimizer {shorten(source_of(node))!r}: {hint}")

    def _raise_missing(self) -> NoReturn:
        """Raise the error of the optimizer that could not be read, or that is not there."""
        if self._evaluator.missing:
            raise _missing(self._evaluator.missing, self._evaluator.missing_functions)
        for value in self._evaluator.assigned.values():
            if isinstance(value, Unevaluated) and self.reader.constructs(value.node):
                if value.error is not None:
                    raise value.error
                raise _missing(value.missing)
        match self._statements[-1]:
            case ast.Expr(value=ast.Call() as call) | ast.Assign(value=ast.Call() as call):
                if self.scheduler is None:
                    self._raise_unknown(call)
        raise ValueError(f"the text constructs no optimizer: write a call {EXAMPLE}")

    def _check_calls(self, optimizer: OptimizerCall) -> None:
        """Refuse a call that is given the optimizer and returns another one, or changes its rate."""
        for statement in (each for top in self._statements for each in ast.walk(top)):
            match statement:
                case ast.Assign(targets=[target], value=ast.Call() as call):
                    name = source_of(target).rpartition(".")[2]
                case ast.Expr(value=ast.Call() as call):
                    name = ""
                case _:
                    continue
            called = _last_name(call)
            if (
                called in _HARMLESS
                or self.reader.is_constructor(call)
                or not self._is_given(call, optimizer)
            ):
                continue
            if re.search("opt", name, re.IGNORECASE):
                raise ValueError(
                    f"cannot read the call {called!r} around the optimizer: its updates are not known"
                )
            is_rate = _SCHEDULES.search(called) or _SCHEDULES.search(name)
            if self.scheduler is None and is_rate and not _READS.search(called):
                raise ValueError(
                    f"cannot read {quoted(call)}, which may change the learning rate: leave the line out, "
                    "and pass a schedule"
                )

    def _is_given(self, call: ast.Call, optimizer: OptimizerCall) -> bool:
        return any(self._evaluator.assigned.get(source_of(each)) is optimizer for each in _arguments(call))


class _Simplified(ast.NodeTransformer):
    """Replaces the parameters in parameter groups, which may be any expression, by None.

    It also drops `optimizer = prepare(optimizer)`, for calls that leave the updates as they are.
    """

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        """Leave out the names that keep their optimizer."""
        self.generic_visit(node)
        if not isinstance(node.value, ast.Call) or _last_name(node.value) not in _HARMLESS:
            return node
        given = {source_of(each) for each in _arguments(node.value)}
        targets = [
            target
            for each in node.targets
            for target in (each.elts if isinstance(each, ast.Tuple | ast.List) else [each])
            if source_of(target) not in given
        ]
        return ast.Assign(targets, ast.Constant(None)) if targets else ast.Pass()

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        """Replace the value of the key `params`."""
        self.generic_visit(node)
        for index, key in enumerate(node.keys):
            if _text(key) == "params" and not isinstance(node.values[index], ast.Dict):
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


def _is_group(node: ast.AST) -> bool:
    """Check if a part of a text is a mapping of a parameter group."""
    keys = _keys(node) if isinstance(node, ast.expr) else None
    return any(_text(key) == "params" for key in keys or [])


def _keys(node: ast.expr) -> list[ast.expr | None] | None:
    """Return the keys of a mapping, or None if an expression is none."""
    match node:
        case ast.Dict(keys=keys):
            return list(keys)
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return [None if each.arg is None else ast.Constant(each.arg) for each in keywords]
    return None


def _text(node: ast.expr | None) -> Any:
    return node.value if isinstance(node, ast.Constant) else None


def _modules(statements: Sequence[ast.stmt]) -> dict[str, str]:
    """Return the full names of what a text imports, by the names that it uses."""
    names: dict[str, str] = {}
    for each in (each for statement in statements for each in ast.walk(statement)):
        match each:
            case ast.ImportFrom(module=str() as module, names=aliases):
                names |= {alias.asname or alias.name: f"{module}.{alias.name}" for alias in aliases}
            case ast.Import(names=aliases):
                names |= {alias.asname: alias.name for alias in aliases if alias.asname}
            case ast.ClassDef(name=name) if name in NAMES:
                names[name] = f"your own.{name}"
    return names


def _check_groups_stay(statements: Sequence[ast.stmt]) -> None:
    """Refuse a text that changes the parameter groups of an optimizer after its construction."""
    for statement in statements:
        for each in ast.walk(statement):
            match each:
                case ast.Call(func=ast.Attribute(attr="add_param_group")):
                    changed = True
                case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                    changed = "param_groups" in source_of(owner)
                case ast.For(target=ast.Name(id=name), iter=items):
                    changed = "param_groups" in source_of(items) and any(
                        isinstance(inner, ast.Subscript)
                        and isinstance(inner.ctx, ast.Store)
                        and source_of(inner.value) == name
                        for inner in ast.walk(each)
                    )
                case _:
                    continue
            if changed:
                first = ast.unparse(each).partition("\n")[0]
                raise ValueError(
                    f"cannot read {shorten(first)!r}: it changes the parameter groups after the "
                    "construction of the optimizer. Write their options in its list, and the rate "
                    "as a scheduler"
                )


def _missing(names: Sequence[str], functions: Collection[str] = ()) -> MissingNamesError:
    error = MissingNamesError(names, functions)
    error.reason = "the optimizer's text needs values for its names"
    return error


def _optimizers_in(values: Any) -> list[OptimizerCall]:
    found: list[OptimizerCall] = []
    waiting = [*values]
    while waiting:
        each = waiting.pop()
        if isinstance(each, OptimizerCall):
            found.append(each)
        elif isinstance(each, list | dict):
            waiting += each.values() if isinstance(each, dict) else each
    return found


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(each.value for each in call.keywords)]


def _last_name(call: ast.Call) -> str:
    return source_of(call.func).rpartition(".")[2]
