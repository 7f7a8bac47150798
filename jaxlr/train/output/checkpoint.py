"""The checkpoints of a run or a sweep: written in the background, verified when they are loaded."""

import contextlib
import gc
import hashlib
import json
import math
import shutil
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from jaxlr.train.device.numerics import numerics
from jaxlr.train.errors import CheckpointError
from jaxlr.train.workarounds import quiet_orbax, single_process_orbax


# The share of a run's time that checkpoints may take by default, so not every epoch gets one. On a fast
# device an epoch takes less time than a checkpoint, and a checkpoint of a sweep holds all its models.
_SHARE_OF_TIME = 0.05


class Checkpoint(NamedTuple):
    """The state of a run after an epoch, from which the run can resume."""

    epoch: int  # the last epoch that `state` was trained for
    state: Any  # a `TrainState`, or any other pytree of arrays and keys
    rows: str | None = None  # the digest of metrics.jsonl or sweep.csv up to this epoch


class Checkpoints:
    """The checkpoints that a run writes, in the background. The newest two and the best one are kept.

    The best one is that with the lowest validation loss.
    """

    def __init__(
        self,
        folder: Path,
        losses: dict[int, float],
        every: int | None = 1,
        numerics: Callable[[], dict[str, str]] = numerics,
    ):
        """Prepare to write to `folder`, which is created on entering the context.

        Args:
            folder: a folder for these checkpoints only.
            losses: the validation loss of each epoch so far. The caller adds to it as epochs end.
            every: the number of epochs from one checkpoint to the next, or None to spend about
                `_SHARE_OF_TIME` of the time on them.
            numerics: returns everything that decides the bits of the run.
        """
        self._folder = folder.absolute()
        self._losses = losses
        self._every = every
        self._numerics = numerics
        self._due = -math.inf  # on the monotonic clock

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            ocp = stack.enter_context(_orbax())
            self._folder.mkdir(parents=True, exist_ok=True)
            policies = ocp.training.preservation_policies
            self._checkpointer = ocp.training.Checkpointer(
                self._folder,
                preservation_policy=policies.AnyPreservationPolicy(
                    [policies.LatestN(2), _LowestLoss(self._losses)]
                ),
                cleanup_tmp_directories=True,
                lightweight_initialize=True,  # otherwise damaged metadata raises an error here
            )
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        """Wait until the last checkpoint is complete."""
        with self._stack, _os_errors():
            self._checkpointer.close()

    def is_due(self, num_epochs: int) -> bool:
        """Return True if a checkpoint is due after `num_epochs` epochs."""
        return time.monotonic() >= self._due if self._every is None else num_epochs % self._every == 0

    def save(self, epoch: int, state: Any, config: dict[str, Any], rows: str | None = None) -> None:
        """Start to write a checkpoint. Wait for the previous one to be complete first.

        Args:
            epoch: the last epoch that `state` was trained for.
            state: the state of the run.
            config: the settings of the run.
            rows: the digest of metrics.jsonl or sweep.csv up to this epoch.
        """
        start = time.monotonic()
        arrays = _to_host(state)
        leaves = _digests_of(arrays)
        metadata = {"epoch": epoch, "config": config, "rows": rows, "numerics": self._numerics()}
        metadata |= {"digest": _digest_with_names(leaves), "contents": _digest_without_names(leaves)}
        metadata["seal"] = _seal(metadata)
        with _os_errors():
            # Without `overwrite` Orbax would list all checkpoints, and raise if any metadata is damaged.
            self._checkpointer.save_async(
                epoch, arrays, force=True, overwrite=True, custom_metadata=metadata
            )
        self._due = time.monotonic() + (time.monotonic() - start) / _SHARE_OF_TIME


def saved_epochs(folder: Path) -> list[int]:
    """List the epochs that have a complete checkpoint in `folder`, the newest first."""
    if not folder.is_dir():
        return []
    # Orbax renames a checkpoint to its number when it is complete. Until then its name is longer.
    return sorted((int(path.name) for path in folder.iterdir() if path.name.isdecimal()), reverse=True)


