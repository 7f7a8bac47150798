"""pytorch_warmup, and other libraries with classes of torch's names, beside their own curves."""

from typing import Any

import jax
import pytest
from framework_files import assert_has_rates, call_text, recorded
from helpers import HOST_RTOL, assert_close

import jaxlr
from jaxlr.convert import port


from_string: Any = jaxlr.from_string
HEAD = """
optimizer = torch.optim.AdamW(params, lr=0.1, betas=(0.9, {beta2}))
lr_scheduler = {scheduler}
warmup_scheduler = warmup.{warmup}
"""
LOOP = """
for epoch in range(1, num_epochs + 1):
    for batch in dataloader:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with warmup_scheduler.dampening():
            lr_scheduler.step()
"""


@recorded("pytorch_warmup")
def test_a_dampened_scheduler_gives_the_rates_of_the_original(case):
    scheduler, beta2 = case["lr_scheduler"], case["beta2"]
    text = HEAD.format(beta2=beta2, scheduler=scheduler, warmup=call_text(case))
    schedule = from_string(text + LOOP if scheduler else text)
    assert_has_rates(schedule, case["rates"])


@recorded("namesakes")
def test_another_library_gives_the_rates_of_the_original(case):
    module = case["library"].replace("-", "_")
    text = f"from {module} import {case['call']}\n{call_text(case)}"
    rate = None if case["call"] == "PolyLRScheduler" else case["init_value"]
    schedule = from_string(text, rate)
    assert_has_rates(schedule, case["rates"])
    assert from_string(call_text(case), rate)(9) == schedule(9)  # its keywords tell it too


def in_function(loop: str) -> str:
    """Return a loop in a function, which another loop calls."""
    body = loop.replace("\n", "\n    ")
    return f"def train(lr_scheduler, warmup_scheduler):{body}\nfor epoch in range(9):\n    train(a, b)\n"


def written(
    warmup: str, loop: str = LOOP, scheduler: str = "StepLR(optimizer, 30)", beta2: Any = 0.999
) -> str:
    """Return a program with a warmup of pytorch_warmup."""
    return HEAD.format(beta2=beta2, scheduler=scheduler, warmup=warmup) + loop


