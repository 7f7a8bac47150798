"""ESPnet and WeNet: the `scheduler` and the `scheduler_conf` of their YAML configs, which FunASR shares.

The rules are those of ESPnet of October 2025 (`espnet2/train/trainer.py`), WeNet of December 2025
(`wenet/utils/scheduler.py`, `wenet/utils/train_utils.py`) and FunASR of 2026 (`funasr/bin/train_ds.py`).
Those of ESPnet's schedulers are in `espnet_schedules.py`.
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_choice
from jaxlr.convert.text import from_string
from jaxlr.frameworks._curves import noam
from jaxlr.frameworks.espnet_schedules import RULES, warmup_steps
from jaxlr.frameworks.recipe import Config, Framework, Recipe, Unit, section
from jaxlr.schedules import Phase, phased_lr


# The classes that are torch's, or those of an add-on, and the unit in which the trainer steps them.
_CLASSES: dict[str, tuple[str, Unit]] = {
    "steplr": ("StepLR", "epoch"),
    "multisteplr": ("MultiStepLR", "epoch"),
    "exponentiallr": ("ExponentialLR", "epoch"),
    "cosineannealinglr": ("CosineAnnealingLR", "epoch"),
    "reducelronplateau": ("ReduceLROnPlateau", "evaluation"),
    "cycliclr": ("CyclicLR", "update"),
    "onecyclelr": ("OneCycleLR", "update"),
    "cosineannealingwarmrestarts": ("CosineAnnealingWarmRestarts", "update"),
    "cosineannealingwarmuprestarts": ("CosineAnnealingWarmupRestarts", "update"),
}


# The keys of WeNet's configs that ESPnet lacks. FunASR has them too, beside its train_conf.
_OF_WENET = ("dataset_conf", "collate_conf")


def read(config: Config) -> Recipe:
    """Read `optim`, `scheduler` and their settings. A count is an update, or an epoch for a StepLR."""
    if isinstance(config.settings.get("train_conf"), Mapping):
        config = _flat(config)
    second = config.groups("optim", "optim2") if config.has("optim2") else 0
    return _read(config, "espnet", f"{second + 1 if second else ''}")


def read_wenet(config: Config) -> Recipe:
    """Read the same settings of WeNet, which takes every step of its warmup one update later."""
    return _read(config, "wenet", "")


def _read(config: Config, framework: str, number: str) -> Recipe:
    optimizer, scheduler = config.inner(f"optim{number}_conf"), config.inner(f"scheduler{number}_conf")
    rate = optimizer.base_rate("lr")
    _state(config, optimizer, f"optim{number}")
    name = config.text(f"scheduler{number}", None)
    if name is None:
        config.assume("The config has no scheduler, so the rate is constant.")
        name = "constantlr"
    if framework == "wenet":
        check_choice("scheduler", name, ("warmuplr",))
        config.assume(
            "Updates 0 and 1 have the same rate: WeNet sets its scheduler back by a step at the start."
        )
        phases = [Phase(1, start_factor=1 / warmup_steps(scheduler)), *noam(warmup_steps(scheduler))]
        return config.recipe(framework, phased_lr(rate, phases), "update", _num_updates(config))
    kind = name.lower()
    if kind == "warmupreducelronplateau":
        raise ValueError(
            "warmupreducelronplateau steps a warmup at each update and a plateau at each validation, and a "
            "recipe has one count: write reducelronplateau without warmup_steps for the plateau alone"
        )
    check_choice("scheduler", kind, (*RULES, *_CLASSES))
    if kind in _CLASSES:
        schedule, unit = _of_class(config, rate, kind, scheduler.settings), _CLASSES[kind][1]
        counts = _num_updates(config) if unit == "update" else config.stated_epochs("max_epoch")
        return config.recipe(framework, schedule, unit, counts)
    return config.recipe(framework, RULES[kind](rate, scheduler), "update", _num_updates(config))


def _flat(config: Config) -> Config:
    """Return the settings of FunASR, or of the `train_conf` of CosyVoice, as those of one section."""
    if config.has("scheduler"):
        config.assume(
            "The run is one of FunASR's train_ds.py. Its train.py takes one more step after each epoch."
        )
    return config.of({**config.inner("train_conf").settings, **config.settings})


def _of_class(config: Config, rate: Any, kind: str, arguments: Mapping[str, Any]) -> Any:
    """Return the schedule of a class of torch, or the plateau."""
    name = _CLASSES[kind][0]
    if name == "ReduceLROnPlateau":
        config.assume("The plateau is stepped after each epoch, with val_scheduler_criterion.")
    written = ", ".join(f"{key}={value!r}" for key, value in arguments.items())
    return from_string(f"{name}(optimizer, {written})", rate)


def _state(config: Config, optimizer: Config, name: str) -> None:
    """State the optimizer, and the clipping if it is by the 2-norm."""
    config.state(optimizer=config.stated_text(name), weight_decay=optimizer.stated("weight_decay"))
    beta = optimizer.stated_first("betas")
    config.state(momentum=optimizer.stated("momentum") if beta is None else beta)
    if config.get("grad_clip_type", 2) == 2:
        config.state(clip=config.stated_clip("grad_clip"))


def _num_updates(config: Config) -> int | None:
    """Return the updates of the run: the batches of an epoch that are left over make none."""
    epochs = config.stated_epochs("max_epoch")
    batches = config.count("num_iters_per_epoch", config.steps_per_epoch)
    if epochs is None or batches is None:
        return None
    return epochs * (batches // config.positive_count("accum_grad", 1))


def _recognizes(settings: Mapping[str, Any]) -> bool:
    """Check if a config, or its `train_conf`, has a scheduler or an optimizer with settings beside it."""
    return any(
        isinstance(each.get(name), str) and isinstance(each.get(f"{name}_conf"), Mapping)
        for each in (settings, section(settings, "train_conf"))
        for name in ("scheduler", "optim")
    )


def _recognizes_wenet(settings: Mapping[str, Any]) -> bool:
    is_of_wenet = any(name in settings for name in _OF_WENET) and "train_conf" not in settings
    return is_of_wenet and _recognizes(settings)


FRAMEWORK = Framework(
    name="espnet",
    read=read,
    recognizes=_recognizes,
    aliases=("ESPnet", "espnet2", "funasr", "FunASR", "cosyvoice"),
)
WENET = Framework(name="wenet", read=read_wenet, recognizes=_recognizes_wenet, aliases=("WeNet",))
