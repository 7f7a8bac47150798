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

# transformers 4.49 put num_decay_steps before num_stable_steps. get_greedy_schedule takes keywords only.
_MAX_POSITIONAL = {"get_wsd_schedule": 2, "get_greedy_schedule": 0}
_MAX_POSITIONAL |= {"CosineLRScheduler": 1, "TanhLRScheduler": 1}  # timm 0.5 reordered the others
# Programs copy these classes with other parameters.
_MAX_POSITIONAL |= {"NoamLR": 0, "PolyLR": 0, "ScheduledOptim": 0, "WarmupCosineSchedule": 2}
_MAX_POSITIONAL |= {"AlphaFoldLRScheduler": 0}  # its first one is last_epoch


# The first argument of nnU-Net's PolyLRScheduler is a rate, and that of timm's a number of epochs.
_RATE = re.compile(r"(lr|rate)$|^0?\.\d+$|^[\d.]+e-\d+$")


def namesake(row: TorchClass, module: str, keywords: Collection[Any], first: str = "") -> TorchClass:
    """Return the row of another library with a class of the same name, if a call is one of that.

    Args:
        row: the row of the name.
        module: the module that the class is taken from, if the text says it.
        keywords: the arguments of the call that are given by name.
        first: the first of several arguments that are given by position.
    """
    for modules, other in NAMESAKES.get(row.name, ()):
        is_others = {*keywords} <= {"optimizer", *other.parameters}
        is_rows = {*keywords} <= {"optimizer", *row.parameters}
        is_rate = row.name == "PolyLRScheduler" and _RATE.search(first)
        if module.partition(".")[0] in modules or (is_others and not is_rows) or is_rate:
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
