"""BEiT, ConvNeXt and VideoMAE: the flags of their scripts, which share `utils.cosine_scheduler`.

The rules are those of microsoft/unilm (`beit/run_beit_pretraining.py`, `beit/run_class_finetuning.py`, and
those of BEiT v2 and BEiT-3), facebookresearch/ConvNeXt (`main.py`), MCG-NJU/VideoMAE
(`run_mae_pretraining.py`, `run_class_finetuning.py`) and OpenGVLab/unmasked_teacher (`single_modality`).
"""

from collections.abc import Mapping
from typing import Any

from jaxlr._checks import check_positive_count, check_value
from jaxlr.frameworks._defaults import with_defaults
from jaxlr.frameworks.dino import cosine_scheduler
from jaxlr.frameworks.recipe import Config, Framework, Recipe


_DEFAULTS: dict[str, dict[str, Any]] = {
    "run_beit_pretraining.py": {"lr": 5e-4, "min_lr": 1e-5, "warmup_epochs": 5, "epochs": 300},
    "run_class_finetuning.py of BEiT": {"lr": 5e-4, "min_lr": 1e-6, "warmup_epochs": 5, "epochs": 30},
    "run_beit3_finetuning.py": {"lr": 5e-4, "min_lr": 1e-6, "warmup_epochs": 5, "epochs": 20},
    "main.py of ConvNeXt": {"lr": 4e-3, "min_lr": 1e-6, "warmup_epochs": 20, "epochs": 300},
    "run_mae_pretraining.py": {"lr": 1.5e-4, "min_lr": 1e-5, "warmup_epochs": 40, "epochs": 800},
    "run_class_finetuning.py of VideoMAE": {"lr": 1e-3, "min_lr": 1e-6, "warmup_epochs": 5, "epochs": 30},
}
_OF_BEIT = ("num_mask_patches", "discrete_vae_weight_path", "tokenizer_weight", "tokenizer_model")
_OF_VIDEOS = ("num_frames", "sampling_rate", "test_num_segment", "short_side_size")
_OF_CONVNEXT = ("update_freq", "model_ema_eval", "head_init_scale")
_OF_FINE_TUNING = ("update_freq", "layer_decay", "finetune", "disable_rel_pos_bias", "abs_pos_emb")


def read(config: Config) -> Recipe:
    """Read `lr`, `min_lr`, `warmup_epochs` and `epochs`. A count is an update."""
    script = _script(config.settings)
    if script is None:
        raise ValueError(
            f"the flags do not tell the script: it must be one of {', '.join(_DEFAULTS)}, whose models are "
            "named beit... or convnext..., or whose flags are of masks or videos"
        )
    config = with_defaults(config, _DEFAULTS[script], script, rate="lr", epochs="epochs")
    epochs, frequency = config.whole_epochs("epochs"), config.count("update_freq", 1)
    updates = check_positive_count("steps_per_epoch", config.steps_in_epoch() // max(1, frequency))
    rate: Any = config.base_rate("lr")
    least = config.number("min_lr")
    if "mae" in script.lower():
        scale = _scale(config, max(1, frequency))
        rate, least = (rate if config.init_value is not None else rate * scale), least * scale
    if config.number("layer_decay", 1.0) != 1:
        config.assume("layer_decay multiplies the rate of each layer. This is the rate of the last one.")
    config.state_settings(optimizer="opt", clip="clip_grad")
    if not config.has("weight_decay_end"):
        config.state_settings(weight_decay="weight_decay")
    steps = config.signed("warmup_steps", -1)
    warmup = (config.count("warmup_epochs"), 0.0, int(steps) if steps > 0 else -1)
    schedule = cosine_scheduler(rate, least, epochs, updates, *warmup)
    return config.recipe("beit", schedule, "update", epochs * updates)


def _script(settings: Mapping[str, Any]) -> str | None:
    """Return the script that has such flags."""
    model, names = str(settings.get("model", "")), settings.keys()
    if "blr" in names or "lr_scheduler" in names or "sched" in names:
        return None
    if names & {*_OF_BEIT}:
        return "run_beit_pretraining.py"
    if names & {*_OF_VIDEOS}:
        is_pretraining = "mask_type" in names or model.startswith("pretrain_videomae")
        return "run_mae_pretraining.py" if is_pretraining else "run_class_finetuning.py of VideoMAE"
    if model.startswith("convnext") and names & {*_OF_CONVNEXT}:
        return "main.py of ConvNeXt"
    if model.startswith("beit3"):
        return "run_beit3_finetuning.py"
    if model.startswith("beit") and names & {*_OF_FINE_TUNING}:
        return "run_class_finetuning.py of BEiT"
    return None


def _recognizes(settings: Mapping[str, Any]) -> bool:
    is_flagged = any(name in settings for name in ("lr", "warmup_epochs", "warmup_steps", "epochs"))
    return is_flagged and "batch_size" in settings and _script(settings) is not None


FRAMEWORK = Framework(name="beit", read=read, aliases=("convnext", "videomae"), recognizes=_recognizes)


def _scale(config: Config, frequency: int) -> Any:
    """Return the factor of VideoMAE: the global batch size over 256."""
    if config.init_value is not None and config.has("lr"):
        rate: Any = check_value("lr", config.number("lr"), positive=True)
        return config.init_value / rate
    if config.num_processes is None:
        raise ValueError("lr is scaled by the global batch size: give num_processes, or init_value and lr")
    batch = config.count("batch_size") * frequency * config.num_processes
    if config.has("clip_teacher") or str(config.get("data_set")).endswith("_sparse"):
        # In unmasked_teacher, the samples of a video count, too.
        batch *= config.positive_count("num_sample")
    config.assume(f"The rates are multiplied by {batch / 256:g}: a batch of {batch} instead of 256.")
    return batch / 256
