"""Output to a terminal or pipe that may have stalled."""

import io
import select
from collections.abc import Callable
from typing import TextIO


_PIECE = 1000  # characters. A pipe that select calls writable takes at least 4096 bytes.


def write(stream: TextIO, text: str, stops_waiting: Callable[[], bool]) -> None:
    """Write text, and wait while nobody reads it. Drop the rest as soon as `stops_waiting()` is true."""
    for start in range(0, len(text), _PIECE):
        while not _is_writable(stream):
            if stops_waiting():
                return
        stream.write(text[start : start + _PIECE])
        stream.flush()


def _is_writable(stream: TextIO) -> bool:
    try:
        descriptor = stream.fileno()
    except io.UnsupportedOperation:  # a stream in memory
        return True
    return bool(select.select([], [descriptor], [], 0.1)[1])
