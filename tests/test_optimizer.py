"""Torch's optimizers compared with the transformations made from them, step by step.

Both start each step from the same parameters. Torch's update is the difference of its parameters, so these
are small in float32. The update of a large parameter would be lost in its rounding.
"""

import copy
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import DEVICE_RTOL, assert_close, fast_jit
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxlr
from jaxlr._compat import enable_x64


X64_RTOL = 1e-10
NUM_STEPS = 100
SHAPES = {"dense": {"bias": (50,), "kernel": (20, 10)}, "scale": (30,)}  # in the order of jax.tree.leaves

weight_decays = st.sampled_from([0.0, 0.01, 0.3])
betas = st.sampled_from([(0.9, 0.999), (0.0, 0.0), (0.5, 0.9), (0.99, 0.9999), (0.2, 0.95), (0.95, 0.85)])
common = {"lr": st.sampled_from([0.1, 1e-3]), "weight_decay": weight_decays, "maximize": st.booleans()}
adams = common | {
    "betas": betas,
    "eps": st.sampled_from([1e-8, 1e-3, 1.0]),
    "amsgrad": st.booleans(),
}
relatives = common | {"betas": betas, "eps": st.sampled_from([1e-8, 1e-3])}
OPTIONS = {
    "SGD": st.fixed_dictionaries(
        common
        | {
            "momentum": st.sampled_from([0.0, 0.5, 0.9, 0.99]),
            "dampening": st.sampled_from([0.0, 0.1, 0.5]),
            "nesterov": st.booleans(),
        }
    ).map(lambda o: o | {"nesterov": o["nesterov"] and o["momentum"] > 0 and o["dampening"] == 0}),
    "Adam": st.fixed_dictionaries(adams, optional={"decoupled_weight_decay": st.just(True)}),
    "AdamW": st.fixed_dictionaries(adams),
    "RMSprop": st.fixed_dictionaries(
        common
        | {
            "alpha": st.sampled_from([0.99, 0.5, 0.9]),
            "eps": st.sampled_from([1e-8, 1e-2]),
            "momentum": st.sampled_from([0.0, 0.5, 0.9]),
            "centered": st.booleans(),
        }
        # With a smaller alpha the centered square cancels, in torch's float32 as well.
    ).map(lambda o: o | {"centered": o["centered"] and o["alpha"] > 0.5}),
    "Adagrad": st.fixed_dictionaries(
        common
        | {
            "lr_decay": st.sampled_from([0.0, 1e-3, 0.1]),
            "initial_accumulator_value": st.sampled_from([0.0, 0.1, 3.0]),
            "eps": st.sampled_from([1e-10, 1e-2]),
        }
    ),
    "NAdam": st.fixed_dictionaries(
        relatives
        | {"momentum_decay": st.sampled_from([4e-3, 0.0, 0.1]), "decoupled_weight_decay": st.booleans()}
    ),
    # With a beta2 of 0.9999 torch's float64 loses 6 digits in the length of its average.
    "RAdam": st.fixed_dictionaries(
        relatives
        | {
            "betas": st.sampled_from([(0.9, 0.999), (0.0, 0.0), (0.2, 0.95), (0.99, 0.85)]),
            "decoupled_weight_decay": st.booleans(),
        }
    ),
    "Adamax": st.fixed_dictionaries(relatives),
    "Adadelta": st.fixed_dictionaries(
        common | {"rho": st.sampled_from([0.9, 0.5, 0.99]), "eps": st.sampled_from([1e-6, 1e-2])}
    ),
    "Rprop": st.fixed_dictionaries(
        {
            "lr": st.sampled_from([0.1, 1e-3]),
            "maximize": st.booleans(),
            "etas": st.sampled_from([(0.5, 1.2), (0.9, 3.0), (0.3, 1.01)]),
            "step_sizes": st.sampled_from([(1e-6, 50), (1e-3, 1e-2)]),
        }
    ),
    "ASGD": st.fixed_dictionaries(
        common
        | {
            "lambd": st.sampled_from([1e-4, 0.0, 0.1]),
            "alpha": st.sampled_from([0.75, 0.0, 1.0]),
            "t0": st.sampled_from([1e6, 0.0, 10.0]),
        }
    ),
}
WITHOUT_MOMENTUM = {"Adagrad", "Adadelta", "Rprop", "ASGD"}


