"""The datasets: real MNIST from both formats, and small synthetic ones for layouts, caches and errors."""

import gzip
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordWriter
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from jaxlr.train.data import load_dataset, mnist
from jaxlr.train.data import tfds as prepared
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.mnist import read_idx
from jaxlr.train.errors import DataError


TRAIN_IMAGES, TRAIN_LABELS, TEST_IMAGES, TEST_LABELS = IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
IMAGE = tfds.features.Image(shape=(None, None, 1))
LABEL = tfds.features.ClassLabel(num_classes=10)

squeeze = partial(gzip.compress, mtime=0)  # a fixed time gives the same bytes in every run


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set an empty cache and no default data directory, and cut off every network but this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "nothing-here"))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "cache" / "jaxlr"


@pytest.fixture
def mirrored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Dataset]:
    """Serve a small MNIST from `tmp_path / "mirror"` as the second mirror. The first mirror has nothing."""
    folder = tmp_path / "mirror"
    dataset = write_mnist(folder, ".gz")
    md5 = {name: hashlib.md5((folder / f"{name}.gz").read_bytes()).hexdigest() for name in IDX_NAMES}
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(mnist, "_MD5", md5)
        monkeypatch.setattr(mnist, "_MIRRORS", (f"{address}/absent/", f"{address}/"))
        yield dataset
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(scope="session")
def mnist_idx(data_root: Path) -> Dataset:
    return load_dataset("mnist", data_root / "mnist")


# The digits


def test_digits_with_a_data_directory_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"digits are bundled, .*: leave it out, or name another dataset"):
        load_dataset("digits", tmp_path)


def test_digits_are_all_1797_scans_as_bytes():
    digits = load_dataset("digits")
    assert_split(digits.train_images, digits.train_labels, (1438, 8, 8))
    assert_split(digits.test_images, digits.test_labels, (359, 8, 8))
    assert digits.num_classes == 10
    levels = np.unique(np.concatenate([digits.train_images, digits.test_images]))
    assert levels.tolist() == [round(level * 255 / 16) for level in range(17)]


def test_every_fifth_digit_is_in_the_test_split():
    from sklearn.datasets import load_digits

    digits = load_dataset("digits")
    scans, labels = load_digits(return_X_y=True)
    is_test = np.arange(1797) % 5 == 4
    for images, split_labels, chosen in (
        (digits.train_images, digits.train_labels, ~is_test),
        (digits.test_images, digits.test_labels, is_test),
    ):
        levels = np.round(images.reshape(-1, 64) * (16 / 255))
        np.testing.assert_array_equal(levels, scans[chosen])
        np.testing.assert_array_equal(split_labels, labels[chosen])


def test_every_digit_is_in_both_splits():
    digits = load_dataset("digits")
    for labels in (digits.train_labels, digits.test_labels):
        shares = np.bincount(labels, minlength=10) / len(labels)
        assert 0.05 < shares.min() < shares.max() < 0.15


@pytest.mark.heavy
def test_importing_the_module_loads_no_data_library():
    libraries = ("sklearn", "tensorflow_datasets", "pooch", "requests", "PIL", "tqdm")
    check = f"import sys, jaxlr.train.data; assert not sys.modules.keys() & {set(libraries)}"
    subprocess.run([sys.executable, "-c", check], check=True)


# Real MNIST


def test_mnist_from_idx_files_is_whole(mnist_idx: Dataset):
    assert_mnist(mnist_idx)


@pytest.mark.heavy  # decodes 70,000 PNGs
def test_mnist_from_tfds_is_the_same_images_and_comes_from_the_cache_at_once(
    data_root: Path, mnist_idx: Dataset, monkeypatch: pytest.MonkeyPatch
):
    decoded = load_dataset("mnist", data_root / "tensorflow_datasets")
    assert_mnist(decoded)
    assert samples(decoded.train_images, decoded.train_labels) == samples(
        mnist_idx.train_images, mnist_idx.train_labels
    )
    assert samples(decoded.test_images, decoded.test_labels) == samples(
        mnist_idx.test_images, mnist_idx.test_labels
    )
    forbid(monkeypatch, prepared, "_decode")
    cached = load_dataset("mnist", data_root / "tensorflow_datasets")
    assert_same(cached, decoded)


