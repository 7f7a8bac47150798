"""Flags of BEiT, ConvNeXt and VideoMAE, beside the arrays of their own functions."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("beit")
def test_flags_give_the_array_of_their_script(case):
    arguments = {"steps_per_epoch": case["steps_per_epoch"], "num_processes": case["num_processes"]}
    recipe = from_config(case["settings"], **arguments)
    assert (recipe.framework, recipe.num_counts) == ("beit", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


CONVNEXT = """
python -m torch.distributed.launch --nproc_per_node=8 main.py --model convnext_tiny --drop_path 0.1 \\
  --batch_size 128 --lr 4e-3 --update_freq 4 --model_ema true --model_ema_eval true --data_path /data
"""
CONVNEXT_TUNED = """
python main.py --model convnext_base --drop_path 0.2 --input_size 384 --batch_size 32 --lr 5e-5 \\
  --update_freq 2 --warmup_epochs 0 --epochs 30 --weight_decay 1e-8 --layer_decay 0.7 --cutmix 0 --mixup 0
"""
BEIT = """
OMP_NUM_THREADS=1 python -m torch.distributed.launch --nproc_per_node=16 run_beit_pretraining.py \\
  --data_path $DATA --output_dir $OUT --num_mask_patches 75 --model beit_base_patch16_224_8k_vocab \\
  --discrete_vae_weight_path $TOKENIZER --batch_size 128 --lr 1.5e-3 --warmup_steps 1000 --epochs 150 \\
  --clip_grad 3.0 --drop_path 0.1 --layer_scale_init_value 0.1
"""
BEIT_TUNED = """
run_class_finetuning.py --model beit_base_patch16_224 --finetune beit.pth --batch_size 128 \\
  --lr 4e-3 --update_freq 1 --warmup_epochs 20 --epochs 100 --layer_decay 0.65 --weight_decay 0.05
"""
VIDEOMAE = """
python -u run_mae_pretraining.py --data_path ${DATA_PATH} --mask_type tube --mask_ratio 0.9 \\
  --model pretrain_videomae_base_patch16_224 --decoder_depth 4 --batch_size 32 --num_frames 16 \\
  --sampling_rate 4 --opt adamw --opt_betas 0.9 0.95 --warmup_epochs 40 --epochs 801
"""
VIDEOMAE_TUNED = """
python run_class_finetuning.py --model vit_base_patch16_224 --data_set Kinetics-400 --batch_size 16 \\
  --num_sample 2 --short_side_size 224 --num_frames 16 --sampling_rate 4 --opt adamw --lr 5e-4 \\
  --opt_betas 0.9 0.999 --weight_decay 0.05 --epochs 75 --dist_eval --test_num_segment 5 --test_num_crop 3
"""
RUN, MANY = {"steps_per_epoch": 100}, {"steps_per_epoch": 100, "num_processes": 16}
BEIT3 = "run_beit3_finetuning.py --model beit3_base_patch16_224 --batch_size 128 --lr 7e-4"
UMT = VIDEOMAE_TUNED.replace("Kinetics-400", "Kinetics_sparse")
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (CONVNEXT, RUN, 7500, {0: 0, 499: 4e-3, 500: 4e-3, 4000: (4e-3 + 1e-6) / 2}),
    (CONVNEXT_TUNED, RUN, 1500, {0: 5e-5, 750: (5e-5 + 1e-6) / 2}),
    (BEIT, RUN, 15_000, {0: 0, 999: 1.5e-3, 1000: 1.5e-3, 8000: (1.5e-3 + 1e-5) / 2}),
    (BEIT_TUNED, RUN, 10_000, {1999: 4e-3, 6000: (4e-3 + 1e-6) / 2}),
    (VIDEOMAE, MANY, 80_100, {3999: 3e-4, 4000: 3e-4}),
    (VIDEOMAE, {**RUN, "init_value": 1.0, "names": {"lr": 1.5e-4}}, 80_100, {4000: 1.0}),
    (BEIT3, RUN, 2000, {499: 7e-4, 500: 7e-4, 1250: (7e-4 + 1e-6) / 2}),
    (UMT, MANY, 7500, {499: 1e-3, 500: 1e-3, 4000: (1e-3 + 2e-6) / 2}),
    (VIDEOMAE_TUNED, MANY, 7500, {499: 5e-4, 500: 5e-4, 4000: (5e-4 + 1e-6) / 2}),
]


test_a_command_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "beit", "update")


def test_defaults_and_scaling_are_assumptions():
    assert from_config(VIDEOMAE, **MANY).assumptions == (
        "lr is 0.00015, the default of run_mae_pretraining.py.",
        "min_lr is 1e-05, the default of run_mae_pretraining.py.",
        "The rates are multiplied by 2: a batch of 512 instead of 256.",
    )
    recipe = from_config(BEIT_TUNED, **RUN)
    assert recipe.weight_decay == 0.05
    assert recipe.assumptions[-1].startswith("layer_decay multiplies the rate of each layer.")
    assert from_config(BEIT, **RUN).clip == 3.0


REFUSED = [
    (VIDEOMAE, {**RUN, "init_value": 1.0, "names": {"lr": 0}}, "lr must be a finite number above 0"),
    (CONVNEXT, {}, "give steps_per_epoch"),
    (CONVNEXT, {"steps_per_epoch": 3}, "steps_per_epoch must be a whole number of at least 1"),
    (VIDEOMAE, RUN, "lr is scaled by the global batch size: give num_processes, or init_value and lr"),
    (CONVNEXT.replace("convnext_tiny", "resnet50"), RUN, "of no known framework"),
    (BEIT.replace("150", "9"), RUN, "the warmup must be at most all 900 steps, got 1000"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)


def test_flags_of_an_unknown_script_name_the_scripts():
    with pytest.raises(ValueError, match="the flags do not tell the script: it must be one of run_beit"):
        from_config({"lr": 0.1, "epochs": 3}, framework="beit", **RUN)
