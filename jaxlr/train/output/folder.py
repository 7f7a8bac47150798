"""The folder of a run, or of a sweep: who may write to it, its config, and where it stands."""

import contextlib
import dataclasses
import fcntl
import json
import os
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jaxlr.train.config import WHEREABOUTS, RunConfig, SweepConfig, TrainConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.errors import FolderError
from jaxlr.train.output.checkpoint import digest_of, saved_epochs
from jaxlr.train.output.records import as_json, write_json


_DATA = "data.json"  # tells the data that a run has learned from
_LOCK = ".lock"  # held while a run is alive: the kernel drops it with the process
_CURE = "delete it and give the recipe's flags again to go on with the run"


_Config = TypeVar("_Config", bound=RunConfig)


def check_folder(config: RunConfig) -> None:
    """Refuses, before anything is loaded, a folder that this run would be refused in the end.

    Raises:
        FolderError: it holds something that is not to be overwritten, no run to go on with, or a run of
            another recipe; or it cannot be written.
    """
    out = config.out or Path("runs")
    _check_writable(out)
    if config.out is None or not os.path.lexists(out):
        return
    if not out.is_dir():
        raise FolderError(f"{out} exists already and is never overwritten: give --out a new folder")
    if not config.resume:
        _check_empty(out)
    elif (saved := saved_config(out, type(config))) is not None:
        check_recipe(out, saved, config)
    elif not saved_epochs(checkpoints_of(out)):  # without its config a run can go on all the same
        _check_empty(out, "holds no run to go on with")


def saved_config(out: Path, kind: type[_Config]) -> _Config | None:
    """The config of the run in `out`, or None if it has none.

    Raises:
        FolderError: it cannot be read, or is that of another kind of run.
    """
    path = out / "config.json"
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"cannot read {path}: {error}; {_CURE}") from error
    return _parse(values, path, out, kind)


def check_recipe(out: Path, saved: RunConfig | dict[str, Any], given: RunConfig) -> None:
    """Refuses to go on with the run in `out`, saved under one recipe, under another one."""
    if isinstance(saved, dict):
        saved = _parse(saved, checkpoints_of(out), out, type(given))
    if changes := saved.changes_to(given):
        raise FolderError(
            f"the run in {out} has another recipe: {', '.join(changes)};"
            " leave these flags out to go on with it, or give --out a new folder"
        )


def new_folder(config: RunConfig) -> Path:
    """The folder of a run that was given none."""
    name = re.sub(r"[^a-z0-9_]", "-", config.dataset)[:60]
    return Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"


@contextlib.contextmanager
def claimed(config: RunConfig, out: Path, dataset: Dataset) -> Iterator[None]:
    """Makes `out` if need be, with its config.json; no other run can have it meanwhile.

    Raises:
        FolderError: as `check_folder`, or another run has it, or it has learned from other data.
    """
    out.mkdir(parents=True, exist_ok=True)
    with (out / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise FolderError(f"another run is writing to {out}: give --out another folder") from error
        check_folder(config)  # again: another run may have come and gone
        data = {"sha256": digest_of(dataset[:4])}
        _check_data(out / _DATA, data)
        write_json(out / "config.json", config_values(config))
        write_json(out / _DATA, data)
        yield


def config_values(config: RunConfig) -> dict[str, Any]:
    """What config.json holds; that a run goes on, and where, is no part of it."""
    values = {name: value for name, value in dataclasses.asdict(config).items() if name not in WHEREABOUTS}
    return as_json({**values, "resume": False})


def checkpoints_of(out: Path) -> Path:
    """Where the run in `out` has its checkpoints."""
    return out / "checkpoints"


def resume_command(command: str, out: Path) -> str:
    """What goes on with the run in `out`, to be pasted."""
    return f"jaxlr {command} --resume --out {shlex.quote(str(out))}"


def _check_data(path: Path, data: dict[str, Any]) -> None:
    """Refuses data that are not those of the run that `path` is of, if there is one."""
    try:
        saved = json.loads(path.read_bytes())
    except FileNotFoundError:
        return
    except ValueError as error:
        raise FolderError(f"cannot read {path}: {error}; delete it if the data are the same") from error
    if saved != data:
        raise FolderError(
            f"the run in {path.parent} has learned from other data, or from these in another order:"
            " give the --data-dir that it had, or --out a new folder"
        )


def _parse(values: Any, source: Path, out: Path, kind: type[_Config]) -> _Config:
    try:
        saved = (SweepConfig if "seeds" in values else TrainConfig)(**values)
    except (TypeError, ValueError) as error:
        raise FolderError(f"{source} holds no config of a run: {error}; {_CURE}") from error
    if not isinstance(saved, kind):
        raise FolderError(
            f"{out} is of jaxlr {saved.command}, not of jaxlr {kind.command}: "
            f"{resume_command(saved.command, out)} goes on with it"
        )
    return saved


def _check_empty(out: Path, fault: str = "exists already and is never overwritten") -> None:
    # A run that was killed at its very beginning has left no more than a lock.
    if any(path.name not in (_LOCK, ".config.json") for path in out.iterdir()):
        raise FolderError(f"{out} {fault}: give --out a new folder")


def _check_writable(out: Path) -> None:
    try:
        existing = next(path for path in (out, *out.absolute().parents) if _exists(path))
        if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError("no permission, or a disk that is read-only")
    except OSError as error:
        raise FolderError(f"cannot write to {out}: {error.strerror or error}") from error


def _exists(path: Path) -> bool:
    """Whether there is anything of that name; a name that there cannot be is an `OSError`."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
