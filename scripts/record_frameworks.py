"""Record learning rates of other frameworks into tests/framework_recipes.json.

Give the name of the framework: `python scripts/record_frameworks.py mmengine`. Its packages must be installed.
Only this script needs them.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
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

RECORDERS: dict[str, Callable[[], Iterator[Case]]] = {"mmengine": record_mmengine}


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
