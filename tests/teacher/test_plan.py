"""A plan against the capture that follows it: sizes, rows, and that nothing is touched."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipeline.core.errors import (
    CheckpointError,
    SettingsError,
    StoreDamagedError,
    StoreIncompleteError,
    StoreMismatchError,
)
from pipeline.core.fingerprint import digest_folder
from pipeline.store.manifest import read_manifest
from pipeline.store_tools.plan_text import describe_plan, describe_speed
from pipeline.store_tools.summary import folder_sizes
from pipeline.tasks import TASKS
from pipeline.teacher.capture_settings import CaptureSettings
from pipeline.teacher.plan import Plan, make_plan
from pipeline.teacher.speed import Speed, measure_speed, spread
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store, make_checkpoint, make_sentences, make_tokens, write_csv

CPU = torch.device("cpu")

EVERYTHING: dict[str, Any] = {
    "logits": {},
    "cls": {},
    "hidden_states": {"layers": (0, 4)},
    "attentions": {"layers": (1, 3)},
}


def plan_store(
    store_dir: Path,
    checkpoint: Path,
    tokens: Tokens,
    *,
    is_finetuned: bool = True,
    **options: object,
) -> Plan:
    """Plan what `capture_store` with the same options would do."""
    settings = {"segment_rows": 40, "signals": {"attentions": {"layers": (2, 4)}}, **options}
    return make_plan(
        checkpoint,
        tokens,
        TASKS["classification"],
        CaptureSettings.model_validate(settings),
        store_dir,
        device=lambda: CPU,
        is_finetuned=is_finetuned,
    )


def folder_bytes(folder: Path) -> int:
    """Return the sum of the sizes of all files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def encoded(encoding: str, **attentions: object) -> dict[str, Any]:
    """Return every signal, in one encoding where the signal can have it."""
    states = "float32" if encoding == "uint8_cbrt" else encoding
    return {
        name: {**settings, "encoding": encoding if name == "attentions" else states}
        | (attentions if name == "attentions" else {})
        for name, settings in EVERYTHING.items()
    }


@pytest.mark.parametrize(
    "options",
    [
        {"signals": {"cls": None}},
        {"signals": EVERYTHING, "warm_start": False},
        {"signals": EVERYTHING, "segment_rows": None},
        {"signals": EVERYTHING, "segment_rows": 7},
        {"signals": encoded("float32")},
        {"signals": encoded("bfloat16", heads="mean")},
        {"signals": encoded("uint8_cbrt")},
    ],
    ids=["logits", "no-weights", "one-segment", "many-segments", "float32", "mean", "uint8"],
)
def test_size_is_that_of_the_captured_folder(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, options: dict[str, Any]
) -> None:
    """A file that the plan forgets, or an array of another size, would fill the disk."""
    plan = plan_store(tmp_path / "store", checkpoint, tokens, **options)
    assert not (tmp_path / "store").exists()
    capture_store(tmp_path / "store", checkpoint, tokens, **options)
    planned = folder_sizes(plan.planned)
    captured = folder_sizes(read_manifest(tmp_path / "store"))
    assert planned.arrays == captured.arrays and len(planned.arrays) >= 1
    assert planned.total_bytes == folder_bytes(tmp_path / "store")
    assert planned == captured


def grown_tokens(tmp_path: Path, checkpoint: Path, data_dir: Path) -> Tokens:
    """Return the token table of `data_dir` with 25 training rows more."""
    shutil.copytree(data_dir, tmp_path / "grown")
    rows = [*make_sentences(90, 0), *make_sentences(25, 7)]
    write_csv(tmp_path / "grown" / "train.csv", rows)
    return make_tokens(tmp_path / "grown_tokens", checkpoint, tmp_path / "grown")


