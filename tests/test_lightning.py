"""Configs of Hydra and LightningCLI, beside the rates that Lightning's own loop runs."""

import re
import time
from typing import Any

import numpy as np
import pytest
from framework_files import assert_has_rates, from_config, gives_rates, recorded, refuses
from helpers import HOST_RTOL, assert_close, assert_is_torchs

import jaxlr


@recorded("lightning")
def test_a_scheduler_moves_when_lightning_steps_it(case):
    settings = dict(case["settings"])
    accumulate = settings.pop("accumulate_grad_batches")
    config = {
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 1.0},
        "lr_scheduler": {
            "scheduler": {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.9},
            **settings,
        },
        "trainer": {"max_epochs": 6, "accumulate_grad_batches": accumulate},
    }
    recipe = from_config(config, steps_per_epoch=case["steps_per_epoch"])
    if settings["interval"] == "step":
        assert (recipe.unit, recipe.num_counts) == ("update", len(case["rates"]))
        assert_has_rates(recipe.schedule, case["rates"])
    else:
        assert (recipe.unit, recipe.num_counts) == ("epoch", 6)
        updates = len(case["rates"]) // 6
        epochs = np.arange(len(case["rates"])) // updates
        assert_is_torchs(recipe.schedule(epochs), np.asarray(case["rates"]), HOST_RTOL)


def test_a_frequency_counts_batches_and_starts_again_in_each_epoch():
    config = {**STEP, "frequency": 4, "trainer": {"accumulate_grad_batches": 1}}
    schedule = from_config(config, steps_per_epoch=7).schedule
    assert [schedule(update) for update in (3, 4, 7, 10, 11)] == [1.0, 0.5, 0.5, 0.5, 0.25]


def test_a_scheduler_moves_only_where_an_update_ends():
    config = {**STEP, "frequency": 2, "trainer": {"accumulate_grad_batches": 3}}
    schedule = from_config(config, steps_per_epoch=12).schedule
    assert [schedule(update) for update in (1, 2, 3, 4)] == [1.0, 0.5, 0.5, 0.25]


def test_the_last_batch_of_an_epoch_ends_an_update():
    config = {**STEP, "frequency": 7, "trainer": {"accumulate_grad_batches": 2}}
    schedule = from_config(config, steps_per_epoch=7).schedule
    assert [schedule(update) for update in (3, 4, 7, 8)] == [1.0, 0.5, 0.5, 0.25]


