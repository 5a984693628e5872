"""What a store holds of a teacher that predicts word pieces: each target's largest logits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import zarr

from pipeline.core.errors import SettingsError, StoreIncompleteError
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.signals.top_logits import top_k_arrays, whole_top_k
from pipeline.store.manifest import read_manifest
from pipeline.store.reader import open_store
from pipeline.store.row_values import read_padded, read_ragged
from pipeline.store.spec import parse_array_name
from pipeline.store_tools.summary import describe_store, summarise_store
from pipeline.store_tools.verify import verify_store
from tests.asked_rows import masked_rows
from tests.conftest import capture_store
from tests.piece_tokens import N_PIECES, make_piece_tokens
from tests.store.masked_store import LENGTHS, SIGNALS, Captured, K


def test_values_are_the_models_own_at_each_target(captured: Captured) -> None:
    """Catches logits of other tokens, of other rows, or of padding; a sum over the k alone."""
    store = captured.store()
    order = np.random.default_rng(0).permutation(len(captured.rows))
    rows = store.find(captured.tokens.splits["train"].keys[order])
    top = store.top_logits(rows)
    own = torch.cat([captured.own_logits(captured.rows[row]) for row in order])
    assert len(own) == sum(len(range(1, length, 3)) for length in LENGTHS) == len(top.values)
    assert top.values.shape == top.pieces.shape == (len(own), K)
    # float32 sums of 16 products in another order, for batches of another shape
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(top.values, own.topk(K).values, **close)
    torch.testing.assert_close(own.gather(1, top.pieces), top.values, **close)
    torch.testing.assert_close(top.log_sum_exp, own.logsumexp(1), **close)
    right = [torch.from_numpy(captured.rows[row].asked.pieces).long() for row in order]  # type: ignore[union-attr]
    torch.testing.assert_close(top.target, own.gather(1, torch.cat(right)[:, None])[:, 0], **close)
    assert (top.values.diff(dim=1) <= 0).all() and len(set(top.pieces[:, 0].tolist())) > 1
    assert (top.log_sum_exp > top.values[:, 0]).all()
    # The same check fails for values that are one target late.
    assert not torch.allclose(top.values.roll(1, 0), own.topk(K).values, **close)


def test_rows_are_cut_at_their_targets(captured: Captured) -> None:
    """Catches rows that get their neighbours' targets, first of all behind a row of none."""
    store = captured.store()
    rows = store.find(captured.tokens.splits["train"].keys)
    values = read_ragged(store, rows)
    counts = [len(range(1, length, 3)) for length in LENGTHS]
    assert 0 in counts and store.n_targets[rows].tolist() == counts
    for name, shape in {
        f"logits/top-{K}": (K,),
        f"logits/top-{K}-pieces": (K,),
        "logits/log_sum_exp": (),
        "logits/target": (),
    }.items():
        assert [value.shape for value in values[name]] == [(count, *shape) for count in counts]
        padded = read_padded(store, rows, [name])[name]
        assert padded.shape == (len(rows), max(counts), *shape)
        for row, value in zip(padded, values[name], strict=True):
            assert torch.equal(row[: len(value)], value) and not row[len(value) :].any()
    assert values[f"logits/top-{K}-pieces"][1].dtype == torch.int64
    sizes = store.row_bytes(top_k_arrays(K))
    assert sizes[rows].tolist() == [count * (8 * K + 8) for count in counts]
    empty = store.top_logits(rows[:1])
    assert empty.values.shape == (0, K) and empty.target.shape == (0,)


def test_other_tools_read_it(captured: Captured) -> None:
    """Catches arrays that only this project's reader understands."""
    group = zarr.open_group(captured.folder, mode="r")
    store, found = captured.store(), []
    for segment in store.manifest.segments:
        table = pa.ipc.open_file(captured.folder / "rows" / f"{segment.name}.arrow").read_all()
        assert table.schema.names == ["key", "length", "n_targets"]
        n_targets = sum(table["n_targets"].to_pylist())
        pieces: Any = group[f"logits/top-{K}-pieces/{segment.name}"]
        assert pieces.shape == (n_targets * K,) and pieces.dtype == np.int32
        assert pieces.attrs["encoding"] == "int32"
        found.append(np.asarray(pieces[...]).reshape(n_targets, K))
    mine = store.top_logits(range(len(store))).pieces
    np.testing.assert_array_equal(np.concatenate(found), mine.numpy())


