"""Sentence Transformers: the settings of `model.fit`, as a call, or as its model cards list them.

The rules are those of sentence-transformers 2.7.0 (`SentenceTransformer.fit`), compared with 6.2.0. The
newer trainer takes `TrainingArguments`.
"""

from jaxlr._checks import shown_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.huggingface_schedules import ENDLESS, get_scheduler
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer, Unreadable


_TYPES = {
    "constantlr": "constant",
    "warmupconstant": "constant_with_warmup",
    "warmuplinear": "linear",
    "warmupcosine": "cosine",
    "warmupcosinewithhardrestarts": "cosine_with_restarts",
}
_ADAMW = "<class 'torch.optim.adamw.AdamW'>"


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
    steps = _num_steps(config, needed=kind not in ENDLESS)
    group = config.groups("weights", "biases and norms")
    config.state(weight_decay=config.stated_decay(is_undecayed=group == 1))
    config.state(optimizer=config.stated_text("optimizer_class"), momentum=optimizer.stated("momentum"))
    config.state(clip=config.stated_clip("max_grad_norm"))
    schedule = get_scheduler(init_value, kind, warm, steps)
    return config.recipe("sentence_transformers", schedule, "update", steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the AdamW of `fit`."""
    if isinstance(written := config.settings.get("optimizer_class"), Unreadable):  # in a call
        config = config.of({**config.settings, "optimizer_class": written.source})
    defaults = {"optimizer_class": _ADAMW, "weight_decay": 0.01, "max_grad_norm": 1.0}
    config = with_defaults(config, defaults, "fit")
    if "torch.optim" not in (name := config.text("optimizer_class")) or "AdamW" not in name:
        raise OptimizerError(f"optimizer_class must be torch.optim.AdamW, got {shown_value(name)}")
    options = config.inner("optimizer_params").options("lr")
    options["weight_decay"] = 0.0 if config.group == 1 else config.number("weight_decay")
    return TorchOptimizer("AdamW", options, config.clip("max_grad_norm"), ("biases", "norms"))


FRAMEWORK = Framework(
    name="sentence_transformers",
    read=read,
    optimizer=optimizer,
    marks=(("scheduler", "optimizer_params"), ("warmup_steps", "optimizer_params"), ("train_objectives",)),
    aliases=("sentence-transformers",),
)


def _num_steps(config: Config, needed: bool) -> int | None:
    """Return the updates of the run. An epoch is the shortest dataloader, or has steps of its own."""
    name = config.first("steps_per_epoch", "batches_per_epoch")
    if not needed and config.steps_per_epoch is None and not config.has(name):
        return None
    epochs = config.num_epochs("epochs")
    is_given = config.steps_per_epoch is None and config.count(name, 0) > 0
    objectives = config.settings.get("train_objectives")
    is_several = isinstance(objectives, list) and len(objectives) > 1
    if is_several or (objectives is not None and is_given and epochs > 1):
        config.assume(
            "The length is that of fit before sentence-transformers 3.0. In later ones an epoch has "
            "len(dataset) // batch_size updates, times the objectives: give that as steps_per_epoch."
        )
    return int((config.count(name) if is_given else config.steps_in_epoch()) * epochs)