# The places where MNIST is found


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("folder", [".", "MNIST/raw", "raw"])
def test_idx_files_are_found_plain_or_compressed(tmp_path: Path, folder: str, suffix: str):
    expected = write_mnist(tmp_path / folder, suffix)
    assert_same(load_dataset("mnist", tmp_path), expected)


def test_idx_files_may_be_there_both_plain_and_compressed(tmp_path: Path):
    write_mnist(tmp_path, ".gz")
    assert_same(load_dataset("mnist", tmp_path), write_mnist(tmp_path, ""))


def test_idx_files_are_found_in_the_default_data_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "default"))
    expected = write_mnist(tmp_path / "default")
    assert_same(load_dataset("mnist"), expected)


def test_a_tfds_preparation_is_preferred_to_idx_files(tmp_path: Path):
    write_mnist(tmp_path)
    expected = prepare_random(tmp_path / "mnist" / "3.0.1")
    assert_same(load_dataset("mnist", tmp_path), expected)


def test_a_tfrecord_preparation_of_mnist_is_skipped(tmp_path: Path):
    prepare(tmp_path / "mnist" / "3.0.1", SPLITS, file_format="tfrecord")
    expected = write_mnist(tmp_path)
    assert_same(load_dataset("mnist", tmp_path), expected)


def test_a_missing_data_directory_is_refused_for_every_dataset(tmp_path: Path):
    (tmp_path / "file").touch()
    for absent in (tmp_path / "absent", tmp_path / "file", Path("a\0b")):
        for name in ("digits", "mnist", "cifar10"):
            assert f"{absent} is not a directory" in refusal(load_dataset, name, absent)


# Downloading


def test_mnist_is_downloaded_once_from_the_first_mirror_that_has_it(
    mirrored: Dataset, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    assert_same(load_dataset("mnist"), mirrored)
    files = {path.name for path in (cache / "mnist").iterdir()}
    assert files == {f"{name}.gz" for name in IDX_NAMES}
    forbid(monkeypatch, mnist, "_download")
    assert_same(load_dataset("mnist"), mirrored)


def test_a_data_directory_without_mnist_does_not_stop_the_download(mirrored: Dataset, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert_same(load_dataset("mnist", tmp_path / "empty"), mirrored)


def test_a_damaged_file_in_the_download_cache_is_fetched_again(mirrored: Dataset, cache: Path):
    load_dataset("mnist")
    (cache / "mnist" / f"{TEST_LABELS}.gz").write_bytes(b"damaged")
    assert_same(load_dataset("mnist"), mirrored)


@pytest.mark.usefixtures("mirrored")
def test_a_download_with_a_wrong_checksum_is_refused(tmp_path: Path, cache: Path):
    (tmp_path / "mirror" / f"{TRAIN_LABELS}.gz").write_bytes(b"<html>Please log in</html>")
    message = refusal(load_dataset, "mnist")
    assert "absent/: HTTPError" in message
    assert "does not match the known hash" in message
    assert not (cache / "mnist" / f"{TRAIN_LABELS}.gz").exists()


@pytest.mark.usefixtures("mirrored")
def test_the_download_shows_a_bar_if_asked(capsys: pytest.CaptureFixture[str]):
    load_dataset("mnist", progress=True)
    assert "100%" in capsys.readouterr().err


@pytest.mark.usefixtures("mirrored")
def test_a_download_that_cannot_be_stored_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert str(tmp_path / "file") in refusal(load_dataset, "mnist")


def test_without_a_network_the_error_comes_soon_and_says_what_to_do(tmp_path: Path):
    start = time.perf_counter()
    message = refusal(load_dataset, "mnist", tmp_path)
    assert time.perf_counter() - start < 10
    for part in (str(tmp_path), *IDX_NAMES, "ProxyError", "--dataset digits", "--data-dir"):
        assert part in message


@pytest.mark.heavy  # waits for as long as a user would
def test_a_network_that_swallows_packets_is_given_up_within_10_seconds(monkeypatch: pytest.MonkeyPatch):
    given_up = threading.Event()

    def look_up(*_: object) -> None:
        given_up.wait(60)
        raise OSError("too late")

    monkeypatch.delenv("https_proxy")
    monkeypatch.setattr("socket.getaddrinfo", look_up)
    before = set(threading.enumerate())
    start = time.perf_counter()
    message = refusal(load_dataset, "mnist")
    assert time.perf_counter() - start < 10
    assert message.count("TimeoutError") == 2
    assert all(thread.daemon for thread in set(threading.enumerate()) - before)
    given_up.set()


# IDX files


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 3, 4)])
@pytest.mark.parametrize("compress", [bytes, squeeze])
def test_idx_files_come_back_as_written(tmp_path: Path, shape: tuple[int, ...], compress: Any):
    expected = random_bytes(shape)
    (tmp_path / "file").write_bytes(compress(idx(expected)))
    actual = read_idx(tmp_path / "file")
    assert actual.dtype == np.uint8
    np.testing.assert_array_equal(actual, expected)


