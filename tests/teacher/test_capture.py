"""What a capture computes, what it leaves alone, and what is left when it is stopped."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.checkpoint import load_tokenizer
from pipeline.errors import (
    DiskFullError,
    SettingsError,
    StoreIncompleteError,
    StoreMismatchError,
)
from pipeline.fingerprint import digest_folder, digest_tokenizer
from pipeline.processes import Processes
from pipeline.store.lock import LOCK_NAME
from pipeline.store.manifest import MANIFEST_NAME, read_manifest
from pipeline.store.reader import open_store
from pipeline.store.row_table import read_row_table
from pipeline.tasks import TASKS
from pipeline.teacher.capture import CaptureReport, capture
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.extract import Extracted, Extractor
from pipeline.teacher.work import batches_by_length
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.augmented import with_augmented_last
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens, open_tokens
from tests.conftest import (
    BAD,
    GOOD,
    PLAIN,
    make_checkpoint,
    make_sentences,
    make_tokenizer,
    make_tokens,
    write_csv,
)

SEGMENT_ROWS = 12
LAYER_2 = {"attentions": {"layers": (2,)}}
LAYERS_2_AND_3 = {"attentions": {"layers": (2, 3)}}

Rows = list[tuple[str, str]]


def make_table(folder: Path, checkpoint: Path, train: Rows, validation: Rows) -> Tokens:
    write_csv(folder / "data" / "train.csv", train)
    write_csv(folder / "data" / "validation.csv", validation)
    return make_tokens(folder / "tokens", checkpoint, folder / "data")


@pytest.fixture(scope="module")
def few_tokens(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Tokens:
    """26 training and 8 validation rows without duplicates: three segments."""
    rows = list(dict(make_sentences(40)).items())[:34]
    assert len(rows) == 34
    return make_table(tmp_path_factory.mktemp("few"), checkpoint, rows[:26], rows[26:])


class RunCapture(NamedTuple):
    """Captures with the teacher and the tokens of this module unless told otherwise."""

    checkpoint: Path
    tokens: Tokens

    def __call__(
        self,
        store_dir: Path,
        signals: dict[str, Any] = LAYER_2,
        *,
        teacher: Path | None = None,
        tokens: Tokens | None = None,
        **options: Any,
    ) -> CaptureReport:
        return capture(
            teacher or self.checkpoint,
            tokens or self.tokens,
            TASKS["classification"],
            CaptureSettings.model_validate(
                {"segment_rows": SEGMENT_ROWS, "signals": signals, **options}
            ),
            store_dir,
            device=torch.device("cpu"),
            batch_tokens=64,
            processes=Processes(),
        )


@pytest.fixture(scope="module")
def run(checkpoint: Path, few_tokens: Tokens) -> RunCapture:
    return RunCapture(checkpoint, few_tokens)


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory: pytest.TempPathFactory, run: RunCapture) -> Path:
    """A store captured without interruption; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    run(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path, whole_store: Path) -> Path:
    """A copy of `whole_store`."""
    return Path(shutil.copytree(whole_store, tmp_path / "copy"))


