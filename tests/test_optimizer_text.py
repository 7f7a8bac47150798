"""Texts of optimizers give the transformations of the objects that torch constructs from them."""

import inspect
import textwrap
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import test_timm_optimizers as timm
from hypothesis import given, settings
from hypothesis import strategies as st
from test_optimizer import OPTIONS

import jaxlr
from jaxlr.convert.optimizers.signatures import NAMES, WITHOUT_EFFECT, options_of, signature
from jaxlr.convert.optimizers.text import read_pair
from jaxlr.convert.optimizers.updates import RULES
from jaxlr.plateau import PlateauState


PARAMS = {"bias": jnp.linspace(-1.0, 1.0, 3), "kernel": jnp.linspace(-2.0, 1.0, 6).reshape(2, 3)}
BIASES = {"bias": 1, "kernel": 0}
MATRIX_OPTIONS = {
    "Muon": st.fixed_dictionaries(
        {"lr": st.sampled_from([0.1, 1e-3])},
        optional={
            "weight_decay": st.sampled_from([0.0, 0.3]),
            "momentum": st.sampled_from([0.0, 0.9]),
            "nesterov": st.booleans(),
            "ns_coefficients": st.just((3.0, -4.0, 2.0)),
            "eps": st.just(1e-3),
            "ns_steps": st.sampled_from([0, 3]),
            "adjust_lr_fn": st.sampled_from([None, "original", "match_rms_adamw"]),
        },
    ),
    "Adafactor": st.fixed_dictionaries(
        {"lr": st.sampled_from([0.1, 1e-3])},
        optional={
            "beta2_decay": st.sampled_from([-0.8, -0.5]),
            "eps": st.sampled_from([(None, 1e-3), (1e-30, 1e-2)]),
            "d": st.sampled_from([1.0, 2.0]),
            "weight_decay": st.sampled_from([0.0, 0.3]),
            "maximize": st.booleans(),
        },
    ),
}
SCHEDULERS = [
    None,
    "StepLR(optimizer, step_size=2, gamma=0.3)",
    "CosineAnnealingLR(optimizer, T_max=5)",
    "LinearLR(optimizer, total_iters=3)",
    "SequentialLR(optimizer, [LinearLR(optimizer), ExponentialLR(optimizer, 0.9)], milestones=[2])",
    "OneCycleLR(optimizer, 0.1, total_steps=9, cycle_momentum=False)",
    "ReduceLROnPlateau(optimizer, patience=0)",
]
NO_PLATEAU = ("Adafactor", "Rprop", "ASGD")  # their rules compute with the learning rate
CYCLES = [
    "OneCycleLR(optimizer, 0.1, 9)",
    "OneCycleLR(optimizer, 0.1, 9, base_momentum=0.7, max_momentum=[0.99])",
    "CyclicLR(optimizer, 0.01, 0.1, step_size_up=3)",
    "CyclicLR(optimizer, 0.01, 0.1, 2, 3, 'exp_range', 0.9, None, 'cycle', True, 0.5)",
]


def live(torch: Any, text: str, params: Any = PARAMS) -> tuple[Any, Any]:
    """Execute the text in torch, and return its optimizer and its scheduler."""
    tensors = [torch.zeros(np.shape(leaf)[::-1], requires_grad=True) for leaf in jax.tree.leaves(params)]
    names = vars(torch.optim) | vars(torch.optim.lr_scheduler) | {"torch": torch}
    names |= {"params": tensors, "bias": [tensors[0]], "kernel": tensors[1:], "scheduler": None}
    exec(text, names)
    return names["optimizer"], names["scheduler"]


def programs(tx: Any, params: Any = PARAMS) -> Any:
    """Return the first state, and the programs of an update and of a step of the plateau.

    Equal programs give the same bits, and are compared without compiling them.
    """

    def step(opt_state: Any) -> Any:
        updates, opt_state = tx.update(params, opt_state, params)
        is_plateau = any(isinstance(each, PlateauState) for each in nodes(opt_state))
        return updates, jaxlr.plateau_step(opt_state, 1.0) if is_plateau else opt_state

    opt_state = tx.init(params)
    jaxpr = jax.make_jaxpr(step)(opt_state)
    return opt_state, str(jaxpr), jaxpr.consts


def nodes(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=lambda each: isinstance(each, PlateauState))


def assert_same(torch: Any, text: str, params: Any = PARAMS, **more: Any) -> None:
    """Check that a text and the objects that it constructs give the same updates, bit for bit."""
    optimizer, scheduler = live(torch, text, params)
    shared = {key: value for key, value in more.items() if key in ("labels", "steps_per_epoch")}
    expected = jaxlr.optimizer_from_torch(optimizer, scheduler, **shared)
    ours = jaxlr.optimizer_from_string(text, **{"transposed": True, **more})
    (state, program, constants), (torchs_state, torchs, torchs_constants) = (
        programs(each, params) for each in (ours, expected)
    )
    assert program == torchs
    chex.assert_trees_all_equal((state, constants), (torchs_state, torchs_constants))


