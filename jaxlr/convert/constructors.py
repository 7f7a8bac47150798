"""What the constructors of a torch recipe come to, once each has changed the optimizer as torch's does."""

import inspect
from typing import Any, NamedTuple

import jax

from jaxlr._checks import check_function
from jaxlr.convert.calls import FUNCTIONS, Call, build
from jaxlr.convert.chain import stepped_chain
from jaxlr.convert.lambdas import Lambda


COMPOSITES = ("SequentialLR", "ChainedScheduler")

# What multiplies the learning rate that it finds, so that a chain of such is a product.
FACTORS = (
    *("MultiplicativeLR", "StepLR", "MultiStepLR", "ConstantLR", "LinearLR", "ExponentialLR"),
    "PolynomialLR",
)
# What has no closed form, so that torch goes on from the rate that the part before it left.
GOES_ON = ("MultiplicativeLR", "SWALR")
# What these keep in the optimizer, where the last one constructed overwrites it.
_WRITTEN = {"OneCycleLR": ("max_lr", "div_factor", "final_div_factor"), "SWALR": ("swa_lr",)}


class Constructor(NamedTuple):
    """A class of torch and its arguments; those of a composite hold constructors."""

    name: str
    arguments: dict[str, Any]
    position: int  # constructors run in rising order of it


def required(name: str) -> list[str]:
    """The arguments that a class cannot do without, after its optimizer."""
    if name in COMPOSITES:
        return ["schedulers", "milestones"][: 2 if name == "SequentialLR" else 1]
    parameters = inspect.signature(FUNCTIONS[name]).parameters.values()
    needed = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    return [key for key in needed if key not in ("init_value", "num_steps")]


def as_call(constructor: Constructor, init_value: Any, num_steps: int | None) -> Call:
    """The call of jaxlr's that gives the learning rates of a constructor.

    Args:
        constructor: what the recipe constructs last.
        init_value: learning rate of the optimizer before that.
        num_steps: epochs (or steps) that a running product is tabulated for.

    Raises:
        ValueError: the recipe has no equivalent, or an argument is out of its range.
    """
    return _Group(init_value, num_steps).construct(constructor)


class _Group:
    """A parameter group, whose `initial_lr` the constructors of OneCycleLR and CyclicLR overwrite."""

    def __init__(self, init_value: Any, num_steps: int | None):
        self._init_value = self._initial_lr = init_value
        self._num_steps = num_steps
        self._is_fresh = True

    def construct(self, constructor: Constructor) -> Call:
        """Construct a scheduler, its parts first."""
        if constructor.name not in COMPOSITES:
            return self._leaf(constructor)
        parts = _without_inner_chains(constructor)
        if not parts:
            raise ValueError(f"{constructor.name} needs at least one scheduler, got none")
        if plateaus := [part for part in parts if part.name == "ReduceLROnPlateau"]:
            raise ValueError(
                f"{constructor.name} steps without a metric, so it takes no {plateaus[0].name}: chain "
                "jaxlr.reduce_lr_on_plateau after an optimizer that has a schedule"
            )
        order = sorted(range(len(parts)), key=lambda index: parts[index].position)
        constructed = {index: self.construct(parts[index]) for index in order}
        calls = [constructed[index] for index in range(len(parts))]
        if constructor.name == "ChainedScheduler":
            _check_chain(parts)
            return self._chained(calls, order)
        for name, keys in _WRITTEN.items():
            of_class = [index for index in order if parts[index].name == name]
            for index in of_class:
                calls[index] = _with_values_of(calls[of_class[-1]], keys, calls[index])
        return self._sequential(parts, calls, constructor.arguments["milestones"])

    def _leaf(self, constructor: Constructor) -> Call:
        name, arguments = constructor.name, dict(constructor.arguments)
        if name == "OneCycleLR":
            if arguments.get("total_steps") is not None:  # then torch does not look at the others
                arguments = {k: v for k, v in arguments.items() if k not in ("epochs", "steps_per_epoch")}
            call = Call(name, arguments)
            build(call)
            self._initial_lr = arguments["max_lr"] / arguments.get("div_factor", 25.0)
        elif name == "CyclicLR":
            call = Call(name, arguments)
            if self._is_fresh:
                self._initial_lr = arguments["base_lr"]
        elif name == "MultiplicativeLR":
            call = self._multiplicative(arguments["lr_lambda"])
        else:
            call = Call(name, {"init_value": self._initial_lr, **arguments})
        if name == "LambdaLR" and isinstance(arguments["lr_lambda"], Lambda):
            arguments["lr_lambda"](0)  # as torch's constructor does: what fails at once is refused at once
        self._is_fresh = False
        return call

    def _multiplicative(self, lr_lambda: Any) -> Call:
        check_function("lr_lambda", lr_lambda)
        if isinstance(lr_lambda, Lambda) and lr_lambda.is_constant and (gamma := lr_lambda(1)) > 0:
            return Call("ExponentialLR", {"init_value": self._initial_lr, "gamma": gamma})
        if self._num_steps is None:
            raise ValueError(
                "MultiplicativeLR is a running product, tabulated for a number of epochs (or steps): "
                "give num_steps"
            )
        arguments = {"init_value": self._initial_lr, "lr_lambda": lr_lambda, "num_steps": self._num_steps}
        return Call("MultiplicativeLR", arguments)

    def _chained(self, calls: list[Call], order: list[int]) -> Call:
        if len(calls) == 1:
            return calls[0]
        for call in calls:
            build(call)  # arguments are refused before they are counted on
        if all(_is_factor(call, self._num_steps) for call in calls):
            factors = [call.based_on(1.0) for call in calls]
            return Call("ChainedScheduler", {"init_value": self._init_value, "factors": factors})
        if self._num_steps is None:
            raise ValueError(
                "this ChainedScheduler is no product, as one of its schedulers overwrites or shifts the "
                "learning rate; it can be stepped for a number of epochs (or steps): give num_steps"
            )
        if isinstance(self._init_value, jax.Array):
            raise TypeError(
                "init_value must be a number, not traced, for a ChainedScheduler that is stepped"
            )
        arguments = {"init_value": self._init_value, "schedulers": tuple(calls), "order": tuple(order)}
        return Call("ChainedScheduler", {**arguments, "num_steps": self._num_steps}, stepped_chain)

    def _sequential(self, parts: list[Constructor], calls: list[Call], milestones: Any) -> Call:
        for index, part in enumerate(parts):
            if part.name in COMPOSITES:
                fault = "cannot start" if index else "steps one epoch too far (pytorch#196243)"
                raise ValueError(
                    f"torch {fault} a {part.name} that is part {index + 1} of a SequentialLR: "
                    "list its schedulers there themselves"
                )
        sequence = Call("SequentialLR", {"schedules": calls, "milestones": milestones})
        build(sequence)  # the milestones are refused before they are counted on
        first = sum(milestone <= 0 for milestone in milestones)
        # The part that is active first starts from the rate that all constructors have left.
        based = _based_on(self._initial_lr, calls[first])
        if based is not calls[first] and based.torch_name == "CosineAnnealingLR":
            _check_end(based, calls[first], milestones[first] if first < len(milestones) else None)
        calls[first] = based
        for index in range(first + 1, len(parts)):
            if parts[index].name in GOES_ON:
                start = milestones[index - 1]
                before = {"schedules": calls[:index], "milestones": milestones[: index - 1]}
                left = build(Call("SequentialLR", before))(int(start) - 1)
                calls[index] = _based_on(left * _factor_at_0(parts[index]), calls[index])
        return sequence


