"""The schedules of transformers and diffusers, beside the curves of their own functions."""

import json
from typing import Any

import numpy as np
import pytest
from framework_files import assert_has_rates, call_text, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("huggingface")
def test_a_function_gives_the_curve_of_transformers(case):
    schedule = from_string(call_text(case), case["init_value"], version=case["version"])
    assert_has_rates(schedule, case["rates"])


@recorded("diffusers")
def test_get_scheduler_gives_the_curve_of_diffusers(case):
    settings = "".join(f", {name}={value!r}" for name, value in case["settings"].items())
    text = f"get_scheduler({case['call']!r}, optimizer=optimizer{settings or ', num_warmup_steps=0'})"
    assert_has_rates(from_string(text, case["init_value"]), case["rates"])


def rates(recipe, counts) -> Any:
    return [recipe.schedule(count) for count in counts]


def test_the_warmup_begins_at_zero_and_the_last_update_is_one_step_above_the_end():
    schedule = from_string("get_linear_schedule_with_warmup(optimizer, 5, 20)", 1.0)
    assert schedule(0) == 0
    assert_close(schedule(19), 1 / 15, HOST_RTOL)
    assert schedule(20) == schedule(1000) == 0


def test_a_cosine_rises_again_after_the_last_update():
    schedule = from_string("get_cosine_schedule_with_warmup(optimizer, 5, 20)", 1.0)
    assert schedule(20) == 0
    assert_close(schedule(35), 1.0, HOST_RTOL)


def test_a_call_is_read_as_people_write_it():
    names = {"args.warmup": 10, "len(loader)": 50, "args.epochs": 2, "args.name": "cosine"}
    for text in (
        "scheduler = transformers.get_cosine_schedule_with_warmup(optimizer, args.warmup, "
        "num_training_steps=len(loader) * args.epochs)",
        "get_cosine_schedule_with_warmup(optimizer=self.optimizer, num_warmup_steps=0.1 * 100, "
        "num_training_steps=100, num_cycles=0.5, last_epoch=-1)",
        "get_scheduler(args.name, optimizer, num_warmup_steps=10, num_training_steps=100)",
        "get_scheduler(\n    name=args.name,\n    optimizer=optimizer,\n    num_warmup_steps=10,\n"
        "    num_training_steps=100,\n)",
        "total = len(loader) * args.epochs\n"
        "lr_scheduler = get_cosine_schedule_with_warmup(optimizer, int(0.1 * total), total)",
    ):
        assert_close(from_string(text, 0.1, names)(55), 0.05, HOST_RTOL)


def test_the_version_of_a_call_chooses_its_rule():
    text = "get_wsd_schedule(optimizer, 5, num_stable_steps=10, num_decay_steps=5, min_lr_ratio=0.1)"
    assert [from_string(text, 1.0, version=version)(0) for version in ("4.48.3", "4.49")] == [0.0, 0.1]
    line = jaxlr.port(text, 1.0, version="4.48")
    assert line.endswith(", 1.0, version='4.48')")
    assert eval(line, {"jaxlr": jaxlr})(0) == 0.0


def test_a_version_that_no_rule_can_use_is_refused():
    linear = "get_linear_schedule_with_warmup(optimizer, 5, 20)"
    assert from_string(linear, 1.0, version="4.46")(5) == 1.0
    with pytest.raises(ValueError, match=r"version must be a text such as '4.46.3', got 'new'"):
        from_string(linear, 1.0, version="new")
    for convert in (from_string, jaxlr.port):
        with pytest.raises(
            ValueError, match="for the calls of frameworks, and StepLR is torch's: leave it"
        ):
            convert("StepLR(optimizer, 3)", 1.0, version="2.4")


