"""The errors that end the command: one line on stderr, and an exit status."""

import contextlib
import sys
from typing import NoReturn

from jaxlr._streams import write


_LONGEST = 1000  # characters of an error


def refuse(message: str, status: int = 2) -> NoReturn:
    """Print an error on stderr and exit."""
    end(f"error: {_shortened(message)}", status)


def end(message: str, status: int) -> NoReturn:
    """Print a message on stderr, unless nobody reads it, and exit."""
    with contextlib.suppress(OSError):  # stderr may be on the full disk: the status must still be right
        write(sys.stderr, f"jaxlr: {message}\n", lambda: True)
    sys.exit(status)


def _shortened(message: str) -> str:
    """Return a message in one line, without its middle if it is long. Its end says what to do."""
    line = " ".join(message.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} [...] {line[-_LONGEST // 2 :]}"
