"""The command `jaxlr`."""

import contextlib
import dataclasses
import difflib
import io
import os
import re
import sys
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import jax
import tyro

from jaxlr.cli.plot import PlotConfig
from jaxlr.cli.port import PortConfig
from jaxlr.cli.table import TableConfig
from jaxlr.cli.torch_text import RecipeError
from jaxlr.train.config import RunConfig, SweepConfig, TrainConfig


_DESCRIPTION = "PyTorch's learning-rate schedulers for JAX: see, port and train with them; or --version."
_COMMANDS = {
    "train": TrainConfig,
    "sweep": SweepConfig,
    "plot": PlotConfig,
    "table": TableConfig,
    "port": PortConfig,
}
_TYRO = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone)
_Config: TypeAlias = TrainConfig | SweepConfig | PlotConfig | TableConfig | PortConfig


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line; a mistake of the user's is one line on stderr and exit status 2."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # as after `>&-`
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 - for as long as it runs
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # where the terminal knows no accents
    warnings.formatwarning = lambda message, *_, **__: f"jaxlr: warning: {message}\n"
    with _printing():
        config = _parse(sys.argv[1:] if args is None else list(args))
    if isinstance(config, RunConfig):
        from jaxlr.train.device.processes import ending

        with ending():
            _train(config)
    else:
        _run(config)


def _train(config: TrainConfig | SweepConfig) -> None:
    """A run or many, and the exit status that `TrainConfig` lists for each of its ends."""
    from jaxlr.train.device.programs import keep_programs
    from jaxlr.train.errors import RunError, StopError
    from jaxlr.train.loop import train
    from jaxlr.train.sweep import sweep

    if config.compilation_cache:
        keep_programs()
    try:
        sweep(config) if isinstance(config, SweepConfig) else train(config)
    except StopError as stop:
        print(f"jaxlr: {stop}", file=sys.stderr)
        sys.exit(stop.status)
    except RunError as error:
        _refuse(str(error), error.status)
    except (OSError, jax.errors.JaxRuntimeError) as error:
        _refuse(str(error))


def _run(config: PlotConfig | TableConfig | PortConfig) -> None:
    """A command that reads recipes and prints."""
    try:
        with _printing():
            config.run()
    except RecipeError as error:
        command = next(name for name, kind in _COMMANDS.items() if isinstance(config, kind))
        _refuse(f"{error} (see jaxlr {command} --help)")
    except ModuleNotFoundError as error:
        _refuse(str(error))


@contextlib.contextmanager
def _printing() -> Iterator[None]:
    """Prints all of it, to a reader that may have had enough, such as `head`: nothing is wrong then."""
    stop = None
    try:
        try:
            yield
        except SystemExit as error:  # tyro's, after the help, or a refusal
            stop = error
        if stop is None or not stop.code:
            print(end="", flush=True)
    except OSError as error:
        with contextlib.suppress(io.UnsupportedOperation):  # what is left unprinted is no second error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        _refuse(str(error))
    if stop is not None:
        raise stop


def _parse(args: list[str]) -> _Config:
    if args and not args[0].startswith("-") and args[0] not in _COMMANDS:
        nearest = difflib.get_close_matches(args[0], _COMMANDS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see jaxlr --help"
        _refuse(f"there is no command {args[0][:100]!r}, only {', '.join(_COMMANDS)} ({hint})")
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            if (saved := _saved_config(args)) is not None:
                # Pairs of flags, for what the saved config turns on can only be turned off by one.
                given = _in_groups(saved)
                prog = f"jaxlr {args[0]}"
                return _flat(tyro.cli(type(given), prog=prog, args=args[1:], default=given, config=_TYRO))
            given = tyro.extras.subcommand_cli_from_dict(
                {name: _grouped(kind) for name, kind in _COMMANDS.items()},
                prog="jaxlr",
                description=_DESCRIPTION,
                args=args,
                config=(*_TYRO, tyro.conf.FlagCreatePairsOff),
            )
            return _flat(given)
    except (TypeError, ValueError) as error:  # of the folder to go on with, too
        _refuse(str(error))
    except SystemExit as stop:
        if stop.code != 2:
            raise
        command = f"jaxlr {args[0]}" if args and args[0] in _COMMANDS else "jaxlr"
        _refuse(_first_sentence(stderr.getvalue(), command))


def _grouped(kind: Any) -> Any:
    """The config as tyro is to read it: with its flags in groups, if it has any."""
    if not issubclass(kind, RunConfig):
        return kind
    fields = [(name, group, group()) for name, group in kind.groups.items()]
    namespace = {"__doc__": kind.__doc__, "kind": kind}
    return dataclasses.make_dataclass(kind.__name__, fields, namespace=namespace, frozen=True)


def _in_groups(config: RunConfig) -> Any:
    """A config as an instance of what `_grouped` makes of its class."""
    return _grouped(type(config))(
        **{
            name: group(**{field.name: getattr(config, field.name) for field in dataclasses.fields(group)})
            for name, group in config.groups.items()
        }
    )


def _flat(given: Any) -> Any:
    """The config of what tyro has read."""
    if not hasattr(given, "kind"):
        return given
    return given.kind(
        **{name: value for group in vars(given).values() for name, value in vars(group).items()}
    )


@dataclasses.dataclass
class _Resume:
    """The two flags that say whose config the others change."""

    out: Path | None = None
    resume: bool = False


def _saved_config(args: list[str]) -> TrainConfig | SweepConfig | None:
    """The config of what `train --resume --out DIR` (or `sweep`) goes on with, if there is one."""
    kinds = {kind.command: kind for kind in (TrainConfig, SweepConfig)}
    kind = kinds.get(args[0]) if args else None
    if kind is None or "--resume" not in args or {"-h", "--help"} & set(args):
        return None
    asked, _ = tyro.cli(_Resume, args=args[1:], return_unknown_args=True, add_help=False)
    if asked.out is None or not asked.out.is_dir():
        return None
    from jaxlr.train.output.folder import saved_config

    return saved_config(asked.out, kind)


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


def _refuse(message: str, status: int = 2) -> NoReturn:
    print(f"jaxlr: error: {textwrap.shorten(message, 1000)}", file=sys.stderr)
    sys.exit(status)
