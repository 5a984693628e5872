"""Stores made to harm: refused when they are opened, before they are read or followed.

Manifests of other shapes are in test_manifest.py, row tables in test_row_table.py.
"""

import json
import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.view import View
from pipeline.store_tools.verify import verify_store
from tests.store.altered import alter, read_content, replace_file, replace_recorded, write_sealed
from tests.store.small_store import Sample, contents, openers

CHUNK = "cls/00000/c/0/0/0"
ALLOWED_BYTES = 4 * 2**20
"""What refusing a store may allocate; each of these claims thousands of times as much."""


def truncate(path: Path, size_bytes: int) -> None:
    replace_file(path, path.read_bytes()[:size_bytes])
    with path.open("r+b") as file:
        file.truncate(size_bytes)


CLAIMS: dict[str, tuple[list[tuple[tuple[str | int, ...], object]], str]] = {
    "rows": ([(("segments", 0, "n_rows"), 2**47)], "segments.0.n_rows: Input should be less"),
    "hidden size": ([(("teacher", "hidden_size"), 2**31 - 1)], "needs 25,769,803,768"),
    "layers": ([(("teacher", "n_layers"), 2**31 - 1)], "cls has 52 bytes, its shape"),
    "heads": ([(("teacher", "n_heads"), 2**31 - 1)], "attentions/01 has 64 bytes, its shape"),
    "labels": ([(("teacher", "n_labels"), 2**31 - 1)], "logits has 20 bytes, its shape"),
    "length limit": (
        [
            (("identity", "max_length"), 2**47),
            (("segments", 0, "n_tokens"), 2**40),
            (("segments", 0, "n_token_pairs"), 2**47),
        ],
        "no 2 rows of up to 140,737,488,355,328 tokens have",
    ),
    "a chunk that is not there": (
        [
            (("teacher", "n_labels"), 2**30),
            (("segments", 0, "arrays", "logits", "chunk", "size_bytes"), 2 * 2**30 * 4 + 4),
            (("segments", 1, "arrays", "logits", "chunk", "size_bytes"), 3 * 2**30 * 4 + 4),
        ],
        r"logits/00000/c/0/0 has 20 bytes, the manifest says 8,589,934,596\. Restore it",
    ),
    "a version of the future": ([(("format_version",), 2)], "format_version: Input should be 1"),
    "an unknown encoding": (
        [(("segments", 0, "arrays", "cls", "encoding"), "pickle")],
        "segments.0.arrays.cls.encoding: Input should be 'float32'",
    ),
    "an encoding of other signals": (
        [(("segments", 0, "arrays", "cls", "encoding"), "uint8_cbrt")],
        "cls cannot be stored as uint8_cbrt",
    ),
    "a wider encoding": (
        [(("segments", index, "arrays", "cls", "encoding"), "float32") for index in (0, 1)],
        r"cls has 52 bytes, its shape \(2, 3, 4\) as float32 needs 100",
    ),
}


@pytest.mark.parametrize("kind", CLAIMS)
def test_a_claim_costs_no_memory(sample: Sample, kind: str) -> None:
    """Catches sizes that are believed: a small file that makes its reader allocate gigabytes."""
    changes, message = CLAIMS[kind]
    alter(sample.folder, *changes)
    for opener in openers(sample):
        tracemalloc.start()
        try:
            with pytest.raises(StoreDamagedError, match=message):
                opener()
            assert tracemalloc.get_traced_memory()[1] < ALLOWED_BYTES
        finally:
            tracemalloc.stop()


Change = Callable[[Path, Path], None]
"""Changes a store (first) with the help of a folder outside it (second)."""


def link_out(name: str) -> Change:
    def change(store: Path, outside: Path) -> None:
        (store / name).symlink_to(shutil.move(store / name, outside / "moved"))

    return change


def pipe(name: str) -> Change:
    def change(store: Path, outside: Path) -> None:
        (store / name).unlink()
        os.mkfifo(store / name)

    return change


def folder_instead(name: str) -> Change:
    def change(store: Path, outside: Path) -> None:
        (store / name).unlink()
        (store / name).mkdir()

    return change


LINK = "is a symbolic link; a store's files are regular files, so that none can lie outside it"
PLACES: dict[str, tuple[Change, str]] = {
    "linked chunk": (link_out(CHUNK), f"{CHUNK} {LINK}"),
    "linked rows": (link_out("rows/00001.arrow"), f"rows/00001.arrow {LINK}"),
    "linked teacher file": (link_out("teacher/config.json"), f"teacher/config.json {LINK}"),
    "linked manifest": (link_out("manifest.json"), f"manifest.json {LINK}"),
    "linked signal": (link_out("cls"), f"store/cls {LINK}"),
    "linked segment": (link_out("cls/00000"), f"cls/00000 {LINK}"),
    "linked chunk folder": (link_out("cls/00000/c"), f"cls/00000/c {LINK}"),
    "linked unused signal": (link_out("hidden_states"), f"store/hidden_states {LINK}"),
    "linked group": (link_out("zarr.json"), f"store/zarr.json {LINK}"),
    "a pipe for a chunk": (pipe(CHUNK), f"{CHUNK} is not a regular file"),
    "a pipe for rows": (pipe("rows/00000.arrow"), "rows/00000.arrow is not a regular file"),
    "a pipe for the manifest": (pipe("manifest.json"), "manifest.json is not a regular file"),
    "a folder for a chunk": (folder_instead(CHUNK), f"{CHUNK} is not a regular file"),
    "a truncated chunk": (
        lambda store, _: truncate(store / CHUNK, 51),
        f"{CHUNK} has 51 bytes, the manifest says 52. Restore it with 'dvc checkout', or run "
        "'decant repair ",
    ),
    "an oversized chunk": (
        lambda store, _: truncate(store / CHUNK, 2**40),
        f"{CHUNK} has 1,099,511,627,776 bytes, the manifest says 52",
    ),
    "truncated rows": (
        lambda store, _: truncate(store / "rows/00000.arrow", 100),
        "rows/00000.arrow has 100 bytes, the manifest says ",
    ),
}