def step_lr(step_size: int) -> Any:
    return lambda t, optimizer: t.StepLR(optimizer, step_size, gamma=0.5)


CYCLES = {
    "one cycle": lambda t, o: t.OneCycleLR(o, 0.1, NUM_STEPS + 20),
    "one cycle, three phases, linear": lambda t, o: t.OneCycleLR(
        o, 0.1, NUM_STEPS + 1, pct_start=0.27, anneal_strategy="linear", three_phase=True, max_momentum=0.99
    ),
    "cyclic": lambda t, o: t.CyclicLR(o, 0.01, 0.1, step_size_up=7),
    "cyclic, triangular2": lambda t, o: t.CyclicLR(o, 0.01, 0.1, 7, 11, mode="triangular2"),
    "cyclic, exp_range": lambda t, o: t.CyclicLR(o, 0.01, 0.1, 7, 0, mode="exp_range", gamma=0.97),
}


def is_shape(node: Any) -> bool:
    return isinstance(node, tuple)


class TorchSide:
    """A torch optimizer of `SHAPES`. Each of `groups` has the indices of its leaves, and its options."""

    def __init__(self, torch: types.ModuleType, name: Any, options: Any, groups: Any, dtype: Any):
        rng = np.random.default_rng(0)
        sizes = jax.tree.map(lambda _: 10 ** rng.uniform(-2, 1), SHAPES, is_leaf=is_shape)

        def normal(shrunk: float) -> Any:
            """Draw values for each step. Each leaf has its own scale."""

            def draw(size: float, shape: tuple[int, ...]) -> np.ndarray:
                return (shrunk * size * rng.normal(size=(NUM_STEPS, *shape))).astype(dtype)

            return jax.tree.map(draw, sizes, SHAPES)

        self.torch, self.dtype = torch, dtype
        self.params = normal(1 if dtype == np.float64 else 1e-3 * float(options["lr"]))
        self.grads = normal(1)
        tensors = [torch.tensor(leaf[0], requires_grad=True) for leaf in jax.tree.leaves(self.params)]
        groups = [{"params": [tensors[index] for index in indices], **own} for indices, own in groups or []]
        build = getattr(torch.optim, name) if isinstance(name, str) else name
        self.tensors, self.optimizer = tensors, build(groups or tensors, **options)

    def scheduled(self, build: Any, num_epochs: int = 0) -> Any:
        """Build a scheduler of the optimizer and step it `num_epochs` times."""
        scheduler = build(self.torch.optim.lr_scheduler, self.optimizer)
        for _ in range(num_epochs):
            self.optimizer.step()  # without gradients it changes nothing
            scheduler.step()
        return scheduler

    def updates(self, scheduler: Any = None, steps_per_epoch: int = 1, metrics: Any = None) -> Any:
        """Return torch's updates of each leaf at every step."""
        history = []
        for step in range(NUM_STEPS):
            before = [leaf[step] for leaf in jax.tree.leaves(self.params)]
            grads = [leaf[step] for leaf in jax.tree.leaves(self.grads)]
            for tensor, value, grad in zip(self.tensors, before, grads, strict=True):
                tensor.data, tensor.grad = self.torch.tensor(value), self.torch.tensor(grad)
            self.optimizer.step()
            if scheduler is not None and (step + 1) % steps_per_epoch == 0:
                scheduler.step(*([] if metrics is None else [metrics[step // steps_per_epoch]]))
            moved = zip(self.tensors, before, strict=True)
            history.append([tensor.detach().numpy() - value for tensor, value in moved])
        return [np.stack(leaf) for leaf in zip(*history, strict=True)]


def jax_updates(
    side: TorchSide, tx: Any, steps_per_epoch: int = 1, metrics: Any = None, jit: Any = fast_jit
) -> Any:
    """Return our updates of each leaf at every step, from one scan that `jit` compiles."""

    def step(opt_state: Any, inputs: Any) -> tuple[Any, Any]:
        params, grads, count = inputs
        updates, opt_state = tx.update(grads, opt_state, params)
        if metrics is not None:
            stepped = jaxlr.plateau_step(opt_state, jnp.asarray(metrics)[count // steps_per_epoch])
            is_end = (count + 1) % steps_per_epoch == 0
            opt_state = jax.tree.map(lambda new, old: jnp.where(is_end, new, old), stepped, opt_state)
        return opt_state, updates

    @jit
    def run(params: Any, grads: Any) -> Any:
        opt_state = tx.init(jax.tree.map(lambda leaf: leaf[0], params))
        return jax.lax.scan(step, opt_state, (params, grads, jnp.arange(NUM_STEPS)))[1]

    updates = jax.tree.leaves(run(side.params, side.grads))
    assert {leaf.dtype for leaf in updates} == {np.dtype(side.dtype)}
    return updates


def assert_updates_match(ours: Any, torchs: Any, params: Any, rtol: float) -> None:
    """Check that each leaf's updates agree at each step, to `rtol` of the leaf's largest update.

    The difference of torch's parameters may also be wrong by a few roundings of a parameter. An element's
    error is not compared to its own size, because it may have cancelled.
    """
    for own, other, start in zip(ours, torchs, jax.tree.leaves(params), strict=True):
        lost = 2 * np.finfo(start.dtype).eps * np.abs(start).max()
        own, other = (np.asarray(each, np.float64).reshape(NUM_STEPS, -1) for each in (own, other))
        error = np.abs(own - other).max(axis=1)
        allowed = rtol * np.abs(other).max(axis=1) + lost
        step = int(np.argmax(error / allowed))
        assert error[step] <= allowed[step], (
            f"update {step} is off by {error[step]:.3g}, allowed is {allowed[step]:.3g}"
        )


def assert_updates_are_torchs(
    torch: types.ModuleType,
    name: str,
    options: Any,
    groups: Any = None,
    labels: Any = None,
    schedule: Any = None,
    num_epochs: int = 0,
    jit: Any = fast_jit,
    **stepping: Any,
) -> None:
    """Convert the optimizer and compare its updates with torch's, in float64 and in float32."""
    per_epoch = {key: value for key, value in stepping.items() if key == "steps_per_epoch"}
    for dtype, rtol in ((np.float64, X64_RTOL), (np.float32, DEVICE_RTOL)):
        side = TorchSide(torch, name, options, groups, dtype)
        scheduler = side.scheduled(schedule, num_epochs) if schedule else None
        tx = jaxlr.optimizer_from_torch(side.optimizer, scheduler, NUM_STEPS, labels=labels, **per_epoch)
        torchs = side.updates(scheduler, **stepping)
        with enable_x64(dtype == np.float64):
            ours = jax_updates(side, tx, **stepping, jit=jit)
            assert_updates_match(ours, torchs, side.params, rtol)


@pytest.mark.parametrize("name", OPTIONS)
@given(data=st.data())
@settings(max_examples=3, deadline=None)
def test_updates_match_torch_for_any_options(torch, name, data):
    assert_updates_are_torchs(torch, name, data.draw(OPTIONS[name]))


@pytest.mark.parametrize("name", OPTIONS)
def test_updates_match_torch_for_default_options(torch, name):
    """The digits are those of `jax.jit` itself. The other tests compile faster."""
    assert_updates_are_torchs(torch, name, {"lr": 0.01}, jit=jax.jit)


def test_adam_with_zero_betas_matches_torch_for_tiny_gradients(torch):
    assert_updates_are_torchs(torch, "Adam", {"lr": 0.01, "betas": (0.0, 0.0)})


@pytest.mark.parametrize("option", ["foreach", "fused"])
def test_options_that_only_change_speed_are_ignored(torch, option):
    assert_updates_are_torchs(torch, "AdamW", {"lr": 0.01, option: True})


def test_hyperparameters_may_be_tensors(torch):
    def tensor(value: float) -> Any:
        return torch.tensor(value, dtype=torch.float64)

    assert_updates_are_torchs(torch, "SGD", {"lr": tensor(0.1), "weight_decay": tensor(0.3)})
    assert_updates_are_torchs(torch, "Adam", {"lr": tensor(0.1), "betas": (tensor(0.8), tensor(0.99))})


BIASES = {"dense": {"bias": 1, "kernel": 0}, "scale": 1}
OWN_OPTIONS = {
    "SGD": ({"momentum": 0.9, "nesterov": True}, {"lr": 0.01, "momentum": 0.5, "dampening": 0.2}),
    "Adam": ({"betas": (0.5, 0.9), "weight_decay": 0.1}, {"lr": 0.01, "amsgrad": True, "maximize": True}),
    "AdamW": ({"weight_decay": 0.1}, {"lr": 0.01, "weight_decay": 0.0, "eps": 1e-3}),
    "RMSprop": ({"centered": True, "momentum": 0.9}, {"lr": 0.01, "alpha": 0.9}),
    # Torch initializes both groups from the constructor's argument.
    "Adagrad": ({"initial_accumulator_value": 9.0}, {"lr": 0.01, "lr_decay": 0.1}),
}


@pytest.mark.parametrize(
    ("members", "labels"),
    [
        ([(1,), (0, 2)], BIASES),
        ([(1,), (0, 2)], lambda params: jax.tree.map(lambda leaf: int(leaf.ndim == 1), params)),
        ([(0, 1), (2,)], {"dense": 0, "scale": 1}),
    ],
    ids=["tree", "function", "prefix"],
)
def test_labels_assign_parameters_to_groups(torch, members, labels):
    groups = list(zip(members, OWN_OPTIONS["SGD"], strict=True))
    assert_updates_are_torchs(torch, "SGD", {"lr": 0.1}, groups, labels)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "Adagrad"])
def test_each_group_has_its_own_options(torch, name):
    groups = list(zip([(1,), (0, 2)], OWN_OPTIONS[name], strict=True))
    assert_updates_are_torchs(torch, name, {"lr": 0.1}, groups, BIASES)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.9, "weight_decay": 0.1}),
        ("AdamW", {"weight_decay": 0.1}),
        ("Adagrad", {"weight_decay": 0.1}),
        ("ASGD", {"lambd": 0.1}),  # its learning rate is that of one update before
        ("Rprop", {}),  # torch's scheduler does not change its updates
    ],
)
def test_scheduler_steps_at_the_same_updates_as_torch(torch, name, options):
    options = {"lr": 0.1} | options
    assert_updates_are_torchs(torch, name, options, schedule=step_lr(3), steps_per_epoch=7)


