"""The torch oracle, and how near to it is near enough."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike


HOST_RTOL = 1e-12  # float64 beside torch's float64
DEVICE_RTOL = 1e-6  # float32 inside jit


def torch_curve(
    torch: ModuleType,
    build: Callable[[Any], Any],
    num_epochs: int,
    lr: float = 0.1,
    value: str = "lr",
    group: int = 0,
    metrics: ArrayLike | None = None,
) -> np.ndarray:
    """The learning rate (or another `value`) of each epoch, as `build(optimizer)` sets it in torch.

    With `metrics` there are as many epochs as metrics, and one rate more: that before the first.
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
    """The learning rate after each metric of torch's ReduceLROnPlateau."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **settings)
    curve = []
    for metric in np.asarray(metrics).tolist():
        scheduler.step(metric)
        curve.append(optimizer.param_groups[0]["lr"])
    return np.asarray(curve, dtype=np.float64)


def relative_error(actual: ArrayLike, expected: ArrayLike) -> float:
    """The largest |actual / expected - 1|; where 0 is expected only 0 will do.

    What a float32 `actual` cannot hold as a normal number counts as 0 on both sides.
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
    """As `assert_close`, but for the digits that torch's own float64 has lost beside its largest rate.

    Torch adds 1 + cos near its end, and steps from one rate to the next: what is left there of a rate
    is known to a few roundings of the largest one, which may be a `peak` beyond the curve. Our own
    digits there are held to exact values by other tests.
    """
    lost = 4 * np.finfo(np.float64).eps * max(np.abs(torchs).max(), peak)
    excess = np.maximum(np.abs(np.asarray(actual, np.float64) - torchs) - lost, 0)
    assert_close(torchs + excess, torchs, rtol)


def assert_close(actual: ArrayLike, expected: ArrayLike, rtol: float) -> None:
    """Equal to a relative tolerance alone: an absolute one would hide every small learning rate."""
    error = relative_error(actual, expected)
    assert error <= rtol, f"relative error {error:.3g} exceeds {rtol:.3g}"
