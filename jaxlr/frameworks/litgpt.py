"""LitGPT: the `train` section of the YAML configs of its `pretrain` and `finetune` commands.

The rules are those of litgpt 0.5.13 (`litgpt/pretrain.py`, `litgpt/finetune/lora.py`, `litgpt/args.py`).
"""

import math
from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_positive_count
from jaxlr.convert.text import from_string
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer, torch_class
from jaxlr.schedules import Phase, phased_lr


def read(config: Config) -> Recipe:
    """Read `train` and the rate of the optimizer. A count is a batch of `pretrain`, or an update."""
    train, (cls, arguments) = config.inner("train"), _optimizer_of(config)
    rate = arguments.base_rate("lr")
    config.state(optimizer=cls, weight_decay=arguments.stated("weight_decay"))
    processes = _processes(config)
    batches = _batches(train, processes)
    if train.has("max_tokens"):
        config.state(clip=train.stated_clip("max_norm"))
        return _pretrain(config, train, rate, processes, batches)
    return _finetune(config, train, rate, batches)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `instantiate_torch_optimizer`. All parameters decay."""
    config.refuse("quantize", reason="it takes the AdamW of bitsandbytes", error=OptimizerError)
    train, (cls, arguments) = config.inner("train"), _optimizer_of(config)
    clip = train.clip("max_norm") if train.has("max_tokens") else None  # finetuning clips nothing
    batches = _batches(train, _processes(config))
    name = torch_class(cls or "AdamW")
    return TorchOptimizer(name, arguments.options("lr"), clip, batches_per_update=batches)


FRAMEWORK = Framework(
    name="litgpt",
    read=read,
    optimizer=optimizer,
    marks=(("train.lr_warmup_steps", "train.micro_batch_size"),),
    aliases=("LitGPT", "lit-gpt"),
)


def _optimizer_of(config: Config) -> tuple[str | None, Config]:
    """Return the class of the optimizer and its arguments. A text alone is the class."""
    if not isinstance(config.get("optimizer"), Mapping):
        return config.stated_text("optimizer"), config.of({})
    settings = config.inner("optimizer")
    return settings.stated_text("class_path"), settings.inner("init_args")


def _batches(train: Config, processes: int) -> int:
    """Return the batches of a process in an update."""
    samples = train.count("global_batch_size") // processes
    batches = samples // train.positive_count("micro_batch_size")
    return check_positive_count("global_batch_size / micro_batch_size of one process", batches)


def _processes(config: Config) -> int:
    """Return the number of GPUs of all nodes."""
    if config.num_processes is not None:
        return config.num_processes
    if not isinstance(config.get("devices"), int):
        raise ValueError(
            "the config does not say the number of devices: give num_processes, those of all nodes"
        )
    return check_positive_count("devices", config.count("devices") * config.count("num_nodes", 1))


def _pretrain(config: Config, train: Config, rate: Any, processes: int, batches: int) -> Recipe:
    """Return a line and a cosine, which count the batches of a process."""
    size = train.count("micro_batch_size") * train.positive_count("max_seq_length")
    end = check_positive_count("the batches of max_tokens", train.count("max_tokens") // processes // size)
    train = with_defaults(train, {"min_lr": 4e-5}, "litgpt pretrain")
    warmup = train.count("lr_warmup_steps", 0) * batches
    if train.has("lr_warmup_fraction"):
        warmup = math.ceil(train.number("lr_warmup_fraction") * config.steps_in_epoch())
    warmup = min(end, warmup)
    config.assume(
        f"The warmup has {warmup} of {end} batches. The last of {batches} batches sets an update."
    )
    ramp = Phase(warmup, "linear", start_factor=0.0, end_factor=1.0)
    cosine = Phase(end - warmup, "cosine", start_factor=1.0, end_value=train.number("min_lr"))
    return config.recipe("litgpt", phased_lr(rate, [ramp, cosine]), "iteration", end)


def _finetune(config: Config, train: Config, rate: Any, batches: int) -> Recipe:
    """Return the scheduler of the finetuning commands, which counts updates and ignores `min_lr`."""
    warmup = train.positive_count("lr_warmup_steps")
    steps = train.whole_epochs("epochs") * (config.steps_in_epoch() // batches)
    if train.has("max_steps"):
        steps = min(steps, train.count("max_steps"))
    if steps <= warmup:
        raise ValueError(f"the run must be longer than lr_warmup_steps, got {steps} updates and {warmup}")
    config.assume(f"The run has {steps} updates, each of {batches} batches of a process.")
    line = f"LambdaLR(optimizer, lambda step: step / {warmup})"
    cosine = f"CosineAnnealingLR(optimizer, T_max={steps - warmup})"
    schedule = from_string(f"SequentialLR(optimizer, [{line}, {cosine}], milestones=[{warmup}])", rate)
    return config.recipe("litgpt", schedule, "update", steps)
