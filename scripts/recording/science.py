"""Record the curves of LeRobot, fastai and others in `tests/framework_recipes_science.json`.

The environment needs torch, diffusers, fastai, pytorch-ignite and stable_baselines3. The folder holds
clones of huggingface/lerobot, aqlaboratory/openfold, rampasek/GraphGPS, FAIR-Chem/fairchem,
vwxyzjn/cleanrl and real-stanford/diffusion_policy, and `torch_geometric` of PyG as `pyg`:

    python scripts/recording/science.py FOLDER
"""

import ast
import functools
import importlib
import logging
import math
import warnings
from bisect import bisect
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import torch
from curves import case, definitions, new_optimizer, record, stepped, text_at
from diffusers.optimization import get_scheduler  # pyright: ignore[reportMissingImports]


DECAY = ("num_warmup_steps", "num_decay_steps", "peak_lr", "decay_lr")
# A class, the settings, and the steps of the run.
LEROBOT: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("DiffuserSchedulerConfig", {"name": "cosine", "num_warmup_steps": 5}, 30),
    ("DiffuserSchedulerConfig", {"name": "linear", "num_warmup_steps": 0}, 30),
    ("VQBeTSchedulerConfig", {"num_warmup_steps": 4, "num_vqvae_training_steps": 6}, 30),
    ("VQBeTSchedulerConfig", {"num_warmup_steps": 0, "num_vqvae_training_steps": 0, "num_cycles": 1.5}, 30),
    ("ConstantWithWarmupSchedulerConfig", {"num_warmup_steps": 6}, 30),
    ("CosineAnnealingWithWarmupSchedulerConfig", {"num_warmup_steps": 6}, 30),
    ("CosineDecayWithWarmupSchedulerConfig", dict(zip(DECAY, (5, 20, 1e-4, 2.5e-6), strict=True)), 30),
    ("CosineDecayWithWarmupSchedulerConfig", dict(zip(DECAY, (7, 60, 1e-4, 2.5e-6), strict=True)), 30),
    ("CosineDecayWithWarmupSchedulerConfig", dict(zip(DECAY, (0, 20, 5e-5, 0.0), strict=True)), 30),
    ("CosineDecayWithWarmupSchedulerConfig", dict(zip(DECAY, (20, 20, 1e-4, 1e-5), strict=True)), 30),
)


def lerobot(folder: Path) -> list[Any]:
    """Return the rates of LeRobot's schedulers, today and before they were scaled to the run."""
    types: dict[type, str] = {}

    class LRSchedulerConfig:
        @staticmethod
        def register_subclass(name: str) -> Any:
            return lambda subclass: types.setdefault(subclass, name) and subclass

    cases: list[Any] = []
    for version, commit in (("0.6.1", "v0.6.1"), ("0.3.3", "v0.3.3")):
        names: dict[str, Any] = {
            "LRSchedulerConfig": LRSchedulerConfig,
            "dataclass": dataclass,
            "math": math,
        }
        names |= {"get_scheduler": get_scheduler, "asdict": asdict, "logging": logging, "LambdaLR": None}
        names |= {"LambdaLR": torch.optim.lr_scheduler.LambdaLR, "require_package": lambda *a, **k: None}
        text = text_at(folder / "lerobot", commit, "src/lerobot/optim/schedulers.py")
        definitions(text, [name for name, _, _ in LEROBOT], names)
        for name, settings, steps in LEROBOT:
            if name not in names or (version == "0.3.3" and "Decay" not in name):
                continue
            config = names[name](**settings)
            kind = types[names[name]]
            rates = stepped(functools.partial(config.build, num_training_steps=steps), 1e-4, steps + 10)
            cases.append(case(version, kind, settings, rates, init_value=1e-4, steps=steps))
    return cases


# A method of fastai's Learner, its arguments, and the batches of an epoch.
FASTAI: tuple[tuple[str, dict[str, Any], int], ...] = (
    ("fit_one_cycle", {"n_epoch": 3, "lr_max": 3e-3}, 10),
    ("fit_one_cycle", {"n_epoch": 2, "lr_max": 1e-2, "div": 10.0, "div_final": 1e3, "pct_start": 0.4}, 7),
    ("fit_flat_cos", {"n_epoch": 3, "lr": 1e-3}, 9),
    ("fit_flat_cos", {"n_epoch": 2, "lr": 1e-3, "pct_start": 0.5, "div_final": 100.0}, 8),
    ("fine_tune", {"epochs": 2}, 10),
    ("fine_tune", {"epochs": 3, "base_lr": 1e-3, "freeze_epochs": 2, "pct_start": 0.1, "div": 8.0}, 7),
    ("fine_tune", {"epochs": 2, "freeze_epochs": 0}, 6),
)


