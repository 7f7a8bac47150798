"""The steps that recordings share: run a part of a program, step its scheduler, and write its rates."""

import argparse
import ast
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


TESTS = Path(__file__).parents[2] / "tests"


def text_at(clone: Path, commit: str, file: str) -> str:
    """Return a file of a clone at a commit."""
    return subprocess.check_output(["git", "-C", str(clone), "show", f"{commit}:{file}"], text=True)


def definitions(text: str, names: list[str], namespace: dict[str, Any]) -> dict[str, Any]:
    """Run some functions and classes of a file, without the rest of it."""
    tree = ast.parse(text)
    tree.body = [each for each in tree.body if getattr(each, "name", None) in names]
    tree.body.insert(0, ast.parse("from __future__ import annotations").body[0])
    exec(compile(tree, "recorded", "exec"), namespace)
    return namespace


def new_optimizer(rate: float) -> torch.optim.Optimizer:
    """Return an SGD with one parameter."""
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)


def stepped(build: Callable[[Any], Any], rate: float, num_steps: int) -> list[float]:
    """Return the rate of each step of the scheduler that `build` makes for an optimizer."""
    sgd = new_optimizer(rate)
    scheduler = build(sgd)
    rates = [sgd.param_groups[0]["lr"]]
    for _ in range(num_steps - 1):
        sgd.step()
        scheduler.step()
        rates.append(sgd.param_groups[0]["lr"])
    return rates


def case(version: str | None, call: str, settings: dict[str, Any], rates: Any, **more: Any) -> Any:
    """Return an entry of a file of recorded curves."""
    rates = [float(rate) for rate in rates]
    return {"version": version, "call": call, "settings": settings, **more, "rates": rates}


def record(file: str, *recorders: Callable[[Path], list[Any]]) -> None:
    """Record curves from the clones in the folder of the command line, one to a line of a file in `tests`.

    Each function records the framework of its name. The other frameworks of the file stay.
    """
    parser = argparse.ArgumentParser(description=f"Record the curves in tests/{file}.")
    parser.add_argument("folder", type=Path, help="the folder of the clones")
    folder = parser.parse_args().folder
    recorded = json.loads((TESTS / file).read_text())
    for recorder in recorders:
        recorded[recorder.__name__] = recorder(folder)
    write(file, recorded)


def write(file: str, recorded: dict[str, list[Any]]) -> None:
    """Write the curves of each framework, one to a line."""
    blocks: list[str] = []
    for name, cases in recorded.items():
        lines = ",\n".join(json.dumps(each) for each in cases)
        blocks.append(f"{json.dumps(name)}: [\n{lines}\n]")
    (TESTS / file).write_text("{\n" + ",\n".join(blocks) + "\n}\n")
