"""A reader of the calls of torch's constructors in a recipe."""

import ast
import copy
import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

from jaxlr._checks import shorten
from jaxlr.code.classes import method_of
from jaxlr.code.definitions import Function
from jaxlr.code.expressions import Evaluator
from jaxlr.code.lambdas import Lambda
from jaxlr.code.syntax import (
    called_name,
    calls_in,
    is_literal,
    literal,
    nodes_in,
    parse_expression,
    quoted,
    source_of,
)
from jaxlr.code.values import UNKNOWN, Unevaluated
from jaxlr.convert.class_names import KNOWN, PARTIALS, ClassReader
from jaxlr.convert.classes import CLASSES, Effect, TorchClass
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.foreign import ELSEWHERE, PLATEAU_OF_KERAS, namesake
from jaxlr.convert.optimizers.signatures import NAMES as OPTIMIZERS
from jaxlr.convert.optimizers.signatures import OptimizerCall, signature


EXAMPLE = "such as 'StepLR(step_size=30, gamma=0.1)'"
_MOST_PARTS = 100
_RESUMED = {"last_epoch", "last_step"}  # arguments that resume a run
# Classes whose constructor leaves the rate and `initial_lr` as it finds them.
_HARMLESS = (
    *("LambdaLR", "MultiplicativeLR", "StepLR", "MultiStepLR", "ExponentialLR", "PolynomialLR"),
    *("CosineAnnealingLR", "CosineAnnealingWarmRestarts", "ReduceLROnPlateau"),
)


class TextRate(NamedTuple):
    """The learning rate that a text gives its optimizer: the expression and its value."""

    node: ast.expr
    value: Any


