"""phased_lr: the curves of other frameworks, exact values, and the transformations of JAX.

`framework_curves.npz` holds the rates of these frameworks' own schedulers, update by update, in float64.
Some are evaluated from the rule in their source instead: nanoGPT, DINO, MAE, Noam, ultralytics and MMCV.
"""

import dataclasses
import math
from pathlib import Path
from typing import Any

import chex
import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from helpers import HOST_RTOL, assert_close, assert_is_torchs, fast_jit
from hypothesis import example, given, settings
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
    """Build a warmup whose first two updates run at `floor`: DeepSpeed sets it twice."""
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
    """Build the warmup of biases: in each epoch, the line from warmup_bias_lr to the rate of the epoch."""
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


# Settings:
# - transformers, diffusers, torchtune: 5 warmup steps of 20, 3 cycles of restarts, 6 steps of decay to 0.1.
# - timm: 10 epochs, 3 of warmup, warmup_lr 1e-4, min_lr 1e-5.
# - DeepSpeed: 8 warmup steps, and warmup_min_lr 1e-5 if there is a decay.
# - detectron2: 30 iterations, 10 of warmup, factor 1e-3.
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
    "GradualWarmupScheduler": phased_lr(0.1, [warmup(5), Phase(1), Phase(15, "cosine", end_factor=0.0)]),
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


LEFT = {
    "linear": lambda p, q, span: 1 - p,
    "cosine": lambda p, q, span: (1 + mpmath.cos(mpmath.pi * p)) / 2,
    "polynomial": lambda p, q, span: (1 - p) ** mpmath.mpf(q),
    "power": lambda p, q, span: 1 - p ** mpmath.mpf(q),
    "1-sqrt": lambda p, q, span: 1 - mpmath.sqrt(p),
    "inverse_sqrt": lambda p, q, span: 1 / mpmath.sqrt(1 + p),
    "inverse_power": lambda p, q, span: (1 + p) ** -mpmath.mpf(q),
    "log": lambda p, q, span: 1 - mpmath.log(1 + p * span) / mpmath.log(1 + mpmath.mpf(span)),
    "shifted_exponential": lambda p, q, span: 2 ** (1 - p) - 1,
    "tanh": lambda p, q, span: (1 - mpmath.tanh(10 * p - 7)) / 2,
    "rex": lambda p, q, span: (1 - p) / (1 - p + p / 10),
}


def exact(
    shape: str, power: Any, start: float, end: float, offset: float, span: float, since: int
) -> float:
    """Compute the value of a phase by the equation in its docstring, to eighty digits."""
    with mpmath.workdps(80):
        p = (mpmath.mpf(offset) + since) / mpmath.mpf(span)
        start, end = mpmath.mpf(start), mpmath.mpf(end)
        if shape == "exponential":
            return float(start ** (1 - p) * end**p)
        return float(end + (start - end) * LEFT[shape](p, power, span))


def both_ends(steps: int) -> list[int]:
    """Return a few steps at the start of a phase, a few at its end, and some between."""
    near = np.unique(np.geomspace(1, steps - 1, 20).astype(int))
    return sorted({0, 1, 2, 3, *near.tolist(), *(steps - near).tolist(), steps - 3, steps - 2})


SHAPES = [
    *[(shape, None) for shape in ("linear", "cosine", "1-sqrt", "exponential", "inverse_sqrt")],
    *[(shape, None) for shape in ("log", "shifted_exponential", "tanh", "rex")],
    *[("polynomial", power) for power in (0.5, 0.9, 2.0, 10.0)],
    *[("power", power) for power in (0.3, 2.0, 10.0)],
    *[("inverse_power", power) for power in (0.51, 2.5)],
]
HALF, LONG = 500_000, 2**31
LEAST = 1e-30  # a smaller power may be out of the range of float32


