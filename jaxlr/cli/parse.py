"""The flags of the command, parsed by tyro into the settings of a command."""

import ast
import contextlib
import dataclasses
import difflib
import importlib
import io
import os
import pkgutil
import re
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from jaxlr._extras import check_installed
from jaxlr.cli.environment import import_jax
from jaxlr.cli.errors import refuse
from jaxlr.cli.flags import RecipeFlags
from jaxlr.flags.errors import with_flags


_DESCRIPTION = "PyTorch's learning-rate schedulers for JAX. --version prints the version."
# The module and the class of a command's settings. That of training imports JAX, which takes a second.
_COMMANDS = {
    "train": ("train.config", "TrainConfig"),
    "sweep": ("train.config", "SweepConfig"),
    "plot": ("cli.flags", "PlotFlags"),
    "table": ("cli.flags", "TableFlags"),
    "port": ("cli.flags", "PortFlags"),
    "verify": ("cli.flags", "VerifyFlags"),
    "fit": ("cli.flags", "FitFlags"),
}
TRAINING_COMMANDS = ("train", "sweep")
NARROWEST = 40  # columns of a terminal
_QUOTED_FLAGS = re.compile(r"--[\w.-]+(\s+\S|=\S+\s+--\w)")  # flags of a script, in one word
_TYRO = (tyro.conf.OmitArgPrefixes, tyro.conf.DisallowNone)
# What tyro says, and what a user needs to read.
_PLAIN_ERRORS = (
    (r"^Error parsing (?!--)[^:]*: ", ""),  # without a flag to blame, tyro names the whole command
    (r"^Missing value for argument '(?:-\w/)?(--\S+)'.*", r"\1 needs a value"),
    (r"^Missing value for argument '(\w+)'.*", lambda match: f"{match[1].upper()} must be given"),
    (r"no type matching .* Got errors: - (?:<class '\w+'>|tuple\[.*?\]): (.*?)( - typing\..*)?$", r"\1"),
    (
        r"^Error parsing (--\S+): Could not find valid parse for arguments: \[(.*)\]",
        r"\1 cannot be read, got \2: give its values with spaces between them",
    ),
    (r"^Error parsing (--\S+).*: invalid literal for int\(\).*: ", r"\1 must be a whole number, got "),
    (r"(?<!\.)\.$", ""),
    (r"^Error parsing (--\S+).*: could not convert string to float: ", r"\1 must be a number, got "),
)


def parse(args: list[str]) -> tuple[str, Any]:
    """Return the command and its settings. A mistake ends the process with one line on stderr."""
    command = args[0] if args else ""
    if args and not command.startswith("-") and command not in _COMMANDS:
        nearest = difflib.get_close_matches(command, _COMMANDS, n=1)
        hint = f"did you mean {nearest[0]}?" if nearest else "see jaxlr --help"
        refuse(f"there is no command {command[:100]!r}, only {', '.join(_COMMANDS)} ({hint})")
    if command in TRAINING_COMMANDS:  # the defaults of their flags are schedules
        import_jax(to_train=True)
    if shutil.get_terminal_size().columns < NARROWEST:  # tyro would print a letter per line, or never end
        os.environ["COLUMNS"] = str(NARROWEST)
    try:
        settings = _parse(command, args)
        import_jax(to_train=False)  # the help and most mistakes have ended the process without it
        if isinstance(settings, RecipeFlags):
            _check(command, settings)
    except (TypeError, ValueError) as error:  # from the checks of the settings, or the folder to resume
        refuse(with_flags(str(error), _names(command)))
    except ModuleNotFoundError as error:  # from the extra that training needs, or PyYAML for a config
        refuse(str(error))
    return command, settings


def _check(command: str, settings: RecipeFlags) -> None:
    """Check the values of flags. An error names the help, as those of tyro do."""
    try:
        settings.check()
    except (TypeError, ValueError) as error:
        raise ValueError(f"{error} (see jaxlr {command} --help)") from error


def _parse(command: str, args: list[str]) -> Any:
    """Return the settings of a command. A help or a mistake ends the process."""
    stderr = io.StringIO()
    try:
        with contextlib.redirect_stderr(stderr):
            return _settings_of(args) if command in _COMMANDS else _parse_without_command(args)
    except SystemExit as stop:
        if stop.code != 2:
            raise
        refuse(_error_of_tyro(stderr.getvalue(), command if command in _COMMANDS else ""))


def _settings_of(args: list[str]) -> Any:
    command, *flags = args
    flags = _with_flags_as_text(command, flags)
    if command not in TRAINING_COMMANDS:
        _check_repeated(flags)
    kind, prog = _config_class(command), f"jaxlr {command}"
    if (saved := _saved_config(command, flags)) is not None:
        # Flags come in pairs here: the saved settings may turn a flag on, and --no-FLAG turns it off.
        return tyro.cli(kind, prog=prog, args=flags, default=saved, config=_TYRO)
    return tyro.cli(kind, prog=prog, args=flags, config=(*_TYRO, tyro.conf.FlagCreatePairsOff))


