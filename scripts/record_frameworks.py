"""Record learning rates of other frameworks into tests/framework_recipes.json.

Give the name of a framework, as in `python scripts/record_frameworks.py mmengine`. Only this script needs
the packages of the frameworks.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from recording.curves import write


FILE = Path(__file__).parents[1] / "tests" / "framework_recipes.json"
Case = dict[str, Any]


def record_mmengine() -> Iterator[Case]:
    """Step the schedulers of MMEngine in the order of its hooks."""
    import mmengine  # pyright: ignore[reportMissingImports]

    for name, settings in MMENGINE.items():
        rates = mmengine_rates(**settings)
        yield {"version": mmengine.__version__, "call": name, "settings": settings, "rates": rates}


def mmengine_rates(
    schedulers: list[Case], lr: float, steps: int, epochs: int | None = None, iters: int | None = None
) -> list[float]:
    """Return the rate of each iteration of a run in MMEngine."""
    import mmengine.optim  # pyright: ignore[reportMissingImports] # noqa: F401
    import torch
    from mmengine.registry import PARAM_SCHEDULERS  # pyright: ignore[reportMissingImports]

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    max_epochs, max_iters = (1, iters) if epochs is None else (epochs, epochs * steps)
    assert max_iters is not None
    built: list[Any] = []
    for settings in schedulers:
        end = max_epochs if settings.get("by_epoch", True) else max_iters
        arguments = {"optimizer": optimizer, "epoch_length": steps}
        built.append(PARAM_SCHEDULERS.build({"end": end, **settings}, default_args=arguments))
    rates: list[float] = []
    for iteration in range(max_iters):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        ends_epoch = epochs is not None and (iteration + 1) % steps == 0
        for by_epoch in (False, True):
            for scheduler in built:
                if scheduler.by_epoch is by_epoch and (ends_epoch or not by_epoch):
                    scheduler.step()
    return rates


def record_mmcv() -> Iterator[Case]:
    """Call the hooks of MMCV 1.7 with a stand-in for its runner."""
    import mmcv  # pyright: ignore[reportMissingImports]

    for name, settings in MMCV.items():
        rates = mmcv_rates(**settings)
        yield {"version": mmcv.__version__, "call": name, "settings": settings, "rates": rates}


def mmcv_rates(
    lr_config: Case, lr: float, steps: int, epochs: int | None = None, iters: int | None = None
) -> list[float]:
    """Return the rate of each iteration of a run in MMCV."""
    import torch
    from mmcv.runner.hooks import lr_updater  # pyright: ignore[reportMissingImports]

    settings = dict(lr_config)
    policy = settings.pop("policy")
    policy = policy.title() if policy == policy.lower() else policy
    if epochs is None:
        settings.setdefault("by_epoch", False)
    if "target_ratio" in settings:
        settings["target_ratio"] = tuple(settings["target_ratio"])
    hook = getattr(lr_updater, f"{policy}LrUpdaterHook")(**settings)
    num_iters = iters if epochs is None else epochs * steps
    assert num_iters is not None
    runner = SimpleNamespace(
        optimizer=torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr),
        data_loader=range(steps),
        epoch=0,
        iter=0,
        max_epochs=epochs,
        max_iters=num_iters,
    )
    hook.before_run(runner)
    rates: list[float] = []
    for iteration in range(num_iters):
        runner.iter, runner.epoch = iteration, iteration // steps
        if epochs is not None and iteration % steps == 0:
            hook.before_train_epoch(runner)
        hook.before_train_iter(runner)
        rates.append(runner.optimizer.param_groups[0]["lr"])
    return rates


def record_detectron2() -> Iterator[Case]:
    """Step the scheduler that detectron2 builds for a config, and its older classes."""
    for settings in DETECTRON2:
        rates = detectron2_rates(settings)
        yield {"version": "2026-06", "call": "SOLVER", "settings": settings, "rates": rates}


def detectron2_rates(settings: Case) -> list[float]:
    """Return the rate of each iteration of a run in detectron2."""
    import torch
    from detectron2.config import get_cfg  # pyright: ignore[reportMissingImports]
    from detectron2.solver import build_lr_scheduler  # pyright: ignore[reportMissingImports]

    config = get_cfg()
    for name, value in settings.items():
        setattr(config.SOLVER, name, tuple(value) if isinstance(value, list) else value)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=config.SOLVER.BASE_LR)
    scheduler = build_lr_scheduler(config, optimizer)
    return stepped(optimizer, scheduler, config.SOLVER.MAX_ITER)


def stepped(optimizer: Any, scheduler: Any, length: int) -> list[float]:
    """Return the rates of a scheduler of torch's kind."""
    rates: list[float] = []
    for step in range(length):
        rates.append(optimizer.param_groups[0]["lr"])
        if step < length - 1:
            optimizer.step()
            scheduler.step()
    return rates


