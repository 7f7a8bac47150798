"""Record the curves of vision and 3D frameworks in `tests/framework_recipes_vision.json`.

The environment needs torch. The folder holds clones of the repositories by their names:

    python scripts/recording/vision.py FOLDER
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from curves import case, definitions, new_optimizer, record, stepped, text_at


def namespace(settings: Any) -> Any:
    """Return nested settings with attributes."""
    if not isinstance(settings, dict):
        return settings
    return SimpleNamespace(**{name: namespace(value) for name, value in settings.items()})


SLOWFAST: tuple[dict[str, Any], ...] = (
    {"BASE_LR": 0.1, "MAX_EPOCH": 8, "WARMUP_EPOCHS": 3.0, "WARMUP_START_LR": 0.01},
    {"BASE_LR": 0.1, "MAX_EPOCH": 8, "WARMUP_EPOCHS": 0.0, "COSINE_END_LR": 0.002},
    {
        **{"BASE_LR": 1.6e-3, "MAX_EPOCH": 9, "WARMUP_EPOCHS": 2.3, "WARMUP_START_LR": 1.6e-4},
        **{"COSINE_END_LR": 1.6e-5, "COSINE_AFTER_WARMUP": True},
    },
    {
        **{"BASE_LR": 0.8, "MAX_EPOCH": 12, "WARMUP_EPOCHS": 2.5, "WARMUP_START_LR": 0.01},
        **{"LR_POLICY": "steps_with_relative_lrs", "STEPS": [0, 5, 9], "LRS": [1, 0.1, 0.01, 0.001]},
    },
    {
        **{"BASE_LR": 0.8, "MAX_EPOCH": 9, "WARMUP_EPOCHS": 5.5, "WARMUP_START_LR": 0.9},
        **{"LR_POLICY": "steps_with_relative_lrs", "STEPS": [0, 5, 9], "LRS": [1, 0.1, 0.01]},
    },
)
SLOWFAST_DEFAULTS = {"LR_POLICY": "cosine", "COSINE_END_LR": 0.0, "COSINE_AFTER_WARMUP": False}
PYCLS: tuple[dict[str, Any], ...] = (
    {"BASE_LR": 0.8, "MAX_EPOCH": 20, "WARMUP_EPOCHS": 5, "LR_POLICY": "cos"},
    {"BASE_LR": 0.8, "MAX_EPOCH": 20, "LR_POLICY": "cos", "MIN_LR": 0.05},
    {"BASE_LR": 0.8, "MAX_EPOCH": 20, "WARMUP_EPOCHS": 3, "LR_POLICY": "exp", "MIN_LR": 0.01},
    {"BASE_LR": 0.8, "MAX_EPOCH": 20, "WARMUP_EPOCHS": 3, "WARMUP_FACTOR": 0.2, "LR_POLICY": "lin"},
    {"BASE_LR": 0.1, "MAX_EPOCH": 20, "WARMUP_EPOCHS": 7, "LR_POLICY": "steps", "STEPS": [0, 6, 12]},
)
PYCLS_DEFAULTS = {"MIN_LR": 0.0, "WARMUP_EPOCHS": 0, "WARMUP_FACTOR": 0.1, "LR_MULT": 0.1}


def slowfast(folder: Path) -> list[Any]:
    """Return the rates of PySlowFast in each batch, and of pycls in each epoch."""
    cases: list[Any] = []
    names = ["get_lr_at_epoch", "lr_func_cosine", "lr_func_steps_with_relative_lrs", "get_step_index"]
    text = text_at(folder / "SlowFast", "HEAD", "slowfast/utils/lr_policy.py")
    rate = definitions(text, [*names, "get_lr_func"], {"math": math})["get_lr_at_epoch"]
    for given in SLOWFAST:
        settings, batches = namespace({"SOLVER": {**SLOWFAST_DEFAULTS, **given}}), 7
        epochs = [
            epoch + batch / batches for epoch in range(given["MAX_EPOCH"]) for batch in range(batches)
        ]
        rates = [rate(settings, epoch) for epoch in epochs]
        solver = {"SOLVER": {"LR_POLICY": "cosine", **given}}
        cases.append(case(None, "get_lr_at_epoch", solver, rates, steps_per_epoch=batches))
    names = ["get_epoch_lr", "get_lr_fun", "lr_fun_steps", "lr_fun_exp", "lr_fun_cos", "lr_fun_lin"]
    text = text_at(folder / "pycls", "HEAD", "pycls/core/optimizer.py")
    for given in PYCLS:
        found = {"np": np, "cfg": namespace({"OPTIM": {**PYCLS_DEFAULTS, **given}})}
        rate = definitions(text, names, found)["get_epoch_lr"]
        rates = [rate(epoch) for epoch in range(given["MAX_EPOCH"])]
        cases.append(case(None, "get_epoch_lr", {"OPTIM": given}, rates, steps_per_epoch=None))
    return cases


YOLO = {"lr0": 0.01, "lrf": 0.1, "warmup_epochs": 3.0, "warmup_bias_lr": 0.1, "momentum": 0.937}


def ultralytics(folder: Path) -> list[Any]:
    """Return the rates of YOLOv6 and YOLOv7, whose warmups have at least 1000 iterations."""
    text = text_at(folder / "yolov7", "HEAD", "utils/general.py")
    one_cycle = definitions(text, ["one_cycle"], {"math": math})["one_cycle"]
    text = text_at(folder / "YOLOv6", "HEAD", "yolov6/solver/build.py")
    build = definitions(text, ["build_lr_scheduler"], {"math": math, "torch": torch})["build_lr_scheduler"]
    cases: list[Any] = []
    for group, epochs, batches in ((0, 13, 90), (2, 13, 100)):
        lf = one_cycle(1, YOLO["lrf"], epochs)
        rates = yolo_rates(lf, epochs, batches, group)
        settings = {**YOLO, "epochs": epochs, "anchor_t": 4.0, "loss_ota": 1}
        more = {"steps_per_epoch": batches, "group": group}
        cases.append(case(None, "one_cycle", settings, rates, **more))
    for group, name in ((0, "Cosine"), (2, "Constant")):
        solver, epochs, batches = {**YOLO, "optim": "SGD", "lr_scheduler": name}, 13, 90
        lf = build(namespace({"solver": solver}), new_optimizer(0.01), epochs)[1]
        rates = yolo_rates(lf, epochs, batches, group)
        more = {"steps_per_epoch": batches, "group": group}
        cases.append(case(None, "build_lr_scheduler", {"solver": solver, "epochs": epochs}, rates, **more))
    return cases


def yolo_rates(lf: Callable[[int], float], epochs: int, batches: int, group: int) -> list[float]:
    """Return the rates of the loop of YOLOv7's `train.py`, which YOLOv6 shares."""
    sgd = new_optimizer(YOLO["lr0"])
    scheduler = torch.optim.lr_scheduler.LambdaLR(sgd, lf)
    scheduler.last_epoch = -1  # as in train.py
    warmup = max(round(YOLO["warmup_epochs"] * batches), 1000)
    rates: list[float] = []
    for epoch in range(epochs):
        for ni in range(epoch * batches, (epoch + 1) * batches):
            if ni <= warmup:
                start = YOLO["warmup_bias_lr"] if group == 2 else 0.0
                rate = float(np.interp(ni, [0, warmup], [start, YOLO["lr0"] * lf(epoch)]))
                sgd.param_groups[0]["lr"] = rate
            rates.append(sgd.param_groups[0]["lr"])
        sgd.step()
        scheduler.step()
    return rates


