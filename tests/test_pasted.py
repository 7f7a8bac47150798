"""Lines as people paste them: scripts, prompts, functions and mappings, compared with live torch."""

import argparse
import bisect
import functools
import math
import re
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import HOST_RTOL, assert_close, assert_is_torchs, torch_curve

import jaxlr
from jaxlr.train.config import SweepConfig, TrainConfig


SEQUENCE = "SequentialLR(o, [LinearLR(o, 0.1, total_iters=5), CosineAnnealingLR(o, 30)], [5])"

# A pasted text, the constructor that torch evaluates, and the names.
PASTED: list[tuple[str, str, dict[str, Any]]] = [
    ("if colab:\n    !pip install x\nfiles = !ls\nmodel?\nStepLR(o, 3)", "StepLR(o, 3)", {}),
    ("n = %env N\nStepLR(o, n)", "StepLR(o, 3)", {"n": 3}),
    ("%matplotlib inline\n!pip install torch\ns = StepLR(opt, 3)\n%time", "StepLR(o, 3)", {}),
    ("TABLE = {'step': StepLR}\nTABLE.get('step')(opt, 3)", "StepLR(o, 3)", {}),
    ("TABLE = {'step': optim.StepLR}\nTABLE[kind](opt, 3)", "StepLR(o, 3)", {"kind": "step"}),
    ("f = partial(StepLR, step_size=3, gamma=0.5)\nf(opt, gamma=0.2)", "StepLR(o, 3, 0.2)", {}),
    ("n = 3\ndef f(o, n=n):\n    return StepLR(o, n)\nn = 9\ns = f(opt)", "StepLR(o, 3)", {}),
    (
        "s = StepLR(opt, 3)\nfor e in r:\n    if e > 0:\n        s.step()\n    train(e)",
        "StepLR(o, 3)",
        {},
    ),
    (
        "s = StepLR(opt, 3)\nfor i in r:\n"
        "    if (i + 1) % n == 0 or i >= end:\n        opt.step()\n        s.step()",
        "StepLR(o, 3)",
        {},
    ),
    (
        "s = StepLR(opt, 3)\nfor e in r:\n"
        "    if isinstance(s, Own):\n        s.step(x)\n    else:\n        s.step()",
        "StepLR(o, 3)",
        {},
    ),
    (
        "try:\n    from torch.optim.lr_scheduler import StepLR\nexcept ImportError:\n"
        "    from own import StepLR\ns = StepLR(opt, 3)",
        "StepLR(o, 3)",
        {},
    ),
    (
        # never called
        "def set_lr(o):\n    for g in o.param_groups:\n        g['lr'] = 1\ns = StepLR(opt, 3)",
        "StepLR(o, 3)",
        {},
    ),
    (">>> scheduler = StepLR(opt, 3)\n>>> scheduler.get_last_lr()\n[0.1]", "StepLR(o, 3)", {}),
    ("In [3]: scheduler = StepLR(opt, 3)", "StepLR(o, 3)", {}),
    ("Try this:\n```python\nStepLR(opt, 3)\n```\nIt works.", "StepLR(o, 3)", {}),
    ("`StepLR(opt, 3)`", "StepLR(o, 3)", {}),
    ("StepLR(opt,\u00a03)", "StepLR(o, 3)", {}),
    ("PolynomialLR(opt, 30, power=float(\u201c0.9\u201d))", "PolynomialLR(o, 30, 0.9)", {}),
    ("scheduler = StepLR(opt, 3)\nprint(scheduler)", "StepLR(o, 3)", {}),
    (
        "scheduler = StepLR(opt, 3)\nfor epoch in range(9):\n    train(epoch)\n    scheduler.step()",
        "StepLR(o, 3)",
        {},
    ),
    ("from torch.optim.lr_scheduler import StepLR as Decay\nDecay(opt, 3)", "StepLR(o, 3)", {}),
    ("kwargs = {'step_size': 3, 'gamma': 0.5}\nStepLR(opt, **kwargs)", "StepLR(o, 3, 0.5)", {}),
    ("StepLR(opt, **dict(step_size=3))", "StepLR(o, 3)", {}),
    ("args = (3, 0.5)\nStepLR(opt, *args)", "StepLR(o, 3, 0.5)", {}),
    ("getattr(torch.optim.lr_scheduler, 'StepLR')(opt, step_size=3)", "StepLR(o, 3)", {}),
    ("make = functools.partial(StepLR, step_size=3)\nscheduler = make(opt)", "StepLR(o, 3)", {}),
    ("partial(StepLR, step_size=3)", "StepLR(o, 3)", {}),
    ("cls = StepLR if args.step else ExponentialLR\ncls(opt, 3)", "StepLR(o, 3)", {"args.step": True}),
    ("{'a': StepLR, 'b': ExponentialLR}[kind](opt, 3)", "StepLR(o, 3)", {"kind": "a"}),
    ("StepLR(opt, 3) if kind == 'step' else CosineAnnealingLR(opt, 9)", "StepLR(o, 3)", {"kind": "step"}),
    (
        "main = CosineAnnealingLR(opt, total - warm)\n"
        "if warm > 0:\n"
        "    first = LinearLR(opt, 0.1, total_iters=warm)\n"
        "    scheduler = SequentialLR(opt, [first, main], milestones=[warm])\n"
        "else:\n"
        "    scheduler = main",
        SEQUENCE,
        {"total": 35, "warm": 5},
    ),
    (
        "parts, ends = [], []\n"
        "parts.append(LinearLR(opt, 0.1, total_iters=5))\n"
        "ends.append(5)\n"
        "parts += [CosineAnnealingLR(opt, 30)]\n"
        "SequentialLR(opt, parts, ends)",
        SEQUENCE,
        {},
    ),
    (
        "SequentialLR(opt, [LinearLR(opt, 0.1, total_iters=5)] + [CosineAnnealingLR(opt, 30)], [5])",
        SEQUENCE,
        {},
    ),
    (
        "parts = [StepLR(opt, n) for n in (3, 5)]\nSequentialLR(opt, parts, [4])",
        "SequentialLR(o, [StepLR(o, 3), StepLR(o, 5)], [4])",
        {},
    ),
    (
        "first = ExponentialLR(opt, 0.9)\nsecond = MultiStepLR(opt, [3, 8])",
        "ChainedScheduler([ExponentialLR(o, 0.9), MultiStepLR(o, [3, 8])])",
        {},
    ),
    ("StepLR(opt, args.step if args.step is not None else 3)", "StepLR(o, 3)", {"args.step": None}),
    (
        "MultiStepLR(opt, list(map(int, args.steps.split(','))))",
        "MultiStepLR(o, [3, 6])",
        {"args.steps": "3,6"},
    ),
    ("MultiStepLR(opt, [3, 6, 9][:2])", "MultiStepLR(o, [3, 6])", {}),
    ("MultiStepLR(opt, np.linspace(3, 9, 3).astype(int).tolist())", "MultiStepLR(o, [3, 6, 9])", {}),
    ("MultiStepLR(opt, list(np.arange(1, 4) * 3))", "MultiStepLR(o, [3, 6, 9])", {}),
    (
        "CosineAnnealingLR(opt, args.epochs)",
        "CosineAnnealingLR(o, 9)",
        {"args": argparse.Namespace(epochs=9)},
    ),
    (
        "CosineAnnealingLR(opt, cfg['epochs'])",
        "CosineAnnealingLR(o, 9)",
        {"cfg": {"epochs": 9, "out": object()}},
    ),
    ("CosineAnnealingLR(opt, 3 * len(loader))", "CosineAnnealingLR(o, 9)", {"loader": {1: 1, 2: 2, 3: 3}}),
    ("return {'optimizer': opt, 'lr_scheduler': {'scheduler': StepLR(opt, 3)}}", "StepLR(o, 3)", {}),
    ("def configure_optimizers(self):\n    return [opt], [StepLR(opt, 3)]", "StepLR(o, 3)", {}),
    ("{'_target_': 'torch.optim.lr_scheduler.StepLR', 'step_size': 3}", "StepLR(o, 3)", {}),
    (
        "{'class_path': 'torch.optim.lr_scheduler.StepLR', 'init_args': {'step_size': 3}}",
        "StepLR(o, 3)",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: {0: 1.0, 1: 0.1}[min(e // 10, 1)])",
        "LambdaLR(o, lambda e: 1.0 if e < 10 else 0.1)",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: 0.1 if any(e >= m for m in [5, 9]) else 1.0)",
        "LambdaLR(o, lambda e: 0.1 if e >= 5 else 1)",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: np.clip(1 - e / 10, 0.1, 1))",
        "LambdaLR(o, lambda e: min(max(1 - e / 10, 0.1), 1))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: 0.1 ** bisect.bisect_right([3, 6], e))",
        "LambdaLR(o, lambda e: 0.1 ** bisect.bisect_right([3, 6], e))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: np.interp(e, [0, 5, 20], [0, 1, 0.1]))",
        "LambdaLR(o, lambda e: np.interp(e, [0, 5, 20], [0, 1, 0.1]))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: np.where(e < 5, 1.0, 0.5))",
        "LambdaLR(o, lambda e: 1.0 if e < 5 else 0.5)",
        {},
    ),
    ("dict(type='StepLR', step_size=3, gamma=0.5)", "StepLR(o, 3, 0.5)", {}),
    ('{"type": "StepLR", "args": {"step_size": 3}}', "StepLR(o, 3)", {}),
    ('{"name": "StepLR", "params": {"step_size": 3}}', "StepLR(o, 3)", {}),
    ("lr_scheduler = {'class': StepLR, 'params': {'step_size': 3}}", "StepLR(o, 3)", {}),
    (
        '{"name": "Net", "optimizer": {"type": "Adam", "args": {"lr": 0.1, "amsgrad": true}}, '
        '"lr_scheduler": {"type": "StepLR", "args": {"step_size": 3}}, "seed": null}',
        "StepLR(o, 3)",
        {},
    ),
    ("optimizer = dict(type='SGD', lr=0.1)\nsched = dict(type='StepLR', step_size=3)", "StepLR(o, 3)", {}),
    ("type: StepLR\nstep_size: 3", "StepLR(o, 3)", {}),
    (
        "# the config\nscheduler:\n  _target_: torch.optim.lr_scheduler.CosineAnnealingLR\n"
        "  _partial_: true\n  T_max: ${trainer.max_epochs}\n  eta_min: 1e-4\n",
        "CosineAnnealingLR(o, 9, 1e-4)",
        {"trainer.max_epochs": 9},
    ),
    (
        "optimizer:\n  class_path: torch.optim.Adam\n  init_args:\n    lr: 0.1\n"
        "lr_scheduler:\n  class_path: torch.optim.lr_scheduler.StepLR\n  init_args:\n    step_size: 3",
        "StepLR(o, 3)",
        {},
    ),
    (
        "_target_: SequentialLR\nschedulers:\n  - _target_: LinearLR\n    start_factor: 0.1\n"
        "    total_iters: 5\n  - _target_: CosineAnnealingLR\n    T_max: 30\nmilestones: [5]",
        SEQUENCE,
        {},
    ),
    ("- _target_: torch.optim.lr_scheduler.StepLR\n  step_size: 3", "StepLR(o, 3)", {}),
    (
        "match kind:\n    case 'step' | 'steps':\n        s = StepLR(opt, 3)\n    case _:\n"
        "        s = ExponentialLR(opt, 0.9)",
        "StepLR(o, 3)",
        {"kind": "step"},
    ),
    (
        "s = {'step': StepLR(opt, 3), 'exp': ExponentialLR(opt, 0.9)}\ns = s['exp']",
        "ExponentialLR(o, 0.9)",
        {},
    ),
    (
        "table = {'step': (StepLR, {'step_size': 3})}\ncls, kwargs = table['step']\ncls(opt, **kwargs)",
        "StepLR(o, 3)",
        {},
    ),
    ("globals()['StepLR'](opt, 3)", "StepLR(o, 3)", {}),
    (
        "def train(model):\n    model.train()\n\ndef main(args):\n    s = StepLR(opt, args.n)\n"
        "    for e in r:\n        s.step()\n\nif __name__ == '__main__':\n    main(parser.parse_args())",
        "StepLR(o, 3)",
        {"args.n": 3},
    ),
    ("def main(n=3):\n    s = StepLR(opt, n)\n\nmain()\nprint('done')", "StepLR(o, 3)", {}),
    ("@hydra.main()\ndef main(cfg):\n    s = StepLR(opt, cfg.n)\n\nmain()", "StepLR(o, 3)", {"cfg.n": 3}),
    (
        "class Net(Module):\n    def forward(self, x):\n        return x\n\nclass Task(LightningModule):\n"
        "    def configure_optimizers(self):\n        return [opt], [self.scheduler()]\n"
        "    def scheduler(self):\n        return StepLR(opt, 3)\n\ntask = Task()\nprint(task)",
        "StepLR(o, 3)",
        {},
    ),
    ("with torch.no_grad() as _:\n    s = StepLR(opt, 3)", "StepLR(o, 3)", {}),
    ("try:\n    s = StepLR(opt, 3)\nexcept E:\n    raise\nfinally:\n    pass", "StepLR(o, 3)", {}),
    ("elif args.kind == 'step':\n    s = StepLR(opt, 3)", "StepLR(o, 3)", {"args.kind": "step"}),
    (
        "if isinstance(step, (list, tuple)):\n    n = step[-1]\nelse:\n    n = step\nStepLR(opt, n)",
        "StepLR(o, 3)",
        {"step": [2, 3]},
    ),
    ("if isinstance(step, str):\n    step = int(step)\nStepLR(opt, step)", "StepLR(o, 3)", {"step": 3}),
    ("if flag is True:\n    s = StepLR(opt, 3)", "StepLR(o, 3)", {"flag": True}),
    ("n = 9\nif flag is False:\n    n = 3\nStepLR(opt, n)", "StepLR(o, 9)", {"flag": 0}),
    (
        "if args.linear:\n    f = lambda e: 1 - e / 99\nelse:\n    f = cosine()\nLambdaLR(opt, f)",
        "LambdaLR(o, lambda e: 1 - e / 99)",
        {"args.linear": True},
    ),
    ("self.schedulers.append(StepLR(self.opt, 3))", "StepLR(o, 3)", {}),
    ("s = StepLR(opt, 3)\nmodel = train_model(model, loss, opt, s, epochs=9)", "StepLR(o, 3)", {}),
    ("'An example:\\n```\\nStepLR(opt, 7)\\n```'\nStepLR(opt, 3)", "StepLR(o, 3)", {}),
    ('"""\n```\nStepLR(opt, 7)\n```\n>>> StepLR(opt, 8)\n"""\nStepLR(opt, 3)', "StepLR(o, 3)", {}),
    ("lr_scheduler.__dict__[name](opt, 3)", "StepLR(o, 3)", {"name": "StepLR"}),
    ("MultiStepLR(opt, eval(args.steps))", "MultiStepLR(o, [3, 6])", {"args.steps": "[3, 6]"}),
    ("MultiStepLR(opt, list(filter(lambda m: m > 0, [0, 3, 6])))", "MultiStepLR(o, [3, 6])", {}),
    ("MultiStepLR(opt, np.cumsum([3, 3]))", "MultiStepLR(o, [3, 6])", {}),
    (
        "steps, k = [], 3\nwhile k < 9:\n    steps.append(k)\n    k += 3\nMultiStepLR(opt, steps)",
        "MultiStepLR(o, [3, 6])",
        {},
    ),
    ("MultiStepLR(opt, [3, 6] if not args.x else args.x)", "MultiStepLR(o, [3, 6])", {"args.x": None}),
    ("class Config:\n    step: int = 3\ncfg = Config()\nStepLR(opt, cfg.step)", "StepLR(o, 3)", {}),
    ("cfg = SimpleNamespace(step=3)\nStepLR(opt, cfg.step)", "StepLR(o, 3)", {}),
    ("kwargs = {}\nkwargs['step_size'] = 3\nStepLR(opt, **kwargs)", "StepLR(o, 3)", {}),
    ("kwargs = {'step_size': 3}\nkwargs.update(gamma=0.5)\nStepLR(opt, **kwargs)", "StepLR(o, 3, 0.5)", {}),
    ("kwargs = {'step_size': 3, 'x': 1}\nkwargs.pop('x')\nStepLR(opt, **kwargs)", "StepLR(o, 3)", {}),
    (
        "kwargs = {k: v for k, v in {'step_size': 3, 'gamma': None}.items() if v}\nStepLR(opt, **kwargs)",
        "StepLR(o, 3)",
        {},
    ),
    (
        "def build(optimizer, step=9):\n    return StepLR(optimizer, step)\ns = build(opt, step=3)",
        "StepLR(o, 3)",
        {},
    ),
    ("build = lambda optimizer: StepLR(optimizer, 3)\nbuild(opt)", "StepLR(o, 3)", {}),
    (
        "LambdaLR(opt, lambda e: next((f for m, f in [(5, 1.0), (10, 0.1)] if e < m), 0.01))",
        "LambdaLR(o, lambda e: 1.0 if e < 5 else 0.1 if e < 10 else 0.01)",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: 1 / max(m for m in [1, 5, 10] if m <= e + 1))",
        "LambdaLR(o, lambda e: 1 / (1 if e < 4 else 5 if e < 9 else 10))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: [0.1 ** sum(map(lambda m: e >= m, [5, 10])) for i in range(1)][0])",
        "LambdaLR(o, lambda e: 0.1 ** ((e >= 5) + (e >= 10)))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: 0.9 ** (e & 3) / (1 << min(e, 3)))",
        "LambdaLR(o, lambda e: 0.9 ** (e & 3) / (1 << min(e, 3)))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: np.float64(0.9) ** divmod(e, 3)[0])",
        "LambdaLR(o, lambda e: 0.9 ** (e // 3))",
        {},
    ),
    (
        "LambdaLR(opt, lambda e: {0: 1.0, 5: 0.5}.get(e, 0.25))",
        "LambdaLR(o, lambda e: {0: 1.0, 5: 0.5}.get(e, 0.25))",
        {},
    ),
    (
        "def rule(e, w, *, n):\n    return (e + 1) / w if e < w else (n - e) / (n - w)\n"
        "LambdaLR(opt, partial(rule, w=5, n=50))",
        "LambdaLR(o, lambda e: (e + 1) / 5 if e < 5 else (50 - e) / 45)",
        {},
    ),
    (
        "from math import cos as c\nimport numpy as n\nLambdaLR(opt, lambda e: c(e / 40) * n.exp(-e))",
        "LambdaLR(o, lambda e: np.cos(e / 40) * np.exp(-e))",
        {},
    ),
    (
        "def f(e):\n    out = [1.0, 0.0]\n    out[1] = 0.5\n    match e:\n        case 0: return out[0]\n"
        "    return out[1]\nLambdaLR(opt, f)",
        "LambdaLR(o, lambda e: 1.0 if e == 0 else 0.5)",
        {},
    ),
]


