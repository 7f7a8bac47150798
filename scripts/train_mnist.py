"""The tutorial's script in JAX: train an MLP on MNIST with SGD and ReduceLROnPlateau."""

import jax
import numpy as np
import optax
from flax import nnx
from tqdm import trange

import jaxlr
from jaxlr.train.data import load_dataset


# LOADING DATA: the images are bytes. Divided by 255, they equal those of torchvision's ToTensor.
train_images, train_labels, valid_images, valid_labels, _ = load_dataset("mnist", progress=True)
BATCH_SIZE = 32


# CREATING OUR MODEL
class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(28 * 28, 256, rngs=rngs)
        self.fc2 = nnx.Linear(256, 128, rngs=rngs)
        self.out = nnx.Linear(128, 10, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = x.reshape(len(x), -1) / 255
        x = nnx.relu(self.fc1(x))
        x = nnx.relu(self.fc2(x))
        return self.out(x)


graph, params = nnx.split(Net(nnx.Rngs(0)))  # JAX uses the GPU if there is one


# SETTING OPTIMIZER, LOSS AND SCHEDULER
def loss(params, data, label):
    target = nnx.merge(graph, params)(data)
    return optax.softmax_cross_entropy_with_integer_labels(target, label).mean()


optimizer = jaxlr.with_plateau(lambda lr: optax.sgd(lr), 0.1, mode="min", patience=5)
opt_state = optimizer.init(params)


@jax.jit
def train_step(params, opt_state, data, label):
    step_loss, gradients = jax.value_and_grad(loss)(params, data, label)
    updates, opt_state = optimizer.update(gradients, opt_state, params)
    return optax.apply_updates(params, updates), opt_state, step_loss


valid_loss = jax.jit(loss)
scheduler_step = jax.jit(jaxlr.plateau_step)


# TRAINING THE NEURAL NETWORK
rng = np.random.default_rng(0)
for e in trange(25):
    train_loss = 0.0
    order = rng.permutation(len(train_labels))
    for start in range(0, len(order), BATCH_SIZE):
        batch = order[start : start + BATCH_SIZE]
        data, label = train_images[batch], train_labels[batch]
        params, opt_state, step_loss = train_step(params, opt_state, data, label)
        train_loss += step_loss * len(batch)  # stays on the device, so the loop does not wait for it

    curr_valid_loss = valid_loss(params, valid_images, valid_labels)
    curr_lr = jaxlr.learning_rate(opt_state)
    print(
        f"Epoch {e}\t Training Loss: {train_loss / len(order):.4f}\t "
        f"Validation Loss: {curr_valid_loss:.4f}\t LR: {curr_lr:g}"
    )
    opt_state = scheduler_step(opt_state, curr_valid_loss)
