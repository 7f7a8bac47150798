"""What a schedule costs: operations in a compiled step, microseconds of a host's log line, build time.

Each figure stands beside a constant learning rate's, measured in the same run.
"""

import statistics
import sys
import timeit
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax


sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cases import CASES


SHOWN = [
    *("lambda", "multiplicative", "step", "multi step", "multi step, ten thousand", "constant"),
    *("linear", "exponential", "exponential, slow", "polynomial", "polynomial, high", "cosine"),
    *("warm restarts, 10 times 1", "warm restarts, 7 times 2", "cyclic", "cyclic, triangular2"),
    *("cyclic, exp_range", "one cycle, cos, two phases, 1000000 steps, 0.3"),
    *("one cycle, cos, three phases, 1000000 steps, 0.3", "swa, cos", "sequential", "chained"),
]


def operations(learning_rate: Any) -> int:
    """Instructions of an optimized SGD step on a million parameters, fused ones counted too."""
    tx = optax.sgd(learning_rate)
    params = jnp.zeros(10**6)
    state = tx.init(params)
    step = jax.jit(lambda gradients, state: tx.update(gradients, state))
    text = step.lower(params, state).compile().as_text() or ""
    return sum(
        " = " in line and not any(word in line for word in (" parameter(", " constant(", " fusion("))
        for line in text.splitlines()
    )


def microseconds(call: Any, number: int = 2000) -> float:
    """Of one call: the median of seven rounds."""
    rounds = timeit.repeat(call, number=number, repeat=7)
    return statistics.median(rounds) / number * 1e6


def main() -> None:
    """Print the table in Markdown."""
    constant = operations(0.1)
    print(
        f"Device: {jax.devices()[0].device_kind}. A step under a constant rate has {constant} operations.\n"
    )
    print("| schedule | operations added to a compiled step | host call, µs |")
    print("| --- | --- | --- |")
    for name in SHOWN:
        schedule = CASES[name].build(0.1)
        added = operations(schedule) - constant
        print(f"| {name} | {added} | {microseconds(lambda schedule=schedule: schedule(57)):.1f} |")


if __name__ == "__main__":
    main()
