"""A row table is read only as what the format says, whatever the file claims."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import StoreDamagedError
from pipeline.core.fingerprint import digest_file
from pipeline.store.manifest import FileRecord, Segment
from pipeline.store.reader import open_store
from pipeline.store.row_table import RowTable, read_row_table, write_row_table
from pipeline.store_tools.verify import verify_store
from tests.store.altered import replace_recorded
from tests.store.small_store import Sample, keys_of

ROWS = "rows/00001.arrow"
KEYS = [key.tobytes() for key in keys_of([2, 3, 4])]
LENGTHS = [2, 4, 1]
SCHEMA = pa.schema({"key": pa.binary(16), "length": pa.int32()})


def table(
    keys: list[bytes | None] = KEYS, lengths: list[int | None] = LENGTHS, schema: pa.Schema = SCHEMA
) -> pa.Table:
    columns = (keys, lengths) if len(schema.names) == 2 else (keys, lengths, lengths)
    return pa.table(
        [pa.array(column, kind) for column, kind in zip(columns, schema.types, strict=True)],
        schema=schema,
    )


def ipc(*tables: pa.Table, compression: str | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_file(sink, tables[0].schema, options=options) as writer:
        for part in tables:
            writer.write_table(part)
    return bytes(sink.getvalue().to_pybytes())


def stream(part: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, part.schema) as writer:
        writer.write_table(part)
    return bytes(sink.getvalue().to_pybytes())


def bomb(compression: str) -> bytes:
    """Return a compressed table whose buffers claim to hold 2^40 bytes each."""
    keys: list[bytes | None] = [bytes(16)] * 3
    honest = ipc(table(keys, [7, 7, 7]), compression=compression)
    claimed = honest.replace(struct.pack("<q", 48), struct.pack("<q", 2**40))
    claimed = claimed.replace(struct.pack("<q", 12), struct.pack("<q", 2**40))
    assert claimed != honest
    return claimed


def schema(key: pa.DataType, length: pa.DataType) -> pa.Schema:
    return pa.schema({"key": key, "length": length})


GOOD = ipc(table())
OTHER_TYPES = ipc(table(schema=schema(pa.binary(16), pa.int64())))
HOSTILE: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "it is not a whole Arrow IPC file"),
    "text": (b"key,length\n" * 20, "it is not a whole Arrow IPC file"),
    "truncated in the body": (GOOD[:400], "it is not a whole Arrow IPC file"),
    "truncated by a byte": (GOOD[:-1], "it is not a whole Arrow IPC file"),
    "no message": (b"ARROW1\0\0" + b"ARROW1", "Expected to read|it has no record batch|Invalid"),
    "stream format": (stream(table()), "it is not a whole Arrow IPC file"),
    "a message of 2 GiB": (
        b"ARROW1\0\0" + struct.pack("<iI", -1, 2**31 - 1) + bytes(80) + b"ARROW1",
        "Expected to read 2147483647 metadata bytes",
    ),
    "no batch": (ipc(table([], [])), "it holds 0 rows|it has no record batch"),
    "lengths of 64 bits": (OTHER_TYPES, "its columns are key: .*, length: int64"),
    "unsigned lengths": (
        ipc(table(schema=schema(pa.binary(16), pa.uint32()))),
        "its columns are .* length: uint32",
    ),
    "float lengths": (
        ipc(table(schema=schema(pa.binary(16), pa.float32()))),
        "its columns are .* length: float",
    ),
    "keys of any size": (
        ipc(table(schema=schema(pa.binary(), pa.int32()))),
        "its columns are key: binary, length: int32",
    ),
    "short keys": (
        ipc(table([key[:8] for key in KEYS], schema=schema(pa.binary(8), pa.int32()))),
        r"its columns are key: fixed_size_binary\[8\]",
    ),
    "other names": (
        ipc(table(schema=pa.schema({"id": pa.binary(16), "length": pa.int32()}))),
        "its columns are id: ",
    ),
    "another column": (
        ipc(
            table(
                schema=pa.schema(
                    {**dict(zip(SCHEMA.names, SCHEMA.types, strict=True)), "x": pa.int8()}
                )
            )
        ),
        "its columns are .*, x: int8",
    ),
    "two batches": (ipc(table(), table()), "it has more than one record batch"),
    "two half batches": (
        ipc(table(KEYS[:2], LENGTHS[:2]), table(KEYS[2:], LENGTHS[2:])),
        "it has more than one record batch",
    ),
    "an empty key": (ipc(table([KEYS[0], None, KEYS[2]])), "it has empty cells"),
    "an empty length": (ipc(table(lengths=[2, None, 4])), "it has empty cells"),
    "fewer rows": (ipc(table(KEYS[:2], LENGTHS[:2])), "it holds 2 rows"),
    "more rows": (ipc(table([*KEYS, bytes(16)], [*LENGTHS, 1])), "it holds 4 rows"),
    "a row without tokens": (ipc(table(lengths=[3, 4, 0])), "it has a row of 0 tokens"),
    "a negative row": (ipc(table(lengths=[4, 4, -1])), "it has a row of -1 tokens"),
    "other lengths": (
        ipc(table(lengths=[3, 3, 1])),
        "its rows have 7 tokens and 19 token pairs, the manifest says 7 and 21",
    ),
    "huge lengths": (
        ipc(table(lengths=[2**31 - 1] * 3)),
        "its rows have 6,442,450,941 tokens and 13,835,058,042,397,261,824 token pairs",
    ),
    "lz4": (ipc(table(), compression="lz4"), "not an uncompressed record batch"),
    "zstd": (ipc(table(), compression="zstd"), "not an uncompressed record batch"),
    "an lz4 bomb": (bomb("lz4"), "not an uncompressed record batch"),
    "a zstd bomb": (bomb("zstd"), "not an uncompressed record batch"),
}


def test_the_table_these_are_made_from_is_read(sample: Sample) -> None:
    """Guards the test below: the same way of writing gives a table that is taken."""
    replace_recorded(sample.folder, ROWS, ("segments", 1, "rows"), GOOD)
    assert open_store(sample.folder).lengths.tolist() == [3, 1, *LENGTHS]
    assert verify_store(sample.folder, 1) == []


@pytest.mark.parametrize("kind", HOSTILE)
def test_another_table_is_refused(sample: Sample, kind: str) -> None:
    """Catches a table that is half read, or that makes Arrow allocate what it claims."""
    content, message = HOSTILE[kind]
    if len(content) < 60:  # else its size alone is refused
        content = content[:-6] + bytes(60 - len(content)) + content[-6:]
        message = f"{message}|it is not a whole Arrow IPC file"
    replace_recorded(sample.folder, ROWS, ("segments", 1, "rows"), content)
    store = open_store(sample.folder)
    most = pa.default_memory_pool().max_memory()
    readers: list[Callable[[], object]] = [lambda: store.keys, lambda: store.lengths]
    for read in readers:
        with pytest.raises(
            StoreDamagedError, match=rf"is not a row table of 3 rows: .*({message})"
        ):
            read()
    (damage,) = verify_store(sample.folder, 1)
    assert (damage.file, damage.rows) == (ROWS, range(2, 5))
    assert pa.default_memory_pool().max_memory() - most < 2**20


def segment_of(path: Path, written: RowTable) -> Segment:
    size = written.size()
    return Segment(
        name="00000",
        n_rows=size.n_rows,
        n_tokens=size.n_tokens,
        n_token_pairs=size.n_token_pairs,
        rows=FileRecord(size_bytes=path.stat().st_size, sha256=digest_file(path)),
        arrays={},
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for one row table after another."""
    path = tmp_path_factory.mktemp("table")
    (path / "rows").mkdir()
    return path


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.integers(1, 5000)), min_size=1))
@settings(deadline=None, max_examples=50)  # the machine may be busy
def test_what_is_written_is_read(folder: Path, rows: list[tuple[bytes, int]]) -> None:
    """Catches keys or lengths that are cut, padded or moved; keys may hold any byte."""
    path = folder / "rows" / "00000.arrow"
    keys = np.array([key for key, _ in rows], dtype="V16")
    written = RowTable(keys, np.array([length for _, length in rows], dtype=np.int64))
    path.unlink(missing_ok=True)  # an earlier table may still be mapped
    write_row_table(path, written)
    read = read_row_table(folder, segment_of(path, written))
    assert read.keys.tobytes() == keys.tobytes() and len(read.keys) == len(rows)
    assert read.lengths.tolist() == written.lengths.tolist()


def test_any_flipped_byte_is_refused_or_changes_keys_alone(folder: Path) -> None:
    """Catches a crash, or another exception, for a damaged table that nobody verified."""
    path = folder / "rows" / "00000.arrow"
    written = RowTable(keys_of(range(5)), np.arange(1, 6))
    path.unlink(missing_ok=True)
    write_row_table(path, written)
    segment, content = segment_of(path, written), path.read_bytes()
    n_refused = 0
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.unlink()
        path.write_bytes(bytes(damaged))
        try:
            read = read_row_table(folder, segment)
        except StoreDamagedError:
            n_refused += 1
        else:
            assert len(read.keys) == len(read.lengths) == 5
            assert sorted(read.lengths.tolist()) == [1, 2, 3, 4, 5]
    assert 50 < n_refused < len(content)
