"""Fairchem, formerly OCP: the `optim` of its YAML configs, and the Hydra configs of version 2, as for UMA.

The rules are those of fairchem-core 1.9 (`modules/scheduler.py`, `common/utils.py`, and `lr_scheduler.py`
of EquiformerV2 and eSEN) and 2.24 (`units/mlip_unit/mlip_unit.py`).
"""

from collections.abc import Mapping
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_positive_count
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.text import from_string
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, phased_lr


_TORCH = ("ReduceLROnPlateau", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "MultiStepLR", "StepLR")
_TORCH += ("ExponentialLR", "OneCycleLR")


def read(config: Config) -> Recipe:
    """Read the section `optim`, or the training unit of version 2. A count is an update."""
    if schedulers := _cosines(tree := Tree(config.settings, config.named)):
        return _read_unit(config, tree, schedulers[0])
    optim = config.inner("optim")
    parameters = optim.inner("scheduler_params")
    of_optimizer = optim.inner("optimizer_params")
    optim.state_settings(optimizer="optimizer", clip="clip_grad_norm", weight_decay="weight_decay")
    if of_optimizer.has("weight_decay"):
        of_optimizer.state_settings(weight_decay="weight_decay")
    init_value = optim.base_rate("lr_initial")
    schedule = _schedule(optim, parameters, init_value)
    if isinstance(schedule, optax.GradientTransformation):
        every = optim.count("eval_every", None)
        when = "each epoch" if every is None else f"{every} updates"
        config.assume(
            f"The plateau is stepped after every evaluation, so after {when}, with the primary metric."
        )
        epochs = optim.stated_epochs("max_epochs") if every is None else None
        return config.recipe("fairchem", schedule, "evaluation", epochs)
    has_length = config.steps_per_epoch is not None and (
        config.epochs is not None or optim.has("max_epochs")
    )
    return config.recipe("fairchem", schedule, "update", _num_steps(optim) if has_length else None)


FRAMEWORK = Framework(
    name="fairchem",
    read=read,
    marks=(("optim.lr_initial",),),
    recognizes=lambda settings: bool(_cosines(Tree(settings, lambda name: None))),
    aliases=("ocp", "equiformer_v2", "esen"),
)


def _cosines(tree: Tree) -> list[Node]:
    """Return the schedulers of version 2."""
    return tree.outermost(lambda node: node.name == "_get_consine_lr_scheduler")


def _read_unit(config: Config, tree: Tree, node: Node) -> Recipe:
    """Return the cosine of a training unit of version 2, which has the optimizer beside it."""
    unit = tree.ancestors(node)[0]
    found = unit.settings.get("optimizer_fn")
    optimizer = Node((*unit.path, "optimizer_fn"), found if isinstance(found, Mapping) else {})
    names = ("warmup_factor", "warmup_epochs", "lr_min_factor", "epochs", "steps")
    settings = config.of(
        {
            **tree.resolved(node, names),
            **tree.resolved(optimizer, ("lr", "weight_decay")),
            **tree.resolved(unit, ("clip_grad_norm",)),
            "optimizer": optimizer.name or None,
        }
    )
    if settings.has("steps") and settings.has("epochs"):
        raise ValueError("the scheduler must have epochs or steps, and the other one must be null")
    settings.state_settings(optimizer="optimizer", clip="clip_grad_norm", weight_decay="weight_decay")
    warmup = max(1, int(settings.number("warmup_epochs") * config.steps_in_epoch()))
    is_by_steps = settings.has("steps") and config.epochs is None
    total = settings.positive_count("steps") if is_by_steps else _num_steps(settings, "epochs")
    in_updates = settings.of({**settings.settings, "warmup_epochs": warmup})
    schedule = phased_lr(settings.base_rate("lr"), _cosine(in_updates, total))
    return config.recipe("fairchem", schedule, "update", total)


