"""torchvision: the flags of its reference scripts for classification, detection and segmentation.

The rules are those of torchvision 0.15 to 0.24 (`references/classification/train.py`, `detection/train.py`,
`detection/engine.py`, `segmentation/train.py`). Earlier versions lack some flags, and have the same rules.
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_choice, check_duration, shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Clip, Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import (
    chained_scheduler,
    constant_lr,
    cosine_annealing_lr,
    exponential_lr,
    linear_lr,
    multi_step_lr,
    per_epoch,
    polynomial_lr,
    sequential_lr,
    step_lr,
)


_OWN_DECAYS = {
    "norm_weight_decay": "norms",
    "bias_weight_decay": "biases",
    "transformer_embedding_decay": "class tokens and position embeddings",
}
_DETECTORS = ("rcnn", "retinanet", "ssd", "fcos")
_SEGMENTERS = ("fcn_", "deeplabv3", "lraspp")
_DETECTION_FLAGS = ("aspect_ratio_group_factor", "trainable_backbone_layers", "rpn_score_thresh")
_CLASSIFICATION_FLAGS = ("lr_step_size", "lr_min", "label_smoothing", "mixup_alpha", "norm_weight_decay")
_DEFAULTS: dict[str, dict[str, Any]] = {  # of each script, where they matter for the rate
    "classification": {"lr": 0.1, "epochs": 90, "lr_scheduler": "steplr", "lr_warmup_epochs": 0},
    "detection": {"lr": 0.02, "epochs": 26, "lr_scheduler": "multisteplr"},
    "segmentation": {"lr": 0.01, "epochs": 30, "lr_warmup_epochs": 0},
}


def read(config: Config) -> Recipe:
    """Read the flags of one of the scripts. A count is an epoch in classification, else an iteration."""
    config.refuse("lr_milestones", reason="the script for video classification is not supported")
    task = _task(config)
    given = {"lr": config.init_value, "epochs": config.epochs}
    defaults = {
        name: value
        for name, value in _DEFAULTS[task].items()
        if given.get(name) is None and not config.has(name)
    }
    if defaults:
        values = ", ".join(f"{name} {value}" for name, value in defaults.items())
        config.assume(f"The flags leave these to the defaults of the {task} script: {values}.")
    settings = config.of({**config.settings, **defaults})
    settings.state_settings(optimizer="opt", momentum="momentum", clip="clip_grad_norm")
    settings.state_settings(weight_decay=settings.first("weight_decay", "wd"))
    if task == "classification":
        return _classification(settings)
    return _detection(settings) if task == "detection" else _segmentation(settings)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of one of the scripts."""
    task = _task(config)
    if not config.has("weight_decay") and config.has("wd"):
        config = config.of({**config.settings, "weight_decay": config.get("wd")})
    defaults = {"opt": "sgd", "momentum": 0.9, "weight_decay": 1e-4}
    config = with_defaults(config, defaults, f"the {task} script")
    name = config.text("opt").lower()
    if task == "segmentation":
        config.refuse("clip_grad_norm", reason="the segmentation script has no such flag")
        name = "sgd"
    decay, momentum = config.number("weight_decay"), config.number("momentum")
    options: dict[str, Any] = {}
    if name.startswith("sgd"):
        options = {"momentum": momentum, "nesterov": "nesterov" in name and task != "segmentation"}
        cls = "SGD"
    elif name == "adamw":
        cls = "AdamW"
    elif name == "rmsprop" and task == "classification":
        options = {"momentum": momentum, "eps": 0.0316, "alpha": 0.9}
        cls = "RMSprop"
    else:
        raise ValueError(
            f"opt must be 'sgd', 'sgd_nesterov', 'adamw' or 'rmsprop', got {shown_value(name)}"
        )
    clip = Clip(config.number("clip_grad_norm")) if config.has("clip_grad_norm") else None
    aux = "aux_loss gives the auxiliary classifier ten times the rate" if config.flag("aux_loss") else ""
    options["weight_decay"] = decay
    return TorchOptimizer(cls, options, clip, _undecayed(config, decay), own_rates=aux)


def _undecayed(config: Config, decay: float) -> tuple[str, ...]:
    """Return the parameters whose own weight decay is 0."""
    found: list[str] = []
    for name, words in _OWN_DECAYS.items():
        own = config.number(name, decay)
        if own not in (0, decay):
            raise OptimizerError(f"{name}={own:g} beside a weight_decay of {decay:g} is not supported")
        if own != decay:
            found.append(words)
    return tuple(found)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    """Check if flags that other programs have too are torchvision's, whose scripts have no flag `arch`."""
    model = str(settings.get("model", _SEGMENTERS[0])).lower()
    is_segmenter = "aux_loss" in settings and model.startswith(_SEGMENTERS)
    has_steps = not settings.keys().isdisjoint(("lr_steps", "lr_step_size"))
    return is_segmenter or (has_steps and "arch" not in settings)


