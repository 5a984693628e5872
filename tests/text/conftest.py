"""The tokenizer of a few words, and token tables of rows in files."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.core.checkpoint import load_tokenizer
from pipeline.core.settings import parse_section
from pipeline.tasks.task import LabelKind
from pipeline.text.asking import Asking
from pipeline.text.corpus import DataSettings, read_corpus
from pipeline.text.labels import label_names
from pipeline.text.tokenise import STRIDE, write_tokens
from pipeline.text.tokens import Tokens, open_tokens
from tests.conftest import BAD, GOOD, PLAIN, make_tokenizer

Rows = list[dict[str, Any]]
NOTHING_ASKED = Asking()


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
        label_kind: LabelKind,
        train: Rows,
        validation: Rows | None = None,
        *,
        max_length: int = 16,
        stride: int = STRIDE,
        asking: Asking = NOTHING_ASKED,
        **data: Any,
    ) -> Written:
        source, folder = (tmp_path_factory.mktemp(name) for name in ("source", "tokens"))
        for split, rows in {"train": train, "validation": validation or train}.items():
            lines = "\n".join(json.dumps(row) for row in rows) + "\n"
            (source / f"{split}.jsonl").write_text(lines, encoding="utf-8")
        section = {"source": "files", "path": str(source), **data}
        settings = parse_section(DataSettings, section, "data")
        corpus = read_corpus(settings, label_kind)
        mapping = settings.names_by_value
        names = label_names(corpus, mapping, label_kind)
        summary = write_tokens(
            corpus,
            label_kind,
            names,
            mapping,
            pieces,
            max_length,
            folder,
            stride=stride,
            asking=asking,
        )
        return Written(open_tokens(folder), summary, folder)

    return write
