"""The compiled programs of a run, kept in its folder."""

import contextlib
import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jaxlr.train.config import RunConfig
from jaxlr.train.device.compiler import compiler_options, times_kernels
from jaxlr.train.device.numerics import check_numerics, numerics
from jaxlr.train.device.processes import from_first
from jaxlr.train.device.programs import is_only_ours
from jaxlr.train.output.records import replacing
from jaxlr.train.workarounds import replaced_program_cache


_FILE = "programs.zip"


class RunPrograms:
    """The programs that a run is computed with, to compute the same bits after a resume.

    On a GPU, XLA chooses kernels by timing them, so a program that is compiled again may give other bits.
    The program cache of the user may be emptied, so the folder of the run has its own copies. JAX uses this
    object in the place of its cache. A program of this run comes first, then one of the user's cache.

    `jax.experimental.serialize_executable` is public, but cannot make these copies: a program that comes
    from JAX's cache does not run when it has been serialized again (JAX 0.10.2, on a CPU).

    Args:
        folder: the folder of the run.
        main: the name of the program that trains an epoch, as JAX calls it.
        config: the settings. Without `compilation_cache` nothing is read or kept.
    """

    def __init__(self, folder: Path, main: str, config: RunConfig):
        self._path = folder / _FILE
        self._main = main
        self._device = config.device
        self._strict = config.output.strict
        self._cache: Any = None  # JAX's own
        # Programs of another machine or version stay in the file, but must not run here.
        self._prefix = _digest(json.dumps(numerics()).encode()) + "/"
        is_read = config.output.resume and config.device.compilation_cache
        self._programs: dict[str, bytes] = from_first(self._read) if is_read else {}
        mains = (name for name in self._programs if name.startswith(self._prefix + main))
        self._readable = {_digest(self._programs[name]) for name in mains}
        self._current = "not kept"  # the digest of the main program in use
        self._has_new = False

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Make JAX take programs from here in the block, and keep those that it compiles."""
        if not self._device.compilation_cache:
            yield
            return
        with replaced_program_cache(self) as self._cache:
            yield

    def get(self, key: str) -> bytes | None:
        """Return a program, or None. JAX calls this before it compiles a program."""
        program = self._programs.get(self._prefix + key)
        if program is None and self._cache is not None:
            program = self._cache.get(key)
        if program is not None:
            self._keep(key, program)
        return program

    def put(self, key: str, program: bytes) -> None:
        """Keep a program. JAX calls this after it has compiled one."""
        self._keep(key, program)
        if self._cache is not None:
            self._cache.put(key, program)

    def write(self) -> None:
        """Write the new programs to the folder. Call this before a checkpoint that they computed."""
        if not self._has_new:
            return
        with (
            replacing(self._path) as scratch,
            # JAX executes these programs, so no other user may write to the file.
            os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file,
            zipfile.ZipFile(file, "w") as archive,
        ):
            for name, program in self._programs.items():
                archive.writestr(zipfile.ZipInfo(name), program)
        self._has_new = False

    def numerics(self) -> dict[str, str]:
        """Return everything that decides the bits of this run, by name."""
        return self._numerics_with(self._current)

    def check(self, saved: dict[str, str]) -> None:
        """Compare with the `numerics` of a checkpoint, as `check_numerics` does."""
        program = saved.get("program", "")
        now = self._numerics_with(program if program in self._readable else "compiled again")
        check_numerics(saved, now, self._strict)

    def _numerics_with(self, program: str) -> dict[str, str]:
        options = compiler_options(self._device)
        named = {"compiler options": " ".join(f"{name}={value}" for name, value in options.items())}
        return numerics() | named | ({"program": program} if times_kernels(self._device) else {})

    def _keep(self, key: str, program: bytes) -> None:
        name = self._prefix + key
        if self._programs.get(name) != program:
            self._programs[name] = program
            self._has_new = True
        if key.startswith(self._main):
            self._current = _digest(program)

    def _read(self) -> dict[str, bytes]:
        """Read the file. Damaged programs are left out, and compiled again."""
        programs = {}
        # A damaged file can raise almost any error.
        with contextlib.suppress(Exception), self._path.open("rb") as file:
            if not is_only_ours(os.fstat(file.fileno())):
                if times_kernels(self._device):  # otherwise other compilations have the same bits
                    reason = "it belongs to another user, or others can write to it"
                    warnings.warn(f"the programs in {self._path} are not used: {reason}", stacklevel=2)
                return {}
            with zipfile.ZipFile(file) as archive:
                for name in archive.namelist():
                    with contextlib.suppress(Exception):
                        programs[name] = archive.read(name)
        return programs


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
