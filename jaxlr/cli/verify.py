"""The command `jaxlr verify`: compare a recipe with the rates that a run logged."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from jaxlr.cli.flags import VerifyFlags
from jaxlr.cli.plot import save_image
from jaxlr.cli.recipes import config_arguments
from jaxlr.drawing import draw_log, new_figure
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import message_of, read_recipe
from jaxlr.logs import Verification, verify


def run(flags: VerifyFlags) -> int:
    """Print the comparison, and return the exit status."""
    source = read_recipe(flags.recipe, flags.framework)
    try:
        result = verify(
            source.text if source.settings is None else source.settings,
            flags.log,
            flags.lr,
            **config_arguments(flags),
            step_column=flags.step_column,
            rate_column=flags.rate_column,
        )
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeError(message_of(error)) from error
    except OSError as error:
        hint = ": give LOG after RECIPE" if Path(flags.recipe).is_file() else ""
        raise RecipeError(unreadable(flags.log, error) + hint) from error
    if flags.plot is not None:
        write_plot(result.schedule, result.counts, result.rates, result.expected, flags.plot)
    print(json.dumps(as_json(result)) if flags.format == "json" else as_text(result, flags.log.name))
    return 0 if result.agrees else 1


def unreadable(log: Path, error: OSError) -> str:
    """Return the error of a log that cannot be opened."""
    return f"cannot read {str(log)!r}: {error.strerror or error}"


def as_text(result: Verification, name: str) -> str:
    """Return the lines of a comparison."""
    all_rates = f"{result.num_points} rate{'s' if result.num_points > 1 else ''}"
    number = f"{all_rates} in {result.column}"
    lines = [("log", f"{name} ({result.kind}): {number}, {result.printed_digits} digits")]
    lines += [("", note) for note in result.notes]
    lines.append(("recipe", f"{result.num_agreeing} of {result.num_points} agree as it is"))
    if result.first_disagreement is not None:
        step, logged, expected = result.first_disagreement
        lines.append(
            ("", f"the first that differs is step {step:g}: logged {logged:g}, recipe {expected:g}")
        )
    lines += [("" if index else "explained", reason) for index, reason in enumerate(result.explanations)]
    if result.num_explained == result.num_points:
        every = f"all {all_rates} agree" if result.num_points > 1 else "the only rate agrees"
        verdict = f"{every} to {result.digits} digits"
        if not result.agrees:
            verdict += ", but not with the recipe as it is"
    else:
        verdict = f"{result.num_points - result.num_explained} of {all_rates} differ"
        if not result.explanations:
            verdict += ", and nothing that is tried explains them"
    lines.append(("result", verdict))
    return "\n".join(f"{title:<10} {in_flags(text)}" for title, text in lines)


def as_json(result: Verification) -> dict[str, Any]:
    """Return a comparison as JSON."""
    arrays = ("schedule", "counts", "steps", "rates", "expected")
    fields = {name: value for name, value in result._asdict().items() if name not in arrays}
    first = result.first_disagreement
    return {**fields, "first_disagreement": None if first is None else first._asdict()}


def write_plot(
    schedule: Any, counts: np.ndarray, rates: np.ndarray, expected: np.ndarray, path: Path
) -> None:
    """Write an image of a schedule with the logged points on it."""
    figure = new_figure(7, 4.5)
    draw_log(figure.subplots(), schedule, counts, rates, expected)
    save_image(figure, path, "--plot")
