"""The lines of Python that make the schedule and the optimizer of a text."""

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import optax

from jaxlr.code.syntax import literal
from jaxlr.code.values import Names
from jaxlr.convert.calls import Call, jaxlr_text, torch_text
from jaxlr.convert.classes import Effect
from jaxlr.convert.optimizers.signatures import OptimizerCall, names_optimizer
from jaxlr.convert.optimizers.text import TextPair, read_pair, transformation
from jaxlr.convert.optimizers.updates import RULES
from jaxlr.convert.text import ported, steps_per_batch


_FUNCTIONS = {
    "SGD": "sgd",
    "Adam": "adam",
    "AdamW": "adamw",
    "RMSprop": "rmsprop",
    "Adadelta": "adadelta",
    "Adamax": "adamax",
}


class Lines(NamedTuple):
    """The lines of a text, and the text with its names and sums evaluated."""

    schedule: str | None  # a call of jaxlr, or None without a scheduler
    tx: str | None  # a call that makes the optimizer of the name `schedule`, or None without an optimizer
    torch: str
    comments: tuple[str, ...] = ()
    name: str = "schedule"  # of the schedule in `tx`

    @property
    def code(self) -> str:
        """The lines without their comments. A schedule alone is an expression."""
        if self.tx is None:
            return str(self.schedule)
        first = [] if self.schedule is None else [f"{self.name} = {self.schedule}"]
        return "\n".join([*first, f"tx = {self.tx}"])

    @property
    def text(self) -> str:
        """The lines with their comments."""
        return "\n".join([*(f"# {comment}" for comment in self.comments), self.code])


def lines_of_text(
    text: str,
    init_value: float | None = None,
    names: Names | None = None,
    group: int | None = None,
    *,
    num_steps: int | None = None,
    version: str | None = None,
) -> Lines:
    """Return the lines of `port` for a text. The arguments are those of `port`.

    If only the optimizer of a text cannot be converted, a comment says why.
    """
    reason: Exception | None = None
    if group is None and isinstance(text, str) and names_optimizer(text):
        try:
            return _lines(read_pair(text, names, num_steps, version, init_value), text)
        except (TypeError, ValueError) as error:
            reason = error
    try:
        found = ported(text, init_value, names, group or 0, num_steps=num_steps, version=version)
    except (TypeError, ValueError):
        if reason is not None:  # it is about both
            raise reason from None
        raise
    comments = () if reason is None else (f"The optimizer is left out: {reason}",)
    return Lines(found["jaxlr"], None, found["torch"], comments)


def _lines(pair: TextPair, text: str) -> Lines:
    num_groups = len(pair.optimizer.own)
    labels = None if num_groups == 1 else lambda params: params
    transformation(pair, labels=labels, transposed=True)  # raise its errors
    is_plateau = any(call.torch_class.effect is Effect.NEEDS_METRIC for call in pair.calls)
    name = "plateau" if is_plateau else "schedule"
    schedule, scheduler, comments = None, "", list[str]()
    if pair.calls:
        schedules = [jaxlr_text(call) for call in pair.calls]
        schedule = schedules[0] if len({*schedules}) == 1 else f"[{', '.join(schedules)}]"
        scheduler = f"; {_scheduler_text(pair, 0)}"
        counts_updates = steps_per_batch(text) or pair.calls[0].torch_class.library == "huggingface"
        if not is_plateau and not counts_updates:
            comments.append(
                "A count is one scheduler.step(). If that is an epoch, use jaxlr.per_epoch(schedule, "
                "steps_per_epoch)."
            )
    if num_groups > 1:
        comments.append(
            f"labels has the group of each parameter, 0 to {num_groups - 1}, as a pytree or a function of "
            "the parameters."
        )
    torch = f"{pair.optimizer.text}{scheduler}"
    return Lines(schedule, _tx(pair, name, is_plateau), torch, tuple(comments), name)


