"""The learning rate that an optimizer uses next, and optimizers whose state holds it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.core import Tracer
from jax.typing import ArrayLike

from jaxlr._checks import check_function, check_value, shown_value
from jaxlr._double_float import as_real, round_to_float, select
from jaxlr._flax import as_arrays, opt_state_of
from jaxlr._plateaus import Plateau, nodes_of, plateaus_in
from jaxlr.plateau import PlateauState, reduce_lr_on_plateau


# The names that an optimizer under `optax.inject_hyperparams` gives to its learning rate.
_INJECTED = ("learning_rate", "lr")


class RateState(NamedTuple):
    """The state of an optimizer that records its learning rate."""

    rate: jax.Array  # learning rate of the next update, before a plateau lowers it, shape ()
    inner_state: Any


def learning_rate(
    opt_state: Any, rate: optax.ScalarOrSchedule | Mapping[Any, optax.ScalarOrSchedule] | None = None
) -> Any:
    r"""Return the learning rate that the next update uses.

    $$\mathrm{lr} = \mathrm{rate}(k) \, \frac{\mathrm{lr}_p}{\eta_0}$$

    with $k$ the number of updates so far, which `opt_state` counts. If the state has a plateau,
    $\mathrm{lr}_p$ is its learning rate and $\eta_0$ its `init_value`. Otherwise the quotient is 1.

    An Optax state does not hold the schedule of its optimizer, so pass the same one as `rate`. Some states
    hold the learning rate: those of `with_plateau` and `optimizer_from_torch`, and those of
    `optax.inject_hyperparams` with a learning rate that is not a schedule. Then leave `rate` out.

    Args:
        opt_state: the state of the optimizer, after its last update; or an `nnx.Optimizer`, or a Linen
            `TrainState`. It may be nested in `optax.MultiSteps` and other transformations.
        rate: the learning rate that the optimizer was built with, a number or a schedule of updates. For
            an `optax.multi_transform` (or `partition`), a dict with one for each label. None takes the
            learning rate that the state holds.

    Returns:
        The learning rate in JAX's default float type. For several groups, a dict with one for each label.

    Raises:
        TypeError: `rate` is not a number or a schedule.
        ValueError: `opt_state` does not hold what is needed, or contradicts `rate`.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlr import step_lr
        >>> schedule = step_lr(0.5, step_size=2, gamma=0.5)
        >>> tx = optax.sgd(schedule, momentum=0.9)
        >>> opt_state = tx.init(jnp.zeros(3))
        >>> for _ in range(2):
        ...     updates, opt_state = tx.update(jnp.ones(3), opt_state)
        >>> print(learning_rate(opt_state, schedule))
        0.25

    Reference: `torch.optim.lr_scheduler.LRScheduler.get_last_lr`.
    """
    opt_state = opt_state_of(opt_state)
    groups = _groups(opt_state)
    requested: Any = rate
    if rate is None and groups is not None and len(groups) > 1:
        requested = dict.fromkeys(groups)
    if isinstance(requested, Mapping):
        if groups is None or set(groups) != set(requested):
            labels = "no parameter groups" if groups is None else f"the groups {sorted(groups, key=str)}"
            raise ValueError(
                f"rate has the labels {sorted(requested, key=str)}, but opt_state holds {labels} of an "
                "optax.multi_transform"
            )
        return {label: learning_rate(groups[label], each) for label, each in requested.items()}
    plateaus = plateaus_in(opt_state)
    if len(plateaus) > 1:
        raise ValueError(
            f"opt_state holds {len(plateaus)} plateaus: pass rate as a dict with the learning rate of each "
            "label, or pass the part of opt_state that you mean"
        )
    base = _base_rate(opt_state, requested, plateaus)
    for state in plateaus:
        base = base * (round_to_float(state.lr) / round_to_float(state.init_value))
    return base


def with_plateau(
    optimizer: Callable[[Any], optax.GradientTransformation],
    init_value: ArrayLike | optax.GradientTransformationExtraArgs,
    warmup: optax.Schedule | None = None,
    **settings: Any,
) -> optax.GradientTransformationExtraArgs:
    r"""Build an optimizer with a ReduceLROnPlateau. The learning rate is given once.

    $$\mathrm{lr} = \mathrm{warmup}(k) \, \frac{\mathrm{lr}_p}{\eta_0}$$

    with $k$ the number of updates, $\eta_0$ = `init_value`, and $\mathrm{lr}_p$ the learning rate of
    `reduce_lr_on_plateau`. Without a warmup the learning rate is $\mathrm{lr}_p$.

    Step the plateau with `plateau_step`, and read the rate of the next update with
    `learning_rate(opt_state)`. A restored state continues at its own learning rate, whatever `init_value`
    the program has, as in torch. `set_plateau_lr` changes it.

    Args:
        optimizer: function from a learning rate to an optimizer, such as
            `lambda lr: optax.sgd(lr, momentum=0.9)`.
        init_value: learning rate of the optimizer, from 1e-30 to 1e30; or a plateau from
            `reduce_lr_on_plateau`, `from_string`, `from_torch` or `from_state_dict`.
        warmup: schedule of updates that ends at `init_value`. None means a constant learning rate.
        settings: `patience` and the other arguments of `reduce_lr_on_plateau`, by keyword.

    Returns:
        A transformation. Its `update` takes an optional `value`, as that of `reduce_lr_on_plateau`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or `settings` are given for a plateau that has its own.

    Example:
        >>> import jax.numpy as jnp
        >>> from jaxlr import plateau_step
        >>> params = jnp.zeros(3)
        >>> tx = with_plateau(lambda lr: optax.sgd(lr, momentum=0.9), 0.1, patience=1)
        >>> opt_state = tx.init(params)
        >>> for valid_loss in (0.9, 0.7, 0.7, 0.7):
        ...     updates, opt_state = tx.update(jnp.ones(3), opt_state, params)
        ...     opt_state = plateau_step(opt_state, valid_loss)
        >>> print(learning_rate(opt_state))
        0.01

    Reference: `torch.optim.lr_scheduler.ReduceLROnPlateau`.
    """
    check_function("optimizer", optimizer)
    if isinstance(init_value, Plateau):
        if settings:
            raise ValueError(
                f"the plateau has its own settings: give {', '.join(settings)} where it is built"
            )
        plateau: Any = init_value
    elif isinstance(init_value, optax.GradientTransformation) or callable(init_value):
        raise TypeError(
            f"init_value must be a learning rate or a plateau, got {shown_value(init_value)}; "
            "give a schedule as warmup"
        )
    else:
        plateau = reduce_lr_on_plateau(init_value, **settings)
    if warmup is not None:
        check_function("warmup", warmup)
    rate = plateau.init_value if warmup is None else warmup
    recorded = record_rate(optimizer(rate), rate)

    def update_plateau(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> Any:
        # The optimizer has the rate of this program. A restored state may be of a program with another one.
        return plateau.update(updates, _with_init_value(state, plateau.init_value), params, **extra_args)

    return optax.chain(recorded, optax.GradientTransformationExtraArgs(plateau.init, update_plateau))


def record_rate(
    tx: optax.GradientTransformation, rate: optax.ScalarOrSchedule
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer whose state holds the learning rate of the next update."""
    tx = optax.with_extra_args_support(tx)

    def init_fn(params: optax.Params) -> Any:
        return recorded(tx.init(params))

    def update_fn(updates: Any, state: Any, params: Any = None, **extra_args: Any) -> tuple[Any, Any]:
        updates, inner_state = tx.update(updates, state.inner_state, params, **extra_args)
        return updates, recorded(inner_state)

    def recorded(inner_state: Any) -> RateState:
        current = rate(_count(inner_state)) if callable(rate) else rate
        return RateState(_as_default_float(current), inner_state)

    return optax.GradientTransformationExtraArgs(init_fn, update_fn)