def fastai(folder: Path) -> list[Any]:
    """Return the rates that fastai's Learner logs, with its own positions in float32 and in float64."""
    del folder
    schedule: Any = importlib.import_module("fastai.callback.schedule")
    learner: Any = importlib.import_module("fastai.learner")
    load: Any = importlib.import_module("fastai.data.load").DataLoader
    dls: Any = importlib.import_module("fastai.data.core").DataLoaders

    class Logged(learner.Callback):
        order = 61  # after the ParamScheduler

        def before_batch(self) -> None:
            if self.training:
                rates.append(self.opt.hypers[-1]["lr"])

    cases: list[Any] = []
    single = schedule.tensor
    for digits, tensor in (
        ("float32", single),
        ("float64", lambda x: torch.tensor(list(x), dtype=torch.float64)),
    ):
        schedule.tensor = tensor
        for name, settings, batches in FASTAI:
            data = [(torch.zeros(1), torch.zeros(1)) for _ in range(batches)]
            made = learner.Learner(
                dls(load(data, bs=1), load(data, bs=1)),
                torch.nn.Linear(1, 1),
                torch.nn.functional.mse_loss,
                cbs=[Logged()],
            )
            rates: list[float] = []
            with made.no_bar(), made.no_logging():
                getattr(made, name)(**settings)
            cases.append(case(f"2.8.12 {digits}", name, {**settings, "steps_per_epoch": batches}, rates))
    schedule.tensor = single
    return cases


ALPHAFOLD = ("base_lr", "max_lr", "warmup_no_steps", "start_decay_after_n_steps", "decay_every_n_steps")
# A class, and its settings.
ADDONS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("AlphaFoldLRScheduler", dict(zip(ALPHAFOLD, (0.0, 1e-3, 5, 12, 7), strict=True))),
    ("AlphaFoldLRScheduler", dict(zip(ALPHAFOLD, (1e-5, 1.8e-3, 4, 4, 1), strict=True))),
    (
        "AlphaFoldLRScheduler",
        {**dict(zip(ALPHAFOLD, (0.0, 1e-3, 1, 9, 5), strict=True)), "decay_factor": 0.5},
    ),
    ("PiecewiseLinear", {"milestones_values": [(0, 0.0), (8, 0.1), (20, 0.1), (20, 0.05), (33, 0.0)]}),
    ("PiecewiseLinear", {"milestones_values": [(5, 1e-3), (17, 1e-4)]}),
    ("CosineAnnealingScheduler", {"start_value": 0.1, "end_value": 1e-3, "cycle_size": 11}),
    ("LinearCyclicalScheduler", {"start_value": 0.01, "end_value": 0.1, "cycle_size": 9}),
    ("LinearCyclicalScheduler", {"start_value": 0.01, "end_value": 0.1, "cycle_size": 10}),
    ("LinearCyclicalScheduler", {"start_value": 0.1, "end_value": 0.0, "cycle_size": 9, "monotonic": True}),
)


def addons(folder: Path) -> list[Any]:
    """Return the rates of OpenFold's scheduler, and of those of ignite before each iteration."""
    text = text_at(folder / "openfold", "HEAD", "openfold/utils/lr_schedulers.py")
    openfold = definitions(text, ["AlphaFoldLRScheduler"], {"torch": torch})["AlphaFoldLRScheduler"]
    # Today's torch has no argument verbose.
    base: Any = torch.optim.lr_scheduler.LRScheduler.__init__
    handlers: Any = importlib.import_module("ignite.handlers")
    cases: list[Any] = []
    for name, settings in ADDONS:
        if name == "AlphaFoldLRScheduler":
            with mock.patch.object(
                torch.optim.lr_scheduler.LRScheduler,
                "__init__",
                lambda self, optimizer, last_epoch, verbose: base(self, optimizer, last_epoch),
            ):
                rates = stepped(functools.partial(openfold, **settings), 0.1, 40)
            cases.append(case("2025", name, settings, rates))
            continue
        sgd = new_optimizer(0.1)
        scheduler = getattr(handlers, name)(sgd, "lr", **settings)
        rates = []
        for _ in range(40):
            scheduler(None)
            rates.append(sgd.param_groups[0]["lr"])
        cases.append(case("0.5.5", name, {"param_name": "lr", **settings}, rates))
    return cases


