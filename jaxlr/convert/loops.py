"""The training loops of a text. A text is read if they are proven to step its schedulers once per count."""

import ast
import itertools
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence

from jaxlr._checks import shorten
from jaxlr.code.definitions import is_count
from jaxlr.code.expressions import Evaluator
from jaxlr.code.syntax import (
    arguments_of,
    called_name,
    calls_in,
    first_line,
    last_name,
    names_stored,
    nodes_in,
    source_of,
)
from jaxlr.code.values import Unevaluated, names_in
from jaxlr.convert.constructors import Constructor
from jaxlr.convert.counts import check_argument, count_of, has_trained, is_start, without_constant
from jaxlr.convert.errors import MissingNamesError
from jaxlr.convert.steps import (
    DAMPENS,
    LOOPS,
    AnyFunction,
    Functions,
    Place,
    Step,
    Walk,
    following,
    steps_in,
    turns,
)


_RATES = ("param_groups", "get_last_lr", "get_lr", "get_learning_rate", "lr", "cur_lr", "current_lr")
# Conditions that hold whenever the optimizer is stepped, such as that of a phase, or of an overflow.
_HARMLESS = re.compile(
    r"\b(is_)?train(ing)?\b(?! *\()|\bphase\b|\bmode\b|'(val|valid|test|eval)'|sync_gradients|accum"
    r"|overflow|get_scale|skip|finite|isnan|isinf|main_process|rank\b|is_last|%"
    r"|\b(i|idx|it|iter|iteration|step|\w*batch\w*)\b.* == len\(",
    re.IGNORECASE,
)
_EPOCH = re.compile(r"(?<!per_)epoch|\be\b|\bep\b", re.IGNORECASE)
_EPOCH_LENGTHS = re.compile(r"len\(|batch|per_epoch|epoch_(size|len)|iters|accum|loader", re.IGNORECASE)
_OVERFLOWS = re.compile("get_scale|overflow")
_STATES = ("get_last_lr", "get_lr", "last_epoch", "load_state_dict", "print_lr", "state_dict")


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
    functions = Functions(statements, by_name)
    names = (each for each in nodes_in(statements) if isinstance(each, ast.Name))
    walk = Walk(functions, by_name, evaluator, Counter(e.id for e in names if _is_stored(e)))
    check = _Check(functions, schedulers, evaluator)
    walk.block(ast.Module([*statements], []), "body", statements, {}, ())
    parts = [(walk.steps, True)]
    for function in functions.all:  # those that nothing in the text calls
        if function.name in functions.stepping and id(function) not in walk.reached | functions.inner:
            walk.steps = []
            walk.enter(function, {}, ())
            parts.append((walk.steps, constructs(function)))
    for steps, is_script in parts:
        check.phases(steps)
        check.loops(steps) if is_script else check.steps(steps)
    check.reached(walk.elsewhere)
    if not any(steps for steps, _ in parts):
        _check_used(statements, constructs)


def _check_used(statements: Sequence[ast.stmt], constructs: Callable[[ast.AST], bool]) -> None:
    """Refuse a scheduler that a text only constructs, though the text trains or returns something else."""
    used = _used(statements)
    functions = [each for each in nodes_in(statements) if isinstance(each, AnyFunction)]
    for body in [statements, *(each.body for each in functions)]:
        nodes = [*nodes_in(e for e in body if not isinstance(e, AnyFunction | ast.ClassDef))]
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


