"""Record the curves of frameworks for language and speech in `tests/framework_recipes_nlp.json`.

The environment needs torch and NumPy. The folder holds clones of wenet-e2e/wenet, EleutherAI/gpt-neox,
huggingface/nanotron, Lightning-AI/litgpt, OpenNMT/OpenNMT-py, eole-nlp/eole, k2-fsa/icefall and
speechbrain/speechbrain, and a clone of ftshijt/espnet, a fork of ESPnet of October 2025:

    python scripts/recording/nlp.py FOLDER
"""

import functools
import math
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Union
from unittest import mock

import numpy as np
import torch
from curves import case, definitions, new_optimizer, record, stepped, text_at
from torch.optim import lr_scheduler


NUM_STEPS = 20

ESPNET: tuple[
    tuple[str, str, dict[str, Any]], ...
] = (  # the scheduler of a config, its class, its settings
    ("warmuplr", "WarmupLR", {"warmup_steps": 5}),
    ("warmuplr", "WarmupLR", {"warmup_steps": 1}),
    ("warmuplr", "WarmupLR", {}),
    ("noamlr", "NoamLR", {"model_size": 512, "warmup_steps": 5}),
    ("noamlr", "NoamLR", {"warmup_steps": 7}),
    (
        "piecewiselinearwarmuplr",
        "PiecewiseLinearWarmupLR",
        {"warmup_steps_list": [0, 4, 9], "warmup_lr_list": [0.0, 5e-4, 1e-3]},
    ),
    (
        "piecewiselinearwarmuplr",
        "PiecewiseLinearWarmupLR",
        {"warmup_steps_list": [0, 1, 3, 8], "warmup_lr_list": [1e-5, 2e-4, 1e-4, 3e-3]},
    ),
    (
        "CosineAnnealingWarmupRestarts",
        "CosineAnnealingWarmupRestarts",
        {"first_cycle_steps": 8, "max_lr": 1e-3, "min_lr": 1e-5, "warmup_steps": 3, "gamma": 0.5},
    ),
    (
        "warmupsteplr",
        "WarmupStepLR",
        {"warmup_steps": 5, "steps_per_epoch": 3, "step_size": 2, "gamma": 0.5},
    ),
    ("warmupsteplr", "WarmupStepLR", {"warmup_steps": 4, "steps_per_epoch": 2, "gamma": 0.9}),
    (
        "tristagelr",
        "TristageLR",
        {"max_steps": 17, "warmup_ratio": 0.3, "hold_ratio": 0.2, "decay_ratio": 0.5, "init_lr_scale": 0.6},
    ),
    ("tristagelr", "TristageLR", {"max_steps": 30, "final_lr_scale": 0.1}),
    (
        "ExponentialDecayWarmup",
        "ExponentialDecayWarmup",
        {"max_lr": 1e-3, "min_lr": 5e-6, "total_steps": 15, "warmup_steps": 4, "warm_from_zero": True},
    ),
    (
        "ExponentialDecayWarmup",
        "ExponentialDecayWarmup",
        {"max_lr": 1e-3, "min_lr": 1e-5, "total_steps": 12, "warm_from_zero": True},
    ),
    (
        "ExponentialDecayWarmup",
        "ExponentialDecayWarmup",
        {"max_lr": 1e-3, "min_lr": 1e-5, "total_steps": 18, "warmup_steps": 3},
    ),
    ("steplr", "StepLR", {"step_size": 3, "gamma": 0.8}),
    ("exponentiallr", "ExponentialLR", {"gamma": 0.9}),
    ("CosineAnnealingLR", "CosineAnnealingLR", {"T_max": 15, "eta_min": 1e-5}),
    ("onecyclelr", "OneCycleLR", {"max_lr": 1e-2, "total_steps": 25}),
)
ESPNET_FILES = {
    "WarmupLR": "warmup_lr",
    "NoamLR": "noam_lr",
    "PiecewiseLinearWarmupLR": "piecewise_linear_warmup_lr",
    "CosineAnnealingWarmupRestarts": "cosine_anneal_warmup_restart",
    "WarmupStepLR": "warmup_step_lr",
    "TristageLR": "tristage_lr",
    "ExponentialDecayWarmup": "exponential_decay_warmup",
}


