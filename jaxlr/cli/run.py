"""The entry point of the command."""

import contextlib
import importlib
import io
import os
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxlr.cli.errors import end, refuse
from jaxlr.cli.parse import TRAINING_COMMANDS, parse
from jaxlr.flags.errors import RecipeError


if TYPE_CHECKING:
    from jaxlr.train.config import SweepConfig, TrainConfig


def main(args: Sequence[str] | None = None) -> None:
    """Run the command line. An error of the user is one line on stderr and exit status 2."""
    _prepare_streams()
    warnings.formatwarning = lambda message, *_, **__: f"jaxlr: warning: {message}\n"
    with _printing():
        command, config = parse(sys.argv[1:] if args is None else list(args))
    _run(command, config)


def _run(command: str, config: Any) -> None:
    if command in TRAINING_COMMANDS:
        _train(config)
        return
    try:
        with _printing():
            status = importlib.import_module(f"jaxlr.cli.{command}").run(config)
    except RecipeError as error:
        refuse(f"{error} (see jaxlr {command} --help)")
    except ModuleNotFoundError as error:
        refuse(str(error))
    if status:
        sys.exit(status)


def _train(config: "TrainConfig | SweepConfig") -> None:
    """Train a run or a sweep. Every error has its exit status."""
    import jax

    from jaxlr.train.config import SweepConfig
    from jaxlr.train.device.programs import keep_programs
    from jaxlr.train.errors import RunError, StopError
    from jaxlr.train.loop import train
    from jaxlr.train.sweeps import sweep
    from jaxlr.train.workarounds import quiet_orbax

    threading.excepthook = _warn_of_thread
    # When a checkpoint fails, Orbax leaves coroutines that are never awaited. The failure itself is raised.
    warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
    if config.device.compilation_cache:
        keep_programs()
    try:
        with quiet_orbax():  # until the end, because its threads also log after the checkpoint that failed
            sweep(config) if isinstance(config, SweepConfig) else train(config)
    except StopError as stop:
        end(str(stop), stop.status)
    except RunError as error:
        refuse(str(error), error.status)
    except (OSError, jax.errors.JaxRuntimeError) as error:
        refuse(str(error))


def _warn_of_thread(failure: threading.ExceptHookArgs) -> None:
    """Warn that a thread of another library failed, such as tensorboardX's on a full disk."""
    warnings.warn(f"a background thread failed: {failure.exc_value}", stacklevel=2)


def _prepare_streams() -> None:
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as with `>&-`
            setattr(sys, name, Path(os.devnull).open("r+"))  # noqa: SIM115 - open until the process ends
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # for a terminal without accents


@contextlib.contextmanager
def _printing() -> Iterator[None]:
    """Flush the output of the block. A reader that stops early, such as `head`, is not an error."""
    stop = None
    try:
        try:
            yield
        except SystemExit as error:  # from tyro, after the help or an error
            stop = error
        if stop is None or not stop.code:
            sys.stdout.flush()
    except OSError as error:
        # The rest of the buffer must not raise again when Python exits.
        with contextlib.suppress(io.UnsupportedOperation):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if isinstance(error, BrokenPipeError):
            sys.exit(0)
        refuse(f"cannot write the output: {error.strerror or error}")
    if stop is not None:
        raise stop