WARMED = {"num_warmup_epochs": 6, "max_epoch": 30}
# A scheduler, and its settings.
GRAPHGYM: tuple[tuple[str, dict[str, Any]], ...] = (
    ("none", {"max_epoch": 30}),
    ("step", {"steps": [4, 20], "lr_decay": 0.3}),
    ("cos", {"max_epoch": 30}),
    ("linear_with_warmup", WARMED),
    ("linear_with_warmup", {"num_warmup_epochs": 0, "max_epoch": 30}),
    ("linear_with_warmup", {"num_warmup_epochs": 30, "max_epoch": 30}),
    ("cosine_with_warmup", WARMED),
    ("cosine_with_warmup", {"num_warmup_epochs": 1, "max_epoch": 30}),
    ("cosine_with_warmup", {"num_warmup_epochs": 40, "max_epoch": 30}),
    ("polynomial_with_warmup", WARMED),
)


def graphgym(folder: Path) -> list[Any]:
    """Return the rates of the schedulers of PyG's GraphGym and of GraphGPS."""
    schedulers: dict[Any, Any] = {}
    register = SimpleNamespace(
        register_scheduler=lambda name: lambda build: schedulers.setdefault(name, build),
        register_optimizer=lambda name: lambda build: build,
    )
    names = {"optim": torch.optim, "math": math, "register": register, **vars(torch.optim.lr_scheduler)}
    for file in ("pyg/graphgym/optim.py", "GraphGPS/graphgps/optimizer/extra_optimizers.py"):
        clone, _, path = file.partition("/")
        text = (folder / file).read_text() if clone == "pyg" else text_at(folder / clone, "HEAD", path)
        functions = [each.name for each in ast.parse(text).body if isinstance(each, ast.FunctionDef)]
        definitions(text, functions, names)
    cases: list[Any] = []
    for name, settings in GRAPHGYM:
        rates = stepped(functools.partial(schedulers[name], **settings), 1e-3, 35)
        cases.append(case("2.8.1", name, settings, rates, init_value=1e-3))
    return cases


STEPS = {"warmup_steps": 120, "warmup_factor": 0.2, "lr_gamma": 0.5}
COSINE = {"lambda_type": "cosine", "warmup_factor": 0.2, "lr_min_factor": 0.01}
MULTISTEP = {"lambda_type": "multistep", "warmup_factor": 0.1, "decay_rate": 0.3}
# The section `optim`.
FAIRCHEM: tuple[dict[str, Any], ...] = (
    {**STEPS, "lr_milestones": [150, 300]},
    {**STEPS, "lr_milestones": [100, 120, 121, 250]},
    {**STEPS, "warmup_steps": -1, "lr_milestones": [100, 300]},
    {"scheduler": "LambdaLR", "scheduler_params": {**COSINE, "warmup_epochs": 0.5}, "max_epochs": 9},
    {"scheduler": "LambdaLR", "scheduler_params": {**COSINE, "warmup_epochs": 9}, "max_epochs": 9},
    {
        "scheduler": "LambdaLR",
        "scheduler_params": {**MULTISTEP, "warmup_epochs": 1.7, "decay_epochs": [1, 4.6]},
        "max_epochs": 9,
    },
)


def fairchem(folder: Path) -> list[Any]:
    """Return the rates of fairchem's rules, with 30 updates in an epoch."""
    names: dict[str, Any] = {"bisect": bisect, "math": math, "aii": lambda value, kind: value}
    files = ("common/utils.py", "models/equiformer_v2/trainers/lr_scheduler.py")
    for file in files:
        text = text_at(folder / "fairchem", "HEAD", f"src/fairchem/core/{file}")
        definitions(text, ["warmup_lr_lambda", "CosineLRLambda", "MultistepLRLambda"], names)
    cases: list[Any] = []
    for optim in FAIRCHEM:
        # The trainer of EquiformerV2 turns epochs into updates like this.
        params = {**optim.get("scheduler_params", {}), "epochs": optim.get("max_epochs", 0)}
        for key, value in params.items():
            if "epochs" in key:
                params[key] = [int(x * 30) for x in value] if isinstance(value, list) else int(value * 30)
        rules = {"cosine": "CosineLRLambda", "multistep": "MultistepLRLambda"}
        rule = names[rules[params["lambda_type"]]](params) if "lambda_type" in params else None
        rule = rule or functools.partial(names["warmup_lr_lambda"], optim_config=optim)
        rates = stepped(functools.partial(torch.optim.lr_scheduler.LambdaLR, lr_lambda=rule), 4e-4, 310)
        cases.append(case("1.9", "optim", {"lr_initial": 4e-4, **optim}, rates))
    return cases