def test_the_vocabulary_is_the_teachers_labels(captured: Captured) -> None:
    """Catches a manifest with the two labels that every config has."""
    manifest = read_manifest(captured.folder)
    assert (manifest.teacher.n_labels, manifest.identity.labels) == (N_PIECES, ())
    assert manifest.identity.task == "masked_lm"
    summary = summarise_store(captured.folder)
    n_targets = sum(len(range(1, length, 3)) for length in LENGTHS)
    assert summary["n_targets"] == n_targets
    text = describe_store(summary)
    assert f"masked_lm, of {N_PIECES} word pieces" in text
    assert f"{n_targets} word pieces asked for" in text


def test_the_largest_k_is_chosen() -> None:
    """Catches a student that is given fewer of the teacher's logits than there are."""
    arrays = [*top_k_arrays(64), *top_k_arrays(128)[:2], *top_k_arrays(256)[:1], Array(LOGITS)]
    assert whole_top_k(arrays) == top_k_arrays(128)
    message = "logits/top-K, are not all there; there is logits, logits/top-64. Run 'dvc repro"
    with pytest.raises(StoreIncompleteError, match=message):
        whole_top_k([Array(LOGITS), top_k_arrays(64).values])


def test_more_than_the_vocabulary_cannot_be_asked_for(captured: Captured, tmp_path: Path) -> None:
    """Catches a capture that fails in torch, after the teacher was loaded."""
    message = (
        r"^capture\.signals\.logits\.top_k: the 64 largest logits are asked for, and the teacher's "
        r"vocabulary has 40 word pieces, of which some must be left to be the others\. Set it to "
        r"39 or less\.$"
    )
    with pytest.raises(SettingsError, match=message):
        capture_store(tmp_path / "store", captured.teacher, captured.tokens, signals={})
    signals = {"logits": {"top_k": N_PIECES - 1}}
    most = capture_store(tmp_path / "most", captured.teacher, captured.tokens, signals=signals)
    top = open_store(most).top_logits(range(len(LENGTHS)))
    left = 1 - (top.values.logsumexp(1) - top.log_sum_exp).exp()
    assert (left > 0).all() and (left < 1 / N_PIECES).all(), "the least likely piece is left"


def test_a_segment_without_any_target_is_whole(captured: Captured, tmp_path: Path) -> None:
    """Catches an array of no elements, for which Zarr writes no chunk."""
    rows = masked_rows((1, 1, 1, 5), seed=3)
    tokens = make_piece_tokens(rows, captured.teacher)
    folder = capture_store(
        tmp_path / "store", captured.teacher, tokens, signals=SIGNALS, segment_rows=2
    )
    assert [segment.n_targets for segment in read_manifest(folder).segments] == [0, 2]
    assert verify_store(folder, 1) == []
    store = open_store(folder)
    assert store.top_logits(store.find(tokens.splits["train"].keys)).values.shape == (2, K)
    assert store.top_logits([0, 1]).values.shape == (0, K)


def test_the_names_are_read_back() -> None:
    """Catches an array that a manifest can name in two ways, or that it cannot."""
    for array in (*top_k_arrays(64), *top_k_arrays(1)):
        assert parse_array_name(array.name) == array
    for name in ("logits/top-064", "logits/top-0", "logits/top-7-piece", "logits/top-99999999"):
        with pytest.raises(ValueError, match="is not an array of format version 1"):
            parse_array_name(name)


def test_other_tasks_do_not_know_of_targets(captured: Captured) -> None:
    """Catches fields that change the bytes of every store there is."""
    content = json.loads((captured.folder / "manifest.json").read_bytes())
    (segment, *_) = content["segments"]
    assert segment["n_targets"] > 0 and "n_decoder_layers" not in content["teacher"]
