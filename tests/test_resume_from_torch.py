"""A run that torch began and JAX continues, beside torch itself."""

import copy
import types
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, relative_error

import jaxlr
from jaxlr._compat import enable_x64
from jaxlr.convert.optimizers.muon import orthogonalized


NUM_STEPS = 200
RTOL = 1e-5
INPUTS = np.random.default_rng(0).normal(size=(8, 4))
TARGETS = np.sin(INPUTS @ np.random.default_rng(1).normal(size=(4, 2)))

# Every option that adds a field to the state.
OPTIMIZERS = {
    "SGD": {"momentum": 0.9, "nesterov": True, "weight_decay": 1e-3},
    "SGD, damped": {"momentum": 0.8, "dampening": 0.3},
    "SGD, plain": {},
    "Adam": {"weight_decay": 1e-3},
    "Adam, amsgrad": {"amsgrad": True},
    "AdamW": {"betas": (0.8, 0.95)},
    "AdamW, amsgrad": {"amsgrad": True},
    "RMSprop": {},
    "RMSprop, centered": {"momentum": 0.9, "centered": True},
    "Adagrad": {"lr_decay": 0.01, "initial_accumulator_value": 0.1},
    "NAdam": {},
    "RAdam": {"betas": (0.9, 0.99), "weight_decay": 1e-3, "decoupled_weight_decay": True},
    "Adamax": {},
    "Adadelta": {"lr": 1.0},
    "Adafactor": {"weight_decay": 0.1},
    "Rprop": {},
    "ASGD": {"lr": 0.3, "lambd": 1e-2, "t0": 60, "weight_decay": 1e-3},
}


def params_from_torch(weights: Any) -> Any:
    """Return the weights with Flax's names and layouts, and the two blocks stacked."""
    blocks = [np.asarray(weights[f"{index}.weight"]).T for index in (1, 2)]
    return {
        "conv": {
            "kernel": jnp.asarray(np.asarray(weights["0.weight"]).transpose(2, 1, 0)),
            "bias": jnp.asarray(np.asarray(weights["0.bias"])),
        },
        "blocks": jnp.stack(blocks),
        "head": {
            "kernel": jnp.asarray(np.asarray(weights["3.weight"]).T),
            "bias": jnp.asarray(np.asarray(weights["3.bias"])),
        },
    }


def loss_of(params: Any, inputs: Any) -> jax.Array:
    # A convolution of width 1 is a product with its kernel of shape (1, in, out).
    hidden = inputs @ params["conv"]["kernel"][0] + params["conv"]["bias"][None]
    for block in params["blocks"]:
        hidden = jnp.tanh(hidden @ block)
    outputs = hidden @ params["head"]["kernel"] + params["head"]["bias"][None]
    return jnp.mean((outputs - TARGETS) ** 2)


