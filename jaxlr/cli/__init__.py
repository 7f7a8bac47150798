"""The command `jaxlr`: parse the flags, run the command, and print any error in one line."""

from typing import TYPE_CHECKING

from jaxlr._lazy import on_first_use


if TYPE_CHECKING:
    from jaxlr.cli.run import main


__all__ = ["main"]

if not TYPE_CHECKING:
    __getattr__, __dir__ = on_first_use(__name__, {"run": ["main"]})
