"""The command `jaxlr`, also as `python -m jaxlr`."""

import signal
import sys

from jaxlr import __version__
from jaxlr._extras import check_installed


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
    except ModuleNotFoundError as error:
        print(f"jaxlr: error: {error}", file=sys.stderr)
        sys.exit(2)
    from jaxlr.cli import main

    main()


if __name__ == "__main__":
    main()