class TorchRun:
    """A torch model with its optimizer and scheduler, in float64."""

    def __init__(self, torch: Any, case: str, build: Any = None, *, groups: bool = False, **options: Any):
        torch.manual_seed(0)
        self.torch, self.name = torch, case.split(",")[0]
        nn, dtype = torch.nn, torch.float64
        self.model = nn.Sequential(
            nn.Conv1d(4, 5, 1, dtype=dtype),
            nn.Linear(5, 5, bias=False, dtype=dtype),
            nn.Linear(5, 5, bias=False, dtype=dtype),
            nn.Linear(5, 2, dtype=dtype),
        )
        named = dict(self.model.named_parameters())
        params: Any = [*named.values()]
        if groups:
            biases = [named["3.bias"], named["0.bias"]]  # not in the order of the model
            others = [each for each in params if each.ndim > 1]
            params = [{"params": others}, {"params": biases, "lr": 0.005}]
        options = {"lr": 0.01} | OPTIMIZERS.get(case, {}) | options
        self.optimizer = getattr(torch.optim, self.name)(params, **options)
        self.scheduler = build(torch.optim.lr_scheduler, self.optimizer) if build else None

    def train(self, first: int, end: int, steps_per_epoch: int = 1, metric: Any = None) -> None:
        inputs, targets = self.torch.tensor(INPUTS), self.torch.tensor(TARGETS)
        conv, *blocks, head = self.model
        for step in range(first, end):
            self.optimizer.zero_grad()
            hidden = conv(inputs.T).T
            for block in blocks:
                hidden = self.torch.tanh(block(hidden))
            ((head(hidden) - targets) ** 2).mean().backward()
            self.optimizer.step()
            if self.scheduler is not None and (step + 1) % steps_per_epoch == 0:
                self.scheduler.step(*([] if metric is None else [metric(step // steps_per_epoch)]))

    def params(self) -> Any:
        weights = self.model.state_dict()  # JAX may share its memory, which torch changes later
        return params_from_torch({name: each.clone() for name, each in weights.items()})


def continued(
    tx: Any, opt_state: Any, params: Any, first: int = 0, steps_per_epoch: int = 1, metric: Any = None
) -> Any:
    """Return the parameters after the other steps, from one compiled scan."""
    metrics = None if metric is None else jnp.asarray([metric(epoch) for epoch in range(NUM_STEPS)])

    def step(carry: Any, count: jax.Array) -> tuple[Any, None]:
        params, opt_state = carry
        updates, opt_state = tx.update(jax.grad(loss_of)(params, INPUTS), opt_state, params)
        if metrics is not None:
            stepped = jaxlr.plateau_step(opt_state, metrics[count // steps_per_epoch])
            is_end = (count + 1) % steps_per_epoch == 0
            opt_state = jax.tree.map(lambda new, old: jnp.where(is_end, new, old), stepped, opt_state)
        return (optax.apply_updates(params, updates), opt_state), None

    steps = jnp.arange(first, NUM_STEPS)
    (params, _), _ = jax.jit(lambda *carry: jax.lax.scan(step, carry, steps))(params, opt_state)
    return params


def assert_continues(run: TorchRun, done: int = 37, saved: bool = False, **more: Any) -> None:
    """Train in torch, take the run over, and compare the weights after all steps of both."""
    metric = more.pop("metric", None)
    per_epoch = {"steps_per_epoch": more.get("steps_per_epoch", 1)}
    run.train(0, done, metric=metric, **per_epoch)
    with enable_x64():
        source: Any = run.optimizer
        weights: Any = run.model
        if saved:
            source = copy.deepcopy(source.state_dict())
            weights = copy.deepcopy(weights.state_dict())
            more |= {"class_name": run.name}
        elif run.scheduler is not None:
            more |= {"scheduler": run.scheduler}
        tx, opt_state = jaxlr.resume_from_torch(source, params_from_torch, weights, **more)
        params = run.params()
        run.train(done, NUM_STEPS, metric=metric, **per_epoch)  # the state must not share torch's memory
        ours = continued(tx, opt_state, params, done, metric=metric, **per_epoch)
        for own, torchs in zip(jax.tree.leaves(ours), jax.tree.leaves(run.params()), strict=True):
            assert_close(own, torchs, RTOL)


@pytest.mark.parametrize("case", OPTIMIZERS)
def test_training_continues_as_in_torch(torch, case):
    assert_continues(TorchRun(torch, case))


@pytest.mark.parametrize("case", ["SGD", "AdamW, amsgrad", "Adagrad"])
def test_a_checkpoint_continues_as_in_torch(torch, case):
    run = TorchRun(torch, case, groups=True)
    names = ["0.weight", "1.weight", "2.weight", "3.weight", "3.bias", "0.bias"]
    assert_continues(run, saved=True, names=names)


SCHEDULERS = {
    "cosine": lambda t, o: t.CosineAnnealingLR(o, 20),
    "one cycle": lambda t, o: t.OneCycleLR(o, [0.02, 0.01], 40),
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("case", ["SGD, damped", "Adam"])
def test_a_schedule_continues_in_the_middle_of_an_epoch_and_of_its_curve(torch, case, scheduler):
    run = TorchRun(torch, case, SCHEDULERS[scheduler], groups=True)
    assert_continues(run, steps_per_epoch=10, first_step=7)


@pytest.mark.parametrize("case", ["RMSprop, centered", "Adagrad"])
def test_a_plateau_continues_with_its_counters(torch, case):
    run = TorchRun(torch, case, lambda t, o: t.ReduceLROnPlateau(o, factor=0.5, patience=1), groups=True)
    assert_continues(run, steps_per_epoch=10, first_step=7, metric=lambda epoch: 1.0 - 0.1 * min(epoch, 2))


@pytest.mark.parametrize("name", ["OneCycleLR", "StepLR"])
def test_a_checkpoint_continues_with_the_state_dict_of_its_scheduler(torch, name):
    """Every group has its own schedule, and OneCycleLR cycles beta1."""
    settings: Any = {"OneCycleLR": ([0.02, 0.01], 40), "StepLR": (7,)}[name]
    run = TorchRun(torch, "AdamW", lambda t, o: getattr(t, name)(o, *settings), groups=True)
    run.train(0, 37, steps_per_epoch=10)
    saved = cast("Any", run.scheduler).state_dict()
    run = TorchRun(torch, "AdamW", lambda t, o: getattr(t, name)(o, *settings), groups=True)
    names = [["0.weight", "1.weight", "2.weight", "3.weight"], ["3.bias", "0.bias"]]
    more = {"scheduler": saved, "scheduler_class_name": name, "steps_per_epoch": 10, "first_step": 7}
    assert_continues(run, saved=True, names=names, **more)


def test_names_come_from_an_optimizer_that_has_them(torch):
    run = TorchRun(torch, "Adam")
    run.optimizer = torch.optim.Adam(run.model.named_parameters(), lr=0.01)
    assert_continues(run, saved=True)


@pytest.mark.parametrize("done", [0, 1, 2])
def test_a_run_may_be_taken_over_at_any_update(torch, done):
    assert_continues(TorchRun(torch, "SGD, damped"), done)


def grouped(torch: Any, rule: Any = None) -> tuple[Any, Any, list[list[str]]]:
    """Return a model with tied weights and buffers, its optimizer after an update, and the names."""
    nn = torch.nn
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 3), nn.Linear(3, 4, bias=False))
    model[3].weight = model[0].weight
    named = dict(model.named_parameters())
    rule = rule or (lambda name: named[name].ndim < 2)
    names = [[name for name in named if rule(name) is group] for group in (False, True)]
    groups = [{"params": [named[name] for name in group]} for group in names if group]
    adam = torch.optim.Adam(groups)
    model(torch.ones(2, 3)).square().sum().backward()
    adam.step()
    return model, adam, [group for group in names if group]


@pytest.mark.parametrize("rule", [None, lambda name: False, lambda name: name.startswith("2.")])
def test_names_of_a_saved_optimizer_are_found(torch, rule):
    model, adam, names = grouped(torch, rule)
    saved = adam.state_dict()
    assert jaxlr.parameter_names(saved, model) == names
    assert jaxlr.parameter_names(saved, model.state_dict()) == names
    assert jaxlr.parameter_names(adam, model) == names


def test_names_are_found_where_some_parameters_have_no_state(torch):
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    sgd = torch.optim.SGD(model.parameters(), momentum=0.9)
    model[0].requires_grad_(False)
    model(torch.ones(1, 2)).sum().backward()
    sgd.step()
    names = [["0.weight", "0.bias", "1.weight", "1.bias"]]
    assert jaxlr.parameter_names(sgd.state_dict(), model) == names
    plain = torch.optim.SGD(model.parameters())
    assert jaxlr.parameter_names(plain.state_dict(), model) == names


def test_names_of_an_adafactor_are_found(torch):
    model = torch.nn.Linear(3, 2)
    adafactor = torch.optim.Adafactor(model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    adafactor.step()
    assert jaxlr.parameter_names(adafactor.state_dict(), model) == [["weight", "bias"]]


def alphabetical(model: Any) -> Any:
    return dict(sorted(model.state_dict().items()))


@pytest.mark.parametrize(
    ("rule", "weights", "message"),
    [
        (lambda name: name.endswith("bias"), lambda model: model, "several groups have parameters of sh"),
        (
            None,
            alphabetical,
            "the weights are in alphabetical order, .*: pass the model itself; or write a",
        ),
        (None, lambda model: model[:2], r"has 1 parameters of shape \(3, 4\), and the model 0"),
        (None, lambda model: {"0.weight": model[0].weight}, "and the model 0"),
    ],
)
def test_names_that_are_ambiguous_are_refused(torch, rule, weights, message):
    model, adam, _ = grouped(torch, rule)
    with pytest.raises(ValueError, match=message):
        jaxlr.parameter_names(adam.state_dict(), weights(model))


def test_names_in_another_order_are_refused(torch):
    model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3), torch.nn.Linear(3, 2))
    for params in ([*model.parameters()][::-1], [*model[2].parameters(), *model[:2].parameters()]):
        adam = torch.optim.Adam(params)
        model(torch.ones(2, 3)).sum().backward()
        adam.step()
        with pytest.raises(ValueError, match="group 0 is not in the order of the model"):
            jaxlr.parameter_names(adam.state_dict(), model)


def test_names_need_a_model_and_an_optimizer(torch):
    model, adam, _ = grouped(torch)
    with pytest.raises(TypeError, match="model must be the torch model or its state_dict"):
        jaxlr.parameter_names(adam.state_dict(), [*model.parameters()])
    for thing in ({"optimizer": adam.state_dict()}, model):
        with pytest.raises(ValueError, match="optimizer must be a torch optimizer or its state_dict"):
            jaxlr.parameter_names(thing, model)
    groups = [{"params": [model[0].weight]}, {"params": [model[0].bias]}]
    with pytest.raises(ValueError, match="the optimizer has parameters without a state"):
        jaxlr.parameter_names(torch.optim.SGD(groups).state_dict(), model[0])


def wrapper(name: str, optimizer: Any) -> Any:
    """Return an optimizer in a class like those of Accelerate and Lightning, with a step of its own."""
    contents = {
        "__init__": object.__init__,
        "__getstate__": lambda self: dict(vars(self)),
        "__setstate__": lambda self, state: vars(self).update(state),
        "param_groups": property(lambda self: self.optimizer.param_groups),
        "step": None,
    }
    wrapped: Any = type("Wrapped", (type(name, (), {}), type(optimizer)), contents)()
    wrapped.optimizer = optimizer
    return wrapped


@pytest.mark.parametrize("name", ["AcceleratedOptimizer", "LightningOptimizer", "_FabricOptimizer"])
def test_a_wrapped_optimizer_is_unwrapped(torch, name):
    model, adam = stepped(torch)
    scheduler = torch.optim.lr_scheduler.StepLR(adam, 1)
    wrapped = scheduler.optimizer = wrapper(name, adam)
    for optimizer in (adam, wrapped):
        _, opt_state = jaxlr.resume_from_torch(optimizer, linear, model, scheduler, first_step=0)
        assert opt_state.inner_state[0].count == 3
    with pytest.warns(UserWarning, match="moments are left behind"):
        jaxlr.optimizer_from_torch(wrapped)


def test_a_wrapped_scheduler_is_refused_with_its_attribute(torch):
    model, adam = stepped(torch)
    wrapped = types.SimpleNamespace(scheduler=step_lr(torch.optim.lr_scheduler, adam))
    with pytest.raises(TypeError, match="give the scheduler in it, its attribute 'scheduler'"):
        jaxlr.resume_from_torch(adam, linear, model, wrapped)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("clip_threshold", 1.0),
        ("caution", True),
        ("correct_bias", True),
        ("correct_bias", False),
        ("bias_correction", False),
    ],
)
def test_a_checkpoint_of_another_library_is_refused(torch, key, value):
    model, adam = stepped(torch)
    saved = adam.state_dict()
    saved["param_groups"][0][key] = value
    with pytest.raises(ValueError, match=f"the param_groups have '{key}' and belong to "):
        jaxlr.resume_from_torch(saved, linear, model, class_name="Adam")


def test_moments_in_bfloat16_beside_arrays(torch):
    """Weights from a file of safetensors are arrays, and a run in bfloat16 has moments without them."""
    model = torch.nn.Linear(3, 2, dtype=torch.bfloat16)
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    adam.step()
    weights = {name: np.asarray(weight.float()) for name, weight in model.state_dict().items()}
    _, opt_state = jaxlr.resume_from_torch(
        adam.state_dict(), linear, weights, class_name="Adam", names=["weight", "bias"]
    )
    expected = adam.state[model.bias]["exp_avg"].float().numpy()
    np.testing.assert_array_equal(opt_state.inner_state[0].mu["bias"], expected)


def test_a_saved_scheduler_needs_its_class_and_its_functions(torch):
    model, adam = stepped(torch, build=step_lr)
    scheduler: Any = torch.optim.lr_scheduler.LambdaLR(adam, lambda epoch: 0.5**epoch)
    more: Any = {"optimizer": adam, "params_from_torch": linear, "weights": model}
    with pytest.raises(ValueError, match=r"scheduler_class_name must be the torch class .* as 'StepLR'"):
        jaxlr.resume_from_torch(**more, scheduler=scheduler.state_dict())
    both = torch.optim.lr_scheduler.ChainedScheduler([scheduler])
    with pytest.raises(ValueError, match=r"does not contain the functions of ChainedScheduler: pass jaxlr"):
        jaxlr.resume_from_torch(
            **more, scheduler=both.state_dict(), scheduler_class_name="ChainedScheduler"
        )
    with pytest.raises(ValueError, match=r"functions of LambdaLR: pass jaxlr\.starting_at\(schedule, 0\)"):
        jaxlr.resume_from_torch(**more, scheduler=scheduler.state_dict(), scheduler_class_name="LambdaLR")
    with pytest.raises(ValueError, match="scheduler_class_name is for a saved scheduler: leave it out"):
        jaxlr.resume_from_torch(**more, scheduler_class_name="LambdaLR")


def test_a_run_without_its_moments_is_another_run(torch):
    run = TorchRun(torch, "AdamW")
    run.train(0, 37)
    params = run.params()
    with pytest.warns(UserWarning, match="moments are left behind"):
        tx = jaxlr.optimizer_from_torch(run.optimizer)
    run.train(37, NUM_STEPS)
    with enable_x64():
        ours = continued(tx, tx.init(params), params, 37)
    assert relative_error(ours["head"]["kernel"], run.params()["head"]["kernel"]) > 100 * RTOL


def test_tied_weights_have_one_state_under_both_names(torch):
    tied = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    tied[1].weight = tied[0].weight
    adam = torch.optim.Adam(tied.parameters())
    tied(torch.ones(1, 3)).sum().backward()
    adam.step()
    _, opt_state = jaxlr.resume_from_torch(adam, lambda weights: jnp.asarray(weights["1.weight"]), tied)
    assert_close(opt_state.inner_state[0].mu, adam.state[tied[0].weight]["exp_avg"].numpy(), 1e-7)


def test_buffers_of_the_model_are_left_to_the_function(torch):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    adam = torch.optim.Adam(model.parameters())
    model(torch.ones(4, 2)).sum().backward()
    adam.step()

    def trained(weights: Any) -> Any:
        assert weights["1.running_mean"].shape == (3,)
        return {"scale": jnp.asarray(weights["1.weight"]), "kernel": jnp.asarray(weights["0.weight"].T)}

    _, opt_state = jaxlr.resume_from_torch(adam, trained, model)
    assert opt_state.inner_state[0].count == 1


def test_converting_without_the_state_warns(torch):
    run = TorchRun(torch, "Adam")
    run.train(0, 1)
    with pytest.warns(UserWarning, match=r"moments are left behind: .* jaxlr\.resume_from_torch"):
        jaxlr.optimizer_from_torch(run.optimizer)


def stepped(torch: Any, name: str = "Adam", num_steps: int = 3, build: Any = None, **options: Any) -> Any:
    """Return a model of one layer and its optimizer after some updates."""
    model = torch.nn.Linear(3, 2)
    optimizer = getattr(torch.optim, name)(model.parameters(), lr=0.1, **options)
    scheduler = build(torch.optim.lr_scheduler, optimizer) if build else None
    for _ in range(num_steps):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        if scheduler:
            scheduler.step()
    return model, optimizer


def linear(weights: Any) -> Any:
    return {"kernel": jnp.asarray(weights["weight"].T), "bias": jnp.asarray(weights["bias"])}


@pytest.mark.parametrize(
    ("convert", "message"),
    [
        (lambda w: {"kernel": jnp.asarray(w["weight"] * 0.5)}, r"computes the parameter \['kernel'\]"),
        (lambda w: {"kernel": jnp.asarray(w["weight"] + 1)}, r"computes the parameter \['kernel'\]"),
        (lambda w: {"new": jnp.zeros(3)}, r"the parameter \['new'\] comes from weights of no parameter"),
    ],
)
def test_a_function_that_computes_is_refused(torch, convert, message):
    model, optimizer = stepped(torch)
    with pytest.raises(ValueError, match=message):
        jaxlr.resume_from_torch(optimizer, convert, model)


def test_a_parameter_that_is_not_trained_is_refused(torch):
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam([model.weight])
    with pytest.raises(ValueError, match=r"\['bias'\] comes from a weight that .* does not train"):
        jaxlr.resume_from_torch(optimizer, linear, model)


def test_parameters_of_a_group_with_other_counts_are_refused(torch):
    model, optimizer = stepped(torch)
    model.bias.grad = None
    optimizer.step()
    with pytest.raises(ValueError, match="'weight' and 'bias' of group 0 have made 4 and 3 updates"):
        jaxlr.resume_from_torch(optimizer, linear, model)


def test_an_option_that_the_state_lacks_is_refused(torch):
    model, optimizer = stepped(torch)
    optimizer.param_groups[0]["amsgrad"] = True
    with pytest.raises(ValueError, match="parameter 'weight' has no 'max_exp_avg_sq'"):
        jaxlr.resume_from_torch(optimizer, linear, model)


def step_lr(t: Any, optimizer: Any) -> Any:
    return t.StepLR(optimizer, 1, gamma=0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"scheduler": optax.constant_schedule(0.1), "steps_per_epoch": 2},
            "the schedule has no count: give first_step, .* 0 to 2",
        ),
        ({"steps_per_epoch": 2, "first_step": 3}, "first_step must be at most steps_per_epoch=2, got 3"),
        ({"class_name": "SGD"}, "class_name is 'SGD', but the optimizer is a live Adam"),
        ({"names": ["weight"]}, "a different name for each of the 2 parameters of the optimizer, got 1"),
        (
            {"names": [["weight"], ["bias"]]},
            r"must have a list for each group, of \[2\] names, got \[1, 1\]",
        ),
        ({"names": ["bias", "weight"]}, "parameter of 'bias' in the optimizer has the shape"),
        (
            {"weights": {"module.weight": np.zeros((2, 3))}, "names": ["weight", "bias"]},
            "remove 'module.' from the names of the weights",
        ),
        ({"names": ["w", "b"]}, "weights have no 'w', which the optimizer trains; they have weight, bias"),
        ({"scheduler": optax.constant_schedule(0.2)}, "begins at 0.2, but the optimizer is at 0.1"),
        ({"scheduler": jaxlr.reduce_lr_on_plateau(0.2)}, "begins at 0.2, but the optimizer is at 0.1"),
        ({"scheduler": [optax.constant_schedule(0.1)] * 2}, "a schedule for each of the 1 groups, got 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(torch, arguments, message):
    model, optimizer = stepped(torch)
    with pytest.raises(ValueError, match=message):
        jaxlr.resume_from_torch(optimizer, linear, **{"weights": model} | arguments)


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (dict, {}, "class_name must be the torch class of the saved optimizer, one of SGD, Adam"),
        (dict, {"class_name": "Adam"}, "names of the optimizer's parameters are not known"),
        (lambda s: {"optimizer": s}, {"class_name": "Adam"}, r"got a mapping with \['optimizer'\]"),
        (
            lambda s: {**s, "param_groups": [{"params": [0, 1]}]},
            {"class_name": "Adam"},
            "must have an 'lr'",
        ),
    ],
)
def test_a_checkpoint_that_lacks_something_is_refused(torch, change, arguments, message):
    model, optimizer = stepped(torch)
    with pytest.raises(ValueError, match=message):
        jaxlr.resume_from_torch(change(optimizer.state_dict()), linear, model.state_dict(), **arguments)