@pytest.mark.parametrize(("text", "constructor", "names"), PASTED, ids=range(len(PASTED)))
def test_pasted_text_gives_the_curve_of_torch(torch, text, constructor, names):
    expected = torch_curve(torch, lambda optimizer: construct(torch, constructor, optimizer), 40)
    schedule: Any = jaxlr.from_string(text, 0.1, names)
    assert_is_torchs(schedule(np.arange(40)), expected, HOST_RTOL)
    on_device = np.asarray(jax.jit(jax.vmap(schedule))(jnp.arange(40)))
    assert_close(np.where(expected > 1e-9, on_device, expected), expected, 1e-5)


def construct(torch: Any, text: str, optimizer: Any) -> Any:
    lr_scheduler = torch.optim.lr_scheduler
    scope = {name: getattr(lr_scheduler, name) for name in lr_scheduler.__all__}
    with warnings.catch_warnings(action="ignore"):
        return eval(text, scope | {"o": optimizer, "bisect": bisect, "np": np})


# A function and the names that it reads. The last one in the text is the rate, or a factor in a LambdaLR.
FUNCTIONS = [
    "def f(e):\n    return 1.0 - max(0, e - 10) / 60.0",
    """
def f(epoch):
    if epoch < 5:
        return (epoch + 1) / 5
    if epoch > 30:
        return 0.01
    progress = (epoch - 5) / 25
    assert 0 <= progress <= 1
    return 0.01 + 0.5 * (1.0 + math.cos(math.pi * progress)) * 0.99
""",
    """
def f(epoch):
    factor = 1.0
    for milestone in (3, 6, 20):
        if epoch >= milestone:
            factor *= 0.5
    return factor
""",
    """
def f(epoch):
    for end, factor in ((5, 1.0), (10, 0.1)):
        if epoch < end:
            return factor
    return 0.01
""",
    """
def f(epoch):
    for end in [5, 10, 15]:
        if epoch == 7:
            continue
        if epoch < end:
            break
    else:
        end = 100
    return 1 / end
""",
    """
def f(epoch):
    steps = {0: 1.0, 5: 0.5, 9: 0.25}
    chosen = 1.0
    for start in steps:
        chosen = steps[start] if epoch >= start else chosen
    return chosen
""",
    """
rates = [1 / (step + 1) for step in range(40)]
def f(epoch):
    look_up = rates.__getitem__
    return look_up(epoch) + rates.__getitem__(0)
""",
    """
warmup, total = 5, 40
def ramp(epoch, length=warmup):
    return (epoch + 1) / length
def f(epoch):
    def decay(x):
        return 1 - x
    return ramp(epoch) if epoch < warmup else decay((epoch - warmup) / total)
""",
]


