"""Settings of CleanRL's PPO, beside the lines that set its rate."""

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses


@recorded("cleanrl")
def test_each_iteration_has_its_rate(case):
    recipe = from_config({**case["settings"], "num_minibatches": 1, "update_epochs": 1, "anneal_lr": True})
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.unit) == ("cleanrl", "update")
    assert recipe.num_counts == len(case["rates"])


LOGGED = """
exp_name: ppo_atari
env_id: BreakoutNoFrameskip-v4
total_timesteps: 10000000
learning_rate: 0.00025
num_envs: 8
num_steps: 128
anneal_lr: true
num_minibatches: 4
update_epochs: 4
max_grad_norm: 0.5
target_kl: null
batch_size: 1024
"""
FLAGS = """
python cleanrl/ppo_continuous_action.py --seed 1 --env-id Hopper-v2 --total-timesteps 1000000 \\
  --learning-rate 3e-4 --num-envs 1 --num-steps 2048 --num-minibatches 32 --update-epochs 10 --no-anneal-lr
"""
PROCGEN = (
    "uv run python cleanrl/ppo_procgen.py --total-timesteps 25000000 --learning-rate 5e-4 --num-envs 64 "
)
PROCGEN += "--num-steps 256 --num-minibatches 8 --update-epochs 3 --anneal-lr False"
SHORT = "python ppo.py --total-timesteps 4096 --learning-rate 1e-3 --num-envs 4 --num-steps 128 "
SHORT += "--num-minibatches 4 --update-epochs 4 --anneal-lr"
UNEVEN = {"total_timesteps": 1000, "num_envs": 10, "num_steps": 10, "learning_rate": 0.1, "anneal_lr": True}
UNEVEN |= {"num_minibatches": 3, "update_epochs": 2}
CONFIGS = [  # a config, num_counts, and rates by count
    (LOGGED, 156_240, {0: 2.5e-4, 15: 2.5e-4, 16: 2.5e-4 * 9764 / 9765, 156_239: 2.5e-4 / 9765}),
    (PROCGEN, 36_600, {0: 5e-4, 36_599: 5e-4}),
    (SHORT, 128, {0: 1e-3, 64: 5e-4, 127: 1.25e-4}),
    (UNEVEN, 80, {7: 0.1, 8: 0.09}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "cleanrl", "update")


def test_a_flag_with_no_before_it_is_off():
    recipe = from_config(FLAGS)
    assert (recipe.num_counts, recipe.schedule(0), recipe.schedule(9999)) == (156_160, 3e-4, 3e-4)


def test_the_clipping_is_stated():
    assert from_config(LOGGED).clip == 0.5


REFUSED = [
    (LOGGED.replace("target_kl: null", "target_kl: 0.01"), "target_kl=0.01 is not supported"),
    (
        SHORT.replace("minibatches 4", "minibatches 9999"),
        "num_minibatches must be at most num_envs \\* num_steps, which is 512",
    ),
    (SHORT.replace("4096", "100"), "iterations must be a whole number of at least 1"),
    (SHORT.replace("--num-envs 4", "--num-envs 0"), "num_envs must be a whole number of at least 1"),
]


test_a_config_that_cannot_be_read_is_refused_by_name = refuses(REFUSED)
