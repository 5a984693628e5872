"""A view changes when, and only when, what its student reads has changed."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.signals.cls import CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import TeacherStore
from pipeline.store.view import check_view, make_view, read_view, write_view
from pipeline.text.tokens import Tokens, TokenSplit
from tests.store.small_store import (
    MAPS_1,
    MAPS_2,
    Sample,
    keys_of,
    new_sample,
)


def tokens_of(numbers: Iterable[int]) -> Tokens:
    """Return a token table that holds rows with these numbers."""
    keys = keys_of(numbers)
    ids = np.zeros(len(keys), dtype=np.int32)
    offsets, labels = np.arange(len(keys) + 1), np.zeros(len(keys), dtype=np.int64)
    split = TokenSplit(keys, offsets, ids, ids, labels, offsets, offsets, pa.table({}))
    return Tokens({"train": split}, "name", ("negative", "positive"), "3" * 64, 64, "4" * 64)


def view_bytes(sample: Sample, arrays: Iterable[Array] = (Array(LOGITS), MAPS_1)) -> bytes:
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
    assert view_bytes(sample, (MAPS_1, Array(LOGITS))) == before, (
        "the order of the arrays does not count"
    )
    assert view_bytes(sample, (Array(LOGITS), MAPS_2)) != before


@pytest.mark.parametrize(
    ("array", "is_read"), [(Array(LOGITS), True), (MAPS_1, True), (CLS_STATES, False)]
)
def test_a_view_sees_what_it_reads(
    sample: Sample, tmp_path: Path, array: Array, is_read: bool
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
    view = make_view(sample.folder, manifest, tokens_of([3]), [Array(LOGITS)])
    assert [segment.name for segment in view.manifest.segments] == ["00001"]
    (sample.folder / "cls" / "00001" / "c" / "0" / "0" / "0").unlink()
    store = TeacherStore(sample.folder, view.manifest)
    rows = store.find(keys_of([3])).tolist()
    assert store.logits(rows).numpy().tobytes() == sample.rows[3][Array(LOGITS)].tobytes()
    with pytest.raises(StoreIncompleteError, match="segment 00001 has no 'cls'; it holds logits"):
        store.cls(rows)
    with pytest.raises(StoreIncompleteError, match="lacks 1 of 1 rows"):
        store.find(keys_of([0]))


def test_a_layer_that_was_not_captured_is_named(sample: Sample) -> None:
    """Catches a run that ends after hours, or says only that something is missing."""
    sample.extend(0, MAPS_2)  # of one segment only, as a stopped capture leaves it
    with pytest.raises(StoreIncompleteError) as caught:
        view_bytes(sample, (Array(LOGITS), MAPS_2))
    assert str(caught.value) == (
        f"{sample.folder} holds attentions/01, cls, logits, and lacks attentions/02. Add them "
        "under capture.signals and run 'dvc repro capture'."
    )


def test_rows_that_were_not_captured_are_counted(sample: Sample) -> None:
    """Catches a student trained on the rows that happen to be there."""
    manifest = read_manifest(sample.folder)
    with pytest.raises(StoreIncompleteError) as caught:
        make_view(sample.folder, manifest, tokens_of([0, 3, 70, 71, 70]), [Array(LOGITS)])
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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("labels", ("positive", "negative"), "labels=negative, positive, now positive, negative"),
        ("tokenizer", "9" * 64, "tokenizer=333333333333, now 999999999999"),
        ("max_length", 32, "max_length=64, now 32"),
    ],
)
def test_tokens_that_the_teacher_never_saw_are_refused(
    sample: Sample, name: str, value: object, message: str
) -> None:
    """Catches logits whose columns are other labels than those of the token table."""
    tokens = replace(tokens_of([0]), **{name: value})
    with pytest.raises(StoreMismatchError, match=f"was captured with {message}. Restore"):
        make_view(sample.folder, read_manifest(sample.folder), tokens, [Array(LOGITS)])


def test_tokens_that_changed_after_the_view_are_refused(sample: Sample) -> None:
    """Catches a student trained on other rows than its view, and DVC, know of."""
    tokens = tokens_of([0])
    view = make_view(sample.folder, read_manifest(sample.folder), tokens, [Array(LOGITS)])
    check_view(view, tokens, sample.folder)
    message = "made for token table 444444444444, the table now is 555555555555"
    with pytest.raises(StoreMismatchError, match=message):
        check_view(view, replace(tokens, digest="5" * 64), sample.folder)
