"""The lines that `port` prints give the schedules that `from_string` gives for the same texts."""

import enum
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, assert_close, fast_jit
from spellings import SPELLINGS, Spelling
from test_live import CLOSED, STEPPED, advance
from test_live import build as built_by_torch
from test_optimizer_text import programs
from test_spellings import PARAMETERS, read

import jaxlr
from jaxlr import port
from jaxlr._compat import enable_x64


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
                np.asarray(fast_jit(each)(jnp.asarray(counts)))[digits], expected[digits], DEVICE_RTOL
            )


def test_user_function_cannot_be_printed():
    with pytest.raises(ValueError, match="cannot be printed as text"):
        port("LambdaLR(optimizer, warmup)", 0.1, {"warmup": lambda epoch: 1.0})


@pytest.mark.parametrize(
    "function",
    [
        "lambda step: warm(step, 5)",
        "partial(warm, n=5)",
        "[lambda step: 0.5 * half(step)]",
        "partial(half)",
        "partial(lambda step, n: 0.5**step * n, n=size)",
    ],
)
def test_a_function_that_needs_the_text_cannot_be_printed(function):
    text = (
        "def warm(step, n):\n    return min(1.0, step / n)\nhalf = lambda s: 0.5**s\nsize = 5\n"
        f"scheduler = LambdaLR(SGD(p, lr=0.1), {function})"
    )
    jaxlr.from_string(text)
    with pytest.raises(ValueError, match="cannot be printed in one line: call jaxlr"):
        port(text)


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


def printed_and_expected(text: str, **more: Any) -> tuple[str, Any, Any]:
    """Return the printed lines, their optimizer, and that of the text."""
    lines = port(text)
    made: dict[str, Any] = {"jaxlr": jaxlr, "optax": optax, "labels": more.get("labels")}
    exec(lines, made)
    transposed = "transposed=True" in lines or None
    return lines, made["tx"], jaxlr.optimizer_from_string(text, transposed=transposed, **more)


def updates_of(tx: Any) -> Any:
    """Return the updates of four steps. A plateau sees a loss that stalls."""
    params = {"kernel": jnp.linspace(-2.0, 1.0, 6)}

    def step(opt_state: Any, scale: Any) -> Any:
        updates, opt_state = tx.update(jax.tree.map(lambda leaf: scale * leaf, params), opt_state, params)
        is_plateau = "PlateauState" in str(jax.tree.structure(opt_state))
        return jaxlr.plateau_step(opt_state, 1.0) if is_plateau else opt_state, updates

    scales = jnp.array([1, 0.5, -0.3, 2])
    return fast_jit(lambda state: jax.lax.scan(step, state, scales)[1])(tx.init(params))


NATIVE = {
    "SGD(p, 0.1)": "optax.sgd(0.1)",
    "SGD(p, 0.1, 0.9, 0.0, 5e-4, True); StepLR(2)": (
        "optax.chain(optax.add_decayed_weights(0.0005), optax.sgd(schedule, momentum=0.9, nesterov=True))"
    ),
    "Adam(p, lr=3e-4, betas=(0.5, 0.99), maximize=True); StepLR(2)": (
        "optax.chain(optax.scale(-1.0), optax.adam(schedule, b1=0.5, b2=0.99))"
    ),
    "Adam(p, decoupled_weight_decay=True, weight_decay=0.1)": "optax.adamw(0.001, weight_decay=0.1)",
    "AdamW(p)": "optax.adamw(0.001, weight_decay=0.01)",
    "AdamW(p, eps=1e-6); CosineAnnealingLR(5)": "optax.adamw(schedule, eps=1e-06, weight_decay=0.01)",
    "AdamW(p, weight_decay=0); ReduceLROnPlateau(patience=0)": (
        "jaxlr.with_plateau(lambda rate: optax.adam(rate), plateau)"
    ),
    "RMSprop(p, centered=True, alpha=0.9); StepLR(2)": (
        "optax.rmsprop(schedule, eps_in_sqrt=False, centered=True)"
    ),
    "Adadelta(p, rho=0.5, weight_decay=0.1)": (
        "optax.chain(optax.add_decayed_weights(0.1), optax.adadelta(1.0, rho=0.5))"
    ),
    "Adamax(p, betas=(0.8, 0.9)); StepLR(2)": "optax.adamax(schedule, b1=0.8, b2=0.9)",
}


