"""The optimizers of configs, beside runs of the frameworks themselves and of torch."""

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from helpers import assert_close, fast_jit

import jaxlr
from jaxlr._compat import enable_x64
from jaxlr.cli import main
from jaxlr.frameworks.optimizers import read_optimizer
from jaxlr.frameworks.recipe import Clip


RECORDED = json.loads((Path(__file__).parent / "framework_optimizers.json").read_text())
CASES = [(name, case) for name, each in RECORDED.items() for case in each["cases"]]
NUM_UPDATES, SHOWN = 60, (1, 25, 60)
SHAPES = {"dense.weight": (3, 4), "dense.bias": (3,), "norm.weight": (3,), "norm.bias": (3,)}
X64_RTOL = 1e-10
MATRICES = {name: len(shape) > 1 for name, shape in SHAPES.items()}
NOT_BIASES = {name: not name.endswith("bias") for name in SHAPES}
NOT_NORMS = {name: "norm" not in name for name in SHAPES}
YOLO_GROUPS = {"dense.weight": 0, "dense.bias": 2, "norm.weight": 1, "norm.bias": 2}


def gradients(count: Any, params: Any, numpy: Any = jnp) -> Any:
    """Return the gradients of `scripts/recording/optimizers.py`."""
    return {
        name: numpy.sin(0.7 * count + np.arange(value.size)).reshape(value.shape) + 0.1 * value
        for name, value in params.items()
    }


def our_run(tx: Any) -> list[Any]:
    """Return the weights after the updates in `SHOWN`."""
    params: Any = {name: jnp.cos(jnp.arange(float(np.prod(s)))).reshape(s) for name, s in SHAPES.items()}

    def step(carry: Any, count: Any) -> Any:
        params, opt_state = carry
        updates, opt_state = tx.update(gradients(count, params), opt_state, params)
        params = jax.tree.map(jnp.add, params, updates)
        return (params, opt_state), params

    _, all_params = fast_jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), jnp.arange(60)))(
        params
    )
    return [jax.tree.map(lambda leaf, at=at: leaf[at - 1], all_params) for at in SHOWN]


def assert_runs_agree(tx: Any, expected: list[Any]) -> None:
    for ours, theirs in zip(our_run(tx), expected, strict=True):
        for name in SHAPES:
            assert_close(np.ravel(ours[name]), np.ravel(theirs[name]), X64_RTOL)


def parameters_that_decay(framework: str, config: Any) -> Any:
    if framework == "mmengine":
        return MATRICES if "paramwise_cfg" in config["optim_wrapper"] else None
    return {"huggingface": MATRICES, "timm": MATRICES, "ultralytics": MATRICES}.get(framework)


@pytest.mark.parametrize(
    ("framework", "case"), CASES, ids=[f"{name}-{index}" for index, (name, _) in enumerate(CASES)]
)
def test_run_is_that_of_the_framework(framework, case):
    config = case["config"]
    own: Any = {"decay_mask": parameters_that_decay(framework, config)}
    if config.get("warmup_bias_lr") and config["warmup_epochs"]:
        own = {"labels": YOLO_GROUPS}
    with enable_x64():
        tx = jaxlr.optimizer_from_config(config, framework=framework, **case["arguments"], **own)
        assert_runs_agree(tx, case["weights"])


