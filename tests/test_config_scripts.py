"""Python scripts that build the config of torchtitan or OLMo-core by calls."""

import pytest
from framework_files import RECORDED, assert_has_rates, from_config, refuses
from helpers import HOST_RTOL, assert_close


LLAMA3_DEBUG = """
def llama3_debugmodel() -> Trainer.Config:
    model_spec = model_registry("debugmodel")
    return Trainer.Config(
        loss=ChunkedLossWrapper.Config(loss_fn=CrossEntropyLoss.Config()),
        hf_assets_path="./tests/assets/tokenizer",
        model_spec=model_spec,
        optimizer=default_adamw(lr=8e-4),
        lr_scheduler=LRSchedulersContainer.Config(
            warmup_steps=2,
            decay_ratio=0.8,
            decay_type="linear",
            min_lr_factor=0.0,
        ),
        training=TrainingConfig(
            num_tokens_per_microbatch_per_dp_rank=8 * 2048,
            max_context_length=2048,
            steps=10,
        ),
        metrics=MetricsProcessor.Config(log_freq=1),
        validator=Validator.Config(freq=5, steps=10),
    )
"""
LLAMA3_8B = """
def llama3_8b() -> Trainer.Config:
    return Trainer.Config(
        model_spec=model_registry("8B"),
        optimizer=default_adamw(lr=3e-4),
        training=TrainingConfig(max_context_length=8192, steps=1000),
        checkpoint=CheckpointManager.Config(interval=500),
    )
"""
OLMO3 = """
from olmo_core.optim import CosWithWarmup, SkipStepAdamWConfig

SEQUENCE_LENGTH = 8 * 1024
GLOBAL_BATCH_SIZE = 4 * 1024 * 1024


def build_config(opts, overrides):
    tokenizer_config = TokenizerConfig.dolma2()
    data_loader_config = NumpyDataLoaderConfig(
        global_batch_size=GLOBAL_BATCH_SIZE, seed=34521, num_workers=8
    )
    train_module_config = TransformerTrainModuleConfig(
        rank_microbatch_size=opts.sequence_length,
        max_sequence_length=opts.sequence_length,
        optim=SkipStepAdamWConfig(
            lr=3e-4,
            weight_decay=0.1,
            betas=(0.9, 0.95),
            group_overrides=[OptimGroupOverride(params=["embeddings.weight"], opts=dict(weight_decay=0.0))],
        ),
        scheduler=CosWithWarmup(warmup_steps=2000),
        compile_model=True,
        max_grad_norm=1.0,
    )
    trainer_config = TrainerConfig(
        save_folder=opts.save_folder,
        max_duration=Duration.tokens(int(5e12)),  # Originally scheduled for 5T
        hard_stop=Duration.tokens(int(4e12)),
    ).with_callback("gpu_monitor", GPUMemoryMonitorCallback())
    return ExperimentConfig(data_loader=data_loader_config, train_module=train_module_config)
"""
ANNEAL = """
MAX_DURATION = Duration.steps(1000)
STEPS = 300


def train_module(common):
    optim = AdamWConfig(lr=2e-5 * math.sqrt(4))
    scheduler = LinearWithWarmup(units=SchedulerUnits.steps, warmup=STEPS // 3, alpha_f=0.0)
    return TransformerTrainModuleConfig(optim=optim, scheduler=scheduler)


def loader(common):
    return NumpyDataLoaderConfig(global_batch_size=common.global_batch_size, seed=1)


def trainer(common):
    return TrainerConfig(max_duration=MAX_DURATION)


def components():
    return CommonComponents(global_batch_size=1024)
"""
CONFIGS = [  # a script, its framework, num_counts, and rates by count
    (LLAMA3_DEBUG, "torchtitan", 10, {0: 4e-4, 1: 8e-4, 2: 8e-4, 3: 7e-4, 9: 1e-4}),
    (LLAMA3_8B, "torchtitan", 1000, {0: 1.5e-6, 199: 3e-4, 600: 1.5e-4}),
    (LLAMA3_DEBUG.replace("default_adamw", "OptimizersContainer.Config"), "torchtitan", 10, {1: 8e-4}),
    (OLMO3, "olmo", 1_192_093, {0: 1.5e-7, 1999: 3e-4}),
    (ANNEAL, "olmo", 1000, {0: 4e-7, 99: 4e-5, 549: 2e-5, 999: 0.0}),
]


