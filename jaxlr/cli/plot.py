"""The command `jaxlr plot`: draw schedules in the terminal or into a file."""

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxlr.cli.flags import PlotFlags
from jaxlr.cli.parse import NARROWEST
from jaxlr.cli.recipes import RecipeCurve, as_json, curve_of
from jaxlr.drawing import Curve, draw, new_figure, require, suits_log_scale
from jaxlr.flags.errors import RecipeError
from jaxlr.flags.recipe import read_recipe


_WIDEST, _HEIGHT = 1000, 17  # characters of a line, and the height of the axes
_TICKS = 5  # one at each quarter of the axes
_FRAME_IN_ASCII = str.maketrans("┌┐└┘─│", "++++-|")


def run(flags: PlotFlags) -> None:
    """Draw the curves. The axis shows epochs, or the unit that all recipes count."""
    recipes = [curve_of(flags, read_recipe(recipe, flags.framework)) for recipe in flags.recipes]
    unit, curves = _on_one_axis(recipes)
    if flags.out is not None:
        _write_image(unit, curves, flags.out)
    if flags.format == "json":
        for recipe in recipes:
            print(_as_json(recipe))
    else:
        print(_as_text(unit, curves) if flags.out is None else f"wrote {flags.out}")


def _on_one_axis(recipes: Sequence[RecipeCurve]) -> tuple[str, list[Curve]]:
    """Return the unit of the axis, and the curves over it."""
    units = {recipe.unit for recipe in recipes}
    if len(units) == 1 and units != {"step"}:
        return units.pop(), [Curve(recipe.label, recipe.rates) for recipe in recipes]
    curves: list[Curve] = []
    for label, rates, _, counts_per_epoch in recipes:
        if counts_per_epoch is None:
            counted = " and ".join(f"{unit}s" for unit in sorted(units))
            raise RecipeError(
                f"the recipes count {counted}: give --epochs, to draw them over one axis of epochs"
            )
        curves.append(Curve(label, rates, counts_per_epoch))
    return "epoch", curves


def _write_image(unit: str, curves: Sequence[Curve], path: Path) -> None:
    figure = new_figure(7, 4.5)
    ax = figure.subplots()
    draw(ax, curves)
    ax.set_xlabel(unit)
    for text in figure.legend(loc="outside upper left", frameon=False).get_texts():
        text.set_parse_math(False)  # a $ in the user's text starts no formula
    save_image(figure, path, "--out")


def save_image(figure: Any, path: Path, flag: str) -> None:
    """Write a figure to the path that `flag` gives.

    Raises:
        RecipeError: it is not the path of an image, or cannot be written.
    """
    if path.suffix[1:].lower() not in figure.canvas.get_supported_filetypes():
        raise RecipeError(f"{flag} must end in .png, .svg, .pdf or the like, got {str(path)!r}")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise RecipeError(f"{flag}: cannot write {str(path)!r}: {error.strerror or error}") from error


def _as_json(curve: RecipeCurve) -> str:
    rates = [as_json(rate) for rate in curve.rates.tolist()]
    return json.dumps({"scheduler": curve.label, curve.unit: [*range(len(rates))], "lr": rates})


def _as_text(unit: str, curves: Sequence[Curve]) -> str:
    """Draw the curves in characters. Without colours, each curve has its own character."""
    shows_blocks = (sys.stdout.encoding or "").lower().startswith("utf")
    shows_colors = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    rates = [np.where(np.isfinite(curve.rates), curve.rates, np.nan) for curve in curves]
    is_log = suits_log_scale(rates)
    y_ticks, limits = _ticks(np.concatenate(rates), is_log)
    end = max(curve.edges[-1] for curve in curves)
    x_ticks = [f"{count:g}" for count in np.linspace(0, end, _TICKS)]
    columns = min(max(shutil.get_terminal_size().columns, NARROWEST), _WIDEST)
    quarter = (columns - len("|| ") - max(map(len, y_ticks))) // (_TICKS - 1)
    drawing = require("uniplot").plot_to_string(
        xs=[np.repeat(curve.edges, 2)[1:-1] for curve in curves],
        ys=[np.repeat(each, 2) for each in rates],
        **limits,
        **dict.fromkeys(("x_labels", "y_labels"), False),  # uniplot would round 0.025 to 0.03
        **dict.fromkeys(("x_gridlines", "y_gridlines"), ()),
        lines=True,
        y_as_log=is_log,
        title=f"learning rate by {unit}",
        legend_labels=[curve.label for curve in curves],
        color=shows_colors and len(curves) > 1,
        character_set="block" if shows_blocks and (shows_colors or len(curves) == 1) else "ascii",
        width=quarter * (_TICKS - 1),
        height=_HEIGHT,
    )
    lines = drawing.splitlines()
    for row, tick in zip(range(2, 2 + _HEIGHT, _HEIGHT // (_TICKS - 1)), y_ticks, strict=True):
        lines[row] += f" {tick}"
    lines.insert(3 + _HEIGHT, " " + "".join(tick.ljust(quarter) for tick in x_ticks).rstrip())
    drawing = "\n".join(lines)
    return drawing if shows_blocks else drawing.translate(_FRAME_IN_ASCII)


def _ticks(rates: np.ndarray, is_log: bool) -> tuple[list[str], dict[str, float]]:
    """Return the labels of the axis of rates, from the top, and its limits."""
    finite = rates[np.isfinite(rates)]
    if is_log:
        ticks = np.geomspace(finite.max(), finite.min(), _TICKS)
    else:
        ticks = np.linspace(finite.max(initial=0) or 1.0, finite.min(initial=0), _TICKS)
    return [f"{tick:.3g}" for tick in ticks], {"y_min": float(ticks[-1]), "y_max": float(ticks[0])}
