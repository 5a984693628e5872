"""One writer per store: a lock that dies with its process.

The lock is the operating system's (`flock`) on the file `.lock`, so a killed writer
leaves none behind; the file says who holds it, for the message to the second writer.
Not a lock for readers, who follow the manifest.
"""

import errno
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.core.errors import StoreLockedError

LOCK_NAME = ".lock"


@contextmanager
def locked(store_dir: Path, *, is_needed: bool = True) -> Iterator[None]:
    """Hold the right to write to a store; nothing is locked unless it `is_needed`.

    The folder is made where it is missing.

    Raises:
        StoreLockedError: another process is writing, naming it, or there can be no lock.
    """
    if not is_needed:
        yield
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        store_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(store_dir / LOCK_NAME, flags, 0o644)
    except OSError as error:
        raise StoreLockedError(
            f"{store_dir / LOCK_NAME} cannot be made ({error.strerror}), so nothing can be "
            "written. Give yourself write access to the store, or copy it."
        ) from error
    try:
        _take(descriptor, store_dir)
        try:
            yield
        finally:
            os.ftruncate(descriptor, 0)  # the file stays: removing it would let two writers in
    finally:
        os.close(descriptor)


def discard_store(store_dir: Path) -> None:
    """Remove everything from a store's folder but its lock.

    Raises:
        StoreLockedError: another process is writing to it.
    """
    with locked(store_dir):
        for path in store_dir.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != LOCK_NAME:
                path.unlink()


def _take(descriptor: int, store_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            raise StoreLockedError(
                f"{store_dir} is being written by {_describe_owner(descriptor)}. Wait until it "
                "ends, or stop it."
            ) from error
        raise StoreLockedError(
            f"{store_dir / LOCK_NAME} cannot be locked ({error.strerror}). Put the store on a file "
            "system that has locks."
        ) from error
    owner = {"host": socket.gethostname(), "pid": os.getpid(), "since": time.time()}
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(owner).encode(), 0)


def _describe_owner(descriptor: int) -> str:
    try:
        owner = dict(json.loads(os.pread(descriptor, 4096, 0)))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(owner["since"]))
        return f"process {owner['pid']} on {owner['host']} since {since}"
    except (ValueError, KeyError, TypeError):
        return "another process"