def detr(folder: Path) -> list[Any]:
    """Return the rates of D-FINE and RT-DETR in each batch, and of DEIM."""
    cases: list[Any] = []
    for clone, file in (
        ("D-FINE", "src/optim/warmup.py"),
        ("RT-DETR", "rtdetrv2_pytorch/src/optim/warmup.py"),
    ):
        found = {"LRScheduler": torch.optim.lr_scheduler.LRScheduler, "register": lambda: lambda each: each}
        text = text_at(folder / clone, "HEAD", file)
        build = definitions(text, ["Warmup", "LinearWarmup"], found)["LinearWarmup"]
        for duration, milestones in ((0, [2, 5]), (4, [2, 5]), (10, [1, 3]), (200, [1]), (11, [1000])):
            settings = {
                **{"epoches": 8, "optimizer": {"type": "AdamW", "lr": 1e-3}},
                "lr_scheduler": {"type": "MultiStepLR", "milestones": milestones, "gamma": 0.1},
                "lr_warmup_scheduler": {"type": "LinearWarmup", "warmup_duration": duration},
            }
            rates = warmed_rates(build, duration, milestones, 8, 5)
            cases.append(case(None, clone, settings, rates, steps_per_epoch=5))
    text = text_at(folder / "DEIM", "HEAD", "engine/optim/lr_scheduler.py")
    found = definitions(text, ["flat_cosine_schedule"], {"math": math})
    for warmup, flat, plain, duration in ((7, 4, 2, 0), (12, 1, 0, 500), (3, 9, 2, 500), (1, 99, 0, 500)):
        own = {"warmup_iter": warmup, "flat_epoch": flat, "no_aug_epoch": plain, "lr_gamma": 0.5}
        optimizer = {"type": "AdamW", "lr": 1e-3, "params": [{"params": "backbone", "lr": 1e-4}]}
        settings: dict[str, Any] = {
            "epoches": 10,
            "optimizer": optimizer,
            "lrsheduler": "flatcosine",
            **own,
        }
        settings["lr_warmup_scheduler"] = {"type": "LinearWarmup", "warmup_duration": duration}
        rate = found["flat_cosine_schedule"]
        rates = [1e-3 / max(1, duration)]
        rates += [rate(50, warmup, 5 * flat, 5 * plain, n, 1e-3, 5e-4) for n in range(49)]
        cases.append(case(None, "DEIM", settings, rates, steps_per_epoch=5))
    return cases


