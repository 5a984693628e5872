"""A capture whose disk is full, or will be."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zarr

from pipeline.core.errors import DiskFullError
from pipeline.core.fingerprint import digest_folder
from tests.teacher.made_captures import (
    LAYERS_2_AND_3,
    SEGMENT_ROWS,
    RunCapture,
    Seen,
    committed_keys,
)

Fail = Callable[..., Any]


def fail_from(call: int, function: Fail) -> Fail:
    """Return `function` with a disk that is full from the given call on, counted from 0."""
    n_calls = 0

    def limited(*args: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*args, **options)

    return limited


def test_a_full_disk_keeps_what_is_committed(
    tmp_path: Path, run: RunCapture, whole_store: Path, seen: Seen
) -> None:
    """Catches a traceback in place of the reason, and hours of work that are lost with it."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr, "create", fail_from(4, zarr.create))  # in the second segment
        with pytest.raises(DiskFullError) as raised:
            run(store)
    assert re.search(r"store/cls/00001: no space left on the disk", str(raised.value)) or re.search(
        r"store/logits/00001: no space left on the disk", str(raised.value)
    )
    assert str(raised.value).endswith(
        "1 of 3 segments of this run are committed and will not be computed again."
    )
    assert len(committed_keys(store)) == SEGMENT_ROWS
    seen.keys.clear()
    run(store)
    assert len(seen.keys) == 34 - SEGMENT_ROWS
    assert digest_folder(store) == digest_folder(whole_store)


def test_a_disk_that_fills_at_any_moment_gives_the_same_error(
    tmp_path: Path, run: RunCapture
) -> None:
    """Catches a place that lets the system's error through, or a file that is then trusted."""
    first, wanted, store = tmp_path / "first", tmp_path / "wanted", tmp_path / "store"
    run(first, segment_rows=100)
    shutil.copytree(first, wanted)
    n_syncs = 0
    sync = os.fsync

    def count(descriptor: int) -> None:
        nonlocal n_syncs
        n_syncs += 1
        sync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", count)
        run(wanted, LAYERS_2_AND_3)
    assert n_syncs > 10
    for call in range(n_syncs):
        shutil.copytree(first, store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fail_from(call, os.fsync))
            with pytest.raises(DiskFullError):
                run(store, LAYERS_2_AND_3)
        run(store, LAYERS_2_AND_3)
        assert digest_folder(store) == digest_folder(wanted)
        shutil.rmtree(store)


def limit_disk(patch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")
    patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))


def test_a_capture_that_does_not_fit_is_not_begun(
    tmp_path: Path, run: RunCapture, whole_store: Path, seen: Seen
) -> None:
    """Catches hours of computing before the disk turns out to be too small."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        limit_disk(patch, free=1000)
        with pytest.raises(DiskFullError) as raised:
            run(store)
    message = (
        f"{store}: the capture needs 0.1 MiB, the disk has 0.0 MiB free. Ask for fewer attention "
        "layers or rows, or free some space."
    )
    assert str(raised.value) == message
    assert seen.n_batches == 0
    run(store)
    assert digest_folder(store) == digest_folder(whole_store)


def test_what_is_needed_is_what_is_written(tmp_path: Path, run: RunCapture) -> None:
    """Catches an estimate that is too low to save anyone, or refuses what would fit."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        limit_disk(patch, free=10**9)
        report = run(store)
    chunks = [path for path in store.rglob("*") if path.is_file() and "c" in path.parts[-4:-1]]
    assert len(chunks) == 12
    assert report.size_bytes == sum(path.stat().st_size - 4 for path in chunks)  # checksums
    shutil.rmtree(store)
    with pytest.MonkeyPatch.context() as patch:
        limit_disk(patch, free=report.size_bytes - 1)
        with pytest.raises(DiskFullError):
            run(store)
        limit_disk(patch, free=report.size_bytes)
        run(store)
        limit_disk(patch, free=0)
        assert run(store).n_computed == 0  # a full disk is no obstacle to doing nothing
