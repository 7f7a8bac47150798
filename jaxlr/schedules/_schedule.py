"""The class of all schedules: it checks the count, and prints and pickles as the call that makes it."""

import builtins
import dataclasses
import dis
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jaxlr._checks import plain
from jaxlr.schedules._counts import as_count, as_float


_P = ParamSpec("_P")
_MOST_ITEMS = 12  # of a list that is printed in full
# What a function of the count may read, so that its values depend on the count alone.
_MATHEMATICAL = (math, jnp, abs, float, int, max, min, pow, round, sum)


class PrintsAsCall:
    """An object whose `repr` is the call that makes it."""

    def as_call(self) -> tuple[str, Mapping[str, Any]]:
        """Return the name of a public function or class, and its arguments in their order."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return call_text(self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Schedule(PrintsAsCall):
    """An `optax.Schedule`: a formula of the count, with a check of the count before it.

    Two schedules are equal only if they are the same object. So a schedule can be a static argument of
    `jax.jit`, whatever functions and arrays it holds.
    """

    formula: Callable[[Any], Any]
    # Set if the formula is init_value times a factor that depends on the count. Only such schedules can be
    # chained.
    init_value: float | jax.Array | None = None
    fractional: bool = False  # counts may be floats, such as 3.5 for the middle of epoch 3
    functions: tuple[Callable[..., Any], ...] = ()  # the functions that the formula calls
    # The step of torch's scheduler in a chain, if it neither multiplies the rate nor replaces it.
    step: Callable[[int, float], float] | None = None
    # The arguments of the public function that makes the schedule, and that function. `prints_as_call` sets
    # both. The function may set an argument itself, if it keeps another value of it.
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    made_by: Callable[..., Any] | None = None

    def __call__(self, count: Any) -> Any:
        """Return the learning rate at `count`: a float for a number, an array for an array."""
        count = as_count(count, self.fractional)
        if isinstance(count, jax.Array):
            # Outside of compiled code each operation would be a dispatch of its own.
            can_compile = self.is_pure and not isinstance(count, Tracer)
            return self._compiled(count) if can_compile else self._on_device(count)
        rate = self.formula(count)
        if isinstance(rate, jax.Array):
            return jnp.broadcast_to(as_float(rate), np.shape(count))
        if isinstance(count, int | float):
            return float(rate)  # a np.float64 would print as np.float64(0.1)
        return np.asarray(np.broadcast_to(rate, count.shape))

    def _refuse(self, *_: Any) -> NoReturn:
        """Raise the error that tells what to do where a number is needed, as for a momentum."""
        raise TypeError(
            "a schedule is a function, where a number is needed: for a momentum or another argument of an "
            "optimizer, use optax.inject_hyperparams(optax.sgd)(learning_rate=0.1, momentum=schedule)"
        )

    __mul__ = __rmul__ = __rsub__ = __float__ = _refuse  # an optimizer calculates with its arguments

    @functools.cached_property
    def is_pure(self) -> bool:
        """True if every function that the formula calls depends on the count alone, and can be traced."""
        # A lambda of a recipe has its own `is_pure`.
        return all(getattr(each, "is_pure", None) or _is_pure(each) for each in self.functions)

    @functools.cached_property
    def _compiled(self) -> Callable[[jax.Array], jax.Array]:
        return jax.jit(self._on_device)

    def _on_device(self, count: jax.Array) -> jax.Array:
        # Strongly typed, so that a scan can carry it. The formula may ignore the count and its shape.
        return jnp.broadcast_to(as_float(jnp.asarray(self.formula(count))), np.shape(count))

    def as_call(self) -> tuple[str, Mapping[str, Any]]:
        """Return the name of the function that makes the schedule, and its arguments."""
        return getattr(self.made_by, "__name__", "Schedule"), self.arguments

    def __reduce__(self) -> tuple[Any, ...]:
        if self.made_by is None:
            raise TypeError("this schedule cannot be pickled: no function of jaxlr makes it")
        return _called, (self.made_by, dict(self.arguments))

    def __copy__(self) -> "Schedule":
        return self

    def __deepcopy__(self, memo: Any) -> "Schedule":
        return self  # it never changes


def prints_as_call(function: Callable[_P, optax.Schedule]) -> Callable[_P, optax.Schedule]:
    """Store the name and the arguments of a public function in the schedules that it returns."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def make(*args: _P.args, **kwargs: _P.kwargs) -> optax.Schedule:
        schedule: Any = function(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = {name: _frozen(value) for name, value in bound.arguments.items()}
        if schedule.made_by is None:  # else another of these functions has made it
            arguments |= schedule.arguments
        return dataclasses.replace(schedule, arguments=arguments, made_by=make)

    return make


def calls_function(schedule: optax.Schedule) -> bool:
    """Return True if a schedule, or a part of it, calls a function that is not a schedule of jaxlr."""
    return not isinstance(schedule, Schedule) or any(map(calls_function, schedule.functions))


def factor_of(schedule: optax.Schedule) -> float | jax.Array | None:
    """Return the `init_value` that a schedule multiplies, or None if it does more than multiply.

    A function that is not from jaxlr counts as a factor, with an `init_value` of 1.
    """
    return schedule.init_value if isinstance(schedule, Schedule) else 1.0


def call_text(value: Any, prefix: str = "", most_items: float = _MOST_ITEMS) -> str:
    """Return Python text that makes a value: a schedule, or an argument of one.

    Args:
        value: the value.
        prefix: text before the names of our functions, such as "jaxlr.".
        most_items: number of items of a list from which on it is abbreviated with "...".
    """

    def text(value: Any) -> str:
        return call_text(value, prefix, most_items)

    if isinstance(value, PrintsAsCall):
        name, arguments = value.as_call()
        return f"{prefix}{_call(name, arguments, text)}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key!r}: {text(item)}' for key, item in value.items())}}}"
    if isinstance(value, list | tuple | np.ndarray):
        return f"[{', '.join(_item_texts(value, text, most_items))}]"
    if isinstance(value, jax.Array):
        return _array_text(value)
    if isinstance(value, functools.partial):
        keywords = [f"{name}={text(item)}" for name, item in value.keywords.items()]
        return f"functools.partial({', '.join([*map(text, [value.func, *value.args]), *keywords])})"
    if callable(value):
        return _function_text(value, text)
    value = plain(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f"float('{value}')"
    return repr(value)


def _call(name: str, arguments: Mapping[str, Any], text: Callable[[Any], str]) -> str:
    """Return a call. The first argument needs no name. An argument that is None is left out."""
    first = next(iter(arguments), None)
    written = [
        text(value) if key == first else f"{key}={text(value)}"
        for key, value in arguments.items()
        if value is not None
    ]
    return f"{name}({', '.join(written)})"


def _item_texts(items: Any, text: Callable[[Any], str], most_items: float) -> list[str]:
    if len(items) <= most_items:
        return [text(item) for item in items]
    return [*(text(item) for item in items[: int(most_items) // 2]), "...", text(items[-1])]


def _array_text(array: jax.Array) -> str:
    if isinstance(array, Tracer):
        return f"<traced {array.dtype}>"
    if array.shape or not array.is_fully_addressable or array.is_deleted():
        return f"<{array.dtype}{list(array.shape)}>"
    return f"jnp.{array.dtype}({array.item()!r})"


def _function_text(function: Any, text: Callable[[Any], str]) -> str:
    owner = getattr(function, "__self__", None)
    if isinstance(owner, list | tuple | np.ndarray):
        return f"{text(owner)}.{function.__name__}"
    name, module = getattr(function, "__qualname__", None), getattr(function, "__module__", None)
    if name is None or not (owner is None or isinstance(owner, types.ModuleType)):
        return repr(function)
    if "<" in name:
        return f"<function {name}>"
    return name if module in (None, "__main__", "builtins") else f"{module}.{name}"


def _frozen(value: Any) -> Any:
    """Return an argument as it is now. A list or an array of the caller may change later."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    return tuple(map(_frozen, value)) if isinstance(value, Sequence) and not _is_atom(value) else value


def _is_atom(value: Any) -> bool:
    return isinstance(value, str | range)


def _is_pure(function: Any) -> bool:
    """Check if a function reads its argument, constants and mathematical functions only, and can be traced.

    Any other function may change its values from one call to the next, so it is called each time.
    """
    if not isinstance(function, types.FunctionType) or function.__closure__ or function.__defaults__:
        return False
    code = function.__code__
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("IMPORT") or isinstance(instruction.argval, types.CodeType):
            return False
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL"):
            name = instruction.argval
            value = function.__globals__.get(name, getattr(builtins, name, None))
            if all(value is not each for each in _MATHEMATICAL):
                return False
    if not {"fromfile", "load"}.isdisjoint(code.co_names):
        return False
    try:
        jax.eval_shape(function, jax.ShapeDtypeStruct((), np.int32))
    except Exception:  # it has a branch on the count, for example
        return False
    return True


def _called(function: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    return function(**arguments)
