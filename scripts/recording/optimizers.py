"""Record runs of the optimizers of frameworks, with their schedules, in `tests/framework_optimizers.json`.

Each framework has its own part, which needs torch and the package of that name. The names of the parts are
huggingface, timm, ultralytics, mmengine, lightning and deepspeed:

    python scripts/recording/optimizers.py huggingface timm
"""

import importlib.metadata
import json
import logging
import math
import runpy
import sys
import tempfile
import types
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch


FILE = Path(__file__).parents[2] / "tests/framework_optimizers.json"
NUM_UPDATES, SHOWN = 60, (1, 25, 60)
SHAPES = {"dense.weight": (3, 4), "dense.bias": (3,), "norm.weight": (3,), "norm.bias": (3,)}


class Model(torch.nn.Module):
    """A dense layer and a norm, in float64."""

    def __init__(self):
        super().__init__()
        self.dense: Any = torch.nn.Linear(4, 3)
        self.norm: Any = torch.nn.LayerNorm(3)
        self.double()
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(
                    torch.as_tensor(np.cos(np.arange(math.prod(SHAPES[name])))).reshape(SHAPES[name])
                )


def gradient(count: int, value: Any) -> Any:
    """Return the gradient of an update. `tests/test_optimizer_from_config.py` has the same formula."""
    noise = np.sin(0.7 * count + np.arange(value.numel())).reshape(value.shape)
    return torch.as_tensor(noise) + 0.1 * value.detach()


def run(
    model: Any,
    optimizer: Any,
    after_update: Callable[[int], None],
    clip: Callable[[Any], Any] | None = None,
    before_update: Callable[[int], None] = lambda count: None,
) -> list[dict[str, list[float]]]:
    """Make the updates, and return the weights after those in `SHOWN`."""
    shown = []
    for count in range(NUM_UPDATES):
        for parameter in model.parameters():
            parameter.grad = gradient(count, parameter)
        before_update(count)
        if clip is not None:
            clip(model.parameters())
        optimizer.step()
        after_update(count)
        if count + 1 in SHOWN:
            shown.append(weights(model))
    return shown


def weights(model: Any) -> dict[str, list[float]]:
    """Return the parameters by name."""
    return {name: value.detach().flatten().tolist() for name, value in model.named_parameters()}


def huggingface() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Yield runs of the Trainer's own optimizer, scheduler and groups."""
    from transformers import Trainer, TrainingArguments

    base = {"learning_rate": 0.01, "max_steps": NUM_UPDATES}
    cases: list[dict[str, Any]] = [
        {"lr_scheduler_type": "linear", "weight_decay": 0.1},
        {
            **{
                "lr_scheduler_type": "cosine",
                "weight_decay": 0.05,
                "warmup_steps": 7,
                "optim": "adamw_torch",
            },
            **{"adam_beta1": 0.8, "adam_beta2": 0.95, "adam_epsilon": 1e-3, "max_grad_norm": 0.5},
        },
        {
            "lr_scheduler_type": "constant_with_warmup",
            "warmup_steps": 5,
            "optim": "sgd",
            "weight_decay": 0.2,
        },
        {"lr_scheduler_type": "polynomial", "optim": "rmsprop", "weight_decay": 0.1, "max_grad_norm": 0.0},
        {"lr_scheduler_type": "inverse_sqrt", "warmup_steps": 9, "optim": "adagrad", "weight_decay": 0.3},
    ]
    for case in cases:
        config = {**base, **case}
        with tempfile.TemporaryDirectory() as folder:
            arguments = TrainingArguments(folder, use_cpu=True, report_to=[], **config)
            trainer = Trainer(Model(), arguments)
            trainer.create_optimizer_and_scheduler(NUM_UPDATES)
            norm = arguments.max_grad_norm
            clip = (lambda p, norm=norm: torch.nn.utils.clip_grad_norm_(p, norm)) if norm > 0 else None
            scheduler: Any = trainer.lr_scheduler
            yield config, {}, run(trainer.model, trainer.optimizer, lambda _, s=scheduler: s.step(), clip)


