"""The calls in a text: of Python's functions, of methods, of functions of the text and of the caller."""

import ast
import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax

from jaxlr._checks import shorten
from jaxlr.code.functions import (
    PARAMETERS,
    Array,
    apply_function,
    picked,
)
from jaxlr.code.lambdas import Frame, Partial
from jaxlr.code.methods import result_of
from jaxlr.code.operations import attempted, traced_item
from jaxlr.code.syntax import called_name, last_name, parse_expression, source_of, unreadable
from jaxlr.code.values import ABSENT, UNKNOWN, attribute_of, plain, size_of, unpacked


if TYPE_CHECKING:
    from jaxlr.code.expressions import Evaluator

_SIZED = ("enumerate", "list", "range", "reversed", "sorted", "tuple", "zip", "np.array")
# Calls that make an object whose attributes are their keywords.
_NAMESPACES = (
    *("dict", "SimpleNamespace", "Namespace", "EasyDict"),
    *("edict", "AttrDict", "ConfigDict", "Munch"),
)
# Calls that return a mapping of a text, or a copy of it.
_COPIES = ("dict", "vars", "copy", "deepcopy")
# The names of the types that a value of a text can have.
_TYPES: dict[type, set[str]] = {
    bool: {"bool", "int"},
    int: {"int"},
    float: {"float"},
    str: {"str"},
    dict: {"dict"},
    list: {"list"},
}
_TYPE_NAMES = {"tuple", *(name for names in _TYPES.values() for name in names)}
# Calls that read a text as a literal.
_LITERALS = ("eval", "ast.literal_eval", "literal_eval", "json.loads")


def call_result(evaluator: "Evaluator", node: ast.Call, name: str | None, scope: Mapping[str, Any]) -> Any:
    """Return the result of a call.

    Args:
        evaluator: evaluates the arguments.
        node: the call.
        name: the name by which `apply_function` knows the function, or None.
        scope: values of the variables around it.
    """
    is_picking = _is_filtered(node) and name in ("max", "min")
    if name is None or is_picking or evaluator.is_bound(node.func, scope):
        match node.func:
            case ast.Name(id="next" | "max" | "min" as kind) if _is_filtered(node):
                return _picked(evaluator, node, kind, scope)
            case ast.Name(id="partial") | ast.Attribute(attr="partial") if node.args:
                return _partial(evaluator, node, scope)
            case ast.Name() | ast.Attribute() as func if source_of(func) in _LITERALS and node.args:
                return _literal(evaluator, node, scope)
            case ast.Lambda() as func:
                return _applied(evaluator, node, evaluator.value(func, Frame(scope)), scope)
            case ast.Name() | ast.Attribute() | ast.Subscript() as func if evaluator.is_known(func, scope):
                if isinstance(func, ast.Attribute) and not _is_value(evaluator, func, scope):
                    return _method(evaluator, node, func, scope)
                return _applied(evaluator, node, evaluator.value(func, scope), scope)
            case ast.Attribute(value=owner) as func if evaluator.is_known(owner, scope):
                return _method(evaluator, node, func, scope)
            case ast.Name(id="map" | "filter" as kind) if len(node.args) == 2 and not node.keywords:
                return _mapped(evaluator, node, kind, scope)
            case ast.Name(id="isinstance") if len(node.args) == 2 and evaluator.is_known(
                node.args[0], scope
            ):
                return _isinstance(evaluator, node, scope)
            case ast.Name(id="getattr") if len(node.args) >= 2 and evaluator.is_known(node.args[0], scope):
                return _getattr(evaluator, node, scope)
            case ast.Name() | ast.Attribute() if called_name(node) in _NAMESPACES and not node.args:
                return by_keyword(evaluator, node, scope)
            case ast.Name() | ast.Attribute() if called_name(node) in _COPIES and node.args:
                return _copy(evaluator, node, scope)
    if name and (arguments := _in_order(name, node)) is not None:
        return _built_in(evaluator, node, name, arguments, scope)
    return evaluator.miss_in(node, scope)


def _applied(evaluator: "Evaluator", node: ast.Call, function: Any, scope: Mapping[str, Any]) -> Any:
    """Return the result of a function of the text, or of one that the user has given."""
    positional, by_name = evaluator.items(node.args, scope), by_keyword(evaluator, node, scope)
    return evaluator.apply(node, function, positional, by_name)


