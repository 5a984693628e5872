"""A store's files: which of those that its manifest names are here, and which it does not name.

A store may be copied or pulled in part: both files of an array in a segment are here, or neither
is; so are the teacher's weights, file by file. What is absent in this way was not fetched; anything
else that is missing is a fault. Only names and sizes are looked at. What the manifest does not
account for was left by a writer. The folders above arrays are Zarr groups; a file says so.
"""

import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.atomic import PARTIAL_SUFFIX, write_file
from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.signals.cls import CLS_STATES, MOMENTS
from pipeline.signals.signal import Array
from pipeline.store.manifest import Manifest, no_links, regular_file_size
from pipeline.store.spec import (
    GROUP_BYTES,
    GROUP_NAME,
    MANIFEST_NAME,
    ROWS_FOLDER,
    SIGNAL_FOLDERS,
    STORE_FOLDERS,
    TEACHER_FOLDER,
    chunk_file,
    group_folders,
    metadata_file,
)

PARTIAL_FOLDER = ".partial"
"""Holds what is being written."""
FINISHED_FOLDER = ".finished"
"""Holds the records of segments that were finished beside the main writer."""


@dataclass(frozen=True)
class Absent:
    """What a store's manifest names and its folder does not have."""

    arrays: Mapping[str, frozenset[str]]
    """The names of the segments in which it is absent, by array name."""
    weights: tuple[str, ...]
    """The teacher's weight files."""
    files: frozenset[str]
    """All that belongs to these, relative to the store."""

    @property
    def is_partial(self) -> bool:
        """Whether anything is absent."""
        return bool(self.files)

    def lines(self, manifest: Manifest) -> list[str]:
        """Return what is absent, one phrase each."""
        phrases = []
        for name in sorted(self.arrays):
            n_all = sum(name in segment.arrays for segment in manifest.segments)
            phrases.append(f"{name} of {len(self.arrays[name])} of {n_all} segments")
        return phrases + (["the teacher's weights"] if self.weights else [])

    def command(self, store_dir: Path) -> str:
        """Return the command that brings what is absent."""
        signals = sorted({signal_option(name) for name in self.arrays})
        options = [f"--signal {name}" for name in signals]
        options += ["--weights"] if self.weights else []
        return f"decant fetch {store_dir} {' '.join(options)}"


def signal_option(name: str) -> str:
    """Return what `decant fetch --signal` is given for an array; moments come with [CLS]."""
    return CLS_STATES.name if name == MOMENTS.name else name


def is_weights(name: str) -> bool:
    """Say whether a teacher file holds weights, or says which file does."""
    return name.endswith((".safetensors", ".safetensors.index.json"))


def absent_of(manifest: Manifest, missing: Collection[str]) -> Absent:
    """Return which of the `missing` files, relative to the store, are absent together."""
    arrays: dict[str, set[str]] = {}
    files: set[str] = set()
    for segment in manifest.segments:
        for array, _ in segment.specs():
            pair = metadata_file(array, segment.name), chunk_file(array, segment.name)
            if all(name in missing for name in pair):
                arrays.setdefault(array.name, set()).add(segment.name)
                files.update(pair)
    weights = tuple(
        name
        for name in manifest.teacher_files
        if is_weights(name) and f"{TEACHER_FOLDER}/{name}" in missing
    )
    files.update(f"{TEACHER_FOLDER}/{name}" for name in weights)
    return Absent(
        {name: frozenset(segments) for name, segments in arrays.items()}, weights, frozenset(files)
    )


def absent_files(store_dir: Path, manifest: Manifest) -> Absent:
    """Return what is absent of a store, whatever state the rest is in."""
    names = [name for name, _ in manifest.files()]
    return absent_of(manifest, {name for name in names if not (store_dir / name).exists()})


def check_present(store_dir: Path, manifest: Manifest) -> Absent:
    """Check that what is here of a store is whole, by its sizes; return what is absent.

    Raises:
        StoreIncompleteError: files are missing of what is here in part.
        StoreDamagedError: a file has another size, or is not a file of the store's own.
    """
    missing = _missing_files(store_dir, manifest)
    absent = absent_of(manifest, missing)
    lost = [name for name in missing if name not in absent.files]
    if lost:
        raise StoreIncompleteError(
            f"{store_dir} lacks {len(lost)} files, the first is {lost[0]}. Restore them "
            f"with 'dvc checkout' or 'dvc pull', or run 'decant repair {store_dir}' and capture "
            "again."
        )
    return absent


