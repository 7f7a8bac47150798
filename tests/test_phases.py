"""phased_lr beside the frameworks whose schedules it writes, exact values, and torch's transformations.

`framework_curves.npz` holds the rates of these frameworks' own schedulers, update by update, in float64.
Some are evaluated from the rule in their source instead: nanoGPT, DINO, MAE, Noam, ultralytics and MMCV.
"""

import math
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from helpers import HOST_RTOL, assert_close, assert_is_torchs
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr
from jaxlr import Phase, chained_scheduler, per_epoch, phased_lr


untyped: Any = Phase  # to call with what a type checker would refuse
LARGEST_COUNT = 2**31 - 1
DEVICE_RTOL = 5e-7
FRAMEWORK_CURVES = Path(__file__).parent / "framework_curves.npz"


def warmup(steps: int, start: float = 0.0, **clock: float) -> Phase:
    return Phase(steps, "linear", start_factor=start, end_factor=1.0, **clock)


def deepspeed(shape: Any, steps: int, floor: float) -> list[Phase]:
    """Its first two updates run at the floor: the constructor sets it, and the first step does again."""
    return [Phase(1, start_value=floor), Phase(steps, shape, start_value=floor, end_factor=1.0)]


def timm_tanh() -> Any:
    curve = phased_lr(0.1, [Phase(10, "tanh", end_value=1e-5)])
    return phased_lr(
        0.1,
        [
            Phase(3, "linear", start_value=1e-4, end_value=curve(3)),
            Phase(7, "tanh", start_factor=1.0, end_value=1e-5, offset=3),
            Phase(start_value=1e-5),
        ],
    )


def ultralytics_biases() -> Any:
    """In each epoch of the warmup, the line from warmup_bias_lr to the rate of that epoch."""
    epochs = phased_lr(0.01, [Phase(5, "cosine", end_factor=0.01)])
    lines = [
        Phase(4, "linear", start_value=0.1, end_value=epochs(epoch), offset=4 * epoch, span=12)
        for epoch in range(3)
    ]
    return phased_lr(0.01, lines + [Phase(4, start_value=epochs(epoch)) for epoch in (3, 4)])


def katsura(lengths: list[int], warmup_steps: int, gamma: float) -> Any:
    return phased_lr(
        0.1,
        [
            phase
            for cycle, length in enumerate(lengths)
            for phase in (
                Phase(warmup_steps, "linear", start_value=0.001, end_factor=gamma**cycle),
                Phase(length - warmup_steps, "cosine", end_value=0.001),
            )
        ],
    )


