"""Record learning rates of other frameworks into tests/framework_recipes.json.

Give the name of the framework: `python scripts/record_frameworks.py mmengine`. Its packages must be installed.
Only this script needs them.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any


FILE = Path(__file__).parents[1] / "tests" / "framework_recipes.json"
Case = dict[str, Any]


def record_mmengine() -> Iterator[Case]:
    """Step the schedulers of MMEngine in the order of its hooks."""
    import mmengine

    for name, settings in MMENGINE.items():
        rates = mmengine_rates(**settings)
        yield {"version": mmengine.__version__, "call": name, "settings": settings, "rates": rates}


def mmengine_rates(
    schedulers: list[Case], lr: float, steps: int, epochs: int | None = None, iters: int | None = None
) -> list[float]:
    """Return the rate of each iteration of a run in MMEngine."""
    import torch
    from mmengine.registry import PARAM_SCHEDULERS

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
    import mmcv

    for name, settings in MMCV.items():
        rates = mmcv_rates(**settings)
        yield {"version": mmcv.__version__, "call": name, "settings": settings, "rates": rates}


def mmcv_rates(
    lr_config: Case, lr: float, steps: int, epochs: int | None = None, iters: int | None = None
) -> list[float]:
    """Return the rate of each iteration of a run in MMCV."""
    import torch
    from mmcv.runner.hooks import lr_updater

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
    from detectron2.config import get_cfg
    from detectron2.solver import build_lr_scheduler

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


RUN: Case = {"lr": 0.1, "steps": 4, "epochs": 6}
MMENGINE: dict[str, Case] = {
    "LinearLR and MultiStepLR": {
        **RUN,
        "schedulers": [
            {"type": "LinearLR", "start_factor": 0.001, "by_epoch": False, "end": 6},
            {"type": "MultiStepLR", "milestones": [0, 2, 2, 4], "gamma": 0.5},
        ],
    },
}

MMCV: dict[str, Case] = {}

DETECTRON2: list[Case] = []

RECORDERS: dict[str, Callable[[], Iterator[Case]]] = {
    "detectron2": record_detectron2,
    "mmcv": record_mmcv,
    "mmengine": record_mmengine,
}


def main() -> None:
    """Replace the curves of one framework in the file."""
    name = sys.argv[1] if len(sys.argv) == 2 else ""
    if name not in RECORDERS:
        sys.exit(f"give one framework: {', '.join(RECORDERS)}")
    recorded = json.loads(FILE.read_text())
    recorded[name] = list(RECORDERS[name]())
    FILE.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
