"""Torch schedulers in the middle of a run: converted, then stepped on and compared with the result."""

import copy
import functools
import io
import json
import math
import random
import threading
import types
import warnings
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, HOST_RTOL, assert_close, assert_is_torchs, fast_jit
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr


EPOCHS_AFTER = 40

# Schedulers with a closed form, as text that torch evaluates.
CLOSED = [
    "StepLR(o, 7, 0.5)",
    "MultiStepLR(o, [30, 10, 10, 21])",
    "ConstantLR(o, 0.25, 12)",
    "LinearLR(o, 0.1, 0.9, 17)",
    "ExponentialLR(o, 0.93)",
    "PolynomialLR(o, 25, 1.7)",
    "CosineAnnealingLR(o, 13, 1e-3)",
    "CosineAnnealingWarmRestarts(o, 5, 2, 1e-4)",
    "CyclicLR(o, 0.01, 0.2, 7, 4, 'exp_range', 0.98)",
    "CyclicLR(o, [0.01, 0.02], [0.2, 0.3], 9, mode='triangular2')",
    "OneCycleLR(o, [0.3, 0.1], 90)",
    "OneCycleLR(o, 0.3, epochs=9, steps_per_epoch=10, three_phase=True, anneal_strategy='linear')",
    "SWALR(o, 0.02, 15)",
    "SWALR(o, [0.02, 0.5], 15, 'linear')",
    "SequentialLR(o, [LinearLR(o, 0.1, 1.0, 5), CosineAnnealingLR(o, 20), ExponentialLR(o, 0.9)], [5, 25])",
    "SequentialLR(o, [ConstantLR(o, 0.5, 9), CosineAnnealingWarmRestarts(o, 4, 2)], [9])",
    "SequentialLR(o, [StepLR(o, 3), PolynomialLR(o, 30)], [0])",
    "SequentialLR(o, [SWALR(o, 0.02, 15), StepLR(o, 3)], [60])",
    "ChainedScheduler([ConstantLR(o, 0.1, 8), ExponentialLR(o, 0.9), MultiStepLR(o, [12])])",
    "ChainedScheduler([CosineAnnealingLR(o, 13, 1e-3)])",
]

# Schedulers without a closed form.
STEPPED = [
    "LambdaLR(o, [lambda e: 1 / (1 + e), lambda e: 0.9 ** e])",
    "MultiplicativeLR(o, lambda e: 0.9 if e % 3 else 1.05)",
    "CyclicLR(o, 0.01, 0.2, 7, scale_fn=lambda cycle: 1 / cycle)",
    "ChainedScheduler([CosineAnnealingLR(o, 8, 0.01), ExponentialLR(o, 0.5)])",
    "ChainedScheduler([ExponentialLR(o, 0.5), CosineAnnealingLR(o, 8)])",
    "ChainedScheduler([LambdaLR(o, lambda e: 0.9 ** e), ExponentialLR(o, 0.5)])",
    "SequentialLR(o, [ExponentialLR(o, 0.5), MultiplicativeLR(o, lambda e: 0.9)], [3])",
    "SequentialLR(o, [LinearLR(o, 0.1, total_iters=30), OneCycleLR(o, 5.0, 100)], [30])",
    "SequentialLR(o, [SequentialLR(o, [LinearLR(o, 0.1, 1.0, 2), ExponentialLR(o, 0.9)], [2])], [])",
    "SequentialLR(o, [ChainedScheduler([LinearLR(o, 0.1), ExponentialLR(o, 0.9)]), StepLR(o, 3)], [40])",
    "SequentialLR(o, [ExponentialLR(o, 0.5), ExponentialLR(o, 0.9)], [2.5])",
    "StepLR(o, 3, gamma=-0.5)",
]


def build(torch: Any, text: str) -> Any:
    """Build the scheduler of a text for an optimizer with two groups."""
    values = [torch.zeros(2, requires_grad=True) for _ in range(2)]
    groups = [{"params": [values[0]], "lr": 0.1}, {"params": [values[1]], "lr": 0.03}]
    optimizer = torch.optim.SGD(groups, momentum=0.9)
    scope = {name: getattr(torch.optim.lr_scheduler, name) for name in torch.optim.lr_scheduler.__all__}
    with warnings.catch_warnings(action="ignore"):  # torch warns when it constructs a nested composite
        return eval(text, scope | {"SWALR": torch.optim.swa_utils.SWALR, "o": optimizer})


def advance(scheduler: Any, num_epochs: int) -> None:
    for _ in range(num_epochs):
        scheduler.optimizer.step()
        scheduler.step()


def curve_from_here(scheduler: Any, group: int, num_epochs: int = EPOCHS_AFTER) -> np.ndarray:
    curve = []
    for epoch in range(num_epochs):
        if epoch:
            advance(scheduler, 1)
        curve.append(float(scheduler.optimizer.param_groups[group]["lr"]))
    return np.asarray(curve)


_NOT_COMPARED = ("optimizer", "_schedulers", "_scale_fn_ref")  # their copies are not equal to them


def snapshot(scheduler: Any) -> Any:
    """Copy all attributes that a conversion could have changed."""
    optimizer = scheduler.optimizer
    groups = [
        {key: value for key, value in each.items() if key != "params"} for each in optimizer.param_groups
    ]
    parts = [snapshot(part) for part in getattr(scheduler, "_schedulers", [])]
    own = {key: value for key, value in vars(scheduler).items() if key not in _NOT_COMPARED}
    return copy.deepcopy(
        (own, groups, parts, [id(p) for each in optimizer.param_groups for p in each["params"]])
    )