def record_torchvision() -> Iterator[Case]:
    """Step torch's schedulers as the reference scripts construct them."""
    for settings in TORCHVISION:
        rates = torchvision_rates(**settings)
        yield {"version": "0.24", "call": settings["task"], "settings": settings, "rates": rates}


def torchvision_rates(task: str, lr: float, epochs: int, steps: int = 1, **flags: Any) -> list[float]:
    """Return the rate of each epoch in classification, and of each iteration in the other tasks."""
    import torch
    from torch.optim import lr_scheduler as torchs

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    unit = steps if task == "segmentation" else 1
    warmup = flags.get("lr_warmup_epochs", 0)
    match flags.get("lr_scheduler", "polynomial"):
        case "steplr":
            main: Any = torchs.StepLR(optimizer, flags["lr_step_size"], flags["lr_gamma"])
        case "exponentiallr":
            main = torchs.ExponentialLR(optimizer, flags["lr_gamma"])
        case "multisteplr":
            main = torchs.MultiStepLR(optimizer, flags["lr_steps"], flags["lr_gamma"])
        case "cosineannealinglr":
            main = torchs.CosineAnnealingLR(optimizer, epochs - warmup, eta_min=flags.get("lr_min", 0.0))
        case _:
            main = torchs.PolynomialLR(optimizer, (epochs - warmup) * steps, power=0.9)
    if warmup:
        factor, length = flags["lr_warmup_decay"], warmup * unit
        if flags["lr_warmup_method"] == "linear":
            start: Any = torchs.LinearLR(optimizer, start_factor=factor, total_iters=length)
        else:
            start = torchs.ConstantLR(optimizer, factor=factor, total_iters=length)
        main = torchs.SequentialLR(optimizer, [start, main], milestones=[length])
    if task != "detection":
        return stepped(optimizer, main, epochs * unit)
    rates: list[float] = []
    for epoch in range(epochs):
        inner = None
        if epoch == 0:
            inner = torchs.LinearLR(optimizer, start_factor=1 / 1000, total_iters=min(1000, steps - 1))
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if inner is not None:
                inner.step()
        main.step()
    return rates


def linear(start_factor: float = 0.001, **settings: Any) -> Case:
    return {"type": "LinearLR", "start_factor": start_factor, **settings}


def cosine(**settings: Any) -> Case:
    return {"type": "CosineAnnealingLR", **settings}


