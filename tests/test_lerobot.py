"""Configs and commands of LeRobot, beside the curves of its own schedulers."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("lerobot")
def test_a_scheduler_gives_the_curve_of_its_version(case):
    config = {
        "policy": {"type": "new"},
        "optimizer": {"type": "adamw", "lr": case["init_value"]},
        "scheduler": {"type": case["call"], **case["settings"]},
        "steps": case["steps"],
    }
    recipe = from_config(config, framework="lerobot", version=case["version"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("lerobot", "update", 30)


def test_a_run_that_is_shorter_than_the_decay_scales_it_since_0_4():
    config = {**SAVED, "steps": 20_000}
    recipe = from_config(config)
    assert recipe.assumptions == (
        "The warmup has 666 updates and the decay 20000, all of the run, as LeRobot does since 0.4. With "
        "version='0.3' it would not.",
    )
    assert_close(recipe.schedule(20_000), 2.5e-6, HOST_RTOL)
    assert from_config(config, version="0.3.3").schedule(20_000) > 2e-5
    assert from_config(config, version="0.4.0").assumptions == (
        "The warmup has 666 updates and the decay 20000, all of the run.",
    )


POLICY = {"type": "smolvla", "optimizer_lr": 1e-4, "scheduler_warmup_steps": 1000}
POLICY |= {"scheduler_decay_steps": 30_000, "scheduler_decay_lr": 2.5e-6, "optimizer_betas": [0.9, 0.95]}
POLICY |= {"optimizer_weight_decay": 1e-10, "optimizer_grad_clip_norm": 10}
SAVED = {
    "dataset": {"repo_id": "lerobot/svla_so101_pickplace", "root": None},
    "env": None,
    "policy": POLICY,
    "resume": False,
    "seed": 1000,
    "batch_size": 64,
    "steps": 200_000,
    "use_policy_training_preset": True,
    "optimizer": {"type": "adamw", "lr": 1e-4, "weight_decay": 1e-10, "grad_clip_norm": 10},
    "scheduler": {
        "type": "cosine_decay_with_warmup",
        "num_warmup_steps": 1000,
        "num_decay_steps": 30_000,
        "peak_lr": 1e-4,
        "decay_lr": 2.5e-6,
    },
}
OF_2024 = {
    "offline": {"steps": 80_000},
    "online": {"steps": 0},
    "use_policy_training_preset": True,
    "policy": {"type": "act", "optimizer_lr": 2e-5, "optimizer_lr_backbone": 1e-5},
    "optimizer": {"type": "adamw", "lr": 2e-5, "grad_clip_norm": 10.0},
    "scheduler": None,
}
OWN = """
use_policy_training_preset: false
policy: {type: diffusion}
steps: 1000
optimizer: {type: adam, lr: 2.0e-3, betas: [0.95, 0.999], weight_decay: 1.0e-6}
scheduler: {type: diffuser, name: cosine, num_warmup_steps: 100}
"""
ACT = """
lerobot-train \\
  --dataset.repo_id=${HF_USER}/so101_test \\
  --policy.type=act \\
  --output_dir=outputs/train/act_so101_test \\
  --policy.device=cuda \\
  --wandb.enable=true
"""
PI0 = """
python src/lerobot/scripts/lerobot_train.py \\
    --dataset.repo_id=your_dataset \\
    --policy.type=pi0 \\
    --policy.pretrained_path=lerobot/pi0_base \\
    --policy.dtype=bfloat16 \\
    --steps=3000 \\
    --batch_size=32
"""
SMOLVLA = """
cd lerobot && lerobot-train \\
  --policy.path=lerobot/smolvla_base \\
  --dataset.repo_id=${HF_USER}/mydataset \\
  --policy.optimizer_lr=1e-3 --policy.scheduler_decay_lr=1e-4 \\
  --batch_size=64 \\
  --steps=60000
