"""Configs of fairchem, beside the curves of its own rules."""

from typing import Any

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses

import jaxlr


@recorded("fairchem")
def test_a_config_gives_the_curve_of_fairchem(case):
    recipe = from_config({"optim": case["settings"]}, steps_per_epoch=30)
    assert_has_rates(recipe.schedule, case["rates"])
    epochs = case["settings"].get("max_epochs")
    counts = None if epochs is None else 30 * epochs
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("fairchem", "update", counts)


SCHNET = """
trainer: forces
model: {name: schnet, hidden_channels: 1024}
optim:
  batch_size: 24
  eval_batch_size: 24
  num_workers: 16
  lr_initial: 0.0001
  lr_gamma: 0.1
  lr_milestones: # steps at which lr_initial <- lr_initial * lr_gamma
    - 52083
    - 83333
    - 104166
  warmup_steps: 31250
  warmup_factor: 0.2
  max_epochs: 30
"""
GEMNET_OC = """
optim:
  batch_size: 16
  eval_every: 5000
  lr_initial: 5.e-4
  optimizer: AdamW
  optimizer_params:
    amsgrad: True
    weight_decay: 0.1
  warmup_steps: -1 # don't warm-up the learning rate
  # warmup_factor: 0.2
  lr_gamma: 0.8
  lr_milestones: [64000, 96000]
  max_epochs: 80
  clip_grad_norm: 10
"""
EQUIFORMER = """
trainer: equiformerv2_forces
optim:
  lr_initial:                   0.0004    # [0.0002, 0.0004], eSCN uses 0.0008 for batch size 96
  optimizer: AdamW
  optimizer_params:
    weight_decay: 0.001
  scheduler: LambdaLR
  scheduler_params:
    lambda_type: cosine
    warmup_factor: 0.2
    warmup_epochs: 0.1
    lr_min_factor: 0.01         #
  max_epochs: 30
  clip_grad_norm: 100
  eval_every: 5000
"""
PAINN = """
optim:
  optimizer: AdamW
  lr_initial: 1.e-4
  lr_gamma: 0.8
  mode: min
  factor: 0.8
  patience: 3
  max_epochs: 80
  scheduler: CosineAnnealingLR
  T_max: 1000000
  eta_min: 1e-6
"""
NONE = {"trainer": "ocp", "optim": {"lr_initial": 0.01, "scheduler": "Null", "max_epochs": 5}}
UMA = """
epochs: 2
steps: null
lr: 4e-4
runner:
  _target_: fairchem.core.components.train.train_runner.TrainEvalRunner
  train_eval_unit:
    _target_: fairchem.core.units.mlip_unit.mlip_unit.MLIPTrainEvalUnit
    tasks: ${tasks}
    optimizer_fn:
      _target_: torch.optim.AdamW
      _partial_: true
      lr: ${lr}
      weight_decay: 1e-3
    cosine_lr_scheduler_fn:
      _target_: fairchem.core.units.mlip_unit.mlip_unit._get_consine_lr_scheduler
      _partial_: true
      warmup_factor: 0.2
      warmup_epochs: 0.1
      lr_min_factor: 0.01
      epochs: ${epochs}
      steps: ${steps}
    clip_grad_norm: 100
  max_epochs: ${epochs}
"""
UMA_STEPS = UMA.replace("epochs: 2", "epochs: null").replace("steps: null", "steps: 5000")
BATCHES = {"steps_per_epoch": 1000}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (SCHNET, {}, None, {0: 2e-5, 31_250: 1e-4, 52_082: 1e-4, 52_083: 1e-5, 200_000: 1e-7}),
    (GEMNET_OC, {"steps_per_epoch": 32_130}, 2_570_400, {0: 5e-4, 64_000: 4e-4, 96_000: 3.2e-4}),
    (EQUIFORMER, {"steps_per_epoch": 1000}, 30_000, {0: 8e-5, 100: 4e-4, 15_000: 2.02e-4, 30_000: 4e-6}),
    (PAINN, {}, None, {0: 1e-4, 500_000: 5.05e-5, 1_000_000: 1e-6}),
    (NONE, {"steps_per_epoch": 7}, 35, {0: 0.01, 999: 0.01}),
    (UMA, BATCHES, 2000, {0: 8e-5, 100: 4e-4, 1000: 2.02e-4, 2000: 4e-6}),
    (UMA, {**BATCHES, "epochs": 4, "init_value": 1.0}, 4000, {2000: 0.505}),
    (UMA_STEPS, BATCHES, 5000, {50: 2.4e-4, 2500: 2.02e-4}),
    (UMA.replace("epochs: 0.1", "epochs: 0"), BATCHES, 2000, {0: 8e-5, 1: 4e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "fairchem", "update")


def test_a_plateau_has_the_settings_of_optim():
    recipe = from_config(PAINN.replace("CosineAnnealingLR", "ReduceLROnPlateau") + "  eval_every: 5000\n")
    plateau: Any = jaxlr.reduce_lr_on_plateau(1e-4, factor=0.8, patience=3)
    assert repr(recipe.schedule) == repr(plateau)
    assert (recipe.unit, recipe.num_counts) == ("evaluation", None)
    assert recipe.assumptions == (
        "The plateau is stepped after every evaluation, so after 5000 updates, with the primary metric.",
    )


def test_the_optimizer_is_stated():
    recipe = from_config(GEMNET_OC)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("AdamW", 0.1, 10.0)
    recipe = from_config(UMA, **BATCHES)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("AdamW", 0.001, 100.0)


REFUSED = [
    (EQUIFORMER, "the config does not say how many batches an epoch has: give steps_per_epoch"),
    (
        SCHNET.replace("52083", "5"),
        "lr_milestones and warmup_steps must be updates, and a milestone at least",
    ),
    (SCHNET.replace("warmup_steps: 31250", "warmup_epochs: 2"), "lr_milestones and warmup_steps must be"),
    (
        SCHNET.replace("warmup_steps: 31250", "warmup_steps: 0"),
        "warmup_steps must be a whole number of at l",
    ),
    (SCHNET.replace("  warmup_factor: 0.2\n", ""), "the config has no warmup_factor: give names="),
    (GEMNET_OC.replace("lr_milestones", "milestones"), "the config has no lr_milestones: give names="),
    (
        NONE | {"optim": {"lr_initial": 1, "scheduler": "SWALR"}},
        "scheduler must be one of 'Null', 'LambdaLR'",
    ),
    (UMA, "give steps_per_epoch"),
    (
        UMA.replace("steps: null", "steps: 9"),
        BATCHES,
        "must have epochs or steps, and the other one must be",
    ),
    (UMA.replace("lr: 4e-4\n", ""), BATCHES, "the config does not define it: give names={'lr': ...}"),
    (EQUIFORMER.replace("type: cosine", "type: poly"), "lambda_type must be one of 'cosine', 'multistep'"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
