"""Tests of the tables in the tutorial that jaxlr ports, with corrections, against torch."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, torch_curve, torch_plateau_curve

import jaxlr


# (rate, number of epochs). Epochs count from 0, as in torch. In the tutorial, the table of ExponentialLR
# counts from 1.
TABLES = {
    "StepLR(optimizer, step_size=10, gamma=0.1)": [(0.1, 10), (0.01, 10), (0.001, 10)],
    "MultiStepLR(optimizer, milestones=[10,30], gamma=0.1)": [(0.1, 10), (0.01, 20), (0.001, 10)],
    "ExponentialLR(optimizer, gamma=0.1)": [(0.1, 1), (0.01, 1), (0.001, 1)],
}

BY_HAND = {
    "StepLR": jaxlr.step_lr,
    "MultiStepLR": jaxlr.multi_step_lr,
    "ExponentialLR": jaxlr.exponential_lr,
}


@pytest.mark.parametrize("recipe", TABLES)
def test_a_table_of_the_tutorial_matches_torch_and_jaxlr(torch, recipe):
    table = np.concatenate([np.full(epochs, lr) for lr, epochs in TABLES[recipe]])
    name, _, arguments = recipe.partition("(optimizer, ")
    settings = eval(f"dict({arguments}")
    torch_class = getattr(torch.optim.lr_scheduler, name)
    torchs = torch_curve(torch, lambda optimizer: torch_class(optimizer, **settings), len(table))
    assert_close(torchs, table, HOST_RTOL)

    assert_gives(jaxlr.from_string(recipe, 0.1), table)
    assert_gives(BY_HAND[name](0.1, **settings), table)


def assert_gives(schedule: Any, table: np.ndarray) -> None:
    """Check that `schedule` gives `table` on the host and under jit, vmap and scan."""
    assert_close(schedule(np.arange(len(table))), table, HOST_RTOL)
    epochs = jnp.arange(len(table))
    scanned = jax.lax.scan(lambda _, epoch: (None, schedule(epoch)), None, epochs)[1]
    for curve in (jax.jit(schedule)(epochs), jax.vmap(schedule)(epochs), scanned):
        assert_close(curve, table, DEVICE_RTOL)


def test_the_plateau_of_the_tutorial_reduces_at_the_sixth_bad_epoch(torch):
    losses = jnp.asarray([1.0, 0.5, *[0.6] * 5, 0.6, 0.6], dtype=jnp.float32)
    state = jaxlr.reduce_lr_on_plateau(0.1, "min", patience=5).init({})
    rates = []
    for loss in losses:
        state = jaxlr.plateau_step(state, loss)
        rates.append(jaxlr.plateau_lr(state))
    assert_close(rates, [0.1] * 7 + [0.01] * 2, DEVICE_RTOL)
    assert_close(rates, torch_plateau_curve(torch, losses, mode="min", patience=5), DEVICE_RTOL)