def test_growth_counts_only_what_is_missing(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, data_dir: Path
) -> None:
    """New rows and a new layer beside committed ones must not be counted as a new store."""
    store_dir = capture_store(tmp_path / "store", checkpoint, tokens, layers=(2,), warm_start=False)
    before = digest_folder(store_dir)
    more = grown_tokens(tmp_path, checkpoint, data_dir)
    plan = plan_store(store_dir, checkpoint, more, segment_rows=1000)
    assert digest_folder(store_dir) == before
    extended = [work for work in plan.works if work.segment is not None]
    added = [work for work in plan.works if work.segment is None]
    assert len(extended) == 4 and len(added) == 1
    assert {array.name for work in extended for array in work.arrays} == {"attentions/04"}
    assert plan.n_rows == len(plan.rows.keys) > 150
    n_extended = sum(len(work.rows) for work in extended)
    n_new = plan.n_rows - n_extended
    said = f"0 already present, {n_new} to compute, arrays to add to {n_extended}"
    assert said in describe_plan(plan) and n_new and n_extended
    assert plan.planned.segment_rows == 40  # the store's, whatever is asked for
    capture_store(store_dir, checkpoint, more, segment_rows=1000)
    assert folder_sizes(plan.planned) == folder_sizes(read_manifest(store_dir))
    assert folder_sizes(plan.planned).total_bytes == folder_bytes(store_dir)


def test_complete_store_has_nothing_to_do(
    make_store: Callable[..., Path], checkpoint: Path, tokens: Tokens
) -> None:
    """A plan that counts present rows again would announce hours for nothing."""
    store_dir = make_store()
    plan = plan_store(store_dir, checkpoint, tokens)
    assert (plan.n_rows, plan.n_tokens, plan.works) == (0, 0, ())
    assert plan.planned == read_manifest(store_dir)
    text = describe_plan(plan)
    assert f"{len(plan.rows.keys):,} distinct: {len(plan.rows.keys):,} already present" in text
    assert "0 bytes to write" in text


def test_teacher_to_come_has_the_size_it_will_have(tmp_path: Path, tokens: Tokens) -> None:
    """Before fine-tuning, the base's own files would be taken for the teacher's."""
    base = make_checkpoint(tmp_path / "base")
    (base / "notes.safetensors").write_bytes(b"0" * 500_000)  # no part of what will be saved
    with pytest.raises(CheckpointError):
        plan_store(tmp_path / "store", base, tokens)  # its digest is asked for
    (base / "notes.safetensors").unlink()
    before = plan_store(tmp_path / "store", base, tokens, is_finetuned=False)
    after = plan_store(tmp_path / "store", base, tokens)
    expected = folder_sizes(after.planned)
    found = folder_sizes(before.planned)
    assert found.arrays == expected.arrays
    assert abs(found.total_bytes / expected.total_bytes - 1) < 0.01


def test_store_of_another_teacher(
    make_store: Callable[..., Path], tmp_path: Path, tokens: Tokens
) -> None:
    """A plan that a capture would refuse is worth nothing."""
    store_dir = make_store()
    other = make_checkpoint(tmp_path / "other", seed=1)
    with pytest.raises(StoreMismatchError, match=r"was captured with weights=\w{12}, now \w{12}\."):
        plan_store(store_dir, other, tokens)
    # Fine-tuning will change the weights anyway, but never the number of layers.
    assert not plan_store(store_dir, other, tokens, is_finetuned=False).works
    deeper = make_checkpoint(tmp_path / "deeper", n_layers=5)
    with pytest.raises(StoreMismatchError, match=r"n_layers=4.*the checkpoint has .*n_layers=5"):
        plan_store(store_dir, deeper, tokens, is_finetuned=False)


def test_refusals_are_those_of_the_capture(
    make_store: Callable[..., Path], checkpoint: Path, tokens: Tokens
) -> None:
    """An encoding or a layer that cannot be must not be planned with sizes that look right."""
    store_dir = make_store()
    signals = {"attentions": {"layers": (2, 4), "encoding": "float32"}}
    with pytest.raises(SettingsError, match=r"attentions/02 as float16, params\.yaml asks for flo"):
        plan_store(store_dir, checkpoint, tokens, signals=signals)
    with pytest.raises(SettingsError, match=r"attentions\.layers: layer 5 does not exist"):
        plan_store(store_dir, checkpoint, tokens, signals={"attentions": {"layers": (5,)}})
    chunk = store_dir / "logits/00001/c/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(StoreDamagedError, match="323 bytes, the manifest says 324"):
        plan_store(store_dir, checkpoint, tokens)
    chunk.unlink()
    with pytest.raises(StoreIncompleteError, match="lacks 1 files, the first is logits/00001"):
        plan_store(store_dir, checkpoint, tokens)


