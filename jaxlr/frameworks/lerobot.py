"""LeRobot: its train_config.json, and the flags of lerobot-train.

The rules are those of LeRobot 0.6.1 (`optim/schedulers.py`, `configs/train.py`, and the configurations of
the policies), and of its versions before 0.4.
"""

from collections.abc import Mapping
from typing import Any

import optax
from jax.typing import ArrayLike

from jaxlr._checks import check_choice, check_positive_count, shown_value
from jaxlr.frameworks._curves import warmup, waves
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.flags import in_sections
from jaxlr.frameworks.huggingface_schedules import get_scheduler
from jaxlr.frameworks.recipe import Config, Framework, OptimizerError, Recipe, TorchOptimizer
from jaxlr.schedules import Phase, phased_lr


_SECTIONS = ("policy", "optimizer", "scheduler", "offline", "accelerator")
_PI0 = {"optimizer_lr": 2.5e-5, "scheduler_warmup_steps": 1_000, "scheduler_decay_steps": 30_000}
_PI0 |= {"scheduler_decay_lr": 2.5e-6}
_EO1 = {"optimizer_lr": 1e-4, "scheduler_warmup_steps": 900, "scheduler_decay_steps": 30_000}
_EO1 |= {"scheduler_decay_lr": 0.0}
_WALL_X = {"optimizer_lr": 2e-5, "scheduler_warmup_steps": 1_000, "scheduler_decay_steps": 100_000}
_WALL_X |= {"scheduler_decay_lr": 1e-6}
_DIFFUSION = {"optimizer_lr": 1e-4, "scheduler_name": "cosine", "scheduler_warmup_steps": 500}
_VQBET = {"optimizer_lr": 1e-4, "optimizer_vqvae_lr": 1e-3, "scheduler_warmup_steps": 500}
_VQBET |= {"n_vqvae_training_steps": 20_000}
# The scheduler and the defaults of a policy. The policy's settings win over the sections `optimizer` and
# `scheduler`, unless use_policy_training_preset is off.
_PRESETS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "act": (None, {"optimizer_lr": 1e-5, "optimizer_lr_backbone": 1e-5}),
    "tdmpc": (None, {"optimizer_lr": 3e-4}),
    "diffusion": ("diffuser", _DIFFUSION),
    "vqbet": ("vqbet", _VQBET),
    "pi0": ("cosine_decay_with_warmup", _PI0),
    "pi05": ("cosine_decay_with_warmup", _PI0),
    "pi0_fast": ("cosine_decay_with_warmup", _PI0),
    "smolvla": ("cosine_decay_with_warmup", {**_PI0, "optimizer_lr": 1e-4}),
    "vla_jepa": ("cosine_decay_with_warmup", {**_PI0, "optimizer_lr": 1e-4}),
    "eo1": ("cosine_decay_with_warmup", _EO1),
    "wall_x": ("cosine_decay_with_warmup", _WALL_X),
    "lingbot_va": ("constant_with_warmup", {"optimizer_lr": 1e-5, "scheduler_warmup_steps": 1_000}),
    "fastwam": (None, {"optimizer_lr": 1e-4}),
}
# The settings of a scheduler, as a policy names them.
_OF_POLICY = {
    "name": "scheduler_name",
    "num_warmup_steps": "scheduler_warmup_steps",
    "num_decay_steps": "scheduler_decay_steps",
    "num_vqvae_training_steps": "n_vqvae_training_steps",
    "peak_lr": "optimizer_lr",
    "decay_lr": "scheduler_decay_lr",
}
_SETTINGS = {
    "diffuser": ("name", "num_warmup_steps"),
    "vqbet": ("num_warmup_steps", "num_vqvae_training_steps", "num_cycles"),
    "constant_with_warmup": ("num_warmup_steps",),
    "cosine_annealing_with_warmup": ("num_warmup_steps",),
    "cosine_decay_with_warmup": ("num_warmup_steps", "num_decay_steps", "peak_lr", "decay_lr"),
}
_CLASSES = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD"}
# The optimizer of a policy. Its options are settings of the policy, with the prefix optimizer_.
_ADAMW: dict[str, Any] = {"betas": [0.9, 0.95], "eps": 1e-8}
_OPTIMIZERS: dict[str, tuple[str, dict[str, Any]]] = {
    "act": ("adamw", {"weight_decay": 1e-4}),
    "tdmpc": ("adam", {}),
    "diffusion": ("adam", {"betas": [0.95, 0.999], "eps": 1e-8, "weight_decay": 1e-6}),
    **dict.fromkeys(
        ("pi0", "pi05", "pi0_fast"), ("adamw", {**_ADAMW, "weight_decay": 0.01, "grad_clip_norm": 1.0})
    ),
    "smolvla": ("adamw", {**_ADAMW, "weight_decay": 1e-10, "grad_clip_norm": 10.0}),
}
# The groups with a rate of their own, and the setting of the policy that has it.
_GROUPS = {
    "act": {"others": "optimizer_lr", "backbone": "optimizer_lr_backbone"},
    "vqbet": {"others": "optimizer_lr", "vqvae": "optimizer_vqvae_lr", "no decay": "optimizer_lr"},
}