@pytest.mark.parametrize("text", CLOSED)
@given(epoch=st.integers(0, 45), group=st.integers(0, 1))
@settings(max_examples=8, deadline=None)
def test_live_scheduler_continues_in_closed_form(torch, text, epoch, group):
    scheduler = build(torch, text)
    advance(scheduler, epoch)
    before = snapshot(scheduler)
    schedule: Any = jaxlr.from_torch(scheduler, group)
    assert snapshot(scheduler) == before
    expected = curve_from_here(scheduler, group)
    assert_is_torchs(schedule(np.arange(EPOCHS_AFTER)), expected, HOST_RTOL, peak=0.3)


@pytest.mark.parametrize("text", CLOSED)
@pytest.mark.parametrize(("epoch", "group"), [(0, 0), (13, 1)])
def test_live_scheduler_continues_in_closed_form_on_a_device(torch, text, epoch, group):
    scheduler = build(torch, text)
    advance(scheduler, epoch)
    schedule: Any = jaxlr.from_torch(scheduler, group)
    expected = curve_from_here(scheduler, group)
    counts = np.arange(EPOCHS_AFTER)
    smooth = np.abs(expected) > 1e-9  # smaller rates of torch have lost their digits
    on_device = np.asarray(fast_jit(schedule)(counts))
    assert_close(on_device[smooth], expected[smooth], DEVICE_RTOL)


def test_live_scheduler_holds_its_rate_up_to_the_largest_int32_count(torch):
    scheduler = build(torch, "ConstantLR(o, 0.25, 12)")
    advance(scheduler, 5)
    schedule: Any = jaxlr.from_torch(scheduler)
    assert_close(jax.jit(schedule)(jnp.int32(2**31 - 1)), 0.1, DEVICE_RTOL)


@pytest.mark.parametrize("text", [*STEPPED, *CLOSED])
@given(epoch=st.integers(0, 45), group=st.integers(0, 1), edit=st.sampled_from([None, 0.7]))
@settings(max_examples=6, deadline=None)
def test_any_live_scheduler_can_be_stepped_on_a_copy_and_tabulated(torch, text, epoch, group, edit):
    scheduler = build(torch, text)
    advance(scheduler, epoch)
    if edit:
        for each in scheduler.optimizer.param_groups:
            each["lr"] = edit
    before = snapshot(scheduler)
    schedule: Any = jaxlr.from_torch(scheduler, group, num_steps=EPOCHS_AFTER)
    assert snapshot(scheduler) == before
    expected = curve_from_here(scheduler, group)
    assert_is_torchs(schedule(np.arange(EPOCHS_AFTER)), expected, HOST_RTOL, peak=0.7)


@pytest.mark.parametrize("text", STEPPED)
def test_scheduler_without_closed_form_asks_for_num_steps(torch, text):
    scheduler = build(torch, text)
    advance(scheduler, 4)
    with pytest.raises(ValueError, match=r"so it has no closed form: give num_steps"):
        jaxlr.from_torch(scheduler)


def test_rate_edited_by_hand_is_noticed(torch):
    scheduler = build(torch, "StepLR(o, 30)")
    scheduler.optimizer.param_groups[1]["lr"] = 7.0
    with pytest.raises(ValueError, match=r"the learning rate of StepLR is 7.0 in epoch 0, not 0.03"):
        jaxlr.from_torch(scheduler, group=1)
    untouched: Any = jaxlr.from_torch(scheduler, group=0)
    assert untouched(30) == pytest.approx(0.01, rel=1e-12)


def test_user_defined_scheduler_is_stepped(torch):
    class Halving(torch.optim.lr_scheduler.LRScheduler):
        def get_lr(self) -> list[float]:
            return [
                group["lr"] / 2 if self.last_epoch else group["lr"] for group in self.optimizer.param_groups
            ]

    class Renamed(torch.optim.lr_scheduler.StepLR):
        pass

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule: Any = jaxlr.from_torch(Halving(optimizer), num_steps=5)
    assert [schedule(epoch) for epoch in range(7)] == [1.0, 0.5, 0.25, 0.125, 0.0625, 0.0625, 0.0625]
    with pytest.raises(
        ValueError, match="Renamed is not one of torch's own classes, so it has no closed form"
    ):
        jaxlr.from_torch(Renamed(optimizer, 3))


def test_tensor_learning_rate_is_stepped_in_its_own_precision(torch):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=torch.tensor(0.05))
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.999)
    advance(scheduler, 50)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=20)
    assert_close(schedule(np.arange(20)), curve_from_here(scheduler, 0, 20), HOST_RTOL)


def test_parameters_are_not_copied(torch, monkeypatch):
    scheduler = build(torch, "LambdaLR(o, lambda e: 0.5)")
    monkeypatch.setattr(torch.Tensor, "__deepcopy__", lambda self, memo: pytest.fail("a tensor was copied"))
    jaxlr.from_torch(scheduler, num_steps=3)


@pytest.mark.parametrize("num_before", range(0, 30, 3))
def test_plateau_continues_with_its_counters(torch, x64, num_before):
    metrics = np.concatenate([1 / np.arange(1.0, 9), np.full(40, 0.2)]).tolist()
    settings = {"patience": 2, "cooldown": 3, "factor": 0.3, "min_lr": [1e-3, 1e-5]}
    scheduler = build(torch, "StepLR(o, 100)")
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(scheduler.optimizer, **settings)
    for metric in metrics[:num_before]:
        plateau.step(metric)
    state_dict = torch_load(torch, plateau.state_dict())
    saved = jaxlr.from_state_dict("ReduceLROnPlateau", state_dict, group=1)
    for tx in (jaxlr.from_torch(plateau, group=1), saved):
        twin = copy.deepcopy(plateau)
        assert isinstance(tx, optax.GradientTransformationExtraArgs)
        state: Any = tx.init({})
        for metric in metrics[num_before:]:
            twin.step(metric)
            state = jaxlr.plateau_step(state, metric)
            assert_close(jaxlr.plateau_lr(state), twin.optimizer.param_groups[1]["lr"], 1e-14)


