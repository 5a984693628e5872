"""The manifest: the only truth about what a teacher store holds.

A file that the manifest does not name does not exist; one that it names must be
there with the size and digest it gives. Paths are derived, never read, so no
manifest can point outside its store.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic import field_validator as check_field

from pipeline.architecture import Architecture
from pipeline.atomic import write_json
from pipeline.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.store.spec import (
    FORMAT_VERSION,
    MANIFEST_NAME,
    TEACHER_FOLDER,
    Encoding,
    SegmentSize,
    array_folder,
    chunk_file,
    parse_array_name,
    rows_file,
)

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
SegmentName = Annotated[str, StringConstraints(pattern=r"^[0-9]{5}$")]
FileName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.\-]*$")]
Count = Annotated[int, Field(ge=0, lt=2**48)]

MAX_MANIFEST_BYTES = 256 * 2**20


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
    n_rows: Count
    n_tokens: Count
    n_token_pairs: Count
    rows: FileRecord
    arrays: dict[str, ArrayRecord]
    """By array name, such as `cls` or `attentions/06`."""

    @check_field("arrays")
    @classmethod
    def _names_are_known(cls, arrays: dict[str, ArrayRecord]) -> dict[str, ArrayRecord]:
        for name in arrays:
            parse_array_name(name)
        return arrays

    @property
    def size(self) -> SegmentSize:
        """What the shapes of its arrays follow from."""
        return SegmentSize(self.n_rows, self.n_tokens, self.n_token_pairs)


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

    def array_names(self) -> set[str]:
        """Return the arrays that every segment has."""
        names = [set(segment.arrays) for segment in self.segments]
        return set.intersection(*names) if names else set()

    def files(self) -> Iterator[tuple[str, FileRecord]]:
        """Yield every file with its path relative to the store."""
        for name, record in self.teacher_files.items():
            yield f"{TEACHER_FOLDER}/{name}", record
        for segment in self.segments:
            yield rows_file(segment.name), segment.rows
            for name, array in segment.arrays.items():
                spec = parse_array_name(name)
                yield f"{array_folder(spec, segment.name)}/zarr.json", array.metadata
                yield chunk_file(spec, segment.name), array.chunk


def read_manifest(store_dir: Path) -> Manifest:
    """Return the manifest of a store.

    Raises:
        StoreIncompleteError: there is no store in that folder.
        StoreDamagedError: the manifest is not one of this format.
    """
    path = store_dir / MANIFEST_NAME
    if not path.is_file():
        raise StoreIncompleteError(
            f"{store_dir} holds no teacher store (no {MANIFEST_NAME}). "
            "Run 'dvc repro capture', or 'dvc pull' where another team captured it."
        )
    return parse_manifest(path)


def parse_manifest(path: Path) -> Manifest:
    """Return the manifest in a JSON file.

    Raises:
        StoreDamagedError: the file is not a manifest of this format version.
    """
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise StoreDamagedError(f"{path} is larger than any manifest can be")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"]) or "the whole file"
        raise StoreDamagedError(
            f"{path} is not a manifest of format version {FORMAT_VERSION}: {place}: {fault['msg']}"
        ) from error


def write_manifest(store_dir: Path, manifest: Manifest) -> None:
    """Replace a store's manifest atomically."""
    write_json(store_dir / MANIFEST_NAME, manifest.model_dump(mode="json"))


def check_identity(found: Identity, wanted: Identity, store_dir: Path) -> None:
    """Refuse a store of another teacher, tokenizer, label set or length limit.

    Raises:
        StoreMismatchError: naming each differing field and both values.
    """
    stored: dict[str, Any] = found.model_dump()
    asked: dict[str, Any] = wanted.model_dump()
    differing = [name for name in stored if stored[name] != asked[name]]
    if differing:
        faults = "; ".join(
            f"{name}={_shorten(stored[name])}, now {_shorten(asked[name])}" for name in differing
        )
        raise StoreMismatchError(
            f"{store_dir} was captured with {faults}. Restore what changed, or delete the "
            f"store (rm -r {store_dir}) to capture again."
        )


def _shorten(value: Any) -> str:
    if isinstance(value, str) and len(value) == 64:
        return value[:12]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def check_files(store_dir: Path, manifest: Manifest) -> None:
    """Check that every file is there with its size; contents are not read.

    Raises:
        StoreIncompleteError: files are missing.
        StoreDamagedError: a file has another size.
    """
    missing = []
    for name, record in manifest.files():
        path = store_dir / name
        if not path.is_file():
            missing.append(name)
        elif path.stat().st_size != record.size_bytes:
            raise StoreDamagedError(
                f"{path} has {path.stat().st_size:,} bytes, the manifest says "
                f"{record.size_bytes:,}. Restore it with 'dvc checkout', or delete the store "
                "to capture again."
            )
    if missing:
        raise StoreIncompleteError(
            f"{store_dir} lacks {len(missing)} files, the first is {missing[0]}. Restore them "
            "with 'dvc checkout' or 'dvc pull'."
        )
