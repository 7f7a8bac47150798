"""Packages that import their names when these are first used (PEP 562)."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def on_first_use(
    package: str, modules: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return `__getattr__` and `__dir__` of a package that imports its names when they are first used.

    To import a module sets its name in the package. So no module may have the name of something else there.

    Args:
        package: the full name of the package.
        modules: the names in each module of the package. The modules are names of the package too.
    """
    module_of = {name: module for module, contents in modules.items() for name in contents}

    def attribute(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)
        setattr(sys.modules[package], name, value)  # the next use finds it at once
        return value

    def names() -> list[str]:
        # Modules are not listed before they are imported. Those of an extra may not be installed.
        return sorted({*vars(sys.modules[package]), *module_of} - {"TYPE_CHECKING", on_first_use.__name__})

    return attribute, names
