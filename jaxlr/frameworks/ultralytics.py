"""Ultralytics YOLO: the `args.yaml` of a run, and the files of YOLOv5, YOLOv6, YOLOv7 and YOLOv9.

The rules are those of ultralytics 8.4.190, 8.3.200 and 8.1.41 (`engine/trainer.py`, `cfg/default.yaml`),
of YOLOv5 3.1 to 7.0 (`train.py`), of YOLOv6 0.4 (`core/engine.py`, `solver/build.py`), and of YOLOv7 and
YOLOv9 (`train.py`).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_choice, check_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Clip, Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, chained_scheduler, per_epoch, phased_lr, sequential_lr


_CLASSES = {name.lower(): name for name in ("SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop")}
_LEAST_WARMUP = 100  # iterations, before 8.4
_YOLOV5 = ("anchor_t", "iou_t", "cls_pw", "obj_pw", "obj", "fl_gamma")  # settings that ultralytics 8 lacks
_YOLOV7 = ("loss_ota", "paste_in")  # settings that YOLOv5 lacks
_DEFAULTS = {  # of `yolo train` and `YOLO(...).train`
    **{"epochs": 100, "batch": 16, "optimizer": "auto", "lr0": 0.01, "lrf": 0.01},
    **{"warmup_epochs": 3.0, "warmup_bias_lr": 0.1, "warmup_momentum": 0.8},
    **{"momentum": 0.937, "weight_decay": 0.0005},
}


def read(config: Config) -> Recipe:
    """Read `lr0`, `lrf`, `cos_lr` and the warmup of an `args.yaml`. A count is a batch."""
    config = _flattened(_completed(config))
    config.refuse("time", reason="a run that ends by the clock has no fixed number of epochs")
    config.refuse("flat_cos_lr", reason="write the schedule with jaxlr.phased_lr")
    _check_version(config)
    steps = config.steps_in_epoch()
    epochs = config.whole_epochs("epochs")
    init_value, optimizer = _init_value(config, steps, epochs)
    final = config.number("lrf")
    shape, span = _decay(config, epochs)
    group = config.groups("weights", "norms", "biases")
    warmup = _warmup_iterations(config, steps, epochs)
    start = _bias_start(config) if group == 2 and warmup else 0.0
    is_late = _is_late(config)
    line = Phase(epochs, shape, start_factor=1.0, end_factor=final, span=span)
    if start == 0 and not is_late:
        ramp = phased_lr(1.0, [Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)])
        schedule = chained_scheduler(init_value, [ramp, per_epoch(phased_lr(1.0, [line]), steps)])
    else:
        schedule = with_start(init_value, line, start, warmup, steps, epochs, is_late)
    config.assume("Group 0 holds the weights, group 1 the norms, group 2 the biases.")
    _state_optimizer(config, warmup, optimizer)
    return config.recipe("ultralytics", schedule, "iteration", epochs * steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `build_optimizer`. Only the weights decay, which are group 0."""
    config = _completed(config)
    _check_version(config)
    if config.since(7) is False:
        raise OptimizerError("the optimizer of YOLOv5 before 7.0 is not supported")
    steps, epochs = config.steps_in_epoch(), config.whole_epochs("epochs")
    _, written = _init_value(config, steps, epochs)
    if written is None:
        if _is_auto(config):
            raise ValueError("optimizer 'auto' chooses the optimizer with its rate: leave init_value out")
        written = "SGD"
        config.assume("The optimizer is SGD, the default of YOLOv5.")
    name = _CLASSES.get(written.lower(), written)
    momentum = 0.9 if _is_auto(config) else config.number("momentum")
    options: dict[str, Any] = {"momentum": momentum}
    if name == "SGD":
        options["nesterov"] = True
    elif name != "RMSprop":
        options = {"betas": (momentum, 0.999)}
    options["weight_decay"] = _weight_decay(config)
    accumulation = max(1, round(config.count("nbs", 64) / config.positive_count("batch")))
    warmup = _warmup_iterations(config, steps, epochs)
    starts = warmup > 0 and _bias_start(config) != 0
    own = "the rate of the biases begins at warmup_bias_lr" if starts else ""
    return TorchOptimizer(name, options, Clip(10.0), ("biases", "norms"), accumulation, own)


FRAMEWORK = Framework(
    name="ultralytics",
    read=read,
    optimizer=optimizer,
    marks=(
        ("lr0", "lrf"),
        ("lr0", "warmup_epochs"),
        ("lr0", "epochs"),
        ("is_yolo_train",),
        ("hyp.lr0", "hyp.warmup_epochs"),
        ("solver.lr0", "solver.warmup_epochs"),
    ),
    aliases=("yolo", "yolov5"),
    has_versions=True,
)


