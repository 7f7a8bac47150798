"""Diffusion Policy: the Hydra configs of its workspaces, which UMI and others share.

The rules are those of real-stanford/diffusion_policy of December 2024 (`workspace/*.py`), with the
schedulers of diffusers.
"""

from collections.abc import Mapping

from jaxlr._checks import check_positive_count
from jaxlr.frameworks.huggingface_schedules import get_scheduler
from jaxlr.frameworks.recipe import Config, Framework, Recipe


def read(config: Config) -> Recipe:
    """Read the section `training`, and the rate of `optimizer`. A count is an update."""
    training, optimizer = config.inner("training"), config.inner("optimizer")
    if config.num_processes not in (None, 1):
        raise ValueError("num_processes must be 1: UMI steps its scheduler once for each process")
    rate = optimizer.first("lr", "learning_rate")
    if optimizer.has("obs_encoder_lr") and config.groups("policy", "obs_encoder") == 1:
        rate = "obs_encoder_lr"
    init_value = optimizer.base_rate(rate)
    name = training.text("lr_scheduler")
    warmup = training.count("lr_warmup_steps", None)
    steps = None
    if name not in ("constant", "constant_with_warmup") or config.steps_per_epoch is not None:
        every = training.positive_count("gradient_accumulate_every", 1)
        steps = training.whole_epochs("num_epochs") * training.steps_in_epoch() // every
        steps = check_positive_count("updates", steps)
    optimizer.state_settings(weight_decay="weight_decay")
    config.state(momentum=optimizer.stated_first("betas"))
    encoder = config.inner("policy").get("obs_encoder")
    if isinstance(encoder, Mapping) and encoder.get("pretrained") and not optimizer.has("obs_encoder_lr"):
        config.assume("UMI trains a pretrained obs_encoder with a tenth of this rate.")
    schedule = get_scheduler(init_value, name, warmup, steps)
    return config.recipe("diffusion_policy", schedule, "update", steps)


FRAMEWORK = Framework(
    name="diffusion_policy",
    read=read,
    marks=(("training.lr_scheduler", "training.lr_warmup_steps"),),
    aliases=("umi", "diffusion-policy"),
)
