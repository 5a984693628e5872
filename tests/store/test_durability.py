"""What the manifest names is on the disk, not only in the system's memory."""

import os
from pathlib import Path

import pytest

from pipeline.store.manifest import MANIFEST_NAME, read_manifest
from tests.store.small_store import MAPS_2, new_sample


class Syncs:
    """Notes when each file and folder was last forced to the disk."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.clock = 0
        self.synced: dict[int, int] = {}
        """By inode, the time of its last sync, in file system operations."""
        self.changed: dict[int, int] = {}
        """By inode of a folder, when a name in it last changed."""
        for name in ("rename", "replace", "mkdir"):
            patch.setattr(os, name, self._noting(getattr(os, name)))
        sync = os.fsync

        def noted(descriptor: int) -> None:
            self.clock += 1
            self.synced[os.fstat(descriptor).st_ino] = self.clock
            sync(descriptor)

        patch.setattr(os, "fsync", noted)

    def _noting(self, change):  # type: ignore[no-untyped-def]
        def call(*paths, **options):  # type: ignore[no-untyped-def]
            self.clock += 1
            result = change(*paths, **options)
            for path in paths:
                if isinstance(path, str | os.PathLike) and Path(path).parent.exists():
                    self.changed[Path(path).parent.stat().st_ino] = self.clock
            return result

        return call

    def check(self, store: Path) -> None:
        """Check that a power cut now would lose nothing that the manifest names."""
        names = [name for name, _ in read_manifest(store).files()]
        assert names
        for name in (*names, MANIFEST_NAME):
            path = store / name
            assert path.stat().st_ino in self.synced, f"{name} was never forced to the disk"
            for folder in path.parents:
                inode = folder.stat().st_ino
                assert self.synced.get(inode, 0) >= self.changed.get(inode, 0), folder
                if folder == store:
                    break


def test_a_commit_survives_a_power_cut(tmp_path: Path) -> None:
    """Catches a file or a folder's entry that is only in memory when the manifest names it."""
    with pytest.MonkeyPatch.context() as patch:
        syncs = Syncs(patch)
        sample = new_sample(tmp_path / "store")
        syncs.check(sample.folder)
        sample.add([3, 1])
        syncs.check(sample.folder)
        sample.extend(0, MAPS_2)
        syncs.check(sample.folder)


def test_the_check_notices_a_missing_sync(tmp_path: Path) -> None:
    """Catches a test that could not fail: the negative control of the one above."""
    with pytest.MonkeyPatch.context() as patch:
        syncs = Syncs(patch)
        sample = new_sample(tmp_path / "store")
        patch.setattr("pipeline.store.segment_draft.sync_folder", lambda folder: None)
        sample.add([3, 1])
        with pytest.raises(AssertionError):
            syncs.check(sample.folder)
