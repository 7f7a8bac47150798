"""The schedules of timm, beside the curves of its own classes."""

from typing import Any

import jax
import numpy as np
import optax
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
def test_a_plateau_gives_the_curve_of_timm(case):
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


def test_the_cycles_of_timm_04_decay_with_their_floor_and_do_not_end():
    text = "CosineLRScheduler(optimizer, t_initial=10, t_mul=1., lr_min=0.1, decay_rate=0.5, cycle_limit=2)"
    schedule = from_string(text, 1.0)
    assert_close([schedule(epoch) for epoch in (0, 5, 10, 15, 20)], [1.0, 0.55, 0.5, 0.275, 0.1], HOST_RTOL)
    endless = from_string("CosineLRScheduler(optimizer, t_initial=10, t_mul=1.0, cycle_limit=0)", 1.0)
    assert [endless(epoch) for epoch in (0, 10, 1000)] == [1.0, 1.0, 1.0]


def test_the_defaults_of_the_script_are_those_of_the_version():
    config = {"sched": "cosine", "epochs": 10, "lr": 0.1}
    assert [
        (recipe.num_counts, recipe.schedule(0), round(recipe.schedule(10), 12))
        for recipe in (from_config(config, version=version) for version in ("0.4.12", "0.6.13", "1.0.31"))
    ] == [(20, 1e-4, 1e-5), (20, 1e-4, 1e-6), (10, 1e-5, 0.0)]
    old = from_config({"epochs": 90, "lr": 1.0, "warmup_epochs": 0}, framework="timm", version="0.4.12")
    assert_close([old.schedule(epoch) for epoch in (29, 30, 60)], [1.0, 0.1, 0.01], HOST_RTOL)
    with pytest.raises(
        ValueError, match=r"sched 'tanh' of timm 0\.4 is not supported: 'cosine' and 'step' are"
    ):
        from_config({**config, "sched": "tanh"}, version="0.4.12")


def test_a_plateau_with_a_warmup_is_used_like_any_other():
    text = "create_scheduler_v2(opt, 'plateau', warmup_epochs=2, warmup_lr=0.0, patience_epochs=0)"
    tx = jaxlr.with_plateau(lambda lr: optax.sgd(lr), from_string(text, 0.5))
    state = tx.init(np.ones(2))
    rates = [float(jaxlr.learning_rate(state))]
    for metric in (9.0, 5.0, 5.0, 5.0):
        state = jax.jit(jaxlr.plateau_step)(state, metric)
        rates.append(float(jaxlr.learning_rate(state)))
    assert_close(rates, [0.0, 0.25, 0.5, 0.5, 0.05], 1e-6)
    assert_close(jaxlr.learning_rate(jaxlr.set_plateau_lr(state, 0.3)), 0.3, 1e-6)


REFUSED = [
    (
        "CosineLRScheduler(opt, t_initial=9, noise_range_t=[1, 2])",
        "noise on the learning rate is not supported",
    ),
    ("CosineLRScheduler(opt, t_initial=9, k_decay=0)", "k_decay must be a finite number above 0, got 0"),
    (
        "CosineLRScheduler(opt, t_initial=200_000, k_decay=2)",
        "k_decay is supported for runs of at most 100000",
    ),
    ("CosineLRScheduler(opt, 9, 1e-5)", "CosineLRScheduler have no fixed order: write t_i"),
    (
        "CosineLRScheduler(opt, t_initial=9, t_mul=2, cycle_limit=0)",
        "timm 0.4 repeats the cycles without end",
    ),
    ("CosineLRScheduler(opt, t_initial=9, cycle_mul=0.5)", "cycle_mul must be at least 1, got 0.5"),
    ("CosineLRScheduler(opt)", "CosineLRScheduler needs t_initial"),
    ("TanhLRScheduler(opt, 9, lb=-6)", "supported with lb=-7 and ub=3, got -6"),
    ("StepLRScheduler(opt, 9, decay_rate=0.9999)", "decay_rate must be at most 0.99, or 1"),
    ("MultiStepLRScheduler(opt, 9)", "decay_t must be a list of milestones, got 9"),
    ("create_scheduler_v2(opt, 'sgdr')", "sched must be one of 'cosine'.*'none', got 'sgdr'"),
    (
        "create_scheduler_v2(opt, 'plateau', step_on_epochs=False, updates_per_epoch=9)",
        "once for each epoch",
    ),
    (
        "create_scheduler_v2(opt, 'wsd', num_epochs=5, decay_epochs=9)",
        "decay_t must be at most t_initial, got 9",
    ),
    ("create_scheduler_v2(opt, 'rsqrt', num_epochs=5)", "'rsqrt' needs stable_timescale"),
    ("WSDLRScheduler(opt, 9, 3, decay_fn='exp')", "decay_fn must be one of 'linear'.*, got 'exp'"),
    ("PlateauLRScheduler(opt, noise_range_t=3)", "noise on the learning rate is not supported"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_call_that_is_not_supported_is_refused_by_name(text, message):
    with pytest.raises((ValueError, TypeError), match=message) as error:
        from_string(text, 0.1)
    assert "\n" not in str(error.value)


DEIT = (
    "python -m torch.distributed.launch --nproc_per_node=4 --use_env main.py "
    "--model deit_small_patch16_224 --batch-size 256 --data-path /imagenet "
    "--sched cosine --lr 5e-4 --epochs 300 --warmup-epochs 5"
)


def test_the_rate_of_deit_is_asked_for_because_its_script_scales_it():
    assert from_config(DEIT, 1e-3).schedule(5) == from_config(DEIT + " --unscale-lr", 1e-3).schedule(5)
    assert from_config(DEIT + " --unscale-lr").schedule(0) == 1e-5
    xcit = DEIT.replace("deit_small", "xcit_small")
    for config in (DEIT, xcit, xcit.replace("--data-path", "--dist-eval --data-dir")):
        with pytest.raises(ValueError, match="DeiT multiplies lr by the global batch size"):
            from_config(config)


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


def test_arguments_that_do_not_change_the_rate_are_not_evaluated():
    text = "StepLRScheduler(optimizer, 30, 0.1, t_in_epochs=args.by_epoch, noise_seed=args.seed)"
    assert_close(from_string(text, 1.0)(30), 0.1, HOST_RTOL)
