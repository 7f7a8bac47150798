"""Configs of ESPnet, WeNet, FunASR and icefall, beside the curves of their own schedulers."""

import pickle

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close

from jaxlr.convert.lines import line_of


@recorded("espnet")
def test_a_config_gives_the_curve_of_its_scheduler(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.optimizer) == ("espnet", "adam")


@recorded("wenet")
def test_wenet_repeats_its_first_step(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert case["rates"][0] == case["rates"][1]
    assert (recipe.framework, recipe.unit) == ("wenet", "update")


@recorded("icefall")
def test_the_flags_of_icefall_give_the_curve_of_eden(case):
    recipe = from_config(case["settings"], steps_per_epoch=6)
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("icefall", "iteration", None)


E_BRANCHFORMER = """
# network architecture
encoder: e_branchformer
use_amp: true
batch_type: numel
batch_bins: 140000000
accum_grad: 4
max_epoch: 80
patience: none
init: none
best_model_criterion:
-   - valid
    - acc
    - max
keep_nbest_models: 10

optim: adam
optim_conf:
    lr: 0.002
    weight_decay: 0.000001
scheduler: warmuplr
scheduler_conf:
    warmup_steps: 40000
"""
TTS = """
grad_clip: 1.0
accum_grad: 2
max_epoch: 200
num_iters_per_epoch: 500
optim: adam
optim_conf:
    lr: 1.0
scheduler: noamlr
scheduler_conf:
    model_size: 512
    warmup_steps: 4000
"""
VITS = """
optim: adamw
optim_conf:
    lr: 2.0e-4
    betas: [0.8, 0.99]
    eps: 1.0e-9
    weight_decay: 0.0
scheduler: exponentiallr
scheduler_conf:
    gamma: 0.5
optim2: adamw
optim2_conf:
    lr: 4.0e-4
scheduler2: exponentiallr
scheduler2_conf:
    gamma: 0.25
generator_first: false # whether to start updating generator first
num_iters_per_epoch: 1000 # number of iterations per epoch
max_epoch: 1000           # number of epochs
grad_clip: -1             # gradient clipping norm
"""
ENHANCEMENT = """
max_epoch: 100
optim: adam
optim_conf:
    lr: 1.0e-03
scheduler: steplr
scheduler_conf:
    step_size: 2
    gamma: 0.98
"""
NO_SCHEDULER = "optim: adam\noptim_conf: {lr: 1e-3}\nmax_epoch: 9\n"
U2PP = """
dataset: asr
dataset_conf:
    filter_conf:
        max_length: 40960
    batch_conf:
        batch_type: 'static' # static or dynamic
        batch_size: 16

grad_clip: 5
accum_grad: 1
max_epoch: 360
log_interval: 100

optim: adam
optim_conf:
    lr: 0.001
scheduler: warmuplr     # pytorch v1.1.0+ required
scheduler_conf:
    warmup_steps: 25000
"""
PARAFORMER = """
train_conf:
  accum_grad: 1
  grad_clip: 5
  max_epoch: 150
  keep_nbest_models: 10
optim: adam
optim_conf:
   lr: 0.0005
scheduler: warmuplr
scheduler_conf:
   warmup_steps: 30000
dataset: AudioDataset
dataset_conf:
    batch_type: length
    batch_size: 25000
"""
COSY_VOICE = """
train_conf:
    optim: adam
    optim_conf:
        lr: 1e-5 # change to 1e-5 during sft
    scheduler: constantlr # change to constantlr during sft
    scheduler_conf:
        warmup_steps: 2500
    max_epoch: 200
    grad_clip: 5
    accum_grad: 2
"""
ZIPFORMER = """
export CUDA_VISIBLE_DEVICES="0,1,2,3"
./zipformer/train.py \\
  --world-size 4 \\
  --num-epochs 30 \\
  --start-epoch 1 \\
  --use-fp16 1 \\
  --base-lr 0.045 --lr-epochs 3.5 --lr-batches 7500 \\
  --exp-dir zipformer/exp \\
  --max-duration 1000
"""
LANGUAGE = """
optim: adam
optim_conf:
  lr: 0.000005
scheduler: tristagelr
scheduler_conf:
  max_steps: 30000
  warmup_ratio: 0.3
  hold_ratio: 0.2
  decay_ratio: 0.5
  init_lr_scale: 0.6
  final_lr_scale: 0.1
"""
DECAY = {"max_lr": 0.1, "min_lr": 5e-5, "total_steps": 140_720, "warmup_steps": 17_590}
SPEAKER = {"optim": "sgd", "optim_conf": {"lr": 0.1}, "scheduler": "ExponentialDecayWarmup"}
SPEAKER |= {"scheduler_conf": DECAY}
CONFIGS = [  # a config, other arguments, the framework, unit and num_counts, and rates by count
    (
        E_BRANCHFORMER,
        {"steps_per_epoch": 1001},
        "espnet",
        "update",
        20_000,
        {0: 5e-8, 39_999: 2e-3, 159_999: 1e-3},
    ),
    (TTS, {}, "espnet", "update", 50_000, {0: (512 * 4000**3) ** -0.5, 3999: (512 * 4000) ** -0.5}),
    (VITS, {}, "espnet", "epoch", 1000, {0: 2e-4, 3: 2.5e-5}),
    (VITS, {"group": 1}, "espnet", "epoch", 1000, {0: 4e-4, 3: 6.25e-6}),
    (ENHANCEMENT, {}, "espnet", "epoch", 100, {1: 1e-3, 2: 9.8e-4}),
    (NO_SCHEDULER, {"steps_per_epoch": 5}, "espnet", "update", 45, {0: 1e-3, 99: 1e-3}),
    (U2PP, {"epochs": 3}, "wenet", "update", None, {0: 4e-8, 1: 4e-8, 25_000: 1e-3, 100_000: 5e-4}),
    (PARAFORMER, {"steps_per_epoch": 7}, "espnet", "update", 1050, {0: 5e-4 / 30_000, 29_999: 5e-4}),
    (
        ZIPFORMER,
        {"steps_per_epoch": 7500},
        "icefall",
        "iteration",
        225_000,
        {0: 0.045 * 0.501 * (1 + 7500.0**-2) ** -0.25, 7499: 0.045 * 2**-0.25},
    ),
    (LANGUAGE, {}, "espnet", "update", None, {0: 3e-6 + 2e-6 / 9000, 14_999: 5e-6, 29_999: 5e-7}),
    (SPEAKER, {}, "espnet", "update", None, {0: 0.1, 17_590: 0.1, 79_155: 0.1 * 5e-4**0.5, 140_720: 5e-5}),
    (SPEAKER, {"init_value": 1.0}, "espnet", "update", None, {0: 1.0, 79_155: 5e-5**0.5}),
    (COSY_VOICE, {"init_value": 3.0}, "espnet", "update", None, {0: 3.0, 9999: 3.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS)


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(VITS)
    assert recipe.groups == ("optim", "optim2")
    assert (recipe.optimizer, recipe.momentum, recipe.weight_decay, recipe.clip) == (
        "adamw",
        0.8,
        0.0,
        None,
    )
    assert from_config(TTS).clip == 1.0
    assert from_config(TTS + "grad_clip_type: inf\n").clip is None


def test_the_plateau_has_the_settings_of_torch():
    plateau = {
        "scheduler": "reducelronplateau",
        "scheduler_conf": {"mode": "max", "factor": 0.5, "patience": 1},
    }
    recipe = from_config({"optim": "adadelta", "optim_conf": {"lr": 1.0}, "max_epoch": 20, **plateau})
    assert (recipe.unit, recipe.num_counts) == ("evaluation", 20)
    assert "mode='max'" in repr(recipe.schedule)
    assert recipe.assumptions == ("The plateau is stepped after each epoch, with val_scheduler_criterion.",)


def test_what_the_trainer_does_is_an_assumption():
    assert from_config(U2PP).assumptions == (
        "Updates 0 and 1 have the same rate: WeNet sets its scheduler back by a step at the start.",
    )
    assert from_config(PARAFORMER).assumptions == (
        "The run is one of FunASR's train_ds.py. Its train.py takes one more step after each epoch.",
    )
    assert from_config(LANGUAGE.replace("30000", "30001")).assumptions == (
        "The decay has 15001 updates, all that are left. Some versions of ESPnet count 15000.",
    )
    assert from_config(U2PP, framework="espnet").schedule(24_999) == 1e-3
    settings = {"optim": "adam", "optim_conf": {"lr": 1e-3}, "scheduler": "noamlr", "scheduler_conf": {}}
    assert from_config(settings).assumptions == (
        "model_size is 320, the default of ESPnet.",
        "warmup_steps is 25000, the default of ESPnet.",
    )


def test_the_assumptions_of_icefall_name_the_warmup_of_eden():
    assert from_config(ZIPFORMER, steps_per_epoch=9).assumptions == (
        "warmup_start is 0.5, the default of Eden.",
        "warmup_batches is 500, the default of Eden.",
        "Every epoch has 9 batches. With batches of one duration their number varies a little.",
    )
    schedule = from_config(ZIPFORMER, 1.0, steps_per_epoch=9, names={"warmup_start": 0.1}).schedule
    assert_close(schedule(0), 0.1018 * (1 + 7500.0**-2) ** -0.25, HOST_RTOL)


def test_the_older_scripts_of_icefall_have_no_warmup():
    recipe = from_config(ZIPFORMER.replace("--base-lr", "--initial-lr"), steps_per_epoch=9)
    assert recipe.assumptions[1] == "warmup_batches is 0, the default of the scripts with initial_lr."
    assert_close(recipe.schedule(0), 0.045 * (1 + 7500.0**-2) ** -0.25, HOST_RTOL)


def test_eden_pickles_and_is_no_line_of_public_functions():
    schedule = from_config(ZIPFORMER, steps_per_epoch=9).schedule
    assert pickle.loads(pickle.dumps(schedule))(20) == schedule(20)
    assert repr(schedule).startswith("eden(")
    with pytest.raises(ValueError, match="no public function of jaxlr makes this schedule"):
        line_of(schedule)


REFUSED = [
    (ZIPFORMER, "the config does not say how many batches an epoch has: give steps_per_epoch"),
    (ZIPFORMER.replace("--lr-batches 7500", ""), "the config has no lr_batches: give names="),
    (ZIPFORMER.replace("3.5", "0"), "lr_epochs must be above 0, got 0"),
    (ZIPFORMER + " --warmup-steps 200", "warmup_steps='200' is not supported: give it as names="),
    (ZIPFORMER + " --lr-hours 3", "lr_hours='3' is not supported: these scripts count hours"),
    (
        U2PP.replace("warmuplr", "NoamHoldAnnealing"),
        "scheduler must be one of 'warmuplr', got 'NoamHoldAnnealing'",
    ),
    (TTS.replace("noamlr", "lambdalr"), "scheduler must be one of 'warmuplr', 'noamlr', .*'lambdalr'"),
    (TTS.replace("noamlr", "warmupReducelronplateau"), "write reducelronplateau without warmup_steps"),
    ({**SPEAKER, "optim_conf": {"lr": 0.2}}, "max_lr is 0.1, but the warmup has the lr of optim_conf, 0.2"),
    (
        {**SPEAKER, "scheduler_conf": {**DECAY, "total_steps": 9}},
        "warmup_steps must be below total_steps, got 17590 and 9",
    ),
    (LANGUAGE.replace("0.5", "0.4"), "warmup_ratio, hold_ratio and decay_ratio must have the sum 1"),
    (
        LANGUAGE.replace("0.5", "0.0").replace("0.2", "0.7"),
        "tristagelr needs steps of its warmup and decay",
    ),
    (TTS.replace("lr: 1.0", "eps: 1.0"), "the config has no lr: give init_value"),
    (U2PP.replace("lr: 0.001", "lr: [0.001, 0.01]"), r"lr must be a number, got \[0.001, 0.01\]"),
    (TTS.replace("4000", "0"), "warmup_steps must be .*, got 0"),
    (
        TTS.replace("scheduler_conf:", "scheduler_conf: 3 #")
        .replace("    model", "#")
        .replace("    warm", "#"),
        "scheduler_conf must hold settings by name, got 3",
    ),
    (ENHANCEMENT.replace("step_size: 2", "size: 2"), "StepLR"),
    (
        {
            "optim_conf": {"lr": 1.0},
            "optim": "adam",
            "scheduler": "piecewiselinearwarmuplr",
            "scheduler_conf": {"warmup_steps_list": [1, 5], "warmup_lr_list": [0.0, 1.0]},
        },
        "warmup_steps_list must begin with 0",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