STEP = {
    "optimizer": {"_target_": "torch.optim.SGD", "lr": 1.0},
    "scheduler": {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1, "gamma": 0.5},
    "interval": "step",
}
HYDRA_TEMPLATE = """
task_name: train
tags: [mnist, simple_dense_net]
trainer:
  _target_: lightning.pytorch.trainer.Trainer
  default_root_dir: ${paths.output_dir}
  min_epochs: 10
  max_epochs: 10
  gradient_clip_val: 0.5
model:
  _target_: src.models.mnist_module.MNISTLitModule
  optimizer: {_target_: torch.optim.Adam, _partial_: true, lr: 0.002, weight_decay: 0.0}
  scheduler:
    _target_: torch.optim.lr_scheduler.CosineAnnealingLR
    _partial_: true
    T_max: ${trainer.max_epochs}
    eta_min: 1e-5
"""
STABLE_SSL = """
optim:
  epochs: 100
  optimizer:
    _target_: torch.optim.AdamW
    _partial_: true
    lr: ${optim.params[1].lr}
    weight_decay: 1e-6
  params: [{}, {lr: 0.01}]
  scheduler:
    _target_: torch.optim.lr_scheduler.OneCycleLR
    _partial_: true
    max_lr: ${..optimizer.lr}
    epochs: ${optim.epochs}
    steps_per_epoch: ${eval:'${data._num_samples} // ${data.batch_size}'}
  lightning_args: {interval: step}
"""
SCHEDULER_LIST = """
optimizer:
  _target_: torch.optim.AdamW
  lr: 0.001
scheduler_list:
  - scheduler:
      _target_: torch.optim.lr_scheduler.StepLR
      step_size: 10
    monitor: loss/val
    interval: epoch
    frequency: 3
    name: step
pl_trainer:
  max_epochs: 100
callbacks:
  - _target_: lightning.pytorch.callbacks.LearningRateMonitor
    logging_interval: epoch
"""
WARMUP = """
optimizer: {_target_: torch.optim.SGD, lr: "${lr}"}
lr: 0.1
lr_scheduler:
  _target_: torch.optim.lr_scheduler.SequentialLR
  schedulers:
    - {_target_: torch.optim.lr_scheduler.LinearLR, start_factor: 0.1, total_iters: 5}
    - {_target_: torch.optim.lr_scheduler.CosineAnnealingLR, T_max: "${epochs}"}
  milestones: [5]
epochs: 20
"""
MDLM = """
optim: {lr: 3e-4, weight_decay: 0}
lr_scheduler:
  _target_: transformers.get_constant_schedule_with_warmup
  num_warmup_steps: 2500
trainer: {_target_: lightning.Trainer, max_steps: 1_000_000, gradient_clip_val: 1.0, precision: bf16}
"""
CLI = """
# lightning.pytorch==2.1.1
seed_everything: 0
trainer: {max_epochs: 200, accelerator: auto, callbacks: [{class_path: RichProgressBar}]}
model:
  class_path: terratorch.tasks.SemanticSegmentationTask
  init_args: {loss: ce, backbone: {class_path: Prithvi, init_args: {num_frames: 1}}}
optimizer:
  class_path: torch.optim.AdamW
  init_args: {lr: 6.e-5, weight_decay: 0.05}
lr_scheduler:
  class_path: StepLR
  init_args: {step_size: 50, gamma: 0.5}
"""
CLI_SHELL = """
fit:
  optimizer: {class_path: torch.optim.AdamW, init_args: {lr: $TARGET_LR, betas: [0.9, 0.99]}}
  lr_scheduler:
    class_path: torch.optim.lr_scheduler.CosineAnnealingLR
    init_args: {T_max: $MAX_STEPS}
  trainer: {max_steps: $MAX_STEPS}
"""
CLI_FLAGS = (
    "python main.py fit --optimizer=Adam --optimizer.lr=0.01 --lr_scheduler=ExponentialLR "
    "--lr_scheduler.gamma=0.5 --trainer.max_epochs=9"
)
NULL = {"model": {"optimizer": {"_target_": "torch.optim.Adam", "lr": 1e-3}, "scheduler": None}}
BOLTS = {
    "_target_": "deepsno.utils.scheduler.LinearWarmupCosineAnnealingLR",
    "warmup_epochs": 3,
    "max_epochs": 13,
    "interval": "step",
}
CONFIGS = [  # a config, other arguments, unit, num_counts, and rates by count
    (HYDRA_TEMPLATE, {}, "epoch", 10, {0: 0.002, 5: 0.001005, 10: 1e-5}),
    (STABLE_SSL, {"names": {"steps_per_epoch": 10}}, "update", None, {0: 4e-4, 299: 0.01, 999: 4e-8}),
    (SCHEDULER_LIST, {}, "epoch", 100, {29: 1e-3, 30: 1e-4, 60: 1e-5}),
    (WARMUP, {}, "epoch", None, {0: 0.01, 5: 0.1, 15: 0.05}),
    (MDLM, {"names": {"interval": "step"}}, "update", 1_000_000, {1250: 1.5e-4, 2500: 3e-4}),
    (CLI, {}, "epoch", 200, {49: 6e-5, 50: 3e-5}),
    (CLI_SHELL, {"names": {"$TARGET_LR": 1e-4, "$MAX_STEPS": 100}}, "epoch", None, {50: 5e-5}),
    (CLI_FLAGS, {}, "epoch", 9, {0: 0.01, 2: 0.0025}),
    (NULL, {}, "epoch", None, {0: 1e-3, 99: 1e-3}),
    (BOLTS, {"init_value": 1.0}, "update", None, {0: 0.0, 1: 0.5, 3: 1.0, 8: 0.5}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "lightning")


def test_the_optimizer_and_the_clipping_are_stated():
    recipe = from_config(HYDRA_TEMPLATE)
    assert (recipe.optimizer, recipe.weight_decay, recipe.momentum, recipe.clip) == ("Adam", 0.0, None, 0.5)
    recipe = from_config(CLI_SHELL, names={"$TARGET_LR": 1e-4, "$MAX_STEPS": 100})
    assert (recipe.optimizer, recipe.momentum, recipe.clip) == ("AdamW", 0.9, None)
    by_value = {**STEP, "trainer": {"gradient_clip_val": 1, "gradient_clip_algorithm": "value"}}
    assert from_config(by_value).clip is None


PLATEAU = """
optimizer: {class_path: Adam, init_args: {lr: 1.0}}
lr_scheduler:
  class_path: lightning.pytorch.cli.ReduceLROnPlateau
  init_args: {monitor: val_loss, mode: min, factor: 0.5, patience: 0}
"""


def test_a_plateau_is_a_transformation_and_names_its_metric():
    recipe = from_config(PLATEAU)
    assert recipe.unit == "evaluation"
    assert recipe.assumptions[-1] == "The plateau is stepped after every epoch with val_loss."
    state = recipe.schedule.init({})
    for metric in (1.0, 1.0):
        state = jaxlr.plateau_step(state, metric)
    assert jaxlr.plateau_lr(state) == 0.5


def test_every_rule_that_was_chosen_is_an_assumption():
    interval = "The scheduler is stepped once per epoch, as Lightning does where no interval is given."
    assert from_config(HYDRA_TEMPLATE).assumptions == (interval,)
    assert from_config(CLI).assumptions == (
        "The scheduler is stepped once per epoch, as LightningCLI does.",
    )
    assert "is read as LinearWarmupCosineAnnealingLR" in from_config(BOLTS, 1.0).assumptions[0]
    timm = {"_target_": "timm.scheduler.CosineLRScheduler", "t_initial": 9}
    assert "every rate comes one epoch later" in from_config(timm, 1.0).assumptions[0]
    assert from_config(HYDRA_TEMPLATE, 1.0).assumptions[0] == "init_value replaces the lr of the config."


def adam(**scheduler: Any) -> dict[str, Any]:
    return {"optimizer": {"_target_": "torch.optim.Adam", "lr": 0.1}, "scheduler": scheduler}


COSINE = "torch.optim.lr_scheduler.CosineAnnealingLR"
REFUSED = [
    (STABLE_SSL, r"steps_per_epoch is .*resolvers are not executed: give names=\{'steps_per_epoch': ...\}"),
    (
        adam(_target_=COSINE, T_max="${trainer.max_epochs}"),
        r"T_max is '\$\{trainer.max_epochs\}', .* give names=\{'trainer.max_epochs': ...\}",
    ),
    (adam(_target_=COSINE, T_max="${oc.env:EPOCHS}"), r"T_max is .*resolvers are not executed"),
    (adam(_target_=COSINE, T_max="${scheduler.T_max}"), "a reference to itself"),
    (adam(_target_=COSINE), r"the config has no T_max for CosineAnnealingLR: give names=\{'T_max': ...\}"),
    (adam(_target_=COSINE, T_max="???"), "the config has no T_max for CosineAnnealingLR"),
    (
        {**adam(_target_=COSINE, T_max="${steps}"), "steps": None},
        r"the config has no T_max for CosineAnnealingLR: give names=\{'T_max': ...\}",
    ),
    (adam(_target_=COSINE, T_max=9, foo=1), "CosineAnnealingLR has no argument 'foo'"),
    (adam(_target_="src.lr.WarmupThing", steps=1), "unknown scheduler 'WarmupThing'"),
    ({"_target_": "utils.CosineDecayWarmupLRScheduler", "t_initial": 9}, "unknown scheduler 'CosineDecayW"),
    (adam(_target_="mmengine.optim.StepLR"), "mmengine.optim.StepLR is not the class of torch"),
    (
        adam(_target_="a.Callable", inner={"_target_": COSINE, "T_max": 9}),
        "unknown scheduler 'Callable'",
    ),
    (
        adam(_target_="torch.optim.lr_scheduler.LambdaLR", lr_lambda={"_target_": "a.b"}),
        "lr_lambda is 'a.b', which is not executed",
    ),
    ({"scheduler": {"_target_": COSINE, "T_max": 9}}, "no rate of the optimizer: give init_value"),
    (
        {**adam(_target_=COSINE, T_max=9), "opt": {"_target_": "torch.optim.SGD", "lr": 1}},
        "the config has 2 optimizers: give init_value",
    ),
    (
        {"g_scheduler": {"_target_": COSINE, "T_max": 9}, "d_scheduler": {"_target_": COSINE, "T_max": 9}},
        "2 schedulers, such as g_scheduler and d_scheduler: give the mapping of one",
    ),
    ({**adam(_target_=COSINE, T_max=9), "interval": "batch"}, "interval must be 'epoch' or 'step'"),
    ({**STEP, "frequency": 2}, "give steps_per_epoch"),
    (
        {**adam(_target_=COSINE, T_max=9), "callbacks": [{"_target_": "a.StochasticWeightAveraging"}]},
        "the callback StochasticWeightAveraging changes the learning rate",
    ),
    ({**adam(_target_=COSINE, T_max=9), "trainer": {"auto_lr_find": True}}, "auto_lr_find changes"),
    (
        {"defaults": [{"override /model": "mnist"}], "trainer": {"max_epochs": 9}},
        "its defaults are other files: give the whole config, which 'python train.py --cfg job",
    ),
    (
        {"optimizer": {"class_path": "Adam", "init_args": {"lr": 1}}},
        "no scheduler with a _target_ or a class_p",
    ),
]


test_a_config_that_lacks_something_is_refused_by_name = refuses(REFUSED)


HOSTILE = {
    "a node in itself": adam(_target_=COSINE, T_max="${scheduler}"),
    "a list in itself": adam(_target_="MultiStepLR", milestones=["${scheduler.milestones}"]),
    "lists that explode": {
        **adam(_target_="MultiStepLR", milestones="${a0}"),
        **{f"a{n}": [f"${{a{n + 1}}}"] * 4 for n in range(40)},
        "a40": 1,
    },
    "texts that explode": {
        **adam(_target_=COSINE, T_max="${a0}"),
        **{f"a{n}": f"${{a{n + 1}}}" * 4 for n in range(40)},
        "a40": 1,
    },
}


@pytest.mark.parametrize("name", HOSTILE)
def test_references_that_do_not_end_are_refused_at_once(name):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"refers to itself|reference to itself") as error:
        from_config(HOSTILE[name])
    assert time.perf_counter() - start < 5
    assert len(str(error.value)) < 500


