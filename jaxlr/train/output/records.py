"""What a run leaves behind for the eye."""

import contextlib
import csv
import json
import math
import os
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import numpy as np

from jaxlr.plot import new_figure, suits_log_scale


# Of a row, beside its epoch.
_NUMBERS = ("train_loss", "valid_loss", "valid_accuracy", "lr", "seconds")


class MetricsLog(contextlib.ExitStack):
    """metrics.jsonl, a line for each epoch as it ends, and TensorBoard scalars if asked."""

    def __init__(self, folder: Path, tensorboard: bool, start: int = 0):
        """Opens the file for the epochs from `start` on; what it has of them is dropped."""
        super().__init__()
        self._path = folder / "metrics.jsonl"
        self.history: list[dict[str, Any]] = _keep_before(start, self._path)
        self._file = self.enter_context(self._path.open("a"))
        self._writer = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            # Its files are named by the second, and replaced by those of another run in the same one.
            writer = SummaryWriter(str(folder), purge_step=start, filename_suffix=f".{start}")
            self._writer = self.enter_context(writer)

    def write(self, row: dict[str, Any]) -> None:
        """Write the numbers of one epoch, to the disk itself: a checkpoint of it may follow."""
        self.history.append(row)
        self._file.write(as_json_line(row) + "\n")
        _sync(self._file, self._path)
        if self._writer:
            for name, value in row.items():
                self._writer.add_scalar(name, value, row["epoch"])


