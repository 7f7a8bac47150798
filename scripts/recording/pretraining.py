"""Record the curves of frameworks for pretraining in `tests/framework_recipes_pretraining.json`.

The environment needs torch. The folder holds clones of pytorch/torchtitan, allenai/OLMo, allenai/OLMo-core,
mosaicml/composer, mosaicml/llm-foundry and facebookresearch/fairseq:

    python scripts/recording/pretraining.py FOLDER
"""

import functools
import math
import sys
import textwrap
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest import mock

import torch
from curves import case, definitions, record, stepped, text_at
from torch.optim.lr_scheduler import LambdaLR


# The version, the file, and the commit that changed its rule later.
TITAN = (
    ("0.2.2", "torchtitan/components/lr_scheduler.py", "73a0e6979"),
    ("2025.5", "torchtitan/components/lr_scheduler.py", "e7c0cae93^"),
    ("2025.3", "torchtitan/components/lr_scheduler.py", "240419732^"),
)
TITAN_SETTINGS: tuple[dict[str, Any], ...] = (
    {"warmup_steps": 4},
    {"warmup_steps": 3, "decay_ratio": 0.5, "decay_type": "sqrt", "min_lr_factor": 0.1},
    {"warmup_steps": 5, "decay_ratio": 0.225, "decay_type": "cosine"},
    {"warmup_steps": 5, "decay_ratio": 0.9, "decay_type": "cosine", "min_lr_factor": 0.3},
    {"warmup_steps": 0, "decay_ratio": 0.0},
    {"warmup_steps": 0, "decay_type": "sqrt"},
    {"warmup_steps": 30},
)


def torchtitan(folder: Path) -> list[Any]:
    """Return the rates of torchtitan's schedulers, of a release and of its source before June 2025."""
    show = functools.partial(text_at, folder / "torchtitan")
    cases: list[Any] = []
    for version, file, commit in TITAN:
        names: dict[str, Any] = {"math": math, "functools": functools, "logger": mock.Mock()}
        names["LRSchedulersContainer"] = lambda optimizers, factor: factor
        build = definitions(show(commit, file), ["build_lr_schedulers"], names)["build_lr_schedulers"]
        for given in TITAN_SETTINGS:
            full = {"decay_ratio": None, "decay_type": "linear", "min_lr_factor": 0.0, "total_steps": None}
            scheduler = SimpleNamespace(**{**full, **given, "lr_min": given.get("min_lr_factor", 0.0)})
            job = SimpleNamespace(lr_scheduler=scheduler, training=SimpleNamespace(steps=20))
            factor = build(None, scheduler, 20) if version == "0.2.2" else build(None, job)
            settings = {"optimizer": {"lr": 1e-3}, "training": {"steps": 20}, "lr_scheduler": given}
            rates = stepped(functools.partial(LambdaLR, lr_lambda=factor), 1e-3, 20)
            cases.append(case(version, "build_lr_schedulers", settings, rates))
    text = show("cca07028e", "torchtitan/optimizer.py")
    line = definitions(text, ["linear_warmup_linear_decay"], {})["linear_warmup_linear_decay"]
    for warmup in (0, 5):
        settings = {"optimizer": {"lr": 1e-3}, "training": {"steps": 20, "warmup_steps": warmup}}
        factor = functools.partial(line, warmup, float(20 - warmup))
        rates = stepped(functools.partial(LambdaLR, lr_lambda=factor), 1e-3, 20)
        cases.append(case(None, "linear_warmup_linear_decay", settings, rates))
    return cases


