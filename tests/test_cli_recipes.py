"""Config files in the place of torch's text: port, table, plot and train --recipe."""

import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import HOST_RTOL, assert_close

import jaxlr
from jaxlr.cli import main
from jaxlr.flags.errors import in_flags, with_flags
from jaxlr.flags.recipe import read_recipe
from jaxlr.train.config import TrainConfig
from jaxlr.train.loop import train
from jaxlr.train.runs import hyperparameters_of


TRAINER = """\
learning_rate: 1.0e-2
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_steps: 20
gradient_accumulation_steps: 4
"""
TIMM = "--sched cosine --lr 0.1 --epochs 30 --warmup-epochs 3 --min-lr 1e-4"
YOLO = "lr0: 0.01\nlrf: 0.01\nepochs: 4\nwarmup_epochs: 1.0\nmomentum: 0.937\n"
DEEPSPEED = json.dumps(
    {
        "train_batch_size": 32,
        "optimizer": {"type": "Adam", "params": {"lr": 0.02}},
        "scheduler": {"type": "WarmupLR", "params": {"warmup_num_steps": 30, "warmup_type": "linear"}},
    }
)
SCRIPT = "optimizer = SGD(model.parameters(), lr=0.2)\nscheduler = StepLR(optimizer, step_size=10)\n"

# The name of a file, its text, the numbers that it lacks, and its unit.
FILES: list[tuple[str, str, dict[str, Any], str]] = [
    ("args.yaml", TRAINER, {"steps_per_epoch": 80}, "update"),
    ("train.sh", f"torchrun train.py {TIMM}", {}, "epoch"),
    ("args.yaml", YOLO, {"steps_per_epoch": 50}, "iteration"),
    ("ds_config.json", DEEPSPEED, {"steps_per_epoch": 25, "epochs": 2}, "update"),
    (
        "config.py",
        "training_args = TrainingArguments(learning_rate=2e-5, max_steps=9, warmup_ratio=0.1)",
        {},
        "update",
    ),
]
FILE_IDS = ["transformers", "timm", "ultralytics", "deepspeed", "python"]


def flags_of(numbers):
    return [word for name, value in numbers.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def rates_of(recipe: Any, num_counts: int | None = None) -> np.ndarray:
    return np.asarray(recipe.schedule(np.arange(num_counts or recipe.num_counts)))


@pytest.fixture
def run(capsys, undrawn_figures):
    """Return a function that runs a command in this process and returns what it prints."""

    def run(*arguments):
        main([*map(str, arguments)])
        output = capsys.readouterr()
        assert output.err == ""
        return output.out

    return run


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Return a function that writes a file into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).write_text(text)
        return name

    return write


@pytest.mark.parametrize(("name", "text", "numbers", "unit"), FILES, ids=FILE_IDS)
def test_a_table_of_a_config_has_its_rates_and_its_unit(run, write, name, text, numbers, unit):
    recipe = jaxlr.from_config(Path(write(name, text)), **numbers)
    rows = [*map(json.loads, run("table", name, *flags_of(numbers), "--format", "json").splitlines())]
    assert [row[unit] for row in rows] == [*range(recipe.num_counts or 50)]
    assert [row["lr"] for row in rows] == rates_of(recipe, len(rows)).tolist()
    assert run("table", name, *flags_of(numbers)).split()[:2] == [unit, "lr"]