@pytest.mark.parametrize(("script", "framework", "num_counts", "expected"), CONFIGS)
def test_a_script_gives_the_rates_of_its_calls(script, framework, num_counts, expected, tmp_path):
    path = tmp_path / "config_registry.py"
    path.write_text(script)
    for config in (script, path):
        recipe = from_config(config)
        assert (recipe.framework, recipe.num_counts) == (framework, num_counts)
        for count, rate in expected.items():
            assert_close(recipe.schedule(count), rate, HOST_RTOL)


CORE = [case for case in RECORDED["olmo"] if case["version"] == "3.0.0"]


@pytest.mark.parametrize("case", CORE, ids=[f"{number} {case['call']}" for number, case in enumerate(CORE)])
def test_a_call_gives_the_curve_of_its_class(case):
    """Write a recorded config as calls, and compare with the curve of the framework."""
    module, duration = case["settings"]["train_module"], case["settings"]["trainer"]["max_duration"]
    given = {name: value for name, value in module["scheduler"].items() if name != "_CLASS_"}
    arguments = ", ".join(f"{name}={value!r}" for name, value in given.items())
    script = f"""
config = TransformerTrainModuleConfig(optim=AdamWConfig(lr={module["optim"]["lr"]}),
                                      scheduler={case["call"]}({arguments}))
trainer = TrainerConfig(max_duration=Duration.{duration["unit"]}({duration["value"]}))
loader = NumpyDataLoaderConfig(global_batch_size={case["settings"]["data_loader"]["global_batch_size"]})
"""
    assert_has_rates(from_config(script).schedule, case["rates"])


def test_a_duration_that_a_script_lacks_may_be_given_in_steps():
    recipe = from_config(OLMO3.replace("max_duration", "duration"), names={"max_duration": 4000})
    assert (recipe.num_counts, recipe.schedule(1999)) == (4000, 3e-4)


def test_the_optimizer_and_the_clipping_are_stated():
    assert from_config(OLMO3)[8:] == (0.1, "SkipStepAdamW", 1.0)


REFUSED = [
    (LLAMA3_DEBUG + LLAMA3_8B, "the script has 2 values of optimizer: give the function that you mean"),
    (
        LLAMA3_DEBUG + "\nconfig = llama3_debugmodel()\nconfig.training.steps = 50\n",
        "the script sets training after the call: give the call with the final values",
    ),
    (
        LLAMA3_DEBUG.replace("default_adamw(lr=8e-4)", "muon(lr=8e-4)"),
        r"lr is 'muon\(lr=0.0008\)', which has",
    ),
    (LLAMA3_DEBUG.replace("lr=8e-4", "8e-4"), "give the arguments of default_adamw by name"),
    (OLMO3.replace("warmup_steps=2000", "**kwargs"), "give the arguments of CosWithWarmup by name"),
    (
        OLMO3.replace("CosWithWarmup(w", "WSDS(w"),
        "the class of the scheduler must be one of .*, got 'WSDS'",
    ),
    (
        OLMO3.replace("lr=3e-4", "lr=opts.lr"),
        "lr is 'opts.lr', which has no value in the config: give names=",
    ),
    (OLMO3.replace("optim=Skip", "optim=OPTIM or Skip"), r"optim is 'OPTIM or SkipStep.*: give its call"),
    (OLMO3.replace("max_duration", "duration"), "the config has no max_duration: give names="),
]


test_a_script_that_is_not_clear_is_refused = refuses(REFUSED)
