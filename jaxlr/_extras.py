"""The extras of the installation: the packages that the command and `jaxlr.train` need."""

import importlib.metadata
import importlib.util
import re


_PACKAGES = {
    "cli": ("tyro",),
    "train": ("flax", "jaxtyping", "matplotlib", "orbax", "sklearn", "tensorflow_datasets", "tqdm", "tyro"),
}
_USERS = {"cli": "the command jaxlr", "train": "training"}
_OLDEST_JAX = "0.10.2"  # for training. The library itself works with older ones.


def check_installed(extra: str) -> None:
    """Raise a ModuleNotFoundError that says what to install if a package of `extra` is missing."""
    # The packages are found, not imported. Importing them would delay every command by a second.
    missing = [name for name in _PACKAGES[extra] if importlib.util.find_spec(name) is None]
    if extra == "train" and _numbers(importlib.metadata.version("jax")) < _numbers(_OLDEST_JAX):
        missing.append(f"jax>={_OLDEST_JAX}")
    if missing:
        message = f"{_USERS[extra]} needs {', '.join(missing)}: {how_to_install(extra)}"
        raise ModuleNotFoundError(message, name=missing[0])


def how_to_install(extra: str) -> str:
    """Return the commands that install an extra, from a package index and from a checkout."""
    return f'pip install "jaxlr[{extra}]", or in a checkout pip install -e ".[{extra}]"'


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:3]]