@pytest.mark.parametrize("text", FUNCTIONS, ids=range(len(FUNCTIONS)))
def test_function_in_a_text_gives_the_values_of_python(text):
    scope: dict[str, Any] = {"math": math}
    exec(text, scope)
    expected = [scope["f"](epoch) for epoch in range(40)]
    factor: Any = jaxlr.from_string(f"{text}\nscheduler = LambdaLR(opt, lr_lambda=f)", 2.0)
    rate: Any = jaxlr.from_string(text)
    for schedule, base in ((factor, 2.0), (rate, 1.0)):
        wanted = base * np.asarray(expected)
        assert_close(schedule(np.arange(40)), wanted, HOST_RTOL)
        assert_close(jax.jit(jax.vmap(schedule))(jnp.arange(40)), wanted, 1e-5)


def test_loop_without_an_end_known_to_jax_is_tabulated_with_num_steps():
    text = "def f(e):\n    k = 0\n    while k * k < e:\n        k += 1\n    return 1 / (1 + k)"
    schedule: Any = jaxlr.from_string(text, num_steps=30)
    scope: dict[str, Any] = {}
    exec(text, scope)
    expected = [scope["f"](epoch) for epoch in range(30)]
    assert_close(jax.jit(jax.vmap(schedule))(jnp.arange(30)), expected, 1e-6)
    untabulated: Any = jaxlr.from_string(text)
    with pytest.raises(ValueError, match="JAX cannot trace the loop 'while k"):
        jax.jit(untabulated)(3)


