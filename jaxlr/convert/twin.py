"""A twin of a live torch scheduler: a copy that can be stepped without changing anything live.

`copy.deepcopy` shares functions, so a copied scheduler would still call functions that change the live
objects they close over. Here a function is copied with all that it reads. The parameters become tensors
without memory and without gradients, so that no step of an optimizer can train the live model.
"""

import contextlib
import copy
import dis
import functools
import types
from collections.abc import Iterator
from typing import Any


# Objects that have no state of their own to change, so that a twin may share them.
_SHARED = (type, types.ModuleType, types.BuiltinFunctionType, types.CodeType)


class StepsOptimizerError(Exception):
    """A step of a scheduler that steps the optimizer as well."""


class StatefulFunctionError(ValueError):
    """A function of the epoch that ignores the epoch and reads something that may change."""


class NotCopiedError(TypeError):
    """A step of a scheduler that uses something that cannot be copied, such as a generator."""


def twin_of(scheduler: Any) -> Any:
    """Return a copy of a scheduler whose steps change nothing live.

    The `step` of its optimizer raises a StepsOptimizerError. The use of something that cannot be copied
    raises a NotCopiedError.
    """
    optimizer = scheduler.optimizer
    memo: dict[int, Any] = {id(p): _hollow(p) for each in optimizer.param_groups for p in each["params"]}
    if (state := getattr(optimizer, "state", None)) is not None:
        memo[id(state)] = {}
    # A scheduler wraps this method, which holds torch's compiler once that is in use.
    if "step" in getattr(optimizer, "__dict__", {}):
        memo[id(vars(optimizer)["step"])] = _refuse_step
    twin = _Copier(memo).copy(scheduler)
    twin.optimizer.step = _refuse_step
    return twin


def _refuse_step(*_: Any, **__: Any) -> None:
    raise StepsOptimizerError


def _hollow(parameter: Any) -> Any:
    """Return a tensor of the same shape that has no memory and no gradient."""
    try:
        return parameter.detach().to("meta")
    except (AttributeError, RuntimeError, NotImplementedError):
        return parameter.detach().clone()


class _NotCopied:
    """A stand-in for an object that cannot be copied. Whoever uses it gets a NotCopiedError."""

    def __init__(self, reason: str):
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        raise NotCopiedError(self._reason)

    def _refuse(self, *_: Any) -> Any:
        raise NotCopiedError(self._reason)

    __next__ = __iter__ = __call__ = __len__ = __bool__ = __getitem__ = __contains__ = __float__ = _refuse


class _Copier:
    """Deep copies, of functions as well.

    Args:
        memo: the copies that exist already, by the id of the original.
    """

    def __init__(self, memo: dict[int, Any]):
        self._memo = memo
        self._globals: dict[int, dict[str, Any]] = {}
        self._kept: list[Any] = []  # keeps every original alive, so that no id is used twice

    def copy(self, value: Any) -> Any:
        """Return a copy of a value. An object that cannot be copied is rebuilt from copied attributes."""
        if isinstance(value, _SHARED):
            return value
        self._prepare(value, set())
        if id(value) in self._memo:
            return self._memo[id(value)]
        before = dict(self._memo)
        try:
            return copy.deepcopy(value, self._memo)
        except Exception as error:
            self._memo.clear()
            self._memo |= before
            try:
                return self._rebuilt(value)
            except Exception:
                twin = _NotCopied(f"a {type(value).__name__} cannot be copied: {error}")
                self._remember(value, twin)
                return twin

    def _rebuilt(self, value: Any) -> Any:
        if isinstance(value, Iterator):  # to use it would consume it
            raise TypeError
        if isinstance(value, types.MethodType):
            return types.MethodType(self.copy(value.__func__), self.copy(value.__self__))
        if isinstance(value, functools.partial):
            keywords = {key: self.copy(item) for key, item in value.keywords.items()}
            return functools.partial(self.copy(value.func), *map(self.copy, value.args), **keywords)
        if isinstance(value, dict):
            twin: Any = copy.copy(value)
            self._remember(value, twin)
            for key in value:
                twin[key] = self.copy(value[key])
            return twin
        if type(value) in (list, tuple, set):
            return type(value)(map(self.copy, value))
        if not hasattr(value, "__dict__"):
            return value  # a lock or another handle of the system
        twin = object.__new__(type(value))
        self._remember(value, twin)
        for key, item in vars(value).items():
            twin.__dict__[key] = self.copy(item)
        return twin

    def _remember(self, value: Any, twin: Any) -> None:
        self._memo[id(value)] = twin
        self._kept.append(value)

    def _prepare(self, value: Any, seen: set[int]) -> None:
        """Copy all functions that a value holds into the memo, where `deepcopy` finds them."""
        if id(value) in seen or id(value) in self._memo or isinstance(value, _SHARED):
            return
        seen.add(id(value))
        self._kept.append(value)
        if isinstance(value, types.FunctionType):
            self._function(value)
            return
        held: list[Any] = []
        if isinstance(value, dict):
            held += value.values()
        elif isinstance(value, list | tuple | set):
            held += value
        elif isinstance(value, types.MethodType):
            held.append(value.__self__)
        elif isinstance(value, functools.partial):
            held += [value.func, *value.args, *value.keywords.values()]
        elif hasattr(value, "__dict__"):
            held += vars(value).values()
        for item in held:
            self._prepare(item, seen)

    def _function(self, function: types.FunctionType) -> None:
        cells = tuple(types.CellType() for _ in function.__closure__ or ())
        names = set(_global_names(function.__code__)) & function.__globals__.keys()
        scope = function.__globals__
        if any(not isinstance(scope[name], _SHARED) for name in names) or _writes_globals(function):
            scope = self._globals.setdefault(id(scope), dict(scope))
        twin = types.FunctionType(
            function.__code__, scope, function.__name__, function.__defaults__, cells or None
        )
        self._remember(function, twin)
        twin.__defaults__ = self.copy(function.__defaults__)
        twin.__kwdefaults__ = self.copy(function.__kwdefaults__)
        twin.__dict__.update(self.copy(vars(function)))
        for cell, original in zip(cells, function.__closure__ or (), strict=True):
            try:
                content = original.cell_contents
            except ValueError:  # the variable has no value yet
                continue
            cell.cell_contents = self.copy(content)
        if scope is not function.__globals__:
            for name in names:
                scope[name] = self.copy(function.__globals__[name])


