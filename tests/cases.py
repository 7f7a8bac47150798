"""The table of schedules to test: each row has our schedule and the torch scheduler that it must equal.

`build(lr)` and `torch(t, optimizer, lr)` get the same learning rate. `t` is `torch.optim.lr_scheduler` and
SWALR. `scripts/record_torch.py` records the torch side of each row.

A schedule that torch does not have gets a row too. Its torch side is a LambdaLR with its equation.
"""

import math
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from helpers import torch_curve

import jaxlr


NUM_EPOCHS = 200
RECORDED = Path(__file__).parent / "torch_curves.npz"


class Case(NamedTuple):
    """A schedule of ours and the torch scheduler that it must equal."""

    build: Callable[[Any], Any]
    torch: Callable[[Any, Any, float], Any]
    num_epochs: int = NUM_EPOCHS  # OneCycleLR raises an error after its last step
    peak: float = 0.0  # the largest rate in the formula, if the curve does not reach it
    value: str = "lr"  # the key of the optimizer's parameter group that the scheduler changes


def leaf(function: Callable[..., Any], torch_class: str, **arguments: Any) -> Case:
    """Return the case of a scheduler that takes the same arguments in jaxlr and in torch."""
    return Case(
        lambda lr: function(lr, **arguments),
        lambda t, optimizer, lr: getattr(t, torch_class)(optimizer, **arguments),
    )


def cyclic(base: float, peak: float, *arguments: Any, **more: Any) -> Case:
    return Case(
        lambda lr: jaxlr.cyclic_lr(base * lr, peak * lr, *arguments, **more),
        lambda t, optimizer, lr: t.CyclicLR(optimizer, base * lr, peak * lr, *arguments, **more),
    )


def one_cycle(total_steps: int, **arguments: Any) -> Case:
    return Case(
        lambda lr: jaxlr.one_cycle_lr(lr, total_steps, **arguments),
        lambda t, optimizer, lr: t.OneCycleLR(optimizer, lr, total_steps, **arguments),
        min(total_steps, NUM_EPOCHS),
        peak=1.0,
    )


def shrinking(cycle_or_step: Any) -> Any:
    return 1 / (1 + cycle_or_step)


def phased(phases: list[jaxlr.Phase], factor: Callable[[int], float], repeat: int = 0) -> Case:
    """Phases, and the same curve as a Python function of the step for torch's LambdaLR."""
    return Case(
        lambda lr: jaxlr.phased_lr(lr, phases, repeat=repeat),
        lambda t, optimizer, lr: t.LambdaLR(optimizer, factor),
    )


# (total_steps, pct_start)
ONE_CYCLE_LENGTHS = [
    (200, 0.3),
    (10, 0.25),
    (3, 0.3),
    (150, 0.6),
    (150, 0.0),
    (1_000_000, 0.3),
    (999_999, 0.30000007),
]