def test_live_scheduler_continues_from_its_epoch_in_every_group(torch):
    groups = [((1,), {}), ((0, 2), {"lr": 0.02})]
    options = {"lr": 0.1, "momentum": 0.5}
    assert_updates_are_torchs(
        torch, "RMSprop", options, groups, BIASES, schedule=step_lr(30), num_epochs=20
    )


@pytest.mark.parametrize("cycle", CYCLES)
@pytest.mark.parametrize(("name", "options"), [("SGD", {"momentum": 0.9, "nesterov": True}), ("AdamW", {})])
def test_momentum_cycles_like_torch(torch, cycle, name, options):
    assert_updates_are_torchs(torch, name, {"lr": 0.1} | options, schedule=CYCLES[cycle])


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"dampening": 0.1}), ("RMSprop", {"centered": True})]
)
def test_scheduler_may_cycle_a_momentum_of_0(torch, name, options):
    assert_updates_are_torchs(torch, name, {"lr": 0.1} | options, schedule=CYCLES["one cycle"])


@pytest.mark.parametrize("name", ["SGD", "Adam"])
@pytest.mark.parametrize("cycle", ["OneCycleLR", "CyclicLR"])
def test_momentum_cycle_continues_in_every_group(torch, name, cycle):
    def schedule(t: Any, optimizer: Any) -> Any:
        momenta = {"base_momentum": [0.8, 0.7], "max_momentum": [0.9, 0.99]}
        if cycle == "OneCycleLR":
            return t.OneCycleLR(optimizer, [0.1, 0.01], 50, **momenta)
        return t.CyclicLR(optimizer, 0.01, [0.1, 0.02], 6, **momenta)

    groups = [((1,), {}), ((0, 2), {})]
    more = {"schedule": schedule, "num_epochs": 20, "steps_per_epoch": 4}
    assert_updates_are_torchs(torch, name, {"lr": 0.1}, groups, BIASES, **more)


