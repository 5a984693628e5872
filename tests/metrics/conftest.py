"""Splits of questions about texts."""

from collections.abc import Sequence

import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.text.tokens import TokenSplit
from tests.conftest import make_tokenizer
from tests.metrics.made_windows import MakeSplit, make_windows


@pytest.fixture(scope="session")
def make_split(tmp_path_factory: pytest.TempPathFactory) -> MakeSplit:
    """Return a function that makes a split."""
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    tokenizer = load_tokenizer(folder)

    def make(
        texts: Sequence[str], answers: Sequence[Sequence[str] | None], *, max_length: int = 12
    ) -> TokenSplit:
        return make_windows(texts, answers, tokenizer, tmp_path_factory.mktemp("t"), max_length)

    return make
