"""Configs of NeMo Automodel, beside values of the equations of its scheduler."""

import math

import jax.numpy as jnp
from framework_files import from_config, gives_rates, refuses


SQUAD = """
step_scheduler: {global_batch_size: 64, local_batch_size: 8, num_epochs: 2}
clip_grad_norm: {max_norm: 0.5}
optimizer: {_target_: torch.optim.Adam, betas: [0.9, 0.95], eps: 1e-8, lr: 1.0e-2, weight_decay: 0.1}
lr_scheduler: {lr_decay_style: cosine, min_lr: 1.0e-3}
"""
# An epoch has 25 updates of 2 batches of 4 processes, so the warmup has 5 of 50 updates.
L = {"steps_per_epoch": 49, "num_processes": 4}
WSD = {
    "step_scheduler": {"max_steps": 100},
    "optimizer": {"lr": 1.0},
    "lr_scheduler": {
        **{"lr_decay_style": "WSD", "wsd_decay_steps": 20, "lr_wsd_decay_style": "minus_sqrt"},
        **{"lr_warmup_steps": 0, "min_lr": 0.0},
    },
}
INVERSE = {**WSD, "lr_scheduler": {"lr_decay_style": "inverse-square-root", "lr_warmup_steps": 0}}
CONSTANT = {**WSD, "lr_scheduler": None}
# init_lr and min_lr are parts of the rate of the optimizer, and not of max_lr.
HIGHER = {**WSD, "lr_scheduler": {"max_lr": 2.0, "lr_warmup_steps": 2, "lr_decay_style": "linear"}}
MIDDLE = 1e-3 + 9e-3 * 0.5 * (1 + math.cos(math.pi * 20 / 45))
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (SQUAD, L, 50, {0: 1e-3, 1: 1e-3 + 9e-3 / 5, 5: 1e-2, 25: MIDDLE, 50: 1e-3, 51: 1e-3}),
    (SQUAD, {**L, "init_value": 1.0, "epochs": 1}, 25, {0: 0.1, 2: 1.0, 25: 1e-3}),
    (WSD, {}, 100, {0: 1.0, 80: 1.0, 85: 0.5, 100: 0.0}),
    (INVERSE, {}, 100, {0: 1.0, 1: 1.0, 25: 0.2, 101: 0.01}),
    (HIGHER, {}, 100, {0: 0.1, 2: 2.0, 51: 1.005, 100: 0.01}),
    (CONSTANT, {"steps_per_epoch": 3, "num_processes": 32}, 30, {0: 1.0, 99: 1.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "nemo_automodel", "update")


def test_the_rate_may_be_an_array_if_the_others_are_given():
    config = {**WSD, "lr_scheduler": {"lr_decay_style": "cosine", "init_lr": 0.0, "min_lr": 0.0}}
    rate = float(from_config(config, jnp.asarray(2.0)).schedule(55))
    assert abs(rate - 1.0) < 1e-6


def test_every_default_is_an_assumption():
    assert from_config(WSD).assumptions == (
        "The run has max_steps, 100 updates: its epochs have at least as many.",
        "lr_decay_steps is 100, the default of NeMo Automodel.",
        "init_lr is 0.1, the default of NeMo Automodel.",
    )


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(SQUAD, **L)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("Adam", 0.1, 0.5)


REFUSED = [
    (SQUAD, {}, r"the config has no max_steps: give names=\{'max_steps': ...\}, or steps_per_epoch"),
    (
        SQUAD,
        {**L, "init_value": jnp.ones(())},
        "init_lr and min_lr are parts of init_value, which must be a",
    ),
    (SQUAD, {"steps_per_epoch": 9}, "of all data-parallel processes: give num_processes"),
    (
        SQUAD,
        {**L, "num_processes": 3},
        "global_batch_size / local_batch_size / num_processes must be a whole",
    ),
    (
        {**WSD, "lr_scheduler": {"lr_decay_style": "linear", "end_wd": 0.5}},
        {},
        "end_wd=0.5 is not supported: it changes the weight decay",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