def warmed_rates(
    build: Callable[..., Any], duration: int, milestones: list[int], epochs: int, batches: int
) -> list[float]:
    """Return the rates of a scheduler of epochs, which waits for a warmup of batches."""
    sgd = new_optimizer(1e-3)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(sgd, milestones, 0.1)
    warmup = build(scheduler, duration)
    rates: list[float] = []
    for _ in range(epochs):
        for _ in range(batches):
            rates.append(sgd.param_groups[0]["lr"])
            sgd.step()
            warmup.step()
        if warmup.finished():
            scheduler.step()
    return rates


NERFSTUDIO: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ExponentialDecaySchedulerConfig", {"lr_final": 1e-4, "max_steps": 30}),
    ("ExponentialDecaySchedulerConfig", {"max_steps": 30, "warmup_steps": 7}),
    (
        "ExponentialDecaySchedulerConfig",
        {"lr_final": 5e-7, "max_steps": 30, "warmup_steps": 10, "lr_pre_warmup": 0},
    ),
    (
        "ExponentialDecaySchedulerConfig",
        {"lr_final": 1e-3, "max_steps": 30, "warmup_steps": 9, "ramp": "linear"},
    ),
    ("CosineDecaySchedulerConfig", {"warm_up_end": 5, "learning_rate_alpha": 0.05, "max_steps": 30}),
    ("MultiStepSchedulerConfig", {"milestones": [20, 10, 15], "gamma": 0.33}),
)


def nerfstudio(folder: Path) -> list[Any]:
    """Return the rates of the schedulers of nerfstudio."""

    class InstantiateConfig:
        _target: Any

        def setup(self) -> Any:
            return self._target(self)

    found: dict[str, Any] = {"np": np, "InstantiateConfig": InstantiateConfig, "__name__": __name__}
    found |= {"dataclass": dataclass, "field": field, "lr_scheduler": torch.optim.lr_scheduler}
    found["abstractmethod"] = lambda method: method
    names = [name for call, _ in NERFSTUDIO for name in (call, call.removesuffix("Config"))]
    text = text_at(folder / "nerfstudio", "HEAD", "nerfstudio/engine/schedulers.py")
    definitions(text, ["Scheduler", "SchedulerConfig", *names], found)
    cases: list[Any] = []
    for call, settings in NERFSTUDIO:
        build = found[call](**settings).setup().get_scheduler
        rates = stepped(functools.partial(build, lr_init=0.01), 0.01, 40)
        cases.append(case("1.1.5", call, settings, rates))
    return cases


