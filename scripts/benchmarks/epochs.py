"""An epoch of training and validation: in plain torch, in plain JAX, in jaxlr, and lower bounds."""

import functools
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.timing import Build, Row, Wanted, compared, failed
from benchmarks.variants import BATCH_SIZE, GPU_VARIANTS, HIDDEN, LR, VARIANTS, Epoch
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.splits import split_dataset
from jaxlr.train.model import mlp
from jaxlr.train.step import evaluate


def measure(dataset: Dataset, rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure the epoch of every peer, relative to jaxlr's. On a GPU, count the kernels of a step too."""
    is_gpu = jax.default_backend() == "gpu"
    variants = {**VARIANTS, **(GPU_VARIANTS if is_gpu else {})}

    @functools.cache
    def compiled(name: str) -> Epoch:
        return Epoch(dataset, variants[name])

    builds: dict[str, Build] = {
        **peers(dataset),
        "of that: its shuffle": lambda: _shuffle(dataset),
        "of that: its validation": lambda: _validation(dataset),
        "floor: the step's matrix products alone": lambda: _matmul_floor(dataset),
    }
    if is_gpu:
        builds["floor: the launches of the step's kernels alone"] = lambda: _launch_floor(
            dataset, round(compiled("jaxlr").count_kernels())
        )
    builds |= {name: functools.partial(compiled, name) for name in variants}
    yield from compared("one epoch", builds, "jaxlr", rounds, wanted)
    for name in filter(wanted, variants if is_gpu else ()):
        part = "kernels of a training step"
        try:
            yield Row(part, name, [compiled(name).count_kernels()], "")
        except Exception as error:  # such as an option that this version of XLA lacks
            yield failed(part, name, error)


def peers(dataset: Dataset) -> dict[str, Build]:
    """Map the name of each peer to a function that builds its epoch.

    An epoch is a function that trains once on all samples and returns the validation loss.
    """
    plain = {"plain Python loop over a jitted JAX step": lambda: _plain_jax(dataset)}
    own = {name: functools.partial(Epoch, dataset, variant) for name, variant in VARIANTS.items()}
    return {**_torch_peers(dataset), **plain, **own}


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


def _launch_floor(dataset: Dataset, num_kernels: int) -> Callable[[], Any]:
    """Launch as many empty kernels, one after the other, as jaxlr's compiled steps do in an epoch."""

    @jax.jit
    def epoch(value: jax.Array) -> jax.Array:
        def step(value: jax.Array, _: None) -> tuple[jax.Array, None]:
            for _kernel in range(num_kernels):
                value = jax.lax.optimization_barrier(value + 1)
            return value, None

        return jax.lax.scan(step, value, None, length=_num_steps(dataset))[0]

    return lambda: jax.block_until_ready(epoch(jnp.zeros(())))


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