@pytest.mark.parametrize(("name", "text", "numbers", "unit"), FILES, ids=FILE_IDS)
def test_the_ported_line_gives_the_curve_without_the_file(run, write, name, text, numbers, unit):
    recipe = jaxlr.from_config(Path(write(name, text)), **numbers)
    printed = run("port", name, *flags_of(numbers))
    assert printed.startswith(f"# {recipe.framework}: a count is one {unit}")
    for sentence in recipe.assumptions:
        assert f"# {sentence}\n" in printed
    line, *more = [line for line in printed.splitlines() if not line.startswith("#")]
    assert line.startswith("schedule = jaxlr." if more else "jaxlr.")
    line = line.removeprefix("schedule = ")
    counts = recipe.num_counts or 50
    assert_close(eval(line, {"jaxlr": jaxlr})(np.arange(counts)), rates_of(recipe, counts), HOST_RTOL)
    fields = json.loads(run("port", name, *flags_of(numbers), "--format", "json"))
    assert fields.pop("jaxlr") == line
    assert more == [f"tx = {fields.pop(name)}" for name in ("tx",) if name in fields]
    assert list(fields) == [field for field in recipe._fields if field != "schedule"]
    assert (fields["unit"], fields["num_counts"], fields["version"]) == (unit, recipe.num_counts, None)
    assert fields["assumptions"] == [*recipe.assumptions]


def test_the_version_of_a_framework_chooses_the_rule_of_a_call(run):
    text = "get_wsd_schedule(opt, 5, num_stable_steps=10, num_decay_steps=5, min_lr_ratio=0.1)"
    line = run("port", text, "--lr", "1", "--framework-version", "4.48")
    assert eval(line, {"jaxlr": jaxlr})(0) == 0.0
    table = run("table", text, "--lr", "1", "--framework-version", "4.49", "--format", "csv")
    assert table.splitlines()[1].endswith(",0.1")


def test_the_options_of_detectron2_after_two_dashes_change_the_file_before_them(run, tmp_path):
    file = tmp_path / "cfg.yaml"
    file.write_text("SOLVER: {BASE_LR: 0.02, STEPS: (60, 80), MAX_ITER: 100, WARMUP_ITERS: 0}")
    printed = run(
        "port", str(file), "--format", "json", "--", "SOLVER.BASE_LR", "0.5", "SOLVER.STEPS", "(3,)"
    )
    schedule = eval(json.loads(printed)["jaxlr"], {"jaxlr": jaxlr})
    assert (schedule(2), schedule(3)) == (0.5, 0.05)


def test_train_takes_the_version_of_a_call():
    text = "get_wsd_schedule(opt, 5, num_stable_steps=10, num_decay_steps=5, min_lr_ratio=0.1)"
    first = {}
    for version in ("4.48", "4.49"):
        config = TrainConfig.from_flags(scheduler=text, lr=1.0, framework_version=version)
        schedule: Any = config.schedule.build(num_steps=20)
        first[version] = schedule(0)
    assert first == {"4.48": 0.0, "4.49": 0.1}
    with pytest.raises(ValueError, match="StepLR is torch's"):
        TrainConfig.from_flags(scheduler="StepLR(3)", framework_version="4.48")


def test_port_states_the_momentum_and_the_optimizer_of_a_config(run):
    printed = run(
        "port", f"{YOLO}optimizer: SGD\nwarmup_momentum: 0.8\n", "--steps-per-epoch", "50", "--group", "1"
    )
    assert "\n# optimizer: SGD\n" in printed
    assert "\n# Group 1 of weights, norms, biases.\n" in printed
    momentum = re.search(r"\n# momentum: (jaxlr\..*)\n", printed)
    assert momentum
    recipe: Any = jaxlr.from_config(
        f"{YOLO}optimizer: SGD\nwarmup_momentum: 0.8\n", steps_per_epoch=50, group=1
    )
    counts = np.arange(200)
    assert_close(eval(momentum[1], {"jaxlr": jaxlr})(counts), recipe.momentum(counts), HOST_RTOL)