def test_a_flag_with_many_dots_is_no_deep_mapping():
    with pytest.raises(ValueError, match=r"unknown|has no|no known"):
        from_config("--lr_scheduler=StepLR --lr_scheduler" + ".a" * 10_000 + "=1")


def test_nothing_is_executed(tmp_path):
    target = {"_target_": "builtins.open", "file": str(tmp_path / "made"), "mode": "w"}
    with pytest.raises(ValueError, match="unknown scheduler 'open'"):
        from_config(adam(**target))
    assert not (tmp_path / "made").exists()


MODULE = """
class Module(pl.LightningModule):
    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), lr=0.1)
        scheduler = ExponentialLR(optimizer, 0.5)
        {}

    {}
"""
PLAIN = "return [optimizer], [scheduler]"
PER_BATCH = "return [optimizer], [{'scheduler': scheduler, 'interval': 'step'}]"


def module(returned: str, argument: str, hook: str = "lr_scheduler_step(self, scheduler, metric)") -> str:
    return MODULE.format(returned, f"def {hook}:\n        scheduler.step({argument})")


@pytest.mark.parametrize(
    "text",
    [
        module(PLAIN, ""),
        module(PLAIN, "epoch=self.current_epoch + 1"),
        module(
            PLAIN, "self.trainer.current_epoch + 1", "lr_scheduler_step(self, scheduler, index, metric)"
        ),
        module(PER_BATCH, "self.global_step"),
    ],
)
def test_a_step_of_the_hook_that_counts_the_calls_is_read(text):
    schedule: Any = jaxlr.from_string(text)
    assert_close(schedule(np.arange(4)), 0.1 * 0.5 ** np.arange(4), HOST_RTOL)


