"""The scripts: the ported tutorial matches its original, and the benchmark's peers match each other."""

import functools
import importlib
import json
import re
import runpy
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from helpers import DEVICE_RTOL, assert_close, torch_plateau_curve

from jaxlr.train.data import load_dataset


pytestmark = pytest.mark.usefixtures("fast_programs")

SCRIPTS = Path(__file__).parents[1] / "scripts"
SCRIPT = SCRIPTS / "train_mnist.py"


def test_the_ported_tutorial_learns_and_its_rates_match_torchs_plateau(torch, monkeypatch, capsys):
    digits = load_dataset("digits")

    def small_mnist(name, progress):
        assert name == "mnist"
        images = [np.kron(images, np.ones((1, 4, 4), np.uint8))[:, 2:-2, 2:-2] for images in digits[:3:2]]
        return digits._replace(train_images=images[0], test_images=images[1])

    monkeypatch.setattr("jaxlr.train.data.load_dataset", small_mnist)
    variables = runpy.run_path(str(SCRIPT))
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("Epoch")]
    assert [int(words[1]) for words in lines] == list(range(25))
    losses, rates = ([float(words[index]) for words in lines] for index in (7, 9))
    assert losses[-1] < losses[0] / 2
    after = torch_plateau_curve(torch, losses, patience=5)
    assert_close(rates, [0.1, *after[:-1]], DEVICE_RTOL)
    assert variables["params"] is not None


def test_the_ported_tutorial_fits_in_80_lines():
    assert len(SCRIPT.read_text().splitlines()) <= 80


@pytest.fixture
def scripts(monkeypatch):
    """Put the folder of the scripts on the path, as they import each other."""
    monkeypatch.syspath_prepend(SCRIPTS)


@pytest.mark.heavy
@pytest.mark.usefixtures("scripts")
@pytest.mark.filterwarnings("ignore")  # torch's compiler uses deprecated parts of torch
def test_every_peer_of_the_benchmark_learns_in_the_same_epochs(torch, monkeypatch):
    # Torch's own backend would write C++, and start 24 processes to compile it.
    in_python = functools.partial(torch.compile, backend="eager")
    monkeypatch.setattr(torch, "compile", lambda step, mode: in_python(step))
    peers = importlib.import_module("benchmarks.epochs").peers(load_dataset("digits"))
    epochs = {name: build() for name, build in peers.items()}
    losses = {name: [epoch() for _ in range(6)][-1] for name, epoch in epochs.items()}
    assert len(losses) == 6
    assert max(losses.values()) < 0.5  # it is 2.3 before the first epoch


@pytest.mark.heavy
@pytest.mark.usefixtures("scripts")
def test_the_benchmark_prints_a_table_and_writes_every_round(tmp_path, capsys):
    benchmark = importlib.import_module("benchmark")
    path = tmp_path / "benchmark.json"
    benchmark.main(benchmark.Config(("sweep:1", "sweep:4"), dataset="digits", rounds=2, json=path))
    table = capsys.readouterr().out.splitlines()
    results = json.loads(path.read_text())
    one, four = results["rows"]
    assert (one["name"], one["ratio"], four["name"], four["peer"]) == ("1 run", None, "4 runs", "1 run")
    assert len(four["values"]) == 2
    assert four["ratio"] > 0
    assert table[0].startswith(f"{results['date']}, {jax.default_backend()}")
    time = f"{four['median'] * 1e3:.3g} ms" if four["median"] < 0.9995 else f"{four['median']:.2f} s"
    assert f"| 4 runs | {time} | {four['ratio']:.3g} x 1 run |" in table


@pytest.fixture
def measured(scripts, monkeypatch, tmp_path):
    """Return a function that measures with a fake part "sweep". It returns the rows, and the JSON file."""
    benchmark = importlib.import_module("benchmark")
    path = tmp_path / "benchmark.json"

    def measured(sweep, *parts):
        monkeypatch.setattr("benchmarks.sweeps.measure", lambda dataset, rounds, wanted: sweep(wanted))
        return benchmark.main(benchmark.Config(parts, dataset="digits", rounds=3, json=path)), path

    return measured


def test_a_row_is_printed_and_saved_before_the_next_one_is_measured(measured, capsys):
    shown = []

    def sweep(wanted):
        timing = importlib.import_module("benchmarks.timing")
        yield timing.Row("a part", "first", [0.25, 0.75, 0.5], "s")
        shown.append(capsys.readouterr().out)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(sweep, "sweep")
    assert shown[0].endswith("| **a part** | | |\n| first | 500 ms |  |\n")


