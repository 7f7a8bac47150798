"""Configs and calls of nerfstudio, beside the curves of its own schedulers."""

from typing import Any

import pytest
from framework_files import assert_has_rates, call_text, from_config, recorded, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("nerfstudio")
def test_a_call_gives_the_rates_of_its_class(case):
    call = call_text(case).replace("optimizer, ", "")
    schedule = from_string(call, 0.01)
    assert_has_rates(schedule, case["rates"])
    text = f"optimizers={{'fields': {{'optimizer': AdamOptimizerConfig(lr=1e-2), 'scheduler': {call}}}}}"
    recipe = from_config(text)
    assert recipe.framework == "nerfstudio"
    assert_has_rates(recipe.schedule, case["rates"])


NERFACTO = """
method_configs["nerfacto"] = TrainerConfig(
    method_name="nerfacto",
    steps_per_eval_batch=500,
    max_num_iterations=30000,
    mixed_precision=True,
    pipeline=VanillaPipelineConfig(
        datamanager=ParallelDataManagerConfig(dataparser=NerfstudioDataParserConfig()),
        model=NerfactoModelConfig(eval_num_rays_per_chunk=1 << 15),
    ),
    optimizers={
        "proposal_networks": {
            "optimizer": AdamOptimizerConfig(lr=1e-2, eps=1e-15),
            "scheduler": ExponentialDecaySchedulerConfig(lr_final=0.0001, max_steps=200000),
        },
        "fields": {
            "optimizer": RAdamOptimizerConfig(lr=1e-2, eps=1e-15, max_norm=1.0),
            "scheduler": None,
        },
    },
    viewer=ViewerConfig(num_rays_per_chunk=1 << 15),
    vis="viewer",
)
"""
TEMPLATE = '''
"""
Nerfstudio Template Config
"""

from __future__ import annotations

from method_template.template_model import TemplateModelConfig
from nerfstudio.engine.schedulers import (
    ExponentialDecaySchedulerConfig,
)
from nerfstudio.engine.trainer import TrainerConfig
from nerfstudio.plugins.types import MethodSpecification


method_template = MethodSpecification(
    config=TrainerConfig(
        method_name="method-template",  # TODO: rename to your own model
        max_num_iterations=30000,
        pipeline=TemplatePipelineConfig(
            model=TemplateModelConfig(eval_num_rays_per_chunk=1 << 15),
        ),
        optimizers={
            # TODO: consider changing optimizers depending on your custom method
            "fields": {
                "optimizer": RAdamOptimizerConfig(lr=1e-2, eps=1e-15),
                "scheduler": ExponentialDecaySchedulerConfig(lr_final=1e-4, max_steps=50000),
            },
            "camera_opt": {
                "optimizer": AdamOptimizerConfig(lr=1e-3, eps=1e-15),
                "scheduler": ExponentialDecaySchedulerConfig(lr_final=1e-4, max_steps=5000),
            },
        },
    ),
    description="Nerfstudio method template.",
)
'''
NEUS = """
{
    "optimizer": AdamOptimizerConfig(lr=5e-4, eps=1e-15),
    "scheduler": CosineDecaySchedulerConfig(warm_up_end=500, learning_rate_alpha=0.05, max_steps=20001),
}
"""
SPLATFACTO = """!!python/object:nerfstudio.engine.trainer.TrainerConfig
_target: !!python/name:nerfstudio.engine.trainer.Trainer ''
data: &id003 !!python/object/apply:pathlib.PosixPath
- data
- poster
load_dir: null
max_num_iterations: 30000
method_name: splatfacto
mixed_precision: false
optimizers:
  camera_opt:
    optimizer: !!python/object:nerfstudio.engine.optimizers.AdamOptimizerConfig
      _target: &id001 !!python/name:torch.optim.adam.Adam ''
      eps: 1.0e-15
      lr: 0.0001
      max_norm: null
      weight_decay: 0
    scheduler: !!python/object:nerfstudio.engine.schedulers.ExponentialDecaySchedulerConfig
      _target: &id002 !!python/name:nerfstudio.engine.schedulers.ExponentialDecayScheduler ''
      lr_final: 5.0e-07
      lr_pre_warmup: 0
      max_steps: 30000
      ramp: cosine
      warmup_steps: 1000
  features_dc:
    optimizer: !!python/object:nerfstudio.engine.optimizers.AdamOptimizerConfig
      _target: *id001
      eps: 1.0e-15
      lr: 0.0025
      max_norm: null
      weight_decay: 0
    scheduler: null
  means:
    optimizer: !!python/object:nerfstudio.engine.optimizers.AdamOptimizerConfig
      _target: *id001
      eps: 1.0e-15
      lr: 0.00016
      max_norm: null
      weight_decay: 0
    scheduler: !!python/object:nerfstudio.engine.schedulers.ExponentialDecaySchedulerConfig
      _target: *id002
      lr_final: 1.6e-06
      lr_pre_warmup: 1.0e-08
      max_steps: 30000
      ramp: cosine
      warmup_steps: 0
output_dir: !!python/object/apply:pathlib.PosixPath
- outputs
steps_per_eval: !!python/tuple
- 1
"""
CONFIGS = [  # a config, the group, its name, num_counts, and rates by count
    (NERFACTO, 0, "proposal_networks", 30_000, {0: 1e-2, 100_000: 1e-3}),
    (NERFACTO, 1, "fields", 30_000, {0: 1e-2, 29_999: 1e-2}),
    (TEMPLATE, 0, "fields", 30_000, {25_000: 1e-3}),
    (TEMPLATE, 1, "camera_opt", 30_000, {2500: 10**-3.5, 6000: 1e-4}),
    (NEUS, 0, None, None, {0: 0, 250: 2.5e-4, 500: 5e-4, 20_001: 2.5e-5}),
    (SPLATFACTO, 0, "camera_opt", 30_000, {0: 0, 1000: 1e-4, 30_000: 5e-7}),
    (SPLATFACTO, 1, "features_dc", 30_000, {9: 0.0025}),
    (SPLATFACTO, 2, "means", 30_000, {15_000: 1.6e-5}),
]