@pytest.mark.parametrize(
    ("name", "num_steps", "steps_per_epoch", "message"),
    [
        ("Adam", 7, 2, "made 7 updates and the scheduler 3 steps, with .*=2: give first_step, .* as 1"),
        ("Adam", 6, 1, "made 6 updates and the scheduler 3 steps, with .*=1: give another steps_per_e"),
        ("Adam", 6, 4, "made 6 updates and the scheduler 3 steps, with .*=4: give another steps_per_e"),
        ("SGD", 6, 2, "the optimizer does not count its updates: give first_step"),
    ],
)
def test_a_position_in_the_epoch_that_is_not_known_is_refused(
    torch, name, num_steps, steps_per_epoch, message
):
    model, optimizer = stepped(torch, name, num_steps=0)
    scheduler = step_lr(torch.optim.lr_scheduler, optimizer)
    for step in range(num_steps):
        model(torch.ones(1, 3)).sum().backward()
        optimizer.step()
        if step % 2:
            scheduler.step()
    with pytest.raises(ValueError, match=message):
        jaxlr.resume_from_torch(optimizer, linear, model, scheduler, steps_per_epoch=steps_per_epoch)
    given = {"steps_per_epoch": steps_per_epoch, "first_step": 0}
    jaxlr.resume_from_torch(optimizer, linear, model, scheduler, **given)


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_a_fresh_optimizer_needs_no_labels(torch, momentum):
    model = torch.nn.Linear(3, 2)
    groups = [{"params": [model.bias], "lr": 0.5}, {"params": [model.weight]}]
    sgd = torch.optim.SGD(groups, lr=0.1, momentum=momentum)
    scheduler = step_lr(torch.optim.lr_scheduler, sgd)
    known: Any = {} if momentum else {"first_step": 0}  # plain SGD has no state that is empty at first
    arguments = (sgd, linear, model, scheduler)
    tx, opt_state = jaxlr.resume_from_torch(*arguments, steps_per_epoch=3, **known)
    labels = {"kernel": 1, "bias": 0}
    expected = jaxlr.optimizer_from_torch(sgd, scheduler, labels=labels, steps_per_epoch=3)
    params = linear(model.state_dict())
    ours, theirs = tx.update(params, opt_state), expected.update(params, expected.init(params))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_a_forgotten_scheduler_is_refused(torch):
    model, optimizer = stepped(torch, build=step_lr)
    with pytest.raises(ValueError, match="the optimizer had a scheduler: pass it as scheduler"):
        jaxlr.resume_from_torch(optimizer, linear, model)


