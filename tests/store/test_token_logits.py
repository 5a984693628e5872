"""The logits of a teacher that labels words: one vector for each token of a row."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from datasets import Dataset
from torch import Tensor
from transformers import DataCollatorWithPadding

from pipeline.core.checkpoint import load_tokenizer
from pipeline.evaluate.stored_row import describe_row, find_row
from pipeline.models.head import load_trained
from pipeline.signals.logits import TOKEN_LOGITS
from pipeline.signals.signal import Array
from pipeline.store.dataset import SignalCollator, TeacherDataset, field_name
from pipeline.store.reader import TeacherStore, open_store
from pipeline.store.row_values import array_names, read_padded, read_ragged
from pipeline.store.spec import chunk_file
from pipeline.store_tools.verify import verify_store
from pipeline.tasks import TASKS
from pipeline.tasks.task import Kind
from pipeline.text.tokens import Tokens
from tests.conftest import capture_store
from tests.store.test_format import PlainReader
from tests.tasks.small_tasks import LABELS, make_teacher, make_tokens

NAME = "logits/tokens"


class Captured:
    """A store of a kind of task, with its teacher and tokens."""

    def __init__(self, folder: Path, kind: Kind) -> None:
        self.teacher = make_teacher(folder / "teacher", kind)
        self.tokens: Tokens = make_tokens(folder, kind, self.teacher)
        signals: dict[str, Any] = {"attentions": {"layers": (2,)}}
        self.folder = capture_store(folder / "store", self.teacher, self.tokens, signals=signals)
        self.model = load_trained(self.teacher, TASKS[kind]).eval()

    def store(self) -> TeacherStore:
        return open_store(self.folder)

    def own_logits(self, row: int) -> Tensor:
        """Return what the teacher says of a validation row, alone."""
        ids, types = (
            torch.from_numpy(part.astype(np.int64))[None]
            for part in self.tokens.splits["validation"].row(row)[:2]
        )
        with torch.no_grad():
            logits: Tensor = self.model(
                input_ids=ids, token_type_ids=types, attention_mask=torch.ones_like(ids)
            ).logits[0]
        return logits


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """A store of words; not to be changed."""
    return Captured(tmp_path_factory.mktemp("words"), "token_classification")


def test_each_token_has_its_own(words: Captured) -> None:
    """Catches vectors of other tokens, and values that are cut like attention maps."""
    store, split = words.store(), words.tokens.splits["validation"]
    assert NAME in array_names(store) and "logits" not in array_names(store)
    rows = store.find(split.keys)
    ragged, padded = read_ragged(store, rows)[NAME], read_padded(store, rows, [NAME])[NAME]
    n_labels, longest = len(words.tokens.labels), max(split.lengths)
    assert padded.shape == (len(split), longest, n_labels)
    plain = PlainReader(words.folder)
    from_page = dict(zip(plain.keys, plain.rows(NAME), strict=True))
    assert len(from_page) == len(store)
    for row, values in enumerate(ragged):
        own = words.own_logits(row)
        torch.testing.assert_close(values, own, rtol=1e-5, atol=1e-5)  # of another batch
        assert torch.equal(padded[row, : len(own)], values) and not padded[row, len(own) :].any()
        np.testing.assert_array_equal(from_page[split.keys[row].tobytes()], values.numpy())
    assert torch.equal(torch.cat(ragged), store.logits(rows))


def test_the_store_is_whole_and_damage_is_seen(words: Captured, tmp_path: Path) -> None:
    """Catches an array that `decant verify` does not look at."""
    assert verify_store(words.folder, 1) == []
    copied = shutil.copytree(words.folder, tmp_path / "store")
    chunk = copied / chunk_file(Array(TOKEN_LOGITS), "00000")
    content = bytearray(chunk.read_bytes())
    content[7] ^= 1
    chunk.write_bytes(content)
    (damage,) = verify_store(copied, 1)
    assert NAME in str(damage)


def test_other_training_code_gets_them_padded(words: Captured) -> None:
    """Catches a field that no array is found by, and a batch with tokens at other places."""
    split = words.tokens.splits["validation"]
    rows = [split.row(row) for row in range(4)]
    examples = Dataset.from_dict(
        {
            "input_ids": [row.ids.tolist() for row in rows],
            "token_type_ids": [row.types.tolist() for row in rows],
        }
    )
    field = field_name(NAME)
    assert field == "teacher_logits_tokens"
    tokenizer = load_tokenizer(words.teacher)
    collate = SignalCollator(DataCollatorWithPadding(tokenizer))
    dataset = TeacherDataset(examples, words.store(), signals=[NAME])
    batch = collate([dataset[number] for number in range(4)])
    assert batch[field].shape[:2] == batch["input_ids"].shape
    for row in range(4):
        own = words.own_logits(row)
        torch.testing.assert_close(batch[field][row, : len(own)], own, rtol=1e-5, atol=1e-5)


def test_a_row_of_words_is_shown_token_by_token(words: Captured) -> None:
    """Catches the label of [CLS] shown as that of the whole text."""
    split = words.tokens.splits["validation"]
    row = find_row(words.store(), split.table["text"][3].as_py())
    odds, labels = words.own_logits(3).softmax(-1).max(-1)
    names = [words.tokens.labels[label] for label in labels.tolist()]
    assert [label for label, _ in row.of_tokens] == names
    assert [one for _, one in row.of_tokens] == pytest.approx(odds.tolist(), rel=1e-4)
    assert row.tokens is not None and row.scores == {}
    lines = describe_row(row).splitlines()[3:]
    assert len(lines) == row.n_tokens
    for line, token, name in zip(lines, row.tokens, names, strict=True):
        assert f"{token}  {name} " in line
    assert row.prediction == " ".join(sorted(set(names)))


@pytest.mark.parametrize("kind", ["multi_label", "regression", "multiple_choice"])
def test_rows_of_other_tasks_are_shown_with_what_there_is(kind: Kind, tmp_path: Path) -> None:
    """Catches labels that compete where each is its own, and a number that is always 1."""
    captured = Captured(tmp_path, kind)
    key = captured.tokens.splits["validation"].keys[2].tobytes().hex()
    row = find_row(captured.store(), key)
    own = captured.own_logits(2)
    expected = own.sigmoid() if kind == "multi_label" else own
    assert list(row.scores) == list(LABELS[kind])
    assert list(row.scores.values()) == pytest.approx(expected.tolist(), rel=1e-4, abs=1e-5)
    assert f"{expected.max():.4f}" in describe_row(row) and row.of_tokens == ()