def torch_load(torch: Any, state_dict: dict[str, Any]) -> Any:
    """Save a state_dict to a file and load it with the loader that runs no code."""
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("text", CLOSED)
@given(epoch=st.integers(0, 45), group=st.integers(0, 1))
@settings(max_examples=5, deadline=None)
def test_saved_scheduler_continues_like_the_live_one(torch, text, epoch, group):
    scheduler = build(torch, text)
    advance(scheduler, epoch)
    name = type(scheduler).__name__
    saved = torch_load(torch, scheduler.state_dict())
    optimizer = torch_load(torch, scheduler.optimizer.state_dict())
    schedule: Any = jaxlr.from_state_dict(name, saved, group=group, optimizer_state_dict=optimizer)
    live: Any = jaxlr.from_torch(scheduler, group)
    counts = np.arange(EPOCHS_AFTER)
    np.testing.assert_array_equal(schedule(counts), live(counts))


def test_function_that_a_state_dict_lacks_must_be_given(torch):
    def warmup(epoch: int) -> float:
        return min(1.0, (epoch + 1) / 10)

    scheduler = build(torch, "LambdaLR(o, lambda e: min(1.0, (e + 1) / 10))")
    advance(scheduler, 4)
    saved = torch_load(torch, scheduler.state_dict())
    with pytest.raises(
        ValueError,
        match="a state_dict does not contain the functions of LambdaLR: give the group's as lr_lambda",
    ):
        jaxlr.from_state_dict("LambdaLR", saved)
    schedule: Any = jaxlr.from_state_dict("LambdaLR", saved, 0.1, lr_lambda=warmup, num_steps=20)
    assert_close(schedule(np.arange(20)), curve_from_here(scheduler, 0, 20), HOST_RTOL)


def test_functions_in_a_sequence_are_given_one_by_one(torch):
    def factor(epoch: int) -> float:
        return 0.9**epoch

    scheduler = build(torch, "SequentialLR(o, [LinearLR(o, 0.1), LambdaLR(o, lambda e: 0.9 ** e)], [5])")
    advance(scheduler, 3)
    saved = torch_load(torch, scheduler.state_dict())
    with pytest.raises(ValueError, match="give the group's as lr_lambda"):
        jaxlr.from_state_dict("SequentialLR", saved)
    schedule: Any = jaxlr.from_state_dict("SequentialLR", saved, lr_lambda=[None, factor])
    assert_close(schedule(np.arange(20)), curve_from_here(scheduler, 0, 20), HOST_RTOL)
    product = build(
        torch, "SequentialLR(o, [LinearLR(o, 0.1), MultiplicativeLR(o, lambda e: 0.9 ** e)], [5])"
    )
    with pytest.raises(ValueError, match="not saved the learning rate of a LambdaLR with this lr_lambda"):
        jaxlr.from_state_dict(
            "SequentialLR", torch_load(torch, product.state_dict()), lr_lambda=[None, factor]
        )


def test_saved_multiplicative_lr_continues(torch):
    scheduler = build(torch, "MultiplicativeLR(o, lambda e: 0.9 if e % 3 else 1.05)")
    advance(scheduler, 7)
    saved = torch_load(torch, scheduler.state_dict())
    factor = scheduler.lr_lambdas[0]
    with pytest.raises(ValueError, match="MultiplicativeLR is a running product: give num_steps"):
        jaxlr.from_state_dict("MultiplicativeLR", saved, lr_lambda=factor)
    schedule: Any = jaxlr.from_state_dict("MultiplicativeLR", saved, lr_lambda=factor, num_steps=20)
    assert_close(schedule(np.arange(20)), curve_from_here(scheduler, 0, 20), HOST_RTOL)


def test_state_dict_that_does_not_fit_the_arguments_is_refused(torch):
    saved = build(torch, "StepLR(o, 30)").state_dict()
    with pytest.raises(
        ValueError, match="class_name is 'ExponentialLR', but the state_dict belongs to a StepLR"
    ):
        jaxlr.from_state_dict("ExponentialLR", saved)
    with pytest.raises(ValueError, match=r"init_value is 0.2, but the saved run began with 0.1"):
        jaxlr.from_state_dict("StepLR", saved, 0.2)
    with pytest.raises(ValueError, match="group must be one of the 2 in _last_lr, counted from 0, got 2"):
        jaxlr.from_state_dict("StepLR", saved, group=2)
    with pytest.raises(ValueError, match="does not belong to a torch scheduler"):
        jaxlr.from_state_dict("StepLR", {})
    chain = build(torch, "SequentialLR(o, [ConstantLR(o), CosineAnnealingLR(o, 20)], [5])").state_dict()
    del chain["_schedulers"][1]["T_max"]
    with pytest.raises(
        ValueError, match=r"with the keys \['_get_lr.* does not belong to a torch scheduler"
    ):
        jaxlr.from_state_dict("SequentialLR", chain)
    with pytest.raises(ValueError, match="StepLR lacks 'gamma'"):
        jaxlr.from_state_dict("StepLR", {key: saved[key] for key in saved if key != "gamma"})
    with pytest.raises(
        ValueError, match="OneCycleLR keeps its initial_lr in the optimizer: give optimizer_state_dict"
    ):
        jaxlr.from_state_dict("OneCycleLR", build(torch, "OneCycleLR(o, 0.3, 90)").state_dict())
    with pytest.raises(ValueError, match=r"load it into torch and use from_torch\(..., num_steps=...\)"):
        jaxlr.from_state_dict("ChainedScheduler", build(torch, STEPPED[4]).state_dict())