def test_weights_of_no_names_are_refused(torch):
    model, optimizer = stepped(torch)
    with pytest.raises(TypeError, match="weights must be the torch model or its state_dict"):
        jaxlr.resume_from_torch(optimizer, linear, list(model.parameters()))


def muon_run(torch: Any, shapes: Any, options: Any, build: Any = None) -> Any:
    """Return the matrices after all steps, continued in JAX and trained on in torch."""
    rng = np.random.default_rng(0)
    weights = {
        name: torch.tensor(rng.normal(size=shape), requires_grad=True) for name, shape in shapes.items()
    }
    muon = torch.optim.Muon(list(weights.items()), lr=0.05, **options)
    scheduler = build(torch.optim.lr_scheduler, muon) if build else None

    def train(num_steps: int) -> None:
        for _ in range(num_steps):
            for weight in weights.values():
                weight.grad = torch.sin(5 * weight.detach()) + weight.detach().sum(1, keepdim=True)
            muon.step()
            if scheduler:
                scheduler.step()

    def transposed(tree: Any) -> Any:
        return {name: jnp.asarray(np.asarray(leaf).T) for name, leaf in tree.items()}

    def values() -> Any:
        return {name: weight.detach().clone() for name, weight in weights.items()}

    train(37)
    tx, opt_state = jaxlr.resume_from_torch(muon, transposed, values(), scheduler)
    params = transposed(values())

    def step(carry: Any, _: Any) -> Any:
        params, opt_state = carry
        grads = jax.tree.map(lambda leaf: jnp.sin(5 * leaf) + leaf.sum(0, keepdims=True), params)
        updates, opt_state = tx.update(grads, opt_state, params)
        return (optax.apply_updates(params, updates), opt_state), None

    run = jax.jit(lambda carry: jax.lax.scan(step, carry, length=NUM_STEPS - 37)[0])
    ours, _ = run((params, opt_state))
    train(NUM_STEPS - 37)
    return ours, transposed(values())


