"""The command `jaxlr`."""

import contextlib
import io
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import NoReturn

import jax
import tyro

from jaxlr.train.config import TrainConfig


_DESCRIPTION = "PyTorch's learning-rate schedulers for JAX, and a training run that uses them."


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows no accents is told of them
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"jaxlr: warning: {message}\n"
    config = _parse(args)
    from jaxlr.train.dataset import DataError
    from jaxlr.train.loop import DeviceError, train

    try:
        train(config)
    except (DataError, DeviceError, OSError, jax.errors.JaxRuntimeError) as error:
        _refuse(str(error))  # the last one is out of memory, most often
    except KeyboardInterrupt:
        print("jaxlr: interrupted; the epochs so far are in the run's folder", file=sys.stderr)
        sys.exit(130)


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
    text = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:]]
    # Where the terminal knows no box, its frame is a rule below the title.
    parts = re.split(r"\n(?:─+|-{5,})(?=\n)", "\n" + "\n".join(text))
    parts = [" ".join(part.split()) for part in parts if part.strip()]
    message = parts[0]
    # Naming the command where no flag is to blame tells the user nothing.
    message = re.sub(r"^Error parsing (?!--)[^:]*: ", "", message)
    suggestion = re.search(r"Perhaps you meant:\W*(--[\w-]+)", " ".join(parts))
    hint = f"did you mean {suggestion[1]}?" if suggestion else "see jaxlr train --help"
    return f"{message.removesuffix('.')} ({hint})"


def _refuse(message: str) -> NoReturn:
    print(f"jaxlr: error: {textwrap.shorten(message, 1000)}", file=sys.stderr)
    sys.exit(2)
