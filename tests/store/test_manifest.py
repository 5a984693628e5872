"""A manifest of any other shape than the format's is refused before anything is opened."""

import json
from pathlib import Path

import pytest

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.store.manifest import manifest_bytes, read_exact_manifest, read_manifest
from pipeline.store.reader import open_store
from tests.store.altered import Place, alter, read_content, replace_file, write_sealed
from tests.store.small_store import Sample, openers

SEGMENT = ("segments", 0)
ARRAYS = (*SEGMENT, "arrays")
CLS_RECORD = (*ARRAYS, "cls")
RECORD = {"size_bytes": 1, "sha256": "0" * 64}
ARRAY = {"encoding": "float16", "metadata": RECORD, "chunk": RECORD}

REFUSED: list[tuple[Place, object]] = [
    (("teacher_files", "../evil"), RECORD),
    (("teacher_files", "/etc/passwd"), RECORD),
    (("teacher_files", "a/b"), RECORD),
    (("teacher_files", ".hidden"), RECORD),
    (("teacher_files", "a\n"), RECORD),
    (("teacher_files", "a" * 250), RECORD),
    (("teacher_files", "config.json"), "there"),
    ((*SEGMENT, "name"), "../00"),
    ((*SEGMENT, "name"), "0000"),
    ((*SEGMENT, "name"), "00000\n"),
    ((*SEGMENT, "name"), 0),
    ((*SEGMENT, "n_rows"), "2"),
    ((*SEGMENT, "n_rows"), 2.5),
    ((*SEGMENT, "n_rows"), True),
    ((*SEGMENT, "n_rows"), -1),
    ((*SEGMENT, "n_rows"), 2**47),
    ((*SEGMENT, "n_tokens"), float("nan")),
    ((*SEGMENT, "n_tokens"), float("inf")),
    ((*SEGMENT, "n_token_pairs"), 10**400),
    ((*SEGMENT, "path"), "/etc"),
    ((*ARRAYS, "../cls"), ARRAY),
    ((*ARRAYS, "attentions/../cls"), ARRAY),
    ((*ARRAYS, "attentions/1"), ARRAY),
    ((*ARRAYS, "attentions/00"), ARRAY),
    ((*ARRAYS, "attentions/" + "9" * 5000), ARRAY),
    ((*ARRAYS, "attentions/001"), ARRAY),
    ((*ARRAYS, "attentions/٠١"), ARRAY),
    ((*ARRAYS, "cls/01"), ARRAY),
    ((*ARRAYS, "hidden_states/01-mean"), ARRAY),
    ((*ARRAYS, "hidden_states"), ARRAY),
    ((*CLS_RECORD, "encoding"), "pickle"),
    ((*CLS_RECORD, "encoding"), "uint8_cbrt"),
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


@pytest.mark.parametrize(("place", "value"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_manifest_of_another_shape_is_refused(
    sample: Sample, place: Place, value: object
) -> None:
    """Catches a manifest that points outside its store, or makes a reader allocate its memory."""
    alter(sample.folder, (place, value))
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match=r"manifest\.json is not a manifest of format"):
            opener()


def test_every_key_of_a_manifest_is_required(sample: Sample) -> None:
    """Catches a file that counts as a manifest although it does not say what format it has."""
    path = sample.folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert len(manifest) == 9
    for key in manifest:
        rest = {name: value for name, value in manifest.items() if name != key}
        replace_file(path, json.dumps(rest).encode())
        with pytest.raises(StoreDamagedError, match=f"format version 1: {key}: Field required"):
            open_store(sample.folder)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"segments":' * 100_000],
    ids=lambda content: repr(content[:12]),
)
def test_a_manifest_that_is_no_json_object_is_refused(sample: Sample, content: bytes) -> None:
    """Catches a parser's traceback for a damaged manifest."""
    replace_file(sample.folder / "manifest.json", content)
    with pytest.raises(StoreDamagedError, match=r"manifest\.json is not a manifest of format"):
        open_store(sample.folder)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("hidden_size", 5, r"cls has 52 bytes, its shape \(2, 3, 5\) as float16 needs 64"),
        ("hidden_size", 2**31 - 1, r"cls has 52 bytes, .* needs 25,769,803,768"),
        ("n_labels", 3, r"logits has 20 bytes, its shape \(2, 3\) as float32 needs 28"),
        ("n_heads", 2, r"attentions/01 has 64 bytes, its shape \(20,\) as float16 needs 44"),
        ("n_layers", 2**31 - 1, r"cls has 52 bytes, "),
    ],
)
def test_a_shape_that_does_not_fit_its_file_is_refused(
    sample: Sample, key: str, value: int, message: str
) -> None:
    """Catches reading past a file's end because the manifest claims a larger array."""
    alter(sample.folder, (("teacher", key), value))
    with pytest.raises(StoreDamagedError, match=f"segment 00000: {message}"):
        open_store(sample.folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_rows": 5}, "no 5 rows of up to 64 tokens have 4 tokens and 10 token pairs"),
        ({"n_rows": 1}, "no 1 rows of up to 64 tokens have 4 tokens and 10 token pairs"),
        ({"n_tokens": 129}, "have 129 tokens"),
        ({"n_token_pairs": 7}, "4 tokens and 7 token pairs"),
        ({"n_token_pairs": 257}, "4 tokens and 257 token pairs"),
        (
            {"n_rows": 2**31 - 1, "n_tokens": 2**33, "n_token_pairs": 2**36},
            r"row table of \d+ bytes does not hold 2,147,483,647 rows",
        ),
    ],
)
def test_rows_that_cannot_be_are_refused(
    sample: Sample, changes: dict[str, int], message: str
) -> None:
    """Catches sizes that no rows have, from which array sizes and offsets would follow."""
    alter(sample.folder, *(((*SEGMENT, key), value) for key, value in changes.items()))
    with pytest.raises(StoreDamagedError, match=f"segment 00000: .*{message}"):
        open_store(sample.folder)


