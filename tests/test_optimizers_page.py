"""The page of optimizers states the measured differences between torch's and Optax's."""

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from test_timm_optimizers import stand_in

import jaxlr
from jaxlr._compat import enable_x64
from jaxlr.convert.optimizers.updates import RULES


PAGE = (Path(__file__).parents[1] / "docs/optimizers.md").read_text()
ROWS = re.findall(r"^\| `(\w+\(.+?)` \| `(.+?)` \| (\S+) \|", PAGE, flags=re.MULTILINE)
NUM_STEPS = 200


def difference(torch: Any, torch_line: str, tx: Any) -> float:
    """Return the largest difference of a weight over all steps, divided by the largest weight."""
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(32, 6))
    targets, start = inputs @ rng.normal(size=(6, 3)), rng.normal(size=(6, 3))
    weights = torch.tensor(start, requires_grad=True)
    timms = {
        name: lambda params, n=name, **own: stand_in(torch, n, params, **own) for name in ("Lion", "Lamb")
    }
    optimizer = eval(torch_line, vars(torch.optim) | timms | {"params": [weights]})
    history = []
    for _ in range(NUM_STEPS if type(optimizer).__name__ not in timms else 0):
        optimizer.zero_grad()
        ((torch.tensor(inputs) @ weights - torch.tensor(targets)) ** 2).mean().backward()
        optimizer.step()
        history.append(weights.detach().numpy().copy())

    def trained(tx: Any) -> Any:
        def step(carry: Any, _: Any) -> Any:
            params, opt_state = carry
            gradient = jax.grad(lambda w: jnp.mean((inputs @ w - targets) ** 2))(params)
            updates, opt_state = tx.update(gradient, opt_state, params)
            params: Any = optax.apply_updates(params, updates)
            return (params, opt_state), params

        carry = jnp.asarray(start), tx.init(jnp.asarray(start))
        return jax.jit(lambda carry: jax.lax.scan(step, carry, length=NUM_STEPS))(carry)[1]

    # Ours stands for timm's, of which recorded updates are compared in test_timm_optimizers.py.
    torchs = np.stack(history) if history else np.asarray(trained(jaxlr.optimizer_from_torch(optimizer)))
    return float((np.abs(trained(tx) - torchs).max((1, 2)) / np.abs(torchs).max((1, 2))).max())


@pytest.mark.parametrize(("torch_line", "optax_line", "shown"), ROWS)
def test_the_difference_of_a_row_is_the_measured_one(torch, torch_line, optax_line, shown):
    with enable_x64():
        measured = difference(torch, torch_line, eval(optax_line))
    if shown == "none":
        assert measured < 1e-13
    else:
        assert float(shown) / 2 < measured < float(shown) * 2


def test_the_page_names_every_optimizer():
    assert {line.split("(")[0] for line, *_ in ROWS} >= {*RULES}
    listed = PAGE.split("They convert ")[1].split(", with every")[0]
    assert re.findall(r"`(\w+)`", listed) == [*RULES]
