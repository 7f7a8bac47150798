"""Public functions have complete docstrings, and every docstring opens with a plain sentence."""

import ast
import inspect
import operator
import re
from pathlib import Path

import pytest

import jaxlr
import jaxlr.schedules
from jaxlr.train.loop import train
from jaxlr.train.runs import hyperparameters_of, train_run
from jaxlr.train.sweeps import sweep


ROOT = Path(__file__).parents[1]
MODULES = sorted(path for folder in ("jaxlr", "tests", "scripts") for path in (ROOT / folder).rglob("*.py"))

# A sentence that opens with one of these hides its subject, as in "What tells a run from another".
FORBIDDEN = re.compile(r"(What|Whether|Of|How|As|That|By|Where|Which|So|From|Says|Has|If)\b")

PUBLIC = [getattr(jaxlr, name) for name in jaxlr.__all__]
SCHEDULES = [getattr(jaxlr.schedules, name) for name in jaxlr.schedules.__all__]
WITH_EXAMPLE = [*PUBLIC, hyperparameters_of, train_run]
ALL = [*WITH_EXAMPLE, train, sweep]


def each(functions):
    return pytest.mark.parametrize("function", functions, ids=[function.__name__ for function in functions])


def sections(function):
    """Return the text of each section of a docstring by its title. The text before the first one has ""."""
    titles = r"^(Args|Returns|Raises|Example|Reference):"
    parts = re.split(titles, inspect.getdoc(function) or "", flags=re.MULTILINE)
    return dict(zip(["", *parts[1::2]], parts[::2], strict=True))


def section(function, title):
    found = sections(function)
    assert title in found, f"{function.__name__}: the docstring has no `{title}:` section"
    assert found[title].strip(), f"{function.__name__}: the section `{title}:` of the docstring is empty"
    return found[title]


@each(ALL)
def test_the_first_line_is_a_sentence(function):
    assert re.match(r"\S.*[.:]\n\n", sections(function)[""]), (
        f"{function.__name__}: the docstring needs a first line that ends with a full stop or a colon, "
        "and an empty line below it"
    )


@each(ALL)
def test_every_argument_is_described_in_order(function):
    described = re.findall(r"^    (\w+): ", section(function, "Args"), re.MULTILINE)
    arguments = [*inspect.signature(function).parameters]
    assert described == arguments, (
        f"{function.__name__}: `Args:` describes {described}, but the arguments are {arguments}"
    )


@each([function for function in ALL if function not in SCHEDULES])
def test_the_result_and_the_errors_are_described(function):
    """The docstring of `jaxlr.schedules` describes both for all schedules."""
    assert re.search(r"^    \S", section(function, "Returns"), re.MULTILINE), (
        f"{function.__name__}: `Returns:` must describe the result in indented lines"
    )
    assert re.search(r"^    \w+Error: ", section(function, "Raises"), re.MULTILINE), (
        f"{function.__name__}: `Raises:` must list errors, such as `    ValueError: an argument is ...`"
    )


@each(WITH_EXAMPLE)
def test_an_example_is_run_as_a_doctest(function):
    assert "    >>> " in section(function, "Example"), (
        f"{function.__name__}: `Example:` must hold a doctest, with lines that start with `>>> `"
    )


@each(SCHEDULES)
def test_a_schedule_has_an_equation_that_names_every_argument(function):
    text, name = sections(function)[""], function.__name__
    assert text.count("$$") >= 2, f"{name}: the docstring has no equation between `$$` and `$$`"
    words = {word for code in re.findall(r"`([^`]+)`", text) for word in re.findall(r"\w+", code)}
    elsewhere = re.findall(r"^    (\w+): as in `", section(function, "Args"), re.MULTILINE)
    missing = sorted({*inspect.signature(function).parameters} - words - {*elsewhere})
    assert not missing, (
        f"{name}: the text above `Args:` must connect these arguments to the equation: {', '.join(missing)}"
    )


@each(PUBLIC)
def test_the_reference_is_a_name_of_torch_or_a_link(function):
    reference = section(function, "Reference")
    assert "`torch." in reference or "https://" in reference, (
        f"{function.__name__}: `Reference:` must give a name in torch, such as "
        "`torch.optim.lr_scheduler.StepLR`, or a link to a paper or to documentation"
    )


@each(PUBLIC)
def test_torch_has_the_names_in_the_reference(torch, function):
    for name in re.findall(r"`torch\.([\w.]+)`", section(function, "Reference")):
        try:
            operator.attrgetter(name)(torch)
        except AttributeError:
            pytest.fail(f"{function.__name__}: `Reference:` names torch.{name}, which torch does not have")


@pytest.mark.parametrize("path", MODULES, ids=[str(path.relative_to(ROOT)) for path in MODULES])
def test_every_docstring_opens_with_a_verb_or_a_noun(path):
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, documented)]
    docstrings = [(getattr(node, "lineno", 1), ast.get_docstring(node) or "") for node in nodes]
    wrong = [
        f"{path.relative_to(ROOT)}:{line}: the docstring opens with {opening[0]!r}"
        for line, docstring in docstrings
        if (opening := FORBIDDEN.match(docstring))
    ]
    advice = "open with a verb ('Return the rate at ...') or a noun ('The settings of a run')"
    assert not wrong, "\n".join([*wrong, advice])
