"""The execution of the statements of a function, at one epoch or at all.

A test of a traced or unknown epoch is either true or false. Then both branches are evaluated, and each
statement takes effect only where its branch is taken. The condition for that is the mask `_live`.
"""

import ast
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._checks import shorten
from jaxlr.code.expressions import Evaluator
from jaxlr.code.lambdas import Frame
from jaxlr.code.masks import both, either, merged
from jaxlr.code.spellings import as_conditions
from jaxlr.code.syntax import (
    called_name,
    names_stored,
    nodes_in,
    parse_expression,
    quoted,
    source_of,
    unreadable,
)
from jaxlr.code.values import ABSENT, UNKNOWN, check_unshared, collections_in, is_place, unpacked


# The mask of a path through the statements, and if it may leave the rate as it was before the call.
_Path: TypeAlias = tuple[Any, bool]
_NOWHERE: _Path = (False, False)
_ITEMS_PER_OPERATION = 50  # to look for a list in them takes the time of one operation


class Execution:
    """The execution of a function's statements, for a known, a traced or an unknown epoch.

    Args:
        evaluator: evaluates the expressions.
        frame: the variables of the call.
        define: makes a function of a `def`, an evaluator and the variables around it.
        group: the index of the parameter group whose rate is wanted, or None for the returned value.
        rate: the rate of the group before the call, if it is known.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        frame: Frame,
        define: Callable[..., Any],
        group: int | None = None,
        rate: Any = ABSENT,
    ):
        self._evaluator, self._frame, self._define = evaluator, frame, define
        self._group, self._is_rate = group or 0, group is not None
        # These live longer than the call, so that it may not change a list or mapping in them.
        self._outer = [*evaluator.assigned.values(), *dict.values(evaluator.names), *frame.values()]
        self._outer_ids: set[int] | None = None
        self._globals: set[str] = set()
        self._live: Any = True
        self._broken: list[_Path] = []  # those that have left each loop around a statement
        self._continued: list[_Path] = []
        self._read: list[ast.expr] = []  # the expressions that were evaluated
        self._groups: dict[str, int] = {}  # the indices of parameter groups, by their names
        self._is_left = True  # if the rate may still be that of the epoch before
        self.keeps_rate: bool = False  # True if that rate is read, or may be left
        self.result: Any = ABSENT
        self.rate: Any = rate

    def run(self, statements: Sequence[ast.stmt]) -> None:
        """Execute all statements of the function."""
        self._block(statements)
        self.keeps_rate |= self._path()[1]

    def _block(self, statements: Sequence[ast.stmt]) -> None:
        """Execute statements until none of them has an effect."""
        for statement in statements:
            if self._live is False:
                return
            if not self._sets_option(statement):
                self._execute(statement)

    def _sets_option(self, statement: ast.stmt) -> bool:
        """Check if a statement sets an option of a parameter group that is not the rate."""
        match statement:
            case (
                ast.Assign(targets=[ast.Subscript(value=group, slice=ast.Constant(value=key))])
                | ast.AugAssign(target=ast.Subscript(value=group, slice=ast.Constant(value=key)))
            ):
                return key != "lr" and self._is_group(group)
        return False

    def _execute(self, statement: ast.stmt) -> None:
        match statement:
            case ast.Return(value=value):
                result = 0.0 if self._is_rate else None
                self._return(result if value is None or self._is_rate else self._value(value))
            case ast.Assign(targets=targets, value=value):
                found = self._value(value)
                for target in targets:
                    self._assign(target, found)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self._value(value))
            case ast.AugAssign(target=target):
                self._assign(target, self._changed(statement, target))
            case ast.If(test=test, body=body, orelse=orelse):
                self._branch(self._value(test), body, orelse)
            case ast.For(target=target, iter=items, body=body) if any(map(_is_groups, ast.walk(items))):
                self._over_groups(target, items, body)
            case ast.For(target=target, iter=items, body=body, orelse=orelse):
                self._loop(self._evaluator.looped(items, self._frame), target, body, orelse)
            case ast.While(test=test, body=body, orelse=[]):
                self._while(test, body)
            case ast.Break() | ast.Continue():
                jumps = self._broken if isinstance(statement, ast.Break) else self._continued
                jumps[-1] = _joined(jumps[-1], self._path())
                self._live = False
            case ast.FunctionDef(name=name):
                self._frame[name] = self._define(statement, self._evaluator, self._frame)
            case ast.Raise():
                if self._live is True:
                    raise ValueError(f"the text raises an error: {quoted(statement)}")
                self._is_left = False
                self._return(np.nan)
            case ast.Expr(
                value=ast.Call(func=ast.Attribute(value=owner, attr="append" | "extend" as method)) as call
            ):
                self._append(call, owner, method)
            case ast.Match() if (conditions := as_conditions(statement)) is not None:
                self._execute(conditions)
            case ast.Global(names=names):
                self._globals |= {*names}
            case _ if _is_without_effect(statement):
                pass
            case _:
                raise ValueError(f"cannot read the statement {quoted(statement)} in a function")

    def _value(self, node: ast.expr) -> Any:
        self._read.append(node)
        for each in ast.walk(node) if self._is_rate else ():
            match each:
                case ast.Subscript(value=group, slice=ast.Constant(value="lr")) if self._is_group(group):
                    self._read_rate(each, group)
                case _:
                    pass
        return self._evaluator.value(node, self._frame)

    def _read_rate(self, node: ast.expr, group: ast.expr) -> None:
        is_own = self._is_own(group)
        self.keeps_rate |= is_own and self._is_left and self.rate is not ABSENT
        if not is_own or self.rate is not ABSENT:
            self._frame[source_of(node)] = self.rate if is_own else UNKNOWN

    def _changed(self, statement: ast.AugAssign, target: ast.expr) -> Any:
        """Return the value of a variable after `target += value`, which changes a list in its place."""
        before = parse_expression(source_of(target))
        if isinstance(self._value(before), list):
            check_unshared(target, self._own(before), self._frame)
        node = ast.BinOp(before, statement.op, statement.value)
        return self._value(ast.copy_location(node, statement))

    def _return(self, value: Any) -> None:
        before = np.nan if self.result is ABSENT else self.result
        self.result = merged(self._live, value, before)
        self.keeps_rate |= self._path()[1]
        self._live = False

    def _assign(self, target: ast.expr, value: Any) -> None:
        match target:
            case ast.Subscript(value=group, slice=ast.Constant(value="lr")) if self._is_group(group):
                if self._is_own(group):
                    self.rate, self._is_left = merged(self._live, value, self.rate), False
                return
            case _:
                pass
        if isinstance(target, ast.Subscript):
            self._set_item(target, value)
            return
        for name, item in unpacked(target, value).items():
            self._set_place(name, item)

    def _set_place(self, name: str, value: Any) -> None:
        """Set a variable, or an attribute or item of an unknown object."""
        if name in self._globals or (not name.isidentifier() and not self._is_new(name)):
            raise ValueError(_keeps_state(name))
        self._frame[name] = merged(self._live, value, self._frame.get(name, ABSENT))

    def _is_new(self, name: str) -> bool:
        """Check if the call sets an attribute or item in every epoch before it reads it."""
        places = ast.Attribute | ast.Subscript
        was_read = any(source_of(e) == name for e in nodes_in(self._read) if isinstance(e, places))
        return name in self._frame or (self._live is True and not was_read)

    def _set_item(self, target: ast.Subscript, value: Any) -> None:
        is_known = self._evaluator.is_known(target.value, self._frame)
        if not is_known and isinstance(target.slice, ast.Constant):
            self._set_place(source_of(target), value)
            return
        owner: Any = self._own(target.value)
        key: Any = self._value(target.slice)
        if not is_place(owner, key):
            raise unreadable(target, "its index depends on the epoch or is too large")
        is_new = isinstance(owner, dict) and key not in owner
        owner[key] = merged(self._live, value, ABSENT if is_new else owner[key])

    def _own(self, node: ast.expr) -> Any:
        """Return a list or mapping that this call has made, and may change."""
        value = self._value(node)
        if self._outer_ids is None:
            self._outer_ids = collections_in(self._outer)
            num_items = sum(len(each) for each in self._outer if isinstance(each, list | dict))
            self._evaluator.spend(len(self._outer_ids) + num_items // _ITEMS_PER_OPERATION)
        if id(value) in self._outer_ids:
            raise ValueError(_keeps_state(source_of(node)))
        return value

    def _is_group(self, node: ast.expr) -> bool:
        return source_of(node) in self._groups or (
            isinstance(node, ast.Subscript) and _is_groups(node.value)
        )

    def _is_own(self, group: ast.expr) -> bool:
        """Check if a parameter group, such as `optimizer.param_groups[1]`, is the one that is wanted."""
        if not isinstance(group, ast.Subscript):
            return self._groups[source_of(group)] == self._group
        index = self._value(group.slice)
        if not isinstance(index, int) or index < 0:
            raise unreadable(group, "its index is not known: count the groups from 0")
        return index == self._group

    def _branch(self, test: Any, body: list[ast.stmt], orelse: list[ast.stmt]) -> None:
        if test is not UNKNOWN and not isinstance(test, jax.Array):
            self._block(body if test else orelse)
            return
        before, is_left = self._path()
        self._live = both(before, test)
        self._block(body)
        after_body = self._path()
        opposite = UNKNOWN if test is UNKNOWN else jnp.asarray(test) == 0
        self._live, self._is_left = both(before, opposite), is_left
        self._block(orelse)
        self._join(after_body)

    def _path(self) -> _Path:
        return self._live, self._is_left and self._live is not False

    def _join(self, other: _Path) -> None:
        """Go on with statements that another path reaches as well."""
        self._live, self._is_left = _joined(self._path(), other)

    def _loop(
        self, items: list[Any], target: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt]
    ) -> None:
        self._broken.append(_NOWHERE)
        is_left = self._is_left and len(items) == 1 and items[0] is UNKNOWN  # there may be no item
        for item in items:
            if self._live is False:
                break
            self._assign(target, item)
            self._pass(body)
        self._is_left |= is_left
        self._block(orelse)
        self._join(self._broken.pop())

    def _while(self, test: ast.expr, body: list[ast.stmt]) -> None:
        self._broken.append(_NOWHERE)
        while (found := self._value(test)) is not UNKNOWN and self._live is not False:
            if isinstance(found, jax.Array) or not isinstance(self._live, bool):
                raise ValueError(
                    f"JAX cannot trace the loop 'while {shorten(source_of(test))}': give num_steps, so "
                    "that its rates are tabulated"
                )
            if not found:
                break
            self._pass(body)
        else:
            self._frame.update(dict.fromkeys(names_stored(body), UNKNOWN))
        self._join(self._broken.pop())

    def _pass(self, body: list[ast.stmt]) -> None:
        """Execute the statements of a loop once. After a `continue` the next pass takes effect again."""
        self._continued.append(_NOWHERE)
        self._block(body)
        self._join(self._continued.pop())

    def _over_groups(self, target: ast.expr, items: ast.expr, body: list[ast.stmt]) -> None:
        """Execute a loop over the optimizer's parameter groups, or their indices, up to the wanted one."""
        first, others, other = 0, None, None
        match items, target:
            case ast.Attribute(), ast.Name():
                group = target
            case (
                ast.Call(func=ast.Name(id="enumerate"), args=[ast.Attribute()]),
                ast.Tuple(elts=[ast.Name() as other, ast.Name() as group]),
            ):
                pass
            case (
                ast.Call(func=ast.Name(id="zip"), args=[ast.Attribute(), others]),
                ast.Tuple(elts=[ast.Name() as group, other]),
            ):
                pass
            case ast.Call(func=ast.Name(id="range"), args=[*starts, ast.Call()]), ast.Name() as group:
                first, other = self._value(starts[0]) if starts else 0, group
            case _:
                raise unreadable(items, "loop over the groups with one variable")
        if not isinstance(first, int):
            raise unreadable(items, "its start is not known")
        self._broken.append(_NOWHERE)
        for index in range(first, self._group + 1):
            item = index if others is None else self._value(ast.Subscript(others, ast.Constant(index)))
            if other is not None:
                self._assign(other, item)
            self._groups[group.id] = index
            self._pass(body)
        self._join(self._broken.pop())

    def _append(self, call: ast.Call, owner: ast.expr, method: str) -> None:
        items = self._own(owner)
        if self._live is not True or not isinstance(items, list) or len(call.args) != 1:
            raise unreadable(call, "the length of its list depends on the epoch")
        value = self._value(call.args[0])
        items += [value] if method == "append" else value


def _joined(path: _Path, other: _Path) -> _Path:
    return either(path[0], other[0]), path[1] or other[1]


def _is_without_effect(statement: ast.stmt) -> bool:
    """Check if a statement neither changes a variable nor ends the function."""
    match statement:
        case ast.Pass() | ast.Assert() | ast.Import() | ast.ImportFrom() | ast.AnnAssign():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call() as call):
            return called_name(call) in _PRINTS
    return False


_PRINTS = ("print", "info", "debug", "warning", "warn", "log")


def _keeps_state(name: str) -> str:
    return (
        f"cannot read {shorten(name)!r}, which a function changes, because its value depends on the number "
        "of calls: write a function of the epoch alone"
    )


def _is_groups(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "param_groups"
