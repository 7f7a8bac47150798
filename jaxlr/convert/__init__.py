"""Converters of torch's schedulers and optimizers to JAX. They never import torch."""

from typing import TYPE_CHECKING

from jaxlr._lazy import on_first_use


if TYPE_CHECKING:
    from jaxlr.convert.lines import port
    from jaxlr.convert.live import from_state_dict, from_torch
    from jaxlr.convert.optimizers.live import optimizer_from_torch
    from jaxlr.convert.optimizers.names import parameter_names
    from jaxlr.convert.optimizers.resume import resume_from_torch
    from jaxlr.convert.optimizers.text import optimizer_from_string
    from jaxlr.convert.text import from_string


__all__ = [
    "from_state_dict",
    "from_string",
    "from_torch",
    "optimizer_from_string",
    "optimizer_from_torch",
    "parameter_names",
    "port",
    "resume_from_torch",
]

if not TYPE_CHECKING:
    # The frameworks import modules of this package, and from_string and from_torch import the frameworks.
    __getattr__, __dir__ = on_first_use(
        __name__,
        {
            "lines": ["port"],
            "live": ["from_state_dict", "from_torch"],
            "optimizers.live": ["optimizer_from_torch"],
            "optimizers.names": ["parameter_names"],
            "optimizers.resume": ["resume_from_torch"],
            "optimizers.text": ["optimizer_from_string"],
            "text": ["from_string"],
        },
    )
