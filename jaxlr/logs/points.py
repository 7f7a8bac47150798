"""The rates of one column of a log: numbers with the digits that were printed."""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import numpy as np


_NO_NUMBER = re.compile(r"|[-+]?(nan|inf|infinity)|none|null|n/?a", re.IGNORECASE)


class Points(NamedTuple):
    """The rates of one column of a log, in the order of their steps.

    Args:
        steps: step of each rate as the log numbers it, or NaN if the log has none, shape (points,).
        epochs: epoch of each rate as the log numbers it, or NaN, shape (points,).
        rates: the rates, shape (points,).
        tolerances: half a unit of the last printed digit of each rate, shape (points,).
        digits: number of significant digits that the column was printed with.
        decimals: number of decimals that the column may be rounded to, or None.
    """

    steps: np.ndarray
    epochs: np.ndarray
    rates: np.ndarray
    tolerances: np.ndarray
    digits: int
    decimals: int | None = None


class StepColumns(NamedTuple):
    """The columns with the numbers of the steps and of the epochs."""

    step: str | None
    epoch: str | None
    in_epoch: bool  # True if the steps start again in each epoch

    def place(self, row: Mapping[str, Any]) -> tuple[float, ...]:
        """Return the place of a row in the run. A later row has a larger one."""
        step, epoch = _float_of(row, self.step), _float_of(row, self.epoch)
        if self.in_epoch:
            return epoch, step
        return (epoch,) if math.isnan(step) else (step,)


def points_of(
    rows: Sequence[Mapping[str, Any]], column: str, at: StepColumns, notes: list[str]
) -> Points | None:
    """Return the numbers in a column, or None if none has a place in the run.

    Args:
        rows: the rows of the log.
        column: name of the column.
        at: the columns that say the place of a row.
        notes: a sentence is added if rows are left out.
    """
    chosen = [row for row in rows if number_of(row.get(column)) is not None]
    num_others = sum(row.get(column) not in (None, "") for row in rows) - len(chosen)
    chosen = _without_replaced(chosen, at, notes)
    if not chosen:
        return None
    if num_others:
        plural = "s are" if num_others > 1 else " is"
        notes.append(f"{num_others} row{plural} left out, because {column} is no number there.")
    printed = [number for row in chosen if (number := number_of(row[column])) is not None]
    tolerances, digits = _precision_of(printed)
    return Points(
        np.array([_float_of(row, at.step) for row in chosen]),
        np.array([_float_of(row, at.epoch) for row in chosen]),
        np.array([float(number) for number in printed]),
        tolerances,
        digits,
        _decimals_of(printed),
    )


def _without_replaced(
    rows: Sequence[Mapping[str, Any]], at: StepColumns, notes: list[str]
) -> list[Mapping[str, Any]]:
    """Leave out the steps that a resumed part of the run, or a new run in the same file, did again."""
    kept: list[tuple[tuple[float, ...], Mapping[str, Any]]] = []
    restarts = replaced = 0
    for row in rows:
        place = at.place(row)
        if any(map(math.isnan, place)):
            continue
        if kept and kept[-1][0] >= place:
            restarts += 1
        while kept and kept[-1][0] >= place:
            kept.pop()
            replaced += 1
        kept.append((place, row))
    if restarts:
        notes.append(
            f"{replaced} {'rates are' if replaced > 1 else 'rate is'} replaced by later rows of the "
            f"same steps, as after a resume ({restarts} {'times' if restarts > 1 else 'time'})."
        )
    return [row for _, row in kept]


def number_of(value: Any) -> Decimal | None:
    """Return a finite number with the digits that it was printed with."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        try:
            value = Decimal(value)
        except InvalidOperation:
            return None
    elif not isinstance(value, int | Decimal):
        return None
    number = Decimal(value)
    return number if number.is_finite() and abs(number.adjusted()) < 300 else None


def is_garbled(cell: str) -> bool:
    """Check if a cell holds neither a number nor a mark of a missing number."""
    return number_of(cell) is None and not _NO_NUMBER.fullmatch(cell)


def _float_of(row: Mapping[str, Any], name: str | None) -> float:
    number = None if name is None else number_of(row.get(name))
    return math.nan if number is None else float(number)


def _precision_of(numbers: Sequence[Decimal]) -> tuple[np.ndarray, int]:
    """Return half a unit of the last digit of each number, and the significant digits of the column.

    A column has a fixed number of decimals ("0.001000"), a fixed number of digits in scientific notation
    ("1.00e-03"), or the shortest form of its numbers, in which trailing zeros are left out ("0.001").
    """
    exponents = [int(number.as_tuple().exponent) for number in numbers]
    digits = [len(number.as_tuple().digits) for number in numbers]
    ends_in_zero = any(number.as_tuple().digits[-1] == 0 and number != 0 for number in numbers)
    if ends_in_zero and len({*exponents}) == 1:
        return np.full(len(numbers), 0.5 * 10.0 ** exponents[0]), max(digits)
    if ends_in_zero and len({count for count, number in zip(digits, numbers, strict=True) if number}) == 1:
        return np.array([0.5 * 10.0**exponent for exponent in exponents]), max(digits)
    most = _digits_of(numbers, digits)
    units = [number.adjusted() - most + 1 if number else -12 for number in numbers]
    return np.array([0.5 * 10.0 ** max(unit, -320) for unit in units]), most


def _decimals_of(numbers: Sequence[Decimal]) -> int | None:
    """Return the decimals that a column may be rounded to, as `round(rate, 6)` does, or None.

    The shortest form of few digits may also be exact, such as 0.1, 0.01 and 0.001.
    """
    decimals = max(-int(number.as_tuple().exponent) for number in numbers)
    is_short = max(len(number.as_tuple().digits) for number in numbers) <= decimals
    return decimals if len({*numbers}) >= 8 and is_short and 3 <= decimals <= 12 else None


def _digits_of(numbers: Sequence[Decimal], digits: Sequence[int]) -> int:
    """Return the digits that a column was rounded to. Rates such as 0.1 and 0.01 do not show them."""
    most = max(digits)
    is_common = most >= 3 and len({*numbers}) >= 6 and digits.count(most) * 2 >= len(digits)
    return most if most >= 4 or is_common else 6
