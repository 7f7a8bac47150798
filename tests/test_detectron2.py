"""`SOLVER` of detectron2, beside the curves of its own scheduler."""

import shlex
from typing import Any

import numpy as np
import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string


@recorded("detectron2")
def test_a_solver_gives_the_curve_of_detectron2(case):
    recipe = from_config({"SOLVER": case["settings"]})
    assert (recipe.unit, recipe.num_counts) == ("iteration", len(case["rates"]))
    assert_has_rates(recipe.schedule, case["rates"])


def solver(**settings: Any) -> dict[str, Any]:
    return {"SOLVER": {"BASE_LR": 0.02, "MAX_ITER": 100, "STEPS": [60, 80], "WARMUP_ITERS": 10, **settings}}


def test_a_warmup_ends_at_the_main_value_there():
    schedule = from_config(solver(STEPS=[5], WARMUP_FACTOR=0.5)).schedule
    assert_close(schedule(np.asarray([0, 5, 9, 10])), [0.01, 0.006, 0.0028, 0.002], HOST_RTOL)


def test_steps_at_the_end_of_the_run_or_after_it_change_no_rate():
    recipe = from_config(solver(STEPS=[60, 100, 200], WARMUP_ITERS=0))
    assert [recipe.schedule(count) for count in (59, 60, 99)] == [0.02, 0.002, 0.002]
    assert "STEPS from MAX_ITER on, 100, change no rate of the run." in recipe.assumptions


def test_from_a_million_iterations_on_a_step_is_early():
    schedule = from_config(solver(MAX_ITER=1_000_000, STEPS=[600_000])).schedule
    assert_close(schedule(np.asarray([599_998, 599_999, 600_000])), [0.02, 0.002, 0.002], HOST_RTOL)
    schedule = from_config(solver(MAX_ITER=900_000, STEPS=[600_000])).schedule
    assert_close(schedule(np.asarray([599_999, 600_000])), [0.02, 0.002], HOST_RTOL)


def test_a_copied_class_multiplies_its_warmup():
    text = "WarmupMultiStepLR(optimizer, (40, 70), 0.1, warmup_factor=1/3, warmup_iters=10)"
    schedule = from_string(text, 0.03)
    assert_close(schedule(np.asarray([0, 5, 10, 40, 70])), [0.01, 0.02, 0.03, 0.003, 0.0003], HOST_RTOL)
    text = "WarmupCosineLR(optimizer, 20, warmup_factor=0.1, warmup_iters=5, warmup_method='constant')"
    assert_close(from_string(text, 1.0)(np.asarray([0, 10])), [0.1, 0.5], HOST_RTOL)
    with pytest.raises(
        ValueError, match="copies of this class have different defaults: give warmup_factor"
    ):
        from_string("WarmupMultiStepLR(optimizer, [40, 70])", 0.03)


def test_another_number_of_processes_scales_the_run():
    config = solver(REFERENCE_WORLD_SIZE=8)
    recipe = from_config(config, num_processes=4)
    assert (recipe.num_counts, recipe.schedule(100)) == (200, 0.01)
    assert_close(recipe.schedule(np.asarray([119, 120, 160])), [0.01, 0.001, 0.0001], HOST_RTOL)
    assert "4 processes in place of 8 multiply the rate by 0.5" in recipe.assumptions[-1]
    with pytest.raises(ValueError, match="by the number of GPUs: give num_processes"):
        from_config(config)


def test_the_biases_may_have_a_rate_of_their_own():
    config = solver(BIAS_LR_FACTOR=2.0, MOMENTUM=0.9, WEIGHT_DECAY=1e-4)
    assert from_config(config).groups == ("weights", "biases")
    assert from_config(config, group=1).schedule(50) == 0.04
    recipe = from_config(solver(MOMENTUM=0.9, WEIGHT_DECAY=1e-4))
    assert (recipe.groups, recipe.momentum, recipe.weight_decay, recipe.clip) == ((), 0.9, 1e-4, None)


