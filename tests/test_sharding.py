"""Runs on several devices or processes have the numbers of a run on one, and can be resumed on any."""

import contextlib
import csv
import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from folders import assert_same_run, metrics, small_mnist, train_here
from helpers import FAST_COMPILATION
from jax.sharding import AbstractMesh
from processes import ROOT, finish, flags, on_cpu, start_program, wait_for_epoch

from jaxlr._compat import enable_x64
from jaxlr.train import chunks as chunking
from jaxlr.train.config import TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.device import watchdog
from jaxlr.train.device.mesh import check_divides
from jaxlr.train.errors import DeviceError
from jaxlr.train.output.checkpoint import saved_epochs
from jaxlr.train.output.folder import RunFolder, saved_config


# Momentum, a plateau that is often in its cooldown, a last batch of 8, and 50 validation samples.
RECIPE = flags(
    dataset="mnist",
    hidden=16,
    lr=0.05,
    momentum=0.9,
    batch_size=24,
    scheduler="ReduceLROnPlateau(patience=0, factor=0.5, cooldown=2)",
)
EIGHT = on_cpu(8)
RTOL = 1e-5
DEVICES_PAGE = (ROOT / "docs/devices.md").read_text()


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> list[Any]:
    return [*RECIPE, "--data-dir", small_mnist(tmp_path_factory.mktemp("data") / "mnist")]


@pytest.fixture(scope="module")
def unbroken(recipe, tmp_path_factory) -> Path:
    """Train eight epochs on one device and return the folder."""
    return train_on_cpu([*recipe, "--epochs", 8], tmp_path_factory.mktemp("unbroken") / "run")


def train_on_cpu(arguments: list[Any], out: Path) -> Path:
    """Train on one CPU, like the runs beside it, and return the folder."""
    if jax.default_backend() == "cpu":
        return train_here(arguments, out)
    assert finish(*arguments, "--out", out, env=on_cpu())[0] == 0
    return out


# The fixture `fast_programs`, for a program.
QUICKLY = f"""
from jaxlr.train import chunks, program
chunks.compiler_options = program.compiler_options = lambda device: {FAST_COMPILATION!r}
"""
# Several commands in one process, which imports everything once.
COMMANDS = f"""{QUICKLY}
import json, sys
from jaxlr.cli import main
for arguments in json.loads(sys.argv[1]):
    main(arguments)
"""


