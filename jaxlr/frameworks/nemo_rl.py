"""NeMo RL: the optimizer and the scheduler of the `policy` in its YAML configs.

The rules are those of NVIDIA-NeMo/RL of August 2026 and of 0.3 to 0.7 (`models/policy/workers/`). Its
scheduler moves once in a call of `train`, which makes an update for each global batch of a rollout.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from jaxlr._checks import check_positive_count, shown_value
from jaxlr.convert.text import from_string
from jaxlr.frameworks import megatron
from jaxlr.frameworks.hydra import Node, Tree
from jaxlr.frameworks.recipe import (
    Config,
    Framework,
    OptimizerError,
    Recipe,
    TorchOptimizer,
    missing,
    section,
    torch_class,
)
from jaxlr.schedules import Phase, per_epoch, phased_lr


_ALGORITHMS = ("grpo", "ppo", "distillation", "sft", "dpo", "rm")
_OF_PAIRS = ("dpo", "rm")  # a global batch has twice the samples
_RUN = (
    "max_num_steps",
    "max_num_epochs",
    "num_prompts_per_step",
    "num_generations_per_prompt",
    "ppo_epochs",
)
_ENDLESS = 2**31
_POLICY = ("train_global_batch_size", "max_grad_norm")
_OF_MEGATRON = (
    *("lr_decay_style", "lr_decay_iters", "lr_warmup_iters", "lr_warmup_fraction", "lr_warmup_init"),
    *("lr_wsd_decay_iters", "lr_wsd_decay_style"),
)


def read(config: Config) -> Recipe:
    """Read `policy` and the section of the algorithm. A count is an update."""
    if config.has("defaults"):
        raise ValueError(
            "the config inherits from its defaults: give the path of its file, where these files are too"
        )
    algorithm = _algorithm(config.settings)
    run, policy = _part(config, _RUN, algorithm), _part(config, _POLICY, "policy")
    schedule = _of_megatron(config, algorithm) if _is_of_megatron(config) else _of_torch(config, policy)
    updates = _updates_per_call(policy, run)
    if updates > 1:
        schedule = per_epoch(schedule, updates)
        config.assume(f"{updates} updates have the same rate: those of the global batches of a rollout.")
    calls = _calls(config, run)
    return config.recipe("nemo_rl", schedule, "update", None if calls is None else calls * updates)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of `setup_model_and_optimizer`. All parameters decay."""
    if _is_of_megatron(config):
        raise OptimizerError("the optimizer of Megatron is not supported")
    settings = section(config.settings, "policy", "optimizer")
    name = torch_class(config.of(settings).text("name"))
    options = _part(config, section(settings, "kwargs"), "policy", "optimizer", "kwargs").options("lr")
    return TorchOptimizer(name, options, _part(config, _POLICY, "policy").clip("max_grad_norm"))


def _recognizes(settings: Mapping[str, Any]) -> bool:
    policy = section(settings, "policy").keys()
    return bool(_algorithm(settings)) and bool(policy & {"train_global_batch_size", "megatron_cfg"})


FRAMEWORK = Framework(
    name="nemo_rl", read=read, optimizer=optimizer, recognizes=_recognizes, aliases=("nemo-rl",)
)


def _algorithm(settings: Mapping[str, Any]) -> str:
    return next((name for name in _ALGORITHMS if isinstance(settings.get(name), Mapping)), "")


def _part(config: Config, names: Iterable[str], *path: str) -> Config:
    """Return settings of a section, without references."""
    node = Node(path, section(config.settings, *path))
    return config.of(Tree(config.settings, config.named).resolved(node, names))


def _is_of_megatron(config: Config) -> bool:
    return config.of(section(config.settings, "policy", "megatron_cfg")).flag("enabled")


def _of_torch(config: Config, policy: Config) -> Any:
    """Return the schedule of a class of torch, or of several with milestones."""
    settings = section(config.settings, "policy")
    kwargs = _part(config, ("lr", "weight_decay"), "policy", "optimizer", "kwargs")
    name = config.of(section(settings, "optimizer")).stated_text("name") or ""
    config.state(optimizer=name.rpartition(".")[2] or None, weight_decay=kwargs.stated("weight_decay"))
    config.state(clip=policy.stated_clip("max_grad_norm"))
    rate, stated = kwargs.base_rate("lr"), settings.get("scheduler")
    if stated is None:
        config.assume("The policy has no scheduler, so the rate is constant.")
        return phased_lr(rate, [Phase()])
    tree, calls, milestones = Tree(config.settings, config.named), [], []
    for each in stated if isinstance(stated, list) else [stated]:
        row = config.of({"scheduler": each}).inner("scheduler")
        if row.has("name"):
            target = row.text("name")
            if not target.startswith("torch.optim.lr_scheduler."):
                raise ValueError(
                    f"name must be a class of torch.optim.lr_scheduler, got {shown_value(target)}"
                )
            made = {"class_path": target, "init_args": row.inner("kwargs").settings}
            calls.append(tree.call_text(Node(("policy", "scheduler"), made), ()))
        milestones = row.counts("milestones", milestones)
    calls = [call.replace("(", "(optimizer, ", 1) for call in calls]
    if len(calls) == 1:
        return from_string(calls[0], rate)
    return from_string(f"SequentialLR(optimizer, [{', '.join(calls)}], {milestones})", rate)


def _of_megatron(config: Config, algorithm: str) -> Any:
    """Return the schedule of Megatron-LM, of which a call of `train` is one iteration."""
    if algorithm in _OF_PAIRS:
        raise ValueError(
            f"in {algorithm} the scheduler of Megatron moves two iterations in an update: give its "
            "settings as flags of Megatron-LM, such as --lr-warmup-iters, with half of the iterations"
        )
    place = ("policy", "megatron_cfg")
    scheduler = _part(config, _OF_MEGATRON, *place, "scheduler")
    optimizer = _part(config, ("lr", "min_lr", "weight_decay", "clip_grad"), *place, "optimizer")
    flags = {**optimizer.settings, **scheduler.settings, "global_batch_size": 1}
    if not scheduler.has("lr_decay_iters"):
        if scheduler.get("lr_decay_style") != "constant":
            raise missing("lr_decay_iters")
        flags["lr_decay_iters"] = _ENDLESS
    return megatron.read(config.of(flags)).schedule


def _updates_per_call(policy: Config, run: Config) -> int:
    """Return the global batches of a rollout. Without rollouts, a call has one."""
    if not run.has("num_prompts_per_step"):
        return 1
    samples = run.positive_count("num_prompts_per_step") * run.positive_count(
        "num_generations_per_prompt", 1
    )
    number = samples / policy.positive_count("train_global_batch_size")
    return check_positive_count("the samples of a rollout / train_global_batch_size", number)


def _calls(config: Config, run: Config) -> int | None:
    """Return the calls of `train` in the run."""
    limits = [int(run.signed("max_num_steps", 0))]
    if config.steps_per_epoch is not None and (run.has("max_num_epochs") or config.epochs is not None):
        limits.append(run.whole_epochs("max_num_epochs") * config.steps_per_epoch)
    known = [limit for limit in limits if limit > 0]
    return min(known) * run.positive_count("ppo_epochs", 1) if known else None