FRAMEWORK = Framework(
    name="torchvision",
    read=read,
    optimizer=optimizer,
    marks=(
        ("lr_warmup_method",),
        ("lr_warmup_decay",),
        ("aspect_ratio_group_factor",),
        ("lr_scheduler", "lr_warmup_epochs"),
    ),
    recognizes=_recognizes,
)


def _task(config: Config) -> str:
    """Return the script that the flags are for, by the name of the model and the flags that only it has."""
    model = (config.text("model", None) or "").lower()
    is_detector = any(word in model for word in _DETECTORS)
    has_steps_on_coco = config.has("lr_steps") and str(config.get("dataset")).startswith("coco")
    tasks = {
        "segmentation": model.startswith(_SEGMENTERS) or config.has("aux_loss"),
        "detection": is_detector or any(map(config.has, _DETECTION_FLAGS)) or has_steps_on_coco,
        "classification": any(map(config.has, _CLASSIFICATION_FLAGS)),
    }
    found = [task for task, is_this in tasks.items() if is_this]
    if model and not found:
        return "classification"
    if len(found) != 1:
        raise ValueError(
            "the flags do not tell classification from detection and segmentation: give names={'model': "
            "...}, such as 'resnet50'"
        )
    return found[0]


def _classification(config: Config) -> Recipe:
    init_value = config.base_rate("lr")
    epochs = config.whole_epochs("epochs")
    warmup = check_duration("lr_warmup_epochs", config.number("lr_warmup_epochs"))
    gamma = config.number("lr_gamma", 0.1)
    names = ("steplr", "cosineannealinglr", "exponentiallr")
    name = check_choice("lr_scheduler", config.text("lr_scheduler").lower(), names)
    if name == "steplr":
        main = step_lr(init_value, config.positive_count("lr_step_size", 30), gamma)
    elif name == "cosineannealinglr":
        if warmup >= epochs:
            raise ValueError(f"lr_warmup_epochs must be below epochs, got {warmup} and {epochs}")
        main = cosine_annealing_lr(init_value, epochs - warmup, config.number("lr_min", 0.0))
    else:
        main = exponential_lr(init_value, gamma)
    schedule = _after_warmup(config, init_value, main, warmup, "constant")
    return config.recipe("torchvision", schedule, "epoch", epochs)


def _detection(config: Config) -> Recipe:
    """Read a scheduler of epochs, and a warmup in the iterations of epoch 0 on the same optimizer."""
    init_value = config.base_rate("lr")
    epochs, steps = config.whole_epochs("epochs"), config.steps_in_epoch()
    names = ("multisteplr", "cosineannealinglr")
    if check_choice("lr_scheduler", config.text("lr_scheduler").lower(), names) == "multisteplr":
        config = with_defaults(config, {"lr_steps": "16 22"}, "the detection script")
        main = multi_step_lr(1.0, config.counts("lr_steps"), config.number("lr_gamma", 0.1))
    else:
        main = cosine_annealing_lr(1.0, epochs)
    if steps == 1:
        raise ValueError(
            "steps_per_epoch must be above 1: torchvision never ends a warmup of one iteration"
        )
    iterations = min(1000, steps - 1)
    config.assume(f"The first {iterations} iterations are a warmup from 1/1000 of the rate.")
    warmup = linear_lr(1.0, 1 / 1000, total_iters=iterations)
    schedule = chained_scheduler(init_value, [warmup, per_epoch(main, steps)])
    return config.recipe("torchvision", schedule, "iteration", epochs * steps)


def _segmentation(config: Config) -> Recipe:
    init_value: Any = config.base_rate("lr")
    if config.flag("aux_loss") and config.groups("backbone", "classifier", "aux_classifier") == 2:
        init_value = init_value * 10
    epochs, steps = config.whole_epochs("epochs"), config.steps_in_epoch()
    warmup = check_duration("lr_warmup_epochs", config.number("lr_warmup_epochs"))
    if warmup >= epochs:
        raise ValueError(f"lr_warmup_epochs must be below epochs, got {warmup} and {epochs}")
    main = polynomial_lr(init_value, (epochs - warmup) * steps, power=0.9)
    schedule = _after_warmup(config, init_value, main, warmup * steps, "linear")
    return config.recipe("torchvision", schedule, "iteration", epochs * steps)


def _after_warmup(config: Config, init_value: Any, main: Any, length: int, default: str) -> Any:
    """Return a warmup and then the main schedule, which counts from 0 there."""
    if length == 0:
        return main
    defaults = {"lr_warmup_method": default, "lr_warmup_decay": 0.01}
    config = with_defaults(config, defaults, "the script")
    method, factor = config.text("lr_warmup_method").lower(), config.number("lr_warmup_decay")
    if check_choice("lr_warmup_method", method, ("linear", "constant")) == "linear":
        warmup = linear_lr(init_value, factor, total_iters=length)
    else:
        warmup = constant_lr(init_value, factor, length)
    return sequential_lr([warmup, main], [length])
