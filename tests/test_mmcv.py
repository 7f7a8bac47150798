"""`lr_config` of MMCV 1.x, beside the curves of its own hooks."""

from typing import Any

import numpy as np
import pytest
from framework_files import assert_has_rates, from_config, recorded, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr
from jaxlr.convert.lines import line_of


def config_of(
    lr_config: Any, lr: float = 0.1, epochs: int | None = None, iters: int | None = None, **others: Any
) -> dict[str, Any]:
    by_epoch = {"type": "EpochBasedRunner", "max_epochs": epochs}
    runner = by_epoch if iters is None else {"type": "IterBasedRunner", "max_iters": iters}
    return {"lr_config": lr_config, "optimizer": {"type": "SGD", "lr": lr}, "runner": runner, **others}


@recorded("mmcv")
def test_a_policy_gives_the_curve_of_mmcv(case):
    settings = dict(case["settings"])
    steps = settings.pop("steps")
    recipe = from_config(config_of(**settings), steps_per_epoch=steps)
    assert (recipe.unit, recipe.num_counts) == ("iteration", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


def test_a_warmup_multiplies_the_rate_of_the_present_epoch():
    warmup = {"warmup": "linear", "warmup_iters": 20, "warmup_ratio": 0.1}
    schedule = from_config(
        config_of({"policy": "step", "step": [1], **warmup}, epochs=3), steps_per_epoch=10
    ).schedule
    assert_close(schedule(np.asarray([0, 9, 10, 19, 20])), [0.01, 0.0505, 0.0055, 0.00955, 0.01], HOST_RTOL)


def test_the_weight_of_a_restart_multiplies_the_part_above_the_floor():
    restarts = {"policy": "CosineRestart", "periods": [5, 5], "restart_weights": [1, 0.5], "min_lr": 0.02}
    assert_close(from_config(config_of(restarts, epochs=10)).schedule(5), 0.06, HOST_RTOL)


def test_the_policy_yolox_runs_one_iteration_ahead():
    yolox = {
        "policy": "YOLOX", "warmup": "exp", "by_epoch": False, "warmup_by_epoch": True, "warmup_ratio": 1,
        "warmup_iters": 2, "num_last_epochs": 3, "min_lr_ratio": 0.05,
    }  # fmt: skip
    schedule = from_config(config_of(yolox, epochs=9), steps_per_epoch=4).schedule
    warmup = 0.1 * (np.arange(1, 9) / 8) ** 2
    cosine = 0.005 + 0.5 * 0.095 * (1 + np.cos(np.pi * np.arange(1, 16) / 16))
    assert_close(schedule(np.arange(36)), [*warmup, *cosine, *[0.005] * 13], HOST_RTOL)


SCHEDULE_1X = """
# optimizer
optimizer = dict(type='SGD', lr=0.02, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=None)
# learning policy
lr_config = dict(
    policy='step',
    warmup='linear',
    warmup_iters=500,
    warmup_ratio=0.001,
    step=[8, 11])
runner = dict(type='EpochBasedRunner', max_epochs=12)
"""
SCHEDULE_160K = """
optimizer = dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=0.0005)
optimizer_config = dict()
# learning policy
lr_config = dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False)
# runtime settings
runner = dict(type='IterBasedRunner', max_iters=160000)
checkpoint_config = dict(by_epoch=False, interval=16000)
"""
SWIN = """
# AdamW optimizer, no weight decay for position embedding & layer norm
optimizer = dict(type='AdamW', lr=0.00006, betas=(0.9, 0.999), weight_decay=0.01,
                 paramwise_cfg=dict(custom_keys={'absolute_pos_embed': dict(decay_mult=0.)}))
lr_config = dict(_delete_=True, policy='poly', warmup='linear', warmup_iters=1500, warmup_ratio=1e-6,
                 power=1.0, min_lr=0.0, by_epoch=False)
runner = dict(type='IterBasedRunner', max_iters=160000)
"""
OLD = """
optimizer = dict(type='SGD', lr=0.1, momentum=0.9, weight_decay=0.0001)
optimizer_config = dict(grad_clip=dict(max_norm=35, norm_type=2))
lr_config = dict(policy='step', step=[100, 150])
total_epochs = 200
"""
COSINE = """
optimizer = dict(type='SGD', lr=0.8, momentum=0.9, weight_decay=0.0001, nesterov=True)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy='CosineAnnealing', min_lr=0, warmup='linear', warmup_iters=2500, warmup_ratio=0.25)
runner = dict(type='EpochBasedRunner', max_epochs=100)
"""
SECOND = """
optimizer = dict(type='AdamW', lr=0.0018, betas=(0.95, 0.99), weight_decay=0.01)
optimizer_config = dict(grad_clip=dict(max_norm=10, norm_type=2))
lr_config = dict(policy='cyclic', target_ratio=(10, 1e-4), cyclic_times=1, step_ratio_up=0.4)
momentum_config = dict(policy='cyclic', target_ratio=(0.85 / 0.95, 1), cyclic_times=1, step_ratio_up=0.4)
runner = dict(type='EpochBasedRunner', max_epochs=40)
"""
L = {"steps_per_epoch": 1000}
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (SCHEDULE_1X, L, "iteration", 12_000, {0: 2e-5, 250: 0.01001, 500: 0.02, 8000: 2e-3, 11_000: 2e-4}),
    (SCHEDULE_160K, {}, "iteration", 160_000, {0: 0.01, 80_000: 1e-4 + 0.0099 * 0.5**0.9}),
    (SWIN, {}, "iteration", 160_000, {0: 6e-11, 1500: 6e-5 * (1 - 1500 / 160_000), 80_000: 3e-5}),
    (OLD, {}, "epoch", 200, {99: 0.1, 100: 0.01, 150: 1e-3}),
    (COSINE, L, "iteration", 100_000, {0: 0.2, 50_000: 0.4, 50_999: 0.4}),
    (SECOND, L, "iteration", 40_000, {0: 0.0018, 16_000: 0.018}),
]


