"""MONAI: the scheduler of a bundle, such as those of the Model Zoo.

The rules are those of MONAI 1.6.1 (`bundle/config_parser.py`, `handlers/lr_schedule_handler.py`). A bundle
names its classes as Hydra does, and refers to other values by `@name`, also inside of a `$` expression.
"""

import re
from collections.abc import Mapping
from typing import Any

from jaxlr._checks import shown_value
from jaxlr.frameworks import lightning
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import Config, Framework, Recipe, Unreadable


_ID = r"(\w+(?:(?:::|#)\w+)*)"
_PART = r"\w(#|::)\w"  # in the key of a part of another config
_REFERENCE = re.compile(rf"@{_ID}")
_ALONE = re.compile(rf"(?:\$?@|%){_ID}")  # a value that is a reference, or the macro `%name`
_MOST_LEVELS = 20
_NO_ARGUMENTS = ("optimizer", "params", "_requires_", "_desc_", "_disabled_", "_mode_")
_OTHER_HANDLERS = ("create_lr_scheduler_with_warmup", "ParamSchedulerHandler")
_OWN_RATES = re.compile(r"\blr(_values)?\b")  # in groups, or the arguments of generate_param_groups


def read(config: Config) -> Recipe:
    """Read the scheduler that the handler steps, as Lightning's. A count is an epoch or an update."""
    if overrides := _overrides(config.settings, rf"{_PART}|^[+]\w"):
        raise ValueError(
            f"the config changes parts of another one, such as {overrides[0]!r}: give that one, and the "
            "changed numbers as names"
        )
    bundle, tree = _Bundle(config), Tree(config.settings, config.named)
    handler, scheduler = _stepped(config, bundle, tree)
    optimizer = bundle.node(scheduler.get("optimizer", "@optimizer"))
    if config.init_value is None and _OWN_RATES.search(str(bundle.value(optimizer.get("params")))):
        raise ValueError("the parameter groups have rates of their own: give init_value, the rate of one")
    trainers = tree.outermost(lambda node: bool(node.target) and "max_epochs" in node.settings)
    epochs = trainers[0].settings["max_epochs"] if len(trainers) == 1 else None
    if config.epochs is not None and (alone := _ALONE.fullmatch(str(epochs))):
        raise ValueError(
            f"max_epochs is {epochs!r}, which other values may use: give names={{{alone[1]!r}: ...}} in "
            "the place of epochs"
        )
    is_by_epoch = handler is None or bundle.flag(handler.settings, "epoch_level", True)
    settings = {
        "lr_scheduler": bundle.value(scheduler) or None,
        "optimizer": bundle.value(optimizer),
        "interval": "epoch" if is_by_epoch else "step",
        "max_epochs": bundle.value(epochs),
    }
    recipe = lightning.read(config.of({key: each for key, each in settings.items() if each != {}}))
    if handler is not None and recipe.unit != "evaluation":
        _check_counts(handler)
    return recipe._replace(framework="monai")


def _recognizes(settings: Mapping[str, Any]) -> bool:
    def is_bundles(node: Node) -> bool:
        refers = (node.settings.get(name) for name in ("params", "optimizer"))
        # Hydra's `${name}` is none.
        return bool(node.target) and any(re.match(r"@|\$[^{]", str(each)) for each in refers)

    return bool(_overrides(settings)) or bool(Tree(settings, lambda name: None).outermost(is_bundles))


FRAMEWORK = Framework(name="monai", read=read, recognizes=_recognizes, aliases=("MONAI",))


