"""The README keeps its word: its code runs and prints what it shows, its tree and links exist."""

import doctest
import json
import re
import shlex
import textwrap
from pathlib import Path

import pytest

import jaxlr
from jaxlr.cli import main


ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_the_code_read_from_top_to_bottom_prints_what_the_readme_shows(torch):
    examples = doctest.DocTestParser().get_doctest("\n".join(BLOCKS), {}, "README.md", "README.md", 0)
    assert len(examples.examples) > 10
    runner = doctest.DocTestRunner()
    runner.run(examples, out=(report := []).append)
    assert not runner.failures, "".join(report)


def test_the_rates_of_the_first_table_are_those_of_its_code():
    rows = re.findall(r"^\| `\w+\(.*?\)` \| `(jaxlr\..*?)` \| ([\d., ]+) \|$", README, flags=re.MULTILINE)
    assert len(rows) == 3
    for code, rates in rows:
        schedule = eval(code, {"jaxlr": jaxlr})
        assert [f"{schedule(epoch):.4g}" for epoch in (0, 10, 20, 30)] == rates.split(", ")


def test_the_commands_print_what_the_readme_shows(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    shown = re.findall(r"^    \$ jaxlr ((?:.*\\\n)*.*)\n((?:    [^$].*\n)*)", README, flags=re.MULTILINE)
    assert len(shown) > 1
    for command, printed in shown:
        main(shlex.split(command.replace("\\\n", " ")))
        assert capsys.readouterr() == (textwrap.dedent(printed), "")


def test_every_linked_file_exists():
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_file_tree_names_every_file():
    tree = README.split("## Files")[1]
    modules = [path.name for path in (ROOT / "jaxlr").rglob("*.py") if path.name != "__init__.py"]
    scripts = [path.name for path in (ROOT / "scripts").iterdir() if path.is_file()]
    assert [name for name in modules + scripts if f" {name} " not in tree] == []


JSON = [
    ("train", ["--epochs", "1", "--hidden", "4", "--validation-size", "99"]),
    (
        "sweep",
        ["--scheduler", "StepLR(1)", "--lr", "0.1", "--seeds", "1", "--epochs", "1", "--hidden", "4"],
    ),
    ("plot", ["StepLR(1)", "OneCycleLR(1, 9)", "--steps-per-epoch", "2"]),
    ("table", ["StepLR(1)"]),
    ("port", ["StepLR(1)"]),
]


@pytest.mark.heavy
@pytest.mark.parametrize(("command", "flags"), JSON)
def test_the_keys_of_the_json_of_a_command_are_those_that_the_readme_lists(
    command, flags, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    main([command, *flags, "--format", "json"])
    printed = capsys.readouterr().out
    keys = {re.sub("_(mean|std)$", "", key) for line in printed.splitlines() for key in json.loads(line)}
    (listed,) = re.findall(rf"^\| `{command}` \| (.*) \|$", README, flags=re.MULTILINE)
    names = {*re.findall(r"`(\w+)`", listed)} - ({"step"} if command == "table" else set())
    assert keys == names