@pytest.mark.parametrize(("config", "arguments", "unit", "num_counts", "expected"), CONFIGS)
def test_a_config_as_people_write_it_gives_its_rates(config, arguments, unit, num_counts, expected):
    recipe = from_config(config, **arguments)
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("mmcv", unit, num_counts)
    printed = eval(line_of(recipe.schedule), {"jaxlr": jaxlr})
    for count, rate in expected.items():
        assert printed(count) == recipe.schedule(count)
        assert_close(recipe.schedule(count), rate, HOST_RTOL)


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(OLD)
    stated = (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.clip)
    assert stated == ("SGD", 0.9, 0.0001, 35)
    recipe = from_config(SECOND, **L)
    assert (recipe.momentum, recipe.clip) == (None, 10)
    assert recipe.assumptions == ("momentum_config changes the momentum, which the recipe leaves out.",)


def test_no_lr_config_is_a_constant_rate():
    assert from_config(config_of(None, epochs=3)).schedule(2) == 0.1


def test_the_rate_may_scale_with_the_global_batch_size():
    scale = {"auto_scale_lr": {"enable": True, "base_batch_size": 16}, "data": {"samples_per_gpu": 4}}
    config = config_of({"policy": "fixed"}, epochs=3, **scale)
    assert from_config(config, num_processes=2).schedule(0) == 0.05
    with pytest.raises(ValueError, match=r"auto_scale_lr scales .* give num_processes"):
        from_config(config)


STEP = {"policy": "step", "step": [1]}
REFUSED = [
    (
        config_of({"policy": "cosine"}, epochs=3),
        "policy of lr_config must be one of 'Fixed'.*, got 'cosine'",
    ),
    (config_of({"step": [1]}, epochs=3), "the config has no policy"),
    (
        config_of({**STEP, "gama": 0.1}, epochs=3),
        "the policy 'Step' has no setting 'gama' that is supported",
    ),
    (config_of({**STEP, "warmup": "cos"}, epochs=3), "warmup must be one of 'constant', 'linear', 'exp'"),
    (config_of({**STEP, "warmup": "exp"}, epochs=3), "warmup_iters must be a whole number of at least 1"),
    (config_of({**STEP, "warmup": "exp", "warmup_iters": 5}, epochs=3), "give steps_per_epoch"),
    (config_of({**STEP, "by_epoch": True}, iters=9), "counts iterations in this run: give by_epoch=False"),
    (config_of({"policy": "step"}, epochs=3), "the config has no step: give names="),
    (config_of({"policy": "CosineAnnealing"}, epochs=3), "needs min_lr or min_lr_ratio, and not both"),
    (
        config_of({"policy": "CosineRestart", "periods": [2], "min_lr": 0}, epochs=3),
        "must add up to the whole",
    ),
    (
        config_of({"policy": "OneCycle", "max_lr": 1, "total_steps": 5}, iters=9),
        "total_steps must be at least",
    ),
    (
        config_of({"policy": "cyclic", "step_ratio_up": 1}, iters=9),
        "Cyclic needs .* a step_ratio_up below 1",
    ),
    (config_of({"policy": "YOLOX", "min_lr": 0}, epochs=9), "'YOLOX' needs a warmup"),
    (config_of({"policy": "poly"}), "the config has no max_epochs: give epochs"),
    ({"lr_config": STEP, "optimizer": {"lr": 0.1}}, "no runner, which tells if lr_config counts epochs"),
    (
        {"lr_config": STEP, "optimizer": {"g": {"lr": 1}}, "total_epochs": 3},
        "several optimizers, 'g': give",
    ),
    (config_of(STEP, epochs=3, custom_hooks=[{"type": "MyLrUpdaterHook"}]), "sets the rate itself"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