def _tx(pair: TextPair, name: str, is_plateau: bool) -> str:
    """Return the call that makes the optimizer: Optax's where it has the same rule, else jaxlr's."""
    optimizer = pair.optimizer
    if any(pair.cycles):  # a schedule alone would not cycle the momentum
        texts = {_scheduler_text(pair, index) for index in range(len(pair.calls))}
        if len(texts) > 1:
            raise ValueError(
                "its groups cycle different momenta: call jaxlr.optimizer_from_string with the text"
            )
        return _from_string(optimizer, f"{optimizer.text}; {texts.pop()}", None)
    rate = name if pair.calls else literal(float(optimizer.param_groups[0]["lr"]))
    native = native_call(optimizer, rate, is_plateau=is_plateau) if len(optimizer.own) == 1 else None
    return native or _from_string(optimizer, optimizer.text, name if pair.calls else None)


def native_call(
    optimizer: OptimizerCall,
    rate: str,
    links: Sequence[str] = (),
    mask: str = "",
    is_plateau: bool = False,
) -> str | None:
    """Return the call of Optax's function with the same rule, or None if Optax has none.

    Args:
        optimizer: the optimizer, with one parameter group.
        rate: the text of its rate, or the name of its plateau.
        links: links before the optimizer, such as a clipping.
        mask: the name of the mask of its weight decay, if it has one.
        is_plateau: True if `rate` is a plateau.
    """
    native = _native(optimizer, mask)
    if native is None:
        return None
    before, function, options = native

    def made(rate: str) -> str:
        return with_links([*links, *before], f"optax.{function}({', '.join([rate, *options])})")

    return f"jaxlr.with_plateau(lambda rate: {made('rate')}, {rate})" if is_plateau else made(rate)


def with_links(links: Sequence[str], call: str) -> str:
    """Return the text of a chain that ends with a call."""
    return f"optax.chain({', '.join([*links, call])})" if links else call


def _native(optimizer: OptimizerCall, mask: str) -> tuple[list[str], str, list[str]] | None:
    """Return the links before Optax's function with the same rule, its name and its options, or None."""
    options = optimizer.param_groups[0]
    function = _FUNCTIONS.get(optimizer.name)
    is_other = (
        options.get("amsgrad")  # Optax takes the maximum after the bias correction
        or (optimizer.name == "SGD" and options["momentum"] and options["dampening"])
        or (optimizer.name == "RMSprop" and options["momentum"])  # Optax applies the rate before it
    )
    if function is None or is_other:
        return None
    if optimizer.name == "Adam" and options["decoupled_weight_decay"]:
        function = "adamw"
    if function == "adamw" and not options["weight_decay"]:
        function = "adam"
    before = ["optax.scale(-1.0)"] if options["maximize"] else []
    if options["weight_decay"] and function != "adamw":
        masked = f", {mask}" if mask else ""
        before.append(f"optax.add_decayed_weights({_number(options['weight_decay'])}{masked})")
    given = {"eps_in_sqrt": False, **options}
    if "betas" in options:
        given |= dict(zip(("b1", "b2"), options["betas"], strict=True))
    if "alpha" in options:
        given["decay"] = options["alpha"]
    parameters = inspect.signature(getattr(optax, function)).parameters
    changed = {
        name: given[name]
        for name, parameter in parameters.items()
        if name in given and name != "maximize" and (given[name] or None) != (parameter.default or None)
    }
    if function != "adamw":
        changed.pop("weight_decay", None)  # it is a link
    written = [f"{name}={_number(value)}" for name, value in changed.items()]
    return before, function, [*written, f"mask={mask}"] if mask and function == "adamw" else written


def _number(value: Any) -> str:
    return literal(bool(value) if isinstance(value, bool) else float(value))


def _from_string(optimizer: OptimizerCall, text: str, schedule: str | None) -> str:
    arguments = [literal(text), *([schedule] if schedule else [])]
    if len(optimizer.own) > 1:
        arguments.append("labels=labels")
    if RULES[optimizer.name].depends_on_axes:
        arguments.append("transposed=True")
    return f"jaxlr.optimizer_from_string({', '.join(arguments)})"


def _scheduler_text(pair: TextPair, index: int) -> str:
    """Return the scheduler of a group as torch's constructor, with the momenta that it cycles."""
    call, momenta = pair.calls[index], pair.cycles[index]
    if momenta:
        names = ("base_momentum", "max_momentum")
        call = call._replace(arguments={**call.arguments, **dict(zip(names, momenta, strict=True))})
    elif call.torch_class.momentum is not None:
        call = Call(call.torch_class, {**call.arguments, "cycle_momentum": False})
    return torch_text(call)