def test_every_converted_class_has_a_signature():
    assert {*NAMES} == {*RULES}
    assert all("lr" in signature(name).parameters for name in RULES)


@pytest.mark.parametrize("name", NAMES)
def test_signature_is_torchs(torch, name):
    def listed(parameters: Any, is_keyword: bool) -> list[tuple[str, Any]]:
        kind = inspect.Parameter.KEYWORD_ONLY
        return [(each.name, each.default) for each in parameters if (each.kind is kind) == is_keyword]

    cls = getattr(torch.optim, name, None)
    if cls is None:
        pytest.skip("not one of torch's own")
    torchs, ours = [*inspect.signature(cls).parameters.values()][1:], [*signature(name).parameters.values()]
    assert listed(ours, is_keyword=False) == listed(torchs, is_keyword=False)
    assert dict(listed(ours, is_keyword=True)) == dict(listed(torchs, is_keyword=True))


@pytest.mark.parametrize("name", {**OPTIONS, **MATRIX_OPTIONS})
@given(data=st.data())
@settings(max_examples=2, deadline=None)
def test_text_of_any_options_equals_the_live_optimizer(torch, name, data):
    options = data.draw({**OPTIONS, **MATRIX_OPTIONS}[name])
    scheduler = data.draw(st.sampled_from(SCHEDULERS[:-1] if name in NO_PLATEAU else SCHEDULERS))
    num_positional = data.draw(st.integers(0, 2))
    kinds = signature(name).parameters
    positional = [each for each in kinds if kinds[each].kind is not inspect.Parameter.KEYWORD_ONLY]
    written = [
        *(repr(options.get(each, kinds[each].default)) for each in positional[:num_positional]),
        *(f"{key}={value!r}" for key, value in options.items() if key not in positional[:num_positional]),
    ]
    lines = [f"optimizer = torch.optim.{name}(params, {', '.join(written)})"]
    lines += [f"scheduler = {scheduler}"] if scheduler else []
    assert_same(torch, "\n".join(lines), {"kernel": PARAMS["kernel"]} if name == "Muon" else PARAMS)


@pytest.mark.parametrize("name", NAMES)
def test_text_of_no_options_has_torchs_defaults(torch, name):
    if not hasattr(torch.optim, name):
        pytest.skip("not one of torch's own")
    params = {"kernel": PARAMS["kernel"]} if name == "Muon" else PARAMS
    assert_same(torch, f"optimizer = {name}(params)", params)


@pytest.mark.parametrize(
    "optimizer", ["SGD(params, 0.1, 0.9, nesterov=True)", "AdamW(params)", "SGD(params)"]
)
@pytest.mark.parametrize("cycle", CYCLES)
def test_momentum_cycles_as_in_torch(torch, optimizer, cycle):
    assert_same(torch, f"optimizer = {optimizer}; scheduler = {cycle}", steps_per_epoch=2)


def test_different_options_are_different_programs():
    texts = ["SGD(lr=0.1)", "SGD(lr=0.1000001)", "Adam()", "Adam(betas=(0.9, 0.9991))", "AdamW(eps=1.1e-8)"]
    assert len({programs(jaxlr.optimizer_from_string(text))[1] for text in texts}) == len(texts)


GROUPS = """
optimizer = torch.optim.AdamW(
    [{"params": kernel, "weight_decay": 0.3}, {"params": bias, "lr": 0.01}], lr=0.1, weight_decay=0.0
)
"""


@pytest.mark.parametrize(
    "scheduler", [None, SCHEDULERS[1], SCHEDULERS[-1], "CyclicLR(optimizer, 0.01, [0.1, 0.2], 6)"]
)
def test_each_group_has_its_own_options(torch, scheduler):
    text = GROUPS + (f"scheduler = {scheduler}" if scheduler else "")
    assert_same(torch, text, labels=BIASES, steps_per_epoch=3)


@pytest.mark.parametrize(
    "text",
    [
        "groups = [{'params': kernel, 'weight_decay': 0.3}, {'params': bias}]; optimizer = SGD(groups, 1)",
        "groups = []\ngroups.append({'params': kernel})\ngroups.append(dict(params=bias, lr=0.2))\n"
        "optimizer = torch.optim.Adam(params=groups, lr=1e-2)",
        "optimizer = NAdam([{'params': p, 'lr': 0.1 * 2**-i} for i, p in enumerate([kernel, bias])])",
        "optimizer = SGD([{'params': kernel, 'name': 'decay'}, {'params': bias, 'foreach': None}], lr=0.1)",
    ],
)
def test_parameter_groups_may_be_built(torch, text):
    assert_same(torch, text, names={"kernel": 0, "bias": 0}, labels=BIASES)


