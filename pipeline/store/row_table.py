"""The row table of a segment: which rows its arrays hold, in Arrow IPC.

Reading allocates nothing for the rows, whatever the file claims: the table is mapped
into memory, must be one uncompressed record batch, and is checked against the number
of rows that the manifest gives.
"""

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.core.arrow import as_numpy
from pipeline.core.errors import StoreDamagedError
from pipeline.core.fingerprint import KEY_BYTES
from pipeline.signals.axis import SegmentSize
from pipeline.store.manifest import Segment
from pipeline.store.spec import rows_file

_SCHEMA = pa.schema({"key": pa.binary(KEY_BYTES), "length": pa.int32()})
_TARGETS_SCHEMA = _SCHEMA.append(pa.field("n_targets", pa.int32()))
_MAGIC = b"ARROW1\x00\x00"
_END = b"ARROW1"


@dataclass(frozen=True)
class RowTable:
    """Rows in the order in which a segment's arrays hold them."""

    keys: NDArray[np.void]
    """(row,), 16 raw bytes each."""
    lengths: NDArray[np.int64]
    """(row,), tokens of each row."""
    n_targets: NDArray[np.int64] | None = None
    """(row,), word pieces asked for of each row; None of a task that asks for none."""

    def size(self) -> SegmentSize:
        """Return what the shapes of the segment's arrays follow from."""
        return SegmentSize.of(self.lengths, self.n_targets)


def write_row_table(path: Path, table: RowTable) -> None:
    """Write a row table; it is not forced to the disk."""
    keys = pa.array([key.tobytes() for key in table.keys], pa.binary(KEY_BYTES))
    schema, columns = _SCHEMA, [keys, table.lengths]
    if table.n_targets is not None:
        schema, columns = _TARGETS_SCHEMA, [*columns, table.n_targets]
    joined = pa.table(columns, schema=schema).combine_chunks()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
        writer.write_table(joined)


def read_row_table(store_dir: Path, segment: Segment) -> RowTable:
    """Return a segment's rows; the keys stay in the mapped file.

    Raises:
        StoreDamagedError: it is not the table that the manifest describes.
    """
    path = store_dir / rows_file(segment.name)
    try:
        batch = _read_batch(path, _TARGETS_SCHEMA if segment.has_targets else _SCHEMA)
        if batch.num_rows != segment.n_rows:
            raise ValueError(f"it holds {batch.num_rows:,} rows")
        batch.validate(full=True)
        if any(column.null_count for column in batch.columns):
            raise ValueError("it has empty cells")
        keys = np.frombuffer(batch["key"].buffers()[1], f"V{KEY_BYTES}", batch.num_rows)
        lengths = as_numpy(batch["length"]).astype(np.int64)
        if (lengths < 1).any():
            raise ValueError(f"it has a row of {int(lengths.min())} tokens")
        n_targets = None
        if segment.has_targets:
            n_targets = as_numpy(batch["n_targets"]).astype(np.int64)
            if (n_targets < 0).any():
                raise ValueError(f"it has a row of {int(n_targets.min())} targets")
        _check_size(lengths, n_targets, segment.size)
    except (OSError, ValueError, struct.error, IndexError, pa.ArrowException) as error:
        raise StoreDamagedError(
            f"{path} is not a row table of {segment.n_rows:,} rows: {error}. Restore it with "
            f"'dvc checkout', or run 'decant repair {store_dir}' and capture again."
        ) from error
    return RowTable(keys, lengths, n_targets)


def _check_size(
    lengths: NDArray[np.int64], n_targets: NDArray[np.int64] | None, size: SegmentSize
) -> None:
    n_tokens = int(lengths.sum())
    # Squares of hostile lengths overflow int64; float64 is exact for all that a manifest allows.
    n_token_pairs = float(np.square(lengths, dtype=np.float64).sum())
    if (n_tokens, n_token_pairs) != (size.n_tokens, size.n_token_pairs):
        raise ValueError(
            f"its rows have {n_tokens:,} tokens and {n_token_pairs:,.0f} token pairs, the manifest "
            f"says {size.n_tokens:,} and {size.n_token_pairs:,}"
        )
    if n_targets is None:
        return
    targets = n_targets.astype(np.float64)
    found = (targets.sum(), np.square(targets).sum(), (targets * lengths).sum())
    if found != (size.n_targets, size.n_target_pairs, size.n_cross_pairs):
        raise ValueError(
            f"its rows have {found[0]:,.0f} targets, {found[1]:,.0f} target pairs and "
            f"{found[2]:,.0f} cross pairs, the manifest says {size.n_targets:,}, "
            f"{size.n_target_pairs:,} and {size.n_cross_pairs:,}"
        )


def _read_batch(path: Path, wanted: pa.Schema) -> pa.RecordBatch:
    """Return the one record batch, of the wanted columns, over the mapped file."""
    with pa.memory_map(str(path)) as file:
        content = file.read_buffer()
    begin, end = content.slice(0, len(_MAGIC)), content.slice(max(0, content.size - len(_END)))
    if begin.to_pybytes() != _MAGIC or end.to_pybytes() != _END:
        raise ValueError("it is not a whole Arrow IPC file")
    messages = pa.ipc.MessageReader.open_stream(content.slice(len(_MAGIC)))
    schema = pa.ipc.read_schema(_next(messages))
    if not schema.equals(wanted):
        raise ValueError(f"its columns are {', '.join(f'{c.name}: {c.type}' for c in schema)}")
    message = _next(messages)
    if message.type != "record batch" or _is_compressed(message.metadata.to_pybytes()):
        raise ValueError("its first message is not an uncompressed record batch")
    if next(messages, None) is not None:
        raise ValueError("it has more than one record batch")
    return pa.ipc.read_record_batch(message, schema)


def _next(messages: pa.ipc.MessageReader) -> pa.ipc.Message:
    message = next(messages, None)
    if message is None:
        raise ValueError("it has no record batch")
    return message


def _is_compressed(metadata: bytes) -> bool:
    """Say whether a record batch's flatbuffer has the field `compression`.

    Arrow allocates what a compressed buffer claims to hold. pyarrow does not tell, so
    the two tables on the way (Message and RecordBatch of Arrow's Message.fbs) are read here.
    """
    message = struct.unpack_from("<I", metadata, 0)[0]
    header = _field(metadata, message, 2)
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return _field(metadata, batch, 3) != 0


def _field(metadata: bytes, table: int, index: int) -> int:
    """Return the position of a flatbuffer table's field, 0 where it is absent."""
    fields = table - struct.unpack_from("<i", metadata, table)[0]
    entry = 4 + 2 * index
    if fields < 0 or entry >= struct.unpack_from("<H", metadata, fields)[0]:
        return 0
    offset: int = struct.unpack_from("<H", metadata, fields + entry)[0]
    return table + offset if offset else 0