def _completed(config: Config) -> Config:
    """Return the settings of a command or a call of `train`, with the defaults for the others."""
    if not config.flag("is_yolo_train"):
        return config
    config.refuse("cfg", reason="give the settings of this file")
    config.refuse("resume", reason="give the args.yaml of the run that is resumed")
    return with_defaults(config, _DEFAULTS, "Ultralytics", epochs="epochs")


def _flattened(config: Config) -> Config:
    """Return the settings of an `opt.yaml` of YOLOv5, or those of a config of YOLOv6, in one mapping."""
    settings = {**config.settings}
    if isinstance(hyp := settings.pop("hyp", None), Mapping):
        settings |= hyp
        settings.setdefault("batch", settings.get("batch_size"))
    if config.flag("fixed_lr"):
        settings["lrf"] = 1.0
    if isinstance(solver := settings.pop("solver", None), Mapping):
        settings |= {**solver, "optimizer": solver.get("optim")}
        shape = config.of(settings).text("lr_scheduler")
        if check_choice("lr_scheduler", shape, ("Cosine", "Constant")) == "Constant":
            settings["lrf"] = 1.0
        config.assume("The rules are those of YOLOv6: the warmup has at least 1000 iterations.")
    elif any(map(config.of(settings).has, _YOLOV7)):
        config.assume(
            "The rules are those of YOLOv7: the warmup has at least 1000 iterations, and the decay is a "
            "cosine. If the run had the flag --linear-lr, give names={'linear_lr': True}."
        )
    else:
        return config.of(settings)
    config.version = (6, 0)  # YOLOv6 and YOLOv7 have the rules of YOLOv5 6.0
    return config.of(settings)


def _check_version(config: Config) -> None:
    """Take the newest version of YOLOv5 for a file that has its settings."""
    if config.since(3, 1) is False:
        raise ValueError("YOLOv5 before 3.1 has no lrf in its file, and is not supported")
    if config.version is None and any(config.has(name) for name in _YOLOV5):
        config.set_version("7.0")
        config.assume(
            "The rules are those of YOLOv5 7.0. Before 6.2 a warmup had at least 1000 iterations, and "
            "before 6.1 the decay was a cosine: give version."
        )


def _decay(config: Config, epochs: int) -> tuple[Any, int]:
    """Return the shape of the decay and its length. YOLOv5 before 6.1 had a cosine by default."""
    if config.since(6, 1) is False and config.has("cos_lr"):
        raise ValueError("YOLOv5 before 6.1 has no cos_lr: its decay is a cosine, unless linear_lr is on")
    if config.since(6, 1) is not False:
        return ("cosine" if config.flag("cos_lr") or config.flag("cosine") else "linear"), epochs
    return ("linear", max(1, epochs - 1)) if config.flag("linear_lr") else ("cosine", epochs)


def _is_auto(config: Config) -> bool:
    return config.text("optimizer", "").lower() == "auto"


def _bias_start(config: Config) -> float:
    """Return the rate of the biases at count 0."""
    return 0.0 if _is_auto(config) else config.number("warmup_bias_lr", 0.1)


def _init_value(config: Config, steps: int, epochs: int) -> tuple[Any, str | None]:
    """Return the base rate and the optimizer. `optimizer: auto` ignores `lr0` and chooses both."""
    if not _is_auto(config):
        if not config.has("optimizer") and config.has("epochs"):
            config.assume(
                "The optimizer is missing: lr0 is taken as in YOLOv5. The default of Ultralytics 8, "
                "'auto', ignores lr0."
            )
        return config.base_rate("lr0"), config.stated_text("optimizer")
    config.assume("optimizer 'auto' ignores lr0, and the biases have no warmup_bias_lr of their own.")
    if config.init_value is not None:
        return config.base_rate("init_value"), None
    if config.signed("batch", 1) < 1:
        raise ValueError("batch lets Ultralytics choose a size: write the one that the run printed")
    batch, nominal = config.count("batch"), config.count("nbs", 64)
    fewest, most = (steps - 1) * batch + 1, steps * batch
    if config.has("num_examples"):
        fewest = most = config.count("num_examples")
    is_long = {math.ceil(n / max(1, batch, nominal)) * epochs > 10_000 for n in (fewest, most)}
    if len(is_long) > 1:
        raise ValueError("optimizer 'auto' depends on the samples: give names={'num_examples': ...}")
    if is_long.pop():
        config.assume("optimizer 'auto' takes the rate 0.01, because the run has more than 10,000 updates.")
        return 0.01, "SGD" if config.since(8, 4) is False else "MuSGD"
    if not config.has("nc"):
        raise ValueError(
            "optimizer 'auto' ignores lr0, and its rate depends on the number of classes: give "
            "names={'nc': ...} or init_value; to train at lr0, name the optimizer in the config, such as "
            "'SGD'"
        )
    rate = round(0.002 * 5 / (4 + config.count("nc")), 6)
    config.assume(f"optimizer 'auto' takes AdamW at rate {rate:g}, because the run is short.")
    return rate, "AdamW"


