"""Helpers that start the real command in processes of its own, watch it and end it."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def on_cpu(devices: int = 1) -> dict[str, str]:
    """Return the environment of a process that sees simulated CPU devices, also on a machine with a GPU."""
    return {**ENVIRONMENT, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}


_started: list[subprocess.Popen[str]] = []


def flags(**settings: Any) -> list[str]:
    """Return settings as flags: `flags(batch_size=8)` is `["--batch-size", "8"]`."""
    return [
        word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))
    ]


def command(arguments: Sequence[Any], name: str = "train") -> list[str]:
    return [sys.executable, "-m", "jaxlr", name, *map(str, arguments)]


def start(*arguments: Any, name: str = "train", **settings: Any) -> subprocess.Popen[str]:
    """Start the command with its outputs as pipes, in a process group of its own."""
    return start_program(command(arguments, name), **settings)


def start_program(program: Sequence[str], **settings: Any) -> subprocess.Popen[str]:
    """Start any program as `start` does. If it still runs after the test, it is killed."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings = pipes | {"env": ENVIRONMENT, "start_new_session": True} | settings
    process = subprocess.Popen(program, text=True, **settings)
    _started.append(process)
    return process


def finish(*arguments: Any, **settings: Any) -> tuple[int, str, str]:
    """Run the command to its end. Return its exit status, stdout and stderr."""
    process = start(*arguments, **settings)
    out, err = process.communicate()
    return process.returncode, out, err


def wait_for_epoch(process: subprocess.Popen[str], epoch: int | None = None) -> bool:
    """Wait for the line of `epoch`, or of any epoch. Return False if the command ends before."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["epoch"] and epoch in (None, int(words[1])):
            return True
    return False


def kill_started() -> None:
    """Kill the processes that a failed test has left behind."""
    while _started:
        with _started.pop() as process:
            process.kill()


@contextlib.contextmanager
def default_signals_for_children() -> Iterator[None]:
    """Make the processes that are started in the block take the default action for SIGINT and SIGTERM.

    A shell script makes a background job ignore SIGINT, such as `nohup scripts/test &`. Its processes
    inherit that, and a test that interrupts one would wait for ever. A signal that has a handler gets its
    default action in a new program. So a handler that does nothing is set here: this process still ignores
    the signal, and its children do not.

    The alternatives are worse. `preexec_fn` is not safe with threads. A wrapper command in Python would
    have signal handlers of its own for a moment, which the tests would see.
    """
    ignored = [number for number in (signal.SIGINT, signal.SIGTERM) if is_ignored(number)]
    for number in ignored:
        signal.signal(number, lambda number, frame: None)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


def is_ignored(number: signal.Signals) -> bool:
    return signal.getsignal(number) is signal.SIG_IGN
