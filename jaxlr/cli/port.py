"""The command `jaxlr port`: print the Python line that a torch scheduler becomes."""

import dataclasses
import json
from typing import Annotated, Literal

import tyro

from jaxlr._checks import check_positive_count
from jaxlr.cli.errors import RecipeError
from jaxlr.cli.torch_text import RecipeFlags, message_of, read_text
from jaxlr.convert.text import ported


@dataclasses.dataclass(frozen=True)
class PortConfig(RecipeFlags):
    """Print the Python line that builds the same schedule with jaxlr, ready to paste.

    Example: jaxlr port "SequentialLR(opt, [LinearLR(opt), StepLR(opt, 30)], [5])" --lr 0.1
    """

    text: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="TEXT")]
    """Torch scheduler, in quotes: "StepLR(30)". - reads standard input."""

    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Epochs (or steps) to tabulate. Only a MultiplicativeLR or a ChainedScheduler may need it."""

    format: Literal["text", "json"] = "text"
    """Format of the output: the line, or a JSON object with the line and the torch line that was read."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epochs is not None:
            check_positive_count("epochs", self.epochs)

    def run(self) -> None:
        """Print the line."""
        try:
            both = ported(read_text(self.text), **self.arguments(), num_steps=self.epochs)
        except (TypeError, ValueError, ArithmeticError) as error:
            raise RecipeError(message_of(error)) from error
        print(both["jaxlr"] if self.format == "text" else json.dumps(both))