@dataclass
class Seen:
    """What the teacher computed."""

    keys: list[bytes] = field(default_factory=list)
    """Of every row, in the order of the forwards."""
    arrays: set[str] = field(default_factory=set)
    n_batches: int = 0


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Note every row and array that an extractor computes from now on."""
    seen = Seen()
    compute = Extractor.__call__

    def note(self: Extractor, rows: list[TokenRow]) -> Extracted:
        signals = compute(self, rows)
        seen.keys += [row.key() for row in rows]
        seen.arrays |= {array.name for array in signals.wait()}
        seen.n_batches += 1
        return signals

    monkeypatch.setattr(Extractor, "__call__", note)
    return seen


def keys_of(tokens: Tokens) -> list[bytes]:
    return [key.tobytes() for split in tokens.splits.values() for key in split.keys]


def committed_keys(store_dir: Path) -> set[bytes]:
    segments = read_manifest(store_dir).segments
    return {
        key.tobytes() for segment in segments for key in read_row_table(store_dir, segment).keys
    }


def changed_files(before: dict[str, str], store_dir: Path) -> set[str]:
    """Return the files that are new, gone or different."""
    return {name for name, _ in before.items() ^ digest_folder(store_dir).items()}


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
    augment(run.tokens, load_tokenizer(checkpoint), settings, tmp_path)
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
    """Catches a new layer that costs the others again, or rewrites what was pushed."""
    before = digest_folder(store)
    report = run(store, LAYERS_2_AND_3)
    assert seen.arrays == {"attentions/03"}
    assert sorted(seen.keys) == sorted(keys_of(run.tokens))
    assert (report.n_computed, report.n_present) == (34, 0)
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


def refusal(store_dir: Path, faults: str) -> str:
    text = (
        f"{store_dir} was captured with {faults}. Restore what changed, or delete the store "
        f"(rm -r {store_dir}) to capture again."
    )
    return f"^{re.escape(text)}$"


def test_another_teacher_is_refused(tmp_path: Path, run: RunCapture, store: Path) -> None:
    """Catches a store with the signals of two teachers; weights alone differ here."""
    other = make_checkpoint(tmp_path / "other", seed=1)
    before = digest_folder(store)
    with pytest.raises(StoreMismatchError) as raised:
        run(store, teacher=other)
    found = re.fullmatch(
        r".* was captured with weights=([0-9a-f]{12}), now ([0-9a-f]{12})\. Restore .*",
        str(raised.value),
    )
    assert found is not None and found[1] != found[2]
    assert found[1] == read_manifest(store).identity.weights[:12]
    assert digest_folder(store) == before


def test_another_tokenizer_is_refused(tmp_path: Path, run: RunCapture, store: Path) -> None:
    """Catches token ids that mean other words to the same teacher."""
    other = make_checkpoint(tmp_path / "other")
    make_tokenizer(other, (*BAD, *GOOD, *PLAIN))
    digest = digest_tokenizer(load_tokenizer(other))
    faults = f"tokenizer={run.tokens.tokenizer[:12]}, now {digest[:12]}"
    with pytest.raises(StoreMismatchError, match=refusal(store, faults)):
        run(store, teacher=other, tokens=replace(run.tokens, tokenizer=digest))


@pytest.mark.parametrize(
    ("change", "faults"),
    [
        ({"max_length": 32}, "max_length=64, now 32"),
        (
            {"labels": ("positive", "negative")},
            "labels=negative, positive, now positive, negative",
        ),
        (
            {"labels": ("positive", "negative"), "max_length": 32},
            "labels=negative, positive, now positive, negative; max_length=64, now 32",
        ),
    ],
)
def test_other_tokens_are_refused(
    run: RunCapture, store: Path, change: dict[str, Any], faults: str
) -> None:
    """Catches texts cut elsewhere, and label numbers that mean other names."""
    with pytest.raises(StoreMismatchError, match=refusal(store, faults)):
        run(store, tokens=replace(run.tokens, **change))


def test_another_precision_is_refused(run: RunCapture, store: Path) -> None:
    """Catches a store that is float32 in one half and bfloat16 in the other."""
    with pytest.raises(StoreMismatchError, match=refusal(store, "precision=float32, now bfloat16")):
        run(store, precision="bfloat16")


def test_another_encoding_is_refused(run: RunCapture, store: Path) -> None:
    """Catches an option that is silently ignored for what is in the store already."""
    signals = {"attentions": {"layers": (2,), "encoding": "float32"}}
    with pytest.raises(SettingsError) as raised:
        run(store, signals)
    assert raised.value.faults == (
        f"capture.signals.attentions.encoding: {store} holds attentions/02 as float16, "
        "params.yaml asks for float32. Restore float16, or delete the store to capture again.",
    )


def test_layers_that_do_not_exist_are_refused(tmp_path: Path, run: RunCapture) -> None:
    """Catches a capture that runs for hours and then lacks a layer; names all of them."""
    with pytest.raises(SettingsError) as raised:
        run(tmp_path / "store", {"attentions": {"layers": (0, 2, 5)}})
    assert raised.value.faults == tuple(
        f"capture.signals.attentions.layers: layer {layer} does not exist, the teacher has "
        "layers 1 to 4"
        for layer in (0, 5)
    )
    assert not (tmp_path / "store").exists()


def test_rows_that_are_gone_cannot_get_a_new_layer(
    tmp_path: Path, run: RunCapture, checkpoint: Path, store: Path
) -> None:
    """Catches a segment with a layer for some of its rows only."""
    rows = list(dict(make_sentences(40)).items())[:34]
    fewer = make_table(tmp_path, checkpoint, rows[3:20], rows[20:])
    assert run(store, tokens=fewer).n_computed == 0
    before = digest_folder(store)
    message = (
        f"{store}: segment 00000 needs attentions/03, but 3 of its 12 rows are no longer in the "
        "token table or its augmentation. Restore them, or delete the store to capture again."
    )
    with pytest.raises(StoreIncompleteError, match=f"^{re.escape(message)}$"):
        run(store, LAYERS_2_AND_3, tokens=fewer)
    assert digest_folder(store) == before


Fail = Callable[..., Any]


def fail_from(call: int, function: Fail) -> Fail:
    """Return `function` with a disk that is full from the given call on, counted from 0."""
    n_calls = 0

    def limited(*args: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls > call:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return function(*args, **options)

    return limited


def test_a_full_disk_keeps_what_is_committed(
    tmp_path: Path, run: RunCapture, whole_store: Path, seen: Seen
) -> None:
    """Catches a traceback in place of the reason, and hours of work that are lost with it."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zarr, "create", fail_from(4, zarr.create))  # in the second segment
        with pytest.raises(DiskFullError) as raised:
            run(store)
    assert re.search(r"store/cls/00001: no space left on the disk", str(raised.value)) or re.search(
        r"store/logits/00001: no space left on the disk", str(raised.value)
    )
    assert str(raised.value).endswith(
        "1 of 3 segments of this run are committed and will not be computed again."
    )
    assert len(committed_keys(store)) == SEGMENT_ROWS
    seen.keys.clear()
    run(store)
    assert len(seen.keys) == 34 - SEGMENT_ROWS
    assert digest_folder(store) == digest_folder(whole_store)