def gaussian_splatting(folder: Path) -> list[Any]:
    """Return the rates of `get_expon_lr_func`, as a call, and as the flags of a copy of `train.py`."""
    text = text_at(folder / "2d-gaussian-splatting", "HEAD", "utils/general_utils.py")
    build = definitions(text, ["get_expon_lr_func"], {"np": np})["get_expon_lr_func"]
    settings: list[dict[str, Any]] = [
        {"lr_init": 0.002, "lr_final": 2e-5, "lr_delay_steps": 10, "lr_delay_mult": 0.01, "max_steps": 30},
        {"lr_init": 0.00016, "lr_final": 1.6e-6, "lr_delay_mult": 0.01, "max_steps": 30},
    ]
    cases: list[Any] = []
    for each in settings:
        rates = [build(**each)(step) for step in range(40)]
        cases.append(case(None, "get_expon_lr_func", each, rates))
    scaled = {**settings[1], "lr_init": 0.00016 * 3.7, "lr_final": 1.6e-6 * 3.7}
    flags = {"position_lr_init": 0.00016, "position_lr_final": 1.6e-6, "position_lr_max_steps": 30}
    flags |= {"position_lr_delay_mult": 0.01, "iterations": 40, "spatial_lr_scale": 3.7}
    rates = [build(**scaled)(iteration) for iteration in range(1, 41)]
    return [*cases, case(None, "update_learning_rate", flags, rates)]


PCDET: tuple[dict[str, Any], ...] = (
    {"OPTIMIZER": "adam_onecycle", "PCT_START": 0.4, "DIV_FACTOR": 10, "MOMS": [0.95, 0.85]},
    {"OPTIMIZER": "adam_onecycle", "PCT_START": 0.33, "DIV_FACTOR": 100.0, "MOMS": [0.9, 0.8052631]},
    {"OPTIMIZER": "adam_cosineanneal", "PCT_START": 0.4, "WARMUP_ITER": 11, "MOMS": [0.9, 0.8052631]},
    {"OPTIMIZER": "adam", "DECAY_STEP_LIST": [3, 5, 6], "LR_DECAY": 0.1, "LR_CLIP": 1e-5},
)


