"""Verify a recipe against the log of a run, in Python and as the command `jaxlr verify`."""

import doctest
import json
import re
from pathlib import Path

import numpy as np
import pytest
from helpers import torch_curve
from log_files import (
    RECORDED,
    csv_log,
    linear_rate,
    old_results_csv,
    results_csv,
    trainer_state,
    ultralytics_rates,
)

import jaxlr
from jaxlr.cli import main


CARD = """
- learning_rate: 1e-05
- train_batch_size: 16
- lr_scheduler_type: linear
- lr_scheduler_warmup_steps: 100
- training_steps: 1000
- mixed_precision_training: Native AMP
"""
MMENGINE = jaxlr.phased_lr(
    0.02,
    [
        jaxlr.Phase(8, "linear", start_factor=0.001, end_factor=1.0, span=7),
        jaxlr.Phase(12, start_factor=1.0),
        jaxlr.Phase(start_factor=0.1),
    ],
)
RECORDS = [  # a log that a program recorded, its recipe, and what is found
    ("trainer_state.json", RECORDED / "trainer.json", {"max_steps": 40, "updates_per_epoch": 10}),
    ("trainer.tfevents", RECORDED / "trainer.json", {"steps_per_epoch": 10}),
    ("lightning_step.csv", "OneCycleLR(optimizer, max_lr=0.1, total_steps=24)", {}),
    ("lightning_epoch.csv", "StepLR(optimizer, 1, gamma=0.3)", {"steps_per_epoch": 8, "init_value": 0.01}),
    ("scalars.json", MMENGINE, {}),
    ("metrics.jsonl", "ExponentialLR(optimizer, 0.7)", {"init_value": 0.3}),
]


@pytest.mark.parametrize(("log", "recipe", "found"), RECORDS, ids=[row[0] for row in RECORDS])
def test_the_log_of_a_program_agrees_with_its_recipe(log, recipe, found):
    result = jaxlr.verify(recipe, RECORDED / log)
    assert result.agrees, result.explanations
    assert result.num_agreeing == result.num_explained == result.num_points
    assert result.found == found
    assert result.first_disagreement is None
    assert result.digits >= 6


@pytest.mark.parametrize(("log", "recipe"), [row[:2] for row in RECORDS if "tfevents" not in row[0]])
def test_one_wrong_rate_is_found(log, recipe, tmp_path):
    text = (RECORDED / log).read_text()
    rate = jaxlr.verify(recipe, RECORDED / log).rates[-2]
    assert text.count(repr(float(rate))) >= 1
    at = text.rindex(repr(float(rate)))
    (tmp_path / log).write_text(text[:at] + repr(float(rate) * 1.01) + text[at + len(repr(float(rate))) :])
    result = jaxlr.verify(recipe, tmp_path / log)
    assert not result.agrees
    assert result.num_explained < result.num_points


# Hugging Face


def test_updates_that_mixed_precision_skipped_are_counted(tmp_path):
    log = trainer_state(tmp_path / "trainer_state.json", skipped=(3, 7, 95, 420))
    result = jaxlr.verify(CARD, log)
    assert result.agrees
    assert (result.num_agreeing, result.num_explained, result.num_points) == (0, 100, 100)
    assert result.first_disagreement == (
        10,
        linear_rate(8, 1e-5, 100, 1000),
        linear_rate(10, 1e-5, 100, 1000),
    )
    assert result.explanations == (
        "2 updates were skipped by step 10, 3 by step 100 and 4 by step 420, as in mixed precision.",
        "The log holds the rate of the next update, as transformers 4.50 and earlier log it.",
    )
    assert result.counts[[0, -1]].tolist() == [8, 996]


def test_skipped_updates_never_come_back(tmp_path):
    log = trainer_state(tmp_path / "trainer_state.json", skipped=(3, 7))
    text = log.read_text().replace(
        repr(linear_rate(498, 1e-5, 100, 1000)), repr(linear_rate(500, 1e-5, 100, 1000))
    )
    log.write_text(text)
    result = jaxlr.verify(CARD, log)
    assert (result.agrees, result.num_explained) == (False, 99)


