"""Record torch's curves for the cases in tests/cases.py, so that tests can run without torch."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]


sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from cases import CASES, RECORDED, torch_side


curves: dict[str, Any] = {name: torch_side(torch, case) for name, case in CASES.items()}
np.savez_compressed(RECORDED, **curves)
print(f"recorded {len(CASES)} curves of torch {torch.__version__} in {RECORDED}")
