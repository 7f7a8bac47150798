"""Converters of torch's schedulers and optimizers to JAX. They never import torch."""

from jaxlr.convert.lines import port
from jaxlr.convert.live import from_state_dict, from_torch
from jaxlr.convert.optimizer import optimizer_from_torch
from jaxlr.convert.optimizer_text import optimizer_from_string
from jaxlr.convert.resume import resume_from_torch
from jaxlr.convert.text import from_string


__all__ = [
    "from_state_dict",
    "from_string",
    "from_torch",
    "optimizer_from_string",
    "optimizer_from_torch",
    "port",
    "resume_from_torch",
]
