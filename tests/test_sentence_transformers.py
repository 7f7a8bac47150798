"""The settings of `fit` of sentence-transformers, beside the functions of transformers that it calls."""

from typing import Any

import numpy as np
import pytest
from framework_files import from_config, gives_rates, refuses
from helpers import HOST_RTOL, assert_close

import jaxlr


from_string: Any = jaxlr.from_string

CARD = """
## Training
The model was trained with the parameters:

**DataLoader**:

`torch.utils.data.dataloader.DataLoader` of length 500 with parameters:
```
{'batch_size': 16, 'sampler': 'torch.utils.data.sampler.RandomSampler'}
```

**Loss**:

`sentence_transformers.losses.CosineSimilarityLoss.CosineSimilarityLoss`

Parameters of the fit()-Method:
```
{
    "epochs": 2,
    "evaluation_steps": 500,
    "evaluator": "NoneType",
    "max_grad_norm": 1,
    "optimizer_class": "<class 'torch.optim.adamw.AdamW'>",
    "optimizer_params": {
        "lr": 2e-05
    },
    "scheduler": "WarmupLinear",
    "steps_per_epoch": null,
    "warmup_steps": 100,
    "weight_decay": 0.01
}
```
"""
CALL = """
model.fit(train_objectives=[(train_dataloader, train_loss)],
          epochs=1,
          warmup_steps=100,
          optimizer_params={"lr": 1e-4},
          scheduler="warmupcosine",
          steps_per_epoch=1100)
"""
DEFAULTS = "model.fit(train_objectives=[(train_dataloader, train_loss)], epochs=4)"
CONSTANT = '{"scheduler": "constantlr", "optimizer_params": {"lr": 0.5}}'
WARMED = {"scheduler": "WarmupConstant", "warmup_steps": 10, "optimizer_params": {"lr": "1e-3"}}
RESTARTS = {**WARMED, "scheduler": "warmupcosinewithhardrestarts", "epochs": 1}
CONFIGS = [  # a config, other arguments, num_counts, and rates by count
    (CARD, {}, 1000, {50: 1e-5, 100: 2e-5, 550: 1e-5, 1000: 0.0}),
    (CARD, {"steps_per_epoch": 80}, 160, {50: 1e-5, 100: 2e-5, 130: 1e-5}),
    (CALL, {}, 1100, {100: 1e-4, 600: 5e-5, 1100: 0.0}),
    (DEFAULTS, {"steps_per_epoch": 5000}, 20_000, {5000: 1e-5, 10_000: 2e-5}),
    (CONSTANT, {}, None, {0: 0.5, 99: 0.5}),
    (WARMED, {}, None, {5: 5e-4, 10: 1e-3, 99: 1e-3}),
    (RESTARTS, {"steps_per_epoch": 110}, 110, {10: 1e-3, 60: 5e-4, 110: 0.0}),
]


test_a_config_as_people_write_it_gives_its_rates = gives_rates(CONFIGS, "sentence_transformers", "update")


def test_the_curve_is_that_of_the_function_that_fit_calls():
    schedule = from_config(CARD).schedule
    expected = from_string("get_linear_schedule_with_warmup(optimizer, 100, 1000)", 2e-5)
    assert_close(schedule(np.arange(1000)), expected(np.arange(1000)), HOST_RTOL)


def test_a_recipe_has_the_optimizer_and_the_defaults_that_were_taken(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    recipe = from_config(tmp_path / "README.md")
    assert (recipe.optimizer, recipe.weight_decay, recipe.clip) == (
        "<class 'torch.optim.adamw.AdamW'>",
        0.01,
        1.0,
    )
    assert recipe.groups == ("weights", "biases and norms")
    assert from_config(DEFAULTS, steps_per_epoch=9).assumptions == (
        "The rate is 2e-05, the default of fit.",
        "warmup_steps is 10000, the default of fit.",
    )


@pytest.mark.parametrize(
    ("call", "given", "is_changed"),
    [
        (CALL, {}, False),
        (CALL, {"epochs": 2}, True),
        (CALL, {"epochs": 2, "steps_per_epoch": 9}, False),
        (DEFAULTS, {"steps_per_epoch": 9}, False),
        (DEFAULTS.replace("objectives=[", "objectives=[(b, loss), "), {"steps_per_epoch": 9}, True),
    ],
)
def test_a_length_that_later_versions_changed_is_an_assumption(call, given, is_changed):
    assumptions = from_config(call, **given).assumptions
    assert any("before sentence-transformers 3.0" in each for each in assumptions) == is_changed


REFUSED = [
    (
        {**WARMED, "scheduler": "WarmupPoly"},
        {},
        "scheduler must be one of 'constantlr'.*, got 'WarmupPoly'",
    ),
    (RESTARTS, {}, "give steps_per_epoch"),
    ({**RESTARTS, "epochs": None}, {"steps_per_epoch": 9}, "the config has no epochs: give epochs"),
    ({**WARMED, "optimizer_params": {"eps": 1}}, {}, "the config has no lr: give init_value"),
    ({**WARMED, "warmup_steps": 0.5}, {}, "warmup_steps must be a whole number"),
]


test_a_config_that_lacks_or_contradicts_something_is_refused_by_name = refuses(REFUSED)
