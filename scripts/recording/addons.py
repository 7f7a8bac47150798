"""Record the curves of add-on schedulers, Lightning and research scripts in `tests/framework_recipes.json`.

The environment needs torch, pytorch-lightning, lightning-bolts and monai. The folder holds clones of
karpathy/nanoGPT, facebookresearch/mae, facebookresearch/dino, mlfoundations/open_clip,
CompVis/latent-diffusion, NVIDIA/Megatron-LM, NVIDIA/NeMo, ildoonet/pytorch-gradual-warmup-lr and
katsura-jp/pytorch-cosine-annealing-with-warmup:

    python scripts/recording/addons.py FOLDER
"""

import argparse
import ast
import functools
import importlib
import importlib.util
import json
import logging
import math
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch


RECORDED = Path(__file__).parents[2] / "tests/framework_recipes.json"
BEFORE_2024 = "dc81cb36^"  # nanoGPT, before its warmup began above 0


def case(
    version: str, call: str, settings: dict[str, Any], rate: float, rates: list[float], **more: Any
) -> Any:
    """Return an entry of the file."""
    entry = {"version": version, "call": call, "settings": settings, **more, "init_value": rate}
    return {**entry, "rates": [float(each) for each in rates]}


def optimizer(rate: float) -> torch.optim.Optimizer:
    """Return an optimizer to schedule."""
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def stepped(build: Callable[[Any], Any], rate: float, num_steps: int) -> list[float]:
    """Return the rate of each step of a scheduler."""
    sgd = optimizer(rate)
    scheduler = build(sgd)
    rates = [sgd.param_groups[0]["lr"]]
    for _ in range(num_steps - 1):
        sgd.step()
        scheduler.step()
        rates.append(sgd.param_groups[0]["lr"])
    return rates


def function_of(
    path: Path, name: str, namespace: dict[str, Any], text: str | None = None
) -> Callable[..., Any]:
    """Return one function or class of a file, without running the rest of it."""
    tree = ast.parse(path.read_text() if text is None else text)
    tree.body = [each for each in tree.body if getattr(each, "name", None) == name]
    exec(compile(tree, str(path), "exec"), namespace)
    return namespace[name]


AFTER = (
    "CosineAnnealingLR(optimizer, 15)",
    "CosineAnnealingLR(optimizer, 6, eta_min=0.01)",
    "ExponentialLR(optimizer, 0.9)",
    "StepLR(optimizer, 4, gamma=0.5)",
    "MultiStepLR(optimizer, [3, 9], gamma=0.5)",
    "PolynomialLR(optimizer, 12, power=2.0)",
    "LinearLR(optimizer, 0.5, 1.0, 6)",
    "CosineAnnealingWarmRestarts(optimizer, 7, 2, 0.001)",
    "LambdaLR(optimizer, lambda epoch: 0.95**epoch)",
    "OneCycleLR(optimizer, max_lr=0.3, total_steps=40)",
)
BOLTS = ("warmup_epochs", "warmup_start_lr", "eta_min")
RESTARTS = ("first_cycle_steps", "cycle_mult", "warmup_steps", "gamma")
MONAI = ("warmup_steps", "end_lr", "cycles", "warmup_multiplier")
# A class, the settings that are the same in all its curves, the names of the others, and their values.
ADDONS: Any = (
    ("bolts", {"max_epochs": 20}, BOLTS, [(5, 1e-5, 1e-6), (1, 0.0, 0.0), (10, 1e-4, 0.0)]),
    ("bolts", {"max_epochs": 20}, BOLTS, [(0, 0.0, 0.0), (0, 1e-5, 1e-6)]),
    ("restarts", {"max_lr": 0.1, "min_lr": 0.001}, RESTARTS, [(10, 1.0, 3, 0.5), (10, 1.0, 0, 1.0)]),
    ("restarts", {"max_lr": 0.1, "min_lr": 0.001}, RESTARTS, [(8, 1.5, 2, 1.0), (8, 2.0, 0, 0.7)]),
    ("restarts", {"max_lr": 0.1, "min_lr": 0.001}, RESTARTS, [(5, 1.0, 1, 1.0), (10, 1.0, 0, 0.5)]),
    ("monai", {"t_total": 20}, MONAI, [(5, 0.0, 0.5, 0), (5, 1e-4, 0.5, 0.1), (0, 2e-4, 1.5, 0)]),
)


