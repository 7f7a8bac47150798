"""The functions and classes in a text that build schedulers or hold settings, read as syntax."""

import ast
import copy
from collections.abc import Mapping, Sequence

from jaxlr.code.syntax import names_stored, nodes_in, parameters_of, quoted


_MODULES = ("math", "numpy", "torch", "bisect", "itertools")


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
    values = {**defaults, **given}
    is_complete = all(name in values for name in names) and all(name in names for name in given)
    if (
        not is_complete
        or len(call.args) > len(names)
        or any(each.arg is None for each in call.keywords)
        or any(isinstance(each, ast.Starred) for each in call.args)
        or arguments.vararg
        or arguments.kwarg
    ):
        raise ValueError(f"cannot read the call {quoted(call)}: write its function's statements instead")
    if isinstance(definition, ast.Lambda):
        body: Sequence[ast.stmt] = [ast.Return(definition.body)]
    else:
        body = definition.body
    # An argument is evaluated once per use. So a parameter that is assigned to keeps its own name.
    inner = {each.arg for each in nodes_in(body) if isinstance(each, ast.arg)}  # of functions in it
    changed = values.keys() if keeps_names else (names_stored(body) | inner) & values.keys()
    replaced = {name: node for name, node in values.items() if name not in changed}
    assignments = (ast.Assign([ast.Name(name, ast.Store())], values[name]) for name in changed)
    start: list[ast.stmt] = [ast.copy_location(each, call) for each in assignments]
    return [*start, *(_Substitution(replaced).visit(copy.deepcopy(each)) for each in body)]


def constants_of(definition: ast.ClassDef) -> ast.Dict | None:
    """Return the attributes that a class sets in its body as a mapping, or None if it has a constructor."""
    keys: list[ast.expr | None] = []
    values: list[ast.expr] = []
    for statement in definition.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                keys.append(ast.Constant(name))
                values.append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                keys.append(ast.Constant(name))
                values.append(value)
            case ast.FunctionDef(name="__init__" | "__new__" | "__post_init__" | "__getattr__"):
                return None
    return ast.Dict(keys, values) if values else None


def as_conditions(statement: ast.Match) -> ast.If | None:
    """Return a `match` with constant patterns as nested `if` statements, or None for other patterns."""
    orelse: list[ast.stmt] = []
    for case in reversed(statement.cases):
        test = _test(statement.subject, case.pattern)
        if test is None or case.guard is not None:
            return None
        orelse = [ast.If(test, case.body, orelse)]
    first = orelse[0]
    assert isinstance(first, ast.If)
    return first


def _test(subject: ast.expr, pattern: ast.pattern) -> ast.expr | None:
    match pattern:
        case ast.MatchValue(value=value):
            return ast.Compare(subject, [ast.Eq()], [value])
        case ast.MatchSingleton(value=value):
            return ast.Compare(subject, [ast.Is()], [ast.Constant(value)])
        case ast.MatchAs(pattern=None, name=None):
            return ast.Constant(value=True)
        case ast.MatchOr(patterns=patterns):
            tests = [_test(subject, each) for each in patterns]
            known = [test for test in tests if test is not None]
            return ast.BoolOp(ast.Or(), known) if len(known) == len(tests) else None
    return None


class _Substitution(ast.NodeTransformer):
    def __init__(self, values: Mapping[str, ast.expr]):
        self._values = values

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return self._values.get(node.id, node) if isinstance(node.ctx, ast.Load) else node


def with_own_names(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Replace the names that `import numpy as n` and `from math import cos as c` give by the real ones."""
    names: dict[str, str] = {}
    for each in (each for statement in statements for each in ast.walk(statement)):
        if isinstance(each, ast.Import | ast.ImportFrom):
            is_known = isinstance(each, ast.Import) or each.module in _MODULES
            names |= {
                alias.asname: alias.name
                for alias in each.names
                if alias.asname
                and is_known
                and (isinstance(each, ast.ImportFrom) or alias.name in _MODULES)
            }
    replaced = {name: ast.Name(own, ast.Load()) for name, own in names.items() if name != own}
    return [_Substitution(replaced).visit(each) for each in statements] if replaced else list(statements)
