"""Frameworks that state a learning rate in their own way.

Each has a file with its configs, and long rules have another one. Both name the source and the version.
"""

from jaxlr.frameworks.recipe import Recipe


__all__ = ["Recipe"]