@pytest.mark.parametrize("thing", [None, 3, "StepLR(30)", jnp.zeros(3)])
def test_object_that_is_not_a_scheduler_is_refused(thing):
    with pytest.raises(TypeError, match="scheduler must be a torch scheduler, got a"):
        jaxlr.from_torch(thing)


def test_error_names_the_step_after_which_torch_raises(torch):
    scheduler = build(torch, "OneCycleLR(o, 0.3, 10)")
    scheduler.optimizer.param_groups[0]["lr"] = 5.0
    with pytest.raises(ValueError, match="OneCycleLR cannot be stepped more than 10 times"):
        jaxlr.from_torch(scheduler, num_steps=20)


def test_warnings_of_the_stepped_copy_are_hidden(torch):
    scheduler = build(torch, "LambdaLR(o, lambda e: 0.5)")
    with warnings.catch_warnings(action="error"):
        jaxlr.from_torch(scheduler, num_steps=3)


ODD = st.sampled_from(
    [
        None,
        True,
        "x",
        "",
        -1,
        0,
        2.5,
        1e400,
        -1e400,
        float("nan"),
        10**30,
        [],
        [None],
        {},
        {"a": 1},
        b"",
        object(),
    ]
)


@pytest.mark.parametrize(
    "text", [*CLOSED, "ReduceLROnPlateau(o, min_lr=[0.1, 0.2])", STEPPED[0], STEPPED[1]]
)
@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_state_dict_is_read_or_refused_in_one_line(torch, text, data):
    scheduler = build(torch, text)
    saved = copy.deepcopy(scheduler.state_dict())
    optimizer = copy.deepcopy(scheduler.optimizer.state_dict())
    parts = [saved, *saved.get("_schedulers", []), optimizer, *optimizer["param_groups"]]
    for _ in range(data.draw(st.integers(1, 2))):
        target = data.draw(st.sampled_from(parts))
        key = data.draw(st.sampled_from(sorted(target)))
        if data.draw(st.booleans()):
            target[key] = data.draw(ODD)
        else:
            del target[key]
    lr_lambda = data.draw(st.sampled_from([None, lambda epoch: 0.5]))
    try:
        converted: Any = jaxlr.from_state_dict(
            type(scheduler).__name__,
            saved,
            num_steps=5,
            optimizer_state_dict=optimizer,
            lr_lambda=lr_lambda,
        )
    except (ValueError, TypeError) as error:
        assert str(error)
        assert len(str(error).splitlines()) == 1
        return
    if not isinstance(converted, optax.GradientTransformation):
        assert np.isfinite(converted(3))


@pytest.mark.parametrize("edit", [1 + 1e-6, 1 - 1e-6])
def test_small_edit_of_the_rate_is_noticed(torch, edit):
    scheduler = build(torch, "StepLR(o, 30)")
    scheduler.optimizer.param_groups[0]["lr"] *= edit
    with pytest.raises(ValueError, match="the learning rate of StepLR is"):
        jaxlr.from_torch(scheduler)


def test_edit_of_a_tiny_rate_is_noticed(torch):
    scheduler = build(torch, "ExponentialLR(o, 0.1)")
    advance(scheduler, 30)
    assert callable(jaxlr.from_torch(scheduler))
    scheduler.optimizer.param_groups[0]["lr"] *= 2
    with pytest.raises(ValueError, match="the learning rate of ExponentialLR is"):
        jaxlr.from_torch(scheduler)


@pytest.mark.parametrize("key", ["initial_lr", "min_lr"])
def test_one_cycle_that_begins_or_ends_at_0_is_stepped(torch, key):
    scheduler = build(torch, "OneCycleLR(o, 0.3, 90)")
    scheduler.optimizer.param_groups[0][key] = 0.0
    with pytest.raises(ValueError, match="OneCycleLR begins or ends at 0, so it has no closed form"):
        jaxlr.from_torch(scheduler)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=40)
    assert_is_torchs(schedule(np.arange(40)), curve_from_here(scheduler, 0, 40), HOST_RTOL)


@pytest.mark.parametrize("group", [True, 1.0, "1", -1, 2])
def test_unknown_group_is_refused(torch, group):
    with pytest.raises(ValueError, match="group must be one of the 2 in param_groups, counted from 0"):
        jaxlr.from_torch(build(torch, "StepLR(o, 30)"), group)


