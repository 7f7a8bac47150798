"""Tests of `import jaxlr` and the command with as few other packages as they need."""

import ast
import functools
import graphlib
import importlib.metadata
import json
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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


@pytest.mark.heavy
def test_importing_jaxlr_loads_no_other_package():
    loaded = loaded_by("import jaxlr") - loaded_by("pass")
    assert loaded - sys.stdlib_module_names == {"jaxlr"}


@pytest.mark.heavy
def test_all_public_names_need_only_the_packages_of_jax_and_optax():
    loaded = loaded_by("from jaxlr import *") - loaded_by("import jax, optax")
    assert loaded - sys.stdlib_module_names == {"jaxlr"}


@pytest.mark.heavy
def test_a_schedule_loads_no_framework():
    program = "import jaxlr, sys; jaxlr.step_lr(0.1, 30); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "jaxlr.schedules.decay" in done.stdout
    assert "jaxlr.frameworks" not in done.stdout
    assert "jaxlr.convert" not in done.stdout


LAZY = ("jaxlr", "jaxlr.cli", "jaxlr.convert", "jaxlr.train")
ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "jaxlr").rglob("*.py")
}


@functools.cache
def imports_for_type_checkers(package: str) -> dict[str, str]:
    """Return the module of each name that a package imports below `if TYPE_CHECKING`."""
    tree = ast.parse(MODULES[package].read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    imports = (node for node in block.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


@pytest.mark.parametrize("package", LAZY)
def test_a_public_name_is_imported_from_the_module_that_type_checkers_see(package):
    pytest.importorskip("flax")
    imported, module = imports_for_type_checkers(package), importlib.import_module(package)
    modules = {name for name, source in imported.items() if source == package}
    assert {*module.__all__} == imported.keys() - modules
    for name, source in imported.items():
        assert module.__getattr__(name) is getattr(importlib.import_module(source), name)
        assert getattr(module, name) is module.__getattr__(name)


@pytest.mark.parametrize("package", LAZY)
def test_no_module_has_the_name_of_a_public_function(package):
    """Importing such a module would replace the function."""
    pytest.importorskip("flax")
    module = importlib.import_module(package)
    files = {found.name for found in pkgutil.iter_modules(module.__path__)}
    assert not files & {*module.__all__}


def test_modules_can_be_imported_in_any_order():
    """No module needs itself while it is imported."""
    graph = {module: needed_by(module) for module in MODULES}
    graphlib.TopologicalSorter(graph).prepare()  # raises an error that lists the modules of a cycle


def needed_by(module: str) -> set[str]:
    """Return the modules of ours that are imported before a module is complete."""
    needed: set[str] = set()
    for node in executed(ast.parse(MODULES[module].read_text()).body):
        if isinstance(node, ast.Import):
            needed |= {alias.name for alias in node.names}
            continue
        source = str(node.module)
        lazy = imports_for_type_checkers(source) if source in LAZY else {}
        for name in [alias.name for alias in node.names]:
            is_module = f"{source}.{name}" in MODULES
            needed.add(f"{source}.{name}" if is_module else lazy.get(name, source))
    packages = {str(parent) for name in needed for parent in parents(name)} - {module, *parents(module)}
    return (needed | packages) & MODULES.keys()


def executed(statements: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Yield the import statements that are executed when a module is imported."""
    for node in statements:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and ast.unparse(node.test) != "TYPE_CHECKING":
            yield from executed([*node.body, *node.orelse])
        elif isinstance(node, ast.Try | ast.With):
            yield from executed(node.body)


def parents(module: str) -> list[str]:
    return [module[: dot.start()] for dot in re.finditer(r"\.", module)]


@pytest.mark.heavy
def test_the_names_can_be_listed_and_pickled_before_their_first_use():
    program = """
import pickle, pydoc, jaxlr
assert {*jaxlr.__all__} <= {*dir(jaxlr)}
assert not {"TYPE_CHECKING", "on_first_use"} & {*dir(jaxlr)}
assert "one_cycle_lr" not in vars(jaxlr)
assert "one_cycle_lr(" in pydoc.render_doc(jaxlr)
assert pickle.loads(pickle.dumps(jaxlr.step_lr)) is jaxlr.step_lr
"""
    subprocess.run([sys.executable, "-c", program], check=True)


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


@pytest.mark.heavy
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
    assert "as Python lines" in usage[1]
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
    monkeypatch.setattr(importlib.metadata, "version", lambda package: "0.9.2")
    with pytest.raises(ModuleNotFoundError, match=r"training needs .*jax>=0.10.2: pip install "):
        check_installed("train")


@pytest.mark.heavy
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
