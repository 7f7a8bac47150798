"""The watchdog that names a lost process.

Everything that needs JAX's private API or file descriptors is in this module. JAX itself ends a run when a
process is lost, but it does not name that process. A collective on GPUs may also wait for it forever
(https://github.com/jax-ml/jax/issues/38503). Each workaround names the versions of JAX that need it.
Background: https://docs.jax.dev/en/latest/fault_tolerance.html.
"""

import contextlib
import ctypes
import functools
import json
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import jax

from jaxlr.train.device.mesh import check_shares, devices_found
from jaxlr.train.device.numerics import decisive_settings
from jaxlr.train.errors import DeviceError
from jaxlr.train.groups import TrainDevice


_LOST_STATUS = 5  # exit status of the processes that remain when one is lost
_CURE = "to resume from its last checkpoint, start all processes again, with --resume and the same --out"
_GRACE = 5.0  # seconds for a process to finish writing after another one is lost


def initialize(device: TrainDevice) -> None:
    """Meet the other processes. If one of them does not arrive in time, name it and end this process.

    Raises:
        DeviceError: no cluster is found, the coordinator's port is taken, or process 0 was started with
            other settings.
    """
    # By default JAX ends the other processes before they can name the lost one, and takes over SIGTERM.
    jax.config.update("jax_enable_recoverability", True)
    jax.config.update("jax_enable_preemption_service", False)
    if device.process_id == 0:
        _check_port(device.coordinator or "")
    with _captured_stderr() as captured, _register_timeout(device.peer_timeout):

        def describe() -> str:
            time.sleep(1)  # process 0 is telling the others
            missing = re.search(r"timed out task names:\s*((?:\d+\s+)+)", captured())
            who = f"process {', '.join(missing[1].split())}" if missing else "process 0, the coordinator,"
            return f"{who} did not arrive within {device.peer_timeout} seconds"

        _end_on_abort(describe)
        try:
            jax.distributed.initialize(
                device.coordinator,
                device.num_processes,
                device.process_id,
                # Longer than the register timeout, so that process 0 can name the missing processes first.
                initialization_timeout=device.peer_timeout + 5,
                heartbeat_timeout_seconds=device.peer_timeout,
            )
        except (ValueError, RuntimeError) as error:
            raise DeviceError(
                "--distributed finds no cluster, of SLURM or another kind: give --coordinator HOST:PORT,"
                f" --num-processes and --process-id ({error})"
            ) from error
    _end_on_abort(lambda: _lost("0"))
    _check_settings(device.peer_timeout)


class Watchdog:
    """A thread that asks JAX every second which processes are alive, and ends this one if another is lost.

    Args:
        timeout: seconds without a sign of life after which JAX counts a process as lost.
    """

    def __init__(self, timeout: int):
        self._timeout = timeout
        self._has_left = threading.Event()
        self._is_unwound = threading.Event()  # set when this process has nothing left to save
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        try:
            devices = devices_found()  # waits until all processes have theirs
        except DeviceError as error:
            if "UNAVAILABLE" in str(error):  # process 0 has gone meanwhile
                self.wait_for_verdict()
            raise
        check_shares(devices)

    def wait_for_verdict(self) -> None:
        """Wait until a process counts as lost, which ends this one. Return if none does."""
        self._is_unwound.set()
        self._thread.join(self._timeout + _GRACE)

    def leave(self) -> None:
        """Stop watching, as all processes do now. Process 0 connects them, so it leaves last."""
        self._has_left.set()
        self._is_unwound.set()
        self._thread.join()
        others_remain = is_coordinator = jax.process_index() == 0
        while is_coordinator and others_remain:
            others_remain = len(_alive()) > 1  # JAX answers when another process has left
        jax.distributed.shutdown()
        ctypes.CDLL(None).signal(signal.SIGABRT, None)

    def _watch(self) -> None:
        processes = alive = set(range(_runtime().num_processes))
        while alive == processes and not self._has_left.wait(1.0):
            try:
                alive = _alive()
            except RuntimeError:  # nobody answers: process 0 is lost, or this process is ending
                alive = processes - {0}
        self._is_unwound.wait(_GRACE)
        if jax.distributed.is_initialized() and not self._has_left.is_set():
            _end(_lost(", ".join(str(process) for process in sorted(processes - alive))))


