"""Train a classifier under a schedule: the tutorial's run as a program."""

import importlib.util


# Looked for rather than imported, which would take a second before a flag is read.
_NEEDED = ("flax", "jaxtyping", "matplotlib", "orbax", "sklearn", "tensorflow_datasets", "tqdm", "tyro")

if _missing := [name for name in _NEEDED if importlib.util.find_spec(name) is None]:
    raise ModuleNotFoundError(
        f'the command jaxlr needs {", ".join(_missing)}: pip install "jaxlr[train]"', name=_missing[0]
    )