def load_newest(
    folder: Path,
    like: Any,
    check: Callable[[dict[str, Any]], None],
    check_numerics: Callable[[dict[str, str]], None] = lambda saved: None,
) -> Checkpoint | None:
    """Load the newest checkpoint that is not damaged. Rename the damaged ones, with a warning.

    Args:
        folder: the folder that `Checkpoints` wrote to.
        like: a state of a run with the same settings, or its `jax.eval_shape`: the structure, shapes and
            dtypes to load.
        check: called with the config that was saved with the checkpoint. It raises an error if the run has
            other settings.
        check_numerics: called with the `numerics` that were saved with the checkpoint. It raises an error
            if the run must not resume with other bits.

    Returns:
        The checkpoint, or None if there are no checkpoints.

    Raises:
        CheckpointError: all checkpoints are damaged.
    """
    damaged: dict[int, str] = {}
    with quiet_orbax():
        checkpoint = _first_intact(folder, like, check, check_numerics, damaged)
        if damaged:
            gc.collect()  # asyncio logs failed tasks when they are collected, so that must happen in here
    if checkpoint is not None:
        _set_aside(folder, damaged, checkpoint.epoch)
    elif damaged:
        reason = next(iter(damaged.values()))
        raise CheckpointError(
            f"every checkpoint in {folder} is damaged: start again with another --out ({reason})"
        )
    return checkpoint


def read_newest(folder: Path) -> dict[str, Any] | None:
    """Return the metadata of the newest checkpoint, or None if there is none or it is damaged.

    Unlike `load_newest` this needs no state of the same structure, and leaves damaged checkpoints alone.
    """
    for epoch in saved_epochs(folder)[:1]:
        path = (folder / str(epoch)).absolute()
        try:
            metadata = _read_metadata(path)
            with _orbax() as ocp:
                arrays = ocp.load(path)
            if _digest_without_names(_digests_of(arrays)) == metadata["contents"]:
                return metadata
        except Exception:  # a damaged file can raise almost any error, and load_newest reports it
            return None
    return None


def digest_of(arrays: Any) -> str:
    """Return the SHA-256 of all arrays. Orbax does not notice a flipped byte in an array."""
    return _digest_with_names(_digests_of(arrays))


def _digests_of(arrays: Any) -> list[tuple[str, str]]:
    """Return the name and the SHA-256 of each array."""
    digests = []
    for path, leaf in jax.tree_util.tree_leaves_with_path(arrays):
        digest = hashlib.sha256(f"{leaf.dtype} {leaf.shape}".encode())
        digest.update(np.ascontiguousarray(leaf).data)
        digests.append((jax.tree_util.keystr(path), digest.hexdigest()))
    return digests


def _digest_with_names(digests: Sequence[tuple[str, str]]) -> str:
    return hashlib.sha256(json.dumps(digests).encode()).hexdigest()


def _digest_without_names(digests: Sequence[tuple[str, str]]) -> str:
    """Return a digest that does not depend on names and order, which Orbax changes without a template."""
    return hashlib.sha256(json.dumps(sorted(digest for _, digest in digests)).encode()).hexdigest()


class _LowestLoss:
    """A preservation policy for the checkpoint with the lowest loss. The newest one wins a tie."""

    def __init__(self, losses: dict[int, float]):
        self._losses = losses

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        del context

        def rank(epoch: int) -> tuple[float, int]:
            loss = self._losses.get(epoch, math.nan)
            return (math.inf if math.isnan(loss) else loss, -epoch)

        best = min((checkpoint.step for checkpoint in checkpoints), key=rank, default=None)
        return [checkpoint.step == best for checkpoint in checkpoints]


