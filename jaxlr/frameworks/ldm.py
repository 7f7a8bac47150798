"""latent-diffusion: the `scheduler_config` of its YAML configs, as of Stable Diffusion 1.

The rules are those of CompVis/latent-diffusion of 2022 (`ldm/lr_scheduler.py`, `main.py`).
"""

from typing import Any

from jaxlr._checks import check_duration, check_positive_count, shown_value
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.schedules import Phase, phased_lr


_LISTS = ("warm_up_steps", "cycle_lengths", "f_start", "f_max", "f_min")


def read(config: Config) -> Recipe:
    """Read `base_learning_rate` and `scheduler_config`. A count is an update."""
    model = config.inner("model")
    scheduler = model.inner("params").inner("scheduler_config")
    phases = [Phase()] if not scheduler.settings else _phases(scheduler)
    return config.recipe("ldm", phased_lr(_init_value(config, model), phases), "update", None)


FRAMEWORK = Framework(
    name="ldm",
    read=read,
    marks=(("model.base_learning_rate",),),
    aliases=("latent-diffusion", "stable-diffusion"),
)


def _init_value(config: Config, model: Config) -> Any:
    """Return `base_learning_rate` times the global batch size, unless `--scale_lr` is off."""
    if config.init_value is not None or not config.flag("scale_lr", True):
        return model.base_rate("base_learning_rate")
    if config.num_processes is None:
        raise ValueError(
            "base_learning_rate is scaled by the global batch size: give num_processes, init_value, or "
            "names={'scale_lr': False}"
        )
    batch = config.inner("data").inner("params").count("batch_size") * config.num_processes
    batch *= config.inner("lightning").inner("trainer").accumulation("accumulate_grad_batches")
    rate = model.number("base_learning_rate") * batch
    config.assume(f"The rate is {rate:g}: base_learning_rate by the global batch size {batch}.")
    return rate


def _phases(scheduler: Config) -> list[Phase]:
    target, params = scheduler.text("target"), scheduler.inner("params")
    name = target.rpartition(".")[2]
    if name == "LambdaWarmUpCosineScheduler":
        warmup, end = params.count("warm_up_steps"), params.count("max_decay_steps")
        start, top, floor = (params.number(f"lr_{each}") for each in ("start", "max", "min"))
        return _cycle("cosine", warmup, end, start, top, floor, first=0)
    if name not in ("LambdaLinearScheduler", "LambdaWarmUpCosineScheduler2"):
        raise ValueError(
            f"the target of scheduler_config must be a scheduler of ldm, got {shown_value(target)}"
        )
    lists = [params.numbers(each, []) for each in _LISTS]
    if not lists[0] or any(len(each) != len(lists[0]) for each in lists):
        raise ValueError(f"{', '.join(_LISTS)} must be lists of the same length, at least 1")
    shape = "linear" if name == "LambdaLinearScheduler" else "cosine"
    phases: list[Phase] = []
    for cycle, row in enumerate(zip(*lists, strict=True)):
        # The last count of a cycle is the first one of the next, which therefore begins at its count 1.
        phases += _cycle(shape, *row, first=min(cycle, 1))
    return phases


def _cycle(
    shape: Any, warmup: Any, length: Any, start: Any, top: Any, floor: Any, first: int
) -> list[Phase]:
    """Return the line up and the decay of a cycle of the counts `first` to `length`."""
    steps, end = check_duration("warm_up_steps", warmup), check_positive_count("cycle_lengths", length)
    if steps >= end:
        raise ValueError(f"cycle_lengths must be above warm_up_steps, got {end} and {steps}")
    # The line of LambdaLinearScheduler counts from the start of the cycle, the cosine from the warmup.
    begin = max(steps, first)
    passed, span = (begin, end) if shape == "linear" else (begin - steps, end - steps)
    rise: Any = {"start_factor": start, "end_factor": top}
    fall: Any = {"start_factor": top, "end_factor": floor, "offset": passed, "span": span}
    ramp = Phase(begin - first, "linear", offset=first, span=steps, **rise) if steps > first else Phase(0)
    return [ramp, Phase(end + 1 - begin, shape, **fall)]
