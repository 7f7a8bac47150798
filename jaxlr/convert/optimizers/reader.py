"""The optimizer in the text of a recipe, which is never executed."""

import ast
import inspect
import re
from collections.abc import Collection, Mapping
from typing import Any

from jaxlr._checks import shorten
from jaxlr.code.expressions import Evaluator
from jaxlr.code.syntax import quoted, source_of
from jaxlr.code.values import UNKNOWN, Unevaluated
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.optimizers.signatures import (
    MODULES,
    NAMES,
    WITHOUT_EFFECT,
    OptimizerCall,
    options_of,
    own_options,
    signature,
)
from jaxlr.convert.reader import ConstructorReader, called_name


_MOMENTA = ("cycle_momentum", "base_momentum", "max_momentum")
_MOST_GROUPS = 100
_MOST_NAMES = 20  # that stand for each other
_GROUPS = re.compile("group", re.IGNORECASE)  # in the names of lists of parameter groups
_PARAMETERS = ("parameters", "named_parameters")
_TENSORS = re.compile(r"(torch|nn|F)\.|(.*\.)?(Parameter|Variable|requires_grad_|detach|clone|to|cuda)$")
_ITERABLES = (
    *("list", "tuple", "set", "iter", "sorted", "reversed", "chain", "from_iterable"),
    *("filter", "map", "sum"),
)