@pytest.mark.parametrize(("shape", "power"), SHAPES)
def test_every_shape_is_exact_at_both_ends_and_between(shape, power):
    low = 1e-6 if shape == "exponential" else 0.0
    settings: Any = [
        (HALF, {"start_factor": 1.0, "end_factor": low, "offset": 0, "span": HALF}),
        (HALF, {"start_factor": low, "end_factor": 0.3, "offset": 1234, "span": HALF + 1234}),
        (LONG, {"start_factor": 0.3, "end_factor": 0.1, "offset": 0.25, "span": LONG + 0.25}),
    ]
    schedule: Any = phased_lr(1.0, [Phase(length, shape, power=power, **more) for length, more in settings])
    compiled = jax.jit(schedule)
    begin = 0
    for length, more in settings:
        steps = [step for step in both_ends(length) if begin + step <= LARGEST_COUNT]
        rates = np.asarray([exact(shape, power, *more.values(), since=step) for step in steps])
        counts = np.asarray(steps) + begin
        assert_close(schedule(counts), rates, HOST_RTOL)
        assert_close([schedule(count) for count in counts.tolist()], schedule(counts), 1e-15)
        kept = rates > LEAST
        assert_close(compiled(jnp.asarray(counts[kept])), rates[kept], DEVICE_RTOL)
        begin += length
    far = np.random.default_rng(0).integers(10**6, LARGEST_COUNT, 20_000)
    counts = np.concatenate([np.arange(0, 10**6, 9), np.sort(far), [LARGEST_COUNT]])
    expected: Any = schedule(counts)
    kept = (expected == 0) | (expected > LEAST)
    assert_close(np.asarray(compiled(jnp.asarray(counts)))[kept], expected[kept], DEVICE_RTOL)


def test_a_phase_that_ends_at_0_reaches_exactly_0_and_stays_there():
    for shape in ("linear", "cosine", "1-sqrt", "log", "shifted_exponential", "rex"):
        to_zero: Any = phased_lr(0.1, [untyped(77_777, shape, end_factor=0)])
        for count in (77_777, 77_778, LARGEST_COUNT):
            assert to_zero(count) == to_zero(jnp.int32(count)) == 0
        assert to_zero(77_776) > 0
        assert to_zero(jnp.int32(77_776)) > 0


@pytest.mark.parametrize("span", [7, 10**6 + 3, 2**31 + 5])
def test_a_cosine_without_a_length_bounces_for_ever_as_in_torch(span):
    counts = np.concatenate([np.arange(100), np.random.default_rng(0).integers(0, LARGEST_COUNT, 10_000)])
    schedule = phased_lr(0.1, [Phase(shape="cosine", end_value=0.01, span=span)])
    expected = jaxlr.cosine_annealing_lr(0.1, span, eta_min=0.01)(counts)
    assert_close(schedule(counts), expected, HOST_RTOL)
    assert_close(jax.jit(schedule)(jnp.asarray(counts)), expected, DEVICE_RTOL)


def test_repeated_cosines_match_the_warm_restarts_of_torch_to_the_last_count():
    counts = np.concatenate([np.arange(1000), np.random.default_rng(0).integers(0, LARGEST_COUNT, 10_000)])
    phases = [warmup(50), Phase(70, "cosine", end_factor=0.0)]
    schedule: Any = phased_lr(0.1, phases, repeat=1)
    restarts = jaxlr.cosine_annealing_warm_restarts(0.1, 70)
    expected = np.where(counts < 50, 0.1 * counts / 50, restarts(np.maximum(counts - 50, 0)))
    assert_close(schedule(counts), expected, HOST_RTOL)
    assert_close([schedule(count) for count in counts.tolist()], expected, HOST_RTOL)
    assert_close(jax.jit(schedule)(jnp.asarray(counts)), expected, DEVICE_RTOL)


def test_repeated_lines_match_the_triangles_of_cyclic_lr():
    phases = [
        Phase(7, "linear", start_factor=0.1, end_factor=1.0),
        Phase(11, "linear", end_factor=0.1),
    ]
    counts = np.arange(500)
    expected = jaxlr.cyclic_lr(0.01, 0.1, 7, 11)(counts)
    assert_close(phased_lr(0.1, phases, repeat=2)(counts), expected, HOST_RTOL)


factors = st.floats(0.0, 1.0).map(lambda x: x if x > 1e-3 else 0.0)
constant_phases = st.builds(Phase, st.integers(0, 20), start_factor=factors)
moving_phases = st.builds(
    lambda shape_and_power, length, start, end, offset, span: Phase(
        length,
        shape_and_power[0],
        start_factor=start + 0.001,
        end_factor=end + (0.001 if shape_and_power[0] == "exponential" else 0.0),
        power=shape_and_power[1],
        offset=offset,
        span=offset + length + span,
    ),
    st.sampled_from([(shape, power) for shape, power in SHAPES if power != 10.0]),
    *(st.integers(0, 20), factors, factors, st.integers(0, 30), st.integers(1, 30)),
)