@contextlib.contextmanager
def gloo_to_stderr() -> Iterator[None]:
    """Send what Gloo prints on stdout in the block to stderr, so that stdout holds results alone.

    Gloo writes "[Gloo] Rank 0 is connected ..." to file descriptor 1 from C++ (JAX 0.10 to 0.12). Remove
    this when Gloo stops printing, or prints on stderr.
    """
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _alive() -> set[int]:
    """Return the processes that are alive. The call returns when all of those have called it.

    `get_live_nodes` is private in JAX 0.10 to 0.12. Replace it when JAX has a public function for it. The
    public `jax.experimental.multihost_utils.live_devices` needs the devices of every process first.
    """
    runtime = _runtime()
    return set(runtime.client.get_live_nodes(list(range(runtime.num_processes))))


def _runtime() -> Any:
    """Return JAX's state of the distributed runtime.

    It is private in JAX 0.10 to 0.12. The public `jax.process_count` waits for the devices of all
    processes, and hangs if one of them never finds any.
    """
    from jax._src import distributed  # pyright: ignore[reportPrivateImportUsage]

    return distributed.global_state


def _check_port(coordinator: str) -> None:
    """Raise a DeviceError if the port is taken. JAX would abort the process."""
    port = int(coordinator.rpartition(":")[2])
    try:
        socket.create_server(("", port)).close()
    except OSError as error:
        reason = os.strerror(error.errno or 0)
        raise DeviceError(
            f"cannot listen on port {port} of --coordinator: {reason}; give another"
        ) from error


def _check_settings(timeout: int) -> None:
    """Raise a DeviceError unless this process has the settings of process 0.

    With another number of processes, JAX trains, and waits at the end for processes that do not exist.
    """
    runtime, key = _runtime(), "jaxlr/settings"
    settings = {"--num-processes": str(runtime.num_processes), **decisive_settings()}
    if runtime.process_id == 0:
        runtime.client.key_value_set(key, json.dumps(settings))
        return
    first = json.loads(runtime.client.blocking_key_value_get(key, timeout * 1000))
    for name, value in settings.items():
        if first[name] != value:
            raise DeviceError(
                f"{name} is {value} here and {first[name]} on process 0: give all processes the same"
            )


@contextlib.contextmanager
def _register_timeout(seconds: int) -> Iterator[None]:
    """Set how long process 0 waits before it names the missing processes.

    The private service takes `cluster_register_timeout`, which the public `jax.distributed.initialize` does
    not pass on (JAX 0.10 to 0.12). Remove this when `initialize` has an argument for it.
    """
    from jax._src.lib import _jax  # pyright: ignore[reportPrivateImportUsage]

    service = _jax.get_distributed_runtime_service
    _jax.get_distributed_runtime_service = functools.partial(service, cluster_register_timeout=seconds)
    try:
        yield
    finally:
        _jax.get_distributed_runtime_service = service


@contextlib.contextmanager
def _captured_stderr() -> Iterator[Callable[[], str]]:
    """Capture what C++ prints on stderr in the block. The yielded function restores stderr and returns it.

    JAX names the missing processes only in this output, right before it aborts (JAX 0.10 to 0.12).
    """
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def captured() -> str:
            os.dup2(stderr, 2)
            return os.pread(file.fileno(), 2**20, 0).decode(errors="replace")

        try:
            yield captured
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def _lost(processes: str) -> str:
    return f"process {processes} is lost: it ended, or gave no sign of life (its own output may say why)"


def _end(message: str) -> NoReturn:
    os.write(2, f"jaxlr: error: {message}; {_CURE}\n".encode())
    os._exit(_LOST_STATUS)


# The handler is called from C, which passes no more than the signal: the message waits here.
_describe_abort: Callable[[], str] | None = None


def _end_on_abort(describe: Callable[[], str]) -> None:
    """End with `describe()` as the error where JAX aborts: process 0 is lost, or one never arrived.

    JAX's C++ calls `abort` (JAX 0.10 to 0.12), and the process would end before a handler of Python's
    `signal.signal` runs. Remove this when JAX raises a Python exception instead.
    """
    global _describe_abort
    _describe_abort = describe
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = [ctypes.c_int, type(_on_abort)]
    libc.signal(signal.SIGABRT, _on_abort)


@ctypes.CFUNCTYPE(None, ctypes.c_int)
def _on_abort(number: int) -> None:
    del number
    _end(_describe_abort() if _describe_abort else "JAX has aborted")
