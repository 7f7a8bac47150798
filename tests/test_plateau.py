"""Tests of the plateau against torch, and inside the transformations of JAX and Optax."""

import itertools
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, torch_plateau_curve
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr
from jaxlr._compat import enable_x64


@jax.jit
def scan_plateau(state, metrics):
    def step(state, metric):
        state = jaxlr.plateau_step(state, metric)
        return state, jaxlr.plateau_lr(state)

    return jax.lax.scan(step, state, metrics)[1]


def run_plateau(metrics, lr=0.1, **options) -> np.ndarray:
    """Return the learning rate after each metric, from one compiled scan over them."""
    return np.asarray(scan_plateau(jaxlr.reduce_lr_on_plateau(lr, **options).init({}), metrics))


def float32(min_value, max_value):
    return st.floats(min_value, max_value, width=32, allow_subnormal=False)


def fill(walk, length=40):
    """Repeat a walk to a fixed length, so that the scan compiles only once."""
    return ((walk or [1.0]) * length)[:length]


def metric_walks():
    """Return a strategy for lists of float32 metrics: random walks, ties on a grid, NaN and infinities."""
    grid = st.integers(-4, 12).map(lambda i: i / 4)
    decimal = st.integers(930, 950).map(lambda i: float(np.float32(i / 1000)))
    special = st.sampled_from([float("nan"), float("inf"), float("-inf"), 0.0])
    element = st.one_of(grid, decimal, float32(-2, 2), special)
    plain = st.one_of(st.lists(grid), st.lists(decimal), st.lists(float32(0.5, 2)), st.lists(element))
    return plain.map(fill)


torch_settings = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["min", "max"]),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "factor": st.one_of(st.sampled_from([0.1, 0.5, 0.9]), st.floats(0.01, 0.99)),
        "patience": st.integers(0, 4),
        # Torch rounds 1 - threshold to a float64. Ours keeps the difference, unless it is 1.
        "threshold": st.one_of(st.sampled_from([0.0, 1e-17, 1e-4, 1e-3, 0.25]), st.floats(1e-12, 0.5)),
        "cooldown": st.integers(0, 4),
        "min_lr": st.one_of(st.just(0.0), st.sampled_from([0.2, 1e-3]), st.floats(0, 0.1)),
        "eps": st.one_of(st.sampled_from([0.0, 1e-8, 0.05]), st.floats(0, 0.01)),
    }
)


@given(options=torch_settings, metrics=metric_walks(), lr=st.floats(1e-3, 10))
@settings(max_examples=300, deadline=None)
def test_every_learning_rate_matches_torch(torch, options, metrics, lr):
    options = options | {"eps": options["eps"] * 1.0123}  # avoid decimal ties, which 48 bits cannot decide
    expected = torch_plateau_curve(torch, np.asarray(metrics, np.float32), lr=lr, **options)
    actual = run_plateau(jnp.asarray(metrics, dtype=jnp.float32), lr=lr, **options)
    assert_close(actual, expected, DEVICE_RTOL)


@given(options=torch_settings, metrics=metric_walks(), lr=st.floats(1e-3, 10))
@settings(max_examples=100, deadline=None)
def test_decimal_ties_are_decided_as_in_torch_under_x64(torch, options, metrics, lr):
    expected = torch_plateau_curve(torch, metrics, lr=lr, **options)
    with enable_x64():
        actual = run_plateau(jnp.asarray(metrics), lr=lr, **options)
    assert_close(actual, expected, HOST_RTOL)


def test_a_thousand_reductions_do_not_drift(torch):
    metrics = np.zeros(1000, dtype=np.float32)
    options = {"factor": 0.99, "patience": 0, "eps": 0.0}
    expected = torch_plateau_curve(torch, metrics, **options)
    assert_close(run_plateau(jnp.asarray(metrics, jnp.float32), **options), expected, DEVICE_RTOL)