@pytest.mark.parametrize(("warmup", "every"), [(150, 3), (150, 30), (125, 10), (200, 10), (110, 11)])
def test_a_longer_warmup_is_not_explained_by_skipped_updates(tmp_path, warmup, every):
    counts = np.arange(every, 1000, every)
    log = csv_log(tmp_path / "log.csv", counts, 1e-5 * np.minimum(counts / warmup, 1))
    result = jaxlr.verify(CARD.replace("type: linear", "type: constant_with_warmup"), log)
    assert (result.agrees, result.num_explained) == (False, result.num_points)
    assert result.found["lr_scheduler_warmup_steps"] == warmup


@pytest.mark.parametrize("every", [1, 7, 25])
def test_many_updates_may_be_skipped_in_a_row(tmp_path, every):
    skipped = (*range(1, 21), 60, 61, 300, 800)
    assert jaxlr.verify(CARD, trainer_state(tmp_path / "log.json", skipped=skipped, every=every)).agrees


@pytest.mark.parametrize("is_older", [False, True])
@pytest.mark.parametrize("version", [None, "4.46", "5.0"])
def test_both_numberings_of_the_trainer_are_read(tmp_path, is_older, version):
    log = trainer_state(tmp_path / "trainer_state.json", is_older=is_older, every=1, length=300)
    result = jaxlr.verify(CARD.replace("1000", "300"), log, version=version)
    assert (result.agrees, result.num_agreeing) == (True, 300)


def test_the_length_of_the_run_is_taken_from_the_log(tmp_path):
    log = trainer_state(tmp_path / "trainer_state.json", is_older=False)
    recipe = {"learning_rate": 1e-5, "num_train_epochs": 8, "warmup_ratio": 0.1}
    result = jaxlr.verify(recipe, log)
    assert result.agrees
    assert result.found == {"max_steps": 1000, "updates_per_epoch": 137}
    assert result.explanations == ("The log says that the run had 1000 updates.",)


@pytest.mark.parametrize(("epochs", "agrees"), [(7.3, True), (7, False), (9, False), (80, False)])
def test_another_number_of_epochs_than_that_of_the_log_is_another_recipe(tmp_path, epochs, agrees):
    log = trainer_state(tmp_path / "trainer_state.json", warmup=0)
    result = jaxlr.verify({"learning_rate": 1e-5, "num_train_epochs": epochs}, log)
    assert (result.agrees, result.num_explained) == (agrees, 100)
    reason = "The log has num_train_epochs=8, unlike the recipe."
    assert (reason in result.explanations) == (not agrees)
    assert (result.num_agreeing == 100) == agrees


