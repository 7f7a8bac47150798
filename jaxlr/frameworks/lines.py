"""The line of Python that makes the optimizer of a config."""

from jaxlr.code.syntax import literal
from jaxlr.convert.optimizers.lines import native_call, with_links
from jaxlr.convert.optimizers.signatures import OptimizerCall
from jaxlr.convert.optimizers.updates import RULES
from jaxlr.frameworks.optimizers import ConfigOptimizer, listed
from jaxlr.frameworks.recipe import OptimizerError


_IN_PYTHON = "call jaxlr.optimizer_from_config"


def tx_line(read: ConfigOptimizer, schedule: str) -> tuple[str, list[str]]:
    """Return the call that makes the optimizer of a config, and comments on the names in it.

    Args:
        read: the optimizer.
        schedule: the name of the schedule, or of the plateau.

    Raises:
        OptimizerError: no single call makes it.
    """
    if read.stated.own_rates:
        raise OptimizerError(f"{read.stated.own_rates}, so {_IN_PYTHON} with labels")
    if not read.is_constant:
        raise OptimizerError(f"its momentum or weight decay follows a schedule, so {_IN_PYTHON}")
    comments: list[str] = []
    mask = "decay_mask" if read.undecayed else ""
    if mask:
        comments.append(
            f"decay_mask is the mask of the parameters that decay: {read.recipe.framework} leaves "
            f"{listed(read.undecayed)} out."
        )
    rate, is_plateau = schedule, read.recipe.unit == "evaluation"
    if read.recipe.unit == "epoch":
        steps = "steps_per_epoch"
        if read.steps_per_epoch is None:
            comments.append("steps_per_epoch is the number of updates in an epoch.")
        else:
            steps = f"steps_per_epoch={read.steps_per_count()}"
        rate = f"jaxlr.per_epoch({schedule}, {steps})"
    elif read.recipe.unit == "iteration":
        read.steps_per_count()  # refuse accumulated batches
    clip = read.stated.clip
    links: list[str] = []
    if clip is not None:
        order = "" if clip.norm_type in (None, 2) else f", norm_type={literal(clip.norm_type)}"
        name = "optax.clip" if clip.norm_type is None else "jaxlr.clip_grad_norm"
        links = [f"{name}({literal(clip.size)}{order})"]
    line = native_call(read.call, rate, links, mask, is_plateau)
    if line is None and mask:
        raise OptimizerError(f"{read.call.name} needs a mask, so {_IN_PYTHON} with decay_mask")
    if line is None:
        call = OptimizerCall(read.call.name, {k: v for k, v in read.call.given.items() if k != "lr"})
        axes = ", transposed=True" if RULES[call.name].depends_on_axes else ""
        line = with_links(links, f"jaxlr.optimizer_from_string({literal(call.text)}, {rate}{axes})")
    return line, comments