def run_on_eight(*commands: list[Any]) -> str:
    """Run commands in a process with eight devices, and return what they print."""
    words = json.dumps([[str(word) for word in words] for words in commands])
    program = [sys.executable, "-c", COMMANDS, words]
    done = subprocess.run(program, env=EIGHT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def assert_close_runs(out: Path, other: Path) -> None:
    """Check that two runs have the same learning rates, and the same losses up to float rounding."""
    rows, others = metrics(out), metrics(other)
    assert [row["lr"] for row in rows] == [row["lr"] for row in others]
    assert len({row["lr"] for row in rows}) > 1
    for name in ("train_loss", "valid_loss", "valid_accuracy"):
        np.testing.assert_allclose([row[name] for row in rows], [row[name] for row in others], rtol=RTOL)


# One process


@pytest.mark.heavy
def test_several_devices_give_the_numbers_of_one(recipe, unbroken, tmp_path):
    train = ["train", *recipe, "--epochs", 8]
    said = run_on_eight(
        *([*train, "--devices", devices, "--out", tmp_path / devices] for devices in ("2", "all"))
    )
    assert re.findall(r" on cpu, (\d) devices\n", said) == ["2", "8"]
    for devices in ("2", "all"):
        assert_close_runs(tmp_path / devices, unbroken)


COUNT_COLLECTIVES = (
    QUICKLY
    + """
import re, sys
from jaxlr.train.config import SweepConfig, TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.program import build_run
from jaxlr.train.data.splits import split_dataset
from jaxlr.train.device.mesh import mesh_of, replicate
from jaxlr.train.chunks import build_chunks

config = TrainConfig.from_flags(hidden=(16,), batch_size=32, validation_size=440, devices="all")
mesh = mesh_of(config.device.devices)
data = replicate(mesh, split_dataset(load_dataset("digits"), 440))
run = build_run(config, data.train, 10, mesh)
program = run.epoch.lower(replicate(mesh, run.state), data.train, data.valid).compile().as_text()
for line in program.splitlines():
    if found := re.search(r"= (.*?) (dot|all-\\w+|collective-\\w+|reduce-scatter)\\(", line):
        print(found[2], re.sub(r"\\{.*?\\}", "", found[1]))

config = SweepConfig.from_flags(hidden=(16,), scheduler=("StepLR(1)",), lr=(0.1,), seeds=10)
chunks = build_chunks(config, data._replace(test=None), 10, mesh)
program = chunks.epoch.as_text()
weights = sorted(set(re.findall(r"f32\\[(\\d+),64,16\\]", program)))
print("sweep", chunks.size, chunks.width, re.findall(r" (all-\\w+|collective-\\w+)\\(", program), weights)
"""
)


@pytest.mark.heavy
def test_each_device_computes_its_share_and_gradients_are_reduced_once_per_step():
    done = subprocess.run(
        [sys.executable, "-c", COUNT_COLLECTIVES], capture_output=True, text=True, check=True, env=EIGHT
    )
    *lines, sweep = done.stdout.splitlines()
    dots = {line for line in lines if line.startswith("dot")}
    assert {"dot f32[4,16]", "dot f32[55,16]"} <= dots  # a batch of 32, 440 validation samples
    assert not {line for line in dots if re.search(r"\[(32|440),", line)}
    reductions = [line for line in lines if not line.startswith("dot")]
    assert all(line.startswith("all-reduce") for line in reductions)
    # One reduces the gradients and the loss of a batch, the others the means of the validation.
    assert len([line for line in reductions if "[16,64]" in line or "[64,16]" in line]) == 1
    assert len(reductions) <= 3
    assert sweep == "sweep 10 16 [] ['2']"  # two runs per device, and no communication


@pytest.mark.parametrize(
    ("batch_size", "devices", "nearest"), [(30, 8, "24 and 32"), (3, 8, "8"), (33, 2, "32 and 34")]
)
def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_sizes(batch_size, devices, nearest):
    mesh: Any = AbstractMesh((devices,), ("devices",))
    with pytest.raises(DeviceError, match=f"--batch-size {batch_size} does not .* do are {nearest}$"):
        check_divides("--batch-size", batch_size, mesh)
    for size in nearest.split(" and "):
        check_divides("--batch-size", int(size), mesh)


def test_more_devices_than_jax_sees_are_refused(tmp_path, refuse):
    count = len(jax.devices())
    error = refuse("train", "--devices", count + 2, "--out", tmp_path / "run")
    sees = f"JAX sees {count} ({jax.default_backend()})"
    assert error == f"jaxlr: error: --devices {count + 2}: {sees}; give all, or at most {count}\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.heavy
def test_a_sweep_has_the_same_numbers_on_one_and_eight_devices_and_when_it_changes_them(recipe, tmp_path):
    data = [*recipe[:2], *recipe[-2:]]
    shape = ["--scheduler", "StepLR(2)", "ReduceLROnPlateau(patience=0)", *flags(lr=0.05, seeds=5)]
    sweep = ["sweep", *data, *shape, *flags(hidden=8, epochs=3), "--out"]
    folders = [tmp_path / "one", tmp_path / "eight"]

    def tables(*commands: list[Any], resumed: int = 0) -> list[list[list[str]]]:
        said = run_on_eight(*commands)
        assert said.count("= 10 runs of 3 epochs, 10 at once\n") == 2
        assert said.count("resuming after epoch 0 of chunk 0\n") == resumed
        return [list(csv.reader((out / "sweep.csv").read_text().splitlines())) for out in folders]

    one, eight = tables([*sweep, folders[0]], [*sweep, folders[1], "--devices", "all"])
    for out in folders:  # as if killed; then each resumes on the devices of the other
        for epoch in saved_epochs(out / "checkpoints")[:-1]:
            shutil.rmtree(out / "checkpoints" / str(epoch))
    resume = [*sweep[:-1], "--resume", "--out"]
    one_then_eight, eight_then_one = tables(
        [*resume, folders[0], "--devices", "all"], [*resume, folders[1]], resumed=2
    )
    for other in (eight, eight_then_one, one_then_eight):
        assert [row[:4] for row in one] == [row[:4] for row in other]
        numbers = [np.array([row[4:] for row in rows[1:]], float) for rows in (one, other)]
        np.testing.assert_allclose(numbers[1], numbers[0], RTOL)


@pytest.mark.parametrize(("free", "chunk"), [(97, 97), (40, 33), (20, 14), (8, 8), (1, 8)])
def test_a_chunk_that_fits_fills_the_devices(monkeypatch, free, chunk):
    """Chunks are of similar size, and every device has a run. Here a run takes one byte."""
    monkeypatch.setattr(chunking, "program_bytes", lambda size: size)
    assert chunking.fit(int, 97, None, free, devices=8) == (chunk, chunk)


# Several processes


def several(count: int, *arguments: Any, program: Sequence[str] = ("-m", "jaxlr", "train")) -> list[Any]:
    """Start the processes of a run, each as a user would."""
    cluster = ["--distributed", "--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", count]
    return [one_of_several(program, *arguments, *cluster, "--process-id", n) for n in range(count)]


def one_of_several(program: Sequence[str], *arguments: Any, **environment: str) -> subprocess.Popen[str]:
    return start_program([sys.executable, *program, *map(str, arguments)], env=on_cpu() | environment)


def free_port(first: int = 0) -> int:
    """Return a free port, at least `first` if it is given."""
    for port in range(first, first + 1000):
        with contextlib.suppress(OSError), socket.create_server(("", port)) as server:
            return server.getsockname()[1]
    raise AssertionError


def ends(processes: Sequence[Any]) -> list[tuple[int, list[str]]]:
    """Wait for the processes. Return the exit status of each, and its lines on stderr that jaxlr wrote."""
    outputs, errors = zip(*(process.communicate(timeout=120) for process in processes), strict=True)
    assert not any("Gloo" in output for output in outputs), outputs
    assert not any("Traceback" in error for error in errors), errors
    said = [[line for line in error.splitlines() if line.startswith("jaxlr: ")] for error in errors]
    return [(process.returncode, lines) for process, lines in zip(processes, said, strict=True)]


def number_of_lost(end: tuple[int, list[str]]) -> str:
    """Return the process that the error names. There must be one error, which says how to resume."""
    status, (line,) = end
    assert status == 5
    assert line.endswith(CURE)
    return re.findall(r"\bprocess (\d+)", line)[0]


DONE = (0, [])
CURE = "to resume from its last checkpoint, start all processes again, with --resume and the same --out"

# A process that prints its own results. Under the command only process 0 prints.
TRAIN = """
import json, sys
from jaxlr.cli.parse import parse
from jaxlr.train import train
_, config = parse(["train", *sys.argv[1:]])
rows = train(config)[-4:]
print(json.dumps([[row["epoch"], row["train_loss"], row["valid_loss"], row["lr"]] for row in rows]))
"""


@pytest.mark.heavy
def test_a_run_resumes_on_two_then_one_then_three_processes_that_agree_on_every_rate(
    recipe, unbroken, tmp_path
):
    out = tmp_path / "run"
    assert ends(several(2, *recipe, "--epochs", 2, "--out", out)) == [DONE] * 2
    train_on_cpu(["--resume", "--epochs", 4], out)
    three = several(3, *recipe, "--resume", "--epochs", 8, "--out", out, program=["-c", TRAIN])
    outputs = [process.communicate(timeout=120) for process in three]
    assert [process.returncode for process in three] == [0] * 3, outputs
    rows = [json.loads(out.splitlines()[-1]) for out, _ in outputs]
    assert rows == [rows[0]] * 3
    assert [epoch for epoch, *_ in rows[0]] == [4, 5, 6, 7]
    assert len({rate for *_, rate in rows[0]}) > 1
    assert_close_runs(out, unbroken)


@pytest.mark.heavy
def test_a_run_whose_processes_are_stopped_or_killed_resumes_to_the_unbroken_run(recipe, tmp_path):
    recipe = [*recipe, "--epochs", 24, "--checkpoint-every", 1]
    unbroken = several(2, *recipe, "--out", tmp_path / "unbroken", "--checkpoint-every", 100)
    assert ends(unbroken) == [DONE] * 2
    out = tmp_path / "run"
    broken = [*recipe, "--resume", "--peer-timeout", 4, "--out", out]

    stopped = several(2, *broken)
    assert wait_for_epoch(stopped[0], 3)
    stopped[1].send_signal(signal.SIGTERM)  # only one process gets the signal
    (_, first), (_, second) = both = ends(stopped)
    assert [status for status, _ in both] == [143] * 2
    assert re.fullmatch(
        r"jaxlr: SIGTERM: stopped; to resume after epoch \d+: jaxlr train --resume --out \S+", first[-1]
    )
    assert second == [
        "jaxlr: SIGTERM: stopping after this epoch; repeat the signal to stop at once",
        first[-1],
    ]

    for lost in (1, 0):
        killed = several(2, *broken)
        assert wait_for_epoch(killed[0])
        killed[lost].kill()
        began = time.monotonic()
        end = ends(killed)
        assert time.monotonic() - began < 20
        assert end[lost] == (-signal.SIGKILL, [])
        assert number_of_lost(end[1 - lost]) == str(lost)

    assert saved_epochs(out / "checkpoints")[0] < 23
    assert ends(several(2, *broken, "--checkpoint-every", 100)) == [DONE] * 2
    assert_same_run(out, tmp_path / "unbroken")


@pytest.mark.heavy
def test_a_process_that_never_arrives_is_named_by_the_others(recipe, tmp_path):
    recipe = [*recipe, "--out", tmp_path / "run", "--peer-timeout", 2]
    without_one = several(3, *recipe)
    without_first = several(2, *recipe)
    for missing in (without_one.pop(1), without_first.pop(0)):
        missing.kill()
        missing.communicate()
    assert [number_of_lost(end) for end in ends(without_one)] == ["1", "1"]
    assert [number_of_lost(end) for end in ends(without_first)] == ["0"]
    assert not (tmp_path / "run").exists()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("number", "environment", "error"),
    [
        (3, {}, "--num-processes is 3 here and 2 on process 0: give all processes the same"),
        (
            2,
            {"JAX_NUM_CPU_DEVICES": "2"},
            "the processes have 1, 2 devices: give each the same number of them",
        ),
    ],
)
def test_a_process_unlike_process_0_is_refused_and_both_end(recipe, tmp_path, number, environment, error):
    cluster = ["--distributed", "--coordinator", f"127.0.0.1:{free_port()}", "--peer-timeout", 4]
    common = [*recipe, "--out", tmp_path / "run", *cluster, "--num-processes"]
    began = time.monotonic()
    both = ends(
        [
            one_of_several(["-m", "jaxlr", "train"], *common, 2, "--process-id", 0),
            one_of_several(["-m", "jaxlr", "train"], *common, number, "--process-id", 1, **environment),
        ]
    )
    assert time.monotonic() - began < 40
    refused = (2, [f"jaxlr: error: {error}"])
    assert refused in both
    assert all(end == refused or number_of_lost(end) in ("0", "1") for end in both)


