"""Convert a torch optimizer with its state, to continue its run in JAX."""

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import optax

from jaxlr._checks import check_duration, check_function, shown_value
from jaxlr.convert.carry import TorchState, carried
from jaxlr.convert.fields import number
from jaxlr.convert.optimizer import build, check_groups, class_name_of, own_rates
from jaxlr.convert.updates import MOMENTS, UPDATES


_LR_RTOL = 1e-6  # a schedule of one's own may be computed in float32


def resume_from_torch(
    optimizer: Any,
    params_from_torch: Callable[[Mapping[str, Any]], Any],
    weights: Any,
    scheduler: Any = None,
    num_steps: int | None = None,
    *,
    class_name: str | None = None,
    names: Sequence[str] | None = None,
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
    `class_name`. Its scheduler is converted with `from_state_dict` first.

    Args:
        optimizer: a live torch optimizer, or the `state_dict` of one.
        params_from_torch: function that turns the `state_dict` of the torch model into the trained
            parameters of JAX.
        weights: the torch model, or its `state_dict`.
        scheduler: as in `optimizer_from_torch`. Count 0 of a schedule is the current epoch.
        num_steps: as in `optimizer_from_torch`.
        class_name: name of the class of a saved optimizer, such as "AdamW", or "Lion" and "Lamb" of timm.
        names: names of the parameters in the order of the optimizer. They are known from a live model, and
            from an optimizer that was built with `model.named_parameters()`.
        steps_per_epoch: as in `optimizer_from_torch`.
        first_step: number of updates since the last call of `scheduler.step()`, below `steps_per_epoch`. It
            may be left out at the end of an epoch.
        transposed: as in `optimizer_from_torch`.

    Returns:
        The transformation and its state.

    Raises:
        TypeError: an argument has the wrong type, or `optimizer_from_torch` raises it.
        ValueError: the state does not fit to the options or the weights, the parameters of a group have
            made different numbers of updates, `first_step` or `names` is missing, the schedule does not
            begin at the current learning rate, or `optimizer_from_torch` raises it.

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
    _check_rates(optimizer, scheduler, num_groups)
    is_exact = [_counts_updates(name, group) for group in optimizer.param_groups]
    updates = [state.num_updates(index, is_exact=is_exact[index]) for index in range(num_groups)]
    first_step = _check_first_step(
        first_step, steps_per_epoch, 0 if name in ("SGD", "Muon", "Lion") else max(updates, default=0)
    )
    labels = state.labels()
    tx = build(
        name,
        optimizer,
        scheduler,
        num_steps,
        labels if num_groups > 1 else None,
        steps_per_epoch,
        transposed,
        first_step,
        updates,
        [[state.weights[each].shape for each in group] for group in state.groups],
    )

    def group_state(fresh: Any, index: int) -> Any:
        if not updates[index]:
            return fresh
        return carried(fresh, lambda field: state.tree(field, index), MOMENTS[name], updates[index])

    fresh: Any = tx.init(state.params())
    if num_groups == 1:
        return tx, group_state(fresh, 0)
    inner = {index: group_state(each, index) for index, each in fresh.inner_states.items()}
    return tx, fresh._replace(inner_states=inner)


def _opened(optimizer: Any, class_name: str | None) -> tuple[str, Any]:
    """Return the name of an optimizer's class, and the optimizer with its attributes if it is saved."""
    if not isinstance(optimizer, Mapping):
        name = class_name_of(optimizer)
        if class_name not in (None, name):
            raise ValueError(
                f"class_name is {class_name!r}, but the optimizer is a live {name}: leave it out"
            )
        return name, optimizer
    if class_name not in UPDATES:
        raise ValueError(
            f"class_name must be the torch class of the saved optimizer, one of {', '.join(UPDATES)}, got "
            f"{class_name!r}"
        )
    if not all(key in optimizer for key in ("state", "param_groups")):
        raise ValueError(
            "optimizer must be the state_dict of an optimizer, with 'state' and 'param_groups', got a "
            f"mapping with {shown_value(list(optimizer))}: pass its entry for the optimizer"
        )
    groups = optimizer["param_groups"]
    defaults = groups[0] if isinstance(groups, Sequence) and groups else {}
    return class_name, types.SimpleNamespace(
        state=optimizer["state"], param_groups=groups, defaults=defaults
    )


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
    return name not in ("RMSprop", "Adadelta", "Muon", "Lion")


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


def _check_first_step(first_step: int | None, steps_per_epoch: int, num_updates: int) -> int:
    if first_step is None:
        if rest := num_updates % steps_per_epoch:
            raise ValueError(
                f"the optimizer has made {num_updates} updates, not whole epochs of {steps_per_epoch}: "
                f"give first_step, the number of updates since the last scheduler.step(), such as {rest}"
            )
        return 0
    if check_duration("first_step", first_step) >= steps_per_epoch:
        raise ValueError(
            f"first_step must be below steps_per_epoch={steps_per_epoch}, got {first_step}: it counts "
            "updates since the last scheduler.step()"
        )
    return first_step
