"""The advice in the errors that end a run: each test does what the line says, and the run succeeds."""

import errno
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import pytest
from folders import flip_bits, metrics, small_mnist
from processes import flags

from jaxlr.cli import main
from jaxlr.train import errors, loop
from jaxlr.train.output.checkpoint import saved_epochs


pytestmark = pytest.mark.usefixtures("fast_programs")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture
def recipe(data, tmp_path, monkeypatch, undrawn_figures) -> list[str]:
    """Return the flags of a run of four epochs, without --data-dir."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(data))
    monkeypatch.chdir(tmp_path)
    return ["train", *flags(dataset="mnist", hidden=8, epochs=4, checkpoint_every=1), "--quiet"]


@pytest.fixture
def end(capsys) -> Callable[..., str]:
    """Return a function that runs a command to its error, and returns the last line on stderr."""

    def end(arguments: list[str], error: type[errors.RunError], status: int) -> str:
        assert error is errors.StopError or status == error.status
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == status
        return capsys.readouterr().err.splitlines()[-1]

    return end


def resume(line: str) -> list[dict[str, Any]]:
    """Run the command at the end of an error, and return the metrics of the run, which is finished."""
    command = re.findall(r"jaxlr (train --resume --out .*)$", line)
    arguments = shlex.split(command[0])
    main(arguments)
    rows = metrics(Path(arguments[3]))
    assert len(rows) == 4
    return rows


def test_name_a_data_directory_that_exists(recipe, end, data, tmp_path):
    line = end([*recipe, "--data-dir", str(tmp_path / "none")], errors.DataError, 2)
    assert "name one that exists" in line
    main([*recipe, "--data-dir", str(data)])


def test_validate_on_fewer_samples(recipe, end):
    line = end([*recipe, "--validation-size", "999"], errors.DataError, 2)
    available = int(re.findall(r"the dataset has (\d+) training samples", line)[0])
    main([*recipe, "--validation-size", str(available - 1)])


def test_give_out_another_folder(recipe, end, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").touch()
    (tmp_path / "[a]").mkdir()
    for out in ("thesis", "[a]/run", "gs://bucket/run", "x" * 5000, "runs/\udcff"):
        assert "--out" in end([*recipe, "--out", out], errors.FolderError, 2)
    main([*recipe, "--out", "new"])


def test_drop_the_flags_that_differ_or_give_out_a_new_folder(recipe, end):
    main([*recipe, "--out", "run", "--epochs", "2"])
    line = end([*recipe, "--out", "run", "--resume", "--lr", "0.3", "--seed", "1"], errors.FolderError, 2)
    assert "drop these flags, or give --out a new folder" in line
    assert re.findall(r"(--\w+) was", line) == ["--lr", "--seed"]
    main([*recipe, "--out", "run", "--resume"])
    main([*recipe, "--out", "new", "--resume", "--lr", "0.3", "--seed", "1"])


def test_delete_files_that_cannot_be_read(recipe, end):
    main([*recipe, "--out", "run", "--epochs", "2"])
    for name in ("data.json", "config.json"):
        path = Path("run") / name
        path.write_text("{")
        line = end([*recipe, "--out", "run", "--resume"], errors.FolderError, 2)
        assert f"cannot read {path}: " in line
        assert "; delete it" in line
        path.unlink()
        main([*recipe, "--out", "run", "--resume"])
    assert len(metrics(Path("run"))) == 4


def test_give_the_data_of_the_run(recipe, end, data, tmp_path):
    main([*recipe, "--out", "run", "--epochs", "2"])
    other = small_mnist(tmp_path / "other", seed=1)
    more = ["--out", "run", "--resume", "--data-dir"]
    assert "give its --data-dir" in end([*recipe, *more, str(other)], errors.FolderError, 2)
    main([*recipe, *more, str(data)])


def test_start_again_if_every_checkpoint_is_damaged(recipe, end):
    main([*recipe, "--out", "run", "--epochs", "2"])
    for epoch in saved_epochs(Path("run/checkpoints")):
        flip_bits(Path("run/checkpoints") / str(epoch))
    line = end([*recipe, "--out", "run", "--resume"], errors.CheckpointError, 2)
    assert "start again with another --out" in line
    main([*recipe, "--out", "new", "--resume"])


def test_set_the_variables_of_the_run_to_resume_it(recipe, end):
    main([*recipe, "--out", "run", "--epochs", "2"])
    with jax.enable_x64(True):
        line = end([*recipe, "--out", "run", "--resume"], errors.CheckpointError, 2)
    assert re.findall(r"set (\w+)=(\d) to resume it", line) == [("JAX_ENABLE_X64", "0")]
    with jax.enable_x64(False):
        main([*recipe, "--out", "run", "--resume"])


def test_give_all_devices_or_as_many_as_there_are(recipe, end):
    line = end([*recipe, "--devices", "99"], errors.DeviceError, 2)
    (most,) = re.findall(r"give all, or at most (\d+)", line)
    main([*recipe, "--epochs", "1", "--devices", "all"])
    main([*recipe, "--epochs", "1", "--devices", most])


def test_train_fewer_epochs_or_change_the_scheduler(recipe, end):
    broken = ["--scheduler", "LambdaLR(lambda epoch: 1 / (2 - epoch))"]
    line = end([*recipe, *broken], errors.RateError, 2)
    assert "at 2: " in line
    assert line.endswith("train fewer --epochs, or change the scheduler")
    main([*recipe, *broken, "--epochs", "2"])


def test_lower_the_rate_or_continue_on_nan(recipe, end):
    line = end([*recipe, "--out", "run", "--lr", "1e30"], errors.LossError, 3)
    assert "start a new run with a lower --lr, or continue as torch would, with --on-nan continue" in line
    main([*recipe, "--out", "new", "--lr", "0.1"])
    assert len(metrics(Path("new"))) == 4
    resume(line)


def test_make_room_and_resume(recipe, end, monkeypatch):
    sync, calls = os.fsync, []

    def full_disk(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        line = end([*recipe, "--out", "a run"], errors.StorageError, 4)
    assert "No space left on device; make room or make it writable; to resume after epoch " in line
    resume(line)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_resume_after_a_signal(recipe, end, monkeypatch, number, status):
    train_epoch = loop._train_epoch

    def interrupted(run: Any, state: Any, epoch: int, data: Any) -> Any:
        if epoch == 1:
            signal.raise_signal(number)
        return train_epoch(run, state, epoch, data)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "_train_epoch", interrupted)
        line = end([*recipe, "--out", "it's a run"], errors.StopError, status)
    assert "to resume after epoch 1: " in line
    main([*recipe, "--out", "unbroken"])
    assert resume(line) == metrics(Path("unbroken"))


def test_every_error_of_a_run_is_tested_above():
    """Any new error of a run needs a test that follows its advice."""
    tested = set(re.findall(r"errors\.(\w+)", Path(__file__).read_text()))
    assert {error.__name__ for error in errors.RunError.__subclasses__()} <= tested
