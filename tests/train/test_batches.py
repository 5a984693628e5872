"""Order of batches, and tokens joined with the signals of the same row."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from pipeline.core.errors import StoreIncompleteError
from pipeline.models.inputs import Inputs
from pipeline.objectives.needs import Needs
from pipeline.signals.attentions import ATTENTIONS
from pipeline.signals.cls import CLS, CLS_STATES
from pipeline.signals.logits import LOGITS
from pipeline.signals.signal import Array
from pipeline.store.reader import open_store
from pipeline.text.tokens import Tokens, TokenSplit
from pipeline.train.batches import Batch, JoinedSplit
from pipeline.train.order import EpochOrder, global_order
from tests.conftest import (
    OwnOutputs,
    capture_store,
    make_sentences,
    make_tokens,
    own_outputs,
    shift_store,
    write_csv,
)

LAYERS = (2, 4)
EVERYTHING = Needs(
    teacher=frozenset({Array(LOGITS), CLS_STATES, *(Array(ATTENTIONS, k) for k in LAYERS)})
)


def whole(rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    return [rows]


@pytest.fixture(scope="module")
def live(checkpoint: Path, even_tokens: Tokens) -> dict[bytes, OwnOutputs]:
    """The teacher's own outputs by row key."""
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, attn_implementation="eager"
    ).eval()
    return {
        split.keys[row].tobytes(): own_outputs(model, split.row(row), has_token_types=True)
        for split in even_tokens.splits.values()
        for row in range(len(split))
    }


@pytest.fixture(scope="module")
def half_store(
    tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, even_tokens: Tokens
) -> Path:
    """A store with the default encodings: float16 but for the logits; not to be changed."""
    folder = tmp_path_factory.mktemp("half") / "store"
    return capture_store(folder, checkpoint, even_tokens, LAYERS)


@pytest.fixture(scope="module")
def shifted_store(tmp_path_factory: pytest.TempPathFactory, half_store: Path) -> Path:
    """The same store with every signal one row late."""
    return shift_store(half_store, tmp_path_factory.mktemp("shifted") / "store")


def join(split: TokenSplit, store_dir: Path, needs: Needs = EVERYTHING) -> JoinedSplit:
    return JoinedSplit(split, open_store(store_dir), needs, Inputs(0, has_token_types=True))


def errors(batch: Batch, split: TokenSplit, live: dict[bytes, OwnOutputs]) -> list[list[float]]:
    """Return for each row the largest error of logits, cls and attentions, in bounds.

    A bound is what storing may cost: half a unit in the last place of the encoding, and
    1e-5 for float32 sums in another order (the teacher ran in padded batches).
    """

    def worst(found: Tensor, wanted: Tensor, digits: int) -> float:
        bound = 2.0**-digits * wanted.abs() + 1e-5
        return float(((found.float() - wanted).abs() / bound).max())

    teacher = batch.teacher()
    assert teacher.logits is not None
    table, first = [], 0
    for index, row in enumerate(batch.examples):
        own = live[split.keys[row].tobytes()]
        n_heads, n = own.attentions.shape[1:3]
        stop = first + n_heads * n * n
        cls = torch.stack([teacher.signals[Array(CLS, layer)][index] for layer in range(5)])
        maps = {
            layer: teacher.signals[Array(ATTENTIONS, layer)][first:stop].reshape(n_heads, n, n)
            for layer in LAYERS
        }
        table.append(
            [
                worst(teacher.logits[index], own.logits, digits=24),
                worst(cls[1:], own.cls[1:], digits=11),
                *(worst(maps[layer], own.attentions[layer - 1], digits=11) for layer in LAYERS),
            ]
        )
        first = stop
    assert all(first == len(teacher.signals[Array(ATTENTIONS, k)]) for k in LAYERS)
    return table


def shuffled(n_rows: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).permutation(n_rows)


