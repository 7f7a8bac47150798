"""The patches of other libraries: they act on what they are for, and leave everything else as it was."""

import contextlib
import logging
import sys
import types
from pathlib import Path

import pytest

from jaxlr.train import workarounds
from jaxlr.train.workarounds import quiet_orbax


ORBAX_FILE = str(Path("site-packages") / "orbax" / "checkpoint" / "checkpoint_manager.py")


def log_from(path: str) -> None:
    """Log a warning to the root logger, as the module at `path` would."""
    root = logging.getLogger()
    root.handle(logging.LogRecord("root", logging.WARNING, path, 1, f"by {path}", None, None))


def test_only_messages_of_orbax_are_dropped_from_the_root_logger(caplog):
    with quiet_orbax():
        log_from(ORBAX_FILE)
        log_from("somewhere.py")
    assert caplog.messages == ["by somewhere.py"]


def test_after_the_block_orbax_and_asyncio_log_as_before(caplog):
    with contextlib.suppress(RuntimeError), quiet_orbax():
        logging.getLogger("asyncio").critical("muted")
        raise RuntimeError
    log_from(ORBAX_FILE)
    logging.getLogger("asyncio").critical("shown")
    assert caplog.messages == [f"by {ORBAX_FILE}", "shown"]


def test_a_block_within_another_leaves_the_outer_one_quiet(caplog):
    with quiet_orbax():
        with quiet_orbax():
            pass
        log_from(ORBAX_FILE)
        logging.getLogger("absl").critical("muted")
    assert caplog.messages == []


def test_only_replies_to_closed_loops_are_ignored(monkeypatch):
    reported = []
    monkeypatch.setattr(sys, "unraisablehook", reported.append)
    workarounds._ignore_replies_to_closed_loops.__wrapped__()
    reply = types.SimpleNamespace(exc_value=RuntimeError("Event loop is closed"))
    other = types.SimpleNamespace(exc_value=RuntimeError("something else"))
    sys.unraisablehook(reply)  # pyright: ignore[reportArgumentType]
    sys.unraisablehook(other)  # pyright: ignore[reportArgumentType]
    assert reported == [other]


def test_a_replaced_function_is_put_back_after_an_error():
    module = types.ModuleType("module")
    module.__dict__["function"] = original = object()
    with contextlib.suppress(RuntimeError), workarounds._replaced(module, "function", None):
        assert module.__dict__["function"] is None
        raise RuntimeError
    assert module.__dict__["function"] is original


def test_a_function_that_the_library_no_longer_has_is_an_error():
    with (
        pytest.raises(AttributeError, match="function"),
        workarounds._replaced(types.ModuleType("module"), "function", None),
    ):
        pass
