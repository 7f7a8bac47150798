"""Fit schedules to the rates of a log, in Python and as the command `jaxlr fit`."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_files import RECORDED, csv_log, results_csv, trainer_state, ultralytics_rates

import jaxlr
from jaxlr import Phase
from jaxlr.cli import main


WARMUP = Phase(100, "linear", start_factor=0.0, end_factor=1.0)
CASES = {  # a schedule, its length, the step of the log, and the kind that is found
    "constant": (jaxlr.phased_lr(0.1, [Phase()]), 100, 10, "constant"),
    "warmup": (jaxlr.phased_lr(3e-4, [WARMUP, Phase()]), 1000, 10, "constant after a warmup"),
    "linear": (jaxlr.phased_lr(3e-4, [Phase(900, "linear", end_factor=0.2)]), 1200, 10, "linear"),
    "warmup linear": (
        jaxlr.phased_lr(3e-4, [WARMUP, Phase(900, "linear", end_factor=0.0)]),
        1001,
        10,
        "linear after a warmup",
    ),
    "cosine": (jaxlr.phased_lr(1e-3, [Phase(1234, "cosine", end_value=1e-6)]), 1300, 13, "cosine"),
    "warmup cosine": (
        jaxlr.phased_lr(3e-4, [WARMUP, Phase(900, "cosine", end_factor=0.1)]),
        1000,
        10,
        "cosine after a warmup",
    ),
    "polynomial": (
        jaxlr.phased_lr(3e-4, [WARMUP, Phase(900, "polynomial", power=2.0, end_factor=0.0)]),
        1000,
        10,
        "polynomial of power 2 after a warmup",
    ),
    "inverse sqrt": (
        jaxlr.phased_lr(3e-4, [WARMUP, Phase(shape="inverse_sqrt")]),
        2000,
        20,
        "inverse square root after a warmup",
    ),
    "wsd": (
        jaxlr.phased_lr(3e-4, [WARMUP, Phase(700), Phase(200, "1-sqrt", end_factor=0.0)]),
        1001,
        10,
        "1-sqrt after a hold and a warmup",
    ),
    "step": (jaxlr.step_lr(0.1, 30, 0.1), 90, 1, "step"),
    "multi-step": (jaxlr.multi_step_lr(0.1, [30, 80], 0.2), 90, 1, "multi-step"),
    "warmup and steps": (
        jaxlr.phased_lr(
            0.1, [Phase(5, "linear", start_factor=0.01, end_factor=1.0), Phase(30), Phase(start_factor=0.1)]
        ),
        90,
        1,
        "piecewise constant after a warmup",
    ),
    "exponential": (jaxlr.exponential_lr(0.1, 0.97), 90, 1, "exponential"),
    "one-cycle": (jaxlr.one_cycle_lr(0.1, 500), 500, 5, "one-cycle"),
    "restarts": (jaxlr.cosine_annealing_warm_restarts(0.1, 50), 200, 3, "cosine with restarts"),
}


BETWEEN_POINTS = [  # schedules that turn between two points of the log, or at its end
    (jaxlr.phased_lr(0.02, [Phase(100), Phase(100, start_factor=0.5), Phase(start_factor=0.1)]), 20),
    (jaxlr.phased_lr(1e-3, [WARMUP, Phase(start_factor=0.05)]), 19),
    (jaxlr.phased_lr(1e-3, [Phase(290, "linear", end_factor=0.1)]), 10),
]


@pytest.mark.parametrize(("schedule", "every"), BETWEEN_POINTS)
def test_a_schedule_that_turns_between_the_points_is_found(tmp_path, schedule, every):
    counts = np.arange(0, 291, every)
    result = jaxlr.fit(csv_log(tmp_path / "log.csv", counts, schedule(counts)))
    assert result.agrees
    built = eval(result.candidates[0].line, {"jaxlr": jaxlr})
    np.testing.assert_allclose(built(np.arange(291)), schedule(np.arange(291)), rtol=1e-9)


@pytest.mark.parametrize("form", ["{!r}", "{:.6g}"])
@pytest.mark.parametrize("name", CASES)
def test_a_schedule_is_found_from_its_rates(tmp_path, name, form):
    schedule, length, every, kind = CASES[name]
    counts = np.arange(0, length, every)
    result = jaxlr.fit(csv_log(tmp_path / "log.csv", counts, schedule(counts), form))
    assert result.agrees
    best = result.candidates[0]
    assert best.kind == kind
    assert best.largest_deviation < (1e-9 if form == "{!r}" else 5e-6)
    # The line is the schedule, also between the points and after them.
    for built in (best.schedule, eval(best.line, {"jaxlr": jaxlr})):
        everywhere = np.arange(length)
        if name == "multi-step" or form == "{!r}":
            np.testing.assert_allclose(built(everywhere), schedule(everywhere), rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(built(counts), schedule(counts), rtol=1e-4, atol=1e-9)


@settings(max_examples=4, deadline=None)
@given(
    base=st.sampled_from([1e-5, 3e-4, 0.00025, 0.1]),
    warmup=st.integers(3, 30).map(lambda tens: 10 * tens),
    rest=st.integers(5, 50).map(lambda tens: 20 * tens),
    floor=st.sampled_from([0.0, 0.1, 0.05]),
    shape=st.sampled_from(["linear", "cosine"]),
)
def test_warmups_and_decays_of_any_length_are_found(base, warmup, rest, floor, shape, tmp_path_factory):
    ramp = Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)
    schedule = jaxlr.phased_lr(base, [ramp, Phase(rest, shape, end_factor=floor)])
    counts = np.arange(0, warmup + rest + 20, 10)
    path = tmp_path_factory.getbasetemp() / "fit.csv"
    result = jaxlr.fit(csv_log(path, counts, schedule(counts)))
    best = result.candidates[0]
    assert result.agrees
    assert best.kind == f"{shape} after a warmup"
    assert (best.parameters["peak"], best.parameters["warmup"]) == (base, warmup)
    assert best.parameters["length"] == warmup + rest
    assert best.parameters["floor"] == pytest.approx(floor * base, rel=1e-9)


RECORDS = [
    (
        "trainer_state.json",
        "cosine after a warmup",
        {"peak": 3e-4, "warmup": 5, "length": 40, "floor": 0.0},
    ),
    ("lightning_step.csv", "one-cycle", {"peak": 0.1, "length": 24, "pct_start": 0.3}),
    ("metrics.jsonl", "exponential", {"peak": 0.3, "gamma": 0.7}),
    ("scalars.json", "piecewise constant after a warmup", {"peak": 0.02, "warmup": 7}),
]


@pytest.mark.parametrize(("name", "kind", "parameters"), RECORDS, ids=[row[0] for row in RECORDS])
def test_the_schedule_of_a_recorded_log_is_found(name, kind, parameters):
    result = jaxlr.fit(RECORDED / name)
    best = result.candidates[0]
    assert (result.agrees, best.kind) == (True, kind)
    assert parameters.items() <= best.parameters.items()


def test_skipped_updates_are_counted(tmp_path):
    result = jaxlr.fit(trainer_state(tmp_path / "trainer_state.json", skipped=(3, 7, 95, 420)))
    best = result.candidates[0]
    assert (result.agrees, best.kind) == (True, "linear after a warmup")
    assert best.parameters == {"peak": 1e-5, "warmup": 100, "length": 1000, "floor": 0.0}
    assert best.notes[0].startswith("2 updates were skipped by step 10, 3 by step 100 and 4 by step 420")


def test_the_numbering_of_the_steps_is_the_one_with_the_length_of_the_run(tmp_path):
    for is_older in (False, True):
        log = trainer_state(tmp_path / "state.json", warmup=0, is_older=is_older, every=50)
        best = jaxlr.fit(log).candidates[0]
        assert best.line == 'jaxlr.phased_lr(1e-05, [jaxlr.Phase(1000, "linear", end_factor=0.0)])'


@pytest.mark.parametrize("first", [0, 1])
def test_the_first_step_may_be_number_1(tmp_path, first):
    log = csv_log(tmp_path / "log.csv", range(first, 90 + first), jaxlr.step_lr(0.1, 30)(np.arange(90)))
    assert jaxlr.fit(log).candidates[0].parameters == {"peak": 0.1, "step_size": 30, "gamma": 0.1}


@pytest.mark.parametrize("rates", [[0.1], [0.1, 0.1]])
def test_a_log_of_one_or_two_rates_says_that_others_agree(tmp_path, rates):
    result = jaxlr.fit(csv_log(tmp_path / "log.csv", range(len(rates)), rates))
    assert result.agrees
    assert result.notes == ("Many other schedules agree with so few rates.",)


def test_a_log_of_ultralytics_gives_its_config(tmp_path):
    log = results_csv(tmp_path / "results.csv", ultralytics_rates(0.000833, 0.01, 15, 36, 108), 36)
    result = jaxlr.fit(log)
    best = result.candidates[0]
    assert (result.agrees, best.kind) == (True, "Ultralytics, linear")
    assert best.parameters == {"peak": 0.000833, "steps_per_epoch": 36, "length": 15}
    schedule = eval(best.line, {"jaxlr": jaxlr})
    np.testing.assert_allclose(schedule(best.counts), result.rates, rtol=1e-5)


def test_schedules_that_agree_equally_well_are_all_given(tmp_path):
    log = csv_log(tmp_path / "log.csv", [0, 8, 16], [0.01, 0.003, 0.0009])
    kinds = [candidate.kind for candidate in jaxlr.fit(log).candidates]
    assert kinds == ["step", "exponential"]


def test_a_length_that_the_log_leaves_open_is_said(tmp_path):
    counts = np.arange(0, 90, 5)
    log = csv_log(tmp_path / "log.csv", counts, jaxlr.step_lr(0.1, 32)(counts))
    (best,) = [each for each in jaxlr.fit(log).candidates if each.kind == "step"]
    assert (best.parameters["step_size"], best.notes) == (32, ("step_size may be 31 to 32.",))
    schedule = jaxlr.phased_lr(3e-4, [Phase(1000, "linear", end_factor=0.0)])
    log = csv_log(tmp_path / "log.csv", range(0, 500, 10), schedule(np.arange(0, 500, 10)))
    (best,) = jaxlr.fit(log).candidates
    assert best.notes == ("The log ends at count 490, so the end of the decay is extrapolated.",)


def test_a_log_that_ends_in_the_warmup_says_so(tmp_path):
    counts = np.arange(0, 100, 10)
    (best,) = jaxlr.fit(csv_log(tmp_path / "log.csv", counts, 1e-6 * counts)).candidates
    assert best.agrees
    assert best.notes == (
        "The log ends in the warmup, which rises by 1e-06 per step: its end is not known.",
    )


def test_rates_without_a_shape_have_no_schedule(tmp_path):
    log = csv_log(tmp_path / "log.csv", range(40), np.random.default_rng(0).random(40))
    result = jaxlr.fit(log)
    assert (result.agrees, len(result.candidates)) == (False, 1)
    assert result.candidates[0].largest_deviation > 0.1


def test_a_log_of_zeros_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the column 'lr' has no rate above 0"):
        jaxlr.fit(csv_log(tmp_path / "log.csv", range(4), [0.0] * 4))


def test_the_command_prints_lines_to_paste(capsys, tmp_path):
    log = csv_log(tmp_path / "log.csv", range(90), jaxlr.step_lr(0.1, 30)(np.arange(90)))
    main(["fit", str(log)])
    *comments, line = capsys.readouterr().out.splitlines()
    assert line == "jaxlr.multi_step_lr(0.1, milestones=[30, 60], gamma=0.1)"
    assert comments[:2] == ["# log.csv (csv): 90 rates in lr", "# 2 schedules agree equally well:"]
    assert all(each.startswith(("#", "jaxlr.")) for each in comments)
    main(["fit", str(log), "--format", "json", "--plot", str(tmp_path / "lr.svg")])
    result = json.loads(capsys.readouterr().out)
    assert (result["agrees"], result["candidates"][0]["parameters"]["step_size"]) == (True, 30)
    assert (tmp_path / "lr.svg").exists()


def test_the_command_says_each_thing_once(capsys, tmp_path):
    main(["fit", str(trainer_state(tmp_path / "trainer_state.json", skipped=(3, 7), is_older=True))])
    lines = capsys.readouterr().out.splitlines()
    assert any("transformers 4.50 and earlier" in line for line in lines)
    assert len({*lines}) == len(lines)


def test_the_exit_status_of_the_command_tells_the_result(capsys, tmp_path):
    log = csv_log(tmp_path / "log.csv", range(40), np.random.default_rng(0).random(40))
    for path, status in ((log, 1), (tmp_path / "none.csv", 2)):
        with pytest.raises(SystemExit) as stop:
            main(["fit", str(path)])
        assert stop.value.code == status
    assert "# No schedule that is tried agrees with all rates." in capsys.readouterr().out
