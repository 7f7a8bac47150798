"""The functions and classes of other frameworks that people call, as rows like those of torch's classes."""

import inspect

from jaxlr.convert.classes import Effect, TorchClass
from jaxlr.frameworks import CALLS


# transformers 4.49 put num_decay_steps before num_stable_steps. A GreedyLR is made from keywords only.
_MAX_POSITIONAL = {"get_wsd_schedule": 2, "get_greedy_schedule": 0}
_MAX_POSITIONAL |= {"CosineLRScheduler": 1, "TanhLRScheduler": 1}  # timm 0.5 reordered the others


def _row(name: str) -> TorchClass:
    library, function = CALLS[name]
    first, *parameters = (name for name in inspect.signature(function).parameters if name != "version")
    assert first == "init_value"
    return TorchClass(
        name=name,
        function=function,
        # Frameworks take the optimizer after a name, as in get_scheduler("cosine", optimizer, ...).
        signature=", ".join([*_with_optimizer(parameters), "last_epoch"]),
        mark="",
        effect=Effect.OVERWRITES,
        library=library,
        max_positional=_MAX_POSITIONAL.get(name),
    )


def _with_optimizer(parameters: list[str]) -> list[str]:
    return ["name", "optimizer", *parameters[1:]] if parameters[:1] == ["name"] else parameters


FOREIGN = {name: _row(name) for name in CALLS}
