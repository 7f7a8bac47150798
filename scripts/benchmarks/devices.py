"""The cost of splitting a batch over devices.

Simulated devices share the CPU, so an epoch gains nothing from them, and its extra time is the cost.
"""

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.timing import Row, Wanted, compared


COUNTS = (1, 2, 4, 8)
BATCH_SIZE = 256


def measure(rounds: int, wanted: Wanted) -> Iterator[Row]:
    """Measure an epoch of the digits on 1 to 8 simulated devices, each time in a new process."""
    builds = {_name(count): lambda count=count: functools.partial(_epoch, count) for count in COUNTS}
    part = f"an epoch of digits in batches of {BATCH_SIZE}, overhead only"
    # A process times the epoch itself, without its own start.
    return compared(part, builds, _name(1), rounds, wanted, timer=lambda epoch: epoch())


def _name(count: int) -> str:
    return f"{count} simulated device{'s' * (count > 1)}"


def _epoch(count: int) -> float:
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(count)}
    command = [sys.executable, "-m", "benchmarks.devices", str(count)]
    folder = Path(__file__).parents[1]
    done = subprocess.run(command, env=environment, cwd=folder, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _main(count: int) -> None:
    """Print the median seconds of an epoch on all devices."""
    import statistics

    import jax

    from jaxlr.train.config import TrainConfig
    from jaxlr.train.data import load_dataset
    from jaxlr.train.data.splits import split_dataset
    from jaxlr.train.device.mesh import mesh_of, replicate
    from jaxlr.train.program import build_run

    config = TrainConfig.from_flags(batch_size=BATCH_SIZE, devices=count)
    dataset, mesh = load_dataset("digits"), mesh_of(count)
    train, valid, _ = replicate(mesh, split_dataset(dataset))
    run = build_run(config, train, dataset.num_classes, mesh)
    state, seconds = replicate(mesh, run.state), []
    for _ in range(11):
        start = time.perf_counter()
        state, metrics = run.epoch(state, train, valid)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    print(json.dumps(statistics.median(seconds[1:])))


if __name__ == "__main__":
    _main(int(sys.argv[1]))
