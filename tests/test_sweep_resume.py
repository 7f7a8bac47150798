"""A sweep that is stopped, killed or damaged, and then resumed, equals the unbroken sweep byte for byte."""

import errno
import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from folders import flip_bits, small_mnist
from processes import ENVIRONMENT, finish, flags, start

from jaxlr.cli import main
from jaxlr.train import chunks
from jaxlr.train.chunks import Chunks
from jaxlr.train.config import SweepConfig
from jaxlr.train.errors import StorageError
from jaxlr.train.output.checkpoint import Checkpoints, saved_epochs
from jaxlr.train.sweeps import sweep


pytestmark = pytest.mark.usefixtures("fast_programs")


# Momentum, a plateau that cuts, and three runs, so that the second chunk of two has to be filled up.
RECIPE: dict[str, Any] = {
    "scheduler": ("StepLR(2)", "ReduceLROnPlateau(patience=0, threshold=0.5)", "ExponentialLR(0.9)"),
    "lr": (0.05,),
    "momentum": 0.9,
    "hidden": (8,),
    "seeds": 1,
    "epochs": 3,
    "chunk": 2,
}
NUM_EPOCHS = 2 * 3


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> Path:
    """Run the unbroken sweep and return its folder."""
    out = tmp_path_factory.mktemp("sweeps") / "unbroken"
    sweep(SweepConfig.from_flags(dataset="mnist", data_dir=data, **RECIPE, quiet=True, out=out))
    return out


@pytest.fixture
def config(data, tmp_path, undrawn_figures) -> SweepConfig:
    """Return a sweep of a second that is saved after every epoch."""
    return SweepConfig.from_flags(
        dataset="mnist", data_dir=data, **RECIPE, quiet=True, out=tmp_path / "sweep", checkpoint_every=1
    )


@pytest.fixture
def finished(config, whole) -> SweepConfig:
    """Return `config`. Its folder holds the finished sweep."""
    assert config.output.out is not None
    shutil.copytree(whole, config.output.out)
    return config


@pytest.fixture
def epochs(monkeypatch) -> list[int]:
    """Return a list to which each epoch is added when it has been trained."""
    trained = []

    def train(self, data, done, progress):
        for state in train_all(self, data, done, progress):
            trained.append(state[0])
            yield state

    train_all = Chunks.train
    monkeypatch.setattr(Chunks, "train", train)
    return trained


