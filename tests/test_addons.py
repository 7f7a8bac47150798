"""Add-on schedulers, beside the curves of the classes that programs import or copy."""

from typing import Any

import jax
import pytest
from framework_files import assert_has_rates, call_text, recorded
from helpers import HOST_RTOL, assert_close

import jaxlr
from jaxlr.convert import port


from_string: Any = jaxlr.from_string


@recorded("addons")
def test_a_class_gives_the_curve_of_the_original(case):
    text = call_text(case)
    if case.get("after_scheduler"):
        text = f"after = {case['after_scheduler']}\n{text[:-1]}, after_scheduler=after)"
    is_own = case["call"] == "CosineAnnealingWarmupRestarts"
    assert_has_rates(from_string(text, None if is_own else case.get("init_value")), case["rates"])


def test_pl_bolts_reaches_the_base_rate_one_epoch_early():
    schedule = from_string("LinearWarmupCosineAnnealingLR(opt, warmup_epochs=5, max_epochs=20)", 1.0)
    assert [schedule(epoch) for epoch in (0, 1, 3, 4, 5)] == [0.0, 0.25, 0.75, 1.0, 1.0]


def test_the_peak_of_a_gradual_warmup_stands_twice():
    schedule = from_string("GradualWarmupScheduler(opt, 1, 5, ExponentialLR(opt, 0.5))", 1.0)
    assert [schedule(epoch) for epoch in (0, 4, 5, 6, 7)] == [0.0, 0.8, 1.0, 1.0, 0.5]


def test_a_gradual_warmup_with_a_multiplier_falls_back_to_the_base_rate():
    schedule = from_string("GradualWarmupScheduler(opt, 4, 5, StepLR(opt, 9))", 1.0)
    assert [schedule(epoch) for epoch in (0, 5, 6, 14)] == [1.0, 4.0, 1.0, 1.0]


def test_restarts_without_a_warmup_begin_at_the_lowest_rate_once():
    schedule = from_string("CosineAnnealingWarmupRestarts(opt, 4, max_lr=1.0, min_lr=0.25)")
    assert [schedule(step) for step in (0, 4, 8)] == [0.25, 1.0, 1.0]


def test_noam_counts_from_one_or_reads_zero_as_one():
    optimizer = from_string("NoamOpt(256, 16, 4, torch.optim.Adam(params, lr=0))")
    assert [optimizer(step) for step in (0, 1, 3, 15)] == [0.125, 0.25, 0.5, 0.25]
    scheduler = from_string("NoamLR(optimizer, warmup_steps=4)", 0.5)
    assert [scheduler(step) for step in (0, 1, 2, 4, 16)] == [0.125, 0.125, 0.25, 0.5, 0.25]


def test_values_may_be_traced():
    text = "CosineAnnealingWarmupRestarts(opt, 4, 1.0, max_lr=high, min_lr=low, warmup_steps=2)"
    low_and_high = jax.jit(lambda low, high: from_string(text, names={"low": low, "high": high})(1))
    assert low_and_high(1.0, 3.0) == 2.0
    poly = jax.jit(lambda lr: from_string("PolyLR(opt, max_iters=10, power=1.0, min_lr=0.25)", lr)(5))
    assert [poly(lr) for lr in (1.0, 0.25)] == [0.5, 0.25]


