"""OpenNMT-py and Eole: the `decay_method` of their YAML configs and flags.

The rules are those of OpenNMT-py 3.5 and Eole 0.5 (`utils/optimizers.py` of both). They count the
current update: the first one is step 1.
"""

from typing import Any

from jaxlr._checks import check_positive_count
from jaxlr.frameworks._curves import noam
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe, section
from jaxlr.schedules import Phase, phased_lr, sequential_lr, step_lr


_METHODS = ("none", "noam", "rsqrt", "cosine")
_DECAY = {"start_decay_steps": 50_000, "decay_steps": 10_000, "learning_rate_decay": 0.5}


def read(config: Config) -> Recipe:
    """Read `learning_rate`, `decay_method` and its settings. Count 0 is the update of step 1."""
    inner = section(config.settings, "model"), section(config.settings, "training")  # of Eole
    config = config.of({**inner[0], **inner[1], **config.settings})
    rate = config.base_rate("learning_rate")
    config.state(optimizer=config.stated_text("optim"), clip=config.stated_clip("max_grad_norm"))
    config.state(momentum=config.stated("adam_beta1"), weight_decay=config.stated("weight_decay"))
    method = config.choice("decay_method", _METHODS, "none")
    updates = config.count("train_steps", None)
    if method == "none":
        return config.recipe("opennmt", _stairs(config, rate), "update", updates)
    config = with_defaults(config, {"warmup_steps": 4000}, "OpenNMT")
    warmup = config.positive_count("warmup_steps")
    ramp, decay = noam(warmup)
    if method == "cosine":
        if updates is None or updates <= warmup:
            raise ValueError(f"train_steps must be above warmup_steps, got {updates} and {warmup}")
        decay = Phase(updates - warmup, "cosine", start_factor=1.0, end_factor=0.0)
    elif method == "noam":
        size = config.first("hidden_size", "rnn_size")
        rate *= config.positive_count(size) ** -0.5 * warmup**-0.5
    else:
        rate, ramp = rate * warmup**-0.5, Phase(warmup - 1, start_factor=1.0)
    return config.recipe("opennmt", phased_lr(rate, [ramp, decay]), "update", updates)


FRAMEWORK = Framework(
    name="opennmt",
    read=read,
    marks=(("decay_method", "learning_rate"), ("training.decay_method",)),
    aliases=("OpenNMT", "OpenNMT-py", "opennmt-py", "eole"),
)


def _stairs(config: Config, rate: Any) -> Any:
    """Return the rate up to `start_decay_steps`, and a factor then and after every `decay_steps`."""
    config = with_defaults(config, _DECAY, "OpenNMT")
    start, factor = config.count("start_decay_steps"), config.number("learning_rate_decay")
    first = check_positive_count("start_decay_steps", start) - 1
    decayed = step_lr(rate * factor, config.count("decay_steps"), factor)
    return sequential_lr([phased_lr(rate, [Phase()]), decayed], [first]) if first else decayed
