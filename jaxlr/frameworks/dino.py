"""DINO: the array `cosine_scheduler`, the flags of `main_dino.py`, and the YAML of DINOv2 and DINOv3.

The rules are those of facebookresearch/dino of 2022 (`utils.py`), microsoft/unilm (`beit/utils.py`),
facebookresearch/dinov2 of 2025 (`utils/utils.py`, `utils/config.py`, `train/train.py`) and
facebookresearch/dinov3 of 2026 (`configs/config.py`, `train/train.py`, `train/cosine_lr_scheduler.py`).
"""

import math
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_duration, check_positive_count, check_whole_number
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, phased_lr


_DEFAULTS = {"lr": 5e-4, "epochs": 100, "warmup_epochs": 10, "min_lr": 1e-6}
_OF_PROBING = ("n_last_blocks", "avgpool_patchtokens", "pretrained_weights", "num_labels")


def cosine_scheduler(
    base_value: ArrayLike,
    final_value: ArrayLike,
    epochs: int,
    niter_per_ep: int,
    warmup_epochs: int = 0,
    start_warmup_value: ArrayLike = 0.0,
    warmup_steps: int = -1,
) -> optax.Schedule:
    """Return a line that reaches the base value at the last warmup step, then a cosine from it again.

    `warmup_steps` is of BEiT and ConvNeXt.
    """
    steps = check_positive_count("niter_per_ep", niter_per_ep)
    warmup = check_duration("warmup_epochs", warmup_epochs) * steps
    if check_whole_number("warmup_steps", warmup_steps) > 0:
        if warmup == 0:
            raise ValueError("warmup_steps above 0 needs warmup_epochs above 0, or the array is too short")
        warmup = check_whole_number("warmup_steps", warmup_steps)
    rest = check_positive_count("epochs", epochs) * steps - warmup
    if rest < 0:
        raise ValueError(
            f"the warmup must be at most all {rest + warmup} steps, got {warmup}: give more epochs, or "
            "fewer of warmup_epochs"
        )
    ends: Any = {"start_value": start_warmup_value, "end_factor": 1.0}
    line = Phase(warmup, "linear", **ends, span=max(1, warmup - 1))
    return phased_lr(base_value, [line, Phase(rest, "cosine", start_factor=1.0, end_value=final_value)])


def read(config: Config) -> Recipe:
    """Read the flags of `main_dino.py`, or the `optim` and `train` of a YAML. A count is an update."""
    config.refuse(*_OF_PROBING, reason="it is of eval_linear.py, whose scheduler is a CosineAnnealingLR")
    if config.has("optim"):
        return _read_yaml(config)
    config = with_defaults(config, _DEFAULTS, "main_dino.py", rate="lr", epochs="epochs")
    epochs, warmup = config.whole_epochs("epochs"), config.count("warmup_epochs")
    rate = config.init_value
    if rate is None:
        batch = _global_batch(config, config.count("batch_size_per_gpu"), "lr")
        rate = config.number("lr") * batch / 256
        config.assume(f"The rate is {rate:g}: lr for a batch of {batch} instead of 256.")
    steps = config.steps_in_epoch()
    config.state_settings(optimizer="optimizer", clip="clip_grad")
    _state_weight_decay(config, "main_dino.py", epochs, steps)
    schedule = cosine_scheduler(rate, config.number("min_lr"), epochs, steps, warmup)
    return config.recipe("dino", schedule, "update", epochs * steps)


FRAMEWORK = Framework(
    name="dino",
    read=read,
    marks=(
        ("batch_size_per_gpu",),
        ("optim", "dino"),
        ("optim", "student", "train"),
        ("optim", "schedules"),
    ),
    aliases=("dinov2", "dinov3"),
    calls=(cosine_scheduler,),
    ignored=("optimizer",),  # the first argument is the rate
)


def _state_weight_decay(config: Config, script: str, epochs: int, steps: int) -> None:
    """State the weight decay, which rises along a cosine."""
    config = with_defaults(config, {"weight_decay": 0.04, "weight_decay_end": 0.4}, script)
    start, end = config.number("weight_decay"), config.number("weight_decay_end")
    config.state(weight_decay=start if start == end else cosine_scheduler(start, end, epochs, steps))


def _global_batch(config: Config, batch: int, name: str) -> int:
    if config.num_processes is None:
        raise ValueError(f"{name} is scaled by the global batch size: give num_processes, or init_value")
    return batch * config.num_processes


