"""The readers of logs: each kind, the printed digits, damaged lines and resumed parts."""

import json
import shutil
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from log_files import RECORDED, csv_log, linear_rate, trainer_state

from jaxlr.logs.formats import read_log


KINDS = [  # a recorded log, its program, the column, the number of rates, and the first and last one
    ("trainer_state.json", "huggingface", "learning_rate", 40, (1, 0.0), 40),
    ("trainer.tfevents", "huggingface", "train/learning_rate", 40, (1, 0.0), 40),
    ("lightning_step.csv", "lightning", "lr-AdamW", 12, (1, 0.010031362425060059), 23),
    ("lightning_epoch.csv", "lightning", "lr-AdamW", 3, (0, 0.01), 16),
    ("scalars.json", "mmengine", "lr", 15, (2, 0.0028742857142857146), 30),
    ("metrics.jsonl", "jaxlr", "lr", 5, (0, 0.3), 4),
]


@pytest.mark.parametrize(("name", "kind", "column", "count", "first", "last"), KINDS, ids=lambda each: each)
def test_a_recorded_log_is_recognized_and_read(name, kind, column, count, first, last):
    log = read_log(RECORDED / name)
    points = log.columns[column]
    steps = np.where(np.isnan(points.steps), points.epochs, points.steps)
    assert (log.kind, [*log.columns], len(points.rates)) == (kind, [column], count)
    assert (steps[0], points.rates[0], steps[-1]) == (*first, last)
    assert log.notes == ()


def test_a_log_is_recognized_by_its_content_and_not_by_its_name(tmp_path):
    for name, *_ in KINDS:
        shutil.copy(RECORDED / name, tmp_path / "log.txt")
        assert read_log(tmp_path / "log.txt").kind == read_log(RECORDED / name).kind


DETECTRON2 = (
    '{"data_time": 0.005, "eta_seconds": 311.2, "iteration": 19, "lr": 1.60675e-05, "total_loss": 2.6}'
)
MMCV = '{"mode": "train", "epoch": 2, "iter": 50, "lr": 0.00198, "memory": 1, "loss": 0.1}'
OTHERS = [
    (DETECTRON2, "detectron2", "lr", 1.60675e-05),
    ('{"env_info": "sys.platform: linux"}\n' + MMCV, "mmcv", "lr", 0.00198),
    ('{"step": 1, "optim/lr": 0.5}', "json", "optim/lr", 0.5),
    ('[{"epoch": 0, "lr": 0.5}, {"epoch": 1, "lr": 0.25}]', "json", "lr", 0.5),
    ('{"lr": [0.5, 0.25], "loss": [2.0, 1.0]}', "json", "lr", 0.5),
    ('{"history": [{"epoch": 0, "lr": 0.5}]}', "json", "lr", 0.5),
    ('{"iter": 1, "lr": [0.5, 0.05], "time": 1}', "mmengine", "lr/0", 0.5),
    ("epoch;learning_rate\n0;0.5\n", "csv", "learning_rate", 0.5),
    (
        "Step\tGroup: a - train/learning_rate\tGroup: a - train/learning_rate__MIN\n1\t0.5\t0.5\n",
        "csv",
        None,
        0.5,
    ),
    (
        "               epoch,      x/lr0,      x/lr1\n       0,        0.5,       0.07\n",
        "ultralytics",
        "x/lr0",
        0.5,
    ),
    ("iteration,lr-SGD/pg1,lr-SGD/pg2,lr-SGD-momentum\n0,0.5,0.25,0.9\n", "lightning", "lr-SGD/pg1", 0.5),
    ("epoch,train_loss,eval_loss,lr\n0,1.0,1.0,0.5\n", "csv", "lr", 0.5),
]


@pytest.mark.parametrize(("text", "kind", "column", "rate"), OTHERS, ids=lambda each: str(each)[:20])
def test_other_logs_are_recognized(tmp_path, text, kind, column, rate):
    (tmp_path / "log").write_text(text)
    log = read_log(tmp_path / "log")
    assert log.kind == kind
    assert "lr-SGD-momentum" not in log.columns
    name = next(iter(log.columns)) if column is None else column
    assert log.columns[name].rates[0] == rate


@pytest.mark.parametrize(
    ("printed", "digits", "tolerances"),
    [
        (["0.000269954", "0.00028322"], 6, [5e-10, 5e-10]),  # %.6g leaves out zeros
        (["0.1", "0.01", "0.001"], 6, [5e-7, 5e-8, 5e-9]),  # the shortest form
        (["0.100", "0.010", "0.001"], 3, [5e-4, 5e-4, 5e-4]),  # three decimals
        (["1.00e-03", "5.02e-04"], 3, [5e-6, 5e-7]),  # three digits
        (["4.6000000000000004e-07", "9.6e-07"], 17, [5e-24, 5e-24]),
    ],
)
def test_the_printed_digits_are_those_of_the_column(tmp_path, printed, digits, tolerances):
    (tmp_path / "log.csv").write_text(
        "step,lr\n" + "".join(f"{n},{text}\n" for n, text in enumerate(printed))
    )
    points = read_log(tmp_path / "log.csv").columns["lr"]
    assert points.digits == digits
    np.testing.assert_allclose(points.tolerances, tolerances, rtol=1e-9)


