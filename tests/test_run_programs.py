"""The compiled programs in the folder of a run: a resumed run computes with the same ones."""

import shutil
import zipfile

import jax
import pytest
from folders import assert_same_run, metrics, small_mnist, unbroken_run
from jax._src import compilation_cache  # pyright: ignore[reportPrivateImportUsage]
from processes import ENVIRONMENT, finish, start, wait_for_epoch

from jaxlr.train import SweepConfig, TrainConfig, chunks, loop, sweep, train
from jaxlr.train.config import Device
from jaxlr.train.device.compiler import compiler_options, times_kernels
from jaxlr.train.errors import CheckpointError
from jaxlr.train.output import run_programs
from jaxlr.train.output.run_programs import RunPrograms


SMALL = {"hidden": (8,), "epochs": 2, "quiet": True, "dataset": "mnist"}


class Cache(dict):
    """A program cache in memory, in the place of JAX's."""

    put = dict.__setitem__

    @property
    def names(self):
        return {key.split("-")[0] for key in self}


@pytest.fixture
def cache(monkeypatch):
    cache = Cache()
    monkeypatch.setattr(compilation_cache, "_cache", cache)
    return cache


@pytest.fixture
def config(tmp_path):
    data = small_mnist(tmp_path / "mnist")
    return TrainConfig.from_flags(**SMALL, data_dir=data, out=tmp_path / "run")


@pytest.fixture
def on_gpu(monkeypatch):
    """Let a run on this CPU believe that its programs depend on timing, as on a GPU."""
    monkeypatch.setattr(run_programs, "times_kernels", lambda device: times_kernels(device, "gpu"))


@pytest.mark.heavy
def test_after_a_kill_and_without_the_users_cache_a_moved_run_compiles_no_epoch(tmp_path):
    """The real command. Its log shows where each program comes from."""
    data = small_mnist(tmp_path / "mnist")
    fixed = ["--dataset", "mnist", "--data-dir", data, "--hidden", 8, "--epochs", 200]
    environment = ENVIRONMENT | {
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "JAX_DEBUG_LOG_MODULES": "jax._src.compiler",
    }
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    every = ["--checkpoint-every", 1]
    with start(*fixed, *every, "--out", tmp_path / "run", env=environment) as process:
        assert wait_for_epoch(process, 3)
        process.kill()
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "run").rename(tmp_path / "moved")
    status, _, log = finish("--resume", "--out", tmp_path / "moved", env=environment)
    assert status == 0, log
    assert "cache hit for 'jit_run_epoch'" in log
    assert "CACHE MISS for 'jit_run_epoch'" not in log
    assert_same_run(tmp_path / "moved", unbroken_run(fixed, tmp_path / "unbroken"))


def test_a_resumed_run_takes_its_programs_from_its_folder(config, cache, tmp_path):
    train(config)
    assert "jit_run_epoch" in cache.names
    path = config.output.out / "programs.zip"
    assert path.stat().st_mode & 0o777 == 0o600
    content = path.read_bytes()
    cache.clear()
    train(config.replace(resume=True, epochs=4))
    assert "jit_run_epoch" not in cache.names
    assert path.read_bytes() == content
    unbroken = config.replace(epochs=4, out=tmp_path / "unbroken")
    train(unbroken)
    assert metrics(config.output.out) == metrics(unbroken.output.out)


def test_a_resumed_sweep_takes_its_programs_from_its_folder(config, cache, tmp_path, monkeypatch):
    flags = {
        **SMALL,
        "data_dir": config.data.data_dir,
        "seeds": 2,
        "lr": (0.1,),
        "scheduler": ("StepLR(1)",),
    }
    settings = SweepConfig.from_flags(**flags, out=tmp_path / "sweep", chunk=1)
    rows = sweep(settings)
    last = settings.output.out / "checkpoints" / "3"
    shutil.rmtree(last)
    cache.clear()
    assert sweep(settings.replace(resume=True)) == rows
    assert last.exists()
    assert "jit_continue_run" not in cache.names


def test_the_programs_of_the_run_come_before_those_of_the_cache(config, cache):
    train(config)
    own = dict(cache)
    for key in cache:
        cache[key] = b"compiled at another time, with other kernels"
    programs = RunPrograms(config.output.out, "jit_run_epoch", config.replace(resume=True))
    with programs.in_use():
        assert compilation_cache._cache is programs
        assert all(programs.get(key) == program for key, program in own.items() if "epoch" in key)
        assert programs.get("jit_unknown-0") is None
    assert compilation_cache._cache is cache


def test_programs_of_another_machine_or_version_are_kept_but_not_used(config, cache, monkeypatch):
    train(config)
    with monkeypatch.context() as patch:
        patch.setattr(run_programs, "numerics", lambda: {"device": "another"})
        other = RunPrograms(config.output.out, "jit_run_epoch", config.replace(resume=True))
        assert all(other.get(key) is None for key in cache)
        other.put("jit_run_epoch-1", b"of another machine")
        other.write()
    cache_of_run = RunPrograms(config.output.out, "jit_run_epoch", config.replace(resume=True))
    assert cache_of_run.get("jit_run_epoch-1") is None
    assert any(cache_of_run.get(key) == cache[key] for key in cache if "epoch" in key)


