"""What one waits for before anything happens: imports, and a first run."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.timing import Row, compared, interleaved


def measure(rounds: int) -> list[Row]:
    """`import jaxlr` against `import optax`, and the default run from start to figure."""
    imports = {name: _python("-c", name) for name in ("import optax", "import jaxlr")}
    rows = compared("import", interleaved(imports, rounds), "import optax")
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder) / "warm"
        runs = {
            "nothing compiled before": lambda: _train(Path(tempfile.mkdtemp(dir=folder))),
            "programs of an earlier run": lambda: _train(warm),
        }
        seconds = interleaved(runs, rounds)
    rows += compared(
        "jaxlr train, 25 epochs of digits, start to figure", seconds, "nothing compiled before"
    )
    return rows


def _train(cache: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        _python(
            *("-m", "jaxlr", "train", "--quiet", "--out", f"{out}/run"),
            JAX_COMPILATION_CACHE_DIR=str(cache),
            JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0",
        )()


def _python(*arguments: str, **environment: str) -> Callable[[], None]:
    command, environment = [sys.executable, *arguments], os.environ | environment
    # What pip installed is compiled to bytecode already; a checkout is so after the round that warms up.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return lambda: subprocess.run(command, env=environment, check=True) and None
