"""The arrays and flags of DINO and DINOv2, beside the arrays of its own `cosine_scheduler`."""

from typing import Any

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("dino")
def test_a_call_gives_the_array_of_the_original(case):
    arguments = ", ".join(f"{name}={value!r}" for name, value in case["settings"].items())
    assert_has_rates(from_string(f"lr_schedule = utils.cosine_scheduler({arguments})"), case["rates"])


def test_the_warmup_reaches_the_base_value_one_step_early():
    schedule = from_string("cosine_scheduler(1.0, 0.0, 4, 5, warmup_epochs=1)")
    assert [schedule(step) for step in (0, 2, 4, 5)] == [0.0, 0.5, 1.0, 1.0]


MAIN_DINO = """
lr_schedule = utils.cosine_scheduler(
    args.lr * (args.batch_size_per_gpu * utils.get_world_size()) / 256.,  # linear scaling rule
    args.min_lr,
    args.epochs, len(data_loader),
    warmup_epochs=args.warmup_epochs,
)
"""
NAMES = {
    **{"args.lr": 5e-4, "args.batch_size_per_gpu": 64, "utils.get_world_size()": 8, "args.min_lr": 1e-6},
    **{"args.epochs": 100, "len(data_loader)": 11, "args.warmup_epochs": 10},
}
CONVNEXT = """
lr_schedule_values = utils.cosine_scheduler(
    args.lr, args.min_lr, args.epochs, num_training_steps_per_epoch,
    warmup_epochs=args.warmup_epochs, warmup_steps=args.warmup_steps,
)
"""


def test_a_call_as_people_write_it_gives_its_rates():
    assert_close(from_string(MAIN_DINO, names=NAMES)(109), 1e-3, HOST_RTOL)
    names = {"args.warmup_steps": 21, "num_training_steps_per_epoch": 10}
    schedule = from_string(CONVNEXT, names={**NAMES, **names})
    assert_close([schedule(10), schedule(20), schedule(21)], [2.5e-4, 5e-4, 5e-4], HOST_RTOL)


def test_the_base_value_is_not_taken_for_the_optimizer():
    with pytest.raises(
        ValueError, match=r"needs values for its names: give names=\{'args.lr': ..., 'args.min_lr'"
    ):
        from_string("cosine_scheduler(args.lr, args.min_lr, args.epochs, len(loader), args.warmup_epochs)")


DINO = (
    "python -m torch.distributed.launch --nproc_per_node=8 main_dino.py --arch vit_small "
    "--batch_size_per_gpu 64 --data_path /path/to/imagenet/train --output_dir /path/to/saving_dir"
)
RESNET = DINO + " --optimizer sgd --lr 0.03 --weight_decay 1e-4 --weight_decay_end 1e-4 --epochs 20"
IBOT = {"batch_size_per_gpu": 32, "lr": 5e-4, "epochs": 30, "warmup_epochs": 5, "min_lr": 2e-6}
DINOV2 = """
train: {batch_size_per_gpu: 32, dataset_path: ImageNet22k, centering: sinkhorn_knopp}
student: {arch: vit_large, patch_size: 14}
optim: {epochs: 500, weight_decay_end: 0.2, base_lr: 2.0e-04, warmup_epochs: 80, layerwise_decay: 1.0}
"""
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (DINO, {"steps_per_epoch": 11, "num_processes": 8}, 1100, {0: 0.0, 109: 1e-3, 110: 1e-3}),
    (RESNET, {"steps_per_epoch": 11, "num_processes": 4}, 220, {109: 0.03, 165: 0.015 + 5e-7}),
    (IBOT, {"steps_per_epoch": 11, "init_value": 1.0, "epochs": 25}, 275, {27: 0.5, 165: 0.5 + 1e-6}),
    (DINOV2, {"num_processes": 128}, 625_000, {99_999: 4e-4, 100_000: 4e-4, 362_500: 2e-4 + 5e-7}),
    ({"optim": {"base_lr": 0.004}, "dino": {}}, {"num_processes": 4}, 125_000, {12_499: 0.002}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "dino", "update")


def test_the_weight_decay_rises_along_a_cosine():
    recipe = from_config(DINO, steps_per_epoch=10, num_processes=8)
    assert_close([recipe.weight_decay(step) for step in (0, 500, 1000)], [0.04, 0.22, 0.4], HOST_RTOL)
    assert from_config(RESNET, steps_per_epoch=10, num_processes=8)[8:] == (1e-4, "sgd", None)
    assert from_config(DINOV2, num_processes=8).weight_decay(625_000) == 0.2


REFUSED = [
    (
        DINO,
        {"steps_per_epoch": 9},
        "lr is scaled by the global batch size: give num_processes, or init_value",
    ),
    (DINO, {"num_processes": 8}, "give steps_per_epoch"),
    (DINO + " --n_last_blocks 4", {}, "n_last_blocks='4' is not supported: it is of eval_linear.py"),
    (DINOV2, {}, "base_lr is scaled by the global batch size: give num_processes, or init_value"),
    (
        {"optim": {"scaling_rule": "linear"}, "dino": {}},
        {},
        "scaling_rule must be 'sqrt_wrt_1024', got 'linear'",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "cosine_scheduler(1.0, 0.0, 4, 5, warmup_epochs=5)",
            "the warmup must be at most all 20 steps, got 25",
        ),
        (
            "cosine_scheduler(1.0, 0.0, 4, 5, warmup_steps=5)",
            "warmup_steps above 0 needs warmup_epochs above 0",
        ),
    ],
)
def test_an_array_that_the_original_refuses_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        from_string(text)
