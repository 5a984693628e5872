"""The tokenizer of a few words, and token tables of rows in files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.settings import parse_section
from pipeline.tasks import TASKS
from pipeline.tasks.question_answering import ANSWERS
from pipeline.tasks.task import Kind, MaskingSettings, Place, Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.tokenise import STRIDE, TokenisedTexts
from pipeline.text.tokens import Tokens, open_tokens
from tests.conftest import BAD, GOOD, PLAIN, make_tokenizer

Rows = list[dict[str, Any]]


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The tokenizer of a few words."""
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="session")
def pieces(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A tokenizer that has `films` and `smart` in two pieces each."""
    folder = tmp_path_factory.mktemp("pieces")
    make_tokenizer(folder, (*PLAIN, *GOOD, *BAD, "s", "##s", "##mart", "😀", "שלום"))
    return load_tokenizer(folder)


@dataclass(frozen=True)
class Written:
    """A token table and what was said of it."""

    tokens: Tokens
    summary: dict[str, Any]
    folder: Path


Write = Callable[..., Written]


@pytest.fixture
def write_jsonl(tmp_path_factory: pytest.TempPathFactory, pieces: Any) -> Write:
    """Return a function that makes the token table of rows, written as JSON lines."""

    def write(
        kind: Kind,
        train: Rows,
        validation: Rows | None = None,
        *,
        max_length: int = 16,
        stride: int = STRIDE,
        masking: MaskingSettings | None = None,
        decoder_start: int = 0,
        **data: Any,
    ) -> Written:
        source, folder = (tmp_path_factory.mktemp(name) for name in ("source", "tokens"))
        for split, rows in {"train": train, "validation": validation or train}.items():
            lines = "\n".join(json.dumps(row) for row in rows) + "\n"
            (source / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        section = {"source": "files", "path": str(source), **data}
        settings = parse_section(DataSettings, section, "data")
        task, mapping = TASKS[kind], settings.names_by_value
        corpus = read_corpus(settings, task.read)
        names = task.label_names(corpus, mapping)
        how = Tokenising(pieces, max_length, stride, masking or MaskingSettings(), decoder_start)
        summary = write_tokens(corpus, task, names, mapping, how, folder)
        return Written(open_tokens(folder), summary, folder)

    return write


def tokenised(
    kind: Kind,
    columns: dict[str, list[Any]],
    labels: list[Any],
    tokenizer: Any,
    max_length: int,
    *,
    first_row: int = 1,
    stride: int = STRIDE,
    decoder_start: int = 0,
) -> TokenisedTexts:
    """Return the rows that a task makes of some columns of a corpus, and of encoded labels."""
    how = Tokenising(tokenizer, max_length, stride, decoder_start=decoder_start)
    table = pa.table({"text_pair": pa.nulls(len(labels), pa.string()), **columns})
    of_rows = pa.array(labels, ANSWERS if kind == "question_answering" else None)
    return TASKS[kind].tokenise(table, of_rows, how, Place("train", first_row))
