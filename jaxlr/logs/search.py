"""Numbers that a log determines: a whole number by search, a base rate in closed form."""

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import numpy as np


_FEW = 256  # whole numbers that are all tried
_MOST_KEPT = 64  # numbers that agree, before the search stops


def search_whole(
    distance: Callable[[int], float], agrees: Callable[[int], bool], low: int, high: int
) -> tuple[int, list[int]]:
    """Return the nearest whole number from `low` to `high`, and all for which `agrees` holds, in order.

    `distance` returns how far a number is from agreeing. It is called on a grid, and then on finer grids
    around the three best numbers.
    """
    known: dict[int, float] = {}
    waiting = _grid(low, high)
    for _ in range(20):
        for number in waiting:
            if number not in known:
                known[number] = distance(number)
        ordered = sorted(known)
        best = sorted(ordered, key=known.__getitem__)[:3]
        finer = [each for number in best for each in _around(number, ordered)]
        waiting = [number for number in finer if number not in known]
        if not waiting:
            break
    nearest = sorted(known, key=known.__getitem__)
    found: set[int] = set()
    for number in nearest[:8]:
        if number not in found and agrees(number):
            found |= {number, *_neighbours(number, agrees, low, high)}
    return nearest[0], sorted(found)


def _grid(low: int, high: int) -> list[int]:
    if high - low <= _FEW:
        return list(range(low, high + 1))
    steps = np.geomspace(1, high - low + 1, _FEW // 2)
    small = range(low, low + 64)
    return sorted({*small, *(low - 1 + int(step) for step in steps)})


def _around(number: int, ordered: Sequence[int]) -> list[int]:
    """Return up to 32 numbers between the two neighbours of a number in an ordered list."""
    index = bisect.bisect_left(ordered, number)
    left, right = ordered[max(index - 1, 0)], ordered[min(index + 1, len(ordered) - 1)]
    count = right - left - 1
    if count <= 32:
        return list(range(left + 1, right))
    return sorted({left + round((count + 1) * part / 17) for part in range(1, 17)})


def _neighbours(number: int, agrees: Callable[[int], bool], low: int, high: int) -> list[int]:
    """Return the numbers on both sides that agree without a gap."""
    found: list[int] = []
    for direction in (-1, 1):
        other = number + direction
        while low <= other <= high and len(found) < _MOST_KEPT and agrees(other):
            found.append(other)
            other += direction
    return found


def base_rates(
    factor: np.ndarray, rest: np.ndarray, rates: np.ndarray, tolerances: np.ndarray
) -> tuple[float, float] | None:
    """Return the lowest and the highest base rate b with `rates = rest + b factor`, or None for none."""
    is_some = factor > 1e-290
    if not is_some.any():
        return None
    if (np.abs(rates - rest) > tolerances)[~is_some].any():
        return None
    centre = (rates - rest)[is_some] / factor[is_some]
    half = tolerances[is_some] / factor[is_some]
    low, high = float((centre - half).max()), float((centre + half).min())
    return (low, high) if 0 <= low <= high else None


def simplest(low: float, high: float) -> float:
    """Return the number from `low` to `high` with the fewest digits, nearest to their middle."""
    middle = (low + high) / 2
    for digits in range(1, 18):
        number = float(f"{middle:.{digits - 1}e}")
        if low <= number <= high:
            return number
    return middle


def simplest_near(value: float, error: float) -> float:
    """Return the number with the fewest digits that is at most `error` from a value >= 0, or 0."""
    return 0.0 if value < error else simplest(value - error, value + error)


def affine(rates: Callable[[float], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return factor and rest with `rates(b) = rest + b factor`. The rates must be linear in b."""
    first, second = rates(1.0), rates(2.0)
    factor, rest = second - first, 2 * first - second
    return factor, np.where(np.abs(rest) < 1e-12 * np.abs(first), 0.0, rest)


def round_numbers(nearest: int) -> list[int]:
    """Return the whole numbers within 3 % of a number that people would write, the roundest first."""
    low, high = math.floor(nearest * 0.97), math.ceil(nearest * 1.03)
    found: dict[int, None] = {}
    for units in _round_units(high):
        for unit in units:
            found.update(dict.fromkeys(range(-(-low // unit) * unit, high + 1, unit)[:20]))
        if len(found) >= 20:
            break
    return [*found][:40]


def roundest(low: int, high: int) -> int:
    """Return the whole number from `low` to `high` with the most zeros at its end, or else fives."""
    multiples = (-(-low // unit) * unit for units in _round_units(high) for unit in units)
    return next((multiple for multiple in multiples if multiple <= high), low)


def _round_units(high: int) -> Iterator[list[int]]:
    """Yield 1000, 500 and 250, then 100, 50 and 25, and so on, from about `high` down."""
    for exponent in range(len(str(high)), -1, -1):
        yield [unit for unit in (10**exponent, 10**exponent // 2, 10**exponent // 4) if unit >= 1]


def rounder_first(low: int, high: int) -> list[int]:
    """Return the whole numbers from `low` to `high`, or 2,000 of them, those with more zeros first."""
    numbers = range(low, min(high, low + 2000) + 1)
    return sorted(numbers, key=lambda number: len(str(number).rstrip("0")))


def shown(number: Any) -> str:
    """Return a number with the digits that it needs: 500, 0.000833, 1e-05."""
    if isinstance(number, int) or (isinstance(number, float) and number.is_integer() and number < 1e15):
        return str(int(number))
    text = f"{float(number):.12g}"
    return str(Decimal(text)) if 1e-4 <= abs(float(number)) < 1e15 else text


def digits_of(expected: np.ndarray, rates: np.ndarray) -> int:
    """Return the number of significant digits to which all rates agree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(expected - rates) / np.maximum(np.abs(rates), 1e-300)
    worst = float(np.max(np.where(rates == expected, 0, error), initial=0.0))
    return 17 if worst == 0 else max(0, min(17, math.floor(-math.log10(worst))))