def check_whole(store_dir: Path, manifest: Manifest) -> None:
    """Check that every file of a store is here with its size.

    Raises:
        StoreIncompleteError: files are missing, or the store is partial.
        StoreDamagedError: a file has another size, or is not a file of the store's own.
    """
    absent = check_present(store_dir, manifest)
    if absent.is_partial:
        raise StoreIncompleteError(
            f"{store_dir} is partial: {', '.join(absent.lines(manifest))} not here, and nothing "
            f"can be added to a part. Run '{absent.command(store_dir)}' to bring the rest; where "
            f"nobody has it, 'decant repair --absent {store_dir}' has it captured again."
        )


def check_weights(store_dir: Path, manifest: Manifest) -> None:
    """Check that the teacher's weights are here, if the store carries any.

    Raises:
        StoreIncompleteError: they were not fetched.
    """
    names = [name for name in manifest.teacher_files if is_weights(name)]
    if not all((store_dir / TEACHER_FOLDER / name).exists() for name in names):
        raise StoreIncompleteError(
            f"{store_dir} carries the teacher's weights, but they are not here. Run 'decant fetch "
            f"{store_dir} --weights'."
        )


def _missing_files(store_dir: Path, manifest: Manifest) -> dict[str, None]:
    """Return the files that are not here, in order; the others have their sizes."""
    for path in store_dir.iterdir():  # a writer would follow a link to an unused folder, too
        if path.is_symlink():
            raise StoreDamagedError(no_links(path))
    missing: dict[str, None] = {}
    checked: set[str] = set()
    for name, record in manifest.files():
        path = store_dir / name
        folder = name.rpartition("/")[0]
        while folder and folder not in checked:
            checked.add(folder)
            if (store_dir / folder).is_symlink():
                raise StoreDamagedError(no_links(store_dir / folder))
            folder = folder.rpartition("/")[0]
        try:
            size_bytes = regular_file_size(path)
        except FileNotFoundError:
            missing[name] = None
            continue
        if size_bytes != record.size_bytes:
            raise StoreDamagedError(
                f"{path} has {size_bytes:,} bytes, the manifest says {record.size_bytes:,}. "
                f"Restore it with 'dvc checkout', or run 'decant repair {store_dir}' and capture "
                "again."
            )
    return missing


def make_groups(store_dir: Path, arrays: Iterable[Array]) -> None:
    """Make every folder above these arrays a Zarr group."""
    for name in sorted(group_folders(arrays)):
        path = store_dir / name / GROUP_NAME
        if not path.exists():
            write_file(path, GROUP_BYTES)


def group_files(manifest: Manifest, absent: Absent | None = None) -> list[str]:
    """Return every group's `zarr.json`, the store's own first, relative to the store.

    Of arrays that are `absent` everywhere there need be none.
    """
    arrays = {
        array
        for segment in manifest.segments
        for array, _ in segment.specs()
        if absent is None or segment.name not in absent.arrays.get(array.name, ())
    }
    return [GROUP_NAME, *(f"{folder}/{GROUP_NAME}" for folder in sorted(group_folders(arrays)))]


def drop_unfinished(store_dir: Path, manifest: Manifest) -> None:
    """Remove what a stopped writer left: every file that the manifest does not account for."""
    shutil.rmtree(store_dir / PARTIAL_FOLDER, ignore_errors=True)
    (store_dir / (MANIFEST_NAME + PARTIAL_SUFFIX)).unlink(missing_ok=True)
    for path in unaccounted_files(store_dir, manifest):
        path.unlink()
    for folder_name in (ROWS_FOLDER, *SIGNAL_FOLDERS):
        for parent, _, _ in os.walk(store_dir / folder_name, topdown=False):
            if parent != str(store_dir / folder_name) and not any(Path(parent).iterdir()):
                Path(parent).rmdir()


def unaccounted_files(store_dir: Path, manifest: Manifest) -> list[Path]:
    """Return the files in a store's folders that the manifest does not account for."""
    known = {name for name, _ in manifest.files()} | set(group_files(manifest))
    found = [
        Path(parent, name)
        for folder in STORE_FOLDERS
        if not (store_dir / folder).is_symlink()
        for parent, folders, files in os.walk(store_dir / folder)
        for name in [*files, *folders]
    ]
    return sorted(
        path
        for path in found
        if (path.is_symlink() or not path.is_dir())
        and path.relative_to(store_dir).as_posix() not in known
    )
