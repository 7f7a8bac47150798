"""YOLOX: the class `Exp` of its Python experiments, as ByteTrack and other programs write it too.

The rules are those of YOLOX 0.3 and of its source of June 2025 (`yolox/utils/lr_scheduler.py`,
`yolox/exp/yolox_base.py`, `yolox/core/trainer.py`).
"""

from typing import Any

from jaxlr._checks import check_choice
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, phased_lr


_DEFAULTS = {
    "max_epoch": 300,
    "scheduler": "yoloxwarmcos",
    "warmup_epochs": 5,
    "warmup_lr": 0.0,
    "basic_lr_per_img": 0.01 / 64,
}
_OF_YOLOXWARMCOS = {"min_lr_ratio": 0.05, "no_aug_epochs": 15}


def read(config: Config) -> Recipe:
    """Read the attributes of an `Exp`. A count is a batch."""
    config.refuse("get_lr_scheduler", reason="write the schedule of this method with jaxlr.phased_lr")
    batches = config.steps_in_epoch()
    config = with_defaults(config, _DEFAULTS, "YOLOX", rate="basic_lr_per_img", epochs="max_epoch")
    epochs, warmup = config.whole_epochs("max_epoch"), config.count("warmup_epochs")
    if warmup >= epochs:
        raise ValueError(f"warmup_epochs must be below max_epoch, got {warmup} and {epochs}")
    init_value: Any = config.base_rate("basic_lr_per_img")
    if config.init_value is None:
        if not config.has("batch_size"):
            raise ValueError(
                "basic_lr_per_img is multiplied by the batch size of the flag -b: give "
                "names={'batch_size': ...}, or init_value, the product"
            )
        init_value = init_value * config.count("batch_size")
    start = config.number("warmup_lr") if warmup else init_value
    ramp: Any = {"start_value": start, "end_factor": 1.0}
    name = check_choice("scheduler", config.text("scheduler"), ("yoloxwarmcos", "warmcos", "cos"))
    if name == "yoloxwarmcos":
        config = with_defaults(config, _OF_YOLOXWARMCOS, "YOLOX")
        low, plain = config.number("min_lr_ratio"), config.count("no_aug_epochs")
        rest = epochs - warmup - plain
        if rest <= 0:
            raise ValueError(f"no_aug_epochs must be below {epochs - warmup}, got {plain}")
        phases = [
            Phase(warmup * batches, "power", power=2.0, **ramp),
            Phase(rest * batches, "cosine", start_factor=1.0, end_factor=low),
        ]
    elif name == "warmcos":
        length = (epochs - warmup) * batches
        phases = [Phase(warmup * batches, "linear", **ramp), _fall(length)]
    else:  # the rate is set after each batch, so the first one has that of the optimizer
        total = epochs * batches
        phases = [Phase(1, start_value=start), _fall(total - 1, offset=1, span=total)]
    config.state(optimizer="SGD")
    config.state_settings(momentum="momentum", weight_decay="weight_decay")
    return config.recipe("yolox", phased_lr(init_value, phases), "iteration", epochs * batches)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the SGD of `get_optimizer`."""
    config.refuse("get_optimizer", reason="it is a method of the class", error=OptimizerError)
    config = with_defaults(config, {"momentum": 0.9, "weight_decay": 5e-4}, "YOLOX")
    options = {"momentum": config.number("momentum"), "weight_decay": config.number("weight_decay")}
    return TorchOptimizer("SGD", {**options, "nesterov": True}, undecayed=("biases", "norms"))


FRAMEWORK = Framework(
    name="yolox",
    read=read,
    optimizer=optimizer,
    marks=(("basic_lr_per_img",), ("is_experiment",)),
    aliases=("bytetrack",),
)


def _fall(length: int, **clock: Any) -> Phase:
    return Phase(length, "cosine", start_factor=1.0, end_factor=0.0, **clock)
