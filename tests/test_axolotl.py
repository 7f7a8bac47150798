"""The schedules of axolotl, beside the curves of its own classes."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("axolotl")
def test_a_config_gives_the_curve_of_axolotl(case):
    recipe = from_config({**case["settings"], "base_model": "a/b", "learning_rate": case["init_value"]})
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("axolotl", "update", 30)
    assert_has_rates(recipe.schedule, case["rates"])


LORA = """
base_model: NousResearch/Llama-3.2-1B
load_in_8bit: false
datasets:
  - path: teknium/GPT4-LLM-Cleaned
    type: alpaca
val_set_size: 0.1
adapter: lora
sequence_len: 2048
sample_packing: true
gradient_accumulation_steps: 2
micro_batch_size: 2
num_epochs: 1
optimizer: adamw_8bit
lr_scheduler: cosine
learning_rate: 0.0002
bf16: auto
warmup_ratio: 0.1
weight_decay: 0.0
special_tokens:
  pad_token: "<|end_of_text|>"
"""
PRETRAIN = """
base_model: TinyLlama/TinyLlama-1.1B-Chat-v1.0
max_steps: 200
pretraining_dataset:
  - path: allenai/c4
    name: en
gradient_accumulation_steps: 4
micro_batch_size: 2
optimizer: adamw_torch
lr_scheduler: cosine
cosine_min_lr_ratio: 0.1
learning_rate: 2e-4
"""
CONSTANT = """
base_model: mistralai/Mistral-7B-v0.1
micro_batch_size: 1
num_epochs: 4
optimizer: paged_adamw_8bit
lr_scheduler: constant_with_warmup
learning_rate: 0.000005
warmup_steps: 10
max_grad_norm: 1.0
"""
EMBEDDINGS = """
base_model: Qwen/Qwen2.5-0.5B
micro_batch_size: 8
gradient_accumulation_steps: 1
num_epochs: 2
lr_scheduler:
learning_rate: 1.0e-4
embedding_lr_scale: 0.1
weight_decay: 0.01
warmup_steps: 1
lr_groups:
  - name: o_proj
    modules: [self_attn.o_proj.weight]
    lr: 3.0e-4
