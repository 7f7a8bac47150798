"""CleanRL: the flags of its PPO scripts, and the settings that a run logs.

The rule is that of CleanRL of April 2026 (`cleanrl/ppo*.py`). The rate falls at each iteration.
"""

from jaxlr._checks import check_positive_count
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, per_epoch, phased_lr


def read(config: Config) -> Recipe:
    """Read `total_timesteps`, `num_envs`, `num_steps` and `learning_rate`. A count is an update."""
    config.refuse("target_kl", reason="then the KL divergence decides how many updates an iteration has")
    init_value = config.base_rate("learning_rate")
    envs, steps = (config.positive_count(name) for name in ("num_envs", "num_steps"))
    minibatch = envs * steps // config.positive_count("num_minibatches")
    if minibatch == 0:
        raise ValueError(f"num_minibatches must be at most num_envs * num_steps, which is {envs * steps}")
    updates = config.count("update_epochs") * -(-envs * steps // minibatch)
    iterations = check_positive_count("iterations", config.count("total_timesteps") // (envs * steps))
    config.state_settings(clip="max_grad_norm")
    is_off = config.flag("no_anneal_lr")  # tyro's flag
    if not is_off and not config.has("anneal_lr"):
        raise ValueError(
            "the config has no anneal_lr, which is on in some scripts, such as ppo.py and ppo_atari.py: "
            "give names={'anneal_lr': True}"
        )
    if is_off or not config.flag("anneal_lr"):
        return config.recipe("cleanrl", phased_lr(init_value, [Phase()]), "update", iterations * updates)
    line = phased_lr(init_value, [Phase(iterations, "linear", start_factor=1.0, end_factor=0.0)])
    return config.recipe("cleanrl", per_epoch(line, updates), "update", iterations * updates)


FRAMEWORK = Framework(
    name="cleanrl", read=read, marks=(("total_timesteps", "num_envs", "num_steps", "learning_rate"),)
)