def test_a_row_has_the_signals_of_its_own_text(
    even_tokens: Tokens, half_store: Path, live: dict[bytes, OwnOutputs]
) -> None:
    """Catches a student that learns from the teacher's view of another text."""
    for split in even_tokens.splits.values():
        batch = join(split, half_store).read(shuffled(len(split)))
        assert len(batch.examples) == len(split) >= 20
        assert max(max(row) for row in errors(batch, split, live)) <= 1


def test_a_store_shifted_by_one_row_is_noticed(
    even_tokens: Tokens, shifted_store: Path, live: dict[bytes, OwnOutputs]
) -> None:
    """Is the negative control of the one above, for every row and every signal."""
    for split in even_tokens.splits.values():
        batch = join(split, shifted_store).read(shuffled(len(split)))
        assert min(min(row) for row in errors(batch, split, live)) > 30


def test_rows_are_found_by_key_in_another_table(
    tmp_path: Path,
    checkpoint: Path,
    even_data_dir: Path,
    half_store: Path,
    live: dict[bytes, OwnOutputs],
) -> None:
    """Catches rows found by position: a reshuffled, subsetted and re-split data set."""
    lines = (even_data_dir / "train.csv").read_text(encoding="utf-8").splitlines()[1:]
    rows = [tuple(line.split(",")) for line in lines[::-1]]
    write_csv(tmp_path / "data" / "train.csv", [*rows[7:30], *rows[7:9]])
    write_csv(tmp_path / "data" / "validation.csv", rows[:7])
    tokens = make_tokens(tmp_path / "tokens", checkpoint, tmp_path / "data")
    for split in tokens.splits.values():
        batch = join(split, half_store).read(np.arange(len(split)))
        assert max(max(row) for row in errors(batch, split, live)) <= 1


def test_rows_of_different_lengths_keep_their_signals(
    tokens: Tokens, checkpoint: Path, make_store: Callable[..., Path]
) -> None:
    """Catches offsets into flat arrays that only hold for rows of one length."""
    store = make_store()
    split = tokens.splits["test"]
    assert len(set(split.lengths.tolist())) > 5
    model = AutoModelForSequenceClassification.from_pretrained(
        checkpoint, attn_implementation="eager"
    ).eval()
    live = {
        split.keys[row].tobytes(): own_outputs(model, split.row(row), has_token_types=True)
        for row in range(len(split))
    }
    batch = join(split, store).read(shuffled(len(split)))
    assert max(max(row) for row in errors(batch, split, live)) <= 1


def test_inputs_and_labels_are_those_of_the_rows(
    tokens: Tokens, make_store: Callable[..., Path]
) -> None:
    """Catches labels in the table's order beside inputs in the batch's."""
    split = tokens.splits["train"]
    store, rows = open_store(make_store()), shuffled(len(split))[:9]
    joined = JoinedSplit(split, store, Needs(), Inputs(9, has_token_types=True))
    batch = joined.read(rows)
    assert len(set(split.lengths[rows].tolist())) > 3 and len(set(split.labels[rows])) == 2
    assert batch.labels.tolist() == split.labels[rows].tolist()
    for index, row in enumerate(rows):
        ids, types, _ = split.row(row)
        n = len(ids)
        assert batch.inputs["input_ids"][index, :n].tolist() == ids.tolist()
        assert (batch.inputs["input_ids"][index, n:] == 9).all()
        assert batch.inputs["token_type_ids"][index, :n].tolist() == types.tolist()
        assert batch.inputs["attention_mask"][index].tolist() == [
            int(place < n) for place in range(batch.inputs["input_ids"].shape[1])
        ]
    without = JoinedSplit(split, store, Needs(), Inputs(9, has_token_types=False)).read(rows)
    assert set(without.inputs) == {"input_ids", "attention_mask"}


