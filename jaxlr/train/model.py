"""The MLP, with torch's initial weights. No other module uses Flax."""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Key, UInt8


class MLP(nnx.Module):
    """A multilayer perceptron: linear layers with ReLU between them."""

    def __init__(self, sizes: Sequence[int], rngs: nnx.Rngs):
        self.layers: nnx.List[nnx.Linear] = nnx.List(
            [torch_linear(*fans, rngs) for fans in itertools.pairwise(sizes)]
        )

    def __call__(self, x: Float[Array, "samples features"]) -> Float[Array, "samples classes"]:
        """Map features of shape (samples, sizes[0]) to logits of shape (samples, sizes[-1])."""
        for layer in self.layers[:-1]:
            x = nnx.relu(layer(x))
        return self.layers[-1](x)


def torch_linear(fan_in: int, fan_out: int, rngs: nnx.Rngs) -> nnx.Linear:
    """Build a linear layer that starts like `torch.nn.Linear`: uniform in ±1/sqrt(fan_in)."""

    def uniform(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32, **_: Any) -> jax.Array:
        bound = 1 / math.sqrt(fan_in)
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return nnx.Linear(
        fan_in,
        fan_out,
        kernel_init=uniform,
        bias_init=uniform,
        precision=jax.lax.Precision.HIGHEST,  # like torch; JAX's default on a GPU rounds to TF32
        rngs=rngs,
    )


def mlp(sizes: Sequence[int]) -> tuple[Callable[[jax.Array], Any], Callable[[Any, jax.Array], jax.Array]]:
    """Build an MLP as two pure functions.

    Returns:
        `init(key)`, which returns the parameters, and `apply(params, images)`, which returns the logits.
        The images are uint8 of shape (samples, ...). `apply` flattens them and divides them by 255, like
        torchvision's `ToTensor`.
    """
    graph = nnx.graphdef(nnx.eval_shape(lambda: MLP(sizes, nnx.Rngs(0))))

    def init(key: Key[Array, ""]) -> Any:
        return nnx.state(MLP(sizes, nnx.Rngs(key)))

    def apply(params: Any, images: UInt8[Array, "samples ..."]) -> Float[Array, "samples classes"]:
        features = images.reshape(len(images), -1).astype(jnp.float32) / 255
        return nnx.merge(graph, params)(features)

    return init, apply
