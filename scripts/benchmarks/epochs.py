"""An epoch of training and validation: in plain torch, in plain JAX, in jaxlr, and lower bounds."""

import functools
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import Build, Row, Wanted, compared, failed
from jaxlr.train.config import TrainConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.splits import split_dataset
from jaxlr.train.model import mlp
from jaxlr.train.program import build_run
from jaxlr.train.step import evaluate


HIDDEN = (256, 128)
BATCH_SIZE = 32
LR = 0.1
CONFIG = TrainConfig.from_flags(hidden=HIDDEN, batch_size=BATCH_SIZE, lr=LR)  # the settings of the tutorial
UNROLLED = {"jaxlr": 1, "the same, 4 steps unrolled": 4, "the same, 16 steps unrolled": 16}


def measure(dataset: Dataset, rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure the epoch of every peer, relative to jaxlr's. On a GPU, count the kernels of a step too."""
    builds: dict[str, Build] = {
        **peers(dataset),
        "of that: its shuffle": lambda: _shuffle(dataset),
        "of that: its validation": lambda: _validation(dataset),
        "floor: the step's matrix products alone": lambda: _matmul_floor(dataset),
    }
    is_gpu = jax.default_backend() == "gpu"
    if is_gpu:
        builds["floor: the launches of the step's kernels alone"] = lambda: _launch_floor(dataset)
    yield from compared("one epoch", builds, "jaxlr", rounds, wanted)
    for name in filter(wanted, UNROLLED if is_gpu else ()):
        part = "kernels of a training step"
        try:
            yield Row(part, name, [_count_kernels(dataset, UNROLLED[name])], "")
        except ValueError as error:
            yield failed(part, name, error)


def peers(dataset: Dataset) -> dict[str, Build]:
    """Map the name of each peer to a function that builds its epoch.

    An epoch is a function that trains once on all samples and returns the validation loss.
    """
    unrolled = {name: functools.partial(jaxlr_epoch, dataset, steps) for name, steps in UNROLLED.items()}
    plain = {"plain Python loop over a jitted JAX step": lambda: _plain_jax(dataset)}
    return {**_torch_peers(dataset), **plain, **unrolled}


def jaxlr_epoch(dataset: Dataset, unroll: int = 1) -> Callable[[], float]:
    """Build jaxlr's epoch, with `unroll` training steps in each round of its loop."""
    state, data, program = _program(dataset, unroll)
    states = [state]

    def epoch() -> float:
        state, metrics = program(states.pop(), *data)
        states.append(state)
        return float(metrics.valid_loss)

    return epoch


def _program(dataset: Dataset, unroll: int) -> tuple[Any, tuple[Any, Any], Any]:
    """Return the initial state of a run, its data, and its compiled epoch."""
    train, valid, _ = split_dataset(dataset)
    run = build_run(CONFIG, train, dataset.num_classes)
    epoch: Any = run.epoch
    # jaxlr does not unroll: that takes longer to compile than most runs would gain.
    with mock.patch.object(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=unroll)):
        return run.state, (train, valid), epoch.lower(run.state, train, valid).compile()


def _shuffle(dataset: Dataset) -> Callable[[], Any]:
    shuffle = jax.jit(lambda key: jax.random.permutation(key, len(dataset.train_labels)))
    key = jax.random.key(0)
    return lambda: jax.block_until_ready(shuffle(key))


def _validation(dataset: Dataset) -> Callable[[], Any]:
    _, valid, _ = split_dataset(dataset)
    init, apply = mlp(_sizes(dataset))
    params = jax.jit(init)(jax.random.key(0))
    validate = jax.jit(functools.partial(evaluate, apply))
    return lambda: jax.block_until_ready(validate(params, valid))