IDX = b"\0\0\x08\x01\0\0\0\x04abcd"  # four bytes


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "begins with nothing"),
        (b"\0\0\x08", "begins with 00 00 08,"),
        (b"hello, world", "begins with 68 65 6c 6c"),
        (IDX.replace(b"\x08", b"\x0d"), "begins with 00 00 0d 01"),
        (b"\0\0\x08\0", "begins with 00 00 08 00"),
        (b"\0\0\x08\xff" + bytes(2000), "begins with 00 00 08 ff"),
        (IDX[:7], "ends within its header"),
        (b"\0\0\x08\x01\0\0\0\0", "is empty"),
        (IDX[:-1], "claims 4 bytes, but it holds only 3"),
        (IDX + b"e", "claims 4 bytes, but it holds more"),
        (squeeze(IDX[:-1]), "claims 4 bytes, but it holds only 3"),
        (squeeze(IDX + b"e"), "claims 4 bytes, but it holds more"),
        (squeeze(IDX)[:-9], "cannot read"),
        (squeeze(IDX)[:-8] + bytes(8), "CRC"),
        (squeeze(IDX)[:10] + b"\xff" * 20, "cannot read"),
        (squeeze(IDX) + b"trailing", "cannot read"),
        (b"\x1f\x8b", "cannot read"),
    ],
)
def test_a_damaged_idx_file_is_refused_by_name(tmp_path: Path, content: bytes, fault: str):
    path = tmp_path / "train-labels-idx1-ubyte"
    path.write_bytes(content)
    message = refusal(read_idx, path)
    assert str(path) in message
    assert fault in message


def test_an_idx_path_that_is_no_file_is_refused(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent"):
        assert str(path) in refusal(read_idx, path)


@pytest.mark.parametrize("compress", [bytes, squeeze])
@pytest.mark.parametrize("shape", [(2**10, 2**20, 2**20), (2**32 - 1,) * 3])
def test_a_header_that_claims_terabytes_allocates_nothing(
    tmp_path: Path, shape: tuple[int, int, int], compress: Any
):
    (tmp_path / "file").write_bytes(compress(b"\0\0\x08\x03" + struct.pack(">3I", *shape)))
    message, peak = with_peak_memory(refusal, read_idx, tmp_path / "file")
    assert "holds only 0" in message
    assert peak < 4 << 20


def test_a_gzip_bomb_is_not_unpacked_beyond_its_claim(tmp_path: Path):
    with gzip.open(tmp_path / "file", "wb", compresslevel=1) as file:
        file.write(IDX + bytes(64 << 20))
    message, peak = with_peak_memory(refusal, read_idx, tmp_path / "file")
    assert "claims 4 bytes, but it holds more" in message
    assert peak < 4 << 20


def test_a_file_that_does_not_fit_into_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def read(size: int, file: Any) -> bytearray:
        raise MemoryError

    (tmp_path / "file").write_bytes(IDX)
    monkeypatch.setattr(mnist, "_read_at_most", read)
    assert "does not fit into memory" in refusal(read_idx, tmp_path / "file")


def test_a_pipe_in_a_prepared_folder_is_refused(tmp_path: Path):
    for name in ("dataset_info.json", "tiny-train.array_record-00000-of-00001"):
        folder = tmp_path / name / "tiny" / "1.0.0"
        folder.mkdir(parents=True)
        (folder / "dataset_info.json").write_text("{}")
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)
        assert f"{folder / name} is not a regular file" in refusal(load_dataset, "tiny", tmp_path / name)


