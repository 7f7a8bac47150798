"""The schedules of Ultralytics, beside rates that were evaluated from the rules in its source."""

import numpy as np
import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import assert_close
from log_files import ultralytics_rates


@recorded("ultralytics")
def test_an_args_file_gives_the_rates_of_its_version(case):
    arguments = {name: case[name] for name in ("version", "steps_per_epoch", "group")}
    recipe = from_config(case["settings"], **arguments)
    assert (recipe.framework, recipe.num_counts) == ("ultralytics", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


ARGS = """
task: detect
mode: train
epochs: 15
time: null
batch: 16
optimizer: auto
cos_lr: false
amp: true
lr0: 0.01
lrf: 0.01
momentum: 0.937
warmup_epochs: 3.0
warmup_momentum: 0.8
warmup_bias_lr: 0.1
nbs: 64
"""
YOLOV5 = "lr0: 0.01  # initial rate\nlrf: 0.1\nmomentum: 0.937\nwarmup_epochs: 3.0\nwarmup_bias_lr: 0.1\n"
JSON = '{"lr0": 1e-3, "lrf": 0.5, "epochs": 4, "warmup_epochs": 0, "cos_lr": true, "optimizer": "AdamW"}'
FLAGS = [
    "yolo",
    "train",
    "data=coco8.yaml",
    "epochs=10",
    "lr0=0.02",
    "lrf=0.1",
    "warmup_epochs=1",
    "optimizer=SGD",
]
COMMAND = "!yolo task=detect mode=train model=yolov8s.pt data=data.yaml epochs=100 lr0=0.02 optimizer=SGD"
SCRIPT = """
from ultralytics import YOLO
EPOCHS = 100
model = YOLO("yolo11n.pt")
model.train(data="coco8.yaml", epochs=EPOCHS, imgsz=640,
            lr0=0.02, optimizer="SGD")
metrics = model.val()
"""
MAPPING = {"lr0": 0.01, "lrf": 0.01, "epochs": 100, "warmup_epochs": 3, "optimizer": "SGD"}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (
        ARGS,
        {"steps_per_epoch": 40, "names": {"nc": 80}},
        600,
        {0: 0.0, 120: 0.000119 * (1 - 0.99 * 3 / 15)},
    ),
    (ARGS, {"steps_per_epoch": 40, "init_value": 0.5}, 600, {120: 0.5 * (1 - 0.99 * 3 / 15)}),
    (COMMAND, {"steps_per_epoch": 50}, 5000, {75: 0.01 * 0.9901, 4999: 0.000398}),
    (SCRIPT, {"steps_per_epoch": 50}, 5000, {75: 0.01 * 0.9901, 4999: 0.000398}),
    (
        YOLOV5,
        {"steps_per_epoch": 10, "epochs": 100, "version": "7.0"},
        1000,
        {50: 0.005 * 0.955, 100: 0.0091},
    ),
    (JSON, {"steps_per_epoch": 10}, 40, {0: 1e-3, 9: 1e-3, 20: 0.75e-3}),
    (FLAGS, {"steps_per_epoch": 10}, 100, {5: 0.01, 10: 0.02 * 0.91}),
    (MAPPING, {"steps_per_epoch": 50, "group": 2}, 5000, {0: 0.0 + 0.1, 150: 0.01 * (1 - 0.99 * 0.03)}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "ultralytics", "iteration")


def test_the_rule_of_the_warmup_is_stated_where_versions_differ():
    recipe = from_config({**MAPPING, "epochs": 5}, steps_per_epoch=4)
    assert recipe.assumptions[0] == (
        "The warmup has 12 iterations, as in ultralytics 8.4; in earlier versions it had 100."
    )


HYP = """
lr0: 0.01  # initial learning rate (SGD=1E-2, Adam=1E-3)
lrf: 0.1  # final OneCycleLR learning rate (lr0 * lrf)
momentum: 0.937  # SGD momentum/Adam beta1
weight_decay: 0.0005  # optimizer weight decay 5e-4
warmup_epochs: 3.0  # warmup epochs (fractions ok)
warmup_momentum: 0.8  # warmup initial momentum
warmup_bias_lr: 0.1  # warmup initial bias lr
box: 0.05  # box loss gain
cls: 0.5  # cls loss gain
cls_pw: 1.0  # cls BCELoss positive_weight
obj: 1.0  # obj loss gain (scale with pixels)
anchor_t: 4.0  # anchor-multiple threshold
fl_gamma: 0.0  # focal loss gamma (efficientDet default gamma=1.5)
"""


def test_the_rules_of_yolov5_are_those_of_its_version():
    """The formulas of train.py: in 6.0 a cosine or `1 - x / (epochs - 1)`, and `max(..., 1000)`.

    After the warmup the scheduler is an epoch late, because it steps at the end of an epoch.
    """
    run = {"epochs": 50, "steps_per_epoch": 100}
    rates = {
        version: from_config(HYP, version=version, **run).schedule for version in ("6.0", "6.1", "7.0")
    }
    cosine, line = 1 - 0.9 * (1 - np.cos(np.pi * 19 / 50)) / 2, 1 - 0.9 * 19 / 50
    assert_close(
        [rates[v](2000) for v in ("6.0", "6.1", "7.0")], [0.01 * cosine, 0.01 * line, 0.01 * line], 1e-12
    )
    assert_close(
        [rates[v](500) / 0.01 for v in ("6.1", "7.0")], [0.5 * (1 - 0.9 * 5 / 50), 1 - 0.9 * 4 / 50], 1e-12
    )
    linear = from_config(HYP, version="6.0", names={"linear_lr": True}, **run)
    assert_close(linear.schedule(2000), 0.01 * (1 - 0.9 * 19 / 49), 1e-12)
    assert_close(linear.schedule(4999), 0.01 * (1 - 0.9 * 48 / 49), 1e-12)
    biases = from_config(HYP, version="6.0", names={"linear_lr": True}, group=2, **run)
    assert_close(biases.schedule(4999), 0.01 * (1 - 0.9 * 48 / 49), 1e-12)
    assert_close(biases.schedule(500), 0.05 + 0.005 * (1 - 0.9 * 5 / 49), 1e-12)


def test_a_file_of_yolov5_has_the_rules_of_7_0():
    recipe = from_config(HYP, epochs=5, steps_per_epoch=10)
    assert recipe.version == "7.0"
    assert "The rules are those of YOLOv5 7.0" in recipe.assumptions[0]
    assert recipe.schedule(25) == 0.01 * 0.25 * (1 - 0.9 * 2 / 5)
    assert from_config(HYP.replace("3.0", "0"), epochs=50, steps_per_epoch=10).schedule(0) == 0.0
    with pytest.raises(ValueError, match=r"YOLOv5 before 6\.1 has no cos_lr"):
        from_config({**MAPPING, "cos_lr": False}, steps_per_epoch=10, version="6.0")
    with pytest.raises(ValueError, match=r"YOLOv5 before 3\.1 has no lrf"):
        from_config(HYP, epochs=5, steps_per_epoch=10, version="2.0")


YOLOV7 = HYP.replace("0.5  # cls", "0.3  # cls") + "paste_in: 0.15\nloss_ota: 1 # use ComputeLossOTA\n"
YOLOV6 = """
# YOLOv6s model
model = dict(
    type='YOLOv6s',
    head=dict(anchors_init=[[10,13, 19,19, 33,23]], strides=[8, 16, 32]),
)

solver = dict(
    optim='SGD',
    lr_scheduler='Cosine',
    lr0=0.01,
    lrf=0.1,
    momentum=0.937,
    weight_decay=0.0005,
    warmup_epochs=3.0,
    warmup_momentum=0.8,
    warmup_bias_lr=0.1
)

data_aug = dict(
    hsv_h=0.015,
    mosaic=1.0,
)
"""
OPT = """
weights: yolov5s.pt
cfg: ''
data: data/coco128.yaml
hyp:
  lr0: 0.01
  lrf: 0.1
  momentum: 0.937
  weight_decay: 0.0005
  warmup_epochs: 3.0
  warmup_momentum: 0.8
  warmup_bias_lr: 0.1
  anchor_t: 4.0
epochs: 50
batch_size: 16
optimizer: SGD
cos_lr: true
"""


def test_the_files_of_other_versions_of_yolo_have_their_rules():
    """YOLOv7 and YOLOv6 have the rules of YOLOv5 6.0, and an `opt.yaml` holds the epochs and `cos_lr`."""
    run = {"epochs": 50, "steps_per_epoch": 100}
    expected = from_config(HYP, version="6.0", **run).schedule
    for config, sentence in ((YOLOV7, "those of YOLOv7"), (YOLOV6, "those of YOLOv6")):
        recipe = from_config(config, **run)
        assert [recipe.schedule(n) for n in range(0, 5000, 99)] == [expected(n) for n in range(0, 5000, 99)]
        assert sentence in recipe.assumptions[0]
        assert recipe.version is None
    linear = from_config(YOLOV7, names={"linear_lr": True}, **run)
    assert_close(linear.schedule(2000), 0.01 * (1 - 0.9 * 19 / 49), 1e-12)
    recipe = from_config(OPT, steps_per_epoch=100)
    cosine = from_config(HYP + "cos_lr: true\n", **run).schedule
    assert (recipe.num_counts, recipe.optimizer, recipe.schedule(2000)) == (5000, "SGD", cosine(2000))
    fixed = from_config({**MAPPING, "fixed_lr": True}, steps_per_epoch=50)
    assert fixed.schedule(4999) == 0.01


def test_the_rates_of_a_run_agree_with_its_results_csv():
    """The bias and weight rates at the end of its first epoch: 2 epochs of 34 batches, ultralytics 8.3."""
    config = {"lr0": 0.01, "lrf": 0.01, "epochs": 2, "warmup_epochs": 3.0, "warmup_bias_lr": 0.1}
    for group, rate in ((2, 0.070882), (0, 0.0032353)):
        recipe = from_config(config, steps_per_epoch=34, version="8.3.200", group=group)
        assert_close(recipe.schedule(33), rate, 1e-5)


REFUSED = [
    (COMMAND + " cfg=my.yaml", {}, "cfg='my.yaml' is not supported: give the settings of this file"),
    ("main.py --model yolo --mode train --lr 0.1 --epochs 3", {}, "the config is of no known framework"),
    ("net = YOLOv3(20)\ntrain(net, epochs=100)\n", {}, "the config is of no known framework"),
    ("net = YOLO(20)\nnet.train(mode=True)\n", {}, "the config is of no known framework"),
    ('YOLO("last.pt").train(resume=True)\n', {}, "resume=True is not supported: give the args.yaml of"),
    ("yolo mode=val model=yolov8s.pt data=data.yaml", {}, "the config is of no known framework"),
    (SCRIPT + "model.train(data='b.yaml', epochs=5)", {}, "the text has 2 calls of train: give the one"),
    ({**MAPPING, "optimizer": "auto", "batch": -1}, {"steps_per_epoch": 3}, "batch lets Ultralytics"),
    (MAPPING, {}, "give steps_per_epoch"),
    (YOLOV5, {"steps_per_epoch": 10}, "the config has no epochs: give epochs"),
    (
        ARGS,
        {"steps_per_epoch": 40},
        r"ignores lr0, and its rate depends on .* classes: give names=\{'nc': \.\.\.\}",
    ),
    (
        {**MAPPING, "optimizer": "auto", "batch": 48, "epochs": 4000},
        {"steps_per_epoch": 3},
        "give names={'num_examples'",
    ),
    (
        {**MAPPING, "time": 3},
        {"steps_per_epoch": 9},
        "time=3 is not supported: a run that ends by the clock",
    ),
    (
        MAPPING,
        {"steps_per_epoch": 9, "group": 3},
        "group must be one of 0 .weights., 1 .norms., 2 .biases., got 3",
    ),
    ({"lr0": 0.1, "epochs": 5}, {"steps_per_epoch": 9}, "the config has no lrf: give names="),
    (YOLOV6, {"steps_per_epoch": 9}, "the config has no epochs: give epochs"),
    (
        YOLOV6.replace("Cosine", "Linear"),
        {"steps_per_epoch": 9, "epochs": 9},
        "lr_scheduler must be one of 'Cosine', 'Constant', got 'Linear'",
    ),
    ({**MAPPING, "flat_cos_lr": True}, {"steps_per_epoch": 9}, "flat_cos_lr=True is not supported: write"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)


@pytest.mark.parametrize("cos_lr", [False, True])
@pytest.mark.parametrize(("group", "start"), [(0, 0.0), (2, 0.1)])
@pytest.mark.parametrize(
    ("epochs", "steps", "warmup_epochs"), [(12, 34, 3.0), (9, 7, 3.0), (5, 50, 2.0), (4, 60, 0.0)]
)
def test_the_decay_of_older_versions_is_an_epoch_late(epochs, steps, warmup_epochs, group, start, cos_lr):
    config = {"lr0": 0.01, "lrf": 0.1, "epochs": epochs, "warmup_epochs": warmup_epochs, "cos_lr": cos_lr}
    config |= {"optimizer": "SGD", "warmup_bias_lr": 0.1}
    at_least = max(round(warmup_epochs * steps), 100)
    # YOLOv5 always has a warmup.
    for version, warmup in (("8.1.41", at_least if warmup_epochs else -1), ("7.0", at_least)):
        recipe = from_config(config, steps_per_epoch=steps, group=group, version=version)
        rates = ultralytics_rates(0.01, 0.1, epochs, steps, warmup, start, is_late=True, is_cosine=cos_lr)
        assert_has_rates(recipe.schedule, rates.tolist())
