"""Calls timed in turn, so that what slows the machine for a while slows all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple


class Row(NamedTuple):
    """A line of the table: what was measured, and against what."""

    part: str
    name: str
    values: list[float]  # one for each round
    unit: str
    peer: str | None = None  # the row of the part that the ratio is to
    ratio: float | None = None  # the median of those of the rounds, this over the peer

    @property
    def median(self) -> float:
        """What stands in the table."""
        return statistics.median(self.values)


def interleaved(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; an untimed round goes before, to compile and to warm up."""
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
    """A row for each call, its ratio to `peer` taken within each round."""
    return [
        Row(part, name, values, unit, None, None)
        if name == peer
        else Row(part, name, values, unit, peer, _ratio(values, seconds[peer]))
        for name, values in seconds.items()
    ]


def _ratio(values: list[float], peer: list[float]) -> float:
    return statistics.median(mine / other for mine, other in zip(values, peer, strict=True))
