"""Every byte of a teacher store against its manifest.

Opening a store asks for sizes only; this reads every file once and names what is
damaged, with the rows it touches. It finds damage, not forgery: whoever can write
the store can write a manifest to go with it.
"""

import hashlib
import json
import os
import stat
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
from tqdm import tqdm

from pipeline.core.errors import StoreDamagedError
from pipeline.signals.signal import NUMPY_TYPES, Array
from pipeline.signals.top_logits import TOP_PIECES
from pipeline.store.files import (
    FINISHED_FOLDER,
    PARTIAL_FOLDER,
    Absent,
    absent_of,
    group_files,
    unaccounted_files,
)
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import ArrayRecord, FileRecord, Manifest, Segment, read_exact_manifest
from pipeline.store.row_table import read_row_table
from pipeline.store.spec import (
    GROUP_BYTES,
    GROUP_NAME,
    MANIFEST_NAME,
    STORE_FOLDERS,
    chunk_file,
    metadata_file,
    rows_file,
)

NOT_ACCOUNTED = "is not accounted for by the manifest"
MISSING = "is missing"

_ROOT_FILES = (MANIFEST_NAME, GROUP_NAME)
# A running or stopped capture's, and DVC's.
_EXEMPT = (LOCK_NAME, PARTIAL_FOLDER, FINISHED_FOLDER, ".gitignore")

_BLOCK_BYTES = 2**20
_MAX_METADATA_BYTES = 2**16
_INTACT_CRC32C = 0x48674BC7
"""The CRC32C of any data that is followed by its own CRC32C, little-endian."""

Faults = dict[str, str]
"""What is wrong, by file relative to the store."""


@dataclass(frozen=True)
class Damage:
    """A file that is not what the manifest says, or that it does not know."""

    file: str
    """Relative to the store."""
    fault: str
    segment: str | None = None
    rows: range | None = None
    """The rows of the segment, numbered as a reader numbers them."""

    def __str__(self) -> str:
        if self.rows is None:
            return f"{self.file} {self.fault}"
        first, last = self.rows[0], self.rows[-1]
        return f"{self.file} {self.fault}; rows {first:,} to {last:,} (segment {self.segment})"


def verify_store(store_dir: Path, n_threads: int) -> list[Damage]:
    """Return everything in a store that is damaged, ordered by file; nothing of a whole store.

    What was not fetched is no damage (`presence.check_present` returns it). Reads every byte
    that is here, and shows its progress.

    Raises:
        StoreIncompleteError: there is no store in that folder.
        StoreDamagedError: the manifest itself is damaged, so nothing can be said of the rest,
            or this user may not read a file.
    """
    manifest = read_exact_manifest(store_dir)
    faults = _file_faults(store_dir, manifest, n_threads)
    faults |= _row_faults(store_dir, manifest, faults)
    faults |= _metadata_faults(store_dir, manifest, faults)
    faults |= _piece_faults(store_dir, manifest, faults)
    absent = absent_of(manifest, {name for name, fault in faults.items() if fault == MISSING})
    faults = {name: fault for name, fault in faults.items() if name not in absent.files}
    faults |= _group_faults(store_dir, manifest, absent)
    faults |= _stray_faults(store_dir, manifest)
    places = dict(_places(manifest))
    return [Damage(file, faults[file], *places.get(file, ())) for file in sorted(faults)]


def _file_faults(store_dir: Path, manifest: Manifest, n_threads: int) -> Faults:
    """Compare size, SHA-256 and, of chunks, CRC32C, in one pass over every file."""
    files = list(manifest.files())
    chunks = {
        chunk_file(array, segment.name)
        for segment in manifest.segments
        for array, _ in segment.specs()
    }
    lock = threading.Lock()

    def check(file: tuple[str, FileRecord]) -> str | None:
        name, record = file
        fault = _place_fault(store_dir, name, record.size_bytes)
        if fault is None:
            return _content_fault(store_dir / name, record, count, is_chunk=name in chunks)
        count(record.size_bytes)
        return fault

    def count(n_bytes: int) -> None:
        with lock:
            progress.update(n_bytes)

    total = sum(record.size_bytes for _, record in files)
    with (
        tqdm(total=total, desc="verify", unit="B", unit_scale=True) as progress,
        ThreadPoolExecutor(n_threads) as pool,
    ):
        found = list(pool.map(check, files))
    return {name: fault for (name, _), fault in zip(files, found, strict=True) if fault}


def _place_fault(store_dir: Path, name: str, size_bytes: int) -> str | None:
    """Say what is wrong with a file without reading it; no link is followed."""
    parts = name.split("/")
    folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
    for folder in folders:
        if (store_dir / folder).is_symlink():
            return f"lies in {folder}, which is a symbolic link"
    try:
        status = os.lstat(store_dir / name)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size != size_bytes:
        return f"has {status.st_size:,} bytes instead of {size_bytes:,}"
    return None


