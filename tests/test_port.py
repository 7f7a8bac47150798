"""The lines that `port` prints give the schedules that `from_string` gives for the same texts."""

import enum
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DEVICE_RTOL, assert_close
from spellings import SPELLINGS, Spelling
from test_live import CLOSED, STEPPED, advance
from test_live import build as built_by_torch
from test_spellings import PARAMETERS, read

import jaxlr
from jaxlr import port


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


@pytest.mark.parametrize("epochs", [0, 11])
@pytest.mark.parametrize("text", [*CLOSED, *STEPPED[:-2]])
def test_a_live_scheduler_prints_the_line_that_continues_it_without_torch(torch, text, epochs):
    scheduler = built_by_torch(torch, text)
    advance(scheduler, epochs)
    num_steps = 30 if text in STEPPED else None
    line = port(scheduler, group=1, num_steps=num_steps)
    assert "\n" not in line
    printed = eval(line, {"jaxlr": jaxlr})
    expected: Any = jaxlr.from_torch(scheduler, 1, num_steps)
    np.testing.assert_array_equal(printed(np.arange(50)), expected(np.arange(50)))


@pytest.mark.parametrize("text", CLOSED)
def test_a_state_dict_prints_the_line_that_continues_it(torch, text):
    scheduler = built_by_torch(torch, text)
    advance(scheduler, 11)
    saved = {"optimizer_state_dict": scheduler.optimizer.state_dict(), "class_name": text.split("(")[0]}
    printed = eval(port(scheduler.state_dict(), **saved), {"jaxlr": jaxlr})
    expected: Any = jaxlr.from_torch(scheduler)
    np.testing.assert_array_equal(printed(np.arange(50)), expected(np.arange(50)))


@pytest.mark.parametrize("metrics", [[], [0.9, 0.5, 0.7, 0.7, 0.7, 0.6], [0.1, float("nan"), 2.0]])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_plateau_prints_the_line_that_restores_it(torch, metrics, mode):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode, 0.5, 1, cooldown=2, min_lr=1e-4)
    for metric in metrics:
        scheduler.step(metric)
    lines = {port(scheduler), port(scheduler.state_dict(), class_name="ReduceLROnPlateau")}
    assert len(lines) == 1
    (line,) = lines
    start = "from_state_dict('ReduceLROnPlateau', " if metrics else "reduce_lr_on_plateau(0.1, mode="
    assert line.startswith(f"jaxlr.{start}")
    printed, expected = eval(line, {"jaxlr": jaxlr}), jaxlr.from_torch(scheduler)
    chex.assert_trees_all_equal(printed.init({}), expected.init({}))
    assert f"jaxlr.{expected!r}" == line


def test_a_scheduler_and_its_state_dict_ask_for_what_they_need(torch):
    scheduler = built_by_torch(torch, "LambdaLR(o, lambda e: 0.9 ** e)")
    with pytest.raises(ValueError, match="give num_steps"):
        port(scheduler)
    with pytest.raises(ValueError, match="give it, as in class_name='LambdaLR'"):
        port(scheduler.state_dict())
    saved = {"class_name": "LambdaLR", "lr_lambda": scheduler.lr_lambdas[0]}
    with pytest.raises(ValueError, match="cannot be printed as text: give num_steps"):
        port(scheduler.state_dict(), **saved)
    printed = eval(port(scheduler.state_dict(), num_steps=9, **saved), {"jaxlr": jaxlr})
    np.testing.assert_array_equal(printed(np.arange(9)), 0.1 * 0.9 ** np.arange(9))


@pytest.mark.parametrize(
    ("arguments", "more", "kind", "message"),
    [
        (("StepLR", {"step_size": 3}), {}, TypeError, "give the state_dict first"),
        (("StepLR(o, 3)",), {"class_name": "StepLR"}, ValueError, "takes no class_name"),
        (({"step_size": 3},), {"names": {}}, ValueError, "takes no names"),
        ((3,), {}, TypeError, "scheduler must be a torch scheduler"),
    ],
)
def test_an_argument_of_another_kind_of_recipe_is_refused(arguments, more, kind, message):
    with pytest.raises(kind, match=message):
        port(*arguments, **more)


def test_a_live_scheduler_takes_no_init_value(torch):
    with pytest.raises(ValueError, match="a live scheduler takes no init_value"):
        port(built_by_torch(torch, "StepLR(o, 3)"), 0.1)


def printed_line(spelling: Spelling) -> str:
    extra = {"group": spelling.group, "num_steps": spelling.num_steps}
    return port(spelling.text, spelling.lrs[spelling.group], dict(spelling.names), **extra)


class Steps(int, enum.Enum):
    SIZE = 3


class Anneal(enum.StrEnum):
    LINE = "linear"


@pytest.mark.parametrize(
    ("text", "names", "line"),
    [
        ("StepLR(n)", {"n": Steps.SIZE}, "jaxlr.step_lr(0.1, step_size=3)"),
        ("MultiStepLR(m)", {"m": [Steps.SIZE, 7]}, "jaxlr.multi_step_lr(0.1, milestones=[3, 7])"),
        (
            "OneCycleLR(0.1, total_steps=9, anneal_strategy=s)",
            {"s": Anneal.LINE},
            "jaxlr.one_cycle_lr(0.1, total_steps=9, anneal_strategy='linear')",
        ),
    ],
)
def test_members_of_an_enum_are_printed_as_their_values(text, names, line):
    assert port(text, 0.1, names) == line
