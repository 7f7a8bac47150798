"""The variables of a script whose values are not known any more, because a statement changed them."""

import ast
import re
from collections.abc import Collection, Sequence
from typing import Any

from jaxlr.code.definitions import Function
from jaxlr.code.expressions import Evaluator
from jaxlr.code.methods import changes, only_reads
from jaxlr.code.scripts import NAME_OF_SCHEDULER
from jaxlr.code.syntax import arguments_of, first_line, is_literal, last_name, nodes_in, quoted, source_of
from jaxlr.code.values import ABSENT, Unevaluated, attribute_of, collections_in, names_in, values_in
from jaxlr.convert.constructors import Constructor


# Calls that may be given a scheduler, because they do not change it.
_HARMLESS_CALLS = ("print", "info", "debug", "log", "warning", "plot", "isinstance", "len")
# Methods that may change the attributes of their object.
_CHANGES = re.compile(
    r"append|add|clear|extend|insert|load|merge|override|pop|read|remove|reverse|set|sort|update"
)
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
        """Return the list or mapping of the text that an expression stands for, or None."""
        if not isinstance(self._evaluator.assigned.get(source_of(self._root(node))), list | dict):
            return None
        value = self._evaluator.value_if_any(node)
        return value if isinstance(value, list | dict) else None

    def _root(self, node: ast.expr) -> ast.expr:
        """Return the part of an expression that has a value in the text, such as `cfg` of `cfg["lr"]`."""
        assigned = self._evaluator.assigned
        while source_of(node) not in assigned and isinstance(
            node, ast.Attribute | ast.Subscript | ast.Call
        ):
            node = node.func if isinstance(node, ast.Call) else node.value  # cfg.get("optimizer")["lr"]
        return node

    def forget(self, name: str, error: ValueError | None, missing: Sequence[str] = ()) -> None:
        """Take a name's value away, because it is not known from here on."""
        self._evaluator.assigned[name] = Unevaluated(ast.Name(name, ast.Load()), [*missing], error)

    def replace(self, name: str, value: Any, statement: ast.stmt) -> None:
        """Assign a value to a name. The attributes and items of the value before are not known any more."""
        self._forget_parts(name, statement)
        assigned = self._evaluator.assigned
        if isinstance(value, Unevaluated):
            source = source_of(value.node)
            parts = {each: value for each, value in assigned.items() if _is_part(each, source)}
            assigned.update({name + each.removeprefix(source): value for each, value in parts.items()})
        assigned[name] = value

    def _forget_parts(self, source: str, statement: ast.stmt, attributes: Collection[str] = ()) -> None:
        """Forget the attributes and items of an object, or some attributes, that the text has set."""
        for name, value in [*self._evaluator.assigned.items()]:
            is_set = not isinstance(value, Unevaluated) and not constructors_in(value)
            is_changed = not attributes or name.removeprefix(f"{source}.") in attributes
            if is_set and is_changed and _is_part(name, source):
                self.forget(name, changed_later(statement, name))

    def check_not_given(self, node: ast.expr, statement: ast.stmt) -> None:
        """Refuse a function that changes a scheduler or a value of `names`."""
        if isinstance(self._evaluator.assigned.get(source_of(node)), Constructor):
            raise ValueError(
                f"cannot read {first_line(statement)}: it changes a scheduler. Convert the live object "
                "with from_torch"
            )
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store | ast.Del):
            self.check_not_given(node.value, statement)
        if source_of(node) in self._evaluator.names:
            raise changes_given(node, statement)

    def check_unstated(self, name: str, value: Unevaluated) -> None:
        """Refuse a value of `names` for an attribute that the text states, as in `replace(args, lr=1)`."""
        node = self._evaluator.definition(value.node)
        if name not in names_in(node):
            return
        names = self._evaluator.names
        for each in ast.walk(node):
            match each:
                case ast.Dict(keys=keys):
                    stated = [key.value for key in keys if isinstance(key, ast.Constant)]
                case ast.keyword(arg=key):
                    stated = [key]
                case _:
                    continue
            for key in stated:
                if f"{name}.{key}" in names or attribute_of(names.get(name), key) is not ABSENT:
                    raise assigns_given(f"{name}.{key}")

    def forget_bound(self, statement: ast.stmt) -> None:
        """Forget the values that the imports, functions, classes and patterns in a statement replace."""
        for each in ast.walk(statement):
            match each:
                case ast.ImportFrom(names=[ast.alias(name="*")]):
                    for source, value in [*self._evaluator.assigned.items()]:
                        if source.isidentifier() and is_literal(value):
                            self.forget(source, changed_later(statement, source))
                    continue
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
                case ast.Call(func=ast.Attribute(value=owner, attr=method) as func) if not only_reads(
                    method
                ):
                    self.forget_collection(owner, statement)
                    owners = [] if is_harmless(func) else [*each.args]
                    owners += [owner] if _CHANGES.match(method) else []
                case ast.Call(func=func, args=args) if not is_harmless(func):
                    owners = args
                case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                    owners = [owner]
                case _:
                    continue
            for owner in owners:
                self.forget_object(owner, statement)

    def forget_effects(self, statement: ast.stmt) -> None:
        """Forget the values that the expressions of a statement change, besides the names it assigns."""
        inner = ast.stmt | ast.excepthandler | ast.match_case
        for each in nodes_in(e for e in ast.iter_child_nodes(statement) if not isinstance(e, inner)):
            match each:
                case ast.NamedExpr(target=target):
                    self.forget(target.id, used_later(statement))
                case ast.Call(func=ast.Attribute(value=owner, attr=method)) if changes(method):
                    if each is not getattr(statement, "value", None):  # which is followed
                        self.forget_collection(owner, statement)
                case ast.Call(func=func):
                    changing = self._forget_outside(source_of(func), statement, set())
                    for argument in arguments_of(each) if changing else ():
                        self.forget_collection(argument, statement, is_deep=True)
                        changed = self._evaluator.assigned[source_of(func)].outside_changes
                        self._forget_parts(source_of(argument), statement, changed.attributes)
                        for name in changed.attributes:
                            self.check_not_given(ast.Attribute(argument, name, ast.Store()), statement)
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
            self.forget_object(owner, statement)
        inner = [self._forget_outside(each, statement, seen) for each in changed.calls]
        return not is_followed and (changed.arguments or any(inner))

    def forget_object(self, owner: ast.expr, statement: ast.stmt) -> None:
        """Forget the values of an object that changes, or of its attribute that is assigned."""
        if isinstance(owner, ast.Attribute) and isinstance(owner.ctx, ast.Store | ast.Del):
            self.forget_collection(owner.value, statement)
            self._forget_parts(source_of(owner.value), statement, {owner.attr})
        else:
            self.forget_collection(owner, statement)
            self._forget_parts(source_of(object_of(owner)), statement)

    def forget_collection(self, owner: ast.expr, statement: ast.stmt, is_deep: bool = False) -> None:
        """Forget the value of each name that holds a list or mapping, or one of those in it.

        An item of a list, whose index is not known, stands for the list.
        """
        value = self.collection(owner)
        if value is None:
            item = self._evaluator.value_if_any(owner)
            is_unknown = isinstance(item, Unevaluated) and item.node is owner
            value = self.collection(self._root(owner)) if is_unknown else None
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


