"""A token table of somebody else's in the place of one's own texts."""

import shutil
from pathlib import Path

import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.errors import DataError
from pipeline.core.fingerprint import digest_folder
from pipeline.tasks.classification import CLASSIFICATION
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import copy_tokens
from pipeline.text.tokens import open_tokens
from tests.conftest import make_tokenizer, make_tokens
from tests.store.altered import flip


@pytest.fixture
def given(tmp_path: Path, checkpoint: Path, data_dir: Path) -> Path:
    """A token table of at most 64 tokens a row."""
    make_tokens(tmp_path / "work" / "given", checkpoint, data_dir)
    (tmp_path / "own").mkdir()
    return tmp_path / "work" / "given"


def test_it_is_taken_as_it_is(given: Path, tmp_path: Path, checkpoint: Path) -> None:
    """Catches rows that come with other keys, so that no store has them."""
    summary = copy_tokens(
        given, CLASSIFICATION, Tokenising(load_tokenizer(checkpoint), 64), tmp_path / "own"
    )
    assert digest_folder(tmp_path / "own") == digest_folder(given)
    assert summary["digest"] == open_tokens(tmp_path / "own").digest


def test_what_does_not_fit_is_refused(given: Path, tmp_path: Path, checkpoint: Path) -> None:
    """Catches tokens that mean other words to the teacher, and damaged ones."""
    own = tmp_path / "own"
    with pytest.raises(DataError, match=r"given was made with max_length 64, params\.yaml has 32"):
        copy_tokens(given, CLASSIFICATION, Tokenising(load_tokenizer(checkpoint), 32), own)
    make_tokenizer(tmp_path / "other", ("film", "the", "was"))
    with pytest.raises(DataError, match=r"given was made with tokenizer \w{12}, params\.yaml has"):
        copy_tokens(given, CLASSIFICATION, Tokenising(load_tokenizer(tmp_path / "other"), 64), own)
    flip(given / "train.arrow", (given / "train.arrow").stat().st_size // 2, 0)
    with pytest.raises(DataError, match=r"train\.arrow is damaged\. Restore it"):
        copy_tokens(given, CLASSIFICATION, Tokenising(load_tokenizer(checkpoint), 64), own)
    shutil.rmtree(given)
    with pytest.raises(DataError, match="given is not a token table"):
        copy_tokens(given, CLASSIFICATION, Tokenising(load_tokenizer(checkpoint), 64), own)
