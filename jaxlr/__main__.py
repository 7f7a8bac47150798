"""`python -m jaxlr` is the command `jaxlr`."""

from jaxlr.cli import main


main()
