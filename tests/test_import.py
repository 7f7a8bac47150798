"""Tests of `import jaxlr` and the command with as few other packages as they need."""

import functools
import json
import subprocess
import sys
from typing import Any

import jax
import pytest

from jaxlr import __main__
from jaxlr._extras import check_installed


# The packages of the extra `train` that the library and the extra `cli` do without.
FOR_TRAINING = ("flax", "jaxtyping", "matplotlib", "orbax", "sklearn", "tensorflow_datasets", "tqdm")
ADVICE = 'pip install "jaxlr[{0}]", or in a checkout pip install -e ".[{0}]"'


@functools.cache
def loaded_by(statement: str) -> set[str]:
    """Return the packages that a new process has loaded after `statement`."""
    program = f"{statement}; import sys; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_jaxlr_loads_only_the_packages_of_jax_and_optax():
    loaded = loaded_by("import jaxlr") - loaded_by("import jax, optax")
    assert loaded - sys.stdlib_module_names == {"jaxlr"}


def test_importing_jaxlr_loads_no_package_for_training():
    heavy = {"flax", "orbax", "tensorflow_datasets", "torch", "matplotlib", "sklearn", "tyro", "tqdm"}
    assert not loaded_by("import jaxlr") & {*heavy, "uniplot"}


def test_all_lists_every_public_function():
    import jaxlr

    assert set(jaxlr.__all__) == {
        name for name in vars(jaxlr) if not name.startswith("_") and callable(getattr(jaxlr, name))
    }


def test_the_command_says_how_to_install_the_package_that_reads_its_flags(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tyro", None)
    monkeypatch.setattr(sys, "argv", ["jaxlr", "port", "StepLR(30)"])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 2
    message = f"jaxlr: error: the command jaxlr needs tyro: {ADVICE.format('cli')}\n"
    assert capsys.readouterr() == ("", message)


# Runs the command once for each list of flags, and prints its exit statuses, outputs and errors as JSON.
PROGRAM = """
import contextlib, io, json, sys
sys.modules |= dict.fromkeys(sys.argv[2].split())  # an import of them fails
from jaxlr.__main__ import main
results = []
for flags in json.loads(sys.argv[1]):
    sys.argv, status, out, err = ["jaxlr", *flags], 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            status = stop.code
    results.append((status, out.getvalue(), err.getvalue()))
print(json.dumps(results))
"""


def run_without(packages: tuple[str, ...], *commands: list[str]) -> Any:
    program = [sys.executable, "-c", PROGRAM, json.dumps(commands), " ".join(packages)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_needs_the_extra_train_only_to_train():
    pytest.importorskip("tyro")
    commands = [
        ["--help"],
        ["--version"],
        ["port", "StepLR(30)"],
        ["table", "StepLR(30)", "--epochs", "40", "--changes"],
        ["plot", "StepLR(30)", "--epochs", "40"],
        ["plot", "--help"],
        ["plot", "StepLR(30)", "-o", "lr.png"],
        ["train", "--epochs", "1"],
        ["sweep", "--help"],
    ]
    usage, version, port, table, plot, plot_usage, image, *training = run_without(FOR_TRAINING, *commands)
    assert usage[0] == 0
    assert "Print the Python line" in usage[1]
    assert usage[1].count("Not installed: training needs flax") == 2
    assert version[1].startswith("jaxlr 0.")
    assert port == [0, "jaxlr.step_lr(0.1, step_size=30)\n", ""]
    assert table[:2] == [0, "epoch  lr\n    0  0.1\n   30  0.010000000000000002\n"]
    assert plot[0] == 0
    assert "learning rate by epoch" in plot[1]
    assert plot_usage[0] == 0
    assert image == [2, "", "jaxlr: error: drawing needs matplotlib: pip install matplotlib\n"]
    for status, out, error in training:
        assert (status, out) == (2, "")
        assert error.startswith("jaxlr: error: training needs flax, jaxtyping, matplotlib, ")
        assert error.endswith(f": {ADVICE.format('train')}\n")
        assert error.count("\n") == 1


def test_training_on_an_older_jax_is_refused(monkeypatch):
    monkeypatch.setattr(jax, "__version_info__", (0, 9, 2))
    with pytest.raises(ModuleNotFoundError, match=r"training needs .*jax>=0.10.2: pip install "):
        check_installed("train")


def test_the_training_package_is_imported_when_it_is_first_used():
    pytest.importorskip("flax")
    program = (
        "import jaxlr, sys; print('jaxlr.train' in sys.modules, jaxlr.train is sys.modules['jaxlr.train'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_name_that_does_not_exist_is_an_attribute_error():
    import jaxlr

    with pytest.raises(AttributeError, match="module 'jaxlr' has no attribute 'stepp_lr'"):
        _ = jaxlr.stepp_lr  # pyright: ignore[reportAttributeAccessIssue]
