"""A Griffe extension for what Griffe does not read by itself: "Example:" and the fields of a NamedTuple."""

import re
from typing import Any

import griffe


class Examples(griffe.Extension):
    """An extension that reads a section "Example:" as "Examples:", and fields as arguments."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rename the section of one docstring."""
        if obj.docstring:
            obj.docstring.value = re.sub(
                r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE
            )

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        """Give a NamedTuple the constructor that its fields make."""
        if "NamedTuple" in map(str, cls.bases):
            fields = [
                griffe.Parameter(
                    name,
                    annotation=field.annotation,
                    kind=griffe.ParameterKind.positional_or_keyword,
                    default=field.value,
                )
                for name, field in cls.attributes.items()
                if field.annotation is not None
            ]
            parameters = griffe.Parameters(griffe.Parameter("self"), *fields)
            cls.set_member("__init__", griffe.Function("__init__", parameters=parameters, returns="None"))