# Settings of transformers, diffusers and torchtune: 5 warmup steps of 20, three cycles of restarts, 6 steps
# of decay to 0.1. Of timm: 10 epochs, 3 of warmup, warmup_lr 1e-4, min_lr 1e-5. Of DeepSpeed: 8 warmup
# steps, warmup_min_lr 1e-5 where there is a decay. Of detectron2: 30 iterations, 10 of warmup, factor 1e-3.
FRAMEWORKS = {
    "transformers linear": phased_lr(1e-3, [warmup(5), Phase(15, "linear", end_factor=0.0)]),
    "transformers cosine": phased_lr(1e-3, [warmup(5), Phase(shape="cosine", end_factor=0.0, span=15)]),
    "transformers cosine, one wave": phased_lr(
        1e-3,
        [
            warmup(5),
            Phase(8, "cosine", end_factor=0.0, span=7.5),
            Phase(7, "cosine", start_factor=0.0, end_factor=1.0, offset=0.5, span=7.5),
        ],
        repeat=2,
    ),
    "transformers cosine, a quarter of a wave": phased_lr(
        1e-3, [warmup(5), Phase(shape="cosine", end_factor=0.0, span=30)]
    ),
    "transformers cosine_with_restarts": phased_lr(
        1e-3, [warmup(5), *[Phase(5, "cosine", start_factor=1.0, end_factor=0.0)] * 3]
    ),
    "transformers polynomial, to lr_end": phased_lr(
        1e-3, [warmup(5), Phase(15, "polynomial", end_value=1e-7, power=1.0)]
    ),
    "transformers polynomial, power 0.5": phased_lr(
        1e-3, [warmup(5), Phase(15, "polynomial", end_value=0.0, power=0.5)]
    ),
    "transformers inverse_sqrt": phased_lr(1e-3, [warmup(5), Phase(shape="inverse_sqrt")]),
    "transformers inverse_sqrt, timescale 8": phased_lr(
        1e-3, [warmup(5), Phase(shape="inverse_sqrt", span=8)]
    ),
    "transformers cosine_with_min_lr": phased_lr(
        1e-3, [warmup(5), Phase(shape="cosine", end_value=1e-4, span=15)]
    ),
    "transformers cosine_warmup_with_min_lr": phased_lr(
        1e-3,
        [
            warmup(5, offset=1, span=5),
            Phase(14, "cosine", end_value=1e-4, offset=1, start_factor=1.0),
            Phase(shape="cosine", end_factor=1.0, span=15),
        ],
    ),
    "transformers cosine_warmup_with_min_lr, warmup_lr_rate": phased_lr(
        1e-3,
        [
            warmup(5, 0.05, span=4),
            Phase(14, "cosine", end_factor=0.1, offset=1),
            Phase(shape="cosine", end_factor=1.0, span=15),
        ],
    ),
    "transformers warmup_stable_decay, linear and cosine": phased_lr(
        1e-3, [warmup(5, 0.1), Phase(9), Phase(6, "cosine", end_factor=0.1)]
    ),
    "transformers warmup_stable_decay, cosine and 1-sqrt": phased_lr(
        1e-3,
        [
            Phase(5, "cosine", start_factor=0.1, end_factor=1.0),
            Phase(9),
            Phase(6, "1-sqrt", end_factor=0.1),
        ],
    ),
    "transformers warmup_stable_decay, 1-sqrt and 1-sqrt": phased_lr(
        1e-3,
        [
            Phase(5, "polynomial", start_factor=0.1, end_factor=1.0, power=0.5),
            Phase(9),
            Phase(6, "1-sqrt", end_factor=0.1),
        ],
    ),
    "torchtune cosine": phased_lr(3e-4, [warmup(5), Phase(shape="cosine", end_factor=0.0, span=15)]),
    "diffusers piecewise_constant": phased_lr(
        1e-3, [Phase(10), Phase(10, start_factor=0.1), Phase(start_factor=0.01)]
    ),
    "timm cosine": phased_lr(
        0.1,
        [
            Phase(3, "linear", start_value=1e-4, end_factor=1.0),
            Phase(7, "cosine", end_value=1e-5, offset=3),
        ],
    ),
    "timm cosine, by updates": phased_lr(
        0.1,
        [
            Phase(12, "linear", start_value=1e-4, end_factor=1.0),
            Phase(28, "cosine", end_value=1e-5, offset=12),
        ],
    ),
    "timm cosine, three cycles": phased_lr(
        0.1, [Phase(4, "cosine", start_factor=0.5**cycle, end_value=0.001) for cycle in range(3)]
    ),
    "timm tanh": timm_tanh(),
    "timm multistep": phased_lr(0.1, [Phase(3), Phase(4, start_factor=0.1), Phase(start_factor=0.01)]),
    "timm poly": phased_lr(
        0.1,
        [
            Phase(3, "linear", start_value=1e-4, end_factor=1.0),
            Phase(7, "polynomial", end_value=1e-5, offset=3, power=0.9),
        ],
    ),
    "DeepSpeed WarmupLR, log": phased_lr(1e-3, deepspeed("log", 7, 0.0)),
    "DeepSpeed WarmupDecayLR, log": phased_lr(
        1e-3, [*deepspeed("log", 7, 1e-5), Phase(1), Phase(12, "linear", end_value=1e-5)]
    ),
    "DeepSpeed WarmupDecayLR, linear": phased_lr(
        1e-3, [*deepspeed("linear", 8, 1e-5), Phase(12, "linear", end_value=1e-5)]
    ),
    "DeepSpeed OneCycle": phased_lr(
        1e-4,
        [
            Phase(5, "linear", end_value=1e-3),
            Phase(7, "linear", end_factor=1.0),
            Phase(shape="inverse_power", power=1.0, span=3 / 0.5),
        ],
    ),
    "DeepSpeed LRRangeTest": phased_lr(1e-4, [Phase(1000, "linear", end_factor=1 + 1000 / 4)]),
    "MMEngine LinearLR and MultiStepLR": phased_lr(
        0.1, [warmup(5, 0.001, span=4), Phase(7), Phase(8, start_factor=0.1), Phase(4, start_factor=0.01)]
    ),
    "MMEngine LinearLR and CosineAnnealingLR": jaxlr.sequential_lr(
        [
            phased_lr(0.1, [warmup(8, 0.001, span=7)]),
            per_epoch(phased_lr(0.1, [Phase(4, "cosine", end_value=1e-5)]), 4),
        ],
        [8],
    ),
    "detectron2 WarmupMultiStepLR": phased_lr(
        0.02, [warmup(10, 0.001), Phase(5), Phase(10, start_factor=0.1), Phase(start_factor=0.01)]
    ),
    "detectron2 WarmupCosineLR": phased_lr(
        0.02,
        [
            Phase(10, "linear", start_factor=0.001, end_factor=(1 + math.cos(math.pi / 3)) / 2),
            Phase(20, "cosine", start_factor=1.0, end_factor=0.0, offset=10),
        ],
    ),
    "detectron2 WarmupCosineLR, rescaled": phased_lr(
        0.02, [warmup(10, 0.001), Phase(20, "cosine", end_value=0.001)]
    ),
    "detectron2 WarmupMultiStepLR, deprecated": chained_scheduler(
        0.02, [phased_lr(1.0, [warmup(10, 0.001)]), jaxlr.multi_step_lr(1.0, [15, 25])]
    ),
    "detectron2 WarmupCosineLR, deprecated": chained_scheduler(
        0.02,
        [phased_lr(1.0, [warmup(10, 0.001)]), phased_lr(1.0, [Phase(30, "cosine", end_factor=0.0)])],
    ),
    "nanoGPT": phased_lr(6e-4, [warmup(5, offset=1), Phase(15, "cosine", end_value=6e-5)]),
    "nanoGPT before 2024": phased_lr(6e-4, [warmup(5), Phase(15, "cosine", end_value=6e-5)]),
    "open_clip cosine_lr": phased_lr(
        1e-3, [warmup(5, offset=1, span=5), Phase(15, "cosine", end_factor=0.0)]
    ),
    "DINO cosine_scheduler": phased_lr(5e-4, [warmup(8, span=7), Phase(12, "cosine", end_value=1e-6)]),
    "MAE adjust_learning_rate": phased_lr(1e-3, [warmup(8), Phase(12, "cosine", end_value=1e-6)]),
    "ultralytics 8.4 cos_lr": chained_scheduler(
        0.01,
        [
            phased_lr(1.0, [warmup(12)]),
            per_epoch(phased_lr(1.0, [Phase(5, "cosine", end_factor=0.01)]), 4),
        ],
    ),
    "ultralytics 8.4 cos_lr, biases": ultralytics_biases(),
    "pl_bolts LinearWarmupCosineAnnealingLR": phased_lr(
        1e-3,
        [
            Phase(5, "linear", start_value=1e-5, end_factor=1.0, span=4),
            Phase(shape="cosine", end_value=1e-6, span=15),
        ],
    ),
    "MMCV step, exp warmup": chained_scheduler(
        0.02,
        [
            phased_lr(1.0, [Phase(5, "exponential", start_factor=0.1, end_factor=1.0)]),
            phased_lr(1.0, [Phase(8), Phase(8, start_factor=0.5), Phase(start_factor=0.25)]),
        ],
    ),
    "MMCV CosineAnnealing": chained_scheduler(
        0.02, [phased_lr(1.0, [warmup(6, 0.1)]), phased_lr(1.0, [Phase(24, "cosine", end_factor=0.001)])]
    ),
    "MMCV poly": phased_lr(0.01, [Phase(24, "polynomial", end_value=1e-4, power=0.9)]),
    "Noam": phased_lr(
        (512 * 8) ** -0.5,
        [Phase(1, start_factor=1 / 8), warmup(7, offset=1), Phase(shape="inverse_sqrt")],
    ),
    "CosineAnnealingWarmupRestarts": katsura([10, 10, 10], 3, 0.5),
    "CosineAnnealingWarmupRestarts, growing": katsura([8, 11, 15], 2, 1.0),
    "GradualWarmupScheduler": phased_lr(
        0.1, [warmup(5), Phase(1), Phase(15, "cosine", end_factor=0.0)]
    ),
}


@pytest.fixture(scope="module")
def framework_curves():
    with np.load(FRAMEWORK_CURVES) as curves:
        return dict(curves)


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_phases_give_the_curve_of_the_framework(framework_curves, name):
    expected = framework_curves[name]
    counts = np.arange(len(expected))
    assert_is_torchs(FRAMEWORKS[name](counts), expected, HOST_RTOL)
    assert_is_torchs(jax.jit(FRAMEWORKS[name])(jnp.asarray(counts)), expected, 1e-6)


def test_every_recorded_curve_is_tested(framework_curves):
    assert {*framework_curves} == {*FRAMEWORKS}
