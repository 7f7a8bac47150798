"""Python scripts that build their config by calls: functions of torchtitan, and scripts of OLMo-core."""

import ast
import re
from collections.abc import Mapping
from typing import Any

from jaxlr._checks import shorten
from jaxlr.frameworks import mmpython
from jaxlr.frameworks.recipe import Unreadable


_TITAN = re.compile(r"\bTrainer\.Config\(|\bLRSchedulersContainer\.Config\(")
_OLMO = re.compile(r"TrainModuleConfig\(")
# The arguments whose values are the config of each, and the functions that take the rate of all parameters.
_OF_TITAN = ("optimizer", "lr_scheduler", "training")
_OF_OLMO = ("optim", "scheduler", "max_duration", "global_batch_size", "max_grad_norm")
_WITH_RATE = ("default_adamw", "OptimizersContainer.Config")
_CHANGED = re.compile(rf"\.({'|'.join([*_OF_TITAN, *_OF_OLMO])})\b[\w.]*\s*=[^=]")


def is_script(text: str) -> bool:
    """Check if a text builds the config of torchtitan or OLMo-core."""
    return _TITAN.search(text) is not None or _OLMO.search(text) is not None


def read_script(text: str) -> Mapping[str, Any]:
    """Return the config that a script builds, in the form of a file of the same framework."""
    if match := _CHANGED.search(text):
        raise ValueError(f"the script sets {match[1]} after the call: give the call with the final values")
    script = _Script(text)
    if _TITAN.search(text):
        found = {name: script.mapping(name) for name in _OF_TITAN}
        call = script.argument("optimizer")
        if call and ("param_groups" in found["optimizer"] or _name_of(call) not in _WITH_RATE):
            found["optimizer"] = {"lr": Unreadable(ast.unparse(call))}
        return {"job": {}, **found}  # a section that only torchtitan has
    module = {name: script.mapping(name) for name in ("optim", "scheduler") if script.argument(name)}
    if (clip := script.argument("max_grad_norm")) is not None:
        module["max_grad_norm"] = script.value(ast.unparse(clip))
    config: dict[str, Any] = {"train_module": module, "trainer": {}, "data_loader": {}}
    if (batch := script.argument("global_batch_size")) is not None:
        config["data_loader"] = {"global_batch_size": script.value(ast.unparse(batch))}
    duration = script.argument("max_duration")
    if isinstance(duration, ast.Call) and len(duration.args) == 1 and not duration.keywords:
        unit = _name_of(duration).rpartition(".")[2]
        config["trainer"] = {
            "max_duration": {"value": script.value(ast.unparse(duration.args[0])), "unit": unit}
        }
    return config


class _Script:
    """The calls of a script, and the names that it assigns once."""

    def __init__(self, text: str):
        nodes = [*ast.walk(ast.parse(text))]
        calls = [node for node in nodes if isinstance(node, ast.Call)]
        self._arguments = [keyword for call in calls for keyword in call.keywords if keyword.arg]
        assigned: dict[str, list[ast.Assign]] = {}
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                assigned.setdefault(node.targets[0].id, []).append(node)
        self._assigned = {name: nodes[0] for name, nodes in assigned.items() if len(nodes) == 1}
        self._known = "\n".join(map(ast.unparse, self._assigned.values()))

    def argument(self, name: str) -> ast.expr | None:
        """Return the value of an argument, which must be the same in all calls of the script."""
        values = [self._unnamed(each.value) for each in self._arguments if each.arg == name]
        values = [value for value in values if not self._is_passed_on(value, name)]
        if len({ast.dump(value) for value in values}) > 1:
            raise ValueError(
                f"the script has {len(values)} values of {name}: give the function that you mean"
            )
        return values[0] if values else None

    def _unnamed(self, value: ast.expr) -> ast.expr:
        """Return the call that a name stands for."""
        assigned = self._assigned.get(value.id) if isinstance(value, ast.Name) else None
        return assigned.value if assigned and isinstance(assigned.value, ast.Call) else value

    def _is_passed_on(self, value: ast.expr, name: str) -> bool:
        """Check if a value is that of another call, as in `global_batch_size=common.global_batch_size`."""
        if isinstance(value, ast.Attribute):
            return value.attr == name
        return isinstance(value, ast.Name) and value.id == name and name not in self._assigned

    def mapping(self, name: str) -> dict[str, Any]:
        """Return the arguments of the call that is the value of an argument, with the name of its class."""
        call = self.argument(name)
        if call is None:
            return {}
        if not isinstance(call, ast.Call):
            raise ValueError(f"{name} is {shorten(ast.unparse(call))!r}: give its call in its place")
        if call.args or not all(keyword.arg for keyword in call.keywords):
            raise ValueError(f"give the arguments of {shorten(ast.unparse(call.func))} by name")
        keywords = ", ".join(map(ast.unparse, call.keywords))
        settings = self.value(f"dict({keywords})")
        return {**settings, "_CLASS_": _name_of(call)} if name in _OF_OLMO else settings

    def value(self, source: str) -> Any:
        """Return the value of an expression, with the names that the script assigns."""
        value = mmpython.read(f"{self._known}\njaxlr_value = {source}", None)["jaxlr_value"]
        if isinstance(value, dict):
            return {name: _member(each) for name, each in value.items()}
        return value


def _name_of(call: ast.expr) -> str:
    return ast.unparse(call.func) if isinstance(call, ast.Call) else ""


def _member(value: Any) -> Any:
    """Return the name of a member of an enum, such as `SchedulerUnits.tokens`."""
    if isinstance(value, Unreadable) and (match := re.fullmatch(r"[A-Z]\w*\.([a-z]+)", value.source)):
        return match[1]
    return value