def addons(folder: Path) -> list[Any]:
    """Return the curves of the classes that programs import or copy."""
    sys.path[:0] = [str(folder / "pytorch-gradual-warmup-lr")]
    sys.path[:0] = [str(folder / "pytorch-cosine-annealing-with-warmup")]
    gradual = importlib.import_module("warmup_scheduler").GradualWarmupScheduler
    classes = {
        "bolts": ("0.7.0", _bolts()),
        "restarts": (
            "2022",
            importlib.import_module("cosine_annealing_warmup").CosineAnnealingWarmupRestarts,
        ),
        "monai": ("1.6.1", importlib.import_module("monai.optimizers").WarmupCosineSchedule),
    }
    cases: list[Any] = []
    for key, same, names, rows in ADDONS:
        version, cls = classes[key]
        for row in rows:
            settings = {**same, **dict(zip(names, row, strict=True))}
            rates = stepped(functools.partial(cls, **settings), 0.01, 60)
            cases.append(case(version, cls.__name__, settings, 0.01, rates))
    for text in (None, *AFTER):
        for multiplier in (1.0, 4.0):

            def build(sgd: Any, text: str | None = text, multiplier: float = multiplier) -> Any:
                names = {**vars(torch.optim.lr_scheduler), "optimizer": sgd}
                return gradual(sgd, multiplier, 5, text and eval(text, names))

            settings = {"multiplier": multiplier, "total_epoch": 5}
            rates = stepped(build, 0.1, 40)
            entry = case("2024", "GradualWarmupScheduler", settings, 0.1, rates, after_scheduler=text)
            cases.append(entry)
    return cases


def _bolts() -> Any:
    """Return the class of pl_bolts, whose package does not import beside today's Lightning."""
    spec = importlib.util.find_spec("pl_bolts")
    assert spec is not None
    names = {"math": math, "warnings": warnings, "List": list, "Optimizer": torch.optim.Optimizer}
    names |= {"_LRScheduler": torch.optim.lr_scheduler.LRScheduler, "under_review": lambda: lambda cls: cls}
    path = Path(str(spec.origin)).parent / "optimizers/lr_scheduler.py"
    return function_of(path, "LinearWarmupCosineAnnealingLR", names)


def lightning(folder: Path) -> list[Any]:
    """Return the rate of every update that Lightning's own loop runs."""
    del folder
    pl: Any = importlib.import_module("pytorch_lightning")

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    class Module(pl.LightningModule):
        def __init__(self, interval: str, frequency: int):
            super().__init__()
            self.layer, self.interval, self.frequency = torch.nn.Linear(1, 1), interval, frequency
            self.rates: list[float] = []

        def training_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch[0]).sum()

        def optimizer_step(self, *args: Any, **keywords: Any) -> None:
            self.rates.append(self.optimizers().param_groups[0]["lr"])
            super().optimizer_step(*args, **keywords)

        def configure_optimizers(self) -> Any:
            sgd = torch.optim.SGD(self.parameters(), lr=1.0)
            scheduler = torch.optim.lr_scheduler.ExponentialLR(sgd, 0.9)
            return [sgd], [{"scheduler": scheduler, "interval": self.interval, "frequency": self.frequency}]

    cases: list[Any] = []
    settings = [(batches, a, f) for batches in (7, 12) for a in (1, 2, 3, 5) for f in (1, 2, 3, 4, 7)]
    for batches, accumulate, frequency in settings:
        for interval in ("step", "epoch"):
            if interval == "epoch" and (batches, accumulate) != (7, 2):
                continue
            module = Module(interval, frequency)
            data = torch.utils.data.TensorDataset(torch.zeros(batches, 1))
            trainer = pl.Trainer(
                max_epochs=6,
                accumulate_grad_batches=accumulate,
                logger=False,
                enable_checkpointing=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                accelerator="cpu",
            )
            trainer.fit(module, torch.utils.data.DataLoader(data))
            node = {"interval": interval, "frequency": frequency, "accumulate_grad_batches": accumulate}
            entry = case(pl.__version__, "ExponentialLR", node, 1.0, module.rates, steps_per_epoch=batches)
            cases.append(entry)
    return cases


def nanogpt(folder: Path) -> list[Any]:
    """Return the rates of `get_lr`, today and before 2024."""
    show = ["git", "-C", str(folder / "nanoGPT"), "show", f"{BEFORE_2024}:train.py"]
    texts = {"2024.12": None, "2023": subprocess.check_output(show, text=True)}
    cases: list[Any] = []
    for warmup, decay in ((5, 20), (0, 12), (1, 30)):
        settings = {"learning_rate": 6e-4, "warmup_iters": warmup, "lr_decay_iters": decay, "min_lr": 6e-5}
        for version, text in texts.items():
            names = {"math": math, **settings}
            get_lr = function_of(folder / "nanoGPT/train.py", "get_lr", names, text)
            cases.append(case(version, "get_lr", settings, 6e-4, [get_lr(step) for step in range(40)]))
    return cases