@pytest.mark.parametrize(("config", "group", "name", "num_counts", "expected"), CONFIGS)
def test_a_config_as_people_write_it_gives_its_rates(config, group, name, num_counts, expected):
    recipe = from_config(config, group=group)
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("nerfstudio", "iteration", num_counts)
    assert (recipe.groups or [None])[group] == name
    for count, rate in expected.items():
        assert_close(recipe.schedule(count), rate, HOST_RTOL)


def test_the_optimizer_is_stated_and_defaults_are_assumptions():
    recipe = from_config(NERFACTO, group=1)
    assert (recipe.optimizer, recipe.clip) == ("RAdam", 1.0)
    recipe = from_config(SPLATFACTO, group=2)
    assert (recipe.optimizer, recipe.weight_decay, recipe.assumptions) == ("Adam", 0.0, ())
    group = "'optimizer': AdamOptimizerConfig(lr=1), 'scheduler': MultiStepSchedulerConfig()"
    recipe = from_config(f"{{{group}}}")
    assert recipe.assumptions == ("gamma is 0.33, the default of nerfstudio.",)
    assert_close([recipe.schedule(499_999), recipe.schedule(500_000)], [1.0, 0.33], HOST_RTOL)


def test_the_rate_of_the_optimizer_may_be_replaced():
    schedule = from_config(NEUS, 1.0).schedule
    assert_close(schedule(20_001), 0.05, HOST_RTOL)


REFUSED = [
    (TEMPLATE, {"init_value": 0.0}, "init_value must be a finite number above 0"),
    ({"optimizers": {"a": 3, "b": {"optimizer": {"lr": 1}}}}, {}, "a must hold settings by name, got 3"),
    (NERFACTO, {"group": 2}, "group must be one of 0 .proposal_networks., 1 .fields., got 2"),
    (NEUS.replace("CosineDecay", "NeuS"), {}, "the scheduler 'NeuSScheduler' is not one of nerfstudio"),
    (NEUS.replace("500,", "30000,"), {}, "warm_up_end must be below max_steps, got 30000 and 20001"),
    (
        TEMPLATE.replace("lr_final=1e-4, ", "warmup_steps=50000, "),
        {},
        "warmup_steps must be below max_steps",
    ),
    (TEMPLATE + TEMPLATE.replace("method_template", "other"), {}, "the text has 2 configs with optimizers"),
    (
        TEMPLATE.replace("max_steps=50000", "max_steps=50000, warmup_steps=9, ramp='sine'"),
        {},
        "ramp must be one of 'linear', 'cosine', got 'sine'",
    ),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)


def test_no_object_of_another_package_is_read():
    text = SPLATFACTO + "a: !!python/object/apply:os.system ['echo hi']\n"
    with pytest.raises(ValueError, match="could not determine a constructor"):
        from_config(text)
