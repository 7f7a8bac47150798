"""A type checker accepts the code of our pages, with no cast and no comment."""

import doctest
import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest


ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)

# The result of a conversion is used as a schedule and as a plateau.
CONVERTED = """
import jax, jax.numpy as jnp, optax
import jaxlr
schedule = jaxlr.from_string("StepLR(opt, 3)", 0.1)
print(f"{schedule(3):.3g}", schedule(9) + 1.0, jax.jit(schedule)(jnp.arange(3)))
optax.sgd(jaxlr.per_epoch(schedule, 10))
optax.chain(optax.sgd(schedule), jaxlr.from_string("ReduceLROnPlateau(opt)", 0.1))
jaxlr.with_plateau(optax.sgd, jaxlr.from_state_dict("ReduceLROnPlateau", {}), schedule)
"""


def readme() -> str:
    blocks = BLOCK.findall((ROOT / "README.md").read_text())
    return "".join(doctest.script_from_examples(block) for block in blocks)


@pytest.mark.heavy
def test_a_type_checker_accepts_the_readme_and_converted_schedules(tmp_path):
    if importlib.util.find_spec("pyright") is None:
        pytest.skip("pyright is not installed: pip install pyright")
    (tmp_path / "readme.py").write_text(readme())
    (tmp_path / "converted.py").write_text(CONVERTED)
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [str(ROOT)]}))
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--project", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "0 errors" in done.stdout, done.stdout
