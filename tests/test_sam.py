"""Configs of SAM 2, beside the curves of fvcore's schedulers in its trainer."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("sam")
def test_a_config_gives_the_rates_of_its_schedulers(case):
    recipe = from_config(case["settings"], steps_per_epoch=case["steps_per_epoch"])
    assert (recipe.framework, recipe.num_counts) == ("sam", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


MOSE = """
# @package _global_

scratch:
  resolution: 1024
  train_batch_size: 1
  base_lr: 5.0e-6
  vision_lr: 3.0e-06
  phases_per_epoch: 1
  num_epochs: 40

trainer:
  _target_: training.trainer.Trainer
  mode: train_only
  max_epochs: ${times:${scratch.num_epochs},${scratch.phases_per_epoch}}
  accelerator: cuda

  optim:
    amp:
      enabled: True
      amp_dtype: bfloat16

    optimizer:
      _target_: torch.optim.AdamW

    gradient_clip:
      _target_: training.optimizer.GradientClipper
      max_norm: 0.1
      norm_type: 2

    param_group_modifiers:
      - _target_: training.optimizer.layer_decay_param_modifier
        _partial_: True
        layer_decay_value: 0.9
        apply_to: 'image_encoder.trunk'

    options:
      lr:
        - scheduler:
            _target_: fvcore.common.param_scheduler.CosineParamScheduler
            start_value: ${scratch.base_lr}
            end_value: ${divide:${scratch.base_lr},10}
        - scheduler:
            _target_: fvcore.common.param_scheduler.CosineParamScheduler
            start_value: ${scratch.vision_lr}
            end_value: ${divide:${scratch.vision_lr},10}
          param_names:
            - 'image_encoder.*'
      weight_decay:
        - scheduler:
            _target_: fvcore.common.param_scheduler.ConstantParamScheduler
            value: 0.1
"""
_COSINE = """_target_: fvcore.common.param_scheduler.CosineParamScheduler
            start_value: ${scratch.base_lr}
            end_value: ${divide:${scratch.base_lr},10}
"""
WARMUP = MOSE.replace(
    _COSINE,
    """_target_: fvcore.common.param_scheduler.CompositeParamScheduler
            schedulers:
              - _target_: fvcore.common.param_scheduler.LinearParamScheduler
                start_value: 1.0e-7
                end_value: ${scratch.base_lr}
              - _target_: fvcore.common.param_scheduler.CosineParamScheduler
                start_value: ${scratch.base_lr}
                end_value: ${divide:${scratch.base_lr},100}
            lengths: [0.1, 0.9]
            interval_scaling: ['rescaled', 'rescaled']
""",
)
CONSTANT = MOSE.replace(
    _COSINE,
    """_target_: fvcore.common.param_scheduler.ConstantParamScheduler
            value: ${scratch.base_lr}
""",
)
PLAIN = {
    "optim": {
        "options": {
            "lr": [
                {
                    "scheduler": {
                        "_target_": "fvcore.common.param_scheduler.LinearParamScheduler",
                        "start_value": "1e-4",
                        "end_value": 0,
                    }
                }
            ]
        }
    },
    "max_epochs": 10,
}
RATE = {"names": {"scratch.base_lr": 1e-3}}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (MOSE, {}, 4000, {0: 5e-6, 2000: 2.75e-6}),
    (MOSE, {"group": 1}, 4000, {0: 3e-6, 2000: 1.65e-6}),
    (MOSE, {"epochs": 20}, 2000, {1000: 2.75e-6}),
    (MOSE, RATE, 4000, {2000: 0.55e-3}),
    (WARMUP, {}, 4000, {0: 1e-7, 200: 2.55e-6, 400: 5e-6, 2200: 2.525e-6}),
    (CONSTANT, {}, 4000, {0: 5e-6, 3999: 5e-6}),
    (PLAIN, {}, 1000, {0: 1e-4, 500: 5e-5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(
    CONFIGS, "sam", "iteration", steps_per_epoch=100
)


def test_a_scheduler_whose_share_has_no_batch_is_left_out():
    recipe = from_config(WARMUP, steps_per_epoch=1, epochs=1)
    assert (recipe.num_counts, recipe.schedule(0)) == (1, 1e-7)


def test_the_groups_and_the_optimizer_are_stated():
    recipe = from_config(MOSE, steps_per_epoch=100)
    assert recipe.groups == ("the others", "image_encoder.*")
    assert (recipe.optimizer, recipe.clip) == ("torch.optim.AdamW", 0.1)
    assert recipe.assumptions == (
        "param_group_modifiers may change the rates of some layers. This is the rate before.",
    )


BATCH = {"steps_per_epoch": 100}
SAM3 = """
trainer:
  max_epochs: 20
  optim:
    options:
      lr:
        - scheduler:
            _target_: sam3.train.optim.schedulers.InverseSquareRootParamScheduler
            base_lr: 8e-5
            timescale: 20
            warmup_steps: 20
            cooldown_steps: 20
"""
REFUSED = [
    (SAM3, {"steps_per_epoch": 100_000}, "SAM 3 is supported up to 1000000 batches, got 2000000"),
    (SAM3.replace("timescale: 20", "timescale: 0"), BATCH, "timescale must be above 0, got 0"),
    (SAM3.replace("base_lr", "lr"), BATCH, "InverseSquareRootParamScheduler has no base_lr"),
    (MOSE, {}, "give steps_per_epoch"),
    (MOSE, {**BATCH, "init_value": 1e-3}, "leave init_value out, and give names"),
    (MOSE, {**BATCH, "group": 2}, "group must be one of 0 .the others., 1 .image_encoder"),
    (MOSE.replace("${scratch.base_lr}", "${launcher.lr}"), BATCH, "give names={'launcher.lr': ...}"),
    (
        MOSE.replace("divide:", "eval:"),
        BATCH,
        "the resolver of end_value must be one of 'times', .*, got 'eval'",
    ),
    (MOSE.replace("lr},10}", "lr},0}"), BATCH, "end_value divides by 0"),
    (
        MOSE.replace("CosineParam", "InverseSquareRootParam"),
        BATCH,
        "the scheduler 'InverseSquar.* is not supported",
    ),
    (WARMUP.replace("[0.1, 0.9]", "[0.1, 0.7]"), BATCH, "the lengths must be above 0 and sum to 1"),
    (
        WARMUP.replace("[0.1, 0.9]", "[1.0]"),
        BATCH,
        "must have lists of one length, at most 50, got 2, 1 and 2",
    ),
    (
        WARMUP.replace("'rescaled']", "'other']"),
        BATCH,
        "interval_scaling must be one of 'rescaled', 'fixed'",
    ),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
