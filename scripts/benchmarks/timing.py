"""Timing in turns, so that a slow moment of the machine slows both peers alike."""

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias


Call: TypeAlias = Callable[[], Any]
Build: TypeAlias = Callable[[], Call]  # prepares a call, such as by compiling it
Wanted: TypeAlias = Callable[[str], bool]  # True for the names of the rows to measure


class Row(NamedTuple):
    """A line of the table: a measurement, and the peer that it is compared with."""

    part: str
    name: str
    values: list[float]  # one for each round
    unit: str
    peer: str | None = None  # the name of the row that this one is compared with
    ratio: float | None = None  # this row over the peer: the median of the ratios within each round
    error: str | None = None  # why there are no values

    @property
    def median(self) -> float | None:
        """The median over the rounds, which the table shows."""
        return statistics.median(self.values) if self.values else None


def seconds_of(call: Call) -> float:
    """Time a call, in seconds."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compared(
    part: str,
    builds: Mapping[str, Build],
    peer: str,
    rounds: int,
    wanted: Wanted,
    timer: Callable[[Call], float] = seconds_of,
) -> Iterator[Row]:
    """Measure each wanted call in turns with the call named `peer`, and yield its row at once.

    Args:
        part: the name of the part.
        builds: maps the name of each row to a function that prepares its call.
        peer: the name of the row to compare with. If it is not wanted, there are no ratios.
        rounds: the number of rounds. An untimed round before them compiles and warms up.
        wanted: returns True for the names of the rows to measure.
        timer: returns the seconds of a call.
    """
    other: Call | None = None
    for name, build in sorted(builds.items(), key=lambda item: item[0] != peer):
        if not wanted(name):
            continue
        try:
            call = build()
            calls = [call] if other is None else [call, other]
            for each in calls:
                each()
            times = [[timer(each) for each in calls] for _ in range(rounds)]
        except Exception as error:
            yield failed(part, name, error)
            continue
        values = [seconds[0] for seconds in times]
        if other is None:
            yield Row(part, name, values, "s")
        else:
            yield Row(part, name, values, "s", peer, statistics.median(mine / its for mine, its in times))
        if name == peer:
            other = call


def failed(part: str, name: str, error: Exception) -> Row:
    """Build the row of a measurement that failed, with the first line of its error."""
    first = (str(error).strip() or "no message").splitlines()[0]
    return Row(part, name, [], "", error=f"{type(error).__name__}: {first}")
