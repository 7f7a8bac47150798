"""The command `jaxlr`, which is `python -m jaxlr` too."""

import sys


def main() -> None:
    """Run the command line, or say what to install for it."""
    try:
        import jaxlr.train  # noqa: F401 - it says what it lacks
    except ModuleNotFoundError as error:
        print(f"jaxlr: error: {error}", file=sys.stderr)
        sys.exit(2)
    from jaxlr import cli

    cli.main()


if __name__ == "__main__":
    main()
