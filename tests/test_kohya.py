"""The flags and TOML files of kohya's sd-scripts, beside the functions of transformers that they call."""

from typing import Any

import numpy as np
import pytest
from framework_files import from_config, gives_rates, refuses

import jaxlr


from_string: Any = jaxlr.from_string

FLAGS = """
accelerate launch --num_cpu_threads_per_process 1 train_network.py \\
    --pretrained_model_name_or_path="model.safetensors" \\
    --dataset_config="dataset.toml" \\
    --network_module=networks.lora --network_dim=32 \\
    --learning_rate=1e-4 \\
    --optimizer_type="AdamW8bit" \\
    --lr_scheduler="cosine_with_restarts" --lr_scheduler_num_cycles=3 --lr_warmup_steps=0 \\
    --max_train_steps=300 --max_grad_norm=1.0
"""
TOML = """
[Basics]
pretrained_model_name_or_path = "/models/sdxl.safetensors"
max_train_epochs = 10
[Network_setup]
network_dim = 16
[Optimizer]
optimizer_type = "AdamW8bit"
unet_lr = 1e-4
text_encoder_lr = 5e-5
lr_scheduler = "cosine"
lr_warmup_steps = 0.1
"""
CONSTANT = """
learning_rate = 4e-7  # SDXL original learning rate
lr_scheduler = "constant_with_warmup"
lr_warmup_steps = 100
optimizer_type = "adafactor"
optimizer_args = [ "scale_parameter=False", "relative_step=False", "warmup_init=False" ]
"""
MIN_LR = {
    **{"learning_rate": 1.0, "lr_scheduler": "cosine_with_min_lr", "lr_scheduler_min_lr_ratio": 0.1},
    **{"lr_warmup_steps": "10%", "max_train_steps": 100},
}
WSD = (
    "--learning_rate 1 --lr_scheduler warmup_stable_decay --lr_warmup_steps 20 --lr_decay_steps 0.2 "
    "--max_train_steps 100 --network_dim 4"
)
PIECES = [
    *("--learning_rate=0.1", "--lr_scheduler=piecewise_constant", "--network_dim=8"),
    *("--lr_scheduler_args", "step_rules='1:10,0.1:20,0.01'"),
]
DEFAULT = {
    "learning_rate": 1e-4,
    "lr_scheduler": "constant",
    "output_name": "lora",
    "max_train_steps": 1600,
}
INTERFACE = """
{"LoRA_type": "Standard", "epoch": 4, "learning_rate": 0.0001, "train_data_dir": "x",
 "lr_scheduler": "cosine", "lr_scheduler_type": "", "lr_scheduler_num_cycles": "", "lr_scheduler_power": "",
 "lr_warmup": 10, "lr_warmup_steps": 0, "unet_lr": 0.0, "text_encoder_lr": 0.0,
 "max_train_epochs": "", "max_train_steps": "215"}
"""
INTERFACE_TOML = INTERFACE.replace('"train_data_dir"', '"dataset_config": "a.toml", "train_data_dir"')
RESTARTS = INTERFACE.replace("cosine", "cosine_with_restarts").replace(": 10", ": 0")
NO_SCHEDULER = """
accelerate launch train_db.py --pretrained_model_name_or_path=a.safetensors --train_data_dir=b \\
    --output_name=c --learning_rate=1e-6 --max_train_steps=400
"""
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (FLAGS, {}, 300, {0: 1e-4, 50: 5e-5, 100: 1e-4, 300: 0.0}),
    (TOML, {"steps_per_epoch": 20, "num_processes": 1}, 200, {10: 5e-5, 20: 1e-4, 110: 5e-5}),
    (TOML, {"steps_per_epoch": 20, "num_processes": 1, "group": 1}, 200, {20: 5e-5}),
    (CONSTANT, {"num_processes": 1}, None, {50: 2e-7, 100: 4e-7, 9999: 4e-7}),
    (CONSTANT, {"num_processes": 4}, None, {5: 8e-8, 25: 4e-7}),
    (MIN_LR, {"num_processes": 2}, 100, {5: 0.5, 10: 1.0, 55: 0.55, 100: 0.1}),
    (WSD, {"num_processes": 2}, 100, {5: 0.5, 10: 1.0, 80: 1.0, 90: 0.5, 100: 0.0}),
    (PIECES, {}, None, {9: 0.1, 10: 0.01, 20: 0.001}),
    (INTERFACE, {"num_processes": 1}, 215, {0: 0.0, 21: 1e-4, 118: 5e-5}),
    (INTERFACE_TOML, {"num_processes": 1}, 215, {11: 5e-5, 22: 1e-4}),
    (INTERFACE.replace(": 10", ": 0"), {}, 215, {0: 1e-4}),
    (INTERFACE.replace('steps": 0', 'steps": "43"'), {"num_processes": 1}, 215, {43: 1e-4, 129: 5e-5}),
    (RESTARTS.replace('"215"', "200"), {}, 200, {0: 1e-4, 25: 5e-5, 50: 1e-4, 75: 5e-5}),
    (CONSTANT + 'lr_scheduler_type = ""', {"num_processes": 1}, None, {50: 2e-7}),
    (NO_SCHEDULER, {}, 400, {0: 1e-6, 399: 1e-6}),
    ("hv_train_network.py --network_module=a --learning_rate 2e-4 --max_train_steps 9", {}, 9, {8: 2e-4}),
    (DEFAULT, {}, 1600, {0: 1e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "kohya", "update")


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("linear", "get_linear_schedule_with_warmup(opt, 8, {})"),
        ("cosine", "get_cosine_schedule_with_warmup(opt, 8, {})"),
        ("polynomial", "get_polynomial_decay_schedule_with_warmup(opt, 8, {}, power=2)"),
        ("cosine_with_restarts", "get_cosine_with_hard_restarts_schedule_with_warmup(opt, 8, {}, 2)"),
        ("inverse_sqrt", "get_inverse_sqrt_schedule(opt, 8)"),
    ],
)
def test_every_process_steps_the_scheduler(name, call, processes):
    """A prepared scheduler of accelerate makes a step for each process, and kohya stretches it as much."""
    config = {
        **{"learning_rate": 0.1, "lr_scheduler": name, "lr_warmup_steps": 8, "max_train_steps": 20},
        **{"lr_scheduler_num_cycles": 2, "lr_scheduler_power": 2},
    }
    schedule = from_config(config, num_processes=processes).schedule
    stepped = from_string(call.format(20 * processes), 0.1)
    updates = np.arange(25)
    np.testing.assert_allclose(schedule(updates), stepped(updates * processes), rtol=1e-12, atol=1e-17)


