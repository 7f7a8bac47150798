"""Bad values of every flag: refused in one line, before anything is loaded or written."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxlr.train import loop
from jaxlr.train.config import TrainConfig


HUGE = "9" * 400
WORDS = [
    "",
    "nan",
    "-inf",
    HUGE,
    f"-{HUGE}",
    "lots",
    "не число",
    "数字",
    "\u202e3",
    "../../etc/passwd",
    "\0",
]

REFUSED = {
    "--epochs": [*WORDS, "0", "-1", "2.5", "2147483648"],
    "--batch-size": [*WORDS, "0", "-1", "2.5", "2147483648"],
    "--checkpoint-every": [*WORDS, "0", "-1", "2.5", "2147483648"],
    "--seed": [*WORDS, "-1", "2.5", "2147483648"],
    "--validation-size": [*WORDS, "-1", "2.5", "2147483648"],
    "--hidden": [*WORDS, "0", "-1", "2.5", "2147483648"],
    "--names": [*WORDS],
    "--lr": [*WORDS, "0", "-0.1", "inf", "1e999", "0x1p3"],
    "--momentum": [*WORDS, "1", "-0.1", "inf", "1e999"],
    "--optimizer": [
        *WORDS,
        "AdamW",
        "AdamWW()",
        "LBFGS()",
        "Muon()",
        "SGD(lr=0)",
        "SGD(momentum=1e400)",
        "SGD()()",
        "SGD(); StepLR(3)",
        "optax.adam(0.1)",
        "[SGD(), Adam()]",
        "SGD(" * 150,
    ],
    "--recipe": [
        *WORDS,
        "no/such/file.yaml",
        "train.json",
        "{",
        "a: b",
        "StpLR(3)",
        "--sched",
        "lr0=1",
        "/",
    ],
    "--framework": [*WORDS, "timm"],  # without --recipe
    "--framework-version": [*WORDS, "4.46"],
    "--scheduler": [*WORDS, "StepLR(nan)", "StepLR", "StepLR(3)" * 99, "__import__('os').abort()"],
    "--step-per": [*WORDS, "batch", "EPOCH"],
    "--on-nan": [*WORDS, "ignore"],
    "--format": [*WORDS, "csv"],
    "--data-dir": ["/no/such", "\0", "x" * 5000, "/dev/null", __file__],
    "--out": [
        *("\0", "x" * 5000, "/dev/null", "/dev/null/run", __file__),
        *("gs://bucket/run", "runs/StepLR([1])", "back\\slash", "\udcff", "x/" * 1900),
    ],
    "--devices": [*WORDS, "0", "-1", "2.5", "ALL", "2147483648"],
    "--distributed": ["yes"],
    "--coordinator": [*WORDS, "localhost:1234"],  # without --distributed
    "--num-processes": [*WORDS, "2"],
    "--process-id": [*WORDS, "0"],
    "--peer-timeout": [*WORDS, "0", "-1", "2.5", "86401", "2147483648"],
    "--compilation-cache": ["yes"],
    "--deterministic": ["yes"],
    "--autotune": ["yes"],
    "--quiet": ["yes"],
    "--resume": ["yes"],
    "--strict": ["yes"],
    "--tensorboard": ["yes"],
}
ROWS = [(flag, value) for flag, values in REFUSED.items() for value in values]


@pytest.mark.parametrize(("flag", "value"), ROWS, ids=[f"{flag} {value[:20]!a}" for flag, value in ROWS])
def test_a_bad_flag_is_one_line_before_anything_is_loaded(flag, value, tmp_path, monkeypatch, refuse):
    def load(name: str, data_dir: Path | None, progress: bool) -> Any:
        if flag != "--data-dir":  # loading is what checks this flag
            pytest.fail("the data would be loaded")
        return load_dataset(name, data_dir, progress)

    load_dataset = loop.load_dataset
    monkeypatch.setattr(loop, "load_dataset", load)
    monkeypatch.setattr(loop, "build_run", lambda *_: pytest.fail("a model would be built"))
    monkeypatch.chdir(tmp_path)
    assert len(refuse("train", flag, value)) < 1100
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("out", REFUSED["--out"], ids=lambda out: f"{out[:20]!a}")
def test_a_bad_folder_is_refused_with_resume_too(out, tmp_path, monkeypatch, refuse):
    test_a_bad_flag_is_one_line_before_anything_is_loaded(
        "--resume", f"--out={out}", tmp_path, monkeypatch, refuse
    )


def test_every_flag_is_tested_above():
    flags = {f"--{name.replace('_', '-')}" for name in TrainConfig().flags()}
    assert flags - set(REFUSED) == {"--dataset"}  # tests/test_data.py has its mistakes


ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.lists(st.integers())
)


@settings(deadline=None, max_examples=1000)
@given(values=st.dictionaries(st.sampled_from([*TrainConfig().flags()]), ANYTHING, max_size=3))
def test_any_settings_are_accepted_or_a_type_or_value_error(values: Any):
    try:
        config = TrainConfig.from_flags(**values)
    except (TypeError, ValueError) as error:
        assert str(error)
    else:
        assert config.changes_to(config) == []
        assert config.replace() == config
