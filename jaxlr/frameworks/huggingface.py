"""Hugging Face transformers: the settings of `TrainingArguments`.

The rules are those of transformers 5.24.0 (`training_args.py`, `trainer.py`), compared with 4.46.3. Those
of the schedules are in `huggingface_schedules.py`. Where the versions differ, a comment says so. The
defaults of ms-swift are those of its version 4.6 (`trainers/arguments.py`).
"""

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from jaxlr._checks import shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.huggingface_schedules import (
    CALLS,
    ENDLESS,
    NEWEST_RULES,
    PLATEAUS,
    check_type,
    get_scheduler,
    keywords_of,
)
from jaxlr.frameworks.recipe import NUMBER, Config, Framework, OptimizerError, Recipe, TorchOptimizer


_OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_apex_fused"), "AdamW"),
    **{"sgd": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop"},
}
_OTHER_OPTIMIZERS = ("optim_args", "use_galore", "use_apollo", "use_badam", "use_adam_mini", "use_muon")
_OF_SWIFT = ("tuner_type", "rlhf_type", "sft_type", "split_dataset_ratio", "swift_version")
_QLORA_DEFAULTS = {
    **{"lr_scheduler_type": "constant", "warmup_ratio": 0.03, "max_steps": 10_000},
    **{"max_grad_norm": 0.3, "optim": "paged_adamw_32bit", "gradient_accumulation_steps": 16},
}
_SWIFT_DEFAULTS = {"lr_scheduler_type": "cosine", "weight_decay": 0.1, "adam_beta2": 0.95}
# Names of rates that are no rates of some parameters.
_ENDS = re.compile(r"(?:min|max|end|final|init|initial|base|peak|warmup)_(?:lr|learning_rate)")
# "Use adamw_torch with betas=..." of a model card, and "Adam with betas=..." of an older one.
_CARD_OPTIMIZER = re.compile(r"(?:Use )?(?:OptimizerNames\.)?(\w+) with ")
_CARD_NUMBERS = re.compile(r"betas=\(([\d.e-]+), ?([\d.e-]+)\) and epsilon=([\d.e-]+)")


