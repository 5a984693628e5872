"""A store grows by whole segments and whole arrays, whatever stops the writer."""

import os
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from pipeline.core.errors import StoreDamagedError, StoreIncompleteError, StoreMismatchError
from pipeline.store.files import FINISHED_FOLDER
from pipeline.store.manifest import Identity, read_manifest, regular_file_size
from pipeline.store.reader import open_store
from pipeline.store.segment_draft import SegmentDraft
from pipeline.store.spec import rows_file
from pipeline.store.writer import StoreWriter, open_store_for_writing
from tests.store.small_store import (
    IDENTITY,
    MAPS_2,
    Sample,
    check_rows,
    contents,
    new_sample,
)

LENGTHS = st.lists(st.integers(1, 3), min_size=1, max_size=3)


class Crash(BaseException):
    """A kill: nothing that catches exceptions may run for it."""


def crash_in_commit(draft: SegmentDraft, n_renames: int) -> None:
    """Let the program end in a commit, at the rename after `n_renames` others."""
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

    with pytest.MonkeyPatch.context() as patch, pytest.raises(Crash):
        patch.setattr(Path, "rename", counted_rename)
        patch.setattr(Path, "replace", counted_replace)
        draft.commit()


def test_a_finished_segment_is_taken_over_by_its_own_files(sample: Sample) -> None:
    """Catches work of another writer that is thrown away for a file that is not its own, and a
    look at every file of the store for each segment."""
    beside = StoreWriter(sample.folder, sample.writer.manifest, "beside")
    whole, _ = replace(sample, writer=beside).draft([2, 2])
    whole.commit()
    (sample.folder / rows_file("00000")).write_bytes(b"damaged")
    looked_at: list[Path] = []

    def size_of(path: Path) -> int:
        looked_at.append(path)
        return regular_file_size(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.store.files.regular_file_size", size_of)
        sample.writer.adopt_finished()
    name = sample.writer.manifest.segments[-1].name
    assert len(looked_at) == 1 + 2 * len(sample.encodings)
    assert all(name in path.parts or path.stem == name for path in looked_at)
    assert name == whole.partial_dir.name
    assert not list((sample.folder / FINISHED_FOLDER).iterdir())


# Renames of the commit: the row table, one for each of 3 arrays, the manifest.
@pytest.mark.parametrize("n_renames", range(5))
def test_an_unfinished_segment_is_invisible_and_dropped(
    sample: Sample, tmp_path: Path, n_renames: int
) -> None:
    """Catches a torn segment that is read, or one that changes what the next run writes."""
    before = contents(sample.folder)
    crash_in_commit(sample.draft([2, 2])[0], n_renames)
    assert contents(sample.folder) != before, "the crash has left something to drop"
    assert len(open_store(sample.folder)) == 5
    sample.reopen()
    assert contents(sample.folder) == before
    sample.add([2, 2])

    whole = new_sample(tmp_path / "whole" / "store")
    for lengths in ([3, 1], [2, 4, 1], [2, 2]):
        whole.add(lengths)
    assert contents(sample.folder) == contents(whole.folder)


def test_an_unfinished_layer_is_invisible_and_dropped(sample: Sample) -> None:
    """Catches a layer that counts as captured because its files are there."""
    draft = sample.draft_layer(0, MAPS_2)
    crash_in_commit(draft, 2)  # after the group's file and the array, before the manifest
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
        "manifest.json.partial",
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


def test_a_lost_manifest_is_no_reason_to_begin_anew(sample: Sample) -> None:
    """Catches hours of work that are wiped because one small file is gone."""
    (sample.folder / "manifest.json").unlink()
    before = contents(sample.folder)
    with pytest.raises(StoreDamagedError, match=r"holds segments but no manifest\.json\. Restore"):
        new_sample(sample.folder)
    assert contents(sample.folder) == before


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


class GrowingStore(RuleBasedStateMachine):
    """Writes, crashes and runs that follow them, beside a plain dict of what was committed."""

    def __init__(self) -> None:
        super().__init__()
        self.scratch = tempfile.TemporaryDirectory()
        self.sample = new_sample(Path(self.scratch.name) / "store")
        self.extended: set[int] = set()
        self.committed: dict[str, bytes] = {}

    def teardown(self) -> None:
        """Remove the store."""
        self.scratch.cleanup()

    @initialize(lengths=LENGTHS)
    def begin(self, lengths: list[int]) -> None:
        """Commit a first segment."""
        self.sample.add(lengths)

    @rule(lengths=LENGTHS)
    def add(self, lengths: list[int]) -> None:
        """Commit another segment."""
        self.sample.add(lengths)

    @rule(lengths=LENGTHS, n_renames=st.integers(0, 4))
    def crash_while_adding(self, lengths: list[int], n_renames: int) -> None:
        """Lose a segment, and begin the next run."""
        crash_in_commit(self.sample.draft(lengths)[0], n_renames)
        self.sample.reopen()

    @precondition(lambda self: len(self.extended) < len(self.sample.lengths))
    @rule(data=st.data(), n_renames=st.none() | st.integers(0, 1))
    def extend(self, data: st.DataObject, n_renames: int | None) -> None:
        """Add a layer to a segment, or lose it and begin the next run."""
        free = sorted(set(range(len(self.sample.lengths))) - self.extended)
        index = data.draw(st.sampled_from(free))
        if n_renames is None:
            self.sample.extend(index, MAPS_2)
            self.extended.add(index)
        else:
            crash_in_commit(self.sample.draft_layer(index, MAPS_2), n_renames)
            self.sample.reopen()

    @rule()
    def abandon(self) -> None:
        """End a run before the commit, and begin the next one."""
        self.sample.draft([1])
        self.sample.reopen()

    @invariant()
    def holds_what_was_committed(self) -> None:
        """Read every row, and compare every committed file with its first bytes."""
        store = open_store(self.sample.folder)
        n_rows = len(self.sample.rows)
        assert len(store) == n_rows
        if n_rows:
            check_rows(store, self.sample, list(reversed(range(n_rows))))
        held = [i for i, s in enumerate(store.manifest.segments) if "attentions/02" in s.arrays]
        assert set(held) == self.extended
        named = {name for name, _ in store.manifest.files()}
        now = {name: (self.sample.folder / name).read_bytes() for name in named}
        assert self.committed.items() <= now.items()
        self.committed = now


TestGrowingStore = GrowingStore.TestCase
TestGrowingStore.settings = settings(max_examples=6, stateful_step_count=8, deadline=None)