def test_the_rate_falls_after_patience_plus_one_equal_metrics():
    lrs = run_plateau(jnp.ones(10), lr=1.0, factor=0.5, patience=2)
    chex.assert_trees_all_equal(
        lrs, np.asarray([1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.125], np.float32)
    )


def test_an_improvement_during_cooldown_updates_the_best_metric(torch):
    metrics = np.asarray([5, 5, 3, 4, 4, 4])
    options = {"patience": 0, "cooldown": 2}
    expected = torch_plateau_curve(torch, metrics, **options)
    assert_close(run_plateau(jnp.asarray(metrics, jnp.float32), **options), expected, DEVICE_RTOL)


def test_magnitude_reduces_on_a_negative_metric_where_rel_does_not(torch):
    metrics = jnp.full(8, -1.0)
    assert_close(run_plateau(metrics, patience=1), np.full(8, np.float32(0.1)), 0)
    assert_close(torch_plateau_curve(torch, metrics, patience=1), np.full(8, 0.1), 0)
    assert run_plateau(metrics, patience=1, threshold_mode="magnitude")[-1] < 0.01


@given(metrics=st.lists(float32(0.25, 4), min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_magnitude_equals_rel_for_positive_metrics(metrics):
    metrics = jnp.asarray(fill(metrics), dtype=jnp.float32)
    for mode in ("min", "max"):
        rel, magnitude = (
            run_plateau(metrics, mode=mode, patience=1, threshold_mode=threshold_mode)
            for threshold_mode in ("rel", "magnitude")
        )
        chex.assert_trees_all_equal(rel, magnitude)


PARAMS = {"body": jnp.ones(3), "head": jnp.ones(2)}


def plain():
    return optax.chain(optax.sgd(0.1, momentum=0.9), jaxlr.reduce_lr_on_plateau(0.1, patience=0))


NESTINGS = {
    "chain": plain,
    "alone": lambda: jaxlr.reduce_lr_on_plateau(0.1, patience=0),
    "chain in chain": lambda: optax.chain(optax.clip(1.0), plain()),
    "MultiSteps": lambda: optax.MultiSteps(plain(), every_k_schedule=2),
    "multi_transform": lambda: optax.multi_transform(
        {"body": plain(), "head": optax.adam(1e-3)}, {"body": "body", "head": "head"}
    ),
    "masked": lambda: optax.masked(plain(), {"body": True, "head": False}),
    "inject_hyperparams": lambda: optax.inject_hyperparams(
        lambda lr: optax.chain(optax.sgd(lr), jaxlr.reduce_lr_on_plateau(lr, patience=0))
    )(lr=0.1),
    "inject_hyperparams itself": lambda: optax.inject_hyperparams(jaxlr.reduce_lr_on_plateau)(
        init_value=0.1, patience=0
    ),
    "apply_if_finite": lambda: optax.apply_if_finite(plain(), max_consecutive_errors=3),
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_a_step_reaches_the_plateau_inside_any_transformation(nesting):
    tx = NESTINGS[nesting]()
    state = tx.init(PARAMS)

    @jax.jit
    def epoch(state, metric):
        _, state = tx.update(PARAMS, state, PARAMS)
        _, state = tx.update(PARAMS, state, PARAMS)
        return jaxlr.plateau_step(state, metric)

    lrs = []
    for _ in range(3):
        state_before, state = state, epoch(state, 1.0)
        chex.assert_trees_all_equal_shapes_and_dtypes(state_before, state)
        lrs.append(jaxlr.plateau_lr(state))
    assert_close(lrs, [0.1, 0.01, 0.001], DEVICE_RTOL)


def test_a_step_reaches_the_plateau_inside_an_nnx_optimizer():
    nnx = pytest.importorskip("flax.nnx")
    optimizer = nnx.Optimizer(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), plain(), wrt=nnx.Param)
    for _ in range(2):
        optimizer.opt_state = jaxlr.plateau_step(optimizer.opt_state, 1.0)
    assert_close(jaxlr.plateau_lr(optimizer.opt_state), 0.01, DEVICE_RTOL)


class OldVariable:
    """A variable as Flax had it before 0.12, without `get_value` and `set_value`."""

    def __init__(self, value: Any):
        self.raw_value = value

    @property
    def value(self) -> Any:
        return self.raw_value

    @value.setter
    def value(self, value: Any) -> None:
        self.raw_value = value


def test_a_step_changes_variables_of_older_versions_of_flax_in_place():
    opt_state = jax.tree.map(OldVariable, plain().init(PARAMS))
    for expected in (0.1, 0.01):
        assert jaxlr.plateau_step(opt_state, 1.0) is opt_state
        assert_close(jaxlr.plateau_lr(opt_state), expected, DEVICE_RTOL)
    schedule: Any = jaxlr.step_lr(0.1, step_size=1)
    assert_close(schedule(OldVariable(jnp.asarray(2))), 0.001, DEVICE_RTOL)


def test_flax_serializes_the_state():
    serialization = pytest.importorskip("flax.serialization")
    state = plain().init(PARAMS)
    for _ in range(2):
        state = jaxlr.plateau_step(state, 1.0)
    restored = serialization.from_bytes(plain().init(PARAMS), serialization.to_bytes(state))
    chex.assert_trees_all_equal(state, restored)


@pytest.mark.parametrize("enabled", [False, True])
def test_a_jit_may_donate_the_state(enabled):
    with enable_x64(enabled):
        lr, patience = jnp.asarray(0.1), jnp.asarray(0)
        state = jaxlr.reduce_lr_on_plateau(lr, patience=patience, cooldown=patience).init({})
        step = jax.jit(jaxlr.plateau_step, donate_argnums=0)
        for _ in range(2):
            state = step(state, jnp.asarray(1.0))
        assert_close(jaxlr.plateau_lr(state), 0.01, DEVICE_RTOL)


def test_each_group_of_a_multi_transform_keeps_its_own_plateau():
    tx = optax.multi_transform(
        {
            "body": jaxlr.reduce_lr_on_plateau(1.0, patience=0),
            "head": jaxlr.reduce_lr_on_plateau(2.0, patience=1),
        },
        {"body": "body", "head": "head"},
    )
    state: Any = tx.init(PARAMS)
    for _ in range(2):
        state = jaxlr.plateau_step(state, 1.0)
    with pytest.raises(ValueError, match="holds 2 plateaus; pass the part"):
        jaxlr.plateau_lr(state)
    updates: Any = tx.update(PARAMS, state, PARAMS)[0]
    assert_close(updates["body"], np.full(3, 0.1), DEVICE_RTOL)
    assert_close(updates["head"], np.ones(2), 0)
    assert_close(jaxlr.plateau_lr(state.inner_states["head"]), 2.0, 0)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_updates_keep_their_dtype_and_are_scaled_before_they_are_rounded(dtype):
    tx = jaxlr.reduce_lr_on_plateau(0.1, factor=0.3, patience=0)
    gradients = jnp.linspace(-1, 1, 101).astype(dtype)
    state = tx.init(gradients)
    for _ in range(2):
        state = jaxlr.plateau_step(state, 1.0)
    updates, state = jax.jit(tx.update)(gradients, state)
    assert updates.dtype == dtype
    exact = gradients.astype(jnp.float32) * 0.3
    half_a_digit = float(jnp.finfo(dtype).eps) / 2
    assert_close(updates, exact, 1.01 * half_a_digit + DEVICE_RTOL)
    for leaf in jax.tree.leaves(state):
        assert leaf.dtype in (np.float32, np.int32, np.bool_)


def test_a_warmup_schedule_composes_with_the_plateau():
    warmup = optax.linear_schedule(0.0, 0.1, transition_steps=4)
    tx = optax.chain(optax.sgd(warmup), jaxlr.reduce_lr_on_plateau(0.1, factor=0.5, patience=0))
    state = tx.init(jnp.ones(()))
    rates = []
    update: Any
    for step in range(8):
        update, state = tx.update(jnp.ones(()), state)
        rates.append(-update)
        if step in (4, 5):
            state = jaxlr.plateau_step(state, 1.0)
    assert_close(rates, [0, 0.025, 0.05, 0.075, 0.1, 0.1, 0.05, 0.05], DEVICE_RTOL)


def test_update_with_a_value_steps_and_scales_in_one_call():
    tx = optax.chain(optax.sgd(0.1), jaxlr.reduce_lr_on_plateau(0.1, patience=0))
    state = tx.init(jnp.ones(()))
    rates = []
    update: Any
    for value in (1.0, 1.0, 0.5):
        update, state = tx.update(jnp.ones(()), state, value=jnp.asarray(value))
        rates.append(-update)
    assert_close(rates, [0.1, 0.01, 0.01], DEVICE_RTOL)


def test_hyperparameters_can_be_swept_with_vmap():
    metrics = jnp.asarray([3.0, 3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0])

    def final_lr(lr, factor, patience, cooldown):
        state = jaxlr.reduce_lr_on_plateau(lr, factor=factor, patience=patience, cooldown=cooldown).init({})
        for metric in metrics:
            state = jaxlr.plateau_step(state, metric)
        return jaxlr.plateau_lr(state)

    grid = list(itertools.product([0.1, 1.0], [0.25, 0.5], [0, 1], [0, 2]))
    columns = [jnp.asarray(column) for column in zip(*grid, strict=True)]
    swept = jax.jit(jax.vmap(final_lr))(*columns)
    expected = [
        run_plateau(metrics, lr, factor=factor, patience=patience, cooldown=cooldown)[-1]
        for lr, factor, patience, cooldown in grid
    ]
    assert_close(swept, expected, DEVICE_RTOL)


def test_a_batch_of_states_takes_a_batch_of_metrics():
    lrs = jnp.asarray([0.1, 0.2, 0.4])
    tx_init = jax.vmap(lambda lr: jaxlr.reduce_lr_on_plateau(lr, patience=0).init({}))
    state = tx_init(lrs)
    for metrics in ([1.0, 1.0, 1.0], [0.5, 1.0, 2.0]):
        state = jaxlr.plateau_step(state, jnp.asarray(metrics))
    assert_close(jaxlr.plateau_lr(state), [0.1, 0.02, 0.04], DEVICE_RTOL)


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("shape", [(1,), (1, 1)])
def test_a_metric_in_an_array_of_one_number_is_that_number(wrap, shape):
    state = jaxlr.reduce_lr_on_plateau(0.1, patience=0).init({})
    for metric in (0.5, 0.6):
        state = jaxlr.plateau_step(state, wrap(metric).reshape(shape))
    assert_close(jaxlr.plateau_lr(state), 0.01, DEVICE_RTOL)


def test_the_second_step_compiles_nothing():
    tx = plain()
    state = tx.init(PARAMS)
    step = jax.jit(chex.assert_max_traces(lambda s, m: jaxlr.plateau_step(s, m), n=1))
    for metric in (1.0, 2.0, 0.5):
        state = step(state, metric)


BAD_ARGUMENTS = [
    ({"init_value": 0.0}, ValueError, "init_value must be a finite number above 0, got 0.0"),
    ({"init_value": -0.1}, ValueError, "init_value"),
    (
        {"init_value": 1e-39},
        ValueError,
        "init_value must be from 1e-30 to 1e.30, so that float32",
    ),
    (
        {"init_value": 1e31},
        ValueError,
        "init_value must be from 1e-30 to 1e.30, so that float32",
    ),
    ({"patience": 2**31}, ValueError, "patience must be a number of epochs from 0 to 2"),
    ({"patience": jnp.arange(3)}, ValueError, r"patience must be a scalar, got an array of shape \(3,\)"),
    ({"init_value": float("nan")}, ValueError, "init_value"),
    ({"init_value": "0.1"}, TypeError, "init_value must be a real number"),
    ({"mode": "Min"}, ValueError, "mode must be one of 'min', 'max', got 'Min'"),
    ({"threshold_mode": "relative"}, ValueError, "threshold_mode must be one of 'rel', 'abs', 'mag"),
    ({"factor": 1.0}, ValueError, "factor must be below 1, got 1.0"),
    ({"factor": 0.0}, ValueError, "factor"),
    ({"factor": float("nan")}, ValueError, "factor"),
    ({"patience": -1}, ValueError, "patience must be a number of epochs from 0"),
    ({"patience": 1.5}, ValueError, "patience must be a whole number"),
    ({"patience": None}, TypeError, "patience must be a whole number"),
    ({"cooldown": -1}, ValueError, "cooldown"),
    ({"threshold": -1e-4}, ValueError, "threshold"),
    ({"threshold": 1.0}, ValueError, "a relative threshold in mode 'min' must be below 1"),
    ({"min_lr": [0.1, 0.2]}, TypeError, "min_lr must be a real number"),
    ({"min_lr": -1.0}, ValueError, "min_lr"),
    ({"eps": float("inf")}, ValueError, "eps"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        jaxlr.reduce_lr_on_plateau(**{"init_value": 0.1, **arguments})


@pytest.mark.parametrize(
    ("metric", "kind", "message"),
    [
        (None, TypeError, "metric must be a real number, got None"),
        ("0.5", TypeError, "metric must be a real number, got '0.5'"),
        (jnp.ones(3), ValueError, r"metric must have the shape of the learning rate, \(\), got \(3,\)"),
    ],
)
def test_a_metric_that_is_not_a_number_is_refused(metric, kind, message):
    state = jaxlr.reduce_lr_on_plateau(0.1).init({})
    with pytest.raises(kind, match=message):
        jaxlr.plateau_step(state, metric)


@pytest.mark.parametrize("call", [jaxlr.plateau_lr, lambda state: jaxlr.plateau_step(state, 1.0)])
def test_a_state_without_a_plateau_is_refused(call):
    with pytest.raises(ValueError, match=r"holds no plateau: chain jaxlr\.reduce_lr_on_plateau"):
        call(optax.sgd(0.1).init(PARAMS))


@pytest.mark.parametrize("options", [{"mode": "min"}, {"mode": "max"}])
def test_a_threshold_that_torch_rounds_away_is_0(torch, options):
    losses = np.array([1.0, 1.0, 0.5, 0.5, 0.5, 0.7, 0.7, 0.7, 0.7])
    options = {**options, "threshold": 1e-17, "patience": 1}
    assert_close(run_plateau(losses, **options), torch_plateau_curve(torch, losses, **options), DEVICE_RTOL)


@pytest.mark.parametrize("options", [{"mode": "max"}, {"threshold_mode": "abs"}])
def test_a_threshold_of_1_matches_torch_unless_it_is_relative_in_mode_min(torch, options):
    metrics = np.asarray([9, 8.5, 7.5, 30, 29, 65, 3, 1])
    options = {**options, "threshold": 1.0, "patience": 1}
    expected = torch_plateau_curve(torch, metrics, **options)
    assert expected[-1] < 0.1
    assert_close(run_plateau(jnp.asarray(metrics, jnp.float32), **options), expected, DEVICE_RTOL)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, jnp.float32])
def test_updates_of_any_dtype_are_scaled_under_strict_promotion(dtype):
    plateau = jaxlr.reduce_lr_on_plateau(0.1, patience=0, factor=0.5)
    grads = jnp.full(3, 3.0, dtype)
    with jax.numpy_dtype_promotion("strict"):
        state = plateau.init(grads)
        for metric in (1.0, 1.0):
            updates, state = plateau.update(grads, state, value=metric)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, grads)
    chex.assert_trees_all_equal(updates, grads / 2)
