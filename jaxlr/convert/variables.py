"""The variables of a script whose values are not known any more, because a statement changed them."""

import ast
import re
from collections.abc import Collection, Sequence
from typing import Any

from jaxlr.code.definitions import Function
from jaxlr.code.expressions import Evaluator
from jaxlr.code.methods import changes, only_reads
from jaxlr.code.syntax import arguments_of, first_line, last_name, nodes_in, quoted, source_of
from jaxlr.code.values import Unevaluated, collections_in, values_in
from jaxlr.convert.class_names import NAME_OF_SCHEDULER
from jaxlr.convert.constructors import Constructor


# Calls that may be given a scheduler, because they do not change it.
_HARMLESS_CALLS = ("print", "info", "debug", "log", "warning", "plot", "isinstance", "len")
# Functions that step it, and those that keep it for later.
_TRAINS = re.compile(r"(^|_)(train|trainer|fit|evaluate|validate|test|save|register)(_|$)")


class Variables:
    """The variables of a script. The use of one whose value was forgotten is an error.

    Args:
        evaluator: holds their values.
        builders: the functions whose statements are followed, by their names.
    """

    def __init__(self, evaluator: Evaluator, builders: Collection[str]):
        self._evaluator, self._builders = evaluator, builders

    def collection(self, node: ast.expr) -> Any:
        """Return the list or mapping of the text that an expression stands for, or None.

        An item of a list, whose index is not known, stands for the list.
        """
        assigned, root = self._evaluator.assigned, node
        while source_of(root) not in assigned and isinstance(
            root, ast.Attribute | ast.Subscript | ast.Call
        ):
            root = root.func if isinstance(root, ast.Call) else root.value  # cfg.get("optimizer")["lr"]
        if isinstance(assigned.get(source_of(root)), list | dict):
            for each in (node, root):
                if isinstance(value := self._evaluator.value_if_any(each), list | dict):
                    return value
                if not isinstance(value, Unevaluated):
                    return None
        return None

    def forget(self, name: str, error: ValueError | None, missing: Sequence[str] = ()) -> None:
        """Take a name's value away, because it is not known from here on."""
        self._evaluator.assigned[name] = Unevaluated(ast.Name(name, ast.Load()), [*missing], error)

    def check_not_given(self, node: ast.expr, statement: ast.stmt) -> None:
        """Refuse a function that changes a scheduler or a value of `names`."""
        if isinstance(self._evaluator.assigned.get(source_of(node)), Constructor):
            raise ValueError(
                f"cannot read {first_line(statement)}: it changes a scheduler. Convert the live object "
                "with from_torch"
            )
        if source_of(node) in self._evaluator.names:
            raise ValueError(
                f"names gives a value for {quoted(node)}, but {first_line(statement)} changes it: leave "
                "that line out, and give the value after it"
            )

    def forget_bound(self, statement: ast.stmt) -> None:
        """Forget the values that the imports, functions, classes and patterns in a statement replace."""
        for each in ast.walk(statement):
            match each:
                case ast.alias(name=name, asname=other):
                    name = other or name
                case (
                    ast.FunctionDef(name=name)
                    | ast.AsyncFunctionDef(name=name)
                    | ast.ClassDef(name=name)
                    | ast.MatchAs(name=str() as name)
                    | ast.ExceptHandler(name=str() as name)
                ):
                    pass
                case _:
                    continue
            if name in self._evaluator.assigned:
                self.forget(name, used_later(statement))

    def forget_changed(self, statement: ast.stmt) -> None:
        """Forget the value of each list and mapping that a statement may change."""
        for each in ast.walk(statement):
            match each:
                case ast.Call(func=ast.Attribute(value=owner, attr=method)) if not only_reads(method):
                    owners = [owner, *each.args]
                case ast.Call(func=func, args=args) if not is_harmless(func):
                    owners = args
                case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                    owners = [owner]
                case _:
                    continue
            for owner in owners:
                self._forget_collection(owner, statement)

    def forget_effects(self, statement: ast.stmt) -> None:
        """Forget the values that the expressions of a statement change, besides the names it assigns."""
        inner = ast.stmt | ast.excepthandler | ast.match_case
        for each in nodes_in(e for e in ast.iter_child_nodes(statement) if not isinstance(e, inner)):
            match each:
                case ast.NamedExpr(target=target):
                    self.forget(target.id, used_later(statement))
                case ast.Call(func=ast.Attribute(value=owner, attr=method)) if changes(method):
                    if each is not getattr(statement, "value", None):  # which is followed
                        self._forget_collection(owner, statement)
                case ast.Call(func=func):
                    changing = self._forget_outside(source_of(func), statement, set())
                    for argument in arguments_of(each) if changing else ():
                        self._forget_collection(argument, statement, is_deep=True)
                        for name in self._evaluator.assigned[source_of(func)].outside_changes.attributes:
                            self.check_not_given(ast.Attribute(argument, name), statement)
                case _:
                    pass

    def _forget_outside(self, name: str, statement: ast.stmt, seen: set[str]) -> bool:
        """Forget the values around a function of the text that a call of it changes.

        Return True if it also changes its arguments.
        """
        function = self._evaluator.assigned.get(name)
        if not isinstance(function, Function) or name in seen:
            return False
        seen.add(name)
        changed = function.outside_changes
        for each in changed.names:
            self.forget(each, used_later(statement))
        for each in changed.owners:
            self.check_not_given(each, statement)
        is_followed = name in self._builders
        for owner in () if is_followed else changed.owners:
            self._forget_collection(owner, statement)
        inner = [self._forget_outside(each, statement, seen) for each in changed.calls]
        return not is_followed and (changed.arguments or any(inner))

    def _forget_collection(self, owner: ast.expr, statement: ast.stmt, is_deep: bool = False) -> None:
        """Forget the value of each name that holds a list or mapping, or one of those in it."""
        value = self.collection(owner)
        if value is None:
            return
        changed = collections_in([value]) if is_deep else {id(value)}
        for name, held in [*self._evaluator.assigned.items()]:
            if not isinstance(held, list | dict):
                continue
            self._evaluator.spend(1)
            if changed & collections_in([held]) and not constructors_in(held):
                reason = "which may change a list or mapping that is used later"
                self.forget(name, ValueError(f"cannot read {first_line(statement)}, {reason}"))


def used_later(statement: ast.stmt) -> ValueError:
    return ValueError(f"cannot read {first_line(statement)}, which assigns a name that is used later")


def is_harmless(func: ast.expr) -> bool:
    """Check if a function does not change what it is given, or only trains with it."""
    name = last_name(source_of(func))
    return name in _HARMLESS_CALLS or bool(_TRAINS.search(name) and not NAME_OF_SCHEDULER.search(name))


def constructors_in(value: Any) -> set[int]:
    """Return the ids of the constructors in a value."""
    return {id(each) for each in values_in(value) if isinstance(each, Constructor)}
