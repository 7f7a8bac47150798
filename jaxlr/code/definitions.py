"""The functions that a recipe defines with `def`, evaluated by walking their statements."""

import ast
import copy
import functools
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from jaxlr.code.builders import OutsideChanges, outside_changes
from jaxlr.code.execution import Execution
from jaxlr.code.expressions import Evaluator
from jaxlr.code.lambdas import Frame, Lambda
from jaxlr.code.syntax import source_of
from jaxlr.code.values import ABSENT, UNKNOWN, names_in


class Function(Lambda):
    """A function that is defined with `def`.

    Args:
        node: its definition.
        evaluator: the evaluator of the text around it.
        scope: values of the variables around it.
    """

    def __init__(self, node: ast.FunctionDef, evaluator: Evaluator, scope: Mapping[str, Any]):
        super().__init__(node, evaluator, scope)
        self.is_rate = False  # its value is the rate itself, not a factor
        self._group: int | None = None  # that of the rate that it writes, instead of returning it
        self._rate: Any = ABSENT  # of the group before the call

    def as_rate(self, group: int) -> "Function":
        """Return the function of the epoch whose value is the rate of a parameter group.

        The values of its other parameters are looked up by their names.
        """
        count = self._count()
        function = copy.copy(self)
        function._scope = {name: value for name, value in self._scope.items() if name != count}
        function.parameters = [count, *function._scope]
        owners = {
            source_of(e.value) for e in ast.walk(self._node) if is_group(e) and isinstance(e, ast.Attribute)
        }
        if len(owners) > 1 and self.writes_rate:
            first, second = sorted(owners)[:2]
            raise ValueError(f"{self.source} sets the rates of {first} and {second}: give the lines of one")
        function.is_rate, function._group = True, group if self.writes_rate else None
        if function.keeps_rate:
            function._rate = UNKNOWN
        return function

    @property
    def writes_rate(self) -> bool:
        """True if it writes the rate of an optimizer."""
        return writes_rate(self._node)

    @property
    def takes_count(self) -> bool:
        """True if one of its parameters is the epoch or step."""
        return any(map(is_count, self.parameters))

    @functools.cached_property
    def keeps_rate(self) -> bool:
        """True if the rate depends on that of the epoch before, which the function reads or may leave."""
        if self._group is None:
            return False
        return self._executed(
            self._evaluator.with_budget(), self.bound([], self._of_unknown()), UNKNOWN
        ).keeps_rate

    def stepped(self, init_value: float, num_steps: int) -> list[float]:
        """Return the rates after the calls for the first epochs."""
        rates = [init_value]
        function = copy.copy(self)
        for epoch in range(num_steps):
            function._rate = rates[-1]
            rates.append(float(function(epoch)))
        return rates[1:]

    def _count(self) -> str:
        """Return the parameter that is the epoch or step. Only its name can tell it from the others."""
        read = {each for part in self._node.body for each in names_in(part)}
        named = [name for name in self.parameters if is_count(name)]
        named = [name for name in named if name in read and name in self.required] or named
        named = [name for name in named if name not in _LETTERS] or named
        given = [name for name in named if self._evaluator.is_bound(ast.Name(name), {})]
        free = [name for name in named if name not in given] or named
        if not free:
            raise ValueError(
                f"the text constructs no scheduler, and its function {self._node.name!r} does not take the "
                "epoch: if one of its parameters is the epoch, call it 'epoch'"
            )
        if len(free) > 1:
            others = ", ".join(f"{name!r}: ..." for name in free[1:])
            raise ValueError(
                f"cannot tell which parameter of {self._node.name!r} is the epoch, "
                f"{' or '.join(map(repr, free))}: give the others, as in names={{{others}}}"
            )
        return free[0]

    @property
    def source(self) -> str:
        """The name of the function."""
        return self._node.name

    @functools.cached_property
    def outside_changes(self) -> OutsideChanges:
        """The variables around the function that a call of it changes."""
        return outside_changes(self._node)

    def evaluate(self, evaluator: Evaluator, positional: Sequence[Any], by_name: Mapping[str, Any]) -> Any:
        """Return the result of a call, calculated by an evaluator."""
        execution = self._executed(evaluator, self.bound(positional, by_name), self._rate)
        result = execution.result if self._group is None else execution.rate
        if result is ABSENT:
            raise ValueError(f"the function {self._node.name!r} does not return a value in every epoch")
        return result

    def _executed(self, evaluator: Evaluator, frame: Frame, rate: Any) -> Execution:
        execution = Execution(evaluator, frame, Function, self._group, rate)
        execution.run(self._node.body)
        return execution


# The usual letters for the epoch or step. A "p" is a fraction of the run.
_LETTERS = ("e", "i", "k", "n", "s", "t", "x")
# The words in the names of the epoch or step.
_COUNTED = {
    "batch",
    "ep",
    "epoch",
    "it",
    "iter",
    "iteration",
    "iters",
    "iterations",
    "step",
    "update",
    "updates",
}
_CURRENT = {"cur", "curr", "current", "global", "i", "idx", "index", "now", "this"}


def is_count(name: str) -> bool:
    """Check if the name of a variable says that it is the current epoch or step, such as `cur_iters`."""
    if name in (*_LETTERS, "current", "n_iter", "num_updates"):
        return True
    spelled = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    words = {*re.sub(r"_(count|num|number|no)$", "_idx", spelled).split("_")}
    is_current = bool(words & _CURRENT) or not spelled.endswith("s")
    return bool(words & _COUNTED) and words <= _COUNTED | _CURRENT and is_current


def writes_rate(node: ast.AST, known: Collection[str] = ()) -> bool:
    """Check if a statement writes the learning rate of an optimizer's parameter group.

    Args:
        node: the statement.
        known: the names of mappings that are no parameter groups, such as those of a log.
    """
    loops = [each for each in ast.walk(node) if isinstance(each, ast.For | ast.comprehension)]
    groups = {source_of(each.target) for each in loops if is_group(each.iter)}
    for each in ast.walk(node):
        match each:
            case ast.Subscript(value=owner, slice=ast.Constant(value="lr" | "initial_lr"), ctx=ast.Store()):
                if source_of(owner) not in known:
                    return True
            case ast.Subscript(value=owner, slice=ast.expr() as key, ctx=ast.Store()):
                if not isinstance(key, ast.Constant) and is_group(owner):
                    return True
            case ast.Call(func=ast.Attribute(value=owner, attr="update")) as call:
                is_plain = all(isinstance(item, ast.Dict | ast.Constant) for item in call.args)
                is_rate = "lr" in source_of(call) or not is_plain
                if is_rate and (is_group(owner) or source_of(owner) in groups):
                    return True
            case _:
                pass
    return False


def is_group(node: ast.AST) -> bool:
    """Check if an expression stands for the parameter groups of an optimizer, or for one of them."""
    while isinstance(node, ast.Subscript):
        node = node.value
    return isinstance(node, ast.Attribute) and node.attr == "param_groups"
