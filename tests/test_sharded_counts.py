"""Tests of schedules on counts that are sharded over eight devices."""

import subprocess
import sys

import jax
import pytest
from processes import ENVIRONMENT, ROOT


@pytest.mark.heavy
@pytest.mark.skipif(jax.__version_info__ < (0, 10), reason="JAX itself fails on sharded arrays")
def test_every_kind_of_schedule_takes_sharded_counts():
    environment = {**ENVIRONMENT, "JAX_NUM_CPU_DEVICES": "8"}
    program = [sys.executable, ROOT / "tests" / "sharded_counts.py"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "checked 13\n"), done.stderr[-3000:]
