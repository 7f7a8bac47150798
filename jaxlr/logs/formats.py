"""The learning rates in the logs of finished runs.

A log is recognized by its content: `trainer_state.json` of Hugging Face, `results.csv` of Ultralytics,
`metrics.csv` of Lightning, the JSON lines of MMEngine, MMCV and detectron2, the `metrics.jsonl` of jaxlr,
event files of TensorBoard, and any other CSV or JSON lines with a step and a rate.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from jaxlr._checks import shorten, shown_value
from jaxlr.logs.columns import (
    EPOCH_NAMES,
    STEP_NAMES,
    is_clock,
    is_rate,
    kind_of_csv,
    kind_of_events,
    kind_of_json,
)
from jaxlr.logs.events import is_event_file, read_events
from jaxlr.logs.points import Points, StepColumns, is_garbled, number_of, points_of


_LARGEST_FILE = 2**28
_LONGEST_LINE = 2**20
_MOST_POINTS = 1_000_000
_FILES = (
    "trainer_state.json",
    "results.csv",
    "metrics.csv",
    "metrics.jsonl",
    "metrics.json",
    "scalars.json",
)
_EVENTS = "*tfevents*"


class Log(NamedTuple):
    """The learning rates that a run logged.

    Args:
        kind: the program that wrote the log, such as "huggingface", or "csv".
        columns: the rates by the name of their column.
        notes: a sentence for each thing that is unusual, such as a damaged line or a resumed part.
        facts: other numbers in the log, such as `max_steps`, by name.
    """

    kind: str
    columns: Mapping[str, Points]
    notes: tuple[str, ...]
    facts: Mapping[str, Any]


def read_log(path: Path, step_column: str | None = None, rate_column: str | None = None) -> Log:
    """Read the rates in a log.

    Args:
        path: the file, or the folder of a run that holds it.
        step_column: name of the column with the number of the step or epoch. None finds it.
        rate_column: name of the column with the rate. None takes every column that is named like a rate.

    Raises:
        ValueError: the file is no log, or has no learning rate.
        OSError: the file cannot be opened.
        ModuleNotFoundError: it is an event file, and tensorboardX is not installed.
    """
    files = _files_of(path)
    rows = _Rows(files[0].name, step_column, rate_column)
    for file in files:
        if file.stat().st_size > _LARGEST_FILE:
            raise ValueError(
                f"{file.name} is larger than {_LARGEST_FILE // 2**20} MiB: give a file with fewer rows"
            )
        rows.read(file)
    return rows.log()


def _files_of(path: Path) -> list[Path]:
    """Return the file of a log, or the logs in a folder. A folder may have several event files."""
    if not path.is_dir():
        return [path]
    folders = [path, path / "vis_data", *sorted(path.glob("*/vis_data")), *_checkpoints(path)]
    for folder in folders:
        for name in _FILES:
            if (folder / name).is_file():
                return [folder / name]
    if events := sorted(path.glob(_EVENTS), key=lambda file: file.name):
        return events
    raise ValueError(
        f"the folder {shorten(path.name)!r} has no {', '.join(_FILES)} and no event file: give the file"
    )


def _checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoint folders of Hugging Face, the newest first. Each one has the whole log."""
    found = [each for each in folder.glob("checkpoint-*") if each.name[11:].isdigit()]
    return sorted(found, key=lambda each: int(each.name[11:]), reverse=True)


