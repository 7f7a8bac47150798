"""The class of all schedules: it checks the count, and prints and pickles as the call that makes it."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, ParamSpec

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer

from jaxlr.schedules._counts import as_count, as_float
from jaxlr.schedules._printing import PrintsAsCall


_P = ParamSpec("_P")


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
        """True if the formula depends on the count alone: it calls schedules, and lambdas of a text."""
        # Any other function may return another value at the next call, so it is called each time.
        return all(getattr(each, "is_pure", False) for each in self.functions)

    @functools.cached_property
    def _compiled(self) -> Callable[[jax.Array], jax.Array]:
        return jax.jit(self._on_device)

    def _on_device(self, count: jax.Array) -> jax.Array:
        # As in `as_count`. Even a NaN that `optax.join_schedules` drops would reach the derivatives.
        rate = self.formula(jnp.maximum(count, 0))
        # Strongly typed, so that a scan can carry it. The formula may ignore the count and its shape.
        return jnp.broadcast_to(as_float(jnp.asarray(rate)), count.shape)

    def as_call(self) -> tuple[str, Mapping[str, Any]]:
        """Return the name of the function that makes the schedule, and its arguments.

        Arguments that are given by name alone are left out where they have their default.
        """
        if self.made_by is None:
            return "Schedule", self.arguments
        parameters = inspect.signature(self.made_by).parameters
        shown = {
            name: value
            for name, value in self.arguments.items()
            if parameters[name].kind is not inspect.Parameter.KEYWORD_ONLY
            or value != parameters[name].default
        }
        return self.made_by.__name__, shown

    def __reduce__(self) -> tuple[Any, ...]:
        if self.made_by is None:
            raise TypeError("this schedule cannot be pickled: no function of jaxlr makes it")
        return functools.partial(self.made_by, **self.arguments), ()

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


def _frozen(value: Any) -> Any:
    """Return an argument as it is now. A list or an array of the caller may change later."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    is_list = isinstance(value, Sequence) and not isinstance(value, str | range)
    return tuple(map(_frozen, value)) if is_list else value
