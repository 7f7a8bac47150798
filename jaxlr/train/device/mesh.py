"""The devices that a run, or a sweep, is split over."""

import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jaxlr.train.config import RunConfig
from jaxlr.train.errors import DeviceError
from jaxlr.train.step import Apply


_AXIS = "devices"


def mesh_of(config: RunConfig) -> Mesh | None:
    """The devices that `config` asks for; None for JAX's default device alone.

    Raises:
        DeviceError: there are none, or fewer.
    """
    available = devices_found()
    wanted: Any = config.devices
    if wanted is None:
        wanted = "all" if jax.process_count() > 1 else 1
    count = len(available) if wanted == "all" else wanted
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
    """The devices of all processes.

    Raises:
        DeviceError: there are none.
    """
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:  # the latter for JAX_PLATFORMS=cuda without CUDA
        platforms = os.environ.get("JAX_PLATFORMS", "any platform")
        reason = str(error) or "there is no such platform here: unset JAX_PLATFORMS, or install it"
        raise DeviceError(f"JAX finds no device for {platforms}: {reason}") from error


def count_devices(mesh: Mesh | None) -> int:
    """How many devices there are to split over."""
    return 1 if mesh is None else mesh.size


def check_divides(flag: str, size: int, mesh: Mesh | None) -> None:
    """Refuses a batch, given by `flag`, that does not divide among the devices of `mesh`."""
    count = count_devices(mesh)
    if size % count == 0:
        return
    below = size // count * count
    nearest = " and ".join(str(size) for size in (below, below + count) if size)
    raise DeviceError(
        f"{flag} {size} does not divide among {count} devices: the nearest sizes that do are {nearest}"
    )


def replicate(mesh: Mesh | None, tree: Any) -> Any:
    """`tree`, the same on every process, on every device of `mesh`."""
    if mesh is None:
        return tree
    sharding = replicated(mesh)

    def place(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            bits = place(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(bits, impl=jax.random.key_impl(leaf))
        # Unlike `device_put` it does not gather the leaf from all processes, only to compare.
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf), leaf.shape)

    return jax.tree.map(place, tree)


def replicated(mesh: Mesh | None) -> NamedSharding | None:
    """Of arrays that are whole on every device; None leaves them where they are."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec())


def divided(mesh: Mesh | None) -> NamedSharding | None:
    """Of arrays whose first axis is split over the devices; None leaves them where they are."""
    return None if mesh is None else NamedSharding(mesh, PartitionSpec(_AXIS))


def own_copy(tree: Any) -> Any:
    """This process's copy of what is on every device: any computation on it is the process's own."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


def split_batches(mesh: Mesh | None, apply: Apply) -> Apply:
    """`apply` with its batch split over `mesh`: XLA splits what leads to it, and reduces what follows."""
    if mesh is None:
        return apply

    def split(params: Any, images: jax.Array) -> jax.Array:
        # The last, smaller batch of an epoch may not divide: every device computes all of it.
        if len(images) % mesh.size == 0:
            images = jax.lax.with_sharding_constraint(images, divided(mesh))
        return apply(params, images)

    return split
