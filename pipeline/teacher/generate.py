"""Texts that the teacher writes for the rows of a token table, for students to learn from.

Kim & Rush 2016, 1606.07947, section 3.2: the teacher's distribution over whole texts is
replaced by its mode, as beam search finds it. Each source is written for once, however
many rows have it; rows go into batches by length, and padding changes no text.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerFast

from pipeline.errors import CheckpointError, SettingsError
from pipeline.fingerprint import row_key
from pipeline.tasks.task import Task
from pipeline.teacher.generation_settings import GenerationSettings
from pipeline.teacher.load import load_matching_tokenizer, load_teacher
from pipeline.teacher.stored_teacher import has_weights
from pipeline.text.padding import pad_rows
from pipeline.text.rows import TokenisedTexts, make_asking_rows
from pipeline.text.target_texts import end_of_text
from pipeline.text.token_row import PiecesAsked, TokenRow
from pipeline.text.tokenise import write_table
from pipeline.text.tokens import Tokens, TokenSplit

Pieces = NDArray[np.int32]

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
    what the teacher wrote, and `text_pair` is that as text. Without splits it has no rows.

    Returns the table's summary, `tokens.json`.

    Raises:
        CheckpointError: the teacher does not fit the tokenizer, or has no weights.
        SettingsError: the task writes no texts, or the longest one would be too long.
    """
    tokenizer = load_matching_tokenizer(teacher_dir, tokens)
    splits: dict[str, Iterator[TokenisedTexts] | tuple[()]] = {"train": ()}
    if settings.splits:
        _check(teacher_dir, tokens, settings)
        model = load_teacher(teacher_dir, task, tokens.labels, needs_head=True)
        nn.Module.to(model, device)  # the model's own `to` is wrapped and has lost its types
        writer = Writer(model, tokenizer, tokens, settings, device)
        splits = {
            name: _rows(split, writer.write(name, split), writer.start, tokenizer)
            for name, split in tokens.splits.items()
            if name in settings.splits
        }
    return write_table(
        splits,
        tokens.label_kind,
        tokens.labels,
        tokenizer,
        tokens.max_length,
        folder,
        source=tokens.digest,
    )


class Writer:
    """A teacher that is set up to write texts; each source is written for once."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerFast,
        tokens: Tokens,
        settings: GenerationSettings,
        device: torch.device,
    ) -> None:
        self._model: Any = model  # not every model can be typed as one that writes
        self._device = device
        self._batch_size = settings.batch_size
        self._has_token_types = "token_type_ids" in tokenizer.model_input_names
        self._pad_id = int(tokenizer.pad_token_id or 0)
        self._end = end_of_text(tokenizer)
        self.start = _decoder_start(tokens)
        """What the decoder is given when it is to write the first piece."""
        assert model.generation_config is not None
        config: GenerationConfig = deepcopy(model.generation_config)  # the teacher's own
        config.num_beams, config.num_return_sequences = settings.n_beams, 1
        config.do_sample = False
        config.max_length = None
        config.max_new_tokens = settings.max_new_tokens or tokens.max_length
        config.pad_token_id, config.eos_token_id = self._pad_id, self._end
        config.decoder_start_token_id = self.start
        if settings.length_penalty is not None:
            config.length_penalty = settings.length_penalty
        self._config = config
        self._written: dict[bytes, Pieces] = {}

    def write(self, name: str, split: TokenSplit) -> list[Pieces]:
        """Return the pieces that the teacher writes for each row, the end token included.

        A text that would be longer than the longest has none at its end.
        """
        sources = [split.row(index)._replace(asked=None) for index in range(len(split))]
        keys = [row_key(source.ids, source.types) for source in sources]
        distinct = dict(zip(keys, sources, strict=True))
        due = sorted(distinct.keys() - self._written.keys(), key=lambda key: _order(distinct[key]))
        for start in tqdm(range(0, len(due), self._batch_size), f"generate {name}", unit="batch"):
            some = due[start : start + self._batch_size]
            texts = self._write([distinct[key] for key in some])
            self._written.update(zip(some, texts, strict=True))
        return [self._written[key] for key in keys]

    @torch.inference_mode()
    def _write(self, sources: Sequence[TokenRow]) -> list[Pieces]:
        inputs: dict[str, Any] = {
            name: values.to(self._device)
            for name, values in pad_rows(
                sources, self._pad_id, has_token_types=self._has_token_types
            ).items()
        }
        written = self._model.generate(**inputs, generation_config=self._config)
        return [self._until_end(row) for row in written[:, 1:].cpu().numpy().astype(np.int32)]

    def _until_end(self, pieces: Pieces) -> Pieces:
        ends = np.flatnonzero(pieces == self._end)
        return pieces[: ends[0] + 1] if len(ends) else pieces


def _order(row: TokenRow) -> tuple[int, bytes]:
    """Return what rows are sorted by, so that batches hold little padding and never change."""
    return len(row.ids), row.ids.tobytes()


def _check(teacher_dir: Path, tokens: Tokens, settings: GenerationSettings) -> None:
    if tokens.label_kind != "target_text":
        raise SettingsError(
            ["generation.splits: only a sequence_to_sequence writes texts; set it to []"]
        )
    if (settings.max_new_tokens or 0) > tokens.max_length:
        raise SettingsError(
            [
                f"generation.max_new_tokens: {settings.max_new_tokens} is more than "
                f"tokenizer.max_length, {tokens.max_length}, the longest row of a token table; "
                "lower it, or leave it out"
            ]
        )
    if not has_weights(teacher_dir):
        raise CheckpointError(
            f"{teacher_dir} has no weights, so it writes no text. Set generation.splits to [], or "
            "name the same teacher as teacher.checkpoint."
        )


def _decoder_start(tokens: Tokens) -> int:
    """Return what the decoder is given first in this table, as in its training."""
    for split in tokens.splits.values():
        if split.decoder_ids is not None and len(split.decoder_ids):
            return int(split.decoder_ids[0])
    raise SettingsError(
        ["generation.splits: no row has a target text to begin as; set it to [], or give some"]
    )


def _rows(
    split: TokenSplit,
    written: Sequence[Pieces],
    start: int,
    tokenizer: PreTrainedTokenizerFast,
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
            "target_text",
        )
        yield TokenisedTexts(table, np.zeros(len(some), dtype=bool))