@pytest.mark.parametrize(("accumulation", "batches"), [(1, 40), (4, 42), (8, 100)])
def test_the_batches_of_an_epoch_are_found_where_gradients_are_accumulated(tmp_path, accumulation, batches):
    recipe = {"learning_rate": 1e-4, "num_train_epochs": 3, "gradient_accumulation_steps": accumulation}
    updates = -(-batches // accumulation)
    log = tmp_path / "log.csv"
    rows = [f"{k},{k / updates!r},{linear_rate(k, 1e-4, 0, 3 * updates)!r}" for k in range(3 * updates)]
    log.write_text("\n".join(["step,epoch,learning_rate", *rows]))
    for epochs in (3, 1, 6):
        result = jaxlr.verify({**recipe, "num_train_epochs": epochs}, log)
        assert result.agrees == (epochs == 3)
    assert -(-jaxlr.verify(recipe, log).found["steps_per_epoch"] // accumulation) == updates


def test_another_length_than_that_of_the_log_is_another_recipe(tmp_path):
    log = trainer_state(tmp_path / "trainer_state.json")
    result = jaxlr.verify(CARD.replace("1000", "900"), log)
    assert (result.agrees, result.num_explained) == (False, 100)
    assert result.found["max_steps"] == 1000
    assert "The recipe has 900 updates." in result.explanations


@pytest.mark.parametrize("skipped", [(), (3, 7, 95)])
def test_another_warmup_is_found(tmp_path, skipped):
    log = trainer_state(tmp_path / "trainer_state.json", skipped=skipped)
    result = jaxlr.verify(CARD.replace("steps: 100\n", "steps: 50\n"), log)
    assert (result.agrees, result.num_explained) == (False, 100)
    assert result.found["lr_scheduler_warmup_steps"] == 100
    assert any(
        "lr_scheduler_warmup_steps=100, where the recipe has 50" in each for each in result.explanations
    )


def test_another_base_rate_is_found(tmp_path):
    log = trainer_state(tmp_path / "trainer_state.json")
    result = jaxlr.verify(CARD.replace("1e-05", "4e-5"), log)
    assert (result.agrees, result.num_explained) == (False, 100)
    assert "The rates of the log are 0.25 times those of the recipe." in result.explanations


def test_a_log_that_nothing_explains_disagrees(tmp_path):
    log = csv_log(tmp_path / "log.csv", range(50), np.random.default_rng(0).random(50))
    result = jaxlr.verify("CosineAnnealingLR(optimizer, 50)", log, 0.1)
    assert not result.agrees
    assert result.explanations == ()
    assert result.first_disagreement is not None


# Ultralytics

ARGS = {
    "epochs": 15,
    "batch": 16,
    "optimizer": "auto",
    "lr0": 0.01,
    "lrf": 0.01,
    "cos_lr": False,
    "nbs": 64,
}
ARGS |= {"warmup_epochs": 3.0, "warmup_bias_lr": 0.1, "momentum": 0.937}


@pytest.mark.parametrize("is_cosine", [False, True])
@pytest.mark.parametrize(("steps", "warmup"), [(36, 108), (50, 150)])
def test_the_batches_of_an_epoch_and_the_base_rate_are_found(tmp_path, steps, warmup, is_cosine):
    rates = ultralytics_rates(0.000833, 0.01, 15, steps, warmup, is_cosine=is_cosine)
    log = results_csv(tmp_path / "results.csv", rates, steps)
    result = jaxlr.verify({**ARGS, "cos_lr": is_cosine}, log)
    assert result.agrees
    assert result.found == {"steps_per_epoch": steps, "init_value": 0.000833}
    assert result.explanations == (
        f"The log determines steps_per_epoch: it is {steps}.",
        "The log determines init_value: it is 0.000833.",
    )


def test_the_rule_of_an_older_version_is_found(tmp_path):
    rates = ultralytics_rates(0.01, 0.01, 15, 55, 165, is_late=True)
    bias = ultralytics_rates(0.01, 0.01, 15, 55, 165, start=0.1, is_late=True)
    log = old_results_csv(tmp_path / "results.csv", rates, 55, bias)
    args = {**ARGS, "optimizer": "SGD"}
    result = jaxlr.verify(args, log)
    assert result.agrees
    assert result.found == {"steps_per_epoch": 55}
    assert result.explanations[0] == "The rules are those of ultralytics 8.1.41."
    assert result.column == "lr/pg1"
    biases = jaxlr.verify(args, log, group=2, version="8.0.100", steps_per_epoch=55)
    assert (biases.agrees, biases.column) == (True, "lr/pg0")


YOLOV5 = {
    "lr0": 0.01,
    "lrf": 0.1,
    "warmup_epochs": 3,
    "warmup_bias_lr": 0.1,
    "anchor_t": 4,
    "momentum": 0.9,
}


@pytest.mark.parametrize(("version", "is_cosine"), [("6.1", False), ("6.0", True)])
def test_the_longer_warmup_of_an_older_yolov5_is_found(version, is_cosine, tmp_path):
    rates = ultralytics_rates(0.01, 0.1, 15, 100, 1000, is_late=True, is_cosine=is_cosine)
    log = results_csv(tmp_path / "results.csv", rates, 100)
    result = jaxlr.verify(YOLOV5, log, steps_per_epoch=100, epochs=15)
    assert (result.agrees, result.explanations) == (True, (f"The rules are those of YOLOv5 {version}.",))


def test_the_warmup_of_an_older_detectron2_is_found(tmp_path):
    rates = [0.02 * min(1, 0.001 + 0.999 * i / 100) * 0.1 ** (i >= 100) for i in range(19, 400, 20)]
    rows = [json.dumps({"iteration": 19 + 20 * i, "lr": rate}) for i, rate in enumerate(rates)]
    (tmp_path / "metrics.json").write_text("\n".join(rows))
    solver = {"BASE_LR": 0.02, "STEPS": [100], "MAX_ITER": 400, "WARMUP_ITERS": 100}
    result = jaxlr.verify({"SOLVER": solver}, tmp_path / "metrics.json")
    assert (result.agrees, result.explanations) == (True, ("The rules are those of detectron2 0.3.",))


def test_the_rule_of_another_version_than_the_given_one_is_another_recipe(tmp_path):
    rates = ultralytics_rates(0.01, 0.01, 15, 55, 165, is_late=True)
    log = results_csv(tmp_path / "results.csv", rates, 55)
    result = jaxlr.verify({**ARGS, "optimizer": "SGD"}, log, version="8.3", steps_per_epoch=55)
    assert (result.agrees, result.num_explained) == (False, 15)
    assert result.explanations == ("The rules are those of ultralytics 8.1.41.",)


def test_a_number_that_the_log_leaves_open_is_said(tmp_path):
    rates = ultralytics_rates(0.01, 0.01, 15, 4000, 12000)
    log = results_csv(tmp_path / "results.csv", rates, 4000)
    result = jaxlr.verify({**ARGS, "optimizer": "SGD"}, log)
    assert result.agrees
    low, high = map(int, re.findall(r"from (\d+) to (\d+): \d+ is taken", result.explanations[0])[0])
    assert low < 4000 < high


# Torch


@pytest.mark.parametrize("form", ["{!r}", "{:.6g}", "{:.3e}"])
def test_a_curve_of_torch_agrees_at_every_number_of_digits(torch, tmp_path, form):
    curve = torch_curve(torch, lambda each: torch.optim.lr_scheduler.CosineAnnealingLR(each, 40, 1e-4), 40)
    log = csv_log(tmp_path / "log.csv", range(40), curve, form)
    result = jaxlr.verify("CosineAnnealingLR(optimizer, T_max=40, eta_min=1e-4)", log, 0.1)
    assert (result.agrees, result.num_agreeing) == (True, 40)
    assert result.printed_digits == {"{!r}": 17, "{:.6g}": 6, "{:.3e}": 4}[form]


def test_rates_that_are_rounded_to_decimals_agree(tmp_path):
    schedule = jaxlr.phased_lr(0.01, [jaxlr.Phase(100, "linear", end_factor=0.0)])
    log = csv_log(tmp_path / "log.csv", range(0, 100, 3), np.round(schedule(np.arange(0, 100, 3)) / 7, 5))
    result = jaxlr.verify(jaxlr.phased_lr(0.01 / 7, [jaxlr.Phase(100, "linear", end_factor=0.0)]), log)
    assert result.agrees
    assert result.explanations == ("The rates of the log are rounded to 5 decimals.",)


@pytest.mark.parametrize(("first", "number"), [(1, "g - 1"), (-1, "g + 1")])
def test_steps_that_are_numbered_in_another_way_are_found(tmp_path, first, number):
    curve = jaxlr.cosine_annealing_lr(0.1, 40)(np.arange(5, 35))
    log = csv_log(tmp_path / "log.csv", range(5 + first, 35 + first), curve)
    result = jaxlr.verify("CosineAnnealingLR(optimizer, 40)", log, 0.1)
    assert result.agrees
    assert result.num_agreeing < 30
    assert result.explanations == (f"The rate logged at step g is that of count {number}.",)


def test_a_schedule_by_epoch_agrees_with_a_log_by_step(tmp_path):
    curve = jaxlr.step_lr(0.1, 3)(np.arange(0, 700, 10) // 70)
    log = csv_log(tmp_path / "log.csv", range(0, 700, 10), curve)
    result = jaxlr.verify("StepLR(optimizer, 3)", log, 0.1)
    assert result.agrees
    assert result.found == {"steps_per_epoch": 70}
    assert jaxlr.verify("StepLR(optimizer, 3)", log, 0.1, steps_per_epoch=70).found == {}


def test_a_missing_name_is_found(tmp_path):
    log = csv_log(
        tmp_path / "log.csv", range(0, 500, 7), jaxlr.one_cycle_lr(0.1, 500)(np.arange(0, 500, 7))
    )
    result = jaxlr.verify("OneCycleLR(opt, 0.1, steps_per_epoch=len(loader), epochs=10)", log)
    assert (result.agrees, result.found) == (True, {"len(loader)": 50})


def test_another_number_of_a_torch_text_is_found(tmp_path):
    log = csv_log(tmp_path / "log.csv", range(90), jaxlr.multi_step_lr(0.1, [30, 60])(np.arange(90)))
    result = jaxlr.verify("MultiStepLR(optimizer, milestones=[30, 70])", log, 0.1)
    assert (result.agrees, result.num_agreeing, result.num_explained) == (False, 80, 90)
    assert result.explanations == ("All points agree with 60 in the place of 70.",)


def test_rates_in_float32_agree(tmp_path):
    curve = np.asarray(jaxlr.exponential_lr(0.1, 0.99)(np.arange(300)), dtype=np.float32)
    log = csv_log(tmp_path / "log.csv", range(300), curve)
    assert jaxlr.verify(jaxlr.exponential_lr(0.1, 0.99), log).agrees


def test_a_version_chooses_the_rule_of_a_call(tmp_path):
    text = "get_wsd_schedule(opt, 5, num_stable_steps=10, num_decay_steps=5, min_lr_ratio=0.1)"
    curve = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    log = csv_log(tmp_path / "log.csv", range(6), curve)
    assert jaxlr.verify(text, log, 1.0, version="4.48").agrees
    assert not jaxlr.verify(text, log, 1.0, version="4.49").agrees


def test_a_schedule_of_optax_agrees(tmp_path):
    import optax

    log = csv_log(tmp_path / "log.csv", range(10), [0.1 * (1 - k / 10) for k in range(10)])
    assert jaxlr.verify(optax.linear_schedule(0.1, 0.0, 10), log).agrees


@pytest.mark.parametrize(
    ("recipe", "error", "message"),
    [
        ("ReduceLROnPlateau(optimizer)", ValueError, "a plateau has no fixed curve to compare"),
        ("StepLR(optimizer", ValueError, "cannot read the scheduler"),
        ({"epochs": 3}, ValueError, "the config is of no known framework"),
        ("CosineAnnealingLR(opt, a + b)", ValueError, "the scheduler's text needs values for its names"),
        (3, TypeError, "recipe must be a schedule"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_refused(recipe, error, message):
    with pytest.raises(error, match=message):
        jaxlr.verify(recipe, RECORDED / "metrics.jsonl")


@pytest.mark.parametrize("given", [{}, {"steps_per_epoch": 10}])
@pytest.mark.parametrize("recipe", ["StepLR(optimizer, 30)", "OneCycleLR(optimizer, 0.1, total_steps=9)"])
def test_steps_that_are_not_whole_are_refused(tmp_path, recipe, given):
    log = tmp_path / "log.csv"
    log.write_text("step,lr\n0.5,0.1\n1.5,0.1\n")
    with pytest.raises(ValueError, match=r"are not whole numbers of at most .*: give step_column"):
        jaxlr.verify(recipe, log, 0.1, **given)


# The command


@pytest.fixture
def command(capsys):
    """Return a function that runs `jaxlr verify` and returns its exit status and what it prints."""

    def command(*arguments):
        status = 0
        try:
            main(["verify", *map(str, arguments)])
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return command


def test_the_command_prints_the_agreement(command, tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    log = trainer_state(tmp_path / "trainer_state.json", skipped=(3, 7, 95, 420))
    status, out, err = command(tmp_path / "README.md", log)
    assert (status, err) == (0, "")
    assert out.splitlines() == [
        "log        trainer_state.json (huggingface): 100 rates in learning_rate, 17 digits",
        "recipe     0 of 100 agree as it is",
        "           the first that differs is step 10: logged 8e-07, recipe 1e-06",
        "explained  2 updates were skipped by step 10, 3 by step 100 and 4 by step 420, as in mixed "
        "precision.",
        "           The log holds the rate of the next update, as transformers 4.50 and earlier log it.",
        "result     all 100 rates agree to 17 digits",
    ]


def test_the_exit_status_tells_the_result(command, tmp_path):
    log = csv_log(tmp_path / "log.csv", range(9), jaxlr.step_lr(0.1, 3)(np.arange(9)))
    assert command("StepLR(3)", log, "--lr", "0.1")[0] == 0
    status, out, _ = command("StepLR(2)", log, "--lr", "0.1")
    assert status == 1
    assert "All points agree with 3 in the place of 2." in out
    assert "all 9 rates agree to 17 digits, but not with the recipe as it is" in out
    for arguments in (["StepLR(3)", tmp_path / "none.csv"], ["StepLR(3", log], ["none.yaml", log]):
        status, out, err = command(*arguments)
        assert (status, out, err.count("\n")) == (2, "", 1)


def test_the_json_has_every_number(command, tmp_path):
    log = csv_log(tmp_path / "log.csv", range(9), jaxlr.step_lr(0.1, 3)(np.arange(9)))
    _, out, _ = command("StepLR(3)", log, "--format", "json")
    result = json.loads(out)
    assert result["agrees"] is True
    assert result["found"] == {"init_value": 0.1}
    _, out, _ = command("StepLR(4)", log, "--lr", "0.1", "--format", "json")
    assert json.loads(out)["first_disagreement"] == {
        "step": 3.0,
        "logged": 0.010000000000000002,
        "expected": 0.1,
    }


def test_the_plot_is_written(command, tmp_path):
    log = csv_log(tmp_path / "log.csv", range(9), jaxlr.step_lr(0.1, 3)(np.arange(9)))
    assert command("StepLR(3)", log, "--plot", tmp_path / "lr.png")[0] == 0
    assert (tmp_path / "lr.png").read_bytes().startswith(b"\x89PNG")
    status, _, err = command("StepLR(3)", log, "--plot", tmp_path / "lr.xyz")
    assert (status, "--plot must end in .png, .svg, .pdf or the like" in err) == (2, True)


def test_the_page_shows_what_the_command_prints(command, tmp_path):
    page = (Path(__file__).parents[1] / "docs" / "verify.md").read_text()
    example, *_ = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (shown,) = re.findall(r"^```text\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {}, "page", None, 0)
    doctest.DocTestRunner().run(test, clear_globs=False)
    names = test.globs
    (tmp_path / "train.sh").write_text(names["recipe"])
    status, out, _ = command(tmp_path / "train.sh", names["log"])
    assert (status, out) == (0, shown)


def test_another_number_of_nested_settings_is_found(tmp_path):
    def config(warmup):
        arguments = {"warmup_min_lr": 0, "warmup_max_lr": 1e-3, "warmup_num_steps": warmup}
        arguments |= {"total_num_steps": 1000, "warmup_type": "linear"}
        optimizer = {"type": "AdamW", "params": {"lr": 1e-3}}
        return {"optimizer": optimizer, "scheduler": {"type": "WarmupDecayLR", "params": arguments}}

    counts = np.arange(0, 1000, 10)
    schedule = jaxlr.from_config(config(100)).schedule
    assert callable(schedule)
    log = csv_log(tmp_path / "log.csv", counts, schedule(counts))
    assert jaxlr.verify(config(100), log).agrees
    result = jaxlr.verify(config(50), log)
    assert (result.agrees, result.num_explained) == (False, 100)
    assert result.found == {"scheduler.params.warmup_num_steps": 100}
