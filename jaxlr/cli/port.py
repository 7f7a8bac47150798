"""The command `jaxlr port`: print the Python line that a recipe becomes."""

import dataclasses
import json
from typing import Annotated, Any, Literal

import optax
import tyro

from jaxlr.cli.errors import RecipeError, in_flags
from jaxlr.cli.flags import RecipeFlags
from jaxlr.convert.lines import line_of
from jaxlr.convert.optimizers.lines import Lines, lines_of_text
from jaxlr.frameworks import Recipe


_BESIDES = ("momentum", "weight_decay", "optimizer", "clip")  # what a config states beside the schedule


@dataclasses.dataclass(frozen=True)
class PortConfig(RecipeFlags):
    """Print the Python line that a torch scheduler or a config file becomes, ready to paste.

    Example: jaxlr port "SequentialLR(opt, [LinearLR(opt), StepLR(opt, 30)], [5])" --lr 0.1
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """Torch scheduler, such as "StepLR(30)"; config file; - for standard input; or flags after --."""

    format: Literal["text", "json"] = "text"
    """Format of the output: the line, or a JSON object with the line and what was read."""

    def run(self) -> None:
        """Print the line. The comments above the line of a config state its unit and its assumptions."""
        source = self.read(self.recipe)
        if source.settings is None:
            lines = self.convert(self._lines, source.text, self.epochs)
            result: dict[str, Any] = {"jaxlr": lines.schedule, "torch": lines.torch}
            if lines.tx is not None:
                result["tx"] = lines.tx
            printed, comments = lines.code, [in_flags(comment) for comment in lines.comments]
        else:
            recipe = self.from_config(source.settings)
            values = {"jaxlr": recipe.schedule, **recipe._asdict()}
            del values["schedule"]
            result = {
                name: _line(value) if _is_schedule(value) else value for name, value in values.items()
            }
            stated = [f"{name}: {result[name]}" for name in _BESIDES if result[name] is not None]
            groups = [f"Group {self.group} of {', '.join(recipe.groups)}."] if recipe.groups else []
            printed, comments = result["jaxlr"], [_heading(recipe), *groups, *recipe.assumptions, *stated]
        if self.format == "json":
            print(json.dumps(result))
        else:
            print(*(f"# {comment}" for comment in comments), printed, sep="\n")

    @staticmethod
    def _lines(text: str, lr: float | None, group: int, **options: Any) -> Lines:
        return lines_of_text(text, lr, group=group or None, **options)  # by default those of all groups


def _is_schedule(value: Any) -> bool:
    return callable(value) or isinstance(value, optax.GradientTransformation)


def _line(schedule: Any) -> str:
    try:
        return line_of(schedule)
    except ValueError as error:
        raise RecipeError(
            "the schedule of this config cannot be printed as one line: make it in Python, with "
            "jaxlr.from_config"
        ) from error


def _heading(recipe: Recipe) -> str:
    """Describe the framework of a recipe and its counts."""
    framework = " ".join(filter(None, (recipe.framework, recipe.version)))
    length = "" if recipe.num_counts is None else f" of {recipe.num_counts}"
    return f"{framework}: a count is one {recipe.unit}{length}."
