"""Functions of the user, such as an `lr_lambda`, at a count on the host or on a device."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr._compat import call_in_x64
from jaxlr.schedules._counts import Count, Float, as_float


_UNTRACEABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)


def apply_to_each(function: Any, count: Count) -> Float:
    """Call a user's function with a Python int for each count on the host, and traced on a device.

    Raises:
        TypeError: JAX cannot trace the function.
    """
    try:
        return _applied(function, count)
    except _UNTRACEABLE as error:
        raise TypeError(
            "JAX cannot trace this function of the epoch: write it with jax.numpy, such as jnp.where "
            "instead of if, or use jaxlr.tabulate(function, num_steps)"
        ) from error


def _applied(function: Any, count: Count) -> Float:
    """Call a function as `apply_to_each` does. A function that JAX cannot trace raises JAX's error."""
    if isinstance(count, int):
        return function(count)
    if isinstance(count, np.ndarray):
        values = [function(each) for each in count.ravel().tolist()]
        if any(isinstance(value, jax.Array) for value in values):  # it reads a traced value
            return jnp.stack([as_float(jnp.asarray(value)) for value in values]).reshape(count.shape)
        return np.asarray([float(value) for value in values], dtype=np.float64).reshape(count.shape)
    try:
        # Try float64 first: in float32, 0.99**epoch has lost digits by epoch 100.
        return _apply_in_float64(function, count)
    except (TypeError, ValueError):  # the function may fix its own dtypes, which do not mix with float64
        pass
    try:
        with jax.numpy_dtype_promotion("standard"):
            return as_float(jnp.asarray(function(count)))
    except _UNTRACEABLE:
        raise
    except Exception as error:
        error.add_note(
            "If JAX cannot trace this function of the epoch, write it with jax.numpy, "
            "or use jaxlr.tabulate(function, num_steps)"
        )
        raise


def _apply_in_float64(function: Any, count: jax.Array) -> jax.Array:
    """Trace a function in 64-bit JAX, and round its result to JAX's default float type."""
    dtype = jax.dtypes.canonicalize_dtype(float)

    def rounded(count: jax.Array) -> jax.Array:
        # A plain function such as `1 / (1 + epoch)` mixes dtypes. This is not the place to be strict.
        with jax.numpy_dtype_promotion("standard"):
            return _cast(function(_cast(count, np.int64)), dtype)

    return call_in_x64(rounded, count)


@functools.partial(jax.jit, static_argnums=1, inline=True)
def _cast(values: Any, dtype: Any) -> jax.Array:
    return jnp.asarray(values).astype(dtype)