def espnet(folder: Path) -> list[Any]:
    """Return the rates of ESPnet's schedulers, and of torch's that its configs name."""
    names: dict[str, Any] = {"torch": torch, "np": np, "warnings": warnings, "math": math}
    names.update(_LRScheduler=lr_scheduler.LRScheduler, AbsBatchStepScheduler=object)
    names.update(typechecked=lambda function: function, Union=Union)
    for name, file in ESPNET_FILES.items():
        text = text_at(folder / "espnet", "HEAD", f"espnet2/schedulers/{file}.py")
        definitions(text, [name], names)
    cases: list[Any] = []
    for scheduler, name, given in ESPNET:
        cls = names.get(name) or getattr(lr_scheduler, name)
        rates = stepped(functools.partial(cls, **given), 1e-3, NUM_STEPS)
        settings = {"optim": "adam", "optim_conf": {"lr": 1e-3}, "scheduler": scheduler}
        cases.append(case("202511", name, {**settings, "scheduler_conf": given}, rates))
    return cases


def wenet(folder: Path) -> list[Any]:
    """Return the rates of WeNet, whose trainer sets the step of a new scheduler to -1."""
    names: dict[str, Any] = {"_LRScheduler": lr_scheduler.LRScheduler, "List": list}
    text = text_at(folder / "wenet", "HEAD", "wenet/utils/scheduler.py")
    cls = definitions(text, ["WarmupLR"], names)["WarmupLR"]

    def build(sgd: Any, warmup: int) -> Any:
        scheduler = cls(sgd, warmup_steps=warmup)
        scheduler.set_step(-1)
        return scheduler

    cases: list[Any] = []
    for warmup in (1, 5, 25_000):
        settings = {
            "optim": "adam",
            "optim_conf": {"lr": 2e-3},
            "scheduler": "warmuplr",
            "dataset_conf": {},
        }
        settings["scheduler_conf"] = {"warmup_steps": warmup}
        rates = stepped(functools.partial(build, warmup=warmup), 2e-3, NUM_STEPS)
        cases.append(case("3.1.0", "WarmupLR", settings, rates))
    return cases


# A version of GPT-NeoX, and a commit that has its rule.
NEOX = (("2026.6", "19f294d5"), ("2025", "19f294d5^"), ("2.0", "v2.0"))
NEOX_SETTINGS: tuple[dict[str, Any], ...] = (
    {"lr_decay_style": "cosine", "warmup": 0.2, "min_lr": 1e-4},
    {"lr_decay_style": "cosine", "warmup": 0.23, "min_lr": 1e-4, "lr_decay_iters": 27},
    {"lr_decay_style": "cosine", "warmup": 0.01},
    {"lr_decay_style": "cosine", "warmup": 0.0, "min_lr": 2e-4},
    {"lr_decay_style": "linear", "warmup": 0.33, "min_lr": 3e-4},
    {"lr_decay_style": "linear", "warmup": 0.1, "lr_decay_iters": 12, "min_lr": 1e-5},
    {"lr_decay_style": "exponential", "warmup": 0.15, "min_lr": 6e-4},
    {"lr_decay_style": "constant", "warmup": 0.25, "lr_decay_fraction": 0.55},
)