COMMON: dict[str, Any] = {"grad_clip_warmup_steps": None, "grad_clip_warmup_factor": None}
OLMO_CLASSES = {
    "cosine_with_warmup": "CosWithWarmup",
    "linear_with_warmup": "LinearWithWarmup",
    "inverse_sqrt_with_warmup": "InvSqrtWithWarmup",
    "constant_with_warmup": "ConstantWithWarmupScheduler",
    "constant": "ConstantScheduler",
}
OLMO: tuple[tuple[str, Any, dict[str, Any]], ...] = (  # a name, the max_duration, and the other settings
    ("cosine_with_warmup", 20, {"t_warmup": 5, "alpha_f": 0.1}),
    (
        "cosine_with_warmup",
        "480T",
        {"t_warmup": 83, "alpha_f": 0.0, "warmup_min_lr": 0.0, "units": "tokens"},
    ),
    ("cosine_with_warmup", 20, {"t_warmup": 3, "alpha_f": 0.1, "t_max": 15}),
    ("linear_with_warmup", "495T", {"t_warmup": 0, "alpha_f": 0.0, "units": "tokens"}),
    ("linear_with_warmup", "495T", {"t_warmup": 30, "alpha_f": 0.2, "t_max": 700, "units": "tokens"}),
    ("inverse_sqrt_with_warmup", 20, {"t_warmup": 4, "warmup_min_lr": 1e-5}),
    ("constant_with_warmup", 12, {"t_warmup": 4}),
    ("constant", 4, {}),
)
CORE: tuple[tuple[str, int, dict[str, Any]], ...] = (  # a class, the steps or tokens, and its arguments
    ("CosWithWarmup", 20, {"warmup": 5}),
    ("CosWithWarmup", 480, {"warmup_fraction": 0.171, "units": "tokens", "alpha_f": 0.0}),
    ("CosWithWarmup", 20, {"warmup_steps": 4, "t_max": 16, "warmup_min_lr": 1e-4}),
    ("HalfCosWithWarmup", 20, {"warmup": 5, "alpha_f": 0.2}),
    ("LinearWithWarmup", 20, {"warmup_fraction": 0.1, "alpha_f": 0.0}),
    ("InvSqrtWithWarmup", 20, {"warmup": 5}),
    ("WSD", 20, {"warmup": 5}),
    ("WSD", 480, {"warmup": 83, "decay": 100, "decay_fraction": None, "units": "tokens"}),
    ("WSD", 20, {"warmup": 0, "decay_fraction": 1.0, "decay_min_lr": 1e-5}),
    ("WSD", 20, {"warmup": 12, "decay_fraction": 0.7}),
    ("ConstantWithWarmup", 20, {"warmup": 5, "warmup_min_lr": 1e-5}),
    ("ConstantScheduler", 4, {}),
)
TOKENS = 24  # of an update


