"""Signals that ask a run to stop."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType
from typing import Self


_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupt:
    """While it is entered, the first SIGINT or SIGTERM is a request, and the second ends the process.

    A thread listens, because Python's own handlers wait until compiled code returns: minutes, maybe.
    Outside of the main thread, where Python allows no handlers, it does nothing.
    """

    def __init__(self) -> None:
        self.number: signal.Signals | None = None  # of the request, once there is one

    def __enter__(self) -> Self:
        self._handlers = {}
        if threading.current_thread() is not threading.main_thread():
            return self
        # What the parent had ignored, as for a job in the background of a script, stays ignored.
        handlers = {number: signal.getsignal(number) for number in _SIGNALS}
        wanted = [number for number in _SIGNALS if handlers[number] not in (signal.SIG_IGN, None)]
        if wanted:
            self._inlet, self._outlet = os.pipe()
            os.set_blocking(self._outlet, False)
            self._wakeup_fd = signal.set_wakeup_fd(self._outlet, warn_on_full_buffer=False)
            self._handlers = {number: signal.signal(number, _leave_to_the_listener) for number in wanted}
            threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._handlers:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(self._wakeup_fd)
            os.close(self._outlet)  # which ends the listener

    def _listen(self) -> None:
        while byte := os.read(self._inlet, 1):
            if byte[0] not in self._handlers:
                continue
            if self.number is not None:
                os._exit(128 + byte[0])
            self.number = signal.Signals(byte[0])
            print(
                f"jaxlr: {self.number.name}: stopping after this epoch; once more to stop at once",
                file=sys.stderr,
                flush=True,
            )
        os.close(self._inlet)


def _leave_to_the_listener(number: int, frame: FrameType | None) -> None:
    """Has been told by the wakeup descriptor already."""
