"""The commands plot, table and port: they show the rates of the schedule, and a mistake is one line."""

import csv
import dataclasses
import io
import json
import os
import subprocess
import sys

import matplotlib.pyplot as plt
import numpy as np
import pytest
from helpers import HOST_RTOL, assert_close, torch_curve
from processes import ENVIRONMENT, start

import jaxlr
from jaxlr.cli import main, plot
from jaxlr.cli.flags import CurveFlags
from jaxlr.cli.recipes import curve_of
from jaxlr.convert.text import steps_per_batch
from jaxlr.flags.recipe import parse_names, read_recipe
from jaxlr.train.config import SweepConfig, TrainConfig


RECIPES = [
    ("StepLR(30)", jaxlr.step_lr(0.1, 30)),
    (
        "torch.optim.lr_scheduler.MultiStepLR(opt, [30, 60], gamma=0.3)",
        jaxlr.multi_step_lr(0.1, [30, 60], 0.3),
    ),
    ("ExponentialLR(0.97)", jaxlr.exponential_lr(0.1, 0.97)),
    ("CosineAnnealingLR(\n  opt,  # the SGD\n  T_max=90,\n)", jaxlr.cosine_annealing_lr(0.1, 90)),
]
# The commands step these two per batch by default, and the others per epoch.
PER_BATCH = [
    ("OneCycleLR(max_lr=0.1, total_steps=1000)", jaxlr.one_cycle_lr(0.1, 1000)),
    ("CyclicLR(opt, 0.01, 0.1, step_size_up=70)", jaxlr.cyclic_lr(0.01, 0.1, 70)),
]


def rates_of(schedule, num_steps):
    return np.asarray(schedule(np.arange(num_steps))).tolist()


@pytest.fixture
def run(capsys):
    """Return a function that runs a command in this process and returns what it prints."""

    def run(*arguments):
        main(arguments)
        output = capsys.readouterr()
        assert output.err == ""
        return output.out

    return run


def process(*arguments, environment=(), **settings):
    command = [sys.executable, "-m", "jaxlr", *arguments]
    environment = os.environ | dict(environment)
    return subprocess.run(command, capture_output=True, check=False, env=environment, **settings)


def read_table(text, format):
    """Return the unit, counts and rates of a table."""
    if format == "json":
        rows = [json.loads(line) for line in text.splitlines()]
        ((unit, lr),) = {tuple(row) for row in rows}
        assert lr == "lr"
        return unit, [row[unit] for row in rows], [row["lr"] for row in rows]
    lines = text.splitlines()
    (unit, lr), *rows = csv.reader(lines) if format == "csv" else map(str.split, lines)
    assert lr == "lr"
    return unit, [int(row[0]) for row in rows], [float(row[1]) for row in rows]


@pytest.mark.parametrize("format", ["text", "csv", "json"])
@pytest.mark.parametrize(("text", "schedule"), RECIPES, ids=[text[:20] for text, _ in RECIPES])
def test_a_table_has_every_bit_of_the_rates_of_the_schedule(run, text, schedule, format):
    table = read_table(run("table", text, "--lr", "0.1", "--epochs", "90", "--format", format), format)
    assert table == ("epoch", list(range(90)), rates_of(schedule, 90))


@pytest.mark.parametrize(("text", "schedule"), PER_BATCH, ids=[text[:8] for text, _ in PER_BATCH])
def test_one_cycle_and_cyclic_are_tabulated_step_by_step(run, text, schedule):
    flags = ("--epochs", "4", "--steps-per-epoch", "100", "--format", "json")
    steps = read_table(run("table", text, *flags), "json")
    assert steps == ("step", list(range(400)), rates_of(schedule, 400))
    epochs = read_table(run("table", text, *flags, "--step-per", "epoch"), "json")
    assert epochs == ("epoch", [0, 1, 2, 3], rates_of(schedule, 4))