def test_subclass_of_plateau_that_only_stores_something_is_converted(torch):
    class Named(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def __init__(self, optimizer: Any, monitor: str, **settings: Any):
            super().__init__(optimizer, **settings)
            self.monitor = monitor

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    tx: Any = jaxlr.from_torch(Named(optimizer, "val_loss", patience=0, factor=0.5))
    state = tx.init({})
    for _ in range(2):
        state = jaxlr.plateau_step(state, 1.0)
    assert jaxlr.plateau_lr(state) == 0.5


def test_subclass_of_plateau_with_its_own_step_is_refused(torch):
    class Own(torch.optim.lr_scheduler.ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            super().step(2 * metrics)

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(
        TypeError, match="Own is a subclass of torch's ReduceLROnPlateau with methods of its own"
    ):
        jaxlr.from_torch(Own(optimizer), num_steps=3)


def test_rate_edited_by_hand_is_noticed_in_the_saved_optimizer(torch):
    scheduler = build(torch, "StepLR(o, 30)")
    scheduler.optimizer.param_groups[0]["lr"] = 7.0
    saved, optimizer = scheduler.state_dict(), scheduler.optimizer.state_dict()
    assert callable(jaxlr.from_state_dict("StepLR", saved))
    with pytest.raises(ValueError, match=r"the learning rate of StepLR is 7.0 in epoch 0, not 0.1"):
        jaxlr.from_state_dict("StepLR", saved, optimizer_state_dict=optimizer)


def one_weight(torch: Any, lr: Any = 0.1, **settings: Any) -> Any:
    """Return an optimizer of one weight of 1, with a gradient of 1."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    return torch.optim.SGD([weight], lr=lr, **settings)


class Noam:
    """A wrapper whose step sets the rate and steps the optimizer, as that of the Transformer's authors."""

    def __init__(self, optimizer: Any):
        self.optimizer, self.count = optimizer, 0

    def step(self) -> None:
        self.count += 1
        self.optimizer.param_groups[0]["lr"] = self.count**-0.5
        self.optimizer.step()


def test_scheduler_that_steps_the_optimizer_is_refused_and_trains_nothing(torch):
    optimizer = one_weight(torch)
    with pytest.raises(
        ValueError, match=r"Noam cannot be converted, because its step\(\) steps the optimizer"
    ):
        jaxlr.from_torch(Noam(optimizer), num_steps=50)
    group = optimizer.param_groups[0]
    assert (group["lr"], group["params"][0].item()) == (0.1, 1.0)


def test_wrapper_of_a_scheduler_or_an_optimizer_is_refused_with_advice(torch):
    scheduler = torch.optim.lr_scheduler.StepLR(one_weight(torch), 3)
    with pytest.raises(TypeError, match="give the scheduler in it, its attribute 'scheduler'"):
        jaxlr.from_torch(SimpleNamespace(scheduler=scheduler))
    with pytest.raises(TypeError, match="wraps an optimizer: write its rate as a function"):
        jaxlr.from_torch(SimpleNamespace(_optimizer=one_weight(torch)))
    with pytest.raises(TypeError, match="give the scheduler in it, its item 'scheduler'"):  # of Lightning
        jaxlr.from_torch({"scheduler": scheduler, "interval": "step"})
    part = SimpleNamespace(optimizer=scheduler.optimizer)  # a handler of Ignite, which has no step
    with pytest.raises(TypeError, match="got a SimpleNamespace, which wraps an optimizer"):
        jaxlr.from_torch(SimpleNamespace(part=part, optimizer=part.optimizer))
    accelerated = type("AcceleratedScheduler", (SimpleNamespace,), {})(scheduler=scheduler)
    with pytest.raises(TypeError, match="its attribute 'scheduler', which it steps once for each process"):
        jaxlr.from_torch(accelerated)


def test_scheduler_that_is_stepped_with_a_metric_is_refused(torch):
    class GreedyLR:
        def __init__(self, optimizer: Any):
            self.optimizer = optimizer

        def step(self, metrics: float, epoch: Any = None) -> None:
            raise NotImplementedError

    with pytest.raises(
        ValueError, match=r"its step\(\) needs .* \(missing a required argument: 'metrics'\): use jaxlr.red"
    ):
        jaxlr.from_torch(GreedyLR(one_weight(torch)), num_steps=3)


def test_warmup_beside_a_scheduler_is_noticed(torch):
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(one_weight(torch), 50)
    warmup = type("LinearWarmup", (SimpleNamespace,), {"__module__": "pytorch_warmup.base"})
    beside = warmup(optimizer=scheduler.optimizer)
    with pytest.raises(ValueError, match="has a LinearWarmup of pytorch_warmup, which dampens its rate"):
        jaxlr.from_torch(scheduler, num_steps=60)
    del beside
    assert callable(jaxlr.from_torch(scheduler))


def test_function_that_consumes_an_iterator_consumes_a_copy(torch):
    factors = iter([1.0, 0.9, 0.8, 0.7, 0.6])
    scheduler = torch.optim.lr_scheduler.LambdaLR(one_weight(torch), lambda _: next(factors))
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=4)
    assert_close(schedule(np.arange(4)), [0.1, 0.09, 0.08, 0.07], HOST_RTOL)
    assert next(factors) == 0.9


def test_function_that_counts_its_calls_counts_them_on_a_copy(torch):
    calls: list[int] = []

    def factor(epoch: int) -> float:
        calls.append(epoch)
        return 1 / len(calls)

    scheduler = torch.optim.lr_scheduler.LambdaLR(one_weight(torch), factor)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=4)
    assert calls == [0]
    assert_close(schedule(np.arange(4)), curve_from_here(scheduler, 0, 4), HOST_RTOL)


def test_function_that_reads_the_optimizer_reads_the_copy(torch):
    optimizer = one_weight(torch)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda epoch: 1.0 if epoch < 2 else 5 * optimizer.param_groups[0]["lr"]
    )
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=9)
    assert_close(schedule(np.arange(9)), curve_from_here(scheduler, 0, 9), HOST_RTOL)


HANDLE = threading.local()


@pytest.mark.parametrize("num_steps", [None, 9])
def test_step_of_the_optimizer_is_not_copied(torch, monkeypatch, num_steps):
    # torch.compile wraps the method in a function that holds a threading.local, which cannot be copied.
    step = torch.optim.SGD.step

    def compiled(self, *args):
        HANDLE.optimizer = self
        return step(self, *args)

    monkeypatch.setattr(torch.optim.SGD, "step", compiled)
    scheduler = torch.optim.lr_scheduler.StepLR(one_weight(torch), 3)
    scheduler.get_lr = lambda: [0.5]
    if num_steps is None:
        with pytest.raises(ValueError, match="has no closed form: give num_steps"):
            jaxlr.from_torch(scheduler)
    else:
        assert jaxlr.from_torch(scheduler, num_steps=num_steps)(8) == 0.5


GENERATED = (factor for factor in (1.0, 0.5, 0.25))


def test_function_that_consumes_a_generator_is_refused(torch):
    scheduler = torch.optim.lr_scheduler.LambdaLR(one_weight(torch), lambda _: next(GENERATED))
    with pytest.raises(TypeError, match="a generator cannot be copied"):
        jaxlr.from_torch(scheduler, num_steps=3)
    assert next(GENERATED) == 0.5


