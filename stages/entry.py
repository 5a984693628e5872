"""What every stage does around its own work.

A stage checks the whole of params.yaml first, so that no fault is found after hours;
what a user can mend ends as one line on stderr and exit code 1, without a traceback.
"""

import functools
import gc
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, ParamSpec

import click

from pipeline.core.errors import CheckpointError, PipelineError, SettingsError
from pipeline.core.fingerprint import digest_file
from pipeline.core.settings import read_params
from pipeline.core.stamp import STAMP_NAME
from stages.paths import AUGMENTED, GENERATED, STUDENTS, TOKENS

if TYPE_CHECKING:
    from pipeline.text.tokens import Tokens
    from pipeline.train.settings import StudentSettings

P = ParamSpec("P")

force_option = click.option(
    "--force",
    is_flag=True,
    envvar="DECANT_FORCE",
    help="Run even where nothing has changed; DECANT_FORCE=1 does so for 'dvc repro'.",
)


def load_params() -> dict[str, Any]:
    """Return params.yaml, checked as a whole.

    Raises:
        SettingsError: with one line for each fault in any section.
        ProjectError: the project's requirements.txt pins another version than is installed.
    """
    from pipeline.project.check import check_params
    from pipeline.project.files import check_requirement

    params = read_params()
    check_requirement()
    check_params(params)
    return params


def training_tokens(settings: "StudentSettings") -> "Tokens":
    """Return the rows that a student is trained on, its augmented rows and texts among them.

    Raises:
        DataError: a token table is not there, or was made from another one.
    """
    from pipeline.text.joined import open_training_tokens

    return open_training_tokens(
        TOKENS, AUGMENTED, GENERATED, is_augmented=settings.augmented, targets=settings.targets
    )


def digest_student(name: str) -> str:
    """Return the digest of a finished student: of its stamp, which covers its files.

    Raises:
        CheckpointError: it is not finished.
    """
    try:
        return digest_file(STUDENTS / name / STAMP_NAME)
    except FileNotFoundError:
        raise CheckpointError(
            f"{STUDENTS / name} is not a finished student. Run 'dvc repro distill@{name}'."
        ) from None


def stage(name: str) -> Callable[[Callable[P, None]], Callable[P, None]]:
    """Make the function of the stage `name` end in one line and exit code 1 when it fails."""

    def decorate(work: Callable[P, None]) -> Callable[P, None]:
        @functools.wraps(work)
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            with failing_in_one_line(name), _terminable():
                work(*args, **kwargs)

        return run

    return decorate


@contextmanager
def importing() -> Iterator[None]:
    """Import torch and Transformers a sixth faster, and leave the process two seconds sooner.

    What importing makes is kept, so it is not looked through for garbage: not meanwhile, and not
    at the end.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


@contextmanager
def failing_in_one_line(name: str) -> Iterator[None]:
    """Turn a failure that a user can mend into a line on stderr and exit code 1."""
    try:
        yield
    except SettingsError as error:
        _say(*error.faults)
        raise SystemExit(1) from None
    except PipelineError as error:
        _say(f"{name}: {' '.join(str(error).split())}")
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        _say(f"{name}: interrupted; no result was left half-written. Run it again.")
        raise SystemExit(1) from None


def _say(*lines: str) -> None:
    """Print lines on stderr, clear of a progress bar that is still being drawn."""
    from tqdm import tqdm

    for line in lines:
        tqdm.write(line, file=sys.stderr)


@contextmanager
def _terminable() -> Iterator[None]:
    """Treat SIGTERM like Ctrl-C, so that partial results are removed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
