"""The learning rates in the logs of finished runs.

A log is recognized by its content: `trainer_state.json` of Hugging Face, `results.csv` of Ultralytics,
`metrics.csv` of Lightning, the JSON lines of MMEngine, MMCV and detectron2, the `metrics.jsonl` of jaxlr,
event files of TensorBoard, and any other CSV or JSON lines with a step and a rate.
"""

import csv
import json
import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlr._checks import shorten, shown_value


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

_RATE = re.compile(
    r"(?:.*[\s/._-])?(?:lr|learning[\s_-]?rate)"
    r"(?:\d+|[/_-](?:pg|group|param_group_?)?\d+|-[a-z]\w*(?:[/-]\w+)*)?",
    re.IGNORECASE,
)
_NO_RATE = re.compile(r"momentum|weight[_-]?decay|__(?:min|max)$", re.IGNORECASE)
_STEP = ("step", "global_step", "trainer/global_step", "iteration", "iter", "_step", "steps", "update")
_EPOCH = ("epoch", "trainer/epoch", "train/epoch", "epochs")


class Points(NamedTuple):
    """The rates of one column of a log, in the order of their steps.

    Args:
        steps: step of each rate as the log numbers it, or NaN if the log has none, shape (points,).
        epochs: epoch of each rate as the log numbers it, or NaN, shape (points,).
        rates: the rates, shape (points,).
        tolerances: half a unit of the last printed digit of each rate, shape (points,).
        digits: number of significant digits that the column was printed with.
    """

    steps: np.ndarray
    epochs: np.ndarray
    rates: np.ndarray
    tolerances: np.ndarray
    digits: int


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
    rows = _Rows()
    kind = ""
    for file in files:
        size = file.stat().st_size
        if size > _LARGEST_FILE:
            raise ValueError(f"{file.name} is larger than {_LARGEST_FILE // 2**20} MiB")
        kind = rows.read(file)
    return rows.log(kind, files[0].name, step_column, rate_column)


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
    found = [
        (int(each.name[11:]), each) for each in folder.glob("checkpoint-*") if each.name[11:].isdigit()
    ]
    return [each for _, each in sorted(found, reverse=True)]