class _Bundle:
    """The values of a bundle, with the values that they refer to."""

    def __init__(self, config: Config):
        self._config = config

    def node(self, value: Any) -> Mapping[str, Any]:
        """Return the mapping that a value is or refers to, or an empty one."""
        for _ in range(_MOST_LEVELS):
            alone = _ALONE.fullmatch(value) if isinstance(value, str) else None
            value = value if alone is None else self._looked_up(alone[1])
        return value if isinstance(value, Mapping) else {}

    def flag(self, settings: Mapping[str, Any], name: str, default: bool = False) -> bool:
        """Return a value of a mapping as True or False."""
        known = self._config.of({name: self.value(settings.get(name))})
        value = known.get(name)
        if isinstance(value, str) and value[:1] in ("@", "$", "%"):
            raise ValueError(f"{name} is {shown_value(value)}: give names={{{name!r}: ...}}, True or False")
        return known.flag(name, default)

    def value(self, value: Any, levels: int = _MOST_LEVELS) -> Any:
        """Return a value without references. An expression that has no value stays as it is."""
        if levels == 0:
            raise ValueError("the config refers to itself, or is nested too deeply")
        if isinstance(value, Mapping):
            if str(value.get("_disabled_")).lower() == "true":
                return None
            items = ((key, each) for key, each in value.items() if key not in _NO_ARGUMENTS)
            return {key: self.value(each, levels - 1) for key, each in items}
        if isinstance(value, list):
            return [self.value(each, levels - 1) for each in value]
        if not isinstance(value, str):
            return value
        if alone := _ALONE.fullmatch(value):
            found = self._looked_up(alone[1])
            return value if found is None else self.value(found, levels - 1)
        return self._computed(value, levels - 1) if value.startswith("$") else value

    def _computed(self, expression: str, levels: int) -> Any:
        numbers = {name: self.value(f"@{name}", levels) for name in _REFERENCE.findall(expression)}
        if not all(isinstance(each, int | float) for each in numbers.values()):
            return expression
        source = _REFERENCE.sub(lambda match: f"({numbers[match[1]]})", expression[1:])
        found = Unreadable(source).source_value({})
        return found if isinstance(found, int | float | list) else expression

    def _looked_up(self, reference: str) -> Any:
        found: Any = self._config.named(reference)
        if found is not None:
            return found
        found = self._config.settings
        for key in re.split("::|#", reference):
            if isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                found = found.get(key) if isinstance(found, Mapping) else None
        return found


def _overrides(settings: Mapping[str, Any], marks: str = _PART) -> list[str]:
    return [key for key in settings if isinstance(key, str) and re.search(marks, key)]


def _stepped(config: Config, bundle: _Bundle, tree: Tree) -> tuple[Node | None, Mapping[str, Any]]:
    """Return the handler of a config and the scheduler that it steps, as far as it has them."""
    for other in tree.outermost(lambda node: node.name in _OTHER_HANDLERS):
        raise ValueError(
            f"{other.name} is not read: leave it out if it does not change the rate, or write the schedule "
            "with jaxlr.sequential_lr"
        )
    handlers = tree.outermost(lambda node: node.name == "LrScheduleHandler")
    nodes = handlers or tree.outermost(lightning.is_scheduler)
    enabled = [each for each in nodes if not bundle.flag(each.settings, "_disabled_")]
    if len(enabled) > 1:
        raise ValueError(
            f"the config must have one scheduler that is stepped, or none, got {len(enabled)}: give the "
            "mapping of one, and init_value"
        )
    if not handlers:
        if enabled:
            config.assume("The scheduler is stepped once per epoch: the config has no LrScheduleHandler.")
        return None, enabled[0].settings if enabled else {}
    if not enabled:
        raise ValueError(
            "the LrScheduleHandler is disabled: leave it and the scheduler out for a constant rate"
        )
    named = enabled[0].settings.get("lr_scheduler")
    scheduler = bundle.node(named)
    if not scheduler or bundle.flag(scheduler, "_disabled_"):
        raise ValueError(
            f"the LrScheduleHandler steps {shown_value(named)}, which the config does not define or "
            "disables: give the mapping of its scheduler"
        )
    return enabled[0], scheduler


def _check_counts(handler: Node) -> None:
    """Refuse a handler whose counts are no epochs or updates of the trainer."""
    if "step_transform" in handler.settings:
        raise ValueError(
            "step_transform gives the scheduler another count: leave it out if that is the number of epochs"
        )
    if any(str(key).startswith(("val", "eval")) for key in handler.path):
        raise ValueError(
            "the LrScheduleHandler steps the scheduler after each validation: move it to the handlers of "
            "the trainer if every epoch ends with one"
        )
