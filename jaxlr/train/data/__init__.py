"""Digits, MNIST or any image-classification set that TFDS prepared, as uint8 arrays."""

import gzip
import io
import math
import os
import struct
import threading
import zlib
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from jaxlr.train.data.dataset import Dataset, checked
from jaxlr.train.data.tfds import load_prepared, prepared_folders
from jaxlr.train.errors import DataError


# The four files in the order of `Dataset`'s fields, with the MD5 sums of their .gz form.
_MNIST_MD5 = {
    "train-images-idx3-ubyte": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte": "ec29112dd5afa0611ce80d1b7f02629c",
}
_MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
_PROBE_SECONDS = 3.0  # for each mirror: without a network the user waits twice this long at most


def load_dataset(name: str, data_dir: Path | None = None, progress: bool = False) -> Dataset:
    """Loads a data set: from scikit-learn, from files, or, MNIST alone, from the network.

    MNIST is taken from the first of: a TFDS preparation or the four IDX files under `data_dir`,
    the download cache, the network. What TFDS prepared is decoded once and then cached.

    Args:
        name: `digits` (bundled with scikit-learn), `mnist`, or a TFDS set as `name`,
            `name/config` or `name:version`.
        data_dir: the folder that holds the data; by default `TFDS_DATA_DIR`, or else
            `~/tensorflow_datasets`.
        progress: whether to show a bar while downloading and decoding.

    Raises:
        DataError: the set is unknown, absent, damaged, or no image-classification set.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"the data directory {data_dir} is not a directory: name one that exists")
    if name == "digits":
        return _load_digits()
    root = data_dir or _default_dir()
    try:
        if name == "mnist":
            return _load_mnist(root, progress)
        return load_prepared(name, root, progress)
    except OSError as error:
        raise DataError(f"cannot load the data set {name!r}: {error}") from error


def read_idx(path: Path) -> np.ndarray:
    """Reads an IDX file of unsigned bytes, plain or gzip-compressed.

    Takes no more memory than the file holds or its header claims, whichever is less.

    Args:
        path: the file; its content, not its suffix, tells whether it is compressed.

    Raises:
        DataError: the file is missing, damaged, or holds something else.
    """
    try:
        with _open_idx(path) as file:
            shape = _read_idx_shape(file, path)
            size = math.prod(shape)
            data = _read_at_most(size + 1, file)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot read {path}: {error}") from error
    if len(data) != size:
        held = f"only {len(data)}" if len(data) < size else "more"
        raise DataError(f"{path} is damaged: its header claims {size} bytes, it holds {held}")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _default_dir() -> Path:
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise DataError(f"TFDS_DATA_DIR names no folder: {folder}: {error}") from error


def _load_digits() -> Dataset:
    from sklearn.datasets import load_digits

    scans, digits = load_digits(return_X_y=True)
    images = np.round(scans.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = digits.astype(np.int32)
    # Every fifth, not the last fifth: scans of a kind lie together, and a plain MLP that has not seen
    # the last ones stays at 92 % on them.
    is_test = np.arange(len(images)) % 5 == 4
    return Dataset(images[~is_test], labels[~is_test], images[is_test], labels[is_test], num_classes=10)


def _load_mnist(root: Path, progress: bool) -> Dataset:
    # TensorFlow users have it as tfrecord, which needs TensorFlow to read: then look further.
    if any(any(folder.glob("*.array_record*")) for folder in prepared_folders("mnist", root)):
        return load_prepared("mnist", root, progress)
    for folder in (root, root / "MNIST" / "raw", root / "raw"):
        if len(_idx_files(folder)) == len(_MNIST_MD5):
            return _read_mnist(folder)
    return _read_mnist(_mnist_cache(root, progress))


def _read_mnist(folder: Path) -> Dataset:
    arrays = []
    for path, ndim in zip(_idx_files(folder), (3, 1, 3, 1), strict=True):
        array = read_idx(path)
        if array.ndim != ndim:
            raise DataError(f"{path} has {array.ndim} dimensions, needed are {ndim}")
        arrays.append(array if ndim == 3 else array.astype(np.int32))
    return checked(Dataset(*arrays, num_classes=10), folder)


def _idx_files(folder: Path) -> list[Path]:
    candidates = {name: (folder / name, folder / f"{name}.gz") for name in _MNIST_MD5}
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
            f" {magic.hex(' ') or 'nothing'}, needed are 00 00 08 and 01, 02 or 03 dimensions"
        )
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise DataError(f"{path} is damaged: it ends within its header")
    shape = struct.unpack(f">{magic[3]}I", header)
    if 0 in shape:
        raise DataError(f"{path} is empty: its header gives the shape {shape}")
    return shape


def _read_at_most(size: int, file: io.BufferedIOBase) -> bytearray:
    # In pieces: `file.read(size)` would allocate whatever the header claims.
    data = bytearray()
    while piece := file.read(min(size - len(data), 1 << 20)):
        data += piece
    return data


def _mnist_cache(root: Path, progress: bool) -> Path:
    import pooch

    cache = pooch.os_cache("jaxlr") / "mnist"
    files = {f"{name}.gz": md5 for name, md5 in _MNIST_MD5.items()}
    missing = {
        name: md5
        for name, md5 in files.items()
        if not (cache / name).is_file() or pooch.file_hash(str(cache / name), alg="md5") != md5
    }
    if missing and (faults := _download(missing, cache, progress)):
        raise DataError(
            f"MNIST is neither under {root} (looked for mnist/ prepared by TFDS as array_record,"
            f" and for {', '.join(_MNIST_MD5)}, each plain or .gz, there, in MNIST/raw and in raw)"
            f" nor in {cache}, and cannot be downloaded ({'; '.join(faults)}): pass the folder that"
            " has it as --data-dir, or use --dataset digits, which needs no network"
        )
    return cache


def _download(files: dict[str, str], folder: Path, progress: bool) -> list[str]:
    """Fetches files from the first mirror that serves them all; returns the faults if none does."""
    import pooch
    import requests

    pooch.get_logger().setLevel("WARNING")  # the bar says what there is to say
    # Any: pooch's own downloaders do not match the protocol that it declares for them.
    downloader: Any = pooch.HTTPDownloader(progressbar=progress, timeout=10)
    faults = []
    for mirror in _MNIST_MIRRORS:
        try:
            _probe(mirror + next(iter(files)))
            for name, md5 in files.items():
                pooch.retrieve(mirror + name, f"md5:{md5}", name, folder, downloader=downloader)
            return []
        except (requests.RequestException, TimeoutError) as error:
            faults.append(f"{mirror}: {type(error).__name__}")
        except ValueError as error:  # pooch's for a wrong checksum
            faults.append(f"{mirror}: {error}")
    return faults


def _probe(url: str) -> None:
    """Raises unless a server answers in time.

    In a thread, because socket time-outs bound neither name look-ups nor hosts of many addresses;
    a daemon, because the process must not wait for it at its end.
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
