"""The options with which XLA compiles the programs of a run."""

import jax

from jaxlr.train.config import Device


# XLA's debug_options_flags.cc describes these flags. They exist from JAX 0.10 to 0.12.
_NO_TIMING = {"xla_gpu_autotune_level": 0}  # the first kernel that works, instead of the fastest
_DETERMINISTIC = {**_NO_TIMING, "xla_gpu_deterministic_ops": True}  # and no sums in an arbitrary order


def compiler_options(device: Device, platform: str | None = None) -> dict[str, bool | int]:
    """Return the options of XLA for `jax.jit`.

    On a GPU, XLA times several kernels for each matrix product and uses the fastest. Two compilations of
    one program can therefore give different bits. Other platforms need no options.

    Args:
        device: the flags.
        platform: the platform to compile for, as in `jax.Device.platform`. Default: that of this process.

    Example:
        >>> compiler_options(Device(deterministic=True), "gpu")
        {'xla_gpu_autotune_level': 0, 'xla_gpu_deterministic_ops': True}
        >>> compiler_options(Device(deterministic=True), "cpu")
        {}
    """
    if (platform or jax.devices()[0].platform) != "gpu":
        return {}
    if device.deterministic:
        return dict(_DETERMINISTIC)
    return {} if device.autotune else dict(_NO_TIMING)


def times_kernels(device: Device, platform: str | None = None) -> bool:
    """Return True if XLA chooses kernels by timing them, so that the bits differ between compilations."""
    return (platform or jax.devices()[0].platform) == "gpu" and device.autotune and not device.deterministic