RUN: Case = {"lr": 0.1, "steps": 4, "epochs": 6}
BY_ITERATION: Case = {"lr": 0.1, "steps": 4, "iters": 24}
CONVERTED: Case = {"by_epoch": True, "convert_to_iter_based": True}
MMENGINE: dict[str, Case] = {
    "LinearLR over MultiStepLR": {
        **RUN,
        "schedulers": [
            linear(by_epoch=False, end=6),
            {"type": "MultiStepLR", "milestones": [0, 2, 2, 4], "gamma": 0.5},
        ],
    },
    "LinearLR of one count": {**RUN, "schedulers": [linear(0.25, begin=1, end=2)]},
    "LinearLR, then CosineAnnealingLR": {
        **RUN,
        "schedulers": [linear(end=2, **CONVERTED), cosine(eta_min=0.001, begin=2, end=6, **CONVERTED)],
    },
    "LinearLR over CosineAnnealingLR to 0": {
        **RUN,
        "schedulers": [linear(by_epoch=False, end=10), cosine()],
    },
    "LinearLR over CosineAnnealingLR": {
        **RUN,
        "schedulers": [linear(by_epoch=False, end=10), cosine(eta_min=0.01)],
    },
    "CosineAnnealingLR over LinearLR": {
        **BY_ITERATION,
        "schedulers": [
            cosine(eta_min_ratio=0.1, by_epoch=False),
            linear(0.5, by_epoch=False, begin=3, end=9),
        ],
    },
    "CosineAnnealingLR past T_max": {
        **RUN,
        "schedulers": [linear(0.5, end=1), cosine(eta_min=0.02, T_max=2, begin=1)],
    },
    "StepLR that ends": {**RUN, "schedulers": [{"type": "StepLR", "step_size": 2, "begin": 1, "end": 4}]},
    "StepLR by iteration": {
        **RUN,
        "schedulers": [{"type": "StepLR", "step_size": 1, "gamma": 0.9, **CONVERTED}],
    },
    "ConstantLR": {
        **BY_ITERATION,
        "schedulers": [{"type": "ConstantLR", "factor": 0.25, "by_epoch": False, "begin": 2, "end": 9}],
    },
    "ConstantLR of one count": {
        **RUN,
        "schedulers": [{"type": "ConstantLR", "factor": 0.25, "begin": 2, "end": 3}],
    },
    "PolyLR after LinearLR": {
        **BY_ITERATION,
        "schedulers": [
            linear(1e-6, by_epoch=False, end=6),
            {"type": "PolyLR", "eta_min": 0.001, "power": 0.9, "begin": 6, "end": 20, "by_epoch": False},
        ],
    },
    "ExponentialLR": {
        **BY_ITERATION,
        "schedulers": [{"type": "ExponentialLR", "gamma": 0.9, "begin": 3, "end": 12, "by_epoch": False}],
    },
    "CosineRestartLR": {
        **BY_ITERATION,
        "schedulers": [
            {
                "type": "CosineRestartLR",
                "periods": [4, 6, 5],
                "restart_weights": [1, 0.5, 0.25],
                "eta_min": 0.001,
                "by_epoch": False,
                "begin": 3,
            }
        ],
    },
    "OneCycleLR": {
        **BY_ITERATION,
        "schedulers": [{"type": "OneCycleLR", "eta_max": 0.4, "by_epoch": False, "three_phase": True}],
    },
    "three schedulers": {
        **RUN,
        "schedulers": [
            linear(0.1, by_epoch=False, end=5),
            cosine(begin=2, end=4, eta_min=0.01, **CONVERTED),
            {"type": "StepLR", "step_size": 1, "begin": 4, "gamma": 0.5},
        ],
    },
}

LINEAR_WARMUP: Case = {"warmup": "linear", "warmup_iters": 6, "warmup_ratio": 0.1}
MMCV: dict[str, Case] = {
    "step": {**RUN, "lr_config": {"policy": "step", "step": [2, 5], **LINEAR_WARMUP}},
    "step, not in order": {**RUN, "lr_config": {"policy": "step", "step": [5, 2], "gamma": 0.5}},
    "step with min_lr": {**RUN, "lr_config": {"policy": "step", "step": 1, "gamma": 0.5, "min_lr": 0.01}},
    "exp": {**RUN, "lr_config": {"policy": "exp", "gamma": 0.9, "warmup": "exp", "warmup_iters": 5}},
    "poly": {
        **BY_ITERATION,
        "lr_config": {
            "policy": "poly",
            "power": 0.9,
            "min_lr": 1e-3,
            "warmup": "constant",
            "warmup_iters": 3,
        },
    },
    "inv": {**BY_ITERATION, "lr_config": {"policy": "inv", "gamma": 0.3, "power": 0.75}},
    "fixed": {
        **RUN,
        "lr_config": {"policy": "fixed", **LINEAR_WARMUP, "warmup_iters": 2, "warmup_by_epoch": True},
    },
    "CosineAnnealing": {
        **RUN,
        "lr_config": {
            "policy": "CosineAnnealing",
            "min_lr_ratio": 0.01,
            "by_epoch": False,
            **LINEAR_WARMUP,
        },
    },
    "CosineAnnealing by epoch": {**RUN, "lr_config": {"policy": "CosineAnnealing", "min_lr": 0}},
    "LinearAnnealing": {**RUN, "lr_config": {"policy": "LinearAnnealing", "min_lr": 0.02}},
    "FlatCosineAnnealing": {
        **RUN,
        "lr_config": {
            "policy": "FlatCosineAnnealing",
            "start_percent": 0.3,
            "min_lr": 0.01,
            "by_epoch": False,
        },
    },
    "CosineRestart": {
        **BY_ITERATION,
        "lr_config": {
            "policy": "CosineRestart",
            "periods": [9, 20],
            "restart_weights": [1, 0.5],
            "min_lr": 0.01,
        },
    },
    "cyclic": {
        **RUN,
        "lr_config": {"policy": "cyclic", "target_ratio": [10, 0.1], "cyclic_times": 2, "gamma": 0.8},
    },
    "cyclic, linear": {
        **BY_ITERATION,
        "lr_config": {
            "policy": "cyclic",
            "target_ratio": [4, 0.5],
            "cyclic_times": 5,
            "step_ratio_up": 0.0,
            "anneal_strategy": "linear",
        },
    },
    "OneCycle": {**RUN, "lr_config": {"policy": "OneCycle", "max_lr": 0.4, "total_steps": 30}},
}

