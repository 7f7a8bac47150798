"""Tests of `import jaxlr`, which must load JAX and Optax but no package for training."""

import functools
import subprocess
import sys

import pytest

from jaxlr import __main__


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


@pytest.mark.parametrize("library", ["flax", "tyro"])
def test_the_command_says_how_to_install_a_missing_package(library, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, "jaxlr.train", raising=False)
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 2
    message = f'jaxlr: error: the command jaxlr needs {library}: pip install "jaxlr[train]"\n'
    assert capsys.readouterr() == ("", message)


def test_the_training_package_is_imported_when_it_is_first_used():
    program = (
        "import jaxlr, sys; print('jaxlr.train' in sys.modules, jaxlr.train is sys.modules['jaxlr.train'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_name_that_does_not_exist_is_an_attribute_error():
    import jaxlr

    with pytest.raises(AttributeError, match="module 'jaxlr' has no attribute 'stepp_lr'"):
        _ = jaxlr.stepp_lr  # pyright: ignore[reportAttributeAccessIssue]
