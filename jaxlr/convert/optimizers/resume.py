"""A torch optimizer with its state, converted to continue its run in JAX."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optax

from jaxlr._checks import check_function, shown_value
from jaxlr.convert.closed_form import State
from jaxlr.convert.fields import number
from jaxlr.convert.live import from_state_dict
from jaxlr.convert.optimizers.carry import TorchState, carried
from jaxlr.convert.optimizers.live import (
    Group,
    build,
    check_groups,
    class_name_of,
    groups_of,
    own_rates,
    unwrapped,
)
from jaxlr.convert.optimizers.momentum import momentum_cycle
from jaxlr.convert.optimizers.position import first_step_of, steps_of
from jaxlr.convert.optimizers.signatures import MODULES
from jaxlr.convert.optimizers.updates import RULES


# Keys of param_groups that torch's optimizers do not have, and their owners.
_FOREIGN = {
    "correct_bias": "the AdamW of older transformers",
    "scale_parameter": "the Adafactor of transformers",
    "clip_threshold": "the Adafactor of transformers or timm",
    "caution": "a cautious optimizer of timm",
    "corrected_weight_decay": "an optimizer of timm with a corrected weight decay",
    "bias_correction": "an Adam of Apex or DeepSpeed without one",
}
_OFF_IN_TORCH = ("caution", "corrected_weight_decay")  # equal to torch if False
_LR_RTOL = 1e-6  # a schedule of one's own may be computed in float32


def resume_from_torch(
    optimizer: Any,
    params_from_torch: Callable[[Mapping[str, Any]], Any],
    weights: Any,
    scheduler: Any = None,
    num_steps: int | None = None,
    *,
    class_name: str | None = None,
    scheduler_class_name: str | None = None,
    names: Sequence[str] | Sequence[Sequence[str]] | None = None,
    steps_per_epoch: int = 1,
    first_step: int | None = None,
    transposed: bool = True,
) -> tuple[optax.GradientTransformationExtraArgs, Any]:
    """Return the Optax transformation and the state that continue the run of a torch optimizer.

    The transformation is that of `optimizer_from_torch`. The state holds torch's moments, momentum buffers
    and counts of updates. Parameters of JAX get the parameter group of their weights, without labels.

    `params_from_torch` is called with weights, and then with moments under the names of the weights. So it
    may rename, transpose, reshape, split, stack and cast them, but not compute with them.

    `optimizer` is live or saved, such as `torch.load(path)["optimizer"]`, the `optimizer_states[0]` of a
    checkpoint of Lightning, or the file `optimizer.pt` of Hugging Face. A saved optimizer needs its
    `class_name` and `names`, and a saved scheduler its `scheduler_class_name`.

    Args:
        optimizer: a live torch optimizer, or the `state_dict` of one.
        params_from_torch: function that turns the `state_dict` of the torch model into the trained
            parameters of JAX.
        weights: the torch model, or its `state_dict`.
        scheduler: as in `optimizer_from_torch`, or the `state_dict` of a torch scheduler. Count 0 of a
            schedule is the current epoch.
        num_steps: as in `optimizer_from_torch`.
        class_name: name of the class of a saved optimizer, such as "AdamW", or "Lion" and "Lamb" of timm.
        scheduler_class_name: name of the torch class of a saved scheduler, such as "StepLR".
        names: names of the parameters in the order of the optimizer, or a list for each group, as
            `parameter_names` returns. They are known from a live model, and from an optimizer that was
            built with `model.named_parameters()`.
        steps_per_epoch: as in `optimizer_from_torch`.
        first_step: number of updates since the last call of `scheduler.step()`: 0 after the call, and
            `steps_per_epoch` if it is due. It may be left out if the counts of the optimizer and of the
            scheduler show that it is 0.
        transposed: as in `optimizer_from_torch`.

    Returns:
        The transformation and its state.

    Raises:
        TypeError: an argument has the wrong type, or `optimizer_from_torch` or `from_state_dict` raises it.
        ValueError: the state does not fit to the options or the weights, or `first_step` or `names` is
            missing. The parameters of a group have made different numbers of updates. The schedule does not
            begin at the current learning rate. `optimizer_from_torch` or `from_state_dict` raises it.

    Example:
        >>> import jax.numpy as jnp
        >>> import torch
        >>> model = torch.nn.Linear(3, 2)
        >>> adamw = torch.optim.AdamW(model.parameters(), lr=0.1)
        >>> for _ in range(5):
        ...     model(torch.ones(1, 3)).sum().backward()
        ...     adamw.step()
        >>> def params_from_torch(weights):
        ...     return {"kernel": jnp.asarray(weights["weight"].T), "bias": jnp.asarray(weights["bias"])}
        >>> tx, opt_state = resume_from_torch(adamw, params_from_torch, model)
        >>> adam = opt_state.inner_state[0]
        >>> print(adam.count, adam.mu["kernel"].shape)
        5 (3, 2)

    Reference: `torch.optim.Optimizer.load_state_dict`.
    """
    check_function("params_from_torch", params_from_torch)
    name, optimizer = _opened(optimizer, class_name)
    num_groups = check_groups(optimizer.param_groups)
    _check_lion(name, optimizer)
    state = TorchState(optimizer, weights, names, params_from_torch)
    num_epochs = steps_of(scheduler)
    groups: list[Group] | None = None
    if isinstance(scheduler, Mapping):
        groups = _saved_groups(scheduler, scheduler_class_name, optimizer, num_steps)
        scheduler = [group.rate for group in groups]
    elif scheduler_class_name is not None:
        raise ValueError("scheduler_class_name is for a saved scheduler: leave it out")
    _check_rates(optimizer, scheduler, num_groups)
    is_exact = [_counts_updates(name, group) for group in optimizer.param_groups]
    updates = [state.num_updates(index, is_exact=is_exact[index]) for index in range(num_groups)]
    is_plain = name == "SGD" and not any(group.get("momentum") for group in optimizer.param_groups)
    is_counted = state.is_counted or (state.is_fresh and not is_plain)  # plain SGD never has a state
    first_step = first_step_of(
        first_step, scheduler, max(updates, default=0) if is_counted else None, num_epochs, steps_per_epoch
    )
    labels = state.labels()
    if groups is None:
        groups = groups_of(optimizer, scheduler, num_steps)
    groups = [
        group._replace(shapes=[state.weights[each].shape for each in names], num_updates=num_updates)
        for group, names, num_updates in zip(groups, state.groups, updates, strict=True)
    ]
    own_labels = labels if num_groups > 1 else None
    tx = build(name, optimizer, groups, own_labels, steps_per_epoch, transposed, first_step)

    def group_state(fresh: Any, index: int) -> Any:
        if not updates[index]:
            return fresh
        return carried(fresh, lambda field: state.tree(field, index), RULES[name].moments, updates[index])

    fresh: Any = tx.init(state.params())
    if num_groups == 1:
        return tx, group_state(fresh, 0)
    inner = {index: group_state(each, index) for index, each in fresh.inner_states.items()}
    return tx, fresh._replace(inner_states=inner)


def _opened(optimizer: Any, class_name: str | None) -> tuple[str, Any]:
    """Return the name of an optimizer's class, and the optimizer with its attributes if it is saved."""
    if not isinstance(optimizer, Mapping):
        optimizer = unwrapped(optimizer)
        name = class_name_of(optimizer)
        if class_name not in (None, name):
            raise ValueError(
                f"class_name is {class_name!r}, but the optimizer is a live {name}: leave it out"
            )
        return name, optimizer
    if class_name not in RULES:
        raise ValueError(
            f"class_name must be the torch class of the saved optimizer, one of {', '.join(RULES)}, got "
            f"{class_name!r}"
        )
    if not all(key in optimizer for key in ("state", "param_groups")):
        raise ValueError(
            "optimizer must be the state_dict of an optimizer, with 'state' and 'param_groups', got a "
            f"mapping with {shown_value(list(optimizer))}: pass its entry for the optimizer"
        )
    groups = optimizer["param_groups"]
    check_groups(groups)
    for key, owner in ({} if class_name in MODULES else _FOREIGN).items():
        if any(_is_foreign(group, key) for group in groups):
            raise ValueError(
                f"class_name is {class_name!r}, but the param_groups have {key!r} and belong to {owner}, "
                "which has other updates"
            )
    defaults = groups[0] if groups else {}
    return class_name, types.SimpleNamespace(
        state=optimizer["state"], param_groups=groups, defaults=defaults
    )