@given(phases=st.lists(st.one_of(constant_phases, moving_phases), min_size=1, max_size=6))
@settings(deadline=None, max_examples=60)
def test_each_phase_begins_when_the_one_before_it_ends(phases):
    schedule: Any = phased_lr(0.1, phases)
    alone: list[Any] = [phased_lr(0.1, [phase]) for phase in phases]
    expected = [
        rate(step) for rate, phase in zip(alone, phases, strict=True) for step in range(phase.length or 0)
    ]
    after = [alone[-1](phases[-1].length)] * 5
    counts = np.arange(len(expected) + 5)
    assert_close([schedule(count) for count in counts.tolist()], expected + after, HOST_RTOL)
    assert_close(schedule(counts), expected + after, HOST_RTOL)


@given(first=moving_phases, length=st.integers(1, 10))
@example(first=Phase(0, "inverse_power", start_factor=0.001, end_factor=0.0, power=0.5, span=1), length=1)
@example(first=Phase(0, "inverse_sqrt", start_factor=1.0, end_factor=0.5, offset=3, span=1), length=1)
@settings(deadline=None, max_examples=30)
def test_a_phase_without_a_start_begins_where_the_one_before_it_ended(first, length):
    if first.length or first.shape.startswith("inverse"):
        # An inverse shape has no end to jump to: without a step it stays at its start.
        ended = phased_lr(0.1, [dataclasses.replace(first, length=first.length + 1)])(first.length)
    else:
        ended = 0.1 * first.end_factor
    joined: Any = phased_lr(0.1, [first, Phase(length), Phase(10, "linear", end_factor=0.5)])
    assert_close(joined(first.length), ended, HOST_RTOL)
    assert_close(joined(first.length + length), ended, HOST_RTOL)
    assert_close(joined(first.length + length + 5), (ended + 0.05) / 2, HOST_RTOL)


def test_a_device_and_the_host_choose_the_same_phase():
    generator = np.random.default_rng(0)
    lengths = generator.integers(0, 9, 12).tolist()
    phases = [
        phase
        for length in lengths
        for phase in (
            Phase(length, start_factor=generator.uniform()),
            Phase(length, "linear", end_factor=1.0),
        )
    ]
    counts = np.arange(2 * sum(lengths) + 10)
    for repeat in (0, 5, len(phases)):
        schedule: Any = phased_lr(0.1, phases, repeat=repeat)
        assert_close(jax.jit(schedule)(jnp.asarray(counts)), schedule(counts), DEVICE_RTOL)
        assert_close([schedule(count) for count in counts.tolist()], schedule(counts), HOST_RTOL)


def test_phases_of_length_0_are_left_out():
    phases = [warmup(0), Phase(10, "linear", end_factor=0.0), Phase(0, start_factor=0.5)]
    schedule = phased_lr(1.0, phases)
    assert [schedule(count) for count in (0, 5, 9, 10, 99)] == [1.0, 0.5, 0.1, 0.5, 0.5]
    assert phased_lr(1.0, [Phase(0, "cosine", end_factor=0.25)])(3) == 0.25
    assert phased_lr(1.0, [Phase(5), Phase(0, "inverse_sqrt"), Phase(5)])(7) == 1.0


TRACED = {
    "init_value": lambda x: phased_lr(x, [warmup(10), Phase(5), Phase(20, "1-sqrt", end_factor=0.1)]),
    "start_factor": lambda x: phased_lr(0.1, [warmup(10, x), Phase(20, "cosine", end_value=x)]),
    "the end of one phase, the start of the next": lambda x: phased_lr(
        0.1, [Phase(10, "linear", end_factor=x, span=20), Phase(10), Phase(10, "cosine", end_factor=0.0)]
    ),
    "end_value": lambda x: phased_lr(0.1, [Phase(30, "polynomial", end_value=x, power=2.0)]),
    "the ends of an exponential": lambda x: phased_lr(
        0.1, [Phase(20, "exponential", start_factor=x, end_value=x * x), Phase(20, "tanh", end_factor=0.0)]
    ),
    "a part of an exponential": lambda x: phased_lr(
        0.1, [Phase(20, "exponential", end_factor=x, span=30), Phase(20)]
    ),
    "repeated": lambda x: phased_lr(x, [warmup(3), Phase(7, "linear", end_value=x / 2)], repeat=1),
}


