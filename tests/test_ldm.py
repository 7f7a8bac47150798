"""Configs of latent-diffusion, beside the curves of its own schedulers."""

from typing import Any

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


def with_scheduler(name: str, params: Any, rate: Any = 1e-4) -> dict[str, Any]:
    scheduler = {"target": f"ldm.lr_scheduler.{name}", "params": params}
    return {"model": {"base_learning_rate": rate, "params": {"scheduler_config": scheduler}}}


@recorded("ldm")
def test_a_config_gives_the_curve_of_its_scheduler(case):
    recipe = from_config(with_scheduler(case["call"], case["settings"]), case["init_value"])
    assert_has_rates(recipe.schedule, case["rates"])


def test_a_cycle_begins_at_its_count_one():
    params = {
        "warm_up_steps": [2, 2],
        "cycle_lengths": [4, 4],
        "f_start": [0, 0],
        "f_max": [1, 1],
        "f_min": [0, 0],
    }
    schedule = from_config(with_scheduler("LambdaLinearScheduler", params), 1.0).schedule
    assert [schedule(step) for step in range(9)] == [0.0, 0.5, 0.5, 0.25, 0.0, 0.5, 0.5, 0.25, 0.0]


STABLE_DIFFUSION = """
model:
  base_learning_rate: 1.0e-04
  target: ldm.models.diffusion.ddpm.LatentDiffusion
  params:
    linear_start: 0.00085
    timesteps: 1000
    monitor: val/loss_simple_ema
    scheduler_config: # 10000 warmup steps
      target: ldm.lr_scheduler.LambdaLinearScheduler
      params:
        warm_up_steps: [ 10000 ]
        cycle_lengths: [ 10000000000000 ] # incredibly large number to prevent corner cases
        f_start: [ 1.e-6 ]
        f_max: [ 1. ]
        f_min: [ 1. ]
"""
LSUN = (
    STABLE_DIFFUSION.replace("1.0e-04", "5.0e-5   # set to target_lr by '--scale_lr False'")
    + """
data:
  target: main.DataModuleFromConfig
  params: {batch_size: 96, num_workers: 5}
lightning:
  trainer: {benchmark: True, accumulate_grad_batches: 2}
"""
)
AUTOENCODER = (
    "model:\n  base_learning_rate: 4.5e-6\n  target: ldm.models.autoencoder.AutoencoderKL\n  params: {}\n"
)
COSINE = {"warm_up_steps": 0, "lr_min": 0.0, "lr_max": 1.0, "lr_start": 0.0, "max_decay_steps": 10}
DECAYING = {
    "warm_up_steps": [1000],
    "cycle_lengths": [10_000],
    "f_start": [0.0],
    "f_max": [1.0],
    "f_min": [0.0],
}
UNSCALED = {"names": {"scale_lr": False}}
CONFIGS = [  # a config, other arguments, and rates by count
    (STABLE_DIFFUSION, UNSCALED, {0: 1e-10, 5000: 1e-4 * (1 + 1e-6) / 2, 10_000: 1e-4, 2**31: 1e-4}),
    (LSUN, {"num_processes": 8}, {10_000: 5e-5 * 96 * 8 * 2}),
    (AUTOENCODER, {"init_value": 3e-4}, {0: 3e-4, 99: 3e-4}),
    (with_scheduler("LambdaWarmUpCosineScheduler", COSINE, "1e-2"), UNSCALED, {0: 0.01, 5: 0.005, 10: 0.0}),
    (
        with_scheduler("LambdaLinearScheduler", DECAYING),
        {"init_value": 1.0},
        {500: 0.5, 1000: 0.9, 5000: 0.5},
    ),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "ldm", "update", None)


REFUSED = [
    (
        LSUN,
        {},
        r"the global batch size: give num_processes, init_value, or names=\{'scale_lr': False\}",
    ),
    (
        STABLE_DIFFUSION,
        {"num_processes": 1},
        r"the config has no batch_size: give names=\{'batch_size': ...\}",
    ),
    (with_scheduler("Other", {}), UNSCALED, "must be a scheduler of ldm, got 'ldm.lr_scheduler.Other'"),
    (with_scheduler("LambdaLinearScheduler", {"f_max": [1]}), UNSCALED, "must be lists of the same length"),
    (
        with_scheduler("LambdaLinearScheduler", {**DECAYING, "warm_up_steps": [10_000]}),
        UNSCALED,
        "cycle_lengths must be above warm_up_steps, got 10000 and 10000",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