def _first_intact(
    folder: Path,
    like: Any,
    check: Callable[[dict[str, Any]], None],
    check_numerics: Callable[[dict[str, str]], None],
    damaged: dict[int, str],
) -> Checkpoint | None:
    """Load the newest checkpoint that is not damaged. Add the epochs of newer ones to `damaged`."""
    for epoch in saved_epochs(folder):
        path = (folder / str(epoch)).absolute()
        try:
            metadata = _read_metadata(path)
        except Exception as error:  # a damaged file can raise almost any error
            damaged[epoch] = _one_line(error)
            continue
        check(metadata["config"])
        check_numerics(metadata["numerics"])
        try:
            return Checkpoint(epoch, _read_state(path, like, metadata["digest"]), metadata["rows"])
        except Exception as error:
            damaged[epoch] = _one_line(error)
    return None


def _read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of a checkpoint. Raise an error if it is not what was saved."""
    # When the metadata is damaged, Orbax leaves a coroutine that is never awaited, and Python warns of it.
    with _orbax() as ocp, warnings.catch_warnings(action="ignore", category=RuntimeWarning):
        metadata = dict(ocp.metadata(path).custom_metadata or {})
    if metadata.pop("seal", None) != _seal(metadata) or str(metadata["epoch"]) != path.name:
        raise ValueError("its metadata is not what was saved")
    return metadata


def _read_state(path: Path, like: Any, digest: str) -> Any:
    """Read the arrays of a checkpoint onto the device. Raise an error unless they have this digest."""
    shapes = jax.eval_shape(_without_keys, like)
    template = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    with _orbax() as ocp:
        arrays = ocp.load(path, template)
    if digest != digest_of(arrays):
        raise ValueError("its arrays are not what was saved")
    return jax.tree.map(
        lambda leaf, array: jax.random.wrap_key_data(array) if _is_key(leaf) else array,
        like,
        jax.device_put(arrays),
    )


def _set_aside(folder: Path, damaged: dict[int, str], epoch: int) -> None:
    """Rename the damaged checkpoints, and warn that the run resumes from `epoch` instead.

    Those that were renamed at an earlier time are deleted.
    """
    if damaged:
        for path in [path for path in folder.iterdir() if path.name.startswith("damaged-")]:
            shutil.rmtree(path, ignore_errors=True)
    for number, reason in damaged.items():
        aside = folder / f"damaged-{number}"
        (folder / str(number)).rename(aside)
        warnings.warn(
            f"the checkpoint of epoch {number} is damaged and was renamed to {aside}:"
            f" resuming from the checkpoint of epoch {epoch} ({reason})",
            stacklevel=2,
        )


@contextlib.contextmanager
def _orbax() -> Iterator[Any]:
    """Yield Orbax's API, quiet and for this process alone."""
    from orbax.checkpoint import v1  # here, because the import is slow

    with quiet_orbax(), single_process_orbax():
        yield v1


@contextlib.contextmanager
def _os_errors() -> Iterator[None]:
    """Turn any error in the block into an OSError that says that the checkpoint failed."""
    try:
        yield
    except Exception as error:  # Orbax and TensorStore raise ValueError, RuntimeError and others
        raise OSError(f"the checkpoint failed: {_one_line(error)}") from error


def _to_host(state: Any) -> Any:
    """Copy the state to host memory. The next epoch donates its buffers while the copy is written."""
    return jax.tree.map(lambda leaf: np.array(leaf, copy=True), _without_keys(state))


def _without_keys(state: Any) -> Any:
    """Replace random keys by their bits, which NumPy can hold."""
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, state)


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _seal(metadata: dict[str, Any]) -> str:
    """Return the SHA-256 of the metadata, which is stored with it."""
    return hashlib.sha256(json.dumps(metadata, sort_keys=True).encode()).hexdigest()


def _one_line(error: Exception) -> str:
    text = " ".join(f"{type(error).__name__}: {error}".split()).partition(" [tensorstore_spec=")[0]
    if len(text) <= 200:
        return text
    return f"{text[:80]} ... {text[-115:]}"  # TensorStore repeats the path, and gives the reason last