def _is_foreign(group: Mapping[str, Any], key: str) -> bool:
    """Check if a key of a group tells that its rule is not torch's."""
    if key == "bias_correction":
        return not group.get(key, True)
    return key in group and (bool(group[key]) or key not in _OFF_IN_TORCH)


def _check_lion(name: str, optimizer: Any) -> None:
    """Refuse a saved Lion of lion-pytorch, whose weight decay may be that of its constructor or not."""
    is_saved = isinstance(optimizer, types.SimpleNamespace)
    for group in optimizer.param_groups if name == "Lion" and is_saved else []:
        if "cautious_factor" in group or ("maximize" not in group and group.get("weight_decay")):
            raise ValueError(
                "the state_dict of a Lion of lion-pytorch does not say how it decays the weights: load it "
                "into that Lion, and pass the optimizer itself"
            )


def _counts_updates(name: str, group: Mapping[str, Any]) -> bool:
    """Check if the updates of a group depend on the number of updates before."""
    if name == "SGD":
        return bool(group.get("momentum")) and bool(group.get("dampening"))
    return RULES[name].counts_updates


def _check_rates(optimizer: Any, scheduler: Any, num_groups: int) -> None:
    """Check that the rates begin at those of the optimizer."""
    rates = own_rates(scheduler, num_groups)
    for index, group in enumerate(optimizer.param_groups):
        lr = number("lr of the optimizer", group["lr"])
        if scheduler is None and "initial_lr" in group:
            raise ValueError(
                "the optimizer had a scheduler: pass it as scheduler, or a schedule such as "
                f"optax.constant_schedule({lr!r})"
            )
        if rates is None:
            continue
        rate = rates[index].init_value if hasattr(rates[index], "update") else rates[index](0)
        if not np.isclose(float(rate), lr, rtol=_LR_RTOL, atol=0.0):
            raise ValueError(
                f"the rate of group {index} begins at {float(rate):g}, but the optimizer is at {lr:g}: "
                "shift a schedule of the whole run with jaxlr.starting_at, or set the 'lr' of the group to "
                "the new rate"
            )


