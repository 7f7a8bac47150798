"""Pages in torch and jaxlr are right: each pair of lines or blocks gives the same rates or weights."""

import re
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, assert_is_torchs, torch_curve

import jaxlr


DOCS = Path(__file__).parents[1] / "docs"
SCHEDULERS = (DOCS / "porting.md").read_text()
PAIR = re.compile(r"^\| .*?`(.+?)` \| `(.+?)` \|$", flags=re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
START, *IDIOMS, _ = (DOCS / "idioms.md").read_text().split("\n## ")
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
def test_a_line_of_the_table_gives_the_same_curve(torch, torch_line, jaxlr_line):
    names = names_of(torch)
    expected = torch_curve(
        torch, lambda optimizer: eval(torch_line, names | {"optimizer": optimizer}), NUM_EPOCHS
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
    schedule = eval(jaxlr_line, names | {"optimizer": optimizer})
    assert_is_torchs(schedule(np.arange(NUM_EPOCHS)), expected, HOST_RTOL)


@pytest.mark.parametrize("section", IDIOMS, ids=[each.split("\n")[0] for each in IDIOMS])
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
