"""The time of each instruction in an epoch of jaxlr, from JAX's profiler."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax

from benchmarks.timing import Row, Wanted
from benchmarks.variants import CONFIG
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.splits import split_dataset
from jaxlr.train.program import build_run


SHOWN = 12
PART = "instructions of an epoch"


def measure(dataset: Dataset, rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure the instructions of an epoch that take the most time, and all others together."""
    train, valid, _ = split_dataset(dataset)
    run = build_run(CONFIG, train, dataset.num_classes)
    epoch: Any = run.epoch
    program = epoch.lower(run.state, train, valid).compile()
    origins = _origins(program.as_text())
    state, seconds = run.state, []
    for _ in range(rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            with jax.profiler.trace(folder):
                state, metrics = program(state, train, valid)
                jax.block_until_ready(metrics)
            seconds.append(_seconds(Path(folder), origins))
    del seconds[0]  # the first run is slower, because it warms up
    shown = [name for name, _ in sum(seconds, Counter()).most_common(SHOWN)]
    if not shown:
        raise ValueError("the trace has no instruction of the compiled epoch")
    times = {name: [each[name] for each in seconds] for name in shown}
    times["all others"] = [each.total() - sum(each[name] for name in shown) for each in seconds]
    for name in filter(wanted, times):
        yield Row(PART, name, times[name], "s")


def _seconds(folder: Path, origins: dict[str, str]) -> Counter[str]:
    """Sum the seconds of a trace by the origin of the instruction."""
    (trace,) = folder.rglob("*.xplane.pb")
    seconds: Counter[str] = Counter()
    for plane in jax.profiler.ProfileData.from_file(str(trace)).planes:
        for event in (event for line in plane.lines for event in line.events):
            if event.name in origins:
                seconds[origins[event.name]] += event.duration_ns / 1e9
    return seconds


def _origins(text: str) -> dict[str, str]:
    """Map each instruction of a compiled program to its purpose and the shape of its result."""
    pattern = re.compile(r"%(\S+) = (\w+\[[\d,]*\])\S* ([\w-]+)\((?:.*op_name=\"([^\"]*)\")?")
    origins = {}
    for name, shape, kind, path in pattern.findall(text):
        if kind not in ("while", "call", "conditional"):  # these consist of other instructions
            way = "backward" if "transpose(" in path else "forward" if "jvp()" in path else ""
            purpose = "dot_general" if kind == "dot" else path.rpartition("/")[2] or kind
            origins[name] = f"{way} {purpose} {shape}".strip()
    return origins
