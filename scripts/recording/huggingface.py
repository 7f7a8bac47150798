"""Record curves of transformers and its relatives in `tests/framework_recipes_hf.json`.

Run it in an environment of its own, with three files of the frameworks that are hard to install:
`src/axolotl/utils/schedulers.py` of axolotl, `torchtune/training/lr_schedulers.py` of torchtune, and
`deepspeed/runtime/lr_schedules.py` of DeepSpeed.

    pip install torch==2.13.0 transformers==5.24.0 timm==1.0.31
    python scripts/recording/huggingface.py schedulers.py lr_schedulers.py lr_schedules.py
"""

import logging
import random
import runpy
import sys
import types
from typing import Any

import timm  # pyright: ignore[reportMissingImports]
import timm.scheduler  # pyright: ignore[reportMissingImports]
import torch
import transformers  # pyright: ignore[reportMissingImports]
from curves import new_optimizer, write
from transformers import optimization  # pyright: ignore[reportMissingImports]


RATE = 0.001


def rates_of(scheduler: Any, num_counts: int) -> list[float]:
    """Return the rate in force during each update."""
    rates = []
    for _ in range(num_counts):
        rates.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        scheduler.optimizer.step()
        scheduler.step()
    return rates


def functions_of_transformers() -> list[dict[str, Any]]:
    both = {"num_warmup_steps": 7, "num_training_steps": 33}
    settings = [
        ("get_linear_schedule_with_warmup", {"num_warmup_steps": 0, "num_training_steps": 1}),
        ("get_linear_schedule_with_warmup", both),
        ("get_cosine_schedule_with_warmup", {**both, "num_cycles": 1.5}),
        ("get_cosine_schedule_with_warmup", {"num_warmup_steps": 33, "num_training_steps": 33}),
        ("get_cosine_with_hard_restarts_schedule_with_warmup", {**both, "num_cycles": 2.5}),
        ("get_cosine_with_hard_restarts_schedule_with_warmup", {**both, "num_cycles": 7}),
        ("get_polynomial_decay_schedule_with_warmup", {**both, "lr_end": 1e-5, "power": 2.0}),
        ("get_inverse_sqrt_schedule", {"num_warmup_steps": 0}),
        ("get_cosine_with_min_lr_schedule_with_warmup", {**both, "min_lr_rate": 0.25, "num_cycles": 1.0}),
        ("get_cosine_with_min_lr_schedule_with_warmup_lr_rate", {**both, "min_lr_rate": 0.25}),
        (
            "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
            {"num_warmup_steps": 1, "num_training_steps": 9, "min_lr": 1e-4, "warmup_lr_rate": 0.5},
        ),
        ("get_wsd_schedule", {**both, "num_decay_steps": 11, "decay_type": "1-sqrt"}),
        ("get_wsd_schedule", {**both, "num_decay_steps": 11, "warmup_type": "cosine", "num_cycles": 2.0}),
    ]
    cases = []
    for call, keywords in settings:
        scheduler = getattr(optimization, call)(new_optimizer(RATE), **keywords)
        rates = rates_of(scheduler, 45)
        cases.append({"call": call, "settings": keywords, "init_value": RATE, "rates": rates})
    return [{"version": transformers.__version__, **case} for case in cases]


def greedy() -> list[dict[str, Any]]:
    """Return curves of GreedyLR over walks of a metric whose values float32 holds."""
    generator = random.Random(0)
    settings: list[tuple[float, dict[str, Any]]] = [
        (0.1, {"patience": 2}),
        (0.1, {"patience": 0, "factor": 0.5, "min_lr": 0.02, "max_lr": 0.3, "reset_start": 2}),
        (0.1, {"patience": 1, "cooldown": 2, "warmup": 3, "factor": 0.7, "min_lr": 0.0}),
        (1e-4, {"patience": 1, "reset_start": 3}),
        (0.1, {"patience": 1, "mode": "max", "threshold_mode": "rel", "threshold": 0.01, "min_lr": 1e-5}),
        (0.1, {"patience": 0, "smooth": True, "window_size": 4, "min_lr": 0.03, "reset_start": 1}),
        (0.2, {"patience": 1, "smooth": True, "window_size": 4, "factor": 0.8, "min_lr": 1e-6}),
        (0.2, {"patience": 2, "smooth": True, "window_size": 4, "eps": 0.005, "min_lr": 0.05}),
        (0.5, {"patience": 1, "mode": "max", "smooth": True, "window_size": 4, "reset_start": 2}),
    ]
    cases = []
    for rate, keywords in settings:
        metrics, value = [], 8.0
        for _ in range(60):
            value += generator.choice([-0.5, -0.25, -0.125, 0.0, 0.0, 0.25])
            metrics.append(value)
        scheduler = optimization.GreedyLR(new_optimizer(rate), **keywords)
        rates = []
        for metric in metrics:
            scheduler.step(metric)
            rates.append(scheduler.optimizer.param_groups[0]["lr"])
        cases.append({"settings": keywords, "init_value": rate, "metrics": metrics, "rates": rates})
    return [{"version": transformers.__version__, "call": "GreedyLR", **case} for case in cases]


