"""The names of the columns in a log, and the program that they identify."""

import functools
import re
from collections.abc import Collection


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
def is_rate(name: str) -> bool:
    """Check if a column is named like a learning rate."""
    return bool(_RATE.fullmatch(name)) and not _NO_RATE.search(name)


def kind_of_events(names: Collection[str]) -> str:
    """Return the program that wrote event files, by their tags."""
    return "huggingface" if "train/learning_rate" in names else _kind_of_names(names, "tensorboard")


def kind_of_csv(names: Collection[str]) -> str:
    """Return the program that wrote a CSV file, by its columns."""
    return _kind_of_names(names, "csv")


def _kind_of_names(names: Collection[str], other: str) -> str:
    if any(re.match(r"lr/pg\d|x/lr\d", name) for name in names):
        return "ultralytics"
    if any(re.match(r"lr-[A-Z]", name) for name in names):
        return "lightning"
    return other


def kind_of_json(names: Collection[str]) -> str:
    """Return the program that wrote JSON, by its keys."""
    # The rates of several groups are in columns such as lr/0.
    keys = {"lr" if name.startswith("lr/") else name for name in names}
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