def test_port_prints_a_line_that_reads_the_call_again():
    text = "get_scheduler('cosine_with_min_lr', opt, 5, 20, scheduler_specific_kwargs={'min_lr_rate': 0.1})"
    from jaxlr import port

    line = port(text, 0.001)
    assert line == (
        "jaxlr.from_string(\"get_scheduler(name='cosine_with_min_lr', num_warmup_steps=5, "
        "num_training_steps=20, scheduler_specific_kwargs={'min_lr_rate': 0.1})\", 0.001)"
    )
    assert eval(line, {"jaxlr": jaxlr})(20) == 0.0001


ALPACA = """
torchrun --nproc_per_node=4 --master_port=1234 train.py \\
    --model_name_or_path facebook/opt-6.7b \\
    --data_path ./alpaca_data.json \\
    --bf16 True \\
    --output_dir $OUT \\
    --num_train_epochs 3 \\
    --per_device_train_batch_size 4 \\
    --gradient_accumulation_steps 8 \\
    --evaluation_strategy "no" \\
    --learning_rate 2e-5 \\
    --weight_decay 0. \\
    --warmup_ratio 0.03 \\
    --lr_scheduler_type "cosine" \\
    --fsdp "full_shard auto_wrap" \\
    --tf32 True 2>&1 | tee train.log
"""
LLAMA_FACTORY = """
### model
model_name_or_path: meta-llama/Meta-Llama-3-8B-Instruct
### train
per_device_train_batch_size: 1
gradient_accumulation_steps: 8
learning_rate: 1.0e-4
num_train_epochs: 3.0
lr_scheduler_type: cosine
warmup_ratio: 0.1
bf16: true
ddp_timeout: 180000000
resume_from_checkpoint: null
"""
TRL = """
learning_rate: 2e-4
lr_scheduler_type: cosine_with_min_lr
lr_scheduler_kwargs:
  min_lr_rate: 0.1
max_steps: 200
warmup_steps: 20
per_device_train_batch_size: 8
"""
CARD = """
### Training hyperparameters

The following hyperparameters were used during training:
- learning_rate: 0.003
- train_batch_size: 256
- seed: 0
- gradient_accumulation_steps: 4
- total_train_batch_size: 1024
- optimizer: Adam with betas=(0.9,0.999) and epsilon=1e-08
- lr_scheduler_type: linear
- lr_scheduler_warmup_ratio: 0.1
- num_epochs: 10.0
- mixed_precision_training: Native AMP

### Training results

| Training Loss | Epoch | Step | Validation Loss | Accuracy |
|:-------------:|:-----:|:----:|:---------------:|:--------:|
| 1.328         | 1.0   | 50   | 1.5281          | 0.6142   |
| 0.728         | 5.0   | 250  | 1.4042          | 0.5035   |
| 0.6579        | 10.0  | 500  | 1.3337          | 0.5272   |

### Framework versions

- Transformers 4.22.0.dev0
"""
PYTHON = """
training_args = TrainingArguments(
    output_dir="./results",
    num_train_epochs=3,
    per_device_train_batch_size=16,
    warmup_steps=500,
    weight_decay=0.01,
    learning_rate=5e-5,
    lr_scheduler_type=SchedulerType.CONSTANT_WITH_WARMUP,
)
"""
SCRIPT = """
from transformers import Trainer, TrainingArguments
LR = 5e-5
model = AutoModel.from_pretrained("bert-base-uncased")

training_args = TrainingArguments(
    output_dir="./results",
    learning_rate=LR,
    max_steps=100,
    weight_decay=0.01,
)
trainer = Trainer(model=model, args=training_args, train_dataset=dataset)
trainer.train()
"""
SFT = """
trainer = SFTTrainer(
    "facebook/opt-350m",
    args=SFTConfig(learning_rate=1e-4, lr_scheduler_type="constant", packing=True, report_to="none"),
)
"""
ARRAY = """
COMMON_ARGS=(
    --train_dataset "$DATASET"
    --learning_rate 3e-6
    --max_steps 1000
    --lr_scheduler_type cosine_with_min_lr
    --lr_scheduler_kwargs '{"min_lr_rate": 0.1}'
    --warmup_ratio 0.03
    --gradient_checkpointing
)
"""
WHISPER = """
The following hyperparameters were used during training:
- learning_rate: 1e-05
- train_batch_size: 50
- lr_scheduler_type: linear
- lr_scheduler_warmup_steps: 500
- training_steps: 5000
"""
TRANSFORMERS_5 = (
    '{"learning_rate": 1e-3, "lr_scheduler_type": "linear", "warmup_steps": 0.05, "max_steps": 1000}'
)
SWIFT = """
CUDA_VISIBLE_DEVICES=0 swift sft --model Qwen/Qwen2.5-7B-Instruct --tuner_type lora --num_train_epochs 1 \\
    --dataset 'AI-ModelScope/alpaca-gpt4-data-en#500' 'swift/self-cognition#500' --torch_dtype bfloat16 \\
    --per_device_train_batch_size 1 --learning_rate 1e-4 --lora_rank 8 --warmup_ratio 0.05
"""
QLORA = "qlora.py --model_name_or_path a --learning_rate 0.0001 --double_quant --bits 4 --max_steps 1875"
RUN: dict[str, Any] = {"num_processes": 4, "steps_per_epoch": 400}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (ALPACA, {"steps_per_epoch": 3251}, 1221, {0: 0.0, 37: 2e-5, 629: 1e-5}),
    (LLAMA_FACTORY, {"steps_per_epoch": 800}, 300, {0: 0.0, 15: 5e-5, 30: 1e-4, 165: 5e-5, 300: 0.0}),
    (TRL, {}, 200, {10: 1e-4, 20: 2e-4, 200: 2e-5}),
    (CARD, {}, 500, {25: 0.0015, 50: 0.003, 275: 0.0015}),
    (PYTHON, {}, None, {250: 2.5e-5, 500: 5e-5, 10_000: 5e-5}),
    (SCRIPT, {}, 100, {0: 5e-5, 50: 2.5e-5}),
    (SFT, {}, None, {0: 1e-4}),
    (ARRAY, {}, 1000, {15: 1.5e-6, 30: 3e-6, 1000: 3e-7}),
    (WHISPER, {}, 5000, {25: 5e-7, 500: 1e-5, 2750: 5e-6}),
    (QLORA, {}, 1875, {0: 1e-4, 1874: 1e-4}),
    (SWIFT, RUN, 100, {5: 1e-4, 100: 0.0}),
    (f"{SWIFT} --gradient_accumulation_steps 8", {"steps_per_epoch": 800}, 100, {5: 1e-4, 100: 0.0}),
    (f"{SWIFT} --rlhf_type grpo", {"steps_per_epoch": 100}, 100, {5: 1e-4, 100: 0.0}),
    (TRANSFORMERS_5, {}, 1000, {25: 0.0005, 50: 0.001, 525: 0.0005}),
    (["--lr_scheduler_type=constant", "--learning_rate=1e-4"], {}, None, {0: 1e-4, 99: 1e-4}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "huggingface", "update")


