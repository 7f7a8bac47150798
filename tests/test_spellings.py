"""Texts that people write, read by `from_string` and compared with the torch object that they build."""

import ast
import builtins
import contextlib
import itertools
import math
import os
import signal
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import jax
import numpy as np
import optax
import pytest
from helpers import HOST_RTOL, assert_is_torchs, torch_curve
from spellings import COSTLY, EXECUTED, RARER, REFUSED_BY_US, SPELLINGS, Refusal, Spelling

import jaxlr
from jaxlr._compat import enable_x64


# A loss that falls fast, stalls, falls slowly, rises and stays flat, so that every setting matters.
METRICS = np.concatenate(
    [
        1 / np.arange(1.0, 11),
        np.full(16, 0.1),
        0.1 * 0.995 ** np.arange(30),
        np.linspace(0.09, 0.2, 25),
        np.full(40, 0.0853),
    ]
)

PARAMETERS = [
    pytest.param(spelling, id=f"{name} {index}")
    for name, spellings in SPELLINGS.items()
    for index, spelling in enumerate(spellings)
]


SECONDS = 5.0  # the longest processor time that a text may take; most take a hundredth of it
LONGEST_MESSAGE = 400


@pytest.mark.parametrize("spelling", PARAMETERS)
def test_spelling_gives_the_curve_of_torch(torch, spelling):
    assert_is_read_as_torch_runs_it(torch, spelling, read(spelling))


def test_every_torch_class_has_twenty_different_spellings(torch):
    classes = {*torch.optim.lr_scheduler.__all__, "SWALR"} - {"LRScheduler"}
    assert all(len(SPELLINGS[name]) >= 20 for name in classes)
    entries = [(entry.text, entry.group) for entry in [*itertools.chain(*SPELLINGS.values()), *RARER]]
    assert len(entries) == len(set(entries))


@pytest.mark.parametrize("spelling", RARER, ids=range(len(RARER)))
def test_rare_spelling_gives_the_curve_of_torch_or_an_error(torch, spelling):
    try:
        schedule = read(spelling)
    except (TypeError, ValueError) as error:
        assert_is_one_short_line(error)
    else:
        assert_is_read_as_torch_runs_it(torch, spelling, schedule)


@pytest.mark.parametrize("refusal", REFUSED_BY_US, ids=range(len(REFUSED_BY_US)))
def test_invalid_text_is_refused_at_once_in_one_line_and_never_run(refusal):
    with at_little_cost(), pytest.raises((TypeError, ValueError)) as raised:
        read(refusal)
    assert_is_one_short_line(raised.value)
    missing = [word for word in refusal.words if word.lower() not in str(raised.value).lower()]
    assert not missing, f"{str(raised.value)!r} does not hold {missing}"
    assert EXECUTED not in os.environ


@pytest.mark.parametrize("text", COSTLY, ids=range(len(COSTLY)))
def test_costly_lambda_is_evaluated_or_refused_at_once(text):
    with at_little_cost():
        try:
            schedule = read(Refusal(f"LambdaLR(optimizer, {text})"))
            for count in (0, 1, 7, 40):
                assert isinstance(float(schedule(count)), float)
        except (TypeError, ValueError, ArithmeticError, RuntimeWarning) as error:
            assert_is_one_short_line(error)


