"""What a run leaves behind for the eye."""

import contextlib
import json
import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxlr.plot import new_figure, suits_log_scale


class MetricsLog(contextlib.ExitStack):
    """metrics.jsonl in a new file, a line for each epoch as it ends, and TensorBoard scalars if asked."""

    def __init__(self, folder: Path, tensorboard: bool):
        super().__init__()
        self._file = self.enter_context((folder / "metrics.jsonl").open("x"))
        self._writer = None
        if tensorboard:
            from tensorboardX import SummaryWriter

            self._writer = self.enter_context(SummaryWriter(str(folder)))

    def write(self, row: dict[str, Any]) -> None:
        """Write the numbers of one epoch."""
        self._file.write(json.dumps(_as_json(row)) + "\n")
        self._file.flush()
        if self._writer:
            for name, value in row.items():
                self._writer.add_scalar(name, value, row["epoch"])


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write `value` to a new file; a path in it becomes a string."""
    with path.open("x") as file:
        file.write(json.dumps(_as_json(value), indent=2, default=str) + "\n")


def plot_curves(history: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw the losses above and the learning rate below, epoch by epoch, into an image file.

    Args:
        history: one dict per epoch, as in metrics.jsonl.
        path: the file; its suffix is the format.
        title: the recipe, in one line.
    """
    from matplotlib.ticker import MaxNLocator

    epochs = [row["epoch"] for row in history]
    figure = new_figure(7, 5.5)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    # A recipe is text of the user's: one line of it, and never a formula.
    figure.suptitle(textwrap.shorten(title, 90), fontsize=10, parse_math=False)
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        above.plot(epochs, [row[name] for row in history], marker=".", label=label)
    above.set_ylabel("loss (mean over samples)")
    above.legend(frameon=False)
    # Each epoch keeps one learning rate, so the line is drawn in steps.
    below.step(epochs, [row["lr"] for row in history], where="mid", marker=".", color="C2")
    below.set_ylabel("learning rate")
    below.set_xlabel("epoch")
    below.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (above, below):
        axes.grid(alpha=0.3)
        if suits_log_scale(line.get_ydata() for line in axes.get_lines()):
            axes.set_yscale("log")
    figure.savefig(path, dpi=150)


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN and no infinity: a loss that is either becomes null."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in row.items()
    }