def read_history(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, each epoch once and in order; a torn line is none."""
    content = path.read_bytes() if path.exists() else b""
    rows = [row for line in content.splitlines(keepends=True) if (row := _parse_row(line))]
    unique = {row["epoch"]: row for row in reversed(rows)}
    return [unique[epoch] for epoch in sorted(unique)]


class CsvLog(contextlib.ExitStack):
    """Rows of comma-separated values in a file, on the disk as soon as they are written."""

    def __init__(self, path: Path, rows: Iterable[dict[str, Any]] = ()):
        """Opens the file; `rows` replace what it has, at once or not at all."""
        super().__init__()
        self._path = path
        self._writer: csv.DictWriter | None = None
        with replacing(path) as scratch:
            self._file = self.enter_context(scratch.open("w", newline="", encoding="utf-8"))
            self._add(rows)

    def write(self, rows: Iterable[dict[str, Any]]) -> None:
        """Write rows of the same names; those of the first are the header."""
        self._add(rows)
        _sync(self._file, self._path)

    def _add(self, rows: Iterable[dict[str, Any]]) -> None:
        for row in rows:
            if self._writer is None:
                self._writer = csv.DictWriter(self._file, list(row), lineterminator="\n")
                self._writer.writeheader()
            self._writer.writerow(row)
        self._file.flush()


def _sync(file: TextIO, path: Path) -> None:
    """To the disk itself, if that is where the file still is."""
    file.flush()
    os.fsync(file.fileno())
    # An open file goes on taking lines when its folder has been moved or deleted.
    if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
        raise FileNotFoundError(f"{path} is not the file that this run has written so far")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` to a file, all of it or nothing; a path in it becomes a string."""
    with replacing(path) as scratch:
        scratch.write_text(json.dumps(as_json(value), indent=2) + "\n")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write that becomes `path` when it is complete."""
    scratch = path.with_name(f".{path.name}")
    try:
        yield scratch
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def as_json(row: dict[str, Any]) -> dict[str, Any]:
    """As JSON gives it back: it has no paths, no tuples, no NaN and no infinity (they become null)."""
    text = json.dumps({name: None if _is_nan(value) else value for name, value in row.items()}, default=str)
    return json.loads(text)


def as_json_line(row: dict[str, Any]) -> str:
    """The row as metrics.jsonl has it, without the end of the line."""
    return json.dumps(as_json(row))


def plot_curves(history: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the losses above and the learning rate below, epoch by epoch, into an image file.

    Args:
        history: one dict per epoch, as in metrics.jsonl.
        path: the file, replaced if it is there; its suffix is the format.
        title: the recipe, in one line.
    """
    epochs = [row["epoch"] for row in history]
    figure = new_figure(7, 5.5)
    above, below = _panels(figure, title)
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        above.plot(epochs, [row[name] for row in history], marker=".", label=label)
    above.set_ylabel("loss (mean over samples)")
    above.legend(frameon=False)
    # Each epoch keeps one learning rate, so the line is drawn in steps.
    below.step(epochs, [row["lr"] for row in history], where="mid", marker=".", color="C2")
    _save(figure, path)


class SeedCurves(NamedTuple):
    """What several seeds of one recipe did."""

    label: str
    valid_loss: np.ndarray  # shape (seeds, epochs)
    lr: np.ndarray  # shape (seeds, epochs)


def plot_sweep(curves: Sequence[SeedCurves], path: Path, title: str) -> None:
    """Draw validation losses above and learning rates below: the mean over seeds, in a band of them all.

    Args:
        curves: the recipes, in the order of the legend.
        path: the file; its suffix is the format.
        title: what was trained, in one line.
    """
    figure = new_figure(8, 7)
    above, below = _panels(figure, title)
    for number, curve in enumerate(curves):
        # Ten colours; the next ten recipes are dashed, and so on. Thick lines below thin ones, since
        # recipes that do the same, as StepLR(10) and MultiStepLR([10, 20]) in 25 epochs, coincide.
        style: dict[str, Any] = {
            "color": f"C{number % 10}",
            "linestyle": ("-", "--", ":", "-.")[number // 10 % 4],
            "linewidth": 1.2 + 3 * (1 - (number + 1) / len(curves)),
        }
        for axes, values, step in ((above, curve.valid_loss, None), (below, curve.lr, "mid")):
            epochs = np.arange(values.shape[1])
            drawn = "steps-mid" if step else "default"
            axes.plot(epochs, values.mean(axis=0), label=curve.label, drawstyle=drawn, **style)
            low, high = values.min(axis=0), values.max(axis=0)
            axes.fill_between(epochs, low, high, step=step, color=style["color"], alpha=0.15, linewidth=0)
    above.set_ylabel("validation loss (mean and range)")
    handles, labels = above.get_legend_handles_labels()
    for text in figure.legend(handles, labels, loc="outside lower center", frameon=False).get_texts():
        text.set_parse_math(False)  # a recipe is text of the user's, and never a formula
    _save(figure, path)


def _panels(figure: Any, title: str) -> tuple[Any, Any]:
    """Axes for losses above and learning rates below, over the same epochs."""
    from matplotlib.ticker import MaxNLocator

    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    # A recipe is text of the user's: one line of it, and never a formula.
    figure.suptitle(textwrap.shorten(title, 90), fontsize=10, parse_math=False)
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    return above, below


def _save(figure: Any, path: Path) -> None:
    """Write a figure whose curves are drawn, decades on a logarithmic scale."""
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        if suits_log_scale(line.get_ydata() for line in axes.get_lines()):
            axes.set_yscale("log")
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=150, format=path.suffix[1:])


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _keep_before(start: int, path: Path) -> list[dict[str, Any]]:
    """The rows of the epochs before `start`, which are all that the file has afterwards."""
    rows = [row for row in read_history(path) if row["epoch"] < start]
    if len(rows) < start:
        warnings.warn(f"{path} lacks {start - len(rows)} of the first {start} epochs", stacklevel=2)
    content = "".join(as_json_line(row) + "\n" for row in rows).encode()
    if not path.exists() or path.read_bytes() != content:
        with replacing(path) as scratch:
            scratch.write_bytes(content)
    return rows


def _parse_row(line: bytes) -> dict[str, Any] | None:
    """A row as it was before it was written, or None if it is torn, or none of ours."""
    try:
        row = json.loads(line)
        numbers = {name: math.nan if row[name] is None else float(row[name]) for name in _NUMBERS}
        whole = line.endswith(b"\n") and type(row["epoch"]) is int and row["epoch"] >= 0
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return {"epoch": row["epoch"], **numbers} if whole else None