class _Check:
    """The checks of the steps in one part of a text."""

    def __init__(self, functions: Functions, schedulers: Sequence[Constructor], evaluator: Evaluator):
        self._functions, self._evaluator = functions, evaluator
        self._by_key: dict[int | str, Constructor] = {
            id(each): each for each in schedulers if "Plateau" not in each.name
        }
        self._plateaus = {id(each) for each in schedulers} - self._by_key.keys()
        self._found: dict[int | str, Step] = {}
        self._reached: set[int | str] = set()

    def phases(self, steps: Sequence[Step]) -> None:
        """Refuse loops that only step before the training, and loops that only train before the steps."""
        for step in steps:
            loop = step.loops[0] if step.loops else None
            if step.key not in self._by_key or not isinstance(loop, ast.For | ast.While):
                continue
            around = step.places[: next(i for i, e in enumerate(step.places) if e.node is loop)]
            if any(each.is_conditional for each in around):  # such as that of a resume
                continue
            after = following(around)
            is_forward = self._functions.are_idle([loop]) and not self._functions.train_visibly([loop])
            is_stored = last_name(step.name) in map(last_name, names_stored(after))
            if is_forward and not is_stored and self._functions.train_visibly(after):
                if number := self._num_turns(loop):
                    raise ValueError(
                        f"cannot read {first_line(loop)}: it steps {step.name} before the training. Leave "
                        f"the loop out, and shift the schedule with jaxlr.starting_at(schedule, {number})"
                    )
            elif phase := self._phase_without_steps(step, around):
                raise ValueError(
                    f"cannot read {first_line(phase)}: it trains without steps of {step.name}. Leave the "
                    "loop out, and keep the first rate for its n epochs with "
                    "jaxlr.sequential_lr([optax.constant_schedule(schedule(0)), schedule], [n])"
                )

    def _num_turns(self, loop: ast.For | ast.While) -> int | str:
        """Return the number of the turns of a loop, as text if it is unknown. A setting is asked for."""
        match loop:
            case ast.For(iter=ast.Call(args=[items, *_]) as call) if called_name(call) == "tqdm":
                return self._num_turns(ast.For(loop.target, items, [], []))
            case ast.For(iter=ast.Call(func=ast.Name(id="range" | "trange"), args=[end])):
                if any(
                    isinstance(each, ast.Constant) and each.value == 0
                    for each in self._functions.values(source_of(end))[1]
                ):
                    return 0  # a training from the start
                value = self._evaluator.value_if_any(end)
                if isinstance(value, Unevaluated) and value.missing:
                    raise MissingNamesError(value.missing)
                return value if isinstance(value, int) else shorten(source_of(end))
            case _:
                return "n"

    def _phase_without_steps(self, step: Step, around: Sequence[Place]) -> ast.stmt | None:
        """Return a loop between the constructor and the first step that steps the optimizer."""
        before = [each for place in around for each in place.before]
        made = [i for i, e in enumerate(before) if isinstance(e, ast.Assign) and _assigns(e, step.name)]
        if not made:
            return None
        constructor = before[made[-1]]
        optimizer = next(iter(arguments_of(next(iter(calls_in([constructor]))))), None)
        if not isinstance(optimizer, ast.Name | ast.Attribute):
            return None
        for loop in before[made[-1] + 1 :]:
            if isinstance(loop, ast.For | ast.While) and self._num_turns(loop) != 0:
                owners = [owner for owner, _ in steps_in(loop)]
                given = (e for c in calls_in([loop]) if self._functions.train([c]) for e in arguments_of(c))
                trains = source_of(optimizer) in [*owners, *map(source_of, given)]
                if trains and step.name not in owners:
                    return loop
        return None

    def loops(self, steps: Sequence[Step]) -> None:
        """Check the steps of a script, of which each loop is a part."""
        groups = dict[int, list[Step]]()
        for step in steps:
            if step.loops:  # else it is a statement that the program follows
                first = next(i for i, e in enumerate(step.places) if e.node is step.loops[0])
                group = groups.setdefault(id(step.loops[0]), [])
                group.append(step._replace(places=step.places[first:]))
        for group in groups.values():
            self.steps(group)

    def steps(self, steps: Sequence[Step]) -> None:
        """Check the steps of one part: a loop, or a function that is called for each count."""
        # Plateaus count the metrics. Where there are only plateaus, a step of any name is that of one.
        steps = [each for each in steps if each.key not in self._plateaus and self._by_key]
        if len({each.key for each in steps}) == len(self._by_key) == 1:  # whatever its name is here
            steps = [each._replace(key=key) for each in steps for key in self._by_key]
        if any(each.key in self._by_key for each in steps):  # the others are of other optimizers
            steps = [each for each in steps if each.key in self._by_key]
        live = [each for each in map(self._live, steps) if each is not None]
        self._found |= {each.key: each for each in steps}
        self._reached |= {each.key for each in live}
        _check_dampened(live)
        self._check_together(live)
        for step in live:
            check_argument(step, self._class_name(step), self._functions, self._evaluator)
            *_, outer, inner = [None, None, *step.loops]
            if inner and outer and not self._functions.train([inner]) and self._functions.train([outer]):
                raise _several(step)
        for one, other in itertools.combinations(live, 2):
            apart = one.loops and other.loops and one.loops[0] is not other.loops[0]
            if one.key == other.key and not apart and not _exclude(one, other):
                first, second = self._updates(one), self._updates(other)
                if not (first and second and first != second):  # else each follows an update of its own
                    raise _several(one)
        for step in live:
            for place in step.places:
                if place.is_conditional and not self._is_complete(place, step, live):
                    self._check_condition(place, step)

    def _updates(self, step: Step) -> list[int]:
        """Return the steps of an optimizer in the block of a step, such as for the last batches."""
        blocks = [getattr(each.node, each.part, None) for each in step.places]
        block = next((each for each in reversed(blocks) if isinstance(each, list)), [])
        calls = (call for each in block if not isinstance(each, LOOPS) for _, call in steps_in(each))
        return [id(call) for call in calls if id(call) not in self._functions.steps]

    def reached(self, elsewhere: Collection[int | str]) -> None:
        """Refuse a scheduler whose steps are never reached, if nothing elsewhere may step it."""
        for key in self._found.keys() - self._reached - {*elsewhere}:
            step = self._found[key]
            raise ValueError(
                f"cannot read {first_line(step.around)}: with these values it never steps {step.name}. "
                "Leave the scheduler out, or give the values with which it is stepped"
            )

    def _live(self, step: Step) -> Step | None:
        """Return a step without the conditions that always hold, or None if it is never reached."""
        places: list[Place] = []
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
            step.argument is not None
            and count_of(live, without_constant(step.argument)[0], self._functions) is None
        )
        return None if is_metric and any("plateau" in each for each in tests) else live

    def _truth(self, test: ast.expr, step: Step) -> bool | None:
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
                self._is_owner(owner, step) and step.key in self._by_key
            ):
                names = (each for each in ast.walk(classes) if isinstance(each, ast.Name | ast.Attribute))
                bases = (self._class_name(step), "LRScheduler", "_LRScheduler")
                return any(last_name(source_of(each)) in bases for each in names)
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

    def _class_name(self, step: Step) -> str:
        own = self._by_key.get(step.key)
        return step.name if own is None else own.name

    def _is_owner(self, node: ast.expr, step: Step) -> bool:
        return isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and (
            last_name(source_of(node)) == last_name(step.name)
        )

    def _check_together(self, steps: Sequence[Step]) -> None:
        """Refuse a part that does not step all schedulers of the text equally often."""
        keys = {each.key for each in steps}
        if keys & self._by_key.keys() and len(keys) < len(self._by_key):
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

    def _is_complete(self, place: Place, step: Step, steps: Sequence[Step]) -> bool:
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

    def _check_condition(self, place: Place, step: Step) -> None:
        """Refuse a step under a condition, unless the condition also decides about the training.

        The value of a setting is asked for.
        """
        branch = _after(place, step) if place.part == "rest" else getattr(place.node, place.part, None)
        if isinstance(branch, list) and self._functions.train(branch):
            return
        if place.test is None:
            condition = f"in its {place.part}"
        else:
            is_wanted = place.part == "body"
            if all(self._is_allowed(each, place, step) for each in _parts(place.test, is_wanted)):
                return
            source = shorten(source_of(place.test))
            condition = f"if {source}" if is_wanted else f"if not ({source})"
            if "%" in source and " or " not in source:
                raise ValueError(
                    f"cannot read {first_line(step.around)}: it steps {step.name} every n turns, "
                    f"{condition}. Leave the {step.part} out, and stretch the schedule with "
                    "jaxlr.per_epoch(schedule, n), in jaxlr.starting_at(..., n - 1) if the first turn "
                    "steps it"
                )
        raise ValueError(
            f"cannot read {first_line(step.around)}: it steps {step.name} only {condition}. Leave the "
            f"{step.part} out if that always holds, else write the rates as a function of the epoch"
        )

    def _is_allowed(self, test: ast.expr, place: Place, step: Step) -> bool:
        """Check if a condition is known or harmless, or ask for its value if it is a setting."""
        if self._truth(test, step) is not None or self._is_harmless(test, place, step):
            return True
        value = self._evaluator.value_if_any(test)
        is_setting = isinstance(value, Unevaluated) and self._is_setting(test, value, step)
        if is_setting:
            self._evaluator.value(test)  # its names are missing
        return is_setting

    def _is_harmless(self, test: ast.expr, place: Place, step: Step) -> bool:
        """Check if a condition holds for each update, such as that of the training in another branch."""
        source = source_of(test)
        if is_start(place._replace(test=test)) and not has_trained(step, 0, self._functions):
            return True  # at the start of the loop, `if epoch > 0: scheduler.step()` counts the epochs
        around = [each for each in ast.walk(step.around) if isinstance(each, ast.If)]
        same = [each.body for each in around if source_of(each.test) == source and each is not place.node]
        values = [value for name in names_in(test) for value in self._functions.values(name)[1]]
        is_overflow = any(_OVERFLOWS.search(source_of(each)) for each in values)
        is_known = bool(_HARMLESS.search(source)) and not self._is_rare(test, step)
        return is_overflow or is_known or any(map(self._functions.train, same))

    def _is_rare(self, test: ast.expr, step: Step) -> bool:
        """Check if a condition such as `epoch % 5 == 0` holds in some turns, all of which train."""
        rests = [e for e in ast.walk(test) if isinstance(e, ast.BinOp) and isinstance(e.op, ast.Mod)]
        if not rests or not step.loops or not self._functions.train(step.loops[-1:]):
            return False
        is_or = any(isinstance(each, ast.Or) for each in ast.walk(test))
        return is_or or any(not _is_end_of_epoch(each) for each in rests)

    def _is_setting(self, test: ast.expr, value: Unevaluated, step: Step) -> bool:
        """Check if the value of a condition can be asked for: it is the same in all rounds of a loop."""
        names = {source_of(e) for e in ast.walk(test) if isinstance(e, ast.Name | ast.Attribute)}
        varies = any(is_count(last_name(e)) or last_name(e) in _RATES for e in names)
        pairs = [each for each in ast.walk(test) if isinstance(each, ast.Compare)]
        orders = any(isinstance(op, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for e in pairs for op in e.ops)
        varies |= orders and not any(isinstance(each, ast.Constant) for each in ast.walk(test))
        return bool(value.missing) and value.error is None and not (varies or names & _locals(step))


def _is_end_of_epoch(rest: ast.BinOp) -> bool:
    """Check if a rest is 0 once per epoch of a loop over batches, or per update: `step % len(loader)`."""
    return not _EPOCH.search(source_of(rest.left)) and bool(_EPOCH_LENGTHS.search(source_of(rest.right)))


def _assigns(statement: ast.Assign, name: str) -> bool:
    return name in map(source_of, statement.targets) and isinstance(statement.value, ast.Call)


def _several(step: Step) -> ValueError:
    return ValueError(
        f"cannot read {first_line(step.around)}: it calls {step.name}.step() in several places. Leave the "
        f"{step.part} out: a count is then a call"
    )


def _after(place: Place, step: Step) -> list[ast.AST]:
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


def _locals(step: Step) -> set[str]:
    """Return the variables of the loops and functions around a step."""
    found: set[str] = set()
    for node in (each.node for each in step.places):
        if isinstance(node, (*LOOPS, ast.FunctionDef, ast.AsyncFunctionDef)):
            if "_locals" not in node.__dict__:  # a long loop is asked for it by each condition in it
                parameters = {each.arg for each in ast.walk(node) if isinstance(each, ast.arg)}
                node.__dict__["_locals"] = names_stored([node]) | {e for e in parameters if is_count(e)}
            found |= node.__dict__["_locals"]
    return found


def _exclude(one: Step, other: Step) -> bool:
    """Check if two steps are in different branches of a condition."""
    for first, second in zip(one.places, other.places, strict=False):
        if first.node is not second.node:
            return False
        if first.part != second.part:
            branches = ast.If | ast.IfExp | ast.Match
            return isinstance(first.node, branches)
    return False


def _check_dampened(steps: Sequence[Step]) -> None:
    """Refuse steps of which one dampens the rate, but not around the others, as a `with` does."""
    dampening = [each for each in steps if called_name(each.call) in DAMPENS]
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
