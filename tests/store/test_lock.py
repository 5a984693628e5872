"""Two writers never meet in one store, and a dead one keeps nobody out."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core.errors import StoreLockedError
from pipeline.store.lock import LOCK_NAME, locked

HOLD = """
import sys, time
from pathlib import Path
from pipeline.store.lock import locked
with locked(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def hold(store_dir: Path) -> "subprocess.Popen[str]":
    """Start another process that holds the lock."""
    command = [sys.executable, "-c", HOLD, str(store_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "locked\n"
    return process


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    """Catches two captures in one store, and a message that leaves the user searching."""
    with hold(tmp_path) as process:
        try:
            with pytest.raises(StoreLockedError) as caught, locked(tmp_path):
                pass
        finally:
            process.kill()
    message = (
        f"{re.escape(str(tmp_path))} is being written by process {process.pid} on "
        rf"{re.escape(socket.gethostname())} since \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d\. Wait until "
        r"it ends, or stop it\."
    )
    assert re.fullmatch(message, str(caught.value))


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    """Catches a stale lock that a user has to remove by hand."""
    with hold(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == process.pid
    with locked(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text())["pid"] == os.getpid()
    assert (tmp_path / LOCK_NAME).read_bytes() == b""


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    """Catches a capture that fails and then keeps itself out."""
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        raise ZeroDivisionError
    message = f"process {os.getpid()} on"
    with locked(tmp_path), pytest.raises(StoreLockedError, match=message), locked(tmp_path):
        pass
    assert (tmp_path / LOCK_NAME).read_bytes() == b""


def test_an_unreadable_owner_is_another_process(tmp_path: Path) -> None:
    """Catches a traceback where the lock's file holds what nobody wrote."""
    with hold(tmp_path) as process:
        try:
            (tmp_path / LOCK_NAME).write_bytes(b"\xff[")
            message = r"written by another process\. Wait"
            with pytest.raises(StoreLockedError, match=message), locked(tmp_path):
                pass
        finally:
            process.kill()


def test_a_lock_that_is_not_needed_is_not_taken(tmp_path: Path) -> None:
    """Catches a process beside the main one that locks the others out."""
    with locked(tmp_path / "store", is_needed=False):
        assert not (tmp_path / "store").exists()


def test_a_lock_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """Catches a traceback where somebody has put a link, and a file written through it."""
    (tmp_path / LOCK_NAME).symlink_to(tmp_path / "elsewhere")
    message = r"\.lock cannot be made \(.*\), so nothing"
    with pytest.raises(StoreLockedError, match=message), locked(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
