"""The configs of Swin Transformer, beside timm's schedulers stepped as its loop steps them."""

from typing import Any

import numpy as np
from framework_files import from_config, gives_rates, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string

RUN = {"steps_per_epoch": 10, "num_processes": 4}
FINETUNE = """
DATA:
  IMG_SIZE: 384
MODEL:
  TYPE: swin
  NAME: swin_base_patch4_window12_384_22kto1k_finetune
TRAIN:
  EPOCHS: 30
  WARMUP_EPOCHS: 5
  WEIGHT_DECAY: 1e-8
  BASE_LR: 2e-05
  WARMUP_LR: 2e-08
  MIN_LR: 2e-07
"""
SIMMIM = """
MODEL: {TYPE: swinv2, NAME: simmim_pretrain, SIMMIM: {NORM_TARGET: {ENABLE: True}}}
DATA: {IMG_SIZE: 192, BATCH_SIZE: 64}
TRAIN:
  EPOCHS: 8
  WARMUP_EPOCHS: 1
  BASE_LR: 1e-4
  WARMUP_LR: 5e-7
  LR_SCHEDULER: {NAME: 'multistep', GAMMA: 0.1, MULTISTEPS: [7,]}
"""
DEFAULTS = "MODEL:\n  TYPE: swin\n"
LINEAR = {"MODEL": {"TYPE": "swin_mlp"}, "TRAIN": {"EPOCHS": 10, "WARMUP_EPOCHS": 0, "BASE_LR": 1}}
LINEAR["TRAIN"]["LR_SCHEDULER"] = {"NAME": "linear"}  # pyright: ignore[reportArgumentType]
STEP = {
    "MODEL": {"TYPE": "swin"},
    "TRAIN": {"EPOCHS": 90, "WARMUP_EPOCHS": 0, "BASE_LR": 1, "ACCUMULATION_STEPS": 5},
}
STEP["TRAIN"]["LR_SCHEDULER"] = {"NAME": "step"}  # pyright: ignore[reportArgumentType]
CONFIGS = [  # a config, num_counts, and rates by count
    (FINETUNE, 300, {0: 2e-8, 1: 2e-8, 26: 1.001e-5, 51: 2e-5, 176: 1.01e-5, 301: 2e-7}),
    (SIMMIM, 80, {0: 2.5e-7, 11: 5e-5, 70: 5e-5, 71: 5e-6}),
    (DEFAULTS, 3000, {0: 5e-7, 201: 5e-4, 3001: 5e-6}),
    (LINEAR, 100, {0: 1.0, 1: 1.0, 51: 0.505, 101: 0.01}),
    (STEP, 180, {0: 5.0, 60: 5.0, 61: 0.5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "swin", "update", **RUN)


def test_the_schedule_is_that_of_timm_one_update_late():
    schedule = from_config(FINETUNE, **RUN).schedule
    timm = from_string(
        "CosineLRScheduler(optimizer, t_initial=250, t_mul=1., lr_min=2e-7, warmup_lr_init=2e-8, "
        "warmup_t=50, cycle_limit=1, t_in_epochs=False, warmup_prefix=True)",
        2e-5,
    )
    counts = np.arange(299)
    assert_close(schedule(counts + 1), timm(counts), HOST_RTOL)


def test_a_recipe_states_its_optimizer_and_the_scale_of_its_rates():
    recipe = from_config(FINETUNE, steps_per_epoch=10, num_processes=8)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adamw", 1e-8, 5.0)
    assert recipe.assumptions[:2] == (
        "BATCH_SIZE is 128, the default of config.py.",
        "The rate is 4e-05: BASE_LR by the global batch size over 512.",
    )


REFUSED = [
    (FINETUNE, {"steps_per_epoch": 9}, "scaled by the global batch size: give num_processes"),
    (FINETUNE, {"num_processes": 9}, "give steps_per_epoch"),
    (STEP, {**RUN, "steps_per_epoch": 9}, "ACCUMULATION_STEPS=5 is supported only by main.py"),
    (SIMMIM.replace("[7,]", "[0.5]"), RUN, "MULTISTEPS must be epochs after the warmup"),
    (FINETUNE, {**RUN, "epochs": 2}, "WARMUP_EPOCHS must be below EPOCHS, got 5 and 2"),
    (SIMMIM.replace("multistep", "poly"), RUN, "NAME of LR_SCHEDULER must be 'cosine'.*, got 'poly'"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