def test_a_process_with_other_settings_of_jax_than_process_0_is_refused(monkeypatch):
    store: dict[str, str] = {}
    client = SimpleNamespace(
        key_value_set=store.__setitem__, blocking_key_value_get=lambda key, timeout: store[key]
    )
    for process_id in (0, 1):
        runtime = SimpleNamespace(client=client, num_processes=2, process_id=process_id)
        monkeypatch.setattr(watchdog, "_runtime", lambda runtime=runtime: runtime)
        watchdog._check_settings(timeout=1)
    with enable_x64(), pytest.raises(DeviceError, match="JAX_ENABLE_X64 is 1 here and 0 on process 0"):
        watchdog._check_settings(timeout=1)


def test_a_process_that_loses_process_0_while_it_looks_for_devices_waits_for_its_name(monkeypatch):
    def find():
        raise DeviceError("JAX finds no device: UNAVAILABLE: recvmsg:Connection reset by peer")

    waited = []
    monkeypatch.setattr(watchdog, "devices_found", find)
    monkeypatch.setattr(watchdog.Watchdog, "_watch", lambda self: waited.append(self._is_unwound.wait(5)))
    with pytest.raises(DeviceError):
        watchdog.Watchdog(timeout=1)
    assert waited == [True]


@pytest.mark.heavy
def test_a_process_that_finds_no_device_is_named_by_the_others_in_time(recipe, tmp_path):
    cluster = ["--distributed", "--coordinator", f"127.0.0.1:{free_port()}", "--num-processes", 2]
    flags = [*recipe, "--out", tmp_path / "run", "--peer-timeout", 4, *cluster, "--process-id"]
    program = ["-m", "jaxlr", "train"]
    first = one_of_several(program, *flags, 0)
    began = time.monotonic()
    second = one_of_several(program, *flags, 1, JAX_PLATFORMS="cuda", CUDA_VISIBLE_DEVICES="")
    (_, said), (status, refusal) = both = ends([first, second])
    assert time.monotonic() - began < 60  # JAX itself waits for two minutes
    assert (number_of_lost(both[0]), status, len(said)) == ("1", 2, 1)
    assert refusal[0].startswith("jaxlr: error: JAX finds no device: ")