def test_text_of_a_plan(tmp_path: Path, checkpoint: Path, tokens: Tokens) -> None:
    """Columns that do not add up, or a row without its bytes, would mislead."""
    plan = plan_store(tmp_path / "store", checkpoint, tokens)
    lines = describe_plan(plan).splitlines()
    n_rows, n_tokens = len(plan.rows.keys), int(plan.rows.lengths.sum())
    assert lines[2:5] == [
        f"rows      {n_rows} distinct: 0 already present, {n_rows} to compute",
        f"tokens    {n_tokens:,} to compute, in float32",
        "segments  4 to add, of up to 40 rows; 0 to extend; 4 in the end",
    ]
    sizes = {line[:13].strip(): int(line.split()[-1].replace(",", "")) for line in lines[7:-2]}
    assert [*sizes] == [
        *("logits", "cls", "cls/moments", "attentions/02", "attentions/04"),
        *("row tables", "teacher files", "metadata", "total"),
    ]
    n_pairs = int((plan.rows.lengths**2).sum())
    assert sizes["logits"] == 4 * 2 * n_rows + 4 * 4
    assert sizes["attentions/02"] == 2 * 4 * n_pairs + 4 * 4
    assert sum(sizes.values()) == 2 * sizes["total"]
    assert lines[-1].startswith("disk      ") and lines[-1].endswith(" free")


def test_a_full_disk_is_announced(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one thing to know beforehand is that it does not fit."""
    usage = shutil.disk_usage(tmp_path)._replace(free=5000)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    last = describe_plan(plan_store(tmp_path / "a/b", checkpoint, tokens)).splitlines()[-1]
    assert last.startswith("disk      NOT ENOUGH: ") and "4.9 KiB free" in last


@pytest.mark.parametrize("count", [1, 2, 3, 7, 15, 16, 100])
def test_spread(count: int) -> None:
    """A sample of only short rows, or a batch measured twice, would bias the time."""
    places = spread(count)
    assert sorted(places) == list(range(count))
    assert places[0] == count // 2
    if count >= 16:
        assert np.diff(sorted(places[:7])).max() <= count / 7 + 2


def test_speed_covers_every_kind_of_work(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, data_dir: Path
) -> None:
    """Segments to extend and new ones need other arrays; leaving one out halves the time."""
    store_dir = capture_store(tmp_path / "store", checkpoint, tokens, layers=(2,))
    before = digest_folder(store_dir)
    more = grown_tokens(tmp_path, checkpoint, data_dir)
    plan = plan_store(store_dir, checkpoint, more)
    speed = measure_speed(plan, more, TASKS["classification"], device=CPU, batch_tokens=128)
    only_new = Plan(**{**vars(plan), "works": plan.works[4:]})
    fewer = measure_speed(only_new, more, TASKS["classification"], device=CPU, batch_tokens=128)
    assert 0 < fewer.n_measured <= fewer.n_batches < speed.n_batches
    assert 15 < speed.n_measured <= 30 + fewer.n_measured
    assert 0 < fewer.seconds < 20 and 0 < speed.seconds < 20
    assert digest_folder(store_dir) == before


def test_time_is_scaled_to_all_batches(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time of the sample itself would pass for the time of everything."""
    monkeypatch.setattr(
        "pipeline.teacher.speed._seconds", lambda batch, *rest: batch.n_padded / 1000
    )
    plan = plan_store(tmp_path / "store", checkpoint, tokens)
    speed = measure_speed(plan, tokens, TASKS["classification"], device=CPU, batch_tokens=64)
    assert speed.n_measured == 15 < speed.n_batches
    assert plan.n_tokens / 1000 <= speed.seconds < 1.3 * plan.n_tokens / 1000


def test_slow_teacher_is_measured_on_few_batches(
    tmp_path: Path, checkpoint: Path, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plan that runs for minutes is no plan; one batch is always measured."""
    runs = []

    def slow(batch: Any, *rest: object) -> float:
        runs.append(batch.n_padded)
        return 8.0

    monkeypatch.setattr("pipeline.teacher.speed._seconds", slow)
    plan = plan_store(tmp_path / "store", checkpoint, tokens)
    speed = measure_speed(plan, tokens, TASKS["classification"], device=CPU, batch_tokens=64)
    assert len(runs) == speed.n_measured == 2


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1.26, "1.3 s"), (90, "90 s"), (600, "10 min"), (9000, "2 h 30 min")],
)
def test_text_of_a_time(seconds: float, words: str) -> None:
    """Hours in seconds are not read."""
    assert describe_speed(Speed(seconds, n_batches=1200, n_measured=15), CPU) == (
        f"time      about {words} on cpu in one process (15 of 1,200 batches measured)"
    )
