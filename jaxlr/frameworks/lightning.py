"""PyTorch Lightning: the scheduler that a Hydra or LightningCLI config constructs, and how it is stepped.

The rules are those of Lightning 2.6.6 (`loops/training_epoch_loop.py`, `core/optimizer.py`, `cli.py`), of
Hydra 1.3.8 (`_target_`) and of OmegaConf 2.3.1 (`${...}`).
"""

import math
import re
from collections.abc import Callable, Mapping
from functools import partial
from inspect import signature
from typing import Any, NamedTuple

import optax

from jaxlr._checks import check_choice, check_positive_count, shown_value
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.errors import MissingRateError
from jaxlr.convert.foreign import FOREIGN, namesake
from jaxlr.convert.reader import raise_unknown
from jaxlr.convert.text import from_string
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import Clip, Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import per_epoch, phased_lr
from jaxlr.schedules._counts import floor_divide, modulo
from jaxlr.schedules._schedule import Schedule, prints_as_call
from jaxlr.schedules.phases import Phase


_STEPPING = ("interval", "frequency", "monitor", "strict", "reduce_on_plateau")
# Where programs keep `interval` and `frequency`: beside the scheduler, or in one of these.
_STEPPING_KEYS = ("lightning_args", "lr_scheduler_config", "scheduler_config", "pl_options", "pl_lrs_cfg")
_SCHEDULER_KEYS = ("scheduler", "lr_scheduler")
_OPTIMIZER_KEYS = ("optimizer", "optim", "opt", "optimizer_config", "optimizer_cfg")
_TRAINER_KEYS = ("trainer", "pl_trainer", "trainer_args", "trainer_params")
_RATE_CALLBACKS = ("LearningRateFinder", "StochasticWeightAveraging", "BackboneFinetuning")
_LIBRARIES = ("torch", "lightning", "pytorch_lightning", "transformers", "diffusers", "pl_bolts", "monai")
_ROWS = {**CLASSES, **FOREIGN}
_NOISE = ("diffusers.", "monai.networks.schedulers.")  # schedulers of the noise, not of the rate
_OTHER_LIBRARIES = ("monai", "mmengine", "mmcv", "timm", "keras")  # have classes of torch's names


def read(config: Config) -> Recipe:
    """Read the node of a scheduler. A count is an epoch, or an update if the interval is "step"."""
    tree = Tree(config.settings, config.of({}).get, _ROWS)
    _refuse_callbacks(tree, config)
    trainer = _Trainer(tree, config)
    node = _scheduler(tree)
    if node is None:
        config.assume("The config has no scheduler (null), so the rate is constant.")
        optimizers = tree.outermost(_is_optimizer)
        _state_optimizer(tree, config, optimizers, trainer)
        rate = _rate(tree, config, optimizers)
        if rate is None:
            raise ValueError("the config has no rate of the optimizer: give init_value")
        return config.recipe("lightning", phased_lr(rate, [Phase()]), "epoch", trainer.num_epochs())
    _state_optimizer(tree, config, _optimizers(tree, node), trainer)
    schedule = _schedule(tree, config, node)
    stepping = _stepping(tree, config, node)
    interval = stepping.text("interval", "epoch")
    if interval not in ("epoch", "step"):
        raise ValueError(f"interval must be 'epoch' or 'step', got {shown_value(interval)}")
    frequency = stepping.positive_count("frequency", 1)
    if isinstance(schedule, optax.GradientTransformation):
        metric = stepping.text("monitor", None)
        every = f"every {interval}" if frequency == 1 else f"every {frequency} {interval}s"
        config.assume(f"The plateau is stepped after {every} with {metric or 'a metric'}.")
        epochs = trainer.num_epochs() if every == "every epoch" else None
        return config.recipe("lightning", schedule, "evaluation", epochs)
    if interval == "epoch":
        schedule = schedule if frequency == 1 else per_epoch(schedule, frequency)
        return config.recipe("lightning", schedule, "epoch", trainer.num_epochs())
    if frequency > 1:
        schedule = trainer.every(schedule, frequency)
    return config.recipe("lightning", schedule, "update", trainer.num_updates())


