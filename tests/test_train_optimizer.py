"""Runs and sweeps with --optimizer: torch's updates, resumed bit for bit, and never another optimizer."""

import functools
import re
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from folders import assert_same_run, small_mnist, train_here
from helpers import DEVICE_RTOL, assert_close
from test_optimizer_text import programs

import jaxlr
from jaxlr.cli import main
from jaxlr.convert.optimizers.signatures import NAMES
from jaxlr.train.config import SweepConfig, TrainConfig
from jaxlr.train.data import load_dataset
from jaxlr.train.data.splits import split_dataset
from jaxlr.train.model import mlp
from jaxlr.train.output.folder import saved_config
from jaxlr.train.output.summary import best_curves, summarize
from jaxlr.train.program import build_run
from jaxlr.train.runs import RunMetrics, hyperparameters_of, start_run, train_run
from jaxlr.train.step import Split
from jaxlr.train.sweeps import sweep


pytestmark = pytest.mark.usefixtures("fast_programs", "undrawn_figures")

ADAMW = "AdamW(lr=3e-3, weight_decay=0.1)"
CORRECTED = "Lion(weight_decay=0.1, corrected_weight_decay=True)"
STEPS = 7  # batches of an epoch


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Any:
    return small_mnist(tmp_path_factory.mktemp("data") / "mnist")


@pytest.fixture
def small(data) -> list[str]:
    return ["--dataset", "mnist", "--data-dir", str(data), "--hidden", "8"]


def program_of(**flags: Any) -> str:
    """Return the program of an update of a run."""
    config = TrainConfig.from_flags(epochs=3, **flags).completed(STEPS)
    return programs(optimizer_of(config))[1]


def optimizer_of(config):
    """Return the optimizer that a run builds."""
    schedule, counts_per_epoch = config.run_schedule(STEPS)
    return config.run_optimizer(schedule, counts_per_epoch, STEPS // counts_per_epoch)


@pytest.mark.parametrize("scheduler", ["StepLR(2)", "OneCycleLR(0.1, 21)", "ReduceLROnPlateau(patience=0)"])
@pytest.mark.parametrize(
    "optimizer", [ADAMW, "SGD(lr=0.1, momentum=0.9, nesterov=True)", "RMSprop(lr=0.01)"]
)
def test_run_has_the_optimizer_of_its_text(optimizer, scheduler):
    steps = 1 if "OneCycle" in scheduler else STEPS
    expected = jaxlr.optimizer_from_string(optimizer, scheduler, steps_per_epoch=steps)
    assert program_of(optimizer=optimizer, scheduler=scheduler) == programs(expected)[1]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Muon"])
def test_every_optimizer_can_train(name):
    assert program_of(optimizer=f"{name}()", scheduler="StepLR(2)")


def test_resumed_run_equals_the_unbroken_run(small, tmp_path, capsys):
    flags = [*small, "--optimizer", ADAMW, "--scheduler", "OneCycleLR(0.01, epochs=4, steps_per_epoch=7)"]
    unbroken = train_here([*flags, "--epochs", "4"], tmp_path / "unbroken")
    out = train_here([*flags, "--epochs", "2"], tmp_path / "resumed")
    saved = saved_config(out, TrainConfig)
    assert saved is not None
    assert (saved.schedule.optimizer, saved.schedule.lr) == (ADAMW, 3e-3)
    main(["train", "--resume", "--out", str(out), "--epochs", "4", "--quiet"])
    assert_same_run(out, unbroken)
    with pytest.raises(SystemExit):
        main(["train", "--resume", "--out", str(out), "--optimizer", "AdamW(lr=3e-3)"])
    assert (
        "--optimizer was 'AdamW(lr=3e-3, weight_decay=0.1)', now 'AdamW(lr=3e-3)'"
        in capsys.readouterr().err
    )


def test_sweep_has_the_numbers_of_train(data, tmp_path):
    shared: Any = {
        "dataset": "mnist", "data_dir": data, "hidden": (8,), "epochs": 3, "quiet": True,
        "optimizer": "Adam(betas=(0.8, 0.99))",
    }  # fmt: skip
    scheduler = "ReduceLROnPlateau(patience=0, threshold=0.5)"
    config = SweepConfig.from_flags(
        **shared, scheduler=(scheduler,), lr=(0.01, 0.003), seeds=1, out=tmp_path / "sweep"
    )
    rows = {row["base_lr"]: row for row in sweep(config)}
    single = TrainConfig.from_flags(**shared, scheduler=scheduler, lr=0.01, out=tmp_path / "run")
    last = jaxlr.train.train(single)[-1]
    assert last["lr"] < 0.01
    assert_close(rows[0.01]["final_valid_loss_mean"], last["valid_loss"], 10 * DEVICE_RTOL)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "Muon"])
