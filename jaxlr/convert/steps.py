"""The steps of the schedulers in a text, found along its statements and through its own functions."""

import ast
import functools
import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

from jaxlr.code.builders import substituted
from jaxlr.code.expressions import Evaluator
from jaxlr.code.scripts import NAME_OF_SCHEDULER
from jaxlr.code.spellings import as_conditions
from jaxlr.code.syntax import (
    arguments_of,
    called_name,
    calls_in,
    first_line,
    last_name,
    nodes_in,
    parameters_of,
    source_of,
    unreadable,
)
from jaxlr.convert.variables import constructors_in


DAMPENS = ("dampening", "dampen")
LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.GeneratorExp)
AnyFunction = ast.FunctionDef | ast.AsyncFunctionDef
_LIKE_SCHEDULER = re.compile(r"sched|warm|(^|_)lr(_|$)", re.IGNORECASE)
_HOOKS = re.compile("add_event|register|attach")  # methods that are given the step, as that of ignite
_MOST_CALLS = 200  # of functions that step
_MOST_NODES = 200  # of an expression in the place of a name: it may double with each assignment
_OPTIMIZERS = re.compile("opt|scaler|engine|adam|sgd|^o$", re.IGNORECASE)  # objects whose step is an update
_LOADERS = re.compile("^(?!.*(val|test|eval)).*(loader|batches|dataset)", re.IGNORECASE)
# Functions that are given an optimizer and train nothing, and others that train nothing.
_KEEPS = re.compile("save|load|log|print|eval|valid|test|adjust|lr|zero|clip|sched", re.IGNORECASE)
_IDLE = re.compile(
    "print|log|info|debug|write|time|set_epoch|save|adjust|_lr|"
    "^(len|range|int|float|str|format|join|list|dict|max|min|round|train|eval|append|zero_grad|step|item"
    "|tqdm|trange|enumerate|state_dict|reset)$"
)


class Place(NamedTuple):
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


Places = tuple[Place, ...]


class Step(NamedTuple):
    """A step of a scheduler, with all that is around it."""

    call: ast.Call
    name: str
    key: int | str  # the id of the scheduler, or the name of an unknown one
    places: tuple[Place, ...]  # around the step, from the outermost
    argument: ast.expr | None

    @property
    def loops(self) -> list[ast.AST]:
        """The loops around the step, from the outermost."""
        loops = {id(e.node): e.node for e in self.places if isinstance(e.node, LOOPS)}
        return [*loops.values()]

    @property
    def conditions(self) -> set[tuple[int, str]]:
        """The parts of conditions that contain the step."""
        return {(id(each.node), each.part) for each in self.places if each.is_conditional}

    def before_and_after(self, first: int) -> tuple[list[ast.AST], list[ast.AST]]:
        """Return the statements before and after the step in its turn, from the place of a loop on."""
        blocks = {(id(each.node), each.part): each for each in self.places[first:]}
        before = [each for place in blocks.values() for each in place.before]
        return before, following([*blocks.values()])

    @property
    def around(self) -> ast.stmt:
        """The innermost function, or the outermost loop, as the statement of an error message."""
        nodes = [each.node for each in self.places]
        functions = [each for each in nodes if isinstance(each, AnyFunction)]
        loops = [each for each in nodes if isinstance(each, ast.For | ast.While)]
        return [*loops[:1], *functions][-1] if functions or loops else ast.Expr(self.call)

    @property
    def part(self) -> str:
        """The word for that statement."""
        return "function" if isinstance(self.around, AnyFunction) else "loop"


def following(places: Sequence[Place]) -> list[ast.AST]:
    """Return the statements after those of the places, in the same blocks."""
    blocks = ((getattr(each.node, each.part, None), len(each.before)) for each in places)
    return [each for block, index in blocks if isinstance(block, list) for each in block[index + 1 :]]


def steps_in(node: ast.AST) -> list[tuple[str, ast.Call]]:
    """Return the calls that step something in a part of a text, each with its owner.

    They are those of `step`, and those of a warmup of pytorch_warmup: `dampening`, and the older `dampen`.
    """
    return [
        (source_of(call.func.value), call)
        for call in calls_in([node])
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("step", *DAMPENS)
    ]


