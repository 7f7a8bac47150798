"""Numbers as they are printed in a log, with their digits."""

import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

import numpy as np


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
    """Check if a cell holds something that is no number and no mark of a missing one."""
    return number_of(cell) is None and not re.fullmatch(
        r"|[-+]?(nan|inf|infinity)|none|null|n/?a", cell.lower()
    )


def float_of(row: Mapping[str, Any], name: str | None) -> float:
    number = None if name is None else number_of(row.get(name))
    return math.nan if number is None else float(number)


def precision_of(numbers: Sequence[Decimal]) -> tuple[np.ndarray, int]:
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


def decimals_of(numbers: Sequence[Decimal]) -> int | None:
    """Return the decimals that a column may be rounded to, as `round(rate, 6)` does, or None.

    The shortest form of few digits may also be exact, such as 0.1, 0.01 and 0.001.
    """
    decimals = max(-int(number.as_tuple().exponent) for number in numbers)
    is_short = max(len(number.as_tuple().digits) for number in numbers) <= decimals
    return decimals if len({*numbers}) >= 8 and is_short and 3 <= decimals <= 12 else None


def _digits_of(numbers: Sequence[Decimal], digits: Sequence[int]) -> int:
    """Return the digits that a column was rounded to. Rates such as 0.1 and 0.01 do not tell it."""
    most = max(digits)
    is_common = most >= 3 and len({*numbers}) >= 6 and digits.count(most) * 2 >= len(digits)
    return most if most >= 4 or is_common else 6
