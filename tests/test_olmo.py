"""Configs of OLMo and OLMo-core, beside the curves of their own schedulers."""

from typing import Any

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("olmo")
def test_a_config_gives_the_curve_of_the_scheduler(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("olmo", len(case["rates"]))


OLMO2_7B = """
run_name: OLMo2-7B-stage1
model:
  d_model: 4096
  max_sequence_length: 4096
optimizer:
  name: adamw
  learning_rate: 3.0e-4
  weight_decay: 0.1
scheduler:
  name: cosine_with_warmup
  units: tokens
  t_warmup: 8388608000
  t_max: 5e12
  alpha_f: 0.1
  warmup_min_lr: 0.0
max_duration: 1ep
global_train_batch_size: 1024
max_grad_norm: 1.0
"""
OLMO_7B = """
model: {max_sequence_length: 2048}
optimizer: {name: adamw, learning_rate: 3.0e-4}
scheduler:
  name: linear_with_warmup
  t_warmup: 5000
  alpha_f: 0.1
  grad_clip_warmup_steps: 1000
  grad_clip_warmup_factor: 10.0
max_duration: 739_328  # 3.1T tokens
stop_at: 100_000
global_train_batch_size: 2048
max_grad_norm: 1.0
"""
ANNEAL = """
model: {max_sequence_length: 4096}
optimizer: {learning_rate: 0.000061499}
scheduler: {name: linear_with_warmup, units: tokens, t_warmup: 0, alpha_f: 0}
max_duration: 50e9T
global_train_batch_size: 1024
"""
CORE = """
{"data_loader": {"global_batch_size": 4194304, "_CLASS_": "olmo_core.data.NumpyDataLoaderConfig"},
 "train_module": {
   "optim": {"lr": 6e-4, "weight_decay": 0.033, "_CLASS_": "olmo_core.optim.adamw.SkipStepAdamWConfig"},
   "max_grad_norm": 1.0,
   "scheduler": {"warmup_steps": 2000, "_CLASS_": "olmo_core.optim.scheduler.CosWithWarmup"}},
 "trainer": {"max_duration": {"value": 419430400000, "unit": "tokens",
                              "_CLASS_": "olmo_core.train.common.Duration"}}}
"""
CALLBACK = {
    "optim": {"lr": 1.0},
    "trainer": {
        "callbacks": {"lr_scheduler": {"scheduler": {"_CLASS_": "CosWithWarmup", "warmup_steps": 4}}},
        "max_duration": {"value": 2, "unit": "epochs"},
    },
}
WSD = {
    "train_module": {"optim": {"lr": 1.0}, "scheduler": {"type": "wsd", "warmup": 10}},
    "trainer": {"max_duration": {"value": 100, "unit": "steps"}},
}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (OLMO2_7B, {}, None, {0: 1.5e-7, 1999: 3e-4, 1_192_092: 3e-5}),
    (OLMO2_7B, {"steps_per_epoch": 900_000}, 900_000, {999: 1.5e-4}),
    (OLMO_7B, {}, 100_000, {0: 3e-5 + 2.7e-4 / 5000, 4999: 3e-4}),
    (ANNEAL, {}, 11_921, {0: 0.000061499 * (1 - 4_194_304 / 50e9), 11_920: 0.0}),
    (CORE, {}, 100_000, {0: 3e-7, 1999: 6e-4, 50_999: 3.3e-4, 99_999: 6e-5}),
    (CALLBACK, {"steps_per_epoch": 12}, 24, {0: 0.25, 3: 1.0, 13: 0.55, 23: 0.1}),
    (WSD, {"init_value": 3.0}, 100, {0: 0.3, 9: 3.0, 89: 3.0, 94: 1.5, 99: 0.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "olmo", "update")


def test_the_first_update_is_step_1():
    config = {"train_module": {"optim": {"lr": 1.0}, "scheduler": {"_CLASS_": "LinearWithWarmup"}}}
    config["trainer"] = {"max_duration": {"value": 4, "unit": "steps"}}
    config["train_module"]["scheduler"].update(warmup=2, alpha_f=0.0)
    schedule = from_config(config).schedule
    assert [schedule(update) for update in range(4)] == [0.5, 1.0, 0.5, 0.0]


def test_defaults_are_assumptions_and_the_optimizer_is_stated():
    recipe = from_config(OLMO_7B)
    assert recipe.assumptions == (
        "units is steps, the default of OLMo.",
        "The clip is that after the warmup of the clipping, which has 10 times max_grad_norm.",
        "The warmup begins at 0.1 of the rate, because warmup_min_lr is missing.",
    )
    assert from_config(ANNEAL).assumptions[0] == "The run has 11921 updates: 5e+10 tokens, rounded up."
    assert (recipe.optimizer, recipe.clip) == ("adamw", 1.0)
    core = from_config(CORE)
    assert (core.optimizer, core.weight_decay, core.clip) == ("SkipStepAdamW", 0.033, 1.0)


def core(scheduler: dict[str, Any], length: Any = 100, unit: str = "steps", **trainer: Any) -> Any:
    scheduler = {"_CLASS_": "olmo_core.optim.scheduler.WSD", **scheduler}
    return {
        "train_module": {"optim": {"lr": 1.0}, "scheduler": scheduler},
        "trainer": {"max_duration": {"value": length, "unit": unit}, **trainer},
        "data_loader": {"global_batch_size": 24},
    }


REFUSED = [
    (OLMO_7B.replace("max_duration", "duration"), "the config has no max_duration: give names="),
    (OLMO_7B.replace("739_328", "1e400T"), r"max_duration must be at most 2\*\*61, got '1e400T'"),
    (OLMO_7B.replace("739_328", "1ep"), "how many batches an epoch has: give steps_per_epoch"),
    (
        OLMO_7B.replace("739_328", "2 years"),
        "max_duration must be such as 1000, '2e12T' or '1ep', got '2 yea",
    ),
    (
        OLMO_7B.replace("linear_with_warmup", "max_scheduler"),
        "the name of the scheduler must be one of 'cos",
    ),
    (
        OLMO2_7B.replace("global_train_batch_size", "batch"),
        "the config has no global_train_batch_size: give",
    ),
    (
        ANNEAL.replace("t_warmup: 0", "t_warmup: 1e9, warmup_min_lr: 1e-3"),
        "warmup_min_lr must be below the lea",
    ),
    (
        OLMO_7B + "load_path: /step1000\nreset_optimizer_state: true",
        "reset_optimizer_state=True is not supported: its warmup begins at the step",
    ),
    (core({}), "the config has no warmup: give names="),
    (
        core({"_CLASS_": "olmo_core.optim.scheduler.PowerLR", "warmup": 2}),
        "must be one of .*, got 'PowerLR'",
    ),
    (core({"warmup": 2, "decay": 0}), "the decay of a WSD must be above 0, got 0"),
    (
        core({"warmup": 2, "units": "tokens"}, 100, "tokens"),
        "must be a multiple of the tokens of an update",
    ),
    (
        core({"warmup": 2}, 240, "tokens", callbacks={"batch_size_scheduler": {}}),
        "the callback batch_size_scheduler is not supported: it changes the tokens of an update",
    ),
    (core({"warmup": 2}, 2, "days"), "the unit of max_duration must be one of 'steps', .*, got 'days'"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