# Lightning 2.6 calls the hook after epoch k with current_epoch == k: the rates are 0.1, 0.1, 0.05, 0.025.
TWICE = "gives the first two epochs one rate. Write scheduler.step()"
UNKNOWN = "not known to be the number of steps so far. Write scheduler.step()"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (module(PLAIN, "epoch=self.current_epoch"), TWICE),
        (module(PLAIN, "self.trainer.current_epoch"), TWICE),
        (module(PLAIN, "self.current_epoch", "on_train_epoch_end(self)"), TWICE),
        (module(PLAIN, "self.global_step"), UNKNOWN),
        (module(PER_BATCH, "self.current_epoch"), UNKNOWN),
        (module(PER_BATCH, "self.current_epoch + 1"), UNKNOWN),
        (module(PER_BATCH, "self.global_step + 1"), UNKNOWN),
    ],
)
def test_a_step_of_the_hook_with_another_count_is_refused(text, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        jaxlr.from_string(text)


FREQUENCIES = [
    "d = {'scheduler': scheduler}\n        d['frequency'] = 5\n        return [optimizer], [d]",
    "d = {'scheduler': scheduler}\n        d.update(frequency=5)\n        return [optimizer], [d]",
    "return [optimizer], [dict(scheduler=scheduler, frequency=5)]",
    "return [optimizer], [{'scheduler': scheduler, **{'frequency': 5}}]",
    "more = {'frequency': 5}\n        return [optimizer], [{'scheduler': scheduler, **more}]",
    "return {'optimizer': optimizer, 'lr_scheduler': dict(scheduler=scheduler, frequency=5)}",
    "d = [{'scheduler': scheduler, 'frequency': 5}]\n        return [optimizer], d",
    "return LRSchedulerConfigType(scheduler=scheduler, frequency=5)",
]


@pytest.mark.parametrize("returned", FREQUENCIES)
def test_a_frequency_is_refused_in_each_form_of_a_mapping(returned):
    with pytest.raises(ValueError, match="sets 'frequency': 5: set it to 1, and stretch the schedule with"):
        jaxlr.from_string(MODULE.format(returned, ""))
    schedule: Any = jaxlr.from_string(MODULE.format(returned.replace("5", "1"), ""))
    assert schedule(2) == 0.025


@pytest.mark.parametrize(
    ("item", "names"),
    [
        ("'frequency': self.freq", {"self.freq": 1}),
        ("**self.more", {"self.more": {"interval": "epoch"}}),
    ],
)
def test_a_frequency_that_is_not_known_is_asked_for(item, names):
    text = MODULE.format(f"return [optimizer], [{{'scheduler': scheduler, {item}}}]", "")
    with pytest.raises(ValueError, match=re.escape(f"give names={{{min(names)!r}: ...}}")):
        jaxlr.from_string(text)
    schedule: Any = jaxlr.from_string(text, names=names)
    assert schedule(2) == 0.025
