"""The checkpoints of a run, or of a sweep: the only file that knows Orbax."""

import contextlib
import gc
import hashlib
import json
import logging
import math
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr.train.errors import CheckpointError


# Spent on checkpoints. An epoch on a fast device is shorter than the writing of one, and that of a sweep
# holds all its models: so, unless told otherwise, a checkpoint that is not due yet is skipped.
_SHARE_OF_TIME = 0.05


class Checkpoint(NamedTuple):
    """What a run needs to go on."""

    epoch: int  # the last that `state` has been through
    state: Any  # a `TrainState`, or any other pytree of arrays and keys


def saved_epochs(folder: Path) -> list[int]:
    """The epochs of which `folder` has a checkpoint, the newest first."""
    if not folder.is_dir():
        return []
    # Orbax names a checkpoint by its number once it is complete, and by something longer before.
    return sorted((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), reverse=True)


def load_newest(folder: Path, like: Any, check: Callable[[dict[str, Any]], None]) -> Checkpoint | None:
    """The newest checkpoint that is sound; a damaged one is set aside with a warning.

    Args:
        folder: where `Checkpoints` wrote.
        like: a state of the same recipe, or what `jax.eval_shape` tells of it: its structure, shapes and
            dtypes are taken.
        check: called with the config that a checkpoint was saved with, to refuse another recipe.

    Returns:
        The checkpoint, or None where there has never been one.

    Raises:
        CheckpointError: there are checkpoints, and all of them are damaged, or of other floats.
    """
    damaged: dict[int, str] = {}
    for epoch in saved_epochs(folder):
        path = (folder / str(epoch)).absolute()
        try:
            about = _read_about(path)
        except Exception as error:  # damage raises nearly anything in the layers below Orbax
            damaged[epoch] = _one_line(error)
            continue
        check(about["config"])
        if about["float"] != _float():
            raise CheckpointError(
                f"the run in {folder.parent} is of {about['float']}, and JAX is now set to {_float()}:"
                f" set JAX_ENABLE_X64={int(_float() == 'float32')}"
            )
        try:
            state = _read_state(path, like, about["digest"])
        except Exception as error:
            damaged[epoch] = _one_line(error)
            continue
        _set_aside(folder, damaged, epoch)
        return Checkpoint(epoch, state)
    if damaged:
        reason = next(iter(damaged.values()))
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged: start again with another --out ({reason})"
        )
    return None


class Checkpoints:
    """Saves in the background; keeps the newest two, and of all that are saved that of the lowest loss."""

    def __init__(self, folder: Path, losses: dict[int, float], every: int | None = 1):
        """Opens `folder`, made if need be.

        Args:
            folder: of this run alone.
            losses: validation loss by epoch, of the epochs so far; the caller goes on filling it.
            every: epochs from one checkpoint to the next; None for as few as `_SHARE_OF_TIME` allows.
        """
        self._folder = folder.absolute()
        self._losses = losses
        self._every = every
        self._due = -math.inf  # on the monotonic clock

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            stack.enter_context(_muted())
            ocp = _orbax()
            stack.enter_context(_alone(ocp))
            self._folder.mkdir(parents=True, exist_ok=True)
            policies = ocp.training.preservation_policies
            self._checkpointer = ocp.training.Checkpointer(
                self._folder,
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(2), _BestOf(self._losses)]
                ),
                cleanup_tmp_directories=True,
                lightweight_initialize=True,  # reads no metadata: that of a damaged one would raise
            )
            self._stack = stack.pop_all()
        return self

    def is_due(self, num_epochs: int) -> bool:
        """Whether the next checkpoint is to be written after so many epochs."""
        return time.monotonic() >= self._due if self._every is None else num_epochs % self._every == 0

    def save(self, epoch: int, state: Any, config: dict[str, Any]) -> None:
        """Starts to write a checkpoint; waits for the one before it."""
        began = time.monotonic()
        arrays = _to_host(state)
        about = {"epoch": epoch, "config": config, "float": _float(), "digest": digest_of(arrays)}
        about["seal"] = _seal(about)
        with _failures():
            # Without `overwrite` it would list all checkpoints, and trip over unread metadata.
            self._checkpointer.save_async(epoch, arrays, force=True, overwrite=True, custom_metadata=about)
        self._due = time.monotonic() + (time.monotonic() - began) / _SHARE_OF_TIME

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Waits until the last checkpoint is complete."""
        with self._stack, _failures():
            self._checkpointer.close()


class _BestOf:
    """The preservation policy that keeps the checkpoint of the lowest loss, the newer of two."""

    def __init__(self, losses: dict[int, float]):
        self._losses = losses

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context

        def rank(epoch: int) -> tuple[float, int]:
            loss = self._losses.get(epoch, math.nan)
            return (math.inf if math.isnan(loss) else loss, -epoch)

        best = min((checkpoint.step for checkpoint in checkpoints), key=rank, default=None)
        return [checkpoint.step == best for checkpoint in checkpoints]


def digest_of(arrays: Any) -> str:
    """Of every bit: the layers below notice no flipped byte in an array."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).data)
    return digest.hexdigest()


