"""Configs of PySlowFast and pycls, beside the curves of their own functions."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("slowfast")
def test_a_config_gives_the_curve_of_its_framework(case):
    recipe = from_config(case["settings"], steps_per_epoch=case["steps_per_epoch"])
    assert (recipe.framework, recipe.num_counts) == ("slowfast", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


SLOWFAST_8X8 = """
TRAIN:
  ENABLE: True
  DATASET: kinetics
  BATCH_SIZE: 64
SOLVER:
  BASE_LR: 0.1
  LR_POLICY: cosine
  MAX_EPOCH: 196
  MOMENTUM: 0.9
  WEIGHT_DECAY: 1e-4
  WARMUP_EPOCHS: 34.0
  WARMUP_START_LR: 0.01
  OPTIMIZING_METHOD: sgd
NUM_GPUS: 8
NUM_SHARDS: 1
"""
MVIT_B = """
SOLVER:
  ZERO_WD_1D_PARAM: True
  BASE_LR_SCALE_NUM_SHARDS: True
  CLIP_GRAD_L2NORM: 1.0
  BASE_LR: 0.0001
  COSINE_AFTER_WARMUP: True
  COSINE_END_LR: 1e-6
  WARMUP_START_LR: 1e-6
  WARMUP_EPOCHS: 30.0
  LR_POLICY: cosine
  MAX_EPOCH: 200
  MOMENTUM: 0.9
  WEIGHT_DECAY: 0.05
  OPTIMIZING_METHOD: adamw
NUM_SHARDS: 16
"""
AVA = """
SOLVER:
  BASE_LR: 0.1
  LR_POLICY: steps_with_relative_lrs
  STEPS: [0, 10, 15, 20]
  LRS: [1, 0.1, 0.01]
  MAX_EPOCH: 20
  WARMUP_EPOCHS: 5.0
  WARMUP_START_LR: 0.000125
"""
REGNET = """
OPTIM:
  LR_POLICY: cos
  BASE_LR: 0.8
  MAX_EPOCH: 100
  MOMENTUM: 0.9
  WEIGHT_DECAY: 5e-5
  WARMUP_EPOCHS: 5
"""
RESNET = """
OPTIM:
  LR_POLICY: steps
  STEPS: [0, 30, 60, 90]
  LR_MULT: 0.1
  BASE_LR: 0.1
  MAX_EPOCH: 100
  WARMUP_EPOCHS: 5
"""
OPTIONS = "python tools/run_net.py --cfg a.yaml NUM_GPUS 8 SOLVER.BASE_LR 0.2 SOLVER.LR_POLICY cosine"
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (SLOWFAST_8X8, {"steps_per_epoch": 10}, "iteration", 1960, {0: 0.01, 980: 0.05}),
    (MVIT_B, {"steps_per_epoch": 10}, "iteration", 2000, {0: 1.6e-5, 300: 1.6e-3, 1150: 8.08e-4}),
    (
        AVA,
        {"steps_per_epoch": 4},
        "iteration",
        80,
        {0: 0.000125, 10: (0.1 + 0.000125) / 2, 39: 0.1, 40: 0.01, 79: 0.001},
    ),
    (REGNET, {}, "epoch", 100, {0: 0.08, 50: 0.4}),
    (RESNET, {}, "epoch", 100, {0: 0.01, 5: 0.1, 30: 0.01, 90: 0.0001}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "slowfast")


def test_options_change_the_file_that_they_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(SLOWFAST_8X8)
    assert_close(from_config(OPTIONS, steps_per_epoch=10).schedule(980), 0.1, HOST_RTOL)


def test_defaults_are_assumptions_and_the_optimizer_is_stated():
    recipe = from_config(MVIT_B, steps_per_epoch=10)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adamw", 0.05, 1.0)
    assert recipe.assumptions == (
        "BASE_LR_SCALE_NUM_SHARDS multiplies the rates by NUM_SHARDS, the machines, here 16.",
    )
    recipe = from_config({"OPTIM": {"BASE_LR": 0.1, "MAX_EPOCH": 9, "WARMUP_EPOCHS": 2}})
    assert recipe.assumptions == (
        "LR_POLICY is cos, the default of pycls.",
        "MIN_LR is 0.0, the default of pycls.",
        "WARMUP_FACTOR is 0.1, the default of pycls.",
    )
    assert_close(from_config(REGNET, 0.4, epochs=50).schedule(25), 0.2, HOST_RTOL)


FASTREID = {"SOLVER": {"MAX_EPOCH": 120, "BASE_LR": 0.00035, "STEPS": [40, 90], "WARMUP_ITERS": 2000}}
DETECTRON = {"SOLVER": {"BASE_LR": 0.01, "LR_POLICY": "steps_with_decay", "MAX_ITER": 90}}
REFUSED = [
    (SLOWFAST_8X8, None, "give steps_per_epoch"),
    (AVA.replace("[0, 10", "[5, 10"), 4, "STEPS must begin with 0 and rise, got"),
    (AVA.replace("[1, 0.1, 0.01]", "[1, 0.1]"), 4, "LRS must have a factor for each of STEPS"),
    (AVA.replace("5.0", "20.0"), 4, "WARMUP_EPOCHS must be below MAX_EPOCH, got 20 and 20"),
    (RESNET.replace("[0, 30", "[30"), None, "STEPS must begin with 0"),
    (REGNET.replace("cos", "poly"), None, "LR_POLICY must be one of 'cos', 'exp', 'lin', 'steps', got"),
    ({**FASTREID, "_BASE_": "a.yml"}, None, "inherits from 'a.yml'"),
    (FASTREID, None, "SOLVER.MAX_EPOCH is a setting of another framework .*: write the schedule"),
    (DETECTRON, None, "SOLVER.LR_POLICY is a setting of another"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(
    [(config, {"steps_per_epoch": batches}, message) for config, batches, message in REFUSED]
)
