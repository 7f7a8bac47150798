"""Configs of every framework: formats, recognition, hostile files, and the lists in the documentation."""

import pickle
import re
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import jaxlr
from jaxlr.convert.foreign import CALLS
from jaxlr.convert.lines import line_of
from jaxlr.frameworks.files import read_config
from jaxlr.frameworks.forms import settings_of
from jaxlr.frameworks.registry import FRAMEWORKS


from_config: Any = jaxlr.from_config  # a type checker would ask which recipes are plateaus
ROOT = Path(__file__).parents[1]
LINEAR = {"learning_rate": 0.5, "lr_scheduler_type": "linear", "max_steps": 10}
WRITTEN = {
    "yaml": "learning_rate: 5e-1\nlr_scheduler_type: linear\nmax_steps: 10\n",
    "json": '{"learning_rate": 0.5, "lr_scheduler_type": "linear", "max_steps": 10}',
    "toml": 'learning_rate = 0.5\nlr_scheduler_type = "linear"\nmax_steps = 10\n',
    "sh": "python train.py \\\n --learning_rate 0.5 --lr_scheduler_type linear \\\n --max_steps=10\n",
    "py": "steps = 5\nlearning_rate = 1 / 2\nlr_scheduler_type = 'linear'\nmax_steps = 2 * steps\n",
}


@pytest.mark.parametrize("suffix", WRITTEN)
def test_every_format_is_read_from_a_file_and_from_its_text(suffix, tmp_path):
    path = tmp_path / f"config.{suffix}"
    path.write_text(WRITTEN[suffix])
    for config in (path, str(path), WRITTEN[suffix], LINEAR):
        recipe = from_config(config)
        assert (recipe.framework, recipe.num_counts, recipe.schedule(5)) == ("huggingface", 10, 0.25)


def test_a_variable_of_the_shell_may_be_assigned_twice():
    script = "if [ $A ]; then\n  MODEL=a\nelse\n  MODEL=b\nfi\n" + WRITTEN["sh"]
    assert from_config(script).schedule(5) == 0.25
    with pytest.raises(ValueError, match="the flag max_steps is given twice, with different values"):
        from_config(script + "\npython train.py --max_steps 20\n")


def test_a_framework_can_be_named():
    assert (
        from_config({"learning_rate": 0.5, "max_steps": 10}, framework="transformers").schedule(5) == 0.25
    )


@pytest.mark.parametrize(("name", "near"), [("Yolov5", "'yolov5' or 'yolo'"), ("mmengin", "'mmengine'")])
def test_a_name_of_no_framework_is_refused_with_the_nearest_names(name, near):
    with pytest.raises(ValueError, match=f"framework must be a known one, such as {near}.*, got {name!r}"):
        from_config(LINEAR, framework=name)


@pytest.mark.parametrize("name", ["keras", 3])
def test_a_name_that_is_near_to_none_is_refused_with_all_names(name):
    with pytest.raises(ValueError, match=f"framework must be one of .*, got {name!r}") as error:
        from_config(LINEAR, framework=name)
    assert {each.name for each in FRAMEWORKS} <= set(re.findall(r"'(\w+)'", str(error.value)))


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
def test_a_framework_whose_rules_have_versions_says_so(framework):
    source = Path(sys.modules[framework.read.__module__].__file__ or "").read_text()
    assert framework.has_versions == ("config.since(" in source or "version=version" in source)


def test_an_assumption_says_that_a_version_changes_nothing():
    flags = "--model mae_vit_large_patch16 --blr 1.5e-4 --epochs 20 --warmup_epochs 4 --batch_size 64"
    numbers: dict[str, Any] = {"num_processes": 1, "steps_per_epoch": 10}
    recipe = from_config(flags, version="0.6", **numbers)
    assert recipe.assumptions[0] == "version '0.6' changes nothing: jaxlr has one rule for mae."
    assert from_config(flags, **numbers).assumptions == recipe.assumptions[1:]
    assert not any("version" in each for each in from_config(LINEAR, version="4.46").assumptions)


def test_a_config_of_an_unknown_framework_is_refused():
    with pytest.raises(
        ValueError, match=r"of no known framework, its settings are \['optimizer', 'rate'\]"
    ):
        from_config({"optimizer": "sgd", "rate": 3})


SOLO_LEARN = """
optimizer: {name: lars, batch_size: 64, lr: 0.3, weight_decay: 1e-4}
scheduler: {name: warmup_cosine, warmup_start_lr: 0.003}
max_epochs: 100
"""