# Their sums have two or three terms. In longer ones the order of the terms can change a last bit.
MUON = {"tall": (3, 2), "wide": (2, 3), "square": (2, 2)}


@pytest.mark.parametrize(
    ("options", "build"),
    [
        ({}, None),
        ({"nesterov": False, "weight_decay": 0.0}, lambda t, o: t.CosineAnnealingLR(o, 150)),
        ({"adjust_lr_fn": "match_rms_adamw"}, lambda t, o: t.OneCycleLR(o, 0.1, NUM_STEPS)),
    ],
)
def test_muon_continues_as_in_torch(torch, options, build):
    with enable_x64():
        ours, torchs = muon_run(torch, MUON, options, build)
    for name in MUON:
        assert_close(ours[name], torchs[name], RTOL)


def test_large_matrices_of_muon_differ_by_less_than_the_rounding_of_torch(torch):
    """Compare the iterations of a matrix in bfloat16 with each other, and with the exact one."""
    from torch.optim._muon import _zeropower_via_newtonschulz as torchs_iteration

    coefficients, rng = (3.4445, -4.775, 2.0315), np.random.default_rng(0)
    a, b, c = coefficients
    between, ours, torchs = [], [], []
    for _ in range(10):
        matrix = rng.normal(size=(64, 32)).astype(np.float32)
        exact = matrix.T.astype(np.float64) / np.linalg.norm(matrix)
        for _ in range(5):
            gram = exact @ exact.T
            exact = a * exact + (b * gram + c * gram @ gram) @ exact
        expected = torchs_iteration(torch.tensor(matrix), coefficients, 5, 1e-7).float().numpy()
        own = np.asarray(orthogonalized(jnp.asarray(matrix), coefficients, 5, 1e-7).astype(np.float32))
        between.append(np.linalg.norm(own - expected))
        ours.append(np.linalg.norm(own - exact.T))
        torchs.append(np.linalg.norm(expected - exact.T))
    assert sum(ours) < 1.1 * sum(torchs)
    assert sum(between) < 0.1 * sum(torchs)