MPRNET = """
optimizer = optim.Adam(model_restored.parameters(), lr=new_lr, betas=(0.9, 0.999), eps=1e-8)
warmup_epochs = 3
scheduler_cosine = optim.lr_scheduler.CosineAnnealingLR(optimizer, OPT['EPOCHS'] - warmup_epochs,
                                                        eta_min=float(OPT['LR_MIN']))
scheduler = GradualWarmupScheduler(optimizer, multiplier=1, total_epoch=warmup_epochs,
                                   after_scheduler=scheduler_cosine)
"""
VICREG = """
def configure_optimizers(self):
    optimizer = torch.optim.AdamW(self.parameters(), lr=0.01, weight_decay=1e-4)
    scheduler = LinearWarmupCosineAnnealingLR(
        optimizer,
        warmup_epochs=self.lr_warmup_epochs,
        max_epochs=self.trainer.max_epochs,
    )
    return [optimizer], [scheduler]
"""
KATSURA = """
scheduler = CosineAnnealingWarmupRestarts(optimizer,
                                          first_cycle_steps=200,
                                          cycle_mult=1.0,
                                          max_lr=0.1,
                                          min_lr=0.001,
                                          warmup_steps=50,
                                          gamma=1.0)
"""
NOAM = "model_opt = NoamOpt(model.src_embed[0].d_model, 1, 400, torch.optim.Adam(model.parameters(), lr=0))"
VIT = """
optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate, momentum=0.9, weight_decay=0)
t_total = args.num_steps
if args.decay_type == "cosine":
    scheduler = WarmupCosineSchedule(optimizer, warmup_steps=args.warmup_steps, t_total=t_total)
else:
    scheduler = WarmupLinearSchedule(optimizer, warmup_steps=args.warmup_steps, t_total=t_total)
"""
ARGUMENTS = {"args.learning_rate": 0.03, "args.num_steps": 10_000, "args.warmup_steps": 500}
DEEPLAB = "scheduler = utils.PolyLR(optimizer, max_iters=opts.total_itrs, power=0.9)"
TRANSFORMER = "ScheduledOptim(optim.Adam(params), lr_mul=opt.lr_mul, d_model=512, n_warmup_steps=4000)"
OPENFOLD = """
lr_scheduler = AlphaFoldLRScheduler(
    optimizer,
    last_epoch=self.last_lr_step,
    max_lr=learning_rate,
    warmup_no_steps=getattr(self, "warmup_no_steps", 1000),
)
return {"optimizer": optimizer, "lr_scheduler": {"scheduler": lr_scheduler, "interval": "step"}}
"""
BOLTZ = """
optimizer = torch.optim.Adam(parameters, lr=self.training_args.base_lr, eps=1e-8)
scheduler = AlphaFoldLRScheduler(
    optimizer,
    base_lr=self.training_args.base_lr,
    max_lr=self.training_args.max_lr,
    warmup_no_steps=1000,
    start_decay_after_n_steps=50000,
    decay_every_n_steps=50000,
    decay_factor=0.95,
)
"""
TRANSFER = """
optimizer = AdamW(model.parameters(), lr=args.lr, correct_bias=True)
# Linearly decrease the learning rate from lr to zero
scheduler = PiecewiseLinear(optimizer, "lr", [(0, args.lr), (args.n_epochs * len(train_loader), 0.0)])
"""
CIFAR = """
milestones_values = [
    (0, 0.0),
    (le * config.num_warmup_epochs, config.lr),
    (le * config.max_epochs, 0.0),
]
lr_scheduler = PiecewiseLinear(optimizer, param_name="lr", milestones_values=milestones_values)
"""
IGNITE = """
scheduler = CosineAnnealingScheduler(
    optimizer, 'lr', 1e-2, 1e-4, 2 * len(train_loader), save_history=True, param_group_index=0
)
"""
OF_OPENFOLD = {
    "learning_rate": 2e-3,
    "getattr(self, 'warmup_no_steps', 1000)": 1000,
    "self.last_lr_step": -1,
}
OF_BOLTZ = {"self.training_args.base_lr": 0.0, "self.training_args.max_lr": 1.8e-3}
OF_TRANSFER = {"args.lr": 6.25e-5, "args.n_epochs": 2, "len(train_loader)": 50}
OF_CIFAR = {"le": 10, "config.num_warmup_epochs": 4, "config.lr": 0.4, "config.max_epochs": 24}
SNIPPETS = [  # a text, the rate, names, and rates by count
    (
        MPRNET,
        None,
        {"new_lr": 2e-4, "OPT": {"EPOCHS": 103, "LR_MIN": 0}},
        {0: 0.0, 3: 2e-4, 4: 2e-4, 54: 1e-4},
    ),
    (
        VICREG,
        None,
        {"self.lr_warmup_epochs": 11, "self.trainer.max_epochs": 111},
        {5: 0.005, 11: 0.01, 61: 0.005},
    ),
    (KATSURA, None, {}, {0: 0.001, 50: 0.1, 125: 0.0505, 200: 0.001, 250: 0.1}),
    (NOAM, None, {"model.src_embed[0].d_model": 400}, {0: 1.25e-4 / 20, 399: 0.0025, 1599: 0.00125}),
    (VIT, None, {**ARGUMENTS, "args.decay_type": "cosine"}, {250: 0.015, 500: 0.03, 5250: 0.015}),
    (VIT, None, {**ARGUMENTS, "args.decay_type": "linear"}, {250: 0.015, 500: 0.03, 5250: 0.015}),
    (DEEPLAB, 0.01, {"opts.total_itrs": 100}, {0: 0.01, 50: 0.01 * 0.5**0.9, 100: 1e-6, 999: 1e-6}),
    (TRANSFORMER, None, {"opt.lr_mul": 2.0}, {3999: 2 / (512 * 4000) ** 0.5}),
    (OPENFOLD, None, OF_OPENFOLD, {0: 0.0, 500: 1e-3, 1000: 2e-3, 50_000: 2e-3, 50_001: 1.9e-3}),
    (BOLTZ, None, OF_BOLTZ, {500: 9e-4, 50_001: 1.71e-3, 99_999: 1.71e-3, 100_000: 1.8e-3 * 0.95**2}),
    (TRANSFER, None, OF_TRANSFER, {0: 6.25e-5, 50: 3.125e-5, 100: 0.0, 101: 0.0}),
    (CIFAR, None, OF_CIFAR, {0: 0.0, 20: 0.2, 40: 0.4, 140: 0.2, 240: 0.0}),
    (IGNITE, None, {"len(train_loader)": 10}, {0: 1e-2, 10: 5.05e-3, 20: 1e-2}),
]


