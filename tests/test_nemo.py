"""Configs of NeMo, beside the curves of its own schedulers."""

from typing import Any

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


def with_sched(name: str, rate: float = 1e-3, **settings: Any) -> dict[str, Any]:
    return {"model": {"optim": {"name": "adamw", "lr": rate, "sched": {"name": name, **settings}}}}


@recorded("nemo")
def test_a_sched_gives_the_curve_of_nemo(case):
    recipe = from_config(with_sched(case["call"], case["init_value"], **case["settings"]))
    assert_has_rates(recipe.schedule, case["rates"])


def test_the_warmup_begins_above_zero_and_has_one_update_more():
    schedule = from_config(with_sched("CosineAnnealing", 1.0, warmup_steps=3, max_steps=13)).schedule
    rates = [schedule(update) for update in (0, 1, 3, 8, 13)]
    assert_close(rates, [0.25, 0.5, 1.0, 0.5, 0.0], HOST_RTOL)


def test_constant_steps_change_the_warmup():
    settings = {"warmup_steps": 4, "max_steps": 14, "constant_steps": 4, "min_lr": 0.5}
    schedule = from_config(with_sched("CosineAnnealing", 1.0, **settings)).schedule
    rates = [schedule(update) for update in (0, 2, 4, 7, 10, 14)]
    assert_close(rates, [0.0, 0.5, 1.0, 0.75, 0.5, 0.5], HOST_RTOL)


CONFORMER = """
name: Conformer-CTC-BPE
model:
  encoder: {_target_: nemo.collections.asr.modules.ConformerEncoder, d_model: 256}
  optim:
    name: adamw
    lr: 2.0
    betas: [0.9, 0.98]
    weight_decay: 1e-3
    # scheduler setup
    sched:
      name: NoamAnnealing
      d_model: ${model.encoder.d_model}
      warmup_steps: 10000
      warmup_ratio: null
      min_lr: 1e-6
trainer: {devices: -1, max_epochs: 1000, max_steps: -1, accumulate_grad_batches: 1, gradient_clip_val: 1.0}
"""
COSINE = """
model:
  optim:
    name: novograd
    lr: .01
    sched: {name: CosineAnnealing, warmup_steps: null, warmup_ratio: 0.1, min_lr: 0.0}
trainer: {max_epochs: 10, accumulate_grad_batches: 2, max_steps: -1}
"""
OLDER = {
    "optim": {
        "name": "adam",
        "lr": "1e-2",
        "sched": {
            "name": "WarmupAnnealing",
            "max_steps": 100,
            "args": {"name": "auto", "params": {"warmup_steps": 9, "min_lr": 0.0}},
        },
    }
}
VOCODER = {
    "optim": {"lr": 1.0, "sched": {"name": "ExponentialLR", "gamma": 0.5}},
    "trainer": {"max_epochs": 9},
}
BY_TRAINER = {**with_sched("WarmupPolicy", warmup_steps=4, max_steps=7), "trainer": {"max_steps": 50}}
CONSTANT = """
model: {optim: {name: adamw, lr: 1e-4, betas: [0.9, 0.98], weight_decay: 1e-3}}
trainer: {max_epochs: 2, max_steps: -1, limit_train_batches: 0.5}
exp_manager: {exp_dir: null}
"""
# The values at the top of the configs of QuartzNet and Citrinet are anchors.
ANCHORS = "repeat: &repeat 1\nblocks: [" + "*repeat, " * 20 + "]\n" + CONSTANT
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (CONFORMER, {}, "update", None, {0: 2 / 16 / 1e6, 1: 2 / 16 / 1e6, 10_000: 2 / 1600, 40_000: 2 / 3200}),
    (COSINE, {"steps_per_epoch": 199}, "update", 1000, {0: 1e-2 / 101, 100: 1e-2, 550: 5e-3}),
    (OLDER, {"names": {"max_steps": 100}}, "update", 100, {4: 5e-3, 9: 1e-2, 100: 0.0}),
    (VOCODER, {}, "epoch", 9, {2: 0.25}),
    (BY_TRAINER, {}, "update", 50, {4: 1e-3, 50: 1e-3, 51: 0.0}),
    (CONSTANT, {}, "update", None, {0: 1e-4, 99: 1e-4}),
    (ANCHORS, {"steps_per_epoch": 21}, "update", 20, {0: 1e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "nemo")


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(CONFORMER)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adamw", 1e-3, 1.0)


NEMO_2 = """
optim:
  _target_: nemo.lightning.MegatronOptimizerModule
  config: {_target_: megatron.core.optimizer.OptimizerConfig, lr: 1e-4}
  lr_scheduler: {_target_: nemo.lightning.pytorch.optim.CosineAnnealingScheduler, warmup_steps: 250}
"""
GROUPS = {
    "model": {**with_sched("NoamAnnealing")["model"], "optim_param_groups": {"encoder": {"lr": 1e-5}}}
}


def test_groups_with_rates_of_their_own_are_said():
    sentence = "optim_param_groups gives some parameters their rate. This is that of the others."
    numbers = {"d_model": 4, "warmup_steps": 9, "max_steps": 99}
    assert sentence in from_config(GROUPS, names=numbers).assumptions
    assert sentence not in from_config(GROUPS, 1e-5, names=numbers).assumptions


REFUSED = [
    (NEMO_2, "CosineAnnealingScheduler of NeMo 2 is not supported: write it as in NeMo 1"),
    (COSINE, r"the config has no max_steps: give names=\{'max_steps': ...\}, or steps_per_epoch"),
    (
        with_sched("SquareAnnealing", max_steps=9),
        "must be one of 'CosineAnnealing', .*, got 'SquareAnnealing'",
    ),
    (with_sched("CosineAnnealing", max_steps=9, warmup_steps=9), "max_steps must be above 9, .*, got 9"),
    (
        with_sched("NoamAnnealing", warmup_steps=9),
        r"the config has no d_model: give names=\{'d_model': ...\}",
    ),
    (with_sched("PolynomialDecayAnnealing", max_steps=9, cycle=True), "cycle=True is not supported"),
    ({"optim": {"sched": {"name": "NoamAnnealing"}}}, "the config has no lr: give init_value"),
    ({"optim": {"lr": 0.1, "sched": True}}, "the config is of no known framework"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
