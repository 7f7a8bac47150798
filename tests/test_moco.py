"""Flags of MoCo and SimSiam, beside the rates of their own functions."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("moco")
def test_flags_give_the_rates_of_their_script(case):
    recipe = from_config(case["settings"], steps_per_epoch=case["steps_per_epoch"], group=case["group"])
    assert (recipe.framework, recipe.num_counts) == ("moco", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


V1 = """
python main_moco.py \\
  -a resnet50 --lr 0.015 --batch-size 128 --moco-k 4096 --schedule 120 160 \\
  --dist-url 'tcp://localhost:10001' --multiprocessing-distributed --world-size 1 --rank 0 /data
"""
V2 = """
python main_moco.py --lr 0.03 --batch-size 256 --epochs 800 --mlp --moco-t 0.2 --aug-plus --cos \\
  --dist-url 'tcp://localhost:10001' --multiprocessing-distributed --world-size 1 --rank 0 /data
"""
SIMSIAM = """
python main_simsiam.py -a resnet50 --dist-url 'tcp://localhost:10001' --multiprocessing-distributed \\
  --world-size 1 --rank 0 --batch-size 512 --fix-pred-lr [your imagenet-folder with train and val folders]
"""
V3 = """
python main_moco.py --moco-m-cos --crop-min=.2 --dist-url 'tcp://[your first node]:[port]' --lr=.3 \\
  --wd=1.5e-6 --epochs=300 --batch-size 4096 --multiprocessing-distributed --world-size 2 --rank 0 /data
"""
VIT = """
python main_moco.py -a vit_small -b 1024 --optimizer=adamw --lr=1.5e-4 --weight-decay=.1 --epochs=300 \\
  --warmup-epochs=40 --stop-grad-conv1 --moco-m-cos --moco-t=.2 --multiprocessing-distributed /data
"""
CONFIGS = [  # a config, other arguments, the unit, num_counts, and rates by count
    (V1, {}, "epoch", 200, {119: 0.015, 120: 0.0015, 160: 0.00015}),
    (V2, {}, "epoch", 800, {0: 0.03, 400: 0.015}),
    (SIMSIAM, {}, "epoch", 100, {0: 0.1, 50: 0.05}),
    (SIMSIAM, {"group": 1}, "epoch", 100, {50: 0.1}),
    (V3, {"steps_per_epoch": 10}, "iteration", 3000, {0: 0, 50: 2.4, 100: 4.8, 1550: 2.4}),
    (
        VIT,
        {"steps_per_epoch": 10, "names": {"batch_size": 1024}},
        "iteration",
        3000,
        {200: 3e-4, 400: 6e-4, 1700: 3e-4},
    ),
]


test_a_command_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "moco")


def test_defaults_are_assumptions_and_the_optimizer_is_stated():
    assert from_config(SIMSIAM).assumptions == (
        "lr is 0.05, the default of main_simsiam.py.",
        "epochs is 100, the default of main_simsiam.py.",
        "The rate is 0.1: lr for a batch of 512 instead of 256.",
    )
    assert from_config(SIMSIAM).groups == ("encoder", "predictor")
    default = "--lr 0.1 --batch-size 256 --stop-grad-conv1 --epochs 4"
    assert from_config(default, steps_per_epoch=10).optimizer == "lars"
    recipe = from_config(VIT, 1e-3, steps_per_epoch=10)
    assert (recipe.optimizer, recipe.weight_decay, recipe.schedule(400)) == ("adamw", 0.1, 1e-3)


REFUSED = [
    (VIT, {"steps_per_epoch": 10}, "give names={'batch_size': ...}, or init_value"),
    (V3, {}, "give steps_per_epoch"),
    (V1, {"group": 1}, "group must be 0"),
    (V1.replace("120 160", "x"), {}, "schedule must be a number, got 'x'"),
    ("python main.py -a resnet50 --lr 0.1 --schedule 120 160", {}, "of no known framework"),
]


test_a_command_that_lacks_something_is_refused_by_name = refuses(REFUSED)
