"""The folder of a run or a sweep: its owner, its settings and its data."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shlex
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from jaxlr._checks import shorten
from jaxlr.train.config import RunConfig, SweepConfig, TrainConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.errors import FolderError, StorageError
from jaxlr.train.output.checkpoint import digest_of, read_newest, saved_epochs
from jaxlr.train.output.records import as_json, write_json


_DATA = "data.json"  # a digest of the data that the run is trained on
_ROOM = 300  # bytes of a path for the files of a checkpoint below the folder
_SEAL = "sha256"  # of the settings in config.json
_LOCK = ".lock"  # locked while a run writes here. The kernel unlocks it when the process ends.
_OCCUPIED = "exists already and is never overwritten"
_REPAIR = "delete it and give the flags of the run again to resume it"
# Flags that say where a run is computed, which its folder does not record.
_PLACEMENT = ("devices", "distributed", "coordinator", "num_processes", "process_id", "peer_timeout")

_Config = TypeVar("_Config", bound=RunConfig)


class RunFolder:
    """The folder of the run, or the sweep, with the settings `config`.

    Args:
        path: the folder, which need not exist yet.
        config: the settings.
    """

    def __init__(self, path: Path, config: RunConfig):
        self.path = path
        self.checkpoints: Path = path / "checkpoints"
        self._config = config

    @classmethod
    def of(cls, config: RunConfig) -> "RunFolder":
        """Return the folder that --out names, or a new name in `runs`."""
        name = re.sub(r"[^a-z0-9_]", "-", config.data.dataset)[:60]
        new = Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
        return cls(config.output.out or new, config)

    def check(self) -> None:
        """Raise a FolderError if this run may not write here. Call it before anything is loaded.

        The folder must be writable. It must be new, or hold a run of the same settings to resume.
        """
        _check_name(self.path)
        _check_writable(self.path)
        if not os.path.lexists(self.path):
            return
        if not self.path.is_dir():
            raise FolderError(f"{self.path} {_OCCUPIED}: give --out a new folder")
        if not self._config.output.resume:
            self._check_empty(_OCCUPIED)
        elif (saved := saved_config(self.path, type(self._config))) is not None:
            self.check_settings(saved)
        elif not saved_epochs(self.checkpoints):  # a run can be resumed without its config.json
            self._check_empty("holds no run to resume")

    def with_saved_recipe(self) -> Any:
        """Return the settings of a run to resume, with the recipe as its first start completed it."""
        saved = saved_config(self.path, type(self._config)) if self._config.output.resume else None
        return saved.resumed(self._config) if isinstance(saved, TrainConfig) else self._config

    def check_settings(self, saved: RunConfig | dict[str, Any]) -> None:
        """Raise a FolderError if the run was saved with other settings."""
        if isinstance(saved, dict):
            saved = _parse(saved, self.checkpoints, self.path, type(self._config))
        if changes := saved.changes_to(self._config):
            raise FolderError(
                f"cannot resume {self.path} with different settings ({', '.join(changes)}):"
                " drop these flags, or give --out a new folder"
            )

    @contextlib.contextmanager
    def claimed(self, dataset: Dataset) -> Iterator[None]:
        """Create the folder with its config.json, and keep other runs out of it in the block.

        Raises:
            FolderError: as in `check`, another run has the folder, or its run is trained on other data.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderError(
                    f"another run is writing to {self.path}: give --out another folder"
                ) from error
            self.check()  # again: another run may have ended since
            data = {"sha256": digest_of(dataset[:4])}
            self._check_data(data)
            settings = self.saved_settings()
            write_json(self.path / "config.json", settings | {_SEAL: _seal(settings)})
            write_json(self.path / _DATA, data)
            yield

    def has_content(self, *names: str) -> bool:
        """Return True if these files exist and are not empty."""
        files = [self.path / name for name in names]
        return all(file.is_file() and file.stat().st_size > 0 for file in files)

    def saved_settings(self) -> dict[str, Any]:
        """Return the settings that config.json and the checkpoints store."""
        flags = {name: value for name, value in self._config.flags().items() if name not in _PLACEMENT}
        if flags.get("recipe") is not None:
            flags["recipe"] = json.loads(flags["recipe"])
        return as_json({**flags, "resume": False, "strict": False})

    def resume_hint(self) -> str:
        """Return the end of a message: the epoch to resume after, and the command that resumes the run."""
        epochs = saved_epochs(self.checkpoints)
        start = f"resume after epoch {self.name_of(epochs[0])}" if epochs else "start again"
        return f"to {start}: {resume_command(self._config.command, self.path)}"

    def name_of(self, epoch: int) -> str:
        """Return the name of an epoch for messages. A sweep numbers its epochs across all chunks."""
        if not isinstance(self._config, SweepConfig):
            return str(epoch)
        chunk, epoch = divmod(epoch, self._config.epochs)
        return f"{epoch} of chunk {chunk}"

    @contextlib.contextmanager
    def storage_errors(self) -> Iterator[None]:
        """Turn an OSError in the block into a StorageError that says how to resume."""
        try:
            yield
        except OSError as error:
            raise StorageError(
                f"cannot write to {self.path}: {error}; make room or make it writable; {self.resume_hint()}"
            ) from error

    def _check_data(self, data: dict[str, Any]) -> None:
        path = self.path / _DATA
        try:
            saved = json.loads(path.read_bytes())
        except FileNotFoundError:
            return
        except ValueError as error:
            raise FolderError(f"cannot read {path}: {error}; delete it if the data are the same") from error
        if saved != data:
            raise FolderError(
                f"the run in {self.path} is trained on other data, or on the same data in another order:"
                " give its --data-dir, or --out a new folder"
            )

    def _check_empty(self, fault: str) -> None:
        # A run that is killed right after its start leaves these two.
        if any(path.name not in (_LOCK, ".config.json") for path in self.path.iterdir()):
            raise FolderError(f"{self.path} {fault}: give --out a new folder")


