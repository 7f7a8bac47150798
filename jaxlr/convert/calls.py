"""A recipe as calls of jaxlr's own functions, which can be made or printed."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxlr._checks import shorten
from jaxlr.convert.lambdas import Lambda
from jaxlr.convert.source import is_literal, literal
from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules.compose import chained_scheduler, sequential_lr
from jaxlr.schedules.cosine import cosine_annealing_lr, cosine_annealing_warm_restarts, swa_lr
from jaxlr.schedules.cyclic import cyclic_lr, one_cycle_lr
from jaxlr.schedules.decay import (
    constant_lr,
    exponential_lr,
    lambda_lr,
    linear_lr,
    multi_step_lr,
    multiplicative_lr,
    polynomial_lr,
    step_lr,
)


_OURS = ("init_value", "order", "num_steps")  # arguments that torch has not


class Call(NamedTuple):
    """A call that has not been made yet; an argument may hold calls itself."""

    torch_name: str  # the class of torch
    arguments: dict[str, Any]  # those of jaxlr's function, by name
    function: Callable[..., Any] | None = None  # where it is not the one of the class

    def based_on(self, init_value: Any) -> "Call":
        """The same call for another learning rate of the optimizer."""
        return self._replace(arguments={**self.arguments, "init_value": init_value})


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "LambdaLR": lambda_lr,
    "MultiplicativeLR": multiplicative_lr,
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "ConstantLR": constant_lr,
    "LinearLR": linear_lr,
    "ExponentialLR": exponential_lr,
    "SequentialLR": sequential_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "ChainedScheduler": chained_scheduler,
    "ReduceLROnPlateau": reduce_lr_on_plateau,
    "CyclicLR": cyclic_lr,
    "CosineAnnealingWarmRestarts": cosine_annealing_warm_restarts,
    "OneCycleLR": one_cycle_lr,
    "PolynomialLR": polynomial_lr,
    "SWALR": swa_lr,
}


def build(call: Call) -> Any:
    """Make a call, those in its arguments first."""

    def built(value: Any) -> Any:
        if isinstance(value, Call):
            return build(value)
        return [built(item) for item in value] if isinstance(value, list) else value

    function = call.function or FUNCTIONS[call.torch_name]
    return function(**{name: built(value) for name, value in call.arguments.items()})


def source(call: Call) -> str:
    """A call as a line of Python."""
    functions = [value for value in call.arguments.values() if isinstance(value, Lambda)]
    if call.function or any(not function.is_arithmetic for function in functions):
        return _source_from_text(call)
    function = FUNCTIONS[call.torch_name]
    in_order = [name for name in inspect.signature(function).parameters if name in call.arguments]
    first, *rest = in_order  # the first is required
    named = [f"{name}={_written(call.arguments[name])}" for name in rest]
    return f"jaxlr.{function.__name__}({', '.join([_written(call.arguments[first]), *named])})"


def _source_from_text(call: Call) -> str:
    """A call that has no equal among jaxlr's functions stays torch's text, which is read again."""
    init_value = call.arguments.get("init_value", call.arguments.get("base_lr"))
    arguments = [repr(torch_text(call)), _written(init_value)]
    if "num_steps" in call.arguments:
        arguments.append(f"num_steps={call.arguments['num_steps']!r}")
    return f"jaxlr.from_string({', '.join(arguments)})"


def torch_text(call: Call) -> str:
    """A call as torch's text, its arguments named, and without the optimizer."""
    arguments = {key: value for key, value in call.arguments.items() if key not in _OURS}
    if "schedules" in arguments:
        arguments["schedulers"] = arguments.pop("schedules")
    if "order" in call.arguments:  # that in which they are constructed, which may not be the list's
        parts = arguments["schedulers"]
        assigned = "".join(f"s{index} = {torch_text(parts[index])}; " for index in call.arguments["order"])
        return f"{assigned}{call.torch_name}([{', '.join(f's{index}' for index in range(len(parts)))}])"
    written = (f"{name}={_written(value, torch_text)}" for name, value in arguments.items())
    return f"{call.torch_name}({', '.join(written)})"


def _written(value: Any, write_call: Callable[[Call], str] = source) -> str:
    if isinstance(value, Call):
        return write_call(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_written(item, write_call) for item in value)}]"
    if isinstance(value, Lambda):
        return value.source
    if callable(value):
        raise ValueError(f"the function {shorten(repr(value))} has no text that could be printed")
    return literal(value) if is_literal(value) else repr(value)
