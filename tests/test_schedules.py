"""Every schedule beside live torch, and under every transformation that JAX and Optax apply to it."""

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, torch_curve
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr


untyped: Any = jaxlr  # to call with what a type checker would refuse
LARGEST_COUNT = 2**31 - 1


class Case(NamedTuple):
    """One scheduler under settings of its own: what we build, and the torch class it must equal."""

    build: Callable[..., optax.Schedule]
    torch_class: str
    arguments: dict[str, Any]


CASES = {
    "step": Case(jaxlr.step_lr, "StepLR", {"step_size": 30}),
    "step, size 1": Case(jaxlr.step_lr, "StepLR", {"step_size": 1, "gamma": 0.97}),
    "step, rising": Case(jaxlr.step_lr, "StepLR", {"step_size": 7, "gamma": 1.5}),
    "step, off": Case(jaxlr.step_lr, "StepLR", {"step_size": 3, "gamma": 1.0}),
    "step, long": Case(jaxlr.step_lr, "StepLR", {"step_size": 1000, "gamma": 0.99}),
    "multi step": Case(jaxlr.multi_step_lr, "MultiStepLR", {"milestones": [10, 30]}),
    "multi step, repeated, zero, unsorted": Case(
        jaxlr.multi_step_lr, "MultiStepLR", {"milestones": [5, 0, 2, 2], "gamma": 0.5}
    ),
    "multi step, ten thousand": Case(
        jaxlr.multi_step_lr, "MultiStepLR", {"milestones": list(range(0, 60_000, 6)), "gamma": 0.999}
    ),
    "multi step, none": Case(jaxlr.multi_step_lr, "MultiStepLR", {"milestones": []}),
    "exponential": Case(jaxlr.exponential_lr, "ExponentialLR", {"gamma": 0.95}),
    "exponential, slow": Case(jaxlr.exponential_lr, "ExponentialLR", {"gamma": 0.99999}),
    "exponential, slowest": Case(jaxlr.exponential_lr, "ExponentialLR", {"gamma": 1 - 1e-8}),
    "exponential, range test": Case(jaxlr.exponential_lr, "ExponentialLR", {"gamma": 1.01}),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def schedule_of(case: Case, init_value: Any = 0.1) -> Any:
    return case.build(init_value, **case.arguments)


def torch_values(torch, case: Case, num_epochs: int, lr: float = 0.1) -> np.ndarray:
    scheduler = getattr(torch.optim.lr_scheduler, case.torch_class)
    return torch_curve(torch, lambda optimizer: scheduler(optimizer, **case.arguments), num_epochs, lr)


@every_case
def test_the_host_curve_is_torchs(torch, case):
    schedule = schedule_of(case)
    expected = torch_values(torch, case, 300)
    assert_close(schedule(np.arange(300)), expected, HOST_RTOL)
    assert_close([schedule(epoch) for epoch in range(300)], expected, HOST_RTOL)


@every_case
def test_the_compiled_curve_is_torchs(torch, case):
    compiled = jax.jit(schedule_of(case))(jnp.arange(300))
    assert_close(compiled, torch_values(torch, case, 300), DEVICE_RTOL)


gammas = st.one_of(st.sampled_from([0.1, 0.5, 0.9, 1.0, 2.0, 10.0]), st.floats(0.1, 1.5))
rates = st.floats(1e-6, 1)


@given(lr=rates, step_size=st.integers(1, 40), gamma=gammas)
@settings(deadline=None)
def test_step_lr_is_torchs_for_any_settings(torch, lr, step_size, gamma):
    case = Case(jaxlr.step_lr, "StepLR", {"step_size": step_size, "gamma": gamma})
    expected = torch_values(torch, case, 30, lr)
    assert_close(schedule_of(case, lr)(np.arange(30)), expected, HOST_RTOL)
    assert_close(schedule_of(case, lr)(jnp.arange(30)), expected, DEVICE_RTOL)


@given(lr=rates, milestones=st.lists(st.integers(0, 70), max_size=90), gamma=gammas)
@settings(deadline=None, max_examples=50)
def test_multi_step_lr_is_torchs_for_any_settings(torch, lr, milestones, gamma):
    case = Case(jaxlr.multi_step_lr, "MultiStepLR", {"milestones": milestones, "gamma": gamma})
    expected = torch_values(torch, case, 60, lr)
    in_range = expected / lr < np.finfo(np.float32).max
    host, device = (np.asarray(schedule_of(case, lr)(epochs)) for epochs in (np.arange(60), jnp.arange(60)))
    assert_close(host, expected, HOST_RTOL)
    assert_close(device[in_range], expected[in_range], DEVICE_RTOL)


@given(lr=rates, gamma=gammas)
@settings(deadline=None)
def test_exponential_lr_is_torchs_for_any_settings(torch, lr, gamma):
    case = Case(jaxlr.exponential_lr, "ExponentialLR", {"gamma": gamma})
    expected = torch_values(torch, case, 30, lr)
    assert_close(schedule_of(case, lr)(np.arange(30)), expected, HOST_RTOL)
    assert_close(schedule_of(case, lr)(jnp.arange(30)), expected, DEVICE_RTOL)


def counts_to_the_end() -> np.ndarray:
    """Every count of a million steps, then random ones up to the largest int32."""
    far = np.random.default_rng(0).integers(10**6, LARGEST_COUNT, 100_000)
    return np.concatenate([np.arange(10**6), np.sort(far), [LARGEST_COUNT]])


def assert_device_is_host(schedule, host_schedule=None, rtol=DEVICE_RTOL) -> None:
    counts = counts_to_the_end()
    expected = np.asarray((host_schedule or schedule)(counts))
    in_range = expected < np.finfo(np.float32).max / 100
    actual = np.asarray(jax.jit(schedule)(jnp.asarray(counts)))
    assert_close(actual[in_range], expected[in_range], rtol)


@every_case
def test_float32_is_exact_at_every_step_of_a_million_and_to_the_last_count(case):
    assert_device_is_host(schedule_of(case))


@every_case
def test_float64_on_the_device_is_the_hosts(case, x64):
    assert_device_is_host(schedule_of(case), rtol=HOST_RTOL)


@pytest.mark.parametrize("gamma", [0.1, 0.9, 0.95, 0.999, 1 - 2**-20, 1 - 2**-24, 1.0, 1.001, 2.0])
def test_a_traced_gamma_is_as_exact_as_a_constant_one(gamma):
    gamma = np.float32(gamma)
    traced = jax.jit(lambda gamma, count: jaxlr.exponential_lr(0.1, gamma)(count))
    assert_device_is_host(lambda count: traced(gamma, count), jaxlr.exponential_lr(0.1, gamma))


@given(gamma=st.floats(2.0**-100, 2.0**100, width=32), count=st.integers(0, LARGEST_COUNT))
@settings(deadline=None)
def test_a_traced_gamma_is_exact_whatever_it_is(gamma, count):
    exact: Any = jaxlr.exponential_lr(1.0, gamma)(count)
    if exact < 1e38:
        assert_close(_traced_exponential(jnp.float32(gamma), count), exact, DEVICE_RTOL)


@jax.jit
def _traced_exponential(gamma, count):
    return jaxlr.exponential_lr(1.0, gamma)(count)


def test_a_traced_gamma_that_is_no_factor_gives_nan_rather_than_a_number():
    assert np.isnan(_traced_exponential(jnp.float32(-0.5), 2))


def test_the_learning_rate_has_the_derivatives_of_its_equation():
    lr = lambda init_value, gamma: jaxlr.exponential_lr(init_value, gamma)(jnp.int32(5))  # noqa: E731
    by_init_value, by_gamma = jax.grad(lr, argnums=(0, 1))(0.1, 0.9)
    assert_close(by_init_value, 0.9**5, DEVICE_RTOL)
    assert_close(by_gamma, 0.1 * 5 * 0.9**4, DEVICE_RTOL)


@every_case
def test_one_call_and_many_jit_vmap_and_scan_agree(case):
    schedule = schedule_of(case)
    counts = jnp.arange(100)
    with jax.numpy_dtype_promotion("strict"):
        curve = jax.jit(schedule)(counts)
        _, scanned = jax.lax.scan(lambda count, _: (count + 1, schedule(count)), 0, length=100)
    chex.assert_trees_all_equal(curve, jax.vmap(schedule)(counts), scanned)
    chex.assert_trees_all_equal(curve.reshape(4, 25), schedule(counts.reshape(4, 25)))
    chex.assert_trees_all_equal(curve[7], schedule(jnp.int32(7)), schedule(jnp.uint8(7)))


@every_case
def test_values_may_be_traced_and_swept_in_one_call(case):
    lrs = jnp.linspace(0.01, 1, 100)
    swept = jax.jit(jax.vmap(lambda lr: schedule_of(case, lr)(jnp.arange(50))))(lrs)
    each = np.stack([schedule_of(case, float(lr))(np.arange(50)) for lr in lrs])
    assert_close(swept, each, DEVICE_RTOL)


@every_case
def test_the_second_call_compiles_nothing(case):
    chex.clear_trace_counter()
    compiled = jax.jit(chex.assert_max_traces(schedule_of(case), n=1))
    for count in range(3):
        compiled(count)


@every_case
def test_the_result_is_a_float_on_the_host_and_jaxs_float_on_the_device(case):
    schedule = schedule_of(case)
    assert type(schedule(3)) is float
    assert type(schedule(np.int64(3))) is float
    assert schedule(np.arange(3)).dtype == np.float64
    result = schedule(jnp.arange(3))
    chex.assert_shape(result, (3,))
    chex.assert_type(result, jnp.float32)
    assert not result.weak_type
    assert schedule(jnp.int8(3)).shape == ()


@every_case
def test_the_host_touches_no_device(case, monkeypatch):
    schedule = schedule_of(case)
    for function in ("asarray", "where", "searchsorted"):
        monkeypatch.setattr(jnp, function, lambda *_, **__: pytest.fail("JAX was called"))
    schedule(5)
    schedule(np.arange(5))


@every_case
def test_it_is_an_optax_learning_rate(case):
    schedule = schedule_of(case)
    tx = optax.sgd(schedule)
    state = tx.init(jnp.ones(()))
    for epoch in range(12):
        update: Any
        update, state = tx.update(jnp.ones(()), state)
        assert_close(-update, schedule(epoch), DEVICE_RTOL)


@every_case
def test_it_works_inside_inject_hyperparams_and_multi_steps(case):
    schedule = schedule_of(case)
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule)
    tx = optax.MultiSteps(injected, every_k_schedule=2)
    params = jnp.ones(())
    state: Any = tx.init(params)
    update = jax.jit(tx.update)
    for step in range(8):
        updates, state = update(jnp.ones(()), state, params)
        if step % 2:
            assert_close(-updates, schedule(step // 2), DEVICE_RTOL)
            rate = state.inner_opt_state.hyperparams["learning_rate"]
            assert_close(rate, schedule(step // 2), DEVICE_RTOL)


@every_case
def test_per_epoch_holds_each_rate_for_an_epoch_of_steps(case):
    schedule = schedule_of(case)
    steps = jaxlr.per_epoch(schedule, steps_per_epoch=7)
    epochs = np.repeat(np.arange(40), 7)
    assert_close(steps(np.arange(280)), schedule(epochs), 0)
    assert_close(jax.jit(steps)(jnp.arange(280)), schedule(epochs), DEVICE_RTOL)


def test_counts_and_milestones_beyond_int32_are_never_reached_by_an_int32():
    for schedule in (
        jaxlr.step_lr(0.1, step_size=10**10),
        jaxlr.multi_step_lr(0.1, milestones=[10**10, 10**300]),
        jaxlr.per_epoch(jaxlr.step_lr(0.1, 1), 10**10),
    ):
        assert_close(schedule(jnp.int32(LARGEST_COUNT)), np.float32(0.1), 0)
        assert_close(schedule(10**10), 0.01, HOST_RTOL)


def test_a_whole_float_is_a_count_as_recipes_write_them():
    assert_close(untyped.step_lr(0.1, step_size=1e4)(10_000), 0.01, HOST_RTOL)
    assert_close(untyped.multi_step_lr(0.1, milestones=[5.0, 1e300])(5), 0.01, HOST_RTOL)


def test_the_rate_overflows_to_infinity_on_both_sides():
    schedule: Any = jaxlr.exponential_lr(0.1, gamma=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedule(400) == schedule(np.asarray([400]))[0] == np.inf
    assert np.isinf(schedule(jnp.int32(400)))


BAD_ARGUMENTS = [
    (lambda: untyped.step_lr(-0.1, 30), ValueError, "init_value must be a finite number of at least 0"),
    (lambda: untyped.step_lr(float("nan"), 30), ValueError, "init_value must be a finite number"),
    (lambda: untyped.step_lr(None, 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr("0.1", 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(True, 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(np.ones(2), 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(jnp.ones(2), 30), ValueError, "init_value must be a scalar.*jax.vmap"),
    (lambda: untyped.step_lr(jnp.asarray(True), 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(0.1, 0), ValueError, "step_size must be a whole number of at least 1, got 0"),
    (lambda: untyped.step_lr(0.1, -3), ValueError, "step_size must be a whole number of at least 1"),
    (lambda: untyped.step_lr(0.1, 2.5), ValueError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, "30"), TypeError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, True), ValueError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, jnp.int32(3)), TypeError, "step_size must be .* known at compile time"),
    (lambda: untyped.step_lr(0.1, float("inf")), ValueError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, 30, 0.0), ValueError, "gamma must be a finite number above 0, got 0.0"),
    (lambda: untyped.step_lr(0.1, 30, -0.1), ValueError, "gamma must be a finite number above 0"),
    (lambda: untyped.exponential_lr(0.1, float("nan")), ValueError, "gamma must be a finite number"),
    (lambda: untyped.multi_step_lr(0.1, "10, 30"), TypeError, "milestones must be a list of whole"),
    (lambda: untyped.multi_step_lr(0.1, 30), TypeError, "milestones must be a list of whole"),
    (lambda: untyped.multi_step_lr(0.1, [10, -1]), ValueError, "milestones must be .* at least 0, got -1"),
    (lambda: untyped.multi_step_lr(0.1, [2.5]), ValueError, "each of milestones must be a whole number"),
    (lambda: untyped.multi_step_lr(0.1, ["10"]), TypeError, "each of milestones must be a whole number"),
    (lambda: untyped.per_epoch(untyped.step_lr(0.1, 3), 0), ValueError, "steps_per_epoch must be a whole"),
    (lambda: untyped.per_epoch(0.1, 3), TypeError, "schedule must be a function of the epoch, got 0.1"),
    (lambda: untyped.step_lr(0.1, 30)(2.5), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)("3"), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)(None), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)(jnp.float32(2)), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)(-1), ValueError, "count must be 0 .* or more, got -1"),
    (lambda: untyped.step_lr(0.1, 30)(np.asarray([3, -2])), ValueError, "count must be 0 .* got -2"),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused_when_they_arrive(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