class OptimizerReader(ConstructorReader):
    """A reader of the calls of schedulers and optimizers.

    Args:
        evaluator: the evaluator of the text. Its constructors are read by this reader from now on.
        group: the parameter group whose scheduler is read.
        modules: the full names of what the text imports.
        has_groups: True if the text has a mapping of a parameter group anywhere.
    """

    known: Collection[str] = frozenset({*ConstructorReader.known, *NAMES})

    def __init__(self, evaluator: Evaluator, group: int, modules: Mapping[str, str], has_groups: bool):
        super().__init__(evaluator, group)
        self._modules = modules
        self._has_groups = has_groups
        self._momenta: dict[int, dict[str, Any]] = {}  # by the id of the constructor
        self._given: dict[int, OptimizerCall] = {}  # by the id of the constructor

    def momentum_of(self, constructor: Constructor) -> tuple[Any, Any] | None:
        """Return the two momenta between which a scheduler cycles, or None if it leaves it constant."""
        found = self._momenta.get(id(constructor), {"cycle_momentum": False})
        if not found.get("cycle_momentum", True):
            return None
        cycle: Any = constructor.torch_class.momentum
        parameters = inspect.signature(cycle).parameters
        values = [found.get(name, parameters[name].default) for name in _MOMENTA[1:]]
        base, top = (
            each[self.group] if isinstance(each, list) and self.group < len(each) else each
            for each in values
        )
        return base, top

    def optimizer_of(self, constructor: Constructor) -> OptimizerCall | ast.expr | None:
        """Return the optimizer that a scheduler is given, or its expression where that is not known."""
        ids = [id(part) for part in constructor.with_parts if id(part) in self._optimizers]
        return self._given.get(ids[0], self._optimizers[ids[0]]) if ids else None

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

    def constructs_optimizer(self, node: Any) -> bool:
        """Check if an expression is itself the call of an optimizer's constructor."""
        resolved = self._resolved(node) if isinstance(node, ast.Call) else None
        return resolved is not None and source_of(resolved.func) in NAMES

    def _is_optimizer(self, node: Any) -> bool:
        return super()._is_optimizer(node) or self.constructs_optimizer(node)

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
        if name in MODULES:
            library, is_known = MODULES[name][0], module in ("", *MODULES[name])
        else:
            library = "torch.optim"
            is_known = module in ("", "optim") or f"{module}.".startswith("torch.optim.")
        if not is_known:
            owner = library.partition(".")[0]
            raise ValueError(
                f"{shorten(full_name)} is not known to be {owner}'s {name}: write {library}.{name}(...) "
                "with its options"
            )

    def _options(self, name: str, call: ast.Call, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return the syntax of all arguments of a call, by the names of the constructor's parameters."""
        positional = self._positional(call.args, scope)
        if any(isinstance(each, ast.Constant) and each.value is ... for each in positional):
            raise ValueError(f"cannot read {quoted(call)}: write the options in the place of '...'")
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
            each is not None and all(text_of(key) in WITHOUT_EFFECT for key in each)
            for each in (keys_of(node.body), keys_of(node.orelse))
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
        holds_groups = isinstance(node, ast.expr) and any(map(is_group, ast.walk(node)))
        if is_list and holds_groups:
            value: Any = self._evaluator.value(node, scope)
        else:
            value = self._evaluator.value_if_any(node) if isinstance(node, ast.expr) else node.value
        if value is UNKNOWN:
            return ({},)  # the missing names are recorded
        if isinstance(value, Unevaluated):
            self._check_no_groups(node, value)
            return ({},)
        if not isinstance(value, list) or not any(isinstance(each, dict) for each in value):
            return ({},)
        if not all(isinstance(each, dict) for each in value):
            raise ValueError(f"{name} takes a list of parameters or of groups, not of both")
        if len(value) > _MOST_GROUPS:
            raise ValueError(f"{name} may have at most {_MOST_GROUPS} parameter groups, got {len(value)}")
        return tuple(own_options(name, each) for each in value)

    def _check_no_groups(self, node: Any, value: Unevaluated) -> None:
        """Refuse parameter groups that are not known."""
        if self._is_plain(node):
            return
        if any(map(is_group, ast.walk(value.node))):
            if value.error is not None:
                raise value.error
            self._evaluator.missing.extend(
                each for each in value.missing if each not in self._evaluator.missing
            )
            return
        raise ValueError(
            f"the text does not show the parameter groups {quoted(node)}: add the lines that make them, "
            "or write them as [{'params': ..., 'weight_decay': 0.1}, {'params': ...}]. Write "
            "model.parameters() if all parameters have the same options"
        )

    def _is_plain(self, node: ast.expr, depth: int = 0) -> bool:
        """Check if an expression stands for parameters, and not for parameter groups."""
        inner: list[ast.expr] = []
        match node:
            case ast.Name() | ast.Attribute() | ast.Subscript():
                assigned = self._evaluator.assigned.get(source_of(node))
                if isinstance(assigned, Unevaluated) and source_of(assigned.node) != source_of(node):
                    return depth < _MOST_NAMES and self._is_plain(assigned.node, depth + 1)
                return not self._has_groups and not _GROUPS.search(source_of(node).rpartition(".")[2])
            case ast.Call() if called_name(node) in _PARAMETERS or _TENSORS.match(source_of(node.func)):
                return True
            case ast.Call(args=args) if called_name(node) in _ITERABLES:
                inner = args[-1:] if called_name(node) in ("filter", "map") else args
            case ast.Call(func=ast.Attribute(value=owner, attr="values"), args=[]):
                inner = [owner]
            case ast.Call():  # of a function that the text defines
                is_shown = source_of(node.func) in self._evaluator.assigned
                return is_shown and not self._has_groups and not _GROUPS.search(called_name(node))
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                inner = elements
            case ast.Starred(value=value) | ast.Await(value=value):
                inner = [value]
            case ast.BinOp(left=left, right=right) | ast.IfExp(body=left, orelse=right):
                inner = [left, right]
            case (
                ast.ListComp(elt=element, generators=loops)
                | ast.GeneratorExp(elt=element, generators=loops)
                | ast.DictComp(value=element, generators=loops)
            ):
                inner = [each.iter for each in loops] if isinstance(element, ast.Name) else [element]
            case _:
                return isinstance(node, ast.Constant)
        return all(self._is_plain(each, depth) for each in inner)


def is_group(node: ast.AST) -> bool:
    """Check if a part of a text is a mapping of a parameter group."""
    if isinstance(node, ast.Call) and source_of(node.func) == "dict":
        return any(each.arg == "params" for each in node.keywords)
    return isinstance(node, ast.Dict) and any(text_of(key) == "params" for key in node.keys)


def keys_of(node: ast.expr) -> list[ast.expr | None] | None:
    """Return the keys of a mapping, or None for any other expression."""
    match node:
        case ast.Dict(keys=keys):
            return list(keys)
        case ast.Call(func=ast.Name(id="dict"), args=[], keywords=keywords):
            return [None if each.arg is None else ast.Constant(each.arg) for each in keywords]
    return None


def text_of(node: ast.AST | None) -> Any:
    """Return the value of a constant, or None for any other part of a text."""
    return node.value if isinstance(node, ast.Constant) else None
