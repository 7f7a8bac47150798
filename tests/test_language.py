"""Configs of GPT-NeoX, nanotron, LitGPT and OpenNMT, beside the curves of their own schedulers."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("gpt_neox")
def test_a_config_of_gpt_neox_gives_the_curve_of_its_version(case):
    recipe = from_config(case["settings"], version=case["version"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("gpt_neox", 20)


@recorded("nanotron")
def test_a_config_of_nanotron_gives_the_curve_of_its_scheduler(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("nanotron", 20)


@recorded("litgpt")
def test_a_config_of_litgpt_gives_the_curve_of_its_command(case):
    batches = 80 // case["settings"]["devices"] // case["settings"]["train"].get("epochs", 1)
    recipe = from_config(case["settings"], steps_per_epoch=-(-batches // 4) * 4)
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("litgpt", 20)


@recorded("opennmt")
def test_a_config_of_opennmt_gives_the_curve_of_its_decay(case):
    recipe = from_config(case["settings"])
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.num_counts) == ("opennmt", 20)


PYTHIA = """
{
  # parallelism settings
  "pipe-parallel-size": 1,
  "num-layers": 12,
  "hidden-size": 768,
  "optimizer": {
    "type": "Adam",
    "params": {
      "lr": 0.0006,
      "betas": [0.9, 0.95],
      "eps": 1.0e-8
    }
  },
  "min_lr": 0.00006,

  "zero_optimization": {
    "stage": 1,
    "allgather_partitions": true,
  },
  "gradient_clipping": 1.0,
  "weight-decay": 0.1,
  "train-iters": 143000,
  "lr-decay-iters": 143000,
  "lr-decay-style": "cosine",
  "warmup": 0.01,
}
"""
NEOX_20B = """
# DISCLAIMER: This is the configuration file for the GPT-NeoX-20B model
{
  "optimizer": {"type": "Adam", "params": {"lr": 0.97e-4, "betas": [0.9, 0.95]}},
  "min_lr": 0.97e-5,
  "train_iters": 150000,
  "lr_decay_iters": 150000,
  "lr_decay_style": "cosine",
  "warmup": 0.01,
  "scaled_upper_triang_masked_softmax_fusion": True,
}
"""
SMOLLM2 = """
checkpoints:
  checkpoint_interval: 2000
general:
  project: smollm2
optimizer:
  accumulate_grad_in_fp32: true
  clip_grad: 1.0
  learning_rate_scheduler:
    learning_rate: 0.003
    lr_decay_starting_step: 1600000
    lr_decay_steps: 400000
    lr_decay_style: linear
    lr_warmup_steps: 2000
    lr_warmup_style: linear
    min_decay_lr: 0
  optimizer_factory:
    adam_beta1: 0.9
    adam_beta2: 0.95
    adam_eps: 1.0e-08
    name: adamW
    torch_adam_is_fused: true
  weight_decay: 0.01
  zero_stage: 0
parallelism:
  dp: 64
tokens:
  micro_batch_size: 8
  sequence_length: 2048
  train_steps: 2000000
"""
TINY = """
learning_rate: 0.0003
lr_decay_starting_step: null
lr_decay_steps: 13
lr_decay_style: cosine
lr_warmup_steps: 2
lr_warmup_style: linear
min_decay_lr: 1.0e-05
"""
TINYLLAMA = """
model_name: tiny-llama-1.1b
resume: false
data: TinyLlama
train:
  global_batch_size: 512
  micro_batch_size: 4
  lr_warmup_steps: 2000
  epochs:
  max_tokens: 3000000000000
  max_steps:
  max_seq_length: 2048
  max_norm: 1.0
  min_lr: 4.0e-05
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 4e-4
    weight_decay: 0.1
    betas:
      - 0.9
      - 0.95
devices: auto
num_nodes: 1
"""
LORA = """
checkpoint_dir: checkpoints/TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T
devices: 1
num_nodes: 1
lora_r: 32
data:
  class_path: litgpt.data.Alpaca2k
  init_args:
    val_split_fraction: 0.03847
