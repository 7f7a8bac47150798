"""Errors about an argument that is missing. A command can read from them which flag to ask for."""

from collections.abc import Callable, Sequence

from jaxlr._checks import shorten


_LONGEST_LIST = 250  # characters of a message


class MissingNamesError(ValueError):
    """A recipe that contains names whose values are not known.

    Args:
        names: the names, as they are written in the recipe.
    """

    reason = "the scheduler's text needs values for its names"

    def __init__(self, names: Sequence[str]):
        super().__init__(names)
        self.names = names

    def __str__(self) -> str:
        entries = self.listed(lambda name: f"{name!r}: ...", separator=", ")
        return f"{self.reason}: give names={{{entries}}}"

    def listed(self, write: Callable[[str], str], separator: str) -> str:
        """Return the names, each written by `write`, as many as a message can hold."""
        entries: list[str] = []
        length = 0
        for name in self.names:
            entry = write(shorten(name))
            length += len(entry)
            if length < _LONGEST_LIST:
                entries.append(entry)
        rest = len(self.names) - len(entries)
        return separator.join(entries) + (f" and {rest} more" if rest else "")


class MissingNumStepsError(ValueError):
    """A scheduler that can only be converted by tabulating its rates for a number of steps.

    Args:
        reason: the property of the scheduler that makes this necessary.
    """

    def __init__(self, reason: str):
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}: give num_steps, the number of epochs (or steps) to tabulate"
