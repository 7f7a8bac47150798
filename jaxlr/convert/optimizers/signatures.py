"""The constructors of torch's and timm's optimizers: their parameters, defaults and checks."""

import ast
import dataclasses
import functools
import inspect
import math
import re
from collections.abc import Mapping
from typing import Any

from jaxlr._checks import shown_value
from jaxlr.code.syntax import literal
from jaxlr.convert.errors import ConflictingRateError
from jaxlr.convert.optimizers.updates import RULES


# The parameters after `params`, in the words of torch 2.13.
_ADAM = "lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0"
_OWN_NAMES = ("name", "group_name", "params", "param_names")  # keys of a group that change no update
_SPEED = "foreach=None, capturable=False, differentiable=False"
_ROWS = {
    "SGD": (
        "lr=1e-3, momentum=0, dampening=0, weight_decay=0, nesterov=False, "
        "*, maximize=False, foreach=None, differentiable=False, fused=None"
    ),
    "Adam": (
        f"{_ADAM}, amsgrad=False, *, maximize=False, {_SPEED}, fused=None, decoupled_weight_decay=False"
    ),
    "AdamW": (
        "lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, "
        f"*, maximize=False, {_SPEED}, fused=None"
    ),
    "RMSprop": (
        "lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0, momentum=0, centered=False, capturable=False, "
        "foreach=None, maximize=False, differentiable=False"
    ),
    "Adagrad": (
        "lr=1e-2, lr_decay=0, weight_decay=0, initial_accumulator_value=0, eps=1e-10, foreach=None, "
        "*, maximize=False, differentiable=False, fused=None"
    ),
    "NAdam": (
        "lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, momentum_decay=4e-3, "
        f"decoupled_weight_decay=False, *, maximize=False, {_SPEED}"
    ),
    "RAdam": f"{_ADAM}, decoupled_weight_decay=False, *, maximize=False, {_SPEED}",
    "Adamax": (
        "lr=2e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0, foreach=None, "
        "*, maximize=False, differentiable=False, capturable=False"
    ),
    "Adadelta": (
        "lr=1.0, rho=0.9, eps=1e-6, weight_decay=0, foreach=None, "
        "*, capturable=False, maximize=False, differentiable=False"
    ),
    "Muon": (
        "lr=1e-3, weight_decay=0.1, momentum=0.95, nesterov=True, "
        "ns_coefficients=(3.4445, -4.775, 2.0315), eps=1e-7, ns_steps=5, adjust_lr_fn=None"
    ),
    "Adafactor": (
        "lr=1e-2, beta2_decay=-0.8, eps=(None, 1e-3), d=1.0, weight_decay=0.0, "
        "*, foreach=None, maximize=False"
    ),
    "Rprop": (
        "lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), "
        "*, capturable=False, foreach=None, maximize=False, differentiable=False"
    ),
    "ASGD": (
        "lr=1e-2, lambd=1e-4, alpha=0.75, t0=1e6, weight_decay=0, foreach=None, maximize=False, "
        "differentiable=False, capturable=False"
    ),
    # timm 1.0
    "Lion": (
        "lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, caution=False, corrected_weight_decay=False, "
        "maximize=False, foreach=None"
    ),
    "Lamb": (
        "lr=1e-3, bias_correction=True, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, "
        "grad_averaging=True, max_grad_norm=1.0, trust_clip=False, always_adapt=False, caution=False, "
        "decoupled_decay=False, corrected_weight_decay=False, foreach=None"
    ),
}
NAMES = (*RULES,)  # every one has a row
_NAME = re.compile(rf"\b({'|'.join(NAMES)})\b")
# The modules of those that are not torch's. Lion of lion-pytorch has the same defaults as timm's.
MODULES: dict[str, tuple[str, ...]] = {
    "Lion": (
        *("timm.optim", "timm.optim.lion"),
        *("lion_pytorch", "lion_pytorch.lion_pytorch", "lion_pytorch.foreach"),
    ),
    "Lamb": ("timm.optim", "timm.optim.lamb"),
}
CONVERTED = (
    f"jaxlr converts torch's {', '.join(name for name in NAMES if name not in MODULES)}, "
    f"and {' and '.join(MODULES)} of timm"
)
# Options that only change the speed. Their values are not even evaluated.
WITHOUT_EFFECT = ("foreach", "fused", "capturable", "differentiable")
# The smallest and the largest value, where the updates do not check it themselves.
_RANGES = {"rho": (0.0, 1.0), "d": (1.0, math.inf), "ns_steps": (0, 99)}


