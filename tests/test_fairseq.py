"""Flags and YAML of fairseq, beside the curves of its own schedulers."""

import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import DEVICE_RTOL, assert_close

import jaxlr


@recorded("fairseq")
def test_the_settings_give_the_curve_of_the_scheduler(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("fairseq", 20)


IWSLT = """
CUDA_VISIBLE_DEVICES=0 fairseq-train \\
    data-bin/iwslt14.tokenized.de-en \\
    --arch transformer_iwslt_de_en --share-decoder-input-output-embed \\
    --optimizer adam --adam-betas '(0.9, 0.98)' --clip-norm 0.0 \\
    --lr 5e-4 --lr-scheduler inverse_sqrt --warmup-updates 4000 \\
    --dropout 0.3 --weight-decay 0.0001 --max-tokens 4096
"""
ROBERTA = """
fairseq-train --fp16 $DATA_DIR --task masked_lm --criterion masked_lm --arch roberta_base \\
    --optimizer adam --adam-betas '(0.9,0.98)' --adam-eps 1e-6 --clip-norm 1.0 \\
    --lr-scheduler polynomial_decay --lr 0.0005 --warmup-updates 10000 --total-num-update 125000 \\
    --max-update 125000
"""
WAV2VEC = """
optimization:
  max_update: 20000
  lr: [0.00005]
  sentence_avg: true
  update_freq: [4]

optimizer:
  _name: adam
  adam_betas: (0.9,0.98)
  adam_eps: 1e-08

lr_scheduler:
  _name: tri_stage
  phase_ratio: [0.1, 0.4, 0.5]
  final_lr_scale: 0.05
"""
HUBERT = """
optimization: {max_update: 400000, lr: [0.0005], clip_norm: 10.0}
optimizer: {_name: adam, weight_decay: 0.01}
lr_scheduler:
  _name: polynomial_decay
  warmup_updates: 32000
  total_num_update: ${optimization.max_update}
"""
COSINE = (
    "--lr 1.0 --lr-scheduler cosine --max-update 40 --warmup-updates 10 "
    "--lr-period-updates 20 --lr-shrink 0.5"
)
DATA2VEC = """
optimization: {max_update: 375300, debug_param_names: true}
optimizer:
  _name: composite
  groups:
    default:
      lr_float: 1e-3
      optimizer: {_name: adam, adam_betas: [0.9, 0.95], weight_decay: 0.05}
      lr_scheduler: {_name: cosine, warmup_updates: 50040}
    decoder:
      lr_float: 2e-3
      optimizer: {_name: adam, weight_decay: 0.0}
      lr_scheduler: {_name: fixed, warmup_updates: 0}
lr_scheduler: pass_through
"""
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (IWSLT, {}, None, {0: 0.0, 2000: 2.5e-4, 4000: 5e-4, 16_000: 2.5e-4}),
    (ROBERTA, {}, 125_000, {5000: 2.5e-4, 10_000: 5e-4, 67_500: 2.5e-4, 125_000: 0.0}),
    (WAV2VEC, {}, 20_000, {0: 5e-7, 2000: 5e-5, 9999: 5e-5, 15_000: 5e-5 * 0.05**0.5, 20_000: 2.5e-6}),
    (DATA2VEC, {}, 375_300, {25_020: 5e-4, 50_040: 1e-3, 212_670: 5e-4}),
    (DATA2VEC, {"group": 1}, 375_300, {0: 2e-3, 212_670: 2e-3}),
    (HUBERT, {"init_value": 1.0}, 400_000, {16_000: 0.5, 216_000: 0.5}),
    (COSINE, {}, 40, {5: 0.5, 10: 1.0, 20: 0.5, 30: 0.5, 40: 0.25}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "fairseq", "update")


def test_defaults_are_assumptions_and_the_optimizer_is_stated():
    recipe = from_config("--lr 0.1 --lr-scheduler polynomial_decay --max-update 100")
    assert recipe.assumptions == (
        "warmup_updates is 0, the default of fairseq.",
        "total_num_update is max_update, as in fairseq since November 2020. It was 1000000.",
    )
    recipe = from_config(IWSLT)
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adam", 0.0001, None)
    assert from_config(HUBERT)[-2:] == ("adam", 10.0)


REFUSED = [
    (
        COSINE.replace("cosine", "reduce_lr_on_plateau"),
        "lr_scheduler must be one of .*'reduce_lr_on_plateau'",
    ),
    (COSINE.replace("--max-update 40", ""), "the config has no max_update: give names="),
    (COSINE + " --max-lr 2", "max_lr='2' is not supported: it is of fairseq before December 2020"),
    (COSINE + " --t-mult 1.01", "the periods of the cosine must be whole numbers, at most 200, got 20.2"),
    (COSINE.replace("--lr 1.0", "--lr 1.0,0.5"), "lr must be one rate, got '1.0,0.5'"),
    (COSINE.replace("--lr 1.0", ""), "the config has no lr: give init_value"),
    (
        ROBERTA + "--force-anneal 50",
        "force_anneal='50' is not supported: it shrinks the rate at the epochs",
    ),
    (ROBERTA + "--warmup-ratio 0.1", "warmup_ratio='0.1' is not supported: it is of Uni-Core"),
    (
        ROBERTA.replace("10000", "125000"),
        "total_num_update must be above warmup_updates, got 125000 and 125000",
    ),
    (WAV2VEC.replace("0.1, 0.4", "0.1, 0.5"), "phase_ratio must be three numbers with the sum 1"),
    (WAV2VEC.replace("  phase_ratio: [0.1, 0.4, 0.5]", ""), "the config has no decay_steps: give names="),
    (IWSLT.replace("4000", "0"), "warmup_updates must be a whole number of at least 1, got 0"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)


def test_a_plateau_is_torchs():
    command = "fairseq-train data --arch fconv --lr 0.5 --lr-scheduler reduce_lr_on_plateau --lr-shrink 0.2"
    recipe = from_config(command)
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("fairseq", "evaluation", None)
    state = jaxlr.plateau_step(jaxlr.plateau_step(recipe.schedule.init({}), 1.0), 1.0)
    assert_close(float(jaxlr.plateau_lr(state)), 0.1, DEVICE_RTOL)
    with pytest.raises(ValueError, match="with warmup_updates, lr_scheduler must be one of 'fixed'"):
        from_config(f"{command} --warmup-updates 4000")


def test_a_group_of_a_composite_optimizer_has_its_optimizer():
    recipes = [from_config(DATA2VEC, group=group) for group in (0, 1)]
    assert [recipe.groups for recipe in recipes] == [("default", "decoder")] * 2
    assert [recipe.weight_decay for recipe in recipes] == [0.05, 0.0]