def test_function_that_sets_the_rate_of_the_groups_is_the_rate():
    text = """
def adjust_learning_rate(optimizer, epoch, args):
    \"\"\"Decay the rate by 10 every 30 epochs.\"\"\"
    lr = args.lr * (0.1 ** (epoch // 30))
    for param_group in optimizer.param_groups:
        param_group["lr"] = lr
"""
    schedule: Any = jaxlr.from_string(text, names={"args.lr": 0.4})
    expected = 0.4 * 0.1 ** (np.arange(90) // 30)
    assert_close(schedule(np.arange(90)), expected, HOST_RTOL)


GROUPS = {
    "indices": """
    optimizer.param_groups[0]["lr"] = lr
    optimizer.param_groups[1]["lr"] = lr * 10""",
    "enumerate": """
    for i, group in enumerate(optimizer.param_groups):
        group["lr"] = lr * (10 if i else 1)""",
    "range": """
    optimizer.param_groups[0]["lr"] = lr
    for i in range(1, len(optimizer.param_groups)):
        optimizer.param_groups[i]["lr"] = lr * 10""",
    "break": """
    optimizer.param_groups[1]["lr"] = lr
    for group in optimizer.param_groups:
        group["lr"] = lr * 10
        break""",
    "growing": """
    for group in optimizer.param_groups:
        group["lr"] = lr
        lr = lr * 10""",
    "continue": """
    for group in optimizer.param_groups:
        group["lr"] = lr * 10
    for i, group in enumerate(optimizer.param_groups):
        if i == 1:
            continue
        group["lr"] = lr
        break""",
    "zip": """
    for group, scale in zip(optimizer.param_groups, [1, 10]):
        group["lr"] = lr * scale""",
}


@pytest.mark.parametrize("group", [0, 1])
@pytest.mark.parametrize("body", GROUPS.values(), ids=GROUPS)
def test_function_that_sets_other_rates_of_other_groups_gives_that_of_the_group(body, group):
    text = f"def adjust(optimizer, base_lr, max_iters, cur_iters):\n    lr = base_lr * cur_iters{body}"
    scope: Any = {}
    exec(text, scope)
    schedule: Any = jaxlr.from_string(text, 0.1, {"base_lr": 0.1, "max_iters": 50}, group=group)
    for count in range(30):
        optimizer = argparse.Namespace(param_groups=[{}, {}])
        scope["adjust"](optimizer, 0.1, 50, count)
        assert schedule(count) == pytest.approx(optimizer.param_groups[group]["lr"], rel=1e-12, abs=0)


KEPT = {
    "some epochs": """
    if epoch in [2, 4]:
        for group in optimizer.param_groups:
            group["lr"] = 0.05 / epoch""",
    "in place": """
    if epoch == 4:
        for group in optimizer.param_groups:
            group["lr"] /= 3
    elif epoch == 6:
        optimizer.param_groups[0]["lr"] *= 0.1
    else:
        return""",
    "read": """
    lr = optimizer.param_groups[0]["lr"] * 0.9
    for group in optimizer.param_groups:
        group["lr"] = lr
    return lr""",
    "read in the loop": """
    for group in optimizer.param_groups:
        lr = group["lr"]
        if epoch % 2 == 1:
            lr = lr * 0.5
        group["lr"] = lr""",
    "until an epoch": """
    if epoch > 5:
        return optimizer
    for group in optimizer.param_groups:
        group["lr"] = 0.1 * (1 - epoch / 6)""",
    "table": """
    lr_adjust = {2: 5e-5, 4: 1e-5, 6: 5e-6}
    if epoch in lr_adjust.keys():
        for group in optimizer.param_groups:
            group["lr"] = lr_adjust[epoch]""",
    "table of the epoch": """
    lr_adjust = {epoch: 0.1 * 0.5**epoch}
    if epoch in lr_adjust.keys():
        for group in optimizer.param_groups:
            group["lr"] = lr_adjust[epoch]""",
}


@pytest.mark.parametrize("body", KEPT.values(), ids=KEPT)
def test_function_that_keeps_or_scales_the_rate_is_called_for_each_epoch(body):
    text = f"def adjust(optimizer, epoch):{body}"
    with pytest.raises(ValueError, match="keeps or scales the rate of the epoch before: give num_steps"):
        jaxlr.from_string(text, 0.3)
    with pytest.raises(
        ValueError, match="does not set the learning rate of the optimizer: give init_value"
    ):
        jaxlr.from_string(text, num_steps=9)
    schedule: Any = jaxlr.from_string(text, 0.3, num_steps=9)
    scope: Any = {}
    exec(text, scope)
    optimizer = argparse.Namespace(param_groups=[{"lr": 0.3}])
    for epoch in range(9):
        scope["adjust"](optimizer, epoch)
        assert schedule(epoch) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=0)


