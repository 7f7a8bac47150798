"""Texts that `from_string` refuses, at once and in one line. Texts that it reads are in test_spellings."""

import argparse
import inspect
import sys
import time
from typing import Any

import numpy as np
import optax
import pytest
from helpers import assert_close, torch_plateau_curve
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.text import steps_per_batch


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("ReduceLROnPlateau(patience=5)", {"patience": 5}),
        ("ReduceLROnPlateau(optimizer, 'max', 0.5, 2)", {"mode": "max", "factor": 0.5, "patience": 2}),
        (
            "torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode='min', factor=0.2, patience=1,"
            " threshold=0.01, threshold_mode='abs', cooldown=1, min_lr=1e-3, eps=1e-8, verbose=True)",
            {"factor": 0.2, "patience": 1, "threshold": 0.01, "threshold_mode": "abs"}
            | {"cooldown": 1, "min_lr": 1e-3},
        ),
        (
            "ReduceLROnPlateau(optimizer, 'min', 0.1, 3, 1e-4, 'rel', 2, 0, 1e-8, True)",
            {"patience": 3, "cooldown": 2},
        ),
    ],
)
def test_plateau_text_gives_the_transformation(torch, text, options):
    metrics = np.asarray([1.0, 0.9, 0.95, 0.9, 0.9, 0.91] * 4, dtype=np.float32)
    tx = jaxlr.from_string(text, 0.1)
    assert isinstance(tx, optax.GradientTransformationExtraArgs)
    state = tx.init({})
    lrs = []
    for metric in metrics:
        state = jaxlr.plateau_step(state, metric)
        lrs.append(jaxlr.plateau_lr(state))
    assert_close(lrs, torch_plateau_curve(torch, metrics, **options), 1e-6)


REFUSED = [
    ("StpLR(30)", "unknown scheduler 'StpLR': did you mean StepLR?"),
    ("ReduceOnPlateau(patience=5)", "did you mean ReduceLROnPlateau?"),
    ("print('x')", "unknown scheduler 'print': the known ones are those of torch"),
    ("StepLR", "'StepLR' is not the call of a scheduler: write one such as 'StepLR"),
    ("f" + "()" * 500, "the scheduler's text is nested too deeply to be read"),
    ("ExponentialLR(1" + "0" * 400 + ")", "gamma must be a finite number of at least 0, got inf"),
    ("ReduceLROnPlateau(eps=1" + "0" * 400 + ")", "eps must be a finite number of at least 0, got inf"),
    ("", "cannot read the scheduler ''"),
    ("StepLR(30", "cannot read the scheduler 'StepLR(30' ('(' was never closed)"),
    ("import os", "cannot read the scheduler 'import os'"),
    ("StepLR()", "StepLR needs step_size, as in 'StepLR(step_size=...)'"),
    ("StepLR(epochs)", "StepLR needs step_size, as in 'StepLR(step_size=...)'; 'epochs' was read as the"),
    (
        "s = CyclicLR(o, 0.1, 0.3)\nExponentialLR(o, 0.9)",
        "a CyclicLR and a ExponentialLR for one optimizer",
    ),
    ("LambdaLR(o, [lambda e: k * e for k in [1, 2]])", "write lambda e, k=k: ..."),
    ("StepLR(o, round(12.5, 65))", "cannot calculate 'round(12.5, 65)': round takes at most 64 digits"),
    ("StepLR(step=3)", "StepLR has no argument 'step'; it takes step_size, gamma"),
    ("StepLR(opt, 3, 0.1, -1, True, 5)", "StepLR takes at most 4 arguments after the optimizer"),
    ("StepLR(3, step_size=4)", "StepLR is given its argument 'step_size' twice"),
    ("StepLR(3, last_epoch=7)", "last_epoch must be -1, which starts StepLR afresh, got 7"),
    ("StepLR(**kwargs)", "StepLR is given **kwargs: write the arguments out"),
    ("StepLR(*args)", "cannot read '*args'"),
    ("StepLR(step_size=args.step)", "needs values for its names: give names={'args.step': ...}"),
    ("StepLR(step_size=__import__('os'))", "__import__"),
    ("StepLR(3 / 0)", "cannot calculate '3 / 0': division by zero"),
    ("StepLR('x' * 9)", "cannot calculate"),
    ("ExponentialLR(9**9**9)", "gamma must be a finite number of at least 0, got inf"),
    ("ExponentialLR((-8)**0.5)", "cannot calculate '(-8) ** 0.5': the result is not a real number"),
    ("StepLR(step_size=0)", "step_size must be a whole number of at least 1, got 0"),
    ("StepLR(step_size='30')", "step_size must be a whole number"),
    ("ExponentialLR(gamma=-1)", "gamma must be a finite number of at least 0, got -1"),
    ("ReduceLROnPlateau(factor=1.0)", "factor must be below 1, got 1.0"),
    ("ReduceLROnPlateau(mode='auto')", "mode must be one of 'min', 'max', got 'auto'"),
    ("StepLR(" + "-" * 15_000 + "1)", "cannot read the scheduler"),
    ("StepLR(" + "1 + " * 900 + "1)", "nested too deeply"),
    ("StepLR(" + "(" * 5000 + ")" * 5000 + ")", "cannot read the scheduler"),
    ("StepLR(30)" + " " * 130_000, "the scheduler's text must have at most 100000 characters, got 130010"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:40] for text, _ in REFUSED])
