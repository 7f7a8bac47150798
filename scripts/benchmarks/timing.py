"""Timing in turns, so that a slow moment of the machine slows all peers alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A line of the table: a measurement, and the peer that it is compared with."""

    part: str
    name: str
    values: list[float]  # one for each round
    unit: str
    peer: str | None = None  # the name of the row that this one is compared with
    ratio: float | None = None  # this row over the peer: the median of the ratios within each round

    @property
    def median(self) -> float:
        """The median over the rounds, which the table shows."""
        return statistics.median(self.values)


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Time each call in each round, in seconds. An untimed round before that compiles and warms up."""
    for call in calls.values():
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return seconds


def compared(part: str, seconds: Mapping[str, list[float]], peer: str, unit: str = "s") -> list[Row]:
    """Build a row for each call, compared with the call named `peer`."""
    return [
        Row(part, name, values, unit, None, None)
        if name == peer
        else Row(part, name, values, unit, peer, _ratio(values, seconds[peer]))
        for name, values in seconds.items()
    ]


def _ratio(values: list[float], peer: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(values, peer, strict=True))
