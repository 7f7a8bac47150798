"""Measure jaxlr side by side with its peers on the current device, and print a Markdown table.

A row takes turns with the one that it is compared with. Every time is the median over the rounds, and every
ratio is the median of the ratios within a round. If the machine is busy with other work, trust the ratios
more than the times. Each row is printed and saved when it is measured. A row that fails shows its error,
and the exit status is 1.
"""

import dataclasses
import datetime
import functools
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import tyro
from benchmarks import devices, epochs, profile, schedules, startup, sweeps
from benchmarks.timing import Row, Wanted, failed

from jaxlr.train.data import load_dataset
from jaxlr.train.device.mesh import describe_device
from jaxlr.train.output.records import write_json


PARTS = ("epoch", "profile", "schedules", "sweep", "devices", "startup")


@dataclasses.dataclass(frozen=True)
class Config:
    """The measurements to make."""

    parts: tuple[str, ...] = PARTS
    """Parts of the table, or PART:WORDS for the rows with these words in their names: epoch:jaxlr sweep:1
    sweep:64 startup:"import jaxlr". A ratio needs the row that it is compared with: here sweep:1."""

    dataset: str = "mnist"
    """Dataset of the parts epoch, profile and schedules. The other parts use the digits."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the data, as for jaxlr train."""

    rounds: int = 5
    """Number of rounds. Schedules differ by little, so they get twelve times as many."""

    json: Annotated[Path, tyro.conf.arg(metavar="FILE")] = Path("benchmark.json")
    """File for the values of all rounds."""


def main(config: Config) -> list[Row]:
    """Measure each part. Print and save each row at once. Return all rows."""
    patterns = _patterns(config.parts)
    about = _about(config)
    print("\n".join(_header(about)), flush=True)
    rows: list[Row] = []
    for row in _rows(config, patterns):
        print("\n".join(_lines(row, rows[-1].part if rows else None)), flush=True)
        rows.append(row)
        listed = [{**row._asdict(), "median": row.median} for row in rows]
        write_json(config.json, {**about, "rows": listed})
    return rows


def _patterns(parts: tuple[str, ...]) -> dict[str, list[str]]:
    """Map each part to the words that select its rows. No words select all rows."""
    patterns: dict[str, list[str]] = {}
    for text in parts:
        part, _, words = text.partition(":")
        if part not in PARTS:
            sys.exit(
                f"benchmark.py: --parts takes {', '.join(PARTS)}, each also as PART:WORDS, got {text!r}"
            )
        patterns.setdefault(part, []).append(words)
    return patterns


def _rows(config: Config, patterns: dict[str, list[str]]) -> Iterator[Row]:
    """Measure the rows that the patterns select, and yield a row with an error for what fails."""
    measures = _measures(config)
    for part, choices in patterns.items():
        names: list[str] = []
        try:
            for row in measures[part](functools.partial(_selects, choices)):
                names.append(row.name)
                yield row
        except Exception as error:
            yield failed(part, "all other rows", error)
        else:
            for words in choices:
                if not any(_selects([words], name) for name in names):
                    yield failed(
                        part, words, LookupError("no row of this part has these words in its name")
                    )


def _measures(config: Config) -> dict[str, Callable[[Wanted], Iterator[Row]]]:
    """Map each part to the function that measures it."""
    rounds = config.rounds

    @functools.cache
    def dataset() -> Any:
        return load_dataset(config.dataset, config.data_dir, progress=True)

    return {
        "epoch": lambda wanted: epochs.measure(dataset(), rounds, wanted),
        "profile": lambda wanted: profile.measure(dataset(), rounds, wanted),
        "schedules": lambda wanted: schedules.measure(dataset(), 12 * rounds, wanted),
        "sweep": lambda wanted: sweeps.measure(load_dataset("digits"), rounds, wanted),
        "devices": lambda wanted: devices.measure(rounds, wanted),
        "startup": lambda wanted: startup.measure(rounds, wanted),
    }


def _selects(choices: list[str], name: str) -> bool:
    """Return True if the name of a row has the words of one of the choices, as whole words."""
    return any(re.search(rf"(?<!\w){re.escape(words)}(?!\w)" if words else "", name) for words in choices)


def _about(config: Config) -> dict[str, Any]:
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
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "date": f"{datetime.date.today()}",
        "dataset": config.dataset,
        "rounds": config.rounds,
    }


def _header(about: dict[str, Any]) -> Iterator[str]:
    packages = ", ".join(f"{name} {number}" for name, number in about["packages"].items() if number)
    device = f"{about['device']} ({about['machine']})"
    flags = f", XLA_FLAGS={about['XLA_FLAGS']}" if about["XLA_FLAGS"] else ""
    yield f"{about['date']}, {device}, Python {about['python']}, {packages}{flags}"
    yield ""
    yield "| | median | ratio |"
    yield "| --- | --- | --- |"


def _lines(row: Row, last_part: str | None) -> Iterator[str]:
    """Yield the line of a row, and before it the line of its part if that is a new one."""
    if row.part != last_part:
        yield f"| **{row.part}** | | |"
    ratio = f"{row.ratio:.3g} x {row.peer}" if row.ratio is not None else ""
    yield f"| {row.name} | {_shown(row)} | {ratio} |"


def _shown(row: Row) -> str:
    if row.median is None:
        return f"failed: {row.error}"
    if row.unit != "s":
        return f"{row.median:,.0f}{row.unit}" if row.median >= 100 else f"{row.median:.4g}{row.unit}"
    return f"{row.median:.2f} s" if row.median >= 0.9995 else f"{row.median * 1e3:.3g} ms"


if __name__ == "__main__":
    sys.exit(any(row.error for row in main(tyro.cli(Config))))