def _check_repeated(words: Sequence[str]) -> None:
    """Refuse a flag that is given twice. The parser would take the last one."""
    flags = [word.partition("=")[0] for word in words if re.match(r"--[a-z]", word)]
    names = [flag.replace("_", "-") for flag in flags]  # the parser knows both
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{repeated[0]} is given twice: give it once, with all its values")


def _with_flags_as_text(command: str, words: Sequence[str]) -> list[str]:
    """Return the words of a command line with the flags of a training script as one RECIPE.

    `jaxlr port -- --sched cosine --lr 0.1` becomes `jaxlr port " --sched cosine --lr 0.1"`. The options of
    detectron2 after a file become those of a command: `--config-file a.yaml SOLVER.BASE_LR 0.1`.
    """
    # A leading space hides the first flag from the parser of our own.
    words = [f" {word}" if _QUOTED_FLAGS.match(word) else word for word in words]
    if "--" not in words:
        return words
    own, flags = words[: words.index("--")], words[words.index("--") + 1 :]
    num_recipes = next((n for n, word in enumerate(own) if word.startswith("-") and word != "-"), len(own))
    if num_recipes == 1 and flags and flags[0].startswith("SOLVER."):  # detectron2's, which change a file
        own, flags, num_recipes = own[1:], ["--config-file", own[0], *flags], 0
    if not any(re.match(r"--\w|\w[\w.]*=[^=]", word) for word in flags):
        return words  # recipes in quotes, as some people write them after --
    text = f" {shlex.join(flags)}"
    if command == "train":
        if any(re.match(r"--recipe(=|$)", word) for word in own):
            raise ValueError("recipe needs one value: give a file, or flags after --, but not both")
        return [*own, "--recipe", text]
    if num_recipes == 0:
        return [*own, "--", text]
    return [*own[:num_recipes], text, *own[num_recipes:]]


def _config_class(command: str) -> Any:
    """Return the class of a command's settings."""
    module, name = _COMMANDS[command]
    return getattr(importlib.import_module(f"jaxlr.{module}"), name)


def _parse_without_command(args: list[str]) -> Any:
    """Print the help of all commands, or the completion for a shell. Other flags are an error."""
    completes = any(arg.startswith("--tyro-") for arg in args)
    class_of, classes = _config_class if completes else _summary_class, {}
    for command in _COMMANDS:
        try:
            classes[command] = class_of(command)
        except ModuleNotFoundError as error:
            classes[command] = _class_without_settings(command, f"Not installed: {error}.")
    return tyro.extras.subcommand_cli_from_dict(
        classes,
        prog="jaxlr",
        description=_DESCRIPTION,
        args=args,
        config=(*_TYRO, tyro.conf.FlagCreatePairsOff),
    )


def _summary_class(command: str) -> Any:
    """Return a class with the docstring of a command, read from its source: it imports no JAX."""
    if command in TRAINING_COMMANDS:
        check_installed("train")
    module, name = _COMMANDS[command]
    source = pkgutil.get_data("jaxlr", f"{module.replace('.', '/')}.py")
    assert source is not None
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    (docstring,) = (ast.get_docstring(node) for node in classes if node.name == name)
    return _class_without_settings(command, docstring)


def _class_without_settings(command: str, docstring: str | None) -> Any:
    return dataclasses.make_dataclass(command, [], namespace={"__doc__": docstring})


def _names(command: str) -> list[str]:
    """Return the names of a command's settings."""
    if command in TRAINING_COMMANDS:
        return [*_config_class(command)().flags()]
    return [field.name for field in dataclasses.fields(_config_class(command))]


@dataclasses.dataclass
class _Resume:
    """The two flags that name a run to resume. Its settings are the defaults of all other flags."""

    out: Path | None = None
    resume: bool = False


def _saved_config(command: str, flags: list[str]) -> Any:
    """Return the settings of the run that `--resume --out DIR` names, or None if there is none."""
    if command not in TRAINING_COMMANDS or "--resume" not in flags or {"-h", "--help"} & set(flags):
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
    if message.startswith("Missing from "):  # the name of each argument, followed by its help
        names = re.findall(r"(?:: |\(required\) )([A-Z]+) ", message)
        message = f"{' and '.join(names)} must be given" + (", before any --names" * ("RECIPE" in names))
    if command:
        message = with_flags(message, _names(command))
    suggestion = re.search(r"Perhaps you meant:\W*(--[\w-]+)", " ".join(parts))
    hint = f"did you mean {suggestion[1]}?" if suggestion else f"see {program} --help"
    return f"{message} ({hint})"
