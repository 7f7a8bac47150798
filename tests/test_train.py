"""The training run: the same numbers as a loop in torch, and the files and lines that it writes."""

import json
import os
import subprocess
import sys
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from folders import small_mnist
from helpers import DEVICE_RTOL, assert_close, fast_jit, torch_plateau_curve
from processes import start

import jaxlr
from jaxlr.cli import main
from jaxlr.train.config import TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.errors import RateError
from jaxlr.train.loop import train
from jaxlr.train.model import mlp
from jaxlr.train.runs import check_rates
from jaxlr.train.step import Split, TrainState, evaluate, train_epoch, train_step


pytestmark = pytest.mark.usefixtures("fast_programs", "undrawn_figures")


@pytest.fixture(scope="module")
def digits() -> Split:
    dataset = load_dataset("digits")
    return Split(jnp.asarray(dataset.train_images), jnp.asarray(dataset.train_labels))


def torch_twin(torch, params: Any):
    """Build the MLP in torch, with the weights of `params`."""
    layers = []
    for layer in params["layers"].values():
        kernel, bias = np.asarray(layer["kernel"][...]), np.asarray(layer["bias"][...])
        linear = torch.nn.Linear(*kernel.shape)
        with torch.no_grad():
            linear.weight.copy_(torch.tensor(kernel.T))
            linear.bias.copy_(torch.tensor(bias))
        layers += [linear, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_200_steps_match_the_losses_rates_and_weights_of_torch(torch, digits, momentum):
    lr = 0.1 if momentum == 0 else 0.02
    schedule = jaxlr.multi_step_lr(lr, milestones=[60, 120], gamma=0.5)
    init, apply = mlp([64, 256, 128, 10])
    params = init(jax.random.key(1))
    tx = optax.inject_hyperparams(optax.sgd)(schedule, momentum or None)
    state = TrainState(params, tx.init(params), jax.random.key(0))
    step = fast_jit(lambda state, batch: train_step(apply, tx, state, batch))

    twin = torch_twin(torch, params)
    optimizer = torch.optim.SGD(twin.parameters(), lr=lr, momentum=momentum)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [60, 120], gamma=0.5)
    losses, torch_losses, rates, torch_rates = [], [], [], []
    for indices in np.random.default_rng(0).integers(0, len(digits.labels), (200, 32)):
        batch = Split(digits.images[indices], digits.labels[indices])
        state, batch_losses = step(state, batch)
        losses.append(batch_losses.mean())
        rates.append(state.opt_state.hyperparams["learning_rate"])

        optimizer.zero_grad()
        features = torch.tensor(np.asarray(batch.images).reshape(32, -1) / np.float32(255))
        torch_loss = torch.nn.functional.cross_entropy(
            twin(features), torch.tensor(np.asarray(batch.labels, np.int64))
        )
        torch_loss.backward()
        optimizer.step()
        torch_losses.append(torch_loss.item())
        torch_rates.append(optimizer.param_groups[0]["lr"])
        scheduler.step()

    assert_close(rates, torch_rates, DEVICE_RTOL)
    assert_close(losses, torch_losses, 1e-4)
    linears = [layer for layer in twin if isinstance(layer, torch.nn.Linear)]
    for layer, linear in zip(state.params["layers"].values(), linears, strict=True):
        for ours, torchs in ((layer["kernel"][...].T, linear.weight), (layer["bias"][...], linear.bias)):
            difference = np.linalg.norm(np.asarray(ours) - torchs.detach().numpy())
            assert difference <= 1e-4 * np.linalg.norm(ours)


def test_a_step_has_no_scatter(digits):
    init, apply = mlp([64, 10])
    tx, params = optax.sgd(0.1), init(jax.random.key(0))
    state = TrainState(params, tx.init(params), jax.random.key(0))
    program = jax.jit(lambda state, batch: train_step(apply, tx, state, batch)).lower(state, digits)
    assert "scatter" not in program.as_text()


def test_initial_weights_are_uniform_with_the_bound_of_torch(torch):
    init, _ = mlp([784, 256, 128, 10])
    params = init(jax.random.key(0))
    for layer in params["layers"].values():
        kernel, bias = np.asarray(layer["kernel"][...]), np.asarray(layer["bias"][...])
        bound = kernel.shape[0] ** -0.5
        torchs = torch.nn.Linear(*kernel.shape).weight.detach().numpy()
        assert np.abs(kernel).max() <= bound
        assert np.abs(bias).max() <= bound
        assert_close(kernel.std(), torchs.std(), 0.1)
        assert_close(kernel.std(), bound / 3**0.5, 0.05)
        assert np.abs(bias).max() > bound / 2