@pytest.mark.parametrize("scheduler_class", ["LambdaLR", "MultiplicativeLR"])
def test_function_that_ignores_the_epoch_and_reads_something_else_is_refused(torch, scheduler_class):
    run = SimpleNamespace(step=0)
    build_scheduler: Any = getattr(torch.optim.lr_scheduler, scheduler_class)
    for function in (lambda _: 1 / (1 + run.step), lambda _, run=run: 1 / (1 + run.step)):
        scheduler = build_scheduler(one_weight(torch), function)
        with pytest.raises(ValueError, match="ignores the epoch and reads 'run', which may change"):
            jaxlr.from_torch(scheduler, num_steps=8)
    constant = build_scheduler(one_weight(torch), lambda _, gamma=0.5: gamma)
    schedule: Any = jaxlr.from_torch(constant, num_steps=8)
    assert_close(schedule(np.arange(8)), curve_from_here(constant, 0, 8), HOST_RTOL)


def test_second_scheduler_of_an_optimizer_is_noticed(torch):
    optimizer = one_weight(torch)
    first = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    second = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 8])
    with pytest.raises(
        ValueError, match=r"has another scheduler, ExponentialLR: .* convert ChainedScheduler"
    ):
        jaxlr.from_torch(second)
    chain = torch.optim.lr_scheduler.ChainedScheduler([first, second])
    schedule: Any = jaxlr.from_torch(chain)
    assert_close(schedule(np.arange(12)), curve_from_here(chain, 0, 12), HOST_RTOL)


def test_second_scheduler_that_was_deleted_is_no_obstacle(torch):
    optimizer = one_weight(torch)
    first = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    first.itself = first  # only the collector finds it after its deletion
    second = torch.optim.lr_scheduler.MultiStepLR(optimizer, [3, 8])
    del first
    assert callable(jaxlr.from_torch(second))


@pytest.mark.parametrize(("attribute", "value"), [("gamma", 0.5), ("mode", "triangular2")])
def test_cyclic_lr_keeps_the_scale_that_it_was_constructed_with(torch, attribute, value):
    optimizer = one_weight(torch, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, 4, mode="exp_range", gamma=0.9)
    setattr(scheduler, attribute, value)
    schedule: Any = jaxlr.from_torch(scheduler)
    assert_close(schedule(np.arange(24)), curve_from_here(scheduler, 0, 24), HOST_RTOL)


def test_cyclic_lr_whose_scale_mode_was_edited_is_stepped(torch):
    optimizer = one_weight(torch, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, 0.01, 0.1, 4, mode="exp_range", gamma=0.9)
    scheduler.scale_mode = "cycle"
    with pytest.raises(ValueError, match="CyclicLR was edited after its construction"):
        jaxlr.from_torch(scheduler)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=24)
    assert_close(schedule(np.arange(24)), curve_from_here(scheduler, 0, 24), HOST_RTOL)


def test_method_of_an_object_that_cannot_be_copied_is_stepped(torch):
    class Model(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.lock, self.calls = torch.nn.Linear(2, 2), threading.Lock(), 0

        def factor(self, epoch: int) -> float:
            self.calls += 1
            return min(1.0, (epoch + 1) / 5)

    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, model.factor)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=9)
    assert model.calls == 1
    assert_close(schedule(np.arange(9)), curve_from_here(scheduler, 0, 9), HOST_RTOL)


def test_group_that_was_added_after_construction_is_stepped(torch):
    scheduler = torch.optim.lr_scheduler.StepLR(one_weight(torch), 3)
    advance(scheduler, 2)
    scheduler.optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": 0.01})
    with pytest.raises(ValueError, match="group 1 was added to the optimizer after StepLR"):
        jaxlr.from_torch(scheduler, group=1)
    for group in (0, 1):
        schedule: Any = jaxlr.from_torch(scheduler, group, num_steps=9)
        assert_close(schedule(np.arange(9)), curve_from_here(copy.deepcopy(scheduler), group, 9), HOST_RTOL)


def test_tensor_learning_rate_has_a_closed_form(torch):
    scheduler = torch.optim.lr_scheduler.LinearLR(one_weight(torch, torch.tensor(0.01)), total_iters=5)
    schedule: Any = jaxlr.from_torch(scheduler)
    assert_close(schedule(np.arange(9)), curve_from_here(scheduler, 0, 9), 1e-6)


def test_last_epoch_that_was_set_back_by_hand_is_stepped(torch):
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(one_weight(torch), 30)
    scheduler.last_epoch = -1
    with pytest.raises(ValueError, match="last_epoch of CosineAnnealingLR is -1"):
        jaxlr.from_torch(scheduler)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=9)
    assert_close(schedule(np.arange(9)), curve_from_here(scheduler, 0, 9), HOST_RTOL)


@pytest.mark.parametrize(
    "text",
    [
        "StepLR(o, 7, 0.5)",
        "MultiStepLR(o, [3, 7, 7])",
        "OneCycleLR(o, [0.3, 0.1], 90)",
        "SWALR(o, 0.02, 15)",
        "SequentialLR(o, [LinearLR(o, 0.1), CosineAnnealingLR(o, 20)], [5])",
    ],
)
def test_state_of_an_older_torch_is_completed(torch, text):
    scheduler = build(torch, text)
    advance(scheduler, 2)
    absent = {"_last_lr", "_anneal_func_type", "_anneal_strategy", "_schedule_phases"}
    saved = {key: value for key, value in scheduler.state_dict().items() if key not in absent}
    if text.startswith("OneCycleLR"):
        saved |= {"step_size_up": 26.0, "step_size_down": 62.0}
    saved = json.loads(json.dumps(saved))  # its keys are strings
    optimizer = scheduler.optimizer.state_dict()
    name = type(scheduler).__name__
    schedule: Any = jaxlr.from_state_dict(name, saved, optimizer_state_dict=optimizer)
    assert_close(schedule(np.arange(30)), curve_from_here(scheduler, 0, 30), HOST_RTOL)


