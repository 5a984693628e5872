"""A small token table, a store captured of it, and what a teacher computes."""

import shutil
from pathlib import Path

import pytest

from pipeline.teacher.extract import Extracted, Extractor
from pipeline.text.token_row import TokenRow
from pipeline.text.tokens import Tokens
from tests.conftest import make_sentences
from tests.teacher.made_captures import RunCapture, Seen, make_table


@pytest.fixture(scope="session")
def few_tokens(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Tokens:
    """26 training and 8 validation rows without duplicates: three segments."""
    rows = list(dict(make_sentences(40)).items())[:34]
    assert len(rows) == 34
    return make_table(tmp_path_factory.mktemp("few"), checkpoint, rows[:26], rows[26:])


@pytest.fixture(scope="session")
def run(checkpoint: Path, few_tokens: Tokens) -> RunCapture:
    """Capture `few_tokens` with the usual teacher unless told otherwise."""
    return RunCapture(checkpoint, few_tokens)


@pytest.fixture(scope="session")
def whole_store(tmp_path_factory: pytest.TempPathFactory, run: RunCapture) -> Path:
    """A store captured without interruption; not to be changed."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    run(folder)
    return folder


@pytest.fixture
def store(tmp_path: Path, whole_store: Path) -> Path:
    """A copy of `whole_store`."""
    return Path(shutil.copytree(whole_store, tmp_path / "copy"))


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Note every row and array that an extractor computes from now on."""
    seen = Seen()
    compute = Extractor.__call__

    def note(self: Extractor, rows: list[TokenRow]) -> Extracted:
        signals = compute(self, rows)
        seen.keys += [row.key() for row in rows]
        seen.arrays |= {array.name for array in signals.wait()}
        seen.n_batches += 1
        return signals

    monkeypatch.setattr(Extractor, "__call__", note)
    return seen
