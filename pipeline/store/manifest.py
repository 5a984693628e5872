"""The manifest: the only truth about what a teacher store holds.

A file that the manifest does not name does not exist; one that it names must be
there with the size and digest it gives. Paths are derived, never read, so no
manifest can point outside its store.
"""

import os
import stat
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from pipeline.core.atomic import json_bytes, write_file
from pipeline.core.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.core.fingerprint import KEY_BYTES, digest_json
from pipeline.models.architecture import Architecture
from pipeline.signals.axis import SegmentSize
from pipeline.signals.signal import Array, Encoding
from pipeline.store.spec import (
    CHECKSUM_BYTES,
    FORMAT_VERSION,
    MANIFEST_NAME,
    TEACHER_FOLDER,
    chunk_file,
    metadata_file,
    parse_array_name,
    rows_file,
)

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SegmentName = Annotated[str, StringConstraints(pattern=r"^[0-9]{5}$")]
FileName = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$", max_length=200)
]
Count = Annotated[int, Field(ge=0, lt=2**48)]
OptionalCount = Annotated[Count | None, Field(exclude_if=lambda count: count is None)]
"""Not in the file where it is None, so that stores without targets are what they always were."""

MAX_MANIFEST_BYTES = 16 * 2**20
"""About 75,000 files; a store should have fewer than 10,000."""

ROW_BYTES = KEY_BYTES + 4
"""What a row needs in its row table: key and length."""
TARGETS_BYTES = 4
"""What it needs besides where word pieces are predicted: how many."""
ROW_TABLE_OVERHEAD_BYTES = 2**16
"""What a row table may have beyond its rows; so its size bounds its rows from both sides."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FileRecord(_Record):
    """One file as it was committed."""

    size_bytes: Count
    sha256: Digest


class ArrayRecord(_Record):
    """One array of one segment: a Zarr array of exactly one uncompressed chunk."""

    encoding: Encoding
    metadata: FileRecord
    chunk: FileRecord


class Segment(_Record):
    """The unit in which a store grows: rows, and an array for each signal or layer."""

    name: SegmentName
    n_rows: Annotated[int, Field(ge=1, lt=2**31)]
    n_tokens: Count
    n_token_pairs: Count
    n_targets: OptionalCount = None
    """None of a task that predicts no word pieces, as the two that follow."""
    n_target_pairs: OptionalCount = None
    n_cross_pairs: OptionalCount = None
    rows: FileRecord
    arrays: dict[str, ArrayRecord]
    """By array name, such as `cls` or `attentions/06`."""

    @field_validator("arrays")
    @classmethod
    def _arrays_are_known(cls, arrays: dict[str, ArrayRecord]) -> dict[str, ArrayRecord]:
        for name, record in arrays.items():
            if record.encoding not in parse_array_name(name).signal.encodings:
                raise ValueError(f"{name} cannot be stored as {record.encoding}")
        return arrays

    @model_validator(mode="after")
    def _targets_are_counted(self) -> Self:
        counts = (self.n_targets, self.n_target_pairs, self.n_cross_pairs)
        if None in counts and counts != (None, None, None):
            raise ValueError("n_targets, n_target_pairs and n_cross_pairs go together")
        by_target = [array.name for array, _ in self.specs() if array.axis.has_targets]
        if by_target and not self.has_targets:
            raise ValueError(f"segment {self.name}: {by_target[0]} needs n_targets")
        return self

    @property
    def has_targets(self) -> bool:
        """Whether its rows are of a task that predicts word pieces."""
        return self.n_targets is not None

    def specs(self) -> Iterator[tuple[Array, ArrayRecord]]:
        """Yield the arrays with their records."""
        for name, record in self.arrays.items():
            yield parse_array_name(name), record

    @property
    def size(self) -> SegmentSize:
        """What the shapes of its arrays follow from."""
        return SegmentSize(
            self.n_rows,
            self.n_tokens,
            self.n_token_pairs,
            self.n_targets or 0,
            self.n_target_pairs or 0,
            self.n_cross_pairs or 0,
        )


class Identity(_Record):
    """What must be equal for two sets of signals to belong together."""

    task: str
    labels: tuple[str, ...]
    """Label names in order of their numbers."""
    weights: Digest
    """`fingerprint.digest_weights` of the teacher."""
    config: Digest
    """`fingerprint.digest_config` of the teacher."""
    tokenizer: Digest
    """`fingerprint.digest_tokenizer`."""
    max_length: Count
    precision: Literal["float32", "bfloat16", "float16"]
    """Number format of the teacher's matrix products."""
    extraction: Count
    """Version of the rules by which signals are taken from the forward."""