def test_unreadable_text_is_refused_at_once_in_one_line(text, message):
    start = time.perf_counter()
    with pytest.raises((ValueError, TypeError)) as error:
        jaxlr.from_string(text, 0.1)
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 300
    assert time.perf_counter() - start < 5


def test_deeply_nested_text_is_refused_even_with_a_high_recursion_limit():
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        with pytest.raises(ValueError, match="nested too deeply to be read"):
            jaxlr.from_string("f" + "()" * 150, 0.1)
    finally:
        sys.setrecursionlimit(limit)


def test_every_class_of_torch_has_a_row_with_its_parameters_in_order(torch):
    modules = (torch.optim.lr_scheduler, torch.optim.swa_utils)
    assert {*torch.optim.lr_scheduler.__all__, "SWALR"} - {"LRScheduler"} == set(CLASSES)
    for name, row in CLASSES.items():
        cls = next(getattr(module, name) for module in modules if hasattr(module, name))
        parameters = [key for key in inspect.signature(cls).parameters if key != "optimizer"]
        ours = [key for key in row.parameters if key not in ("optimizer", "verbose")]
        assert ours == [key for key in parameters if key != "verbose"], name
        assert {*row.per_group, *row.stored, *row.required} <= set(row.settings)
        assert set(row.settings) - {"schedulers"} <= set(inspect.signature(row.function).parameters)


names = st.sampled_from(["StepLR(", "MultiStepLR(", "ReduceLROnPlateau(", "opt, ", "step_size=", "lambda:"])
symbols = st.sampled_from([*"-[])=',*/%#.0\\é\0", "**", "30", "1e9", "None"])
fragments = st.one_of(names, symbols)


@given(st.one_of(st.text(), st.lists(fragments, max_size=12).map("".join)))
@settings(max_examples=500, deadline=None)
def test_any_text_is_read_or_raises_value_error_or_type_error(text):
    try:
        jaxlr.from_string(text, 0.1)
    except (ValueError, TypeError) as error:
        assert str(error)


def test_text_must_be_a_string():
    untyped: Any = jaxlr
    with pytest.raises(TypeError, match="the scheduler's text must be a string, got 3"):
        untyped.from_string(3, 0.1)


def test_name_that_the_text_assigns_cannot_be_given_as_well():
    with pytest.raises(ValueError, match="names gives a value for 'n', but the text assigns one"):
        jaxlr.from_string("n = 3\nStepLR(o, n)", 0.1, {"n": 4})


def test_a_text_that_changes_a_value_of_names_is_refused():
    args = argparse.Namespace(milestones=[30])
    text = "args.milestones.append(60)\nMultiStepLR(optimizer, args.milestones)"
    with pytest.raises(
        ValueError, match=r"names gives a value for 'args\.milestones', but 'args\.m.* changes"
    ):
        jaxlr.from_string(text, 0.1, names={"args": args})
    assert args.milestones == [30]


@pytest.mark.parametrize(
    ("text", "per_batch"),
    [
        ("OneCycleLR(opt, 0.1, 9)", True),
        ("StepLR(opt, 3)", False),
        ("{'scheduler': StepLR(opt, 3), 'interval': 'step'}", True),
        ('{"scheduler": OneCycleLR(opt, 0.1, 9), "interval": "epoch"}', False),
        ("scheduler: StepLR\nstep_size: 3\ninterval: step", True),
        ("StepLR(opt, 3)  # 'interval': 'step'", False),
    ],
)
def test_lightnings_interval_decides_what_a_count_is(text, per_batch):
    assert steps_per_batch(text) == per_batch
