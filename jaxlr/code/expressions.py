"""The expressions of a recipe, evaluated by walking their syntax and never executed.

Only a whitelist of syntax is read, and the work is limited, so that a text from an untrusted file is safe.
"""

import ast
import copy
from collections.abc import Callable, Mapping, Sequence
from keyword import iskeyword
from typing import Any

import jax
import numpy as np

from jaxlr._checks import shorten
from jaxlr.code.functions import (
    OPERATORS,
    PARAMETERS,
    Array,
    apply_function,
    bounded,
    constant,
    function_name,
    picked,
)
from jaxlr.code.lambdas import Frame, Lambda, Partial
from jaxlr.code.methods import result_of
from jaxlr.code.operations import attempted, calculated, compared, selected, traced_item
from jaxlr.code.syntax import is_literal, parse_expression, quoted, source_of
from jaxlr.code.values import (
    ABSENT,
    MOST_WORK,
    UNKNOWN,
    ClassName,
    Unevaluated,
    Unknown,
    Values,
    Work,
    are_numbers,
    attribute_of,
    depth_of,
    mapping_of,
    names_in,
    plain,
    size_of,
    unpacked,
)


_SIZED = ("enumerate", "list", "range", "reversed", "sorted", "tuple", "zip", "np.array")
# The usual names of the object that holds the flags of a script.
_PARSED = ("args", "cfg", "conf", "config", "flags", "FLAGS", "hparams", "opt", "options", "opts", "params")
_MOST_CALLS = 30  # of functions of the text in each other
_MOST_NESTED = 4  # lists in each other
# Calls that make an object whose attributes are their keywords.
_NAMESPACES = (
    "dict",
    "SimpleNamespace",
    "Namespace",
    "EasyDict",
    "edict",
    "AttrDict",
    "ConfigDict",
    "Munch",
)
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


