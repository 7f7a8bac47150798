"""Runs of torch, Lightning, Hugging Face and timm continue from the checkpoints that they wrote.

docs/checkpoints.md has the lines that read them. `scripts/recording/checkpoints.py` recorded them.
"""

import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close

import jaxlr


CHECKPOINTS = Path(__file__).parent / "checkpoints"
PAGE = (Path(__file__).parents[1] / "docs/checkpoints.md").read_text()
BLOCK = re.compile(r"^```python\n(?!# torch)(.*?)^```", flags=re.DOTALL | re.MULTILINE)
(FUNCTION,) = BLOCK.findall(PAGE.partition("\n## PyTorch")[0])
BLOCKS = {section.partition("\n")[0]: BLOCK.findall(section) for section in PAGE.split("\n## ")[2:]}

RNG = np.random.default_rng(0)
INPUTS = RNG.normal(size=(10, 8, 4))
TARGETS = np.sin(INPUTS @ RNG.normal(size=(4, 2)))


def network(torch: Any) -> Any:
    """Return the network on the device "meta", under the name that Hugging Face gives it."""
    nn = torch.nn
    with torch.device("meta"):
        layers = {"first": nn.Linear(4, 6), "ln": nn.LayerNorm(6), "second": nn.Linear(6, 6)}
        return nn.ModuleDict({"model": nn.ModuleDict({**layers, "head": nn.Linear(6, 2)})})


def loss_of(params: Any, inputs: Any, targets: Any) -> jax.Array:
    def dense(name: str, values: Any) -> Any:
        return values @ params[name]["kernel"] + params[name]["bias"][None]

    hidden = jnp.tanh(dense("first", inputs))
    centered = hidden - hidden.mean(1, keepdims=True)
    hidden = centered / jnp.sqrt((centered**2).mean(1, keepdims=True) + 1e-5)
    hidden = hidden * params["ln"]["scale"][None] + params["ln"]["bias"][None]
    return ((dense("head", jnp.tanh(dense("second", hidden))) - targets) ** 2).mean()


@jax.jit
def validation_loss(params: Any) -> Any:
    return jax.vmap(loss_of, (None, 0, 0))(params, INPUTS, TARGETS).mean()


def trained_on(tx: Any, opt_state: Any, params: Any, num_batches: int, first: int, plateau: bool) -> Any:
    """Return the parameters after more batches, from number `first` of an epoch on."""

    def step(carry: Any, batch: Any) -> tuple[Any, None]:
        params, opt_state = carry
        updates, opt_state = tx.update(jax.grad(loss_of)(params, *batch), opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    batches = np.roll(INPUTS, -first, 0), np.roll(TARGETS, -first, 0)
    epoch = jax.jit(lambda carry: jax.lax.scan(step, carry, batches)[0])
    for _ in range(num_batches // 10):
        params, opt_state = epoch((params, opt_state))
        if plateau:
            opt_state = jaxlr.plateau_step(opt_state, validation_loss(params))
    return params


def load_safetensors(path: str) -> dict[str, np.ndarray]:
    """Read a file of safetensors, as `safetensors.numpy.load_file` does, which tests do not need so."""
    data = Path(path).read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:start])
    return {
        name: np.frombuffer(data[slice(*(start + at for at in entry["data_offsets"]))]).reshape(
            entry["shape"]
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


# The section and its blocks, the folder, the batches of an update, the batches of the epoch before the
# checkpoint, and if there is a plateau.
RUNS = {
    "torch": ("PyTorch", slice(0, 1), ".", 1, 0, False),
    "lightning_epoch": ("Lightning", slice(0, 1), ".", 1, 7, False),
    "lightning_one_cycle": ("Lightning", slice(1, 2), ".", 2, 6, False),
    "lightning_plateau": ("Lightning", slice(2, 3), ".", 1, 0, True),
    "huggingface_cosine": ("Hugging Face", slice(0, 2), "huggingface_cosine", 2, 0, False),
    "timm": ("timm", slice(0, 1), ".", 1, 0, False),
}


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("run", RUNS)
def test_a_run_continues_from_its_checkpoint(torch, run, monkeypatch):
    section, blocks, folder, batches_per_update, first, plateau = RUNS[run]
    monkeypatch.chdir(CHECKPOINTS / folder)
    reader: Any = types.ModuleType("safetensors.numpy")
    reader.load_file = load_safetensors
    monkeypatch.setitem(sys.modules, "safetensors", types.ModuleType("safetensors"))
    monkeypatch.setitem(sys.modules, "safetensors.numpy", reader)
    names: dict[str, Any] = {"model": network(torch), "validation_loss": validation_loss}
    for block in [FUNCTION, *BLOCKS[section][blocks]]:
        exec(compile(block, "docs/checkpoints.md", "exec"), names)
    num_batches = 200 * batches_per_update
    tx, opt_state, params = names["tx"], names["opt_state"], names["params"]
    params = trained_on(tx, opt_state, params, num_batches, first, plateau)
    with np.load(CHECKPOINTS / "trained_on.npz") as file:
        expected = {
            key.partition("/")[2]: value for key, value in file.items() if key.startswith(f"{run}/")
        }
    for own, torchs in zip(
        jax.tree.leaves(params), jax.tree.leaves(names["params_from_torch"](expected)), strict=True
    ):
        assert_close(own, torchs, 1e-10 if batches_per_update == 1 else 1e-6)  # MultiSteps adds in float32


def test_every_block_of_the_page_is_run():
    run = {(section, index) for section, blocks, *_ in RUNS.values() for index in range(9)[blocks]}
    assert run == {(section, index) for section, blocks in BLOCKS.items() for index in range(len(blocks))}
