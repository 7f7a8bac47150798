"""Lion and LAMB of timm, and Lion of lion-pytorch, beside updates that were recorded of them."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import test_resume_from_torch as resumed
from helpers import DEVICE_RTOL, assert_close

import jaxlr
from jaxlr._compat import enable_x64


RECORDED = np.load(Path(__file__).parent / "timm_optimizers.npz")
CASES = json.loads(str(RECORDED["cases"]))
UPDATES = {name: case for name, case in CASES.items() if "class" in case}
SHAPES = {"bias": (5,), "kernel": (3, 4)}
X64_RTOL = 1e-10
SCHEDULES: Any = {
    "step": lambda t, optimizer: t.StepLR(optimizer, 30, 0.5),
    "cycle": lambda t, optimizer: t.OneCycleLR(optimizer, 0.1, 101),
}


def stand_in(torch: Any, case: str, **changes: Any) -> Any:
    """Return an optimizer with the parameter groups of a recorded one, whose packages are not needed."""
    module, _, name = CASES[case]["class"].rpartition(".")
    own: dict[str, Any] = {"__module__": module, "step": lambda self: None}
    kind = type(name, (torch.optim.Optimizer,), own)
    groups = [{**group, **changes} for group in CASES[case]["groups"]]
    members = [[*SHAPES.values()]] if len(groups) == 1 else [[SHAPES["kernel"]], [SHAPES["bias"]]]
    for group, shapes in zip(groups, members, strict=True):
        group["params"] = [torch.zeros(shape) for shape in shapes]
    optimizer = kind(groups, {**groups[0]})
    if CASES[case].get("is_decoupled"):
        optimizer.decoupled_wd, optimizer._init_lr = True, groups[0]["lr"]
    return optimizer


def recorded(*names: str) -> dict[str, Any]:
    return {leaf: RECORDED["/".join((*names, leaf))] for leaf in SHAPES}


def our_updates(tx: Any, dtype: Any) -> Any:
    """Return the updates of the recorded gradients at the recorded parameters."""
    params, grads = (
        jax.tree.map(lambda x: jnp.asarray(x, dtype), recorded(n)) for n in ("params", "grads")
    )

    @jax.jit
    def run(params: Any, grads: Any) -> Any:
        def step(opt_state: Any, each: Any) -> Any:
            updates, opt_state = tx.update(each[1], opt_state, each[0])
            return opt_state, updates

        return jax.lax.scan(step, tx.init(jax.tree.map(lambda x: x[0], params)), (params, grads))[1]

    return run(params, grads)


@pytest.mark.parametrize("case", UPDATES)
def test_updates_are_those_of_the_package(torch, case):
    optimizer = stand_in(torch, case)
    schedule = SCHEDULES.get(CASES[case]["schedule"])
    scheduler = schedule(torch.optim.lr_scheduler, optimizer) if schedule else None
    labels = None if len(optimizer.param_groups) == 1 else {"bias": 1, "kernel": 0}
    tx = jaxlr.optimizer_from_torch(optimizer, scheduler, labels=labels)
    for dtype, rtol in ((np.float64, X64_RTOL), (np.float32, DEVICE_RTOL)):
        with enable_x64(dtype == np.float64):
            ours = our_updates(tx, dtype)
        for leaf, expected in recorded(case).items():
            # The package's updates are differences of parameters of the size 1.
            error = np.abs(np.asarray(ours[leaf], np.float64) - expected).reshape(len(expected), -1).max(1)
            size = np.abs(expected).reshape(len(expected), -1).max(1)
            assert (error <= rtol * size + 1e-15).all()


@pytest.mark.parametrize("name", ["Lion", "Lamb"])
def test_training_continues_as_in_timm(name):
    def weights(when: str) -> dict[str, Any]:
        at = f"run/{name}/{when}/"
        return {key.removeprefix(at): RECORDED[key] for key in RECORDED.files if key.startswith(at)}

    state: dict[int, dict[str, Any]] = {}
    for key, value in weights("state").items():
        index, field = key.split("/")
        state.setdefault(int(index), {})[field] = value
    saved = {"state": state, "param_groups": CASES[f"run/{name}"]["groups"]}
    names = ["0.weight", "1.weight", "2.weight", "3.weight", "3.bias", "0.bias"]
    with enable_x64():
        tx, opt_state = jaxlr.resume_from_torch(
            saved, resumed.params_from_torch, weights("start"), class_name=name, names=names
        )
        params = resumed.params_from_torch(weights("start"))
        ours = resumed.continued(tx, opt_state, params, 37)
        expected = resumed.params_from_torch(weights("end"))
        for own, theirs in zip(jax.tree.leaves(ours), jax.tree.leaves(expected), strict=True):
            assert_close(own, theirs, resumed.RTOL)
