"""The porting page is right: each pair of lines or blocks gives the same rates or the same weights."""

import re
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, assert_is_torchs, torch_curve

import jaxlr
from jaxlr._compat import enable_x64


PAGE = (Path(__file__).parents[1] / "docs/porting.md").read_text()
SCHEDULERS, OPTIMIZERS, IDIOMS = PAGE.split("\n## ")[1:]
PAIR = re.compile(r"^\| .*?`(.+?)` \| `(.+?)` \|$", flags=re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
START, *IDIOM_SECTIONS = IDIOMS.split("\n### ")
NUM_EPOCHS = 90


def names_of(torch: types.ModuleType) -> dict[str, Any]:
    lr_scheduler = torch.optim.lr_scheduler

    class Own(lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [0.1 / (1 + self.last_epoch // 7)]

    names = {name: getattr(lr_scheduler, name) for name in lr_scheduler.__all__}
    return names | {"SWALR": torch.optim.swa_utils.SWALR, "Own": Own, "jaxlr": jaxlr}


def test_the_page_has_every_scheduler(torch):
    rows = " ".join(torch_line for torch_line, _ in PAIR.findall(SCHEDULERS))
    classes = {*torch.optim.lr_scheduler.__all__, "SWALR"} - {"LRScheduler", "ReduceLROnPlateau"}
    assert [name for name in classes if f"{name}(" not in rows] == []


@pytest.mark.parametrize(("torch_line", "jaxlr_line"), PAIR.findall(SCHEDULERS))
def test_a_line_of_the_first_table_gives_the_same_curve(torch, torch_line, jaxlr_line):
    names = names_of(torch)
    expected = torch_curve(
        torch, lambda optimizer: eval(torch_line, names | {"optimizer": optimizer}), NUM_EPOCHS
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule = eval(jaxlr_line, names | {"optimizer": optimizer})
    assert_is_torchs(schedule(np.arange(NUM_EPOCHS)), expected, HOST_RTOL)


@pytest.mark.parametrize("is_converted", [False, True], ids=["written", "converted"])
@pytest.mark.parametrize(("torch_line", "optax_line"), PAIR.findall(OPTIMIZERS))
def test_a_line_of_the_second_table_makes_the_same_steps(torch, torch_line, optax_line, is_converted):
    start = np.random.default_rng(1).normal(size=5)
    gradients = np.random.default_rng(2).normal(size=(20, 5))
    params: Any
    weights = torch.tensor(start, requires_grad=True)
    optimizer = eval(torch_line, vars(torch.optim) | {"params": [weights]})
    with enable_x64():
        params = jnp.asarray(start)
        tx = jaxlr.optimizer_from_torch(optimizer) if is_converted else eval(optax_line, {"optax": optax})
        state = tx.init(params)
        for gradient in gradients:
            weights.grad = torch.from_numpy(gradient)
            optimizer.step()
            updates, state = tx.update(jnp.asarray(gradient), state, params)
            params = optax.apply_updates(params, updates)
        assert_close(params, weights.detach().numpy(), 1e-9)


@pytest.mark.parametrize("section", IDIOM_SECTIONS, ids=[each.split("\n")[0] for each in IDIOM_SECTIONS])
def test_an_idiom_gives_the_same_result_on_both_sides(torch, section):
    torch_block, jaxlr_block = BLOCK.findall(section)
    assert torch_block.startswith("# torch\n")
    assert jaxlr_block.startswith("# jaxlr\n")
    torch_side, jaxlr_side = (run(START, block) for block in (torch_block, jaxlr_block))
    results = [name for name in ("w", "rates") if name in torch_side]
    assert results
    for name in results:
        for ours, torchs in zip(leaves(jaxlr_side[name]), leaves(torch_side[name]), strict=True):
            assert_close(ours, torchs, 10 * DEVICE_RTOL if name == "w" else DEVICE_RTOL)


def run(start: str, block: str) -> dict[str, Any]:
    """Run a block and return its names."""
    scope: dict[str, Any] = {}
    (prelude,) = BLOCK.findall(start)
    exec(prelude + block, scope)
    return scope


def leaves(value: Any) -> list[np.ndarray]:
    """Return arrays of either library as NumPy arrays."""
    flat = jax.tree.leaves(value)
    return [np.asarray(leaf.detach() if hasattr(leaf, "detach") else leaf) for leaf in flat]
