"""A store is read as it was written, by this project and by plain readers, or refused."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array, Encoding
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.row_table import RowTable, read_row_table
from tests.store.small_store import (
    MAPS_1,
    MAPS_2,
    MEAN_1,
    STATES_0,
    Sample,
    check_rows,
    keys_of,
    new_sample,
    openers,
)

ARRAYS = (Array(LOGITS), CLS_STATES, STATES_0, MAPS_1, MAPS_2, MEAN_1)
Lengths = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None)  # a store is files, and the disk may be busy
@given(
    segments=st.lists(Lengths, min_size=1, max_size=3),
    encodings=st.tuples(*(st.sampled_from(array.signal.encodings) for array in ARRAYS)),
    data=st.data(),
)
def test_any_rows_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    segments: list[list[int]],
    encodings: tuple[Encoding, ...],
    data: st.DataObject,
) -> None:
    """Catches an offset, a segment, a shape or a byte that is wrong for some lengths or order."""
    arrays = dict(zip(ARRAYS, encodings, strict=True))
    sample = new_sample(tmp_path_factory.mktemp("property") / "store", arrays)
    for lengths in segments:
        sample.add(lengths)
    store = open_store(sample.folder)
    flat = [length for lengths in segments for length in lengths]
    assert len(store) == len(flat)
    assert store.lengths.tolist() == flat
    check_rows(store, sample, range(len(flat)))
    for _ in range(2):
        order = data.draw(st.lists(st.sampled_from(range(len(flat))), min_size=1, max_size=12))
        check_rows(store, sample, order)


def test_a_shifted_store_is_noticed(sample: Sample) -> None:
    """Catches a comparison that could not fail: the negative control of the round trip."""
    sample.rows = [*sample.rows[1:], sample.rows[0]]
    with pytest.raises(AssertionError):
        check_rows(open_store(sample.folder), sample, range(len(sample.rows)))


def test_plain_readers_see_what_was_written(sample: Sample) -> None:
    """Catches a store that only this project can read, against what FORMAT.md promises."""
    manifest = json.loads((sample.folder / "manifest.json").read_text(encoding="utf-8"))
    root = zarr.open(str(sample.folder), mode="r")
    first = 0
    assert [segment["name"] for segment in manifest["segments"]] == ["00000", "00001"]
    for segment, lengths in zip(manifest["segments"], sample.lengths, strict=True):
        rows = sample.rows[first : first + len(lengths)]
        path = sample.folder / "rows" / f"{segment['name']}.arrow"
        with pa.memory_map(str(path)) as file:
            table = pa.ipc.open_file(file).read_all()
        keys = [key.tobytes() for key in keys_of(range(first, first + len(lengths)))]
        assert table.schema.names == ["key", "length"]
        assert table["key"].to_pylist() == keys
        assert table["length"].to_pylist() == lengths
        sizes = (segment["n_rows"], segment["n_tokens"], segment["n_token_pairs"])
        assert sizes == (len(lengths), sum(lengths), sum(n * n for n in lengths))
        shapes = {
            "logits": (len(lengths), 2),
            "cls": (len(lengths), 3, 4),
            "attentions/01": (sum(3 * n * n for n in lengths),),
        }
        axes = {
            "logits": ("row", "label"),
            "cls": ("row", "layer", "hidden"),
            "attentions/01": ("element",),
        }
        assert set(segment["arrays"]) == set(shapes)
        for spec in sample.encodings:
            name = spec.name
            array = root[f"{name}/{segment['name']}"]
            expected = np.concatenate([row[spec] for row in rows]).tobytes()
            assert isinstance(array, zarr.Array)
            assert array.shape == array.chunks == shapes[name]
            assert array.metadata.dimension_names == axes[name]
            assert array.dtype.name == array.attrs["encoding"]
            assert array.attrs["encoding"] == segment["arrays"][name]["encoding"]
            assert [codec.to_dict()["name"] for codec in array.metadata.codecs] == [
                "bytes",
                "crc32c",
            ]
            assert np.asarray(array[...]).tobytes() == expected
            chunk = sample.folder / name / segment["name"] / "c" / "/".join("0" * array.ndim)
            assert chunk.read_bytes()[:-4] == expected
        first += len(lengths)


def test_plain_zarr_refuses_a_changed_byte(sample: Sample) -> None:
    """Catches a checksum that nobody wrote or that covers nothing."""
    chunk = sample.folder / "cls" / "00000" / "c" / "0" / "0" / "0"
    content = bytearray(chunk.read_bytes())
    content[5] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open(str(sample.folder), mode="r")["cls/00000"][...]


def test_every_folder_is_a_zarr_group(sample: Sample) -> None:
    """Catches a hierarchy that a Zarr reader cannot walk from its root."""
    sample.extend(0, MAPS_2)
    root = zarr.open(str(sample.folder), mode="r")
    assert isinstance(root, zarr.Group)
    both = {"00000", "00001"}
    assert {name for name, _ in root["logits"].members(max_depth=None)} == both
    assert {name for name, _ in root["cls"].members(max_depth=None)} == both
    assert {name for name, _ in root["attentions"].members(max_depth=None)} == {
        "01",
        "01/00000",
        "01/00001",
        "02",
        "02/00000",
    }


def test_a_store_without_rows_is_a_store(tmp_path: Path) -> None:
    """Catches a traceback for a store whose first segment was not finished."""
    store = open_store(new_sample(tmp_path / "store").folder)
    assert len(store) == 0
    with pytest.raises(StoreIncompleteError, match="lacks 1 of 1 rows"):
        store.find(keys_of([0]))


def test_a_folder_without_manifest_is_no_store(tmp_path: Path) -> None:
    """Catches an empty folder that counts as an empty store."""
    with pytest.raises(StoreIncompleteError, match=r"holds no teacher store \(no manifest\.json\)"):
        open_store(tmp_path)


FILES = [
    "rows/00001.arrow",
    "logits/00000/c/0/0",
    "cls/00001/zarr.json",
    "attentions/01/00000/c/0",
    "teacher/config.json",
]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named_at_opening(sample: Sample, name: str) -> None:
    """Catches a file lost by an incomplete pull that is noticed in mid-training."""
    (sample.folder / name).unlink()
    message = f"lacks 1 files, the first is {name}. Restore them with 'dvc checkout' or 'dvc pull'"
    for opener in openers(sample):
        with pytest.raises(StoreIncompleteError, match=message):
            opener()


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_named_at_opening(sample: Sample, name: str, change: int) -> None:
    """Catches reading past the end of a file, which ends the program with a bus error."""
    path = sample.folder / name
    content = path.read_bytes()
    path.write_bytes((content + b"\0")[: len(content) + change])
    message = rf"{name} has {len(content) + change:,} bytes, the manifest says {len(content):,}\."
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match=message):
            opener()


def replace_rows(sample: Sample, lengths: list[int]) -> None:
    """Put a row table of other lengths, but of the same size, in place of the second."""
    path = sample.folder / "rows" / "00001.arrow"
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    size = path.stat().st_size
    changed = table.set_column(1, "length", pa.array(lengths, pa.int32()))
    path.unlink()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(changed)
    assert path.stat().st_size == size


@pytest.mark.parametrize("lengths", [[2, 4, 2], [3, 3, 1], [4, 4, -1]])
def test_lengths_that_do_not_fit_the_arrays_are_refused(sample: Sample, lengths: list[int]) -> None:
    """Catches rows that begin at another row's values."""
    replace_rows(sample, lengths)
    with pytest.raises(StoreDamagedError, match=r"00001\.arrow"):
        open_store(sample.folder).find(keys_of([0]))