def read(config: Config) -> Recipe:
    """Read the scheduler of a policy, or of the section `scheduler`. A count is an update."""
    config = config.of(in_sections(config.settings, _SECTIONS))
    _refuse_accumulation(config.inner("accelerator"))
    run = config.inner("offline") if config.has("offline") else config  # the section of 2024
    run = with_defaults(run, {"steps": 100_000}, "lerobot-train")
    steps = run.positive_count("steps")
    if config.inner("policy").number("vision_encoder_lr_multiplier", 1.0) != 1:
        config.assume("vision_encoder_lr_multiplier gives the vision encoder another rate than this.")
    optimizer, scheduler = config.inner("optimizer"), config.inner("scheduler")
    rate = "lr"
    if config.flag("use_policy_training_preset", True):
        policy, scheduler = _preset(config, optimizer, scheduler)
        if policy is not None:
            rate, optimizer = _rate_of_group(policy), policy
    elif not scheduler.has("type"):
        raise ValueError(
            "use_policy_training_preset is off, so the config needs an optimizer and a scheduler"
        )
    schedule = _schedule(scheduler, optimizer.base_rate(rate), steps)
    _state(config, optimizer)
    return config.recipe("lerobot", schedule, "update", steps)


def optimizer(config: Config) -> TorchOptimizer:
    """Return the optimizer of the policy, or of the section `optimizer`. All parameters decay."""
    config = config.of(in_sections(config.settings, _SECTIONS))
    settings, policy, own = config.inner("optimizer"), config.inner("policy"), ""
    if config.flag("use_policy_training_preset", True):
        kind = _kind(config) or ""
        check_choice("policy.type", kind, _OPTIMIZERS)
        rates = [policy.number(name, None) for name in _GROUPS.get(kind, {}).values()]
        own = "the backbone has a rate of its own" if len({*rates}) > 1 else ""
        if not {"type", "lr", "weight_decay", "grad_clip_norm"} <= settings.settings.keys():
            if settings.settings:
                raise OptimizerError(
                    "the policy chooses the optimizer, unless use_policy_training_preset is off: leave the "
                    "settings of optimizer out, or give names={'use_policy_training_preset': False}"
                )
            settings = _preset_optimizer(config, policy, kind)
    settings = with_defaults(settings, {"grad_clip_norm": 10.0}, "LeRobot")
    cls = _CLASSES[check_choice("type of the optimizer", settings.text("type"), tuple(_CLASSES))]
    options = settings.options("type", "lr", "grad_clip_norm")
    return TorchOptimizer(cls, options, settings.clip("grad_clip_norm"), own_rates=own)


def _recognizes(settings: Mapping[str, Any]) -> bool:
    settings = in_sections(settings, _SECTIONS)
    policy = settings.get("policy")
    if not isinstance(policy, Mapping):
        return False
    is_saved = {"optimizer", "scheduler"} <= settings.keys() and "optimizer_lr" in policy
    has_dataset = any(str(name).startswith("dataset.") for name in settings)
    is_command = has_dataset and ("type" in policy or "path" in policy)
    return is_saved or "use_policy_training_preset" in settings or is_command


FRAMEWORK = Framework(
    name="lerobot", read=read, optimizer=optimizer, recognizes=_recognizes, has_versions=True
)


def _preset_optimizer(config: Config, policy: Config, kind: str) -> Config:
    """Return the optimizer of a policy with its defaults, as the section `optimizer`."""
    cls, defaults = _OPTIMIZERS[kind]
    if kind == "pi0" and config.since(0, 4) is False:
        defaults = {**defaults, "weight_decay": 1e-10, "grad_clip_norm": 10.0}
    given = with_defaults(
        policy, {f"optimizer_{name}": value for name, value in defaults.items()}, f"the policy {kind!r}"
    )
    options = {name: given.get(f"optimizer_{name}") for name in defaults}
    if "betas" in options:
        options["betas"] = given.numbers("optimizer_betas")
    return config.of({"type": cls, **options})


def _kind(config: Config) -> str | None:
    return config.inner("policy").text("type", None) or config.text("policy.type", None)


def _refuse_accumulation(accelerator: Config) -> None:
    nested = accelerator.inner("gradient_accumulation").count("steps", 1)
    if accelerator.count("gradient_accumulation.steps", nested) > 1:
        raise ValueError("gradient accumulation is not supported: the scheduler moves at each batch")


