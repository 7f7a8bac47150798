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


def stand_in(torch: Any, case: str, params: Any = None, **changes: Any) -> Any:
    """Return an optimizer with the parameter groups of a recorded one, whose packages are not needed."""
    module, _, name = CASES[case]["class"].rpartition(".")
    own: dict[str, Any] = {"__module__": module, "step": lambda self: None}
    kind = type(name, (torch.optim.Optimizer,), own)
    groups = [{**group, **changes} for group in CASES[case]["groups"]]
    bias, kernel = (torch.zeros(shape) for shape in SHAPES.values())
    members = [params or [bias, kernel]] if len(groups) == 1 else [[kernel], [bias]]
    for group, tensors in zip(groups, members, strict=True):
        group["params"] = tensors
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


def saved(torch: Any, case: str, **changes: Any) -> Any:
    """Return the state_dict of an optimizer after one update of both parameters."""
    groups = [{**group, **changes} for group in CASES[case]["groups"]]
    fields = {"exp_avg": 1.0, "exp_avg_sq": 1.0} if "Lamb" in case else {"exp_avg": 1.0}
    state = {
        index: {field: torch.full(shape, value) for field, value in fields.items()}
        for index, shape in enumerate(SHAPES.values())
    }
    return {"state": state, "param_groups": groups}


def resume(torch: Any, state: Any, class_name: str, **more: Any) -> Any:
    weights = {name: torch.ones(shape) for name, shape in SHAPES.items()}

    def to_params(weights: Any) -> Any:
        return {name: jnp.asarray(np.asarray(value)) for name, value in weights.items()}

    return jaxlr.resume_from_torch(
        state, to_params, weights, class_name=class_name, names=[*SHAPES], transposed=False, **more
    )


def test_the_updates_of_lamb_are_those_of_its_group(torch):
    _, opt_state = resume(torch, saved(torch, "Lamb", step=torch.tensor(7.0)), "Lamb")
    assert opt_state.inner_state[0].count == 7


@pytest.mark.parametrize("changes", [{}, {"weight_decay": 0.0, "cautious_factor": 0.5}])
def test_a_saved_lion_that_does_not_say_how_it_decays_is_refused(torch, changes):
    with pytest.raises(ValueError, match="does not say how it decays the weights: load it into that Lion"):
        resume(torch, saved(torch, "lion-pytorch", **changes), "Lion")


def test_a_saved_lion_without_decay_is_converted(torch):
    _, opt_state = resume(torch, saved(torch, "lion-pytorch", weight_decay=0.0), "Lion")
    assert_close(opt_state.inner_state[0].mu["kernel"], np.ones((3, 4)), DEVICE_RTOL)


@pytest.mark.parametrize(
    ("case", "changes"),
    [
        ("Lion", {"weight_decay": 0.1, "corrected_weight_decay": True}),
        ("Lamb", {"decoupled_decay": True}),
    ],
)
def test_a_plateau_that_the_decay_depends_on_is_refused(torch, case, changes):
    with pytest.raises(ValueError, match="it cannot have a plateau"):
        jaxlr.optimizer_from_torch(stand_in(torch, case, **changes), jaxlr.reduce_lr_on_plateau(0.1))


@pytest.mark.parametrize(
    ("case", "changes", "message"),
    [
        ("Lamb", {"max_grad_norm": 0.0}, "max_grad_norm must be a finite number above 0"),
        ("Lamb", {"betas": (0.9, 1.0)}, "betas must be below 1"),
        (
            "Lion",
            {"weight_decay": 0.1, "corrected_weight_decay": True, "max_lr_snapshot": 0.0},
            "needs a max_lr_snapshot above 0",
        ),
    ],
)
def test_an_option_out_of_its_range_is_refused(torch, case, changes, message):
    with pytest.raises(ValueError, match=message):
        jaxlr.optimizer_from_torch(stand_in(torch, case, **changes))


def test_norms_are_those_of_one_weight(torch):
    """Compare a stack of two weights with one of them."""
    optimizer = stand_in(torch, "Lamb", [torch.zeros(3, 4), torch.zeros(3, 4)], max_grad_norm=None)
    tx = jaxlr.optimizer_from_torch(optimizer)
    grads = jnp.asarray(np.random.default_rng(0).normal(size=(2, 4, 3)), jnp.float32)
    stacked: Any = tx.update(grads, tx.init(grads), grads)[0]
    alone: Any = tx.update(grads[1], tx.init(grads[1]), grads[1])[0]
    assert_close(stacked[1], alone, DEVICE_RTOL)


@pytest.mark.parametrize("case", ["Lamb", "Lion, cautious"])
def test_a_weight_that_is_split_is_refused(torch, case):
    tx = jaxlr.optimizer_from_torch(stand_in(torch, case))
    with pytest.raises(
        ValueError, match=r"weights of \[\(3, 4\), \(5,\)\] in torch: keep each weight whole"
    ):
        tx.init({"kernel": jnp.zeros((3, 2))})


@pytest.mark.parametrize("case", ["Lion", "Lamb"])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_updates_and_state_keep_the_dtype_of_the_parameters(torch, case, dtype):
    tx = jaxlr.optimizer_from_torch(stand_in(torch, case))
    params = {name: jnp.zeros(shape, dtype) for name, shape in SHAPES.items()}
    opt_state = jax.eval_shape(tx.init, params)
    updates, new_state = jax.eval_shape(tx.update, params, opt_state, params)
    assert updates == jax.eval_shape(lambda: params)
    assert new_state == opt_state


def test_a_saved_lion_of_timm_may_be_cautious(torch):
    tx, opt_state = resume(torch, saved(torch, "Lion, cautious"), "Lion")
    grads = {leaf: jnp.asarray(RECORDED[f"grads/{leaf}"][0]) for leaf in SHAPES}
    updates: Any = tx.update(grads, opt_state, grads)[0]
    signs = np.sign(0.6 + 0.4 * grads["kernel"])  # its moments are 1
    kept = signs * grads["kernel"] > 0
    assert 0 < kept.sum() < kept.size
    assert_close(updates["kernel"], -1e-4 * signs * kept / np.mean(kept), DEVICE_RTOL)


def test_the_updates_of_lamb_are_counted(torch):
    state = saved(torch, "Lamb", step=torch.tensor(7.0))
    with pytest.raises(ValueError, match="the schedule has no count: give first_step"):
        resume(torch, state, "Lamb", scheduler=lambda count: 1e-3, steps_per_epoch=5)
