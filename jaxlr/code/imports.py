"""The names that a text imports, and the classes that it defines."""

import ast
from collections.abc import Sequence
from typing import NamedTuple

from jaxlr.code.builders import Substitution
from jaxlr.code.syntax import nodes_in


OWN = "your own"  # the module of the classes that the text defines
_MODULES = ("math", "numpy", "torch", "bisect", "itertools")
_RECENT = ("Adafactor", "Muon")  # older versions of torch lack them, and other libraries have other ones


class Origin(NamedTuple):
    """The place that a name comes from. A name that stands for a whole module has no name there."""

    module: str
    name: str = ""

    @property
    def full_name(self) -> str:
        """The name with its module."""
        module = self.module if self.module.strip(".") else OWN  # `from . import name`
        return f"{module}.{self.name}" if self.name else module

    @property
    def is_torchs(self) -> bool:
        """True if it is a part of torch."""
        return self.module.partition(".")[0] == "torch"


def imported(statements: Sequence[ast.stmt]) -> dict[str, Origin]:
    """Return the origin of each name that a text imports, and of each class that it defines.

    A name that is imported from torch and from elsewhere is taken to be from elsewhere, because the import
    in a branch or a `try` may succeed. A `try` that imports only from torch succeeds, so its handlers do
    not import the same names again.
    """
    nodes = list(nodes_in(statements))
    done: dict[int, set[str]] = {}  # the names that are imported before a handler, by the id of its nodes
    for each in nodes:
        if isinstance(each, ast.Try) and _imports_only_torch(each.body):
            names = {name for node in each.body for name, _ in _origins(node)}
            done |= dict.fromkeys(map(id, nodes_in(each.handlers)), names)
    found: dict[str, Origin] = {}
    for each in nodes:
        for name, origin in _origins(each):
            if name not in done.get(id(each), ()) and (name not in found or not origin.is_torchs):
                found[name] = origin
    return found


def with_own_names(statements: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Replace the names that `import numpy as n` and `from math import cos as c` give by the real ones."""
    names: dict[str, str] = {}
    for each in nodes_in(statements):
        match each:
            case ast.Import(names=aliases):
                aliases = [alias for alias in aliases if alias.name in _MODULES]
            case ast.ImportFrom(module=module, names=aliases) if module in _MODULES:
                pass
            case _:
                continue
        names |= {alias.asname: alias.name for alias in aliases if alias.asname}
    replaced = {name: ast.Name(own, ast.Load()) for name, own in names.items() if name != own}
    return [Substitution(replaced).visit(each) for each in statements] if replaced else list(statements)


def _imports_only_torch(statements: Sequence[ast.stmt]) -> bool:
    """Check if statements import from torch and do nothing else that may fail."""

    def is_safe(statement: ast.stmt) -> bool:
        match statement:
            case ast.ImportFrom(module=str() as module, names=aliases, level=0):
                return Origin(module).is_torchs and not any(each.name in _RECENT for each in aliases)
            case ast.Import(names=aliases):
                return all(Origin(alias.name).is_torchs for alias in aliases)
        return isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant)

    return all(map(is_safe, statements))


def _origins(node: ast.AST) -> list[tuple[str, Origin]]:
    """Return the names that a statement defines by an import or as a class, with their origins."""
    match node:
        case ast.ImportFrom(names=aliases, level=level):
            module = "." * level + (node.module or "")
            return [(each.asname or each.name, Origin(module, each.name)) for each in aliases]
        case ast.Import(names=aliases):
            return [(each.asname, Origin(each.name)) for each in aliases if each.asname]
        case ast.ClassDef(name=name):
            return [(name, Origin(OWN, name))]
    return []
