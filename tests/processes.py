"""The real command in processes of their own: started, watched, stopped, and its runs compared."""

import json
import os
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


def command(arguments: Sequence[Any], name: str = "train") -> list[str]:
    return [sys.executable, "-m", "jaxlr", name, *map(str, arguments)]


def start(*arguments: Any, name: str = "train", **settings: Any) -> subprocess.Popen[str]:
    """The command under way, its two outputs to be read; it leads a process group of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    settings = pipes | {"env": ENVIRONMENT, "start_new_session": True} | settings
    return subprocess.Popen(command(arguments, name), text=True, **settings)


def finish(*arguments: Any, **settings: Any) -> tuple[int, str, str]:
    """The command's exit status and its two outputs."""
    process = start(*arguments, **settings)
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_epoch(process: subprocess.Popen[str], epoch: int | None = None) -> bool:
    """Whether a line of that epoch (of any, by default) appears before the command ends."""
    assert process.stdout is not None
    for line in process.stdout:
        words = line.split()
        if words[:1] == ["epoch"] and epoch in (None, int(words[1])):
            return True
    return False


def small_mnist(folder: Path, seed: int = 0) -> Path:
    """A folder of MNIST's four files with a few random images: it loads at once, and without sklearn."""
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
    """Every line of metrics.jsonl, which must all be whole, but for the time that an epoch took."""
    text = (out / "metrics.jsonl").read_text()
    assert text.endswith("\n") or not text
    rows = [json.loads(line) for line in text.splitlines()]
    assert [row["epoch"] for row in rows] == list(range(len(rows)))
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def arrays(out: Path, epoch: int) -> list[tuple[str, str, bytes]]:
    """The name, dtype and bits of every array in a checkpoint: weights, momenta, plateau and key."""
    tree = ocp.load(str((out / "checkpoints" / str(epoch)).absolute()))
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path), str(leaf.dtype), leaf.tobytes()) for path, leaf in leaves]


def assert_same_run(out: Path, unbroken: Path) -> None:
    """All metrics and the last checkpoint, bit for bit, and nothing left over."""
    assert metrics(out) == metrics(unbroken)
    last = saved_epochs(unbroken / "checkpoints")[0]
    assert arrays(out, last) == arrays(unbroken, last)
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.glob("**/*tmp*"))


def flip_bits(checkpoint: Path) -> None:
    """Damage every file that has arrays: Orbax may leave some of them unread."""
    for path in checkpoint.rglob("d/*"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
