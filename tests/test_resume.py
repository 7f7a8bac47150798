"""Resumed runs: equal to the unbroken run, with the same settings, from an undamaged checkpoint."""

import json
import math
import os
import re
import shutil
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from folders import arrays, assert_same_run, flip_bits, metrics, small_mnist
from hypothesis import given, settings
from hypothesis import strategies as st
from processes import flags

import jaxlr
from jaxlr.cli import main
from jaxlr.train import loop
from jaxlr.train.config import TrainConfig
from jaxlr.train.device.mesh import memory_errors
from jaxlr.train.errors import CheckpointError, DeviceError, FolderError, LossError
from jaxlr.train.loop import has_finite_loss, train
from jaxlr.train.output.checkpoint import Checkpoints, load_newest, saved_epochs
from jaxlr.train.output.records import MetricsLog, write_json
from jaxlr.train.step import TrainState


pytestmark = pytest.mark.usefixtures("fast_programs")


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    return small_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture
def config(data, tmp_path, undrawn_figures) -> TrainConfig:
    """Return a run of half a second."""
    return short_run(data, tmp_path / "run")


def short_run(data: Path, out: Path) -> TrainConfig:
    run = {"epochs": 7, "checkpoint_every": 1, "quiet": True, "out": out}
    return TrainConfig.from_flags(dataset="mnist", data_dir=data, hidden=(8,), lr=0.05, momentum=0.9, **run)


@pytest.fixture(scope="module")
def unbroken(data, tmp_path_factory) -> Path:
    """Train the run of `config` without a stop and return its folder."""
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(short_run(data, out))
    return out


@pytest.fixture(scope="module")
def two_epochs(data, tmp_path_factory) -> Path:
    """Train two epochs of the run of `config` and return its folder."""
    out = tmp_path_factory.mktemp("stopped") / "run"
    train(short_run(data, out).replace(epochs=2))
    return out


@pytest.fixture
def stopped(config, two_epochs) -> TrainConfig:
    """Return `config`. Its folder holds a run that stopped after two epochs."""
    assert config.output.out is not None
    shutil.copytree(two_epochs, config.output.out)
    return config


SCHEDULERS = [
    ("epoch", "ReduceLROnPlateau(patience=0, factor=0.5, cooldown=3, threshold=0.5)"),
    ("epoch", "ReduceLROnPlateau(mode='max', patience=1, cooldown=2, threshold_mode='abs', threshold=9)"),
    # A schedule is a function of the epoch without a state, so one run may have several.
    ("epoch", "SequentialLR([StepLR(2), PolynomialLR(6, power=2), SWALR(optimizer, 0.01, 5)], [2, 5])"),
    ("epoch", "ChainedScheduler([MultiStepLR([2, 4, 5]), ConstantLR(0.3, 4), ExponentialLR(0.8)])"),
    ("epoch", "ChainedScheduler([LinearLR(0.1, total_iters=2), CosineAnnealingLR(6, 0.01)])"),
    ("batch", "CosineAnnealingWarmRestarts(9, 2)"),
    ("batch", "CyclicLR(0.01, 0.2, 20, mode='triangular2')"),
    ("batch", "OneCycleLR(0.2, 200)"),
    ("epoch", "LambdaLR(lambda epoch: 0.9**epoch if epoch < 4 else 0.1)"),
    ("epoch", "MultiplicativeLR(lambda epoch: 1 - epoch / 20)"),
]


@pytest.mark.heavy
@pytest.mark.parametrize(("step_per", "scheduler"), SCHEDULERS, ids=[row[1] for row in SCHEDULERS])
def test_a_resumed_run_equals_the_unbroken_run_under_every_scheduler(config, step_per, scheduler):
    # Batches of one size and few checkpoints, because most of the time is compilation and Orbax.
    config = config.replace(scheduler=scheduler, step_per=step_per, batch_size=40, checkpoint_every=100)
    unbroken = config.output.out.with_name("unbroken")
    train(config.replace(out=unbroken))
    train(config.replace(epochs=3))  # the plateaus are in their cooldown there
    assert_same_run_after_resume(config, unbroken)


def assert_same_run_after_resume(config: TrainConfig, unbroken: Path) -> None:
    assert config.output.out is not None
    train(config.replace(resume=True))
    assert_same_run(config.output.out, unbroken)


