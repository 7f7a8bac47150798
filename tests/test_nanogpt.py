"""Configs of nanoGPT, beside the curves of its own `get_lr`."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("nanogpt")
def test_the_settings_give_the_curve_of_get_lr(case):
    recipe = from_config(case["settings"], version=case["version"])
    assert_has_rates(recipe.schedule, case["rates"])


def test_the_first_iteration_is_not_at_zero_since_december_2024():
    settings = {"learning_rate": 1.0, "warmup_iters": 3, "lr_decay_iters": 9, "min_lr": 0.1}
    recipe = from_config(settings)
    assert [recipe.schedule(step) for step in (0, 1, 3, 9, 99)] == [0.25, 0.5, 1.0, 0.1, 0.1]
    assert recipe.assumptions[0].startswith("Iteration k of the warmup has (k + 1) / (warmup_iters + 1)")
    before = from_config(settings, version="2023")
    assert (before.schedule(0), before.schedule(3), before.assumptions) == (0.0, 1.0, ())


SHAKESPEARE_CHAR = """
# train a miniature character-level shakespeare model
out_dir = 'out-shakespeare-char'
eval_interval = 250 # keep frequent because we'll overfit
gradient_accumulation_steps = 1
batch_size = 64
learning_rate = 1e-3 # with baby networks can afford to go a bit higher
max_iters = 5000
lr_decay_iters = 5000 # make equal to max_iters usually
min_lr = 1e-4 # learning_rate / 10 usually
beta2 = 0.99 # make a bit bigger because number of tokens per iter is small
warmup_iters = 100 # not super necessary potentially
"""
GPT2 = """
wandb_run_name='gpt2-124M'
batch_size = 12
gradient_accumulation_steps = 5 * 8
max_iters = 600000
lr_decay_iters = 600000
eval_interval = 1000
weight_decay = 1e-1
"""
FINE_TUNING = """
import time
wandb_run_name = 'ft-' + str(time.time())
gradient_accumulation_steps = 32
max_iters = 20
# finetune at constant LR
learning_rate = 3e-5
decay_lr = False
"""
FLAGS = "python train.py --learning_rate=1e-3 --max_iters=2000 --lr_decay_iters=2000 --warmup_iters=0"
FROM_DICT = {"learning_rate": "3e-4", "lr_decay_iters": 110, "warmup_iters": 10, "min_lr": 0.0}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (SHAKESPEARE_CHAR, {}, 5001, {0: 1e-3 / 101, 100: 1e-3, 2550: 5.5e-4, 5000: 1e-4}),
    (GPT2, {"version": "2023"}, 600_001, {0: 0.0, 1000: 3e-4, 301_000: 3.3e-4, 600_000: 6e-5}),
    (FINE_TUNING, {}, 21, {0: 3e-5, 20: 3e-5}),
    (FLAGS, {"names": {"min_lr": 0}}, 2001, {0: 1e-3, 1000: 5e-4}),
    (FROM_DICT, {"init_value": 1.0}, None, {60: 0.5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "nanogpt", "update")


def test_every_default_is_an_assumption():
    assert from_config(GPT2, version="2023").assumptions == (
        "learning_rate is 0.0006, the default of train.py.",
        "max_iters is the last iteration: the loop of train.py runs it too.",
        "warmup_iters is 2000, the default of train.py.",
        "min_lr is 6e-05, the default of train.py.",
    )


def test_the_weight_decay_and_the_clipping_are_stated():
    recipe = from_config(GPT2 + "grad_clip = 1.0\nbeta1 = 0.9\n")
    assert (recipe.weight_decay, recipe.clip, recipe.momentum) == (0.1, 1.0, 0.9)


REFUSED = [
    ({"learning_rate": 1e-3, "warmup_iters": 500, "epochs": 10}, "the config is of no known framework"),
    (
        {"learning_rate": 1, "warmup_iters": 9, "lr_decay_iters": 9},
        "lr_decay_iters must be above warmup_iters",
    ),
    (
        {"learning_rate": "auto", "decay_lr": False},
        "learning_rate must be a number, got 'auto': give names=",
    ),
    ({"learning_rate": 1, "decay_lr": "maybe"}, "decay_lr must be true or false, got 'maybe'"),
    (
        "decay_lr = True\nlearning_rate = lr()\n",
        r"learning_rate is 'lr\(\)', which has no value in the config",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