@st.composite
def mutated_idx(draw: st.DrawFn) -> bytes:
    shape = draw(st.lists(st.integers(1, 5), min_size=1, max_size=3))
    content = bytearray(idx(random_bytes(shape)))
    if draw(st.booleans()):
        content = bytearray(squeeze(content))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(content)))
        stop = draw(st.integers(start, min(start + 4, len(content))))
        content[start:stop] = draw(st.binary(max_size=4))
    return bytes(content)


@settings(deadline=None, max_examples=300)
@given(content=st.binary(max_size=64) | st.binary().map(b"\0\0\x08".__add__) | mutated_idx())
def test_any_bytes_are_an_array_or_refused(tmp_path_factory: Any, content: bytes):
    path = tmp_path_factory.getbasetemp() / "fuzzed-idx"
    path.write_bytes(content)
    outcome = array_or_message(path)
    if isinstance(outcome, str):
        assert len(outcome.splitlines()) == 1
        assert str(path) in outcome
    else:
        assert outcome.dtype == np.uint8
        assert 1 <= outcome.ndim <= 3
        assert outcome.size > 0


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        (TRAIN_LABELS, np.zeros(19, np.uint8), "20 images have 19 labels"),
        (TEST_LABELS, np.full(5, 10, np.uint8), "from 10 to 10, but must be between 0 and 9"),
        (TEST_IMAGES, np.zeros((5, 6, 7), np.uint8), "test images have shape (6, 7)"),
        (TRAIN_IMAGES, np.zeros(20, np.uint8), "has 1 dimensions, expected 3"),
        (TRAIN_LABELS, np.zeros((20, 6, 6), np.uint8), "has 3 dimensions, expected 1"),
    ],
)
def test_idx_files_that_do_not_fit_together_are_refused(
    tmp_path: Path, name: str, array: np.ndarray, fault: str
):
    write_mnist(tmp_path)
    (tmp_path / name).write_bytes(idx(array))
    message = refusal(load_dataset, "mnist", tmp_path)
    assert str(tmp_path) in message
    assert fault in message
    assert message.endswith("; get MNIST again, or give another --data-dir")


# Datasets that TFDS prepared


@pytest.mark.parametrize(("channels", "shape"), [(1, (4, 4)), (3, (4, 4, 3))])
def test_grey_images_lose_their_channel_and_coloured_ones_keep_it(
    tmp_path: Path, channels: int, shape: tuple[int, ...]
):
    splits = {"train": random_split(6, shape), "test": random_split(3, shape, seed=1)}
    features = {"image": tfds.features.Image(shape=(4, 4, channels)), "label": LABEL}
    prepare(tmp_path / "tiny" / "1.0.0", splits, features)
    actual = load_dataset("tiny", tmp_path)
    assert_split(actual.train_images, actual.train_labels, (6, *shape))
    assert_split(actual.test_images, actual.test_labels, (3, *shape))
    assert_same(actual, Dataset(*splits["train"], *splits["test"], num_classes=10))


def test_a_dataset_larger_than_a_chunk_is_read_whole_and_in_order(tmp_path: Path):
    splits = {"train": random_split(2050), "test": random_split(1024)}
    prepare(tmp_path / "tiny" / "1.0.0", splits)
    expected = Dataset(*splits["train"], *splits["test"], num_classes=10)
    assert_same(load_dataset("tiny", tmp_path), expected)


def test_the_validation_split_stands_in_for_a_missing_test_split(tmp_path: Path):
    splits = {"train": random_split(6), "validation": random_split(3)}
    prepare(tmp_path / "tiny" / "1.0.0", splits)
    expected = Dataset(*splits["train"], *splits["validation"], num_classes=10)
    assert_same(load_dataset("tiny", tmp_path), expected)