@contextlib.contextmanager
def at_little_cost() -> Iterator[None]:
    """Check that the block takes little processor time, and stop it if it takes far too much.

    Processor time does not depend on how busy the machine is.
    """

    def cut_off(*_: Any) -> None:
        pytest.fail(f"still running after {10 * SECONDS} s of processor time")

    before = signal.signal(signal.SIGPROF, cut_off)
    start = time.process_time()
    # The signal repeats, because an error that is raised in a destructor is lost.
    signal.setitimer(signal.ITIMER_PROF, 10 * SECONDS, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    assert time.process_time() - start < SECONDS


def assert_is_read_as_torch_runs_it(torch: ModuleType, spelling: Spelling, scheduler: Any) -> None:
    if "ReduceLROnPlateau" in spelling.text:
        expected = torch_side(torch, spelling, METRICS)
        with enable_x64():
            actual = plateau_curve(scheduler)
    else:
        expected = torch_side(torch, spelling)
        actual = scheduler(np.arange(spelling.steps))
    assert_is_torchs(actual, expected, HOST_RTOL)


def assert_is_one_short_line(error: Exception) -> None:
    message = str(error)
    assert message.isprintable(), f"not one printable line: {message!r}"
    assert 0 < len(message) < LONGEST_MESSAGE


def read(entry: Spelling | Refusal) -> Any:
    lr = entry.lrs[entry.group] if isinstance(entry, Spelling) else 0.1
    from_string: Any = jaxlr.from_string
    return from_string(entry.text, lr, dict(entry.names), entry.group, num_steps=entry.num_steps)


def plateau_curve(tx: optax.GradientTransformationExtraArgs) -> np.ndarray:
    """Return the learning rate before the first metric, and after each one."""
    state = tx.init({})
    return np.append(jaxlr.plateau_lr(state), _plateau_rates(state, METRICS))


@jax.jit
def _plateau_rates(state: Any, metrics: jax.Array) -> jax.Array:
    def step(state: Any, metric: jax.Array) -> tuple[Any, jax.Array]:
        state = jaxlr.plateau_step(state, metric)
        return state, jaxlr.plateau_lr(state)

    return jax.lax.scan(step, state, metrics)[1]


def torch_side(torch: ModuleType, spelling: Spelling, metrics: Any = None) -> np.ndarray:
    """Run the text as Python and return torch's learning rate in each step."""

    def build(optimizer: Any) -> Any:
        for lr in spelling.lrs[1:]:
            optimizer.add_param_group({"params": [torch.zeros(1, requires_grad=True)], "lr": lr})
        return run(spelling.torch_text, scope_of(torch, spelling, optimizer))

    return torch_curve(torch, build, spelling.steps, spelling.lrs[0], group=spelling.group, metrics=metrics)


def run(text: str, scope: dict[str, Any]) -> Any:
    """Run a text and return the value of its last statement: an expression, an assignment or a return."""
    *first, last = ast.parse(text).body
    assert isinstance(last, ast.Expr | ast.Assign | ast.AnnAssign | ast.Return)
    assert last.value is not None
    exec(compile(ast.Module(first, []), "<spelling>", "exec"), scope)
    return eval(compile(ast.Expression(last.value), "<spelling>", "eval"), scope)


class StandIn:
    """An object of a script, with attributes, items, a length and the result of a call."""

    def __init__(self) -> None:
        self.items: dict[Any, Any] = {}
        self.length = 0
        self.result: Any = None

    def __getitem__(self, key: Any) -> Any:
        return self.items[key]

    def __len__(self) -> int:
        return self.length

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.result


def scope_of(torch: ModuleType, spelling: Spelling, optimizer: Any) -> dict[str, Any]:
    """Return the names that a script has defined when it builds its scheduler."""
    lr_scheduler, swa_utils = torch.optim.lr_scheduler, torch.optim.swa_utils
    scope = {name: getattr(lr_scheduler, name) for name in [*lr_scheduler.__all__, "LRScheduler"]}
    scope |= {"SWALR": swa_utils.SWALR, "swa_utils": swa_utils, "torch": torch, "optim": torch.optim}
    scope |= dict.fromkeys(("lr_scheduler", "lr_sched", "sched"), lr_scheduler)
    scope |= {
        "math": math,
        "np": np,
        "cos": math.cos,
        "pi": math.pi,
        "self": StandIn(),
        "optimizer": optimizer,
    }
    for key, value in spelling.names.items():
        place(scope, ast.parse(key, mode="eval").body, value)
    for expression in optimizer_expressions(spelling.torch_text):
        place(scope, expression, optimizer)
    return scope


def optimizer_expressions(text: str) -> list[ast.expr]:
    """Return the expressions of the optimizer: first argument, keyword, or second argument of a chain."""
    found = []
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func).rpartition(".")[2]
        if name.endswith(("LR", "ReduceLROnPlateau", "WarmRestarts")):
            found += node.args[:1]
        if name == "ChainedScheduler":
            found += node.args[1:]
        found += [keyword.value for keyword in node.keywords if keyword.arg == "optimizer"]
    return found


def place(scope: dict[str, Any], expression: ast.expr, value: Any) -> None:
    """Change `scope` so that `expression` evaluates to `value`."""
    match expression:
        case ast.Name(id=name):
            scope[name] = value
        case ast.Attribute(value=owner, attr=name):
            setattr(_held(scope, owner), name, value)
        case ast.Subscript(value=owner, slice=key):
            _held(scope, owner).items[_key(scope, key)] = value
        case ast.Call(func=ast.Name(id="getattr"), args=[owner, key]):
            setattr(_held(scope, owner), _key(scope, key), value)
        case ast.Call(func=ast.Name(id="len"), args=[owner]):
            _held(scope, owner).length = value
        case ast.Call(func=function, args=args, keywords=keywords):
            _held(scope, function).result = value
            for argument in [*args, *(keyword.value for keyword in keywords)]:
                _held(scope, argument)
        case _:
            raise TypeError(f"cannot assign a value to {ast.unparse(expression)!r}")


def _held(scope: dict[str, Any], expression: ast.expr) -> Any:
    """Return the value of `expression`, which becomes a stand-in if it has none yet."""
    source = ast.unparse(expression)
    try:
        held = eval(source, scope)
    except (NameError, AttributeError, KeyError):
        held = None
    if held is None:
        place(scope, expression, StandIn())
    return eval(source, scope)


def _key(scope: dict[str, Any], expression: ast.expr) -> Any:
    """Return the value of an index. A name that the script defines evaluates to itself."""
    for node in ast.walk(expression):
        if isinstance(node, ast.Name) and not hasattr(builtins, node.id):
            scope.setdefault(node.id, node.id)
    key = eval(ast.unparse(expression), scope)
    return ast.unparse(expression) if isinstance(key, StandIn) else key
