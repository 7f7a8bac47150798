"""Runs that are killed, stopped or lose their disk: no saved epoch is lost."""

import fcntl
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from folders import arrays, assert_same_run, metrics, small_mnist, train_here
from processes import ENVIRONMENT, command, finish, flags, on_cpu, start, wait_for_epoch

from jaxlr.cli import main
from jaxlr.train import loop
from jaxlr.train.output.checkpoint import saved_epochs


pytestmark = pytest.mark.usefixtures("undrawn_figures")

# Momentum, and a plateau that is in its cooldown most of the time, so every kind of state is needed.
RECIPE: list[Any] = flags(
    dataset="mnist",
    hidden=16,
    lr=0.05,
    momentum=0.9,
    batch_size=8,
    checkpoint_every=1,
    scheduler="ReduceLROnPlateau(patience=0, factor=0.9, cooldown=3)",
)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_mnist(tmp_path_factory.mktemp("data") / "mnist")


def survive(recipe: list[Any], out: Path, numbers: list[signal.Signals], settings: dict[str, Any]) -> None:
    """Send signals to a run at random moments, resume it after each one, and finish it."""
    rng = random.Random(sum(numbers))
    broken = [*recipe, "--out", out, "--resume"]
    startup = 3.0
    for number in numbers:
        began = time.monotonic()
        process = start(*broken, **settings)
        if rng.random() < 0.3:  # at any moment: while it starts, reads its checkpoint, or trains
            time.sleep(rng.uniform(0, 1.2 * startup))
        else:
            assert wait_for_epoch(process)
            startup = time.monotonic() - began
            time.sleep(rng.uniform(0, 0.3))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode in (-number, 128 + number), err
        assert "error" not in err, err
        if process.returncode > 0:
            assert err.startswith(f"jaxlr: {number.name}: stopping after this epoch")
            assert err.endswith(f": jaxlr train --resume --out {out}\n")
    status, _, err = finish(*broken, "--checkpoint-every", 100, **settings)
    assert (status, err) == (0, "")


@pytest.fixture(scope="module")
def interrupted(data, tmp_path_factory) -> Callable[..., None]:
    """Return a function that checks that an interrupted run equals the unbroken run."""
    folder = tmp_path_factory.mktemp("interrupted")
    # These runs have their own program cache, because a kill may leave a damaged program there.
    cache = {"JAX_COMPILATION_CACHE_DIR": str(folder / "compiled")}
    settings = {"env": {**ENVIRONMENT, **cache, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}}

    def check(name: str, numbers: list[signal.Signals]) -> None:
        recipe = [*RECIPE, "--data-dir", data, "--epochs", 25 * len(numbers)]
        unbroken = folder / f"unbroken-{len(numbers)}"
        if not unbroken.exists():  # this run compiles for all, so that few signals hit a compilation
            unsaved = [*recipe, "--out", unbroken, "--checkpoint-every", 10**6]
            assert finish(*unsaved, **settings)[0] == 0
        survive(recipe, folder / name, numbers, settings)
        assert_same_run(folder / name, unbroken)

    return check


@pytest.mark.heavy
@pytest.mark.timeout(900)
def test_a_run_killed_and_stopped_5_times_each_equals_the_unbroken_run(interrupted):
    interrupted("both", [signal.SIGKILL, signal.SIGTERM] * 5)


@pytest.mark.endurance
@pytest.mark.timeout(9000)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_killed_or_stopped_200_times_equals_the_unbroken_run(interrupted, number):
    interrupted(number.name, [number] * 200)


@pytest.mark.heavy
def test_after_ctrl_c_a_run_saves_its_epoch_and_says_how_to_resume(data, tmp_path):
    out = tmp_path / "a run"
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 10**6, "--checkpoint-every", 10**5, "--out", out]
    process = start(*recipe)
    assert wait_for_epoch(process, 3)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (last,) = saved_epochs(out / "checkpoints")
    assert len(metrics(out)) == last + 1 >= 4
    first, second = err.splitlines()
    assert first.startswith("jaxlr: SIGINT: stopping after this epoch")
    assert f"to resume after epoch {last}: jaxlr train --resume --out '{out}'" in second
    assert (out / "curves.png").exists()


@pytest.mark.heavy
@pytest.mark.parametrize("name", ["train", "sweep"])
def test_a_signal_before_the_first_epoch_ends_the_command_silently(data, tmp_path, name):
    """The signal arrives while flags or data are read, in a compilation, or in a callback of JAX."""
    recipe = ["--dataset", "mnist", "--data-dir", data, "--epochs", 10**6, "--no-compilation-cache"]
    rng = random.Random(name)
    for number in (signal.SIGINT, signal.SIGTERM):
        process = start(*recipe, "--out", tmp_path / f"{number}-{rng.random()}", name=name)
        for has_handler in (True, False):  # Python has a handler until jaxlr removes it on import
            while catches(process.pid, signal.SIGINT) != has_handler:
                assert process.poll() is None
                time.sleep(0.01)
        time.sleep(rng.uniform(0, 4))
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        if "stopping after this epoch" in err:  # training had begun
            assert process.returncode == 128 + number
        else:
            assert (process.returncode, err) == (-number, "")


