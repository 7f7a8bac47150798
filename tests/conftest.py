"""Settings and fixtures of all tests: strict JAX, torch, the real data, and a runner of commands."""

import gc
import importlib
import importlib.util
import os
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import jax
import pytest
from helpers import FAST_COMPILATION

from jaxlr._compat import enable_x64


pytest.register_assert_rewrite("framework_files")
_NO_TORCH = "torch is not installed: pip install torch==2.13.0"

# Without bytecode, every process that a test starts compiles jaxlr again: 0.3 s for a training run.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

if shutil.which("nvidia-smi") and "xla_gpu_autotune_level" not in os.environ.get("XLA_FLAGS", ""):
    # On a GPU, XLA times kernels and takes the fastest. Two programs of one run may then differ in their
    # bits, and tests compare such programs. Several workers share the GPU.
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_gpu_autotune_level=0".strip()
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
jax.config.update("jax_numpy_rank_promotion", "raise")
if importlib.util.find_spec("jaxtyping"):  # it is in the extra train
    # Check the arrays that tests pass to these modules against the shapes and dtypes in their annotations.
    importlib.import_module("jaxtyping").install_import_hook(
        [f"jaxlr.train.{module}" for module in ("model", "data.tfds", "runs", "step")], "beartype.beartype"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled programs on disk. Tests, and the processes they start, compile many of them twice."""
    assert config.cache is not None
    programs = {
        "jax_compilation_cache_dir": str(config.cache.mkdir("programs")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    for name, value in programs.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest tests first. Without torch, skip docstrings that import it, except in CI."""
    # Then the workers of pytest-xdist end at about the same time.
    items.sort(key=lambda item: item.get_closest_marker("heavy") is None)
    if importlib.util.find_spec("torch") or os.environ.get("CI") == "true":
        return
    for item in items:
        examples = item.dtest.examples if isinstance(item, pytest.DoctestItem) else []
        if any("import torch" in example.source for example in examples):
            item.add_marker(pytest.mark.skip(_NO_TORCH))


def pytest_collection_finish() -> None:
    """Hide imports from the garbage collector, and from `from_torch`, which visits every object."""
    gc.collect()
    gc.freeze()


def pytest_runtest_teardown() -> None:
    """Kill the processes that a failed test has left behind."""
    import processes  # here, because it copies the environment, which pytest_configure changes

    processes.kill_started()


@pytest.fixture(scope="session", autouse=True)
def _default_signals():
    """Let tests interrupt the processes that they start, even if this process ignores SIGINT."""
    import processes

    with processes.default_signals_for_children():
        yield


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """Return torch, which most tests compare with. Without it the test is skipped, or fails in CI."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        _skip_or_fail(_NO_TORCH)
    torch.set_num_threads(1)  # a worker has one core, where threads would wait for each other
    torch.optim.SGD([torch.zeros(1)])  # the first optimizer imports a million objects
    gc.freeze()
    return torch


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Return the folder of real data: `mnist/` has the IDX files, `tensorflow_datasets/` those of TFDS."""
    default = Path(__file__).parents[2] / "shared"
    root = Path(os.environ.get("JAXLR_TEST_DATA", default))
    if not (root / "mnist").is_dir():
        _skip_or_fail(f"no real MNIST under {root}: point JAXLR_TEST_DATA at it")
    return root


@pytest.fixture
def refuse(capsys):
    """Return a function that runs a command with bad arguments and returns its one line on stderr."""
    from jaxlr.cli import main  # here, because the import hook above must come before it

    def refuse(*arguments: Any, status: int = 2) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        assert stop.value.code == status
        output = capsys.readouterr()
        assert output.err.startswith("jaxlr: error: ")
        assert output.err.count("\n") == 1
        # train and sweep may have printed a description of the run before the error.
        assert output.out == "" or arguments[0] in ("train", "sweep")
        return output.err

    return refuse


@pytest.fixture(scope="module")
def fast_programs():
    """Compile runs and sweeps in less than half of the time, where only equal bits matter, not which."""
    from jaxlr.train import chunks, loop, program

    with pytest.MonkeyPatch.context() as patch:
        for module in (chunks, loop, program):
            given = module.compiler_options
            patch.setattr(
                module, "compiler_options", lambda device, given=given: given(device) | FAST_COMPILATION
            )
        yield


@pytest.fixture
def undrawn_figures(monkeypatch):
    """Write a few bytes instead of the figure of a run or sweep, which takes longer than a short run."""
    from jaxlr.train import loop, sweeps

    def draw(curves: Any, path: Path, title: str) -> None:
        path.write_bytes(b"\x89PNG %d" % len(curves))

    monkeypatch.setattr(loop, "plot_curves", draw)
    monkeypatch.setattr(sweeps, "plot_sweep", draw)


@pytest.fixture
def x64():
    """Enable 64-bit JAX for one test."""
    with enable_x64():
        yield


def _skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