class Manifest(_Record):
    """Everything a reader must know before it opens a data file."""

    format: Literal["decant-teacher-store"]
    format_version: Literal[1]
    identity: Identity
    teacher: Architecture
    teacher_files: dict[FileName, FileRecord]
    """Config, tokenizer and, with warm starts, weights; in the folder `teacher`."""
    segment_rows: Annotated[int, Field(ge=1, lt=2**48)]
    """Rows of a full segment, chosen when the store was made."""
    segments: tuple[Segment, ...]
    versions: dict[str, str]
    """Libraries the store was made with; recorded, not compared."""

    @model_validator(mode="after")
    def _sizes_agree(self) -> Self:
        """Refuse shapes that the files' sizes deny, before anything is opened or allocated."""
        names = [segment.name for segment in self.segments]
        if names != sorted(set(names)):
            raise ValueError("segments are not in order, or one is named twice")
        if len({segment.has_targets for segment in self.segments}) > 1:
            raise ValueError("some segments count targets, others do not")
        encodings: dict[str, Encoding] = {}
        for segment in self.segments:
            _check_row_sizes(segment, self.identity.max_length)
            for array, record in segment.specs():
                if not array.exists_in(self.teacher):
                    lacking = "layer" if array.signal.has_layers else "such vocabulary"
                    raise ValueError(
                        f"segment {segment.name}: the teacher has no {lacking} for {array.name}"
                    )
                if encodings.setdefault(array.name, record.encoding) != record.encoding:
                    raise ValueError(f"{array.name} has two encodings")
                raw = array.size_bytes(segment.size, self.teacher, record.encoding)
                if record.chunk.size_bytes != raw + CHECKSUM_BYTES:
                    raise ValueError(
                        f"segment {segment.name}: {array.name} has {record.chunk.size_bytes:,} "
                        f"bytes, its shape {array.shape(segment.size, self.teacher)} as "
                        f"{record.encoding} needs {raw + CHECKSUM_BYTES:,}"
                    )
        return self

    def array_names(self) -> set[str]:
        """Return the arrays that every segment has."""
        names = [set(segment.arrays) for segment in self.segments]
        return set.intersection(*names) if names else set()

    def free_names(self) -> Iterator[str]:
        """Yield the names of the next new segments, in order."""
        taken = {segment.name for segment in self.segments}
        return (name for name in (f"{number:05d}" for number in count()) if name not in taken)

    def files(self) -> Iterator[tuple[str, FileRecord]]:
        """Yield every file with its path relative to the store."""
        for name, record in self.teacher_files.items():
            yield f"{TEACHER_FOLDER}/{name}", record
        for segment in self.segments:
            yield rows_file(segment.name), segment.rows
            for array, files in segment.specs():
                yield metadata_file(array, segment.name), files.metadata
                yield chunk_file(array, segment.name), files.chunk


class ManifestFile(Manifest):
    """A manifest as it lies on the disk, with the digest of itself."""

    digest: Digest
    """`fingerprint.digest_json` of all the other keys."""


def _check_row_sizes(segment: Segment, max_length: int) -> None:
    n_rows, n_tokens, n_pairs = segment.n_rows, segment.n_tokens, segment.n_token_pairs
    # The square of a sum bounds a sum of squares from both sides.
    are_possible = (
        n_rows <= n_tokens <= n_rows * max_length
        and n_tokens**2 <= n_rows * n_pairs
        and n_pairs <= n_tokens * max_length
    )
    if not are_possible:
        raise ValueError(
            f"segment {segment.name}: no {n_rows:,} rows of up to {max_length:,} tokens have "
            f"{n_tokens:,} tokens and {n_pairs:,} token pairs"
        )
    if segment.has_targets:
        _check_targets(segment.name, segment.size, max_length)
    row_bytes = ROW_BYTES + TARGETS_BYTES * segment.has_targets
    if not 0 <= segment.rows.size_bytes - n_rows * row_bytes <= ROW_TABLE_OVERHEAD_BYTES:
        raise ValueError(
            f"segment {segment.name}: a row table of {segment.rows.size_bytes:,} bytes does not "
            f"hold {n_rows:,} rows"
        )


def _check_targets(name: str, size: SegmentSize, max_length: int) -> None:
    """Refuse counts that no rows have; rows of a token or more bound the pairs with tokens."""
    n_targets, n_pairs, n_cross = size.n_targets, size.n_target_pairs, size.n_cross_pairs
    are_possible = (
        n_targets <= n_pairs <= n_targets**2 <= size.n_rows * n_pairs
        and n_targets <= n_cross <= n_targets * max_length
        and n_cross**2 <= size.n_token_pairs * n_pairs  # Cauchy and Schwarz
    )
    if not are_possible:
        raise ValueError(
            f"segment {name}: no {size.n_rows:,} rows of {size.n_tokens:,} tokens have "
            f"{n_targets:,} targets, {n_pairs:,} target pairs and {n_cross:,} cross pairs"
        )