def _plain_jax(dataset: Dataset) -> Callable[[], float]:
    """Feed NumPy batches to a compiled step, like scripts/train_mnist.py."""
    init, apply = mlp(_sizes(dataset))
    params = jax.jit(init)(jax.random.key(0))
    optimizer = optax.sgd(LR)
    rng = np.random.default_rng(0)

    def loss(params: Any, images: jax.Array, labels: jax.Array) -> jax.Array:
        logits = apply(params, images)
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, opt_state: Any, images: jax.Array, labels: jax.Array) -> Any:
        value, gradients = jax.value_and_grad(loss)(params, images, labels)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return optax.apply_updates(params, updates), opt_state, value

    valid_loss = jax.jit(loss)
    states = [(params, optimizer.init(params))]

    def epoch() -> float:
        params, opt_state = states.pop()
        total = jnp.zeros(())
        for batch in _batches(rng.permutation(len(dataset.train_labels))):
            images, labels = dataset.train_images[batch], dataset.train_labels[batch]
            params, opt_state, value = step(params, opt_state, images, labels)
            total += value * len(batch)
        states.append((params, opt_state))
        jax.block_until_ready(total)
        return float(valid_loss(params, dataset.test_images, dataset.test_labels))

    return epoch


def _matmul_floor(dataset: Dataset) -> Callable[[], Any]:
    """Compute only the matrix products of the forward and backward passes of an epoch."""
    sizes = _sizes(dataset)
    shapes = list(itertools.pairwise(sizes))
    key = jax.random.key(0)
    weights = [jax.random.normal(key, shape) / shape[0] ** 0.5 for shape in shapes]
    product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

    @jax.jit
    def epoch(images: jax.Array) -> list[jax.Array]:
        def step(last: list[jax.Array], _: None) -> tuple[list[jax.Array], None]:
            # The last term is zero, but the compiler does not know that. Without it, the compiler could
            # compute products of the same factors once for all steps.
            activations = [images + 0 * last[0][0, 0]]
            for weight in weights:
                activations.append(product(activations[-1], weight))
            error, gradients = activations.pop(), []
            for index in reversed(range(len(weights))):
                gradients.append(product(activations[index].T, error))
                if index:
                    error = product(error, weights[index].T)
            return gradients[::-1], None

        return jax.lax.scan(step, weights, None, length=_num_steps(dataset))[0]

    images = jax.random.normal(key, (BATCH_SIZE, sizes[0]))
    return lambda: jax.block_until_ready(epoch(images))


def _launch_floor(dataset: Dataset) -> Callable[[], Any]:
    """Launch as many empty kernels, one after the other, as jaxlr's compiled steps do in an epoch."""
    num_kernels = round(_count_kernels(dataset, 1))

    @jax.jit
    def epoch(value: jax.Array) -> jax.Array:
        def step(value: jax.Array, _: None) -> tuple[jax.Array, None]:
            for _kernel in range(num_kernels):
                value = jax.lax.optimization_barrier(value + 1)
            return value, None

        return jax.lax.scan(step, value, None, length=_num_steps(dataset))[0]

    return lambda: jax.block_until_ready(epoch(jnp.zeros(())))


def _count_kernels(dataset: Dataset, unroll: int) -> float:
    """Count the kernels that a training step launches, as the mean over the unrolled steps."""
    *_, program = _program(dataset, unroll)
    return kernels_of_step(program.as_text()) / unroll


def kernels_of_step(text: str) -> int:
    """Count the kernels that the longest loop body of a compiled epoch launches."""
    kernel = re.compile(
        r"^ +(?:ROOT )?%\S+ = .*? (?:fusion|custom-call|call|reduce|copy|dot|sort|scatter)\(", re.M
    )
    names = re.findall(r" while\(.*body=%?([\w.-]+)", text)
    bodies = [re.search(rf"^%?{re.escape(name)} .*?^}}", text, re.M | re.S) for name in names]
    counts = [len(kernel.findall(body[0])) for body in bodies if body]
    if not counts:
        raise ValueError("the compiled epoch has no loop")
    return max(counts)


def _torch_peers(dataset: Dataset) -> dict[str, Build]:
    try:
        from benchmarks import torch_epochs
    except ModuleNotFoundError:  # torch is not installed: measure the others
        return {}
    return torch_epochs.peers(dataset, _sizes(dataset), BATCH_SIZE, LR)


def _sizes(dataset: Dataset) -> list[int]:
    return [int(np.prod(dataset.train_images.shape[1:])), *HIDDEN, dataset.num_classes]


def _num_steps(dataset: Dataset) -> int:
    return -(-len(dataset.train_labels) // BATCH_SIZE)


def _batches(order: np.ndarray) -> list[np.ndarray]:
    return np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))