def mae(folder: Path) -> list[Any]:
    """Return the rates of MAE's loop, which sets one for each group of `accum_iter` batches."""
    adjust = function_of(folder / "mae/util/lr_sched.py", "adjust_learning_rate", {"math": math})
    names = ("warmup_epochs", "epochs", "min_lr", "accum_iter")
    cases: list[Any] = []
    for batches, *row in ((4, 2, 5, 1e-6, 1), (7, 0, 4, 0.0, 1), (7, 2, 6, 1e-5, 3)):
        settings = {"lr": 1e-3, **dict(zip(names, row, strict=True))}
        rates, rate = [], 0.0
        for epoch in range(settings["epochs"]):
            for step in range(batches):
                if step % settings["accum_iter"] == 0:
                    rate = adjust(optimizer(1.0), step / batches + epoch, types.SimpleNamespace(**settings))
                rates.append(rate)
        cases.append(case("2022", "adjust_learning_rate", settings, 1e-3, rates, steps_per_epoch=batches))
    return cases


def dino(folder: Path) -> list[Any]:
    """Return the arrays of `cosine_scheduler`."""
    cosine = function_of(folder / "dino/utils.py", "cosine_scheduler", {"np": np})
    cases: list[Any] = []
    for warmup, start in ((0, 0), (2, 0), (3, 1e-5), (5, 0)):
        settings = {"base_value": 5e-4, "final_value": 1e-6, "epochs": 5, "niter_per_ep": 4}
        settings |= {"warmup_epochs": warmup, "start_warmup_value": start}
        cases.append(case("2022", "cosine_scheduler", settings, 5e-4, list(cosine(**settings))))
    return cases


def open_clip(folder: Path) -> list[Any]:
    """Return the rates of the three schedulers."""
    path = folder / "open_clip/src/open_clip_train/scheduler.py"
    names: dict[str, Any] = {"math": math, "torch": torch}
    for name in ("assign_learning_rate", "_warmup_lr"):
        function_of(path, name, names)
    cooldowns = (
        {"cooldown_steps": 6, "cooldown_power": 2.0, "cooldown_end_lr": 1e-5},
        {"cooldown_steps": 18},
    )
    calls: list[Any] = [("cosine_lr", {}), ("const_lr", {})]
    cases: list[Any] = []
    for name, more in [*calls, *(("const_lr_cooldown", cooldown) for cooldown in cooldowns)]:
        settings = {"base_lr": 1e-3, "warmup_length": 5, "steps": 20, **more}
        adjust = function_of(path, name, names)(optimizer(1.0), **settings)
        cases.append(case("3.3", name, settings, 1e-3, [adjust(step) for step in range(20)]))
    return cases


def ldm(folder: Path) -> list[Any]:
    """Return the rates of latent-diffusion's schedulers in a LambdaLR."""
    names: dict[str, Any] = {"np": np}
    for name in ("LambdaWarmUpCosineScheduler", "LambdaWarmUpCosineScheduler2", "LambdaLinearScheduler"):
        function_of(folder / "latent-diffusion/ldm/lr_scheduler.py", name, names)
    lists = ("warm_up_steps", "cycle_lengths", "f_start", "f_max", "f_min")
    cycles = ([5, 3, 0], [20, 8, 7], [1e-6, 0.1, 0.2], [1.0, 0.5, 0.3], [0.1, 0.0, 0.3])
    single = ([10], [10_000_000_000_000], [1e-6], [1.0], [1.0])
    rows: list[tuple[str, dict[str, Any]]] = [
        (name, dict(zip(lists, row, strict=True)))
        for name in ("LambdaLinearScheduler", "LambdaWarmUpCosineScheduler2")
        for row in (cycles, single)
    ]
    settings = {"warm_up_steps": 5, "lr_min": 0.1, "lr_max": 1.0, "lr_start": 0.01, "max_decay_steps": 20}
    cases: list[Any] = []
    for name, each in [*rows, ("LambdaWarmUpCosineScheduler", settings)]:
        rule = names[name](**each)
        rates = stepped(
            functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=rule.schedule), 0.5, 35
        )
        cases.append(case("2022", name, each, 0.5, rates))
    return cases


