"""`param_scheduler` of MMEngine, beside the curves of its own schedulers."""

from typing import Any

import jax
import numpy as np
import pytest
from framework_files import assert_has_rates, recorded
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, assert_is_torchs

import jaxlr
from jaxlr.convert.lines import line_of


from_config: Any = jaxlr.from_config  # a type checker would ask which recipes are plateaus


def config_of(
    schedulers: Any, lr: float = 0.1, epochs: int | None = None, iters: int | None = None, **others: Any
) -> dict[str, Any]:
    by_epoch = {"by_epoch": True, "max_epochs": epochs}
    loop = by_epoch if iters is None else {"type": "IterBasedTrainLoop", "max_iters": iters}
    wrapper = {"type": "OptimWrapper", "optimizer": {"type": "SGD", "lr": lr, "momentum": 0.9}}
    return {"param_scheduler": schedulers, "optim_wrapper": wrapper, "train_cfg": loop, **others}


@recorded("mmengine")
def test_schedulers_give_the_curve_of_mmengine(case):
    settings = dict(case["settings"])
    steps = settings.pop("steps")
    recipe = from_config(config_of(**settings), steps_per_epoch=steps)
    assert (recipe.unit, recipe.num_counts) == ("iteration", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


LINEAR = {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "end": 500}
STEPS = {"type": "MultiStepLR", "milestones": [8, 11], "gamma": 0.1}


def test_a_linear_lr_is_full_at_the_last_count_before_its_end():
    schedule = from_config(config_of([LINEAR], epochs=12), steps_per_epoch=1000).schedule
    assert (schedule(0), schedule(498) < 0.1) == (0.0001, True)
    assert_close(schedule(499), 0.1, HOST_RTOL)
    assert_close(schedule(500), 0.1, HOST_RTOL)


YOLO_HOOK = {"type": "YOLOv5ParamSchedulerHook", "lr_factor": 0.5, "max_epochs": 5}
YOLO_HOOK |= {"warmup_epochs": 1, "warmup_mim_iter": 0}


def test_the_hook_of_mmyolo_is_a_warmup_and_a_decay_that_is_an_epoch_late():
    config = config_of(None, epochs=5, default_hooks={"param_scheduler": YOLO_HOOK})
    recipe = from_config(config, steps_per_epoch=10)
    assert (recipe.unit, recipe.num_counts) == ("iteration", 50)
    assert recipe.groups == ("weights", "norms", "biases")
    rates = [recipe.schedule(count) for count in (0, 5, 10, 19, 20, 30, 49)]
    assert_close(rates, [0.0, 0.05, 0.09, 0.09, 0.09, 0.08, 0.07], HOST_RTOL)
    assert_close([recipe.momentum(count) for count in (0, 5, 10)], [0.8, 0.85, 0.9], HOST_RTOL)
    biases = from_config(config, steps_per_epoch=10, group=2)
    assert (biases.schedule(0), biases.weight_decay) == (0.1, 0.0)


def test_a_linear_lr_of_one_count_never_ends():
    schedule = from_config(
        config_of([{"type": "LinearLR", "start_factor": 0.5, "end": 1}], epochs=9)
    ).schedule
    assert schedule(0) == schedule(8) == 0.05


def test_a_poly_lr_reaches_its_floor_at_the_last_count():
    poly = {"type": "PolyLR", "eta_min": 1e-4, "power": 0.9, "by_epoch": False}
    schedule = from_config(config_of(poly, iters=100)).schedule
    assert_close(schedule(99), 1e-4, HOST_RTOL)
    assert schedule(98) > 1.1e-4


def test_a_cosine_reaches_its_floor_only_after_the_run():
    schedule = from_config(config_of({"type": "CosineAnnealingLR", "eta_min": 0.01}, epochs=10)).schedule
    assert schedule(9) > 0.012


def test_a_cosine_begins_at_the_rate_that_it_finds():
    cosine = {"type": "CosineAnnealingLR", "eta_min": 0.01, "begin": 2, "T_max": 4}
    schedule = from_config(
        config_of([{"type": "StepLR", "step_size": 1, "end": 2}, cosine], epochs=6)
    ).schedule
    assert_close(schedule(np.arange(5)), [0.1, 0.01, 0.01, 0.01, 0.01], HOST_RTOL)


def test_epochs_are_counts_if_nothing_counts_iterations():
    recipe = from_config(config_of([STEPS], epochs=12))
    assert (recipe.unit, recipe.num_counts, recipe.schedule(8)) == ("epoch", 12, pytest.approx(0.01))
    recipe = from_config(config_of([STEPS], epochs=12), steps_per_epoch=5)
    assert (recipe.unit, recipe.num_counts, recipe.schedule(39)) == ("iteration", 60, 0.1)


def test_the_base_rate_may_be_traced():
    config = config_of([LINEAR, {"type": "CosineAnnealingLR", "eta_min": 0.01, "begin": 1}], epochs=12)
    host = from_config(config, 0.3, steps_per_epoch=500).schedule(np.arange(6000))
    traced = jax.jit(lambda rate: from_config(config, rate, steps_per_epoch=500).schedule(np.arange(6000)))
    assert_is_torchs(traced(0.3), host, DEVICE_RTOL)


def test_steps_at_large_counts_are_exact():
    schedule = from_config(config_of([LINEAR, STEPS], epochs=12), steps_per_epoch=10**8).schedule
    rates = jax.jit(schedule)(np.asarray([8 * 10**8 - 1, 8 * 10**8], np.int32))
    assert_close(rates, [0.1, 0.01], 5e-7)


SCHEDULE_1X = """
# training schedule for 1x
train_cfg = dict(type='EpochBasedTrainLoop', max_epochs=12, val_interval=1)
val_cfg = dict(type='ValLoop')

# learning rate
param_scheduler = [
    dict(
        type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=500),
    dict(
        type='MultiStepLR',
        begin=0,
        end=12,
        by_epoch=True,
        milestones=[8, 11],
        gamma=0.1)
]

# optimizer
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001),
    clip_grad=dict(max_norm=35, norm_type=2))

auto_scale_lr = dict(enable=False, base_batch_size=16)
"""
SWIN = """
optim_wrapper = dict(
    optimizer=dict(
        type='AdamW',
        lr=5e-4 * 1024 / 512,
        weight_decay=0.05,
        eps=1e-8,
        betas=(0.9, 0.999)),
    paramwise_cfg=dict(norm_decay_mult=0.0, custom_keys={'.absolute_pos_embed': dict(decay_mult=0.0)}),
)
param_scheduler = [
    # warm up learning rate scheduler
    dict(type='LinearLR', start_factor=1e-3, by_epoch=True, end=20, convert_to_iter_based=True),
    # main learning rate scheduler
    dict(type='CosineAnnealingLR', eta_min=1e-5, by_epoch=True, begin=20)
]
train_cfg = dict(by_epoch=True, max_epochs=300, val_interval=1)
"""
RTMDET = """
max_epochs = 300
stage2_num_epochs = 20
base_lr = 0.004
train_cfg = dict(max_epochs=max_epochs, val_interval=10,
    dynamic_intervals=[(max_epochs - stage2_num_epochs, 1)])
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=base_lr, weight_decay=0.05))
param_scheduler = [
    dict(type='LinearLR', start_factor=1.0e-5, by_epoch=False, begin=0, end=1000),
    dict(
        # use cosine lr from 150 to 300 epoch
        type='CosineAnnealingLR', eta_min=base_lr * 0.05, begin=max_epochs // 2, end=max_epochs,
        T_max=max_epochs // 2, by_epoch=True, convert_to_iter_based=True),
]
custom_hooks = [dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002)]
"""
YOLOX = """
max_epochs = 300
num_last_epochs = 15
base_lr = 0.01
train_cfg = dict(max_epochs=max_epochs, val_interval=10)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(
    type='SGD', lr=base_lr, momentum=0.9, weight_decay=5e-4, nesterov=True))
param_scheduler = [
    dict(type='mmdet.QuadraticWarmupLR', by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=base_lr * 0.05, begin=5, T_max=max_epochs - num_last_epochs,
         end=max_epochs - num_last_epochs, by_epoch=True, convert_to_iter_based=True),
    dict(type='ConstantLR', by_epoch=True, factor=1, begin=max_epochs - num_last_epochs, end=max_epochs)
]
"""
SEGMENTER = """
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=optimizer, clip_grad=None, accumulative_counts=4)
param_scheduler = [
    dict(type='PolyLR', eta_min=1e-4, power=0.9, begin=0, end=160000, by_epoch=False)
]
train_cfg = dict(type='IterBasedTrainLoop', max_iters=160000, val_interval=16000)
"""
CIFAR = """
from mmengine.optim import MultiStepLR
from torch.optim import SGD
optim_wrapper = dict(optimizer=dict(type=SGD, lr=0.1, momentum=0.9, weight_decay=0.0001))
param_scheduler = dict(type=MultiStepLR, by_epoch=True, milestones=[100, 150], gamma=0.1)
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
auto_scale_lr = dict(base_batch_size=128)
"""
L = {"steps_per_epoch": 1000}
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (SCHEDULE_1X, L, "iteration", 12_000, {0: 2e-5, 499: 0.02, 7999: 0.02, 8000: 2e-3, 11_000: 2e-4}),
    (SWIN, L, "iteration", 300_000, {0: 1e-6, 19_999: 1e-3, 20_999: 1e-3, 160_000: 5.05e-4}),
    (RTMDET, L, "iteration", 300_000, {0: 4e-8, 999: 4e-3, 150_000: 4e-3, 225_000: 2.1e-3}),
    (YOLOX, L, "iteration", 300_000, {0: 4e-10, 4999: 0.01, 5000: 0.01, 290_000: 5e-4}),
    (SEGMENTER, {}, "iteration", 160_000, {0: 0.01, 159_999: 1e-4}),
    (CIFAR, {}, "epoch", 200, {99: 0.1, 100: 0.01, 150: 1e-3}),
    (CIFAR, {"epochs": 30}, "epoch", 30, {29: 0.1}),
]


