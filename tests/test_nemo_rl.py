"""Configs of NeMo RL, beside the formulas of the schedulers that it steps once in a call of `train`."""

from typing import Any

import numpy as np
import pytest
from framework_files import from_config, gives_rates, refuses
from helpers import HOST_RTOL, assert_is_torchs

import jaxlr


GRPO = """
grpo: {num_prompts_per_step: 32, num_generations_per_prompt: 16, max_num_epochs: 1, max_num_steps: 100}
policy:
  train_global_batch_size: 128
  max_grad_norm: 1.0
  megatron_cfg:
    enabled: false
    optimizer: {lr: 5.0e-6, min_lr: 5.0e-7, weight_decay: 0.01, clip_grad: "${policy.max_grad_norm}"}
    scheduler: {lr_decay_style: constant, lr_decay_iters: null, lr_warmup_iters: 10, lr_warmup_init: 5.0e-7}
  optimizer:
    name: "torch.optim.AdamW"
    kwargs: {lr: 5.0e-6, weight_decay: 0.01, betas: [0.9, 0.95], eps: 1e-8, foreach: False, fused: False}
  scheduler:
    - name: "torch.optim.lr_scheduler.LinearLR"
      kwargs: {start_factor: 0.1, end_factor: 1.0, total_iters: 20}
    - name: "torch.optim.lr_scheduler.ConstantLR"
      kwargs: {factor: 1.0, total_iters: 10000000000}
    - milestones: [20]
"""
ONE = GRPO.replace("128", "512")
SFT = {
    "sft": {"max_num_steps": 60, "max_num_epochs": 2},
    "policy": {
        **{"train_global_batch_size": 32, "megatron_cfg": {"enabled": False}},
        "optimizer": {"name": "torch.optim.AdamW", "kwargs": {"lr": 1e-3}},
    },
}
DICT = {"name": "torch.optim.lr_scheduler.CosineAnnealingLR", "kwargs": {"T_max": 10}}
RM: Any = {"rm": {"max_num_steps": -1, "max_num_epochs": 3}, "policy": {**SFT["policy"], "scheduler": DICT}}
PPO = {
    "ppo": {
        "max_num_steps": 10,
        "ppo_epochs": 4,
        "num_prompts_per_step": 8,
        "num_generations_per_prompt": 4,
    },
    "policy": {**SFT["policy"], "scheduler": [DICT, {"milestones": []}]},
}
MEGATRON = GRPO.replace("enabled: false", "enabled: true")
LINEAR = MEGATRON.replace("constant, lr_decay_iters: null", "linear, lr_decay_iters: 30")


@pytest.mark.parametrize(("config", "updates"), [(ONE, 1), (GRPO, 4)])
def test_the_updates_of_a_rollout_have_one_rate(config, updates):
    rates = 5e-6 * (0.1 + 0.9 * np.minimum(np.arange(40), 20) / 20)
    recipe = from_config(config)
    assert_is_torchs(recipe.schedule(np.arange(40 * updates)), np.repeat(rates, updates), HOST_RTOL)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("AdamW", 0.01, 1.0)
    sentence = f"{updates} updates have the same rate: those of the global batches of a rollout."
    assert recipe.assumptions == ((sentence,) if updates > 1 else ())


CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (GRPO, {"steps_per_epoch": 30}, 120, {0: 5e-7, 3: 5e-7, 4: 7.25e-7, 80: 5e-6}),
    (GRPO, {"init_value": 1.0, "names": {"max_num_steps": 9}}, 400, {0: 0.1}),
    (SFT, {}, 60, {0: 1e-3, 59: 1e-3}),
    (SFT, {"steps_per_epoch": 10}, 20, {0: 1e-3}),
    (RM, {}, None, {0: 1e-3, 5: 5e-4}),
    (RM, {"steps_per_epoch": 10}, 30, {5: 5e-4}),
    (PPO, {}, 40, {5: 5e-4}),
    (MEGATRON, {}, 400, {0: 5e-7, 4: 5e-7 + 4.5e-7, 40: 5e-6, 399: 5e-6}),
    (LINEAR, {}, 400, {40: 5e-6, 80: 2.75e-6, 120: 5e-7, 399: 5e-7}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "nemo_rl", "update")


def test_a_recipe_inherits_from_the_files_of_its_defaults(tmp_path):
    (tmp_path / "base.yaml").write_text(GRPO)
    (tmp_path / "recipes").mkdir()
    path = tmp_path / "recipes" / "own.yaml"
    path.write_text(
        "defaults: ../base.yaml\ngrpo: {max_num_steps: 7}\npolicy:\n  scheduler: null\n"
        "  optimizer: {_override_: true, name: torch.optim.SGD, kwargs: {lr: 0.5}}\n"
    )
    recipe = from_config(path)
    assert (recipe.num_counts, recipe.schedule(9), recipe.weight_decay) == (28, 0.5, None)
    with pytest.raises(ValueError, match=r"inherits from its defaults: give the path of its file"):
        from_config(path.read_text() + "  train_global_batch_size: 8\n")


def test_the_optimizer_is_that_of_torch():
    tx: Any = jaxlr.optimizer_from_config(GRPO)
    assert tx.recipe.framework == "nemo_rl"
    with pytest.raises(ValueError, match="the optimizer of Megatron is not supported"):
        jaxlr.optimizer_from_config(MEGATRON)


REFUSED = [
    (GRPO.replace("128", "96"), {}, "samples of a rollout / train_global_batch_size must be a whole"),
    (
        {**SFT, "policy": {**SFT["policy"], "scheduler": [5]}},
        {},
        "scheduler must hold settings by name, got 5",
    ),
    (
        GRPO.replace("torch.optim.lr_scheduler.Lin", "own.Lin"),
        {},
        "name must be a class of torch.optim.lr_scheduler, got 'own.LinearLR'",
    ),
    (LINEAR.replace("30", "null"), {}, "the config has no lr_decay_iters: give names="),
    (
        MEGATRON.replace("grpo:", "dpo:"),
        {},
        "in dpo the scheduler of Megatron moves two iterations in an update: give its settings as flags",
    ),
]


test_a_config_that_is_not_read_says_why = refuses(REFUSED)