def _preset(config: Config, optimizer: Config, scheduler: Config) -> tuple[Config | None, Config]:
    """Return the settings of the policy with its defaults, and its scheduler.

    A policy without a row in the table is None: then the sections of a saved file have its preset.
    """
    policy = config.inner("policy")
    kind = _kind(config)
    if kind is None and policy.has("path"):
        raise ValueError(
            "policy.path names a config that is not read: give the train_config.json of the run, or "
            "names={'policy.type': 'smolvla'} for the defaults of its policy"
        )
    if kind not in _PRESETS:
        if not optimizer.has("type") or "scheduler" not in config.settings:
            known = ", ".join(map(repr, _PRESETS))
            raise ValueError(
                f"the defaults of policy.type {shown_value(kind)} are not known, only those of {known}: "
                "give the train_config.json of the run"
            )
        return None, scheduler
    name, defaults = _PRESETS[kind]
    policy = with_defaults(config.of({**policy.settings, "type": kind}), defaults, f"the policy {kind!r}")
    settings: dict[str, Any] = {
        key: (policy.text if key == "name" else policy.number)(_OF_POLICY[key])
        for key in _SETTINGS.get(name or "", ())
        if key in _OF_POLICY
    }
    _check_same(optimizer, {"lr": policy.number("optimizer_lr")})
    _check_same(scheduler, settings)
    return policy, config.of({"type": name, **settings})


def _check_same(section: Config, of_policy: Mapping[str, Any]) -> None:
    """Refuse sections that differ from the policy, which wins in a new run but not in a resumed one."""
    for name, value in of_policy.items():
        given = section.get(name) if name == "name" else section.number(name, None)
        if given is not None and given != value and section.init_value is None:
            raise ValueError(
                f"the config has {name} {shown_value(given)}, but its policy has {shown_value(value)}: "
                "give names={'use_policy_training_preset': False} to take the first, or leave it out"
            )


def _rate_of_group(policy: Config) -> str:
    groups = _GROUPS.get(policy.text("type"))
    return [*groups.values()][policy.groups(*groups)] if groups else "optimizer_lr"


def _state(config: Config, optimizer: Config) -> None:
    """State the optimizer, which a policy names with a prefix."""
    prefix = "optimizer_" if optimizer.has("optimizer_lr") else ""
    kind = config.inner("optimizer").text("type", None)
    if kind is not None:
        check_choice("type of the optimizer", kind, tuple(_CLASSES))
    config.state(optimizer=kind, momentum=optimizer.stated_first(f"{prefix}betas"))
    optimizer.state_settings(weight_decay=f"{prefix}weight_decay", clip=f"{prefix}grad_clip_norm")


def _schedule(scheduler: Config, init_value: ArrayLike, steps: int) -> optax.Schedule:
    if not scheduler.has("type"):
        return phased_lr(init_value, [Phase()])
    kind = check_choice("type of the scheduler", scheduler.text("type"), tuple(_SETTINGS))
    for name in scheduler.settings:
        check_choice(f"a setting of the scheduler {kind!r}", name, ("type", *_SETTINGS[kind]))
    if kind == "diffuser":
        warming = scheduler.count("num_warmup_steps", None)
        return get_scheduler(init_value, scheduler.text("name", "cosine"), warming, steps)
    ramp = warmup(scheduler.count("num_warmup_steps"))
    rest = max(1, steps - (ramp.length or 0))
    if kind == "constant_with_warmup":
        return phased_lr(init_value, [ramp, Phase(start_factor=1.0)])
    if kind == "cosine_annealing_with_warmup":
        return waves(init_value, [ramp], rest, 0.5, end_factor=0.0)
    if kind == "vqbet":
        first = Phase(scheduler.count("num_vqvae_training_steps"), start_factor=1.0)
        return waves(init_value, [first, ramp], rest, scheduler.number("num_cycles", 0.5), end_factor=0.0)
    return phased_lr(init_value, _decay_phases(scheduler, steps))


def _decay_phases(config: Config, steps: int) -> list[Phase]:
    """Return a warmup, and a cosine that counts from the start of the warmup."""
    warming, decay = config.count("num_warmup_steps"), config.count("num_decay_steps")
    check_positive_count("num_decay_steps", decay)
    since = config.since(0, 4)
    if steps < decay and since is not False:
        warming, decay = int(warming * (steps / decay)), steps
        hint = "" if since else ", as LeRobot does since 0.4. With version='0.3' it would not"
        config.assume(f"The warmup has {warming} updates and the decay {decay}, all of the run{hint}.")
    floor = config.number("decay_lr") / config.number("peak_lr")
    ramp = Phase(warming, "linear", start_factor=1 / (warming + 1), end_factor=1.0)
    if warming >= decay:
        return [ramp, Phase(start_factor=floor)]
    return [ramp, Phase(decay - warming, "cosine", start_factor=1.0, end_factor=floor, offset=warming)]