def test_names_replace_a_word_where_a_number_is_needed():
    config = {
        "learning_rate": "1e-1",
        "lr_scheduler_type": "linear",
        "max_steps": "auto",
        "warmup_steps": 5,
    }
    recipe = from_config(config, names={"max_steps": 7, "warmup_steps": 6, "learning_rate": 1})
    assert (recipe.num_counts, recipe.schedule(5)) == (7, 0.1)


def test_the_defaults_of_ms_swift_are_not_those_of_transformers():
    recipe = from_config(SWIFT, **RUN)
    assert recipe.assumptions[:4] == (
        *(
            "lr_scheduler_type is cosine, the default of ms-swift.",
            "weight_decay is 0.1, the default of ms-swift.",
        ),
        *("adam_beta2 is 0.95, the default of ms-swift.",),
        "gradient_accumulation_steps is 4, the default of ms-swift.",
    )
    tx: Any = jaxlr.optimizer_from_config(SWIFT, **RUN, decay_mask=True)
    assert tx.recipe.weight_decay == 0.1
    assert from_config(SWIFT.replace("tuner_type", "train_type"), epochs=1, **RUN)[1:3] == ("update", 100)


def test_rates_of_some_parameters_are_said():
    llava = "train_mem.py --learning_rate 2e-4 --mm_projector_lr 2e-5 --max_steps 9 --warmup_ratio 0"
    sentence = "Some parameters have a rate of mm_projector_lr. This is that of the others."
    assert sentence in from_config(llava).assumptions
    with pytest.raises(
        ValueError, match="mm_projector_lr='2e-5' is not supported: it gives parameters a rate"
    ):
        jaxlr.optimizer_from_config(llava)