CASES = {
    "lambda": leaf(jaxlr.lambda_lr, "LambdaLR", lr_lambda=lambda epoch: 1 / (1 + 0.01 * epoch)),
    "multiplicative": Case(
        lambda lr: jaxlr.multiplicative_lr(lr, lambda epoch: 1 - 1 / (epoch + 1), 500),
        lambda t, optimizer, lr: t.MultiplicativeLR(optimizer, lambda epoch: 1 - 1 / (epoch + 1)),
    ),
    "step": leaf(jaxlr.step_lr, "StepLR", step_size=30),
    "step, size 1": leaf(jaxlr.step_lr, "StepLR", step_size=1, gamma=0.97),
    "step, rising": leaf(jaxlr.step_lr, "StepLR", step_size=7, gamma=1.5),
    "step, off": leaf(jaxlr.step_lr, "StepLR", step_size=3, gamma=1.0),
    "step, to zero": leaf(jaxlr.step_lr, "StepLR", step_size=3, gamma=0.0),
    "step, long": leaf(jaxlr.step_lr, "StepLR", step_size=1000, gamma=0.99),
    "multi step": leaf(jaxlr.multi_step_lr, "MultiStepLR", milestones=[10, 30]),
    "multi step, repeated, zero, unsorted": leaf(
        jaxlr.multi_step_lr, "MultiStepLR", milestones=[5, 0, 2, 2], gamma=0.5
    ),
    "multi step, ten thousand": leaf(
        jaxlr.multi_step_lr, "MultiStepLR", milestones=list(range(0, 60_000, 6)), gamma=0.999
    ),
    "multi step, none": leaf(jaxlr.multi_step_lr, "MultiStepLR", milestones=[]),
    "constant": leaf(jaxlr.constant_lr, "ConstantLR", factor=0.3, total_iters=7),
    "constant, of no length": leaf(jaxlr.constant_lr, "ConstantLR", factor=0.3, total_iters=0),
    "linear": leaf(jaxlr.linear_lr, "LinearLR", start_factor=0.01, total_iters=50),
    "linear, to zero": leaf(jaxlr.linear_lr, "LinearLR", start_factor=1.0, end_factor=0.0, total_iters=70),
    "linear, from next to nothing": leaf(
        jaxlr.linear_lr, "LinearLR", start_factor=1e-8, end_factor=0.5, total_iters=10**6
    ),
    "linear, of no length": leaf(jaxlr.linear_lr, "LinearLR", total_iters=0),
    "exponential": leaf(jaxlr.exponential_lr, "ExponentialLR", gamma=0.95),
    "exponential, slow": leaf(jaxlr.exponential_lr, "ExponentialLR", gamma=0.99999),
    "exponential, slowest": leaf(jaxlr.exponential_lr, "ExponentialLR", gamma=1 - 1e-8),
    "exponential, range test": leaf(jaxlr.exponential_lr, "ExponentialLR", gamma=1.01),
    "polynomial": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=80),
    "polynomial, 0.9": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=10**6, power=0.9),
    "polynomial, square": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=150, power=2.0),
    "polynomial, high": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=10**6, power=10.0),
    "polynomial, uneven": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=10**6, power=2.7),
    "polynomial, high and uneven": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=10**6, power=20.3),
    "polynomial, of no length": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=0),
    "polynomial, flat": leaf(jaxlr.polynomial_lr, "PolynomialLR", total_iters=20, power=0.0),
    "cosine": leaf(jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=50),
    "cosine, long": leaf(jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=10**6),
    "cosine, longest": leaf(jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=2**30 + 7),
    "cosine, with a floor": leaf(jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=60, eta_min=0.001),
    "cosine, rising": leaf(
        jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=10**6, eta_min=1000.0
    )._replace(
        peak=1e4  # it rises towards 1000, and torch accumulates the rounding errors of many steps
    ),
    **{
        f"cosine, to {length} epochs": leaf(
            jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=length, eta_min=0.001
        )
        for length in (12.5, 31.7, 1562.25)
    },
    "cosine, of one epoch": leaf(jaxlr.cosine_annealing_lr, "CosineAnnealingLR", T_max=1, eta_min=0.01),
    **{
        f"warm restarts, {first} times {growth}": leaf(
            jaxlr.cosine_annealing_warm_restarts,
            "CosineAnnealingWarmRestarts",
            T_0=first,
            T_mult=growth,
            eta_min=floor,
        )
        for first, growth, floor in [(10, 1, 0.0), (1, 1, 0.0), (7, 2, 0.0), (2, 3, 0.001), (1, 2, 0.0)]
    },
    "cyclic": cyclic(0.01, 1.0, 7, 11),
    "cyclic, triangular2": cyclic(0.01, 1.0, 7, 11, "triangular2"),
    "cyclic, exp_range": cyclic(0.01, 1.0, 7, 11, "exp_range", 0.999),
    "cyclic, with peaks between steps": cyclic(0.01, 1.0, 12.5, None, "triangular2"),
    "cyclic, with cycles that end between steps": cyclic(0.01, 1.0, 7.3, 11.4, "exp_range", 0.99),
    "cyclic, a saw": cyclic(0.01, 1.0, 7, 0),
    "cyclic, upside down": cyclic(1.0, 1e-6, 700, 1100),
    "cyclic, rising peaks": cyclic(0.01, 1.0, 7, 11, "exp_range", 1.01),
    "cyclic, upside down and fading": cyclic(1.0, 1e-4, 1, 1, "exp_range", 0.99999),
    "cyclic, upside down and hardly fading": cyclic(1.0, 1e-4, 1, 1, "exp_range", 1 - 1e-9),
    "cyclic, scaled by cycle": cyclic(0.01, 1.0, 7, 11, scale_fn=shrinking),
    "cyclic, scaled by step": cyclic(0.01, 1.0, 7, 11, scale_fn=shrinking, scale_mode="iterations"),
    **{
        f"one cycle, {strategy}, {phases}, {total_steps} steps, {pct_start}": one_cycle(
            total_steps,
            pct_start=pct_start,
            anneal_strategy=strategy,
            three_phase=phases == "three phases",
        )
        for strategy in ("cos", "linear")
        for phases in ("two phases", "three phases")
        for total_steps, pct_start in ONE_CYCLE_LENGTHS
    },
    "one cycle, all rise": one_cycle(50, pct_start=1.0),
    "cyclic momentum": Case(
        lambda lr: jaxlr.cyclic_momentum(7 * lr, 9 * lr, 7, 11, mode="triangular2"),
        lambda t, optimizer, lr: t.CyclicLR(
            optimizer, 0.1, 1.0, 7, 11, mode="triangular2", base_momentum=7 * lr, max_momentum=9 * lr
        ),
        value="momentum",
    ),
    "one cycle momentum": Case(
        lambda lr: jaxlr.one_cycle_momentum(100, base_momentum=8.5 * lr, max_momentum=9.5 * lr),
        lambda t, optimizer, lr: t.OneCycleLR(
            optimizer, 0.1, 100, base_momentum=8.5 * lr, max_momentum=9.5 * lr
        ),
        num_epochs=100,
        value="momentum",
    ),
    "one cycle momentum, linear, three phases": Case(
        lambda lr: jaxlr.one_cycle_momentum(90, 0.2, "linear", True, 5 * lr, 9.9 * lr),
        lambda t, optimizer, lr: t.OneCycleLR(
            optimizer,
            0.1,
            90,
            pct_start=0.2,
            anneal_strategy="linear",
            three_phase=True,
            base_momentum=5 * lr,
            max_momentum=9.9 * lr,
        ),
        num_epochs=90,
        value="momentum",
    ),
    "swa, cos": leaf(jaxlr.swa_lr, "SWALR", swa_lr=0.01, anneal_epochs=20),
    "swa, linear": leaf(jaxlr.swa_lr, "SWALR", swa_lr=0.01, anneal_epochs=20, anneal_strategy="linear"),
    "swa, at once": leaf(jaxlr.swa_lr, "SWALR", swa_lr=0.01, anneal_epochs=0),
    "sequential": Case(
        lambda lr: jaxlr.sequential_lr(
            [
                jaxlr.linear_lr(lr, 0.01, 1.0, 10),
                jaxlr.cosine_annealing_lr(lr, 40),
                jaxlr.exponential_lr(lr, 0.5),
            ],
            milestones=[10, 50],
        ),
        lambda t, optimizer, lr: t.SequentialLR(
            optimizer,
            [
                t.LinearLR(optimizer, 0.01, 1.0, 10),
                t.CosineAnnealingLR(optimizer, 40),
                t.ExponentialLR(optimizer, 0.5),
            ],
            milestones=[10, 50],
        ),
    ),
    "sequential, without its warmup": Case(
        lambda lr: jaxlr.sequential_lr(
            [jaxlr.linear_lr(lr, total_iters=0), jaxlr.step_lr(lr, 20)], milestones=[0]
        ),
        lambda t, optimizer, lr: t.SequentialLR(
            optimizer,
            [t.LinearLR(optimizer, total_iters=0), t.StepLR(optimizer, 20)],
            milestones=[0],
        ),
    ),
    "sequential, one skipped": Case(
        lambda lr: jaxlr.sequential_lr(
            [jaxlr.constant_lr(lr, factor, 90) for factor in (0.1, 0.2, 0.3)], milestones=[3, 3]
        ),
        lambda t, optimizer, lr: t.SequentialLR(
            optimizer,
            [t.ConstantLR(optimizer, factor, 90) for factor in (0.1, 0.2, 0.3)],
            milestones=[3, 3],
        ),
    ),
    "chained": Case(
        lambda lr: jaxlr.chained_scheduler(
            lr, [jaxlr.constant_lr(1.0, 0.3, 7), jaxlr.exponential_lr(1.0, 0.9)]
        ),
        lambda t, optimizer, lr: t.ChainedScheduler(
            [t.ConstantLR(optimizer, 0.3, 7), t.ExponentialLR(optimizer, 0.9)]
        ),
    ),
    "per epoch": Case(
        lambda lr: jaxlr.per_epoch(jaxlr.step_lr(lr, 3, 0.5), steps_per_epoch=7),
        lambda t, optimizer, lr: t.LambdaLR(optimizer, lambda step: 0.5 ** (step // 7 // 3)),
    ),
    "per epoch, with a fraction and a first step": Case(
        lambda lr: jaxlr.per_epoch(jaxlr.step_lr(lr, 3, 0.5), steps_per_epoch=7 / 2, first_step=5),
        lambda t, optimizer, lr: t.LambdaLR(
            optimizer, lambda step: 0.5 ** ((2 * (step + 5) + 1) // 7 // 3)
        ),
    ),
    "starting later": Case(
        lambda lr: jaxlr.starting_at(jaxlr.linear_lr(lr, 0.1, total_iters=60), first=30),
        lambda t, optimizer, lr: t.LambdaLR(optimizer, lambda k: 0.1 + 0.9 * min(k + 30, 60) / 60),
    ),
    "tabulated": Case(
        lambda lr: jaxlr.chained_scheduler(
            lr, [jaxlr.tabulate(lambda epoch: 0.5 if epoch % 3 else 1.0, NUM_EPOCHS)]
        ),
        lambda t, optimizer, lr: t.LambdaLR(optimizer, lambda epoch: 0.5 if epoch % 3 else 1.0),
    ),
    "phases, warmup and cosine": phased(
        [
            jaxlr.Phase(10, "linear", start_factor=0.0, end_factor=1.0),
            jaxlr.Phase(150, "cosine", end_factor=0.1),
        ],
        lambda k: k / 10 if k < 10 else 0.1 + 0.45 * (1 + math.cos(math.pi * min((k - 10) / 150, 1))),
    ),
    "phases, warmup, hold and 1-sqrt": phased(
        [
            jaxlr.Phase(10, "linear", start_factor=0.0, end_factor=1.0, offset=1, span=10),
            jaxlr.Phase(100),
            jaxlr.Phase(80, "1-sqrt", end_factor=0.0),
        ],
        lambda k: (k + 1) / 10 if k < 10 else 1 - math.sqrt(min(max(k - 110, 0) / 80, 1)),
    ),
    "phases, warmup and inverse square root": phased(
        [
            jaxlr.Phase(40, "linear", start_factor=0.0, end_factor=1.0),
            jaxlr.Phase(shape="inverse_sqrt"),
        ],
        lambda k: min(k / 40, math.sqrt(40 / max(k, 1))),
    ),
    "phases, exponential and steps": phased(
        [
            jaxlr.Phase(50, "exponential", end_factor=1e-3),
            jaxlr.Phase(7, start_factor=0.5),
            jaxlr.Phase(start_factor=0.25),
        ],
        lambda k: 1e-3 ** (k / 50) if k < 50 else 0.5 if k < 57 else 0.25,
    ),
    "phases, repeated": phased(
        [
            jaxlr.Phase(13, "polynomial", start_factor=0.1, end_factor=1.0, power=2.0),
            jaxlr.Phase(30, "cosine", end_factor=0.01),
            jaxlr.Phase(5),
        ],
        lambda k: (
            1 - 0.9 * (1 - k / 13) ** 2
            if k < 13
            else 0.01 + 0.495 * (1 + math.cos(math.pi * min((k - 13) % 35, 30) / 30))
        ),
        repeat=2,
    ),
}


def torch_side(torch: types.ModuleType, case: Case, lr: float = 0.1) -> np.ndarray:
    """Return the learning rate (or the momentum) in torch at each epoch of a case."""
    t = types.SimpleNamespace(**vars(torch.optim.lr_scheduler), SWALR=torch.optim.swa_utils.SWALR)
    return torch_curve(
        torch, lambda optimizer: case.torch(t, optimizer, lr), case.num_epochs, lr, value=case.value
    )
