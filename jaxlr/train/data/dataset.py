"""What a data set is, wherever it comes from."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxlr.train.errors import DataError


class Dataset(NamedTuple):
    """Two splits of labelled images of one shape."""

    train_images: np.ndarray  # uint8, (samples, height, width) or (..., channels)
    train_labels: np.ndarray  # int32, (samples,), from 0 to num_classes - 1
    test_images: np.ndarray  # as train_images
    test_labels: np.ndarray  # as train_labels
    num_classes: int


def checked(dataset: Dataset, folder: Path) -> Dataset:
    """The data set found in `folder`, if its arrays fit each other."""
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
