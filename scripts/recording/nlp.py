"""Record the curves of frameworks for language and speech in `tests/framework_recipes_nlp.json`.

The environment needs torch and NumPy. The folder holds clones of wenet-e2e/wenet, and of ftshijt/espnet, a
fork of ESPnet of October 2025:

    python scripts/recording/nlp.py FOLDER
"""

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pretraining import case, definitions, text_at
from torch.optim import lr_scheduler


RECORDED = Path(__file__).parents[2] / "tests/framework_recipes_nlp.json"
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
}


def new_optimizer(rate: float) -> torch.optim.Optimizer:
    """Return an SGD with one parameter."""
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def stepped(optimizer: torch.optim.Optimizer, scheduler: Any, num_steps: int = NUM_STEPS) -> list[float]:
    """Return the rate of each update of a run that steps a scheduler after it."""
    rates: list[float] = []
    for _ in range(num_steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def espnet(folder: Path) -> list[Any]:
    """Return the rates of ESPnet's schedulers, and of torch's that its configs name."""
    names: dict[str, Any] = {"torch": torch, "np": np, "warnings": warnings, "math": __import__("math")}
    names.update(_LRScheduler=lr_scheduler.LRScheduler, AbsBatchStepScheduler=object)
    names.update(typechecked=lambda function: function)
    for name, file in ESPNET_FILES.items():
        text = text_at(folder / "espnet", "HEAD", f"espnet2/schedulers/{file}.py")
        definitions(text, [name], names)
    cases: list[Any] = []
    for scheduler, name, given in ESPNET:
        optimizer = new_optimizer(1e-3)
        cls = names.get(name) or getattr(lr_scheduler, name)
        rates = stepped(optimizer, cls(optimizer, **given))
        settings = {"optim": "adam", "optim_conf": {"lr": 1e-3}, "scheduler": scheduler}
        cases.append(case("202511", name, {**settings, "scheduler_conf": given}, rates))
    return cases


def wenet(folder: Path) -> list[Any]:
    """Return the rates of WeNet, whose trainer sets the step of a new scheduler to -1."""
    names: dict[str, Any] = {"_LRScheduler": lr_scheduler.LRScheduler, "List": list}
    text = text_at(folder / "wenet", "HEAD", "wenet/utils/scheduler.py")
    cls = definitions(text, ["WarmupLR"], names)["WarmupLR"]
    cases: list[Any] = []
    for warmup in (1, 5, 25_000):
        optimizer = new_optimizer(2e-3)
        scheduler = cls(optimizer, warmup_steps=warmup)
        scheduler.set_step(-1)
        settings = {
            "optim": "adam",
            "optim_conf": {"lr": 2e-3},
            "scheduler": "warmuplr",
            "dataset_conf": {},
        }
        settings["scheduler_conf"] = {"warmup_steps": warmup}
        cases.append(case("3.1.0", "WarmupLR", settings, stepped(optimizer, scheduler)))
    return cases


def main() -> None:
    """Write the curves of each framework, one to a line."""
    parser = argparse.ArgumentParser(description="Record the curves of frameworks for language and speech.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    blocks: list[str] = []
    for name, record in {"espnet": espnet, "wenet": wenet}.items():
        lines = ",\n".join(json.dumps(each) for each in record(folder))
        blocks.append(f"{json.dumps(name)}: [\n{lines}\n]")
    RECORDED.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


if __name__ == "__main__":
    main()
