"""3D Gaussian Splatting: the flags of its `train.py`, and the function `get_expon_lr_func` of JaxNeRF.

The rules are those of graphdeco-inria/gaussian-splatting (`arguments/__init__.py`,
`utils/general_utils.py`, `scene/gaussian_model.py`), which many programs copied.
"""

from typing import Any

import optax

from jaxlr._checks import check_duration, check_positive_count, check_value
from jaxlr.frameworks._curves import sine_ramp
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, chained_scheduler, phased_lr


_DEFAULTS = {
    "iterations": 30_000,
    "position_lr_init": 0.00016,
    "position_lr_final": 0.0000016,
    "position_lr_max_steps": 30_000,
}
_GROUPS = ("xyz", "f_dc", "f_rest", "opacity", "scaling", "rotation")
_FLAGS = {"f_dc": "feature_lr", "f_rest": "feature_lr"}


def get_expon_lr_func(
    lr_init: float,
    lr_final: float,
    lr_delay_steps: int = 0,
    lr_delay_mult: float = 1.0,
    max_steps: int = 1_000_000,
) -> optax.Schedule:
    """Return an exponential decay to `lr_final`, times a sine from `lr_delay_mult` to 1 at its start."""
    delay = check_duration("lr_delay_steps", lr_delay_steps)
    first: Any = check_value("lr_init", lr_init, positive=True)
    decay = _decay(lr_final / first, max_steps, 0)
    if delay == 0:
        return phased_lr(lr_init, [decay])
    start: Any = check_value("lr_delay_mult", lr_delay_mult)
    return chained_scheduler(lr_init, [sine_ramp(delay, start), phased_lr(1.0, [decay])])


def read(config: Config) -> Recipe:
    """Read the rate of the positions, or the constant rate of another group. A count is an iteration."""
    config.refuse("coarse_iterations", reason="its rates start anew in each of two stages")
    group = _GROUPS[config.groups(*_GROUPS)]
    if group != "xyz":
        name = _FLAGS.get(group, f"{group}_lr")
        rate = config.base_rate(name)
        if group == "f_rest" and config.init_value is None:
            rate = rate / 20
        settings = with_defaults(config, {"iterations": 30_000}, "gaussian-splatting")
        schedule = phased_lr(rate, [Phase(start_factor=1.0)])
    else:
        settings = with_defaults(config, _DEFAULTS, "gaussian-splatting")
        schedule = _positions(settings)
    num_counts = settings.positive_count("iterations")
    config.state(optimizer="Adam")
    return config.recipe("gaussian_splatting", schedule, "iteration", num_counts)


FRAMEWORK = Framework(
    name="gaussian_splatting",
    read=read,
    marks=(("position_lr_init",), ("position_lr_final",), ("position_lr_max_steps",)),
    aliases=("3dgs",),
    calls=(get_expon_lr_func,),
)


def _positions(config: Config) -> optax.Schedule:
    """Return the rate of the positions. Iteration 1 is count 0, and nothing delays the rate."""
    first, last = config.number("position_lr_init"), config.number("position_lr_final")
    if config.init_value is not None:
        rate: Any = config.base_rate("position_lr_init")
    elif config.has("spatial_lr_scale"):
        rate = first * config.number("spatial_lr_scale")
    else:
        raise ValueError(
            "position_lr_init is multiplied by the radius of the cameras: give init_value, the product, or "
            "names={'spatial_lr_scale': ...}, the radius"
        )
    if not first > 0:
        raise ValueError(f"position_lr_init must be above 0, got {first:g}")
    steps = config.number("position_lr_max_steps")
    return phased_lr(rate, [_decay(last / first, steps, 1)])


def _decay(factor: float, max_steps: Any, passed: int) -> Phase:
    """Return an exponential decay to a factor, of which some steps have passed."""
    steps = check_positive_count("max_steps", max_steps)
    return Phase(steps, "exponential", start_factor=1.0, end_factor=factor, offset=passed, span=steps)
