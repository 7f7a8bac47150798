"""Digits, MNIST or any image-classification set that TFDS prepared, as uint8 arrays."""

import contextlib
import difflib
import gzip
import hashlib
import io
import math
import os
import re
import reprlib
import struct
import tempfile
import threading
import warnings
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


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

_NAME = re.compile(r"([a-z][a-z0-9_]{0,99})(?:/(\w[\w.+-]{0,99}))?(?::(\d+\.\d+\.\d+))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)


class DataError(Exception):
    """The data set cannot be had or read; the message is one line for the user."""


class Dataset(NamedTuple):
    """Two splits of labelled images of one shape."""

    train_images: np.ndarray  # uint8, (samples, height, width) or (..., channels)
    train_labels: np.ndarray  # int32, (samples,), from 0 to num_classes - 1
    test_images: np.ndarray  # as train_images
    test_labels: np.ndarray  # as train_labels
    num_classes: int


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
    root = data_dir or _default_dir()
    try:
        if name == "digits":
            return _load_digits()
        if name == "mnist":
            return _load_mnist(root, progress)
        return _load_tfds(name, root, progress)
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
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


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
    if any(any(folder.glob("*.array_record*")) for folder in _prepared_folders("mnist", root)):
        return _load_tfds("mnist", root, progress)
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
    return _checked(Dataset(*arrays, num_classes=10), folder)


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


def _load_tfds(name: str, root: Path, progress: bool) -> Dataset:
    folder = _prepared_folder(name, root)
    cache = _cache_file(folder)
    dataset = _read_cache(cache)
    if dataset is None:
        dataset = _decode(folder, progress)
        _write_cache(cache, dataset)
    return dataset


def _prepared_folder(name: str, root: Path) -> Path:
    match = _NAME.fullmatch(name)
    if match is None:
        raise _absent(name, root)
    base, config, version = match.groups()
    folders = [
        folder
        for folder in _prepared_folders(base, root)
        if config in (None, folder.parent.name) and version in (None, folder.name)
    ]
    if not folders:
        raise _absent(name, root)
    configs = {folder.parent.relative_to(root).as_posix() for folder in folders}
    if len(configs) > 1:
        raise DataError(f"{name!r} is prepared as each of {', '.join(sorted(configs))}: name one")
    return max(folders, key=lambda folder: [int(part) for part in folder.name.split(".")])


def _prepared_folders(base: str, root: Path) -> list[Path]:
    # TFDS's layout is name/version/ or name/config/version/, and the info file is written last.
    infos = [
        *(root / base).glob("*/dataset_info.json"),
        *(root / base).glob("*/*/dataset_info.json"),
    ]
    return [info.parent for info in infos if _VERSION.fullmatch(info.parent.name)]


def _absent(name: str, root: Path) -> DataError:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if (match := _NAME.fullmatch(name)) and match[1] in known:
        return DataError(
            f"the TFDS set {name!r} is not prepared under {root}: pass the folder that has it as"
            f" --data-dir; to prepare it, run tfds.builder({name!r}, data_dir=...,"
            " file_format='array_record').download_and_prepare() where TensorFlow is installed"
        )
    nearest = difflib.get_close_matches(name[:100].lower(), ["digits", "mnist", *known], n=1)
    return DataError(
        f"there is no data set {reprlib.repr(name)}, nor one prepared under {root}: "
        + (f"did you mean {nearest[0]!r}? " if nearest else "")
        + "accepted are 'digits', 'mnist' and TFDS sets as 'name', 'name/config' or 'name:version'"
    )


def _decode(folder: Path, progress: bool) -> Dataset:
    import tensorflow_datasets as tfds

    with _tfds_failures(folder):
        builder: Any = tfds.builder_from_directory(folder)
        _check_format(builder, folder)
        num_classes = _check_features(dict(builder.info.features.items()), folder)
        splits = [split for split, info in builder.info.splits.items() if info.num_examples]
        test = "test" if "test" in splits else "validation"
        if not {"train", test} <= set(splits):
            raise DataError(
                f"{folder} has the splits {', '.join(splits) or 'none'}: needed are train and test,"
                " or train and validation"
            )
        train_split = _decode_split(builder, "train", progress)
        test_split = _decode_split(builder, test, progress)
    return _checked(Dataset(*train_split, *test_split, num_classes), folder)


@contextlib.contextmanager
def _tfds_failures(folder: Path) -> Iterator[None]:
    """Turns whatever the readers raise into a `DataError`, and mutes their advice to use OpenCV."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # RuntimeError, ParseError, ValueError: the readers agree on none
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(
            f"TFDS cannot read {folder}, prepare it again if it is damaged: {reason}"
        ) from error
    finally:
        logging.set_verbosity(verbosity)


def _check_format(builder: Any, folder: Path) -> None:
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise DataError(
            f"{folder} is prepared as {', '.join(sorted(formats))}, accepted is array_record:"
            " prepare it again with file_format='array_record'"
        )


def _check_features(features: dict[str, Any], folder: Path) -> int:
    """Returns the number of classes of an image-classification set; refuses any other."""
    import tensorflow_datasets as tfds

    image, label = features.get("image"), features.get("label")
    is_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not is_image or not isinstance(label, tfds.features.ClassLabel) or not label.num_classes:
        got = " ".join(f"{key}: {feature!r}" for key, feature in features.items())
        raise DataError(
            f"{folder} is not an image-classification set: needed are a uint8 Image named 'image'"
            f" and a ClassLabel named 'label', it has {' '.join(got.split())}"
        )
    return label.num_classes


def _decode_split(builder: Any, split: str, progress: bool) -> tuple[np.ndarray, np.ndarray]:
    from tqdm import tqdm

    source = builder.as_data_source(split)
    images = np.empty((len(source), *source[0]["image"].shape), np.uint8)
    labels = np.empty(len(source), np.int32)
    examples = tqdm(
        _in_chunks(source), f"decoding {split}", len(source), unit=" images", disable=not progress
    )
    for index, example in enumerate(examples):
        if example["image"].shape != images.shape[1:]:
            raise DataError(
                f"the {split} split of {builder.info.full_name} has images of shapes"
                f" {images.shape[1:]} and {example['image'].shape}: needed is one shape"
            )
        images[index], labels[index] = example["image"], example["label"]
    return (images[..., 0] if images.shape[-1] == 1 else images), labels


def _in_chunks(source: Any, size: int = 1024) -> Iterable[dict[str, Any]]:
    for start in range(0, len(source), size):
        yield from source.__getitems__(range(start, min(start + size, len(source))))


def _checked(dataset: Dataset, folder: Path) -> Dataset:
    train_images, train_labels, test_images, test_labels, num_classes = dataset
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: the training images are of shape {train_images.shape[1:]}, the test images"
            f" of {test_images.shape[1:]}: needed is one shape"
        )
    for images, labels in ((train_images, train_labels), (test_images, test_labels)):
        if len(images) != len(labels):
            raise DataError(f"{folder}: {len(images)} images have {len(labels)} labels")
        if labels.min() < 0 or labels.max() >= num_classes:
            raise DataError(
                f"{folder}: the labels run from {labels.min()} to {labels.max()}, accepted are 0 to"
                f" {num_classes - 1}"
            )
    return dataset


def _cache_file(folder: Path) -> Path:
    """The cache file of a prepared folder: another one as soon as any file there changes."""
    import pooch

    files = sorted(folder.iterdir())
    facts = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    info = (folder / "dataset_info.json").read_bytes()
    digest = hashlib.sha256(repr((str(folder.resolve()), facts, info)).encode()).hexdigest()
    stem = f"{folder.parent.name}-{folder.name}-{digest[:32]}"
    return pooch.os_cache("jaxlr") / "decoded" / f"{stem}.npz"


def _read_cache(path: Path) -> Dataset | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            dataset = Dataset(**{field: arrays[field] for field in Dataset._fields})
        return dataset._replace(num_classes=int(dataset.num_classes))
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged archive raises nearly anything, and the cure is the same
        warnings.warn(f"decoding again: cannot read the cache {path}: {error}", stacklevel=2)
        return None


def _write_cache(path: Path, dataset: Dataset) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place when complete, so that no other process reads half a file.
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            complete = Path(scratch) / path.name
            np.savez(complete, **dataset._asdict())
            complete.replace(path)
    except OSError as error:
        warnings.warn(f"decoding again next time: cannot write the cache {path}: {error}", stacklevel=2)
