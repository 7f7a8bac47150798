"""Configs of SpeechBrain, beside the curves of its own schedulers."""

from typing import Any

import pytest
from framework_files import RECORDED, assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import DEVICE_RTOL, assert_close

import jaxlr
from jaxlr.convert.lines import line_of


@recorded("speechbrain")
def test_a_config_gives_the_curve_of_its_scheduler(case):
    recipe = from_config(case["settings"])
    assert recipe.framework == "speechbrain"
    if "metrics" in case:
        assert_close(stepped(recipe.schedule, case["metrics"]), case["rates"], DEVICE_RTOL)
    elif case["call"] == "LinearScheduler":  # which rounds its values to float32
        assert_close([recipe.schedule(count) for count in range(20)], case["rates"], DEVICE_RTOL)
    else:
        assert_has_rates(recipe.schedule, case["rates"])


def stepped(plateau: Any, metrics: list[float]) -> list[float]:
    state, rates = plateau.init({}), list[float]()
    for metric in metrics:
        rates.append(float(jaxlr.plateau_lr(state)))
        state = jaxlr.plateau_step(state, metric)
    return rates


def test_newbob_is_a_plateau_for_the_other_functions():
    case = next(case for case in RECORDED["speechbrain"] if case["call"] == "NewBobScheduler")
    plateau = from_config(case["settings"], 2.0).schedule
    state = jaxlr.set_plateau_lr(plateau.init({}), 0.5)
    assert float(jaxlr.plateau_lr(state)) == 0.5
    with pytest.raises(ValueError, match="no public function of jaxlr makes this plateau"):
        line_of(plateau)


