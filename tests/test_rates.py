"""Tests of the learning rate that a state holds, against the updates of SGD."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
import optax
import pytest
from helpers import DEVICE_RTOL, assert_close

import jaxlr
from jaxlr._compat import enable_x64


PARAMS = {"body": jnp.ones(2), "head": jnp.ones(1)}
LABELS = {"body": "body", "head": "head"}
untyped: Any = jaxlr  # for calls that a type checker would refuse

SCHEDULE = jaxlr.per_epoch(jaxlr.multi_step_lr(0.3, [1, 2], gamma=0.5), steps_per_epoch=2)
OPTAX_SCHEDULE = optax.linear_schedule(0.3, 0.1, 5)
WARMUP = jaxlr.linear_lr(0.3, start_factor=0.1, total_iters=3)
PLATEAU: dict[str, Any] = {"factor": 0.5, "patience": 0}


def two_places(rate):
    return optax.chain(optax.sgd(rate), jaxlr.reduce_lr_on_plateau(0.3, **PLATEAU))


# Each optimizer is SGD, with what `learning_rate` needs to read its rate.
OPTIMIZERS: dict[str, tuple[Any, Any]] = {
    "constant": (optax.sgd(0.3), 0.3),
    "schedule": (optax.sgd(SCHEDULE), SCHEDULE),
    "an Optax schedule": (
        optax.sgd(optax.linear_schedule(0.3, 0.1, 5)),
        optax.linear_schedule(0.3, 0.1, 5),
    ),
    "plateau": (two_places(0.3), 0.3),
    "plateau and warmup": (two_places(WARMUP), WARMUP),
    "with_plateau": (jaxlr.with_plateau(optax.sgd, 0.3, **PLATEAU), None),
    "with_plateau and warmup": (jaxlr.with_plateau(optax.sgd, 0.3, WARMUP, **PLATEAU), None),
    "with_plateau of text": (
        jaxlr.with_plateau(
            optax.sgd, untyped.from_string("ReduceLROnPlateau(opt, factor=0.5, patience=0)", 0.3), WARMUP
        ),
        None,
    ),
    "with_plateau, injected": (
        jaxlr.with_plateau(lambda lr: optax.inject_hyperparams(optax.sgd)(lr), 0.3, WARMUP, **PLATEAU),
        None,
    ),
    "injected": (optax.inject_hyperparams(optax.sgd)(learning_rate=0.3), None),
    "injected schedule": (optax.inject_hyperparams(optax.sgd)(learning_rate=SCHEDULE), SCHEDULE),
    "injected, then a plateau": (
        optax.chain(optax.inject_hyperparams(optax.sgd)(0.3), jaxlr.reduce_lr_on_plateau(0.3, **PLATEAU)),
        None,
    ),
    "injected under another name": (
        optax.inject_hyperparams(lambda lr: two_places(lr))(lr=0.3),
        None,
    ),
    "apply_if_finite": (optax.apply_if_finite(two_places(WARMUP), 3), WARMUP),
    "clipped": (optax.chain(optax.clip(9.0), optax.chain(optax.sgd(SCHEDULE))), SCHEDULE),
}


def updates_and_rates(tx: Any, rate: Any, accumulated: int = 1) -> tuple[list[Any], list[Any]]:
    """Train with gradients of 1 and a metric that never improves. Return the updates and the rates read."""
    state = tx.init(PARAMS)

    @jax.jit
    def step(state):
        read = jaxlr.learning_rate(state, rate)
        updates, state = tx.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS)
        return updates, read, state

    updates, rates = [], []
    for number in range(8 * accumulated):
        eager = jaxlr.learning_rate(state, rate)
        update, read, state = step(state)
        chex.assert_trees_all_close(eager, read, rtol=1e-6)
        if (number + 1) % accumulated == 0:
            updates.append(update)
            rates.append(read)
        if number % (2 * accumulated) == 2 * accumulated - 1 and "PlateauState" in str(type(state)) + repr(
            state
        ):
            state = jax.jit(jaxlr.plateau_step)(state, 1.0)
    return updates, rates


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_read_is_the_rate_of_the_next_update(name):
    updates, rates = updates_and_rates(*OPTIMIZERS[name])
    assert_close(rates, [-update["body"][0] for update in updates], DEVICE_RTOL)
    if "constant" not in name and name != "injected":
        assert len({float(rate) for rate in rates}) > 2


@pytest.mark.parametrize("name", ["schedule", "plateau and warmup", "with_plateau, injected"])
def test_the_rate_inside_of_multi_steps_is_that_of_the_next_full_update(name):
    tx, rate = OPTIMIZERS[name]
    updates, rates = updates_and_rates(optax.MultiSteps(tx, every_k_schedule=3), rate, accumulated=3)
    assert_close(rates, [-update["body"][0] for update in updates], DEVICE_RTOL)


@pytest.mark.parametrize("combine", [optax.multi_transform, optax.partition])
def test_each_group_has_a_rate_of_its_own(combine):
    groups: Any = {"body": optax.sgd(SCHEDULE), "head": two_places(WARMUP)}
    updates, rates = updates_and_rates(combine(groups, LABELS), {"body": SCHEDULE, "head": WARMUP})
    for label in LABELS:
        assert_close(
            [rate[label] for rate in rates], [-update[label][0] for update in updates], DEVICE_RTOL
        )


def test_groups_that_hold_their_rates_need_no_schedules():
    groups: Any = {
        "body": jaxlr.with_plateau(optax.sgd, 0.3, WARMUP, **PLATEAU),
        "head": optax.inject_hyperparams(optax.sgd)(learning_rate=0.2),
    }
    updates, rates = updates_and_rates(optax.multi_transform(groups, LABELS), None)
    for label in LABELS:
        assert_close(
            [rate[label] for rate in rates], [-update[label][0] for update in updates], DEVICE_RTOL
        )


def test_an_optimizer_of_groups_inside_of_with_plateau():
    tx = jaxlr.with_plateau(
        lambda lr: optax.multi_transform(dict.fromkeys(LABELS, optax.sgd(lr)), LABELS),
        0.3,
        WARMUP,
        **PLATEAU,
    )
    updates, rates = updates_and_rates(tx, None)
    assert_close(rates, [-update["body"][0] for update in updates], DEVICE_RTOL)


def test_a_rate_injected_by_hand_is_read():
    tx = optax.chain(optax.inject_hyperparams(optax.sgd)(0.3), jaxlr.reduce_lr_on_plateau(0.3, **PLATEAU))
    state: Any = tx.init(PARAMS)
    state = jaxlr.plateau_step(jaxlr.plateau_step(state, 1.0), 1.0)
    state[0].hyperparams["learning_rate"] = jnp.float32(0.02)
    read = jaxlr.learning_rate(state)
    update: Any = tx.update(PARAMS, state, PARAMS)[0]
    assert_close(read, 0.01, DEVICE_RTOL)
    assert_close(-update["head"][0], read, DEVICE_RTOL)


@pytest.mark.parametrize("scheduler_name", ["StepLR", "ReduceLROnPlateau"])
def test_an_optimizer_from_torch_holds_the_rate_of_each_group(torch, scheduler_name):
    weights = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD(
        [{"params": [w], "lr": lr} for w, lr in zip(weights, (0.1, 0.4), strict=True)]
    )
    settings = {"step_size": 1} if scheduler_name == "StepLR" else {"patience": 0}
    scheduler = getattr(torch.optim.lr_scheduler, scheduler_name)(optimizer, **settings)
    tx = jaxlr.optimizer_from_torch(optimizer, scheduler, labels={"body": 0, "head": 1}, steps_per_epoch=2)
    updates, rates = updates_and_rates(tx, None)
    for group, label in enumerate(LABELS):
        assert_close([rate[group] for rate in rates], [-u[label][0] for u in updates], DEVICE_RTOL)
    assert float(rates[-1][1]) < 0.1


@pytest.mark.parametrize(
    ("tx", "rate"),
    [(optax.sgd(SCHEDULE), SCHEDULE), (jaxlr.with_plateau(optax.sgd, 0.3, WARMUP, **PLATEAU), None)],
    ids=["schedule", "with_plateau"],
)
def test_the_rate_of_an_nnx_optimizer_and_of_a_train_state(tx, rate):
    nnx, linen = pytest.importorskip("flax.nnx"), pytest.importorskip("flax.linen")
    training = pytest.importorskip("flax.training.train_state")
    model = nnx.Linear(2, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    ones = jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param))
    train_state = training.TrainState.create(apply_fn=linen.Dense(1).apply, params=PARAMS, tx=tx)
    for _ in range(5):
        before, read = jnp.array(model.bias[...]), jaxlr.learning_rate(optimizer, rate)
        optimizer.update(model, ones)
        assert_close(before - model.bias[...], read[None], 1e-5)
        params, read = train_state.params, jaxlr.learning_rate(train_state, rate)
        train_state = train_state.apply_gradients(grads=jax.tree.map(jnp.ones_like, PARAMS))
        assert_close((params["head"] - train_state.params["head"]), read[None], 1e-5)
        if rate is None:
            jaxlr.plateau_step(optimizer, 1.0)
            train_state = jaxlr.plateau_step(train_state, 1.0)


def test_the_rate_can_be_read_for_a_batch_of_states():
    tx = jaxlr.with_plateau(optax.sgd, 0.3, WARMUP, **PLATEAU)
    states = jax.vmap(lambda _: tx.init(PARAMS))(jnp.arange(3))
    states = jaxlr.plateau_step(jaxlr.plateau_step(states, jnp.ones(3)), jnp.asarray([0.5, 1.0, 2.0]))
    assert_close(jax.vmap(jaxlr.learning_rate)(states), [0.03, 0.015, 0.015], DEVICE_RTOL)


# with_plateau


def test_with_plateau_makes_the_updates_of_the_chain_of_two():
    once, twice = (
        jaxlr.with_plateau(optax.adam, 0.3, **PLATEAU),
        optax.chain(optax.adam(0.3), jaxlr.reduce_lr_on_plateau(0.3, **PLATEAU)),
    )
    states = [once.init(PARAMS), twice.init(PARAMS)]
    for value in (1.0, 1.0, 0.9, 1.0):
        updates = []
        for index, tx in enumerate((once, twice)):
            update, states[index] = tx.update(PARAMS, states[index], PARAMS, value=value)
            updates.append(update)
        chex.assert_trees_all_equal(*updates)


def test_a_restored_state_continues_at_its_rate_whatever_the_program_says(torch):
    def build(init_value):
        return jaxlr.with_plateau(lambda lr: optax.sgd(lr, momentum=0.9), init_value, **PLATEAU)

    saved = build(0.4).init(PARAMS)
    for _ in range(3):
        saved = jaxlr.plateau_step(saved, 1.0)
    restored: Any = jax.tree.unflatten(jax.tree.structure(saved), jax.tree.leaves(saved))
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **PLATEAU)
    for _ in range(3):
        scheduler.step(1.0)
    resumed = torch.optim.SGD([torch.zeros(1)], lr=0.05)
    resumed.load_state_dict(optimizer.state_dict())
    update: Any = None
    for _ in range(2):
        assert_close(jaxlr.learning_rate(restored), resumed.param_groups[0]["lr"], DEVICE_RTOL)
        update, restored = build(0.05).update(jax.tree.map(jnp.ones_like, PARAMS), restored, PARAMS)
    assert_close(-update["head"][0] / 1.9, resumed.param_groups[0]["lr"], DEVICE_RTOL)


def test_a_plateau_from_torch_keeps_its_counters_and_its_rate_in_with_plateau(torch):
    optimizer = torch.optim.SGD([torch.zeros(2)], lr=0.1)
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
    for _ in range(2):
        scheduler.step(1.0)
    for plateau in (
        untyped.from_torch(scheduler),
        untyped.from_state_dict("ReduceLROnPlateau", scheduler.state_dict()),
    ):
        tx = jaxlr.with_plateau(optax.sgd, plateau)
        state = tx.init(PARAMS)
        update: Any = tx.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS)[0]
        assert_close(-update["head"][0], optimizer.param_groups[0]["lr"], DEVICE_RTOL)


def test_init_value_may_be_traced_and_swept():
    def rate_after_one_step(lr):
        tx = jaxlr.with_plateau(optax.sgd, lr, **PLATEAU)
        state = jaxlr.plateau_step(jaxlr.plateau_step(tx.init(PARAMS), 1.0), 1.0)
        update: Any
        update, state = tx.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS)
        return -update["head"][0], jaxlr.learning_rate(state)

    for rates in jax.jit(jax.vmap(rate_after_one_step))(jnp.asarray([0.1, 0.2])):
        assert_close(rates, [0.05, 0.1], DEVICE_RTOL)


# set_plateau_lr


@pytest.mark.parametrize("enabled", [False, True])
def test_a_rate_set_by_hand_is_used_and_lowered_from_there(torch, enabled):
    chex.clear_trace_counter()
    with enable_x64(enabled):
        tx = jaxlr.with_plateau(optax.sgd, 0.1, patience=0)
        step = jax.jit(chex.assert_max_traces(lambda state, metric: jaxlr.plateau_step(state, metric), n=1))
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        state = step(tx.init(PARAMS), 1.0)
        scheduler.step(1.0)
        before, state = state, jaxlr.set_plateau_lr(state, 0.02)
        optimizer.param_groups[0]["lr"] = 0.02
        chex.assert_trees_all_equal_shapes_and_dtypes(before, state)
        for _ in range(2):
            assert_close(jaxlr.learning_rate(state), optimizer.param_groups[0]["lr"], DEVICE_RTOL)
            update: Any = tx.update(jax.tree.map(jnp.ones_like, PARAMS), state, PARAMS)[0]
            assert_close(-update["head"][0], jaxlr.learning_rate(state), DEVICE_RTOL)
            state = step(state, 1.0)
            scheduler.step(1.0)


def test_a_rate_can_be_set_for_a_batch_of_states_and_inside_of_jit():
    states = jax.vmap(lambda lr: jaxlr.reduce_lr_on_plateau(lr).init({}))(jnp.asarray([0.1, 0.2]))
    assert_close(jaxlr.plateau_lr(jaxlr.set_plateau_lr(states, 0.02)), [0.02, 0.02], DEVICE_RTOL)
    rates = jnp.asarray([0.02, 0.03])
    assert_close(jaxlr.plateau_lr(jax.jit(jaxlr.set_plateau_lr)(states, rates)), rates, DEVICE_RTOL)


def test_a_rate_set_with_optax_is_refused_with_the_way_out():
    state = optax.tree.set(jaxlr.reduce_lr_on_plateau(0.1).init({}), lr=0.02)
    with pytest.raises(TypeError, match=r"lr was replaced by .* use jaxlr.set_plateau_lr"):
        jax.jit(jaxlr.plateau_step)(state, 1.0)


# Errors


def state_of(tx):
    return tx.init(PARAMS)


PLATEAU_TX = jaxlr.reduce_lr_on_plateau(0.1)
BAD_CALLS: list[tuple[Any, type[Exception], str]] = [
    (
        lambda: jaxlr.learning_rate(state_of(optax.sgd(SCHEDULE))),
        ValueError,
        r"does not hold the optimizer's learning rate: pass the number or the schedule",
    ),
    (
        lambda: jaxlr.learning_rate(state_of(two_places(0.3))),
        ValueError,
        "with a plateau, build it with with_plateau",
    ),
    (
        lambda: jaxlr.learning_rate(state_of(two_places(1e-3)), 1e-3),
        ValueError,
        "the optimizer's learning rate is 0.001, but its plateau was built with 0.3: give both the same",
    ),
    (lambda: jaxlr.learning_rate(state_of(optax.sgd(0.1)), SCHEDULE), ValueError, "counts no updates"),
    (
        lambda: jaxlr.learning_rate(state_of(OPTIMIZERS["with_plateau"][0]), 0.3),
        ValueError,
        "holds the optimizer's learning rate .*: leave rate out",
    ),
    (
        lambda: jaxlr.learning_rate(state_of(optax.sgd(0.1)), {"body": 0.1}),
        ValueError,
        r"rate has the labels \['body'\], but opt_state holds no parameter groups",
    ),
    (
        lambda: untyped.learning_rate(state_of(optax.sgd(0.1)), "0.1"),
        TypeError,
        "rate must be a real number",
    ),
    (lambda: untyped.learning_rate(state_of(optax.sgd(0.1)), PLATEAU_TX), TypeError, "is not a schedule"),
    (
        lambda: jaxlr.learning_rate(state_of(optax.chain(two_places(0.3), two_places(0.3))), 0.3),
        ValueError,
        "holds 2 plateaus: pass rate as a dict",
    ),
    (lambda: untyped.with_plateau(0.1, 0.1), TypeError, "optimizer must be a function"),
    (lambda: untyped.with_plateau(optax.sgd, SCHEDULE), TypeError, "give a schedule as warmup"),
    (lambda: untyped.with_plateau(optax.sgd, optax.sgd(0.1)), TypeError, "a learning rate or a plateau"),
    (
        lambda: jaxlr.with_plateau(optax.sgd, PLATEAU_TX, patience=3),
        ValueError,
        "give patience where",
    ),
    (lambda: untyped.with_plateau(optax.sgd, 0.1, PLATEAU_TX), TypeError, "warmup must be a function"),
    (
        lambda: jaxlr.set_plateau_lr(state_of(PLATEAU_TX), 0.0),
        ValueError,
        "lr must be a finite number",
    ),
    (lambda: untyped.set_plateau_lr(state_of(PLATEAU_TX), "1"), TypeError, "lr must be a real number"),
    (lambda: jaxlr.set_plateau_lr(state_of(optax.sgd(0.1)), 0.1), ValueError, "holds no plateau"),
    (
        lambda: jaxlr.plateau_step(jax.vmap(PLATEAU_TX.init)(jnp.ones((3, 2))), 1.0),
        ValueError,
        r"pass a metric for each state of the batch, such as jnp.full\(\(3,\), metric\)",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), BAD_CALLS)
def test_a_rate_that_would_be_wrong_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


@pytest.mark.parametrize(
    "use",
    [
        lambda plateau: optax.sgd(plateau),
        lambda plateau: optax.adamw(plateau),
        lambda plateau: optax.inject_hyperparams(optax.sgd)(plateau).init(PARAMS),
        lambda plateau: jaxlr.per_epoch(plateau, 10),
        lambda plateau: jaxlr.sequential_lr([jaxlr.linear_lr(0.1), plateau], [5]),
        lambda plateau: jaxlr.chained_scheduler(0.1, [plateau]),
    ],
    ids=["sgd", "adamw", "inject_hyperparams", "per_epoch", "sequential_lr", "chained_scheduler"],
)
def test_a_plateau_where_a_schedule_belongs_is_refused_at_once(use):
    plateaus = [
        untyped.from_string("ReduceLROnPlateau(opt)", 0.1),
        jaxlr.reduce_lr_on_plateau(0.1),
    ]
    for plateau in plateaus:
        with pytest.raises(TypeError, match=r"is not a schedule, .* jaxlr.with_plateau\(lambda lr"):
            use(plateau)


@pytest.mark.parametrize(
    "use",
    [
        lambda plateau: plateau(3),
        lambda plateau: optax.join_schedules([plateau, optax.constant_schedule(0.1)], [3])(0),
        lambda plateau: jax.jit(optax.join_schedules([optax.constant_schedule(0.1), plateau], [3]))(5),
        lambda plateau: optax.warmup_constant_schedule(0.0, plateau, 3)(5),
        lambda plateau: optax.scale_by_schedule(plateau).update(PARAMS, optax.ScaleByScheduleState(0)),  # pyright: ignore[reportArgumentType]
        lambda plateau: optax.fromage(plateau),
        lambda plateau: plateau / 2 + 1 - plateau,
        lambda plateau: 1 - plateau,
    ],
    ids=["call", "join first", "join last", "warmup", "scale_by_schedule", "fromage", "sums", "difference"],
)
def test_a_plateau_that_is_called_or_computed_with_says_what_to_use(use):
    for plateau in (jaxlr.reduce_lr_on_plateau(0.1), jaxlr.greedy_lr(0.1)):
        with pytest.raises(TypeError, match=r"not a schedule.* jaxlr.with_plateau\(lambda lr"):
            use(plateau)


def test_a_plateau_is_an_optax_transformation():
    plateau = jaxlr.reduce_lr_on_plateau(0.1)
    assert isinstance(plateau, optax.GradientTransformationExtraArgs)
    init, update = plateau
    assert (init, update) == (plateau.init, plateau.update)