@pytest.mark.parametrize(("text", "rate", "names", "expected"), SNIPPETS)
def test_a_snippet_as_people_write_it_gives_its_rates(text, rate, names, expected):
    schedule = from_string(text, rate, names=names)
    for count, value in expected.items():
        assert_close(schedule(count), value, HOST_RTOL)


REFUSED = [
    (
        "NoamLR(optimizer, 512, 4000)",
        "the arguments of NoamLR have no fixed order: write warmup_steps",
    ),
    ("NoamLR(optimizer, d_model=512, warmup_steps=4000)", "NoamLR has no argument 'd_model'"),
    (
        "PolyLR(optimizer, 100)",
        "the arguments of PolyLR have no fixed order: write max_iters=...",
    ),
    (
        "ScheduledOptim(opt, 2.0, 512, 4000)",
        "the arguments of ScheduledOptim have no fixed order",
    ),
    (
        "WarmupCosineSchedule(opt, 5, 10, 0.5)",
        "the arguments of WarmupCosineSchedule have no fixed order",
    ),
    ("WarmupCosineSchedule(opt, 20, 10)", "warmup_steps must be at most t_total, got 20 and 10"),
    ("WarmupCosineSchedule(opt, 5, start_lr=1, ref_lr=1, T_max=9)", "has no argument 'start_lr'"),
    ("GradualWarmupScheduler(opt, 0.5, 5)", "multiplier must be at least 1, got 0.5"),
    ("GradualWarmupScheduler(opt, 1, 0)", "total_epoch must be a whole number of at least 1"),
    ("GradualWarmupScheduler(opt, 1, 5, ReduceLROnPlateau(opt))", "is jaxlr.with_plateau"),
    (
        "GradualWarmupScheduler(opt, 1, 5, SequentialLR(opt, [StepLR(opt, 1)], []))",
        "cannot be an after_sched",
    ),
    ("GradualWarmupScheduler(opt, 1, 5, CosineLRScheduler(opt, 9))", "cannot be an after_scheduler"),
    ("GradualWarmupScheduler(opt, 2, 5, CyclicLR(opt, 0.1, 1.0))", "is supported with multiplier=1 only"),
    (
        "CosineAnnealingWarmupRestarts(opt, 9, warmup_steps=9)",
        "must be below first_cycle_steps, got 9 and 9",
    ),
    ("CosineAnnealingWarmupRestarts(opt, 9, cycle_mult=0.5)", "cycle_mult must be a number of at least 1"),
    (
        "CosineAnnealingWarmupRestarts(opt, 99, cycle_mult=1.05)",
        "cycle_mult must be 1, or make cycles grow",
    ),
    ("LinearWarmupCosineAnnealingLR(opt, 5, 5)", "max_epochs must be above warmup_epochs, got 5 and 5"),
    ("NoamOpt(model.d_model, 2, 4000, opt)", r"give names=\{'model.d_model': ...\}"),
    (
        "AlphaFoldLRScheduler(opt, -1, False, 0.0)",
        "the arguments of AlphaFoldLRScheduler have no fixed order",
    ),
    (
        "AlphaFoldLRScheduler(opt, warmup_no_steps=0)",
        "warmup_no_steps must be a whole number of at least 1",
    ),
    ("AlphaFoldLRScheduler(opt, start_decay_after_n_steps=9)", "must be at most start_decay_after_n_steps"),
    # The argument after those of the curve is last_epoch, not one without an effect.
    ("LinearWarmupCosineAnnealingLR(opt, 10, 100, 0.0, 0.0, 30)", "last_epoch must be -1, .* got 30"),
    ("CosineAnnealingWarmupRestarts(opt, 9, 1.0, 0.1, 0.0, 5, 1.0, 7)", "last_epoch must be -1, .* got 7"),
    ("WarmupConstantSchedule(opt, 100, 30)", "last_epoch must be -1, .* got 30"),
    ("WarmupLinearSchedule(opt, 100, 1000, 50)", "last_epoch must be -1, .* got 50"),
    ("WarmupCosineWithHardRestartsSchedule(opt, 5, 50, 1.0, 30)", "last_epoch must be -1, .* got 30"),
    ("PiecewiseLinear(opt, 'lr', [(0, 0.9)], True)", "write milestones_values=... and the arguments after"),
    ("PiecewiseLinear(opt, 'lr', [(0, 0.9)], param_group_index=1)", "param_group_index must be 0, got 1: "),
    ("PiecewiseLinear(opt, 'momentum', [(0, 0.9)])", "param_name must be one of 'lr', got 'momentum'"),
    ("PiecewiseLinear(opt, 'lr', [(0, 0.9, 1)])", "milestones_values must be a list of pairs"),
    ("PiecewiseLinear(opt, 'lr', [])", "milestones_values must have from 1 to 100 pairs, got 0"),
    ("PiecewiseLinear(opt, 'lr', [(5, 0.9), (4, 0.1)])", "milestones must increase"),
    ("CosineAnnealingScheduler(opt, T_max=9, eta_min=0)", "has no argument 'T_max'"),
    ("CosineAnnealingScheduler(opt, 'lr', 0.1, 0, 9, cycle_mult=2)", "cycle_mult, .* are not supported"),
    (
        "SequentialLR(opt, [WarmupLinearSchedule(opt, 5, 9), StepLR(opt, 1)], [9])",
        "cannot be part of a compo",
    ),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_call_that_cannot_be_converted_is_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message) as error:
        from_string(text, 0.1)
    assert "\n" not in str(error.value)


def test_a_call_is_printed_with_its_after_scheduler():
    text = "GradualWarmupScheduler(opt, 1, 5, StepLR(opt, epochs))"
    line = port(text, 0.1, names={"epochs": 9})
    assert line == (
        "jaxlr.from_string('GradualWarmupScheduler(multiplier=1, total_epoch=5, "
        "after_scheduler=StepLR(step_size=9))', 0.1)"
    )


def test_the_add_ons_have_no_config():
    with pytest.raises(ValueError, match="give their call to jaxlr"):
        jaxlr.from_config({"multiplier": 1}, framework="addons")
