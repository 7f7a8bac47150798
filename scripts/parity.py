"""Measure the error of each scheduler over a long run, and print the table of docs/accuracy.md.

The reference is the equation of the scheduler in 80-bit floats. The table compares it with torch stepped in
Python (float64), with jaxlr on the host (float64) and compiled (float32, on JAX's default device), and with
the most similar schedule of Optax, compiled.
"""

import argparse
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch  # pyright: ignore[reportMissingImports]

import jaxlr


class Row(NamedTuple):
    """One scheduler over a run of `n` steps."""

    text: str  # torch's constructor
    torch: Callable[[Any, Any], Any]  # (torch's module, optimizer)
    ours: optax.Schedule
    exact: Callable[[Any], Any]  # of the steps, in 80-bit floats
    nearest_name: str = ""
    nearest: optax.Schedule | None = None


LR, SLOW = 0.1, 0.99999
PI = 4 * np.arctan(np.longdouble(1))


def cosine(start: Any, end: Any, part: Any) -> Any:
    return end * np.sin(PI / 2 * part) ** 2 + start * np.sin(PI / 2 * (1 - part)) ** 2


def rows(n: int) -> list[Row]:
    m = n // 10
    return [
        Row(
            "LambdaLR(lambda e: 1 / (1 + 1e-4 * e))",
            lambda t, o: t.LambdaLR(o, lambda e: 1 / (1 + 1e-4 * e)),
            jaxlr.lambda_lr(LR, lambda e: 1 / (1 + 1e-4 * e)),
            lambda e: LR / (1 + 1e-4 * e),
        ),
        Row(
            f"MultiplicativeLR(lambda e: {SLOW})",
            lambda t, o: t.MultiplicativeLR(o, lambda e: SLOW),
            jaxlr.multiplicative_lr(LR, lambda e: SLOW, n),
            lambda e: LR * np.longdouble(SLOW) ** e,
        ),
        Row(
            "StepLR(1000, gamma=0.99)",
            lambda t, o: t.StepLR(o, 1000, 0.99),
            jaxlr.step_lr(LR, 1000, 0.99),
            lambda e: LR * np.longdouble(0.99) ** (e // 1000),
            "exponential_decay(staircase=True)",
            optax.exponential_decay(LR, 1000, 0.99, staircase=True),
        ),
        Row(
            "MultiStepLR([3, 6, 9] tenths of n)",
            lambda t, o: t.MultiStepLR(o, [3 * m, 6 * m, 9 * m]),
            jaxlr.multi_step_lr(LR, [3 * m, 6 * m, 9 * m]),
            lambda e: LR * np.longdouble(0.1) ** sum((e >= k * m).astype(int) for k in (3, 6, 9)),
            "piecewise_constant_schedule",
            optax.piecewise_constant_schedule(LR, {k * m: 0.1 for k in (3, 6, 9)}),
        ),
        Row(
            "ConstantLR(1/3, n/10)",
            lambda t, o: t.ConstantLR(o, 1 / 3, m),
            jaxlr.constant_lr(LR, 1 / 3, m),
            lambda e: LR * np.where(e < m, np.longdouble(1 / 3), 1),
            "piecewise_constant_schedule",
            optax.piecewise_constant_schedule(LR / 3, {m: 3.0}),
        ),
        Row(
            "LinearLR(1e-3, total_iters=n)",
            lambda t, o: t.LinearLR(o, 1e-3, total_iters=n),
            jaxlr.linear_lr(LR, 1e-3, total_iters=n),
            lambda e: LR * (np.longdouble(1e-3) * (n - e) + e) / n,
            "linear_schedule",
            optax.linear_schedule(LR * 1e-3, LR, n),
        ),
        Row(
            f"ExponentialLR({SLOW})",
            lambda t, o: t.ExponentialLR(o, SLOW),
            jaxlr.exponential_lr(LR, SLOW),
            lambda e: LR * np.longdouble(SLOW) ** e,
            "exponential_decay",
            optax.exponential_decay(LR, 1, SLOW),
        ),
        Row(
            "PolynomialLR(n, power=2)",
            lambda t, o: t.PolynomialLR(o, n, 2.0),
            jaxlr.polynomial_lr(LR, n, 2.0),
            lambda e: LR * ((n - e) / n) ** 2,
            "polynomial_schedule",
            optax.polynomial_schedule(LR, 0.0, 2, n),
        ),
        Row(
            "CosineAnnealingLR(n)",
            lambda t, o: t.CosineAnnealingLR(o, n),
            jaxlr.cosine_annealing_lr(LR, n),
            lambda e: cosine(LR, 0, e / n),
            "cosine_decay_schedule",
            optax.cosine_decay_schedule(LR, n),
        ),
        Row(
            "CosineAnnealingWarmRestarts(1000, 2)",
            lambda t, o: t.CosineAnnealingWarmRestarts(o, 1000, 2),
            jaxlr.cosine_annealing_warm_restarts(LR, 1000, 2),
            lambda e: cosine(LR, 0, restarted(e, 1000)),
            "sgdr_schedule",
            optax.sgdr_schedule(
                [
                    {"init_value": LR, "peak_value": LR, "warmup_steps": 0, "decay_steps": 1000 * 2**i}
                    for i in range(max(1, (n // 1000 + 1).bit_length()))
                ]
            ),
        ),
        Row(
            f"CyclicLR(1e-4, 0.1, 2000, 3000, 'exp_range', {SLOW})",
            lambda t, o: t.CyclicLR(o, 1e-4, LR, 2000, 3000, "exp_range", SLOW),
            jaxlr.cyclic_lr(1e-4, LR, 2000, 3000, "exp_range", SLOW),
            lambda e: 1e-4 + (np.longdouble(LR) - 1e-4) * triangle(e) * np.longdouble(SLOW) ** e,
        ),
        Row(
            "OneCycleLR(0.1, n)",
            lambda t, o: t.OneCycleLR(o, LR, n),
            jaxlr.one_cycle_lr(LR, n),
            lambda e: one_cycle(e, np.longdouble(float(0.3 * n) - 1), n - 1),
            "cosine_onecycle_schedule",
            optax.cosine_onecycle_schedule(n, LR, 0.3, 25.0, 1e4),
        ),
        Row(
            "SWALR(1e-4, anneal_epochs=n)",
            lambda t, o: t.SWALR(o, 1e-4, n),
            jaxlr.swa_lr(LR, 1e-4, n),
            lambda e: cosine(LR, 1e-4, e / n),
            "cosine_decay_schedule(alpha=1e-3)",
            optax.cosine_decay_schedule(LR, n, alpha=1e-3),
        ),
        Row(
            "SequentialLR([LinearLR(1e-3), CosineAnnealingLR], n/10)",
            lambda t, o: t.SequentialLR(
                o, [t.LinearLR(o, 1e-3, total_iters=m), t.CosineAnnealingLR(o, n - m)], [m]
            ),
            jaxlr.sequential_lr(
                [jaxlr.linear_lr(LR, 1e-3, total_iters=m), jaxlr.cosine_annealing_lr(LR, n - m)], [m]
            ),
            lambda e: np.where(
                e < m, LR * (np.longdouble(1e-3) * (m - e) + e) / m, cosine(LR, 0, (e - m) / (n - m))
            ),
            "warmup_cosine_decay_schedule",
            optax.warmup_cosine_decay_schedule(LR * 1e-3, LR, m, n),
        ),
        Row(
            f"ChainedScheduler([ConstantLR(0.1, n/10), ExponentialLR({SLOW})])",
            lambda t, o: t.ChainedScheduler([t.ConstantLR(o, 0.1, m), t.ExponentialLR(o, SLOW)]),
            jaxlr.chained_scheduler(LR, [jaxlr.constant_lr(1.0, 0.1, m), jaxlr.exponential_lr(1.0, SLOW)]),
            lambda e: LR * np.where(e < m, np.longdouble(0.1), 1) * np.longdouble(SLOW) ** e,
        ),
    ]


def restarted(e: Any, first: int) -> Any:
    """Return the completed part of the current cycle. Each cycle is twice as long as the one before."""
    cycle = np.floor(np.log2(e / first + 1))
    return (e - first * (2**cycle - 1)) / (first * 2**cycle)


def triangle(e: Any) -> Any:
    position = e % 5000
    return np.where(position <= 2000, position / 2000, (5000 - position) / 3000)


def one_cycle(e: Any, rise: Any, last: int) -> Any:
    first = np.longdouble(LR) / 25
    return np.where(
        e <= rise, cosine(first, LR, e / rise), cosine(LR, first / 10**4, (e - rise) / (last - rise))
    )


def torch_curve(row: Row, n: int) -> np.ndarray:
    t = types.SimpleNamespace(**vars(torch.optim.lr_scheduler), SWALR=torch.optim.swa_utils.SWALR)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR, momentum=0.9)
    scheduler = row.torch(t, optimizer)
    group, curve = optimizer.param_groups[0], np.empty(n)
    optimizer.step()
    for step in range(n):
        curve[step] = group["lr"]
        if step < n - 1:
            scheduler.step()
    return curve


def worst(actual: Any, exact: Any) -> str:
    """Return the largest relative error among the values that are normal numbers in float32."""
    held = exact > np.finfo(np.float32).tiny
    return f"{np.max(np.abs(np.asarray(actual, np.longdouble) / exact - 1)[held]):.0e}"


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--steps", type=int, default=1_000_000, help="length n of the run (default 1000000)"
    )
    n = parser.parse_args().steps
    device = jax.devices()[0]
    print(f"Worst relative error over {n:,} steps; float32 compiled for: {device.device_kind}.\n")
    print("| torch | torch, float64 | jaxlr, host | jaxlr, float32 | Optax's nearest | Optax, float32 |")
    print("| --- | --- | --- | --- | --- | --- |")
    for row in rows(n):
        exact = row.exact(np.arange(n).astype(np.longdouble))
        cells = [f"`{row.text}`", worst(torch_curve(row, n), exact), worst(row.ours(np.arange(n)), exact)]
        cells.append(worst(jax.jit(row.ours)(jnp.arange(n)), exact))
        if row.nearest is None:
            cells += ["none", ""]
        else:
            compiled = jax.jit(jax.vmap(row.nearest))(jnp.arange(n))
            cells += [f"`{row.nearest_name}`", worst(compiled, exact)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