@pytest.mark.parametrize(
    ("name", "options"), [("SGD", {"momentum": 0.9}), ("AdamW", {"weight_decay": 0.1})]
)
def test_live_plateau_continues_to_reduce_every_group(torch, name, options):
    def schedule(t: Any, optimizer: Any) -> Any:
        scheduler = t.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=[0.01, 0.0])
        for metric in (1.1, 1.2, 1.2, 1.2):  # reduced once, and one bad epoch since then
            scheduler.step(metric)
        return scheduler

    groups = [((1,), {}), ((0, 2), {"lr": 0.02})]
    metrics = [1.0, 0.5, 0.6, 0.7, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4]
    more = {"schedule": schedule, "steps_per_epoch": 10, "metrics": metrics}
    assert_updates_are_torchs(torch, name, {"lr": 0.1} | options, groups, BIASES, **more)


def test_learning_rate_of_each_group_can_be_read_from_its_plateau(torch):
    side = TorchSide(torch, "SGD", {"lr": 0.1}, [((1,), {}), ((0, 2), {"lr": 0.02})], np.float32)
    scheduler = side.scheduled(lambda t, optimizer: t.ReduceLROnPlateau(optimizer, patience=0))
    tx = jaxlr.optimizer_from_torch(side.optimizer, scheduler, labels=BIASES)
    opt_state: Any = tx.init(side.params)
    for metric in (1.0, 1.0):
        scheduler.step(metric)
        opt_state = jaxlr.plateau_step(opt_state, metric)
    for index, group in enumerate(side.optimizer.param_groups):
        assert_close(jaxlr.plateau_lr(opt_state.inner_states[index]), group["lr"], DEVICE_RTOL)