def test_the_plateaus_above_are_stopped_within_their_cooldown(config):
    for _, scheduler in SCHEDULERS[:2]:
        out = config.output.out.with_name(scheduler[:26].replace("'", ""))
        train(config.replace(scheduler=scheduler, epochs=3, out=out))
        counters = {name: bits for name, _, bits in arrays(out, 2) if "cooldown_counter" in name}
        assert [np.frombuffer(bits, np.int32) > 0 for bits in counters.values()] == [True]


@pytest.mark.parametrize(("every", "saved"), [(1, [*range(9)]), (3, [2, 5, 8]), (100, [8]), (None, [0, 8])])
def test_the_newest_two_checkpoints_and_the_best_are_kept(config, monkeypatch, every, saved):
    # With this share of the time, nine epochs are too short for a second checkpoint.
    monkeypatch.setattr("jaxlr.train.output.checkpoint._SHARE_OF_TIME", 1e-4)
    rows = train(config.replace(epochs=9, checkpoint_every=every))
    best = min(saved, key=lambda epoch: (rows[epoch]["valid_loss"], -epoch))
    assert set(saved_epochs(config.output.out / "checkpoints")) == {best, *saved[-2:]}
    assert every != 1 or best < 7  # so a checkpoint that is not among the newest two is kept


def test_a_finished_run_says_so_and_stays_unchanged(config, capsys):
    rows = train(config.replace(validation_size=50, quiet=False))
    before = {path: path.stat().st_mtime_ns for path in config.output.out.rglob("*")}
    capsys.readouterr()
    main(["train", "--resume", "--out", str(config.output.out)])
    assert capsys.readouterr().out == f"{config.output.out} is finished: it has all of its 7 epochs\n"
    assert train(config.replace(validation_size=50, resume=True)) == rows
    assert {path: path.stat().st_mtime_ns for path in config.output.out.rglob("*")} == before


def test_a_run_killed_after_its_last_checkpoint_gets_its_figure_and_its_test_score(config):
    config = config.replace(validation_size=50)
    train(config)
    score = (config.output.out / "test.json").read_bytes()
    for name in ("curves.png", "test.json"):
        (config.output.out / name).unlink()
        train(config.replace(resume=True))
        assert (config.output.out / "curves.png").exists()
        assert (config.output.out / "test.json").read_bytes() == score


def test_more_epochs_make_a_finished_run_the_longer_one(config):
    config = config.replace(validation_size=50)
    longer = config.output.out.with_name("longer")
    train(config.replace(epochs=12, out=longer))
    train(config)
    assert_same_run_after_resume(config.replace(epochs=12), longer)
    assert (config.output.out / "test.json").read_bytes() == (longer / "test.json").read_bytes()


@pytest.mark.parametrize("left", ["nothing", "a folder", "a lock", "a config"])
def test_resume_starts_a_run_if_there_is_no_checkpoint(config, unbroken, left):
    if left == "a config":
        train(config.replace(epochs=1, seed=0))
        shutil.rmtree(config.output.out / "checkpoints")
    elif left != "nothing":
        config.output.out.mkdir()
    if left == "a lock":
        (config.output.out / ".lock").touch()
        (config.output.out / ".config.json").write_text('{"half')
    assert_same_run_after_resume(config, unbroken)


def test_a_resumed_run_writes_another_tensorboard_file_even_within_the_same_second(config):
    for epochs in (2, 4):
        train(config.replace(epochs=epochs, resume=epochs > 2, tensorboard=True))
    files = [*config.output.out.glob("events.out.tfevents.*")]
    assert {path.suffix for path in files} == {".0", ".2"}
    assert all(b"valid_loss" in path.read_bytes() for path in files)


def test_a_run_in_another_thread_needs_no_signals(config):
    with ThreadPoolExecutor() as pool:
        assert len(pool.submit(train, config.replace(epochs=2)).result()) == 2


# Settings


CHANGES = [
    ("--lr", "0.2", "--lr was 0.05, now 0.2"),
    ("--momentum", "0.5", "--momentum was 0.9, now 0.5"),
    ("--hidden", "9", "--hidden was (8,), now (9,)"),
    ("--batch-size", "31", "--batch-size was 32, now 31"),
    ("--seed", "1", "--seed was 0, now 1"),
    ("--scheduler", "StepLR(3)", "--scheduler was 'ReduceLROnPlateau(patience=5)', now 'StepLR(3)'"),
    ("--dataset", "digits", "--dataset was 'mnist', now 'digits'"),
    ("--validation-size", "9", "--validation-size was 0, now 9"),
    ("--epochs", "1", "--epochs was 2, now 1"),
]


