"""The teacher store: what is written is what is read, or the store is refused."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.architecture import Architecture
from pipeline.errors import (
    SignalError,
    StoreDamagedError,
    StoreIncompleteError,
    StoreMismatchError,
)
from pipeline.fingerprint import row_key
from pipeline.store.encoding import NUMPY_TYPES, encode
from pipeline.store.manifest import Identity, read_manifest
from pipeline.store.reader import TeacherStore, open_store, read_keys
from pipeline.store.spec import ArraySpec, Encoding
from pipeline.store.view import make_view, read_view, write_view
from pipeline.store.writer import StoreWriter, create_store, open_store_for_writing
from pipeline.text.tokens import Tokens, TokenSplit

TEACHER = Architecture(model_type="bert", n_layers=2, n_heads=3, hidden_size=4, n_labels=2)
IDENTITY = Identity(
    task="classification",
    labels=("negative", "positive"),
    weights="1" * 64,
    config="2" * 64,
    tokenizer="3" * 64,
    max_length=64,
    precision="float32",
    extraction=1,
)

LOGITS, CLS = ArraySpec("logits"), ArraySpec("cls")
MAPS_1, MAPS_2 = ArraySpec("attentions", 1), ArraySpec("attentions", 2)
ENCODINGS: dict[ArraySpec, Encoding] = {LOGITS: "float32", CLS: "float16", MAPS_1: "float16"}

RowValues = dict[ArraySpec, NDArray[np.generic]]
"""What one row has in each array, flat."""


def keys_of(numbers: Iterable[int]) -> NDArray[np.void]:
    """Return the keys of rows of one token each."""
    return np.array([np.void(row_key([number], [0])) for number in numbers], dtype="V16")


def draw_row(number: int, length: int, encodings: dict[ArraySpec, Encoding]) -> RowValues:
    """Return values that follow from the row's number alone, with the rarest ones among them."""
    generator = np.random.default_rng(number)
    sizes = {LOGITS: 2, CLS: 3 * 4, MAPS_1: 3 * length**2, MAPS_2: 3 * length**2}
    values = {}
    for array in sorted(encodings):
        dtype = NUMPY_TYPES[encodings[array]]
        drawn = generator.standard_normal(sizes[array]).astype(dtype)
        limits = np.finfo(dtype)
        special = np.array([limits.max, limits.min, -0.0, limits.smallest_subnormal], dtype)
        drawn[:2] = generator.choice(special, 2)
        values[array] = drawn
    return values


@dataclass
class Sample:
    """A store that grows, and a plain dict of what must be in it."""

    folder: Path
    writer: StoreWriter
    encodings: dict[ArraySpec, Encoding]
    lengths: list[list[int]] = field(default_factory=list)
    """By segment."""
    rows: list[RowValues] = field(default_factory=list)
    """All rows, numbered as in the store."""

    def draft(self, lengths: Sequence[int]) -> tuple[Any, list[RowValues]]:
        """Write the arrays of another segment without committing it."""
        first = len(self.rows)
        numbers = range(first, first + len(lengths))
        rows = [
            draw_row(number, length, self.encodings)
            for number, length in zip(numbers, lengths, strict=True)
        ]
        draft = self.writer.add_segment(keys_of(numbers), np.array(lengths, dtype=np.int64))
        for array, encoding in self.encodings.items():
            values = np.concatenate([row[array] for row in rows])
            draft.write_array(array, values.reshape(draft.shape(array)), encoding)
        return draft, rows

    def add(self, lengths: Sequence[int]) -> None:
        """Commit another segment."""
        draft, rows = self.draft(lengths)
        draft.commit()
        self.lengths.append(list(lengths))
        self.rows += rows

    def extend(self, index: int, array: ArraySpec) -> None:
        """Commit another array of a segment; its values are the row's number."""
        draft = self.writer.extend_segment(self.writer.manifest.segments[index])
        draft.write_array(array, np.full(draft.shape(array), 0.5, np.float16), "float16")
        draft.commit()

    def reopen(self) -> None:
        """Open the store for writing as the next run does."""
        writer = open_store_for_writing(self.folder, IDENTITY)
        assert writer is not None
        self.writer = writer