def test_a_text_and_its_file_are_the_same_recipe(tmp_path):
    for name, text in (
        ("a.yaml", LLAMA_FACTORY),
        ("README.md", WHISPER),
        ("a.sh", ALPACA),
        ("a.py", PYTHON),
    ):
        (tmp_path / name).write_text(text)
        recipe = from_config(tmp_path / name, steps_per_epoch=100)
        assert recipe.assumptions == from_config(text, steps_per_epoch=100).assumptions
        assert recipe.num_counts == from_config(str(tmp_path / name), steps_per_epoch=100).num_counts


def test_versions_differ_in_the_updates_of_an_epoch():
    config = {"learning_rate": 1.0, "num_train_epochs": 2, "gradient_accumulation_steps": 8}
    counts = {
        version: from_config(config, steps_per_epoch=100, version=version) for version in ("4.51.3", "4.52")
    }
    assert [recipe.num_counts for recipe in counts.values()] == [24, 26]
    newest = from_config(config, steps_per_epoch=100)
    assert newest.num_counts == 26
    assert "4.52 and later round up" in " ".join(newest.assumptions)


def test_the_rounding_of_a_warmup_ratio_is_that_of_float64():
    config = {"learning_rate": 1.0, "max_steps": 100, "warmup_ratio": 0.07}
    assert 0.07 * 100 > 7
    assert from_config(config).schedule(8) == 1.0
    assert from_config(config).schedule(7) == 7 / 8


def test_warmup_steps_win_over_a_ratio():
    config = {"learning_rate": 1.0, "max_steps": 100, "warmup_ratio": 0.5, "warmup_steps": 10}
    recipe = from_config(config)
    assert recipe.schedule(10) == 1.0
    assert "instead of warmup_ratio" in " ".join(recipe.assumptions)


def test_a_plateau_is_torchs():
    config = {
        "learning_rate": 0.1,
        "lr_scheduler_type": "reduce_lr_on_plateau",
        "lr_scheduler_kwargs": '{"patience": 2, "factor": 0.5, "mode": "max"}',
        "max_steps": 10,
    }
    recipe = from_config(config)
    assert (recipe.unit, recipe.num_counts) == ("evaluation", None)
    state = recipe.schedule.init({})
    found = []
    for metric in (1.0, 0.9, 0.9, 0.9, 0.9):
        state = jaxlr.plateau_step(state, metric)
        found.append(float(jaxlr.plateau_lr(state)))
    np.testing.assert_allclose(found, [0.1, 0.1, 0.1, 0.05, 0.05], rtol=1e-6)


def test_init_value_replaces_the_rate_of_the_config():
    recipe = from_config(TRL, 1.0)
    assert recipe.schedule(20) == 1.0
    assert "init_value replaces the learning_rate" in " ".join(recipe.assumptions)


def test_the_batches_of_an_epoch_follow_from_the_examples():
    config = {"learning_rate": 1.0, "num_train_epochs": 1, "per_device_train_batch_size": 10}
    recipe = from_config(config, num_processes=4, names={"num_examples": 1001})
    assert recipe.num_counts == 26


