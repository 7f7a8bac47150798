"""The steps of the schedulers in a text. A text is read if each of its steps is proven to be one count."""

import ast
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from jaxlr._checks import shorten
from jaxlr.code.builders import as_conditions, substituted
from jaxlr.code.definitions import is_count
from jaxlr.code.expressions import Evaluator
from jaxlr.code.scripts import NAME_OF_SCHEDULER
from jaxlr.code.syntax import (
    arguments_of,
    called_name,
    calls_in,
    first_line,
    last_name,
    names_stored,
    nodes_in,
    parameters_of,
    quoted,
    source_of,
    unreadable,
)
from jaxlr.code.values import Unevaluated, names_in
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.errors import MissingNamesError


_DAMPENS = ("dampening", "dampen")
_RATES = ("param_groups", "get_last_lr", "get_lr", "get_learning_rate", "lr", "cur_lr", "current_lr")
_LIKE_SCHEDULER = re.compile(r"sched|warm|(^|_)lr(_|$)", re.IGNORECASE)
# Conditions that hold whenever the optimizer is stepped: in training, without overflow, after some batches.
_HARMLESS = re.compile(
    r"train|phase|'val|sync_gradients|accum|scal|overflow|skip|finite|isnan|isinf|main_process|rank|%",
    re.IGNORECASE,
)
_STATES = ("get_last_lr", "get_lr", "last_epoch", "load_state_dict", "print_lr", "state_dict")
_MOST_CALLS = 200  # of functions that step
_LOOPS = (ast.For, ast.While, ast.ListComp, ast.GeneratorExp)


class _Place(NamedTuple):
    """A part of a statement or an expression that contains a step."""

    node: ast.AST
    part: str
    before: Sequence[ast.AST] = ()  # the statements of the part that run before the step
    test: ast.expr | None = None  # the part is reached if this holds, or fails where it is not "body"

    @property
    def is_conditional(self) -> bool:
        """True if the part may not be reached."""
        is_part = self.part == "else" or isinstance(self.node, ast.Match | ast.ExceptHandler)
        return self.test is not None or is_part


_Places = tuple[_Place, ...]


class _Step(NamedTuple):
    call: ast.Call
    name: str
    key: int | str  # the id of the scheduler, or the name of an unknown one
    places: tuple[_Place, ...]  # around the step, from the outermost
    argument: ast.expr | None

    @property
    def loops(self) -> list[ast.AST]:
        """The loops around the step, from the outermost."""
        loops = {id(e.node): e.node for e in self.places if isinstance(e.node, _LOOPS)}
        return [*loops.values()]

    @property
    def conditions(self) -> set[tuple[int, str]]:
        """The parts of conditions that contain the step."""
        return {(id(each.node), each.part) for each in self.places if each.is_conditional}

    @property
    def around(self) -> ast.stmt:
        """The innermost function, or the outermost loop, as the statement of an error message."""
        nodes = [each.node for each in self.places]
        functions = [each for each in nodes if isinstance(each, ast.FunctionDef)]
        loops = [each for each in nodes if isinstance(each, ast.For | ast.While)]
        return [*loops[:1], *functions][-1] if functions or loops else ast.Expr(self.call)

    @property
    def part(self) -> str:
        """The word for that statement."""
        return "function" if isinstance(self.around, ast.FunctionDef) else "loop"


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
    statements: Sequence[ast.stmt],
    schedulers: Sequence[Constructor],
    evaluator: Evaluator,
    constructs: Callable[[ast.AST], bool],
) -> None:
    """Check that a text steps all its schedulers once in the same loop, and under no condition.

    Args:
        statements: the text.
        schedulers: those that are no part of another one.
        evaluator: holds the values of the names. It is told those that a condition needs.
        constructs: tells if a part of the text constructs a scheduler.

    Raises:
        ValueError: this is not proven.
    """
    own = {id(each) for each in schedulers}
    by_name = {name: id(each) for name, each in evaluator.assigned.items() if id(each) in own}
    functions = _Functions(statements, by_name)
    names = (each for each in nodes_in(statements) if isinstance(each, ast.Name))
    walk = _Walk(functions, by_name, evaluator, Counter(e.id for e in names if _is_stored(e)))
    check = _Check(functions, schedulers, evaluator)
    walk.block(ast.Module([], []), "body", statements, {}, ())
    check.loops(walk.steps, walk.elsewhere)
    is_stepped = bool(walk.steps)
    for function in functions.all:  # those that nothing in the text calls
        if id(function) in walk.reached | functions.inner or function.name not in functions.stepping:
            continue
        walk.steps = []
        walk.enter(function, {}, ())
        is_stepped |= bool(walk.steps)
        if constructs(function):
            check.loops(walk.steps, walk.elsewhere)
        else:
            check.steps(walk.steps, walk.elsewhere)
    if not is_stepped:
        _check_used(statements, constructs)