def new_sample(
    folder: Path, encodings: dict[ArraySpec, Encoding] = ENCODINGS, teacher_file: str = "config"
) -> Sample:
    """Make an empty store."""
    source = folder.with_name(folder.name + "-config.json")
    source.parent.mkdir(parents=True, exist_ok=True)
    source.write_text(teacher_file)
    writer = create_store(folder, IDENTITY, TEACHER, 4, {"config.json": source})
    return Sample(folder, writer, encodings)


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    """A store of two segments with five rows."""
    sample = new_sample(tmp_path / "store")
    sample.add([3, 1])
    sample.add([2, 4, 1])
    return sample


def contents(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below `folder`."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def check_rows(store: TeacherStore, sample: Sample, wanted: Sequence[int]) -> None:
    """Check that rows, read in this order, have the bytes that were written."""
    rows = store.find(keys_of(wanted)).tolist()
    read = {
        array: {
            "logits": store.logits,
            "cls": store.cls,
            "attentions": lambda rows, layer=array.layer: store.attentions(rows, layer),
        }[array.signal](rows)
        for array in sample.encodings
    }
    for array, values in read.items():
        expected = np.concatenate([sample.rows[number][array] for number in wanted])
        assert values.numpy().tobytes() == expected.tobytes(), array
    assert read[LOGITS].shape == (len(wanted), 2)
    assert read[CLS].shape == (len(wanted), 3, 4)


Lengths = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@settings(max_examples=12, deadline=None)  # a store is files, and the disk may be busy
@given(
    segments=st.lists(Lengths, min_size=1, max_size=3),
    encodings=st.tuples(*[st.sampled_from(["float32", "float16"])] * 4),
    data=st.data(),
)
def test_any_rows_are_read_as_they_were_written(
    tmp_path_factory: pytest.TempPathFactory,
    segments: list[list[int]],
    encodings: tuple[Encoding, ...],
    data: st.DataObject,
) -> None:
    """Catches an offset, a segment, a shape or a byte that is wrong for some lengths or order."""
    arrays = dict(zip((LOGITS, CLS, MAPS_1, MAPS_2), encodings, strict=True))
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
    names = {name for name, _ in root.members(max_depth=None)}
    arrays = {"logits", "cls", "attentions/01"}
    expected = {f"{name}/{segment}" for name in arrays for segment in ("00000", "00001")}
    assert expected | arrays | {"attentions", "attentions/02", "attentions/02/00000"} == names


class Crash(BaseException):
    """A kill: nothing that catches exceptions may run for it."""


def crash_at(patch: pytest.MonkeyPatch, n_renames: int) -> None:
    """Let the program end at the rename after `n_renames` others."""
    done: list[Path] = []
    rename, replace = Path.rename, Path.replace

    def count(source: Path) -> None:
        if len(done) == n_renames:
            raise Crash
        done.append(source)

    def counted_rename(source: Path, target: Path) -> Path:
        count(source)
        return rename(source, target)

    def counted_replace(source: Path, target: Path) -> Path:
        count(source)
        return replace(source, target)

    patch.setattr(Path, "rename", counted_rename)
    patch.setattr(Path, "replace", counted_replace)


# Renames of a commit: the row table, one for each of 3 arrays, the manifest.
@pytest.mark.parametrize("n_renames", range(5))
def test_an_unfinished_segment_is_invisible_and_dropped(
    sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_renames: int
) -> None:
    """Catches a torn segment that is read, or one that changes what the next run writes."""
    before = contents(sample.folder)
    draft, _ = sample.draft([2, 2])
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, n_renames)
        draft.commit()
    assert contents(sample.folder) != before, "the crash has left something to drop"
    assert len(open_store(sample.folder)) == 5
    sample.reopen()
    assert contents(sample.folder) == before
    sample.add([2, 2])

    whole = new_sample(tmp_path / "whole" / "store")
    for lengths in ([3, 1], [2, 4, 1], [2, 2]):
        whole.add(lengths)
    assert contents(sample.folder) == contents(whole.folder)


