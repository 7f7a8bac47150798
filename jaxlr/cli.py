"""The command `jaxlr`."""

import contextlib
import io
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Sequence
from typing import NoReturn

import jax
import tyro

from jaxlr.commands.plot import PlotConfig
from jaxlr.commands.port import PortConfig
from jaxlr.commands.recipe import RecipeError
from jaxlr.commands.table import TableConfig
from jaxlr.train.config import TrainConfig


_DESCRIPTION = "PyTorch's learning-rate schedulers for JAX: see them, port them, train with them."
_COMMANDS = {"train": TrainConfig, "plot": PlotConfig, "table": TableConfig, "port": PortConfig}


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line on stderr and exit status 2."""
    for stream in (sys.stdout, sys.stderr):  # a terminal that knows no accents is told of them
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    warnings.formatwarning = lambda message, *_, **__: f"jaxlr: warning: {message}\n"
    config = _parse(args)
    if not isinstance(config, TrainConfig):
        _run(config)
        return
    from jaxlr.train.dataset import DataError
    from jaxlr.train.loop import DeviceError, train

    try:
        train(config)
    except (DataError, DeviceError, OSError, jax.errors.JaxRuntimeError) as error:
        _refuse(str(error))  # the last one is out of memory, most often
    except KeyboardInterrupt:
        print("jaxlr: interrupted; the epochs so far are in the run's folder", file=sys.stderr)
        sys.exit(130)


def _run(config: PlotConfig | TableConfig | PortConfig) -> None:
    """A command that reads recipes and prints."""
    try:
        config.run()
        print(end="", flush=True)
    except BrokenPipeError:  # the reader, such as `head`, has had enough: nothing is wrong
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except RecipeError as error:
        command = next(name for name, kind in _COMMANDS.items() if isinstance(config, kind))
        _refuse(f"{error} (see jaxlr {command} --help)")
    except (ModuleNotFoundError, OSError) as error:
        _refuse(str(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _parse(args: Sequence[str] | None) -> TrainConfig | PlotConfig | TableConfig | PortConfig:
    args = sys.argv[1:] if args is None else list(args)
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return tyro.extras.subcommand_cli_from_dict(
                _COMMANDS,
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
        command = f"jaxlr {args[0]}" if args and args[0] in _COMMANDS else "jaxlr"
        _refuse(_first_sentence(stderr.getvalue(), command))


def _first_sentence(box: str, command: str) -> str:
    """What tyro says in the first part of its box of several lines, and the flag that it suggests."""
    text = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:]]
    # Where the terminal knows no box, its frame is a rule below the title.
    parts = re.split(r"\n(?:─+|-{5,})(?=\n)", "\n" + "\n".join(text))
    parts = [" ".join(part.split()) for part in parts if part.strip()]
    message = parts[0]
    # Naming the command where no flag is to blame tells the user nothing.
    message = re.sub(r"^Error parsing (?!--)[^:]*: ", "", message)
    suggestion = re.search(r"Perhaps you meant:\W*(--[\w-]+)", " ".join(parts))
    hint = f"did you mean {suggestion[1]}?" if suggestion else f"see {command} --help"
    return f"{message.removesuffix('.')} ({hint})"


def _refuse(message: str) -> NoReturn:
    print(f"jaxlr: error: {textwrap.shorten(message, 1000)}", file=sys.stderr)
    sys.exit(2)
