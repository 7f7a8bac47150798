"""The compiled programs in the folder of a run: a resumed run computes with the same ones."""

import shutil
from typing import Any

import jax
import pytest
from folders import assert_same_run, metrics, small_mnist, train_here
from jax._src import compilation_cache  # pyright: ignore[reportPrivateImportUsage]
from processes import ENVIRONMENT, finish, start, wait_for_epoch

from jaxlr.train import SweepConfig, TrainConfig, chunks, mlp, program, sweep, train
from jaxlr.train.device.compiler import compiler_options, start_options, times_kernels
from jaxlr.train.errors import CheckpointError
from jaxlr.train.groups import Device
from jaxlr.train.output import run_programs
from jaxlr.train.output.run_programs import RunPrograms


pytestmark = pytest.mark.usefixtures("undrawn_figures")

SMALL = {"hidden": (8,), "epochs": 2, "quiet": True, "dataset": "mnist"}


class Cache(dict):
    """A program cache in memory, in the place of JAX's."""

    put = dict.__setitem__

    @property
    def names(self):
        return {key.split("-")[0] for key in self}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return the settings of a finished run, and the programs that it compiled."""
    folder = tmp_path_factory.mktemp("trained")
    data = small_mnist(folder / "mnist")
    config = TrainConfig.from_flags(**SMALL, data_dir=data, out=folder / "run")
    with pytest.MonkeyPatch.context() as patch:
        programs = Cache()
        patch.setattr(compilation_cache, "_cache", programs)
        train(config)
    return config, programs


@pytest.fixture
def cache(trained, monkeypatch):
    """Give JAX the program cache of the user, with all programs of the run."""
    cache = Cache(trained[1])
    monkeypatch.setattr(compilation_cache, "_cache", cache)
    return cache


@pytest.fixture
def resumed(trained, tmp_path):
    """Return the settings to resume a copy of the run for one more epoch."""
    shutil.copytree(trained[0].output.out, tmp_path / "run")
    return trained[0].replace(out=tmp_path / "run", resume=True, epochs=3)


@pytest.fixture
def new(trained, tmp_path):
    """Return the settings of a new run."""
    return trained[0].replace(out=tmp_path / "new")


@pytest.fixture
def on_gpu(monkeypatch):
    """Let a run on this CPU believe that its kernels are chosen by timing, as on a GPU."""
    monkeypatch.setattr(run_programs, "times_kernels", lambda device: times_kernels(device, "gpu"))


def programs_of(config):
    return RunPrograms(config.output.out, "jit_run_epoch", config)


def bits_warnings(recwarn):
    return [str(warning.message) for warning in recwarn if "bits" in str(warning.message)]


@pytest.mark.heavy
def test_after_a_kill_and_without_the_users_cache_a_moved_run_compiles_no_epoch(tmp_path):
    """The real command. Its log shows where each program comes from."""
    data = small_mnist(tmp_path / "mnist")
    fixed = ["--dataset", "mnist", "--data-dir", data, "--hidden", 8, "--epochs", 60]
    environment = ENVIRONMENT | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_DEBUG_LOG_MODULES": "jax._src.compiler",
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    out = ["--checkpoint-every", 1, "--out", tmp_path / "run"]
    with start(*fixed, *out, env=environment | {"JAX_DEBUG_LOG_MODULES": ""}) as process:
        assert wait_for_epoch(process, 3)
        process.kill()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "run").rename(tmp_path / "moved")
    resume = ["--resume", "--checkpoint-every", 1000, "--out", tmp_path / "moved"]
    status, _, log = finish(*resume, env=environment)
    assert status == 0, log
    assert "cache hit for 'jit_run_epoch'" in log
    assert "CACHE MISS for 'jit_run_epoch'" not in log
    assert_same_run(tmp_path / "moved", train_here(fixed, tmp_path / "unbroken"))


def test_a_resumed_run_takes_its_programs_from_its_folder(resumed, new, cache):
    path = resumed.output.out / "programs.zip"
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    train(new.replace(epochs=3))
    cache.clear()
    train(resumed)
    assert "jit_run_epoch" not in cache.names
    assert path.read_bytes() == content
    assert metrics(resumed.output.out) == metrics(new.output.out)


def test_a_resumed_sweep_takes_its_programs_from_its_folder(trained, cache, tmp_path):
    runs = {"seeds": 2, "lr": (0.1,), "scheduler": ("StepLR(1)",), "chunk": 1}
    config = SweepConfig.from_flags(
        **SMALL, **runs, data_dir=trained[0].data.data_dir, out=tmp_path / "sweep"
    )
    rows = sweep(config)
    assert "jit_continue_run" in cache.names
    last = tmp_path / "sweep" / "checkpoints" / "3"
    shutil.rmtree(last)
    cache.clear()
    assert sweep(config.replace(resume=True)) == rows
    assert last.exists()
    assert "jit_continue_run" not in cache.names


def test_the_users_cache_folder_is_no_part_of_the_key(resumed, cache, tmp_path):
    settings: Any = jax.config
    before = settings.jax_compilation_cache_dir
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "of another user"))
    cache.clear()
    try:
        train(resumed)
    finally:
        jax.config.update("jax_compilation_cache_dir", before)
    assert "jit_run_epoch" not in cache.names


def test_the_programs_of_the_run_come_before_those_of_the_cache(resumed, cache):
    own = dict(cache)
    for key in cache:
        cache[key] = b"compiled at another time, with other kernels"
    programs = programs_of(resumed)
    with programs.in_use():
        assert compilation_cache._cache is programs
        assert all(programs.get(key) == program for key, program in own.items() if "epoch" in key)
        assert programs.get("jit_unknown-0") is None
    assert compilation_cache._cache is cache


def test_programs_of_another_machine_or_version_are_kept_but_not_used(resumed, trained, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(run_programs, "numerics", lambda: {"device": "another"})
        other = programs_of(resumed)
        assert all(other.get(key) is None for key in trained[1])
        other.put("jit_run_epoch-1", b"of another machine")
        other.write()
    programs = programs_of(resumed)
    assert programs.get("jit_run_epoch-1") is None
    assert all(programs.get(key) == program for key, program in trained[1].items() if "epoch" in key)


def test_a_damaged_program_is_compiled_again(resumed, cache):
    path = resumed.output.out / "programs.zip"
    whole = path.read_bytes()
    original = programs_of(resumed)._programs.values()
    for position in range(0, len(whole), len(whole) // 97):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        assert all(program in original for program in programs_of(resumed)._programs.values())
    for length in range(0, len(whole), len(whole) // 7):
        path.write_bytes(whole[:length])
        assert not programs_of(resumed)._programs
    train(resumed)
    assert programs_of(resumed)._readable


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_programs_that_others_can_write_are_not_executed(resumed, on_gpu, mode):
    assert programs_of(resumed)._programs
    (resumed.output.out / "programs.zip").chmod(mode)
    with pytest.warns(UserWarning, match="are not used: it belongs to another user, or others can write"):
        programs = programs_of(resumed)
    assert not programs._programs


def test_missing_programs_are_named_on_a_gpu(new, cache, on_gpu, recwarn):
    train(new)
    resumed = new.replace(resume=True, epochs=3, strict=True)
    train(resumed)
    assert not bits_warnings(recwarn)
    (new.output.out / "programs.zip").unlink()
    change = r"program was '\w{16}', now 'compiled again'"
    with pytest.raises(CheckpointError, match=change + r"\): drop --strict"):
        train(resumed.replace(epochs=4))
    with pytest.warns(UserWarning, match=f"bits may differ .* {change}$"):
        train(resumed.replace(epochs=4, strict=False))
    train(resumed.replace(epochs=5))  # with the program that was compiled again


def test_without_kept_programs_a_resume_is_named_on_a_gpu(new, cache, on_gpu):
    new = new.replace(compilation_cache=False)
    train(new)
    assert not (new.output.out / "programs.zip").exists()
    with pytest.warns(UserWarning, match="program was 'not kept', now 'compiled again'"):
        train(new.replace(resume=True, epochs=3))


@pytest.mark.parametrize("flag", [{"deterministic": True}, {"autotune": False}, {}])
def test_where_kernels_are_not_timed_any_program_will_do(new, cache, monkeypatch, recwarn, flag):
    platform = "gpu" if flag else "cpu"
    monkeypatch.setattr(run_programs, "times_kernels", lambda device: times_kernels(device, platform))
    train(new.replace(**flag))
    (new.output.out / "programs.zip").unlink()
    train(new.replace(resume=True, epochs=3, strict=True, **flag))
    assert not bits_warnings(recwarn)


def test_other_options_of_the_compiler_are_named(resumed, cache, monkeypatch):
    monkeypatch.setattr(run_programs, "compiler_options", lambda device: compiler_options(device, "gpu"))
    resumed = resumed.replace(deterministic=True)
    with pytest.raises(CheckpointError, match="compiler options was '', now 'xla_gpu_autotune_level=0 xla"):
        train(resumed.replace(strict=True))
    with pytest.warns(UserWarning, match="compiler options was ''"):
        train(resumed)


NO_TIMING = {"xla_gpu_autotune_level": 0, "xla_gpu_per_fusion_autotune_cache_dir": ""}
OPTIONS = {
    "tuned": {},
    "no_autotune": NO_TIMING,
    "deterministic": NO_TIMING | {"xla_gpu_deterministic_ops": True},
}
FLAGS = {"tuned": {}, "no_autotune": {"autotune": False}, "deterministic": {"deterministic": True}}


@pytest.mark.parametrize("name", OPTIONS)
def test_the_options_of_the_compiler_depend_on_flags_and_platform(name):
    device = Device(**FLAGS[name])
    assert compiler_options(device, "gpu") == OPTIONS[name]
    assert times_kernels(device, "gpu") == (name == "tuned")
    for platform in ("cpu", "tpu"):
        assert compiler_options(device, platform) == {}
        assert not times_kernels(device, platform)


@pytest.mark.parametrize("name", OPTIONS)
def test_xla_knows_the_options(name):
    """The parser of options is the same on all platforms, so a CPU accepts those of a GPU."""
    program = jax.jit(lambda x: x + 1, compiler_options=OPTIONS[name])
    assert program(1.0) == 2.0


@pytest.mark.parametrize(
    ("kind", "run", "module"), [(TrainConfig, train, program), (SweepConfig, sweep, chunks)]
)
def test_the_options_reach_the_compiler(new, monkeypatch, kind, run, module):
    monkeypatch.setattr(module, "compiler_options", lambda device: {"xla_gpu_no_such_option": 1})
    settings = kind.from_flags(**SMALL, data_dir=new.data.data_dir, out=new.output.out)
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_gpu_no_such"):
        run(settings)


def test_a_quick_compilation_gives_the_same_initial_weights():
    init, _ = mlp([16, 8])
    states = [
        jax.jit(init, compiler_options=options)(jax.random.key(3)) for options in ({}, start_options())
    ]
    first, second = (jax.tree.leaves(state) for state in states)
    assert all((leaf == other).all() for leaf, other in zip(first, second, strict=True))
