"""Scripts with loops, functions and lists that change: real torch runs the same text."""

import argparse
import contextlib
import re

import optax
import pytest
import torch
from torch.optim import SGD, lr_scheduler

from jaxlr import exponential_lr, from_string, per_epoch, sequential_lr, starting_at


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
    "optimizer in a list": """
layer = torch.nn.Linear(1, 1)
lr = 0.2
opts = [SGD(layer.parameters(), lr=0.1), SGD(layer.parameters(), lr=lr)]
lr = 5
scheduler = StepLR(opts[1], 2)
""",
    "optimizer in a dict": """
layer = torch.nn.Linear(1, 1)
opts = {"a": SGD(layer.parameters(), lr=0.1), "b": SGD(layer.parameters(), lr=0.2)}
scheduler = StepLR(opts["b"], 2)
""",
    "other name of an optimizer": """
layer = torch.nn.Linear(1, 1)
optimizer = SGD(layer.parameters(), lr=0.1)
opt = optimizer
optimizer = SGD(layer.parameters(), lr=0.2)
scheduler = StepLR(opt, 2)
""",
    "two functions of the rate": """
def lr_start(e): return 0.1 * (e + 1)
def lr_later(e): return 0.5 ** e
scheduler = LambdaLR(opt, lr_later)
""",
    "method of an object": """
class Rule:
    power = 2
    def __init__(self, n, g=0.5):
        assert n > 0
        self.n = n
        self.g = g
    def length(self):
        return self.n + 1
    def factor(self, e):
        return self.g ** (self.power * e // self.length())
n = 3
rule = Rule(n)
n = 5
scheduler = LambdaLR(opt, lr_lambda=rule.factor)
n = 7
""",
    "callable object": """
class Rule(object):
    def __init__(self, n): self.n = n
    def __call__(self, e): return 0.5 ** (e // self.n)
n = 3
scheduler = LambdaLR(opt, Rule(n + 1))
n = 5
""",
    "own class of the name of torch's": """
class LambdaLR():
    def __init__(self, n_epochs, offset, decay_start_epoch):
        assert (n_epochs - decay_start_epoch) > 0, "Decay must start before the training session ends!"
        self.n_epochs = n_epochs
        self.offset = offset
        self.decay_start_epoch = decay_start_epoch
    def step(self, epoch):
        past = max(0, epoch + self.offset - self.decay_start_epoch)
        return 1.0 - past / (self.n_epochs - self.decay_start_epoch)
scheduler = torch.optim.lr_scheduler.LambdaLR(opt, lr_lambda=LambdaLR(20, 1, 4).step)
""",
    "method of a trainer": """
class Trainer:
    def __init__(self, warm):
        self.warm = warm
        self.power = 2
        self.scheduler = LambdaLR(opt, self.rule)
    def half(self, e):
        return 0.5 ** e
    def rule(self, e):
        return min(1, (e + 1) / self.warm) * self.half(e // 2) ** self.power
warm = 4
scheduler = Trainer(warm).scheduler
warm = 8
""",
    "lambda of a method": """
class Trainer:
    def __init__(self):
        self.scheduler = LambdaLR(opt, lambda e: self.rule(e, 4))
    @staticmethod
    def rule(e, warm):
        return min(1, (e + 1) / warm)
scheduler = Trainer().scheduler
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
    "items in a copy": """
cfg = {"a": {"g": 0.1}}
other = dict(cfg)
other["a"]["g"] = 0.5
scheduler = StepLR(opt, 3, cfg["a"]["g"])
""",
    "items in a deep copy": """
import copy
cfg = {"a": {"g": 0.1}}
other = copy.deepcopy(cfg)
other["a"]["g"] = 0.5
scheduler = StepLR(opt, 3, cfg["a"]["g"])
""",
    "item by get": """
cfg = {"a": {"g": 0.1}}
cfg.get("a")["g"] = 0.5
scheduler = StepLR(opt, 3, cfg["a"]["g"])
""",
    "items in a loop": """
cfg = {"a": {"g": 0.1}}
for section in cfg.values():
    section["g"] = 0.5
scheduler = StepLR(opt, 3, cfg["a"]["g"])
""",
    "update by stars": """
cfg = {"g": 0.1}
new = {"g": 0.5}
cfg.update(**new)
scheduler = StepLR(opt, 3, cfg["g"])
""",
    "class by stars": """
class C:
    g = 0.1
class D(C):
    n = 3
d = D()
d.__dict__.update(g=0.5)
scheduler = StepLR(opt, d.n, d.g)
""",
    "dataclass by stars": """
from dataclasses import dataclass
@dataclass
class C:
    g: float = 0.1
c = C(**{"g": 0.5})
scheduler = StepLR(opt, 3, c.g)
""",
    "setattr": """
class C:
    g = 0.1
c = C()
setattr(c, "g", 0.5)
scheduler = StepLR(opt, 3, c.g)
""",
    "setattr in a loop": """
class C:
    g = 0.1
c = C()
for key, value in {"g": 0.5}.items():
    setattr(c, key, value)
scheduler = StepLR(opt, 3, c.g)
""",
    "vars": """
class C:
    g = 0.1
c = C()
vars(c)["g"] = 0.5
scheduler = StepLR(opt, 3, c.g)
""",
    "globals": """
g = 0.1
globals()["g"] = 0.5
scheduler = StepLR(opt, 3, g)
""",
    "globals update": """
g = 0.1
globals().update(g=0.5)
scheduler = StepLR(opt, 3, g)
""",
    "item in place": """
cfg = {"g": 0.1, "lr": 0.1}
cfg["g"] *= 5
cfg["lr"] *= 2
cfg |= {"n": 4}
scheduler = StepLR(opt, cfg["n"], cfg["g"])
""",
    "copy with changes": """
cfg = {"g": 0.1}
cfg = dict(cfg, g=0.5)
scheduler = StepLR(opt, 3, cfg["g"])
""",
    "rate of a mapping": """
cfg = {"lr": 0.3, "g": 0.1}
opt = SGD([torch.nn.Parameter(torch.zeros(1))], cfg["lr"])
cfg.update(g=0.5, lr=0.7)
scheduler = StepLR(opt, 3, cfg["g"])
""",
    "class attributes of others": """
a = 0.1
class C:
    a = 0.25
    g = a * 2
scheduler = StepLR(opt, 3, C.g)
""",
    "rates in a log": """
scheduler = StepLR(opt, 3)
log = {}
for epoch in range(0):
    row = {"epoch": epoch}
    row["lr"] = log["lr"] = scheduler.get_last_lr()[0]
    scheduler.step()
""",
    "table of functions": """
table = {"step": lambda o, n=3: StepLR(o, n), "exp": lambda o: ExponentialLR(o, 0.9)}
scheduler = table["step"](opt, 4)
""",
    "table of functions without arguments": """
table = {"step": lambda: StepLR(opt, 3), "exp": lambda: ExponentialLR(opt, 0.9)}
scheduler = table["exp"]()
""",
    "two classes of one base": """
class A:
    g = 0.1
class B(A):
    g = 0.5
class C(A):
    n = 4
scheduler = StepLR(opt, C().n, C().g)
""",
    "list grows later": """
milestones = [3, 6]
scheduler = MultiStepLR(opt, milestones)
milestones.append(9)
""",
    "mapping of a call": """
def build(cfg):
    n = cfg.pop("n")
    return StepLR(opt, n, **cfg)
scheduler = build({"n": 3, "gamma": 0.5})
""",
    "exit": """
scheduler = StepLR(opt, 3)
exit()
scheduler = StepLR(opt, 7)
""",
    "raise": """
scheduler = StepLR(opt, 3)
if True:
    raise SystemExit
scheduler = StepLR(opt, 7)
""",
    "eval": """
ms = [3]
eval("ms.append(6)")
scheduler = eval("MultiStepLR")(opt, ms)
""",
    "locals": """
g = 0.1
locals()["g"] = 0.2
vars().update(g=0.5)
def build():
    n = 3
    return StepLR(opt, locals()["n"], globals()["g"])
