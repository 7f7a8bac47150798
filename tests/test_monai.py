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


def handler(**changed: Any) -> list[dict[str, Any]]:
    """Return the handlers of a bundle."""
    return [{"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler", **changed}]


@pytest.mark.parametrize("level", [False, "$False", "@by_epoch", "%by_epoch", "$not @by_update"])
def test_the_handler_says_if_a_count_is_an_epoch(level):
    config = bundle(handlers=handler(epoch_level=level), by_epoch=False, by_update=True)
    recipe = from_config(config)
    assert (recipe.unit, recipe.assumptions) == ("update", ())


def test_a_bundle_without_a_handler_is_stepped_once_per_epoch():
    recipe = from_config(bundle(handlers=[]))
    assert (recipe.unit, len(recipe.assumptions)) == ("epoch", 1)


OTHER = {"_target_": "torch.optim.lr_scheduler.StepLR", "optimizer": "@optimizer", "step_size": 2}
MILESTONES = {"_target_": "MultiStepLR", "milestones": "$[int(@epochs * 0.25), @epochs // 2]"}


@pytest.mark.parametrize(
    "changed",
    [
        {"handlers": [*handler(_disabled_=True), *handler(lr_scheduler="@other")]},
        {"handlers": [*handler(_disabled_="$@epochs > 4"), *handler(lr_scheduler="@other")]},
        {"handlers": handler(lr_scheduler="$@chosen", _disabled_="false"), "chosen": "@other"},
        {"lr_scheduler": "%other"},
        {"lr_scheduler": {**OTHER, "_mode_": "default", "_desc_": "a text", "_disabled_": False}},
        {"lr_scheduler": {**MILESTONES, "optimizer": "@optimizer"}},
    ],
)
def test_references_and_keys_of_monai_are_followed(changed):
    schedule = from_config(bundle(other=OTHER, **changed)).schedule
    assert [round(schedule(epoch), 12) for epoch in (1, 2, 3, 4)] == [0.1, 0.01, 0.01, 0.001]


def test_a_bundle_without_a_scheduler_has_a_constant_rate():
    noise = {"_target_": "monai.networks.schedulers.ddpm.DDPMScheduler", "num_train_timesteps": 1000}
    recipe = from_config(bundle(handlers=[], lr_scheduler=noise))
    assert (recipe.schedule(5), recipe.num_counts) == (0.1, 8)


DATASET = {"_target_": "PolynomialLR", "optimizer": "@optimizer", "total_iters": "$len(@train.dataset)"}
LOOP = {"_target_": "StepLR", "optimizer": "@optimizer", "step_size": "@lr_scheduler#step_size"}
WARMUP = {"_target_": "ignite.handlers.create_lr_scheduler_with_warmup", "lr_scheduler": "@lr_scheduler"}
PARTS = [{**OTHER, "_disabled_": True}, OTHER]
SEQUENTIAL = {"_target_": "SequentialLR", "optimizer": "@optimizer", "schedulers": PARTS, "milestones": [2]}


def grouped(params: Any) -> dict[str, Any]:
    """Return a bundle whose optimizer has parameter groups."""
    return bundle(optimizer={"_target_": "torch.optim.SGD", "params": params, "lr": "@lr"})


REFUSED = [
    (bundle(lr_scheduler=DATASET), r"total_iters is '\$len.*: give names=\{'total_iters': ...\}"),
    (bundle(lr_scheduler=LOOP), "the config refers to itself"),
    (
        bundle(handlers=handler(lr_scheduler="@missing")),
        "steps '@missing', which .* does not define",
    ),
    (bundle(lr_scheduler={**OTHER, "_disabled_": True}), "steps '@lr_scheduler', which .* disables"),
    (bundle(lr_scheduler=SEQUENTIAL), "'None' is not the call of a scheduler"),
    (bundle(handlers=handler(_disabled_="true")), "the LrScheduleHandler is disabled"),
    (
        bundle(handlers=handler(_disabled_="$not f()")),
        r"_disabled_ is .* names=\{'_disabled_': ...\}",
    ),
    (bundle(handlers=handler(epoch_level="$f()")), r"epoch_level is .*: give names=\{'epoch_level': ...\}"),
    (bundle(handlers=handler(step_transform="$lambda engine: engine.state.iteration")), "leave it out if"),
    (bundle(handlers=[], validate={"handlers": handler()}), "steps the scheduler after each validation"),
    (bundle(handlers=[WARMUP]), "create_lr_scheduler_with_warmup is not read: .* jaxlr.sequential_lr"),
    (
        grouped([{"params": "$@net.a", "lr": 0.5}, {"params": "$@net.b"}]),
        "give init_value, the rate of one",
    ),
    (grouped("$[{'params': @net.a, 'lr': 0.5}, {'params': @net.b}]"), "give init_value, the rate of one"),
    (grouped("$generate_param_groups(@net, [f], ['select'], lr_values=[0.5])"), "give init_value"),
    (bundle(**{"optimizer::lr": 0.5}), "changes parts .* such as 'optimizer::lr'"),
    (bundle(**{"+optimizer": {"lr": 0.5}}), r"changes parts .* such as '\+optimizer'"),
    ({"train::trainer::max_epochs": 8}, "changes parts .* such as 'train::trainer::max_epochs'"),
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


def test_a_rate_of_a_group_and_a_plateau_are_read():
    recipe = from_config(grouped([{"params": "$@net.a", "lr": 0.5}]), 0.5)
    assert recipe.schedule(0) == 0.5
    plateau = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "optimizer": "@optimizer"}
    handlers = handler(step_transform="$lambda engine: engine.state.metrics['val_mean_dice']")
    recipe = from_config(bundle(lr_scheduler=plateau, handlers=[], validate={"handlers": handlers}))
    assert recipe.unit == "evaluation"


def test_the_epochs_of_the_run_are_a_name_of_the_bundle():
    with pytest.raises(ValueError, match=r"give names=\{'epochs': ...\} in the place of epochs"):
        from_config(bundle(), epochs=20)
    assert from_config(bundle(trainer={"_target_": "SupervisedTrainer", "max_epochs": 9})).num_counts == 9


def test_a_comment_in_a_key_is_no_override():
    flags = {"#lr": "a comment", "learning_rate": 0.1, "lr_scheduler_type": "linear", "max_steps": 10}
    assert from_config(flags).framework == "huggingface"


def test_hydra_may_name_a_class_of_monai():
    adam = {"_target_": "torch.optim.Adam", "lr": 1.0}
    scheduler = {"_target_": "monai.optimizers.LinearLR", "end_lr": 3.0, "num_iter": 5}
    scheduler["optimizer"] = "${optimizer}"  # as Hydra refers to it
    recipe = from_config({"optimizer": adam, "scheduler": scheduler})
    assert (recipe.framework, recipe.schedule(2), recipe.schedule(4)) == ("lightning", 2.0, 3.0)
