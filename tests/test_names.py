"""The values of names that a script has at hand: a Namespace, a dict, `vars(args)`, a loader."""

import argparse
import dataclasses
import types
from typing import Any

import numpy as np
import pytest

import jaxlr


ARGS = argparse.Namespace(epochs=90, milestones=(30, 60), out=None, device=object())
LOOP: list[Any] = []
LOOP.append(LOOP)
untyped: Any = jaxlr


class Loader:
    def __len__(self) -> int:
        return 391


class Untouchable:
    """An object that raises an error wherever it is touched."""

    def _refuse(self, *_: Any) -> Any:
        raise AssertionError("looked at")

    __getattr__ = __len__ = __iter__ = __eq__ = __float__ = __repr__ = __hash__ = _refuse


@dataclasses.dataclass
class Settings:
    epochs: int = 90
    model: Any = dataclasses.field(default_factory=lambda: types.SimpleNamespace(steps=[5, 7]))


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("StepLR(opt, args.epochs // 3)", {"args": ARGS}, "step_lr(0.1, step_size=30"),
        ("StepLR(opt, args.epochs // 3)", {"args": vars(ARGS)}, "step_lr(0.1, step_size=30"),
        ("StepLR(opt, args['epochs'] // 3)", {"args": vars(ARGS)}, "step_lr(0.1, step_size=30"),
        ("StepLR(opt, args.epochs // 3)", vars(ARGS), "step_lr(0.1, step_size=30"),
        ("StepLR(opt, args['epochs'] // 3)", vars(ARGS), "step_lr(0.1, step_size=30"),
        ("StepLR(opt, self.args.epochs // 3)", vars(ARGS), "step_lr(0.1, step_size=30"),
        ("StepLR(opt, epochs // 3)", vars(ARGS), "step_lr(0.1, step_size=30"),
        ("StepLR(opt, args.epochs // 3)", ARGS, "step_lr(0.1, step_size=30"),
        ("StepLR(opt, hparams.epochs // 3)", ARGS, "step_lr(0.1, step_size=30"),
        ("MultiStepLR(opt, args.milestones)", ARGS, "milestones=[30, 60]"),
        ("StepLR(opt, cfg.model.steps[0])", {"cfg": Settings()}, "step_size=5"),
        ("StepLR(opt, cfg.model.steps[0])", Settings(), "step_size=5"),
        ("StepLR(opt, len(loader))", {"loader": Loader()}, "step_size=391"),
        ("StepLR(opt, len(self.loader) // 3)", {"self": types.SimpleNamespace(loader=Loader())}, "=130"),
        ("StepLR(opt, len(loaders['train']))", {"loaders": {"train": Loader()}}, "step_size=391"),
        ("StepLR(opt, **kw)", {"kw": {"step_size": np.int64(3)}}, "step_size=3"),
        ("MultiStepLR(opt, **{**kw, 'gamma': 0.5})", {"kw": {"milestones": (3, 4)}}, "milestones=[3, 4]"),
        ("LambdaLR(opt, lambda e: 1 - e / args.epochs)", ARGS, "lambda e: 1 - e / 90"),
        ("LambdaLR(opt, lambda e: 1 - e / len(loader))", {"loader": Loader()}, "lambda e: 1 - e / 391"),
    ],
)
def test_names_are_what_a_script_has_at_hand(text, names, expected):
    assert expected in repr(untyped.from_string(text, 0.1, names))


@pytest.mark.parametrize(
    "names",
    [
        {"n": 3, "model": Untouchable(), "loop": LOOP, "images": np.zeros((1000, 1000)), "lambda": 1},
        {"n": 3, "unused": {"model": Untouchable(), "loop": LOOP}},
        argparse.Namespace(n=3, model=Untouchable(), loop=LOOP),
    ],
)
def test_values_that_are_not_needed_are_not_looked_at(names):
    assert repr(untyped.from_string("StepLR(opt, n)", 0.1, names)) == "step_lr(0.1, step_size=3, gamma=0.1)"
    assert jaxlr.port("StepLR(opt, n)", 0.1, names) == "jaxlr.step_lr(0.1, step_size=3)"
    lr_lambda = jaxlr.port("LambdaLR(opt, lambda e: 1 / (n + e))", 0.1, names)
    assert lr_lambda == "jaxlr.lambda_lr(0.1, lr_lambda=lambda e: 1 / (3 + e))"


def test_other_values_of_a_namespace_are_not_looked_at():
    holder = argparse.Namespace(n=3, model=Untouchable(), loop=LOOP)
    for names in ({"args": holder}, {"args": vars(holder)}):
        assert "step_size=3" in repr(jaxlr.from_string("StepLR(opt, args.n)", 0.1, names))


def test_an_object_that_changes_later_does_not_change_the_schedule():
    args, loader = argparse.Namespace(epochs=4), [1, 2]
    text = "LambdaLR(opt, lambda e: (1 - e / args.epochs) / len(loader))"
    schedule = jaxlr.from_string(text, 1.0, {"args": args, "loader": loader})
    args.epochs = 100
    loader.append(3)
    assert schedule(1) == 0.375
    assert "lambda e: (1 - e / 4) / 2" in repr(schedule)


def test_a_tensor_is_a_number(torch):
    names = {"n": torch.tensor(3), "args": argparse.Namespace(gamma=torch.tensor(0.5))}
    assert "step_size=3, gamma=0.5" in repr(jaxlr.from_string("StepLR(opt, n, args.gamma)", 0.1, names))
    loader = torch.utils.data.DataLoader(list(range(100)), batch_size=8)
    assert "step_size=13" in repr(jaxlr.from_string("StepLR(opt, len(loader))", 0.1, {"loader": loader}))


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("StepLR(opt, epochs + args.epochs)", {"epochs": 3}, "one value for 'epochs' and 'args.epochs'"),
        ("StepLR(opt, cfg.n + args.n)", {"n": 3}, "one value for 'cfg.n' and 'args.n'"),
        ("StepLR(opt, model.epochs)", {"epochs": 3}, r"give names=\{'model.epochs': ...\}"),
        ("StepLR(opt, args.steps)", ARGS, r"give names=\{'args.steps': ...\}"),
        ("StepLR(opt, args.n)", {"args": {"n": LOOP}}, "nested too deeply"),
        ("StepLR(opt, len(loader))", {"loader": object()}, r"has no len\(\)"),
        ("StepLR(opt, 3)", 3, "names must map names to values"),
        ("StepLR(opt, 3)", print, "names must map names to values"),
        ("StepLR(opt, 3)", np, "names must map names to values"),
    ],
)
def test_an_ambiguous_or_a_wrong_value_is_refused(text, names, message):
    with pytest.raises((ValueError, TypeError), match=message):
        untyped.from_string(text, 0.1, names)


def test_a_config_takes_them_too():
    config = {"lr_scheduler_type": "linear", "max_steps": 10}
    names = argparse.Namespace(learning_rate=0.1, model=Untouchable())
    assert untyped.from_config(config, names=names).schedule(5) == 0.05
