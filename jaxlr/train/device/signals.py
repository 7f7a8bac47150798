"""Signals that ask a run to stop."""

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Self

from jaxlr._streams import write


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """A request to stop: the first SIGINT or SIGTERM in the context. The second one ends the process.

    A thread listens for the signals, because Python would call a handler only after the compiled code
    returns, which can take minutes. Outside of the main thread, where Python allows no handlers, the
    context has no effect.

    Attributes:
        number: the signal that asked for the stop, or None.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None

    def __enter__(self) -> Self:
        self._handlers = {}
        if threading.current_thread() is not threading.main_thread():
            return self
        # A signal that this process inherited as ignored stays ignored. A shell script makes a background
        # job ignore SIGINT, for example.
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        handled = [number for number in _SIGNALS if handlers[number] not in (signal.SIG_IGN, None)]
        if handled:
            self._read_end, self._write_end = os.pipe()
            os.set_blocking(self._write_end, False)
            self._wakeup_fd = signal.set_wakeup_fd(self._write_end, warn_on_full_buffer=False)
            self._handlers = {number: signal.signal(number, _do_nothing) for number in handled}
            threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._handlers:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_fd)
            os.close(self._write_end)  # this ends the listener

    def _listen(self) -> None:
        while byte := os.read(self._read_end, 1):
            if byte[0] not in self._handlers:
                continue
            if self.number is not None:
                os._exit(128 + byte[0])
            self.number = signal.Signals(byte[0])
            name = self.number.name
            line = f"jaxlr: {name}: stopping after this epoch; repeat the signal to stop at once\n"
            with contextlib.suppress(OSError):  # the reader has gone
                write(sys.stderr, line, lambda: True)  # a second signal must not wait for a reader
        os.close(self._read_end)


def _do_nothing(number: int, frame: FrameType | None) -> None:
    """Replace the default handler. The listener reads the signal from the wakeup descriptor."""
