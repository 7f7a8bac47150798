"""The command `jaxlr port`: print the Python line that a recipe becomes."""

import dataclasses
import json
from typing import Annotated, Any, Literal

import optax
import tyro

from jaxlr.cli.flags import RecipeFlags
from jaxlr.convert.lines import line_of
from jaxlr.convert.optimizers.lines import Lines, lines_of_text
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import Settings, message_of
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
        """Print the lines, below comments that state what they need and what was assumed."""
        source = self.read(self.recipe)
        if source.settings is None:
            values, lines = self._of_text(source.text)
        else:
            values, lines = self._of_config(source.settings)
        if lines.tx is not None:
            values["tx"] = lines.tx
        print(json.dumps(values) if self.format == "json" else lines.text)

    def _of_text(self, text: str) -> tuple[dict[str, Any], Lines]:
        lines = self.convert(_lines_of_text, text, self.epochs)
        comments = tuple(map(in_flags, lines.comments))
        return {"jaxlr": lines.schedule, "torch": lines.torch}, lines._replace(comments=comments)

    def _of_config(self, settings: Settings) -> tuple[dict[str, Any], Lines]:
        recipe = self.from_config(settings)
        fields = {"jaxlr": recipe.schedule, **recipe._asdict()}
        del fields["schedule"]
        values = {name: _line(value) if _is_schedule(value) else value for name, value in fields.items()}
        comments = [_heading(recipe)]
        tx, about_tx = self._tx(settings, recipe)
        if tx is None and recipe.groups:
            comments.append(f"Group {self.group} of {', '.join(recipe.groups)}.")
        comments += recipe.assumptions
        if tx is None:
            comments += [f"{name}: {values[name]}" for name in _BESIDES if values[name] is not None]
        comments += about_tx
        return values, Lines(values["jaxlr"], tx, "", tuple(comments), _name(recipe))

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


def _lines_of_text(text: str, lr: float | None, group: int, **options: Any) -> Lines:
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