TRAINER = {"learning_rate": 0.01, "lr_scheduler_type": "cosine", "max_steps": 60}
TIMM = {"sched": "cosine", "lr": 0.1, "epochs": 6}
MMENGINE = {
    "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}},
    "param_scheduler": [],
}
SOLVER = {"BASE_LR": 0.1, "STEPS": [40], "MAX_ITER": 60, "WARMUP_ITERS": 5}
RESNET = "--model resnet50 --lr-scheduler steplr --lr-step-size 2 --epochs 6"
TITAN = {"job": {}, "training": {"steps": 60}, "optimizer": {"lr": 0.01}}
MEGATRON = "--lr 0.1 --lr-decay-style cosine --train-iters 60"
TUNE = {"epochs": 3, "gradient_accumulation_steps": 2, "clip_grad_norm": 1.0}
LIGHTNING = {
    "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": "1e-3", "betas": [0.8, 0.9]}},
    "lr_scheduler": {"class_path": "torch.optim.lr_scheduler.StepLR", "init_args": {"step_size": 2}},
}
DIFFUSERS = "--lr_scheduler linear --learning_rate 1 --max_train_steps 9 --lr_warmup_steps 0"
DEEPSPEED = {"scheduler": {"type": "WarmupLR", "params": {}}}
YOLO = {
    **{"lr0": 0.01, "lrf": 0.1, "epochs": 6, "warmup_epochs": 1, "batch": 128, "optimizer": "Adam"},
    **{"momentum": 0.9, "weight_decay": 0.1},
}
MATRICES_OF_MODEL = ("biases", "vectors", "the names in model.no_weight_decay()")
COMPOSER = {
    "max_duration": "60ba",
    "scheduler": {"name": "cosine_with_warmup", "t_warmup": "5ba", "alpha_f": 0.1},
    "optimizer": {"name": "decoupled_adamw", "lr": 0.5, "eps": "1e-7", "weight_decay": 1e-3},
    "algorithms": {"gradient_clipping": {"clipping_type": "norm", "clipping_threshold": 1.0}},
}
SPARED_BY_CLIP = (
    *("biases", "norms", "vectors", "the logit scale"),
    "the names in model.no_weight_decay()",
)
NORM, BIASES_AND_NORMS = Clip(1.0), ("biases", "norms")
ADAMW = {"name": "adamw", "lr": 0.1, "betas": [0.9, 0.98], "weight_decay": "1e-3"}
NEMO = {
    "model": {"optim": {**ADAMW, "sched": {"name": "WarmupPolicy", "warmup_steps": 5, "max_steps": 60}}},
    "trainer": {"gradient_clip_val": 1.0},
}
OLMO = {
    "optimizer": {"name": "adamw", "learning_rate": 0.1, "weight_decay": 0.1, "metrics_log_interval": 10},
    "scheduler": {"name": "cosine_with_warmup", "t_warmup": 5},
    **{"max_duration": 60, "max_grad_norm": 1.0},
}
LIONW = {"name": "decoupled_lionw", "learning_rate": 0.1, "betas": [0.9, 0.95], "decay_norm_and_bias": True}
EMBEDDINGS = {
    "params": ["embeddings.weight"],
    "opts": {"weight_decay": 0.0},
    "_CLASS_": "OptimGroupOverride",
}
OF_CORE = {
    "optim": {
        **{
            "lr": 0.1,
            "betas": [0.9, 0.95],
            "fused": True,
            "compile": False,
            "fixed_fields": ["initial_lr"],
        },
        **{"group_overrides": [EMBEDDINGS], "_CLASS_": "olmo_core.optim.adamw.AdamWConfig"},
    },
    "max_grad_norm": 1.0,
}
OLDER_CORE = {
    "optim": {"lr": 0.1, "weight_decay": 0.1, "_CLASS_": "olmo_core.optim.lion.LionConfig"},
    "trainer": {
        "max_duration": {"value": 60, "unit": "steps"},
        "callbacks": {
            "lr_scheduler": {"scheduler": {"_CLASS_": "CosWithWarmup", "warmup_steps": 5}},
            "clipper": {"_CLASS_": "callbacks.grad_clipper.GradClipperCallback", "max_grad_norm": 2.0},
        },
    },
}
NANOTRON = {
    "optimizer": {
        "optimizer_factory": {"name": "adamW", "adam_beta1": 0.9, "adam_beta2": 0.95, "adam_eps": 1e-6},
        "learning_rate_scheduler": {"learning_rate": 0.1, "lr_warmup_steps": 5, "lr_decay_steps": 55},
        **{"weight_decay": 0.01, "clip_grad": 1.0, "weight_decay_exclude_named_params": [".*norm.*"]},
    },
    "tokens": {"train_steps": 60},
}
LITGPT = {
    "optimizer": {"class_path": "torch.optim.AdamW", "init_args": {"lr": 0.1, "betas": [0.9, 0.95]}},
    "train": {"global_batch_size": 8, "micro_batch_size": 8, "lr_warmup_steps": 5, "epochs": 6},
}
PRETRAIN = {**LITGPT["train"], "max_tokens": 4800, "max_seq_length": 10, "max_norm": 1.0, "min_lr": 0.0}
YOLOX = {"basic_lr_per_img": 1e-4, "batch_size": 8, "max_epoch": 30, "weight_decay": 1e-4}
FIT = {
    "scheduler": "WarmupLinear",
    "optimizer_params": {"lr": 0.1, "eps": 1e-6},
    "warmup_steps": 5,
    "epochs": 6,
}
LEROBOT = {
    "policy": {"type": "act", "optimizer_lr": 0.1, "optimizer_lr_backbone": 0.1},
    "optimizer": {"type": "adamw", "lr": 0.1, "weight_decay": 1e-4, "grad_clip_norm": 10.0, "eps": 1e-8},
    **{"scheduler": None, "steps": 60},
}
VALUE = ("AdamW(betas=(0.9, 0.98), weight_decay=0.001)", Clip(1.0, None), ())
AUTOMODEL = {
    "step_scheduler": {"max_steps": 60},
    "optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1, "betas": [0.9, 0.95], "weight_decay": 0.1},
}