def test_a_function_may_keep_the_rate_with_other_settings():
    text = """
def adjust(optimizer, epoch):
    rate = 0.1
    for milestone in [2, 4]:
        if epoch < milestone:
            break
        rate *= 0.5
    if args.kind == "step":
        table = {2: 0.3}
        if epoch in table:
            rate = table[epoch]
        else:
            return
    for group in optimizer.param_groups:
        group["lr"] = rate
"""
    schedule: Any = jaxlr.from_string(text, names={"args.kind": "all"})
    assert [schedule(epoch) for epoch in range(6)] == [0.1, 0.1, 0.05, 0.05, 0.025, 0.025]
    with pytest.raises(ValueError, match="keeps or scales the rate of the epoch before: give num_steps"):
        jaxlr.from_string(text, 0.2, names={"args.kind": "step"})
    schedule = jaxlr.from_string(text, 0.2, names={"args.kind": "step"}, num_steps=4)
    assert [schedule(epoch) for epoch in range(4)] == [0.2, 0.2, 0.3, 0.3]


def test_function_may_set_other_options_and_attributes_that_it_reads_only_later():
    text = """
def adjust(optimizer, epoch):
    cfg.rate = 0.1 * 0.5**epoch
    state["lr"] = cfg.rate
    for group in optimizer.param_groups:
        group["lr"] = state["lr"]
        group["weight_decay"] = wd * group["decay_mult"]
        print(group["lr"])
    return optimizer
"""
    schedule: Any = jaxlr.from_string(text)
    assert [schedule(epoch) for epoch in range(4)] == [0.1, 0.05, 0.025, 0.0125]
    for read in ("cfg.rate = cfg.rate * 0.5", "if epoch > 3:\n        cfg.rate = 0.1"):
        with pytest.raises(ValueError, match="its value depends on the number of calls"):
            jaxlr.from_string(text.replace("cfg.rate = 0.1 * 0.5**epoch", read), names={"cfg.rate": 0.1})


@pytest.mark.parametrize(
    ("parameters", "count"),
    [
        ("self, base_lr, epoch_num", "epoch_num"),
        ("base_lr, curEpoch, total", "curEpoch"),
        ("total, base_lr, k", "k"),
        ("i, epoch, total", "epoch"),
        ("optimizer, epoch, step", "epoch"),  # which its body alone reads
        ("base_lr, total_epochs, progress=1, epoch=0", "epoch"),
    ],
)
def test_the_count_is_the_parameter_that_its_name_or_names_tell(parameters, count):
    text = f"def get_lr({parameters}):\n    return args.x * 0.9 ** {count}"
    schedule: Any = jaxlr.from_string(text, None, {"total": 9, "total_epochs": 9, "args.x": 0.5})
    assert [schedule(epoch) for epoch in range(4)] == [0.5 * 0.9**epoch for epoch in range(4)]


@pytest.mark.parametrize(
    "parameters",
    ["optimizer, progress", "p", "optimizer, lr, wd, last_layer_lr", "factor", "loss", "total_steps"],
)
def test_a_parameter_whose_name_is_no_count_is_not_the_count(parameters):
    name = parameters.split(", ")[-1]
    text = f"def adjust({parameters}):\n    return 0.1 * (1 - {name})"
    with pytest.raises(
        ValueError, match="does not take the epoch: if one of its parameters is the epoch, call"
    ):
        jaxlr.from_string(text, names=dict.fromkeys(("lr", "last_layer_lr"), 0.1))
    schedule: Any = jaxlr.from_string(text.replace(name, "epoch"), names={"lr": 0.1, "last_layer_lr": 0.1})
    assert schedule(2) == -0.1


