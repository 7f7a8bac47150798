"""GreedyLR beside the curves of transformers, and inside the transformations of JAX and Optax."""

import math
from typing import Any

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from framework_files import recorded
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr


@jax.jit
def scan_greedy(state: Any, metrics: Any) -> Any:
    def step(state: Any, metric: Any) -> Any:
        state = jaxlr.plateau_step(state, metric)
        return state, jaxlr.plateau_lr(state)

    return jax.lax.scan(step, state, metrics)[1]


def run_greedy(metrics: Any, init_value: float, **options: Any) -> np.ndarray:
    """Return the learning rate after each metric, from one compiled scan over them."""
    state = jaxlr.greedy_lr(init_value, **options).init({})
    return np.asarray(scan_greedy(state, jnp.asarray(metrics)))


def rule(metrics: Any, init_value: float, **options: Any) -> list[float]:
    """Return the rates by the rule of transformers 5.24, restated in float64."""
    defaults: dict[str, Any] = {
        **{"mode": "min", "factor": 0.95, "patience": 10, "threshold": 1e-6, "threshold_mode": "abs"},
        **{"cooldown": 0, "warmup": 0, "min_lr": 1e-3, "max_lr": 1.0, "eps": 1e-8, "smooth": False},
        **{"window_size": 50, "reset_start": 500},
    }
    s = defaults | options
    sign = 1 if s["mode"] == "max" else -1
    lr, best, good, bad, cooling, warming, resets = (
        init_value,
        -sign * math.inf,
        0,
        0,
        0,
        0,
        s["reset_start"],
    )
    window: list[float] = []
    total, rates = 0.0, []
    for metric in metrics:
        if s["smooth"]:
            window.append(metric)
            total += metric
            if len(window) > s["window_size"]:
                total -= window.pop(0)
            metric = total / len(window)
        if cooling or warming:
            cooling, warming = (cooling - 1, warming) if cooling else (0, warming - 1)
            good = bad = 0
            rates.append(lr)
            continue
        margin = s["threshold"] if s["threshold_mode"] == "abs" else best * s["threshold"]
        bound = best + sign * margin if s["threshold_mode"] == "abs" else best * (1 + sign * s["threshold"])
        if metric < bound if sign < 0 else metric > bound:
            best, good, bad = metric, good + 1, 0
        else:
            good, bad = 0, bad + 1
        if good > s["patience"]:
            raised = min(lr / s["factor"], s["max_lr"])
            lr = raised if raised - lr > s["eps"] else lr
            good, warming, resets = 0, s["warmup"], s["reset_start"]
        elif bad > s["patience"]:
            lowered = max(lr * s["factor"], s["min_lr"])
            lr = lowered if lr - lowered > s["eps"] else lr
            bad, cooling = 0, s["cooldown"]
            if lr <= s["min_lr"]:
                resets -= 1
                if resets <= 0:
                    lr, best, resets, window, total = (
                        *(init_value, -sign * math.inf, s["reset_start"]),
                        *([], 0.0),
                    )
        rates.append(lr)
    return rates


@recorded("greedy")
def test_every_rate_is_that_of_transformers(case):
    metrics, options = case["metrics"], case["settings"]
    with jax.enable_x64(True):
        assert_close(run_greedy(metrics, case["init_value"], **options), case["rates"], HOST_RTOL)
    actual = run_greedy(np.asarray(metrics, np.float32), case["init_value"], **options)
    assert_close(actual, case["rates"], DEVICE_RTOL)
    assert_close(rule(metrics, case["init_value"], **options), case["rates"], 0)


walks = st.one_of(
    st.lists(st.integers(-4, 12).map(lambda number: number / 4), min_size=1),
    st.lists(st.floats(-2, 2, width=32, allow_subnormal=False), min_size=1),
    st.lists(st.sampled_from([1.0, 0.5, float("nan"), float("inf"), -float("inf")]), min_size=1),
).map(lambda walk: (walk * 60)[:60])
greedy_settings = st.fixed_dictionaries(
    {
        "mode": st.sampled_from(["min", "max"]),
        "threshold_mode": st.sampled_from(["rel", "abs"]),
        "factor": st.one_of(st.sampled_from([0.5, 0.95]), st.floats(0.01, 0.99)),
        "patience": st.integers(0, 3),
        "threshold": st.one_of(st.sampled_from([0.0, 1e-6, 0.25]), st.floats(0, 0.5)),
        "cooldown": st.integers(0, 3),
        "warmup": st.integers(0, 3),
        "min_lr": st.one_of(st.sampled_from([0.0, 1e-3]), st.floats(0, 0.1)),
        "max_lr": st.floats(0.1, 10),
        "eps": st.one_of(st.sampled_from([0.0, 1e-8]), st.floats(0, 0.01)),
        "smooth": st.booleans(),
        "window_size": st.just(4),
        "reset_start": st.integers(0, 4),
    }
)