def _read_about(path: Path) -> dict[str, Any]:
    """What was noted beside the arrays, if it is as it was written."""
    ocp = _orbax()
    # Of damaged metadata Orbax leaves a coroutine behind that nothing awaits.
    with _muted(), _alone(ocp), warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        about = dict(ocp.metadata(path).custom_metadata or {})
    if about.pop("seal", None) != _seal(about) or str(about["epoch"]) != path.name:
        raise ValueError("what it says of itself is not what was saved")
    return about


def _read_state(path: Path, like: Any, digest: str) -> Any:
    shapes = jax.eval_shape(_without_keys, like)
    template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    ocp = _orbax()
    with _muted(), _alone(ocp):
        try:
            arrays = ocp.load(path, template)
        except Exception:
            gc.collect()  # what failed in the background is reported when it is collected: while muted
            raise
    if digest != digest_of(arrays):
        raise ValueError("its arrays are not those that were saved")
    return jax.tree.map(
        lambda leaf, array: jax.random.wrap_key_data(array) if _is_key(leaf) else array,
        like,
        jax.device_put(arrays),
    )


def _orbax() -> Any:
    """Orbax, which takes its time to import: a run needs it once it is about to train."""
    from orbax.checkpoint import v1

    return v1


@contextlib.contextmanager
def _alone(ocp: Any) -> Iterator[None]:
    """Orbax as it is in a run of one process: it waits for no other, of which none has anything to save."""
    if jax.process_count() == 1:
        yield
        return
    from orbax.checkpoint import checkpoint_manager

    this = jax.process_index()
    options = ocp.options.MultiprocessingOptions(primary_host=this, active_processes={this})
    # It refuses to make a folder then, and has no option to leave that out.
    without = mock.patch.object(checkpoint_manager, "_create_root_directory")
    with ocp.Context(multiprocessing_options=options), without:
        yield


def _set_aside(folder: Path, damaged: dict[int, str], epoch: int) -> None:
    for number, reason in damaged.items():
        aside = folder / f"damaged-{number}"
        shutil.rmtree(aside, ignore_errors=True)
        (folder / str(number)).rename(aside)
        warnings.warn(
            f"the checkpoint of epoch {number} is damaged, and is now {aside}: going on from that of"
            f" epoch {epoch} ({reason})",
            stacklevel=2,
        )


def _to_host(state: Any) -> Any:
    """Copies, for the next epoch consumes the state while they are written; keys as their bits."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), _without_keys(state))


def _without_keys(state: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _float() -> str:
    """JAX's default float, in which a run is computed."""
    return jax.dtypes.canonicalize_dtype(float).name


def _seal(about: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _one_line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]


@contextlib.contextmanager
def _failures() -> Iterator[None]:
    """Turns whatever a failed save raises into an `OSError`."""
    try:
        yield
    except Exception as error:  # ValueError, RuntimeError, ...: the layers below agree on none
        raise OSError(f"the checkpoint failed: {_one_line(error)}") from error


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """Says nothing of Orbax's inner life on stderr: what fails is raised as well."""
    if not _hooks:
        _hooks.append(sys.unraisablehook)
        sys.unraisablehook = _without_late_replies
        logging.getLogger().addFilter(lambda record: f"{os.sep}orbax{os.sep}" not in record.pathname)
    loggers = [logging.getLogger(name) for name in ("absl", "asyncio")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


_hooks: list[Callable[..., Any]] = []


def _without_late_replies(unraisable: Any) -> None:
    """When one array of a checkpoint fails, TensorStore reports the others to a loop that has ended.

    It does so from threads of its own and at any later time, so this hook stays in place.
    """
    if str(unraisable.exc_value) != "Event loop is closed":
        _hooks[-1](unraisable)
