"""What a capture computes, what it leaves alone, and what is left when it is stopped."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.fingerprint import digest_folder
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import MANIFEST_NAME, read_manifest
from pipeline.store.reader import open_store
from pipeline.tasks import task_of
from pipeline.teacher.capture import describe_capture
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.teacher.work import batches_by_length
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.joined import with_augmented_last
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import open_tokens
from tests.conftest import make_sentences
from tests.teacher.made_captures import (
    LAYERS_2_AND_3,
    SEGMENT_ROWS,
    RunCapture,
    Seen,
    changed_files,
    committed_keys,
    keys_of,
    make_table,
)


def test_a_new_store_holds_every_row(run: RunCapture, whole_store: Path, tmp_path: Path) -> None:
    """Catches rows left out, and guards the tests below: three segments, several arrays."""
    store = open_store(whole_store)
    assert committed_keys(whole_store) == set(keys_of(run.tokens))
    assert [segment.n_rows for segment in store.manifest.segments] == [12, 12, 10]
    assert store.manifest.array_names() == {"attentions/02", "cls", "cls/moments", "logits"}
    report = run(tmp_path / "again")
    assert (report.n_computed, report.n_present) == (34, 0)
    assert report.n_tokens == sum(int(split.lengths.sum()) for split in run.tokens.splits.values())
    assert digest_folder(tmp_path / "again") == digest_folder(whole_store)


def test_a_repeated_row_is_computed_once(
    tmp_path: Path, run: RunCapture, checkpoint: Path, seen: Seen
) -> None:
    """Catches a teacher that is run on copies: in a split, and in another split."""
    rows = list(dict(make_sentences(14, seed=5)).items())
    tokens = make_table(tmp_path, checkpoint, rows[:10] + rows[2:5], rows[8:14] + rows[12:])
    assert len(keys_of(tokens)) == 21 and len(set(keys_of(tokens))) == 14
    report = run(tmp_path / "store", tokens=tokens)
    assert (report.n_computed, report.n_present) == (14, 0)
    assert len(seen.keys) == 14 and set(seen.keys) == set(keys_of(tokens))
    assert len(open_store(tmp_path / "store")) == 14


def test_a_second_capture_computes_nothing(run: RunCapture, store: Path, seen: Seen) -> None:
    """Catches a rerun that costs the hours of the first one, or touches a file."""

    def times() -> dict[Path, int]:
        files = (path for path in store.rglob("*") if path.is_file() and path.name != LOCK_NAME)
        return {path: path.stat().st_mtime_ns for path in files}

    before = times()
    report = run(store)
    assert seen.n_batches == 0
    assert (report.n_computed, report.n_present, report.size_bytes) == (0, 34, 0)
    assert times() == before


def test_only_new_rows_are_computed(
    tmp_path: Path, run: RunCapture, checkpoint: Path, store: Path, seen: Seen
) -> None:
    """Catches a reordered or grown data set that is captured from the start."""
    rows = list(dict(make_sentences(40)).items())[:34]
    more = [row for row in make_sentences(9, seed=6) if row not in rows]
    tokens = make_table(tmp_path, checkpoint, [*more[:5], *rows[::-1]], more[5:])
    old, before = set(keys_of(run.tokens)), digest_folder(store)
    new = [key for key in keys_of(tokens) if key not in old]
    assert len(new) == len(set(new)) == len(more) > 5
    report = run(store, tokens=tokens)
    assert (report.n_computed, report.n_present) == (len(new), 34)
    assert sorted(seen.keys) == sorted(new)
    assert {name.split("/")[-1] for name in changed_files(before, store) if name in before} == {
        MANIFEST_NAME
    }
    assert committed_keys(store) == old | set(new)


def test_variants_are_added_behind_what_is_there(
    tmp_path: Path, run: RunCapture, checkpoint: Path, store: Path, seen: Seen
) -> None:
    """Catches variants that are not captured, or that change the segments of other rows."""
    settings = AugmentationSettings(n_copies=2)
    augment(run.tokens, task_of(run.tokens), load_tokenizer(checkpoint), settings, tmp_path)
    variants = open_tokens(tmp_path)
    both = with_augmented_last(run.tokens, variants)
    before = digest_folder(store)
    report = run(store, tokens=both)
    assert report.n_computed == len(variants.splits["train"]) > 2 * SEGMENT_ROWS
    assert report.n_present == 34
    assert sorted(seen.keys) == sorted(keys_of(variants))
    assert {name for name in changed_files(before, store) if name in before} == {MANIFEST_NAME}
    assert run(tmp_path / "at once", tokens=both).n_present == 0
    first = read_manifest(tmp_path / "at once").segments[: 34 // SEGMENT_ROWS]
    assert first == read_manifest(store).segments[: 34 // SEGMENT_ROWS]


def test_a_new_layer_computes_only_itself(
    tmp_path: Path, run: RunCapture, store: Path, seen: Seen
) -> None:
    """Catches a new layer that costs the others again, or rewrites what was pushed, and rows
    that are called computed where only arrays were added to them."""
    before = digest_folder(store)
    report = run(store, LAYERS_2_AND_3)
    assert seen.arrays == {"attentions/03"}
    assert sorted(seen.keys) == sorted(keys_of(run.tokens))
    assert (report.n_computed, report.n_extended, report.n_present) == (34, 34, 0)
    said = describe_capture(report)
    assert said.startswith("arrays added to 34 rows already present, 0 rows computed, 0 left as")
    changed = changed_files(before, store)
    assert len(changed) == 2 + 3 * 2  # manifest, group, and two files a segment
    assert all(name == MANIFEST_NAME or name.startswith("attentions/03/") for name in changed)
    # The result is the one that a single capture of both layers gives.
    run(tmp_path / "at_once", LAYERS_2_AND_3)
    assert digest_folder(store) == digest_folder(tmp_path / "at_once")


def test_new_rows_and_a_new_layer_together(
    tmp_path: Path, run: RunCapture, checkpoint: Path, store: Path, seen: Seen
) -> None:
    """Catches new segments with only the new layer, or old ones without it."""
    rows = list(dict(make_sentences(40)).items())[:34]
    more = [row for row in make_sentences(9, seed=6) if row not in rows]
    tokens = make_table(tmp_path, checkpoint, rows, more)
    report = run(store, LAYERS_2_AND_3, tokens=tokens)
    assert report.n_computed == len(seen.keys) == 34 + len(more)
    assert report.n_extended == 34
    names = {"attentions/02", "attentions/03", "cls", "cls/moments", "logits"}
    assert all(set(segment.arrays) == names for segment in read_manifest(store).segments)


def stop_after(patch: pytest.MonkeyPatch, n_batches: int) -> None:
    """Let Ctrl-C come in place of the extractor's next batch after so many."""
    compute, n_left = Extractor.__call__, n_batches

    def limited(self: Extractor, rows: list[TokenRow]) -> Extracted:
        nonlocal n_left
        if n_left == 0:
            raise KeyboardInterrupt
        n_left -= 1
        return compute(self, rows)

    patch.setattr(Extractor, "__call__", limited)


