"""Masks: as many as asked for, of the right kinds, and the same in every run."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.core.errors import DataError, SettingsError
from pipeline.core.fingerprint import digest_folder
from pipeline.core.settings import parse_section
from pipeline.tasks.masked_lm import MASKED_LM, NO_WORD, masker_of
from pipeline.tasks.task import MaskingSettings, TaskSettings, Tokenising
from pipeline.tasks.token_table import copy_tokens
from tests.conftest import make_sentences
from tests.text.conftest import Write

N_WINDOWS = 2000
LENGTH = 30


def draw(tokenizer: Any, **settings: Any) -> Any:
    """Return ids, masked ids, which are masked, for windows of pieces in words of three."""
    masker = masker_of(tokenizer, MaskingSettings(**settings), "train")
    generator = np.random.default_rng(5)
    ids = generator.choice(masker.plain_ids, (N_WINDOWS, LENGTH)).astype(np.int32)
    ids[:, [0, -1]] = tokenizer.cls_token_id
    words = np.tile(np.arange(LENGTH) // 3, (N_WINDOWS, 1))
    words[:, [0, -1]] = NO_WORD
    shown, is_masked = ids.copy(), np.zeros(ids.shape, dtype=bool)
    for window in range(N_WINDOWS):
        shown[window], asked = masker.draw(window, ids[window], words[window])
        assert (asked.pieces == ids[window, asked.places]).all()
        assert (np.diff(asked.places) > 0).all()
        is_masked[window, asked.places] = True
    return ids, shown, is_masked


@pytest.mark.parametrize("whole_words", [False, True])
def test_shares_are_those_of_the_paper(pieces: Any, whole_words: bool) -> None:
    """Catches masks that are too many, always [MASK], or over special tokens."""
    ids, shown, is_masked = draw(pieces, whole_words=whole_words)
    # Four standard errors of independent draws of pieces, or of words; the seed is fixed.
    n_draws = N_WINDOWS * (LENGTH - 2) / (3 if whole_words else 1)
    assert abs(is_masked[:, 1:-1].mean() - 0.15) < 4 * np.sqrt(0.15 * 0.85 / n_draws)
    assert not is_masked[:, [0, -1]].any() and (shown[~is_masked] == ids[~is_masked]).all()
    fates = shown[is_masked]
    n_plain = len(set(pieces.get_vocab())) - len(set(pieces.all_special_ids))
    shares = {
        0.8: (fates == pieces.mask_token_id).mean(),
        # A random piece is the right one once in as many as there are.
        0.1 + 0.1 / n_plain: (fates == ids[is_masked]).mean(),
    }
    for expected, found in shares.items():
        assert abs(found - expected) < 4 * np.sqrt(expected * (1 - expected) / is_masked.sum())
    assert not np.isin(fates, [*{*pieces.all_special_ids} - {pieces.mask_token_id}]).any()
    if whole_words:
        words = is_masked[:, 3:-3].reshape(N_WINDOWS, -1, 3)
        assert (words.all(2) == words.any(2)).all()


def test_every_window_asks_for_something(pieces: Any) -> None:
    """Catches windows that a small probability leaves without a mask, and too many masks."""
    _, _, is_masked = draw(pieces, probability=1e-9)
    assert (is_masked.sum(1) == 1).all()
    _, _, is_masked = draw(pieces, probability=1.0)
    assert is_masked[:, 1:-1].all()


def test_masks_are_the_same_in_every_run_and_another_with_every_seed(
    write_jsonl: Write,
) -> None:
    """Catches masks of a clock, of the rows behind, or alike in two splits or windows."""
    rows = [{"text": text} for text, _ in make_sentences(40)]
    first, again = (write_jsonl("masked_lm", rows) for _ in range(2))
    assert digest_folder(first.folder) == digest_folder(again.folder)
    more = write_jsonl("masked_lm", rows + rows).tokens.splits["train"]
    split = first.tokens.splits["train"]
    assert len(split) > 20
    assert (more.keys[: len(split) - 1] == split.keys[:-1]).all()
    other = MaskingSettings(seed=1)
    reseeded = write_jsonl("masked_lm", rows, masking=other).tokens.splits["train"]
    assert len(reseeded) == len(split) and not np.isin(reseeded.keys, split.keys).all()
    assert not np.isin(first.tokens.splits["validation"].keys, split.keys).all()
    assert first.summary["masking"] == {"probability": 0.15, "whole_words": False, "seed": 0}


def test_a_given_table_with_other_masks_is_refused(
    write_jsonl: Write, pieces: Any, tmp_path: Path
) -> None:
    """Catches masks that are others than params.yaml says, without a word."""
    folder = write_jsonl("masked_lm", [{"text": "the film"}]).folder
    (tmp_path / "own").mkdir()
    own, other = tmp_path / "own", Tokenising(pieces, 16, masking=MaskingSettings(seed=3))
    with pytest.raises(DataError, match=r"with masking .*'seed': 0\}, here it .*'seed': 3\}\. Set"):
        copy_tokens(folder, MASKED_LM, other, own)
    copy_tokens(folder, MASKED_LM, Tokenising(pieces, 16), own)
    assert digest_folder(tmp_path / "own") == digest_folder(folder)


def test_only_a_masked_lm_has_masking() -> None:
    """Catches settings that nothing reads."""
    section = {"kind": "masked_lm", "masking": {"probability": 0.3, "whole_words": True}}
    assert parse_section(TaskSettings, section, "task").masking.probability == 0.3
    with pytest.raises(SettingsError, match=r"^task: .*only a masked_lm has masking; take it out"):
        parse_section(TaskSettings, section | {"kind": "regression"}, "task")
    with pytest.raises(SettingsError, match=r"^task\.masking\.probability: "):
        parse_section(TaskSettings, {"kind": "masked_lm", "masking": {"probability": 0}}, "task")
