"""Record the curves of add-on schedulers, Lightning and research scripts in `tests/framework_recipes.json`.

The environment needs torch, pytorch-lightning, lightning-bolts and monai. The folder holds clones of
karpathy/nanoGPT, facebookresearch/mae, facebookresearch/dino, mlfoundations/open_clip,
CompVis/latent-diffusion, NVIDIA/Megatron-LM, NVIDIA/NeMo, ildoonet/pytorch-gradual-warmup-lr and
katsura-jp/pytorch-cosine-annealing-with-warmup:

    python scripts/recording/addons.py FOLDER
"""

import ast
import functools
import importlib
import importlib.util
import logging
import math
import types
import warnings
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from curves import case, definitions, new_optimizer, record, stepped, text_at


BEFORE_2024 = "dc81cb36^"  # nanoGPT, before its warmup began above 0


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


COPIED = (
    ("pytorch-gradual-warmup-lr", "GradualWarmupScheduler", "warmup_scheduler/scheduler.py"),
    (
        "pytorch-cosine-annealing-with-warmup",
        "CosineAnnealingWarmupRestarts",
        "cosine_annealing_warmup/scheduler.py",
    ),
)


def addons(folder: Path) -> list[Any]:
    """Return the curves of the classes that programs import or copy."""
    names: dict[str, Any] = {"math": math, "torch": torch, **vars(torch.optim.lr_scheduler)}
    names["_LRScheduler"] = torch.optim.lr_scheduler.LRScheduler
    for clone, name, file in COPIED:
        definitions(text_at(folder / clone, "HEAD", file), [name], names)
    gradual = names["GradualWarmupScheduler"]
    classes = {
        "bolts": ("0.7.0", _bolts()),
        "restarts": ("2022", names["CosineAnnealingWarmupRestarts"]),
        "monai": ("1.6.1", importlib.import_module("monai.optimizers").WarmupCosineSchedule),
    }
    cases: list[Any] = []
    for key, same, names, rows in ADDONS:
        version, cls = classes[key]
        for row in rows:
            settings = {**same, **dict(zip(names, row, strict=True))}
            rates = stepped(functools.partial(cls, **settings), 0.01, 60)
            cases.append(case(version, cls.__name__, settings, rates, init_value=0.01))
    for text in (None, *AFTER):
        for multiplier in (1.0, 4.0):

            def build(sgd: Any, text: str | None = text, multiplier: float = multiplier) -> Any:
                names = {**vars(torch.optim.lr_scheduler), "optimizer": sgd}
                return gradual(sgd, multiplier, 5, text and eval(text, names))

            settings = {"multiplier": multiplier, "total_epoch": 5}
            rates = stepped(build, 0.1, 40)
            entry = case(
                "2024", "GradualWarmupScheduler", settings, rates, after_scheduler=text, init_value=0.1
            )
            cases.append(entry)
    return cases


def _bolts() -> Any:
    """Return the class of pl_bolts, whose package does not import beside today's Lightning."""
    spec = importlib.util.find_spec("pl_bolts")
    assert spec is not None
    names = {"math": math, "warnings": warnings, "List": list, "Optimizer": torch.optim.Optimizer}
    names |= {"_LRScheduler": torch.optim.lr_scheduler.LRScheduler, "under_review": lambda: lambda cls: cls}
    text = (Path(str(spec.origin)).parent / "optimizers/lr_scheduler.py").read_text()
    name = "LinearWarmupCosineAnnealingLR"
    return definitions(text, [name], names)[name]


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
            entry = case(
                pl.__version__, "ExponentialLR", node, module.rates, steps_per_epoch=batches, init_value=1.0
            )
            cases.append(entry)
    return cases


def nanogpt(folder: Path) -> list[Any]:
    """Return the rates of `get_lr`, today and before 2024."""
    commits = {"2024.12": "HEAD", "2023": BEFORE_2024}
    texts = {
        version: text_at(folder / "nanoGPT", commit, "train.py") for version, commit in commits.items()
    }
    cases: list[Any] = []
    for warmup, decay in ((5, 20), (0, 12), (1, 30)):
        settings = {"learning_rate": 6e-4, "warmup_iters": warmup, "lr_decay_iters": decay, "min_lr": 6e-5}
        for version, text in texts.items():
            get_lr = definitions(text, ["get_lr"], {"math": math, **settings})["get_lr"]
            cases.append(case(version, "get_lr", settings, map(get_lr, range(40)), init_value=6e-4))
    return cases