def test_a_disk_that_fills_at_any_moment_gives_the_same_error(
    tmp_path: Path, run: RunCapture
) -> None:
    """Catches a place that lets the system's error through, or a file that is then trusted."""
    first, wanted, store = tmp_path / "first", tmp_path / "wanted", tmp_path / "store"
    run(first, segment_rows=100)
    shutil.copytree(first, wanted)
    n_syncs = 0
    sync = os.fsync

    def count(descriptor: int) -> None:
        nonlocal n_syncs
        n_syncs += 1
        sync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", count)
        run(wanted, LAYERS_2_AND_3)
    assert n_syncs > 10
    for call in range(n_syncs):
        shutil.copytree(first, store)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", fail_from(call, os.fsync))
            with pytest.raises(DiskFullError):
                run(store, LAYERS_2_AND_3)
        run(store, LAYERS_2_AND_3)
        assert digest_folder(store) == digest_folder(wanted)
        shutil.rmtree(store)


def limit_disk(patch: pytest.MonkeyPatch, free: int) -> None:
    usage = shutil.disk_usage("/")
    patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=free))


def test_a_capture_that_does_not_fit_is_not_begun(
    tmp_path: Path, run: RunCapture, whole_store: Path, seen: Seen
) -> None:
    """Catches hours of computing before the disk turns out to be too small."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        limit_disk(patch, free=1000)
        with pytest.raises(DiskFullError) as raised:
            run(store)
    message = (
        f"{store}: the capture needs 0.1 MiB, the disk has 0.0 MiB free. Ask for fewer attention "
        "layers or rows, or free some space."
    )
    assert str(raised.value) == message
    assert seen.n_batches == 0
    run(store)
    assert digest_folder(store) == digest_folder(whole_store)


def test_what_is_needed_is_what_is_written(tmp_path: Path, run: RunCapture) -> None:
    """Catches an estimate that is too low to save anyone, or refuses what would fit."""
    store = tmp_path / "store"
    with pytest.MonkeyPatch.context() as patch:
        limit_disk(patch, free=10**9)
        report = run(store)
    chunks = [path for path in store.rglob("*") if path.is_file() and "c" in path.parts[-4:-1]]
    assert len(chunks) == 12
    assert report.size_bytes == sum(path.stat().st_size - 4 for path in chunks)  # checksums
    shutil.rmtree(store)
    with pytest.MonkeyPatch.context() as patch:
        limit_disk(patch, free=report.size_bytes - 1)
        with pytest.raises(DiskFullError):
            run(store)
        limit_disk(patch, free=report.size_bytes)
        run(store)
        limit_disk(patch, free=0)
        assert run(store).n_computed == 0  # a full disk is no obstacle to doing nothing


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
