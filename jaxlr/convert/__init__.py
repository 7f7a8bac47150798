"""Recipes of torch, read into schedules and transformations; torch itself is never imported."""

from jaxlr.convert.text import from_string, port


__all__ = ["from_string", "port"]
