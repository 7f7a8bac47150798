"""The recorded rates of frameworks in `framework_recipes*.json`, and tests that all frameworks share."""

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, assert_is_torchs

import jaxlr


from_config: Any = jaxlr.from_config  # a type checker would ask which recipes are plateaus

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


def gives_rates(rows: Iterable[tuple[Any, ...]], *kind: Any, **common: Any) -> Callable[..., None]:
    """Return a test of configs as people write them.

    Args:
        rows: a config, the other arguments of `from_config`, which may be left out, the fields that `kind`
            lacks, and rates by count.
        kind: the framework, the unit and the number of counts, as far as all rows share them.
        common: the arguments that all rows share.
    """

    @pytest.mark.parametrize("row", rows)
    def test(row: tuple[Any, ...]) -> None:
        config, *fields, rates = row
        arguments = fields.pop(0) if fields and isinstance(fields[0], Mapping) else {}
        recipe = from_config(config, **common, **arguments)
        assert (recipe.framework, recipe.unit, recipe.num_counts) == (*kind, *fields)
        for count, rate in rates.items():
            assert_close(recipe.schedule(count), rate, HOST_RTOL)

    return test


def refuses(rows: Iterable[tuple[Any, ...]], **common: Any) -> Callable[..., None]:
    """Return a test of configs that are refused in one line.

    Args:
        rows: a config, the other arguments of `from_config`, which may be left out, and a pattern of the
            message.
        common: the arguments that all rows share.
    """

    @pytest.mark.parametrize("row", rows)
    def test(row: tuple[Any, ...]) -> None:
        config, *arguments, message = row
        with pytest.raises(ValueError, match=message) as error:
            from_config(config, **common, **(arguments[0] if arguments else {}))
        assert "\n" not in str(error.value)

    return test