def test_any_scheduler_can_be_stepped_per_batch(run):
    flags = ("--epochs", "3", "--steps-per-epoch", "5", "--step-per", "batch", "--format", "csv")
    table = read_table(run("table", "StepLR(4)", *flags), "csv")
    assert table == ("step", list(range(15)), rates_of(jaxlr.step_lr(0.1, 4), 15))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("MultiStepLR", [[30, 60, 80]]),
        ("MultiStepLR", [[2, 2, 0], 0.5]),
        ("StepLR", [7]),
        ("ConstantLR", [0.3, 10]),
        ("LinearLR", [0.1, 1.0, 12]),
    ],
)
def test_changes_lists_the_epochs_at_which_torch_changes_the_rate(torch, run, name, arguments):
    scheduler = getattr(torch.optim.lr_scheduler, name)
    curve = torch_curve(torch, lambda optimizer: scheduler(optimizer, *arguments), 90)
    text = f"{name}({', '.join(map(repr, arguments))})"
    _, counts, rates = read_table(run("table", text, "--epochs", "90", "--changes"), "text")
    assert counts == [0, *np.flatnonzero(curve[1:] != curve[:-1]) + 1]
    assert_close(rates, curve[counts], HOST_RTOL)


def test_an_infinite_rate_is_null_in_json(run):
    text = run("table", "ExponentialLR(10)", "--epochs", "400", "--format", "json")
    assert "Infinity" not in text
    assert json.loads(text.splitlines()[399])["lr"] is None


@pytest.mark.heavy
def test_a_reader_of_the_table_that_stops_early_is_no_error():
    with start("ExponentialLR(0.9999)", "--epochs", 100_000, name="table") as table:
        assert table.stdout is not None
        assert table.stderr is not None
        assert table.stdout.readline() == "epoch  lr\n"
        table.stdout.close()
        assert table.stderr.read() == ""
    assert table.returncode == 0


def test_the_text_may_come_from_standard_input(run, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("StepLR(\n  opt,\n  step_size=2,\n)\n"))
    printed = run("table", "-", "--epochs", "3", "--format", "csv")
    assert printed == "epoch,lr\n0,0.1\n1,0.1\n2,0.010000000000000002\n"


@pytest.mark.heavy
def test_a_table_needs_no_package_for_training_or_drawing():
    program = "from jaxlr.cli import main; main(['table', 'StepLR(3)']); import sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    heavy = {"flax", "orbax", "sklearn", "tensorflow_datasets", "matplotlib", "uniplot", "torch"}
    assert not heavy & {name.partition(".")[0] for name in done.stdout.split()}


def read_drawing(text):
    """Return the rows with marks of each column, the label of each row, and the lines below."""
    title, top, *lines = text.splitlines()
    assert title.strip() == "learning rate by epoch"
    frame, corner, side = ("-", "+", "|") if top[0] == "+" else ("─", "└", "│")
    assert set(top[1:-1]) == {frame}
    height = next(row for row, line in enumerate(lines) if line[0] == corner)
    rows = [line[1:].partition(side) for line in lines[:height]]
    columns = zip(*(inside for inside, _, _ in rows), strict=True)
    marks = [{row for row, mark in enumerate(column) if mark != " "} for column in columns]
    labels = {row: float(label) for row, (_, _, label) in enumerate(rows) if label}
    return marks, labels, lines[height + 1 :]


@pytest.mark.parametrize(
    ("text", "schedule", "row_at"),
    [
        ("MultiStepLR([30, 60])", jaxlr.multi_step_lr(0.1, [30, 60]), {15: 0, 45: 8, 75: 16}),
        ("CosineAnnealingLR(90)", jaxlr.cosine_annealing_lr(0.1, 90), {1: 0, 30: 4, 45: 8, 60: 12, 89: 16}),
        ("ConstantLR(0.5, 40)", jaxlr.constant_lr(0.1, 0.5, 40), {20: 8, 60: 0}),
        ("PolynomialLR(90)", jaxlr.polynomial_lr(0.1, 90), {22: 4, 45: 8, 67: 12, 89: 16}),
    ],
)
def test_the_terminal_shows_each_rate_in_the_row_of_its_label(run, monkeypatch, text, schedule, row_at):
    monkeypatch.setenv("COLUMNS", "80")
    drawing = run("plot", text, "--lr", "0.1", "--epochs", "90")
    assert max(map(len, drawing.splitlines())) <= 80
    marks, labels, (epochs, legend) = read_drawing(drawing)
    assert legend.strip() == f"██ {text}"
    quarter = len(marks) / 4
    assert [epochs.index(f" {epoch}") for epoch in ("0", "22.5", "45", "67.5", "90")] == [
        k * quarter for k in range(5)
    ]
    assert all(marks)
    for epoch, row in row_at.items():
        assert row in marks[int((epoch + 0.5) / 90 * len(marks))]
        assert abs(labels[row] - schedule(epoch)) < 0.0015


