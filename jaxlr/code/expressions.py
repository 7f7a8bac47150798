"""The expressions of a recipe, evaluated by walking their syntax and never executed.

Only a whitelist of syntax is read, and the work is limited, so that a text from an untrusted file is safe.
"""

import ast
import copy
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import jax

from jaxlr.code.calls import call_result, called_python
from jaxlr.code.functions import (
    OPERATORS,
    bounded,
    constant,
    function_name,
)
from jaxlr.code.lambdas import Inlined, Lambda
from jaxlr.code.names import GivenNames
from jaxlr.code.operations import attempted, calculated, compared, selected, traced_item
from jaxlr.code.syntax import (
    Transformer,
    literal,
    parse_expression,
    quoted,
    source_of,
    unreadable,
)
from jaxlr.code.values import (
    ABSENT,
    MOST_WORK,
    UNKNOWN,
    ClassName,
    Settings,
    Unevaluated,
    Unknown,
    Work,
    attribute_of,
    depth_of,
    is_key,
    names_in,
    plain,
    size_of,
    unpacked,
)


_MOST_CALLS = 30  # of functions of the text in each other
_MOST_NESTED = 4  # lists in each other


class Evaluator:
    """An evaluator of expressions, which collects in `missing` the names without a value.

    Args:
        names: values of expressions, by their source: `{"epochs": 90, "len(loader)": 391}`; or an object
            that holds them, such as a Namespace.
    """

    def __init__(self, names: Any):
        self.names: GivenNames = GivenNames(names)
        self.assigned: MutableMapping[str, Any] = {}
        self.missing: list[str] = []
        self.missing_functions: set[str] = set()
        self.construct: Callable[[ast.Call, Mapping[str, Any]], Any] = lambda call, scope: None
        self.class_named: Callable[[ast.expr], ClassName | None] = lambda node: None
        self._budget = MOST_WORK
        self.work: Work = Work()
        self._depth = 0

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

    def definition(self, node: ast.expr) -> ast.expr:
        """Return the expression that was assigned to a name and has no value, or the name itself."""
        assigned = self.assigned.get(source_of(node))
        if assigned is None and isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return _element(self.definition(node.value), node.slice.value) or node
        return assigned.node if isinstance(assigned, Unevaluated) else node

    def frozen(self, node: ast.expr) -> ast.expr:
        """Return an expression with the values that the variables of the text have now."""
        frozen: Any = _Frozen(self).visit(Inlined(self.assigned, set()).visit(copy.deepcopy(node)))
        return frozen

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
        self.spend(1)
        match node:
            case ast.Constant(value=bool() | int() | float() | str() | None as value):
                return bounded(value)
            case ast.List(elts=elements) | ast.Tuple(elts=elements) | ast.Set(elts=elements):
                return self._listed(node, self.items(elements, scope))
            case ast.Dict(keys=keys, values=values):
                return self.mapping(node, keys, values, scope)
            case ast.UnaryOp() | ast.BinOp() | ast.Compare() | ast.BoolOp() | ast.IfExp():
                return self._operation(node, scope)
            case ast.Lambda():
                is_known = not any(value is UNKNOWN for value in scope.values())
                return Lambda(node, self, scope) if is_known else UNKNOWN
            case ast.ListComp() | ast.GeneratorExp():
                return self.comprehension(node, scope)
            case ast.DictComp(key=key, value=value, generators=generators):
                pairs = ast.ListComp(ast.Tuple([key, value], ast.Load()), generators)
                found = self.comprehension(pairs, scope)
                return UNKNOWN if found is UNKNOWN else self._mapped(node, found)
            case ast.JoinedStr(values=parts):
                return self._joined(node, parts, scope)
            case ast.Name() | ast.Attribute() | ast.Subscript() | ast.Call():
                return self._named(node, scope)
        raise unreadable(node, "write numbers, strings, lists, arithmetic and names")

    def items(self, nodes: list[ast.expr], scope: Mapping[str, Any] | None = None) -> list[Any]:
        """Return the values of arguments or elements, of which `*values` are several."""
        values: list[Any] = []
        for node in nodes:
            if not isinstance(node, ast.Starred):
                values.append(self.value(node, scope))
                continue
            if not self.is_known(node.value, scope or {}):
                raise unreadable(node, "write the arguments out")
            several = self.value(node.value, scope)
            if not isinstance(several, list):
                raise unreadable(node, "it is not a list with known items")
            values += several
        return values

    def _listed(self, node: ast.expr, values: list[Any]) -> list[Any]:
        self.spend(size_of(values))
        if depth_of(values) > _MOST_NESTED:
            raise unreadable(node, "the lists in it are nested too deeply")
        return values

    def mapping(
        self,
        node: ast.expr,
        keys: Sequence[ast.expr | None],
        values: Sequence[ast.expr],
        scope: Mapping[str, Any],
    ) -> Any:
        """Return the mapping of keys to values. A key that is None stands for `**values`."""
        pairs: list[Any] = []
        for key, value in zip(keys, values, strict=True):
            found = self.value(value, scope)
            if key is None and isinstance(found, dict):  # {**defaults, "gamma": 0.5}
                pairs += found.items()
            elif key is None:
                raise unreadable(value, "its items are not known: write them out")
            else:
                pairs.append((self.value(key, scope), found))
        return self._mapped(node, pairs)

    def _mapped(self, node: ast.expr, pairs: list[Any]) -> Any:
        if any(key is UNKNOWN for key, _ in pairs):
            return UNKNOWN
        if not all(is_key(key) for key, _ in pairs):
            raise unreadable(node, "its keys must be known numbers or strings")
        result = dict(pairs)
        self._listed(node, list(result.values()))
        return result

    def _joined(self, node: ast.expr, parts: Sequence[ast.expr], scope: Mapping[str, Any]) -> Any:
        """Return the text of `f"{name}LR"`, whose values are texts or integers without a format."""
        texts: list[str] = []
        for part in parts:
            match part:
                case ast.FormattedValue(value=inner, conversion=-1, format_spec=None):
                    value = self.value(inner, scope)
                case _:
                    value = self.value(part, scope)
            if value is UNKNOWN:
                return UNKNOWN
            if not isinstance(value, str | int):
                raise unreadable(node, "write only texts and integers in an f-string")
            texts.append(str(value))
        self.spend(sum(map(len, texts)))
        return "".join(texts)

    def _operation(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        match node:
            case ast.UnaryOp(op=op, operand=operand) if type(op) in OPERATORS:
                return calculated(self.spend, node, op, self.value(operand, scope))
            case ast.BinOp(op=op, left=left, right=right) if type(op) in OPERATORS:
                return calculated(self.spend, node, op, self.value(left, scope), self.value(right, scope))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                return compared(self.spend, node, op, self.value(left, scope), self.value(right, scope))
            case ast.Compare(left=left, ops=[op, *ops], comparators=[middle, *rest]):
                first, second = ast.Compare(left, [op], [middle]), ast.Compare(middle, ops, rest)
                return self._either([first, second], False, scope)  # a < b < c is a < b and b < c
            case ast.BoolOp(op=op, values=[*values]):
                return self._either(values, isinstance(op, ast.Or), scope)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self._choice(self.value(test, scope), body, orelse, scope)
        raise unreadable(node, "write +, -, *, /, //, % and **")

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

    def comprehension(self, node: ast.ListComp | ast.GeneratorExp, scope: Mapping[str, Any]) -> Any:
        """Return the items of a list comprehension, or UNKNOWN if one of them is."""
        num_missing = len(self.missing)
        scopes = [dict(scope)]
        for generator in node.generators:
            if generator.is_async:
                raise unreadable(node, "write a for without async")
            scopes = [
                inner for outer in scopes for inner in self._loop(node, generator, outer, num_missing)
            ]
        values = [self.value(node.elt, each) for each in scopes]
        return UNKNOWN if any(value is UNKNOWN for value in values) else self._listed(node, values)

    def _loop(
        self, node: ast.expr, generator: ast.comprehension, scope: Mapping[str, Any], num_missing: int
    ) -> list[dict[str, Any]]:
        """Return the scopes for the items of one `for` of a comprehension that pass its tests."""
        scopes: list[dict[str, Any]] = []
        for item in self.looped(generator.iter, scope):
            new = {**scope, **unpacked(generator.target, item)}
            tests = [self.value(condition, new) for condition in generator.ifs]
            # A test is unknown because a name is missing, or because it depends on a lambda's argument.
            if len(self.missing) == num_missing and any(test is UNKNOWN for test in tests):
                raise unreadable(node, "its length depends on the epoch")
            if all(tests):
                scopes.append(new)
                self.spend(len(new))
        return scopes

    def looped(self, node: ast.expr, scope: Mapping[str, Any]) -> list[Any]:
        """Return the items that a `for` loops over. A list that is not known has one unknown item."""
        items = self.value(node, scope)
        if not isinstance(items, list | dict | Unknown):
            raise ValueError(f"cannot loop over {quoted(node)}")
        return [UNKNOWN] if isinstance(items, Unknown) else list(items)

    def _named(self, node: ast.expr, scope: Mapping[str, Any]) -> Any:
        name = function_name(node.func) if isinstance(node, ast.Call) else None
        if name is None or not isinstance(node, ast.Call) or self.names.may_have(node):
            source = source_of(node)
            if source in scope:
                return scope[source]
            if source in self.assigned:
                return self._assigned(source)
            if source in self.names:
                return self.names.value(node, scope)
            if (key := self._flag(node)) is not None:
                self.names[source] = self.names.read(key, source)
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
                value = self.attribute(node, self.value(owner, scope), attribute)
                return self._kept(node, node, value, scope)
        if (named := self.class_named(node)) is not None:
            return named
        return self.miss_in(node, scope)

    def is_known(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        """Check if a list, a mapping or an object is known, so that its items can be looked up."""
        match node:
            case ast.List() | ast.Tuple() | ast.Dict() | ast.ListComp() | ast.Constant(value=str()):
                return True
            case ast.BinOp(left=left, right=right):
                return self.is_known(left, scope) or self.is_known(right, scope)
        source = source_of(node)
        if source in scope or source in self.names or self._flag(node) is not None:
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

    def is_bound(self, node: ast.expr, scope: Mapping[str, Any]) -> bool:
        """Check if the text or the caller gives a value to an expression."""
        source = source_of(node)
        return source in scope or source in self.assigned or source in self.names

    def _flag(self, node: ast.expr) -> str | None:
        """Return `epochs` for `args.epochs`, if `names` is `vars(args)` and the text has no `args`."""
        flag = self.names.flag(node)
        return None if flag is None or self.is_bound(flag[1], {}) else flag[0]

    def _kept(self, node: ast.expr, item: ast.expr, value: Any, scope: Mapping[str, Any]) -> Any:
        return self.names.keep(node, item, value, (scope, self.assigned))

    def _called(self, node: ast.Call, name: str | None, scope: Mapping[str, Any]) -> Any:
        constructed = self.construct(node, scope)
        return call_result(self, node, name, scope) if constructed is None else constructed

    def apply(
        self, node: ast.Call, function: Any, positional: Sequence[Any], by_name: Mapping[str, Any]
    ) -> Any:
        """Call a function of the text, or one that the user has given."""
        if function is UNKNOWN:
            return UNKNOWN
        if isinstance(function, Lambda):
            self.spend(1)
            inner = self.with_budget(self._budget)
            inner.missing, inner._depth = self.missing, self._depth + 1
            if inner._depth > _MOST_CALLS:
                raise unreadable(node, "its functions call each other too deeply")
            result = function.evaluate(inner, positional, by_name)
            self._budget = inner._budget
            return result
        if isinstance(function, Settings):
            function.is_copied = True
        if isinstance(function, dict) and not positional:  # a class of settings
            return {**function, **by_name}
        if not callable(function) or isinstance(function, type):
            raise unreadable(node, f"{source_of(node.func)!r} is not a function")
        if any(value is UNKNOWN for value in [*positional, *by_name.values()]):
            return UNKNOWN
        return called_python(source_of(node.func), function, positional, by_name)

    def attribute(self, node: ast.expr, owner: Any, attribute: Any) -> Any:
        """Return an attribute of an object."""
        if owner is UNKNOWN:
            return UNKNOWN
        value = (
            owner if attribute == "__dict__" and isinstance(owner, dict) else attribute_of(owner, attribute)
        )
        if value is ABSENT:
            raise unreadable(node, "the value before the dot has no such attribute")
        return value if isinstance(owner, dict) else plain(value)  # a change of it must be seen

    def miss_in(self, node: ast.expr, scope: Mapping[str, Any]) -> Unknown:
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
        raise unreadable(node, "write numbers, strings, lists, arithmetic and names")

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
        value = attempted(node, lambda: items[key])
        return value if isinstance(items, list | dict) else plain(value)  # a change of it must be seen

    def spend(self, amount: int) -> None:
        """Take a number of operations from the budget."""
        self._budget -= amount
        self.work.left -= amount
        if self._budget < 0 or self.work.left < 0:
            raise ValueError("the text asks for too many values and operations")


class _Frozen(Transformer):
    """A transformer that replaces attributes and items by the values that they have now."""

    def __init__(self, evaluator: Evaluator):
        self._evaluator = evaluator

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace a node if its value is a number or a text."""
        if isinstance(node, ast.Attribute | ast.Subscript):
            value = self._evaluator.value_if_any(node)
            if isinstance(value, int | float | str):
                return parse_expression(literal(value))
        return self.generic_visit(node)


def _element(node: ast.expr, key: Any) -> ast.Call | None:
    """Return the call that is an element of a list or mapping, or None: a name may be another one."""
    match node:
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            is_plain = not any(isinstance(each, ast.Starred) for each in elements)
            table = dict(enumerate(elements)) if is_plain else {}
        case ast.Dict(keys=keys, values=values):
            pairs = zip(keys, values, strict=True)
            table = {each.value: value for each, value in pairs if isinstance(each, ast.Constant)}
        case _:
            return None
    element = table.get(key)
    return element if isinstance(element, ast.Call) else None
