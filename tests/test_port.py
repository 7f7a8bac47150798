"""The lines that `port` prints give the schedules that `from_string` gives for the same texts."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DEVICE_RTOL, assert_close
from spellings import SPELLINGS, Spelling
from test_spellings import PARAMETERS, read

import jaxlr
from jaxlr.convert import port


@pytest.mark.parametrize("spelling", PARAMETERS)
def test_printed_line_gives_the_same_curve(spelling):
    printed, expected = eval(printed_line(spelling), {"jaxlr": jaxlr}), read(spelling)
    if "ReduceLROnPlateau" in spelling.text:
        assert jax.tree.all(jax.tree.map(np.array_equal, printed.init({}), expected.init({})))
    else:
        counts = np.arange(spelling.steps)
        np.testing.assert_array_equal(printed(counts), expected(counts))


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"])
def test_recipe_and_its_printed_line_are_exact_on_a_device(name):
    for spelling in SPELLINGS[name][::3]:
        schedule: Any = read(spelling)
        printed = eval(printed_line(spelling), {"jaxlr": jaxlr})
        counts = np.arange(spelling.steps)
        expected = np.asarray(schedule(counts))
        digits = np.abs(expected) > 1e-12  # the end of a cosine has fewer correct digits
        for each in (schedule, printed):
            assert_close(
                np.asarray(jax.jit(each)(jnp.asarray(counts)))[digits], expected[digits], DEVICE_RTOL
            )


def test_user_function_cannot_be_printed():
    with pytest.raises(ValueError, match="cannot be printed as text"):
        port("LambdaLR(optimizer, warmup)", 0.1, {"warmup": lambda epoch: 1.0})


@pytest.mark.parametrize("text", ["StepLR(0)", "OneCycleLR(max_lr=-1, total_steps=9)", "StepLR(args.step)"])
def test_invalid_recipe_is_not_printed(text):
    with pytest.raises(ValueError, match=r"must be|needs"):
        port(text, 0.1)


def printed_line(spelling: Spelling) -> str:
    extra = {"group": spelling.group, "num_steps": spelling.num_steps}
    return port(spelling.text, spelling.lrs[spelling.group], dict(spelling.names), **extra)