def test_a_batch_has_what_is_needed_and_no_more(even_tokens: Tokens, half_store: Path) -> None:
    """Catches signals that are read from the disk for nothing."""
    split = even_tokens.splits["train"]
    batch = join(split, half_store, Needs()).read(np.arange(3))
    assert not batch.signals
    needs = Needs(teacher=frozenset({Array(ATTENTIONS, 4)}))
    batch = join(split, half_store, needs).read(np.arange(3))
    assert list(batch.signals) == [Array(ATTENTIONS, 4)]
    assert list(batch.teacher().signals) == [Array(ATTENTIONS, 4)]


def test_signals_reach_the_objectives_in_float32(even_tokens: Tokens, half_store: Path) -> None:
    """Catches a loss that is computed in float16."""
    batch = join(even_tokens.splits["train"], half_store).read(np.arange(3))
    assert batch.signals[CLS_STATES].values.dtype == torch.float16
    teacher = batch.to(torch.device("cpu")).teacher()
    assert teacher.logits is not None
    signals = [teacher.logits, *teacher.signals.values()]
    assert len(signals) == 8 and all(part.dtype == torch.float32 for part in signals)
    assert torch.equal(
        teacher.signals[Array(CLS, 1)], batch.signals[CLS_STATES].values[:, 1].float()
    )


def tensors_of(batch: Batch) -> list[Tensor]:
    signals = [signal.values for signal in batch.signals.values()]
    return [*batch.inputs.values(), batch.labels, torch.from_numpy(batch.examples), *signals]


def test_a_stream_gives_what_reading_gives(even_tokens: Tokens, half_store: Path) -> None:
    """Catches batches that overtake each other, are lost at the end, or share memory."""
    split = even_tokens.splits["train"]
    joined = join(split, half_store)
    order = global_order(split.lengths, 7, 0, 0, group_by_length=True)
    streamed = [batch for batch, is_last in joined.stream(order, whole) if is_last]
    assert len(streamed) == len(order.batches) == 9
    for batch, rows in zip(streamed, order.batches, strict=True):
        for found, expected in zip(tensors_of(batch), tensors_of(joined.read(rows)), strict=True):
            assert torch.equal(found, expected)
    assert list(joined.stream(EpochOrder([]), whole)) == []


def test_a_stream_that_is_left_early_ends(even_tokens: Tokens, half_store: Path) -> None:
    """Catches a thread that keeps reading, or keeps the program from ending."""
    split = even_tokens.splits["train"]
    joined = join(split, half_store)
    stream = joined.stream(global_order(split.lengths, 2, 0, 0, group_by_length=True), whole)
    assert isinstance(stream, Iterator)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    with pytest.raises(StopIteration):
        next(stream)


def test_missing_rows_are_counted_before_the_first_step(
    tmp_path: Path, checkpoint: Path, half_store: Path
) -> None:
    """Catches a KeyError hours into a training."""
    write_csv(tmp_path / "data" / "train.csv", make_sentences(12, seed=9))
    write_csv(tmp_path / "data" / "validation.csv", make_sentences(4, seed=8))
    tokens = make_tokens(tmp_path / "tokens", checkpoint, tmp_path / "data")
    with pytest.raises(StoreIncompleteError) as raised:
        join(tokens.splits["train"], half_store)
    assert str(raised.value) == (
        f"{half_store} lacks 12 of 12 rows. Run 'dvc repro capture' to add them."
    )


def test_an_absent_layer_is_named(even_tokens: Tokens, half_store: Path) -> None:
    """Catches a layer that was never captured, which a KeyError would not explain."""
    needs = Needs(teacher=frozenset({Array(ATTENTIONS, 3)}))
    joined = join(even_tokens.splits["train"], half_store, needs)
    with pytest.raises(StoreIncompleteError) as raised:
        joined.read(np.arange(3))
    assert str(raised.value) == (
        f"{half_store}: segment 00000 has no 'attentions/03'; it holds attentions/02, "
        "attentions/04, cls, cls/moments, logits. Add it under capture.signals and run "
        "'dvc repro capture'."
    )
