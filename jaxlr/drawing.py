"""Plots of schedules, and the helpers behind every figure of the project."""

import importlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
import optax

from jaxlr._checks import check_positive_count
from jaxlr.schedules.compose import sample


if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Schedules: TypeAlias = optax.Schedule | Sequence[optax.Schedule] | Mapping[str, optax.Schedule]


class Curve(NamedTuple):
    """The learning rate at each count, from 0 on."""

    label: str | None
    rates: np.ndarray  # float64, shape (counts,)
    counts_per_unit: float = 1  # counts per unit of the axis: 391 if it shows epochs of 391 batches

    @property
    def edges(self) -> np.ndarray:
        """Return the position of each count, then the end of the last one: shape (counts + 1,)."""
        return np.arange(len(self.rates) + 1) / self.counts_per_unit


def plot(schedules: Schedules, num_steps: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the learning rate at the counts 0 to `num_steps` - 1 with matplotlib.

    Each count keeps its rate until the next one begins, so the line is a staircase. The scale is
    logarithmic if a quarter of the rates is at least a decade below the highest one and no rate is 0.
    `ax.set_yscale("linear")` undoes that.

    Args:
        schedules: one schedule, a list of them, or a mapping from label to schedule.
        num_steps: number of epochs (or steps) to draw, a whole number >= 1. Each schedule is called once,
            on the host, with an array of all counts of shape (`num_steps`,).
        ax: matplotlib Axes to draw on; by default the current Axes of `matplotlib.pyplot`.

    Returns:
        The Axes, to add a title, change the scales or save `ax.figure`.

    Raises:
        TypeError: a schedule is not callable. The transformation `reduce_lr_on_plateau` is not a schedule:
            it has no curve without the metrics of a run.
        ValueError: there is no schedule, or `num_steps` is not a whole number of at least 1.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxlr import cosine_annealing_lr, step_lr
        >>> schedules = {"steps": step_lr(0.1, 30), "cosine": cosine_annealing_lr(0.1, 90)}
        >>> ax = plot(schedules, num_steps=90, ax=Figure().subplots())
        >>> [line.get_label() for line in ax.get_lines()]
        ['steps', 'cosine']

    Reference: https://matplotlib.org/stable/api/_as_gen/matplotlib.axes.Axes.step.html.
    """
    num_steps = check_positive_count("num_steps", num_steps)
    curves = [
        Curve(label, sample(name, schedule, num_steps)) for name, label, schedule in _listed(schedules)
    ]
    axes = require("matplotlib.pyplot").gca() if ax is None else ax
    draw(axes, curves)
    axes.set_xlabel("epoch (or step)")
    if any(curve.label for curve in curves):
        axes.legend(loc="upper right")  # "best" takes seconds if there are a million steps
    return axes


def draw(ax: "Axes", curves: Sequence[Curve]) -> None:
    """Add curves to `ax` as staircases, and set the scale, the label and the grid."""
    for curve in curves:
        rates = np.append(curve.rates, curve.rates[-1])
        ax.step(curve.edges, rates, where="post", label=curve.label)
    if suits_log_scale(line.get_ydata() for line in ax.get_lines()):
        ax.set_yscale("log")
    ax.set_ylabel("learning rate")
    ax.grid(alpha=0.3)


def draw_log(
    ax: "Axes", schedule: Any, counts: np.ndarray, rates: np.ndarray, expected: np.ndarray
) -> None:
    """Add a schedule to `ax` as a line, and the rates of a log as points, or as crosses if they differ."""
    counts = np.maximum(counts, 0)
    along = np.unique(np.linspace(0, counts.max(), 2000).astype(np.int64))
    curve = [float(schedule(int(count))) for count in along]
    ax.step(along, curve, where="post", label="recipe", color="tab:blue")
    differs = np.abs(rates - expected) > 1e-3 * np.abs(rates).max()
    agrees = np.flatnonzero(~differs)
    agrees = agrees[:: max(1, len(counts) // 400)]  # more points would hide the line
    ax.plot(counts[agrees], rates[agrees], "o", ms=4, mfc="none", label="log", color="tab:orange")
    if differs.any():
        ax.plot(counts[differs], rates[differs], "x", label="log, differs", color="tab:red")
    ax.set_xlabel("count of the schedule")
    ax.set_ylabel("learning rate")
    ax.legend()
    ax.grid(alpha=0.3)


def suits_log_scale(series: Iterable[Any]) -> bool:
    """Return True if a quarter of the values is a decade or more below the highest, and all are above 0.

    Each series has the same weight. The last steps of a cosine are near 0 too, but they are few, and a
    logarithmic scale would give them most of the axis.
    """
    finite = [values[np.isfinite(values)] for values in map(np.asarray, series)]
    finite = [values for values in finite if values.size]
    if not finite or min(values.min() for values in finite) <= 0:
        return False
    bound = max(values.max() for values in finite) / 9.99  # not 10: 0.1 * 0.1 rounds to above 0.01
    return bool(np.mean([np.mean(values <= bound) for values in finite]) >= 0.25)


def new_figure(width: float, height: float) -> "Figure":
    """Return a figure to save to a file, of a size in inches. No window is opened."""
    # On its first use matplotlib reports on stderr that it builds a cache of fonts.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    return require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def require(module: str) -> Any:
    """Import a module of a plotting library, or raise an error that says what to install."""
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        message = f"drawing needs {library}: pip install {library}"
        raise ModuleNotFoundError(message, name=error.name) from error


def _listed(schedules: Any) -> Sequence[tuple[str, str | None, Any]]:
    """Return each schedule with its name for errors and its label for the legend."""
    if isinstance(schedules, Mapping):
        listed = [(f"schedules[{key!r}]", str(key), value) for key, value in schedules.items()]
    elif isinstance(schedules, Sequence) and not isinstance(schedules, str | optax.GradientTransformation):
        names = [f"schedules[{index}]" for index in range(len(schedules))]
        listed = list(zip(names, names, schedules, strict=True))
    else:
        return [("schedules", None, schedules)]
    if not listed:
        raise ValueError("schedules must hold at least one schedule, got none")
    return listed