def openpcdet(folder: Path) -> list[Any]:
    """Return the rates and the momentum of each batch in OpenPCDet."""
    show = functools.partial(text_at, folder / "OpenPCDet", "HEAD")
    names = ["LRSchedulerStep", "annealing_cos", "OneCycle", "linear_warmup", "CosineAnnealing"]
    found: dict[str, Any] = {"np": np, "partial": functools.partial, "OptimWrapper": object}
    found["lr_sched"] = torch.optim.lr_scheduler
    definitions(show("tools/train_utils/optimization/learning_schedules_fastai.py"), names, found)
    definitions(show("tools/train_utils/optimization/__init__.py"), ["build_scheduler"], found)
    cases: list[Any] = []
    for given in PCDET:
        settings = {"LR": 0.003, "NUM_EPOCHS": 8, **given}
        epochs, batches = settings["NUM_EPOCHS"], 5
        is_lambda = given["OPTIMIZER"] == "adam"
        optimizer: Any = new_optimizer(settings["LR"]) if is_lambda else SimpleNamespace()
        section = SimpleNamespace(**{"DECAY_STEP_LIST": [], "LR_WARMUP": False, **settings})
        scheduler, _ = found["build_scheduler"](optimizer, batches, epochs, -1, section)
        rates: list[float] = []
        momentum: list[float] = []
        for count in range(epochs * batches):
            if is_lambda:
                scheduler.step(count)
                rates.append(optimizer.param_groups[0]["lr"])
            else:
                scheduler.step(count, count // batches)
                rates.append(float(optimizer.lr))
                momentum.append(float(optimizer.mom))
        more = {"steps_per_epoch": batches, "momentum": momentum or None}
        cases.append(case(None, "build_scheduler", settings, rates, **more))
    return cases


YOLOX: tuple[dict[str, Any], ...] = (
    {"max_epoch": 10, "warmup_epochs": 2, "no_aug_epochs": 3, "min_lr_ratio": 0.05},
    {"max_epoch": 10, "warmup_epochs": 2, "no_aug_epochs": 3, "min_lr_ratio": 0.1, "warmup_lr": 0.001},
    {"max_epoch": 10, "warmup_epochs": 0, "no_aug_epochs": 0, "min_lr_ratio": 0.05},
    {"max_epoch": 10, "warmup_epochs": 3, "scheduler": "warmcos"},
    {"max_epoch": 10, "warmup_epochs": 1, "scheduler": "cos"},
    {"max_epoch": 10, "warmup_epochs": 0, "scheduler": "cos"},
)


def yolox(folder: Path) -> list[Any]:
    """Return the rate of each batch in the order of the trainer of YOLOX, which sets it after the batch."""
    names = ["LRScheduler", "cos_lr", "warm_cos_lr", "yolox_warm_cos_lr"]
    text = text_at(folder / "YOLOX", "HEAD", "yolox/utils/lr_scheduler.py")
    build = definitions(text, names, {"math": math, "partial": functools.partial})["LRScheduler"]
    cases: list[Any] = []
    for given in YOLOX:
        full = {"scheduler": "yoloxwarmcos", "warmup_lr": 0.0, **given}
        others = {name: given[name] for name in ("no_aug_epochs", "min_lr_ratio") if name in given}
        start = {"warmup_epochs": given["warmup_epochs"], "warmup_lr_start": full["warmup_lr"]}
        scheduler = build(full["scheduler"], 0.02, 7, given["max_epoch"], **start, **others)
        rates = [full["warmup_lr"] if given["warmup_epochs"] else 0.02]
        rates += [scheduler.update_lr(count) for count in range(1, 7 * given["max_epoch"])]
        settings = {**full, "basic_lr_per_img": 0.02 / 64, "batch_size": 64}
        cases.append(case("0.3.0", "LRScheduler", settings, rates, steps_per_epoch=7))
    return cases


def fvcore_node(name: str, **settings: Any) -> dict[str, Any]:
    """Return a scheduler as Hydra constructs it."""
    return {"_target_": f"fvcore.common.param_scheduler.{name}ParamScheduler", **settings}


LINE = fvcore_node("Linear", start_value=1e-7, end_value=5e-6)
FALL = fvcore_node("Cosine", start_value=5e-6, end_value=5e-7)
HOLD = fvcore_node("Constant", value=3e-6)
FVCORE: tuple[dict[str, Any], ...] = (
    FALL,
    HOLD,
    fvcore_node("PolynomialDecay", base_value=0.1, power=0.9),
    fvcore_node(
        "Composite", schedulers=[LINE, FALL], lengths=[0.1, 0.9], interval_scaling=["rescaled", "rescaled"]
    ),
    fvcore_node(
        "Composite", schedulers=[LINE, FALL], lengths=[0.15, 0.85], interval_scaling=["rescaled", "fixed"]
    ),
    fvcore_node(
        "Composite",
        schedulers=[HOLD, LINE, FALL],
        lengths=[0.33, 0.33, 0.3399],
        interval_scaling=["fixed", "rescaled", "rescaled"],
    ),
)


_SAM3 = "sam3.train.optim.schedulers.InverseSquareRootParamScheduler"
SAM3: tuple[dict[str, Any], ...] = (
    {"_target_": _SAM3, "base_lr": 8e-4, "warmup_steps": 20, "timescale": 20, "cooldown_steps": 20},
    {"_target_": _SAM3, "base_lr": 1e-3, "warmup_steps": 0, "timescale": 10, "cooldown_steps": 0},
)


def sam(folder: Path) -> list[Any]:
    """Return the rate of each batch in the trainers of SAM 2 and SAM 3, with their schedulers."""
    text = text_at(folder / "fvcore", "HEAD", "fvcore/common/param_scheduler.py")
    names = ["Linear", "Cosine", "Constant", "PolynomialDecay", "Composite", ""]
    found = definitions(text, [f"{name}ParamScheduler" for name in names], {"math": math})
    text = text_at(folder / "sam3", "HEAD", "sam3/train/optim/schedulers.py")
    found = definitions(text, ["InverseSquareRootParamScheduler"], found)

    def built(node: Any) -> Any:
        arguments = {name: value for name, value in node.items() if name != "_target_"}
        if "schedulers" in arguments:
            parts = [built(each) for each in arguments["schedulers"]]
            arguments |= {"schedulers": parts, "lengths": [*arguments["lengths"]]}
        return found[node["_target_"].rpartition(".")[2]](**arguments)

    cases: list[Any] = []
    for node in (*FVCORE, *SAM3):
        # With 50 batches the trainer of SAM 3 rounds some steps down to the one before.
        scheduler, (epochs, batches) = built(node), (2, 50) if node in SAM3 else (12, 7)
        rates: list[float] = []
        for count in range(epochs * batches):
            exact_epoch = count // batches + float(count % batches) / batches
            step = {"step": int(exact_epoch * batches)} if node in SAM3 else {}
            rates.append(scheduler(where=exact_epoch / epochs, **step))
        optim = {"optimizer": {"_target_": "torch.optim.AdamW"}, "options": {"lr": [{"scheduler": node}]}}
        settings = {"trainer": {"max_epochs": epochs, "optim": optim}}
        cases.append(case(None, "step_schedulers", settings, rates, steps_per_epoch=batches))
    return cases


BEIT: tuple[
    tuple[str, str, dict[str, Any], int], ...
] = (  # a clone, its file, the flags, and the processes
    ("ConvNeXt", "utils.py", {"model": "convnext_tiny", "update_freq": 4, "lr": 4e-3, "min_lr": 1e-6}, 2),
    (
        "unilm",
        "beit/utils.py",
        {"num_mask_patches": 75, "lr": 1.5e-3, "min_lr": 1e-5, "warmup_steps": 31},
        2,
    ),
    ("VideoMAE", "utils.py", {"mask_type": "tube", "num_frames": 16, "lr": 1.5e-4, "min_lr": 1e-5}, 8),
)


def beit(folder: Path) -> list[Any]:
    """Return the arrays of BEiT, ConvNeXt and VideoMAE. Only the last scales its rates by the batch."""
    cases: list[Any] = []
    for clone, file, given, processes in BEIT:
        found: dict[str, Any] = {"np": np, "math": math}
        array = definitions(text_at(folder / clone, "HEAD", file), ["cosine_scheduler"], found)
        settings = {"epochs": 9, "warmup_epochs": 2, "batch_size": 64, **given}
        updates = 60 // given.get("update_freq", 1)
        scale = 64 * processes / 256 if clone == "VideoMAE" else 1.0
        rates = array["cosine_scheduler"](
            given["lr"] * scale,
            given["min_lr"] * scale,
            9,
            updates,
            warmup_epochs=2,
            warmup_steps=given.get("warmup_steps", -1),
        )
        more = {"steps_per_epoch": 60, "num_processes": processes}
        cases.append(case(None, clone, settings, [*rates], **more))
    return cases


def adjusted(adjust: Callable[..., Any], arguments: Any, *, group: int = 0) -> float:
    """Return the rate that a function `adjust_learning_rate` sets."""
    parameters = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    groups = [{"params": parameters[:1], "fix_lr": False}, {"params": parameters[1:], "fix_lr": True}]
    sgd = torch.optim.SGD(groups, lr=1.0)
    adjust(sgd, *arguments)
    return sgd.param_groups[group]["lr"]


def moco(folder: Path) -> list[Any]:
    """Return the rates of MoCo v2 and SimSiam in each epoch, and of MoCo v3 in each batch."""
    name, found = "adjust_learning_rate", {"math": math}
    cases: list[Any] = []
    v2 = definitions(text_at(folder / "moco", "5bddfba", "main_moco.py"), [name], dict(found))[name]
    for given in ({"cos": True}, {"cos": False, "schedule": [3, 7]}):
        settings = {"moco_t": 0.2, "lr": 0.03, "epochs": 10, **given}
        rates = [adjusted(v2, (epoch, SimpleNamespace(**settings))) for epoch in range(10)]
        cases.append(case(None, "MoCo v2", settings, rates, steps_per_epoch=None, group=0))
    simsiam = definitions(text_at(folder / "simsiam", "HEAD", "main_simsiam.py"), [name], dict(found))[name]
    for group in (0, 1):
        settings = {"fix_pred_lr": True, "lr": 0.05, "epochs": 10, "batch_size": 512}
        arguments = namespace(settings)
        rates = [adjusted(simsiam, (0.1, epoch, arguments), group=group) for epoch in range(10)]
        cases.append(case(None, "SimSiam", settings, rates, steps_per_epoch=None, group=group))
    v3 = definitions(text_at(folder / "moco-v3", "HEAD", "main_moco.py"), [name], dict(found))[name]
    settings = {"moco_m_cos": True, "lr": 0.3, "epochs": 10, "batch_size": 1024, "warmup_epochs": 3}
    arguments = namespace({**settings, "lr": 0.3 * 1024 / 256})
    rates = [adjusted(v3, (count // 7 + count % 7 / 7, arguments)) for count in range(70)]
    return [*cases, case(None, "MoCo v3", settings, rates, steps_per_epoch=7, group=0)]


if __name__ == "__main__":
    record(
        "framework_recipes_vision.json",
        *(slowfast, ultralytics, detr, nerfstudio, gaussian_splatting, openpcdet, yolox, sam, beit, moco),
    )
