"""Bundles of MONAI, beside the rates of the schedulers that MONAI's own parser builds."""

import json
from typing import Any

import pytest
from framework_files import assert_has_rates, from_config, recorded

import jaxlr


@recorded("monai")
def test_a_bundle_gives_the_rates_of_the_original(case):
    recipe = from_config(json.dumps(case["settings"]))
    assert (recipe.framework, recipe.unit) == ("monai", "epoch")
    assert recipe.num_counts == case["settings"].get("epochs")
    assert_has_rates(recipe.schedule, case["rates"])


def bundle(**changed: Any) -> dict[str, Any]:
    """Return a bundle with a scheduler and a handler."""
    scheduler = {"_target_": "torch.optim.lr_scheduler.StepLR", "optimizer": "@optimizer"}
    return {
        "imports": ["$import glob"],
        "epochs": 8,
        "lr": 0.1,
        "network_def": {"_target_": "UNet", "spatial_dims": 3},
        "optimizer": {"_target_": "torch.optim.SGD", "params": "$@network.parameters()", "lr": "@lr"},
        "lr_scheduler": {**scheduler, "step_size": "$@epochs // 2"},
        "handlers": [{"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler"}],
        "trainer": {"_target_": "SupervisedTrainer", "max_epochs": "@epochs"},
        **changed,
    }


def test_names_replace_the_values_of_a_bundle():
    recipe = from_config(bundle(), names={"epochs": 20, "lr": 1.0})
    assert (recipe.num_counts, recipe.schedule(9), recipe.schedule(10)) == (20, 1.0, 0.1)


def test_the_handler_says_if_a_count_is_an_epoch():
    handler = {"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", "epoch_level": False}
    recipe = from_config(bundle(handlers=[handler]))
    assert (recipe.unit, recipe.assumptions) == ("update", ())
    recipe = from_config(bundle(handlers=[]))
    assert (recipe.unit, len(recipe.assumptions)) == ("epoch", 1)


def test_a_bundle_without_a_scheduler_has_a_constant_rate():
    noise = {"_target_": "monai.networks.schedulers.ddpm.DDPMScheduler", "num_train_timesteps": 1000}
    recipe = from_config(bundle(handlers=[], lr_scheduler=noise))
    assert (recipe.schedule(5), recipe.num_counts) == (0.1, 8)


DATASET = {"_target_": "PolynomialLR", "optimizer": "@optimizer", "total_iters": "$len(@train.dataset)"}
LOOP = {"_target_": "StepLR", "optimizer": "@optimizer", "step_size": "@lr_scheduler#step_size"}
MISSING = [{"_target_": "LrScheduleHandler", "lr_scheduler": "@missing"}]
REFUSED = [
    (bundle(lr_scheduler=DATASET), r"total_iters is '\$len.*: give names=\{'total_iters': ...\}"),
    (bundle(lr_scheduler=LOOP), "the config refers to itself"),
    (bundle(handlers=MISSING), "must have one scheduler that is stepped, or none, got 1"),
    (
        bundle(handlers=[], other=bundle()["lr_scheduler"]),
        "must have one scheduler .* got 2: give the mapping",
    ),
    (bundle(lr="$0.1 * dist.get_world_size()"), r"lr is '\$0.1 \* dist.get.* give names=\{'lr': ...\}"),
    (
        {"device": "cuda", "train#trainer#max_epochs": 8},
        "changes parts .* such as 'train#trainer#max_epochs'",
    ),
]


@pytest.mark.parametrize(("config", "message"), REFUSED)
def test_a_bundle_that_cannot_be_read_is_refused_with_a_way_out(config, message):
    with pytest.raises(ValueError, match=message) as error:
        from_config(config)
    assert "\n" not in str(error.value)


def test_the_scheduler_of_a_bundle_is_a_text_too():
    text = json.dumps({name: bundle()[name] for name in ("optimizer", "lr_scheduler")})
    schedule: Any = jaxlr.from_string(
        text.replace("$@epochs // 2", "@steps"), names={"lr": 0.5, "steps": 4}
    )
    assert (schedule(3), schedule(4)) == (0.5, 0.05)


def test_hydra_may_name_a_class_of_monai():
    adam = {"_target_": "torch.optim.Adam", "lr": 1.0}
    scheduler = {"_target_": "monai.optimizers.LinearLR", "end_lr": 3.0, "num_iter": 5}
    recipe = from_config({"optimizer": adam, "scheduler": scheduler})
    assert (recipe.framework, recipe.schedule(2), recipe.schedule(4)) == ("lightning", 2.0, 3.0)