train:
  global_batch_size: 8
  micro_batch_size: 8
  lr_warmup_steps: 10
  epochs: 3
  max_tokens:
  max_steps:
  max_seq_length: 512
  min_lr: 6.0e-05
optimizer:
  class_path: torch.optim.AdamW
  init_args:
    lr: 0.0002
    weight_decay: 0.0
"""
WMT17 = """
data:
    corpus_1:
        path_src: data/src-train.txt
train_steps: 100000
valid_steps: 4000
accum_count: [3]
model_dtype: "fp16"
optim: "fusedadam"
learning_rate: 2
warmup_steps: 6000
decay_method: "noam"
adam_beta2: 0.998
max_grad_norm: 0
hidden_size: 512
dropout: [0.1]
"""
EOLE = """
model:
    architecture: "transformer_lm"
    hidden_size: 256
training:
    optim: "adam"
    learning_rate: 2
    warmup_steps: 8000
    decay_method: "noam"
    train_steps: 50
"""
RSQRT = "onmt_train --data x --optim adam --learning_rate 0.1 --decay_method rsqrt --warmup_steps 400"
ONE_DASH = """
python train.py -data data/uspto -save_model models/model -gpu_ranks 0 \\
    -train_steps 250000 -param_init 0 -param_init_glorot -batch_size 4096 -normalization tokens \\
    -max_grad_norm 0 -optim adam -adam_beta1 0.9 -adam_beta2 0.998 -decay_method noam -warmup_steps 8000 \\
    -learning_rate 2 -label_smoothing 0.0 -layers 4 -rnn_size 256 -share_embeddings