def test_parameter_groups_may_be_added(torch):
    text = """
optimizer = SGD(kernel, lr=0.1)
optimizer.add_param_group({"params": bias, "momentum": 0.5})
scheduler = StepLR(optimizer, 3)
"""
    assert_same(torch, text, labels=BIASES)


PASTED = {
    "imports and comments": """
        import torch
        import torch.optim as optim
        from torch.optim.lr_scheduler import StepLR
        lr = 0.1  # as in the paper
        optimizer = optim.SGD(params, lr=lr, momentum=0.9, weight_decay=5e-4)
        scheduler = StepLR(optimizer, step_size=30)
        """,
    "a filter": "optimizer = Adam(filter(lambda p: p.requires_grad, params), lr=2e-4, betas=(0.5, 0.999))",
    "an alias": "from torch.optim import AdamW as Optimizer\noptimizer = Optimizer(params, lr=1e-3)",
    "an alias of torch": "import torch as th\noptimizer = th.optim.Adagrad(params, 0.1, lr_decay=0.1)",
    "keywords from a dict": "options = dict(lr=0.1, momentum=0.9)\noptimizer = SGD(params, **options)",
    "options that only change the speed": """
        extra = dict(fused=False) if not params else dict()
        optimizer = AdamW(params, lr=0.1, foreach=bool(params), **extra)
        """,
    "getattr": "optimizer = getattr(torch.optim, 'RMSprop')(params, lr=0.01)",
    "a condition": """
        kind = "sgd"
        if kind == "sgd":
            optimizer = SGD(params, lr=0.1)
        elif kind == "adam":
            optimizer = Adam(params, lr=0.1)
        """,
    "a class by name": """
        classes = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
        optimizer = classes["adamw"](params, lr=0.1)
        """,
    "a function": """
        def build(values, lr=0.1):
            return torch.optim.AdamW(values, lr=lr)
        optimizer = build(params, lr=0.3)
        scheduler = ExponentialLR(optimizer, 0.9)
        """,
    "functions of the program": """
        def make_optimizer(values, lr=0.2):
            return SGD(values, lr=lr)
        def make_scheduler(optimizer, step=3):
            return StepLR(optimizer, step)
        optimizer = make_optimizer(params, lr=0.3)
        scheduler = make_scheduler(optimizer, step=5)
        """,
    "a table of schedulers": """
        table = {"step": StepLR, "exponential": ExponentialLR}
        optimizer = SGD(params, lr=0.3)
        scheduler = table.get("step")(optimizer, 3)
        """,
    "a rate that changes later": """
        lr = 0.1
        optimizer = SGD(params, lr=lr)
        lr = 0.5
        scheduler = StepLR(optimizer, 3)
        """,
    "a main": """
        def build(values, lr):
            return torch.optim.AdamW(values, lr=lr, betas=(0.8, 0.99))
        def main(lr, gamma=0.9):
            global optimizer, scheduler
            optimizer = build(params, lr)
            scheduler = ExponentialLR(optimizer, gamma)
            for _ in range(2):
                optimizer.step()
            optimizer = build(params, lr)
            scheduler = ExponentialLR(optimizer, gamma)
        if __name__ != "never":
            pass
        main(0.3)
        """,
    "a fallback for an import from torch": """
        try:
            from torch.optim import AdamW
        except ImportError:
            from transformers import AdamW
        optimizer = AdamW(params, lr=0.1)
        """,
    "a rate in arithmetic": "batch = 64\noptimizer = SGD(params, lr=0.1 * batch / 256)",
    "an annotation": "optimizer: torch.optim.Optimizer = SGD(params, lr=0.1)",
    "a training loop": """
        optimizer = SGD(params, lr=0.1)
        scheduler = StepLR(optimizer, 3)
        for epoch in range(3):
            optimizer.zero_grad()
            optimizer.step()
            scheduler.step()
            print(optimizer.param_groups[0]["lr"])
        optimizer, scheduler = SGD(params, lr=0.1), None
        scheduler = StepLR(optimizer, 3)
        """,
}


@pytest.mark.parametrize("case", PASTED)
def test_pasted_program_gives_the_optimizer_that_it_constructs(torch, case):
    assert_same(torch, textwrap.dedent(PASTED[case]))


