"""The statements of a recipe, followed in their order without executing them.

A statement that cannot be followed is skipped if it does not touch the schedule. The names that it assigns
have no value then, so that a later use of one is an error that shows the statement.
"""

import ast
import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeGuard

from jaxlr._checks import shorten
from jaxlr.code.builders import body_for_call
from jaxlr.code.classes import constants_of
from jaxlr.code.definitions import Function, is_group, writes_rate
from jaxlr.code.expressions import Evaluator
from jaxlr.code.methods import change, changes, only_reads
from jaxlr.code.scripts import IS_MAIN, NAME_OF_SCHEDULER, is_scheduler
from jaxlr.code.spellings import as_conditions
from jaxlr.code.syntax import (
    arguments_of,
    called_name,
    calls_in,
    first_line,
    nodes_in,
    parse_expression,
    quoted,
    source_of,
    unreadable,
)
from jaxlr.code.values import (
    Settings,
    Unevaluated,
    check_unshared,
    is_place,
    unpacked,
    values_in,
)
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.loops import check_steps, steps_in
from jaxlr.convert.optimizers.signatures import NAMES as OPTIMIZERS
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.convert.reader import ConstructorReader, group_options, raise_unknown
from jaxlr.convert.variables import (
    Variables,
    assigns_given,
    changes_given,
    constructors_in,
    is_harmless,
    object_of,
    used_later,
)


_NAME_OF_RATE = re.compile(r"lr|rate|sched|warm|decay|anneal|cosine|linear|factor", re.IGNORECASE)
_MODEL = re.compile(r"(^|[._])(model|net|network|encoder)s?$")
# Classes that are given a scheduler and train with it, or report its rate, and functions that resume it.
_KEEPS = re.compile(
    r"(Callback|Checkpoint|Checkpointer|Engine|Handler|Learner|Logger|Monitor|Runner|Saver|Trainer)$"
    r"|^load_checkpoint$"
)
_MOST_CALLS = 100  # of functions that build schedulers
_CONFIGS = ("load", "safe_load", "full_load", "loads", "vars")  # calls that return settings
_DICTS = ("dict", "LRSchedulerConfigType", "OptimizerLRSchedulerConfig")  # the last two are Lightning's
# Functions and classes that only read a scheduler, or hold it.
_READS = (
    *("callable", "cast", "enumerate", "filter", "getattr", "hasattr", "id", "iter", "list", "next"),
    *("repr", "reversed", "set", "str", "tuple", "type", "zip"),
    *("AttrDict", "EasyDict", "Namespace", "OrderedDict", "SimpleNamespace"),
)
_EXITS = ("exit", "quit", "sys.exit", "os._exit")
_STEP_HOOKS = ("register_step_pre_hook", "register_step_post_hook")
_HARMLESS_METHODS = ("get_last_lr", "state_dict", "print_lr", "get_lr")


