"""The constructors of a recipe, replayed for one parameter group to find the equivalent call of jaxlr.

In torch a scheduler's constructor already changes the optimizer, so the schedulers of a composite influence
each other before the first step:

- The first constructor stores the group's learning rate as `initial_lr`. Later ones take that as their base
  rate, whatever the learning rate is by then.
- OneCycleLR overwrites `initial_lr`. CyclicLR sets it too, but only if it is constructed first.
- OneCycleLR and SWALR read some of their settings from the group, so that of two the last one wins.
- SequentialLR resets the learning rate to `initial_lr`, and its first active part starts from there.

The effects of the steps that follow are in the rows of `classes`.
"""

import bisect
import functools
from typing import Any, NamedTuple

import jax
import optax

from jaxlr._checks import check_function
from jaxlr.code.calls import called_python
from jaxlr.code.definitions import Function
from jaxlr.code.lambdas import Lambda
from jaxlr.convert.calls import Call, build, taking_over
from jaxlr.convert.chain import stepped_chain
from jaxlr.convert.classes import CLASSES, Effect, TorchClass
from jaxlr.convert.errors import MissingNumStepsError
from jaxlr.schedules.compose import sequential_lr, starting_at, tabulate


_CONVERT_LIVE = "convert the live object with from_torch(scheduler, num_steps=...)"


class Constructor(NamedTuple):
    """A constructor's call in a recipe. The `schedulers` of a composite are constructors as well."""

    torch_class: TorchClass
    arguments: dict[str, Any]
    position: int  # constructors run in rising order of it

    @property
    def name(self) -> str:
        """The name of torch's class."""
        return self.torch_class.name

    @property
    def with_parts(self) -> list["Constructor"]:
        """The constructor itself, and all constructors in it."""
        parts = self.arguments.get("schedulers", [])
        return [self, *(inner for part in parts for inner in part.with_parts)]

    @property
    def is_composite(self) -> bool:
        """True if it steps other schedulers."""
        return self.torch_class.effect is Effect.COMPOSITE

    @property
    def is_chain(self) -> bool:
        """True if it steps all of its schedulers in every epoch, instead of one after the other."""
        return self.name == "ChainedScheduler"


def equivalent_call(constructor: Constructor, init_value: Any, num_steps: int | None) -> Call:
    """Return the call of jaxlr that gives the learning rates of a constructor.

    Args:
        constructor: the constructor that the recipe calls last.
        init_value: learning rate of the optimizer before any constructor has run.
        num_steps: epochs (or steps) to tabulate, for a scheduler without a closed form.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the recipe has no equivalent, or an argument is out of its range.
        MissingNumStepsError: the recipe has to be tabulated, and `num_steps` is None.
    """
    return _ParameterGroup(init_value, num_steps).construct(constructor)