def test_a_row_table_that_cannot_be_read_is_named(sample: Sample) -> None:
    """Catches a traceback for a row table whose bytes are damaged."""
    path = sample.folder / "rows" / "00001.arrow"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(
        StoreDamagedError, match=r"00001\.arrow is not a row table of 3 rows: .*dvc checkout"
    ):
        open_store(sample.folder).find(keys_of([0]))


def test_missing_keys_are_counted(sample: Sample) -> None:
    """Catches a missing row that is read as its neighbour."""
    with pytest.raises(StoreIncompleteError) as caught:
        open_store(sample.folder).find(keys_of([0, 77, 4, 99]))
    assert str(caught.value) == (
        f"{sample.folder} lacks 2 of 4 rows. Run 'dvc repro capture' to add them."
    )


def test_a_segment_that_is_named_twice_is_refused(sample: Sample) -> None:
    """Catches a damaged manifest under which a key leads to any one of two rows."""
    manifest = read_manifest(sample.folder)
    twice = manifest.model_copy(update={"segments": manifest.segments * 2})
    with pytest.raises(StoreDamagedError, match="5 keys twice"):
        TeacherStore(sample.folder, twice).find(keys_of([0]))


def test_keys_that_differ_in_the_last_byte_are_two(tmp_path: Path) -> None:
    """Catches a comparison that ends at a zero byte, as one of strings does."""
    keys = np.array([b"\0" * 15 + bytes([last]) for last in (1, 0, 2)], dtype="V16")
    writer = new_sample(tmp_path / "store").writer
    draft = writer.add_segment("00000", RowTable(keys, np.ones(3, dtype=np.int64)))
    draft.write_array(Array(LOGITS), np.zeros((3, 2), dtype=np.float32), "float32")
    draft.commit()
    table = read_row_table(tmp_path / "store", writer.manifest.segments[0])
    assert table.keys.tolist() == keys.tolist()
    assert open_store(tmp_path / "store").find(keys[::-1]).tolist() == [2, 1, 0]
