"""The names of the columns in a log, and the program that they identify."""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any


_RATE = re.compile(
    r"(?:.*[\s/._-])?(?:lr|learning[\s_-]?rate)"
    r"(?:\d+|[/_-](?:pg|group|param_group_?)?\d+|-[a-z]\w*(?:[/-]\w+)*)?",
    re.IGNORECASE,
)
_NO_RATE = re.compile(r"momentum|weight[_-]?decay|__(?:min|max)$", re.IGNORECASE)
STEP_NAMES = ("step", "global_step", "trainer/global_step", "iteration", "iter", "_step", "steps", "update")
EPOCH_NAMES = ("epoch", "trainer/epoch", "train/epoch", "epochs")


@functools.cache
def is_clock(name: str) -> bool:
    """Check if a column is named like the number of a step or an epoch."""
    return name.lower() in (*STEP_NAMES, *EPOCH_NAMES)


@functools.cache
def tells_kind(name: str) -> bool:
    """Check if the name of a column tells which program wrote the log."""
    return name in ("data_time", "eta_seconds", "time", "mode", "train_loss", "valid_loss", "seconds")


@functools.cache
def is_rate(name: str) -> bool:
    """Check if a column is named like a learning rate."""
    return bool(_RATE.fullmatch(name)) and not _NO_RATE.search(name)


def kind_of_events(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the program that wrote event files, by their tags."""
    tags = {key for row in rows for key in row}
    if "train/learning_rate" in tags:
        return "huggingface"
    if any(re.match(r"lr/pg\d|x/lr\d", tag) for tag in tags):
        return "ultralytics"
    if any(re.match(r"lr-[A-Z]", tag) for tag in tags):
        return "lightning"
    return "tensorboard"


def kind_of_json(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the program that wrote JSON, by its keys."""
    # The rates of several groups are in columns such as lr/0.
    keys = {key if not key.startswith("lr/") else "lr" for row in rows for key in row}
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


def kind_of_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the program that wrote a CSV file, by its columns."""
    keys = list(rows[0]) if rows else []
    if any(re.fullmatch(r"lr/pg\d+|x/lr\d", key) for key in keys):
        return "ultralytics"
    if any(re.match(r"lr-[A-Z]", key) for key in keys):
        return "lightning"
    return "csv"