def test_plateau_without_its_rate_needs_the_optimizer(torch):
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(one_weight(torch))
    saved = {key: value for key, value in plateau.state_dict().items() if key != "_last_lr"}
    with pytest.raises(ValueError, match="lacks '_last_lr': give optimizer_state_dict"):
        jaxlr.from_state_dict("ReduceLROnPlateau", saved)


def replace_a_part(scheduler: Any) -> None:
    """Replace a method of the second part, which torch calls at the milestone only."""
    scheduler._schedulers[1]._get_closed_form_lr = lambda: [0.5, 0.4]


# A scheduler whose attribute is edited, where its closed form no longer gives torch's rates.
EDITED: list[tuple[str, int, Any]] = [
    ("CosineAnnealingWarmRestarts(o, 3, 2)", 7, lambda s: setattr(s, "T_cur", 0)),
    ("CosineAnnealingWarmRestarts(o, 3, 2)", 0, lambda s: setattr(s, "T_i", 5)),
    ("SWALR(o, 0.05, 6)", 0, lambda s: setattr(s, "_step_count", 4)),
    ("StepLR(o, 3)", 2, lambda s: setattr(s, "get_lr", lambda: [0.5, 0.4])),
    ("OneCycleLR(o, 0.1, 90)", 2, lambda s: setattr(s, "total_steps", 99)),
    ("OneCycleLR(o, 0.1, 90, three_phase=True)", 0, lambda s: s._schedule_phases[1].update(end_step=70.0)),
    ("OneCycleLR(o, 0.1, 90)", 0, lambda s: s._schedule_phases[0].update(end_lr="min_lr")),
    ("LinearLR(o, 0.1, total_iters=5)", 2, lambda s: setattr(s, "total_iters", 10)),
    # Far later than the steps that are compared.
    ("StepLR(o, 3)", 0, lambda s: setattr(s, "get_lr", lambda: [0.1, 0.2][s.last_epoch > 500 :][:1] * 2)),
    ("SequentialLR(o, [StepLR(o, 3), StepLR(o, 3)], [500])", 0, replace_a_part),
]


@pytest.mark.parametrize(("text", "epoch", "edit"), EDITED, ids=range(len(EDITED)))
def test_edited_scheduler_is_stepped_or_refused(torch, text, epoch, edit):
    def edited():
        scheduler = build(torch, text)
        advance(scheduler, epoch)
        edit(scheduler)
        return scheduler

    with pytest.raises(ValueError, match="has no closed form: give num_steps"):
        jaxlr.from_torch(edited())
    schedule: Any = jaxlr.from_torch(edited(), num_steps=20)
    other, expected = edited(), []
    for _ in range(20):
        expected.append(other.optimizer.param_groups[0]["lr"])
        advance(other, 1)
    assert_close(schedule(np.arange(20)), expected, HOST_RTOL)


def test_edit_is_noticed_beside_something_that_cannot_be_copied(torch):
    class Locked(list):
        def __reduce_ex__(self, protocol: Any) -> Any:
            raise TypeError("a handle of the system")

    scheduler = build(torch, "SWALR(o, 0.05, 6)")
    scheduler.batches, scheduler.locked = (batch for batch in range(3)), Locked()
    untouched: Any = jaxlr.from_torch(scheduler)
    assert untouched(0) == 0.1
    scheduler._step_count = 4
    with pytest.raises(ValueError, match=r"_step_count of SWALR .* give num_steps"):
        jaxlr.from_torch(scheduler)
    schedule: Any = jaxlr.from_torch(scheduler, num_steps=9)
    assert_close(schedule(np.arange(9)), curve_from_here(scheduler, 0, 9), HOST_RTOL)


@pytest.mark.parametrize("is_live", [True, False])
def test_method_of_torchs_own_class_that_was_replaced_is_noticed(torch, monkeypatch, is_live):
    get_lr = torch.optim.lr_scheduler.StepLR.get_lr

    @functools.wraps(get_lr)
    def later(self):
        return [1e-3 if self.last_epoch > 500 else lr for lr in get_lr(self)]

    scheduler, plateau = build(torch, "StepLR(o, 3)"), build(torch, "ReduceLROnPlateau(o)")
    monkeypatch.setattr(torch.optim.lr_scheduler.StepLR, "get_lr", later)
    with pytest.raises(
        ValueError, match="the method get_lr of StepLR is not torch's own, so it has no closed form"
    ):
        jaxlr.from_torch(scheduler)
    plateau_class = plateau if is_live else torch.optim.lr_scheduler.ReduceLROnPlateau
    monkeypatch.setattr(plateau_class, "_is_better", lambda *_: True)
    with pytest.raises(TypeError, match=r"this ReduceLROnPlateau has methods of its own \(_is_better\)"):
        jaxlr.from_torch(plateau)


@pytest.mark.parametrize("key", ["T_i", "T_cur"])
def test_position_of_warm_restarts_that_was_edited_is_noticed_in_a_state_dict(torch, key):
    scheduler = build(
        torch, "CosineAnnealingWarmRestarts(o, 3, 2, 0.1)"
    )  # its lowest rate is that of group 0
    advance(scheduler, 21)
    saved = scheduler.state_dict()
    assert callable(jaxlr.from_state_dict("CosineAnnealingWarmRestarts", saved))
    saved[key] += 1
    with pytest.raises(ValueError, match="T_cur or T_i has changed"):
        jaxlr.from_state_dict("CosineAnnealingWarmRestarts", saved)


