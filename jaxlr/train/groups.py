"""The settings of the training, the data, the output and the devices. Each field is a flag."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import tyro

from jaxlr._checks import check_choice, check_value
from jaxlr.flags.errors import flag_of
from jaxlr.train.checks import assign, assign_counts, check_kinds, checked_count, checked_path
from jaxlr.train.recipe import DEFAULT_EPOCHS


# For flags with a help text that already states the default.
STATED = tyro.conf.arg(help_behavior_hint="")


@dataclasses.dataclass(frozen=True)
class Training:
    """The model and its training."""

    hidden: tuple[int, ...] = (256, 128)
    """Units of each hidden layer. Without a value the model is linear."""

    momentum: float = 0.0
    """Momentum of SGD: 0 (off) or more, and below 1. With --optimizer, write it there."""

    step_per: Literal["auto", "epoch", "batch"] = "auto"
    """When the scheduler steps. auto: per batch for OneCycleLR and CyclicLR, per epoch for others."""

    epochs: Annotated[int | None, STATED] = None
    """Passes over the training samples. Default: 25, or those of --recipe."""

    batch_size: int = 32
    """Samples in a step. The last batch of an epoch may be smaller."""

    seed: int = 0
    """Seed of the initial weights and the shuffles. A sweep uses this seed and the next ones."""

    def __post_init__(self) -> None:
        if not isinstance(self.hidden, Sequence) or isinstance(self.hidden, str):
            raise TypeError(f"hidden must be a list of whole numbers, got {self.hidden!r}")
        assign(self, hidden=tuple(checked_count("each of hidden", units, 1) for units in self.hidden))
        assign_counts(self, batch_size=1, seed=0)
        if self.epochs is not None:
            assign_counts(self, epochs=1)
        assign(self, momentum=float(check_value("momentum", self.momentum)))
        if self.momentum >= 1:
            raise ValueError(f"momentum must be below 1, got {self.momentum!r}")
        check_choice("step_per", self.step_per, ("auto", "epoch", "batch"))


@dataclasses.dataclass(frozen=True)
class TrainTraining(Training):
    """The model and its training."""

    on_nan: Literal["stop", "continue"] = "stop"
    """Action when the loss becomes NaN or infinite. torch would continue."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice("on_nan", self.on_nan, ("stop", "continue"))


@dataclasses.dataclass(frozen=True)
class SweepTraining(Training):
    """The model and its training, the same for all runs."""

    epochs: Annotated[int | None, STATED] = None
    """Passes over the training samples. Default: 25."""

    seeds: int = 8
    """Number of seeds. Each scheduler is trained at each rate with every seed."""

    target_accuracy: float = 0.95
    """Validation accuracy, above 0 and at most 1. The table shows the epochs to reach it."""

    def __post_init__(self) -> None:
        if self.epochs is None:
            assign(self, epochs=DEFAULT_EPOCHS)
        super().__post_init__()
        assign_counts(self, seeds=1)
        checked_count("the last seed (seed + seeds - 1)", self.seed + self.seeds - 1, 0)
        if not 0 < check_value("target_accuracy", self.target_accuracy) <= 1:
            raise ValueError(f"target_accuracy must be above 0 and at most 1, got {self.target_accuracy!r}")


@dataclasses.dataclass(frozen=True)
class DataSettings:
    """The data."""

    dataset: str = "digits"
    """The dataset: digits (1,797 scans, bundled), mnist, or the name of a prepared TFDS dataset."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder of datasets prepared by TFDS, or of MNIST's four IDX files. Default: found or downloaded."""

    validation_size: int = 0
    """Training samples, from the end, to validate on. 0: validate on the test split."""

    def __post_init__(self) -> None:
        check_kinds(self, dataset=str)
        assign(self, data_dir=checked_path("data_dir", self.data_dir))
        assign_counts(self, validation_size=0)