@given(options=greedy_settings, metrics=walks, init_value=st.floats(1e-3, 10))
@settings(max_examples=150, deadline=None)
def test_random_walks_give_the_rates_of_the_rule_in_float64(options, metrics, init_value):
    with jax.enable_x64(True):
        actual = run_greedy(metrics, init_value, **options)
    assert_close(actual, rule(metrics, init_value, **options), HOST_RTOL)


@given(options=greedy_settings, metrics=walks, init_value=st.floats(1e-3, 10))
@settings(max_examples=100, deadline=None)
def test_random_walks_give_the_rates_of_the_rule_in_float32(options, metrics, init_value):
    # 48 bits cannot decide ties: of decimal fractions, of means, and of a rate that returns to min_lr.
    ties = {"smooth": False, "eps": options["eps"] * 1.0123, "min_lr": options["min_lr"] * 1.0123}
    options = options | ties | {"reset_start": 500}
    actual = run_greedy(np.asarray(metrics, np.float32), init_value, **options)
    assert_close(actual, rule(metrics, init_value, **options), DEVICE_RTOL)


def test_the_rate_rises_after_patience_plus_one_good_evaluations():
    rates = run_greedy(np.arange(6.0, 0.0, -1.0), 0.5, factor=0.5, patience=2, max_lr=8.0)
    assert_close(rates, [0.5, 0.5, 1.0, 1.0, 1.0, 2.0], DEVICE_RTOL)


def test_an_evaluation_during_cooldown_leaves_the_best_metric_alone():
    options = {"patience": 0, "cooldown": 1, "factor": 0.5, "min_lr": 0.0, "max_lr": 8.0}
    assert_close(run_greedy([5.0, 5.0, 3.0, 4.0], 1.0, **options), [2.0, 1.0, 1.0, 2.0], DEVICE_RTOL)


def test_a_rate_below_min_lr_is_never_reduced_and_never_raised_by_a_reduction():
    assert_close(run_greedy(np.ones(30), 1e-4, patience=0)[1:], np.full(29, 1e-4 / 0.95), DEVICE_RTOL)


def test_the_rate_returns_to_the_first_after_reset_start_reductions_at_min_lr():
    options = {"patience": 0, "factor": 0.5, "min_lr": 0.25, "max_lr": 1.0, "reset_start": 2}
    rates = run_greedy(np.ones(7), 1.0, **options)
    assert_close(rates, [1.0, 0.5, 0.25, 1.0, 1.0, 0.5, 0.25], DEVICE_RTOL)


def optimizer() -> Any:
    return jaxlr.with_plateau(
        lambda lr: optax.sgd(lr), jaxlr.greedy_lr(0.1, factor=0.5, patience=0, min_lr=0.0, smooth=True)
    )


def test_it_is_used_like_a_plateau():
    params = jnp.ones(3)
    tx = optimizer()
    state = tx.init(params)

    @jax.jit
    def epoch(state: Any, metric: Any) -> Any:
        updates, state = tx.update(params, state, params)
        return updates, jaxlr.plateau_step(state, metric)

    seen = []
    for metric in (2.0, 2.0, 4.0):
        before = state
        updates, state = epoch(state, metric)
        chex.assert_trees_all_equal_shapes_and_dtypes(before, state)
        seen.append(-updates[0])
    assert_close(seen, [0.1, 0.2, 0.1], DEVICE_RTOL)
    assert_close(jaxlr.learning_rate(state), 0.05, DEVICE_RTOL)
    state = jaxlr.set_plateau_lr(state, 0.3)
    assert_close(jaxlr.learning_rate(state), 0.3, DEVICE_RTOL)


