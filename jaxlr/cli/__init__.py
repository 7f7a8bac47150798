"""The command `jaxlr`: parse the flags, run the command, and print any error in one line."""

from jaxlr.cli.run import main


__all__ = ["main"]