def test_decay_of_muon_is_that_of_torch(torch):
    weight = torch.full((4, 2), 2.0, requires_grad=True)
    muon = torch.optim.Muon([weight], lr=0.1, weight_decay=0.5)
    tx = jaxlr.optimizer_from_torch(muon)
    updates: Any = tx.update(jnp.zeros((2, 4)), tx.init(jnp.zeros((2, 4))), jnp.full((2, 4), 2.0))[0]
    weight.grad = torch.zeros(4, 2)
    muon.step()
    assert_close(2 + updates.T, weight.detach().numpy(), 1e-6)


def test_matrices_of_muon_may_be_stacked(torch):
    muon = torch.optim.Muon([torch.zeros(4, 2), torch.zeros(4, 2)])
    tx = jaxlr.optimizer_from_torch(muon)
    grads = jnp.asarray(np.random.default_rng(0).normal(size=(3, 2, 4)), jnp.float32)
    stacked: Any = tx.update(grads, tx.init(grads), grads)[0]
    alone: Any = tx.update(grads[1], tx.init(grads[1]), grads[1])[0]
    assert_close(stacked[1], alone, 1e-6)


@pytest.mark.parametrize("shape", [(4, 2), (2, 3), (4,)])
def test_a_matrix_that_muon_does_not_have_is_refused(torch, shape):
    tx = jaxlr.optimizer_from_torch(torch.optim.Muon([torch.zeros(4, 2)]))
    with pytest.raises(ValueError, match=r"Muon's weights have \[\(4, 2\)\] in torch: give transposed"):
        tx.init({"kernel": jnp.zeros(shape)})