def test_flax_serializes_the_state_and_an_nnx_optimizer_holds_it():
    state = optimizer().init({})
    state = jaxlr.plateau_step(state, 1.0)
    restored = flax.serialization.from_bytes(optimizer().init({}), flax.serialization.to_bytes(state))
    chex.assert_trees_all_equal(state, restored)
    model = nnx.Optimizer(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), optimizer(), wrt=nnx.Param)
    jaxlr.plateau_step(model, 1.0)
    assert_close(jaxlr.learning_rate(model), 0.2, DEVICE_RTOL)


def test_hyperparameters_can_be_swept_and_states_batched():
    metrics = np.resize(np.asarray([3.0, 2.0, 2.0, 2.0, 1.0], np.float32), 60)
    factors, patiences = [0.5, 0.25, 0.5], [0, 0, 1]

    def build(factor: Any, patience: Any) -> Any:
        return jaxlr.greedy_lr(0.1, factor=factor, patience=patience, smooth=True, window_size=4).init({})

    states = jax.jit(jax.vmap(build))(jnp.asarray(factors), jnp.asarray(patiences))
    rates = scan_greedy(states, jnp.tile(metrics[:, None], (1, 3)))
    expected = [
        rule(metrics.tolist(), 0.1, factor=factor, patience=patience, smooth=True, window_size=4)
        for factor, patience in zip(factors, patiences, strict=True)
    ]
    assert_close(rates.T, np.asarray(expected), DEVICE_RTOL)


@pytest.mark.parametrize("size", [1, 3, 50])
def test_the_mean_is_that_of_the_last_metrics(size):
    metrics = np.arange(60.0) % 7
    options = {"patience": 0, "smooth": True, "window_size": size, "factor": 0.9, "reset_start": 1}
    with jax.enable_x64(True):
        assert_close(run_greedy(metrics, 0.1, **options), rule(metrics, 0.1, **options), HOST_RTOL)


@pytest.mark.parametrize(
    "text",
    [
        "GreedyLR(optimizer, 'max', 0.5, patience=3, verbose=True)",
        "get_greedy_schedule(optimizer, mode='max', factor=0.5, patience=3)",
        "get_scheduler('greedy', optimizer, scheduler_specific_kwargs="
        "{'mode': 'max', 'factor': 0.5, 'patience': 3})",
    ],
)
def test_a_call_is_read_as_people_write_it(text):
    state = jaxlr.from_string(text, 0.1).init({})
    expected = jaxlr.greedy_lr(0.1, "max", 0.5, 3).init({})
    chex.assert_trees_all_equal(state, expected)


def test_a_config_gives_the_plateau_with_its_keywords():
    kwargs = '{"smooth": true, "patience": 2, "min_lr": 1e-6, "mode": "max"}'
    flags = ["--learning_rate", "1e-4", "--lr_scheduler_type", "greedy", "--lr_scheduler_kwargs", kwargs]
    recipe: Any = jaxlr.from_config(flags, version="5.24")
    assert (recipe.unit, recipe.num_counts) == ("evaluation", None)
    expected = jaxlr.greedy_lr(1e-4, "max", patience=2, min_lr=1e-6, smooth=True).init({})
    chex.assert_trees_all_equal(recipe.schedule.init({}), expected)


BAD_ARGUMENTS = [
    ({"init_value": 0.0}, ValueError, "init_value must be a finite number above 0, got 0.0"),
    ({"factor": 1.0}, ValueError, "factor must be below 1, got 1.0"),
    ({"mode": "Min"}, ValueError, "mode must be one of 'min', 'max', got 'Min'"),
    ({"threshold_mode": "magnitude"}, ValueError, "threshold_mode must be one of 'rel', 'abs'"),
    ({"warmup": -1}, ValueError, "warmup must be a number of epochs from 0"),
    ({"reset_start": 1.5}, ValueError, "reset_start must be a whole number"),
    ({"min_lr": [1e-6, 1e-5]}, TypeError, "min_lr must be a real number"),
    ({"smooth": 1}, TypeError, "smooth must be True or False, got 1"),
    ({"window_size": 0}, ValueError, "window_size must be a whole number of at least 1"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        jaxlr.greedy_lr(**{"init_value": 0.1, **arguments})


def test_a_greedy_plateau_is_no_schedule():
    with pytest.raises(TypeError, match="needs a metric: build the optimizer with"):
        optax.sgd(jaxlr.greedy_lr(0.1)).update(jnp.ones(1), optax.EmptyState())  # pyright: ignore
