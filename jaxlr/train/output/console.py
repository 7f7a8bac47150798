"""The standard output of a run or a sweep, and its progress bar."""

import os
import sys
import warnings
from collections.abc import Iterable
from typing import Any, Literal

from jaxlr._streams import write
from jaxlr.train.device.signals import Interrupt
from jaxlr.train.output.records import as_json_line


class Console:
    """Lines and results on stdout, and a progress bar on stderr if that is a terminal.

    Args:
        quiet: print nothing.
        format: `text` prints lines to read, `json` prints one JSON object for each result.

    Attributes:
        interrupt: a request to stop. Once there is one, a line that nobody reads is dropped.
    """

    def __init__(self, quiet: bool, format: Literal["text", "json"]):
        self._quiet, self._format = quiet, format
        self.interrupt: Interrupt | None = None
        self.shows_progress: bool = not quiet and sys.stderr.isatty()

    def say(self, line: str) -> None:
        """Print a line for people. With `json` it is left out."""
        if not self._quiet and self._format == "text":
            self._print(line)

    def show(self, results: Iterable[dict[str, Any]], lines: Iterable[str]) -> None:
        """Print results: one JSON object for each, or `lines` that say the same."""
        if not self._quiet:
            for line in map(as_json_line, results) if self._format == "json" else lines:
                self._print(line)

    def progress(self, done: int, total: int) -> Any:
        """Return a progress bar of `total` epochs, of which `done` are complete."""
        from tqdm import tqdm

        return tqdm(total=total, initial=done, unit="epoch", disable=not self.shows_progress)

    def _is_stopping(self) -> bool:
        return self.interrupt is not None and self.interrupt.number is not None

    def _print(self, line: str) -> None:
        from tqdm import tqdm

        with tqdm.external_write_mode(sys.stdout):  # above the progress bar
            try:
                write(sys.stdout, f"{line}\n", self._is_stopping)
            except OSError as error:  # a reader that has gone, such as `head`, must not end the run
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
                warnings.warn(f"the output is not written any more: {error.strerror}", stacklevel=2)
