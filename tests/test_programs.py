"""The program cache: programs are reused, damaged ones replaced, and the oldest ones deleted."""

import os
import shutil
import stat
import warnings
import zlib
from types import ModuleType
from typing import Any

import jax
import pytest
from folders import arrays, metrics, small_mnist
from jax._src import compilation_cache  # pyright: ignore[reportPrivateImportUsage]
from processes import ENVIRONMENT, finish

from jaxlr.train.device import programs
from jaxlr.train.workarounds import compress_with_checksums, discard_damaged_programs


pytestmark = pytest.mark.heavy


def run_in(folder, name, *flags, **settings):
    """Train a small run with a program cache of its own. Return the folder of the run and its stderr."""
    data = folder / "mnist" if (folder / "mnist").exists() else small_mnist(folder / "mnist")
    environment = ENVIRONMENT | {"XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    fixed = ("--dataset", "mnist", "--data-dir", data, "--epochs", 2, "--hidden")  # a linear model
    status, _, err = finish(*fixed, *flags, "--out", folder / name, env=environment | settings)
    assert status == 0, err
    return folder / name, err


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Return a folder with a run, `cold`, and the cache of the programs that it compiled."""
    folder = tmp_path_factory.mktemp("compiled")
    run_in(folder, "cold")
    return folder


@pytest.fixture
def folder(compiled, tmp_path):
    """Return a copy of that folder."""
    return shutil.copytree(compiled, tmp_path / "copy")


def entries(folder):
    return {path.name: path.read_bytes() for path in (folder / "cache/jaxlr/programs").glob("*")}


def test_a_second_run_compiles_nothing_and_has_the_same_bits(folder):
    assert stat.S_IMODE((folder / "cache/jaxlr/programs").stat().st_mode) == 0o700
    cold = folder / "cold"
    warm, log = run_in(folder, "warm", JAX_DEBUG_LOG_MODULES="jax._src.compiler")
    assert "cache hit for 'jit_run_epoch'" in log
    assert "CACHE MISS" not in log
    assert metrics(warm) == metrics(cold)
    assert arrays(warm, 1) == arrays(cold, 1)


def test_half_written_programs_are_replaced_without_a_warning(folder):
    whole = entries(folder)
    for name, content in whole.items():
        (folder / "cache/jaxlr/programs" / name).write_bytes(content[: len(content) // 2])
    healed, err = run_in(folder, "healed")
    assert not err
    assert metrics(healed) == metrics(folder / "cold")
    assert entries(folder).keys() == whole.keys()
    assert all(len(content) > len(whole[name]) // 2 + 1 for name, content in entries(folder).items())


def test_the_cache_is_not_used_with_no_compilation_cache(tmp_path):
    run_in(tmp_path, "off", "--no-compilation-cache")
    assert not (tmp_path / "cache/jaxlr/programs").exists()


def test_a_folder_of_the_user_is_used_instead_of_the_cache(tmp_path, monkeypatch):
    """All tests have such a folder."""
    for name in ("zstd", "zstandard"):  # restored after the test, like the one below
        monkeypatch.setattr(compilation_cache, name, None, raising=False)
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    programs.keep_programs()
    settings: Any = jax.config
    assert settings.jax_compilation_cache_dir == os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_created_is_one_warning(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/jaxlr").write_text("a file where a folder should be")
    _, err = run_in(tmp_path, "out")
    (line,) = err.splitlines()
    assert line.startswith("jaxlr: warning: compiled programs are not kept: ")


def test_a_cache_that_others_can_write_to_is_refused(tmp_path):
    programs._create(tmp_path / "own")
    programs._create(tmp_path / "own")
    for mode in (0o777, 0o720):
        (tmp_path / "own").chmod(mode)
        with pytest.raises(PermissionError, match="other users can write"):
            programs._create(tmp_path / "own")


def test_a_full_disk_is_one_warning(tmp_path, recwarn):
    (tmp_path / "jit_f-1-cache").write_text("half of it")
    show = warnings.showwarning
    discard_damaged_programs(tmp_path)
    fault = "Error writing persistent compilation cache entry for 'jit_{}': OSError: no space left"
    for name in "fgh":
        warnings.showwarning(UserWarning(fault.format(name)), UserWarning, "compiler.py", 1)
    warnings.showwarning = show
    (warning,) = recwarn
    assert str(warning.message) == "compiled programs are not kept: OSError: no space left"
    assert not list(tmp_path.iterdir())


def test_the_programs_unused_for_longest_are_deleted(tmp_path, monkeypatch):
    for age, name in enumerate(["newest", "middle", "oldest"]):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (10**9 - age, 10**9 - age))
    (tmp_path / "xla_gpu_per_fusion_autotune_cache_dir").mkdir()
    os.utime(tmp_path / "xla_gpu_per_fusion_autotune_cache_dir", (1, 1))
    monkeypatch.setattr(programs, "_MAX_BYTES", 250)
    programs._discard_oldest(tmp_path)
    kept = ["middle", "newest", "xla_gpu_per_fusion_autotune_cache_dir"]
    assert sorted(path.name for path in tmp_path.iterdir()) == kept


def test_an_old_program_that_was_used_recently_is_kept(tmp_path, monkeypatch):
    for name, used, written in (("used", 9, 1), ("written", 1, 9), ("neither", 2, 2)):
        (tmp_path / name).write_bytes(bytes(100))
        os.utime(tmp_path / name, (10**9 + used, 10**9 + written))
    monkeypatch.setattr(programs, "_MAX_BYTES", 250)
    programs._discard_oldest(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["used", "written"]


def test_a_flipped_bit_in_a_program_is_found_even_where_zstandard_is_installed(monkeypatch):
    for name in ("zstd", "zstandard"):  # restored after the test
        monkeypatch.setattr(compilation_cache, name, ModuleType(name))
    compress_with_checksums()
    packed = bytearray(compilation_cache.compress_executable(b"a program" * 100))
    packed[len(packed) // 2] ^= 1
    with pytest.raises(zlib.error):
        compilation_cache.decompress_executable(bytes(packed))


def test_other_warnings_are_still_shown(tmp_path, recwarn, monkeypatch):
    monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)  # restores it after the test
    discard_damaged_programs(tmp_path)
    warnings.warn("something else", UserWarning, stacklevel=1)
    (warning,) = recwarn
    assert str(warning.message) == "something else"