@pytest.mark.parametrize("beta2", [0.9, 0.999, 0.999999])
def test_bias_correction_of_adam_is_exact_at_every_count(torch, beta2):
    betas = np.asarray([0.9, beta2])
    tx = jaxlr.optimizer_from_torch(torch.optim.Adam([torch.zeros(1)], lr=1.0, betas=(0.9, beta2)))
    grad = np.asarray([-1.0, 1e-3, 5.0], np.float32)
    opt_state: Any = tx.init(grad)
    update: Any = jax.jit(tx.update)
    for count in (0, 1, 9, 99, 999, 9_999, 99_999):
        # If the gradient never changes, the corrected moments are the gradient and its square.
        mu, nu = (1 - betas**count).astype(np.float32)
        adam, *others = opt_state.inner_state
        adam = adam._replace(count=np.int32(count), mu=mu * grad, nu=nu * grad**2)
        updates, _ = update(grad, opt_state._replace(inner_state=(adam, *others)))
        assert_close(updates, -grad / (abs(grad) + 1e-8), DEVICE_RTOL)


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("name", OPTIONS)
def test_updates_and_state_keep_the_dtype_of_the_parameters(torch, name, dtype, x64):
    options = {"lr": 0.1} if name == "Rprop" else {"lr": 0.1, "weight_decay": 0.1}
    side = TorchSide(torch, name, options, None, np.float32)
    scheduler = None if name in WITHOUT_MOMENTUM else side.scheduled(CYCLES["one cycle"])
    tx = jaxlr.optimizer_from_torch(side.optimizer, scheduler)
    with enable_x64(x64):
        params = jax.tree.map(lambda shape: jnp.zeros(shape, dtype), SHAPES, is_leaf=is_shape)
        opt_state = jax.eval_shape(tx.init, params)
        updates, new_state = jax.eval_shape(tx.update, params, opt_state, params)
    assert updates == jax.eval_shape(lambda: params)
    assert new_state == opt_state


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("SGD", {"momentum": 0.999}),
        ("AdamW", {}),
        ("RMSprop", {"momentum": 0.9}),
        ("Adagrad", {"lr_decay": 0.01}),
    ],
)
def test_bfloat16_updates_are_more_exact_than_torch(torch, name, options):
    grads = jnp.asarray(np.random.default_rng(0).normal(0.5, size=(NUM_STEPS, 200)), jnp.bfloat16)

    def optimizer_of(dtype: Any) -> tuple[Any, Any]:
        param = torch.zeros(200, dtype=dtype, requires_grad=True)
        return param, getattr(torch.optim, name)([param], lr=0.1, **options)

    def torch_updates(dtype: Any) -> np.ndarray:
        param, optimizer = optimizer_of(dtype)
        updates = []
        for grad in np.asarray(grads, np.float64):
            param.data, param.grad = torch.zeros(200, dtype=dtype), torch.tensor(grad, dtype=dtype)
            optimizer.step()
            updates.append(param.detach().double().numpy())
        return np.stack(updates)

    tx = jaxlr.optimizer_from_torch(optimizer_of(torch.bfloat16)[1])
    zeros = jnp.zeros_like(grads[0])

    def step(opt_state: Any, grad: jax.Array) -> tuple[Any, Any]:
        updates, opt_state = tx.update(grad, opt_state, zeros)
        return opt_state, updates

    _, ours = jax.lax.scan(step, tx.init(zeros), grads)
    exact = torch_updates(torch.float64)
    error, torchs_error = (
        np.linalg.norm(np.asarray(updates, np.float64) - exact)
        for updates in (ours, torch_updates(torch.bfloat16))
    )
    assert error < torchs_error < 0.05 * np.linalg.norm(exact)


