"""Python configs and scripts: those of transformers, Ultralytics, torchtitan, OLMo-core and YOLOX."""

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxlr._checks import shorten
from jaxlr.frameworks import mmpython
from jaxlr.frameworks.recipe import Unreadable


# The classes that hold TrainingArguments in transformers, sentence-transformers and TRL.
_TRAINER = re.compile(
    r"\w*TrainingArguments\(|(?:RF)?(?:Async|Online)?(?:SFT|DPO|GRPO|RLOO|KTO|ORPO|CPO|BCO|PPO|TPO|XPO|PRM|GKD|"
    r"Reward|NashMD|SDFT|SDPO|SSD|GOLD|GMPO|MiniLLM|A2PO|Distillation)Config\("
)
_YOLO = re.compile(r"\b(YOLO(?:World|E)?|RTDETR)\(")  # of Ultralytics
_OF_YOLO = {"data", "epochs", "batch", "imgsz", "resume"}  # one of them is in a call of its train
_EXPERIMENT = re.compile(r"^class Exp\(\w*Exp\)", re.MULTILINE)  # of YOLOX
_METHODS = ("get_lr_scheduler", "get_optimizer")
_TITAN = re.compile(r"\bTrainer\.Config\(|\bLRSchedulersContainer\.Config\(")
_OLMO = re.compile(r"TrainModuleConfig\(")
# The arguments whose values are the config of each, and the functions that take the rate of all parameters.
_OF_TITAN = ("optimizer", "lr_scheduler", "training")
_OF_OLMO = ("optim", "scheduler", "max_duration", "global_batch_size", "max_grad_norm")
_WITH_RATE = ("default_adamw", "OptimizersContainer.Config")
_CHANGED = re.compile(rf"\.({'|'.join([*_OF_TITAN, *_OF_OLMO])})\b[\w.]*\s*=[^=]")


def read_python(text: str, path: Path | None) -> Mapping[str, Any]:
    """Return the settings of a Python config, or those that a script builds."""
    settings = mmpython.read(text, path)
    if _TITAN.search(text):
        return _of_titan(_Script(text))
    if _OLMO.search(text):
        return _of_olmo(_Script(text))
    if _EXPERIMENT.search(text):
        return {**mmpython.read(_attributes(text), None), "is_experiment": True}
    if _TRAINER.search(text):
        return _of_call(text, settings, _is_trainer, "TrainingArguments", "is_training_arguments")
    if _YOLO.search(text):
        return _of_call(text, settings, _is_call_of_yolo, "calls of train", "is_yolo_train")
    return settings


def _of_call(
    text: str, settings: Mapping[str, Any], is_it: Callable[[ast.Call], bool], described: str, mark: str
) -> Mapping[str, Any]:
    """Return the arguments of the only call of a function, and the mark of its framework."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call) and is_it(node)]
    if not calls:
        return settings
    if len(calls) > 1:
        raise ValueError(f"the text has {len(calls)} {described}: give the one that you mean")
    arguments = mmpython.read(ast.get_source_segment(text, calls[0]) or "", None)
    # A name stands for the value that the script gives it before.
    known = {
        name: settings.get(value.source, value) if isinstance(value, Unreadable) else value
        for name, value in arguments.items()
    }
    return {**known, mark: True}


def _of_titan(script: "_Script") -> Mapping[str, Any]:
    """Return the config that a script of torchtitan builds, in the form of its TOML files."""
    found = {name: script.mapping(name) for name in _OF_TITAN}
    call = script.argument("optimizer")
    if call and ("param_groups" in found["optimizer"] or _name_of(call) not in _WITH_RATE):
        found["optimizer"] = {"lr": Unreadable(ast.unparse(call))}
    return {"job": {}, **found}  # a section that only torchtitan has


def _of_olmo(script: "_Script") -> Mapping[str, Any]:
    """Return the config that a script of OLMo-core builds, in the form of its `config.json`."""
    module = {name: script.mapping(name) for name in ("optim", "scheduler") if script.argument(name)}
    config: dict[str, Any] = {"train_module": module, "trainer": {}, "data_loader": {}}
    for section, name in ((module, "max_grad_norm"), (config["data_loader"], "global_batch_size")):
        if (value := script.argument(name)) is not None:
            section[name] = script.value(value)
    duration = script.argument("max_duration")
    if isinstance(duration, ast.Call) and len(duration.args) == 1 and not duration.keywords:
        unit = _name_of(duration).rpartition(".")[2]
        config["trainer"] = {"max_duration": {"value": script.value(duration.args[0]), "unit": unit}}
    return config


class _Script:
    """The calls of a script, and the names that it assigns once."""

    def __init__(self, text: str):
        if match := _CHANGED.search(text):
            raise ValueError(
                f"the script sets {match[1]} after the call: give the call with the final values"
            )
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
        settings = self.value(ast.Call(ast.Name("dict", ast.Load()), [], call.keywords))
        return {**settings, "_CLASS_": _name_of(call)} if name in _OF_OLMO else settings

    def value(self, node: ast.expr) -> Any:
        """Return the value of an expression, with the names that the script assigns."""
        value = mmpython.read(f"{self._known}\njaxlr_value = {ast.unparse(node)}", None)["jaxlr_value"]
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


def _attributes(text: str) -> str:
    """Return the attributes that the `__init__` of a class sets, as the lines of a config."""
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)]
    lines = [f"{each.name} = True" for each in functions if each.name in _METHODS]
    for statement in (line for each in functions if each.name == "__init__" for line in each.body):
        match statement:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]):
                lines.append(f"{name} = {ast.unparse(statement.value)}")
    return "\n".join(lines)


def _is_trainer(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    return bool(call.keywords) and _TRAINER.fullmatch(f"{name}(") is not None


def _is_call_of_yolo(call: ast.Call) -> bool:
    is_method = isinstance(call.func, ast.Attribute) and call.func.attr == "train"
    return is_method and not _OF_YOLO.isdisjoint(keyword.arg or "" for keyword in call.keywords)