def read_manifest(store_dir: Path) -> Manifest:
    """Return the manifest of a store.

    Raises:
        StoreIncompleteError: there is no store in that folder.
        StoreDamagedError: the manifest is not one of this format, or was altered.
    """
    return _parse_manifest(_manifest_content(store_dir), store_dir / MANIFEST_NAME)


def read_exact_manifest(store_dir: Path) -> Manifest:
    """Return the manifest of a store, whose file must be the very bytes it is written as.

    Raises:
        StoreIncompleteError: there is no store in that folder.
        StoreDamagedError: any byte of the manifest is another than was written.
    """
    path = store_dir / MANIFEST_NAME
    content = _manifest_content(store_dir)
    manifest = _parse_manifest(content, path)
    if content != manifest_bytes(manifest):
        raise StoreDamagedError(
            f"{path} says the right things in other bytes than it was written with. Restore it "
            "with 'dvc checkout'."
        )
    return manifest


def _manifest_content(store_dir: Path) -> bytes:
    path = store_dir / MANIFEST_NAME
    try:
        size_bytes = regular_file_size(path)
    except FileNotFoundError:
        raise StoreIncompleteError(
            f"{store_dir} holds no teacher store (no {MANIFEST_NAME}). "
            "Run 'dvc repro capture', or 'dvc pull' where another team captured it."
        ) from None
    if size_bytes > MAX_MANIFEST_BYTES:
        raise StoreDamagedError(
            f"{path} has {size_bytes:,} bytes, more than any manifest ({MAX_MANIFEST_BYTES:,})"
        )
    return path.read_bytes()


def _parse_manifest(content: bytes, path: Path) -> Manifest:
    try:
        file = ManifestFile.model_validate_json(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the whole file"
        raise StoreDamagedError(
            f"{path} is not a manifest of format version {FORMAT_VERSION}: {place}: {fault['msg']}"
        ) from error
    manifest = Manifest.model_construct(
        **{name: getattr(file, name) for name in Manifest.model_fields}
    )
    if digest_json(manifest.model_dump(mode="json")) != file.digest:
        raise StoreDamagedError(
            f"{path} was altered after it was written: its digest does not hold. Restore it with "
            "'dvc checkout'."
        )
    return manifest


def manifest_bytes(manifest: Manifest) -> bytes:
    """Return the one file content that a manifest is written as."""
    content = manifest.model_dump(mode="json")
    return json_bytes({**content, "digest": digest_json(content)})


def write_manifest(store_dir: Path, manifest: Manifest) -> None:
    """Replace a store's manifest atomically."""
    write_file(store_dir / MANIFEST_NAME, manifest_bytes(manifest))


def check_identity(found: Identity, wanted: Identity, store_dir: Path) -> None:
    """Refuse a store of another teacher, tokenizer, label set or length limit.

    Raises:
        StoreMismatchError: naming each differing field and both values.
    """
    faults = differing_fields(found, wanted)
    if faults:
        raise StoreMismatchError(
            f"{store_dir} was captured with {faults}. Restore what changed, or delete the "
            f"store (rm -r {store_dir}) to capture again."
        )


def differing_fields(found: Identity, wanted: Identity) -> str:
    """Return each field that differs with both values, as text; empty where none does."""
    stored: dict[str, Any] = found.model_dump()
    asked: dict[str, Any] = wanted.model_dump()
    return "; ".join(
        f"{name}={_shorten(stored[name])}, now {_shorten(asked[name])}"
        for name in stored
        if stored[name] != asked[name]
    )


def _shorten(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def regular_file_size(path: Path) -> int:
    """Return a file's size, without following a link out of the store.

    Raises:
        FileNotFoundError: there is nothing of that name.
        StoreDamagedError: it is a link, or no file.
    """
    try:
        status = os.lstat(path)
    except NotADirectoryError as error:
        raise FileNotFoundError(path) from error
    if stat.S_ISLNK(status.st_mode):
        raise StoreDamagedError(no_links(path))
    if not stat.S_ISREG(status.st_mode):
        raise StoreDamagedError(f"{path} is not a regular file")
    return status.st_size


def no_links(path: Path) -> str:
    """Return what is said of a symbolic link in a store."""
    return (
        f"{path} is a symbolic link; a store's files are regular files, so that none can lie "
        "outside it. Where DVC made the link, run: dvc config cache.type reflink,hardlink,copy && "
        "dvc checkout --relink"
    )