# An algorithm, its environment, and its settings in rl-zoo3.
ZOO: tuple[tuple[str, str, dict[str, Any]], ...] = (
    (
        "ppo",
        "CartPole-v1",
        {"n_envs": 2, "n_steps": 16, "batch_size": 12, "n_epochs": 2, "n_timesteps": 160},
    ),
    (
        "ppo",
        "CartPole-v1",
        {"n_envs": 1, "n_steps": 32, "batch_size": 32, "n_epochs": 1, "n_timesteps": 320},
    ),
    ("a2c", "CartPole-v1", {"n_envs": 2, "n_timesteps": 100}),
    (
        "sac",
        "Pendulum-v1",
        {"learning_starts": 10, "train_freq": 4, "gradient_steps": 2, "n_timesteps": 40},
    ),
    (
        "sac",
        "Pendulum-v1",
        {"learning_starts": 8, "train_freq": 4, "gradient_steps": -1, "n_timesteps": 40},
    ),
    ("td3", "Pendulum-v1", {"learning_starts": 9, "train_freq": 3, "gradient_steps": 1, "n_timesteps": 42}),
    ("dqn", "CartPole-v1", {"learning_starts": 0, "train_freq": 5, "n_timesteps": 50}),
)


def stable_baselines3(folder: Path) -> list[Any]:
    """Return the rate of every update that the algorithms of Stable-Baselines3 make."""
    del folder
    sb3: Any = importlib.import_module("stable_baselines3")
    make_vec_env: Any = importlib.import_module("stable_baselines3.common.env_util").make_vec_env
    cases: list[Any] = []
    for algorithm, env, settings in ZOO:
        given = {key: value for key, value in settings.items() if key not in ("n_envs", "n_timesteps")}
        model = getattr(sb3, algorithm.upper())(
            "MlpPolicy",
            make_vec_env(env, settings.get("n_envs", 1)),
            learning_rate=lambda progress_remaining: progress_remaining * 1e-3,
            device="cpu",
            **given,
        )
        rates: list[float] = []
        optimized = model.critic.optimizer if algorithm in ("sac", "td3") else model.policy.optimizer
        optimized.register_step_pre_hook(
            lambda sgd, *_, rates=rates: rates.append(sgd.param_groups[0]["lr"])
        )
        model.learn(settings["n_timesteps"])
        cases.append(case("2.9.2", algorithm, {"learning_rate": "lin_1e-3", **settings}, rates))
    return cases


def cleanrl(folder: Path) -> list[Any]:
    """Return the rate of every iteration, from the lines of CleanRL's PPO that set it."""
    text = text_at(folder / "cleanrl", "HEAD", "cleanrl/ppo_atari.py")
    lines = [line.strip() for line in text.splitlines()]
    begin = next(number for number, line in enumerate(lines) if line.startswith("frac = "))
    code = compile("\n".join(lines[begin : begin + 3]), "recorded", "exec")
    cases: list[Any] = []
    for total, envs in ((1000, 4), (1024, 8)):
        settings = {"total_timesteps": total, "num_envs": envs, "num_steps": 16, "learning_rate": 2.5e-4}
        args = SimpleNamespace(**settings, num_iterations=total // (envs * 16))
        sgd = new_optimizer(2.5e-4)
        rates: list[float] = []
        for iteration in range(1, args.num_iterations + 1):
            exec(code, {"args": args, "iteration": iteration, "optimizer": sgd})
            rates.append(sgd.param_groups[0]["lr"])
        cases.append(case("2026-04", "ppo", settings, rates))
    return cases


def diffusion_policy(folder: Path) -> list[Any]:
    """Return the rates of the schedulers of Diffusion Policy, with 10 batches in an epoch."""
    text = text_at(folder / "diffusion_policy", "HEAD", "diffusion_policy/model/common/lr_scheduler.py")
    names = definitions(
        text, ["get_scheduler"], dict(vars(importlib.import_module("diffusers.optimization")))
    )
    cases: list[Any] = []
    for name, warmup, every in (("cosine", 6, 1), ("linear", 0, 2), ("constant_with_warmup", 5, 1)):
        training = {"lr_scheduler": name, "lr_warmup_steps": warmup, "num_epochs": 4}
        training |= {"gradient_accumulate_every": every}
        build = functools.partial(
            names["get_scheduler"], name, num_warmup_steps=warmup, num_training_steps=10 * 4 // every
        )
        cases.append(case("2024-12", name, training, stepped(build, 1e-4, 45), init_value=1e-4))
    return cases


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    record(
        "framework_recipes_science.json",
        *(lerobot, fastai, addons, graphgym, fairchem, stable_baselines3, cleanrl, diffusion_policy),
    )