@pytest.mark.parametrize("delete", ["nothing", "config.json", "checkpoints"])
def test_other_settings_are_refused_and_every_difference_is_listed(stopped, delete):
    config = stopped
    if delete == "checkpoints":
        shutil.rmtree(config.output.out / delete)
    elif delete != "nothing":
        (config.output.out / delete).unlink()
    before = metrics(config.output.out)
    given = config.replace(resume=True, lr=0.2, momentum=0.5, hidden=(9,), batch_size=31, seed=1, epochs=1)
    with pytest.raises(FolderError, match="with different settings") as refusal:
        train(given)
    message = str(refusal.value)
    for flag, _, change in [*CHANGES[:5], CHANGES[-1]]:
        assert change in message, flag
    assert "--dataset" not in message
    assert metrics(config.output.out) == before


def test_on_the_command_line_only_the_given_flags_can_differ(config, refuse):
    train(config.replace(epochs=2, tensorboard=True))
    resume = ["train", "--resume", "--out", str(config.output.out)]
    for flag, value, change in CHANGES:
        assert f"with different settings ({change}): drop" in refuse(*resume, flag, value)
    main([*resume, "--lr", "0.05", "--epochs", "3", "--checkpoint-every", "2", "--no-tensorboard"])
    main([*resume, "--epochs", "4", "--on-nan", "continue", "--quiet"])
    assert len(metrics(config.output.out)) == 4
    saved = json.loads((config.output.out / "config.json").read_text())
    assert (saved["epochs"], saved["checkpoint_every"], saved["on_nan"]) == (4, 2, "continue")
    assert saved["tensorboard"] is False


def test_a_run_whose_config_cannot_be_read_resumes_when_it_is_deleted_and_the_flags_are_given(
    stopped, refuse
):
    file = stopped.output.out / "config.json"
    for content in (b"", b'{"lr', b"[]", b"null", b'{"lr": "x"}', b'{"lrr": 1}', b"\xff"):
        file.write_bytes(content)
        assert str(file) in refuse("train", "--resume", "--out", stopped.output.out), content
    file.unlink()
    train(stopped.replace(epochs=3, resume=True))
    assert len(metrics(stopped.output.out)) == 3


def test_a_changed_config_is_refused_until_it_is_deleted_and_the_flags_are_given(stopped, refuse):
    file = stopped.output.out / "config.json"
    content = file.read_text()
    resume = ["train", "--resume", "--out", stopped.output.out]
    for old, new, change in (
        ('"epochs": 2', '"epochs": 24', "epochs was 2, now 24"),
        ('"lr": 0.05', '"lr": 0.06', "lr was 0.05, now 0.06"),
        ('"on_nan": "stop"', '"on_nan": "continue"', "on-nan was 'stop', now 'continue'"),
    ):
        assert old in content
        file.write_text(content.replace(old, new))
        line = refuse(*resume)
        assert f"{file} was changed since the run wrote it" in line
        assert change in line
    file.unlink()
    train(stopped.replace(epochs=3, resume=True))
    assert len(metrics(stopped.output.out)) == 3


def damage_row(out: Path) -> None:
    file = out / "metrics.jsonl"
    file.write_text(file.read_text().replace('"lr": 0.05', '"lr": 0.06', 1))


def cut_rows(out: Path) -> None:
    file = out / "metrics.jsonl"
    file.write_text(file.read_text()[:-300])


def empty_figure(out: Path) -> None:
    (out / "curves.png").write_bytes(b"")


def flip_newest(out: Path) -> None:
    flip_bits(out / "checkpoints" / str(saved_epochs(out / "checkpoints")[0]))