def test_subclass_without_its_own_step_is_converted_like_its_parent(torch):
    class Named(torch.optim.SGD):
        def __init__(self, params: Any, name: str, **options: Any):
            super().__init__(params, **options)
            self.name = name

    named = Named([torch.zeros(1)], "mine", lr=0.1)
    tx = jaxlr.optimizer_from_torch(named)
    updates: Any = tx.update(jnp.ones(1), tx.init(jnp.ones(1)))[0]
    assert_close(updates, [-0.1], DEVICE_RTOL)


def test_the_average_of_asgd_is_that_of_torch(torch):
    side = TorchSide(torch, "ASGD", {"lr": 0.1, "t0": 20, "lambd": 0.1}, None, np.float64)
    tx = jaxlr.optimizer_from_torch(side.optimizer)
    with enable_x64():
        opt_state = tx.init(jax.tree.map(lambda leaf: leaf[0], side.params))
        for step in range(30):
            params, grads = (
                jax.tree.map(lambda leaf, s=step: leaf[s], t) for t in (side.params, side.grads)
            )
            _, opt_state = jax.jit(tx.update)(grads, opt_state, params)
            for tensor, value, grad in zip(
                side.tensors, jax.tree.leaves(params), jax.tree.leaves(grads), strict=True
            ):
                tensor.data, tensor.grad = torch.tensor(value), torch.tensor(grad)
            side.optimizer.step()
        averages = jax.tree.leaves(optax.tree.get(opt_state, "ax"))
        for own, tensor in zip(averages, side.tensors, strict=True):
            assert_close(own, side.optimizer.state[tensor]["ax"].numpy(), X64_RTOL)


@pytest.mark.parametrize("name", ["Rprop", "ASGD", "Adafactor"])
def test_a_plateau_of_a_rule_with_its_own_rate_is_refused(torch, name):
    optimizer = getattr(torch.optim, name)([torch.zeros(1)])
    with pytest.raises(ValueError, match="it cannot have a plateau"):
        jaxlr.optimizer_from_torch(optimizer, jaxlr.reduce_lr_on_plateau(0.1))


def test_conversion_does_not_change_the_objects(torch):
    side = TorchSide(torch, "AdamW", {"lr": 0.1}, [((1,), {}), ((0, 2), {})], np.float32)
    scheduler = side.scheduled(CYCLES["one cycle"], num_epochs=3)
    before = [copy.deepcopy(each.state_dict()) for each in (side.optimizer, scheduler)]
    jaxlr.optimizer_from_torch(side.optimizer, scheduler, labels=BIASES)
    assert [each.state_dict() for each in (side.optimizer, scheduler)] == before


@pytest.mark.parametrize("name", ["LBFGS", "SparseAdam"])
def test_unsupported_optimizer_is_refused_by_name(torch, name):
    optimizer = getattr(torch.optim, name)([torch.zeros(1)])
    with pytest.raises(TypeError, match=f"got a {name}; jaxlr converts torch's SGD, Adam, AdamW, RMSprop"):
        jaxlr.optimizer_from_torch(optimizer)


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("Lion", "bitsandbytes.optim.lion"),
        ("Lion", "lion_pytorch.cautious_lion"),
        ("Lamb", "torch_optimizer.lamb"),
        ("Adafactor", "timm.optim.adafactor"),
    ],
)
def test_an_optimizer_of_another_package_is_refused_by_name(torch, name, module):
    other = type(name, (torch.optim.Optimizer,), {"__module__": module, "step": lambda self: None})
    with pytest.raises(TypeError, match=rf"got a {name} of {module}; .*, and Lion and Lamb of timm"):
        jaxlr.optimizer_from_torch(other([torch.zeros(1)], {"lr": 0.1}))


