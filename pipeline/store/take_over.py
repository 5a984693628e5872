"""What another store has, put into one's own without computing or changing it.

Files are hard links where they can be, else copies. The other store, which may be an
import of DVC's and must stay as it is, is only read.
"""

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.core.atomic import disk_full_is_an_error, make_folders, write_file
from pipeline.core.errors import StoreIncompleteError
from pipeline.core.fingerprint import KEY_BYTES
from pipeline.signals.cls import CLS_STATES, MOMENTS
from pipeline.signals.signal import Array
from pipeline.store.files import Absent, check_present, make_groups, signal_option
from pipeline.store.manifest import (
    Identity,
    Manifest,
    Segment,
    check_identity,
    read_manifest,
    write_manifest,
)
from pipeline.store.row_table import read_row_table
from pipeline.store.spec import (
    GROUP_BYTES,
    GROUP_NAME,
    MANIFEST_NAME,
    STORE_FOLDERS,
    TEACHER_FOLDER,
    chunk_file,
    metadata_file,
    parse_array_name,
    rows_file,
)
from pipeline.store.stored_rows import KeyIndex


@dataclass(frozen=True)
class TakenOver:
    """What came into a store."""

    n_segments: int
    n_arrays: int
    """Of segments that it had."""
    n_rows: int


def take_over(
    source_dir: Path, store_dir: Path, identity: Identity, arrays: Iterable[Array]
) -> TakenOver:
    """Put into `store_dir`, which may not exist yet, what `source_dir` has and it lacks.

    A segment is taken whole, and not where one of its rows is there already. `arrays` are
    those that are going to be asked for. Who calls this holds the lock of `store_dir`.

    Raises:
        StoreMismatchError: the source belongs to another teacher, tokenizer, ...
        StoreIncompleteError: files of the source are missing, or one of `arrays` was not
            fetched.
        StoreDamagedError: a file of either has another size.
        DiskFullError: the disk cannot hold a copy.
    """
    source = read_manifest(source_dir)
    check_identity(source.identity, identity, source_dir)
    absent = check_present(source_dir, source)
    _refuse_absent(absent, arrays, source_dir)
    offered = [_without_absent(segment, absent) for segment in source.segments]
    is_new = not (store_dir / MANIFEST_NAME).is_file()
    manifest = read_manifest(store_dir) if not is_new else _without_segments(source, absent)
    mine = {segment.rows.sha256: segment for segment in manifest.segments}
    own = KeyIndex(_keys(store_dir, manifest))
    taken: dict[str, Segment] = {}
    n_arrays = 0
    names = manifest.free_names()
    with disk_full_is_an_error(store_dir):
        if is_new:
            _begin(source_dir, store_dir, manifest)
        for segment in offered:
            old = mine.get(segment.rows.sha256)
            if old is not None:
                added = {n: r for n, r in segment.arrays.items() if n not in old.arrays}
                if added:
                    _link_arrays(source_dir, segment, store_dir, old.name, added)
                    both = {**old.arrays, **added}
                    ordered = {name: both[name] for name in sorted(both)}
                    taken[old.name] = old.model_copy(update={"arrays": ordered})
                    n_arrays += len(added)
            elif (own.find(read_row_table(source_dir, segment).keys) < 0).all():
                name = next(names)
                _link(source_dir / rows_file(segment.name), store_dir / rows_file(name))
                _link_arrays(source_dir, segment, store_dir, name, segment.arrays)
                taken[name] = segment.model_copy(update={"name": name})
        if taken or is_new:
            _write(store_dir, manifest, taken)
    old_names = {segment.name for segment in manifest.segments}
    new = [segment for name, segment in taken.items() if name not in old_names]
    return TakenOver(len(new), n_arrays, sum(segment.n_rows for segment in new))


def _refuse_absent(absent: Absent, arrays: Iterable[Array], source_dir: Path) -> None:
    names = sorted(array.name for array in arrays if array.name in absent.arrays)
    if names:
        options = " ".join(f"--signal {signal_option(name)}" for name in names)
        raise StoreIncompleteError(
            f"{source_dir} is partial: {', '.join(names)} was captured, but is not here, and "
            f"capture.signals asks for it. Run 'decant fetch {source_dir} {options}', or do not "
            "ask for it."
        )


def _without_absent(segment: Segment, absent: Absent) -> Segment:
    gone = {name for name, segments in absent.arrays.items() if segment.name in segments}
    if gone & {CLS_STATES.name, MOMENTS.name}:  # captured together
        gone |= {CLS_STATES.name, MOMENTS.name}
    kept = {name: record for name, record in segment.arrays.items() if name not in gone}
    return segment.model_copy(update={"arrays": kept})


def _without_segments(source: Manifest, absent: Absent) -> Manifest:
    files = {
        name: record for name, record in source.teacher_files.items() if name not in absent.weights
    }
    return source.model_copy(update={"segments": (), "teacher_files": files})


def _keys(store_dir: Path, manifest: Manifest) -> NDArray[np.void]:
    tables = [read_row_table(store_dir, segment).keys for segment in manifest.segments]
    return np.concatenate(tables or [np.empty(0, f"V{KEY_BYTES}")])


def _begin(source_dir: Path, store_dir: Path, manifest: Manifest) -> None:
    """Make the folders, and the teacher's files, of a store that has no manifest yet."""
    for name in STORE_FOLDERS:
        make_folders(store_dir / name)
    for name in manifest.teacher_files:
        _link(source_dir / TEACHER_FOLDER / name, store_dir / TEACHER_FOLDER / name)
    write_file(store_dir / GROUP_NAME, GROUP_BYTES)


def _write(store_dir: Path, manifest: Manifest, taken: dict[str, Segment]) -> None:
    segments = {segment.name: segment for segment in manifest.segments} | taken
    arrays = {parse_array_name(name) for segment in taken.values() for name in segment.arrays}
    make_groups(store_dir, arrays)
    ordered = tuple(segments[name] for name in sorted(segments))
    write_manifest(store_dir, manifest.model_copy(update={"segments": ordered}))


def _link_arrays(
    source_dir: Path, segment: Segment, store_dir: Path, name: str, arrays: Iterable[str]
) -> None:
    for array in map(parse_array_name, arrays):
        for place in (metadata_file, chunk_file):
            _link(source_dir / place(array, segment.name), store_dir / place(array, name))


def _link(source: Path, target: Path) -> None:
    """Make `target`, which no manifest names, the same file as `source`, or a copy of it."""
    make_folders(target.parent)
    target.unlink(missing_ok=True)
    try:
        target.hardlink_to(source)
    except OSError:  # another file system, or one without links
        shutil.copyfile(source, target)