def rates_of_axolotl(config: dict[str, Any], classes: dict[str, Any], num_counts: int) -> list[float]:
    """Return the rates of the scheduler that axolotl's trainer creates for a config."""
    steps, warm = config["max_steps"], config["warmup_steps"]
    floor = config.get("cosine_min_lr_ratio")
    both = {"num_warmup_steps": warm, "num_training_steps": steps}
    chosen, name = new_optimizer(RATE), config["lr_scheduler"]
    if name == "one_cycle":
        settings = {
            "pct_start": warm / steps,
            "anneal_strategy": "cos",
            **config.get("lr_scheduler_kwargs", {}),
        }
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=RATE),
            max_lr=RATE,
            total_steps=steps,
            **settings,
        )
    elif name == "rex":
        bounds = {"max_lr": RATE, "min_lr": RATE * (floor or 0)}
        scheduler = classes["RexLR"](chosen, **bounds, total_steps=steps, num_warmup_steps=warm)
    elif config.get("lr_quadratic_warmup"):
        scheduler = classes["get_cosine_schedule_with_quadratic_warmup"](chosen, **both)
    elif floor and config.get("cosine_constant_lr_ratio"):
        ratios = {"min_lr_ratio": floor, "constant_lr_ratio": config["cosine_constant_lr_ratio"]}
        scheduler = classes["get_cosine_schedule_with_warmup_decay_constant"](chosen, **both, **ratios)
    elif floor and name == "cosine":
        scheduler = classes["get_cosine_schedule_with_min_lr"](chosen, **both, min_lr_ratio=floor)
    else:
        scheduler = optimization.get_scheduler(name, chosen, warm, steps)
    if config.get("jagged_restart_steps"):
        settings = [config["jagged_restart_steps"], config.get("jagged_restart_warmup_steps") or 10]
        settings += [config.get("jagged_restart_anneal_steps") or 1, floor or 0.001]
        scheduler = classes["JaggedLRRestartScheduler"](chosen, scheduler, *settings)
    return rates_of(scheduler, num_counts)


def axolotl() -> list[dict[str, Any]]:
    classes = runpy.run_path(sys.argv[1])
    run = {"max_steps": 30, "warmup_steps": 6}
    configs: list[dict[str, Any]] = [
        {"lr_scheduler": "cosine", "cosine_min_lr_ratio": 0.1},
        {"lr_scheduler": "cosine", "cosine_min_lr_ratio": 0.2, "cosine_constant_lr_ratio": 0.8},
        {"lr_scheduler": "cosine", "cosine_min_lr_ratio": 1.0, "cosine_constant_lr_ratio": 0},
        {"lr_scheduler": "cosine", "lr_quadratic_warmup": True, "cosine_min_lr_ratio": 0.3},
        {"lr_scheduler": "rex"},
        {"lr_scheduler": "rex", "cosine_min_lr_ratio": 0.25},
        {"lr_scheduler": "rex", "warmup_steps": 0},
        {"lr_scheduler": "one_cycle"},
        {
            "lr_scheduler": "one_cycle",
            "lr_scheduler_kwargs": {"div_factor": 10.0, "anneal_strategy": "linear"},
        },
        {"lr_scheduler": "linear", "cosine_min_lr_ratio": 0.5},
        {
            **{"lr_scheduler": "cosine", "jagged_restart_steps": 9, "jagged_restart_warmup_steps": 3},
            "jagged_restart_anneal_steps": 4,
        },
        {"lr_scheduler": "linear", "jagged_restart_steps": 12, "jagged_restart_anneal_steps": False},
        {
            **{"lr_scheduler": "cosine", "cosine_min_lr_ratio": 0.1, "jagged_restart_steps": 7},
            **{"jagged_restart_warmup_steps": 6, "jagged_restart_anneal_steps": 0},
        },
    ]
    cases = []
    for config in configs:
        settings = {**run, **config}
        counts = 30 if config["lr_scheduler"] == "one_cycle" else 45
        rates = rates_of_axolotl(settings, classes, counts)
        cases.append(
            {"call": config["lr_scheduler"], "settings": settings, "init_value": RATE, "rates": rates}
        )
    return [{"version": "2026-07", **case} for case in cases]


