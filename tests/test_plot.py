"""Tests of the plots of schedules."""

import sys

import jax.numpy as jnp
import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import optax
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

import jaxlr
from jaxlr.drawing import suits_log_scale


mpl.use("agg")

SCHEDULES = {
    "step": jaxlr.step_lr(0.1, 30),
    "cosine": jaxlr.cosine_annealing_lr(0.1, 90),
    "one cycle": jaxlr.one_cycle_lr(0.1, 90),
    "sequential": jaxlr.sequential_lr(
        [jaxlr.linear_lr(0.1), jaxlr.multi_step_lr(0.1, [20, 40])], milestones=[5]
    ),
    "optax": optax.cosine_decay_schedule(0.1, 90),
    "constant": optax.constant_schedule(0.1),
}


@pytest.fixture
def ax():
    return Figure().subplots()


def drawn(line):
    """Return the edges of the counts (one more than counts) and the rates that a line shows."""
    edges, rates = line.get_xdata(), line.get_ydata()
    assert line.get_drawstyle() == "steps-post"
    assert rates[-1] == rates[-2]
    return np.asarray(edges), np.asarray(rates[:-1])


@pytest.mark.parametrize("label", SCHEDULES)
def test_the_line_is_a_staircase_with_one_step_per_count(ax, label):
    assert jaxlr.plot(SCHEDULES[label], 90, ax) is ax
    (line,) = ax.get_lines()
    edges, rates = drawn(line)
    assert edges.tolist() == list(range(91))
    expected = np.broadcast_to(np.asarray(SCHEDULES[label](np.arange(90)), np.float64), 90)
    assert rates.tolist() == expected.tolist()
    assert ax.get_legend() is None
    assert ax.get_ylabel() == "learning rate"


def test_a_mapping_gives_the_labels_and_a_list_numbers_them(ax):
    jaxlr.plot(SCHEDULES, 90, ax)
    assert [line.get_label() for line in ax.get_lines()] == list(SCHEDULES)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == list(SCHEDULES)
    ax = Figure().subplots()
    jaxlr.plot(list(SCHEDULES.values())[:2], 90, ax)
    assert [line.get_label() for line in ax.get_lines()] == ["schedules[0]", "schedules[1]"]


def test_the_current_axes_of_pyplot_are_the_default():
    figure, (left, right) = plt.subplots(1, 2)
    try:
        plt.sca(left)
        assert jaxlr.plot(SCHEDULES["step"], 90) is left
        assert (len(left.get_lines()), len(right.get_lines())) == (1, 0)
    finally:
        plt.close(figure)


def test_the_schedule_is_called_once_with_an_array(ax):
    counts = []

    def schedule(count):
        counts.append(count)
        return SCHEDULES["cosine"](count)

    jaxlr.plot(schedule, 10**6, ax)
    (count,) = counts
    assert isinstance(count, np.ndarray)
    assert count.shape == (10**6,)
    assert len(drawn(ax.get_lines()[0])[1]) == 10**6


def test_the_scale_is_logarithmic_for_decades_but_not_for_a_cosine():
    scales = {
        "log": [
            jaxlr.step_lr(0.1, 30),
            jaxlr.step_lr(0.1, 60),
            jaxlr.exponential_lr(0.1, 0.9),
            jaxlr.multi_step_lr(0.1, [60, 80]),
        ],
        "linear": [
            jaxlr.cosine_annealing_lr(0.1, 90),
            jaxlr.one_cycle_lr(0.1, 90),
            jaxlr.step_lr(0.1, 30, 0.5),
            jaxlr.linear_lr(0.1, 1.0, 0.0, 90),
            jaxlr.constant_lr(0.0),
        ],
    }
    for scale, schedules in scales.items():
        for schedule in schedules:
            assert jaxlr.plot(schedule, 90, Figure().subplots()).get_yscale() == scale


@given(st.lists(st.floats(1e-9, 1), min_size=1, max_size=20), st.integers(-100, 100))
def test_the_scale_depends_on_ratios_only_and_is_linear_if_a_rate_is_0(values, exponent):
    rates = np.asarray(values)
    is_log = suits_log_scale([rates])
    assert suits_log_scale([rates * 2.0**exponent]) == is_log
    assert suits_log_scale([np.append(rates, [np.nan, np.inf]), np.asarray([np.nan])]) == is_log
    assert not suits_log_scale([rates, np.zeros(1)])


def test_the_figure_can_be_saved(tmp_path):
    figure = Figure()
    jaxlr.plot(SCHEDULES, 90, figure.subplots())
    figure.savefig(tmp_path / "lr.png")
    image = plt.imread(tmp_path / "lr.png")
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > len(SCHEDULES)


@pytest.mark.parametrize(
    ("schedules", "error", "message"),
    [
        (jaxlr.reduce_lr_on_plateau(0.1), TypeError, "schedules has no fixed curve: the learning rate"),
        ([jaxlr.reduce_lr_on_plateau(0.1)], TypeError, "schedules[0] has no fixed curve"),
        ({"a": jaxlr.reduce_lr_on_plateau(0.1)}, TypeError, "schedules['a'] has no fixed curve"),
        (0.1, TypeError, "schedules must be a function of the epoch (or step), got 0.1"),
        ("StepLR(30)", TypeError, "schedules must be a function of the epoch (or step), got 'StepLR(30)'"),
        ([jaxlr.step_lr(0.1, 3), None], TypeError, "schedules[1] must be a function"),
        ([], ValueError, "schedules must hold at least one schedule, got none"),
        ({}, ValueError, "schedules must hold at least one schedule, got none"),
    ],
)
def test_an_argument_without_a_curve_is_refused_by_name(ax, schedules, error, message):
    with pytest.raises(error) as refusal:
        jaxlr.plot(schedules, 10, ax)
    assert str(refusal.value).startswith(message)
    assert not ax.get_lines()


@pytest.mark.parametrize("num_steps", [0, -1, 2.5, "9", None])
def test_a_bad_number_of_steps_is_refused(ax, num_steps):
    with pytest.raises((TypeError, ValueError), match="num_steps must be a whole number"):
        jaxlr.plot(SCHEDULES["step"], num_steps, ax)


def test_the_error_for_a_function_of_a_single_count_names_tabulate(ax):
    def schedule(count):
        return 0.1 if count < 5 else 0.01

    with pytest.raises(ValueError, match="truth value") as refusal:
        jaxlr.plot(schedule, 10, ax)
    assert "jaxlr.tabulate(function, num_steps)" in refusal.value.__notes__[0]
    jaxlr.plot(jaxlr.tabulate(schedule, 10), 10, ax)
    assert drawn(ax.get_lines()[0])[1].tolist() == [0.1] * 5 + [0.01] * 5


def test_a_schedule_with_values_on_a_device_is_drawn(ax):
    jaxlr.plot(jaxlr.step_lr(jnp.float32(0.5), 2, 0.5), 4, ax)
    assert drawn(ax.get_lines()[0])[1].tolist() == [0.5, 0.5, 0.25, 0.25]


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch):
    for module in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ModuleNotFoundError, match="pip install matplotlib"):
        jaxlr.plot(SCHEDULES["step"], 90)


def test_every_curve_has_the_same_weight_for_the_scale():
    by_batch, by_epoch = np.ones(1000), np.full(10, 0.01)
    assert suits_log_scale([by_batch, by_epoch])
    assert not suits_log_scale([by_epoch, *[by_batch] * 4])
