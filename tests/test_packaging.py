"""The wheel holds the package and nothing else; the source archive holds everything that its tests read."""

import functools
import runpy
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from jaxlr import _extras


ROOT = Path(__file__).parents[1]


pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def build(tmp_path_factory) -> Callable[[str], Path]:
    """Return a function that builds a target once and returns its file."""

    @functools.cache
    def build(target: str) -> Path:
        pytest.importorskip("hatchling")
        folder = tmp_path_factory.mktemp(target)
        command = [sys.executable, "-m", "hatchling", "build", "--target", target, "--directory", folder]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        (built,) = folder.iterdir()
        return built

    return build


def files(*patterns: str) -> set[str]:
    found = (path for pattern in patterns for path in ROOT.glob(pattern) if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found}


def test_the_wheel_holds_the_package_its_licence_and_metadata(build):
    with zipfile.ZipFile(build("wheel")) as wheel:
        names = wheel.namelist()
    about = [name for name in names if ".dist-info/" in name]
    assert {*names} - {*about} == files("jaxlr/**/*.py", "jaxlr/py.typed")
    assert any(name.endswith("licenses/LICENSE") for name in about)


@pytest.mark.parametrize("target", ["wheel", "sdist"])
def test_twine_accepts_what_is_built(build, target):
    pytest.importorskip("twine")
    command = [sys.executable, "-m", "twine", "check", "--strict", build(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "PASSED" in done.stdout


def test_the_source_archive_holds_everything_that_its_tests_read(build):
    with tarfile.open(build("sdist")) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    read = files(
        "jaxlr/**/*.py", "tests/*.*", "scripts/**/*", "docs/**/*", "*.md", "mkdocs.yml", "pyproject.toml"
    )
    read -= {name for name in read if "__pycache__" in name}
    assert "docs/reference/decay.md" in read
    assert read - names == set()


def test_training_needs_a_later_jax_than_the_library():
    lowest_versions = runpy.run_path(str(ROOT / "scripts/_lowest.py"))["lowest_versions"]
    library, training = lowest_versions("cli"), lowest_versions("train")
    assert library["jax"] == "0.4.38"
    assert training["jax"] == _extras._OLDEST_JAX
    assert training.items() >= library.items() - {("jax", library["jax"])}
