"""The command `jaxlr port`: print the Python line that a recipe becomes."""

import dataclasses
import json
from typing import Annotated, Any, Literal

import tyro

from jaxlr.cli.flags import RecipeFlags
from jaxlr.convert.text import ported
from jaxlr.frameworks import Recipe


@dataclasses.dataclass(frozen=True)
class PortConfig(RecipeFlags):
    """Print the Python line that builds the same schedule with jaxlr, ready to paste.

    Example: jaxlr port "SequentialLR(opt, [LinearLR(opt), StepLR(opt, 30)], [5])" --lr 0.1
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """Torch scheduler, as "StepLR(30)"; config file; - for standard input; or flags after --."""

    format: Literal["text", "json"] = "text"
    """Format of the output: the line, or a JSON object with the line and what was read."""

    def run(self) -> None:
        """Print the line. The comments above the line of a config state its unit and its assumptions."""
        source = self.read(self.recipe)
        if source.settings is None:
            result: dict[str, Any] = self.convert(ported, source.text, self.epochs)
            comments: list[str] = []
        else:
            recipe = self.from_config(source.settings)
            about = ("framework", "version", "unit", "num_counts", "assumptions")
            result = {"jaxlr": repr(recipe.schedule), **{name: getattr(recipe, name) for name in about}}
            comments = [_heading(recipe), *recipe.assumptions]
        if self.format == "json":
            print(json.dumps(result))
        else:
            print(*(f"# {comment}" for comment in comments), result["jaxlr"], sep="\n")


def _heading(recipe: Recipe) -> str:
    """Describe the framework of a recipe and its counts."""
    framework = " ".join(filter(None, (recipe.framework, recipe.version)))
    length = "" if recipe.num_counts is None else f" of {recipe.num_counts}"
    return f"{framework}: a count is one {recipe.unit}{length}."
