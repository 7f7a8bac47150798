"""The program cache: compiled programs, kept on disk for later runs."""

import contextlib
import os
import stat
import warnings
from pathlib import Path

import jax
import pooch

from jaxlr.train.workarounds import compress_with_checksums, discard_damaged_programs


_MAX_BYTES = 2**30  # of all programs; those of one run take about 300 kB on a CPU


def keep_programs() -> None:
    """Make JAX keep compiled programs on disk, and look for them there before it compiles.

    The folder is `JAX_COMPILATION_CACHE_DIR` if that is set, and one in the user's cache folder otherwise.
    Only the user can access it, because JAX executes the programs that it finds there. If it cannot be
    created, or other users can write there, this warns and does nothing else, because a run needs no cache.
    """
    folder = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    if not folder:
        folder = pooch.os_cache("jaxlr") / "programs"
        try:
            _create(folder)
            _discard_oldest(folder)
        except OSError as error:
            warnings.warn(f"compiled programs are not kept: {error}", stacklevel=2)
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    compress_with_checksums()
    discard_damaged_programs(Path(folder))


def is_only_ours(status: os.stat_result) -> bool:
    """Return True if no other user can have written the file or folder with this status."""
    return status.st_uid == os.geteuid() and not status.st_mode & 0o022


def _create(folder: Path) -> None:
    """Create a folder that only this user can write to. Raise an OSError if others can."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not is_only_ours(folder.stat()):
        raise PermissionError(f"other users can write programs into {folder}: delete it")


def _discard_oldest(folder: Path) -> None:
    """Delete the least recently used programs, until the rest fits in `_MAX_BYTES`.

    JAX has a limit too, jax_compilation_cache_max_size. With it, one file that a killed process left
    behind stops all later writes: https://github.com/jax-ml/jax/issues/39880
    """
    programs = []
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another run may delete it at the same time
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):  # choices of XLA for GPUs, which are small
                continue
            programs.append((max(status.st_atime, status.st_mtime), status.st_size, path))
    total = 0
    for _, size, path in sorted(programs, reverse=True):
        total += size
        if total > _MAX_BYTES:
            path.unlink(missing_ok=True)