def ds(kind: str, **params: Any) -> Any:
    return {**DEEPSPEED, "optimizer": {"type": kind, "params": {"lr": 0.1, **params}}}


# A config, and the torch text, the clipping and the parameters without weight decay that the framework's
# source gives it.
STATED: list[tuple[Any, str, Clip | None, tuple[str, ...]]] = [
    (NEMO, "AdamW(betas=(0.9, 0.98), weight_decay=0.001)", NORM, ()),
    ({**NEMO, "trainer": {"gradient_clip_val": 1.0, "gradient_clip_algorithm": "value"}}, *VALUE),
    (AUTOMODEL, "Adam(betas=(0.9, 0.95), weight_decay=0.1)", NORM, ()),
    (
        OLMO,
        "AdamW(weight_decay=0.1, betas=(0.9, 0.95), eps=1e-05)",
        NORM,
        (*BIASES_AND_NORMS, "embeddings"),
    ),
    ({**OLMO, "optimizer": LIONW}, "Lion(betas=(0.9, 0.95), weight_decay=0.01)", NORM, ("embeddings",)),
    (
        {"train_module": OF_CORE},
        *("AdamW(betas=(0.9, 0.95))", NORM, ("parameters like 'embeddings.weight'",)),
    ),
    (OLDER_CORE, "Lion(weight_decay=0.1)", Clip(2.0), ()),
    (NANOTRON, "AdamW(betas=(0.9, 0.95), eps=1e-06)", NORM, ("parameters like ['.*norm.*']",)),
    (LITGPT, "AdamW(betas=(0.9, 0.95))", None, ()),
    ({**LITGPT, "train": PRETRAIN}, "AdamW(betas=(0.9, 0.95))", NORM, ()),
    ("--lr 0.03 --cos --moco-t 0.2 --wd 1e-3", "SGD(momentum=0.9, weight_decay=0.001)", None, ()),
    (
        "--fix-pred-lr --lr 0.1 --batch-size 256 --momentum 0.8",
        "SGD(momentum=0.8, weight_decay=0.0001)",
        None,
        (),
    ),
    (
        "--optimizer=adamw --lr 1 --batch-size 9 --stop-grad-conv1 --wd .1",
        "AdamW(weight_decay=0.1)",
        None,
        (),
    ),
    (YOLOX, "SGD(momentum=0.9, weight_decay=0.0001, nesterov=True)", None, BIASES_AND_NORMS),
    (FIT, "AdamW(eps=1e-06)", NORM, BIASES_AND_NORMS),
    (
        "fit(train_objectives=[], optimizer_class=torch.optim.AdamW, optimizer_params={'lr': 1}, epochs=6)",
        *("AdamW()", NORM, BIASES_AND_NORMS),
    ),
    (LEROBOT, "AdamW(weight_decay=0.0001)", Clip(10.0), ()),
    (
        "--dataset.repo_id=a --policy.type=pi0 --policy.optimizer_betas='[0.9,0.99]' --steps=60",
        *("AdamW(betas=(0.9, 0.99))", NORM, ()),
    ),
    (
        "--dataset.repo_id=a --policy.type=diffusion --steps=60",
        *("Adam(betas=(0.95, 0.999), weight_decay=1e-06)", Clip(10.0), ()),
    ),
    (
        {
            **{"policy": {**LEROBOT["policy"], "optimizer_lr_backbone": 0.01}, "steps": 60},
            **{"use_policy_training_preset": False, "optimizer": {"type": "sgd", "lr": 0.1}},
            "scheduler": {"type": "constant_with_warmup", "num_warmup_steps": 5},
        },
        *("SGD()", Clip(10.0), ()),
    ),
    (TRAINER, "AdamW(weight_decay=0.0)", NORM, BIASES_AND_NORMS),
    ({**TRAINER, "max_grad_norm": 0, "optim": "OptimizerNames.SGD"}, "SGD()", None, BIASES_AND_NORMS),
    (
        {**TRAINER, "weight_decay": "1e-2", "adam_beta2": 0.98},
        "AdamW(betas=(0.9, 0.98))",
        NORM,
        BIASES_AND_NORMS,
    ),
    (
        "base_model: a\nlearning_rate: 1e-3\nlr_scheduler: cosine\nmax_steps: 60\nweight_decay: 0.1\n",
        *("AdamW(weight_decay=0.1)", NORM, BIASES_AND_NORMS),
    ),
    (
        TIMM,
        "SGD(weight_decay=2e-05, nesterov=True, momentum=0.9)",
        None,
        ("biases", "vectors", "the names in model.no_weight_decay()"),
    ),
    (ds("Adam"), "AdamW(weight_decay=0.0)", None, ()),
    (ds("Adam", torch_adam=True), "AdamW()", None, ()),
    (ds("AdamW", adam_w_mode=False, weight_decay=0.2), "AdamW(weight_decay=0.2)", None, ()),
    (ds("Adam", adam_w_mode=False, weight_decay=0.2), "Adam(weight_decay=0.2)", None, ()),
    ({**ds("SGD", momentum=0.9), "gradient_clipping": 1.0}, "SGD(momentum=0.9)", NORM, ()),
    (ds("Lion", betas=[0.9, 0.98]), "Lion(betas=(0.9, 0.98))", None, ()),
    (LIGHTNING, "Adam(betas=(0.8, 0.9))", None, ()),
    (MMENGINE, "SGD(momentum=0.9, weight_decay=0.1)", None, ()),
    (
        {"lr_config": None, "total_epochs": 6, "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
        | {"optimizer_config": {"grad_clip": {"max_norm": 1.0, "norm_type": 2}}},
        *("SGD(momentum=0.9)", NORM, ()),
    ),
    (RESNET, "SGD(momentum=0.9, weight_decay=0.0001)", None, ()),
    (
        f"{RESNET} --opt sgd_nesterov --momentum 0.8 --norm-weight-decay 0",
        "SGD(momentum=0.8, nesterov=True, weight_decay=0.0001)",
        None,
        ("norms",),
    ),
    (
        f"{RESNET} --opt rmsprop --wd 1e-5 --clip-grad-norm 1",
        "RMSprop(momentum=0.9, eps=0.0316, alpha=0.9, weight_decay=1e-05)",
        NORM,
        (),
    ),
    (
        f"{RESNET} --opt adamw --weight-decay 0.3 --bias-weight-decay 0",
        "AdamW(weight_decay=0.3)",
        None,
        ("biases",),
    ),
    ({"SOLVER": SOLVER}, "SGD(momentum=0.9, weight_decay=0.0001)", None, ("norms",)),
    (
        {
            "SOLVER": {**SOLVER, "NESTEROV": True, "WEIGHT_DECAY_NORM": 1e-4, "WEIGHT_DECAY_BIAS": 0.0}
            | {"CLIP_GRADIENTS": {"ENABLED": True}}
        },
        *("SGD(momentum=0.9, nesterov=True, weight_decay=0.0001)", Clip(1.0, None), ("biases",)),
    ),
    (
        "learning_rate = 0.1\nlr_decay_iters = 60\nmax_iters = 60\nwarmup_iters = 5\nbeta2 = 0.99\n",
        "AdamW(betas=(0.9, 0.99), weight_decay=0.1)",
        NORM,
        ("biases", "norms", "vectors"),
    ),
    (TITAN, "AdamW(betas=(0.9, 0.95), weight_decay=0.1)", NORM, ()),
    (
        {"optimizer": {"_component_": "torch.optim.AdamW", "lr": 0.1, "fused": True}, **TUNE},
        "AdamW()",
        NORM,
        (),
    ),
    (  # each parameter has an AdamW of its own, and the norm is only logged
        {"optimizer": {"_component_": "torch.optim.AdamW", "lr": 0.1}, **TUNE}
        | {"optimizer_in_bwd": True, "gradient_accumulation_steps": 1, "clip_grad_norm": "inf"},
        *("AdamW()", None, ()),
    ),
    (
        f"{MEGATRON} --apply-wd-to-qk-layernorm",
        *("AdamW()", NORM, ("biases", "vectors but those of q_layernorm and k_layernorm")),
    ),
    (  # the decay of the biases is also that of the biases of norms
        {"SOLVER": {**SOLVER, "WEIGHT_DECAY_BIAS": 1e-4}},
        *("SGD(momentum=0.9, weight_decay=0.0001)", None, ("the weights of norms",)),
    ),
    (MEGATRON, "AdamW()", NORM, ("biases", "vectors")),
    (
        f"{MEGATRON} --tuner_type lora",
        *("AdamW(betas=(0.9, 0.95), weight_decay=0.1)", NORM, ("biases", "vectors")),
    ),
    (
        f"{MEGATRON} --optimizer sgd --clip-grad 0 --weight-decay 0.1",
        "SGD(momentum=0.9, weight_decay=0.1)",
        None,
        ("biases", "vectors"),
    ),
    (
        f"{DIFFUSERS} --adam_weight_decay 1e-4 --adam_beta2 0.95",
        *("AdamW(betas=(0.9, 0.95), weight_decay=0.0001)", NORM, ()),
    ),
    (
        {"MODEL": {"TYPE": "swin"}, "DATA": {"BATCH_SIZE": 128}}
        | {"TRAIN": {"EPOCHS": 60, "WARMUP_EPOCHS": 2, "BASE_LR": 0.1, "LR_SCHEDULER": {"NAME": "cosine"}}},
        *("AdamW(weight_decay=0.05)", Clip(5.0), MATRICES_OF_MODEL),
    ),
    (
        "--blr 1.5e-4 --lr 0.1 --mask_ratio 0.75 --epochs 60",
        *("AdamW(betas=(0.9, 0.95), weight_decay=0.05)", None, ("biases", "vectors")),
    ),
    (
        "--train-data a --warmup 5 --wd 0.1 --model ViT-B-32 --epochs 60 --grad-clip-norm 1",
        *("AdamW(betas=(0.9, 0.98), eps=1e-06, weight_decay=0.1)", NORM, SPARED_BY_CLIP),
    ),
    (
        "--train-data a --warmup 5 --model RN50 --epochs 60 --wd-exclude *.bias visual.proj*",
        *("AdamW(weight_decay=0.2)", None, (*SPARED_BY_CLIP, "parameters like '*.bias visual.proj*'")),
    ),
    (
        COMPOSER,
        *("AdamW(betas=(0.9, 0.95), weight_decay=0.002, eps=1e-07)", NORM, ()),
    ),
    (
        {
            "trainer": {"max_duration": "60ba"},
            "scheduler": {"_target_": "composer.optim.LinearWithWarmupScheduler", "t_warmup": "5ba"},
            "optimizer": {"_target_": "torch.optim.AdamW", "lr": 0.1, "weight_decay": 0.2},
        },
        *("AdamW(weight_decay=0.2)", None, ()),
    ),
    (YOLO, "Adam(weight_decay=0.2)", Clip(10.0), BIASES_AND_NORMS),
]


@pytest.mark.parametrize(("config", "text", "clip", "undecayed"), STATED)
def test_optimizer_is_the_one_of_the_source(config, text, clip, undecayed):
    read = read_optimizer(config, steps_per_epoch=10, num_processes=1)
    given = {name: value for name, value in read.call.given.items() if name != "lr"}
    assert (read.call.__class__(read.call.name, given).text, read.stated.clip, read.stated.undecayed) == (
        *(text, clip, undecayed),
    )


REFUSED: list[tuple[Any, dict[str, Any], str]] = [
    (
        {**MMENGINE, "optim_wrapper": {"optimizer": {"type": "Lamb", "lr": 0.1}}},
        {},
        "Lamb of transformers or MMPretrain is not supported",
    ),
    (
        {**MMENGINE, "optim_wrapper": {**MMENGINE["optim_wrapper"], "type": "DeepSpeedOptimWrapper"}},
        {},
        "the type 'DeepSpeedOptimWrapper' of optim_wrapper",
    ),
    (
        {**MMENGINE, "optim_wrapper": {**MMENGINE["optim_wrapper"], "paramwise_cfg": {"fix_lr": True}}},
        {},
        "fix_lr=True of paramwise_cfg is not supported",
    ),
    (
        {**TRAINER, "weight_decay": 0.1},
        {},
        "huggingface leaves biases and norms out of the weight decay: give decay_mask",
    ),
    (TIMM, {}, "timm leaves biases, vectors and the names in model.no_weight_decay.. out"),
    (TIMM, {"decay_mask": MATRICES}, "the schedule counts epochs: give steps_per_epoch"),
    (
        {**TRAINER, "optim": "paged_adamw_8bit"},
        {},
        "optim must be one of .* got 'paged_adamw_8bit': change the config, or take the schedule",
    ),
    ({**TRAINER, "optim": "adafactor"}, {}, "optim must be one of 'adamw_torch'"),
    (
        {**TRAINER, "optim": "sgd", "optim_args": "momentum=0.9"},
        {},
        "optim_args='momentum=0.9' is not supported",
    ),
    (
        {**TRAINER, "loraplus_lr_ratio": 16},
        {},
        "LoRA. has parameter groups with rates of their own: change",
    ),
    ({**TIMM, "layer_decay": 0.75}, {}, "layer_decay=0.75 is not supported: it gives each layer a rate"),
    ({**TIMM, "clip_grad": 0.1, "clip_mode": "agc"}, {}, "clip_mode must be 'norm' or 'value'"),
    ({**TIMM, "opt": "lars"}, {}, "opt must be one of 'sgd'"),
    (
        {**TIMM, "opt": "lamb"},
        {"version": "0.4"},
        "weight_decay of timm before 1.0 is not known: give names",
    ),
    (ds("Adam", betas="auto"), {}, "betas is 'auto': give names={'betas': ...}"),
    (DIFFUSERS, {}, "scripts of diffusers have different defaults of adam_weight_decay, .* give names"),
    (f"{DIFFUSERS} --train_text_encoder", {}, "some scripts give the text encoder its own weight decay"),
    (f"{DIFFUSERS} --max_num_frames 49", {}, "the scripts of CogVideoX have other defaults"),
    (f"{DIFFUSERS} --placeholder_token a", {}, "textual inversion restores all embeddings but its own"),
    (TRAINER, {"version": "4.31"}, "the default optim before transformers 4.32 is 'adamw_hf'"),
    (
        {**TITAN, "optimizer": {"lr": 0.01, "param_groups": [{"pattern": "bias"}]}},
        *({}, "the setting 'param_groups' of .optimizer. is not supported"),
    ),
    (
        {**TITAN, "optimizer": {"lr": 0.01, "implementation": "fused_opt_states_bf16"}},
        *({}, "has a state of 16 bits"),
    ),
    ({"SOLVER": {**SOLVER, "OPTIMIZER": "SGD"}}, {}, "OPTIMIZER='SGD' .* a setting of projects"),
    ({"SOLVER": {**SOLVER, "BACKBONE_MULTIPLIER": 0.1}}, {}, "whose parameter groups differ"),
    (
        {"SOLVER": {**SOLVER, "CLIP_GRADIENTS": {"ENABLED": True, "CLIP_TYPE": "full_model"}}},
        *({}, "CLIP_TYPE must be 'value', got 'full_model'"),
    ),
    (
        {**TIMM, "weight_decay": 0.1},
        {"labels": MATRICES, "steps_per_epoch": 9},
        "no group of the recipe is without it: give decay_mask instead of labels",
    ),
    (ds("OneBitAdam"), {}, "the optimizer 'OneBitAdam' has a rule of DeepSpeed's own"),
    (ds("Adan"), {}, "the optimizer 'Adan' of deepspeed is not supported; jaxlr converts"),
    (ds("SGD", betas=[0.9, 0.9]), {}, "the optimizer SGD has no option 'betas'; it takes lr, momentum"),
    (ds("SGD", nesterov=True), {}, "nesterov needs a momentum above 0"),
    (
        {**LIGHTNING, "optimizer": {"class_path": "apex.optimizers.FusedAdam", "init_args": {"lr": 1}}},
        {},
        "'apex.optimizers.FusedAdam' of lightning is not supported",
    ),
    (
        {**MMENGINE, "optim_wrapper": {**MMENGINE["optim_wrapper"], "constructor": "LayerDecay"}},
        {},
        "the constructor 'LayerDecay'",
    ),
    (
        {
            **MMENGINE,
            "optim_wrapper": {
                **MMENGINE["optim_wrapper"],
                "paramwise_cfg": {"custom_keys": {"head": {"lr_mult": 10}}},
            },
        },
        {},
        "lr_mult of 'head'=10",
    ),
    (
        {**MMENGINE, "optim_wrapper": {**MMENGINE["optim_wrapper"], "accumulative_counts": 4}},
        {"steps_per_epoch": 5},
        "an update accumulates 4 of them",
    ),
    (f"{RESNET} --norm-weight-decay 0.5", {}, "norm_weight_decay=0.5 beside a weight_decay of 0.0001"),
    ({"SOLVER": {**SOLVER, "BIAS_LR_FACTOR": 2.0}}, {}, "BIAS_LR_FACTOR other than 1"),
    (f"{MEGATRON} --decoupled-lr 0.3", {}, "decoupled_lr='0.3' is not supported"),
    (
        {**NEMO, "model": {**NEMO["model"], "tensor_model_parallel_size": 1}},
        {},
        "optim_param_groups and models of Megatron are not supported",
    ),
    (
        {"optim": {**NEMO["model"]["optim"], "name": "novograd"}},
        {},
        "the optimizer 'novograd' of nemo is not supported",
    ),
    (
        {**AUTOMODEL, "optimizer": {"lr": 0.1, "param_group_overrides": [{"pattern": "a", "lr_mult": 2}]}},
        {},
        "param_group_overrides=.* is not supported: it multiplies some rates",
    ),
    (
        {"train_module": {"optim": {"lr": 0.1, "_CLASS_": "olmo_core.optim.SkipStepAdamWConfig"}}},
        {},
        "'SkipStepAdamW' of OLMo-core is not supported, because it skips some updates",
    ),
    ({**OLMO, "optimizer": {**LIONW, "name": "decoupled_adamw"}}, {}, "must be 'adamw' or 'lionw', got"),
    (
        {**OLMO, "scheduler": {**OLMO["scheduler"], "grad_clip_warmup_steps": 9}},
        {},
        "grad_clip_warmup_steps=9 is not supported: it changes the clipping",
    ),
    (
        {**NANOTRON, "model": {"init_method": {"use_mup": True}}},
        {},
        "use_mup gives some layers rates of their own",
    ),
    ("--optimizer=lars --lr 1e-3 --stop-grad-conv1", {}, "the optimizer 'lars' is not supported"),
    (
        {**LEROBOT, "policy": {**LEROBOT["policy"], "optimizer_lr_backbone": 0.01}},
        {},
        "the backbone has a rate of its own: give labels, .* 0 .others., 1 .backbone.",
    ),
    ("--dataset.repo_id=a --policy.type=vqbet --steps=60", {}, "policy.type must be one of 'act', 'tdmpc'"),
    (
        "--dataset.repo_id=a --policy.type=act --optimizer.type=sgd --steps=60",
        *({}, "the policy chooses the optimizer, unless use_policy_training_preset is off"),
    ),
    ({**LITGPT, "quantize": "bnb.nf4"}, {}, "quantize='bnb.nf4' is not supported: it takes the AdamW of"),
    ({**YOLOX, "get_optimizer": True}, {}, "get_optimizer=True is not supported: it is a method of the"),
    (
        {**FIT, "optimizer_class": "<class 'transformers.optimization.AdamW'>"},
        {},
        "optimizer_class must be torch.optim.AdamW, got",
    ),
    (
        "fit(train_objectives=[], optimizer_class=AdamW, optimizer_params={'lr': 0.1}, epochs=6)",
        *({}, "optimizer_class must be torch.optim.AdamW, got 'AdamW'"),
    ),
    (f"{MEGATRON} --optimizer muon", {}, "optimizer must be one of 'adam', 'sgd'"),
    (
        YOLO,
        {"steps_per_epoch": 10},
        "begins at warmup_bias_lr: give labels, .* 0 .weights., 1 .norms., 2 .biases.",
    ),
    (
        {**YOLO, "batch": 16},
        {"steps_per_epoch": 10, "labels": YOLO_GROUPS},
        "an update accumulates 4 of them",
    ),
    (YOLO, {"steps_per_epoch": 10, "labels": YOLO_GROUPS, "decay_mask": True}, "leave decay_mask out"),
    (
        {},
        {"framework": "ldm"},
        "jaxlr reads only the schedule of ldm",
    ),
    (
        "- learning_rate: 1e-05\n- lr_scheduler_type: constant\n- optimizer: Adam with betas=(0.9,0.999)\n",
        *({}, "a model card does not state weight_decay: give names={'weight_decay': ...}"),
    ),
]


@pytest.mark.parametrize(("config", "arguments", "message"), REFUSED)
def test_what_would_make_other_updates_is_refused(config, arguments, message):
    with pytest.raises(ValueError, match=message.replace("{", r"\{")):
        jaxlr.optimizer_from_config(config, **arguments)


@pytest.mark.parametrize("mask", ["kernel", {"kernel": "yes", "bias": ""}, ["bias"]])
def test_mask_of_names_is_refused(mask):
    with pytest.raises(TypeError, match="decay_mask must be True, a pytree of True and False"):
        jaxlr.optimizer_from_config({**TRAINER, "weight_decay": 0.1}, decay_mask=mask)


@pytest.mark.parametrize("mask", [MATRICES, lambda params: MATRICES, jax.tree.map(np.bool_, MATRICES)])
def test_labels_of_the_trainer_make_the_updates_of_its_mask(mask):
    config = {**TRAINER, "weight_decay": 0.1}
    labels = {name: int(not decays) for name, decays in MATRICES.items()}
    with enable_x64():
        by_labels = jaxlr.optimizer_from_config(config, labels=labels)
        assert_runs_agree(by_labels, our_run(jaxlr.optimizer_from_config(config, decay_mask=mask)))


@pytest.mark.parametrize("kind", ["RMSprop", "SGD", "Adagrad"])
def test_one_cycle_of_deepspeed_leaves_optimizers_without_betas_alone(kind):
    own = {} if kind == "Adagrad" else {"momentum": 0.9}
    cycle = {"cycle_min_lr": 0.01, "cycle_max_lr": 0.1, "cycle_first_step_size": 10}
    config = {**ds(kind, **own), "scheduler": {"type": "OneCycle", "params": cycle}}
    with enable_x64():
        text = f"{kind}({', '.join(f'{name}={value}' for name, value in own.items())})"
        expected = jaxlr.optimizer_from_string(text, jaxlr.from_config(config).schedule)
        assert_runs_agree(jaxlr.optimizer_from_config(config), our_run(expected))


def test_model_card_gives_the_numbers_of_its_optimizer():
    card = (
        "- learning_rate: 1e-05\n- lr_scheduler_type: constant\n- num_epochs: 3\n"
        "- optimizer: Use adamw_torch_fused with betas=(0.8,0.95) and epsilon=1e-06 and optimizer_args=No\n"
    )
    read = read_optimizer(card, names={"weight_decay": 0.1, "max_grad_norm": 1.0})
    assert read.call.text == "AdamW(lr=1e-05, weight_decay=0.1, betas=(0.8, 0.95), eps=1e-06)"


@pytest.mark.parametrize(
    ("config", "mask"),
    [
        ({**TRAINER, "weight_decay": 0.1, "adam_beta2": 0.95}, MATRICES),
        ({**TRAINER, "lr_scheduler_type": "reduce_lr_on_plateau"}, None),
        ({**TIMM, "clip_grad": 0.2, "clip_mode": "value", "grad_accum_steps": 3}, MATRICES),
        ({**TIMM, "opt": "nadam", "weight_decay": 0.0, "clip_grad": 0.5}, None),
        (COMPOSER, None),  # longer than the name of a file may be
    ],
)
def test_ported_lines_make_the_same_updates(config, mask, capsys):
    main(["port", json.dumps(config), "--steps-per-epoch", "10", "--format", "json"])
    fields = json.loads(capsys.readouterr().out)
    with enable_x64():
        scope: Any = {"jaxlr": jaxlr, "optax": optax, "decay_mask": mask}
        scope["schedule"] = scope["plateau"] = eval(fields["jaxlr"], scope)
        tx = jaxlr.optimizer_from_config(config, steps_per_epoch=10, decay_mask=mask)
        assert_runs_agree(eval(fields["tx"], scope), our_run(tx))


def test_optimizer_that_no_line_makes_is_said(capsys):
    for config, reason in (
        (YOLO, "the rate of the biases begins at warmup_bias_lr, so call"),
        ({**TIMM, "opt": "lamb"}, "Lamb needs a mask, so call jaxlr.optimizer_from_config with decay_mask"),
        (
            {**YOLO, "optimizer": "SGD", "warmup_bias_lr": 0, "warmup_momentum": 0.8},
            "its momentum or weight decay",
        ),
        ({**TIMM, "opt": "lars"}, "opt must be one of"),
    ):
        main(["port", json.dumps(config), "--steps-per-epoch", "10"])
        printed = capsys.readouterr().out
        assert f"# The optimizer is left out: {reason}" in printed
        assert printed.splitlines()[-1].startswith("jaxlr.")


@enable_x64()
def test_weight_decay_that_rises_is_that_of_torch():
    torch = pytest.importorskip("torch")
    rising = "--weight-decay-incr-style linear --start-weight-decay 0.1 --end-weight-decay 2"
    config = f"{MEGATRON} {rising} --clip-grad 1"
    recipe: Any = jaxlr.from_config(config)
    start = {
        name: np.cos(np.arange(float(np.prod(shape)))).reshape(shape) for name, shape in SHAPES.items()
    }
    params = {name: torch.tensor(value, requires_grad=True) for name, value in start.items()}
    decayed, others = (
        [value for name, value in params.items() if MATRICES[name] is decays] for decays in (True, False)
    )
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=0.1)
    shown = []
    for count in range(NUM_UPDATES):
        optimizer.param_groups[0]["weight_decay"] = recipe.weight_decay(count)
        for group in optimizer.param_groups:
            group["lr"] = recipe.schedule(count)
        now = {name: value.detach().numpy() for name, value in params.items()}
        for name, grad in gradients(count, now, np).items():
            params[name].grad = torch.tensor(grad)
        torch.nn.utils.clip_grad_norm_(params.values(), 1.0)
        optimizer.step()
        if count + 1 in SHOWN:
            shown.append({name: value.detach().numpy().copy() for name, value in params.items()})
    assert_runs_agree(jaxlr.optimizer_from_config(config, decay_mask=lambda params: MATRICES), shown)


def test_transformation_has_the_assumptions_about_the_schedule_and_the_optimizer():
    flags = "--learning_rate 0.1 --max_steps 10 --num_train_epochs 3"
    tx: Any = jaxlr.optimizer_from_config(flags)
    of_schedule = jaxlr.from_config(flags).assumptions
    of_optimizer = {
        "max_grad_norm is 1.0, the default of TrainingArguments.",
        "optim is 'adamw_torch', the default of TrainingArguments.",
    }
    assert {*tx.recipe.assumptions} == {*of_schedule, *of_optimizer}
    assert of_schedule
    assert tx.recipe.framework == "huggingface"


def test_transformation_with_a_recipe_is_one_of_optax():
    tx = jaxlr.optimizer_from_config(
        "--learning_rate 0.1 --lr_scheduler_type linear --max_steps 10 --optim sgd"
    )
    init, update = tx
    params = jnp.ones(2)
    chained = optax.chain(tx, optax.scale(2.0))
    expected, _ = update(params, init(params), params)
    found, _ = chained.update(params, chained.init(params), params, value=1.0)
    assert_close(np.asarray(found), 2 * np.asarray(expected), 1e-6)