def _read_yaml(config: Config) -> Recipe:
    """Read a config of DINOv2 or DINOv3, whose missing settings are in `ssl_default_config.yaml`."""
    optim = config.inner("optim")
    is_old = optim.has("base_lr") or not (config.has("schedules") or optim.has("lr"))
    program = "DINOv2" if is_old else "DINOv3"
    train = with_defaults(config.inner("train"), {"OFFICIAL_EPOCH_LENGTH": 1250}, program)
    steps = train.count("OFFICIAL_EPOCH_LENGTH")
    optim = with_defaults(optim, {"epochs": 100, "scaling_rule": "sqrt_wrt_1024"}, program, epochs="epochs")
    epochs = optim.whole_epochs("epochs")
    optim.state_settings(clip="clip_grad")
    rule = optim.text("scaling_rule")
    if is_old and rule != "sqrt_wrt_1024":
        raise ValueError(f"scaling_rule must be 'sqrt_wrt_1024', got {rule!r}")
    if not is_old and config.has("schedules"):
        schedule = _of_schedules(optim, config.inner("schedules"), train, epochs, steps)
    else:
        optim.refuse("schedule_trunc_extra", reason="it cuts the end of the cosine off")
        name, default = ("base_lr", 0.004) if is_old else ("lr", 0.001)
        optim = with_defaults(
            optim, {name: default, "warmup_epochs": 10, "min_lr": 1e-6}, program, rate=name
        )
        rate, warmup = _yaml_rate(optim, name, optim.number(name, 0.0), train), optim.count("warmup_epochs")
        _state_weight_decay(optim, program, epochs, steps)
        schedule = cosine_scheduler(rate, optim.number("min_lr"), epochs, steps, warmup)
    config.assume("The last layer runs at 0 for freeze_last_layer_epochs. This is the rate of the others.")
    return config.recipe("dino", schedule, "update", epochs * steps)


def _yaml_rate(optim: Config, name: str, rate: float, train: Config) -> Any:
    """Return `init_value`, or a rate scaled by the global batch."""
    rule = optim.text("scaling_rule")
    if optim.init_value is not None:
        return optim.init_value
    if rule not in ("sqrt_wrt_1024", "linear_wrt_256"):
        return rate
    per_gpu = with_defaults(train, {"batch_size_per_gpu": 64}, "ssl_default_config.yaml")
    batch = _global_batch(optim, per_gpu.count("batch_size_per_gpu"), name)
    if rule == "linear_wrt_256":
        rate, words = rate * batch / 256, f"{name} for a batch of {batch} instead of 256"
    else:
        factor, times = (1, "") if name == "base_lr" else (4, "4 times ")
        rate *= factor * math.sqrt(batch / 1024)
        words = f"{name} by {times}the square root of {batch} / 1024"
    optim.assume(f"The rate is {rate:g}: {words}.")
    return rate


def _of_schedules(optim: Config, schedules: Config, train: Config, epochs: int, steps: int) -> Any:
    """Return the rate of the `schedules` of DINOv3, and state the weight decay."""
    lr, decay = schedules.inner("lr"), schedules.inner("weight_decay")
    if decay.settings:
        top, phases = _line_and_cosine(decay, epochs, steps)
        is_constant = {top} == {decay.number(name) for name in ("start", "peak", "end")}
        optim.state(weight_decay=top if is_constant else phased_lr(top, phases))
    top, phases = _line_and_cosine(lr, epochs, steps)
    return phased_lr(_yaml_rate(optim, "peak", top, train), phases)


def _line_and_cosine(settings: Config, epochs: int, steps: int) -> tuple[float, list[Phase]]:
    """Return the largest value, and the phases as factors of it: a line, a cosine and a constant.

    The start is not scaled by the batch, and the cosine ends at its last step.
    """
    total, warmup = epochs * steps, settings.count("warmup_epochs") * steps
    length = total - warmup
    if settings.has("cosine_epochs"):
        length = settings.count("cosine_epochs") * steps
    if not 0 <= length <= total - warmup:
        raise ValueError(
            f"the warmup and the cosine must have at most {total} steps, got {warmup} and {length}"
        )
    peak, end = settings.number("peak"), settings.number("end")
    top = max(peak, end)
    if top == 0:
        raise ValueError("the peak or the end must be above 0, got 0 and 0")
    low: Any = {"start_factor": peak / top, "end_factor": end / top, "span": max(1, length - 1)}
    return top, [
        Phase(warmup, "linear", start_value=settings.number("start"), end_factor=peak / top),
        Phase(length, "cosine", **low),
        Phase(start_factor=end / top),
    ]