UNTUNED = "UntunedLinearWarmup(optimizer)"
DEFAULT = f"optimizer = torch.optim.Adam(params, lr=0.1)\n{UNTUNED}"
TWO = """
optimizer = torch.optim.Adam(params, lr=0.1)
scheduler1 = StepLR(optimizer, 2, gamma=0.5)
scheduler2 = ConstantLR(optimizer, 0.5, total_iters=99)
warmup_scheduler = warmup.LinearWarmup(optimizer, 4)
for batch in dataloader:
    with warmup_scheduler.dampening():
        scheduler1.step()
        scheduler2.step()
"""
GROUPS = """
optimizer = torch.optim.Adam([{"params": a, "lr": 0.1}, {"params": b, "lr": 0.2}])
warmup_scheduler = warmup.LinearWarmup(optimizer, [4, 8])
"""
BY_NAME = "optimizer = Adam(p, 0.1, betas=(args.beta1, args.beta2))\n" + UNTUNED
BY_PLACE = "optimizer = Lamb(p, 0.1, True, (0.9, 0.5))\n" + UNTUNED
NNUNET = """
optimizer = torch.optim.SGD(self.network.parameters(), self.initial_lr, weight_decay=self.weight_decay,
                            momentum=0.99, nesterov=True)
lr_scheduler = PolyLRScheduler(optimizer, self.initial_lr, self.num_epochs)
return optimizer, lr_scheduler
"""
SNIPPETS = [  # a text, other arguments, and rates by count
    (written("LinearWarmup(optimizer, warmup_period=20)"), {}, {0: 0.005, 19: 0.1, 30: 0.01}),
    (written("UntunedLinearWarmup(optimizer)"), {}, {0: 0.1 / 1999, 30: 0.01 * 31 / 1999}),
    (written("UntunedLinearWarmup(optimizer)", beta2=0.5), {}, {0: 0.025, 3: 0.1, 30: 0.01}),
    (DEFAULT, {}, {0: 0.1 / 1999, 1998: 0.1}),
    (f"{in_function(LOOP)}{DEFAULT}", {}, {0: 0.1 / 1999, 1998: 0.1}),
    ("UntunedLinearWarmup(optimizer, beta2=0.5)", {"init_value": 0.1}, {0: 0.025, 3: 0.1}),
    (TWO, {}, {0: 0.0125, 2: 0.01875, 4: 0.0125}),
    (GROUPS, {"group": 1}, {0: 0.025, 7: 0.2}),
    ("LinearWarmup(optimizer, 4)", {"init_value": 0.1}, {0: 0.025, 9: 0.1}),
    (
        NNUNET,
        {"names": {"self.initial_lr": 0.01, "self.num_epochs": 1000}},
        {0: 0.01, 500: 0.01 * 0.5**0.9},
    ),
    (BY_NAME, {"names": {"args.beta2": 0.5}}, {0: 0.025, 3: 0.1}),
    (BY_PLACE, {}, {0: 0.025, 3: 0.1}),
    (
        "optimizer = apex.optimizers.FusedAdam(p, lr=0.1, betas=(0.9, 0.5))\n" + UNTUNED,
        {},
        {0: 0.025, 3: 0.1},
    ),
    ("PolyLRScheduler(opt, cfg['lr'], 10)", {"names": {"cfg": {"lr": 0.1}}}, {0: 0.1, 5: 0.1 * 0.5**0.9}),
    ("PolyLRScheduler(optimizer, 1e-2, 1000)", {}, {0: 0.01, 500: 0.01 * 0.5**0.9, 1001: 0.0}),
    ("PolyLRScheduler(optimizer, initial_lr=1, max_steps=4, exponent=1.0)", {}, {1: 0.75}),
    ("PolyLRScheduler(optimizer, 100, 1.0)", {"init_value": 1.0}, {50: 0.5}),  # timm's
    ("monai.optimizers.LinearLR(opt, 2.0, 11)", {"init_value": 1.0}, {5: 1.5, 10: 2.0, 20: 3.0}),
    ("LinearLR(opt, 0.5, 1.0, 10)", {"init_value": 1.0}, {5: 0.75}),  # torch's
    ("import k_diffusion as K\nK.utils.ExponentialLR(opt, 10, 0.5)", {"init_value": 1.0}, {10: 0.5}),
    ("K.utils.InverseLR(opt, 1e6, 0.5, 0.5)", {"init_value": 1.0}, {0: 0.5, 1: 0.75 * (1 + 1e-6) ** -0.5}),
    ("InverseLR(opt, min_lr=0.1, final_lr=0.4)", {"init_value": 1.0}, {1: 0.5, 9: 0.4}),
    ("InverseLR(opt, inv_gamma=3, final_lr=0.4)", {"init_value": 1.0}, {0: 1.0, 3: 0.5, 9: 0.4}),
]


@pytest.mark.parametrize(("text", "arguments", "expected"), SNIPPETS)
def test_a_snippet_as_people_write_it_gives_its_rates(text, arguments, expected):
    schedule = from_string(text, **arguments)
    for count, value in expected.items():
        assert_close(schedule(count), value, HOST_RTOL)


def test_a_warmup_is_printed_with_its_scheduler_and_beta2():
    *_, line, _ = port(written("UntunedLinearWarmup(optimizer)", beta2=0.98)).splitlines()
    text = "UntunedLinearWarmup(beta2=0.98, lr_scheduler=StepLR(step_size=30))"
    assert line == f"schedule = jaxlr.from_string({text!r}, 0.1)"
    assert from_string(text, 0.1)(40) == 0.1 * 0.1 * 41 / 99


