"""Hyperparameters of RL Zoo, beside the rates of the updates that Stable-Baselines3 makes."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close


@recorded("stable_baselines3")
def test_the_updates_of_a_run_have_these_rates(case):
    config = {"policy": "MlpPolicy", **case["settings"]}
    recipe = from_config(config, names={"algo": case["call"]})
    last = 1 + max(count for count, rate in enumerate(case["rates"]) if rate > 0)
    assert_has_rates(recipe.schedule, case["rates"][:last])
    assert_close(recipe.schedule(last), 0.0, HOST_RTOL)  # float64 rounds the zeros of the original
    assert (recipe.framework, recipe.unit) == ("stable_baselines3", "update")
    assert recipe.num_counts == len(case["rates"])


ATARI = """
default:
  n_timesteps: !!float 1e6
  policy: 'MlpPolicy'

atari:
  env_wrapper:
    - stable_baselines3.common.atari_wrappers.AtariWrapper
  frame_stack: 4
  policy: 'CnnPolicy'
  n_envs: 8
  n_steps: 128
  n_epochs: 4
  batch_size: 256
  n_timesteps: !!float 1e7
  learning_rate: lin_2.5e-4
  clip_range: lin_0.1
  vf_coef: 0.5
  ent_coef: 0.01

Pendulum-v1:
  n_envs: 4
  n_timesteps: !!float 1e5
  policy: 'MlpPolicy'
  n_steps: 1024
  learning_rate: !!float 1e-3
  max_grad_norm: 5
"""
BIPEDAL = """
BipedalWalkerHardcore-v3:
  n_timesteps: !!float 1e7
  policy: 'MlpPolicy'
  learning_rate: lin_7.3e-4
  buffer_size: 1000000
  train_freq: 1
  gradient_steps: 1
  learning_starts: 10000
"""
A2C = {"policy": "CnnPolicy", "n_envs": 16, "n_timesteps": 1e7, "learning_rate": "lin_7e-4", "algo": "a2c"}
DEFAULT = {"policy": "MlpPolicy", "n_timesteps": 1e5}
LSTM = {**DEFAULT, "n_timesteps": 100_480, "learning_rate": "lin_1e-3"}
ATARI_NAMES = {"env": "atari", "algo": "ppo"}
CONFIGS = [  # a config, names, num_counts, and rates by count
    (ATARI, ATARI_NAMES, 156_256, {0: 2.5e-4 * (1 - 1.024e-4), 16 * 4882: 2.5e-4 * (1 - 4883 * 1.024e-4)}),
    (ATARI, {"env": "Pendulum-v1"}, None, {0: 1e-3, 99: 1e-3}),
    (BIPEDAL, {"algo": "sac"}, 9_990_000, {0: 7.3e-4 * (1 - 1.0001e-3), 4_989_999: 3.65e-4}),
    (A2C, {}, 125_000, {0: 7e-4 * (1 - 8e-6), 62_499: 3.5e-4, 124_999: 0.0}),
    (DEFAULT, {"algo": "td3"}, None, {0: 1e-3}),
    (BIPEDAL, {"algo": "tqc"}, 9_990_000, {4_989_999: 3.65e-4}),
    (BIPEDAL, {"algo": "crossq"}, 9_990_000, {4_989_999: 3.65e-4}),
    (DEFAULT, {"algo": "qrdqn"}, None, {0: 5e-5}),
    (LSTM, {"algo": "ppo_lstm"}, 7850, {0: 1e-3 * (1 - 1 / 785), 10: 1e-3 * (1 - 2 / 785)}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(
    [(config, {"names": names}, *rest) for config, names, *rest in CONFIGS], "stable_baselines3", "update"
)


def test_defaults_and_the_last_rollout_are_assumptions():
    recipe = from_config({**DEFAULT, "learning_rate": "lin_1e-3", "n_steps": 256}, names={"algo": "ppo"})
    assert recipe.assumptions == (
        "n_envs is 1, the default of PPO.",
        "n_epochs is 10, the default of PPO.",
        "batch_size is 64, the default of PPO.",
        "The last rollout passes n_timesteps, so its rate is below 0 in the original, and 0 here.",
    )
    assert recipe.schedule(recipe.num_counts - 1) == 0
    assert from_config(ATARI, names={"env": "Pendulum-v1"}).clip == 5.0
    with_rate = from_config(ATARI, 1.0, names=ATARI_NAMES)
    assert_close(with_rate.schedule(0), 1 - 1.024e-4, HOST_RTOL)


LINE = {**DEFAULT, "learning_rate": "lin_1e-3"}
REFUSED = [
    (ATARI, {}, "the config has 3 environments, such as 'default': give names={'env'"),
    (LINE, {}, "the hyperparameters do not say their algorithm, .* give names={'algo': 'ppo'}"),
    (DEFAULT, {}, "the config has no learning_rate: give init_value"),
    (LINE, {"algo": "trpo"}, "algo must be one of 'ppo', 'a2c', .*, got 'trpo'"),
    (
        {**LINE, "target_kl": 0.03},
        {"algo": "ppo"},
        "target_kl=0.03 is not supported: then the KL divergence",
    ),
    ({**LINE, "train_freq": [1, "episode"]}, {"algo": "sac"}, "train_freq must be a number of steps"),
    ({**LINE, "gradient_steps": 0}, {"algo": "sac"}, "gradient_steps must be a whole number of at least 1"),
    ({**LINE, "learning_starts": 1e6}, {"algo": "dqn"}, "learning_starts must be below n_timesteps"),
    ({**LINE, "learning_rate": "lin_x"}, {"algo": "dqn"}, "learning_rate must be a number, got 'x'"),
    ({**LINE, "learning_rate": "cos_1e-3"}, {}, "learning_rate must be a number, got 'cos_1e-3'"),
]


test_a_config_that_cannot_be_read_is_refused_by_name = refuses(
    [(config, {"names": names}, message) for config, names, message in REFUSED]
)