def by_keyword(evaluator: "Evaluator", node: ast.Call, scope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a call's arguments by keyword, with those of `**values`."""
    keys = [None if each.arg is None else ast.Constant(each.arg) for each in node.keywords]
    return evaluator.mapping(node, keys, [each.value for each in node.keywords], scope)


def _partial(evaluator: "Evaluator", node: ast.Call, scope: Mapping[str, Any]) -> Any:
    """Return a `functools.partial` of a function of the text."""
    if not isinstance(node.args[0], ast.Lambda) and not evaluator.is_known(node.args[0], scope):
        return evaluator.miss_in(node, scope)
    function, *args = evaluator.items(node.args, scope)
    by_name = by_keyword(evaluator, node, scope)
    return function if function is UNKNOWN else Partial(node, evaluator, function, args, by_name)


def _picked(evaluator: "Evaluator", node: ast.Call, kind: str, scope: Mapping[str, Any]) -> Any:
    """Return `next(x for x in items if test)`, or the largest or smallest, for a test of any kind."""
    generator: Any = node.args[0]
    [loop] = generator.generators
    found: list[tuple[Any, Any]] = []
    for item in evaluator.looped(loop.iter, scope):
        inner = {**scope, **unpacked(loop.target, item)}
        is_in = evaluator.value(_all_of(loop.ifs), inner)
        if is_in is UNKNOWN or isinstance(is_in, jax.Array) or is_in:
            found.append((is_in, evaluator.value(generator.elt, inner)))
        if kind == "next" and found and found[-1][0] is True:
            break
    if any(each is UNKNOWN for pair in found for each in pair):
        return UNKNOWN
    default = evaluator.value(node.args[1], scope) if len(node.args) > 1 else None
    return attempted(node, picked, kind, found, default)


def _literal(evaluator: "Evaluator", node: ast.Call, scope: Mapping[str, Any]) -> Any:
    """Return the value of a known text as an expression."""
    if not evaluator.is_known(node.args[0], scope):
        return evaluator.miss_in(node, scope)
    text = evaluator.value(node.args[0], scope)
    if text is UNKNOWN:
        return UNKNOWN
    if not isinstance(text, str):
        raise unreadable(node, "its argument must be a string")
    try:
        parsed = parse_expression(text)
    except SyntaxError:
        raise unreadable(node, f"{shorten(text)!r} is not an expression") from None
    return evaluator.value(parsed)


def _is_value(evaluator: "Evaluator", func: ast.Attribute, scope: Mapping[str, Any]) -> bool:
    """Check if an attribute is a value of its own, and not a method of a list or a text."""
    if evaluator.is_bound(func, scope):
        return True
    return not isinstance(evaluator.value(func.value, scope), list | dict | str)


def _method(evaluator: "Evaluator", node: ast.Call, func: ast.Attribute, scope: Mapping[str, Any]) -> Any:
    owner = evaluator.value(func.value, scope)
    if isinstance(owner, Array) and func.attr == "astype" and len(node.args) == 1:
        kind = last_name(source_of(node.args[0]).strip("'"))
        return Array(map(int if kind.startswith("int") else float, owner))
    arguments = evaluator.items(node.args, scope)
    if owner is UNKNOWN or any(argument is UNKNOWN for argument in arguments):
        return UNKNOWN
    if isinstance(owner, dict) and func.attr == "get" and isinstance(arguments[0], jax.Array):
        return traced_item(owner, *arguments[:2])
    return attempted(node, result_of, node, owner, func.attr, arguments)


def _mapped(evaluator: "Evaluator", node: ast.Call, kind: str, scope: Mapping[str, Any]) -> Any:
    """Return the values of `map(f, items)` or `filter(f, items)`, evaluated as a comprehension."""
    function, items = node.args
    if isinstance(function, ast.Lambda):
        # It reads the variables around the call, not those of the loop.
        scope = Frame({**scope, "_function": evaluator.value(function, Frame(scope))})
        function = ast.Name("_function", ast.Load())
    item = ast.Name("_item", ast.Load())
    applied = ast.Call(function, [item], [])
    tests: list[ast.expr] = [applied] if kind == "filter" else []
    loop = ast.comprehension(ast.Name("_item", ast.Store()), items, tests, 0)
    return evaluator.comprehension(ast.ListComp(item if tests else applied, [loop]), scope)


def _getattr(evaluator: "Evaluator", node: ast.Call, scope: Mapping[str, Any]) -> Any:
    owner, attribute, *default = evaluator.items(node.args, scope)
    if owner is UNKNOWN or attribute is UNKNOWN:
        return UNKNOWN
    if default and attribute_of(owner, attribute) is ABSENT:
        return default[0]
    return evaluator.attribute(node, owner, attribute)


def _copy(evaluator: "Evaluator", node: ast.Call, scope: Mapping[str, Any]) -> Any:
    owner = evaluator.value(node.args[0], scope) if evaluator.is_known(node.args[0], scope) else None
    name, others = called_name(node), by_keyword(evaluator, node, scope)
    if len(node.args) > 1 or not isinstance(owner, dict) or (others and name != "dict"):
        return evaluator.miss_in(node, scope)
    if name == "vars":
        return owner
    return copy.deepcopy(owner) if name == "deepcopy" else {**owner, **others}


def _isinstance(evaluator: "Evaluator", node: ast.Call, scope: Mapping[str, Any]) -> Any:
    """Check the type of a plain value. A tuple is a list here, so `isinstance(x, tuple)` is unknown."""
    value, kinds = evaluator.value(node.args[0], scope), node.args[1]
    names = {source_of(each) for each in (kinds.elts if isinstance(kinds, ast.Tuple) else [kinds])}
    if any(isinstance(value, kind) and names & spellings for kind, spellings in _TYPES.items()):
        return True
    is_tested = value is None or isinstance(value, tuple(_TYPES))
    if not is_tested or not names <= _TYPE_NAMES or (isinstance(value, list) and "tuple" in names):
        return evaluator.miss_in(node, scope)
    return False


def _built_in(
    evaluator: "Evaluator", node: ast.Call, name: str, arguments: list[ast.expr], scope: Mapping[str, Any]
) -> Any:
    """Return the result of a function that `apply_function` knows."""
    num_missing = len(evaluator.missing)
    summands = _as_sum(name, arguments)
    values = evaluator.items(summands or arguments, scope)
    if name == "len" and len(evaluator.missing) > num_missing:
        # For len(train_loader) the user can give the length, but not the loader.
        evaluator.missing[num_missing:] = [source_of(node)]
    if any(each is UNKNOWN for value in values for each in (value if isinstance(value, list) else [value])):
        return UNKNOWN
    if name in _SIZED:
        is_range = name == "range" and all(isinstance(value, int) for value in values)
        size = attempted(node, lambda *ends: len(range(*ends)), *values) if is_range else 0
        evaluator.spend(size + sum(size_of(value) for value in values if isinstance(value, list)))
        values = [list(value) if isinstance(value, dict) else value for value in values]
        if name in ("zip", "enumerate"):
            return attempted(node, lambda: list(map(list, apply_function(name, *values))))
    if name == "len" and not summands and not isinstance(values[0], jax.Array):
        return attempted(node, len, *values)
    return attempted(node, apply_function, "sum" if summands else name, *values)


def called_python(name: str, function: Any, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
    """Call a Python function. If JAX cannot trace it, raise an error with the way out."""
    try:
        return plain(function(*positional, **by_name))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        raise ValueError(
            f"JAX cannot trace the function {shorten(name)!r}: give num_steps, so that its values are "
            "tabulated, or pass the schedule to jaxlr.tabulate"
        ) from None


def _is_filtered(node: ast.Call) -> bool:
    """Check if a call is given one comprehension with a test."""
    match node.args:
        case [ast.ListComp(generators=[one]) | ast.GeneratorExp(generators=[one]), *_]:
            return bool(one.ifs) and not one.is_async and not node.keywords
    return False


def _all_of(tests: list[ast.expr]) -> ast.expr:
    return ast.BoolOp(ast.And(), tests) if len(tests) > 1 else tests[0]


def _as_sum(name: str, arguments: list[ast.expr]) -> list[ast.expr] | None:
    """Rewrite `len([x for x in xs if test])` as the sum of `[1 if test else 0 for x in xs]`.

    The length of the new list does not depend on a test of the epoch, so it can be traced. `sum` is
    rewritten in the same way.
    """
    match arguments:
        case [ast.ListComp(generators=[loop]) | ast.GeneratorExp(generators=[loop]) as items] if loop.ifs:
            if name not in ("len", "sum"):
                return None
            counted = items.elt if name == "sum" else ast.Constant(1)
            summand = ast.IfExp(_all_of(loop.ifs), counted, ast.Constant(0))
            everything = ast.comprehension(loop.target, loop.iter, [], loop.is_async)
            return [ast.ListComp(summand, [everything])]
    return None


def _in_order(name: str, node: ast.Call) -> list[ast.expr] | None:
    """Return the arguments of a built-in function in their order, or None if one has another name."""
    arguments, names = list(node.args), PARAMETERS.get(name, ())
    for keyword in node.keywords:
        if len(arguments) >= len(names) or keyword.arg != names[len(arguments)]:
            return None
        arguments.append(keyword.value)
    return arguments