def test_a_damaged_program_is_compiled_again(config, cache):
    train(config)
    path = config.output.out / "programs.zip"
    whole = path.read_bytes()
    original = RunPrograms(config.output.out, "", config.replace(resume=True))._programs
    for position in range(0, len(whole), len(whole) // 97):
        damaged = bytearray(whole)
        damaged[position] ^= 1
        path.write_bytes(damaged)
        found = RunPrograms(config.output.out, "", config.replace(resume=True))._programs
        assert set(found.items()) <= set(original.items()) or len(found) <= len(original)
        assert all(program in original.values() for program in found.values())
    for length in range(0, len(whole), len(whole) // 7):
        path.write_bytes(whole[:length])
        assert not RunPrograms(config.output.out, "", config.replace(resume=True))._programs
    cache.clear()
    train(config.replace(resume=True, epochs=3))
    assert "jit_run_epoch" in cache.names
    assert zipfile.is_zipfile(path)


@pytest.mark.parametrize("mode", [0o666, 0o620])
def test_programs_that_others_can_write_are_not_executed(config, cache, on_gpu, mode):
    train(config)
    (config.output.out / "programs.zip").chmod(mode)
    with pytest.warns(UserWarning, match="are not used: it belongs to another user, or others can write"):
        programs = RunPrograms(config.output.out, "jit_run_epoch", config.replace(resume=True))
    assert not programs._programs


def test_missing_programs_are_named_on_a_gpu(config, on_gpu, recwarn):
    train(config)
    train(config.replace(resume=True, epochs=3, strict=True))
    assert not [str(warning.message) for warning in recwarn if "bits" in str(warning.message)]
    (config.output.out / "programs.zip").unlink()
    with pytest.raises(
        CheckpointError, match=r"program was '\w{16}', now 'compiled again'\): drop --strict"
    ):
        train(config.replace(resume=True, epochs=4, strict=True))
    with pytest.warns(UserWarning, match=f"bits may differ .* {change}$"):
        train(config.replace(resume=True, epochs=4))
    train(config.replace(resume=True, epochs=5, strict=True))  # with the program that was compiled again


def test_without_kept_programs_a_resume_is_named_on_a_gpu(config, on_gpu):
    config = config.replace(compilation_cache=False)
    train(config)
    assert not (config.output.out / "programs.zip").exists()
    with pytest.warns(UserWarning, match="program was 'not kept', now 'compiled again'"):
        train(config.replace(resume=True, epochs=3))


@pytest.mark.parametrize("flag", [{"deterministic": True}, {"autotune": False}, {}])
def test_a_resume_does_not_need_the_programs_where_kernels_are_not_timed(
    config, monkeypatch, recwarn, flag
):
    platform = "gpu" if flag else "cpu"
    monkeypatch.setattr(run_programs, "times_kernels", lambda device: times_kernels(device, platform))
    train(config.replace(**flag))
    (config.output.out / "programs.zip").unlink()
    train(config.replace(resume=True, epochs=3, strict=True, **flag))
    assert not [str(warning.message) for warning in recwarn if "bits" in str(warning.message)]


def test_other_options_of_the_compiler_are_named(config, monkeypatch):
    monkeypatch.setattr(run_programs, "compiler_options", lambda device: compiler_options(device, "gpu"))
    train(config)
    changed = config.replace(resume=True, epochs=3, deterministic=True)
    with pytest.raises(CheckpointError, match="compiler options was '', now 'xla_gpu_autotune_level=0 xla"):
        train(changed.replace(strict=True))
    with pytest.warns(UserWarning, match="compiler options was ''"):
        train(changed)


OPTIONS = {
    "tuned": {},
    "no_autotune": {"xla_gpu_autotune_level": 0},
    "deterministic": {"xla_gpu_autotune_level": 0, "xla_gpu_deterministic_ops": True},
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
    assert compiler_options(device) == {}  # the tests run on a CPU


@pytest.mark.parametrize("name", OPTIONS)
def test_xla_knows_the_options(name):
    """The parser of options is the same on all platforms, so a CPU accepts those of a GPU."""
    program = jax.jit(lambda x: x + 1, compiler_options=OPTIONS[name])
    assert program(1.0) == 2.0


@pytest.mark.parametrize(
    ("kind", "run", "module"), [(TrainConfig, train, loop), (SweepConfig, sweep, chunks)]
)
def test_the_options_reach_the_compiler(config, monkeypatch, kind, run, module):
    monkeypatch.setattr(module, "compiler_options", lambda device: {"xla_gpu_no_such_option": 1})
    settings = kind.from_flags(**SMALL, data_dir=config.data.data_dir, out=config.output.out)
    with pytest.raises(jax.errors.JaxRuntimeError, match="No such compile option: 'xla_gpu_no_such"):
        run(settings)
