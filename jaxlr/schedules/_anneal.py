"""Anneals between two values whose weights keep their digits at both ends."""

import math

from jaxlr.schedules._counts import Float, array_module


def anneal(
    start: Float, end: Float, done: Float, left: Float, length: float, strategy: str = "cos"
) -> Float:
    """From `start` (nothing done) to `end` (nothing left of `length`), along a cosine or a line."""
    return blend(start, end, done, left, anneal_unit(length, strategy), strategy)


def anneal_unit(length: float, strategy: str) -> float:
    """What turns a distance into its part of `length`: an angle to multiply by, or a divisor."""
    return math.pi / 2 / length if strategy == "cos" else float(length)


def blend(start: Float, end: Float, done: Float, left: Float, unit: Float, strategy: str) -> Float:
    """`anneal`, by a unit that may be one of several.

    Both weights come from a distance that is exact near its end, where the textbook's 1 + cos, or a
    difference of near equals, has lost every digit. Torch's float64 has lost some of its too: there
    the mathematical value is the reference.
    """
    xp = array_module(done, left)
    if strategy == "linear":
        return end * (done / unit) + start * (left / unit)
    return end * xp.sin(unit * done) ** 2 + start * xp.sin(unit * left) ** 2