def mae(folder: Path) -> list[Any]:
    """Return the rates of MAE's loop, which sets one for each group of `accum_iter` batches."""
    name, text = "adjust_learning_rate", text_at(folder / "mae", "HEAD", "util/lr_sched.py")
    adjust = definitions(text, [name], {"math": math})[name]
    names = ("warmup_epochs", "epochs", "min_lr", "accum_iter")
    cases: list[Any] = []
    for batches, *row in ((4, 2, 5, 1e-6, 1), (7, 0, 4, 0.0, 1), (7, 2, 6, 1e-5, 3)):
        settings = {"lr": 1e-3, **dict(zip(names, row, strict=True))}
        rates, rate = [], 0.0
        for epoch in range(settings["epochs"]):
            for step in range(batches):
                if step % settings["accum_iter"] == 0:
                    rate = adjust(
                        new_optimizer(1.0), step / batches + epoch, types.SimpleNamespace(**settings)
                    )
                rates.append(rate)
        cases.append(
            case("2022", "adjust_learning_rate", settings, rates, steps_per_epoch=batches, init_value=1e-3)
        )
    return cases


def dino(folder: Path) -> list[Any]:
    """Return the arrays of `cosine_scheduler`."""
    text = text_at(folder / "dino", "HEAD", "utils.py")
    cosine = definitions(text, ["cosine_scheduler"], {"np": np})["cosine_scheduler"]
    cases: list[Any] = []
    for warmup, start in ((0, 0), (2, 0), (3, 1e-5), (5, 0)):
        settings = {"base_value": 5e-4, "final_value": 1e-6, "epochs": 5, "niter_per_ep": 4}
        settings |= {"warmup_epochs": warmup, "start_warmup_value": start}
        cases.append(case("2022", "cosine_scheduler", settings, cosine(**settings), init_value=5e-4))
    return cases


def open_clip(folder: Path) -> list[Any]:
    """Return the rates of the three schedulers."""
    text = text_at(folder / "open_clip", "HEAD", "src/open_clip_train/scheduler.py")
    names: dict[str, Any] = {"math": math, "torch": torch}
    wanted = ["assign_learning_rate", "_warmup_lr", "cosine_lr", "const_lr", "const_lr_cooldown"]
    definitions(text, wanted, names)
    cooldowns = (
        {"cooldown_steps": 6, "cooldown_power": 2.0, "cooldown_end_lr": 1e-5},
        {"cooldown_steps": 18},
    )
    calls: list[Any] = [("cosine_lr", {}), ("const_lr", {})]
    cases: list[Any] = []
    for name, more in [*calls, *(("const_lr_cooldown", cooldown) for cooldown in cooldowns)]:
        settings = {"base_lr": 1e-3, "warmup_length": 5, "steps": 20, **more}
        adjust = names[name](new_optimizer(1.0), **settings)
        cases.append(case("3.3", name, settings, map(adjust, range(20)), init_value=1e-3))
    return cases


def ldm(folder: Path) -> list[Any]:
    """Return the rates of latent-diffusion's schedulers in a LambdaLR."""
    names: dict[str, Any] = {"np": np}
    wanted = ["LambdaWarmUpCosineScheduler", "LambdaWarmUpCosineScheduler2", "LambdaLinearScheduler"]
    definitions(text_at(folder / "latent-diffusion", "HEAD", "ldm/lr_scheduler.py"), wanted, names)
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
        cases.append(case("2022", name, each, rates, init_value=0.5))
    return cases


def megatron(folder: Path) -> list[Any]:
    """Return the rates of Megatron-LM's scheduler, stepped by samples."""
    names: dict[str, Any] = {"math": math, "torch": torch, "Optional": Optional, "logging": logging}
    names |= {"logger": None, "log_single_rank": lambda *args: None}
    text = text_at(folder / "Megatron-LM", "HEAD", "megatron/core/optimizer_param_scheduler.py")
    scheduler = definitions(text, ["OptimizerParamScheduler"], names)["OptimizerParamScheduler"]
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
        sgd = new_optimizer(1e-3)
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
        given |= {"global_batch_size": batch}
        cases.append(case("2026-08", settings["lr_decay_style"], given, rates, init_value=1e-3))
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
    text = text_at(folder / "NeMo", "HEAD", "nemo/core/optim/lr_scheduler.py")
    tree = ast.parse(text)
    private = [each.name for each in tree.body if isinstance(each, ast.FunctionDef) and each.name[0] == "_"]
    policies = ["WarmupPolicy", "WarmupHoldPolicy", "WarmupAnnealHoldPolicy"]
    names: dict[str, Any] = {"math": math, "warnings": warnings}
    names["_LRScheduler"] = torch.optim.lr_scheduler.LRScheduler
    definitions(text, [*private, *policies, *(name for name, _ in NEMO)], names)
    cases: list[Any] = []
    for name, settings in NEMO:
        for warmup in (5, 0) if name != "NoamHoldAnnealing" else (5,):
            given = {**settings, "warmup_steps": warmup, "max_steps": 30}
            rates = stepped(functools.partial(names[name], **given), 1e-3, 36)
            cases.append(case("2025-09", name, given, rates, init_value=1e-3))
    return cases


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    record(
        "framework_recipes.json",
        *(addons, lightning, nanogpt, mae, dino, open_clip, ldm, megatron, nemo),
    )