def test_what_was_measured_is_kept_when_the_benchmark_is_interrupted(measured, tmp_path):
    def sweep(wanted):
        timing = importlib.import_module("benchmarks.timing")
        yield timing.Row("a part", "first", [0.25], "s")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(sweep, "sweep")
    assert [row["name"] for row in json.loads((tmp_path / "benchmark.json").read_text())["rows"]] == [
        "first"
    ]


def test_a_row_that_fails_shows_its_error_and_the_others_are_measured(measured, capsys):
    timing = importlib.import_module("benchmarks.timing")

    def broken():
        raise ValueError("out of memory\nby far")

    def sweep(wanted):
        builds = {"first": broken, "second": lambda: int, "peer": lambda: int}
        yield from timing.compared("a part", builds, "peer", 3, wanted)
        raise OSError("the disk is full")

    rows, path = measured(sweep, "sweep")
    table = capsys.readouterr().out
    assert "| first | failed: ValueError: out of memory |  |" in table
    assert "| **sweep** | | |\n| all other rows | failed: OSError: the disk is full |  |" in table
    assert [row.name for row in rows] == ["peer", "first", "second", "all other rows"]
    assert [row["error"] is None for row in json.loads(path.read_text())["rows"]] == [
        True,
        False,
        True,
        False,
    ]
    assert rows[2].ratio is not None


def test_words_select_rows_and_a_ratio_needs_its_peer(measured):
    timing = importlib.import_module("benchmarks.timing")

    def sweep(wanted):
        builds = {name: lambda: int for name in ("1 run", "4 runs", "64 runs")}
        return timing.compared("a part", builds, "1 run", 3, wanted)

    rows, _ = measured(sweep, "sweep:4")
    assert [(row.name, row.ratio) for row in rows] == [("4 runs", None)]
    rows, _ = measured(sweep, "sweep:runs", "sweep:8")
    assert [(row.name, row.error is None) for row in rows] == [
        ("4 runs", True),
        ("64 runs", True),
        ("8", False),
    ]


@pytest.mark.usefixtures("scripts")
def test_an_unknown_part_of_the_benchmark_is_refused():
    benchmark = importlib.import_module("benchmark")
    with pytest.raises(SystemExit, match=r"--parts takes epoch, .*, got 'epcoh:jaxlr'"):
        benchmark.main(benchmark.Config(("epcoh:jaxlr",)))


@pytest.mark.heavy
def test_the_check_of_a_gpu_has_a_function_and_a_limit_for_each_part():
    script = SCRIPTS / "gpu_check"
    limits = re.search(r"^limits=\((.*?)^\)", script.read_text(), re.DOTALL | re.MULTILINE)
    assert limits is not None
    parts = re.findall(r"(\w+)=\d+", limits[1])
    assert set(parts) <= set(re.findall(r"^(\w+)\(\) {", script.read_text(), re.MULTILINE))
    done = subprocess.run([script, "epcoh"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"gpu_check: there is no part epcoh: give some of {' '.join(parts)}, or none for all of them\n"
    )


GPU_PROGRAM = """\
%region_2.26 (arg_tuple.4: (s32[], f32[256])) -> (s32[], f32[256]) {
  %arg_tuple.4 = (s32[], f32[256]{0}) parameter(0)
  %get-tuple-element.1 = f32[256]{0} get-tuple-element(%arg_tuple.4), index=1
  %fusion.1 = (f32[256]{0}, s32[]) fusion(%get-tuple-element.1), kind=kLoop, calls=%fused_1
  %custom-call.1 = f32[256]{0} custom-call(%fusion.1), custom_call_target="__cublas$gemm"
  ROOT %tuple.7 = (s32[], f32[256]{0}) tuple(%fusion.2, %custom-call.1)
}

%region_15.44 (arg_tuple.5: (s32[])) -> (s32[]) {
  ROOT %fusion.9 = (s32[]) fusion(%arg_tuple.5), kind=kLoop, calls=%fused_9
}

ENTRY %main.51 (Arg_0.1: f32[256]) -> f32[256] {
  %while.16 = (s32[], f32[256]{0}) while(%tuple.1), condition=%region_3.27, body=%region_2.26
  %while.26 = (s32[]) while(%tuple.2), condition=%region_16.45, body=%region_15.44
}
"""


@pytest.mark.usefixtures("scripts")
def test_the_kernels_of_a_step_are_counted_in_the_longest_loop_of_a_program():
    kernels_of_step = importlib.import_module("benchmarks.variants").kernels_of_step
    assert kernels_of_step(GPU_PROGRAM) == 2
    with pytest.raises(ValueError, match="no loop"):
        kernels_of_step("ENTRY %main.1 (Arg_0.1: f32[256]) -> f32[256] {\n}\n")