def resume_for_one_epoch(arguments: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Resume a run in this process, which is faster than in one of its own, and end it after an epoch."""

    def interrupt(row: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "has_finite_loss", interrupt)
    with pytest.raises(KeyboardInterrupt):
        main(["train", *map(str, arguments)])


def catches(pid: int, number: signal.Signals) -> bool:
    """Return True if a process has a handler for a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1]
    return bool(int(mask, 16) >> (number - 1) & 1)


@pytest.mark.heavy
def test_a_second_signal_stops_at_once(tmp_path):
    """Send both signals during an epoch that would take minutes in compiled code, on a CPU."""
    large = ["--hidden", *[1500] * 3, "--batch-size", 1]
    process = start(*large, "--out", tmp_path / "run", env=on_cpu())
    while not catches(process.pid, signal.SIGTERM):
        assert process.poll() is None
        time.sleep(0.1)
    time.sleep(1)  # now it compiles, or trains the first epoch
    process.send_signal(signal.SIGTERM)
    assert process.stderr is not None
    assert process.stderr.readline().startswith("jaxlr: SIGTERM: stopping after this epoch")
    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    process.communicate(timeout=60)
    assert time.monotonic() - sent < 2
    assert process.returncode == 143


@pytest.mark.heavy
def test_a_second_run_on_the_same_folder_is_refused(data, tmp_path, refuse, monkeypatch):
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 10**6, "--out", tmp_path / "run"]
    first = start(*recipe)
    assert wait_for_epoch(first)
    err = refuse("train", *recipe, "--resume")
    assert err == f"jaxlr: error: another run is writing to {tmp_path / 'run'}: give --out another folder\n"
    first.kill()
    first.communicate(timeout=60)
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[:-1]
    resume_for_one_epoch([*recipe, "--resume"], monkeypatch)  # the lock has gone
    kept = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert sum(row in kept for row in rows) >= len(rows) - 2  # epochs after the last checkpoint are lost


@pytest.mark.heavy
def test_a_run_whose_disk_was_full_or_read_only_resumes_to_the_unbroken_run(data, tmp_path):
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 60]
    unbroken = train_here([*recipe, "--checkpoint-every", 100], tmp_path / "unbroken")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = tmp_path / "script"
    # Only this script sees the tmpfs, because it has a mount namespace of its own.
    script.write_text(f"""
        set -u
        mount -t tmpfs -o size=1m tmpfs {disk} || exit 77
        ( until grep -qs '"epoch": 20' {disk}/run/metrics.jsonl; do sleep 0.01; done
          cat /dev/zero > {disk}/filler ) 2> /dev/null &
        "$@" --resume 2> {tmp_path}/err > {tmp_path}/log; echo $? > {tmp_path}/status
        wait
        "$@" --resume 2>> {tmp_path}/err > {tmp_path}/log; echo $? >> {tmp_path}/status
        rm {disk}/filler
        mount -o remount,ro {disk}
        "$@" --resume 2>> {tmp_path}/err > {tmp_path}/log; echo $? >> {tmp_path}/status
        mount -o remount,rw {disk}
        "$@" --resume 2>> {tmp_path}/err > {tmp_path}/log; echo $? >> {tmp_path}/status
        cp -a {disk}/run {tmp_path}/run
    """)
    run = command([*recipe, "--out", disk / "run"])
    done = subprocess.run(
        ["unshare", "-Urm", "bash", str(script), *run], check=False, capture_output=True, text=True
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr}")
    assert (tmp_path / "status").read_text().split() == ["4", "4", "2", "0"]
    said = (tmp_path / "err").read_text()
    assert said.count("\n") == 3, said
    full, still_full, read_only = said.splitlines()
    for line in (full, still_full):
        assert line.startswith(f"jaxlr: error: cannot write to {disk}/run: ")
        assert "No space left on device" in line
        assert re.search(rf"to resume after epoch \d+: jaxlr train --resume --out {disk}/run", line)
    assert read_only.startswith(f"jaxlr: error: cannot write to {disk}/run: ")
    assert "read-only" in read_only
    assert_same_run(tmp_path / "run", unbroken)


@pytest.mark.heavy
def test_a_run_without_free_inodes_ends_and_says_so_in_one_line(data, tmp_path):
    script = f'mount -t tmpfs -o size=20m,nr_inodes=24 tmpfs {tmp_path} || exit 77; exec "$@"'
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 30, "--out", tmp_path / "run"]
    done = subprocess.run(
        ["unshare", "-Urm", "bash", "-c", script, "bash", *command(recipe)],
        **{"check": False, "capture_output": True, "text": True, "env": ENVIRONMENT, "timeout": 60},
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr}")
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "No space left on device" in done.stderr


