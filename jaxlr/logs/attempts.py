"""Ways to read a recipe so that it may agree with a log: with missing numbers found, or other numbers."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxlr.logs.clocks import clocks, needs_steps_per_epoch
from jaxlr.logs.comparisons import Attempt, Comparison, compare, rates_of, tolerances_of, usual_comparison
from jaxlr.logs.formats import Log, Points
from jaxlr.logs.readings import VERSIONS, Reading, Source
from jaxlr.logs.search import affine, base_rates, round_numbers, search_whole, shown, simplest


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

    def read(self, number: int | None = None, base: float | None = None) -> Reading:
        """Read the recipe with values for the numbers that it lacks."""
        changes = dict(self.changes)
        for name in self.missing:
            if name == "init_value":
                changes[name] = 1.0 if base is None else base
            elif name == "steps_per_epoch":
                changes[name] = 10 if number is None else number
            else:
                changes["names"] = {**changes.get("names", {}), name: 10 if number is None else number}
        return self.source.read(**changes)


def attempts(source: Source, log: Log, points: Points) -> Iterator[Attempt]:
    """Yield the recipe as it is, with numbers that it lacks, and with other numbers, in this order."""
    case = _Case(source, log, points, tuple(source.missing()))
    yield from _completed(case)
    yield from _of_other_versions(case)
    yield from _with_length_of_log(case)
    case = _length_of_log(case) or case
    if not case.missing:
        yield from _with_other_numbers(case)
        yield from _with_other_base(case)


def _completed(case: _Case) -> Iterator[Attempt]:
    """Yield the recipe once the numbers that it lacks are found."""
    if "steps_per_epoch" in case.missing and (longer := _length_of_log(case)) is not None:
        case = longer
    reading = case.read()
    given = case.source.arguments["steps_per_epoch"]
    for unit in _units(case, reading):
        lacking = case.missing
        if given is None and needs_steps_per_epoch(case.log, case.points, unit):
            lacking = tuple(dict.fromkeys((*lacking, "steps_per_epoch")))
        if lacking:
            yield from _solved(case._replace(missing=lacking), unit)
        else:
            reading = case.read()._replace(unit=unit)
            yield Attempt(reading, given, case.reasons, case.found, case.is_changed)


def _units(case: _Case, reading: Reading) -> tuple[str, ...]:
    """Return the unit of a schedule, or both units if it is not known, the more likely one first."""
    if reading.unit:
        return (reading.unit,)
    return ("epoch", "update") if np.isnan(case.points.steps).any() else ("update", "epoch")


def _of_other_versions(case: _Case) -> Iterator[Attempt]:
    framework = case.read().framework or ""
    given = case.source.arguments["version"]
    for version in VERSIONS.get(framework, ()):
        reason = f"The rules are those of {framework} {version}."
        other = case._replace(
            changes={**case.changes, "version": version},
            reasons=(*case.reasons, reason),
            is_changed=given is not None,
        )
        try:
            yield from _completed(other)
        except _ERRORS:  # this version has no such recipe
            continue


def _length_of_log(case: _Case) -> _Case | None:
    """Return the recipe of a run that is as long as a log of Hugging Face says."""
    length = case.log.facts.get("max_steps")
    if case.log.kind != "huggingface" or case.source.settings is None or not isinstance(length, int):
        return None
    settings = {"max_steps": length}
    other = case._replace(
        missing=tuple(name for name in case.missing if name != "steps_per_epoch"),
        changes={**case.changes, "settings": settings},
        reasons=(*case.reasons, f"The log says that the run had {length} updates."),
        found={**case.found, "max_steps": length, **_updates_of_epoch(case.log)},
    )
    try:
        return other if other.read().num_counts == length else None
    except _ERRORS:
        return None


def _with_length_of_log(case: _Case) -> Iterator[Attempt]:
    other = _length_of_log(case)
    if other is not None and not case.missing and case.read().num_counts != other.read().num_counts:
        reason = f"The recipe has {case.read().num_counts} updates."
        yield from _completed(other._replace(is_changed=True, reasons=(*other.reasons, reason)))


def _updates_of_epoch(log: Log) -> dict[str, float]:
    """Return the number of updates in an epoch, if only one agrees with the epochs and steps of the log."""
    low, high = _range_of_epoch(log)
    return {"updates_per_epoch": low} if low == high else {}


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


def _solved(case: _Case, unit: str) -> Iterator[Attempt]:
    """Yield the recipe with the numbers that agree with the log, or else with the nearest ones."""
    whole = next((name for name in case.missing if name != "init_value"), None)
    given = 10 if whole == "steps_per_epoch" else case.source.arguments["steps_per_epoch"]
    num_clocks = len([*clocks(case.log, case.points, unit, given)])
    # An older version numbers its steps in the usual way.
    for index in range(1 if "version" in case.changes else min(num_clocks, 3)):
        problem = _Problem(case, unit, whole, index)
        low, high = _range_of_epoch(case.log) if whole == "steps_per_epoch" else (1, _LARGEST)
        if whole is None:
            nearest, numbers = None, [None] if problem.agrees(None) else []
        else:
            nearest, numbers = search_whole(problem.distance, problem.agrees, low, max(low, high))
        if numbers:
            yield problem.attempt(numbers)
        elif index == 0:  # skipped updates may still explain the rest
            yield problem.attempt([nearest], is_exact=False)


class _Problem(NamedTuple):
    """A search for the numbers that a recipe lacks: a whole one, a base rate, or both."""

    case: _Case
    unit: str
    whole: str | None
    clock: int

    def rates(self, number: int | None, base: float | None, few: bool) -> np.ndarray:
        """Return the rates at the points of the log, or at a few of them."""
        case = self.case
        points = _some(case.points) if few else case.points
        given = number if self.whole == "steps_per_epoch" else case.source.arguments["steps_per_epoch"]
        listed = [*clocks(case.log, points, self.unit, given)]
        return rates_of(case.read(number, base).schedule, listed[self.clock].counts)

    def line(self, number: int | None, few: bool) -> tuple[np.ndarray, np.ndarray]:
        return affine(lambda base: self.rates(number, base, few))

    def distance(self, number: int | None) -> float:
        logged = _some(self.case.points).rates
        try:
            if "init_value" in self.case.missing:
                factor, rest = self.line(number, few=True)
                expected = rest + factor * _median_base(factor, rest, logged)
            else:
                expected = self.rates(number, None, few=True)
        except _ERRORS:
            return math.inf
        return float(np.abs(expected - logged).mean() / max(np.abs(logged).max(), 1e-300))

    def agrees(self, number: int | None) -> bool:
        try:
            return self.base(number) is not None
        except _ERRORS:
            return False

    def base(self, number: int | None) -> tuple[float, float] | None:
        """Return the range of the base rates that agree. It is any number if the recipe has one."""
        logged, tolerances = self.case.points.rates, tolerances_of(self.case.points)
        if "init_value" in self.case.missing:
            return base_rates(*self.line(number, few=False), logged, tolerances)
        is_right = np.abs(self.rates(number, None, few=False) - logged) <= tolerances
        return (0.0, 0.0) if is_right.all() else None

    def attempt(self, numbers: Sequence[int | None], is_exact: bool = True) -> Attempt:
        """Return the recipe with the middle one of the numbers."""
        case, number = self.case, numbers[len(numbers) // 2]
        found, reasons = dict(case.found), [*case.reasons]
        base = None
        if self.whole is not None and number is not None:
            found[self.whole] = number
            whole_numbers = [each for each in numbers if each is not None]
            reasons.append(_found_sentence(self.whole, whole_numbers, is_exact))
        if "init_value" in case.missing:
            bounds = self.base(number)
            if bounds is None:
                factor, rest = self.line(number, few=False)
                middle = _median_base(factor, rest, case.points.rates)
                bounds = (middle * 0.997, middle * 1.003)
            base = simplest(*bounds)
            found["init_value"] = base
            begin = "The log determines init_value: it" if is_exact else "The nearest init_value"
            reasons.append(f"{begin} is {shown(base)}.")
        given = case.source.arguments["steps_per_epoch"]
        steps = number if self.whole == "steps_per_epoch" else given
        reading = case.read(number, base)._replace(unit=self.unit)
        return Attempt(reading, steps, tuple(reasons), found, case.is_changed)


def _found_sentence(name: str, numbers: list[int], is_exact: bool) -> str:
    middle = numbers[len(numbers) // 2]
    if not is_exact:
        return f"The nearest {name} is {middle}."
    if len(numbers) == 1:
        return f"The log determines {name}: it is {middle}."
    return f"The log agrees with {name} from {numbers[0]} to {numbers[-1]}: {middle} is taken."


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


def _with_other_numbers(case: _Case) -> Iterator[Attempt]:
    """Yield the recipe with another value for one of its whole numbers, if that agrees."""
    reading, given = case.read(), case.source.arguments["steps_per_epoch"]
    numbers: list[tuple[str, int, Callable[[int], dict[str, Any]]]] = [*case.source.numbers()]
    if given is not None:
        numbers.append(("steps_per_epoch", given, lambda other: {"steps_per_epoch": other}))
    for name, value, changes in numbers:
        for unit in _units(case, reading):
            other = _OtherNumber(case, unit, name, value, changes)
            if other.matters() and (attempt := other.solved()) is not None:
                yield attempt


class _OtherNumber(NamedTuple):
    """A search for another value of a whole number in a recipe."""

    case: _Case
    unit: str
    name: str
    value: int  # -1 if the recipe has none
    changes: Callable[[int], dict[str, Any]]

    def attempt(self, number: int, reasons: tuple[str, ...] = ()) -> Attempt:
        changes = {**self.case.changes, **self.changes(number)}
        changes["settings"] = {**self.case.changes.get("settings", {}), **changes.get("settings", {})}
        reading = self.case.source.read(**changes)._replace(unit=self.unit)
        given = self.case.source.arguments["steps_per_epoch"]
        steps = number if self.name == "steps_per_epoch" else given
        found = {**self.case.found, self.name: number}
        return Attempt(reading, steps, (*self.case.reasons, *reasons), found, is_changed=True)

    def compared(self, number: int, points: Points) -> Comparison | None:
        try:
            return usual_comparison(self.attempt(number), self.case.log, points)
        except _ERRORS:
            return None

    def distance(self, number: int) -> float:
        points = _some(self.case.points)
        compared = self.compared(number, points)
        if compared is None:
            return math.inf
        error = np.abs(compared.expected - points.rates).mean()
        return float(error / max(np.abs(points.rates).max(), 1e-300))

    def agrees(self, number: int) -> bool:
        compared = self.compared(number, self.case.points)
        return compared is not None and bool(compared.agrees.all())

    def agrees_with_skips(self, number: int) -> bool:
        try:
            compared = compare(self.attempt(number), self.case.log, self.case.points)
        except _ERRORS:
            return False
        return compared is not None and bool(compared.agrees.all())

    def matters(self) -> bool:
        """Check if the rates depend on the number, by a few other values."""
        value = max(self.value, 0)
        first = self.distance(value)
        return any(self.distance(other) != first for other in (value + 1, value // 2, 2 * value + 3))

    def solved(self) -> Attempt | None:
        """Return the recipe with the number that agrees, with skipped updates if it must be."""
        nearest, numbers = search_whole(self.distance, self.agrees, 0, _LARGEST)
        if not numbers:
            numbers = [number for number in round_numbers(nearest) if self.agrees_with_skips(number)][:1]
        if not numbers:
            return None
        number = numbers[len(numbers) // 2]
        reasons = [self._sentence(number)]
        if len(numbers) > 1:
            reasons.append(f"Each number from {numbers[0]} to {numbers[-1]} agrees.")
        return self.attempt(number, tuple(reasons))

    def _sentence(self, number: int) -> str:
        if self.value < 0:
            return f"All points agree with {self.name}={number}."
        if self.name == str(self.value):
            return f"All points agree with {number} in the place of {self.value}."
        return f"All points agree with {self.name}={number}, where the recipe has {self.value}."


def _with_other_base(case: _Case) -> Iterator[Attempt]:
    """Yield the recipe at another base rate, if all rates of the log are the same multiple of its own."""
    reading = case.read()
    given = case.source.arguments["steps_per_epoch"]
    for unit in _units(case, reading):
        attempt = Attempt(reading._replace(unit=unit), given, case.reasons, case.found, is_changed=True)
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
