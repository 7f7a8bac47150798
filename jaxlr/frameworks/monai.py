"""MONAI: the scheduler of a bundle, such as those of the Model Zoo.

The rules are those of MONAI 1.6.1 (`bundle/config_parser.py`, `handlers/lr_schedule_handler.py`). A bundle
names its classes as Hydra does, and refers to other values by `@name`, also inside of a `$` expression.
"""

import re
from collections.abc import Mapping
from typing import Any

from jaxlr.frameworks import lightning
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import Config, Framework, Recipe, Unreadable


_REFERENCE = re.compile(r"@(\w+(?:(?:::|#)\w+)*)")
_MOST_LEVELS = 20
_UNREAD = ("optimizer", "params", "_requires_", "_desc_", "_disabled_")


def read(config: Config) -> Recipe:
    """Read the scheduler that the handler steps, as Lightning's. A count is an epoch or an update."""
    if overrides := _overrides(config.settings):
        raise ValueError(
            f"the config changes parts of another one, such as {overrides[0]!r}: give that one, and the "
            "changed numbers as names"
        )
    bundle = _Bundle(config)
    tree = Tree(config.settings, config.named)
    handlers = tree.outermost(lambda node: node.name == "LrScheduleHandler")
    trainers = tree.outermost(lambda node: bool(node.target) and "max_epochs" in node.settings)
    found = [bundle.node(each.settings.get("lr_scheduler")) for each in handlers]
    if not handlers and (found := [each.settings for each in tree.outermost(lightning.is_scheduler)]):
        config.assume("The scheduler is stepped once per epoch: the config has no LrScheduleHandler.")
    if len(found) > 1 or {} in found:
        raise ValueError(
            f"the config must have one scheduler that is stepped, or none, got {len(found)}: give the "
            "mapping of one, and init_value"
        )
    scheduler = found[0] if found else {}
    optimizer = scheduler.get("optimizer", "@optimizer")
    is_by_epoch = not handlers or handlers[0].settings.get("epoch_level", True)
    settings = {
        "lr_scheduler": bundle.value(scheduler) or None,
        "optimizer": bundle.value(bundle.node(optimizer)),
        "interval": "epoch" if is_by_epoch else "step",
        "max_epochs": bundle.value(trainers[0].settings["max_epochs"]) if trainers else None,
    }
    recipe = lightning.read(config.of({key: each for key, each in settings.items() if each != {}}))
    return recipe._replace(framework="monai")


def _recognizes(settings: Mapping[str, Any]) -> bool:
    def is_bundles(node: Node) -> bool:
        refers = (node.settings.get(name) for name in ("params", "optimizer"))
        return bool(node.target) and any(isinstance(each, str) and each[:1] in "@$" for each in refers)

    return bool(_overrides(settings)) or bool(Tree(settings, lambda name: None).outermost(is_bundles))


FRAMEWORK = Framework(name="monai", read=read, recognizes=_recognizes, aliases=("MONAI",))


class _Bundle:
    """The values of a bundle, with the values that they refer to."""

    def __init__(self, config: Config):
        self._config = config

    def node(self, value: Any) -> Mapping[str, Any]:
        """Return the mapping that a value is or refers to, or an empty one."""
        found = self._looked_up(value[1:]) if isinstance(value, str) and value[:1] == "@" else value
        return found if isinstance(found, Mapping) else {}

    def value(self, value: Any, levels: int = _MOST_LEVELS) -> Any:
        """Return a value without references. An expression that has no value stays as it is."""
        if levels == 0:
            raise ValueError("the config refers to itself, or is nested too deeply")
        if isinstance(value, Mapping):
            return {key: self.value(each, levels - 1) for key, each in value.items() if key not in _UNREAD}
        if isinstance(value, list):
            return [self.value(each, levels - 1) for each in value]
        if not isinstance(value, str) or value[:1] not in ("@", "$"):
            return value
        if _REFERENCE.fullmatch(value):
            found = self._looked_up(value[1:])
            return value if found is None else self.value(found, levels - 1)
        numbers = {name: self.value(f"@{name}", levels - 1) for name in _REFERENCE.findall(value)}
        if not all(isinstance(each, int | float) for each in numbers.values()):
            return value
        found = Unreadable(_REFERENCE.sub(lambda match: f"({numbers[match[1]]})", value[1:])).source_value(
            {}
        )
        return found if isinstance(found, int | float) else value

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


def _overrides(settings: Mapping[str, Any]) -> list[str]:
    return [key for key in settings if isinstance(key, str) and "#" in key]
