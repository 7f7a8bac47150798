"""The command `jaxlr table`: print the learning rates of a scheduler."""

import json
from collections.abc import Iterator, Sequence

import numpy as np

from jaxlr.cli.flags import TableFlags
from jaxlr.cli.recipes import as_json, curve_of
from jaxlr.flags.errors import RecipeError
from jaxlr.flags.recipe import read_recipe


def run(flags: TableFlags) -> None:
    """Print the table. Every rate is the shortest decimal that reads back as the same float64."""
    source = read_recipe(flags.recipe, flags.framework)
    if source.settings is not None and flags.step_per != "auto":
        raise RecipeError("--step-per is for torch schedulers: leave it out, a config states its own unit")
    curve = curve_of(flags, source)
    counts = np.arange(len(curve.rates))
    if flags.changes:
        counts = counts[np.diff(curve.rates, prepend=np.nan) != 0]
    rows = list(zip(counts.tolist(), curve.rates[counts].tolist(), strict=True))
    write = {"text": _text, "csv": _csv, "json": _json}[flags.format]
    for line in write(curve.unit, rows):
        print(line)


def _text(unit: str, rows: Sequence[tuple[int, float]]) -> Iterator[str]:
    width = max(len(unit), len(str(rows[-1][0])))
    yield f"{unit:>{width}}  lr"
    for count, rate in rows:
        yield f"{count:{width}}  {rate!r}"


def _csv(unit: str, rows: Sequence[tuple[int, float]]) -> Iterator[str]:
    yield f"{unit},lr"
    for count, rate in rows:
        yield f"{count},{rate!r}"


def _json(unit: str, rows: Sequence[tuple[int, float]]) -> Iterator[str]:
    for count, rate in rows:
        yield json.dumps({unit: count, "lr": as_json(rate)})
