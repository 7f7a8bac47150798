"""Recipes of torch, read into schedules and transformations; torch itself is never imported."""

from jaxlr.convert.live import from_state_dict, from_torch
from jaxlr.convert.optimizer import optimizer_from_torch
from jaxlr.convert.text import from_string, port


__all__ = ["from_state_dict", "from_string", "from_torch", "optimizer_from_torch", "port"]