AS_ADAMW = {
    "a call around it": """
        optimizer = AdamW(model.parameters(), lr=0.1)
        model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
        """,
    "Lightning": """
        class Model(LightningModule):
            def forward(self, x):
                return self.net(x)

            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=0.1)
                scheduler = StepLR(optimizer, 4)
                return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler}}
        """,
    "Lightning without a scheduler": "def configure_optimizers(self):\n    return AdamW(lr=0.1)",
    "a list": "optimizers = [torch.optim.AdamW(model.parameters(), lr=0.1)]",
    "a config": '{"optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1}}}',
    "YAML": "optimizer:\n  _target_: torch.optim.AdamW\n  lr: 0.1\nscheduler:\n"
    "  _target_: torch.optim.lr_scheduler.StepLR\n  step_size: 4\n",
    "a prompt": ">>> optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)\n>>> optimizer.zero_grad()",
    "an unknown option of speed": "AdamW(params, lr=0.1, fused=device == 'cuda')",
    "no parameters": "AdamW(lr=0.1)",
    "a rate first": "AdamW(0.1)",
    "several modules": "AdamW(list(encoder.parameters()) + list(decoder.parameters()), lr=0.1)",
    "named parameters": "AdamW([p for n, p in model.named_parameters() if 'head' not in n], lr=0.1)",
    "unrelated branches": "optimizer = AdamW(params, 0.1)\nif args.resume:\n    model.load(saved)",
    "inside of the scheduler": "StepLR(torch.optim.AdamW(params, lr=0.1), 4)",
    "chained by a semicolon": "AdamW(params, lr=0.1); StepLR(4)",
    "a scheduler beside another optimizer's": """
        opt_g, opt_d = SGD(g.parameters(), 0.3), AdamW(d.parameters(), 0.1)
        scheduler = StepLR(opt_d, 4)
        """,
}


@pytest.mark.parametrize("case", AS_ADAMW)
def test_text_that_torch_needs_more_for_is_read(case):
    text = textwrap.dedent(AS_ADAMW[case])
    scheduler = None if "StepLR" in text else jaxlr.step_lr(0.1, 4)
    _, program, _ = programs(jaxlr.optimizer_from_string(text, scheduler))
    assert program == programs(jaxlr.optimizer_from_string("AdamW(params, 0.1); StepLR(4)"))[1]


ONE_GROUP = [
    "self.params",
    "filter(lambda p: p.requires_grad, model.parameters())",
    "itertools.chain(a.parameters(), *[m.parameters() for m in models])",
    "[p for m in models for p in m.parameters() if p.requires_grad]",
    "(p for _, p in model.named_parameters())",
    "model.module.parameters() if is_parallel else model.parameters()",
    "sum([list(m.parameters()) for m in models], [])",
    "[image.requires_grad_(), torch.zeros(3), nn.Parameter(torch.ones(2))]",
    "[model.embed.weight, self.log_alpha]",
    "list(model.parameters())[-2:]",
    "set(model.parameters()) - set(head.parameters())",
    "{name: p for name, p in model.named_parameters()}.values()",
]


@pytest.mark.parametrize("params", ONE_GROUP)
def test_expression_of_parameters_is_one_group(params):
    for text in (f"AdamW({params}, lr=0.1)", f"kept = {params}\nopt = AdamW(kept, lr=0.1)"):
        read = read_pair(text)
        assert (read.optimizer.given, read.optimizer.own) == ({"lr": 0.1}, ({},))


def test_loop_that_collects_parameters_is_one_group():
    text = """
params_to_update = []
for name, param in model.named_parameters():
    if param.requires_grad:
        params_to_update.append(param)
optimizer = SGD(params_to_update, lr=0.1)
"""
    assert read_pair(text).optimizer.own == ({},)


GROUPS_THAT_ARE_NOT_SHOWN = {
    "the function of another file": "params = add_weight_decay(model, 0.05)\nopt = AdamW(params)",
    "a method": "AdamW(model.get_parameters(lr=0.1))",
    "a name for it": "parameters = get_parameter_groups(model)\nopt = AdamW(parameters)",
    "a function of the text": """
        def split(model, weight_decay):
            decay = [p for p in model.parameters() if p.ndim > 1]
            rest = [p for p in model.parameters() if p.ndim < 2]
            return [{"params": rest, "weight_decay": 0.0}, {"params": decay, "weight_decay": weight_decay}]
        optimizer = AdamW(split(model, 0.05), weight_decay=0.0)
        """,
    "a generator": """
        def split(model):
            for p in model.parameters():
                yield dict(params=p, lr=0.1)
        parameters = split(model)
        optimizer = AdamW(parameters)
        """,
    "a loop": """
        params = []
        for name, p in model.named_parameters():
            params += [{"params": [p], "lr": 0.2 if "bias" in name else 0.1}]
        optimizer = SGD(params, momentum=0.9)
        """,
    "a loop over a mapping": """
        found = {}
        for name, p in model.named_parameters():
            found[name] = dict(defaults, params=[p])
        optimizer = SGD(found.values())
        """,
    "a loop that fills a mapping": """
        found = []
        for name, p in model.named_parameters():
            each = {"lr": 0.2}
            each["params"] = [p]
            found.append(each)
        optimizer = SGD(found)
        """,
    "a sum": "params = base + [{'params': head.parameters(), 'lr': 0.3}]\nopt = AdamW(params)",
    "a starred name": "params = [*base, {'params': p, 'lr': 0.3}]\nopt = AdamW(params)",
    "a comprehension over groups": "AdamW([each for each in param_groups if each['lr']])",
}