class _ParameterGroup:
    """A parameter group of the optimizer, whose `initial_lr` some constructors overwrite."""

    def __init__(self, init_value: Any, num_steps: int | None):
        self._init_value = self._initial_lr = init_value
        self._num_steps = num_steps
        self._is_fresh = True  # no constructor has stored an initial_lr yet

    def construct(self, constructor: Constructor) -> Call:
        """Return the call for a constructor, after replaying its effect on `initial_lr`."""
        if not constructor.is_composite:
            return self._construct_single(constructor)
        parts = _flattened_parts(constructor)
        _check_parts(constructor, parts)
        order = sorted(range(len(parts)), key=lambda index: parts[index].position)
        constructed = {index: self.construct(parts[index]) for index in order}
        calls = [constructed[index] for index in range(len(parts))]
        if constructor.is_chain:
            _check_chain(parts)
            return self._chained(constructor, calls, order)
        return self._sequential(constructor, parts, _with_stored_settings(parts, calls, order))

    def _construct_single(self, constructor: Constructor) -> Call:
        torch_class, arguments = constructor.torch_class, dict(constructor.arguments)
        if isinstance(after := arguments.get("after_scheduler"), Constructor):
            arguments["after_scheduler"] = self._after_warmup(after, arguments.get("multiplier", 1.0))
        if isinstance(dampened := arguments.get("lr_scheduler"), Constructor):  # of pytorch_warmup
            _check_no_metric(dampened)
            arguments["lr_scheduler"] = self.construct(dampened)
        if torch_class.has_own_base:
            call = self._with_own_base(torch_class, arguments)
        elif torch_class is CLASSES["MultiplicativeLR"]:
            call = self._multiplicative(torch_class, arguments["lr_lambda"])
        else:
            call = Call(torch_class, {"init_value": self._initial_lr, **arguments})
            if "lr_lambda" in arguments:
                call = self._with_function(call, arguments["lr_lambda"])
        self._is_fresh = False
        return call

    def _with_function(self, call: Call, lr_lambda: Any) -> Call:
        """Return the call of a LambdaLR, tabulated if JAX may be unable to trace its function."""
        if isinstance(lr_lambda, Function) and lr_lambda.keeps_rate:
            if self._num_steps is None:
                raise MissingNumStepsError(
                    f"{lr_lambda.source} keeps or scales the rate of the epoch before"
                )
            return Call(call.torch_class, {**call.arguments, "num_steps": self._num_steps}, _kept_rates)
        if isinstance(lr_lambda, Lambda):
            lr_lambda(0)  # torch's constructor calls it too, so an error shows at once
        elif callable(lr_lambda) and self._num_steps is None:
            function = functools.partial(_called, lr_lambda)
            return Call(call.torch_class, {**call.arguments, "lr_lambda": function})
        can_tabulate = self._num_steps is not None and not isinstance(self._initial_lr, jax.Array)
        needs_table = lr_lambda.needs_table if isinstance(lr_lambda, Lambda) else callable(lr_lambda)
        if can_tabulate and needs_table:
            arguments = {**call.arguments, "num_steps": self._num_steps}
            return Call(call.torch_class, arguments, _tabulated_lambda)
        return call

    def _with_own_base(self, torch_class: TorchClass, arguments: dict[str, Any]) -> Call:
        """Construct a class that sets `initial_lr` instead of reading it."""
        if torch_class.name == "OneCycleLR":
            if arguments.get("total_steps") is not None:  # torch ignores the other two then
                arguments = {k: v for k, v in arguments.items() if k not in ("epochs", "steps_per_epoch")}
            build(Call(torch_class, arguments))  # check the arguments before they are divided
            self._initial_lr = arguments["max_lr"] / arguments.get("div_factor", 25.0)
        elif self._is_fresh and torch_class.name == "CyclicLR":
            self._initial_lr = arguments["base_lr"]
        return Call(torch_class, arguments)

    def _after_warmup(self, after: Constructor, multiplier: Any) -> Call:
        """Construct the after_scheduler of a GradualWarmupScheduler, which multiplies its `base_lrs`."""
        torch_class, name = after.torch_class, after.name
        _check_no_metric(after)
        if after.is_composite or torch_class.library == "timm":
            raise ValueError(
                f"a {name} cannot be an after_scheduler: GradualWarmupScheduler cannot step it"
            )
        call = self.construct(after)
        if multiplier == 1 or torch_class.effect not in (Effect.ANNEALS, Effect.OVERWRITES):
            return call
        if name not in ("CosineAnnealingLR", "CosineAnnealingWarmRestarts", "LambdaLR", "OneCycleLR"):
            raise ValueError(f"a {name} after a GradualWarmupScheduler is supported with multiplier=1 only")
        if name == "OneCycleLR":  # it does not read base_lrs
            return call
        function = functools.partial(_multiplied, call.function or torch_class.function, multiplier)
        return call._replace(function=function)

    def _multiplicative(self, torch_class: TorchClass, lr_lambda: Any) -> Call:
        """Construct a running product: an exponential decay if the factor is constant, else a table."""
        check_function("lr_lambda", lr_lambda)
        if isinstance(lr_lambda, Lambda) and lr_lambda.is_constant and (gamma := lr_lambda(1)) > 0:
            return Call(CLASSES["ExponentialLR"], {"init_value": self._initial_lr, "gamma": gamma})
        if self._num_steps is None:
            raise MissingNumStepsError(f"{torch_class.name} is a running product without a closed form")
        arguments = {"init_value": self._initial_lr, "lr_lambda": lr_lambda, "num_steps": self._num_steps}
        return Call(torch_class, arguments)

    def _chained(self, constructor: Constructor, calls: list[Call], order: list[int]) -> Call:
        """Return a chain as the product of its parts if it is one, else as a chain that is stepped."""
        if len(calls) == 1:
            return calls[0]
        for call in calls:
            build(call)  # check the arguments before they are used
        if all(_is_factor(call, self._num_steps) for call in calls):
            factors = [call.with_base(1.0) for call in calls]
            return Call(constructor.torch_class, {"init_value": self._init_value, "factors": factors})
        if self._num_steps is None:
            raise MissingNumStepsError(
                f"this {constructor.name} is not a product, because one of its schedulers overwrites or "
                "shifts the learning rate, so it has to be stepped"
            )
        if isinstance(self._init_value, jax.Array):
            raise TypeError(
                f"init_value must be a number, not a JAX array, for a {constructor.name} that is stepped"
            )
        arguments = {
            "init_value": self._init_value,
            "schedulers": tuple(calls),  # not a list, because `build` would make its calls
            "order": tuple(order),
            "num_steps": self._num_steps,
        }
        return Call(constructor.torch_class, arguments, stepped_chain)

    def _sequential(self, constructor: Constructor, parts: list[Constructor], calls: list[Call]) -> Call:
        """Return a sequence of parts, each based on the rate that it starts from in torch."""
        _check_not_nested(constructor, parts)
        milestones = constructor.arguments["milestones"]

        def sequence(schedules: list[Call], milestones: Any) -> Call:
            return Call(constructor.torch_class, {"schedules": schedules, "milestones": milestones})

        build(sequence(calls, milestones))  # check the milestones before they are used
        # The part that is active first starts from the initial_lr that all constructors together have left.
        first = sum(milestone <= 0 for milestone in milestones)
        based = _rebased(calls[first], self._initial_lr)
        if based is not calls[first] and based.torch_class.effect is Effect.ANNEALS:
            _check_end(based, calls[first], milestones[first] if first < len(milestones) else None)
        calls[first] = based
        for index in range(first + 1, len(parts)):
            calls[index] = taking_over(calls[index])
            if parts[index].torch_class.is_recursive:
                left = _rate_before(calls, milestones, index)
                calls[index] = _rebased(calls[index], left * _factor_at_milestone(parts[index]))
        return sequence(calls, milestones)


