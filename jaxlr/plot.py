"""Curves of schedules, and the one place that knows how the project draws."""

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
    """The learning rate of every count, from 0 on."""

    label: str | None
    rates: np.ndarray  # float64, shape (counts,)
    counts_per_unit: int = 1  # of the axis: 391 where counts are batches and the axis shows epochs

    @property
    def edges(self) -> np.ndarray:
        """Where each count begins and, last, where the last one ends: shape (counts + 1,)."""
        return np.arange(len(self.rates) + 1) / self.counts_per_unit


def plot(schedules: Schedules, num_steps: int, ax: "Axes | None" = None) -> "Axes":
    """Draw the learning rate at the counts 0 to `num_steps` - 1 with matplotlib.

    Each count keeps its rate until the next one begins, so the line rises and falls in steps. The rates
    are drawn on a logarithmic scale where a quarter of them lies a decade or more below the highest, and
    none at 0; `ax.set_yscale("linear")` undoes it.

    Args:
        schedules: one schedule, a list of them, or a mapping from label to schedule.
        num_steps: epochs (or steps) to draw, a whole number >= 1; each schedule is called once, on the
            host, with all of them as an array of shape (`num_steps`,).
        ax: matplotlib Axes to draw on; without it the current one of `matplotlib.pyplot`.

    Returns:
        The Axes, for a title, other scales or `ax.figure.savefig`.

    Raises:
        TypeError: a schedule is not callable, such as the transformation `reduce_lr_on_plateau`, which
            has no curve without the metrics of a run.
        ValueError: there is no schedule, or `num_steps` is not a whole number of at least 1.
        ModuleNotFoundError: matplotlib is not installed.

    Example:
        >>> from matplotlib.figure import Figure
        >>> from jaxlr import cosine_annealing_lr, step_lr
        >>> schedules = {"steps": step_lr(0.1, 30), "cosine": cosine_annealing_lr(0.1, 90)}
        >>> ax = plot(schedules, num_steps=90, ax=Figure().subplots())
        >>> [line.get_label() for line in ax.get_lines()]
        ['steps', 'cosine']

    Reference: none in torch, whose documentation draws its schedulers with matplotlib.
    """
    num_steps = check_positive_count("num_steps", num_steps)
    curves = [
        Curve(label, sample(name, schedule, num_steps)) for name, label, schedule in _listed(schedules)
    ]
    axes = require("matplotlib.pyplot").gca() if ax is None else ax
    draw(axes, curves)
    axes.set_xlabel("epoch (or step)")
    if any(curve.label for curve in curves):
        axes.legend(loc="upper right")  # "best" takes seconds of a million steps
    return axes


def draw(ax: "Axes", curves: Sequence[Curve]) -> None:
    """Add curves to `ax`, in steps, with a scale and a grid."""
    for curve in curves:
        rates = np.append(curve.rates, curve.rates[-1])
        ax.step(curve.edges, rates, where="post", label=curve.label)
    if suits_log_scale(line.get_ydata() for line in ax.get_lines()):
        ax.set_yscale("log")
    ax.set_ylabel("learning rate")
    ax.grid(alpha=0.3)


def suits_log_scale(series: Iterable[Any]) -> bool:
    """Whether a quarter of the values, each series counting alike, lies a decade or more below the highest.

    And whether none is at 0 or below. The last steps of a cosine next to 0 are no reason: they would take
    most of the axis.
    """
    finite = [values[np.isfinite(values)] for values in map(np.asarray, series)]
    finite = [values for values in finite if values.size]
    if not finite or min(values.min() for values in finite) <= 0:
        return False
    bound = max(values.max() for values in finite) / 9.99  # 0.1 * 0.1 is a rounding above a hundredth
    return bool(np.mean([np.mean(values <= bound) for values in finite]) >= 0.25)


def new_figure(width: float, height: float) -> "Figure":
    """A figure for a file, in inches; no window is opened for it."""
    # On its first day on a machine matplotlib says on stderr that it builds a cache of fonts.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    return require("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def require(module: str) -> Any:
    """A module of a library that draws, or what to install."""
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        message = f"drawing needs {library}: pip install {library}"
        raise ModuleNotFoundError(message, name=error.name) from error


def _listed(schedules: Any) -> Sequence[tuple[str, str | None, Any]]:
    """Each schedule with the name that an error gives it and its label in the legend."""
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
