"""The schedules of timm, beside the curves of its own classes."""

from typing import Any

import jax
import numpy as np
import pytest
from framework_files import assert_has_rates, call_text, recorded
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string
from_config: Any = jaxlr.from_config  # a type checker would ask which recipes are plateaus


@recorded("timm")
def test_a_class_gives_the_curve_of_timm(case):
    assert_has_rates(from_string(call_text(case), case["init_value"]), case["rates"])


@recorded("timm plateau")
def test_a_plateau_gives_the_curve_of_timm_without_a_warmup(case):
    if case["settings"]["warmup_epochs"]:
        with pytest.raises(ValueError, match="'plateau' is supported only without a warmup"):
            from_string(call_text(case), case["init_value"])
        return
    state = from_string(call_text(case), case["init_value"]).init({})
    rates = [float(jaxlr.plateau_lr(state))]
    for metric in case["metrics"][:-1]:
        state = jaxlr.plateau_step(state, metric)
        rates.append(float(jaxlr.plateau_lr(state)))
    np.testing.assert_allclose(rates, case["rates"], rtol=1e-6)


def test_a_milestone_acts_one_epoch_early():
    schedule = from_string("MultiStepLRScheduler(optimizer, decay_t=[30, 60], decay_rate=0.5)", 1.0)
    assert [schedule(epoch) for epoch in (28, 29, 58, 59)] == [1.0, 0.5, 0.5, 0.25]


def test_the_cosine_counts_from_zero_and_not_from_the_end_of_the_warmup():
    schedule = from_string("CosineLRScheduler(optimizer, t_initial=10, warmup_t=5)", 1.0)
    assert_close(schedule(5), 0.5, HOST_RTOL)


VIT = """
./distributed_train.sh 8 /imagenet --model vit_small --sched cosine --epochs 300 --opt adamw -j 8 \\
  --warmup-lr 1e-6 --mixup .2 --min-lr 1e-5 --lr 5e-4 --warmup-epochs 5 --cooldown-epochs 10 -b 128
"""
EFFICIENTNET = (
    "./distributed_train.sh 2 /imagenet/ --model efficientnet_b2 -b 128 --sched step --epochs 450 "
    "--decay-epochs 2.4 --decay-rate .97 --opt rmsproptf --opt-eps .001 -j 8 --warmup-lr 1e-6 "
    "--warmup-epochs 0 --weight-decay 1e-5 --lr .016"
)
RESNET = """
sched: multistep
epochs: 100
lr: 0.1
decay_milestones: [30, 60]
decay_rate: 0.5
warmup_epochs: 0
lr_noise: null
"""
ON_UPDATES = {
    **{"sched": "cosine", "epochs": 10, "lr": "1e-1", "warmup_epochs": 2, "warmup_lr": 0.0, "min_lr": 0},
    **{"sched_on_updates": True, "grad_accum_steps": 2},
}
BASE = ["--sched=poly", "--epochs=10", "--lr-base=.1", "--batch-size=64", "--opt=sgd", "--warmup-epochs=0"]
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (VIT, {}, "epoch", 310, {0: 1e-6, 5: None, 300: 1e-5}),
    (EFFICIENTNET, {}, "epoch", 450, {0: 0.016, 2: 0.016, 3: 0.016 * 0.97, 449: 0.016 * 0.97**187}),
    (RESNET, {}, "epoch", 100, {28: 0.1, 29: 0.05, 59: 0.025}),
    (ON_UPDATES, {"steps_per_epoch": 9}, "update", 50, {0: 0.0, 5: 0.05, 25: 0.05, 50: 0.0}),
    ([*BASE, "--decay-rate=1"], {"num_processes": 4}, "epoch", 10, {0: 0.1, 5: 0.05}),
]


@pytest.mark.parametrize(("config", "arguments", "unit", "num_counts", "expected"), CONFIGS)
def test_a_config_as_people_write_it_gives_its_rates(config, arguments, unit, num_counts, expected):
    recipe = from_config(config, **arguments)
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("timm", unit, num_counts)
    for count, rate in expected.items():
        if rate is not None:
            assert_close(recipe.schedule(count), rate, HOST_RTOL)


def test_defaults_of_the_script_are_stated():
    recipe = from_config({"sched": "cosine", "epochs": 10, "lr": 0.1})
    assert recipe.assumptions == (
        "warmup_epochs is 5, the default of train.py.",
        "warmup_lr is 1e-05, the default of train.py.",
        "min_lr is 0, the default of train.py.",
    )


def test_the_base_rate_may_be_traced():
    text = "CosineLRScheduler(optimizer, t_initial=10, warmup_t=5)"
    assert_close(jax.jit(lambda lr: from_string(text, lr)(5))(0.5), 0.25, 1e-6)


REFUSED = [
    (
        "CosineLRScheduler(opt, t_initial=9, noise_range_t=[1, 2])",
        "noise on the learning rate is not supported",
    ),
    ("CosineLRScheduler(opt, t_initial=9, k_decay=1.5)", "k_decay must be 1, got 1.5"),
    ("CosineLRScheduler(opt, t_initial=9, cycle_mul=0.5)", "cycle_mul must be at least 1, got 0.5"),
    ("CosineLRScheduler(opt)", "CosineLRScheduler needs t_initial"),
    ("TanhLRScheduler(opt, 9, lb=-6)", "supported with lb=-7 and ub=3, got -6"),
    ("StepLRScheduler(opt, 9, decay_rate=0.9999)", "decay_rate must be at most 0.99, or 1"),
    ("MultiStepLRScheduler(opt, 9)", "decay_t must be a list of milestones, got 9"),
    ("create_scheduler_v2(opt, 'wsd')", "sched must be one of 'cosine'.*, got 'wsd'"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_call_that_is_not_supported_is_refused_by_name(text, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        from_string(text, 0.1)
    assert "\n" not in str(error.value)


REFUSED_CONFIGS = [
    ({"sched": "cosine", "lr": 0.1}, "the config has no epochs: give epochs"),
    ({"sched": "cosine", "epochs": 9}, "the config has no lr: give init_value"),
    (
        {"sched": "cosine", "epochs": 9, "lr": 1, "lr_noise": [0.4, 0.9]},
        r"lr_noise=\[0.4, 0.9\] is not supported",
    ),
    ({"sched": "cosine", "epochs": 9, "lr": 1, "sched_on_updates": True}, "give steps_per_epoch"),
    ({"sched": "cosine", "epochs": 9, "lr_base": 1, "batch_size": 8}, "give num_processes, or init_value"),
]


@pytest.mark.parametrize(("config", "message"), REFUSED_CONFIGS)
def test_a_config_that_lacks_something_is_refused_by_name(config, message):
    with pytest.raises(ValueError, match=message):
        from_config(config)