def deepspeed() -> list[dict[str, Any]]:
    # The file imports a logger from a module that needs a compiler.
    utils: Any = types.ModuleType("deepspeed.utils")
    utils.logger = logging.getLogger("deepspeed")
    for name in ("deepspeed", "deepspeed.utils"):
        sys.modules[name] = utils
    classes = runpy.run_path(sys.argv[3])
    cosine = {"total_num_steps": 24, "warmup_num_steps": 6}
    settings: list[tuple[str, dict[str, Any]]] = [
        ("WarmupCosineLR", cosine),
        (
            "WarmupCosineLR",
            {**cosine, "warmup_type": "linear", "warmup_min_ratio": 0.1, "cos_min_ratio": 0.2},
        ),
        ("WarmupCosineLR", {"total_num_steps": 6, "warmup_num_steps": 6}),
        ("WarmupDecayLR", {"total_num_steps": 24, "warmup_num_steps": 6, "warmup_type": "linear"}),
        ("WarmupLR", {"warmup_num_steps": 6, "warmup_min_lr": 1e-5}),
        (
            "OneCycle",
            {
                **{"cycle_min_lr": 1e-4, "cycle_max_lr": 1e-3, "cycle_first_step_size": 6},
                **{
                    "cycle_second_step_size": 9,
                    "decay_step_size": 3,
                    "decay_mom_rate": 0.01,
                    "decay_lr_rate": 0.1,
                },
            },
        ),
    ]
    cases = []
    for call, keywords in settings:
        chosen = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=2 * RATE)
        scheduler = classes[call](chosen, **keywords)
        rates, momenta = [], []
        for _ in range(40):
            rates.append(chosen.param_groups[0]["lr"])
            momenta.append(chosen.param_groups[0]["betas"][0])
            scheduler.step()
        case = {"call": call, "settings": keywords, "init_value": 2 * RATE, "rates": rates}
        cases.append({**case, "momenta": momenta} if call == "OneCycle" else case)
    return [{"version": "2026-08", **case} for case in cases]


def rates_of_timm(scheduler: Any, num_counts: int, metrics: Any = None) -> list[float]:
    """Return the rate in force during each epoch or update. A plateau sees the metric of each epoch."""
    rates = []
    for count in range(num_counts):
        rates.append(float(scheduler.optimizer.param_groups[0]["lr"]))
        metric = None if metrics is None else metrics[count]
        scheduler.step(count + 1, metric)
        if metrics is None:
            scheduler.step_update(count + 1)
    return rates