@pytest.mark.parametrize("name", TRACED)
def test_values_may_be_traced_and_differentiated(name):
    values = np.linspace(0.05, 0.95, 50, dtype=np.float32)
    counts = np.arange(45)
    each = np.stack([TRACED[name](float(value))(counts) for value in values])
    curve = lambda value: TRACED[name](value)(jnp.asarray(counts))  # noqa: E731
    assert_close(fast_jit(jax.vmap(curve))(values), each, 1e-6)
    derivatives = fast_jit(jax.jacfwd(curve))(0.5)
    around = [np.asarray(TRACED[name](0.5 + step)(counts)) for step in (-1e-6, 1e-6)]
    slopes = (around[1] - around[0]) / 2e-6
    np.testing.assert_allclose(derivatives, slopes, rtol=1e-4, atol=1e-6)


def test_a_rate_may_be_differentiated_backwards():
    def rate(init_value, end_factor):
        phases = [Phase(20, "exponential", end_factor=end_factor), Phase(5, "linear", end_factor=0.0)]
        return phased_lr(init_value, phases)(jnp.int32(5))

    by_init_value, by_end_factor = fast_jit(jax.grad(rate, argnums=(0, 1)))(0.1, 0.5)
    assert_close(by_init_value, 0.5**0.25, 1e-6)
    assert_close(by_end_factor, 0.1 * 0.25 * 0.5**-0.75, 1e-6)


def test_values_may_be_traced_while_counts_are_on_the_host():
    counts = np.arange(45)
    rate = TRACED["init_value"]
    assert_close(jax.jit(lambda value: rate(value)(counts))(0.5), rate(0.5)(counts), 1e-6)
    assert_close(jax.jit(lambda value: rate(value)(20))(0.5), rate(0.5)(20), 1e-6)


def test_the_value_of_a_phase_longer_than_int32_may_be_traced():
    def rate(x):
        return phased_lr(x, [Phase(2**40, "linear", end_factor=0.5)])(3)

    assert_close(jax.jit(rate)(0.1), 0.1, DEVICE_RTOL)


def test_a_traced_exponential_that_begins_at_zero_is_nan():
    rate = jax.jit(lambda x: phased_lr(0.1, [Phase(9, "exponential", start_factor=x, end_factor=1.0)])(3))
    assert np.isnan(rate(0.0))
    assert_close(rate(0.1), 0.1 * 0.1 ** (2 / 3), DEVICE_RTOL)


ONE_OF_EACH = [
    warmup(10),
    *[Phase(20, shape, start_factor=1.0, end_factor=0.1, power=power) for shape, power in SHAPES if power]
    + [Phase(20, shape, start_factor=1.0, end_factor=0.1) for shape, power in SHAPES if not power],
]


def test_phases_work_under_strict_dtype_promotion():
    with jax.numpy_dtype_promotion("strict"):
        jax.eval_shape(phased_lr(0.1, ONE_OF_EACH, repeat=3), jnp.arange(5))
        jax.eval_shape(lambda lr: phased_lr(lr, ONE_OF_EACH, repeat=3)(jnp.arange(5)), 0.1)


def test_float64_on_the_device_matches_the_host(x64):
    schedule = phased_lr(0.1, ONE_OF_EACH, repeat=3)
    counts = np.concatenate([np.arange(1000), np.random.default_rng(0).integers(0, 2**40, 1000)])
    assert_close(jax.jit(schedule)(jnp.asarray(counts)), schedule(counts), HOST_RTOL)
    traced = jax.jit(lambda lr: phased_lr(lr, ONE_OF_EACH, repeat=3)(jnp.asarray(counts)))(0.1)
    assert_close(traced, schedule(counts), HOST_RTOL)


def test_another_count_compiles_nothing():
    chex.clear_trace_counter()
    schedule = phased_lr(0.1, ONE_OF_EACH)
    compiled = jax.jit(chex.assert_max_traces(lambda count: schedule(count), n=1))
    for count in (0, 1, 100, LARGEST_COUNT):
        compiled(count)


def test_phases_without_absolute_values_can_be_chained():
    product = chained_scheduler(0.5, [phased_lr(1.0, [warmup(4)]), jaxlr.exponential_lr(1.0, 0.5)])
    assert [product(count) for count in range(4)] == [0.0, 0.0625, 0.0625, 0.046875]
    absolute = phased_lr(1.0, [Phase(4, "linear", start_value=0.0, end_factor=1.0)])
    with pytest.raises(ValueError, match="the chain is not a product"):
        chained_scheduler(0.5, [absolute])


