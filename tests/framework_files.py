"""The recorded rates of frameworks in `framework_recipes*.json`, and a check of a schedule against them."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_is_torchs


RECORDED: dict[str, list[dict[str, Any]]] = {}
for path in sorted(Path(__file__).parent.glob("framework_recipes*.json")):
    for framework, cases in json.loads(path.read_text()).items():
        RECORDED.setdefault(framework, []).extend(cases)


def recorded(framework: str) -> pytest.MarkDecorator:
    """Run a test for each curve that was recorded of a framework."""
    cases = RECORDED[framework]
    names = [f"{index} {case['call']} {case['version']}" for index, case in enumerate(cases)]
    return pytest.mark.parametrize("case", cases, ids=names)


def call_text(case: dict[str, Any], **without: Any) -> str:
    """Return the settings of a recorded curve as the call that people write."""
    settings = {name: value for name, value in case["settings"].items() if name not in without}
    return (
        f"{case['call']}(optimizer, {', '.join(f'{name}={value!r}' for name, value in settings.items())})"
    )


def assert_has_rates(schedule: Any, rates: list[float]) -> None:
    """Check a schedule against recorded rates, on the host and compiled in float32."""
    expected = np.asarray(rates)
    counts = np.arange(len(expected))
    assert_is_torchs(schedule(counts), expected, HOST_RTOL)
    assert_is_torchs(jax.jit(schedule)(jnp.asarray(counts)), expected, DEVICE_RTOL)