def timm_schedules() -> list[dict[str, Any]]:
    settings: list[tuple[str, dict[str, Any]]] = [
        ("CosineLRScheduler", {"t_initial": 20, "k_decay": 1.5, "lr_min": 1e-5}),
        ("CosineLRScheduler", {"t_initial": 20, "k_decay": 0.5, "warmup_t": 4, "warmup_prefix": True}),
        (
            "CosineLRScheduler",
            {
                **{"t_initial": 5, "k_decay": 2.0, "cycle_limit": 3, "cycle_mul": 2.0, "cycle_decay": 0.5},
                **{"warmup_t": 3, "warmup_lr_init": 1e-4, "lr_min": 1e-5},
            },
        ),
        ("PolyLRScheduler", {"t_initial": 20, "k_decay": 1.5, "power": 0.9, "warmup_t": 4}),
        ("create_scheduler_v2", {"sched": "poly", "num_epochs": 12, "k_decay": 2.0, "decay_rate": 0.5}),
        ("WSDLRScheduler", {"t_initial": 20, "decay_t": 6, "warmup_t": 4, "lr_min": 1e-5}),
        ("WSDLRScheduler", {"t_initial": 20, "decay_t": 6, "decay_fn": "cosine"}),
        ("WSDLRScheduler", {"t_initial": 20, "decay_t": 20, "decay_fn": "power", "decay_power": 2.0}),
        (
            "WSDLRScheduler",
            {"t_initial": 20, "decay_t": 6, "stable_fn": "rsqrt", "warmup_t": 4, "lr_min": 1e-5},
        ),
        (
            "WSDLRScheduler",
            {
                **{
                    "t_initial": 30,
                    "decay_t": 6,
                    "stable_fn": "power",
                    "stable_power": 1.5,
                    "lr_min": 2e-4,
                },
                **{"stable_timescale": 3.0, "decay_fn": "linear"},
            },
        ),
        ("create_scheduler_v2", {"sched": "wsd", "num_epochs": 30, "warmup_epochs": 5, "min_lr": 1e-5}),
        (
            "create_scheduler_v2",
            {"sched": "rsqrt", "num_epochs": 30, "warmup_epochs": 5, "decay_epochs": 4},
        ),
        (
            "create_scheduler_v2",
            {
                **{"sched": "wsd", "num_epochs": 10, "warmup_epochs": 2, "warmup_prefix": True},
                **{"step_on_epochs": False, "updates_per_epoch": 3, "decay_fn": "linear"},
            },
        ),
        ("create_scheduler_v2", {"sched": "none"}),
    ]
    cases = []
    for call, keywords in settings:
        chosen = new_optimizer(RATE)
        scheduler = getattr(timm.scheduler, call)(chosen, **keywords)
        scheduler = scheduler[0] if isinstance(scheduler, tuple) else scheduler
        rates = [RATE] * 5 if scheduler is None else rates_of_timm(scheduler, 45)
        cases.append({"call": call, "settings": keywords, "init_value": RATE, "rates": rates})
    return [{"version": timm.__version__, **case} for case in cases]


def timm_plateaus() -> list[dict[str, Any]]:
    metrics = [10, 20, 30, 30, 30, 30, 30, 30, 31, 31, 31, 31, 31, 31, 31, 31]
    cases = []
    for keywords in (
        {"decay_rate": 0.5, "patience_t": 1, "warmup_t": 4, "warmup_lr_init": 1e-5},
        {"decay_rate": 0.2, "patience_t": 0, "warmup_t": 2, "cooldown_t": 2, "mode": "min", "lr_min": 1e-6},
    ):
        scheduler = timm.scheduler.PlateauLRScheduler(new_optimizer(RATE), **keywords)
        rates = rates_of_timm(scheduler, 16, metrics)
        cases.append({"settings": keywords, "init_value": RATE, "metrics": metrics, "rates": rates})
    return [{"version": timm.__version__, "call": "PlateauLRScheduler", **case} for case in cases]


def torchtune() -> list[dict[str, Any]]:
    # The file imports one class from a module that needs torchao, for the type of a function.
    memory: Any = types.ModuleType("torchtune.training.memory")
    memory.OptimizerInBackwardWrapper = torch.optim.Optimizer
    for name in ("torchtune", "torchtune.training", "torchtune.training.memory"):
        sys.modules[name] = memory
    function = runpy.run_path(sys.argv[2])["get_cosine_schedule_with_warmup"]
    cases = []
    for keywords in ({"num_warmup_steps": 5}, {"num_warmup_steps": 0, "num_cycles": 1.5}):
        scheduler = function(new_optimizer(RATE), num_training_steps=20, **keywords)
        cases.append({"settings": keywords, "init_value": RATE, "rates": rates_of(scheduler, 30)})
    call = "torchtune.training.lr_schedulers.get_cosine_schedule_with_warmup"
    return [{"version": "0.6.1", "call": call, **case} for case in cases]


FRAMEWORKS = {
    "torchtune": torchtune,
    "axolotl": axolotl,
    "deepspeed": deepspeed,
    "timm": timm_schedules,
    "timm plateau": timm_plateaus,
    "huggingface": functions_of_transformers,
    "greedy": greedy,
}


if __name__ == "__main__":
    write("framework_recipes_hf.json", {name: function() for name, function in FRAMEWORKS.items()})
