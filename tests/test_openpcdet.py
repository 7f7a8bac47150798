"""Configs of OpenPCDet, beside the curves of its own schedulers."""

import pytest
from framework_files import assert_has_rates, from_config, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("openpcdet")
def test_a_config_gives_the_rates_and_the_momentum_of_its_scheduler(case):
    recipe = from_config({"OPTIMIZATION": case["settings"]}, steps_per_epoch=case["steps_per_epoch"])
    assert (recipe.framework, recipe.num_counts) == ("openpcdet", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])
    if case["momentum"] is not None:
        assert_has_rates(recipe.momentum, case["momentum"])


POINTPILLAR = """
CLASS_NAMES: ['Car', 'Pedestrian', 'Cyclist']
DATA_CONFIG:
    _BASE_CONFIG_: cfgs/dataset_configs/kitti_dataset.yaml
OPTIMIZATION:
    BATCH_SIZE_PER_GPU: 4
    NUM_EPOCHS: 80

    OPTIMIZER: adam_onecycle
    LR: 0.003
    WEIGHT_DECAY: 0.01
    MOMENTUM: 0.9

    MOMS: [0.95, 0.85]
    PCT_START: 0.4
    DIV_FACTOR: 10
    DECAY_STEP_LIST: [35, 45]
    LR_DECAY: 0.1
    LR_CLIP: 0.0000001

    LR_WARMUP: False
    WARMUP_EPOCH: 1

    GRAD_NORM_CLIP: 10
"""
WAYMO = POINTPILLAR.replace("NUM_EPOCHS: 80", "NUM_EPOCHS: 30").replace("0.4", "0.5")
BEVFUSION = POINTPILLAR.replace("adam_onecycle", "adam_cosineanneal") + "    WARMUP_ITER: 500\n"
LONG_WARMUP = BEVFUSION.replace("500", "20000")  # longer than the run
ADAM = POINTPILLAR.replace("adam_onecycle", "adam")
SGD = POINTPILLAR.replace("adam_onecycle", "sgd").replace("0.0000001", "0.0002")
CONFIGS = [  # a config, the optimizer, num_counts, and rates by count
    (POINTPILLAR, "adam_onecycle", 8000, {0: 3e-4, 1600: 1.65e-3, 3200: 3e-3, 5600: (3e-3 + 3e-8) / 2}),
    (WAYMO, "adam_onecycle", 3000, {1500: 3e-3}),
    (BEVFUSION, "adam_cosineanneal", 8000, {0: 0.33333333 * 3e-3, 4000: 1.5015e-3, 4099: 1.5015e-3}),
    (LONG_WARMUP, "adam_cosineanneal", 8000, {5000: 3e-3 * (1 - 0.75 * 0.66666667)}),
    (ADAM, "adam", 8000, {3499: 3e-3, 3500: 3e-4, 4500: 3e-5}),
    (SGD, "sgd", 8000, {4499: 3e-4, 4500: 2e-4}),
]


@pytest.mark.parametrize(("config", "optimizer", "num_counts", "expected"), CONFIGS)
def test_a_config_as_people_write_it_gives_its_rates(config, optimizer, num_counts, expected):
    recipe = from_config(config, steps_per_epoch=100)
    found = (recipe.framework, recipe.unit, recipe.num_counts, recipe.optimizer)
    assert found == ("openpcdet", "iteration", num_counts, optimizer)
    assert (recipe.weight_decay, recipe.clip) == (0.01, 10.0)
    for count, rate in expected.items():
        assert_close(recipe.schedule(count), rate, HOST_RTOL)


def test_the_momentum_of_adam_is_a_schedule():
    momentum = from_config(POINTPILLAR, steps_per_epoch=100).momentum
    assert_close([momentum(0), momentum(3200)], [0.95, 0.85], HOST_RTOL)
    assert from_config(SGD, steps_per_epoch=100).momentum == 0.9
    assert from_config(ADAM, steps_per_epoch=100).momentum is None


def test_a_rate_of_0_is_clipped():
    assert from_config(SGD, 0.0, steps_per_epoch=100).schedule(0) == 0.0002


REFUSED = [
    (POINTPILLAR, None, "give steps_per_epoch"),
    (
        POINTPILLAR.replace("adam_onecycle", "adamw"),
        9,
        "OPTIMIZER must be one of 'adam_onecycle', .*'adamw'",
    ),
    (POINTPILLAR.replace("0.4", "0"), 9, "PCT_START must leave a batch before it and one after it"),
    (POINTPILLAR.replace("[0.95, 0.85]", "[0.95]"), 9, r"MOMS must have two numbers, got \[0.95\]"),
    (ADAM.replace("LR_WARMUP: False", "LR_WARMUP: True"), 9, "LR_WARMUP=True is not supported"),
    (BEVFUSION.replace("NUM_EPOCHS: 80", "NUM_EPOCHS: 300"), 9, "supported up to 200 epochs, got 300"),
    (
        POINTPILLAR.replace("DIV_FACTOR: 10", "DIV_FACTOR: 0"),
        9,
        "DIV_FACTOR must be a finite number above 0",
    ),
    (ADAM.replace("LR_DECAY: 0.1", "LR_DECAY: 1e300"), 9, "LR_DECAY must be at most 1, got 1e"),
    (POINTPILLAR.replace("    DIV_FACTOR: 10\n", ""), 9, "the config has no DIV_FACTOR: give names="),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(
    [(config, {"steps_per_epoch": batches}, message) for config, batches, message in REFUSED]
)
