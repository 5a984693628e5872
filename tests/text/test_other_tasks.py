"""What other stages make of a table with other labels than one name a row."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from transformers import AutoTokenizer

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError, SettingsError
from pipeline.tasks.task import LabelKind
from pipeline.text.asking import Asking
from pipeline.text.augment import AugmentationSettings, augment
from pipeline.text.augmented import with_augmented
from pipeline.text.given_tokens import copy_tokens
from pipeline.text.masking_settings import MaskingSettings
from pipeline.text.questions import tokenise_questions
from pipeline.text.retokenise import split_for
from pipeline.text.rows import tokenise
from pipeline.text.target_texts import tokenise_targets
from pipeline.text.tokens import open_tokens
from pipeline.text.words import tokenise_words
from tests.conftest import make_tokenizer
from tests.text.conftest import Write

TEXT = "the film was very warm and the acting was fresh"
ROWS: dict[LabelKind, list[dict[str, Any]]] = {
    "names": [{"text": TEXT, "label": ["a", "b"]}, {"text": "the film", "label": []}],
    "number": [{"text": TEXT, "label": 0.5}, {"text": "the film", "label": 1.5}],
    "word_names": [{"text": TEXT.split(), "label": ["O", "B"] * 5}],
    "choice": [{"text": TEXT, "options": ["warm", "cold"], "label": "A"}],
    "masked": [{"text": TEXT}],
    "target_text": [{"text": TEXT, "target": "warm"}],
}
GIVEN: dict[LabelKind, dict[str, Any]] = {
    "choice": {"columns": {"choices": "options"}},
    "masked": {"asking": Asking(masking=MaskingSettings())},
    "target_text": {"columns": {"target": "target"}, "asking": Asking(decoder_start=0)},
}


@pytest.mark.parametrize("kind", [kind for kind in ROWS if kind != "masked"])
def test_keys_are_those_of_the_contents(write_jsonl: Write, kind: LabelKind) -> None:
    """Catches keys that depend on labels, so that a store is captured anew for every task."""
    written = write_jsonl(kind, ROWS[kind] * 2, **GIVEN.get(kind, {}))
    split = written.tokens.splits["train"]
    for index in range(len(split)):
        assert split.keys[index].tobytes() == split.row(index).key()
    assert written.summary["splits"]["train"]["n_distinct"] == len(split) // 2
    assert written.tokens.label_kind == written.summary["label_kind"] == kind


@pytest.mark.parametrize(("kind", "expected"), [("names", -1), ("number", np.nan)])
def test_variants_have_labels_of_the_same_kind(
    write_jsonl: Write, pieces: Any, tmp_path: Path, kind: LabelKind, expected: float
) -> None:
    """Catches variants that cannot be joined with their table, or that have made-up labels."""
    tokens = write_jsonl(kind, ROWS[kind]).tokens
    augment(tokens, pieces, AugmentationSettings(n_copies=8, mask_probability=0.5), tmp_path)
    variants = open_tokens(tmp_path, made_by="augment")
    n_variants, width = len(variants.splits["train"]), 2 if kind == "names" else 1
    assert n_variants > 4
    np.testing.assert_array_equal(variants.splits["train"].labels, [expected] * n_variants * width)
    both = with_augmented(tokens, variants).splits["train"]
    assert len(both) == 2 + n_variants
    assert both.label_offsets.tolist() == list(range(0, width * len(both) + 1, width))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("word_names", "the labels of a token classification"),
        ("choice", "the rows of a multiple choice"),
        ("masked", "the texts of a masked LM share rows"),
        ("target_text", "nobody says what is to be written"),
    ],
)
def test_variants_that_mean_nothing_are_refused(
    write_jsonl: Write, pieces: Any, tmp_path: Path, kind: LabelKind, reason: str
) -> None:
    """Catches words that keep the labels of others, and questions without choices."""
    tokens = write_jsonl(kind, ROWS[kind], **GIVEN.get(kind, {})).tokens
    with pytest.raises(SettingsError, match=rf"^augmentation\.n_copies: {reason}.*to 0$"):
        augment(tokens, pieces, AugmentationSettings(n_copies=1), tmp_path)
    augment(tokens, pieces, AugmentationSettings(), tmp_path)
    none = open_tokens(tmp_path, made_by="augment")
    assert len(none.splits["train"]) == 0
    assert with_augmented(tokens, none) is tokens


@pytest.mark.parametrize("kind", ["word_names", "choice", "masked", "target_text"])
def test_no_student_has_other_tokens(
    write_jsonl: Write, pieces: Any, tokenizer: Any, kind: LabelKind
) -> None:
    """Catches labels of the teacher's tokens at those of a student with another tokenizer."""
    tokens = write_jsonl(kind, ROWS[kind], **GIVEN.get(kind, {})).tokens
    own = split_for(tokens, "train", pieces, most_tokens=None, is_shown=False)
    assert own is tokens.splits["train"]
    with pytest.raises(DataError, match="the student has another tokenizer than the teacher"):
        split_for(tokens, "train", tokenizer, most_tokens=None, is_shown=False)