def test_a_config_of_gpt_neox_without_its_length_is_not_of_megatron():
    config = {"pipe_parallel_size": 1, "lr_decay_style": "cosine", "warmup": 0.01}
    with pytest.raises(ValueError, match="the config has no train_iters"):
        from_config(config, 0.1, epochs=10, steps_per_epoch=10)


def test_a_scheduler_beside_an_optimizer_is_not_enough_to_be_of_deepspeed():
    other = {"optimizer": {"type": "AdamW"}, "scheduler": {"type": "PolynomialLR"}, "rate": 1}
    for config in (SOLO_LEARN, other, {"optimizer": "adamw", "scheduler": "cosine", "rate": 1}):
        with pytest.raises(ValueError, match="of no known framework"):
            from_config(config)


def test_the_files_of_openmmlab_and_detectron2_are_recognized_before_the_classes_in_them():
    steps = {"type": "StepLR", "step_size": 1}
    sgd = {"_target_": "torch.optim.SGD", "lr": 0.1}
    lazy = {"train": {"max_iter": 9}, "optimizer": sgd}
    lazy["lr_multiplier"] = {"_target_": "CosineParamScheduler", "start_value": 1, "end_value": 0}
    assert from_config(lazy).framework == "detectron2"
    runner = {"optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}}, "train_cfg": {"max_epochs": 3}}
    assert from_config({"param_scheduler": steps, **runner}).framework == "mmengine"


EXPONENTIAL = {"_target_": "torch.optim.lr_scheduler.ExponentialLR", "gamma": 0.9}
TIMM = {"lr": 0.1, "epochs": 20, "warmup_epochs": 3, "warmup_lr": 0.01, "min_lr": 0.02}
NOAM = {"name": "NoamAnnealing", "d_model": 64, "min_lr": 1e-3, "warmup_steps": 5, "max_steps": 30}
# Schedules that are no composition of public functions.
PRIVATE = {
    "axolotl": {
        **{"base_model": "x", "learning_rate": 1e-3, "max_steps": 30, "jagged_restart_steps": 9},
        **{"warmup_steps": 6, "jagged_restart_warmup_steps": 3, "jagged_restart_anneal_steps": 4},
        "lr_scheduler": "one_cycle",
    },
    "lightning": {
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 1.0},
        "lr_scheduler": {"scheduler": EXPONENTIAL, "interval": "step", "frequency": 3},
    },
    "mae": {"lr": 0.1, "warmup_epochs": 2, "epochs": 6, "min_lr": 1e-3, "accum_iter": 3},
    "nemo": {"model": {"optim": {"name": "adamw", "lr": 0.001, "sched": NOAM}}},
    "timm k_decay": {**TIMM, "sched": "cosine", "lr_k_decay": 1.5},
    "timm rsqrt": {**TIMM, "sched": "rsqrt"},
    "CosineAnnealingWarmupRestarts": "max_lr=0.1, first_cycle_steps=10, warmup_steps=3, gamma=0.5",
}


@pytest.mark.parametrize("name", PRIVATE)
def test_a_schedule_of_no_public_function_prints_and_pickles_but_is_no_line(name):
    settings: Any = PRIVATE[name]
    if isinstance(settings, str):
        schedule: Any = jaxlr.from_string(f"{name}(optimizer, {settings})")
    else:
        batches = 10 if name in ("lightning", "mae") else None
        schedule = from_config(settings, steps_per_epoch=batches).schedule
    assert not repr(schedule).startswith("Schedule(")
    counts = list(range(40))
    copy = pickle.loads(pickle.dumps(schedule))
    assert [copy(count) for count in counts] == [schedule(count) for count in counts]
    with pytest.raises(ValueError, match="no public function of jaxlr makes this schedule"):
        line_of(schedule)


def test_values_may_be_traced():
    import jax

    rate = jax.jit(lambda lr: from_config(LINEAR, lr).schedule(5))
    assert rate(2.0) == 1.0