def test_lora_plus_gives_the_groups_rates_of_their_own():
    plus = {
        **{"learning_rate": 1e-4, "lr_scheduler_type": "cosine_with_min_lr", "max_steps": 10},
        **{"lr_scheduler_kwargs": {"min_lr": 1e-5}, "loraplus_lr_ratio": 16.0},
    }
    recipes = [from_config(plus, group=group) for group in range(3)]
    assert recipes[0].groups == ("A matrices of LoRA", "B matrices of LoRA", "embeddings")
    assert_close(rates(recipes[0], (0, 10)), [1e-4, 1e-5], HOST_RTOL)
    assert_close(rates(recipes[1], (0, 10)), [1.6e-3, 1.6e-4], HOST_RTOL)
    assert_close(rates(recipes[2], (0, 10)), [1e-6, 1e-7], HOST_RTOL)


def test_two_training_arguments_in_a_script_are_refused():
    with pytest.raises(ValueError, match="the text has 2 TrainingArguments: give the one that you mean"):
        from_config(SCRIPT + SFT)


def test_names_give_the_values_of_a_script():
    config = "python train.py --learning_rate $LR --max_steps $STEPS --lr_scheduler_type constant"
    recipe = from_config(config, names={"$LR": 0.5, "max_steps": 7})
    assert (recipe.schedule(0), recipe.num_counts) == (0.5, 7)