def test_without_colours_each_curve_has_its_own_character(run):
    drawing = run("plot", "StepLR(30)", "ConstantLR(0.5, 10)")
    assert "\x1b" not in drawing
    assert drawing.splitlines()[-1].strip().split("   ") == ["++ StepLR(30)", "xx ConstantLR(0.5, 10)"]
    assert all(sum(line.count(mark) for line in drawing.splitlines()[:-1]) > 40 for mark in "+x")


def test_a_terminal_gets_colours_unless_no_color_is_set(run, monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in run("plot", "StepLR(30)", "ConstantLR()")
    assert "\x1b[" not in run("plot", "StepLR(30)")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run("plot", "StepLR(30)", "ConstantLR()")


@pytest.mark.parametrize("columns", ["1", "40", "57", "200", "99999999"])
def test_a_drawing_is_as_wide_as_the_terminal_from_40_columns_on(run, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    width = max(map(len, run("plot", "StepLR(30)").splitlines()))
    expected = min(max(int(columns), 40), 1000)
    assert expected - 8 < width <= expected


@pytest.fixture
def figures(monkeypatch):
    """Return a list to which each figure that a command makes is added."""
    made = []
    new_figure = plot.new_figure

    def remember(width, height):
        made.append(new_figure(width, height))
        return made[-1]

    monkeypatch.setattr(plot, "new_figure", remember)
    return made


def test_a_figure_has_every_schedule_over_one_axis_of_epochs(run, figures, tmp_path):
    file = tmp_path / "lr.png"
    texts = [*RECIPES, *PER_BATCH]
    flags = ("--lr", "0.1", "--epochs", "90", "--steps-per-epoch", "391", "--out", str(file))
    assert run("plot", *(text for text, _ in texts), *flags) == f"wrote {file}\n"
    ((ax,),) = (figure.axes for figure in figures)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("epoch", "learning rate")
    for (text, schedule), line in zip(texts, ax.get_lines(), strict=True):
        num_steps = 90 * 391 if (text, schedule) in PER_BATCH else 90
        assert line.get_ydata()[:-1].tolist() == rates_of(schedule, num_steps)
        assert_close(line.get_xdata(), np.linspace(0, 90, num_steps + 1), HOST_RTOL)
        label = line.get_label()
        assert len(label) <= 60
        assert " ".join(text.split()).startswith(label.removesuffix("..."))
    image = plt.imread(file)
    assert len(np.unique(image.reshape(-1, image.shape[-1]), axis=0)) > len(texts)


def test_a_plot_as_json_has_the_counts_and_rates_of_each_curve(run, tmp_path):
    texts = ["ExponentialLR(10)", PER_BATCH[0][0]]
    flags = ("--epochs", "400", "--steps-per-epoch", "2", "--format", "json")
    exponential, cycle = map(json.loads, run("plot", *texts, *flags).splitlines())
    assert exponential["scheduler"] == "ExponentialLR(10)"
    assert exponential["epoch"] == list(range(400))
    assert exponential["lr"][::399] == [0.1, None]  # infinite as a float
    assert cycle == {"scheduler": texts[1], "step": [*range(800)], "lr": rates_of(PER_BATCH[0][1], 800)}
    assert json.loads(run("plot", texts[1], *flags, "-o", str(tmp_path / "lr.png"))) == cycle
    assert (tmp_path / "lr.png").exists()


@pytest.mark.parametrize("suffix", ["svg", "pdf", "PNG"])
def test_the_suffix_of_out_is_the_format_of_the_figure(run, tmp_path, suffix):
    start = {"svg": b"<?xml", "pdf": b"%PDF", "PNG": b"\x89PNG"}[suffix]
    file = tmp_path / f"lr.{suffix}"
    for _ in range(2):  # an existing figure is overwritten
        run("plot", "StepLR(30)  # $\\foo$", "-o", str(file))
        assert file.read_bytes().startswith(start)


@pytest.mark.parametrize(
    ("text", "per_batch"),
    [
        ("OneCycleLR(0.1, 9)", True),
        ("scheduler = torch.optim.lr_scheduler.CyclicLR (opt, 1, 2)", True),
        ("SequentialLR(opt, [LinearLR(opt), OneCycleLR(opt, 1, 9)], [5])", True),
        ("StepLR(3)  # was OneCycleLR(0.1, 9)", False),
        ("CosineAnnealingLR(9)", False),
        ("MyOneCycleLR(9)", False),
    ],
)
def test_only_one_cycle_and_cyclic_step_per_batch_by_default(text, per_batch):
    assert steps_per_batch(text) is per_batch


@pytest.mark.parametrize(
    ("pair", "name", "value"),
    [
        ("epochs=90", "epochs", 90),
        (" args.lr = -1e-3 ", "args.lr", -1e-3),
        ("len(train_loader)=391", "len(train_loader)", 391),
        ("len(loader(split='train'))=391", "len(loader(split='train'))", 391),
        ("mode='a=b'", "mode", "a=b"),
        ("cfg['milestones']=[30, 60]", "cfg['milestones']", [30, 60]),
        ("nesterov=True", "nesterov", True),
    ],
)
def test_a_name_and_its_value_may_both_hold_an_equals_sign(pair, name, value):
    assert parse_names([pair]) == {name: value}


def test_names_in_a_text_get_their_values(run):
    flags = ("--epochs", "90", "--format", "csv", "--names", "args.step=30", "len(loader)=2")
    table = run("table", "StepLR(opt, args.step * len(loader))", *flags)
    assert read_table(table, "csv")[2] == rates_of(jaxlr.step_lr(0.1, 60), 90)


@pytest.mark.parametrize("group", [0, 1])
def test_a_list_with_a_value_per_group_gives_the_value_of_the_group(run, group):
    text = "OneCycleLR(opt, max_lr=[0.1, 0.2], total_steps=50)"
    table = run("table", text, "--epochs", "50", "--group", str(group), "--format", "csv")
    assert read_table(table, "csv")[2] == rates_of(jaxlr.one_cycle_lr([0.1, 0.2][group], 50), 50)


PORTED = [
    *(text for text, _ in [*RECIPES, *PER_BATCH]),
    "ReduceLROnPlateau(opt, patience=5)",
    "LambdaLR(opt, lambda epoch: 0.95 ** epoch)",
    "MultiplicativeLR(opt, lambda epoch: 0.95)",
    "SequentialLR(opt, [LinearLR(opt, 0.1), CosineAnnealingLR(opt, 85)], milestones=[5])",
    "ChainedScheduler([ConstantLR(opt), ExponentialLR(opt, gamma=0.9)])",
]


@pytest.mark.parametrize("text", PORTED, ids=[text[:16] for text in PORTED])
def test_the_ported_line_builds_what_the_text_describes(run, text):
    line = run("port", text, "--lr", "0.3", "--epochs", "90")
    assert line.startswith("jaxlr.")
    ported = eval(line, {"jaxlr": jaxlr})
    if "Plateau" in text:
        assert ported.init(0.0) == jaxlr.reduce_lr_on_plateau(0.3, patience=5).init(0.0)
    else:
        read = curve_of(CurveFlags(lr=0.3, epochs=90), read_recipe(text))
        assert_close(ported(np.arange(90)), read.rates, HOST_RTOL)


def test_the_ported_line_as_json_has_what_was_read_beside_it(run):
    both = json.loads(run("port", "StepLR(opt, 2 * n)", "--names", "n=15", "--format", "json"))
    assert both == {"jaxlr": "jaxlr.step_lr(0.1, step_size=30)", "torch": "StepLR(step_size=30)"}


@pytest.mark.heavy
def test_the_version_is_that_of_the_package():
    done = process("--version", text=True)
    assert (done.returncode, done.stdout) == (0, f"jaxlr {jaxlr.__version__}\n")


MISTAKES = [
    (["plot"], 'RECIPE must be at least one scheduler or config file, such as "StepLR(30)"'),
    (["table"], "RECIPE must be given, before any --names (see jaxlr table --help)"),
    (["verify"], "RECIPE and LOG must be given"),
    (["plot", "StpLR(3)"], "unknown scheduler 'StpLR': did you mean StepLR?"),
    (["table", "StpLR(3)"], "unknown scheduler 'StpLR': did you mean StepLR?"),
    (["port", "StpLR(3)"], "unknown scheduler 'StpLR': did you mean StepLR?"),
    (["table", "StepLR(opt, n)"], "give --names n=... (see jaxlr table --help)"),
    (["table", "StepLR(opt, len(loader) * n)"], "give --names 'len(loader)=...' n=... (see"),
    (["table", "StepLR(opt, cfg['n'])"], """give --names "cfg['n']=..." (see"""),
    (["port", "MultiplicativeLR(opt, lambda e: 1 / e)"], "give --epochs, the number of epochs"),
    (["table", "LambdaLR(opt, lambda e: 1 / e)"], "cannot calculate '1 / e': division by zero"),
    (["table", "LambdaLR(opt, lambda e: 1e400)"], "has no finite learning rate"),
    (["plot", "StepLR(3)", "StepLR(0)"], "step_size must be a whole number of at least 1, got 0"),
    (["plot", "ReduceLROnPlateau()"], "ReduceLROnPlateau() has no fixed curve: the learning rate"),
    (["table", "ReduceLROnPlateau()"], "depends on the metrics of a run (jaxlr train draws it)"),
    (["plot", "StepLR(3)", "--epochs", "0"], "error: --epochs must be a whole number of at least 1, got 0"),
    (["plot", "StepLR(3)", "--epochs", "x"], "error: --epochs must be a whole number, got 'x'"),
    (
        ["plot", "StepLR(3)", "--epochs", "9" * 9],
        "error: --epochs times --steps-per-epoch must be at most 10000000",
    ),
    (["table", "StepLR(3)", "--steps-per-epoch", "0"], "error: --steps-per-epoch must be a whole number"),
    (["table", "StepLR(3)", "--lr", "-1"], "error: --lr must be a finite number of at least 0, got -1.0"),
    (["table", "StepLR(3)", "--lr", "nan"], "error: --lr must be a finite number of at least 0, got nan"),
    (["table", "StepLR(3)", "--group", "-1"], "error: --group must be at least 0, got -1"),
    (["table", "StepLR(3)", "--formt", "csv"], "did you mean --format?"),
    (["table", "StepLR(3)", "--format", "xml"], "('text', 'csv', 'json') (see jaxlr table --help)"),
    (["table", "StepLR(3)", "StepLR(4)"], "Unrecognized options: StepLR(4) (see jaxlr table --help)"),
    (["plot", "StepLR(3)", "--epochs"], "error: --epochs needs a value (see"),
    (["plot", "StepLR(3)", "-o"], "error: --out needs a value (see"),
    (["train", "--hidden", "128,64"], "--hidden cannot be read, got '128,64': give its values with spaces"),
    (["verify", __file__, "StepLR(3)"], "No such file or directory: give LOG after RECIPE"),
    (["table", "StepLR(3)", "--names", "epochs"], "error: --names must be NAME=VALUE"),
    (["table", "StepLR(3)", "--names", "n=__import__('os')"], "got \"n=__import__('os')\""),
    (
        ["plot", "--names", "n=3", "StepLR(step_size=n)"],
        "(and come after RECIPE), got 'StepLR(step_size=n)'",
    ),
    (
        ["port", "StepLR(3)", "--epochs", "0"],
        "error: --epochs must be a whole number of at least 1, got 0 (see jaxlr port --help)",
    ),
    (
        ["table", "StepLR(n)", "--names", "n=3", "n=4"],
        "error: --names must have one value for each name",
    ),
    (
        ["table", "StepLR(n)", "--names", "n=3", "--names", "m=4"],
        "error: --names is given twice: give it once",
    ),
    (["port", "StepLR(3)", "--lr=0.1", "--lr", "0.2"], "error: --lr is given twice: give it once"),
    (["port", "StepLR(3)", "--num_processes", "1", "--num-processes=2"], "--num-processes is given twice"),
    (["table", "--Lr", "0.1"], "error: RECIPE must be given (see jaxlr table --help)"),
    (["table", "OneCycleLR(0.1)"], "once, as total_steps or as epochs and steps_per_epoch; got"),
    (["table", "/dev/null"], "error: null is empty (see"),
    (["plot", "StepLR(3)", "-o", "lr"], "--out must end in .png, .svg, .pdf or the like, got 'lr'"),
    (["plot", "StepLR(3)", "-o", "lr.xyz"], "--out must end in .png, .svg, .pdf or the like, got 'lr.xyz'"),
    (["plot", "StepLR(3)", "-o", "/no/such/lr.png"], "/no/such/lr.png"),
    (
        ["tabel", "StepLR(3)"],
        "no command 'tabel', only train, sweep, plot, table, port, verify, fit (did you mean table?)",
    ),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=[" ".join(row[0])[:50] for row in MISTAKES]
)
def test_a_mistake_is_one_clear_line_and_exit_status_2(refuse, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refuse(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("flags", "library"), [([], "uniplot"), (["-o", "lr.png"], "matplotlib")])
def test_a_missing_library_for_drawing_is_one_line(refuse, monkeypatch, flags, library):
    for module in ("uniplot", "matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, module, None)
    assert f"drawing needs {library}: pip install {library}" in refuse("plot", "StepLR(3)", *flags)


def in_shell(shell, *arguments, **settings):
    command = ["bash", "-c", shell, "bash", sys.executable, "-m", "jaxlr", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, **settings)


@pytest.mark.heavy
@pytest.mark.parametrize("command", ["table", "train"])
@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", ">/dev/full", "2>/dev/full"])
def test_closed_or_full_streams_cause_no_traceback(command, stream, tmp_path):
    flags = ["StepLR(3)"] if command == "table" else ["--epochs", "0"]
    done = in_shell(f'exec "$@" {stream}', command, *flags, cwd=tmp_path)
    is_refused = command == "train" or stream == ">/dev/full"
    assert done.returncode == (2 if is_refused else 0), done.stderr
    assert done.stderr.count("\n") == (is_refused and not stream.startswith("2"))
    assert "Traceback" not in done.stderr


# A thread that never ends, as those of Orbax on a full disk. An unknown backend, as that of a notebook.
STUCK = """
import os, sys, threading
threading.Thread(target=threading.Event().wait).start()
os.environ["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
os.environ["HOME"] = "/dev/null"  # matplotlib cannot keep its settings there
import jaxlr.__main__, jaxlr.cli
if sys.argv[1] == "plot":
    main = jaxlr.cli.main
    def draw_and_fail():
        main()
        raise ImportError("one\\ntwo") if sys.argv[2] == "StepLR(1)" else MemoryError
    jaxlr.cli.main = draw_and_fail
jaxlr.__main__.run()
"""


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["train", "--epochs", "0"], "--epochs must be"),
        (["plot", "StepLR(1)", "-o", "x.png"], "a package cannot be loaded: one two;"),
        (["plot", "StepLR(2)", "-o", "x.png"], "there is not enough memory"),
    ],
)
def test_after_an_error_the_process_ends_even_if_a_thread_does_not(arguments, error, tmp_path):
    command = [sys.executable, "-c", STUCK, *arguments]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, capture_output=True, text=True, timeout=60, env=ENVIRONMENT
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"jaxlr: error: {error}")
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "x.png").exists() == (arguments[0] == "plot")