def _state_optimizer(config: Config, warmup: int, optimizer: str | None) -> None:
    """State the optimizer, its momentum, and the weight decay, which only the weights have."""
    decay = None if config.stated("weight_decay") is None else _weight_decay(config)
    if optimizer == "MuSGD":
        config.assume("MuSGD trains the last layers of the head at three times the rate.")
    config.state(optimizer=optimizer, weight_decay=decay, momentum=_momentum(config, warmup, optimizer))


def _weight_decay(config: Config) -> float:
    """Return the weight decay for the global batch size. Norms and biases have none."""
    batch, decay = config.stated("batch"), config.number("weight_decay")
    if config.group != 0:
        return 0.0
    if not batch or batch < 1:
        config.assume("The weight decay is not scaled, because the config does not state the batch size.")
        return decay
    nominal = config.positive_count("nbs", 64)
    return decay * batch * max(round(nominal / batch), 1) / nominal


def _momentum(config: Config, warmup: int, optimizer: str | None) -> Any:
    """Return the momentum. That of SGD warms up, and the beta1 of Adam does not."""
    momentum, first = config.stated("momentum"), config.stated("warmup_momentum")
    if optimizer is None and _is_auto(config):
        return None
    if "adam" in (optimizer or "SGD").lower():
        return 0.9 if _is_auto(config) else momentum
    if momentum is None or first is None or warmup == 0:
        return momentum
    return phased_lr(1.0, [Phase(warmup, "linear", start_value=first, end_value=momentum)])


def _warmup_iterations(config: Config, steps: int, epochs: int) -> int:
    warmup_epochs = config.number("warmup_epochs")
    if config.since(8) is False:  # YOLOv5
        return max(round(warmup_epochs * steps), 1000 if config.since(6, 2) is False else _LEAST_WARMUP)
    if warmup_epochs == 0:
        return 0
    older = max(round(warmup_epochs * steps), _LEAST_WARMUP)
    newer = round(min(warmup_epochs, epochs - 1) * steps)
    is_newer = config.since(8, 4)
    if is_newer is None and older != newer:
        config.assume(
            f"The warmup has {newer} iterations, as in ultralytics 8.4; in earlier versions it had {older}."
        )
    return older if is_newer is False else newer


def _is_late(config: Config) -> bool:
    """Check if the decay is an epoch late, because the scheduler steps at the end of an epoch."""
    is_newer = config.since(8, 1, 42)
    if is_newer is None:
        config.assume(
            "The decay is that of ultralytics 8.1.42 and later. In earlier versions it was an epoch late."
        )
    return is_newer is False


def with_start(
    init_value: Any, line: Phase, start: float, warmup: int, steps: int, epochs: int, is_late: bool
) -> Any:
    """Return the rate: in each epoch of the warmup, a line from `start` to its rate, and then the decay."""
    check_value("init_value", init_value)
    # The rate of the last step of the warmup holds until its epoch ends.
    num_epochs = min(warmup // steps + 1 if is_late else -(-warmup // steps), epochs)
    if num_epochs > 200:
        raise ValueError(f"a warmup of more than 200 epochs is not supported, got {num_epochs}")
    factors: Any = phased_lr(1.0, [line])
    phases: list[Phase] = []
    for epoch in range(num_epochs):
        rising = max(0, min(steps, warmup - epoch * steps))
        end = factors(epoch)
        clock: Any = {"offset": epoch * steps, "span": warmup} if rising else {}
        phases += [
            Phase(rising, "linear", start_value=start, end_factor=end, **clock),
            Phase(steps - rising, start_factor=end),
        ]
    offset = min(num_epochs - is_late, line.span or 1)
    rest = dataclasses.replace(line, length=epochs - num_epochs, offset=offset)
    decay = per_epoch(phased_lr(init_value, [rest]), steps)
    if num_epochs == epochs:
        return phased_lr(init_value, phases)
    return sequential_lr([phased_lr(init_value, phases), decay], [num_epochs * steps])