def _saved_groups(
    state_dict: Mapping[str, Any], class_name: Any, optimizer: Any, num_steps: int | None
) -> list[Group]:
    """Return the schedules of each group of a saved scheduler."""
    if class_name is None:
        raise ValueError(
            "scheduler_class_name must be the torch class of the saved scheduler, such as 'StepLR'"
        )
    if _has_functions(state_dict):
        raise ValueError(
            f"a state_dict does not contain the functions of {class_name}: pass "
            f"jaxlr.starting_at(schedule, {steps_of(state_dict)}) with a schedule of the whole run"
        )
    groups = optimizer.param_groups
    more: Any = {"num_steps": num_steps, "optimizer_state_dict": {"param_groups": groups}}
    schedules = [
        from_state_dict(class_name, state_dict, group=index, **more) for index in range(len(groups))
    ]
    state = State.from_saved(class_name, state_dict)
    return [
        Group(schedule, momentum_cycle(state, group, index))
        for index, (schedule, group) in enumerate(zip(schedules, groups, strict=True))
    ]


def _has_functions(state_dict: Mapping[str, Any]) -> bool:
    """Check if a saved scheduler, or one in it, has functions, which are not in the file."""
    parts = state_dict.get("_schedulers")
    parts = [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []
    return "lr_lambdas" in state_dict or any(map(_has_functions, parts))
