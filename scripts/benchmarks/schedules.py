"""The cost of a schedule: in a compiled training step, outside of one, and on the host."""

import functools
import sys
import timeit
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import Row, Wanted, compared
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.model import mlp
from jaxlr.train.step import Split, TrainState, train_step


# The schedules are rows of the tests' table. tests/ is not a package, so its folder is added to the path.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from cases import CASES


SHOWN = [
    "lambda",
    "multiplicative",
    "step",
    "multi step",
    "multi step, ten thousand",
    "constant",
    "linear",
    "exponential",
    "exponential, slow",
    "polynomial",
    "polynomial, high",
    "cosine",
    "warm restarts, 10 times 1",
    "warm restarts, 7 times 2",
    "cyclic",
    "cyclic, triangular2",
    "cyclic, exp_range",
    "one cycle, cos, two phases, 1000000 steps, 0.3",
    "one cycle, cos, three phases, 1000000 steps, 0.3",
    "swa, cos",
    "sequential",
    "chained",
]
CONSTANT = "a constant learning rate"
AGAIN = "the same, again"  # shows how much the times of two equal programs differ
OPTAX = "optax.exponential_decay, staircase"
NUM_STEPS = 200
NUM_CALLS = 100


def measure(dataset: Dataset, rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure each schedule in a compiled step, in operations of that step, eagerly, and on the host."""
    shown = [name for name in SHOWN if wanted(name)]
    schedules: dict[str, Any] = {name: CASES[name].build(0.1) for name in shown}
    rates = {CONSTANT: 0.1, AGAIN: 0.1} | schedules
    steps = {name: functools.partial(_steps, dataset, rate) for name, rate in rates.items()}
    yield from compared("train step under a schedule", steps, CONSTANT, rounds, wanted)
    constant = operations(0.1)
    for name in shown:
        added = operations(schedules[name]) - constant
        yield Row("operations that a schedule adds to a step", name, [added], "")
    called = {OPTAX: optax.exponential_decay(0.1, 30, 0.1, staircase=True)} | schedules
    eager = {name: functools.partial(_device_calls, schedule) for name, schedule in called.items()}
    yield from compared(f"{NUM_CALLS} calls with a device count", eager, OPTAX, rounds, wanted)
    for name in shown:
        per_second = [1 / seconds for seconds in _host_calls(schedules[name], rounds)]
        yield Row("host evaluations of a schedule", name, per_second, "/s")


def operations(learning_rate: Any) -> int:
    """Count the instructions of a compiled SGD step on a million parameters, including fused ones."""
    tx = optax.sgd(learning_rate)
    params = jnp.zeros(10**6)
    state = tx.init(params)
    step = jax.jit(lambda gradients, state: tx.update(gradients, state))
    text = step.lower(params, state).compile().as_text() or ""
    return sum(
        " = " in line and not any(word in line for word in (" parameter(", " constant(", " fusion("))
        for line in text.splitlines()
    )


def _steps(dataset: Dataset, learning_rate: Any) -> Callable[[], Any]:
    """Return a function that runs `NUM_STEPS` training steps of the tutorial's model in one call."""
    init, apply = mlp([int(np.prod(dataset.train_images.shape[1:])), 256, 128, dataset.num_classes])
    tx = optax.sgd(learning_rate)
    params = init(jax.random.key(0))
    state = TrainState(params, tx.init(params), jax.random.key(0))
    batch = Split(jnp.asarray(dataset.train_images[:32]), jnp.asarray(dataset.train_labels[:32]))
    step = functools.partial(train_step, apply, tx)

    @jax.jit
    def run(state: TrainState) -> jax.Array:
        return jax.lax.scan(lambda state, _: step(state, batch), state, None, length=NUM_STEPS)[1]

    return lambda: jax.block_until_ready(run(state))


def _device_calls(schedule: Any) -> Callable[[], Any]:
    """Return a function that calls a schedule `NUM_CALLS` times as an eager training loop does."""
    count = jnp.int32(57)
    return lambda: jax.block_until_ready([schedule(count) for _ in range(NUM_CALLS)])


def _host_calls(schedule: Any, rounds: int, number: int = 2000) -> list[float]:
    return [total / number for total in timeit.repeat(lambda: schedule(57), number=number, repeat=rounds)]