def _check_no_metric(warmed: Constructor) -> None:
    if warmed.torch_class.effect is Effect.NEEDS_METRIC:
        raise ValueError(f"a warmup before {warmed.name} is jaxlr.with_plateau(..., warmup=...)")


def _rate_before(calls: list[Call], milestones: Any, index: int) -> Any:
    """Return the last rate before a part of a SequentialLR takes over."""
    epoch = int(milestones[index - 1]) - 1
    active = bisect.bisect_right(milestones[: index - 1], epoch)
    return build(calls[active])(epoch - (milestones[active - 1] if active else 0))


def _kept_rates(init_value: float, lr_lambda: Function, num_steps: int) -> optax.Schedule:
    """Return the rates that a function writes, which keeps or scales the rate of the epoch before."""
    return tabulate(lr_lambda.stepped(float(init_value), num_steps).__getitem__, num_steps)


def _tabulated_lambda(init_value: float, lr_lambda: Any, num_steps: int) -> optax.Schedule:
    """Return the rates of a LambdaLR whose function is called on the host only."""
    return tabulate(lambda epoch: init_value * float(lr_lambda(epoch)), num_steps)


def _multiplied(function: Any, multiplier: Any, **arguments: Any) -> optax.Schedule:
    """Return the rates of a scheduler whose `base_lrs` are multiplied after its constructor has run.

    A cosine computes each rate from the last one. It reads `base_lrs` only to rise again after `T_max`.
    """
    first = function(**arguments)
    other = function(**{**arguments, "init_value": arguments["init_value"] * multiplier})
    begin = arguments.get("T_max", 0) + 1
    return sequential_lr([first, starting_at(other, begin)], [begin])


def _called(function: Any, count: Any) -> Any:
    return called_python(getattr(function, "__name__", "lr_lambda"), function, [count], {})


def _with_stored_settings(parts: list[Constructor], calls: list[Call], order: list[int]) -> list[Call]:
    """Return the calls with the settings that the last one of their class stored in the optimizer."""
    last_of = {parts[index].torch_class: calls[index] for index in order}

    def shared(part: Constructor, call: Call) -> Call:
        stored, last = part.torch_class.stored, last_of[part.torch_class].arguments
        own = {key: value for key, value in call.arguments.items() if key not in stored}
        return call._replace(arguments={**{key: last[key] for key in last if key in stored}, **own})

    return [shared(part, call) for part, call in zip(parts, calls, strict=True)]


