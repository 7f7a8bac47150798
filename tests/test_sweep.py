"""The sweep: the numbers of `jaxlr train`, one program for all runs, and the files that it writes."""

import csv
import functools
import json
import re
import sys
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DEVICE_RTOL, assert_close, fast_jit, torch_plateau_curve
from processes import flags

import jaxlr
from jaxlr.cli import main
from jaxlr.train import chunks as chunking
from jaxlr.train.chunks import build_chunks
from jaxlr.train.config import RunConfig, SweepConfig, TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.data.splits import Data, split_dataset
from jaxlr.train.loop import train
from jaxlr.train.model import mlp
from jaxlr.train.output.summary import as_text, summarize
from jaxlr.train.runs import RunMetrics, hyperparameters_of, train_run
from jaxlr.train.sweeps import sweep


pytestmark = pytest.mark.usefixtures("fast_programs", "undrawn_figures")

SHORT: Any = {"hidden": (32,), "quiet": True}
METRICS = ("train_loss", "valid_loss", "valid_accuracy", "lr")
PLATEAUS = {
    "ReduceLROnPlateau(factor=0.5, patience=0, threshold=0.2)": {
        "factor": 0.5,
        "patience": 0,
        "threshold": 0.2,
    },
    "ReduceLROnPlateau('max', factor=0.3, patience=1, cooldown=1)": {
        "mode": "max",
        "factor": 0.3,
        "patience": 1,
        "cooldown": 1,
    },
}
SCHEDULERS = ("StepLR(2)", "MultiplicativeLR(lambda epoch: 0.9)", *PLATEAUS)
MIXED = SweepConfig.from_flags(**SHORT, scheduler=SCHEDULERS, lr=(0.1, 0.3), seeds=2, seed=3, epochs=8)


def data_of(config: RunConfig) -> Data:
    return split_dataset(load_dataset("digits"), config.data.validation_size)._replace(test=None)


