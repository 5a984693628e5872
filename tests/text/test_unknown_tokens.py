"""What a tokenizer does not know of texts and targets: counted, shown, and refused if it is all."""

from typing import Any

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from pipeline.core.errors import DataError
from pipeline.text.unknown_tokens import UnknownTokens, count_unknown
from tests.text.conftest import Rows, Write

WRITTEN = {"columns": {"target": "target"}, "decoder_start": 0}


def count(written: Any, tokenizer: Any) -> dict[str, UnknownTokens]:
    return {one.what: one for one in count_unknown(written.tokens, "train", tokenizer)}


def test_targets_that_are_unknown_are_said(write_jsonl: Write, pieces: Any) -> None:
    """Catches targets in letters that the tokenizer does not have, behind texts that it knows."""
    rows = [
        {"text": "the film", "target": "ɑ was ʃ ɑ"},
        {"text": "a bit", "target": "ɑ"},
        {"text": "warm", "target": None},
    ]
    found = count(write_jsonl("sequence_to_sequence", rows, **WRITTEN), pieces)
    texts, targets = found["texts"], found["targets"]
    assert (texts.n_unknown, texts.n_tokens, texts.n_lost, texts.n_rows) == (0, 5, 0, 3)
    assert not texts.are_many
    assert (targets.n_unknown, targets.n_tokens, targets.n_lost, targets.n_rows) == (4, 5, 1, 2)
    assert targets.are_many
    assert str(targets).startswith(
        "80.0% of the tokens of targets (4 of 5) are the unknown token, such as 'ɑ', 'ʃ'; 1 of 2 "
        "targets have no other. Name a checkpoint"
    )


KINDS: dict[str, tuple[Rows, dict[str, Any]]] = {
    "classification": ([{"text": "the 好", "label": "a"}, {"text": "film", "label": "b"}], {}),
    "token_classification": ([{"text": ["the", "好"], "label": ["O", "B"]}], {}),
    "multiple_choice": (
        [{"text": "the 好", "options": ["warm"], "label": "A"}],
        {"columns": {"choices": "options"}},
    ),
    "question_answering": (
        [{"text": "the 好", "q": "was", "label": {"text": ["the"], "answer_start": [0]}}],
        {"columns": {"question": "q"}},
    ),
    "masked_lm": ([{"text": "the 好"}], {}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_texts_of_all_kinds_are_counted(write_jsonl: Write, pieces: Any, kind: Any) -> None:
    """Catches a kind of task whose texts are not looked at, and special tokens that are."""
    rows, options = KINDS[kind]
    (found,) = count(write_jsonl(kind, rows, **options), pieces).values()
    assert (found.n_unknown, found.examples, found.are_many) == (1, ("好",), True)
    assert 2 <= found.n_tokens <= 3


def test_a_few_unknown_tokens_are_not_said(write_jsonl: Write, pieces: Any) -> None:
    """Catches a line about the odd emoji, and none about rows that are lost one by one."""
    known = [{"text": f"the film was {'very ' * 20}", "label": label} for label in "ab" * 40]
    few = count(write_jsonl("classification", [*known, {"text": "the 好", "label": "a"}]), pieces)
    assert few["texts"].n_unknown == 1 and not few["texts"].are_many
    lost = count(write_jsonl("classification", [*known, {"text": "好", "label": "a"}]), pieces)
    assert lost["texts"].n_lost == 1 and lost["texts"].are_many
    assert lost["texts"].n_unknown < 0.01 * lost["texts"].n_tokens


def test_nothing_known_is_refused(write_jsonl: Write, pieces: Any) -> None:
    """Catches rows that are all alike to every model."""
    rows = [{"text": "好", "label": "a"}, {"text": "不好", "label": "b"}]
    with pytest.raises(DataError, match=r"^train: 100\.0% of the tokens of texts \(3 of 3\).*'好'"):
        count(write_jsonl("classification", rows), pieces)
    targets = [{"text": "the film", "target": "好"}]
    with pytest.raises(DataError, match=r"^train: 100\.0% of the tokens of targets \(1 of 1\)"):
        count(write_jsonl("sequence_to_sequence", targets, **WRITTEN), pieces)
    count(write_jsonl("classification", [{**rows[0], "text": "好 film"}, rows[1]]), pieces)


def test_tokens_with_another_part_are_not_unknown(write_jsonl: Write) -> None:
    """Catches ends of texts counted where the unknown token is the end, as in GPT-2."""
    backend = Tokenizer(WordLevel({"<end>": 0, "the": 1}, unk_token="<end>"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="<end>", eos_token="<end>"
    )
    rows = [{"text": "好", "label": "a"}, {"text": "the", "label": "b"}]
    assert count(write_jsonl("classification", rows), tokenizer) == {}