def _schedule(optim: Config, parameters: Config, init_value: ArrayLike) -> Any:
    if "scheduler" not in optim.settings:
        return phased_lr(init_value, _warmed_steps(optim, "warmup_steps", "lr_milestones", "lr_gamma"))
    name = check_choice("scheduler", optim.text("scheduler", "Null"), ("Null", "LambdaLR", *_TORCH))
    if name == "Null":
        return phased_lr(init_value, [Phase()])
    if name != "LambdaLR":
        return _torch_schedule(name, optim.of({**optim.settings, **parameters.settings}), init_value)
    kind = check_choice("lambda_type", parameters.text("lambda_type"), ("cosine", "multistep"))
    steps, in_updates = optim.steps_in_epoch(), {**parameters.settings}
    if parameters.has("warmup_epochs"):
        in_updates["warmup_epochs"] = int(parameters.number("warmup_epochs") * steps)
    if kind == "multistep":
        epochs = parameters.numbers("decay_epochs", [])
        complete = optim.of({**in_updates, "decay_epochs": [int(epoch * steps) for epoch in epochs]})
        return phased_lr(init_value, _warmed_steps(complete, "warmup_epochs", "decay_epochs", "decay_rate"))
    return phased_lr(init_value, _cosine(optim.of(in_updates), _num_steps(optim)))


def _cosine(config: Config, total: int) -> list[Phase]:
    """Return a warmup of `warmup_epochs` updates, and a cosine that counts from its start."""
    ramp, floor = _ramp(config, "warmup_epochs"), config.number("lr_min_factor")
    begin = min(sum(phase.length or 0 for phase in ramp), total)
    fall = Phase(total - begin, "cosine", start_factor=1.0, end_factor=floor, offset=begin, span=total)
    return [*ramp, fall, Phase(start_factor=floor)]


def _num_steps(optim: Config, epochs: str = "max_epochs") -> int:
    return check_positive_count("updates", int(optim.num_epochs(epochs) * optim.steps_in_epoch()))


def _ramp(config: Config, name: str) -> list[Phase]:
    """Return a line to the whole rate, which includes its end. A negative length is no warmup."""
    if config.signed(name, 0.0) < 0:
        return []
    steps = config.positive_count(name)
    start = config.number("warmup_factor")
    return [Phase(steps + 1, "linear", start_factor=start, end_factor=1.0, span=steps)]


def _warmed_steps(config: Config, warmup: str, milestones: str, gamma: str) -> list[Phase]:
    """Return a warmup, and a constant between each two milestones. Those in the warmup count after it."""
    if milestones == "lr_milestones" and (
        config.has("warmup_epochs") or any(each < 100 for each in config.numbers(milestones, []))
    ):
        raise ValueError(
            "lr_milestones and warmup_steps must be updates, and a milestone at least 100: a config in "
            "epochs, with warmup_epochs, is older than fairchem"
        )
    phases = _ramp(config, warmup)
    begin, factor = sum(phase.length or 0 for phase in phases), 1.0
    if not config.has(milestones):
        raise ValueError(f"the config has no {milestones}: give names={{{milestones!r}: [...]}}")
    for milestone in sorted(map(int, config.numbers(milestones))):
        phases.append(Phase(max(0, milestone - begin), start_factor=factor))
        begin, factor = max(begin, milestone), factor * config.number(gamma)
    return [*phases, Phase(start_factor=factor)]


def _torch_schedule(name: str, config: Config, init_value: ArrayLike) -> Any:
    """Return the schedule of torch's class with those settings that it has."""
    given: list[str] = []
    for key in (key for key in CLASSES[name].settings if config.has(key)):
        value = config.get(key)
        is_number = isinstance(value, str) and value[:1].isdigit()  # 1e-4, a text in YAML 1.1
        given.append(f"{key}={config.number(key) if is_number else value!r}")
    return from_string(f"{name}({', '.join(given)})", init_value)