def gpt_neox(folder: Path) -> list[Any]:
    """Return the rates of GPT-NeoX, of three versions."""
    cases: list[Any] = []
    for version, commit in NEOX:
        text = text_at(folder / "gpt-neox", commit, "megatron/learning_rates.py")
        names = definitions(text, ["AnnealingLR"], {"math": math, "print_rank_0": mock.Mock()})
        text = text_at(folder / "gpt-neox", "HEAD", "megatron/training.py")
        build = definitions(text, ["get_learning_rate_scheduler"], names)["get_learning_rate_scheduler"]
        for given in NEOX_SETTINGS:
            args = {"no_load_optim": False, "deepspeed": True, "optimizer_type": "adam", "lr": 1e-3}
            args |= {
                "lr_decay_iters": None,
                "lr_decay_fraction": None,
                "train_iters": NUM_STEPS,
                "min_lr": 0.0,
            }
            args |= {"use_checkpoint_lr_scheduler": False, "override_lr_scheduler": False, "use_mup": False}
            settings = {"optimizer": {"type": "Adam", "params": {"lr": 1e-3}}, "train_iters": NUM_STEPS}
            neox_args = SimpleNamespace(**{**args, **given})
            rates = stepped(functools.partial(build, neox_args=neox_args), 1e-3, NUM_STEPS)
            cases.append(case(version, "AnnealingLR", {**settings, **given}, rates))
    return cases


NANOTRON: tuple[dict[str, Any], ...] = (
    {"lr_warmup_steps": 4, "lr_decay_style": "cosine", "min_decay_lr": 1e-5},
    {"lr_warmup_steps": 0, "lr_decay_style": "linear", "min_decay_lr": 0.0},
    {"lr_warmup_steps": 3, "lr_decay_starting_step": 10, "lr_decay_style": "1-sqrt", "min_decay_lr": 1e-4},
    {
        **{"lr_warmup_steps": 3, "lr_decay_starting_step": 12, "lr_decay_steps": 6},
        **{"lr_decay_style": "linear", "min_decay_lr": 0},
    },
    {"lr_warmup_steps": 5, "lr_warmup_style": "constant", "lr_decay_steps": 9, "min_decay_lr": 2e-4},
    {"lr_warmup_steps": 6, "lr_decay_starting_step": 2, "lr_decay_steps": 12, "min_decay_lr": 2e-4},
    {"lr_warmup_steps": 2, "lr_decay_style": "cosine"},
)


def nanotron(folder: Path) -> list[Any]:
    """Return the rates of nanotron's scheduler."""
    names: dict[str, Any] = {"math": math, "partial": functools.partial, "LambdaLR": lr_scheduler.LambdaLR}
    names |= {"log_rank": mock.Mock(), "logger": mock.Mock(), "logging": mock.Mock()}
    text = text_at(folder / "nanotron", "HEAD", "src/nanotron/helpers.py")
    build = definitions(text, ["lr_scheduler_builder"], names)["lr_scheduler_builder"]
    cases: list[Any] = []
    for given in NANOTRON:
        scheduler = {"learning_rate": 1e-3, "lr_warmup_style": "linear", **given}
        defaults = {"lr_decay_style": "linear", "lr_decay_steps": None, "lr_decay_starting_step": None}
        args = SimpleNamespace(**{**defaults, "min_decay_lr": 1e-3, **scheduler})

        def built(sgd: Any, args: Any = args) -> Any:
            return build(SimpleNamespace(get_base_optimizer=lambda: sgd), args, NUM_STEPS)

        rates = stepped(built, 1e-3, NUM_STEPS)
        settings: dict[str, Any] = {"tokens": {"train_steps": NUM_STEPS}}
        settings["optimizer"] = {"learning_rate_scheduler": scheduler}
        cases.append(case("0.5", "lr_scheduler_builder", settings, rates))
    return cases


LITGPT: tuple[tuple[int, dict[str, Any]], ...] = (  # devices, and settings: 20 counts for each
    (2, {"max_tokens": 20 * 2 * 16, "max_seq_length": 8, "lr_warmup_steps": 3, "min_lr": 4e-5}),
    (1, {"max_tokens": 20 * 16 + 5, "max_seq_length": 8, "lr_warmup_steps": 0, "min_lr": 1e-4}),
    (1, {"epochs": 3, "lr_warmup_steps": 5, "max_steps": 20}),
    (2, {"epochs": 2, "lr_warmup_steps": 1}),
)


