"""A training step, an epoch and an evaluation: pure functions, to compile as one program."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from jaxlr.plateau import plateau_step


Apply = Callable[[Any, jax.Array], jax.Array]
Mean: TypeAlias = Float[Array, ""]
Losses: TypeAlias = Float[Array, " samples"]

# The number of samples that are evaluated at once: enough to keep a device busy, and few enough to fit into
# its memory together with a model.
_EVALUATION_BATCH = 2048


class Split(NamedTuple):
    """The samples of one split, on the device."""

    images: jax.Array  # uint8, shape (samples, ...)
    labels: jax.Array  # int32, shape (samples,)


class TrainState(NamedTuple):
    """The state that training changes."""

    params: Any
    opt_state: Any
    key: jax.Array  # random key of the next shuffles


class EpochMetrics(NamedTuple):
    """The metrics of an epoch. Each is a mean over samples, of shape ()."""

    train_loss: jax.Array  # of each batch before its update
    valid_loss: jax.Array
    valid_accuracy: jax.Array  # in [0, 1]


def count_steps(num_samples: int, batch_size: int) -> int:
    """Count the batches of an epoch, including a smaller one at its end."""
    return -(-num_samples // batch_size)


def initial_state(key: jax.Array, init: Callable[[jax.Array], Any], tx: Any) -> TrainState:
    """Return the state before the first epoch. One half of the key draws the weights, one shuffles."""
    init_key, shuffle_key = jax.random.split(key)
    params = init(init_key)
    return TrainState(params, tx.init(params), shuffle_key)


def train_step(apply: Apply, tx: Any, state: TrainState, batch: Split) -> tuple[TrainState, Losses]:
    """Update the parameters from one batch. Return the new state and the losses before the update."""

    def mean_loss(params: Any) -> tuple[Mean, Losses]:
        losses = _cross_entropy(apply(params, batch.images), batch.labels)
        return losses.mean(), losses

    gradients, losses = jax.grad(mean_loss, has_aux=True)(state.params)
    updates, opt_state = tx.update(gradients, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    return state._replace(params=params, opt_state=opt_state), losses


def train_epoch(
    apply: Apply, tx: Any, batch_size: int, state: TrainState, train: Split
) -> tuple[TrainState, Mean]:
    """Shuffle, then train on every sample once. Return the new state and the mean loss over samples."""
    num_samples = len(train.labels)
    num_full = num_samples // batch_size
    key, shuffle_key = jax.random.split(state.key)
    order = jax.random.permutation(shuffle_key, num_samples)
    full, last = jnp.split(order, [num_full * batch_size])

    def step(state: TrainState, indices: Int[Array, " batch"]) -> tuple[TrainState, Losses]:
        batch = Split(train.images[indices], train.labels[indices])
        return train_step(apply, tx, state, batch)

    state = state._replace(key=key)
    state, losses = jax.lax.scan(step, state, full.reshape(num_full, batch_size))
    total = losses.sum()
    if len(last):
        state, last_losses = step(state, last)
        total += last_losses.sum()
    return state, total / num_samples


def evaluate(apply: Apply, params: Any, split: Split) -> tuple[Mean, Mean]:
    """Compute the mean loss and the accuracy over all samples of `split`."""

    def score(batch: Split) -> tuple[jax.Array, jax.Array]:
        logits = apply(params, batch.images)
        return _cross_entropy(logits, batch.labels), logits.argmax(axis=-1) == batch.labels

    num_full = len(split.labels) // _EVALUATION_BATCH
    size = num_full * _EVALUATION_BATCH
    full = jax.tree.map(lambda x: x[:size].reshape(num_full, _EVALUATION_BATCH, *x.shape[1:]), split)
    scores = jax.tree.map(jnp.ravel, jax.lax.map(score, full))
    if size < len(split.labels):
        last = score(jax.tree.map(lambda x: x[size:], split))
        scores = jax.tree.map(lambda *parts: jnp.concatenate(parts), scores, last)
    losses, correct = scores
    return losses.mean(), correct.mean()


def run_epoch(
    apply: Apply, tx: Any, batch_size: int, has_plateau: bool, state: TrainState, train: Split, valid: Split
) -> tuple[TrainState, EpochMetrics]:
    """Train for an epoch and validate. If there is a plateau, step it with the validation loss."""
    state, train_loss = train_epoch(apply, tx, batch_size, state, train)
    valid_loss, valid_accuracy = evaluate(apply, state.params, valid)
    if has_plateau:
        state = state._replace(opt_state=plateau_step(state.opt_state, valid_loss))
    return state, EpochMetrics(train_loss, valid_loss, valid_accuracy)


def _cross_entropy(logits: Float[Array, "samples classes"], labels: Int[Array, " samples"]) -> Losses:
    # optax.softmax_cross_entropy_with_integer_labels indexes the logits. The gradient of that is a scatter,
    # which is one more kernel of every step on a GPU.
    is_label = jax.nn.one_hot(labels, logits.shape[-1], dtype=jnp.bool_)
    return jax.nn.logsumexp(logits, axis=-1) - logits.sum(axis=-1, where=is_label)
