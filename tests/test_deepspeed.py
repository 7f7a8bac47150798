"""The schedules of DeepSpeed's JSON config, beside the curves of its own classes."""

import json
from typing import Any

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("deepspeed")
def test_a_scheduler_gives_the_curve_of_deepspeed(case):
    config = {
        "optimizer": {"type": "AdamW", "params": {"lr": case["init_value"]}},
        "scheduler": {"type": case["call"], "params": case["settings"]},
    }
    recipe = from_config(config)
    assert_has_rates(recipe.schedule, case["rates"])
    if "momenta" in case:
        assert_has_rates(recipe.momentum, case["momenta"])


def test_the_highest_rate_of_a_decay_is_not_that_of_the_optimizer():
    config = {"optimizer": {"type": "Adam", "params": {"lr": 1.0}}}
    recipe = from_config(
        {**config, **with_scheduler("WarmupDecayLR", total_num_steps=9, warmup_num_steps=2)}
    )
    assert recipe.schedule(3) == 0.001
    assert "warmup_max_lr is 0.001, the default" in " ".join(recipe.assumptions)


def test_one_cycle_leaves_the_momentum_of_sgd_alone():
    cycle = with_scheduler("OneCycle", cycle_min_lr=0.1, cycle_max_lr=1.0)
    assert from_config({**cycle, "optimizer": {"type": "SGD", "params": {}}}).momentum is None


ZERO2 = """{
  "fp16": {"enabled": "auto", "loss_scale": 0},
  "optimizer": {"type": "AdamW", "params": {"lr": 3e-5, "betas": [0.8, 0.999], "eps": 1e-8}},
  "scheduler": {
    "type": "WarmupLR",
    "params": {"warmup_min_lr": 0, "warmup_max_lr": 3e-5, "warmup_num_steps": 500}
  },
  "zero_optimization": {"stage": 2},
  "train_batch_size": 16
}"""
DECAY = {"total_num_steps": 100_000, "warmup_min_lr": 0, "warmup_max_lr": 1e-4, "warmup_num_steps": 1000}


def with_scheduler(name: str, **params: Any) -> dict[str, Any]:
    return {"train_batch_size": 8, "scheduler": {"type": name, "params": params}}


CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (ZERO2, {}, None, {0: 0.0, 1: 0.0, 500: 3e-5, 501: 3e-5, 9999: 3e-5}),
    (
        with_scheduler("WarmupDecayLR", **DECAY),
        {},
        100_000,
        {1: 0.0, 1001: 1e-4, 50_501: 5e-5, 100_001: 0.0},
    ),
    (json.dumps(with_scheduler("WarmupDecayLR", **DECAY)), {"init_value": 1.0}, 100_000, {50_501: 0.5}),
    (
        with_scheduler("WarmupLR", warmup_type="linear", warmup_num_steps=10),
        {"init_value": 1.0},
        None,
        {6: 0.5},
    ),
    (
        {**with_scheduler("WarmupLR", warmup_num_steps=10), "optimizer": {"params": {"lr": "2e-3"}}},
        {},
        None,
        {10: 2e-3},
    ),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "deepspeed", "update")


AUTO = with_scheduler("WarmupLR", warmup_max_lr="auto", warmup_num_steps="auto")


def test_names_replace_auto():
    recipe = from_config(AUTO, names={"warmup_max_lr": 0.1, "warmup_num_steps": 5})
    assert recipe.schedule(5) == 0.1


REFUSED = [
    (AUTO, "warmup_max_lr must be a number, got 'auto': give names="),
    (with_scheduler("WarmupLR"), "the config has no lr: give init_value"),
    (with_scheduler("WarmupDecayLR", warmup_max_lr=1), "the config has no total_num_steps: give names="),
    (with_scheduler("WarmupDecayLR", warmup_max_lr=1, total_num_steps=9), "total_num_steps must be above"),
    (with_scheduler("WarmupCosineLR", total_num_steps=9), "the config has no lr: give init_value"),
    (with_scheduler("WarmupExpLR"), "must be one of 'WarmupLR'.*, got 'WarmupExpLR'"),
    (with_scheduler("OneCycle", cycle_min_lr=1), "the config has no cycle_max_lr: give names="),
    (
        with_scheduler("OneCycle", cycle_min_lr=1, cycle_max_lr=2, cycle_first_stair_count=3),
        "cycle_first_stair_count=3 is not supported: only a smooth cycle is read",
    ),
    (
        with_scheduler("WarmupLR", warmup_max_lr=1, warmup_type="sine"),
        "warmup_type must be one of 'log', 'lin",
    ),
    ({"train_batch_size": 8, "scheduler": 3}, "scheduler must hold settings by name, got 3"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
