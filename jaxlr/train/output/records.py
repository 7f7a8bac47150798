"""The records of a run: metrics.jsonl, TensorBoard scalars, CSV and JSON files."""

import contextlib
import csv
import hashlib
import io
import json
import math
import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self, TextIO


_METRICS = ("train_loss", "valid_loss", "valid_accuracy", "lr", "seconds")  # a row has these and its epoch


class MetricsLog:
    """The metrics of a run: a line of metrics.jsonl per epoch, and TensorBoard scalars if asked for.

    Attributes:
        history: the rows so far, those of earlier epochs included.
    """

    def __init__(self, folder: Path, tensorboard: bool, start: int = 0, digest: str | None = None):
        """Open the files in `folder` for the epochs from `start` on, and drop rows of those epochs.

        Args:
            folder: the folder of the run.
            tensorboard: write TensorBoard scalars, too.
            start: the first epoch to write.
            digest: the `digest` after the epoch before it. Other rows are a warning.
        """
        self._path = folder / "metrics.jsonl"
        self.history: list[dict[str, Any]] = _keep_before(start, self._path)
        self._digest = _digest_of(self.history)
        if digest not in (None, self.digest) and len(self.history) == start:
            warnings.warn(f"{self._path} was changed: a number in its first {start} lines", stacklevel=2)
        self._writer = None
        with contextlib.ExitStack() as stack:
            self._file = stack.enter_context(self._path.open("a"))
            if tensorboard:
                from tensorboardX import SummaryWriter

                # tensorboardX names a file by the second. With the suffix, a run that is resumed within the
                # same second gets a separate file.
                writer = SummaryWriter(str(folder), purge_step=start, filename_suffix=f".{start}")
                self._writer = stack.enter_context(writer)
            self._files = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def digest(self) -> str:
        """Return the SHA-256 of all rows so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the files."""
        self._files.close()

    def write(self, row: dict[str, Any]) -> None:
        """Write the metrics of one epoch.

        The line reaches the disk before this returns, because a checkpoint of the epoch may follow.
        """
        self.history.append(row)
        line = as_json_line(row) + "\n"
        self._digest.update(line.encode())
        self._file.write(line)
        _sync(self._file, self._path)
        if self._writer:
            for name, value in row.items():
                self._writer.add_scalar(name, value, row["epoch"])


def read_history(path: Path) -> list[dict[str, Any]]:
    """Read the rows of a metrics.jsonl: each epoch once, in order, without damaged lines."""
    content = path.read_bytes() if path.exists() else b""
    rows = [row for line in content.splitlines(keepends=True) if (row := _parse_row(line))]
    unique = {row["epoch"]: row for row in reversed(rows)}
    return [unique[epoch] for epoch in sorted(unique)]


def has_digest(history: Iterable[dict[str, Any]], digest: str | None) -> bool:
    """Return True if these are the rows with the `digest` of a `MetricsLog`."""
    return _digest_of(history).hexdigest() == digest


class CsvLog:
    """A file of comma-separated values whose rows reach the disk as soon as they are written."""

    def __init__(self, path: Path, rows: Iterable[dict[str, Any]] = ()):
        """Open the file with `rows` as its content. Whatever it held is replaced in one step."""
        self._path = path
        self._is_empty = True
        self._digest = hashlib.sha256()
        with contextlib.ExitStack() as stack:
            with replacing(path) as scratch:
                self._file = stack.enter_context(scratch.open("w", newline="", encoding="utf-8"))
                self._add(rows)
            self._files = stack.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the file so far."""
        return self._digest.hexdigest()

    def close(self) -> None:
        """Close the file."""
        self._files.close()

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Append rows. All rows have the same keys, and those of the first row are the header."""
        self._add(rows)
        _sync(self._file, self._path)

    def _add(self, rows: Iterable[dict[str, Any]]) -> None:
        if text := as_csv(rows, has_header=self._is_empty):
            self._is_empty = False
            self._digest.update(text.encode())
            self._file.write(text)
        self._file.flush()


def as_csv(rows: Iterable[dict[str, Any]], has_header: bool = True) -> str:
    """Format rows with the same keys as the lines of a CSV file."""
    lines, writer = io.StringIO(), None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(lines, list(row), lineterminator="\n")
            if has_header:
                writer.writeheader()
        writer.writerow(row)
    return lines.getvalue()


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` as a JSON file. An existing file is replaced in one step."""
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(as_json(value), indent=2) + "\n")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a scratch file, and rename it to `path` when it is complete and on the disk."""
    scratch = path.with_name(f".{path.name}")
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """Convert values to what JSON can hold: paths to strings, tuples to lists, NaN and infinity to null."""
    text = json.dumps(
        {name: None if _is_not_finite(value) else value for name, value in row.items()}, default=str
    )
    return json.loads(text)


def as_json_line(row: dict[str, Any]) -> str:
    """Format a row as a line of metrics.jsonl, without the newline."""
    return json.dumps(as_json(row))


def _is_not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _sync(file: TextIO, path: Path) -> None:
    """Force `file` to the disk, and check that it is still the file at `path`."""
    file.flush()
    os.fsync(file.fileno())
    # An open file can still be written after its folder has been moved or deleted.
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise FileNotFoundError(f"{path} was replaced by another file while the run was writing to it")


def _keep_before(start: int, path: Path) -> list[dict[str, Any]]:
    """Keep only the rows of the epochs before `start` in the file, and return them."""
    rows = [row for row in read_history(path) if row["epoch"] < start]
    if len(rows) < start:
        warnings.warn(f"{path} lacks {start - len(rows)} of the first {start} epochs", stacklevel=2)
    content = "".join(as_json_line(row) + "\n" for row in rows).encode()
    if not path.exists() or path.read_bytes() != content:
        with replacing(path) as scratch:
            scratch.write_bytes(content)
    return rows


def _digest_of(history: Iterable[dict[str, Any]]) -> Any:
    return hashlib.sha256("".join(as_json_line(row) + "\n" for row in history).encode())


def _parse_row(line: bytes) -> dict[str, Any] | None:
    """Parse a line of metrics.jsonl. Return None for a damaged line, such as one cut short by a kill."""
    try:
        row = json.loads(line)
        metrics = {name: math.nan if row[name] is None else float(row[name]) for name in _METRICS}
        complete = line.endswith(b"\n") and type(row["epoch"]) is int and row["epoch"] >= 0
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return {"epoch": row["epoch"], **metrics} if complete else None
