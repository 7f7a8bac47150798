"""Frameworks that state a learning rate in their own way.

Each has a file with its configs, and long rules have another one. Both name the source and the version.
"""

from jaxlr.frameworks import (
    addons,
    axolotl,
    cleanrl,
    composer,
    deepspeed,
    detectron2,
    diffusers,
    diffusion_policy,
    dino,
    fairchem,
    fairseq,
    fastai,
    graphgym,
    huggingface,
    kohya,
    ldm,
    lerobot,
    lightning,
    mae,
    megatron,
    mmcv,
    mmengine,
    nanogpt,
    nemo,
    olmo,
    open_clip,
    sentence_transformers,
    stable_baselines3,
    swin,
    timm,
    torchtitan,
    torchtune,
    torchvision,
    ultralytics,
)
from jaxlr.frameworks.recipe import Recipe


# A config goes to the first one that recognizes it.
FRAMEWORKS = (
    torchtune.FRAMEWORK,
    torchtitan.FRAMEWORK,
    olmo.FRAMEWORK,
    composer.FRAMEWORK,
    fairseq.FRAMEWORK,
    nemo.FRAMEWORK,
    lerobot.FRAMEWORK,
    diffusion_policy.FRAMEWORK,
    graphgym.FRAMEWORK,
    fairchem.FRAMEWORK,
    stable_baselines3.FRAMEWORK,
    cleanrl.FRAMEWORK,
    mmengine.FRAMEWORK,
    mmcv.FRAMEWORK,
    detectron2.FRAMEWORK,
    lightning.FRAMEWORK,
    sentence_transformers.FRAMEWORK,
    deepspeed.FRAMEWORK,
    ultralytics.FRAMEWORK,
    swin.FRAMEWORK,
    torchvision.FRAMEWORK,
    timm.FRAMEWORK,
    axolotl.FRAMEWORK,
    kohya.FRAMEWORK,
    diffusers.FRAMEWORK,
    nanogpt.FRAMEWORK,
    mae.FRAMEWORK,
    dino.FRAMEWORK,
    open_clip.FRAMEWORK,
    ldm.FRAMEWORK,
    megatron.FRAMEWORK,
    huggingface.FRAMEWORK,
    addons.FRAMEWORK,
    fastai.FRAMEWORK,
)

# Functions and classes of the frameworks that people write as a call, by name.
CALLS = {call.__name__: (framework.name, call) for framework in FRAMEWORKS for call in framework.calls}

__all__ = ["CALLS", "FRAMEWORKS", "Recipe"]
