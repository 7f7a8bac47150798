"""Schedulers, states and optimizers with wrong values in every field: each error names the field."""

import collections
import copy
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from test_live import build
from test_timm_optimizers import stand_in

import jaxlr
from jaxlr.convert.optimizers.updates import RULES


RECURSIVE: list[Any] = []
RECURSIVE.append(RECURSIVE)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError

    def __float__(self) -> float:
        raise RuntimeError


# Values that no field of a scheduler or an optimizer may have, whatever its type is.
WRONG: list[Any] = [
    *(None, b"x", {1, 2}, lambda x: x, object(), Unprintable()),
    *(RECURSIVE, {"a": RECURSIVE}, 10**400, 10**5000, [10**400], [None], [RECURSIVE], complex(1, 2)),
    *(range(10**12), collections.Counter({5: 10**9}), np.zeros(3)),
]
TEXTS = {
    "StepLR": "StepLR(o, 3)",
    "MultiStepLR": "MultiStepLR(o, [3, 5])",
    "ConstantLR": "ConstantLR(o, 0.3, 5)",
    "LinearLR": "LinearLR(o)",
    "ExponentialLR": "ExponentialLR(o, 0.9)",
    "PolynomialLR": "PolynomialLR(o, 9)",
    "CosineAnnealingLR": "CosineAnnealingLR(o, 9)",
    "CosineAnnealingWarmRestarts": "CosineAnnealingWarmRestarts(o, 5)",
    "CyclicLR": "CyclicLR(o, 0.01, 0.1, 5)",
    "OneCycleLR": "OneCycleLR(o, 0.1, 30)",
    "SWALR": "SWALR(o, 0.05)",
    "ReduceLROnPlateau": "ReduceLROnPlateau(o)",
    "LambdaLR": "LambdaLR(o, lambda e: 0.9 ** e)",
    "SequentialLR": "SequentialLR(o, [LinearLR(o), StepLR(o, 3)], [5])",
    "ChainedScheduler": "ChainedScheduler([StepLR(o, 3), ExponentialLR(o, 0.9)])",
}
# Fields that the learning rates do not depend on.
UNUSED = (
    *("_get_lr_called_within_step", "_is_initial", "_step_count", "verbose", "cycle_momentum", "use_beta1"),
    *("default_min_lr", "mode_worse", "lr_lambdas", "_last_lr", "base_momentums", "max_momentums"),
    *("T_i", "T_cur", "_scale_fn_ref", "_scale_fn_custom", "scale_mode", "_cycle_momentum", "optimizer"),
)


@pytest.mark.parametrize("name", TEXTS)
def test_wrong_value_in_a_field_of_a_scheduler_is_refused_by_the_name_of_the_field(torch, name):
    scheduler = build(torch, TEXTS[name])
    saved, groups = scheduler.state_dict(), scheduler.optimizer.state_dict()
    keywords: Any = {"optimizer_state_dict": groups, "num_steps": 9}
    keywords |= {"lr_lambda": lambda epoch: 0.9**epoch} if name == "LambdaLR" else {}
    for field in saved.keys() - {*UNUSED}:
        for wrong in WRONG:
            with pytest.raises((TypeError, ValueError)) as error:
                jaxlr.from_state_dict(name, {**saved, field: wrong}, **keywords)
            assert_is_named(error.value, field)


@pytest.mark.parametrize("name", ["StepLR", "OneCycleLR", "SequentialLR", "ReduceLROnPlateau"])
def test_wrong_value_in_a_live_scheduler_or_its_group_is_refused_by_its_name(torch, name):
    for wrong in WRONG[::3]:
        scheduler = build(torch, TEXTS[name])
        fields = [each for each in vars(scheduler) if each not in UNUSED and each != "mode"]
        for field in fields[:4]:
            before = getattr(scheduler, field)
            setattr(scheduler, field, wrong)
            with pytest.raises((TypeError, ValueError)) as error:
                jaxlr.from_torch(scheduler)
            assert_is_named(error.value, field)
            setattr(scheduler, field, before)
        scheduler.optimizer.param_groups[0]["lr"] = wrong
        with pytest.raises((TypeError, ValueError)) as error:
            jaxlr.from_torch(scheduler)
        assert_is_named(error.value, "lr")


@pytest.mark.parametrize("name", [*RULES])
def test_wrong_value_in_a_field_of_an_optimizer_is_refused_by_its_name(torch, name):
    weights = [torch.zeros(2, 2, requires_grad=True)]
    kind = getattr(torch.optim, name, None)
    optimizer = kind(weights, lr=0.1) if kind else stand_in(torch, name, weights)
    # `foreach` and the like change the speed only. Some options of the constructor are those of all groups.
    ignored = ("params", "foreach", "fused", "capturable", "differentiable")
    ignored += ("initial_accumulator_value", "max_grad_norm")
    group = optimizer.param_groups[0]
    for field in group.keys() - {*ignored}:
        before = group[field]
        for wrong in WRONG[1:]:
            group[field] = wrong
            with pytest.raises((TypeError, ValueError)) as error:
                jaxlr.optimizer_from_torch(optimizer)
            assert_is_named(error.value, field)
        group[field] = before
    jaxlr.optimizer_from_torch(optimizer).init(jnp.zeros((2, 2)))


def test_state_that_holds_itself_is_refused():
    saved: dict[str, Any] = {"_milestones": [], "last_epoch": 0, "base_lrs": [0.1], "_last_lr": [0.1]}
    saved["_schedulers"] = [saved]
    with pytest.raises(ValueError, match="nested too deeply"):
        jaxlr.from_state_dict("SequentialLR", saved)


def test_counter_of_more_milestones_than_memory_holds_is_refused_at_once():
    saved = {"milestones": collections.Counter({5: 10**9}), "gamma": 0.1, "base_lrs": [0.1]}
    with pytest.raises(ValueError, match=r"milestones .* must hold at most 100000 epochs"):
        jaxlr.from_state_dict("MultiStepLR", {**saved, "last_epoch": 0, "_last_lr": [0.1]})
    few: Any = jaxlr.from_state_dict(
        "MultiStepLR", {**copy.copy(saved), "milestones": {5: 2}, "last_epoch": 0, "_last_lr": [0.1]}
    )
    assert few(5) == pytest.approx(0.001)


def assert_is_named(error: Exception, field: str) -> None:
    message = str(error)
    assert "\n" not in message
    assert len(message) < 600
    assert field.strip("_") in message
