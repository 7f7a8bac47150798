"""The classes of torch, and the functions of frameworks, that the calls in a text name."""

import ast
from collections.abc import Collection, Mapping
from typing import Any

from jaxlr._checks import shorten
from jaxlr.code.expressions import Evaluator
from jaxlr.code.imports import OWN, Origin
from jaxlr.code.syntax import last_name, source_of, unreadable
from jaxlr.code.values import UNKNOWN, ClassName, Unevaluated, values_in
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.foreign import FOREIGN


KNOWN = CLASSES | FOREIGN
PARTIALS = ("partial", "functools.partial")


class ClassReader:
    """A reader of the class that a call constructs.

    Args:
        evaluator: the evaluator of the text.
    """

    known: Collection[str] = KNOWN  # the classes and functions whose calls are read

    def __init__(self, evaluator: Evaluator):
        self._evaluator = evaluator
        self.aliases: dict[str, str] = {}  # of `import StepLR as Step`
        self.origins: dict[str, Origin] = {}  # of the names that the text imports or defines
        evaluator.class_named = self._class_named

    def constructs(self, node: ast.AST) -> bool:
        """Check if a constructor is called in a part of the text."""
        return self.constructed(node) is not None

    def constructed(self, node: ast.AST) -> str | None:
        """Return the name of the first constructor that is called in a part of the text, or None."""
        calls = (self._resolved(each) for each in ast.walk(node) if isinstance(each, ast.Call))
        return next((source_of(call.func) for call in calls if call is not None), None)

    def is_constructor(self, node: ast.Call) -> bool:
        """Check if an expression is itself the call of a constructor."""
        return self._resolved(node) is not None

    def module_of(self, func: ast.expr) -> str:
        """Return the module of a function, as far as its expression and the imports of the text show it."""
        source = source_of(func)
        root, dot, _ = source.partition(".")
        origin = self.origins.get(root)
        if origin is None:
            return source if dot else ""
        return origin.module

    def check_origin(self, func: ast.expr, name: str, library: str = "torch") -> None:
        """Refuse a class that the text defines itself, or a class of torch from another library."""
        origin = self.origins.get(source_of(func).partition(".")[0])
        if origin is None:
            return
        if origin.module == OWN and isinstance(func, ast.Name):
            raise ValueError(
                f"the text defines its own {name}: leave the class out if it is a copy of the original, or "
                "write the rate as a function of the step, 'def get_lr(step): ...'"
            )
        if origin.module != OWN and library == "torch" and not origin.is_torchs:
            raise ValueError(
                f"{name} is imported from {shorten(origin.module)!r}, not from torch: leave the import out "
                "if it is the same class"
            )

    def _resolved(self, call: ast.Call, scope: Mapping[str, Any] | None = None) -> ast.Call | None:
        """Return a call of a torch class by its own name, or None if it calls something else.

        The class may be an alias, chosen by a condition, taken from a dict, got by `getattr`, or wrapped in
        a `partial`, whose arguments are added to those of the call.
        """
        func, args, keywords = call.func, list(call.args), list(call.keywords)
        for _ in range(10):
            assigned = self._evaluator.assigned.get(source_of(func))
            func = self._evaluator.definition(func)
            name = assigned.name if isinstance(assigned, ClassName) else self._known_name(func)
            if name and (assigned is None or isinstance(assigned, ClassName | Unevaluated)):
                return ast.Call(ast.Name(name, ast.Load()), args, keywords)
            match func:
                case (
                    ast.Call(func=ast.Name(id="getattr"), args=[_, key, *_])
                    | ast.Call(func=ast.Name(id="eval"), args=[key])
                ):
                    func = ast.Name(str(self._evaluator.value(key, scope)), ast.Load())
                case ast.Call(func=inner, args=[wrapped, *bound]) if source_of(inner) in PARTIALS:
                    names = [each.arg for each in keywords]
                    bound_by_name = [each for each in func.keywords if each.arg not in names]
                    func, args, keywords = wrapped, [*bound, *args], [*bound_by_name, *keywords]
                case ast.IfExp(test=test, body=body, orelse=orelse) if self._names_a_class(func):
                    value = self._evaluator.value(test, scope)
                    if value is UNKNOWN:
                        return None
                    func = body if value else orelse
                case ast.Subscript(value=table, slice=key) if _is_namespace(table):
                    func = ast.Name(str(self._evaluator.value(key, scope)), ast.Load())
                case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[key]):
                    func = ast.Subscript(table, key, ast.Load())
                case ast.Subscript(value=table, slice=key) if self._holds_names(table):
                    named = self._evaluator.value_if_any(func)
                    self._evaluator.value(key, scope)  # record a missing name
                    if not isinstance(named, ClassName):
                        return None
                    func = ast.Name(named.name, ast.Load())
                case ast.Subscript(value=table, slice=key) if self._names_a_class(table):
                    func = self._entry(table, self._evaluator.value(key, scope))
                case _:
                    return None
        return None

    def _class_named(self, node: ast.expr) -> ClassName | None:
        """Return the class of torch or the function of a framework that an expression names."""
        name = self._known_name(node)
        return None if name is None else ClassName(name)

    def _known_name(self, node: ast.expr) -> str | None:
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name):
                name = self.aliases.get(name, name)
                return name if name in self.known else None
        return None

    def _holds_names(self, node: ast.expr) -> bool:
        table = self._evaluator.assigned.get(source_of(node))
        return any(isinstance(each, ClassName) for each in values_in(table))

    def _names_a_class(self, node: ast.expr) -> bool:
        nodes = ast.walk(self._evaluator.definition(node))
        names = (source_of(each) for each in nodes if isinstance(each, ast.Name | ast.Attribute))
        return any(last_name(each) in self.known for each in names)

    def _entry(self, table: ast.expr, key: Any) -> ast.expr:
        node = self._evaluator.definition(table)
        if isinstance(node, ast.Dict):
            for each, value in zip(node.keys, node.values, strict=True):
                if each is not None and self._evaluator.value(each) == key:
                    return value
        raise unreadable(table, f"it has no scheduler for {key!r}")


def _is_namespace(table: ast.expr) -> bool:
    """Check if an expression is a table of all names, such as `globals()`."""
    source = source_of(table)
    return source in ("globals()", "locals()") or source.endswith(".__dict__") or source.startswith("vars(")
