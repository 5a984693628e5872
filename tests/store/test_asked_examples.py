"""Somebody else's examples of masked texts and of texts to be written, found in a store."""

from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from transformers import DataCollatorForSeq2Seq, DataCollatorForTokenClassification

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.store.dataset import SignalCollator, TeacherDataset
from pipeline.store.example_keys import keys_of
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.row_values import read_ragged
from pipeline.text.token_row import TokenRow
from tests.asked_rows import decoded_rows, masked_rows
from tests.conftest import capture_store
from tests.piece_tokens import make_masked_teacher, make_piece_tokens, make_writing_teacher

K = 5
SIGNALS = (f"logits/top-{K}", f"logits/top-{K}-pieces", "logits/log_sum_exp", "logits/target")
START = 2
"""What the writing teacher's decoder begins with."""


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> tuple[TeacherStore, list[TokenRow]]:
    """A store of masked rows, one of them without a mask; not to be changed."""
    folder = tmp_path_factory.mktemp("masked")
    teacher, rows = make_masked_teacher(folder / "teacher"), masked_rows((7, 1, 12, 4))
    signals = {"logits": {"top_k": K}}
    tokens = make_piece_tokens(rows, teacher)
    return open_store(capture_store(folder / "store", teacher, tokens, signals=signals)), rows


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[TeacherStore, list[TokenRow]]:
    """A store of rows whose decoder begins as the teacher's does; not to be changed."""
    folder = tmp_path_factory.mktemp("written")
    teacher, rows = make_writing_teacher(folder / "teacher"), []
    for row in decoded_rows(((9, 4), (3, 6), (5, 0))):
        assert row.asked is not None
        given = np.array([START, *row.asked.pieces], np.int32)[: len(row.asked.pieces)]
        rows.append(row._replace(asked=row.asked._replace(decoder_ids=given)))
    signals = {"logits": {"top_k": K}}
    tokens = make_piece_tokens(rows, teacher)
    return open_store(capture_store(folder / "store", teacher, tokens, signals=signals)), rows


def masked_example(row: TokenRow, n_padding: int = 0) -> dict[str, Any]:
    """Return a row as a user of a masked language model has it, padded on the left."""
    assert row.asked is not None
    labels = np.full(len(row.ids), -100)
    labels[row.asked.places] = row.asked.pieces
    return {
        "input_ids": [0] * n_padding + row.ids.tolist(),
        "attention_mask": [0] * n_padding + [1] * len(row.ids),
        "labels": [-100] * n_padding + labels.tolist(),
    }


def written_example(row: TokenRow, n_padding: int = 0) -> dict[str, Any]:
    """Return a row as a user of a sequence to sequence has it, its labels padded behind."""
    assert row.asked is not None
    labels = row.asked.pieces.tolist() + [-100] * n_padding
    return {"input_ids": row.ids.tolist(), "labels": labels}


def test_masked_examples_are_found(masked: tuple[TeacherStore, list[TokenRow]]) -> None:
    """Catches keys of the tokens alone, and positions that count the padding."""
    store, rows = masked
    examples = Dataset.from_list(
        [masked_example(row, 3 * number) for number, row in enumerate(rows)]
    )
    data = TeacherDataset(examples, store, SIGNALS)
    numbers = store.find(np.array([row.key() for row in rows], dtype="V16"))
    expected = read_ragged(store, numbers, SIGNALS)
    assert [len(value) for value in expected["logits/target"]] == [2, 0, 4, 1]
    for number, example in enumerate(data.__getitems__([0, 1, 2, 3])):
        for name in SIGNALS:
            field = "teacher_" + name.replace("/", "_").replace("-", "_")
            assert torch.equal(example[field], expected[name][number])
    tokenizer = load_tokenizer(store.store_dir / "teacher")
    plain = [masked_example(row) for row in rows]
    collator = SignalCollator(DataCollatorForTokenClassification(tokenizer))
    batch = collator(TeacherDataset(plain, store, SIGNALS).__getitems__([0, 1, 2, 3]))
    assert batch[f"teacher_logits_top_{K}"].shape == (4, 4, K)
    assert batch["teacher_logits_log_sum_exp"].shape == (4, 4)
    # Other masks of the same text are another row.
    other = {**plain[0], "labels": [-100, *plain[0]["labels"][:-1]]}
    assert store.coverage(keys_of([other], "masked_lm")).missing.tolist() == [0]


def test_examples_to_be_written_are_found(written: tuple[TeacherStore, list[TokenRow]]) -> None:
    """Catches a decoder that begins with another token, and padding that is asked for."""
    store, rows = written
    expected = store.find(np.array([row.key() for row in rows], dtype="V16"))
    plain = [written_example(row, 2 * number) for number, row in enumerate(rows)]
    given = []
    for row, example in zip(rows, plain, strict=True):
        assert row.asked is not None
        padding = [1] * (len(example["labels"]) - len(row.asked.pieces))
        given.append({**example, "decoder_input_ids": [*row.asked.places.tolist(), *padding]})
    examples = TeacherDataset(plain, store, SIGNALS).__getitems__([0, 1])
    top = read_ragged(store, expected, SIGNALS)
    assert torch.equal(examples[1]["teacher_logits_target"], top["logits/target"][1])
    tokenizer = load_tokenizer(store.store_dir / "teacher")
    batch = SignalCollator(DataCollatorForSeq2Seq(tokenizer))(examples)
    assert batch["teacher_logits_log_sum_exp"].shape == (2, 6)
    task = "sequence_to_sequence"
    for keys in (keys_of(given, task), keys_of(plain, task, decoder_start=START)):
        np.testing.assert_array_equal(store.find(keys), expected)
    # A decoder that begins in another way asks for another row.
    others = store.coverage(keys_of(plain, task, decoder_start=START + 1))
    assert others.missing.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("task", "columns", "message"),
    [
        ("masked_lm", {}, r"^example 1 has no 'labels', and a store of masked_lm is looked up by "),
        ("masked_lm", {"labels": [7, -100]}, r"^example 1 has 2 labels for 3 input_ids\. Give one"),
        ("sequence_to_sequence", {}, r"^example 1 has no 'labels', and a store of sequence_to_s"),
        (
            "sequence_to_sequence",
            {"labels": [7, 8]},
            r"^example 1 has no 'decoder_input_ids'\. Add them, or say with which token the dec",
        ),
        (
            "sequence_to_sequence",
            {"labels": [7, 8], "decoder_input_ids": [2]},
            r"^example 1 has 1 decoder_input_ids for 2 labels\. Give one for each",
        ),
    ],
)
def test_columns_that_do_not_say_it_are_refused(
    task: str, columns: dict[str, Any], message: str
) -> None:
    """Catches a KeyError, or keys of no row, which are then missing without a reason."""
    whole = {"input_ids": [5], "labels": [6], "decoder_input_ids": [2]}
    with pytest.raises(DataError, match=message):
        keys_of([whole, {"input_ids": [5, 6, 7], **columns}], task)