@pytest.mark.parametrize("method", ["step", "_init_group"])
def test_subclass_with_its_own_step_is_refused(torch, method):
    own = type("Own", (torch.optim.Adam,), {method: lambda *args, **kwargs: None})
    with pytest.raises(TypeError, match="Own overrides the step of Adam"):
        jaxlr.optimizer_from_torch(own([torch.zeros(1)]))


def test_optimizer_whose_step_was_replaced_is_refused(torch):
    optimizer = torch.optim.Adam([torch.zeros(1)])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)  # it wraps the step, and changes nothing
    assert jaxlr.optimizer_from_torch(optimizer, scheduler)
    optimizer.step = lambda: None
    with pytest.raises(TypeError, match="the step of this Adam was replaced"):
        jaxlr.optimizer_from_torch(optimizer, scheduler)


@pytest.mark.parametrize("thing", [None, "SGD", 0.1, optax.sgd(0.1)])
def test_object_that_is_not_a_torch_optimizer_is_refused(thing):
    with pytest.raises(
        TypeError, match="optimizer must be a live torch optimizer with an equivalent here, got a"
    ):
        jaxlr.optimizer_from_torch(thing)


REFUSED = {
    "a beta of 1": ("Adam", {"betas": (0.9, 1.0)}, "betas must be below 1"),
    "a beta of NaN": ("AdamW", {"betas": (float("nan"), 0.9)}, "beta1 must be a finite number"),
    "a negative lr": ("SGD", {"lr": -0.1}, "lr must be a finite number of at least 0, got -0.1"),
    "an lr of no number": ("SGD", {"lr": "0.1"}, "lr of the optimizer must be a number"),
    "etas of one side": ("Rprop", {"etas": (1.1, 1.2)}, "etas of the optimizer must lie below and above 1"),
    "one beta": ("Adam", {"betas": 0.9}, "betas of the optimizer must be 2 numbers, got 0.9"),
    "one eps": ("Adafactor", {"eps": 1e-3}, "eps of the optimizer must be 2 numbers"),
    "two eps": ("Adam", {"eps": (1e-8, 1e-3)}, "eps of the optimizer must be a number"),
    "one eta": ("Rprop", {"etas": (0.5,)}, "etas of the optimizer must be 2 numbers"),
    "a damped Nesterov": (
        "SGD",
        {"momentum": 0.9, "nesterov": True, "dampening": 0.1},
        "nesterov needs a dampening of 0",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_hyperparameter_edited_out_of_its_range_is_refused(torch, case):
    name, edit, message = REFUSED[case]
    optimizer = getattr(torch.optim, name)([torch.zeros(1)], lr=0.1)
    optimizer.param_groups[0].update(edit)
    with pytest.raises((TypeError, ValueError), match=message):
        jaxlr.optimizer_from_torch(optimizer)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (None, r"has 2 parameter groups: pass labels, .* \(0 to 1\)"),
        ({"a": 0, "b": 2}, "a group of the optimizer, 0 to 1, got 2"),
        ({"a": 0, "b": -1}, "a group of the optimizer, 0 to 1, got -1"),
        ({"a": 0, "b": "decay"}, "a group of the optimizer, 0 to 1, got 'decay'"),
        ({"a": 0, "b": jnp.asarray(1)}, "a group of the optimizer, 0 to 1, got Array"),
    ],
)
def test_missing_or_wrong_labels_are_refused(torch, labels, message):
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(1)]}], lr=0.1)
    with pytest.raises(ValueError, match=message):
        jaxlr.optimizer_from_torch(optimizer, labels=labels)


def test_scheduler_of_another_optimizer_is_refused(torch):
    mine, other = (torch.optim.SGD([torch.zeros(1)], lr=0.1) for _ in range(2))
    for scheduler in (step_lr(3)(torch.optim.lr_scheduler, other), "StepLR(3)"):
        with pytest.raises(
            ValueError, match=f"got a {type(scheduler).__name__} that belongs to another one or to none"
        ):
            jaxlr.optimizer_from_torch(mine, scheduler)


