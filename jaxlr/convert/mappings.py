"""Configs that describe schedulers of torch as mappings, read as the calls that they stand for.

They are the mappings of Hydra (`_target_`), of the LightningCLI (`class_path`), and those with the name of
the class as `type`, `name` or `class`, in Python, JSON or YAML.
"""

import ast
import json
import re
import textwrap
from collections.abc import Mapping
from typing import Any

from jaxlr.code.syntax import source_of
from jaxlr.convert.classes import CLASSES
from jaxlr.convert.foreign import FOREIGN
from jaxlr.convert.optimizers.signatures import NAMES as OPTIMIZERS
from jaxlr.frameworks.files import read_config, read_yaml


_NAMES = ("_target_", "class_path", "type", "name", "class", "scheduler", "scheduler_type")
_ARGUMENTS = ("init_args", "args", "params", "kwargs", "parameters", "config")
_IGNORED = ("_partial_", "_recursive_", "_convert_", "_args_", "verbose")
# Settings of the schedulers of MMEngine, which has classes of the same names.
_OF_MMENGINE = ("by_epoch", "begin", "end", "convert_to_iter_based", "param_name")
_WRAPPERS = ("OptimWrapper", "AmpOptimWrapper", "ApexOptimWrapper")  # of an optimizer, in MMEngine
_YAML = re.compile(rf"^[ \t-]*['\"]?({'|'.join(_NAMES)})['\"]?[ \t]*:[ \t]+\S", re.MULTILINE)
_NAMED = re.compile(r"\$\{([A-Za-z_][\w.]*)\}|\$?@([A-Za-z_]\w*)")  # of Hydra, and of MONAI's bundles
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)")


def as_python(text: str) -> str:
    """Return a config in JSON or YAML as a Python mapping, and any other text as it is."""
    stripped = text.strip()
    if stripped.startswith(("{", "[")):
        try:
            return _literal(json.loads(stripped))
        except (ValueError, RecursionError):
            return text
    if not _YAML.search(text) or not _is_yaml(text):
        return text
    is_list = re.match(r"\s*(#.*\n\s*)*- ", text) is not None
    indented = "config:\n" + re.sub(r"^", "  ", text, flags=re.MULTILINE) if is_list else text
    return _literal(read_config(read_yaml(indented)))


def _is_yaml(text: str) -> bool:
    """Check if a text is no Python. `step_size: 3` is Python too, an annotation."""
    try:
        statements: list[ast.stmt] = ast.parse(textwrap.dedent(text)).body
    except SyntaxError:
        return True
    return all(isinstance(each, ast.AnnAssign) and each.value is None for each in statements)


def _literal(value: Any) -> str:
    """Return a value as Python text.

    Hydra's `${name}` and MONAI's `@name` become names, and YAML's text `1e-4` a number.
    """
    match value:
        case Mapping():
            return f"{{{', '.join(f'{key!r}: {_literal(item)}' for key, item in value.items())}}}"
        case list() | tuple():
            return f"[{', '.join(map(_literal, value))}]"
        case str() if found := _NAMED.fullmatch(value):
            return found[1] or found[2]
        case str() if _NUMBER.fullmatch(value):
            return repr(float(value))
        case bool() | int() | float() | None:
            return f"float('{value}')" if value in (float("inf"), float("-inf")) else repr(value)
    return repr(str(value))


def with_calls(statements: list[ast.stmt]) -> list[ast.stmt]:
    """Replace the mappings in statements by the calls that they stand for."""
    converter = _Converter()
    converted = [converter.visit(statement) for statement in statements]
    if len(converter.optimizers) == 1:
        for call in converter.schedulers:
            call.keywords = [each for each in call.keywords if each.arg != "optimizer"]
            call.keywords.insert(0, ast.keyword("optimizer", converter.optimizers[0]))
    return converted


class _Converter(ast.NodeTransformer):
    """A transformer that replaces mappings, and collects the calls."""

    def __init__(self) -> None:
        self.schedulers: list[ast.Call] = []
        self.optimizers: list[ast.Call] = []

    def visit_Dict(self, node: ast.Dict) -> ast.expr:
        """Replace a mapping that names a class."""
        self.generic_visit(node)
        pairs = zip(node.keys, node.values, strict=True)
        return self._converted(node, {_text(key): value for key, value in pairs})

    def visit_Call(self, node: ast.Call) -> ast.expr:
        """Replace a `dict(type="StepLR", step_size=3)`."""
        self.generic_visit(node)
        if not isinstance(node.func, ast.Name) or node.func.id != "dict" or node.args:
            return node
        return self._converted(node, {each.arg: each.value for each in node.keywords})

    def _converted(self, node: ast.expr, values: dict[str | None, ast.expr]) -> ast.expr:
        if _text(values.get("type")) in _WRAPPERS:
            raise ValueError(
                f"cannot read the {_text(values['type'])}: it is MMEngine's. Give its optimizer alone, "
                "such as dict(type='SGD', lr=0.1), and convert its schedule with jaxlr.from_config"
            )
        tag = next((key for key in _NAMES if _class_in(values.get(key))), None)
        if tag is None or None in values:
            return node
        name = _class_in(values.pop(tag)) or ""
        wrapped = next((key for key in _ARGUMENTS if isinstance(values.get(key), ast.Dict)), None)
        if wrapped is not None:
            # What stands beside the arguments, such as "interval", is not the scheduler's.
            inner: Any = values[wrapped]
            values = {_text(key): item for key, item in zip(inner.keys, inner.values, strict=True)}
        keywords = [ast.keyword(key, value) for key, value in values.items() if key not in _IGNORED]
        call = ast.Call(ast.Name(name, ast.Load()), [], keywords)
        if name in OPTIMIZERS:
            self.optimizers.append(call)
            return call
        _check_is_torchs(name, tag, values)
        self.schedulers.append(call)
        return call


def _class_in(node: ast.expr | None) -> str | None:
    """Return the class of a scheduler or optimizer that a value names, as a text or as the class."""
    match node:
        case ast.Constant(value=str() as text):
            name = text.rpartition(".")[2]
        case ast.Name() | ast.Attribute():
            name = source_of(node).rpartition(".")[2]
        case _:
            return None
    return name if name in CLASSES or name in FOREIGN or name in OPTIMIZERS else None


def _check_is_torchs(name: str, tag: str, values: Mapping[str | None, Any]) -> None:
    """Refuse a scheduler of MMEngine: its classes have the same names, but other settings."""
    if found := [key for key in _OF_MMENGINE if key in values]:
        raise ValueError(
            f"cannot read the {name} with {found[0]!r}: it is MMEngine's, which differs from torch's. "
            "Convert the config with jaxlr.from_config"
        )
    if tag == "type" and name in ("LinearLR", "ConstantLR") and "total_iters" not in values:
        raise ValueError(
            f"cannot read the {name} without total_iters: it is 5 in torch, but endless in MMEngine. Write "
            "total_iters"
        )


def _text(node: ast.expr | None) -> str | None:
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None