def read(config: Config) -> Recipe:
    """Read `TrainingArguments`, as keywords, flags, YAML or JSON, or the list of a model card."""
    config = _with_defaults_of_program(config)
    _refuse_others(config)
    if config.version is None and config.has("transformers_version"):
        config.set_version(config.text("transformers_version"))
        config.assume(f"The model card says transformers {config.version_text}.")
    base_rate = config.base_rate("learning_rate")
    if own := _own_rates(config):
        config.assume(f"Some parameters have a rate of {' and '.join(own)}. This is that of the others.")
    init_value = lora_plus_rate(config, base_rate) if config.has("loraplus_lr_ratio") else base_rate
    name = config.text_or_default("lr_scheduler_type", "linear", "TrainingArguments")
    name = name.removeprefix("SchedulerType.").lower()
    _state_optimizer(config)
    check_type(name)
    keywords = scheduler_keywords(config, name)
    if init_value is not base_rate and name not in PLATEAUS:
        # A fraction of the optimizer's rate, also in a group with another rate.
        for lowest in {"min_lr", "lr_end"} & keywords.keys():
            keywords[lowest] = keywords[lowest] * (init_value / base_rate)
    _check_version(config, name)
    if name in PLATEAUS:
        config.assume("The plateau is stepped once after each evaluation, with the metric of the trainer.")
        plateau = get_scheduler(init_value, name, scheduler_specific_kwargs=keywords)
        return config.recipe("huggingface", plateau, "evaluation", num_evaluations(config))
    num_steps = num_training_steps(config, needed=_needs_length(config, name))
    num_warmup_steps = _num_warmup_steps(config, name, num_steps)
    version = config.version_text or NEWEST_RULES
    schedule = get_scheduler(init_value, name, num_warmup_steps, num_steps, keywords, version=version)
    return config.recipe("huggingface", schedule, "update", num_steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of the Trainer, which axolotl has, too (`trainer_optimizer.py`)."""
    config = _with_defaults_of_program(config)
    config.refuse(
        "loraplus_lr_ratio",
        reason="LoRA+ has parameter groups with rates of their own",
        error=OptimizerError,
    )
    config.refuse(*_OTHER_OPTIMIZERS, reason="it changes the optimizer", error=OptimizerError)
    config.refuse(
        *_own_rates(config), reason="it gives parameters a rate of their own", error=OptimizerError
    )
    key = config.first("optim", "optimizer")
    written = config.text(key, None)
    if config.flag("is_model_card"):
        config = _of_card(config, written)
    else:
        config = with_defaults(config, {"max_grad_norm": 1.0}, "TrainingArguments")
    if config.has("deepspeed"):
        config.assume("The optimizer is that of TrainingArguments, and not one of the DeepSpeed config.")
    if written is None:
        if config.since(4, 32) is False:
            raise OptimizerError(
                "the default optim before transformers 4.32 is 'adamw_hf', which has its own rule"
            )
        written = "adamw_torch"
        config.assume("optim is 'adamw_torch', the default of TrainingArguments.")
    written = _without_numbers(written)
    name = written.removeprefix("OptimizerNames.").lower()
    if name not in _OPTIMIZERS:
        known = ", ".join(map(repr, _OPTIMIZERS))
        raise OptimizerError(f"{key} must be one of {known}, got {shown_value(written)}")
    decay = config.number("weight_decay", 0.0)
    options: dict[str, Any] = {"weight_decay": decay if config.group == 0 else 0.0}
    if _OPTIMIZERS[name] == "AdamW":
        options["betas"] = (config.number("adam_beta1", 0.9), config.number("adam_beta2", 0.999))
        options["eps"] = config.number("adam_epsilon", 1e-8)
    clip = config.clip("max_grad_norm")
    return TorchOptimizer(_OPTIMIZERS[name], options, clip, ("biases", "norms"))


FRAMEWORK = Framework(
    name="huggingface",
    read=read,
    marks=(
        ("lr_scheduler_type",),
        ("per_device_train_batch_size",),
        ("learning_rate", "num_train_epochs"),
        ("learning_rate", "train_batch_size", "eval_batch_size"),
        ("learning_rate", "warmup_ratio"),
        ("learning_rate", "is_training_arguments"),
        ("learning_rate", "model_name_or_path"),
    ),
    optimizer=optimizer,
    aliases=("transformers", "trl", "llamafactory", "ms-swift"),
    calls=CALLS,
    has_versions=True,
)


def _is_of_swift(config: Config) -> bool:
    """Check if a config has settings that only ms-swift has."""
    has_type = config.has("train_type") and config.has("model")
    return has_type or any(config.has(name) for name in _OF_SWIFT)


def _with_defaults_of_program(config: Config) -> Config:
    """Return a config with the defaults of ms-swift or of qlora.py, if it has settings of its own."""
    if config.has("double_quant") or config.has("quant_type"):
        return with_defaults(config, _QLORA_DEFAULTS, "qlora.py")
    if not _is_of_swift(config):
        return config
    defaults: dict[str, Any] = {**_SWIFT_DEFAULTS}
    if config.get("rlhf_type") == "grpo":
        defaults["gradient_accumulation_steps"] = 1
    elif config.num_processes is not None:
        batch = config.positive_count("per_device_train_batch_size", 1) * config.num_processes
        defaults["gradient_accumulation_steps"] = math.ceil(16 / batch)
    return with_defaults(config, defaults, "ms-swift")


def lora_plus_rate(config: Config, rate: Any) -> Any:
    """Return the base rate of a parameter group of LoRA+, as LLaMA-Factory and axolotl have them."""
    group = config.groups("A matrices of LoRA", "B matrices of LoRA", "embeddings")
    if group == 2:
        return config.number("loraplus_lr_embedding", 1e-6)
    return rate * config.number("loraplus_lr_ratio") if group == 1 else rate


def _own_rates(config: Config) -> list[str]:
    """Return the settings of other programs that are rates of some parameters, such as LLaVA."""
    names = [name for name in config.settings if name.endswith(("_lr", "_learning_rate"))]
    rates = {name: str(config.settings[name]) for name in names if not _ENDS.fullmatch(name)}
    return [name for name, rate in rates.items() if NUMBER.fullmatch(rate) and float(rate) > 0]


def _of_card(config: Config, optimizer: str | None) -> Config:
    """Return the settings of a model card with the numbers in the text of its optimizer."""
    for name in ("weight_decay", "max_grad_norm"):
        if not config.has(name):
            raise ValueError(f"a model card does not state {name}: give names={{{name!r}: ...}}")
    match = _CARD_NUMBERS.search(optimizer or "")
    if match is None:
        return config
    names = ("adam_beta1", "adam_beta2", "adam_epsilon")
    return config.of({**config.settings, **dict(zip(names, match.groups(), strict=True))})


def _state_optimizer(config: Config) -> None:
    """State the optimizer and the clipping. The Trainer decays matrices only, in a group of their own."""
    is_lora_plus = config.has("loraplus_lr_ratio")
    group = 0 if is_lora_plus else config.groups("weights", "biases and norms")
    written = config.stated_text(config.first("optim", "optimizer"))
    optimizer = None if written is None else _without_numbers(written)
    config.state(optimizer=optimizer, weight_decay=config.stated_decay(is_undecayed=group == 1))
    config.state(clip=config.stated_clip("max_grad_norm"))
    if "adam" in (optimizer or "adamw").lower():
        config.state(momentum=config.stated("adam_beta1"))


def _without_numbers(optimizer: str) -> str:
    """Return the name in the text of an optimizer, which has its numbers, too, in a model card."""
    match = _CARD_OPTIMIZER.match(optimizer)
    return match[1] if match else optimizer


def scheduler_keywords(config: Config, name: str) -> dict[str, Any]:
    """Return `lr_scheduler_kwargs`, which is a mapping, or JSON on a command line."""
    keywords = config.get("lr_scheduler_kwargs")
    if isinstance(keywords, str):
        try:
            keywords = json.loads(keywords)
        except (ValueError, RecursionError):
            raise ValueError(f"lr_scheduler_kwargs must be JSON, got {shown_value(keywords)}") from None
    if keywords is None:
        if keywords_of(name) and config.flag("is_model_card"):
            config.assume("A model card does not list lr_scheduler_kwargs: their defaults are taken.")
        return {}
    if not isinstance(keywords, Mapping):
        raise ValueError(f"lr_scheduler_kwargs must map keywords to values, got {shown_value(keywords)}")
    inner = config.of(keywords)
    kinds = {"smooth": inner.flag, "verbose": inner.flag}
    kinds |= dict.fromkeys(("mode", "threshold_mode", "warmup_type", "decay_type"), inner.text)
    return {key: kinds.get(key, inner.number)(key) for key in keywords if inner.has(key)}


def _refuse_others(config: Config) -> None:
    """Refuse settings that TrainingArguments lacks, and that change the rate in other programs."""
    others = (
        *("num_cycles", "min_lr", "min_lr_rate", "min_lr_ratio", "lr_end", "warmup_epochs", "adaptive_lr"),
        "min_learning_rate",
        *("eta_min", "lr_min", "final_lr", "lr_decay", "lr_decay_rate", "lr_decay_steps", "lr_gamma"),
        *("scheduler", "lr_schedule"),
    )
    hint = "it is no setting of TrainingArguments; keywords of the scheduler go into lr_scheduler_kwargs"
    config.refuse(*others, "num_decay_steps", "num_stable_steps", "cosine_min_lr_ratio", reason=hint)
    if "lr_scheduler_type" not in config.settings and config.named("lr_scheduler_type") is None:
        config.refuse("lr_scheduler", reason="its name in TrainingArguments is lr_scheduler_type")
    hint = (
        "it is of a script with its own loop, so give from_string the call of get_scheduler in that script"
    )
    config.refuse("num_warmup_steps", "max_train_steps", "lr_warmup_steps", reason=hint)


def _check_version(config: Config, name: str) -> None:
    if name == "greedy" and config.since(5, 1) is False:
        raise ValueError("transformers 5.0 and earlier have no lr_scheduler_type 'greedy'")
    if name == "cosine_warmup_with_min_lr" and config.since(4, 53) is False:
        raise ValueError(
            "transformers 4.52 and earlier have no lr_scheduler_type 'cosine_warmup_with_min_lr'"
        )
    if name == "warmup_stable_decay" and config.version is None:
        config.assume("warmup_stable_decay is that of transformers 4.49 and later.")


def _needs_length(config: Config, name: str) -> bool:
    """Check if the schedule depends on the number of updates in the run."""
    if name not in ENDLESS or name == "constant":
        return name != "constant"
    steps = config.signed(config.first("warmup_steps", "lr_scheduler_warmup_steps"), 0)
    ratio = config.signed(config.first("warmup_ratio", "lr_scheduler_warmup_ratio"), 0)
    return 0 < steps < 1 or (steps == 0 and ratio > 0)


def num_evaluations(config: Config) -> int | None:
    """Return the epochs of the run, if the trainer evaluates after each. None if it is not known."""
    strategy = config.stated_text(config.first("eval_strategy", "evaluation_strategy")) or "epoch"
    counts_steps = config.signed(config.first("max_steps", "training_steps"), -1) > 0
    name = config.first("num_train_epochs", "num_epochs")
    if not strategy.lower().endswith("epoch") or counts_steps or not (config.epochs or config.has(name)):
        return None
    return math.ceil(config.num_epochs(name))


def num_training_steps(config: Config, needed: bool) -> int | None:
    """Return `max_steps` if it is above 0, else the epochs times the updates of an epoch."""
    name = config.first("max_steps", "training_steps")
    if config.signed(name, -1) > 0:
        return config.count(name)
    if not needed and config.steps_per_epoch is None:
        return None
    return math.ceil(config.num_epochs("num_train_epochs", "num_epochs") * _updates_per_epoch(config))


def _updates_per_epoch(config: Config) -> int:
    if _is_of_swift(config) and not config.has("gradient_accumulation_steps"):
        raise ValueError(
            "ms-swift accumulates gradients to a batch of 16: give num_processes, or "
            "names={'gradient_accumulation_steps': ...}"
        )
    batches, accumulation = _batches_per_epoch(config), config.accumulation()
    rounded_down, rounded_up = max(1, batches // accumulation), max(1, -(-batches // accumulation))
    if rounded_down == rounded_up:
        return rounded_up
    if config.version is None:
        config.assume(
            f"An epoch has {rounded_up} updates: transformers 4.52 and later round up, earlier ones down."
        )
    return rounded_down if config.since(4, 52) is False else rounded_up


def _batches_per_epoch(config: Config) -> int:
    if config.steps_per_epoch is None and config.has("batches_per_epoch"):
        batches = config.count("batches_per_epoch")
        config.assume(f"An epoch has {batches} batches, by the columns Epoch and Step of the model card.")
        return batches
    if config.steps_per_epoch is not None or not config.has("num_examples"):
        return config.steps_in_epoch()
    processes = config.num_processes_for(
        "num_examples gives the batches of an epoch only with num_processes"
    )
    examples = config.count("num_examples")
    batch = config.count(config.first("per_device_train_batch_size", "train_batch_size"))
    batches = -(-examples // max(1, batch * processes))
    config.assume(f"An epoch has {batches} batches: {examples} examples by {processes} x {batch}.")
    return batches


def _num_warmup_steps(config: Config, name: str, num_steps: int | None) -> int:
    if name == "constant":
        return 0
    steps_name = config.first("warmup_steps", "lr_scheduler_warmup_steps")
    ratio_name = config.first("warmup_ratio", "lr_scheduler_warmup_ratio")
    steps, ratio = config.number(steps_name, 0.0), config.number(ratio_name, 0.0)
    if ratio > 1:
        raise ValueError(f"{ratio_name} must be at most 1, got {ratio!r}")
    if steps >= 1:
        if ratio > 0:
            if config.since(5) is True:
                raise ValueError(f"{steps_name} and {ratio_name} are both given: give one of them")
            config.assume(f"{steps_name} is taken instead of {ratio_name}, as transformers 4 does.")
        if config.since(5) is True:
            return int(steps)  # from 5.0 on it may be a float, and is cut
        return config.count(steps_name)
    if steps > 0:  # since 5.0 a number below 1 is a ratio
        if config.since(5) is False:
            raise ValueError(f"{steps_name} must be a whole number before transformers 5, got {steps!r}")
        ratio = steps
        config.assume(f"{steps_name} below 1 is a fraction of the run, as in transformers 5.")
    elif ratio > 0 and config.since(5, 2) is True:
        raise ValueError(f"transformers 5.2 has no {ratio_name}: give it as warmup_steps, below 1")
    if ratio == 0:
        return 0
    assert num_steps is not None
    warm = math.ceil(num_steps * ratio)
    config.assume(f"The warmup has {warm} updates: {ratio:g} of {num_steps}, rounded up.")
    return warm
