"""Errors about an argument that is missing. A command can read from them which flag to ask for."""

from collections.abc import Callable, Collection, Sequence

from jaxlr._checks import shorten


_LONGEST_LIST = 250  # characters of a message


class MissingNamesError(ValueError):
    """A recipe that contains names whose values are not known.

    Args:
        names: the names, as they are written in the recipe.
        functions: those of the names that are functions.
    """

    reason = "the scheduler's text needs values for its names"

    def __init__(self, names: Sequence[str], functions: Collection[str] = ()):
        super().__init__(names)
        self.names = names
        self.functions: list[str] = [name for name in names if name in functions]

    def __str__(self) -> str:
        entries = self.listed(lambda name: f"{name!r}: ...", separator=", ")
        return f"{self.reason}: give names={{{entries}}}{self.about_functions}"

    @property
    def about_functions(self) -> str:
        """The end of the message about the names that are functions, or nothing."""
        if not self.functions:
            return ""
        name = shorten(self.functions[0])
        message = f", where {name!r} is a function"
        is_simple = self.functions[0].isidentifier()
        return f"{message}, or write 'def {name}(...): ...' before the scheduler" if is_simple else message

    def listed(self, write: Callable[[str], str], separator: str) -> str:
        """Return the names, each written by `write`, as many as a message can hold."""
        entries: list[str] = []
        length = 0
        for name in self.names:
            entry = write(shorten(name, _LONGEST_LIST - 50))  # a name that is cut cannot be given
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


class MissingRateError(ValueError):
    """A recipe whose optimizer has no known learning rate.

    Args:
        optimizer: the class of the optimizer, if the text constructs one.
        default: the learning rate that torch gives this class. None if its groups may have their own.
    """

    reason = "the scheduler's text does not set the learning rate of the optimizer"

    def __init__(self, optimizer: str | None = None, default: float | None = None):
        super().__init__(optimizer, default)
        self.optimizer = optimizer
        self.default = default

    def __str__(self) -> str:
        if self.optimizer is None:
            return f"{self.reason}: give init_value"
        if self.default is None:
            return f"the groups of the {self.optimizer} may have rates of their own: give init_value"
        return (
            f"the text constructs {self.optimizer} without lr: give init_value, such as the default "
            f"{self.default}"
        )


class ConflictingRateError(ValueError):
    """A recipe that sets another learning rate than the caller.

    Args:
        given: the caller's rate.
        written: the rate in the text.
    """

    def __init__(self, given: str, written: float):
        super().__init__(given, written)
        self.given: str = given
        self.written: float = written

    def __str__(self) -> str:
        return (
            f"init_value is {self.given}, but the scheduler's text sets lr={self.written!r}: leave "
            "init_value out, or change the text"
        )
