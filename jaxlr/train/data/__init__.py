"""The datasets: digits, MNIST, and image-classification datasets that TFDS prepared."""

import os
from pathlib import Path

from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.digits import load_digits
from jaxlr.train.data.mnist import load_mnist
from jaxlr.train.data.tfds import load_prepared
from jaxlr.train.errors import DataError


def load_dataset(name: str, data_dir: Path | None = None, progress: bool = False) -> Dataset:
    """Load a dataset from scikit-learn, from files, or (MNIST only) from the network.

    MNIST comes from the first place that has it: a TFDS preparation under `data_dir`, the four IDX files
    under `data_dir`, the download cache, the network. What TFDS prepared is decoded once, and read from a
    cache after that.

    Args:
        name: `digits` (bundled with scikit-learn), `mnist`, or a TFDS dataset as `name`, `name/config` or
            `name:version`.
        data_dir: the folder that holds the data, but not `digits`. The default is `TFDS_DATA_DIR`, or
            `~/tensorflow_datasets` if that is not set.
        progress: show a progress bar while downloading and decoding.

    Raises:
        DataError: the dataset is unknown, missing, damaged, or not an image-classification dataset.
    """
    if data_dir is not None and not data_dir.is_dir():
        raise DataError(f"the data directory {data_dir} is not a directory: name one that exists")
    if name == "digits":
        if data_dir is not None:
            raise DataError(
                f"digits are bundled, not in the data directory {data_dir}: leave it out, or name another "
                "dataset, such as mnist"
            )
        return load_digits()
    root = data_dir or _default_dir()
    try:
        if name == "mnist":
            return load_mnist(root, progress)
        return load_prepared(name, root, progress)
    except OSError as error:
        raise DataError(f"cannot load the dataset {name!r}: {error}") from error


def _default_dir() -> Path:
    folder = Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets")
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise DataError(f"TFDS_DATA_DIR is not a folder: {folder}: {error}") from error
