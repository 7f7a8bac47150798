"""The command `jaxlr verify`: compare a recipe with the rates that a run logged."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import tyro

from jaxlr.cli.flags import RecipeFlags
from jaxlr.cli.plot import save_image
from jaxlr.drawing import draw_log, new_figure
from jaxlr.flags.errors import RecipeError, in_flags
from jaxlr.flags.recipe import message_of
from jaxlr.logs import Verification, verify


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogFlags:
    """The flags of a command that reads a log."""

    step_column: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Column of LOG with the steps. Default: found by its name."""

    rate_column: Annotated[str | None, tyro.conf.arg(metavar="NAME", help_behavior_hint="")] = None
    """Column of LOG with the rates. Default: found by its name."""

    plot: Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="")] = None
    """Image to write: the curve with the logged points."""

    format: Literal["text", "json"] = "text"
    """Output: lines to read, or a JSON object."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyFlags(LogFlags, RecipeFlags):
    """The flags of a log, and of a recipe whose missing numbers may be found in the log."""

    lr: Annotated[float | None, tyro.conf.arg(metavar="FLOAT", help_behavior_hint="")] = None
    """Learning rate of the optimizer. Default: from RECIPE or LOG."""

    steps_per_epoch: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Batches in an epoch. Default: from RECIPE or LOG."""

    epochs: Annotated[int | None, tyro.conf.arg(metavar="INT", help_behavior_hint="")] = None
    """Epochs of the run. Default: from RECIPE."""

    framework_version: Annotated[str | None, tyro.conf.arg(metavar="VERSION", help_behavior_hint="")] = None
    """Version of the framework, such as 4.46. Default: from LOG."""


@dataclasses.dataclass(frozen=True)
class VerifyConfig(VerifyFlags):
    """Compare a recipe with the rates in the log of a run.

    Example: jaxlr verify README.md trainer_state.json
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """Torch scheduler in quotes, config file or script, or - for standard input."""

    log: Annotated[
        tyro.conf.Positional[Path],
        tyro.conf.arg(
            metavar="LOG",
            help="Log or folder of a run: trainer_state.json, results.csv, metrics.csv, JSON lines, an "
            "event file of TensorBoard. Exit status: 0 if all rates agree, 1 if not, 2 if something "
            "cannot be read.",
        ),
    ]

    def run(self) -> int:
        """Print the comparison, and return the exit status."""
        source = self.read(self.recipe)
        try:
            result = verify(
                source.text if source.settings is None else source.settings,
                self.log,
                self.lr,
                **self.config_arguments(),
                step_column=self.step_column,
                rate_column=self.rate_column,
            )
        except (TypeError, ValueError, ArithmeticError) as error:
            raise RecipeError(message_of(error)) from error
        except OSError as error:
            hint = ": give LOG after RECIPE" if Path(self.recipe).is_file() else ""
            raise RecipeError(unreadable(self.log, error) + hint) from error
        if self.plot is not None:
            write_plot(result.schedule, result.counts, result.rates, result.expected, self.plot)
        print(json.dumps(as_json(result)) if self.format == "json" else as_text(result, self.log.name))
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