def test_each_group_of_an_optimizer_has_the_warmup_of_its_betas():
    line = port("optimizer = Adam([{'params': a}, {'params': b, 'betas': (0.9, 0.5)}], lr=0.1)\n" + UNTUNED)
    assert [f"UntunedLinearWarmup(beta2={beta2})" in line for beta2 in (0.999, 0.5)] == [True, True]


def test_values_may_be_traced():
    rate = jax.jit(lambda lr: from_string("InverseLR(opt, 1, min_lr=0.25)", lr)(3))
    assert [rate(lr) for lr in (4.0, 0.5)] == [1.0, 0.25]
    line = jax.jit(lambda lr: from_string("LinearLR(opt, end_lr=3.0, num_iter=3)", lr)(1))
    assert line(1.0) == 2.0


BY_EPOCH = """
for epoch in range(1, num_epochs + 1):
    for i, batch in enumerate(dataloader):
        optimizer.step()
        if i < len(dataloader) - 1:
            with warmup_scheduler.dampening():
                pass
    with warmup_scheduler.dampening():
        lr_scheduler.step()
"""
DELAYED = """
for batch in dataloader:
    with warmup_scheduler.dampening():
        if warmup_scheduler.last_step + 1 >= 20:
            lr_scheduler.step()
"""
OUTSIDE = """
for batch in dataloader:
    with warmup_scheduler.dampening():
        pass
    lr_scheduler.step()
"""
OLDER = "for batch in dataloader:\n    lr_scheduler.step()\n    warmup_scheduler.dampen()\n"
LINEAR = "LinearWarmup(optimizer, 20)"
EARLY = """
optimizer = torch.optim.Adam(params, lr=0.1)
warmup_scheduler = warmup.LinearWarmup(optimizer, 20)
lr_scheduler = StepLR(optimizer, 30)
"""
OWN_BETAS = [  # lines that give a parameter group its own betas
    "optimizer = Adam([{'params': a, 'betas': (0.9, 0.5)}], lr=0.1)",
    "optimizer = Adam([dict(params=a, betas=(0.9, 0.5))], lr=0.1)",
    "groups = [{'params': a, 'betas': (0.9, 0.5)}]\noptimizer = Adam(groups, lr=0.1)",
    "def f(net):\n  return [dict(params=net, betas=(0.9, 0.5))]\noptimizer = Adam(f(net), lr=0.1)",
    "optimizer = Adam(p, lr=0.1)\noptimizer.param_groups[0]['betas'] = (0.9, 0.5)",
    "optimizer = Adam(p, lr=0.1)\nfor group in optimizer.param_groups:\n  group['betas'] = (0.9, 0.5)",
]


