"""Sentence Transformers: the settings of `model.fit`, as a call, or as its model cards list them.

The rules are those of sentence-transformers 2.7.0 (`SentenceTransformer.fit`). Its newer trainer takes
`TrainingArguments`.
"""

from jaxlr._checks import shown_value
from jaxlr.frameworks.huggingface_schedules import get_scheduler
from jaxlr.frameworks.recipe import Config, Framework, Recipe


_TYPES = {
    "constantlr": "constant",
    "warmupconstant": "constant_with_warmup",
    "warmuplinear": "linear",
    "warmupcosine": "cosine",
    "warmupcosinewithhardrestarts": "cosine_with_restarts",
}


def read(config: Config) -> Recipe:
    """Read `scheduler`, `warmup_steps`, `epochs` and `optimizer_params`. A count is an update."""
    optimizer = config.inner("optimizer_params")
    if config.init_value is None and not config.has("optimizer_params"):
        init_value = 2e-5
        config.assume("The rate is 2e-05, the default of fit.")
    else:
        init_value = optimizer.base_rate("lr")
    name = config.text("scheduler", "WarmupLinear")
    if name.lower() not in _TYPES:
        raise ValueError(
            f"scheduler must be one of {', '.join(map(repr, _TYPES))}, got {shown_value(name)}"
        )
    kind = _TYPES[name.lower()]
    warm = config.count("warmup_steps", None)
    if warm is None and kind != "constant":
        warm = 10_000
        config.assume("warmup_steps is 10000, the default of fit.")
    is_endless = kind in ("constant", "constant_with_warmup")
    steps = None if is_endless and not _has_length(config) else _num_steps(config)
    _state_optimizer(config, optimizer)
    schedule = get_scheduler(init_value, kind, warm, steps)
    return config.recipe("sentence_transformers", schedule, "update", steps)


FRAMEWORK = Framework(
    name="sentence_transformers",
    read=read,
    marks=(("scheduler", "optimizer_params"), ("warmup_steps", "optimizer_params"), ("train_objectives",)),
    aliases=("sentence-transformers",),
)


def _has_length(config: Config) -> bool:
    return (
        config.steps_per_epoch is not None
        or config.has("steps_per_epoch")
        or config.has("batches_per_epoch")
    )


def _num_steps(config: Config) -> int:
    """Return the updates of the run. An epoch is the shortest dataloader, or has steps of its own."""
    epochs = config.num_epochs("epochs")
    name = config.first("steps_per_epoch", "batches_per_epoch")
    if config.steps_per_epoch is None and config.count(name, 0) > 0:
        return int(config.count(name) * epochs)
    return int(config.steps_in_epoch() * epochs)


def _state_optimizer(config: Config, optimizer: Config) -> None:
    group = config.groups("weights", "biases and norms")
    decay = config.stated("weight_decay")
    config.state(
        optimizer=config.stated_text("optimizer_class"),
        weight_decay=0.0 if group == 1 and decay is not None else decay,
        clip=config.stated_clip("max_grad_norm"),
        momentum=optimizer.stated("momentum"),
    )