@pytest.mark.heavy
def test_several_processes_continue_through_nan_and_are_not_stopped_for_it_when_finished(recipe, tmp_path):
    out = tmp_path / "run"
    diverging = [*recipe, *flags(lr=1e12, scheduler="StepLR(2)", epochs=3, out=out)]
    assert ends(several(2, *diverging, "--on-nan", "continue")) == [DONE] * 2
    assert [(row["train_loss"], row["lr"]) for row in metrics(out)] == [
        (None, 1e12),
        (None, 1e12),
        (None, 1e11),
    ]
    (out / "curves.png").unlink()
    assert ends(several(2, *diverging, "--on-nan", "stop", "--resume")) == [DONE] * 2
    assert (out / "curves.png").exists()


@pytest.mark.heavy
def test_an_error_of_process_0_ends_the_others(recipe, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").touch()
    first, second = ends(several(2, *recipe, "--out", tmp_path / "run"))
    assert first[0] == 2
    assert "is never overwritten" in first[1][0]
    assert number_of_lost(second) == "0"


@pytest.mark.heavy
def test_the_slurm_script_of_the_documentation_runs_unchanged(recipe, tmp_path):
    script = re.findall(r"^```bash\n(#!/bin/bash\n#SBATCH.*?)^```", DEVICES_PAGE, re.DOTALL | re.MULTILINE)
    (tmp_path / "job").write_text(script[0])
    port = free_port(61440)  # JAX computes it from the id of the job
    slurm = {"SLURM_JOB_ID": str(port - 61440), "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": "2"}
    # Two tasks, as srun starts them, of a short run.
    programs = {
        "bin/srun": 'for id in 0 1; do SLURM_PROCID=$id SLURM_LOCALID=$id "$@" & done; wait -n && wait -n',
        ".venv/bin/jaxlr": shlex.join([sys.executable, "-m", "jaxlr"])
        + f""" "$@" --epochs 2 --hidden 8 --data-dir {recipe[-1]}""",
    }
    for name, text in programs.items():
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o700)
    path = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", tmp_path / "job"],
        cwd=tmp_path,
        env=on_cpu() | slurm | path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " on cpu, 2 devices of 2 processes\n" in done.stdout
    (out,) = (tmp_path / "runs").iterdir()
    assert len(metrics(out)) == 2


