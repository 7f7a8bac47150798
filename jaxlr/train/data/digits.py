"""The handwritten digits that are bundled with scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np

from jaxlr.train.data.dataset import Dataset


def load_digits() -> Dataset:
    """Load the 1,797 scans of 8 x 8 pixels: 1,438 to train on and 359 to test on."""
    # The file of sklearn.datasets.load_digits. To import scikit-learn, and SciPy with it, takes a second.
    package = importlib.util.find_spec("sklearn")
    assert package is not None  # jaxlr.train has looked for it
    table = np.loadtxt(Path(str(package.origin)).parent / "datasets/data/digits.csv.gz", delimiter=",")
    images = np.round(table[:, :-1].reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    labels = table[:, -1].astype(np.int32)
    # Every fifth scan is a test sample. The last fifth would be a poor test split: similar scans are
    # neighbours, and a plain MLP that has not seen the last ones reaches only 92 % on them.
    is_test = np.arange(len(images)) % 5 == 4
    return Dataset(images[~is_test], labels[~is_test], images[is_test], labels[is_test], num_classes=10)
