"""The command `jaxlr`, which is `python -m jaxlr` too."""

import signal
import sys

from jaxlr import __version__


def main() -> None:
    """Run the command line, or say what to install for it."""
    # Ctrl-C ends it at once, as SIGTERM does, until there is something to save: an exception would be lost
    # in a callback of JAX's, or end Python beside a thread that compiles.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:] == ["--version"]:
        print(f"jaxlr {__version__}")
        return
    try:
        import jaxlr.train  # noqa: F401 - it says what it lacks
    except ModuleNotFoundError as error:
        print(f"jaxlr: error: {error}", file=sys.stderr)
        sys.exit(2)
    from jaxlr import cli

    cli.main()


if __name__ == "__main__":
    main()