"""
# A config, other arguments, the framework, unit and num_counts, and rates by count.
CONFIGS = [
    (PYTHIA, {}, "gpt_neox", "update", 143_000, {0: 6e-4 / 1430, 715: 3e-4, 1430: 6e-4, 143_000: 6e-5}),
    (PYTHIA, {"version": "2.0"}, "gpt_neox", "update", 143_000, {0: 0.0, 72_930: 3e-4, 143_000: 6e-5}),
    (
        NEOX_20B,
        {"version": "2025.1"},
        "gpt_neox",
        "update",
        150_000,
        {0: 0.0, 750: 4.85e-5, 1500: 9.7e-5},
    ),
    (
        SMOLLM2,
        {},
        "nanotron",
        "update",
        2_000_000,
        {0: 0.0, 2000: 3e-3, 1_600_000: 3e-3, 1_800_000: 1.5e-3, 2_000_000: 0.0},
    ),
    (TINY, {}, "nanotron", "update", None, {1: 1.5e-4, 2: 3e-4, 15: 1e-5}),
    (
        TINYLLAMA,
        {"num_processes": 64},
        "litgpt",
        "iteration",
        5_722_045,
        {0: 0.0, 2000: 2e-4, 4000: 4e-4, 5_722_045: 4e-5},
    ),
    (
        WMT17,
        {},
        "opennmt",
        "update",
        100_000,
        {5999: 2 * (512 * 6000) ** -0.5, 0: 2 / (512 * 6000**3) ** 0.5},
    ),
    (EOLE, {}, "opennmt", "update", 50, {7999: 2 * (256 * 8000) ** -0.5}),
    (ONE_DASH, {}, "opennmt", "update", 250_000, {7999: 2 * (256 * 8000) ** -0.5}),
    (
        ONE_DASH.replace("\\\n", "").strip(),
        {},
        "opennmt",
        "update",
        250_000,
        {0: 2 / (256 * 8000**3) ** 0.5},
    ),
    (RSQRT, {}, "opennmt", "update", None, {0: 0.005, 399: 0.005, 1599: 0.0025}),
    (LORA, {"steps_per_epoch": 240}, "litgpt", "update", 720, {0: 0.0, 5: 1e-4, 10: 2e-4, 365: 1e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS)


def test_the_optimizer_and_the_clipping_are_stated():
    assert from_config(PYTHIA)[8:] == (0.1, "Adam", 1.0)
    assert from_config(SMOLLM2)[7:] == (0.9, 0.01, "adamW", 1.0)
    assert from_config(TINYLLAMA, num_processes=8)[8:] == (0.1, "torch.optim.AdamW", 1.0)


def test_what_was_chosen_is_an_assumption():
    assert from_config(PYTHIA).assumptions == (
        "Updates 0 and 1 have the same rate, as since May 2026. With version='2025' the first is 0. "
        "With version='2.0' the decay is that of the releases, as for Pythia and GPT-NeoX-20B.",
    )
    assert from_config(PYTHIA, version="2.0").assumptions == ()
    assert from_config(SMOLLM2.replace("lr_decay_steps: 400000", "")).assumptions == (
        "The decay has 398000 updates: those of the run, without the ones before it.",
    )
    assert from_config(WMT17.replace("noam", "none")).assumptions == (
        "start_decay_steps is 50000, the default of OpenNMT.",
        "decay_steps is 10000, the default of OpenNMT.",
        "learning_rate_decay is 0.5, the default of OpenNMT.",
    )
    assert from_config(LORA, steps_per_epoch=240).assumptions == (
        "The run has 720 updates, each of 1 batches of a process.",
    )


def test_the_order_of_the_frameworks_leaves_the_others_their_configs():
    deepspeed = {"optimizer": {"type": "Adam", "params": {"lr": 1.0}}}
    warmup = {"scheduler": {"type": "WarmupLR", "params": {"warmup_max_lr": 1.0, "warmup_num_steps": 9}}}
    assert from_config({**deepspeed, **warmup}).framework == "deepspeed"
    flags = "--train-iters 9 --lr 1.0 --lr-decay-style cosine --min-lr 0.1"
    assert from_config(flags).framework == "megatron"


REFUSED = [
    (
        PYTHIA.replace('"train-iters": 143000,', '"train-iters": 143001,'),
        {},
        "lr_decay_iters must be at least",
    ),
    (PYTHIA, {"version": "2023.9"}, "the rule of GPT-NeoX changed in August and September 2023"),
    (PYTHIA.replace("0.01", "0.6"), {"version": "2.0"}, "warmup must be at most 0.5, got 0.6"),
    (PYTHIA.replace("0.01", "1.0"), {}, "warmup must be below 1, got 1"),
    (PYTHIA.replace("cosine", "poly"), {}, "lr_decay_style must be one of 'constant', .*, got 'poly'"),
    (PYTHIA.replace('"warmup"', '"use_mup": true, "warmup"'), {}, "use_mup=True is not supported"),
    (PYTHIA.replace('"lr": 0.0006,', ""), {}, "the config has no lr: give init_value"),
    (SMOLLM2.replace("style: linear", "style: poly"), {}, "must be one of 'linear', .*, got 'poly'"),
    (TINY.replace("lr_decay_steps: 13", ""), {}, "the config has no train_steps: give names="),
    (
        TINY.replace("13", "0").replace("lr_warmup_steps: 2", "lr_warmup_steps: 0"),
        {},
        "lr_decay_steps must be above 0 without a warmup",
    ),
    (TINYLLAMA, {}, "the config does not say the number of devices: give num_processes"),
    (
        TINYLLAMA.replace("max_seq_length: 2048", ""),
        {"num_processes": 8},
        "the config has no max_seq_length",
    ),
    (WMT17.replace("noam", "noamwd"), {}, "decay_method must be one of 'none', .*, got 'noamwd'"),
    (WMT17.replace("hidden_size: 512", ""), {}, "the config has no hidden_size: give names="),
    (WMT17.replace("6000", "0"), {}, "warmup_steps must be .*, got 0"),
    (EOLE.replace("noam", "cosine"), {}, "train_steps must be above warmup_steps, got 50 and 8000"),
    (LORA, {}, "the config does not say how many batches an epoch has: give steps_per_epoch"),
    (LORA, {"steps_per_epoch": 3}, "the run must be longer than lr_warmup_steps, got 9 updates and 10"),
    (LORA, {"num_processes": 9}, "global_batch_size / micro_batch_size of one process must be"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused = refuses(REFUSED)
