"""What can go wrong, by what the user can do about it.

Each class is also a builtin, so that callers who know nothing of this project
can still catch it. A stage turns any of them into one line and exit code 1.
"""


class PipelineError(Exception):
    """Any failure that is the input's or the machine's, not a defect of the code."""


class SettingsError(PipelineError, ValueError):
    """params.yaml cannot be used; `faults` holds every reason, one line each."""

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class DataError(PipelineError, ValueError):
    """The texts or labels cannot be used as they are."""


class ProjectError(PipelineError, OSError):
    """The folder of a project is not what is needed, or git or DVC refuse to work in it."""


class CheckpointError(PipelineError, ValueError):
    """A checkpoint is missing, unsafe, or not what the task needs."""


class StoreMismatchError(PipelineError, ValueError):
    """A teacher store belongs to another teacher, tokenizer, label set or length limit."""


class StoreIncompleteError(PipelineError, FileNotFoundError):
    """A teacher store lacks rows, signals or layers that are asked for."""


class StoreDamagedError(PipelineError, OSError):
    """A teacher store's files are not those its manifest describes."""


class StoreLockedError(PipelineError, BlockingIOError):
    """Another process is writing to the teacher store."""


class RemoteError(PipelineError, ConnectionError):
    """DVC cannot bring files from a remote, or send them there."""


class SignalError(PipelineError, ArithmeticError):
    """A signal holds values its encoding cannot represent."""


class TrainingError(PipelineError, ArithmeticError):
    """Training cannot go on, because a loss is no longer a number."""


class ExportError(PipelineError, ValueError):
    """A student cannot be exported, or what was exported is not the student."""


class OutOfMemoryError(PipelineError, MemoryError):
    """What is needed at once, be it a single row, does not fit into the memory there is."""


class ProcessError(PipelineError, ChildProcessError):
    """Another of the processes that share the work has ended."""


class DiskFullError(PipelineError, OSError):
    """The disk cannot hold what has to be written."""


def first_line(error: Exception) -> str:
    """Return the first line of a library's message, or the error's name where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