def optimizer(config: Config) -> TorchOptimizer:
    """Return the only optimizer of the config. All parameters decay."""
    from jaxlr.convert.optimizers.signatures import MODULES

    tree = Tree(config.settings, config.of({}).get, _ROWS)
    trainer, scheduler = _Trainer(tree, config), _scheduler(tree)
    found = tree.outermost(_is_optimizer) if scheduler is None else _optimizers(tree, scheduler)
    if len(found) != 1:
        raise OptimizerError(f"the config must have one optimizer with its rate, got {len(found)}")
    node = found[0]
    module = node.target.rpartition(".")[0]
    is_known = module in MODULES.get(node.name, ("",)) or f"{module}.".startswith("torch.optim.")
    options = {name: _argument(tree, node, name) for name in node.arguments.settings}
    return TorchOptimizer(
        node.name if is_known else node.target,
        config.of(options).options("params", "lr"),
        trainer.clipping(),
        batches_per_update=trainer.accumulation(),
        momentum=None if scheduler is None else _momentum_cycle(tree, config, scheduler),
    )


def _recognizes(settings: Mapping[str, Any]) -> bool:
    """Check if a config names a scheduler or an optimizer by its class, or is a part of a Hydra config."""
    tree = Tree(settings, lambda name: None, ())
    if tree.outermost(lambda node: bool(node.target) and (is_scheduler(node) or _is_optimizer(node))):
        return True
    return isinstance(settings.get("defaults"), list) and isinstance(settings.get("trainer"), Mapping)


FRAMEWORK = Framework(
    name="lightning",
    read=read,
    optimizer=optimizer,
    recognizes=_recognizes,
    aliases=("pytorch_lightning", "pytorch-lightning", "hydra", "lightningcli"),
)