@pytest.mark.parametrize("size_bytes", [39, 40 + 2**16 + 1, 2**47])
def test_a_row_table_of_an_impossible_size_is_refused(sample: Sample, size_bytes: int) -> None:
    """Catches a table that is mapped and checked although it cannot be one of its rows."""
    alter(sample.folder, ((*SEGMENT, "rows", "size_bytes"), size_bytes))
    message = f"a row table of {size_bytes:,} bytes does not hold 2 rows"
    with pytest.raises(StoreDamagedError, match=message):
        open_store(sample.folder)


def test_segments_are_named_once_and_in_order(sample: Sample) -> None:
    """Catches rows that are there twice, or numbered otherwise by another reader."""
    content = read_content(sample.folder)
    first, second = content["segments"]
    for segments in ([first, first], [second, first]):
        write_sealed(sample.folder, {**content, "segments": segments})
        with pytest.raises(StoreDamagedError, match="segments are not in order, or one is named"):
            open_store(sample.folder)


def test_an_array_has_one_encoding(sample: Sample) -> None:
    """Catches a batch of rows whose bytes mean other numbers in each half."""
    alter(sample.folder, ((*CLS_RECORD, "encoding"), "bfloat16"))
    with pytest.raises(StoreDamagedError, match="cls has two encodings"):
        open_store(sample.folder)


def test_a_layer_that_the_teacher_has_not_is_refused(sample: Sample) -> None:
    """Catches an array whose layer no layer map can mean."""
    content = read_content(sample.folder)
    arrays = content["segments"][0]["arrays"]
    arrays["attentions/03"] = arrays["attentions/01"]
    write_sealed(sample.folder, content)
    message = "segment 00000: the teacher has no layer for attentions/03"
    with pytest.raises(StoreDamagedError, match=message):
        open_store(sample.folder)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("identity", "weights"), "9" * 64),
        (("identity", "labels"), ["positive", "negative"]),
        (("segment_rows",), 5),
        (("teacher", "head_reads"), "last"),
        (("versions", "zarr"), "0"),
        ((*CLS_RECORD, "chunk", "sha256"), "9" * 64),
    ],
)
def test_an_altered_manifest_is_refused(sample: Sample, place: Place, value: object) -> None:
    """Catches an edit that leaves the right shape: labels swapped, another teacher."""
    path = sample.folder / "manifest.json"
    digest = json.loads(path.read_text(encoding="utf-8"))["digest"]
    alter(sample.folder, (place, value))
    altered = json.loads(path.read_text(encoding="utf-8"))
    assert altered["digest"] != digest
    read_manifest(sample.folder)  # of the right shape, and with the right digest it opens
    replace_file(path, json.dumps({**altered, "digest": digest}).encode())
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match="was altered after it was written: its digest"):
            opener()


def test_a_manifest_in_other_bytes_is_not_exact(sample: Sample) -> None:
    """Catches a damaged byte that JSON does not see, such as one of white space."""
    path = sample.folder / "manifest.json"
    content = path.read_bytes()
    assert content == manifest_bytes(read_exact_manifest(sample.folder))
    replace_file(path, content.replace(b"\n ", b"\n\t", 1))
    assert read_manifest(sample.folder) == sample.writer.manifest
    with pytest.raises(StoreDamagedError, match="in other bytes than it was written with"):
        read_exact_manifest(sample.folder)


def test_a_manifest_of_absurd_size_is_not_read(sample: Sample) -> None:
    """Catches a sparse file of a few bytes on the disk that fills the memory."""
    path = sample.folder / "manifest.json"
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)
    message = r"has 1,099,511,627,776 bytes, more than any manifest \(16,777,216\)"
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match=message):
            opener()


def test_a_folder_without_a_manifest_is_no_store(tmp_path: Path) -> None:
    """Catches a traceback where there is nothing, or a file instead of a folder."""
    (tmp_path / "file").write_bytes(b"")
    for name in ("", "absent", "file"):
        with pytest.raises(StoreIncompleteError, match=r"holds no teacher store \(no manifest"):
            open_store(tmp_path / name)
