"""Configs of GraphGym and GraphGPS, beside the curves of their own schedulers."""

from typing import Any

from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses

import jaxlr


@recorded("graphgym")
def test_a_scheduler_gives_its_curve(case):
    optim = {"base_lr": case["init_value"], "max_epoch": 30, "scheduler": case["call"], **case["settings"]}
    recipe = from_config({"optim": optim})
    assert_has_rates(recipe.schedule, case["rates"])
    assert (recipe.framework, recipe.unit, recipe.num_counts) == ("graphgym", "epoch", 30)


ZINC = """
out_dir: results
metric_best: mae
dataset: {format: PyG-ZINC, name: subset, task: graph}
train:
  mode: custom
  batch_size: 32
  eval_period: 1
model: {type: GPSModel, loss_fun: l1}
gt: {layer_type: GINE+Transformer, layers: 10}
gnn: {head: san_graph, dim_inner: 64}
optim:
  clip_grad_norm: True
  optimizer: adamW
  weight_decay: 1e-5
  base_lr: 0.001
  max_epoch: 2000
  scheduler: cosine_with_warmup
  num_warmup_epochs: 50
"""
PEPTIDES = """
optim:
  batch_accumulation: 1
  optimizer: adamW
  weight_decay: 0.0
  base_lr: 0.0003
  max_epoch: 200
  scheduler: polynomial_with_warmup
  num_warmup_epochs: 10
"""
NODE = """
out_dir: results
dataset: {format: PyG, name: Cora, task: node}
model: {type: gnn}
gnn: {layers_mp: 2}
optim:
  optimizer: adam
  base_lr: 0.01
  max_epoch: 400
"""
STEP = """
dataset: {format: OGB}
optim: {optimizer: sgd, base_lr: 0.1, weight_decay: 5e-4, max_epoch: 100, scheduler: step, lr_decay: 0.5}
"""
GRIT = ZINC.replace("num_warmup_epochs: 50", "num_warmup_epochs: 50\n  min_lr: 1e-6")
BARE = {"dataset": {"name": "Cora"}, "model": {"type": "gnn"}, "gnn": {}, "optim": {"scheduler": None}}
CONFIGS = [  # a config, num_counts, and rates by count
    (ZINC, 2000, {0: 1e-9, 25: 5e-4, 50: 1e-3, 1025: 5e-4, 2000: 0.0}),
    (GRIT, 2000, {0: 1e-9, 25: 5e-4, 50: 1e-3, 1025: 5e-4, 2000: 0.0}),
    (PEPTIDES, 200, {0: 0.0, 5: 1.5e-4, 10: 3e-4, 200: 1e-7}),
    (NODE, 400, {0: 0.01, 200: 0.005}),
    (STEP, 100, {29: 0.1, 30: 0.05, 60: 0.025, 99: 0.0125}),
    (BARE, 200, {0: 0.01, 199: 0.01}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "graphgym", "epoch")


def test_a_plateau_has_the_settings_of_the_config():
    config = ZINC.replace("cosine_with_warmup", "reduce_on_plateau\n  reduce_factor: 0.5\n  min_lr: 1e-5")
    recipe = from_config(config)
    plateau: Any = jaxlr.reduce_lr_on_plateau(0.001, factor=0.5, patience=10, min_lr=1e-5)
    assert repr(recipe.schedule) == repr(plateau)
    assert (recipe.framework, recipe.unit) == ("graphgym", "evaluation")
    assert recipe.assumptions == (
        "schedule_patience is 10, the default of GraphGym.",
        "The plateau is stepped after every epoch with the loss of the validation.",
    )


def test_defaults_are_assumptions_and_the_optimizer_is_stated():
    recipe = from_config(ZINC)
    assert recipe.assumptions == ()
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == ("adamW", 1e-5, 1.0)
    assert from_config(NODE).assumptions == ("scheduler is cos, the default of GraphGym.",)
    assert from_config(BARE, 0.1).schedule(3) == 0.1


REFUSED = [
    (NODE + "  scheduler: exponential", "scheduler must be one of 'none', 'step', 'cos', .*'exponential'"),
    (GRIT + "  min_lr_mode: rescale", "min_lr_mode is of GRIT, and only 'threshold' is supported"),
    (NODE.replace("400", "0"), "max_epoch must be a whole number of at least 1"),
    (STEP.replace("step,", "step, steps: [a],"), "steps must be a number, got 'a'"),
]


test_a_config_that_cannot_be_read_is_refused_by_name = refuses(REFUSED)