def matrix_and_bias(weights: Any) -> Any:
    return {name: jnp.asarray(np.asarray(leaf).T) for name, leaf in weights.items()}


@pytest.mark.parametrize(
    "options", [{}, {"lr": 0.3, "weight_decay": 0.1, "maximize": True}, {"eps": (1e-3, 0.1), "d": 2.0}]
)
def test_adafactor_continues_as_in_torch(torch, options):
    rng = np.random.default_rng(0)
    start = {
        "matrix": rng.normal(size=(6, 4)),
        "square": rng.normal(size=(3, 3)),
        "bias": rng.normal(size=5),
    }
    weights = {name: torch.tensor(leaf, requires_grad=True) for name, leaf in start.items()}
    adafactor = torch.optim.Adafactor(list(weights.items()), **options)
    scheduler = torch.optim.lr_scheduler.StepLR(adafactor, 20, gamma=0.5)

    def step() -> Any:
        for weight in weights.values():
            weight.grad = torch.sin(5 * weight.detach())
        adafactor.step()
        scheduler.step()

    def values() -> dict[str, Any]:
        return {name: weight.detach() for name, weight in weights.items()}

    for _ in range(37):
        step()
    with enable_x64():
        tx, opt_state = jaxlr.resume_from_torch(adafactor, matrix_and_bias, values(), scheduler)
        params = jax.tree.map(jnp.array, matrix_and_bias(values()))

        def own_step(carry: Any, _: Any) -> Any:
            params, opt_state = carry
            gradients = jax.tree.map(lambda leaf: jnp.sin(5 * leaf), params)
            updates, opt_state = tx.update(gradients, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), None

        (params, _), _ = jax.jit(lambda carry: jax.lax.scan(own_step, carry, length=163))(
            (params, opt_state)
        )
        for _ in range(163):
            step()
        for own, torchs in zip(
            jax.tree.leaves(params), jax.tree.leaves(matrix_and_bias(values())), strict=True
        ):
            assert_close(own, torchs, RTOL)


