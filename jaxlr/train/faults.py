"""What ends a run before its time, each as one line for the user."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax

from jaxlr.train.config import RunConfig, SweepConfig
from jaxlr.train.errors import DeviceError, StorageError
from jaxlr.train.output.checkpoint import saved_epochs
from jaxlr.train.output.folder import checkpoints_of, resume_command


def how_to_go_on(config: RunConfig, out: Path) -> str:
    """The command that goes on with the run in `out`, and from where."""
    epochs = saved_epochs(checkpoints_of(out))
    start = f"after epoch {name_of(config, epochs[0])}" if epochs else "from the start"
    return f"{resume_command(config.command, out)} goes on {start}"


def name_of(config: RunConfig, epoch: int) -> str:
    """The epoch of a checkpoint, in words: those of a sweep count on from chunk to chunk."""
    if not isinstance(config, SweepConfig):
        return str(epoch)
    chunk, epoch = divmod(epoch, config.epochs)
    return f"{epoch} of chunk {chunk}"


def is_lost(row: dict[str, Any]) -> bool:
    """Whether a loss of that epoch is NaN or infinite."""
    return not (math.isfinite(row["train_loss"]) and math.isfinite(row["valid_loss"]))


def describe_loss(config: RunConfig, history: Sequence[dict[str, Any]], out: Path) -> str:
    """What to know of a run whose last epoch is lost."""
    row = history[-1]
    finite = [row for row in history if math.isfinite(row["train_loss"])]
    last = f"{finite[-1]['train_loss']:.4g} in epoch {finite[-1]['epoch']}" if finite else "none"
    return (
        f"the loss became {row['train_loss']:g} in training and {row['valid_loss']:g} in validation in"
        f" epoch {row['epoch']}, at a learning rate of {row['lr']:g} (last finite training loss: {last}):"
        " lower --lr in a new run, or go on as torch would, with --on-nan continue; "
        + how_to_go_on(config, out)
    )


@contextlib.contextmanager
def writing(config: RunConfig, out: Path) -> Iterator[None]:
    """Says of a full disk, or of one that went away, what is safe and how to go on."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"cannot write to {out}: {error}; once it can be, {how_to_go_on(config, out)}"
        ) from error


@contextlib.contextmanager
def fitting(config: RunConfig) -> Iterator[None]:
    """Says of a device, or a host, that runs out of memory what there was to hold."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        reason = " ".join(str(error).split())
        if isinstance(error, jax.errors.JaxRuntimeError) and not _is_out_of_memory(reason):
            raise
        devices = ", ".join(str(device) for device in jax.devices())
        cures = "--seeds, --chunk, " if isinstance(config, SweepConfig) else ""
        raise DeviceError(
            f"out of memory on {devices} with batches of {config.batch_size}: lower {cures}--batch-size or"
            f" --hidden ({reason[:200]})"
        ) from error


def _is_out_of_memory(reason: str) -> bool:
    return "RESOURCE_EXHAUSTED" in reason or "out of memory" in reason.lower()
