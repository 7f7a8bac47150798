"""The curves of torch, and comparisons with a relative tolerance."""

import functools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike


HOST_RTOL = 1e-12  # our float64 against torch's float64
DEVICE_RTOL = 1e-6  # our float32 inside jit against torch's float64

FAST_COMPILATION: dict[str, Any] = {
    "xla_backend_optimization_level": 0,
    "xla_cpu_parallel_codegen_split_count": 1,  # no threads, which cost more than they save on few cores
}
if (0, 8) <= jax.__version_info__ < (0, 11):  # others do not have this option
    FAST_COMPILATION["xla_cpu_use_fusion_emitters"] = False
# jax.jit for tests that compare ways to call a schedule: it compiles in a quarter of the time.
# The tests of the digits of a schedule use jax.jit itself, as users do.
fast_jit = functools.partial(jax.jit, compiler_options=FAST_COMPILATION)


def torch_curve(
    torch: ModuleType,
    build: Callable[[Any], Any],
    num_epochs: int,
    lr: float = 0.1,
    value: str = "lr",
    group: int = 0,
    metrics: ArrayLike | None = None,
) -> np.ndarray:
    """Return the learning rate (or another `value`) of each epoch that `build(optimizer)` sets in torch.

    With `metrics` there is one epoch per metric, and one more rate: the one before the first metric.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr, momentum=0.9)
    scheduler = build(optimizer)
    curve = [optimizer.param_groups[group][value]]
    steps = [()] * (num_epochs - 1) if metrics is None else [(m,) for m in np.asarray(metrics).tolist()]
    for arguments in steps:
        optimizer.step()
        scheduler.step(*arguments)
        curve.append(optimizer.param_groups[group][value])
    return np.asarray(curve, dtype=np.float64)


def torch_plateau_curve(
    torch: ModuleType, metrics: ArrayLike, lr: float = 0.1, **settings: Any
) -> np.ndarray:
    """Return the learning rate after each metric of torch's ReduceLROnPlateau."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    curve = []
    for metric in np.asarray(metrics).tolist():
        scheduler.step(metric)
        curve.append(optimizer.param_groups[0]["lr"])
    return np.asarray(curve, dtype=np.float64)


def relative_error(actual: ArrayLike, expected: ArrayLike) -> float:
    """Return the largest |actual / expected - 1|. If 0 is expected, any other value is an infinite error.

    If `actual` is a float32, values too small to be normal numbers there count as 0 on both sides.
    """
    smallest = float(jnp.finfo(np.asarray(actual).dtype).tiny)
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    actual, expected = (np.where(np.abs(x) < smallest, 0, x) for x in (actual, expected))
    assert actual.shape == expected.shape, f"shape {actual.shape} is not {expected.shape}"
    wrong_zero = (expected == 0) & (actual != 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(expected == 0, 0.0, np.abs(actual / expected - 1))
    return float(np.max(np.where(wrong_zero, np.inf, error), initial=0.0))


def assert_is_torchs(actual: ArrayLike, torchs: np.ndarray, rtol: float, peak: float = 0.0) -> None:
    """Check that a curve matches torch's, except for digits that torch's own float64 has lost.

    torch computes 1 + cos near the end of a cosine, and each rate from the one before it. Its rounding
    errors have the size of the largest rate, or of `peak` if that is larger. Other tests compare our digits
    there with exact values.
    """
    lost = 4 * np.finfo(np.float64).eps * max(np.abs(torchs).max(), peak)
    excess = np.maximum(np.abs(np.asarray(actual, np.float64) - torchs) - lost, 0)
    assert_close(torchs + excess, torchs, rtol)


def assert_close(actual: ArrayLike, expected: ArrayLike, rtol: float) -> None:
    """Check for equality within a relative tolerance. An absolute one would hide small learning rates."""
    left, right = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        if left.shape == right.shape and (np.abs(left - right) <= rtol * np.abs(right)).all():
            return  # as most do. It is fast, and some compare a million rates.
    error = relative_error(actual, expected)
    assert error <= rtol, f"relative error {error:.3g} exceeds {rtol:.3g}"
