"""Texts that the teacher writes for the rows of a token table, for students to learn from.

Kim & Rush 2016, 1606.07947, section 3.2: the teacher's distribution over whole texts is
replaced by its mode, as beam search finds it. Each source is written for once, however
many rows have it; rows go into batches by length, and padding changes no text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from tqdm import tqdm

from pipeline.core.errors import CheckpointError, SettingsError
from pipeline.tasks.sequence_to_sequence import end_of_text
from pipeline.tasks.task import Task
from pipeline.teacher.generation_settings import GenerationSettings
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.stored_teacher import has_weights
from pipeline.text.token_row import PiecesAsked, TokenRow
from pipeline.text.tokenise import TokenisedTexts, make_asking_rows, write_variants
from pipeline.text.tokens import Tokens, TokenSplit

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

    from pipeline.models.writing import Pieces, Writer

_ROWS_AT_ONCE = 1000


def generate(
    teacher_dir: Path,
    tokens: Tokens,
    task: Task,
    settings: GenerationSettings,
    folder: Path,
    *,
    device: torch.device,
) -> dict[str, Any]:
    """Write a token table of the teacher's own texts into an empty folder.

    It has the chosen splits of `tokens`, row by row: the sources are the same, the labels are
    what the teacher wrote, and `text_pair` is that as text.

    Returns the table's summary, `tokens.json`.

    Raises:
        CheckpointError: the teacher does not fit the tokenizer, or has no weights.
        SettingsError: the task writes no texts, or the longest one would be too long.
    """
    from torch import nn

    from pipeline.models.writing import Writer

    tokenizer = load_matching_tokenizer(teacher_dir, tokens)
    _check(teacher_dir, tokens, task, settings)
    model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
    nn.Module.to(model, device)  # the model's own `to` is wrapped and has lost its types
    start = tokens.decoder_start
    assert start is not None  # a table of target texts says it
    writer = Writer(
        model,
        start=start,
        end=end_of_text(tokenizer),
        num_beams=settings.num_beams,
        max_new_tokens=settings.max_new_tokens or tokens.max_length,
        length_penalty=settings.length_penalty,
    )
    written: dict[bytes, Pieces] = {}
    splits: dict[str, Iterator[TokenisedTexts]] = {
        name: _rows(
            split,
            _write(writer, name, split, settings.batch_size, written),
            start,
            tokenizer,
            task.schema,
        )
        for name, split in tokens.splits.items()
        if name in settings.splits
    }
    return write_variants(tokens, task, splits, folder)


def _write(
    writer: Writer, name: str, split: TokenSplit, batch_size: int, written: dict[bytes, Pieces]
) -> list[Pieces]:
    """Return what is written for each row of a split; `written` has it by source, and grows."""
    sources = [split.row(index)._replace(asked=None) for index in range(len(split))]
    keys = [source.key() for source in sources]
    distinct = dict(zip(keys, sources, strict=True))
    due = sorted(distinct.keys() - written.keys(), key=lambda key: _order(distinct[key]))
    texts = writer.write([distinct[key] for key in due], batch_size)
    written.update(zip(due, tqdm(texts, f"generate {name}", len(due), unit="row"), strict=True))
    return [written[key] for key in keys]


def _order(row: TokenRow) -> tuple[int, bytes]:
    """Return what rows are sorted by, so that batches hold little padding and never change."""
    return len(row.ids), row.ids.tobytes()


def _check(teacher_dir: Path, tokens: Tokens, task: Task, settings: GenerationSettings) -> None:
    if not task.writes:
        raise SettingsError(
            "generation.splits: only a sequence_to_sequence writes texts; set it to []"
        )
    if (settings.max_new_tokens or 0) > tokens.max_length:
        raise SettingsError(
            f"generation.max_new_tokens: {settings.max_new_tokens} is more than "
            f"tokenizer.max_length, {tokens.max_length}, the longest row of a token table; "
            "lower it, or leave it out"
        )
    if not has_weights(teacher_dir):
        raise CheckpointError(
            f"{teacher_dir} has no weights, so it writes no text. Set generation.splits to [], or "
            "name the same teacher as teacher.checkpoint."
        )


def _rows(
    split: TokenSplit,
    written: Sequence[Pieces],
    start: int,
    tokenizer: PreTrainedTokenizerFast,
    schema: pa.Schema,
) -> Iterator[TokenisedTexts]:
    """Yield the rows of a split with the texts that were written in the place of their own."""
    for first in range(0, len(split), _ROWS_AT_ONCE):
        some = written[first : first + _ROWS_AT_ONCE]
        rows = []
        for number, pieces in enumerate(some, start=first):
            given = np.concatenate([np.array([start], dtype=np.int32), pieces[:-1]])
            rows.append(split.row(number)._replace(asked=PiecesAsked(pieces, decoder_ids=given)))
        table = make_asking_rows(
            rows,
            split.table["text"].slice(first, len(some)).to_pylist(),
            tokenizer.batch_decode([pieces.tolist() for pieces in some], skip_special_tokens=True),
            schema,
        )
        yield TokenisedTexts(table, np.zeros(len(some), dtype=bool))
