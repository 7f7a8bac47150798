"""Frameworks that state a learning rate in their own way, one file each.

Each is a table of schedules over `phased_lr`, with the source and the version of its rules.
"""

from jaxlr.frameworks import (
    axolotl,
    deepspeed,
    diffusers,
    huggingface,
    kohya,
    sentence_transformers,
    swin,
    timm,
    torchtune,
    ultralytics,
)
from jaxlr.frameworks.recipe import Recipe


# A config goes to the first one that recognizes it.
FRAMEWORKS = (
    torchtune.FRAMEWORK,
    sentence_transformers.FRAMEWORK,
    deepspeed.FRAMEWORK,
    ultralytics.FRAMEWORK,
    swin.FRAMEWORK,
    timm.FRAMEWORK,
    axolotl.FRAMEWORK,
    kohya.FRAMEWORK,
    diffusers.FRAMEWORK,
    huggingface.FRAMEWORK,
)

# Functions and classes of the frameworks that people write as a call, by name.
CALLS = {call.__name__: (framework.name, call) for framework in FRAMEWORKS for call in framework.calls}

__all__ = ["CALLS", "FRAMEWORKS", "Recipe"]