def _check_used(statements: Sequence[ast.stmt], constructs: Callable[[ast.AST], bool]) -> None:
    """Refuse a scheduler that a text only constructs, though the text trains or returns something else."""
    used = _used(statements)
    functions = [each for each in nodes_in(statements) if isinstance(each, ast.FunctionDef)]
    for body in [statements, *(each.body for each in functions)]:
        nodes = [*nodes_in(e for e in body if not isinstance(e, ast.FunctionDef | ast.ClassDef))]
        made = [each for each in nodes if isinstance(each, ast.Assign) and constructs(each.value)]
        names = {each.id for e in made for each in e.targets if isinstance(each, ast.Name)}
        loops = [each for each in nodes if isinstance(each, ast.For | ast.While)]
        trains = any("opt" in owner for loop in loops for owner, _ in steps_in(loop))
        returns = any(isinstance(each, ast.Return) and each.value is not None for each in nodes)
        if names and not names & used and (returns or trains):
            name = min(names)
            raise ValueError(
                f"the text never steps {name}, whose rate then stays as it is. Add {name}.step() where it "
                "is stepped, or give the lines up to its constructor alone"
            )


def _used(statements: Sequence[ast.stmt]) -> set[str]:
    """Return the names that statements read or share, except to read or load the state of a scheduler."""
    nodes = [*nodes_in(statements)]
    states = {id(e.value) for e in nodes if isinstance(e, ast.Attribute) and e.attr in _STATES}
    read = (each for each in nodes if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Load))
    shared = {name for each in nodes if isinstance(each, ast.Global) for name in each.names}
    return {each.id for each in read if id(each) not in states} | shared


class _Functions:
    """The functions and classes of a text, by the calls that reach them."""

    def __init__(self, statements: Sequence[ast.stmt], known: Collection[str]):
        nodes = list(nodes_in(statements))
        classes = [each for each in nodes if isinstance(each, ast.ClassDef)]
        own = {id(e) for each in classes if NAME_OF_SCHEDULER.search(each.name) for e in each.body}
        functions = [each for each in nodes if isinstance(each, ast.FunctionDef) and id(each) not in own]
        self.all: list[ast.FunctionDef] = functions
        self._classes = {
            owner.name: {each.name: each for each in owner.body if isinstance(each, ast.FunctionDef)}
            for owner in classes
            if not NAME_OF_SCHEDULER.search(owner.name)
        }
        self._owners = {
            id(each): name for name, methods in self._classes.items() for each in methods.values()
        }
        self._plain = {each.name: each for each in functions if id(each) not in self._owners}
        self._objects = {
            source_of(target): each.value.func.id
            for each in nodes
            if isinstance(each, ast.Assign)
            and isinstance(each.value, ast.Call)
            and isinstance(each.value.func, ast.Name)
            for target in each.targets
        }
        self._known = known
        self._nodes = nodes
        self.stepping = self._reaching(self._steps)
        self._training = self._reaching(self._trains)
        reached = (self.called(call, each) for each in functions for call in calls_in(each.body))
        self.inner = {id(each) for each in reached if each is not None}  # those that another one calls

    def _reaching(self, finds: Callable[[ast.Call], bool]) -> set[str]:
        """Return the names of the functions with such a call, or that call one of them."""
        calls = {id(each): calls_in(each.body) for each in self.all}
        found = {each.name for each in self.all if any(map(finds, calls[id(each)]))}
        while more := {
            each.name
            for each in self.all
            if each.name not in found and any(called_name(call) in found for call in calls[id(each)])
        }:
            found |= more
        return found

    def _steps(self, call: ast.Call) -> bool:
        """Check if a call steps something, if not an optimizer by its name."""
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("step", *_DAMPENS):
            return False
        owner = source_of(call.func.value)
        return owner in self._known or "opt" not in owner.lower()

    def called(self, call: ast.Call, inside: ast.FunctionDef | None) -> ast.FunctionDef | None:
        """Return the function of the text that a call in a function reaches."""
        match call.func:
            case ast.Name(id=name) if name in self._classes:
                return self._classes[name].get("__init__")
            case ast.Name(id=name):
                return self._plain.get(name)
            case ast.Attribute(value=ast.Name(id="self"), attr=name):
                owner = self._owners.get(id(inside))
            case ast.Attribute(value=ast.Call(func=ast.Name(id=owner)), attr=name):
                pass
            case ast.Attribute(value=value, attr=name):
                owner = self._objects.get(source_of(value))
            case _:
                return None
        return self._classes.get(owner or "", {}).get(name)

    def values(self, name: str) -> tuple[list[ast.stmt], list[ast.expr]]:
        """Return the statements that change a variable by its value, and the values that others assign."""
        changes: list[ast.stmt] = []
        values: list[ast.expr] = []
        for each in self._nodes:
            match each:
                case ast.AugAssign(target=target) if source_of(target) == name:
                    changes.append(each)
                case ast.Assign(targets=[target], value=value) if source_of(target) == name:
                    if name in map(source_of, nodes_in([value])):
                        changes.append(each)
                    else:
                        values.append(value)
                case _:
                    pass
        return changes, values

    def is_method(self, function: ast.FunctionDef) -> bool:
        """Check if a function takes its object first."""
        return id(function) in self._owners and not function.decorator_list

    def train(self, nodes: Sequence[ast.AST]) -> bool:
        """Check if a part of the text steps an optimizer, itself or in a function."""
        return any(self._trains(call) or called_name(call) in self._training for call in calls_in(nodes))

    def _trains(self, call: ast.Call) -> bool:
        if not isinstance(call.func, ast.Attribute):
            return _trains_by_name(call)
        owner = source_of(call.func.value)
        is_step = call.func.attr == "step" and owner not in self._known
        is_step = is_step and not _LIKE_SCHEDULER.search(last_name(owner))
        return is_step or call.func.attr == "backward" or _trains_by_name(call)


