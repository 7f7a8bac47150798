"""The helpers that start processes: signals reach the processes, and none is left behind."""

import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import processes
import pytest


SLEEPER = [sys.executable, "-c", "import time; print('ready', flush=True); time.sleep(250)"]


def start_sleeper() -> subprocess.Popen[str]:
    process = processes.start_program(SLEEPER)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_started_process_takes_the_default_action_for_a_signal(number):
    process = start_sleeper()
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == -number


@pytest.mark.heavy
def test_tests_in_a_background_job_interrupt_their_processes():
    """A shell script starts a background job, such as `nohup scripts/test &`, with SIGINT ignored."""
    test = f"{__file__}::{test_a_started_process_takes_the_default_action_for_a_signal.__name__}"
    suite = [sys.executable, "-m", "pytest", "-q", test]
    background = ["bash", "-c", 'trap "" INT TERM; exec "$@"', "bash", *suite]
    done = subprocess.run(background, cwd=processes.ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "2 passed" in done.stdout


def test_a_process_that_still_runs_after_its_test_is_killed():
    process = start_sleeper()
    processes.kill_started()
    assert process.returncode == -signal.SIGKILL


@pytest.mark.heavy
def test_a_test_that_hangs_fails_with_the_line_where_it_waits(tmp_path: Path):
    (tmp_path / "test_hangs.py").write_text("import time\n\ndef test_hangs():\n    time.sleep(250)\n")
    settings = ["-c", str(processes.ROOT / "pyproject.toml"), "--rootdir", str(tmp_path), "-o", "timeout=1"]
    suite = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *settings, str(tmp_path)]
    began = time.monotonic()
    done = subprocess.run(suite, capture_output=True, text=True, check=False)
    assert time.monotonic() - began < 60
    assert done.returncode == 1, done.stdout
    assert "time.sleep(250)" in done.stdout
    assert "Timeout (>1.0s) from pytest-timeout" in done.stdout


def test_every_test_has_a_time_limit():
    settings = tomllib.loads((processes.ROOT / "pyproject.toml").read_text())["tool"]["pytest"][
        "ini_options"
    ]
    assert 0 < settings["timeout"] <= 300
