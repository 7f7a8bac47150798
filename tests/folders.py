"""Helpers that write small data, and read, compare and damage the folders of runs."""

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from orbax.checkpoint import v1 as ocp

from jaxlr.cli import main
from jaxlr.train.output.checkpoint import saved_epochs


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


def train_here(arguments: Sequence[Any], out: Path) -> Path:
    """Run `jaxlr train` in this process, which is faster than in one of its own, and return its folder."""
    main(["train", *map(str, arguments), "--quiet", "--out", str(out)])
    return out


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
