"""The figures of a run and of a sweep: losses above, learning rates below."""

import contextlib
import importlib
import textwrap
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlr.drawing import new_figure, suits_log_scale
from jaxlr.train.output.records import replacing


def load_in_background() -> None:
    """Import matplotlib in a thread, while the run compiles its program and trains."""
    threading.Thread(target=_load, daemon=True).start()


def plot_curves(history: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the losses and the learning rate of a run, epoch by epoch, into an image file.

    Args:
        history: one dict per epoch, as in metrics.jsonl.
        path: the file. Its suffix sets the format; an existing file is replaced.
        title: the settings of the run, in one line.
    """
    epochs = [row["epoch"] for row in history]
    figure = new_figure(7, 5.5)
    above, below = _panels(figure, title)
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        above.plot(epochs, [row[name] for row in history], marker=".", label=label)
    above.set_ylabel("loss (mean over samples)")
    above.legend(frameon=False)
    # The learning rate is constant within an epoch, so the line is drawn in steps.
    below.step(epochs, [row["lr"] for row in history], where="mid", marker=".", color="C2")
    _save(figure, path)


class SeedCurves(NamedTuple):
    """The curves of one scheduler at one learning rate, for several seeds."""

    label: str
    valid_loss: np.ndarray  # shape (seeds, epochs)
    lr: np.ndarray  # shape (seeds, epochs)


def plot_sweep(curves: Sequence[SeedCurves], path: Path, title: str) -> None:
    """Draw validation losses and learning rates: a line for the mean over seeds, a band for their range.

    Args:
        curves: in the order of the legend.
        path: the file. Its suffix sets the format; an existing file is replaced.
        title: the settings of the sweep, in one line.
    """
    figure = new_figure(8, 7)
    above, below = _panels(figure, title)
    for number, curve in enumerate(curves):
        style = _line_style(number, len(curves))
        _draw_band(above, curve.valid_loss, curve.label, None, style)
        _draw_band(below, curve.lr, curve.label, "mid", style)
    above.set_ylabel("validation loss (mean and range)")
    handles, labels = above.get_legend_handles_labels()
    for text in figure.legend(handles, labels, loc="outside lower center", frameon=False).get_texts():
        text.set_parse_math(False)  # a $ in the user's text starts no formula
    _save(figure, path)


def _line_style(number: int, total: int) -> dict[str, Any]:
    """Return the style of one of `total` lines: ten colours, then the same ten dashed, and so on."""
    return {
        "color": f"C{number % 10}",
        "linestyle": ("-", "--", ":", "-.")[number // 10 % 4],
        # Curves can coincide, such as those of StepLR(10) and MultiStepLR([10, 20]) in 25 epochs. The first
        # lines are the thickest, so that they remain visible below the later ones.
        "linewidth": 1.2 + 3 * (1 - (number + 1) / total),
    }


def _draw_band(axes: Any, values: np.ndarray, label: str, step: str | None, style: dict[str, Any]) -> None:
    epochs = np.arange(values.shape[1])
    drawstyle = "steps-mid" if step else "default"
    axes.plot(epochs, values.mean(axis=0), label=label, drawstyle=drawstyle, **style)
    low, high = values.min(axis=0), values.max(axis=0)
    axes.fill_between(epochs, low, high, step=step, color=style["color"], alpha=0.15, linewidth=0)


def _load() -> None:
    with contextlib.suppress(Exception):  # the drawing imports it again, and raises the error
        new_figure(1, 1)
        importlib.import_module("matplotlib.backends.backend_agg")  # for image files


def _panels(figure: Any, title: str) -> tuple[Any, Any]:
    """Add axes for losses above and for learning rates below, with a common epoch axis."""
    from matplotlib.ticker import MaxNLocator

    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    # The title is the user's text. It may be long, and a $ in it starts no formula.
    figure.suptitle(textwrap.shorten(title, 90), fontsize=10, parse_math=False)
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    return above, below


def _save(figure: Any, path: Path) -> None:
    """Write the figure to `path`, with logarithmic axes where the values span decades."""
    for axes in figure.axes:
        axes.grid(alpha=0.3)
        if suits_log_scale(line.get_ydata() for line in axes.get_lines()):
            axes.set_yscale("log")
    with replacing(path) as scratch:
        figure.savefig(scratch, dpi=150, format=path.suffix[1:])
