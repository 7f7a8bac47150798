"""Record curves of transformers and its relatives in `tests/framework_recipes_hf.json`.

Run it in an environment of its own: pip install torch==2.13.0 transformers==5.24.0
"""

import json
import random
from pathlib import Path
from typing import Any

import torch
import transformers  # pyright: ignore[reportMissingImports]
from transformers import optimization  # pyright: ignore[reportMissingImports]


RECORDED = Path(__file__).parents[2] / "tests" / "framework_recipes_hf.json"
RATE = 0.001


def optimizer(rate: float) -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


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
        scheduler = getattr(optimization, call)(optimizer(RATE), **keywords)
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
        scheduler = optimization.GreedyLR(optimizer(rate), **keywords)
        rates = []
        for metric in metrics:
            scheduler.step(metric)
            rates.append(scheduler.optimizer.param_groups[0]["lr"])
        cases.append({"settings": keywords, "init_value": rate, "metrics": metrics, "rates": rates})
    return [{"version": transformers.__version__, "call": "GreedyLR", **case} for case in cases]


FRAMEWORKS = {"huggingface": functions_of_transformers, "greedy": greedy}


def main() -> None:
    """Write the curves of each framework, one to a line."""
    blocks = []
    for name, record in FRAMEWORKS.items():
        lines = ",\n".join(json.dumps(case) for case in record())
        blocks.append(f"{json.dumps(name)}: [\n{lines}\n]")
    RECORDED.write_text("{\n" + ",\n".join(blocks) + "\n}\n")
    print(f"recorded {', '.join(FRAMEWORKS)} in {RECORDED}")


if __name__ == "__main__":
    main()