@pytest.mark.parametrize(
    ("damage", "warning"),
    [
        (damage_row, "metrics.jsonl was changed: a number in its first 2 lines"),
        (cut_rows, "lacks . of the first 2 epochs"),
        (flip_newest, "the checkpoint of epoch 1 is damaged"),
        (empty_figure, None),
    ],
)
def test_a_damaged_run_is_not_called_finished(stopped, damage, warning, capsys):
    stopped = stopped.replace(epochs=2, resume=True, quiet=False)
    damage(stopped.output.out)
    with warnings.catch_warnings(record=True, action="always") as caught:
        train(stopped)
    messages = [str(each.message) for each in caught]
    assert len(messages) == (warning is not None), messages
    assert re.search(warning or "", "".join(messages))
    assert "is finished" not in capsys.readouterr().out
    assert (stopped.output.out / "curves.png").read_bytes()


def test_a_folder_without_a_run_cannot_be_resumed(config):
    config.output.out.mkdir()
    (config.output.out / "thesis.tex").touch()
    with pytest.raises(FolderError, match="holds no run to resume"):
        train(config.replace(resume=True))
    with pytest.raises(ValueError, match="resume needs out"):
        TrainConfig.from_flags(resume=True)


def test_a_run_in_float32_is_not_resumed_in_float64(stopped):
    with jax.enable_x64(True), pytest.raises(CheckpointError, match="JAX_ENABLE_X64=0"):
        train(stopped.replace(resume=True))
    assert len(train(stopped.replace(resume=True))) == 7


@pytest.mark.parametrize(
    ("name", "value", "setting"),
    [
        ("jax_threefry_partitionable", False, "JAX_THREEFRY_PARTITIONABLE=1"),
        ("jax_default_prng_impl", "rbg", "JAX_DEFAULT_PRNG_IMPL=threefry2x32"),
    ],
)
def test_a_run_is_not_resumed_with_other_random_numbers(stopped, name, value, setting):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        with pytest.raises(CheckpointError, match=f"set {setting} to resume it"):
            train(stopped.replace(resume=True))
    finally:
        jax.config.update(name, before)
    assert len(train(stopped.replace(resume=True))) == 7


def test_a_change_that_bits_depend_on_is_a_warning_or_refused_with_strict(stopped, monkeypatch, refuse):
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX2")  # XLA has read its flags before
    changed = r"XLA_FLAGS was '.*', now '--xla_cpu_max_isa=AVX2'"
    resume = ["train", "--resume", "--out", str(stopped.output.out), "--epochs", "3"]
    line = refuse(*resume, "--strict")
    assert re.search(rf"cannot resume with --strict, .*{changed}.*: drop --strict", line)
    with pytest.warns(
        UserWarning, match=f"the last bits may differ from those of an unbroken run: {changed}"
    ):
        main(resume)
    assert len(metrics(stopped.output.out)) == 3


def test_other_data_are_refused_and_change_nothing(stopped, tmp_path):
    config = stopped
    before = {path: path.read_bytes() for path in config.output.out.iterdir() if path.is_file()}
    other = small_mnist(tmp_path / "other", seed=1)
    with pytest.raises(FolderError, match="is trained on other data"):
        train(config.replace(data_dir=other, resume=True))
    assert {path: path.read_bytes() for path in config.output.out.iterdir() if path.is_file()} == before
    (config.output.out / "data.json").write_text("{")
    with pytest.raises(FolderError, match=r"cannot read .*data\.json"):
        train(config.replace(resume=True))
    (config.output.out / "data.json").unlink()
    assert len(train(config.replace(resume=True))) == 7


# metrics.jsonl


ROW = {"train_loss": 0.5, "valid_loss": math.nan, "valid_accuracy": 0.5, "lr": 0.1, "seconds": 1.0}
LINES = [json.dumps({"epoch": epoch, **ROW, "valid_loss": None}) + "\n" for epoch in range(5)]


def reopened(folder: Path, content: bytes, start: int) -> list[int]:
    (folder / "metrics.jsonl").write_bytes(content)
    with warnings.catch_warnings(action="ignore"), MetricsLog(folder, False, start) as log:
        kept = [row["epoch"] for row in log.history]
        log.write({"epoch": start, **ROW})
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [*kept, start]
    return kept


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        ("".join(LINES), [0, 1, 2]),
        ("".join(LINES[:3]), [0, 1, 2]),
        ("".join(LINES[:3]) + LINES[3][:20], [0, 1, 2]),
        ("".join(LINES[:3])[:-1], [0, 1]),
        ("".join(LINES[:2] + LINES[1:3]), [0, 1, 2]),
        ("".join([LINES[2], LINES[0], "junk\n", LINES[1]]), [0, 1, 2]),
        ("".join([LINES[0].replace("0", "-1", 1), LINES[0]]), [0]),
        ("\0" * 50, []),
        ("", []),
    ],
)
def test_resumed_metrics_keep_each_whole_line_of_an_epoch_before_the_checkpoint_once(
    tmp_path, content, kept
):
    assert reopened(tmp_path, content.encode(), 3) == kept


