"""A manifest of any other shape than the format's is refused before anything is opened."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.errors import StoreDamagedError
from pipeline.store.reader import open_store
from tests.store.small_store import Sample, openers

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
    ("key", "value"), [("hidden_size", 5), ("hidden_size", 2**30), ("n_layers", 3)]
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
