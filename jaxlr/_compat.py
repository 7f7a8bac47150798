"""Functions that behave alike in all versions of JAX that the library supports."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.core import Tracer


def enable_x64(enabled: bool = True) -> Any:
    """Return a context manager that enables 64-bit JAX, or disables it."""
    if hasattr(jax, "enable_x64"):
        return jax.enable_x64(enabled)
    from jax import experimental  # before JAX 0.8

    return experimental.enable_x64(enabled)  # pyright: ignore[reportAttributeAccessIssue]


def call_in_x64(function: Callable[[jax.Array], jax.Array], count: jax.Array) -> jax.Array:
    """Return `function(count)`, computed in 64-bit JAX."""
    with enable_x64():
        if jax.__version_info__ >= (0, 7, 2) or not isinstance(count, Tracer):
            return function(count)
        return _trace_in_x64(function, count)


def has_explicit_sharding(array: jax.Array) -> bool:
    """Return True if `array` lies on a mesh with explicit axes."""
    if not hasattr(jax.sharding, "AxisType"):  # before JAX 0.6
        return False
    return jax.sharding.AxisType.Explicit in jax.typeof(array).sharding.mesh.axis_types


# The rest is for JAX before 0.7.2. There, a constant gets its float type when the outermost `jit` is
# compiled. That is after `enable_x64` has ended, so code in float64 would get constants in float32.


def _trace_in_x64(function: Callable[[jax.Array], jax.Array], count: jax.Array) -> jax.Array:
    """Trace `function` in 64-bit JAX, and call the result as one primitive of the caller's trace."""
    from jax.core import eval_jaxpr

    closed = jax.make_jaxpr(function)(count)
    # The tracers of the caller that the function reads must be arguments of the primitive.
    traced = [const for const in closed.consts if isinstance(const, Tracer)]

    def evaluate(count: jax.Array, *traced: jax.Array) -> Sequence[jax.Array]:
        values = iter(traced)
        consts = [next(values) if isinstance(const, Tracer) else const for const in closed.consts]
        return eval_jaxpr(closed.jaxpr, consts, count)

    return _x64_call().bind(count, *traced, function=evaluate)[0]


@functools.cache
def _x64_call() -> Any:
    """Return a primitive that calls its `function`, with its rules: each runs in 64-bit JAX."""
    from jax.extend.core import Primitive
    from jax.interpreters import batching, mlir

    call = Primitive("x64_call")
    call.multiple_results = True

    @call.def_impl
    def run(*args: Any, function: Any) -> Any:
        with enable_x64():
            return function(*args)

    @call.def_abstract_eval
    def shapes(*args: Any, function: Any) -> Any:
        with enable_x64():
            return jax.make_jaxpr(function)(*args).out_avals

    def batch(args: Any, axes: Any, function: Any) -> Any:
        results = call.bind(*args, function=jax.vmap(function, axes))
        return results, [0] * len(results)

    def lower(context: Any, *args: Any, function: Any) -> Any:
        with enable_x64():
            return mlir.lower_fun(function)(context, *args)

    batching.primitive_batchers[call] = batch
    mlir.register_lowering(call, lower)
    return call
