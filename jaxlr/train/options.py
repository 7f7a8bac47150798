"""The one list of the flags of `jaxlr train` and `jaxlr sweep`, in the groups that their help shows."""

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

import tyro


_Unset = tyro.conf.arg(help_behavior_hint="")  # of a flag whose help says what it is without it


@dataclasses.dataclass(frozen=True)
class Data:
    """What is learned."""

    dataset: str = "digits"
    """What to learn: digits (1,797 scans, bundled), mnist, or the name of a prepared TFDS set."""

    data_dir: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder of the data: TFDS-prepared sets or MNIST's four IDX files. Default: found or downloaded."""

    validation_size: int = 0
    """Training samples, from the end, that validate instead of the test split (0: the test split)."""


@dataclasses.dataclass(frozen=True)
class TrainSchedule:
    """The learning rate."""

    scheduler: str = "ReduceLROnPlateau(patience=5)"
    """A torch scheduler as one writes it: "StepLR(step_size=10)", "MultiStepLR([10, 20])"."""

    lr: float = 0.1
    """Learning rate of the optimizer, before the scheduler has changed it."""


@dataclasses.dataclass(frozen=True)
class SweepSchedule:
    """The learning rates: every scheduler with every rate."""

    scheduler: tuple[str, ...] = (
        "StepLR(10)",
        "MultiStepLR([10, 20])",
        "ExponentialLR(0.9)",
        "ReduceLROnPlateau(patience=5)",
    )
    """Torch schedulers as one writes them, each in quotes: "StepLR(10)" "MultiStepLR([10, 20])"."""

    lr: tuple[float, ...] = (0.03, 0.1, 0.3)
    """Learning rates of the optimizer, before the scheduler has changed them."""


@dataclasses.dataclass(frozen=True)
class Training:
    """What trains."""

    hidden: tuple[int, ...] = (256, 128)
    """Units of each hidden layer; none makes the model linear."""

    momentum: float = 0.0
    """Momentum of SGD, from 0 (off) to below 1."""

    step_per: Literal["auto", "epoch", "batch"] = "auto"
    """When the scheduler steps. auto: per batch for OneCycleLR and CyclicLR, per epoch for others."""

    epochs: int = 25
    """Passes over the training samples."""

    batch_size: int = 32
    """Samples in a step; an epoch's last batch may be smaller."""

    seed: int = 0
    """Of the initial weights and the shuffles; the first of a sweep, whose others count up from it."""


@dataclasses.dataclass(frozen=True)
class TrainTraining(Training):
    """What trains under it."""

    on_nan: Literal["stop", "continue"] = "stop"
    """What to do when the loss becomes NaN or infinite; torch would continue."""


@dataclasses.dataclass(frozen=True)
class SweepTraining(Training):
    """What trains under each of them."""

    seeds: int = 8
    """Runs of each scheduler at each rate, which differ in their seed."""

    target_accuracy: float = 0.95
    """Validation accuracy, above 0 and at most 1, for which the epochs are counted."""


@dataclasses.dataclass(frozen=True)
class Output:
    """What is written and said."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """New folder for metrics, figure, config and checkpoints. Default: runs/DATASET-TIME."""

    resume: bool = False
    """Go on with what is in --out as if it had never stopped; its own flags are the defaults then."""

    checkpoint_every: Annotated[int | None, _Unset] = None
    """Epochs between checkpoints. Default: 1, or more where they would take over 5 % of the time."""

    quiet: bool = False
    """Print nothing but warnings and errors."""

    format: Literal["text", "json"] = "text"
    """What is printed: lines to read, or a JSON object for each result."""


@dataclasses.dataclass(frozen=True)
class TrainOutput(Output):
    """What a run writes and says."""

    tensorboard: bool = False
    """Also write TensorBoard event files into the folder."""


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where it is computed."""

    devices: Annotated[int | Literal["all"] | None, _Unset] = None
    """Devices to split the work over, the batches of a run or the runs of a sweep: how many, or all.
    Default: 1; all of them with --distributed."""

    compilation_cache: Annotated[bool, _Unset] = True
    """Keep compiled programs in the user's cache folder, so that later runs start sooner. Default: yes."""


@dataclasses.dataclass(frozen=True)
class TrainPlacement(Placement):
    """Where a run is computed."""

    distributed: bool = False
    """Be one of several processes, which JAX finds under SLURM or Open MPI; else name them as follows."""

    coordinator: Annotated[str | None, tyro.conf.arg(metavar="HOST:PORT", help_behavior_hint="")] = None
    """Where process 0 listens for the others; the same for all."""

    num_processes: Annotated[int | None, _Unset] = None
    """How many processes there are."""

    process_id: Annotated[int | None, _Unset] = None
    """Which one this is, from 0. Process 0 reads and writes for all, and its recipe is the run's."""

    peer_timeout: int = 60
    """Seconds after which a process that does not arrive, or gives no sign of life, is lost."""


@dataclasses.dataclass(frozen=True)
class SweepPlacement(Placement):
    """Where a sweep is computed."""

    chunk: Annotated[int | None, _Unset] = None
    """Runs to train at once. Default: all of them, or as many as fit into the memory of the devices."""
