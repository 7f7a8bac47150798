"""The extra `train`, whose packages the command and `jaxlr.train` need."""

import importlib.util


_PACKAGES = ("flax", "jaxtyping", "matplotlib", "orbax", "sklearn", "tensorflow_datasets", "tqdm", "tyro")


def check_installed() -> None:
    """Raise a ModuleNotFoundError that says what to install, unless every package is there."""
    # Found, not imported: that would take a second before a flag is read.
    if missing := [name for name in _PACKAGES if importlib.util.find_spec(name) is None]:
        raise ModuleNotFoundError(
            f'the command jaxlr needs {", ".join(missing)}: pip install "jaxlr[train]"', name=missing[0]
        )
