"""Tests of schedules on counts that are sharded over eight devices."""

import subprocess
import sys

import jax
import pytest
from processes import ROOT, on_cpu


@pytest.mark.heavy
@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="JAX itself fails on sharded arrays")
def test_every_kind_of_schedule_takes_sharded_counts():
    program = [sys.executable, ROOT / "tests" / "sharded_counts.py"]
    done = subprocess.run(program, env=on_cpu(8), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "checked 13\n"), done.stderr[-3000:]