def test_run_of_a_sweep_starts_as_train_does(name):
    config = TrainConfig.from_flags(optimizer=f"{name}()", scheduler="StepLR(2)", lr=0.03, hidden=())
    split = Split(jnp.zeros((14, 2, 2), jnp.uint8), jnp.zeros(14, jnp.int32))
    optimizer, hyperparameters = config.schedule.text_optimizer, hyperparameters_of(config, 1)
    state = start_run(jax.random.key(0), hyperparameters, model=mlp([4, 3]), optimizer=optimizer)
    expected = build_run(config, split, num_classes=3).state
    chex.assert_trees_all_close(state.opt_state[0], expected.opt_state, rtol=DEVICE_RTOL)


def test_hyperparameters_cannot_cycle_the_momentum():
    config = TrainConfig.from_flags(optimizer=ADAMW, scheduler="OneCycleLR(0.1, total_steps=21)", epochs=3)
    with pytest.raises(ValueError, match=r"cycles the momentum.*give it cycle_momentum=False"):
        hyperparameters_of(config, STEPS)


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        ({"lr": (0.1, 0.3)}, "StepLR(2), SGD 0.1"),
        ({"lr": (0.1, 0.3), "optimizer": "AdamW()"}, "StepLR(2), AdamW(lr=0.1)"),
    ],
)
def test_figure_of_a_sweep_names_its_optimizer(flags, label):
    config = SweepConfig.from_flags(scheduler=("StepLR(2)",), seeds=1, epochs=1, **flags)
    metrics = RunMetrics(*np.array([[[0.1], [0.3]]] * 4))
    curves = best_curves(config, metrics, summarize(config, metrics))
    assert [(curve.label, curve.lr.tolist()) for curve in curves] == [(label, [[0.1]])]


@pytest.mark.parametrize(
    ("optimizer", "lr", "expected"),
    [(ADAMW, None, 3e-3), ("AdamW()", None, 1e-3), ("AdamW()", 0.2, 0.2), (ADAMW, 3e-3, 3e-3)],
)
def test_rate_of_a_run_is_that_of_the_text_or_of_the_flag(optimizer, lr, expected):
    assert TrainConfig.from_flags(optimizer=optimizer, lr=lr).schedule.lr == expected


def test_rates_of_a_sweep():
    assert SweepConfig.from_flags(optimizer=ADAMW).schedule.rates == (3e-3,)
    assert SweepConfig.from_flags().schedule.rates == (0.03, 0.1, 0.3)
    config = SweepConfig.from_flags(optimizer="AdamW()", lr=(0.1, 0.2))
    assert SweepConfig.from_flags(**config.flags()) == config


