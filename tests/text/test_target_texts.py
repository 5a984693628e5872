"""Texts that are to be written: their pieces, and what a decoder is given for each."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from pipeline.core.errors import DataError, SettingsError
from pipeline.tasks import TASKS
from pipeline.tasks.sequence_to_sequence import decoder_start
from pipeline.tasks.task import MaskingSettings, Tokenising
from pipeline.tasks.token_table import copy_tokens, split_for
from pipeline.text.tokenise import TokenisedTexts, TokenizerSettings
from tests.text.conftest import Rows, Write, tokenised

KIND = "sequence_to_sequence"
WORDS = ("a", "b", "c", "d", "😀", "שלום")
COLUMNS = {"text": "source", "target": "written"}


def make(template: str | None, **special: str) -> PreTrainedTokenizerFast:
    """Return a tokenizer of words with these special tokens, numbered in their order."""
    names = ["<unk>", *special.values()]
    numbers = {word: number for number, word in enumerate((*names, *WORDS))}
    backend = Tokenizer(WordLevel(numbers, unk_token="<unk>"))
    backend.pre_tokenizer = Whitespace()
    if template is not None:
        found = [(name, numbers[name]) for name in names if name in template]
        backend.post_processor = TemplateProcessing(single=template, special_tokens=found)
    return PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", **special)


def written_for(texts: list[str], targets: list[str], tokenizer: Any, start: int) -> TokenisedTexts:
    """Return rows of at most 8 tokens with what is to be written for them."""
    kind, columns = "sequence_to_sequence", {"text": texts}
    return tokenised(kind, columns, targets, tokenizer, 8, decoder_start=start)


T5 = make("$A </s>", pad_token="<pad>", eos_token="</s>")
BART = make("<s> $A </s>", bos_token="<s>", pad_token="<pad>", eos_token="</s>")
BARE = make(None, pad_token="<pad>", eos_token="</s>")
MBART = make("$A </s> <de>", pad_token="<pad>", eos_token="</s>", sep_token="<de>")


@pytest.mark.parametrize(
    ("tokenizer", "config", "expected", "given"),
    [
        (T5, {}, "a b </s>", "<pad> a b"),
        (BART, {"decoder_start_token_id": 3}, "<s> a b </s>", "</s> <s> a b"),
        (BARE, {}, "a b </s>", "<pad> a b"),
        (MBART, {"decoder_start_token_id": 3}, "a b </s>", "<de> a b"),
        (BARE, {"decoder": {"decoder_start_token_id": 2}}, "a b </s>", "</s> a b"),
    ],
    ids=["T5", "BART", "no end of its own", "language behind the end", "two models"],
)
def test_a_decoder_begins_as_its_checkpoint_says(
    tmp_path: Path, tokenizer: Any, config: dict[str, Any], expected: str, given: str
) -> None:
    """Catches a decoder that is given the piece that it is to write, and an end that is missing."""
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    settings = TokenizerSettings(checkpoint=str(tmp_path))
    task = TASKS["sequence_to_sequence"]
    start = task.tokenising(tokenizer, settings, MaskingSettings(), tmp_path).decoder_start
    assert start is not None
    found = written_for(["c"], ["a b"], tokenizer, start).rows.to_pylist()[0]
    assert " ".join(tokenizer.convert_ids_to_tokens(found["label"])) == expected
    assert " ".join(tokenizer.convert_ids_to_tokens(found["decoder_input_ids"])) == given
    assert found["decoder_input_ids"] == [start, *found["label"][:-1]]
    assert (found["text"], found["text_pair"]) == ("c", "a b")


def test_the_config_for_generation_counts_too(tmp_path: Path) -> None:
    """Catches checkpoints that have the start token there alone, and one that has none."""
    (tmp_path / "config.json").write_text('{"decoder_start_token_id": null}', encoding="utf-8")
    silent = make(None, eos_token="</s>")
    with pytest.raises(SettingsError, match=r"^tokenizer\.checkpoint: neither its config nor its "):
        decoder_start(tmp_path, silent)
    (tmp_path / "generation_config.json").write_text('{"decoder_start_token_id": 0}')
    assert decoder_start(tmp_path, silent) == decoder_start(tmp_path, BART) == 0
    with pytest.raises(
        SettingsError, match=r"^tokenizer\.checkpoint: its tokenizer has no token t"
    ):
        written_for(["a"], ["a"], make(None, pad_token="<pad>"), 0)


@pytest.mark.parametrize("tokenizer", [T5, BART, BARE, MBART])
@pytest.mark.parametrize("n_words", [0, 1, 5, 6, 7, 8, 30])
def test_long_texts_end_too(tokenizer: Any, n_words: int) -> None:
    """Catches a text that is cut without its end, or cut and not counted, or counted and whole."""
    text = " ".join(["😀"] * n_words)
    found = written_for(["a"], [text], tokenizer, 1)
    (label,) = found.rows["label"].to_pylist()
    room = 8 - 1 - (tokenizer is BART and n_words > 0)
    (word,) = tokenizer.convert_tokens_to_ids(["😀"])
    assert len(label) <= 8 and label[-1] == tokenizer.eos_token_id
    assert label.count(word) == min(n_words, room)
    assert found.counts == {"n_target_texts_cut": n_words > room}


def rows_of(*pairs: tuple[str, str | None]) -> Rows:
    """Return a row for each text and what is to be written for it."""
    return [{"source": text, "written": target} for text, target in pairs]


def test_rows_without_a_text_to_write(write_jsonl: Write) -> None:
    """Catches nothing taken for an empty text that is to be written."""
    rows = rows_of(("the film", "warm"), ("a bit", None), ("a film", " "), ("the film", "warm"))
    written = write_jsonl(KIND, rows, columns=COLUMNS, decoder_start=2)
    split = written.tokens.splits["train"]
    assert split.n_targets.tolist() == [3, 0, 0, 3]
    assert split.table["text_pair"].to_pylist() == ["warm", None, None, "warm"]
    assert split.has_label.tolist() == [True, False, False, True]
    assert [split.keys[index].tobytes() for index in range(4)] == [
        split.row(index).key() for index in range(4)
    ]
    assert len({*split.keys.tolist()}) == 3
    summary = written.summary["splits"]["train"]
    assert (summary["n_labelled"], summary["n_targets"], summary["n_distinct"]) == (2, 6, 3)
    assert written.summary["decoder_start"] == 2 and written.tokens.labels == ()


def test_a_part_of_a_column_has_its_name(write_jsonl: Write) -> None:
    """Catches translations, which the Hub has as parts of one column, that cannot be read."""
    rows = [
        {"translation": {"de": "the film", "en": "warm"}, "a.b": "x"},
        {"translation": {"de": "a film", "en": None}, "a.b": "y"},
    ]
    columns = {"text": "translation.de", "target": "translation.en"}
    split = write_jsonl(KIND, rows, columns=columns, decoder_start=2).tokens.splits["train"]
    assert split.table["text"].to_pylist() == ["the film", "a film"]
    assert split.table["text_pair"].to_pylist() == ["warm", None]
    whole = write_jsonl(KIND, rows, columns=columns | {"target": "a.b"}, decoder_start=2)
    assert whole.tokens.splits["train"].table["text_pair"].to_pylist() == ["x", "y"]
    for target, message in {
        "translation.fr": r"'translation\.fr': 'translation' has the parts 'de', 'en'\. Set",
        "translation.en.us": r"no column 'translation\.en\.us': 'translation\.en' holds string\.",
        "other.en": r"no column 'other\.en'; it has 'translation', 'a\.b'\. Set data\.col",
    }.items():
        with pytest.raises(DataError, match=message):
            write_jsonl(KIND, rows, columns=columns | {"target": target}, decoder_start=2)


def test_what_others_make_of_the_table(write_jsonl: Write, pieces: Any, tmp_path: Path) -> None:
    """Catches a table of another start token, and texts longer than a student can write."""
    rows = rows_of(("a", "the film was warm"))
    written = write_jsonl(KIND, rows, columns=COLUMNS, decoder_start=2)
    task, own = TASKS["sequence_to_sequence"], tmp_path / "own"
    own.mkdir()
    with pytest.raises(DataError, match=r"made with decoder_start 2, here it is 3\. Name the chec"):
        copy_tokens(written.folder, task, Tokenising(pieces, 16, decoder_start=3), own)
    copy_tokens(written.folder, task, Tokenising(pieces, 16, decoder_start=2), own)
    split_for(written.tokens, task, "train", pieces, most_tokens=6, is_shown=False)
    with pytest.raises(DataError, match=r"rows of up to 6 tokens, the student reads at most 5\."):
        split_for(written.tokens, task, "train", pieces, most_tokens=5, is_shown=False)
