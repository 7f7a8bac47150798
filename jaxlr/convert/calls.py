"""Calls of jaxlr's functions, kept as data so that they can be made or printed."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from jaxlr._checks import shorten
from jaxlr.code.definitions import Function
from jaxlr.code.lambdas import Lambda
from jaxlr.code.syntax import is_literal, literal
from jaxlr.convert.classes import TorchClass


_NOT_IN_TORCH = (
    "init_value",
    "order",
    "num_steps",
    "version",
)  # arguments that torch's constructors do not have


class Call(NamedTuple):
    """A call of the function that is equivalent to a torch class. Its arguments may contain calls."""

    torch_class: TorchClass
    arguments: dict[str, Any]  # of jaxlr's function, by name
    function: Callable[..., Any] | None = None  # only if it is not that of the class

    def with_base(self, init_value: Any) -> "Call":
        """Return the same call for another base learning rate."""
        return self._replace(arguments={**self.arguments, "init_value": init_value})


def build(call: Call) -> Any:
    """Make a call and return its result. The calls in its lists are made first."""

    def built(value: Any) -> Any:
        if isinstance(value, Call):
            return build(value)
        return [built(item) for item in value] if isinstance(value, list) else value

    function = call.function or call.torch_class.function
    return function(**{name: built(value) for name, value in call.arguments.items()})


def taking_over(call: Call) -> Call:
    """Return the call of a part that begins at a milestone. There torch computes its first rate directly.

    Raises:
        ValueError: torch divides by 0 there.
    """
    if call.arguments.get("total_iters") != 0:
        return call
    if call.torch_class.name == "ConstantLR":
        return call._replace(arguments={**call.arguments, "factor": 1.0})
    raise ValueError(
        f"torch divides by 0 where a {call.torch_class.name} with total_iters=0 takes over at its "
        "milestone: leave it out"
    )


def jaxlr_text(call: Call) -> str:
    """Return a call as a line of Python that calls jaxlr."""
    functions = [value for value in call.arguments.values() if isinstance(value, Lambda)]
    if (
        call.function
        or call.torch_class.library != "torch"
        or any(not function.is_arithmetic for function in functions)
    ):
        return _from_string_text(call)
    function = call.torch_class.function
    in_order = [name for name in inspect.signature(function).parameters if name in call.arguments]
    first, *rest = in_order  # the first one is required, so it needs no name
    named = [f"{name}={_value_text(call.arguments[name], jaxlr_text)}" for name in rest]
    positional = _value_text(call.arguments[first], jaxlr_text)
    return f"jaxlr.{function.__name__}({', '.join([positional, *named])})"


def _from_string_text(call: Call) -> str:
    """Return a call without a public function as one of `from_string`, which reads torch's text again."""
    init_value = call.arguments.get("init_value", call.arguments.get("base_lr"))
    arguments = [repr(torch_text(call)), _value_text(init_value, jaxlr_text)]
    for name in ("num_steps", "version"):
        if name in call.arguments:
            arguments.append(f"{name}={call.arguments[name]!r}")
    return f"jaxlr.from_string({', '.join(arguments)})"


def torch_text(call: Call) -> str:
    """Return a call as torch's constructor, its arguments by keyword and without the optimizer."""
    arguments = {key: value for key, value in call.arguments.items() if key not in _NOT_IN_TORCH}
    if "schedules" in arguments:
        arguments["schedulers"] = arguments.pop("schedules")
    if "order" in call.arguments:
        return _chain_text(call)
    written = (f"{name}={_value_text(value, torch_text)}" for name, value in arguments.items())
    return f"{call.torch_class.name}({', '.join(written)})"


def _chain_text(call: Call) -> str:
    """Return a stepped chain as text that constructs its parts in the recipe's order."""
    parts, order = call.arguments["schedulers"], call.arguments["order"]
    assigned = "".join(f"s{index} = {torch_text(parts[index])}; " for index in order)
    return f"{assigned}{call.torch_class.name}([{', '.join(f's{index}' for index in range(len(parts)))}])"


def _value_text(value: Any, call_text: Callable[[Call], str]) -> str:
    if isinstance(value, Call):
        return call_text(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value_text(item, call_text) for item in value)}]"
    if isinstance(value, Function) or (isinstance(value, Lambda) and value.needs_text):
        raise ValueError(
            f"the function {shorten(value.source)!r} cannot be printed in one line: call jaxlr.from_string "
            "with the text instead"
        )
    if isinstance(value, Lambda):
        return value.source
    if callable(value):
        raise ValueError(f"the function {shorten(repr(value))} cannot be printed as text")
    return literal(value) if is_literal(value) else repr(value)