def test_a_warmup_may_end_between_two_updates():
    schedule = from_config(
        {**DEFAULT, "lr_scheduler": "linear", "lr_warmup_steps": 10}, num_processes=4
    ).schedule
    stepped = from_string("get_linear_schedule_with_warmup(opt, 10, 6400)", 1e-4)
    updates = np.arange(30)
    np.testing.assert_allclose(schedule(updates), stepped(updates * 4), rtol=1e-12)


def test_a_recipe_has_its_groups_optimizer_and_clipping():
    recipe = from_config(FLAGS)
    assert (recipe.optimizer, recipe.clip, recipe.groups) == ("AdamW8bit", 1.0, ())
    assert from_config(TOML, steps_per_epoch=9, num_processes=1).groups == ("U-Net", "text encoder")
    two = {**DEFAULT, "text_encoder_lr": [1e-5, 2e-5]}
    assert [from_config(two, group=n).schedule(0) for n in range(3)] == [1e-4, 1e-5, 2e-5]


def test_an_optimizer_without_schedule_has_a_constant_rate():
    recipe = from_config({**DEFAULT, "lr_scheduler": "cosine", "optimizer_type": "AdamWScheduleFree"})
    assert recipe.schedule(1600) == 1e-4
    assert "has no scheduler" in recipe.assumptions[0]


REFUSED = [
    ({**DEFAULT, "lr_scheduler": "sine"}, {}, "lr_scheduler_type must be one of .*'sine'"),
    (
        {**DEFAULT, "optimizer_type": "Adafactor"},
        {},
        "optimizer_type 'adafactor' chooses its rate itself, un",
    ),
    (
        INTERFACE.replace('"epoch"', '"optimizer": "Adafactor", "epoch"'),
        {},
        "chooses its rate itself, unless",
    ),
    ({**DEFAULT, "lr_scheduler": "adafactor:1e-4"}, {}, "'adafactor' is not supported: Adafactor chooses"),
    (CONSTANT, {}, "once for each process: give num_processes"),
    (TOML, {"num_processes": 1}, "how many batches an epoch has: give steps_per_epoch"),
    (
        {**MIN_LR, "lr_scheduler_min_lr_ratio": None},
        {"num_processes": 1},
        "needs lr_scheduler_min_lr_ratio",
    ),
    (
        {**DEFAULT, "lr_scheduler_type": "CosineAnnealingLR", "lr_scheduler_args": ["T_max=100"]},
        {},
        r"give from_string the call 'CosineAnnealingLR\(optimizer, T_max=100\)'",
    ),
    ({**DEFAULT, "lr_scheduler_args": ["T_max"]}, {}, "lr_scheduler_args must be like 'T_max=100'"),
    (
        {**DEFAULT, "lr_scheduler": "linear", "lr_scheduler_args": ["a=1"]},
        {},
        "lr_scheduler_args is supported only for",
    ),
    (
        {**DEFAULT, "lr_scheduler": "polynomial", "lr_warmup_steps": 5},
        {"num_processes": 2},
        "lr_warmup_steps must be a multiple of num_processes for lr_scheduler 'polynomial'",
    ),
    ({**DEFAULT, "unet_lr": 1e-4}, {"group": 2}, "group must be one of 0 .U-Net., 1 .text encoder., got 2"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)


def test_rates_of_some_parameters_are_said():
    text = TOML + 'network_args = ["conv_dim=4", "down_lr_weight=1,1,0"]\nlearning_rate_te1 = 1e-5\n'
    recipe = from_config(text, steps_per_epoch=20, num_processes=1)
    assert recipe.assumptions[0] == (
        "Some parameters have a rate of learning_rate_te1 and network_args. This is that of the others."
    )
