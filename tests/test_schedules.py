"""Tests of every schedule against torch, and inside the transformations of JAX and Optax."""

import functools
import inspect
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import optax
import pytest
from cases import CASES, RECORDED, Case, cyclic, leaf, one_cycle, torch_side
from helpers import (
    DEVICE_RTOL,
    HOST_RTOL,
    assert_close,
    assert_is_torchs,
    fast_jit,
    relative_error,
    torch_curve,
)
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr
import jaxlr.schedules
from jaxlr._compat import enable_x64
from jaxlr.convert.classes import CLASSES


untyped: Any = jaxlr  # for calls that a type checker would refuse
LARGEST_COUNT = 2**31 - 1


every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


def functions_called_in_cases() -> set[str]:
    """Return the names of the public schedules that the rows of tests/cases.py call themselves."""
    called = set()

    def record(frame: Any, event: str, argument: Any) -> None:
        caller = frame.f_back
        if caller is not None and caller.f_code.co_name == "make":  # that of `prints_as_call`
            caller = caller.f_back
        if event == "call" and caller is not None and Path(caller.f_code.co_filename).name == "cases.py":
            called.add(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(record)
    try:
        for case in CASES.values():
            case.build(0.1)
    finally:
        sys.setprofile(before)
    public = {name: getattr(jaxlr.schedules, name) for name in jaxlr.schedules.__all__}
    # Rows construct a class, such as `Phase`, when the table is made.
    return {
        name
        for name, value in public.items()
        if isinstance(value, type) or inspect.unwrap(value).__code__ in called
    }


def test_every_schedule_has_a_case():
    missing = sorted({*jaxlr.schedules.__all__} - functions_called_in_cases())
    assert not missing, (
        f"no row of tests/cases.py calls {', '.join(missing)}: add one, with a torch scheduler that gives "
        "the same rates (for a schedule that torch does not have, a LambdaLR with its equation)"
    )


@pytest.fixture(scope="session")
def recorded():
    with np.load(RECORDED) as curves:
        return dict(curves)


@pytest.mark.parametrize("name", CASES)
def test_the_curve_matches_torch_on_the_host_and_compiled(recorded, name):
    case, expected = CASES[name], recorded[name]
    schedule = case.build(0.1)
    assert_is_torchs(schedule(np.arange(len(expected))), expected, HOST_RTOL, case.peak)
    assert_close(
        [schedule(epoch) for epoch in range(len(expected))], schedule(np.arange(len(expected))), 1e-15
    )
    assert_is_torchs(jax.jit(schedule)(jnp.arange(len(expected))), expected, DEVICE_RTOL, case.peak)


@pytest.mark.parametrize("name", CASES)
def test_the_recorded_curves_match_torch(torch, recorded, name):
    np.testing.assert_array_equal(torch_side(torch, CASES[name]), recorded[name])


values = st.floats(0, 1).map(lambda x: x if x > 1e-6 else 0.0)
factors = st.floats(1e-6, 1)
lengths = st.integers(1, 60)
gammas = st.one_of(st.sampled_from([0.1, 0.5, 0.9, 1.0, 2.0, 10.0]), st.floats(0.1, 1.5))
anneal_strategies = st.sampled_from(["cos", "linear"])
epochs_of_one_cycle = st.tuples(st.integers(2, 40), st.floats(0, 1)).filter(
    lambda pair: abs(pair[0] * pair[1] - 1) > 1e-3
)

ANY_SETTINGS = {
    "StepLR": (jaxlr.step_lr, {"step_size": lengths, "gamma": gammas}),
    "MultiStepLR": (
        jaxlr.multi_step_lr,
        {"milestones": st.lists(st.integers(0, 70), max_size=30), "gamma": gammas},
    ),
    "ConstantLR": (jaxlr.constant_lr, {"factor": factors, "total_iters": lengths}),
    "LinearLR": (
        jaxlr.linear_lr,
        {"start_factor": factors, "end_factor": values, "total_iters": lengths},
    ),
    "ExponentialLR": (jaxlr.exponential_lr, {"gamma": gammas}),
    "PolynomialLR": (jaxlr.polynomial_lr, {"total_iters": lengths, "power": st.floats(0, 8)}),
    "CosineAnnealingLR": (jaxlr.cosine_annealing_lr, {"T_max": lengths, "eta_min": values}),
    "CosineAnnealingWarmRestarts": (
        jaxlr.cosine_annealing_warm_restarts,
        {"T_0": lengths, "T_mult": st.integers(1, 4), "eta_min": values},
    ),
    "SWALR": (
        jaxlr.swa_lr,
        {"swa_lr": values, "anneal_epochs": st.integers(0, 60), "anneal_strategy": anneal_strategies},
    ),
}


@pytest.mark.parametrize("name", ANY_SETTINGS)
@given(data=st.data(), lr=st.floats(1e-6, 1))
@settings(deadline=None, max_examples=30)
def test_the_curve_matches_torch_for_any_settings(torch, name, data, lr):
    function, strategies = ANY_SETTINGS[name]
    arguments = {key: data.draw(strategy, key) for key, strategy in strategies.items()}
    # torch subtracts and adds eta_min at each of the 30 steps, and a rising cosine magnifies the rounding
    # errors of the steps before. So they have up to 30 times the size of eta_min.
    peak = 30 * arguments.get("eta_min", 0.0)
    assert_any_settings(torch, leaf(function, name, **arguments)._replace(num_epochs=30, peak=peak), lr)


@given(
    lr=st.floats(1e-6, 1),
    peak=st.floats(0, 10),
    up=lengths,
    down=st.one_of(st.none(), st.integers(0, 60)),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    gamma=st.floats(0.5, 1),
)
@settings(deadline=None, max_examples=30)
def test_cyclic_lr_matches_torch_for_any_settings(torch, lr, peak, up, down, mode, gamma):
    case = cyclic(1.0, peak, up, down, mode, gamma)
    # torch subtracts the number of the cycle, up to 30, to find the position in it. So its rounding errors
    # have up to 30 times the size of the rates.
    assert_any_settings(torch, case._replace(num_epochs=30, peak=30 * max(1.0, peak) * lr), lr)


@given(
    lr=st.floats(1e-6, 1),
    steps_and_start=epochs_of_one_cycle,
    strategy=anneal_strategies,
    div_factor=st.floats(1, 100),
    final_div_factor=st.floats(0.5, 1e5),
    three_phase=st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_one_cycle_lr_matches_torch_for_any_settings(
    torch, lr, steps_and_start, strategy, div_factor, final_div_factor, three_phase
):
    total_steps, pct_start = steps_and_start
    case = one_cycle(
        total_steps,
        pct_start=pct_start,
        anneal_strategy=strategy,
        div_factor=div_factor,
        final_div_factor=final_div_factor,
        three_phase=three_phase,
    )
    assert_any_settings(torch, case, lr)


def assert_any_settings(torch, case: Case, lr: float) -> None:
    expected = torch_side(torch, case, lr)
    epochs = np.arange(case.num_epochs)
    assert_is_torchs(case.build(lr)(epochs), expected, HOST_RTOL, case.peak)
    # A factor below the normal numbers of float32 becomes 0 there.
    kept = expected > lr * np.finfo(np.float32).tiny
    device = np.asarray(fast_jit(case.build(lr))(epochs), np.float64)
    assert_is_torchs(np.where(kept, device, expected), expected, DEVICE_RTOL, case.peak)


def exact_cosine(start: float, end: float, part: Any) -> Any:
    """Return the value of a cosine from `start` to `end`, to fifty digits."""
    with mpmath.workdps(50):
        return end + (mpmath.mpf(start) - mpmath.mpf(end)) * (1 + mpmath.cos(mpmath.pi * part)) / 2


NEAR_THE_END = [1, 2, 3, 10, 1000, 10**5]


@pytest.mark.parametrize("T_max", [50, 10**6, 2**31 - 1])
def test_the_last_steps_of_a_cosine_are_more_exact_than_torchs(T_max):  # noqa: N803
    schedule = jaxlr.cosine_annealing_lr(0.1, T_max)
    for left in (left for left in NEAR_THE_END if left < T_max):
        with mpmath.workdps(50):
            exact = float(exact_cosine(0.1, 0.0, mpmath.mpf(T_max - left) / T_max))
        assert_close(schedule(T_max - left), exact, HOST_RTOL)
        assert_close(schedule(jnp.int32(T_max - left)), exact, DEVICE_RTOL)


@pytest.mark.parametrize("growth", [2, 3])
def test_a_restarted_cosine_is_exact_at_both_ends_of_every_cycle(growth):
    schedule = jaxlr.cosine_annealing_warm_restarts(0.1, T_0=5, T_mult=growth)
    start, length = 0, 5
    while start + length <= LARGEST_COUNT:
        for place in (0, 1, length // 2, length - 1):
            with mpmath.workdps(50):
                exact = float(exact_cosine(0.1, 0.0, mpmath.mpf(place) / length))
            assert_close(schedule(start + place), exact, HOST_RTOL)
            assert_close(schedule(jnp.int32(start + place)), exact, DEVICE_RTOL)
        start, length = start + length, length * growth


def test_the_last_steps_of_one_cycle_are_exact():
    """The highest rate is 250,000 times the last one, so a plain blend of the two would lose all digits."""
    total_steps = 10**6
    schedule = jaxlr.one_cycle_lr(0.1, total_steps)
    least = 0.1 / 25 / 1e4
    for left in (0, *NEAR_THE_END):
        with mpmath.workdps(50):
            rise, last = mpmath.mpf(0.3 * total_steps) - 1, total_steps - 1
            exact = float(exact_cosine(0.1, least, (last - left - rise) / (last - rise)))
        assert_close(schedule(total_steps - 1 - left), exact, HOST_RTOL)
        assert_close(schedule(jnp.int32(total_steps - 1 - left)), exact, DEVICE_RTOL)


@pytest.mark.parametrize("growth", [1, 2, 3])
def test_warm_restarts_accept_fractional_epochs_as_in_torch(torch, growth):
    epochs = np.arange(0, 40, 0.25)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, growth, 0.01)
    optimizer.step()
    expected = []
    for epoch in epochs:
        scheduler.step(float(epoch))
        expected.append(optimizer.param_groups[0]["lr"])
    schedule: Any = jaxlr.cosine_annealing_warm_restarts(0.1, 3, growth, 0.01)
    assert_is_torchs(schedule(epochs), np.asarray(expected), HOST_RTOL)
    assert_is_torchs([schedule(float(epoch)) for epoch in epochs], np.asarray(expected), HOST_RTOL)
    assert_is_torchs(jax.jit(schedule)(jnp.asarray(epochs)), np.asarray(expected), DEVICE_RTOL)


@functools.cache
def counts_to_the_end() -> np.ndarray:
    """Return every count of a million steps, then random ones up to the largest int32."""
    far = np.random.default_rng(0).integers(10**6, LARGEST_COUNT, 100_000)
    return np.concatenate([np.arange(10**6), np.sort(far), [LARGEST_COUNT]])


def assert_device_is_host(program, expected, rtol=DEVICE_RTOL) -> None:
    """Compare the rates of a compiled schedule with those of the host at `counts_to_the_end()`."""
    actual = np.asarray(program(jnp.asarray(counts_to_the_end())))
    in_range = expected < np.finfo(np.float32).max / 1e4  # no factor of these rates overflows
    if in_range.all():
        assert_close(actual, expected, rtol)
    else:
        assert_close(actual[in_range], expected[in_range], rtol)


@every_case
def test_float32_and_float64_are_exact_for_a_million_steps_and_up_to_the_last_count(case):
    schedule = case.build(0.1)
    expected = schedule(counts_to_the_end())
    assert_device_is_host(jax.jit(schedule), expected)
    with enable_x64():
        assert_device_is_host(jax.jit(case.build(0.1)), expected, HOST_RTOL)


@pytest.mark.parametrize("gamma", [0.1, 0.9, 0.95, 0.999, 1 - 2**-20, 1 - 2**-24, 1.0, 1.001, 2.0])
def test_a_traced_gamma_is_as_exact_as_a_constant_one(gamma):
    gamma = np.float32(gamma)
    expected = np.asarray(jaxlr.exponential_lr(1.0, gamma)(counts_to_the_end()))
    assert_device_is_host(functools.partial(_traced_exponential, gamma), expected)


@given(gamma=st.floats(2.0**-100, 2.0**100, width=32), count=st.integers(0, LARGEST_COUNT))
@settings(deadline=None)
def test_a_traced_gamma_is_exact_whatever_it_is(gamma, count):
    exact: Any = jaxlr.exponential_lr(1.0, gamma)(count)
    if exact < 1e38:
        assert_close(_traced_exponential(jnp.float32(gamma), count), exact, DEVICE_RTOL)


@jax.jit
def _traced_exponential(gamma, count):
    return jaxlr.exponential_lr(1.0, gamma)(count)


@pytest.mark.parametrize("use_x64", [False, True])
def test_the_gradient_by_a_gamma_of_0_is_that_of_the_power(use_x64):
    with enable_x64(use_x64):
        by_gamma = jax.vmap(
            jax.grad(lambda gamma, count: jaxlr.exponential_lr(0.1, gamma)(count)), (None, 0)
        )
        np.testing.assert_allclose(by_gamma(0.0, jnp.arange(4)), [0.0, 0.1, 0.0, 0.0], rtol=1e-7)


def test_counts_and_periods_of_any_size_have_a_rate():
    schedule: Any = jaxlr.cyclic_lr(0.1, 0.3, 12.5, 0.0, "triangular2")
    assert 0.1 <= schedule(2**70) <= 0.3
    assert jaxlr.one_cycle_momentum(2**61, pct_start=1.0)(5) == 0.95


def test_a_negative_traced_gamma_gives_nan():
    assert np.isnan(_traced_exponential(jnp.float32(-0.5), 2))


def test_the_derivatives_match_the_equation():
    lr = lambda init_value, gamma: jaxlr.exponential_lr(init_value, gamma)(jnp.int32(5))  # noqa: E731
    by_init_value, by_gamma = jax.grad(lr, argnums=(0, 1))(0.1, 0.9)
    assert_close(by_init_value, 0.9**5, DEVICE_RTOL)
    assert_close(by_gamma, 0.1 * 5 * 0.9**4, DEVICE_RTOL)


@every_case
def test_every_transformation_gives_the_rates_of_the_host_and_compiles_once(case):
    """All of them are in one program, because that compiles faster than a program for each."""
    schedule = case.build(0.1)
    joined = optax.join_schedules([jaxlr.linear_lr(0.3, 0.1, total_iters=5), schedule], [5])
    steps = jaxlr.per_epoch(schedule, steps_per_epoch=7)
    chex.clear_trace_counter()

    @fast_jit
    @chex.assert_max_traces(n=1)
    def in_every_way(counts, count, lrs):
        return {
            "array": schedule(counts),
            "grid": schedule(counts.reshape(4, 25)).ravel(),
            "vmap": jax.vmap(schedule)(counts),
            "scan": jax.lax.scan(lambda count, _: (count + 1, schedule(count)), 0, length=100)[1],
            "count": schedule(count),
            "uint8": schedule(count.astype(jnp.uint8)),
            "traced rates": jax.vmap(lambda lr: case.build(lr)(counts[:50]))(lrs),
            "per_epoch": steps(jnp.arange(280)),
            "join_schedules": jax.vmap(joined)(counts),
        }

    counts, lrs = np.arange(100), np.linspace(0.01, 1, 20, dtype=np.float32)
    curve: Any = schedule(counts)
    expected: dict[str, Any] = dict.fromkeys(["array", "grid", "vmap", "scan"], curve) | {
        "traced rates": np.stack([case.build(float(lr))(counts[:50]) for lr in lrs]),
        "per_epoch": np.repeat(curve[:40], 7),
        "join_schedules": np.asarray([joined(int(count)) for count in counts]),
    }
    for count in (7, 3):
        found = in_every_way(counts, count, lrs)
        expected |= {"count": curve[count], "uint8": curve[count]}
        assert found.keys() == expected.keys()
        errors = {way: relative_error(rates, expected[way]) for way, rates in found.items()}
        assert max(errors.values()) <= DEVICE_RTOL, errors


@every_case
def test_no_dtype_is_promoted_implicitly(case):
    with jax.numpy_dtype_promotion("strict"):  # it raises an error while a program is traced
        jax.eval_shape(case.build(0.1), jnp.arange(5))
        jax.eval_shape(lambda lr: case.build(lr)(jnp.arange(5)), 0.1)


TRACED = {
    "gamma": lambda x: jaxlr.step_lr(0.1, 3, gamma=x),
    "gamma of milestones": lambda x: jaxlr.multi_step_lr(0.1, [3, 5], gamma=x),
    "gamma of cycles": lambda x: jaxlr.cyclic_lr(0.1, 0.2, 3, mode="exp_range", gamma=x),
    "factor": lambda x: jaxlr.constant_lr(0.1, factor=x),
    "start_factor": lambda x: jaxlr.linear_lr(0.1, start_factor=x, total_iters=20),
    "end_factor": lambda x: jaxlr.linear_lr(0.1, end_factor=x, total_iters=20),
    "power": lambda x: jaxlr.polynomial_lr(0.1, total_iters=50, power=x),
    "eta_min": lambda x: jaxlr.cosine_annealing_lr(0.1, 20, eta_min=x),
    "eta_min of restarts": lambda x: jaxlr.cosine_annealing_warm_restarts(0.1, 5, 2, eta_min=x),
    "base_lr": lambda x: jaxlr.cyclic_lr(x, 0.5, 5),
    "max_lr": lambda x: jaxlr.cyclic_lr(0.1, x, 5),
    "max_lr of one cycle": lambda x: jaxlr.one_cycle_lr(x, 40),
    "final_div_factor": lambda x: jaxlr.one_cycle_lr(0.1, 40, final_div_factor=x),
    "swa_lr": lambda x: jaxlr.swa_lr(0.1, x),
    "init_value of a chain": lambda x: jaxlr.chained_scheduler(x, [jaxlr.step_lr(1.0, 3)]),
    "init_value of a part": lambda x: jaxlr.sequential_lr([jaxlr.linear_lr(x), jaxlr.step_lr(x, 4)], [5]),
    "base_momentum": lambda x: jaxlr.one_cycle_momentum(40, base_momentum=x),
}


@pytest.mark.parametrize("name", TRACED)
def test_every_value_may_be_traced_with_host_and_device_counts(name):
    values = np.linspace(0.05, 0.95, 100, dtype=np.float32)
    each = np.stack([TRACED[name](float(value))(np.arange(40)) for value in values])
    both = (np.arange(40), jnp.arange(40))
    for swept in fast_jit(jax.vmap(lambda value: [TRACED[name](value)(counts) for counts in both]))(values):
        assert_close(swept, each, DEVICE_RTOL)


@every_case
def test_the_result_is_a_float_on_the_host_and_jaxs_float_on_the_device(case):
    schedule = case.build(0.1)
    assert type(schedule(3)) is float
    assert type(schedule(np.int64(3))) is float
    assert schedule(np.arange(3)).dtype == np.float64
    one, three = schedule(jnp.int32(3)), jax.eval_shape(schedule, jnp.zeros(3, jnp.int8))
    assert_close(one, schedule(3), DEVICE_RTOL)
    chex.assert_type([one, three], jnp.float32)
    assert (one.shape, three.shape) == ((), (3,))
    assert not one.weak_type
    assert not three.weak_type


@pytest.mark.heavy
def test_a_host_count_uses_no_device():
    """JAX_PLATFORMS names a platform that does not exist, so any request for a device raises an error."""
    program = """
import numpy as np
from cases import CASES
for case in CASES.values():
    schedule = case.build(0.1)
    schedule(5), schedule(np.arange(5))
"""
    environment = os.environ | {"JAX_PLATFORMS": "nonesuch", "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


@every_case
def test_a_schedule_is_an_optax_learning_rate(case):
    schedule = case.build(0.1)
    tx = optax.sgd(schedule)
    state = tx.init(jnp.ones(()))
    for epoch in range(12):
        update: Any
        update, state = tx.update(jnp.ones(()), state)
        assert_close(-update, schedule(epoch), DEVICE_RTOL)


@every_case
def test_a_schedule_works_inside_inject_hyperparams_and_multi_steps(case):
    schedule = case.build(0.1)
    injected = optax.inject_hyperparams(optax.sgd)(learning_rate=schedule)
    tx = optax.MultiSteps(injected, every_k_schedule=2)

    def step(state: Any, _: None) -> tuple[Any, Any]:
        updates: Any
        updates, state = tx.update(jnp.ones(()), state, jnp.ones(()))
        return state, (-updates, state.inner_opt_state.hyperparams["learning_rate"])

    @fast_jit
    def train() -> Any:
        return jax.lax.scan(step, tx.init(jnp.ones(())), length=8)[1]

    used, shown = train()
    assert_close(used[::2], np.zeros(4), 0)
    for rates in (used, shown):
        assert_close(rates[1::2], schedule(np.arange(4)), DEVICE_RTOL)


@every_case
def test_per_epoch_holds_each_rate_for_an_epoch_of_steps(case):
    schedule = case.build(0.1)
    steps = jaxlr.per_epoch(schedule, steps_per_epoch=7)
    epochs = np.repeat(np.arange(40), 7)
    assert_close(steps(np.arange(280)), schedule(epochs), 0)


def test_an_int32_count_never_reaches_a_milestone_beyond_int32():
    for schedule in (
        jaxlr.step_lr(0.1, step_size=10**10),
        jaxlr.multi_step_lr(0.1, milestones=[10**10, 2**61]),
        jaxlr.per_epoch(jaxlr.step_lr(0.1, 1), 10**10),
    ):
        assert_close(schedule(jnp.int32(LARGEST_COUNT)), np.float32(0.1), 0)
        assert_close(schedule(10**10), 0.01, HOST_RTOL)


def test_a_whole_float_is_accepted_as_a_number_of_epochs():
    assert_close(untyped.step_lr(0.1, step_size=1e4)(10_000), 0.01, HOST_RTOL)
    assert_close(untyped.multi_step_lr(0.1, milestones=[5.0, 1e10])(5), 0.01, HOST_RTOL)


def test_the_rate_overflows_to_infinity_on_host_and_device():
    schedule: Any = jaxlr.exponential_lr(0.1, gamma=10.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert schedule(400) == schedule(np.asarray([400]))[0] == np.inf
    assert np.isinf(schedule(jnp.int32(400)))


BAD_ARGUMENTS = [
    (lambda: untyped.step_lr(-0.1, 30), ValueError, "init_value must be a finite number of at least 0"),
    (lambda: untyped.step_lr(float("nan"), 30), ValueError, "init_value must be a finite number"),
    (lambda: untyped.step_lr(0.1, 2**61 + 1), ValueError, r"step_size must be at most 2\*\*61"),
    (lambda: untyped.step_lr(10**400, 30), ValueError, "init_value .* got a number too large"),
    (lambda: untyped.step_lr(None, 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr("0.1", 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(True, 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(np.ones(2), 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(jnp.ones(2), 30), ValueError, "init_value must be a scalar.*jax.vmap"),
    (lambda: untyped.step_lr(jnp.asarray(True), 30), TypeError, "init_value must be a real number"),
    (lambda: untyped.step_lr(0.1, 0), ValueError, "step_size must be a whole number of at least 1, got 0"),
    (lambda: untyped.step_lr(0.1, -3), ValueError, "step_size must be a whole number of at least 1"),
    (lambda: untyped.step_lr(0.1, 1e300), ValueError, r"step_size must be at most 2\*\*61"),
    (lambda: untyped.step_lr(0.1, 2.5), ValueError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, "30"), TypeError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, True), ValueError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, jnp.int32(3)), TypeError, "step_size must be .* known at compile time"),
    (lambda: untyped.step_lr(0.1, float("inf")), ValueError, "step_size must be a whole number"),
    (lambda: untyped.step_lr(0.1, 30, -0.1), ValueError, "gamma must be a finite number of at least 0"),
    (lambda: untyped.exponential_lr(0.1, float("nan")), ValueError, "gamma must be a finite number"),
    (lambda: untyped.multi_step_lr(0.1, "10, 30"), TypeError, "milestones must be a list of whole"),
    (lambda: untyped.multi_step_lr(0.1, 30), TypeError, "milestones must be a list of whole"),
    (lambda: untyped.multi_step_lr(0.1, [10, -1]), ValueError, "milestones must be .* at least 0, got -1"),
    (lambda: untyped.multi_step_lr(0.1, [2.5]), ValueError, "each of milestones must be a whole number"),
    (lambda: untyped.multi_step_lr(0.1, ["10"]), TypeError, "each of milestones must be a whole number"),
    (lambda: untyped.lambda_lr(0.1, 0.9), TypeError, r"lr_lambda must be a function of the epoch"),
    (lambda: untyped.multiplicative_lr(0.1, abs, 0), ValueError, "num_steps must be a whole number"),
    (
        lambda: untyped.multiplicative_lr(0.1, lambda epoch: 1e200, 9),
        ValueError,
        "lr_lambda must give finite numbers, got inf at epoch 2",
    ),
    (lambda: untyped.constant_lr(0.1, factor=0.0), ValueError, "factor must be a finite number above 0"),
    (lambda: untyped.constant_lr(0.1, factor=1.5), ValueError, "factor must be at most 1, got 1.5"),
    (
        lambda: untyped.constant_lr(0.1, total_iters=-1),
        ValueError,
        "total_iters must be at least 0, got -1",
    ),
    (lambda: untyped.constant_lr(0.1, total_iters=2.5), ValueError, "total_iters must be a whole number"),
    (lambda: untyped.linear_lr(0.1, start_factor=0), ValueError, "start_factor must be a finite number"),
    (lambda: untyped.linear_lr(0.1, start_factor=2), ValueError, "start_factor must be at most 1"),
    (lambda: untyped.linear_lr(0.1, end_factor=1.1), ValueError, "end_factor must be at most 1"),
    (lambda: untyped.linear_lr(0.1, total_iters=-1), ValueError, "total_iters must be at least 0, got -1"),
    (lambda: untyped.polynomial_lr(0.1, total_iters=2.5), ValueError, "total_iters must be a whole number"),
    (lambda: untyped.polynomial_lr(0.1, power=-1), ValueError, "power must be a finite number of at"),
    (lambda: untyped.cosine_annealing_lr(0.1, 0), ValueError, "T_max must be above 0, got 0"),
    (lambda: untyped.cosine_annealing_lr(0.1, 5, "0"), TypeError, "eta_min must be a real number"),
    (lambda: untyped.cosine_annealing_warm_restarts(0.1, 0), ValueError, "T_0 must be a whole number"),
    (lambda: untyped.cosine_annealing_warm_restarts(0.1, 5, 0), ValueError, "T_mult must be a whole"),
    (
        lambda: untyped.cosine_annealing_warm_restarts(0.1, 5)(float("nan")),
        ValueError,
        "count must be a fin",
    ),
    (lambda: untyped.cosine_annealing_warm_restarts(0.1, 5)("3"), TypeError, "count must be a number"),
    (lambda: untyped.cyclic_lr(0.1, 0.2, 0), ValueError, "step_size_up must be above 0, got 0"),
    (lambda: untyped.cyclic_lr(0.1, 0.2, 5, -1), ValueError, "step_size_down must be at least 0, got -1"),
    (lambda: untyped.cyclic_lr(0.1, 0.2, mode="sine"), ValueError, "mode must be one of 'triangular'"),
    (lambda: untyped.cyclic_lr(0.1, 0.2, scale_mode="x"), ValueError, "scale_mode must be one of 'cycle'"),
    (lambda: untyped.cyclic_lr(0.1, 0.2, scale_fn=3), TypeError, "scale_fn must be a function"),
    (lambda: untyped.one_cycle_lr(0.1), ValueError, "give the number of steps once, as total_steps or"),
    (lambda: untyped.one_cycle_lr(0.1, 9, epochs=3, steps_per_epoch=3), ValueError, "give the number of"),
    (lambda: untyped.one_cycle_lr(0.1, epochs=3), ValueError, "give the number of steps once"),
    (lambda: untyped.one_cycle_lr(0.1, 10, 0.1), ValueError, r"pct_start \* total_steps must not be 1"),
    (lambda: untyped.one_cycle_lr(0.1, 10, 1.5), ValueError, "pct_start must be at most 1, got 1.5"),
    (lambda: untyped.one_cycle_lr(0.1, 10, div_factor=0), ValueError, "div_factor must be a finite"),
    (lambda: untyped.one_cycle_lr(0.1, 10, div_factor=0.5), ValueError, "div_factor must be at least 1"),
    (lambda: untyped.one_cycle_lr(0.1, 10, anneal_strategy="exp"), ValueError, "anneal_strategy must be"),
    (lambda: untyped.swa_lr(0.1, 0.01, -1), ValueError, "anneal_epochs must be at least 0, got -1"),
    (lambda: untyped.sequential_lr([], []), ValueError, "schedules must hold at least one schedule"),
    (lambda: untyped.sequential_lr([abs], [3]), ValueError, "milestones must have one element fewer"),
    (lambda: untyped.sequential_lr([abs, abs, abs], [4, 2]), ValueError, "milestones must be in rising"),
    (lambda: untyped.sequential_lr([abs, 0.1], [4]), TypeError, r"schedules\[1\] must be a function"),
    (lambda: untyped.sequential_lr(abs, []), TypeError, "schedules must be a list of schedules"),
    (lambda: untyped.chained_scheduler(0.1, []), ValueError, "factors must hold at least one schedule"),
    (lambda: untyped.tabulate(3, 5), TypeError, "fn must be a function"),
    (lambda: untyped.tabulate(lambda epoch: float("nan"), 5), ValueError, "fn must give finite numbers"),
    (lambda: untyped.per_epoch(untyped.step_lr(0.1, 3), 0), ValueError, "steps_per_epoch must be a whole"),
    (
        lambda: untyped.per_epoch(0.1, 3),
        TypeError,
        r"schedule must be a function of the epoch \(or step\), got 0.1",
    ),
    (lambda: untyped.step_lr(0.1, 30)(2.5), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)("3"), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)(None), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(0.1, 30)(jnp.float32(2)), TypeError, "count must be an integer"),
    (lambda: untyped.step_lr(np.float32("nan"), 5), ValueError, r"init_value .* got np.float32\(nan\)"),
    (lambda: untyped.multi_step_lr(0.1, {3, 5}), TypeError, "milestones must be a list of whole numbers"),
    (lambda: untyped.multi_step_lr(0.1, np.array(1)), TypeError, "milestones must be a list of whole"),
    (
        lambda: untyped.one_cycle_lr(0.1, 10, jnp.float32(0.3)),
        TypeError,
        "pct_start must be .* compile time",
    ),
    (lambda: untyped.one_cycle_lr(0.1, epochs=2**40, steps_per_epoch=2**40), ValueError, "at most 2.*61"),
    (
        lambda: untyped.cosine_annealing_warm_restarts(0.1, 5, 2)(float("inf")),
        ValueError,
        "count must be a finite number, got inf",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (
            jaxlr.cosine_annealing_lr(1.0, 8, eta_min=0.1),
            r"is not a product: give num_steps",
        ),
        (jaxlr.lambda_lr(1.0, lambda epoch: 1.0), "the chain is not a product"),
        (jaxlr.cosine_annealing_warm_restarts(1.0, 8), "the chain is not a product"),
        (jaxlr.cyclic_lr(0.1, 1.0), "the chain is not a product"),
        (jaxlr.one_cycle_lr(1.0, 100), "the chain is not a product"),
        (jaxlr.swa_lr(1.0, 0.1), "the chain is not a product"),
        (jaxlr.sequential_lr([jaxlr.step_lr(1.0, 3)], []), "the chain is not a product"),
        (jaxlr.step_lr(0.1, 3), r"factors\[1\] must be built with init_value=1.0, got 0.1"),
        (jaxlr.per_epoch(jaxlr.step_lr(0.1, 3), 7), r"factors\[1\] must be built with init_value=1.0"),
    ],
)
def test_a_chain_that_is_not_a_product_is_refused_with_advice(factor, message):
    with pytest.raises(ValueError, match=message):
        jaxlr.chained_scheduler(0.1, [jaxlr.exponential_lr(1.0, 0.5), factor])


def test_a_chain_of_every_kind_of_factor_matches_torch(torch):
    t = torch.optim.lr_scheduler

    def chain(o):
        return [
            t.StepLR(o, 3, 0.5),
            t.MultiStepLR(o, [2, 9]),
            t.ConstantLR(o, 0.4, 4),
            t.LinearLR(o, 0.1),
            t.ExponentialLR(o, 0.9),
            t.PolynomialLR(o, 30, 2.0),
            t.CosineAnnealingLR(o, 25),
            t.MultiplicativeLR(o, lambda epoch: 0.95),
        ]

    # From epoch 26 on the cosine rises again, and torch's chain is no longer a product.
    expected = torch_curve(torch, lambda o: t.ChainedScheduler(chain(o)), 26)
    schedule = jaxlr.chained_scheduler(
        0.1,
        [
            jaxlr.step_lr(1.0, 3, 0.5),
            jaxlr.multi_step_lr(1.0, [2, 9]),
            jaxlr.constant_lr(1.0, 0.4, 4),
            jaxlr.linear_lr(1.0, 0.1),
            jaxlr.exponential_lr(1.0, 0.9),
            jaxlr.polynomial_lr(1.0, 30, 2.0),
            jaxlr.cosine_annealing_lr(1.0, 25),
            jaxlr.multiplicative_lr(1.0, lambda epoch: 0.95, 26),
        ],
    )
    assert_is_torchs(schedule(np.arange(26)), expected, HOST_RTOL)
    assert_is_torchs(jax.jit(schedule)(jnp.arange(26)), expected, DEVICE_RTOL)


def test_the_error_for_an_untraceable_function_names_tabulate():
    schedule = jaxlr.lambda_lr(0.1, lambda epoch: 0.5 if epoch > 3 else 1.0)
    assert schedule(4) == 0.05
    with pytest.raises(TypeError, match=r"JAX cannot trace .* use jaxlr.tabulate\(function, num_steps\)"):
        jax.jit(schedule)(jnp.int32(4))


def test_a_function_may_read_traced_values():
    def rates(gamma, counts):
        return jaxlr.lambda_lr(0.1, lambda epoch: gamma**epoch)(counts)

    for counts in (np.arange(4), jnp.arange(4)):
        assert_close(jax.jit(lambda gamma, e=counts: rates(gamma, e))(0.9), 0.1 * 0.9 ** np.arange(4), 1e-6)
    with pytest.raises(TypeError, match="a table cannot depend on a traced value"):
        jax.jit(lambda gamma: jaxlr.tabulate(lambda epoch: gamma**epoch, 4)(2))(0.9)


CHAINS = {
    "cosine": ("CosineAnnealingLR(o, 8, 0.01), ExponentialLR(o, 0.9)", 30),
    "cosine that ends at the rate": ("ExponentialLR(o, 0.9), CosineAnnealingLR(o, 8, 0.1)", 30),
    "cosine that rises again": ("CosineAnnealingLR(o, 5), StepLR(o, 3)", 30),
    "overwriting": ("LambdaLR(o, shrink), CosineAnnealingWarmRestarts(o, 4), StepLR(o, 5, 0.5)", 30),
    "averaging": ("ExponentialLR(o, 0.9), SWALR(o, 0.05, 6)", 30),
    "one cycle": ("OneCycleLR(o, 0.3, 30), ExponentialLR(o, 0.9)", 30),
    "decay to zero": ("StepLR(o, 3, 0.0), CosineAnnealingLR(o, 7, 0.01)", 8),
    "no length": ("PolynomialLR(o, 0), ConstantLR(o, 0.5, 0), LinearLR(o, 0.5, total_iters=0)", 9),
}


@pytest.mark.parametrize(("text", "num_steps"), CHAINS.values(), ids=CHAINS)
def test_a_chain_of_any_schedules_is_stepped_with_num_steps(torch, text, num_steps):
    t = torch.optim.lr_scheduler
    names = {name: getattr(t, name) for name in t.__all__} | {"SWALR": torch.optim.swa_utils.SWALR}
    expected = torch_curve(
        torch,
        lambda o: t.ChainedScheduler(eval(f"[{text}]", names | {"o": o, "shrink": shrink})),
        num_steps,
    )

    def ours(name: str) -> Any:
        row = CLASSES[name]
        first = () if row.has_own_base else (0.1,)
        return lambda o, *args, **kwargs: row.function(*first, *args, **kwargs)

    scope = {name: ours(name) for name in CLASSES} | {"o": None, "shrink": shrink}
    parts = eval(f"[{text}]", scope)
    schedule = jaxlr.chained_scheduler(0.1, parts, num_steps=num_steps)
    assert_is_torchs(schedule(np.arange(num_steps)), expected, HOST_RTOL)


def shrink(epoch):
    return 1 / (1 + epoch)


def test_a_chain_of_epochs_and_batches_is_stepped_at_their_ends(torch):
    t = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    cosine, warmup = t.CosineAnnealingLR(optimizer, 4, 0.02), t.LinearLR(optimizer, 0.1, total_iters=5)
    expected = []
    for step in range(1, 21):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step % 4 == 0:
            cosine.step()
        warmup.step()
    parts = [
        jaxlr.per_epoch(jaxlr.cosine_annealing_lr(0.1, 4, 0.02), 4),
        jaxlr.linear_lr(0.1, 0.1, total_iters=5),
    ]
    schedule = jaxlr.chained_scheduler(0.1, parts, num_steps=20)
    assert_is_torchs(schedule(np.arange(20)), np.asarray(expected), HOST_RTOL)


def test_a_cosine_in_a_stepped_chain_rises_from_the_rate_of_the_chain():
    with pytest.raises(ValueError, match=r"factors\[0\] must be built with the chain's init_value=0.1"):
        jaxlr.chained_scheduler(0.1, [jaxlr.cosine_annealing_lr(1.0, 5)], num_steps=9)


def test_a_lambda_may_use_traced_values():
    def rate(factor: jax.Array, count: jax.Array) -> Any:
        return jaxlr.lambda_lr(0.1, lambda epoch: factor * 0.999**epoch)(count)

    factors, counts = jnp.asarray([0.5, 2.0]), jnp.asarray([1000, 3000])
    expected = 0.1 * np.asarray([0.5, 2.0]) * 0.999 ** np.asarray([1000, 3000])
    assert_close(jax.jit(rate)(factors, counts), expected, DEVICE_RTOL)
    assert_close(jax.jit(jax.vmap(rate))(factors, counts), expected, DEVICE_RTOL)


def test_one_cycle_multiplies_epochs_by_steps_per_epoch():
    by_epochs = jaxlr.one_cycle_lr(0.1, epochs=5, steps_per_epoch=8)
    assert_close(by_epochs(np.arange(40)), jaxlr.one_cycle_lr(0.1, 40)(np.arange(40)), 0)


@pytest.mark.parametrize("count", [99, 100, 1000, LARGEST_COUNT])
def test_a_finite_schedule_holds_its_last_value(count):
    for schedule in (
        jaxlr.one_cycle_lr(0.1, 100),
        jaxlr.tabulate(lambda epoch: 1 / (1 + epoch), 100),
        jaxlr.multiplicative_lr(0.1, lambda epoch: 0.9, 100),
    ):
        assert schedule(count) == schedule(99)
        assert_close(schedule(jnp.int32(count)), schedule(99), DEVICE_RTOL)


def test_the_lowest_rate_of_a_cycle_is_exact_if_its_peak_overflows():
    schedule = jaxlr.cyclic_lr(0.01, 1.0, 5, 5, mode="exp_range", gamma=2.0)
    feet = np.arange(0, 5000, 10)
    assert_close(schedule(feet), np.full(len(feet), 0.01), HOST_RTOL)
    assert_close(jax.jit(schedule)(jnp.asarray(feet)), np.full(len(feet), 0.01), DEVICE_RTOL)


def test_a_rate_of_zero_stays_zero_if_its_factor_overflows():
    for schedule in (jaxlr.exponential_lr(0.0, 2.0), jaxlr.step_lr(0.0, 1, 2.0)):
        assert schedule(5000) == schedule(jnp.int32(5000)) == 0


@pytest.mark.parametrize("name", TRACED)
def test_the_derivatives_are_finite_and_match_finite_differences(name):
    counts = jnp.arange(60)
    derivatives = jax.jacobian(lambda value: TRACED[name](value)(counts))(0.5)
    assert np.isfinite(derivatives).all()
    nearby = [np.asarray(TRACED[name](0.5 + step)(np.arange(60))) for step in (-1e-6, 1e-6)]
    slopes = (nearby[1] - nearby[0]) / 2e-6
    np.testing.assert_allclose(derivatives, slopes, rtol=1e-3, atol=1e-5 * np.abs(slopes).max())


def test_an_overflow_outside_of_its_span_does_not_harm_a_derivative():
    def rate(lr):
        return jaxlr.sequential_lr([jaxlr.exponential_lr(lr, 1.1), jaxlr.constant_lr(lr)], [50])

    assert jax.grad(lambda lr: rate(lr)(jnp.int32(2000)))(1e-3) == 1


def test_each_schedule_of_a_sequence_gets_counts_in_its_own_span_only():
    def within(length):
        def part(count):
            assert (np.asarray(count) < length).all(), count
            return 0.1

        return part

    schedule = jaxlr.sequential_lr([within(5), within(3), within(100)], [5, 8])
    assert_close(schedule(np.arange(100)), np.full(100, 0.1), 0)
    assert_close(schedule(jnp.arange(100)), np.full(100, np.float32(0.1)), 0)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_the_rates_have_the_shape_of_the_counts(shape):
    constant = optax.constant_schedule(0.1)
    for schedule in (
        jaxlr.per_epoch(constant, 5),
        jaxlr.sequential_lr([constant], []),
        jaxlr.chained_scheduler(0.1, [lambda count: 0.5]),
        jaxlr.lambda_lr(0.1, lambda count: 1.0),
        jaxlr.step_lr(0.1, 3),
        jaxlr.constant_lr(0.1),
        jaxlr.cosine_annealing_warm_restarts(0.1, 5),
    ):
        assert np.shape(schedule(np.zeros(shape, dtype=int))) == shape
        on_device: Any = schedule(jnp.zeros(shape, dtype=int))
        assert on_device.shape == shape
        assert on_device.dtype == jnp.float32
        assert not on_device.weak_type


def test_a_traced_power_is_exact_with_host_counts():
    counts = np.arange(0, 10**6, 997)
    traced = jax.jit(lambda power: jaxlr.polynomial_lr(0.1, 10**6, power)(counts))(jnp.float32(10.0))
    assert_close(traced, jaxlr.polynomial_lr(0.1, 10**6, 10.0)(counts), DEVICE_RTOL)


@pytest.mark.parametrize(
    "schedule",
    [
        jaxlr.one_cycle_lr(0.1, 10, 1 - 1e-12),
        jaxlr.one_cycle_lr(0.1, 10, 1 - 1e-7, anneal_strategy="linear"),
        jaxlr.one_cycle_lr(0.1, 2**35, 0.0, three_phase=True, anneal_strategy="linear"),
        jaxlr.one_cycle_lr(0.1, 100_000, float(np.float16(0.3))),
    ],
)
def test_the_phases_of_one_cycle_may_end_between_steps(schedule):
    assert_device_is_host(jax.jit(schedule), schedule(counts_to_the_end()))


def test_pct_start_does_not_depend_on_its_type():
    for number in (np.float16(0.3), np.float32(0.3)):
        by_type = untyped.one_cycle_lr(0.1, 100_003, number, three_phase=True)
        by_value = jaxlr.one_cycle_lr(0.1, 100_003, float(number), three_phase=True)
        assert_close(by_type(np.arange(100_003)), by_value(np.arange(100_003)), 0)


def test_the_longest_lengths_work_with_arrays_of_counts():
    for schedule in (
        jaxlr.cosine_annealing_lr(0.1, 2**61),
        jaxlr.cyclic_lr(0.1, 1.0, 2**61),
        jaxlr.cosine_annealing_warm_restarts(0.1, 2**61, 3),
        jaxlr.linear_lr(0.1, total_iters=2**61),
    ):
        host = schedule(np.arange(3))
        assert_close(schedule(jnp.arange(3)), host, DEVICE_RTOL)


def test_the_last_counts_of_a_device_are_not_off_by_one():
    last = jnp.asarray([LARGEST_COUNT - 1, LARGEST_COUNT], jnp.int32)
    constant: Any = jaxlr.constant_lr(0.1, 0.5, LARGEST_COUNT)
    steps: Any = jaxlr.multi_step_lr(0.1, [3, LARGEST_COUNT], 0.5)
    for schedule, rates in ((constant, [0.05, 0.1]), (steps, [0.05, 0.025])):
        assert_close(jax.jit(schedule)(last), rates, DEVICE_RTOL)
        assert_close([schedule(count) for count in last], rates, DEVICE_RTOL)


def test_an_unsigned_count_beyond_int32_is_clipped_to_the_largest_int32():
    late = jnp.asarray([2**31, 2**32 - 1], dtype=jnp.uint32)
    assert_close(jaxlr.constant_lr(0.1, 0.5, 5)(late), [0.1, 0.1], DEVICE_RTOL)
    assert_close(jaxlr.step_lr(0.1, 2**30, 0.5)(late), [0.05, 0.05], DEVICE_RTOL)


def test_a_tabulated_function_is_a_factor_of_a_chain():
    hyperbola = jaxlr.tabulate(lambda epoch: 1 / (1 + epoch), 10)
    schedule = jaxlr.chained_scheduler(0.1, [hyperbola, jaxlr.exponential_lr(1.0, 0.5)])
    assert_close(schedule(np.arange(10)), 0.1 / (1 + np.arange(10)) * 0.5 ** np.arange(10), HOST_RTOL)


def test_restarts_continue_up_to_the_largest_host_count():
    schedule: Any = jaxlr.cosine_annealing_warm_restarts(0.1, 1, 2)
    restarts = 2 ** np.arange(30, 62) - 1
    assert_close(schedule(restarts), np.full(32, 0.1), HOST_RTOL)
    assert_close([schedule(int(count)) for count in restarts], np.full(32, 0.1), HOST_RTOL)


def test_one_cycle_may_start_at_its_peak(torch):
    expected = torch_curve(
        torch, lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.1, 40, div_factor=1.0), 40
    )
    assert_is_torchs(jaxlr.one_cycle_lr(0.1, 40, div_factor=1.0)(np.arange(40)), expected, HOST_RTOL)


@every_case
def test_optax_joins_schedules_on_the_host(case):
    schedule = case.build(0.1)
    joined = optax.join_schedules([jaxlr.linear_lr(0.3, 0.1, total_iters=5), schedule], [5])
    rates: Any = [joined(count) for count in (5, 9)]
    assert_close(rates, schedule(np.asarray([0, 4])), DEVICE_RTOL)


def test_a_negative_count_has_the_rate_of_count_0():
    schedule: Any = jaxlr.exponential_lr(0.1, 0.5)
    assert (schedule(-1), schedule(np.asarray(-1))) == (0.1, 0.1)
    assert_close(schedule(np.asarray([3, -2])), [0.0125, 0.1], 0)
    warm_restarts: Any = jaxlr.cosine_annealing_warm_restarts(0.1, 5)
    assert warm_restarts(-0.5) == 0.1
    for schedule, count in ((jaxlr.cosine_annealing_lr(0.1, 9), -3), (warm_restarts, -0.5)):
        for on_device in (schedule(jnp.asarray(count)), jax.jit(schedule)(count)):
            assert_close(on_device, 0.1, DEVICE_RTOL)


def test_a_joined_schedule_has_finite_derivatives_before_its_turn():
    # optax.join_schedules calls a schedule at negative counts, and drops the rates.
    def rate(lr: Any) -> Any:
        noam = jaxlr.lambda_lr(lr, lambda epoch: (epoch + 1) ** -0.5)
        return optax.join_schedules([jaxlr.linear_lr(lr, 0.1, total_iters=5), noam], [5])(jnp.int32(0))

    assert_close(jax.jit(jax.value_and_grad(rate))(0.3), [0.03, 0.1], DEVICE_RTOL)


def test_a_count_beyond_int64_is_refused():
    schedule = jaxlr.linear_lr(0.1, 0.3, 1.0, 200)
    assert schedule(np.uint64(2**63 - 1)) == schedule(2**63 - 1) == 0.1
    for count in (np.uint64(2**63), np.array([0, 2**64 - 1], np.uint64)):
        with pytest.raises(ValueError, match=r"count must be at most 2\*\*63 - 1, got"):
            schedule(count)