def litgpt(folder: Path) -> list[Any]:
    """Return the rates of LitGPT's pretraining, which sets them, and of its finetuning."""
    names: dict[str, Any] = {"math": math, "torch": torch}
    for file, name in {"pretrain": "get_lr", "finetune/lora": "get_lr_scheduler"}.items():
        definitions(text_at(folder / "litgpt", "HEAD", f"litgpt/{file}.py"), [name], names)
    cases: list[Any] = []
    for devices, given in LITGPT:
        train = {"global_batch_size": 8, "micro_batch_size": 2, **given}
        warmup, end = given["lr_warmup_steps"], given.get("max_steps", NUM_STEPS)
        if "max_tokens" in given:
            batches, call = 8 // devices // 2, "get_lr"
            rates = [
                names[call](1e-3, count, warmup * batches, end, given["min_lr"])
                for count in range(NUM_STEPS)
            ]
        else:
            call = "get_lr_scheduler"
            build = functools.partial(names[call], warmup_steps=warmup, max_steps=end)
            rates = stepped(build, 1e-3, NUM_STEPS)
        settings = {"train": train, "devices": devices}
        settings["optimizer"] = {"class_path": "torch.optim.AdamW", "init_args": {"lr": 1e-3}}
        cases.append(case("0.5.13", call, settings, rates))
    return cases


OPENNMT: tuple[dict[str, Any], ...] = (
    {"decay_method": "noam", "warmup_steps": 5, "hidden_size": 512},
    {"decay_method": "noam", "hidden_size": 64},
    {"decay_method": "rsqrt", "warmup_steps": 7},
    {"decay_method": "rsqrt", "warmup_steps": 1},
    {"decay_method": "none", "start_decay_steps": 8, "decay_steps": 3, "learning_rate_decay": 0.7},
    {"decay_method": "none", "start_decay_steps": 4, "decay_steps": 6},
    {"decay_method": "none", "start_decay_steps": 1, "decay_steps": 5},
    {"decay_method": "none"},
    {"decay_method": "cosine", "warmup_steps": 5},  # of Eole only
)


def opennmt(folder: Path) -> list[Any]:
    """Return the rates of OpenNMT-py and of Eole, whose first update is step 1."""
    wanted = [f"{name}_decay" for name in ("noam", "noamwd", "cosine", "exponential", "rsqrt")]
    wanted.append("make_learning_rate_decay_fn")
    cases: list[Any] = []
    for name, file in {"OpenNMT-py": "onmt", "eole": "eole"}.items():
        names: dict[str, Any] = {"functools": functools, "sqrt": math.sqrt, "cos": math.cos, "pi": math.pi}
        definitions(text_at(folder / name, "HEAD", f"{file}/utils/optimizers.py"), wanted, names)
        for given in OPENNMT[: None if name == "eole" else -1]:
            settings = {"learning_rate": 2.0, "train_steps": NUM_STEPS, **given}
            defaults = {"warmup_steps": 4000, "start_decay_steps": 50_000, "decay_steps": 10_000}
            defaults |= {"learning_rate_decay": 0.5, "hidden_size": -1}
            opt = SimpleNamespace(**{**defaults, **settings})
            if name == "eole":
                settings = {"training": settings, "model": {"hidden_size": settings.pop("hidden_size", 2)}}
                opt = SimpleNamespace(model=opt, training=opt)
            decay = names["make_learning_rate_decay_fn"](opt)
            rates = [2.0 * decay(step) for step in range(1, NUM_STEPS + 1)]
            cases.append(case(None, name, settings, rates))
    return cases


ICEFALL: tuple[dict[str, Any], ...] = (
    {"lr_batches": 5, "lr_epochs": 2, "warmup_batches": 6},
    {"lr_batches": 7500, "lr_epochs": 3.5, "warmup_start": 0.1},
    {"lr_batches": 9, "lr_epochs": 0.7, "warmup_batches": 0},
    {"lr_batches": 30, "lr_epochs": 4, "warmup_batches": 4.5, "warmup_start": 0.0},
)


