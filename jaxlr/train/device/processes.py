"""Several processes as one run, by JAX's distributed runtime: what they share, and what if one is lost."""

import contextlib
import ctypes
import functools
import os
import pickle
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxlr.train.config import TrainConfig
from jaxlr.train.device.mesh import devices_found
from jaxlr.train.errors import DeviceError, LossError, StopError


T = TypeVar("T")

_LOST_STATUS = 5  # of the processes that are left when one is lost
_CURE = "start all again, with --resume and the --out of the run, to go on from its last checkpoint"
_GRACE = 5.0  # seconds in which a process may still write what it has, once another is lost


@contextlib.contextmanager
def joined(config: TrainConfig) -> Iterator[None]:
    """While it is entered, this process is one of the run's: when one is lost, all of them end.

    It must be entered before JAX is used, and does nothing without `config.distributed`.

    Raises:
        DeviceError: nothing says who the processes are, or the coordinator's port is taken.
    """
    if not config.distributed:
        yield
        return
    watch = _arrive(config)
    end = None
    try:
        with _stdout_to_stderr():  # on which Gloo would say that it is connected
            multihost_utils.sync_global_devices("the start of the run")
        try:
            yield
        except (LossError, StopError) as error:  # on which all processes agree
            end = error
        multihost_utils.sync_global_devices("the end of the run")
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        # Gloo says so as soon as another process is gone; JAX will know which.
        if "Gloo" in str(error) or isinstance(error, jax.errors.JaxRuntimeError):
            watch.wait_for_verdict()
        raise
    watch.leave()
    if end is not None:
        raise end


@contextlib.contextmanager
def ending() -> Iterator[None]:
    """Ends at once a process that exits alone: Python would end it beside running threads of JAX."""
    try:
        yield
    except SystemExit as stop:
        if jax.distributed.is_initialized():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(stop.code if isinstance(stop.code, int) else 1)
        raise


def is_first() -> bool:
    """Whether this is process 0, which reads and writes for all, or the only one."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_first(make: Callable[[], T]) -> T:
    """What `make` returns on process 0, the only one that calls it, on every process."""
    if not jax.distributed.is_initialized():
        return make()
    content = np.frombuffer(pickle.dumps(make()) if is_first() else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.uint32(len(content))))
    content = content if is_first() else np.zeros(size, np.uint8)
    return pickle.loads(multihost_utils.broadcast_one_to_all(content).tobytes())


def largest(number: int) -> int:
    """The largest that any process gives: what is asked of one is asked of all."""
    if not jax.distributed.is_initialized():
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())


class _Watch:
    """A thread that asks JAX which processes are alive, and ends this one once another is not.

    For a collective on GPUs waits for a lost process forever, and Gloo's error does not name it.
    """

    def __init__(self, timeout: int):
        self._timeout = timeout
        self._has_left = threading.Event()
        self._is_unwound = threading.Event()  # nothing is left to be saved
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self._thread.start()

    def wait_for_verdict(self) -> None:
        """Returns only if no process turns out to be lost."""
        self._is_unwound.set()
        self._thread.join(self._timeout + _GRACE)

    def leave(self) -> None:
        """Ends the watch, as all processes do now; process 0, which connects them, goes last."""
        self._has_left.set()
        self._is_unwound.set()
        self._thread.join()
        while is_first() and len(_alive()) > 1:
            pass  # the answer comes when another one has gone
        jax.distributed.shutdown()
        ctypes.CDLL(None).signal(signal.SIGABRT, None)

    def _ask(self) -> None:
        processes = alive = set(range(_runtime().num_processes))
        while alive == processes and not self._has_left.wait(1.0):
            try:
                alive = _alive()
            except RuntimeError:  # nobody answers: process 0 is lost, or this one is ending
                alive = processes - {0}
        self._is_unwound.wait(_GRACE)
        if jax.distributed.is_initialized() and not self._has_left.is_set():
            lost = ", ".join(str(process) for process in sorted(processes - alive))
            _end(_lost(lost))


def _alive() -> set[int]:
    """The processes that are there; all of them must ask."""
    runtime = _runtime()
    return set(runtime.client.get_live_nodes(list(range(runtime.num_processes))))


def _runtime() -> Any:
    """What JAX knows of the processes; its public functions need the devices of all of them first."""
    from jax._src import distributed  # pyright: ignore[reportPrivateImportUsage]

    return distributed.global_state


def _arrive(config: TrainConfig) -> _Watch:
    """Meets the other processes; where one does not come, this one ends."""
    # As they are by default, JAX ends the others before they can say who is lost, and SIGTERM is its own.
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)
    if config.process_id == 0:
        _check_port(config.coordinator or "")
    with _stderr_kept() as said, _register_timeout(config.peer_timeout):

        def describe() -> str:
            time.sleep(1)  # the others are being told by process 0
            missing = re.search(r"timed out task names:\s*((?:\d+\s+)+)", said())
            who = f"process {', '.join(missing[1].split())}" if missing else "process 0, the coordinator,"
            return f"{who} did not arrive within {config.peer_timeout} seconds"

        _at_abort(describe)
        try:
            jax.distributed.initialize(
                config.coordinator,
                config.num_processes,
                config.process_id,
                initialization_timeout=config.peer_timeout + 5,  # until then, process 0 says who is missing
                heartbeat_timeout_seconds=config.peer_timeout,
            )
        except (ValueError, RuntimeError) as error:
            raise DeviceError(
                "--distributed finds no cluster, of SLURM or another kind: give --coordinator HOST:PORT,"
                f" --num-processes and --process-id ({error})"
            ) from error
    _at_abort(lambda: _lost("0"))
    watch = _Watch(config.peer_timeout)
    devices_found()  # for which all must be there
    return watch


def _check_port(coordinator: str) -> None:
    """Refuses a port that is taken, on which JAX would crash."""
    port = int(coordinator.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise DeviceError(
            f"cannot listen on port {port} of --coordinator: {reason}; give another"
        ) from error


@contextlib.contextmanager
def _register_timeout(seconds: int) -> Iterator[None]:
    """Has process 0 name who has not arrived in time: only JAX's private API can be told when."""
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    service = _jax.get_distributed_runtime_service
    _jax.get_distributed_runtime_service = functools.partial(service, cluster_register_timeout=seconds)
    try:
        yield
    finally:
        _jax.get_distributed_runtime_service = service


@contextlib.contextmanager
def _stderr_kept() -> Iterator[Callable[[], str]]:
    """Keeps what C++ prints meanwhile, for a function that puts stderr back and returns it."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)

        def said() -> str:
            os.dup2(stderr, 2)
            return os.pread(kept.fileno(), 2**20, 0).decode(errors="replace")

        try:
            yield said
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


@contextlib.contextmanager
def _stdout_to_stderr() -> Iterator[None]:
    """Keeps what C++ prints meanwhile from what is piped into a program."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _lost(processes: str) -> str:
    return f"process {processes} is lost: it ended, or gave no sign of life (its own output may say why)"


def _end(message: str) -> NoReturn:
    os.write(2, f"jaxlr: error: {message}; {_CURE}\n".encode())
    os._exit(_LOST_STATUS)


_describe: list[Callable[[], str]] = []


def _at_abort(describe: Callable[[], str]) -> None:
    """Ends with a line of ours where JAX aborts: when process 0, or one at the start, is missing.

    JAX calls C's `abort`, in which no handler of `signal.signal` would run before the process has ended.
    """
    _describe[:] = [describe]
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, type(_on_abort)]
    libc.signal(signal.SIGABRT, _on_abort)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _on_abort(number: int) -> None:
    del number
    _end(_describe[0]())