"""
LINGBOT = ACT.replace("=act ", "=lingbot_va ")
WALL_X = PI0.replace("=pi0 ", "=wall_x ")
NAMES = {"names": {"policy.type": "smolvla"}}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (SAVED, {}, 200_000, {0: 1e-4 / 1001, 15_000: 5.125e-5, 30_000: 2.5e-6, 200_000: 2.5e-6}),
    (OF_2024, {}, 80_000, {0: 2e-5, 79_999: 2e-5}),
    (OF_2024, {"group": 1}, 80_000, {0: 1e-5}),
    (OWN, {}, 1000, {0: 0.0, 50: 1e-3, 100: 2e-3, 550: 1e-3, 1000: 0.0}),
    (ACT, {}, 100_000, {0: 1e-5, 99_999: 1e-5}),
    (PI0, {}, 3000, {0: 2.5e-5 / 101, 1500: 1.375e-5, 3000: 2.5e-6}),
    (SMOLVLA, NAMES, 60_000, {15_000: 5.5e-4, 30_000: 1e-4}),
    (LINGBOT, {}, 100_000, {0: 0.0, 500: 5e-6, 1000: 1e-5, 99_999: 1e-5}),
    (WALL_X, {}, 3000, {0: 2e-5 / 31, 1500: 1.05e-5, 3000: 1e-6}),
    (PI0.replace("=pi0 ", "=eo1 "), {}, 3000, {1500: 5e-5, 3000: 0.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "lerobot", "update")


def test_the_optimizer_is_stated_and_defaults_are_assumptions():
    recipe = from_config(SAVED)
    assert (recipe.optimizer, recipe.momentum) == ("adamw", 0.9)
    assert (recipe.weight_decay, recipe.clip) == (1e-10, 10.0)
    assert from_config(OWN).momentum == 0.95
    policy = {"type": "multi_task_dit", "optimizer_lr": 1e-4, "vision_encoder_lr_multiplier": 0.1}
    assert from_config({**SAVED, "policy": policy}).assumptions == (
        "vision_encoder_lr_multiplier gives the vision encoder another rate than this.",
    )
    act = from_config(ACT)
    assert act.groups == ("others", "backbone")
    assert act.assumptions[:2] == (
        "steps is 100000, the default of lerobot-train.",
        "optimizer_lr is 1e-05, the default of the policy 'act'.",
    )


REFUSED = [
    (
        SMOLVLA,
        "policy.path names a config that is not read: give the train_config.json of the run, or names=",
    ),
    (ACT.replace("act ", "xvla "), "the defaults of policy.type 'xvla' are not known, only those of 'act'"),
    (ACT + " --optimizer.lr=1e-3", "the config has lr 0.001, but its policy has 1e-05: give names="),
    (ACT + " --accelerator.gradient_accumulation.steps=4", "gradient accumulation is not supported"),
    (
        {**SAVED, "scheduler": {**SAVED["scheduler"], "num_decay_steps": 20_000}},
        "the config has num_decay_steps 20000.*, but its policy has 30000",
    ),
    (
        {**SAVED, "policy": {"type": "new"}, "scheduler": {"type": "poly"}},
        "type of the scheduler must be one",
    ),
    (
        {**SAVED, "policy": {"type": "xvla"}, "optimizer": {"type": "xvla-adamw", "lr": 1e-4}},
        "type of the optimizer must be one of 'adam', 'adamw', 'sgd', got 'xvla-adamw'",
    ),
    (
        OWN.replace("diffuser,", "diffuser, power: 2,"),
        "a setting of the scheduler 'diffuser' must be one of",
    ),
    (OWN.partition("scheduler")[0], "use_policy_training_preset is off, so the config needs"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)


def test_the_policy_of_another_program_is_not_enough():
    config = {"policy": {"type": "act"}, "optimizer": {"lr": 1e-4}, "scheduler": {"type": "cosine"}}
    with pytest.raises(ValueError, match="of no known framework"):
        from_config(config)