def _base_rate(opt_state: Any, rate: Any, plateaus: list[PlateauState]) -> jax.Array:
    """Return the learning rate of the next update before a plateau lowers it."""
    held = _held_rates(opt_state)
    if rate is None:
        if len(held) == 1:
            return held[0]
        raise ValueError(_missing_rate(held))
    if held:
        raise ValueError(
            "opt_state holds the optimizer's learning rate (with_plateau, optimizer_from_torch and "
            "inject_hyperparams keep it there): leave rate out"
        )
    if callable(rate):
        return _as_default_float(rate(_count(opt_state)))
    if isinstance(rate, Plateau):
        rate.refuse()
    number = check_value("rate", rate)
    for state in plateaus:
        _check_agrees(number, state)
    return _as_default_float(number)


def _missing_rate(held: list[jax.Array]) -> str:
    if held:
        return f"opt_state holds {len(held)} learning rates: pass the part of opt_state that you mean"
    return (
        "opt_state does not hold the optimizer's learning rate: pass the number or the schedule that it "
        "was built with, as in learning_rate(opt_state, schedule); with a plateau, build it with "
        "with_plateau"
    )


def _check_agrees(number: Any, state: PlateauState) -> None:
    """Refuse a constant learning rate that is not the one that the plateau was built with."""
    init_value = round_to_float(state.init_value)
    if any(isinstance(value, Tracer) for value in (number, init_value)):
        return
    if not np.allclose(init_value, float(number), rtol=1e-5, atol=0.0):
        raise ValueError(
            f"the optimizer's learning rate is {float(number):g}, but its plateau was built with "
            f"{np.asarray(init_value).ravel()[0]:g}: give both the same, or use jaxlr.with_plateau, which "
            "takes it once"
        )