@pytest.mark.parametrize("case", GROUPS_THAT_ARE_NOT_SHOWN)
def test_parameter_groups_that_a_text_does_not_show_are_refused(case):
    with pytest.raises(
        ValueError, match=r"does not show the parameter groups .* Write model.parameters\(\)"
    ):
        read_pair(textwrap.dedent(GROUPS_THAT_ARE_NOT_SHOWN[case]))


def test_parameters_beside_groups_are_refused():
    with pytest.raises(ValueError, match="AdamW takes a list of parameters or of groups, not of both"):
        read_pair("AdamW([None, {'params': p}])")


REFUSED = [
    (
        "o = SGD(p, 0.1)\ns = StepLR(o, 3)\nm, o, s = accelerator.prepare(m, o, s)",
        "Accelerate steps the scheduler once per process",
    ),
    (
        "o = SGD(p, 0.1)\ns = accelerator.prepare(StepLR(o, 3))",
        "Accelerate steps the scheduler once per process",
    ),
    ("o = SGD(...)\ns = StepLR(o, 3)", "write the options in the place of '...'"),
    (
        "o = [SGD(a, 0.1), SGD(b, 0.1)]\ns = [StepLR(each, 3) for each in o]",
        "schedulers for each each of several",
    ),
    ("o = SGD(p, 0.1)\no.load_state_dict(x)", "the learning rate by that of a checkpoint"),
    ("t = {'step': StepLR}\no = SGD(p, 0.1)\ns = t[kind](o, 3)", "give names={'kind': ...}"),
    (
        "AdamW(params, lr=0.1, wd=3)",
        "AdamW has no option 'wd'; it takes lr, betas, eps, weight_decay, amsgrad, m",
    ),
    ("SGD(params, 0.1, lr=0.2)", "SGD is given its argument 'lr' twice"),
    ("SGD(params, 0.1, 0.9, 0, 0, False, True)", "SGD takes at most 6 arguments by position"),
    ("SGD([{'params': p, 'lr_scale': 2}], lr=1)", "a parameter group of SGD has no option 'lr_scale'"),
    ("AdmaW(params)", "did you mean AdamW"),
    ("LBFGS(params)", "cannot convert the optimizer 'LBFGS.params.': jaxlr converts torch's SGD, Adam,"),
    ("StepLR(30)", "the text constructs no optimizer: write a call such as 'AdamW"),
    ("StepLR(Lion8bit(params), 30)", "cannot convert the optimizer 'Lion8bit"),
    (
        "from transformers import AdamW\nAdamW(params)",
        "transformers.AdamW is not known to be torch's AdamW",
    ),
    ("opt = bnb.optim.AdamW(params)", "bnb.optim.AdamW is not known to be torch's"),
    (
        "class SGD(Optimizer):\n    def step(self):\n        pass\nopt = SGD(p, 0.1)",
        "your own.SGD is not known to be torch's",
    ),
    (
        "AdamW(params, lr=args.lr)",
        "the optimizer's text needs values for its names: give names={'args.lr': ...}",
    ),
    ("AdamW(optim_groups, lr=0.1)", "does not show the parameter groups 'optim_groups'"),
    (
        "AdamW(params, lr=0.1)\nopt.add_param_group({'params': b})",
        "changes the parameter groups after the constr",
    ),
    (
        "opt = SGD(p, 0.1)\nopt.param_groups[0]['weight_decay'] = 1",
        "changes the parameter groups after the con",
    ),
    (
        "o = SGD(p, 0.1)\nfor g in o.param_groups:\n    g['momentum'] = 1",
        "changes the parameter groups after",
    ),
    ("o = SGD(p, 0.1)\no.param_groups[0].update(lr=3)", "changes the parameter groups after"),
    (
        "o = SGD(p, 0.1)\nfor g in o.param_groups:\n    g.update({'lr': 3})",
        "changes the parameter groups after",
    ),
    (
        "try:\n    from apex.optimizers import FusedAdam as Adam\n"
        "except ImportError:\n    from torch.optim import Adam\nopt = Adam(p)",
        "apex.optimizers.FusedAdam is not known to be torch's Adam",
    ),
    (
        "try:\n    from torch.optim import Muon\n"
        "except ImportError:\n    from muon import Muon\nopt = Muon(p)",
        "muon.Muon is not known to be torch's Muon",
    ),
    (
        "try:\n    import torch\nexcept ImportError:\n    from own import Lion\nopt = Lion(p)",
        "own.Lion is not known to be timm's Lion",
    ),
    ("from .optim import Adam\nopt = Adam(p)", ".optim.Adam is not known to be torch's Adam"),
    ("from . import Adam\nopt = Adam(p)", "your own.Adam is not known to be torch's Adam"),
    ("opt = SGD(p, 0.1)\nopt = Lookahead(opt)", "cannot convert the optimizer 'Lookahead.opt.'"),
    ("o = SGD(p, 0.1)\ns = StepLR(o, 3)\nopt = Lookahead(o)", "cannot read the call 'Lookahead' around"),
    ("o = SGD(p, 0.1); s = StepLR(o, 3)\no = OptimizerOf(o)", "cannot read the call 'OptimizerOf' around"),
    ("AdamW([head_group, body_group], lr=0.1)", "does not show the parameter groups"),
    ("AdamW(get_param_groups(model), lr=0.1)", "does not show the parameter groups"),
    ("SGD([{'params': 1}] * 101, lr=0.1)", "SGD may have at most 100 parameter groups, got 101"),
    ("opt = SGD(p, 0.1)\nmy_opt = Lookahead(opt)", "cannot read the call 'Lookahead' around the optimizer"),
    (
        "opt = SGD(p, 0.1)\nsched = OwnLR(opt, 3)",
        "cannot read 'OwnLR.opt, 3.', which may change the learning rate",
    ),
    ("opt = SGD(p, 0.1)\nadjust_learning_rate(opt, 3)", "which may change the learning rate"),
    (
        "opt = SGD(p, 0.1); s = StepLR(opt, 3)\nwarmup = WarmUpLR(opt, 9)",
        "WarmUpLR.*whose rates are not known",
    ),
    (
        "opt = SGD(p, 0.1)\nself.lr_scheduler = Poly(0.1, 9)",
        "cannot read 'Poly.0.1, 9.', which may change the learning rate",
    ),
    ("opt = create_optimizer(model)", "add the lines that define create_optimizer, or write the optimizer"),
    (
        "if args.kind == 'sgd':\n    opt = SGD(p, 0.1)",
        "the optimizer's text needs values for its names: give names={'args.kind': ...}",
    ),
    ("a = SGD(p, 0.1); b = SGD(q, 0.2)", "the text constructs two optimizers, SGD.lr=0.2. and SGD.lr=0.1."),
    ("if flag:\n    opt = SGD(p, 0.1)\nelse:\n    opt = Adam(p)", "give names={'flag': ...}"),
    ("opt = SGD(p, 0.1)\nopt.step = f", "it changes a SGD after its construction"),
    ("opt = SGD(p, 0.1)\nopt.register_step_pre_hook(f)", "it changes an optimizer after its construction"),
    (
        "opt = SGD(p, 0.1); s = StepLR(opt, 3)\nopt.add_param_group({'params': b})",
        "changes a SGD after its co",
    ),
    (
        "opt = SGD(p, 0.1)\nif x:\n    opt.add_param_group({'params': b})",
        "changes the parameter groups after",
    ),
    ("a = Adam(p, 0.1)\nb = SparseAdam(q)", "cannot convert the optimizer 'SparseAdam.q.'"),
    ("if 1 > 2:\n    opt = SGD(p, 0.1)", "no optimizer for these names: no branch or function"),
    (
        "class A:\n    def a(self):\n        SGD(p)\n    def b(self):\n        Adam(p)",
        "in several functions, 'a' and",
    ),
    (
        "dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))",
        "cannot read the OptimWrapper: it is MM",
    ),
    ("AdamW(params, lr=", "cannot read the optimizer 'AdamW.params, lr='"),
    ("Adagrad(p); OneCycleLR(0.1, 9)", "Adagrad has no momentum that the OneCycleLR could cycle"),
    ("SGD(p, 0.1); SequentialLR([LinearLR(), OneCycleLR(0.1, 9)], [3])", "contains a OneCycleLR that does"),
    ("Muon(params)", "Muon depends on which axis of a matrix is which: give transposed=True if"),
    ("Adafactor(transposed=True)", "Adafactor has no option 'transposed'"),
    ("", "the text constructs no optimizer"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_text_that_could_mean_something_else_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        jaxlr.optimizer_from_string(text)


OUT_OF_RANGE = [
    *(f"{name}(params, lr=-1)" for name in NAMES),
    *(f"{name}(params, weight_decay=-1)" for name in NAMES if "weight_decay" in signature(name).parameters),
    *(f"{name}(params, betas=(0.9, 1.0))" for name in NAMES if "betas" in signature(name).parameters),
    *(
        f"{name}(params, eps=-1)"
        for name in NAMES
        if "eps" in signature(name).parameters and name not in ("Muon", "Adafactor")
    ),
    "SGD(params, nesterov=True)",
    "SGD(params, momentum=0.9, dampening=0.1, nesterov=True)",
    "SGD(params, momentum=-1)",
    "Adadelta(params, rho=1.1)",
    "Adafactor(params, d=0.5)",
    "Adafactor(params, beta2_decay=0.1)",
    "Adafactor(params, eps=(None, -1))",
    "Muon(kernel, adjust_lr_fn='other')",
    "Muon(kernel, momentum=-0.1)",
    "NAdam(params, momentum_decay=-1)",
    "Adagrad(params, lr_decay=-1)",
    "Adagrad(params, initial_accumulator_value=-1)",
    "RMSprop(params, alpha=-1)",
]


@pytest.mark.parametrize("text", OUT_OF_RANGE)
def test_option_out_of_its_range_is_refused_as_in_torch(torch, text):
    if hasattr(torch.optim, text.split("(")[0]):
        with pytest.raises(ValueError):  # noqa: PT011
            live(torch, f"optimizer = {text}")
    with pytest.raises(ValueError, match=r"must|need"):
        jaxlr.optimizer_from_string(text, transposed=True)


def test_own_schedules_replace_the_rates(torch):
    rates = [jaxlr.step_lr(0.3, 2), jaxlr.reduce_lr_on_plateau(0.02)]
    optimizer, _ = live(torch, GROUPS)
    expected = jaxlr.optimizer_from_torch(optimizer, rates, labels=BIASES)
    ours = jaxlr.optimizer_from_string(GROUPS, rates, labels=BIASES)
    assert programs(ours)[1] == programs(expected)[1]


def test_the_scheduler_may_be_a_text_of_its_own():
    together = jaxlr.optimizer_from_string("SGD(p, 0.1)\nStepLR(args.size)", names={"args.size": 3})
    apart = jaxlr.optimizer_from_string("SGD(p, 0.1)", "StepLR(args.size)", {"args.size": 3})
    assert programs(together)[1] == programs(apart)[1]


@pytest.mark.parametrize(
    ("scheduler", "kind", "message"),
    [
        (3, TypeError, "scheduler must be a text, a schedule, a plateau, or a list"),
        ([], ValueError, "a schedule for each of the 1 groups, got 0"),
        ("StepLR(3)", ValueError, "StepLR and a StepLR for one|two|twice|ChainedScheduler"),
        (jaxlr.step_lr(0.1, 3), ValueError, "the text has a scheduler, and one is given"),
        ("cosine", ValueError, "the text of the scheduler constructs none: write a call"),
        ("StepLR", ValueError, "the text of the scheduler constructs none: write a call"),
        (jaxlr.from_config("--lr 1 --sched step --epochs 9"), TypeError, "give its recipe.schedule"),
    ],
)
def test_what_is_no_schedule_is_refused(scheduler, kind, message):
    text = (
        "SGD(p, 0.1)"
        if kind is TypeError or scheduler in ([], "cosine", "StepLR")
        else "o = SGD(p, 0.1); s = OneCycleLR(o, 1, 9)"
    )
    with pytest.raises(kind, match=message):
        jaxlr.optimizer_from_string(text, scheduler)


@pytest.mark.parametrize(
    ("name", "message"),
    [("Muon", "has the shape"), ("Adafactor", "treats stacked matrices and convolutions differently")],
)
def test_parameters_that_are_no_matrices_are_refused(name, message):
    tx = jaxlr.optimizer_from_string(f"{name}(params)", transposed=True)
    with pytest.raises(ValueError, match=message):
        tx.init({"kernel": jnp.zeros((3, 4, 5))})


@pytest.mark.parametrize(
    "line",
    [
        "for g in opt.param_groups: g.update(lr=0.5)",
        "for i, g in enumerate(opt.param_groups): g['weight_decay'] = 0.1 * i",
        "opt.param_groups[0].update({'lr': 0.5})",
        "[g.__setitem__('lr', 0.5) for g in opt.param_groups]",
        "for g in opt.param_groups: change(g)",
        "list(map(change, opt.param_groups))",
        "opt.param_groups = groups",
        "pg = opt.param_groups[0]; pg['betas'] = (0.1, 0.2)",
        "pg = opt.param_groups; pg[0]['weight_decay'] = 0.3",
        "(pg,) = opt.param_groups; pg['weight_decay'] = 0.3",
    ],
)
def test_a_text_that_changes_the_parameter_groups_is_refused(line):
    with pytest.raises(ValueError, match="changes the parameter groups after the construction"):
        jaxlr.optimizer_from_string(f"opt = Adam(p, 0.1)\n{line}")


@pytest.mark.parametrize(
    "line",
    [
        "for i, g in enumerate(opt.param_groups): writer.add_scalar('lr', g['lr'], i)",
        "rates = [g['lr'] for g in opt.param_groups]; rates.append(0.1)",
        "for g in opt.param_groups: g.setdefault('initial_lr', g['lr'])",
        "print(opt.param_groups[0]['lr'])",
        "entry = {}; entry.update(lr=opt.param_groups[0]['lr']); log(len(opt.param_groups))",
    ],
)
def test_a_text_that_reads_the_parameter_groups_is_read(line):
    assert jaxlr.optimizer_from_string(f"opt = Adam(p, 0.1)\n{line}")


def test_settings_are_not_rounded_to_the_dtype_of_the_parameters():
    text = "opt = Lion(p, lr=0.01, betas=(0.9, 0.99)); OneCycleLR(opt, max_lr=0.1, total_steps=9)"
    tx = jaxlr.optimizer_from_string(text)
    grads = [jnp.asarray(each, jnp.bfloat16) for each in (256.0, -1.0)]
    state = tx.init(jnp.ones([], jnp.bfloat16))
    for grad in grads:
        _, state = tx.update(grad, state, jnp.ones([], jnp.bfloat16))
    moment = optax.tree.get(state, "mu")
    first = float(jnp.asarray(0.01 * 256.0, jnp.bfloat16))
    assert moment == jnp.asarray(0.99 * first - 0.01, jnp.bfloat16)


def test_a_text_that_clips_gradients_warns():
    text = "o = SGD(p, 0.1)\nfor x in loader:\n    torch.nn.utils.clip_grad_norm_(p, 1.0)\n    o.step()"
    with pytest.warns(UserWarning, match="chain jaxlr.clip_grad_norm before it"):
        jaxlr.optimizer_from_string(text)


def test_options_without_effect_are_not_options():
    assert all(not {*WITHOUT_EFFECT} & {*options_of(name)} for name in NAMES)


@pytest.mark.parametrize("name", ["Lion", "Lamb"])
def test_defaults_of_timm_are_those_that_were_recorded(name):
    recorded = timm.CASES[name]["groups"][0]
    ours = {key: each.default for key, each in signature(name).parameters.items()}
    assert {key: [*each] if isinstance(each, tuple) else each for key, each in ours.items()} == {
        key: value for key, value in recorded.items() if key not in ("params", "max_lr_snapshot")
    }


@pytest.mark.parametrize("case", timm.UPDATES)
def test_text_of_an_optimizer_of_timm_equals_the_live_one(torch, case):
    groups, name = timm.CASES[case]["groups"], timm.CASES[case]["class"]
    if timm.CASES[case]["is_decoupled"]:
        pytest.skip("an option of lion_pytorch, which a text cannot have")
    members = [f"{{'params': params, **{each}}}" for each in _as_written(groups, name)]
    options = ", ".join(f"{key}={value!r}" for key, value in _as_written(groups[:1], name)[0].items())
    text = f"optimizer = {name}([{', '.join(members)}], {options})"
    labels = None if len(groups) == 1 else {"bias": 1, "kernel": 0}
    ours = jaxlr.optimizer_from_string(text, labels=labels, transposed=False)
    live = jaxlr.optimizer_from_torch(timm.stand_in(torch, case), labels=labels, transposed=False)
    params = timm.recorded("params")
    first = {name: jnp.asarray(each[0]) for name, each in params.items()}
    (state, program, _), (torchs_state, torchs, _) = (programs(each, first) for each in (ours, live))
    assert program == torchs
    chex.assert_trees_all_equal(state, torchs_state)


def _as_written(groups: list[Any], name: str) -> list[dict[str, Any]]:
    """Return the options of recorded groups as a program writes them."""
    known = signature(name.rpartition(".")[2]).parameters
    return [{key: value for key, value in group.items() if key in known} for group in groups]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lion_pytorch.cautious_lion.Lion(params)", "timm's Lion"),
        ("apex.optimizers.Lamb(params)", "timm's Lamb"),
        ("Lion(params, use_triton=True)", "no option 'use_triton'"),
    ],
)
def test_namesakes_of_timms_optimizers_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        jaxlr.optimizer_from_string(text)