KERNELS = {  # torch's shape, and that of Flax
    "conv": ((5, 4, 3, 2), (3, 2, 4, 5)),
    "conv1d": ((5, 4, 3), (3, 4, 5)),
    "conv3d": ((5, 4, 3, 2, 2), (3, 2, 2, 4, 5)),
    "transposed conv1d": ((4, 6, 3), (3, 4, 6)),
    "embedding": ((7, 4), (7, 4)),
    "linear": ((5, 9), (9, 5)),
    "scalar": ((), ()),
}


@pytest.mark.parametrize(
    ("is_transposed", "dtype", "rtol"),
    [(True, np.float64, 1e-10), (False, np.float64, 1e-10), (True, np.float32, 1e-6)],
)
def test_adafactor_continues_with_every_kind_of_kernel(torch, is_transposed, dtype, rtol):
    """Check updates, since each kernel has its own axes. Two of each are stacked, and one is alone."""
    rng = np.random.default_rng(0)
    names = [f"{kind}.{index}" for index in range(3) for kind in KERNELS]

    def normal(name: str, scale: float) -> Any:
        return torch.tensor(np.asarray(scale * rng.normal(size=KERNELS[name.split(".")[0]][0]), dtype))

    # The update of a large weight would be lost in its rounding.
    weights = {name: normal(name, 1e-4).requires_grad_() for name in names}
    adafactor = torch.optim.Adafactor(list(weights.items()), lr=0.3)

    def kernel(kind: str, weight: Any) -> Any:
        array = np.asarray(weight)
        if not is_transposed or kind in ("embedding", "scalar"):
            return array
        if kind == "transposed conv1d":
            return array.transpose(2, 0, 1)
        return array.transpose(*range(2, array.ndim), 1, 0)

    def to_params(weights: Any) -> Any:
        return {
            kind: {
                "stacked": jnp.stack([kernel(kind, weights[f"{kind}.{index}"]) for index in (0, 1)]),
                "alone": jnp.asarray(kernel(kind, weights[f"{kind}.2"])),
            }
            for kind in KERNELS
        }

    def step() -> Any:
        for name, weight in weights.items():
            weight.grad = normal(name, 1.0)
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        adafactor.step()
        moved = {name: weight.detach() - before[name] for name, weight in weights.items()}
        return [to_params(tree) for tree in ({n: w.grad for n, w in weights.items()}, before, moved)]

    with enable_x64(dtype == np.float64):
        for _ in range(3):
            step()
        values = {name: weight.detach() for name, weight in weights.items()}
        tx, opt_state = jaxlr.resume_from_torch(adafactor, to_params, values, transposed=is_transposed)
        update = jax.jit(tx.update)
        for _ in range(5):
            grads, params, expected = step()
            updates, opt_state = update(grads, opt_state, params)
            for own, torchs in zip(jax.tree.leaves(updates), jax.tree.leaves(expected), strict=True):
                assert own.dtype == dtype
                assert np.abs(own - torchs).max() < rtol * np.abs(torchs).max()


@pytest.mark.parametrize(
    ("shape", "is_transposed", "message"),
    [
        ((3, 2, 4, 5), False, r"give transposed=True if its axes are \(in, out\), or \(height"),
        ((5, 4, 3, 2), True, "give transposed=False if its axes are those of torch"),
        ((4, 15, 2), True, "keep each weight whole"),
        ((2, 3, 2, 4, 5), True, "fewer weights of this shape in torch"),
    ],
)
def test_a_weight_that_adafactor_does_not_have_is_refused(torch, shape, is_transposed, message):
    adafactor = torch.optim.Adafactor([torch.zeros(5, 4, 3, 2)])
    tx = jaxlr.optimizer_from_torch(adafactor, transposed=is_transposed)
    with pytest.raises(ValueError, match=rf"the parameter \['kernel'\] has the shape .*{message}"):
        tx.init({"kernel": jnp.zeros(shape)})


def test_stacked_vectors_in_the_shape_of_a_matrix_are_refused(torch):
    optimizer = torch.optim.Adafactor([torch.zeros(4, 3), *(torch.zeros(4) for _ in range(3))])
    tx = jaxlr.optimizer_from_torch(optimizer)
    with pytest.raises(ValueError, match="if others are stacked in it, keep them apart"):
        tx.init({"kernel": jnp.zeros((3, 4)), "biases": jnp.zeros((3, 4))})
