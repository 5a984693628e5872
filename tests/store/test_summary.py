"""What `inspect` says of a store: every number against the store, exact text."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError
from pipeline.store.manifest import read_manifest
from pipeline.store_tools.summary import (
    describe_store,
    folder_sizes,
    format_size,
    format_table,
    summarise_store,
)
from tests.store.small_store import MAPS_2, new_sample

MakeStore = Callable[..., Path]


def test_sizes_are_those_of_the_files(make_store: MakeStore) -> None:
    """A file that is not counted would be missing from every forecast made from it."""
    signals = {"hidden_states": {"layers": (3,)}, "attentions": {"layers": (4,)}}
    store_dir = make_store(signals=signals)
    sizes = folder_sizes(read_manifest(store_dir))
    files = [path for path in store_dir.rglob("*") if path.is_file()]
    assert sizes.total_bytes == sum(path.stat().st_size for path in files)
    assert sizes.rows_bytes == sum(path.stat().st_size for path in (store_dir / "rows").iterdir())
    teacher = (store_dir / "teacher").iterdir()
    assert sizes.teacher_bytes == sum(path.stat().st_size for path in teacher)
    names = [array.name for array in sizes.arrays]
    assert names == ["logits", "cls", "cls/moments", "hidden_states/03", "attentions/04"]
    for array in sizes.arrays:
        chunks = [path for path in (store_dir / array.name).glob("0*/c/**/*") if path.is_file()]
        assert len(chunks) == array.n_segments == 4
        assert array.size_bytes == sum(path.stat().st_size for path in chunks)


def test_document(make_store: MakeStore) -> None:
    """A key that is renamed or a count that is off breaks whoever reads the document."""
    store_dir = make_store(layers=(2,), warm_start=False)
    manifest = read_manifest(store_dir)
    summary = summarise_store(store_dir)
    assert json.loads(json.dumps(summary)) == summary
    n_rows = sum(segment.n_rows for segment in manifest.segments)
    assert n_rows > 100
    assert summary["teacher"] == {
        "model_type": "bert",
        "n_layers": 4,
        "n_heads": 4,
        "hidden_size": 16,
        "n_labels": 2,
        "head_reads": "first",
        "labels": ["negative", "positive"],
        "weights": manifest.identity.weights,
        "config": manifest.identity.config,
    }
    expected: dict[str, Any] = {
        "format": "decant-store-summary",
        "format_version": 1,
        "store": str(store_dir),
        "store_format_version": 1,
        "task": "classification",
        "tokenizer": manifest.identity.tokenizer,
        "max_length": 64,
        "precision": "float32",
        "extraction": 1,
        "has_weights": False,
        "segment_rows": 40,
        "n_segments": 4,
        "n_rows": n_rows,
        "n_tokens": sum(segment.n_tokens for segment in manifest.segments),
        "incomplete": [],
        "versions": manifest.versions,
    }
    assert {key: summary[key] for key in expected} == expected
    others = {"teacher", "teacher_files", "arrays", "absent", "size_bytes"}
    others |= {"rows_bytes", "teacher_bytes", "metadata_bytes"}
    assert set(summary) == set(expected) | others
    assert summary["arrays"]["logits"] == {
        "encoding": "float32",
        "n_segments": 4,
        "n_rows": n_rows,
        "size_bytes": n_rows * 2 * 4 + 4 * 4,
    }


def test_text(tmp_path: Path) -> None:
    """The text must say what the store is, and add up."""
    sample = new_sample(tmp_path / "store")
    sample.add([3, 5, 2, 4])
    sample.add([7])
    summary = {**summarise_store(sample.folder), "versions": {"torch": "2.0", "zarr": "3.0"}}
    metadata, total = summary["metadata_bytes"], summary["size_bytes"]
    rows, teacher = summary["rows_bytes"], summary["teacher_bytes"]
    assert metadata + rows + teacher + (48 + 128 + 626) == total
    width = max(len(f"{total:,}"), 5)
    assert describe_store(summary).splitlines() == [
        f"store      {sample.folder} (format version 1)",
        "teacher    bert, 2 layers, 3 heads, width 4, weights 111111111111",
        "[CLS]      the first token",
        "task       classification into negative, positive",
        "tokenizer  333333333333, up to 64 tokens a row",
        "precision  float32",
        "made with  torch 2.0, zarr 3.0",
        "carries    config and tokenizer: 1 files, 2 bytes",
        "rows       5 of 21 tokens in 2 segments of up to 4",
        "",
        f"array          encoding  segments  {'bytes':>{width}}",
        f"logits         float32          2  {48:>{width}}",
        f"cls            float16          2  {128:>{width}}",
        f"attentions/01  float16          2  {626:>{width}}",
        f"row tables                         {rows:>{width},}",
        f"teacher files                      {teacher:>{width},}",
        f"metadata                           {metadata:>{width},}",
        f"total                              {total:>{width},}",
        "",
        f"in all {total / 1024:,.1f} KiB",
        "complete: every segment has every array",
    ]


def test_incomplete(tmp_path: Path) -> None:
    """A layer that only some segments have must not look captured."""
    sample = new_sample(tmp_path / "store")
    assert summarise_store(sample.folder)["incomplete"] == ["no segment is committed"]
    sample.add([3, 5])
    sample.add([7])
    sample.extend(1, MAPS_2)
    summary = summarise_store(sample.folder)
    assert summary["arrays"]["attentions/02"]["n_segments"] == 1
    assert summary["arrays"]["attentions/02"]["n_rows"] == 1
    assert describe_store(summary).splitlines()[-2:] == [
        "INCOMPLETE: attentions/02 is there for 1 of 2 segments",
        "'dvc repro capture' adds what is missing.",
    ]


def test_stopped_capture(tmp_path: Path) -> None:
    """A capture stopped between segments leaves a manifest that looks complete."""
    sample = new_sample(tmp_path / "store")
    sample.add([3])
    (sample.folder / ".lock").write_text('{"pid": 1}')
    gaps = summarise_store(sample.folder)["incomplete"]
    assert gaps == ["the last capture was stopped, or is still running"]
    (sample.folder / ".lock").write_text("")
    assert summarise_store(sample.folder)["incomplete"] == []


def test_nothing_is_hashed_but_every_size_is_checked(tmp_path: Path) -> None:
    """Other bytes of the same size are `verify`'s; a cut or lost file shows at once."""
    sample = new_sample(tmp_path / "store")
    sample.add([3, 5])
    chunk = sample.folder / "logits/00000/c/0/0"
    chunk.write_bytes(bytes(20))
    assert summarise_store(sample.folder)["n_rows"] == 2
    chunk.write_bytes(bytes(19))
    with pytest.raises(StoreDamagedError, match=r"c/0/0 has 19 bytes, the manifest says 20\."):
        summarise_store(sample.folder)
    chunk.unlink()
    with pytest.raises(StoreIncompleteError, match="lacks 1 files, the first is logits/00000/c/0"):
        summarise_store(sample.folder)


def test_table() -> None:
    """Text aligned right and numbers aligned left cannot be compared."""
    rows = [("name", "n", "kind"), ("a", "1,000", "x"), ("long name", "", "yy")]
    assert format_table(rows) == [
        "name           n  kind",
        "a          1,000  x",
        "long name         yy",
    ]


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**30, "1.0 GiB")],
)
def test_size(size_bytes: int, text: str) -> None:
    """A wrong unit is off by a thousand."""
    assert format_size(size_bytes) == text
    assert format_size(5000 * 2**40) == "5,000.0 TiB"
