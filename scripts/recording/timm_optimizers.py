"""Record updates of timm's Lion and LAMB, and of lion-pytorch, in `tests/timm_optimizers.npz`.

The environment needs torch, timm and lion-pytorch:

    python scripts/recording/timm_optimizers.py
"""

import importlib
import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch


FILE = Path(__file__).parents[2] / "tests/timm_optimizers.npz"
NUM_STEPS, DONE, END = 100, 37, 200
SHAPES = {"bias": (5,), "kernel": (3, 4)}
NO_DECAY = {"weight_decay": 0.0}  # of the biases, if there are two groups
DECAYED = {"lr": 0.1, "weight_decay": 0.3}
CORRECTED = {"decoupled_decay": True, "corrected_weight_decay": True}
PLAIN = {"bias_correction": False, "grad_averaging": False}

LION, LAMB = "timm.optim.lion.Lion", "timm.optim.lamb.Lamb"
LION_PYTORCH = "lion_pytorch.lion_pytorch.Lion"
SCHEDULES: dict[str, Any] = {
    "step": lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 30, 0.5),
    "cycle": lambda optimizer: torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, NUM_STEPS + 1),
}
# Each has a class, its options, the options of the biases, and a schedule.
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any] | None, str | None]] = {
    "Lion": (LION, {}, None, None),
    "Lion, decayed": (LION, {"lr": 0.1, "weight_decay": 0.3, "maximize": True}, NO_DECAY, "step"),
    "Lion, cautious": (LION, {"betas": (0.6, 0.9), "caution": True, "foreach": True}, None, None),
    "Lion, corrected": (LION, DECAYED | {"corrected_weight_decay": True}, {"lr": 0.02}, "step"),
    "Lion, cycled": (LION, DECAYED, None, "cycle"),
    "Lamb": (LAMB, {}, None, None),
    "Lamb, groups": (LAMB, DECAYED | {"max_grad_norm": 0.5}, NO_DECAY, "step"),
    "Lamb, not clipped": (LAMB, {"max_grad_norm": None, **PLAIN, "betas": (0.8, 0.99)}, None, None),
    "Lamb, adapted": (
        LAMB,
        {**NO_DECAY, "always_adapt": True, "trust_clip": True, "eps": 1e-3},
        None,
        None,
    ),
    "Lamb, decoupled": (LAMB, DECAYED | {"decoupled_decay": True, "foreach": True}, NO_DECAY, "step"),
    "Lamb, corrected": (LAMB, DECAYED | CORRECTED | {"caution": True}, {"lr": 0.02}, "step"),
    "Lamb, cycled": (LAMB, DECAYED, None, "cycle"),
    "lion-pytorch": (LION_PYTORCH, DECAYED, None, "step"),
    "lion-pytorch, decoupled": (LION_PYTORCH, DECAYED | {"decoupled_weight_decay": True}, NO_DECAY, "step"),
}
RUNS = {
    "Lion": (LION, {"lr": 0.001, "weight_decay": 0.1, "betas": (0.8, 0.95)}),
    "Lamb": (LAMB, {"lr": 0.01, "max_grad_norm": 0.1}),
}


def class_of(name: str) -> Any:
    """Import a class."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


def described(optimizer: Any) -> list[dict[str, Any]]:
    """Return the parameter groups without their parameters."""
    return [
        {name: value.item() if hasattr(value, "item") else value for name, value in group.items()}
        for group in optimizer.state_dict()["param_groups"]
    ]


def record_updates(arrays: dict[str, Any], cases: dict[str, Any]) -> None:
    """Step each optimizer from parameters that are replaced after each update."""
    rng = np.random.default_rng(0)
    # Exact in float32, too. The gradients of the bias are larger.
    params, grads = (
        {name: rng.normal(size=(NUM_STEPS, *shape)).astype(np.float32) for name, shape in SHAPES.items()}
        for _ in range(2)
    )
    grads["bias"] *= 3
    for name in SHAPES:
        arrays[f"params/{name}"], arrays[f"grads/{name}"] = params[name], grads[name]
    for case, (class_name, options, of_bias, schedule) in CASES.items():
        tensors = {name: torch.zeros(shape, dtype=torch.float64) for name, shape in SHAPES.items()}
        groups: Any = [*tensors.values()]
        if of_bias is not None:
            groups = [{"params": [tensors["kernel"]]}, {"params": [tensors["bias"]], **of_bias}]
        optimizer = class_of(class_name)(groups, **options)
        cases[case] = {
            "class": class_name,
            "groups": described(optimizer),
            "is_decoupled": options.get("decoupled_weight_decay", False),  # of lion-pytorch
            "schedule": schedule,
        }
        scheduler = SCHEDULES[schedule](optimizer) if schedule else None
        updates = {name: [] for name in SHAPES}
        for step in range(NUM_STEPS):
            for name, tensor in tensors.items():
                tensor.copy_(torch.tensor(params[name][step]))
                tensor.grad = torch.tensor(grads[name][step], dtype=torch.float64)
            optimizer.step()
            if scheduler:
                scheduler.step()
            for name, tensor in tensors.items():
                updates[name].append((tensor - torch.tensor(params[name][step])).numpy())
        arrays |= {f"{case}/{name}": np.stack(each) for name, each in updates.items()}


def record_runs(arrays: dict[str, Any], cases: dict[str, Any]) -> None:
    """Train the model of tests/test_resume_from_torch.py, with its state after some updates."""
    nn = torch.nn
    inputs = np.random.default_rng(0).normal(size=(8, 4))
    targets = torch.tensor(np.sin(inputs @ np.random.default_rng(1).normal(size=(4, 2))))
    inputs = torch.tensor(inputs)
    for case, (class_name, options) in RUNS.items():
        torch.manual_seed(0)
        conv, *blocks, head = model = nn.Sequential(
            nn.Conv1d(4, 5, 1), nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False), nn.Linear(5, 2)
        ).double()
        named = dict(model.named_parameters())
        groups = [
            {"params": [named[f"{index}.weight"] for index in range(4)]},
            {"params": [named["3.bias"], named["0.bias"]], **NO_DECAY},
        ]
        optimizer = class_of(class_name)(groups, **options)
        for step in range(END):
            if step == DONE:
                for index, fields in optimizer.state_dict()["state"].items():
                    for field, value in fields.items():
                        arrays[f"run/{case}/state/{index}/{field}"] = value.numpy().copy()
                for name, weight in named.items():
                    arrays[f"run/{case}/start/{name}"] = weight.detach().numpy().copy()
                cases[f"run/{case}"] = {"groups": described(optimizer)}
            optimizer.zero_grad()
            hidden = conv(inputs.T).T
            for block in blocks:
                hidden = torch.tanh(block(hidden))
            ((head(hidden) - targets) ** 2).mean().backward()
            optimizer.step()
        arrays |= {f"run/{case}/end/{name}": weight.detach().numpy() for name, weight in named.items()}


def main() -> None:
    """Write the file."""
    arrays: dict[str, Any] = {}
    versions = {name: importlib.metadata.version(name) for name in ("timm", "lion-pytorch", "torch")}
    cases: dict[str, Any] = {"versions": versions}
    record_updates(arrays, cases)
    record_runs(arrays, cases)
    np.savez_compressed(FILE, cases=json.dumps(cases), **arrays)


if __name__ == "__main__":
    main()
