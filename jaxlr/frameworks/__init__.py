"""Frameworks that state a learning rate in their own way.

Each has a file with its configs, and long rules have another one. Both name the source and the version.
"""

from jaxlr.frameworks import (
    addons,
    axolotl,
    beit,
    composer,
    deepspeed,
    detectron2,
    detr,
    diffusers,
    dino,
    fairseq,
    gaussian_splatting,
    huggingface,
    kohya,
    ldm,
    lightning,
    mae,
    megatron,
    mmcv,
    mmengine,
    moco,
    nanogpt,
    nemo,
    nerfstudio,
    olmo,
    open_clip,
    openpcdet,
    sam,
    sentence_transformers,
    slowfast,
    swin,
    timm,
    torchtitan,
    torchtune,
    torchvision,
    ultralytics,
    yolox,
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
    mmengine.FRAMEWORK,
    mmcv.FRAMEWORK,
    detr.FRAMEWORK,
    slowfast.FRAMEWORK,
    detectron2.FRAMEWORK,
    sam.FRAMEWORK,
    yolox.FRAMEWORK,
    openpcdet.FRAMEWORK,
    nerfstudio.FRAMEWORK,
    gaussian_splatting.FRAMEWORK,
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
    moco.FRAMEWORK,
    beit.FRAMEWORK,
    dino.FRAMEWORK,
    open_clip.FRAMEWORK,
    ldm.FRAMEWORK,
    megatron.FRAMEWORK,
    huggingface.FRAMEWORK,
    addons.FRAMEWORK,
)

# Functions and classes of the frameworks that people write as a call, by name.
CALLS = {call.__name__: (framework.name, call) for framework in FRAMEWORKS for call in framework.calls}

__all__ = ["CALLS", "FRAMEWORKS", "Recipe"]