class Evaluator:
    """Evaluates expressions, and collects in `missing` the names that it has no value for.

    Args:
        names: values of expressions, by their source: `{"epochs": 90, "len(loader)": 391}`; or an object
            that holds them, such as a Namespace.
    """

    def __init__(self, names: Any):
        values = mapping_of(names)
        # A flag may be called "lambda", which no expression can name.
        nodes = {key: _parsed_name(key) for key in values if not iskeyword(str(key))}
        self.names: dict[str, Any] = Values({source_of(node): values[key] for key, node in nodes.items()})
        self._readers: dict[str, str] = {}  # the spelling by which the text reads a name
        self.assigned: dict[str, Any] = {}
        self.missing: list[str] = []
        self.missing_functions: set[str] = set()
        self.construct: Callable[[ast.Call, Mapping[str, Any]], Any] = lambda call, scope: None
        self.class_named: Callable[[ast.expr], ClassName | None] = lambda node: None
        self._budget = MOST_WORK
        self.work: Work = Work()
        self._depth = 0
        # Only these calls can be names. To unparse every call would take time quadratic in the text.
        self._named_calls = {source_of(node.func) for node in nodes.values() if isinstance(node, ast.Call)}

    @property
    def names_are_traced(self) -> bool:
        """True if one of the values of `names` is a JAX array."""
        return any(isinstance(value, jax.Array) for value in dict.values(self.names))

    @property
    def names_are_numbers(self) -> bool:
        """True if the caller cannot change a value of `names` later."""
        numbers = bool | int | float | str | np.generic | None
        return all(isinstance(value, numbers) for value in dict.values(self.names))

    def with_budget(self, budget: int = MOST_WORK) -> "Evaluator":
        """Return a copy with the same values, no missing names, and a budget of its own."""
        evaluator = copy.copy(self)
        evaluator.missing, evaluator._budget = [], budget
        return evaluator

    def value_if_any(self, node: ast.expr) -> Any:
        """Return the value of an expression that may never be used, or an `Unevaluated`."""
        evaluator = self.with_budget(self._budget)
        try:
            value = evaluator.value(node)
        except ValueError as error:
            return Unevaluated(node, [], error)
        finally:
            self._budget = evaluator._budget
        return Unevaluated(node, evaluator.missing) if evaluator.missing else value

    def has_value(self, node: ast.expr) -> bool:
        """Check if a name, attribute, item or call is one that `value` can evaluate."""
        if source_of(node) in self.names or constant(node) is not None:
            return True
        return isinstance(node, ast.Call) and function_name(node.func) is not None

    def value(self, node: ast.expr, scope: Mapping[str, Any] | None = None) -> Any:
        """Return the value of an expression.

        Args:
            node: the expression.
            scope: values of the variables of lambdas and comprehensions around it.

        Raises:
            ValueError: the expression cannot be read or calculated.
        """
        scope = scope or {}
        self._spend(1)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return bounded(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return self._listed(node, self.items(elements, scope))
            case ast.Dict(keys=keys, values=values):
                return self._mapping(node, keys, values, scope)
            case ast.UnaryOp() | ast.BinOp() | ast.Compare() | ast.BoolOp() | ast.IfExp():
                return self._operation(node, scope)
            case ast.Lambda():
                is_known = not any(value is UNKNOWN for value in scope.values())
                return Lambda(node, self, scope) if is_known else UNKNOWN
            case ast.ListComp() | ast.GeneratorExp():
                return self._comprehension(node, scope)
            case ast.DictComp(key=key, value=value, generators=generators):
                pairs = ast.ListComp(ast.Tuple([key, value], ast.Load()), generators)
                found = self._comprehension(pairs, scope)
                return UNKNOWN if found is UNKNOWN else self._mapped(node, found)
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return self._named(node, scope)
        raise ValueError(f"cannot read {quoted(node)}: write numbers, strings, lists, arithmetic and names")

    def items(self, nodes: list[ast.expr], scope: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the values of arguments or elements, of which `*values` are several."""
        values: list[Any] = []
        for node in nodes:
            if not isinstance(node, ast.Starred):
                values.append(self.value(node, scope))
                continue
            if not self.is_known(node.value, scope or {}):
                raise ValueError(f"cannot read {quoted(node)}: write the arguments out")
            several = self.value(node.value, scope)
            if not isinstance(several, list):
                raise ValueError(f"cannot read {quoted(node)}: it is not a list with known items")
            values += several
        return values

    def _listed(self, node: ast.expr, values: list[Any]) -> list[Any]:
        self._spend(size_of(values))
        if depth_of(values) > _MOST_NESTED:
            raise ValueError(f"cannot read {quoted(node)}: the lists in it are nested too deeply")
        return values

    def _mapping(
        self, node: ast.expr, keys: list[ast.expr | None], values: list[ast.expr], scope: Mapping[str, Any]
    ) -> dict[Any, Any]:
        result: dict[Any, Any] = {}
        for key, value in zip(keys, values, strict=True):
            found = self.value(value, scope)
            if key is None and isinstance(found, dict):  # {**defaults, "gamma": 0.5}
                result |= found
                continue
            name = UNKNOWN if key is None else self.value(key, scope)
            if not isinstance(name, str | int | float | None):
                raise ValueError(f"cannot read {quoted(node)}: its keys must be known numbers or strings")
            result[name] = found
        self._listed(node, list(result.values()))
        return result

    def _mapped(self, node: ast.expr, pairs: list[Any]) -> dict[Any, Any]:
        if any(not isinstance(key, str | int | float | None) for key, _ in pairs):
            raise ValueError(f"cannot read {quoted(node)}: its keys must be known numbers or strings")
        return dict(pairs)

    def _operation(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        match node:
            case ast.UnaryOp(op=ast.Not(), operand=operand) if not are_numbers(
                value := self.value(operand, scope)
            ):
                return not value
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return calculated(self._spend, node, op, self.value(operand, scope))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in OPERATORS:
                return calculated(self._spend, node, op, self.value(left, scope), self.value(right, scope))
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._comparison(node, self.value(left, scope), ops, comparators, scope)
            case ast.BoolOp(op=op, values=[*values]):
                return self._either(values, isinstance(op, ast.Or), scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self.value(test, scope), body, orelse, scope)
        raise ValueError(f"cannot read {quoted(node)}: write +, -, *, /, //, % and **")

    def _comparison(
        self,
        node: ast.expr,
        left: Any,
        ops: list[ast.cmpop],
        rest: list[ast.expr],
        scope: Mapping[str, Any],
    ) -> Any:
        right = self.value(rest[0], scope)
        result = compared(self._spend, node, ops[0], left, right)
        if len(ops) == 1:
            return result
        if result is not UNKNOWN and not isinstance(result, jax.Array) and not result:
            return result  # like Python, which does not evaluate the rest then
        others = self._comparison(node, right, ops[1:], rest[1:], scope)
        return UNKNOWN if result is UNKNOWN or others is UNKNOWN else result * others

    def _either(self, nodes: list[ast.expr], is_or: bool, scope: Mapping[str, Any]) -> Any:
        first, *rest = nodes
        value = self.value(first, scope)
        if not rest:
            return value
        if value is UNKNOWN or isinstance(value, jax.Array):
            other = self._either(rest, is_or, scope)
            return selected(value, value, other) if is_or else selected(value, other, value)
        return value if bool(value) == is_or else self._either(rest, is_or, scope)

    def _choice(self, test: Any, body: ast.expr, orelse: ast.expr, scope: Mapping[str, Any]) -> Any:
        if test is UNKNOWN or isinstance(test, jax.Array):
            return selected(test, self.value(body, scope), self.value(orelse, scope))
        return self.value(body if test else orelse, scope)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp, scope: Mapping[str, Any]) -> Any:
        num_missing = len(self.missing)
        scopes = [dict(scope)]
        for generator in node.generators:
            if generator.is_async:
                raise ValueError(f"cannot read {quoted(node)}: write a for without async")
            scopes = [
                inner for outer in scopes for inner in self._loop(node, generator, outer, num_missing)
            ]
        values = [self.value(node.elt, each) for each in scopes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else self._listed(node, values)

    def _loop(
        self, node: ast.expr, generator: ast.comprehension, scope: Mapping[str, Any], num_missing: int
    ) -> list[dict[str, Any]]:
        """Return the scopes for the items of one `for` of a comprehension that pass its tests."""
        items = self.value(generator.iter, scope)
        items = list(items) if isinstance(items, dict) else items
        if items is not UNKNOWN and not isinstance(items, list):
            raise ValueError(f"cannot loop over {quoted(generator.iter)}")
        scopes: list[dict[str, Any]] = []
        for item in [UNKNOWN] if items is UNKNOWN else items:
            new = {**scope, **unpacked(generator.target, item)}
            tests = [self.value(condition, new) for condition in generator.ifs]
            # A test is unknown because a name is missing, or because it depends on a lambda's argument.
            if len(self.missing) == num_missing and any(test is UNKNOWN for test in tests):
                raise ValueError(f"cannot read {quoted(node)}: its length depends on the epoch")
            if all(tests):
                scopes.append(new)
                self._spend(len(new))
        return scopes

    def _named(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        name = function_name(node.func) if isinstance(node, ast.Call) else None
        if name is None or not isinstance(node, ast.Call) or source_of(node.func) in self._named_calls:
            source = source_of(node)
            if source in scope:
                return scope[source]
            if source in self.assigned:
                return self._assigned(source)
            if source in self.names:
                return self._given(node, source, scope)
            if (key := self._parsed_argument(node)) is not None:
                self.names[source] = self._read_as(key, source)
                return self.names[source]
        number = constant(node)
        if number is not None:
            return number
        match node:
            case ast.Call(args=[items]) if name == "len":
                return self._kept(node, items, self._called(node, name, scope), scope)
            case ast.Call():
                return self._called(node, name, scope)
            case ast.Subscript(value=items, slice=index) if self.is_known(items, scope):
                value = self._item(node, self.value(items, scope), index, scope)
                return self._kept(node, node, value, scope)
            case ast.Attribute(value=owner, attr=attribute) if self.is_known(owner, scope):
                value = self._attribute(node, self.value(owner, scope), attribute)
                return self._kept(node, node, value, scope)
        if (named := self.class_named(node)) is not None:
            return named
        return self._miss_in(node, scope)

    def is_known(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        """Check if a list, a mapping or an object is known, so that its items can be looked up."""
        match node:
            case ast.List() | ast.Tuple() | ast.Dict() | ast.ListComp() | ast.Constant(value=str()):
                return True
            case ast.BinOp(left=left, right=right):
                return self.is_known(left, scope) or self.is_known(right, scope)
        source = source_of(node)
        if source in scope or source in self.names or self._parsed_argument(node) is not None:
            return True
        if source in self.assigned:
            return not isinstance(self.assigned[source], Unevaluated)
        match node:
            case ast.Attribute(value=owner) | ast.Subscript(value=owner):
                return self.is_known(owner, scope)
            case ast.Call(func=ast.Attribute(value=owner) as func):
                return function_name(func) is not None or self.is_known(owner, scope)
            case ast.Call(func=func):
                return function_name(func) is not None or self.is_known(func, scope)
        return False

    def _parsed_argument(self, node: ast.expr) -> str | None:
        """Return `epochs` for `args.epochs`, if `names` is `vars(args)`."""
        match node:
            case (
                ast.Attribute(value=owner, attr=key)
                | ast.Subscript(value=owner, slice=ast.Constant(value=str() as key))
            ):
                root = source_of(owner)
                is_unknown = root not in self.names and root not in self.assigned
                if is_unknown and root.rpartition(".")[2] in _PARSED and key in self.names:
                    return key
        return None

    def _read_as(self, key: str, source: str) -> Any:
        """Return a value of `names`. Refuse a text that reads it by two spellings."""
        if (other := self._readers.setdefault(key, source)) != source:
            raise ValueError(
                f"names gives one value for {other!r} and {source!r}: give both, as in "
                f"names={{{other!r}: ..., {source!r}: ...}}"
            )
        return self.names[key]

    def _kept(self, node: ast.expr, item: ast.expr, value: Any, scope: Mapping[str, Any]) -> Any:
        """Keep the value of an attribute, an item or its length: the caller may change the object later."""
        root = item
        while isinstance(root, ast.Attribute) or (
            isinstance(root, ast.Subscript) and isinstance(root.slice, ast.Constant)
        ):
            root = root.value
        if not isinstance(root, ast.Name) or root.id not in self.names:
            return value
        if root.id not in {*scope, *self.assigned} and is_literal(value):
            self.names[source_of(node)] = value
            if isinstance(node, ast.Call):
                self._named_calls.add(source_of(node.func))
        return value

    def _given(self, node: ast.expr, source: str, scope: Mapping[str, Any]) -> Any:
        value = self._read_as(source, source)
        bound = names_in(node) & scope.keys()
        if isinstance(node, ast.Call) and bound:
            function, variable = source_of(node.func), min(bound)
            raise ValueError(
                f"names gives one value for {quoted(node)}, which depends on {variable!r}: write "
                f"'def {function}({variable}): ...' before the scheduler, or give the function itself, as "
                f"names={{{function!r}: ...}} in Python"
            )
        return value

    def _called(self, node: ast.Call, name: str | None, scope: Mapping[str, Any]) -> Any:
        constructed = self.construct(node, scope)
        if constructed is not None:
            return constructed
        is_other = _is_filtered(node) and name in ("max", "min")
        if name is None or is_other or source_of(node.func) in {*scope, *self.assigned, *self.names}:
            match node.func:
                case ast.Name(id="next" | "max" | "min" as kind) if _is_filtered(node):
                    return self._picked(node, kind, scope)
                case ast.Name(id="partial") | ast.Attribute(attr="partial") if node.args:
                    return self._partial(node, scope)
                case ast.Lambda() as func:
                    return self._apply(node, self.value(func, Frame(scope)), scope)
                case ast.Name() | ast.Attribute() as func if source_of(func) in _LITERALS and node.args:
                    return self._literal(node, scope)
                case ast.Name() | ast.Attribute() | ast.Subscript() as func if self.is_known(func, scope):
                    if not isinstance(func, ast.Attribute) or self._is_value(func, scope):
                        return self._apply(node, self.value(func, scope), scope)
                    return self._method(node, func, scope)
                case ast.Attribute(value=owner) as func if self.is_known(owner, scope):
                    return self._method(node, func, scope)
                case ast.Name(id="map" | "filter" as kind) if len(node.args) == 2 and not node.keywords:
                    return self._map(node, kind, scope)
                case ast.Name(id="isinstance") if len(node.args) == 2 and self.is_known(
                    node.args[0], scope
                ):
                    return self._isinstance(node, scope)
                case ast.Name(id="getattr") if len(node.args) >= 2 and self.is_known(node.args[0], scope):
                    return self._getattr(node, scope)
                case ast.Name(id=kind) | ast.Attribute(attr=kind) if kind in _NAMESPACES and not node.args:
                    keys: list[ast.expr | None] = [
                        None if each.arg is None else ast.Constant(each.arg) for each in node.keywords
                    ]
                    return self._mapping(node, keys, [each.value for each in node.keywords], scope)
        if name and (arguments := _in_order(name, node)) is not None:
            return self._call(node, name, arguments, scope)
        return self._miss_in(node, scope)

    def _partial(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        """Return a `functools.partial` of a function of the text."""
        if not isinstance(node.args[0], ast.Lambda) and not self.is_known(node.args[0], scope):
            return self._miss_in(node, scope)
        function, *args = self.items(node.args, scope)
        by_name = {str(each.arg): self.value(each.value, scope) for each in node.keywords}
        return function if function is UNKNOWN else Partial(node, self, function, args, by_name)

    def _picked(self, node: ast.Call, kind: str, scope: Mapping[str, Any]) -> Any:
        """Return `next(x for x in items if test)`, or the largest or smallest, for a test of any kind."""
        generator: Any = node.args[0]
        items = self.value(generator.generators[0].iter, scope)
        items = list(items) if isinstance(items, dict) else items
        if items is UNKNOWN:
            return UNKNOWN
        if not isinstance(items, list):
            raise ValueError(f"cannot loop over {quoted(generator.generators[0].iter)}")
        test = ast.BoolOp(ast.And(), generator.generators[0].ifs)
        test = test if len(test.values) > 1 else test.values[0]
        found: list[tuple[Any, Any]] = []
        for item in items:
            inner = {**scope, **unpacked(generator.generators[0].target, item)}
            is_in = self.value(test, inner)
            if is_in is UNKNOWN or isinstance(is_in, jax.Array) or is_in:
                found.append((is_in, self.value(generator.elt, inner)))
            if kind == "next" and found and found[-1][0] is True:
                break
        if any(UNKNOWN in pair for pair in found if not any(isinstance(e, jax.Array) for e in pair)):
            return UNKNOWN
        default = self.value(node.args[1], scope) if len(node.args) > 1 else None
        return attempted(node, picked, kind, found, default)

    def _literal(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        """Return the value of a known text as an expression."""
        if not self.is_known(node.args[0], scope):
            return self._miss_in(node, scope)
        text = self.value(node.args[0], scope)
        if text is UNKNOWN:
            return UNKNOWN
        if not isinstance(text, str):
            raise ValueError(f"cannot read {quoted(node)}: its argument must be a string")
        try:
            parsed = parse_expression(text)
        except SyntaxError:
            raise ValueError(
                f"cannot read {quoted(node)}: {shorten(text)!r} is not an expression"
            ) from None
        return self.value(parsed)

    def _is_value(self, func: ast.Attribute, scope: Mapping[str, Any]) -> bool:
        """Check if an attribute is a value of its own, and not a method of a list or a text."""
        return source_of(func) in {*scope, *self.assigned, *self.names} or not (
            isinstance(self.value(func.value, scope), list | dict | str)
        )

    def _apply(self, node: ast.Call, function: Any, scope: Mapping[str, Any]) -> Any:
        """Call a function of the text, or one that the user has given."""
        positional = self.items(node.args, scope)
        by_name = {str(each.arg): self.value(each.value, scope) for each in node.keywords}
        if function is UNKNOWN:
            return UNKNOWN
        if isinstance(function, dict) and not positional:  # a class of settings
            return {**function, **by_name}
        if isinstance(function, Partial):
            return self._applied(
                node, function.function, [*function.args, *positional], function.keywords | by_name
            )
        return self._applied(node, function, positional, by_name)

    def _applied(
        self, node: ast.Call, function: Any, positional: Sequence[Any], by_name: Mapping[str, Any]
    ) -> Any:
        if isinstance(function, Lambda):
            self._spend(1)
            inner = self.with_budget(self._budget)
            inner.missing, inner._depth = self.missing, self._depth + 1
            if inner._depth > _MOST_CALLS:
                raise ValueError(f"cannot read {quoted(node)}: its functions call each other too deeply")
            result = function.evaluate(inner, positional, by_name)
            self._budget = inner._budget
            return result
        if not callable(function) or isinstance(function, type):
            raise ValueError(f"cannot read {quoted(node)}: {source_of(node.func)!r} is not a function")
        if any(value is UNKNOWN for value in [*positional, *by_name.values()]):
            return UNKNOWN
        return called_python(source_of(node.func), function, positional, by_name)

    def _method(self, node: ast.Call, func: ast.Attribute, scope: Mapping[str, Any]) -> Any:
        owner = self.value(func.value, scope)
        if isinstance(owner, Array) and func.attr == "astype" and len(node.args) == 1:
            is_int = source_of(node.args[0]).strip("'").rpartition(".")[2].startswith("int")
            return Array(int(item) if is_int else float(item) for item in owner)
        arguments = self.items(node.args, scope)
        if owner is UNKNOWN or any(argument is UNKNOWN for argument in arguments):
            return UNKNOWN
        if isinstance(owner, dict) and func.attr == "get" and isinstance(arguments[0], jax.Array):
            return traced_item(owner, arguments[0], arguments[1] if len(arguments) > 1 else np.nan)
        return attempted(node, result_of, node, owner, func.attr, arguments)

    def _map(self, node: ast.Call, kind: str, scope: Mapping[str, Any]) -> Any:
        """Return the values of `map(f, items)` or `filter(f, items)`, evaluated as a comprehension."""
        function, items = node.args
        if isinstance(
            function, ast.Lambda
        ):  # it reads the variables around the call, not those of the loop
            scope = Frame({**scope, "_function": self.value(function, Frame(scope))})
            function = ast.Name("_function", ast.Load())
        target = ast.Name("_item", ast.Load())
        applied = ast.Call(function, [target], [])
        tests: list[ast.expr] = [applied] if kind == "filter" else []
        each = ast.comprehension(ast.Name("_item", ast.Store()), items, tests, 0)
        return self._comprehension(ast.ListComp(target if tests else applied, [each]), scope)

    def _getattr(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        owner, attribute, *default = self.items(node.args, scope)
        if owner is UNKNOWN or attribute is UNKNOWN:
            return UNKNOWN
        found = attribute_of(owner, attribute)
        if found is ABSENT and default:
            return default[0]
        return self._attribute(node, owner, attribute)

    def _isinstance(self, node: ast.Call, scope: Mapping[str, Any]) -> Any:
        """Check the type of a plain value. A tuple is a list here, so `isinstance(x, tuple)` is unknown."""
        value, kinds = self.value(node.args[0], scope), node.args[1]
        names = {source_of(each) for each in (kinds.elts if isinstance(kinds, ast.Tuple) else [kinds])}
        for kind, spellings in _TYPES.items():
            if isinstance(value, kind) and names & spellings:
                return True
        is_tested = isinstance(value, bool | int | float | str | None | list | dict)
        if not is_tested or not names <= _TYPE_NAMES or (isinstance(value, list) and "tuple" in names):
            return self._miss_in(node, scope)
        return False

    def _attribute(self, node: ast.expr, owner: Any, attribute: Any) -> Any:
        if owner is UNKNOWN:
            return UNKNOWN
        value = attribute_of(owner, attribute)
        if value is ABSENT:
            raise ValueError(f"cannot read {quoted(node)}: the value before the dot has no such attribute")
        return plain(value)

    def _miss_in(self, node: ast.expr, scope: Mapping[str, Any]) -> Unknown:
        """Record the unknown part of an expression: the function or list, if a variable is its argument."""
        bound = names_in(node) & scope.keys()
        if not bound:
            return self._miss(source_of(node))
        match node:
            case ast.Call(func=func) if not names_in(func) & bound:
                self.missing_functions.add(source_of(func))
                self._miss(source_of(func))
                for argument in [*node.args, *(each.value for each in node.keywords)]:
                    self.value(argument, scope)
                return UNKNOWN
            case ast.Subscript(value=items, slice=index) if not names_in(items) & bound:
                self.value(index, scope)
                return self._miss(source_of(items))
        raise ValueError(f"cannot read {quoted(node)}: write numbers, strings, lists, arithmetic and names")

    def _assigned(self, source: str) -> Any:
        match self.assigned[source]:
            case Unevaluated(error=ValueError() as error):
                raise error
            case Unevaluated(missing=missing):
                for name in missing:
                    self._miss(name)
                return UNKNOWN
            case value:
                return value

    def _miss(self, source: str) -> Unknown:
        if source not in self.missing:
            self.missing.append(source)
        return UNKNOWN

    def _call(self, node: ast.expr, name: str, arguments: list[ast.expr], scope: Mapping[str, Any]) -> Any:
        known = len(self.missing)
        summands = _as_sum(name, arguments)
        values = self.items(summands or arguments, scope)
        if name == "len" and len(self.missing) > known:
            # For len(train_loader) the user can give the length, but not the loader.
            self.missing[known:] = [source_of(node)]
        if any(value is UNKNOWN for value in values):
            return UNKNOWN
        if any(isinstance(value, list) and any(item is UNKNOWN for item in value) for value in values):
            return UNKNOWN
        if name in _SIZED:
            is_range = name == "range" and all(isinstance(value, int) for value in values)
            size = attempted(node, lambda *ends: len(range(*ends)), *values) if is_range else 0
            self._spend(size + sum(size_of(value) for value in values if isinstance(value, list)))
            values = [list(value) if isinstance(value, dict) else value for value in values]
            if name in ("zip", "enumerate"):
                return attempted(node, lambda: list(map(list, apply_function(name, *values))))
        if name == "len" and not summands and not isinstance(values[0], jax.Array):
            return attempted(node, len, *values)
        return attempted(node, apply_function, "sum" if summands else name, *values)

    def _item(self, node: ast.expr, items: Any, index: ast.expr, scope: Mapping[str, Any]) -> Any:
        if isinstance(index, ast.Slice):
            ends = [
                None if end is None else self.value(end, scope)
                for end in (index.lower, index.upper, index.step)
            ]
            if items is UNKNOWN or any(end is UNKNOWN for end in ends):
                return UNKNOWN
            return attempted(node, lambda: items[slice(*ends)])
        key = self.value(index, scope)
        if items is UNKNOWN or key is UNKNOWN:
            return UNKNOWN
        if isinstance(key, jax.Array):
            return traced_item(items, key)
        return plain(attempted(node, lambda: items[key]))

    def _spend(self, amount: int) -> None:
        self._budget -= amount
        self.work.left -= amount
        if self._budget < 0 or self.work.left < 0:
            raise ValueError("the text asks for too many values and operations")


def _is_filtered(node: ast.Call) -> bool:
    """Check if a call is given one comprehension with a test."""
    match node.args:
        case [ast.ListComp(generators=[one]) | ast.GeneratorExp(generators=[one]), *_]:
            return bool(one.ifs) and not one.is_async and not node.keywords
    return False


def _as_sum(name: str, arguments: list[ast.expr]) -> list[ast.expr] | None:
    """Rewrite `len([x for x in xs if test])` as the sum of `[1 if test else 0 for x in xs]`.

    The length of the new list does not depend on a test of the epoch, so it can be traced. `sum` is
    rewritten in the same way.
    """
    match arguments:
        case [
            ast.ListComp(elt=elt, generators=[generator])
            | ast.GeneratorExp(elt=elt, generators=[generator])
        ] if name in ("len", "sum") and generator.ifs:
            test = ast.BoolOp(ast.And(), generator.ifs) if len(generator.ifs) > 1 else generator.ifs[0]
            counted = ast.IfExp(test, elt if name == "sum" else ast.Constant(1), ast.Constant(0))
            everything = ast.comprehension(generator.target, generator.iter, [], generator.is_async)
            return [ast.ListComp(counted, [everything])]
    return None


def _parsed_name(key: Any) -> ast.expr:
    try:
        return parse_expression(key)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"each key of names must be an expression such as 'len(loader)', got {key!r}"
        ) from error


def called_python(name: str, function: Any, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
    """Call a Python function. If JAX cannot trace it, raise an error with the way out."""
    try:
        return plain(function(*positional, **by_name))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        raise ValueError(
            f"JAX cannot trace the function {shorten(name)!r}: give num_steps, so that its values are "
            "tabulated, or pass the schedule to jaxlr.tabulate"
        ) from None


def _in_order(name: str, node: ast.Call) -> list[ast.expr] | None:
    """Return the arguments of a built-in function in their order, or None if one has another name."""
    arguments, names = list(node.args), PARAMETERS.get(name, ())
    for keyword in node.keywords:
        if len(arguments) >= len(names) or keyword.arg != names[len(arguments)]:
            return None
        arguments.append(keyword.value)
    return arguments
