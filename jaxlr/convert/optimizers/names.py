"""The names of the parameters of a torch optimizer, live or saved."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlr._checks import shown_value


_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # of torch's norms


def parameter_names(optimizer: Any, model: Any) -> list[list[str]]:
    """Return the names of the parameters in each group of a torch optimizer.

    A saved optimizer numbers its parameters. They are told apart by the shapes in its state. It is assumed
    that each group has its parameters in the order of the model, as Hugging Face, timm, detectron2 and
    nanoGPT build them. A shape that occurs in several groups is refused.

    Args:
        optimizer: a live torch optimizer, or the `state_dict` of one.
        model: the torch model, also on the device "meta"; or its `state_dict` in the order of the model. A
            file of safetensors is in alphabetical order. Leave out weights that are not trained.

    Returns:
        A list of names for each group.

    Raises:
        TypeError: `model` is not a model or a mapping of tensors.
        ValueError: the optimizer has parameters that the model does not have, or the shapes do not tell
            which is which.

    Example:
        >>> import torch
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.LayerNorm(2))
        >>> vectors = [each for each in model.parameters() if each.ndim < 2]
        >>> matrices = [each for each in model.parameters() if each.ndim >= 2]
        >>> groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}]
        >>> adamw = torch.optim.AdamW(groups)
        >>> model(torch.ones(1, 3)).sum().backward()
        >>> adamw.step()
        >>> parameter_names(adamw.state_dict(), model)
        [['0.weight'], ['0.bias', '1.weight', '1.bias']]

    Reference: `torch.optim.Optimizer.load_state_dict`.
    """
    state, groups = _parts(optimizer)
    is_live = hasattr(model, "named_parameters")
    known = known_names(groups, model if is_live else None)
    if known is not None:
        return split(known, groups)
    weights = dict(model.named_parameters()) if is_live else _trained(model)
    shapes = [[_shape(key, state.get(key)) for key in group["params"]] for group in groups]
    try:
        return _in_order(shapes, weights, is_sorted=not is_live and _is_sorted(weights))
    except LookupError as reason:
        raise ValueError(
            f"the names of the parameters cannot be found: {reason.args[0]}; or write a list of them in "
            "the order of the optimizer"
        ) from None


def known_names(groups: Sequence[Mapping[str, Any]], model: Any) -> list[str] | None:
    """Return the name of each parameter if the optimizer or the live model has it, or None."""
    keys = [key for group in groups for key in group["params"]]
    if all("param_names" in group for group in groups):
        return [name for group in groups for name in group["param_names"]]
    if model is not None and not all(isinstance(key, int | str) for key in keys):
        by_id = {id(parameter): name for name, parameter in model.named_parameters()}
        missing = sum(id(key) not in by_id for key in keys)
        if missing:
            raise ValueError(
                f"the optimizer has {missing} parameters that the model does not have: pass the model that "
                "it was built with"
            )
        return [by_id[id(key)] for key in keys]
    if keys and all(isinstance(key, str) for key in keys):
        return keys  # a distributed checkpoint
    return None


def split(names: Sequence[str], groups: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Return the names in lists, one for each group."""
    each = iter(names)
    return [list(itertools.islice(each, len(group["params"]))) for group in groups]


def _parts(optimizer: Any) -> tuple[Any, Any]:
    """Return the state and the groups of an optimizer, live or saved."""
    if hasattr(optimizer, "param_groups"):
        return optimizer.state, optimizer.param_groups
    if not isinstance(optimizer, Mapping) or not {"state", "param_groups"} <= optimizer.keys():
        raise ValueError(
            "optimizer must be a torch optimizer or its state_dict, with 'state' and 'param_groups', got "
            f"{shown_value(list(optimizer) if isinstance(optimizer, Mapping) else optimizer)}"
        )
    return optimizer["state"], optimizer["param_groups"]


def check_weights(name: str, weights: Any) -> None:
    """Check that an argument has the tensors of a state_dict."""
    if not isinstance(weights, Mapping) or not all(hasattr(each, "shape") for each in weights.values()):
        raise TypeError(
            f"{name} must be the torch model or its state_dict, a mapping from names to tensors, got "
            f"{shown_value(weights)}"
        )


def tied_names(weights: Mapping[str, Any]) -> list[list[str]]:
    """Return the names of weights in lists, one for each tensor in memory. Tied weights share one."""
    names: dict[Any, list[str]] = {}
    for name, value in weights.items():
        address = value.data_ptr() if hasattr(value, "data_ptr") else 0
        names.setdefault((address, tuple(value.shape)) if address else name, []).append(name)
    return list(names.values())


def _trained(weights: Any) -> dict[str, Any]:
    """Return the weights of a state_dict without buffers and second names of tied weights."""
    check_weights("model", weights)
    own = {name: value for name, value in weights.items() if name.rpartition(".")[2] not in _BUFFERS}
    return {name: own[name] for name, *_ in tied_names(own)}


def _is_sorted(weights: Mapping[str, Any]) -> bool:
    """Check if the names are in alphabetical order, which safetensors has for each dtype."""
    by_dtype: dict[str, list[str]] = {}
    for name, value in weights.items():
        by_dtype.setdefault(str(value.dtype), []).append(name)
    return all(names == sorted(names) for names in by_dtype.values())


def _shape(key: Any, state: Any) -> tuple[int, ...] | None:
    """Return the shape of a parameter, live or from its state. Factors of a matrix broadcast to it."""
    if hasattr(key, "shape"):
        return tuple(key.shape)
    shapes = [tuple(value.shape) for value in dict(state or {}).values() if hasattr(value, "shape")]
    return np.broadcast_shapes(*shapes) if shapes else None


def _in_order(shapes: list[list[Any]], weights: Mapping[str, Any], *, is_sorted: bool) -> list[list[str]]:
    """Return the names of the parameters of each group, given the shapes of both.

    Raises:
        LookupError: they do not determine the names. The message is the reason.
    """
    named: dict[Any, list[str]] = {}
    for name, value in weights.items():
        named.setdefault(tuple(value.shape), []).append(name)
    if len(shapes) == 1 and len(shapes[0]) == len(weights):  # all weights, of which some may have no state
        own = [tuple(value.shape) for value in weights.values()]
        shapes = [[shape or expected for shape, expected in zip(shapes[0], own, strict=True)]]
    groups_of: dict[Any, list[int]] = {}
    for index, group in enumerate(shapes):
        for shape in group:
            groups_of.setdefault(shape, []).append(index)
    for shape, groups in groups_of.items():
        if shape is None:
            raise LookupError("the optimizer has parameters without a state")
        if len(groups) != len(named.get(shape, [])):
            raise LookupError(
                f"the optimizer has {len(groups)} parameters of shape {shape}, and the model "
                f"{len(named.get(shape, []))}"
            )
        if len(set(groups)) > 1:
            raise LookupError(f"several groups have parameters of shape {shape}")
    is_ambiguous = any(len(groups) > 1 for groups in groups_of.values())
    if is_ambiguous and is_sorted:
        raise LookupError(
            "the weights are in alphabetical order, as in a file of safetensors: pass the model itself"
        )
    left = {shape: iter(names) for shape, names in named.items()}
    found = [[next(left[shape]) for shape in group] for group in shapes]
    position = {name: index for index, name in enumerate(weights)}
    for index, names in enumerate(found):
        if is_ambiguous and names != sorted(names, key=position.__getitem__):
            raise LookupError(f"group {index} is not in the order of the model")
    return found
