"""`from_config`: recognize the framework of a config, and read it."""

import difflib
from collections.abc import Mapping
from os import PathLike
from typing import Any

from jax.typing import ArrayLike

from jaxlr._checks import shown_value
from jaxlr.code.values import Names, mapping_of
from jaxlr.frameworks.files import read_config
from jaxlr.frameworks.recipe import Config, Framework, Recipe
from jaxlr.frameworks.registry import FRAMEWORKS


# By settings of a config that is not read: how to get its schedule.
_ELSEWHERE = {
    ("config_name",): (
        "the command names a config of Hydra, which is not read: give the path of that file, with the "
        "settings of the command written into it"
    ),
    ("lr_scheduler_name",): (
        "the config looks like NequIP's, which is not read: give jaxlr.from_string the class of "
        "lr_scheduler_name, with the other lr_scheduler_ settings. NequIP steps ReduceLROnPlateau once per "
        "epoch, and CosineAnnealingWarmRestarts once per batch, by parts of an epoch"
    ),
    ("max_num_epochs",): (
        "the config looks like MACE's, which is not read: give jaxlr.from_string "
        "'ReduceLROnPlateau(factor=lr_factor, patience=scheduler_patience)', by default 0.8 and 50, or "
        "'ExponentialLR(gamma=lr_scheduler_gamma)'. A step is an epoch. From start_swa on, swa_lr holds"
    ),
    ("model_type", "training"): (
        "the config looks like that of stable-audio-tools, which is not read: give jaxlr.from_string the "
        "text of its optimizer and scheduler. A count is an update"
    ),
    ("regime", "lr_scheduler"): (
        "the config looks like fairseq2's, which is not read: write the schedule with jaxlr.phased_lr, "
        "such as a linear phase of num_warmup_steps and a cosine phase to final_lr_scale"
    ),
}


def from_config(
    config: Mapping[str, Any] | str | PathLike[str] | list[str],
    init_value: ArrayLike | None = None,
    *,
    framework: str | None = None,
    version: str | None = None,
    steps_per_epoch: int | None = None,
    epochs: float | None = None,
    num_processes: int | None = None,
    group: int = 0,
    names: Names | None = None,
) -> Recipe:
    """Return the schedule that a config of a training framework describes.

    A config is a mapping, the path of a file, or its text. It may be YAML, JSON or TOML, the flags of a
    command line, the list of hyperparameters in a model card, or a Python config in the style of MMEngine.
    YAML needs PyYAML: `pip install pyyaml`.

    The framework is recognized by the names of the settings. Nothing is executed, and no number is guessed.
    A number that the config lacks is an error that names the argument to give.

    Args:
        config: the settings by name; the path of a .yaml, .json, .toml, .md, .py or .sh file; a text; or a
            list of command-line flags.
        init_value: learning rate of the optimizer, a finite number >= 0; may be traced. None takes it from
            the config.
        framework: the name of the framework, such as "timm". None recognizes it. The error about an unknown
            name lists all names.
        version: the version of the framework, such as "4.46", where its rules changed. None takes the
            newest rule, and says so in `assumptions`. They also say if the version changes nothing.
        steps_per_epoch: batches of one epoch in one process, `len(train_dataloader)`.
        epochs: epochs of the run. None takes them from the config.
        num_processes: number of processes (GPUs) that trained together.
        group: parameter group of the optimizer, where groups have rates of their own.
        names: values of settings that the config leaves out or writes as a name, by the name; a mapping or
            a Namespace.

    Returns:
        A `Recipe`: the schedule, the unit of its count, the number of counts, and the assumptions.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the config cannot be read, a number is missing, or the schedule is not supported.
        OSError: the file cannot be opened.
        ModuleNotFoundError: the config is YAML, and PyYAML is not installed.

    Example:
        >>> recipe = from_config({"learning_rate": 1e-3, "lr_scheduler_type": "cosine", "max_steps": 1000,
        ...     "warmup_ratio": 0.1})
        >>> [round(recipe.schedule(step), 12) for step in (0, 50, 100, 550, 1000)]
        [0.0, 0.0005, 0.001, 0.0005, 0.0]
        >>> recipe.framework, recipe.unit, recipe.num_counts
        ('huggingface', 'update', 1000)
        >>> recipe.assumptions
        ('The warmup has 100 updates: 0.1 of 1000, rounded up.',)

    Reference: https://huggingface.co/docs/transformers/main_classes/trainer and the pages of the other
    frameworks.
    """
    found, complete = prepared(
        config,
        framework,
        names,
        init_value=init_value,
        version=version,
        steps_per_epoch=steps_per_epoch,
        epochs=epochs,
        num_processes=num_processes,
        group=group,
    )
    return found.read(complete)


def prepared(config: Any, framework: str | None, names: Any, **arguments: Any) -> tuple[Framework, Config]:
    """Return the framework of a config, and its settings with the other arguments of `from_config`."""
    settings = read_config(config)
    found = _recognized(settings) if framework is None else _named(framework)
    complete = Config(settings, {} if names is None else mapping_of(names), **arguments)
    version = arguments["version"]
    if version is not None and not found.has_versions:
        complete.assume(f"version {version!r} changes nothing: jaxlr has one rule for {found.name}.")
    return found, complete


def _named(name: str) -> Framework:
    known = {each: found for found in FRAMEWORKS for each in (found.name, *found.aliases)}
    if isinstance(name, str) and name in known:
        return known[name]
    near = difflib.get_close_matches(name[:100].lower(), known, n=2) if isinstance(name, str) else []
    names = ", ".join(repr(each.name) for each in FRAMEWORKS)
    choices = f"a known one, such as {' or '.join(map(repr, near))}" if near else f"one of {names}"
    raise ValueError(f"framework must be {choices}, got {shown_value(name)}")


def _recognized(settings: Mapping[str, Any]) -> Framework:
    """Return the first framework whose marks are in the config. The clearest marks come first."""
    for framework in FRAMEWORKS:
        if framework.knows(settings):
            return framework
    for keys, way_out in _ELSEWHERE.items():
        if all(key in settings for key in keys):
            raise ValueError(way_out)
    keys = shown_value([*settings][:8])
    raise ValueError(
        f"the config is of no known framework, its settings are {keys}: give framework, "
        "such as 'timm', or write the schedule with jaxlr.phased_lr"
    )


def is_recognized(settings: Mapping[str, Any]) -> bool:
    """Check if a config is of a known framework."""
    return any(framework.knows(settings) for framework in FRAMEWORKS)
