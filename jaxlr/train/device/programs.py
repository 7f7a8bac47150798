"""Compiled programs, kept on disk from one run to the next by JAX's persistent compilation cache."""

import contextlib
import re
import warnings
from pathlib import Path
from typing import Any

import jax
import pooch


_MOST_BYTES = 2**30  # of all programs together: a run has about 300 kB of them on a CPU


def keep_programs() -> None:
    """Have JAX look for compiled programs on disk, in the user's cache folder, before it compiles.

    Where the user gave JAX a folder already (`JAX_COMPILATION_CACHE_DIR`), that is the one. A folder that
    cannot be made is a warning: a run needs none. What JAX reads is code that it runs, so the folder is the
    user's alone.
    """
    given = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    folder = Path(given or pooch.os_cache("jaxlr") / "programs")
    if not given:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _discard_oldest(folder)
        except OSError as error:
            warnings.warn(f"compiled programs are not kept: {error}", stacklevel=2)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    _discard_damaged(folder)


def _discard_oldest(folder: Path) -> None:
    """Leave the most recently used; JAX's own bound needs files that a killed process leaves undone."""
    total = 0
    entries = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run may discard it meanwhile
            entries.append((path, path.stat()))
    for path, status in sorted(
        entries, key=lambda entry: max(entry[1].st_atime, entry[1].st_mtime), reverse=True
    ):
        total += status.st_size
        if total > _MOST_BYTES:
            path.unlink(missing_ok=True)


def _discard_damaged(folder: Path) -> None:
    """Delete a program that JAX warns that it cannot read, or write; say once that it cannot write.

    A killed process may have left half of one, and JAX never replaces a file that there is: without this,
    it would compile and warn in every run. A full disk would be as many warnings as there are programs.
    """
    show = warnings.showwarning
    told: list[str] = []

    def show_others(message: Warning | str, *about: Any, **more: Any) -> None:
        fault = re.match(
            r"Error (reading|writing) persistent compilation cache entry for '(\w+)': (.*)", str(message)
        )
        if fault is None:
            show(message, *about, **more)
            return
        for path in folder.glob(f"{fault[2]}-*-cache"):
            path.unlink(missing_ok=True)
        if fault[1] == "writing" and not told:
            told.append(fault[3])
            show(UserWarning(f"compiled programs are not kept: {fault[3]}"), *about, **more)

    warnings.showwarning = show_others