def test_a_log_that_was_cut_off_is_read_up_to_the_cut(tmp_path):
    whole = trainer_state(tmp_path / "whole.json").read_text()
    (tmp_path / "cut.json").write_text(whole[: len(whole) // 2])
    log = read_log(tmp_path / "cut.json")
    points = log.columns["learning_rate"]
    assert log.kind == "huggingface"
    assert 40 < len(points.rates) < 60
    assert points.rates.tolist() == [linear_rate(int(step), 1e-5, 100, 1000) for step in points.steps]
    assert log.notes[0] == f"cut.json is damaged after {len(points.rates)} rows of log_history."


def test_an_event_file_that_was_cut_off_is_read_up_to_the_cut(tmp_path):
    data = (RECORDED / "trainer.tfevents").read_bytes()
    (tmp_path / "cut").write_bytes(data[: len(data) // 2])
    log = read_log(tmp_path / "cut")
    whole = read_log(RECORDED / "trainer.tfevents").columns["train/learning_rate"]
    (points,) = log.columns.values()
    assert 5 < len(points.rates) < 40
    assert points.rates.tolist() == whole.rates[: len(points.rates)].tolist()
    assert "is damaged or cut off at byte" in log.notes[0]


def test_a_scalar_of_an_event_file_with_another_name_can_be_given(tmp_path):
    with pytest.importorskip("tensorboardX").SummaryWriter(str(tmp_path)) as writer:
        for step in range(3):
            writer.add_scalar("loss", 1.0, step)
            writer.add_scalar("opt/eta", 0.5**step, step)
    with pytest.raises(ValueError, match=r"has no learning rate, it has loss, opt/eta: give rate_column"):
        read_log(tmp_path)
    assert read_log(tmp_path, rate_column="opt/eta").columns["opt/eta"].rates.tolist() == [1, 0.5, 0.25]


def test_a_step_that_an_event_file_has_twice_is_named(tmp_path):
    with pytest.importorskip("tensorboardX").SummaryWriter(str(tmp_path)) as writer:
        for step, rate in ((0, 0.5), (0, 0.25), (1, 0.125)):
            writer.add_scalar("lr", rate, step)
            writer.add_scalar("epoch", 3, step)
    log = read_log(tmp_path)
    assert log.columns["lr"].rates.tolist() == [0.25, 0.125]
    assert log.columns["lr"].epochs.tolist() == [3.0, 3.0]
    assert "1 rate is replaced by later rows of the same steps" in log.notes[0]


@pytest.mark.parametrize("bad", ['{"step": 3, "lr": 0.1', "<<<<<<< HEAD", "\0\0\0", "3,4,5,6", "[" * 3000])
def test_a_damaged_line_is_left_out_and_named(tmp_path, bad):
    lines = [f'{{"step": {step}, "lr": {0.5**step}}}' for step in range(6)]
    (tmp_path / "log.jsonl").write_text("\n".join([*lines[:3], bad, *lines[3:]]))
    csv_log(tmp_path / "log.csv", range(6), 0.5 ** np.arange(6))
    text = (tmp_path / "log.csv").read_text().splitlines()
    (tmp_path / "log.csv").write_text("\n".join([*text[:4], bad, *text[4:]]))
    for name, line in (("log.jsonl", 4), ("log.csv", 5)):
        log = read_log(tmp_path / name)
        assert log.columns["lr"].rates.tolist() == (0.5 ** np.arange(6)).tolist()
        assert log.notes == (f"1 damaged line is left out (line {line}).",)


def test_a_rate_that_is_no_number_is_left_out_with_a_note(tmp_path):
    rows = ['{"step": 0, "lr": 0.1}', '{"step": 1, "lr": NaN}', '{"step": 2, "loss": 1}']
    (tmp_path / "log.jsonl").write_text("\n".join(rows))
    log = read_log(tmp_path / "log.jsonl")
    assert log.columns["lr"].steps.tolist() == [0]
    assert log.notes == ("1 row is left out, because lr is no number there.",)


def test_a_resumed_part_replaces_the_steps_that_it_did_again(tmp_path):
    steps = [1, 2, 3, 4, 3, 4, 5]
    rates = [0.5, 0.4, 0.3, 0.2, 0.31, 0.21, 0.11]
    log = read_log(csv_log(tmp_path / "log.csv", steps, rates))
    assert log.columns["lr"].steps.tolist() == [1, 2, 3, 4, 5]
    assert log.columns["lr"].rates.tolist() == [0.5, 0.4, 0.31, 0.21, 0.11]
    assert log.notes == (
        "2 rates are replaced by later rows of the same steps, as after a resume (1 time).",
    )


def test_a_new_run_in_the_same_file_replaces_the_one_before(tmp_path):
    log = read_log(csv_log(tmp_path / "log.csv", [0, 10, 20, 0, 10], [0.5, 0.4, 0.3, 0.2, 0.1]))
    assert log.columns["lr"].rates.tolist() == [0.2, 0.1]


def test_the_iterations_of_mmcv_start_again_in_each_epoch(tmp_path):
    rows = [{"mode": "train", "epoch": e, "iter": i, "lr": 0.1} for e in (1, 2) for i in (5, 10)]
    (tmp_path / "log.json").write_text("\n".join(map(json.dumps, rows)))
    log = read_log(tmp_path / "log.json")
    assert (len(log.columns["lr"].rates), log.notes) == (4, ())


def test_the_log_in_a_folder_is_found(tmp_path):
    for name in ("checkpoint-40", "checkpoint-100"):
        (tmp_path / name).mkdir()
        trainer_state(tmp_path / name / "trainer_state.json", length=int(name[11:]))
    assert read_log(tmp_path).facts["max_steps"] == 100
    (tmp_path / "metrics.jsonl").write_text((RECORDED / "metrics.jsonl").read_text())
    assert read_log(tmp_path).kind == "jaxlr"


def test_columns_with_other_names_can_be_given(tmp_path):
    path = csv_log(tmp_path / "log.csv", [0, 7], [0.5, 0.25], header="tick,eta")
    with pytest.raises(ValueError, match="is no log that jaxlr knows: its first line is 'tick,eta'"):
        read_log(path)
    assert read_log(path, "tick", "eta").columns["eta"].rates.tolist() == [0.5, 0.25]
    path = csv_log(tmp_path / "log.csv", [0, 7], [0.5, 0.25], header="tick,lr")
    with pytest.raises(
        ValueError, match=r"has no column of steps or epochs, it has tick, lr: give step_column"
    ):
        read_log(path)
    assert read_log(path, "tick").columns["lr"].steps.tolist() == [0, 7]
    path = csv_log(tmp_path / "log.csv", [0, 7], [0.5, 0.25], header="step,eta")
    assert read_log(path, rate_column="eta").columns["eta"].rates.tolist() == [0.5, 0.25]
    with pytest.raises(ValueError, match=r"log.csv has no column 'x', it has step, eta"):
        read_log(path, rate_column="x")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a pointer of Git LFS"),
        (b"\x80\x02}\x00\x00", "is neither a text nor an event file"),
        (b"hello\nworld\n", "is no log that jaxlr knows"),
        (b"step,loss\n1,2\n", "has no learning rate, it has step, loss"),
        (b'{"step": 1, "loss": 2}\n', "has no learning rate, it has step, loss"),
        (b'{"log_history": [{"step": 1, "loss": 2}]}', "has no learning rate, it has step, loss"),
        (b'{\n"a": 1', "it is no complete JSON, and has no log_history"),
        (b'{\n"a": 1}', "no log_history, and no lists of one length"),
        (b"step,lr\n1,nan\n", "the column 'lr' of log has no number: give rate_column"),
        (b"step,lr\nnan,0.1\n,0.2\n", "the column 'step' of log has no number: give step_column"),
        (b"step,lr\n", "log has no row that can be read"),
        (
            b"[]",
            'log has no row that can be read: a row must be a JSON object such as {"step": 0, "lr": 0.1}',
        ),
        (b"{'step': 1}\n", 'line 1 must be a JSON object such as {"step": 0, "lr": 0.1}'),
        ("step,lr\n0,0.1\n".encode("utf-16"), "a text must be in UTF-8"),
        (b"step;lr\n0;0,1\n", "line 2 must have a cell for each column, and numbers such as 0.1"),
    ],
)
def test_a_file_without_rates_is_refused(tmp_path, content, message):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_log(tmp_path / "log")


def test_a_folder_without_a_log_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no trainer_state.json, .* and no event file: give the file"):
        read_log(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_log(tmp_path / "none.csv")


@settings(max_examples=60, deadline=None)
@given(data=st.data(), name=st.sampled_from([row[0] for row in KINDS]))
def test_damage_is_a_value_error_or_leaves_true_rates(data, name, tmp_path_factory):
    content = bytearray((RECORDED / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        log = read_log(path)
    except ValueError:
        return
    for points in log.columns.values():
        assert len(points.rates) == len(points.steps) == len(points.tolerances) > 0
        assert np.isfinite(points.rates).all()


def test_numbers_keep_the_digits_of_the_text(tmp_path):
    path = trainer_state(tmp_path / "state.json")
    pairs = read_log(path).facts["epochs_and_steps"]
    assert pairs[0] == (Decimal("0.07"), 10)