def _rebased(call: Call, init_value: Any) -> Call:
    """Return a call for another base rate.

    A scheduler that overwrites the rate keeps the base rate that it was constructed with.
    """
    if "init_value" not in call.arguments or call.torch_class.effect is Effect.OVERWRITES:
        return call
    return call.with_base(init_value)


def _factor_at_milestone(constructor: Constructor) -> float:
    """Return the factor that torch applies to the current rate when a part takes over at its milestone.

    MultiplicativeLR calls its function for epoch 0 then, which it never does alone.
    """
    return constructor.arguments["lr_lambda"](0) if constructor.torch_class.takes_function else 1.0


def _is_factor(call: Call, num_steps: int | None) -> bool:
    """Check if a part of a chain multiplies the rate that it finds, so that the chain can be a product."""
    if call.torch_class.effect is Effect.ANNEALS:
        # A cosine to 0 is a product up to its bottom. Then torch adds the rise of a cosine that is alone,
        # so it is stepped if num_steps allows it.
        ends_at_zero = isinstance(eta_min := call.arguments.get("eta_min", 0), int | float) and eta_min == 0
        return ends_at_zero and num_steps is None
    return call.torch_class.effect is Effect.MULTIPLIES


def _flattened_parts(constructor: Constructor) -> list[Constructor]:
    """Return the parts of a composite. A chain in a chain is replaced by its own parts."""
    parts: list[Constructor] = []
    for part in constructor.arguments["schedulers"]:
        is_inner_chain = constructor.is_chain and part.is_chain
        parts += _flattened_parts(part) if is_inner_chain else [part]
    return parts


def _check_parts(constructor: Constructor, parts: list[Constructor]) -> None:
    if not parts:
        raise ValueError(f"{constructor.name} needs at least one scheduler, got none")
    for part in parts:
        if part.torch_class.effect is Effect.NEEDS_METRIC:
            raise ValueError(
                f"{constructor.name} steps without a metric, so it cannot contain a {part.name}: chain "
                "jaxlr.reduce_lr_on_plateau after an optimizer that has a schedule"
            )


def _check_chain(parts: list[Constructor]) -> None:
    """Refuse chains in which several constructors set the same `initial_lr`.

    A SequentialLR in a chain resets the rate to `initial_lr`, and CyclicLR and OneCycleLR set it. Together
    their result depends on more of torch's state than is replayed here.
    """
    if len(parts) == 1:
        return
    inner = [each for part in parts if part.is_composite for each in part.arguments["schedulers"]]
    for part in inner[1:]:
        if part.torch_class.is_recursive:
            raise ValueError(
                f"a {part.name} in a SequentialLR in a ChainedScheduler is not supported: {_CONVERT_LIVE}"
            )
    cycles = [part.name for part in [*parts, *inner] if part.torch_class.has_own_base]
    if len(cycles) > 1 or (cycles and inner):
        other = "SequentialLR" if inner else cycles[1]
        raise ValueError(
            f"a ChainedScheduler that combines {cycles[0]} with {other} is not supported: {_CONVERT_LIVE}"
        )


def _check_not_nested(constructor: Constructor, parts: list[Constructor]) -> None:
    for index, part in enumerate(parts):
        if part.is_composite:
            fault = "cannot start there" if index else "steps one epoch too far (pytorch#196243)"
            raise ValueError(
                f"part {index + 1} of a {constructor.name} must not be a {part.name}, which torch {fault}: "
                "list its schedulers there directly"
            )


def _check_end(based: Call, constructed: Call, end: int | None) -> None:
    """Refuse a cosine that climbs again after its bottom, if it started from another rate than its base.

    Torch computes the way down from the rate that it finds, but the rise after `T_max` from the base rate
    that the scheduler was constructed with.
    """
    is_same = based.arguments["init_value"] is constructed.arguments["init_value"]
    if not is_same and (end is None or end > based.arguments["T_max"] + 1):
        raise ValueError(
            f"a {based.torch_class.name} that climbs again after T_max is not supported before a "
            f"OneCycleLR or after a CyclicLR: {_CONVERT_LIVE}"
        )