scheduler = build()
""",
    "globals in a function": """
g = 0.1
def build():
    globals()["g"] = 0.5
    return StepLR(opt, 3, g)
scheduler = build()
""",
    "all attributes": """
from argparse import Namespace
args = Namespace(g=0.1)
other = args
args.__dict__ = {"g": 0.5}
scheduler = StepLR(opt, 3, other.g)
""",
    "attributes in place": """
from argparse import Namespace
args = Namespace(g=0.1)
args.__dict__ |= {"g": 0.5}
scheduler = StepLR(opt, 3, args.g)
""",
    "item of an unknown mapping": """
cfg = {"g": 0.1, "n": 3}
cfg["layer"] = vars(torch.nn.Linear(1, 1))
cfg["layer"]["g"] = 0.5
scheduler = StepLR(opt, cfg["n"], cfg["g"])
""",
    "copy of an object": """
layer = torch.nn.Linear(1, 1)
layer.g = 0.5
other = layer
scheduler = StepLR(opt, 3, other.g)
""",
    "file of another script": """
import os
g = 0.5
with open(os.devnull) as file:
    exec(file.read())
scheduler = StepLR(opt, 3, g)
""",
    "steps that skip what was done": """
scheduler = StepLR(opt, 3)
def train():
    for epoch in range(0):
        for index, batch in enumerate([]):
            batch = batch.to("cpu")
            if index < 3:
                continue
            opt.step()
            if (index + 1) % accum == 0 and scheduler is not None:
                scheduler.step()
train()
""",
    "early stopping": """
scheduler = StepLR(opt, 3)
def fit():
    for epoch in range(0):
        opt.step()
        if epoch > 5 and loss > best:
            break
        if epoch > 7:
            return
        scheduler.step()
fit()
""",
    "step of the epoch from 1": """
scheduler = StepLR(opt, 3)
for epoch in range(1, 1):
    opt.step()
    scheduler.step(epoch)
""",
    "f-string": """
kind = "Multi"
scheduler = getattr(torch.optim.lr_scheduler, f"{kind}StepLR")(opt, [3, 6])
""",
    "keywords of a builder": """
def build(optimizer, n=4, **options):
    return StepLR(optimizer, n, **options)
scheduler = build(opt, gamma=0.5)
""",
    "one of two that is returned": """
def build(optimizer):
    a = StepLR(optimizer, 2)
    b = ExponentialLR(optimizer, 0.5)
    return b
scheduler = build(opt)
""",
    "rate in keywords": """
options = dict(lr=0.2, momentum=0.9)
optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], **options)
scheduler = StepLR(optimizer, 2)
""",
    "name of a class": """
kind = "Step"
scheduler = getattr(torch.optim.lr_scheduler, kind + "LR")(opt, 3)
""",
}
# Texts in which a value changes in a way that is not followed.
REFUSED = {
    "object changes": """
