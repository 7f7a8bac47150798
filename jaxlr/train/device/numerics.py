"""The settings, versions and hardware that the bits of a run depend on."""

import functools
import hashlib
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import jax
import jaxlib.version
import optax

import jaxlr
from jaxlr.train.errors import CheckpointError


def decisive_settings() -> dict[str, str]:
    """Return the settings of JAX that decide its random numbers and its dtypes, and so the whole run."""
    config: Any = jax.config
    x64 = jax.dtypes.canonicalize_dtype(float) == "float64"
    return {
        "JAX_ENABLE_X64": str(int(x64)),
        "JAX_DEFAULT_PRNG_IMPL": config.jax_default_prng_impl,
        "JAX_THREEFRY_PARTITIONABLE": str(int(config.jax_threefry_partitionable)),
    }


def numerics() -> dict[str, str]:
    """Return everything that decides the bits of a run, by name."""
    device = jax.devices()[0]
    config: Any = jax.config
    return {
        **decisive_settings(),
        "JAX_DEFAULT_MATMUL_PRECISION": str(config.jax_default_matmul_precision),
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "jaxlr": jaxlr.__version__,
        "optax": optax.__version__,
        "jax": jax.__version__,
        "jaxlib": jaxlib.version.__version__,
        "platform": device.client.platform_version,
        "device": _processor() if device.platform == "cpu" else device.device_kind,
    }


def check_numerics(saved: dict[str, str], now: dict[str, str], strict: bool) -> None:
    """Compare with what a checkpoint was computed with.

    Args:
        saved: the `numerics()` of that run.
        now: the `numerics()` of this one.
        strict: refuse any difference. Otherwise one that may change only the last bits is a warning.

    Raises:
        CheckpointError: a difference is refused.
    """
    changes = {name: (value, now[name]) for name, value in saved.items() if now.get(name, value) != value}
    if decisive := [name for name in changes if name in decisive_settings()]:
        was = " ".join(f"{name}={changes[name][0]}" for name in decisive)
        raise CheckpointError(f"the run was computed with other settings of JAX: set {was} to resume it")
    if not changes:
        return
    listed = ", ".join(f"{name} was {old!r}, now {new!r}" for name, (old, new) in changes.items())
    if strict:
        raise CheckpointError(
            f"cannot resume with --strict, because the bits of the run may change ({listed}): "
            "drop --strict, or restore what changed"
        )
    warnings.warn(f"the last bits may differ from those of an unbroken run: {listed}", stacklevel=2)


@functools.cache  # each checkpoint asks for it
def _processor() -> str:
    """Return the processor and a digest of its instruction sets, for which XLA compiles."""
    try:
        info = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(line.split(":", 1) for line in info.split("\n\n")[0].splitlines() if ":" in line)
    values = {name.strip(): value.strip() for name, value in fields.items()}
    features = " ".join(sorted(values.get("flags", values.get("Features", "")).split()))
    model = values.get("model name", platform.machine())
    return f"{model}, features {hashlib.sha256(features.encode()).hexdigest()[:8]}"