@pytest.mark.parametrize(
    ("command", "flags", "message"),
    [
        (
            "train",
            ["--optimizer", ADAMW, "--lr", "0.1"],
            r"--lr must be left out, because --optimizer sets it to 0.003 .* of the run\), got 0.1",
        ),
        (
            "train",
            ["--optimizer", "AdamW()", "--momentum", "0.9"],
            "--momentum must be left out with --optimizer: write it there",
        ),
        ("train", ["--optimizer", "AdamWW()"], "--optimizer: cannot convert .* did you mean AdamW"),
        ("train", ["--optimizer", "AdamW(lr=x)"], "--optimizer: .* give --names x=..."),
        ("train", ["--optimizer", "Muon()"], "--optimizer: Muon is for matrices only"),
        ("train", ["--optimizer", "SGD(); StepLR(3)"], "--optimizer: it has a scheduler, too"),
        (
            "train",
            ["--optimizer", "SGD([{'params': a}, {'params': b}])"],
            "--optimizer: it has several parameter",
        ),
        (
            "train",
            ["--optimizer", CORRECTED, "--recipe", '{"sched": "cosine", "lr": 0.1, "epochs": 3}'],
            "--optimizer must not have corrected_weight_decay with --recipe",
        ),
        (
            "sweep",
            ["--optimizer", CORRECTED, "--lr", "0.1", "0.2"],
            "--lr must be one rate with corrected_weight_decay",
        ),
        ("train", ["--optimizer", "SGD(lr=0)"], "--optimizer: lr must be a finite number above 0"),
        (
            "train",
            ["--optimizer", "Adafactor()", "--scheduler", "ReduceLROnPlateau()"],
            "cannot have a plateau. Give another scheduler",
        ),
        (
            "train",
            ["--optimizer", "Adagrad()", "--scheduler", "OneCycleLR(1, 9)"],
            "Adagrad has no momentum",
        ),
        (
            "train",
            ["--optimizer", ADAMW, "--scheduler", "SGD(lr=0.003); StepLR(3)"],
            "both state an optimizer",
        ),
        (
            "sweep",
            ["--optimizer", "AdamW()"],
            "--lr must be given with this optimizer: the rates to try, such as",
        ),
        (
            "sweep",
            ["--optimizer", ADAMW, "--lr", "0.1", "0.2"],
            "--lr must be left out, because --optimizer sets it to 0.003",
        ),
        (
            "sweep",
            ["--optimizer", ADAMW, "--scheduler", "OneCycleLR(1, 9)"],
            "cycles the momentum, which a sweep",
        ),
        (
            "sweep",
            ["--scheduler", "StepLR(3)", "GreedyLR()"],
            "--scheduler must not name GreedyLR beside other classes",
        ),
        (
            "sweep",
            ["--scheduler", "GreedyLR(smooth=True)", "GreedyLR(smooth=True, window_size=9)"],
            "nor with different windows",
        ),
        (
            "sweep",
            ["--scheduler", "SGD(lr=0.1); StepLR(3)", "--lr", "0.1"],
            "give that as --optimizer, for all",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_refused(refuse, command, flags, message):
    assert re.search(message, refuse(command, *flags))


def test_optimizer_in_the_text_of_a_scheduler_is_used():
    text = "o = SGD(p, lr=0.1, momentum=0.9)\ns = StepLR(o, 2)"
    config = TrainConfig.from_flags(scheduler=text)
    assert (config.schedule.optimizer, config.schedule.lr) == ("SGD(lr=0.1, momentum=0.9)", 0.1)
    assert TrainConfig.from_flags(**config.flags()) == config
    assert program_of(scheduler=text) == program_of(
        scheduler="StepLR(2)", optimizer="SGD(lr=0.1, momentum=0.9)"
    )


def test_optimizer_that_is_not_used_is_said():
    config = TrainConfig.from_flags(
        scheduler="o = SGD([{'params': a}, {'params': b}], lr=0.1)\ns = StepLR(o, 2)"
    )
    (sentence,) = config.schedule.assumptions
    assert sentence.startswith(
        "The optimizer is SGD, with --momentum: that of --scheduler is not used, because"
    )


MMENGINE = {
    "optim_wrapper": {
        "optimizer": {"type": "AdamW", "lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.05}
    },
    "param_scheduler": [{"type": "MultiStepLR", "milestones": [2], "by_epoch": True, "gamma": 0.1}],
    "train_cfg": {"by_epoch": True, "max_epochs": 3},
}


def completed(recipe: Any, **flags: Any) -> TrainConfig:
    return TrainConfig.from_flags(recipe=recipe, **flags).completed(STEPS)


def test_optimizer_of_a_recipe_with_torchs_options_is_used():
    config = completed(MMENGINE)
    assert config.schedule.optimizer == "AdamW(betas=(0.9, 0.95), weight_decay=0.05)"
    assert f"The optimizer is {config.schedule.optimizer}, as the config." in config.schedule.assumptions
    schedule, counts_per_epoch = config.run_schedule(STEPS)
    steps = STEPS // counts_per_epoch
    expected = jaxlr.optimizer_from_string(config.schedule.optimizer, schedule, steps_per_epoch=steps)
    assert programs(optimizer_of(config))[1] == programs(expected)[1]
    assert completed(MMENGINE, optimizer="SGD()").schedule.optimizer == "SGD()"
    assert TrainConfig.from_flags(**config.flags()) == config
    assert not config.changes_to(TrainConfig.from_flags(recipe=MMENGINE))


@pytest.mark.parametrize(
    ("wrapper", "reason"),
    [
        ({**MMENGINE["optim_wrapper"], "paramwise_cfg": {"bias_lr_mult": 2.0}}, "bias_lr_mult=2.0 of"),
        ({"optimizer": {"type": "AdamW", "lr": 0.01, "own": 3}}, "the optimizer AdamW has no option 'own'"),
        (
            {"optimizer": {"type": "LBFGS", "lr": 0.01}},
            "the optimizer 'LBFGS' of mmengine is not supported",
        ),
        ({"optimizer": {"type": "Muon", "lr": 0.01}}, "Muon is for matrices only"),
    ],
)
def test_optimizer_of_a_recipe_that_cannot_be_had_is_said(wrapper, reason):
    config = completed({**MMENGINE, "optim_wrapper": wrapper})
    assert config.schedule.optimizer is None
    sentence = f"The optimizer is SGD, with --momentum, and not that of the config: {reason}"
    assert any(each.startswith(sentence) for each in config.schedule.assumptions)


def kernels(params: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def groups_of_yolo(params: Any) -> Any:
    return jax.tree.map(lambda is_kernel: 0 if is_kernel else 2, kernels(params))


TRAINER = {"learning_rate": 0.1, "lr_scheduler_type": "linear", "max_steps": 21, "weight_decay": 0.1}
YOLO = {
    **{"lr0": 0.01, "lrf": 0.01, "epochs": 3, "warmup_epochs": 1, "batch": 64, "optimizer": "SGD"},
    **{"momentum": 0.937, "warmup_momentum": 0.8, "weight_decay": 0.0005},
}
MOMENTUM = {"type": "LinearMomentum", "start_factor": 0.5, "by_epoch": True, "end": 2}


@pytest.mark.parametrize(
    ("recipe", "arguments", "sentences"),
    [
        (
            TRAINER,
            {"decay_mask": kernels},
            (
                "The optimizer is AdamW(weight_decay=0.1), as the config.",
                "The gradients are clipped to a norm of 1.",
                "The biases have no weight decay, as in huggingface.",
            ),
        ),
        (
            {**TRAINER, "lr_scheduler_type": "reduce_lr_on_plateau", "optim": "sgd"},
            {"decay_mask": kernels},
            ("The biases have no weight decay, as in huggingface.",),
        ),
        (
            YOLO,
            {"labels": groups_of_yolo},
            (
                "The biases are in a group of their own, as in ultralytics.",
                "The momentum follows the schedule of the config.",
            ),
        ),
        (
            "--sched cosine --lr 0.1 --epochs 3 --clip-grad 0.5 --clip-mode value --grad-accum-steps 4",
            {"decay_mask": kernels},
            ("Each gradient is clipped to a size of 0.5.", "An update is one batch of this run."),
        ),
        (
            {**MMENGINE, "param_scheduler": [*MMENGINE["param_scheduler"], MOMENTUM]},
            {},
            ("The momentum follows the schedule of the config.",),
        ),
    ],
)
def test_run_has_the_whole_optimizer_of_its_recipe(recipe, arguments, sentences):
    config = completed(recipe)
    for sentence in sentences:
        assert any(each.startswith(sentence) for each in config.schedule.assumptions)
    steps = 4 * STEPS if "grad-accum" in str(recipe) else STEPS
    expected = jaxlr.optimizer_from_config(recipe, steps_per_epoch=steps, **arguments)
    assert programs(optimizer_of(config))[1] == programs(expected)[1]
    assert TrainConfig.from_flags(**config.flags()) == config
    with pytest.raises(ValueError, match="which hyperparameters do not: give optimizer"):
        hyperparameters_of(config, STEPS)


def test_resumed_run_keeps_the_optimizer_of_its_config(small, tmp_path):
    flags = [*small, "--recipe", "--learning_rate 0.01 --lr_scheduler_type linear --max_steps 28"]
    unbroken = train_here([*flags, "--epochs", "3"], tmp_path / "unbroken")
    out = train_here([*flags, "--epochs", "2"], tmp_path / "resumed")
    main(["train", "--resume", "--out", str(out), "--epochs", "3", "--quiet"])
    assert_same_run(out, unbroken)


WARMED = {
    **{"sched": "plateau", "lr": 0.1, "epochs": 8, "patience_epochs": 0, "decay_rate": 0.5, "opt": "sgd"},
    **{"eval_metric": "loss", "warmup_epochs": 2, "warmup_lr": 0.01},
}
GREEDY = {
    **{"learning_rate": 0.05, "lr_scheduler_type": "greedy", "optim": "sgd"},
    "lr_scheduler_kwargs": {"patience": 0, "factor": 0.5},
}


@pytest.mark.parametrize("recipe", [WARMED, GREEDY])
def test_plateau_with_a_warmup_and_one_that_rises_get_the_validation_loss(recipe, data, tmp_path):
    shared: Any = {"dataset": "mnist", "data_dir": data, "hidden": (8,), "epochs": 8, "quiet": True}
    config = TrainConfig.from_flags(**shared, recipe=recipe, optimizer="SGD()", out=tmp_path / "run")
    rows = jaxlr.train.train(config)
    state: Any = jaxlr.from_config(recipe).schedule.init({})
    rates = []
    for row in rows:
        rates.append(jaxlr.plateau_lr(state))
        state = jaxlr.plateau_step(state, row["valid_loss"])
    assert len({float(rate) for rate in rates}) > 3
    assert_close([row["lr"] for row in rows], rates, DEVICE_RTOL)

    hyperparameters, digits = hyperparameters_of(config, STEPS), load_dataset("mnist", data)
    run = functools.partial(train_run, model=mlp([36, 8, 10]), optimizer=config.schedule.text_optimizer)
    metrics = jax.jit(run)(jax.random.key(0), hyperparameters, split_dataset(digits))
    for name in ("train_loss", "lr"):
        assert_close(getattr(metrics, name), [row[name] for row in rows], 10 * DEVICE_RTOL)


def test_plateau_of_a_recipe_that_waits_for_a_metric_to_rise_is_refused():
    with pytest.raises(ValueError, match=r"waits for a metric to rise.*: change its mode, or its"):
        TrainConfig.from_flags(recipe={**WARMED, "eval_metric": "top1"})


def test_rate_beside_the_optimizer_auto_is_refused():
    with pytest.raises(ValueError, match="'auto' of the recipe chooses the learning rate, and ignores lr0"):
        completed({**YOLO, "optimizer": "auto"}, lr=0.1, names=("nc=80",))


def test_recipe_gives_the_rates_of_the_optimizer(refuse):
    with pytest.raises(ValueError, match="optimizer must not set lr, because --recipe does"):
        TrainConfig.from_flags(recipe=MMENGINE, optimizer=ADAMW)
    assert completed(MMENGINE, momentum=0.9).schedule.optimizer is None
