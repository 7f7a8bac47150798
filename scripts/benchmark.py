"""Measure jaxlr side by side with its peers on the current device, and print a Markdown table.

The peers take turns in each round. Every time is the median over the rounds, and every ratio is the median
of the ratios within a round. If the machine is busy with other work, trust the ratios more than the times.
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


Part = Literal["epoch", "profile", "schedules", "sweep", "devices", "startup"]


@dataclasses.dataclass(frozen=True)
class Config:
    """The measurements to make."""

    parts: tuple[Part, ...] = ("epoch", "profile", "schedules", "sweep", "devices", "startup")
    """Parts of the table."""

    dataset: str = "mnist"
    """Dataset of the parts epoch, profile and schedules. The other parts use the digits."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data, as for jaxlr train."""

    rounds: int = 5
    """Number of rounds. Schedules differ by little, so they get twelve times as many."""

    runs: tuple[int, ...] = (1, 4, 16, 64, 256, 1024)
    """Numbers of runs of a sweep, each a power of 4. The others are compared with the first."""

    json: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("benchmark.json")
    """File for the values of all rounds."""


def main(config: Config) -> None:
    """Measure each part and print its rows. Write all values to a file at the end."""
    dataset = load_dataset(config.dataset, config.data_dir, progress=True)
    parts: dict[Part, Callable[[], list[Row]]] = {
        "epoch": lambda: epochs.measure(dataset, config.rounds),
        "profile": lambda: profile.measure(dataset, config.rounds),
        "schedules": lambda: schedules.measure(dataset, 12 * config.rounds),
        "sweep": lambda: sweeps.measure(load_dataset("digits"), list(config.runs), config.rounds),
        "devices": lambda: devices.measure(config.rounds),
        "startup": lambda: startup.measure(config.rounds),
    }
    about = _about(config, dataset)
    print("\n".join(_header(about)), flush=True)
    rows: list[Row] = []
    for part in config.parts:
        measured = parts[part]()
        print("\n".join(_lines(measured)), flush=True)
        rows += measured
    listed = [{**row._asdict(), "median": row.median} for row in rows]
    config.json.write_text(json.dumps({**about, "rows": listed}, indent=1) + "\n")


def _about(config: Config, dataset: Dataset) -> dict[str, Any]:
    """Describe the machine, the versions and the settings of this benchmark."""
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


def _header(about: dict[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)
    yield f"{about['date']}, {about['device']} ({about['machine']}), Python {about['python']}, {packages}"
    yield ""
    yield "| | median | ratio |"
    yield "| --- | --- | --- |"


def _lines(rows: Sequence[Row]) -> Iterator[str]:
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
