"""Flags of DETR, and configs of RT-DETR, D-FINE and DEIM, beside the curves of their own code."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("detr")
def test_a_yaml_gives_the_rates_of_its_framework(case):
    recipe = from_config(case["settings"], steps_per_epoch=case["steps_per_epoch"])
    assert (recipe.framework, recipe.num_counts) == ("detr", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


DETR = """
python -m torch.distributed.launch --nproc_per_node=8 --use_env main.py --coco_path /path/to/coco \\
  --lr 1e-4 --lr_backbone 1e-5 --epochs 300 --lr_drop 200 --weight_decay 1e-4 --clip_max_norm 0.1
"""
FINE_TUNING = """
python main.py --dataset_file your_dataset --coco_path data --epochs 50 --lr=1e-4 --batch_size=2 \\
  --num_workers=4 --output_dir="outputs" --lr_drop 20 --resume="detr-r50_no-class-head.pth"
"""
DEFORMABLE = """
GPUS_PER_NODE=8 ./tools/run_dist_launch.sh 8 python -u main.py --output_dir exps --with_box_refine \\
  --two_stage --lr 2e-4 --lr_backbone 2e-5 --lr_linear_proj_mult 0.1 --epochs 50 --lr_drop 40 --sgd
"""
DINO = """
num_classes=91
lr = 0.0001
param_dict_type = 'default'
lr_backbone = 1e-05
lr_backbone_names = ['backbone.0']
batch_size = 2
weight_decay = 0.0001
epochs = 36
lr_drop = 11
clip_max_norm = 0.1
onecyclelr = False
multi_step_lr = True
lr_drop_list = [27, 33]
modelname = 'dino'
"""
RT_DETR = """
use_ema: True
epoches: 72
clip_max_norm: 0.1
optimizer:
  type: AdamW
  params:
    - params: '^(?=.*backbone)(?!.*norm).*$'
      lr: 0.00001
    - params: '^(?=.*(?:encoder|decoder))(?=.*(?:norm|bn)).*$'
      weight_decay: 0.
  lr: 0.0001
  betas: [0.9, 0.999]
  weight_decay: 0.0001
lr_scheduler:
  type: MultiStepLR
  milestones: [40, 60]
  gamma: 0.1
lr_warmup_scheduler:
  type: LinearWarmup
  warmup_duration: 2000
"""
DEIM = (
    RT_DETR
    + """
lrsheduler: flatcosine
lr_gamma: 0.5
warmup_iter: 2000
flat_epoch: 40
no_aug_epoch: 8
"""
)
BATCH = {"steps_per_epoch": 1000}
CONFIGS = [  # a config, other arguments, the unit, num_counts, and rates by count
    (DETR, {}, "epoch", 300, {0: 1e-4, 199: 1e-4, 200: 1e-5}),
    (DETR, {"group": 1}, "epoch", 300, {0: 1e-5, 200: 1e-6}),
    (FINE_TUNING, {}, "epoch", 50, {19: 1e-4, 20: 1e-5, 40: 1e-6}),
    (DEFORMABLE, {"group": 2}, "epoch", 50, {0: 2e-5, 40: 2e-6}),
    (DINO, {}, "epoch", 36, {26: 1e-4, 27: 1e-5, 33: 1e-6}),
    (RT_DETR, BATCH, "iteration", 72_000, {0: 5e-8, 1999: 1e-4, 40_999: 1e-4, 41_000: 1e-5}),
    (RT_DETR, {**BATCH, "group": 1}, "iteration", 72_000, {2000: 1e-5, 41_000: 1e-6}),
    (RT_DETR.replace("epoches", "epochs"), BATCH, "iteration", 72_000, {61_000: 1e-6}),
    (DEIM, BATCH, "iteration", 72_000, {0: 5e-8, 1: 0, 1001: 2.5e-5, 52_001: 0.75e-4, 64_001: 0.5e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "detr")


def test_the_groups_and_the_optimizer_are_stated():
    recipe = from_config(DEFORMABLE)
    assert recipe.groups == ("weights", "backbone", "linear_proj")
    assert (recipe.optimizer, recipe.momentum) == ("sgd", 0.9)
    assert from_config(RT_DETR.replace("[0.9, 0.999]", "[]"), **BATCH).momentum is None
    recipe = from_config(RT_DETR, group=2, steps_per_epoch=1000)
    assert recipe.groups[0] == "the others"
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.clip) == ("AdamW", 0.9, 0, 0.1)
    assert recipe.assumptions == (
        "The milestones come later by 1, because the scheduler waits for the warmup.",
    )


def test_included_files_are_merged(tmp_path):
    (tmp_path / "base").mkdir()
    (tmp_path / "base/optimizer.yml").write_text(RT_DETR)
    own = "__include__: ['base/optimizer.yml']\noptimizer:\n  lr: 0.0002\nepoches: 120\n"
    path = tmp_path / "rtdetr.yml"
    path.write_text(own)
    recipe = from_config(path, steps_per_epoch=1000)
    assert (recipe.framework, recipe.num_counts, recipe.schedule(2000)) == ("detr", 120_000, 2e-4)
    with pytest.raises(ValueError, match="the config has an __include__: give the path of its file"):
        from_config(own, steps_per_epoch=1000)


def test_a_flag_of_another_program_is_not_enough():
    with pytest.raises(ValueError, match="of no known framework"):
        from_config("python baseline.py --lr 0.1 --lr_drop 1 --lr_drop_in_epoch 50 --epochs 100")


REFUSED = [
    (DETR.replace("--lr 1e-4", ""), {}, "the config has no lr: give init_value"),
    (DETR.replace("--epochs 300", ""), {}, "the config has no epochs: give epochs"),
    (
        DETR + " --lr_drop_gamma 0.5",
        {},
        "lr_drop_gamma='0.5' is not supported: the scripts of DETR lack it",
    ),
    (DETR, {"group": 2}, "group must be one of 0 .weights., 1 .backbone., got 2"),
    (DINO.replace("onecyclelr = False", "onecyclelr = True"), {}, "onecyclelr=True is not supported"),
    (RT_DETR, {}, "give steps_per_epoch"),
    (
        RT_DETR.replace("MultiStepLR", "OneCycleLR"),
        BATCH,
        "type of lr_scheduler must be one of 'MultiStepLR'",
    ),
    (RT_DETR.replace("LinearWarmup", "Other"), BATCH, "type of lr_warmup_scheduler must be one of"),
    (DEIM.replace("warmup_iter: 2000", "warmup_iter: 0"), BATCH, "warmup_iter must be a whole number"),
    (DEIM.replace("flatcosine", "flat"), BATCH, "lrsheduler must be one of 'flatcosine', got 'flat'"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
