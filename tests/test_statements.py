"""Scripts with loops, functions and lists that change: real torch runs the same text."""

import pytest
import torch
from torch.optim import SGD, lr_scheduler

from jaxlr import from_string


NUM_EPOCHS = 12
# Texts with the rates of torch.
READ = {
    "for else": """
ls = []
g = 0.1
for m in [3, 6, 9]:
    ls.append(m)
else:
    g = 0.5
scheduler = StepLR(opt, 3, g)
""",
    "class attr set 2": """
class C:
    g = 0.1
C.g = 0.5
c = C()
scheduler = StepLR(opt, 3, c.g)
""",
    "dict attr": """
from types import SimpleNamespace
c = SimpleNamespace(g=0.1)
c.g = 0.5
d = c
scheduler = StepLR(opt, 3, d.g)
""",
    "ns alias": """
from types import SimpleNamespace
c = SimpleNamespace(g=0.1)
d = c
d.g = 0.5
scheduler = StepLR(opt, 3, c.g)
""",
    "builder name reassigned": """
def build(g): return StepLR(opt, 3, g)
def other(g): return StepLR(opt, 6, g)
build = other
scheduler = build(0.1)
""",
    "nested append": """
d = {"a": [3]}
d["a"].append(6)
scheduler = MultiStepLR(opt, d["a"])
""",
    "nested append alias": """
x = [3]
d = {"a": x}
d["a"].append(6)
scheduler = MultiStepLR(opt, x)
""",
    "arg evaluated late": """
g = 0.5
def build(x):
    g = 0.1
    return StepLR(opt, 3, x)
scheduler = build(g)
""",
    "substitution captured": """
g = 0.5
h = 0.1
def build(x):
    g = h
    return StepLR(opt, 3, x)
scheduler = build(g)
""",
    "closure of builder": """
def build(x):
    def f(e): return x ** e
    x = 0.5
    return LambdaLR(opt, f)
scheduler = build(0.1)
""",
    "closure var after return": """
g = 0.5
def build():
    g = 0.1
    return LambdaLR(opt, lambda e: g ** e)
scheduler = build()
""",
    "closure def after return": """
g = 0.5
def build():
    g = 0.1
    def f(e): return g ** e
    return LambdaLR(opt, f)
scheduler = build()
""",
    "closure in builder": """
def build(opt, total):
    w = total // 10
    return LambdaLR(opt, lambda e: 1 / (1 + e / w))
scheduler = build(opt, 30)
""",
    "closure def in builder": """
def build(opt, total):
    w = total // 10
    def f(e):
        return 1 / (1 + e / w)
    return LambdaLR(opt, f)
scheduler = build(opt, 30)
""",
    "closure late global in builder": """
g = 0.1
def build():
    return LambdaLR(opt, lambda e: g ** e)
scheduler = build()
g = 0.5
""",
    "closure of param, def, later": """
x = 0.5
def build(n):
    def f(e): return n ** e
    return LambdaLR(opt, f)
scheduler = build(x)
x = 0.1
""",
    "params swapped": """
def build(a, b):
    a = a * 1
    return StepLR(opt, int(a), b / 10)
a, b = 2, 5
scheduler = build(b, a)
""",
    "fn: nested append in own dict": """
def f(e):
    d = {"a": [1]}
    d["a"].append(2)
    return len(d["a"]) / (1 + e)
scheduler = LambdaLR(opt, f)
""",
    "fn: nested setitem": """
def f(e):
    d = [[1, 2], [3]]
    d[0][1] = 5
    return d[0][1] / (1 + e)
scheduler = LambdaLR(opt, f)
""",
    "fn: nested alias append": """
def f(e):
    d = {"a": [1]}
    x = d["a"]
    x.append(2)
    return len(d["a"]) / (1 + e)
scheduler = LambdaLR(opt, f)
""",
    "item alias": """
d = {"a": [3]}
x = d["a"]
x.append(6)
scheduler = MultiStepLR(opt, d["a"])
""",
    "attr alias": """
from types import SimpleNamespace
c = SimpleNamespace(ms=[3])
x = c.ms
x.append(6)
scheduler = MultiStepLR(opt, c.ms)
""",
    "attr append": """
from types import SimpleNamespace
c = SimpleNamespace(ms=[3])
c.ms.append(6)
scheduler = MultiStepLR(opt, c.ms)
""",
    "class list append": """
class C:
    ms = [3]
C.ms.append(6)
scheduler = MultiStepLR(opt, C.ms)
""",
    "update in item": """
cfg = {"sched": {"gamma": 0.1}}
cfg["sched"].update(gamma=0.5)
scheduler = StepLR(opt, 3, **cfg["sched"])
""",
    "setitem in item": """
cfg = {"sched": {"gamma": 0.1}}
cfg["sched"]["gamma"] = 0.5
scheduler = StepLR(opt, 3, **cfg["sched"])
""",
    "attr aug": """
from types import SimpleNamespace
c = SimpleNamespace(g=0.1)
c.g *= 5
d = c
scheduler = StepLR(opt, 3, d.g)
""",
    "class instance given": """
class C:
    g = 0.1
c = C()
c.g = 0.5
def f(x, cfg=c): return cfg.g ** x
scheduler = LambdaLR(opt, f)
""",
}
# Texts in which a value changes in a way that is not followed.
REFUSED = {
    "for break": """
milestones = []
for m in [3, 6, 9]:
    if m > 5:
        break
    milestones.append(m)
scheduler = MultiStepLR(opt, milestones)
""",
    "for continue": """
milestones = []
for m in [3, 6, 9]:
    if m == 6:
        continue
    milestones.append(m)
scheduler = MultiStepLR(opt, milestones)
""",
    "for break num plus list": """
ls = []
last = 1
for m in [3, 6, 9]:
    ls.append(m)
    last = m
    break
scheduler = StepLR(opt, last)
""",
    "while continue": """
ls = []
i = 0
while i < 9:
    i += 3
    if i == 6:
        continue
    ls.append(i)
scheduler = MultiStepLR(opt, ls)
""",
    "global in setup": """
g = 0.1
def setup():
    global g
    g = 0.5
setup()
scheduler = StepLR(opt, 3, g)
""",
    "global in builder": """
g = 0.1
def build():
    global g
    g = 0.5
    return StepLR(opt, 3, g)
build()
scheduler = StepLR(opt, 3, g)
""",
    "global in builder used by main": """
g = 0.1
def setup(v):
    global g
    g = v
def main():
    setup(0.5)
    scheduler = StepLR(opt, 3, g)
    return scheduler
scheduler = main()
""",
    "nonlocal": """
def main():
    g = 0.1
    def setup():
        nonlocal g
        g = 0.5
    setup()
    return StepLR(opt, 3, g)
scheduler = main()
""",
    "list iadd alias": """
a = [3]
b = a
b += [6]
scheduler = MultiStepLR(opt, a)
""",
    "list changed in function": """
a = [3]
def add():
    a.append(6)
add()
scheduler = MultiStepLR(opt, a)
""",
    "dict changed in function": """
cfg = {"g": 0.1}
def setup():
    cfg["g"] = 0.5
setup()
scheduler = StepLR(opt, 3, cfg["g"])
""",
    "aliased list given to function": """
a = [3]
b = {"a": a}
def add(x):
    x["a"].append(6)
add(b)
scheduler = MultiStepLR(opt, a)
""",
    "alias forgotten": """
a = [3]
b = a
def unknown(x): x.append(6)
unknown(b)
scheduler = MultiStepLR(opt, a)
""",
    "walrus in call": """
g = 0.1
print(g := 0.5)
scheduler = StepLR(opt, 3, g)
""",
    "walrus in call 2": """
g = 0.1
x = max(0, (g := 0.5))
scheduler = StepLR(opt, 3, g)
""",
    "print pop": """
a = [3, 6]
print(a.pop())
scheduler = MultiStepLR(opt, a)
""",
    "try raise before": """
g = 0.1
try:
    raise ValueError
    g = 0.5
except ValueError:
    pass
scheduler = StepLR(opt, 3, g)
""",
    "try error before": """
g = 0.1
try:
    import nothing_here
    g = 0.5
except ImportError:
    pass
scheduler = StepLR(opt, 3, g)
""",
    "try int": """
g = 0.1
try:
    x = int("a")
    g = 0.5
except ValueError:
    pass
scheduler = StepLR(opt, 3, g)
""",
    "class for": """
class C:
    g = 0.1
    for g in [0.5]: pass
scheduler = StepLR(opt, 3, C.g)
""",
    "class aug": """
class C:
    g = 0.1
    g *= 5
scheduler = StepLR(opt, 3, C.g)
""",
    "class if": """
class C:
    g = 0.1
    if True:
        g = 0.5
scheduler = StepLR(opt, 3, C.g)
""",
    "match capture": """
g = 0.1
match 0.5:
    case g:
        pass
scheduler = StepLR(opt, 3, g)
""",
    "break after unknown": """
import os
ls = []
last = 1
for m in [3, 6, 9]:
    ls.append(m)
    last = m
    if os.getcwd():
        break
scheduler = StepLR(opt, last)
""",
    "fn: list iadd alias": """
def f(e):
    a = [1.0]
    b = a
    b += [2.0]
    return a[-1] / (1 + e)
scheduler = LambdaLR(opt, f)
""",
    "fn: mutable default": """
def f(e, seen=[]):
    seen += [e]
    return 1.0 / len(seen)
scheduler = LambdaLR(opt, f)
""",
    "optimizer in builder": """
opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
def build():
    opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    return opt, StepLR(opt, 3)
opt2, scheduler = build()
opt = opt2
""",
    "optimizer in builder 2": """
opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
def build(lr):
    opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    s = StepLR(opt, 3)
    return s
scheduler = build(0.5)
opt = scheduler.optimizer
""",
    "fn: nested outer append": """
d = {"a": [1]}
def f(e):
    d["a"].append(2)
    return len(d["a"]) / (1 + e)
scheduler = LambdaLR(opt, f)
""",
    "class in unknown if": """
import os
class C:
    g = 0.1
if os.getcwd():
    class C:
        g = 0.5
scheduler = StepLR(opt, 3, C.g)
""",
    "setup called in print": """
g = 0.1
def setup():
    global g
    g = 0.5
    return 1
print(setup())
scheduler = StepLR(opt, 3, g)
""",
    "setup called in if": """
g = 0.1
def setup():
    global g
    g = 0.5
    return 1
if setup():
    pass
scheduler = StepLR(opt, 3, g)
""",
    "import over fn": """
def cos(e): return 0.5
from math import cos
scheduler = LambdaLR(opt, cos)
""",
}


def rates_of_torch(text):
    """Run a text, and return the rates of its scheduler."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    values = {"opt": optimizer, "torch": torch, "SGD": SGD, **vars(lr_scheduler)}
    exec(text, values)
    rates = []
    for _ in range(NUM_EPOCHS):
        rates.append(values["scheduler"].get_last_lr()[0])
        values["scheduler"].optimizer.step()
        values["scheduler"].step()
    return rates


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_script_gives_the_rates_that_torch_gives_when_it_runs_it(text):
    schedule = from_string(text, 0.1)
    rates = [schedule(epoch) for epoch in range(NUM_EPOCHS)]
    assert rates == pytest.approx(rates_of_torch(text), rel=1e-12, abs=0)


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_change_that_is_not_followed_is_refused(text):
    assert rates_of_torch(text)
    with pytest.raises(ValueError, match=r"^cannot read|: give names=|init_value"):
        from_string(text, 0.1)