class ConstructorReader(ClassReader):
    """A reader of the calls of constructors, which evaluates their arguments for one parameter group.

    Args:
        evaluator: the evaluator of the text. Its constructors are read by this reader from now on.
        group: the parameter group.
    """

    def __init__(self, evaluator: Evaluator, group: int):
        super().__init__(evaluator)
        self.group: int = group
        self.own_options: frozenset[str] = frozenset()  # the options in the text's parameter groups
        self.has_own_rates: bool = False  # True if an unknown call may make groups with rates of their own
        self.classes: dict[str, ast.ClassDef] = {}  # those of the text
        self.made: list[Constructor] = []
        self._used: set[int] = set()
        self._optimizers: dict[int, ast.expr] = {}  # by the id of the constructor
        self._definitions: dict[int, ast.expr] = {}  # of these optimizers, by the id of the constructor
        self._objects: dict[int, tuple[str, int]] = {}  # by the id of the constructor
        evaluator.construct = self._construct

    def is_used(self, constructor: Constructor) -> bool:
        """Check if a constructor is a part of another one."""
        return id(constructor) in self._used

    def read(self, node: ast.expr) -> Constructor:
        """Return the constructor that an expression calls, or that its name stands for."""
        assigned = self._evaluator.assigned.get(source_of(node))
        if isinstance(assigned, Constructor):
            return assigned
        node = self._evaluator.definition(node)
        if isinstance(node, ast.Call) and source_of(node.func) in PARTIALS:
            node = ast.Call(node, [], [])  # a partial lacks the optimizer only
        is_call = isinstance(node, ast.Call) and self._resolved(node) is not None
        value = None
        if is_call or isinstance(node, ast.IfExp | ast.Subscript):
            value = self._evaluator.value(node)
        if not isinstance(value, Constructor):
            _raise_not_a_call(node)
        return value

    def final(self, kept: set[int]) -> Constructor | None:
        """Return the scheduler of the text: the only one, or the chain of several on one optimizer.

        Args:
            kept: the ids of the constructors that the text still refers to at its end.
        """
        final: list[Constructor] = []
        for constructor in self.made:
            if id(constructor) in self._used:
                continue
            if id(constructor) in kept:
                final.append(constructor)
            elif constructor.name not in _HARMLESS:
                raise ValueError(
                    f"the text replaces a {constructor.name} by another scheduler, but its constructor has "
                    "changed the optimizer: convert the live object with from_torch"
                )
        if len(final) < 2:
            return final[0] if final else None
        optimizers = dict.fromkeys(self._objects[id(c)] for c in final if id(c) in self._objects)
        if len(optimizers) > 1:
            first, second = (name for name, _ in list(optimizers)[:2])
            which = (
                f"two optimizers, {first} and {second}" if first != second else f"each {first} of several"
            )
            raise ValueError(f"the text constructs schedulers for {which}: give the lines of one at a time")
        warmups = [each for each in final if "lr_scheduler" in each.torch_class.parameters]
        if len(warmups) == 1:
            return self._dampened(warmups[0], [each for each in final if each not in warmups])
        return self._chained(final)

    def _dampened(self, warmup: Constructor, final: list[Constructor]) -> Constructor:
        """Return a warmup of pytorch_warmup with the schedulers that it dampens."""
        if any(each.position > warmup.position for each in final):
            raise ValueError(
                f"the text constructs the {warmup.name} before the {final[-1].name}, which then starts "
                "from a dampened rate: construct the warmup last"
            )
        dampened = final[0] if len(final) == 1 else self._chained(final)
        self._used.add(id(dampened))
        arguments = {**warmup.arguments, "lr_scheduler": dampened}
        return warmup._replace(arguments=arguments)

    def _chained(self, final: list[Constructor]) -> Constructor:
        """Return the chain of several schedulers on one optimizer."""
        if any(each.torch_class.effect not in (Effect.MULTIPLIES, Effect.ANNEALS) for each in final):
            first, second = final[0].name, final[1].name
            raise ValueError(
                f"the text constructs a {first} and a {second} for one optimizer: write those that are "
                "stepped as one ChainedScheduler, or as one SequentialLR if they take turns"
            )
        self._used |= {id(constructor) for constructor in final}
        return Constructor(CLASSES["ChainedScheduler"], {"schedulers": final}, len(self.made) + 1)

    def optimizers(self, constructor: Constructor) -> set[str]:
        """Return the expressions of the optimizers that a scheduler and those in it are given."""
        given = (self._optimizers.get(id(part)) for part in constructor.with_parts)
        return {source_of(own) for own in given if own is not None}

    def rate(self, constructor: Constructor) -> TextRate | None:
        """Return the rate with which the text creates the optimizer of a scheduler, if it says so."""
        inner = constructor.arguments.get("schedulers", [])
        if id(constructor) not in self._optimizers:
            return next((rate for part in inner if (rate := self.rate(part))), None)
        node = self._definitions[id(constructor)]
        return self._rate_of(node) if isinstance(node, ast.Call) else None

    def rate_beside(self, statements: Sequence[ast.stmt]) -> TextRate | None:
        """Return the rate of the only optimizer of a text, whose scheduler does not name it."""
        calls = optimizer_calls(statements)
        return self._rate_of(calls[0]) if len(calls) == 1 else None

    def _rate_of(self, optimizer: ast.Call) -> TextRate | None:
        """Return the rate that an optimizer gives the parameter group, if its call states it."""
        node = self._rate_node(optimizer)
        return None if node is None else TextRate(node, self._evaluator.value_if_any(node))

    def _rate_node(self, optimizer: ast.Call) -> ast.expr | None:
        groups = self._evaluator.definition(optimizer.args[0]) if optimizer.args else None
        is_plain = groups is None or (isinstance(groups, ast.Call) and called_name(groups) in _PARAMETERS)
        if "lr" in self.own_options and not is_plain and not isinstance(groups, ast.List | ast.Constant):
            return None  # the groups may have rates of their own
        if groups is not None and not isinstance(groups, ast.List):
            self.has_own_rates = any(map(self._makes_rates, calls_in([groups])))
        if self.has_own_rates:
            return None
        if isinstance(groups, ast.List) and self.group < len(groups.elts):
            options = group_options(self._evaluator.definition(groups.elts[self.group]))
            if None in options and "lr" not in options:
                self.has_own_rates = True
                return None
            if "initial_lr" in options:
                raise ValueError(
                    "the text sets initial_lr, from which some schedulers start: leave it out, and give "
                    "that rate as lr"
                )
            if "lr" in options:
                return options["lr"]
        by_name = [each.value for each in optimizer.keywords if each.arg in ("lr", "learning_rate")]
        for each in (each.value for each in optimizer.keywords if each.arg is None):
            options = self._evaluator.value_if_any(each)
            if isinstance(options, dict) and is_literal(options.get("lr")):
                by_name.append(parse_expression(literal(options["lr"])))
        by_place = optimizer.args[1:2] if called_name(optimizer) in OPTIMIZERS else []
        return next(iter([*by_name, *by_place]), None)

    def _makes_rates(self, call: ast.Call) -> bool:
        """Check if an unknown call, such as `llrd_groups(model)`, may make groups with rates of their own.

        By their names, most functions of groups only set other weight decays.
        """
        if self._evaluator.is_bound(call.func, {}):
            return False
        words = [*map(source_of, call.args), *(str(each.arg) for each in call.keywords)]
        if any(map(_RATE.search, words)):
            return True
        name = called_name(call)
        makes_groups = _GROUPS.search(name) and not any(map(_DECAYS.search, (name, *words)))
        # Transfer-Learning-Library has a method of this name, whose groups have rates of their own.
        return bool(makes_groups) or (name == "get_parameters" and isinstance(call.func, ast.Attribute))

    def _construct(self, call: ast.Call, scope: Mapping[str, Any]) -> Constructor | None:
        resolved = self._resolved(call, scope)
        if resolved is None:
            return None
        first = source_of(resolved.args[1]) if len(resolved.args) > 2 else ""
        keywords = [each.arg for each in resolved.keywords]
        row = KNOWN[source_of(resolved.func)]
        torch_class = namesake(row, self.module_of(call.func), keywords, first)
        self.check_origin(call.func, torch_class.name, torch_class.library)
        nodes = self._arguments(torch_class, resolved, scope)
        optimizer = nodes.pop("optimizer", None)
        values: dict[str, Any] = {}
        if torch_class.effect is Effect.COMPOSITE:
            values["schedulers"] = self._parts(nodes.pop("schedulers"), scope)
        for key, argument in nodes.items():
            method = self.own_method(argument) if key == "lr_lambda" else None
            value = method or self._evaluated(argument, scope)
            if isinstance(value, list) and torch_class.effect is not Effect.COMPOSITE:
                value = copy.copy(value)  # as in torch, where a later change of the list has no effect
            values[key] = self._value_for_group(torch_class, key, value)
            if isinstance(value, Constructor):  # the after_scheduler of a GradualWarmupScheduler
                self._used.add(id(value))
            if key == "lr_lambda" and isinstance(argument, ast.Name | ast.Attribute) and value is UNKNOWN:
                self._evaluator.missing_functions.add(source_of(argument))
            if key == "lr_lambda" and isinstance(values[key], Lambda):
                values[key].check_takes_epoch()
                values[key].check()
        constructor = Constructor(torch_class, values, len(self.made) + 1)
        self.made.append(constructor)
        if isinstance(optimizer, ast.expr):
            self._optimizers[id(constructor)] = optimizer
            definition = self._evaluator.definition(optimizer)
            self._definitions[id(constructor)] = self._evaluator.frozen(definition)
            self._objects[id(constructor)] = self._object(optimizer, scope)
        return constructor

    def own_method(self, node: Any) -> Function | None:
        """Return the function of `Rule(4).step` or of `Rule(4)`, for a class of the text, or None."""
        owner, name = (node.value, node.attr) if isinstance(node, ast.Attribute) else (node, "__call__")
        call = self._evaluator.definition(owner) if isinstance(owner, ast.expr) else None
        is_given = isinstance(node, ast.expr) and source_of(node) in self._evaluator.names
        if is_given or not isinstance(call, ast.Call) or not self.makes_object(call):
            return None
        frozen: Any = self._evaluator.frozen(call)
        method = method_of(self.classes[source_of(call.func)], frozen, name)
        return None if method is None else Function(method, self._evaluator, {})

    def makes_object(self, call: ast.Call) -> bool:
        """Check if a call makes an object of a class of the text, from values that stay as they are."""
        values = (
            self._evaluator.assigned.get(source_of(e)) for e in ast.walk(call) if isinstance(e, ast.expr)
        )
        return source_of(call.func) in self.classes and not any(isinstance(e, list | dict) for e in values)

    def _object(self, optimizer: ast.expr, scope: Mapping[str, Any]) -> tuple[str, int]:
        """Return a key for an optimizer: one name stands for several in a loop over optimizers."""
        source = source_of(optimizer)
        if source in scope:
            return source, len(self.made)
        assigned = self._evaluator.assigned.get(source)
        return source, id(assigned) if isinstance(assigned, OptimizerCall) else 0

    def _evaluated(self, argument: Any, scope: Mapping[str, Any]) -> Any:
        """Return the value of an argument: of its syntax, or of an item of `*args` or `**kwargs`."""
        return argument.value if isinstance(argument, _Value) else self._evaluator.value(argument, scope)

    def _parts(self, node: Any, scope: Mapping[str, Any]) -> list[Constructor]:
        """Return the schedulers of a composite, from a list or from an expression of one."""
        parts = self._listed_parts(node, scope)
        is_short = isinstance(parts, list) and len(parts) <= _MOST_PARTS
        if not is_short or not all(isinstance(part, Constructor) for part in parts):
            got = repr(node.value) if isinstance(node, _Value) else quoted(node)
            raise ValueError(f"schedulers must be a list of up to {_MOST_PARTS} constructors, got {got}")
        for part in parts:
            if part.torch_class.library != "torch":
                raise ValueError(f"{part.name} cannot be part of a composite of torch: convert it alone")
            if id(part) in self._used:
                raise ValueError(f"a {part.name} is used twice, so torch would step it twice at once")
            self._used.add(id(part))
        return parts

    def _listed_parts(self, node: Any, scope: Mapping[str, Any]) -> Any:
        """Return the parts in an argument, or None if it is no list of at most `_MOST_PARTS`."""
        if isinstance(node, _Value):
            return node.value
        elements = node.elts if isinstance(node, ast.List | ast.Tuple) else []
        if len(elements) > _MOST_PARTS:
            return None
        if elements and not any(isinstance(each, ast.Starred) for each in elements):
            return [self._part(part, scope) for part in elements]
        is_readable = self.constructs(node) or self._evaluator.is_known(node, scope)
        return self._evaluator.value(node, scope) if is_readable else None

    def _part(self, node: ast.expr, scope: Mapping[str, Any]) -> Constructor:
        if isinstance(node, ast.Call) and self._resolved(node, scope):
            return self._evaluator.value(node, scope)
        if source_of(node) in scope and isinstance(scope[source_of(node)], Constructor):
            return scope[source_of(node)]
        return self.read(node)

    def _value_for_group(self, torch_class: TorchClass, key: str, value: Any) -> Any:
        if key not in torch_class.per_group or not isinstance(value, list):
            return value
        if not 0 <= self.group < len(value):
            raise ValueError(f"{key} has values for {len(value)} groups, but none for group {self.group}")
        return value[self.group]

    def _arguments(
        self, torch_class: TorchClass, call: ast.Call, scope: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the syntax of the settings in a call, by name. Refuse a call that lacks a required one."""
        nodes = self._bound(torch_class, call, scope)
        for key in _RESUMED & nodes.keys():
            self._check_starts_afresh(torch_class.name, key, nodes[key], scope)
        optimizer = nodes.get("optimizer")
        if "beta2" in torch_class.required and isinstance(optimizer, ast.expr):
            nodes = {**self._beta2(optimizer), **nodes}
        if missing := [key for key in torch_class.required if key not in nodes]:
            name = torch_class.name
            message = f"{name} needs {', '.join(missing)}, as in '{name}({missing[0]}=...)'"
            if missing == ["beta2"]:
                message += ", or the line of the optimizer with its betas"
            if optimizer in call.args and "opt" not in source_of(optimizer).lower():
                message += f"; {quoted(optimizer)} was read as the optimizer"
            raise ValueError(message)
        return {key: nodes[key] for key in nodes if key in (*torch_class.settings, "optimizer")}

    def _beta2(self, optimizer: ast.expr) -> dict[str, Any]:
        """Return the argument `beta2` of a warmup, if the optimizer states or implies it."""
        made = self._evaluator.assigned.get(source_of(optimizer))
        if isinstance(made, OptimizerCall):
            betas = made.param_groups[self.group].get("betas")
            return {"beta2": _Value(betas[1])} if isinstance(betas, list | tuple) else {}
        call = self._evaluator.definition(optimizer)
        if not isinstance(call, ast.Call):
            return {}
        name = called_name(call)
        parameters = signature(name).parameters if name in OPTIMIZERS else {}
        is_plain = "betas" not in self.own_options and all(each.arg for each in call.keywords)
        by_name = [each.value for each in call.keywords if each.arg == "betas"]
        if ("betas" not in parameters and not by_name) or not is_plain:
            return {}
        place = 1 + [*parameters, "betas"].index("betas")  # after the parameters of the model
        match [*call.args[place : place + 1], *by_name]:
            case []:
                beta2 = ast.Constant(parameters["betas"].default[1])
            case [ast.Tuple(elts=[_, second]) | ast.List(elts=[_, second])]:
                beta2 = second
            case stated:
                beta2 = ast.Subscript(stated[0], ast.Constant(1), ast.Load())
        return {"beta2": beta2}

    def _bound(self, torch_class: TorchClass, call: ast.Call, scope: Mapping[str, Any]) -> dict[str, Any]:
        """Return the syntax of all arguments of a call, by the names of the constructor's parameters."""
        name, parameters = torch_class.name, torch_class.parameters
        positional, nodes = self._positional(call.args, scope), dict[str, Any]()
        if positional and "optimizer" not in parameters and self._is_optimizer(positional[0]):
            nodes["optimizer"] = positional.pop(0)
        if len(positional) > len(parameters):
            accepted = ", ".join(parameters)
            raise ValueError(
                f"{name} takes at most {len(parameters)} arguments after the optimizer: {accepted}"
            )
        most = torch_class.max_positional
        if most is not None and len(positional) > most:
            first = parameters[max(most - 1, 0)]
            others = " and the arguments after it by name" if len(positional) > 1 else ""
            raise ValueError(f"the arguments of {name} have no fixed order: write {first}=...{others}")
        by_keyword = self._by_keyword(name, call.keywords, scope)
        for key, node in [*zip(parameters, positional, strict=False), *by_keyword]:
            if key not in ("optimizer", *parameters):
                accepted = ", ".join(torch_class.settings)
                is_keras = name == "ReduceLROnPlateau" and key in ("monitor", "min_delta")
                hint = PLATEAU_OF_KERAS if is_keras else f"; it takes {accepted}"
                raise ValueError(f"{name} has no argument {key!r}{hint}")
            if key in nodes:
                raise ValueError(f"{name} is given its argument {key!r} twice")
            nodes[key] = node
        return nodes

    def _positional(self, nodes: list[ast.expr], scope: Mapping[str, Any]) -> list[Any]:
        """Return the arguments of a call by position, with the items of `*args`."""
        positional: list[Any] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                positional += map(_Value, self._evaluator.items([node], scope))
            else:
                positional.append(node)
        return positional

    def _by_keyword(
        self, name: str, keywords: list[ast.keyword], scope: Mapping[str, Any]
    ) -> list[tuple[str, Any]]:
        """Return the arguments of a call by keyword, with the items of `**kwargs`."""
        pairs: list[tuple[str, Any]] = []
        for keyword in keywords:
            if keyword.arg is not None:
                pairs.append((keyword.arg, keyword.value))
                continue
            known = self._evaluator.is_known(keyword.value, scope) or _is_dict_call(keyword.value)
            found = self._evaluator.value(keyword.value, scope) if known else None
            if not isinstance(found, dict):
                source = source_of(keyword.value)
                raise ValueError(
                    f"{name} is given **{source}: write the arguments out, or give "
                    f"names={{{source!r}: {{...}}}}"
                )
            pairs += [(str(key), _Value(value)) for key, value in found.items()]
        return pairs

    def _check_starts_afresh(self, name: str, key: str, node: Any, scope: Mapping[str, Any]) -> None:
        last = node.value if isinstance(node, _Value) else self._evaluator.value(node, scope)
        if last is not UNKNOWN and last != -1:
            raise ValueError(
                f"{key} must be -1, which starts {name} afresh, got {last!r}: "
                "to resume, restore the count of the optimizer's state instead"
            )

    def _is_optimizer(self, node: Any) -> bool:
        """Check if a first argument is the optimizer, which recipes write in dozens of ways.

        It is if it is an expression that could be one, and is not known to be a value or a scheduler.
        """
        if isinstance(node, _Value):
            return node.value is None
        if (source := source_of(node)) in self._evaluator.assigned:
            return isinstance(self._evaluator.assigned[source], Unevaluated | OptimizerCall | None)
        match node:
            case ast.Constant(value=value):
                return value is None
            case ast.Call() if self._resolved(node):
                return False
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return not self._evaluator.has_value(node)
        return isinstance(node, ast.IfExp | ast.BoolOp | ast.Await)


class _Value(NamedTuple):
    """An argument whose value is known, because it is an item of `*args` or `**kwargs`."""

    value: Any


# The names of functions that make parameter groups, and of what these have besides rates of their own.
_GROUPS = re.compile(r"llrd|layer_?wise|(^|_)lrs?(_|$)|group|polic|^optim_|_optim_", re.IGNORECASE)
_DECAYS = re.compile(r"decay|(^|_)(wd|l2)(_|$)|weight", re.IGNORECASE)
_RATE = re.compile(r"(^|[._'\"])(lr\d?|learning_rate)(_|$)")
_PARAMETERS = ("parameters", "named_parameters")


def group_options(group: ast.expr) -> dict[Any, ast.expr]:
    """Return the options of a parameter group, `{"params": ..., "lr": 1}` or `dict(params=..., lr=1)`.

    The key None stands for `**others`.
    """
    match group:
        case ast.Dict(keys=keys, values=values):
            names = [None if key is None else getattr(key, "value", key) for key in keys]
            return dict(zip(names, values, strict=True))
        case ast.Call(func=ast.Name(id="dict"), keywords=keywords):
            return {each.arg: each.value for each in keywords}
    return {}


def _is_dict_call(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and source_of(node.func) == "dict"


def own_options(statements: Sequence[ast.stmt]) -> frozenset[str]:
    """Return the options in the mappings of parameter groups in a text, and `betas` if it sets these."""
    added = [call for call in calls_in(statements) if called_name(call) == "add_param_group"]
    in_added = {id(each) for each in nodes_in(added)}  # which leave the first group as it is
    options = set[str]()
    for each in nodes_in(statements):
        match each:
            case ast.Dict(keys=keys):
                names = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
            case ast.Call(func=ast.Name(id="dict"), keywords=keywords):
                names = {str(keyword.arg) for keyword in keywords}
            case ast.Subscript(slice=ast.Constant(value="betas"), ctx=ast.Store()):
                names = {"params", "betas"}
            case _:
                continue
        if "params" in names and id(each) not in in_added:
            options |= names
    return frozenset(options)


def optimizer_calls(statements: Sequence[ast.stmt]) -> list[ast.Call]:
    """Return the calls of torch's optimizers in a text."""
    return [each for each in calls_in(statements) if called_name(each) in OPTIMIZERS]


def raise_unknown(name: str) -> NoReturn:
    """Raise an error about the name of a scheduler that does not exist."""
    if name in OPTIMIZERS:
        raise ValueError(
            f"{name} is an optimizer: convert it with jaxlr.optimizer_from_string, or write a scheduler "
            f"{EXAMPLE}"
        )
    if name in ELSEWHERE:
        raise ValueError(f"{name} is not read: {ELSEWHERE[name]}")
    spelled = _bare(name)
    known = {_bare(each): each for each in KNOWN}
    # Other libraries have classes of similar names. So a hint must be for a slip of one or two letters.
    near = difflib.get_close_matches(spelled, known, n=1, cutoff=0.75)
    if near and abs(len(near[0]) - len(spelled)) <= 1:
        raise ValueError(f"unknown scheduler {shorten(name)!r}: did you mean {known[near[0]]}?")
    raise ValueError(
        f"unknown scheduler {shorten(name)!r}: the known ones are those of torch, Hugging Face and timm. "
        "Of any other, write the rate as a function of the step, 'def get_lr(step): ...'"
    )


def _bare(name: str) -> str:
    return name.lower().replace("_", "").removesuffix("lr").replace("lron", "on")


def _raise_not_a_call(node: ast.expr) -> NoReturn:
    match node:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            raise_unknown(name)
    raise ValueError(f"{quoted(node)} is not the call of a scheduler: write one {EXAMPLE}")
