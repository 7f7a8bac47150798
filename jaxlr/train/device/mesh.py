"""The devices that the work of a run or a sweep is split over."""

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxlr.train.errors import DeviceError
from jaxlr.train.step import Apply


_AXIS = "devices"
# Variables that choose the devices of JAX.
_CHOOSE_DEVICES = ("JAX_PLATFORMS", "JAX_PLATFORM_NAME", "JAX_DEFAULT_DEVICE", "JAX_NUM_CPU_DEVICES")


def mesh_of(devices: int | Literal["all"] | None) -> Mesh | None:
    """Return a mesh of the devices that --devices asks for, or None for JAX's default device alone.

    Raises:
        DeviceError: JAX sees no device, or fewer than `devices`, or it may not compile.
    """
    if jax.config.jax_disable_jit:  # pyright: ignore[reportAttributeAccessIssue]
        raise DeviceError("JAX_DISABLE_JIT is set, and training needs compiled programs: unset it")
    available = devices_found()
    if devices is None:
        devices = "all" if jax.process_count() > 1 else 1
    count = len(available) if devices == "all" else devices
    if count > len(available):
        raise DeviceError(
            f"--devices {count}: JAX sees {len(available)} ({available[0].platform}); give all, or at most"
            f" {len(available)}"
        )
    if jax.process_count() > 1 and count < len(available):
        raise DeviceError(
            f"--devices {count} would leave out some of the {len(available)} devices of"
            f" {jax.process_count()} processes: with --distributed all take part; start fewer processes"
        )
    return None if count == 1 else Mesh(np.array(available[:count]), (_AXIS,))


def devices_found() -> Sequence[Any]:
    """Return the devices of all processes.

    Raises:
        DeviceError: JAX sees no device.
    """
    try:
        if isinstance(default := jax.config.jax_default_device, str):  # pyright: ignore[reportAttributeAccessIssue]
            jax.devices(default)
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # AssertionError: JAX_PLATFORMS=cuda without CUDA
        reason = str(error) or "there is no such platform here"
        given = [f"{name}={os.environ[name]}" for name in _CHOOSE_DEVICES if name in os.environ]
        advice = f"; correct or unset {' and '.join(given)}" if given else ""
        raise DeviceError(f"JAX finds no device: {reason}{advice}") from error


def check_shares(devices: Sequence[Any]) -> None:
    """Raise a DeviceError unless all processes have the same number of devices, which JAX needs."""
    numbers = [*Counter(device.process_index for device in devices).values()]
    if len({*numbers}) > 1:
        listed = ", ".join(map(str, numbers))
        raise DeviceError(f"the processes have {listed} devices: give each the same number of them")


def describe_device(mesh: Mesh | None = None) -> str:
    """Describe the devices in words: "gpu (NVIDIA H100), 4 devices of 2 processes"."""
    device = jax.devices()[0] if mesh is None else mesh.devices.flat[0]
    kind = "" if device.device_kind == device.platform else f" ({device.device_kind})"
    several = "" if mesh is None else f", {mesh.size} devices"
    processes = f" of {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{device.platform}{kind}{several}{processes}"


def count_devices(mesh: Mesh | None) -> int:
    """Return the number of devices in `mesh`."""
    return 1 if mesh is None else mesh.size


def check_divides(flag: str, size: int, mesh: Mesh | None) -> None:
    """Raise a DeviceError unless a batch of `size` samples, given by `flag`, divides among the devices."""
    count = count_devices(mesh)
    if size % count == 0:
        return
    below = size // count * count
    nearest = " and ".join(str(size) for size in (below, below + count) if size)
    raise DeviceError(
        f"{flag} {size} does not divide among {count} devices: the nearest sizes that do are {nearest}"
    )


@contextlib.contextmanager
def memory_errors(batch_size: int, flags: Sequence[str]) -> Iterator[None]:
    """Turn an out-of-memory error in the block into a DeviceError that says which `flags` to lower."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, jax.errors.JaxRuntimeError) and not _is_out_of_memory(reason):
            raise
        devices = ", ".join(str(device) for device in jax.devices())
        advice = f"lower {', '.join(flags[:-1])} or {flags[-1]}"
        if jax.devices()[0].platform == "gpu":
            advice += ", or end other processes on the GPU, which nvidia-smi lists"
        raise DeviceError(
            f"out of memory on {devices} with batches of {batch_size}: {advice} ({reason[:200]})"
        ) from error


def _is_out_of_memory(reason: str) -> bool:
    return "RESOURCE_EXHAUSTED" in reason or "out of memory" in reason.lower()


def replicate(mesh: Mesh | None, tree: Any) -> Any:
    """Copy `tree`, which is the same on every process, to every device of `mesh`."""
    if mesh is None:
        return tree
    sharding = replicated(mesh)

    def place(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            bits = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
        # `jax.device_put` would first gather the leaf from all processes to compare the copies.
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf), leaf.shape)

    return jax.tree.map(place, tree)


def replicated(mesh: Mesh | None) -> NamedSharding | None:
    """Return the sharding of arrays that are whole on every device. None leaves them where they are."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh | None) -> NamedSharding | None:
    """Return the sharding of arrays whose first axis is split. None leaves them where they are."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec(_AXIS))


def own_copy(tree: Any) -> Any:
    """Return this process's copy of replicated arrays, to compute on without the other processes."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def split_batches(mesh: Mesh | None, apply: Apply) -> Apply:
    """Return `apply` with its batch split over `mesh`.

    XLA then splits the computations around it as well, and reduces the gradients.
    """
    if mesh is None:
        return apply

    def split(params: Any, images: jax.Array) -> jax.Array:
        # The last, smaller batch of an epoch may not divide. Then every device computes all of it.
        if len(images) % mesh.size == 0:
            images = jax.lax.with_sharding_constraint(images, divided(mesh))
        return apply(params, images)

    return split