class _Trainer(NamedTuple):
    """The settings of Lightning's Trainer, which may be those of the whole file."""

    tree: Tree
    config: Config

    def num_epochs(self) -> int | None:
        """Return the number of epochs, or None if the config does not limit it."""
        if self.config.epochs is not None:
            return self.config.whole_epochs()
        epochs = self._limit("max_epochs")
        return None if epochs is None else check_positive_count("max_epochs", epochs)

    def num_updates(self) -> int | None:
        """Return the number of updates, if the config and `steps_per_epoch` give it."""
        limits = [self._limit("max_steps")]
        epochs = self.num_epochs()
        if epochs is not None and self.config.steps_per_epoch is not None:
            limits.append(epochs * -(-self.config.steps_per_epoch // self.accumulation()))
        return min((int(limit) for limit in limits if limit is not None), default=None)

    def every(self, schedule: optax.Schedule, frequency: int) -> optax.Schedule:
        """Return a schedule of updates that moves after every `frequency`-th batch of an epoch.

        It moves only where an update ends. Batches are counted from 0 in each epoch. The last batch of an
        epoch ends an update, even if fewer than `accumulate_grad_batches` came before it.
        """
        batches, accumulation = self.config.steps_in_epoch(), self.accumulation()
        both = math.lcm(frequency, accumulation)
        updates = -(-batches // accumulation)
        moves = batches // both + (batches % accumulation != 0 and batches % frequency == 0)
        self.config.assume(
            f"An epoch has {updates} updates, and the scheduler is stepped after {moves} of them."
        )

        return moving(schedule, updates, moves, both // accumulation)

    def clip(self) -> float | None:
        """Return the largest norm of the gradients, if they are clipped by their norm."""
        by_norm = _unless_missing(self._setting, "gradient_clip_algorithm") in (None, "norm")
        return self._limit("gradient_clip_val") if by_norm else None

    def clipping(self) -> Clip | None:
        """Return the clipping of the gradients, by their norm or by value."""
        norm = self._setting("gradient_clip_val")
        if not norm:
            return None
        kind = check_choice(
            "gradient_clip_algorithm", self._setting("gradient_clip_algorithm") or "norm", ("norm", "value")
        )
        return Clip(
            self.config.of({"gradient_clip_val": norm}).number("gradient_clip_val"), {"norm": 2.0}.get(kind)
        )

    def accumulation(self) -> int:
        """Return the batches whose gradients are accumulated for an update."""
        number = self._setting("accumulate_grad_batches")
        return 1 if number is None else check_positive_count("accumulate_grad_batches", number)

    def _limit(self, name: str) -> Any:
        """Return a number above 0, or None. The rate does not need it, so another file may define it."""
        number = _unless_missing(self._setting, name)
        if not isinstance(number, int | float) or number <= 0:
            return None
        return number

    def _setting(self, name: str) -> Any:
        found = self.tree.outermost(lambda node: node.key in _TRAINER_KEYS or node.name == "Trainer")
        return _argument(self.tree, found[0] if found else self.tree.root, name)


def _argument(tree: Tree, node: Node, name: str) -> Any:
    """Return an argument of a node, or None."""
    arguments = node.arguments
    return tree.value(name, arguments.settings.get(name), (*arguments.path, name))


def _unless_missing(setting: Callable[[str], Any], name: str) -> Any:
    try:
        return setting(name)
    except ValueError:
        return None


def _state_optimizer(tree: Tree, config: Config, optimizers: list[Node], trainer: _Trainer) -> None:
    """State what the only optimizer and the trainer say."""
    config.state(clip=trainer.clip())
    if len(optimizers) != 1:
        return
    setting = partial(_argument, tree, optimizers[0])
    found = {name: _unless_missing(setting, name) for name in ("momentum", "betas", "weight_decay")}
    if isinstance(found["betas"], list | tuple) and found["betas"]:
        found["momentum"] = found["betas"][0]
    stated = config.of({name: value for name, value in found.items() if isinstance(value, int | float)})
    config.state(momentum=stated.stated("momentum"), weight_decay=stated.stated("weight_decay"))
    config.state(optimizer=optimizers[0].name or None)


def _refuse_callbacks(tree: Tree, config: Config) -> None:
    for node in tree.outermost(lambda node: node.name in _RATE_CALLBACKS):
        if node.name != "LearningRateFinder" or config.init_value is None:
            hint = ": give init_value, the rate that it found" if node.name == "LearningRateFinder" else ""
            raise ValueError(f"the callback {node.name} changes the learning rate{hint}")
    finding = tree.outermost(lambda node: node.settings.get("auto_lr_find") not in (None, False))
    if finding and config.init_value is None:
        raise ValueError("auto_lr_find changes the learning rate: give init_value, the rate that it found")


def _scheduler(tree: Tree) -> Node | None:
    """Return the only scheduler of a config, or None if the config says that it has none."""
    found = tree.outermost(is_scheduler)
    if len(found) > 1:
        places = " and ".join(".".join(map(str, node.path)) for node in found[:2])
        raise ValueError(
            f"the config has {len(found)} schedulers, such as {places}: give the mapping of one, and "
            "init_value"
        )
    if found and found[0].target.startswith("nemo."):
        raise ValueError(
            f"{found[0].target} of NeMo 2 is not supported: write it as in NeMo 1, such as "
            "optim: {lr: 1e-4, sched: {name: CosineAnnealing, warmup_steps: 250, max_steps: 1000}}"
        )
    if found:
        return found[0]
    if tree.outermost(lambda node: any(node.settings.get(name, "") is None for name in _SCHEDULER_KEYS)):
        return None
    if "defaults" in tree.root.settings:
        raise ValueError(
            "the config has no scheduler, because its defaults are other files: give the whole config, "
            "which 'python train.py --cfg job --resolve' prints"
        )
    raise ValueError(
        "the config has no scheduler with a _target_ or a class_path: give one, or 'scheduler: null' for a "
        "constant rate"
    )


@prints_as_call
def moving(schedule: optax.Schedule, updates: int, moves: int, every: int) -> optax.Schedule:
    """Return a schedule that moves after every `every`-th of the `updates` of an epoch, `moves` times."""

    def formula(count: Any) -> Any:
        in_epoch = floor_divide(modulo(count, updates), every)
        return schedule(floor_divide(count, updates) * moves + in_epoch)

    return Schedule(formula, functions=(schedule,))


def is_scheduler(node: Node) -> bool:
    """Check if a node constructs a scheduler of the learning rate, known or not."""
    if not node.target:
        return False
    is_other = "noise" in node.key.lower() or node.target.startswith(_NOISE)
    is_named = "sched" in node.key.lower() or re.search(r"L[Rr](_?[Ss]cheduler)?$", node.name) is not None
    return node.name in _ROWS or (is_named and not is_other)


def _is_optimizer(node: Node) -> bool:
    if node.name in _ROWS:
        return False
    is_class = re.search(r"(^|\.)optim(izers?)?\.", node.target) is not None
    has_rate = any(name in node.arguments.settings for name in ("lr", "learning_rate"))
    return has_rate and (is_class or node.key in _OPTIMIZER_KEYS)


def _schedule(tree: Tree, config: Config, node: Node) -> Any:
    row = _ROWS.get(node.name)
    if row is None:
        raise_unknown(node.name)
    row = namesake(row, node.target, node.arguments.settings)
    _check_library(config, node, row)
    without = tuple(name for name in (*_STEPPING, "name") if name not in row.parameters)
    text = tree.call_text(_with_missing(tree, node, row), without)
    rate = None if row.has_own_base else _rate(tree, config, _optimizers(tree, node))
    try:
        return from_string(text, rate, group=config.group)
    except MissingRateError:
        raise ValueError("the config has no rate of the optimizer: give init_value") from None


def _check_library(config: Config, node: Node, row: Any) -> None:
    """State the known class that a class of another module is read as."""
    package = node.target.partition(".")[0]
    if package in _OTHER_LIBRARIES and row.library == "torch":
        raise ValueError(f"{node.target} is not the class of torch, and it is not supported")
    if row.library == "timm":
        config.assume(
            "timm's scheduler is stepped with epoch + 1, as timm does. With Lightning's "
            "step(epoch=self.current_epoch), every rate comes one epoch later."
        )
    elif "." in node.target and package not in _LIBRARIES:
        library = "the same name" if row.library == "addons" else row.library
        config.assume(f"{node.target} is read as {node.name} of {library}.")


def _with_missing(tree: Tree, node: Node, row: Any) -> Node:
    """Return a node with the required arguments that it lacks, from `names`."""
    arguments = node.arguments
    by_position = row.parameters[: len(node.settings.get("_args_", []))]
    added: dict[str, Any] = {}
    for name in row.required:
        if name in by_position:
            continue
        value = tree.value(name, arguments.settings.get(name), (*arguments.path, name))
        if value is None:
            raise ValueError(f"the config has no {name} for {node.name}: give names={{{name!r}: ...}}")
        if name not in arguments.settings:
            added[name] = value
    if arguments.path != node.path:
        return Node(node.path, {**node.settings, arguments.path[-1]: {**arguments.settings, **added}})
    return Node(node.path, {**node.settings, **added})


def _optimizers(tree: Tree, scheduler: Node) -> list[Node]:
    """Return the optimizers that are nearest to a scheduler."""
    for around in tree.ancestors(scheduler):
        if found := tree.outermost(_is_optimizer, around):
            return found
    return []


def _rate(tree: Tree, config: Config, optimizers: list[Node]) -> Any:
    """Return `init_value` or the rate of the optimizer. None if there is none."""
    if len(optimizers) > 1 and config.init_value is None:
        raise ValueError(f"the config has {len(optimizers)} optimizers: give init_value, the rate of one")
    if len(optimizers) != 1:
        return config.init_value
    arguments = optimizers[0].arguments
    name = "lr" if "lr" in arguments.settings else "learning_rate"
    is_given = config.init_value is not None
    value = arguments.settings[name] if is_given else _argument(tree, optimizers[0], name)
    return config.of({name: value}).base_rate(name)


def _stepping(tree: Tree, config: Config, node: Node) -> Config:
    """Return `interval`, `frequency` and `monitor`, which stand in the node, beside it or around it."""
    places = [node.arguments, node, *tree.ancestors(node)[:1]]
    places += [
        Node((*place.path, key), place.settings[key])
        for place in places
        for key in _STEPPING_KEYS
        if isinstance(place.settings.get(key), Mapping)
    ]
    found: dict[str, Any] = {}
    for place in places:
        for name in _STEPPING:
            for key in (name, f"{node.key}_{name}", f"scheduler_{name}", f"lr_scheduler_{name}"):
                if key in place.settings and name not in found:
                    found[name] = tree.value(name, place.settings[key], (*place.path, key))
    if "interval" not in found and config.of({}).get("interval") is None:
        is_cli = node.path in (("lr_scheduler",), ("fit", "lr_scheduler")) and "class_path" in node.settings
        reason = "LightningCLI does" if is_cli else "Lightning does where no interval is given"
        config.assume(f"The scheduler is stepped once per epoch, as {reason}.")
    return config.of(found)


def _momentum_cycle(tree: Tree, config: Config, scheduler: Node) -> Any:
    """Return the momentum that a OneCycleLR or CyclicLR cycles, as a schedule, or None."""
    row = _ROWS.get(scheduler.name)
    text = tree.call_text(_with_missing(tree, scheduler, row), _STEPPING) if row else ""
    if not re.search(r"\b(OneCycleLR|CyclicLR)\b", text):
        return None
    from jaxlr.convert.optimizers.text import read_pair

    pair = read_pair(f"SGD(lr=1.0)\n{text}")
    call, momenta = pair.calls[0], pair.cycles[0]
    if momenta is None:
        return None
    if _stepping(tree, config, scheduler).count("frequency", 1) != 1:
        raise OptimizerError("a momentum that cycles is supported only with a frequency of 1")
    cycle: Any = call.torch_class.momentum
    settings = {key: value for key, value in call.arguments.items() if key in signature(cycle).parameters}
    return cycle(**settings, base_momentum=momenta[0], max_momentum=momenta[1])
