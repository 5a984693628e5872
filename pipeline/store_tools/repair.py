"""Taking out of a store what is damaged, so that a capture computes that again and no more.

Nothing is computed here, and no file is changed in place: it may be a hard link into
DVC's cache, whose copy may still be good.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.atomic import write_file
from pipeline.core.errors import StoreDamagedError
from pipeline.signals.cls import CLS_STATES, MOMENTS
from pipeline.store.files import absent_files, drop_unfinished, group_files
from pipeline.store.lock import locked
from pipeline.store.manifest import Manifest, Segment, read_exact_manifest, write_manifest
from pipeline.store.spec import (
    GROUP_BYTES,
    STORE_FOLDERS,
    TEACHER_FOLDER,
    chunk_file,
    metadata_file,
    rows_file,
)
from pipeline.store.writer import StoreWriter
from pipeline.store_tools.verify import NOT_ACCOUNTED, Damage, verify_store


@dataclass(frozen=True)
class Repair:
    """What a repair found and took out."""

    damages: list[Damage]
    n_segments: int
    """Segments dropped whole, because their row table was damaged."""
    n_arrays: int
    """Arrays dropped from segments that stay."""
    n_teacher_files: int
    left: list[str]
    """Files beside the store's own folders, which may be somebody's and stay."""

    @property
    def is_changed(self) -> bool:
        """Whether the manifest is another than before."""
        return bool(self.n_segments or self.n_arrays or self.n_teacher_files)


def repair_store(store_dir: Path, n_threads: int, *, drops_absent: bool = False) -> Repair:
    """Drop from a store whatever `verify_store` finds damaged, and remove those files.

    What was not fetched stays in the manifest, unless the repair `drops_absent` too. A
    capture with the same settings computes the dropped arrays again, and copies the
    dropped teacher files. Reads every byte of the store.

    Raises:
        StoreIncompleteError: there is no store in that folder.
        StoreDamagedError: the manifest is damaged, which nothing here can mend.
        StoreLockedError: a capture is writing to the store.
    """
    _read_manifest(store_dir)  # before the lock, which makes the folder
    with locked(store_dir):
        manifest = _read_manifest(store_dir)
        damages = verify_store(store_dir, n_threads)
        files = {damage.file for damage in damages}
        if drops_absent:
            files |= absent_files(store_dir, manifest).files
        repaired = _without(manifest, files)
        # First the manifest: a repair that is stopped after it leaves only unknown files.
        if repaired != manifest:
            write_manifest(store_dir, repaired)
        left = [
            damage.file
            for damage in damages
            if damage.fault == NOT_ACCOUNTED and "/" not in damage.file
        ]
        for name in sorted(files - set(left)):
            _remove(store_dir / name, store_dir)
        writer = StoreWriter(store_dir, repaired)
        for name in set(group_files(repaired)) & files:
            write_file(store_dir / name, GROUP_BYTES)
        for folder in STORE_FOLDERS:
            (store_dir / folder).mkdir(exist_ok=True)
        writer.adopt_finished()
        drop_unfinished(store_dir, writer.manifest)
    kept = {segment.name: segment for segment in repaired.segments}
    return Repair(
        damages,
        n_segments=len(manifest.segments) - len(repaired.segments),
        n_arrays=sum(
            len(segment.arrays) - len(kept[segment.name].arrays)
            for segment in manifest.segments
            if segment.name in kept
        ),
        n_teacher_files=len(manifest.teacher_files) - len(repaired.teacher_files),
        left=left,
    )


def _read_manifest(store_dir: Path) -> Manifest:
    try:
        return read_exact_manifest(store_dir)
    except StoreDamagedError as error:
        raise StoreDamagedError(
            f"{store_dir} cannot be repaired, because only its manifest says what belongs to it: "
            f"{error} Restore manifest.json with 'dvc checkout' first."
        ) from error


def _without(manifest: Manifest, files: set[str]) -> Manifest:
    """Return the manifest without what these files are part of."""
    return manifest.model_copy(
        update={
            "segments": tuple(
                _without_arrays(segment, files)
                for segment in manifest.segments
                if rows_file(segment.name) not in files
            ),
            "teacher_files": {
                name: record
                for name, record in manifest.teacher_files.items()
                if f"{TEACHER_FOLDER}/{name}" not in files
            },
        }
    )


def _without_arrays(segment: Segment, files: set[str]) -> Segment:
    damaged = {
        array
        for array, _ in segment.specs()
        if not files.isdisjoint(
            (metadata_file(array, segment.name), chunk_file(array, segment.name))
        )
    }
    if damaged & {CLS_STATES, MOMENTS}:  # computed together
        damaged |= {CLS_STATES, MOMENTS}
    names = {array.name for array in damaged}
    kept = {name: record for name, record in segment.arrays.items() if name not in names}
    return segment.model_copy(update={"arrays": kept})


def _remove(path: Path, store_dir: Path) -> None:
    """Remove whatever lies there, unless it is gone or lies behind a link."""
    folders = [folder for folder in path.parents if folder.is_relative_to(store_dir)]
    if any(folder.is_symlink() for folder in folders if folder != store_dir):
        return
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif path.is_symlink() or path.exists():
        path.unlink()