def test_the_count_among_two_is_asked_for():
    text = "def adjust(optimizer, epoch, step):\n    return 0.1 * 0.5 ** (epoch + step / 4)"
    with pytest.raises(ValueError, match=r"is the epoch, 'epoch' or 'step': .* names=\{'step': \.\.\.\}"):
        jaxlr.from_string(text)
    for names, rate in (({"step": 0}, 0.1 * 0.5**4), ({"epoch": 0}, 0.05)):
        schedule: Any = jaxlr.from_string(text, names=names)
        assert schedule(4) == rate


def test_rate_that_the_text_sets_is_used_and_not_contradicted():
    text = "optimizer = SGD([{'params': a}, {'params': b, 'lr': 0.5}], lr=0.01)\nStepLR(optimizer, 3)"
    for group, rate in ((0, 0.01), (1, 0.5)):
        for init_value in (None, rate):
            schedule: Any = jaxlr.from_string(text, init_value, group=group)
            assert schedule(0) == rate
        with pytest.raises(
            ValueError, match=rf"init_value is 0.2, but .* sets lr={rate}: leave init_value out"
        ):
            jaxlr.from_string(text, 0.2, group=group)
    with pytest.raises(ValueError, match="a traced value"):
        jax.jit(lambda lr: jaxlr.from_string(text, lr)(0))(0.1)  # pyright: ignore
    one_cycle: Any = jaxlr.from_string("o = SGD(p, 0.01)\nOneCycleLR(o, 0.3, 9)", 0.1)
    assert one_cycle(0) == pytest.approx(0.012)


def test_a_parameter_of_a_function_is_its_argument_and_no_variable_of_its_name():
    text = "def build(cfg):\n    size = cfg.size\n    return StepLR(opt, size)\ns = build(other)"
    schedule: Any = jaxlr.from_string(text, 0.1, {"cfg.size": 5, "other.size": 2})
    assert [schedule(epoch) for epoch in (1, 2)] == pytest.approx([0.1, 0.01])


def test_text_without_a_rate_needs_init_value():
    with pytest.raises(
        ValueError, match="does not set the learning rate of the optimizer: give init_value"
    ):
        jaxlr.from_string("StepLR(opt, 3)")
    text = "o = Adagrad(model.parameters())\nStepLR(o, 3)"
    with pytest.raises(ValueError, match=r"Adagrad without lr: give init_value, such as the default 0.01"):
        jaxlr.from_string(text)
    assert str(jaxlr.from_string(text, 0.01)) == "step_lr(0.01, step_size=3, gamma=0.1)"
    with pytest.raises(ValueError, match=r"give names=\{'args.lr': ...\}"):
        jaxlr.from_string("o = SGD(p, lr=args.lr)\nStepLR(o, 3)")


def test_advice_about_a_function_leads_to_the_right_value():
    text = "LambdaLR(opt, lambda e: f(e))"
    with pytest.raises(
        ValueError, match=r"give names=\{'f': ...\}, where 'f' is a function, or write 'def f"
    ):
        jaxlr.from_string(text, 0.1)
    with pytest.raises(ValueError, match=r"one value for 'f\(e\)', which depends on 'e'"):
        jaxlr.from_string(text, 0.1, {"f(e)": 0.5})
    for schedule in (
        jaxlr.from_string(text, 0.1, {"f": lambda e: 1 / (1 + e)}),
        jaxlr.from_string(f"def f(e):\n    return 1 / (1 + e)\n{text}", 0.1),
    ):
        rates: Any = schedule
        assert_close(rates(np.arange(9)), 0.1 / (1 + np.arange(9)), HOST_RTOL)


def test_python_function_is_tabulated_with_num_steps_and_else_refused_under_jit():
    def factor(epoch: int) -> float:
        return 1 - max(0, epoch - 5) / 20

    names = {"factor": factor}
    tabulated: Any = jaxlr.from_string("LambdaLR(o, factor)", 0.1, names, num_steps=24)
    expected = [0.1 * factor(epoch) for epoch in range(24)]
    assert_close(jax.jit(jax.vmap(tabulated))(jnp.arange(24)), expected, 1e-6)
    for text in ("LambdaLR(o, factor)", "LambdaLR(o, lambda e: factor(e))"):
        schedule: Any = jaxlr.from_string(text, 0.1, names)
        assert_close(schedule(np.arange(24)), expected, HOST_RTOL)
        with pytest.raises(ValueError, match="give num_steps, so that its values are tabulated"):
            jax.jit(schedule)(3)


