"""The configs of torchtune, beside the curves of its own schedule."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("torchtune")
def test_a_config_gives_the_curve_of_torchtune(case):
    config = {
        "optimizer": {"_component_": "torch.optim.AdamW", "lr": case["init_value"]},
        "lr_scheduler": {"_component_": case["call"], **case["settings"]},
        "epochs": 2,
        "gradient_accumulation_steps": 3,
    }
    recipe = from_config(config, steps_per_epoch=32)
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("torchtune", "update", 20)
    assert_has_rates(recipe.schedule, case["rates"])


COSINE = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
LORA = f"""
output_dir: /tmp/torchtune/llama3_1_8B/lora_single_device
model:
  _component_: torchtune.models.llama3_1.lora_llama3_1_8b
  lora_attn_modules: ['q_proj', 'v_proj', 'output_proj']
batch_size: 2
# Optimizer and Scheduler
optimizer:
  _component_: torch.optim.AdamW
  fused: True
  weight_decay: 0.01
  lr: 3e-4
lr_scheduler:
  _component_: {COSINE}
  num_warmup_steps: 100
epochs: 1
max_steps_per_epoch: null
gradient_accumulation_steps: 8  # Use to increase effective batch size
clip_grad_norm: null
"""
FULL = """
batch_size: 4
epochs: 3
optimizer:
  _component_: bitsandbytes.optim.PagedAdamW8bit
  lr: 2e-5
optimizer_in_bwd: True
gradient_accumulation_steps: 1
clip_grad_norm: 1.0
"""
CYCLES = f"""
optimizer: {{_component_: torch.optim.SGD, lr: 1.0}}
lr_scheduler:
  _component_: {COSINE}
  num_warmup_steps: 10
  num_cycles: 1
epochs: 2
max_steps_per_epoch: 55
"""
SHORT = '{"optimizer": {"_component_": "torch.optim.AdamW", "lr": 1e-3}, "epochs": 1}'
NESTED = {"optimizer": {"_component_": "AdamW", "lr": 1.0}, "lr_scheduler": {"_component_": COSINE}}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (LORA, {"steps_per_epoch": 4807}, 600, {0: 0.0, 50: 1.5e-4, 100: 3e-4, 350: 1.5e-4, 600: 0.0}),
    (FULL, {"steps_per_epoch": 10}, 30, {0: 2e-5, 29: 2e-5}),
    (FULL, {}, None, {0: 2e-5}),
    (CYCLES, {"steps_per_epoch": 100}, 110, {10: 1.0, 60: 0.0, 110: 1.0}),
    (SHORT, {"steps_per_epoch": 7, "init_value": 0.5}, 7, {0: 0.5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "torchtune", "update")


def test_a_recipe_has_the_optimizer_and_the_clipping():
    lora, full = from_config(LORA, steps_per_epoch=8), from_config(FULL)
    assert (lora.optimizer, lora.weight_decay, lora.clip) == ("torch.optim.AdamW", 0.01, None)
    assert (full.optimizer, full.clip) == ("bitsandbytes.optim.PagedAdamW8bit", 1.0)
    assert full.assumptions == ("The config has no lr_scheduler, so the rate is constant.",)


REFUSED = [
    (LORA, {}, "how many batches an epoch has: give steps_per_epoch"),
    (LORA, {"steps_per_epoch": 7}, "an epoch of 7 batches has no update"),
    (NESTED, {"steps_per_epoch": 7}, "the config has no epochs: give epochs"),
    ({**NESTED, "epochs": 1}, {"steps_per_epoch": 7}, "the config has no num_warmup_steps"),
    (
        {**NESTED, "epochs": 1, "lr_scheduler": {"_component_": "my.get_linear"}},
        {"steps_per_epoch": 7},
        "the _component_ of lr_scheduler must be .*, got 'my.get_linear'",
    ),
    ({"optimizer": {"_component_": "torch.optim.AdamW"}}, {}, "the config has no lr: give init_value"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
