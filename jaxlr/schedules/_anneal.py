"""Interpolation between two values, along a cosine or a line, that is exact near both ends."""

import math

from jaxlr.schedules._counts import Float, array_module


def anneal(
    start: Float, end: Float, done: Float, left: Float, length: float, strategy: str = "cos"
) -> Float:
    """Return the value between `start` (`done` = 0) and `end` (`left` = 0), along a cosine or a line.

    `done` and `left` are the distances from both ends. Their sum is `length`.
    """
    return blend(start, end, done, left, anneal_unit(length, strategy), strategy)


def anneal_unit(length: float, strategy: str) -> float:
    """Return the `unit` of `blend`: a factor for a cosine, a divisor for a line."""
    return math.pi / 2 / length if strategy == "cos" else float(length)


def blend(start: Float, end: Float, done: Float, left: Float, unit: Float, strategy: str) -> Float:
    """Return the value that `anneal` describes, with `unit` from `anneal_unit`. `unit` may be an array.

    With x = pi * done / length, so that pi - x = pi * left / length, the weights of a cosine are

        (1 - cos x)/2 = sin²(x/2)        = sin²(unit * done)
        (1 + cos x)/2 = sin²((pi - x)/2) = sin²(unit * left)

    Near an end, the textbook's left side subtracts nearly equal numbers and loses all digits. The squared
    sines keep them, because `done` and `left` are exact. torch's float64 loses some digits too; the
    reference is then the mathematical value.
    """
    xp = array_module(done, left)
    if strategy == "linear":
        return end * (done / unit) + start * (left / unit)
    return end * xp.sin(unit * done) ** 2 + start * xp.sin(unit * left) ** 2