REFUSED = [
    (written(LINEAR, BY_EPOCH), "steps one scheduler more often than another.*jaxlr.per_epoch"),
    (written(LINEAR, DELAYED), "does not step all schedulers at once"),
    (written(LINEAR, OUTSIDE), r"Write the step inside of 'with warmup_scheduler.dampening\(\):'"),
    (written(LINEAR, OLDER), r"Write the step inside of 'with warmup_scheduler.dampening\(\):'"),
    (written(LINEAR, in_function(BY_EPOCH)), "steps one scheduler more often than another"),
    (
        written(LINEAR, in_function(OUTSIDE)),
        "cannot read 'def train.*: it dampens the rate, but not",
    ),
    (written(LINEAR, "warmup_scheduler.last_step = -1"), "changes a LinearWarmup after its construction"),
    (written(LINEAR, scheduler="ReduceLROnPlateau(optimizer)"), "is jaxlr.with_plateau"),
    (EARLY, "constructs the LinearWarmup before the StepLR, .* construct the warmup last"),
    ("UntunedLinearWarmup(optimizer)", r"needs beta2, as in 'UntunedLinearWarmup\(beta2=...\)'"),
    *((f"{lines}\nRAdamWarmup(optimizer)", "RAdamWarmup needs beta2") for lines in OWN_BETAS),
    ("optimizer = SGD(p, lr=0.1)\nRAdamWarmup(optimizer)", "RAdamWarmup needs beta2"),
    ("RAdamWarmup(opt, beta2=0.5)", "beta2 must be above 0.6 and at most 0.9999, got 0.5"),
    ("UntunedLinearWarmup(opt, beta2=1.0)", "beta2 must be above 0 and below 1, got 1.0"),
    ("LinearWarmup(opt, 20, last_step=5)", "last_step must be -1, which starts LinearWarmup afresh, got 5"),
    ("LinearWarmup(opt, 20, 5)", "the arguments of LinearWarmup have no fixed order"),
    ("LinearWarmup(opt, 4, lr_scheduler=3)", "lr_scheduler must be a function"),
    ("RAdamWarmup(opt, 5)", "the arguments of RAdamWarmup have no fixed order"),
    ("LinearWarmup(opt, 0)", "warmup_period must be a whole number of at least 1"),
    ("PolyLRScheduler(opt, 0.1, 9, current_step=3)", "current_step must be None, .* got 3"),
    ("from timm.scheduler import PolyLRScheduler\nPolyLRScheduler(opt, 0.1, 9)", "t_initial must be"),
    ("torch.optim.lr_scheduler.LinearLR(opt, end_lr=1.0, num_iter=9)", "LinearLR has no argument 'end_lr'"),
    ("monai.optimizers.LinearLR(opt, 0.01, 9)", "end_lr must be at least the learning rate"),
    ("monai.optimizers.LinearLR(opt, 1, 1)", "num_iter must be at least 2, got 1"),
    ("InverseLR(opt, warmup=1.0)", "warmup must be from 0 to below 1, got 1.0"),
    ("class PolyLRScheduler(LRScheduler):\n  def step(self):\n    group['lr'] = 1", "leave the class out"),
    (
        "poly_lr(epoch, 1000, 0.01, 0.9)",
        "poly_lr is PolyLRScheduler.optimizer, initial_lr, max_steps=max_epochs",
    ),
    ("CosineDecay(0.1, 1000, alpha=0.1)", r"jaxlr.Phase\(decay_steps, 'cosine', end_factor=alpha\)"),
    ("ReduceLROnPlateau(monitor='val_loss', factor=0.2)", r"patience=max\(patience - 1, 0\)"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_text_that_cannot_be_read_is_refused_with_a_way_out(text, message):
    with pytest.raises((TypeError, ValueError), match=message) as error:
        from_string(text, 0.1)
    assert "\n" not in str(error.value)


STABLE_AUDIO = """
"optimizer_configs": {"diffusion": {
    "optimizer": {"type": "AdamW", "config": {"lr": 0.5, "betas": [0.9, 0.999], "weight_decay": 1e-3}},
    "scheduler": {"type": "InverseLR", "config": {"inv_gamma": 3, "power": 0.5, "warmup": 0.5}}
}}
"""


def test_the_mapping_of_stable_audio_tools_gives_its_rates():
    schedule = from_string(f"{{{STABLE_AUDIO}}}")
    assert_close([schedule(count) for count in (0, 9)], [0.25, 0.25 * (1 - 0.5**10)], HOST_RTOL)


UNREAD = [
    ({"lr_scheduler_name": "ReduceLROnPlateau", "learning_rate": 0.01}, "NequIP"),
    (
        ["--max_num_epochs=100", "--lr=0.01", "--scheduler_patience=5"],
        r"ReduceLROnPlateau\(factor=lr_factor",
    ),
    ({"model_type": "autoencoder", "training": {"learning_rate": 1e-4}}, "stable-audio-tools"),
    ({"regime": {"num_steps": 5000}, "lr_scheduler": {"name": "cosine_annealing"}}, "fairseq2"),
]


@pytest.mark.parametrize(("config", "message"), UNREAD)
def test_a_config_that_is_not_read_is_refused_with_a_way_out(config, message):
    with pytest.raises(ValueError, match=message) as error:
        jaxlr.from_config(config)
    assert "jaxlr." in str(error.value)
    assert "\n" not in str(error.value)
