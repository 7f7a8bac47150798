"""The README is short, its examples run, and its first table is right."""

import doctest
import re
from pathlib import Path

import jaxlr
from jaxlr.frameworks.registry import FRAMEWORKS


README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


def test_a_newcomer_reads_it_in_five_minutes():
    assert len(README.splitlines()) <= 150


def test_its_examples_print_what_it_shows(torch):
    examples = doctest.DocTestParser().get_doctest("\n".join(BLOCKS), {}, "README.md", "README.md", 0)
    assert len(examples.examples) > 10
    runner = doctest.DocTestRunner()
    runner.run(examples, out=(report := []).append)
    assert not runner.failures, "".join(report)


def test_the_rates_of_its_first_table_are_those_of_the_code():
    rows = re.findall(r"^\| `\w+\(.*?\)` \| `(jaxlr\..*?)` \| ([\d., ]+) \|$", README, flags=re.MULTILINE)
    assert len(rows) == 3
    for code, rates in rows:
        schedule = eval(code, {"jaxlr": jaxlr})
        assert [f"{schedule(epoch):.4g}" for epoch in (0, 10, 20, 30)] == rates.split(", ")


def test_it_counts_the_frameworks():
    frameworks = [framework for framework in FRAMEWORKS if framework.name != "addons"]
    assert f"[{len(frameworks)} frameworks](docs/frameworks/index.md)" in README