CONFORMER = """
# Feature parameters
seed: 7775
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
output_folder: !ref results/conformer_small/<seed>
data_folder: !PLACEHOLDER

number_of_epochs: 110
lr_adam: 0.001
max_grad_norm: 5.0
n_warmup: 25000

Adam: !name:torch.optim.AdamW
    lr: !ref <lr_adam>
    betas: (0.9, 0.98)
    eps: 0.000000001

epoch_counter: !new:speechbrain.utils.epoch_loop.EpochCounter
    limit: !ref <number_of_epochs>

noam_annealing: !new:speechbrain.nnet.schedulers.NoamScheduler
    lr_initial: !ref <lr_adam>
    n_warmup_steps: !ref <n_warmup> * 2
"""
ECAPA = """
number_of_epochs: 20
lr: 1e-3
lr_final: 0.0001
opt_class: !name:torch.optim.Adam
    lr: !ref <lr>
lr_annealing: !new:speechbrain.nnet.schedulers.LinearScheduler
    initial_value: !ref <lr>
    final_value: !ref <lr_final>
    epoch_count: !ref <number_of_epochs>
"""
WAV2VEC = """
lr: 1.0
lr_wav2vec: 0.0001
lr_annealing_model: !new:speechbrain.nnet.schedulers.NewBobScheduler
    initial_value: !ref <lr>
    improvement_threshold: 0.0025
    annealing_factor: 0.8
    patient: 0
lr_annealing_wav2vec: !new:speechbrain.nnet.schedulers.NewBobScheduler
    initial_value: !ref <lr_wav2vec>
    improvement_threshold: 0.0025
    annealing_factor: 0.9
"""
STEP = """
lr: 0.4
scheduler: !new:speechbrain.nnet.schedulers.StepScheduler
    initial_value: !ref <lr>
    decay_factor: 0.5
    decay_drop: 4
"""
SEPARATION = """
lr_scheduler: !new:speechbrain.nnet.schedulers.ReduceLROnPlateau
    factor: 0.5
    patience: 2
    dont_halve_until_epoch: 65
"""
ECAPA_OF_VOXCELEB = """
lr: 0.001
base_lr: 0.00000001
step_size: 100
opt_class: !name:torch.optim.Adam
    lr: !ref <lr>
lr_annealing: !new:speechbrain.nnet.schedulers.CyclicLRScheduler
    base_lr: !ref <base_lr>
    max_lr: !ref <lr>
    step_size: !ref <step_size>
"""
TRANSDUCER = """
opt_class: !name:torch.optim.AdamW
    lr: 0.5
noam_annealing: !new:speechbrain.nnet.schedulers.WarmAndExpDecayLRSchedule
    lr: 1.0
    n_warmup_steps: 4
    total_steps: 24
    decay_factor: 0.01
"""
CONFIGS = [  # a config, other arguments, its unit and num_counts, and rates by count
    (CONFORMER, {}, "update", None, {0: 1e-3, 1: 2e-8, 25_000: 5e-4, 50_000: 1e-3, 200_000: 5e-4}),
    (CONFORMER, {"init_value": 3.0}, "update", None, {0: 3.0, 50_000: 3.0}),
    (CONFORMER, {"steps_per_epoch": 7}, "update", 770, {0: 1e-3}),
    (CONFORMER + "grad_accumulation_factor: 4\n", {"steps_per_epoch": 7}, "update", None, {1: 2e-8}),
    (ECAPA, {}, "epoch", 20, {0: 1e-3, 19: 1e-4, 50: 1e-4}),
    (STEP, {"epochs": 7}, "epoch", 7, {0: 0.4, 2: 0.4, 3: 0.2, 7: 0.1}),
    (ECAPA_OF_VOXCELEB, {}, "update", None, {0: 1e-3, 1: 1e-8 + 9.9999e-6, 100: 1e-3, 200: 1e-8}),
    (TRANSDUCER, {}, "update", None, {0: 0.5, 1: 0.0, 3: 0.5, 5: 1.0, 15: 0.1, 25: 0.01, 45: 1e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "speechbrain")


def test_several_schedulers_are_groups():
    for group, rates in enumerate(([1.0, 1.0, 0.8], [1e-4, 1e-4, 9e-5])):
        recipe = from_config(WAV2VEC, group=group)
        assert (recipe.unit, recipe.groups) == (
            "evaluation",
            ("lr_annealing_model", "lr_annealing_wav2vec"),
        )
        assert_close(stepped(recipe.schedule, [3.0, 3.0, 3.0]), rates, DEVICE_RTOL)


def test_the_optimizer_and_the_assumptions_are_stated():
    recipe = from_config(CONFORMER)
    assert (recipe.optimizer, recipe.clip, recipe.assumptions) == ("AdamW", 5.0, ())
    assert from_config(STEP).assumptions == (
        "The first count has the rate of the scheduler, as if it was that of the optimizer.",
    )


REFUSED = [
    (ECAPA_OF_VOXCELEB + "    scale_fn: x\n", {}, "scale_fn='x' is not supported: give a mode"),
    (TRANSDUCER.replace("0.01", "1.0"), {}, "decay_factor must be above 0 and below 1, got 1"),
    (
        SEPARATION,
        {},
        "the scheduler of lr_scheduler must be one of 'NewBobScheduler', .*'ReduceLROnPlateau'",
    ),
    (STEP.replace("decay_drop", "half_life"), {}, "half_life=4 is not supported: give decay_factor"),
    (
        ECAPA.replace("number_of_epochs: 20", ""),
        {},
        "epoch_count is 'number_of_epochs', which has no value",
    ),
    (
        ECAPA.replace("number_of_epochs: 20", "number_of_epochs: 2"),
        {},
        "epoch_count must be at least 3, got 2",
    ),
    (WAV2VEC, {"group": 2}, "group must be one of 0 .lr_annealing_model., 1 .lr_annealing_wav2vec., got 2"),
    (CONFORMER.replace("n_warmup: 25000", "n_warmup: 0"), {}, "n_warmup_steps must be .*, got 0"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)


def test_nothing_is_constructed_and_other_tags_are_no_values():
    recipe = from_config(STEP + "x: !new:os.system\n    command: !apply:os.getcwd []\ny: !include:x.yaml\n")
    assert recipe.schedule(0) == 0.4
    with pytest.raises(ValueError, match="could not determine a constructor"):
        from_config(STEP + "x: !!python/object/apply:os.system ['echo hi']\n")