BASE = """
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.02
  STEPS: (60000, 80000)
  MAX_ITER: 90000
VERSION: 2
"""
R50_3X = """
_BASE_: "../Base-RCNN-FPN.yaml"
MODEL:
  MASK_ON: True
SOLVER:
  STEPS: (210000, 250000)
  MAX_ITER: 270000
"""
CITYSCAPES = """
MODEL:
  MASK_ON: True
SOLVER:
  BASE_LR: 0.01
  STEPS: (18000,)
  MAX_ITER: 24000
  IMS_PER_BATCH: 8
"""
DENSEPOSE = """
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.01
  STEPS: (60000, 80000)
  MAX_ITER: 90000
  WARMUP_FACTOR: 0.1
  CLIP_GRADIENTS: {"ENABLED": True, "CLIP_TYPE": "value", "CLIP_VALUE": 1.0}
"""
DEEPLAB = """
SOLVER:
  BASE_LR: 0.01
  MAX_ITER: 90000
  LR_SCHEDULER_NAME: "WarmupPolyLR"
  IMS_PER_BATCH: 16
"""
POINT_SUP = """
SOLVER: {BASE_LR: 5e-3, MAX_ITER: 20000, STEPS: [], WARMUP_ITERS: 0, LR_SCHEDULER_NAME: WarmupCosineLR}
"""
CONFIGS = [  # a config, num_counts, and rates by count
    (BASE, 90_000, {0: 2e-5, 500: 0.01001, 1000: 0.02, 59_999: 0.02, 60_000: 2e-3, 80_000: 2e-4}),
    (CITYSCAPES, 24_000, {1000: 0.01, 18_000: 1e-3}),
    (DENSEPOSE, 90_000, {0: 1e-3, 80_000: 1e-4}),
    (DEEPLAB, 90_000, {0: 1e-5, 1000: 0.01 * (89 / 90) ** 0.9, 45_000: 0.01 * 0.5**0.9}),
    (POINT_SUP, 20_000, {0: 5e-3, 10_000: 2.5e-3}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "detectron2", "iteration")


@pytest.mark.parametrize("method", ["linear", "constant"])
def test_before_0_4_the_warmup_multiplied_the_decay(method):
    """The product in `WarmupMultiStepLR.get_lr` and `WarmupCosineLR.get_lr` of detectron2 0.3."""
    counts = np.arange(400)
    ramp = 0.25 * (1 - counts / 100) + counts / 100 if method == "linear" else np.full(400, 0.25)
    warmup = np.where(counts < 100, ramp, 1.0)
    solver = {"BASE_LR": 0.5, "MAX_ITER": 400, "WARMUP_ITERS": 100, "WARMUP_FACTOR": 0.25}
    solver |= {"WARMUP_METHOD": method, "STEPS": [60, 100, 500]}
    decays = {
        "WarmupMultiStepLR": 0.1 ** np.searchsorted([60, 100, 500], counts, side="right"),
        "WarmupCosineLR": (1 + np.cos(np.pi * counts / 400)) / 2,
    }
    for name, decay in decays.items():
        config = {"SOLVER": {**solver, "LR_SCHEDULER_NAME": name}}
        assert_close(from_config(config, version="0.3").schedule(counts), 0.5 * warmup * decay, 1e-11)
        assert "Before detectron2 0.4 it multiplied the decay" in from_config(config).assumptions[-1]
    with pytest.raises(ValueError, match=r"LR_SCHEDULER_NAME before 0\.4 must be one of"):
        from_config(
            {"SOLVER": {**solver, "LR_SCHEDULER_NAME": "WarmupStepWithFixedGammaLR"}}, version="0.3"
        )


def test_the_base_of_a_yaml_config_is_read(tmp_path):
    (tmp_path / "Misc").mkdir()
    (tmp_path / "Base-RCNN-FPN.yaml").write_text(BASE)
    path = tmp_path / "Misc" / "mask_rcnn_R_50_FPN_3x.yaml"
    path.write_text(R50_3X)
    recipe = from_config(path)
    assert (recipe.num_counts, recipe.schedule(1000)) == (270_000, 0.02)
    assert recipe.assumptions == (
        "The config leaves these to the defaults of detectron2: LR_SCHEDULER_NAME WarmupMultiStepLR, "
        "WARMUP_FACTOR 0.001, WARMUP_ITERS 1000.",
    )
    (tmp_path / "Base-RCNN-FPN.yaml").write_text("_BASE_: Misc/mask_rcnn_R_50_FPN_3x.yaml\n")
    with pytest.raises(ValueError, match="the _BASE_ files include each other"):
        from_config(path)
    (tmp_path / "Base-RCNN-FPN.yaml").unlink()
    with pytest.raises(
        ValueError, match=r"cannot read the _BASE_ file .*Base-RCNN-FPN.yaml': No such file"
    ):
        from_config(path)
    for base in ("/etc/passwd", "~/a.yaml", "https://host/a.yaml", "3"):
        path.write_text(f"_BASE_: {base}\nSOLVER: {{}}\n")
        with pytest.raises(ValueError, match=r"cannot read the _BASE_ .* give a relative path"):
            from_config(path)
    path.write_text("_BASE_: a.txt\n")
    with pytest.raises(ValueError, match=r"the _BASE_ file 'a.txt' must be a YAML config"):
        from_config(path)
    with pytest.raises(
        ValueError, match=r"inherits from '\.\./Base-RCNN-FPN.yaml': give the path of a YAML"
    ):
        from_config(R50_3X)


COCO_SCHEDULE = "def default_X_scheduler(num_X):\n    return 1\nlr_multiplier_3x = default_X_scheduler(3)\n"
LAZY = """
from ..common.coco_schedule import lr_multiplier_3x as lr_multiplier
optimizer = model_zoo.get_config("common/optim.py").SGD
train = model_zoo.get_config("common/train.py").train
optimizer.lr = 0.04
train.max_iter = 270000
"""
LSJ = """
train = dict(max_iter=184375)
optimizer = L(torch.optim.SGD)(lr=0.1, momentum=0.9, weight_decay=4e-5)
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(
        values=[1.0, 0.1, 0.01],
        milestones=[163889, 177546],
        num_updates=train.max_iter,
    ),
    warmup_length=500 / train.max_iter,
    warmup_factor=0.067,
)
"""
COSINE = """
train = dict(max_iter=1000)
optimizer = L(torch.optim.AdamW)(lr=1e-4)
lr_multiplier = L(fvcore.common.param_scheduler.CosineParamScheduler)(start_value=1.0, end_value=0.1)
"""


def test_a_lazy_config_is_read_by_its_syntax(tmp_path):
    recipe = from_config(LSJ)
    assert (recipe.num_counts, recipe.optimizer, recipe.momentum) == (184_375, "SGD", 0.9)
    assert_close(recipe.schedule(np.asarray([0, 500, 163_889])), [0.0067, 0.1, 0.01], HOST_RTOL)
    assert_close(from_config(COSINE).schedule(np.asarray([0, 500])), [1e-4, 5.5e-5], HOST_RTOL)
    folder = tmp_path / "configs"
    for name in ("common", "new"):
        (folder / name).mkdir(parents=True)
    (folder / "common" / "coco_schedule.py").write_text(COCO_SCHEDULE)
    (folder / "common" / "optim.py").write_text("SGD = L(torch.optim.SGD)(lr=0.02, momentum=0.9)")
    (folder / "common" / "train.py").write_text("train = dict(max_iter=90000)")
    (folder / "new" / "mask_rcnn.py").write_text(LAZY)
    recipe = from_config(folder / "new" / "mask_rcnn.py")
    assert (recipe.num_counts, recipe.momentum) == (270_000, 0.9)
    assert_close(
        recipe.schedule(np.asarray([0, 1000, 209_999, 210_000])), [4e-5, 0.04, 0.04, 0.004], HOST_RTOL
    )


SCHEDULE = 'get_config("common/coco_schedule.py").lr_multiplier_12ep'
DETREX = f"""
lr_multiplier = {SCHEDULE}
train = dict(max_iter=90000)
optimizer = L(torch.optim.AdamW)(lr=1e-4, params=L(get_params)(lr_factor_func=lambda name: 0.1))
"""


def test_a_config_of_detrex_is_read():
    recipe = from_config(DETREX)
    assert recipe.optimizer == "AdamW"
    assert_close(recipe.schedule(np.asarray([0, 82_499, 82_500])), [1e-4, 1e-4, 1e-5], HOST_RTOL)
    assert recipe.assumptions == (
        "lr_factor_func multiplies the rate of some parameters. This is that of the others.",
    )
    warmed = from_config(
        DETREX.replace(SCHEDULE, "default_coco_scheduler(50, 40, 1e-3)").replace("90", "375")
    )
    assert_close(warmed.schedule(np.asarray([0, 3, 8, 300_000])), [1e-7, 4.006e-5, 1e-4, 1e-5], HOST_RTOL)
    call = DETREX.replace(
        'get_config("common/coco_schedule.py").lr_multiplier_12ep', "default_X_scheduler(1)"
    )
    for text in (call, DETREX.replace("12ep", "1x")):
        assert_close(from_config(text).schedule(np.asarray([1000, 60_000])), [1e-4, 1e-5], HOST_RTOL)
    with pytest.raises(ValueError, match=r"lr_multiplier is .*lr_multiplier_99ep., which has no value"):
        from_config(DETREX.replace("12ep", "99ep"))


SCRIPT = """
from detectron2.config import get_cfg
from detectron2.engine import DefaultTrainer

cfg = get_cfg()
cfg.DATASETS.TRAIN = ("balloon_train",)
cfg.MODEL.WEIGHTS = model_zoo.get_checkpoint_url("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
cfg.SOLVER.IMS_PER_BATCH = 2
cfg.SOLVER.BASE_LR = 0.00025  # pick a good LR
cfg.SOLVER.MAX_ITER = 3000
cfg.SOLVER.STEPS = []        # do not decay learning rate
os.makedirs(cfg.OUTPUT_DIR, exist_ok=True)
trainer = DefaultTrainer(cfg)
trainer.train()
"""


def test_the_lines_of_a_script_are_read():
    recipe = from_config(SCRIPT)
    assert recipe.num_counts == 3000
    assert_close(recipe.schedule(np.asarray([0, 1000, 2999])), [2.5e-7, 2.5e-4, 2.5e-4], HOST_RTOL)
    lines = (
        "cfg.SOLVER.BASE_LR = 0.01\ncfg.SOLVER.MAX_ITER = 300\ncfg.SOLVER.STEPS = (100,)\ncfg.freeze()\n"
    )
    assert 0 < from_config(lines).schedule(299) < 0.001  # the warmup of 1000 iterations ends after the run
    base = "cfg = get_cfg()\ncfg.merge_from_file(model_zoo.get_config_file('COCO/a.yaml'))\n"
    with pytest.raises(
        ValueError, match=r"the config inherits from .*a.yaml.* give the path of a YAML file"
    ):
        from_config(base + lines)
    with pytest.raises(ValueError, match="no known framework"):
        from_config(lines + "change(cfg)")


def test_the_options_of_a_command_change_its_file(tmp_path):
    file = tmp_path / "mask_rcnn.yaml"
    file.write_text("SOLVER: {BASE_LR: 0.02, STEPS: (60, 80), MAX_ITER: 100, WARMUP_ITERS: 20}")
    options = "SOLVER.STEPS '(30, 50)' SOLVER.MAX_ITER 60 SOLVER.CLIP_GRADIENTS.ENABLED True OUTPUT_DIR ./x"
    command = f"python train_net.py \\\n --config-file {file} --resume \\\n SOLVER.BASE_LR 0.1 {options}"
    for config in (command, shlex.split(command.replace("\\\n", ""))):
        recipe = from_config(config)
        rates = recipe.schedule(np.asarray([0, 20, 30, 50]))
        assert_close(rates, [1e-4, 0.1, 0.01, 0.001], HOST_RTOL)
        assert recipe.num_counts == 60
        assert recipe.assumptions[-1].startswith("CLIP_GRADIENTS clips each parameter")
    stated = from_config("train_net.py --num-gpus 8 SOLVER.MAX_ITER 60 SOLVER.STEPS (30,)")
    assert stated.num_counts == 60
    with pytest.raises(ValueError, match=r"the option SOLVER.BASE_LR has no value after it"):
        from_config("train_net.py --resume SOLVER.BASE_LR")
    with pytest.raises(ValueError, match=r"the config_file 'passwd' must be a YAML config"):
        from_config("train_net.py --config-file /etc/passwd SOLVER.BASE_LR 1")


MASKRCNN_BENCHMARK = """
MODEL:
  WEIGHT: "catalog://ImageNetPretrained/MSRA/R-50"
SOLVER:
  BASE_LR: 0.02
  STEPS: (60, 80)
  MAX_ITER: 90
  WARMUP_ITERS: 10
"""


def test_a_config_of_maskrcnn_benchmark_is_refused_with_its_call():
    for config in (
        MASKRCNN_BENCHMARK,
        MASKRCNN_BENCHMARK.replace("WEIGHT:", "BACKBONE: {CONV_BODY: R-50} #"),
    ):
        with pytest.raises(ValueError, match="the MODEL is of maskrcnn-benchmark, whose def") as error:
            from_config(config)
        call = str(error.value).split("'")[1]
        assert call.startswith("WarmupMultiStepLR(milestones=(60, 80), gamma=0.1, warmup_factor=0.33333")
        rates = from_string(call, 0.02)(np.asarray([0, 5, 10, 60, 80]))
        assert_close(rates, [0.02 / 3, 0.04 / 3, 0.02, 0.002, 0.0002], HOST_RTOL)


def test_a_tag_that_python_would_evaluate_is_no_obstacle_where_it_is_not_read():
    sizes = """
  ANCHOR_GENERATOR:
    SIZES: !!python/object/apply:eval ["[[x, x * 2**(1.0/3)] for x in [32, 64, 128, 256, 512 ]]"]
SOLVER:
"""
    assert from_config("MODEL:" + sizes + BASE.replace("SOLVER:", "")).schedule(1000) == 0.02
    steps = BASE.replace("(60000, 80000)", "!!python/tuple [60000, 80000]")
    assert from_config(steps).schedule(60_000) == 0.002
    evaluated = BASE.replace("(60000, 80000)", '!!python/object/apply:eval ["(6, 8)"]')
    with pytest.raises(ValueError, match=r"STEPS must be a number, got '\(6, 8\)': give names="):
        from_config(evaluated)
    assert from_config(evaluated, names={"STEPS": [6, 8]}).schedule(1000) == 0.02 * 0.1**2


def test_a_project_may_have_settings_that_change_no_rate():
    own: dict[str, Any] = {"LR_MULTIPLIER_OVERWRITE": [{"a": 0.1}], "GRADIENT_ACCUMULATION_STEPS": 2}
    recipe = from_config(solver(BACKBONE_MULTIPLIER=0.1, MAX_EPOCH=None, USE_AUTOSTEP=False, **own))
    assert recipe.schedule(50) == 0.02


EQUAL = "WarmupStepWithFixedGammaLR"
REFUSED: list[tuple[Any, str]] = [
    (solver(LR_SCHEDULER_NAME="WarmupLR"), "LR_SCHEDULER_NAME must be one of .*'WarmupPolyLR', got 'Wa"),
    (solver(WARMUP_METHOD="cosine"), "WARMUP_METHOD must be one of 'linear', 'constant', got 'cosine'"),
    (solver(STEPS=[0, 60]), "the steps must rise from above 0 to below 100"),
    (solver(STEPS=[80, 60]), "the steps must rise"),
    (solver(STEPS="(60, x)"), "STEPS must be a number, got 'x'"),
    (
        solver(LR_SCHEDULER_NAME="WarmupCosineLR", BASE_LR_END=1.0),
        "BASE_LR_END must be at most BASE_LR, got 1",
    ),
    (solver(LR_SCHEDULER_NAME=EQUAL, NUM_DECAYS=0), "NUM_DECAYS must be a whole number of at least 1"),
    (solver(LR_SCHEDULER_NAME=EQUAL, NUM_DECAYS=10**9), "NUM_DECAYS must be below 200"),
    (solver(RESCALE_INTERVAL=True, MAX_ITER=2_000_000), "RESCALE_INTERVAL is supported up to 1000000"),
    (
        solver(LR_SCHEDULER_NAME="WarmupPolyLR", POLY_LR_CONSTANT_ENDING=0.1),
        "POLY_LR_CONSTANT_ENDING=0.1 is not",
    ),
    (solver(MAX_EPOCH=12), "SOLVER.MAX_EPOCH is a setting of another framework than detectron2"),
    (solver(LR=1e-3), "SOLVER.LR is a setting of another framework"),
    (solver(LR_STEPS=[80, 90]), "SOLVER.LR_STEPS is a setting of another framework"),
    (solver(SCHEDULE={"TYPE": "WarmupReduceLROnPlateau"}), "SOLVER.SCHEDULE is a setting of another"),
    (solver(USE_AUTOSTEP=True), "SOLVER.USE_AUTOSTEP is a setting of another"),
    (solver(WARMUP_LR=1e-6), "SOLVER.WARMUP_LR is a setting of another"),
    ({"SOLVER": 3}, "SOLVER must hold settings by name"),
    (
        LSJ.replace("MultiStepParam", "ExponentialParam"),
        "scheduler 'ExponentialParamScheduler' .* not supported",
    ),
    (LSJ.replace("train = dict(max_iter=184375)", ""), "the config has no max_iter"),
    (LSJ.replace("177546]", "177546, 180000]"), "one value more than steps"),
    (LAZY, "optimizer is .* which has no value in the config|train is .* which has no value"),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED, framework="detectron2")
