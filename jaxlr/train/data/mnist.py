"""MNIST, from a TFDS preparation, from its four IDX files, or from the network."""

import gzip
import io
import math
import struct
import threading
import zlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from jaxlr.train.data.dataset import Dataset, check_dataset
from jaxlr.train.data.tfds import load_prepared, prepared_folders
from jaxlr.train.errors import DataError


# The four files, in the order of `Dataset`'s fields, and the MD5 sums of their .gz form.
_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_PROBE_SECONDS = 3.0  # per mirror: without a network the user waits at most twice this long


def load_mnist(root: Path, progress: bool) -> Dataset:
    """Load MNIST from under `root`, from the download cache, or from the network."""
    # Reading a tfrecord preparation needs TensorFlow, so only array_record counts here.
    if any(any(folder.glob("*.array_record*")) for folder in prepared_folders("mnist", root)):
        return load_prepared("mnist", root, progress)
    for folder in (root, root / "MNIST" / "raw", root / "raw"):
        if len(_idx_files(folder)) == len(_MD5):
            return _read_mnist(folder)
    return _read_mnist(_fill_cache(root, progress))


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzip-compressed.

    Reading takes no more memory than the file holds, and no more than its header claims.

    Args:
        path: the file. Its content decides whether it is compressed, not its suffix.

    Raises:
        DataError: the file is missing, damaged, or not an IDX file of unsigned bytes.
    """
    try:
        with _open_idx(path) as file:
            shape = _read_idx_shape(file, path)
            size = math.prod(shape)
            data = _read_at_most(size + 1, file)
    except MemoryError as error:
        raise DataError(f"{path} does not fit into memory") from error
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(data) != size:
        held = f"only {len(data)}" if len(data) < size else "more"
        raise DataError(f"{path} is damaged: its header claims {size} bytes, but it holds {held}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _read_mnist(folder: Path) -> Dataset:
    try:
        arrays = []
        for path, ndim in zip(_idx_files(folder), (3, 1, 3, 1), strict=True):
            array = read_idx(path)
            if array.ndim != ndim:
                raise DataError(f"{path} has {array.ndim} dimensions, expected {ndim}")
            arrays.append(array if ndim == 3 else array.astype(np.int32))
        dataset = Dataset(*arrays, num_classes=10)
        check_dataset(dataset, folder)
    except DataError as error:
        raise DataError(f"{error}; get MNIST again, or give another --data-dir") from error
    return dataset


def _idx_files(folder: Path) -> list[Path]:
    """Return the files of the four that are in `folder`. A .gz file comes before a plain one."""
    candidates = {name: (folder / name, folder / f"{name}.gz") for name in _MD5}
    found = {name: path for name, paths in candidates.items() for path in paths if path.is_file()}
    return list(found.values())


def _open_idx(path: Path) -> io.BufferedIOBase:
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if compressed else path.open("rb")


def _read_idx_shape(file: io.BufferedIOBase, path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if magic[:3] != b"\0\0\x08" or len(magic) < 4 or not 1 <= magic[3] <= 3:
        raise DataError(
            f"{path} is not an IDX file of unsigned bytes: it begins with"
            f" {magic.hex(' ') or 'nothing'}, expected 00 00 08 and then 01, 02 or 03 for its dimensions"
        )
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path} is damaged: it ends within its header")
    shape = struct.unpack(f">{magic[3]}I", header)
    if 0 in shape:
        raise DataError(f"{path} is empty: its header gives the shape {shape}")
    return shape


def _read_at_most(size: int, file: io.BufferedIOBase) -> bytearray:
    # One `file.read(size)` would allocate whatever the header claims, so the file is read in pieces.
    data = bytearray()
    while piece := file.read(min(size - len(data), 1 << 20)):
        data += piece
    return data


def _fill_cache(root: Path, progress: bool) -> Path:
    """Download the files that are missing or damaged in the cache. Return the folder of the cache."""
    import pooch

    cache = pooch.os_cache("jaxlr") / "mnist"
    files = {f"{name}.gz": md5 for name, md5 in _MD5.items()}
    missing = {
        name: md5
        for name, md5 in files.items()
        if not (cache / name).is_file() or pooch.file_hash(str(cache / name), alg="md5") != md5
    }
    if missing and (failures := _download(missing, cache, progress)):
        raise DataError(
            f"cannot find MNIST under {root} (neither mnist/ prepared by TFDS as array_record, nor"
            f" {', '.join(_MD5)}, plain or .gz, in it or in its MNIST/raw or raw) or in {cache}, and cannot"
            f" download it ({'; '.join(failures)}): pass the folder that has MNIST as --data-dir, or use"
            " --dataset digits, which needs no network"
        )
    return cache


def _download(files: dict[str, str], folder: Path, progress: bool) -> list[str]:
    """Download `files` from the first mirror that has them all.

    Returns:
        The reason why each mirror failed, or an empty list if one of them succeeded.
    """
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # its messages would break the progress bar
    # Any: pooch's downloaders do not match the protocol that pooch declares for them.
    downloader: Any = pooch.HTTPDownloader(progressbar=progress, timeout=10)
    failures = []
    for mirror in _MIRRORS:
        try:
            _probe(mirror + next(iter(files)))
            for name, md5 in files.items():
                pooch.retrieve(mirror + name, f"md5:{md5}", name, folder, downloader=downloader)
            return []
        except (requests.RequestException, TimeoutError) as error:
            failures.append(f"{mirror}: {type(error).__name__}")
        except ValueError as error:  # pooch raises it for a wrong checksum
            failures.append(f"{mirror}: {error}")
    return failures


def _probe(url: str) -> None:
    """Raise an error unless the server answers within `_PROBE_SECONDS`.

    The request runs in a thread, because socket timeouts limit neither name lookups nor hosts with many
    addresses. It is a daemon thread, so that the process can end while it still waits.
    """
    import requests

    answer: Future[None] = Future()

    def ask() -> None:
        try:
            requests.head(url, timeout=_PROBE_SECONDS).raise_for_status()
            answer.set_result(None)
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, daemon=True).start()
    answer.result(timeout=_PROBE_SECONDS)
