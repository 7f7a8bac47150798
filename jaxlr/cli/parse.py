"""The flags of the command, parsed by tyro into the settings of a command."""

import contextlib
import dataclasses
import difflib
import io
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import tyro

from jaxlr.cli.errors import refuse, with_flags
from jaxlr.cli.fit import FitConfig
from jaxlr.cli.plot import PlotConfig
from jaxlr.cli.port import PortConfig
from jaxlr.cli.recipe import with_flags_as_text
from jaxlr.cli.table import TableConfig
from jaxlr.cli.verify import VerifyConfig


if TYPE_CHECKING:
    from jaxlr.train.config import SweepConfig, TrainConfig

Config: TypeAlias = (
    "TrainConfig | SweepConfig | PlotConfig | TableConfig | PortConfig | VerifyConfig | FitConfig"
)

_DESCRIPTION = "PyTorch's learning-rate schedulers for JAX. --version prints the version."
_COMMANDS = ("train", "sweep", "plot", "table", "port", "verify", "fit")
_CLASSES = {
    "plot": PlotConfig,
    "table": TableConfig,
    "port": PortConfig,
    "verify": VerifyConfig,
    "fit": FitConfig,
}
_TYRO = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone)
# What tyro says, and what a user needs to read.
_PLAIN_ERRORS = (
    (r"^Error parsing (?!--)[^:]*: ", ""),  # without a flag to blame, tyro names the whole command
    (r"no type matching .* Got errors: - (?:<class '\w+'>|tuple\[.*?\]): (.*?)( - typing\..*)?$", r"\1"),
    (r"^Error parsing (--\S+).*: invalid literal for int\(\).*: ", r"\1 must be a whole number, got "),
    (r"(?<!\.)\.$", ""),
    (r"^Error parsing (--\S+).*: could not convert string to float: ", r"\1 must be a number, got "),
)


def parse(args: list[str]) -> tuple[str, Config]:
    """Return the command and its settings. A mistake ends the process with one line on stderr."""
    command = args[0] if args else ""
    if args and not command.startswith("-") and command not in _COMMANDS:
        nearest = difflib.get_close_matches(command, _COMMANDS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see jaxlr --help"
        refuse(f"there is no command {command[:100]!r}, only {', '.join(_COMMANDS)} ({hint})")
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return command, _parse(args)
    except (TypeError, ValueError) as error:  # from the checks of the settings, or the folder to resume
        refuse(with_flags(str(error), _names(command)))
    except ModuleNotFoundError as error:  # from the extra that training needs, or PyYAML for a config
        refuse(str(error))
    except SystemExit as stop:
        if stop.code != 2:
            raise
        refuse(_error_of_tyro(stderr.getvalue(), command if command in _COMMANDS else ""))


def _parse(args: list[str]) -> Config:
    if not args or args[0] not in _COMMANDS:
        return tyro.extras.subcommand_cli_from_dict(
            {name: _listed_class(name) for name in _COMMANDS},
            prog="jaxlr",
            description=_DESCRIPTION,
            args=args,
            config=(*_TYRO, tyro.conf.FlagCreatePairsOff),
        )
    command, *flags = args
    flags = with_flags_as_text(command, flags)
    kind, prog = _config_class(command), f"jaxlr {command}"
    if (saved := _saved_config(command, flags)) is not None:
        # Flags come in pairs here: the saved settings may turn a flag on, and --no-FLAG turns it off.
        return tyro.cli(kind, prog=prog, args=flags, default=saved, config=_TYRO)
    return tyro.cli(kind, prog=prog, args=flags, config=(*_TYRO, tyro.conf.FlagCreatePairsOff))


def _config_class(command: str) -> Any:
    """Return the class of a command's settings. The training commands are imported only when needed."""
    if command in ("train", "sweep"):
        from jaxlr.train.config import SweepConfig, TrainConfig

        return TrainConfig if command == "train" else SweepConfig
    return _CLASSES[command]


def _listed_class(command: str) -> Any:
    """Return the class of a command's settings. Without its extra, its help says what to install."""
    try:
        return _config_class(command)
    except ModuleNotFoundError as error:
        return dataclasses.make_dataclass(command, [], namespace={"__doc__": f"Not installed: {error}."})


def _names(command: str) -> list[str]:
    """Return the names of a command's settings."""
    if command in ("train", "sweep"):
        return [*_config_class(command)().flags()]
    return [field.name for field in dataclasses.fields(_config_class(command))]


@dataclasses.dataclass
class _Resume:
    """The two flags that name a run to resume. Its settings are the defaults of all other flags."""

    out: Path | None = None
    resume: bool = False


def _saved_config(command: str, flags: list[str]) -> Any:
    """Return the settings of the run that `--resume --out DIR` names, or None if there is none."""
    if command not in ("train", "sweep") or "--resume" not in flags or {"-h", "--help"} & set(flags):
        return None
    asked, _ = tyro.cli(_Resume, args=flags, return_unknown_args=True, add_help=False)
    if asked.out is None or not asked.out.is_dir():
        return None
    from jaxlr.train.output.folder import saved_config

    return saved_config(asked.out, _config_class(command))


def _error_of_tyro(box: str, command: str) -> str:
    """Return tyro's error, which it prints as a box of several lines, as one line."""
    text = [line.strip("│╭╮╰╯ ") for line in box.splitlines()[1:]]
    # Without box characters in the terminal's encoding, the frame is a rule below the title.
    parts = re.split(r"\n(?:─+|-{5,})(?=\n)", "\n" + "\n".join(text))
    parts = [" ".join(part.split()) for part in parts if part.strip()]
    message, program = parts[0], f"jaxlr {command}".strip()
    for pattern, plain in _PLAIN_ERRORS:
        message = re.sub(pattern, plain, message)
    if command:
        message = with_flags(message, _names(command))
    suggestion = re.search(r"Perhaps you meant:\W*(--[\w-]+)", " ".join(parts))
    hint = f"did you mean {suggestion[1]}?" if suggestion else f"see {program} --help"
    return f"{message} ({hint})"
