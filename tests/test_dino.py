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
DINOV3 = """
train: {batch_size_per_gpu: 64, OFFICIAL_EPOCH_LENGTH: 5}
student: {arch: vit_large, patch_size: 16}
optim: {epochs: 10, lr: 0.001, warmup_epochs: 2, min_lr: 1.0e-06, schedule_trunc_extra: 0.0}
"""
SCHEDULES = """
optim: {epochs: 10, lr: null, scaling_rule: sqrt_wrt_1024}
train: {batch_size_per_gpu: 64, OFFICIAL_EPOCH_LENGTH: 5}
schedules:
  lr: {start: 0.1, peak: 1.0, end: 0.25, warmup_epochs: 2, cosine_epochs: 5, freeze_last_layer_epochs: 1}
  weight_decay: {start: 0.04, peak: 0.04, end: 0.04, warmup_epochs: 0}
"""
RISING = SCHEDULES.replace("peak: 1.0", "peak: 0")
LINE = SCHEDULES.replace("warmup_epochs: 2, cosine_epochs: 5", "warmup_epochs: 10")
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (DINO, {"steps_per_epoch": 11, "num_processes": 8}, 1100, {0: 0.0, 109: 1e-3, 110: 1e-3}),
    (RESNET, {"steps_per_epoch": 11, "num_processes": 4}, 220, {109: 0.03, 165: 0.015 + 5e-7}),
    (IBOT, {"steps_per_epoch": 11, "init_value": 1.0, "epochs": 25}, 275, {27: 0.5, 165: 0.5 + 1e-6}),
    (DINOV2, {"num_processes": 128}, 625_000, {99_999: 4e-4, 100_000: 4e-4, 362_500: 2e-4 + 5e-7}),
    # The arrays of dinov3's CosineScheduler and linear_warmup_cosine_decay.
    (DINOV3, {"num_processes": 16}, 50, {0: 0.0, 9: 0.004, 10: 0.004, 30: 0.0020005}),
    (DINOV3, {"init_value": 1.0}, 50, {9: 1.0}),
    (DINOV3.replace("0.0}", "0.0, scaling_rule: linear_wrt_256}"), {"num_processes": 2}, 50, {9: 0.0005}),
    (SCHEDULES, {"num_processes": 1}, 50, {0: 0.1, 5: 0.55, 10: 1.0, 22: 0.625, 34: 0.25, 40: 0.25}),
    (SCHEDULES, {"init_value": 2.0}, 50, {0: 0.1, 10: 2.0, 22: 1.25, 34: 0.5}),
    (RISING, {"num_processes": 4}, 50, {0: 0.1, 5: 0.05, 10: 0.0, 34: 0.5, 40: 0.5}),
    (LINE, {"num_processes": 1}, 50, {0: 0.1, 25: 0.55, 49: 0.982}),
    ({"optim": {"base_lr": 0.004}, "dino": {}}, {"num_processes": 4}, 125_000, {12_499: 0.002}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "dino", "update")


def test_the_weight_decay_rises_along_a_cosine():
    recipe = from_config(DINO, steps_per_epoch=10, num_processes=8)
    assert_close([recipe.weight_decay(step) for step in (0, 500, 1000)], [0.04, 0.22, 0.4], HOST_RTOL)
    assert from_config(RESNET, steps_per_epoch=10, num_processes=8)[8:] == (1e-4, "sgd", None)
    assert from_config(DINOV2, num_processes=8).weight_decay(625_000) == 0.2
    assert from_config(SCHEDULES, num_processes=8).weight_decay == 0.04
    changing = SCHEDULES.replace("peak: 0.04, end: 0.04", "peak: 0.1, end: 0.2")
    assert_close(from_config(changing, num_processes=8).weight_decay(49), 0.2, HOST_RTOL)


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
    (DINOV3.replace("extra: 0.0", "extra: 0.25"), {}, "schedule_trunc_extra=0.25 is not supported"),
    (SCHEDULES, {}, "peak is scaled by the global batch size: give num_processes, or init_value"),
    (
        SCHEDULES.replace("cosine_epochs: 5", "cosine_epochs: 9"),
        {"num_processes": 1},
        "the warmup and the cosine must have at most 50 steps, got 10 and 45",
    ),
    (
        SCHEDULES.replace("1.0, end: 0.25", "0, end: 0"),
        {"num_processes": 1},
        "the peak or the end must be above 0, got 0 and 0",
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
