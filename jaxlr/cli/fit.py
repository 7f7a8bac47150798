"""The command `jaxlr fit`: find the schedules that have the rates of a log."""

import json
from typing import Any

from jaxlr.cli.flags import FitFlags
from jaxlr.cli.verify import unreadable, write_plot
from jaxlr.flags.errors import RecipeError
from jaxlr.flags.recipe import message_of
from jaxlr.logs import Fit, fit
from jaxlr.logs.comparisons import rates_of


def run(flags: FitFlags) -> int:
    """Print the schedules, and return the exit status."""
    try:
        found = fit(flags.log, step_column=flags.step_column, rate_column=flags.rate_column)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise RecipeError(message_of(error)) from error
    except OSError as error:
        raise RecipeError(unreadable(flags.log, error)) from error
    if flags.plot is not None:
        best = found.candidates[0]
        expected = rates_of(best.schedule, best.counts)
        write_plot(best.schedule, best.counts, found.rates, expected, flags.plot)
    print(json.dumps(_as_json(found)) if flags.format == "json" else _as_text(found, flags.log.name))
    return 0 if found.agrees else 1


def _as_text(found: Fit, name: str) -> str:
    """Return the candidates as Python, with comments above each."""
    plural = "s" if found.num_points > 1 else ""
    lines = [f"# {name} ({found.kind}): {found.num_points} rate{plural} in {found.column}"]
    lines += [f"# {note}" for note in found.notes]
    if not found.agrees:
        lines.append("# No schedule that is tried agrees with all rates. This is the nearest one:")
    elif len(found.candidates) > 1:
        lines.append(f"# {len(found.candidates)} schedules agree equally well:")
    for candidate in found.candidates:
        deviation = f"largest deviation {candidate.largest_deviation:.1e} of the highest rate"
        own = [note for note in candidate.notes if note not in found.notes]
        lines += [f"# {candidate.kind}: {deviation}", *(f"# {note}" for note in own)]
        lines.append(candidate.line)
    return "\n".join(lines)


def _as_json(found: Fit) -> dict[str, Any]:
    candidates = [
        {name: value for name, value in each._asdict().items() if name not in ("schedule", "counts")}
        for each in found.candidates
    ]
    fields = {name: value for name, value in found._asdict().items() if name != "rates"}
    return {**fields, "candidates": candidates}
