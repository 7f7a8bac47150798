"""The optimizers of configs, beside runs of the frameworks themselves and of torch."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

import jaxlr
from jaxlr._compat import enable_x64


RECORDED = json.loads((Path(__file__).parent / "framework_optimizers.json").read_text())
CASES = [(name, case) for name, each in RECORDED.items() for case in each["cases"]]
NUM_UPDATES, SHOWN = 60, (1, 25, 60)
SHAPES = {"dense.weight": (3, 4), "dense.bias": (3,), "norm.weight": (3,), "norm.bias": (3,)}
X64_RTOL = 1e-10
MATRICES = {name: len(shape) > 1 for name, shape in SHAPES.items()}
NOT_BIASES = {name: not name.endswith("bias") for name in SHAPES}
NOT_NORMS = {name: "norm" not in name for name in SHAPES}
YOLO_GROUPS = {"dense.weight": 0, "dense.bias": 2, "norm.weight": 1, "norm.bias": 2}


def gradients(count: Any, params: Any) -> Any:
    """Return the gradients of `scripts/recording/optimizers.py`."""
    return {
        name: jnp.sin(0.7 * count + jnp.arange(value.size)).reshape(value.shape) + 0.1 * value
        for name, value in params.items()
    }


def our_run(tx: Any) -> list[Any]:
    """Return the weights after the updates in `SHOWN`."""
    params: Any = {name: jnp.cos(jnp.arange(float(np.prod(s)))).reshape(s) for name, s in SHAPES.items()}

    def step(carry: Any, count: Any) -> Any:
        params, opt_state = carry
        updates, opt_state = tx.update(gradients(count, params), opt_state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, opt_state), params

    _, all_params = jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), jnp.arange(60)))(
        params
    )
    return [jax.tree.map(lambda leaf, at=at: leaf[at - 1], all_params) for at in SHOWN]


def assert_runs_agree(tx: Any, expected: list[Any]) -> None:
    for ours, theirs in zip(our_run(tx), expected, strict=True):
        for name in SHAPES:
            assert_close(np.ravel(ours[name]), np.ravel(theirs[name]), X64_RTOL)


def parameters_that_decay(framework: str, config: Any) -> Any:
    if framework == "mmengine":
        return MATRICES if "paramwise_cfg" in config["optim_wrapper"] else None
    return {"huggingface": MATRICES, "timm": MATRICES, "ultralytics": MATRICES}.get(framework)


@pytest.mark.parametrize(
    ("framework", "case"), CASES, ids=[f"{name}-{index}" for index, (name, _) in enumerate(CASES)]
)
def test_run_is_that_of_the_framework(framework, case):
    config = case["config"]
    own: Any = {"decay_mask": parameters_that_decay(framework, config)}
    if config.get("warmup_bias_lr") and config["warmup_epochs"]:
        own = {"labels": YOLO_GROUPS}
    with enable_x64():
        tx = jaxlr.optimizer_from_config(config, framework=framework, **case["arguments"], **own)
        assert_runs_agree(tx, case["weights"])