def _held_rates(opt_state: Any) -> list[jax.Array]:
    """Return the learning rates that a state holds: recorded, or injected without a schedule."""

    def holds(node: Any) -> bool:
        return isinstance(node, RateState) or _injected_name(node) is not None

    rates = []
    for node in nodes_of(opt_state, holds):
        if isinstance(node, RateState):
            # An injected rate inside may have been set by hand since.
            rates += _held_rates(node.inner_state) or [_as_default_float(as_arrays(node.rate))]
        elif (name := _injected_name(node)) not in node.hyperparams_states:
            rates.append(_as_default_float(as_arrays(node.hyperparams)[name]))
    return rates


def _injected_name(node: Any) -> str | None:
    """Return the name of the learning rate in a state of `optax.inject_hyperparams`, if it is one."""
    if not hasattr(node, "hyperparams_states"):
        return None
    return next((name for name in _INJECTED if name in node.hyperparams), None)


def _count(opt_state: Any) -> jax.Array:
    """Return the number of updates that the schedule of an optimizer has seen."""

    def counter(node: Any) -> Any:
        if (name := _injected_name(node)) is not None:
            return node.hyperparams_states.get(name)
        return node if isinstance(node, optax.ScaleByScheduleState) else None

    nodes = nodes_of(opt_state, lambda node: counter(node) is not None)
    counts = [as_arrays(counter(node).count) for node in nodes]
    if not counts:
        raise ValueError(
            "opt_state counts no updates for a schedule: was the optimizer built with this schedule, and "
            "is this the state of the whole optimizer?"
        )
    concrete = [np.asarray(count) for count in counts if not isinstance(count, Tracer)]
    if any(not np.array_equal(count, concrete[0]) for count in concrete[1:]):
        raise ValueError(
            "the schedules in opt_state have seen different numbers of updates: pass the part of opt_state "
            "that holds the learning rate"
        )
    return counts[-1]


def _groups(opt_state: Any) -> Mapping[Any, Any] | None:
    """Return the states of the groups of the outermost `optax.multi_transform`, by label."""

    def is_end(node: Any) -> bool:
        # A RateState holds one rate for all groups inside of it.
        return isinstance(node, RateState) or isinstance(getattr(node, "inner_states", None), Mapping)

    found = [node for node in nodes_of(opt_state, is_end) if not isinstance(node, RateState)]
    return found[0].inner_states if found else None


def _with_init_value(state: PlateauState, init_value: Any) -> PlateauState:
    """Return a state with the `init_value` of this program."""
    saved = state.init_value
    # A division by a constant would be compiled as a product with its rounded inverse. The `select` hides
    # the constant.
    is_unknown = jnp.isnan(round_to_float(saved))
    return state._replace(init_value=select(is_unknown, saved, as_real(init_value)))


def _as_default_float(value: Any) -> jax.Array:
    return jnp.asarray(value, dtype=jax.dtypes.canonicalize_dtype(float))