def test_a_table_for_another_task_is_refused(
    write_jsonl: Write, pieces: Any, tmp_path: Path
) -> None:
    """Catches scores taken for numbers of classes."""
    folder = write_jsonl("number", ROWS["number"]).folder
    copied = tmp_path / "copied"
    copied.mkdir()
    with pytest.raises(DataError, match=r"labels of the kind 'number', task\.kind needs 'name'"):
        copy_tokens(folder, pieces, 16, "name", copied)
    copy_tokens(folder, pieces, 16, "number", copied)
    assert open_tokens(copied).label_kind == "number"


def left_side(config: dict[str, Any], backend: dict[str, Any]) -> None:
    """Make a tokenizer cut texts at their beginnings."""
    config["truncation_side"] = "left"


def left_direction(config: dict[str, Any], backend: dict[str, Any]) -> None:
    """Do the same as the Tokenizers library does, which has no setting of Transformers'."""
    backend["truncation"] = {
        "direction": "Left",
        "max_length": 8,
        "strategy": "LongestFirst",
        "stride": 0,
    }


@pytest.mark.parametrize("change", [left_side, left_direction])
def test_texts_lose_their_ends_with_every_tokenizer(tmp_path: Path, change: Any) -> None:
    """Catches texts, pairs, words or choices that lose their beginnings with one checkpoint, and
    a student's tokenizer that is saved to do so."""
    make_tokenizer(tmp_path)
    before = load_tokenizer(tmp_path)
    assert AutoTokenizer.from_pretrained(tmp_path).truncation_side == "right"
    paths = [tmp_path / name for name in ("tokenizer_config.json", "tokenizer.json")]
    config, backend = (json.loads(path.read_text(encoding="utf-8")) for path in paths)
    change(config, backend)
    for path, content in zip(paths, (config, backend), strict=True):
        path.write_text(json.dumps(content), encoding="utf-8")
    assert AutoTokenizer.from_pretrained(tmp_path).truncation_side == "left"
    after, words, none = load_tokenizer(tmp_path), TEXT.split(), pa.array([-1])
    for read in (
        lambda tokenizer: tokenise([TEXT], None, none, "name", tokenizer, 8),
        lambda tokenizer: tokenise([TEXT], [TEXT], none, "name", tokenizer, 8),
        lambda tokenizer: tokenise_words([words], [[0] * len(words)], tokenizer, 8),
        lambda tokenizer: tokenise_questions([TEXT], [None], [["warm"]], [0], tokenizer, 8),
        lambda tokenizer: tokenise_targets([TEXT], [TEXT], tokenizer, 8, 0),
    ):
        ours, theirs = read(before), read(after)
        assert ours.rows.equals(theirs.rows) and ours.is_cut.all()
    assert before.decode(read(after).rows["input_ids"].to_pylist()[0][1:3]) == "the film"
    after.save_pretrained(tmp_path / "saved")
    assert AutoTokenizer.from_pretrained(tmp_path / "saved").truncation_side == "right"