class _Rows:
    """The rows of the files of a log, with what is said of them."""

    def __init__(self) -> None:
        self.rows: list[Mapping[str, Any]] = []
        self.facts: dict[str, Any] = {}
        self.damaged: list[int] = []
        self.notes: list[str] = []

    def read(self, file: Path) -> str:
        """Add the rows of a file, and return the kind of its program."""
        with file.open("rb") as stream:
            start = stream.read(4096)
        if not start.strip():
            raise ValueError(f"{file.name} is empty")
        if _is_event_file(start):
            self._add(_by_step(_events(file, self.notes)))
            return _kind_of_events(self.rows)
        text = start.decode("utf-8-sig", errors="replace").lstrip()
        if text.startswith("version https://git-lfs"):
            raise ValueError(f"{file.name} is a pointer of Git LFS: fetch the file with git lfs pull")
        if b"\0" in start:
            raise ValueError(f"{file.name} is neither a text nor an event file of TensorBoard")
        if re.match(r"\{\s*\"", text) and re.match(r"\{\s*\n|\{[^\n]*\"log_history\"", text):
            return self._read_trainer_state(file)
        if text.startswith("["):
            return self._read_list(file)
        if text.startswith("{"):
            self._add(self._json_lines(file))
            return _kind_of_json(self.rows)
        self._add(self._csv_rows(file))
        return _kind_of_csv(self.rows)

    def _add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        for row in rows:
            self.rows.append(row)
            if len(self.rows) > _MOST_POINTS:
                raise ValueError(f"the log has more than {_MOST_POINTS} rows")

    def _read_trainer_state(self, file: Path) -> str:
        """Read a JSON object with a list of rows. If it was cut off, the rows before the cut are read."""
        text = file.read_text(encoding="utf-8-sig", errors="replace")
        try:
            state = _decoder.decode(text)
        except (ValueError, RecursionError):
            self._salvage(text, file.name)
            return "huggingface"
        history = state.get("log_history")
        if not isinstance(history, list):
            lists = [value for value in state.values() if _is_list_of_rows(value)]
            if len(lists) == 1:
                self._add(lists[0])
                return "json"
            self._add(_by_index(state))
            return "json"
        self._add(row for row in history if isinstance(row, Mapping))
        self.facts = {key: value for key, value in state.items() if key != "log_history"}
        return "huggingface"

    def _salvage(self, text: str, name: str) -> None:
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

    def _read_list(self, file: Path) -> str:
        try:
            rows = _decoder.decode(file.read_text(encoding="utf-8-sig", errors="replace"))
        except (ValueError, RecursionError):
            raise ValueError(f"cannot read {file.name}: it is no complete JSON") from None
        self._add(row for row in rows if isinstance(row, Mapping))
        return _kind_of_json(self.rows)

    def _json_lines(self, file: Path) -> Iterator[Mapping[str, Any]]:
        for number, line in self._lines(file):
            try:
                row = _decoder.decode(line)
            except (ValueError, RecursionError):
                self.damaged.append(number)
                continue
            if isinstance(row, Mapping):
                yield row

    def _csv_rows(self, file: Path) -> Iterator[Mapping[str, Any]]:
        lines = self._lines(file)
        try:
            _, header = next(lines)
        except StopIteration:
            raise ValueError(f"{file.name} is empty") from None
        delimiter = max(",;\t", key=header.count)
        names = [name.strip() for name in next(csv.reader([header], delimiter=delimiter))]
        if len(names) < 2 or not any(_is_rate(name) or name.lower() in (*_STEP, *_EPOCH) for name in names):
            raise ValueError(
                f"{file.name} is no log that jaxlr knows: its first line is {shown_value(shorten(header))}"
                ", not the names of columns such as step and lr"
            )
        for number, line in lines:
            try:
                cells = [cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))]
            except (csv.Error, StopIteration):
                cells = []
            if len(cells) != len(names):
                self.damaged.append(number)
            elif cells != names:  # the header again, in a file that two runs wrote
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

    def log(self, kind: str, name: str, step_column: str | None, rate_column: str | None) -> Log:
        """Return the rates in the rows."""
        rows = [_flat(row) for row in self.rows]
        keys = list(dict.fromkeys(key for row in rows for key in row))
        if rate_column is not None and rate_column not in keys:
            raise ValueError(f"{name} has no column {rate_column!r}, it has {_listed(keys)}")
        rates = [rate_column] if rate_column is not None else [key for key in keys if _is_rate(key)]
        if "lr" in rates and "base_lr" in rates:  # MMEngine logs both, and base_lr is of the last group
            rates.remove("base_lr")
        if not rates:
            raise ValueError(
                f"{name} has no learning rate, it has {_listed(keys)}: name its column (rate_column)"
            )
        step, epoch = self._clock(keys, name, step_column, rates)
        columns = {}
        for key in rates:
            chosen = [row for row in rows if _number(row.get(key)) is not None]
            if chosen:
                columns[key] = self._points(chosen, key, step, epoch, kind)
        if not columns:
            raise ValueError(f"the column {rates[0]!r} of {name} has no number")
        if self.damaged:
            lines = ", ".join(map(str, self.damaged[:5])) + (", ..." if len(self.damaged) > 5 else "")
            plural = "lines are" if len(self.damaged) > 1 else "line is"
            self.notes.append(f"{len(self.damaged)} damaged {plural} left out (line {lines}).")
        facts = {**self.facts, **_facts_of_rows(rows, step, epoch)}
        return Log(kind, columns, tuple(dict.fromkeys(self.notes)), facts)

    def _clock(
        self, keys: Sequence[str], name: str, step_column: str | None, rates: Sequence[str]
    ) -> tuple[str | None, str | None]:
        """Return the columns with the numbers of the steps and of the epochs."""
        if step_column is not None:
            if step_column not in keys:
                raise ValueError(f"{name} has no column {step_column!r}, it has {_listed(keys)}")
            is_epoch = step_column.lower() in _EPOCH
            return (None, step_column) if is_epoch else (step_column, None)
        lower = {key.lower(): key for key in keys if key not in rates}
        step = next((lower[key] for key in _STEP if key in lower), None)
        epoch = next((lower[key] for key in _EPOCH if key in lower), None)
        if step is None and epoch is None:
            raise ValueError(
                f"{name} has no column of steps or epochs, it has {_listed(keys)}: name it (step_column)"
            )
        return step, epoch

    def _points(
        self, rows: Sequence[Mapping[str, Any]], key: str, step: str | None, epoch: str | None, kind: str
    ) -> Points:
        rows = self._without_replaced(rows, step, epoch, kind)
        printed = [_number(row[key]) for row in rows]
        tolerances, digits = _precision([number for number in printed if number is not None])
        return Points(
            np.array([_float(row, step) for row in rows]),
            np.array([_float(row, epoch) for row in rows]),
            np.array([float(number) for number in printed if number is not None]),
            tolerances,
            digits,
        )

    def _without_replaced(
        self, rows: Sequence[Mapping[str, Any]], step: str | None, epoch: str | None, kind: str
    ) -> list[Mapping[str, Any]]:
        """Leave out the steps that a resumed part of the run, or a new run in the same file, did again."""
        clock = [self._place(row, step, epoch, kind) for row in rows]
        kept: list[int] = []
        restarts = replaced = 0
        for index, place in enumerate(clock):
            if math.isnan(place[-1]) or math.isnan(place[0]):
                continue
            if kept and place <= clock[kept[-1]]:
                before = len(kept)
                while kept and clock[kept[-1]] >= place:
                    kept.pop()
                restarts, replaced = restarts + 1, replaced + before - len(kept)
            kept.append(index)
        if restarts:
            self.notes.append(
                f"{replaced} {'rates are' if replaced > 1 else 'rate is'} replaced by later rows of the "
                f"same steps, as after a resume ({restarts} {'times' if restarts > 1 else 'time'})."
            )
        return [rows[index] for index in kept]

    def _place(
        self, row: Mapping[str, Any], step: str | None, epoch: str | None, kind: str
    ) -> tuple[float, ...]:
        if kind == "mmcv":  # its iterations start again in each epoch
            return _float(row, epoch), _float(row, step)
        number = _float(row, step)
        return (number,) if not math.isnan(number) else (_float(row, epoch),)