@pytest.mark.parametrize(("config", "arguments", "unit", "num_counts", "expected"), CONFIGS)
def test_a_config_as_people_write_it_gives_its_rates(config, arguments, unit, num_counts, expected):
    recipe = from_config(config, **arguments)
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("mmengine", unit, num_counts)
    printed = eval(line_of(recipe.schedule), {"jaxlr": jaxlr})
    for count, rate in expected.items():
        assert printed(count) == recipe.schedule(count)
        if "QuadraticWarmupLR" in config and count > 5000:
            assert 4.9e-4 < recipe.schedule(count) < 6e-4
        else:
            assert_close(recipe.schedule(count), rate, 1e-9)


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(SCHEDULE_1X, **L)
    stated = (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.clip)
    assert stated == ("SGD", 0.9, 0.0001, 35)
    recipe = from_config(SWIN, **L)
    assert (recipe.optimizer, recipe.momentum, recipe.clip) == ("AdamW", 0.9, None)
    assert recipe.assumptions == (
        "This is the rate of parameters without a multiplier. For others, give theirs as init_value.",
    )
    recipe = from_config(SEGMENTER)
    assert recipe.assumptions == ("The weights are updated every 4 iterations; a count is an iteration.",)


def test_schedulers_of_momentum_and_weight_decay_are_fields_of_the_recipe():
    schedulers = [STEPS, {"type": "ConstantMomentum", "factor": 0.5, "end": 3}, {
        "type": "CosineAnnealingParamScheduler", "param_name": "weight_decay", "T_max": 12}]  # fmt: skip
    config = config_of(schedulers, epochs=12)
    config["optim_wrapper"]["optimizer"]["weight_decay"] = 0.04
    recipe = from_config(config)
    assert_close(recipe.schedule(8), 0.01, HOST_RTOL)
    assert [recipe.momentum(epoch) for epoch in (0, 1, 2)] == [0.45, 0.45, 0.9]
    assert_close(recipe.weight_decay(6), 0.02, HOST_RTOL)


