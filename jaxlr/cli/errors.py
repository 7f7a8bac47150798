"""The errors of the command: one line on stderr, and an exit status."""

import sys
import textwrap
from typing import NoReturn


class RecipeError(Exception):
    """An error in a torch scheduler's text. Its message is one line for the user."""


def refuse(message: str, status: int = 2) -> NoReturn:
    """Print an error on stderr and exit."""
    print(f"jaxlr: error: {textwrap.shorten(message, 1000)}", file=sys.stderr)
    sys.exit(status)
