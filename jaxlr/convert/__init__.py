"""Converters of torch's schedulers and optimizers to JAX. They never import torch."""

from jaxlr.convert.lines import port
from jaxlr.convert.live import from_state_dict, from_torch
from jaxlr.convert.names import parameter_names
from jaxlr.convert.optimizer import optimizer_from_torch
from jaxlr.convert.resume import resume_from_torch
from jaxlr.convert.text import from_string


__all__ = [
    "from_state_dict",
    "from_string",
    "from_torch",
    "optimizer_from_torch",
    "parameter_names",
    "port",
    "resume_from_torch",
]
