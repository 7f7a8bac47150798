"""The documentation is right: examples run, commands print what is shown, links and names exist."""

import ast
import doctest
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

import jaxlr
import jaxlr.schedules
from jaxlr.cli import main


ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
TEXTS = dict(zip(NAMES, [path.read_text() for path in PAGES], strict=True))

SCHEDULES = sorted(
    {name for name in jaxlr.__all__ if getattr(jaxlr, name).__module__.startswith("jaxlr.schedules.")}
    | {*getattr(jaxlr.schedules, "__all__", [])}
)
COMMANDS = ("train", "sweep", "plot", "table", "port", "verify", "fit")


def blocks(text: str, *languages: str) -> list[str]:
    """Return the fenced blocks in one of the languages."""
    pattern = rf"^```(?:{'|'.join(languages)})\n(.*?)^```"
    return re.findall(pattern, text, flags=re.DOTALL | re.MULTILINE)


def pages_with(pattern: str) -> list[str]:
    return [name for name, text in TEXTS.items() if re.search(pattern, text, flags=re.MULTILINE)]


@pytest.fixture
def figures(monkeypatch):
    """Import the hook that draws the figures of the site."""
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("pages.figures")


# Examples


# tests/test_readme.py runs those of the README.
@pytest.mark.parametrize("name", [name for name in pages_with("^>>> ") if name != "README.md"])
def test_the_examples_of_a_page_print_what_it_shows(name, request):
    code = "\n".join(block for block in blocks(TEXTS[name], "python") if block.startswith(">>> "))
    if "import torch" in code:
        request.getfixturevalue("torch")
    examples = doctest.DocTestParser().get_doctest(code, {}, name, name, 0)
    assert examples.examples
    runner = doctest.DocTestRunner()
    runner.run(examples, out=(report := []).append)
    assert not runner.failures, "".join(report)


def test_every_other_python_block_is_a_figure_or_is_tested_elsewhere(figures):
    script = {line.strip() for line in (ROOT / "scripts/train_mnist.py").read_text().splitlines()}
    # tests/test_porting.py, test_framework_page.py and test_checkpoints.py run the blocks of these pages.
    for name in set(NAMES) - {"docs/idioms.md", "docs/loops.md", "docs/checkpoints.md"}:
        drawn = [figure.code for figure in figures.figures_of(TEXTS[name])]
        for block in blocks(TEXTS[name], "python"):
            if block.startswith("# torch\n"):
                ast.parse(block)
            elif block.startswith("# jaxlr\n"):
                lines = {re.sub(r"  #.*", "", line).strip() for line in block.splitlines()[1:]}
                assert lines - script == set(), f"{name} quotes lines that scripts/train_mnist.py lacks"
            elif not block.startswith(">>> "):
                assert block in drawn, f"{name} has a Python block that nothing runs:\n{block}"


# Commands


def shown_commands(text: str) -> list[tuple[str, str]]:
    """Return each command of the console blocks with the output that the page shows for it."""
    found = []
    for block in blocks(text, "console"):
        found += re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n)*)", block, flags=re.MULTILINE)
    return [(command.replace("\\\n", " "), output) for command, output in found]


@pytest.mark.parametrize("name", pages_with("^```console$"))
def test_the_commands_of_a_page_print_what_it_shows(name, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for config in blocks(TEXTS[name], "yaml"):
        if file := re.match(r"# (\S+\.yaml)\n", config):
            (tmp_path / file[1]).write_text(config)
    commands = shown_commands(TEXTS[name])
    assert commands
    for command, printed in commands:
        program, *arguments = shlex.split(command)
        assert program == "jaxlr"
        main(arguments)
        assert capsys.readouterr() == (printed, "")


def test_the_command_line_page_shows_the_output_of_each_command_on_a_torch_line():
    shown = {command.split()[1] for command, _ in shown_commands(TEXTS["docs/cli.md"])}
    assert shown == {"plot", "table", "port"}


def written_commands() -> Iterator[tuple[str, str, str]]:
    """Yield page, command and arguments of every command line of jaxlr on the pages."""
    for name, text in TEXTS.items():
        for block in blocks(text, "sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                words = (
                    re.sub(r"\s#.*|\s--\s.*", "", line).removeprefix("$ ").removeprefix("srun .venv/bin/")
                )
                if match := re.match(r"(?:jaxlr (\w+)|scripts/train)\b(.*)", words):
                    yield name, match[1] or "train", match[2]


def test_every_flag_that_a_page_uses_exists(capsys):
    flags = {}
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "--help"])
        flags[command] = {*re.findall(r"(?<![\w-])--?[a-z][a-z-]*", capsys.readouterr().out)}
    commands = list(written_commands())
    assert len(commands) > 15
    for name, command, arguments in commands:
        assert command in COMMANDS, f"{name} uses jaxlr {command}, which does not exist"
        used = {*re.findall(r"(?<!\S)--?[a-z][a-z-]*", arguments)}
        assert used - flags[command] == set(), f"{name} uses flags that jaxlr {command} does not have"