def _trains_by_name(call: ast.Call) -> bool:
    """Check if a function trains, by its name or because it is given an optimizer."""
    objects = (each for each in arguments_of(call) if isinstance(each, ast.Name | ast.Attribute))
    is_given = any("optim" in last_name(source_of(each)) for each in objects)
    is_mode = isinstance(call.func, ast.Attribute) and not call.args  # model.train()
    return (is_given and "sched" not in source_of(call.func).lower()) or (
        called_name(call).startswith("train") and not is_mode
    )


class _Walk:
    """The steps of a text, found along its statements and through its own functions."""

    def __init__(
        self,
        functions: _Functions,
        schedulers: Mapping[str, int],
        evaluator: Evaluator,
        stores: Mapping[str, int],
    ):
        self._functions, self._schedulers, self._evaluator = functions, schedulers, evaluator
        self._stores = stores  # how often the text assigns each name
        self._inside: list[ast.FunctionDef] = []
        self._num_calls = 0
        self.steps: list[_Step] = []
        self.reached: set[int] = set()  # ids of functions
        self.elsewhere: set[int | str] = set()  # the schedulers that something else may step

    def enter(self, function: ast.FunctionDef, values: dict[str, ast.expr], places: _Places) -> None:
        """Follow the statements of a function, whose parameters have these values."""
        self._num_calls += 1
        if self._num_calls > _MOST_CALLS:
            raise ValueError(f"cannot read {first_line(function)}: it is called too often. Leave it out")
        self.reached.add(id(function))
        self._inside.append(function)
        self.block(function, "body", function.body, values, places)
        self._inside.pop()

    def block(
        self,
        owner: ast.AST,
        part: str,
        statements: Sequence[ast.stmt],
        values: dict[str, ast.expr],
        places: _Places,
        test: ast.expr | None = None,
    ) -> None:
        """Follow statements. After `if test: continue`, the others are those under its `else`."""
        for index, each in enumerate(statements):
            inside = (*places, _Place(owner, part, statements[:index], test))
            self._statement(each, values, inside)
            match each:
                case ast.If(test=guard, body=[*_, ast.Continue() | ast.Return() as end], orelse=[]) if (
                    isinstance(end, ast.Continue) or isinstance(owner, ast.FunctionDef)
                ):
                    places = (*inside, _Place(each, "rest", (), substituted(guard, values)))
                case _:
                    pass

    def _statement(self, statement: ast.stmt, values: dict[str, ast.expr], places: _Places) -> None:
        match statement:
            case ast.If(test=test, body=body, orelse=orelse):
                self._expression(test, values, places)
                test = substituted(test, values)
                self.block(statement, "body", body, values, places, test)
                self.block(statement, "orelse", orelse, values, places, test)
            case ast.Match() if (conditions := as_conditions(statement)) is not None:
                self._statement(conditions, values, places)
            case ast.Match(subject=subject, cases=cases):
                self._expression(subject, values, places)
                for index, case in enumerate(cases):
                    self.block(statement, f"case {index}", case.body, values, places)
            case ast.For(target=target, iter=items, body=body, orelse=orelse):
                self._expression(items, values, places)
                keys = self._bind_each(target, items, values)
                if len(keys) > 1 and any(isinstance(e, ast.For | ast.While) for e in nodes_in(body)):
                    raise turns(
                        _Step(ast.Call(target, [], []), "", "", (*places, _Place(statement, "")), None)
                    )
                self.block(ast.Module([], []) if keys else statement, "body", body, values, places)
                self.block(statement, "else", orelse, values, places)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass
            case _:
                for name, field in ast.iter_fields(statement):
                    parts = field if isinstance(field, list) else [field]
                    nodes = [each for each in parts if isinstance(each, ast.AST)]
                    if nodes and isinstance(nodes[0], ast.stmt):
                        self.block(statement, name, nodes, values, places)  # pyright: ignore
                        continue
                    for index, each in enumerate(nodes):
                        inside = (*places, _Place(statement, f"{name} {index}"))
                        if isinstance(each, ast.ExceptHandler):
                            self.block(each, "handler", each.body, values, inside)
                        else:
                            self._expression(each, values, inside)
                self._bind(statement, values)

    def _bind(self, statement: ast.stmt, values: dict[str, ast.expr]) -> None:
        """Keep an expression that a name stands for, if the text assigns the name once."""
        match statement:
            case ast.Assign(
                targets=[ast.Name(id=name)],
                value=ast.Name() | ast.Attribute() | ast.Subscript() | ast.IfExp() | ast.BinOp()
                | ast.Compare() | ast.BoolOp() | ast.UnaryOp() as value,
            ) if self._stores[name] == 1:  # fmt: skip
                values[name] = substituted(value, values)
            case _:
                pass

    def _bind_each(self, target: ast.expr, items: ast.expr, values: dict[str, ast.expr]) -> list[int | str]:
        """Let the variables of a loop over schedulers stand for all of them, and return these."""
        parts = [items]
        if isinstance(items, ast.Call):  # enumerate(schedulers), zip(optimizers, schedulers), d.values()
            parts = [*items.args, *([items.func.value] if isinstance(items.func, ast.Attribute) else [])]
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        if len(parts) != len(targets):
            parts = [part for part in parts for _ in targets][-len(targets) :]
        found: list[int | str] = []
        for name, part in zip(targets, parts, strict=False):
            every = ast.Starred(substituted(part, values), ast.Load())
            keys = self._resolved(every)[0]
            if keys and isinstance(name, ast.Name):
                values[name.id] = every
                found += keys
        return found

    def _expression(self, node: ast.AST, values: dict[str, ast.expr], places: _Places) -> None:
        match node:
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._expression(test, values, places)
                test = substituted(test, values)
                self._expression(body, values, (*places, _Place(node, "body", (), test)))
                self._expression(orelse, values, (*places, _Place(node, "orelse", (), test)))
            case ast.BoolOp(op=op, values=[first, *rest]):
                self._expression(first, values, places)
                part, before = "body" if isinstance(op, ast.And) else "orelse", [first]
                for each in rest:
                    test = before[0] if len(before) == 1 else ast.BoolOp(op, [*before])
                    place = _Place(ast.IfExp(test, each, each), part, (), substituted(test, values))
                    self._expression(each, values, (*places, place))
                    before.append(each)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                own = {**values}
                for each in node.generators:
                    if not self._bind_each(each.target, each.iter, own):
                        places = (*places, _Place(node, "elt"))
                    tests = (substituted(test, own) for test in each.ifs)
                    places = (*places, *(_Place(each, "body", (), test) for test in tests))
                self._expression(element, own, places)
            case ast.Call(func=ast.Attribute(attr="step", value=owner)):
                self._step(node, owner, values, places)
                for each in [*arguments_of(node), owner]:
                    self._expression(each, values, places)
            case ast.Call(func=ast.Attribute(attr=attr, value=owner)) if attr in _DAMPENS:
                self._step(node, owner, values, places)
            case (
                ast.Attribute(attr="step", value=owner)
                | ast.Call(func=ast.Name(id="getattr"), args=[owner, ast.Constant("step"), *_])
                | ast.Lambda(body=ast.Call(func=ast.Attribute(attr="step", value=owner)))
            ) if source_of(owner) in self._schedulers:
                raise unreadable(
                    node,
                    f"it is another name for the step of {source_of(owner)}. Write "
                    f"{source_of(owner)}.step() in the loop that steps it, or leave the line out",
                )
            case ast.Call():
                for each in ast.iter_child_nodes(node):
                    self._expression(each, values, places)
                self.elsewhere |= {*(self._keys(node.func) or [])}  # open_clip calls it with the step
                self._call(node, values, places)
            case _:
                for each in ast.iter_child_nodes(node):
                    self._expression(each, values, places)

    def _call(self, call: ast.Call, values: dict[str, ast.expr], places: _Places) -> None:
        """Follow a call of a function of the text that steps."""
        inside = self._inside[-1] if self._inside else None
        function = self._functions.called(call, inside)
        if function is None:
            given = (self._keys(substituted(each, values)) for each in arguments_of(call))
            self.elsewhere |= {key for keys in given for key in keys or []}
        if function is None or function.name not in self._functions.stepping or function in self._inside:
            return
        names, defaults = parameters_of(function.args)
        if self._functions.is_method(function):
            names = names[1:]
        given = {
            **dict(zip(names, call.args, strict=False)),
            **{e.arg or "": e.value for e in call.keywords},
        }
        plain = ast.Name | ast.Attribute | ast.Subscript | ast.Constant | ast.IfExp | ast.BinOp | ast.List
        own = {k: substituted(v, values) for k, v in given.items() if isinstance(v, plain)}
        own |= {k: v for k, v in defaults.items() if k not in given and isinstance(v, ast.Constant)}
        self.enter(function, {k: v for k, v in own.items() if source_of(v) != k}, places)

    def _step(self, call: ast.Call, owner: ast.expr, values: dict[str, ast.expr], places: _Places) -> None:
        keys, is_picked = self._resolved(substituted(owner, values))
        if not keys:  # a parameter may stand for what is a scheduler by the name of the parameter only
            keys, is_picked = self._resolved(owner)
        if is_picked and len(keys) > 1:
            raise turns(_Step(call, "", "", places, None))
        first = next((each.value for each in call.keywords if each.arg in ("epoch", "metrics")), None)
        argument = call.args[0] if call.args else first
        if argument is not None:
            argument = substituted(argument, values)
        for key in keys:
            self.steps.append(_Step(call, source_of(owner), key, places, argument))

    def _resolved(self, node: ast.expr) -> tuple[list[int | str], bool]:
        """Return the schedulers that an expression stands for, and True if it picks one of them."""
        match node:
            case ast.IfExp(body=body, orelse=orelse):
                return [*self._resolved(body)[0], *self._resolved(orelse)[0]], True
            case ast.Starred(value=ast.List(elts=elements) | ast.Tuple(elts=elements)):
                return [key for each in elements for key in self._resolved(each)[0]], False
            case ast.Starred(value=value):
                return self._unknown(value) if (keys := self._keys(value)) is None else (keys, False)
            case ast.Subscript(value=value):
                if (keys := self._keys(node)) is not None:
                    return keys, False
                return self._resolved(ast.Starred(value, ast.Load()))[0], True
            case ast.Name() | ast.Attribute():
                return self._unknown(node) if (keys := self._keys(node)) is None else (keys, False)
        return [], False

    def _keys(self, node: ast.expr) -> list[int | str] | None:
        """Return the ids of the schedulers of the text that an expression has as its value."""
        value = self._evaluator.assigned.get(source_of(node))
        if value is None and isinstance(node, ast.Subscript | ast.Attribute):
            value = self._evaluator.value_if_any(node)
        held = value if isinstance(value, list) else [value]
        found = [id(each) for each in held if isinstance(each, Constructor)]
        return list(dict.fromkeys(found)) or None

    def _unknown(self, node: ast.expr) -> tuple[list[int | str], bool]:
        """Return the key of what is a scheduler by its name: that of another one with this name, or it."""
        name = last_name(source_of(node))
        if not _LIKE_SCHEDULER.search(name) or "opt" in name.lower():
            return [], False
        same = {each for key, each in self._schedulers.items() if last_name(key) == name}
        return [same.pop() if len(same) == 1 else name], False


