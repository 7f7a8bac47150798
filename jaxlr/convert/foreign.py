"""The functions and classes of other frameworks that people call, as rows like those of torch's classes."""

import inspect
import re
from collections.abc import Collection
from typing import Any

from jaxlr.convert.classes import Effect, TorchClass
from jaxlr.frameworks import (
    addons,
    detectron2,
    dino,
    fastai,
    gaussian_splatting,
    huggingface,
    namesakes,
    nerfstudio,
    open_clip,
    timm,
)


# Functions and classes of these frameworks that people write as a call, by name.
_CALLED = (detectron2, nerfstudio, gaussian_splatting, timm, dino, open_clip, huggingface, addons, fastai)
CALLS = {
    call.__name__: (module.FRAMEWORK.name, call) for module in _CALLED for call in module.FRAMEWORK.calls
}
_IGNORED = {module.FRAMEWORK.name: module.FRAMEWORK.ignored for module in _CALLED}

# The arguments that a call may give by position, where versions or copies have the others in another order.
_MAX_POSITIONAL = {
    "get_wsd_schedule": 2,  # transformers 4.49 put num_decay_steps before num_stable_steps
    "get_greedy_schedule": 0,  # takes keywords only
    **dict.fromkeys(("CosineLRScheduler", "TanhLRScheduler"), 1),  # timm 0.5 reordered the others
    **dict.fromkeys(("NoamLR", "PolyLR", "ScheduledOptim"), 0),  # programs change them
    "WarmupCosineSchedule": 2,  # the third is end_lr in MONAI, and cycles in pytorch-transformers
    "AlphaFoldLRScheduler": 0,  # its first one is last_epoch
}
# Functions of other libraries, and how to get their rates.
ELSEWHERE = {
    "poly_lr": "nnU-Net's poly_lr is PolyLRScheduler(optimizer, initial_lr, max_steps=max_epochs)",
    "CosineDecay": "Keras's is a jaxlr.Phase(decay_steps, 'cosine', end_factor=alpha) of jaxlr.phased_lr",
    "ExponentialDecay": (
        "Keras's is jaxlr.exponential_lr(rate, decay_rate ** (1 / decay_steps)), and with staircase=True "
        "jaxlr.step_lr(rate, decay_steps, decay_rate)"
    ),
    "InverseTimeDecay": (
        "Keras's is a jaxlr.Phase(shape='inverse_power', power=1, span=decay_steps / decay_rate) of "
        "jaxlr.phased_lr"
    ),
    "PiecewiseConstantDecay": (
        "Keras's is a jaxlr.Phase(length, start_value=value) of jaxlr.phased_lr for each value, where the "
        "step of a boundary has the value before it"
    ),
    "PolynomialDecay": (
        "Keras's is a jaxlr.Phase(decay_steps, 'polynomial', end_value=end_learning_rate, power=power) of "
        "jaxlr.phased_lr"
    ),
}
PLATEAU_OF_KERAS = (
    ": Keras's ReduceLROnPlateau is jaxlr.reduce_lr_on_plateau(..., patience=max(patience - 1, 0), "
    "threshold=min_delta, threshold_mode='abs', cooldown=max(cooldown - 1, 0), eps=0)"
)
# The first argument of nnU-Net's PolyLRScheduler is a rate, and that of timm's a number of epochs.
_RATE = re.compile(r"(lr|rate)['\"]?\]?$|^0?\.\d+$|^[\d.]+e-\d+$")


def namesake(row: TorchClass, module: str, keywords: Collection[Any], first: str = "") -> TorchClass:
    """Return the row of another library with a class of the same name, if a call is one of that.

    Args:
        row: the row of the name.
        module: the module that the class is taken from, if the text says it.
        keywords: the arguments of the call that are given by name.
        first: the first of several arguments that are given by position.
    """
    root = module.partition(".")[0]
    others = [] if root == row.library else NAMESAKES.get(row.name, [])
    for modules, other in others:
        is_others = {*keywords} <= {"optimizer", *other.parameters}
        is_rows = {*keywords} <= {"optimizer", *row.parameters}
        is_rate = row.name == "PolyLRScheduler" and _RATE.search(first)
        if root in modules or (is_others and not is_rows) or is_rate:
            return other
    return row


def _row(name: str, library: str, function: Any, ignored: tuple[str, ...]) -> TorchClass:
    parameters = inspect.signature(function).parameters
    # A function without an init_value sets the rate itself, whatever the optimizer has.
    names = [each for each in parameters if each not in ("init_value", "version")]
    by_name = [each for each in names if parameters[each].kind is inspect.Parameter.KEYWORD_ONLY]
    ignored = tuple(each for each in ignored if each not in names)
    return TorchClass(
        name=name,
        function=function,
        # Frameworks take the optimizer after a name, as in get_scheduler("cosine", optimizer, ...).
        signature=", ".join([*_with_optimizer(names), "last_epoch", *ignored]),
        mark="",
        effect=Effect.OVERWRITES,
        per_group=("warmup_period",) if "warmup_period" in names else (),
        library=library,
        max_positional=_MAX_POSITIONAL.get(name, len(names) - len(by_name) if by_name else None),
        ignored=ignored,
    )


def _with_optimizer(parameters: list[str]) -> list[str]:
    return ["name", "optimizer", *parameters[1:]] if parameters[:1] == ["name"] else parameters


FOREIGN = {name: _row(name, library, call, _IGNORED[library]) for name, (library, call) in CALLS.items()}
NAMESAKES = {
    name: [(modules, _row(name, library, function, ("verbose",))) for library, modules, function in others]
    for name, others in namesakes.NAMESAKES.items()
}
