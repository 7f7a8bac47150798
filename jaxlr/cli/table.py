"""The command `jaxlr table`: print the learning rates of a scheduler."""

import dataclasses
import json
from collections.abc import Iterator, Sequence
from typing import Annotated, Literal

import numpy as np
import tyro

from jaxlr.cli.flags import CurveFlags, as_json
from jaxlr.flags.errors import RecipeError


@dataclasses.dataclass(frozen=True)
class TableConfig(CurveFlags):
    """Print the learning rates of a torch scheduler or a config file, one per epoch, step or update.

    Example: jaxlr table "MultiStepLR([30, 60])" --lr 0.1 --epochs 90 --changes
    """

    recipe: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RECIPE")]
    """Torch scheduler in quotes, such as "StepLR(30)"; config or script; flags after --; - for stdin."""

    format: Literal["text", "csv", "json"] = "text"
    """Format of the output: columns, comma-separated values, or one JSON object per line."""

    changes: bool = False
    """Print only the counts at which the rate changes, and the first one."""

    def run(self) -> None:
        """Print the table. Every rate is the shortest decimal that reads back as the same float64."""
        source = self.read(self.recipe)
        if source.settings is not None and self.step_per != "auto":
            raise RecipeError(
                "--step-per is for torch schedulers: leave it out, a config states its own unit"
            )
        curve = self.curve(source)
        counts = np.arange(len(curve.rates))
        if self.changes:
            counts = counts[np.diff(curve.rates, prepend=np.nan) != 0]
        rows = list(zip(counts.tolist(), curve.rates[counts].tolist(), strict=True))
        write = {"text": _text, "csv": _csv, "json": _json}[self.format]
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