def test_features_other_than_image_and_label_are_ignored(tmp_path: Path):
    features = {"image": IMAGE, "label": LABEL, "note": tfds.features.Text()}
    prepare(tmp_path / "tiny" / "1.0.0", SPLITS, features)
    expected = Dataset(*SPLITS["train"], *SPLITS["test"], num_classes=10)
    assert_same(load_dataset("tiny", tmp_path), expected)


def test_the_newest_version_is_taken_unless_one_is_named(tmp_path: Path):
    oldest, _, newest = (
        prepare_random(tmp_path / "tiny" / version, seed)
        for seed, version in enumerate(["2.0.0", "9.0.0", "10.0.0"])
    )
    assert_same(load_dataset("tiny", tmp_path), newest)
    assert_same(load_dataset("tiny:2.0.0", tmp_path), oldest)


def test_a_newer_version_that_cannot_be_read_does_not_hide_an_older_one(tmp_path: Path):
    expected = prepare_random(tmp_path / "mnist" / "3.0.1")
    prepare(tmp_path / "mnist" / "3.0.2", SPLITS, file_format="tfrecord")
    assert_same(load_dataset("mnist", tmp_path), expected)


def test_one_of_several_configurations_must_be_named(tmp_path: Path):
    plain = prepare_random(tmp_path / "tiny" / "plain" / "1.0.0")
    assert_same(load_dataset("tiny", tmp_path), plain)
    noisy = prepare_random(tmp_path / "tiny" / "noisy-2.5" / "1.0.0", seed=1)
    message = refusal(load_dataset, "tiny", tmp_path)
    assert "'tiny' is prepared in several configs: name one of tiny/noisy-2.5, tiny/plain" in message
    assert_same(load_dataset("tiny/plain", tmp_path), plain)
    assert_same(load_dataset("tiny/noisy-2.5:1.0.0", tmp_path), noisy)


def test_decoding_shows_a_bar_if_asked(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    prepare_random(tmp_path / "tiny" / "1.0.0")
    load_dataset("tiny", tmp_path, progress=True)
    assert "decoding train: 100%" in capsys.readouterr().err


@pytest.mark.heavy
def test_decoding_without_a_bar_prints_nothing_and_leaves_logging_as_it_was(tmp_path: Path):
    prepare_random(tmp_path / "tiny" / "1.0.0")
    program = f"""
from pathlib import Path
from absl import logging
from jaxlr.train.data import load_dataset
before = logging.get_verbosity()
load_dataset("tiny", Path({str(tmp_path)!r}))
assert logging.get_verbosity() == before
"""
    process = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (0, "", "")


def test_a_tfrecord_preparation_is_refused(tmp_path: Path):
    prepare(tmp_path / "tiny" / "1.0.0", SPLITS, file_format="tfrecord")
    message = refusal(load_dataset, "tiny", tmp_path)
    assert "is prepared as tfrecord, but only array_record can be read" in message


@pytest.mark.parametrize(
    ("sizes", "got"),
    [
        ({"train": 6}, "train"),
        ({"test": 3}, "test"),
        ({"train": 6, "test": 0}, "train"),
        ({"train": 0, "test": 0}, "none"),
    ],
)
def test_a_dataset_without_two_splits_is_refused(tmp_path: Path, sizes: dict[str, int], got: str):
    splits = {split: random_split(size) for split, size in sizes.items()}
    prepare(tmp_path / "tiny" / "1.0.0", splits)
    assert f"has the splits {got}, but needs train and test" in refusal(load_dataset, "tiny", tmp_path)


@pytest.mark.parametrize(
    "features",
    [
        {"image": IMAGE},
        {"picture": IMAGE, "label": LABEL},
        {"image": tfds.features.Image(dtype=np.uint16), "label": LABEL},
        {"image": tfds.features.Tensor(shape=(4, 4), dtype=np.uint8), "label": LABEL},
        {"image": IMAGE, "label": np.int64},
        {"image": tfds.features.Sequence(IMAGE), "label": LABEL},
    ],
)
def test_a_dataset_for_another_task_is_refused(tmp_path: Path, features: dict[str, Any]):
    prepare(tmp_path / "tiny" / "1.0.0", SPLITS, features)
    message = refusal(load_dataset, "tiny", tmp_path)
    assert "is not an image-classification dataset" in message
    assert all(f"{key}: " in message for key in features)


@pytest.mark.parametrize(
    ("last_image", "last_label", "fault"),
    [
        (np.zeros((4, 4), np.uint8), -1, "run from -1 to 1, but must be between 0 and 9"),
        (np.zeros((4, 4), np.uint8), 10, "run from 0 to 10, but must be between 0 and 9"),
        (np.zeros((5, 4), np.uint8), 2, "images of shapes (4, 4, 1) and (5, 4, 1)"),
    ],
)
def test_an_image_or_label_unlike_the_others_is_refused(
    tmp_path: Path, last_image: np.ndarray, last_label: int, fault: str
):
    images, labels = random_split(2)
    odd = [*images, last_image], [*labels, last_label]
    prepare(tmp_path / "tiny" / "1.0.0", {"train": odd, "test": (images, labels)})
    assert fault in refusal(load_dataset, "tiny", tmp_path)


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("dataset_info.json", b"{"),
        ("features.json", b"{"),
        ("features.json", None),
        ("tiny-test.array_record-00000-of-00001", b""),
        ("tiny-test.array_record-00000-of-00001", bytes(1 << 17)),
        ("tiny-test.array_record-00000-of-00001", None),
    ],
)
def test_a_damaged_preparation_is_refused_by_name(tmp_path: Path, file: str, content: bytes | None):
    folder = tmp_path / "tiny" / "1.0.0"
    prepare_random(folder)
    (folder / file).unlink()
    if content is not None:
        (folder / file).write_bytes(content)
    assert f"TFDS cannot read {folder}" in refusal(load_dataset, "tiny", tmp_path)


