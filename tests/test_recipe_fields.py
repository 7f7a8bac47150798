"""The parameter groups, momentum, weight decay, optimizer and clipping of a recipe."""

from typing import Any

import pytest
from helpers import HOST_RTOL, assert_close

import jaxlr


from_config: Any = jaxlr.from_config  # a type checker would ask which recipes are plateaus

YOLO = {
    **{"lr0": 0.01, "lrf": 0.01, "epochs": 10, "warmup_epochs": 3, "batch": 16, "optimizer": "SGD"},
    **{"momentum": 0.937, "warmup_momentum": 0.8, "weight_decay": 0.0005},
}


def test_the_momentum_of_ultralytics_warms_up_with_the_rate():
    recipe = from_config(YOLO, steps_per_epoch=10, version="8.4")
    assert_close(
        [recipe.momentum(count) for count in (0, 15, 30, 99)], [0.8, 0.8685, 0.937, 0.937], HOST_RTOL
    )
    assert (recipe.optimizer, recipe.clip) == ("SGD", None)


def test_the_momentum_of_adam_is_a_number_in_ultralytics():
    recipe = from_config({**YOLO, "optimizer": "AdamW"}, steps_per_epoch=10)
    assert (recipe.momentum, recipe.optimizer) == (0.937, "AdamW")


def test_optimizer_auto_names_the_one_that_it_takes():
    config = {**YOLO, "optimizer": "auto"}
    short = from_config(config, steps_per_epoch=10, names={"nc": 80})
    assert (short.optimizer, short.momentum) == ("AdamW", 0.9)
    for version, optimizer in (("8.4", "MuSGD"), ("8.3", "SGD")):
        long = from_config({**config, "epochs": 500}, steps_per_epoch=100, version=version)
        assert (long.optimizer, long.momentum(300)) == (optimizer, 0.937)


def test_only_the_weights_of_ultralytics_decay():
    recipes = [from_config(YOLO, steps_per_epoch=10, group=group) for group in range(3)]
    assert [recipe.weight_decay for recipe in recipes] == [0.0005, 0.0, 0.0]
    assert recipes[0].groups == ("weights", "norms", "biases")
    wide = from_config({**YOLO, "batch": 128}, steps_per_epoch=10)
    assert wide.weight_decay == 0.0005 * 128 / 64


CYCLE = {"cycle_min_lr": 0.1, "cycle_max_lr": 1.0, "cycle_first_step_size": 10, "decay_step_size": 5}


def test_the_momentum_of_one_cycle_falls_while_the_rate_rises():
    scheduler = {"type": "OneCycle", "params": {**CYCLE, "decay_mom_rate": 0.01}}
    config = {
        "optimizer": {"type": "Adam", "params": {"lr": 0.1, "weight_decay": 0.01}},
        "gradient_clipping": 1.0,
        "scheduler": scheduler,
    }
    recipe = from_config(config)
    expected = {0: 0.8, 1: 0.89, 5: 0.85, 10: 0.8, 15: 0.85, 20: 0.9, 25: 0.9 * 1.01}
    for count, momentum in expected.items():
        assert_close(recipe.momentum(count), momentum, HOST_RTOL)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("Adam", 0.01, 1.0)
    scheduler["params"]["cycle_momentum"] = False
    assert from_config(config).momentum is None


TRAINER = {"learning_rate": 1e-4, "lr_scheduler_type": "constant"}
CARD = (
    "The following hyperparameters were used during training:\n- learning_rate: 1e-05\n- optimizer: {}\n"
    "- lr_scheduler_type: constant\n- num_epochs: 3\n"
)
STATED = [  # a config, and its group, momentum, weight decay, optimizer and clip
    (TRAINER, 0, None, None, None, None),
    ({**TRAINER, "optim": "adamw_torch", "weight_decay": "0.01"}, 0, None, 0.01, "adamw_torch", None),
    ({**TRAINER, "weight_decay": 0.01, "max_grad_norm": 0.3}, 1, None, 0.0, None, 0.3),
    ({**TRAINER, "max_grad_norm": 0.0, "adam_beta1": 0.8}, 0, 0.8, None, None, None),
    ({**TRAINER, "optim": "adafactor", "adam_beta1": 0.9}, 0, None, None, "adafactor", None),
    ({**TRAINER, "max_grad_norm": "auto"}, 0, None, None, None, None),
    (CARD.format("Adam with betas=(0.9,0.999) and epsilon=1e-08"), 0, None, None, "Adam", None),
    (
        CARD.format("Use OptimizerNames.ADAMW_TORCH with betas=(0.9,0.999)"),
        *(0, None, None, "ADAMW_TORCH", None),
    ),
    (
        "--sched cosine --epochs 5 --lr 0.1 --opt sgd --momentum 0.8 --weight-decay 1e-4 --clip-grad 2",
        *(0, 0.8, 1e-4, "sgd", 2.0),
    ),
    ("--sched cosine --epochs 5 --lr 0.1 --clip-grad 2 --clip-mode agc", 0, None, None, None, None),
    (
        "--lr_scheduler constant --learning_rate 1 --max_train_steps 5 --lr_warmup_steps 0 "
        "--max_grad_norm 1 --use_8bit_adam",
        *(0, None, None, "adamw_8bit", 1.0),
    ),
]


@pytest.mark.parametrize(("config", "group", *"mdoc"), STATED)
def test_a_recipe_has_what_its_config_states(config, group, m, d, o, c):
    recipe = from_config(config, group=group)
    assert (recipe.momentum, recipe.weight_decay, recipe.optimizer, recipe.clip) == (m, d, o, c)


def test_what_is_left_out_is_said():
    recipe = from_config({**TRAINER, "max_grad_norm": "auto"})
    assert recipe.assumptions == ("max_grad_norm is 'auto', which is no number: the recipe leaves it out.",)


@pytest.mark.parametrize("group", [1, -1])
def test_a_group_that_a_framework_does_not_have_is_refused(group):
    with pytest.raises(
        ValueError, match=f"group must be 0: this config has one parameter group, got {group}"
    ):
        from_config("--sched cosine --epochs 5 --lr 0.1", group=group)
    with pytest.raises(
        ValueError, match=r"group must be one of 0 \(weights\), 1 \(biases and norms\), got 7"
    ):
        from_config(TRAINER, group=7)
