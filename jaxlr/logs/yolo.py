"""Configs of Ultralytics that have the rates of a log: a warmup by batch and a decay by epoch."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from jaxlr.logs.attempts import attempts
from jaxlr.logs.candidates import Candidate, Data, candidate_of
from jaxlr.logs.comparisons import Comparison, compare
from jaxlr.logs.readings import Source


def of_ultralytics(data: Data) -> Iterator[Candidate]:
    """Yield the config of Ultralytics that has the rates of its log."""
    for settings in _ultralytics_settings(data):
        source = Source(settings, framework="ultralytics")
        for attempt in attempts(source, data.log, data.points):
            compared = compare(attempt, data.log, data.points)
            if compared is not None and compared.agrees.all():
                yield _candidate(data, settings, compared)
                return


def _candidate(data: Data, settings: dict[str, Any], compared: Comparison) -> Candidate:
    found, schedule = compared.attempt.found, compared.attempt.reading.schedule
    base, steps = found["init_value"], int(found["steps_per_epoch"])
    version = re.search(r"ultralytics ([\d.]*\d)", " ".join(compared.reasons))
    given = f", version={version[1]!r}" if version else ""
    config = {"lr0": base, **settings}
    del config["optimizer"]
    line = f"jaxlr.from_config({config!r}, steps_per_epoch={steps}{given}).schedule"
    kind = "Ultralytics, cosine" if settings["cos_lr"] else "Ultralytics, linear"
    parameters = {"peak": base, "steps_per_epoch": steps, "length": settings["epochs"]}
    notes = (*compared.reasons, "The counts are iterations.")
    return candidate_of(data, kind, schedule, parameters, notes, compared.counts, line)


def _ultralytics_settings(data: Data) -> Iterator[dict[str, Any]]:
    """Yield settings with the defaults that people seldom change, and the number of epochs."""
    rows = len(data.rates)
    lengths = [rows]
    tail = slice(max(rows // 2, min(5, rows - 2)), rows)
    if rows - tail.start >= 3:
        slope, height = np.polyfit(np.arange(rows)[tail], data.rates[tail], 1)
        if slope < 0:
            lengths.insert(0, round(0.99 * -height / slope))
    for is_cosine in (False, True):
        for epochs in dict.fromkeys(each for each in lengths if each >= rows):
            yield {
                "lrf": 0.01,
                "epochs": epochs,
                "warmup_epochs": 3.0,
                "cos_lr": is_cosine,
                "optimizer": "auto",
                "batch": 16,
            }