def test_an_unfinished_preparation_is_not_read(tmp_path: Path):
    prepare_random(tmp_path / "cifar10" / "3.0.2.incompleteABCDEF")
    assert "'cifar10' is not prepared" in refusal(load_dataset, "cifar10", tmp_path)


def test_a_known_dataset_that_is_not_prepared_says_how_to_prepare_it(tmp_path: Path):
    for name in ("cifar10", "mnist:9.9.9", "emnist/balanced"):
        message = refusal(load_dataset, name, tmp_path)
        assert f"{name!r} is not prepared under {tmp_path}" in message
        assert "file_format='array_record'" in message


@pytest.mark.parametrize(
    ("name", "nearest"), [("MNIST", "mnist"), ("cfar10", "cifar10"), ("digit", "digits")]
)
def test_an_unknown_name_gets_the_nearest_known_one(tmp_path: Path, name: str, nearest: str):
    assert f"did you mean '{nearest}'?" in refusal(load_dataset, name, tmp_path)


def test_no_name_reads_outside_the_data_directory(tmp_path: Path):
    prepare_random(tmp_path / "outside" / "1.0.0")
    prepare_random(tmp_path / "inside" / "tiny" / "1.0.0")
    paths = ["../outside", str(tmp_path / "outside"), "/etc", "tiny/..", "tiny/../../outside"]
    patterns = ["", " ", ".", "..", "tiny\n", "tiny\0", "tiny ", "*", "t?ny", "tiny/*", "tiny:*"]
    others = ["größe", "数字", "\ud800", "gs://tiny", "tiny/1.0.0", "kaggle:tiny"]
    long = ["x" * 1_000_000, "tiny/" + "x" * 1_000_000, "a/" * 10_000]
    for name in paths + patterns + others + long:
        message = refusal(load_dataset, name, tmp_path / "inside")
        assert "unknown dataset" in message
        assert len(message) < 500 + len(str(tmp_path))


# The cache of decoded datasets