class Program:
    """The statements of a recipe, and what they have assigned.

    Args:
        evaluator: evaluates expressions. It holds the values of the names.
        reader: reads the constructors.
    """

    def __init__(self, evaluator: Evaluator, reader: ConstructorReader):
        self._evaluator, self._reader = evaluator, reader
        self._shown: list[Any] = []  # schedulers that are returned, or written alone
        self._is_returned = False
        self._builders: dict[str, ast.FunctionDef | ast.Lambda] = {}
        self._variables = Variables(evaluator, self._builders)
        self._num_calls = 0
        self._returned: set[int] = set()  # ids of the schedulers that the text returns
        self._steps: set[str] = set()  # the names of what training loops step
        self._trained: set[int] = set()  # ids of the functions that train with the schedulers in them
        self._classes: set[str] = set()  # those of the text whose attributes are not known
        self._num_tries = 0  # around the statement that is followed
        self._stepped: set[str] = set()  # optimizers whose rate a training loop has changed
        self._rate_names: set[str] = set()  # names without a value in the rates of optimizers
        self._unknown_schedulers: list[ast.Call] = []
        self.num_added: int = 0  # parameter groups that were added to optimizers

    def run(self, statements: Sequence[ast.stmt]) -> None:
        """Follow statements up to a `return`."""
        for statement in statements:
            self._is_returned |= self._ends(statement)
            if self._is_returned:
                return
            self._variables.forget_effects(statement)
            self._follow(statement)

    def held(self) -> list[Any]:
        """Return the values that names have, and those that are returned or written alone."""
        return [*self._evaluator.assigned.values(), *self._shown]

    def _return(self, value: ast.expr) -> None:
        self._shown.append(self._scheduler_value(value))
        self._returned = constructors_in(self._shown[-1])

    def _is_left(self, name: str, value: Any) -> bool:
        """Check if a variable is a scheduler that the text neither steps nor returns, but another one."""
        is_returned = id(value) in self._returned or name in self._steps or not name.isidentifier()
        return isinstance(value, Constructor) and not is_returned

    def check_steps(self, statements: Sequence[ast.stmt], schedulers: Sequence[Constructor]) -> None:
        """Check that the text steps each of its schedulers once per count."""
        check_steps(statements, schedulers, self._evaluator, self._reader.constructs)

    def kept(self) -> set[int]:
        """Return the ids of the constructors that a name, a list or a mapping still holds.

        Of a mapping of schedulers by name, it is the one that the text picks from it.
        """
        held = self.held()
        if self._returned:
            variables = self._evaluator.assigned.items()
            held = [each for name, each in variables if not self._is_left(name, each)] + self._shown
        self._check_frequencies(self._shown if self._returned else held)
        named = {id(value) for value in held if isinstance(value, Constructor)}
        found = set(named)
        for value in held:
            inside = constructors_in(value)
            picked = inside & named
            if picked and isinstance(value, list) and picked != inside:
                raise ValueError(
                    "the text picks one scheduler of a list: write only the constructors that are stepped"
                )
            found |= picked or inside
        return found

    def check_alone(self, optimizer: str) -> None:
        """Refuse a text that also gives the optimizer to a scheduler whose rates are not known."""
        for call in self._unknown_schedulers:
            if optimizer in map(source_of, arguments_of(call)):
                raise ValueError(
                    f"the text also gives {optimizer} to {quoted(call)}, whose rates are not known: leave "
                    "out the one that is not stepped, or pass both as a function to jaxlr.lambda_lr"
                )

    def schedule_function(self) -> Function | None:
        """Return the function of the text that writes a rate, or the only one that gives one."""
        functions = [each for each in self._evaluator.assigned.values() if isinstance(each, Function)]
        writers = [each for each in functions if each.writes_rate and each.takes_count]
        called = {name for each in functions for name in each.outside_changes.calls}
        found = writers or [e for e in functions if e.takes_count and e.source not in called]
        named = writers or [each for each in found if _NAME_OF_RATE.search(each.source)]
        likely = named or found
        if len(likely) > 1:
            first, second = (repr(shorten(each.source)) for each in likely[:2])
            raise ValueError(f"the text has several functions of the rate, {first} and {second}: give one")
        return (likely or functions or [None])[-1]

    def _follow(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=nodes)) if len(
                targets
            ) == len(nodes):
                values = [self._assigned_value(node) for node in nodes]
                for target, value in zip(targets, values, strict=True):
                    self._assign(statement, target, value)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Lambda() as node) if (
                self._reader.constructs(node)
            ):
                self._builders[name] = node
            case ast.Assign(targets=targets, value=node):
                value = self._assigned_value(node)
                for target in targets:
                    self._assign(statement, target, value)
            case ast.AnnAssign(target=target, value=ast.expr() as node):
                self._assign(statement, target, self._assigned_value(node))
            case ast.AugAssign(target=target, op=op):
                if isinstance(op, ast.BitOr):
                    self._check_only_name(statement, target, None)
                self._assign(statement, target, self._changed(statement, target))
            case ast.Import() | ast.ImportFrom():
                self._import(statement)
            case ast.Return(value=value):
                self._is_returned = True
                if value is not None:
                    self._return(value)
            case ast.Expr(value=value):
                self._expression(statement, value)
            case ast.If(test=test, body=body, orelse=orelse):
                self._branch(statement, test, body, orelse)
            case ast.Match() if (conditions := as_conditions(statement)) is not None:
                self._follow(conditions)
            case ast.For() if not steps_in(statement):
                self._loop(statement)
            case ast.While(test=test, body=body, orelse=[]) if not steps_in(statement):
                self._while(statement, test, body)
            case ast.With() | ast.Try():
                self._block(statement)
            case ast.FunctionDef(name=name):
                self._define(statement, name)
            case ast.ClassDef(name=name) if (constants := constants_of(statement)) is not None:
                value = self._class_settings(statement, constants)
                self._assign(statement, ast.Name(name, ast.Store()), value)
            case _:
                self._skip(statement)

    def _ends(self, statement: ast.stmt) -> bool:
        """Check if a statement ends the text, such as `exit()`."""
        match statement:
            case ast.Expr(value=ast.Call(func=func, args=args)):
                return source_of(func) in _EXITS and not calls_in(args)
            case ast.Raise():
                return not self._num_tries
        return False

    def _class_settings(self, statement: ast.ClassDef, constants: ast.Dict) -> Any:
        """Return the attributes of a class with those of its bases, if all of them are known."""
        value = self._evaluator.value_if_any(constants)
        for base in statement.bases:
            inherited = self._evaluator.assigned.get(source_of(base), {})
            is_own = bool(statement.decorator_list) and not any(
                isinstance(e, ast.Assign) for e in statement.body
            )
            is_dataclass = isinstance(inherited, Settings) and inherited.is_dataclass
            is_hidden = is_dataclass and not is_own  # the constructor of the base sets the attributes
            if is_hidden or source_of(base) in self._classes or not isinstance(inherited, dict):
                return Unevaluated(constants, [], unreadable(base, "write the attributes of the class out"))
            if isinstance(inherited, Settings):
                inherited.is_copied = True
            value = value if isinstance(value, Unevaluated) else {**inherited, **value}
        if isinstance(value, Unevaluated):
            return value
        settings = Settings(value)
        # The constructor of a dataclass keeps the values that the class had when it was defined.
        settings.is_copied = settings.is_dataclass = bool(statement.decorator_list)
        return settings

    def _changed(self, statement: ast.AugAssign, target: ast.expr) -> Any:
        """Return the value of a variable after `target += value`, which changes a list in its place."""
        assigned = self._evaluator.assigned
        if not isinstance(target, ast.Name) and self._variables.collection(target) is not None:
            raise unreadable(target, "it changes a list or mapping in another one: write it out")
        check_unshared(target, assigned.get(source_of(target)), assigned)
        node = ast.BinOp(parse_expression(source_of(target)), statement.op, statement.value)
        return self._assigned_value(node)

    def _import(self, statement: ast.Import | ast.ImportFrom) -> None:
        self._reader.aliases |= {each.asname: each.name for each in statement.names if each.asname}
        self._variables.forget_bound(statement)

    def _assign(self, statement: ast.stmt, target: ast.expr, value: Any) -> None:
        if writes_rate(target) and not self._is_setting(target):
            raise unreadable(
                statement,
                "the text sets the learning rate by hand. Leave the line out, and give that rate as the "
                "optimizer's lr",
            )
        self._refuse_change_in(statement, target)
        if _is_table(target):
            if not isinstance(value, dict):
                self._variables.forget_object(target.value, statement)
                return
            for key, item in value.items():
                self._assign(statement, ast.Attribute(target.value, key, ast.Store()), item)
            return
        if isinstance(target, ast.Attribute):
            owner = self._evaluator.assigned.get(source_of(target.value))
            match target.value:
                case ast.Attribute(value=one, attr="__class__") if (
                    self._variables.collection(one) is not None
                ):
                    is_copied = True
                case _:
                    is_copied = isinstance(owner, Settings) and owner.is_copied
            if is_copied:
                raise unreadable(
                    statement,
                    "it changes a class that its objects have copied: set the attribute of the object",
                )
            if self._set_attribute(statement, target, value):
                return
            self._check_only_name(statement, target.value, target.attr)
        if isinstance(target, ast.Subscript):
            if self._set_item(statement, target, value):
                return
            key = self._evaluator.value_if_any(target.slice)
            if _is_table(target.value) and isinstance(key, str):
                self._assign(statement, ast.Attribute(target.value.value, key, ast.Store()), value)
                return
            self._check_only_name(statement, target.value, key)
        for name, item in _assigned_items(target, value).items():
            self._stepped.discard(name)
            if isinstance(item, Unevaluated):
                self._variables.check_unstated(name, item)
            if name in self._evaluator.names and not self._evaluator.names.has_read(name):
                if isinstance(item, Unevaluated) or item == self._evaluator.names[name]:
                    continue  # such as `epochs = args.epochs`
                raise assigns_given(name)
            if isinstance(item, Unevaluated):
                self._rate_names |= _rate_names(item.node)
            elif name in self._rate_names:
                raise unreadable(
                    statement,
                    f"an optimizer is constructed with the value before it: give names={{{name!r}: ...}}",
                )
            self._variables.replace(name, item, statement)
            self._builders.pop(name, None)

    def _refuse_change_in(self, statement: ast.stmt, node: ast.expr) -> None:
        """Refuse a change of a scheduler or of an optimizer, or of a list in it."""
        while isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
            owner = self._evaluator.value_if_any(node)
            if isinstance(owner, Constructor | OptimizerCall):
                self._refuse_change(statement, f"a {owner.name}")

    def _logs(self, statement: ast.stmt) -> set[str]:
        """Return the names of the mappings that are known to be no parameter groups."""
        known = {
            k for k, v in self._evaluator.assigned.items() if isinstance(v, dict) and "params" not in v
        }
        for each in ast.walk(statement):
            match each:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Dict() as value):
                    if "'params'" not in source_of(value):
                        known.add(name)
                case _:
                    pass
        return known

    def _is_setting(self, target: ast.expr) -> bool:
        """Check if `target["lr"] = ...` sets an item of a config, and not the rate of an optimizer."""
        if not isinstance(target, ast.Subscript):
            return False
        owner, node = self._variables.collection(target.value), self._evaluator.definition(target.value)
        if isinstance(owner, dict):
            return "params" not in owner  # the optimizer holds the mapping of a parameter group itself
        return isinstance(node, ast.Call) and called_name(node) in _CONFIGS

    def _check_only_name(self, statement: ast.stmt, owner: ast.expr, key: Any) -> None:
        """Refuse a change of an item that `names` gives for another name of its object."""
        node = object_of(self._evaluator.definition(owner))
        if not isinstance(node, ast.Name | ast.Attribute) or source_of(node) == source_of(owner):
            return
        places = (
            [ast.Attribute(node, key), ast.Subscript(node, ast.Constant(key))]
            if isinstance(key, str)
            else []
        )
        values = map(self._evaluator.value_if_any, places)
        if not places or not all(isinstance(value, Unevaluated) for value in values):
            raise unreadable(
                statement, f"{source_of(owner)} is another name of {quoted(node)}: write that one"
            )

    def _set_attribute(self, statement: ast.stmt, target: ast.Attribute, value: Any) -> bool:
        """Set an attribute of an object with known settings. Return True if there is one."""
        owner = self._variables.collection(target.value)
        if not isinstance(owner, dict):
            self._variables.forget_collection(target.value, statement)
            return False
        self._evaluator.assigned.pop(source_of(target), None)
        owner.pop(target.attr, None)
        if isinstance(value, Constructor | OptimizerCall | Unevaluated):
            return False
        owner[target.attr] = value
        return True

    def _set_item(self, statement: ast.stmt, target: ast.Subscript, value: Any) -> bool:
        """Set an item of a known list or mapping. Return True if there is one."""
        owner: Any = self._variables.collection(target.value)
        if owner is None:
            self._variables.forget_collection(target.value, statement)
            return False
        key = self._evaluator.value_if_any(target.slice)
        if not is_place(owner, key):
            raise unreadable(statement, "its index is not known")
        owner[key] = value
        return True

    def _assigned_value(self, node: ast.expr) -> Any:
        match node:
            case ast.Call() if self.builder(node) is not None:
                return self._built(node)
            case ast.Call(func=ast.Attribute(value=owner, attr="pop" | "setdefault" as method)) if (
                self._variables.collection(owner) is not None
            ):
                return self._change(node, owner, method)
        if self._reader.constructs(node):
            return self._scheduler_value(node)
        if self._is_container(node):
            return self._scheduler_value(node)
        self._refuse_unknown_calls(node)
        if isinstance(node, ast.Name | ast.Attribute) and self._is_optimizer(node):
            return self._evaluator.assigned[source_of(node)]
        made = [each for each in calls_in([node]) if called_name(each) in OPTIMIZERS]
        keeps_values = made or (isinstance(node, ast.Call) and self._reader.makes_object(node))
        return self._evaluator.value_if_any(self._evaluator.frozen(node) if keeps_values else node)

    def _scheduler_value(self, node: ast.expr) -> Any:
        """Return the value of an expression that constructs schedulers, alone or in lists and mappings."""
        match node:
            case ast.Dict(keys=keys, values=values):
                return self._mapping(keys, values)
            case ast.Call(keywords=keywords) if self._is_container(node):
                keys = [None if each.arg is None else ast.Constant(each.arg) for each in keywords]
                return self._mapping(keys, [each.value for each in keywords])
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [self._scheduler_value(element) for element in elements]
            case ast.Lambda():
                constructs = self._reader.constructs(node)
                return Unevaluated(node, []) if constructs else self._evaluator.value_if_any(node)
        if isinstance(node, ast.Call) and self.builder(node) is not None:
            return self._built(node)
        if not self._reader.constructs(node):
            self._refuse_unknown_calls(node)
            assigned = self._evaluator.assigned.get(source_of(node))
            return assigned if assigned is not None else self._evaluator.value_if_any(node)
        self._refuse_unknown_calls(node)
        value = self._evaluator.value(node)
        if isinstance(value, Constructor) and (used := self._reader.optimizers(value) & self._stepped):
            raise unreadable(
                node,
                f"a training loop has changed the rate of {min(used)} before. Give the lines of one phase",
            )
        if not isinstance(value, Constructor | OptimizerCall | list) and not self._evaluator.missing:
            name = self._reader.constructed(node)
            raise unreadable(node, f"write only the call of {name}")
        return value

    def _mapping(self, keys: Sequence[ast.expr | None], nodes: Sequence[ast.expr]) -> dict[Any, Any]:
        """Return the value of a mapping of schedulers. What a `**others` sets may be the frequency."""
        found = dict[Any, Any]()
        for key, value in zip(keys, map(self._scheduler_value, nodes), strict=True):
            if isinstance(key, ast.Constant):
                found[key.value] = value
            elif key is None and isinstance(value, dict):
                found |= value
            else:
                found["frequency" if key is None else None] = value
        return found

    def _check_frequencies(self, held: Sequence[Any]) -> None:
        """Refuse Lightning's `frequency`, the number of steps between two of the scheduler."""
        mappings = [each for each in _mappings_in(held) if isinstance(each.get("scheduler"), Constructor)]
        if len({str(each.get("interval", "epoch")) for each in mappings}) > 1:
            raise ValueError(
                "the mappings have two intervals: convert their schedulers one at a time, and multiply "
                "their schedules, with jaxlr.per_epoch for that of the epochs"
            )
        for frequency in (each.get("frequency", 1) for each in mappings):
            if isinstance(frequency, Unevaluated) and frequency.missing:
                raise MissingNamesError(frequency.missing)
            if frequency != 1:
                is_known = not isinstance(frequency, Unevaluated)
                shown = str(frequency) if is_known else source_of(frequency.node)
                raise ValueError(
                    f"the mapping sets 'frequency': {shorten(shown)}: set it to 1, and stretch the "
                    "schedule with jaxlr.per_epoch(schedule, frequency)"
                )

    def _refuse_unknown_calls(self, node: ast.expr) -> None:
        """Refuse each call in an expression that is given a scheduler, alone, in a list or in a mapping."""
        loops = (each for each in ast.walk(node) if isinstance(each, ast.comprehension))
        each_one = {source_of(loop.target) for loop in loops if self._holds_scheduler(loop.iter)}
        for call in calls_in([node]):
            self._refuse_unknown_call(
                call, lambda e: getattr(e, "id", None) in each_one or self._holds_scheduler(e)
            )

    def _refuse_unknown_call(self, node: ast.Call, holds: Callable[[ast.expr], bool]) -> None:
        """Refuse a call that is given a scheduler: it may return another one."""
        name = called_name(node)
        is_known = self._reader.is_constructor(node) or self.builder(node) is not None
        if is_known or name in (*_DICTS, *_READS) or is_harmless(node.func):
            return
        if self._reader.constructs(node.func):
            return
        if NAME_OF_SCHEDULER.search(name):
            self._unknown_schedulers.append(node)
        elif _KEEPS.search(name) or (
            name[:1].isupper() and any(_MODEL.search(source_of(each)) for each in arguments_of(node))
        ):
            return  # a trainer
        if any(map(holds, arguments_of(node))):
            if name == "prepare":
                raise ValueError(
                    f"cannot read {shorten(source_of(node.func))!r} around a scheduler: Accelerate steps "
                    "the scheduler once per process. Leave the call out. With N processes, the rate of an "
                    "update is schedule(N * count), or schedule(count) with split_batches=True or "
                    "step_scheduler_with_optimizer=False"
                )
            name = self._reader.constructed(node) or "a scheduler"
            raise ValueError(
                f"cannot read the call {shorten(source_of(node.func))!r} around {name}: leave it out, if "
                "it does not change the learning rate"
            )

    def _is_scheduler(self, node: ast.expr) -> bool:
        if isinstance(self._evaluator.assigned.get(source_of(node)), Constructor):
            return True
        return isinstance(node, ast.Call) and self._reader.is_constructor(node)

    def _holds_scheduler(self, node: ast.expr) -> bool:
        """Check if the value of an expression is a scheduler, or a list or mapping with one."""
        match node:
            case (
                ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts)
            ):
                return any(map(self._holds_scheduler, parts))
            case ast.Call() if called_name(node) in _DICTS or source_of(node.func) in ("list", "tuple"):
                return any(map(self._holds_scheduler, arguments_of(node)))
            case ast.Starred(value=part) | ast.ListComp(elt=part) | ast.GeneratorExp(elt=part):
                return self._holds_scheduler(part)
            case ast.IfExp(body=body, orelse=orelse):
                return self._holds_scheduler(body) or self._holds_scheduler(orelse)
            case ast.Name() | ast.Attribute() | ast.Subscript():
                return bool(constructors_in(self._evaluator.value_if_any(node)))
        is_call = isinstance(node, ast.Call)
        return is_call and (self._reader.is_constructor(node) or self.builder(node) is not None)

    def _is_container(self, node: ast.expr) -> bool:
        """Check if an expression is a list or a mapping with a scheduler."""
        is_dict = isinstance(node, ast.Call) and called_name(node) in _DICTS and not node.args
        is_shown = is_dict or isinstance(node, ast.Dict | ast.List | ast.Tuple)
        return is_shown and self._holds_scheduler(node)

    def _is_optimizer(self, node: ast.expr) -> bool:
        value = self._evaluator.assigned.get(source_of(node))
        if isinstance(value, Unevaluated) and isinstance(value.node, ast.Call):
            return called_name(value.node) in OPTIMIZERS
        return isinstance(value, OptimizerCall)

    def _expression(self, statement: ast.stmt, node: ast.expr) -> None:
        """Follow an expression that is a statement."""
        if writes_rate(statement):
            self._refuse_change(statement, "an optimizer")
        if isinstance(node, ast.Call):
            func = node.func
            if isinstance(func, ast.Attribute) and self._follows_method(statement, node, func):
                return
            if is_harmless(func) and not self._reader.is_constructor(node) and self.builder(node) is None:
                return  # but fit_one_cycle of fastai is a scheduler
        # A call that was copied out of a list may end with a comma, which makes it a tuple.
        is_shown = isinstance(node, ast.Name | ast.Attribute | ast.Tuple)
        if is_shown or self.builder(node) or self._reader.constructs(node):
            self._shown.append(self._scheduler_value(node))
            return
        if isinstance(node, ast.Call):
            self._refuse_unknown_call(node, self._is_scheduler)
        self._variables.forget_changed(statement)

    def _follows_method(self, statement: ast.stmt, call: ast.Call, func: ast.Attribute) -> bool:
        """Follow a method of a list, a scheduler or an optimizer. Return False for any other call."""
        owner, method = func.value, func.attr
        if method in _STEP_HOOKS:
            self._refuse_change(statement, "an optimizer")
        if changes(method):
            self._refuse_change_in(statement, owner)
            self._check_only_name(statement, owner, None)
            if is_group(self._evaluator.definition(owner)):
                self._refuse_change(statement, "an optimizer")
        if self._variables.collection(owner) is not None:
            if not only_reads(method):
                added = map(self._evaluator.definition, call.args)
                groups = [each for each in added if "params" in group_options(each)]
                if any(isinstance(self._evaluator.value_if_any(each), Unevaluated) for each in groups):
                    self._variables.forget(source_of(owner), None, [source_of(owner)])
                else:
                    self._change(call, owner, method)
            return True
        held = self._evaluator.assigned.get(source_of(owner))
        if changes(method) and isinstance(held, Unevaluated) and isinstance(held.node, ast.List | ast.Dict):
            self._variables.forget(source_of(owner), None, [source_of(owner)])
        if changes(method) and isinstance(self._evaluator.value_if_any(owner), list | dict):
            raise changes_given(owner, statement)
        if self._is_scheduler(owner):
            if method in _HARMLESS_METHODS:
                return True
            way_out = (
                "Leave it out, and shift the schedule with jaxlr.starting_at(schedule, 1)"
                if method == "step" and not call.args
                else "Convert the live object with from_torch, or a saved state with from_state_dict"
            )
            raise unreadable(call, f"it changes the scheduler. {way_out}")
        if method == "load_state_dict" and self._is_optimizer(owner):
            raise unreadable(
                call,
                "it replaces the learning rate by that of a checkpoint. Leave the line out to get the "
                "rates of a run from its start, or convert the live objects with from_torch or "
                "optimizer_from_torch",
            )
        optimizer = self._evaluator.assigned.get(source_of(owner))
        match method, call.args:
            case "add_param_group", [group] if isinstance(optimizer, OptimizerCall):
                self._add_group(statement, optimizer, group)
            case "append", [item] if self._reader.constructs(item):
                self._shown.append(self._scheduler_value(item))  # the list was made elsewhere
            case _:
                return False
        return True

    def _add_group(self, statement: ast.stmt, optimizer: OptimizerCall, group: ast.expr) -> None:
        """Follow `optimizer.add_param_group({...})`."""
        options = self._evaluator.value(group)
        if self._evaluator.missing:
            return
        if self._reader.made or not isinstance(options, dict):
            self._refuse_change(statement, f"a {optimizer.name}")
        larger = optimizer.with_group(options)
        self.num_added += 1
        assigned = self._evaluator.assigned
        assigned.update({name: larger for name, value in assigned.items() if value is optimizer})

    def _refuse_change(self, statement: ast.stmt, changed: str) -> NoReturn:
        raise unreadable(
            statement,
            f"it changes {changed} after its construction. Convert the live object with from_torch or "
            "optimizer_from_torch",
        )

    def _change(self, node: ast.Call, owner: ast.expr, method: str) -> Any:
        """Follow a method that changes a list or a mapping, and return its result."""
        values = [self._assigned_value(each) for each in node.args]
        if any(isinstance(value, Unevaluated) for value in values):
            values = [self._evaluator.value(each) for each in node.args]
        by_name = dict[str, Any]()
        for each in node.keywords:
            value = self._assigned_value(each.value)
            if each.arg is None and not isinstance(value, dict):
                raise unreadable(node, "it is not given a mapping with known items")
            by_name |= value if each.arg is None else {each.arg: value}
        return change(node, self._variables.collection(owner), method, values, by_name)

    def builder(self, node: ast.expr) -> ast.FunctionDef | ast.Lambda | None:
        """Return the function of the text that an expression calls, if it builds schedulers."""
        if not isinstance(node, ast.Call):
            return None
        if not isinstance(node.func, ast.Subscript):
            return self._builders.get(source_of(node.func))
        item = self._evaluator.value_if_any(node.func)  # of a table of functions
        if _is_builder(item):
            return item.node
        table = self._variables.collection(node.func.value)
        if isinstance(item, Unevaluated) and item.missing and any(map(_is_builder, values_in(table))):
            raise MissingNamesError(item.missing)
        return None

    def _built(self, call: ast.Call) -> Any:
        """Follow the statements of a function that builds schedulers, and return its value."""
        definition = self.builder(call)
        assert definition is not None
        if isinstance(definition, ast.FunctionDef):
            _check_decorators(definition, call)
        self._num_calls += 1
        if self._num_calls > _MOST_CALLS:
            raise ValueError(f"cannot read the call {quoted(call)}: its functions are called too often")
        outside = self._evaluator.assigned
        inside = dict[str, Any]()
        self._evaluator.assigned = ChainMap(inside, outside)
        shown, self._shown, self._is_returned = self._shown, [], False
        returned = self._returned
        self.run(body_for_call(definition, call))
        result = self._shown[-1] if self._shown else None
        self._evaluator.assigned = outside
        left = [each for each in inside.values() if isinstance(each, Constructor)]
        if left and not constructors_in(result):  # the function trains with them
            if id(definition) in self._trained:
                raise ValueError(f"the text calls {quoted(call.func)} again, which trains: give one call")
            self._trained.add(id(definition))
            shown += left
        for name, value in inside.items():
            if not name.isidentifier() and re.split(r"[.\[]", name)[0] not in inside:
                outside[name] = value  # an attribute or item of an object outside
        self._shown, self._is_returned, self._returned = shown, False, returned
        return result

    def _branch(
        self, statement: ast.stmt, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]
    ) -> None:
        if source_of(test) in IS_MAIN:
            self.run(body)
            return
        value = self._evaluator.value_if_any(test)
        if not isinstance(value, Unevaluated):
            self.run(body if value else orelse)
        elif not self._matters(statement):
            self._skip(statement, value.missing)
        elif value.error is not None:
            raise value.error
        else:
            raise MissingNamesError(value.missing)

    def _matters(self, statement: ast.stmt) -> bool:
        """Check if a statement may construct or change a scheduler."""
        if writes_rate(statement, self._logs(statement)) or self._reader.constructs(statement):
            return True
        nodes = list(ast.walk(statement))
        if any(map(_is_table, nodes)) or any(map(self.builder, calls_in([statement]))):
            return True
        values = (self._evaluator.assigned.get(source_of(e)) for e in nodes if isinstance(e, ast.expr))
        return any(isinstance(each, ast.Return) for each in nodes) or any(
            isinstance(value, Constructor | list | dict | Unevaluated) for value in values
        )

    def _loop(self, statement: ast.For) -> None:
        values = self._evaluator.value_if_any(statement.iter)
        if not isinstance(values, list) or not self._matters(statement) or _is_left(statement):
            self._skip(statement)
            return
        for value in values:
            self._assign(statement, statement.target, value)
            self.run(statement.body)
        self.run(statement.orelse)

    def _while(self, statement: ast.While, test: ast.expr, body: list[ast.stmt]) -> None:
        # The test of `while True` never ends the loop, so its body is followed once.
        is_once = _is_left(statement) or isinstance(test, ast.Constant)
        while (value := self._evaluator.value_if_any(test)) and not isinstance(value, Unevaluated):
            self.run(body)
            if self._is_returned or is_once:
                break
        if isinstance(value, Unevaluated) or is_once:
            self._skip(statement)

    def _block(self, statement: ast.With | ast.Try) -> None:
        """Follow the body of a `with` or a `try`, unless an error in it may be a way to continue."""
        match statement:
            case ast.With(items=items, body=body) if "suppress" not in ast.unparse(items[0]):
                for each in items:
                    if each.optional_vars is not None:
                        value = self._assigned_value(each.context_expr)
                        self._assign(statement, each.optional_vars, value)
                self.run(body)
            case ast.Try(handlers=handlers) if not any(map(self._reader.constructs, handlers)):
                self._try(statement)
            case _:
                self._skip(statement)

    def _try(self, statement: ast.Try) -> None:
        # An import that may fail does not say which class a name stands for.
        imports = ast.Import | ast.ImportFrom
        body = [*statement.body, *statement.orelse]
        before = dict(self._evaluator.assigned)
        self._num_tries += 1
        self.run([each for each in body if not isinstance(each, imports)])
        self._num_tries -= 1
        changed = {k: value for k, value in self._evaluator.assigned.items() if value is not before.get(k)}
        fails = any(isinstance(each, ast.Raise | imports) for each in nodes_in(statement.body))
        fails |= any(isinstance(each, Unevaluated) and each.error is not None for each in changed.values())
        for name, value in changed.items():
            is_known = not isinstance(value, Unevaluated | OptimizerCall) and not constructors_in(value)
            if fails and name in before and is_known:
                self._variables.forget(name, used_later(statement))
        for each in (each for handler in statement.handlers for each in handler.body):
            self._skip(each)  # forget the values that it would have changed
        self.run(statement.finalbody)

    def _define(self, statement: ast.FunctionDef, name: str) -> None:
        if self._reader.constructs(statement) or any(map(self.builder, calls_in([statement]))):
            self._builders[name] = self._with_defaults(statement)
        else:
            self._builders.pop(name, None)
        try:
            self._evaluator.assigned[name] = Function(statement, self._evaluator, {})
        except ValueError as error:
            self._variables.forget(name, error)

    def _with_defaults(self, definition: ast.FunctionDef) -> ast.FunctionDef:
        """Return a function with the values that its defaults have now: Python evaluates them once."""
        for defaults in (definition.args.defaults, definition.args.kw_defaults):
            for index, node in enumerate(defaults):
                if isinstance(node, ast.Name | ast.Attribute | ast.BinOp):
                    value = self._evaluator.value_if_any(node)
                    if isinstance(value, int | float | str):
                        defaults[index] = ast.copy_location(ast.Constant(value), node)
        return definition

    def _skip(self, statement: ast.stmt, missing: Sequence[str] = ()) -> None:
        """Leave out a statement that cannot be followed, such as a training loop.

        The names that it assigns have no value then, or need those that are missing.
        """
        first = first_line(statement)
        if isinstance(statement, ast.ClassDef):
            self._classes.add(statement.name)
            if is_scheduler(statement) and self._reader.constructs(statement):
                raise_unknown(statement.name)
        if name := self._reader.constructed(statement):
            raise ValueError(f"cannot read {first}: write the call of {name} outside of it")
        for each in calls_in([statement]):
            if (definition := self.builder(each)) is not None:
                name = self._reader.constructed(definition) or "a scheduler"
                raise ValueError(
                    f"cannot read {first}: it calls {source_of(each.func)}, which constructs {name}. "
                    "Write the call outside of it, or leave it out if it does not change the learning rate"
                )
        if writes_rate(statement, self._logs(statement)):
            if isinstance(statement, ast.ClassDef) and statement.name in self._reader.known:
                self._reader.check_origin(ast.Name(statement.name, ast.Load()), statement.name)
            raise ValueError(
                f"cannot read {first}: it sets the learning rate by hand. Write a function of the epoch "
                "that returns the rate, 'def get_lr(epoch): ...'"
            )
        known = {k: each for k, each in self._evaluator.assigned.items() if isinstance(each, Constructor)}
        self._steps |= {owner for owner, _ in steps_in(statement)}
        for owner, _ in steps_in(statement):
            if owner in known:
                self._stepped |= self._reader.optimizers(known[owner])
        self._variables.forget_changed(statement)
        self._variables.forget_bound(statement)
        for each in ast.walk(statement):
            if isinstance(each, ast.stmt):
                self._variables.forget_effects(each)
        error = used_later(statement)
        for each in ast.walk(statement):
            if isinstance(each, ast.Name | ast.Attribute) and isinstance(each.ctx, ast.Store | ast.Del):
                source = source_of(each)
                if isinstance(each, ast.Attribute) and self._is_scheduler(each.value):
                    raise ValueError(
                        f"cannot read {first}: it changes {source}, a setting of a scheduler. "
                        "Write the rates as a SequentialLR, or as a function of the epoch"
                    )
                if source in known:
                    raise ValueError(f"cannot read {first}, which replaces a scheduler")
                if source not in self._evaluator.names:
                    is_new = isinstance(
                        self._evaluator.assigned.get(source, error), Unevaluated | ValueError
                    )
                    reason = used_later(statement, source) if is_new else error
                    self._variables.forget(source, None if missing else reason, missing)