_decoder = json.JSONDecoder(parse_float=Decimal)


def _is_event_file(start: bytes) -> bool:
    """Check for the frame of TensorBoard's first record, a version such as "brain.Event:2"."""
    return b"brain.Event:" in start[:64]


def _events(file: Path, notes: list[str]) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each scalar in an event file that is named like a rate, or that counts epochs."""
    try:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboardX.record_writer import masked_crc32c
    except ModuleNotFoundError as error:
        message = "an event file of TensorBoard needs tensorboardX: pip install tensorboardX"
        raise ModuleNotFoundError(message, name=error.name) from None
    with file.open("rb") as stream:
        while header := stream.read(12):
            length = int.from_bytes(header[:8], "little")
            is_sound = (
                len(header) == 12
                and length < _LARGEST_FILE
                and struct.pack("<I", masked_crc32c(header[:8])) == header[8:]
            )
            record = stream.read(length + 4)[:-4] if is_sound else b""
            if not is_sound or len(record) < length:
                notes.append(f"{shorten(file.name)} is damaged or cut off at byte {stream.tell()}.")
                return
            try:
                event = Event.FromString(record)
            except Exception:  # protobuf's own error, which has no stable name
                notes.append(f"{shorten(file.name)} has a damaged record before byte {stream.tell()}.")
                continue
            for value in event.summary.value:
                number = _scalar(value)
                if number is not None and (_is_rate(value.tag) or value.tag.lower().endswith("epoch")):
                    yield {"step": event.step, value.tag: number}


def _by_step(rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield one row for the scalars of a step that follow each other."""
    current: dict[str, Any] = {}
    for row in rows:
        if current and (
            row["step"] != current["step"] or any(key in current for key in row if key != "step")
        ):
            yield current
            current = {}
        current.update(row)
    if current:
        yield current


def _scalar(value: Any) -> Decimal | None:
    """Return the float32 of a scalar summary with nine digits, which tell it from its neighbours."""
    if value.HasField("simple_value"):
        number = value.simple_value
    elif value.HasField("tensor") and value.tensor.float_val:
        number = value.tensor.float_val[0]
    elif value.HasField("tensor") and value.tensor.dtype == 1 and len(value.tensor.tensor_content) == 4:
        (number,) = struct.unpack("<f", value.tensor.tensor_content)
    else:
        return None
    return Decimal(f"{number:.8e}") if math.isfinite(number) else None


