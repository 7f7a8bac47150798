"""jaxlr's epoch, compiled in several ways, and the kernels that a step launches on a GPU."""

import functools
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from unittest import mock

import jax

from jaxlr.train.config import TrainConfig
from jaxlr.train.data.dataset import Dataset
from jaxlr.train.data.splits import split_dataset
from jaxlr.train.program import build_run


HIDDEN = (256, 128)
BATCH_SIZE = 32
LR = 0.1
CONFIG = TrainConfig.from_flags(hidden=HIDDEN, batch_size=BATCH_SIZE, lr=LR)  # the settings of the tutorial


class Variant(NamedTuple):
    """A way to compile an epoch."""

    unroll: int = 1  # training steps in each round of the loop
    options: Mapping[str, Any] = MappingProxyType({})  # of XLA


VARIANTS = {"jaxlr": Variant(), "the same, 4 steps unrolled": Variant(4)}

# Ways that may be faster on a GPU. The riskiest is the last.
_UNSPLIT = {"xla_gpu_experimental_force_split_k": 1}
_ONE_GRAPH = {
    "xla_gpu_enable_command_buffer": "FUSION,CUBLAS,CUBLASLT,CUSTOM_CALL,WHILE",
    "xla_gpu_command_buffer_unroll_loops": True,
}
GPU_VARIANTS = {
    "the same, no split products": Variant(options=_UNSPLIT),
    "the same, no split products, 4 steps unrolled": Variant(4, _UNSPLIT),
    "the same, products of cuBLAS": Variant(options={"xla_gpu_enable_triton_gemm": False}),
    "the same, dependent launches": Variant(options={"xla_gpu_enable_pdl": True}),
    "the same, no command buffers": Variant(options={"xla_gpu_enable_command_buffer": ""}),
    "the same, the loop as one CUDA graph": Variant(options=_ONE_GRAPH),
}


class Epoch:
    """jaxlr's compiled epoch and its state. A call trains an epoch and returns the validation loss."""

    def __init__(self, dataset: Dataset, variant: Variant):
        train, valid, _ = split_dataset(dataset)
        run = build_run(CONFIG, train, dataset.num_classes)
        epoch: Any = run.epoch
        # jaxlr does not unroll: that takes longer to compile than most runs would gain.
        with mock.patch.object(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=variant.unroll)):
            lowered = epoch.lower(run.state, train, valid)
        self._program = lowered.compile(compiler_options=dict(variant.options))
        self._state, self._data, self._unroll = run.state, (train, valid), variant.unroll

    def __call__(self) -> float:
        self._state, metrics = self._program(self._state, *self._data)
        return float(metrics.valid_loss)

    def count_kernels(self) -> float:
        """Count the kernels that a training step launches, as the mean over the unrolled steps."""
        return kernels_of_step(self._program.as_text()) / self._unroll


def kernels_of_step(text: str) -> int:
    """Count the kernels that the longest loop body of a compiled epoch launches."""
    kernel = re.compile(
        r"^ +(?:ROOT )?%\S+ = .*? (?:fusion|custom-call|call|reduce|copy|dot|sort|scatter)\(", re.M
    )
    names = re.findall(r" while\(.*body=%?([\w.-]+)", text)
    bodies = [re.search(rf"^%?{re.escape(name)} .*?^}}", text, re.M | re.S) for name in names]
    counts = [len(kernel.findall(body[0])) for body in bodies if body]
    if not counts:
        raise ValueError("the compiled epoch has no loop")
    return max(counts)
