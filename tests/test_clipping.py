"""Clipped gradients compared with torch's."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, assert_close
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr
from jaxlr._compat import enable_x64


def gradients(size: float) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {"bias": size * rng.normal(size=5), "kernel": size * rng.normal(size=(4, 5))}


def torch_clipped(torch: Any, clip: str, tree: dict[str, np.ndarray], *args: Any) -> list[np.ndarray]:
    tensors = [torch.zeros(leaf.shape, dtype=torch.float64) for leaf in tree.values()]
    for tensor, leaf in zip(tensors, tree.values(), strict=True):
        tensor.grad = torch.tensor(leaf)
    getattr(torch.nn.utils, clip)(tensors, *args)
    return [tensor.grad.numpy() for tensor in tensors]


@given(
    size=st.sampled_from([1e-9, 1e-4, 1.0, 1e3]),
    max_norm=st.sampled_from([0.0, 1e-6, 0.1, 1.0, 10.0]),
    norm_type=st.sampled_from([1, 2.0, 3.5, float("inf")]),
)
@settings(max_examples=20, deadline=None)
def test_the_norm_is_clipped_as_in_torch(torch, size, max_norm, norm_type):
    tree = gradients(size)
    expected = torch_clipped(torch, "clip_grad_norm_", tree, max_norm, norm_type)
    with enable_x64():
        tx = jaxlr.clip_grad_norm(max_norm, norm_type)
        clipped, _ = tx.update(jax.tree.map(jnp.asarray, tree), tx.init(tree))
        for ours, torchs in zip(jax.tree.leaves(clipped), expected, strict=True):
            assert_close(ours, torchs, 1e-12)


def test_the_value_is_clipped_by_optax_as_in_torch(torch):
    tree = gradients(1.0)
    expected = torch_clipped(torch, "clip_grad_value_", tree, 0.3)
    with enable_x64():
        clipped, _ = optax.clip(0.3).update(jax.tree.map(jnp.asarray, tree), optax.EmptyState())
        for ours, torchs in zip(jax.tree.leaves(clipped), expected, strict=True):
            np.testing.assert_array_equal(ours, torchs)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_norm_that_is_not_finite_gives_the_gradients_of_torch(torch, bad):
    tree = {"a": np.array([bad, 1.0]), "b": np.array([2.0])}
    expected = torch_clipped(torch, "clip_grad_norm_", tree, 1.0)
    clipped, _ = jaxlr.clip_grad_norm(1.0).update(jax.tree.map(jnp.asarray, tree), optax.EmptyState())
    for ours, torchs in zip(jax.tree.leaves(clipped), expected, strict=True):
        np.testing.assert_array_equal(ours, torchs)


def test_16_bit_gradients_keep_their_dtype_and_their_norm():
    # In float16 the square of 300 overflows, and so does the sum of the squares.
    clipped: Any
    clipped, _ = jax.jit(jaxlr.clip_grad_norm(1.0).update)(jnp.full(100, 300.0, jnp.float16), ())
    assert clipped.dtype == jnp.float16
    assert_close(clipped, np.full(100, 0.1), 1e-3)


def test_max_norm_may_be_traced_and_swept():
    def clipped(max_norm: Any) -> Any:
        return jaxlr.clip_grad_norm(max_norm).update(jnp.array([3.0, 4.0]), optax.EmptyState())[0]

    norms = jax.vmap(clipped)(jnp.array([1.0, 2.0, 10.0]))
    assert_close(jnp.linalg.norm(norms, axis=1), [1.0, 2.0, 5.0], DEVICE_RTOL)


def test_no_gradients_are_clipped_to_none():
    assert jaxlr.clip_grad_norm(1.0).update({}, optax.EmptyState())[0] == {}


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((-1.0,), ValueError, "max_norm must be a finite number of at least 0, got -1.0"),
        (("1",), TypeError, "max_norm must be a real number"),
        ((1.0, 0), ValueError, "norm_type must be a finite number above 0"),
        ((1.0, "inf"), TypeError, "norm_type must be a real number"),
    ],
)
def test_arguments_out_of_their_range_are_refused(arguments, kind, message):
    with pytest.raises(kind, match=message):
        jaxlr.clip_grad_norm(*arguments)