def test_a_prepared_dataset_is_decoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = prepare_random(tmp_path / "tiny" / "1.0.0")
    load_dataset("tiny", tmp_path)
    forbid(monkeypatch, prepared, "_decode")
    assert_same(load_dataset("tiny", tmp_path), expected)


def test_the_cache_holds_one_whole_file(tmp_path: Path, cache: Path):
    prepare_random(tmp_path / "tiny" / "1.0.0")
    load_dataset("tiny", tmp_path)
    (file,) = (cache / "decoded").iterdir()
    assert file.match("tiny-1.0.0-*.npz")


def test_a_changed_preparation_is_decoded_again(tmp_path: Path):
    prepare_random(tmp_path / "tiny" / "1.0.0")
    load_dataset("tiny", tmp_path)
    expected = prepare_random(tmp_path / "tiny" / "1.0.0", seed=1)
    assert_same(load_dataset("tiny", tmp_path), expected)


def test_preparations_of_one_name_in_two_folders_are_kept_apart(tmp_path: Path):
    for seed in (0, 1):
        expected = prepare_random(tmp_path / str(seed) / "tiny" / "1.0.0", seed=seed)
        for file in (tmp_path / str(seed)).glob("*/*/*"):
            os.utime(file, (0, 0))
        assert_same(load_dataset("tiny", tmp_path / str(seed)), expected)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "other arrays", "pickle"])
def test_a_damaged_cache_is_decoded_again_and_mended(tmp_path: Path, cache: Path, damage: str):
    expected = prepare_random(tmp_path / "tiny" / "1.0.0")
    load_dataset("tiny", tmp_path)
    (file,) = (cache / "decoded").iterdir()
    file.write_bytes(damaged(file.read_bytes(), damage))
    with pytest.warns(UserWarning, match="decoding again: cannot read the cache"):
        assert_same(load_dataset("tiny", tmp_path), expected)
    with warnings.catch_warnings(action="error"):
        assert_same(load_dataset("tiny", tmp_path), expected)


def test_a_cache_that_cannot_be_written_is_only_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    expected = prepare_random(tmp_path / "tiny" / "1.0.0")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.warns(match="cannot write the cache"), pytest.warns(match="cannot read the cache"):
        assert_same(load_dataset("tiny", tmp_path), expected)


def test_a_full_disk_leaves_no_half_written_cache(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
):
    def write_half(path: Path, **arrays: np.ndarray) -> None:
        path.write_bytes(b"PK")
        raise OSError(28, "No space left on device")

    expected = prepare_random(tmp_path / "tiny" / "1.0.0")
    monkeypatch.setattr(prepared.np, "savez", write_half)
    with pytest.warns(match="cannot write the cache"):
        assert_same(load_dataset("tiny", tmp_path), expected)
    assert list((cache / "decoded").iterdir()) == []


def test_preparations_with_the_same_relative_path_are_kept_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for seed in (0, 1):
        expected = prepare_random(tmp_path / str(seed) / "tiny" / "1.0.0", seed=seed)
        for file in (tmp_path / str(seed)).glob("*/*/*"):
            os.utime(file, (0, 0))
        monkeypatch.chdir(tmp_path / str(seed))
        assert_same(load_dataset("tiny", Path()), expected)


# Helpers


def refusal(function: Callable[..., Any], *arguments: Any) -> str:
    with pytest.raises(DataError) as caught:
        function(*arguments)
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def array_or_message(path: Path) -> np.ndarray | str:
    try:
        return read_idx(path)
    except DataError as error:
        return str(error)


def assert_mnist(dataset: Dataset) -> None:
    assert_split(dataset.train_images, dataset.train_labels, (60_000, 28, 28))
    assert_split(dataset.test_images, dataset.test_labels, (10_000, 28, 28))
    assert dataset.num_classes == 10
    train_counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test_counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(dataset.train_labels).tolist() == train_counts
    assert np.bincount(dataset.test_labels).tolist() == test_counts


def assert_split(images: np.ndarray, labels: np.ndarray, shape: tuple[int, ...]) -> None:
    assert (images.dtype, images.shape) == (np.uint8, shape)
    assert (labels.dtype, labels.shape) == (np.int32, shape[:1])


