"""The samples of a dataset on the device, in splits to train, validate and test on."""

from typing import NamedTuple

import jax.numpy as jnp

from jaxlr.train.data.dataset import Dataset
from jaxlr.train.errors import DataError
from jaxlr.train.step import Split


class Data(NamedTuple):
    """The splits that a run uses."""

    train: Split
    valid: Split
    test: Split | None = None  # scored at the end, unless it validates already


def split_dataset(dataset: Dataset, validation_size: int = 0) -> Data:
    """Split a dataset, and put it on the default device.

    Args:
        dataset: the arrays on the host.
        validation_size: training samples, from the end, to validate on. 0: validate on the test split.

    Raises:
        DataError: no sample is left to train on.
    """
    images, labels = jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels)
    test = Split(jnp.asarray(dataset.test_images), jnp.asarray(dataset.test_labels))
    if validation_size == 0:
        return Data(Split(images, labels), test)
    num_train = len(labels) - validation_size
    if num_train < 1:
        raise DataError(
            f"--validation-size {validation_size} leaves nothing to train on: "
            f"the dataset has {len(labels)} training samples"
        )
    return Data(
        Split(images[:num_train], labels[:num_train]),
        Split(images[num_train:], labels[num_train:]),
        test,
    )