def turns(step: Step) -> ValueError:
    """Return the error about a loop or function that does not step all schedulers of the text."""
    return ValueError(
        f"cannot read {first_line(step.around)}: it does not step all schedulers at once. Write them as "
        "one SequentialLR, with the epochs of the change as milestones"
    )


def before_training(call: ast.Call, part: str) -> ValueError:
    """Return the error about a step that the first turn takes before it trains."""
    return unreadable(
        call,
        "it is before the training: torch since 1.1 trains the first epoch with the second rate. Move it "
        f"behind the training for the rates of older torch, or leave the {part} out and use "
        "jaxlr.starting_at(schedule, 1) for torch's rates today",
    )


class Functions:
    """The functions and classes of a text, by the calls that reach them."""

    def __init__(self, statements: Sequence[ast.stmt], known: Collection[str]):
        nodes = list(nodes_in(statements))
        classes = [each for each in nodes if isinstance(each, ast.ClassDef)]
        own = {id(e) for each in classes if NAME_OF_SCHEDULER.search(each.name) for e in each.body}
        functions = [each for each in nodes if isinstance(each, AnyFunction) and id(each) not in own]
        self.all: list[AnyFunction] = functions
        self._classes = {
            owner.name: {each.name: each for each in owner.body if isinstance(each, AnyFunction)}
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
        self.stepping: set[str] = self._reaching(self._steps)
        self.steps: set[int] = set()  # the ids of the calls that step a scheduler
        called = (self.called(call, each) for each in functions for call in calls_in(each.body))
        # The ids of the functions that another one calls.
        self.inner: set[int] = {id(each) for each in called if each is not None}

    @functools.cached_property
    def per_batch(self) -> bool:
        """True if a mapping says that Lightning steps per batch, and not per epoch."""
        return any(isinstance(each, ast.Constant) and each.value == "step" for each in self._nodes)

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
        if not isinstance(call.func, ast.Attribute) or call.func.attr not in ("step", *DAMPENS):
            return False
        owner = source_of(call.func.value)
        return owner in self._known or "opt" not in owner.lower()

    def called(self, call: ast.Call, inside: AnyFunction | None) -> AnyFunction | None:
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

    def is_method(self, function: AnyFunction) -> bool:
        """Check if a function takes its object first."""
        return id(function) in self._owners and not function.decorator_list

    def train(self, nodes: Sequence[ast.AST]) -> bool:
        """Check if a part of the text steps an optimizer, itself or in a function."""
        return any(self._trains(call) or called_name(call) in self._training for call in calls_in(nodes))

    @functools.cached_property
    def _training(self) -> set[str]:
        return self._reaching(self._trains)

    def train_visibly(self, nodes: Sequence[ast.AST]) -> bool:
        """Check if a part of the text trains by all that is known: a loop over a loader may do so."""
        loops = (each for each in nodes_in(nodes) if isinstance(each, ast.For))
        is_loader = any(_LOADERS.search(source_of(each.iter)) for each in loops)
        calls = calls_in(nodes)
        return (
            is_loader
            or self.update(nodes)
            or any(called_name(each) == "backward" or _is_training(each) for each in calls)
        )

    def update(self, nodes: Sequence[ast.AST]) -> bool:
        """Check if a part of the text steps what is an optimizer by its name."""
        return any(self._updates(call) or called_name(call) in self._updating for call in calls_in(nodes))

    @functools.cached_property
    def _updating(self) -> set[str]:
        return self._reaching(self._updates)

    def _updates(self, call: ast.Call) -> bool:
        match call.func:
            case ast.Attribute(attr="step", value=owner):
                return self._trains(call) and bool(_OPTIMIZERS.search(source_of(owner)))
            case _:
                return False

    def are_idle(self, nodes: Sequence[ast.AST]) -> bool:
        """Check if all calls in a part of the text are known to train nothing."""
        plain = {each.name for each in self.all} - self._training
        names = (called_name(call) for call in calls_in(nodes))
        return all(_IDLE.search(each) or each in plain for each in names)

    def _trains(self, call: ast.Call) -> bool:
        if not isinstance(call.func, ast.Attribute):
            return _trains_by_name(call)
        owner = source_of(call.func.value)
        is_step = call.func.attr == "step" and id(call) not in self.steps
        is_step = is_step and not _LIKE_SCHEDULER.search(last_name(owner))
        return is_step or call.func.attr == "backward" or _trains_by_name(call)


def _trains_by_name(call: ast.Call) -> bool:
    """Check if a function trains, by its name or because it is given an optimizer."""
    objects = (each for each in arguments_of(call) if isinstance(each, ast.Name | ast.Attribute))
    is_given = any("optim" in last_name(source_of(each)) for each in objects)
    return (is_given and not _KEEPS.search(source_of(call.func))) or _is_training(call)


def _is_training(call: ast.Call) -> bool:
    """Check if a function trains by its name. `model.train(True)` only sets the mode."""
    is_mode = isinstance(call.func, ast.Attribute) and all(
        isinstance(each, ast.Constant) and isinstance(each.value, bool) for each in arguments_of(call)
    )
    return called_name(call).startswith("train") and not is_mode


def _is_short(node: ast.expr) -> bool:
    return sum(1 for _ in itertools.islice(ast.walk(node), _MOST_NODES + 1)) <= _MOST_NODES


class Walk:
    """The steps of a text, found along its statements and through its own functions."""

    def __init__(
        self,
        functions: Functions,
        schedulers: Mapping[str, int],
        evaluator: Evaluator,
        stores: Mapping[str, int],
    ):
        self._functions, self._schedulers, self._evaluator = functions, schedulers, evaluator
        self._stores = stores  # how often the text assigns each name
        self._inside: list[AnyFunction] = []
        self._num_calls = 0
        self.steps: list[Step] = []
        self.reached: set[int] = set()  # ids of functions
        self.elsewhere: set[int | str] = set()  # the schedulers that something else may step
        self._attributes: dict[str, ast.expr] = {}  # those of objects that are given a scheduler

    def enter(self, function: AnyFunction, values: dict[str, ast.expr], places: Places) -> None:
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
        places: Places,
        test: ast.expr | None = None,
    ) -> None:
        """Follow statements. After `if test: continue`, the others are those under its `else`."""
        for index, each in enumerate(statements):
            inside = (*places, Place(owner, part, statements[:index], test))
            self._statement(each, values, inside)
            match each:
                case ast.If(test=guard, body=[*_, ast.Continue() | ast.Return() as end], orelse=[]) if (
                    isinstance(end, ast.Continue) or isinstance(owner, AnyFunction)
                ):
                    places = (*inside, Place(each, "rest", (), substituted(guard, values)))
                case _:
                    pass

    def _statement(self, statement: ast.stmt, values: dict[str, ast.expr], places: Places) -> None:
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
            case (
                ast.For(target=target, iter=items, body=body, orelse=orelse)
                | ast.AsyncFor(target=target, iter=items, body=body, orelse=orelse)
            ):
                self._expression(items, values, places)
                keys = self._bind_each(target, items, values)
                if len(keys) > 1 and any(isinstance(e, ast.For | ast.While) for e in nodes_in(body)):
                    raise turns(
                        Step(ast.Call(target, [], []), "", "", (*places, Place(statement, "")), None)
                    )
                self.block(ast.Module([], []) if keys else statement, "body", body, values, places)
                self.block(statement, "else", orelse, values, places)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                pass
            case ast.Expr(value=ast.Call(func=ast.Attribute(attr=method)) as call) if _HOOKS.match(method):
                steps = (e for e in nodes_in([call]) if isinstance(e, ast.Attribute) and e.attr == "step")
                keys = {key for each in steps for key in self._keys(each.value) or []}
                if keys and "_STARTED" in source_of(call):  # an event of ignite
                    raise before_training(call, "line")
                self.elsewhere |= keys
            case _:
                for name, field in ast.iter_fields(statement):
                    parts = field if isinstance(field, list) else [field]
                    if inner := [each for each in parts if isinstance(each, ast.stmt)]:
                        self.block(statement, name, inner, values, places)
                        continue
                    nodes = [each for each in parts if isinstance(each, ast.AST)]
                    for index, each in enumerate(nodes):
                        inside = (*places, Place(statement, f"{name} {index}"))
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
                if _is_short(expanded := substituted(value, values)):
                    values[name] = expanded
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
            if keys and isinstance(name, ast.Name) and not name.id.startswith("o"):  # optimizer, o
                values[name.id] = every
                found += keys
        return found

    def _expression(self, node: ast.AST, values: dict[str, ast.expr], places: Places) -> None:
        match node:
            case ast.IfExp(test=test, body=body, orelse=orelse):
                self._expression(test, values, places)
                test = substituted(test, values)
                self._expression(body, values, (*places, Place(node, "body", (), test)))
                self._expression(orelse, values, (*places, Place(node, "orelse", (), test)))
            case ast.BoolOp(op=op, values=[first, *rest]):
                self._expression(first, values, places)
                part, before = "body" if isinstance(op, ast.And) else "orelse", [first]
                for each in rest:
                    test = before[0] if len(before) == 1 else ast.BoolOp(op, [*before])
                    place = Place(ast.IfExp(test, each, each), part, (), substituted(test, values))
                    self._expression(each, values, (*places, place))
                    before.append(each)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                own = {**values}
                for each in node.generators:
                    if not self._bind_each(each.target, each.iter, own):
                        places = (*places, Place(node, "elt"))
                    tests = (substituted(test, own) for test in each.ifs)
                    places = (*places, *(Place(each, "body", (), test) for test in tests))
                self._expression(element, own, places)
            case ast.Call(func=ast.Attribute(attr="step", value=owner)):
                self._step(node, owner, values, places)
                for each in [*arguments_of(node), owner]:
                    self._expression(each, values, places)
            case ast.Call(func=ast.Attribute(attr=attr, value=owner)) if attr in DAMPENS:
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

    def _call(self, call: ast.Call, values: dict[str, ast.expr], places: Places) -> None:
        """Follow a call of a function of the text that steps."""
        inside = self._inside[-1] if self._inside else None
        function = self._functions.called(call, inside)
        if function is None:
            given = (self._keys(substituted(each, values)) for each in arguments_of(call))
            self.elsewhere |= {key for keys in given for key in keys or []}
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
        own = {k: v for k, v in own.items() if _is_short(v)}
        own |= {k: v for k, v in defaults.items() if k not in given and isinstance(v, ast.Constant)}
        for each in function.body if function.name == "__init__" else ():
            match each:
                case ast.Assign(targets=[ast.Attribute() as target], value=ast.Name(id=name)) if (
                    name in own
                ):
                    if self._keys(own[name]):
                        self._attributes[source_of(target)] = own[name]
                case _:
                    pass
        if function.name not in self._functions.stepping or function in self._inside:
            return
        lost = [v for k, v in given.items() if k not in names] + [*call.args[len(names) :]]
        if any(self._keys(substituted(each, values)) for each in lost):
            raise unreadable(
                call, "it is not shown which parameter is the scheduler. Write the parameters out"
            )
        self.enter(function, {k: v for k, v in own.items() if source_of(v) != k}, places)

    def _step(self, call: ast.Call, owner: ast.expr, values: dict[str, ast.expr], places: Places) -> None:
        keys, is_picked = self._resolved(substituted(owner, values))
        if not keys:  # a parameter may stand for what is a scheduler by the name of the parameter only
            keys, is_picked = self._resolved(owner)
        if is_picked and len(keys) > 1:
            raise turns(Step(call, "", "", places, None))
        first = next((each.value for each in call.keywords if each.arg in ("epoch", "metrics")), None)
        argument = call.args[0] if call.args else first
        if argument is not None:
            argument = substituted(argument, values)
        self._functions.steps |= {id(call)} if keys else set()
        for key in keys:
            self.steps.append(Step(call, source_of(owner), key, places, argument))

    def _resolved(self, node: ast.expr) -> tuple[list[int | str], bool]:
        """Return the schedulers that an expression stands for, and True if it picks one of them."""
        node = self._attributes.get(source_of(node), node)
        match node:
            case ast.IfExp(body=body, orelse=orelse):
                return [*self._resolved(body)[0], *self._resolved(orelse)[0]], True
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return [key for each in elements for key in self._resolved(each)[0]], False
            case ast.Starred(value=value):
                defined = self._evaluator.definition(value)
                return self._resolved(defined if isinstance(defined, ast.List) else value)
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
        return sorted(constructors_in(value)) or None

    def _unknown(self, node: ast.expr) -> tuple[list[int | str], bool]:
        """Return the key of what is a scheduler by its name: that of another one with this name, or it."""
        name = last_name(source_of(node))
        if not _LIKE_SCHEDULER.search(name) or "opt" in name.lower():
            return [], False
        same = {each for key, each in self._schedulers.items() if last_name(key) == name}
        return [same.pop() if len(same) == 1 else name], False
