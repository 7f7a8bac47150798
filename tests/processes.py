"""Helpers that run the real command in processes of its own, watch it, and compare its runs."""

import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxlr.train.output.checkpoint import saved_epochs


ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


def _let_children_have_default_signals() -> None:
    """Make child processes start with the default action for SIGINT and SIGTERM.

    A shell script makes a background job ignore SIGINT, such as `nohup scripts/test &`. Child processes
    inherit that, and a test that interrupts one would wait for ever. A signal that has a handler gets its
    default action in a new program. So a handler that does nothing is set here: this process still ignores
    the signal, and its children do not.

    The alternatives are worse. `preexec_fn` is not safe with threads. A wrapper command in Python would
    have signal handlers of its own for a moment, which the tests would see.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda number, frame: None)


# Called on import, because only the main thread may set handlers. Tests call `start` in other threads too.
_let_children_have_default_signals()


def command(arguments: Sequence[Any], name: str = "train") -> list[str]:
    return [sys.executable, "-m", "jaxlr", name, *map(str, arguments)]


def start(*arguments: Any, name: str = "train", **settings: Any) -> subprocess.Popen[str]:
    """Start the command with its outputs as pipes, in a process group of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings = pipes | {"env": ENVIRONMENT, "start_new_session": True} | settings
    return subprocess.Popen(command(arguments, name), text=True, **settings)


def finish(*arguments: Any, **settings: Any) -> tuple[int, str, str]:
    """Run the command to its end. Return its exit status, stdout and stderr."""
    process = start(*arguments, **settings)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_epoch(process: subprocess.Popen[str], epoch: int | None = None) -> bool:
    """Wait for the line of `epoch`, or of any epoch. Return False if the command ends before."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["epoch"] and epoch in (None, int(words[1])):
            return True
    return False


def small_mnist(folder: Path, seed: int = 0) -> Path:
    """Write MNIST's four files with a few random images, which load fast and without scikit-learn."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for name, shape, bound in (
        ("train-images-idx3-ubyte", (200, 6, 6), 256),
        ("train-labels-idx1-ubyte", (200,), 10),
        ("t10k-images-idx3-ubyte", (50, 6, 6), 256),
        ("t10k-labels-idx1-ubyte", (50,), 10),
    ):
        header = b"\0\0\x08" + bytes([len(shape)]) + struct.pack(f">{len(shape)}I", *shape)
        (folder / name).write_bytes(header + rng.integers(0, bound, shape, np.uint8).tobytes())
    return folder


def metrics(out: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl without the seconds of each epoch, and check that it is complete and in order."""
    text = (out / "metrics.jsonl").read_text()
    assert text.endswith("\n") or not text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["epoch"] for row in rows] == list(range(len(rows)))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def arrays(out: Path, epoch: int) -> list[tuple[str, str, bytes]]:
    """Read the name, dtype and bytes of every array in a checkpoint: weights, momenta, plateau and key."""
    tree = ocp.load(str((out / "checkpoints" / str(epoch)).absolute()))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), str(leaf.dtype), leaf.tobytes()) for path, leaf in leaves]


def assert_same_run(out: Path, unbroken: Path) -> None:
    """Check that both runs have the same metrics and the same last checkpoint, bit for bit."""
    assert metrics(out) == metrics(unbroken)
    last = saved_epochs(unbroken / "checkpoints")[0]
    assert arrays(out, last) == arrays(unbroken, last)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob("**/*tmp*"))


def flip_bits(checkpoint: Path) -> None:
    """Flip a bit in every file that holds arrays. One would not do, because Orbax may not read it."""
    for path in checkpoint.rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
