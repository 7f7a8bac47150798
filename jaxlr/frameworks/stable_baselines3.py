"""Stable-Baselines3: the hyperparameters of RL Zoo, whose rates may fall along a line.

The rules are those of Stable-Baselines3 2.9.2 (`common/*_policy_algorithm.py`), and of SB3-Contrib and RL
Zoo of April 2026 (`exp_manager.py`).
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxlr._checks import check_choice, check_positive_count, shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, per_epoch, phased_lr


_OFF: dict[str, Any] = {"learning_starts": 100, "train_freq": 1, "gradient_steps": 1}
# The defaults of each algorithm. Those that learn off the policy have a train_freq.
_ALGORITHMS: dict[str, dict[str, Any]] = {
    "ppo": {"learning_rate": 3e-4, "n_steps": 2048, "n_epochs": 10, "batch_size": 64},
    "a2c": {"learning_rate": 7e-4, "n_steps": 5},
    "sac": {"learning_rate": 3e-4, **_OFF},
    "td3": {"learning_rate": 1e-3, **_OFF},
    "ddpg": {"learning_rate": 1e-3, **_OFF},
    "dqn": {"learning_rate": 1e-4, **_OFF, "train_freq": 4},
    # Those of SB3-Contrib.
    "ppo_lstm": {"learning_rate": 3e-4, "n_steps": 128, "n_epochs": 10, "batch_size": 128},
    "tqc": {"learning_rate": 3e-4, **_OFF},
    "crossq": {"learning_rate": 1e-3, **_OFF},
    "qrdqn": {"learning_rate": 5e-5, **_OFF, "train_freq": 4},
}


class _Calls(NamedTuple):
    """The calls of `train`, which sets the rate."""

    first: int  # rollouts before the end of the first call, with its own
    rollout: int  # steps of the environments in a rollout
    updates: int  # updates of the weights in a call


def read(config: Config) -> Recipe:
    """Read the hyperparameters of one environment. A count is an update."""
    config = _of_environment(config)
    config.state_settings(clip="max_grad_norm")
    algorithm = config.text("algo", None)
    if algorithm in _ALGORITHMS:
        default = {"learning_rate": _ALGORITHMS[algorithm]["learning_rate"]}
        config = with_defaults(config, default, algorithm.upper(), rate="learning_rate")
    rate = config.get("learning_rate")
    if not (isinstance(rate, str) and rate.startswith("lin_")):
        schedule = phased_lr(config.base_rate("learning_rate"), [Phase()])
        return config.recipe("stable_baselines3", schedule, "update", None)
    line = config.of({**config.settings, "learning_rate": rate.removeprefix("lin_")})
    init_value = line.base_rate("learning_rate")
    total = check_positive_count("n_timesteps", int(config.number("n_timesteps")))
    calls = _calls(config)
    span, rollouts = total / calls.rollout, math.ceil(total / calls.rollout)
    if calls.first > rollouts:
        raise ValueError(f"learning_starts must be below n_timesteps, which is {total}")
    if rollouts > span:
        config.assume(
            "The last rollout passes n_timesteps, so its rate is below 0 in the original, and 0 here."
        )
    num_calls = rollouts - calls.first + 1
    ends: Any = {"start_factor": 1.0, "end_factor": 0.0, "span": span, "offset": min(calls.first, span)}
    line_of_calls = phased_lr(init_value, [Phase(num_calls, "linear", **ends)])
    schedule = per_epoch(line_of_calls, calls.updates)
    return config.recipe("stable_baselines3", schedule, "update", num_calls * calls.updates)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    sections = [each for each in (settings, *settings.values()) if isinstance(each, Mapping)]
    return any("n_timesteps" in each and "Policy" in str(each.get("policy")) for each in sections)


FRAMEWORK = Framework(
    name="stable_baselines3", read=read, recognizes=_recognizes, aliases=("sb3", "rl_zoo3")
)


def _of_environment(config: Config) -> Config:
    """Return the section of the environment that `names` gives, if the config has several."""
    sections = [str(name) for name, value in config.settings.items() if isinstance(value, Mapping)]
    if "n_timesteps" in config.settings or not sections:
        return config
    name = sections[0] if len(sections) == 1 else config.get("env")
    if name not in sections:
        raise ValueError(
            f"the config has {len(sections)} environments, such as {shown_value(sections[0])}: give "
            "names={'env': ...}"
        )
    return config.inner(name)


def _calls(config: Config) -> _Calls:
    """Return the calls of `train` of an algorithm."""
    if not config.has("algo"):
        raise ValueError(
            "the hyperparameters do not say their algorithm, which decides when the rate falls: give "
            "names={'algo': 'ppo'}, the name of their file"
        )
    algorithm = check_choice("algo", config.text("algo"), tuple(_ALGORITHMS))
    config = with_defaults(config, {"n_envs": 1, **_ALGORITHMS[algorithm]}, algorithm.upper())
    envs = config.positive_count("n_envs")
    if "train_freq" not in _ALGORITHMS[algorithm]:
        config.refuse("target_kl", reason="then the KL divergence decides how many updates have a rate")
        rollout = envs * config.positive_count("n_steps")
        batch = config.positive_count("batch_size", rollout)
        return _Calls(1, rollout, config.count("n_epochs", 1) * -(-rollout // batch))
    if not isinstance(config.get("train_freq"), int | float | str):
        raise ValueError(
            f"train_freq must be a number of steps, got {shown_value(config.get('train_freq'))}: the "
            "length of an episode is not known"
        )
    rollout = envs * config.positive_count("train_freq")
    steps = config.signed("gradient_steps", 1)
    updates = rollout if steps < 0 else check_positive_count("gradient_steps", steps)
    if algorithm in ("td3", "ddpg", "crossq"):
        config.assume("A count is an update of the critic.")
    return _Calls(config.count("learning_starts") // rollout + 1, rollout, updates)
