"""The event files of TensorBoard."""

import itertools
import math
import struct
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from jaxlr._checks import shorten


_LARGEST_RECORD = 2**28


def is_event_file(start: bytes) -> bool:
    """Check for the frame of TensorBoard's first record, a version such as "brain.Event:2"."""
    return b"brain.Event:" in start[:64]


def read_events(
    file: Path, notes: list[str], names: dict[str, None], is_kept: Callable[[str], bool]
) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each step in an event file, with the scalars that are kept.

    A step that was logged again, with another value of the same name, has another row.

    Args:
        file: the file.
        notes: a sentence is added for each thing that is damaged.
        names: the names of all scalars are added.
        is_kept: a function of the name of a scalar.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed.
    """
    for step, scalars in itertools.groupby(_scalars(file, notes, names, is_kept), lambda row: row["step"]):
        row: dict[str, Any] = {"step": step}
        for scalar in scalars:
            if scalar.keys() & row.keys() != {"step"}:
                yield row
                row = {}
            row |= scalar
        yield row


def _scalars(
    file: Path, notes: list[str], names: dict[str, None], is_kept: Callable[[str], bool]
) -> Iterator[Mapping[str, Any]]:
    """Yield a row for each scalar in an event file that is kept."""
    try:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboardX.record_writer import masked_crc32c
    except ModuleNotFoundError as error:
        message = "an event file of TensorBoard needs tensorboardX: pip install tensorboardX"
        raise ModuleNotFoundError(message, name=error.name) from None
    with file.open("rb") as stream:
        while header := stream.read(12):
            length = int.from_bytes(header[:8], "little")
            is_sound = (
                len(header) == 12
                and length < _LARGEST_RECORD
                and struct.pack("<I", masked_crc32c(header[:8])) == header[8:]
            )
            record = stream.read(length + 4)[:-4] if is_sound else b""
            if not is_sound or len(record) < length:
                notes.append(f"{shorten(file.name)} is damaged or cut off at byte {stream.tell()}.")
                return
            try:
                event = Event.FromString(record)
            except Exception:  # protobuf's own error, which has no stable name
                notes.append(f"{shorten(file.name)} has a damaged record before byte {stream.tell()}.")
                continue
            for value in event.summary.value:
                number = _scalar(value)
                if number is None:
                    continue
                names[value.tag] = None
                if is_kept(value.tag):
                    yield {"step": event.step, value.tag: number}


def _scalar(value: Any) -> Decimal | None:
    """Return the float32 of a scalar summary with nine digits, which tell it from its neighbours."""
    if value.HasField("simple_value"):
        number = value.simple_value
    elif value.HasField("tensor") and value.tensor.float_val:
        number = value.tensor.float_val[0]
    elif value.HasField("tensor") and value.tensor.dtype == 1 and len(value.tensor.tensor_content) == 4:
        (number,) = struct.unpack("<f", value.tensor.tensor_content)
    else:
        return None
    return Decimal(f"{number:.8e}") if math.isfinite(number) else None
