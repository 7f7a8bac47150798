"""Variables and limits of the environment that end the command with one line."""

import os
import subprocess
import sys

import pytest


pytest.importorskip("tyro")


def refusal(*command: str, first: str = ":", **variables: str) -> str:
    """Return the one line on stderr of a command that is refused, after a shell has run `first`."""
    done = subprocess.run(
        ["bash", "-c", f'{first} && exec "$@"', "bash", sys.executable, "-m", "jaxlr", *command],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | variables,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("jaxlr: error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("jaxlr: error: ").rstrip()


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("variable", "value", "problem"),
    [
        ("JAX_ENABLE_X64", "maybe", "must be true or false, got 'maybe'"),
        ("JAX_NUMPY_RANK_PROMOTION", "never", "must be one of allow, warn, raise, got 'never'"),
        ("JAX_NUMPY_DTYPE_PROMOTION", "loose", "must be one of standard, strict"),
        ("JAX_COMPILATION_CACHE_MAX_SIZE", "1.5", "must be a whole number, got '1.5'"),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "soon", "must be a number, got 'soon'"),
        ("JAX_TRACER_ERROR_NUM_TRACEBACK_FRAMES", "few", "must be a whole number, got 'few'"),
    ],
)
def test_a_malformed_variable_of_jax_is_named_with_the_accepted_values(variable, value, problem):
    error = refusal("port", "StepLR(30)", **{variable: value})
    assert error.startswith(f"{variable} {problem}")
    assert error.endswith(f": correct it, or unset {variable}")


@pytest.mark.heavy
def test_an_error_of_jax_without_a_list_of_values_is_one_line():
    error = refusal("table", "StepLR(30)", JAX_DEFAULT_DEVICE="quantum")
    assert error.startswith("JAX_DEFAULT_DEVICE is wrong: ")
    assert error.endswith(": correct it, or unset JAX_DEFAULT_DEVICE")


@pytest.mark.heavy
@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--xla_dump_to=/tmp --xla_unheard_of=1", "Unknown flag in XLA_FLAGS: --xla_unheard_of=1"),
        (
            "--xla_force_host_platform_device_count=two",
            "Couldn't interpret value two for flag xla_force_host_platform_device_count",
        ),
    ],
)
def test_flags_that_xla_cannot_read_are_one_line(flags, reason):
    pytest.importorskip("flax")
    error = refusal("train", XLA_FLAGS=flags)
    assert error == f"XLA_FLAGS cannot be read: {reason}: correct them, or unset XLA_FLAGS"


@pytest.mark.heavy
def test_training_with_too_little_memory_is_refused_before_jax_is_loaded():
    """XLA would abort, or hang."""
    error = refusal("train", first=f"ulimit -v {1000 * 1024}")
    assert error.startswith("training needs about 2.2 GiB of address space, ")
    assert error.endswith("1000 MiB: raise it with ulimit -v")


@pytest.mark.heavy
def test_training_in_a_folder_that_was_removed_is_refused(tmp_path):
    error = refusal("train", first=f"cd {tmp_path} && mkdir gone && cd gone && rmdir ../gone")
    assert error == "the current folder no longer exists: change to another one"


@pytest.mark.heavy
def test_the_help_and_the_mistakes_in_flags_need_no_jax():
    """JAX takes a second to import."""
    program = """
import contextlib, io, sys
from jaxlr.__main__ import main
lines = ["--help", "--versoin"]
for command in ("plot", "table", "port", "verify", "fit"):
    lines += [f"{command} {flags}" for flags in ("--help", "x x --lrr 1", "x x --format xml", "--format")]
for line in lines:
    sys.argv = ["jaxlr", *line.split()]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as stderr:
        try:
            main()
        except SystemExit as stop:
            assert bool(stop.code) == stderr.getvalue().startswith("jaxlr: error: "), line
        else:
            raise AssertionError(line)
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = done.stdout.splitlines()[-1].split()
    assert "tyro" in loaded
    assert not {"jax", "numpy", "optax", "flax"} & {*loaded}
