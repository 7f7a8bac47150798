"""Configs of torchtitan, beside the curves of its own scheduler."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("torchtitan")
def test_a_config_gives_the_curve_of_its_version(case):
    recipe = from_config(case["settings"], framework="torchtitan", version=case["version"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("torchtitan", 20)


def test_the_rule_of_the_releases_is_the_default_and_an_assumption():
    config = {
        "optimizer": {"lr": 1.0},
        "training": {"steps": 8},
        "lr_scheduler": {"warmup_steps": 4},
        "job": {},
    }
    recipe = from_config(config)
    assert [recipe.schedule(update) for update in (0, 3, 4, 5, 7)] == [0.25, 1.0, 1.0, 0.75, 0.25]
    assert recipe.assumptions[-2].startswith("Update k of the warmup has (k + 1) / warmup_steps")
    before = from_config(config, version="2025.5")
    assert_close([before.schedule(update) for update in (0, 3, 4, 7)], [0.2, 0.8, 0.8, 0.2], HOST_RTOL)


LLAMA3_8B = """
# NOTE: this toml config is a preset for 64 A100 GPUs.

[job]
dump_folder = "./outputs"
description = "Llama 3 8B training"

[model]
name = "llama3"
flavor = "8B"

[optimizer]
name = "AdamW"
lr = 3e-4
eps = 1e-8

[lr_scheduler]
warmup_steps = 200  # lr scheduler warm up

[training]
local_batch_size = 1
seq_len = 8192
max_norm = 1.0  # grad norm clipping
steps = 1000
dataset = "c4"
"""
DEBUG = """
[optimizer]
name = "AdamW"
lr = 8e-4
weight_decay = 0.1
beta1 = 0.9

[lr_scheduler]
warmup_steps = 2  # lr scheduler warm up, normally 20% of the train steps
decay_ratio = 0.8  # lr scheduler decay ratio, 80% of the train steps
decay_type = "linear"
min_lr_factor = 0.0

[training]
batch_size = 8
steps = 10
"""
OLD = """
[model]
name = "llama2"
flavor = "debugmodel"

[optimizer]
name = "AdamW"
lr = 3e-4

[training]
batch_size = 8
warmup_steps = 2  # lr scheduler warm up, normally 20% of the train steps
max_norm = 1.0  # grad norm clipping
steps = 10
"""
FLAME = """
NNODE=1 NGPU=8 LOG_RANK=0 bash train.sh \\
  --job.dump_folder exp/transformer-340M \\
  --model.config configs/transformer_340M.json \\
  --optimizer.name AdamW --optimizer.eps 1e-15 --optimizer.lr 3e-4 \\
  --lr_scheduler.warmup_steps 1024 --lr_scheduler.lr_min 0.1 --lr_scheduler.decay_type cosine \\
  --training.batch_size 1 --training.context_len 4096 --training.steps 20480 --training.max_norm 1.0
"""
REGISTRY = """
torchrun -m torchtitan.train --module llama3 --config llama3_8b --training.steps 1000 --optimizer.lr 1e-3 \\
  --lr_scheduler.warmup_steps=100 --lr_scheduler.decay_ratio=0.5 --lr_scheduler.decay_type=cosine \\
  --lr_scheduler.min_lr_factor=0.1
"""
TOTAL = {
    "job": {"dump_folder": "./outputs"},
    "optimizer": {"lr": 1.0},
    "training": {"steps": 50},
    "lr_scheduler": {"warmup_steps": 0, "total_steps": 100},
}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (LLAMA3_8B, {}, 1000, {0: 1.5e-6, 199: 3e-4, 200: 3e-4, 600: 1.5e-4, 999: 3.75e-7}),
    (DEBUG, {}, 10, {0: 4e-4, 1: 8e-4, 2: 8e-4, 3: 7e-4, 9: 1e-4}),
    (OLD, {"init_value": 3.0}, 10, {0: 1.0, 1: 2.0, 2: 3.0, 6: 1.5}),
    (FLAME, {}, 20_480, {0: 3e-4 / 1024, 1024: 3e-4, 10_752: 1.65e-4}),
    (REGISTRY, {}, 1000, {0: 1e-5, 99: 1e-3, 500: 1e-3, 750: 5.5e-4}),
    (TOTAL, {}, 50, {0: 1.0, 1: 0.99, 49: 0.51}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "torchtitan", "update")


def test_flags_change_the_file_that_they_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    flags = "./run_train.sh --job.config_file llama3_8b.toml --training.steps 2000 --optimizer.lr 6e-4"
    with pytest.raises(ValueError, match=r"cannot read the job.config_file 'llama3_8b.toml': No such file"):
        from_config(flags)
    (tmp_path / "llama3_8b.toml").write_text(LLAMA3_8B)
    recipe = from_config(flags)
    assert (recipe.num_counts, recipe.schedule(199), recipe.clip) == (2000, 6e-4, 1.0)


def test_defaults_are_assumptions_and_the_optimizer_is_stated():
    recipe = from_config({"job": {}, "training": {"steps": 1000}, "optimizer": {}}, version="0.2")
    assert recipe.assumptions == (
        "lr is 0.0008, the default of torchtitan.",
        "warmup_steps is 200, the default of torchtitan.",
        "decay_type is linear, the default of torchtitan.",
        "min_lr_factor is 0.0, the default of torchtitan.",
        "The config has no decay_ratio, so the decay begins after the warmup.",
    )
    recipe = from_config(DEBUG)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("AdamW", 0.9, 0.1)


def test_sections_that_many_programs_have_are_not_enough():
    config = {"optimizer": {"lr": 1.0}, "training": {"steps": 8}, "lr_scheduler": {"warmup_steps": 4}}
    with pytest.raises(ValueError, match="the config is of no known framework"):
        from_config(config)
    assert from_config(config, framework="torchtitan").schedule(0) == 0.25


REFUSED = [
    (
        REGISTRY.replace("--lr_scheduler.decay_type=cosine", ""),
        "the config has no decay_type: give names={'decay_type'",
    ),
    (REGISTRY.replace("--lr_scheduler.decay_ratio=0.5", ""), "the config has no decay_ratio: give names="),
    (REGISTRY.replace("--optimizer.lr 1e-3", ""), "the config has no lr: give init_value"),
    (
        DEBUG.replace('"linear"', '"poly"'),
        "decay_type must be one of 'linear', 'sqrt', 'cosine', got 'poly'",
    ),
    (
        DEBUG.replace("decay_ratio", "schedule_type"),
        "a setting of lr_scheduler must be one of 'warmup_steps', .*, got 'schedule_type'",
    ),
    (
        {**TOTAL, "training": {"steps": 101}},
        "total_steps must be at least steps of training, got 100 and 101",
    ),
    (FLAME.replace("20480", "$STEPS"), r"steps must be a number, got '\$STEPS': give names="),
    ("run_train.sh --job.config_file a.yaml", "job.config_file must be the path of a .toml file"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
