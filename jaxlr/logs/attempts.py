"""The ways to read a recipe that may explain a log: with missing numbers found, or with other numbers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlr.logs.clocks import clocks, needs_steps_per_epoch
from jaxlr.logs.comparisons import Attempt, compare, rates_of, tolerances_of, usual_comparison
from jaxlr.logs.formats import Log
from jaxlr.logs.points import Points
from jaxlr.logs.readings import VERSIONS, Number, Reading, Source
from jaxlr.logs.search import (
    affine,
    base_rates,
    round_numbers,
    search_whole,
    shown,
    simplest,
    simplest_near,
)


_LARGEST = 10_000_000
_FEW_POINTS = 400
_ERRORS = (ValueError, TypeError, ArithmeticError)


class _Case(NamedTuple):
    """A recipe with some changes, and the numbers that it lacks."""

    source: Source
    log: Log
    points: Points
    missing: tuple[str, ...]
    changes: Mapping[str, Any] = {}
    reasons: tuple[str, ...] = ()
    found: Mapping[str, float] = {}
    is_changed: bool = False

    @property
    def steps_per_epoch(self) -> int | None:
        """The argument of `verify`."""
        return self.source.arguments["steps_per_epoch"]

    @property
    def lacking(self) -> str | None:
        """The name of the whole number that the recipe lacks, if there is one."""
        return next((name for name in self.missing if name != "init_value"), None)

    def read(self, number: int | None = None, base: float | None = None) -> Reading:
        """Read the recipe with values for the numbers that it lacks."""
        number, changes = 10 if number is None else number, dict(self.changes)
        for name in self.missing:
            if name == "init_value":
                changes[name] = 1.0 if base is None else base
            elif name == "steps_per_epoch":
                changes[name] = number
            else:
                changes["names"] = {name: number}
        return self.source.read(**changes)


def attempts(source: Source, log: Log, points: Points) -> Iterator[Attempt]:
    """Yield the recipe as it is, then with its missing numbers found, then with other numbers."""
    case = _Case(source, log, points, tuple(source.missing()))
    yield from _completed(case)
    yield from _of_other_versions(case)
    longer = _length_of_log(case) or case
    if _has_other_epochs(case):
        epochs = log.facts["num_train_epochs"]
        reasons = (*longer.reasons, f"The log has num_train_epochs={epochs}, unlike the recipe.")
        yield from _completed(longer._replace(is_changed=True, reasons=reasons))
    elif not case.missing and (length := case.read().num_counts) != longer.read().num_counts:
        reasons = (*longer.reasons, f"The recipe has {length} updates.")
        yield from _completed(longer._replace(is_changed=True, reasons=reasons))
    if not longer.missing:
        yield from _with_other_numbers(longer)
        yield from _with_other_base(longer)


def _completed(case: _Case) -> Iterator[Attempt]:
    """Yield the recipe once the numbers that it lacks are found."""
    if "steps_per_epoch" in case.missing and not _has_other_epochs(case):
        case = _length_of_log(case) or case
    reading, steps = case.read(), case.steps_per_epoch
    for unit in _units(case, reading):
        lacking = case.missing
        if steps is None and needs_steps_per_epoch(case.log, case.points, unit):
            lacking = tuple(dict.fromkeys((*lacking, "steps_per_epoch")))
        if lacking:
            yield from _solved(case._replace(missing=lacking), unit)
        else:
            yield Attempt(reading._replace(unit=unit), steps, case.reasons, case.found, case.is_changed)


def _units(case: _Case, reading: Reading) -> tuple[str, ...]:
    """Return the unit of a schedule, or both units if it is not known, the more likely one first."""
    if reading.unit:
        return (reading.unit,)
    return ("epoch", "update") if np.isnan(case.points.steps).any() else ("update", "epoch")


def _of_other_versions(case: _Case) -> Iterator[Attempt]:
    framework = case.read().framework or ""
    for version in VERSIONS.get(framework, ()):
        program = "YOLOv5" if framework == "ultralytics" and version.startswith("6") else framework
        other = case._replace(
            changes={"version": version},
            reasons=(f"The rules are those of {program} {version}.",),
            is_changed=case.source.arguments["version"] is not None,
        )
        try:
            yield from _completed(other)
        except _ERRORS:  # this version has no such recipe
            continue


def _length_of_log(case: _Case) -> _Case | None:
    """Return the recipe with the number of updates that a log of Hugging Face states."""
    length = case.log.facts.get("max_steps")
    if case.log.kind != "huggingface" or case.source.settings is None or not isinstance(length, int):
        return None
    low, high = _range_of_epoch(case.log)
    other = case._replace(
        missing=tuple(name for name in case.missing if name != "steps_per_epoch"),
        changes={**case.changes, "settings": {"max_steps": length}},
        reasons=(*case.reasons, f"The log says that the run had {length} updates."),
        found={"max_steps": length, **({"updates_per_epoch": low} if low == high else {})},
    )
    try:
        return other if other.read().num_counts == length else None
    except _ERRORS:
        return None


def _has_other_epochs(case: _Case) -> bool:
    """Check if the epochs of a recipe are not those that a log of Hugging Face states, rounded up."""
    epochs = case.log.facts.get("num_train_epochs")
    if "steps_per_epoch" not in case.missing or not isinstance(epochs, int):
        return False

    def length(**changes: Any) -> int:
        return case._replace(changes={**case.changes, **changes}).read(1000).num_counts or 0

    try:
        most, fewer = length(epochs=epochs), length(epochs=epochs - 1) if epochs > 1 else 0
        return most < length(epochs=2 * epochs) and not fewer < length() <= most
    except _ERRORS:
        return False


def _range_of_epoch(log: Log) -> tuple[int, int]:
    """Return the fewest and the most steps that an epoch can have, by the epochs and steps of a log."""
    low, high = 1.0, float(_LARGEST)
    for epoch, step in log.facts.get("epochs_and_steps", ()):
        exponent = int(epoch.as_tuple().exponent)
        if exponent >= 0 or log.kind != "huggingface":  # a whole epoch has begun, or is over
            low = max(low, float(step) / (float(epoch) + 1.001))
            high = min(high, (float(step) + 1) / max(float(epoch) - 1, 1e-9))
        else:
            half = 0.51 * 10.0**exponent + 1e-6 * float(epoch)  # event files hold float32
            low = max(low, float(step) / (float(epoch) + half))
            high = min(high, float(step) / max(float(epoch) - half, 1e-9))
    return max(1, math.ceil(low - 1e-6)), min(_LARGEST, max(1, math.floor(high + 1e-6)))


def _range_of_batches(case: _Case) -> tuple[int, int]:
    """Return the fewest and the most batches that an epoch can have, by the epochs and steps of a log."""
    low, high = _range_of_epoch(case.log)

    def updates(batches: int) -> int:
        return case._replace(changes={**case.changes, "epochs": 1}).read(batches).num_counts or 0

    try:
        one, two = updates(10**6), updates(2 * 10**6)
    except _ERRORS:
        return low, high
    accumulation = round(10**6 / one) if 0 < 2 * one - 2 <= two else 1  # batches in an update
    return (low - 1) * accumulation + 1, min(_LARGEST, high * accumulation)


class _Search(NamedTuple):
    """A search for a whole number with which the rates of a recipe agree with a log.

    Args:
        points: the points of the log.
        rates: a function of the number, a base rate and some of the points. It returns their rates.
        lacks_base: True if the base rate is also unknown.
    """

    points: Points
    rates: Callable[[int | None, float | None, Points], np.ndarray]
    lacks_base: bool = False

    def found(self, low: int, high: int) -> tuple[int, list[int]]:
        """Return the nearest number from `low` to `high`, and all that agree."""
        return search_whole(self.distance, self.agrees, low, high)

    def distance(self, number: int) -> float:
        points = _some(self.points)
        try:
            if self.lacks_base:
                factor, rest = self._line(number, points)
                expected = rest + factor * _median_base(factor, rest, points.rates)
            else:
                expected = self.rates(number, None, points)
        except _ERRORS:
            return math.inf
        return float(np.abs(expected - points.rates).mean() / max(np.abs(points.rates).max(), 1e-300))

    def agrees(self, number: int | None) -> bool:
        try:
            if self.lacks_base:
                return self.bounds(number) is not None
            error = np.abs(self.rates(number, None, self.points) - self.points.rates)
        except _ERRORS:
            return False
        return bool((error <= tolerances_of(self.points)).all())

    def bounds(self, number: int | None) -> tuple[float, float] | None:
        """Return the lowest and the highest base rate that agree, or None for none."""
        return base_rates(*self._line(number, self.points), self.points.rates, tolerances_of(self.points))

    def base(self, number: int | None) -> float:
        """Return the shortest base rate that agrees, or else one that is near."""
        if (bounds := self.bounds(number)) is not None:
            return simplest(*bounds)
        median = _median_base(*self._line(number, self.points), self.points.rates)
        return simplest_near(median, 0.003 * median)

    def _line(self, number: int | None, points: Points) -> tuple[np.ndarray, np.ndarray]:
        return affine(lambda base: self.rates(number, base, points))


def _median_base(factor: np.ndarray, rest: np.ndarray, rates: np.ndarray) -> float:
    is_some = factor > max(1e-6 * np.abs(factor).max(initial=0.0), 1e-290)
    return float(np.median((rates - rest)[is_some] / factor[is_some])) if is_some.any() else 1.0


def _some(points: Points) -> Points:
    """Return a few of many points, from the first to the last."""
    if len(points.rates) <= _FEW_POINTS:
        return points
    chosen = np.unique(np.linspace(0, len(points.rates) - 1, _FEW_POINTS).astype(int))
    steps, epochs, rates, tolerances = (each[chosen] for each in points[:4])
    return Points(steps, epochs, rates, tolerances, points.digits)


def _solved(case: _Case, unit: str) -> Iterator[Attempt]:
    """Yield the recipe with the numbers that agree with the log, or else with the nearest ones."""
    steps = 10 if case.lacking == "steps_per_epoch" else case.steps_per_epoch
    num_clocks = len([*clocks(case.log, case.points, unit, steps)])
    # Another version is tried with the usual numbering of the steps only.
    for index in range(1 if "version" in case.changes else min(num_clocks, 3)):
        if (attempt := _solved_at(case, unit, index)) is not None:
            yield attempt


def _solved_at(case: _Case, unit: str, index: int) -> Attempt | None:
    """Return the recipe with the numbers for a numbering of the steps, which is one of `clocks`.

    If none agrees, skipped updates may still explain the rest. This is tried with the usual numbering.
    """
    whole = case.lacking
    is_epoch = whole == "steps_per_epoch"

    def steps_of(number: int | None) -> int | None:
        return number if is_epoch else case.steps_per_epoch

    def rates(number: int | None, base: float | None, points: Points) -> np.ndarray:
        listed = [*clocks(case.log, points, unit, steps_of(number))]
        return rates_of(case.read(number, base).schedule, listed[index].counts)

    search = _Search(case.points, rates, "init_value" in case.missing)
    if whole is None:
        nearest, numbers = None, [None] if search.agrees(None) else []
    else:
        low, high = _range_of_batches(case) if is_epoch else (1, _LARGEST)
        nearest, numbers = search.found(low, max(low, high))
    if not numbers and index > 0:
        return None
    number = numbers[len(numbers) // 2] if numbers else nearest
    found, reasons, base = {**case.found}, [*case.reasons], None
    if whole is not None and number is not None:
        found[whole] = number
        reasons.append(_found_sentence(whole, number, numbers))
    if search.lacks_base:
        found["init_value"] = base = search.base(number)
        begin = "The log determines init_value: it" if numbers else "The nearest init_value"
        reasons.append(f"{begin} is {shown(base)}.")
    reading = case.read(number, base)._replace(unit=unit)
    return Attempt(reading, steps_of(number), tuple(reasons), found, case.is_changed)


def _found_sentence(name: str, number: int, numbers: Sequence[int | None]) -> str:
    if not numbers:
        return f"The nearest {name} is {number}."
    if len(numbers) == 1:
        return f"The log determines {name}: it is {number}."
    return f"The log agrees with {name} from {numbers[0]} to {numbers[-1]}: {number} is taken."


def _with_other_numbers(case: _Case) -> Iterator[Attempt]:
    """Yield the recipe with another value for one of its whole numbers, if that agrees."""
    numbers, steps = [*case.source.numbers()], case.steps_per_epoch
    if steps is not None:
        numbers.append(Number("steps_per_epoch", steps, lambda other: {"steps_per_epoch": other}))
    for number in numbers:
        for unit in _units(case, case.read()):
            if (attempt := _with_other_number(case, unit, number)) is not None:
                yield attempt


def _with_other_number(case: _Case, unit: str, number: Number) -> Attempt | None:
    """Return the recipe with the value of a number that agrees. If none does, skipped updates are tried."""

    def attempt(value: int) -> Attempt:
        changes = {**case.changes, **number.changes(value)}
        changes["settings"] = {**case.changes.get("settings", {}), **changes.get("settings", {})}
        reading = case.source.read(**changes)._replace(unit=unit)
        steps = value if number.name == "steps_per_epoch" else case.steps_per_epoch
        return Attempt(reading, steps, case.reasons, {**case.found, number.name: value}, is_changed=True)

    def rates(value: int | None, _: float | None, points: Points) -> np.ndarray:
        assert value is not None
        compared = usual_comparison(attempt(value), case.log, points)
        return np.full(len(points.rates), math.inf) if compared is None else compared.expected

    def agrees_with_skips(value: int) -> bool:
        try:
            compared = compare(attempt(value), case.log, case.points)
        except _ERRORS:
            return False
        return compared is not None and bool(compared.agrees.all())

    search, written = _Search(case.points, rates), max(number.value, 0)
    distance = search.distance(written)
    if all(search.distance(each) == distance for each in (written + 1, written // 2, 2 * written + 3)):
        return None  # the rates do not depend on it
    nearest, values = search.found(0, _LARGEST)
    values = values or [value for value in round_numbers(nearest) if agrees_with_skips(value)][:1]
    if not values:
        return None
    found = attempt(values[len(values) // 2])
    reasons = [_other_sentence(number, int(found.found[number.name]))]
    if len(values) > 1:
        reasons.append(f"Each number from {values[0]} to {values[-1]} agrees.")
    return found._replace(reasons=(*case.reasons, *reasons))


def _other_sentence(number: Number, value: int) -> str:
    if number.value < 0:
        return f"All points agree with {number.name}={value}."
    if number.name == str(number.value):
        return f"All points agree with {value} in the place of {number.value}."
    return f"All points agree with {number.name}={value}, where the recipe has {number.value}."


def _with_other_base(case: _Case) -> Iterator[Attempt]:
    """Yield the recipe at another base rate, if all rates of the log are the same multiple of its own."""
    reading = case.read()
    for unit in _units(case, reading):
        attempt = Attempt(
            reading._replace(unit=unit), case.steps_per_epoch, case.reasons, case.found, is_changed=True
        )
        usual = usual_comparison(attempt, case.log, case.points)
        if usual is None:
            continue
        rates, tolerances = case.points.rates, tolerances_of(case.points)
        bounds = base_rates(usual.expected, np.zeros_like(rates), rates, tolerances)
        if bounds is None or not bounds[0] > 0:
            continue
        factor = simplest(*bounds)
        reason = f"The rates of the log are {shown(factor)} times those of the recipe."
        scaled = attempt.reading._replace(schedule=_Scaled(reading.schedule, factor))
        yield attempt._replace(reading=scaled, reasons=(*attempt.reasons, reason))


class _Scaled(NamedTuple):
    """A schedule at a multiple of its rates."""

    schedule: Callable[[Any], Any]
    factor: float

    def __call__(self, count: Any) -> Any:
        return self.factor * np.asarray(self.schedule(count), dtype=float)
