"""The extra `train`: the packages that the command and `jaxlr.train` need."""

import importlib.util


_PACKAGES = ("flax", "jaxtyping", "matplotlib", "orbax", "sklearn", "tensorflow_datasets", "tqdm", "tyro")


def check_installed() -> None:
    """Raise a ModuleNotFoundError that says what to install if a package is missing."""
    # The packages are found, not imported. Importing them would delay every command by a second.
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(
            f'the command jaxlr needs {", ".join(missing)}: pip install "jaxlr[train]"', name=missing[0]
        )
