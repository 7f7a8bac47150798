"""Python configs, read by their syntax: statements, bases, and what is never guessed."""

import time
from pathlib import Path
from typing import Any

import pytest

import jaxlr
from jaxlr.frameworks import mmpython
from jaxlr.frameworks.recipe import Unreadable


def values_of(text: str) -> dict[str, Any]:
    return mmpython.read(text, None)


READ = {
    "a = 1\nb = [a, -a, +a, 2 * a + 3 - 4 / 2 // 1 % 5 ** 1]": [1, -1, 1, 3.0],
    "b = dict(x=1, **dict(y=2))": {"x": 1, "y": 2},
    "c = dict(x=1)\nb = dict(c, y=2)\nc.update(x=3)": {"x": 1, "y": 2},
    "c = dict(x=1)\nb = {'z': 0, **c}": {"z": 0, "x": 1},
    "b = [dict(x=n * 2) for n in range(3)]": [{"x": 0}, {"x": 2}, {"x": 4}],
    "b = [m * 4 for m in [1, 2]] + [9] * 2": [4, 8, 9, 9],
    "b = [a + c for a, c in [(1, 2), (3, 4)]]": [3, 7],
    "a, (c, d) = 1, (2, 3)\nb = a + c + d": 6,
    "b = 1\nb += 2": 3,
    "b = dict(x=dict(y=1, z=2))\nb['x'].y = 5\ndel b.x['z']": {"x": {"y": 5}},
    "b = [1]\nb.append(2)\nb.extend([3, 4])\nb.insert(0, 0)\nb.pop()": [0, 1, 2, 3],
    "b = dict(x=dict(y=1))\nb.merge(dict(x=dict(z=2)))\nb.pop('w', None)": {"x": {"y": 1, "z": 2}},
    "b = dict(x=dict(y=1))\nb.update(dict(x=dict(_delete_=True, z=2)))": {"x": {"z": 2}},
    "warmup = dict(end=1)\nb = [warmup]\nwarmup.update(end=5)": [{"end": 5}],
    "import copy\na = dict(x=1)\nb = copy.deepcopy(a)\na['x'] = 2": {"x": 1},
    "b = max(3, len([1, 2]), int(4.7), round(2.5), abs(-1))": 4,
    "b: int = 3": 3,
    "a = 'x'\nb = a + '/y.py'": "x/y.py",
    "b = [1, 2, 3][-1]": 3,
    "b = L(torch.optim.SGD)(lr=1)": {"_target_": "SGD", "lr": 1},
}


@pytest.mark.parametrize("text", READ)
def test_a_statement_is_read(text):
    assert values_of(text)["b"] == READ[text]


UNREAD = [
    "b = 1\nfor i in range(3):\n    b = b + i",
    "b = 1\nif True:\n    b = 2",
    "b = dict(x=1)\nfor i in range(3):\n    b['x'] = i",
    "b = dict(x=1)\nfor i in range(3):\n    b.update(x=i)",
    "b = dict(x=1)\nchange(b)",
    "b = dict(x=1)\nb.clear()",
    "b = dict(x=1)\nb.update(**c)",
    "b = [1]\nb[f(0)] = 3",
    "b = [1]\nb[5] = 3",
    "b = [1]\nwith open('x') as f:\n    b[0] = 2",
    "def b():\n    pass\nb = b()",
    "b = [n for n in [1, 2] if n > 1]",
    "b = f'{1}'",
    "b = [1] * 100_000",
    "b = range(10 ** 9)",
    "b = lambda: 3",
    "b = 1 / 0",
    "b, c = 1",
    "b = [1][7]",
    "b = max(3)",
]


@pytest.mark.parametrize("text", UNREAD)
def test_what_a_statement_may_change_becomes_unreadable(text):
    assert isinstance(values_of(text)["b"], Unreadable)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    return folder / "child.py"