def check_function_of_epoch(function: Any, seen: set[int] | None = None) -> None:
    """Refuse a function that ignores the epoch and reads something else that may change.

    Args:
        function: the function, or any other object, which is not checked.
        seen: the ids of functions that have been checked.

    Raises:
        StatefulFunctionError: it does, or a function that it calls does.
    """
    seen = set() if seen is None else seen
    if not isinstance(function, types.FunctionType) or id(function) in seen:
        return
    seen.add(id(function))
    code = function.__code__
    epoch = code.co_varnames[:1] if code.co_argcount else ()
    outer = _outer_values(function)
    stateful = [name for name, value in outer.items() if not isinstance(value, (*_SHARED, Iterator))]
    with_default = code.co_varnames[: code.co_argcount][-len(function.__defaults__ or ()) :]
    defaults = dict(zip(with_default, function.__defaults__ or (), strict=False))
    stateful += [name for name, value in defaults.items() if not _is_constant(value)]
    if epoch and stateful and not _read_names(code) & {*epoch}:
        raise StatefulFunctionError(
            f"the function {function.__name__!r} ignores the epoch and reads {stateful[0]!r}, which may "
            "change during the run: write a function of the epoch, or store a constant in it, as in "
            "lambda epoch, gamma=0.95: gamma"
        )
    for value in outer.values():
        if isinstance(value, types.FunctionType) and value.__code__.co_argcount:
            check_function_of_epoch(value, seen)


def _is_constant(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_constant, value))
    return value is None or isinstance(value, int | float | str)


def _outer_values(function: types.FunctionType) -> dict[str, Any]:
    """Return the values that a function reads from the scopes around it, by name, without builtins."""
    code = function.__code__
    values: dict[str, Any] = {}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # the variable has no value yet
            values[name] = cell.cell_contents
    names = [name for name in _global_names(code) if name in function.__globals__]
    return {**values, **{name: function.__globals__[name] for name in names}}


def _read_names(code: types.CodeType) -> set[str]:
    """Return the names of the variables that a function reads, or that functions in it may read."""
    names = set(code.co_cellvars)
    for instruction in dis.get_instructions(code):
        if instruction.opname.startswith("LOAD_"):
            value = instruction.argval
            names.update(value if isinstance(value, tuple) else (str(value),))
    return names


@functools.lru_cache(maxsize=1000)
def _global_names(code: types.CodeType) -> list[str]:
    """Return the global names that a function reads, those of the functions in it included."""
    names = [
        each.argval for each in dis.get_instructions(code) if each.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    ]
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return [*names, *(name for each in inner for name in _global_names(each))]


def _writes_globals(function: types.FunctionType) -> bool:
    return any(each.opname == "STORE_GLOBAL" for each in dis.get_instructions(function.__code__))