def turns(step: _Step) -> ValueError:
    return ValueError(
        f"cannot read {first_line(step.around)}: it does not step all schedulers at once. Write them as "
        "one SequentialLR, with the epochs of the change as milestones"
    )


class _Check:
    """The checks of the steps in one part of a text."""

    def __init__(self, functions: _Functions, schedulers: Sequence[Constructor], evaluator: Evaluator):
        self._functions, self._evaluator = functions, evaluator
        self._by_key = {id(each): each for each in schedulers if "Plateau" not in each.name}
        self._plateaus = {id(each) for each in schedulers} - self._by_key.keys()

    def loops(self, steps: Sequence[_Step], elsewhere: Collection[int | str]) -> None:
        """Check the steps of a script, of which each loop is a part."""
        groups = dict[int, list[_Step]]()
        for step in steps:
            if step.loops:  # else it is a statement that the program follows
                first = next(i for i, e in enumerate(step.places) if e.node is step.loops[0])
                group = groups.setdefault(id(step.loops[0]), [])
                group.append(step._replace(places=step.places[first:]))
        for group in groups.values():
            self.steps(group, elsewhere)

    def steps(self, steps: Sequence[_Step], elsewhere: Collection[int | str]) -> None:
        """Check the steps of one part: a loop, or a function that is called for each count.

        Args:
            steps: the steps.
            elsewhere: the keys of the schedulers that something else may step, too.
        """
        # Plateaus count the metrics. Where there are only plateaus, a step of any name is that of one.
        steps = [each for each in steps if each.key not in self._plateaus and self._by_key]
        if len({each.key for each in steps}) == len(self._by_key) == 1:  # whatever its name is here
            steps = [each._replace(key=key) for each in steps for key in self._by_key]
        live = [each for each in map(self._live, steps) if each is not None]
        if never := {each.key for each in steps} - {each.key for each in live} - {*elsewhere}:
            step = next(each for each in steps if each.key in never)
            raise ValueError(
                f"cannot read {first_line(step.around)}: with these values it never steps {step.name}. "
                "Leave the scheduler out, or give the values with which it is stepped"
            )
        _check_dampened(live)
        self._check_together(live)
        for step in live:
            self._check_argument(step)
            *_, outer, inner = [None, None, *step.loops]
            if inner and outer and not self._functions.train([inner]) and self._functions.train([outer]):
                raise _several(step)
        for one, other in itertools.combinations(live, 2):
            apart = one.loops and other.loops and one.loops[0] is not other.loops[0]
            if one.key == other.key and not apart and not _exclude(one, other):
                raise _several(one)
        for step in live:
            for place in step.places:
                if place.is_conditional and not self._is_complete(place, step, live):
                    self._check_condition(place, step)

    def _live(self, step: _Step) -> _Step | None:
        """Return a step without the conditions that always hold, or None if it is never reached."""
        places: list[_Place] = []
        for place in step.places:
            truth = None if place.test is None else self._truth(place.test, step)
            if truth is None:
                places.append(place)
            elif truth != (place.part == "body"):
                return None
            else:
                places.append(place._replace(test=None))
        live = step._replace(places=tuple(places))
        tests = (source_of(each.test).lower() for each in places if each.test is not None)
        is_metric = (
            step.argument is not None and self._count(live, _without_constant(step.argument)[0]) is None
        )
        return None if is_metric and any("plateau" in each for each in tests) else live

    def _truth(self, test: ast.expr, step: _Step) -> bool | None:
        """Return the value of a condition for a scheduler, or None if it is not known."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                inner = self._truth(operand, step)
                return None if inner is None else not inner
            case ast.BoolOp(op=op, values=values):
                found = [self._truth(each, step) for each in values]
                ends = isinstance(op, ast.Or)  # the value of one part that decides
                return ends if ends in found else None if None in found else not ends
            case ast.Call(func=ast.Name(id="isinstance"), args=[owner, classes]) if (
                self._is_owner(owner, step) and (own := self._by_key.get(step.key)) is not None  # pyright: ignore
            ):
                names = {
                    last_name(source_of(each))
                    for each in ast.walk(classes)
                    if isinstance(each, ast.Name | ast.Attribute)
                }
                return bool(names & {own.name, "LRScheduler", "_LRScheduler"})
            case ast.Compare(
                left=left,
                ops=[ast.Is() | ast.IsNot() | ast.Eq() | ast.NotEq() as op],
                comparators=[ast.Constant(None)],
            ) if self._is_owner(left, step):
                return isinstance(op, ast.IsNot | ast.NotEq)
            case ast.Call(func=ast.Name(id="hasattr"), args=[_, ast.Constant(str() as name)]) if name in (
                last_name(step.name),
                "step",
            ):
                return True
            case _ if self._is_owner(test, step):
                return True
        if names_in(test) & _locals(step) - {*self._evaluator.names}:
            return None
        value = self._evaluator.value_if_any(test)
        return None if isinstance(value, Unevaluated) else bool(value)

    def _is_owner(self, node: ast.expr, step: _Step) -> bool:
        return isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and (
            last_name(source_of(node)) == last_name(step.name)
        )

    def _check_together(self, steps: Sequence[_Step]) -> None:
        """Refuse a part that does not step all schedulers of the text equally often."""
        steps = [each for each in steps if each.key in self._by_key]
        keys = {each.key for each in steps}
        if keys and len(keys) < len(self._by_key):
            raise turns(steps[0])
        if len(keys) > 1:
            if len({tuple(map(id, each.loops)) for each in steps}) > 1:
                raise ValueError(
                    f"cannot read {first_line(steps[0].around)}: it steps one scheduler more often than "
                    "another. Convert them one at a time, and multiply their schedules, with "
                    "jaxlr.per_epoch for that of the epochs"
                )
            conditions = [
                {pair for each in steps if each.key == key for pair in each.conditions} for key in keys
            ]
            if any(each != conditions[0] for each in conditions):
                raise turns(steps[0])

    def _is_complete(self, place: _Place, step: _Step, steps: Sequence[_Step]) -> bool:
        """Check if the other parts of a condition step the scheduler too."""
        parts = {
            e.part for each in steps if each.key == step.key for e in each.places if e.node is place.node
        }
        match place.node:
            case ast.If() | ast.IfExp():
                return parts >= {"body", "orelse"}
            case ast.Match(cases=cases):
                return len(parts) == len(cases) and source_of(cases[-1].pattern) == "_"
        return False

    def _check_condition(self, place: _Place, step: _Step) -> None:
        """Refuse a step under a condition, unless the condition also decides about the training."""
        inside = place.node if place.part != "rest" else None
        branch = getattr(inside, place.part, []) if isinstance(place.node, ast.If) else []
        if place.part == "rest":
            branch = _after(place, step)
        if branch and self._functions.train(branch):
            return
        tests = (
            [ast.Constant(place.part)] if place.test is None else _parts(place.test, place.part == "body")
        )
        for test in tests:
            if place.test is not None and (
                self._truth(test, step) is not None or self._is_harmless(test, place, step)
            ):
                continue
            value = self._evaluator.value_if_any(test)
            if (
                place.test is not None
                and isinstance(value, Unevaluated)
                and self._is_setting(test, value, step)
            ):
                self._evaluator.value(test)  # its names are missing
                continue
            source = shorten(place.part if place.test is None else source_of(place.test))
            raise ValueError(
                f"cannot read {first_line(step.around)}: it steps {step.name} only if "
                f"{source if place.part == 'body' else f'not ({source})'}. Leave the {step.part} out if "
                "that always holds, else write the rates as a function of the epoch"
            )

    def _is_harmless(self, test: ast.expr, place: _Place, step: _Step) -> bool:
        """Check if a condition holds for each update, such as that of the training in another branch."""
        source = source_of(test)
        starts = source.endswith((" > 0", " >= 1", " != 0"))
        if starts and place.part == "body" and not self._has_trained(step, 0):
            return True  # at the start of the loop, `if epoch > 0: scheduler.step()` counts the epochs
        around = [each for each in ast.walk(step.around) if isinstance(each, ast.If)]
        same = [each.body for each in around if source_of(each.test) == source and each is not place.node]
        return bool(_HARMLESS.search(source)) or any(map(self._functions.train, same))

    def _is_setting(self, test: ast.expr, value: Unevaluated, step: _Step) -> bool:
        """Check if the value of a condition can be asked for: it is the same in all rounds of a loop."""
        names = {source_of(e) for e in ast.walk(test) if isinstance(e, ast.Name | ast.Attribute)}
        varies = any(is_count(last_name(e)) or last_name(e) in _RATES for e in names)
        pairs = [each for each in ast.walk(test) if isinstance(each, ast.Compare)]
        orders = any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for e in pairs for op in e.ops)
        varies |= orders and not any(isinstance(each, ast.Constant) for each in ast.walk(test))
        return bool(value.missing) and value.error is None and not (varies or names & _locals(step))

    def _has_trained(self, step: _Step, first: int) -> bool | None:
        """Check if the optimizer is stepped before the scheduler, or return None if nothing shows it.

        Args:
            step: the step of the scheduler.
            first: the place of the loop that counts.
        """
        before = [each for place in step.places[first:] for each in place.before]
        if self._functions.train(before):
            return True
        if self._functions.train([each.node for each in step.places[first:][:1]]):
            return False
        unknown = any(
            isinstance(call.func, ast.Name) and call.func.id != "print" for call in calls_in(before)
        )
        return True if unknown else None

    def _check_argument(self, step: _Step) -> None:
        """Refuse `scheduler.step(x)` unless x is proven to be the number of steps so far."""
        argument = step.argument
        if argument is None or (isinstance(argument, ast.Constant) and argument.value is None):
            return
        if any(isinstance(each, ast.Div) for each in ast.walk(argument)):
            own = self._by_key.get(step.key)  # pyright: ignore
            raise unreadable(
                step.call,
                f"it counts parts of an epoch. Multiply the epochs of {own.name if own else step.name} by "
                "the batches of an epoch and leave the loop out: a count is then a batch",
            )
        reason = f"its argument is not known to be the number of steps so far. Write {step.name}.step()"
        term, offset = _without_constant(argument)
        count = self._count(step, term)
        if count is not None:
            trained = self._has_trained(step, count.place)
            wanted = {0, 1} if trained is None else {int(trained)}
            if count.is_number and offset in wanted and (not trained or count.is_innermost):
                return  # the rate of an epoch is that of its number
            first = None if count.start is None else self._evaluator.value_if_any(count.start)
            if isinstance(first, Unevaluated) and first.missing:
                raise MissingNamesError(first.missing)
            if isinstance(first, int) and first + count.is_later + offset in wanted and count.is_innermost:
                return
            if trained and offset == 0 and (first == 0 or count.start is None):
                raise ValueError(
                    f"cannot read {quoted(step.call)}: after the steps of the optimizer it gives the "
                    f"first two epochs one rate. Write {step.name}.step(), or pass "
                    "schedule(max(epoch - 1, 0)) to jaxlr.lambda_lr"
                )
        raise unreadable(
            step.call, f"{reason}, or leave the {step.part} out: a count is then that argument"
        )

    def _count(self, step: _Step, term: ast.expr) -> "_Count | None":
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
                return _Count(index, is_innermost, start=_start(loop.iter)) if is_whole else None
        if outer:
            return None
        changes, values = self._functions.values(name)
        if not changes and is_count(last_name(name)):
            return _Count(0, True)
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
                return _Count(inner, True, changes[0] in place.before, start, is_number=False)
        return None


class _Count(NamedTuple):
    """A variable that counts."""

    place: int  # the index of the place of its loop
    is_innermost: bool  # True if it changes for each step
    is_later: bool = False  # True if it changes before the step
    start: ast.expr | None = None  # its first value
    is_number: bool = True  # True if its values number the epochs, whatever the first one is


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


def _without_constant(node: ast.expr) -> tuple[ast.expr, int]:
    """Return `epoch` and 1 for `epoch + 1`."""
    match node:
        case ast.BinOp(left=term, op=ast.Add(), right=ast.Constant(int() as offset)):
            return term, offset
        case ast.BinOp(left=ast.Constant(int() as offset), op=ast.Add(), right=term):
            return term, offset
        case ast.BinOp(left=term, op=ast.Sub(), right=ast.Constant(int() as offset)):
            return term, -offset
    return node, 0


def _several(step: _Step) -> ValueError:
    return ValueError(
        f"cannot read {first_line(step.around)}: it calls {step.name}.step() in several places. Leave the "
        f"{step.part} out: a count is then a call"
    )


def _after(place: _Place, step: _Step) -> list[ast.AST]:
    """Return the statements after `if test: continue` up to the step."""
    index = next(i for i, each in enumerate(step.places) if each is place)
    later = step.places[index + 1]
    place_of_guard = later.before
    start = next((i for i, e in enumerate(place_of_guard) if e is place.node), -1)
    block = getattr(later.node, later.part, [])
    return [*block[start + 1 :]]


def _parts(test: ast.expr, wanted: bool) -> list[ast.expr]:
    """Return the conditions that must all hold, or all fail, where a condition holds or fails."""
    match test:
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp() as operand):
            return _parts(operand, not wanted)
        case ast.BoolOp(op=op, values=values) if isinstance(op, ast.And if wanted else ast.Or):
            return [part for each in values for part in _parts(each, wanted)]
    return [test]


def _locals(step: _Step) -> set[str]:
    """Return the variables of the loops and functions around a step."""
    nodes = [each.node for each in step.places if isinstance(each.node, (*_LOOPS, ast.FunctionDef))]
    parameters = {each.arg for each in nodes_in(nodes) if isinstance(each, ast.arg)}
    return names_stored(nodes) | {each for each in parameters if is_count(each)}


def _exclude(one: _Step, other: _Step) -> bool:
    """Check if two steps are in different branches of a condition."""
    for first, second in zip(one.places, other.places, strict=False):
        if first.node is not second.node:
            return False
        if first.part != second.part:
            branches = ast.If | ast.IfExp | ast.Match
            return isinstance(first.node, branches)
    return False


def _check_dampened(steps: Sequence[_Step]) -> None:
    """Refuse steps of which one dampens the rate, but not around the others, as a `with` does."""
    dampening = [each for each in steps if called_name(each.call) in _DAMPENS]
    opened = {id(each.places[-1].node) for each in dampening if isinstance(each.places[-1].node, ast.With)}
    for step in steps:
        within = any(id(e.node) in opened and e.part == "body" for e in step.places)
        if dampening and not (id(step.places[-1].node) in opened or within):
            raise ValueError(
                f"cannot read {first_line(step.around)}: it dampens the rate, but not around the step of "
                f"the scheduler. Write the step inside of 'with {dampening[0].name}.dampening():'"
            )


def _is_stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)