def megatron(folder: Path) -> list[Any]:
    """Return the rates of Megatron-LM's scheduler, stepped by samples."""
    names: dict[str, Any] = {"math": math, "torch": torch, "Optional": Optional, "logging": logging}
    names |= {"logger": None, "log_single_rank": lambda *args: None}
    path = folder / "Megatron-LM/megatron/core/optimizer_param_scheduler.py"
    scheduler = function_of(path, "OptimizerParamScheduler", names)
    batch, cases = 16, list[Any]()
    styles: list[dict[str, Any]] = [
        {"lr_decay_style": style} for style in ("linear", "cosine", "constant", "inverse-square-root")
    ]
    for shape in ("exponential", "linear", "cosine", "minus_sqrt"):
        for decay in (8, 20):
            styles.append(
                {"lr_decay_style": "WSD", "lr_wsd_decay_style": shape, "lr_wsd_decay_iters": decay}
            )
    rows: list[Any] = [(style, 4, None) for style in styles]
    rows += [({"lr_decay_style": style["lr_decay_style"]}, 0, None) for style in styles[:4]]
    rows += [({"lr_decay_style": style["lr_decay_style"]}, 0, 0.13) for style in styles[:4]]
    for settings, warmup, fraction in rows:
        given = {"lr": 1e-3, "min_lr": 1e-4, "lr_warmup_init": 1e-5, "train_iters": 20, **settings}
        given |= {"lr_warmup_iters": warmup} if fraction is None else {"lr_warmup_fraction": fraction}
        sgd = optimizer(1e-3)
        rule = scheduler(
            sgd,
            1e-5,
            1e-3,
            1e-4,
            warmup * batch if fraction is None else fraction * 20 * batch,
            20 * batch,
            settings["lr_decay_style"],
            0.0,
            0.0,
            20 * batch,
            "constant",
            wsd_decay_steps=settings.get("lr_wsd_decay_iters", 0) * batch,
            lr_wsd_decay_style=settings.get("lr_wsd_decay_style"),
        )
        rates = []
        for _ in range(26):
            rates.append(sgd.param_groups[0]["lr"])
            rule.step(batch)
        cases.append(
            case("2026-08", settings["lr_decay_style"], {**given, "global_batch_size": batch}, 1e-3, rates)
        )
    return cases


NEMO: Any = (
    ("CosineAnnealing", {"min_lr": 1e-5}),
    ("CosineAnnealing", {"min_lr": 1e-5, "constant_steps": 4}),
    ("NoamAnnealing", {"d_model": 64, "min_lr": 1e-5}),
    ("NoamAnnealing", {"d_model": 64, "min_lr": 5e-5}),
    ("NoamHoldAnnealing", {"hold_steps": 4, "decay_rate": 1.0, "min_lr": 2e-4}),
    ("NoamHoldAnnealing", {"hold_steps": 0, "decay_rate": 0.5}),
    ("WarmupAnnealing", {"min_lr": 1e-5}),
    ("WarmupPolicy", {"min_lr": 1e-5}),
    ("InverseSquareRootAnnealing", {"min_lr": 1e-5}),
    ("SquareRootAnnealing", {"min_lr": 3e-4}),
    ("PolynomialDecayAnnealing", {"min_lr": 1e-5, "power": 2.0}),
    ("PolynomialHoldDecayAnnealing", {"min_lr": 1e-5, "power": 2.0, "hold_steps": 4}),
    ("PolynomialHoldDecayAnnealing", {"min_lr": 1e-5}),
)


def nemo(folder: Path) -> list[Any]:
    """Return the rates of NeMo's schedulers."""
    text = (folder / "NeMo/nemo/core/optim/lr_scheduler.py").read_text()
    tree = ast.parse(text)
    private = [each.name for each in tree.body if isinstance(each, ast.FunctionDef) and each.name[0] == "_"]
    policies = ["WarmupPolicy", "WarmupHoldPolicy", "WarmupAnnealHoldPolicy"]
    names: dict[str, Any] = {"math": math, "warnings": warnings}
    names["_LRScheduler"] = torch.optim.lr_scheduler.LRScheduler
    for name in [*private, *policies, *(name for name, _ in NEMO)]:
        function_of(folder, name, names, text)
    cases: list[Any] = []
    for name, settings in NEMO:
        for warmup in (5, 0) if name != "NoamHoldAnnealing" else (5,):
            given = {**settings, "warmup_steps": warmup, "max_steps": 30}
            rates = stepped(functools.partial(names[name], **given), 1e-3, 36)
            cases.append(case("2025-09", name, given, 1e-3, rates))
    return cases


def main() -> None:
    """Replace the entries of these frameworks in the file, and keep all others."""
    parser = argparse.ArgumentParser(description="Record the curves of add-on schedulers.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    recorded = json.loads(RECORDED.read_text())
    for framework in (addons, lightning, nanogpt, mae, dino, open_clip, ldm, megatron, nemo):
        recorded[framework.__name__] = framework(folder)
    RECORDED.write_text(json.dumps(recorded, separators=(",", ":")))


if __name__ == "__main__":
    main()