@dataclasses.dataclass(frozen=True)
class Output:
    """The files and the output."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """New folder for settings, metrics, figure and checkpoints. Default: runs/DATASET-TIME."""

    resume: bool = False
    """Resume the run in --out. Its settings are the defaults of all other flags."""

    strict: bool = False
    """With --resume: refuse what may change the last digits, such as another device. By default, warn."""

    checkpoint_every: Annotated[int | None, STATED] = None
    """Epochs between checkpoints. Default: 1, or more if they would take over 5 % of the time."""

    quiet: bool = False
    """Print nothing but warnings and errors."""

    format: Literal["text", "json"] = "text"
    """Format of the output: lines to read, or one JSON object per result."""

    def __post_init__(self) -> None:
        assign(self, out=checked_path("out", self.out))
        check_kinds(self, resume=bool, strict=bool, quiet=bool)
        if self.checkpoint_every is not None:
            assign_counts(self, checkpoint_every=1)
        check_choice("format", self.format, ("text", "json"))
        if self.resume and self.out is None:
            raise ValueError("resume needs out: give the folder of the run as --out DIR")


@dataclasses.dataclass(frozen=True)
class TrainOutput(Output):
    """The files and the output.

    Exit status: 0 finished; 2 refused; 3 the loss became NaN or infinite; 4 the folder can no longer be
    written; 5 another process is lost; 130, 143 stopped by SIGINT, SIGTERM.
    A run that ended with 3, 4, 5, 130 or 143 can be resumed with --resume.
    """

    tensorboard: bool = False
    """Also write TensorBoard event files into the folder."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kinds(self, tensorboard=bool)


@dataclasses.dataclass(frozen=True)
class Device:
    """The devices."""

    devices: Annotated[int | Literal["all"] | None, STATED] = None
    """Devices, or all, that share a batch or the runs of a sweep. Default: 1, or all if --distributed."""

    compilation_cache: Annotated[bool, STATED] = True
    """Keep compiled programs, in the user's folder and in --out. --no-compilation-cache: keep none."""

    deterministic: bool = False
    """On a GPU: the same bits from every compilation, but slower. On a CPU they are always the same."""

    autotune: Annotated[bool, STATED] = True
    """On a GPU, time kernels and use the fastest. --no-autotune: start sooner, maybe train slower."""

    def __post_init__(self) -> None:
        if self.devices is not None and not (isinstance(self.devices, str) and self.devices == "all"):
            assign_counts(self, devices=1)
        check_kinds(self, compilation_cache=bool, deterministic=bool, autotune=bool)


@dataclasses.dataclass(frozen=True)
class TrainDevice(Device):
    """The devices and processes."""

    distributed: bool = False
    """Train with several processes. Outside of SLURM and Open MPI, also give the next three flags."""

    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")] = None
    """Address on which process 0 listens, the same for all processes."""

    num_processes: Annotated[int | None, STATED] = None
    """Number of processes."""

    process_id: Annotated[int | None, STATED] = None
    """Number of this process, from 0. Process 0 reads and writes for all, and its flags apply."""

    peer_timeout: int = 60
    """Seconds without a sign of life after which another process counts as lost."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_kinds(self, distributed=bool)
        assign_counts(self, peer_timeout=1)
        if self.peer_timeout > 86_400:
            raise ValueError(f"peer_timeout must be at most a day, 86400 seconds, got {self.peer_timeout}")
        address = {name: getattr(self, name) for name in ("coordinator", "num_processes", "process_id")}
        given = [name for name, value in address.items() if value is not None]
        if not given:
            return
        if not self.distributed:
            raise ValueError(f"{given[0]} needs distributed: add --distributed")
        if missing := [flag_of(name) for name in address if name not in given]:
            raise ValueError(
                f"coordinator, num_processes and process_id go together: add {' and '.join(missing)}"
            )
        self._check_address()

    def _check_address(self) -> None:
        host, _, port = str(self.coordinator).rpartition(":")
        if not host or not (port.isascii() and port.isdecimal() and 0 < int(port[:6]) < 2**16):
            raise ValueError(f"coordinator must be HOST:PORT, got {self.coordinator!r}")
        assign_counts(self, num_processes=1, process_id=0)
        if self.num_processes is not None and (self.process_id or 0) >= self.num_processes:
            raise ValueError(
                f"process_id must be below num_processes, {self.num_processes}, got {self.process_id!r}"
            )


@dataclasses.dataclass(frozen=True)
class SweepDevice(Device):
    """The devices."""

    chunk: Annotated[int | None, STATED] = None
    """Runs to train at once. Default: all, or as many as fit into the memory of the devices."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.chunk is not None:
            assign_counts(self, chunk=1)