"""
GRPO = """
base_model: Qwen/Qwen2.5-1.5B-Instruct
rl: grpo
micro_batch_size: 8
gradient_accumulation_steps: 8
num_epochs: 1
learning_rate: 5.0e-6
lr_scheduler: linear
warmup_steps: 0.1
"""
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (LORA, {"steps_per_epoch": 401}, 200, {0: 0.0, 10: 1e-4, 20: 2e-4, 110: 1e-4}),
    (PRETRAIN, {}, 200, {3: 1e-4, 6: 2e-4, 200: 2e-5}),
    (CONSTANT, {}, None, {5: 2.5e-6, 10: 5e-6, 9999: 5e-6}),
    (EMBEDDINGS, {"steps_per_epoch": 50, "group": 3}, 100, {1: 1.5e-4, 2: 3e-4, 51: 1.5e-4}),
    (EMBEDDINGS, {"steps_per_epoch": 50, "group": 1}, 100, {1: 5e-6, 2: 1e-5}),
    (GRPO, {"steps_per_epoch": 801}, 101, {11: 5e-6, 56: 2.5e-6}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "axolotl", "update")


def test_a_model_card_of_axolotl_may_need_its_config():
    card = "```yaml\nbase_model: a\nlr_scheduler: {}\ncosine_min_lr_ratio: {}\n```\n- learning_rate: 0.1\n"
    card += "- lr_scheduler_type: cosine\n- training_steps: 10\n"
    recipe = from_config(card.format("cosine", ""))
    assert (recipe.framework, recipe.num_counts) == ("huggingface", 10)
    for name, ratio in (("cosine", 0.1), ("rex", "")):
        with pytest.raises(ValueError, match=r"has a config of axolotl with .*, which its list leaves out"):
            from_config(card.format(name, ratio))


def test_the_default_warmup_is_three_percent_and_at_most_a_hundred():
    config = {"base_model": "a", "learning_rate": 1.0, "lr_scheduler": "linear"}
    for steps, warm in ((10, 0), (34, 2), (99, 2), (400, 12), (5000, 100)):
        recipe = from_config({**config, "max_steps": steps})
        assert f"The warmup has {1 if steps == 34 else warm} updates" in recipe.assumptions[0]
        assert recipe.schedule(warm) == 1.0
        assert warm == 0 or recipe.schedule(warm - 1) < 1.0


def test_the_warmup_of_a_run_that_max_steps_does_not_cut_is_a_share_of_its_epochs():
    recipe = from_config({**RUN, "warmup_ratio": 0.5, "max_steps": 100}, steps_per_epoch=20)
    assert (recipe.num_counts, recipe.schedule(10)) == (100, 1.0)


def test_a_last_batch_that_may_be_small_is_said():
    assert from_config(RUN, steps_per_epoch=20).num_counts == 20
    recipe = from_config({**RUN, "num_epochs": 3}, steps_per_epoch=20)
    assert recipe.num_counts == 60
    assert "else at least 58" in " ".join(recipe.assumptions)
    known = from_config({**RUN, "num_epochs": 3}, names={"num_examples": 155}, num_processes=2)
    assert known.num_counts == 59


def test_a_recipe_has_its_groups_optimizer_and_momentum():
    recipe = from_config(EMBEDDINGS, steps_per_epoch=50)
    assert recipe.groups == ("weights", "embeddings", "biases and norms", "o_proj")
    assert [from_config(EMBEDDINGS, steps_per_epoch=50, group=n).weight_decay for n in range(4)] == [
        *(0.01, 0.0, 0.0, 0.01),
    ]
    recipe = from_config(CONSTANT)
    assert (recipe.optimizer, recipe.clip) == ("paged_adamw_8bit", 1.0)
    plus = {**RUN, "max_steps": 10, "warmup_steps": 0, "loraplus_lr_ratio": 16}
    rates = [from_config(plus, group=number).schedule(0) for number in range(3)]
    assert rates == [1.0, 16.0, 1e-6]
    cycle = from_config({**RUN, "max_steps": 10, "warmup_steps": 3, "lr_scheduler": "one_cycle"})
    assert_close([cycle.momentum(count) for count in (0, 2, 9)], [0.95, 0.85, 0.95], HOST_RTOL)


def test_a_jagged_schedule_takes_every_count():
    import jax.numpy as jnp

    recipe = from_config({**RUN, "max_steps": 30, "warmup_steps": 2, "jagged_restart_steps": 20})
    counts = [3, 2**24 + 1, 2**31 - 2]
    on_device = [float(recipe.schedule(jnp.asarray(count))) for count in counts]
    assert_close(on_device, [recipe.schedule(count) for count in counts], 1e-6)
    assert jnp.isfinite(recipe.schedule(jnp.asarray(2**31 - 1)))


RUN = {
    **{"base_model": "a", "learning_rate": 1.0, "lr_scheduler": "linear", "num_epochs": 1},
    **{"micro_batch_size": 4, "gradient_accumulation_steps": 1},
}
REFUSED = [
    ({**RUN, "lr_scheduler": "sine"}, {"steps_per_epoch": 9}, "lr_scheduler_type must be one of .*'sine'"),
    (
        {**RUN, "relora_steps": 150},
        {},
        "relora_steps=150 is not supported: write the relora_..._steps as jag",
    ),
    (RUN, {}, "how many batches an epoch has: give steps_per_epoch"),
    ({**RUN, "num_epochs": None}, {"steps_per_epoch": 9}, "the config has no num_epochs: give epochs"),
    (RUN, {"names": {"num_examples": 9}}, "only with num_processes: give num_processes"),
    (
        {**RUN, "sample_packing": True, "sample_packing_eff_est": 0.9},
        {},
        r"depends on the tokens: give names=.'max_steps': \.\.\..",
    ),
    (
        {**RUN, "max_steps": 9, "lr_scheduler": "cosine", "cosine_min_lr_ratio": 2},
        {},
        "must be at most 1, got 2",
    ),
    (
        {
            **{**RUN, "max_steps": 9, "lr_scheduler": "cosine", "warmup_steps": 5},
            **{"cosine_min_lr_ratio": 0.1, "cosine_constant_lr_ratio": 0.2},
        },
        {},
        "ends the cosine at step 1, in the warmup of 5",
    ),
    (
        {**RUN, "max_steps": 9, "lr_scheduler": "rex", "jagged_restart_steps": 5},
        {},
        "not supported with .*'rex'",
    ),
    ({**RUN, "max_steps": 9, "jagged_restart_steps": 5}, {}, "must fit into jagged_restart_steps"),
    (
        {**RUN, "max_steps": 9, "lr_scheduler": "one_cycle", "lr_scheduler_kwargs": {"epochs": 3}},
        {},
        "one_cycle has the keyword 'epochs', which is not supported",
    ),
    ({**RUN, "max_steps": 9, "lr_groups": "all"}, {}, "lr_groups must be a list of groups"),
    (
        {**RUN, "max_steps": 9},
        {"group": 5},
        "group must be one of 0 .weights., 1 .biases and norms., got 5",
    ),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
