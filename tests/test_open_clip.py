"""The schedulers and flags of open_clip, beside the curves of its own functions."""

from typing import Any

from framework_files import assert_has_rates, call_text, from_config, gives_rates, recorded, refuses

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("open_clip")
def test_a_call_gives_the_curve_of_the_original(case):
    assert_has_rates(from_string(call_text(case)), case["rates"])


def test_the_first_update_is_not_at_zero():
    schedule = from_string("cosine_lr(optimizer, 1.0, 4, 20)")
    assert [schedule(step) for step in (0, 1, 3, 4)] == [0.25, 0.5, 1.0, 1.0]


RN50 = """
python -m open_clip_train.main \\
    --save-frequency 1 --zeroshot-frequency 1 --report-to tensorboard \\
    --train-data="/path/to/train_data.csv" --val-data="/path/to/validation_data.csv" \\
    --csv-img-key filepath --csv-caption-key title --imagenet-val=/path/to/imagenet/root/val/ \\
    --warmup 10 --batch-size=128 --lr=1e-3 --wd=0.1 --epochs=31 --workers=8 --model RN50
"""
CC12M = """
torchrun --nproc_per_node 4 -m open_clip_train.main --train-data '/data/cc12m-train-{0000..2175}.tar' \\
    --train-num-samples 10968539 --dataset-type webdataset --batch-size 320 --precision amp --workers 4
"""
COOLDOWN = {
    **{"lr": 1e-3, "warmup": 5, "epochs": 10, "lr_scheduler": "const-cooldown", "epochs_cooldown": 4},
    **{"lr_cooldown_end": 0.0, "lr_cooldown_power": 2.0},
}
PARAMS = "accum_freq: 2\nepochs: 3\nlr: 0.5\nlr_scheduler: const\nskip_scheduler: False\nwarmup: 2\n"
SKIPPED = ["--lr=1e-5", "--warmup", "100", "--skip-scheduler", "--train-data", "x.csv"]
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (RN50, {"steps_per_epoch": 10}, 310, {0: 1e-4, 9: 1e-3, 10: 1e-3, 160: 5e-4}),
    (CC12M, {"steps_per_epoch": 8569}, 274_208, {0: 5e-8, 9999: 5e-4, 142_104: 2.5e-4}),
    (COOLDOWN, {"steps_per_epoch": 5}, 50, {0: 2e-4, 5: 1e-3, 30: 1e-3, 40: 2.5e-4, 50: 0.0}),
    (PARAMS, {"steps_per_epoch": 5}, 6, {0: 0.25, 1: 0.5, 9: 0.5}),
    (SKIPPED, {}, None, {0: 1e-5, 9: 1e-5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "open_clip", "update")


def test_the_params_of_a_run_are_read_from_their_file(tmp_path):
    path = tmp_path / "params.txt"
    path.write_text(PARAMS + "epochs_cooldown: None\ntrain_data: /data/{0000..2175}.tar\n")
    assert from_config(path).schedule(0) == 0.25


def test_every_default_is_an_assumption():
    assert from_config(CC12M, steps_per_epoch=8569).assumptions == (
        "lr is 0.0005, the default of open_clip_train.",
        "warmup is 10000, the default of open_clip_train.",
        "lr_scheduler is cosine, the default of open_clip_train.",
        "epochs is 32, the default of open_clip_train.",
    )


def test_the_weight_decay_and_the_clipping_are_stated():
    recipe = from_config(RN50 + " --grad-clip-norm 1.0 --beta1 0.9", steps_per_epoch=10)
    assert (recipe.weight_decay, recipe.clip, recipe.momentum) == (0.1, 1.0, 0.9)


EVA = RN50 + " --visual-lr 4e-4 --text-lr 4e-5"
REFUSED = [
    (EVA, {"steps_per_epoch": 10}, "visual_lr='4e-4' is not supported: it is of EVA-CLIP, whose"),
    ({"start_lr": 1e-3, "max_epochs": 260, "train_num_samples": 768}, {}, "the config is of no known fra"),
    (RN50, {}, "give steps_per_epoch, the length of the train dataloader"),
    (
        {**COOLDOWN, "lr_scheduler": "linear"},
        {},
        "lr_scheduler must be one of 'cosine', 'const', 'const-cooldown'",
    ),
    (
        {**COOLDOWN, "epochs_cooldown": None},
        {"steps_per_epoch": 5},
        "the config has no epochs_cooldown: give names=",
    ),
    (
        {**COOLDOWN, "warmup": 50},
        {"steps_per_epoch": 5},
        "steps must be above warmup_length, got 50 and 50",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