def names_optimizer(text: str) -> bool:
    """Check if the code of a text has the name of an optimizer, outside of comments."""
    return bool(_NAME.search(re.sub(r"#.*", "", text)))


@functools.cache
def signature(name: str) -> inspect.Signature:
    """Return the parameters of an optimizer's constructor, without `params`."""
    function: Any = ast.parse(f"lambda {_ROWS[name]}: 0", mode="eval").body
    arguments = function.args
    kinds = [inspect.Parameter.POSITIONAL_OR_KEYWORD] * len(arguments.args)
    kinds += [inspect.Parameter.KEYWORD_ONLY] * len(arguments.kwonlyargs)
    nodes = zip(
        [*arguments.args, *arguments.kwonlyargs],
        [*arguments.defaults, *arguments.kw_defaults],
        kinds,
        strict=True,
    )
    return inspect.Signature(
        [inspect.Parameter(node.arg, kind, default=ast.literal_eval(value)) for node, value, kind in nodes]
    )


def options_of(name: str) -> list[str]:
    """Return the names of the options that change the updates of an optimizer."""
    return [each for each in signature(name).parameters if each not in WITHOUT_EFFECT]


def own_options(name: str, group: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the options in a parameter group of an optimizer.

    Raises:
        ValueError: the group has an option that the optimizer does not have.
    """
    options = {key: value for key, value in group.items() if key not in (*_OWN_NAMES, *WITHOUT_EFFECT)}
    for key in options:
        if key not in signature(name).parameters:
            raise ValueError(
                f"a parameter group of {name} has no option {key!r}, which torch ignores; it takes "
                f"{', '.join(options_of(name))}"
            )
    return options


@dataclasses.dataclass(frozen=True)
class OptimizerCall:
    """The call of an optimizer's constructor in a text.

    Args:
        name: the class of torch.
        given: the options that are the same for all parameter groups, as far as they are written.
        own: the options of each parameter group of its own.
    """

    name: str
    given: Mapping[str, Any]
    own: tuple[Mapping[str, Any], ...] = ({},)

    @property
    def defaults(self) -> dict[str, Any]:
        """The options of all groups, with torch's defaults."""
        parameters = signature(self.name).parameters
        values = {name: self.given.get(name, parameters[name].default) for name in options_of(self.name)}
        if "corrected_weight_decay" in values:  # timm keeps the first rate for it
            values["max_lr_snapshot"] = values["lr"]
        return values

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The options of each parameter group."""
        return [{**self.defaults, **own} for own in self.own]

    @property
    def text(self) -> str:
        """The call with its values evaluated and without the parameters."""
        groups = [f"[{', '.join(map(_mapping_text, self.own))}]"] if self.own != ({},) else []
        options = [f"{name}={_value_text(value)}" for name, value in self.given.items()]
        return f"{self.name}({', '.join([*groups, *options])})"

    def at_rate(self, init_value: float) -> "OptimizerCall":
        """Return the call with a learning rate, where it sets none.

        Raises:
            ConflictingRateError: it sets another one.
        """
        for options in (self.given, *self.own):
            written = options.get("lr", init_value)
            if isinstance(written, int | float) and not math.isclose(written, init_value, rel_tol=1e-6):
                raise ConflictingRateError(f"{init_value}", written)
        return dataclasses.replace(self, given={"lr": init_value, **self.given})

    def with_group(self, group: Mapping[Any, Any]) -> "OptimizerCall":
        """Return the call with one more parameter group."""
        return dataclasses.replace(self, own=(*self.own, own_options(self.name, group)))

    def check(self) -> None:
        """Raise the errors of torch's constructor that the updates do not raise themselves."""
        for group in [self.defaults, *self.param_groups]:
            for name, (least, most) in _RANGES.items():
                value = group.get(name, least)
                if not (isinstance(value, int | float) and least <= value <= most):
                    bound = f"at least {least:g}" if most == math.inf else f"from {least:g} to {most:g}"
                    raise ValueError(
                        f"{name} of the {self.name} must be a number {bound}, got {shown_value(value)}"
                    )
            if self.name == "SGD" and group["nesterov"] and not group["momentum"]:
                raise ValueError("nesterov needs a momentum above 0, as in torch's constructor")


def _mapping_text(options: Mapping[str, Any]) -> str:
    return f"{{{', '.join(f'{name!r}: {_value_text(value)}' for name, value in options.items())}}}"


def _value_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"({', '.join(map(_value_text, value))})"
    return literal(value)