def after(count: int, action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a sweep call `action` when `count` of its epochs are done and the last one is not saved yet."""
    train_all = Chunks.train

    def train(self, data, done, progress):
        for state in train_all(self, data, done, progress):
            if state[0] == count:
                action()
            yield state

    monkeypatch.setattr(Chunks, "train", train)


def interrupt() -> None:
    raise KeyboardInterrupt


def assert_same_sweep(out: Path | None, unbroken: Path) -> None:
    assert out is not None
    for name in ("sweep.csv", "summary.csv"):
        assert (out / name).read_bytes() == (unbroken / name).read_bytes()
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob("**/*tmp*"))


@pytest.mark.heavy
@pytest.mark.parametrize(("saved", "damaged"), [(2, False), (3, False), (3, True), (4, True)])
def test_a_sweep_that_died_resumes_with_the_next_epoch(config, whole, epochs, monkeypatch, saved, damaged):
    assert config.output.out is not None
    with monkeypatch.context() as patch:
        after(saved + 1, interrupt, patch)
        with pytest.raises(KeyboardInterrupt):
            sweep(config)
    assert saved_epochs(config.output.out / "checkpoints") == [saved - 1, saved - 2]
    with (config.output.out / "sweep.csv").open("a") as file:
        file.write("StepLR(2),0.05,0,0,0.1")  # half a line, as a kill may leave it
    epochs.clear()
    if damaged:
        flip_bits(config.output.out / "checkpoints" / str(saved - 1))
        with pytest.warns(UserWarning, match=f"the checkpoint of epoch {saved - 1} is damaged"):
            sweep(config.replace(resume=True))
    else:
        sweep(config.replace(resume=True))
    assert epochs == list(range(saved + 1 - damaged, NUM_EPOCHS + 1))
    assert_same_sweep(config.output.out, whole)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_after_a_signal_a_sweep_saves_its_epoch_and_says_how_to_resume(
    config, whole, epochs, monkeypatch, capsys, number, status
):
    def send() -> None:
        os.kill(os.getpid(), number)
        time.sleep(0.3)  # until the thread that listens has the signal

    shape = flags(lr=0.05, momentum=0.9, hidden=8, seeds=1, epochs=3, chunk=2, checkpoint_every=100)
    folders = flags(dataset="mnist", data_dir=config.data.data_dir, out=config.output.out)
    more = ["--scheduler", *config.schedule.scheduler, "--resume", "--quiet"]
    with monkeypatch.context() as patch:
        after(5, send, patch)
        with pytest.raises(SystemExit) as stop:
            main(["sweep", *shape, *folders, *more])
    assert stop.value.code == status
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"jaxlr: {number.name}: stopping after this epoch")
    command = f"jaxlr sweep --resume --out {config.output.out}"
    assert second == f"jaxlr: {number.name}: stopped; to resume after epoch 1 of chunk 1: {command}"
    lines = (config.output.out / "summary.csv").read_text().splitlines()
    assert len(lines) == 1 + 2  # the header, and the chunk that has ended
    epochs.clear()
    main(command.split()[1:])
    assert epochs == [6]
    assert_same_sweep(config.output.out, whole)


def test_a_sweep_whose_disk_was_full_resumes_to_the_unbroken_sweep(config, whole, monkeypatch):
    def full(self, epoch: int, *arguments: Any) -> None:
        if epoch == 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, epoch, *arguments)

    save = Checkpoints.save
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", full)
        with pytest.raises(StorageError) as error:
            sweep(config)
    assert f"cannot write to {config.output.out}: [Errno 28] No space left on device" in str(error.value)
    assert f"to resume after epoch 0 of chunk 1: jaxlr sweep --resume --out {config.output.out}" in str(
        error.value
    )
    sweep(config.replace(resume=True))
    assert_same_sweep(config.output.out, whole)


def test_a_sweep_stops_at_the_next_epoch_if_its_folder_vanishes(config, whole, epochs, monkeypatch):
    moved = config.output.out.with_name("moved")
    with monkeypatch.context() as patch:
        after(2, lambda: config.output.out.rename(moved), patch)
        with pytest.raises(StorageError, match="cannot write to"):
            sweep(config)
    assert epochs == [1, 2]
    sweep(config.replace(resume=True, out=moved))
    assert_same_sweep(moved, whole)


def test_a_finished_sweep_prints_its_table_and_stays_unchanged(config, capsys, monkeypatch):
    rows = sweep(config.replace(quiet=False))
    table = capsys.readouterr().out.splitlines()[3:-1]
    before = {path: path.stat().st_mtime_ns for path in config.output.out.rglob("*")}
    monkeypatch.setattr(
        import_module("jaxlr.train.sweeps"),
        "load_dataset",
        lambda *_: pytest.fail("a finished sweep needs no data"),
    )
    resume = ["sweep", "--resume", "--out", str(config.output.out)]
    main(resume)
    finished, *shown = capsys.readouterr().out.splitlines()
    assert finished == f"{config.output.out} is finished: it has all of its 3 runs"
    assert shown == table
    assert "StepLR(2)" in "\n".join(table)
    assert str(sweep(config.replace(resume=True))) == str(
        rows
    )  # as text, because the spread of one seed is NaN
    assert {path: path.stat().st_mtime_ns for path in config.output.out.rglob("*")} == before


def test_a_damaged_sweep_is_not_called_finished(finished, whole):
    out = finished.output.out
    for name in ("sweep.csv", "summary.csv"):
        lines = (out / name).read_text().splitlines(keepends=True)
        (out / name).write_text("".join(lines[:-1]))
    (out / "sweep.png").write_bytes(b"")
    sweep(finished.replace(resume=True))
    assert_same_sweep(out, whole)


def test_another_target_accuracy_changes_the_table_and_trains_nothing(finished, epochs):
    out, expected = finished.output.out, finished.output.out.with_name("expected")
    sweep(finished.replace(target_accuracy=0.1, out=expected))
    assert (out / "summary.csv").read_bytes() != (expected / "summary.csv").read_bytes()
    epochs.clear()
    sweep(finished.replace(resume=True, target_accuracy=0.1))
    assert epochs == []
    assert_same_sweep(out, expected)


CHANGES = [
    ("--lr", "0.1", "--lr was (0.05,), now (0.1,)"),
    ("--seeds", "2", "--seeds was 1, now 2"),
    ("--epochs", "4", "--epochs was 3, now 4"),
    ("--chunk", "1", "--chunk was 2, now 1"),
    ("--momentum", "0", "--momentum was 0.9, now 0.0"),
]


def test_a_resumed_sweep_refuses_changed_settings_that_affect_its_numbers(finished, data, epochs, refuse):
    before = (finished.output.out / "sweep.csv").read_bytes()
    resume = ["sweep", "--resume", "--out", str(finished.output.out)]
    for flag, value, change in CHANGES:
        assert f"with different settings ({change}): drop" in refuse(*resume, flag, value)
    main([*resume, *flags(checkpoint_every=2, target_accuracy=0.5, data_dir=data), "--quiet"])
    assert epochs == []
    assert (finished.output.out / "sweep.csv").read_bytes() == before


@pytest.mark.parametrize("name", ["sweep.csv", "summary.csv"])
def test_a_digit_that_was_changed_in_a_finished_sweep_is_written_again(finished, whole, epochs, name):
    path = finished.output.out / name
    content = path.read_bytes()
    last = max(content.rindex(b"%d" % digit) for digit in range(10) if b"%d" % digit in content)
    path.write_bytes(content[:last] + (b"8" if content[last:][:1] == b"9" else b"9") + content[last + 1 :])
    with pytest.warns(UserWarning, match=f"{path} was changed since .* it is written again"):
        sweep(finished.replace(resume=True))
    assert epochs == []
    assert_same_sweep(finished.output.out, whole)


def test_a_change_of_seeds_does_not_name_the_chunk_too(config):
    saved = config.replace(seeds=3, chunk=5)  # nine runs: chunks of 5 and of 6 both make two
    assert saved.changes_to(saved.replace(seeds=4, chunk=6)) == ["--seeds was 3, now 4"]


def test_a_resumed_sweep_keeps_the_size_of_its_chunks(config, epochs, monkeypatch):
    # Chunks of at most three make two chunks of the four runs, so they are chunks of two.
    config = config.replace(scheduler=(*config.schedule.scheduler, "ConstantLR()"), chunk=3)
    sweep(config)
    monkeypatch.setattr(chunks, "free_bytes", lambda: 1)
    for chunk in (3, None):
        (config.output.out / "sweep.png").unlink()
        epochs.clear()
        sweep(config.replace(resume=True, chunk=chunk))
        assert epochs == []
        assert (config.output.out / "sweep.png").exists()
        assert json.loads((config.output.out / "config.json").read_text())["chunk"] == 2


def test_train_and_sweep_do_not_resume_the_folders_of_each_other(finished, refuse):
    run = flags(dataset="mnist", data_dir=finished.data.data_dir, hidden=8, epochs=1)
    outs = {"sweep": finished.output.out, "train": finished.output.out.with_name("a run")}
    main(["train", *run, "--quiet", "--out", str(outs["train"])])
    for wrong, right in (("train", "sweep"), ("sweep", "train")):
        out = outs[right]
        for more in ([], run):
            quoted = f"'{out}'" if " " in out.name else out
            assert refuse(wrong, "--resume", "--out", out, *more) == (
                f"jaxlr: error: {out} was written by jaxlr {right}, not by jaxlr {wrong}: "
                f"resume it with jaxlr {right} --resume --out {quoted}\n"
            )


def test_a_sweep_saves_often_only_with_checkpoint_every(config, monkeypatch):
    monkeypatch.setattr("jaxlr.train.output.checkpoint._SHARE_OF_TIME", 1e-4)
    # By default only the first and last epoch are saved: the others do not earn their checkpoint.
    # Every 2 epochs means the second epoch of each chunk, and the last one of all.
    for every, epochs in ((None, [0, 5]), (2, [1, 4, 5])):
        out = config.output.out.with_name(f"every {every}")
        sweep(config.replace(checkpoint_every=every, out=out))
        assert sorted(saved_epochs(out / "checkpoints")) == epochs[-2:]


@pytest.mark.heavy
def test_a_sweep_killed_at_random_moments_resumes_to_the_unbroken_sweep(data, tmp_path):
    run = flags(dataset="mnist", data_dir=data, hidden=16, momentum=0.9, batch_size=8, checkpoint_every=1)
    shape = [*flags(lr=0.05, seeds=1, epochs=50, chunk=2), "--scheduler", *RECIPE["scheduler"]]
    recipe = [*run, *shape, "--resume", "--out"]
    cache = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled")}
    settings = {"env": {**ENVIRONMENT, **cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}}
    rarely = ["--checkpoint-every", 100]
    assert finish(*recipe, tmp_path / "unbroken", *rarely, name="sweep", **settings)[::2] == (0, "")
    rng = random.Random(0)
    out = tmp_path / "sweep"
    for _ in range(2):
        before = saved_epochs(out / "checkpoints")[:1]
        process = start(*recipe, out, name="sweep", **settings)
        while saved_epochs(out / "checkpoints")[:1] == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.5))
        process.kill()
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (-signal.SIGKILL, "")
    assert finish(*recipe, out, *rarely, name="sweep", **settings)[::2] == (0, "")
    assert_same_sweep(out, tmp_path / "unbroken")
