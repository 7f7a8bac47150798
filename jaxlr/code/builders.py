"""The functions in a text as syntax: their statements for a call, and the variables that they change."""

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from jaxlr.code.methods import changes
from jaxlr.code.syntax import (
    Transformer,
    calls_in,
    names_stored,
    nodes_in,
    parameters_of,
    quoted,
    source_of,
)
from jaxlr.code.values import names_in


_SHARED = ast.Global | ast.Nonlocal


def body_for_call(
    definition: ast.FunctionDef | ast.Lambda, call: ast.Call, keeps_names: bool = False
) -> list[ast.stmt]:
    """Return the statements of a function with the arguments of a call in the place of its parameters.

    With `keeps_names`, the statements assign the arguments to the parameters instead.

    Raises:
        ValueError: the arguments do not fit, or the function assigns to a parameter.
    """
    arguments = definition.args
    names, defaults = parameters_of(arguments)
    given = dict(zip(names, call.args, strict=False))
    given |= {each.arg: each.value for each in call.keywords if each.arg is not None}
    others = {name: node for name, node in given.items() if name not in names}
    if arguments.kwarg is not None:
        keys: list[ast.expr | None] = [ast.Constant(name) for name in others]
        given = {name: node for name, node in given.items() if name in names}
        given[arguments.kwarg.arg] = ast.Dict(keys, [*others.values()])
        others = {}
    values = {**defaults, **given}
    if (
        others
        or not all(name in values for name in names)
        or len(call.args) > len(names)
        or any(each.arg is None for each in call.keywords)
        or any(isinstance(each, ast.Starred) for each in call.args)
        or arguments.vararg
    ):
        raise ValueError(f"cannot read the call {quoted(call)}: write its function's statements instead")
    if isinstance(definition, ast.Lambda):
        body: Sequence[ast.stmt] = [ast.Return(definition.body)]
    else:
        body = definition.body
    kept = {*values} if keeps_names else _kept_names(values, body)
    replaced = {name: node for name, node in values.items() if name not in kept}
    start = _assignments({name: node for name, node in values.items() if name in kept}, call)
    return [*start, *(Substitution(replaced).visit(copy.deepcopy(each)) for each in body)]


def _kept_names(values: Mapping[str, ast.expr], body: Sequence[ast.stmt]) -> set[str]:
    """Return the parameters that keep their names: the others are as good as their arguments.

    A parameter keeps its name if it is assigned to, if a function in the body reads it later, or if its
    argument reads a name that the body assigns to.
    """
    functions = [each for each in nodes_in(body) if isinstance(each, ast.FunctionDef | ast.Lambda)]
    stored = names_stored(body) | {each.arg for each in nodes_in(functions) if isinstance(each, ast.arg)}
    later = {name for each in functions for name in names_in(each)}
    kept = {name for name in values if name in stored or (name in later and names_in(values[name]))}
    kept |= {name for name, value in values.items() if isinstance(value, ast.Dict | ast.List)}
    while more := {name for name in values.keys() - kept if names_in(values[name]) & (stored | kept)}:
        kept |= more
    return kept


def _assignments(values: Mapping[str, ast.expr], call: ast.Call) -> list[ast.stmt]:
    """Return the statements that assign arguments to parameters, at once if one reads another."""
    targets: list[ast.expr] = [ast.Name(name, ast.Store()) for name in values]
    if any(names_in(node) & (values.keys() - {name}) for name, node in values.items()):
        pairs = [(ast.Tuple(targets, ast.Store()), ast.Tuple([*values.values()], ast.Load()))]
    else:
        pairs = list(zip(targets, values.values(), strict=True))
    return [ast.copy_location(ast.Assign([target], node), call) for target, node in pairs]


class OutsideChanges(NamedTuple):
    """The variables around a function that a call of it changes."""

    names: set[str]  # which it assigns, as `global` or `nonlocal`
    owners: list[ast.expr]  # the lists and mappings that it changes, and the attributes that it assigns
    arguments: bool  # True if it changes a list, a mapping or an object that it is given
    attributes: set[str]  # the names of the attributes that it sets
    calls: set[str]  # the functions that it calls


def outside_changes(definition: ast.FunctionDef) -> OutsideChanges:
    """Return the variables around a function that a call of it changes."""
    shared = {name for each in nodes_in([definition]) if isinstance(each, _SHARED) for name in each.names}
    parameters = {each.arg for each in nodes_in([definition]) if isinstance(each, ast.arg)}
    stored = names_stored([definition])
    own = (parameters | stored) - shared
    owners: list[ast.expr] = []
    for each in nodes_in(definition.body):
        match each:
            case ast.Call(func=ast.Attribute(value=owner, attr=method)) if changes(method):
                owners.append(owner)
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                owners.append(owner)
            case ast.Attribute(ctx=ast.Store() | ast.Del()):
                owners.append(each)
            case _:
                pass
    outer = [each for each in owners if not names_in(each) & own]
    changes_arguments = any(names_in(each) & parameters for each in owners)
    attributes = {
        each.attr
        for each in owners
        if isinstance(each, ast.Attribute) and not isinstance(each.ctx, ast.Load)
    }
    calls = {source_of(each.func) for each in calls_in(definition.body)}
    return OutsideChanges(shared & stored, outer, changes_arguments, attributes, calls)


def substituted(node: ast.expr, values: Mapping[str, ast.expr]) -> ast.expr:
    """Return a copy of an expression with other expressions in the place of names."""
    return Substitution(values).visit(copy.deepcopy(node))


class Substitution(Transformer):
    def __init__(self, values: Mapping[str, ast.expr]):
        self._values = values

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            return self._values.get(node.id, node)
        return super().generic_visit(node)