@pytest.mark.heavy
def test_a_reader_of_the_help_that_stops_early_is_no_error():
    done = in_shell('set -o pipefail; "$@" | head -1', "train", "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: jaxlr train")


@pytest.mark.heavy
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_plot_can_be_drawn_in_any_encoding(encoding):
    environment = {"PYTHONIOENCODING": encoding, "COLUMNS": "80"}
    done = process("plot", "StepLR(30)  # d\u00e9cru\u00eet", environment=environment)
    assert (done.returncode, done.stderr) == (0, b"")
    _, labels, _ = read_drawing(done.stdout.decode(encoding))
    assert labels[0] == 0.1
    assert ("▐".encode() in done.stdout) == (encoding == "utf-8")


@pytest.mark.heavy
def test_a_mistake_in_a_real_process_shows_no_traceback():
    done = process("plot", "StpLR(3)", text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("jaxlr: error: unknown scheduler 'StpLR': did you mean StepLR?")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [[], ["plot"], ["table"], ["port"], ["verify"], ["fit"]])
def test_the_help_fits_a_screen_and_has_an_example(capsys, monkeypatch, command):
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert len(text.splitlines()) <= (40 if command else 42)  # six lines for each of the seven commands
    assert " ".join(["Example: jaxlr", *command]) in " ".join(text.replace("│", " ").split())


def test_the_help_ends_in_the_narrowest_terminal(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "1")
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out.splitlines()) < 100


@pytest.mark.parametrize("config", [TrainConfig, SweepConfig])
def test_the_help_of_train_and_sweep_has_every_flag_in_its_group(capsys, config):
    with pytest.raises(SystemExit) as stop:
        main([config.command, "--help"])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    assert f"Example: jaxlr {config.command}" in text
    groups = vars(config())
    for title, group in groups.items():
        shown = text.partition(f" {title} options ")[2].partition("╰")[0].replace("--no-", "--")
        assert [flag for flag in flags_of(group) if flag not in shown] == []
    assert {*map(as_flag, config().flags())} == {
        flag for group in groups.values() for flag in flags_of(group)
    }


def flags_of(kind):
    return [as_flag(field.name) for field in dataclasses.fields(kind)]


def as_flag(name):
    return f"--{name.replace('_', '-')}"
