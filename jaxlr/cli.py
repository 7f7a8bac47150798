"""The command `jaxlr`."""

import contextlib
import io
import re
import sys
from collections.abc import Sequence
from typing import NoReturn

import tyro

from jaxlr.train.config import TrainConfig


_DESCRIPTION = "PyTorch's learning-rate schedulers for JAX, and a training run that uses them."


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line on stderr and exit status 2."""
    config = _parse(args)
    from jaxlr.train.dataset import DataError
    from jaxlr.train.loop import train

    try:
        train(config)
    except (DataError, OSError) as error:
        _refuse(str(error))


def _parse(args: Sequence[str] | None) -> TrainConfig:
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return tyro.extras.subcommand_cli_from_dict(
                {"train": TrainConfig},
                prog="jaxlr",
                description=_DESCRIPTION,
                args=args,
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except TypeError as error:
        _refuse(str(error))
    except SystemExit as stop:
        if stop.code != 2:
            raise
        _refuse(_first_sentence(stderr.getvalue()))


def _first_sentence(box: str) -> str:
    """What tyro says in the first part of its box of several lines, and the flag that it suggests."""
    lines = [line.strip("│╭╮╰╯ ") for line in box.splitlines()][1:]
    rules = [number for number, line in enumerate(lines) if line.startswith("──")]
    message = " ".join(lines[: rules[0] if rules else None])
    # Naming the command where no flag is to blame tells the user nothing.
    message = re.sub(r"^Error parsing (?!--)[^:]*: ", "", message)
    suggestion = re.search(r"Perhaps you meant:\s*(--[\w-]+)", " ".join(lines))
    hint = f"did you mean {suggestion[1]}?" if suggestion else "see jaxlr train --help"
    return f"{message.rstrip('.?')} ({hint})"


def _refuse(message: str) -> NoReturn:
    print(f"jaxlr: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