def _kind_of_events(rows: Sequence[Mapping[str, Any]]) -> str:
    tags = {key for row in rows for key in row}
    if "train/learning_rate" in tags:
        return "huggingface"
    if any(re.match(r"lr/pg\d|x/lr\d", tag) for tag in tags):
        return "ultralytics"
    if any(re.match(r"lr-[A-Z]", tag) for tag in tags):
        return "lightning"
    return "tensorboard"


def _kind_of_json(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = {key for row in rows for key in row}
    if {"train_loss", "valid_loss", "lr", "epoch", "seconds"} <= keys:
        return "jaxlr"
    if {"iteration", "lr"} <= keys and keys & {"data_time", "eta_seconds", "time"}:
        return "detectron2"
    if {"mode", "iter", "epoch", "lr"} <= keys:
        return "mmcv"
    if {"iter", "lr"} <= keys and keys & {"data_time", "time"}:
        return "mmengine"
    if {"learning_rate", "step", "epoch"} <= keys:
        return "huggingface"
    return "json"


def _kind_of_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    keys = list(rows[0]) if rows else []
    if any(re.fullmatch(r"lr/pg\d+|x/lr\d", key) for key in keys):
        return "ultralytics"
    if any(re.match(r"lr-[A-Z]", key) for key in keys):
        return "lightning"
    return "csv"


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
            flat.update({f"{key}/{inner}": each for inner, each in value.items()})
            if _is_rate(key):
                flat.update({f"{key}-{inner}": flat.pop(f"{key}/{inner}") for inner in value})
        elif isinstance(value, list):
            flat.update({f"{key}/{index}": each for index, each in enumerate(value[:100])})
        else:
            flat[key] = value
    return flat


def _is_rate(name: str) -> bool:
    return bool(_RATE.fullmatch(name)) and not _NO_RATE.search(name)


def _number(value: Any) -> Decimal | None:
    """Return a finite number with the digits that it was printed with."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except InvalidOperation:
            return None
    elif not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() and abs(number.adjusted()) < 300 else None


def _float(row: Mapping[str, Any], name: str | None) -> float:
    number = None if name is None else _number(row.get(name))
    return math.nan if number is None else float(number)


def _precision(numbers: Sequence[Decimal]) -> tuple[np.ndarray, int]:
    """Return half a unit of the last digit of each number, and the significant digits of the column.

    A column has a fixed number of decimals ("0.001000"), a fixed number of digits in scientific notation
    ("1.00e-03"), or the shortest form of its numbers, in which trailing zeros are left out ("0.001").
    """
    exponents = [int(number.as_tuple().exponent) for number in numbers]
    digits = [len(number.as_tuple().digits) for number in numbers]
    ends_in_zero = any(number.as_tuple().digits[-1] == 0 and number != 0 for number in numbers)
    if ends_in_zero and len({*exponents}) == 1:
        return np.full(len(numbers), 0.5 * 10.0 ** exponents[0]), max(digits)
    if ends_in_zero and len({*digits}) == 1:
        return np.array([0.5 * 10.0**exponent for exponent in exponents]), max(digits)
    most = _digits_of(numbers, digits)
    units = [number.adjusted() - most + 1 if number else -12 for number in numbers]
    return np.array([0.5 * 10.0 ** max(unit, -320) for unit in units]), most


def _digits_of(numbers: Sequence[Decimal], digits: Sequence[int]) -> int:
    """Return the digits that a column was rounded to. Rates such as 0.1 and 0.01 do not tell it."""
    most = max(digits)
    is_common = most >= 3 and len({*numbers}) >= 6 and digits.count(most) * 2 >= len(digits)
    return most if most >= 4 or is_common else 6


def _facts_of_rows(
    rows: Sequence[Mapping[str, Any]], step: str | None, epoch: str | None
) -> dict[str, Any]:
    """Return the pairs of epoch and step in the rows, as text-exact numbers."""
    if step is None or epoch is None:
        return {}
    pairs = [(_number(row.get(epoch)), _number(row.get(step))) for row in rows]
    return {
        "epochs_and_steps": [
            (first, last) for first, last in pairs if first is not None and last is not None
        ]
    }


def _listed(keys: Sequence[str]) -> str:
    return shorten(", ".join(map(str, keys)), 200) or "none"