def _mappings_in(value: Any) -> Iterator[dict[Any, Any]]:
    """Yield the mappings in lists and mappings, and the value itself."""
    if isinstance(value, dict):
        yield value
        value = [*dict.values(value)]
    for each in value if isinstance(value, list) else ():
        yield from _mappings_in(each)


def _is_builder(value: Any) -> bool:
    return isinstance(value, Unevaluated) and isinstance(value.node, ast.Lambda)


def _is_table(node: ast.AST) -> TypeGuard[ast.Attribute]:
    return isinstance(node, ast.Attribute) and node.attr == "__dict__"


def _is_left(loop: ast.For | ast.While) -> bool:
    """Check if a loop has a `break` or a `continue`."""
    return any(isinstance(each, ast.Break | ast.Continue) for each in ast.walk(loop))


def _check_decorators(definition: ast.FunctionDef, call: ast.Call) -> None:
    for each in definition.decorator_list:
        if source_of(each) not in ("staticmethod", "classmethod", "property"):
            raise ValueError(
                f"cannot read the call {quoted(call)}: the decorator {quoted(each)} may change it. Leave "
                "the decorator out, if it does not"
            )


def _rate_names(node: ast.expr) -> set[str]:
    """Return the names in the rate of an optimizer that an expression constructs."""
    if not isinstance(node, ast.Call) or called_name(node) not in OPTIMIZERS:
        return set()
    rates = [*node.args[1:2], *(each.value for each in node.keywords if each.arg == "lr")]
    return {source_of(each) for each in nodes_in(rates) if isinstance(each, ast.Name | ast.Attribute)}


def _assigned_items(target: ast.expr, value: Any) -> dict[str, Any]:
    """Return the values that an assignment gives to names."""
    if not isinstance(target, ast.Tuple | ast.List):
        return {source_of(target): value}
    if isinstance(value, Unevaluated):
        return dict.fromkeys(map(source_of, target.elts), value)
    if isinstance(value, Constructor):  # timm returns a scheduler and the number of epochs
        return {source_of(target.elts[0]): value}
    return unpacked(target, value)
