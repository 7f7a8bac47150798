"""Calls of fastai's Learner, beside the rates that it logs."""

from typing import Any

import numpy as np
import pytest
from framework_files import assert_has_rates, recorded
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("fastai")
def test_a_call_gives_the_rates_of_the_learner(case):
    arguments = ", ".join(f"{name}={value!r}" for name, value in case["settings"].items())
    schedule = from_string(f"learn.{case['call']}({arguments})")
    if case["version"].endswith("float64"):
        assert_has_rates(schedule, case["rates"])
    else:  # fastai computes positions in float32
        rates = np.asarray(case["rates"])
        assert np.abs(schedule(np.arange(len(rates))) - rates).max() < 3e-7 * rates.max()


COURSE = """
path = untar_data(URLs.PETS)/'images'
def is_cat(x): return x[0].isupper()
dls = ImageDataLoaders.from_name_func(
    path, get_image_files(path), valid_pct=0.2, seed=42, label_func=is_cat, item_tfms=Resize(224))
learn = vision_learner(dls, resnet34, metrics=error_rate)
learn.fine_tune(1, steps_per_epoch=len(dls.train))
"""
SAVED = """
learn.fit_one_cycle(10, 3e-3, moms=(0.8, 0.7, 0.8), wd=0.1, steps_per_epoch=40,
                    cbs=[SaveModelCallback(monitor='valid_loss'), EarlyStoppingCallback(patience=10)])
"""
LR_FIND = """
lrs = learn.lr_find(suggest_funcs=(minimum, steep, valley, slide))
learn.fit_one_cycle(n_epochs, lr_max=lrs.valley, steps_per_epoch=len(learn.dls.train))
"""
IMAGEWOOF = """
if args.fit_one_cycle:
    learn.fit_one_cycle(args.epochs, args.lr, steps_per_epoch=140)
else:
    learn.fit_flat_cos(args.epochs, args.lr, wd=1e-2, cbs=cbs, steps_per_epoch=140)
"""
TEXT = "learn.fine_tune(4, 1e-2, steps_per_epoch=390)"
FOUND = {"n_epochs": 4, "lrs.valley": 1e-3, "len(learn.dls.train)": 25}
CALLS = [  # a text, names, and rates by count
    (COURSE, {"len(dls.train)": 100}, {0: 8e-5, 99: 2e-3, 100: 2e-4, 130: 1e-3, 200: 1e-8}),
    (SAVED, {}, {0: 1.2e-4, 50: 1.56e-3, 100: 3e-3, 400: 3e-8}),
    (LR_FIND, FOUND, {0: 4e-5, 25: 1e-3, 100: 1e-8}),
    (IMAGEWOOF, {"args.fit_one_cycle": False, "args.epochs": 4, "args.lr": 8e-3}, {0: 8e-3, 420: 8e-3}),
    (IMAGEWOOF, {"args.fit_one_cycle": True, "args.epochs": 4, "args.lr": 8e-3}, {0: 3.2e-4, 140: 8e-3}),
    (TEXT, {}, {0: 4e-4, 390: 1e-3, 390 + 468: 5e-3, 1950: 5e-8}),
]


@pytest.mark.parametrize(("text", "names", "expected"), CALLS)
def test_a_snippet_as_people_write_it_gives_its_rates(text, names, expected):
    schedule = from_string(text, names=names)
    for count, value in expected.items():
        assert_close(schedule(count), value, HOST_RTOL)


CYCLES = """
learn.fit_one_cycle(3, 3e-3, steps_per_epoch=9)
learn.unfreeze()
learn.fit_one_cycle(12, lr_max=1e-4, steps_per_epoch=9)
"""
REFUSED = [
    (
        "learn.fit_one_cycle(5, 3e-3)",
        "fit_one_cycle needs steps_per_epoch, as in 'fit_one_cycle\\(steps_per_",
    ),
    ("learn.fit_one_cycle(5, steps_per_epoch=9)", "fit_one_cycle needs lr_max, as in"),
    ("learn.fit_one_cycle(epochs, 1e-3, steps_per_epoch=9)", r"give names=\{'epochs': ...\}"),
    (
        "learn.fit_one_cycle(5, lr_max=slice(1e-6, 1e-4), steps_per_epoch=9)",
        r"give names=\{'slice\(1e-06, 0.0001\)': ...\}",
    ),
    ("learn.fit_one_cycle(5, max_lr=1e-3)", "fit_one_cycle has no argument 'max_lr'"),
    ("learn.fit_one_cycle(5, 1e-3, pct_start=1.5, steps_per_epoch=9)", "pct_start must be a number from 0"),
    ("learn.fit_one_cycle(5, 1e-3, start_epoch=2, steps_per_epoch=9)", "start_epoch must be 0, got 2"),
    ("learn.fine_tune(0, steps_per_epoch=9)", "epochs must be a whole number of at least 1"),
    ("learn.fit_sgdr(3, 1, 1e-3)", "unknown scheduler 'fit_sgdr'"),
    (CYCLES, "the text constructs a fit_one_cycle and a fit_one_cycle"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_call_that_cannot_be_converted_is_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message) as error:
        from_string(text)
    assert "\n" not in str(error.value)


def test_a_slice_has_the_rate_that_is_given_for_it():
    text = "learn.fit_one_cycle(5, slice(1e-5, lr), steps_per_epoch=8)"
    assert from_string(text, names={"slice(1e-05, lr)": 0.5})(10) == 0.5


def test_fastai_has_no_config():
    with pytest.raises(ValueError, match="fastai has no configs: give a call such as"):
        jaxlr.from_config({"lr": 1}, framework="fastai")