def read_csv(path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def columns(rows: Any, **about: Any) -> dict[str, np.ndarray]:
    """Return the metrics of one run by epoch. The run is the one whose columns are `about`."""
    own = [row for row in rows if all(row[name] == str(value) for name, value in about.items())]
    return {name: np.array([float(row[name]) for row in own]) for name in METRICS}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Run a sweep over schedules and plateaus, with its figure. Return the rows of its sweep.csv."""
    out = tmp_path_factory.mktemp("sweeps") / "mixed"
    rows = sweep(SweepConfig.from_flags(**{**MIXED.flags(), "out": out}))
    assert len(rows) == len(SCHEDULERS) * 2
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG\r\n")
    return read_csv(out / "sweep.csv")


@pytest.mark.parametrize("scheduler", ["StepLR(2)", list(PLATEAUS)[1]])
def test_a_run_of_a_sweep_has_the_numbers_of_train(mixed, tmp_path, scheduler):
    config = TrainConfig.from_flags(
        **SHORT, scheduler=scheduler, lr=0.1, seed=4, epochs=2, out=tmp_path / "run"
    )
    rows = train(config)
    swept = columns(mixed, scheduler=scheduler, base_lr=0.1, seed=4)
    for name in METRICS:
        assert_close(swept[name][:2], [row[name] for row in rows], 1e-5)


def test_a_run_of_a_sweep_has_the_numbers_of_train_with_momentum_and_step_per_batch(tmp_path):
    shared: Any = {**SHORT, "momentum": 0.9, "step_per": "batch", "batch_size": 100, "epochs": 2}
    scheduler = "MultiplicativeLR(lambda step: 0.95)"
    rows = train(
        TrainConfig.from_flags(**shared, scheduler=scheduler, lr=0.02, seed=1, out=tmp_path / "run")
    )
    config = SweepConfig.from_flags(
        **shared, scheduler=(scheduler, "StepLR(7)"), lr=(0.02,), seeds=2, out=tmp_path / "sweep"
    )
    sweep(config)
    swept = columns(read_csv(tmp_path / "sweep" / "sweep.csv"), scheduler=scheduler, seed=1)
    for name in METRICS:
        assert_close(swept[name], [row[name] for row in rows], 1e-5)
    assert_close(swept["lr"], [0.02 * 0.95**14, 0.02 * 0.95**29], DEVICE_RTOL)


def test_a_sweep_may_mix_schedulers_that_step_per_batch_and_per_epoch(tmp_path):
    shared: Any = {**SHORT, "batch_size": 100, "epochs": 3}
    schedulers = ("CyclicLR(0.01, 0.1, 7)", "StepLR(1)", "ReduceLROnPlateau(mode='max', patience=0)")
    sweep(
        SweepConfig.from_flags(**shared, scheduler=schedulers, lr=(0.1,), seeds=1, out=tmp_path / "sweep")
    )
    table = read_csv(tmp_path / "sweep" / "sweep.csv")
    last_rates = []
    for number, scheduler in enumerate(schedulers):
        rows = train(
            TrainConfig.from_flags(**shared, scheduler=scheduler, lr=0.1, out=tmp_path / f"run {number}")
        )
        for name in METRICS:
            assert_close(columns(table, scheduler=scheduler)[name], [row[name] for row in rows], 1e-5)
        last_rates.append(rows[-1]["lr"])
    last_of_cycle: Any = jaxlr.cyclic_lr(0.01, 0.1, 7)(3 * 15 - 1)
    assert_close(last_rates, [last_of_cycle, 1e-3, 1e-2], DEVICE_RTOL)  # cut after the second epoch


@pytest.mark.parametrize("scheduler", PLATEAUS)
@pytest.mark.parametrize("lr", [0.1, 0.3])
def test_different_plateaus_in_one_sweep_match_torch(torch, mixed, scheduler, lr):
    for seed in (3, 4):
        run = columns(mixed, scheduler=scheduler, base_lr=lr, seed=seed)
        after = torch_plateau_curve(torch, run["valid_loss"], lr, **PLATEAUS[scheduler])
        assert after[-1] < lr  # the plateau did cut the rate
        assert_close(run["lr"], [lr, *after[:-1]], DEVICE_RTOL)


def test_a_schedule_beside_plateaus_keeps_its_rates(mixed):
    for lr in (0.1, 0.3):
        run = columns(mixed, scheduler="StepLR(2)", base_lr=lr, seed=3)
        assert_close(run["lr"], jaxlr.step_lr(lr, 2)(np.arange(8)), DEVICE_RTOL)


def test_the_seeds_of_a_scheduler_differ_in_their_losses_and_share_their_rates(mixed):
    first, second = (columns(mixed, scheduler="StepLR(2)", base_lr=0.1, seed=seed) for seed in (3, 4))
    assert (first["train_loss"] != second["train_loss"]).all()
    assert (first["lr"] == second["lr"]).all()


def test_a_sweep_of_many_schedulers_compiles_its_epoch_once(tmp_path, caplog):
    shape: Any = {"lr": (0.1,), "seeds": 1, "chunk": 2, "epochs": 2, "out": tmp_path / "sweep"}
    config = SweepConfig.from_flags(**SHORT, scheduler=("ExponentialLR(0.5)", *SCHEDULERS), **shape)
    with jax.log_compiles():
        sweep(config)
    compiled = [record.getMessage() for record in caplog.records if "XLA compilation" in record.msg]
    assert sum("continue_run" in message for message in compiled) == 1
    assert sum("start_run" in message for message in compiled) == 1


def test_a_run_can_be_vmapped_over_seeds_and_rates_with_one_program_for_all_schedulers():
    config = TrainConfig.from_flags(**SHORT, epochs=2, validation_size=1000)
    data = data_of(config)
    steps_per_epoch = -(-len(data.train.labels) // 32)
    run = functools.partial(train_run, model=mlp([64, 32, 10]))
    program: Any = fast_jit(jax.vmap(run, in_axes=(0, None, None)))
    keys = jax.vmap(jax.random.key)(jnp.arange(3))
    losses = []
    for text in ("StepLR(1)", "CosineAnnealingLR(2)", "ReduceLROnPlateau()", "ReduceLROnPlateau('max')"):
        recipe = TrainConfig.from_flags(**SHORT, epochs=2, scheduler=text)
        metrics = program(keys, hyperparameters_of(recipe, steps_per_epoch), data)
        assert metrics.valid_loss.shape == (3, 2)
        losses.append(np.asarray(metrics.valid_loss[:, 1]))
    assert program._cache_size() == 1
    assert len({loss[0] for loss in losses}) == 3  # the two plateaus have not cut yet, so they agree

    recipe = hyperparameters_of(TrainConfig.from_flags(**SHORT, epochs=2, scheduler="StepLR(1)", lr=1.0), 1)

    def with_rate(lr):
        return run(keys[0], recipe._replace(rates=lr * jnp.asarray(recipe.rates)), data).valid_loss

    assert_close(fast_jit(jax.vmap(with_rate))(jnp.array([0.1, 0.2]))[0, 1], losses[0][0], 1e-5)


def test_hyperparameters_for_another_number_of_steps_are_refused():
    config = TrainConfig.from_flags(**SHORT, epochs=2, scheduler="StepLR(1)", step_per="batch")
    data = data_of(config)
    with pytest.raises(ValueError, match=r"shape \(epochs, 1\) or \(epochs, 45\).*got \(2, 7\)"):
        train_run(jax.random.key(0), hyperparameters_of(config, 7), data, model=mlp([64, 10]))


@pytest.mark.parametrize("chunk", [1, 5])
def test_the_numbers_do_not_depend_on_the_chunk_size(mixed, tmp_path, chunk):
    out = tmp_path / "sweep"
    kept = {"scheduler": SCHEDULERS[1:], "lr": (0.3,), "epochs": 2}  # 6 runs: 2 chunks of 5 are 3 and 3
    sweep(SweepConfig.from_flags(**{**MIXED.flags(), **kept, "chunk": chunk, "out": out}))
    rows = read_csv(out / "sweep.csv")
    assert len(rows) == 6 * 2
    for scheduler in SCHEDULERS[1:]:
        for seed in (3, 4):
            about = {"scheduler": scheduler, "base_lr": 0.3, "seed": seed}
            together, apart = columns(mixed, **about), columns(rows, **about)
            for name in METRICS:
                assert_close(apart[name], together[name][:2], 1e-5)


def test_the_default_chunk_fits_into_the_memory_of_the_device(monkeypatch):
    config = SweepConfig.from_flags(**SHORT, scheduler=SCHEDULERS, lr=(0.1,), seeds=5, epochs=1)
    data = data_of(config)
    everything = build_chunks(config, data, 10)
    assert everything.size == 20
    assert everything.num_chunks == 1
    data_bytes = sum(array.nbytes for array in jax.tree.leaves(data))
    free_bytes = (chunking.program_bytes(everything.epoch) - data_bytes) // 2
    monkeypatch.setattr(chunking, "free_bytes", lambda: free_bytes)
    parts = build_chunks(config, data, 10)
    assert chunking.program_bytes(parts.epoch) - data_bytes <= free_bytes
    assert 5 <= parts.size <= 10


def test_chunk_sizes_depend_on_the_free_memory_and_are_at_least_one_run(monkeypatch):
    monkeypatch.setattr(chunking, "program_bytes", lambda size: 10 + 100 * size)
    as_size = int  # the "program" of a chunk is its size
    assert chunking.fit(as_size, 96, None, 1) == (1, 1)
    assert chunking.fit(as_size, 96, None, 10 + 96 * 100) == (96, 96)
    assert chunking.fit(as_size, 96, None, 10 + 40 * 100) == (32, 32)
    assert chunking.fit(as_size, 96, 40, 1) == (32, 32)


@pytest.mark.parametrize(("most", "size"), [(96, 96), (1000, 96), (95, 48), (40, 32), (7, 7), (1, 1)])
def test_chunks_are_of_similar_size(most, size):
    assert chunking.balanced(96, most) == size


def test_the_table_has_means_and_spreads_over_seeds_with_the_best_first():
    config = SweepConfig.from_flags(
        scheduler=("StepLR(1)", "StepLR(2)"), lr=(0.1, 0.2), seeds=3, epochs=5, target_accuracy=0.5
    )
    rng = np.random.default_rng(0)
    losses, accuracies = rng.uniform(size=(2, 12, 5)).astype(np.float32)
    accuracies[3:6] = [[0.1, 0.5, 0.9, 0.2, 0.6], [0, 0, 0, 0, 0.7], [0, 0, 0, 0, 0]]
    losses[:3, -1] = 5
    losses[6:9, -1] = np.nan
    rows = summarize(config, RunMetrics(losses, losses, accuracies, losses))
    found = {(row["scheduler"], row["base_lr"]): row for row in rows}

    assert list(found)[2:] == [("StepLR(1)", 0.1), ("StepLR(2)", 0.1)]  # the worst, and the diverged
    row = found["StepLR(1)", 0.2]
    own = slice(3, 6)
    for name, values in (
        ("final_valid_loss", losses[own, 4]),
        ("best_valid_loss", losses[own].min(axis=1)),
        ("final_valid_accuracy", accuracies[own, 4]),
        ("best_valid_accuracy", np.array([0.9, 0.7, 0])),
        ("epochs_to_target", np.array([2, 5])),
    ):
        assert_close(row[f"{name}_mean"], values.mean(dtype=float), 1e-6)
        assert_close(row[f"{name}_std"], np.std(values, ddof=1, dtype=float), 1e-6)
    assert (row["seeds"], row["reached_target"]) == (3, 2)
    diverged = found["StepLR(2)", 0.1]
    assert np.isnan(diverged["final_valid_loss_mean"])
    assert_close(diverged["best_valid_loss_mean"], losses[6:9, :4].min(axis=1).mean(dtype=float), 1e-6)
    text = "\n".join(as_text(rows, 0.5))
    assert re.search(r"StepLR\(1\) +0\.2 .* 3\.5 ± 2\.1 \(2/3\)", text)


def test_one_seed_has_no_spread_and_a_missed_target_is_shown_as_never():
    config = SweepConfig.from_flags(scheduler=("StepLR(1)",), lr=(0.1,), seeds=1, epochs=2)
    losses = np.array([[2.0, 1.0]])
    (row,) = summarize(config, RunMetrics(losses, losses, losses / 10, losses))
    assert np.isnan(row["final_valid_loss_std"])
    assert (row["final_valid_loss_mean"], row["reached_target"]) == (1.0, 0)
    lines = list(as_text([row], 0.95))
    assert lines[2].split() == ["StepLR(1)", "0.1", "1.000", "1.000", "10.0", "20.0", "never"]


def test_the_command_prints_its_table_and_writes_its_folder(tmp_path, capsys):
    out = tmp_path / "sweep"
    arguments = ["--scheduler", "StepLR(10)", "ReduceLROnPlateau(patience=5)", "--lr", "0.1", "1e20"]
    main(["sweep", *arguments, "--seeds", "2", "--epochs", "2", "--hidden", "8", "--out", str(out)])
    output = capsys.readouterr()
    assert output.err == ""
    assert "2 schedulers x 2 rates x 2 seeds = 4" not in output.out
    assert "2 schedulers x 2 rates x 2 seeds = 8 runs of 2 epochs, 8 at once" in output.out
    written = {path.name for path in out.iterdir() if path.name != ".lock"}
    tables = {"sweep.csv", "summary.csv", "sweep.png"}
    assert written == {"checkpoints", "config.json", "data.json", "programs.zip", *tables}
    config = json.loads((out / "config.json").read_text())
    assert config["scheduler"] == ["StepLR(10)", "ReduceLROnPlateau(patience=5)"]
    runs, summary = read_csv(out / "sweep.csv"), read_csv(out / "summary.csv")
    assert list(runs[0]) == ["scheduler", "base_lr", "seed", "epoch", *METRICS]
    assert len(runs) == 8 * 2
    assert [row["base_lr"] for row in summary] == ["0.1", "0.1", "1e+20", "1e+20"]
    own = [row for row in runs if row["scheduler"] == "StepLR(10)" and row["base_lr"] == "0.1"]
    finals = [float(row["valid_loss"]) for row in own if row["epoch"] == "1"]
    (row,) = (row for row in summary if row["scheduler"] == "StepLR(10)" and row["base_lr"] == "0.1")
    assert_close(float(row["final_valid_loss_mean"]), np.mean(finals), 1e-6)


def test_a_sweep_in_a_terminal_shows_a_progress_bar(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shape = ["--scheduler", "StepLR(1)", "--lr", "0.1", "--seeds", "2", "--chunk", "1", "--epochs", "2"]
    main(["sweep", *shape, "--hidden", "16", "--out", str(tmp_path / "sweep")])
    assert "4/4" in capsys.readouterr().err


MISTAKES = [
    (["--scheduler", "StepLR(3)", "StpLR(3)"], "scheduler 'StpLR(3)': unknown scheduler 'StpLR': did you"),
    (["--scheduler", "StepLR(3)", "StepLR(0)"], "scheduler 'StepLR(0)': step_size must be"),
    (["--scheduler", "LambdaLR(lambda e: 1 / (e - 2))"], "scheduler 'LambdaLR(lambda e: 1 / (e - 2))': "),
    (["--scheduler"], "error: --scheduler must hold at least one, got none"),
    (["--scheduler", "StepLR(3)", " StepLR(3)"], "error: --scheduler holds 'StepLR(3)' twice"),
    (["--lr"], "error: --lr must hold at least one, got none"),
    (["--lr", "0.1", "1e-1"], "error: --lr holds 0.1 twice"),
    (["--lr", "0.1", "-1"], "error: each of --lr must be a finite number above 0, got -1.0"),
    (["--lr", "0.1", "fast"], "--lr cannot be read, got '0.1', 'fast': give its values with spaces"),
    (["--lr", "1e-300"], "--lr must be from 1e-30 to 1e+30"),
    (["--seeds", "0"], "error: --seeds must be from 1 to 2**31 - 1, got 0"),
    (["--seed", "-1"], "error: --seed must be from 0 to 2**31 - 1, got -1"),
    (["--seed", str(2**31 - 1)], "the last seed (seed + seeds - 1) must be from 0 to 2**31 - 1"),
    (["--chunk", "0"], "error: --chunk must be from 1 to 2**31 - 1, got 0"),
    (["--target-accuracy", "95"], "error: --target-accuracy must be above 0 and at most 1, got 95.0"),
    (["--step-per", "batch"], "'ReduceLROnPlateau(patience=5)': --step-per must not be 'batch' for"),
    (["--momentum", "1"], "error: --momentum must be below 1, got 1.0"),
    (["--epochs", "0"], "error: --epochs must be from 1 to 2**31 - 1, got 0"),
    (["--tensorboard"], "--tensorboard"),
    (["--dataset", "mnits"], "mnist"),
    (["--validation-size", "99999"], "--validation-size 99999 leaves nothing to train on"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=[" ".join(row[0])[:50] for row in MISTAKES]
)
def test_a_mistake_is_one_clear_line_and_exit_status_2(arguments, message, refuse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refuse("sweep", *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_out_is_never_overwritten(tmp_path, refuse):
    (tmp_path / "precious").write_text("results")
    assert f"{tmp_path} exists already and is never overwritten" in refuse("sweep", "--out", tmp_path)


def test_a_single_value_for_a_list_is_refused():
    untyped: Any = SweepConfig.from_flags
    with pytest.raises(TypeError, match=r"scheduler must be a list.*got 'StepLR"):
        untyped(scheduler="StepLR(3)")
    with pytest.raises(TypeError, match=r"lr must be a list.*got 0\.1"):
        untyped(lr=0.1)


@pytest.mark.heavy
def test_the_default_sweep_learns_the_digits_with_every_scheduler(tmp_path):
    rows = sweep(SweepConfig.from_flags(seeds=1, lr=(0.1, 0.3), quiet=True, out=tmp_path / "sweep"))
    assert len(rows) == 4 * 2
    assert rows[0]["final_valid_accuracy_mean"] > 0.95
    assert all(row["final_valid_accuracy_mean"] > 0.85 for row in rows)


def test_with_format_json_the_command_prints_only_the_rows_of_its_table(tmp_path, capsys):
    shape = flags(hidden=8, epochs=2, lr=0.1, seeds=2, format="json", out=tmp_path / "sweep")
    main(["sweep", "--scheduler", "StepLR(1)", "StepLR(2)", *shape])
    *rows, folder = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert folder == {"out": str(tmp_path / "sweep")}
    with (tmp_path / "sweep" / "summary.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [list(row) for row in table]
    assert [row["final_valid_loss_mean"] for row in rows] == [
        float(row["final_valid_loss_mean"]) for row in table
    ]
    main(["sweep", "--resume", "--out", str(tmp_path / "sweep"), "--format", "json"])
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [*rows, folder]


def test_a_target_accuracy_of_1_is_accepted():
    assert SweepConfig.from_flags(target_accuracy=1.0).training.target_accuracy == 1


def test_the_last_seed_may_be_the_largest_int32():
    assert SweepConfig.from_flags(seed=2**31 - 3, seeds=3).num_runs == 4 * 3 * 3


def test_the_plateau_of_a_run_under_a_schedule_never_cuts():
    recipe = hyperparameters_of(TrainConfig.from_flags(**SHORT, scheduler="StepLR(99)"), steps_per_epoch=1)
    state: Any = jax.tree.map(jnp.asarray, recipe.plateau)
    for _ in range(30):
        state = jaxlr.plateau_step(state, 1.0)
    assert jaxlr.plateau_lr(state) == 1


def test_memory_that_a_program_reuses_counts_once():
    sizes = {"argument": 100, "output": 60, "temp": 7, "alias": 50}
    memory = SimpleNamespace(**{f"{name}_size_in_bytes": size for name, size in sizes.items()})
    program = SimpleNamespace(memory_analysis=lambda: memory)
    assert chunking.program_bytes(program) == 117


def test_data_on_the_device_do_not_count_against_the_free_memory(monkeypatch):
    config = SweepConfig.from_flags(**SHORT, scheduler=SCHEDULERS, lr=(0.1,), seeds=5, epochs=1)
    data = data_of(config)
    needed = chunking.program_bytes(build_chunks(config, data, 10).epoch)
    data_bytes = sum(array.nbytes for array in jax.tree.leaves(data))
    for free_bytes, fits in ((needed - data_bytes, True), (needed - data_bytes - 1, False)):
        monkeypatch.setattr(chunking, "free_bytes", lambda free_bytes=free_bytes: free_bytes)
        assert (build_chunks(config, data, 10).size == 20) is fits


def test_the_table_shows_how_many_seeds_reached_the_target_if_not_all_did():
    config = SweepConfig.from_flags(
        scheduler=("StepLR(1)",), lr=(0.1,), seeds=2, epochs=1, target_accuracy=0.5
    )
    losses = np.array([[1.0], [3.0]])
    for accuracies, shown in (([[0.9], [0.9]], "1.0 ± 0.0"), ([[0.9], [0.1]], "1.0 (1/2)")):
        rows = summarize(config, RunMetrics(losses, losses, np.array(accuracies), losses))
        _, _, line, note = as_text(rows, 0.5)
        assert line.endswith(f"  {shown}")
        assert ("(k/n)" in note) is ("/" in shown)