@pytest.mark.parametrize(
    ("flags", "fault"),
    [
        ("--process-id 0", "error: --process-id needs --distributed: add --distributed"),
        ("--distributed --process-id 0", "go together: add --coordinator and --num-processes"),
        ("--distributed --coordinator h:1 --num-processes 2", "go together: add --process-id"),
        ("--distributed --coordinator h --num-processes 2 --process-id 0", "must be HOST:PORT, got 'h'"),
        ("--distributed --coordinator h:0 --num-processes 2 --process-id 0", "must be HOST:PORT"),
        ("--distributed --coordinator h:65536 --num-processes 2 --process-id 0", "must be HOST:PORT"),
        ("--distributed --coordinator h:99999 --num-processes 2 --process-id 0", "must be HOST:PORT"),
        (
            "--distributed --coordinator h:1 --num-processes 2 --process-id 2",
            "--process-id must be below --num-proc",
        ),
        (
            "--distributed --coordinator h:1 --num-processes 0 --process-id 0",
            "error: --num-processes must be from 1",
        ),
    ],
)
def test_inconsistent_flags_of_distributed_runs_are_refused(flags, fault, refuse):
    assert fault in refuse("train", *flags.split())


@pytest.mark.heavy
def test_a_missing_cluster_and_a_port_in_use_are_refused(recipe, tmp_path):
    alone = [*recipe, "--out", tmp_path / "run", "--distributed"]
    status, _, err = finish(*alone)
    assert status == 2
    assert err.startswith("jaxlr: error: --distributed finds no cluster, of SLURM or another kind: give")
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ["--coordinator", f"127.0.0.1:{port}", "--num-processes", 2, "--process-id", 0]
        status, _, err = finish(*alone, *flags)
    assert status == 2
    fault = f"cannot listen on port {port} of --coordinator: Address already in use"
    assert err == f"jaxlr: error: {fault}; give another\n"


def test_a_folder_does_not_record_the_devices_of_its_run(tmp_path):
    config = TrainConfig.from_flags(out=tmp_path, devices="all", peer_timeout=5)
    assert saved_config_of(config) == config.replace(devices=None, peer_timeout=60)


def saved_config_of(config: TrainConfig) -> TrainConfig | None:
    folder = RunFolder.of(config)
    with folder.claimed(load_dataset("digits")):
        return saved_config(folder.path, TrainConfig)
