"""Windows of questions about texts, made as `prepare` makes them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from pipeline.tasks import TASKS
from pipeline.tasks.question_answering import ANSWERS
from pipeline.tasks.task import Tokenising
from pipeline.tasks.token_table import write_tokens
from pipeline.text.tokens import TokenSplit, open_tokens


class MakeSplit(Protocol):
    """Makes a split of questions about texts, each answer at its first place."""

    def __call__(
        self,
        texts: Sequence[str],
        answers: Sequence[Sequence[str] | None],
        *,
        max_length: int = 12,
    ) -> TokenSplit: ...


def make_windows(
    texts: Sequence[str],
    answers: Sequence[Sequence[str] | None],
    tokenizer: Any,
    folder: Path,
    max_length: int,
) -> TokenSplit:
    """Return a split, whose table is written to `folder`; every question is "was it"."""
    found = [
        None if said is None else [{"text": text, "start": context.index(text)} for text in said]
        for context, said in zip(texts, answers, strict=True)
    ]
    table = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "text_pair": pa.nulls(len(texts), pa.string()),
            "question": ["was it"] * len(texts),
            "label": pa.array(found, ANSWERS),
        }
    )
    names = ("start", "end")
    how = Tokenising(tokenizer, max_length, stride=2)
    write_tokens({"train": table}, TASKS["question_answering"], names, None, how, folder)
    return open_tokens(folder).splits["train"]