@settings(deadline=None, max_examples=300)
@given(
    pieces=st.lists(st.sampled_from([line.encode() for line in LINES]) | st.binary(max_size=20)),
    cut=st.integers(0, 200),
    start=st.integers(0, 5),
)
def test_resumed_metrics_are_whole_lines_in_order_after_any_damage(tmp_path_factory, pieces, cut, start):
    content = b"".join(pieces)
    kept = reopened(tmp_path_factory.getbasetemp(), content[: max(0, len(content) - cut)], start)
    assert kept == sorted(set(kept))
    assert all(0 <= epoch < start for epoch in kept)


def test_resumed_metrics_keep_the_first_of_two_lines_of_an_epoch(tmp_path):
    lines = [json.dumps({"epoch": 0, **ROW, "valid_loss": None, "lr": lr}) + "\n" for lr in (0.1, 0.2)]
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    with MetricsLog(tmp_path, False, 1) as log:
        assert [row["lr"] for row in log.history] == [0.1]


@pytest.fixture
def synced(monkeypatch) -> list[tuple[int, int]]:
    """Return a list to which each call of fsync adds the inode and the size of its file."""
    files: list[tuple[int, int]] = []

    def sync(descriptor: int) -> None:
        status = os.fstat(descriptor)
        files.append((status.st_ino, status.st_size))

    monkeypatch.setattr(os, "fsync", sync)
    return files


def test_a_line_of_metrics_is_on_the_disk_when_it_has_been_written(tmp_path, synced):
    with MetricsLog(tmp_path, False) as log:
        log.write({"epoch": 0, **ROW})
        status = (tmp_path / "metrics.jsonl").stat()
        assert synced[-1] == (status.st_ino, status.st_size)


def test_a_file_is_on_the_disk_before_it_replaces_another(tmp_path, synced):
    write_json(tmp_path / "config.json", {"lr": 0.1})
    status = (tmp_path / "config.json").stat()
    assert synced == [(status.st_ino, status.st_size)]


def test_lost_metrics_are_a_warning(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(LINES[0] + LINES[2])
    with pytest.warns(UserWarning, match="lacks 2 of the first 4 epochs"):
        MetricsLog(tmp_path, False, 4).close()


# Damage


STATE = TrainState(
    params={"kernel": np.random.default_rng(0).normal(size=(32, 16)).astype(np.float32)},
    opt_state=optax.chain(optax.sgd(0.1, 0.9), jaxlr.reduce_lr_on_plateau(0.1)).init({"w": jnp.ones(3)}),
    key=jax.random.key(5),
)


def scaled(factor: float) -> TrainState:
    return STATE._replace(params={"kernel": STATE.params["kernel"] * np.float32(factor)})


def bits(state: TrainState) -> list[bytes]:
    state = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(state)]


