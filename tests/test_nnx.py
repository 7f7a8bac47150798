"""Tests of schedules and plateaus with the objects of Flax NNX."""

from typing import Any

import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from helpers import DEVICE_RTOL, assert_close

import jaxlr


def optimizer() -> Any:
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    return nnx.Optimizer(model, jaxlr.with_plateau(optax.sgd, 0.1, patience=0), wrt=nnx.Param)


def step(optimizer: Any, metric: Any) -> None:
    jaxlr.plateau_step(optimizer, metric)


def assign(optimizer: Any, metric: Any) -> None:
    optimizer.opt_state = jaxlr.plateau_step(optimizer.opt_state, metric)


WAYS = {
    "eager": lambda function, optimizer: lambda metric: function(optimizer, metric),
    "nnx.jit": lambda function, optimizer: lambda metric: nnx.jit(function)(optimizer, metric),
    "nnx.jit of a tree": lambda function, optimizer: (
        lambda metric: nnx.jit(function, graph=False)(optimizer, metric)
    ),
    "nnx.cached_partial": lambda function, optimizer: nnx.cached_partial(nnx.jit(function), optimizer),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("function", [step, assign])
def test_a_plateau_is_stepped_in_place(function, way):
    holder = optimizer()
    call = WAYS[way](function, holder)
    for expected in (0.1, 0.01, 0.001):
        call(jnp.float32(1.0))
        assert_close(jaxlr.plateau_lr(holder), expected, DEVICE_RTOL)
        assert_close(jaxlr.learning_rate(holder), expected, DEVICE_RTOL)


def test_the_result_is_the_optimizer_itself():
    holder = optimizer()
    assert jaxlr.plateau_step(holder, 1.0) is holder
    assert jaxlr.set_plateau_lr(holder, 0.02) is holder
    assert_close(jaxlr.learning_rate(holder), 0.02, DEVICE_RTOL)


@pytest.mark.parametrize("split", [nnx.state, lambda holder: nnx.split(holder)[1]])
def test_a_state_without_types_is_refused(split):
    for function in (jaxlr.plateau_lr, jaxlr.learning_rate, lambda state: jaxlr.plateau_step(state, 1.0)):
        with pytest.raises(ValueError, match=r"pass the nnx.Optimizer itself"):
            function(split(optimizer()))


def test_a_variable_is_a_count_and_a_metric():
    holder, schedule = optimizer(), jaxlr.step_lr(0.1, 30)
    assert_close(schedule(holder.step), 0.1, DEVICE_RTOL)
    assert_close(nnx.jit(lambda holder: schedule(holder.step))(holder), 0.1, DEVICE_RTOL)
    metric: Any = nnx.Variable(jnp.float32(1.0))
    for _ in range(2):
        nnx.jit(jaxlr.plateau_step)(holder, metric)
    assert_close(jaxlr.plateau_lr(holder), 0.01, DEVICE_RTOL)