STEPS = "s = StepLR(opt, 3)\nfor epoch in range(9):\n"
SETS = "def warm(o, e):\n    for g in o.param_groups:\n        g['lr'] = e\n"
REFUSED = [
    ("a = [StepLR(o, 3) for o in (f, g)]", "schedulers for each o of several"),
    (STEPS + "    if epoch >= 5:\n        s.step()", "it steps s only if epoch >= 5"),
    (STEPS + "    train()\n    if warm < epoch and ok:\n        s.step()", "only if warm < epoch and ok"),
    (STEPS + "    s.step()\n    s.step()", "it calls s.step() in several places"),
    (STEPS + "    for x in y:\n        s.step()\n    s.step()", "it calls s.step() in several places"),
    (STEPS + "    for i in y:\n        s.step(epoch + i / n)", "it counts parts of an epoch"),
    (STEPS + "    s.step()\n    s.gamma = 0.5", "it changes s.gamma, a setting of a scheduler"),
    ("t = StepLR(opt, 9)\n" + STEPS + "    for x in y:\n        t.step()\n    s.step()", "more often than"),
    (SETS + STEPS + "    warm(opt, epoch)\n    s.step()", "sets the learning rate by hand, in 'warm'"),
    (
        "class M:\n    def configure_optimizers(self):\n        return [opt], [StepLR(opt, 3)]\n"
        "    def optimizer_step(self, opt):\n        for g in opt.param_groups:\n            g['lr'] = 1",
        "sets the learning rate by hand, in 'optimizer_step'",
    ),
    (
        "def train_one(o):\n    w = LinearLR(o, 0.1)\n    w.step()\n"
        + STEPS
        + "    train_one(opt)\n    s.step()",
        "it calls train_one, which constructs LinearLR",
    ),
    ("LambdaLR(opt, partial(lambda e, n: e * n))", "a function must take one argument, the epoch"),
    ("class StepLR(LRScheduler):\n    pass\nStepLR(opt, 3)", "the text defines its own StepLR"),
    ("from own.rules import StepLR\nStepLR(opt, 3)", "StepLR is imported from 'own.rules', not from torch"),
    ("from . import rules as r\nr.StepLR(opt, 3)", "StepLR is imported from '.', not from torch"),
    (
        "try:\n    from own import StepLR\nexcept ImportError:\n"
        "    from torch.optim.lr_scheduler import StepLR\nStepLR(opt, 3)",
        "StepLR is imported from 'own', not from torch",
    ),
    (
        "from torch.optim.lr_scheduler import StepLR\nfrom own import StepLR\nStepLR(opt, 3)",
        "StepLR is imported from 'own', not from torch",
    ),
    (
        "try:\n    import own\n    from torch.optim.lr_scheduler import StepLR\n"
        "except ImportError:\n    from own import StepLR\nStepLR(opt, 3)",
        "StepLR is imported from 'own', not from torch",
    ),
    ("@gin\ndef f(o, n=3):\n    return StepLR(o, n)\nx = f(opt)", "the decorator 'gin' may change it"),
    ("opt = SGD(p, 0.1)\nopt.load_state_dict(x)\nStepLR(opt, 3)", "the learning rate by that of a check"),
    ("opt = SGD([{'params': p, 'initial_lr': 1}], 0.1)\nStepLR(opt, 3)", "the text sets initial_lr"),
    ("-s = StepLR(opt, 3)\n+s = StepLR(opt, 4)", "it looks like a diff, of which only one side"),
    (
        "scheduler = accelerator.prepare(StepLR(opt, 3))",
        "Accelerate steps the scheduler once per process",
    ),
    ("s = StepLR(opt, 3)\ns = wrap(s)", "the call 'wrap' around a scheduler"),
    ("s = StepLR(opt, 3)\ns.load_state_dict(x)", "it changes the scheduler"),
    ("s = StepLR(opt, 3)\ns.step()", "it changes the scheduler"),
    ("s = StepLR(opt, 3)\ns.gamma = 0.5", "it changes a StepLR after its construction"),
    ("opt.param_groups[0]['lr'] = 0.5\nStepLR(opt, 3)", "the text sets the learning rate by hand"),
    (
        "s = StepLR(opt, 3)\nfor g in opt.param_groups:\n    g['lr'] = 1",
        "it sets the learning rate by hand",
    ),
    ("a = StepLR(opt_a, 3)\nb = StepLR(opt_b, 5)", "schedulers for two optimizers, opt_a and opt_b"),
    ("s = LinearLR(opt)\ns = StepLR(opt, 3)", "replaces a LinearLR by another scheduler"),
    (
        "a = StepLR(o, 3)\nb = StepLR(o, 5)\n"
        "for e in x:\n    if e < 3:\n        a.step()\n    else:\n        b.step()",
        "it does not step all schedulers at once",
    ),
    (
        "try:\n    n = 3\nexcept E:\n    n = 4\nStepLR(opt, n)",
        "cannot read 'n = 4', which assigns a name that is used later",
    ),
    (
        "try:\n    s = StepLR(opt, 3)\nexcept E:\n    s = StepLR(opt, 4)",
        "write the call of StepLR outside of it",
    ),
    ("async def f():\n    s = StepLR(opt, 3)", "write the call of StepLR outside of it"),
    ("{'scheduler': StepLR(opt, 3), 'frequency': 2}", "'frequency': 2: set it to 1, and stretch"),
    ("dict(type='LinearLR', by_epoch=False, begin=0, end=5)", "with 'by_epoch': it is MMEngine's"),
    ("dict(type='LinearLR', start_factor=0.1)", "it is 5 in torch, but endless in MMEngine"),
    ("m = [3]\nextend_it(m)\nMultiStepLR(opt, m)", "'extend_it(m)', which may change a list or mapping"),
    (
        "m = [3]\nwith suppress(E):\n    m.append(f())\nMultiStepLR(opt, m)",
        "which may change a list or mapping",
    ),
    ("a = [StepLR(o, 3), StepLR(o, 5)]\ns = a[0]", "the text picks one scheduler of a list"),
    (
        "n = 0\ndef f(e):\n    global n\n    n += 1\n    return 1 / n\nLambdaLR(opt, f)",
        "depends on the number of calls",
    ),
    (
        "h = []\ndef f(e):\n    h.append(e)\n    return 1 / len(h)\nLambdaLR(opt, f)",
        "depends on the number of calls",
    ),
    (
        "def f(e, h=[]):\n    h.append(e)\n    return 1 / len(h)\nLambdaLR(opt, f)",
        "depends on the number of calls",
    ),
    ("LambdaLR(opt, lambda e: 1 if e in 4 else 0.5)", "'e in 4': 4 is no list, dict or text"),
    ("make_it('linear', opt)", "unknown scheduler 'make_it': the known ones are"),
    (
        "s = StepLR(opt, 3)\nopt.register_step_post_hook(f)",
        "it changes an optimizer after its construction",
    ),
    ("with a:\n    s = StepLR(opt, 3)\n    s.step()", "it changes the scheduler"),
    ("def a():\n    StepLR(opt, 3)\ndef b():\n    StepLR(opt, 4)", "in several functions, 'a' and 'b'"),
    ("if 1 > 2:\n    s = StepLR(opt, 3)", "constructs no scheduler for these names: no branch"),
    ("def train(model):\n    opt = SGD(p, 0.1)\n    opt.step()", "SGD is an optimizer: convert it with"),
    ("opt = SGD(p, 0.1)\nprint(opt)", "SGD is an optimizer: convert it with"),
    ("opt = SGD(p, 0.1)\ns = Eden(opt)\nw = WarmupEden(opt)", "unknown scheduler 'WarmupEden'"),
    ("class OwnLR(LRScheduler):\n    def get_lr(self):\n        return [1]", "unknown scheduler 'OwnLR'"),
    ("def build_hooks(self):\n    return []", "its function 'build_hooks' does not take the epoch"),
    (
        "def set_lr(opt, new_lr):\n    for g in opt.param_groups:\n        g['lr'] = new_lr",
        "take the epoch",
    ),
    ("def get_lr(k, total):\n    return k / total", "names={'total': ...}"),
    (
        "def set_lr(opt, epoch):\n    opt.param_groups[-1]['lr'] = epoch",
        "cannot read 'opt.param_groups[-1]': its index is not known: count the groups from 0",
    ),
    ("LambdaLR(opt, lr_lambda=factor)", "{'factor': ...}, where 'factor' is a function"),
    ("CyclicLR(opt, **cfg.cyclic)", "write the arguments out, or give names={'cfg.cyclic': {...}}"),
    (
        "if args.linear:\n    f = lambda e: 1.0\nLambdaLR(opt, f)",
        "names={'args.linear': ...}",
    ),
    (
        "optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD'))",
        "it is MMEngine's. Give its opt",
    ),
    ("def f(e):\n    return f(e)\nLambdaLR(opt, f)", "call each other too deeply"),
]