@pytest.mark.parametrize("text", NATIVE)
def test_printed_optimizer_is_optaxs_where_its_rule_is_torchs(text):
    with enable_x64():
        lines, printed, expected = printed_and_expected(text)
        chex.assert_trees_all_close(updates_of(printed), updates_of(expected), rtol=1e-12)
    assert lines.endswith(f"tx = {NATIVE[text]}")


def test_optax_has_fewer_digits_in_the_first_updates():
    _, printed, expected = printed_and_expected("AdamW(p, weight_decay=0.1)")
    chex.assert_trees_all_close(updates_of(printed), updates_of(expected), rtol=2e-5)


@pytest.mark.parametrize(
    "text",
    [
        "SGD(p, 0.1, 0.9, 0.5); StepLR(2)",
        "SGD(p, 0.1, 0.9); OneCycleLR(0.1, 9)",
        "AdamW(p); CyclicLR(0.01, 0.1, 3, base_momentum=0.5)",
        "AdamW(p, amsgrad=True)",
        "RMSprop(p, momentum=0.9); ReduceLROnPlateau(patience=0)",
        "Adagrad(p, lr_decay=0.1); LinearLR()",
        "NAdam(p); SequentialLR([LinearLR(total_iters=2), StepLR(2)], [2])",
        "RAdam(p, decoupled_weight_decay=True); ExponentialLR(0.5)",
        "Muon(p); StepLR(2)",
        "Adafactor(p, eps=(None, 1e-2)); StepLR(2)",
    ],
)
def test_printed_optimizer_is_ours_where_optax_has_another_rule(text):
    lines, printed, expected = printed_and_expected(text)
    assert "tx = jaxlr.optimizer_from_string(" in lines
    params = {"kernel": jnp.ones((2, 3))}
    assert programs(printed, params)[1] == programs(expected, params)[1]


@pytest.mark.parametrize("rate", ["'weight_decay': 0.3", "'lr': 0.2"])
def test_printed_optimizer_of_groups_needs_labels(rate):
    text = f"o = AdamW([{{'params': a, {rate}}}, {{'params': b}}], lr=0.1); s = StepLR(o, 2)"
    lines, printed, expected = printed_and_expected(text, labels={"kernel": 0, "bias": 1})
    assert "# labels has the group of each parameter, 0 to 1" in lines
    assert ("schedule = [" in lines) == ("lr" in rate)
    assert programs(printed)[1] == programs(expected)[1]
    assert port(text, group=1) == "jaxlr.step_lr(0.1, step_size=2)"


def test_a_count_that_may_be_an_epoch_is_said():
    comment = "# A count is one scheduler.step(). If that is an epoch, use jaxlr.per_epoch"
    assert comment in port("SGD(p, 0.1); StepLR(2)")
    assert comment not in port("SGD(p, 0.1); OneCycleLR(0.1, 9)")
    assert comment not in port("SGD(p, 0.1); get_cosine_schedule_with_warmup(o, 2, 9)")


def test_an_optimizer_that_cannot_be_read_leaves_the_schedule_with_a_comment():
    line = port("o = SGD(p, lr=0.1, momentum=args.m)\nStepLR(o, 30)")
    assert line.startswith("# The optimizer is left out: the optimizer's text needs values for its names")
    assert eval(line, {"jaxlr": jaxlr})(30) == jaxlr.step_lr(0.1, 30)(30)


def test_a_rate_fills_in_or_must_agree_with_the_text():
    assert port("AdamW(p)", 0.3) == "tx = optax.adamw(0.3, weight_decay=0.01)"
    with pytest.raises(ValueError, match=r"init_value is 0.3, but the scheduler's text sets lr=0.1"):
        port("AdamW(p, lr=0.1)", 0.3)
