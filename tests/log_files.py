"""Logs as programs write them, with rates that are computed here by the rules of each program."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np


RECORDED = Path(__file__).parent / "logs"  # by the programs themselves: scripts/record_logs.py


def linear_rate(count: int, base: float, warmup: int, length: int) -> float:
    """Return the rate of `get_linear_schedule_with_warmup` of transformers."""
    if count < warmup:
        return base * (count / max(1, warmup))
    return base * max(0.0, (length - count) / max(1, length - warmup))


def trainer_state(
    path: Path,
    base: float = 1e-5,
    warmup: int = 100,
    length: int = 1000,
    every: int = 10,
    skipped: tuple[int, ...] = (),
    is_older: bool = True,
    **facts: Any,
) -> Path:
    """Write the log of a linear schedule. `skipped` holds the steps whose update was skipped.

    An older Trainer rounds epochs, and logs the rate of the next update.
    """
    history = []
    for step in range(every, length + 1, every):
        applied = step - sum(each <= step for each in skipped)
        if not is_older:
            applied = step - 1 - sum(each < step for each in skipped)
        epoch = step / 137
        history.append(
            {
                "epoch": round(epoch, 2) if is_older else epoch,
                "learning_rate": linear_rate(applied, base, warmup, length),
                "loss": 1 / step,
                "step": step,
            }
        )
    history.append({"epoch": 7.3, "eval_loss": 0.5, "step": length})
    state = {"epoch": 7.3, "log_history": history, "max_steps": length, "num_train_epochs": 8, **facts}
    path.write_text(json.dumps(state, indent=2))
    return path


def ultralytics_rates(
    base: float,
    final: float,
    epochs: int,
    steps: int,
    warmup: int,
    start: float = 0.0,
    is_late: bool = False,
    is_cosine: bool = False,
) -> np.ndarray:
    """Return the rate of each batch, with the loop of `engine/trainer.py`.

    `is_late` is for 8.1.41 and earlier, where the scheduler steps at the end of an epoch.
    """

    def factor(epoch: int) -> float:
        if is_cosine:
            return max((1 - math.cos(epoch * math.pi / epochs)) / 2, 0) * (final - 1) + 1
        return max(1 - epoch / epochs, 0) * (1 - final) + final

    rate, last_epoch, rates = base, -1, []
    for epoch in range(epochs):
        if not is_late:
            last_epoch += 1
            rate = base * factor(last_epoch)
        for batch in range(steps):
            number = batch + steps * epoch
            if number <= warmup:
                rate = float(np.interp(number, [0, warmup], [start, base * factor(epoch)]))
            rates.append(rate)
        if is_late:
            last_epoch += 1
            rate = base * factor(last_epoch)
    return np.array(rates)


def results_csv(path: Path, rates: np.ndarray, steps: int, bias: np.ndarray | None = None) -> Path:
    """Write the rates at the end of each epoch, with the six digits of ultralytics 8.1.42 and later."""
    at_end = rates[steps - 1 :: steps]
    biases = at_end if bias is None else bias[steps - 1 :: steps]
    lines = ["epoch,train/box_loss,lr/pg0,lr/pg1,lr/pg2"]
    for epoch, (rate, other) in enumerate(zip(at_end, biases, strict=True), start=1):
        lines.append(f"{epoch},{1 / epoch:.6g},{other:.6g},{rate:.6g},{rate:.6g}")
    path.write_text("\n".join(lines) + "\n")
    return path


def old_results_csv(path: Path, rates: np.ndarray, steps: int, bias: np.ndarray) -> Path:
    """Write the rates at the end of each epoch, with the padded columns of ultralytics 8.0."""
    names = ("epoch", "lr/pg0", "lr/pg1", "lr/pg2")
    lines = [",".join(f"{name:>23s}" for name in names)]
    for epoch, (rate, other) in enumerate(
        zip(rates[steps - 1 :: steps], bias[steps - 1 :: steps], strict=True)
    ):
        lines.append(",".join(f"{value:23.5g}" for value in (epoch, other, rate, rate)))
    path.write_text("\n".join(lines) + "\n")
    return path


def csv_log(path: Path, counts: Any, rates: Any, form: str = "{!r}", header: str = "step,lr") -> Path:
    """Write a plain CSV."""
    lines = [f"{int(count)},{form.format(float(rate))}" for count, rate in zip(counts, rates, strict=True)]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path
