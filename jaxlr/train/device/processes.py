"""Several processes that train one run together, with JAX's distributed runtime."""

import contextlib
import pickle
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from jaxlr.train.device.watchdog import Watchdog, gloo_to_stderr, initialize
from jaxlr.train.errors import LossError, StopError
from jaxlr.train.groups import TrainDevice


T = TypeVar("T")


@contextlib.contextmanager
def joined(device: TrainDevice) -> Iterator[None]:
    """Join the processes of the run for the block. If one of them is lost, all of them end.

    Enter it before JAX is used. Without --distributed it does nothing.

    Raises:
        DeviceError: no cluster is found, the coordinator's port is taken, or the processes have different
            settings or numbers of devices.
    """
    if not device.distributed:
        yield
        return
    initialize(device)
    watchdog = Watchdog(device.peer_timeout)
    try:
        with gloo_to_stderr():
            multihost_utils.sync_global_devices("the start of the run")
        end = None
        try:
            yield
        except (LossError, StopError) as error:  # all processes raise these together
            end = error
        multihost_utils.sync_global_devices("the end of the run")
    except (ValueError, jax.errors.JaxRuntimeError) as error:
        # A collective fails as soon as another process is gone. The watchdog finds out which one.
        if "Gloo" in str(error) or isinstance(error, jax.errors.JaxRuntimeError):
            watchdog.wait_for_verdict()
        raise
    watchdog.leave()
    if end is not None:
        raise end


def is_first() -> bool:
    """Return True on process 0, which reads and writes for all, or if there is only one process."""
    return not jax.distributed.is_initialized() or jax.process_index() == 0


def from_first(make: Callable[[], T]) -> T:
    """Call `make` on process 0 alone, and return its result on every process."""
    if not jax.distributed.is_initialized():
        return make()
    content = np.frombuffer(pickle.dumps(make()) if is_first() else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.uint32(len(content))))
    content = content if is_first() else np.zeros(size, np.uint8)
    return pickle.loads(multihost_utils.broadcast_one_to_all(content).tobytes())


def largest(number: int) -> int:
    """Return the largest `number` of all processes, so that a signal to one of them stops all."""
    if not jax.distributed.is_initialized():
        return number
    return int(multihost_utils.process_allgather(np.int32(number)).max())
