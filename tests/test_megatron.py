"""Flags of Megatron-LM, beside the curves of its own scheduler."""

import math

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("megatron")
def test_the_flags_give_the_curve_of_the_scheduler(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert recipe.num_counts == 20


def test_the_count_of_the_warmup_is_the_whole_rate_and_one_later_it_falls():
    flags = {"lr": 1.0, "lr_warmup_iters": 4, "train_iters": 8, "lr_decay_style": "linear"}
    schedule = from_config(flags).schedule
    assert [schedule(update) for update in (0, 2, 4, 5, 8, 9)] == [0.0, 0.5, 1.0, 0.75, 0.0, 0.0]


LLAMA = """
TRAINING_ARGS=(
    --micro-batch-size 1 --global-batch-size 128 --train-samples 1953125000
    --lr-decay-samples 1949218748 --lr-warmup-samples 3906252
    --lr 0.00015 --min-lr 0.00001 --decoupled-lr 5.0e-4 --decoupled-min-lr 4.5e-5
    --lr-decay-style cosine --clip-grad 1.0 --weight-decay 0.1 --bf16
)
torchrun ${DISTRIBUTED_ARGS[@]} pretrain_gpt.py ${TRAINING_ARGS[@]}
"""
GPT3 = """
python pretrain_gpt.py --global-batch-size 1536 --train-iters 500000 --lr 6.0e-5 --lr-decay-style cosine \\
    --min-lr 6.0e-6 --lr-warmup-fraction .001 --lr-decay-iters 430000
"""
TEST_CASE = """
ENV_VARS: {NCCL_NVLS_ENABLE: 0}
MODEL_ARGS:
  --micro-batch-size: 4
  --global-batch-size: 128
  --train-iters: 50
  --lr-decay-iters: 1000
  --lr: 0.0001
  --min-lr: 0.00001
  --lr-warmup-fraction: 0.01
  --use-checkpoint-opt_param_scheduler: true
TEST_TYPE: regular
"""
WSD = {
    "lr": 1.0,
    "train_iters": 100,
    "lr_warmup_iters": 10,
    "lr_decay_style": "WSD",
    "lr_wsd_decay_iters": 20,
}
CONSTANT = ["--lr", "0.1", "--train-iters", "10", "--lr-decay-style", "constant"]
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (LLAMA, {}, 15_258_789, {0: 0.0, 20_000_000: 1e-5}),
    (GPT3, {}, 500_000, {0: 0.0, 215: 3e-5, 430: 6e-5, 215_215: 3.3e-5, 430_000: 6e-6}),
    (TEST_CASE, {}, 50, {5: 5e-5, 10: 1e-4, 505: 5.5e-5}),
    (WSD, {}, 100, {5: 0.5, 80: 1.0, 90: 2 * 0.5**0.5 - 1, 100: 0.0}),
    (CONSTANT, {"init_value": 3.0}, 10, {0: 3.0, 99: 3.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "megatron", "update")


def test_the_weight_decay_may_rise():
    flags = {**WSD, "weight_decay": 0.1, "clip_grad": 1.0, "optimizer": "adam", "adam_beta1": 0.9}
    assert from_config(flags)[7:] == (0.9, 0.1, "adam", 1.0)
    rising = {"weight_decay_incr_style": "cosine", "start_weight_decay": 0.1, "end_weight_decay": 0.3}
    decay = from_config({**flags, **rising}).weight_decay
    assert_close([decay(update) for update in (0, 50, 100, 999)], [0.1, 0.2, 0.3, 0.3], HOST_RTOL)


def test_the_default_of_the_decay_is_stated():
    recipe = from_config({"lr": 1.0, "train_iters": 8})
    assert "lr_decay_style is linear, the default of Megatron-LM." in recipe.assumptions


def test_the_flags_of_megatron_swift_have_its_defaults():
    flags = "megatron sft --dataset x --lr 1.0 --lr_warmup_fraction 0.05 --min_lr 0.1 --train_iters 100"
    recipe = from_config(flags)
    rates = [recipe.schedule(update) for update in (5, 43, 100)]
    assert_close(rates, [1.0, 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.4)), 0.1], HOST_RTOL)
    assert recipe.assumptions[1] == "lr_decay_style is cosine, the default of Megatron-SWIFT."


GPT2 = "pretrain_gpt2.py --train-iters 320000 --lr 0.00015 --lr-decay-style cosine --warmup .01"
DEEPSPEED = GPT3 + " --lr-decay-tokens 260000000000 --lr-warmup-tokens 3000000000"
REFUSED = [
    (GPT2, "warmup='.01' is not supported: Megatron-LM before 2021, GLM and"),
    (DEEPSPEED, "lr_decay_tokens='260000000000' is not supported: give the tokens as samples"),
    (
        GPT3 + "--rampup-batch-size 32 32 1000",
        "rampup_batch_size='32 32 1000' is not supported: the schedule counts",
    ),
    ({"lr": 1, "lr_decay_style": "cosine"}, "the config has no train_iters: give names="),
    ({"lr": 1, "train_samples": 99}, "the config has no global_batch_size: give names="),
    ({**WSD, "lr_wsd_decay_iters": None}, "the config has no lr_wsd_decay_iters: give names="),
    (
        {**WSD, "lr_wsd_decay_iters": 101},
        "lr_wsd_decay_iters must be at most lr_decay_iters, got 101 and 100",
    ),
    (
        {**WSD, "lr_decay_style": "exponential"},
        "lr_decay_style must be one of 'constant', 'linear', .*'exponential'",
    ),
    ({**WSD, "lr_warmup_iters": 100}, "the warmup must be shorter than the decay, got 100 and 100 updates"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)
