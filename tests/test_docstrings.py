"""Every public name says what a stranger needs: arguments, errors, an example that is run, torch's name."""

import inspect
import operator
import re

import pytest

import jaxlr
from jaxlr.train.loop import train
from jaxlr.train.runs import hyperparameters_of, train_run
from jaxlr.train.sweep import sweep


OF_TORCH = [getattr(jaxlr, name) for name in jaxlr.__all__]
SCHEDULES = [function for function in OF_TORCH if function.__module__.startswith("jaxlr.schedules.")]
WITH_EXAMPLE = [*OF_TORCH, hyperparameters_of, train_run]


def each(functions):
    return pytest.mark.parametrize("function", functions, ids=[function.__name__ for function in functions])


def sections(function):
    """The parts of a docstring by their titles; that of the first is empty."""
    titles = r"^(Args|Returns|Raises|Example|Reference):"
    parts = re.split(titles, inspect.getdoc(function) or "", flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


@each([*WITH_EXAMPLE, train, sweep])
def test_it_has_a_first_line_and_every_argument_in_order_and_its_errors(function):
    parts = sections(function)
    assert re.match(r"\S.*[.:]\n\n", parts[""])
    assert re.findall(r"^    (\w+): ", parts["Args"], re.MULTILINE) == [
        *inspect.signature(function).parameters
    ]
    assert re.search(r"^    \S", parts["Returns"], re.MULTILINE)
    assert re.search(r"^    \w+Error: ", parts["Raises"], re.MULTILINE)


@each(WITH_EXAMPLE)
def test_it_has_an_example_that_the_tests_run(function):
    assert "    >>> " in sections(function)["Example"]


@each(SCHEDULES)
def test_it_has_an_equation_and_every_argument_in_the_text_around_it(function):
    parts = sections(function)
    assert parts[""].count("$$") >= 2
    names = [name for name in inspect.signature(function).parameters if f"`{name}" not in parts[""]]
    assert [name for name in names if f"    {name}: as in `" not in parts["Args"]] == []


@each(OF_TORCH)
def test_what_it_refers_to_is_in_torch(torch, function):
    reference = sections(function)["Reference"]
    names = re.findall(r"`torch\.([\w.]+)`", reference)
    assert names or "torch" in reference
    for name in names:
        assert operator.attrgetter(name)(torch)
