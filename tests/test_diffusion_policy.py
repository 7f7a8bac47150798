"""Configs of Diffusion Policy, beside the curves of its own schedulers."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("diffusion_policy")
def test_a_scheduler_gives_its_curve(case):
    config = {"optimizer": {"lr": case["init_value"]}, "training": case["settings"]}
    recipe = from_config(config, steps_per_epoch=10)
    assert_has_rates(recipe.schedule, case["rates"])
    counts = 40 // case["settings"]["gradient_accumulate_every"]
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("diffusion_policy", "update", counts)


UNET = """
defaults:
  - _self_
  - task: lift_image_abs
_target_: diffusion_policy.workspace.train_diffusion_unet_hybrid_workspace.TrainDiffusionUnetHybridWorkspace
policy:
  _target_: diffusion_policy.policy.diffusion_unet_hybrid_image_policy.DiffusionUnetHybridImagePolicy
  noise_scheduler:
    _target_: diffusers.schedulers.scheduling_ddpm.DDPMScheduler
    num_train_timesteps: 100
  n_action_steps: ${eval:'${n_action_steps}+${n_latency_steps}'}
optimizer:
  _target_: torch.optim.AdamW
  lr: 1.0e-4
  betas: [0.95, 0.999]
  weight_decay: 1.0e-6
training:
  device: "cuda:0"
  lr_scheduler: cosine
  lr_warmup_steps: 500
  num_epochs: 3050
  gradient_accumulate_every: 1
"""
TRANSFORMER = """
optimizer:
  transformer_weight_decay: 1.0e-3
  obs_encoder_weight_decay: 1.0e-6
  learning_rate: 1.0e-4
  betas: [0.9, 0.95]
training: {lr_scheduler: cosine, lr_warmup_steps: 1000, num_epochs: 3050, gradient_accumulate_every: 1}
"""
UMI = """
optimizer: {_target_: torch.optim.AdamW, lr: 3.0e-4, obs_encoder_lr: 3.0e-5}
policy: {obs_encoder: {model_name: vit_base_patch16_clip_224.openai, pretrained: True}}
training: {lr_scheduler: cosine, lr_warmup_steps: 2000, num_epochs: 120, gradient_accumulate_every: 2}
"""
PRETRAINED = UMI.replace(", obs_encoder_lr: 3.0e-5", "")
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (UNET, {}, 610_000, {0: 0.0, 250: 5e-5, 500: 1e-4, 305_250: 5e-5}),
    (TRANSFORMER, {}, 610_000, {500: 5e-5, 305_500: 5e-5}),
    (UMI, {}, 12_000, {1000: 1.5e-4, 7000: 1.5e-4}),
    (UMI, {"group": 1}, 12_000, {1000: 1.5e-5, 7000: 1.5e-5}),
    (PRETRAINED, {"num_processes": 1}, 12_000, {1000: 1.5e-4}),
    (UNET, {"epochs": 100}, 20_000, {500: 1e-4, 10_250: 5e-5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(
    CONFIGS, "diffusion_policy", "update", steps_per_epoch=200
)


def test_the_optimizer_and_the_groups_are_stated():
    recipe = from_config(UNET, steps_per_epoch=200)
    assert (recipe.momentum, recipe.weight_decay, recipe.groups) == (0.95, 1e-6, ())
    assert from_config(UMI, steps_per_epoch=200).groups == ("policy", "obs_encoder")
    assert from_config(PRETRAINED, steps_per_epoch=200).assumptions == (
        "UMI trains a pretrained obs_encoder with a tenth of this rate.",
    )


REFUSED = [
    (UNET, {}, "the config does not say how many batches an epoch has: give steps_per_epoch"),
    (UNET, {"num_processes": 8}, "num_processes must be 1: UMI steps its scheduler once for each process"),
    (UNET, {"group": 1, "steps_per_epoch": 9}, "group must be 0: this config has one parameter group"),
    (UNET.replace("cosine", "poly"), {"steps_per_epoch": 9}, "poly"),
    (UNET.replace("  lr: 1.0e-4\n", ""), {"steps_per_epoch": 9}, "the config has no lr: give init_value"),
    (
        UNET.replace("every: 1", "every: 0"),
        {"steps_per_epoch": 9},
        "gradient_accumulate_every must be a whole",
    ),
]


test_a_config_that_cannot_be_read_is_refused_by_name = refuses(REFUSED)
