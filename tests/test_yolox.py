"""Experiments of YOLOX, beside the curves of its own scheduler."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("yolox")
def test_settings_give_the_rates_of_the_scheduler(case):
    recipe = from_config(case["settings"], steps_per_epoch=case["steps_per_epoch"])
    assert (recipe.framework, recipe.num_counts) == ("yolox", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


YOLOX_S = """
#!/usr/bin/env python3
# Copyright (c) Megvii, Inc. and its affiliates.

import os

from yolox.exp import Exp as MyExp


class Exp(MyExp):
    def __init__(self):
        super(Exp, self).__init__()
        self.depth = 0.33
        self.width = 0.50
        self.exp_name = os.path.split(os.path.realpath(__file__))[1].split(".")[0]
"""
CUSTOM = (
    YOLOX_S
    + """
        # Define yourself dataset path
        self.data_dir = "datasets/coco128"
        self.num_classes = 71

        self.max_epoch = 100
        self.no_aug_epochs = 10
        self.warmup_epochs = 2
        self.data_num_workers = 4
        self.eval_interval = 1

    def get_data_loader(self, batch_size, is_distributed, no_aug=False):
        self.max_epoch = 7
        return None
"""
)
BYTETRACK = """
class Exp(MyExp):
    def __init__(self):
        super(Exp, self).__init__()
        self.num_classes = 1
        self.test_size = (800, 1440)
        self.max_epoch = 80
        self.basic_lr_per_img = 0.001 / 64.0
        self.warmup_epochs = 1
        self.no_aug_epochs = 10
        self.momentum = 0.9
        self.weight_decay = 5e-4
"""
SEVERAL = CUSTOM.replace("max_epoch = 100", "max_epoch = 50").replace(
    "no_aug_epochs = 10", "no_aug_epochs = 0"
)
DICT = {
    "basic_lr_per_img": 1e-4,
    "scheduler": "warmcos",
    "max_epoch": 12,
    "warmup_epochs": 2,
    "warmup_lr": 0,
}
BATCH = {"names": {"batch_size": 64}, "steps_per_epoch": 100}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (YOLOX_S, BATCH, 30_000, {0: 0, 250: 0.0025, 500: 0.01, 14_500: 0.00525, 28_500: 0.0005}),
    (CUSTOM, BATCH, 10_000, {100: 0.0025, 200: 0.01, 9000: 0.0005}),
    (SEVERAL, BATCH, 5000, {200: 0.01, 2600: 0.00525}),
    (BYTETRACK, BATCH, 8000, {50: 0.00025, 100: 0.001, 7999: 0.00005}),
    (BYTETRACK, {"init_value": 1.0, "steps_per_epoch": 100, "epochs": 40}, 4000, {100: 1.0, 3000: 0.05}),
    (DICT, BATCH, 1200, {100: 0.0032, 200: 0.0064, 700: 0.0032}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "yolox", "iteration")


def test_an_experiment_is_read_from_its_file(tmp_path):
    path = tmp_path / "yolox_s.py"
    path.write_text(YOLOX_S)
    recipe = from_config(path, **BATCH)
    assert recipe.assumptions == (
        "max_epoch is 300, the default of YOLOX.",
        "scheduler is yoloxwarmcos, the default of YOLOX.",
        "warmup_epochs is 5, the default of YOLOX.",
        "warmup_lr is 0.0, the default of YOLOX.",
        "basic_lr_per_img is 0.00015625, the default of YOLOX.",
        "min_lr_ratio is 0.05, the default of YOLOX.",
        "no_aug_epochs is 15, the default of YOLOX.",
    )
    recipe = from_config(BYTETRACK, **BATCH)
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("SGD", 0.9, 5e-4)


REFUSED = [
    (YOLOX_S, {"steps_per_epoch": 9}, "give names={'batch_size': ...}, or init_value, the product"),
    (
        CUSTOM.replace("get_data_loader", "get_lr_scheduler"),
        BATCH,
        "get_lr_scheduler=True is not supported",
    ),
    (YOLOX_S, {"names": {"batch_size": 64}}, "give steps_per_epoch"),
    ({**DICT, "scheduler": "multistep"}, BATCH, "scheduler must be one of .*, got 'multistep'"),
    (CUSTOM.replace("epochs = 10", "epochs = 98"), BATCH, "no_aug_epochs must be below 98, got 98"),
    (
        CUSTOM.replace("epochs = 2", "epochs = 100"),
        BATCH,
        "warmup_epochs must be below max_epoch, got 100 and",
    ),
    (CUSTOM.replace("= 100", "= epochs"), BATCH, "max_epoch is 'epochs', which has no value in the config"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