def test_a_config_may_come_from_standard_input_a_text_or_flags(run, write, monkeypatch):
    table = run("table", write("train.sh", TIMM))
    assert len(table.splitlines()) == 31
    monkeypatch.setattr("sys.stdin", io.StringIO(TIMM))
    assert run("table", "-") == table
    assert run("table", TIMM) == table
    assert run("table", "--", *TIMM.split()) == table
    assert run("table", "--", "python", "-m", "train", "/data/imagenet", *TIMM.split()) == table
    # The command's own flags are before --, and those of the config after it.
    assert run("table", "--epochs", "40", "--", *TIMM.split()) == run("table", "train.sh", "--epochs", "40")
    assert run("table", "--", "StepLR(30)") == run("table", "StepLR(30)")


def test_the_flags_of_the_command_complete_a_config(run, write):
    name = write("args.yaml", "lr_scheduler_type: linear\nwarmup_steps: 4\n")
    flags = ["--lr", "0.3", "--epochs", "2", "--steps-per-epoch", "10", "--framework-version", "5.1"]
    line = json.loads(run("port", name, *flags, "--format", "json"))
    assert (line["version"], line["num_counts"]) == ("5.1", 20)
    recipe = jaxlr.from_config(Path(name), 0.3, epochs=2, steps_per_epoch=10, version="5.1")
    assert run("table", name, *flags, "--format", "csv").splitlines()[6] == f"5,{rates_of(recipe)[5]}"
    named = run("table", name, *flags[:2], "--names", "max_steps=20", "--framework", "trl")
    assert named == run("table", name, *flags[:6])
    replaced = run("port", "--lr", "0.3", "--", *TIMM.split())
    assert "\n# --lr replaces the lr of the config.\n" in replaced


