"""The state of a torch optimizer as trees of arrays, in the structure of the parameters."""

import itertools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxlr._checks import shorten
from jaxlr.convert.fields import number, whole
from jaxlr.convert.optimizers.names import check_weights, known_names, split, tied_names


_FACTORS = ("row_var", "col_var")
_SCALARS = {"mu_product", "eta", "mu"}  # fields with one number for each parameter


class TorchState:
    """The state of a torch optimizer by the names of its parameters, and the way to their trees.

    The function of the user is called with weights, and with moments in the place of weights. So the
    moments are transposed and stacked as the weights are.
    """

    def __init__(self, optimizer: Any, weights: Any, names: Any, to_params: Callable[[Any], Any]):
        groups = [list(group["params"]) for group in optimizer.param_groups]
        model = weights if hasattr(weights, "named_parameters") else None
        weights = weights.state_dict() if model is not None else weights
        check_weights("weights", weights)
        self.groups: list[list[str]] = split(_names(optimizer, model, names), optimizer.param_groups)
        self.weights: dict[str, Any] = {name: _on_host(value) for name, value in weights.items()}
        self._tied = {name: names for names in tied_names(self.weights) for name in names}
        self._to_params = to_params
        keys = [key for group in groups for key in group]
        # timm's LAMB counts the updates of a group.
        self._group_steps = [group.get("step") for group in optimizer.param_groups]
        self.states: dict[str, Mapping[str, Any]] = {}
        for name, key in zip(itertools.chain(*self.groups), keys, strict=True):
            self._check_weight(name, key)
            state = dict(optimizer.state.get(key) or {})
            if "variance" in state:  # Adafactor's variances of a vector have no factors
                state |= dict.fromkeys(_FACTORS, state["variance"])
            self.states[name] = state
        self._trees: dict[str, Any] = {}

    @property
    def is_fresh(self) -> bool:
        """True if no parameter has a state."""
        return not any(self.states.values())

    @property
    def is_counted(self) -> bool:
        """True if a parameter or a group has a count of its updates."""
        counts = [*self._group_steps, *(state.get("step") for state in self.states.values())]
        return any(count is not None for count in counts)

    def params(self) -> Any:
        """Return the parameters of JAX."""
        return self._to_params(self.weights)

    def labels(self) -> Any:
        """Return the group of each parameter of JAX.

        The function is called with numbers in the place of weights, which show where each element is from.
        """
        ones = self._to_params({name: _full(value, 1) for name, value in self.weights.items()})
        numbered = {
            name: index + 1
            for index, names in enumerate(self.groups)
            for each in names
            for name in self._tied[each]
        }
        groups = self._to_params(
            {name: _full(value, numbered.get(name, 0)) for name, value in self.weights.items()}
        )
        return jax.tree_util.tree_map_with_path(self._label, ones, groups)

    def tree(self, field: str, index: int) -> Any:
        """Return a field of the state in the structure of the parameters. Parameters without it have 0."""
        for name in self.groups[index]:
            if self.states[name] and field not in self.states[name]:
                raise ValueError(
                    f"the state of the parameter {name!r} has no {field!r}, which the options of its group "
                    "need: was an option changed after the last update?"
                )
        if field in _SCALARS:  # all have made the same updates
            values = [self.states[name][field] for name in self.groups[index] if self.states[name]]
            return number(field, values[0]) if values else 1.0
        if field not in self._trees:
            self._trees[field] = self._to_params(self._moments(field))
        return self._trees[field]

    def _moments(self, field: str) -> dict[str, Any]:
        """Return a field of the state by the names of the weights. Weights that share memory share it."""
        moments = {name: _full(value, 0) for name, value in self.weights.items()}
        for owner, state in self.states.items():
            if state.get(field) is not None:
                moment = self._moment(owner, field, state[field])
                moments |= dict.fromkeys(self._tied[owner], moment)
        return moments

    def num_updates(self, index: int, *, is_exact: bool) -> int:
        """Return the number of updates that a group has made. Without a count in the state it is 0 or 1.

        If `is_exact`, all parameters of the group must have made the same number.
        """
        if (step := self._group_steps[index]) is not None:
            return whole(f"step of group {index}", step)
        counts = {name: self._count(name) for name in self.groups[index]}
        if is_exact and len(set(counts.values())) > 1:
            most = max(counts, key=counts.__getitem__)
            other = next(name for name in counts if counts[name] != counts[most])
            raise ValueError(
                f"the parameters {most!r} and {other!r} of group {index} have made {counts[most]} and "
                f"{counts[other]} updates, and an Optax state has one count: put them into groups of their "
                "own, and leave out those that are not trained"
            )
        return max(counts.values(), default=0)

    def _count(self, name: str) -> int:
        state = self.states[name]
        if "step" in state:
            return whole(f"step of the parameter {name!r}", state["step"])
        return int(any(value is not None for value in state.values()))

    def _check_weight(self, name: Any, key: Any) -> None:
        if name not in self.weights:
            longer = next((each for each in self.weights if str(each).endswith(f".{name}")), None)
            hint = f": remove {longer.removesuffix(name)!r} from the names of the weights" if longer else ""
            raise ValueError(
                f"weights have no {name!r}, which the optimizer trains; they have "
                f"{shorten(', '.join(map(str, self.weights)), 100)}{hint}"
            )
        shape = getattr(key, "shape", None)  # of a live parameter
        if shape is not None and tuple(shape) != tuple(self.weights[name].shape):
            raise ValueError(_other_shape(name, "parameter", shape, self.weights[name].shape))

    def _moment(self, name: str, field: str, value: Any) -> Any:
        weight = self.weights[name]
        if field in _FACTORS:
            value = value + weight * 0  # the function needs them in the shape of the weight
        if tuple(getattr(value, "shape", ())) != tuple(weight.shape):
            raise ValueError(_other_shape(name, field, getattr(value, "shape", ()), weight.shape))
        value = _on_host(value)
        if hasattr(weight, "new_full"):
            return value
        is_bfloat16 = str(getattr(value, "dtype", "")) == "torch.bfloat16"  # NumPy does not have it
        return np.asarray(value.float() if is_bfloat16 else value)

    def _label(self, path: Any, ones: Any, groups: Any) -> int:
        where = f"the parameter {jax.tree_util.keystr(path)}"
        ones, groups = np.asarray(ones, np.float64), np.asarray(groups, np.float64)
        if not np.isin(ones, (0.0, 1.0)).all():
            raise ValueError(
                f"params_from_torch computes {where} from the weights, but moments cannot follow: "
                "it may rename, transpose, reshape, split, stack and cast weights"
            )
        found = np.unique(groups[ones == 1])
        if found.tolist() == [0.0]:
            raise ValueError(
                f"{where} comes from a weight that the optimizer does not train: let params_from_torch "
                "return the trained parameters only"
            )
        if found.size != 1:
            raise ValueError(
                f"{where} comes from weights of {found.size or 'no'} parameter groups, not of one"
            )
        return int(found[0]) - 1