def timm() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Yield runs of `train.py`'s functions. Its defaults of the scheduler are written in each config."""
    from timm.optim import create_optimizer_v2, optimizer_kwargs
    from timm.scheduler import create_scheduler_v2, scheduler_kwargs
    from timm.utils import dispatch_clip_grad

    steps = 10
    base: dict[str, Any] = {
        **{"sched": "cosine", "epochs": NUM_UPDATES // steps, "lr": 0.02, "min_lr": 0.001, "momentum": 0.9},
        **{
            "warmup_epochs": 2,
            "warmup_lr": 1e-4,
            "decay_epochs": 3,
            "decay_rate": 0.5,
            "cooldown_epochs": 0,
        },
        **{"weight_decay": 0.05, "clip_mode": "norm", "opt_eps": None, "opt_betas": None},
    }
    cases: list[dict[str, Any]] = [
        {"opt": "sgd"},
        {"opt": "momentum", "momentum": 0.8, "clip_grad": 0.5, "sched_on_updates": True},
        {"opt": "adamw", "opt_betas": [0.8, 0.95], "opt_eps": 1e-4, "sched": "step"},
        {"opt": "adam", "clip_grad": 0.3, "clip_mode": "value"},
        *({"opt": opt} for opt in ("nadam", "radamw", "adamax", "adadelta", "adagrad", "rmsprop")),
        {"opt": "lamb", "sched_on_updates": True},
        {"opt": "lambc", "weight_decay": 0.0},
        {"opt": "lambw"},
        {"opt": "lion", "opt_betas": [0.9, 0.98]},
        {"opt": "clion"},
    ]
    for case in cases:
        config = {**base, **case}
        arguments = types.SimpleNamespace(
            **{"patience_epochs": 10, "sched_on_updates": False, "clip_grad": None, **config}
        )
        model = Model()
        optimizer = create_optimizer_v2(model, **optimizer_kwargs(cfg=arguments))
        scheduler: Any = create_scheduler_v2(
            optimizer, **scheduler_kwargs(arguments), updates_per_epoch=steps
        )[0]

        def after_update(count: int, scheduler: Any = scheduler) -> None:
            scheduler.step_update(num_updates=count + 1)
            if (count + 1) % steps == 0:
                scheduler.step((count + 1) // steps)

        size, mode = arguments.clip_grad, arguments.clip_mode
        clip = None
        if size is not None:
            clip = lambda p, size=size, mode=mode: dispatch_clip_grad(p, size, mode=mode)  # noqa: E731
        yield config, {"steps_per_epoch": steps}, run(model, optimizer, after_update, clip)


def ultralytics() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Yield runs of `build_optimizer`, with the warmup as in `_do_train`."""
    from ultralytics.engine.trainer import BaseTrainer

    steps = 10
    base: dict[str, Any] = {
        **{
            "epochs": NUM_UPDATES // steps,
            "lr0": 0.01,
            "lrf": 0.1,
            "warmup_epochs": 2.0,
            "batch": 64,
            "nbs": 64,
        },
        **{"momentum": 0.937, "warmup_momentum": 0.8, "warmup_bias_lr": 0.1, "weight_decay": 0.01},
    }
    cases: list[dict[str, Any]] = [
        {"optimizer": "SGD"},
        {"optimizer": "SGD", "warmup_bias_lr": 0.0, "cos_lr": True, "batch": 128},
        {"optimizer": "AdamW", "lr0": 0.003},
        {"optimizer": "RMSprop", "warmup_epochs": 0.0},
        {"optimizer": "NAdam", "warmup_bias_lr": 0.05},
    ]
    for case in cases:
        config = {**base, **case}
        model = Model()
        decay = config["weight_decay"] * config["batch"] * max(round(64 / config["batch"]), 1) / 64
        trainer: Any = types.SimpleNamespace(args=types.SimpleNamespace(**config), data={})
        optimizer = BaseTrainer.build_optimizer(
            trainer, model, config["optimizer"], config["lr0"], config["momentum"], decay
        )
        for group in optimizer.param_groups:
            group["initial_lr"] = config["lr0"]
        warmup = round(config["warmup_epochs"] * steps)
        epochs, final = config["epochs"], config["lrf"]

        def factor(epoch: int, config: Any = config, epochs: int = epochs, final: float = final) -> float:
            if config.get("cos_lr"):
                return max((1 - math.cos(epoch * math.pi / epochs)) / 2, 0) * (final - 1) + 1
            return max(1 - epoch / epochs, 0) * (1.0 - final) + final

        def before_update(
            count: int,
            config: Any = config,
            optimizer: Any = optimizer,
            warmup: int = warmup,
            factor: Any = factor,
        ) -> None:
            for group in optimizer.param_groups:
                rate = group["initial_lr"] * factor(count // steps)
                start = config["warmup_bias_lr"] if group["param_group"] == "bias" else 0.0
                if warmup and count <= warmup:
                    group["lr"] = float(np.interp(count, [0, warmup], [start, rate]))
                    if "momentum" in group:
                        ends = [config["warmup_momentum"], config["momentum"]]
                        group["momentum"] = float(np.interp(count, [0, warmup], ends))
                elif count % steps == 0:
                    group["lr"] = rate

        def clip(parameters: Any) -> None:
            torch.nn.utils.clip_grad_norm_(parameters, max_norm=10.0)

        shown = run(model, optimizer, lambda count: None, clip, before_update)
        yield config, {"steps_per_epoch": steps, "version": "8.4"}, shown


def mmengine() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Yield runs of `build_optim_wrapper` and of the schedulers of MMEngine."""
    from mmengine.optim import build_optim_wrapper
    from mmengine.registry import PARAM_SCHEDULERS

    adamw = {"type": "AdamW", "lr": 0.01, "betas": [0.9, 0.95], "weight_decay": 0.1}
    sgd = {"type": "SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.05, "nesterov": True}
    cosine = {"type": "CosineAnnealingLR", "T_max": NUM_UPDATES, "eta_min": 1e-4, "by_epoch": False}
    cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = [
        (
            {"optimizer": adamw, "clip_grad": {"max_norm": 0.5, "norm_type": 1}},
            [{"type": "LinearLR", "start_factor": 0.1, "by_epoch": False, "end": 9}, cosine],
        ),
        (
            {
                "optimizer": adamw,
                "paramwise_cfg": {"norm_decay_mult": 0.0, "bias_decay_mult": 0.0, "bypass_duplicate": True},
            },
            [cosine],
        ),
        (
            {"optimizer": sgd, "clip_grad": {"type": "value", "clip_value": 0.4}},
            [cosine, {"type": "CosineAnnealingMomentum", "T_max": 60, "eta_min": 0.3, "by_epoch": False}],
        ),
        (
            {"optimizer": adamw},
            [
                cosine,
                {"type": "LinearMomentum", "start_factor": 0.5, "end": 40, "by_epoch": False},
                {
                    "type": "CosineAnnealingParamScheduler",
                    "param_name": "weight_decay",
                    "T_max": 60,
                    "eta_min": 0.3,
                }
                | {"by_epoch": False},
            ][:2],
        ),
    ]
    for wrapper, schedulers in cases:
        model = Model()
        built = build_optim_wrapper(model, {"type": "OptimWrapper", **wrapper})
        stepped: Any = [
            PARAM_SCHEDULERS.build(dict(each), default_args={"optimizer": built.optimizer})
            for each in schedulers
        ]

        def after_update(count: int, stepped: Any = stepped) -> None:
            for scheduler in stepped:
                scheduler.step()

        config = {
            "optim_wrapper": wrapper,
            "param_scheduler": schedulers,
            "train_cfg": {"by_epoch": False, "max_iters": NUM_UPDATES},
        }
        yield config, {}, run(model, built, after_update)


def lightning() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Yield runs of `Trainer.fit`."""
    import pytorch_lightning as pl

    adamw = {"_target_": "torch.optim.AdamW", "lr": 0.01, "weight_decay": 0.1}
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.01}
    one_cycle = {"_target_": "torch.optim.lr_scheduler.OneCycleLR", "max_lr": 0.02, "total_steps": 61}
    cases: list[tuple[dict[str, Any], dict[str, Any], str, dict[str, Any]]] = [
        (adamw, one_cycle, "step", {"gradient_clip_val": 0.5}),
        (sgd, {**one_cycle, "base_momentum": 0.5}, "step", {}),
        (
            sgd,
            {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 2, "gamma": 0.3},
            "epoch",
            {"gradient_clip_val": 0.3, "gradient_clip_algorithm": "value"},
        ),
    ]
    steps = 10
    for optimizer, scheduler, interval, trainer in cases:

        class Module(pl.LightningModule):
            def __init__(self, optimizer: Any, scheduler: Any, interval: str):
                super().__init__()
                self.model: Any = Model()
                self.shown: list[Any] = []
                self.made = (optimizer, scheduler, interval)

            def training_step(self, batch: Any, index: int) -> Any:
                parameters = self.model.parameters()
                return sum((p * gradient(self.global_step, p)).sum() for p in parameters)

            def on_train_batch_end(self, *arguments: Any) -> None:
                if self.global_step in SHOWN:
                    self.shown.append(weights(self.model))

            def configure_optimizers(self) -> Any:
                optimizer, scheduler = (
                    (
                        each["_target_"].rpartition(".")[2],
                        {k: v for k, v in each.items() if k != "_target_"},
                    )
                    for each in self.made[:2]
                )
                made = getattr(torch.optim, optimizer[0])(self.model.parameters(), **optimizer[1])
                cycle = getattr(torch.optim.lr_scheduler, scheduler[0])(made, **scheduler[1])
                return [made], [{"scheduler": cycle, "interval": self.made[2]}]

        module = Module(optimizer, scheduler, interval)
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        fitted = pl.Trainer(max_epochs=NUM_UPDATES // steps, accelerator="cpu", **quiet, **trainer)
        fitted.fit(module, torch.utils.data.DataLoader(range(steps)))  # pyright: ignore
        config = {
            **{"optimizer": optimizer, "scheduler": scheduler, "interval": interval},
            "trainer": {"max_epochs": NUM_UPDATES // steps, **trainer},
        }
        yield config, {"steps_per_epoch": steps}, module.shown


def deepspeed() -> Iterator[tuple[dict[str, Any], dict[str, Any], Any]]:
    """Yield runs of DeepSpeed's schedulers, on the torch optimizers that `torch_adam` builds."""
    # The package needs a compiler. The file of its schedulers needs a logger only.
    utils: Any = types.ModuleType("deepspeed.utils")
    utils.logger = logging.getLogger("deepspeed")
    with unittest.mock.patch.dict(sys.modules, {"deepspeed": utils, "deepspeed.utils": utils}):
        file = importlib.metadata.distribution("deepspeed").locate_file("deepspeed/runtime/lr_schedules.py")
        lr_schedules = runpy.run_path(str(file))
    cycle = {"cycle_min_lr": 0.001, "cycle_max_lr": 0.02, "cycle_first_step_size": 15, "decay_step_size": 5}
    cases: list[tuple[str, dict[str, Any], dict[str, Any], Any]] = [
        (
            "WarmupDecayLR",
            {"warmup_max_lr": 0.02, "warmup_num_steps": 7, "total_num_steps": 60},
            {"betas": [0.8, 0.95], "eps": 1e-6, "weight_decay": 0.1},
            torch.optim.AdamW,
        ),
        ("OneCycle", {**cycle, "decay_lr_rate": 0.1}, {"weight_decay": 0.1}, torch.optim.AdamW),
        ("OneCycle", cycle, {"adam_w_mode": False, "weight_decay": 0.1}, torch.optim.Adam),
    ]
    for name, settings, params, cls in cases:
        model = Model()
        options = {key: value for key, value in params.items() if key != "adam_w_mode"}
        optimizer = cls(model.parameters(), lr=0.02, **options)
        scheduler = lr_schedules[name](optimizer, **settings)

        def clip(parameters: Any) -> None:
            torch.nn.utils.clip_grad_norm_(parameters, 1.5)

        config = {
            "train_batch_size": 8,
            "gradient_clipping": 1.5,
            "optimizer": {"type": "Adam", "params": {"lr": 0.02, "torch_adam": True, **params}},
            "scheduler": {"type": name, "params": settings},
        }
        yield config, {}, run(model, optimizer, lambda _, s=scheduler: s.step(), clip)


def main() -> None:
    """Record the frameworks that the command line names."""
    recorded = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in sys.argv[1:]:
        package = {"huggingface": "transformers", "lightning": "pytorch_lightning"}.get(name, name)
        recorded[name] = {
            "version": importlib.metadata.version(package),
            "cases": [
                {"config": config, "arguments": arguments, "weights": shown}
                for config, arguments, shown in globals()[name]()
            ],
        }
    FILE.write_text(f"{json.dumps(dict(sorted(recorded.items())), indent=None)}\n")


if __name__ == "__main__":
    main()