@pytest.fixture(scope="module")
def three_checkpoints(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints")
    losses = {0: 0.1, 1: 0.4, 2: 0.3}
    with Checkpoints(folder, losses) as checkpoints:
        for epoch in losses:
            checkpoints.save(epoch, scaled(epoch + 1), {"lr": 0.1})
    return folder


def test_a_loaded_checkpoint_has_every_bit_and_the_same_types(three_checkpoints):
    checkpoint = load_newest(three_checkpoints, STATE, lambda config: None)
    assert checkpoint is not None
    assert checkpoint.epoch == 2
    assert bits(checkpoint.state) == bits(scaled(3))
    assert jax.tree.structure(checkpoint.state) == jax.tree.structure(STATE)
    assert jax.random.bits(checkpoint.state.key) == jax.random.bits(STATE.key)


def damages(content: bytes, rng: np.random.Generator) -> dict[str, bytes | None]:
    """Return damaged versions of a file. None means that the file is gone."""
    flipped = bytearray(content)
    if flipped:
        flipped[rng.integers(len(flipped))] ^= 1 << rng.integers(8)
    return {"gone": None, "empty": b"", "cut": content[: len(content) // 2], "flipped": bytes(flipped)}


def test_no_damage_to_any_file_of_a_checkpoint_leads_to_a_wrong_bit(three_checkpoints, tmp_path):
    rng = np.random.default_rng(0)
    newest = three_checkpoints / "2"
    fallbacks, faults = 0, 0
    for file in sorted(path.relative_to(newest) for path in newest.rglob("*") if path.is_file()):
        for damage, content in damages((newest / file).read_bytes(), rng).items():
            folder = tmp_path / f"{faults}"
            shutil.copytree(three_checkpoints, folder)
            (folder / "2" / file).unlink()
            if content is not None:
                (folder / "2" / file).write_bytes(content)
            with warnings.catch_warnings(record=True, action="always") as said:
                checkpoint = load_newest(folder, STATE, lambda config: None)
            assert checkpoint is not None
            assert bits(checkpoint.state) == bits(scaled(checkpoint.epoch + 1)), (file, damage)
            assert len(said) == (checkpoint.epoch < 2), (file, damage)
            if checkpoint.epoch < 2:
                assert checkpoint.epoch == 1
                (warning,) = said
                assert "the checkpoint of epoch 2 is damaged" in str(warning.message)
                assert saved_epochs(folder) == [1, 0]
                fallbacks += 1
            with Checkpoints(folder, {0: 0.1, 1: 0.4}) as checkpoints:  # a resumed run can save again
                checkpoints.save(checkpoint.epoch + 1, scaled(9), {"lr": 0.1})
            faults += 1
    assert faults >= 36  # the number depends on the version of Orbax
    assert fallbacks >= 15


@pytest.mark.parametrize(
    ("losses", "best"), [([0.2, 0.1, 0.1, 0.3, 0.3], 2), ([math.nan, 0.5, 0.4, 0.6, 0.6], 2)]
)
def test_the_best_checkpoint_is_the_newer_of_equal_losses_and_never_a_nan(tmp_path, losses, best):
    by_epoch = dict(enumerate(losses))
    with Checkpoints(tmp_path, by_epoch) as checkpoints:
        for epoch in by_epoch:
            checkpoints.save(epoch, STATE, {"lr": 0.1})
    assert saved_epochs(tmp_path) == [4, 3, best]


def test_a_damaged_older_checkpoint_is_ignored(three_checkpoints, tmp_path):
    folder = shutil.copytree(three_checkpoints, tmp_path / "copy")
    (folder / "0" / "_CHECKPOINT_METADATA").write_text('{"not": "ours"')
    checkpoint = load_newest(folder, STATE, lambda config: None)
    assert checkpoint is not None
    with Checkpoints(folder, {0: 0.1, 1: 0.4, 2: 0.3}) as checkpoints:
        checkpoints.save(3, scaled(4), {"lr": 0.1})
    assert saved_epochs(folder) == [3, 2, 0]


def test_a_run_whose_checkpoints_are_all_damaged_is_refused_and_stays_unchanged(config):
    train(config.replace(epochs=4))
    for path in (config.output.out / "checkpoints").glob("*/_CHECKPOINT_METADATA"):
        path.write_text("{}")
    before = sorted(config.output.out.rglob("*"))
    with pytest.raises(CheckpointError, match="every checkpoint in"):
        train(config.replace(resume=True))
    assert sorted(config.output.out.rglob("*")) == before
    assert len(metrics(config.output.out)) == 4


def test_a_run_with_a_damaged_checkpoint_resumes_from_the_one_before(config, unbroken):
    train(config.replace(epochs=4))
    flip_bits(config.output.out / "checkpoints" / "3")
    with pytest.warns(
        UserWarning, match="the checkpoint of epoch 3 is damaged.*resuming from the checkpoint of epoch 2"
    ):
        assert_same_run_after_resume(config, unbroken)


# The loss


def diverging(config: TrainConfig, **more: Any) -> TrainConfig:
    """Return a run of two good epochs at a tiny rate, then one at a rate that overflows."""
    return config.replace(lr=1e-30, scheduler="MultiStepLR([2, 3], gamma=1e32)", **more)


def test_a_loss_that_is_not_finite_stops_the_run_and_its_state_is_not_saved(config, refuse):
    run = flags(dataset="mnist", data_dir=config.data.data_dir, hidden=8, checkpoint_every=1)
    scheduler = flags(lr=1e-30, scheduler="MultiStepLR([2, 3], gamma=1e32)", out=config.output.out)
    error = refuse("train", *run, *scheduler, "--quiet", status=3)
    lost = metrics(config.output.out)[-1]["epoch"]
    assert f"in epoch {lost}, at a learning rate of " in error
    assert "last finite training loss: " in error
    command = r"jaxlr train --resume --out \S+ --on-nan continue"
    assert re.search(rf"to resume after epoch {lost - 1}: {command}\n$", error)
    assert error.count("\n") == 1
    assert saved_epochs(config.output.out / "checkpoints")[:2] == [lost - 1, lost - 2]
    assert (config.output.out / "curves.png").exists()


def test_a_run_that_stopped_for_its_loss_stops_again_or_continues_as_on_nan_says(config):
    unbroken = config.output.out.with_name("unbroken")
    train(diverging(config, on_nan="continue", out=unbroken))
    for resume in (False, True):
        with pytest.raises(LossError):
            train(diverging(config, resume=resume))
    assert_same_run_after_resume(diverging(config, on_nan="continue"), unbroken)
    finished = train(diverging(config, on_nan="continue", out=unbroken, resume=True))
    assert math.isnan(finished[-1]["train_loss"])


def test_out_of_memory_names_the_batch_and_the_devices(config, monkeypatch):
    def exhausted(*arguments: Any) -> None:
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")

    monkeypatch.setattr(loop, "_train_epoch", exhausted)
    with pytest.raises(DeviceError, match=r"out of memory on .*0.* with batches of 32: lower"):
        train(config)


def test_out_of_memory_on_a_gpu_names_the_other_processes(monkeypatch):
    monkeypatch.setattr(jax, "devices", lambda: [SimpleNamespace(platform="gpu")])
    with (
        pytest.raises(DeviceError, match="or end other processes on the GPU, which nvidia-smi lists"),
        memory_errors(32, ["--batch-size", "--hidden"]),
    ):
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes.")


def test_out_of_memory_on_the_host_is_a_device_error(config, monkeypatch):
    def exhausted(*arguments: Any) -> None:
        raise MemoryError("Unable to allocate 9 GiB")

    monkeypatch.setattr(loop, "_train_epoch", exhausted)
    with pytest.raises(DeviceError, match=r"out of memory on .* \(Unable to allocate 9 GiB\)"):
        train(config)


def test_another_error_of_the_device_is_raised_unchanged(config, monkeypatch):
    def broken(*arguments: Any) -> None:
        raise jax.errors.JaxRuntimeError("INTERNAL: an ill omen")

    monkeypatch.setattr(loop, "_train_epoch", broken)
    with pytest.raises(jax.errors.JaxRuntimeError, match="an ill omen"):
        train(config)


def test_the_validation_loss_must_be_finite_too():
    row = {"train_loss": 0.5, "valid_loss": 0.5}
    assert has_finite_loss(row)
    for name in row:
        for loss in (math.inf, math.nan):
            assert not has_finite_loss({**row, name: loss})


def test_the_rate_of_a_plateau_is_written_without_float32_digits(config):
    config = config.replace(lr=0.1, momentum=0.0, epochs=2)
    assert [row["lr"] for row in train(config)] == [0.1, 0.1]


def test_config_json_does_not_record_resume(config):
    train(config.replace(epochs=1, resume=True))
    assert json.loads((config.output.out / "config.json").read_text())["resume"] is False


def test_a_long_error_of_a_checkpoint_names_its_reason(tmp_path, monkeypatch):
    """TensorStore names the file twice, then the reason, then its settings."""
    file = f"{tmp_path}/{'long' * 40}"
    message = f"RESOURCE_EXHAUSTED: Error writing {file!r}: Failed to open: {file!r}: Too many open files"

    def fail(*args: Any, **kwargs: Any) -> None:
        raise ValueError(f"{message} [tensorstore_spec='{'x' * 300}']")

    with Checkpoints(tmp_path / "checkpoints", {0: 0.5}) as checkpoints:
        monkeypatch.setattr(checkpoints._checkpointer, "save_async", fail)
        with pytest.raises(OSError, match=r"^the checkpoint failed: ValueError: .*: Too many open files$"):
            checkpoints.save(0, {"w": jnp.ones(2)}, {})