def test_a_plot_mixes_configs_and_torch_text(run, write, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    updates, epochs = write("args.yaml", TRAINER), write("train.sh", TIMM)
    assert "learning rate by update" in run("plot", updates, "--steps-per-epoch", "80")
    assert "learning rate by epoch" in run("plot", epochs, "StepLR(10)")
    mixed = run("plot", updates, "StepLR(1)", "--steps-per-epoch", "80", "--epochs", "3")
    assert "learning rate by epoch" in mixed
    assert mixed.splitlines()[-2].split() == ["0", "0.75", "1.5", "2.25", "3"]
    assert mixed.splitlines()[-1].split() == ["++", "args.yaml", "xx", "StepLR(1)"]
    rows = run("plot", epochs, "StepLR(10)", "--format", "json").splitlines()
    assert [len(json.loads(row)["epoch"]) for row in rows] == [30, 100]
    with_flags = run("plot", "StepLR(10)", "--format", "json", "--", *TIMM.split())
    assert json.loads(with_flags.splitlines()[1])["lr"] == json.loads(rows[0])["lr"]


TORCH_TEXTS = [
    "StepLR(30)",
    "LambdaLR(opt, lambda e: e / 3)",
    "sched = get_cosine_schedule_with_warmup(optimizer, 500, 10_000)",
    "args = TrainingArguments(learning_rate=1e-4, warmup_ratio=0.1)\ns = StepLR(opt, 3)",
    "def get_lr(it):\n    learning_rate, warmup_ratio = 1e-4, 0.1\n    return learning_rate * it",
    "name: StepLR\nstep_size: 3\n",
    "{'type': 'StepLR', 'step_size': 3}",
    "StpLR(step_size=3)",
    "StepLR",
    "for group in opt.param_groups:\n  pass\nelse:\n  CosineAnnealingLR(opt, 9)",
    "```python\nStepLR(opt, 30)  # epochs: 90\n```",
]
CONFIG_TEXTS = [
    TRAINER,
    TIMM,
    YOLO,
    DEEPSPEED,
    "{'learning_rate': 1e-4, 'lr_scheduler_type': 'cosine', 'max_steps': 10}",
    "args = TrainingArguments(learning_rate=1e-4, max_steps=10, warmup_ratio=0.1)",
    f"{YOLO}# StepLR(30) was worse\n",
    "_target_: torch.optim.lr_scheduler.StepLR\nstep_size: 3\n",
    "{'_target_': 'torch.optim.lr_scheduler.StepLR', 'step_size': 3}",
    "model: yolo11n.pt\nunknown: 3\n",
    "accelerate launch train.py --unknown 3",
]


@pytest.mark.parametrize("text", TORCH_TEXTS)
def test_torch_text_is_not_taken_for_a_config(text, write, monkeypatch):
    assert read_recipe(text).settings is None
    assert read_recipe(write("train.py", text)).settings is None
    assert read_recipe(write("train", text)).text == text
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert read_recipe("-").text == text


@pytest.mark.parametrize("text", CONFIG_TEXTS)
def test_a_config_is_not_taken_for_torch_text(text, write):
    settings = read_recipe(text).settings
    assert settings
    assert read_recipe(write("config", text)).settings == settings


MISTAKES = [
    (
        ["table", "no/such/args.yaml"],
        "error: there is no file 'no/such/args.yaml': give the path of a config",
    ),
    (
        ["port", "args.yml"],
        "error: there is no file 'args.yml': give the path of a config, or a torch sched",
    ),
    (["port", "runs"], "error: 'runs' is a folder: give the config file in it"),
    (["plot", "StepLR(30)", " "], "error: the recipe is empty"),
    (["table", "bytes.yaml"], "error: bytes.yaml is not a text in UTF-8"),
    (["table", "bytes.txt"], "error: bytes.txt is not a text in UTF-8"),
    (["table", "list.json"], "error: the JSON config must hold settings by name"),
    (
        ["table", "args.yaml"],
        "give --steps-per-epoch, the length of the train dataloader of one process (see",
    ),
    (["port", "foo.yaml"], "its settings are ['foo']: give --framework, such as 'timm'"),
    (
        ["port", "foo.yaml", "--framework", "tim"],
        "error: --framework must be a known one, such as 'timm'",
    ),
    (["port", "args.yaml", "--framework-version", "new"], "error: --framework-version must be a text such"),
    (["table", "ds.json"], "how many updates the run has: give --epochs and --steps-per-epoch (see"),
    (["table", "--", "--sched", "step"], "error: the config has no lr: give --lr (see jaxlr table --help)"),
    (
        ["table", "--lr", "1", "--", "--sched", "step"],
        "error: the config has no epochs: give --epochs (see",
    ),
    (
        ["port", "--", *["--lr-base", "0.1", "--epochs", "9", "--sched", "cosine"]],
        "give --num-processes, or --lr (see",
    ),
    (
        ["table", "--lr", "1", "--", *["--sched", "plateau", "--epochs", "9", "--warmup-epochs", "0"]],
        "has no fixed curve: the learning",
    ),
    (["table", "--step-per", "batch", "--", *TIMM.split()], "error: --step-per is for torch schedulers: "),
    (
        ["plot", "StepLR(3)", "args.yaml", "--steps-per-epoch", "8"],
        "count epochs and updates: give --epochs",
    ),
    (
        ["port", "--", *TIMM.split(), "--lr-noise", "0.4"],
        "error: lr_noise='0.4' is not supported: the noise",
    ),
    (
        ["table", "kwargs.yaml"],
        "give --names \"lr_scheduler_kwargs={'min_lr': ...}\" (see jaxlr table --help)",
    ),
    (["port", "StepLR(3)", "--num-processes", "4"], "error: --num-processes is for a config: leave it out"),
    (["table", "StepLR(3)", "--framework-version", "2"], "and StepLR is torch's: leave it out"),
    (["table", "StepLR(3)", "a.yaml"], "error: Unrecognized options: a.yaml (see jaxlr table --help)"),
    (["train", "--recipe", "no.yaml"], "error: there is no file 'no.yaml': give the path of a config"),
    (
        ["train", "--recipe", "args.yaml", "--scheduler", "StepLR(3)"],
        "give one of --recipe and --scheduler",
    ),
    (
        ["train", "--recipe", "args.yaml", "--lr", "0.1"],
        "error: the recipe states its learning rate: leave",
    ),
    (["train", "--recipe", "args.yaml", "--step-per", "epoch"], "error: --step-per must be left out with "),
    (
        ["train", "--recipe", "args.yaml", "--", "--lr", "1"],
        "error: --recipe needs one value: give a file, or",
    ),
    (
        ["train", "--", "--sched", "step", "--epochs", "9"],
        "error: --recipe: the config has no lr: give --lr (see",
    ),
    (["train", "--", *TIMM.split(), "--sched", "plateau"], "error: the flag sched is given twice"),
    (
        ["train", "--epochs", "1", "--", *TIMM.replace("cosine", "plateau --warmup-epochs 0").split()],
        "twice",
    ),
    (
        ["train", "--", *["--sched", "plateau", "--lr", "1", "--epochs", "9", "--warmup-epochs", "0"]],
        "waits for a metric to",
    ),
    (
        ["train", "--", *["--lr-base", "0.1", "--epochs", "9", "--sched", "cosine"]],
        "size: give --names num_processes=..., or --lr",
    ),
    (
        ["train", "--lr", "1", "--", "--sched", "step", "--epochs", "x", "--batch-size", "x"],
        "error: --recipe: epochs must be a number, got 'x'",
    ),
    (["train", "--", "--lr-base", "1", "--sched", "step", "--epochs", "9"], "num_processes=..., or --lr"),
    (
        ["train", "--names", "num_processes=8", "--", "--lr-base", "1", "--sched", "step", "--epochs", "9"],
        "error: --recipe: the config has no batch_size: give --names batch_size=... (see",
    ),
    (
        ["train", "--framework", "timm"],
        "error: --framework needs --recipe: give the config as --recipe FILE",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=[" ".join(row[0])[:60] for row in MISTAKES]
)
def test_a_mistake_is_one_line_that_names_the_flag(refuse, write, tmp_path, arguments, message):
    write("args.yaml", TRAINER)
    write("foo.yaml", "foo: 3\n")
    write("ds.json", DEEPSPEED)
    write("list.json", "[1, 2]")
    write("kwargs.yaml", "learning_rate: 1e-4\nlr_scheduler_type: cosine_with_min_lr\nmax_steps: 9\n")
    for name in ("bytes.yaml", "bytes.txt"):
        (tmp_path / name).write_bytes("learning_rate: 1".encode("utf-16"))
    (tmp_path / "runs").mkdir()
    before = {*tmp_path.iterdir()}
    assert message in refuse(*arguments)
    assert {*tmp_path.iterdir()} == before


def test_empty_standard_input_is_named(refuse, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert "error: standard input is empty (see jaxlr port --help)" in refuse("port", "-")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("x: give epochs", "x: give --epochs"),
        ("x: give num_processes, or init_value", "x: give --num-processes, or --lr"),
        (
            "x: give version='4.48' or version='4.49'",
            "x: give --framework-version 4.48 or --framework-version 4.49",
        ),
        ("x: give from_string the call 'f()'", "x: give the call 'f()'"),
        (
            "This is x. For others, give theirs as init_value.",
            "This is x. For others, give theirs as --lr.",
        ),
        ("x: give names={'nc': ...}", "x: give --names nc=..."),
        ("x: give names={'len(a)': ...}", "x: give --names 'len(a)=...'"),
        ("x: give names={\"cfg['n']\": ...}", "x: give --names \"cfg['n']=...\""),
        ("epochs must be a number, got 'a'", "epochs must be a number, got 'a'"),  # a setting of the config
        ("init_value must be above 0", "--lr must be above 0"),
        ("OneCycleLR needs total_steps, or epochs and steps_per_epoch",) * 2,
    ],
)
def test_advice_is_given_in_flags(message, expected):
    assert in_flags(message) == expected


def test_every_argument_that_a_framework_asks_for_has_a_flag():
    """Find the advice in the sources, and check that no word of it is left in Python's spelling."""
    sources = (Path(jaxlr.__file__).parent / "frameworks").glob("*.py")
    advice = [each for file in sources for each in re.findall(r"give (?:\w+=)?\w+", file.read_text())]
    assert len(advice) > 5
    arguments = ("init_value", "steps_per_epoch", "num_processes", "num_steps", "framework=", "version=")
    assert [each for each in map(in_flags, advice) if any(word in each for word in arguments)] == []


def test_only_names_of_settings_become_flags():
    names = ["lr", "batch_size", "data_dir", "epochs"]
    assert with_flags("lr must be above 0, got lr", names) == "--lr must be above 0, got lr"
    assert with_flags("each of lr must be above 0", names) == "each of --lr must be above 0"
    assert with_flags("gamma must be below lr", names) == "gamma must be below lr"
    assert with_flags("/runs/data_dir exists already", names) == "/runs/data_dir exists already"
    assert with_flags("the epochs of batch_size", names) == "the epochs of --batch-size"


# Training


BATCHES = 45  # of 32 of the 1438 digits
TINY: dict[str, Any] = {"hidden": (), "quiet": True}


def completed(**flags):
    return TrainConfig.from_flags(**flags).completed(BATCHES)


@pytest.mark.parametrize(
    ("text", "flags", "epochs", "arguments"),
    [
        (TIMM, {}, 30, {}),
        (TIMM, {"epochs": 5}, 5, {"epochs": 5}),
        (YOLO, {}, 4, {"steps_per_epoch": BATCHES}),
        # Four batches of the config make an update, which is one batch of the run.
        (TRAINER, {}, 3, {"steps_per_epoch": 4 * BATCHES}),
        (TRAINER, {"epochs": 4}, 4, {"steps_per_epoch": 4 * BATCHES, "epochs": 4}),
        (TRAINER.replace("3.0", "2.5"), {}, 3, {"steps_per_epoch": 4 * BATCHES}),
        (TRAINER + "max_steps: 100\n", {}, 3, {}),
        ("lr_scheduler_type: linear\n", {"lr": 0.2}, 25, {"steps_per_epoch": BATCHES, "epochs": 25}),
        (DEEPSPEED, {}, 25, {}),
        (
            "--lr-base 0.1 --batch-size 64 --opt sgd --epochs 9 --sched cosine",
            {"names": ("num_processes=8",)},
            9,
            {"num_processes": 8},
        ),
    ],
)
def test_a_run_has_the_rates_of_its_recipe(text, flags, epochs, arguments):
    config = completed(recipe=text, optimizer="SGD()", **flags)
    assert config.epochs == epochs
    recipe = jaxlr.from_config(text, flags.get("lr"), **arguments)
    rates = hyperparameters_of(config, BATCHES).rates
    assert rates.shape == (epochs, 1 if recipe.unit == "epoch" else BATCHES)
    assert rates.reshape(-1).tolist() == rates_of(recipe, rates.size).tolist()
    stored = TrainConfig.from_flags(**config.flags())
    assert stored == config
    assert stored.completed(BATCHES) is stored


@pytest.mark.parametrize(
    ("text", "flags", "sentence"),
    [
        (TRAINER, {}, "An update is one batch of this run. The config accumulates 4 for it."),
        (TRAINER, {}, "An epoch has 45 batches, as the data of this run."),
        (TRAINER, {}, "The run has 3 epochs, as the config."),
        (TIMM, {"epochs": 1}, "The run has 1 epoch, by --epochs."),
        (DEEPSPEED, {}, "The run has 25 epochs."),
        (
            "lr_scheduler_type: linear",
            {"lr": 1},
            "The run has 25 epochs: the config does not say how many.",
        ),
        (
            TRAINER + "max_steps: 100",
            {},
            "The run of the config ends after 100 of the 135 updates of this run.",
        ),
        (TRAINER + "max_steps: 100", {"epochs": 2}, "This run has 90 of the 100 updates of the config."),
    ],
)
def test_a_run_says_which_numbers_it_supplied(text, flags, sentence):
    assert sentence in completed(recipe=text, **flags).schedule.assumptions


def test_a_plateau_starts_from_the_rate_of_the_config():
    settings = {"learning_rate": 0.3, "lr_scheduler_type": "reduce_lr_on_plateau"}
    keywords = {"patience": 2}
    recipe = {**settings, "lr_scheduler_kwargs": keywords}
    config = completed(recipe=recipe, epochs=4, optimizer="SGD()")
    plateau, counts_per_epoch = config.run_schedule(BATCHES)
    assert (counts_per_epoch, plateau.init_value) == (1, 0.3)
    stepped = "The plateau is stepped after each epoch, with the validation loss."
    assert stepped in config.schedule.assumptions
    hyperparameters = hyperparameters_of(config, BATCHES)
    assert hyperparameters.rates.tolist() == [[0.3]] * 4
    assert hyperparameters.plateau.patience == 2


ON_PLATEAU = {"learning_rate": 0.3, "lr_scheduler_type": "reduce_lr_on_plateau"}
MMENGINE = {
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
    "param_scheduler": {"type": "ReduceOnPlateauLR"},
}
LIGHTNING = {
    "optimizer": {"class_path": "torch.optim.SGD", "init_args": {"lr": 0.1}},
    "lr_scheduler": {"class_path": "ReduceLROnPlateau", "init_args": {"monitor": "val_loss"}},
}
FAIRSEQ = "--lr 0.1 --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.5 --lr-patience 1"
FAIRCHEM = {"lr_initial": 0.1, "scheduler": "ReduceLROnPlateau", "mode": "min", "max_epochs": 7}


@pytest.mark.parametrize(
    ("recipe", "epochs"),
    [
        ({**ON_PLATEAU, "num_train_epochs": 7, "eval_strategy": "epoch"}, 7),
        ({**ON_PLATEAU, "lr_scheduler_type": "greedy", "num_train_epochs": 6.5}, 7),
        ({**ON_PLATEAU, "num_train_epochs": 7, "evaluation_strategy": "steps"}, None),
        ({**ON_PLATEAU, "num_train_epochs": 7, "max_steps": 100}, None),
        ({"base_model": "a", "learning_rate": 1, "lr_scheduler": "greedy", "num_epochs": 7}, 7),
        ({**MMENGINE, "train_cfg": {"by_epoch": True, "max_epochs": 7}}, 7),
        ({**MMENGINE, "train_cfg": {"by_epoch": True, "max_epochs": 7, "val_interval": 2}}, None),
        ({**LIGHTNING, "trainer": {"max_epochs": 7}}, 7),
        (f"{FAIRSEQ} --max-epoch 7", 7),
        (FAIRSEQ, None),
        ({"optim": FAIRCHEM}, 7),
        ({"optim": {**FAIRCHEM, "eval_every": 500}}, None),
    ],
)
def test_a_plateau_counts_the_epochs_of_its_config(recipe, epochs):
    read: Any = jaxlr.from_config(recipe)
    assert (read.unit, read.num_counts) == ("evaluation", epochs)


def test_a_run_with_a_plateau_has_the_epochs_of_its_config():
    config = completed(recipe={**ON_PLATEAU, "num_train_epochs": 7}, optimizer="SGD()")
    assert config.epochs == 7
    assert "The run has 7 epochs, as the config." in config.schedule.assumptions


def test_a_recipe_that_does_not_suit_the_data_is_one_line(refuse, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = "--lr_scheduler_type polynomial --learning_rate 0.1 --warmup_steps 45"
    line = refuse("train", "--epochs", "1", "--hidden", "--", *flags.split())
    assert (
        "num_training_steps must differ from num_warmup_steps: transformers divides by 0 (with 45" in line
    )
    assert [*tmp_path.iterdir()] == []


def test_a_script_with_a_torch_scheduler_is_a_recipe_too(write):
    script = TrainConfig.from_flags(recipe=write("train.py", SCRIPT), lr=0.2)
    assert script == TrainConfig.from_flags(scheduler=SCRIPT, lr=0.2)
    assert "\n" not in script.schedule.label  # one line, for messages


def test_a_recipe_is_stored_with_every_kind_of_value(write):
    yaml = f"{YOLO}started: 2024-01-01\nsizes: {{1: [2, null], 3.5: x}}\nlimit: .inf\n"
    config = TrainConfig.from_flags(recipe=yaml)
    assert TrainConfig.from_flags(recipe=json.loads(str(config.schedule.recipe))) == config
    reader = config.schedule.reader
    assert reader is not None
    assert reader.recipe.settings["sizes"] == {1: [2, None], 3.5: "x"}
    python = write("config.py", "lr0 = 0.1\nlrf = 0.1\nepochs = get_epochs()\nwarmup_epochs = 1\n")
    with pytest.raises(ValueError, match=re.escape("epochs is 'get_epochs()', which has no value")):
        TrainConfig.from_flags(recipe=python)
    assert completed(recipe=python, names=("get_epochs()=7",)).epochs == 7


def test_a_run_is_resumed_without_its_file_and_keeps_its_schedule(write, run, refuse):
    recipe = write("args.yaml", TRAINER.replace("3.0", "2.0"))
    rates = rates_of(jaxlr.from_config(Path(recipe), steps_per_epoch=4 * BATCHES), 3 * BATCHES)
    printed = run("train", "--recipe", recipe, "--out", "run", "--hidden")
    assert "AdamW(weight_decay=0.0) under the recipe of huggingface\n" in printed
    assert "\nAn epoch has 45 batches, as the data of this run.\n" in printed
    saved = json.loads(Path("run/config.json").read_text())
    assert saved["recipe"]["jaxlr_recipe"]["warmup_steps"] == 20
    assert saved["recipe"]["assumptions"][-1] == "The run has 2 epochs, as the config."
    assert saved["epochs"] == 2
    resume = ["train", "--resume", "--out", "run"]

    Path(recipe).unlink()
    assert "run is finished" in run(*resume)
    write("args.yaml", TRAINER)
    change = "(in --recipe num_train_epochs was 2.0, now 3.0)"
    assert change in refuse(*resume, "--recipe", recipe)
    assert "give one of --recipe and --scheduler" in refuse(*resume, "--scheduler", "StepLR(3)")
    write("args.yaml", TRAINER.replace("3.0", "2") + "# the same settings\n")
    printed = run(*resume, "--recipe", recipe, "--epochs", "3")
    longer = ["The run has 3 epochs, by --epochs.", "It keeps the schedule of a run of 90 updates."]
    assert "\n".join(longer) in printed
    assert "The run has 2 epochs" not in printed
    saved = json.loads(Path("run/config.json").read_text())
    assert saved["recipe"]["assumptions"][-2:] == longer
    rows = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    assert_close([row["lr"] for row in rows], rates[BATCHES - 1 :: BATCHES], HOST_RTOL)


def test_a_run_in_python_takes_a_mapping(tmp_path):
    settings = {"sched": "step", "lr": 0.1, "epochs": 3, "decay_epochs": 1, "warmup_epochs": 0}
    config = TrainConfig.from_flags(recipe=settings, out=tmp_path / "run", **TINY)
    recipe = jaxlr.from_config(settings)
    rows = train(config)
    assert_close([row["lr"] for row in rows], rates_of(recipe, 3), HOST_RTOL)
    assert train(config.replace(epochs=None, optimizer=None, resume=True)) == rows
