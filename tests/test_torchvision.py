"""The flags of torchvision's reference scripts, beside torch's schedulers as the scripts construct them."""

import numpy as np
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


MODELS = {
    "classification": "resnet50",
    "detection": "fasterrcnn_resnet50_fpn",
    "segmentation": "fcn_resnet50",
}


@recorded("torchvision")
def test_flags_give_the_curve_of_the_script(case):
    settings = dict(case["settings"])
    task, steps = settings.pop("task"), settings.pop("steps", None)
    recipe = from_config(
        {"model": MODELS[task], **settings}, framework="torchvision", steps_per_epoch=steps
    )
    unit = "epoch" if task == "classification" else "iteration"
    assert (recipe.unit, recipe.num_counts) == (unit, len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


RESNET50 = """
torchrun --nproc_per_node=8 train.py --model resnet50 --batch-size 128 --lr 0.5 \\
--lr-scheduler cosineannealinglr --lr-warmup-epochs 5 --lr-warmup-method linear \\
--auto-augment ta_wide --epochs 600 --random-erase 0.1 --weight-decay 0.00002 \\
--norm-weight-decay 0.0 --label-smoothing 0.1 --mixup-alpha 0.2 --cutmix-alpha 1.0 \\
--train-crop-size 176 --model-ema --val-resize-size 232 --ra-sampler --ra-reps 4
"""
MOBILENET_V2 = """
torchrun --nproc_per_node=8 train.py\\
     --model mobilenet_v2 --epochs 300 --lr 0.045 --wd 0.00004\\
     --lr-step-size 1 --lr-gamma 0.98
"""
VIT = """
torchrun --nproc_per_node=8 train.py\\
    --model vit_b_16 --epochs 300 --batch-size 512 --opt adamw --lr 0.003 --wd 0.3\\
    --lr-scheduler cosineannealinglr --lr-warmup-method linear --lr-warmup-epochs 30\\
    --lr-warmup-decay 0.033 --amp --label-smoothing 0.11 --mixup-alpha 0.2 --auto-augment ra\\
    --clip-grad-norm 1 --ra-sampler --cutmix-alpha 1.0 --model-ema
"""
FASTER_RCNN = """
torchrun --nproc_per_node=8 train.py\\
    --dataset coco --model fasterrcnn_resnet50_fpn --epochs 26\\
    --lr-steps 16 22 --aspect-ratio-group-factor 3 --weights-backbone ResNet50_Weights.IMAGENET1K_V1
"""
SSDLITE = """
torchrun --nproc_per_node=8 train.py\\
    --dataset coco --model ssdlite320_mobilenet_v3_large --epochs 660\\
    --aspect-ratio-group-factor 3 --lr-scheduler cosineannealinglr --lr 0.15 --batch-size 24\\
    --weight-decay 0.00004 --data-augmentation ssdlite
"""
FCN = """
torchrun --nproc_per_node=8 train.py --lr 0.02 --dataset coco -b 4 --model fcn_resnet50 --aux-loss
"""
L = {"steps_per_epoch": 7330}
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (RESNET50, {}, "epoch", 600, {0: 0.005, 5: 0.5}),
    (MOBILENET_V2, {}, "epoch", 300, {0: 0.045, 10: 0.045 * 0.98**10}),
    (VIT, {}, "epoch", 300, {0: 0.003 * 0.033, 30: 0.003, 165: 0.0015}),
    (
        FASTER_RCNN,
        L,
        "iteration",
        190_580,
        {0: 2e-5, 500: 0.01001, 1000: 0.02, 117_279: 0.02, 117_280: 2e-3},
    ),
    (SSDLITE, L, "iteration", 4_837_800, {0: 0.00015, 1000: 0.15, 2_418_900: 0.075}),
    (FCN, {"steps_per_epoch": 100}, "iteration", 3000, {0: 0.02, 1500: 0.02 * 0.5**0.9}),
]


test_a_command_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "torchvision")


def test_the_defaults_of_the_script_are_stated():
    assert from_config(FASTER_RCNN, **L).assumptions == (
        "The flags leave these to the defaults of the detection script: lr 0.02, lr_scheduler multisteplr.",
        "The first 1000 iterations are a warmup from 1/1000 of the rate.",
    )
    assert "lr_warmup_decay is 0.01, the default of the script." in from_config(RESNET50).assumptions
    recipe = from_config(FASTER_RCNN, 0.5, epochs=1, **L)
    assert (recipe.num_counts, recipe.schedule(1000)) == (7330, 0.5)


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(VIT)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adamw", 0.3, 1.0)


def test_the_auxiliary_classifier_has_ten_times_the_rate():
    recipe = from_config(FCN, group=2, steps_per_epoch=100)
    assert recipe.groups == ("backbone", "classifier", "aux_classifier")
    assert_close(recipe.schedule(np.asarray([0])), [0.2], HOST_RTOL)


TSM = "main.py something RGB --arch resnet50 --num_segments 8 --lr 0.01 --lr_steps 20 40 --epochs 50"
REFUSED = [
    (TSM, L, "the config is of no known framework"),
    ({"model": "pspnet", "lr": 0.01, "epochs": 50, "aux_loss": True}, L, "the config is of no known fra"),
    ({"lr": 0.01, "epochs": 50, "lr_steps": [20, 40]}, L, "the flags do not tell classification from det"),
    (FASTER_RCNN, {}, "give steps_per_epoch"),
    (FASTER_RCNN, {"steps_per_epoch": 1}, "steps_per_epoch must be above 1"),
    (RESNET50.replace("cosineannealinglr", "cosine"), {}, "must be one of 'steplr'.*, got 'cosine'"),
    (SSDLITE.replace("cosineannealinglr", "steplr"), L, "must be one of 'multisteplr'.*, got 'steplr'"),
    (RESNET50.replace("linear", "cosine"), {}, "lr_warmup_method must be one of 'linear', 'constant'"),
    (RESNET50.replace("--epochs 600", "--epochs 5"), {}, "lr_warmup_epochs must be below epochs"),
    (
        "train.py --lr-warmup-epochs 5 --lr-warmup-method linear",
        {},
        "do not tell classification from detec",
    ),
    (
        "train.py --model r2plus1d_18 --lr-milestones 20 30 --lr-warmup-method linear",
        {},
        "lr_milestones=.* not",
    ),
]


test_a_command_that_lacks_something_is_refused_by_name = refuses(REFUSED)