def test_step_count_of_swa_that_was_edited_is_noticed_in_a_state_dict(torch):
    saved = build(torch, "SWALR(o, 0.05, 6)").state_dict() | {"_step_count": 4}
    optimizer = build(torch, "SWALR(o, 0.05, 6)").optimizer.state_dict()
    with pytest.raises(ValueError, match="_step_count of SWALR is not that of its last_epoch"):
        jaxlr.from_state_dict("SWALR", saved, optimizer_state_dict=optimizer)


def test_error_without_a_text_of_its_own_is_named(torch):
    scheduler = build(torch, "StepLR(o, 3)")
    scheduler.get_lr = torch.optim.lr_scheduler.LRScheduler.get_lr.__get__(scheduler)
    with pytest.raises(ValueError, match="StepLR cannot be stepped more than 0 times: NotImplementedError"):
        jaxlr.from_torch(scheduler, num_steps=9)


def test_function_with_random_numbers_is_refused(torch):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: random.random() + epoch)
    with pytest.raises(ValueError, match="gives other learning rates each time that it is stepped"):
        jaxlr.from_torch(scheduler, num_steps=9)


def linear(current_step: int, *, num_warmup_steps: int, num_training_steps: int) -> float:
    if current_step < num_warmup_steps:
        return float(current_step) / float(max(1, num_warmup_steps))
    left = float(num_training_steps - current_step)
    return max(0.0, left / float(max(1, num_training_steps - num_warmup_steps)))


def cosine(
    current_step: int,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    num_cycles: float,
    min_lr_rate: float = 0.0,
) -> float:
    if current_step < num_warmup_steps:
        return float(current_step) / float(max(1, num_warmup_steps))
    progress = float(current_step - num_warmup_steps) / float(max(1, num_training_steps - num_warmup_steps))
    factor = 0.5 * (1.0 + math.cos(math.pi * float(num_cycles) * 2.0 * progress))
    return max(0, factor * (1 - min_lr_rate) + min_lr_rate)


def polynomial(
    current_step: int,
    *,
    num_warmup_steps: int,
    num_training_steps: int,
    lr_end: float,
    power: float,
    lr_init: float,
) -> float:
    if current_step < num_warmup_steps:
        return float(current_step) / float(max(1, num_warmup_steps))
    if current_step > num_training_steps:
        return lr_end / lr_init
    left = 1 - (current_step - num_warmup_steps) / (num_training_steps - num_warmup_steps)
    return ((lr_init - lr_end) * left**power + lr_end) / lr_init


def of_transformers(name: str, function: Any, module: str = "transformers.optimization", **keywords: Any):
    """Return a function as transformers makes it: a partial of one of its own functions."""
    own = types.FunctionType(function.__code__, {"math": math}, name)
    own.__kwdefaults__, own.__module__, own.__qualname__ = function.__kwdefaults__, module, name
    return functools.partial(own, **keywords)


def closure_of_diffusers(num_warmup_steps: int, num_training_steps: int):
    def lr_lambda(current_step: int) -> float:
        if current_step < num_warmup_steps:
            return float(current_step) / float(max(1, num_warmup_steps))
        left = float(num_training_steps - current_step)
        return max(0.0, left / float(max(1, num_training_steps - num_warmup_steps)))

    lr_lambda.__module__ = "diffusers.optimization"
    lr_lambda.__qualname__ = "get_linear_schedule_with_warmup.<locals>.lr_lambda"
    return lr_lambda


STEPS: dict[str, Any] = {"num_warmup_steps": 5, "num_training_steps": 25}
HUGGING_FACE = {
    "linear": of_transformers("_get_linear_schedule_with_warmup_lr_lambda", linear, **STEPS),
    "cosine": of_transformers(
        "_get_cosine_schedule_with_warmup_lr_lambda", cosine, **STEPS, num_cycles=0.5
    ),
    "cosine with a floor": of_transformers(
        "_get_cosine_schedule_with_warmup_lr_lambda", cosine, **STEPS, num_cycles=1.5, min_lr_rate=0.1
    ),
    "polynomial": of_transformers(
        "_get_polynomial_decay_schedule_with_warmup_lr_lambda",
        polynomial,
        **STEPS,
        lr_end=1e-3,
        power=2.0,
        lr_init=0.1,
    ),
    "closure": closure_of_diffusers(5, 25),
}


@pytest.mark.parametrize("name", HUGGING_FACE)
@pytest.mark.parametrize("group", [0, 1])
def test_function_of_hugging_face_needs_no_num_steps(torch, name, group):
    function = HUGGING_FACE[name]
    values = [torch.zeros(2, requires_grad=True) for _ in range(2)]
    groups = [{"params": [values[0]]}, {"params": [values[1]], "lr": 0.03}]
    scheduler = torch.optim.lr_scheduler.LambdaLR(torch.optim.SGD(groups, lr=0.1), function)
    advance(scheduler, 3)
    schedule: Any = jaxlr.from_torch(scheduler, group=group)
    expected = [scheduler.base_lrs[group] * function(step) for step in range(3, 43)]
    np.testing.assert_allclose(schedule(np.arange(40)), expected, rtol=1e-12, atol=1e-17)


@pytest.mark.parametrize(
    "function",
    [
        of_transformers("_get_linear_schedule_with_warmup_lr_lambda", linear, "my.optimization", **STEPS),
        of_transformers("_get_cosine_schedule_with_warmup_lr_lambda", linear, **STEPS),  # another curve
        of_transformers("_get_new_schedule_lr_lambda", linear, **STEPS),
    ],
    ids=["module", "curve", "name"],
)
def test_function_that_is_not_hugging_faces_needs_num_steps(torch, function):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, function)
    with pytest.raises(ValueError, match="has a Python function"):
        jaxlr.from_torch(scheduler)
