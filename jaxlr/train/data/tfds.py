"""Image-classification datasets that TFDS prepared as array_record, read without TensorFlow."""

import contextlib
import difflib
import hashlib
import re
import reprlib
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int32, UInt8

from jaxlr.train.data.dataset import Dataset, check_dataset
from jaxlr.train.errors import DataError


_NAME = re.compile(r"([a-z][a-z0-9_]{0,99})(?:/(\w[\w.+-]{0,99}))?(?::(\d+\.\d+\.\d+))?", re.ASCII)
_VERSION = re.compile(r"\d+\.\d+\.\d+", re.ASCII)


def load_prepared(name: str, root: Path, progress: bool) -> Dataset:
    """Load a dataset that TFDS prepared under `root`. It is decoded once and then read from a cache."""
    folder = _prepared_folder(name, root)
    cache = _cache_file(folder)
    dataset = _read_cache(cache)
    if dataset is None:
        dataset = _decode(folder, progress)
        _write_cache(cache, dataset)
    return dataset


def prepared_folders(base: str, root: Path) -> list[Path]:
    """List the folders of every version and config of the dataset `base` under `root`."""
    # TFDS's layout is name/version/ or name/config/version/. It writes dataset_info.json last, so a folder
    # without one is unfinished.
    infos = [
        *(root / base).glob("*/dataset_info.json"),
        *(root / base).glob("*/*/dataset_info.json"),
    ]
    return [info.parent for info in infos if _VERSION.fullmatch(info.parent.name)]


def _prepared_folder(name: str, root: Path) -> Path:
    match = _NAME.fullmatch(name)
    if match is None:
        raise _not_found(name, root)
    base, config, version = match.groups()
    folders = [
        folder
        for folder in prepared_folders(base, root)
        if config in (None, folder.parent.name) and version in (None, folder.name)
    ]
    if not folders:
        raise _not_found(name, root)
    # An older version in array_record is better than a newer one in a format that cannot be read.
    folders = [folder for folder in folders if any(folder.glob("*.array_record*"))] or folders
    configs = {folder.parent.relative_to(root).as_posix() for folder in folders}
    if len(configs) > 1:
        listed = ", ".join(sorted(configs))
        raise DataError(f"{name!r} is prepared in several configs: name one of {listed}")
    return max(folders, key=lambda folder: [int(part) for part in folder.name.split(".")])


def _not_found(name: str, root: Path) -> DataError:
    import tensorflow_datasets as tfds

    known = tfds.list_builders(with_community_datasets=False)
    if (match := _NAME.fullmatch(name)) and match[1] in known:
        return DataError(
            f"the TFDS dataset {name!r} is not prepared under {root}: pass the folder that has it as"
            f" --data-dir; to prepare it, run tfds.builder({name!r}, data_dir=...,"
            " file_format='array_record').download_and_prepare() where TensorFlow is installed"
        )
    nearest = difflib.get_close_matches(name[:100].lower(), ["digits", "mnist", *known], n=1)
    accepted = "'digits', 'mnist', or 'name', 'name/config' or 'name:version' of a TFDS dataset"
    return DataError(
        f"unknown dataset {reprlib.repr(name)}: give {accepted} that is prepared under {root}"
        + (f"; did you mean {nearest[0]!r}?" if nearest else "")
    )


def _decode(folder: Path, progress: bool) -> Dataset:
    import tensorflow_datasets as tfds

    with _reading(folder):
        builder: Any = tfds.builder_from_directory(folder)
        _check_format(builder, folder)
        num_classes = _check_features(dict(builder.info.features.items()), folder)
        splits = [split for split, info in builder.info.splits.items() if info.num_examples]
        test = "test" if "test" in splits else "validation"
        if not {"train", test} <= set(splits):
            raise DataError(
                f"{folder} has the splits {', '.join(splits) or 'none'}, but needs train and test, or train"
                " and validation"
            )
        train_split = _decode_split(builder, "train", progress)
        test_split = _decode_split(builder, test, progress)
    dataset = Dataset(*train_split, *test_split, num_classes)
    check_dataset(dataset, folder)
    return dataset


@contextlib.contextmanager
def _reading(folder: Path) -> Iterator[None]:
    """Turn any error of TFDS in the block into a DataError, and silence its advice to install OpenCV."""
    from absl import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity(logging.ERROR)
    try:
        yield
    except DataError:
        raise
    except Exception as error:  # its readers raise RuntimeError, ParseError, ValueError and others
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise DataError(f"TFDS cannot read {folder}: prepare it again if damaged ({reason})") from error
    finally:
        logging.set_verbosity(verbosity)


def _check_format(builder: Any, folder: Path) -> None:
    formats = {file_format.value for file_format in builder.info.available_file_formats()}
    if "array_record" not in formats:
        raise DataError(
            f"{folder} is prepared as {', '.join(sorted(formats))}, but only array_record can be read:"
            " prepare it again with file_format='array_record'"
        )


def _check_features(features: dict[str, Any], folder: Path) -> int:
    """Return the number of classes. Raise DataError unless it is an image-classification dataset."""
    import tensorflow_datasets as tfds

    image, label = features.get("image"), features.get("label")
    is_image = isinstance(image, tfds.features.Image) and image.np_dtype == np.uint8
    if not is_image or not isinstance(label, tfds.features.ClassLabel) or not label.num_classes:
        got = " ".join(f"{key}: {feature!r}" for key, feature in features.items())
        raise DataError(
            f"{folder} is not an image-classification dataset: it needs a uint8 Image named 'image'"
            f" and a ClassLabel named 'label', but has {' '.join(got.split())}"
        )
    return label.num_classes


def _decode_split(
    builder: Any, split: str, progress: bool
) -> tuple[UInt8[np.ndarray, "samples height width ..."], Int32[np.ndarray, " samples"]]:
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
                f" {images.shape[1:]} and {example['image'].shape}: all must have the same shape"
            )
        images[index], labels[index] = example["image"], example["label"]
    return (images[..., 0] if images.shape[-1] == 1 else images), labels


def _in_chunks(source: Any, size: int = 1024) -> Iterable[dict[str, Any]]:
    for start in range(0, len(source), size):
        yield from source.__getitems__(range(start, min(start + size, len(source))))


def _cache_file(folder: Path) -> Path:
    """Return the cache file of a prepared folder: a new one whenever a file in the folder changes."""
    import pooch

    files = sorted(folder.iterdir())
    if others := [path for path in files if path.exists() and not (path.is_file() or path.is_dir())]:
        raise DataError(f"{others[0]} is not a regular file: prepare {folder} again")
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
    except Exception as error:  # a damaged archive raises almost any error, and decoding again repairs it
        warnings.warn(f"decoding again: cannot read the cache {path}: {error}", stacklevel=2)
        return None


def _write_cache(path: Path, dataset: Dataset) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file is renamed into place when it is complete, so that no other process reads half of it.
        with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
            complete = Path(scratch) / path.name
            np.savez(complete, **dataset._asdict())
            complete.replace(path)
    except OSError as error:
        warnings.warn(f"decoding again next time: cannot write the cache {path}: {error}", stacklevel=2)
