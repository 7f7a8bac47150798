"""The time until something happens: imports, and the default run from start to figure."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Row, Wanted, compared


def measure(rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure imports and short commands, and a default run with and without a program cache."""
    programs = ("import optax", "import jaxlr", "import jaxlr; jaxlr.step_lr", "from jaxlr import *")
    commands = {
        **{
            program: lambda program=program: functools.partial(_python, "-c", program)
            for program in programs
        },
        "jaxlr --help": lambda: functools.partial(_python, "-m", "jaxlr", "--help"),
        'jaxlr port "StepLR(30)"': lambda: functools.partial(_python, "-m", "jaxlr", "port", "StepLR(30)"),
    }
    yield from compared("start a process", commands, "import optax", rounds, wanted)
    with tempfile.TemporaryDirectory() as folder:
        warm = Path(folder) / "warm"
        runs = {
            "nothing compiled before": lambda: lambda: _train(Path(tempfile.mkdtemp(dir=folder))),
            "programs of an earlier run": lambda: lambda: _train(warm),
        }
        part = "jaxlr train, 25 epochs of digits, start to figure"
        yield from compared(part, runs, "nothing compiled before", rounds, wanted)


def _train(cache: Path) -> None:
    with tempfile.TemporaryDirectory() as out:
        programs = {
            "JAX_COMPILATION_CACHE_DIR": str(cache),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        _python("-m", "jaxlr", "train", "--quiet", "--out", f"{out}/run", **programs)


def _python(*arguments: str, **environment: str) -> None:
    environment = os.environ | environment
    # Users import bytecode, because pip compiles what it installs. In a checkout the warm-up round compiles
    # it, unless this variable forbids that.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, *arguments], env=environment, stdout=subprocess.DEVNULL, check=True)
