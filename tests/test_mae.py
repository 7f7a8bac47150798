"""Flags of MAE, beside the rates that its loop sets."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("mae")
def test_the_flags_give_the_rates_of_the_loop(case):
    recipe = from_config(case["settings"], steps_per_epoch=case["steps_per_epoch"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert recipe.num_counts == len(case["rates"])


def test_the_rate_is_set_once_for_all_batches_of_an_update():
    settings = {"lr": 1.0, "warmup_epochs": 2, "epochs": 4, "accum_iter": 3, "min_lr": 0.0}
    schedule = from_config(settings, steps_per_epoch=4).schedule
    assert [schedule(batch) for batch in range(6)] == [0.0, 0.0, 0.0, 0.375, 0.5, 0.5]


PRETRAIN = """
python submitit_pretrain.py \\
    --job_dir ${JOB_DIR} --nodes 8 --use_volta32 \\
    --batch_size 64 \\
    --model mae_vit_large_patch16 --norm_pix_loss --mask_ratio 0.75 \\
    --epochs 800 --warmup_epochs 40 \\
    --blr 1.5e-4 --weight_decay 0.05 \\
    --data_path ${IMAGENET_DIR}
"""
FINE_TUNE = """
OMP_NUM_THREADS=1 python -m torch.distributed.launch --nproc_per_node=8 main_finetune.py \\
    --accum_iter 4 --batch_size 32 --model vit_base_patch16 --finetune ${PRETRAIN_CHKPT} \\
    --epochs 100 --blr 5e-4 --layer_decay 0.65 \\
    --weight_decay 0.05 --drop_path 0.1 --mixup 0.8 --cutmix 1.0 --reprob 0.25 \\
    --dist_eval --data_path ${IMAGENET_DIR}
"""
LINEAR_PROBE = (
    "python main_linprobe.py --batch_size 512 --cls_token --epochs 90 --blr 0.1 --weight_decay 0.0"
)
SCALED = {"blr": 1e-3, "batch_size": 256, "epochs": 10, "warmup_epochs": 0, "min_lr": 0, "model": "vit"}
ABSOLUTE = ["--lr", "1e-3", "--model=mae_vit_base_patch16", "--accum_iter=1", "--warmup_epochs=10"]
PROBE_NAMES = {"warmup_epochs": 10, "min_lr": 0}
CONVNEXT_V2 = """
main_pretrain.py --model convnextv2_base --batch_size 64 --update_freq 8 --blr 1.5e-4 --epochs 1600 \\
  --warmup_epochs 40 --min_lr 0 --mask_ratio 0.6
"""
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (PRETRAIN, {"num_processes": 64}, 80_000, {0: 0.0, 2000: 1.2e-3, 4000: 2.4e-3, 42_000: 1.2e-3}),
    (FINE_TUNE, {"num_processes": 8}, 10_000, {0: 0.0, 3: 0.0, 252: 1e-3 + 2e-5 * 0.4, 500: 2e-3}),
    (LINEAR_PROBE, {"num_processes": 32, "names": PROBE_NAMES}, 9000, {500: 3.2, 1000: 6.4, 5000: 3.2}),
    (SCALED, {"num_processes": 1}, 1000, {0: 1e-3, 500: 5e-4}),
    (CONVNEXT_V2, {"num_processes": 8}, 160_000, {2000: 1.2e-3, 2007: 1.2e-3, 4000: 2.4e-3}),
    (ABSOLUTE, {"epochs": 20}, 2000, {1000: 1e-3, 1500: 5e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(
    CONFIGS, "mae", "iteration", steps_per_epoch=100
)


def test_every_number_that_was_derived_is_an_assumption():
    recipe = from_config(FINE_TUNE, steps_per_epoch=100, num_processes=8)
    assert recipe.assumptions == (
        "warmup_epochs is 5, the default of main_finetune.py.",
        "min_lr is 1e-06, the default of main_finetune.py.",
        "The rate is 0.002: blr for a batch of 1024 instead of 256.",
        "The rate is set for 4 batches at once, anew in each epoch.",
        "layer_decay multiplies the rate of each layer. This is the rate of the last one.",
    )


def test_the_weight_decay_is_stated():
    recipe = from_config(PRETRAIN, steps_per_epoch=100, num_processes=64)
    assert (recipe.weight_decay, recipe.clip) == (0.05, None)


REFUSED = [
    (PRETRAIN, {}, "does not say how many batches an epoch has: give steps_per_epoch"),
    (
        PRETRAIN,
        {"steps_per_epoch": 9},
        "blr is scaled by the global batch size: give num_processes, or init_value",
    ),
    (
        LINEAR_PROBE,
        {"steps_per_epoch": 9},
        r"the config has no warmup_epochs: give names=\{'warmup_epochs': ...\}",
    ),
    (
        {**SCALED, "epochs": 2.5},
        {"steps_per_epoch": 9, "num_processes": 1},
        "epochs must be a whole number",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
