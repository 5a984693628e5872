"""Bringing files through DVC, whose many ways to fail become one line that says what to do.

DVC keeps most reasons to its log, so the log is listened to while it works.
"""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dvc.config import NoRemoteError, RemoteConfigError
from dvc.exceptions import (
    DvcException,
    NoOutputOrStageError,
    NotDvcRepoError,
    OutputNotFoundError,
)
from dvc.fs import RemoteMissingDepsError
from dvc.repo import Repo

from pipeline.core.errors import RemoteError, first_line

_LOGGERS = ("dvc", "dvc_data", "dvc_objects")
_NO_REMOTE = (
    "no remote is set up to bring files from, or send them to. Run 'dvc remote add --default NAME "
    "URL' with the place that the files were pushed to."
)
_NOT_ON_REMOTE = "do not exist neither locally nor on remote"


def pull(paths: Sequence[Path], remote: str | None) -> int:
    """Bring files and folders that DVC tracks, and nothing else; return how many files came.

    A path may lie within what DVC tracks as one. What is here already is not brought again.

    Raises:
        RemoteError: the remote cannot be reached, lacks files, or DVC knows no such path.
    """
    with _said_in_one_line(remote) as log, Repo() as repo:
        log.has_remote = remote is not None or "remote" in repo.config["core"]
        try:
            result = repo.pull(targets=[str(path) for path in paths], remote=remote)
            _check_arrived(paths)
        except (DvcException, FileNotFoundError):
            log.place_fault = _place_fault(repo, remote) if log.has_remote else None
            raise
    return int(result["stats"]["fetched"])


def is_tracked(path: Path) -> bool:
    """Say whether DVC tracks this file or folder, by itself or as a part of another.

    Raises:
        RemoteError: this is no DVC project.
    """
    with _said_in_one_line(None), Repo() as repo:
        try:
            repo.find_outs_by_path(str(path), strict=False)
        except OutputNotFoundError:
            return any(out.fspath in map(str, path.absolute().parents) for out in repo.index.outs)
        return True


def push(paths: Sequence[Path], remote: str | None) -> int:
    """Send files and folders that DVC tracks to a remote; return how many files went.

    Raises:
        RemoteError: the remote cannot be reached or written to, or DVC knows no such path.
    """
    with _said_in_one_line(remote), Repo() as repo:
        return int(repo.push(targets=[str(path) for path in paths], remote=remote))


class _Log(logging.Handler):
    """Keeps what DVC's loggers say, and prints nothing."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []
        self.has_remote = True
        self.place_fault: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def reason(self) -> str | None:
        """Return the first cause that was logged, other than that a file is not there."""
        causes = [error for error in self._errors() if not isinstance(error, FileNotFoundError)]
        return _root(causes[0]) if causes else None

    def n_absent(self) -> int:
        """Return how many files the remote was said not to have."""
        messages = [record.getMessage() for record in self.records]
        n_listed = sum(
            len(message.splitlines()) - 1 for message in messages if _NOT_ON_REMOTE in message
        )
        return n_listed + sum(isinstance(error, FileNotFoundError) for error in self._errors())

    def _errors(self) -> list[BaseException]:
        return [
            record.exc_info[1]
            for record in self.records
            if record.exc_info and record.exc_info[1] is not None
        ]


def _root(error: BaseException) -> str:
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return _named(error)


def _named(error: BaseException) -> str:
    text = first_line(error) if isinstance(error, Exception) else str(error)
    return f"{type(error).__name__}: {text}" if text != type(error).__name__ else text


@contextmanager
def _said_in_one_line(remote: str | None) -> Iterator[_Log]:
    """Turn what DVC raises and logs into a `RemoteError`."""
    log = _Log()
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    before = [(logger.handlers, logger.propagate) for logger in loggers]
    for logger in loggers:
        logger.handlers, logger.propagate = [log], False
    where = f"the remote '{remote}'" if remote else "the project's default remote"
    try:
        yield log
    except NotDvcRepoError as error:
        raise RemoteError(
            "there is no DVC project here. Run it in the project's folder."
        ) from error
    except NoRemoteError as error:
        raise RemoteError(_NO_REMOTE) from error
    except RemoteConfigError as error:
        raise RemoteError(
            f"{where} cannot be used: {first_line(error)}. 'dvc remote list' names those there are."
        ) from error
    except (RemoteMissingDepsError, ImportError) as error:
        raise RemoteError(
            f"{where} needs a package that is not installed: {first_line(error)}"
        ) from error
    except (NoOutputOrStageError, OutputNotFoundError) as error:
        raise RemoteError(
            f"{first_line(error)}. DVC knows only what its .dvc files and dvc.lock name: commit "
            "and 'git pull' dvc.lock, or 'dvc import' the store."
        ) from error
    except Exception as error:  # each kind of remote is a package with errors of its own
        raise RemoteError(_failure(where, log, error)) from error
    finally:
        for logger, (handlers, propagates) in zip(loggers, before, strict=True):
            logger.handlers, logger.propagate = handlers, propagates


def _failure(where: str, log: _Log, error: Exception) -> str:
    reason = log.reason()
    if reason is not None:
        return (
            f"{where} failed ({reason}). Check its URL with 'dvc remote list', your credentials "
            "for it, and that neither disk is full; what came is kept, so run it again."
        )
    if not log.has_remote:
        return _NO_REMOTE
    if log.place_fault is not None:
        return (
            f"{where} is not there ({log.place_fault}). Check its URL with 'dvc remote list' and "
            "your credentials for it, or ask who captured to run 'dvc push'."
        )
    if log.n_absent():
        return (
            f"{where} lacks {log.n_absent():,} or more of the files, or does not show them to you. "
            "Check its URL with 'dvc remote list' and your credentials for it, or ask who captured "
            "to run 'dvc push'; what came is kept."
        )
    return (
        f"{where} failed ({_root(error)}). Check its URL with 'dvc remote list' and your "
        "credentials for it."
    )


def _place_fault(repo: Repo, remote: str | None) -> str | None:
    """Return why there is nothing at a remote's URL, such as a bucket that does not exist.

    A remote says of each file alone only that it is not there.
    """
    place = repo.cloud.get_remote(remote)
    if not place.fs.CAN_TRAVERSE:  # a web server does not list what it has
        return None
    try:
        place.fs.ls(place.path)
    except FileNotFoundError as error:
        return _named(error.__cause__ or error)
    return None


def _check_arrived(paths: Sequence[Path]) -> None:
    absent = [path for path in paths if not path.exists()]
    if absent:
        raise FileNotFoundError(f"{len(absent)} paths did not come, the first is {absent[0]}")
