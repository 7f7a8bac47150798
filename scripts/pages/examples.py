"""A Griffe extension: our docstrings say "Example:", which Griffe reads only in the plural."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """An extension that reads a section "Example:" as "Examples:"."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )
