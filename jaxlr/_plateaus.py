"""Plateaus in an optimizer: the transformation, and the search for its state in an optimizer state."""

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeAlias

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import PLATEAU_IS_NO_SCHEDULE, is_real_dtype, shown_value
from jaxlr._double_float import DoubleFloat, as_real, round_to_float
from jaxlr._flax import as_array, as_arrays, is_variable, opt_state_of, set_variable
from jaxlr._plateau_settings import REALS
from jaxlr.schedules._printing import PrintsAsCall


# The state of a plateau, such as a `PlateauState` or a `GreedyState`. It has the method `step`.
State: TypeAlias = Any


class Plateau(PrintsAsCall, optax.GradientTransformationExtraArgs):
    """The transformation of a ReduceLROnPlateau, which refuses to be used as a schedule."""

    init_value: float | jax.Array
    _call: tuple[str, Mapping[str, Any]]

    @classmethod
    def build(
        cls, init: Any, init_value: float | jax.Array, name: str, arguments: Mapping[str, Any]
    ) -> "Plateau":
        """Return a plateau whose state is `init(params)`, with the call that makes it."""
        plateau = cls(init, scale_updates)
        plateau.init_value = init_value
        plateau._call = name, arguments
        return plateau

    def as_call(self) -> tuple[str, Mapping[str, Any]]:
        """Return the name of the function that makes the plateau, and its arguments."""
        return self._call

    def refuse(self, *_: Any) -> NoReturn:
        """Raise the error that tells how to combine a plateau with an optimizer."""
        raise TypeError(PLATEAU_IS_NO_SCHEDULE)

    # An optimizer computes with a learning rate that is not callable, such as -1 * learning_rate.
    __add__ = __radd__ = __sub__ = __rsub__ = refuse  # pyright: ignore[reportAssignmentType]
    __mul__ = __rmul__ = refuse  # pyright: ignore[reportAssignmentType]
    __truediv__ = __rtruediv__ = __pow__ = __rpow__ = __neg__ = __float__ = refuse


# Python's error for a call is "'NAME' object is not callable", so this name is a message. With a method
# `__call__`, `optax.sgd` would take a plateau for a schedule, and fail in its first update only.
Plateau.__name__ = (
    "ReduceLROnPlateau (not a schedule: use jaxlr.with_plateau(lambda lr: optax.sgd(lr), plateau))"
)


def scale_updates(
    updates: optax.Updates,
    state: Any,
    params: optax.Params | None = None,
    *,
    value: ArrayLike | None = None,
    **extra_args: Any,
) -> tuple[optax.Updates, Any]:
    """Return the updates at the rate of the plateau, which a metric as `value` steps first."""
    del params, extra_args
    if value is not None:
        state = stepped(state, value)
    scale = round_to_float(state.lr) / round_to_float(state.init_value)
    # Scale first and round to the dtype of the updates last: bfloat16 holds 0.1 to three digits only.
    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(lambda update: (update * scale).astype(update.dtype), updates), state


def stepped(opt_state: Any, metric: ArrayLike) -> Any:
    """Return `opt_state` with every plateau stepped, as `plateau_step` describes it."""
    states = plateaus_of(opt_state)
    metric = as_array(metric)
    if not is_real_dtype(metric.dtype if isinstance(metric, jax.Array) else np.asarray(metric).dtype):
        raise TypeError(f"metric must be a real number, got {shown_value(metric)}")
    shapes = {state.patience.shape for state in states}
    if shapes == {()} and np.size(metric) == 1:
        metric = metric.reshape(()) if isinstance(metric, jax.Array) else np.asarray(metric).item()
    for shape in shapes:
        _check_metric_shape(np.shape(metric), shape)
    return replaced(opt_state, lambda state: state.step(as_real(metric)))


def plateaus_in(tree: Any) -> list[State]:
    """Return the plateaus in a tree, with plain arrays where Flax NNX has variables."""
    return [as_arrays(state) for state in nodes_of(tree, _is_plateau)]


def nodes_of(tree: Any, is_wanted: Callable[[Any], bool]) -> list[Any]:
    """Return the outermost nodes of a tree for which `is_wanted` is True."""
    return [node for node in jax.tree.leaves(tree, is_leaf=is_wanted) if is_wanted(node)]


def plateaus_of(opt_state: Any) -> list[State]:
    """Return the plateaus in an optimizer state, at least one, after checking their types."""
    opt_state = opt_state_of(opt_state)
    states = plateaus_in(opt_state)
    if not states:
        raise ValueError(
            "opt_state holds no plateau: chain jaxlr.reduce_lr_on_plateau(...) after the optimizer, "
            f"and pass the state of the whole chain, not {type(opt_state).__name__}"
        )
    for state in states:
        _check_types(state)
    return states


def replaced(opt_state: Any, change: Callable[[State], State]) -> Any:
    """Return `opt_state` with every plateau changed. Variables of `flax.nnx` are updated in place."""
    in_variables = [
        state
        for state in nodes_of(opt_state_of(opt_state), _is_plateau)
        if any(map(is_variable, jax.tree.leaves(state, is_leaf=is_variable)))
    ]
    for state in in_variables:
        variables = jax.tree.leaves(state, is_leaf=is_variable)
        changed = jax.tree.leaves(change(as_arrays(state)))
        for variable, value in zip(variables, changed, strict=True):
            set_variable(variable, value)
    if in_variables:
        return opt_state

    def replace(node: Any) -> Any:
        return change(node) if _is_plateau(node) else node

    return jax.tree.map(replace, opt_state, is_leaf=_is_plateau)


def _is_plateau(node: Any) -> bool:
    """Return True if a node is the state of a plateau, such as a `PlateauState` or a `GreedyState`."""
    return isinstance(node, tuple) and hasattr(node, "num_bad_epochs")


def _check_metric_shape(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    """Raise a ValueError that says how to give a metric of the expected shape."""
    if shape == expected:
        return
    advice = "reduce it to one number first, such as its mean"
    if shape == ():
        advice = (
            f"pass a metric for each state of the batch, such as jnp.full({expected}, metric), or call "
            "plateau_step inside of jax.vmap or jax.pmap"
        )
    raise ValueError(f"metric must have the shape of the learning rate, {expected}, got {shape}; {advice}")


def _check_types(state: State) -> None:
    """Raise an error if a real number was replaced by another type, such as by `optax.tree.set`."""
    for name in REALS:
        if not hasattr(state, name):
            continue
        value = getattr(state, name)
        is_float64 = isinstance(value, jax.Array | np.ndarray) and value.dtype == np.float64
        if not isinstance(value, DoubleFloat) and not is_float64:
            advice = "use jaxlr.set_plateau_lr" if name == "lr" else "give it when the plateau is built"
            raise TypeError(
                f"the plateau's {name} was replaced by {shown_value(value)}, which changes the structure "
                f"of the state: {advice}"
            )