def test_rate_of_an_added_group_is_not_guessed():
    text = "opt = SGD(p, 0.1)\nopt.add_param_group({'params': q, 'lr': 0.5})\nStepLR(opt, 3)"
    assert jaxlr.from_string(text)(0) == 0.1
    with pytest.raises(ValueError, match="the text adds parameter groups"):
        jaxlr.from_string(text, group=1)


@pytest.mark.parametrize(
    "groups",
    [
        "groups = [{'params': [p], 'lr': 0.5} for p in ps]\n",
        "groups = []\nfor p in ps:\n    groups.append({'params': [p], 'lr': 0.5})\n",
        "def own(m):\n    return [dict(params=m.a, lr=0.5), dict(params=m.b)]\ngroups = own(model)\n",
    ],
)
def test_rate_of_groups_that_are_not_shown_is_not_that_of_the_optimizer(groups):
    text = groups + "opt = SGD(groups, lr=0.1)\ns = StepLR(opt, 3)"
    with pytest.raises(
        ValueError, match="the groups of the SGD may have rates of their own: give init_value"
    ):
        jaxlr.from_string(text)
    assert jaxlr.from_string(text, 0.5)(0) == 0.5


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=range(len(REFUSED)))
def test_text_that_cannot_be_followed_is_refused_by_its_construct(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jaxlr.from_string(text, 0.1)


SIMSIAM = """
def adjust_learning_rate(optimizer, init_lr, epoch, args):
    cur_lr = init_lr * 0.5 * (1. + math.cos(math.pi * epoch / args.epochs))
    for param_group in optimizer.param_groups:
        if 'fix_lr' in param_group and param_group['fix_lr']:
            param_group['lr'] = init_lr
        else:
            param_group['lr'] = cur_lr
"""


def test_a_setting_that_some_groups_have_is_asked_for():
    names = {"init_lr": 0.1, "args.epochs": 20}
    with pytest.raises(ValueError, match=r"give names=\{'param_group': "):
        jaxlr.from_string(SIMSIAM, 0.1, names)
    for group, rate in (({}, 0.05), ({"fix_lr": False}, 0.05), ({"fix_lr": True}, 0.1)):
        schedule: Any = jaxlr.from_string(SIMSIAM, 0.1, {**names, "param_group": group})
        assert schedule(10) == pytest.approx(rate)


def test_objects_in_names_are_read_without_running_their_code():
    class Settings:
        @property
        def epochs(self) -> int:
            raise AssertionError("the property was called")

    with pytest.raises(ValueError, match="has no such attribute"):
        jaxlr.from_string("CosineAnnealingLR(o, args.epochs)", 0.1, {"args": Settings()})
    with pytest.raises(ValueError, match="has no such attribute"):
        jaxlr.from_string("StepLR(o, args.__class__)", 0.1, {"args": functools.partial(int)})


def test_train_and_sweep_take_the_names_of_their_schedulers():
    config = TrainConfig.from_flags(scheduler="StepLR(opt, step_size=n)", names=["n=2"], lr=0.5)
    schedule: Any = config.schedule.build(num_steps=5)
    assert [schedule(epoch) for epoch in (1, 2)] == pytest.approx([0.5, 0.05])
    sweep = SweepConfig.from_flags(scheduler=["StepLR(opt, step_size=n)"], names=["n=2"])
    assert {run.schedule.names for run in sweep.single_runs()} == {("n=2",)}
    with pytest.raises(ValueError, match=r"give --names n=\.\.\."):
        TrainConfig.from_flags(scheduler="StepLR(opt, step_size=n)")
    text = "o = SGD(p, lr=0.5)\nStepLR(o, 3)"
    assert TrainConfig.from_flags(scheduler=text).schedule.lr == 0.5
    with pytest.raises(ValueError, match=r"--lr is 0.1, but .* sets lr=0.5: give --lr 0.5"):
        TrainConfig.from_flags(scheduler=text, lr=0.1)


@pytest.mark.parametrize(
    "text",
    [
        "AdamW(params, lr=3e-4); StepLR(30)",
        "torch.optim.SGD(model.parameters(), 3e-4)\nStepLR(optimizer, 30)",
        "opt = accelerator.prepare(Adam(params, lr=3e-4))\nStepLR(opt, 30)",
    ],
)
def test_rate_of_the_only_optimizer_is_that_of_a_scheduler_that_does_not_name_it(text):
    assert jaxlr.from_string(text)(0) == 3e-4
    with pytest.raises(ValueError, match=r"the scheduler's text sets lr=0.0003"):
        jaxlr.from_string(text, 0.1)


@pytest.mark.parametrize(
    "line",
    [
        "warmup = WarmUpLR(optimizer, iter_per_epoch * args.warm)",
        "scheduler2 = MyScheduler(optimizer=optimizer)",
        "if True:\n    self.warmup = WarmupPolyScheduler(optimizer, 3)",
    ],
)
@pytest.mark.parametrize("is_first", [True, False])
def test_an_unknown_scheduler_of_the_same_optimizer_is_refused(line, is_first):
    known = "scheduler = MultiStepLR(optimizer, milestones=[60, 120], gamma=0.2)"
    text = f"{line}\n{known}" if is_first else f"{known}\n{line}"
    with pytest.raises(ValueError, match="whose rates are not known"):
        jaxlr.from_string(text, 0.1)


@pytest.mark.parametrize(
    "line",
    [
        "warmup = WarmUpLR(other, 10)",
        "rate = get_lr(optimizer)",
        "model, optimizer = amp.initialize(model, optimizer)",
        "if args.warmup == 'gradual':\n    scheduler = WarmUpLR(optimizer, 10)",
    ],
)
def test_calls_that_are_no_second_scheduler_are_read(line):
    text = f"{line}\nscheduler = StepLR(optimizer, 30)"
    assert jaxlr.from_string(text, 0.1, names={"args.warmup": "none"})(30) == jaxlr.step_lr(0.1, 30)(30)