JSON = [
    ("train", ["--epochs", "1", "--hidden", "4", "--validation-size", "99"]),
    (
        "sweep",
        ["--scheduler", "StepLR(1)", "--lr", "0.1", "--seeds", "1", "--epochs", "1", "--hidden", "4"],
    ),
    ("plot", ["StepLR(1)", "OneCycleLR(1, 9)", "--steps-per-epoch", "2"]),
    ("table", ["StepLR(1)"]),
    ("port", ["SGD(params, 0.1); StepLR(1)"]),
    ("verify", ["ExponentialLR(0.7)", f"{ROOT}/tests/logs/metrics.jsonl"]),
    ("fit", [f"{ROOT}/tests/logs/metrics.jsonl"]),
]


@pytest.mark.heavy
@pytest.mark.parametrize(("command", "flags"), JSON)
def test_the_json_of_a_command_has_the_keys_that_the_page_lists(
    command, flags, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    main([command, *flags, "--format", "json"])
    printed = capsys.readouterr().out
    keys = {re.sub("_(mean|std)$", "", key) for line in printed.splitlines() for key in json.loads(line)}
    (listed,) = re.findall(rf"^\| `{command}` \| (.*) \|$", TEXTS["docs/cli.md"], flags=re.MULTILINE)
    names = {*re.findall(r"`(\w+)`", listed)} - ({"step"} if command == "table" else set())
    assert keys == names


# Links and files


@pytest.mark.parametrize("name", NAMES)
def test_every_link_of_a_page_leads_to_a_file(name, figures):
    drawn = {figure.path for figure in figures.figures_of(TEXTS[name])}
    links = re.findall(r"\]\(([^)#\s]+)[^)]*\)", TEXTS[name])
    files = {link for link in links if "://" not in link} - drawn
    assert [link for link in files if not (ROOT / name).parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("name", pages_with(r"\]\[jaxlr\."))
def test_every_link_to_the_reference_names_something_public(name):
    for target in re.findall(r"\]\[jaxlr\.([\w.]+)\]", TEXTS[name]):
        module, _, function = f"jaxlr.{target}".rpartition(".")
        assert callable(getattr(importlib.import_module(module), function)), target
        assert entry(f"jaxlr.{target}"), f"{name} links to jaxlr.{target}, which no reference page has"


def test_the_site_has_every_page():
    navigation = (ROOT / "mkdocs.yml").read_text()
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")]
    missing = [page for page in pages if not re.search(rf"[ ]{re.escape(page)}$", navigation, re.MULTILINE)]
    assert missing == [], "these pages are not in the navigation of mkdocs.yml"


def test_the_architecture_names_every_folder_and_only_files_that_exist():
    page = TEXTS["docs/architecture.md"]
    table = "".join(re.findall(r"^\| .*? \|", page.split("\n## ")[0], flags=re.MULTILINE))
    folders = {
        path.parent.relative_to(ROOT / "jaxlr").as_posix() for path in (ROOT / "jaxlr").rglob("*.py")
    }
    assert {*re.findall(r"`([\w/]+)/`", table)} - {"jaxlr"} == folders - {"."}
    files = [
        path.as_posix() for folder in ("jaxlr", "scripts", "tests") for path in (ROOT / folder).rglob("*")
    ]
    named = {*re.findall(r"`((?:\w+/)*\w+\.py|scripts/\w+)`", page)}
    assert len(named) > 40
    assert [name for name in named if not any(file.endswith(f"/{name}") for file in files)] == []


@pytest.mark.parametrize("folder", ["jaxlr", "scripts"])
def test_every_module_says_in_its_first_line_what_it_is(folder):
    silent = [path for path in (ROOT / folder).rglob("*.py") if not path.read_text().startswith('"""')]
    assert silent == []


# The gallery and the reference


def entry(name: str) -> bool:
    """Return True if a page of the reference documents the function."""
    pages = [text for page, text in TEXTS.items() if page.startswith("docs/reference/")]
    return any(re.search(rf"^::: {re.escape(name)}$", text, flags=re.MULTILINE) for text in pages)


@pytest.mark.parametrize("schedule", [*SCHEDULES, "reduce_lr_on_plateau"])
def test_the_gallery_has_a_figure_of_every_schedule(schedule, figures):
    drawn = {figure.path: figure.code for figure in figures.figures_of(TEXTS["docs/gallery.md"])}
    path = f"figures/{schedule}.svg"
    assert path in drawn, (
        f"docs/gallery.md has no figure of {schedule}: add a heading, the code that draws it, "
        f"and an image {path} below it"
    )
    assert f"jaxlr.{schedule}(" in drawn[path], f"the code of {path} in docs/gallery.md does not call it"
    heading = rf"^### \[`{schedule}`\]\[jaxlr\.{schedule}\]$"
    assert re.search(heading, TEXTS["docs/gallery.md"], flags=re.MULTILINE), (
        f"docs/gallery.md has no heading that links {schedule} to its reference"
    )


@pytest.mark.parametrize("function", jaxlr.__all__)
def test_the_reference_has_an_entry_for_every_public_function(function):
    name = f"jaxlr.{function}"
    assert entry(name), (
        f"docs/reference/ does not document {function}: add ::: {name} to the page of its module"
    )
    assert f"][{name}]" in TEXTS["docs/reference/index.md"], (
        f"docs/reference/index.md does not list {function}"
    )


@pytest.mark.parametrize("name", pages_with(r"\]\(figures/"))
def test_the_figures_of_a_page_can_be_drawn(name, figures):
    listed = figures.figures_of(TEXTS[name])
    assert len(listed) == len(re.findall(r"\]\(figures/", TEXTS[name])), f"{name} has a figure without code"
    for figure in listed:
        drawn = figures.draw(figure)
        assert b"<svg" in drawn
        assert drawn.count(b'<g id="line2d_') > 4, f"{figure.path} shows no curve"
        assert len(drawn) < 100_000, f"{figure.path} is too large for a page"


# How the site is built


@pytest.fixture
def equations(monkeypatch):
    """Import the hook that renders equations."""
    pytest.importorskip("latex2mathml")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    return importlib.import_module("pages.equations")


def test_equations_become_mathml(equations):
    html = (
        r'<p>with <span class="arithmatex">\(x &lt; 1\)</span></p>'
        '\n<div class="arithmatex">\\[\n\\begin{cases} 0 &amp; \\text{if } x \\\\ 1 \\end{cases}\n\\]</div>'
    )
    rendered = equations.on_page_content(html)
    assert rendered.count("<math ") == 2
    assert 'display="inline"' in rendered
    assert 'display="block"' in rendered
    assert "arithmatex" not in rendered
    assert "<mtable" in rendered


@pytest.mark.parametrize(
    ("latex", "mathml"),
    [
        (r"\mathrm{lr}_0", "<msub><mrow><mi>lr</mi></mrow><mn>0</mn></msub>"),
        (r"\cos x", '<mi>cos</mi><mspace width="0.167em"/><mi>x</mi>'),
        (r"\sin^2 x", '<msup><mi>sin</mi><mn>2</mn></msup><mspace width="0.167em"/><mi>x</mi>'),
        (r"\cos(x)", '<mi>cos</mi><mo stretchy="false">&#x00028;</mo><mi>x</mi>'),
    ],
)
def test_words_and_functions_are_set_as_tex_sets_them(equations, latex, mathml):
    assert mathml in equations.as_mathml(latex, "inline")


def test_an_equation_with_an_unknown_command_fails(equations):
    with pytest.raises(ValueError, match=r"cannot render \\nonsense in the equation"):
        equations.on_page_content(r'<span class="arithmatex">\(\nonsense x\)</span>')


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="https://fonts.example/a.css">',
        "<img alt=x src=//images.example/a.png>",
    ],
)
def test_a_page_that_needs_a_network_fails(html, monkeypatch):
    pytest.importorskip("mkdocs")
    monkeypatch.syspath_prepend(ROOT / "scripts")
    offline = importlib.import_module("pages.offline")
    page = type("Page", (), {"file": type("File", (), {"src_uri": "index.md"})})
    own = '<script src="assets/a.js"></script><a href="https://example.org">a link is allowed</a>'
    assert offline.on_post_page(own, page) == own
    with pytest.raises(Exception, match="the site must work without a network"):
        offline.on_post_page(own + html, page)