def used_later(statement: ast.stmt, name: str = "") -> ValueError:
    """Return the error about a variable that a statement assigns. The caller can give that of a name."""
    way_out = f": give its value, as in names={{{name!r}: ...}}" if name else ""
    return ValueError(
        f"cannot read {first_line(statement)}, which assigns a name that is used later{way_out}"
    )


def assigns_given(name: str) -> ValueError:
    return ValueError(f"names gives a value for {name!r}, but the text assigns one")


def changes_given(node: ast.expr, statement: ast.stmt) -> ValueError:
    return ValueError(
        f"names gives a value for {quoted(node)}, but {first_line(statement)} changes it: leave that line "
        "out, and give the value after it"
    )


def changed_later(statement: ast.stmt, name: str) -> ValueError:
    return ValueError(
        f"cannot read {first_line(statement)}: it may change {name}. Leave it out if it does not, else "
        f"leave out the line that sets {name} before it"
    )


def object_of(node: ast.expr) -> ast.expr:
    """Return the object whose attributes are the items of `vars(x)` or `x.__dict__`, or the node itself."""
    match node:
        case ast.Call(func=ast.Name(id="vars"), args=[owner]) | ast.Attribute(value=owner, attr="__dict__"):
            return owner
    return node


def _is_part(name: str, source: str) -> bool:
    """Check if a name of the text is an attribute or an item of an object."""
    return name.startswith((f"{source}.", f"{source}["))


def is_harmless(func: ast.expr) -> bool:
    """Check if a function does not change what it is given, or only trains with it."""
    name = last_name(source_of(func))
    return name in _HARMLESS_CALLS or bool(_TRAINS.search(name) and not NAME_OF_SCHEDULER.search(name))


def constructors_in(value: Any) -> set[int]:
    """Return the ids of the constructors in a value."""
    return {id(each) for each in values_in(value) if isinstance(each, Constructor)}