def carried(opt_state: Any, moment: Callable[[str], Any], fields: Mapping[str, str], count: int) -> Any:
    """Return the fresh state of a group with torch's moments, and their counts of updates.

    `fields` are torch's names of the moments by those in the Optax states. Counts of schedules stay 0.
    """
    if not isinstance(opt_state, tuple):
        return opt_state
    names = getattr(opt_state, "_fields", None)
    if names is None:
        return tuple(carried(each, moment, fields, count) for each in opt_state)
    changed: Any = {
        name: _filled(getattr(opt_state, name), moment(fields[name])) for name in names if name in fields
    }
    if changed and "count" in names:
        changed["count"] = jnp.asarray(count, np.int32)
    if not changed:
        changed = {name: carried(getattr(opt_state, name), moment, fields, count) for name in names}
    return opt_state._replace(**changed)  # pyright: ignore[reportAttributeAccessIssue]


def _filled(fresh: Any, moments: Any) -> Any:
    """Return the moments of a group with the shapes and dtypes of its fresh state."""

    def fill(old: Any, new: Any) -> Any:
        if isinstance(old, optax.MaskedNode):
            return old
        new = jnp.asarray(new)
        factor = new[tuple(slice(size) for size in old.shape)]
        if factor.shape != new.shape and not np.array_equal(np.broadcast_to(factor, new.shape), new):
            raise ValueError("the matrices of JAX have other axes: change the argument transposed")
        return jnp.array(factor, old.dtype, copy=True)  # torch may change its own memory later

    return jax.tree.map(fill, fresh, moments, is_leaf=lambda node: isinstance(node, optax.MaskedNode))


def _names(optimizer: Any, model: Any, names: Any) -> list[str]:
    """Return the name of each parameter in the order of the optimizer."""
    groups = optimizer.param_groups
    if names is None:
        names = known_names(groups, model)
    if isinstance(names, str) or names is None:
        raise ValueError(
            "the names of the optimizer's parameters are not known: give "
            "names=jaxlr.parameter_names(optimizer, model), or a list in the order of the optimizer"
        )
    names = list(names)
    if names and all(isinstance(each, list | tuple) for each in names):
        if [*map(len, names)] != [len(group["params"]) for group in groups]:
            raise ValueError(
                f"names must have a list for each group, of {[len(group['params']) for group in groups]} "
                f"names, got {[*map(len, names)]}"
            )
        names = [*itertools.chain(*names)]
    num_keys = sum(len(group["params"]) for group in groups)
    if len(names) != num_keys or len(set(names)) != len(names):
        raise ValueError(
            f"names must have a different name for each of the {num_keys} parameters of the optimizer, "
            f"got {len(set(names))}"
        )
    return names


def _on_host(value: Any) -> Any:
    return value.detach().cpu() if hasattr(value, "detach") else value


def _full(value: Any, number: int) -> Any:
    """Return a tensor or an array like `value`, full of a number."""
    if hasattr(value, "new_full"):
        return value.new_full(tuple(value.shape), number)
    return np.full(value.shape, number, value.dtype)


def _other_shape(name: str, what: str, shape: Any, expected: Any) -> str:
    return (
        f"the {what} of {name!r} in the optimizer has the shape {tuple(shape)}, but its weight has "
        f"{tuple(expected)}: are names in the order of the optimizer?"
    )