BAD_ARGUMENTS = [
    (lambda: untyped(10, "sine"), ValueError, "shape must be one of 'constant', 'linear'.*, got 'sine'"),
    (lambda: untyped(-1), ValueError, "length must be at least 0, got -1"),
    (lambda: untyped(2.5), ValueError, "length must be a whole number known at compile time, got 2.5"),
    (lambda: untyped("10"), TypeError, "length must be a whole number"),
    (lambda: untyped(jnp.int32(3)), TypeError, "length must be a whole number known at compile time"),
    (lambda: untyped(10, "linear"), ValueError, "a phase of shape 'linear' needs an end: give end_factor"),
    (lambda: untyped(10, end_factor=0.1), ValueError, "a constant phase has no end_factor or end_value"),
    (
        lambda: untyped(10, start_factor=-0.1),
        ValueError,
        "start_factor must be a finite number of at least",
    ),
    (lambda: untyped(10, start_factor="1"), TypeError, "start_factor must be a real number"),
    (
        lambda: untyped(10, start_factor=0.1, start_value=0.1),
        ValueError,
        "give start_factor or start_value, not both",
    ),
    (
        lambda: untyped(10, "cosine", end_factor=0.1, end_value=0.1),
        ValueError,
        "give end_factor or end_value, not both",
    ),
    (lambda: untyped(10, "exponential", end_factor=0), ValueError, "end_factor must be .* above 0, got 0"),
    (lambda: untyped(10, "polynomial", end_factor=0), ValueError, "'polynomial' needs a power, such as"),
    (lambda: untyped(10, "cosine", end_factor=0, power=2), ValueError, "power is for the shapes 'polynom"),
    (lambda: untyped(10, "power", end_factor=0, power=0), ValueError, "power must be .* above 0, got 0"),
    (
        lambda: untyped(10, "power", end_factor=0, power=jnp.float32(2)),
        TypeError,
        "power must be a number known at compile time",
    ),
    (lambda: untyped(10, "linear", end_factor=0, offset=-1), ValueError, "offset must be a finite number"),
    (lambda: untyped(10, "linear", end_factor=0, span=0), ValueError, "span must be .* above 0, got 0"),
    (
        lambda: untyped(10, "linear", end_factor=0, offset=9, span=8),
        ValueError,
        "offset must be at most span",
    ),
    (lambda: untyped(10, span=8), ValueError, "a constant phase has no span: give its number of steps as"),
    (
        lambda: untyped(None, "linear", end_factor=0),
        ValueError,
        "needs a length, or a span if it never ends",
    ),
    (
        lambda: untyped(None, "cosine", end_factor=0, span=7.5),
        ValueError,
        "a cosine that rises again after its span needs a whole span and no offset, got span=7.5, offset=0",
    ),
    (lambda: phased_lr(-0.1, [Phase()]), ValueError, "init_value must be a finite number of at least 0"),
    (lambda: phased_lr(0.1, []), ValueError, "phases must hold at least one jaxlr.Phase, got none"),
    (lambda: phased_lr(0.1, untyped(10)), TypeError, r"phases must be a list of jaxlr.Phase, got Phase\("),
    (lambda: phased_lr(0.1, [untyped(10), 5]), TypeError, r"phases\[1\] must be a jaxlr.Phase, got 5"),  # pyright: ignore[reportArgumentType]
    (lambda: phased_lr(0.1, [Phase(), Phase()]), ValueError, r"phases\[0\] needs a length: only the last"),
    (
        lambda: phased_lr(0.1, [Phase(2**61), Phase(2)]),
        ValueError,
        "lengths of phases must add up to at most",
    ),
    (
        lambda: phased_lr(0.1, [Phase(shape="inverse_sqrt")]),
        ValueError,
        r"phases\[0\] needs a span: by default",
    ),
    (
        lambda: phased_lr(0.1, [Phase(3, start_factor=0), Phase(9, "exponential", end_factor=1)]),
        ValueError,
        r"phases\[1\] must start above 0 to be exponential, got 0: give it a start_factor",
    ),
    (
        lambda: phased_lr(0.1, [Phase(3)], repeat=2),
        ValueError,
        "repeat must be from 0 to",
    ),
    (lambda: phased_lr(0.1, [Phase()], repeat=1), ValueError, r"phases\[0\] needs a length to be repeated"),
    (lambda: phased_lr(0.1, [Phase(3), Phase(0)], repeat=1), ValueError, "a length of at least 1 together"),
    (lambda: phased_lr(0.1, [Phase(3)])(1.5), TypeError, "count must be an integer"),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused_in_one_line(call, kind, message):
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value)