def olmo(folder: Path) -> list[Any]:
    """Return the rates of OLMo and OLMo-core, whose first update is step 1."""
    names: dict[str, Any] = {"cos": math.cos, "sqrt": math.sqrt, "pi": math.pi, "dataclass": dataclass}
    names.update(ABCMeta=ABCMeta, abstractmethod=abstractmethod)
    text = text_at(folder / "OLMo", "HEAD", "olmo/optim.py")
    classes = definitions(text, ["Scheduler", *OLMO_CLASSES.values()], dict(names))
    cases: list[Any] = []
    for name, duration, given in OLMO:
        settings = {
            "optimizer": {"learning_rate": 1e-3},
            "scheduler": {"name": name, "units": "steps", **given},
            "max_duration": duration,
            "global_train_batch_size": 3,
            "model": {"max_sequence_length": TOKENS // 3},
        }
        arguments = {"warmup_min_lr": None, **given, "warmup_steps": given.get("t_warmup")}
        units = arguments.pop("units", "steps")
        cls = classes[OLMO_CLASSES[name]]
        known = {key: arguments[key] for key in arguments if key in cls.__dataclass_fields__}
        length = duration if isinstance(duration, int) else int(duration[:-1])
        rates = rates_of(cls(**COMMON, **known), units, length)
        cases.append(case("0.6.0", cls.__name__, settings, rates))

    class Registered:
        register = staticmethod(lambda name: lambda cls: cls)

    names.update(
        Config=type("Config", (), {}), Registrable=Registered, LR_FIELD="lr", INITIAL_LR_FIELD="initial_lr"
    )
    names.update(
        SchedulerUnits=SimpleNamespace(steps="steps", tokens="tokens"), warnings=warnings, torch=torch
    )
    text = text_at(folder / "OLMo-core", "HEAD", "src/olmo_core/optim/scheduler.py")
    wanted = ["Scheduler", "_linear_warmup", "_linear_decay", *(name for name, _, _ in CORE)]
    classes = definitions(text, wanted, names)
    for name, length, given in CORE:
        scheduler = {"_CLASS_": f"olmo_core.optim.scheduler.{name}", **given}
        unit = given.get("units", "steps")
        settings = {
            "train_module": {"optim": {"lr": 1e-3}, "scheduler": scheduler},
            "trainer": {"max_duration": {"value": length, "unit": unit}},
            "data_loader": {"global_batch_size": TOKENS},
        }
        cases.append(case("3.0.0", name, settings, rates_of(classes[name](**given), unit, length)))
    return cases


def rates_of(scheduler: Any, units: str, length: int) -> list[float]:
    """Return the rates of a run of so many steps or tokens."""
    each = TOKENS if units == "tokens" else 1
    return [scheduler.get_lr(1e-3, each * (k + 1), length) for k in range(math.ceil(length / each))]


SIZE, LENGTH, STEPS = 4, 8, 10  # samples of a batch, tokens of a sample, batches of an epoch
COSINE, LINEAR = "CosineAnnealingWithWarmupScheduler", "LinearWithWarmupScheduler"
INVERSE = "InverseSquareRootWithWarmupScheduler"
COMPOSER: tuple[tuple[str, str, float, dict[str, Any]], ...] = (
    # a class, the max_duration, the scale_schedule_ratio and its arguments
    (COSINE, "20ba", 1.0, {"t_warmup": "5ba", "alpha_f": 0.1}),
    (COSINE, "2ep", 1.0, {"t_warmup": "0.13dur"}),
    (COSINE, "82sp", 1.0, {"t_warmup": "0.06dur", "alpha_f": 0.02}),
    (COSINE, "6e2tok", 1.0, {"t_warmup": "100tok", "t_max": "700tok"}),
    (COSINE, "20ba", 1.5, {"t_warmup": "4ba", "scale_warmup": True}),
    (COSINE, "4ep", 0.5, {"t_warmup": "1ep", "scale_warmup": True}),
    (COSINE, "3ep", 0.7, {"t_warmup": "3ba", "alpha_f": 0.1}),
    (COSINE, "8ba", 1.0, {"t_warmup": "0ba", "t_max": "8ba"}),
    (LINEAR, "20ba", 1.0, {"t_warmup": "5ba", "alpha_i": 0.5, "alpha_f": 0.2}),
    (LINEAR, "2ep", 1.0, {"t_warmup": "20ba"}),
    (LINEAR, "83sp", 1.0, {"t_warmup": "10sp", "t_max": "90sp"}),
    ("ConstantWithWarmupScheduler", "20ba", 1.0, {"t_warmup": "5ba", "alpha": 0.5}),
    ("PolynomialWithWarmupScheduler", "20ba", 1.0, {"t_warmup": "5ba", "alpha_f": 0.1}),
    ("PolynomialScheduler", "20ba", 1.0, {"power": 3.0}),
    ("LinearScheduler", "2ep", 1.0, {"alpha_f": 0.1, "t_max": "1ep"}),
    ("CosineAnnealingScheduler", "2ep", 1.0, {"t_max": "0.5dur", "alpha_f": 0.1}),
    (INVERSE, "20ba", 1.0, {"t_warmup": "4ba", "t_scale": "3ba", "t_cooldown": "5ba"}),
    (
        INVERSE,
        "82sp",
        1.0,
        {"t_warmup": "9sp", "t_scale": "21sp", "t_cooldown": "18sp", "alpha_f_decay": 0.1},
    ),
    (INVERSE, "20ba", 1.0, {"t_warmup": "4ba", "t_scale": "4ba", "t_cooldown": "0ba"}),
)


def composer(folder: Path) -> list[Any]:
    """Return the rates of Composer's schedulers, and of one of LLM Foundry, at the time of each batch."""
    show = functools.partial(text_at, folder / "composer", "HEAD")
    enum: dict[str, Any] = {"__name__": "composer.utils.string_enum"}
    exec(show("composer/utils/string_enum.py"), enum)
    for name in ("composer", "composer.core", "composer.core.serializable", "composer.utils"):
        sys.modules[name] = ModuleType(name)
    sys.modules["composer.utils"].__dict__["StringEnum"] = enum["StringEnum"]
    sys.modules["composer.core.serializable"].__dict__["Serializable"] = type("Serializable", (), {})
    times: dict[str, Any] = {"__name__": "composer.core.time"}
    exec(show("composer/core/time.py"), times)
    names = {**times, "math": math, "warnings": warnings, "textwrap": textwrap, "log": mock.Mock()}
    wanted = {name for name, _, _, _ in COMPOSER} | {"ComposerScheduler"}
    helpers = ("_convert_time", "_cosine_anneal", "_raise_if_max_duration_exceeds_t_max")
    helpers = (*helpers, "_raise_if_warmup_and_max_incompatible")
    names["Protocol"] = object
    definitions(show("composer/optim/scheduler.py"), [*wanted, *helpers], names)
    names["experimental_class"] = lambda name: lambda cls: cls
    text = text_at(folder / "llm-foundry", "HEAD", "llmfoundry/optim/scheduler.py")
    definitions(text, [INVERSE, "_raise_if_units_dont_match", "_raise_if_units_dur"], names)
    cases: list[Any] = []
    for name, text, ratio, given in COMPOSER:
        duration = names["Time"].from_timestring(text) * ratio
        each = {"ba": 1, "sp": SIZE, "tok": SIZE * LENGTH, "ep": 1 / STEPS}[duration.unit.value]
        rates: list[float] = []
        for batch in range(math.ceil(duration.value / each)):
            counts = {"sample": batch * SIZE, "token": batch * SIZE * LENGTH, "epoch": batch // STEPS}
            timestamp = names["Timestamp"](batch=batch, **counts)
            state = SimpleNamespace(timestamp=timestamp, max_duration=duration, dataloader_len=STEPS)
            rates.append(1e-3 * names[name](**given)(state, ratio))
        settings = {
            "scheduler": {"name": name, **given},
            "optimizer": {"name": "decoupled_adamw", "lr": 1e-3},
            "max_duration": text,
            "scale_schedule_ratio": ratio,
            "train_loader": {"name": "text"},
            "global_train_batch_size": SIZE,
            "max_seq_len": LENGTH,
        }
        cases.append(case("0.32.1", name, settings, rates))
    return cases


FAIRSEQ: tuple[tuple[str, str, dict[str, Any]], ...] = (
    # a file, a class, and the settings
    ("fixed_schedule", "FixedLRSchedule", {"warmup_updates": 4}),
    ("fixed_schedule", "FixedLRSchedule", {}),
    ("inverse_square_root_schedule", "InverseSquareRootSchedule", {"warmup_updates": 4}),
    (
        "inverse_square_root_schedule",
        "InverseSquareRootSchedule",
        {"warmup_updates": 4, "warmup_init_lr": 1e-7},
    ),
    (
        "polynomial_decay_schedule",
        "PolynomialDecayLRSchedule",
        {"warmup_updates": 4, "total_num_update": 16},
    ),
    ("polynomial_decay_schedule", "PolynomialDecayLRSchedule", {"power": 2.0, "end_learning_rate": 1e-5}),
    ("cosine_lr_scheduler", "CosineLRSchedule", {"warmup_updates": 4, "warmup_init_lr": 1e-7}),
    ("cosine_lr_scheduler", "CosineLRSchedule", {"min_lr": 1e-4, "lr_period_updates": 7, "lr_shrink": 0.5}),
    (
        "cosine_lr_scheduler",
        "CosineLRSchedule",
        {"warmup_updates": 2, "lr_period_updates": 3, "t_mult": 2.0},
    ),
    ("tri_stage_lr_scheduler", "TriStageLRSchedule", {"phase_ratio": [0.1, 0.4, 0.5]}),
    (
        "tri_stage_lr_scheduler",
        "TriStageLRSchedule",
        {
            "warmup_steps": 3,
            "hold_steps": 5,
            "decay_steps": 6,
            "final_lr_scale": 0.05,
            "init_lr_scale": 0.1,
        },
    ),
)
FAIRSEQ_DEFAULTS: dict[str, Any] = {
    **{"warmup_updates": 0, "warmup_init_lr": -1, "total_num_update": 20, "power": 1.0, "max_update": 20},
    **{"end_learning_rate": 0.0, "min_lr": 0.0, "t_mult": 1.0, "lr_period_updates": -1, "lr_shrink": 0.1},
    **{"warmup_steps": 0, "hold_steps": 0, "decay_steps": 0, "phase_ratio": None, "init_lr_scale": 0.01},
    **{"final_lr_scale": 0.01, "force_anneal": None},
}


class FairseqScheduler:
    """A scheduler of fairseq without its optimizer, which holds the rate."""

    def __init__(self, cfg: Any, optimizer: Any):
        del optimizer
        self.cfg, self.optimizer = cfg, self

    def set_lr(self, lr: float) -> None:
        """Set the rate, as the optimizer does."""
        self.rate = lr

    def get_lr(self) -> float:
        """Return the rate, as the optimizer does."""
        return self.rate


def fairseq(folder: Path) -> list[Any]:
    """Return the rates of fairseq's schedulers, in the order in which its trainer calls them."""
    names: dict[str, Any] = {"math": math, "Collection": Collection, "FairseqLRScheduler": FairseqScheduler}
    names["register_lr_scheduler"] = lambda name, dataclass: lambda cls: setattr(cls, "call", name) or cls
    cases: list[Any] = []
    for file, name, given in FAIRSEQ:
        path = f"fairseq/optim/lr_scheduler/{file}.py"
        text = text_at(folder / "fairseq", "HEAD", path)
        configs = {f"{name.removesuffix('Schedule').removesuffix('LR')}LRScheduleConfig": None}
        cls = definitions(text, [name], {**names, **configs})[name]
        scheduler = cls(SimpleNamespace(**{**FAIRSEQ_DEFAULTS, "lr": [1e-3], **given}), None)
        scheduler.step_update(0)
        if hasattr(scheduler, "step_begin_epoch"):
            scheduler.step_begin_epoch(1)
        rates: list[float] = []
        for update in range(20):
            scheduler.step_update(update)
            rates.append(scheduler.rate)
        settings = {"lr_scheduler": cls.call, "lr": [1e-3], "max_update": 20, **given}
        cases.append(case("0.12.2", name, settings, rates))
    return cases


if __name__ == "__main__":
    record("framework_recipes_pretraining.json", torchtitan, olmo, composer, fairseq)
