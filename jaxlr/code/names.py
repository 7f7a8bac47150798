"""The values that the caller gives for names in a text, such as those of its flags."""

import ast
from collections.abc import Collection, Sequence
from keyword import iskeyword
from typing import Any

import jax
import numpy as np

from jaxlr.code.syntax import is_literal, last_name, parse_expression, quoted, source_of
from jaxlr.code.values import Values, mapping_of, names_in


# The usual names of the object that holds the flags of a script.
_PARSED = ("args", "cfg", "conf", "config", "flags", "FLAGS", "hparams", "opt", "options", "opts", "params")


class GivenNames(Values):
    """The values of expressions by their source, each of which a text may read by one spelling.

    Args:
        names: the values, `{"epochs": 90, "len(loader)": 391}`; or an object that holds them, such as a
            Namespace.
    """

    def __init__(self, names: Any):
        values = mapping_of(names)
        # A flag may be called "lambda", which no expression can name.
        nodes = {key: _parsed(key) for key in values if not iskeyword(str(key))}
        super().__init__({source_of(node): values[key] for key, node in nodes.items()})
        self._readers: dict[str, str] = {}  # the spelling by which the text reads a name
        # Only these calls can be names. To unparse every call would take time quadratic in the text.
        self._called = {source_of(node.func) for node in nodes.values() if isinstance(node, ast.Call)}

    @property
    def are_traced(self) -> bool:
        """True if one of the values is a JAX array."""
        return any(isinstance(value, jax.Array) for value in dict.values(self))

    @property
    def are_numbers(self) -> bool:
        """True if the caller cannot change a value later."""
        numbers = bool | int | float | str | np.generic | None
        return all(isinstance(value, numbers) for value in dict.values(self))

    def may_have(self, call: ast.Call) -> bool:
        """Check if a call of this function is among the names."""
        return source_of(call.func) in self._called

    def has_read(self, source: str) -> bool:
        """Check if the text has already read a value."""
        return source in self._readers.values()

    def read(self, key: str, source: str) -> Any:
        """Return a value. Refuse a text that reads it by two spellings."""
        if (other := self._readers.setdefault(key, source)) != source:
            raise ValueError(
                f"names gives one value for {other!r} and {source!r}: give both, as in "
                f"names={{{other!r}: ..., {source!r}: ...}}"
            )
        return self[key]

    def value(self, node: ast.expr, bound: Collection[str]) -> Any:
        """Return the value of an expression. Refuse a call that depends on a bound variable."""
        source = source_of(node)
        value = self.read(source, source)
        variables = names_in(node) & {*bound}
        if isinstance(node, ast.Call) and variables:
            function, variable = source_of(node.func), min(variables)
            raise ValueError(
                f"names gives one value for {quoted(node)}, which depends on {variable!r}: write "
                f"'def {function}({variable}): ...' before the scheduler, or give the function itself, as "
                f"names={{{function!r}: ...}} in Python"
            )
        return value

    def flag(self, node: ast.expr) -> tuple[str, ast.expr] | None:
        """Return `epochs` and `args` for `args.epochs`, if the names are `vars(args)`."""
        match node:
            case (
                ast.Attribute(value=owner, attr=key)
                | ast.Subscript(value=owner, slice=ast.Constant(value=str() as key))
            ) if key in self and last_name(source_of(owner)) in _PARSED:
                return key, owner
        return None

    def keep(self, node: ast.expr, item: ast.expr, value: Any, variables: Sequence[Collection[str]]) -> Any:
        """Keep the value of an attribute, an item or its length: the caller may change the object later."""
        root = item
        while isinstance(root, ast.Attribute) or (
            isinstance(root, ast.Subscript) and isinstance(root.slice, ast.Constant)
        ):
            root = root.value
        if not isinstance(root, ast.Name) or root.id not in self or not is_literal(value):
            return value
        if not any(root.id in each for each in variables):
            source = source_of(node)
            self[source] = value
            self.read(source, source)
            if isinstance(node, ast.Call):
                self._called.add(source_of(node.func))
        return value


def _parsed(key: Any) -> ast.expr:
    try:
        return parse_expression(key)
    except (SyntaxError, ValueError, AttributeError) as error:
        raise ValueError(
            f"each key of names must be an expression such as 'len(loader)', got {key!r}"
        ) from error
