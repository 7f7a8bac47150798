"""The command `jaxlr port`: print the Python line that a recipe becomes."""

import dataclasses
import json
from typing import Annotated, Any, Literal

import optax
import tyro

from jaxlr.cli.errors import RecipeError, in_flags
from jaxlr.cli.flags import RecipeFlags, message_of
from jaxlr.cli.recipe import Settings
from jaxlr.convert.lines import line_of
from jaxlr.convert.optimizers.lines import Lines, lines_of_text
from jaxlr.frameworks import Recipe
from jaxlr.frameworks.lines import tx_line
from jaxlr.frameworks.optimizers import read_optimizer
from jaxlr.frameworks.recipe import OptimizerError


_BESIDES = ("momentum", "weight_decay", "optimizer", "clip")  # what a config states beside the schedule


@dataclasses.dataclass(frozen=True)
class PortConfig(RecipeFlags):
    """Print a torch scheduler or a config file as Python lines, ready to paste.

    Example: jaxlr port "SequentialLR(opt, [LinearLR(opt), StepLR(opt, 30)], [5])" --lr 0.1
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """Torch scheduler in quotes, such as "StepLR(30)"; config or script; flags after --; - for stdin."""

    format: Literal["text", "json"] = "text"
    """Format of the output: Python lines, or a JSON object with them and what was read."""

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
            tx, more = self._tx(source.settings, recipe)
            groups: list[str] = []
            if tx is None:
                groups = [f"Group {self.group} of {', '.join(recipe.groups)}."] if recipe.groups else []
                more = [f"{name}: {result[name]}" for name in _BESIDES if result[name] is not None] + more
            else:
                result["tx"] = tx
            lines = Lines(result["jaxlr"], tx, "", name=_name(recipe))
            printed, comments = lines.code, [_heading(recipe), *groups, *recipe.assumptions, *more]
        if self.format == "json":
            print(json.dumps(result))
        else:
            print(*(f"# {comment}" for comment in comments), printed, sep="\n")

    def _tx(self, settings: Settings, recipe: Recipe) -> tuple[str | None, list[str]]:
        """Return the line of the optimizer of all groups, or None, and comments on it."""
        if self.group != 0:
            return None, []
        try:
            read = read_optimizer(settings, self.lr, **self.config_arguments())
            line, comments = tx_line(read, _name(recipe))
        except OptimizerError as error:
            return None, [f"The optimizer is left out: {error.reason}."]
        except (TypeError, ValueError, ArithmeticError) as error:
            return None, [f"The optimizer is left out: {message_of(error)}."]
        added = [each for each in map(in_flags, read.recipe.assumptions) if each not in recipe.assumptions]
        return line, [*added, *comments]

    @staticmethod
    def _lines(text: str, lr: float | None, group: int, **options: Any) -> Lines:
        return lines_of_text(text, lr, group=group or None, **options)  # by default those of all groups


def _is_schedule(value: Any) -> bool:
    return callable(value) or isinstance(value, optax.GradientTransformation)


def _name(recipe: Recipe) -> str:
    return "plateau" if recipe.unit == "evaluation" else "schedule"


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