def test_each_group_may_have_a_schedule_or_a_plateau_of_its_own(torch):
    groups = [((1,), {}), ((0, 2), {"lr": 0.02})]
    side = TorchSide(torch, "SGD", {"lr": 0.1, "momentum": 0.9}, groups, np.float64)

    def factors(t: Any, optimizer: Any) -> Any:
        return t.LambdaLR(optimizer, [lambda epoch: 0.5 ** (epoch // 3), lambda epoch: 1.0])

    scheduler = side.scheduled(factors)
    rates = [jaxlr.step_lr(0.1, 3, gamma=0.5), jaxlr.reduce_lr_on_plateau(0.02)]
    tx = jaxlr.optimizer_from_torch(side.optimizer, rates, labels=BIASES, steps_per_epoch=7)
    torchs = side.updates(scheduler, steps_per_epoch=7)
    with enable_x64():
        assert_updates_match(jax_updates(side, tx), torchs, side.params, X64_RTOL)


def test_one_schedule_serves_all_groups(torch):
    optimizer = torch.optim.SGD([{"params": [torch.zeros(1)]}, {"params": [torch.zeros(2)]}], lr=0.1)
    tx = jaxlr.optimizer_from_torch(optimizer, optax.constant_schedule(0.3), labels={"a": 0, "b": 1})
    params = {"a": jnp.ones(1), "b": jnp.ones(2)}
    updates: Any = tx.update(params, tx.init(params), params)[0]
    assert_close(jnp.concatenate([updates["a"], updates["b"]]), [-0.3] * 3, DEVICE_RTOL)


@pytest.mark.parametrize(
    ("scheduler", "kind", "message"),
    [
        ([], ValueError, "a schedule for each of the 1 groups, got 0"),
        ([0.1], TypeError, r"scheduler\[0\] must be a schedule or a plateau, got 0.1"),
        ([optax.sgd(0.1)], TypeError, r"scheduler\[0\] must be a schedule or a plateau"),
        (0.1, ValueError, "a torch scheduler of this optimizer, a schedule or a plateau, got a float"),
    ],
)
def test_what_is_no_schedule_is_refused(torch, scheduler, kind, message):
    with pytest.raises(kind, match=message):
        jaxlr.optimizer_from_torch(torch.optim.SGD([torch.zeros(1)], lr=0.1), scheduler)


@pytest.mark.parametrize("cycle", ["one cycle", "cyclic"])
def test_a_schedule_that_would_stop_a_cycle_of_the_momentum_is_refused(torch, cycle):
    optimizer = torch.optim.Adam([torch.zeros(1)], lr=0.1)
    CYCLES[cycle](torch.optim.lr_scheduler, optimizer)
    with pytest.raises(ValueError, match="a OneCycleLR or CyclicLR cycles the momentum"):
        jaxlr.optimizer_from_torch(optimizer, jaxlr.step_lr(0.1, 3))


def test_momentum_cycle_without_closed_form_is_refused(torch):
    t = torch.optim.lr_scheduler

    def refused(build: Any, message: str) -> None:
        optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.1, momentum=0.9)
        with pytest.raises(ValueError, match=message):
            jaxlr.optimizer_from_torch(optimizer, build(optimizer), NUM_STEPS)

    class Own(t.CyclicLR):
        pass

    def nested(o: Any) -> Any:
        sequence = t.SequentialLR(o, [t.ConstantLR(o), CYCLES["one cycle"](t, o)], [5])
        return t.ChainedScheduler([sequence, t.StepLR(o, 30)])

    refused(
        lambda o: Own(o, 0.1, 0.2),
        "but Own is not one of torch's own classes: give it cycle_momentum=False",
    )
    refused(nested, "but ChainedScheduler contains a OneCycleLR that does: give it cycle_momentum=False")
    refused(
        lambda o: t.CyclicLR(o, 0.1, 0.2, base_momentum=0.0),
        "CyclicLR must lie between 0 and 1, got 0.0 and 0.9",
    )


@pytest.mark.parametrize("steps_per_epoch", [0, -1, 1.5])
def test_steps_per_epoch_must_be_a_positive_whole_number(torch, steps_per_epoch):
    with pytest.raises(ValueError, match="steps_per_epoch must be a whole number"):
        jaxlr.optimizer_from_torch(
            torch.optim.SGD([torch.zeros(1)], lr=0.1), steps_per_epoch=steps_per_epoch
        )


def test_complex_parameters_are_refused(torch):
    tx = jaxlr.optimizer_from_torch(torch.optim.Adam([torch.zeros(1)]))
    with pytest.raises(TypeError, match="parameters must be real"):
        tx.init(jnp.zeros(1, jnp.complex64))
