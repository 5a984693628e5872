"""Texts of a masked LM: cut into windows of which nothing is lost."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.settings import parse_section
from pipeline.tasks import TASKS
from pipeline.tasks.masked_lm import MASKED_LM, masker_of, text_windows
from pipeline.tasks.task import MaskingSettings, Tokenising
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokens import TokenSplit
from tests.text.conftest import Rows, Write

LONG = "the film was very warm and the acting was a bit dull though the story was fresh " * 3
TEXTS = (
    "the film was warm",
    "",
    "  ",
    LONG,
    "שלום שלום the films",
    "😀 smart 😀",
    "the film was warm",
)


def rows_of(*texts: str) -> Rows:
    """Return a row for each text, with a label that is not to be read."""
    return [{"text": text, "label": "x"} for text in texts]


def pieces_of(split: TokenSplit) -> list[list[int]]:
    """Return the ids of each row as they were before they were masked."""
    found = []
    for index in range(len(split)):
        row = split.row(index)
        assert row.asked is not None and row.asked.masked is not None
        ids = row.ids.copy()
        ids[row.asked.masked] = row.asked.pieces
        found.append(ids.tolist())
    return found


def joined(windows: list[list[int]], tokenizer: Any) -> list[int]:
    """Return the pieces of all windows, without special tokens but the unknown one."""
    ends = {tokenizer.cls_token_id, tokenizer.sep_token_id}
    for ids in windows:
        assert ids[0] == tokenizer.cls_token_id and ids[-1] == tokenizer.sep_token_id
        assert ids[1] != tokenizer.sep_token_id != ids[-2]
    return [piece for ids in windows for piece in ids if piece not in ends]


@pytest.mark.parametrize("max_length", [4, 7, 16, 512])
def test_windows_hold_every_piece_once(write_jsonl: Write, pieces: Any, max_length: int) -> None:
    """Catches the end of a long text that is lost, and a piece that is in two windows."""
    written = write_jsonl("masked_lm", rows_of(*TEXTS), max_length=max_length)
    split = written.tokens.splits["train"]
    plain = pieces([*TEXTS], add_special_tokens=False)["input_ids"]
    assert joined(pieces_of(split), pieces) == [piece for ids in plain for piece in ids]
    # A window is full, or one token short where a separator would have ended it.
    assert set(split.lengths[:-1]) <= {max_length, max_length - 1}
    assert split.lengths.max() <= max_length
    assert (split.token_type_ids == 0).all() and written.tokens.labels == ()
    summary = written.summary["splits"]["train"]
    assert summary["n_truncated"] == 0 and summary["n_labelled"] == len(split)
    assert summary["n_targets"] == split.n_targets.sum() == len(split.labels)


WORDS = st.sampled_from(["warm", "films", "😀", ""])


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.lists(WORDS, max_size=9), min_size=1, max_size=6),
    max_length=st.integers(4, 12),
)
def test_any_texts_are_cut_so(pieces: Any, texts: list[list[str]], max_length: int) -> None:
    """Catches a separator at a window's edge, and an empty window."""
    chunks = [[" ".join(words)] for words in texts]
    masker = masker_of(pieces, MaskingSettings(), "train")
    found = [*text_windows(chunks, Tokenising(pieces, max_length), masker, MASKED_LM.schema)]
    windows = []
    for part in found:
        for row in part.rows.to_pylist():
            for place, piece in zip(row["masked"], row["label"], strict=True):
                row["input_ids"][place] = piece
            windows.append(row["input_ids"])
            assert 3 <= len(row["input_ids"]) <= max_length
    plain = pieces([chunk[0] for chunk in chunks], add_special_tokens=False)["input_ids"]
    assert joined(windows, pieces) == [piece for ids in plain for piece in ids]


def test_a_window_has_the_text_that_it_covers(write_jsonl: Write) -> None:
    """Catches offsets in bytes, or of another text of the window."""
    texts = ("the film 😀 was", "a bit", "שלום warm films")
    split = write_jsonl("masked_lm", rows_of(*texts), max_length=6).tokens.splits["train"]
    assert split.table["text"].to_pylist() == ["the film 😀 was", "a bit שלום", "warm films"]
    assert split.table["text_pair"].null_count == len(split)
    assert split.lengths.tolist() == [6, 6, 5]


def test_special_tokens_that_stand_in_a_text_are_kept(write_jsonl: Write, pieces: Any) -> None:
    """Catches a mask over what is no piece of a text, and a word that no piece is of."""
    masking = MaskingSettings(probability=1.0)
    written = write_jsonl("masked_lm", rows_of("warm [SEP] cold [MASK] zzz"), masking=masking)
    split = written.tokens.splits["train"]
    row = split.row(0)
    assert row.asked is not None and row.asked.masked is not None
    assert row.asked.masked.tolist() == [1, 3]
    special = [pieces.sep_token_id, pieces.mask_token_id, pieces.unk_token_id]
    assert row.ids[[2, 4, 5]].tolist() == special


def test_texts_without_a_piece_to_mask_are_rows_that_ask_for_nothing(write_jsonl: Write) -> None:
    """Catches a mask drawn where there is none to draw."""
    split = write_jsonl("masked_lm", rows_of("zzz")).tokens.splits["train"]
    assert split.n_targets.tolist() == [0] and not split.has_label.any()
    assert split.keys[0].tobytes() == split.row(0).key()


def test_blank_texts_are_no_rows(tmp_path: Path) -> None:
    """Catches blank lines refused, a label that is asked for, and a split of nothing but those."""
    data = parse_section(DataSettings, {"source": "files", "path": str(tmp_path)}, "data")
    rows = [{"text": text} for text in ("a", "", None, " \n", "b")]
    for split in ("train", "dev"):
        (tmp_path / f"{split}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "unlabelled.jsonl").write_text('{"text": ""}\n{"text": "c"}\n')
    corpus = read_corpus(data, TASKS["masked_lm"].read)
    assert corpus["train"]["text"].to_pylist() == ["a", "b", "c"]
    assert corpus["validation"]["text"].to_pylist() == ["a", "b"]
    (tmp_path / "test.jsonl").write_text('{"text": " "}\n')
    with pytest.raises(DataError, match=r", test has no rows$"):
        read_corpus(data, TASKS["masked_lm"].read)


def test_texts_that_leave_no_piece_are_refused(write_jsonl: Write) -> None:
    """Catches a division by zero in the training, hours after a split without a row."""
    with pytest.raises(DataError, match=r"^train: the tokenizer leaves no token of any text"):
        write_jsonl("masked_lm", rows_of("\u200b", "\x01"), rows_of("the film"))
    with pytest.raises(DataError, match=r"^validation: the tokenizer leaves no token of any"):
        write_jsonl("masked_lm", rows_of("the film"), rows_of("\u200b"))


def test_a_tokenizer_without_a_mask_is_refused(pieces: Any) -> None:
    """Catches masks of token None, found in a traceback of numpy."""
    from transformers import PreTrainedTokenizerFast

    plain = PreTrainedTokenizerFast(tokenizer_object=pieces.backend_tokenizer, unk_token="[UNK]")
    with pytest.raises(SettingsError, match=r"^tokenizer\.checkpoint: its tokenizer has no mask t"):
        masker_of(plain, MaskingSettings(), "train")