@pytest.mark.heavy
def test_a_run_with_few_open_files_ends_and_says_so_in_one_line(data, tmp_path):
    few = ["bash", "-c", 'ulimit -n 20; exec "$@"', "bash"]
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 3, "--out", tmp_path / "run"]
    done = subprocess.run(
        [*few, *command(recipe)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=on_cpu(),  # the driver of a GPU opens more files than that
    )
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert "Too many open files" in done.stderr


@pytest.mark.heavy
def test_a_run_that_met_a_file_size_limit_resumes_to_the_unbroken_run(data, tmp_path):
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 12]
    # Python 3.11 would keep the bytecode of a new module cut off at the limit, and never load it again.
    environment = ENVIRONMENT | {"PYTHONDONTWRITEBYTECODE": "1"}
    for limit in (1, 3):  # KiB: too few for the metrics, and for the arrays of a checkpoint
        out = tmp_path / f"run-{limit}"
        bounded = ["bash", "-c", f'trap "" XFSZ; ulimit -f {limit}; exec "$@"', "bash"]
        done = subprocess.run(
            [*bounded, *command([*recipe, "--out", out])],
            capture_output=True,
            text=True,
            check=False,
            env=environment,
        )
        assert done.returncode == 4
        # A program that is compiled here for the first time is too large to be kept.
        *not_kept, error = done.stderr.splitlines()
        assert error.startswith(f"jaxlr: error: cannot write to {out}: ")
        assert "File too large" in error
        assert len(not_kept) <= 1
        assert all(line.startswith("jaxlr: warning: compiled programs are not kept: ") for line in not_kept)
        train_here([*recipe, "--resume"], out)  # in this process, without the limit
    unbroken = train_here(recipe, tmp_path / "unbroken")
    for limit in (1, 3):
        assert_same_run(tmp_path / f"run-{limit}", unbroken)


@pytest.mark.heavy
def test_a_run_whose_folder_was_moved_ends_with_one_line_and_resumes_there(data, tmp_path, monkeypatch):
    process = start(*RECIPE, "--data-dir", data, "--epochs", 10**6, "--out", tmp_path / "run")
    assert wait_for_epoch(process)
    (tmp_path / "run").rename(tmp_path / "moved")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 4
    assert err.startswith(f"jaxlr: error: cannot write to {tmp_path / 'run'}: ")
    assert err.count("\n") == 1
    last = max(saved_epochs(tmp_path / "moved" / "checkpoints"), default=-1)
    resume_for_one_epoch(["--resume", "--out", tmp_path / "moved"], monkeypatch)
    assert len(metrics(tmp_path / "moved")) == last + 2


def test_a_run_whose_data_moved_resumes_with_the_new_data_dir(data, tmp_path, refuse):
    home = shutil.copytree(data, tmp_path / "data")
    train_here([*RECIPE, "--epochs", 3, "--data-dir", home], tmp_path / "run")
    home.rename(tmp_path / "elsewhere")
    err = refuse("train", "--resume", "--epochs", 5, "--out", tmp_path / "run")
    assert err == (f"jaxlr: error: the data directory {home} is not a directory: name one that exists\n")
    before = arrays(tmp_path / "run", 2)
    train_here(["--resume", "--epochs", 5, "--data-dir", tmp_path / "elsewhere"], tmp_path / "run")
    assert before != arrays(tmp_path / "run", 4)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["epochs"], config["data_dir"]) == (5, str(tmp_path / "elsewhere"))


@pytest.mark.heavy
def test_a_run_whose_reader_has_stalled_obeys_a_signal(data, tmp_path):
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 8192)  # the output of few epochs fills it
    recipe = [*RECIPE, "--data-dir", data, "--epochs", 10**6, "--checkpoint-every", 10**5]
    process = start(*recipe, "--out", tmp_path / "run", stdout=write_end, stderr=write_end)
    log, size = tmp_path / "run" / "metrics.jsonl", 0
    while not size or log.stat().st_size > size:  # until the run waits for its reader
        assert process.poll() is None
        size = log.stat().st_size if log.exists() else 0
        time.sleep(1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 143
    (last,) = saved_epochs(tmp_path / "run" / "checkpoints")
    assert len(metrics(tmp_path / "run")) == last + 1
    os.close(read_end)
    os.close(write_end)


@pytest.mark.heavy
def test_a_run_goes_to_its_end_if_nobody_reads_its_output(data, tmp_path):
    with start(*RECIPE, "--data-dir", data, "--epochs", 20, "--out", tmp_path / "run") as process:
        assert wait_for_epoch(process)
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        err = process.stderr.read()
    assert process.returncode == 0
    assert err.startswith("jaxlr: warning: the output is not written any more")
    assert len(metrics(tmp_path / "run")) == 20
