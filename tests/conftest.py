"""What every test runs under, and where the oracle and the real data are found."""

import importlib
import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import jax
import jaxtyping
import pytest


_NO_TORCH = "torch is not installed: pip install torch==2.13.0"

jax.config.update("jax_numpy_rank_promotion", "raise")
# The shapes and dtypes in their annotations are held against every array that a test hands them.
jaxtyping.install_import_hook(
    [f"jaxlr.train.{module}" for module in ("model", "data.tfds", "runs", "step")], "beartype.beartype"
)


def pytest_configure(config: pytest.Config) -> None:
    """Tests spend most of their time compiling, much of it the same: once is enough, processes included."""
    assert config.cache is not None
    programs = {
        "jax_compilation_cache_dir": str(config.cache.mkdir("programs")),
        "jax_persistent_cache_min_compile_time_secs": 0.0,
    }
    for name, value in programs.items():
        jax.config.update(name, value)
        os.environ[name.upper()] = str(value)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A docstring that imports torch is run where torch is, and always in CI."""
    if importlib.util.find_spec("torch") or os.environ.get("CI") == "true":
        return
    for item in items:
        examples = item.dtest.examples if isinstance(item, pytest.DoctestItem) else []
        if any("import torch" in example.source for example in examples):
            item.add_marker(pytest.mark.skip(_NO_TORCH))


@pytest.fixture(scope="session")
def torch() -> ModuleType:
    """The oracle. Its absence is a reason to skip anywhere but in CI."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        _skip_or_fail(_NO_TORCH)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data: `mnist/` holds the IDX files, `tensorflow_datasets/` TFDS's."""
    default = Path(__file__).parents[2] / "shared"
    root = Path(os.environ.get("JAXLR_TEST_DATA", default))
    if not (root / "mnist").is_dir():
        _skip_or_fail(f"no real MNIST under {root}: point JAXLR_TEST_DATA at it")
    return root


@pytest.fixture
def refuse(capsys):
    """Run a command that refuses its arguments; the line that it says about them."""
    from jaxlr.cli import main  # now, for the hook comes before what it is for

    def refuse(*arguments: Any, status: int = 2) -> str:
        with pytest.raises(SystemExit) as stop:
            main([*map(str, arguments)])
        assert stop.value.code == status
        output = capsys.readouterr()
        assert output.err.startswith("jaxlr: error: ")
        assert output.err.count("\n") == 1
        # What would train may have said already on what.
        assert output.out == "" or arguments[0] in ("train", "sweep")
        return output.err

    return refuse


@pytest.fixture
def x64():
    """64-bit JAX for one test."""
    with jax.enable_x64(True):
        yield


def _skip_or_fail(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