class _Rows:
    """The rows of the files of a log, with the notes about them."""

    def __init__(self, name: str, step_column: str | None, rate_column: str | None) -> None:
        self.name = name  # of the first file
        self.step_column = step_column
        self.rate_column = rate_column
        self.kind = ""
        self.keys: dict[str, None] = {}  # of all columns, also of those that are not kept
        self.rows: list[Mapping[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.wanted = 'must be a JSON object such as {"step": 0, "lr": 0.1}'
        self.damaged: list[int] = []
        self.notes: list[str] = []

    def read(self, file: Path) -> None:
        """Add the rows of a file, and recognize the program that wrote it."""
        with file.open("rb") as stream:
            start = stream.read(4096)
        if is_event_file(start):
            self._add(read_events(file, self.notes, self.keys, self._is_kept))
            self.kind = kind_of_events(self.keys)
            return
        text = start.decode("utf-8-sig", errors="replace").lstrip()
        if not text.strip():
            raise ValueError(f"{file.name} is empty")
        if text.startswith("version https://git-lfs"):
            raise ValueError(f"{file.name} is a pointer of Git LFS: fetch the file with git lfs pull")
        if b"\0" in start[:16]:
            raise ValueError(
                f"{file.name} is neither a text nor an event file of TensorBoard: a text must be in UTF-8"
            )
        if text.startswith("[") or (text.startswith("{") and _is_document(file)):
            self._read_document(file)
        elif text.startswith("{"):
            self._add(self._json_lines(file))
            self.kind = kind_of_json(self.keys)
        else:
            self._add(self._csv_rows(file))
            self.kind = kind_of_csv(self.keys)

    def _add(self, rows: Iterable[Any]) -> None:
        for row in rows:
            if not isinstance(row, Mapping):
                continue
            flat = _flat(row)
            self.keys.update(dict.fromkeys(flat))
            self.rows.append({key: value for key, value in flat.items() if self._is_kept(key)})
            if len(self.rows) > _MOST_POINTS:
                raise ValueError(f"the log has more than {_MOST_POINTS} rows: give a file with fewer rows")

    def _is_kept(self, key: str) -> bool:
        """Check if a column matters. A row of a large log may have many others."""
        return key in (self.step_column, self.rate_column) or is_clock(key) or is_rate(key)

    def _read_document(self, file: Path) -> None:
        """Read JSON with a list of rows. If it was cut off, the rows before the cut are read."""
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        try:
            state = _decoder.decode(text)
        except (ValueError, RecursionError):
            self._salvage(text, file.name)
            return
        if isinstance(state, list):
            self._add(state)
            self.kind = kind_of_json(self.keys)
        elif isinstance(history := state.pop("log_history", None), list):
            self._add(history)
            self.kind, self.facts = "huggingface", state
        else:
            lists = [value for value in state.values() if _is_list_of_rows(value)]
            self._add(lists[0] if len(lists) == 1 else _by_index(state))
            self.kind = "json"

    def _salvage(self, text: str, name: str) -> None:
        """Read the rows of an incomplete trainer_state.json."""
        begin = re.search(r'"log_history"\s*:\s*\[', text)
        if begin is None:
            raise ValueError(f"cannot read {name}: it is no complete JSON, and has no log_history")
        at = begin.end()
        head = re.findall(r'"(global_step|max_steps|num_train_epochs)"\s*:\s*(\d+)', text)
        self.facts = {key: int(value) for key, value in head if len(value) < 20}
        while match := re.compile(r"[\s,]*(?=\{)").match(text, at):
            try:
                row, at = _decoder.raw_decode(text, match.end())
            except (ValueError, RecursionError):
                break
            self._add([row])
        self.notes.append(f"{name} is damaged after {len(self.rows)} rows of log_history.")
        self.kind = "huggingface"

    def _json_lines(self, file: Path) -> Iterator[Any]:
        for number, line in self._lines(file):
            try:
                yield _decoder.decode(line)
            except (ValueError, RecursionError):
                self.damaged.append(number)

    def _csv_rows(self, file: Path) -> Iterator[Mapping[str, Any]]:
        lines = self._lines(file)
        _, header = next(lines)
        delimiter = max(",;\t|", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
        if len(names) < 2 or not any(map(self._is_kept, names)):
            raise ValueError(
                f"{file.name} is no log that jaxlr knows: its first line is {shown_value(shorten(header))}"
                ", not the names of columns such as step,lr: give step_column and rate_column if the "
                "columns are called otherwise"
            )
        self.wanted = "must have a cell for each column, and numbers such as 0.1"
        counted = [index for index, name in enumerate(names) if is_rate(name) or name.lower() in STEP_NAMES]
        for number, line in lines:
            cells = _cells(line, delimiter)
            if cells == names:  # the header again, in a file that two runs wrote
                continue
            if len(cells) != len(names) or any(is_garbled(cells[index]) for index in counted):
                self.damaged.append(number)
                continue
            yield dict(zip(names, cells, strict=True))

    def _lines(self, file: Path) -> Iterator[tuple[int, str]]:
        """Yield the lines that are not empty, with their numbers."""
        with file.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
            number = 0
            while line := stream.readline(_LONGEST_LINE):
                number += 1
                if len(line) >= _LONGEST_LINE:
                    raise ValueError(f"line {number} of {file.name} is too long for a log")
                if line.strip():
                    yield number, line.strip()

    def log(self) -> Log:
        """Return the rates in the rows."""
        name = self.name
        if not self.keys:
            row = f"line {self.damaged[0]}" if self.damaged else "a row"
            raise ValueError(f"{name} has no row that can be read: {row} {self.wanted}")
        for column in (self.rate_column, self.step_column):
            if column is not None and column not in self.keys:
                raise ValueError(f"{name} has no column {column!r}, it has {_listed(self.keys)}")
        rates = [key for key in self.keys if is_rate(key)]
        if self.rate_column is not None:
            rates = [self.rate_column]
        if "lr" in rates and "base_lr" in rates:  # MMEngine logs both, and base_lr is of the last group
            rates.remove("base_lr")
        if not rates:
            raise ValueError(f"{name} has no learning rate, it has {_listed(self.keys)}: give rate_column")
        at = self._step_columns(rates)
        found = {key: points_of(self.rows, key, at, self.notes) for key in rates}
        columns = {key: points for key, points in found.items() if points is not None}
        if not columns:
            self._refuse_columns(rates[0], at)
        if self.damaged:
            lines = ", ".join(map(str, self.damaged[:5])) + (", ..." if len(self.damaged) > 5 else "")
            plural = "lines are" if len(self.damaged) > 1 else "line is"
            self.notes.append(f"{len(self.damaged)} damaged {plural} left out (line {lines}).")
        facts = {**self.facts, **_facts_of_rows(self.rows, at)}
        return Log(self.kind, columns, tuple(dict.fromkeys(self.notes)), facts)

    def _step_columns(self, rates: Sequence[str]) -> StepColumns:
        """Return the columns with the numbers of the steps and of the epochs."""
        in_epoch = self.kind == "mmcv"
        if self.step_column is not None:
            if self.step_column.lower() in EPOCH_NAMES:
                return StepColumns(None, self.step_column, in_epoch)
            return StepColumns(self.step_column, None, in_epoch)
        lower = {key.lower(): key for key in self.keys if key not in rates}
        step = next((lower[key] for key in STEP_NAMES if key in lower), None)
        epoch = next((lower[key] for key in EPOCH_NAMES if key in lower), None)
        if step is None and epoch is None:
            problem = f"{self.name} has no column of steps or epochs, it has {_listed(self.keys)}"
            raise ValueError(f"{problem}: give step_column")
        return StepColumns(step, epoch, in_epoch)

    def _refuse_columns(self, rate: str, at: StepColumns) -> NoReturn:
        """Name the column without numbers: that of the rates, or else that of the steps."""
        column, hint = rate, "give rate_column, another one"
        if any(number_of(row.get(rate)) is not None for row in self.rows):
            column, hint = at.step or at.epoch, "give step_column, another one"
        raise ValueError(f"the column {column!r} of {self.name} has no number: {hint}")


_decoder = json.JSONDecoder(parse_float=Decimal)


def _cells(line: str, delimiter: str) -> list[str]:
    """Return the cells of a line, or none if the line cannot be read."""
    if '"' not in line:
        return [cell.strip() for cell in line.split(delimiter)]
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
    except (csv.Error, StopIteration):
        return []


def _is_document(file: Path) -> bool:
    """Check if a file that begins with { is one JSON object, and not a JSON object per line."""
    with file.open(encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline(_LONGEST_LINE)
        rest = stream.read(1000)
    try:
        row = _decoder.decode(first)
    except (ValueError, RecursionError):
        return len(first.strip()) == 1 or '"log_history"' in first or len(first) >= _LONGEST_LINE
    if rest.strip() or any(is_rate(key) and not isinstance(value, list) for key, value in row.items()):
        return False
    return not any(map(is_clock, row)) or "log_history" in row


def _is_list_of_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, Mapping) for row in value)


def _by_index(state: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of lists side by side, as in `{"lr": [0.1, 0.1], "loss": [2.3, 2.1]}`."""
    lists = {key: value for key, value in state.items() if isinstance(value, list)}
    if not lists or len({len(value) for value in lists.values()}) != 1:
        raise ValueError("the JSON has no log_history, and no lists of one length, so it is no log")
    names = [*lists]
    for index, values in enumerate(zip(*lists.values(), strict=True)):
        yield {"epoch": index, **dict(zip(names, values, strict=True))}


def _flat(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the rates of several groups, a list or a mapping, as columns of their own."""
    if not any(isinstance(value, list | Mapping) for value in row.values()):
        return row
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if isinstance(value, Mapping):
            joint = "-" if is_rate(key) else "/"
            flat.update({f"{key}{joint}{inner}": each for inner, each in value.items()})
        elif isinstance(value, list):
            flat.update({f"{key}/{index}": each for index, each in enumerate(value[:100])})
        else:
            flat[key] = value
    return flat


def _facts_of_rows(rows: Sequence[Mapping[str, Any]], at: StepColumns) -> dict[str, Any]:
    """Return the pairs of epoch and step in the rows, as text-exact numbers."""
    if at.step is None or at.epoch is None:
        return {}
    pairs = [(number_of(row.get(at.epoch)), number_of(row.get(at.step))) for row in rows]
    return {"epochs_and_steps": [pair for pair in pairs if None not in pair]}


def _listed(keys: Iterable[str]) -> str:
    return shorten(", ".join(map(str, keys)), 200) or "none"