def icefall(folder: Path) -> list[Any]:
    """Return the rates of Eden, set as `zipformer/train.py` does. An epoch has 6 batches."""
    names: dict[str, Any] = {"Optimizer": torch.optim.Optimizer}
    text = text_at(folder / "icefall", "HEAD", "egs/librispeech/ASR/zipformer/optim.py")
    cls = definitions(text, ["LRScheduler", "Eden"], names)["Eden"]
    cases: list[Any] = []
    for given in ICEFALL:
        sgd, rates = new_optimizer(0.045), list[float]()
        scheduler = cls(sgd, **given)
        for count in range(NUM_STEPS):
            scheduler.step_epoch(count // 6)
            scheduler.step_batch(count + 1)
            rates.append(sgd.param_groups[0]["lr"])
        cases.append(case("2026.6", "Eden", {"base_lr": 0.045, **given}, rates))
    return cases


SPEECHBRAIN: tuple[tuple[str, dict[str, Any]], ...] = (
    ("NoamScheduler", {"lr_initial": 0.001, "n_warmup_steps": 5}),
    ("NoamScheduler", {"lr_initial": 1.0, "n_warmup_steps": 1, "model_size": 256}),
    ("LinearScheduler", {"initial_value": 0.02, "final_value": 0.0004, "epoch_count": 25}),
    ("StepScheduler", {"initial_value": 0.1}),
    ("StepScheduler", {"initial_value": 0.1, "decay_factor": 0.7, "decay_drop": 3}),
    ("NewBobScheduler", {"initial_value": 1.0}),
    (
        "NewBobScheduler",
        {
            **{"initial_value": 0.9, "annealing_factor": 0.8, "improvement_threshold": 0.05},
            "patient": 2,
        },
    ),
)
METRICS = [
    *(5.0, 4.9, 4.895, 4.9, 4.0, 3.99, 3.99, 3.98, 3.9, 3.89),
    *(0.0, 0.0, 1.0, 1.0, 0.5, 0.4, 0.39, 0.4, 0.3, 0.2),
]


def speechbrain(folder: Path) -> list[Any]:
    """Return the rates of SpeechBrain, whose recipes call a scheduler after an update or an epoch."""
    names: dict[str, Any] = {"torch": torch, "math": math, "checkpoints": mock.MagicMock()}
    names["checkpoints"].register_checkpoint_hooks = lambda cls: cls
    names["checkpoints"].mark_as_saver = names["checkpoints"].mark_as_loader = lambda function: function
    text = text_at(folder / "speechbrain", "HEAD", "speechbrain/nnet/schedulers.py")
    definitions(text, [name for name, _ in SPEECHBRAIN], names)
    cases: list[Any] = []
    for name, given in SPEECHBRAIN:
        rate = given["initial_value"] if name == "NewBobScheduler" else 0.003
        sgd, scheduler, rates = new_optimizer(rate), names[name](**given), list[float]()
        for count, metric in enumerate(METRICS):
            rates.append(sgd.param_groups[0]["lr"])
            if name == "NoamScheduler":
                scheduler(sgd)
            else:
                given_to = metric if name == "NewBobScheduler" else count + 1
                _, sgd.param_groups[0]["lr"] = scheduler(given_to)
        settings = {"lr_annealing": {"!new": f"speechbrain.nnet.schedulers.{name}", **given}}
        settings["opt_class"] = {"!new": "torch.optim.Adam", "lr": rate}
        metrics = {"metrics": METRICS} if name == "NewBobScheduler" else {}
        cases.append(case("1.1.0", name, settings, rates, **metrics))
    return cases


if __name__ == "__main__":
    record(
        "framework_recipes_nlp.json",
        *(espnet, wenet, gpt_neox, nanotron, litgpt, opennmt, icefall, speechbrain),
    )