def _with_values_of(last: Call, keys: tuple[str, ...], call: Call) -> Call:
    """A call with the values that the last one of its class has written into the optimizer."""
    kept = {key: value for key, value in call.arguments.items() if key not in keys}
    return call._replace(arguments={**{k: v for k, v in last.arguments.items() if k in keys}, **kept})


def _based_on(init_value: Any, call: Call) -> Call:
    """A call based on another rate, unless torch's scheduler keeps the one that it was constructed on."""
    if "init_value" not in call.arguments or call.torch_name in ("LambdaLR", "CosineAnnealingWarmRestarts"):
        return call
    return call.based_on(init_value)


def _check_end(based: Call, constructed: Call, end: int | None) -> None:
    """Past its bottom torch's cosine climbs from what it was constructed on, not from where it began."""
    is_same = based.arguments["init_value"] is constructed.arguments["init_value"]
    if not is_same and (end is None or end > based.arguments["T_max"] + 1):
        raise ValueError(
            "a CosineAnnealingLR that goes on after T_max before a OneCycleLR or after a CyclicLR is not "
            "supported: convert the live object with from_torch(scheduler, num_steps=...)"
        )


def _factor_at_0(constructor: Constructor) -> float:
    """What torch multiplies the rate that it finds with when the part is at its milestone."""
    return constructor.arguments["lr_lambda"](0) if constructor.name == "MultiplicativeLR" else 1.0


def _check_chain(parts: list[Constructor]) -> None:
    """Refuse what would take more of torch's bookkeeping than anybody means."""
    if len(parts) == 1:
        return
    inner = [each for part in parts if part.name == "SequentialLR" for each in part.arguments["schedulers"]]
    cycles = [part.name for part in [*parts, *inner] if part.name in ("CyclicLR", "OneCycleLR")]
    goers = [part.name for part in inner[1:] if part.name in GOES_ON]
    if len(cycles) > 1 or (cycles and inner) or goers:
        name = (goers or cycles)[0]
        raise ValueError(
            f"a ChainedScheduler with this SequentialLR or second cycle beside {name} is not supported: "
            "convert the live object with from_torch(scheduler, num_steps=...)"
        )


def _without_inner_chains(constructor: Constructor) -> list[Constructor]:
    """The parts of a composite; a chain within a chain steps its own in its place."""
    parts: list[Constructor] = []
    for part in constructor.arguments["schedulers"]:
        is_inner = constructor.name == part.name == "ChainedScheduler"
        parts += _without_inner_chains(part) if is_inner else [part]
    return parts


def _is_factor(call: Call, num_steps: int | None) -> bool:
    """Whether torch's scheduler multiplies the learning rate that it finds."""
    if call.torch_name == "CosineAnnealingLR":
        # Up to its end. From there on it adds what it would have climbed alone: it is stepped if it can be.
        ends_at_zero = isinstance(eta_min := call.arguments.get("eta_min", 0), int | float) and eta_min == 0
        return ends_at_zero and num_steps is None
    return call.torch_name in FACTORS