def test_the_rate_may_scale_with_the_global_batch_size():
    scale = {
        "auto_scale_lr": {"enable": True, "base_batch_size": 16},
        "train_dataloader": {"batch_size": 4},
    }
    config = config_of([STEPS], epochs=12, **scale)
    assert from_config(config, num_processes=2).schedule(0) == 0.05
    assert from_config(config, 0.3).schedule(0) == 0.3
    with pytest.raises(ValueError, match=r"auto_scale_lr scales .* give num_processes"):
        from_config(config)


def test_a_plateau_is_a_transformation():
    plateau = {"type": "ReduceOnPlateauLR", "monitor": "accuracy", "rule": "greater", "patience": 2}
    recipe = from_config(config_of(plateau, epochs=12))
    assert (recipe.unit, recipe.num_counts) == ("evaluation", 12)
    assert "'accuracy'" in recipe.assumptions[0]
    state = recipe.schedule.init({})
    for _ in range(4):
        state = jaxlr.plateau_step(state, 0.5)
    assert_close(jaxlr.plateau_lr(state), 0.01, DEVICE_RTOL)


def test_no_scheduler_is_a_constant_rate():
    recipe = from_config(config_of(None, epochs=12))
    assert (recipe.schedule(0), recipe.schedule(11)) == (0.1, 0.1)
    assert recipe.assumptions == (
        "The config has no param_scheduler of the rate, so the rate is constant.",
    )