BILLION_LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1, y: 2}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n"
    for old, new in zip("abcdef", "bcdefg", strict=True)
)
HOSTILE = {
    "aliases that explode": (BILLION_LAUGHS, "more than 16 aliases"),
    "merges that explode": (MERGES, "more than 16 aliases"),
    "deep YAML": ("a: " + "[" * 5000 + "]" * 5000, "nested too deeply"),
    "deep block YAML": ("\n".join(" " * n + "a:" for n in range(300)), "nested too deeply"),
    "an object": ("a: !!python/object/apply:os.system ['echo hi']\n", "could not determine a constructor"),
    "a name of Python": ("a: !!python/name:os.system\n", "could not determine a constructor"),
    "a huge integer": ("learning_rate: " + "9" * 5000 + "\n", "cannot read the YAML config"),
    "a long text": ("a: 1\n" * 50_000, "at most 100000 characters"),
    "many values": (
        "\n".join(f"a{n}: [1,2,3,4,5,6]" for n in range(4000)),
        "too many values|at most 20000",
    ),
    "a bad character": ("a: \x00\n", "cannot read the YAML config"),
    "an anchor to itself": ("a: &a [*a]\n", "nested too deeply|at most"),
    "a list": ("- a\n- b\n", "must hold settings by name"),
    "deep JSON": ('{"a": ' + "[" * 50_000, "nested too deeply|cannot read the"),
    "broken JSON": ('{"a": ', "cannot read the"),
    "deep Python": (
        "param_scheduler = dict(a=" + "(" * 300 + ")" * 300 + ")",
        "cannot read the Python config",
    ),
    "deep lists of Python": ("a = dict(b=" + "[" * 90 + "]" * 90 + ")", "nested too deeply"),
    "a power of Python": ("learning_rate = dict(a=9**9**9**9)\n", "of no known framework"),
    "a long dotted key of TOML": ("[" + ".".join(["a"] * 40_000) + "]\n", "nested too deeply"),
    "a long quoted key of TOML": ("[a]\n" + ".".join(['"a"'] * 20_000) + " = 1\n", "nested too deeply"),
    "a long line in a card": ("- learning_rate: 0.1\n- a" + " " * 99_000, "of no known framework"),
    "blanks in a card": ("- learning_rate: 0.1\n" + " " * 99_000 + "x", "of no known framework"),
    "blank lines": ("a" + "\n" * 98_000 + "x", "must hold settings by name"),
    "nothing": (" \n", "the config is empty"),
    "an empty text": ("", "the config is empty"),
    "a zero byte": ("a\0.yaml", "cannot read the YAML config"),
    "deep keywords": (
        "--learning_rate 1 --lr_scheduler_type cosine --max_steps 9 --lr_scheduler_kwargs " + "[" * 90_000,
        "lr_scheduler_kwargs must be JSON",
    ),
    "many rules": (
        "--learning_rate 1 --lr_scheduler piecewise_constant --max_train_steps 9 --step_rules "
        + "1" * 90_000
        + ":",
        "step_rules must be like",
    ),
    "an unclosed quote": ("python train.py --lr 'a\n", "of no known framework"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_one_clear_line_in_bounded_time(name):
    text, message = HOSTILE[name]
    start = time.perf_counter()
    with pytest.raises(ValueError, match=message) as error:
        from_config(text)
    assert time.perf_counter() - start < 5
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 1000


def test_lists_of_data_files_do_not_make_a_config_too_long(tmp_path):
    text = "learning_rate: 0.5\nlr_scheduler_type: constant\npaths:\n" + "  - s3://a/part-1.npy\n" * 9000
    (tmp_path / "a.yaml").write_text(text + "max_steps: 9\n")
    assert from_config(text).schedule(0) == from_config(tmp_path / "a.yaml").schedule(0) == 0.5
    assert from_config(tmp_path / "a.yaml").num_counts == 9
    (tmp_path / "a.yaml").write_text(text * 9)
    with pytest.raises(ValueError, match="at most 100000 characters: leave out lists"):
        from_config(tmp_path / "a.yaml")


def test_many_aliases_of_a_small_section_are_read():
    runs = "".join(f"run{number}: {{<<: *base, max_steps: {number}}}\n" for number in range(1, 99))
    text = f"base: &base\n  lr_scheduler_type: constant\n  learning_rate: 0.5\n{runs}"
    assert read_config(text)["run98"] == {
        "lr_scheduler_type": "constant",
        "learning_rate": 0.5,
        "max_steps": 98,
    }


@pytest.mark.parametrize(
    "config",
    [
        ["--a", *["x"] * 1_000_000],
        ["--learning_rate", "1" * 1_000_000],
        {"a": [0] * 10_000_000},
        {"sched": "cosine", "epochs": 9, "lr": 1, "lr_cycle_limit": 200, "lr_cycle_mul": 1e300},
        {"sched": "step", "epochs": 9, "lr": 1, "decay_epochs": 1e300},
        {
            **{"lr_scheduler_type": "greedy", "learning_rate": 1},
            "lr_scheduler_kwargs": {"smooth": True, "window_size": 1e12},
        },
    ],
    ids=range(6),
)
def test_a_large_value_is_one_clear_line_in_bounded_time(config):
    start = time.perf_counter()
    with pytest.raises(ValueError, match=r"must (be|have)") as error:
        from_config(config)
    assert time.perf_counter() - start < 5
    assert "\n" not in str(error.value)


def test_a_broken_json_text_is_an_error_of_json():
    with pytest.raises(ValueError, match="cannot read the JSON config: Expecting"):
        from_config('{"learning_rate": 0.1, "lr_scheduler_type"')
    assert from_config("{learning_rate: 0.5, lr_scheduler_type: constant}").schedule(0) == 0.5


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "python src/train.py model=vit +model.optimizer.lr=0.002",
            "such as 'model.optimizer.lr=0.002': give that",
        ),
        ("python a.py --config-path=conf --config-name=asr model.optim.lr=0.1", "names a config of Hydra"),
    ],
)
def test_a_command_of_hydra_is_refused_without_its_config(command, message):
    with pytest.raises(ValueError, match=message):
        from_config(command)


