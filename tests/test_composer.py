"""Configs of Composer and LLM Foundry, beside the curves of their own schedulers."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("composer")
def test_a_config_gives_the_curve_of_the_scheduler(case):
    recipe = from_config(case["settings"], steps_per_epoch=10)
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("composer", len(case["rates"]))


MPT_7B = """
variables:
  max_seq_len: 2048
  global_seed: 17
  run_name:  # If left blank, will be read from env var $RUN_NAME

max_seq_len: ${variables.max_seq_len}
run_name: ${variables.run_name}

train_loader:
  name: text
  dataset:
    max_seq_len: ${variables.max_seq_len}
  drop_last: true

# Optimization
scheduler:
  name: cosine_with_warmup
  t_warmup: 100ba
  alpha_f: 0.1

optimizer:
  name: decoupled_adamw
  lr: 1.2e-4
  betas:
  - 0.9
  - 0.95
  eps: 1.0e-08
  weight_decay: 0.0

algorithms:
  gradient_clipping:
    clipping_type: norm
    clipping_threshold: 1.0

max_duration: 63900ba  # ~ 134B tokens
global_train_batch_size: 1024
precision: amp_bf16
"""
BERT = """
optimizer: {name: decoupled_adamw, lr: 5.0e-4, weight_decay: 1.0e-5}
scheduler:
  name: linear_decay_with_warmup
  t_warmup: 0.06dur # Warmup to the full LR for 6% of the training duration
  alpha_f: 0.02 # Linearly decay to 0.02x the full LR by the end of the training duration
max_duration: 286720000sp # Subsample the training data for ~275M samples
global_train_batch_size: 4096
"""
SFT = """
name: mpt-7b-sft
image: mosaicml/llm-foundry
command: composer train.py /mnt/config/parameters.yaml
parameters:
  max_seq_len: 2048
  train_loader: {name: finetuning}
  scheduler: {name: linear_decay_with_warmup, t_warmup: 50ba, alpha_f: 0}
  optimizer: {name: decoupled_lionw, lr: 5.0e-7}
  max_duration: 2ep
"""
HYDRA = """
batch_size: 2048
trainer:
  _target_: composer.Trainer
  max_duration: 850000ba
  run_name: ${name}
optimizer: {_target_: torch.optim.AdamW, lr: 1.0e-4, weight_decay: 0.01}
scheduler:
  - _target_: composer.optim.LinearWithWarmupScheduler
    t_warmup: 10000ba
    alpha_f: 1.0
"""
TOKENS = {
    "scheduler": {"name": "constant_with_warmup", "t_warmup": "1000tok"},
    "optimizer": {"lr": 1.0},
    "max_duration": "1e4tok",
}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (MPT_7B, {}, 63_900, {0: 0.0, 50: 6e-5, 100: 1.2e-4, 32_000: 6.6e-5, 63_900: 1.2e-5}),
    (BERT, {}, 70_000, {0: 0.0, 2100: 2.5e-4, 4200: 5e-4, 37_100: 2.55e-4, 70_000: 1e-5}),
    (SFT, {"steps_per_epoch": 100}, 200, {25: 2.5e-7, 50: 5e-7, 125: 2.5e-7, 200: 0.0}),
    (HYDRA, {"init_value": 1.0}, 850_000, {5000: 0.5, 10_000: 1.0, 850_000: 1.0}),
    (TOKENS, {"names": {"tokens_per_batch": 300}}, 34, {0: 0.0, 1: 0.3, 3: 0.9, 4: 1.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "composer", "update")


def test_a_duration_without_a_unit_counts_epochs():
    config = {"scheduler": {"name": "LinearScheduler"}, "optimizer": {"lr": 1.0}, "max_duration": 3}
    assert from_config(config, steps_per_epoch=10).schedule(15) == 0.5
    assert from_config(config, steps_per_epoch=10, epochs=6).num_counts == 60


def test_the_samples_and_tokens_of_a_batch_are_assumptions_and_the_optimizer_is_stated():
    assert from_config(BERT).assumptions == ("Each batch has 4096 samples.",)
    text = MPT_7B.replace("63900ba", "134e9tok").replace("100ba", "0.01dur")
    assert from_config(text).assumptions == (
        "Each batch has 2097152 tokens: global_train_batch_size times max_seq_len.",
    )
    recipe = from_config(MPT_7B)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("decoupled_adamw", 0.0, 1.0)
    assert from_config(HYDRA).optimizer == "AdamW"


REFUSED = [
    (SFT, "how many batches an epoch has: give steps_per_epoch"),
    (
        {**TOKENS, "batch_size_warmup_min_size": 768},
        "batch_size_warmup_min_size=768 is not supported: the b",
    ),
    (TOKENS, "does not say how many tokens a batch has: give names={'tokens_per_batch': ...}"),
    (
        BERT.replace("global_train_batch_size", "batch"),
        "the config has no global_train_batch_size: give na",
    ),
    (MPT_7B.replace("max_duration", "duration"), "the config has no max_duration: give epochs, or names="),
    (
        MPT_7B.replace("  t_warmup: 100ba", ""),
        "the config has no t_warmup: give names={'t_warmup': '100ba'}",
    ),
    (
        MPT_7B.replace("100ba", "100"),
        "t_warmup must be a number with the unit ba, sp, tok, ep or dur, .*got 100",
    ),
    (MPT_7B.replace("100ba", "1.5ba"), "t_warmup must be a whole number of ba up to"),
    (MPT_7B.replace("100ba", "100sp"), "t_warmup and t_max must have the same unit, got sp and ba"),
    (MPT_7B.replace("1.2e-4", "").replace("lr:", "rate: 1"), "the config has no lr: give init_value"),
    (
        MPT_7B.replace("cosine_with_warmup", "warmup_stable_decay"),
        "must be one of .*got 'warmup_stable_decay'",
    ),
    ({**TOKENS, "scale_schedule_ratio": 1e300}, "scale_schedule_ratio must be at most 1000, got 1e"),
    (
        {**TOKENS, "step_schedulers_every_batch": False},
        "step_schedulers_every_batch=False is not supported",
    ),
    ({**TOKENS, "scheduler": [{"name": "a"}] * 2}, "scheduler must be one scheduler, got a list of 2"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(
    REFUSED, framework="composer"
)


def test_a_name_that_is_no_text_is_no_sign_of_composer():
    with pytest.raises(ValueError, match="the config is of no known framework"):
        from_config({**TOKENS, "scheduler": {"name": ["cosine_with_warmup"]}})