def test_schedulers_that_overlap_are_stepped_into_a_table():
    cosine = {"type": "CosineAnnealingLR", "eta_min": 0.01, "by_epoch": False}
    config = config_of([{**LINEAR, "end": 50}, cosine], iters=100)
    recipe = from_config(config)
    assert recipe.assumptions == (
        "CosineAnnealingLR and LinearLR overlap, so they are stepped in turn into a table.",
    )
    with pytest.raises(ValueError, match="overlap, which needs an init_value that is a number"):
        jax.jit(lambda rate: from_config(config, rate).schedule(0))(0.3)
    with pytest.raises(ValueError, match="overlap, which is supported up to 200000 steps, got 3000"):
        from_config(config_of([{**LINEAR, "end": 50}, cosine], iters=300_000))


ONE_CYCLE = {"type": "OneCycleLR", "eta_max": 0.4, "by_epoch": False}
REFUSED = [
    (config_of([LINEAR, STEPS], epochs=12), "steps_per_epoch"),
    (config_of([{"type": "StepLR"}], epochs=12), "the config has no step_size: give names="),
    (config_of([{"type": "CosineLR"}], epochs=12), "must be one of 'LinearLR'.*, got 'CosineLR'"),
    (config_of([{"type": "Cosine"}], epochs=12), "got 'Cosine'"),
    (config_of([{**STEPS, "warmup": 3}], epochs=12), "MultiStepLR has the setting 'warmup', which is not"),
    (config_of([STEPS], iters=100), "MultiStepLR counts epochs, but train_cfg counts iterations"),
    (config_of([{**LINEAR, "start_factor": 0}], iters=1000), "LinearLR needs factors above 0"),
    (config_of([{**LINEAR, "begin": 500}], iters=1000), "must end after it begins, got begin=500, end=500"),
    (config_of([{**LINEAR, "convert_to_iter_based": True}], iters=9), "which needs by_epoch=True"),
    (config_of([ONE_CYCLE, LINEAR], iters=9), "OneCycleLR is supported only as the only scheduler"),
    (config_of([{**ONE_CYCLE, "total_steps": 5}], iters=9), "total_steps of OneCycleLR must be at least"),
    (config_of([{"type": "ReduceOnPlateauLR"}, STEPS], epochs=9), "supported only as the only scheduler"),
    (config_of([{"type": "ReduceOnPlateauLR", "begin": 5}], epochs=9), "from the first evaluation"),
    (config_of([{"type": "CosineRestartLR", "periods": [5]}], epochs=9), "needs eta_min or eta_min_ratio"),
    (
        config_of([{"type": "PolyLR", "eta_min_ratio": 0.1}], epochs=9),
        "PolyLR has the setting 'eta_min_ratio', which is",
    ),
    (
        config_of({"generator": [STEPS], "critic": [STEPS]}, epochs=9),
        "several optimizers, 'generator', 'cri",
    ),
    (config_of("StepLR", epochs=9), "must be a list of dict"),
    (config_of([STEPS]), "the config has no max_epochs: give epochs"),
    (
        config_of([STEPS], epochs=9, custom_hooks=[{"type": "YOLOv5ParamSchedulerHook"}]),
        "sets the rate itself",
    ),
    (
        config_of([STEPS], epochs=9, default_hooks={"param_scheduler": YOLO_HOOK}),
        "YOLOv5ParamSchedulerHook does not step param_scheduler: give only one of them",
    ),
    (
        config_of(None, epochs=9, default_hooks={"param_scheduler": {"type": "PPYOLOEParamSchedulerHook"}}),
        "PPYOLOEParamSchedulerHook of default_hooks sets the rate itself",
    ),
    ({"param_scheduler": [STEPS], "train_cfg": {"max_epochs": 9}}, "the config has no lr: give init_value"),
    (
        {
            "param_scheduler": [STEPS],
            "train_cfg": {"max_epochs": 9},
            "optim_wrapper": {"a": {"optimizer": {}}},
        },
        "several optimizers, 'a': give init_value",
    ),
    (
        SCHEDULE_1X.replace("500)", "warmup_iters)"),
        "end is 'warmup_iters', which has no value in the config",
    ),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_a_config_that_lacks_something_is_refused_by_name(config, message):
    arguments = L if isinstance(config, str) else {}
    with pytest.raises(ValueError, match=message) as error:
        from_config(config, **arguments)
    assert "\n" not in str(error.value)