TEXTUAL_INVERSION = """
accelerate launch textual_inversion.py --pretrained_model_name_or_path=$MODEL --train_data_dir=$DATA_DIR \\
  --learnable_property="object" --resolution=512 --train_batch_size=4 --gradient_accumulation_steps=2 \\
  --max_train_steps=3000 --learning_rate=5.0e-04 --scale_lr \\
  --lr_scheduler="constant_with_warmup" --lr_warmup_steps=100 --output_dir="textual_inversion_cat"
"""
LINEAR = {"learning_rate": 0.1, "lr_scheduler_type": "linear"}
REFUSED = [
    (
        SWIFT,
        {"steps_per_epoch": 400},
        "ms-swift accumulates gradients to a batch of 16: give num_processes",
    ),
    ({"lr_scheduler_type": "linear"}, {}, "the config has no learning_rate: give init_value"),
    (LINEAR, {}, "the config has no num_train_epochs: give epochs"),
    (LINEAR, {"epochs": 3}, "how many batches an epoch has: give steps_per_epoch"),
    (LINEAR, {"epochs": 3, "names": {"num_examples": 9}}, "give num_processes"),
    (
        {**LINEAR, "lr_scheduler_type": "sine"},
        {"epochs": 1},
        "lr_scheduler_type must be one of 'linear'.*'sine'",
    ),
    (
        {**LINEAR, "lr_scheduler_type": "greedy"},
        {"version": "5.0"},
        "transformers 5.0 and earlier have no lr_scheduler_type 'greedy'",
    ),
    (
        {**LINEAR, "lr_scheduler_type": "greedy", "lr_scheduler_kwargs": {"gamma": 1}},
        {},
        "'greedy' has no keyword 'gamma'; it takes mode, factor",
    ),
    ({**LINEAR, "max_steps": "auto"}, {}, "max_steps must be a number, got 'auto': give names="),
    ({**LINEAR, "learning_rate": True}, {}, "learning_rate must be a number, got True"),
    ({**LINEAR, "learning_rate": -1}, {}, "learning_rate must be a finite number of at least 0"),
    ({**LINEAR, "learning_rate": float("nan")}, {}, "learning_rate must be a finite number"),
    (
        {**LINEAR, "max_steps": 9, "warmup_steps": 0.5},
        {"version": "4.46"},
        "whole number before transformers 5",
    ),
    ({**LINEAR, "max_steps": 9, "warmup_ratio": 0.5}, {"version": "5.24"}, "5.2 has no warmup_ratio"),
    ({**LINEAR, "max_steps": 9, "num_cycles": 2}, {}, "num_cycles=2 is not supported: it is no setting of"),
    ({**LINEAR, "max_steps": 9, "lr_decay": 0.9}, {}, "lr_decay=0.9 is not supported: it is no setting of"),
    ({**LINEAR, "max_train_steps": 9}, {}, "max_train_steps=9 is not supported: it is of a script"),
    (
        {**LINEAR, "max_steps": 9, "lr_scheduler_kwargs": {"power": 2}},
        {},
        "'linear' has no keyword 'power'",
    ),
    ({**LINEAR, "max_steps": 9, "lr_scheduler_kwargs": "{1"}, {}, "lr_scheduler_kwargs must be JSON"),
    (
        {**LINEAR, "lr_scheduler_type": "cosine_with_min_lr", "max_steps": 9},
        {},
        "needs min_lr or min_lr_rate",
    ),
    (
        {**LINEAR, "lr_scheduler_type": "cosine_warmup_with_min_lr", "max_steps": 9},
        {"version": "4.46"},
        "transformers 4.52 and earlier have no",
    ),
    (
        {
            **{**LINEAR, "lr_scheduler_type": "warmup_stable_decay", "max_steps": 9},
            "lr_scheduler_kwargs": {"num_decay_steps": 3},
        },
        {"version": "4.46"},
        "warmup_stable_decay of transformers 4.48 needs num_stable_steps",
    ),
    ({**LINEAR, "max_steps": 10**400}, {}, "max_steps must be at most 2..61, got a larger number"),
    (
        {**LINEAR, "num_train_epochs": 1e308},
        {"steps_per_epoch": 5},
        "num_train_epochs must be at most 2..31",
    ),
    (
        {"learning_rate": 0.1, "num_train_epochs": 3, "lr_scheduler": "cosine"},
        {"steps_per_epoch": 9},
        "lr_scheduler='cosine' is not supported: its name in TrainingArguments is lr_scheduler_type",
    ),
    (f"{TEXTUAL_INVERSION} --lr_end 1e-8", {}, "lr_end='1e-8' is not supported: the scripts of diffusers"),
    (TEXTUAL_INVERSION, {}, "scale_lr multiplies the rate by the global batch size: give num_processes"),
    (LINEAR, {"version": "newest"}, "version must be a text such as '4.46.3', got 'newest'"),
    ("--learning_rate 1 --lr_scheduler_type linear --learning_rate 2", {}, "learning_rate is given twice"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)


REFUSED_CALLS = [
    ("get_cosine_schedule_with_warmup(optimizer, 500)", "needs num_training_steps"),
    (
        "get_cosine_schedule_with_warmup(optimizer, 5, 20, num_cycles=0)",
        "num_cycles must be a number above 0",
    ),
    ("get_polynomial_decay_schedule_with_warmup(optimizer, 5, 20, lr_end=0.2)", "lr_end must be below"),
    ("get_polynomial_decay_schedule_with_warmup(optimizer, 5, 5)", "transformers divides by 0"),
    ("get_wsd_schedule(optimizer, 5, 5)", "needs num_training_steps or num_stable_steps"),
    ("get_wsd_schedule(optimizer, 5, 10, 5)", "the arguments of get_wsd_schedule have no fixed order"),
    (
        "get_wsd_schedule(optimizer, 5, num_stable_steps=10, num_decay_steps=5, min_lr_ratio=0.1)",
        "begins at 0 in transformers 4.48, .*: give version='4.48' or version='4.49'",
    ),
    (
        "get_scheduler('warmup_stable_decay', optimizer, 5, scheduler_specific_kwargs="
        "{'num_stable_steps': 10, 'num_decay_steps': 5, 'min_lr_ratio': 0.1})",
        "begins at 0 in transformers 4.48, .*: give version='4.48' or version='4.49'",
    ),
    (
        "get_wsd_schedule(optimizer, 5, 5, num_training_steps=20, decay_type='sine')",
        "decay_type must be one of",
    ),
    ("get_scheduler(args.name, optimizer, 5, 20)", "give names={'args.name': ...}"),
    ("get_scheduler('piecewise_constant', optimizer, step_rules='1:a')", "step_rules must be like"),
    (
        "SequentialLR(opt, [get_constant_schedule(opt), StepLR(opt, 3)], [4])",
        "cannot be part of a composite",
    ),
    ("get_cosine_schedule_with_warmups(optimizer, 5, 20)", "did you mean get_cosine_schedule_with_warmup"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED_CALLS)
def test_a_call_that_lacks_or_contradicts_something_is_refused_by_name(text, message):
    with pytest.raises(ValueError, match=message) as error:
        from_string(text, 0.1)
    assert "\n" not in str(error.value)


TEXT_TO_IMAGE = """
accelerate launch --mixed_precision="fp16" train_text_to_image.py \\
  --train_batch_size=1 \\
  --gradient_accumulation_steps=4 \\
  --max_train_steps=15000 \\
  --learning_rate=1e-05 \\
  --max_grad_norm=1 \\
  --lr_scheduler="constant" --lr_warmup_steps=0 \\
  --output_dir="sd-model"
"""
DREAMBOOTH = (
    "--learning_rate=1e-4 --lr_scheduler=cosine_with_restarts --lr_num_cycles=2 --lr_warmup_steps=100 "
    "--max_train_steps=1100"
)
POLYNOMIAL = (
    "--learning_rate=1e-4 --lr_scheduler polynomial --lr_power 2 --lr_warmup_steps 0 --num_train_epochs 2"
)
WARMUP = {"learning_rate": "1e-6", "lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 10}
PIECEWISE = {
    "learning_rate": 1.0,
    "lr_scheduler": "piecewise_constant",
    "step_rules": "1:10,0.5",
    "max_train_steps": 20,
}
CONTROLNET = TEXT_TO_IMAGE.replace("--lr_scheduler", "--pretrained_model_name_or_path=a #")
DIFFUSERS = [
    (TEXT_TO_IMAGE, {}, 15000, {0: 1e-5, 14_999: 1e-5}),
    (DREAMBOOTH, {}, 1100, {50: 5e-5, 350: 5e-5, 600: 1e-4, 1100: 0.0}),
    (POLYNOMIAL, {"steps_per_epoch": 50}, 100, {50: 1e-7 + (1e-4 - 1e-7) / 4}),
    (WARMUP, {}, None, {5: 5e-7, 10: 1e-6}),
    (PIECEWISE, {}, 20, {9: 1.0, 10: 0.5}),
    (CONTROLNET, {}, 15000, {0: 1e-5, 14_999: 1e-5}),
    (TEXTUAL_INVERSION, {"num_processes": 2}, 3000, {50: 0.004, 100: 0.008, 2999: 0.008}),
    (TEXTUAL_INVERSION, {"init_value": 1.0, "num_processes": 2}, 3000, {50: 0.5, 100: 1.0}),
]


test_the_flags_of_a_diffusers_script_give_its_rates = gives_rates(DIFFUSERS, "diffusers", "update")


def test_a_finished_run_of_whisper_agrees_with_its_log():
    """Its card and the first lines of its log. The run had skipped 2 updates of fp16 by step 25."""
    logged = json.loads('[{"step": 25, "learning_rate": 4.6e-07}, {"step": 50, "learning_rate": 9.6e-07}]')
    recipe = from_config(WHISPER)
    for entry in logged:
        assert_close(recipe.schedule(entry["step"] - 2), entry["learning_rate"], HOST_RTOL)
