"""The summary of a sweep: mean and spread over seeds of each scheduler at each learning rate."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlr._checks import shorten
from jaxlr.train.config import SweepConfig
from jaxlr.train.output.figures import SeedCurves
from jaxlr.train.runs import RunMetrics


_STATISTICS = (
    "final_valid_loss",
    "best_valid_loss",
    "final_valid_accuracy",
    "best_valid_accuracy",
    "epochs_to_target",
)
_COLUMNS = (
    "scheduler",
    "base_lr",
    "seeds",
    *(f"{name}_{kind}" for name in _STATISTICS for kind in ("mean", "std")),
    "reached_target",
)


def summarize(config: SweepConfig, metrics: RunMetrics) -> list[dict[str, Any]]:
    """Compute statistics over the seeds of each scheduler and rate, the best validation loss first.

    Args:
        config: the settings.
        metrics: metrics of the runs so far, shape (runs, epochs). Seeds vary fastest, then rates, then
            schedulers.

    Returns:
        One dict per scheduler and rate that has a run: `scheduler`, `base_lr`, `seeds` (the number of
        runs), then `_mean` and `_std` of `final_valid_loss`, `best_valid_loss`, `final_valid_accuracy`,
        `best_valid_accuracy` and `epochs_to_target`, and last `reached_target`, the number of runs that
        `epochs_to_target` is computed over. `_std` is the sample standard deviation, NaN for one run. A
        diverged run has a NaN final loss, and its best loss is the best of its finite epochs.
    """
    rows, seeds = [], config.training.seeds
    for index, single in enumerate(config.single_runs()):
        own = slice(index * seeds, (index + 1) * seeds)
        losses, accuracies = np.asarray(metrics.valid_loss[own]), np.asarray(metrics.valid_accuracy[own])
        if not len(losses):
            break
        reached = accuracies >= config.training.target_accuracy
        epochs_to_target = 1 + reached.argmax(axis=1)[reached.any(axis=1)]
        best = np.fmin.reduce(losses, axis=1)
        statistics = (losses[:, -1], best, accuracies[:, -1], accuracies.max(axis=1), epochs_to_target)
        pairs = [value for values in statistics for value in _mean_and_std(values)]
        schedule = single.schedule
        values = (schedule.scheduler, schedule.lr, len(losses), *pairs, len(epochs_to_target))
        rows.append(dict(zip(_COLUMNS, values, strict=True)))
    return sorted(
        rows, key=lambda row: (np.isnan(row["final_valid_loss_mean"]), row["final_valid_loss_mean"])
    )


def epoch_rows(config: SweepConfig, first: int, metrics: RunMetrics) -> Iterator[dict[str, Any]]:
    """Yield a dict with the columns of sweep.csv for each epoch of each run.

    Args:
        config: the settings.
        first: number of the first run, in the order of `summarize`.
        metrics: metrics of the runs from `first` on, shape (runs, epochs).
    """
    singles, training = config.single_runs(), config.training
    for offset, run in enumerate(zip(*metrics, strict=True)):
        index, seed = divmod(first + offset, training.seeds)
        schedule = singles[index].schedule
        about = {"scheduler": schedule.scheduler, "base_lr": schedule.lr, "seed": training.seed + seed}
        for epoch, values in enumerate(zip(*run, strict=True)):
            yield {**about, "epoch": epoch, **dict(zip(metrics._fields, values, strict=True))}


def read_metrics(path: Path, epochs: int) -> RunMetrics:
    """Read the metrics of all runs, each of `epochs` epochs, from an undamaged sweep.csv."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = [[row[name] for name in RunMetrics._fields] for row in csv.DictReader(file)]
    return RunMetrics(*np.array(rows, np.float32).T.reshape(len(RunMetrics._fields), -1, epochs))


def best_curves(
    config: SweepConfig, metrics: RunMetrics, rows: Sequence[dict[str, Any]]
) -> list[SeedCurves]:
    """Return the runs of each scheduler at its best learning rate, the best scheduler first."""
    curves: dict[str, SeedCurves] = {}
    schedules, seeds = [single.schedule for single in config.single_runs()], config.training.seeds
    places = {(schedule.scheduler, schedule.lr): index for index, schedule in enumerate(schedules)}
    for row in rows:
        scheduler, index = row["scheduler"], places[row["scheduler"], row["base_lr"]]
        own = slice(index * seeds, (index + 1) * seeds)
        label = f"{shorten(scheduler)}, {shorten(schedules[index].optimizer_label)}"
        own_metrics = np.asarray(metrics.valid_loss[own]), np.asarray(metrics.lr[own])
        curves.setdefault(scheduler, SeedCurves(label, *own_metrics))
    return list(curves.values())


def as_text(rows: Sequence[dict[str, Any]], target_accuracy: float) -> Iterator[str]:
    """Yield the rows of `summarize` as the lines of a table, accuracies in percent, and a note on seeds."""
    cells = [
        ("", "", "final", "best", "final", "best", "epochs to"),
        (
            "scheduler",
            "lr",
            "valid loss",
            "valid loss",
            "accuracy, %",
            "accuracy, %",
            f"{100 * target_accuracy:.4g} %",
        ),
    ]
    for row in rows:
        epochs = _cell(row, "epochs_to_target", ".1f") if row["reached_target"] else "never"
        share = (
            ""
            if row["reached_target"] in (0, row["seeds"])
            else f" ({row['reached_target']}/{row['seeds']})"
        )
        cells.append(
            (
                shorten(row["scheduler"]),
                f"{row['base_lr']:g}",
                _cell(row, "final_valid_loss", ".3f"),
                _cell(row, "best_valid_loss", ".3f"),
                _cell(row, "final_valid_accuracy", ".1f", 100),
                _cell(row, "best_valid_accuracy", ".1f", 100),
                epochs + share,
            )
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
    partly = any(0 < row["reached_target"] < row["seeds"] for row in rows)
    note = "; (k/n): over the k seeds of n that reached the target" if partly else ""
    seeds = rows[0]["seeds"]
    yield f"Mean ± standard deviation over {seeds} seeds{note}." if seeds > 1 else "One seed: no spread."


def _mean_and_std(values: np.ndarray) -> tuple[float, float]:
    values = values.astype(np.float64)
    with np.errstate(invalid="ignore"):  # an infinite loss has no spread
        mean = float(values.mean()) if len(values) else np.nan
        return mean, float(values.std(ddof=1)) if len(values) > 1 else np.nan


def _cell(row: dict[str, Any], name: str, digits: str, factor: float = 1.0) -> str:
    mean, std = factor * row[f"{name}_mean"], factor * row[f"{name}_std"]
    return f"{mean:{digits}}" + (f" ± {std:{digits}}" if np.isfinite(std) else "")