def test_an_epoch_uses_every_sample_once_with_a_smaller_last_batch(digits):
    batch_size = 100
    few = Split(digits.images[:250], digits.labels[:250])
    init, apply = mlp([64, 10])
    tx = optax.sgd(0.1)
    params = init(jax.random.key(0))
    start = TrainState(params, tx.init(params), jax.random.key(7))
    end, loss = fast_jit(lambda state: train_epoch(apply, tx, batch_size, state, few))(start)
    step = fast_jit(lambda state, batch: train_step(apply, tx, state, batch))

    order = jax.random.permutation(jax.random.split(start.key)[1], 250)
    chex.assert_trees_all_equal(jnp.sort(order), jnp.arange(250))
    state, total = start, 0.0
    for batch in (order[:100], order[100:200], order[200:]):
        state, losses = step(state, Split(few.images[batch], few.labels[batch]))
        total += losses.sum()
    chex.assert_trees_all_close(end.params, state.params, rtol=1e-5, atol=1e-7)
    assert_close(loss, total / 250, 1e-5)
    assert not np.array_equal(jax.random.key_data(end.key), jax.random.key_data(start.key))


@pytest.mark.parametrize("num_samples", [1, 100, 2048, 5000])
def test_an_evaluation_is_the_mean_over_all_samples(num_samples):
    rng = np.random.default_rng(0)
    split = Split(
        jnp.asarray(rng.integers(0, 256, (num_samples, 4, 4)), dtype=jnp.uint8),
        jnp.asarray(rng.integers(0, 3, num_samples), dtype=jnp.int32),
    )
    init, apply = mlp([16, 3])
    params = init(jax.random.key(0))
    loss, accuracy = evaluate(apply, params, split)
    logits = np.asarray(apply(params, split.images), np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    assert_close(loss, -log_probabilities[np.arange(num_samples), split.labels].mean(), 1e-5)
    assert_close(accuracy, (logits.argmax(axis=1) == split.labels).mean(), 1e-6)


@pytest.fixture(scope="module")
def default_run(tmp_path_factory):
    """Run the command with its defaults. Return its folder and the finished process."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    command = [sys.executable, "-m", "jaxlr", "train", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return out, done


def read_metrics(out) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.heavy
def test_the_default_run_learns_the_digits(default_run):
    out, _ = default_run
    rows = read_metrics(out)
    assert [row["epoch"] for row in rows] == list(range(25))
    assert set(rows[0]) == {"epoch", "train_loss", "valid_loss", "valid_accuracy", "lr", "seconds"}
    assert rows[-1]["valid_accuracy"] > 0.93


@pytest.mark.heavy
def test_the_default_run_prints_its_device_and_a_line_per_epoch_and_no_progress_bar(default_run):
    _, done = default_run
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"jaxlr {jaxlr.__version__} on {jax.default_backend()}")
    epoch_lines = [line for line in lines if line.startswith("epoch")]
    assert len(epoch_lines) == 25
    assert all(f"{name} " in epoch_lines[0] for name in ("train loss", "valid loss", "accuracy", "lr"))
    assert done.stderr == ""


@pytest.mark.heavy
def test_the_default_run_writes_its_config_and_a_figure(default_run):
    out, _ = default_run
    config = json.loads((out / "config.json").read_text())
    assert config["scheduler"] == "ReduceLROnPlateau(patience=5)"
    assert config["hidden"] == [256, 128]
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")


SHORT = {"hidden": (32,), "quiet": True}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_rates_of_a_plateau_run_match_torch_given_the_validation_losses(torch, tmp_path, mode):
    scheduler = f"ReduceLROnPlateau(mode='{mode}', factor=0.5, patience=1, cooldown=1, threshold=0.01)"
    config = TrainConfig.from_flags(
        **SHORT, scheduler=scheduler, epochs=30, out=tmp_path / "run", momentum=0.9
    )
    train(config)
    rows = read_metrics(tmp_path / "run")
    losses = [row["valid_loss"] for row in rows]
    after = torch_plateau_curve(
        torch, losses, mode=mode, factor=0.5, patience=1, cooldown=1, threshold=0.01
    )
    assert after[-1] < 0.05  # the plateau did cut the rate
    assert_close([row["lr"] for row in rows], [0.1, *after[:-1]], DEVICE_RTOL)


def test_a_scheduler_may_step_per_epoch_or_per_batch(tmp_path):
    per_epoch = train(
        TrainConfig.from_flags(**SHORT, scheduler="StepLR(2)", epochs=4, out=tmp_path / "epoch")
    )
    assert_close([row["lr"] for row in per_epoch], [0.1, 0.1, 0.01, 0.01], 1e-12)
    per_batch = train(
        TrainConfig.from_flags(
            **SHORT,
            scheduler="ExponentialLR(0.99)",
            step_per="batch",
            epochs=2,
            batch_size=100,
            out=tmp_path / "batch",
        )
    )
    steps = -(-len(load_dataset("digits").train_labels) // 100)
    assert_close([row["lr"] for row in per_batch], [0.1 * 0.99 ** (k * steps - 1) for k in (1, 2)], 1e-12)


def test_the_reported_rate_is_the_one_that_moves_the_weights(tmp_path):
    """After epoch 0 the rate is 1e-4 of what it was, so the training loss hardly changes."""
    rows = train(
        TrainConfig.from_flags(**SHORT, scheduler="StepLR(1, gamma=1e-4)", epochs=4, out=tmp_path / "run")
    )
    falls = -np.diff([row["train_loss"] for row in rows])
    assert falls[0] > 0.01
    assert np.abs(falls[1:]).max() < 1e-3


def test_runs_are_equal_with_the_same_seed_and_differ_with_another(tmp_path):
    def losses(seed, name):
        rows = train(TrainConfig.from_flags(**SHORT, epochs=2, seed=seed, out=tmp_path / name))
        return [row["valid_loss"] for row in rows]

    assert losses(3, "a") == losses(3, "b") != losses(4, "c")


def test_with_a_validation_size_the_test_split_is_scored_once_at_the_end(tmp_path, capsys):
    config = TrainConfig.from_flags(hidden=(32,), epochs=2, validation_size=200, out=tmp_path / "run")
    train(config)
    printed = capsys.readouterr().out
    num_train = len(load_dataset("digits").train_labels) - 200
    assert f"{num_train} training and 200 validation samples" in printed
    assert printed.count("test split: ") == 1
    assert set(json.loads((tmp_path / "run" / "test.json").read_text())) == {"test_loss", "test_accuracy"}


def test_quiet_prints_nothing(tmp_path, capfd):
    train(TrainConfig.from_flags(**SHORT, epochs=1, out=tmp_path / "run"))
    assert capfd.readouterr() == ("", "")


def test_tensorboard_has_every_metric(tmp_path):
    train(TrainConfig.from_flags(**SHORT, epochs=2, out=tmp_path / "run", tensorboard=True))
    (events,) = (tmp_path / "run").glob("events.out.tfevents.*")
    content = events.read_bytes()
    assert all(name in content for name in (b"train_loss", b"valid_loss", b"valid_accuracy", b"lr"))


@pytest.mark.heavy
def test_one_epoch_of_mnist_is_above_93_percent(data_root, tmp_path):
    """The IDX files. tests/test_data.py checks that a TFDS preparation has the same images and labels."""
    config = TrainConfig.from_flags(
        dataset="mnist", data_dir=data_root / "mnist", epochs=1, out=tmp_path / "run", quiet=True
    )
    assert train(config)[0]["valid_accuracy"] > 0.93


MISTAKES = [
    ([], "Expected one of {train, sweep, plot, table, port, verify, fit} (see jaxlr --help)"),
    (["trian"], "trian"),
    (["train", "--learning-rate", "3"], "--learning-rate"),
    (["train", "--lr", "fast"], "error: --lr must be a number, got 'fast'"),
    (["train", "--lr", "-1"], "error: --lr must be a finite number above 0, got -1.0"),
    (["train", "--lr", "nan"], "lr must be a finite number above 0, got nan"),
    (["train", "--epochs", "0"], "--epochs must be from 1 to 2**31 - 1, got 0"),
    (["train", "--epochs", "9" * 20], "epochs must be at most 2**61"),
    (["train", "--batch-size", "-5"], "--batch-size must be from 1 to 2**31 - 1, got -5"),
    (["train", "--batch-size", "9" * 12], "--batch-size must be from 1 to 2**31 - 1"),
    (["train", "--momentum", "1"], "--momentum must be below 1, got 1.0"),
    (["train", "--seed", "-1"], "--seed must be from 0 to 2**31 - 1, got -1"),
    (["train", "--validation-size", "-1"], "--validation-size must be from 0 to 2**31 - 1, got -1"),
    (["train", "--validation-size", "99999"], "--validation-size 99999 leaves nothing to train on"),
    (["train", "--hidden", "0"], "each of --hidden must be from 1 to 2**31 - 1, got 0"),
    (["train", "--hidden", "9" * 11], "each of --hidden must be from 1 to 2**31 - 1"),
    (["train", "--lr", "1e-300"], "--lr must be from 1e-30 to 1e+30"),
    (
        ["train", "--scheduler", "ExponentialLR(1" + "0" * 400 + ")"],
        "gamma must be a finite number of at least 0, got inf",
    ),
    (["train", "--scheduler", "f" + "()" * 500], "nested too deeply to be read"),
    (["train", "--dataset", "x" * 5000], "unknown dataset 'xxx"),
    (["train", "--dataset", "../x"], "unknown dataset '../x'"),
    (["train", "--dataset", ""], "unknown dataset ''"),
    (
        ["train", "--scheduler", "LambdaLR(lambda e: 1 / (e - 20))"],
        "scheduler 'LambdaLR(lambda e: 1 / (e - 20))': ",
    ),
    (["train", "--scheduler", "StpLR(3)"], "unknown scheduler 'StpLR': did you mean StepLR?"),
    (["train", "--scheduler", "StepLR("], "cannot read the scheduler 'StepLR('"),
    (["train", "--step-per", "batch"], "--step-per must not be 'batch' for a plateau"),
    (["train", "--step-per", "week"], "week"),
    (["train", "--dataset", "mnits"], "mnist"),
    (["train", "--dataset", "mnist", "--data-dir", "/no/such/folder"], "/no/such/folder"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=[" ".join(row[0])[:50] for row in MISTAKES]
)
def test_a_mistake_is_one_clear_line_and_exit_status_2(arguments, message, refuse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_only_functions_are_checked_before_a_run_and_in_pieces():
    check_rates("StepLR(3)", jaxlr.step_lr(0.1, 3), 2**60)
    sizes = []

    def factor(count):
        sizes.append(np.size(count))
        if np.max(count) > 150_000:
            raise ValueError("too late")
        return count * 0.0

    schedule = jaxlr.sequential_lr([jaxlr.step_lr(0.1, 3), jaxlr.lambda_lr(0.1, factor)], [5])
    check_rates("LambdaLR(f)", schedule, 100_000)
    with pytest.raises(RateError, match=r"scheduler 'LambdaLR\(f\)': too late; train fewer --epochs"):
        check_rates("LambdaLR(f)", schedule, 2**60)
    assert max(sizes) <= 2**16


def test_a_model_that_does_not_fit_into_memory_is_one_line(tmp_path, refuse):
    assert "emory" in refuse("train", "--hidden", 2**31 - 1, "--out", tmp_path / "run")


def test_an_existing_out_is_never_overwritten(tmp_path, refuse):
    (tmp_path / "precious").write_text("results")
    for out in (tmp_path, tmp_path / "precious"):
        assert f"{out} exists already and is never overwritten" in refuse("train", "--out", out)
    assert (tmp_path / "precious").read_text() == "results"


@pytest.mark.parametrize("command", ["train", "sweep"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("MultiStepLR([10, 20])", "a path with '[' is not supported"),
        ("back\\slash", "a path with '\\\\' is not supported"),
        ("caf\udce9", "is not text in UTF-8"),
        ("a/" * 2000, "the path of the folder must have at most 3796 bytes"),
        ("gs://bucket/run", "gs:/bucket/run is not a local folder"),
    ],
)
def test_a_folder_that_checkpoints_cannot_have_is_refused(
    name, message, command, tmp_path, refuse, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(command, "--out", name)
    assert "give --out another folder\n" in refuse(command, "--out", name)
    assert list(tmp_path.iterdir()) == []


def test_a_working_directory_that_checkpoints_cannot_have_is_refused(tmp_path, refuse, monkeypatch):
    (tmp_path / "[1]").mkdir()
    monkeypatch.chdir(tmp_path / "[1]")
    assert "a path with '[' is not supported" in refuse("train", "--out", "run")


@pytest.mark.heavy
def test_in_ascii_a_mistake_is_one_line_and_a_scheduler_with_accents_runs(tmp_path):
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    for arguments, line in (
        (["--lr", "x"], "jaxlr: error: --lr must be a number, got 'x' (see"),
        (["--lrr", "3"], "jaxlr: error: Unrecognized options: --lrr, 3 (did you mean --lr?)"),
    ):
        command = [sys.executable, "-m", "jaxlr", "train", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(line)
        assert done.stderr.count("\n") == 1
    scheduler = "StepLR(3)  # $\\foo$ d\u00e9cru\u00eet"
    data = ["--dataset", "mnist", "--data-dir", str(small_mnist(tmp_path / "mnist"))]
    command = [sys.executable, "-m", "jaxlr", "train", *data, "--scheduler", scheduler, "--epochs", "1"]
    done = subprocess.run(
        [*command, "--hidden", "8", "--out", str(tmp_path / "run")],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "run" / "curves.png").exists()


def test_a_run_without_compilation_is_refused(refuse, tmp_path):
    with jax.disable_jit():
        assert "JAX_DISABLE_JIT" in refuse("train", "--epochs", 1, "--out", tmp_path / "run")


@pytest.mark.heavy
def test_a_missing_device_is_one_line(tmp_path):
    command = [sys.executable, "-m", "jaxlr", "train", "--out", str(tmp_path / "run")]
    environment = os.environ | {"JAX_PLATFORMS": "nonesuch"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("jaxlr: error: JAX finds no device: ")
    assert done.stderr.endswith("; correct or unset JAX_PLATFORMS=nonesuch\n")
    assert done.stderr.count("\n") == 1


def test_a_missing_default_device_is_one_line(refuse, tmp_path):
    with jax.default_device("tpu"):
        assert "JAX finds no device: " in refuse("train", "--out", tmp_path / "run")


@pytest.mark.heavy
def test_the_second_of_two_runs_in_one_folder_is_refused(tmp_path):
    data = ["--dataset", "mnist", "--data-dir", small_mnist(tmp_path / "mnist")]
    runs = [start(*data, "--hidden", 8, "--epochs", 1, "--out", tmp_path / "run") for _ in range(2)]
    errors = [run.communicate()[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 2]
    assert "another run is writing to" in "".join(errors)
    assert len(read_metrics(tmp_path / "run")) == 1


def test_a_diverged_run_writes_valid_json(tmp_path):
    config = TrainConfig.from_flags(
        **SHORT, scheduler="StepLR(9)", lr=1e30, epochs=2, out=tmp_path / "run", on_nan="continue"
    )
    rows = train(config)
    assert not np.isfinite(rows[-1]["train_loss"])
    assert read_metrics(tmp_path / "run")[-1]["train_loss"] is None
    assert "NaN" not in (tmp_path / "run" / "metrics.jsonl").read_text()


def test_a_batch_larger_than_the_dataset_is_the_whole_dataset(tmp_path):
    rows = [
        train(TrainConfig.from_flags(**SHORT, epochs=1, batch_size=size, out=tmp_path / str(size)))[0]
        for size in (len(load_dataset("digits").train_labels), 10**9)
    ]
    assert rows[0]["train_loss"] == rows[1]["train_loss"]


def test_python_arguments_may_be_whole_floats_and_paths_as_text(tmp_path):
    untyped: Any = TrainConfig.from_flags
    config = untyped(**SHORT, epochs=2.0, batch_size=1e2, out=str(tmp_path / "run"))
    assert len(train(config)) == 2


def test_with_format_json_the_command_prints_only_the_rows_of_its_metrics(tmp_path, capsys):
    flags = ["--hidden", "8", "--epochs", "2", "--validation-size", "99", "--out", str(tmp_path / "run")]
    main(["train", *flags, "--format", "json"])
    *epochs, test, folder = capsys.readouterr().out.splitlines()
    assert json.loads(folder) == {"out": str(tmp_path / "run")}
    assert epochs == (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(test) == json.loads((tmp_path / "run" / "test.json").read_text())


def test_quiet_prints_no_json(tmp_path, capfd):
    train(TrainConfig.from_flags(hidden=(8,), quiet=True, epochs=1, format="json", out=tmp_path / "run"))
    assert capfd.readouterr() == ("", "")
