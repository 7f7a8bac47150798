"""Record the curves of frameworks for pretraining in `tests/framework_recipes_pretraining.json`.

The environment needs torch. The folder holds clones of pytorch/torchtitan:

    python scripts/recording/pretraining.py FOLDER
"""

import argparse
import ast
import functools
import json
import math
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch


RECORDED = Path(__file__).parents[2] / "tests/framework_recipes_pretraining.json"


def definitions(text: str, names: list[str], namespace: dict[str, Any]) -> dict[str, Any]:
    """Run some functions and classes of a file, without the rest of it."""
    tree = ast.parse(text)
    tree.body = [each for each in tree.body if getattr(each, "name", None) in names]
    tree.body.insert(0, ast.parse("from __future__ import annotations").body[0])
    exec(compile(tree, "recorded", "exec"), namespace)
    return namespace


def case(version: str | None, call: str, settings: dict[str, Any], rates: list[float], **more: Any) -> Any:
    """Return an entry of the file."""
    rates = [float(rate) for rate in rates]
    return {"version": version, "call": call, "settings": settings, **more, "rates": rates}


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

    def show(commit: str, file: str) -> str:
        return subprocess.check_output(["git", "-C", str(folder), "show", f"{commit}:{file}"], text=True)

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
            rates = lambda_rates(factor, 1e-3, 20)
            cases.append(case(version, "build_lr_schedulers", settings, rates))
    text = show("cca07028e", "torchtitan/optimizer.py")
    line = definitions(text, ["linear_warmup_linear_decay"], {})["linear_warmup_linear_decay"]
    for warmup in (0, 5):
        settings = {"optimizer": {"lr": 1e-3}, "training": {"steps": 20, "warmup_steps": warmup}}
        rates = lambda_rates(functools.partial(line, warmup, float(20 - warmup)), 1e-3, 20)
        cases.append(case(None, "linear_warmup_linear_decay", settings, rates))
    return cases


def lambda_rates(factor: Callable[[int], float], rate: float, num_steps: int) -> list[float]:
    """Return the rates of a run with a LambdaLR of torch."""
    sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    scheduler = torch.optim.lr_scheduler.LambdaLR(sgd, factor)
    rates: list[float] = []
    for step in range(num_steps):
        rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        if step < num_steps - 1:
            scheduler.step()
    return rates


def main() -> None:
    """Write the curves of each framework, one to a line."""
    parser = argparse.ArgumentParser(description="Record the curves of frameworks for pretraining.")
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    blocks: list[str] = []
    for name, record in {"torchtitan": torchtitan}.items():
        lines = ",\n".join(json.dumps(each) for each in record(folder / name))
        blocks.append(f"{json.dumps(name)}: [\n{lines}\n]")
    RECORDED.write_text("{\n" + ",\n".join(blocks) + "\n}\n")


if __name__ == "__main__":
    main()
