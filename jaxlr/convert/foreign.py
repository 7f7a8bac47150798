"""The functions and classes of other frameworks that people call, as rows like those of torch's classes."""

import inspect

from jaxlr.convert.classes import Effect, TorchClass
from jaxlr.frameworks import (
    addons,
    detectron2,
    dino,
    fastai,
    gaussian_splatting,
    huggingface,
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


def _row(name: str) -> TorchClass:
    library, function = CALLS[name]
    parameters = inspect.signature(function).parameters
    # A function without an init_value sets the rate itself, whatever the optimizer has.
    names = [each for each in parameters if each not in ("init_value", "version")]
    by_name = [each for each in names if parameters[each].kind is inspect.Parameter.KEYWORD_ONLY]
    ignored = tuple(each for each in _IGNORED[library] if each not in names)
    return TorchClass(
        name=name,
        function=function,
        # Frameworks take the optimizer after a name, as in get_scheduler("cosine", optimizer, ...).
        signature=", ".join([*_with_optimizer(names), "last_epoch", *ignored]),
        mark="",
        effect=Effect.OVERWRITES,
        library=library,
        max_positional=_MAX_POSITIONAL.get(name, len(names) - len(by_name) if by_name else None),
        ignored=ignored,
    )


def _with_optimizer(parameters: list[str]) -> list[str]:
    return ["name", "optimizer", *parameters[1:]] if parameters[:1] == ["name"] else parameters


FOREIGN = {name: _row(name) for name in CALLS}
