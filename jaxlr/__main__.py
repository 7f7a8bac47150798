"""The command `jaxlr`, also as `python -m jaxlr`."""

import contextlib
import logging
import os
import signal
import sys

from jaxlr import __version__
from jaxlr._extras import check_installed


def run() -> None:
    """Run the command line in a process of its own, and end the process after an error.

    Threads of JAX and Orbax may then wait for something that never comes, and Python would wait for them.
    """
    # The command only writes files. The backend of a notebook may not be installed here.
    os.environ["MPLBACKEND"] = "agg"
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it warns if it cannot write to HOME
    try:
        main()
        return
    except SystemExit as stop:
        if not stop.code or not isinstance(stop.code, int):  # no error, or a text that Python prints
            raise
        status = stop.code
    except Exception as error:
        sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):  # the disk is full, or nobody reads
            stream.flush()
    os._exit(status)


def main() -> None:
    """Run the command line, or say what to install for it."""
    # Until there is something to save, Ctrl-C ends the process at once, as SIGTERM does. An exception could
    # be lost in a callback of JAX, or end Python while a thread still compiles.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:] == ["--version"]:
        print(f"jaxlr {__version__}")
        return
    try:
        check_installed("cli")
        from jaxlr.cli import main

        main()
    except ModuleNotFoundError as error:
        _refuse(str(error))
    except ImportError as error:
        _refuse(f"a package cannot be loaded: {error}; it may need more memory, or to be installed again")
    except (MemoryError, SystemError):  # a SystemError comes from C code that ignored a lack of memory
        _refuse("there is not enough memory: raise the limit of the process, see ulimit -v")


def _refuse(message: str) -> None:
    with contextlib.suppress(OSError):
        print(f"jaxlr: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    run()
