"""MoCo and SimSiam: the flags of their scripts for pretraining.

The rules are those of facebookresearch/moco (`main_moco.py`, versions 1 and 2), facebookresearch/moco-v3
(`main_moco.py`) and facebookresearch/simsiam (`main_simsiam.py`).
"""

import itertools
from typing import Any

from jaxlr._checks import shown_value
from jaxlr.frameworks._curves import warmed_cosine
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import NUMBER, Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, cosine_annealing_lr, multi_step_lr, phased_lr


_OF_V3 = ("moco_m_cos", "stop_grad_conv1", "moco_mlp_dim", "crop_min", "warmup_epochs")
_SWITCHES = ("cos", "fix_pred_lr", "moco_m_cos", "stop_grad_conv1", "mlp", "aug_plus")
_OF_SIMSIAM = ("fix_pred_lr", "pred_dim")


def read(config: Config) -> Recipe:
    """Read the flags of a script. A count of MoCo v3 is a batch, and else an epoch."""
    if _is_v3(config):
        return _read_v3(config)
    return _read_simsiam(config) if any(map(config.has, _OF_SIMSIAM)) else _read_moco(config)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the SGD of MoCo and SimSiam, or the AdamW of MoCo v3. All parameters decay."""
    is_v3 = _is_v3(config)
    config = _completed(config, "the script", weight_decay=1e-6 if is_v3 else 1e-4)
    decay = {"weight_decay": config.number("weight_decay")}
    name = _optimizer_of(config)
    if name != ("adamw" if is_v3 else "sgd"):
        raise OptimizerError(f"the optimizer {shown_value(name)} is not supported")
    if is_v3:
        return TorchOptimizer("AdamW", decay)
    own = "fix_pred_lr keeps the rate of the predictor" if config.flag("fix_pred_lr") else ""
    momentum = with_defaults(config, {"momentum": 0.9}, "the script").number("momentum")
    return TorchOptimizer("SGD", {"momentum": momentum, **decay}, own_rates=own)


FRAMEWORK = Framework(
    name="moco",
    read=read,
    optimizer=optimizer,
    marks=(
        *((name,) for name in ("moco_t", "moco_k", "moco_dim", "moco_m_cos", "stop_grad_conv1")),
        ("fix_pred_lr",),
    ),
    aliases=("simsiam",),
)


def _is_v3(config: Config) -> bool:
    return any(map(config.has, _OF_V3)) and not any(map(config.has, _OF_SIMSIAM))


def _optimizer_of(config: Config) -> str:
    """Return the name of the optimizer, which a folder may follow. Only MoCo v3 has a flag for it."""
    return config.text("optimizer", "lars" if _is_v3(config) else "sgd").split()[0]


def _completed(config: Config, script: str, **defaults: Any) -> Config:
    """Return the flags with the defaults of a script, and without the folder that follows the last one."""
    settings = {name: _without_folder(name, value) for name, value in config.settings.items()}
    config = config.of(settings)
    settings["weight_decay"] = config.get(config.first("weight_decay", "wd"))
    config = config.of({**settings, "lr": config.get(config.first("lr", "learning_rate"))})
    config = with_defaults(config, defaults, script, rate="lr", epochs="epochs")
    config.state(optimizer=_optimizer_of(config))
    config.state_settings(momentum="momentum", weight_decay="weight_decay")
    return config


def _without_folder(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name in _SWITCHES:
        return value.lower() != "false"
    numbers = [*itertools.takewhile(NUMBER.fullmatch, value.split())]
    return " ".join(numbers) if numbers else value


def _read_moco(config: Config) -> Recipe:
    config = _completed(config, "main_moco.py", lr=0.03, epochs=200)
    init_value, epochs = config.base_rate("lr"), config.whole_epochs("epochs")
    if config.flag("cos"):
        schedule = cosine_annealing_lr(init_value, epochs)
    else:
        config = with_defaults(config, {"schedule": [120, 160]}, "main_moco.py")
        steps = config.counts("schedule")
        schedule = multi_step_lr(init_value, sorted(steps), 0.1)
    return config.recipe("moco", schedule, "epoch", epochs)


def _read_simsiam(config: Config) -> Recipe:
    config = _completed(config, "main_simsiam.py", lr=0.05, epochs=100)
    epochs, init_value = config.whole_epochs("epochs"), _scaled(config)
    if config.flag("fix_pred_lr") and config.groups("encoder", "predictor") == 1:
        schedule = phased_lr(init_value, [Phase(start_factor=1.0)])
    else:
        schedule = cosine_annealing_lr(init_value, epochs)
    return config.recipe("moco", schedule, "epoch", epochs)


def _read_v3(config: Config) -> Recipe:
    config = _completed(config, "main_moco.py of MoCo v3", lr=0.6, epochs=100, warmup_epochs=10)
    batches, warmup = config.steps_in_epoch(), config.count("warmup_epochs")
    total = config.whole_epochs("epochs") * batches
    schedule = phased_lr(_scaled(config), warmed_cosine(warmup * batches, total, end_factor=0.0))
    return config.recipe("moco", schedule, "iteration", total)


def _scaled(config: Config) -> Any:
    """Return the rate for a global batch of 256, scaled to the real one."""
    if config.init_value is not None:
        return config.base_rate("lr")
    if not config.has("batch_size"):
        raise ValueError(
            "lr is scaled by the batch size of all processes: give names={'batch_size': ...}, or init_value"
        )
    batch = config.count("batch_size")
    rate = config.number("lr") * batch / 256
    config.assume(f"The rate is {rate:g}: lr for a batch of {batch} instead of 256.")
    return rate