SOLVER: Case = {"BASE_LR": 0.02, "MAX_ITER": 40, "WARMUP_ITERS": 10, "STEPS": [15, 30]}
COSINE: Case = {**SOLVER, "LR_SCHEDULER_NAME": "WarmupCosineLR"}
EQUAL: Case = {**SOLVER, "LR_SCHEDULER_NAME": "WarmupStepWithFixedGammaLR"}
DETECTRON2: list[Case] = [
    SOLVER,
    {**SOLVER, "WARMUP_METHOD": "constant", "WARMUP_FACTOR": 0.1},
    {**SOLVER, "STEPS": [5, 45], "GAMMA": 0.5},  # a step in the warmup, and one after the end
    {**SOLVER, "RESCALE_INTERVAL": True},
    {**SOLVER, "WARMUP_ITERS": 0},
    {**SOLVER, "WARMUP_ITERS": 60},
    COSINE,
    {**COSINE, "BASE_LR_END": 0.001, "RESCALE_INTERVAL": True},
    {**COSINE, "BASE_LR_END": 0.02},
    EQUAL,
    {**EQUAL, "NUM_DECAYS": 2, "GAMMA": 0.5, "RESCALE_INTERVAL": True},
    {**EQUAL, "NUM_DECAYS": 5, "WARMUP_METHOD": "constant"},
]

CLASSIFICATION: Case = {"task": "classification", "lr": 0.1, "epochs": 12}
WARMUP: Case = {"lr_warmup_epochs": 3, "lr_warmup_method": "linear", "lr_warmup_decay": 0.01}
DETECTION: Case = {"task": "detection", "lr": 0.02, "epochs": 4, "steps": 5}
TORCHVISION: list[Case] = [
    {**CLASSIFICATION, "lr_scheduler": "steplr", "lr_step_size": 4, "lr_gamma": 0.1},
    {**CLASSIFICATION, **WARMUP, "lr_scheduler": "steplr", "lr_step_size": 4, "lr_gamma": 0.1},
    {**CLASSIFICATION, **WARMUP, "lr_scheduler": "cosineannealinglr"},
    {**CLASSIFICATION, **WARMUP, "lr_scheduler": "cosineannealinglr", "lr_min": 0.01},
    {
        **CLASSIFICATION,
        **WARMUP,
        "lr_warmup_method": "constant",
        "lr_scheduler": "exponentiallr",
        "lr_gamma": 0.9,
    },
    {**DETECTION, "lr_scheduler": "multisteplr", "lr_steps": [1, 3], "lr_gamma": 0.1},
    {**DETECTION, "lr_scheduler": "cosineannealinglr"},
    {**DETECTION, "steps": 1100, "epochs": 1, "lr_scheduler": "cosineannealinglr"},
    {"task": "segmentation", "lr": 0.02, "epochs": 4, "steps": 5, "model": "fcn_resnet50"},
    {**WARMUP, "task": "segmentation", "lr": 0.02, "epochs": 6, "steps": 3, "model": "fcn_resnet50"},
    {
        **WARMUP,
        "task": "segmentation",
        "lr": 0.02,
        "epochs": 6,
        "steps": 3,
        "lr_warmup_method": "constant",
        "model": "fcn_resnet50",
    },
]

RECORDERS: dict[str, Callable[[], Iterator[Case]]] = {
    "detectron2": record_detectron2,
    "mmcv": record_mmcv,
    "mmengine": record_mmengine,
    "torchvision": record_torchvision,
}


def main() -> None:
    """Replace the curves of one framework in the file."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in RECORDERS:
        sys.exit(f"give one framework: {', '.join(RECORDERS)}")
    recorded = json.loads(FILE.read_text())
    recorded[name] = list(RECORDERS[name]())
    write(FILE.name, recorded)


if __name__ == "__main__":
    main()