def test_the_values_of_a_base_can_be_used_changed_and_deleted(tmp_path):
    base = "epochs = 12\nparam_scheduler = [dict(end=1), dict(end=epochs)]\nmodel = dict(a=1, b=dict(c=2))"
    other = "runner = dict(max_epochs=3, type='x')"
    child = """
_base_ = ['base.py', './other.py']
epochs = _base_.epochs * 2
param_scheduler = _base_.param_scheduler
param_scheduler[1].update(end={{_base_.epochs}})
text = '{{_base_.epochs}}'
model = dict(b=dict(_delete_=True, d=3))
runner = dict(max_epochs=6)
_base_['model']['a'] = 7
"""
    values = mmpython.read(child, write(tmp_path, base=base, other=other, child=child))
    assert values["param_scheduler"] == [{"end": 1}, {"end": 12}]
    assert (values["epochs"], values["text"]) == (24, 12)
    assert values["model"] == {"a": 7, "b": {"d": 3}}
    assert values["runner"] == {"max_epochs": 6, "type": "x"}
    values = mmpython.read("_base_ = 'base.py'\ndel _base_.model", tmp_path / "child.py")
    assert [*values] == ["epochs", "param_scheduler"]
    values = mmpython.read("_base_ = 'base.py'\n_base_.model.f()", tmp_path / "child.py")
    assert isinstance(values["model"], Unreadable)
    assert values["epochs"] == 12


def test_a_base_that_is_imported_is_read(tmp_path):
    child = (
        "from mmengine.config import read_base\nwith read_base():\n    from .base import *\n\nepochs *= 2"
    )
    path = write(tmp_path, base="epochs = 12\noptim = dict(lr=1)", child=child)
    assert mmpython.read(child, path) == {"epochs": 24, "optim": {"lr": 1}}
    child = "from .base import optim as optimizer\nfrom .missing import x\noptimizer.lr = 3"
    assert mmpython.read(child, path) == {"optimizer": {"lr": 3}}


BASES = {
    "_base_ = 'missing.py'": "cannot read the _base_ file '.*missing.py': No such file",
    "_base_ = 'child.py'": "the _base_ files include each other",
    "_base_ = '/etc/base.py'": "cannot read the _base_ '/etc/base.py': give a relative path",
    "_base_ = f'{x}.py'": r"cannot read the _base_ .*\{x\}.py.*: give a relative path, or leave it out if",
    "_base_ = 'mmdet::_base_/default_runtime.py'": "cannot read the _base_ 'mmdet::",
    "_base_ = f()": "cannot read the _base_",
    "_base_ = 'base.txt'": "the _base_ file 'base.txt' must be a Python config",
    "with read_base():\n    from .missing import *": "cannot read the _base_ file '.*missing.py'",
}


@pytest.mark.parametrize("text", BASES)
def test_a_base_that_cannot_be_read_is_named(text, tmp_path):
    with pytest.raises(ValueError, match=BASES[text]):
        mmpython.read(text, write(tmp_path, child=text))


def test_a_text_with_a_base_asks_for_its_path():
    with pytest.raises(
        ValueError, match=r"inherits from '../a.py': give the path of its file, not its text"
    ):
        jaxlr.from_config("_base_ = '../a.py'\nlr_config = dict(policy='step', step=[3])\n")
    with pytest.raises(ValueError, match="inherits by read_base: give the path of its file"):
        jaxlr.from_config("with read_base():\n    from .a import *\nlr_config = dict(policy='step')\n")


HOSTILE = {
    "a list that doubles": "a = [1]\n" + "a = a + a\n" * 60,
    "a list of lists that doubles": "a = [1]\n" + "a = [a, a]\n" * 60,
    "a mapping in itself": "a = dict(b=1)\n" + "a['c'] = a\n" * 60,
    "a deep mapping": "a = 1\n" + "a = dict(a=a)\n" * 3000,
    "nested comprehensions": "a = [[[0 for k in range(9999)] for j in range(9999)] for i in range(9999)]",
    "a deep call": "a = " + "f(" * 90 + ",".join(["x"] * 40_000) + ")" * 90,
    "a large power": "a = 9 ** 9 ** 9 ** 9",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_config_is_one_clear_line_in_bounded_time(name):
    start = time.perf_counter()
    with pytest.raises(
        ValueError, match=r"too many values|nested too deeply|no known framework|at most"
    ) as error:
        jaxlr.from_config(HOSTILE[name])
    assert time.perf_counter() - start < 3
    assert "\n" not in str(error.value)
