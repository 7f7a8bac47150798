"""NeMo: the `optim` in its YAML configs, and the `sched` in it.

The rules are those of NVIDIA/NeMo of September 2025 (`core/optim/lr_scheduler.py`,
`core/classes/modelPT.py`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from jaxlr._checks import check_choice, check_positive_count
from jaxlr.frameworks._curves import between, floored, noam, warmup_ahead
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import (
    Clip,
    Config,
    Framework,
    OptimizerError,
    Recipe,
    TorchOptimizer,
    missing,
    section,
    torch_class,
)
from jaxlr.schedules import Phase, exponential_lr, phased_lr, step_lr
from jaxlr.schedules.phases import Shape


_SETTINGS = (
    *("name", "d_model", "warmup_steps", "warmup_ratio", "constant_steps", "constant_ratio", "hold_steps"),
    *("hold_ratio", "max_steps", "min_lr", "power", "cycle", "decay_rate", "gamma", "step_size"),
)
# The classes of torch by the names of `core/optim/optimizers.py`.
_CLASSES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "adadelta": "Adadelta", "adamax": "Adamax"}
_CLASSES |= {"adagrad": "Adagrad", "rmsprop": "RMSprop", "rprop": "Rprop"}


def read(config: Config) -> Recipe:
    """Read `sched` in `optim`. A count is an update, and an epoch for an ExponentialLR."""
    tree = Tree(config.settings, config.named)
    optim = _optim(tree)
    if optim is None:
        raise ValueError("the config has no sched with a name in its optim")
    stated = config.of(tree.resolved(optim, ("lr", "name", "weight_decay")))
    config.state(optimizer=stated.stated_text("name"), weight_decay=stated.stated("weight_decay"))
    trainer = _trainer(tree, config)
    config.state(clip=trainer.stated_clip("gradient_clip_val"))
    rate = stated.base_rate("lr")
    groups = _groups(tree)
    if config.init_value is None and any("lr" in each for each in groups if isinstance(each, Mapping)):
        config.assume("optim_param_groups gives some parameters their rate. This is that of the others.")
    written = optim.settings.get("sched")
    if written is None:
        config.assume("The optim has no sched, so the rate is constant.")
        steps = _max_steps(config, trainer, config.of({}))
        return config.recipe("nemo", phased_lr(rate, [Phase()]), "update", steps)
    if isinstance(written.get("args"), Mapping):  # the older, nested form
        written = {**section(written, "args", "params"), "name": written.get("name")}
    settings = config.of(tree.resolved(Node((*optim.path, "sched"), written), _SETTINGS))
    name = settings.text("name")
    if name == "ExponentialLR":
        epochs = int(trainer.signed("max_epochs", -1))
        schedule = exponential_lr(rate, settings.number("gamma"))
        return config.recipe("nemo", schedule, "epoch", epochs if epochs > 0 else None)
    steps = _max_steps(config, trainer, settings)
    if name == "StepLR":
        schedule = step_lr(rate, settings.count("step_size"), settings.number("gamma", 0.1))
        return config.recipe("nemo", schedule, "update", steps)
    check_choice("the name of a sched", name, (*_RULES, "StepLR", "ExponentialLR"))
    return config.recipe("nemo", _RULES[name](rate, _Clock(settings, steps)), "update", steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `setup_optimization`. All parameters decay."""
    tree = Tree(config.settings, config.named)
    if (optim := _optim(tree)) is None:
        raise OptimizerError("the config has no optim with a name")
    settings = config.of(tree.resolved(optim, optim.settings))
    settings.refuse("args", reason="give its params in optim itself", error=OptimizerError)
    if any(_groups(tree)) or tree.outermost(lambda node: "tensor_model_parallel_size" in node.settings):
        raise OptimizerError("optim_param_groups and models of Megatron are not supported")
    name: str = settings.text("name", "adam")
    target: str = settings.text("_target_", "")
    trainer = _trainer(tree, config)
    clip = trainer.clip("gradient_clip_val")
    if clip is not None and trainer.text("gradient_clip_algorithm", "norm") == "value":
        clip = Clip(clip.size, None)
    return TorchOptimizer(
        torch_class(target) or _CLASSES.get(name, name),
        settings.options("name", "lr", "sched", "cls", "_target_"),
        clip,
        batches_per_update=trainer.accumulation("accumulate_grad_batches"),
    )


def _groups(tree: Tree) -> list[Any]:
    """Return the parameter groups of the config."""
    found = tree.outermost(lambda node: isinstance(node.settings.get("optim_param_groups"), Mapping))
    return [group for node in found for group in node.settings["optim_param_groups"].values()]


class _Clock(NamedTuple):
    """The lengths of a schedule, in updates."""

    settings: Config
    steps: int | None

    @property
    def total(self) -> int:
        if self.steps is None:
            raise missing("max_steps", "names={'max_steps': ...}, or steps_per_epoch")
        return self.steps

    @property
    def warmup(self) -> int:
        return self.part("warmup")

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
        return warmup_ahead(self.warmup + 1) if self.warmup else Phase(0)

    def decay(self, shape: Shape, begin: int, last: int, *, span: int, **more: Any) -> list[Phase]:
        """Return the updates from `first` to `last` of a curve from `begin`, then the floor."""
        curve = between(begin, begin + span, (self.first, last + 1), shape, **more)
        return [curve, Phase(start_value=self.floor)]

    def fall(self, shape: Shape, **more: Any) -> list[Phase]:
        """Return a curve from the warmup to the floor at the end of the run."""
        span = self.left(self.warmup)
        return self.decay(shape, self.warmup, self.total, span=span, end_value=self.floor, **more)

    def power(self) -> float:
        """Return the power of a polynomial, which has no cycles."""
        self.settings.refuse("cycle", reason="its cycles grow with the update")
        return self.settings.number("power", 1.0)


