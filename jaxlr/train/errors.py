"""The errors that end a run or a sweep, each with the exit status of the command."""

import signal


class RunError(Exception):
    """An error that ends a run or a sweep. Its message is one line that says what to do."""

    status: int = 2  # refused: nothing was trained


class DataError(RunError):
    """The dataset is missing, damaged, or not a set of labelled images."""


class FolderError(RunError, ValueError):
    """The folder of the run cannot be used."""


class CheckpointError(RunError):
    """None of the checkpoints can be loaded."""


class DeviceError(RunError):
    """There is no device to run on, or not enough memory on it."""


class RateError(RunError):
    """The scheduler has no learning rate at some epoch or step of the run."""


class LossError(RunError):
    """The loss became NaN or infinite."""

    status = 3


class StorageError(RunError):
    """The folder of the run can no longer be written."""

    status = 4


class StopError(RunError):
    """The run stopped, because SIGINT or SIGTERM asked it to."""

    def __init__(self, message: str, number: signal.Signals):
        super().__init__(message)
        self.status: int = 128 + number  # the status that a shell reports for this signal
