"""The command `jaxlr port`: print the Python line that a recipe becomes."""

import json
from typing import Any

import optax

from jaxlr.cli.flags import PortFlags
from jaxlr.cli.recipes import config_arguments, convert, recipe_of
from jaxlr.convert.lines import line_of
from jaxlr.convert.optimizers.lines import Lines, lines_of_text
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import Settings, message_of, read_recipe
from jaxlr.frameworks import Recipe
from jaxlr.frameworks.lines import tx_line
from jaxlr.frameworks.optimizers import read_optimizer
from jaxlr.frameworks.recipe import OptimizerError


_BESIDES = ("momentum", "weight_decay", "optimizer", "clip")  # what a config states beside the schedule


def run(flags: PortFlags) -> None:
    """Print the lines, below comments that state what they need and what was assumed."""
    source = read_recipe(flags.recipe, flags.framework)
    if source.settings is None:
        values, lines = _of_text(flags, source.text)
    else:
        values, lines = _of_config(flags, source.settings)
    if lines.tx is not None:
        values["tx"] = lines.tx
    print(json.dumps(values) if flags.format == "json" else lines.text)


def _of_text(flags: PortFlags, text: str) -> tuple[dict[str, Any], Lines]:
    lines = convert(flags, _lines_of_text, text, flags.epochs)
    comments = tuple(map(in_flags, lines.comments))
    return {"jaxlr": lines.schedule, "torch": lines.torch}, lines._replace(comments=comments)


def _of_config(flags: PortFlags, settings: Settings) -> tuple[dict[str, Any], Lines]:
    recipe = recipe_of(flags, settings)
    fields = {"jaxlr": recipe.schedule, **recipe._asdict()}
    del fields["schedule"]
    values = {name: _line(value) if _is_schedule(value) else value for name, value in fields.items()}
    comments = [_heading(recipe)]
    tx, about_tx = _tx(flags, settings, recipe)
    if tx is None and recipe.groups:
        comments.append(f"Group {flags.group} of {', '.join(recipe.groups)}.")
    comments += recipe.assumptions
    if tx is None:
        comments += [f"{name}: {values[name]}" for name in _BESIDES if values[name] is not None]
    comments += about_tx
    return values, Lines(values["jaxlr"], tx, "", tuple(comments), _name(recipe))


def _tx(flags: PortFlags, settings: Settings, recipe: Recipe) -> tuple[str | None, list[str]]:
    """Return the line of the optimizer of all groups, or None, and comments on it."""
    if flags.group != 0:
        return None, []
    try:
        read = read_optimizer(settings, flags.lr, **config_arguments(flags))
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
