"""CleanRL: the flags of its PPO scripts, and the settings that a run logs.

The rule is that of CleanRL of April 2026 (`cleanrl/ppo*.py`). The rate falls at each iteration.
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_positive_count
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, per_epoch, phased_lr


_DEFAULTS = {"num_minibatches": 4, "update_epochs": 4}  # in most scripts


def read(config: Config) -> Recipe:
    """Read `total_timesteps`, `num_envs`, `num_steps` and `learning_rate`. A count is an update."""
    config.refuse("target_kl", reason="then the KL divergence decides how many updates an iteration has")
    init_value = config.base_rate("learning_rate")
    envs, steps = (check_positive_count(name, config.count(name)) for name in ("num_envs", "num_steps"))
    config = with_defaults(config, _DEFAULTS, "most scripts of CleanRL")
    minibatch = envs * steps // check_positive_count("num_minibatches", config.count("num_minibatches"))
    if minibatch == 0:
        raise ValueError(f"num_minibatches must be at most num_envs * num_steps, which is {envs * steps}")
    updates = config.count("update_epochs") * -(-envs * steps // minibatch)
    iterations = check_positive_count("iterations", config.count("total_timesteps") // (envs * steps))
    config.state(clip=config.stated_clip("max_grad_norm"))
    is_off = config.flag("no_anneal_lr")  # tyro's flag
    if not is_off and not config.has("anneal_lr"):
        config.assume("anneal_lr is on, the default of PPO on Atari and MuJoCo.")
    if is_off or not config.flag("anneal_lr", True):
        return config.recipe("cleanrl", phased_lr(init_value, [Phase()]), "update", iterations * updates)
    line = phased_lr(init_value, [Phase(iterations, "linear", start_factor=1.0, end_factor=0.0)])
    return config.recipe("cleanrl", per_epoch(line, updates), "update", iterations * updates)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    return {"total_timesteps", "num_envs", "num_steps", "learning_rate"} <= settings.keys()


FRAMEWORK = Framework(name="cleanrl", read=read, marks=(), recognizes=_recognizes)
