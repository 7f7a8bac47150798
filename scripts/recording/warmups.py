"""Record the curves of pytorch_warmup, nnU-Net, MONAI and k-diffusion in `tests/framework_recipes.json`.

The environment needs torch, pytorch_warmup, nnunetv2, monai and k-diffusion. The folder is not read:

    python scripts/recording/warmups.py FOLDER
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import warnings
from pathlib import Path
from typing import Any

import torch
from curves import case, definitions, record, stepped


DAMPENED = (
    None,
    "CosineAnnealingLR(optimizer, 15)",
    "StepLR(optimizer, 7, gamma=0.5)",
    "ExponentialLR(optimizer, 0.9)",
    "CosineAnnealingWarmRestarts(optimizer, 7, 2, 0.001)",
    "OneCycleLR(optimizer, max_lr=0.3, total_steps=40)",
)
WARMUPS: Any = (
    ("LinearWarmup", {"warmup_period": 10}, 0.999),
    ("ExponentialWarmup", {"warmup_period": 10}, 0.999),
    ("UntunedLinearWarmup", {}, 0.9),
    ("UntunedLinearWarmup", {}, 0.999),
    ("UntunedExponentialWarmup", {}, 0.98),
    ("RAdamWarmup", {}, 0.999),
    ("RAdamWarmup", {}, 0.7),
)
OTHERS: Any = (
    ("nnunetv2", "PolyLRScheduler", {"initial_lr": 0.01, "max_steps": 40}),
    ("nnunetv2", "PolyLRScheduler", {"initial_lr": 0.05, "max_steps": 50, "exponent": 2.0}),
    ("monai", "LinearLR", {"end_lr": 1.0, "num_iter": 20}),
    ("monai", "ExponentialLR", {"end_lr": 10.0, "num_iter": 20}),
    ("monai", "ExponentialLR", {"end_lr": 0.01, "num_iter": 40}),
    ("k-diffusion", "InverseLR", {"inv_gamma": 10.0, "power": 0.5, "warmup": 0.9}),
    ("k-diffusion", "InverseLR", {"inv_gamma": 5.0, "power": 1.0, "min_lr": 0.02}),
    ("k-diffusion", "InverseLR", {"inv_gamma": 20000.0, "power": 1.0, "warmup": 0.99}),
    ("k-diffusion", "ExponentialLR", {"num_steps": 10, "decay": 0.5, "warmup": 0.8}),
    ("k-diffusion", "ExponentialLR", {"num_steps": 7.5, "decay": 0.3, "min_lr": 0.005}),
    ("k-diffusion", "ConstantLRWithWarmup", {"warmup": 0.9}),
)
ADAM = {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": "@lr"}
TRAINER = {"_target_": "SupervisedTrainer", "max_epochs": "@epochs"}
BUNDLES: Any = (
    {
        "epochs": 30,
        "lr": 0.01,
        "optimizer": ADAM,
        "lr_scheduler": {
            "_target_": "torch.optim.lr_scheduler.StepLR",
            "optimizer": "@optimizer",
            "step_size": "$@epochs // 4",
        },
        "train": {"trainer": TRAINER},
    },
    {
        "epochs": 20,
        "lr": 0.02,
        "optimizer": ADAM,
        "lr_scheduler": {
            "_target_": "monai.optimizers.WarmupCosineSchedule",
            "optimizer": "@optimizer",
            "t_total": "$@epochs",
            "warmup_steps": "$int(0.2 * @train::trainer::max_epochs)",
            "warmup_multiplier": 0.1,
        },
        "train": {"trainer": TRAINER},
    },
    {
        "lr": 0.05,
        "optimizer": ADAM,
        "after_scheduler": {
            "_target_": "torch.optim.lr_scheduler.CosineAnnealingLR",
            "optimizer": "@optimizer",
            "T_max": 20,
        },
        "warmup": {
            "_target_": "torch.optim.lr_scheduler.LinearLR",
            "optimizer": "@optimizer",
            "start_factor": 0.1,
            "total_iters": "@steps#warmup",
        },
        "steps": {"warmup": 5},
        "lr_scheduler": {
            "_target_": "torch.optim.lr_scheduler.SequentialLR",
            "optimizer": "@optimizer",
            "schedulers": ["@warmup", "@after_scheduler"],
            "milestones": ["@steps#warmup"],
        },
        "handlers": [{"_target_": "LrScheduleHandler", "lr_scheduler": "@lr_scheduler"}],
    },
)
FILES = {
    "nnunetv2": "training/lr_scheduler/polylr.py",
    "monai": "optimizers/lr_scheduler.py",
    "k-diffusion": "utils.py",
}


def pytorch_warmup(folder: Path) -> list[Any]:
    """Return the rates of schedulers that are stepped inside of `dampening`."""
    del folder
    warmup: Any = importlib.import_module("pytorch_warmup")
    cases: list[Any] = []
    for name, settings, beta2 in WARMUPS:
        for text in DAMPENED if name == "LinearWarmup" else DAMPENED[1:2]:
            adam = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=0.1, betas=(0.9, beta2))
            names = {**vars(torch.optim.lr_scheduler), "optimizer": adam}
            scheduler: Any = None if text is None else eval(text, names)
            dampener, rates = getattr(warmup, name)(adam, **settings), []
            for _ in range(40):
                rates.append(adam.param_groups[0]["lr"])
                adam.step()
                with dampener.dampening():
                    if scheduler is not None:
                        scheduler.step()
            more = {"beta2": beta2, "lr_scheduler": text, "init_value": 0.1}
            cases.append(case(warmup.__version__, name, settings, rates, **more))
    return cases


def monai(folder: Path) -> list[Any]:
    """Return the rates of the schedulers that MONAI's own parser builds from bundles."""
    del folder
    parser: Any = importlib.import_module("monai.bundle").ConfigParser
    network = {"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1}
    cases: list[Any] = []
    for bundle in BUNDLES:
        parsed = parser({**bundle, "network": network})
        scheduler = parsed.get_parsed_content("lr_scheduler")
        rates: list[float] = []
        for _ in range(30):
            rates.append(scheduler.optimizer.param_groups[0]["lr"])
            scheduler.optimizer.step()
            scheduler.step()
        cases.append(case(importlib.metadata.version("monai"), "ConfigParser", bundle, rates))
    return cases


def namesakes(folder: Path) -> list[Any]:
    """Return the curves of schedulers whose packages do not import beside today's torch."""
    del folder
    cases: list[Any] = []
    for library, name, settings in OTHERS:
        spec = importlib.util.find_spec(library.replace("-", "_"))
        assert spec is not None
        names: dict[str, Any] = {"warnings": warnings, "torch": torch}
        names["_LRScheduler"] = _older(torch.optim.lr_scheduler.LRScheduler)
        names["optim"] = type("optim", (), {"lr_scheduler": type("", (), dict(names))})
        text = (Path(str(spec.origin)).parent / FILES[library]).read_text()
        cls = definitions(text, [name, "_LRSchedulerMONAI"], names)[name]
        rates = stepped(functools.partial(cls, **settings), 0.1, 36)
        version = importlib.metadata.version(library)
        cases.append(case(version, name, settings, rates, library=library, init_value=0.1))
    return cases


def _older(scheduler: Any) -> Any:
    """Return torch's base class with the parameter `verbose`, which torch has removed."""

    class LRScheduler(scheduler):
        _get_lr_called_within_step = True

        def __init__(self, optimizer: Any, last_epoch: int = -1, verbose: bool = False):
            del verbose
            super().__init__(optimizer, last_epoch)

    return LRScheduler


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    record("framework_recipes.json", pytorch_warmup, monai, namesakes)