def test_a_mapping_that_contains_itself_is_refused():
    config: dict[str, object] = {"learning_rate": 0.1}
    config["a"] = config
    with pytest.raises(ValueError, match="nested too deeply"):
        from_config(config)


def test_a_python_config_is_never_executed(tmp_path):
    path = tmp_path / "config.py"
    path.write_text(
        f"open({str(tmp_path / 'made')!r}, 'w')\nlearning_rate = __import__('os').getpid()\n"
        "lr_scheduler_type = 'constant'\n"
    )
    with pytest.raises(
        ValueError, match=r"learning_rate is .*which has no value in the config: give names="
    ):
        from_config(path)
    assert not (tmp_path / "made").exists()
    assert from_config(path, names={"__import__('os').getpid()": 0.5}).schedule(0) == 0.5


def test_the_flags_that_a_program_takes_are_no_settings():
    program = (
        "import argparse\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--lr', type=float)\nparser.add_argument('--n', type=int)"
    )
    assert settings_of(program) is None


@pytest.mark.parametrize("head", ["def main():", "class Trainer:", "async def main():"])
def test_the_variables_of_a_function_are_no_settings(head):
    text = f"{head}\n    learning_rate = 1e-3\n    lr_scheduler_type = 'cosine'\n    max_steps = 10\nx = 1"
    with pytest.raises(ValueError, match="the config is of no known framework"):
        jaxlr.from_config(text)
    changed = "learning_rate = 1e-3\nlr_scheduler_type = 'linear'\nmax_steps = 10\n" + text
    with pytest.raises(ValueError, match="which has no value in the config"):
        jaxlr.from_config(changed)


def test_a_file_that_cannot_be_read_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        from_config(tmp_path / "missing.yaml")
    (tmp_path / "a.bin").write_bytes(b"lr: 1")
    with pytest.raises(ValueError, match=r"cannot tell the format of 'a\.bin'"):
        from_config(tmp_path / "a.bin")
    (tmp_path / "a.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ValueError, match=r"a.yaml is not a text in UTF-8"):
        from_config(tmp_path / "a.yaml")
    with pytest.raises(
        TypeError, match="config must be a mapping, a path, a text or a list of flags, got 3"
    ):
        from_config(3)


def test_yaml_without_pyyaml_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(ModuleNotFoundError, match="needs PyYAML: pip install pyyaml"):
        from_config(WRITTEN["yaml"])


@pytest.mark.parametrize("framework", FRAMEWORKS, ids=[framework.name for framework in FRAMEWORKS])
def test_every_framework_has_a_page_or_a_section(framework):
    assert f" | `{framework.name}` | " in (ROOT / "docs/frameworks/index.md").read_text()


def test_every_call_is_documented():
    pages = "".join(path.read_text() for path in (ROOT / "docs/frameworks").glob("*.md"))
    missing = [name for name in CALLS if name not in pages and name != "get_piecewise_constant_schedule"]
    assert not missing


def test_the_calls_are_no_classes_of_torch():
    from jaxlr.convert.classes import CLASSES

    assert not {*CALLS} & {*CLASSES}
    assert {call.__name__: (each.name, call) for each in FRAMEWORKS for call in each.calls} == CALLS
    assert jaxlr.Recipe._fields[:3] == ("schedule", "unit", "num_counts")
