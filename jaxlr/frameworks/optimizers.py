"""`optimizer_from_config`: the optimizer that a config describes, as an Optax transformation."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.typing import ArrayLike

from jaxlr._checks import shown_value
from jaxlr.clipping import clip_grad_norm
from jaxlr.code.values import Names
from jaxlr.convert.optimizers.live import Group, build
from jaxlr.convert.optimizers.signatures import (
    CONVERTED,
    NAMES,
    WITHOUT_EFFECT,
    OptimizerCall,
    options_of,
    signature,
)
from jaxlr.convert.optimizers.updates import RULES
from jaxlr.frameworks.config import prepared
from jaxlr.frameworks.recipe import Clip, OptimizerError, Recipe, TorchOptimizer


def optimizer_from_config(
    config: Mapping[str, Any] | str | PathLike[str] | list[str],
    init_value: ArrayLike | None = None,
    *,
    framework: str | None = None,
    version: str | None = None,
    steps_per_epoch: int | None = None,
    epochs: float | None = None,
    num_processes: int | None = None,
    names: Names | None = None,
    decay_mask: Any = None,
    labels: Any = None,
    transposed: bool | None = None,
) -> optax.GradientTransformationExtraArgs:
    """Return the Optax transformation with the optimizer, the schedule and the clipping of a config.

    It makes the updates of the torch optimizer that the framework builds, with the framework's defaults for
    the options that the config leaves out. The schedule is that of `from_config`, and its counts are
    converted to updates. A momentum or weight decay that changes during the run follows its schedule.

    Gradients are clipped first, where the framework clips them. Accumulated batches are yours to average:
    an update of the transformation is an update of the framework.

    A setting that would make other updates is an error that says what to do. `tx.recipe.assumptions` has a
    sentence for each rule that was chosen and each number that was derived.

    Args:
        config: as in `from_config`.
        init_value: as in `from_config`, and not traced.
        framework: as in `from_config`.
        version: as in `from_config`.
        steps_per_epoch: batches of one epoch in one process, `len(train_dataloader)`.
        epochs: as in `from_config`.
        num_processes: as in `from_config`.
        names: as in `from_config`.
        decay_mask: parameters that decay, as a mask of Optax: a pytree of True and False, or a function
            that makes it from the parameters. True if all of them decay. Required if the framework leaves
            some parameters out of the weight decay, such as biases.
        labels: the group of each parameter, an index into the `groups` of the recipe. It is a pytree like
            the parameters, or a function that makes it from them. Required if the groups have learning
            rates of their own. It replaces `decay_mask`.
        transposed: as in `optimizer_from_string`.

    Returns:
        A transformation. Its attribute `recipe` is the `Recipe` of the config, with the assumptions about
        the schedule and the optimizer. With `labels` it contains an `optax.multi_transform`, and the recipe
        is that of group 0.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: `from_config` raises it, `decay_mask` or `labels` are missing, or the optimizer is not
            supported.
        OSError: the file cannot be opened.
        ModuleNotFoundError: the config is YAML, and PyYAML is not installed.

    Example:
        >>> import jax.numpy as jnp
        >>> flags = "--learning_rate 0.1 --lr_scheduler_type linear --max_steps 10 --weight_decay 0.5"
        >>> tx = optimizer_from_config(flags, decay_mask={"kernel": True, "bias": False})
        >>> params = {"kernel": jnp.ones((2, 1)), "bias": jnp.ones(1)}
        >>> updates, opt_state = tx.update(params, tx.init(params), params)
        >>> print(updates["kernel"].ravel().round(3), updates["bias"].round(3))
        [-0.15 -0.15] [-0.1]
        >>> tx.recipe.assumptions[0]
        'max_grad_norm is 1.0, the default of TrainingArguments.'

    Reference: the pages of the frameworks, and `torch.optim`.
    """
    arguments: dict[str, Any] = {
        "framework": framework,
        "version": version,
        "steps_per_epoch": steps_per_epoch,
        "epochs": epochs,
        "num_processes": num_processes,
        "names": names,
    }
    read = read_optimizer(config, init_value, **arguments)
    groups: list[ConfigOptimizer] = []
    if labels is not None:
        if decay_mask is not None:
            raise ValueError("labels give each group its own weight decay: leave decay_mask out")
        decay_mask = True
        indices = range(read.num_groups)
        groups = [read_optimizer(config, init_value, **arguments, group=index) for index in indices]
    tx = read.build(decay_mask, transposed, labels, groups)
    with_recipe = _ConfigTransformation(tx.init, tx.update)
    with_recipe.recipe = read.recipe
    return with_recipe


class _ConfigTransformation(optax.GradientTransformationExtraArgs):
    """The transformation of a config, with the recipe that it was read to."""

    recipe: Recipe


class ConfigOptimizer(NamedTuple):
    """The optimizer of a config, for one of its parameter groups."""

    recipe: Recipe
    stated: TorchOptimizer
    call: OptimizerCall  # with the rate at count 0
    steps_per_epoch: int | None  # the argument of `from_config`

    @property
    def num_groups(self) -> int:
        """The number of parameter groups, as the recipe names them."""
        return max(1, len(self.recipe.groups))

    @property
    def momentum(self) -> Any:
        """The momentum, a number or a schedule of counts."""
        return self.recipe.momentum if self.stated.momentum is None else self.stated.momentum

    @property
    def decay_schedule(self) -> optax.Schedule | None:
        """The weight decay by the counts of the recipe, or None if it is constant."""
        return self.recipe.weight_decay if callable(self.recipe.weight_decay) else None

    @property
    def decays(self) -> bool:
        """True if there is a weight decay."""
        return self.decay_schedule is not None or bool(self.call.param_groups[0].get("weight_decay"))

    @property
    def undecayed(self) -> tuple[str, ...]:
        """The parameters that the framework leaves out of the weight decay."""
        return self.stated.undecayed if self.decays else ()

    @property
    def is_constant(self) -> bool:
        """True if neither the momentum nor the weight decay changes during the run."""
        return not callable(self.momentum) and self.decay_schedule is None

    def build(
        self,
        decay_mask: Any,
        transposed: bool | None,
        labels: Any = None,
        groups: Sequence["ConfigOptimizer"] = (),
        steps_per_count: int | None = None,
    ) -> optax.GradientTransformationExtraArgs:
        """Return the transformation.

        Args:
            decay_mask: as in `optimizer_from_config`.
            transposed: as in `optimizer_from_config`.
            labels: the group of each parameter, or None for one group.
            groups: the optimizer of each group, with `labels`.
            steps_per_count: updates in a count of the schedule. None takes those of the config.
        """
        if self.stated.own_rates and labels is None:
            known = ", ".join(f"{index} ({name})" for index, name in enumerate(self.recipe.groups))
            raise ValueError(
                f"{self.stated.own_rates}: give labels, the group of each parameter, one of {known}"
            )
        if self.undecayed and decay_mask is None:
            raise ValueError(
                f"{self.recipe.framework} leaves {listed(self.undecayed)} out of the weight decay: "
                "give decay_mask, the parameters that decay as a mask of Optax (docs/optimizers.md shows "
                "masks), or True if all decay"
            )
        if self.undecayed and groups and all(row.decays for row in groups):
            raise ValueError(
                f"{self.recipe.framework} leaves {listed(self.undecayed)} out of the weight decay, and no "
                "group of the recipe is without it: give decay_mask instead of labels"
            )
        if not callable(decay_mask) and not all(map(_is_bool, jax.tree.leaves(decay_mask))):
            raise TypeError(
                "decay_mask must be True, a pytree of True and False, or a function that makes it from the "
                f"parameters, got {shown_value(decay_mask)}"
            )
        call, rows = self.call, groups or (self,)
        mask = None if decay_mask is True or not self.decays else decay_mask
        if groups:
            own = tuple(row.call.given for row in groups)
            call = OptimizerCall(call.name, {}, own)
        elif mask is not None and RULES[call.name].weight_decay == "own":
            # Here the weight decay is no link of its own. In timm's LAMB it also switches the trust ratio.
            call = OptimizerCall(call.name, call.given, ({}, {"weight_decay": 0.0}))
            rows, labels, mask = (self, self), _labels_of(mask), None
        tx = build(
            call.name,
            call,
            [Group(row.recipe.schedule, _complement(row.momentum), row.decay_schedule) for row in rows],
            labels,
            self.steps_per_count() if steps_per_count is None else steps_per_count,
            transposed,
            decay_mask=mask,
        )
        clip = self.stated.clip
        return tx if clip is None else optax.chain(_clipping(clip), tx)

    def steps_per_count(self) -> int:
        """Return the updates in a count of the schedule.

        Raises:
            OptimizerError: the schedule counts batches, and the config accumulates them.
            ValueError: the batches of an epoch are not known.
        """
        accumulation = self.stated.batches_per_update
        if self.recipe.unit == "iteration" and accumulation > 1:
            raise OptimizerError(
                f"the schedule counts batches, and an update accumulates {accumulation} of them"
            )
        if self.recipe.unit != "epoch":
            return 1
        if self.steps_per_epoch is None:
            raise ValueError(
                "the schedule counts epochs: give steps_per_epoch, the length of the train dataloader of "
                "one process"
            )
        return -(-self.steps_per_epoch // accumulation)


def read_optimizer(config: Any, init_value: Any = None, **arguments: Any) -> ConfigOptimizer:
    """Read the optimizer of a config. The arguments are those of `from_config`."""
    options: dict[str, Any] = dict.fromkeys(("version", "steps_per_epoch", "epochs", "num_processes"))
    options |= {"framework": None, "names": None, "group": 0, **arguments}
    found, complete = prepared(config, init_value=init_value, **options)
    if found.optimizer is None:
        raise OptimizerError(f"jaxlr reads only the schedule of {found.name}")
    stated = found.optimizer(complete)
    recipe = found.read(complete)
    call = OptimizerCall(stated.name, _checked(stated, found.name))
    _check_schedules(recipe, stated, call)
    call = OptimizerCall(call.name, {"lr": _first_rate(recipe), **call.given})
    call.check()
    return ConfigOptimizer(recipe, stated, call, complete.steps_per_epoch)


def _checked(stated: TorchOptimizer, framework: str) -> dict[str, Any]:
    """Return the options of an optimizer, which must be of a class that is converted."""
    if stated.name not in NAMES:
        raise OptimizerError(
            f"the optimizer {shown_value(stated.name)} of {framework} is not supported; {CONVERTED}"
        )
    options = {name: value for name, value in stated.options.items() if name not in WITHOUT_EFFECT}
    for name in options:
        if name not in signature(stated.name).parameters:
            raise OptimizerError(
                f"the optimizer {stated.name} has no option {shown_value(name)}; it takes "
                f"{', '.join(options_of(stated.name))}"
            )
    if options.get("corrected_weight_decay"):
        raise OptimizerError("corrected_weight_decay is not supported with a config")
    defaults = {name: each.default for name, each in signature(stated.name).parameters.items()}
    return {name: value for name, value in options.items() if value != defaults[name]}


def _check_schedules(recipe: Recipe, stated: TorchOptimizer, call: OptimizerCall) -> None:
    """Refuse a schedule that the optimizer has no use for."""
    changes = callable(recipe.momentum) or stated.momentum is not None
    if changes and not {"momentum", "betas"} & call.defaults.keys():
        raise OptimizerError(f"the config changes the momentum during the run, and {call.name} has none")
    if callable(recipe.weight_decay) and RULES[call.name].weight_decay == "own":
        raise OptimizerError(f"a weight decay that changes during the run is not supported for {call.name}")
    if recipe.unit == "evaluation" and not hasattr(recipe.schedule, "init_value"):
        raise OptimizerError("the schedule of the config depends on a metric, and is not a plateau")


def _first_rate(recipe: Recipe) -> float:
    schedule: Any = recipe.schedule
    return float(schedule.init_value if recipe.unit == "evaluation" else schedule(0))


def listed(words: Sequence[str]) -> str:
    """Return words as "biases, norms and embeddings"."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def _is_bool(leaf: Any) -> bool:
    return isinstance(leaf, bool | np.bool_) or (isinstance(leaf, jax.Array) and leaf.dtype == bool)


def _complement(momentum: Any) -> Any:
    """Return 1 - momentum as a schedule, or None for a constant momentum."""
    schedule: Any = momentum
    return (lambda count: 1 - schedule(count)) if callable(momentum) else None


def _clipping(clip: Clip) -> optax.GradientTransformation:
    return optax.clip(clip.size) if clip.norm_type is None else clip_grad_norm(clip.size, clip.norm_type)


def _labels_of(mask: Any) -> Callable[[Any], Any]:
    """Return the groups of a mask: 0 for the parameters that decay, 1 for the others."""

    def labels(params: Any) -> Any:
        found = mask(params) if callable(mask) else mask
        return jax.tree.map(lambda decays: int(not decays), found)

    return labels
