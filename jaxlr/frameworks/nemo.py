"""NeMo: the `sched` of the `optim` in its YAML configs.

The rules are those of NVIDIA/NeMo of September 2025 (`core/optim/lr_scheduler.py`,
`core/classes/modelPT.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxlr._checks import check_positive_count, shown_value
from jaxlr.frameworks._curves import floored
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, exponential_lr, phased_lr, step_lr


_SETTINGS = (
    *("name", "d_model", "warmup_steps", "warmup_ratio", "constant_steps", "constant_ratio", "hold_steps"),
    *("hold_ratio", "max_steps", "min_lr", "power", "cycle", "decay_rate", "gamma", "step_size"),
)


def read(config: Config) -> Recipe:
    """Read `sched` in `optim`. A count is an update, and an epoch for an ExponentialLR."""
    tree = Tree(config.settings, config.of({}).get, ())
    optim = _optim(tree)
    if optim is None:
        raise ValueError("the config has no sched with a name in its optim")
    stated = _resolved(tree, config, optim, ("lr", "name", "weight_decay"))
    config.state(optimizer=stated.stated_text("name"), weight_decay=stated.stated("weight_decay"))
    config.state(clip=_trainer(tree, config).stated_clip("gradient_clip_val"))
    rate = stated.base_rate("lr")
    sched = Node((*optim.path, "sched"), optim.settings["sched"])
    if isinstance(arguments := sched.settings.get("args"), Mapping):  # the older, nested form
        inner = arguments.get("params")
        params = inner if isinstance(inner, Mapping) else {}
        sched = Node(sched.path, {**params, "name": sched.settings.get("name")})
    settings = _resolved(tree, config, sched, _SETTINGS)
    name = settings.text("name")
    if name == "ExponentialLR":
        epochs = int(_trainer(tree, config).signed("max_epochs", -1))
        schedule = exponential_lr(rate, settings.number("gamma"))
        return config.recipe("nemo", schedule, "epoch", epochs if epochs > 0 else None)
    steps = _max_steps(tree, config, settings)
    if name == "StepLR":
        schedule = step_lr(rate, settings.count("step_size"), settings.number("gamma", 0.1))
        return config.recipe("nemo", schedule, "update", steps)
    if name not in _RULES:
        known = ", ".join(map(repr, [*_RULES, "StepLR", "ExponentialLR"]))
        raise ValueError(f"the name of a sched must be one of {known}, got {shown_value(name)}")
    return config.recipe("nemo", _RULES[name](rate, _Clock(settings, steps)), "update", steps)


class _Clock(NamedTuple):
    """The lengths of a schedule, in updates."""

    settings: Config
    steps: int | None

    @property
    def total(self) -> int:
        if self.steps is None:
            raise ValueError(
                "the config has no max_steps: give names={'max_steps': ...}, or steps_per_epoch"
            )
        return self.steps

    @property
    def warmup(self) -> int:
        return self.part("warmup")

    @property
    def rest(self) -> int:
        """The updates after the warmup."""
        return self.left(self.warmup)

    @property
    def first(self) -> int:
        """The first update after the warmup, which has `warmup` + 1 updates."""
        return self.warmup + 1 if self.warmup else 0

    @property
    def floor(self) -> Any:
        return self.settings.number("min_lr", 0.0)

    def part(self, name: str) -> int:
        """Return a length that is given in steps, or as a ratio of all steps."""
        if self.settings.has(f"{name}_steps"):
            return self.settings.count(f"{name}_steps")
        if self.settings.has(f"{name}_ratio"):
            return int(self.settings.number(f"{name}_ratio") * self.total)
        return 0

    def left(self, steps: int) -> int:
        """Return the updates that are left of all after some, at least 1."""
        if steps >= self.total:
            raise ValueError(
                f"max_steps must be above {steps}, the steps before and after, got {self.total}"
            )
        return self.total - steps

    def ramp(self) -> Phase:
        """Return a line that begins one step ahead, and ends at update `warmup`."""
        steps = self.warmup + 1
        if steps == 1:
            return Phase(0)
        return Phase(steps, "linear", start_factor=0.0, end_factor=1.0, offset=1, span=steps)

    def decay(self, shape: Any, end: int, *, offset: int, span: int, **more: Any) -> list[Phase]:
        """Return the updates from `first` to `end`, then the floor."""
        phase = Phase(end + 1 - self.first, shape, start_factor=1.0, offset=offset, span=span, **more)
        return [phase, Phase(start_value=self.floor)]


def _constant(rate: Any, clock: _Clock) -> Any:
    phases = [clock.ramp(), Phase(clock.total + 1 - clock.first, start_factor=1.0)]
    return phased_lr(rate, [*phases, Phase(start_value=clock.floor)])


def _cosine(rate: Any, clock: _Clock) -> Any:
    constant = clock.part("constant")
    span = clock.left(clock.warmup + constant)
    ramp = clock.ramp()
    if constant and clock.warmup:  # as in Megatron-LM, from 0
        ramp = Phase(clock.warmup + 1, "linear", start_factor=0.0, end_factor=1.0, span=clock.warmup)
    end, passed = clock.total - constant, clock.first - clock.warmup
    return phased_lr(
        rate, [ramp, *clock.decay("cosine", end, offset=passed, span=span, end_value=clock.floor)]
    )


def _linear(rate: Any, clock: _Clock) -> Any:
    passed = clock.first - clock.warmup
    decay = clock.decay("linear", clock.total, offset=passed, span=clock.rest, end_value=clock.floor)
    return phased_lr(rate, [clock.ramp(), *decay])


def _polynomial(rate: Any, clock: _Clock) -> Any:
    clock.settings.refuse("cycle", reason="its cycles grow with the update")
    ends: Any = {"end_value": clock.floor, "power": clock.settings.number("power", 1.0)}
    passed = clock.first - clock.warmup
    decay = clock.decay("polynomial", clock.total, offset=passed, span=clock.rest, **ends)
    return phased_lr(rate, [clock.ramp(), *decay])


def _polynomial_hold(rate: Any, clock: _Clock) -> Any:
    """Return a polynomial after a hold. Without a hold it counts from 0."""
    clock.settings.refuse("cycle", reason="its cycles grow with the update")
    hold = clock.part("hold")
    begin = clock.warmup + hold if hold else 0
    first = max(begin, clock.first)
    ends: Any = {"end_value": clock.floor, "power": clock.settings.number("power", 1.0)}
    span = clock.left(max(clock.warmup, begin))
    phases = [
        clock.ramp(),
        Phase(first - clock.first, start_factor=1.0),
        Phase(span, "polynomial", start_factor=1.0, offset=min(first - begin, span), span=span, **ends),
    ]
    return phased_lr(rate, [*phases, Phase(start_value=clock.floor)])


def _square_root(rate: Any, clock: _Clock) -> Any:
    """Return a square root that counts from 0, not from the end of the warmup."""
    ends: Any = {"end_factor": 0.0, "power": 0.5}
    decay = clock.decay("polynomial", clock.total, offset=clock.first, span=clock.total, **ends)
    return floored(phased_lr(rate, [clock.ramp(), *decay]), clock.floor, clock.first)


def _inverse_sqrt(rate: Any, clock: _Clock) -> Any:
    span = clock.warmup + 1
    decay = clock.decay("inverse_sqrt", clock.total, offset=clock.first + 1 - span, span=span)
    return phased_lr(rate, [clock.ramp(), *decay])


def _noam(rate: Any, clock: _Clock) -> Any:
    """Return the rate of step max(1, count), without an end."""
    size, warmup = clock.settings.positive_count("d_model"), max(1, clock.warmup)
    rise = Phase(warmup - 1, "linear", start_factor=0.0, end_factor=1.0, offset=1, span=warmup)
    phases = [
        Phase(1, start_factor=1 / warmup),
        rise,
        Phase(shape="inverse_sqrt", start_factor=1.0, span=warmup),
    ]
    schedule = phased_lr(rate * (size * warmup) ** -0.5, phases)
    return floored(schedule, clock.floor, clock.warmup + 1 if clock.warmup else 0)


def _noam_hold(rate: Any, clock: _Clock) -> Any:
    warmup, hold = check_positive_count("warmup_steps", clock.warmup), clock.part("hold")
    first = max(warmup + hold, warmup + 1)
    power = clock.settings.number("decay_rate", 0.5)
    decay: Any = {"power": power, "offset": first - hold - warmup, "span": warmup}
    phases = [
        clock.ramp(),
        Phase(first - warmup - 1, start_factor=1.0),
        Phase(clock.total + 1 - first, "inverse_power", start_factor=1.0, **decay),
        Phase(start_value=clock.floor),
    ]
    return floored(phased_lr(rate, phases), clock.floor, first)


_RULES: dict[str, Callable[[Any, _Clock], Any]] = {
    "CosineAnnealing": _cosine,
    "NoamAnnealing": _noam,
    "NoamHoldAnnealing": _noam_hold,
    "WarmupAnnealing": _linear,
    "WarmupPolicy": _constant,
    "InverseSquareRootAnnealing": _inverse_sqrt,
    "SquareRootAnnealing": _square_root,
    "PolynomialDecayAnnealing": _polynomial,
    "PolynomialHoldDecayAnnealing": _polynomial_hold,
}


def _recognizes(settings: Mapping[str, Any]) -> bool:
    return _optim(Tree(settings, lambda name: None, ())) is not None


FRAMEWORK = Framework(name="nemo", read=read, recognizes=_recognizes, aliases=("NeMo",))


def _optim(tree: Tree) -> Node | None:
    """Return the optimizer that has a `sched`."""

    def has_sched(node: Node) -> bool:
        sched = node.settings.get("sched")
        return node.key == "optim" and isinstance(sched, Mapping) and "name" in sched

    found = tree.outermost(has_sched)
    return found[0] if len(found) == 1 else None


def _resolved(tree: Tree, config: Config, node: Node, names: tuple[str, ...]) -> Config:
    given = {name: node.settings[name] for name in names if name in node.settings}
    return config.of({name: tree.value(name, value, (*node.path, name)) for name, value in given.items()})


def _trainer(tree: Tree, config: Config) -> Config:
    found = tree.outermost(lambda node: node.key == "trainer")
    names = ("max_steps", "max_epochs", "accumulate_grad_batches", "gradient_clip_val")
    return config.of({}) if not found else _resolved(tree, config, found[0], names)


def _max_steps(tree: Tree, config: Config, settings: Config) -> int | None:
    """Return the updates of the run: of the trainer, of the scheduler, or those of all epochs."""
    trainer = _trainer(tree, config)
    if (steps := trainer.signed("max_steps", -1)) >= 0:
        return check_positive_count("max_steps", steps)
    if (steps := settings.signed("max_steps", -1)) > 0:
        return check_positive_count("max_steps", steps)
    has_epochs = config.epochs is not None or trainer.signed("max_epochs", -1) > 0
    if config.steps_per_epoch is None or not has_epochs:
        return None
    accumulation = max(1, trainer.count("accumulate_grad_batches", 1))
    total = -(-config.steps_per_epoch // accumulation) * trainer.whole_epochs("max_epochs")
    config.assume(f"The run has {total} updates: those of an epoch, rounded up, times the epochs.")
    return total
