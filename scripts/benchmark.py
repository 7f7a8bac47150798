"""Measure jaxlr side by side with its peers, on whatever device there is; print one Markdown table.

Every figure is the median over rounds in which the peers take turns, and every ratio the median of the
ratios within a round. Times on a machine that does other work meanwhile mean little; ratios mean more.
"""

import dataclasses
import datetime
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from benchmarks import devices, epochs, profile, schedules, startup, sweeps
from benchmarks.timing import Row

from jaxlr.train.data import load_dataset
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.device.mesh import describe_device


@dataclasses.dataclass(frozen=True)
class Config:
    """What to measure."""

    parts: tuple[Literal["epoch", "profile", "schedules", "sweep", "devices", "startup"], ...] = (
        *("epoch", "profile", "schedules", "sweep", "devices", "startup"),
    )
    """Parts of the table."""

    dataset: str = "mnist"
    """What the epoch and the step learn; a sweep and a first run learn the digits."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data, as for jaxlr train."""

    rounds: int = 5
    """Rounds in which the peers take turns; schedules, which differ by less, have twelve times as many."""

    runs: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    """Numbers of runs of a sweep, each a power of 4; the others are compared with the first."""

    json: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("benchmark.json")
    """Where all rounds of all figures are written."""


def main(config: Config) -> None:
    """Measure, print, write."""
    dataset = load_dataset(config.dataset, config.data_dir, progress=True)
    parts: dict[str, Callable[[], list[Row]]] = {
        "epoch": lambda: epochs.measure(dataset, config.rounds),
        "profile": lambda: profile.measure(dataset, config.rounds),
        "schedules": lambda: schedules.measure(dataset, 12 * config.rounds),
        "sweep": lambda: sweeps.measure(load_dataset("digits"), list(config.runs), config.rounds),
        "devices": lambda: devices.measure(config.rounds),
        "startup": lambda: startup.measure(config.rounds),
    }
    about = _about(config, dataset)
    rows = [row for part in config.parts for row in parts[part]()]
    for line in _markdown(about, rows):
        print(line)
    listed = [{**row._asdict(), "median": row.median} for row in rows]
    config.json.write_text(json.dumps({**about, "rows": listed}, indent=1) + "\n")


def _about(config: Config, dataset: Dataset) -> dict[str, Any]:
    """Where, when and with what."""
    packages = {}
    for name in ("jaxlr", "jax", "optax", "flax", "torch"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = None
    return {
        "device": describe_device(),
        "machine": f"{os.cpu_count()} CPU cores, {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages,
        "date": f"{datetime.date.today()}",
        "dataset": f"{config.dataset}, {len(dataset.train_labels)} samples",
        "rounds": config.rounds,
    }


def _markdown(about: dict[str, Any], rows: Sequence[Row]) -> Iterator[str]:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)
    yield f"{about['date']}, {about['device']} ({about['machine']}), Python {about['python']}, {packages}"
    yield ""
    yield "| | median | ratio |"
    yield "| --- | --- | --- |"
    part = None
    for row in rows:
        if row.part != part:
            yield f"| **{row.part}** | | |"
            part = row.part
        ratio = f"{row.ratio:.3g} x {row.peer}" if row.ratio is not None else ""
        yield f"| {row.name} | {_shown(row)} | {ratio} |"


def _shown(row: Row) -> str:
    if row.unit != "s":
        return f"{row.median:,.0f}{row.unit}"
    return f"{row.median:.2f} s" if row.median >= 1 else f"{row.median * 1e3:.3g} ms"


if __name__ == "__main__":
    main(tyro.cli(Config))
