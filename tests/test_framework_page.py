"""The programs of docs/loops.md run, and the rates that they log are right."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import DEVICE_RTOL, assert_close


PAGE = (Path(__file__).parents[1] / "docs/loops.md").read_text()
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
START, *SECTIONS = PAGE.split("\n## ")
WARMUP = 0.1 * np.asarray([0.1, 0.28, 0.46, 0.64, 0.82, 1.0])


def rates_of(section: str) -> np.ndarray:
    names: dict[str, Any] = {}
    for block in [*BLOCK.findall(START), *BLOCK.findall(section)]:
        exec(compile(block, "docs/loops.md", "exec"), names)
    return np.asarray(names["rates"])


@pytest.mark.parametrize("section", SECTIONS[:5], ids=lambda section: section.partition("\n")[0])
def test_a_program_logs_the_warmup_and_then_the_plateau(section):
    package = {"Equinox": "equinox", "Haiku": "haiku"}.get(section.partition("\n")[0], "flax")
    pytest.importorskip(package)
    rates = rates_of(section)
    halvings = np.round(np.log2(np.append(WARMUP, [0.1] * 6) / rates))
    assert_close(rates, np.append(WARMUP, [0.1] * 6) / 2**halvings, DEVICE_RTOL)
    assert (np.diff(halvings) >= 0).all()
    assert halvings[-1] >= 1


def test_a_program_logs_the_rates_of_a_schedule():
    assert_close(rates_of(SECTIONS[5]), np.repeat([0.1, 0.1, 0.01], 4), DEVICE_RTOL)


def test_a_program_logs_the_rate_that_was_set_by_hand():
    assert_close(rates_of(SECTIONS[6]), np.full(12, 0.02), DEVICE_RTOL)


def test_a_program_logs_the_rates_of_a_plateau_after_an_optimizer():
    expected = np.repeat(0.1 / 2.0 ** np.arange(6), [3, 2, 2, 2, 2, 1])
    assert_close(rates_of(SECTIONS[7]), expected, DEVICE_RTOL)