class Rule:
    def __init__(self, n): self.n = n
    def factor(self, e): return 0.5 ** (e // self.n)
rule = Rule(3)
rule.n = 5
scheduler = LambdaLR(opt, rule.factor)
""",
    "list of an object grows": """
class Rule:
    def __init__(self, steps): self.steps = steps
    def __call__(self, e): return 0.5 ** len([s for s in self.steps if s <= e])
steps = [3]
scheduler = LambdaLR(opt, Rule(steps))
steps.append(5)
""",
    "method counts its calls": """
class Rule:
    def __init__(self): self.n = 0
    def __call__(self, e):
        self.n += 1
        return 0.9 ** self.n
scheduler = LambdaLR(opt, Rule())
""",
    "method of a base": """
class Base:
    def length(self): return 3
class Rule(Base):
    def factor(self, e): return 0.5 ** (e // self.length())
scheduler = LambdaLR(opt, Rule().factor)
""",
    "property of a trainer": """
class Trainer:
    def __init__(self):
        self.scheduler = LambdaLR(opt, self.rule)
    @property
    def length(self): return 3
    def rule(self, e): return 0.5 ** (e // self.length)
scheduler = Trainer().scheduler
""",
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
    "list of a mapping": """
a = [3]
d = {"a": a}
d["a"] += [6]
scheduler = MultiStepLR(opt, a)
""",
    "class after its object": """
class C:
    g = 0.1
c = C()
C.g = 0.5
scheduler = StepLR(opt, 3, c.g)
""",
    "dataclass": """
from dataclasses import dataclass
@dataclass
class C:
    g: float = 0.1
C.g = 0.5
scheduler = StepLR(opt, 3, C().g)
""",
    "class of a dataclass": """
from dataclasses import dataclass
@dataclass
class C:
    g: float = 0.1
class D(C):
    g = 0.5
scheduler = StepLR(opt, 3, D().g)
""",
    "base with a constructor": """
class C:
    def __init__(self):
        self.g = 0.1
class D(C):
    g = 0.5
scheduler = StepLR(opt, 3, D().g)
""",
    "base rate": """
scheduler = LambdaLR(opt, lambda e: 0.9**e)
scheduler.base_lrs[0] = 0.5
""",
    "milestones": """
scheduler = MultiStepLR(opt, [3, 6])
scheduler.milestones[9] = 1
""",
    "milestones update": """
scheduler = MultiStepLR(opt, [3, 6])
scheduler.milestones.update([9])
""",
    "scheduler in a mapping": """
d = {"scheduler": StepLR(opt, 3)}
d["scheduler"].gamma = 0.9
scheduler = d["scheduler"]
""",
    "vars of a scheduler": """
scheduler = StepLR(opt, 3)
vars(scheduler)["gamma"] = 0.9
""",
    "scheduler in a function": """
scheduler = StepLR(opt, 3)
def change():
    scheduler.gamma = 0.9
change()
""",
    "group update": """
scheduler = StepLR(opt, 3)
opt.param_groups[0].update(lr=0.5)
""",
    "group by another name": """
scheduler = StepLR(opt, 3)
group = opt.param_groups[0]
group.update({"lr": 0.5})
""",
    "groups in a loop": """
scheduler = StepLR(opt, 3)
for group in opt.param_groups:
    group.update(lr=0.5)
""",
    "groups in a comprehension": """
scheduler = StepLR(opt, 3)
[group.update(lr=0.5) for group in opt.param_groups]
""",
    "key of a group": """
scheduler = StepLR(opt, 3)
key = "lr"
opt.param_groups[0][key] = 0.5
""",
    "step of the epoch": """
scheduler = StepLR(opt, 3)
for epoch in range(4):
    opt.step()
    scheduler.step(epoch)
""",
    "step of the epoch after a function": """
def train_one():
    opt.step()
scheduler = StepLR(opt, 3)
for epoch in range(4):
    train_one()
    scheduler.step(epoch)
""",
    "group that becomes a parameter group": """
scheduler = StepLR(opt, 3)
group = {"params": [torch.nn.Parameter(torch.zeros(1))]}
opt.add_param_group(group)
for epoch in range(9):
    group["lr"] = 0.5
""",
    "base after its class": """
class A:
    g = 0.1
class B(A):
    n = 4
A.g = 0.5
scheduler = StepLR(opt, B.n, B.g)
""",
    "schedulers by turns": """
warmup = ConstantLR(opt, 0.1, 5)
scheduler = ExponentialLR(opt, 0.9)
for epoch in range(9):
    opt.step()
    (warmup if epoch < 5 else scheduler).step()
""",
    "schedulers by names": """
warmup = ConstantLR(opt, 0.1, 5)
scheduler = ExponentialLR(opt, 0.9)
for epoch in range(9):
    opt.step()
    now = warmup if epoch < 5 else scheduler
    now.step()
""",
    "schedulers by index": """
schedulers = [ConstantLR(opt, 0.1, 5), ExponentialLR(opt, 0.9)]
for epoch in range(9):
    opt.step()
    schedulers[0 if epoch < 5 else 1].step()
scheduler = schedulers[1]
""",
    "exec": """
g = 0.1
exec("g = 0.5")
scheduler = StepLR(opt, 3, g)
""",
    "exec of a name": """
g = 0.1
code = "g = 0.5"
exec(code)
scheduler = StepLR(opt, 3, g)
""",
    "walrus in eval": """
g = 0.1
x = eval("(g := 0.5)")
scheduler = StepLR(opt, 3, g)
""",
    "class of an object": """
class C:
    g = 0.1
c = C()
type(c).g = 0.5
scheduler = StepLR(opt, 3, c.g)
""",
    "class of an object by setattr": """
class C:
    g = 0.1
c = C()
c.g = 0.3
setattr(c.__class__, "g", 0.5)
scheduler = StepLR(opt, 3, C.g)
""",
    "locals in a function": """
def build():
    g = 0.1
    locals()["g"] = 0.5
    return StepLR(opt, 3, g)
scheduler = build()
""",
    "globals beside a local": """
g = 0.1
def build():
    g = 0.3
    globals()["g"] = 0.5
    return StepLR(opt, 3, g)
scheduler = build()
""",
    "globals in a function that is called": """
g = 0.1
def setup():
    globals()["g"] = 0.5
setup()
scheduler = StepLR(opt, 3, g)
""",
    "globals in a loop": """
g = 0.1
for key, value in {"g": 0.5}.items():
    globals()[key] = value
scheduler = StepLR(opt, 3, g)
""",
    "globals by another name": """
g = 0.1
names = globals()
names["g"] = 0.5
scheduler = StepLR(opt, 3, g)
""",
    "globals update": """
g = 0.1
new = {"g": 0.5}
globals().update(new)
scheduler = StepLR(opt, 3, g)
""",
    "module of the script": """
import sys
g = 0.1
setattr(sys.modules[__name__], "g", 0.5)
scheduler = StepLR(opt, 3, g)
""",
    "star import": """
g = 0.1
from os.path import *
scheduler = StepLR(opt, 3, g)
""",
    "object that is replaced": """
layer = torch.nn.Linear(1, 1)
layer.g = 0.5
layer = torch.nn.Linear(1, 2)
layer.__dict__["g"] = 0.1
layer = torch.nn.Linear(1, 3)
torch.nn.Linear.g = 0.3
scheduler = StepLR(opt, 3, layer.g)
""",
    "object given to a function": """
layer = torch.nn.Linear(1, 1)
layer.g = 0.1
def change(x): x.g = 0.5
change(layer)
scheduler = StepLR(opt, 3, layer.g)
""",
    "object in a function": """
layer = torch.nn.Linear(1, 1)
layer.g = 0.1
def change(): layer.g = 0.5
change()
scheduler = StepLR(opt, 3, layer.g)
""",
    "object in a loop": """
layer = torch.nn.Linear(1, 1)
layer.g = 0.1
for key in torch.nn.ParameterDict({"g": None}): setattr(layer, key, 0.5)
scheduler = StepLR(opt, 3, layer.g)
""",
    "object by a method": """
layer = torch.nn.Linear(1, 1)
layer.g = 0.1
layer.__dict__.update(zip("g", [0.5]))
scheduler = StepLR(opt, 3, layer.g)
""",
    "object by another name": """
layer = torch.nn.Linear(1, 1)
layer.__dict__["g"] = 0.1
items = vars(layer)
items["g"] = 0.5
scheduler = StepLR(opt, 3, layer.g)
""",
    "step in a function": """
scheduler = StepLR(opt, 3)
def train(epoch):
    opt.step()
    if epoch > 5:
        scheduler.step()
for epoch in range(9):
    train(epoch)
""",
    "step of a parameter": """
scheduler = StepLR(opt, 3)
def train(sched):
    for epoch in range(9):
        opt.step()
        if epoch < 5:
            sched.step()
train(scheduler)
""",
    "step in a method": """
class Trainer:
    def __init__(self):
        self.scheduler = StepLR(opt, 3)
    def train(self):
        for epoch in range(9):
            opt.step()
            if epoch > 5:
                self.scheduler.step()
trainer = Trainer()
trainer.train()
scheduler = trainer.scheduler
""",
    "steps in a function by turns": """
warmup = ConstantLR(opt, 0.1, 5)
scheduler = ExponentialLR(opt, 0.9)
def train():
    for epoch in range(9):
        opt.step()
        if epoch < 5:
            warmup.step()
        else:
            scheduler.step()
train()
""",
    "step after a return": """
scheduler = StepLR(opt, 3)
def adjust(epoch):
    if epoch < 5:
        return
    scheduler.step()
for epoch in range(9):
    opt.step()
    adjust(epoch)
""",
    "step after a continue": """
scheduler = StepLR(opt, 3)
for epoch in range(9):
    opt.step()
    if epoch < 5:
        continue
    scheduler.step()
""",
    "step in an expression": """
scheduler = StepLR(opt, 3)
for epoch in range(9):
    opt.step()
    scheduler.step() if epoch > 5 else None
""",
    "step after and": """
scheduler = StepLR(opt, 3)
for epoch in range(9):
    opt.step()
    epoch > 5 and scheduler.step()
""",
    "step in some epochs": """
scheduler = ExponentialLR(opt, 0.1)
for epoch in range(9):
    opt.step()
    if epoch in [4, 7]:
        scheduler.step()
""",
    "step above a floor": """
scheduler = StepLR(opt, 3)
for epoch in range(9):
    opt.step()
    if opt.param_groups[0]["lr"] > 0.05:
        scheduler.step()
""",
    "step of the epoch with a start": """
start = 0
scheduler = StepLR(opt, 3)
for epoch in range(start, 4):
    opt.step()
    scheduler.step(epoch)
""",
    "step of the epoch by keyword": """
scheduler = StepLR(opt, 3)
for epoch in range(4):
    opt.step()
    scheduler.step(epoch=epoch)
""",
    "step of the epoch in a wrapper": """
def tqdm(items): return items
scheduler = StepLR(opt, 3)
for epoch in tqdm(range(4)):
    opt.step(); scheduler.step(epoch)
""",
    "step of the epoch in a function": """
def fit(scheduler, optimizer):
    for epoch in range(4):
        optimizer.step()
        scheduler.step(epoch)
scheduler = StepLR(opt, 3)
fit(scheduler, opt)
""",
    "second phase": """
scheduler = ExponentialLR(opt, 0.9)
for epoch in range(9):
    opt.step()
    scheduler.step()
scheduler = ExponentialLR(opt, 0.5)
""",
}


def rates_of_torch(text):
    """Run a text, and return the rates of its scheduler."""
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    values = {"opt": optimizer, "torch": torch, "SGD": SGD, **vars(lr_scheduler)}
    with contextlib.suppress(SystemExit):
        exec(text, values)
    rates = []
    for _ in range(NUM_EPOCHS):
        rates.append(values["scheduler"].get_last_lr()[0])
        values["scheduler"].optimizer.step()
        values["scheduler"].step()
    return rates


@pytest.mark.parametrize("text", READ.values(), ids=READ)
def test_a_script_gives_the_rates_that_torch_gives_when_it_runs_it(text):
    schedule = from_string(text, None if "SGD" in text else 0.1)
    rates = [schedule(epoch) for epoch in range(NUM_EPOCHS)]
    assert rates == pytest.approx(rates_of_torch(text), rel=1e-12, abs=0)


@pytest.mark.filterwarnings("ignore:The epoch parameter")
@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED)
def test_a_change_that_is_not_followed_is_refused(text):
    assert rates_of_torch(text)
    with pytest.raises(ValueError, match=r"^cannot read|: give names=|init_value|^the text picks"):
        from_string(text, 0.1)


# Loops that step a scheduler. `opt` keeps the rate of each of its updates.
STEPPED = {
    "plain": "{L}    scheduler.step()",
    "before": "{F}    scheduler.step(epoch)\n    opt.step()",
    "number after": "{L}    scheduler.step(epoch + 1)",
    "epochs from 1": "{M}for epoch in range(1, 9):\n    opt.step()\n    scheduler.step(epoch)",
    "epochs from 1, less 1": "{M}for epoch in range(1, 9):\n    scheduler.step(epoch - 1)\n    opt.step()",
    "enumerate from 1": "{M}for n, b in enumerate(range(5), 1):\n    opt.step()\n    scheduler.step(n)",
    "global step": "{M}n_iter = 0\n{B}        opt.step()\n        n_iter += 1\n"
    "        scheduler.step(n_iter)",
    "batches": "{B}        scheduler.step(epoch * 3 + b)\n        opt.step()",
    "name of a count": "{B}        step = epoch * 3 + b\n        scheduler.step(step)\n        opt.step()",
    "accumulation": "{B}        if (b + 1) % 3 == 0:\n            opt.step()\n            scheduler.step()",
    "accumulation twice": "{B}        if b == 2:\n            opt.step()\n        if b == 2:\n"
    "            scheduler.step()",
    "guard of the training": "{F}    if epoch < 3:\n        continue\n    opt.step()\n    scheduler.step()",
    "break": "{L}    if epoch > 5 and epoch > 6:\n        break\n    scheduler.step()",
    "none": "{L}    if scheduler is not None and not False:\n        scheduler.step()",
    "plateau": "{L}    if isinstance(scheduler, ReduceLROnPlateau):\n        scheduler.step(0.5)\n"
    "    else:\n"
    "        scheduler.step()",
    "either": "{L}    if epoch > 4:\n        scheduler.step()\n    else:\n        scheduler.step()",
    "match": "{L}    match epoch:\n        case 4:\n            scheduler.step()\n        case _:\n"
    "            scheduler.step()",
    "setting": "per = 'epoch'\n{B}        if per == 'batch': scheduler.step()\n    opt.step()\n"
    "    if per == 'epoch': scheduler.step()",
    "function": "def train(e, s, use=True):\n    opt.step()\n    if use:\n        s.step(e + 1)\n"
    "{F}    train(epoch, scheduler)",
    "method": "class T:\n    def fit(self, s):\n        for e in range(9):\n            self.train()\n"
    "            s.step()\n    def train(self):\n        opt.step()\n{M}t = T()\nt.fit(scheduler)",
    "list": "{M}second = StepLR(opt, 4)\nfor epoch in range(9):\n    opt.step()\n"
    "    for s in [scheduler, second]:\n        s.step()",
    "zip": "{M}for epoch in range(9):\n    for o, s in zip([opt], [scheduler]):\n        o.step()\n"
    "        s.step()",
    "setting of a function that is None": "def fit(o, s=None):\n    for e in range(9):\n        o.step()\n"
    "        if s is not None:\n            s.step()\n{M}fit(opt, s=scheduler)",
    "attribute of a trainer": "class T:\n    def __init__(self, s):\n        self.s = s\n"
    "    def fit(self):\n"
    "        for e in range(9):\n            opt.step()\n            if self.s:\n"
    "                self.s.step()\n"
    "{M}T(scheduler).fit()",
    "phase": "{F}    for phase in ['train', 'val']:\n        if phase == 'train':\n            opt.step()\n"
    "    scheduler.step()",
    "last batches": "{B}        if b % 2 == 1:\n            opt.step()\n            scheduler.step()\n"
    "    opt.step()\n    scheduler.step()",
    "count by an assignment": "{M}n = 0\nwhile n < 9:\n    opt.step()\n    n = n + 1\n"
    "    scheduler.step(n)",
    "start of the loop": "{F}    if epoch > 0:\n        scheduler.step()\n    opt.step()",
    "forward by 0": "start = 0\n{M}for _ in range(start):\n    scheduler.step()\n"
    "for e in range(start, 9):\n    opt.step()\n    scheduler.step()",
    "before another training": "def train(): pass\n{L}    scheduler.step()\n    train()",
    "before a validation": "def run(o): o.step()\ndef val(): return [hash(b) for b in range(3)]\n"
    "{F}    run(opt)\n    scheduler.step()\n    val()",
    "training of an optimizer before": "for e in range(3):\n    opt.zero_grad()\n"
    "{M}for e in range(9):\n    opt.step()\n    scheduler.step()",
}
MISSTEPPED = {
    "first": "{F}    scheduler.step()\n    opt.step()",
    "first of some batches": "{F}    print(end='')\n    scheduler.step()\n    for b in range(3):\n"
    "        opt.step()",
    "first of a phase": "{F}    for phase in ['train', 'val']:\n        if phase == 'train':\n"
    "            scheduler.step()\n        for b in range(3):\n            if phase == 'train':\n"
    "                opt.step()",
    "first of a function": "def train(s):\n    if s is not None:\n        s.step()\n    opt.step()\n"
    "{F}    train(scheduler)",
    "first, and a function": "def train(o):\n    o.step()\n{F}    scheduler.step()\n    train(opt)",
    "first, after a mode": "def mode(on): pass\nm = type('', (), dict(train=mode))\n{F}"
    "    m.train(True)\n    scheduler.step()\n    opt.step()",
    "first epoch 1": "{M}for epoch in range(1, 9):\n    scheduler.step(epoch)\n    opt.step()",
    "second epoch 3": "{M}for epoch in range(1, 9):\n    opt.step()\n    scheduler.step(epoch + 1)",
    "every second epoch": "{L}    if epoch % 2 == 0:\n        scheduler.step()",
    "end of every second epoch": "{L}    if (epoch + 1) % 2 == 0:\n        scheduler.step()",
    "every third update": "{B}        opt.step()\n        if b % 3 == 2:\n            scheduler.step()",
    "irregular": "{L}    if (epoch + 1) % 3 == 0 or epoch == 0:\n        scheduler.step()",
    "forward": "start = 3\n{M}for _ in range(start):\n    scheduler.step()\n"
    "for e in range(start, 9):\n    opt.step()\n    scheduler.step()",
    "forward while": "{M}i = 0\nwhile i < 3:\n    scheduler.step()\n    i += 1\n"
    "for e in range(9):\n    opt.step()\n    scheduler.step()",
    "forward in a function": "def fit(o, s):\n    for _ in range(3):\n        s.step()\n"
    "    for e in range(9):\n        o.step()\n        s.step()\n{M}fit(opt, scheduler)",
    "first phase": "{M}for e in range(3):\n    opt.step()\nfor e in range(9):\n    opt.step()\n"
    "    scheduler.step()",
    "keyword": "{L}    scheduler.step(epoch=epoch)",
    "less 1": "{M}for epoch in range(1, 9):\n    opt.step()\n    scheduler.step(epoch - 1)",
    "delay": "{F}    scheduler.step(max(epoch - 5, 0))\n    opt.step()",
    "delay without max": "{F}    scheduler.step(epoch - 5)\n    opt.step()",
    "half": "{F}    scheduler.step(epoch // 2)\n    opt.step()",
    "global step": "{M}n_iter = 0\n{B}        opt.step()\n        scheduler.step(n_iter)\n"
    "        n_iter += 1",
    "global step of batches": "{M}n_iter = 0\n{B}        n_iter += 1\n        if b == 2:\n"
    "            opt.step()\n            scheduler.step(n_iter)",
    "global step by 2": "{M}n_iter = 0\n{F}    opt.step()\n    n_iter += 2\n    scheduler.step(n_iter)",
    "metric": "{L}    val_loss = 7.0\n    scheduler.step(val_loss)",
    "fraction": "{B}        frac = epoch + b / 3\n        scheduler.step(frac)\n        opt.step()",
    "epoch in batches": "{B}        opt.step()\n        scheduler.step(epoch + 1)",
    "batch without its epoch": "{B}        scheduler.step(b)\n        opt.step()",
    "constant": "{L}    if False:\n        scheduler.step()",
    "setting": "use = False\n{L}    if use:\n        scheduler.step()",
    "setting of a function": "def train(e, s, use=False):\n    opt.step()\n    if use:\n"
    "        s.step(e + 1)\n"
    "{F}    train(epoch, scheduler)",
    "turns by other names": "def fit(s1, s2):\n    for e in range(9):\n        opt.step()\n"
    "        if e < 3: s1.step()\n        else: s2.step()\n{M}two = StepLR(opt, 4)\nfit(scheduler, two)",
    "turns of one name": "{M}two = StepLR(opt, 4)\nfor e in range(9):\n    opt.step()\n"
    "    s = two if e < 3 else scheduler\n    s.step()",
    "one after the other": "{M}two = StepLR(opt, 4)\nfor s, n in zip([two, scheduler], [3, 6]):\n"
    "    for e in range(n):\n        opt.step()\n        s.step()",
    "after in a function": "def train(e):\n    opt.step()\n    scheduler.step(e)\n{F}    train(epoch)",
    "batch and epoch": "{B}        opt.step()\n        scheduler.step()\n    scheduler.step()",
    "batch and epoch of a function": "def train(s):\n    for b in range(3):\n        opt.step()\n"
    "        s.step()\n{F}    train(scheduler)\n    scheduler.step()",
    "some batches and epoch": "{B}        opt.step()\n        if b % 2 == 0:\n"
    "            scheduler.step()\n    scheduler.step()",
    "twice in a row": "{L}    scheduler.step()\n    scheduler.step()",
    "twice": "{L}    for _ in range(2):\n        scheduler.step()",
    "match": "{L}    match epoch:\n        case e if e > 4:\n            scheduler.step()",
    "match of a value": "{L}    match epoch:\n        case 3 | 4:\n            scheduler.step()",
    "alias": "{M}step = scheduler.step\nfor epoch in range(9):\n    opt.step()\n    if epoch > 4: step()",
    "getattr": "{L}    if epoch > 4: getattr(scheduler, 'step')()",
    "lambda": "{M}hook = lambda e: scheduler.step()\nfor epoch in range(9):\n    opt.step()\n"
    "    if epoch > 4: hook(epoch)",
    "comprehension": "{L}    [s.step() for s in [scheduler] if epoch > 4]",
    "flag": "{L}    is_late = epoch > 4\n    if is_late:\n        scheduler.step()",
    "flag that is set": "late = False\n{L}    if epoch > 4:\n        late = True\n    if late:\n"
    "        scheduler.step()",
    "handler": "{L}    try:\n        1 / (epoch // 5)\n    except ZeroDivisionError:\n"
    "        scheduler.step()",
    "else": "{L}else:\n    scheduler.step()\nopt.step()",
    "unsteady condition": "{L}    if hash(epoch) > 4:\n        scheduler.step()",
    "attribute of a trainer": "class T:\n    def __init__(self, s):\n        self.s = s\n"
    "    def fit(self):\n"
    "        for e in range(9):\n            opt.step()\n            if e > 4:\n"
    "                self.s.step()\n"
    "{M}T(scheduler).fit()",
    "parameter without a telling name": "def tick(s, e):\n    if e > 4:\n        s.step()\n"
    "{L}    tick(scheduler, epoch)",
    "any arguments": "def tick(**kw):\n    if kw['e'] > 4: kw['s'].step()\n"
    "{L}    tick(s=scheduler, e=epoch)",
    "item": "{M}d = {{'s': scheduler}}\nfor e in range(9):\n    opt.step()\n    if e > 4:\n"
    "        d['s'].step()",
    "pairs": "{M}pairs = [(opt, scheduler)]\nfor e in range(9):\n    for o, s in pairs:\n        o.step()\n"
    "        if e > 4:\n            s.step()",
    "walrus": "{L}    if (late := epoch > 4):\n        scheduler.step()",
    "loss of a function": "def train(e): return -e\n{L}    train_loss = train(epoch)\n"
    "    if train_loss < -4:\n        scheduler.step()",
    "never": "{L}    pass",
    "only the optimizer": "def build(o):\n    s = ExponentialLR(o, 0.5)\n    return o\nopt = build(opt)\n"
    "opt.step()\nopt.step()",
}


def stepped(text):
    """Return a text of the loops, and the rates of its updates in torch."""
    made = "scheduler = ExponentialLR(opt, 0.5)\n"
    for_ = "for epoch in range(9):\n"
    if "{M}" not in text and "build" not in text:
        head, found, rest = re.split(r"(\{(?:L|F|B)\})", text, maxsplit=1)
        text = f"{head}{{M}}{found}{rest}"
    text = text.format(L=f"{for_}    opt.step()\n", M=made, F=for_, B=f"{for_}    for b in range(3):\n")
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    rates = []
    optimizer.register_step_pre_hook(lambda *_: rates.append(optimizer.param_groups[0]["lr"]))
    exec(text, {"opt": optimizer, **vars(lr_scheduler)})
    return text, rates


@pytest.mark.filterwarnings("ignore:The epoch parameter", "ignore:Detected call of `lr_sched")
@pytest.mark.parametrize("text", STEPPED.values(), ids=STEPPED)
def test_a_loop_gives_each_update_the_rate_that_torch_gives(text):
    text, expected = stepped(text)
    schedule = from_string(text, 0.1)
    assert [schedule(count) for count in range(len(expected))] == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.filterwarnings("ignore:The epoch parameter", "ignore:Detected call of `lr_sched")
@pytest.mark.parametrize("text", MISSTEPPED.values(), ids=MISSTEPPED)
def test_a_loop_that_gives_an_update_another_rate_is_refused(text):
    text, rates = stepped(text)
    two = "\ntwo = StepLR(opt, 4)" if "two =" in text else ""
    plain = from_string(f"scheduler = ExponentialLR(opt, 0.5){two}", 0.1)
    assert rates != pytest.approx([plain(count) for count in range(len(rates))], rel=1e-12, abs=0)
    with pytest.raises(ValueError, match=r"^cannot read|^the text never steps"):
        from_string(text, 0.1)


SHOWN = "s = ExponentialLR(optimizer, 0.5)\nfor epoch in range(9):\n"


@pytest.mark.parametrize(
    "text",
    [
        SHOWN + "    s.step()",
        SHOWN + "    lrs.append(s.get_last_lr())\n    s.step()\nplt.plot(lrs)",
        SHOWN + "    run_epoch(model)\n    s.step()\n    train_acc = train_metrics(model)",
        SHOWN + "    engine.run(loader)\n    s.step()\n    for b in loader:\n        measure(b)",
        SHOWN + "    run(model)\n    s.step()\n    save_checkpoint(model, optimizer)",
        SHOWN + "    for i, b in enumerate(loader):\n        optimizer.step()\n"
        "        if (i + 1) % len(loader) == 0:\n            s.step()",
        SHOWN + "    for i, b in enumerate(loader):\n        optimizer.step()\n"
        "        if i == len(loader) - 1:\n            s.step()",
        SHOWN.replace("for epoch", "start = 0\nif resume:\n    start = saved['epoch']\n"
        "for _ in range(start):\n    s.step()\nfor epoch") + "    optimizer.step()\n    s.step()",
    ],
)  # fmt: skip
def test_a_loop_whose_training_is_not_in_the_text_is_read(text):
    assert repr(from_string(text, 0.1)) == "exponential_lr(0.1, gamma=0.5)"


# Loops whose refusal names a schedule, with that schedule.
WAYS_OUT = {
    "{F}    scheduler.step()\n    opt.step()": (
        "starting_at(schedule, 1)",
        starting_at(exponential_lr(0.1, 0.5), 1),
    ),
    "{L}    if (epoch + 1) % 4 == 0:\n        scheduler.step()": (
        "per_epoch(schedule, n)",
        per_epoch(exponential_lr(0.1, 0.5), 4),
    ),
    "{L}    if epoch % 4 == 0:\n        scheduler.step()": (
        "starting_at(..., n - 1) if the first turn",
        starting_at(per_epoch(exponential_lr(0.1, 0.5), 4), 3),
    ),
    "{M}for _ in range(3):\n    scheduler.step()\n{L}    scheduler.step()": (
        "starting_at(schedule, 3)",
        starting_at(exponential_lr(0.1, 0.5), 3),
    ),
    "{M}for e in range(3):\n    opt.step()\n{L}    scheduler.step()": (
        "sequential_lr([optax.constant_schedule(schedule(0)), schedule], [n])",
        sequential_lr([optax.constant_schedule(0.1), exponential_lr(0.1, 0.5)], [3]),
    ),
}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_sched")
@pytest.mark.parametrize("text", WAYS_OUT)
def test_a_refused_loop_names_a_schedule_with_the_rates_of_torch(text):
    named, schedule = WAYS_OUT[text]
    text, rates = stepped(text)
    assert [schedule(count) for count in range(len(rates))] == pytest.approx(rates, rel=1e-6, abs=0)
    with pytest.raises(ValueError, match=re.escape(named)):
        from_string(text, 0.1)


@pytest.mark.parametrize(
    "text",
    [
        "@trainer.on(Events.EPOCH_{})\ndef f(engine):\n    s.step()",
        "trainer.add_event_handler(Events.EPOCH_{}, lambda e: s.step())",
    ],
)
def test_an_event_of_ignite_steps_after_the_training(text):
    made = "s = ExponentialLR(optimizer, 0.5)\n"
    assert from_string(made + text.format("COMPLETED"), 0.1)(1) == pytest.approx(0.05)
    with pytest.raises(ValueError, match=r"before the training.*jaxlr\.starting_at\(schedule, 1\)"):
        from_string(made + text.format("STARTED"), 0.1)


def test_the_turns_before_the_training_are_asked_for():
    text = "s = StepLR(opt, 3)\nfor _ in range(args.start):\n    s.step()\nfor e in range(9):\n"
    text += "    opt.step()\n    s.step()"
    with pytest.raises(ValueError, match=r"give names=\{'args.start': ...\}"):
        from_string(text, 0.1)
    assert from_string(text, 0.1, {"args.start": 0})(3) == pytest.approx(0.01)
    with pytest.raises(ValueError, match=r"starting_at\(schedule, 5\)"):
        from_string(text, 0.1, {"args.start": 5})


def test_a_setting_around_a_step_is_asked_for():
    text = "s = StepLR(opt, 3)\nfor e in range(9):\n    opt.step()\n    if args.decay:\n        s.step()"
    with pytest.raises(ValueError, match=r"give names=\{'args.decay': ...\}"):
        from_string(text, 0.1)
    with pytest.raises(ValueError, match="with these values it never steps s"):
        from_string(text, 0.1, {"args.decay": False})
    assert from_string(text, 0.1, {"args.decay": True})(3) == pytest.approx(0.01)


# Texts that change the values of `args`, which `names` gives.
CHANGED = {
    "in place": "args.g *= 5",
    "if": "if args.g < 1:\n    args.g = 0.5",
    "setattr": "if args.g:\n    setattr(args, 'g', 0.5)",
    "vars": "vars(args)['g'] = args.g * 5",
    "update": "print(args.g)\nx = args.g\nvars(args).update(g=0.5)",
    "rate": "lr = args.g * 0.2\nopt = SGD([torch.nn.Parameter(torch.zeros(1))], lr)\nargs.g = 0.5",
}


@pytest.mark.parametrize("names", [{"args.g": 0.1}, {"args": argparse.Namespace(g=0.1)}, {"g": 0.1}])
@pytest.mark.parametrize("text", CHANGED.values(), ids=CHANGED)
def test_a_value_of_names_that_the_text_reads_can_change(text, names):
    text = f"{text}\nscheduler = StepLR(opt, 3, args.g)"
    schedule = from_string(text, None if "SGD" in text else 0.1, names)
    expected = rates_of_torch(f"import argparse\nargs = argparse.Namespace(g=0.1)\n{text}")
    assert [schedule(epoch) for epoch in range(NUM_EPOCHS)] == pytest.approx(expected, rel=1e-12, abs=0)


@pytest.mark.parametrize(
    "text",
    [
        "def change(a):\n    a.g = 0.5\nchange(args)",
        "def change():\n    args.g = 0.5\nchange()",
        "other = args\nother.g = 0.5",
        "other = vars(args)\nother['g'] = 0.5",
        "other = vars(args)\nother.update(g=0.5)",
    ],
)
@pytest.mark.parametrize("names", [{"args.g": 0.1}, {"g": 0.1}])
def test_a_value_of_names_that_changes_elsewhere_is_refused(text, names):
    with pytest.raises(ValueError, match=r"leave that line out, and give|is another name of 'args'"):
        from_string(f"{text}\nscheduler = StepLR(opt, 3, args.g)", 0.1, names)


def test_names_may_be_the_flags_that_the_text_parses():
    text = "args = parser.parse_args()\nscheduler = StepLR(opt, args.size)"
    assert from_string(text, 0.1, {"size": 3})(2) == 0.1
    made = "class T:\n    def __init__(self, args):\n        self.s = StepLR(opt, args.size)\n"
    for call in ("t = T(parser.parse_args())", "args = parser.parse_args()\nt = T(args)"):
        assert from_string(f"{made}{call}", 0.1, {"size": 3})(2) == 0.1
    with pytest.raises(ValueError, match=r"give names={'args\.size': \.\.\.}"):
        from_string(f"{text}".replace("\n", "\nargs = replace(args, size=2)\n"), 0.1, {"size": 3})


@pytest.mark.parametrize(
    "text",
    [
        "args = Namespace(**{**vars(args), 'g': 0.5})",
        "args = dataclasses.replace(args, g=0.5)",
        "new = OmegaConf.merge(args, {'g': 0.5})\nargs = new",
    ],
)
@pytest.mark.parametrize("names", [{"args.g": 0.1}, {"args": argparse.Namespace(g=0.1)}])
def test_a_value_of_names_that_the_text_states_otherwise_is_refused(text, names):
    with pytest.raises(ValueError, match=r"for 'args\.g', but the text assigns one|items are not known"):
        from_string(f"{text}\nscheduler = StepLR(opt, 3, args.g)", 0.1, names)


def test_an_object_given_to_an_unknown_function_may_have_changed():
    text = "args.g = 0.5\nsetup(args)\nscheduler = StepLR(opt, 3, args.g)"
    with pytest.raises(
        ValueError, match=r"^cannot read 'setup\(args\)': it may change args.g. Leave it out if"
    ):
        from_string(text, 0.1)
    assert from_string(text.replace("setup", "print"), 0.1)(3) == 0.05


@pytest.mark.parametrize(
    "name", ["adjust_learning_rate", "set_lr", "warmup_learning_rate", "utils.adjust_lr"]
)
def test_a_function_from_elsewhere_that_sets_the_rate_is_refused(name):
    text = (
        f"scheduler = StepLR(opt, 3)\nfor epoch in range(9):\n    {name}(opt, epoch)\n    scheduler.step()"
    )
    with pytest.raises(
        ValueError, match=f"sets the learning rate by hand, in '{name.removeprefix('utils.')}'"
    ):
        from_string(text, 0.1)


@pytest.mark.parametrize("groups", ["[dict(params=p, lr=0.3)]", "gs", "[g, {'params': q}]"])
def test_the_rate_of_a_group_is_read_however_it_is_written(groups):
    made = "g = {'params': p, 'lr': 0.3}\ngs = [dict(lr=0.3, params=p)]"
    text = f"{made}\nopt = SGD({groups}, 0.01)\nStepLR(opt, 3)"
    assert from_string(text)(0) == 0.3


@pytest.mark.parametrize(
    "groups",
    [
        "net.get_parameters() + head.get_parameters()",
        "model.get_param_groups()",
        "list(model.optim_parameters(args))",
        "model.get_optim_policies()",
        "get_params(model, encoder_lr=1e-3)",
        "model.get_params(opt.lr0, opt.lr1)",
    ],
)
def test_an_unknown_call_that_may_make_groups_with_rates_asks_for_init_value(groups):
    text = f"opt = SGD({groups}, lr=0.01)\nStepLR(opt, 3)"
    with pytest.raises(
        ValueError, match="the groups of the SGD may have rates of their own: give init_value"
    ):
        from_string(text)
    assert from_string(text, 0.1)(0) == 0.1


@pytest.mark.parametrize(
    "groups",
    [
        "filter(lambda p: p.requires_grad, model.parameters())",
        "get_params(model)",
        "get_parameters(model)",
        "param_groups_weight_decay(model, 0.05)",
        "get_param_groups(model, args.weight_decay)",
        "itertools.chain(a.parameters(), b.parameters())",
        "model.trainable_parameters()",
    ],
)
def test_an_unknown_call_that_gives_parameters_leaves_the_rate_of_the_optimizer(groups):
    assert from_string(f"opt = SGD({groups}, lr=0.01)\nStepLR(opt, 3)")(0) == 0.01


@pytest.mark.parametrize(
    "text",
    [
        "def get_lr(epoch):\n    return 0.1 * 0.5**epoch\n"
        "def set_lr(opt, lr):\n    opt.param_groups[0]['lr'] = lr",
        "def get_lr(epoch):\n    return 0.1 * 0.5**epoch\ndef train(epoch):\n    return loss",
        "def adjust(opt, epoch):\n    for g in opt.param_groups:\n        g['lr'] = 0.1 * 0.5**epoch\n"
        "def get_weight(epoch):\n    return 10 * epoch\nclass Meter:\n    pass",
        "def half(e):\n    return 0.5**e\ndef f(e):\n    return 0.1 * half(e)",
        "get_lr = lambda e: np.interp([e], [0, 1, 2, 3], [0.1, 0.05, 0.025, 0.0125])[0]",
    ],
)
def test_the_function_of_the_rate_is_found_among_others(text):
    schedule = from_string(text)
    assert [schedule(epoch) for epoch in range(4)] == [0.1, 0.05, 0.025, 0.0125]


TRAIN = """
def train():
    opt = SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = StepLR(opt, 3)
    for epoch in range(9):
        opt.step()
        scheduler.step()
"""


@pytest.mark.parametrize(
    "call",
    [
        "if args.mode == 'train':\n    train()",
        "model = train()",
        "try:\n    train()\nexcept KeyboardInterrupt:\n    pass",
        "with torch.cuda.device(0):\n    train()",
        "def main(argv):\n    if args.mode == 'train':\n        train()\napp.run(main)",
    ],
)
def test_a_function_that_trains_is_read_wherever_it_is_called(call):
    schedule = from_string(f"{TRAIN}{call}", names={"args.mode": "train"})
    assert [schedule(epoch) for epoch in (0, 2, 3, 6)] == pytest.approx([0.1, 0.1, 0.01, 0.001])


def test_a_function_that_trains_is_read_once_and_only_if_it_is_called():
    with pytest.raises(ValueError, match="the text calls 'train' again, which trains: give one call"):
        from_string(f"{TRAIN}a = train()\nb = train()")
    text = f"{TRAIN}if args.mode == 'train':\n    train()"
    with pytest.raises(ValueError, match=r"give names=\{'args.mode': ...\}"):
        from_string(text)
    with pytest.raises(ValueError, match="the text constructs no scheduler for these names"):
        from_string(text, names={"args.mode": "test"})


def test_a_function_leaves_only_schedulers_that_it_neither_steps_nor_returns():
    text = "a = StepLR(opt, 2)\nb = ExponentialLR(opt, 0.5)\n"
    build = "def build(opt):\n    a = StepLR(opt, 2)\n    b = ExponentialLR(opt, 0.5)\n"
    steps = "    for epoch in range(9):\n        a.step()\n        b.step()\n"
    assert from_string(f"{build}    return b", 0.1)(2) == 0.025
    assert from_string(f"{build}{steps}    return b", 0.1)(2) == pytest.approx(0.0025)
    assert from_string(f"{build}    return [opt], [a, b]", 0.1)(2) == pytest.approx(0.0025)
    assert from_string(text, 0.1)(2) == pytest.approx(0.0025)


def test_a_trainer_may_be_given_the_scheduler():
    text = "s = StepLR(opt, 3)\ntrainer = Trainer(model=model, optimizer=opt, scheduler=s)\ntrainer.fit()"
    assert from_string(text, 0.1)(3) == pytest.approx(0.01)
    hook = "trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: s.step())"
    assert from_string(f"s = StepLR(opt, 3)\n{hook}", 0.1)(3) == pytest.approx(0.01)
    assert from_string("s = StepLR(opt, 3)\nmonitor = LearningRateMonitor(s)", 0.1)(3) == pytest.approx(
        0.01
    )
    with pytest.raises(ValueError, match="cannot read the call 'Wrapper' around a scheduler"):
        from_string("s = StepLR(opt, 3)\ns = Wrapper(opt, s)", 0.1)


def test_the_first_epoch_of_a_loop_is_asked_for_where_it_matters():
    text = "s = StepLR(o, 3)\nfor e in range(args.start, 9):\n    train(e)\n    s.step(e)"
    with pytest.raises(ValueError, match=r"give names=\{'args.start': ...\}"):
        from_string(text, 0.1)
    with pytest.raises(ValueError, match="gives the first two epochs one rate"):
        from_string(text, 0.1, {"args.start": 0})
    assert from_string(text, 0.1, {"args.start": 1})(3) == pytest.approx(0.01)


# Texts with the reason why they are refused.
REASONS = [
    (
        "def configure_optimizers(self):\n    opt = SGD(p, lr=0.1)\n"
        "    a, b = LinearLR(opt), StepLR(opt, 3)\n"
        "    return [opt], [{'scheduler': a, 'interval': 'step'}, {'scheduler': b}]",
        "the mappings have two intervals",
    ),
    (
        "def adjust(g, d, epoch):\n    for e in g.param_groups:\n        e['lr'] = 0.1\n"
        "    for e in d.param_groups:\n        e['lr'] = 0.2",
        "adjust sets the rates of d and g: give the lines of one",
    ),
    (
        "opt = SGD(p, **cfg.opt)\nStepLR(opt, 2)",
        "does not set the learning rate of the optimizer: give init",
    ),
    (
        "opt = SGD(a, lr=0.1)\nopts = [opt]\nopt = SGD(b, lr=0.2)\nStepLR(opts[0], 2)",
        "does not set the learning rate of the",
    ),
    (
        "class WarmupCosine(torch.optim.lr_scheduler._LRScheduler):\n"
        "    def __init__(self, opt, warmup):\n        self.after = CosineAnnealingLR(opt, 9)\n"
        "    def get_lr(self):\n        return self.after.get_lr() if self.last_epoch > 3 else [0]",
        "unknown scheduler 'WarmupCosine'",
    ),
    (
        "class Warmup:\n    def __init__(self, opt):\n        self.after = StepLR(opt, 9)\n"
        "    def step(self):\n        if self.num > 3:\n            self.after.step()",
        "unknown scheduler 'Warmup'",
    ),
    (
        "def fit(opt, s1, s2):\n    for e in range(9):\n        (s1 if e < 3 else s2).step()\n"
        "warm = LinearLR(opt)\nscheduler = StepLR(opt, 3)\nfit(opt, warm, scheduler)",
        "it does not step all schedulers at once",
    ),
    (
        "warm = LinearLR(opt)\nscheduler = StepLR(opt, 3)\n"
        "def train():\n    for b in loader:\n        warm.step()\n"
        "def fit():\n    for e in range(9):\n        train()\n        scheduler.step()",
        "it steps one scheduler more often than another",
    ),
    (
        "class M(LightningModule):\n    def configure_optimizers(self):\n        opt = SGD(p, lr=0.1)\n"
        "        return [opt], [StepLR(opt, 3)]\n    def lr_scheduler_step(self, scheduler, metric):\n"
        "        if self.current_epoch > 5:\n            scheduler.step()",
        "it steps scheduler only if self.current_epoch > 5",
    ),
    (
        "class T:\n    def __init__(self):\n        self.opt = SGD(p, lr=0.1)\n"
        "        self.s = StepLR(self.opt, 3)\n"
        "    def warm(self, e):\n        for g in self.opt.param_groups:\n            g['lr'] = e\n"
        "t = T()\nfor e in range(3):\n    t.warm(e)\n    t.s.step()",
        "sets the learning rate by hand, in 'warm'",
    ),
    ("s = StepLR(opt, 3)\ns.step()", "shift the schedule with jaxlr.starting_at(schedule, 1)"),
    (
        "def adjust(opt, epoch):\n    for g in opt.param_groups:\n        g['lr'] = 0.1 * 0.9**epoch\n"
        "def main():\n    opt = SGD(p, lr=0.1)\n    for epoch in range(9):\n        adjust(opt, epoch)\n"
        "main()",
        "the text sets the learning rate by hand, in 'adjust': give that function alone",
    ),
    (
        "gs = []\ngs.append({'params': p, 'lr': 0.3})\nopt = SGD(gs, 0.01)\nStepLR(opt, 3)",
        "rates of their own",
    ),
    (
        "gs = [dict(params=a)]\ngs.insert(0, dict(params=b, lr=1))\nopt = SGD(gs, 0.01)\nStepLR(opt, 3)",
        "of their own",
    ),
    (
        "opt = SGD([{'params': a, **extra}], 0.01)\nStepLR(opt, 3)",
        "may have rates of their own: give init_value",
    ),
    (
        "def cos_lr(epoch):\n    return 0.1\ndef step_lr(epoch):\n    return 0.2",
        "the text has several functions of the rate, 'cos_lr' and 'step_lr': give one",
    ),
    (
        "def rule(epoch):\n    return 0.1\ndef top(k):\n    return k",
        "functions of the rate, 'rule' and 'top'",
    ),
    (
        "opts = [SGD(g, lr=0.1), SGD(d, lr=0.1)]\nscheds = [StepLR(o, 3) for o in opts]",
        "the text constructs schedulers for several optimizers: give the lines of one",
    ),
    (
        "def adjust(opt, epoch):\n    global state\n    if epoch in [3, 6]:\n"
        "        state['lr'] *= 0.5\n        opt.param_groups[0]['lr'] = state['lr']",
        "cannot read \"state['lr']\", which a function changes, because its value depends on the number",
    ),
    (
        "try:\n    _, last = load(path)\nexcept:\n    last = 1\nStepLR(opt, 3, last_epoch=last - 2)",
        "which assigns a name that is used later: give its value, as in names={'last': ...}",
    ),
    ("UntunedLinearWarmup(opt)", "or the line of the optimizer with its betas"),
    (
        "opt = SGD(make_llrd(model), lr=0.01)\nStepLR(opt, 3)",
        "the groups of the SGD may have rates of their own",
    ),
    (
        "opt = SGD(groups(model, args.lr), lr=0.01)\nStepLR(opt, 3)",
        "may have rates of their own: give init_value",
    ),
]


@pytest.mark.parametrize(("text", "reason"), REASONS, ids=range(len(REASONS)))
def test_the_reason_of_a_refusal_is_true(text, reason):
    with pytest.raises(ValueError, match=re.escape(reason)):
        from_string(text)


def test_a_method_that_names_gives_is_that_function():
    text = "class R:\n    def f(self, e):\n        return 1\nr = R()\nscheduler = LambdaLR(opt, r.f)"
    assert from_string(text, 0.1)(1) == 0.1
    assert from_string(text, 0.1, {"r.f": lambda epoch: 0.5**epoch})(1) == 0.05


def test_an_optimizer_keeps_the_unknown_rate_that_it_had():
    text = "o = SGD(p, lr=args.lr)\nargs.lr = 5.0\nStepLR(o, 30)"
    with pytest.raises(ValueError, match=r"constructed with the value before it: give names={'args\.lr': "):
        from_string(text)
    assert from_string(text, names={"args.lr": 0.1})(0) == 0.1


A = "opt = SGD(model.parameters(), lr=0.1)\na = StepLR(opt, 2)\nb = ExponentialLR(opt, 0.5)\n"
WRAPPED = [
    "def build(opt):\n    a = StepLR(opt, 2)\n    return MyWarmup(opt, a, 10)",
    "def build(opt):\n    a = StepLR(opt, 2)\n    return {'lr_scheduler': MyWarmup(opt, after=a)}",
    A + "s = MyWarmup(schedulers=[a], n=10)",
    A + "s = MyWarmup({'main': a}, n=10)",
    A + "s = MyWarmup(dict(main=[a]))",
    A + "s = [MyWarmup(*(a, 10)), b]",
    A + "parts = []\nparts.append(a)\ns = MyWarmup(parts, n=10)",
    A + "s = MyWarmup([a, b], [10])",
    A + "s = MyWarmup([a, b][0])",
    A + "parts = {'main': a}\ns = MyWarmup(parts['main']).scheduler",
    A + "kwargs = {'main': a}\ns = MyWarmup(**kwargs)",
    A + "s = [MyWarmup(each) for each in (a, b)]",
    "parts = [StepLR(opt, n) for n in (2, 3)]\ns = MyWarmup(parts)",
]


@pytest.mark.parametrize("text", WRAPPED, ids=range(len(WRAPPED)))
def test_an_unknown_call_around_a_scheduler_is_refused_wherever_it_stands(text):
    with pytest.raises(ValueError, match="cannot read the call 'MyWarmup' around a scheduler: leave it"):
        from_string(text, 0.1)


def assert_is_step_lr(text):
    schedule = from_string(text, 0.1)
    assert [schedule(count) for count in range(5)] == pytest.approx(
        [0.1, 0.1, 0.01, 0.01, 0.001], rel=1e-12
    )


@pytest.mark.parametrize(
    "line",
    [
        "trainer = Trainer(model=model, args=args, optimizers=(opt, a))",
        "return Trainer(model, optimizers=[opt, a])",
        "trainer = Engine(net, [a])",
        "handlers = [LrScheduleHandler(lr_scheduler=a, print_lr=True)]",
        "args = {'optimizer': opt, 'scheduler': a}\n    epoch = load_checkpoint('out', **args)",
        "trainer.fit(model, [a])",
        "return cast(Any, a)",
        "pairs = list(zip([opt], [a]))",
        "state = SimpleNamespace(opt=opt, scheduler=a)",
        "names = [type(each).__name__ for each in [a]]",
        "rates = np.array([group['lr'] for group in a.optimizer.param_groups])",
        "torch.save({'opt': opt, 'scheduler': a}, path)",
        "return [opt], [{'scheduler': a, 'interval': 'epoch'}]",
        "return [opt], [LRSchedulerConfigType(scheduler=a, interval='epoch')]",
    ],
)
def test_a_call_that_trains_with_a_scheduler_or_holds_it_is_read(line):
    assert_is_step_lr(f"def run(opt):\n    a = StepLR(opt, 2)\n    {line}")


WARMED = (
    "opt = SGD(p, lr=0.1)\ns = StepLR(opt, 2)\nfor e in range(9):\n    {}\n    train(opt)\n    s.step()"
)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("warmup(opt, e)", "warmup"),
        ("if e < 3:\n        warmup(opt, e)", "warmup"),
        ("linear_warmup(e)", "linear_warmup"),
        ("utils.warmup_lr(e / 5)", "warmup_lr"),
        ("self.warm_up_step(step=e)", "warm_up_step"),
        ("self.adjust_learning_rate(e)", "adjust_learning_rate"),
        ("lr = self.adjust_learning_rate(e)", "adjust_learning_rate"),
        ("if e < 3:\n        self.update_lr(self.global_step + 1)", "update_lr"),
    ],
)
def test_a_warmup_by_hand_beside_a_scheduler_is_refused(line, name):
    with pytest.raises(ValueError, match=f"also sets the learning rate by hand, in '{name}': leave it out"):
        from_string(WARMED.format(line))
    assert_is_step_lr(WARMED.format("pass"))


@pytest.mark.parametrize(
    "line",
    [
        "print(get_lr(opt), e)",
        "lr = self.get_current_lr(e)",
        "self.warmup_cuda(e)",
        "model.warmup()",
        "loss = linear_warmup(e) * loss",
        "log_lr(opt, e)",
        "model.update_learning_rate()",
    ],
)
def test_a_call_that_does_not_set_the_rate_is_left_out(line):
    assert_is_step_lr(WARMED.format(line))