def assert_same(actual: Dataset, expected: Dataset) -> None:
    for field, left, right in zip(Dataset._fields, actual, expected, strict=True):
        np.testing.assert_array_equal(left, right, err_msg=field, strict=True)


def samples(images: np.ndarray, labels: np.ndarray) -> list[tuple[bytes, int]]:
    return sorted((image.tobytes(), int(label)) for image, label in zip(images, labels, strict=True))


def forbid(monkeypatch: pytest.MonkeyPatch, module: Any, function: str) -> None:
    def called(*_: object) -> Any:
        raise AssertionError(f"{function} was called")

    monkeypatch.setattr(module, function, called)


def with_peak_memory(function: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
    tracemalloc.start()
    try:
        return function(*arguments), tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def random_bytes(shape: Any, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def idx(array: np.ndarray) -> bytes:
    header = b"\0\0\x08" + bytes([array.ndim])
    return header + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder: Path, suffix: str = "") -> Dataset:
    """Write a small MNIST as four IDX files, and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = [random_bytes((20, 6, 6)), np.arange(20) % 10, random_bytes((5, 6, 6), 1), np.arange(5)]
    for name, array in zip(IDX_NAMES, arrays, strict=True):
        content = idx(array.astype(np.uint8))
        (folder / f"{name}{suffix}").write_bytes(squeeze(content) if suffix else content)
    return Dataset(arrays[0], arrays[1].astype(np.int32), arrays[2], arrays[3].astype(np.int32), 10)


def damaged(content: bytes, damage: str) -> bytes:
    if damage == "cut":
        return content[: len(content) // 2]
    if damage == "flipped":  # in the first array, where only the checksum shows it
        return content[:200] + bytes([content[200] ^ 1]) + content[201:]
    file = io.BytesIO()
    if damage == "text":
        file.write(b"not an archive at all")
    elif damage == "other arrays":
        np.savez(file, images=np.zeros(3))
    elif damage == "pickle":
        objects = dict.fromkeys(Dataset._fields, np.array([None]))
        np.savez(file, **{**objects, "num_classes": np.array(10)}, allow_pickle=True)
    return file.getvalue()


def random_split(
    size: int, shape: tuple[int, ...] = (4, 4), seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    return random_bytes((size, *shape), seed), (np.arange(size, dtype=np.int32) + seed) % 10


def prepare_random(folder: Path, seed: int = 0) -> Dataset:
    splits = {"train": random_split(6, seed=seed), "test": random_split(3, seed=seed + 1)}
    prepare(folder, splits)
    return Dataset(*splits["train"], *splits["test"], num_classes=10)


def prepare(
    folder: Path,
    splits: dict[str, tuple[Any, Any]],
    features: dict[str, Any] | None = None,
    file_format: str = "array_record",
) -> None:
    """Write images and labels as TFDS prepares them, and claim that they have `features`."""
    folder.mkdir(parents=True, exist_ok=True)
    features = features or {"image": IMAGE, "label": LABEL}
    tfds.features.FeaturesDict(features).save_config(str(folder))
    info = {
        "name": "tiny",
        "version": "1.0.0",
        "fileFormat": file_format,
        "splits": [
            {"name": split, "shardLengths": [str(len(labels))], "numBytes": "1"}
            for split, (_, labels) in splits.items()
        ],
    }
    (folder / "dataset_info.json").write_text(json.dumps(info))
    for split, (images, labels) in splits.items():
        path = folder / f"tiny-{split}.{file_format}-00000-of-00001"
        writer = ArrayRecordWriter(str(path), "group_size:1")  # as TFDS writes it, for random access
        for image, label in zip(images, labels, strict=True):
            writer.write(record(image, label))
        writer.close()


def record(image: np.ndarray, label: int) -> bytes:
    features = {"image": IMAGE, "label": np.int64, "note": tfds.features.Text()}
    schema = tfds.features.FeaturesDict(features)
    example = {"image": Image.fromarray(image), "label": int(label), "note": "by hand"}
    return schema.serialize_example(schema.encode_example(example))


SPLITS = {"train": random_split(6), "test": random_split(3, seed=1)}
