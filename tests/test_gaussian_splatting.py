"""Flags and calls of 3D Gaussian Splatting, beside the curves of its own function."""

from typing import Any

import pytest
from framework_files import assert_has_rates, call_text, from_config, recorded, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("gaussian_splatting")
def test_a_call_or_its_flags_give_the_rates_of_the_function(case):
    if case["call"] == "get_expon_lr_func":
        schedule = from_string(call_text(case).replace("optimizer, ", ""))
    else:
        schedule = from_config(case["settings"]).schedule
    assert_has_rates(schedule, case["rates"])


TRAIN = "python train.py -s data/garden -m out --eval --iterations 30000 "
RELIGHTING = (
    TRAIN
    + """--position_lr_init 0.000016 --position_lr_final 0.00000016 --opacity_lr 0.005 \\
  --scaling_lr 0.0005 --rotation_lr 0.0001"""
)
SLAM = "--sh_degree 3 --iterations 5000 --position_lr_max_steps 5000 --position_lr_final 0.000016"
LONG = "python train.py --iterations 300000 --densify_until_iter 150000 --position_lr_max_steps 300000"
DICT = {"iterations": 7000, "position_lr_init": 0.00016, "feature_lr": 0.0025, "position_lr_final": 1.6e-6}
SCALE = {"names": {"spatial_lr_scale": 2.0}}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (RELIGHTING, SCALE, 30_000, {14_999: 3.2e-6, 29_999: 3.2e-7}),
    (RELIGHTING, {"group": 5}, 30_000, {0: 0.0001, 29_999: 0.0001}),
    (RELIGHTING, {"init_value": 1.0}, 30_000, {14_999: 0.1, 29_999: 0.01}),
    (SLAM, SCALE, 5000, {4999: 3.2e-5}),
    (LONG, SCALE, 300_000, {149_999: 3.2e-5}),
    (DICT, SCALE, 7000, {14_999: 3.2e-5}),
    (DICT, {"group": 2}, 7000, {0: 0.0025 / 20}),
]


@pytest.mark.parametrize(("config", "arguments", "num_counts", "expected"), CONFIGS)
def test_a_config_as_people_write_it_gives_its_rates(config, arguments, num_counts, expected):
    recipe = from_config(config, **arguments)
    found = (recipe.framework, recipe.unit, recipe.num_counts, recipe.optimizer)
    assert found == ("gaussian_splatting", "iteration", num_counts, "Adam")
    assert recipe.groups[0] == "xyz"
    for count, rate in expected.items():
        assert_close(recipe.schedule(count), rate, HOST_RTOL)


def test_a_call_needs_a_rate_above_0():
    with pytest.raises(ValueError, match="lr_init must be a finite number above 0"):
        from_string("get_expon_lr_func(lr_init=0.0, lr_final=0.1)")


def test_defaults_are_assumptions():
    assert from_config(SLAM, **SCALE).assumptions == (
        "position_lr_init is 0.00016, the default of gaussian-splatting.",
    )


REFUSED = [
    (RELIGHTING, {}, "give init_value, the product, or names={'spatial_lr_scale': ...}, the radius"),
    (RELIGHTING, {"group": 1}, "the config has no feature_lr: give init_value"),
    (RELIGHTING + " --coarse_iterations 3000", {}, "its rates start anew in each of two stages"),
    (TRAIN, {}, "of no known framework"),
    ({"position_lr_init": 0.0}, SCALE, "position_lr_init must be above 0, got 0"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