def _content_fault(
    path: Path, record: FileRecord, count: Callable[[int], None], *, is_chunk: bool
) -> str | None:
    digest, checksum = hashlib.sha256(), 0
    try:
        with path.open("rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                if is_chunk:
                    checksum = google_crc32c.extend(checksum, block)
                count(len(block))
    except PermissionError as error:
        raise StoreDamagedError(
            f"{path}: {error.strerror}. Verify as a user who may read it."
        ) from error
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    if digest.hexdigest() != record.sha256:
        return f"has SHA-256 {digest.hexdigest()[:12]} instead of {record.sha256[:12]}"
    if is_chunk and checksum != _INTACT_CRC32C:
        return "does not end with the CRC32C of its data"
    return None


def _row_faults(store_dir: Path, manifest: Manifest, known: Faults) -> Faults:
    """Read every row table that has the right bytes, and look for keys that are there twice."""
    faults, names, keys = {}, [], []
    for segment in manifest.segments:
        name = rows_file(segment.name)
        if name in known:
            continue
        try:
            table = read_row_table(store_dir, segment)
        except StoreDamagedError as error:
            faults[name] = str(error.__cause__)
            continue
        names.append(name)
        keys.append(table.keys.view("S16"))
    if not keys:
        return faults
    every = np.concatenate(keys)
    is_repeated = np.ones(len(every), dtype=bool)
    is_repeated[np.unique(every, return_index=True)[1]] = False
    ends = np.cumsum([len(part) for part in keys])
    for name, part in zip(names, np.split(is_repeated, ends[:-1]), strict=True):
        if part.any():
            faults[name] = f"repeats {int(part.sum()):,} keys that are in the store already"
    return faults


def _metadata_faults(store_dir: Path, manifest: Manifest, known: Faults) -> Faults:
    """Compare what the Zarr metadata with the right bytes say with what the manifest implies."""
    faults = {}
    for segment in manifest.segments:
        for array, record in segment.specs():
            name = metadata_file(array, segment.name)
            if name in known:
                continue
            if record.metadata.size_bytes > _MAX_METADATA_BYTES:
                faults[name] = f"has {record.metadata.size_bytes:,} bytes, too many for metadata"
                continue
            fault = _metadata_fault(
                (store_dir / name).read_bytes(), zarr_metadata(manifest, segment, array, record)
            )
            if fault is not None:
                faults[name] = fault
    return faults


def _piece_faults(store_dir: Path, manifest: Manifest, known: Faults) -> Faults:
    """Look for numbers of word pieces, in files with the right bytes, that there are none of."""
    faults = {}
    n_pieces = manifest.teacher.n_labels
    for segment in manifest.segments:
        for array, record in segment.specs():
            name = chunk_file(array, segment.name)
            if array.signal != TOP_PIECES or name in known or not segment.n_targets:
                continue
            shape = array.shape(segment.size, manifest.teacher)
            pieces = np.memmap(store_dir / name, NUMPY_TYPES[record.encoding], "r", shape=shape)
            lowest, highest = int(pieces.min()), int(pieces.max())
            if lowest < 0 or highest >= n_pieces:
                faults[name] = (
                    f"has word pieces {lowest:,} to {highest:,} of a vocabulary of {n_pieces:,}"
                )
    return faults


def zarr_metadata(
    manifest: Manifest, segment: Segment, array: Array, record: ArrayRecord
) -> dict[str, Any]:
    """Return what an array's `zarr.json` must say."""
    shape = list(array.shape(segment.size, manifest.teacher))
    dtype = NUMPY_TYPES[record.encoding]
    little = {"configuration": {"endian": "little"}} if dtype.itemsize > 1 else {}
    return {
        "zarr_format": 3,
        "node_type": "array",
        "shape": shape,
        "data_type": dtype.name,
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": shape}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", **little}, {"name": "crc32c"}],
        "attributes": {"encoding": record.encoding},
        "dimension_names": list(array.dimension_names),
    }


def _metadata_fault(content: bytes, wanted: dict[str, Any]) -> str | None:
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return "is not JSON"
    if not isinstance(found, dict) or found.pop("storage_transformers", []) != []:
        return "is not the metadata of a plain Zarr array"
    for key in sorted(wanted.keys() | found.keys()):
        if key not in wanted or found.get(key) != wanted[key]:
            return f"says {key}={found.get(key)!r:.80} instead of {wanted.get(key)!r:.80}"
    return None


def _group_faults(store_dir: Path, manifest: Manifest, absent: Absent) -> Faults:
    """Compare the files that make folders above arrays that are here Zarr groups."""
    faults = {}
    for name in group_files(manifest, absent):
        fault = _place_fault(store_dir, name, len(GROUP_BYTES))
        if fault is None and (store_dir / name).read_bytes() != GROUP_BYTES:
            fault = "is not the metadata of a Zarr group without attributes"
        if fault is not None:
            faults[name] = fault
    return faults


def _stray_faults(store_dir: Path, manifest: Manifest) -> Faults:
    """Name what the manifest does not account for, in the store's folders and beside them."""
    faults: Faults = {}
    for path in unaccounted_files(store_dir, manifest):
        faults[path.relative_to(store_dir).as_posix()] = NOT_ACCOUNTED
    for path in store_dir.iterdir():
        if path.is_symlink():
            faults[path.name] = "is a symbolic link"
        elif path.name in STORE_FOLDERS:
            if not path.is_dir():
                faults[path.name] = "is not a folder"
        elif path.name not in (*_ROOT_FILES, *_EXEMPT):
            faults[path.name] = NOT_ACCOUNTED
    return faults


def _places(manifest: Manifest) -> Iterator[tuple[str, tuple[str, range]]]:
    """Yield every segment's files with its name and the store's numbers of its rows."""
    first = 0
    for segment in manifest.segments:
        place = (segment.name, range(first, first + segment.n_rows))
        first += segment.n_rows
        yield rows_file(segment.name), place
        for array, _ in segment.specs():
            yield metadata_file(array, segment.name), place
            yield chunk_file(array, segment.name), place
