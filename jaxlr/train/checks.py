"""Checks of settings, for the `__post_init__` of a frozen dataclass. A message names the setting."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxlr._checks import check_whole_number, shown_value


def assign(group: Any, **values: Any) -> None:
    """Assign checked values to the fields of a frozen dataclass, in its `__post_init__`."""
    for name, value in values.items():
        object.__setattr__(group, name, value)


def assign_counts(group: Any, **smallest: int) -> None:
    """Make fields ints, each at least `smallest[name]` and no larger than a device can count."""
    for name, least in smallest.items():
        assign(group, **{name: checked_count(name, getattr(group, name), least)})


def checked_count(name: str, value: Any, least: int) -> int:
    """Return a whole number as an int, after checking that it is at least `least`."""
    count = check_whole_number(name, value)
    if not least <= count < 2**31:
        raise ValueError(f"{name} must be from {least} to 2**31 - 1, got {value!r}")
    return count


def check_kinds(group: Any, **kinds: type) -> None:
    """Raise a TypeError unless each field is of the type `kinds[name]`."""
    for name, kind in kinds.items():
        value = getattr(group, name)
        if not isinstance(value, kind):
            raise TypeError(f"{name} must be a {kind.__name__}, got {value!r}")


def checked_path(name: str, value: Any) -> Path | None:
    """Return a path that may be left out, after checking that it can name a file."""
    if not isinstance(value, str | Path | None):
        raise TypeError(f"{name} must be a path, got {value!r}")
    if value is not None and "\0" in str(value):
        raise ValueError(f"{name} must be a path, got one with a null character: {str(value)!r}")
    return None if value is None else Path(value)


def checked_list(name: str, values: Any) -> tuple[Any, ...]:
    """Return the values of a list, after checking that it is not empty and has no value twice."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a list, got {shown_value(values)}")
    if not values:
        raise ValueError(f"{name} must hold at least one, got none")
    stripped = [value.strip() if isinstance(value, str) else value for value in values]
    if twice := [value for index, value in enumerate(stripped) if value in stripped[:index]]:
        raise ValueError(f"{name} holds {shown_value(twice[0])} twice: give each once")
    return tuple(values)