def _constant(rate: Any, clock: _Clock) -> Any:
    phases = [clock.ramp(), Phase(clock.total + 1 - clock.first, start_factor=1.0)]
    return phased_lr(rate, [*phases, Phase(start_value=clock.floor)])


def _cosine(rate: Any, clock: _Clock) -> Any:
    constant = clock.part("constant")
    span = clock.left(clock.warmup + constant)
    ramp = clock.ramp()
    if constant and clock.warmup:  # as in Megatron-LM, from 0
        ramp = Phase(clock.warmup + 1, "linear", start_factor=0.0, end_factor=1.0, span=clock.warmup)
    end = clock.total - constant
    decay = clock.decay("cosine", clock.warmup, end, span=span, end_value=clock.floor)
    return phased_lr(rate, [ramp, *decay])


def _linear(rate: Any, clock: _Clock) -> Any:
    return phased_lr(rate, [clock.ramp(), *clock.fall("linear")])


def _polynomial(rate: Any, clock: _Clock) -> Any:
    return phased_lr(rate, [clock.ramp(), *clock.fall("polynomial", power=clock.power())])


def _polynomial_hold(rate: Any, clock: _Clock) -> Any:
    """Return a polynomial after a hold. Without a hold it counts from 0."""
    power, hold = clock.power(), clock.part("hold")
    begin = clock.warmup + hold if hold else 0
    first = max(begin, clock.first)
    ends: Any = {"end_value": clock.floor, "power": power}
    span = clock.left(max(clock.warmup, begin))
    phases = [
        clock.ramp(),
        Phase(first - clock.first, start_factor=1.0),
        Phase(span, "polynomial", start_factor=1.0, offset=min(first - begin, span), span=span, **ends),
    ]
    return phased_lr(rate, [*phases, Phase(start_value=clock.floor)])


def _square_root(rate: Any, clock: _Clock) -> Any:
    """Return a square root that counts from 0, not from the end of the warmup."""
    decay = clock.decay("polynomial", 0, clock.total, span=clock.total, end_factor=0.0, power=0.5)
    return floored(phased_lr(rate, [clock.ramp(), *decay]), clock.floor, clock.first)


def _inverse_sqrt(rate: Any, clock: _Clock) -> Any:
    span = clock.warmup + 1
    decay = clock.decay("inverse_sqrt", span - 1, clock.total, span=span)
    return phased_lr(rate, [clock.ramp(), *decay])


def _noam(rate: Any, clock: _Clock) -> Any:
    """Return the rate of step max(1, count), without an end."""
    size, warmup = clock.settings.positive_count("d_model"), max(1, clock.warmup)
    phases = [Phase(1, start_factor=1 / warmup), *noam(warmup)]
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
    return _optim(Tree(settings, lambda name: None)) is not None


FRAMEWORK = Framework(
    name="nemo", read=read, optimizer=optimizer, recognizes=_recognizes, aliases=("NeMo",)
)


def _optim(tree: Tree) -> Node | None:
    """Return the optimizer that has a `sched`, or none beside the `exp_manager` of NeMo."""
    is_nemo = "exp_manager" in tree.root.settings

    def is_optim(node: Node) -> bool:
        sched = node.settings.get("sched")
        if isinstance(sched, Mapping):
            return node.key == "optim" and "name" in sched
        return node.key == "optim" and sched is None and is_nemo and {"name", "lr"} <= node.settings.keys()

    found = tree.outermost(is_optim)
    return found[0] if len(found) == 1 else None


def _trainer(tree: Tree, config: Config) -> Config:
    found = tree.outermost(lambda node: node.key == "trainer")
    names = ("max_steps", "max_epochs", "accumulate_grad_batches", "gradient_clip_val")
    names += ("gradient_clip_algorithm", "limit_train_batches")
    return config.of(tree.resolved(found[0], names) if found else {})


def _max_steps(config: Config, trainer: Config, settings: Config) -> int | None:
    """Return the updates of the run: of the trainer, of the scheduler, or those of all epochs."""
    if (steps := trainer.signed("max_steps", -1)) >= 0:
        return check_positive_count("max_steps", steps)
    if (steps := settings.signed("max_steps", -1)) > 0:
        return check_positive_count("max_steps", steps)
    has_epochs = config.epochs is not None or trainer.signed("max_epochs", -1) > 0
    if config.steps_per_epoch is None or not has_epochs:
        return None
    accumulation = trainer.accumulation("accumulate_grad_batches")
    batches, limit = config.steps_per_epoch, trainer.number("limit_train_batches", 1.0)
    batches = int(batches * limit) if isinstance(limit, float) else min(batches, limit)
    total = -(-batches // accumulation) * trainer.whole_epochs("max_epochs")
    config.assume(f"The run has {total} updates: those of an epoch, rounded up, times the epochs.")
    return total
