"""Recipes of torch, read into schedules: the text of a constructor is parsed, never evaluated."""

import ast
import difflib
import inspect
import operator
import warnings
from collections.abc import Callable
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr.plateau import reduce_lr_on_plateau
from jaxlr.schedules.cyclic import cosine_annealing_lr, cosine_annealing_warm_restarts, swa_lr
from jaxlr.schedules.decay import (
    constant_lr,
    exponential_lr,
    linear_lr,
    multi_step_lr,
    polynomial_lr,
    step_lr,
)


# The functions below take torch's arguments by torch's names, in torch's order.
_BUILDERS: dict[str, Callable[..., Any]] = {
    "StepLR": step_lr,
    "MultiStepLR": multi_step_lr,
    "ConstantLR": constant_lr,
    "LinearLR": linear_lr,
    "ExponentialLR": exponential_lr,
    "CosineAnnealingLR": cosine_annealing_lr,
    "ReduceLROnPlateau": reduce_lr_on_plateau,
    "CosineAnnealingWarmRestarts": cosine_annealing_warm_restarts,
    "PolynomialLR": polynomial_lr,
    "SWALR": swa_lr,
}

_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}

# A hostile text must cost milliseconds: these bound its length and the numbers that it can make.
_LONGEST_TEXT = 20_000
_LARGEST_NUMBER = 2.0**63
_LARGEST_EXPONENT = 64


def from_string(text: str, init_value: ArrayLike) -> optax.Schedule | optax.GradientTransformationExtraArgs:
    """The scheduler that a torch constructor's text describes.

    The text may name the class with or without its module, give any optimizer as first argument or
    none, and the other arguments by position or keyword, as numbers, strings, lists and arithmetic on
    them. `last_epoch=-1` and the removed `verbose` are read and mean nothing. Nothing is evaluated as
    Python, so a text from an untrusted file is safe.

    Args:
        text: such as `"StepLR(optimizer, step_size=30)"`; StepLR, MultiStepLR, ConstantLR, LinearLR,
            ExponentialLR, CosineAnnealingLR, ReduceLROnPlateau, CosineAnnealingWarmRestarts,
            PolynomialLR or SWALR.
        init_value: learning rate of the optimizer, a finite number >= 0; may be traced, shape ().

    Returns:
        A schedule of the epoch (or step); for ReduceLROnPlateau the transformation
        `reduce_lr_on_plateau`.

    Raises:
        TypeError: `text` is not a string, or one of its arguments is not of the kind the class takes.
        ValueError: `text` cannot be read, or one of its arguments is out of its range.

    Example:
        >>> schedule = from_string("lr_scheduler.StepLR(opt, step_size=2 * 15, gamma=0.5)", 1.0)
        >>> schedule(29), schedule(30)
        (1.0, 0.5)

    Reference: `torch.optim.lr_scheduler`.
    """
    name, call = _parse_call(text)
    if name not in _BUILDERS:
        nearest = difflib.get_close_matches(name, _BUILDERS, n=1, cutoff=0.5)
        hint = f"did you mean {nearest[0]}?" if nearest else f"known are {', '.join(_BUILDERS)}"
        raise ValueError(f"unknown scheduler {_shortened(name)!r}: {hint}")
    try:
        arguments = _bind(name, call)
    except RecursionError:
        raise ValueError(f"the arguments of {name} are nested too deeply to be read") from None
    return _BUILDERS[name](init_value, **arguments)


def _parse_call(text: str) -> tuple[str, ast.Call]:
    """The name of the class that is called, without its module, and the call."""
    if not isinstance(text, str):
        raise TypeError(f"a scheduler is described by a string, got {text!r}")
    example = "such as 'StepLR(step_size=30, gamma=0.1)'"
    if len(text) > _LONGEST_TEXT:
        raise ValueError(
            f"the scheduler's text has {len(text)} characters; at most {_LONGEST_TEXT} are read"
        )
    try:
        with warnings.catch_warnings(action="ignore", category=SyntaxWarning):
            expression = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error) or "nested too deeply"
        message = f"cannot read the scheduler {_shortened(text)!r} ({reason}): write a call {example}"
        raise ValueError(message) from None
    match expression:
        case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)):
            return name, expression
    raise ValueError(f"{_shortened(text)!r} is not the call of a scheduler: write one {example}")


def _bind(name: str, call: ast.Call) -> dict[str, Any]:
    """The arguments of `call` by name, less the optimizer and what has no meaning here."""
    parameters = list(inspect.signature(_BUILDERS[name]).parameters.values())[1:]
    accepted = [parameter.name for parameter in parameters]
    order = [*accepted, *(["verbose"] if name == "ReduceLROnPlateau" else ["last_epoch", "verbose"])]
    positional = call.args[1:] if call.args and _is_optimizer(call.args[0]) else call.args
    if len(positional) > len(order):
        raise ValueError(
            f"{name} takes at most {len(order)} arguments after the optimizer: {', '.join(order)}"
        )
    given = list(zip(order, positional, strict=False))
    given += [(keyword.arg or "**", keyword.value) for keyword in call.keywords]
    arguments: dict[str, Any] = {}
    for key, node in given:
        if key not in ("optimizer", *order):
            raise ValueError(f"{name} has no argument {key!r}; it takes {', '.join(accepted)}")
        if key in arguments:
            raise ValueError(f"{name} is given its argument {key!r} twice")
        arguments[key] = None if key in ("optimizer", "verbose") else _value(node)
    last_epoch = arguments.pop("last_epoch", -1)
    if last_epoch != -1:
        raise ValueError(f"last_epoch must be -1, which starts {name} afresh, got {last_epoch!r}")
    missing = [p.name for p in parameters if p.default is p.empty and p.name not in arguments]
    if missing:
        raise ValueError(f"{name} needs {', '.join(missing)}, as in '{name}({missing[0]}=...)'")
    return {key: value for key, value in arguments.items() if key in accepted}


def _is_optimizer(node: ast.expr) -> bool:
    """Whether a first argument is the optimizer: recipes write 45 forms of it, none of them a literal."""
    return isinstance(node, ast.Name | ast.Attribute | ast.Subscript | ast.Call)


def _value(node: ast.expr) -> Any:
    """The value of a literal, or of arithmetic on literals."""
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None as value):
            return value
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            return [_value(element) for element in elements]
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            return _calculate(node, op, _value(operand))
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            return _calculate(node, op, _value(left), _value(right))
    raise ValueError(
        f"cannot read {_shortened(ast.unparse(node))!r} in the scheduler's text: "
        "write numbers, strings, lists and arithmetic on numbers"
    )


def _calculate(node: ast.expr, op: ast.AST, *operands: Any) -> int | float:
    source = _shortened(ast.unparse(node))
    if not all(isinstance(operand, int | float) for operand in operands):
        raise ValueError(f"cannot calculate {source!r}: arithmetic is read on numbers only")
    if isinstance(op, ast.Pow) and abs(operands[1]) > _LARGEST_EXPONENT:
        raise ValueError(f"the exponent in {source!r} is beyond {_LARGEST_EXPONENT}")
    try:
        result = _OPERATORS[type(op)](*operands)
    except (ZeroDivisionError, OverflowError) as error:
        raise ValueError(f"cannot calculate {source!r}: {error}") from None
    if isinstance(result, complex) or abs(result) > _LARGEST_NUMBER:
        raise ValueError(f"{source!r} is beyond the numbers that a scheduler can use")
    return result


def _shortened(text: str, length: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 3] + "..."