def saved_config(path: Path, kind: type[_Config]) -> _Config | None:
    """Return the settings in the config.json of a folder, or None if there is none.

    Raises:
        FolderError: the file cannot be read, or belongs to the other command.
    """
    file = path / "config.json"
    try:
        values = json.loads(file.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        raise FolderError(f"cannot read {file}: {error}; {_REPAIR}") from error
    seal = values.pop(_SEAL, None) if isinstance(values, dict) else None
    saved = _parse(values, file, path, kind)
    if seal not in (None, _seal(values)):
        raise FolderError(f"{file} was changed since the run wrote it{_changes(path, values)}; {_REPAIR}")
    return saved


def resume_command(command: str, path: Path) -> str:
    """Return the shell command that resumes the run in `path`."""
    return f"jaxlr {command} --resume --out {shlex.quote(str(path))}"


def _seal(settings: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _changes(path: Path, values: dict[str, Any]) -> str:
    """Describe the differences of changed settings from those in the newest checkpoint."""
    newest = read_newest(path / "checkpoints")
    settings = {} if newest is None else newest["config"]
    changes = [
        f"{name} was {old!r}, now {values.get(name)!r}"
        for name, old in settings.items()
        if values.get(name) != old
    ]
    return f" ({shorten(', '.join(changes))})" if changes else ""


def _parse(values: Any, source: Path, path: Path, kind: type[_Config]) -> _Config:
    try:
        saved = (SweepConfig if "seeds" in values else TrainConfig).from_flags(**values)
    except (TypeError, ValueError) as error:
        raise FolderError(f"{source} does not hold the settings of a run: {error}; {_REPAIR}") from error
    if not isinstance(saved, kind):
        raise FolderError(
            f"{path} was written by jaxlr {saved.command}, not by jaxlr {kind.command}: "
            f"resume it with {resume_command(saved.command, path)}"
        )
    return saved


def _check_name(path: Path) -> None:
    """Raise a FolderError if Orbax or JSON cannot handle the name of the folder."""
    absolute, advice = str(path.absolute()), "give --out another folder"
    if re.match(r"[A-Za-z][\w+.-]+:/", str(path)):
        raise FolderError(f"{path} is not a local folder: {advice}")
    if any("\udc80" <= each <= "\udcff" for each in absolute):  # Python's replacement of other bytes
        raise FolderError(f"the name {absolute!r} is not text in UTF-8: {advice}")
    # Orbax finds the arrays of a checkpoint by a pattern that begins with this name.
    if character := next((each for each in "[\\" if each in absolute), None):
        raise FolderError(f"a path with {character!r} is not supported, got {absolute}: {advice}")
    longest = os.pathconf("/", "PC_PATH_MAX") - _ROOM
    if len(os.fsencode(absolute)) > longest:
        raise FolderError(f"the path of the folder must have at most {longest} bytes: {advice}")


def _check_writable(path: Path) -> None:
    try:
        existing = next(each for each in (path, *path.absolute().parents) if _exists(each))
        if existing.is_dir() and not os.access(existing, os.W_OK | os.X_OK):
            raise PermissionError("no permission, or a read-only disk")
    except OSError as error:
        raise FolderError(f"cannot write to {path}: {error.strerror or error}") from error


def _exists(path: Path) -> bool:
    """Return True if there is a file or folder at `path`. Raise an OSError if there cannot be one."""
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True