def test_an_unfinished_layer_is_invisible_and_dropped(
    sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Catches a layer that counts as captured because its files are there."""
    with monkeypatch.context() as patch, pytest.raises(Crash):
        crash_at(patch, 2)  # the group's file and the array; not the manifest
        sample.extend(0, MAPS_2)
    chunk = sample.folder / "attentions" / "02" / "00000" / "c" / "0"
    assert chunk.exists()
    assert read_manifest(sample.folder).array_names() == {"logits", "cls", "attentions/01"}
    with pytest.raises(StoreIncompleteError, match=r"segment 00000 has no 'attentions/02'; it hol"):
        open_store(sample.folder).attentions([0], 2)
    sample.reopen()
    assert not chunk.exists()
    sample.extend(0, MAPS_2)
    assert open_store(sample.folder).attentions([0], 2).shape == (3 * 3 * 3,)


def test_files_that_nobody_names_are_ignored_and_dropped(sample: Sample) -> None:
    """Catches stray files that are read, block the writer, or end up in DVC's cache."""
    before = contents(sample.folder)
    for name in (
        "rows/00002.arrow",
        "cls/00002/zarr.json",
        "cls/00002/c/0/0/0",
        "attentions/02/00000/c/0",
        "hidden_states/notes.txt",
        ".partial/cls/00002/zarr.json",
    ):
        (sample.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (sample.folder / name).write_bytes(b"stray")
    check_rows(open_store(sample.folder), sample, [4, 0])
    sample.reopen()
    assert contents(sample.folder) == before
    assert not (sample.folder / "cls" / "00002").exists()
    assert (sample.folder / "hidden_states").is_dir(), "each signal's folder is a DVC output"


def test_growth_leaves_committed_files_alone(sample: Sample, tmp_path: Path) -> None:
    """Catches writing through hard links into DVC's cache, and uploads of unchanged files."""
    before = contents(sample.folder)
    cache = tmp_path / "cache"
    for name in before:
        (cache / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(sample.folder / name, cache / name)
    sample.reopen()
    sample.add([5])
    sample.extend(0, MAPS_2)
    assert contents(cache) == before
    after = contents(sample.folder)
    assert {name for name in before if after[name] != before[name]} == {"manifest.json"}


def test_a_segment_gets_another_layer(sample: Sample) -> None:
    """Catches an added layer that displaces arrays, or that counts for all segments too early."""
    names = {"logits", "cls", "attentions/01"}
    sample.extend(1, MAPS_2)
    assert read_manifest(sample.folder).array_names() == names
    assert list(sample.writer.manifest.segments[1].arrays) == sorted([*names, "attentions/02"])
    store = open_store(sample.folder)
    assert store.attentions([3, 2], 2).tolist() == [0.5] * 3 * (4**2 + 2**2)
    check_rows(store, sample, [4, 3, 0])
    sample.extend(0, MAPS_2)
    assert read_manifest(sample.folder).array_names() == {*names, "attentions/02"}


def test_there_is_no_writer_without_a_store(tmp_path: Path) -> None:
    """Catches an empty store that appears where one was only looked for."""
    assert open_store_for_writing(tmp_path / "store", IDENTITY) is None
    assert not (tmp_path / "store").exists()


def test_a_store_without_rows_is_a_store(tmp_path: Path) -> None:
    """Catches a traceback for a store whose first segment was not finished."""
    store = open_store(new_sample(tmp_path / "store").folder)
    assert len(store) == 0
    with pytest.raises(StoreIncompleteError, match="lacks 1 of 1 rows"):
        store.find(keys_of([0]))


def test_another_identity_is_refused_field_by_field(sample: Sample) -> None:
    """Catches a store of another teacher that is added to, or an error that names no value."""
    changed = {
        "task": "regression",
        "labels": ("positive", "negative"),
        "weights": "a" * 64,
        "config": "b" * 64,
        "tokenizer": "c" * 64,
        "max_length": 128,
        "precision": "bfloat16",
        "extraction": 2,
    }
    assert set(changed) == set(Identity.model_fields)
    before = contents(sample.folder)
    with pytest.raises(StoreMismatchError) as caught:
        open_store_for_writing(sample.folder, IDENTITY.model_copy(update=changed))
    assert str(caught.value) == (
        f"{sample.folder} was captured with task=classification, now regression; "
        "labels=negative, positive, now positive, negative; "
        "weights=111111111111, now aaaaaaaaaaaa; config=222222222222, now bbbbbbbbbbbb; "
        "tokenizer=333333333333, now cccccccccccc; max_length=64, now 128; "
        "precision=float32, now bfloat16; extraction=1, now 2. Restore what changed, or delete "
        f"the store (rm -r {sample.folder}) to capture again."
    )
    for name, value in changed.items():
        with pytest.raises(StoreMismatchError, match=f"was captured with {name}=[^;=]*Restore"):
            open_store_for_writing(sample.folder, IDENTITY.model_copy(update={name: value}))
    assert contents(sample.folder) == before


FILES = [
    "rows/00001.arrow",
    "logits/00000/c/0/0",
    "cls/00001/zarr.json",
    "attentions/01/00000/c/0",
    "teacher/config.json",
]


def openers(sample: Sample) -> list[Callable[[], object]]:
    """Return the ways to open a store: for reading and for writing."""
    return [
        lambda: open_store(sample.folder),
        lambda: open_store_for_writing(sample.folder, IDENTITY),
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
        open_store(sample.folder)


def test_a_row_table_that_cannot_be_read_is_named(sample: Sample) -> None:
    """Catches a traceback for a row table whose bytes are damaged."""
    path = sample.folder / "rows" / "00001.arrow"
    path.write_bytes(b"x" * path.stat().st_size)
    with pytest.raises(StoreDamagedError, match=r"00001\.arrow cannot be read: .*dvc checkout"):
        open_store(sample.folder)


def test_missing_keys_are_counted(sample: Sample) -> None:
    """Catches a missing row that is read as its neighbour."""
    with pytest.raises(StoreIncompleteError) as caught:
        open_store(sample.folder).find(keys_of([0, 77, 4, 99]))
    assert str(caught.value) == (
        f"{sample.folder} lacks 2 of 4 rows. Run 'dvc repro capture' to add them."
    )


def test_keys_that_differ_in_the_last_byte_are_two(tmp_path: Path) -> None:
    """Catches a comparison that ends at a zero byte, as one of strings does."""
    keys = np.array([b"\0" * 15 + bytes([last]) for last in (1, 0, 2)], dtype="V16")
    writer = new_sample(tmp_path / "store").writer
    draft = writer.add_segment(keys, np.ones(3, dtype=np.int64))
    draft.write_array(LOGITS, np.zeros((3, 2), dtype=np.float32), "float32")
    draft.commit()
    assert read_keys(tmp_path / "store", writer.manifest.segments[0]).tolist() == keys.tolist()
    assert open_store(tmp_path / "store").find(keys[::-1]).tolist() == [2, 1, 0]


def test_overflow_is_refused_with_its_numbers() -> None:
    """Catches infinities in a store."""
    values = torch.tensor([1.0, -70912.4, 65520.0, 65504.0])
    with pytest.raises(SignalError) as caught:
        encode(values, "float16", "logits of segment 00003")
    assert str(caught.value) == (
        "logits of segment 00003: 2 values overflow float16 (largest 70,912; limit 65,504). "
        "Store this signal as float32."
    )


def test_values_that_are_not_finite_are_refused_with_their_number() -> None:
    """Catches a diverged teacher whose NaN are kept, or blamed on the encoding."""
    values = torch.tensor([1.0, float("nan"), float("inf"), 70000.0])
    for encoding in ("float16", "float32"):
        with pytest.raises(SignalError, match=r"^cls: 2 values are not finite\. The teacher div"):
            encode(values, encoding, "cls")


def test_values_that_fit_are_kept() -> None:
    """Catches an encoding that refuses the largest value, or changes what it can represent."""
    values = torch.tensor([65504.0, -65504.0, 0.0, 2.0**-24, 0.5])
    assert encode(values, "float16", "-").to(torch.float32).equal(values)
    assert encode(values.double(), "float32", "-").equal(values)


def tokens_of(numbers: Iterable[int]) -> Tokens:
    """Return a token table that holds rows with these numbers."""
    keys = keys_of(numbers)
    ids = np.zeros(len(keys), dtype=np.int32)
    offsets, labels = np.arange(len(keys) + 1), np.zeros(len(keys), dtype=np.int64)
    split = TokenSplit(keys, offsets, ids, ids, labels, pa.table({}))
    return Tokens({"train": split}, ("negative", "positive"), "3" * 64, 64, "4" * 64)


def view_bytes(sample: Sample, arrays: Iterable[ArraySpec] = (LOGITS, MAPS_1)) -> bytes:
    """Return the view of a student that reads rows 0, 2 and 3."""
    tokens = tokens_of([3, 0, 2, 0])
    view = make_view(sample.folder, read_manifest(sample.folder), tokens, arrays)
    path = sample.folder.with_name("view.json")
    write_view(path, view)
    assert read_view(path) == view
    return path.read_bytes()


def test_a_view_does_not_see_what_it_does_not_read(sample: Sample) -> None:
    """Catches students that are trained again because another one asked for a layer or rows."""
    before = view_bytes(sample)
    sample.extend(0, MAPS_2)
    sample.extend(1, MAPS_2)
    sample.add([2])
    assert view_bytes(sample) == before
    assert view_bytes(sample, (MAPS_1, LOGITS)) == before, "the order of the arrays does not count"
    assert view_bytes(sample, (LOGITS, MAPS_2)) != before


@pytest.mark.parametrize(("array", "is_read"), [(LOGITS, True), (MAPS_1, True), (CLS, False)])
def test_a_view_sees_what_it_reads(
    sample: Sample, tmp_path: Path, array: ArraySpec, is_read: bool
) -> None:
    """Catches a student that is not trained again although a value it reads has changed."""
    other = new_sample(tmp_path / "other" / "store")
    for lengths in sample.lengths:
        draft, rows = other.draft(lengths)
        if not other.rows:
            changed = np.concatenate([row[array] for row in rows]).reshape(draft.shape(array))
            changed.flat[-1] = 0.25
            (draft.partial_dir / array.name / "00000" / "zarr.json").unlink()
            draft.write_array(array, changed, other.encodings[array])
        draft.commit()
        other.rows += rows
    assert (view_bytes(other) != view_bytes(sample)) == is_read


def test_a_view_opens_what_it_names_and_no_more(sample: Sample) -> None:
    """Catches a student that reads files whose digests its view does not hold."""
    manifest = read_manifest(sample.folder)
    view = make_view(sample.folder, manifest, tokens_of([3]), [LOGITS])
    assert [segment.name for segment in view.manifest.segments] == ["00001"]
    (sample.folder / "cls" / "00001" / "c" / "0" / "0" / "0").unlink()
    store = TeacherStore(sample.folder, view.manifest)
    rows = store.find(keys_of([3])).tolist()
    assert store.logits(rows).numpy().tobytes() == sample.rows[3][LOGITS].tobytes()
    with pytest.raises(StoreIncompleteError, match="segment 00001 has no 'cls'; it holds logits"):
        store.cls(rows)
    with pytest.raises(StoreIncompleteError, match="lacks 1 of 1 rows"):
        store.find(keys_of([0]))


def test_a_layer_that_was_not_captured_is_named(sample: Sample) -> None:
    """Catches a run that ends after hours, or says only that something is missing."""
    sample.extend(0, MAPS_2)  # of one segment only, as a stopped capture leaves it
    with pytest.raises(StoreIncompleteError) as caught:
        view_bytes(sample, (LOGITS, MAPS_2))
    assert str(caught.value) == (
        f"{sample.folder} holds attentions/01, cls, logits, and lacks attentions/02. Add them "
        "under capture.signals and run 'dvc repro capture'."
    )


def test_rows_that_were_not_captured_are_counted(sample: Sample) -> None:
    """Catches a student trained on the rows that happen to be there."""
    manifest = read_manifest(sample.folder)
    with pytest.raises(StoreIncompleteError) as caught:
        make_view(sample.folder, manifest, tokens_of([0, 3, 70, 71, 70]), [LOGITS])
    assert str(caught.value) == (
        f"{sample.folder} lacks 2 of the 4 distinct rows of the token table. Run 'dvc repro "
        "capture' to add them."
    )


def test_a_view_that_is_none_is_refused(tmp_path: Path) -> None:
    """Catches a traceback for a missing or foreign view."""
    path = tmp_path / "view.json"
    with pytest.raises(StoreIncompleteError, match=r"view\.json: no such view\. Run 'dvc repro s"):
        read_view(path)
    path.write_text('{"tokens": "../../etc"}')
    with pytest.raises(StoreDamagedError, match=r"view\.json is not a view: "):
        read_view(path)


def test_a_folder_without_manifest_is_no_store(tmp_path: Path) -> None:
    """Catches an empty folder that counts as an empty store."""
    with pytest.raises(StoreIncompleteError, match=r"holds no teacher store \(no manifest\.json\)"):
        open_store(tmp_path)


SEGMENT = ("segments", 0)
ARRAYS = (*SEGMENT, "arrays")
CLS_RECORD = (*ARRAYS, "cls")
RECORD = {"size_bytes": 1, "sha256": "0" * 64}
ARRAY = {"encoding": "float16", "metadata": RECORD, "chunk": RECORD}

REFUSED: list[tuple[tuple[str | int, ...], object]] = [
    (("teacher_files", "../evil"), RECORD),
    (("teacher_files", "/etc/passwd"), RECORD),
    (("teacher_files", "a/b"), RECORD),
    (("teacher_files", ".hidden"), RECORD),
    (("teacher_files", "a\n"), RECORD),
    (("teacher_files", "config.json"), "there"),
    ((*SEGMENT, "name"), "../00"),
    ((*SEGMENT, "name"), "0000"),
    ((*SEGMENT, "name"), "00000\n"),
    ((*SEGMENT, "name"), 0),
    ((*SEGMENT, "n_rows"), "2"),
    ((*SEGMENT, "n_rows"), 2.5),
    ((*SEGMENT, "n_rows"), True),
    ((*SEGMENT, "n_rows"), -1),
    ((*SEGMENT, "n_rows"), 2**60),
    ((*SEGMENT, "n_token_pairs"), 10**400),
    ((*SEGMENT, "path"), "/etc"),
    ((*ARRAYS, "../cls"), ARRAY),
    ((*ARRAYS, "attentions/../cls"), ARRAY),
    ((*ARRAYS, "attentions/1"), ARRAY),
    ((*ARRAYS, "attentions/00"), ARRAY),
    ((*ARRAYS, "attentions/" + "9" * 5000), ARRAY),
    ((*ARRAYS, "cls/01"), ARRAY),
    ((*ARRAYS, "hidden_states/01"), ARRAY),
    ((*CLS_RECORD, "encoding"), "pickle"),
    ((*CLS_RECORD, "chunk", "size_bytes"), 2**63),
    ((*CLS_RECORD, "chunk", "sha256"), "0" * 63 + "G"),
    ((*CLS_RECORD, "chunk", "path"), "../../evil"),
    (("segments",), {}),
    (("segment_rows",), 0),
    (("segment_rows",), 2**70),
    (("format",), "another"),
    (("format_version",), 2),
    (("format_version",), "1"),
    (("identity", "weights"), "0" * 12),
    (("identity", "labels"), "positive"),
    (("teacher", "n_heads"), 0),
    (("teacher", "hidden_size"), 2**70),
    (("versions",), None),
    (("owner",), "me"),
]


def put(manifest: Any, place: Sequence[str | int], value: object) -> None:
    """Set the value at a place of a manifest."""
    for part in place[:-1]:
        manifest = manifest[part]
    manifest[place[-1]] = value


@pytest.mark.parametrize(("place", "value"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_manifest_of_another_shape_is_refused(sample: Sample, place: str, value: object) -> None:
    """Catches a manifest that points outside its store, or makes a reader allocate its memory."""
    path = sample.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    put(manifest, place, value)
    path.write_text(json.dumps(manifest), encoding="utf-8")
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match=r"manifest\.json is not a manifest of format"):
            opener()


def test_every_key_of_a_manifest_is_required(sample: Sample) -> None:
    """Catches a file that counts as a manifest although it does not say what format it has."""
    path = sample.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert len(manifest) == 8
    for key in manifest:
        rest = {name: value for name, value in manifest.items() if name != key}
        path.write_text(json.dumps(rest), encoding="utf-8")
        with pytest.raises(StoreDamagedError, match=f"format version 1: {key}: Field required"):
            open_store(sample.folder)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000])
def test_a_manifest_that_is_no_json_object_is_refused(sample: Sample, content: bytes) -> None:
    """Catches a parser's traceback for a damaged manifest."""
    (sample.folder / "manifest.json").write_bytes(content)
    with pytest.raises(StoreDamagedError, match=r"manifest\.json is not a manifest of format"):
        open_store(sample.folder)


@pytest.mark.parametrize(
    ("key", "value"), [("hidden_size", 5), ("hidden_size", 2**40), ("n_layers", 3)]
)
def test_a_shape_that_does_not_fit_its_file_is_refused(
    sample: Sample, key: str, value: int
) -> None:
    """Catches reading past a file's end because the manifest claims a larger array."""
    path = sample.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["teacher"][key] = value
    path.write_text(json.dumps(manifest), encoding="utf-8")
    with pytest.raises(StoreDamagedError, match=r"cls/00000/c/0/0/0 has 52 bytes, its shape \(2,"):
        open_store(sample.folder).cls([0])