@pytest.fixture
def n_batches(tmp_path: Path, run: RunCapture, seen: Seen) -> int:
    """How many forwards an uninterrupted capture takes."""
    run(tmp_path / "counted")
    assert seen.n_batches > 6
    return seen.n_batches


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.99])
def test_a_stopped_capture_resumes_to_the_same_bytes(
    tmp_path: Path,
    run: RunCapture,
    whole_store: Path,
    n_batches: int,
    seen: Seen,
    share: float,
) -> None:
    """Catches work that is lost or done twice, and a store that tells how it was made."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, int(share * n_batches))
        with pytest.raises(KeyboardInterrupt):
            run(store)
    kept = committed_keys(store)
    assert (len(kept) > 0) == (share >= 0.5) and len(kept) < 34
    seen.keys.clear()
    report = run(store)
    assert sorted(seen.keys) == sorted(set(keys_of(run.tokens)) - kept)
    assert (report.n_computed, report.n_present) == (34 - len(kept), len(kept))
    assert digest_folder(store) == digest_folder(whole_store)


def test_a_stopped_extension_resumes_to_the_same_bytes(
    tmp_path: Path, run: RunCapture, store: Path, n_batches: int, seen: Seen
) -> None:
    """Catches a segment that counts as done because it has its older arrays."""
    before = digest_folder(store)
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, n_batches // 2)
        with pytest.raises(KeyboardInterrupt):
            run(store, LAYERS_2_AND_3)
    names = [set(segment.arrays) for segment in read_manifest(store).segments]
    n_extended = sum("attentions/03" in arrays for arrays in names)
    assert 0 < n_extended < 3
    assert changed_files(before, store) & set(before) == {MANIFEST_NAME}
    seen.keys.clear()
    run(store, LAYERS_2_AND_3)
    assert len(seen.keys) == 34 - SEGMENT_ROWS * n_extended
    run(tmp_path / "at_once", LAYERS_2_AND_3)
    assert digest_folder(store) == digest_folder(tmp_path / "at_once")


@given(st.lists(st.integers(1, 64), max_size=50), st.integers(1, 200))
@settings(deadline=None)  # the machine may be busy
def test_batches_obey_the_budget_and_cover_every_row(lengths: list[int], budget: int) -> None:
    """Catches a batch that does not fit in memory, and rows lost between two batches."""
    batches = list(batches_by_length(lengths, budget))
    assert sorted(row for batch in batches for row in batch) == list(range(len(lengths)))
    longest = [max(lengths[row] for row in batch) for batch in batches]
    for batch, longest_here in zip(batches, longest, strict=True):
        assert len(batch) == 1 or len(batch) * longest_here <= budget
    assert longest == sorted(longest, reverse=True)  # memory runs out at once or never
    for batch, next_longest in zip(batches, longest[1:], strict=False):
        assert min(lengths[row] for row in batch) >= next_longest
        assert (len(batch) + 1) * max(lengths[row] for row in batch) > budget  # it was full
