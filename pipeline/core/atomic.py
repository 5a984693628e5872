"""Files and folders that appear whole or not at all.

Whatever stops the program (an exception, Ctrl-C, a kill, a full disk), a reader
finds the old content or the new content under the final name, never a part. An
existing file is never written in place: DVC may have hard-linked it to its cache.
"""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pipeline.core.errors import DiskFullError

PARTIAL_SUFFIX = ".partial"


def write_file(path: Path, content: bytes) -> None:
    """Put `content` under `path` through a synced temporary file and a rename.

    Raises:
        DiskFullError: the disk cannot hold it; `path` is what it was before.
    """
    with replacing_file(path) as file:
        file.write(content)


@contextmanager
def replacing_file(path: Path) -> Iterator[BinaryIO]:
    """Give an empty file to write; when the block ends well it takes the place of `path`.

    Raises:
        DiskFullError: the disk cannot hold it; `path` is what it was before.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    try:
        with disk_full_is_an_error(path):
            make_folders(path.parent)
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
            sync_folder(path.parent)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as `json_bytes` does, atomically."""
    write_file(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """Return `value` as readable JSON with sorted keys, so that equal values are equal bytes."""
    return (json.dumps(value, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give an empty folder to fill; when the block ends well it takes the place of `path`.

    When the block raises, what was written is removed and `path` is as it was.

    Raises:
        DiskFullError: the disk could not hold the folder.
    """
    partial = path.with_name(path.name + PARTIAL_SUFFIX)
    replaced = path.with_name(path.name + ".replaced")
    _put_back(replaced, path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_full_is_an_error(path):
            partial.mkdir(parents=True)
            yield partial
            sync_tree(partial)
            if path.exists():
                path.rename(replaced)
            partial.rename(path)
            sync_folder(path.parent)
    except BaseException:
        _put_back(replaced, path)
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(replaced, ignore_errors=True)


def _put_back(replaced: Path, path: Path) -> None:
    """Undo the first of the two renames where the second never came."""
    if not path.exists() and replaced.exists():
        replaced.rename(path)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def disk_full_is_an_error(path: Path) -> Iterator[None]:
    """Turn the operating system's 'no space left' or 'quota exceeded' into `DiskFullError`.

    Libraries wrap the system's error in their own or quote it in their message, so
    the whole chain of causes is searched.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, DiskFullError) or not _is_disk_full(error):
            raise
        raise DiskFullError(
            f"{path}: no space left on the disk while writing. "
            "Free some space and run the stage again."
        ) from error


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        if os.strerror(errno.ENOSPC) in str(error) or os.strerror(errno.EDQUOT) in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def make_folders(folder: Path) -> None:
    """Make a folder and its parents where they are missing, and make that durable."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(exist_ok=True)
        sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """Force every file and folder under `folder` to the disk."""
    for parent, _, files in os.walk(folder):
        for name in files:
            with open(os.path.join(parent, name), "rb") as file:
                os.fsync(file.fileno())
        sync_folder(Path(parent))


def sync_folder(folder: Path) -> None:
    """Force a folder's list of names to the disk, which makes a rename in it durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
