"""The options with which XLA compiles the programs of a run."""

import jax

from jaxlr.train.groups import Device


# XLA's debug_options_flags.cc describes these flags. They exist from JAX 0.10 to 0.12.
_NO_TIMING = {
    "xla_gpu_autotune_level": 0,  # the first kernel that works, instead of the fastest
    # JAX sets this to a folder in its program cache. A choice that was timed and stored there comes first,
    # even at level 0 (`Autotuner::GetConfig`), and level 0 would store choices for programs to be tuned.
    "xla_gpu_per_fusion_autotune_cache_dir": "",
}
_DETERMINISTIC = {**_NO_TIMING, "xla_gpu_deterministic_ops": True}  # and no sums in an arbitrary order


def compiler_options(device: Device, platform: str | None = None) -> dict[str, bool | int | str]:
    """Return the options of XLA for `jax.jit`.

    On a GPU, XLA times several kernels for each matrix product and uses the fastest. Two compilations of
    one program can therefore give different bits. Other platforms need no options.

    Args:
        device: the flags.
        platform: the platform to compile for, as in `jax.Device.platform`. Default: that of this process.

    Example:
        >>> [*compiler_options(Device(deterministic=True), "gpu")]
        ['xla_gpu_autotune_level', 'xla_gpu_per_fusion_autotune_cache_dir', 'xla_gpu_deterministic_ops']
        >>> compiler_options(Device(deterministic=True), "cpu")
        {}
    """
    if (platform or jax.devices()[0].platform) != "gpu":
        return {}
    if device.deterministic:
        return dict(_DETERMINISTIC)
    return {} if device.autotune else dict(_NO_TIMING)


def start_options() -> dict[str, bool | int | str]:
    """Return the options of XLA for a program that draws initial weights, and runs once.

    On a CPU, LLVM takes seconds to optimize the random numbers. At level 1 it takes half or a quarter of
    that, and the weights have the same bits.
    """
    return {"xla_backend_optimization_level": 1} if jax.devices()[0].platform == "cpu" else {}


def times_kernels(device: Device, platform: str | None = None) -> bool:
    """Return True if XLA chooses kernels by timing them, so that the bits differ between compilations."""
    return (platform or jax.devices()[0].platform) == "gpu" and device.autotune and not device.deterministic