@pytest.mark.parametrize("kind", PLACES)
def test_a_file_that_is_none_of_the_store_is_refused(
    sample: Sample, tmp_path: Path, kind: str
) -> None:
    """Catches a file outside the store that is read, and a pipe that is waited for."""
    change, message = PLACES[kind]
    (tmp_path / "outside").mkdir()
    change(sample.folder, tmp_path / "outside")
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError) as caught:
            opener()
        assert message in str(caught.value)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_broken_manifest_link_does_not_begin_a_new_store(
    sample: Sample, tmp_path: Path, is_there: bool
) -> None:
    """Catches a capture that deletes a store because DVC's cache, linked to, is not mounted."""
    path = sample.folder / "manifest.json"
    moved = path.rename(tmp_path / "cached")
    path.symlink_to(moved)
    if not is_there:
        moved.unlink()
    before = contents(sample.folder)
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match=r"run: dvc config cache\.type reflink"):
            opener()
    assert contents(sample.folder) == before


@pytest.mark.parametrize("name", [".finished", ".partial", "hidden_states"])
def test_a_link_is_not_written_through(sample: Sample, tmp_path: Path, name: str) -> None:
    """Catches a capture into somebody's store that empties a folder outside it."""
    outside = tmp_path / "documents"
    (outside / "empty").mkdir(parents=True)
    (outside / "letter.json").write_bytes(b"mine")
    shutil.rmtree(sample.folder / name, ignore_errors=True)
    (sample.folder / name).symlink_to(outside)
    for opener in openers(sample):
        with pytest.raises(StoreDamagedError, match=f"{name} is a symbolic link"):
            opener()
    assert (outside / "letter.json").read_bytes() == b"mine" and (outside / "empty").is_dir()
    assert {damage.file for damage in verify_store(sample.folder, 1)} == {name}


def test_an_absent_file_is_incomplete_not_damaged(sample: Sample) -> None:
    """Catches a store that was pulled in part and is called damaged."""
    shutil.rmtree(sample.folder / "cls" / "00000" / "c")
    for opener in openers(sample):
        with pytest.raises(StoreIncompleteError, match=r"lacks 1 files, the first is cls/00000/"):
            opener()


def test_a_view_is_held_to_the_same_sizes(sample: Sample) -> None:
    """Catches a view, which has no digest of itself, by which a reader maps past a file's end."""
    content = read_manifest(sample.folder).model_dump(mode="json")
    view = {"tokens": "4" * 64, "manifest": content}
    View.model_validate_json(json.dumps(view))
    content["teacher"]["hidden_size"] = 400
    with pytest.raises(ValueError, match=r"cls has 52 bytes, its shape \(2, 3, 400\)"):
        View.model_validate_json(json.dumps(view))


def test_repeated_keys_are_refused(sample: Sample) -> None:
    """Catches a store in which one row has the values of two."""
    content = read_content(sample.folder)
    second = content["segments"][1]
    content["segments"].append({**second, "name": "00002", "arrays": {}})
    shutil.copy(sample.folder / "rows/00001.arrow", sample.folder / "rows/00002.arrow")
    write_sealed(sample.folder, content)
    store = open_store(sample.folder)
    with pytest.raises(StoreDamagedError, match="names 3 keys twice"):
        store.find(store.keys)


def test_metadata_of_another_shape_are_found(sample: Sample) -> None:
    """Catches a `zarr.json` that makes other readers see another array than this one."""
    name = "cls/00000/zarr.json"
    content = (sample.folder / name).read_bytes()
    assert content.count(b"    2,\n") == 2  # the shape, and the chunk's
    place = ("segments", 0, "arrays", "cls", "metadata")
    replace_recorded(sample.folder, name, place, content.replace(b"    2,\n", b"    9,\n"))
    (damage,) = verify_store(sample.folder, 1)
    assert str(damage) == (
        f"{name} says chunk_grid="
        "{'name': 'regular', 'configuration': {'chunk_shape': [9, 3, 4]}} instead of "
        "{'name': 'regular', 'configuration': {'chunk_shape': [2, 3, 4]}}; rows 0 to 1 "
        "(segment 00000)"
    )


def test_a_store_without_rows_can_be_opened(sample: Sample) -> None:
    """Catches a reader that takes its first segment for granted."""
    alter(sample.folder, (("segments",), []))
    store: TeacherStore = open_store(sample.folder)
    assert len(store) == 0 and store.lengths.tolist() == [] and len(store.keys) == 0
